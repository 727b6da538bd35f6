package acme_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/letsencrypt/challtestsrv"
	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"

	"github.com/sallyport/sallyport/transport"
)

const host = "api.example.test"

// An authority is a running pebble. It looks hosts up in a name server that has every host
// on loopback, and connects to the ports that it is given.
type authority struct {
	*httptest.Server
	roots  *x509.CertPool
	orders atomic.Int64
}

// startAuthority starts a pebble whose certificates are valid for so long.
func startAuthority(t *testing.T, httpPort, tlsPort int, validity time.Duration) *authority {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "0")
	quiet := log.New(io.Discard, "", 0)
	names := "127.0.0.1:" + strconv.Itoa(freePort(t))
	dns, err := challtestsrv.New(challtestsrv.Config{Log: quiet, DNSAddrs: []string{names}})
	if err != nil {
		t.Fatal(err)
	}
	dns.SetDefaultDNSIPv4("127.0.0.1")
	dns.SetDefaultDNSIPv6("")
	go dns.Run()
	t.Cleanup(dns.Shutdown)

	store := db.NewMemoryStore()
	profile := ca.Profile{Description: "short", ValidityPeriod: uint64(validity / time.Second)} //nolint:gosec // positive
	issuer := ca.New(quiet, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": profile})
	validator := va.New(quiet, httpPort, tlsPort, false, names, store)
	front := wfe.New(quiet, store, validator, issuer, []string{"pebble.example.test"}, false, false, 1, 1)
	a := &authority{roots: x509.NewCertPool()}
	handler := front.Handler()
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/order-plz") {
			a.orders.Add(1)
		}
		handler.ServeHTTP(w, r)
	}))
	a.Config.ErrorLog = quiet
	a.StartTLS()
	t.Cleanup(a.Close)
	a.roots.AddCert(issuer.GetRootCert(0).Cert)
	return a
}

// config is that of a server with certificates of a.
func (a *authority) config(dir string) transport.ServerConfig {
	return transport.ServerConfig{
		Autocert: &transport.Autocert{Hosts: []string{host}, CacheDir: dir, AcceptTOS: true, DirectoryURL: a.URL + "/dir", HTTPClient: a.Client()},
		Logger:   slog.New(slog.DiscardHandler),
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	ln := listen(t)
	defer func() { _ = ln.Close() }()
	return portOf(ln)
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func portOf(ln net.Listener) int { return ln.Addr().(*net.TCPAddr).Port }

// serve runs a server on ln, and returns what stops it.
func serve(t *testing.T, ln net.Listener, cfg transport.ServerConfig) (stop func()) {
	t.Helper()
	srv, err := transport.NewServer("", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- transport.Serve(ctx, srv, ln) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: got %v, want nil", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// ask sends a request over a connection of its own, and returns the certificate.
func ask(addr, name string, roots *x509.CertPool) (*x509.Certificate, error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 30 * time.Second}, "tcp", addr, &tls.Config{ServerName: name, RootCAs: roots, NextProtos: []string{"http/1.1"}}) //nolint:gosec // the server's minimum counts
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: "+name+"\r\nConnection: close\r\n\r\n"); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(conn)
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(b, []byte("HTTP/1.1 200 ")) {
		return nil, errors.New("the answer is not 200: " + string(b))
	}
	return conn.ConnectionState().PeerCertificates[0], nil
}

// A certificate is got by TLS-ALPN-01 when a client first asks, kept over a restart, and
// renewed before it ends, and no connection is dropped meanwhile.
func TestIssuesAndRenews(t *testing.T) {
	ln := listen(t)
	a := startAuthority(t, freePort(t), portOf(ln), 9*time.Second)
	dir, addr := t.TempDir(), ln.Addr().String()
	stop := serve(t, ln, a.config(dir))
	first, err := ask(addr, host, a.roots)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.VerifyHostname(host); err != nil {
		t.Error(err)
	}

	// For another host none is asked for.
	before := a.orders.Load()
	if _, err := ask(addr, "other.example.test", a.roots); err == nil {
		t.Error("a host that is not in Hosts: got a certificate")
	}
	if n := a.orders.Load() - before; n != 0 {
		t.Errorf("a host that is not in Hosts: %d orders were made", n)
	}

	// Clients come all the time, until each of them has seen another certificate.
	var wg sync.WaitGroup
	deadline := time.Now().Add(40 * time.Second)
	for range 4 {
		wg.Go(func() {
			for asked := 1; ; asked++ {
				cert, err := ask(addr, host, a.roots)
				if err != nil {
					t.Errorf("request %d: %v", asked, err)
					return
				}
				if cert.SerialNumber.Cmp(first.SerialNumber) != 0 {
					return
				}
				if time.Now().After(deadline) {
					t.Errorf("the certificate was not renewed; it ends %s", cert.NotAfter)
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	wg.Wait()

	// What was got is used after a restart, without the authority.
	stop()
	a.Close()
	ln = listen(t)
	serve(t, ln, a.config(dir))
	if _, err := ask(ln.Addr().String(), host, a.roots); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		t.Fatalf("the CacheDir has %d files, %v", len(entries), err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %v, %v: others can read it", e.Name(), info.Mode(), err)
		}
	}
}

// Where the authority can't connect to the TLS port, it checks by HTTP-01 at RedirectAddr.
func TestIssuesByHTTP(t *testing.T) {
	ln, port80 := listen(t), listen(t)
	redirect := "127.0.0.1:" + strconv.Itoa(freePort(t))
	a := startAuthority(t, portOf(port80), freePort(t), time.Hour)
	cfg := a.config(t.TempDir())
	cfg.RedirectAddr, cfg.RedirectHost = redirect, host
	// At port 80, which a test has not, the Host field has no port.
	front := &http.Server{ReadHeaderTimeout: time.Minute, Handler: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "http", redirect, host
	}}}
	go func() { _ = front.Serve(port80) }()
	t.Cleanup(func() { _ = front.Close() })
	serve(t, ln, cfg)
	if _, err := ask(ln.Addr().String(), host, a.roots); err != nil {
		t.Error(err)
	}
}
