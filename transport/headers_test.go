package transport_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/transport"
)

// What the zero Headers send; HSTS over HTTPS only.
var defaultHeaders = map[string]string{
	"X-Content-Type-Options":       "nosniff",
	"Content-Security-Policy":      "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; object-src 'none'; form-action 'none'",
	"Referrer-Policy":              "no-referrer",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"X-Frame-Options":              "DENY",
	"Cache-Control":                "no-store",
}

const hsts = "max-age=31536000; includeSubDomains"

// wantHeaders checks that h has each of the default fields exactly once.
func wantHeaders(t *testing.T, h http.Header, https bool) {
	t.Helper()
	for name, want := range defaultHeaders {
		if got := h[name]; !slices.Equal(got, []string{want}) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	var want []string
	if https {
		want = []string{hsts}
	}
	if got := h["Strict-Transport-Security"]; !slices.Equal(got, want) {
		t.Errorf("Strict-Transport-Security: got %q, want %q", got, want)
	}
	if got := h["Permissions-Policy"]; got != nil {
		t.Errorf("Permissions-Policy: got %q, want none by default", got)
	}
}

// statuses is a service that answers with each status in the way that handlers do.
func statuses() http.Handler {
	mux := http.NewServeMux()
	problem := func(status int) http.Handler {
		return httperr.Handler(func(http.ResponseWriter, *http.Request) error {
			return httperr.New(status, "some_code", "Some detail.")
		})
	}
	mux.Handle("GET /200", ok)
	mux.HandleFunc("GET /204", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })
	mux.Handle("GET /301", http.RedirectHandler("/200", http.StatusMovedPermanently))
	mux.HandleFunc("GET /304", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) })
	for _, status := range []int{400, 401, 403, 429, 503} {
		mux.Handle(fmt.Sprintf("GET /%d", status), problem(status))
	}
	mux.HandleFunc("GET /418", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "plain", http.StatusTeapot) })
	mux.Handle("POST /413", transport.MaxBody(3)(ok))
	mux.Handle("POST /413-read", transport.MaxBody(3)(httperr.Handler(func(_ http.ResponseWriter, r *http.Request) error {
		_, err := io.ReadAll(r.Body)
		return err
	})))
	mux.Handle("GET /500", httperr.Handler(func(http.ResponseWriter, *http.Request) error { return errors.New("no") }))
	mux.HandleFunc("GET /500-panic", func(http.ResponseWriter, *http.Request) { panic("no") })
	return httperr.Mux(mux)
}

// RFC 6797, section 7.2, and CVE-2026-53624, where a wrong check of the protocol
// kept HSTS from ever being sent: on every status, over real TLS, behind a trusted
// proxy, and never over plain HTTP.
func TestASVS_3_4_1_CVE_2026_53624_HeadersOnEveryStatus(t *testing.T) {
	quiet := httperr.Config{Logger: slog.New(slog.DiscardHandler), Audit: &recorder{}}
	clientIP := newClientIP(t, "", netip.MustParsePrefix("127.0.0.0/8"))
	h := httperr.Recover(quiet)(clientIP.Wrap(transport.Secure(transport.Headers{})(statuses())))
	overTLS, c := newServer(t, h, transport.ServerConfig{})
	plain, _ := newServer(t, h, transport.ServerConfig{AllowInsecureHTTP: true})
	tlsURL, plainURL := "https://"+start(t, overTLS).addr, "http://"+start(t, plain).addr

	for _, server := range []struct {
		name   string
		url    string
		client *http.Client
		proto  string // X-Forwarded-Proto
		https  bool
	}{
		{"TLS, HTTP/1.1", tlsURL, client(t, c, false), "", true},
		{"TLS, HTTP/2", tlsURL, client(t, c, true), "", true},
		{"plain HTTP", plainURL, client(t, nil, false), "", false},
		{"trusted proxy, https", plainURL, client(t, nil, false), "https", true},
		{"trusted proxy, http", plainURL, client(t, nil, false), "http", false},
		{"trusted proxy that speaks TLS to us, http", tlsURL, client(t, c, true), "http", false},
	} {
		for _, path := range []string{
			"GET /200", "HEAD /200", "GET /204", "GET /301", "GET /304", "GET /400", "GET /401", "GET /403", "GET /404",
			"POST /405", "POST /413", "POST /413-read", "GET /418", "GET /429", "GET /500", "GET /500-panic", "GET /503",
		} {
			t.Run(server.name+" "+path, func(t *testing.T) {
				method, path, _ := strings.Cut(path, " ")
				var body io.Reader
				if method == "POST" {
					body = io.MultiReader(strings.NewReader("more than three")) // chunked
					if path == "/413" {
						body = strings.NewReader("more than three")
					}
				}
				want := 0
				_, _ = fmt.Sscanf(path, "/%d", &want)
				if path == "/405" {
					path = "/200"
				}
				req, err := http.NewRequestWithContext(t.Context(), method, server.url+path, body)
				if err != nil {
					t.Fatal(err)
				}
				if server.proto != "" {
					req.Header.Set("X-Forwarded-Proto", server.proto)
					req.Header.Set("X-Forwarded-For", "192.0.2.9")
				}
				resp, err := server.client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				got, _ := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != want {
					t.Errorf("got %d, want %d", resp.StatusCode, want)
				}
				if len(got) > 0 && !strings.Contains(resp.Header.Get("Content-Type"), "/") {
					t.Errorf("got a body of Content-Type %q", resp.Header.Get("Content-Type"))
				}
				wantHeaders(t, resp.Header, server.https)
			})
		}
	}
}

func TestSecureOverridesAndOmits(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	r.TLS = &tls.ConnectionState{}
	w := do(transport.Secure(transport.Headers{
		ContentSecurityPolicy:     "default-src 'self'; report-to csp",
		StrictTransportSecurity:   "max-age=300",
		ReferrerPolicy:            "no-referrer, strict-origin-when-cross-origin",
		CrossOriginResourcePolicy: "cross-origin",
		CrossOriginOpenerPolicy:   "same-origin-allow-popups",
		FrameOptions:              "SAMEORIGIN",
		CacheControl:              "private",
		PermissionsPolicy:         "camera=()",
	})(ok), r)
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'self'; report-to csp", "Strict-Transport-Security": "max-age=300",
		"Referrer-Policy": "no-referrer, strict-origin-when-cross-origin", "Cross-Origin-Resource-Policy": "cross-origin",
		"Cross-Origin-Opener-Policy": "same-origin-allow-popups", "X-Frame-Options": "SAMEORIGIN", "Cache-Control": "private",
		"Permissions-Policy": "camera=()", "X-Content-Type-Options": "nosniff",
	} {
		if got := w.Header()[name]; !slices.Equal(got, []string{want}) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}

	all := transport.Headers{Omit: []string{"x-content-type-options", "Strict-Transport-Security", "Permissions-Policy"}}
	for name := range defaultHeaders {
		all.Omit = append(all.Omit, name)
	}
	w = do(transport.Secure(all)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})), r)
	if len(w.Header()) != 0 {
		t.Errorf("all omitted: got %v, want none", w.Header())
	}
}

// A handler's own values hold for its response alone.
func TestSecureYieldsToTheHandler(t *testing.T) {
	h := transport.Secure(transport.Headers{})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/cached" {
			w.Header().Set("Cache-Control", "public, max-age=60")
			w.Header().Add("Content-Security-Policy", "sandbox")
			w.Header().Del("X-Frame-Options")
		}
	}))
	w := do(h, httptest.NewRequest("GET", "/cached", nil))
	if got := w.Header()["Cache-Control"]; !slices.Equal(got, []string{"public, max-age=60"}) {
		t.Errorf("Cache-Control: got %q", got)
	}
	if got := w.Header()["Content-Security-Policy"]; len(got) != 2 || got[1] != "sandbox" {
		t.Errorf("Content-Security-Policy: got %q, want both", got)
	}
	if got := w.Header()["X-Frame-Options"]; got != nil {
		t.Errorf("X-Frame-Options: got %q, want none", got)
	}
	wantHeaders(t, do(h, httptest.NewRequest("GET", "/", nil)).Header(), false)
}

// The values are shared by all responses, so this fails with -race if a handler's
// Add can write into them.
func TestSecureSharedValuesAreNotWritten(t *testing.T) {
	h := transport.Secure(transport.Headers{})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name := range defaultHeaders {
			w.Header().Add(name, r.URL.Path)
			w.Header().Add(name, "x")
		}
		for name := range defaultHeaders {
			if got := w.Header()[name]; len(got) != 3 || got[1] != r.URL.Path {
				t.Errorf("%s: got %q, want the value added for %s", name, got, r.URL.Path)
			}
		}
	}))
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for range 50 {
				do(h, httptest.NewRequest("GET", fmt.Sprintf("/%d", i), nil))
			}
		})
	}
	wg.Wait()
	wantHeaders(t, do(transport.Secure(transport.Headers{})(ok), httptest.NewRequest("GET", "/", nil)).Header(), false)
}

func TestSecureRefusesWhatCannotWork(t *testing.T) {
	for _, tt := range []struct {
		names string
		h     transport.Headers
	}{
		{"Headers.ContentSecurityPolicy", transport.Headers{ContentSecurityPolicy: "default-src 'none'\r\nX-Evil: 1"}},
		{"Headers.ContentSecurityPolicy", transport.Headers{ContentSecurityPolicy: "default-src 'none'\n"}},
		{"Headers.ContentSecurityPolicy", transport.Headers{ContentSecurityPolicy: "default-src exämple.com"}},
		{"Headers.ContentSecurityPolicy", transport.Headers{ContentSecurityPolicy: " default-src 'none'"}},
		{"Headers.CacheControl", transport.Headers{CacheControl: "no-store\x00"}},
		{"Headers.CacheControl", transport.Headers{CacheControl: " "}},
		{"Headers.PermissionsPolicy", transport.Headers{PermissionsPolicy: "camera=()\x7f"}},
		{"Headers.ReferrerPolicy", transport.Headers{ReferrerPolicy: "no-referer"}},
		{"Headers.ReferrerPolicy", transport.Headers{ReferrerPolicy: "no-referrer,"}},
		{"Headers.FrameOptions", transport.Headers{FrameOptions: "ALLOW-FROM https://example.com"}},
		{"Headers.CrossOriginResourcePolicy", transport.Headers{CrossOriginResourcePolicy: "same_origin"}},
		{"Headers.CrossOriginOpenerPolicy", transport.Headers{CrossOriginOpenerPolicy: "cross-origin"}},
		{"Headers.StrictTransportSecurity", transport.Headers{StrictTransportSecurity: "includeSubDomains"}},
		{"Headers.StrictTransportSecurity", transport.Headers{StrictTransportSecurity: "max-age"}},
		{"Headers.StrictTransportSecurity", transport.Headers{StrictTransportSecurity: "max-age=1y"}},
		{"Headers.StrictTransportSecurity", transport.Headers{StrictTransportSecurity: "max-age=-1"}},
		{"Headers.StrictTransportSecurity", transport.Headers{StrictTransportSecurity: "max-age=1; max-age=2"}},
		{"Headers.StrictTransportSecurity", transport.Headers{StrictTransportSecurity: "max-age=31536000; preload"}},
		{"Headers.StrictTransportSecurity", transport.Headers{StrictTransportSecurity: "max-age=31535999; includeSubDomains; Preload"}},
		{"Headers.StrictTransportSecurity", transport.Headers{StrictTransportSecurity: "max-age=1; includeSubDomain"}},
		{"Headers.StrictTransportSecurity", transport.Headers{StrictTransportSecurity: "max-age=1; includeSubDomains=0"}},
		{"Headers.StrictTransportSecurity", transport.Headers{StrictTransportSecurity: "max-age=1; includeSubDomains; includeSubdomains"}},
		{"Headers.StrictTransportSecurity", transport.Headers{StrictTransportSecurity: "max-age=1, includeSubDomains"}},
		{"Headers.StrictTransportSecurity", transport.Headers{StrictTransportSecurity: "max-age=1; =1"}},
		{"Headers.ContentSecurityPolicy", transport.Headers{ContentSecurityPolicy: "default-scr 'none'"}},
		{"Headers.ContentSecurityPolicy", transport.Headers{ContentSecurityPolicy: "default-src: 'none'"}},
		{"Headers.ContentSecurityPolicy", transport.Headers{ContentSecurityPolicy: "default-src 'none'; img-src 'self'; Default-Src 'self'"}},
		{"Headers.ContentSecurityPolicy", transport.Headers{ContentSecurityPolicy: "default-src 'none', img-src 'self' frame-src 'self', x"}},
		{"Headers.ContentSecurityPolicy", transport.Headers{ContentSecurityPolicy: ";"}},
		{"Headers.CacheControl", transport.Headers{CacheControl: "no_store"}},
		{"Headers.CacheControl", transport.Headers{CacheControl: "no-cache no-store"}},
		{"Headers.CacheControl", transport.Headers{CacheControl: "private; max-age=60"}},
		{"Headers.CacheControl", transport.Headers{CacheControl: "max-age"}},
		{"Headers.CacheControl", transport.Headers{CacheControl: "max-age=1h"}},
		{"Headers.CacheControl", transport.Headers{CacheControl: "max-age=60, max-age=70"}},
		{"Headers.CacheControl", transport.Headers{CacheControl: "no-store=1"}},
		{"Headers.CacheControl", transport.Headers{CacheControl: ","}},
		{"Headers.PermissionsPolicy", transport.Headers{PermissionsPolicy: "geolocation 'none'"}},
		{"Headers.PermissionsPolicy", transport.Headers{PermissionsPolicy: "camera=(), geolocation=none"}},
		{"Headers.PermissionsPolicy", transport.Headers{PermissionsPolicy: "camera=(); geolocation=()"}},
		{"Headers.PermissionsPolicy", transport.Headers{PermissionsPolicy: "camera=('self')"}},
		{"Headers.PermissionsPolicy", transport.Headers{PermissionsPolicy: "camera=(self, \"https://a.example\")"}},
		{"Headers.PermissionsPolicy", transport.Headers{PermissionsPolicy: "camera=(), camera=*"}},
		{"Headers.PermissionsPolicy", transport.Headers{PermissionsPolicy: "Camera=()"}},
		{"Headers.PermissionsPolicy", transport.Headers{PermissionsPolicy: `camera=("self")`}},
		{"Headers.PermissionsPolicy", transport.Headers{PermissionsPolicy: `camera=(self "https://a.example b")`}},
		{"Headers.CrossOriginEmbedderPolicy", transport.Headers{CrossOriginEmbedderPolicy: "same-origin"}},
		{"Headers.Omit", transport.Headers{Omit: []string{"Referer-Policy"}}},
		{"Headers.Omit", transport.Headers{Omit: []string{""}}},
		{"Headers.FrameOptions", transport.Headers{FrameOptions: "DENY", Omit: []string{"x-frame-options"}}},
		{"Headers.StrictTransportSecurity", transport.Headers{StrictTransportSecurity: "max-age=0", Omit: []string{"Strict-Transport-Security"}}},
	} {
		wantPanic(t, tt.names, func() { transport.Secure(tt.h) })
	}
}

// What is checked leaves alone what those have who know their fields.
func TestSecureTakesWhatBrowsersTake(t *testing.T) {
	for _, h := range []transport.Headers{
		{StrictTransportSecurity: "max-age=0"},
		{StrictTransportSecurity: `max-age="31536000"`},
		{ContentSecurityPolicy: "default-src 'self',"},
		{ContentSecurityPolicy: "default-src 'self'; treat-as-public-address"},
		{CacheControl: "public,, max-age=60,"},
		{PermissionsPolicy: `camera=();report-to="main"`},
		{StrictTransportSecurity: "includeSubDomains ; max-age = 300;"},
		{StrictTransportSecurity: "MAX-AGE=63072000; INCLUDESUBDOMAINS; Preload"},
		{ContentSecurityPolicy: "Default-Src 'self';; img-src * data:; sandbox; upgrade-insecure-requests;"},
		{ContentSecurityPolicy: "default-src 'self', default-src https:; script-src-elem 'nonce-x'; trusted-types a b"},
		{ContentSecurityPolicy: transport.CSP{DefaultSrc: []string{"'self'"}, ReportTo: "/r", RequireTrustedTypes: true}.String()},
		{CacheControl: "private, max-age=60,stale-while-revalidate=5"},
		{CacheControl: "No-Cache, must-revalidate, s-maxage=0, immutable"},
		{CacheControl: "public, max-age=2147483648"},
		{PermissionsPolicy: `camera=*, geolocation=(self "https://a.example" "https://*.b.example"),usb=( ), midi=self;report-to=main`},
		{PermissionsPolicy: transport.NoPermissions().String()},
	} {
		transport.Secure(h)
	}
}

func TestPermissions(t *testing.T) {
	none := transport.NoPermissions()
	none["geolocation"] = []string{"self", "https://maps.example.com"}
	none["fullscreen"] = []string{"*"}
	w := do(transport.Secure(transport.Headers{PermissionsPolicy: none.String(), CrossOriginEmbedderPolicy: "require-corp", StrictTransportSecurity: "max-age=63072000; includeSubDomains; preload"})(ok), httptest.NewRequest("GET", "/", nil))
	got := w.Header().Get("Permissions-Policy")
	for _, want := range []string{`geolocation=(self "https://maps.example.com")`, "fullscreen=(*)", "camera=()", "payment=()", "usb=()"} {
		if !slices.Contains(strings.Split(got, ", "), want) {
			t.Errorf("got %s, which lacks %s", got, want)
		}
	}
	if w.Header().Get("Cross-Origin-Embedder-Policy") != "require-corp" {
		t.Errorf("got %v", w.Header())
	}
	if len(transport.NoPermissions()["geolocation"]) != 0 {
		t.Error("a change of one is seen in the next")
	}
	for want, p := range map[string]transport.Permissions{
		`"Camera" is no feature`:     {"Camera": nil},
		`"a=(*), b" is no feature`:   {"a=(*), b": nil},
		`"http://a" is neither self`: {"camera": {"http://a"}},
		`"'self'" is neither self`:   {"camera": {"'self'"}},
	} {
		wantPanic(t, want, func() { _ = p.String() })
	}
}

// What Secure adds to a request, on the way of every response.
func TestSecureAllocatesNothing(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	r.TLS = &tls.ConnectionState{}
	w := &discard{header: make(http.Header)}
	h := transport.Secure(transport.Headers{})(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	h.ServeHTTP(w, r)
	if n := testing.AllocsPerRun(100, func() {
		clear(w.header)
		h.ServeHTTP(w, r)
	}); n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}

// discard is a ResponseWriter whose Header can be used again.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}
