package dpop_test

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/dpop"
	"github.com/sallyport/sallyport/auth/jwk"
)

func TestRFC9449_4_3_Checks(t *testing.T) {
	good := func() string { return sign(t, key(), "", goodClaims()) }
	public := publicJWK(t, key())
	private := strings.TrimSuffix(public, "}") + `,"d":"` + b64(strings.Repeat("d", 32)) + `"}`
	secret, err := jwk.NewKey("s", "HS256", []byte(rand.Text()+rand.Text()))
	if err != nil {
		t.Fatal(err)
	}
	other := newKey(t, "ES256")
	now := time.Now().Unix()
	for _, tt := range []struct {
		name   string
		proofs []string
		reason string // "" is accepted
	}{
		{"good", []string{good()}, ""},
		{"more claims", []string{sign(t, key(), "", goodClaims().with("x", []int{1}, "exp", now+60))}, ""},
		{"iat with a fraction", []string{sign(t, key(), "", goodClaims().with("iat", float64(now)+0.5))}, ""},
		// 1: not more than one field
		{"none", nil, "no DPoP proof"},
		{"two", []string{good(), good()}, "more than one"},
		{"two in one", []string{good() + "," + good()}, "not a JWS"},
		{"two in one, with a space", []string{good() + ", " + good()}, "not a JWS"},
		// 2: a single well-formed JWT
		{"empty", []string{""}, "not a JWS"},
		{"a word", []string{"proof"}, "not a JWS"},
		{"a space in front", []string{" " + good()}, "not a JWS"},
		{"large", []string{strings.Repeat("A", 6<<10+1)}, "not a JWS"},
		{"padded", []string{good() + "="}, "not a JWS"},
		{"crit", []string{sign(t, key(), `{"typ":"dpop+jwt","alg":"ES256","crit":["b64"],"b64":true,"jwk":`+public+`}`, goodClaims())}, "not a JWS"},
		{"a member twice", []string{sign(t, key(), `{"typ":"dpop+jwt","alg":"ES256","jwk":`+public+`,"jwk":`+publicJWK(t, other)+`}`, goodClaims())}, "not a JWS"},
		// 3: all claims
		{"no jti", []string{sign(t, key(), "", goodClaims().with("jti", nil))}, "claim"},
		{"an empty jti", []string{sign(t, key(), "", goodClaims().with("jti", ""))}, "claim"},
		{"jti of a number", []string{sign(t, key(), "", goodClaims().with("jti", 1))}, "claim"},
		{"the longest jti", []string{sign(t, key(), "", goodClaims().with("jti", strings.Repeat("j", 256)))}, ""},
		{"a long jti", []string{sign(t, key(), "", goodClaims().with("jti", strings.Repeat("j", 257)))}, "claim"},
		{"no htm", []string{sign(t, key(), "", goodClaims().with("htm", nil))}, "claim"},
		{"no htu", []string{sign(t, key(), "", goodClaims().with("htu", nil))}, "claim"},
		{"htu of a list", []string{sign(t, key(), "", goodClaims().with("htu", []string{origin + "/items"}))}, "claim"},
		{"no iat", []string{sign(t, key(), "", goodClaims().with("iat", nil))}, "claim"},
		{"iat of a text", []string{sign(t, key(), "", goodClaims().with("iat", fmt.Sprint(now)))}, "claim"},
		{"iat of 1e300", []string{sign(t, key(), "", goodClaims().with("iat", 1e300))}, "claim"},
		{"a claim twice", []string{sign(t, key(), "", `{"htm":"GET","htm":"POST"}`)}, "claim"},
		{"a claim in two cases", []string{sign(t, key(), "", strings.Replace(mustJSON(goodClaims()), "{", `{"HTM":"GET",`, 1))}, "claim"},
		{"an array", []string{sign(t, key(), "", `[]`)}, "claim"},
		// 4: the type
		{"no type", []string{sign(t, key(), `{"alg":"ES256","jwk":`+public+`}`, goodClaims())}, "another type"},
		{"its type in full", []string{sign(t, key(), `{"typ":"application/dpop+jwt","alg":"ES256","jwk":`+public+`}`, goodClaims())}, "another type"},
		{"its type in capitals", []string{sign(t, key(), `{"typ":"DPOP+JWT","alg":"ES256","jwk":`+public+`}`, goodClaims())}, "another type"},
		{"an access token's type", []string{sign(t, key(), `{"typ":"at+jwt","alg":"ES256","jwk":`+public+`}`, goodClaims())}, "another type"},
		{"JWT", []string{sign(t, key(), `{"typ":"JWT","alg":"ES256","jwk":`+public+`}`, goodClaims())}, "another type"},
		// 5: the algorithm
		{"none", []string{b64(`{"typ":"dpop+jwt","alg":"none","jwk":`+public+`}`) + "." + b64(mustJSON(goodClaims())) + ".AA"}, "algorithm"},
		{"HS256", []string{sign(t, secret, `{"typ":"dpop+jwt","alg":"HS256","jwk":{"kty":"oct","k":"AAAA"}}`, goodClaims())}, "algorithm"},
		{"es256", []string{sign(t, key(), `{"typ":"dpop+jwt","alg":"es256","jwk":`+public+`}`, goodClaims())}, "algorithm"},
		// 6 and 7: the key and its signature
		{"no key", []string{sign(t, key(), `{"typ":"dpop+jwt","alg":"ES256"}`, goodClaims())}, "public key"},
		{"kid for a key", []string{sign(t, key(), `{"typ":"dpop+jwt","alg":"ES256","kid":"`+key().ID()+`"}`, goodClaims())}, "public key"},
		{"a private key", []string{sign(t, key(), `{"typ":"dpop+jwt","alg":"ES256","jwk":`+private+`}`, goodClaims())}, "public key"},
		{"a secret", []string{sign(t, key(), `{"typ":"dpop+jwt","alg":"ES256","jwk":{"kty":"oct","k":"`+b64(rand.Text())+`","alg":"ES256"}}`, goodClaims())}, "public key"},
		{"a key of another algorithm", []string{sign(t, key(), `{"typ":"dpop+jwt","alg":"ES384","jwk":`+public+`}`, goodClaims())}, "public key"},
		{"a text for a key", []string{sign(t, key(), `{"typ":"dpop+jwt","alg":"ES256","jwk":"x"}`, goodClaims())}, "public key"},
		{"a point that is on no curve", []string{sign(t, key(), `{"typ":"dpop+jwt","alg":"ES256","jwk":{"kty":"EC","crv":"P-256","x":"`+b64(strings.Repeat("x", 32))+`","y":"`+b64(strings.Repeat("y", 32))+`"}}`, goodClaims())}, "public key"},
		{"another's key", []string{sign(t, key(), `{"typ":"dpop+jwt","alg":"ES256","jwk":`+publicJWK(t, other)+`}`, goodClaims())}, "signature"},
		{"tampered", []string{good()[:len(good())-4] + "AAAA"}, "signature"},
		// 8: the method
		{"another method", []string{sign(t, key(), "", goodClaims().with("htm", "GET"))}, "another method"},
		{"another case", []string{sign(t, key(), "", goodClaims().with("htm", "post"))}, "another method"},
		// 11: the time
		{"an hour ago", []string{sign(t, key(), "", goodClaims().with("iat", now-3600))}, "too old"},
		{"in an hour", []string{sign(t, key(), "", goodClaims().with("iat", now+3600))}, "too old"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			memory := new(counted)
			p, err := newVerifier(t, func(c *dpop.Config) { c.Replays = memory }).Verify(request("POST", "/items", tt.proofs...), "")
			if n := memory.uses.Load(); n != map[bool]int64{true: 1}[tt.reason == ""] {
				t.Errorf("the memory of proofs was asked %d times", n)
			}
			switch {
			case tt.reason == "" && err != nil:
				t.Errorf("got %v, want accepted", err)
			case tt.reason == "" && p.Thumbprint != key().Thumbprint():
				t.Errorf("the thumbprint is %s, want %s", p.Thumbprint, key().Thumbprint())
			case tt.reason != "" && (p != dpop.Proof{} || !errors.Is(err, auth.ErrInvalid) || !strings.Contains(err.Error(), tt.reason)):
				t.Errorf("got %v, %v, want %q", p, err, tt.reason)
			case len(tt.proofs) == 0 && !errors.Is(err, dpop.ErrNoProof):
				t.Errorf("got %v, want ErrNoProof", err)
			}
		})
	}
}

func TestRFC9449_4_3_AccessToken(t *testing.T) {
	hash := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return b64(string(sum[:]))
	}
	for _, tt := range []struct {
		name  string
		ath   any
		token string
		ok    bool
	}{
		{"its token", hash("token"), "token", true},
		{"another token", hash("other"), "token", false},
		{"none", nil, "token", false},
		{"the token itself", "token", "token", false},
		{"padded", hash("token") + "=", "token", false},
		{"cut", hash("token")[:42], "token", false},
		{"at the token endpoint", nil, "", true},
		{"of another endpoint, at the token endpoint", hash("token"), "", true},
		{"of a number", 1, "token", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := newVerifier(t).Verify(request("POST", "/items", sign(t, key(), "", goodClaims().with("ath", tt.ath))), tt.token)
			if (err == nil) != tt.ok || err != nil && !errors.Is(err, auth.ErrInvalid) {
				t.Errorf("got %v, want ok = %v", err, tt.ok)
			}
		})
	}
}

func TestConfigErrors(t *testing.T) {
	var none *auth.MemoryReplays
	for name, tt := range map[string]struct {
		change func(*dpop.Config)
		field  string
	}{
		"no origin":            {func(c *dpop.Config) { c.Origins = nil }, "Origins"},
		"plain http":           {func(c *dpop.Config) { c.Origins = []string{"http://api.example.com"} }, "Origins"},
		"no URL":               {func(c *dpop.Config) { c.Origins = []string{"api.example.com"} }, "Origins"},
		"a query":              {func(c *dpop.Config) { c.Origins = []string{origin + "?a"} }, "Origins"},
		"two slashes":          {func(c *dpop.Config) { c.Origins = []string{origin + "//"} }, "Origins"},
		"the same twice":       {func(c *dpop.Config) { c.Origins = []string{origin, origin + ":443/"} }, "Origins"},
		"one in another":       {func(c *dpop.Config) { c.Origins = []string{origin + "/v1/x", origin + "/v1"} }, "Origins"},
		"all in one":           {func(c *dpop.Config) { c.Origins = []string{origin, origin + "/v1"} }, "Origins"},
		"dots":                 {func(c *dpop.Config) { c.Origins = []string{origin + "/a/../b"} }, "Origins"},
		"no algorithm":         {func(c *dpop.Config) { c.Algorithms = []string{} }, "Algorithms"},
		"a secret's algorithm": {func(c *dpop.Config) { c.Algorithms = []string{"HS256"} }, "Algorithms"},
		"none":                 {func(c *dpop.Config) { c.Algorithms = []string{"none"} }, "Algorithms"},
		"a negative window":    {func(c *dpop.Config) { c.Window = -1 }, "Window"},
		"an hour's window":     {func(c *dpop.Config) { c.Window = time.Hour }, "Window"},
		"nil replays":          {func(c *dpop.Config) { c.Replays = none }, "Replays"},
		"a short nonce key":    {func(c *dpop.Config) { c.RequireNonce, c.NonceKey = true, make([]byte, 31) }, "NonceKey"},
		"a nonce key for none": {func(c *dpop.Config) { c.NonceKey = make([]byte, 32) }, "NonceKey"},
		"a nonce of a second":  {func(c *dpop.Config) { c.RequireNonce, c.NonceLifetime = true, time.Second }, "NonceLifetime"},
		"a nonce of a week":    {func(c *dpop.Config) { c.RequireNonce, c.NonceLifetime = true, 7*24*time.Hour }, "NonceLifetime"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := dpop.Config{Origins: []string{origin}}
			tt.change(&cfg)
			if v, err := dpop.New(cfg); v != nil || err == nil || !strings.Contains(err.Error(), "dpop: Config."+tt.field) {
				t.Errorf("got %v, %v, want it to name %s", v, err, tt.field)
			}
		})
	}
}

func TestNothingIsPrinted(t *testing.T) {
	nonceKey := []byte("canary-canary-canary-canary-canary")
	cfg := dpop.Config{Origins: []string{origin}, RequireNonce: true, NonceKey: nonceKey}
	v := newVerifier(t, func(c *dpop.Config) { *c = cfg })
	p, err := dpop.NewProver(key())
	if err != nil {
		t.Fatal(err)
	}
	shown := fmt.Sprintf("%v %+v %#v %s %v %+v %#v %v %+v %#v %x", v, v, v, v, p, p, p, cfg, cfg, &cfg, cfg)
	if strings.Contains(shown, "canary") || strings.Contains(shown, "99 97 110") || strings.Contains(shown, "63616e") || len(shown) > 600 {
		t.Errorf("got %s", shown)
	}
}

// The reason goes to the audit log: it holds nothing of what was sent.
func TestReasonsHoldNothingOfTheProof(t *testing.T) {
	c := goodClaims().with("jti", "canary-jti", "htm", "CANARY", "nonce", "canary-nonce")
	for name, proof := range map[string]string{
		"method": sign(t, key(), "", c), "header": sign(t, key(), `{"typ":"canary"}`, c), "signature": sign(t, key(), "", c)[:200] + "canary",
		"URI": sign(t, key(), "", c.with("htm", "POST", "htu", "https://canary.example.com/")), "text": "canary",
		"key": sign(t, key(), `{"typ":"dpop+jwt","alg":"ES256","jwk":{"kty":"canary"}}`, c), "claims": sign(t, key(), "", `{"canary":`),
	} {
		_, err := newVerifier(t).Verify(request("POST", "/items", proof), "canary-token")
		if err == nil || strings.Contains(strings.ToLower(err.Error()), "canary") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, alg := range []string{"ES256", "EdDSA"} {
		b.Run(alg, func(b *testing.B) {
			v := newVerifier(b, func(c *dpop.Config) { c.Replays = always{} })
			r := request("POST", "/items", sign(b, newKey(b, alg), "", goodClaims()))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(r, ""); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
