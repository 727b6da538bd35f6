package browser_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport"
	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/proctest"
	"github.com/sallyport/sallyport/transport"
)

// A heard hands on the reports that are recorded.
type heard chan string

func (h heard) Record(_ context.Context, e audit.Event) error {
	if e.Name == audit.PolicyViolation {
		select {
		case h <- e.Reason:
		default:
		}
	}
	return nil
}

// What a page tried against its policy is reported by the browser, over TLS, to the handler of
// the service.
func TestASVS_3_4_7_ReportsArrive(t *testing.T) {
	for _, tt := range []struct {
		name string
		only bool
		want string
	}{
		{"a policy that blocks", false, "a browser reports script-src-elem of inline on https://ADDR/page"},
		{"a policy that only reports", true, "a browser reports script-src-elem of inline on https://ADDR/page, which a policy that only reports would block"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			chromium(t)
			cert, err := transport.SelfSigned()
			if err != nil {
				t.Fatal(err)
			}
			mux := http.NewServeMux()
			mux.Handle("POST /reports", transport.CSPReports())
			mux.Handle("/page", transport.Page(transport.CSP{ReportTo: "/reports", ReportOnly: tt.only})(
				http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "text/html; charset=utf-8")
					_, _ = fmt.Fprint(w, `<!doctype html><script>document.title = 'run'</script>`)
				})))
			reports := make(heard, 10)
			discard := slog.New(slog.DiscardHandler)
			srv, err := transport.NewServer("", sallyport.Chain(
				httperr.Recover(httperr.Config{Logger: discard, Audit: reports}))(mux),
				transport.ServerConfig{Certificates: []tls.Certificate{cert}, Logger: discard, ShutdownTimeout: time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			served := make(chan struct{})
			go func() {
				defer close(served)
				_ = transport.Serve(ctx, srv, ln) // cut off once the browser is
			}()
			t.Cleanup(func() { stop(); <-served })
			addr := strings.Replace(ln.Addr().String(), "127.0.0.1", "localhost", 1)

			// A browser that is to print what the page has become ends before it reports.
			b, err := proctest.Start(browse(ctx, t, "--ignore-certificate-errors", "--short-reporting-delay", "--remote-debugging-port=0", "https://"+addr+"/page"), "TERM")
			if err != nil {
				t.Fatal(err)
			}
			var got string
			select {
			case got = <-reports:
			case <-ctx.Done():
			}
			b.End(syscall.SIGTERM)
			if want := strings.Replace(tt.want, "ADDR", addr, 1); got != want {
				t.Errorf("got %q, want %q; the browser said: %s", got, want, b.Output())
			}
		})
	}
}
