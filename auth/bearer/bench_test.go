package bearer_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/bearer"
	"github.com/sallyport/sallyport/auth/jwk"
)

// benchToken is an access token of eleven claims.
func benchToken(b *testing.B, key jwk.Key) string {
	b.Helper()
	now := time.Now().Unix()
	payload, err := json.Marshal(map[string]any{
		"iss": "https://login.example.com", "sub": "248289761001", "aud": []string{"https://api.example.com"},
		"exp": now + 3600, "iat": now, "nbf": now, "jti": "b7d7f4a2-1f2a-4b7e-9a47-1f0a4c7e6d20", "client_id": "s6BhdRkqt3",
		"scope": "items:read items:write profile", "roles": []string{"editor"}, "name": "Jane Doe",
	})
	if err != nil {
		b.Fatal(err)
	}
	token, err := key.SignCompact("at+jwt", payload)
	if err != nil {
		b.Fatal(err)
	}
	return token
}

func BenchmarkAuthenticate(b *testing.B) {
	for _, alg := range []string{"HS256", "RS256", "ES256", "EdDSA"} {
		key := keyFor(b, alg) // RSA of 2048 bits, as most issuers have
		keys, err := jwk.Static(key)
		if err != nil {
			b.Fatal(err)
		}
		a, err := bearer.New(bearer.Config{Issuer: "https://login.example.com", Audience: []string{"https://api.example.com"}, Keys: keys})
		if err != nil {
			b.Fatal(err)
		}
		token := benchToken(b, key)
		request := func(credentials string) *http.Request {
			r := httptest.NewRequest("GET", "/items", nil)
			r.Header.Set("Authorization", credentials)
			return r
		}
		b.Run(alg+"/accepted", func(b *testing.B) {
			r := request("Bearer " + token)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Authenticate(r); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(alg+"/tampered", func(b *testing.B) {
			dot := strings.LastIndexByte(token, '.')
			r := request("Bearer " + token[:dot-8] + "AAAAAAAA" + token[dot:])
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Authenticate(r); !errors.Is(err, auth.ErrInvalid) {
					b.Fatal(err)
				}
			}
		})
		if alg != "HS256" {
			continue
		}
		for name, garbage := range map[string]string{
			"garbage 16 KiB": strings.Repeat("A", 16<<10-7),
			"dots 16 KiB":    strings.Repeat(".", 16<<10-7),
			"random header":  "eyJhbGciOiJub25lIn0." + strings.Repeat("A", 12000) + ".AAAA",
		} {
			b.Run(name, func(b *testing.B) {
				r := request("Bearer " + garbage)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := a.Authenticate(r); !errors.Is(err, auth.ErrInvalid) {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// A token that is verified each time.
func BenchmarkAuthenticateWithoutCache(b *testing.B) {
	for _, alg := range []string{"HS256", "RS256", "ES256", "EdDSA"} {
		b.Run(alg, func(b *testing.B) {
			key := keyFor(b, alg)
			a := newAuthenticator(b, func(c *bearer.Config) {
				c.Keys, c.Cache.Disabled = static(b, key), true
			})
			r := request(benchToken(b, key))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Authenticate(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// The whole door, for a token that was verified before.
func BenchmarkRequireWarm(b *testing.B) {
	key := keyFor(b, "HS256")
	a := newAuthenticator(b, func(c *bearer.Config) { c.Keys = static(b, key) })
	h := auth.Require(a)(next)
	r := request(benchToken(b, key))
	w := httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
	if w.Code != http.StatusOK {
		b.Fatal(w.Code)
	}
}

// next is a variable, so that the compiler does not see that it does nothing.
var next http.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
