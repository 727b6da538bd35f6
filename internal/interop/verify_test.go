package interop

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/bearer"
	"github.com/sallyport/sallyport/auth/jwk"
	httperr "github.com/sallyport/sallyport/errors"
)

// api is a resource server with our door before it.
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
	return quietly(auth.Require(tokens)(http.HandlerFunc(tell)))
}

// quietly is the outermost door, which writes to no log.
func quietly(h http.Handler) http.Handler {
	nowhere := slog.New(slog.DiscardHandler)
	return httperr.Recover(httperr.Config{Logger: nowhere, Audit: audit.Slog(nowhere)})(h)
}

// tell is a handler that tells who came in.
func tell(w http.ResponseWriter, r *http.Request) {
	id, _ := auth.FromContext(r.Context())
	w.Header().Set("X-Subject", id.Subject)
	w.Header()["X-Scope"] = id.Scopes
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

// events keeps what it is told.
type events struct {
	mu  sync.Mutex
	all []audit.Event
}

func (e *events) Record(_ context.Context, event audit.Event) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, event)
	return nil
}

// has reports whether there was an event of this name.
func (e *events) has(name string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.ContainsFunc(e.all, func(event audit.Event) bool { return event.Name == name })
}

// discovered returns the keys that p's metadata points at. change may be nil.
func discovered(t *testing.T, p *provider, change func(*jwk.DiscoverConfig)) *jwk.RemoteSet {
	t.Helper()
	cfg := jwk.DiscoverConfig{Issuer: p.issuer, Remote: jwk.RemoteConfig{Timeout: 20 * time.Second, Audit: new(events)}}
	if change != nil {
		change(&cfg)
	}
	keys, err := jwk.Discover(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = keys.Close() })
	return keys
}

func TestTokensOfProviders(t *testing.T) {
	t.Parallel()
	eachProvider(t, func(t *testing.T, p *provider) {
		token := p.token(t)
		remote, err := jwk.Remote(jwk.RemoteConfig{URL: p.jwksURI, Timeout: 20 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = remote.Close() })
		for name, keys := range map[string]jwk.Set{"discovered": discovered(t, p, nil), "of a known URL": remote} {
			h := api(t, p, keys)
			for range 2 { // the second time it may be remembered
				w := get(h, token)
				if w.Code != http.StatusOK {
					t.Fatalf("with keys %s: got status %d: %s", name, w.Code, w.Body)
				}
				if got := w.Header().Get("X-Subject"); got != p.subject {
					t.Errorf("got the subject %q, want %q", got, p.subject)
				}
				if got := w.Header()["X-Scope"]; !slices.Equal(got, p.scopes) {
					t.Errorf("got the scopes %q, want %q", got, p.scopes)
				}
			}
			wantRefused(t, h, token[:len(token)-4])
			wantRefused(t, api(t, &provider{issuer: p.issuer, audience: "other", types: p.types}, keys), token)
		}
	})
}

// TestOtherProviders gives each provider's token to the door for another one.
func TestOtherProviders(t *testing.T) {
	t.Parallel()
	a, b := newMockServer(t), newMockServer(t)
	for _, one := range []struct{ from, to *mockServer }{{a, b}, {b, a}} {
		h := api(t, one.to.provider, discovered(t, one.to.provider, nil))
		wantRefused(t, h, one.from.token(t))
		// One that says it is from the other, which its signature doesn't.
		wantRefused(t, h, one.from.with(t, nil, map[string]any{"iss": one.to.issuer}))
	}
}

// TestAlgorithmsOfMockServer takes tokens of every algorithm from a server that
// publishes a key of each, as npm's jose writes them.
func TestAlgorithmsOfMockServer(t *testing.T) {
	t.Parallel()
	var algorithms []string
	for _, alg := range jwk.Algorithms() {
		if !strings.HasPrefix(alg, "HS") {
			algorithms = append(algorithms, alg)
		}
	}
	m := newMockServer(t, algorithms...)
	h := api(t, m.provider, discovered(t, m.provider, nil))
	var seen []string
	for range algorithms { // its keys sign in turn
		token := m.token(t)
		if w := get(h, token); w.Code != http.StatusOK {
			t.Errorf("got status %d for %s", w.Code, algorithmOf(t, token))
		}
		seen = append(seen, algorithmOf(t, token))
	}
	slices.Sort(seen)
	slices.Sort(algorithms)
	if !slices.Equal(seen, algorithms) {
		t.Errorf("got tokens of %q, want one of each of %q", seen, algorithms)
	}
}

func algorithmOf(t *testing.T, token string) string {
	t.Helper()
	encoded, _, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	var header struct{ Alg string }
	if err := json.Unmarshal(raw, &header); err != nil {
		t.Fatal(err)
	}
	return header.Alg
}

// TestClaimsOfMockServer has the server make tokens that are good but for one thing.
func TestClaimsOfMockServer(t *testing.T) {
	t.Parallel()
	m := newMockServer(t)
	h := api(t, m.provider, discovered(t, m.provider, nil))
	now := time.Now().Unix()
	tests := []struct {
		name           string
		header, claims map[string]any
	}{
		{name: "expired", claims: map[string]any{"exp": now - 60}},
		{name: "no exp", claims: map[string]any{"exp": nil}},
		{name: "not yet", claims: map[string]any{"nbf": now + 60}},
		{name: "from the future", claims: map[string]any{"iat": now + 60}},
		{name: "another audience", claims: map[string]any{"aud": "other"}},
		{name: "no audience", claims: map[string]any{"aud": nil}},
		{name: "another issuer", claims: map[string]any{"iss": "https://other.example.com"}},
		{name: "no subject", claims: map[string]any{"sub": nil}},
		{name: "bound to a key", claims: map[string]any{"cnf": map[string]any{"jkt": strings.Repeat("A", 43)}}},
		{name: "another type", header: map[string]any{"typ": "logout+jwt"}},
		{name: "a key that nobody has", header: map[string]any{"kid": "other"}},
	}
	for _, one := range tests {
		t.Run(one.name, func(t *testing.T) { wantRefused(t, h, m.with(t, one.header, one.claims)) })
	}
	for name, claims := range map[string]map[string]any{
		"within the leeway":        {"exp": now - 5, "nbf": now + 5, "iat": now + 5},
		"one audience of several":  {"aud": []string{"other", audience}},
		"claims that nobody knows": {"x": map[string]any{"y": []any{1, nil, "z"}}},
	} {
		t.Run(name, func(t *testing.T) {
			if w := get(h, m.with(t, nil, claims)); w.Code != http.StatusOK {
				t.Errorf("got status %d: %s", w.Code, w.Body)
			}
		})
	}
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
