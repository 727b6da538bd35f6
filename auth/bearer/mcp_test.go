package bearer_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/bearer"
	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/authz"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/eventlog"
)

// A loginServer is an authorization server whose users agree to everything.
type loginServer struct {
	url  string // its root
	mux  *http.ServeMux
	key  jwk.Key
	mu   sync.Mutex
	code map[string]url.Values
	// scope limits what is given, if not nil.
	scope func(asked string) string
}

func newLoginServer(t *testing.T) *loginServer {
	t.Helper()
	s := &loginServer{mux: http.NewServeMux(), key: edKey(), code: make(map[string]url.Values)}
	srv := httptest.NewTLSServer(s.mux)
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

// issuer adds one with that path, whose metadata is at that place.
func (s *loginServer) issuer(path, place string, change ...func(map[string]any)) (issuer string) {
	issuer = s.url + path
	m := map[string]any{
		"issuer": issuer, "authorization_endpoint": issuer + "/authorize", "token_endpoint": issuer + "/token",
		"response_types_supported": []string{"code"}, "code_challenge_methods_supported": []string{"S256"},
	}
	for _, f := range change {
		f(m)
	}
	s.mux.HandleFunc("GET "+place, func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, m) })
	s.mux.HandleFunc("GET "+path+"/authorize", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if q.Get("code_challenge_method") != "S256" || q.Get("resource") == "" || q.Get("client_id") != "mcp-client" {
			w.WriteHeader(400)
			return
		}
		code := rand.Text()
		s.mu.Lock()
		s.code[code] = q
		s.mu.Unlock()
		http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"code": {code}, "state": {q.Get("state")}}.Encode(), http.StatusFound)
	})
	s.mux.HandleFunc("POST "+path+"/token", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		q := s.code[r.PostFormValue("code")]
		delete(s.code, r.PostFormValue("code"))
		s.mu.Unlock()
		digest := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
		if q == nil || q.Get("code_challenge") != base64.RawURLEncoding.EncodeToString(digest[:]) || q.Get("resource") != r.PostFormValue("resource") {
			w.WriteHeader(400)
			return
		}
		scope := q.Get("scope")
		if s.scope != nil {
			scope = s.scope(scope)
		}
		token, err := s.key.SignCompact("at+jwt", []byte(goodClaims().with("iss", issuer, "aud", q.Get("resource"), "scope", scope).String()))
		if err != nil {
			w.WriteHeader(500)
			return
		}
		writeJSON(w, map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": 3600, "scope": scope})
	})
	return issuer
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// An mcpServer is an API with its metadata. The fields are for servers that differ.
type mcpServer struct {
	issuer      string
	path        string
	noChallenge bool             // the challenge does not name the metadata
	atRoot      bool             // the resource is the host
	metadata    http.HandlerFunc // instead of the right ones
	resource    func(*bearer.ResourceConfig)
	rules       func(http.Handler) http.Handler // between auth and the handler
	called      func(*auth.Identity)
}

// start returns the URL of the API.
func (m mcpServer) start(t *testing.T, s *loginServer) (api string, client *http.Client) {
	t.Helper()
	mux := http.NewServeMux()
	srv := httptest.NewTLSServer(httperr.Recover(httperr.Config{Audit: new(eventlog.Recorder)})(httperr.Mux(mux)))
	t.Cleanup(srv.Close)
	api = srv.URL + m.path
	identifier := api
	if m.atRoot {
		identifier = srv.URL
	}
	rc := bearer.ResourceConfig{Identifier: identifier, AuthorizationServers: []string{m.issuer}, Scopes: []string{"tools:list", "tools:call"}}
	if m.resource != nil {
		m.resource(&rc)
	}
	resource, err := bearer.NewResource(rc)
	if err != nil {
		t.Fatal(err)
	}
	public, err := s.key.Public()
	if err != nil {
		t.Fatal(err)
	}
	cfg := bearer.Config{Issuer: m.issuer, Audience: []string{identifier}, Keys: static(t, public), Resource: resource}
	if m.noChallenge {
		cfg.Resource = nil
	}
	tokens, err := bearer.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if m.metadata != nil {
		mux.Handle(resource.Pattern(), m.metadata)
	} else {
		mux.Handle(resource.Pattern(), resource.Handler())
	}
	var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _ := auth.FromContext(r.Context())
		if m.called != nil {
			m.called(id)
		}
		w.WriteHeader(200)
	})
	if m.rules != nil {
		h = m.rules(h)
	}
	pattern := "GET " + m.path
	if m.path == "" {
		pattern = "GET /{$}"
	}
	mux.Handle(pattern, auth.Require(tokens)(h))
	return api, srv.Client() // the servers of httptest share one certificate
}

const wellKnownPath = "/.well-known/oauth-protected-resource"

func newMCPClient(client *http.Client) *mcpClient {
	return &mcpClient{http: client, clientID: "mcp-client"}
}

// A client that knows nothing but the URL of an API gets in, wherever the metadata
// are that MCP allows.
func TestMCP_2025_11_25_Authorization(t *testing.T) {
	const flow, rest = "authorize tools:list tools:call", "token"
	for _, tt := range []struct {
		name       string
		issuerPath string
		place      string // of the issuer's metadata
		server     mcpServer
		steps      []string
	}{
		{
			"the challenge names the metadata", "", "/.well-known/oauth-authorization-server",
			mcpServer{path: "/mcp"},
			[]string{wellKnownPath + "/mcp", "/.well-known/oauth-authorization-server", flow, rest},
		},
		{
			"an API at the root", "", "/.well-known/oauth-authorization-server",
			mcpServer{path: ""},
			[]string{wellKnownPath, "/.well-known/oauth-authorization-server", flow, rest},
		},
		{
			"OpenID Connect alone", "", "/.well-known/openid-configuration",
			mcpServer{path: "/mcp"},
			[]string{wellKnownPath + "/mcp", "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration", flow, rest},
		},
		{
			"an issuer with a path", "/tenant1", "/.well-known/oauth-authorization-server/tenant1",
			mcpServer{path: "/a/mcp"},
			[]string{wellKnownPath + "/a/mcp", "/.well-known/oauth-authorization-server/tenant1", flow, rest},
		},
		{
			"OpenID Connect with the path inserted", "/tenant1", "/.well-known/openid-configuration/tenant1",
			mcpServer{path: "/mcp"},
			[]string{
				wellKnownPath + "/mcp", "/.well-known/oauth-authorization-server/tenant1",
				"/.well-known/openid-configuration/tenant1", flow, rest,
			},
		},
		{
			"OpenID Connect with the path in front", "/tenant1", "/tenant1/.well-known/openid-configuration",
			mcpServer{path: "/mcp"},
			[]string{
				wellKnownPath + "/mcp", "/.well-known/oauth-authorization-server/tenant1",
				"/.well-known/openid-configuration/tenant1", "/tenant1/.well-known/openid-configuration", flow, rest,
			},
		},
		{
			"no word in the challenge", "", "/.well-known/oauth-authorization-server",
			mcpServer{path: "/mcp", noChallenge: true},
			[]string{wellKnownPath + "/mcp", "/.well-known/oauth-authorization-server", flow, rest},
		},
		{
			"no word in the challenge, metadata of the host", "", "/.well-known/oauth-authorization-server",
			mcpServer{path: "/mcp", noChallenge: true, atRoot: true},
			[]string{wellKnownPath + "/mcp", wellKnownPath, "/.well-known/oauth-authorization-server", flow, rest},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newLoginServer(t)
			tt.server.issuer = s.issuer(tt.issuerPath, tt.place)
			tt.server.called = func(id *auth.Identity) {
				if id.Subject != "alice" || !slices.Equal(id.Scopes, []string{"tools:list", "tools:call"}) {
					t.Errorf("got %s with %v", id.Subject, id.Scopes)
				}
			}
			api, client := tt.server.start(t, s)
			c := newMCPClient(client)
			status, err := c.call(t.Context(), api)
			if err != nil || status != 200 {
				t.Errorf("got %d, %v", status, err)
			}
			if !slices.Equal(c.steps, tt.steps) {
				t.Errorf("steps %q\nwant  %q", c.steps, tt.steps)
			}
			// With its token it needs none of that again.
			c.steps = nil
			if status, err := c.call(t.Context(), api); err != nil || status != 200 || len(c.steps) > 0 {
				t.Errorf("again: got %d, %v after %q", status, err, c.steps)
			}
		})
	}
}

// The token is for the one API that it was asked for: sent to another one of the same
// issuer, it opens nothing.
func TestRFC8707_2_TokenOfAnotherResource(t *testing.T) {
	s := newLoginServer(t)
	issuer := s.issuer("", "/.well-known/oauth-authorization-server")
	first, client := mcpServer{issuer: issuer, path: "/mcp"}.start(t, s)
	second, _ := mcpServer{issuer: issuer, path: "/mcp"}.start(t, s)
	c := newMCPClient(client)
	if status, err := c.call(t.Context(), first); err != nil || status != 200 {
		t.Fatalf("got %d, %v", status, err)
	}
	resp, err := c.get(t.Context(), second, c.token)
	if err != nil || resp.StatusCode != 401 {
		t.Fatalf("got %v, %v, want 401", resp, err)
	}
	challenges := parseChallenges(resp.Header["Www-Authenticate"])
	if len(challenges) != 1 || challenges[0].params["error"] != "invalid_token" {
		t.Errorf("got the challenges %v", challenges)
	}
	// The challenge says whom to ask instead.
	c.steps = nil
	if status, err := c.call(t.Context(), second); err != nil || status != 200 || len(c.steps) != 4 {
		t.Errorf("got %d, %v after %q", status, err, c.steps)
	}
}

// A token that allows too little is a 403 that says what it takes.
func TestMCP_2025_11_25_StepUp(t *testing.T) {
	s := newLoginServer(t)
	given := 0
	s.scope = func(asked string) string {
		if given++; given == 1 {
			return "tools:list"
		}
		return asked
	}
	issuer := s.issuer("", "/.well-known/oauth-authorization-server")
	api, client := mcpServer{issuer: issuer, path: "/mcp", rules: authz.Require(authz.Scope("tools:call"))}.start(t, s)
	c := newMCPClient(client)
	if status, err := c.call(t.Context(), api); err != nil || status != 200 {
		t.Errorf("got %d, %v", status, err)
	}
	want := []string{
		wellKnownPath + "/mcp", "/.well-known/oauth-authorization-server", "authorize tools:list tools:call", "token",
		wellKnownPath + "/mcp", "/.well-known/oauth-authorization-server", "authorize tools:call", "token",
	}
	if !slices.Equal(c.steps, want) {
		t.Errorf("steps %q\nwant  %q", c.steps, want)
	}
}

// What a client must not go on with (RFC 9728, sections 3.3 and 7.3; RFC 8414, section
// 3.3; MCP on PKCE).
func TestRFC9728_3_3_ClientsStop(t *testing.T) {
	says := func(f func(r *http.Request) string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, f(r))
		}
	}
	for _, tt := range []struct {
		name     string
		metadata func(issuer string) http.HandlerFunc
		server   func(map[string]any)
		want     string // in the error
	}{
		{"the metadata of another resource", func(issuer string) http.HandlerFunc {
			return says(func(r *http.Request) string {
				return fmt.Sprintf(`{"resource":"https://%s/mcp2","authorization_servers":[%q]}`, r.Host, issuer)
			})
		}, nil, "not of"},
		{"a slash more", func(issuer string) http.HandlerFunc {
			return says(func(r *http.Request) string {
				return fmt.Sprintf(`{"resource":"https://%s/mcp/","authorization_servers":[%q]}`, r.Host, issuer)
			})
		}, nil, "not of"},
		{"two resources", func(issuer string) http.HandlerFunc {
			return says(func(r *http.Request) string {
				return fmt.Sprintf(`{"resource":"https://evil.example","resource":"https://%s/mcp","authorization_servers":[%q]}`, r.Host, issuer)
			})
		}, nil, "duplicate"},
		{"no authorization server", func(string) http.HandlerFunc {
			return says(func(r *http.Request) string { return fmt.Sprintf(`{"resource":"https://%s/mcp"}`, r.Host) })
		}, nil, "no authorization server"},
		{"an authorization server of plain http", func(string) http.HandlerFunc {
			return says(func(r *http.Request) string {
				return fmt.Sprintf(`{"resource":"https://%s/mcp","authorization_servers":["http://login.example.com"]}`, r.Host)
			})
		}, nil, "https"},
		{"a redirect", func(string) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://evil.example/", http.StatusFound)
			}
		}, nil, "redirect"},
		{"another media type", func(string) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{}`) }
		}, nil, "media type"},
		{"without end", func(string) http.HandlerFunc {
			return says(func(*http.Request) string { return `{"x":"` + strings.Repeat("a", 1<<20) })
		}, nil, "larger"},
		{"another issuer", nil, func(m map[string]any) { m["issuer"] = "https://evil.example" }, "not of"},
		{"no PKCE", nil, func(m map[string]any) { delete(m, "code_challenge_methods_supported") }, "PKCE"},
		{"plain PKCE alone", nil, func(m map[string]any) { m["code_challenge_methods_supported"] = []string{"plain"} }, "PKCE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newLoginServer(t)
			if tt.server == nil {
				tt.server = func(map[string]any) {}
			}
			m := mcpServer{issuer: s.issuer("", "/.well-known/oauth-authorization-server", tt.server), path: "/mcp"}
			if tt.metadata != nil {
				m.metadata = tt.metadata(m.issuer)
			}
			api, client := m.start(t, s)
			c := newMCPClient(client)
			status, err := c.call(t.Context(), api)
			if status != 401 || err == nil || !strings.Contains(err.Error(), tt.want) || c.token != "" {
				t.Errorf("got %d, %v, want an error with %q", status, err, tt.want)
			}
			if slices.Contains(c.steps, "token") {
				t.Errorf("the client went on: %q", c.steps)
			}
		})
	}
}

// The field's value is parsed as RFC 9110 says, whatever it has in it.
func TestRFC9728_5_1_Challenge(t *testing.T) {
	resource := newResource(t)
	a := newAuthenticator(t, func(c *bearer.Config) { c.Resource, c.Realm = resource, `a "b", c=\"d\\` })
	rules := authz.Require(authz.Scope("admin"))
	for _, tt := range []struct {
		name   string
		header string
		want   map[string]string // beside the realm and the metadata
	}{
		{"no token", "", map[string]string{}},
		{"bad token", "Bearer x", map[string]string{"error": "invalid_token"}},
		{"malformed", "Bearer a b", map[string]string{"error": "invalid_request"}},
		{"too little", "Bearer " + mint(t, hsKey(), goodClaims()), map[string]string{"error": "insufficient_scope", "scope": "admin"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/mcp", nil)
			if tt.header != "" {
				r.Header.Set("Authorization", tt.header)
			}
			w := httptest.NewRecorder()
			httperr.Recover(httperr.Config{Audit: new(eventlog.Recorder)})(auth.Require(a)(rules(http.NotFoundHandler()))).ServeHTTP(w, r)
			challenges := parseChallenges(w.Header()["Www-Authenticate"])
			if len(challenges) != 1 || challenges[0].scheme != "Bearer" {
				t.Fatalf("got the challenges %v", challenges)
			}
			got := challenges[0].params
			delete(got, "error_description")
			tt.want["realm"], tt.want["resource_metadata"] = `a "b", c=\"d\\`, "https://api.example.com"+wellKnownPath+"/mcp"
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}
