package bench

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	auth0v2 "github.com/auth0/go-jwt-middleware/v2"
	auth0validator2 "github.com/auth0/go-jwt-middleware/v2/validator"
	auth0v3 "github.com/auth0/go-jwt-middleware/v3"
	auth0validator3 "github.com/auth0/go-jwt-middleware/v3/validator"
	"github.com/go-chi/jwtauth/v5"
	"github.com/golang-jwt/jwt/v5"
	echojwt "github.com/labstack/echo-jwt/v4"
	"github.com/labstack/echo/v4"
	"github.com/lestrrat-go/jwx/v3/jwa"
	jwx "github.com/lestrrat-go/jwx/v3/jwt"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/bearer"
	"github.com/sallyport/sallyport/auth/jwk"
)

// structClaims are what a user of golang-jwt writes.
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
	name   string
	serve  func(material) (http.Handler, error)
	checks bool // the issuer and the audience too
}{
	{"sallyport, warm", sallyport(bearer.CacheConfig{}), true},
	{"sallyport, cold", sallyport(bearer.CacheConfig{Disabled: true}), true},
	{"golang-jwt", golangJWT, true},
	{"echo-jwt", echoJWT, false},
	{"jwx", jwxMiddleware, true},
	{"auth0 v2", auth0V2, true},
	{"auth0 v3", auth0V3, true},
	{"chi/jwtauth", chiJWTAuth, false},
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

func auth0V2(m material) (http.Handler, error) {
	v, err := auth0validator2.New(func(context.Context) (any, error) { return m.public, nil },
		auth0validator2.SignatureAlgorithm(m.alg), jwtIssuer, []string{jwtAudience},
		auth0validator2.WithCustomClaims(func() auth0validator2.CustomClaims { return new(customClaims) }))
	if err != nil {
		return nil, err
	}
	return auth0v2.New(v.ValidateToken).CheckJWT(next), nil
}

func auth0V3(m material) (http.Handler, error) {
	v, err := auth0validator3.New(
		auth0validator3.WithKeyFunc(func(context.Context) (any, error) { return m.public, nil }),
		auth0validator3.WithAlgorithm(auth0validator3.SignatureAlgorithm(m.alg)),
		auth0validator3.WithIssuer(jwtIssuer), auth0validator3.WithAudience(jwtAudience),
		auth0validator3.WithCustomClaims(func() *customClaims { return new(customClaims) }))
	if err != nil {
		return nil, err
	}
	middleware, err := auth0v3.New(auth0v3.WithValidator(v))
	if err != nil {
		return nil, err
	}
	return middleware.CheckJWT(next), nil
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

// Every contender takes the token, and none takes one that it should refuse: what is
// measured is verification, and says what it says.
func TestContenders(t *testing.T) {
	past := time.Now().Add(-time.Hour).Unix()
	for _, m := range materials() {
		good := m.token(nil)
		for _, c := range contenders {
			for _, tt := range []struct {
				name, token string
				taken       bool
			}{
				{"good", good, true},
				{"tampered", good[:len(good)-8] + "AAAAAAAA", false},
				{"expired", m.token(jwt.MapClaims{"exp": past}), false},
				{"of another issuer", m.token(jwt.MapClaims{"iss": "https://other.example.com/"}), !c.checks},
				{"for another API", m.token(jwt.MapClaims{"aud": []string{"https://other.example.com"}}), !c.checks},
			} {
				t.Run(m.alg+"/"+c.name+"/"+tt.name, func(t *testing.T) {
					h, err := c.serve(m)
					if err != nil {
						t.Fatal(err)
					}
					for range 2 { // the second time from memory, where there is one
						w := httptest.NewRecorder()
						h.ServeHTTP(w, bearerRequest(tt.token))
						if taken := w.Code == http.StatusOK; taken != tt.taken {
							t.Errorf("status %d, want it taken: %v", w.Code, tt.taken)
						}
					}
				})
			}
		}
	}
}
