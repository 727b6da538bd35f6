package basic_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/basic"
	"github.com/sallyport/sallyport/auth/password"
	httperr "github.com/sallyport/sallyport/errors"
)

// unavailable are errors of a store or a lockout. Some look like a verdict on the
// credentials; none is one.
var unavailable = []struct {
	name string
	err  error
}{
	{"plain", errors.New("connection refused")},
	{"timeout", context.DeadlineExceeded},
	{"looks like wrong credentials", fmt.Errorf("directory: %w", auth.ErrInvalid)},
	{"looks like no credentials", fmt.Errorf("directory: %w", auth.ErrNoCredentials)},
	{"another service's 401", httperr.New(401, "token_expired", "The service's own token expired.")},
	{"another service's 404", fmt.Errorf("directory: %w", httperr.New(404, "not_found", "No such route."))},
	{"nil Problem", (*httperr.Problem)(nil)},
	{"another service's 503", httperr.New(503, "down", "Down.")},
}

// A store that can't be asked is a 503 with Retry-After, never a 401 and never
// anonymous, and nothing is counted.
func TestStoreFailure(t *testing.T) {
	for _, tt := range unavailable {
		t.Run(tt.name, func(t *testing.T) {
			guard, hasher := new(lockout), newHasher(t)
			store := &accounts{lookup: func(context.Context, string) (auth.User, error) {
				return newAccounts().users["ada"], tt.err
			}}
			b := newBasic(t, basic.Config{Users: store, Lockout: guard, Passwords: hasher})
			undecided(t, b, encode("ada", secret))
			if len(guard.calls) != 0 || hasher.Stats().Done != 0 {
				t.Errorf("attempts %v, %d hashes, want none", guard.calls, hasher.Stats().Done)
			}
		})
	}
}

// So is a lockout that can't be asked: without it there is no bound on guesses.
func TestLockoutFailure(t *testing.T) {
	for _, tt := range unavailable {
		t.Run(tt.name, func(t *testing.T) {
			hasher := newHasher(t)
			b := newBasic(t, basic.Config{Lockout: &lockout{err: tt.err}, Passwords: hasher})
			undecided(t, b, encode("ada", secret))
			undecided(t, b, encode("eve", secret))
			if got := hasher.Stats().Done; got != 0 {
				t.Errorf("%d hashes were computed, want 0", got)
			}
		})
	}
	t.Run("neither attempt nor error", func(t *testing.T) {
		undecided(t, newBasic(t, basic.Config{Lockout: silent{}}), encode("ada", secret))
	})
}

type silent struct{}

func (silent) Attempt(context.Context, string, netip.Addr) (auth.Attempt, error) { return nil, nil }

// undecided checks that the credentials are neither accepted nor refused, behind
// both kinds of door.
func undecided(t *testing.T, b *basic.Authenticator, authorization string) {
	t.Helper()
	id, err := login(b, authorization)
	if id != nil || err == nil || errors.Is(err, auth.ErrInvalid) || errors.Is(err, auth.ErrNoCredentials) {
		t.Errorf("got %v, %v, want an error that is no verdict", id, err)
	}
	for name, door := range map[string]func(...auth.Authenticator) func(http.Handler) http.Handler{"Require": auth.Require, "Optional": auth.Optional} {
		rec := new(recorder)
		h := httperr.Recover(httperr.Config{Logger: slog.New(slog.DiscardHandler), Audit: rec})(
			door(b)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Errorf("%s: the handler was called", name) })))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, request(authorization))
		if w.Code != 503 || w.Header().Get("Retry-After") == "" || w.Header().Get("WWW-Authenticate") != "" {
			t.Errorf("%s: got %d with %v, want 503 with Retry-After and no challenge", name, w.Code, w.Header())
		}
		for _, e := range rec.All() {
			if e.Name == audit.LoginFail {
				t.Errorf("%s: got event %+v, want no failed login", name, e)
			}
		}
	}
}

// A hash that can't be used is the store's fault. The attempt is given back.
func TestUnusableHash(t *testing.T) {
	guard := new(lockout)
	undecided(t, newBasic(t, basic.Config{Lockout: guard}), encode("broken", secret))
	if len(guard.calls) != 3 || fmt.Sprint(guard.events) != "[undecided user-4 undecided user-4 undecided user-4]" {
		t.Errorf("got attempts %v and %v, want each given back", guard.calls, guard.events)
	}
}

// A request that is cancelled before its password was looked at has not failed:
// the attempt is given back, whoever it was for.
func TestCancelledRequest(t *testing.T) {
	for _, name := range []string{"ada", "eve", "disabled", "nohash"} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			users := newAccounts().users
			store := &accounts{lookup: func(_ context.Context, name string) (auth.User, error) {
				cancel() // the client leaves while the store is asked
				u, ok := users[name]
				if !ok {
					return u, auth.ErrNotFound
				}
				return u, nil
			}}
			guard := new(lockout)
			b := newBasic(t, basic.Config{Users: store, Lockout: guard})
			id, err := b.Authenticate(request(encode(name, secret)).WithContext(ctx))
			if id != nil || !errors.Is(err, context.Canceled) || errors.Is(err, auth.ErrInvalid) {
				t.Errorf("got %v, %v, want context.Canceled", id, err)
			}
			if len(guard.calls) != 1 || len(guard.events) != 1 || !strings.HasPrefix(guard.events[0], "undecided") {
				t.Errorf("got attempts %v and %v, want one given back", guard.calls, guard.events)
			}
		})
	}
}

// When no more hashes can be computed the answer is 503 for everybody, known or
// not, and no attempt is counted.
func TestOverload(t *testing.T) {
	// The only slot is taken for some tenths of a second, and nobody waits.
	slow, err := bcrypt.GenerateFromPassword([]byte(secret), 11)
	if err != nil {
		t.Fatal(err)
	}
	hasher, err := password.New(password.Config{MaxConcurrent: 1, MaxQueue: 1, MaxWait: 1, Reference: cheap()})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ada", "eve", "disabled", "nohash"} {
		t.Run(name, func(t *testing.T) {
			for try := 1; ; try++ {
				guard, w := new(lockout), httptest.NewRecorder()
				b := newBasic(t, basic.Config{Passwords: hasher, Lockout: guard})
				var busy sync.WaitGroup
				busy.Go(func() { _, _ = hasher.Verify(context.WithoutCancel(t.Context()), string(slow), "wrong") })
				for hasher.Stats().Running == 0 {
					runtime.Gosched()
				}
				wrap(b, nil).ServeHTTP(w, request(encode(name, secret)))
				_, err := login(b, encode(name, secret))
				inTime := hasher.Stats().Running == 1
				busy.Wait()
				if !inTime && try < 20 {
					continue // the slot may have come free before
				}

				if w.Code != 503 || w.Header().Get("Retry-After") != "1" || !strings.Contains(w.Body.String(), `"code":"overloaded"`) {
					t.Errorf("got %d %v %s, want 503 with Retry-After: 1", w.Code, w.Header(), w.Body)
				}
				var p *httperr.Problem
				if !errors.As(err, &p) || p.Status != 503 || !errors.Is(err, password.ErrBusy) {
					t.Errorf("got %v, want a Problem 503 that wraps ErrBusy", err)
				}
				if len(guard.calls) != 2 || len(guard.events) != 2 || !strings.HasPrefix(guard.events[0], "undecided") || guard.events[1] != guard.events[0] {
					t.Errorf("got attempts %v and %v, want both given back", guard.calls, guard.events)
				}
				return
			}
		})
	}
}
