package transport_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/transport"
)

// A ReverseProxy adds the fields of the service behind it to those that doors have set, and
// clears all of them behind each informational response. Each is on the answer all the same, and
// once where two would be none.
func TestSecureAroundAProxy(t *testing.T) {
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hints":
			w.Header().Set("Link", "</a.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Del("Link")
		case "/broken":
			w.WriteHeader(http.StatusEarlyHints)
			panic(http.ErrAbortHandler)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Cache-Control", "max-age=5")
		w.Header().Set("Content-Security-Policy", "default-src 'self'")
		w.Header().Set("Cross-Origin-Opener-Policy", "same-origin-allow-popups")
		w.Header().Set("Cross-Origin-Resource-Policy", "same-site")
		if r.URL.Path == "/empty" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		_, _ = io.WriteString(w, "hi")
	}))
	defer behind.Close()
	target, err := url.Parse(behind.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ErrorHandler = func(w http.ResponseWriter, r *http.Request, err error) { httperr.Write(w, r, err) }
	front := httptest.NewServer(httperr.Recover()(transport.Secure(transport.Headers{})(proxy)))
	defer front.Close()
	c := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: 10 * time.Second}}
	defer c.CloseIdleConnections()
	for _, tt := range []struct {
		path   string
		expect bool
	}{{"/", false}, {"/", true}, {"/hints", false}, {"/hints", true}, {"/broken", false}, {"/empty", true}} {
		req, err := http.NewRequest(http.MethodPost, front.URL+tt.path, strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		if tt.expect {
			req.Header.Set("Expect", "100-continue")
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		for _, name := range []string{"X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy", "Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy", "X-Request-Id"} {
			if v := resp.Header.Values(name); len(v) != 1 {
				t.Errorf("%s, expecting %t: %s is %q", tt.path, tt.expect, name, v)
			}
		}
		csp, broken := resp.Header.Values("Content-Security-Policy"), tt.path == "/broken"
		if got := resp.Header.Get("Cross-Origin-Opener-Policy") + " " + resp.Header.Get("Cross-Origin-Resource-Policy"); (got == "same-origin-allow-popups same-site") == broken {
			t.Errorf("%s, expecting %t: the Cross-Origin policies are %s", tt.path, tt.expect, got)
		}
		if !strings.HasPrefix(csp[0], "default-src 'none'") || len(csp) != map[bool]int{true: 1, false: 2}[broken] || (resp.StatusCode == http.StatusInternalServerError) != broken || resp.Header.Get("Link") != "" {
			t.Errorf("%s, expecting %t: got %s with %v", tt.path, tt.expect, resp.Status, resp.Header)
		}
	}
}

// A handler's own choice after an informational response stands.
func TestSecureAndEarlyHints(t *testing.T) {
	srv := httptest.NewServer(httperr.Recover()(transport.Secure(transport.Headers{})(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("X-Frame-Options")
		w.Header().Set("Cache-Control", "max-age=5")
		_, _ = io.WriteString(w, "hi")
	}))))
	defer srv.Close()
	resp, err := srv.Client().Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if h := resp.Header; h.Get("X-Frame-Options") != "" || h.Get("Cache-Control") != "max-age=5" || h.Get("Link") == "" || h.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("got %v", h)
	}
}
