package jwk_test

import (
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/internal/eventlog"
)

// Over real sockets, with TLS.

// serveKeys returns a server of an issuer with its metadata and keys.
func serveKeys(t *testing.T, keys ...any) (*httptest.Server, *http.ServeMux) {
	t.Helper()
	mux := http.NewServeMux()
	srv := httptest.NewUnstartedServer(mux)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(metadata("issuer", srv.URL, "jwks_uri", srv.URL+"/jwks").json(t))
	})
	body := setOf(t, keys...)
	mux.HandleFunc("GET /jwks", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/jwk-set+json")
		_, _ = w.Write(body)
	})
	return srv, mux
}

// sets returns both kinds of set for a server.
func sets(t *testing.T, srv *httptest.Server, cfg jwk.RemoteConfig) map[string]*jwk.RemoteSet {
	t.Helper()
	cfg.Audit = new(eventlog.Recorder)
	d, err := jwk.Discover(jwk.DiscoverConfig{Issuer: srv.URL, Remote: cfg})
	if err != nil {
		t.Fatal(err)
	}
	cfg.URL = srv.URL + "/jwks"
	r, err := jwk.Remote(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), d.Close() })
	return map[string]*jwk.RemoteSet{"Remote": r, "Discover": d}
}

func TestRemoteOverTLS(t *testing.T) {
	a := ecKey(t, "a")
	srv, _ := serveKeys(t, a)
	for name, s := range sets(t, srv, jwk.RemoteConfig{HTTPClient: srv.Client()}) {
		t.Run(name, func(t *testing.T) {
			has(t, s, a)
			unknown(t, s, "b")
		})
	}
}

// A server whose certificate nobody vouches for is as good as none.
func TestASVS_12_3_2_CertificatesAreVerified(t *testing.T) {
	a := ecKey(t, "a")
	srv, _ := serveKeys(t, a)
	for name, s := range sets(t, srv, jwk.RemoteConfig{}) {
		t.Run(name, func(t *testing.T) {
			undecidable(t, s, "a")
			if err := s.Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
				t.Errorf("got %v, want an error about the certificate", err)
			}
		})
	}
	t.Run("for another name", func(t *testing.T) {
		_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		r, err := jwk.Remote(jwk.RemoteConfig{URL: "https://localhost:" + port + "/jwks", HTTPClient: srv.Client(), Audit: new(eventlog.Recorder)})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("got %v, want an error about the certificate", err)
		}
	})
}

// Neither the metadata nor the keys may be where a redirect points.
func TestCVE_2026_49478_Redirects(t *testing.T) {
	var reached atomic.Int32
	a := ecKey(t, "a")
	evil, mux := serveKeys(t, a)
	mux.HandleFunc("/", func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	for _, what := range []string{"/jwks", "/.well-known/openid-configuration"} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			srv := httptest.NewTLSServer(nil)
			t.Cleanup(srv.Close)
			srv.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case what:
					http.Redirect(w, r, evil.URL+"/reached", status)
				default:
					w.Header().Set("Content-Type", "application/json")
					_, _ = w.Write(metadata("issuer", srv.URL, "jwks_uri", srv.URL+"/jwks").json(t))
				}
			})
			client := srv.Client()
			client.CheckRedirect = nil
			d, err := jwk.Discover(jwk.DiscoverConfig{Issuer: srv.URL, Remote: jwk.RemoteConfig{HTTPClient: client, Audit: new(eventlog.Recorder)}})
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), "redirect") {
				t.Errorf("%d at %s: got %v, want an error about the redirect", status, what, err)
			}
			undecidable(t, d, "a")
		}
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}
}

// Where a tenant names the issuer, the names that lead into this network don't.
func TestOWASP_API7_PublicOnly(t *testing.T) {
	var connections atomic.Int32
	a := ecKey(t, "a")
	srv, _ := serveKeys(t, a)
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateActive {
			connections.Add(1)
		}
	}
	_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"} {
		d, err := jwk.Discover(jwk.DiscoverConfig{
			Issuer: "https://" + host + ":" + port,
			Remote: jwk.RemoteConfig{HTTPClient: srv.Client(), PublicOnly: true, Audit: new(eventlog.Recorder)},
		})
		if err != nil {
			t.Fatal(err)
		}
		err = d.Refresh(t.Context())
		noIPv6 := host == "[::1]" && err != nil && strings.Contains(err.Error(), syscall.EAFNOSUPPORT.Error())
		if !noIPv6 && (err == nil || !strings.Contains(err.Error(), "not a public one")) {
			t.Errorf("%s: got %v, want an error about the address", host, err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	if n := connections.Load(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

// A server that sends without an end, or only now and then, is left in time.
func TestCVE_2026_26998_EndlessKeys(t *testing.T) {
	stop := make(chan struct{})
	srv, mux := serveKeys(t, ecKey(t, "a"))
	t.Cleanup(func() { close(stop) }) // before the server is closed
	mux.HandleFunc("GET /endless", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for {
			_, _ = w.Write([]byte(" "))
			_ = http.NewResponseController(w).Flush()
			select {
			case <-time.After(10 * time.Millisecond):
			case <-r.Context().Done():
				return
			case <-stop:
				return
			}
		}
	})
	for path, tt := range map[string]struct {
		timeout time.Duration
		want    string
	}{
		"/endless": {30 * time.Second, "larger"}, // 1 MiB may take its time here
		"/slow":    {time.Second, "deadline"},
	} {
		want := tt.want
		r, err := jwk.Remote(jwk.RemoteConfig{URL: srv.URL + path, HTTPClient: srv.Client(), Timeout: tt.timeout, Audit: new(eventlog.Recorder)})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", path, err, want)
		}
	}
}

// The ring's own handler is a source that a remote set reads.
func TestHandlerAndRemoteFitTogether(t *testing.T) {
	first, second := ecKey(t, "first"), mustKey(t, "second", "EdDSA", newEd(t))
	ring := newRing(t, first, second)
	srv := httptest.NewTLSServer(jwk.Handler(ring))
	t.Cleanup(srv.Close)
	r, err := jwk.Remote(jwk.RemoteConfig{URL: srv.URL, HTTPClient: srv.Client()})
	if err != nil {
		t.Fatal(err)
	}
	has(t, r, first)
	has(t, r, second)
	if err := ring.Rotate(mustKey(t, "third", "ES256", privateMaterial(t, "ES256"))); err != nil {
		t.Fatal(err)
	}
	if err := ring.Drop("first"); err != nil {
		t.Fatal(err)
	}
	if err := r.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	has(t, r, ring.Active())
	if _, err := r.Lookup(t.Context(), "first", "ES256"); !errors.Is(err, jwk.ErrUnknownKey) {
		t.Errorf("got %v, want ErrUnknownKey", err)
	}
}
