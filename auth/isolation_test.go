package auth_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/scope"
)

// Each test here is an attack on the one context value that the doors share. All
// of them mean most under the race detector.

func TestSubRequestNeverSeesAnotherCaller(t *testing.T) {
	inner := auth.Require(scheme("One"))(who)
	optional := auth.Optional(scheme("One"))(who)
	sub := func(ctx context.Context, h http.Handler, header ...string) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, get(header...).WithContext(ctx))
		return w.Code, w.Body.String()
	}
	h := httperr.Recover()(auth.Require(scheme("One"))(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if code, body := sub(r.Context(), inner, "One bob"); body != "One bob" {
			t.Errorf("a sub-request of bob is %d %q", code, body)
		}
		if code, body := sub(r.Context(), inner); code != 401 {
			t.Errorf("a sub-request without credentials is %d %q, want 401", code, body)
		}
		if code, body := sub(r.Context(), inner, "One wrong"); code != 401 {
			t.Errorf("a sub-request with wrong credentials is %d %q, want 401", code, body)
		}
		if _, body := sub(r.Context(), optional); body != "anonymous" {
			t.Errorf("an optional sub-request without credentials is %q, want anonymous", body)
		}
		who(w, r)
	})))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, get("One alice"))
	if w.Body.String() != "One alice" {
		t.Errorf("after the sub-requests the caller is %q, want One alice", w.Body)
	}
}

// A batch handler calls the service's own root handler with its context. Doors
// that make a scope before the auth door does must not make the caller's identity
// look like the sub-request's own.
func TestSubRequestThroughAWholeChain(t *testing.T) {
	settle := func(next http.Handler) http.Handler { // any door that makes a scope
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, r = scope.For(r)
			next.ServeHTTP(w, r)
		})
	}
	for _, tt := range []struct {
		name  string
		inner http.Handler
		want  string
	}{
		{"Optional", auth.Optional(scheme("One"))(who), "anonymous"},
		{"Recover, Optional", httperr.Recover()(auth.Optional(scheme("One"))(who)), "anonymous"},
		{"two scopes, Optional", settle(settle(auth.Optional(scheme("One"))(who))), "anonymous"},
		{"Recover, Optional twice", httperr.Recover()(auth.Optional(scheme("One"))(auth.Optional(scheme("Two"))(who))), "anonymous"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rec := new(events)
			h := httperr.Recover(httperr.Config{Audit: rec})(auth.Require(scheme("One"))(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				w := httptest.NewRecorder()
				tt.inner.ServeHTTP(w, get().WithContext(r.Context()))
				if w.Body.String() != tt.want {
					t.Errorf("without credentials the sub-request is %q, want %q", w.Body, tt.want)
				}
				w = httptest.NewRecorder()
				tt.inner.ServeHTTP(w, get("One bob").WithContext(r.Context()))
				if w.Body.String() != "One bob" {
					t.Errorf("with bob's credentials the sub-request is %q, want One bob", w.Body)
				}
				w = httptest.NewRecorder()
				tt.inner.ServeHTTP(w, get("One wrong").WithContext(r.Context()))
				if w.Code != 401 {
					t.Errorf("with wrong credentials the sub-request is %d, want 401", w.Code)
				}
			})))
			h.ServeHTTP(httptest.NewRecorder(), get("One alice"))
			if len(rec.All()) != 1 || rec.All()[0].Subject != "" {
				t.Errorf("events = %+v, want one that does not name alice", rec.All())
			}
		})
	}
}

func TestConcurrentSubRequestsOfOneContext(t *testing.T) {
	inner := auth.Require(scheme("One"))(who)
	h := httperr.Recover()(auth.Require(scheme("One"))(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var wg sync.WaitGroup
		for i := range 32 {
			wg.Go(func() {
				name := "user" + strconv.Itoa(i)
				rec := httptest.NewRecorder()
				inner.ServeHTTP(rec, get("One "+name).WithContext(r.Context()))
				if got := rec.Body.String(); got != "One "+name {
					t.Errorf("got %q, want %s", got, name)
				}
			})
		}
		wg.Wait()
		who(w, r)
	})))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, get("One alice"))
	if w.Body.String() != "One alice" {
		t.Errorf("the caller is %q, want One alice", w.Body)
	}
}

func TestTimeoutHandlerBelowAndAboveTheDoor(t *testing.T) {
	for _, tt := range []struct {
		name  string
		chain func(slow http.Handler) http.Handler
	}{
		{"below", func(h http.Handler) http.Handler {
			return httperr.Recover()(auth.Require(scheme("One"))(http.TimeoutHandler(h, time.Millisecond, "timeout")))
		}},
		{"above", func(h http.Handler) http.Handler {
			return httperr.Recover()(http.TimeoutHandler(auth.Require(scheme("One"))(h), time.Millisecond, "timeout"))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var wg sync.WaitGroup
			answered := make(chan struct{})
			slow := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				defer wg.Done()
				<-answered
				<-r.Context().Done()
				id, ok := auth.FromContext(r.Context())
				want := strings.TrimPrefix(r.Header.Get("Authorization"), "One ")
				if !ok || id.Subject != want {
					t.Errorf("the late handler sees %v, want %s", id, want)
				}
				id.Subject = "mutated"
				id.Scopes[0] = "mutated"
			})
			h := tt.chain(slow)
			for i := range 16 {
				wg.Add(1)
				w := httptest.NewRecorder()
				h.ServeHTTP(w, get("One u"+strconv.Itoa(i)))
				if w.Code != http.StatusServiceUnavailable {
					t.Errorf("status = %d, want 503 from the TimeoutHandler", w.Code)
				}
			}
			close(answered)
			wg.Wait()
		})
	}
}

func TestHandlerThatOutlivesItsRequest(t *testing.T) {
	var wg sync.WaitGroup
	release := make(chan struct{})
	srv := httptest.NewServer(httperr.Recover()(auth.Require(scheme("One"))(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		want := strings.TrimPrefix(r.Header.Get("Authorization"), "One ")
		wg.Go(func() {
			<-release
			if id, ok := auth.FromContext(r.Context()); !ok || id.Subject != want {
				t.Errorf("the goroutine sees %v, want %s", id, want)
			}
		})
		who(w, r)
	}))))
	defer srv.Close()
	for i := range 20 {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL, nil)
		req.Header.Set("Authorization", "One u"+strconv.Itoa(i))
		res, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if string(body) != "One u"+strconv.Itoa(i) {
			t.Errorf("got %q, want u%d", body, i)
		}
	}
	close(release)
	wg.Wait()
}

func TestHandlerThatMutatesItsIdentity(t *testing.T) {
	h := httperr.Recover()(auth.Require(scheme("One"))(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _ := auth.FromContext(r.Context())
		if len(id.Scopes) != 1 || id.Scopes[0] != "read" {
			t.Errorf("scopes = %v, want [read]", id.Scopes)
		}
		id.Subject = "root"
		id.Scopes[0] = "admin"
		id.Scopes = append(id.Scopes, "more")
		id.Roles = append(id.Roles, "admin")
	})))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				h.ServeHTTP(httptest.NewRecorder(), get("One alice"))
			}
		})
	}
	wg.Wait()
}

func TestNewContextNeverChangesItsParent(t *testing.T) {
	alice := auth.NewContext(t.Context(), &auth.Identity{Subject: "alice"})
	bob := auth.NewContext(alice, &auth.Identity{Subject: "bob"})
	for _, tt := range []struct {
		ctx  context.Context
		want string
	}{{alice, "alice"}, {bob, "bob"}} {
		if id, ok := auth.FromContext(tt.ctx); !ok || id.Subject != tt.want {
			t.Errorf("got %v, want %s", id, tt.want)
		}
	}
	if _, ok := auth.FromContext(t.Context()); ok {
		t.Error("the parent has an identity")
	}
}
