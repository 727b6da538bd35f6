package bearer_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/bearer"
	"github.com/sallyport/sallyport/auth/dpop"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/eventlog"
)

func resourceConfig() bearer.ResourceConfig {
	return bearer.ResourceConfig{Identifier: testAudience + "/mcp", AuthorizationServers: []string{testIssuer}}
}

func newResource(t testing.TB, change ...func(*bearer.ResourceConfig)) *bearer.Resource {
	t.Helper()
	cfg := resourceConfig()
	for _, f := range change {
		f(&cfg)
	}
	r, err := bearer.NewResource(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The well-known name goes between the host and the path, and a slash after the
// host is dropped.
func TestRFC9728_3_1_MetadataURL(t *testing.T) {
	const name = "/.well-known/oauth-protected-resource"
	for _, tt := range []struct{ identifier, url, pattern string }{
		{"https://api.example.com", "https://api.example.com" + name, "GET " + name},
		{"https://api.example.com/", "https://api.example.com" + name, "GET " + name},
		{"https://api.example.com/resource1", "https://api.example.com" + name + "/resource1", "GET " + name + "/resource1"},
		{"https://api.example.com:8443/a/b", "https://api.example.com:8443" + name + "/a/b", "GET " + name + "/a/b"},
		{"https://api.example.com/a/", "https://api.example.com" + name + "/a/", "GET " + name + "/a/{$}"},
		{"https://api.example.com/caf%C3%A9", "https://api.example.com" + name + "/caf%C3%A9", "GET " + name + "/caf%C3%A9"},
		{"https://api.example.com/a%2Fb", "https://api.example.com" + name + "/a%2Fb", "GET " + name + "/a%2Fb"},
		{"https://api.example.com/%7Bid%7D", "https://api.example.com" + name + "/%7Bid%7D", "GET " + name + "/%7Bid%7D"},
		{"https://[2001:db8::1]/a", "https://[2001:db8::1]" + name + "/a", "GET " + name + "/a"},
		{"http://localhost:8080/mcp", "http://localhost:8080" + name + "/mcp", "GET " + name + "/mcp"},
		{"http://127.0.0.1:443/mcp", "http://127.0.0.1:443" + name + "/mcp", "GET " + name + "/mcp"},
	} {
		t.Run(tt.identifier, func(t *testing.T) {
			r := newResource(t, func(c *bearer.ResourceConfig) { c.Identifier = tt.identifier })
			if got := r.MetadataURL(); got != tt.url {
				t.Errorf("MetadataURL = %s\nwant %s", got, tt.url)
			}
			if got := r.Pattern(); got != tt.pattern {
				t.Errorf("Pattern = %s, want %s", got, tt.pattern)
			}
			if got, want := r.PreflightPattern(), strings.Replace(tt.pattern, "GET", "OPTIONS", 1); got != want {
				t.Errorf("PreflightPattern = %s, want %s", got, want)
			}
			if r.Identifier() != tt.identifier {
				t.Errorf("Identifier = %s", r.Identifier())
			}
			// The mux serves the URL, and the identifier is in it as it was given.
			mux := http.NewServeMux()
			mux.Handle("GET /", http.NotFoundHandler())
			mux.Handle(r.Pattern(), r.Handler())
			mux.Handle(r.PreflightPattern(), r.Handler())
			for _, more := range []string{"", "/more", "?x=y"} {
				if strings.HasSuffix(tt.url, "/") {
					more = strings.TrimPrefix(more, "/")
				}
				w := httptest.NewRecorder()
				mux.ServeHTTP(w, httptest.NewRequest("GET", tt.url+more, nil))
				if want := map[bool]int{true: 404, false: 200}[strings.HasSuffix(more, "more")]; w.Code != want {
					t.Errorf("GET %s: got %d, want %d", tt.url+more, w.Code, want)
				}
				var m map[string]any
				if w.Code == 200 && (json.Unmarshal(w.Body.Bytes(), &m) != nil || m["resource"] != tt.identifier) {
					t.Errorf("GET %s: got %s", tt.url+more, w.Body)
				}
			}
		})
	}
}

func TestRFC9728_1_2_Identifier(t *testing.T) {
	for name, identifier := range map[string]string{
		"empty":                     "",
		"not absolute":              "/mcp",
		"no scheme":                 "api.example.com",
		"plain http":                "http://api.example.com",
		"another scheme":            "ftp://api.example.com",
		"fragment":                  "https://api.example.com/#x",
		"empty fragment":            "https://api.example.com/#",
		"query":                     "https://api.example.com/?tenant=a",
		"empty query":               "https://api.example.com/?",
		"user":                      "https://user@api.example.com/",
		"host in capitals":          "https://API.example.com/",
		"scheme in capitals":        "HTTPS://api.example.com/",
		"default port":              "https://api.example.com:443/mcp",
		"default port of http":      "http://localhost:80/mcp",
		"no port":                   "https://api.example.com:/mcp",
		"no host":                   "https:///mcp",
		"space":                     "https://api.example.com/a b",
		"brace":                     "https://api.example.com/{id}",
		"beyond ASCII":              "https://api.example.com/é",
		"line break":                "https://api.example.com/\r\nX: y",
		"quote":                     `https://api.example.com/"`,
		"half an escape":            "https://api.example.com/%4",
		"empty segment":             "https://api.example.com/a//b",
		"two slashes":               "https://api.example.com//",
		"dot segment":               "https://api.example.com/./a",
		"dots":                      "https://api.example.com/a/../b",
		"dots at the end":           "https://api.example.com/a/..",
		"escaped dots":              "https://api.example.com/a/%2e%2E/b",
		"longer than 2,048 bytes":   "https://api.example.com/" + strings.Repeat("a", 2048),
		"backslash":                 `https://api.example.com\@evil.example/`,
		"the metadata's host moves": "https://api.example.com@evil.example/",
	} {
		t.Run(name, func(t *testing.T) {
			cfg := resourceConfig()
			cfg.Identifier = identifier
			if _, err := bearer.NewResource(cfg); err == nil || !strings.HasPrefix(err.Error(), "bearer: ResourceConfig.Identifier ") {
				t.Errorf("%q: got %v, want an error about Identifier", identifier, err)
			}
		})
	}
}

func TestNewResourceErrors(t *testing.T) {
	text := func(f func(*bearer.ResourceText)) func(*bearer.ResourceConfig) {
		return func(c *bearer.ResourceConfig) { f(&c.Text) }
	}
	language := func(tags ...string) func(*bearer.ResourceConfig) {
		return func(c *bearer.ResourceConfig) {
			c.Languages = make(map[string]bearer.ResourceText)
			for _, tag := range tags {
				c.Languages[tag] = bearer.ResourceText{Name: "x"}
			}
		}
	}
	for _, tt := range []struct {
		name   string
		change func(*bearer.ResourceConfig)
		field  string
	}{
		{"no issuer", func(c *bearer.ResourceConfig) { c.AuthorizationServers = nil }, "AuthorizationServers"},
		{"empty issuer", func(c *bearer.ResourceConfig) { c.AuthorizationServers = []string{""} }, "AuthorizationServers"},
		{"http issuer", func(c *bearer.ResourceConfig) { c.AuthorizationServers = []string{"http://login.example.com"} }, "AuthorizationServers"},
		{"issuer with a query", func(c *bearer.ResourceConfig) { c.AuthorizationServers = []string{testIssuer + "?a"} }, "AuthorizationServers"},
		{"issuer with a fragment", func(c *bearer.ResourceConfig) { c.AuthorizationServers = []string{testIssuer + "#a"} }, "AuthorizationServers"},
		{"issuer twice", func(c *bearer.ResourceConfig) { c.AuthorizationServers = []string{testIssuer, testIssuer} }, "AuthorizationServers"},
		{"empty scope", func(c *bearer.ResourceConfig) { c.Scopes = []string{""} }, "Scopes"},
		{"two scopes in one", func(c *bearer.ResourceConfig) { c.Scopes = []string{"a b"} }, "Scopes"},
		{"scope twice", func(c *bearer.ResourceConfig) { c.Scopes = []string{"a", "b", "a"} }, "Scopes"},
		{"symmetric proofs", func(c *bearer.ResourceConfig) { c.DPoPAlgorithms = []string{"HS256"} }, "DPoPAlgorithms"},
		{"no proofs", func(c *bearer.ResourceConfig) { c.DPoPAlgorithms = []string{"none"} }, "DPoPAlgorithms"},
		{"algorithm twice", func(c *bearer.ResourceConfig) { c.DPoPAlgorithms = []string{"ES256", "ES256"} }, "DPoPAlgorithms"},
		{"required, but without algorithms", func(c *bearer.ResourceConfig) { c.DPoPRequired = true }, "DPoPAlgorithms"},
		{"http keys", func(c *bearer.ResourceConfig) { c.JWKSURI = "http://api.example.com/jwks" }, "JWKSURI"},
		{"control character", text(func(x *bearer.ResourceText) { x.Name = "a\nb" }), "Text"},
		{"not UTF-8", text(func(x *bearer.ResourceText) { x.Name = "\xff" }), "Text"},
		{"script", text(func(x *bearer.ResourceText) { x.DocumentationURL = "javascript:alert(1)" }), "Text"},
		{"relative URL", text(func(x *bearer.ResourceText) { x.PolicyURL = "/policy" }), "Text"},
		{"URL with a space", text(func(x *bearer.ResourceText) { x.TermsURL = "https://example.com/a b" }), "Text"},
		{"no language", language(""), "Languages"},
		{"language with an underscore", language("de_DE"), "Languages"},
		{"language that begins with a digit", language("1de"), "Languages"},
		{"language that ends in a hyphen", language("de-"), "Languages"},
		{"long language", language("abcdefghi"), "Languages"},
		{"language twice", language("pt-BR", "pt-br"), "Languages"},
		{"script in a language", func(c *bearer.ResourceConfig) {
			c.Languages = map[string]bearer.ResourceText{"de": {TermsURL: "data:text/html,x"}}
		}, "Languages"},
		{"negative age", func(c *bearer.ResourceConfig) { c.MaxAge = -time.Second }, "MaxAge"},
		{"long age", func(c *bearer.ResourceConfig) { c.MaxAge = 8 * 24 * time.Hour }, "MaxAge"},
		{"fractions of a second", func(c *bearer.ResourceConfig) { c.MaxAge = time.Second + 1 }, "MaxAge"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := resourceConfig()
			tt.change(&cfg)
			if r, err := bearer.NewResource(cfg); err == nil || r != nil || !strings.HasPrefix(err.Error(), "bearer: ResourceConfig."+tt.field) {
				t.Errorf("got %v, want an error about %s", err, tt.field)
			}
		})
	}
}

// What has no value is left out, and what is said is true.
func TestRFC9728_2_Metadata(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*bearer.ResourceConfig)
		want   string
	}{
		{"least", func(*bearer.ResourceConfig) {}, `{
			"authorization_servers":["https://login.example.com"],
			"bearer_methods_supported":["header"],
			"resource":"https://api.example.com/mcp"}`},
		{"all", func(c *bearer.ResourceConfig) {
			c.AuthorizationServers = append(c.AuthorizationServers, "https://partner.example/tenant1")
			c.Scopes = []string{"items:read", "items:write"}
			c.JWKSURI = "https://api.example.com/jwks.json"
			c.DPoPAlgorithms, c.DPoPRequired, c.CertificateBound = []string{"ES256", "EdDSA"}, true, true
			c.Text = bearer.ResourceText{
				Name: `Items "API"`, DocumentationURL: "https://docs.example.com/items#auth",
				PolicyURL: "https://example.com/policy", TermsURL: "https://example.com/terms",
			}
			c.Languages = map[string]bearer.ResourceText{"de": {Name: "Dinge"}, "zh-Hans-CN": {Name: "东西", PolicyURL: "http://example.cn/p?a=1&b=2"}}
		}, `{
			"authorization_servers":["https://login.example.com","https://partner.example/tenant1"],
			"bearer_methods_supported":["header"],
			"dpop_bound_access_tokens_required":true,
			"dpop_signing_alg_values_supported":["ES256","EdDSA"],
			"jwks_uri":"https://api.example.com/jwks.json",
			"resource":"https://api.example.com/mcp",
			"resource_documentation":"https://docs.example.com/items#auth",
			"resource_name":"Items \"API\"",
			"resource_name#de":"Dinge",
			"resource_name#zh-Hans-CN":"东西",
			"resource_policy_uri":"https://example.com/policy",
			"resource_policy_uri#zh-Hans-CN":"http://example.cn/p?a=1\u0026b=2",
			"resource_tos_uri":"https://example.com/terms",
			"scopes_supported":["items:read","items:write"],
			"tls_client_certificate_bound_access_tokens":true}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			newResource(t, tt.change).Handler().ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			want := strings.NewReplacer("\n", "", "\t", "").Replace(tt.want)
			if got := w.Body.String(); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// A Resource does not change with the slices that it was made of.
func TestNewResourceCopiesTheConfig(t *testing.T) {
	cfg := resourceConfig()
	cfg.DPoPAlgorithms = []string{"ES256"}
	r, err := bearer.NewResource(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.AuthorizationServers[0], cfg.DPoPAlgorithms[0] = "https://evil.example", "none"
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if body := w.Body.String(); strings.Contains(body, "evil") || strings.Contains(body, "none") {
		t.Errorf("got %s", body)
	}
	proofs, err := dpop.New(dpop.Config{Origins: []string{testAudience}})
	if err != nil {
		t.Fatal(err)
	}
	if err := bearer.Agrees(r, &bearer.Config{Issuer: testIssuer, DPoP: proofs}); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestRFC9728_3_2_Response(t *testing.T) {
	h := newResource(t).Handler()
	for _, tt := range []struct {
		method string
		status int
		body   bool
	}{
		{"GET", 200, true},
		{"HEAD", 200, false},
		{"OPTIONS", 204, false},
		{"POST", 405, true},
		{"PUT", 405, true},
		{"DELETE", 405, true},
		{"get", 405, true},
	} {
		t.Run(tt.method, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/.well-known/oauth-protected-resource/mcp", nil)
			r.Method = tt.method
			r.Header.Set("Origin", "https://app.example")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != tt.status || (w.Body.Len() > 0) != tt.body {
				t.Fatalf("got %d and %d bytes", w.Code, w.Body.Len())
			}
			want := map[int]map[string]string{
				200: {
					"Content-Type": "application/json", "Cache-Control": "public, max-age=3600", "X-Content-Type-Options": "nosniff",
					"Access-Control-Allow-Origin": "*", "Content-Length": "134",
				},
				204: {
					"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": "GET, HEAD",
					"Access-Control-Allow-Headers": "*", "Access-Control-Max-Age": "7200", "Content-Type": "",
				},
				405: {"Allow": "GET, HEAD, OPTIONS", "Content-Type": "application/problem+json", "Access-Control-Allow-Origin": ""},
			}[tt.status]
			for name, value := range want {
				if got := w.Header().Get(name); got != value {
					t.Errorf("%s = %q, want %q", name, got, value)
				}
			}
			for _, name := range []string{"Access-Control-Allow-Credentials", "Set-Cookie"} {
				if got := w.Header().Get(name); got != "" {
					t.Errorf("%s = %q, want none", name, got)
				}
			}
		})
	}
	t.Run("another age", func(t *testing.T) {
		w := httptest.NewRecorder()
		newResource(t, func(c *bearer.ResourceConfig) { c.MaxAge = 90 * time.Second }).Handler().ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if got := w.Header().Get("Cache-Control"); got != "public, max-age=90" {
			t.Errorf("Cache-Control = %q", got)
		}
	})
	t.Run("appending to a field changes no other answer", func(t *testing.T) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		w.Header().Add("Access-Control-Allow-Origin", "x")
		again := httptest.NewRecorder()
		h.ServeHTTP(again, httptest.NewRequest("GET", "/", nil))
		if got := again.Header()["Access-Control-Allow-Origin"]; len(got) != 1 || got[0] != "*" {
			t.Errorf("got %v", got)
		}
	})
}

// The description must say what the authenticator does.
func TestResourceAgreesWithTheConfig(t *testing.T) {
	all, err := dpop.New(dpop.Config{Origins: []string{testAudience}})
	if err != nil {
		t.Fatal(err)
	}
	es256, err := dpop.New(dpop.Config{Origins: []string{testAudience}, Algorithms: []string{"ES256"}})
	if err != nil {
		t.Fatal(err)
	}
	with := func(required bool, algorithms ...string) *bearer.Resource {
		return newResource(t, func(c *bearer.ResourceConfig) { c.DPoPAlgorithms, c.DPoPRequired = algorithms, required })
	}
	for _, tt := range []struct {
		name string
		r    *bearer.Resource
		cfg  bearer.Config
		ok   bool
	}{
		{"plain", with(false), bearer.Config{Issuer: testIssuer}, true},
		{"DPoP that is not told of", with(false), bearer.Config{Issuer: testIssuer, DPoP: all}, true},
		{"some algorithms", with(false, "ES256"), bearer.Config{Issuer: testIssuer, DPoP: all}, true},
		{"required", with(true, "ES256"), bearer.Config{Issuer: testIssuer, DPoP: es256, RequireDPoP: true}, true},
		{"another issuer", with(false), bearer.Config{Issuer: testIssuer + "/"}, false},
		{"no DPoP", with(false, "ES256"), bearer.Config{Issuer: testIssuer}, false},
		{"other algorithms", with(false, "ES256", "EdDSA"), bearer.Config{Issuer: testIssuer, DPoP: es256}, false},
		{"required here alone", with(true, "ES256"), bearer.Config{Issuer: testIssuer, DPoP: es256}, false},
		{"required there alone", with(false, "ES256"), bearer.Config{Issuer: testIssuer, DPoP: es256, RequireDPoP: true}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := bearer.Agrees(tt.r, &tt.cfg); (err == nil) != tt.ok {
				t.Errorf("got %v, want ok %v", err, tt.ok)
			}
		})
	}
}

func TestTheDescriptionNeedsNoCredentials(t *testing.T) {
	resource := newResource(t)
	a := newAuthenticator(t, func(c *bearer.Config) { c.Resource = resource })
	mux := http.NewServeMux()
	mux.Handle(resource.Pattern(), resource.Handler())
	mux.Handle("/mcp", auth.Require(a)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	h := httperr.Recover(httperr.Config{Audit: new(eventlog.Recorder)})(httperr.Mux(mux))
	for url, status := range map[string]int{"/mcp": 401, "/.well-known/oauth-protected-resource/mcp": 200} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", url, nil))
		if w.Code != status {
			t.Errorf("%s: got %d, want %d", url, w.Code, status)
		}
	}
}

func FuzzNewResource(f *testing.F) {
	for _, s := range []string{"https://api.example.com", "https://a/b/", "https://a/%7B%7D", "https://a//", "https://a/../b", "http://localhost:1/", "https://[::1]:443/x", "https://a/{$}", "https://A/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, identifier string) {
		cfg := resourceConfig()
		cfg.Identifier = identifier
		r, err := bearer.NewResource(cfg)
		if err != nil {
			return
		}
		// Whatever is taken can be mounted, and is found under its URL on its own host.
		mux := http.NewServeMux()
		mux.Handle(r.Pattern(), r.Handler())
		req, err := http.NewRequest("GET", r.MetadataURL(), nil)
		if err != nil {
			t.Fatalf("%q: %v", identifier, err)
		}
		own, err := http.NewRequest("GET", identifier, nil)
		if err != nil || own.URL.Host != req.URL.Host || own.URL.Scheme != req.URL.Scheme {
			t.Fatalf("%q is described at %q", identifier, r.MetadataURL())
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, req)
		var m map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &m); w.Code != 200 || err != nil || m["resource"] != identifier {
			t.Fatalf("%q: %s answers %d %s", identifier, r.MetadataURL(), w.Code, w.Body)
		}
	})
}

func BenchmarkResource(b *testing.B) {
	h := newResource(b).Handler()
	r := httptest.NewRequest("GET", "/", nil)
	w := httptest.NewRecorder()
	w.Body = nil
	b.ReportAllocs()
	for b.Loop() {
		clear(w.Header())
		h.ServeHTTP(w, r)
	}
}

// An API tells clients, such as those of MCP, where to get tokens for it.
func ExampleNewResource() {
	resource, err := bearer.NewResource(bearer.ResourceConfig{
		Identifier:           "https://api.example.com/mcp",
		AuthorizationServers: []string{"https://login.example.com"},
		Scopes:               []string{"tools:call"},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(resource.Pattern(), resource.Handler())
	mux.Handle(resource.PreflightPattern(), resource.Handler())

	fmt.Println(resource.Pattern())
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", resource.MetadataURL(), nil))
	body, _ := io.ReadAll(w.Body)
	fmt.Println(w.Code, w.Header().Get("Content-Type"))
	fmt.Println(string(body))
	// Output:
	// GET /.well-known/oauth-protected-resource/mcp
	// 200 application/json
	// {"authorization_servers":["https://login.example.com"],"bearer_methods_supported":["header"],"resource":"https://api.example.com/mcp","scopes_supported":["tools:call"]}
}
