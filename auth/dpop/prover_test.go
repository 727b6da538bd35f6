package dpop_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/auth/dpop"
	"github.com/sallyport/sallyport/auth/jwk"
)

func TestProver(t *testing.T) {
	v := newVerifier(t)
	for _, alg := range []string{"ES256", "ES384", "ES512", "EdDSA", "Ed25519", "RS256", "PS256"} {
		t.Run(alg, func(t *testing.T) {
			p, err := dpop.NewProver(newKey(t, alg))
			if err != nil {
				t.Fatal(err)
			}
			text, err := p.Proof("GET", origin+"/items?a=b#c", "token", "")
			if err != nil {
				t.Fatal(err)
			}
			got, err := v.Verify(request("GET", "/items", text), "token")
			if err != nil || got.Thumbprint != p.Thumbprint() {
				t.Errorf("got %v, %v", got, err)
			}
			if again, _ := p.Proof("GET", origin+"/items", "token", ""); again == text {
				t.Error("two proofs are the same")
			}
		})
	}
	public, _ := key().Public()
	secret, err := jwk.Generate("HS256")
	if err != nil {
		t.Fatal(err)
	}
	for name, k := range map[string]jwk.Key{"public": public, "none": {}, "a secret": secret} {
		if p, err := dpop.NewProver(k); p != nil || err == nil {
			t.Errorf("%s: got %v, %v", name, p, err)
		}
	}
}

func TestProverErrors(t *testing.T) {
	p, err := dpop.NewProver(key())
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string][2]string{
		"no method": {"", origin + "/items"}, "no URI": {"GET", ""}, "a path": {"GET", "/items"}, "another scheme": {"GET", "ftp://example.com/"},
		"no host": {"GET", "https:///items"}, "dots": {"GET", origin + "/a/../b"}, "a user": {"GET", "https://ada:secret@api.example.com/"},
	} {
		if text, err := p.Proof(tt[0], tt[1], "", ""); text != "" || err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %q, %v", name, text, err)
		}
	}
}

// A proof shows the public half of the key alone.
func TestRFC9449_4_2_ProofHoldsNoPrivateKey(t *testing.T) {
	for _, alg := range []string{"ES256", "EdDSA", "RS256"} {
		p, err := dpop.NewProver(newKey(t, alg))
		if err != nil {
			t.Fatal(err)
		}
		text, err := p.Proof("GET", origin, "", "n")
		if err != nil {
			t.Fatal(err)
		}
		b, err := base64.RawURLEncoding.DecodeString(text[:strings.IndexByte(text, '.')])
		if err != nil {
			t.Fatal(err)
		}
		var header struct {
			Type string         `json:"typ"`
			Key  map[string]any `json:"jwk"`
		}
		if err := json.Unmarshal(b, &header); err != nil || header.Type != "dpop+jwt" || header.Key["kty"] == nil {
			t.Fatalf("%s: got %s, %v", alg, b, err)
		}
		for _, member := range []string{"d", "p", "q", "dp", "dq", "qi", "k", "oth"} {
			if _, ok := header.Key[member]; ok {
				t.Errorf("%s: the proof has %q", alg, member)
			}
		}
	}
}
