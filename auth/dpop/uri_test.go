package dpop_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/dpop"
)

// 9: the URI, without query and fragment and however it is spelt, as long as it is the
// same.
func TestRFC9449_4_3_URI(t *testing.T) {
	for _, tt := range []struct {
		name, htu, path string
		origins         []string
		ok              bool
	}{
		{"same", origin + "/items", "/items", nil, true},
		{"query of the request", origin + "/items", "/items?a=b", nil, true},
		{"query of the proof", origin + "/items?a=b", "/items", nil, true},
		{"fragment of the proof", origin + "/items#x", "/items", nil, true},
		{"case of the scheme and host", "HTTPS://API.Example.com/items", "/items", nil, true},
		{"default port", "https://api.example.com:443/items", "/items", nil, true},
		{"empty port", "https://api.example.com:/items", "/items", nil, true},
		{"no path", origin, "/", nil, true},
		{"encoded, but needs not be", origin + "/%69tems/%7e", "/items/~", nil, true},
		{"digits in another case", origin + "/a%c3%a4", "/a%C3%A4", nil, true},
		{"an encoded slash", origin + "/a%2Fb", "/a%2fb", nil, true},
		{"another path", origin + "/item", "/items", nil, false},
		{"a longer path", origin + "/items/1", "/items", nil, false},
		{"a slash at the end", origin + "/items/", "/items", nil, false},
		{"two slashes", origin + "//items", "/items", nil, false},
		{"case of the path", origin + "/Items", "/items", nil, false},
		{"an encoded slash is none", origin + "/a%2fb", "/a/b", nil, false},
		{"dots", origin + "/x/../items", "/items", nil, false},
		{"encoded dots", origin + "/x/%2e%2e/items", "/x/%2e%2e/items", nil, false},
		{"another host", "https://evil.example.com/items", "/items", nil, false},
		{"another port", "https://api.example.com:8443/items", "/items", nil, false},
		{"plain http", "http://api.example.com/items", "/items", nil, false},
		{"a user", "https://api.example.com@evil.example.com/items", "/items", nil, false},
		{"a user of the host", "https://a@api.example.com/items", "/items", nil, false},
		{"a backslash", `https://api.example.com\@evil.example.com/items`, "/items", nil, false},
		{"relative", "/items", "/items", nil, false},
		{"no host", "https:///items", "/items", nil, false},
		{"half an escape", origin + "/items%2", "/items", nil, false},
		{"no escape", origin + "/items%zz", "/items", nil, false},
		{"long", origin + "/" + strings.Repeat("a", 3000), "/" + strings.Repeat("a", 3000), nil, false},
		{"a base path", origin + "/v1/items", "/items", []string{origin + "/v1"}, true},
		{"a base path, left out", origin + "/items", "/items", []string{origin + "/v1"}, false},
		{"a base path and a slash", origin + "/v1/", "/", []string{origin + "/v1"}, true},
		{"a base path alone", origin + "/v1", "/", []string{origin + "/v1/"}, true},
		{"half a base path", origin + "/v", "/", []string{origin + "/v1"}, false},
		{"the end of a base path", origin + "/v1items", "/items", []string{origin + "/v1"}, false},
		{"one base path of two", origin + "/v1/items", "/items", []string{origin + "/v1", origin + "/v10"}, true},
		{"two ports", origin + ":443:443/items", "/items", nil, false},
		{"a port and a colon", origin + "::443/items", "/items", nil, false},
		{"the default port of plain http", origin + ":80/items", "/items", nil, false},
		{"a dot at the end of the host", "https://api.example.com./items", "/items", nil, false},
		{"an encoded host", "https://%61pi.example.com/items", "/items", nil, false},
		{"a host with a control character", "https://api.example.com\x00/items", "/items", nil, false},
		{"not encoded by the client", origin + "/a|b^ä c", "/a%7Cb%5E%C3%A4%20c", nil, true},
		{"a control character", origin + "/a\tb", "/a%09b", nil, false},
		{"an encoded control character", origin + "/a%09b", "/a%09b", nil, true},
		{"a semicolon is not an encoded one", origin + "/a%3Bb", "/a;b", nil, false},
		{"an encoded question mark", origin + "/a%3Fb", "/a%3fb", nil, true},
		{"an encoded question mark is none", origin + "/a%3Fb", "/a?b", nil, false},
		{"encoded twice", origin + "/%2569tems", "/items", nil, false},
		{"one dot", origin + "/./items", "/items", nil, false},
		{"dots that are a name", origin + "/...", "/...", nil, true},
		{"the second origin", "https://two.example.com/items", "/items", []string{origin, "https://two.example.com"}, true},
		{"an origin with a slash", origin + "/items", "/items", []string{origin + "/"}, true},
		{"a port of its own", "https://api.example.com:8443/items", "/items", []string{"https://api.example.com:8443"}, true},
		{"loopback", "http://127.0.0.1:8080/items", "/items", []string{"http://127.0.0.1:8080"}, true},
		{"IPv6", "http://[::1]:8080/items", "/items", []string{"http://[::1]:8080"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := newVerifier(t, func(c *dpop.Config) {
				if tt.origins != nil {
					c.Origins = tt.origins
				}
			})
			_, err := v.Verify(request("POST", tt.path, sign(t, key(), "", goodClaims().with("htu", tt.htu))), "")
			if (err == nil) != tt.ok || err != nil && !errors.Is(err, auth.ErrInvalid) {
				t.Errorf("got %v, want ok = %v", err, tt.ok)
			}
		})
	}
}

// Neither Host nor what a proxy may have set makes the URI: whoever got a proof by
// mistake could use it here (Zitadel CVE-2025-64101).
func TestCVE_2025_64101_HostSaysNothing(t *testing.T) {
	r := request("POST", "/items", sign(t, key(), "", goodClaims().with("htu", "https://evil.example.com/items")))
	r.Host = "evil.example.com"
	for _, name := range []string{"X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "X-Original-Host"} {
		r.Header.Set(name, "evil.example.com")
	}
	if _, err := newVerifier(t).Verify(r, ""); !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("got %v: Host chooses what a proof is for", err)
	}
	r = request("POST", "/items", sign(t, key(), "", goodClaims()))
	r.Host = "10.0.0.7:8080" // what a proxy says to the service behind it
	if _, err := newVerifier(t).Verify(r, ""); err != nil {
		t.Errorf("got %v behind a proxy", err)
	}
}

// What a client of Go sends is what its Prover says, whatever is in the path.
func TestRFC9449_4_3_URIOverTheWire(t *testing.T) {
	var v *dpop.Verifier
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := v.Verify(r, "token"); err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
		}
	}))
	defer s.Close()
	v = newVerifier(t, func(c *dpop.Config) { c.Origins = []string{s.URL} })
	p, err := dpop.NewProver(key())
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", "/", "/items", "/items?a=b", "/a%2Fb", "/a%2fb/%7e", "/ä/%C3%A4", "/a b", "/a;b=c,d", "/a|b^`{}", "/a(b)*!'$&+=:@", "/a%3Fb", "//a//b/", "/%25"} {
		r, err := http.NewRequest(http.MethodGet, s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, uri := range []string{r.URL.String(), s.URL + path} { // spelt by net/url, and as it was written
			proof, err := p.Proof(r.Method, uri, "token", "")
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("DPoP", proof)
			resp, err := s.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Errorf("%s, as %s: got %d", path, uri, resp.StatusCode)
			}
		}
	}
}
