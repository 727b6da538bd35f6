package dpop_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/dpop"
	"github.com/sallyport/sallyport/auth/jwk"
)

const origin = "https://api.example.com"

func newKey(t testing.TB, alg string) jwk.Key {
	t.Helper()
	k, err := jwk.Generate(alg)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var key = sync.OnceValue(func() jwk.Key {
	k, err := jwk.Generate("ES256")
	if err != nil {
		panic(err)
	}
	return k
})

func newVerifier(t testing.TB, change ...func(*dpop.Config)) *dpop.Verifier {
	t.Helper()
	cfg := dpop.Config{Origins: []string{origin}}
	for _, f := range change {
		f(&cfg)
	}
	v, err := dpop.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func request(method, path string, proofs ...string) *http.Request {
	r := httptest.NewRequest(method, origin+path, nil)
	for _, p := range proofs {
		r.Header.Add("DPoP", p)
	}
	return r
}

type claims map[string]any

func goodClaims() claims {
	return claims{"jti": rand.Text(), "htm": "POST", "htu": origin + "/items", "iat": time.Now().Unix()}
}

func (c claims) with(kv ...any) claims {
	c = maps.Clone(c)
	for i := 0; i < len(kv); i += 2 {
		if kv[i+1] == nil {
			delete(c, kv[i].(string))
		} else {
			c[kv[i].(string)] = kv[i+1]
		}
	}
	return c
}

func publicJWK(t testing.TB, k jwk.Key) string {
	t.Helper()
	public, err := k.Public()
	if err != nil {
		t.Fatal(err)
	}
	b, err := public.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// sign makes a proof of a header and a payload as they are; a header of "" is the
// usual one.
func sign(t testing.TB, k jwk.Key, header string, payload any) string {
	t.Helper()
	text, ok := payload.(string)
	if !ok {
		b, err := json.Marshal(payload)
		if err != nil {
			t.Fatal(err)
		}
		text = string(b)
	}
	if header == "" {
		header = `{"typ":"dpop+jwt","alg":"` + k.Algorithm() + `","jwk":` + publicJWK(t, k) + `}`
	}
	signed := b64(header) + "." + b64(text)
	signature, err := k.Sign([]byte(signed))
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + b64(string(signature))
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

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
		{"with its type in full", []string{sign(t, key(), `{"typ":"application/dpop+jwt","alg":"ES256","jwk":`+public+`}`, goodClaims())}, ""},
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
			p, err := newVerifier(t).Verify(request("POST", "/items", tt.proofs...), "")
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

func mustJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// 9: the URI, without query and fragment and however it is spelt, as long as it is the
// same.
func TestRFC9449_4_3_URI(t *testing.T) {
	for _, tt := range []struct {
		name, htu, path string
		origins         []string
		ok              bool
	}{
		{"same", origin + "/items", "/items", nil, true},
		{"query of the request", origin + "/items", "/items?a=b", nil, true},
		{"query of the proof", origin + "/items?a=b", "/items", nil, true},
		{"fragment of the proof", origin + "/items#x", "/items", nil, true},
		{"case of the scheme and host", "HTTPS://API.Example.com/items", "/items", nil, true},
		{"default port", "https://api.example.com:443/items", "/items", nil, true},
		{"empty port", "https://api.example.com:/items", "/items", nil, true},
		{"no path", origin, "/", nil, true},
		{"encoded, but needs not be", origin + "/%69tems/%7e", "/items/~", nil, true},
		{"digits in another case", origin + "/a%c3%a4", "/a%C3%A4", nil, true},
		{"an encoded slash", origin + "/a%2Fb", "/a%2fb", nil, true},
		{"another path", origin + "/item", "/items", nil, false},
		{"a longer path", origin + "/items/1", "/items", nil, false},
		{"a slash at the end", origin + "/items/", "/items", nil, false},
		{"two slashes", origin + "//items", "/items", nil, false},
		{"case of the path", origin + "/Items", "/items", nil, false},
		{"an encoded slash is none", origin + "/a%2fb", "/a/b", nil, false},
		{"dots", origin + "/x/../items", "/items", nil, false},
		{"encoded dots", origin + "/x/%2e%2e/items", "/x/%2e%2e/items", nil, false},
		{"another host", "https://evil.example.com/items", "/items", nil, false},
		{"another port", "https://api.example.com:8443/items", "/items", nil, false},
		{"plain http", "http://api.example.com/items", "/items", nil, false},
		{"a user", "https://api.example.com@evil.example.com/items", "/items", nil, false},
		{"a user of the host", "https://a@api.example.com/items", "/items", nil, false},
		{"a backslash", `https://api.example.com\@evil.example.com/items`, "/items", nil, false},
		{"relative", "/items", "/items", nil, false},
		{"no host", "https:///items", "/items", nil, false},
		{"half an escape", origin + "/items%2", "/items", nil, false},
		{"no escape", origin + "/items%zz", "/items", nil, false},
		{"long", origin + "/" + strings.Repeat("a", 3000), "/" + strings.Repeat("a", 3000), nil, false},
		{"a base path", origin + "/v1/items", "/items", []string{origin + "/v1"}, true},
		{"a base path, left out", origin + "/items", "/items", []string{origin + "/v1"}, false},
		{"the second origin", "https://two.example.com/items", "/items", []string{origin, "https://two.example.com"}, true},
		{"an origin with a slash", origin + "/items", "/items", []string{origin + "/"}, true},
		{"a port of its own", "https://api.example.com:8443/items", "/items", []string{"https://api.example.com:8443"}, true},
		{"loopback", "http://127.0.0.1:8080/items", "/items", []string{"http://127.0.0.1:8080"}, true},
		{"IPv6", "http://[::1]:8080/items", "/items", []string{"http://[::1]:8080"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := newVerifier(t, func(c *dpop.Config) {
				if tt.origins != nil {
					c.Origins = tt.origins
				}
			})
			_, err := v.Verify(request("POST", tt.path, sign(t, key(), "", goodClaims().with("htu", tt.htu))), "")
			if (err == nil) != tt.ok || err != nil && !errors.Is(err, auth.ErrInvalid) {
				t.Errorf("got %v, want ok = %v", err, tt.ok)
			}
		})
	}
}

// Neither Host nor what a proxy may have set makes the URI: whoever got a proof by
// mistake could use it here (Zitadel CVE-2025-64101).
func TestCVE_2025_64101_HostSaysNothing(t *testing.T) {
	r := request("POST", "/items", sign(t, key(), "", goodClaims().with("htu", "https://evil.example.com/items")))
	r.Host = "evil.example.com"
	for _, name := range []string{"X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "X-Original-Host"} {
		r.Header.Set(name, "evil.example.com")
	}
	if _, err := newVerifier(t).Verify(r, ""); !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("got %v: Host chooses what a proof is for", err)
	}
	r = request("POST", "/items", sign(t, key(), "", goodClaims()))
	r.Host = "10.0.0.7:8080" // what a proxy says to the service behind it
	if _, err := newVerifier(t).Verify(r, ""); err != nil {
		t.Errorf("got %v behind a proxy", err)
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

func TestRFC9449_11_1_Window(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for at, want := range map[time.Duration]bool{
			-61 * time.Second: false, -60 * time.Second: false, -59 * time.Second: true, 0: true, 60 * time.Second: true, 61 * time.Second: false,
		} {
			v := newVerifier(t)
			p := sign(t, key(), "", goodClaims().with("iat", time.Now().Add(at).Unix()))
			if _, err := v.Verify(request("POST", "/items", p), ""); (err == nil) != want {
				t.Errorf("%v: got %v, want ok = %v", at, err, want)
			}
		}
		// A proof is remembered as long as it could be used.
		v := newVerifier(t)
		p := sign(t, key(), "", goodClaims().with("iat", time.Now().Add(30*time.Second).Unix()))
		for i := range 10 {
			if _, err := v.Verify(request("POST", "/items", p), ""); (err == nil) != (i == 0) {
				t.Errorf("use %d: got %v", i, err)
			}
			time.Sleep(10 * time.Second)
		}
	})
}

func TestRFC9449_11_1_Replay(t *testing.T) {
	v := newVerifier(t)
	c := goodClaims()
	p := sign(t, key(), "", c)
	if _, err := v.Verify(request("POST", "/items", p), ""); err != nil {
		t.Fatal(err)
	}
	for name, again := range map[string]string{"the same": p, "signed again": sign(t, key(), "", c), "another time": sign(t, key(), "", c.with("iat", time.Now().Unix()-1))} {
		if _, err := v.Verify(request("POST", "/items", again), ""); !errors.Is(err, auth.ErrInvalid) || !strings.Contains(err.Error(), "used before") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	// The identifier is the client's own: nobody uses up that of another.
	if _, err := v.Verify(request("POST", "/items", sign(t, newKey(t, "ES256"), "", c)), ""); err != nil {
		t.Errorf("another key: got %v", err)
	}
	// A proof that is not good uses nothing up.
	c = goodClaims()
	if _, err := v.Verify(request("GET", "/items", sign(t, key(), "", c)), ""); err == nil {
		t.Error("another method was accepted")
	}
	if _, err := v.Verify(request("POST", "/items", sign(t, key(), "", c)), ""); err != nil {
		t.Errorf("got %v after a proof that was not good", err)
	}
}

func TestF7_OneOfAHundred(t *testing.T) {
	v := newVerifier(t)
	p := sign(t, key(), "", goodClaims())
	var good atomic.Int64
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if _, err := v.Verify(request("POST", "/items", p), ""); err == nil {
				good.Add(1)
			}
		})
	}
	wg.Wait()
	if n := good.Load(); n != 1 {
		t.Errorf("%d were accepted, want 1", n)
	}
}

type broken struct{ err error }

func (b broken) Use(context.Context, string, time.Time) (bool, error) { return true, b.err }

// A memory that can't tell, or is full, accepts nothing, and refuses nobody for good.
func TestReplaysThatCantTell(t *testing.T) {
	for _, err := range []error{errors.New("out of reach"), auth.ErrInvalid, auth.ErrNoCredentials, context.DeadlineExceeded} {
		p, got := newVerifier(t, func(c *dpop.Config) { c.Replays = broken{err} }).Verify(request("POST", "/items", sign(t, key(), "", goodClaims())), "")
		if got == nil || errors.Is(got, auth.ErrInvalid) || errors.Is(got, auth.ErrNoCredentials) || p != (dpop.Proof{}) {
			t.Errorf("%v: got %v, %v", err, p, got)
		}
	}
	v := newVerifier(t, func(c *dpop.Config) { c.Replays = auth.NewMemoryReplays(2) })
	for i := range 5 {
		_, err := v.Verify(request("POST", "/items", sign(t, key(), "", goodClaims())), "")
		if (err == nil) != (i < 2) || errors.Is(err, auth.ErrInvalid) {
			t.Errorf("proof %d: got %v", i, err)
		}
	}
}

func TestRFC9449_8_Nonces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := bytes.Repeat([]byte("0123456789abcdef"), 2)
		required := func(key []byte) func(*dpop.Config) {
			return func(c *dpop.Config) { c.RequireNonce, c.NonceKey = true, key }
		}
		v, twin, stranger := newVerifier(t, required(shared)), newVerifier(t, required(shared)), newVerifier(t, required(nil))
		try := func(v *dpop.Verifier, nonce any) error {
			_, err := v.Verify(request("POST", "/items", sign(t, key(), "", goodClaims().with("nonce", nonce))), "")
			return err
		}
		first := v.Nonce()
		if len(first) < 22 || first != v.Nonce() {
			t.Errorf("the nonce is %q, then %q", first, v.Nonce())
		}
		for name, nonce := range map[string]any{
			"none": nil, "empty": "", "cut": first[:len(first)-1], "longer": first + "A", "another's": stranger.Nonce(),
			"changed": "B" + first[1:], "of another step": b64("\x00\x00\x00\x00\x00\x00\x00\x01" + strings.Repeat("x", 16)),
		} {
			err := try(v, nonce)
			if err == nil || !errors.Is(err, auth.ErrInvalid) || name != "empty" && !errors.Is(err, dpop.ErrNonce) {
				t.Errorf("%s: got %v, want ErrNonce", name, err)
			}
		}
		for _, one := range []*dpop.Verifier{v, twin} {
			if err := try(one, first); err != nil {
				t.Errorf("got %v", err)
			}
		}
		time.Sleep(5 * time.Minute)
		if v.Nonce() == first {
			t.Error("the nonce does not change")
		}
		if err := try(v, first); err != nil {
			t.Errorf("the nonce before: got %v", err)
		}
		if err := try(v, v.Nonce()); err != nil {
			t.Errorf("the nonce of now: got %v", err)
		}
		time.Sleep(5 * time.Minute)
		if err := try(v, first); !errors.Is(err, dpop.ErrNonce) {
			t.Errorf("the nonce before the last: got %v", err)
		}
		if off := newVerifier(t); off.Nonce() != "" || try(off, "whatever") != nil {
			t.Error("a nonce counts that nobody asked for")
		}
	})
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

func TestNothingIsPrinted(t *testing.T) {
	nonceKey := []byte("canary-canary-canary-canary-canary")
	v := newVerifier(t, func(c *dpop.Config) { c.RequireNonce, c.NonceKey = true, nonceKey })
	p, err := dpop.NewProver(key())
	if err != nil {
		t.Fatal(err)
	}
	shown := fmt.Sprintf("%v %+v %#v %s %v %+v", v, v, v, v, p, p)
	if strings.Contains(shown, "canary") || strings.Contains(shown, "99 97 110") || len(shown) > 300 {
		t.Errorf("got %s", shown)
	}
}

// Whatever is sent, there is a proof or an error, and no proof that the key did not
// sign.
func FuzzVerify(f *testing.F) {
	good := sign(f, key(), "", claims{"jti": "x", "htm": "POST", "htu": origin + "/items", "iat": 253402300799})
	f.Add(sign(f, key(), "", goodClaims()), "POST", "/items")
	f.Add(good, "GET", "/%2e")
	f.Add("a.b.c", "POST", "")
	f.Add(b64(`{"typ":"dpop+jwt","alg":"ES256","jwk":{"kty":"EC","crv":"P-256","x":"","y":""}}`)+".e30.AA", "POST", "/")
	f.Fuzz(func(t *testing.T, text, method, path string) {
		v := newVerifier(t)
		r := request("POST", "/")
		r.Method, r.URL.Path, r.URL.RawPath = method, path, ""
		r.Header["Dpop"] = []string{text}
		p, err := v.Verify(r, "")
		if (p == dpop.Proof{}) == (err == nil) {
			t.Fatalf("got %v, %v", p, err)
		}
		if err != nil && !errors.Is(err, auth.ErrInvalid) {
			t.Fatalf("got %v, want ErrInvalid", err)
		}
	})
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

type always struct{}

func (always) Use(context.Context, string, time.Time) (bool, error) { return true, nil }

func ExampleNew() {
	proofs, err := dpop.New(dpop.Config{Origins: []string{"https://api.example.com"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	// A client has a key, and makes a proof for each request.
	key, _ := jwk.Generate("ES256")
	client, _ := dpop.NewProver(key)
	proof, _ := client.Proof("GET", "https://api.example.com/items", "the-token", "")

	r := httptest.NewRequest("GET", "/items", nil)
	r.Header.Set("DPoP", proof)
	p, err := proofs.Verify(r, "the-token")
	fmt.Println(p.Thumbprint == client.Thumbprint(), err)

	_, err = proofs.Verify(r, "the-token")
	fmt.Println(err)
	// Output:
	// true <nil>
	// auth: invalid credentials: the DPoP proof was used before
}
