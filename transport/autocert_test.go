package transport_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/acme"

	"github.com/sallyport/sallyport/transport"
)

// cacheOfAutocert keeps a certificate of api.example.com where autocert finds it.
func cacheOfAutocert(t *testing.T, dir string, cert tls.Certificate) {
	t.Helper()
	certFile, keyFile := writePair(t, cert)
	kept := append(must(os.ReadFile(keyFile)), must(os.ReadFile(certFile))...)
	if err := os.WriteFile(filepath.Join(dir, "api.example.com"), kept, 0o600); err != nil {
		t.Fatal(err)
	}
}

// An authority that does not answer holds neither the connections of those who want a
// certificate of it, nor those of others.
func TestAnAuthorityThatDoesNotAnswer(t *testing.T) {
	const patience = 300 * time.Millisecond
	asked, release := make(chan struct{}, 100), make(chan struct{})
	authority := roundTripper(func(r *http.Request) (*http.Response, error) {
		asked <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return nil, fmt.Errorf("slow: %w", context.Canceled)
	})
	dir := t.TempDir()
	cacheOfAutocert(t, dir, issue(t, 0, 90*day))
	srv, err := transport.NewServer("", ok, transport.ServerConfig{
		Autocert:          &transport.Autocert{Hosts: []string{"api.example.com", "slow.example.com"}, CacheDir: dir, AcceptTOS: true, HTTPClient: &http.Client{Transport: authority}},
		ReadHeaderTimeout: patience, Logger: slog.New(slog.DiscardHandler), MaxConnections: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, srv)
	defer close(release)
	for i := range 20 { // far more than there are places
		conn, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		protos := [][]string{nil, {acme.ALPNProto, "h2"}}[i%2] // no challenge, if only nearly
		go func() {
			_ = tls.Client(conn, &tls.Config{ServerName: "Slow.example.com", NextProtos: protos}).Handshake()
		}()
	}
	<-asked
	conn, err := net.DialTimeout("tcp", r.addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	good := tls.Client(conn, &tls.Config{ServerName: "api.example.com", InsecureSkipVerify: true})
	if _, err := io.WriteString(good, "GET / HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatalf("behind those who wait: %v", err)
	}
	if b, err := io.ReadAll(good); !bytes.HasPrefix(b, []byte("HTTP/1.1 200 ")) {
		t.Errorf("got %q, %v", b, err)
	}
	// Those who know RSA alone wait for another certificate than the one that is there.
	old := &tls.ClientHelloInfo{ServerName: "api.example.com", CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}
	for range 6 {
		if _, err := srv.TLSConfig.GetCertificate(old); err == nil || !strings.Contains(err.Error(), "no certificate yet") {
			t.Fatalf("of those who know RSA alone: got %v", err)
		}
	}
	known := &tls.ClientHelloInfo{ServerName: "api.example.com", CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}}
	for range 10 { // more than may wait at a time
		if _, err := srv.TLSConfig.GetCertificate(known); err != nil {
			t.Fatal(err)
		}
	}
	hello := &tls.ClientHelloInfo{ServerName: "slow.example.com", CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}}
	for range 6 { // those who come later, too
		if _, err := srv.TLSConfig.GetCertificate(hello); err == nil || !strings.Contains(err.Error(), "no certificate yet") {
			t.Fatalf("got %v", err)
		}
	}
	// Full-width letters, which a Manager takes for others.
	for range 6 {
		if _, err := srv.TLSConfig.GetCertificate(&tls.ClientHelloInfo{ServerName: "\uff53low.example.com"}); err == nil || !strings.Contains(err.Error(), "not ASCII") {
			t.Fatalf("another spelling: got %v", err)
		}
	}
	if _, err := srv.TLSConfig.GetCertificate(&tls.ClientHelloInfo{ServerName: "evil.example"}); err == nil || strings.Contains(err.Error(), "yet") {
		t.Errorf("another host: got %v", err)
	}
}
