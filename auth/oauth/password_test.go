package oauth_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/basic"
	"github.com/sallyport/sallyport/auth/oauth"
	"github.com/sallyport/sallyport/auth/password"
)

// The server and the client must both name the grant.
func TestRFC9700_2_4_PasswordGrantIsOffUnlessNamed(t *testing.T) {
	e := newEndpoint(t, func(c *oauth.Config) { c.Grants = []oauth.Grant{oauth.ClientCredentials} })
	wantError(t, e.login("ada", adaPassword), 400, "unsupported_grant_type")

	e = newEndpoint(t, nil)
	e.clients.Clients = memoryClients(t, oauth.Client{ID: "app", Public: true, Scopes: []string{"items:read"}})
	wantError(t, e.login("ada", adaPassword), 400, "unauthorized_client")
	if e.users.lookups != 0 {
		t.Errorf("the user store was asked %d times, want never", e.users.lookups)
	}
}

// An unknown user, a wrong password, and an account that is disabled, locked or
// has no password get the same bytes after the same steps: one lookup, one
// counted attempt, one hash.
func TestRFC6749_5_2_RefusedUsersAreAlike(t *testing.T) {
	e := newEndpoint(t, nil)
	nul := func(w *httptest.ResponseRecorder) string {
		w.Header().Del("X-Request-Id")
		return fmt.Sprint(w.Code, w.Header(), w.Body)
	}
	want := nul(e.login("nobody", "wrong"))
	ada, err := e.users.Users.User(t.Context(), "ada")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, user, password string
		most                 int
		answer               *auth.User
		err                  error
	}{
		{"unknown", "nobody", adaPassword, 0, nil, nil},
		{"wrong password", "ada", "wrong", 0, nil, nil},
		{"password too long", "ada", adaPassword + strings.Repeat("x", 2000), 0, nil, nil},
		{"disabled, right password", "eve", adaPassword, 0, nil, nil},
		{"disabled, wrong password", "eve", "wrong", 0, nil, nil},
		{"no password", "bob", "x", 0, nil, nil},
		{"locked, right password", "ada", adaPassword, 1, nil, nil},
		{"locked, wrong password", "ada", "wrong", 1, nil, nil},
		{"locked, unknown", "nobody", "wrong", 1, nil, nil},
		{"no subject", "ada", adaPassword, 0, &auth.User{Name: "ada", PasswordHash: ada.PasswordHash}, nil},
		{"not found, though there is something", "ada", adaPassword, 0, &ada, fmt.Errorf("sql: %w", auth.ErrNotFound)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e.lockout.most, e.lockout.failed, e.lockout.attempts, e.lockout.ended = tt.most, nil, nil, nil
			if tt.most > 0 {
				e.login(tt.user, "wrong")
			}
			e.users.answer, e.users.err = tt.answer, tt.err
			lookups, attempts, hashes := e.users.lookups, len(e.lockout.attempts), e.passwords.Stats().Done

			w := e.login(tt.user, tt.password)
			wantError(t, w, 400, "invalid_grant")
			if got := nul(w); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if n := e.users.lookups - lookups; n != 1 {
				t.Errorf("the user store was asked %d times, want once", n)
			}
			if n := len(e.lockout.attempts) - attempts; n != 1 {
				t.Errorf("%d attempts were counted, want 1", n)
			}
			if n := e.passwords.Stats().Done - hashes; n != 1 {
				t.Errorf("%d hashes were computed, want 1", n)
			}
			if len(e.lockout.ended) != 0 {
				t.Errorf("the attempt was given back: %v", e.lockout.ended)
			}
		})
	}
}

// A name that belongs to nobody costs a hash, so that the time of the answer does
// not tell it from one that does.
func TestCVE_2026_44332_UnknownUserCostsAHash(t *testing.T) {
	e := newEndpoint(t, nil)
	for i, name := range []string{"nobody", "ada", "bob", "eve"} {
		wantError(t, e.login(name, "wrong"), 400, "invalid_grant")
		if got, want := e.passwords.Stats().Done, uint64(i+1); got != want {
			t.Errorf("%s: got %d hashes so far, want %d", name, got, want)
		}
	}
}

// Guesses at Basic and at the token endpoint count together: neither is a way
// around the other's lock.
func TestOneLockoutForBasicAndToken(t *testing.T) {
	e := newEndpoint(t, nil)
	e.lockout.most = 2
	b, err := basic.New(basic.Config{Users: e.users, Passwords: e.passwords, Lockout: e.lockout, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	try := func(password string) error {
		r := httptest.NewRequest("GET", "https://api.example.com/", nil)
		r.SetBasicAuth("ada", password)
		_, err := b.Authenticate(r)
		return err
	}
	wantError(t, e.login("ada", "wrong"), 400, "invalid_grant")
	if err := try("wrong"); !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("got %v, want ErrInvalid", err)
	}
	wantError(t, e.login("ada", adaPassword), 400, "invalid_grant")
	if err := try(adaPassword); !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("got %v, want ErrInvalid", err)
	}
}

// An unknown name and an empty secret of any kind are no way in.
func TestCVE_2023_51442_UnknownUserNeverMatches(t *testing.T) {
	e := newEndpoint(t, nil)
	for _, pw := range []string{"", "x", adaPassword, "%00", "+"} {
		w := e.post("grant_type=password&client_id=app&username=nobody&password=" + strings.ReplaceAll(pw, " ", "+"))
		if w.Code != 400 {
			t.Errorf("password %q: got status %d, want 400", pw, w.Code)
		}
		w = e.post("grant_type=password&client_id=app&username=bob&password=" + strings.ReplaceAll(pw, " ", "+"))
		if w.Code != 400 {
			t.Errorf("account without a password, password %q: got status %d, want 400", pw, w.Code)
		}
	}
}

// bcrypt reads 72 bytes; a longer password must not pass for its beginning.
func TestCVE_2025_22228_LongPassword(t *testing.T) {
	e := newEndpoint(t, nil)
	long := strings.Repeat("x", 72)
	e.users.answer = &auth.User{Subject: "u-ada", Name: "ada", PasswordHash: cheapHash(t, long)}
	wantToken(t, e.login("ada", long))
	wantError(t, e.login("ada", long+"y"), 400, "invalid_grant")
}

// Once an account is locked the right password does not open it.
func TestCVE_2026_35597_LockTakesEffect(t *testing.T) {
	e := newEndpoint(t, nil)
	e.lockout.most = 3
	wantToken(t, e.login("ada", adaPassword))
	for range 3 {
		wantError(t, e.login("ada", "wrong"), 400, "invalid_grant")
	}
	wantError(t, e.login("ada", adaPassword), 400, "invalid_grant")
	wantToken(t, newEndpoint(t, nil).login("ada", adaPassword)) // it is not the password
}

// Attempts count on the account, however its name was written, and from the
// client's address.
func TestCVE_2025_54998_AttemptsCountOnTheAccount(t *testing.T) {
	e := newEndpoint(t, nil)
	e.users.Users = folded{e.users.Users}
	for _, name := range []string{"ada", "ADA", "Ada", "nobody"} {
		e.login(name, "wrong")
	}
	want := []string{"u-ada 192.0.2.1", "u-ada 192.0.2.1", "u-ada 192.0.2.1", "name:nobody 192.0.2.1"}
	if !slices.Equal(e.lockout.attempts, want) {
		t.Errorf("got %q, want %q", e.lockout.attempts, want)
	}
}

// folded takes names for equal that differ in case.
type folded struct{ auth.Users }

func (f folded) User(ctx context.Context, name string) (auth.User, error) {
	return f.Users.User(ctx, strings.ToLower(name))
}

// Guesses made at the same time all count, since they count before the check.
func TestCVE_2025_6015_ConcurrentGuessesCount(t *testing.T) {
	e := newEndpoint(t, nil)
	hashes := uint64(1)
	e.lockout.counted = func() { hashes = e.passwords.Stats().Done }
	e.login("ada", "wrong")
	if hashes != 0 {
		t.Error("the password was checked before the attempt was counted")
	}

	e.lockout.counted = nil
	e.lockout.most = 5
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { e.login("ada", "wrong") })
	}
	wg.Wait()
	if n := e.lockout.failed["u-ada"]; n != 51 {
		t.Errorf("%d attempts count, want 51", n)
	}
	wantError(t, e.login("ada", adaPassword), 400, "invalid_grant")
}

func TestAttemptEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(*testing.T, *endpoint)
		want string
	}{
		{"right", func(_ *testing.T, e *endpoint) { e.login("ada", adaPassword) }, "succeeded"},
		{"wrong", func(_ *testing.T, e *endpoint) { e.login("ada", "wrong") }, ""},
		{"right, but not the scope", func(_ *testing.T, e *endpoint) {
			e.post(passwordForm("ada", adaPassword, "client_id=service&scope=jobs:run&client_secret="+e.secret))
		}, "succeeded"},
		{"client may not have the scope", func(_ *testing.T, e *endpoint) { e.login("ada", adaPassword, "scope=admin") }, ""},
		{"cancelled", func(t *testing.T, e *endpoint) {
			// The memory store would notice the end of the context itself.
			u, err := e.users.Users.User(t.Context(), "ada")
			if err != nil {
				t.Fatal(err)
			}
			e.users.answer = &u
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			r := request{body: passwordForm("ada", adaPassword, "client_id=app")}.build().WithContext(ctx)
			wantError(t, serve(e, r), 503, "temporarily_unavailable")
		}, "undecided"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEndpoint(t, nil)
			if tt.name == "cancelled" {
				e = newEndpoint(t, func(c *oauth.Config) {
					c.Clients, c.Grants, c.DefaultClient = nil, []oauth.Grant{oauth.Password}, "app"
				})
			}
			tt.do(t, e)
			if got := strings.Join(e.lockout.ended, " "); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// Where too many passwords are being checked the answer is 503 for a second, and
// nothing counts.
func TestPasswordsBusy(t *testing.T) {
	slow := slowHash(t)
	hasher, err := password.New(password.Config{MaxConcurrent: 1, MaxQueue: 1, MaxWait: time.Nanosecond, Reference: slow})
	if err != nil {
		t.Fatal(err)
	}
	e := newEndpoint(t, func(c *oauth.Config) { c.Passwords = hasher })
	e.users.answer = &auth.User{Subject: "u-ada", Name: "ada", PasswordHash: slow}

	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() { // holds the only slot, but for moments
		for ctx.Err() == nil {
			_ = hasher.Dummy(ctx, "x")
		}
	})
	w := e.login("ada", "x")
	for w.Code == 200 { // it got hold of such a moment
		w = e.login("ada", "x")
	}
	wantError(t, w, 503, "temporarily_unavailable")
	wantHeader(t, w, "Retry-After", "1")
	if got := e.lockout.ended[len(e.lockout.ended)-1]; got != "undecided" {
		t.Errorf("the attempt ended as %q, want undecided", got)
	}
}

// slowHash returns a hash that takes some hundredths of a second to verify.
func slowHash(t *testing.T) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte("x"), 10)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}

// A weak hash is replaced on login, only if it is still the same, and no login
// fails for want of it.
func TestHashIsUpgraded(t *testing.T) {
	e := newEndpoint(t, nil)
	before, err := e.users.Users.User(t.Context(), "ada")
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, e.login("ada", "wrong"), 400, "invalid_grant")
	if e.users.saves != 0 {
		t.Errorf("a wrong password replaced the hash")
	}
	wantToken(t, e.login("ada", adaPassword))
	after, err := e.users.Users.User(t.Context(), "ada")
	if err != nil {
		t.Fatal(err)
	}
	if after.PasswordHash == before.PasswordHash || e.passwords.NeedsRehash(after.PasswordHash) || after.Version != before.Version+1 {
		t.Errorf("the hash was not replaced by a strong one")
	}
	wantToken(t, e.login("ada", adaPassword))
	if e.users.saves != 1 {
		t.Errorf("the hash was saved %d times, want once", e.users.saves)
	}

	// The password was changed between the lookup and the upgrade.
	e.users.answer = &before
	wantToken(t, e.login("ada", adaPassword))
	if now, err := e.users.Users.User(t.Context(), "ada"); err != nil || now.PasswordHash != after.PasswordHash {
		t.Errorf("an upgrade undid a change of the password (%v)", err)
	}

	e.users.saveErr = errors.New("read-only replica")
	wantToken(t, e.login("ada", adaPassword))
	if !strings.Contains(e.logs.String(), "could not be upgraded") || !strings.Contains(e.logs.String(), "read-only replica") {
		t.Errorf("the log does not tell: %s", e.logs)
	}
}

// What a token can't say truly is not issued.
func TestUserThatATokenCantName(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*auth.User)
	}{
		{"subject not UTF-8", func(u *auth.User) { u.Subject = "u-\xff" }},
		{"subject too long", func(u *auth.User) { u.Subject = strings.Repeat("u", 256) }},
		{"role not UTF-8", func(u *auth.User) { u.Roles = []string{"a\xff"} }},
		{"role empty", func(u *auth.User) { u.Roles = []string{""} }},
		{"scope that is two", func(u *auth.User) { u.Scopes = []string{"items:read admin"} }},
		{"scope empty", func(u *auth.User) { u.Scopes = []string{""} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEndpoint(t, nil)
			u, err := e.users.Users.User(t.Context(), "ada")
			if err != nil {
				t.Fatal(err)
			}
			tt.change(&u)
			e.users.answer = &u
			wantError(t, e.login("ada", adaPassword), 500, "server_error")
			wantError(t, e.login("ada", "wrong"), 400, "invalid_grant") // told to nobody else
		})
	}
}

func TestWithoutLockout(t *testing.T) {
	e := newEndpoint(t, func(c *oauth.Config) { c.Lockout = nil })
	for range 20 {
		wantError(t, e.login("ada", "wrong"), 400, "invalid_grant")
	}
	wantToken(t, e.login("ada", adaPassword))
	e.users.answer = &auth.User{Subject: "u-ada", Name: "ada", PasswordHash: "nonsense"}
	wantError(t, e.login("ada", adaPassword), 503, "temporarily_unavailable")
}
