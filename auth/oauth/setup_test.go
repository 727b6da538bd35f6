package oauth_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/auth/oauth"
	"github.com/sallyport/sallyport/auth/password"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/eventlog"
)

const (
	issuer   = "https://api.example.com"
	audience = "api"

	adaPassword = "correct horse battery staple"
)

// An endpoint is a token endpoint and everything that a test can see of it.
type endpoint struct {
	http.Handler
	server    *oauth.Server
	public    ed25519.PublicKey // verifies the tokens
	ring      *jwk.Ring
	users     *users
	clients   *clients
	lockout   *lockout
	passwords *password.Hasher
	secret    string // of the client "service"
	events    *events
	logs      *logs
}

// newEndpoint returns an endpoint with both grants; change may be nil. Its users
// are ada (password adaPassword), eve (disabled, same password) and bob (no
// password). Its clients are "service", which is confidential and may do
// everything, and "app", which is public and may use Password.
func newEndpoint(t testing.TB, change func(*oauth.Config)) *endpoint {
	t.Helper()
	e := &endpoint{events: new(events), logs: new(logs), lockout: new(lockout)}
	var private ed25519.PrivateKey
	e.public, private = ed25519Pair(t)
	key, err := jwk.NewKey("key-1", "EdDSA", private)
	if err != nil {
		t.Fatal(err)
	}
	if e.ring, err = jwk.NewRing(jwk.RingConfig{Active: key}); err != nil {
		t.Fatal(err)
	}
	hash := cheapHash(t, adaPassword)
	if e.passwords, err = password.New(password.Config{Reference: hash, MaxWait: time.Minute}); err != nil {
		t.Fatal(err)
	}
	memory, err := auth.NewMemoryUsers(
		auth.User{Subject: "u-ada", Name: "ada", PasswordHash: hash, Scopes: []string{"items:read", "items:write", "ada:only"}, Roles: []string{"editor", "reviewer"}},
		auth.User{Subject: "u-eve", Name: "eve", PasswordHash: hash, Disabled: true, Scopes: []string{"items:read"}},
		auth.User{Subject: "u-bob", Name: "bob", Scopes: []string{"items:read"}},
	)
	if err != nil {
		t.Fatal(err)
	}
	e.users = &users{Users: memory}
	var secretHash string
	e.secret, secretHash, err = oauth.NewClientSecret()
	if err != nil {
		t.Fatal(err)
	}
	e.clients = &clients{Clients: memoryClients(t,
		oauth.Client{ID: "service", SecretHash: secretHash, Grants: []oauth.Grant{oauth.ClientCredentials, oauth.Password}, Scopes: []string{"items:read", "items:write", "jobs:run"}},
		oauth.Client{ID: "app", Public: true, Grants: []oauth.Grant{oauth.Password}, Scopes: []string{"items:read", "items:write"}},
	)}
	cfg := oauth.Config{
		Issuer: issuer, Audience: audience, Keys: e.ring,
		Users: e.users, Passwords: e.passwords, Lockout: e.lockout,
		Clients: e.clients, Grants: []oauth.Grant{oauth.Password, oauth.ClientCredentials},
		Logger: slog.New(slog.NewTextHandler(e.logs, nil)),
	}
	if change != nil {
		change(&cfg)
	}
	if e.server, err = oauth.NewServer(cfg); err != nil {
		t.Fatal(err)
	}
	e.Handler = httperr.Recover(httperr.Config{Logger: cfg.Logger, Audit: e.events})(e.server.TokenHandler())
	return e
}

func ed25519Pair(t testing.TB) (ed25519.PublicKey, ed25519.PrivateKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return public, private
}

// cheapHash returns a hash that takes a millisecond to verify.
func cheapHash(t testing.TB, plain string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(plain), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}

func memoryClients(t testing.TB, c ...oauth.Client) *oauth.MemoryClients {
	t.Helper()
	m, err := oauth.NewMemoryClients(c...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A request is what a test sends. The zero parts are those of a good request.
type request struct {
	method      string
	query       string
	header      http.Header
	body        string
	id, secret  string // sent by Basic if id is not empty
	contentType string
}

func (r request) build() *http.Request {
	if r.method == "" {
		r.method = http.MethodPost
	}
	target := "https://api.example.com/token"
	if r.query != "" {
		target += "?" + r.query
	}
	req := httptest.NewRequest(r.method, target, strings.NewReader(r.body))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if r.contentType != "" {
		req.Header.Set("Content-Type", r.contentType)
	}
	if r.id != "" {
		req.SetBasicAuth(url.QueryEscape(r.id), url.QueryEscape(r.secret))
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	return req
}

func (e *endpoint) send(r request) *httptest.ResponseRecorder { return serve(e, r.build()) }

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// post sends a form without an Authorization field.
func (e *endpoint) post(body string) *httptest.ResponseRecorder { return e.send(request{body: body}) }

// service sends a form as the confidential client.
func (e *endpoint) service(body string) *httptest.ResponseRecorder {
	return e.send(request{body: body, id: "service", secret: e.secret})
}

// login sends the password grant as the public client.
func (e *endpoint) login(name, password string, more ...string) *httptest.ResponseRecorder {
	return e.post("client_id=app&" + passwordForm(name, password, more...))
}

func passwordForm(name, password string, more ...string) string {
	v := url.Values{"grant_type": {"password"}, "username": {name}, "password": {password}}
	return strings.Join(append([]string{v.Encode()}, more...), "&")
}

// wantError checks that w is an error in the form of RFC 6749, section 5.2.
func wantError(t testing.TB, w *httptest.ResponseRecorder, status int, code string) {
	t.Helper()
	if w.Code != status {
		t.Errorf("got status %d, want %d: %s", w.Code, status, w.Body)
	}
	var members map[string]string
	if err := json.Unmarshal(w.Body.Bytes(), &members); err != nil {
		t.Fatalf("the body is not a JSON object of strings: %v: %s", err, w.Body)
	}
	if members["error"] != code {
		t.Errorf("got error %q, want %q: %s", members["error"], code, w.Body)
	}
	for name := range members {
		if name != "error" && name != "error_description" {
			t.Errorf("got the member %q", name)
		}
	}
	wantHeader(t, w, "Content-Type", "application/json")
	wantHeader(t, w, "Cache-Control", "no-store")
	wantHeader(t, w, "Pragma", "no-cache")
	if challenge := w.Header().Get("WWW-Authenticate"); (status == http.StatusUnauthorized) != (challenge != "") {
		t.Errorf("got status %d with WWW-Authenticate %q", status, challenge)
	}
	if retry := w.Header().Get("Retry-After"); (status == http.StatusServiceUnavailable) != (retry != "") {
		t.Errorf("got status %d with Retry-After %q", status, retry)
	}
}

func wantHeader(t testing.TB, w *httptest.ResponseRecorder, name, want string) {
	t.Helper()
	if got := w.Header().Values(name); len(got) != 1 || got[0] != want {
		t.Errorf("got %s %q, want %q", name, got, want)
	}
}

// A response is the members of RFC 6749, section 5.1.
type response struct {
	AccessToken string  `json:"access_token"`
	Refresh     string  `json:"refresh_token"`
	TokenType   string  `json:"token_type"`
	ExpiresIn   *int64  `json:"expires_in"`
	Scope       *string `json:"scope"`
}

func wantToken(t testing.TB, w *httptest.ResponseRecorder) response {
	t.Helper()
	if w.Code != http.StatusOK {
		t.Fatalf("got status %d, want 200: %s", w.Code, w.Body)
	}
	d := json.NewDecoder(bytes.NewReader(w.Body.Bytes()))
	d.DisallowUnknownFields()
	var r response
	if err := d.Decode(&r); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	if r.AccessToken == "" || r.TokenType != "Bearer" && r.TokenType != "DPoP" || r.ExpiresIn == nil || r.Scope != nil && *r.Scope == "" {
		t.Fatalf("got %s, want access_token, token_type Bearer, expires_in, and scope unless it is empty", w.Body)
	}
	return r
}

// A token is a JWT, taken apart and verified with the standard library alone.
type token struct{ header, claims map[string]any }

func readToken(t testing.TB, public ed25519.PublicKey, compact string) token {
	t.Helper()
	parts := strings.Split(compact, ".")
	if len(parts) != 3 {
		t.Fatalf("got a token of %d parts, want 3", len(parts))
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	if !ed25519.Verify(public, []byte(parts[0]+"."+parts[1]), signature) {
		t.Fatal("the signature is not valid")
	}
	var tok token
	for i, to := range []*map[string]any{&tok.header, &tok.claims} {
		raw, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, to); err != nil {
			t.Fatal(err)
		}
	}
	return tok
}

func (e *endpoint) token(t testing.TB, w *httptest.ResponseRecorder) token {
	t.Helper()
	return readToken(t, e.public, wantToken(t, w).AccessToken)
}

// events is a recorder that keeps everything.
type events struct{ eventlog.Recorder }

// take returns the events so far, and forgets them.
func (r *events) take() []audit.Event { return r.Take() }

// logs is a buffer for a log that several goroutines write to.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// users counts lookups, and fails or answers otherwise if it is told to.
type users struct {
	auth.Users
	mu      sync.Mutex
	lookups int
	saves   int
	err     error
	saveErr error
	answer  *auth.User
}

func (u *users) User(ctx context.Context, name string) (auth.User, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.lookups++
	switch {
	case u.answer != nil:
		return *u.answer, u.err
	case u.err != nil:
		return auth.User{}, u.err
	}
	return u.Users.User(ctx, name)
}

func (u *users) SetPasswordHash(ctx context.Context, subject, hash string, ifVersion int64) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.saves++
	if u.saveErr != nil {
		return u.saveErr
	}
	return u.Users.SetPasswordHash(ctx, subject, hash, ifVersion)
}

// clients counts lookups, and fails or answers otherwise if it is told to.
type clients struct {
	oauth.Clients
	mu      sync.Mutex
	lookups int
	err     error
	answer  *oauth.Client
}

func (c *clients) Client(ctx context.Context, id string) (oauth.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lookups++
	switch {
	case c.err != nil:
		return oauth.Client{}, c.err
	case c.answer != nil:
		return *c.answer, nil
	}
	return c.Clients.Client(ctx, id)
}

// lockout locks an account after so many attempts that did not succeed, if most
// is not 0.
type lockout struct {
	mu       sync.Mutex
	most     int
	err      error
	none     bool   // answer nil, nil
	counted  func() // called for each attempt, if not nil
	failed   map[string]int
	attempts []string // account and address of each
	ended    []string // what became of them
}

func (l *lockout) Attempt(_ context.Context, account string, addr netip.Addr) (auth.Attempt, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || l.none {
		return nil, l.err
	}
	if l.failed == nil {
		l.failed = make(map[string]int)
	}
	l.failed[account]++
	l.attempts = append(l.attempts, account+" "+addr.String())
	if l.counted != nil {
		l.counted()
	}
	return &attempt{l, account, l.most > 0 && l.failed[account] > l.most}, nil
}

type attempt struct {
	l       *lockout
	account string
	locked  bool
}

func (a *attempt) Locked() bool { return a.locked }

func (a *attempt) Succeeded() {
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	a.l.failed[a.account] = 0
	a.l.ended = append(a.l.ended, "succeeded")
}

func (a *attempt) Undecided() {
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	a.l.failed[a.account]--
	a.l.ended = append(a.l.ended, "undecided")
}

var errOutOfReach = errors.New("the database is out of reach")
