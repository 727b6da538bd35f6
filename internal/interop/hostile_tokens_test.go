package interop

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/auth/jwk"
)

// made is what node/tokens.mjs prints.
type made struct {
	Issuer, Audience string
	Set, Secrets     json.RawMessage
	Good             []struct{ Name, Alg, Token string }
	Bad              []struct{ Name, Token string }
}

// TestTokensOfNode gives the door tokens that jose and jsonwebtoken made: of
// every algorithm, which it must take with the issuer's public keys or, for
// HMAC, secrets alone, and hostile ones, none of which it may take with either.
func TestTokensOfNode(t *testing.T) {
	t.Parallel()
	var m made
	runScript(t, "tokens.mjs", &m)

	p := &provider{issuer: m.Issuer, audience: m.Audience}
	public := api(t, p, parsed(t, m.Set))
	secret := api(t, p, parsed(t, m.Secrets))
	algorithms := make(map[string]int)
	for _, one := range m.Good {
		algorithms[one.Alg]++
		right, wrong := public, secret
		if strings.HasPrefix(one.Alg, "HS") {
			right, wrong = secret, public
		}
		t.Run(one.Name, func(t *testing.T) {
			if w := get(right, one.Token); w.Code != http.StatusOK || w.Header().Get("X-Subject") != "ada" {
				t.Errorf("got status %d for %q, want it accepted: %s", w.Code, w.Header().Get("X-Subject"), w.Body)
			}
			wantRefused(t, wrong, one.Token)
		})
	}
	for _, alg := range jwk.Algorithms() {
		if algorithms[alg] == 0 {
			t.Errorf("no good token of %s was tried", alg)
		}
	}
	if len(m.Bad) < 180 {
		t.Errorf("got %d hostile tokens, want them all", len(m.Bad))
	}
	for _, one := range m.Bad {
		t.Run(one.Name, func(t *testing.T) {
			wantRefused(t, public, one.Token)
			wantRefused(t, secret, one.Token)
		})
	}
}

// wantRefused checks that h answers a token as RFC 6750, section 3.1, has it: 401
// invalid_token or, for what is no token by its syntax, 400 invalid_request.
func wantRefused(t *testing.T, h http.Handler, token string) {
	t.Helper()
	w := get(h, token)
	challenge := strings.Join(w.Header().Values("WWW-Authenticate"), ", ")
	status, code := http.StatusUnauthorized, "invalid_token"
	if strings.ContainsAny(token, ` {"`) {
		status, code = http.StatusBadRequest, "invalid_request"
	}
	if w.Code != status || !strings.Contains(challenge, `error="`+code+`"`) {
		t.Errorf("got status %d with %q, want %d with %s", w.Code, challenge, status, code)
	}
}
