package bearer_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/bearer"
	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/authz"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/eventlog"
	"github.com/sallyport/sallyport/internal/fetch"
	"github.com/sallyport/sallyport/internal/grammar"
	"github.com/sallyport/sallyport/internal/strictjson"
)

// An mcpClient is written against the authorization chapters of MCP, 2025-06-18 and
// 2025-11-25, and the RFCs that they name. It knows nothing of an API but its URL.
type mcpClient struct {
	http     *http.Client
	clientID string // registered beforehand
	token    string // what it has got
	steps    []string
}

// call does what the flow of MCP says until the API answers with something else than
// a 401 or 403 that tokens can mend. It tries each once.
func (c *mcpClient) call(ctx context.Context, api string) (status int, err error) {
	for attempt := 0; ; attempt++ {
		resp, err := c.get(ctx, api, c.token)
		if err != nil {
			return 0, err
		}
		challenges := parseChallenges(resp.Header["Www-Authenticate"])
		i := slices.IndexFunc(challenges, func(ch challenge) bool { return strings.EqualFold(ch.scheme, "Bearer") })
		mendable := resp.StatusCode == 401 || resp.StatusCode == 403 && i >= 0 && challenges[i].params["error"] == "insufficient_scope"
		if !mendable || attempt == 2 {
			return resp.StatusCode, nil
		}
		var asked challenge
		if i >= 0 {
			asked = challenges[i]
		}
		if err := c.authorize(ctx, api, asked); err != nil {
			return resp.StatusCode, err
		}
	}
}

func (c *mcpClient) get(ctx context.Context, u, token string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, err
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.http.Do(r)
	if err == nil {
		resp.Body.Close()
	}
	return resp, err
}

// authorize gets a token for an API that has answered with a challenge.
func (c *mcpClient) authorize(ctx context.Context, api string, asked challenge) error {
	resource, err := c.resource(ctx, api, asked.params["resource_metadata"])
	if err != nil {
		return err
	}
	servers := resource.list("authorization_servers")
	if len(servers) == 0 {
		return errors.New("the resource names no authorization server")
	}
	server, err := c.server(ctx, servers[0])
	if err != nil {
		return err
	}
	// Clients must refuse to go on without PKCE.
	if !slices.Contains(server.list("code_challenge_methods_supported"), "S256") {
		return errors.New("the authorization server does not know PKCE")
	}
	// What the challenge asks for counts; else all that is supported.
	scope := asked.params["scope"]
	if scope == "" {
		scope = strings.Join(resource.list("scopes_supported"), " ")
	}
	c.token, err = c.codeFlow(ctx, server, resource.text("resource"), scope)
	return err
}

// resource finds the metadata of an API: where the challenge says, else at the
// path of the API, else at the root.
func (c *mcpClient) resource(ctx context.Context, api, named string) (document, error) {
	u, err := url.Parse(api)
	if err != nil {
		return nil, err
	}
	root := u.Scheme + "://" + u.Host
	type place struct{ at, of string } // RFC 9728, section 3.3: what the resource must be
	places := []place{{named, api}}
	if named == "" {
		const name = "/.well-known/oauth-protected-resource"
		places = nil
		if u.Path != "" && u.Path != "/" {
			places = append(places, place{root + name + u.EscapedPath(), api})
		}
		places = append(places, place{root + name, root})
	}
	for _, p := range places {
		d, err := c.document(ctx, p.at)
		if err != nil {
			if p == places[len(places)-1] {
				return nil, err
			}
			continue
		}
		if d.text("resource") != p.of {
			return nil, fmt.Errorf("the metadata at %s is of the resource %q, not of %q", p.at, d.text("resource"), p.of)
		}
		return d, nil
	}
	return nil, errors.New("unreachable")
}

// server finds the metadata of an authorization server, in the order of MCP
// 2025-11-25.
func (c *mcpClient) server(ctx context.Context, issuer string) (document, error) {
	if err := fetch.CheckURL(issuer, false); err != nil {
		return nil, fmt.Errorf("the issuer %w", err)
	}
	u, err := url.Parse(issuer)
	if err != nil {
		return nil, err
	}
	root, path := u.Scheme+"://"+u.Host, strings.TrimSuffix(u.EscapedPath(), "/")
	places := []string{root + "/.well-known/oauth-authorization-server" + path, root + "/.well-known/openid-configuration" + path}
	if path != "" {
		places = append(places, root+path+"/.well-known/openid-configuration")
	}
	var d document
	for _, p := range places {
		if d, err = c.document(ctx, p); err != nil {
			continue
		}
		if d.text("issuer") != issuer { // RFC 8414, section 3.3
			return nil, fmt.Errorf("the metadata at %s is of the issuer %q, not of %q", p, d.text("issuer"), issuer)
		}
		return d, nil
	}
	return nil, err
}

// codeFlow is the authorization code grant with PKCE (RFC 7636) and a resource (RFC
// 8707), for a user who agrees to everything.
func (c *mcpClient) codeFlow(ctx context.Context, server document, resource, scope string) (string, error) {
	const redirect = "http://127.0.0.1:7777/callback"
	verifier, state := rand.Text()+rand.Text(), rand.Text()
	digest := sha256.Sum256([]byte(verifier))
	query := url.Values{
		"response_type": {"code"}, "client_id": {c.clientID}, "redirect_uri": {redirect}, "state": {state}, "resource": {resource},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(digest[:])}, "code_challenge_method": {"S256"},
	}
	if scope != "" {
		query.Set("scope", scope)
	}
	browser := *c.http
	browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.steps = append(c.steps, "authorize "+scope)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.text("authorization_endpoint")+"?"+query.Encode(), nil)
	if err != nil {
		return "", err
	}
	resp, err := browser.Do(r)
	if err != nil {
		return "", err
	}
	resp.Body.Close()
	back, err := resp.Location()
	if err != nil || !strings.HasPrefix(back.String(), redirect+"?") || back.Query().Get("state") != state {
		return "", fmt.Errorf("no way back from the authorization endpoint: status %d", resp.StatusCode)
	}
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {back.Query().Get("code")}, "redirect_uri": {redirect},
		"client_id": {c.clientID}, "code_verifier": {verifier}, "resource": {resource},
	}
	c.steps = append(c.steps, "token")
	r, err = http.NewRequestWithContext(ctx, http.MethodPost, server.text("token_endpoint"), strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := fetch.New(c.http, 5*time.Second, 64<<10).Do(ctx, r)
	if err != nil {
		return "", err
	}
	var d document
	if d, err = readDocument(answer.Body); err != nil || answer.Status != 200 || !strings.EqualFold(d.text("token_type"), "Bearer") {
		return "", fmt.Errorf("no token: status %d, %v", answer.Status, err)
	}
	return d.text("access_token"), nil
}

// document reads metadata: 200, JSON, strict, bounded, and without redirects.
func (c *mcpClient) document(ctx context.Context, at string) (document, error) {
	if err := fetch.CheckURL(at, false); err != nil {
		return nil, fmt.Errorf("the URL of metadata %w", err)
	}
	u, _ := url.Parse(at)
	c.steps = append(c.steps, u.Path)
	answer, err := fetch.New(c.http, 5*time.Second, 64<<10).Get(ctx, at)
	if err != nil {
		return nil, err
	}
	return readDocument(answer.Body)
}

// A document is a JSON object of which texts and lists of texts are read.
type document map[string][]string

func readDocument(b []byte) (document, error) {
	d := make(document)
	err := strictjson.Object(b, strictjson.Limits{FoldNames: true}, func(name string, v strictjson.Value) error {
		if v.Kind == strictjson.String {
			s, err := v.Text()
			d[name] = []string{s}
			return err
		}
		if v.Kind == strictjson.Array {
			return v.Elements(func(v strictjson.Value) error {
				s, err := v.Text()
				d[name+"[]"] = append(d[name+"[]"], s)
				return err
			})
		}
		return nil
	})
	return d, err
}

func (d document) list(name string) []string { return d[name+"[]"] }

func (d document) text(name string) string {
	if len(d[name]) == 0 {
		return ""
	}
	return d[name][0]
}

// A challenge is one of those in WWW-Authenticate fields (RFC 9110, section 11.6.1).
type challenge struct {
	scheme string
	params map[string]string
}

// parseChallenges reads fields as RFC 9110 defines them: lists of challenges, each
// with a list of parameters.
func parseChallenges(fields []string) []challenge {
	var all []challenge
	word := func(s string) (string, string) {
		n := 0
		for n < len(s) && grammar.IsTokenChar(s[n]) {
			n++
		}
		return s[:n], s[n:]
	}
	for _, s := range fields {
		for {
			s = strings.TrimLeft(s, " \t,")
			name, rest := word(s)
			if name == "" {
				break
			}
			value, isParam := strings.CutPrefix(strings.TrimLeft(rest, " \t"), "=")
			if !isParam {
				all = append(all, challenge{name, make(map[string]string)})
				s = rest
				continue
			}
			value = strings.TrimLeft(value, " \t")
			var text strings.Builder
			if quoted, ok := strings.CutPrefix(value, `"`); ok {
				i := 0
				for ; i < len(quoted) && quoted[i] != '"'; i++ {
					if quoted[i] == '\\' && i+1 < len(quoted) {
						i++
					}
					text.WriteByte(quoted[i])
				}
				s = quoted[min(i+1, len(quoted)):]
			} else {
				var w string
				w, s = word(value)
				text.WriteString(w)
			}
			if len(all) > 0 {
				all[len(all)-1].params[strings.ToLower(name)] = text.String()
			}
		}
	}
	return all
}

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
