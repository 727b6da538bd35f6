package sallyport_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/apikey"
	"github.com/sallyport/sallyport/auth/basic"
	"github.com/sallyport/sallyport/auth/bearer"
	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/auth/mtls"
	"github.com/sallyport/sallyport/auth/password"
	"github.com/sallyport/sallyport/authz"
)

// A rule holds whichever scheme let the caller in (Gitea: scopes were enforced on one
// path only).
func TestCVE_2026_28699_OneRuleForEveryScheme(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name   string
		scopes []string
		roles  []string
		status int
	}{
		{"both", []string{"items:write"}, []string{"editor"}, http.StatusOK},
		{"more than both", []string{"items:read", "items:write"}, []string{"viewer", "editor"}, http.StatusOK},
		{"no scope", nil, []string{"editor"}, http.StatusForbidden},
		{"another scope", []string{"items:read"}, []string{"editor"}, http.StatusForbidden},
		{"no role", []string{"items:write"}, nil, http.StatusForbidden},
		{"the role for a scope", []string{"editor"}, []string{"items:write"}, http.StatusForbidden},
	} {
		t.Run(tt.name, func(t *testing.T) {
			hash, err := bcrypt.GenerateFromPassword([]byte("correct horse battery staple"), bcrypt.MinCost)
			must(err)
			users, err := auth.NewMemoryUsers(auth.User{Subject: "u-1", Name: "ada", PasswordHash: string(hash), Scopes: tt.scopes, Roles: tt.roles})
			must(err)
			hasher, err := password.New(password.Config{Reference: string(hash)})
			must(err)
			passwords, err := basic.New(basic.Config{Users: users, Passwords: hasher})
			must(err)

			plain, record, err := apikey.Mint(apikey.MintConfig{Subject: "u-1", Scopes: tt.scopes, Roles: tt.roles})
			must(err)
			store, err := apikey.NewMemoryStore(record)
			must(err)
			keys, err := apikey.New(apikey.Config{Store: store})
			must(err)

			key, err := jwk.Generate("ES256")
			must(err)
			set, err := jwk.Static(key)
			must(err)
			tokens, err := bearer.New(bearer.Config{Issuer: "https://issuer.example", Audience: []string{"api"}, Keys: set})
			must(err)
			now := time.Now().Unix()
			claims := map[string]any{"iss": "https://issuer.example", "aud": "api", "sub": "u-1", "client_id": "web", "jti": "1", "iat": now, "exp": now + 600, "roles": tt.roles}
			if tt.roles == nil {
				delete(claims, "roles")
			}
			scope := ""
			for i, one := range tt.scopes {
				if i > 0 {
					scope += " "
				}
				scope += one
			}
			claims["scope"] = scope
			payload, err := json.Marshal(claims)
			must(err)
			token, err := key.SignCompact("at+jwt", payload)
			must(err)

			certificates, err := mtls.New(mtls.Config{Identity: func(*http.Request, *x509.Certificate) (*auth.Identity, error) {
				return &auth.Identity{Subject: "u-1", Scopes: tt.scopes, Roles: tt.roles}, nil
			}})
			must(err)

			h := auth.Require(passwords, tokens, keys, certificates)(authz.Require(authz.Scope("items:write"), authz.Role("editor"))(
				http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
			for scheme, prepare := range map[string]func(*http.Request){
				"Basic":  func(r *http.Request) { r.SetBasicAuth("ada", "correct horse battery staple") },
				"Bearer": func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) },
				"ApiKey": func(r *http.Request) { r.Header.Set("X-API-Key", plain) },
				"MutualTLS": func(r *http.Request) {
					c := &x509.Certificate{NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), URIs: []*url.URL{{Scheme: "spiffe", Host: "a"}}}
					r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{c}}}
				},
			} {
				for _, method := range []string{"GET", "HEAD", "POST", "DELETE", "OPTIONS"} {
					r := httptest.NewRequest(method, "/items", nil)
					prepare(r)
					w := httptest.NewRecorder()
					h.ServeHTTP(w, r)
					if w.Code != tt.status {
						t.Errorf("%s, %s: got %d, want %d: %s", scheme, method, w.Code, tt.status, w.Body)
					}
				}
			}
			r := httptest.NewRequest("GET", "/items", nil)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != http.StatusUnauthorized || len(w.Header()["Www-Authenticate"]) != 4 {
				t.Errorf("nobody: got %d, %q", w.Code, w.Header()["Www-Authenticate"])
			}
		})
	}
}
