package oauth_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/auth/oauth"
	"github.com/sallyport/sallyport/auth/password"
	"github.com/sallyport/sallyport/ratelimit"
)

func goodConfig(t testing.TB) oauth.Config {
	t.Helper()
	key, err := jwk.Generate("EdDSA")
	if err != nil {
		t.Fatal(err)
	}
	ring, err := jwk.NewRing(jwk.RingConfig{Active: key})
	if err != nil {
		t.Fatal(err)
	}
	hasher, err := password.New(password.Config{})
	if err != nil {
		t.Fatal(err)
	}
	users, err := auth.NewMemoryUsers()
	if err != nil {
		t.Fatal(err)
	}
	return oauth.Config{
		Issuer: issuer, Audience: audience, Keys: ring, Users: users, Passwords: hasher,
		Clients: memoryClients(t,
			oauth.Client{ID: "app", Public: true, Grants: []oauth.Grant{oauth.Password}},
			oauth.Client{ID: "service", SecretHash: "sha256:" + strings.Repeat("a1", 32)}),
		Grants: []oauth.Grant{oauth.Password, oauth.ClientCredentials},
	}
}

func TestNewServerRefusesWhatCantWork(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*oauth.Config)
		field  string // named by the error; "" means there is none
	}{
		{"good", func(*oauth.Config) {}, ""},
		{"issuer missing", func(c *oauth.Config) { c.Issuer = "" }, "Config.Issuer"},
		{"issuer http", func(c *oauth.Config) { c.Issuer = "http://api.example.com" }, "Config.Issuer"},
		{"issuer http by name", func(c *oauth.Config) { c.Issuer, c.AllowInsecureIssuer = "http://api.example.com", true }, ""},
		{"issuer http on 127.0.0.1", func(c *oauth.Config) { c.Issuer = "http://127.0.0.1:8080" }, ""},
		{"issuer http on ::1", func(c *oauth.Config) { c.Issuer = "http://[::1]:8080" }, ""},
		{"issuer http on localhost", func(c *oauth.Config) { c.Issuer = "http://localhost:8080" }, ""},
		{"issuer http on a name that begins so", func(c *oauth.Config) { c.Issuer = "http://localhost.example.com" }, "Config.Issuer"},
		{"issuer http on a name like an address", func(c *oauth.Config) { c.Issuer = "http://127.0.0.1.example.com" }, "Config.Issuer"},
		{"issuer ftp", func(c *oauth.Config) { c.Issuer, c.AllowInsecureIssuer = "ftp://api.example.com", true }, "Config.Issuer"},
		{"issuer without scheme", func(c *oauth.Config) { c.Issuer = "api.example.com" }, "Config.Issuer"},
		{"issuer without host", func(c *oauth.Config) { c.Issuer = "https:///a" }, "Config.Issuer"},
		{"issuer with only a port", func(c *oauth.Config) { c.Issuer = "https://:443" }, "Config.Issuer"},
		{"issuer with path", func(c *oauth.Config) { c.Issuer = "https://example.com/tenant/1" }, ""},
		{"issuer with query", func(c *oauth.Config) { c.Issuer = "https://example.com?a=b" }, "Config.Issuer"},
		{"issuer with empty query", func(c *oauth.Config) { c.Issuer = "https://example.com?" }, "Config.Issuer"},
		{"issuer with fragment", func(c *oauth.Config) { c.Issuer = "https://example.com#a" }, "Config.Issuer"},
		{"issuer with user", func(c *oauth.Config) { c.Issuer = "https://ada@example.com" }, "Config.Issuer"},
		{"issuer with space", func(c *oauth.Config) { c.Issuer = "https://example.com/a b" }, "Config.Issuer"},
		{"issuer not ASCII", func(c *oauth.Config) { c.Issuer = "https://exämple.com" }, "Config.Issuer"},
		{"issuer not a URL", func(c *oauth.Config) { c.Issuer = "https://[::1" }, "Config.Issuer"},
		{"audience missing", func(c *oauth.Config) { c.Audience = "" }, "Config.Audience"},
		{"audience with control character", func(c *oauth.Config) { c.Audience = "a\nb" }, "Config.Audience"},
		{"audience not UTF-8", func(c *oauth.Config) { c.Audience = "a\xff" }, "Config.Audience"},
		{"keys missing", func(c *oauth.Config) { c.Keys = nil }, "Config.Keys"},
		{"lifetime 24 hours", func(c *oauth.Config) { c.TokenLifetime = 24 * time.Hour }, ""},
		{"lifetime longer", func(c *oauth.Config) { c.TokenLifetime = 24*time.Hour + time.Second }, "Config.TokenLifetime"},
		{"lifetime too short", func(c *oauth.Config) { c.TokenLifetime = time.Millisecond }, "Config.TokenLifetime"},
		{"lifetime negative", func(c *oauth.Config) { c.TokenLifetime = -time.Hour }, "Config.TokenLifetime"},
		{"lifetime with a fraction", func(c *oauth.Config) { c.TokenLifetime = 1500 * time.Millisecond }, "Config.TokenLifetime"},
		{"realm with line break", func(c *oauth.Config) { c.Realm = "a\r\nX: b" }, "Config.Realm"},
		{"realm not ASCII", func(c *oauth.Config) { c.Realm = "schön" }, "Config.Realm"},
		{"realm with quotes", func(c *oauth.Config) { c.Realm = `a "b" \c` }, ""},
		{"grants missing", func(c *oauth.Config) { c.Grants = nil }, "Config.Grants"},
		{"grant unknown", func(c *oauth.Config) { c.Grants = []oauth.Grant{"implicit"} }, "Config.Grants"},
		{"grant empty", func(c *oauth.Config) { c.Grants = []oauth.Grant{""} }, "Config.Grants"},
		{"users missing", func(c *oauth.Config) { c.Users = nil }, "Config.Users"},
		{"a lockout that could not be made", func(c *oauth.Config) { c.Lockout = (*ratelimit.Lockout)(nil) }, "Config.Lockout"},
		{"passwords missing", func(c *oauth.Config) { c.Passwords = nil }, "Config.Passwords"},
		{"neither, nor the grant", func(c *oauth.Config) {
			c.Users, c.Passwords, c.Grants = nil, nil, []oauth.Grant{oauth.ClientCredentials}
		}, ""},
		{"clients missing", func(c *oauth.Config) { c.Clients = nil }, "Config.Clients"},
		{"clients that could not be made", func(c *oauth.Config) { c.Clients = (*oauth.MemoryClients)(nil) }, "Config.Clients"},
		{"clients missing, Password alone", func(c *oauth.Config) { c.Clients, c.Grants = nil, []oauth.Grant{oauth.Password} }, ""},
		{"default client", func(c *oauth.Config) { c.DefaultClient = "app" }, ""},
		{"default client unknown", func(c *oauth.Config) { c.DefaultClient = "nobody" }, "Config.DefaultClient"},
		{"default client confidential", func(c *oauth.Config) { c.DefaultClient = "service" }, "Config.DefaultClient"},
		{"default client no id", func(c *oauth.Config) { c.DefaultClient = "a\x00" }, "Config.DefaultClient"},
		{"own client no id", func(c *oauth.Config) {
			c.Clients, c.Grants, c.DefaultClient = nil, []oauth.Grant{oauth.Password}, strings.Repeat("a", 249)
		}, "Config.DefaultClient"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := goodConfig(t)
			tt.change(&cfg)
			s, err := oauth.NewServer(cfg)
			switch {
			case tt.field == "" && (err != nil || s == nil):
				t.Errorf("got %v, %v, want a Server", s, err)
			case tt.field != "" && (err == nil || s != nil):
				t.Errorf("got %v, %v, want an error that names %s", s, err, tt.field)
			case tt.field != "" && !strings.HasPrefix(err.Error(), "oauth: "+tt.field):
				t.Errorf("got %q, want an error that names %s", err, tt.field)
			}
		})
	}
}

func TestNewServerCopiesGrants(t *testing.T) {
	grants := []oauth.Grant{oauth.ClientCredentials}
	e := newEndpoint(t, func(c *oauth.Config) { c.Grants = grants })
	grants[0] = oauth.Password
	wantError(t, e.login("ada", adaPassword), 400, "unsupported_grant_type")
	wantToken(t, e.service("grant_type=client_credentials"))
}

// A store that may be a database is not asked at construction, so a default
// client that can't be one shows at the first request.
func TestDefaultClientIsCheckedPerRequest(t *testing.T) {
	e := newEndpoint(t, func(c *oauth.Config) { c.DefaultClient = "service" })
	wantError(t, e.post("grant_type=client_credentials"), 401, "invalid_client")
	if got := e.events.take()[0].Reason; got != "the default client is not public" {
		t.Errorf("got reason %q, want that the default client is not public", got)
	}
	wantError(t, e.post("grant_type=client_credentials&client_id=service"), 401, "invalid_client")
	wantToken(t, e.service("grant_type=client_credentials"))

	e = newEndpoint(t, func(c *oauth.Config) { c.DefaultClient = "gone" })
	wantError(t, e.post(passwordForm("ada", adaPassword)), 401, "invalid_client")
}

// Without Clients there is one, the first-party client.
func TestOwnClient(t *testing.T) {
	for _, tt := range []struct{ name, configured, id string }{
		{"default name", "", "first-party"},
		{"own name", "web", "web"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEndpoint(t, func(c *oauth.Config) {
				c.Clients, c.DefaultClient, c.Grants = nil, tt.configured, []oauth.Grant{oauth.Password}
			})
			tok := e.token(t, e.post(passwordForm("ada", adaPassword)))
			if got := tok.claims["client_id"]; got != tt.id {
				t.Errorf("got client_id %v, want %s", got, tt.id)
			}
			if got := tok.claims["scope"]; got != "items:read items:write ada:only" {
				t.Errorf("got scope %v, want all of ada's", got)
			}
			wantToken(t, e.post(passwordForm("ada", adaPassword, "client_id="+tt.id)))
			wantError(t, e.post(passwordForm("ada", adaPassword, "scope=jobs:run")), 400, "invalid_scope")
			wantError(t, e.post(passwordForm("ada", adaPassword, "client_id=app")), 401, "invalid_client")
			wantError(t, e.post(passwordForm("ada", adaPassword, "client_id="+tt.id+"&client_secret=x")), 401, "invalid_client")
			wantError(t, e.post("grant_type=client_credentials"), 400, "unsupported_grant_type")
		})
	}
}

func TestMemoryClientsHonoursContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := memoryClients(t, oauth.Client{ID: "a", Public: true}).Client(ctx, "a"); err == nil {
		t.Error("got no error from a context that has ended")
	}
}
