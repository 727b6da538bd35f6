package jwk_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/internal/eventlog"
)

const issuerURL = "https://id.example"

// A site answers by URL.
type site map[string]func(*http.Request) (*http.Response, error)

func (s site) reply(r *http.Request) (*http.Response, error) {
	if reply, ok := s[r.URL.String()]; ok {
		return reply(r)
	}
	return document(404, "application/json", "{}")(r)
}

// metadata is an issuer's document, changed as given.
func metadata(change ...any) doc {
	return doc{
		"issuer": issuerURL, "jwks_uri": issuerURL + "/jwks", "response_types_supported": []string{"code"},
		"id_token_signing_alg_values_supported": []string{"RS256"}, "claims_parameter_supported": true,
		"mtls_endpoint_aliases": map[string]string{"token_endpoint": "https://mtls.id.example/token"},
	}.with(change...)
}

func found200(body []byte) func(*http.Request) (*http.Response, error) {
	return document(200, "application/json", string(body))
}

// discover returns a set of what the issuer at the site publishes.
func discover(t testing.TB, s site, change ...func(*jwk.DiscoverConfig)) (*jwk.RemoteSet, *issuer, *eventlog.Recorder) {
	t.Helper()
	i := &issuer{reply: s.reply}
	events := new(eventlog.Recorder)
	cfg := jwk.DiscoverConfig{Issuer: issuerURL, Remote: jwk.RemoteConfig{HTTPClient: &http.Client{Transport: i}, Audit: events}}
	for _, f := range change {
		f(&cfg)
	}
	r, err := jwk.Discover(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r, i, events
}

func TestDiscoverConfigIsChecked(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  jwk.DiscoverConfig
		want string // "" is good
	}{
		{"good", jwk.DiscoverConfig{Issuer: "https://id.example/tenant/"}, ""},
		{"everything", jwk.DiscoverConfig{Issuer: "https://id.example", WellKnown: "oauth-authorization-server", KeyHosts: []string{"keys.example", "[2001:db8::1]:8443"}}, ""},
		{"the other name", jwk.DiscoverConfig{Issuer: "https://id.example", WellKnown: jwk.OpenIDConfiguration}, ""},
		{"loopback", jwk.DiscoverConfig{Issuer: "http://localhost:5556/dex"}, ""},
		{"http by name", jwk.DiscoverConfig{Issuer: "http://id.example", Remote: jwk.RemoteConfig{AllowInsecureHTTP: true}}, ""},
		{"no issuer", jwk.DiscoverConfig{}, "DiscoverConfig.Issuer"},
		{"no URL", jwk.DiscoverConfig{Issuer: "id.example"}, "DiscoverConfig.Issuer"},
		{"http", jwk.DiscoverConfig{Issuer: "http://id.example"}, "DiscoverConfig.Issuer"},
		{"query", jwk.DiscoverConfig{Issuer: "https://id.example/?a"}, "DiscoverConfig.Issuer"},
		{"empty query", jwk.DiscoverConfig{Issuer: "https://id.example/?"}, "DiscoverConfig.Issuer"},
		{"fragment", jwk.DiscoverConfig{Issuer: "https://id.example/#a"}, "DiscoverConfig.Issuer"},
		{"user", jwk.DiscoverConfig{Issuer: "https://a@id.example/"}, "DiscoverConfig.Issuer"},
		{"another well-known name", jwk.DiscoverConfig{Issuer: "https://id.example", WellKnown: "../keys"}, "DiscoverConfig.WellKnown"},
		{"no hosts", jwk.DiscoverConfig{Issuer: "https://id.example", KeyHosts: []string{}}, "DiscoverConfig.KeyHosts"},
		{"an empty host", jwk.DiscoverConfig{Issuer: "https://id.example", KeyHosts: []string{"a", ""}}, "DiscoverConfig.KeyHosts"},
		{"a URL for a host", jwk.DiscoverConfig{Issuer: "https://id.example", KeyHosts: []string{"https://keys.example"}}, "DiscoverConfig.KeyHosts"},
		{"a path for a host", jwk.DiscoverConfig{Issuer: "https://id.example", KeyHosts: []string{"keys.example/"}}, "DiscoverConfig.KeyHosts"},
		{"a URL of keys", jwk.DiscoverConfig{Issuer: "https://id.example", Remote: jwk.RemoteConfig{URL: keysURL}}, "DiscoverConfig.Remote.URL"},
		{"a time", jwk.DiscoverConfig{Issuer: "https://id.example", Remote: jwk.RemoteConfig{Timeout: -1}}, "DiscoverConfig.Remote.Timeout"},
		{"an algorithm", jwk.DiscoverConfig{Issuer: "https://id.example", Remote: jwk.RemoteConfig{Algorithms: []string{"none"}}}, "DiscoverConfig.Remote.Algorithms"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := jwk.Discover(tt.cfg)
			if tt.want == "" && err != nil {
				t.Fatalf("got %v, want no error", err)
			}
			if tt.want != "" && (r != nil || err == nil || !strings.HasPrefix(err.Error(), "jwk: "+tt.want)) {
				t.Errorf("got %v, want an error of %s", err, tt.want)
			}
		})
	}
}

func TestRFC8414_3_1_MetadataURL(t *testing.T) {
	for _, tt := range []struct{ issuer, openID, oauth string }{
		{"https://id.example", "https://id.example/.well-known/openid-configuration", "https://id.example/.well-known/oauth-authorization-server"},
		{"https://id.example/", "https://id.example/.well-known/openid-configuration", "https://id.example/.well-known/oauth-authorization-server"},
		{"https://id.example:8443", "https://id.example:8443/.well-known/openid-configuration", "https://id.example:8443/.well-known/oauth-authorization-server"},
		{"https://id.example/issuer1", "https://id.example/issuer1/.well-known/openid-configuration", "https://id.example/.well-known/oauth-authorization-server/issuer1"},
		{"https://id.example/a/b/", "https://id.example/a/b/.well-known/openid-configuration", "https://id.example/.well-known/oauth-authorization-server/a/b"},
		{"https://[2001:db8::1]/a", "https://[2001:db8::1]/a/.well-known/openid-configuration", "https://[2001:db8::1]/.well-known/oauth-authorization-server/a"},
		{"https://id.example/a%2Fb", "https://id.example/a%2Fb/.well-known/openid-configuration", "https://id.example/.well-known/oauth-authorization-server/a%2Fb"},
	} {
		for wellKnown, want := range map[string]string{"": tt.openID, jwk.OpenIDConfiguration: tt.openID, jwk.OAuthAuthorizationServer: tt.oauth} {
			a := ecKey(t, "a")
			r, i, _ := discover(t, site{
				want:                         found200(metadata("issuer", tt.issuer, "jwks_uri", "https://keys.example/k?v=1").json(t)),
				"https://keys.example/k?v=1": found200(setOf(t, a)),
			}, func(c *jwk.DiscoverConfig) { c.Issuer, c.WellKnown = tt.issuer, wellKnown })
			if n := i.hits(); n != 0 {
				t.Errorf("Discover asked %d times", n)
			}
			has(t, r, a)
			if want := []string{want, "https://keys.example/k?v=1"}; !slices.Equal(i.asked, want) {
				t.Errorf("%s, %s: asked %q, want %q", tt.issuer, wellKnown, i.asked, want)
			}
		}
	}
}

// Metadata that is not this issuer's, or can't be used, is as good as none, and the
// keys it points at are not asked for.
func TestDiscoveryRefuses(t *testing.T) {
	const where = issuerURL + "/.well-known/openid-configuration"
	good := string(metadata().json(t))
	for _, tt := range []struct {
		name  string
		reply func(*http.Request) (*http.Response, error)
		want  string
	}{
		{"ASVS 10.5.3: a slash at the end", found200(metadata("issuer", issuerURL+"/").json(t)), "another issuer"},
		{"ASVS 10.5.3: another host", found200(metadata("issuer", "https://evil.example").json(t)), "another issuer"},
		{"another case", found200(metadata("issuer", "https://ID.example").json(t)), "another issuer"},
		{"another scheme", found200(metadata("issuer", "http://id.example").json(t)), "another issuer"},
		{"a default port", found200(metadata("issuer", "https://id.example:443").json(t)), "another issuer"},
		{"a template", found200(metadata("issuer", "https://id.example/{tenantid}").json(t)), "another issuer"},
		{"no issuer", found200(metadata("issuer", nil).json(t)), ""},
		{"a list of issuers", found200(metadata("issuer", []string{issuerURL}).json(t)), ""},
		{"two issuers", document(200, "application/json", strings.Replace(good, "{", `{"issuer":"https://evil.example",`, 1)), ""},
		{"two issuers by case", document(200, "application/json", strings.Replace(good, "{", `{"Issuer":"https://evil.example",`, 1)), ""},
		{"issuer in another case", document(200, "application/json", strings.Replace(good, `"issuer"`, `"Issuer"`, 1)), "another issuer"},
		{"no jwks_uri", document(200, "application/json", `{"issuer":"`+issuerURL+`"}`), "jwks_uri is empty"},
		{"jwks_uri null", found200(metadata("jwks_uri", nil).json(t)), ""},
		{"jwks_uri a number", found200(metadata("jwks_uri", 7).json(t)), ""},
		{"http", found200(metadata("jwks_uri", "http://id.example/jwks").json(t)), "https"},
		{"http to this host", found200(metadata("jwks_uri", "http://127.0.0.1:9200/jwks").json(t)), "https"},
		{"http to localhost", found200(metadata("jwks_uri", "http://localhost/jwks").json(t)), "https"},
		{"https to this host", found200(metadata("jwks_uri", "https://127.0.0.1:9200/jwks").json(t)), "inside"},
		{"https to this host, by IPv6", found200(metadata("jwks_uri", "https://[::1]/jwks").json(t)), "inside"},
		{"https to this host, mapped", found200(metadata("jwks_uri", "https://[::ffff:127.0.0.1]/jwks").json(t)), "inside"},
		{"https to this host, short", found200(metadata("jwks_uri", "https://127.1/jwks").json(t)), "inside"},
		{"https to localhost", found200(metadata("jwks_uri", "https://LocalHost:8443/jwks").json(t)), "inside"},
		{"https below localhost", found200(metadata("jwks_uri", "https://a.localhost/jwks").json(t)), "inside"},
		{"https to a private address", found200(metadata("jwks_uri", "https://10.0.0.1/jwks").json(t)), "inside"},
		{"https to the cloud's metadata", found200(metadata("jwks_uri", "https://169.254.169.254/latest").json(t)), "inside"},
		{"a file", found200(metadata("jwks_uri", "file:///etc/passwd").json(t)), "https"},
		{"data", found200(metadata("jwks_uri", "data:application/json,{}").json(t)), "absolute URL"},
		{"relative", found200(metadata("jwks_uri", "/jwks").json(t)), "absolute URL"},
		{"a user", found200(metadata("jwks_uri", "https://a:b@id.example/jwks").json(t)), "user"},
		{"a line break", found200(metadata("jwks_uri", "https://id.example/\r\nX: y").json(t)), "absolute URL"},
		{"redirect", document(302, "application/json", good, "Location", "https://evil.example"), "redirect"},
		{"HTML", document(200, "text/html", good), "media type"},
		{"500", document(500, "application/json", good), "status 500"},
		{"201", document(201, "application/json", good), "status 201"},
		{"too large", document(200, "application/json", good+strings.Repeat(" ", 1<<20)), "larger"},
		{"truncated", document(200, "application/json", good[:len(good)-1]), ""},
		{"array", document(200, "application/json", "["+good+"]"), ""},
		{"a JWK Set", found200(setOf(t, ecKey(t, "a"))), "another issuer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, i, events := discover(t, site{where: tt.reply})
			undecidable(t, r, "a")
			if want := []string{where}; !slices.Equal(i.asked, want) {
				t.Errorf("asked %q, want %q", i.asked, want)
			}
			_ = r.Close() // which waits for the events
			got := events.All()
			if len(got) != 1 || got[0].Name != audit.SysMonitorDisabled || got[0].Issuer != issuerURL || !strings.Contains(got[0].Reason, tt.want) || !strings.Contains(got[0].Reason, "metadata") {
				t.Errorf("got %+v, want it to say %q", got, tt.want)
			}
		})
	}
}

// Where the keys may be can be narrowed to hosts.
func TestASVS_1_3_6_KeyHosts(t *testing.T) {
	for _, tt := range []struct {
		name, jwksURI string
		hosts         []string
		want          bool
	}{
		{"any", "https://www.keys.example/v3/certs", nil, true},
		{"named", "https://keys.example/a", []string{"id.example", "keys.example"}, true},
		{"in another case", "https://KEYS.example/a", []string{"Keys.example"}, true},
		{"with its port", "https://keys.example:8443/a", []string{"keys.example:8443"}, true},
		{"another port", "https://keys.example:8443/a", []string{"keys.example"}, false},
		{"below it", "https://a.keys.example/a", []string{"keys.example"}, false},
		{"beside it", "https://keys.example.evil.example/a", []string{"keys.example"}, false},
		{"the issuer's own is not implied", "https://id.example/a", []string{"keys.example"}, false},
		{"any, a public address", "https://8.8.8.8/a", nil, true},
		{"any, a private address", "https://10.0.0.1/a", nil, false},
		{"a private address that is named", "https://10.0.0.1:8443/a", []string{"10.0.0.1:8443"}, true},
		{"this host, named", "https://localhost/a", []string{"localhost"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := ecKey(t, "a")
			r, _, _ := discover(t, site{
				issuerURL + "/.well-known/openid-configuration": found200(metadata("jwks_uri", tt.jwksURI).json(t)),
				tt.jwksURI: found200(setOf(t, a)),
			}, func(c *jwk.DiscoverConfig) { c.KeyHosts = tt.hosts })
			if err := r.Refresh(t.Context()); (err == nil) != tt.want {
				t.Errorf("got %v, want it taken: %t", err, tt.want)
			}
		})
	}
}

// Plain http goes with an issuer of plain http alone, and what is inside with one that
// is inside.
func TestDiscoveryOverHTTP(t *testing.T) {
	for _, tt := range []struct {
		name, issuer, jwksURI string
		insecure, want        bool
	}{
		{"on this host", "http://127.0.0.1:5556/dex", "http://127.0.0.1:5556/dex/keys", false, true},
		{"from this host to another", "http://127.0.0.1:5556/dex", "http://id.example/keys", false, false},
		{"from this host to https", "http://127.0.0.1:5556/dex", "https://id.example/keys", false, true},
		{"from this host to a private address", "https://localhost:5556/dex", "https://10.0.0.1/keys", false, true},
		{"from a private address to this host", "https://10.0.0.1/dex", "https://127.0.0.1/keys", false, true},
		{"from elsewhere to this host, http allowed", "https://id.example", "http://127.0.0.1/keys", true, false},
		{"allowed by name", "http://id.example", "http://id.example/keys", true, true},
		{"allowed by name, from https", "https://id.example", "http://id.example/keys", true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := ecKey(t, "a")
			r, _, _ := discover(t, site{
				tt.issuer + "/.well-known/openid-configuration": found200(metadata("issuer", tt.issuer, "jwks_uri", tt.jwksURI).json(t)),
				tt.jwksURI: found200(setOf(t, a)),
			}, func(c *jwk.DiscoverConfig) { c.Issuer, c.Remote.AllowInsecureHTTP = tt.issuer, tt.insecure })
			if err := r.Refresh(t.Context()); (err == nil) != tt.want {
				t.Errorf("got %v, want it taken: %t", err, tt.want)
			}
		})
	}
}

// Keys that move are found, and what was at the old place counts no more.
func TestDiscoveryFollowsTheMetadata(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := ecKey(t, "a"), ecKey(t, "b")
		s := site{
			issuerURL + "/.well-known/openid-configuration": found200(metadata().json(t)),
			issuerURL + "/jwks":                             found200(setOf(t, a)),
			issuerURL + "/jwks2":                            found200(setOf(t, b)),
		}
		r, i, events := discover(t, s)
		has(t, r, a)
		moved := site{issuerURL + "/.well-known/openid-configuration": found200(metadata("jwks_uri", issuerURL+"/jwks2").json(t)), issuerURL + "/jwks2": s[issuerURL+"/jwks2"]}
		i.set(moved.reply)
		time.Sleep(15 * time.Minute)
		has(t, r, b)
		unknown(t, r, "a")

		// Metadata that is suddenly another issuer's takes no key away, and brings none.
		evil := site{issuerURL + "/.well-known/openid-configuration": found200(metadata("issuer", "https://evil.example", "jwks_uri", issuerURL+"/jwks").json(t)), issuerURL + "/jwks": s[issuerURL+"/jwks"]}
		i.set(evil.reply)
		time.Sleep(20 * time.Minute)
		has(t, r, b)
		undecidable(t, r, "a")
		synctest.Wait()
		if got := names(events.All()); got != "sys_monitor_disabled WARN" {
			t.Errorf("got %s", got)
		}
	})
}

// Metadata and keys together are one fetch: for a thousand that wait, and for the
// bound of its time.
func TestF3_DiscoveryIsOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := ecKey(t, "a")
		s := site{
			issuerURL + "/.well-known/openid-configuration": after(2*time.Second, found200(metadata().json(t))),
			issuerURL + "/jwks":                             after(2*time.Second, found200(setOf(t, a))),
		}
		r, i, _ := discover(t, s)
		var wg sync.WaitGroup
		for n := range 1000 {
			wg.Go(func() { unknown(t, r, fmt.Sprint("stranger-", n)) })
		}
		wg.Wait()
		if i.hits() != 2 {
			t.Errorf("%d requests, want 2", i.hits())
		}
		slow := site{
			issuerURL + "/.well-known/openid-configuration": after(3*time.Second, found200(metadata().json(t))),
			issuerURL + "/jwks":                             after(3*time.Second, found200(setOf(t, a))),
		}
		r, _, _ = discover(t, slow)
		start := time.Now()
		undecidable(t, r, "a")
		if d := time.Since(start); d != 5*time.Second {
			t.Errorf("it took %v, want 5s", d)
		}
	})
}

// No part of a token ever becomes a URL that is asked.
func TestCVE_2026_32301_NoURLFromAToken(t *testing.T) {
	a := ecKey(t, "a")
	s := site{issuerURL + "/.well-known/openid-configuration": found200(metadata().json(t)), issuerURL + "/jwks": found200(setOf(t, a))}
	synctest.Test(t, func(t *testing.T) {
		r, i, _ := discover(t, s)
		for _, id := range []string{
			"https://evil.example/jwks", "//evil.example", "../../evil", "a?x=y", "a#b", "http://169.254.169.254/", "%2e%2e/a", "a\r\nHost: evil.example", "{tenantid}",
		} {
			for _, alg := range []string{"ES256", id} {
				if _, err := r.Lookup(t.Context(), id, alg); !errors.Is(err, jwk.ErrUnknownKey) {
					t.Errorf("%q: got %v", id, err)
				}
			}
			time.Sleep(time.Minute)
		}
		for _, asked := range i.asked {
			if asked != issuerURL+"/jwks" && asked != issuerURL+"/.well-known/openid-configuration" {
				t.Errorf("it asked %q", asked)
			}
		}
	})
}
