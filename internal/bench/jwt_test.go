package bench

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	jwtmiddleware "github.com/auth0/go-jwt-middleware/v2"
	"github.com/auth0/go-jwt-middleware/v2/validator"
	"github.com/go-chi/jwtauth/v5"
	"github.com/golang-jwt/jwt/v5"
	echojwt "github.com/labstack/echo-jwt/v4"
	"github.com/labstack/echo/v4"
	"github.com/lestrrat-go/jwx/v3/jwa"
	jwx "github.com/lestrrat-go/jwx/v3/jwt"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/bearer"
	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/transport"
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

// token has the eleven claims of an access token, and is typed as one.
func (m material) token(jti string) string {
	now := time.Now().Unix()
	t := jwt.NewWithClaims(jwt.GetSigningMethod(m.alg), jwt.MapClaims{
		"iss": jwtIssuer, "sub": "248289761001", "aud": []string{jwtAudience}, "exp": now + 3600, "iat": now, "nbf": now,
		"jti": jti, "client_id": "s6BhdRkqt3", "scope": "items:read items:write profile", "roles": []string{"editor", "reviewer"}, "name": "Jane Doe",
	})
	t.Header["typ"], t.Header["kid"] = "at+jwt", "key-1"
	s, err := t.SignedString(m.private)
	if err != nil {
		panic(err)
	}
	return s
}

// tokens are those of the benchmarks, made once.
var benchTokens = sync.OnceValue(func() map[string]string {
	all := make(map[string]string)
	for _, m := range materials() {
		all[m.alg] = m.token("b7d7f4a2-1f2a-4b7e-9a47-1f0a4c7e6d20")
	}
	return all
})

// claims are what a user of golang-jwt writes.
type structClaims struct {
	ClientID string   `json:"client_id"`
	Scope    string   `json:"scope"`
	Roles    []string `json:"roles"`
	Name     string   `json:"name"`
	jwt.RegisteredClaims
}

type contextKey struct{}

// contenders are the ways to verify a token, as whole middleware.
var contenders = []struct {
	name  string
	serve func(material) (http.Handler, error)
}{
	{"sallyport, warm", sallyport(bearer.CacheConfig{})},
	{"sallyport, cold", sallyport(bearer.CacheConfig{Disabled: true})},
	{"golang-jwt", golangJWT},
	{"echo-jwt", echoJWT},
	{"jwx", jwxMiddleware},
	{"auth0", auth0},
	{"chi/jwtauth", chiJWTAuth},
}

func sallyport(cache bearer.CacheConfig) func(material) (http.Handler, error) {
	return func(m material) (http.Handler, error) {
		a, err := authenticator(m, cache)
		if err != nil {
			return nil, err
		}
		return auth.Require(a)(next), nil
	}
}

func authenticator(m material, cache bearer.CacheConfig) (*bearer.Authenticator, error) {
	key, err := jwk.NewKey("key-1", m.alg, m.public)
	if err != nil {
		return nil, err
	}
	keys, err := jwk.Static(key)
	if err != nil {
		return nil, err
	}
	return bearer.New(bearer.Config{Issuer: jwtIssuer, Audience: []string{jwtAudience}, Keys: keys, Cache: cache})
}

func golangJWT(m material) (http.Handler, error) {
	parser := jwt.NewParser(jwt.WithValidMethods([]string{m.alg}), jwt.WithIssuer(jwtIssuer), jwt.WithAudience(jwtAudience), jwt.WithExpirationRequired())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		var c structClaims
		_, err := parser.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return m.public, nil })
		if !ok || err != nil {
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), contextKey{}, &c)))
	}), nil
}

func echoJWT(m material) (http.Handler, error) {
	e := echo.New()
	middleware := echojwt.WithConfig(echojwt.Config{
		SigningKey: m.public, SigningMethod: m.alg,
		NewClaimsFunc: func(echo.Context) jwt.Claims { return new(structClaims) },
	})
	h := middleware(func(c echo.Context) error {
		next.ServeHTTP(c.Response(), c.Request())
		return nil
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := e.AcquireContext()
		c.Reset(r, w)
		if err := h(c); err != nil {
			e.HTTPErrorHandler(err, c)
		}
		e.ReleaseContext(c)
	}), nil
}

func jwxMiddleware(m material) (http.Handler, error) {
	alg, ok := jwa.LookupSignatureAlgorithm(m.alg)
	if !ok {
		return nil, errors.New("jwx does not know " + m.alg)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, err := jwx.ParseRequest(r, jwx.WithKey(alg, m.public), jwx.WithIssuer(jwtIssuer), jwx.WithAudience(jwtAudience))
		if err != nil {
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), contextKey{}, token)))
	}), nil
}

type customClaims struct {
	Scope string `json:"scope"`
}

func (customClaims) Validate(context.Context) error { return nil }

func auth0(m material) (http.Handler, error) {
	v, err := validator.New(func(context.Context) (any, error) { return m.public, nil },
		validator.SignatureAlgorithm(m.alg), jwtIssuer, []string{jwtAudience},
		validator.WithCustomClaims(func() validator.CustomClaims { return new(customClaims) }))
	if err != nil {
		return nil, err
	}
	return jwtmiddleware.New(v.ValidateToken).CheckJWT(next), nil
}

func chiJWTAuth(m material) (http.Handler, error) {
	var a *jwtauth.JWTAuth
	if m.alg == "HS256" {
		a = jwtauth.New(m.alg, m.private, nil)
	} else {
		a = jwtauth.New(m.alg, m.private, m.public)
	}
	read := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, claims, err := jwtauth.FromContext(r.Context()); err != nil || claims["sub"] == "" { // what handlers do
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
	return jwtauth.Verifier(a)(jwtauth.Authenticator(a)(read)), nil
}

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
		// In a chain the first door makes the request's scope. What Require adds to that
		// is the difference of these two.
		addresses, err := transport.NewClientIP(transport.ClientIPConfig{})
		if err != nil {
			b.Fatal(err)
		}
		for name, cache := range map[string]*bearer.CacheConfig{"scope alone": nil, "scope and sallyport, warm": {}} {
			b.Run(m.alg+"/"+name, func(b *testing.B) {
				h := next
				if cache != nil {
					var err error
					if h, err = sallyport(*cache)(m); err != nil {
						b.Fatal(err)
					}
				}
				r := bearerRequest(benchTokens()[m.alg])
				r.RemoteAddr = "192.0.2.1:1234"
				serve(b, addresses.Wrap(h), r)
			})
		}
	}
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

// BenchmarkGarbage measures what 100,000 different tokens that nobody signed cost, each
// once, and how much of them stays in memory.
func BenchmarkGarbage(b *testing.B) {
	for _, kind := range []struct {
		name   string
		format string
	}{
		{"no JWS", "garbage-%d-" + strings.Repeat("x", 500)},
		{"three parts", "%d." + strings.Repeat("x", 500) + ".xx"},
		{"not base64", "eyJ%d~." + strings.Repeat("x", 500) + ".xx"},
	} {
		b.Run(kind.name, func(b *testing.B) {
			a, err := authenticator(materials()[1], bearer.CacheConfig{})
			if err != nil {
				b.Fatal(err)
			}
			requests := make([]*http.Request, 100_000)
			for i := range requests {
				requests[i] = bearerRequest(fmt.Sprintf(kind.format, i))
			}
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Authenticate(requests[i%len(requests)]); !errors.Is(err, auth.ErrInvalid) {
					b.Fatal(err)
				}
				i++
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(max(0, float64(after.HeapAlloc)-float64(before.HeapAlloc)), "heap-bytes-kept")
		})
	}
	b.Run("1 MiB", func(b *testing.B) {
		a, err := authenticator(materials()[1], bearer.CacheConfig{})
		if err != nil {
			b.Fatal(err)
		}
		r := bearerRequest("eyJhbGciOiJSUzI1NiJ9." + strings.Repeat("A", 1<<20) + ".AA")
		b.ReportAllocs()
		for b.Loop() {
			if _, err := a.Authenticate(r); err == nil {
				b.Fatal("accepted")
			}
		}
	})
}

// Every contender takes the token, and none takes another's.
func TestContenders(t *testing.T) {
	for _, m := range materials() {
		for _, c := range contenders {
			t.Run(m.alg+"/"+c.name, func(t *testing.T) {
				h, err := c.serve(m)
				if err != nil {
					t.Fatal(err)
				}
				good := benchTokens()[m.alg]
				for token, want := range map[string]bool{good: true, good[:len(good)-8] + "AAAAAAAA": false} {
					w := httptest.NewRecorder()
					h.ServeHTTP(w, bearerRequest(token))
					if (w.Code == http.StatusOK) != want {
						t.Errorf("status %d, want it taken: %v", w.Code, want)
					}
				}
			})
		}
	}
}
