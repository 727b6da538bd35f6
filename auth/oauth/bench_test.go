package oauth_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/auth/oauth"
	"github.com/sallyport/sallyport/auth/password"
	httperr "github.com/sallyport/sallyport/errors"
)

// BenchmarkClientCredentials is the endpoint without a password: what it costs
// beyond the signature, by key, and to refuse.
func BenchmarkClientCredentials(b *testing.B) {
	secret, hash, _ := oauth.NewClientSecret()
	clients := memoryClients(b, oauth.Client{ID: "service", SecretHash: hash, Grants: []oauth.Grant{oauth.ClientCredentials}, Scopes: []string{"items:read", "items:write"}})
	for _, alg := range []string{"HS256", "EdDSA", "ES256", "RS256"} {
		key := generate(b, alg)
		h := benchmarked(b, oauth.Config{Issuer: issuer, Audience: audience, Keys: ring(b, key), Clients: clients, Grants: []oauth.Grant{oauth.ClientCredentials}})
		bench(b, "accepted/"+alg, h, 200, request{body: "grant_type=client_credentials", id: "service", secret: secret})
		if alg != "HS256" {
			continue
		}
		bench(b, "accepted/post", h, 200, request{body: "grant_type=client_credentials&scope=items%3Aread&client_id=service&client_secret=" + secret})
		bench(b, "refused/secret", h, 401, request{body: "grant_type=client_credentials", id: "service", secret: "wrong"})
		bench(b, "refused/form", h, 400, request{body: "grant_type=client_credentials&grant_type=client_credentials", id: "service", secret: secret})
	}
}

// BenchmarkPassword is a login with a new hash, the cheapest that is not replaced
// on the way: nearly all of it is argon2id.
func BenchmarkPassword(b *testing.B) {
	hasher, err := password.New(password.Config{})
	if err != nil {
		b.Fatal(err)
	}
	hash, err := hasher.Hash(b.Context(), adaPassword)
	if err != nil {
		b.Fatal(err)
	}
	users, err := auth.NewMemoryUsers(auth.User{Subject: "u-ada", Name: "ada", PasswordHash: hash, Scopes: []string{"items:read"}, Roles: []string{"editor"}})
	if err != nil {
		b.Fatal(err)
	}
	h := benchmarked(b, oauth.Config{
		Issuer: issuer, Audience: audience, Keys: ring(b, generate(b, "HS256")), Users: users, Passwords: hasher, Grants: []oauth.Grant{oauth.Password},
	})
	bench(b, "accepted", h, 200, request{body: passwordForm("ada", adaPassword)})
	bench(b, "refused/password", h, 400, request{body: passwordForm("ada", "wrong")})
	bench(b, "refused/unknown", h, 400, request{body: passwordForm("nobody", "wrong")})
}

func bench(b *testing.B, name string, h http.Handler, status int, r request) {
	b.Run(name, func(b *testing.B) {
		req := r.build()
		body := strings.NewReader(r.body)
		req.Body = nopCloser{body}
		w := &blank{header: make(http.Header)}
		b.ReportAllocs()
		for b.Loop() {
			body.Reset(r.body)
			clear(w.header)
			h.ServeHTTP(w, req)
			if w.status != status {
				b.Fatalf("got status %d, want %d", w.status, status)
			}
		}
	})
}

// blank is a response that nobody reads.
type blank struct {
	header http.Header
	status int
}

func (b *blank) Header() http.Header         { return b.header }
func (b *blank) WriteHeader(status int)      { b.status = status }
func (b *blank) Write(p []byte) (int, error) { return len(p), nil }

type nopCloser struct{ *strings.Reader }

func (nopCloser) Close() error { return nil }

// benchmarked returns an endpoint whose events go nowhere.
func benchmarked(b *testing.B, cfg oauth.Config) http.Handler {
	b.Helper()
	s, err := oauth.NewServer(cfg)
	if err != nil {
		b.Fatal(err)
	}
	return httperr.Recover(httperr.Config{Audit: discard{}})(s.TokenHandler())
}

type discard struct{}

func (discard) Record(context.Context, audit.Event) error { return nil }

func generate(b *testing.B, alg string) jwk.Key {
	b.Helper()
	if alg == "HS256" {
		key, err := jwk.NewKey("k", alg, []byte("\x8f\x1d\x03\xa7\xee\x42\x90\x5b\x6c\xd1\x27\xf8\x39\xb4\x0e\x75\xc2\x5a\x81\x16\xdb\x4f\xa0\x63\x9e\x2c\xf5\x38\x87\x1a\xbd\x74"))
		if err != nil {
			b.Fatal(err)
		}
		return key
	}
	key, err := jwk.Generate(alg)
	if err != nil {
		b.Fatal(err)
	}
	return key
}

func ring(b *testing.B, key jwk.Key) *jwk.Ring {
	b.Helper()
	r, err := jwk.NewRing(jwk.RingConfig{Active: key})
	if err != nil {
		b.Fatal(err)
	}
	return r
}
