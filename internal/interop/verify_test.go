package interop

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/bearer"
	"github.com/sallyport/sallyport/auth/jwk"
	httperr "github.com/sallyport/sallyport/errors"
)

// api is a resource server with our door before it, and a handler that tells
// who came in.
func api(t *testing.T, p *provider, keys jwk.Set) http.Handler {
	t.Helper()
	tokens, err := bearer.New(bearer.Config{
		Issuer:   p.issuer,
		Audience: []string{p.audience},
		Keys:     keys,
		Types:    p.types,
	})
	if err != nil {
		t.Fatal(err)
	}
	return httperr.Recover()(auth.Require(tokens)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _ := auth.FromContext(r.Context())
		w.Header().Set("X-Subject", id.Subject)
		w.Header()["X-Scope"] = id.Scopes
	})))
}

// get asks h with a token, or without one if it is empty.
func get(h http.Handler, token string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, audience+"/items", nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestTokensOfProviders(t *testing.T) {
	t.Parallel()
	eachProvider(t, func(t *testing.T, p *provider) {
		h := api(t, p, fetched(t, p))
		w := get(h, p.token(t))
		if w.Code != http.StatusOK {
			t.Fatalf("got status %d: %s", w.Code, w.Body)
		}
		if got := w.Header().Get("X-Subject"); got != p.subject {
			t.Errorf("got the subject %q, want %q", got, p.subject)
		}
		if got := w.Header()["X-Scope"]; !slices.Equal(got, p.scopes) {
			t.Errorf("got the scopes %q, want %q", got, p.scopes)
		}
	})
}

// fetched returns the keys that p publishes now.
func fetched(t *testing.T, p *provider) jwk.Set {
	t.Helper()
	resp, err := patient.Get(p.jwksURI)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	set, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return parsed(t, set)
}

// parsed returns the keys of a JWK Set, for good.
func parsed(t *testing.T, set []byte) jwk.Set {
	t.Helper()
	keys, err := jwk.ParseSet(set)
	if err != nil {
		t.Fatal(err)
	}
	static, err := jwk.Static(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return static
}
