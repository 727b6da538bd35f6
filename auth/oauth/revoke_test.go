package oauth_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/oauth"
	httperr "github.com/sallyport/sallyport/errors"
)

// at sends r to another of e's handlers.
func (e *endpoint) at(h http.Handler, r request) *httptest.ResponseRecorder {
	return serve(httperr.Recover(httperr.Config{Audit: e.events})(h), r.build())
}

func (e *endpoint) revoke(t testing.TB, r request) *httptest.ResponseRecorder {
	t.Helper()
	w := e.at(e.server.RevocationHandler(), r)
	if w.Code == 200 && (w.Body.Len() != 0 || w.Header().Get("Cache-Control") != "no-store") {
		t.Errorf("got %v, %q", w.Header(), w.Body)
	}
	return w
}

type introspected map[string]any

func (e *endpoint) introspect(t testing.TB, r request) introspected {
	t.Helper()
	w := e.at(e.server.IntrospectionHandler(), r)
	if w.Code != 200 {
		t.Fatalf("got %d: %s", w.Code, w.Body)
	}
	wantHeader(t, w, "Content-Type", "application/json")
	wantHeader(t, w, "Cache-Control", "no-store")
	var i introspected
	if err := json.Unmarshal(w.Body.Bytes(), &i); err != nil {
		t.Fatal(err)
	}
	if active, ok := i["active"].(bool); !ok || !active && len(i) != 1 {
		t.Fatalf("got %s", w.Body)
	}
	return i
}

// newBack returns an endpoint for the back channel: "service" introspects its own
// tokens, "api" all.
func newBack(t testing.TB, change ...func(*oauth.Config)) *endpoint {
	t.Helper()
	e := newRefreshing(t, change...)
	secret, hash, err := oauth.NewClientSecret()
	if err != nil {
		t.Fatal(err)
	}
	e.secret = secret
	both := []oauth.Grant{oauth.Password, oauth.RefreshToken}
	e.clients.Clients = memoryClients(t,
		oauth.Client{ID: "service", SecretHash: hash, Grants: append(slices.Clone(both), oauth.ClientCredentials), Scopes: []string{"items:read", "jobs:run"}},
		oauth.Client{ID: "api", SecretHash: hash, Introspects: true},
		oauth.Client{ID: "stranger", SecretHash: hash},
		oauth.Client{ID: "app", Public: true, Grants: both, Scopes: []string{"items:read", "items:write"}},
		oauth.Client{ID: "other", Public: true, Grants: both, Scopes: []string{"items:read"}},
	)
	return e
}

func (e *endpoint) active(t testing.TB, id, token string) bool {
	t.Helper()
	return e.introspect(t, request{id: id, secret: e.secret, body: "token=" + token})["active"].(bool)
}

func TestRFC7009_2_1_Revocation(t *testing.T) {
	e := newBack(t)
	login := e.loginAs(t, "app")
	e.events.take()
	if w := e.revoke(t, request{body: "client_id=app&token_type_hint=refresh_token&token=" + login.Refresh}); w.Code != 200 {
		t.Fatalf("got %d: %s", w.Code, w.Body)
	}
	if got := e.events.take(); len(got) != 1 || got[0].Name != audit.TokenRevoked || got[0].Subject != "u-ada" || got[0].ClientID != "app" {
		t.Errorf("got events %+v", got)
	}
	wantError(t, e.refresh(login.Refresh), 400, "invalid_grant")
	if e.active(t, "api", login.AccessToken) {
		t.Error("the access token of the login is still good")
	}
	if w := e.revoke(t, request{body: "client_id=app&token=" + login.Refresh}); w.Code != 200 {
		t.Errorf("got %d for a token that is revoked already", w.Code)
	}

	// The token before the one of today stands for the login too.
	login = e.loginAs(t, "app")
	next := wantToken(t, e.refresh(login.Refresh))
	e.revoke(t, request{body: "client_id=app&token=" + login.Refresh})
	wantError(t, e.refresh(next.Refresh), 400, "invalid_grant")

	// An access token goes alone.
	login = e.loginAs(t, "app")
	if w := e.revoke(t, request{body: "client_id=app&token_type_hint=refresh_token&token=" + login.AccessToken}); w.Code != 200 {
		t.Fatalf("got %d: %s", w.Code, w.Body)
	}
	if e.active(t, "api", login.AccessToken) {
		t.Error("the access token is still good")
	}
	next = wantToken(t, e.refresh(login.Refresh))
	if !e.active(t, "api", next.AccessToken) {
		t.Error("the next access token is not good")
	}
}

// Another client's token stays, and who asks is not told whose it is.
func TestRFC7009_2_1_AnotherClientsToken(t *testing.T) {
	e := newBack(t)
	login := e.loginAs(t, "app")
	e.events.take()
	for _, token := range []string{login.Refresh, login.AccessToken, "unknown", strings.Repeat("A", 64), "a.b.c", login.AccessToken[:len(login.AccessToken)-4] + "AAAA"} {
		for _, r := range []request{{body: "client_id=other&token=" + token}, {id: "stranger", secret: e.secret, body: "token=" + token}} {
			if w := e.revoke(t, r); w.Code != 200 {
				t.Errorf("got %d: %s", w.Code, w.Body)
			}
		}
	}
	if got := e.events.take(); len(got) != 0 {
		t.Errorf("got events %v: nothing was revoked", names(got))
	}
	if !e.active(t, "api", login.AccessToken) {
		t.Error("another client has revoked the access token")
	}
	wantToken(t, e.refresh(login.Refresh))
}

func TestRFC7009_2_Requests(t *testing.T) {
	e := newBack(t)
	login := e.loginAs(t, "app")
	for _, tt := range []struct {
		name   string
		r      request
		status int
		code   string
	}{
		{"GET", request{method: "GET", query: "token=" + login.Refresh}, 405, "invalid_request"},
		{"the token in the URL", request{query: "token=" + login.Refresh, body: "client_id=app"}, 400, "invalid_request"},
		{"no token", request{body: "client_id=app"}, 400, "invalid_request"},
		{"two tokens", request{body: "client_id=app&token=a&token=b"}, 400, "invalid_request"},
		{"no client", request{body: "token=" + login.Refresh}, 401, "invalid_client"},
		{"an unknown client", request{body: "client_id=nobody&token=" + login.Refresh}, 401, "invalid_client"},
		{"a wrong secret", request{id: "service", secret: "x", body: "token=" + login.Refresh}, 401, "invalid_client"},
		{"JSON", request{contentType: "application/json", body: `{"token":"x"}`}, 400, "invalid_request"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantError(t, e.revoke(t, tt.r), tt.status, tt.code)
			wantError(t, e.at(e.server.IntrospectionHandler(), tt.r), tt.status, tt.code)
		})
	}
	wantToken(t, e.refresh(login.Refresh))
}

// Without a store there is no way to take an access token back, and the answer says
// so.
func TestRFC7009_2_2_1_UnsupportedTokenType(t *testing.T) {
	e := newBack(t, func(c *oauth.Config) { c.Revocations = nil })
	login := e.loginAs(t, "app")
	wantError(t, e.revoke(t, request{body: "client_id=app&token=" + login.AccessToken}), 400, "unsupported_token_type")
	if w := e.revoke(t, request{body: "client_id=app&token=" + login.Refresh}); w.Code != 200 {
		t.Errorf("got %d: %s", w.Code, w.Body)
	}
	wantError(t, e.refresh(login.Refresh), 400, "invalid_grant")
}

type brokenRevocations struct {
	auth.Revocations
	revoke, revoked error
}

func (b *brokenRevocations) Revoke(ctx context.Context, r auth.Revocation) error {
	if b.revoke != nil {
		return b.revoke
	}
	return b.Revocations.Revoke(ctx, r)
}

func (b *brokenRevocations) Revoked(ctx context.Context, t auth.TokenInfo) (bool, error) {
	if b.revoked != nil {
		return false, b.revoked
	}
	return b.Revocations.Revoked(ctx, t)
}

// 200 is said only once the stores have it (CVE-2020-15223: errors were hidden).
func TestCVE_2020_15223_RevocationStoreFails(t *testing.T) {
	b := &brokenRevocations{Revocations: auth.NewMemoryRevocations(0)}
	f := &failingRefresh{RefreshStore: oauth.NewMemoryRefreshStore(0)}
	e := newBack(t, func(c *oauth.Config) { c.Revocations, c.RefreshTokens = b, f })
	login := e.loginAs(t, "app")
	b.revoke = errOutOfReach
	wantError(t, e.revoke(t, request{body: "client_id=app&token=" + login.AccessToken}), 503, "temporarily_unavailable")
	wantError(t, e.revoke(t, request{body: "client_id=app&token=" + login.Refresh}), 503, "temporarily_unavailable")
	b.revoke = nil
	// It is tried again, and now the access tokens are revoked too.
	if w := e.revoke(t, request{body: "client_id=app&token=" + login.Refresh}); w.Code != 200 {
		t.Errorf("got %d", w.Code)
	}
	if e.active(t, "api", login.AccessToken) {
		t.Error("the access token is still good")
	}
	login = e.loginAs(t, "app")
	for _, err := range []error{errOutOfReach, auth.ErrInvalid} {
		f.family = err
		wantError(t, e.revoke(t, request{body: "client_id=app&token=" + login.Refresh}), 503, "temporarily_unavailable")
		wantError(t, e.at(e.server.IntrospectionHandler(), request{id: "api", secret: e.secret, body: "token=" + login.Refresh}), 503, "temporarily_unavailable")
		f.family, f.revoke = nil, err
		wantError(t, e.revoke(t, request{body: "client_id=app&token=" + login.Refresh}), 503, "temporarily_unavailable")
		f.revoke, b.revoked = nil, err
		wantError(t, e.at(e.server.IntrospectionHandler(), request{id: "api", secret: e.secret, body: "token=" + login.AccessToken}), 503, "temporarily_unavailable")
		b.revoked = nil
	}
}

func TestRFC7662_2_2_Introspection(t *testing.T) {
	e := newBack(t)
	login := e.loginAs(t, "service&client_secret="+e.secret)
	want := readToken(t, e.public, login.AccessToken).claims
	for _, id := range []string{"service", "api"} {
		got := e.introspect(t, request{id: id, secret: e.secret, body: "token=" + login.AccessToken})
		for _, name := range []string{"iss", "sub", "aud", "exp", "iat", "jti", "sid", "client_id", "scope", "auth_time"} {
			if got[name] != want[name] || got[name] == nil {
				t.Errorf("%s: got %s %v, want %v", id, name, got[name], want[name])
			}
		}
		if got["active"] != true || got["token_type"] != "Bearer" {
			t.Errorf("%s: got %v", id, got)
		}
	}
	got := e.introspect(t, request{id: "service", secret: e.secret, body: "token=" + login.Refresh})
	if got["active"] != true || got["client_id"] != "service" || got["sub"] != "u-ada" || got["token_type"] != nil || got["aud"] != issuer || got["jti"] != nil {
		t.Errorf("got %v", got)
	}
	if e.active(t, "api", login.Refresh) {
		t.Error("an API learns of another client's refresh token")
	}
	// A used refresh token is not active, and asking does it no harm.
	next := wantToken(t, e.service("grant_type=refresh_token&refresh_token="+login.Refresh))
	if e.active(t, "service", login.Refresh) || !e.active(t, "service", next.Refresh) {
		t.Error("the refresh token of yesterday is active, or that of today is not")
	}
	e.revoke(t, request{id: "service", secret: e.secret, body: "token=" + next.Refresh})
	if e.active(t, "service", next.Refresh) {
		t.Error("a refresh token that is revoked is active")
	}
}

// Client B learns nothing of A's token (Gitea).
func TestCVE_2026_58425_AnotherClientsToken(t *testing.T) {
	e := newBack(t)
	login := e.loginAs(t, "app")
	for _, token := range []string{login.AccessToken, login.Refresh} {
		if e.active(t, "stranger", token) || e.active(t, "service", token) {
			t.Error("another client learns of the token")
		}
	}
	wantError(t, e.at(e.server.IntrospectionHandler(), request{body: "client_id=app&token=" + login.AccessToken}), 401, "invalid_client")
}

func TestRFC7662_2_2_NotActive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newBack(t)
		login := e.loginAs(t, "app")
		good := login.AccessToken
		key := newKey(t, "EdDSA")
		foreign := sign(t, key, `{"alg":"EdDSA","typ":"at+jwt","kid":"key-1"}`, readToken(t, e.public, good).claims)
		untyped := sign(t, e.ring.Active(), "", readToken(t, e.public, good).claims)
		elsewhere := newBack(t, func(c *oauth.Config) { c.Keys, c.Issuer = e.ring, "https://other.example.com" })
		for name, token := range map[string]string{
			"unknown": "x", "tampered": good[:len(good)-4] + "AAAA", "cut": good[:len(good)-1], "another key": foreign, "another type": untyped,
			"another issuer": elsewhere.loginAs(t, "app").AccessToken, "a proof": sign(t, e.ring.Active(), `{"alg":"EdDSA","typ":"dpop+jwt","kid":"key-1"}`, "{}"),
		} {
			if e.active(t, "api", token) {
				t.Errorf("%s: active", name)
			}
		}
		if !e.active(t, "api", good) {
			t.Error("the good one is not active")
		}
		time.Sleep(15 * time.Minute)
		if e.active(t, "api", good) {
			t.Error("an expired token is active")
		}
	})
}

func TestRFC8414_Metadata(t *testing.T) {
	for _, tt := range []struct {
		name, issuer, path string
	}{
		{"a host", "https://api.example.com", "/.well-known/oauth-authorization-server"},
		{"a host and a slash", "https://api.example.com/", "/.well-known/oauth-authorization-server"},
		{"a path", "https://api.example.com/tenant/1", "/.well-known/oauth-authorization-server/tenant/1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newRefreshing(t, func(c *oauth.Config) {
				c.Issuer = tt.issuer
				c.Endpoints = oauth.Endpoints{Introspection: "-", Revocation: "https://login.example.com/r"}
			})
			if got := e.server.MetadataPath(); got != tt.path {
				t.Errorf("the path is %s, want %s", got, tt.path)
			}
			get := func(method string) *httptest.ResponseRecorder {
				return serve(e.server.MetadataHandler(), httptest.NewRequest(method, tt.path, nil))
			}
			w := get("GET")
			var m map[string]any
			if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil || w.Code != 200 {
				t.Fatalf("got %d, %v", w.Code, err)
			}
			base := strings.TrimSuffix(tt.issuer, "/")
			for name, want := range map[string]any{
				"issuer": tt.issuer, "token_endpoint": base + "/token", "jwks_uri": base + "/.well-known/jwks.json",
				"revocation_endpoint": "https://login.example.com/r", "introspection_endpoint": nil,
			} {
				if m[name] != want {
					t.Errorf("%s is %v, want %v", name, m[name], want)
				}
			}
			if got, _ := json.Marshal(m["grant_types_supported"]); string(got) != `["password","client_credentials","refresh_token"]` {
				t.Errorf("grants: %s", got)
			}
			if got, _ := json.Marshal(m["token_endpoint_auth_methods_supported"]); string(got) != `["client_secret_basic","client_secret_post","private_key_jwt","none"]` {
				t.Errorf("methods: %s", got)
			}
			if strings.Contains(w.Body.String(), "HS256") || strings.Contains(w.Body.String(), `"none","`) || m["dpop_signing_alg_values_supported"] != nil {
				t.Errorf("got %s", w.Body)
			}
			wantHeader(t, w, "Content-Type", "application/json")
			wantHeader(t, w, "Access-Control-Allow-Origin", "*")
			if h := get("HEAD"); h.Code != 200 || h.Body.Len() != 0 || h.Header().Get("Content-Length") != w.Header().Get("Content-Length") {
				t.Errorf("HEAD: got %d, %v", h.Code, h.Header())
			}
			if h := get("POST"); h.Code != 405 || h.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("POST: got %d, %v", h.Code, h.Header())
			}
		})
	}
}

// If one store fails while a login is ended, its next use ends it, and tells so.
func TestTheftIsToldThoughAStoreFailed(t *testing.T) {
	b := &brokenRevocations{Revocations: auth.NewMemoryRevocations(0)}
	e := newBack(t, func(c *oauth.Config) { c.Revocations = b })
	login := e.loginAs(t, "app")
	wantToken(t, e.refresh(login.Refresh))
	b.revoke = errOutOfReach
	wantError(t, e.refresh(login.Refresh), 503, "temporarily_unavailable")
	b.revoke = nil
	e.events.take()
	wantError(t, e.refresh(login.Refresh), 400, "invalid_grant")
	if got := names(e.events.take()); len(got) != 1 || got[0] != audit.TokenReuse {
		t.Errorf("got events %v, want one %s", got, audit.TokenReuse)
	}
	if e.active(t, "api", login.AccessToken) {
		t.Error("the access token of the login is still good")
	}
}

// hangup ends the request's context when the refresh tokens have been revoked.
type hangup struct {
	auth.Revocations
	cancel context.CancelFunc
}

func (h *hangup) Revoke(ctx context.Context, r auth.Revocation) error {
	if h.cancel != nil {
		h.cancel()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return h.Revocations.Revoke(ctx, r)
}

func TestAClientThatHangsUpDoesNotKeepItsLogin(t *testing.T) {
	h := &hangup{Revocations: auth.NewMemoryRevocations(0)}
	e := newBack(t, func(c *oauth.Config) { c.Revocations = h })
	login := e.loginAs(t, "app")
	next := wantToken(t, e.refresh(login.Refresh))
	r := request{body: "grant_type=refresh_token&client_id=app&refresh_token=" + login.Refresh}.build()
	ctx, cancel := context.WithCancel(r.Context())
	h.cancel = cancel
	wantError(t, serve(e, r.WithContext(ctx)), 400, "invalid_grant")
	h.cancel = nil
	wantError(t, e.refresh(next.Refresh), 400, "invalid_grant")
	if e.active(t, "api", next.AccessToken) {
		t.Error("the access token of the login is still good")
	}
}

// A revocation lasts as long as a token of this issuer may: the lifetime may have been
// another when it was issued.
func TestRevocationsOutliveAShorterLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var revocations auth.Revocations
		e := newBack(t, func(c *oauth.Config) { c.TokenLifetime, revocations = time.Minute, c.Revocations })
		if err := e.server.RevokeSession(t.Context(), "s-1"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(24*time.Hour + 4*time.Minute)
		if revoked, err := revocations.Revoked(t.Context(), auth.TokenInfo{Issuer: issuer, SessionID: "s-1"}); err != nil || !revoked {
			t.Errorf("got %v, %v", revoked, err)
		}
	})
}

// The metadata tells of nothing that would be refused.
func TestRFC8414_2_MetadataTellsTheTruth(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*oauth.Config)
		absent []string
	}{
		"no clients": {func(c *oauth.Config) { c.Clients, c.Grants = nil, []oauth.Grant{oauth.Password, oauth.RefreshToken} }, []string{"introspection_endpoint", "client_secret", "private_key_jwt", "signing_alg"}},
		"no stores": {func(c *oauth.Config) {
			c.RefreshTokens, c.Revocations, c.Grants = nil, nil, []oauth.Grant{oauth.ClientCredentials}
		}, []string{"revocation_endpoint", "refresh_token"}},
		"no DPoP": {func(*oauth.Config) {}, []string{"dpop_"}},
	} {
		t.Run(name, func(t *testing.T) {
			e := newRefreshing(t, tt.change)
			w := serve(e.server.MetadataHandler(), httptest.NewRequest("GET", "/", nil))
			for _, text := range tt.absent {
				if strings.Contains(w.Body.String(), text) {
					t.Errorf("%s is told of: %s", text, w.Body)
				}
			}
			if !strings.Contains(w.Body.String(), `"token_endpoint"`) {
				t.Errorf("got %s", w.Body)
			}
		})
	}
}
