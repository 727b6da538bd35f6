package basic_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/basic"
	"github.com/sallyport/sallyport/auth/password"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/eventlog"
	"github.com/sallyport/sallyport/internal/scope"
)

const secret = "correct: horse"

// cheap is a hash of secret that costs next to nothing, as does the hasher's
// Dummy that refers to it. It is weaker than new hashes are.
var cheap = sync.OnceValue(func() string { return weak(secret) })

func weak(pw string) string {
	salt := []byte(rand.Text()[:16])
	b64 := base64.RawStdEncoding.EncodeToString
	return "$argon2id$v=19$m=8,t=1,p=1$" + b64(salt) + "$" + b64(argon2.IDKey([]byte(pw), salt, 1, 8, 1, 32))
}

func newHasher(t testing.TB) *password.Hasher {
	t.Helper()
	h, err := password.New(password.Config{Reference: cheap(), MaxQueue: 1000, MaxWait: 10 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// accounts is a store that the tests can bend. Its hashes stay as they are.
type accounts struct {
	users  map[string]auth.User
	lookup func(ctx context.Context, name string) (auth.User, error) // if not nil
	set    func(subject, hash string, ifVersion int64) error         // if not nil
}

func (a *accounts) User(ctx context.Context, name string) (auth.User, error) {
	if a.lookup != nil {
		return a.lookup(ctx, name)
	}
	u, ok := a.users[name]
	if !ok {
		return auth.User{}, fmt.Errorf("accounts: %w", auth.ErrNotFound)
	}
	return u, nil
}

func (a *accounts) SetPasswordHash(_ context.Context, subject, hash string, ifVersion int64) error {
	if a.set != nil {
		return a.set(subject, hash, ifVersion)
	}
	return nil
}

func newAccounts() *accounts {
	return &accounts{users: map[string]auth.User{
		"ada":      {Subject: "user-1", Name: "ada", PasswordHash: cheap(), Version: 7, Roles: []string{"editor"}, Scopes: []string{"items:read", "items:write"}},
		"disabled": {Subject: "user-2", Name: "disabled", PasswordHash: cheap(), Disabled: true},
		"nohash":   {Subject: "user-3", Name: "nohash"},
		"nobody":   {Name: "nobody", PasswordHash: cheap()},
		"zero":     {},
		"broken":   {Subject: "user-4", Name: "broken", PasswordHash: "$argon2id$v=19$m=4294967295,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"},
		"empty":    {Subject: "user-5", Name: "empty", PasswordHash: weak("")},
	}}
}

// recorder keeps audit events.
type recorder = eventlog.Recorder

func newBasic(t testing.TB, cfg basic.Config) *basic.Authenticator {
	t.Helper()
	if cfg.Users == nil {
		cfg.Users = newAccounts()
	}
	if cfg.Passwords == nil {
		cfg.Passwords = newHasher(t)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	b, err := basic.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wrap puts b in front of a handler that answers with the subject. Events go to
// rec, logs nowhere.
func wrap(b auth.Authenticator, rec audit.Recorder) http.Handler {
	if rec == nil {
		rec = new(recorder)
	}
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _ := auth.FromContext(r.Context())
		_, _ = fmt.Fprint(w, id.Subject)
	})
	return httperr.Recover(httperr.Config{Logger: slog.New(slog.DiscardHandler), Audit: rec})(auth.Require(b)(next))
}

func encode(name, pw string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+pw))
}

func request(authorization ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "https://api.example.com/items", nil)
	r.Header.Set("X-Request-Id", "the-same-for-all")
	r.Header["Authorization"] = authorization
	return r
}

// respond returns the whole answer, without what differs from one request to the
// next, and its status.
func respond(t testing.TB, h http.Handler, r *http.Request) (status int, answer string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	body := w.Body.String()
	var members map[string]any
	if err := json.Unmarshal([]byte(body), &members); err == nil {
		for _, name := range []string{"request_id", "error_id"} {
			if id, ok := members[name].(string); ok {
				body = strings.ReplaceAll(body, id, "id")
			}
		}
	}
	var header bytes.Buffer
	w.Header().Del("X-Request-Id")
	if err := w.Header().Write(&header); err != nil {
		t.Fatal(err)
	}
	return w.Code, header.String() + "\n" + body
}

// login asks b, without a door. Events go nowhere.
func login(b *basic.Authenticator, authorization ...string) (*auth.Identity, error) {
	s, r := scope.For(request(authorization...))
	s.Recorder = discard{}
	return b.Authenticate(r)
}

func TestAuthenticate(t *testing.T) {
	b := newBasic(t, basic.Config{})
	before := time.Now()
	id, err := login(b, encode("ada", secret))
	if err != nil {
		t.Fatal(err)
	}
	if id.Subject != "user-1" || id.Issuer != "" || id.Scheme != "Basic" || id.ClientID != "" ||
		fmt.Sprint(id.Roles, id.Scopes) != "[editor] [items:read items:write]" || !id.Expires.IsZero() {
		t.Errorf("got %+v, want user-1 by Basic with one role and two scopes", id)
	}
	if id.AuthTime.Before(before) || id.AuthTime.After(time.Now()) {
		t.Errorf("got AuthTime %v, want now", id.AuthTime)
	}
	if got := b.Scheme(); got.Type != "http" || got.Scheme != "basic" {
		t.Errorf("got scheme %+v, want http and basic", got)
	}
}

// The identity is this request's alone, even if the store hands out its own
// slices.
func TestIdentityIsNotShared(t *testing.T) {
	store := newAccounts()
	u := store.users["ada"]
	u.Roles = append(make([]string, 0, 8), "editor")
	store.users["ada"] = u
	b := newBasic(t, basic.Config{Users: store})
	one, err := login(b, encode("ada", secret))
	if err != nil {
		t.Fatal(err)
	}
	if cap(one.Roles) != len(one.Roles) || cap(one.Scopes) != len(one.Scopes) {
		t.Errorf("got capacities %d and %d, want the lengths", cap(one.Roles), cap(one.Scopes))
	}
	one.Roles[0], one.Scopes[0] = "admin", "everything"
	two, err := login(b, encode("ada", secret))
	if err != nil {
		t.Fatal(err)
	}
	if one == two || two.Roles[0] != "editor" || two.Scopes[0] != "items:read" {
		t.Errorf("got %v %v after a change of another request's identity", two.Roles, two.Scopes)
	}
}

func TestNewErrorsNameTheField(t *testing.T) {
	users, hasher := newAccounts(), newHasher(t)
	for _, tt := range []struct {
		field string
		cfg   basic.Config
	}{
		{"Users", basic.Config{Passwords: hasher}},
		{"Passwords", basic.Config{Users: users}},
		{"Realm", basic.Config{Users: users, Passwords: hasher, Realm: "a\r\nSet-Cookie: b"}},
	} {
		b, err := basic.New(tt.cfg)
		if err == nil || b != nil || !strings.Contains(err.Error(), "Config."+tt.field) {
			t.Errorf("got %v, %v, want an error that names Config.%s", b, err, tt.field)
		}
	}
}

// Two fields could be read as two callers.
func TestTwoAuthorizationFields(t *testing.T) {
	b := newBasic(t, basic.Config{})
	status, _ := respond(t, wrap(b, nil), request(encode("ada", secret), encode("ada", secret)))
	if status != 400 {
		t.Errorf("got %d, want 400", status)
	}
}

// Who may not log in is answered with the same bytes after the same work,
// whatever the reason. Fiber (CVE-2026-44332, GO-2026-5886) and Traefik
// (CVE-2026-32595, GO-2026-4792, GO-2026-5195) answered sooner for a name that
// did not exist.
func TestCVE_2026_44332_RefusalsAreAlike(t *testing.T) {
	for _, tt := range []struct {
		name, user, pw string
		locked         bool
		reason         string
	}{
		{"wrong password", "ada", "wrong", false, "wrong password"},
		{"unknown user", "eve", "wrong", false, "no such user"},
		{"unknown user, somebody's password", "eve", secret, false, "no such user"},
		{"unknown user, no password", "eve", "", false, "no such user"},
		{"no password", "ada", "", false, "wrong password"},
		{"a long password", "ada", strings.Repeat("p", 5000), false, "wrong password"},
		{"disabled, right password", "disabled", secret, false, "disabled"},
		{"disabled, wrong password", "disabled", "wrong", false, "wrong password"},
		{"locked, right password", "ada", secret, true, "locked out"},
		{"locked, wrong password", "ada", "wrong", true, "locked out"},
		{"locked and disabled", "disabled", secret, true, "locked out"},
		{"locked and unknown", "eve", secret, true, "locked out"},
		{"account without a hash", "nohash", secret, false, "no password"},
		{"account without a hash, no password", "nohash", "", false, "no password"},
		{"account without a subject", "nobody", secret, false, "no subject"},
		{"a store's zero user", "zero", "", false, "no subject"},
		{"hash of the empty password", "empty", "", false, "wrong password"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			hasher, guard, rec, events := newHasher(t), new(lockout), new(recorder), new(recorder)
			b := newBasic(t, basic.Config{Passwords: hasher, Lockout: guard})
			_, want := respond(t, wrap(b, rec), request(encode("ada", "wrong")))

			if tt.locked {
				guard.limit = 1
				guard.failures = map[string]int{"user-1": 1, "user-2": 1, "name:eve": 1}
			}
			before := hasher.Stats().Done
			status, got := respond(t, wrap(b, events), request(encode(tt.user, tt.pw)))
			if status != 401 || got != want {
				t.Errorf("got %d:\n%s\nwant as for a wrong password:\n%s", status, got, want)
			}
			if n := hasher.Stats().Done - before; n != 1 {
				t.Errorf("%d hashes were computed, want 1", n)
			}
			if len(guard.events) != 0 {
				t.Errorf("the lockout was told %v, want nothing", guard.events)
			}
			if len(events.All()) != 1 || events.All()[0].Name != audit.LoginFail || !strings.Contains(events.All()[0].Reason, tt.reason) {
				t.Errorf("got events %+v, want one authn_login_fail because of %q", events.All(), tt.reason)
			}
		})
	}
}

// Navidrome (CVE-2025-27112, CVE-2023-51442) took an unknown name with an empty
// secret for a match. Here a lookup that finds nothing can't end in one, whatever
// the store returns beside its error.
func TestCVE_2025_27112_UnknownUserNeverMatches(t *testing.T) {
	store := &accounts{lookup: func(context.Context, string) (auth.User, error) {
		return auth.User{Subject: "user-1", PasswordHash: cheap()}, auth.ErrNotFound
	}}
	guard := new(lockout)
	b := newBasic(t, basic.Config{Users: store, Lockout: guard})
	for _, pw := range []string{"", secret, cheap()} {
		if id, err := login(b, encode("eve", pw)); !errors.Is(err, auth.ErrInvalid) || id != nil || strings.Contains(err.Error(), "user-1") {
			t.Errorf("password %q: got %v, %v, want ErrInvalid, and nothing of user-1", pw, id, err)
		}
	}
	if guard.failures["name:eve"] != 3 || guard.failures["user-1"] != 0 {
		t.Errorf("got failures %v, want 3 of eve", guard.failures)
	}
}

// Without a Logger, slog.Default is asked when there is something to say.
func TestDefaultLogger(t *testing.T) {
	var log bytes.Buffer
	old := slog.Default()
	defer slog.SetDefault(old)
	b, err := basic.New(basic.Config{Users: newAccounts(), Passwords: newHasher(t)})
	if err != nil {
		t.Fatal(err)
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	r := request(encode("ada", "wrong"))
	r.TLS = nil
	_, _ = b.Authenticate(r)
	if !strings.Contains(log.String(), "plain HTTP") {
		t.Errorf("got %q, want the warning", log.String())
	}
}

// Each login by password is one event.
func TestLoginSuccessEvent(t *testing.T) {
	rec := new(recorder)
	h := wrap(newBasic(t, basic.Config{}), rec)
	if status, answer := respond(t, h, request(encode("ada", secret))); status != 200 || !strings.HasSuffix(answer, "user-1") {
		t.Fatalf("got %d %s, want 200 user-1", status, answer)
	}
	if len(rec.All()) != 1 {
		t.Fatalf("got %d events, want 1", len(rec.All()))
	}
	e := rec.All()[0]
	if e.Name != audit.LoginSuccess || e.Subject != "user-1" || e.Scheme != "Basic" || e.Addr.String() != "192.0.2.1" || e.Path != "/items" || e.RequestID == "" {
		t.Errorf("got %+v, want a success of user-1 from 192.0.2.1", e)
	}
}

// Many logins at a time, among them upgrades of one account, under -race.
func TestConcurrentLogins(t *testing.T) {
	users, err := auth.NewMemoryUsers(auth.User{Subject: "user-1", Name: "ada", PasswordHash: cheap(), Roles: []string{"editor"}})
	if err != nil {
		t.Fatal(err)
	}
	h := wrap(newBasic(t, basic.Config{Users: users, Lockout: new(lockout)}), nil)
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			pw, want := secret, 200
			if i%3 == 0 {
				pw, want = "wrong", 401
			}
			if status, _ := respond(t, h, request(encode("ada", pw))); status != want {
				t.Errorf("got %d, want %d", status, want)
			}
		})
	}
	wg.Wait()
	if u, err := users.User(t.Context(), "ada"); err != nil || u.Version != 1 {
		t.Errorf("got version %d, %v, want one upgrade", u.Version, err)
	}
}

func TestNewRefusesANilPointer(t *testing.T) {
	hasher, err := password.New(password.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := basic.New(basic.Config{Users: (*auth.MemoryUsers)(nil), Passwords: hasher}); err == nil {
		t.Error("New took a nil *MemoryUsers")
	}
	if _, err := basic.New(basic.Config{Users: newAccounts(), Passwords: hasher, Lockout: (*lockout)(nil)}); err == nil || !strings.Contains(err.Error(), "Config.Lockout") {
		t.Errorf("a nil *lockout: got %v, want an error that names the field", err)
	}
}

// dsn is a store whose own value is a secret.
type dsn string

func (dsn) User(context.Context, string) (auth.User, error) { return auth.User{}, auth.ErrNotFound }

func (dsn) SetPasswordHash(context.Context, string, string, int64) error { return nil }

func TestAuthenticatorPrintsNothingOfItsStore(t *testing.T) {
	hasher, err := password.New(password.Config{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := basic.New(basic.Config{Users: dsn("postgres://svc:canary@db"), Passwords: hasher})
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%q"} {
		if got := fmt.Sprintf(verb, b); strings.Contains(got, "canary") {
			t.Errorf("%s shows the store: %s", verb, got)
		}
	}
}

// ASVS 5.0, 6.3.2: there is no account, and no password, that nobody has made.
func TestASVS_6_3_2_NoDefaultAccounts(t *testing.T) {
	users, err := auth.NewMemoryUsers()
	if err != nil {
		t.Fatal(err)
	}
	b := newBasic(t, basic.Config{Users: users})
	for _, name := range []string{"admin", "root", "guest", "user", "test"} {
		for _, pw := range []string{"", "admin", "root", "password", "guest", name} {
			if _, err := login(b, encode(name, pw)); !errors.Is(err, auth.ErrInvalid) {
				t.Errorf("%s with %q: got %v, want ErrInvalid", name, pw, err)
			}
		}
	}
	for _, u := range []auth.User{{Name: "admin"}, {Subject: "1"}} {
		if _, err := auth.NewMemoryUsers(u); err == nil {
			t.Errorf("%q with the name %q is an account", u.Subject, u.Name)
		}
	}
}
