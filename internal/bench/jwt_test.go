package bench

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/sallyport/sallyport/auth/bearer"
	"github.com/sallyport/sallyport/internal/scope"
)

const (
	jwtIssuer   = "https://login.example.com/"
	jwtAudience = "https://api.example.com"
)

// next is a variable, so that the compiler does not see that the handler does nothing
// and leave out the copy of the request.
var next http.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})

// material is what each algorithm signs and verifies with.
type material struct {
	alg             string
	private, public any
}

var materials = sync.OnceValue(func() []material {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	edPublic, edPrivate, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return []material{
		{"HS256", secret, secret}, {"RS256", r, &r.PublicKey}, {"ES256", e, &e.PublicKey}, {"EdDSA", edPrivate, edPublic},
	}
})

// token has the eleven claims of an access token, with these changes, and is typed as one.
func (m material) token(change jwt.MapClaims) string {
	now := time.Now().Unix()
	claims := jwt.MapClaims{
		"iss": jwtIssuer, "sub": "248289761001", "aud": []string{jwtAudience}, "exp": now + 3600, "iat": now, "nbf": now,
		"jti": "b7d7f4a2-1f2a-4b7e-9a47-1f0a4c7e6d20", "client_id": "s6BhdRkqt3", "scope": "items:read items:write profile", "roles": []string{"editor", "reviewer"}, "name": "Jane Doe",
	}
	maps.Copy(claims, change)
	t := jwt.NewWithClaims(jwt.GetSigningMethod(m.alg), claims)
	t.Header["typ"], t.Header["kid"] = "at+jwt", "key-1"
	s, err := t.SignedString(m.private)
	if err != nil {
		panic(err)
	}
	return s
}

// benchTokens are those of the benchmarks, made once.
var benchTokens = sync.OnceValue(func() map[string]string {
	all := make(map[string]string)
	for _, m := range materials() {
		all[m.alg] = m.token(nil)
	}
	return all
})

func bearerRequest(token string) *http.Request {
	return &http.Request{
		Method: http.MethodGet, URL: &url.URL{Path: "/items"}, Header: http.Header{"Authorization": {"Bearer " + token}},
	}
}

// statusWriter keeps the status, and costs nothing.
type statusWriter struct {
	h      http.Header
	status int
}

func (w *statusWriter) Header() http.Header         { return w.h }
func (w *statusWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w *statusWriter) WriteHeader(status int)      { w.status = status }

// BenchmarkJWT measures each contender as whole middleware, beside the verification of
// the signature alone ("raw").
func BenchmarkJWT(b *testing.B) {
	for _, m := range materials() {
		b.Run(m.alg+"/raw", func(b *testing.B) { raw(b, m) })
		for _, c := range contenders {
			b.Run(m.alg+"/"+c.name, func(b *testing.B) {
				h, err := c.serve(m)
				if err != nil {
					b.Fatal(err)
				}
				serve(b, h, bearerRequest(benchTokens()[m.alg]))
			})
		}
		for name, cache := range inChain {
			b.Run(m.alg+"/"+name, func(b *testing.B) {
				h, err := sallyport(cache)(m)
				if err != nil {
					b.Fatal(err)
				}
				serveInChain(b, h, bearerRequest(benchTokens()[m.alg]))
			})
		}
	}
}

// inChain are the ways to stand behind another door, which has made the request's scope.
var inChain = map[string]bearer.CacheConfig{
	"sallyport, warm, in a chain": {},
	"sallyport, cold, in a chain": {Disabled: true},
}

func serve(b *testing.B, h http.Handler, r *http.Request) {
	w := &statusWriter{h: make(http.Header)}
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
	if w.status != 0 {
		b.Fatalf("status %d", w.status)
	}
}

// serveInChain measures a door alone: each request has a scope, which the first door of
// a chain makes, and nobody has been authenticated for it yet.
func serveInChain(b *testing.B, h http.Handler, r *http.Request) {
	s, r := scope.For(r)
	fresh := *s
	w := &statusWriter{h: make(http.Header)}
	b.ReportAllocs()
	for b.Loop() {
		*s = fresh
		h.ServeHTTP(w, r)
	}
	if w.status != 0 || s.Identity == nil {
		b.Fatalf("status %d, identity %v", w.status, s.Identity)
	}
}

func raw(b *testing.B, m material) {
	token := benchTokens()[m.alg]
	dot := strings.LastIndexByte(token, '.')
	signed := []byte(token[:dot])
	signature, err := base64.RawURLEncoding.DecodeString(token[dot+1:])
	if err != nil {
		b.Fatal(err)
	}
	var verify func() bool
	switch public := m.public.(type) {
	case []byte:
		mac := hmac.New(sha256.New, public)
		var sum [sha256.Size]byte
		verify = func() bool {
			mac.Reset()
			_, _ = mac.Write(signed)
			return hmac.Equal(mac.Sum(sum[:0]), signature)
		}
	case *rsa.PublicKey:
		verify = func() bool {
			sum := sha256.Sum256(signed)
			return rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], signature) == nil
		}
	case *ecdsa.PublicKey:
		r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
		verify = func() bool {
			sum := sha256.Sum256(signed)
			return ecdsa.Verify(public, sum[:], r, s)
		}
	case ed25519.PublicKey:
		verify = func() bool { return ed25519.Verify(public, signed, signature) }
	}
	b.ReportAllocs()
	for b.Loop() {
		if !verify() {
			b.Fatal("the signature is not valid")
		}
	}
}
