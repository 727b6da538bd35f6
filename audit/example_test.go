package audit_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"

	"github.com/sallyport/sallyport/audit"
)

func ExampleSlog() {
	// A handler without the time, so that the example's output stays the same.
	h := slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
	rec := audit.Slog(slog.New(h))

	r := httptest.NewRequest("POST", "/login?next=/", nil)
	audit.Record(r, rec, audit.Event{
		Name: audit.LoginFail, Level: slog.LevelWarn, Scheme: "Basic",
		Subject: "alice\r\nlevel=INFO msg=authn_login_success", Reason: "wrong password",
	})
	// Output:
	// level=WARN msg=authn_login_fail method=POST path=/login scheme=Basic subject="alice\\r\\nlevel=INFO msg=authn_login_success" reason="wrong password" client_addr=192.0.2.1
}

// A queue is a Recorder that never lets a request wait.
type queue chan audit.Event

func (q queue) Record(_ context.Context, e audit.Event) error {
	select {
	case q <- e:
		return nil
	default:
		return fmt.Errorf("the audit queue is full, %s is lost", e.Name)
	}
}

func ExampleRecorder() {
	q := make(queue, 100) // another goroutine sends what comes to where it is kept
	audit.Record(httptest.NewRequest("DELETE", "/items/1", nil), q, audit.Event{Name: audit.AuthzFail, Reason: "needs the role admin"})

	e := <-q
	fmt.Println(e.Name, e.Method, e.Path, e.Reason)
	// Output: authz_fail DELETE /items/1 needs the role admin
}
