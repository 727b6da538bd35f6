package interop

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// audience is the API that all tokens here are for.
const audience = "https://api.example.com"

// clientSecret is that of the client "service" at the providers of npm.
const clientSecret = "a-secret-of-the-client-that-is-long-enough" //nolint:gosec // of servers that live as long as a test

// A provider is an authorization server that somebody else wrote.
type provider struct {
	issuer, jwksURI string

	audience string
	subject  string   // of its tokens
	scopes   []string // of its tokens
	types    []string // that its tokens have

	mint    func() (string, error) // gets an access token from the token endpoint
	rotate  func(t *testing.T)     // publishes a new key, which signs from now on
	drop    func(t *testing.T)     // takes the old keys out of what is published
	crash   func(t *testing.T)     // ends it
	restart func(t *testing.T)     // starts it again at its address, with its keys
}

// token gets a token.
func (p *provider) token(t *testing.T) string {
	t.Helper()
	token, err := p.mint()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// providers are all of them, by name.
var providers = []struct {
	name  string
	start func(*testing.T) *provider
}{
	{"zitadel", startZitadel},
	{"oidc-provider RS256", func(t *testing.T) *provider { return startOIDCProvider(t, audience) }},
	{"oidc-provider ES256", func(t *testing.T) *provider { return startOIDCProvider(t, audience+"/es256") }},
	{"oauth2-mock-server", startMockServer},
}

// eachProvider runs f against each provider.
func eachProvider(t *testing.T, f func(t *testing.T, p *provider)) {
	for _, one := range providers {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			f(t, one.start(t))
		})
	}
}

// startOIDCProvider starts npm's oidc-provider, whose tokens are those of RFC
// 9068 for this resource.
func startOIDCProvider(t *testing.T, resource string) *provider {
	t.Helper()
	const script = "oidc-provider.mjs"
	settings := map[string]any{"secret": clientSecret}
	var ready struct {
		Issuer string
		Port   int
	}
	process := startPeer(t, script, settings, &ready)
	p := &provider{
		issuer:   ready.Issuer,
		jwksURI:  ready.Issuer + "/jwks",
		audience: resource,
		subject:  "service",
		scopes:   []string{"items:read"},
	}
	p.mint = func() (string, error) {
		return requestToken(patient, ready.Issuer+"/token", "service", clientSecret, url.Values{"scope": {"items:read"}, "resource": {resource}})
	}
	p.rotate = func(t *testing.T) { t.Helper(); process.call(t, nil, "rotate") }
	p.drop = func(t *testing.T) { t.Helper(); process.call(t, nil, "drop") }
	p.crash = func(t *testing.T) {
		t.Helper()
		var keys []json.RawMessage
		process.call(t, &keys, "keys")
		settings["keys"], settings["port"] = keys, ready.Port
		process.kill()
	}
	p.restart = func(t *testing.T) { t.Helper(); process = startPeer(t, script, settings, &ready) }
	return p
}

// A mockServer is npm's oauth2-mock-server, whose tokens are typed "JWT" and
// have whatever claims they are told to have.
type mockServer struct {
	*provider
	process *peer
}

func startMockServer(t *testing.T) *provider {
	t.Helper()
	return newMockServer(t).provider
}

func newMockServer(t *testing.T, algorithms ...string) *mockServer {
	t.Helper()
	const script = "oauth2-mock-server.mjs"
	settings := map[string]any{}
	if len(algorithms) > 0 {
		settings["keys"] = algorithms
	}
	var ready struct {
		Issuer string
		Port   int
	}
	p := &provider{}
	m := &mockServer{p, startPeer(t, script, settings, &ready)}
	p.issuer, p.jwksURI = ready.Issuer, ready.Issuer+"/jwks"
	p.audience, p.subject = audience, "service"
	p.scopes, p.types = []string{"items:read"}, []string{"JWT"}
	p.mint = func() (string, error) {
		return requestToken(patient, ready.Issuer+"/token", "service", clientSecret, url.Values{"scope": {"items:read"}, "aud": {audience}})
	}
	p.rotate = func(t *testing.T) { t.Helper(); m.process.call(t, nil, "rotate", "ES256") }
	p.drop = func(t *testing.T) { t.Helper(); m.process.call(t, nil, "drop") }
	p.crash = func(t *testing.T) {
		t.Helper()
		var keys []json.RawMessage
		m.process.call(t, &keys, "keys")
		settings["keys"], settings["port"] = keys, ready.Port
		m.process.kill()
	}
	p.restart = func(t *testing.T) { t.Helper(); m.process = startPeer(t, script, settings, &ready) }
	return m
}

// with makes the next token have these members of the header and the claims, or
// not have those that are nil.
func (m *mockServer) with(t *testing.T, header, claims map[string]any) string {
	t.Helper()
	m.process.call(t, nil, "next", map[string]any{"header": header, "claims": claims})
	return m.token(t)
}

// patient asks peers that may be slow to start, but not for ever.
var patient = &http.Client{Timeout: time.Minute}

// requestToken asks a token endpoint for an access token by client credentials.
func requestToken(c *http.Client, endpoint, id, secret string, form url.Values) (string, error) {
	all := url.Values{"grant_type": {"client_credentials"}}
	maps.Copy(all, form)
	answer, err := postForm(c, endpoint, id, secret, all, nil)
	if err != nil {
		return "", err
	}
	if answer.status != http.StatusOK || answer.AccessToken == "" {
		return "", fmt.Errorf("the token endpoint answers %d: %s", answer.status, answer.body)
	}
	return answer.AccessToken, nil
}

// An answer is what an endpoint of an authorization server says.
type answer struct {
	status int
	header http.Header
	body   []byte

	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	Error       string `json:"error"`
}

// postForm sends a form, as a client that has a secret.
func postForm(c *http.Client, endpoint, id, secret string, form url.Values, header http.Header) (answer, error) {
	r, err := http.NewRequest(http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return answer{}, err
	}
	maps.Copy(r.Header, header)
	r.SetBasicAuth(id, secret)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := c.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, header: resp.Header}
	if a.body, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20)); err != nil {
		return answer{}, err
	}
	if len(a.body) > 0 {
		if err := json.Unmarshal(a.body, &a); err != nil {
			return answer{}, fmt.Errorf("%q: %w", a.body, err)
		}
	}
	return a, nil
}
