package oauth_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/bearer"
	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/auth/oauth"
)

func TestRFC6749_5_1_Response(t *testing.T) {
	e := newEndpoint(t, nil)
	for _, tt := range []struct {
		name string
		w    *httptest.ResponseRecorder
	}{
		{"client_credentials", e.service("grant_type=client_credentials")},
		{"password", e.login("ada", adaPassword)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := wantToken(t, tt.w)
			if *r.ExpiresIn != 900 {
				t.Errorf("got expires_in %d, want 900", *r.ExpiresIn)
			}
			wantHeader(t, tt.w, "Content-Type", "application/json")
			wantHeader(t, tt.w, "Cache-Control", "no-store")
			wantHeader(t, tt.w, "Pragma", "no-cache")
			wantHeader(t, tt.w, "X-Content-Type-Options", "nosniff")
			wantHeader(t, tt.w, "Content-Length", fmt.Sprint(tt.w.Body.Len()))
		})
	}
}

func TestRFC9068_2_AccessToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEndpoint(t, func(c *oauth.Config) { c.TokenLifetime = time.Hour })
		time.Sleep(90*time.Minute + 500*time.Millisecond)
		now := float64(time.Now().Unix())

		machine := e.token(t, e.service("grant_type=client_credentials&scope=jobs:run+items:read"))
		user := e.token(t, e.login("ada", adaPassword))
		for _, tok := range []token{machine, user} {
			if want := map[string]any{"typ": "at+jwt", "alg": "EdDSA", "kid": "key-1"}; !reflect.DeepEqual(tok.header, want) {
				t.Errorf("got header %v, want %v", tok.header, want)
			}
			if id, _ := tok.claims["jti"].(string); len(id) < 26 { // base32: 5 bits each
				t.Errorf("got jti %q, want at least 128 bits", id)
			}
			delete(tok.claims, "jti")
		}
		if want := map[string]any{
			"iss": issuer, "sub": "client:service", "aud": audience, "iat": now, "exp": now + 3600,
			"client_id": "service", "scope": "jobs:run items:read",
		}; !reflect.DeepEqual(machine.claims, want) {
			t.Errorf("got %v, want %v", machine.claims, want)
		}
		if want := map[string]any{
			"iss": issuer, "sub": "u-ada", "aud": audience, "iat": now, "exp": now + 3600, "auth_time": now,
			"client_id": "app", "scope": "items:read items:write", "roles": []any{"editor", "reviewer"},
		}; !reflect.DeepEqual(user.claims, want) {
			t.Errorf("got %v, want %v", user.claims, want)
		}
	})
}

// The bearer door reads what this package issues, with the same ring.
func TestTokensPassTheBearerDoor(t *testing.T) {
	e := newEndpoint(t, nil)
	door, err := bearer.New(bearer.Config{Issuer: issuer, Audience: []string{audience}, Keys: e.ring})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		w    *httptest.ResponseRecorder
		want auth.Identity
	}{
		{
			"client_credentials", e.service("grant_type=client_credentials"),
			auth.Identity{Subject: "client:service", ClientID: "service", Scopes: []string{"items:read", "items:write", "jobs:run"}},
		},
		{
			"password", e.login("ada", adaPassword),
			auth.Identity{Subject: "u-ada", ClientID: "app", Scopes: []string{"items:read", "items:write"}, Roles: []string{"editor", "reviewer"}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("Authorization", "Bearer "+wantToken(t, tt.w).AccessToken)
			id, err := door.Authenticate(r)
			if err != nil {
				t.Fatal(err)
			}
			if id.Subject != tt.want.Subject || id.Issuer != issuer || id.ClientID != tt.want.ClientID ||
				!slices.Equal(id.Scopes, tt.want.Scopes) || !slices.Equal(id.Roles, tt.want.Roles) {
				t.Errorf("got %+v, want %+v", id, tt.want)
			}
			if got := time.Until(id.Expires); got <= 14*time.Minute || got > 15*time.Minute {
				t.Errorf("the token is good for %v, want some 15m", got)
			}
		})
	}
}

// A client that is registered under the subject of a user is still not that
// user, and no user can pass for a client.
func TestRFC9700_4_15_ClientIsNotAUser(t *testing.T) {
	e := newEndpoint(t, nil)
	secret, hash, _ := oauth.NewClientSecret()
	e.clients.Clients = memoryClients(t,
		oauth.Client{ID: "u-ada", SecretHash: hash, Grants: []oauth.Grant{oauth.ClientCredentials}},
		oauth.Client{ID: "app", Public: true, Grants: []oauth.Grant{oauth.Password}})
	tok := e.token(t, e.send(request{body: "grant_type=client_credentials", id: "u-ada", secret: secret}))
	if got := tok.claims["sub"]; got != oauth.ClientSubjectPrefix+"u-ada" {
		t.Errorf("got sub %v, want it apart from user u-ada", got)
	}
	if got := tok.claims["client_id"]; got != "u-ada" {
		t.Errorf("got client_id %v, want u-ada", got)
	}

	user, err := e.users.Users.User(t.Context(), "ada")
	if err != nil {
		t.Fatal(err)
	}
	user.Subject = "client:service"
	e.users.answer = &user
	wantError(t, e.login("ada", adaPassword), 500, "server_error")
	if !strings.Contains(e.logs.String(), `kept for clients`) {
		t.Errorf("the log does not tell why: %s", e.logs)
	}
}

func TestRFC6749_3_3_Scope(t *testing.T) {
	e := newEndpoint(t, nil)
	for _, tt := range []struct {
		name  string
		login bool // by password through "app", else "service" for itself
		asked string
		want  string // "-" means invalid_scope
	}{
		{"all of the client", false, "", "items:read items:write jobs:run"},
		{"fewer", false, "jobs:run", "jobs:run"},
		{"in the order asked", false, "jobs:run items:read", "jobs:run items:read"},
		{"twice is once", false, "jobs:run jobs:run", "jobs:run"},
		{"more than the client's", false, "jobs:run admin", "-"},
		{"case matters", false, "Jobs:run", "-"},
		{"prefix is not it", false, "jobs", "-"},
		{"double space", false, "jobs:run  items:read", "-"},
		{"leading space", false, " jobs:run", "-"},
		{"trailing space", false, "jobs:run ", "-"},
		{"space alone", false, " ", "-"},
		{"tab", false, "jobs:run\titems:read", "-"},
		{"quote", false, `jobs"run`, "-"},
		{"backslash", false, `jobs\run`, "-"},
		{"not ASCII", false, "jöbs:run", "-"},
		{"control", false, "jobs:run\x00", "-"},
		{"common of client and user", true, "", "items:read items:write"},
		{"fewer of both", true, "items:write", "items:write"},
		{"user's, not the client's", true, "ada:only", "-"},
		{"client's, not the user's", true, "items:read jobs:run", "-"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := "scope=" + strings.NewReplacer(" ", "+", "\t", "%09", "\x00", "%00", `"`, "%22", `\`, "%5C").Replace(tt.asked)
			var w *httptest.ResponseRecorder
			if tt.login {
				w = e.login("ada", adaPassword, body)
			} else {
				w = e.service("grant_type=client_credentials&" + body)
			}
			if tt.want == "-" {
				wantError(t, w, 400, "invalid_scope")
				return
			}
			r := wantToken(t, w)
			if *r.Scope != tt.want {
				t.Errorf("got scope %q, want %q", *r.Scope, tt.want)
			}
			if got := readToken(t, e.public, r.AccessToken).claims["scope"]; got != tt.want {
				t.Errorf("got the claim %q, want %q", got, tt.want)
			}
		})
	}
}

// The scope that the user lacks, though the client may have it, needs the
// password first: until then nothing of the user is told.
func TestScopeOfUserNeedsThePassword(t *testing.T) {
	e := newEndpoint(t, nil)
	body := "scope=jobs:run&client_id=service&client_secret=" + e.secret
	wantError(t, e.post(passwordForm("ada", adaPassword, body)), 400, "invalid_scope")
	wantError(t, e.post(passwordForm("ada", "wrong", body)), 400, "invalid_grant")
	wantError(t, e.post(passwordForm("nobody", "wrong", body)), 400, "invalid_grant")
}

func TestScopeOfNobody(t *testing.T) {
	e := newEndpoint(t, nil)
	e.clients.answer = &oauth.Client{ID: "app", Public: true, Grants: []oauth.Grant{oauth.Password}}
	r := wantToken(t, e.login("ada", adaPassword))
	if r.Scope != nil {
		t.Errorf("got scope %q, want none", *r.Scope)
	}
	if got, ok := readToken(t, e.public, r.AccessToken).claims["scope"]; ok {
		t.Errorf("got the claim scope %q, want none", got)
	}
	wantError(t, e.login("ada", adaPassword, "scope=items:read"), 400, "invalid_scope")
}

func TestScopesAreNotRepeated(t *testing.T) {
	e := newEndpoint(t, nil)
	e.clients.answer = &oauth.Client{ID: "app", Public: true, Grants: []oauth.Grant{oauth.Password}, Scopes: []string{"items:read", "items:read"}}
	if r := wantToken(t, e.login("ada", adaPassword)); *r.Scope != "items:read" {
		t.Errorf("got scope %q, want items:read", *r.Scope)
	}
}

func TestScopesAreBounded(t *testing.T) {
	e := newEndpoint(t, nil)
	var many []string
	for i := range 257 {
		many = append(many, fmt.Sprint(i))
	}
	wantError(t, e.service("grant_type=client_credentials&scope="+strings.Join(many, "+")), 400, "invalid_scope")
	if got := e.events.take()[0].Reason; got != "malformed scope" {
		t.Errorf("got reason %q, want malformed scope", got)
	}
}

func TestTokensFollowTheActiveKey(t *testing.T) {
	e := newEndpoint(t, nil)
	old := e.public
	public, private := ed25519Pair(t)
	next, err := jwk.NewKey("key-2", "EdDSA", private)
	if err != nil {
		t.Fatal(err)
	}
	readToken(t, old, wantToken(t, e.service("grant_type=client_credentials")).AccessToken)
	if err := e.ring.Rotate(next); err != nil {
		t.Fatal(err)
	}
	tok := readToken(t, public, wantToken(t, e.service("grant_type=client_credentials")).AccessToken)
	if got := tok.header["kid"]; got != "key-2" {
		t.Errorf("got kid %v, want key-2", got)
	}
}

func TestSigningFails(t *testing.T) {
	e := newEndpoint(t, nil)
	e.server.FailSigning(errors.New("the module is gone"))
	w := e.service("grant_type=client_credentials")
	wantError(t, w, 503, "temporarily_unavailable")
	if strings.Contains(w.Body.String(), "module") {
		t.Errorf("the answer tells the cause: %s", w.Body)
	}
	if !strings.Contains(e.logs.String(), "the module is gone") {
		t.Errorf("the log does not tell the cause: %s", e.logs)
	}
	for _, ev := range e.events.take() {
		t.Errorf("got the event %q, want none", ev.Name)
	}
}

// Each token is one event, and each refusal is one.
func TestAuditEvents(t *testing.T) {
	const (
		created, failed = audit.TokenCreated, audit.LoginFail
		denied, bad     = audit.AuthzFail, audit.InputValidationFail
	)
	e := newEndpoint(t, nil)
	wrong := request{body: "grant_type=client_credentials", id: "service", secret: "wrong"}
	unknown := request{body: "grant_type=client_credentials", id: "nobody", secret: "wrong"}
	e.lockout.most = 1
	for _, tt := range []struct {
		name string
		w    func() *httptest.ResponseRecorder
		want audit.Event
	}{
		{"token for a client", func() *httptest.ResponseRecorder { return e.service("grant_type=client_credentials") }, audit.Event{Name: created, Scheme: "client_credentials", Subject: "client:service", ClientID: "service", Issuer: issuer, Status: 200}},
		{"token for a user", func() *httptest.ResponseRecorder { return e.login("ada", adaPassword) }, audit.Event{Name: created, Scheme: "password", Subject: "u-ada", ClientID: "app", Issuer: issuer, Status: 200}},
		{"wrong password", func() *httptest.ResponseRecorder { return e.login("ada", "wrong") }, audit.Event{Name: failed, Scheme: "password", Subject: "u-ada", ClientID: "app", Status: 400, Code: "invalid_grant", Reason: "wrong password"}},
		{"locked", func() *httptest.ResponseRecorder { return e.login("ada", adaPassword) }, audit.Event{Name: failed, Scheme: "password", Subject: "u-ada", ClientID: "app", Status: 400, Code: "invalid_grant", Reason: "locked out"}},
		{"no such user", func() *httptest.ResponseRecorder { return e.login("nobody", "wrong") }, audit.Event{Name: failed, Scheme: "password", ClientID: "app", Status: 400, Code: "invalid_grant", Reason: "no such user"}},
		{"disabled", func() *httptest.ResponseRecorder { return e.login("eve", adaPassword) }, audit.Event{Name: failed, Scheme: "password", Subject: "u-eve", ClientID: "app", Status: 400, Code: "invalid_grant", Reason: "the account is disabled"}},
		{"no password", func() *httptest.ResponseRecorder { return e.login("bob", "wrong") }, audit.Event{Name: failed, Scheme: "password", Subject: "u-bob", ClientID: "app", Status: 400, Code: "invalid_grant", Reason: "the account has no password"}},
		{"wrong secret", func() *httptest.ResponseRecorder { return e.send(wrong) }, audit.Event{Name: failed, Scheme: "client_credentials", ClientID: "service", Status: 401, Code: "invalid_client", Reason: "wrong client secret"}},
		{"no secret", func() *httptest.ResponseRecorder { return e.post("grant_type=client_credentials&client_id=service") }, audit.Event{Name: failed, Scheme: "client_credentials", ClientID: "service", Status: 401, Code: "invalid_client", Reason: "the client sent no secret"}},
		{"unknown client", func() *httptest.ResponseRecorder { return e.send(unknown) }, audit.Event{Name: failed, Scheme: "client_credentials", Status: 401, Code: "invalid_client", Reason: "unknown client"}},
		{"grant of another", func() *httptest.ResponseRecorder { return e.post("grant_type=client_credentials&client_id=app") }, audit.Event{Name: denied, Scheme: "client_credentials", ClientID: "app", Status: 400, Code: "unauthorized_client", Reason: "The client may not use this grant."}},
		{"scope", func() *httptest.ResponseRecorder { return e.service("grant_type=client_credentials&scope=admin") }, audit.Event{Name: denied, Scheme: "client_credentials", ClientID: "service", Status: 400, Code: "invalid_scope", Reason: "the client may not have the scope"}},
		{"malformed", func() *httptest.ResponseRecorder { return e.post("grant_type=%zz") }, audit.Event{Name: bad, Status: 400, Code: "invalid_request", Reason: "A parameter is not form-urlencoded UTF-8."}},
		{"grant unknown", func() *httptest.ResponseRecorder { return e.post("grant_type=refresh_token") }, audit.Event{Name: bad, Status: 400, Code: "unsupported_grant_type", Reason: "The server does not offer this grant."}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e.events.take()
			if w := tt.w(); w.Code != tt.want.Status {
				t.Fatalf("got status %d, want %d: %s", w.Code, tt.want.Status, w.Body)
			}
			all := e.events.take()
			if len(all) != 1 {
				t.Fatalf("got %d events, want 1: %+v", len(all), all)
			}
			got := all[0]
			if got.Addr.String() != "192.0.2.1" || got.Path != "/token" || got.RequestID == "" || got.Time.IsZero() {
				t.Errorf("got %+v, want the request's address, path and id", got)
			}
			if wantLevel := map[bool]slog.Level{true: slog.LevelInfo, false: slog.LevelWarn}[got.Name == created]; got.Level != wantLevel {
				t.Errorf("got level %v, want %v", got.Level, wantLevel)
			}
			short := audit.Event{Name: got.Name, Scheme: got.Scheme, Subject: got.Subject, Issuer: got.Issuer, ClientID: got.ClientID, Status: got.Status, Code: got.Code, Reason: got.Reason}
			if short != tt.want {
				t.Errorf("got  %+v\nwant %+v", short, tt.want)
			}
		})
	}
}

// Many clients and users at a time, while keys rotate, each get their own token.
func TestConcurrentRequests(t *testing.T) {
	e := newEndpoint(t, nil)
	// Replace the weak hash first, so that the logins below don't all do so.
	wantToken(t, e.login("ada", adaPassword))
	var keys sync.Map // of public keys by kid
	keys.Store("key-1", e.public)

	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 20 {
			public, private := ed25519Pair(t)
			id := fmt.Sprintf("next-%d", i)
			key, err := jwk.NewKey(id, "EdDSA", private)
			if err != nil {
				t.Error(err)
				return
			}
			keys.Store(id, public)
			if err := e.ring.Rotate(key); err != nil {
				t.Error(err)
				return
			}
		}
	})
	type issued struct{ compact, subject string }
	got := make(chan issued, 64)
	for i := range 64 {
		wg.Go(func() {
			switch i % 4 {
			case 0:
				got <- issued{wantTokenConcurrently(t, e.login("ada", adaPassword)), "u-ada"}
			case 1:
				if w := e.login("nobody", "wrong"); w.Code != 400 {
					t.Errorf("got status %d, want 400", w.Code)
				}
			case 2:
				if w := e.send(request{body: "grant_type=client_credentials", id: "service", secret: "wrong"}); w.Code != 401 {
					t.Errorf("got status %d, want 401", w.Code)
				}
			default:
				got <- issued{wantTokenConcurrently(t, e.service("grant_type=client_credentials")), "client:service"}
			}
		})
	}
	wg.Wait()
	close(got)

	ids := make(map[string]bool)
	for one := range got {
		header := unverifiedHeader(t, one.compact)
		public, ok := keys.Load(header["kid"])
		if !ok {
			t.Fatalf("no key has the id %v", header["kid"])
		}
		tok := readToken(t, public.(ed25519.PublicKey), one.compact)
		if tok.claims["sub"] != one.subject {
			t.Errorf("got sub %v, want %s", tok.claims["sub"], one.subject)
		}
		id := tok.claims["jti"].(string)
		if ids[id] {
			t.Errorf("two tokens have the jti %q", id)
		}
		ids[id] = true
	}
	if len(ids) != 32 {
		t.Errorf("got %d tokens, want 32", len(ids))
	}
}

func wantTokenConcurrently(t *testing.T, w *httptest.ResponseRecorder) string {
	var r response
	if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil || w.Code != http.StatusOK {
		t.Errorf("got status %d, %v: %s", w.Code, err, w.Body)
	}
	return r.AccessToken
}

func unverifiedHeader(t *testing.T, compact string) map[string]any {
	t.Helper()
	first, _, _ := strings.Cut(compact, ".")
	raw, err := base64.RawURLEncoding.DecodeString(first)
	if err != nil {
		t.Fatal(err)
	}
	var header map[string]any
	if err := json.Unmarshal(raw, &header); err != nil {
		t.Fatal(err)
	}
	return header
}
