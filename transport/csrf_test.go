package transport_test

import (
	"crypto/tls"
	"net/http/httptest"
	"testing"

	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/transport"
)

// The request is https://api.example.com with the method and fields given;
// https://app.example.com is a trusted origin.
var csrfCases = []struct {
	name     string
	method   string
	site     string // Sec-Fetch-Site
	origin   string
	more     string // another field, "Name: value"
	want     bool   // passes CSRF
	wantSame bool   // passes SameOrigin
}{
	{"same origin", "POST", "same-origin", "https://api.example.com", "", true, true},
	{"typed by the user", "POST", "none", "", "", true, true},
	{"cross site", "POST", "cross-site", "https://evil.example", "", false, false},
	{"same site, another origin", "POST", "same-site", "https://evil.example.com", "", false, false},
	{"cross site without Origin", "POST", "cross-site", "", "", false, false},
	{"cross site, Origin forged as ours", "POST", "cross-site", "https://api.example.com", "", false, false},
	{"a value from the future", "POST", "same-planet", "", "", false, false},
	{"PUT", "PUT", "cross-site", "https://evil.example", "", false, false},
	{"PATCH", "PATCH", "cross-site", "https://evil.example", "", false, false},
	{"DELETE", "DELETE", "cross-site", "https://evil.example", "", false, false},
	{"an unknown method", "MERGE", "cross-site", "https://evil.example", "", false, false},
	{"get in lower case", "get", "cross-site", "https://evil.example", "", false, false},
	{"GET", "GET", "cross-site", "https://evil.example", "", true, false},
	{"HEAD", "HEAD", "cross-site", "", "", true, false},
	{"OPTIONS", "OPTIONS", "cross-site", "https://evil.example", "", true, false},
	{"GET of the same origin", "GET", "same-origin", "", "", true, true},
	{"GET typed by the user", "GET", "none", "", "", true, true},
	{"no browser, POST", "POST", "", "", "", true, true},
	{"no browser, GET", "GET", "", "", "", true, true},

	{"trusted origin", "POST", "cross-site", "https://app.example.com", "", true, true},
	{"trusted origin, old browser", "POST", "", "https://app.example.com", "", true, true},
	{"trusted origin, GET", "GET", "cross-site", "https://app.example.com", "", true, true},
	{"trusted origin as plain http", "POST", "cross-site", "http://app.example.com", "", false, false},
	{"trusted origin on another port", "POST", "cross-site", "https://app.example.com:8443", "", false, false},
	{"trusted origin as a prefix", "POST", "cross-site", "https://app.example.com.evil.example", "", false, false},
	{"trusted origin as a suffix", "POST", "cross-site", "https://evil-app.example.com", "", false, false},
	{"trusted origin with a dot", "POST", "cross-site", "https://app.example.com.", "", false, false},
	{"trusted origin in upper case", "POST", "cross-site", "https://APP.example.com", "", false, false},
	{"trusted origin with a path", "POST", "cross-site", "https://app.example.com/", "", false, false},

	{"old browser, same origin", "POST", "", "https://api.example.com", "", true, true},
	{"old browser, cross origin", "POST", "", "https://evil.example", "", false, false},
	{"old browser, cross origin GET", "GET", "", "https://evil.example", "", true, false},
	{"old browser, null", "POST", "", "null", "", false, false},
	{"old browser, no URL", "POST", "", "::", "", false, false},
	{"old browser, plain http page of our host", "POST", "", "http://api.example.com", "", false, false},
	{"old browser, another scheme", "POST", "", "chrome-extension://api.example.com", "", false, false},
	{"old browser, another port", "POST", "", "https://api.example.com:8443", "", false, false},

	{"WebSocket, same origin", "GET", "", "https://api.example.com", "Upgrade: websocket", true, true},
	{"WebSocket, cross origin", "GET", "", "https://evil.example", "Upgrade: websocket", false, false},
	{"WebSocket, cross site", "GET", "cross-site", "https://evil.example", "Upgrade: websocket", false, false},
	{"WebSocket, trusted origin", "GET", "cross-site", "https://app.example.com", "Upgrade: websocket", true, true},
	{"WebSocket, no browser", "GET", "", "", "Upgrade: websocket", true, true},
	{"Referer is not an Origin", "POST", "cross-site", "", "Referer: https://api.example.com/", false, false},
}

// CVE-2025-24358, CVE-2025-47909 and CVE-2025-46721 were checks that took an
// http page for an https one, or compared with a URL that has no host.
// CVE-2025-47910 was an exemption that was wider than what was written.
func TestASVS_3_5_1_CVE_2025_24358_CrossOrigin(t *testing.T) {
	for _, tt := range csrfCases {
		t.Run(tt.name, func(t *testing.T) {
			for _, door := range []struct {
				name string
				mw   httpDoor
				want bool
			}{
				{"CSRF", transport.CSRF("https://app.example.com"), tt.want},
				{"SameOrigin", transport.SameOrigin("https://app.example.com"), tt.wantSame},
			} {
				events := &recorder{}
				r := httptest.NewRequest("GET", "https://api.example.com/items", nil)
				r.Method = tt.method
				for name, value := range map[string]string{"Sec-Fetch-Site": tt.site, "Origin": tt.origin} {
					if value != "" {
						r.Header.Set(name, value)
					}
				}
				if tt.more != "" {
					addFields(r, []string{tt.more})
				}
				w := do(httperr.Recover(httperr.Config{Audit: events})(door.mw(ok)), r)
				if door.want {
					if w.Code != 200 {
						t.Errorf("%s: got %d, want 200", door.name, w.Code)
					}
					continue
				}
				if w.Code != 403 {
					t.Fatalf("%s: got %d, want 403", door.name, w.Code)
				}
				if r.Method != "HEAD" {
					wantProblem(t, w, 403, "cross_origin")
				}
				if e := events.one(t); e.Name != audit.MaliciousCORS || e.Reason == "" {
					t.Errorf("%s: got event %+v", door.name, e)
				}
			}
		})
	}
}

// Without a Host there is nothing that an Origin could equal.
func TestCSRFWithoutHost(t *testing.T) {
	r := httptest.NewRequest("POST", "/", nil)
	r.Host = ""
	r.Header.Set("Origin", "null")
	wantProblem(t, do(transport.CSRF()(ok), r), 403, "cross_origin")
}

// Over plain HTTP, as behind a proxy that nobody declared, an https page of the
// same host is the same host: the scheme is not known.
func TestCSRFPlainHTTP(t *testing.T) {
	for origin, want := range map[string]int{"https://api.example.com": 200, "http://api.example.com": 200, "http://evil.example": 403} {
		r := httptest.NewRequest("POST", "http://api.example.com/", nil)
		r.Header.Set("Origin", origin)
		if w := do(transport.CSRF()(ok), r); w.Code != want {
			t.Errorf("%s: got %d, want %d", origin, w.Code, want)
		}
	}
	r := httptest.NewRequest("POST", "http://api.example.com/", nil)
	r.Header.Set("Origin", "http://api.example.com")
	r.TLS = &tls.ConnectionState{}
	wantProblem(t, do(transport.CSRF()(ok), r), 403, "cross_origin")

	// Unless that very origin is trusted.
	if w := do(transport.CSRF("http://api.example.com")(ok), r); w.Code != 200 {
		t.Errorf("a trusted http origin: got %d, want 200", w.Code)
	}
}

func TestCSRFRefusesBadConfig(t *testing.T) {
	for _, origin := range []string{
		"", "null", "*", "app.example.com", "https://", "https://*.example.com", "https://app.example.com/", "https://app.example.com/a",
		"https://app.example.com?a", "https://APP.example.com", "HTTPS://app.example.com", "https://app.example.com:443", "http://app.example.com:80",
		"https://app.example.com.", "https://user@app.example.com", "https://exämple.com", "https://app.example.com#x", "https://app.example.com:x",
	} {
		wantPanic(t, "CSRF: trustedOrigins", func() { transport.CSRF("https://ok.example.com", origin) })
		wantPanic(t, "SameOrigin: trustedOrigins", func() { transport.SameOrigin(origin) })
	}
	transport.CSRF("https://app.example.com:8443", "http://localhost:3000", "https://[2001:db8::1]")
}
