package bearer_test

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/bearer"
)

func describe(t testing.TB, change ...func(*bearer.ResourceConfig)) *bearer.Resource {
	t.Helper()
	cfg := bearer.ResourceConfig{Identifier: testAudience, AuthorizationServers: []string{testIssuer}}
	for _, f := range change {
		f(&cfg)
	}
	r, err := bearer.NewResource(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Every challenge says where the API is described, of both schemes.
func TestRFC9728_5_1_ResourceMetadata(t *testing.T) {
	const where = `resource_metadata="https://api.example.com/.well-known/oauth-protected-resource"`
	plain := newAuthenticator(t, func(c *bearer.Config) { c.Resource = describe(t) })
	both := newAuthenticator(t, func(c *bearer.Config) {
		c.DPoP = newDPoP(t)
		c.Resource = describe(t, func(r *bearer.ResourceConfig) { r.DPoPAlgorithms = c.DPoP.Algorithms() })
	})
	for name, a := range map[string]*bearer.Authenticator{"bearer": plain, "both": both} {
		for _, authorization := range []string{"", "Bearer x", "Bearer a b", "DPoP x", "Basic YTpi"} {
			r := httptest.NewRequest("GET", testAudience+"/items", nil)
			if authorization != "" {
				r.Header.Set("Authorization", authorization)
			}
			w := httptest.NewRecorder()
			auth.Require(a)(next).ServeHTTP(w, r)
			lines := w.Header()["Www-Authenticate"]
			if len(lines) == 0 || slices.ContainsFunc(lines, func(l string) bool {
				return !strings.HasSuffix(l, ", "+where) || strings.Count(l, "resource_metadata") != 1
			}) {
				t.Errorf("%s, %q: got %q", name, authorization, lines)
			}
		}
	}
}

func TestResourceMustAgree(t *testing.T) {
	for name, r := range map[string]*bearer.Resource{
		"another issuer":   describe(t, func(c *bearer.ResourceConfig) { c.AuthorizationServers = []string{"https://other.example.com"} }),
		"DPoP is required": describe(t, func(c *bearer.ResourceConfig) { c.DPoPRequired, c.DPoPAlgorithms = true, []string{"ES256"} }),
		"DPoP is taken":    describe(t, func(c *bearer.ResourceConfig) { c.DPoPAlgorithms = []string{"ES256"} }),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := bearer.New(bearer.Config{Issuer: testIssuer, Audience: []string{testAudience}, Keys: static(t, hsKey()), Resource: r})
			if err == nil || !strings.Contains(err.Error(), "Config.Resource") {
				t.Errorf("got %v, want it to name Config.Resource", err)
			}
		})
	}
}
