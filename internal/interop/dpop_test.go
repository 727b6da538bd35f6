package interop

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/bearer"
	"github.com/sallyport/sallyport/auth/dpop"
)

// TestDPoPTokensOfOIDCProvider gets tokens of oidc-provider that are bound to a
// key of our prover, and brings them to our door and to one of npm's
// express-oauth2-jwt-bearer (RFC 9449).
func TestDPoPTokensOfOIDCProvider(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"ES256", "EdDSA", "Ed25519"} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			p := startOIDCProvider(t, audience)
			prover, thief := newProver(t, alg), newProver(t, alg)
			token := boundToken(t, p, prover)

			proofs, err := dpop.New(dpop.Config{Origins: []string{audience}, RequireNonce: true})
			if err != nil {
				t.Fatal(err)
			}
			tokens, err := bearer.New(bearer.Config{Issuer: p.issuer, Audience: []string{audience}, Keys: discovered(t, p, nil), DPoP: proofs})
			if err != nil {
				t.Fatal(err)
			}
			h := quietly(auth.Require(tokens)(http.HandlerFunc(tell)))
			uri := audience + "/items"
			get := func(header http.Header) *httptest.ResponseRecorder {
				r := httptest.NewRequest(http.MethodGet, uri, nil)
				maps.Copy(r.Header, header)
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				return w
			}
			refused := func(what string, header http.Header, code string) http.Header {
				t.Helper()
				w := get(header)
				all := strings.Join(w.Header().Values("WWW-Authenticate"), ", ")
				if w.Code != http.StatusUnauthorized || !strings.Contains(all, `error="`+code+`"`) {
					t.Errorf("%s: got status %d with %q, want 401 and %s", what, w.Code, all, code)
				}
				return w.Header()
			}

			nonce := refused("no nonce", bound(t, prover, "GET", uri, token, ""), "use_dpop_nonce").Get("DPoP-Nonce")
			good := bound(t, prover, "GET", uri, token, nonce)
			if w := get(good); w.Code != http.StatusOK || w.Header().Get("X-Subject") != p.subject {
				t.Errorf("got status %d for %q: %s", w.Code, w.Header().Get("X-Subject"), w.Body)
			}
			refused("the same proof again", good, "invalid_dpop_proof")
			refused("another method", bound(t, prover, "POST", uri, token, nonce), "invalid_dpop_proof")
			refused("another URI", bound(t, prover, "GET", audience+"/admin", token, nonce), "invalid_dpop_proof")
			refused("another token's proof", withToken(bound(t, prover, "GET", uri, "other", nonce), token), "invalid_dpop_proof")
			refused("a thief's proof", bound(t, thief, "GET", uri, token, nonce), "invalid_dpop_proof")
			refused("as a bearer token", http.Header{"Authorization": {"Bearer " + token}}, "invalid_token")

			// The third party, which knows neither nonces nor the newest name.
			if alg == "Ed25519" {
				return
			}
			var ready struct{ URL string }
			startPeer(t, "express.mjs", map[string]any{
				"issuer": p.issuer, "jwks": p.jwksURI, "audience": audience, "dpop": true,
			}, &ready)
			theirs := ready.URL + "/items"
			if status, _ := send(t, patient, theirs, bound(t, prover, "GET", theirs, token, "")); status != http.StatusOK {
				t.Errorf("theirs: got status %d, want 200", status)
			}
			if status, _ := send(t, patient, theirs, bound(t, thief, "GET", theirs, token, "")); status != http.StatusUnauthorized {
				t.Errorf("theirs: got status %d for a thief, want 401", status)
			}
		})
	}
}

func newProver(t *testing.T, alg string) *dpop.Prover {
	t.Helper()
	p, err := dpop.NewProver(newKey(t, alg))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// bound returns the fields of a request with a token that is bound to the
// prover's key.
func bound(t *testing.T, p *dpop.Prover, method, uri, token, nonce string) http.Header {
	t.Helper()
	proof, err := p.Proof(method, uri, token, nonce)
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{"Dpop": {proof}}
	if token != "" {
		h.Set("Authorization", "DPoP "+token)
	}
	return h
}

func withToken(h http.Header, token string) http.Header {
	h.Set("Authorization", "DPoP "+token)
	return h
}

// boundToken gets a token that is bound to the prover's key. The provider wants a
// nonce first.
func boundToken(t *testing.T, p *provider, prover *dpop.Prover) string {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {"items:read"}, "resource": {p.audience}}
	nonce := ""
	for range 2 {
		endpoint := p.issuer + "/token"
		a, err := postForm(patient, endpoint, "service", clientSecret, form, bound(t, prover, http.MethodPost, endpoint, "", nonce))
		if err != nil {
			t.Fatal(err)
		}
		if a.status == http.StatusOK && a.TokenType == "DPoP" {
			if nonce == "" {
				t.Error("the provider takes a proof without a nonce")
			}
			return a.AccessToken
		}
		if nonce = a.header.Get("DPoP-Nonce"); a.Error != "use_dpop_nonce" || nonce == "" {
			t.Fatalf("the token endpoint answers %d: %s", a.status, a.body)
		}
	}
	t.Fatal("the provider takes no proof")
	return ""
}
