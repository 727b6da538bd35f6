package bearer_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/auth/bearer"
)

// Access tokens as issuers in use make them: what differs is where they say it.
func TestClaimsOfRealIssuers(t *testing.T) {
	for _, tt := range []struct {
		name          string
		header        string
		change        func(*bearer.Config)
		claims        []any
		client        string
		scopes, roles []string
	}{
		{
			"RFC 9068", `{"alg":"HS256","typ":"at+jwt"}`, func(*bearer.Config) {},
			[]any{"roles", []string{"editor"}},
			"app",
			[]string{"items:read", "items:write"},
			[]string{"editor"},
		},
		{
			"Auth0", `{"alg":"HS256","typ":"JWT"}`, func(c *bearer.Config) {
				c.Types, c.ClientClaim, c.RolesClaim = []string{"JWT"}, "azp", "permissions"
			},
			[]any{"client_id", nil, "azp", "spa", "permissions", []string{"read:items"}, "aud", []string{testAudience, "https://tenant.auth0.example/userinfo"}},
			"spa",
			[]string{"items:read", "items:write"},
			[]string{"read:items"},
		},
		{
			"Keycloak", `{"alg":"HS256","typ":"JWT"}`, func(c *bearer.Config) {
				c.Types, c.ClientClaim, c.RolesClaim = []string{"JWT"}, "azp", "/realm_access/roles"
			},
			[]any{
				"client_id", nil, "azp", "web", "sid", "2f6e", "acr", "1", "typ", "Bearer",
				"realm_access",
				map[string]any{"roles": []string{"editor", "viewer"}, "verify_caller": true},
				"resource_access",
				map[string]any{"account": map[string]any{"roles": []string{"manage-account"}}},
			},
			"web",
			[]string{"items:read", "items:write"},
			[]string{"editor", "viewer"},
		},
		{
			"Keycloak, roles of a client", `{"alg":"HS256","typ":"JWT"}`, func(c *bearer.Config) {
				c.Types, c.RolesClaim = []string{"JWT"}, "/resource_access/my~1api/roles"
			},
			[]any{"resource_access", map[string]any{"other": map[string]any{"roles": []string{"admin"}}, "my/api": map[string]any{"roles": []string{"viewer"}}}},
			"app",
			[]string{"items:read", "items:write"},
			[]string{"viewer"},
		},
		{
			"Entra", `{"alg":"HS256","typ":"JWT"}`, func(c *bearer.Config) {
				c.Types, c.ClientClaim, c.ScopeClaim = []string{"JWT"}, "azp", "scp"
			},
			[]any{"client_id", nil, "azp", "11-22", "scope", nil, "scp", "items.read items.write", "roles", []string{"Editor"}, "jti", nil},
			"11-22",
			[]string{"items.read", "items.write"},
			[]string{"Editor"},
		},
		{
			"Okta", `{"alg":"HS256"}`, func(c *bearer.Config) {
				c.Types, c.ClientClaim, c.ScopeClaim, c.RolesClaim = []string{""}, "cid", "scp", "groups"
			},
			[]any{"client_id", nil, "cid", "0oa", "scope", nil, "scp", []string{"items.read", "items.write"}, "groups", []string{"Everyone"}},
			"0oa",
			[]string{"items.read", "items.write"},
			[]string{"Everyone"},
		},
		{
			"zitadel: no scope", `{"alg":"HS256","typ":"JWT"}`, func(c *bearer.Config) { c.Types = []string{"JWT"} },
			[]any{"scope", nil, "nbf", 1},
			"app",
			nil,
			nil,
		},
		{
			"the objects on the way are not there", `{"alg":"HS256","typ":"at+jwt"}`, func(c *bearer.Config) { c.RolesClaim, c.ScopeClaim = "/a/b/c", "/x/y" },
			[]any{"a", map[string]any{"b": map[string]any{}}},
			"app",
			nil,
			nil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newAuthenticator(t, tt.change)
			token := mintText(t, hsKey(), tt.header, goodClaims().with(tt.claims...).String())
			for range 2 { // the second time from memory
				id := accept(t, a, token)
				if id.ClientID != tt.client || !slices.Equal(id.Scopes, tt.scopes) || !slices.Equal(id.Roles, tt.roles) {
					t.Errorf("got client %q, scopes %q, roles %q", id.ClientID, id.Scopes, id.Roles)
				}
			}
		})
	}
}

func TestNestedClaimsOfTheWrongType(t *testing.T) {
	a := newAuthenticator(t, func(c *bearer.Config) { c.RolesClaim, c.ScopeClaim = "/access/roles", "/access2/scope" })
	for name, c := range map[string]claims{
		"an array on the way":  goodClaims().with("access", []string{"roles"}),
		"a string on the way":  goodClaims().with("access", "roles"),
		"null on the way":      goodClaims().with("access", null),
		"roles of a number":    goodClaims().with("access", map[string]any{"roles": 1}),
		"an empty role":        goodClaims().with("access", map[string]any{"roles": []string{""}}),
		"a role that is none":  goodClaims().with("access", map[string]any{"roles": []any{"a", map[string]any{}}}),
		"a scope of two lines": goodClaims().with("access2", map[string]any{"scope": "a\nb"}),
	} {
		t.Run(name, func(t *testing.T) { refuse(t, a, mint(t, hsKey(), c), "wrong type") })
	}
	refuse(t, a, mintText(t, hsKey(), header(hsKey()), strings.Replace(goodClaims().String(), "{", `{"access":{"roles":["a"],"roles":["admin"]},`, 1)), "JSON")
}

func TestClaimNameErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*bearer.Config)
		field  string
	}{
		"a pointer to nothing":     {func(c *bearer.Config) { c.RolesClaim = "/" }, "RolesClaim"},
		"an empty name on the way": {func(c *bearer.Config) { c.RolesClaim = "/a//b" }, "RolesClaim"},
		"a bad escape":             {func(c *bearer.Config) { c.RolesClaim = "/a~2b" }, "RolesClaim"},
		"half an escape":           {func(c *bearer.Config) { c.ScopeClaim = "/a~" }, "ScopeClaim"},
		"inside of a claim":        {func(c *bearer.Config) { c.RolesClaim = "/cnf/roles" }, "RolesClaim"},
		"inside of the scope":      {func(c *bearer.Config) { c.RolesClaim = "/scope/roles" }, "RolesClaim"},
		"one for two":              {func(c *bearer.Config) { c.RolesClaim, c.ScopeClaim = "/x/a", "/X/b" }, "RolesClaim"},
		"the client's":             {func(c *bearer.Config) { c.ScopeClaim, c.ClientClaim = "azp", "azp" }, "ScopeClaim"},
		"client from sub":          {func(c *bearer.Config) { c.ClientClaim = "sub" }, "ClientClaim"},
		"client from SID":          {func(c *bearer.Config) { c.ClientClaim = "SID" }, "ClientClaim"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := bearer.Config{Issuer: testIssuer, Audience: []string{testAudience}, Keys: static(t, hsKey())}
			tt.change(&cfg)
			if _, err := bearer.New(cfg); err == nil || !strings.Contains(err.Error(), tt.field) {
				t.Errorf("got %v, want it to name %s", err, tt.field)
			}
		})
	}
}
