package interop

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/bearer"
)

// TestOpaqueTokens asks oidc-provider about tokens that nobody else can read (RFC
// 7662), at a door that reads its JWTs too.
func TestOpaqueTokens(t *testing.T) {
	t.Parallel()
	p := startOIDCProvider(t, audience)
	introspection := &bearer.Introspection{
		Endpoint: p.issuer + "/token/introspection", ClientID: "service", ClientSecret: clientSecret, CacheTTL: -1,
	}
	door := func(cfg bearer.Config) http.Handler {
		t.Helper()
		cfg.Issuer, cfg.Introspection = p.issuer, introspection
		tokens, err := bearer.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return quietly(auth.Require(tokens)(http.HandlerFunc(tell)))
	}
	opaque := func(resource string) string {
		t.Helper()
		token, err := requestToken(patient, p.issuer+"/token", "service", clientSecret, url.Values{"scope": {"items:read"}, "resource": {resource}})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	h := door(bearer.Config{Audience: []string{audience, "urn:opaque", "urn:opaque:sub"}, Keys: discovered(t, p, nil)})

	token, other := opaque("urn:opaque:sub"), opaque("urn:opaque:sub")
	w := get(h, token)
	if w.Code != http.StatusOK || w.Header().Get("X-Subject") != "service" || w.Header().Get("X-Scope") != "items:read" {
		t.Fatalf("got status %d for %q with the scope %q: %s", w.Code, w.Header().Get("X-Subject"), w.Header().Get("X-Scope"), w.Body)
	}
	if w := get(h, p.token(t)); w.Code != http.StatusOK {
		t.Errorf("got status %d for a JWT: %s", w.Code, w.Body)
	}
	wantRefused(t, h, token+"x")
	wantRefused(t, h, "nobody-has-made-this")
	wantRefused(t, door(bearer.Config{Audience: []string{"urn:other"}}), token)
	// RFC 7662 has "sub" optional; the door needs to know who comes in.
	wantRefused(t, h, opaque("urn:opaque"))

	revoked, err := postForm(patient, p.issuer+"/token/revocation", "service", clientSecret, url.Values{"token": {token}}, nil)
	if err != nil || revoked.status != http.StatusOK {
		t.Fatalf("the revocation endpoint answers %d: %v", revoked.status, err)
	}
	wantRefused(t, h, token)
	if w := get(h, other); w.Code != http.StatusOK {
		t.Errorf("got status %d for a token that nobody revoked", w.Code)
	}

	p.crash(t)
	if decided(t, h, other) {
		t.Error("a token is taken that nobody can be asked about")
	}
}

// TestIntrospectionIsRefused has an API that can't prove itself to oidc-provider.
// That says nothing about the tokens.
func TestIntrospectionIsRefused(t *testing.T) {
	t.Parallel()
	p := startOIDCProvider(t, "urn:opaque")
	tokens, err := bearer.New(bearer.Config{Issuer: p.issuer, Audience: []string{"urn:opaque"}, Introspection: &bearer.Introspection{
		Endpoint: p.issuer + "/token/introspection", ClientID: "service", ClientSecret: "wrong",
	}})
	if err != nil {
		t.Fatal(err)
	}
	h := quietly(auth.Require(tokens)(http.HandlerFunc(tell)))
	if decided(t, h, p.token(t)) {
		t.Error("a token is taken that was not asked about")
	}
}
