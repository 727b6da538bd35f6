package transport_test

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/transport"
)

// An API refuses plain HTTP instead of redirecting it, and says in the log what
// leaked, but not the thing itself.
func TestASVS_4_1_2_RequireHTTPS(t *testing.T) {
	for _, tt := range []struct {
		name, header string
		level        slog.Level
	}{
		{"no credentials", "Accept", slog.LevelInfo},
		{"token", "Authorization", slog.LevelWarn},
		{"proxy token", "Proxy-Authorization", slog.LevelWarn},
		{"cookie", "Cookie", slog.LevelWarn},
		{"API key", "X-API-Key", slog.LevelWarn},
	} {
		t.Run(tt.name, func(t *testing.T) {
			events := &recorder{}
			h := httperr.Recover(httperr.Config{Audit: events})(transport.RequireHTTPS(ok))
			r := httptest.NewRequest("GET", "/items?a=b", nil)
			r.Header.Set(tt.header, "s3cret")
			r.Header.Set("X-Forwarded-Proto", "https") // from nobody who is trusted
			w := do(h, r)
			wantProblem(t, w, 403, "https_required")
			if w.Header().Get("Location") != "" {
				t.Error("the request was redirected")
			}
			e := events.one(t)
			if e.Name != audit.InputValidationFail || e.Level != tt.level || e.Code != "https_required" {
				t.Errorf("got event %+v", e)
			}
			if named := strings.Contains(strings.ToLower(e.Reason), strings.ToLower(tt.header)); named != (tt.level == slog.LevelWarn) {
				t.Errorf("got reason %q", e.Reason)
			}
			if strings.Contains(e.Reason+w.Body.String(), "s3cret") {
				t.Error("the secret is in the event or the answer")
			}

			r.TLS = &tls.ConnectionState{}
			if w := do(h, r); w.Code != 200 {
				t.Errorf("over TLS: got %d, want 200", w.Code)
			}
		})
	}
}

// GO-2025-3770, GO-2026-4316 and CVE-2022-40083 were redirects to hosts that the
// request named, in Host or in a path that begins with two slashes.
func TestGO_2025_3770_RedirectTarget(t *testing.T) {
	for _, tt := range []struct{ host, target, want string }{
		{"example.com", "/", "https://example.com/"},
		{"example.com", "/a/b?c=d&e=f", "https://example.com/a/b?c=d&e=f"},
		{"Example.COM.", "/", "https://example.com/"},
		{"example.com:443", "/", "https://example.com/"},
		{"example.com:8443", "/a", "https://example.com:8443/a"},
		{"[2001:DB8::1]:8443", "/", "https://[2001:db8::1]:8443/"},
		{"192.0.2.1", "/", "https://192.0.2.1/"},
		{"example.com", "//evil.example/x", "https://example.com/evil.example/x"},
		{"example.com", "///evil.example", "https://example.com/evil.example"},
		{"example.com", `/\evil.example`, "https://example.com/%5Cevil.example"},
		{"example.com", "http://evil.example/x?y", "https://example.com/x?y"},
		{"example.com", "http://evil.example", "https://example.com/"},
		{"example.com", "http://evil.example//evil.example", "https://example.com/evil.example"},
		{"example.com", "/@evil.example", "https://example.com/@evil.example"},
		{"example.com", "/a%2Fb%0d%0aX:1", "https://example.com/a%2Fb%0d%0aX:1"},
		{"example.com", "/ü?ü=\"<>", "https://example.com/%C3%BC?%C3%BC=%22%3C%3E"},
		{"example.com", "/?", "https://example.com/"},
		{"example.com", "/?a=b#c", "https://example.com/?a=b%23c"},
		{"example.com", "*", "https://example.com/*"},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			u, err := url.ParseRequestURI(tt.target)
			if err != nil {
				t.Fatal(err)
			}
			r := &http.Request{Method: method, URL: u, Host: "evil.example", Header: http.Header{"X-Forwarded-Host": {"evil.example"}}}
			w := do(transport.RedirectHTTPS(tt.host), r)
			if got := w.Header().Get("Location"); w.Code != 308 || got != tt.want || w.Body.Len() > 0 {
				t.Errorf("%s %s on %s: got %d to %q with %d bytes, want 308 to %q", method, tt.target, tt.host, w.Code, got, w.Body.Len(), tt.want)
			}
		}
	}
}

func TestRedirectHTTPSRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, method, header, target string
		status                       int
		code, reason                 string
	}{
		{"POST", "POST", "", "/", 403, "https_required", "plain HTTP"},
		{"PUT", "PUT", "", "/", 403, "https_required", "plain HTTP"},
		{"OPTIONS", "OPTIONS", "", "/", 403, "https_required", "plain HTTP"},
		{"get", "get", "", "/", 403, "https_required", "plain HTTP"},
		{"token", "GET", "Authorization", "/", 403, "https_required", "Authorization"},
		{"cookie", "HEAD", "Cookie", "/", 403, "https_required", "Cookie"},
		{"API key", "GET", "x-api-key", "/", 403, "https_required", "X-Api-Key"},
		{"own API key", "GET", "X-Tenant-Token", "/", 403, "https_required", "X-Tenant-Token"},
		{"token in a POST", "POST", "Authorization", "/", 403, "https_required", "Authorization"},
		{"long target", "GET", "", "/" + strings.Repeat("a", 8<<10), 414, "uri_too_long", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			events := &recorder{}
			r := httptest.NewRequest("GET", tt.target, nil)
			r.Method = tt.method
			if tt.header != "" {
				r.Header.Set(tt.header, "s3cret")
			}
			w := do(httperr.Recover(httperr.Config{Audit: events})(transport.RedirectHTTPS("example.com", "x-tenant-token")), r)
			if w.Header().Get("Location") != "" {
				t.Error("redirected")
			}
			if tt.method != "HEAD" {
				wantProblem(t, w, tt.status, tt.code)
			} else if w.Code != tt.status {
				t.Errorf("got %d, want %d", w.Code, tt.status)
			}
			if tt.reason == "" {
				return
			}
			if e := events.one(t); !strings.Contains(e.Reason, tt.reason) || strings.Contains(e.Reason, "s3cret") {
				t.Errorf("got event %+v, want a reason with %q", e, tt.reason)
			}
		})
	}
}

func TestRedirectHTTPSRefusesBadConfig(t *testing.T) {
	for _, host := range []string{
		"", "https://example.com", "example.com/", "example.com/a", "a@example.com", "example.com:", "example.com:0", "example.com:65536",
		"example.com:x", "exa mple.com", "example.com\r\nX: 1", "exämple.com", "*.example.com", ".example.com", "example..com", "[::1", "::1", "[fe80::1%25x]", "[192.0.2.1]", "a?b", "a#b", `a\b`, strings.Repeat("a", 64),
	} {
		wantPanic(t, "RedirectHTTPS: host", func() { transport.RedirectHTTPS(host) })
	}
	for _, name := range []string{"", "X Token", "X-Token:", "X\n"} {
		wantPanic(t, "RedirectHTTPS: credentials", func() { transport.RedirectHTTPS("example.com", name) })
	}
}

// Whatever net/http takes as a target, the redirect goes to the configured host,
// and its Location can't be misread.
func FuzzRedirectTarget(f *testing.F) {
	for _, s := range []string{"/", "//evil.example", `/\/evil.example`, "http://evil.example/", "*", "/a?b=c", "/ü", "/%0d%0a", "/?\x80", "http:evil", "//@evil.example:1/?#", "/;/..;/a"} {
		f.Add(s)
	}
	h := transport.RedirectHTTPS("example.com:8443")
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		w := do(h, &http.Request{Method: "GET", URL: u, Host: "evil.example", Header: http.Header{}})
		if w.Code == http.StatusRequestURITooLong && len(target) > 2000 {
			return
		}
		location := w.Header().Get("Location")
		rest, found := strings.CutPrefix(location, "https://example.com:8443/")
		if w.Code != 308 || !found || strings.HasPrefix(rest, "/") || strings.HasPrefix(rest, `\`) {
			t.Fatalf("%q: got %d to %q", target, w.Code, location)
		}
		if i := strings.IndexFunc(location, func(c rune) bool { return c <= ' ' || c >= 0x7f }); i >= 0 {
			t.Fatalf("%q: got %q with a character that may not stand in a Location", target, location)
		}
		back, err := url.Parse(location)
		if err != nil || back.Host != "example.com:8443" || back.User != nil || back.Fragment != "" {
			t.Fatalf("%q: got %q, which reads as %+v, %v", target, location, back, err)
		}
		if strings.Trim(back.Path, `/\`) != strings.Trim(u.Path, `/\`) {
			t.Fatalf("%q: got path %q, want %q", target, back.Path, u.Path)
		}
	})
}
