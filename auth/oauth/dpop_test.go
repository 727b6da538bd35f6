package oauth_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/dpop"
	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/auth/oauth"
)

func newBinding(t testing.TB, change ...func(*dpop.Config)) *endpoint {
	t.Helper()
	cfg := dpop.Config{Origins: []string{issuer}}
	for _, f := range change {
		f(&cfg)
	}
	proofs, err := dpop.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return newBack(t, func(c *oauth.Config) { c.DPoP = proofs })
}

func prover(t testing.TB, k jwk.Key) *dpop.Prover {
	t.Helper()
	p, err := dpop.NewProver(k)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// proven sends a form with a proof; nonce is what the server gave last.
func (e *endpoint) proven(t testing.TB, p *dpop.Prover, nonce, body string) *httptest.ResponseRecorder {
	t.Helper()
	proof, err := p.Proof("POST", issuer+"/token", "", nonce)
	if err != nil {
		t.Fatal(err)
	}
	return e.send(request{body: body, header: http.Header{"Dpop": {proof}}})
}

func jkt(t testing.TB, e *endpoint, access string) any {
	t.Helper()
	cnf, _ := readToken(t, e.public, access).claims["cnf"].(map[string]any)
	return cnf["jkt"]
}

func TestRFC9449_5_BoundTokens(t *testing.T) {
	e := newBinding(t)
	mine, other := prover(t, newKey(t, "ES256")), prover(t, newKey(t, "EdDSA"))
	login := "client_id=app&" + passwordForm("ada", adaPassword)
	got := wantToken(t, e.proven(t, mine, "", login))
	if got.TokenType != "DPoP" || jkt(t, e, got.AccessToken) != mine.Thumbprint() {
		t.Errorf("got %s, bound to %v", got.TokenType, jkt(t, e, got.AccessToken))
	}
	if i := e.introspect(t, request{id: "api", secret: e.secret, body: "token=" + got.AccessToken}); i["token_type"] != "DPoP" || i["cnf"].(map[string]any)["jkt"] != mine.Thumbprint() {
		t.Errorf("introspected as %v", i)
	}
	// Without a proof, a bearer token.
	if plain := wantToken(t, e.post(login)); plain.TokenType != "Bearer" || jkt(t, e, plain.AccessToken) != nil {
		t.Errorf("got %s, bound to %v", plain.TokenType, jkt(t, e, plain.AccessToken))
	}
	// The refresh token of a public client is bound too: a thief needs the key.
	refresh := "grant_type=refresh_token&client_id=app&refresh_token=" + got.Refresh
	wantError(t, e.post(refresh), 400, "invalid_dpop_proof")
	wantError(t, e.proven(t, other, "", refresh), 400, "invalid_grant")
	next := wantToken(t, e.proven(t, mine, "", refresh))
	if next.TokenType != "DPoP" || jkt(t, e, next.AccessToken) != mine.Thumbprint() {
		t.Errorf("got %s, bound to %v", next.TokenType, jkt(t, e, next.AccessToken))
	}
	// That of a confidential one is bound to its secret, so its key may change.
	service := wantToken(t, e.proven(t, mine, "", "client_id=service&client_secret="+e.secret+"&"+passwordForm("ada", adaPassword)))
	again := wantToken(t, e.proven(t, other, "", "grant_type=refresh_token&client_id=service&client_secret="+e.secret+"&refresh_token="+service.Refresh))
	if jkt(t, e, again.AccessToken) != other.Thumbprint() {
		t.Errorf("bound to %v", jkt(t, e, again.AccessToken))
	}
}

func TestRFC9449_5_BadProofs(t *testing.T) {
	e := newBinding(t)
	p := prover(t, newKey(t, "ES256"))
	login := "client_id=app&" + passwordForm("ada", adaPassword)
	proof := func(method, uri, token string) string {
		s, err := p.Proof(method, uri, token, "")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	good := proof("POST", issuer+"/token", "")
	for name, fields := range map[string][]string{
		"no JWS":         {"x"},
		"two":            {proof("POST", issuer+"/token", ""), proof("POST", issuer+"/token", "")},
		"another method": {proof("GET", issuer+"/token", "")},
		"another URI":    {proof("POST", issuer+"/revoke", "")},
		"another host":   {proof("POST", "https://evil.example.com/token", "")},
		"tampered":       {good[:len(good)-4] + "AAAA"},
		"empty":          {""},
	} {
		t.Run(name, func(t *testing.T) {
			e.lockout.attempts = nil
			wantError(t, e.send(request{body: login, header: http.Header{"Dpop": fields}}), 400, "invalid_dpop_proof")
			if len(e.lockout.attempts) != 0 {
				t.Error("a password was tried for a request that can't succeed")
			}
		})
	}
	wantToken(t, e.send(request{body: login, header: http.Header{"Dpop": {good}}}))
	wantError(t, e.send(request{body: login, header: http.Header{"Dpop": {good}}}), 400, "invalid_dpop_proof")
}

func TestRFC9449_8_Nonce(t *testing.T) {
	e := newBinding(t, func(c *dpop.Config) { c.RequireNonce = true })
	p := prover(t, newKey(t, "ES256"))
	login := "client_id=app&" + passwordForm("ada", adaPassword)
	e.events.take()
	w := e.proven(t, p, "", login)
	wantError(t, w, 400, "use_dpop_nonce")
	if got := e.events.take(); len(got) != 1 || got[0].Level != slog.LevelInfo {
		t.Errorf("got events %+v, want one that warns of nothing", got)
	}
	nonce := w.Header().Get("DPoP-Nonce")
	if nonce == "" {
		t.Fatal("there is no nonce")
	}
	w = e.proven(t, p, nonce, login)
	wantToken(t, w)
	if w.Header().Get("DPoP-Nonce") == "" {
		t.Error("there is no next nonce")
	}
	wantError(t, e.proven(t, p, "x", login), 400, "use_dpop_nonce")
}

func TestClientThatRequiresDPoP(t *testing.T) {
	e := newBinding(t)
	e.clients.Clients = memoryClients(t, oauth.Client{ID: "app", Public: true, RequireDPoP: true, Grants: []oauth.Grant{oauth.Password}, Scopes: []string{"items:read"}})
	login := "client_id=app&" + passwordForm("ada", adaPassword)
	wantError(t, e.post(login), 400, "invalid_dpop_proof")
	wantToken(t, e.proven(t, prover(t, newKey(t, "ES256")), "", login))
	without := newBack(t)
	without.clients.Clients = e.clients.Clients
	wantError(t, without.post(login), 500, "server_error")
}

func TestDPoPMemoryOutOfReach(t *testing.T) {
	e := newBinding(t, func(c *dpop.Config) { c.Replays = brokenReplays{errOutOfReach} })
	wantError(t, e.proven(t, prover(t, newKey(t, "ES256")), "", "client_id=app&"+passwordForm("ada", adaPassword)), 503, "temporarily_unavailable")
}

// Who is granted nothing takes no room in the memory of proofs.
func TestProofsOfRefusedRequestsAreNotRemembered(t *testing.T) {
	e := newBinding(t, func(c *dpop.Config) { c.Replays = auth.NewMemoryReplays(1) })
	p := prover(t, newKey(t, "ES256"))
	for range 5 {
		wantError(t, e.proven(t, p, "", "grant_type=refresh_token&client_id=app&refresh_token=x"), 400, "invalid_grant")
		wantError(t, e.proven(t, p, "", "client_id=app&"+passwordForm("ada", "wrong")), 400, "invalid_grant")
	}
	login := wantToken(t, e.proven(t, p, "", "client_id=app&"+passwordForm("ada", adaPassword)))
	// One that is full refuses, and the refresh token is not used up.
	refresh := "grant_type=refresh_token&client_id=app&refresh_token=" + login.Refresh
	wantError(t, e.proven(t, p, "", refresh), 503, "temporarily_unavailable")
	wantError(t, e.proven(t, p, "", refresh), 503, "temporarily_unavailable")
}

// A client that is told to use a nonce tries again with the same assertion.
func TestAnAssertionOutlivesTheNonce(t *testing.T) {
	proofs, err := dpop.New(dpop.Config{Origins: []string{issuer}, RequireNonce: true})
	if err != nil {
		t.Fatal(err)
	}
	e, key := newAsserting(t, func(c *oauth.Config) { c.DPoP = proofs })
	p := prover(t, newKey(t, "ES256"))
	body := assertionForm("grant_type=client_credentials", sign(t, key, "", goodAssertion()))
	w := e.proven(t, p, "", body)
	wantError(t, w, 400, "use_dpop_nonce")
	nonce := w.Header().Get("DPoP-Nonce")
	wantToken(t, e.proven(t, p, nonce, body))
	wantError(t, e.proven(t, p, nonce, body), 401, "invalid_client")
}
