package bearer_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/bearer"
	"github.com/sallyport/sallyport/auth/jwk"
)

func forIssuer(t testing.TB, issuer string, keys jwk.Set, change ...func(*bearer.Config)) *bearer.Authenticator {
	t.Helper()
	return newAuthenticator(t, append([]func(*bearer.Config){func(c *bearer.Config) { c.Issuer, c.Keys = issuer, keys }}, change...)...)
}

func join(t testing.TB, a ...*bearer.Authenticator) *bearer.Authenticator {
	t.Helper()
	joined, err := bearer.Join(a...)
	if err != nil {
		t.Fatal(err)
	}
	return joined
}

// named returns a new key of an id that another issuer's key has too.
func named(t testing.TB, id string) jwk.Key {
	t.Helper()
	secret := []byte(generate("HS256").ID() + generate("HS256").ID())
	k, err := jwk.NewKey(id, "HS256", secret)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Two issuers whose keys have one id: neither's key ever verifies the other's
// tokens, in whatever order and however many at once.
func TestCVE_2026_49998_SameKeyIDInTwoIssuers(t *testing.T) {
	keyA, keyB := named(t, "1"), named(t, "1")
	a := forIssuer(t, "https://a.example", static(t, keyA))
	b := forIssuer(t, "https://b.example", static(t, keyB))
	fromA, fromB := goodClaims().with("iss", "https://a.example"), goodClaims().with("iss", "https://b.example")
	for name, joined := range map[string]*bearer.Authenticator{"a, b": join(t, a, b), "b, a": join(t, b, a), "nested": join(t, join(t, a), b)} {
		t.Run(name, func(t *testing.T) {
			tokens := []struct {
				token, subject string
			}{
				{mint(t, keyA, fromA), "https://a.example"},
				{mint(t, keyB, fromB), "https://b.example"},
				{mint(t, keyB, fromA), ""},
				{mint(t, keyA, fromB), ""},
			}
			var wg sync.WaitGroup
			for i := range 1000 {
				wg.Go(func() {
					for j := range tokens {
						tok := tokens[(i+j)%len(tokens)]
						if tok.subject == "" {
							refuse(t, joined, tok.token, "signature")
						} else if id := accept(t, joined, tok.token); id.Issuer != tok.subject {
							t.Errorf("issuer %q, want %q", id.Issuer, tok.subject)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// The issuer of a token chooses among the configured ones, by exact comparison.
func TestCVE_2026_32301_UnknownIssuer(t *testing.T) {
	key := hsKey()
	asked := 0
	counting := setFunc(func(ctx context.Context, id, alg string) (jwk.Key, error) {
		asked++
		return static(t, key).Lookup(ctx, id, alg)
	})
	joined := join(t, forIssuer(t, "https://a.example", counting), forIssuer(t, "https://b.example", counting))
	for _, iss := range []any{
		"https://c.example", "https://a.example/", "https://A.example", "https://a.example https://b.example", "http://169.254.169.254/",
		nil, null, "", 1,
		[]string{"https://a.example"},
		claims{"https://a.example": 1},
	} {
		refuse(t, joined, mint(t, key, goodClaims().with("iss", iss)), "")
	}
	for _, payload := range []string{"", "null", "{", `"https://a.example"`, `{"iss":"https://a.example","iss":"https://b.example"}`, `{"iss":"https://a.example","ISS":"x"}`} {
		refuse(t, joined, mintText(t, key, header(key), payload), "")
	}
	if asked != 0 {
		t.Errorf("the key sets were asked %d times, want 0", asked)
	}
	accept(t, joined, mint(t, key, goodClaims().with("iss", "https://a.example")))
	accept(t, joined, mintText(t, key, header(key), strings.Replace(goodClaims().with("iss", "https://b.example").String(), `"iss"`, `"\u0069ss"`, 1)))
}

// Each issuer keeps its own settings.
func TestJoinKeepsSettingsApart(t *testing.T) {
	asked := ""
	a := forIssuer(t, "https://a.example", static(t, hsKey()), func(c *bearer.Config) {
		c.Audience = []string{"api-a"}
		c.Types = []string{"JWT"}
		c.Revoked = func(_ context.Context, tok bearer.Token) (bool, error) {
			asked += tok.Issuer
			return tok.ID == "gone", nil
		}
	})
	b := forIssuer(t, "https://b.example", static(t, esKey()), func(c *bearer.Config) { c.Audience = []string{"api-b"} })
	joined := join(t, a, b)
	ca, cb := goodClaims().with("iss", "https://a.example", "aud", "api-a"), goodClaims().with("iss", "https://b.example", "aud", "api-b")
	jwt := func(c claims) string {
		return mintText(t, hsKey(), strings.Replace(header(hsKey()), "at+jwt", "JWT", 1), c.String())
	}
	accept(t, joined, jwt(ca))
	refuse(t, joined, jwt(ca.with("jti", "gone")), "revoked")
	accept(t, joined, mint(t, esKey(), cb.with("jti", "gone")))
	if asked != "https://a.examplehttps://a.example" {
		t.Errorf("the revocation check was asked for %s", asked)
	}
	refuse(t, joined, jwt(ca.with("aud", "api-b")), "audience")
	refuse(t, joined, mint(t, hsKey(), ca), "type")
	refuse(t, joined, mint(t, esKey(), ca), "type")
	refuse(t, joined, mint(t, hsKey(), cb), "no key")
	refuse(t, joined, mint(t, esKey(), cb.with("aud", "api-a")), "audience")
}

// Of two principals with one subject, the issuer tells them apart (RFC 8725 §3.8).
func TestRFC8725_3_8_IssuerAndSubject(t *testing.T) {
	joined := join(t, forIssuer(t, "https://a.example", static(t, hsKey())), forIssuer(t, "https://b.example", static(t, hsKey())))
	a := accept(t, joined, mint(t, hsKey(), goodClaims().with("iss", "https://a.example")))
	b := accept(t, joined, mint(t, hsKey(), goodClaims().with("iss", "https://b.example")))
	if a.Subject != b.Subject || a.Issuer == b.Issuer {
		t.Errorf("got %q %q and %q %q", a.Issuer, a.Subject, b.Issuer, b.Subject)
	}
}

func TestJoinErrors(t *testing.T) {
	a, b := newAuthenticator(t), forIssuer(t, "https://b.example", static(t, hsKey()))
	for name, list := range map[string][]*bearer.Authenticator{
		"none": {}, "nil": {a, nil}, "one twice": {a, a}, "two of one issuer": {a, b, newAuthenticator(t)}, "one inside another": {join(t, a, b), a},
	} {
		if joined, err := bearer.Join(list...); err == nil || joined != nil {
			t.Errorf("%s: got %v, %v, want an error", name, joined, err)
		}
	}
}

func TestJoinChallenge(t *testing.T) {
	joined := join(t,
		forIssuer(t, "https://a.example", static(t, hsKey()), func(c *bearer.Config) { c.Realm = "first" }),
		forIssuer(t, "https://b.example", static(t, hsKey()), func(c *bearer.Config) { c.Realm = "second" }))
	w := serve(auth.Require(joined), request("x"))
	if got := fmt.Sprint(w.Header()["Www-Authenticate"]); w.Code != 401 || !strings.HasPrefix(got, `[Bearer realm="first", error="invalid_token"`) || strings.Contains(got, "second") {
		t.Errorf("got %d %s, want one challenge, of the first realm", w.Code, got)
	}
}

// Joined doors have one memory of proofs and one place for tokens, so settings that
// can't both hold are an error.
func TestJoinOfDifferentSettings(t *testing.T) {
	other := func(c *bearer.Config) { c.Issuer = "https://other.example.com" }
	proofs := newDPoP(t)
	for _, tt := range []struct {
		name     string
		one, two func(*bearer.Config)
		want     string // "" is no error
	}{
		{"two DPoP verifiers", func(c *bearer.Config) { c.DPoP = newDPoP(t) }, func(c *bearer.Config) { c.DPoP = newDPoP(t) }, "DPoP"},
		{"one DPoP verifier", func(c *bearer.Config) { c.DPoP = proofs }, func(c *bearer.Config) { c.DPoP = proofs }, ""},
		{"one with DPoP", func(*bearer.Config) {}, func(c *bearer.Config) { c.DPoP = proofs }, ""},
		{"one with a cookie", func(c *bearer.Config) { c.Cookie.Name = testCookie }, func(*bearer.Config) {}, "Cookies"},
		{"two cookies", func(c *bearer.Config) { c.Cookie.Name = testCookie }, func(c *bearer.Config) { c.Cookie.Name = testCookie + "2" }, "Cookies"},
		{"one cookie", func(c *bearer.Config) { c.Cookie.Name = testCookie }, func(c *bearer.Config) { c.Cookie.Name = testCookie }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := bearer.Join(newAuthenticator(t, tt.one), newAuthenticator(t, other, tt.two))
			if (tt.want == "") != (err == nil) || err != nil && (a != nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, %v, want %q", a, err, tt.want)
			}
		})
	}
	// Each issuer's own rules hold: one needs bound tokens, the other doesn't.
	a := join(t, newAuthenticator(t, func(c *bearer.Config) { c.DPoP, c.RequireDPoP = proofs, true }), newAuthenticator(t, other))
	refuse(t, a, mint(t, hsKey(), goodClaims()), "not bound")
	accept(t, a, mint(t, hsKey(), goodClaims().with("iss", "https://other.example.com")))
}
