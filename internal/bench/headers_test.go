package bench

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/unrolled/secure"

	"github.com/sallyport/sallyport/transport"
)

// A headerWriter keeps nothing but the fields.
type headerWriter struct{ header http.Header }

func (w headerWriter) Header() http.Header         { return w.header }
func (w headerWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w headerWriter) WriteHeader(int)             {}

// secured are doors that set the fields which an API should have, for a handler that does
// nothing: those of unrolled/secure are as many as it knows.
func secured(next http.Handler) map[string]http.Handler {
	return map[string]http.Handler{
		"sallyport": transport.Secure(transport.Headers{})(next),
		"unrolled/secure": secure.New(secure.Options{
			STSSeconds: 63072000, STSIncludeSubdomains: true, FrameDeny: true, ContentTypeNosniff: true,
			ReferrerPolicy: "no-referrer", ContentSecurityPolicy: "default-src 'none'; frame-ancestors 'none'",
			CrossOriginOpenerPolicy: "same-origin", CrossOriginResourcePolicy: "same-origin",
		}).Handler(next),
	}
}

// BenchmarkHeaders measures what it takes to set the fields of an answer over TLS.
func BenchmarkHeaders(b *testing.B) {
	doors := secured(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for _, name := range []string{"sallyport", "unrolled/secure"} {
		b.Run(name, func(b *testing.B) {
			r := httptest.NewRequest(http.MethodGet, "https://example.com/", nil)
			r.TLS = &tls.ConnectionState{}
			w := headerWriter{make(http.Header)}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				doors[name].ServeHTTP(w, r)
			}
		})
	}
}

// Each of them sets what the other does.
func TestHeadersAgree(t *testing.T) {
	for name, door := range secured(http.NotFoundHandler()) {
		r := httptest.NewRequest(http.MethodGet, "https://example.com/", nil)
		r.TLS = &tls.ConnectionState{}
		w := httptest.NewRecorder()
		door.ServeHTTP(w, r)
		for _, field := range []string{
			"Strict-Transport-Security", "X-Content-Type-Options", "Referrer-Policy", "Content-Security-Policy",
			"Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy",
		} {
			if w.Header().Get(field) == "" {
				t.Errorf("%s does not set %s", name, field)
			}
		}
	}
}
