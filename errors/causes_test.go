package errors_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	httperr "github.com/sallyport/sallyport/errors"
)

// What comes of a context that is done is answered by whose context that was.
func TestCausesOfContexts(t *testing.T) {
	live := func() (context.Context, context.CancelFunc) { return context.WithCancel(context.Background()) }
	gone := func() (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		return ctx, cancel
	}
	late := func() (context.Context, context.CancelFunc) {
		return context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	}
	wrapped := func(err error) error { return fmt.Errorf("query of secret-dsn: %w", err) }
	for _, tt := range []struct {
		name   string
		ctx    func() (context.Context, context.CancelFunc)
		err    error
		status int
		code   string
	}{
		{"the client has gone", gone, wrapped(context.Canceled), 499, "client_closed_request"},
		{"the request's own deadline", late, wrapped(context.DeadlineExceeded), 503, "timeout"},
		{"the deadline of a dependency", live, wrapped(context.DeadlineExceeded), 504, "dependency_timeout"},
		{"the deadline of a dependency, and the client has gone", gone, wrapped(context.DeadlineExceeded), 504, "dependency_timeout"},
		{"something else was canceled", live, wrapped(context.Canceled), 500, "internal_error"},
		{"something else was canceled, and it is late", late, wrapped(context.Canceled), 500, "internal_error"},
		{"the client has gone, and something else failed", gone, errors.New("secret-dsn"), 500, "internal_error"},
		{"a problem of its own", late, httperr.New(409, "conflict", "").WithCause(context.DeadlineExceeded), 409, "conflict"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := tt.ctx()
			defer cancel()
			var o witness
			w := httptest.NewRecorder()
			o.recover(fail(tt.err)).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx))
			if m := members(t, w.Body.Bytes()); w.Code != tt.status || m["code"] != tt.code {
				t.Errorf("got %d %v, want %d %s", w.Code, m["code"], tt.status, tt.code)
			}
			if strings.Contains(w.Body.String(), "secret") {
				t.Errorf("the answer has the cause: %s", w.Body)
			}
		})
	}
}

func TestMaps(t *testing.T) {
	teapot := errors.New("teapot")
	m := httperr.MapFirst(
		func(err error) *httperr.Problem {
			if errors.Is(err, teapot) {
				return httperr.New(http.StatusTeapot, "teapot", "")
			}
			return nil
		},
		httperr.MapNotFound(sql.ErrNoRows, fs.ErrNotExist),
	)
	for _, tt := range []struct {
		err    error
		status int
	}{
		{teapot, 418},
		{fmt.Errorf("item 7: %w", sql.ErrNoRows), 404},
		{&fs.PathError{Op: "open", Path: "/secret", Err: fs.ErrNotExist}, 404},
		{errors.Join(errors.New("a"), sql.ErrNoRows), 404},
		{errors.New("another"), 500},
		{context.DeadlineExceeded, 504}, // what no map knows goes on
	} {
		w := get(httperr.Recover(httperr.Config{Map: m, Logger: new(witness).config().Logger})(fail(tt.err)))
		if w.Code != tt.status || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%v: got %d %s, want %d", tt.err, w.Code, w.Body, tt.status)
		}
	}
	if w := get(new(witness).recover(fail(sql.ErrNoRows))); w.Code != 500 {
		t.Errorf("without a map: got %d, want 500", w.Code)
	}
	for name, f := range map[string]func(){
		"MapNotFound: no cause":       func() { httperr.MapNotFound() },
		"MapNotFound: a cause is nil": func() { httperr.MapNotFound(sql.ErrNoRows, nil) },
		"MapFirst: a map is nil":      func() { httperr.MapFirst(nil) },
	} {
		func() {
			defer func() {
				if v := fmt.Sprint(recover()); !strings.Contains(v, name) {
					t.Errorf("got the panic %q, want one that names %q", v, name)
				}
			}()
			f()
		}()
	}
}
