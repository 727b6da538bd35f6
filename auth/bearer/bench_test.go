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
