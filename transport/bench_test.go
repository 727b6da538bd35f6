package transport_test

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/scope"
	"github.com/sallyport/sallyport/transport"
)

var nothing = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})

// bench serves r with h. Refusals are recorded by nobody, so that they are what is
// measured.
func bench(b *testing.B, h http.Handler, r *http.Request) {
	b.Helper()
	s, r := scope.For(r)
	s.Recorder = audit.Recorder(&forget{})
	w, body := &discard{header: make(http.Header)}, r.Body
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		r.Body = body // MaxBody wraps it
		h.ServeHTTP(w, r)
	}
}

// forget records nothing.
type forget struct{}

func (*forget) Record(context.Context, audit.Event) error { return nil }

func BenchmarkSecure(b *testing.B) {
	h := transport.Secure(transport.Headers{})(nothing)
	for _, bb := range []struct {
		name string
		tls  *tls.ConnectionState
	}{{"https", &tls.ConnectionState{}}, {"http", nil}} {
		b.Run(bb.name, func(b *testing.B) {
			r := httptest.NewRequest("GET", "/", nil)
			r.TLS = bb.tls
			w := &discard{header: make(http.Header)}
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, r)
			}
		})
	}
}

func BenchmarkClientIP(b *testing.B) {
	for _, bb := range []struct{ name, header, peer, value string }{
		{"direct", xff, "203.0.113.5:1234", ""},
		{"one_proxy", xff, "10.0.0.1:1234", "192.0.2.9"},
		{"three_proxies", xff, "10.0.0.1:1234", "1.1.1.1, 192.0.2.9, 10.0.0.3, 10.0.0.2"},
		{"1000_forged", xff, "10.0.0.1:1234", strings.Repeat("1.1.1.1, ", 999) + "192.0.2.9"},
		{"100_trusted", xff, "10.0.0.1:1234", strings.Repeat("10.0.0.2, ", 999) + "10.0.0.2"},
		{"forwarded", fwd, "10.0.0.1:1234", `for="[2001:db8::9]:80";proto=https, for=10.0.0.2`},
		{"refused", xff, "10.0.0.1:1234", "unknown"},
	} {
		b.Run("Resolve/"+bb.name, func(b *testing.B) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = bb.peer
			r.Header.Set(bb.header, bb.value)
			c := newClientIP(b, bb.header, proxies...)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = c.Resolve(r)
			}
		})
	}
	// Wrap on a bare request pays for the scope that a Recover above would have made.
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = "10.0.0.1:1234"
	r.Header.Set(xff, "192.0.2.9")
	h := newClientIP(b, xff, proxies...).Wrap(nothing)
	b.Run("Wrap/outermost", func(b *testing.B) {
		w := &discard{header: make(http.Header)}
		b.ReportAllocs()
		for b.Loop() {
			h.ServeHTTP(w, r)
		}
	})
}

func BenchmarkDoors(b *testing.B) {
	cross := httptest.NewRequest("POST", "https://example.com/", nil)
	cross.Header.Set("Sec-Fetch-Site", "cross-site")
	cross.Header.Set("Origin", "https://evil.example")
	named := httptest.NewRequest("GET", "https://example.com/", nil)
	named.Header.Set("X-User", "admin")
	body := httptest.NewRequest("POST", "https://example.com/", strings.NewReader("12345"))
	large := httptest.NewRequest("POST", "https://example.com/", nil)
	large.ContentLength = 1 << 30
	trace := httptest.NewRequest("TRACE", "https://example.com/", nil)

	good := httptest.NewRequest("GET", "https://example.com/", nil)
	for name := range map[string]bool{"Accept": true, "Authorization": true, "User-Agent": true, "Accept-Encoding": true, "Accept-Language": true} {
		good.Header.Set(name, "x")
	}
	for _, bb := range []struct {
		name    string
		door    httpDoor
		ok, bad *http.Request
	}{
		{"RequireHTTPS", transport.RequireHTTPS, good, httptest.NewRequest("GET", "/", nil)},
		{"AllowedHosts", transport.AllowedHosts("example.com"), good, httptest.NewRequest("GET", "https://evil.example/", nil)},
		{"Methods", transport.Methods(), good, trace},
		{"StripHeaders", transport.StripHeaders("X-User", "X-Auth-*", "X-Forwarded-User", "X-Remote-*"), good, named},
		{"CSRF", transport.CSRF("https://app.example.com"), good, cross},
		{"SameOrigin", transport.SameOrigin("https://app.example.com"), good, cross},
		{"MaxBody", transport.MaxBody(1 << 20), body, large},
	} {
		b.Run(bb.name+"/accepted", func(b *testing.B) { bench(b, bb.door(nothing), bb.ok) })
		b.Run(bb.name+"/refused", func(b *testing.B) { bench(b, bb.door(nothing), bb.bad) })
	}
	b.Run("RedirectHTTPS/accepted", func(b *testing.B) {
		bench(b, transport.RedirectHTTPS("example.com"), httptest.NewRequest("GET", "/a/b?c=d", nil))
	})
	b.Run("RedirectHTTPS/refused", func(b *testing.B) {
		bench(b, transport.RedirectHTTPS("example.com"), httptest.NewRequest("POST", "/", nil))
	})
}

// BenchmarkEdge is all of the package in front of a handler, below Recover.
func BenchmarkEdge(b *testing.B) {
	h := httperr.Recover()(newClientIP(b, xff, proxies...).Wrap(transport.Secure(transport.Headers{})(transport.RequireHTTPS(
		transport.AllowedHosts("example.com")(transport.Methods()(transport.CSRF()(transport.MaxBody(1 << 20)(nothing))))))))
	r := httptest.NewRequest("GET", "https://example.com/", nil)
	r.Header.Set(xff, "192.0.2.9")
	w := &discard{header: make(http.Header)}
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}
