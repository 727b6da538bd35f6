package bearer_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/bearer"
	httperr "github.com/sallyport/sallyport/errors"
)

// An endpoint of RFC 7662 that knows some tokens.
type endpoint struct {
	*httptest.Server
	asked  atomic.Int64
	answer atomic.Pointer[string] // what it says of every token, if not nil
	tokens map[string]claims
}

func newEndpoint(t *testing.T, tokens map[string]claims) *endpoint {
	t.Helper()
	e := &endpoint{tokens: tokens}
	e.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		if id, secret, _ := r.BasicAuth(); id != "api" || secret != "s3cret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if answer := e.answer.Load(); answer != nil {
			fmt.Fprint(w, *answer)
			return
		}
		c, ok := e.tokens[r.PostFormValue("token")]
		if !ok {
			fmt.Fprint(w, `{"active":false}`)
			return
		}
		_ = json.NewEncoder(w).Encode(c.with("active", true))
	}))
	t.Cleanup(e.Close)
	return e
}

func (e *endpoint) config(c *bearer.Config) {
	c.Introspection = &bearer.Introspection{
		Endpoint: e.URL, ClientID: "api", ClientSecret: "s3cret", HTTPClient: e.Client(), CacheTTL: -1,
	}
}

// introspected are the members of RFC 7662 §2.2 that authorization servers send.
func introspected() claims {
	return claims{
		"iss": testIssuer, "sub": "alice", "aud": testAudience, "exp": time.Now().Unix() + 600, "client_id": "app",
		"scope": "items:read", "username": "alice@example.com", "token_type": "Bearer",
	}
}

func TestRFC7662_2_2_OpaqueTokens(t *testing.T) {
	now := time.Now().Unix()
	for _, tt := range []struct {
		name   string
		change func(*bearer.Config)
		claims claims
		reason string // "" is accepted
	}{
		{"whole", nil, introspected(), ""},
		{"no issuer", nil, introspected().with("iss", nil), ""},
		{"no expiry", nil, introspected().with("exp", nil), ""},
		{"another issuer", nil, introspected().with("iss", "https://other.example.com"), "another issuer"},
		{"another audience", nil, introspected().with("aud", "https://other.example.com"), "another audience"},
		{"no audience", nil, introspected().with("aud", nil), "another audience"},
		{"no audience, where that is taken", func(c *bearer.Config) { c.Introspection.AllowMissingAudience = true }, introspected().with("aud", nil), ""},
		{"another audience, where none is taken", func(c *bearer.Config) { c.Introspection.AllowMissingAudience = true }, introspected().with("aud", []string{"x"}), "another audience"},
		{"no subject", nil, introspected().with("sub", nil), "missing"},
		{"expired all the same", nil, introspected().with("exp", now-60), "expired"},
		{"not yet", nil, introspected().with("nbf", now+600), "not valid yet"},
		{"bound to a key", nil, introspected().with("cnf", map[string]any{"jkt": esKey().Thumbprint()}), "bound"},
		{"bound to something", nil, introspected().with("cnf", map[string]any{"x": 1}), "bound"},
		{"a lifetime that is not told", func(c *bearer.Config) { c.MaxLifetime = time.Hour }, introspected().with("exp", nil), "missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEndpoint(t, map[string]claims{"opaque-1": tt.claims})
			a := newAuthenticator(t, func(c *bearer.Config) {
				c.Keys = nil
				e.config(c)
				if tt.change != nil {
					tt.change(c)
				}
			})
			for range 2 {
				if tt.reason != "" {
					refuse(t, a, "opaque-1", tt.reason)
					continue
				}
				id := accept(t, a, "opaque-1")
				name, _ := auth.Claim[string](id, "username")
				if id.Subject != "alice" || id.Issuer != testIssuer || id.ClientID != "app" || name != "alice@example.com" || len(id.Scopes) != 1 {
					t.Errorf("got %+v, %q", id, name)
				}
			}
			refuse(t, a, "opaque-2", "not active")
		})
	}
}

// An endpoint that can't be asked, or says something else than RFC 7662 has, decides
// nothing: 503, and nobody is logged out.
func TestIntrospectionThatFailsIsUndecided(t *testing.T) {
	for name, answer := range map[string]string{
		"no JSON":              `<html>`,
		"no active":            `{"sub":"alice"}`,
		"active as a text":     `{"active":"true","sub":"alice"}`,
		"a member twice":       `{"active":false,"active":true}`,
		"a member in two ways": `{"active":false,"Active":true}`,
		"a claim of no type":   `{"active":true,"sub":1,"aud":"` + testAudience + `"}`,
		"empty":                ``,
	} {
		t.Run(name, func(t *testing.T) {
			e := newEndpoint(t, nil)
			e.answer.Store(&answer)
			a := newAuthenticator(t, e.config)
			h := auth.Require(a)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the handler was reached") }))
			w := httptest.NewRecorder()
			h.ServeHTTP(w, request("opaque-1"))
			if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
				t.Errorf("got %d, %v: %s", w.Code, w.Header(), w.Body)
			}
		})
	}
	e := newEndpoint(t, nil)
	e.Close()
	if id, err := newAuthenticator(t, e.config).Authenticate(request("opaque-1")); id != nil || err == nil || errors.Is(err, auth.ErrInvalid) {
		t.Errorf("got %v, %v from an endpoint that is gone", id, err)
	}
}

// JWTs are verified here, everything else is asked about, by one authenticator.
func TestJWTAndOpaqueAreRouted(t *testing.T) {
	jwt := mint(t, hsKey(), goodClaims())
	forged := mint(t, generate("HS256"), goodClaims())
	e := newEndpoint(t, map[string]claims{"opaque-1": introspected(), jwt: introspected(), forged: introspected().with("sub", "admin")})
	for name, a := range map[string]*bearer.Authenticator{
		"one issuer": newAuthenticator(t, e.config),
		"joined": join(t, newAuthenticator(t, func(c *bearer.Config) { c.Issuer = "https://other.example.com" }),
			newAuthenticator(t, e.config)),
	} {
		t.Run(name, func(t *testing.T) {
			before := e.asked.Load()
			accept(t, a, jwt)
			refuse(t, a, forged, "")
			refuse(t, a, "a.b.c", "")
			if n := e.asked.Load() - before; n != 0 {
				t.Errorf("the endpoint was asked %d times about JWTs", n)
			}
			accept(t, a, "opaque-1")
			refuse(t, a, "opaque-2", "not active")
			if n := e.asked.Load() - before; n != 2 {
				t.Errorf("the endpoint was asked %d times about two tokens", n)
			}
			var p *httperr.Problem
			if _, err := a.Authenticate(request("not a token")); !errors.As(err, &p) || p.Status != http.StatusBadRequest {
				t.Errorf("got %v, want 400", err)
			}
		})
	}
	// An issuer without JWTs for this API is asked about these too.
	a := newAuthenticator(t, func(c *bearer.Config) {
		c.Keys = nil
		e.config(c)
	})
	if id := accept(t, a, jwt); id.Subject != "alice" {
		t.Errorf("got %+v", id)
	}
}

func TestIntrospectionConfigErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		i    bearer.Introspection
		want string
	}{
		"no endpoint":   {bearer.Introspection{ClientID: "a", ClientSecret: "b"}, "Endpoint"},
		"plain http":    {bearer.Introspection{Endpoint: "http://login.example.com/introspect", ClientID: "a", ClientSecret: "b"}, "Endpoint"},
		"no client":     {bearer.Introspection{Endpoint: "https://login.example.com/introspect"}, "ClientID"},
		"no secret":     {bearer.Introspection{Endpoint: "https://login.example.com/introspect", ClientID: "a"}, "ClientSecret"},
		"a long memory": {bearer.Introspection{Endpoint: "https://login.example.com/introspect", ClientID: "a", ClientSecret: "b", CacheTTL: 48 * time.Hour}, "CacheTTL"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := bearer.New(bearer.Config{Issuer: testIssuer, Audience: []string{testAudience}, Introspection: &tt.i})
			if err == nil || !strings.Contains(err.Error(), "bearer: Config.Introspection: "+tt.want) {
				t.Errorf("got %v, want it to name %s", err, tt.want)
			}
		})
	}
	if _, err := bearer.New(bearer.Config{Issuer: testIssuer, Audience: []string{testAudience}}); err == nil || !strings.Contains(err.Error(), "Config.Keys") {
		t.Errorf("got %v", err)
	}
	e := newEndpoint(t, nil)
	one, two := newAuthenticator(t, e.config), newAuthenticator(t, func(c *bearer.Config) {
		c.Issuer = "https://other.example.com"
		e.config(c)
	})
	if _, err := bearer.Join(one, two); err == nil || !strings.Contains(err.Error(), "Introspection") {
		t.Errorf("got %v, want two with Introspection refused", err)
	}
}

// An issuer that is only asked about its tokens is asked about its JWTs too, where it is
// one of several; and whatever a stranger sends, nothing panics.
func TestJWTsOfAnIssuerThatIsOnlyAsked(t *testing.T) {
	const other = "https://opaque.example.com"
	jwt := mint(t, generate("ES256"), goodClaims().with("iss", other))
	e := newEndpoint(t, map[string]claims{jwt: introspected().with("iss", other)})
	a := join(t, newAuthenticator(t), newAuthenticator(t, func(c *bearer.Config) {
		c.Issuer, c.Keys = other, nil
		e.config(c)
	}))
	for range 2 {
		if id := accept(t, a, jwt); id.Issuer != other {
			t.Errorf("got %+v", id)
		}
	}
	known(t, a, 0)
	refuse(t, a, b64(`{"alg":"ES256","typ":"at+jwt"}`)+"."+b64(`{"iss":"`+other+`"}`)+".AAAA", "not active")
	accept(t, a, mint(t, hsKey(), goodClaims()))
	e.Close()
	if id, err := a.Authenticate(request(jwt)); id != nil || err == nil || errors.Is(err, auth.ErrInvalid) {
		t.Errorf("got %v, %v from an endpoint that is gone", id, err)
	}
}
