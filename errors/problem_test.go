package errors_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"testing"

	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
)

func TestProblemIsAnError(t *testing.T) {
	cause := fmt.Errorf("read: %w", io.ErrUnexpectedEOF)
	p := httperr.New(http.StatusNotFound, "item_not_found", "There is no such item.")
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"full", p.WithCause(cause), "httperr: 404: item_not_found: There is no such item.: read: unexpected EOF"},
		{"without a cause", p, "httperr: 404: item_not_found: There is no such item."},
		{"without a detail", httperr.New(409, "conflict", ""), "httperr: 409: conflict"},
		{"empty", &httperr.Problem{}, "httperr: 0"},
		{"nil", (*httperr.Problem)(nil), "httperr: nil problem"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.err.Error(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}

	wrapped := fmt.Errorf("handler: %w", p.WithCause(cause))
	if !errors.Is(wrapped, io.ErrUnexpectedEOF) {
		t.Error("errors.Is does not find the cause")
	}
	if got, ok := errors.AsType[*httperr.Problem](wrapped); !ok || got.Code != "item_not_found" {
		t.Errorf("errors.As: got %v, %v", got, ok)
	}
	if errors.Unwrap(p) != nil || errors.Unwrap((*httperr.Problem)(nil)) != nil {
		t.Error("a Problem without a cause unwraps to something")
	}
}

func TestWithCauseClones(t *testing.T) {
	original := func() *httperr.Problem {
		return &httperr.Problem{
			Status: 401, Code: "credentials_invalid", Detail: "no",
			Header:     http.Header{"Www-Authenticate": {"Basic", "Bearer"}},
			Fields:     []httperr.Field{{Pointer: "/a", Code: "gt"}},
			Extensions: map[string]any{"balance": 30},
			Audit:      &audit.Event{Name: audit.LoginFail, Reason: "wrong password"},
		}
	}
	p := original()
	c := p.WithCause(io.EOF)
	if errors.Unwrap(c) != io.EOF || errors.Unwrap(p) != nil {
		t.Errorf("got the causes %v of the copy and %v of the original", errors.Unwrap(c), errors.Unwrap(p))
	}
	if again := c.WithCause(io.ErrClosedPipe); errors.Unwrap(again) != io.ErrClosedPipe || errors.Unwrap(c) != io.EOF {
		t.Error("a second cause does not replace the first in a copy")
	}
	c.Status, c.Code = 500, "x"
	c.Header.Add("Www-Authenticate", "DPoP")
	c.Header["Www-Authenticate"][0] = "changed"
	c.Fields[0].Pointer = "changed"
	c.Extensions["balance"] = "changed"
	c.Audit.Reason = "changed"
	if want := original(); !reflect.DeepEqual(p, want) {
		t.Errorf("changing the copy changed the original:\ngot  %+v\nwant %+v", p, want)
	}

	bare := httperr.New(400, "a", "b").WithCause(nil)
	if bare.Header != nil || bare.Fields != nil || bare.Extensions != nil || bare.Audit != nil {
		t.Errorf("the copy of a bare Problem has more than it: %+v", bare)
	}
}

// A Problem holds what only logs may see, so it refuses to become JSON by
// accident: only Write renders it.
func TestAProblemHasNoJSONForm(t *testing.T) {
	p := httperr.New(401, "no", "").WithCause(errors.New("secret"))
	for _, v := range []any{p, *p, map[string]error{"error": p}} {
		if b, err := json.Marshal(v); err == nil {
			t.Errorf("%T: got %s, want an error", v, b)
		}
	}
}
