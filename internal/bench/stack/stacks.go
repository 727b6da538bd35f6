package main

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/go-chi/httprate"
	"github.com/go-chi/jwtauth/v5"
	"github.com/go-playground/validator/v10"

	"github.com/sallyport/sallyport"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/bearer"
	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/authz"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/ratelimit"
	"github.com/sallyport/sallyport/transport"
	"github.com/sallyport/sallyport/validate"
)

// Item is the body that all stacks read.
type Item struct {
	Name  string   `json:"name" validate:"required,max=100"`
	Price float64  `json:"price" validate:"gt=0"`
	Tags  []string `json:"tags" validate:"max=10,unique,dive,required"`
}

const (
	issuer   = "https://issuer.example"
	audience = "api"
)

var (
	secret = []byte("\x8f\x1c\x02\xd9\x5e\x73\xa6\xb4\x11\xee\x38\x90\xc7\x2a\x4d\x6f\x80\x19\xfb\x3c\x57\xd2\x0e\x9a\x64\xb1\x25\xc8\x7e\x43\xaf\x16")
	answer = []byte(`{"id":"1"}` + "\n")
)

// done is the handler behind every stack.
var done = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write(answer)
})

func bare() (http.Handler, string, error) {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			http.Error(w, "bad body", http.StatusBadRequest)
			return
		}
		done(w, r)
	}), "none", nil
}

// claims are those of the token that the loaded clients send.
func claims() map[string]any {
	now := time.Now().Unix()
	return map[string]any{
		"iss": issuer, "sub": "user-1", "aud": audience, "iat": now, "exp": now + 3600, "jti": "f3c1b2a09d8e",
		"client_id": "bench", "scope": "items:read items:write", "roles": []string{"user"}, "auth_time": now, "tenant": "acme",
	}
}

func sallyportStack() (http.Handler, string, error) {
	key, err := jwk.NewKey("bench", "HS256", secret)
	if err != nil {
		return nil, "", err
	}
	keys, err := jwk.Static(key)
	if err != nil {
		return nil, "", err
	}
	tokens, err := bearer.New(bearer.Config{Issuer: issuer, Audience: []string{audience}, Keys: keys})
	if err != nil {
		return nil, "", err
	}
	limiter, err := ratelimit.New(ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerSecond(1_000_000)}})
	if err != nil {
		return nil, "", err
	}
	addresses, err := transport.NewClientIP(transport.ClientIPConfig{})
	if err != nil {
		return nil, "", err
	}
	payload, err := json.Marshal(claims())
	if err != nil {
		return nil, "", err
	}
	token, err := key.SignCompact("at+jwt", payload)
	if err != nil {
		return nil, "", err
	}
	mux := http.NewServeMux()
	mux.Handle("POST /items", sallyport.Chain(
		auth.Require(tokens),
		authz.Require(authz.Scope("items:write")),
		validate.Body[Item](),
	)(done))
	return sallyport.Chain(
		httperr.Recover(), addresses.Wrap, transport.Secure(transport.Headers{}), limiter.Wrap,
	)(httperr.Mux(mux)), "Bearer " + token, nil
}

func peers() (http.Handler, string, error) {
	tokens := jwtauth.New("HS256", secret, nil)
	_, token, err := tokens.Encode(claims())
	if err != nil {
		return nil, "", err
	}
	rules := validator.New(validator.WithRequiredStructEnabled())
	r := chi.NewRouter()
	r.Use(middleware.Recoverer, httprate.LimitBy(1_000_000_000, time.Second, byAddress))
	r.With(jwtauth.Verifier(tokens), jwtauth.Authenticator(tokens), needsScope("items:write")).
		Post("/items", func(w http.ResponseWriter, r *http.Request) {
			var item Item
			d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
			d.DisallowUnknownFields()
			if err := errors.Join(d.Decode(&item), rules.Struct(item)); err != nil {
				http.Error(w, "bad body", http.StatusBadRequest)
				return
			}
			done(w, r)
		})
	return r, "Bearer " + token, nil
}

// byAddress is what a user of httprate writes where no proxy is in front.
func byAddress(r *http.Request) (string, error) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	return httprate.CanonicalizeIP(host), err
}

// needsScope is what a user of jwtauth writes.
func needsScope(scope string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, claims, err := jwtauth.FromContext(r.Context())
			held, _ := claims["scope"].(string)
			if err != nil || !slices.Contains(strings.Fields(held), scope) {
				http.Error(w, "forbidden", http.StatusForbidden)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}
