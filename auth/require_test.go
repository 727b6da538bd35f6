package auth_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/eventlog"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(m.Run())
}

// A scheme is an Authenticator of its own name, whose credentials are the
// subject itself, or one of the words below.
type scheme string

var errDown = errors.New("dial tcp 10.0.0.7: connection refused, password=hunter2")

func (s scheme) Authenticate(r *http.Request) (*auth.Identity, error) {
	c, err := auth.Credentials(r, string(s))
	if err != nil {
		return nil, err
	}
	switch c {
	case "wrong":
		return nil, fmt.Errorf("%w: no such user", auth.ErrInvalid)
	case "down":
		return nil, errDown
	case "busy":
		p := httperr.New(http.StatusServiceUnavailable, "overloaded", "Too many logins at once.")
		p.Header = http.Header{"Retry-After": {"1"}}
		return nil, p
	case "broken":
		return nil, httperr.New(http.StatusInternalServerError, "broken", "")
	case "malformed":
		return nil, httperr.New(http.StatusBadRequest, "invalid_request", "The credentials are malformed.")
	case "too many":
		p := httperr.New(http.StatusTooManyRequests, "too_many_attempts", "Too many attempts have failed.")
		p.Header = http.Header{"Retry-After": {"60"}}
		return nil, p.WithCause(auth.ErrInvalid)
	case "forbidden":
		return nil, httperr.New(http.StatusForbidden, "blocked", "This account is blocked.")
	case "own401":
		return nil, fmt.Errorf("%w", httperr.New(http.StatusUnauthorized, "invalid_token", "The token is not valid."))
	case "nothing":
		return nil, nil
	case "nobody":
		return &auth.Identity{Scheme: string(s)}, nil
	}
	return &auth.Identity{Subject: c, Scheme: string(s), Scopes: []string{"read"}}, nil
}

func (s scheme) Challenge(h http.Header, _ *http.Request, err error) {
	v := string(s) + ` realm="test"`
	if err != nil && !errors.Is(err, auth.ErrNoCredentials) {
		v += `, error="decided"`
	}
	h.Add("WWW-Authenticate", v)
}

func (s scheme) Scheme() auth.SecurityScheme {
	return auth.SecurityScheme{Type: "http", Scheme: strings.ToLower(string(s))}
}

// events collects what was recorded.
type events = eventlog.Recorder

// who answers with the subject, or with "anonymous".
var who = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	id, ok := auth.FromContext(r.Context())
	if !ok {
		_, _ = io.WriteString(w, "anonymous")
		return
	}
	_, _ = io.WriteString(w, id.Scheme+" "+id.Subject)
})

func get(authorization ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header["Authorization"] = authorization
	if len(authorization) == 0 {
		r.Header.Del("Authorization")
	}
	return r
}

func TestRequire(t *testing.T) {
	both := []string{`One realm="test"`, `Two realm="test"`}
	for _, tt := range []struct {
		name       string
		headers    []string
		status     int
		body       string // of a 200, else the code
		challenges []string
		retry      string
	}{
		{"none", nil, 401, "credentials_missing", both, ""},
		{"the first scheme", []string{"One alice"}, 200, "One alice", nil, ""},
		{"the second scheme", []string{"Two bob"}, 200, "Two bob", nil, ""},
		{"scheme in another case", []string{"oNe alice"}, 200, "One alice", nil, ""},
		{"several blanks", []string{"One   alice  "}, 200, "One alice", nil, ""},
		{"a scheme that nobody takes", []string{"Three carol"}, 401, "credentials_missing", both, ""},
		{"a longer scheme name", []string{"Onex alice"}, 401, "credentials_missing", both, ""},
		{"wrong", []string{"One wrong"}, 401, "credentials_invalid", []string{`One realm="test", error="decided"`, `Two realm="test"`}, ""},
		{"wrong never falls through", []string{"Two wrong"}, 401, "credentials_invalid", []string{`One realm="test"`, `Two realm="test", error="decided"`}, ""},
		{"two fields", []string{"One alice", "Two bob"}, 400, "invalid_request", []string{`One realm="test", error="decided"`, `Two realm="test"`}, ""},
		{"the same field twice", []string{"One alice", "One alice"}, 400, "invalid_request", []string{`One realm="test", error="decided"`, `Two realm="test"`}, ""},
		{"too long", []string{"One " + strings.Repeat("a", 17<<10)}, 400, "invalid_request", []string{`One realm="test", error="decided"`, `Two realm="test"`}, ""},
		{"malformed", []string{"One malformed"}, 400, "invalid_request", []string{`One realm="test", error="decided"`, `Two realm="test"`}, ""},
		{"a 401 of its own", []string{"One own401"}, 401, "invalid_token", []string{`One realm="test", error="decided"`, `Two realm="test"`}, ""},
		{"a client that has to wait", []string{"Two too many"}, 429, "too_many_attempts", []string{`One realm="test"`, `Two realm="test", error="decided"`}, "60"},
		{"another 4xx is a 401", []string{"One forbidden"}, 401, "blocked", []string{`One realm="test", error="decided"`, `Two realm="test"`}, ""},
		{"undecidable", []string{"One down"}, 503, "authentication_unavailable", nil, "5"},
		{"undecidable with a 503 of its own", []string{"One busy"}, 503, "overloaded", nil, "1"},
		{"undecidable with a 500", []string{"One broken"}, 503, "authentication_unavailable", nil, "5"},
		{"neither identity nor error", []string{"One nothing"}, 500, "internal_error", nil, ""},
		{"no subject", []string{"One nobody"}, 500, "internal_error", nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rec := new(events)
			entered := false
			h := httperr.Recover(httperr.Config{Audit: rec})(auth.Require(scheme("One"), scheme("Two"))(
				http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { entered = true; who(w, r) })))
			w := httptest.NewRecorder()
			h.ServeHTTP(w, get(tt.headers...))

			if w.Code != tt.status {
				t.Fatalf("status = %d, want %d; body %s", w.Code, tt.status, w.Body)
			}
			if entered != (tt.status == 200) {
				t.Errorf("handler entered = %v with status %d", entered, w.Code)
			}
			if got := w.Header()["Www-Authenticate"]; !slices.Equal(got, tt.challenges) {
				t.Errorf("challenges = %q, want %q", got, tt.challenges)
			}
			if got := w.Header().Get("Retry-After"); got != tt.retry {
				t.Errorf("Retry-After = %q, want %q", got, tt.retry)
			}
			if tt.status == 200 {
				if got := w.Body.String(); got != tt.body {
					t.Errorf("body = %q, want %q", got, tt.body)
				}
				return
			}
			var p struct{ Code string }
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Code != tt.body {
				t.Errorf("code = %q (%v), want %q", p.Code, err, tt.body)
			}
			if got := w.Header().Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control = %q, want no-store", got)
			}
			if strings.Contains(w.Body.String(), "hunter2") || strings.Contains(w.Body.String(), "no such user") {
				t.Errorf("the answer tells the cause: %s", w.Body)
			}
			wantEvents := 0
			if tt.status == 400 || tt.status == 401 || tt.status == 429 {
				wantEvents = 1
			}
			if len(rec.All()) != wantEvents {
				t.Fatalf("%d events, want %d: %v", len(rec.All()), wantEvents, rec.All())
			}
			for _, e := range rec.All() {
				if e.Name != audit.LoginFail || e.Status != tt.status || e.Reason == "" {
					t.Errorf("event = %+v, want %s with a reason", e, audit.LoginFail)
				}
			}
		})
	}
}

// header is an Authenticator that does not look at the Authorization field.
type header struct{ scheme }

func (header) Authenticate(r *http.Request) (*auth.Identity, error) {
	if v := r.Header.Get("X-Subject"); v != "" {
		return &auth.Identity{Subject: v, Scheme: "Header"}, nil
	}
	return nil, auth.ErrNoCredentials
}

// Two Authorization fields are refused whatever scheme would decide: a proxy or
// a handler that reads the field could believe either.
func TestSeveralAuthorizationFieldsAreRefusedByEveryDoor(t *testing.T) {
	for name, door := range map[string]func(http.Handler) http.Handler{
		"Require of another field":         auth.Require(header{"Header"}),
		"Require, another field first":     auth.Require(header{"Header"}, scheme("One")),
		"Require, another field last":      auth.Require(scheme("One"), header{"Header"}),
		"Optional of another field":        auth.Optional(header{"Header"}),
		"Optional of a scheme not in them": auth.Optional(scheme("Two")),
	} {
		for _, subject := range []string{"", "alice"} {
			t.Run(name+" "+subject, func(t *testing.T) {
				rec := new(events)
				r := get("One a", "One b")
				if subject != "" {
					r.Header.Set("X-Subject", subject)
				}
				w := httptest.NewRecorder()
				httperr.Recover(httperr.Config{Audit: rec})(door(who)).ServeHTTP(w, r)
				if w.Code != 400 || len(w.Header()["Www-Authenticate"]) == 0 {
					t.Errorf("got %d %q %s, want a 400 with a challenge", w.Code, w.Header()["Www-Authenticate"], w.Body)
				}
				if got := rec.All(); len(got) != 1 || got[0].Name != audit.LoginFail {
					t.Errorf("events = %+v, want one %s", got, audit.LoginFail)
				}
			})
		}
	}
}

func TestOptional(t *testing.T) {
	for _, tt := range []struct {
		name, header string
		status       int
		body         string
	}{
		{"none is anonymous", "", 200, "anonymous"},
		{"right", "One alice", 200, "One alice"},
		{"wrong is refused", "One wrong", 401, ""},
		{"undecidable is refused", "One down", 503, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := get()
			if tt.header != "" {
				r = get(tt.header)
			}
			w := httptest.NewRecorder()
			auth.Optional(scheme("One"))(who).ServeHTTP(w, r)
			if w.Code != tt.status {
				t.Fatalf("status = %d, want %d", w.Code, tt.status)
			}
			if tt.status == 200 && w.Body.String() != tt.body {
				t.Errorf("body = %q, want %q", w.Body, tt.body)
			}
		})
	}
}

func TestDoorsRefuseToBeMadeWrong(t *testing.T) {
	for _, tt := range []struct {
		name string
		f    func()
	}{
		{"Require of nothing", func() { auth.Require() }},
		{"Optional of nothing", func() { auth.Optional() }},
		{"a nil Authenticator", func() { auth.Require(scheme("One"), nil) }},
		{"a nil handler", func() { auth.Require(scheme("One"))(nil) }},
		{"a nil identity", func() { auth.NewContext(context.Background(), nil) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			defer func() {
				if v := recover(); v == nil || !strings.HasPrefix(fmt.Sprint(v), "auth: ") {
					t.Errorf("recovered %v, want a panic that begins with auth:", v)
				}
			}()
			tt.f()
		})
	}
}

func TestNestedDoors(t *testing.T) {
	t.Run("the inner identity is the handler's, the outer stays the outer's", func(t *testing.T) {
		var between *http.Request
		inner := auth.Require(scheme("Two"))(who)
		h := auth.Require(scheme("One"))(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			between = r
			r2 := r.Clone(r.Context())
			r2.Header.Set("Authorization", "Two bob")
			inner.ServeHTTP(w, r2)
		}))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, get("One alice"))
		if w.Body.String() != "Two bob" {
			t.Errorf("inner = %q, want Two bob", w.Body)
		}
		if id, _ := auth.FromContext(between.Context()); id == nil || id.Subject != "alice" {
			t.Errorf("outer = %v, want alice", id)
		}
	})
	t.Run("Optional keeps what an outer door of the same request found", func(t *testing.T) {
		w := httptest.NewRecorder()
		auth.Require(scheme("One"))(auth.Optional(scheme("Two"))(who)).ServeHTTP(w, get("One alice"))
		if w.Body.String() != "One alice" {
			t.Errorf("got %q, want One alice", w.Body)
		}
	})
	t.Run("both of one request", func(t *testing.T) {
		w := httptest.NewRecorder()
		auth.Require(scheme("One"))(auth.Require(scheme("One"))(who)).ServeHTTP(w, get("One alice"))
		if w.Body.String() != "One alice" {
			t.Errorf("got %q, want One alice", w.Body)
		}
	})
}

func TestRefuse(t *testing.T) {
	lacking := httperr.New(http.StatusForbidden, "insufficient_scope", "More is needed.")
	for _, tt := range []struct {
		name       string
		door       func(http.Handler) http.Handler
		header     string
		err        error
		status     int
		code       string
		challenges []string
	}{
		{"identity, 403", auth.Require(scheme("One"), scheme("Two")), "Two bob", lacking, 403, "insufficient_scope", []string{`Two realm="test", error="decided"`}},
		{"identity, wrapped 403", auth.Require(scheme("One")), "One a", fmt.Errorf("why: %w", lacking), 403, "insufficient_scope", []string{`One realm="test", error="decided"`}},
		{"identity, invalid", auth.Require(scheme("One"), scheme("Two")), "One a", auth.ErrInvalid, 401, "credentials_invalid", []string{`One realm="test", error="decided"`}},
		{"identity, another error", auth.Require(scheme("One")), "One a", errDown, 500, "internal_error", nil},
		{"anonymous, 403 becomes 401", auth.Optional(scheme("One"), scheme("Two")), "", lacking, 401, "credentials_missing", []string{`One realm="test"`, `Two realm="test"`}},
		{"anonymous", auth.Optional(scheme("One")), "", auth.ErrNoCredentials, 401, "credentials_missing", []string{`One realm="test"`}},
		{"no door", func(h http.Handler) http.Handler { return h }, "", auth.ErrNoCredentials, 500, "internal_error", nil},
		{"no door, 403", func(h http.Handler) http.Handler { return h }, "", lacking, 500, "internal_error", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p *httperr.Problem
			h := tt.door(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { p = auth.Refuse(r, tt.err) }))
			r := get()
			if tt.header != "" {
				r = get(tt.header)
			}
			h.ServeHTTP(httptest.NewRecorder(), r)
			if p.Status != tt.status || p.Code != tt.code {
				t.Errorf("got %d %s, want %d %s", p.Status, p.Code, tt.status, tt.code)
			}
			if got := p.Header["Www-Authenticate"]; !slices.Equal(got, tt.challenges) {
				t.Errorf("challenges = %q, want %q", got, tt.challenges)
			}
			if lacking.Header != nil {
				t.Error("Refuse changed the caller's Problem")
			}
		})
	}
	t.Run("an identity by hand", func(t *testing.T) {
		r := get()
		r = r.WithContext(auth.NewContext(r.Context(), &auth.Identity{Subject: "job"}))
		if p := auth.Refuse(r, lacking); p.Status != 403 {
			t.Errorf("status = %d, want 403", p.Status)
		}
	})
}

func BenchmarkRequire(b *testing.B) {
	h := auth.Require(scheme("One"))(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for _, bb := range []struct{ name, header string }{{"accepted", "One alice"}, {"refused", "One wrong"}} {
		b.Run(bb.name, func(b *testing.B) {
			r := get(bb.header)
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(httptest.NewRecorder(), r)
			}
		})
	}
}
