package transport_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/transport"
)

// An authority and a certificate of a client of it.
type party struct {
	pool   *x509.CertPool
	client tls.Certificate
}

func newParty(t *testing.T, name string, change func(client *x509.Certificate)) party {
	t.Helper()
	sign := func(c, by *x509.Certificate, key, byKey *ecdsa.PrivateKey) *x509.Certificate {
		der, err := x509.CreateCertificate(rand.Reader, c, by, &key.PublicKey, byKey)
		if err != nil {
			t.Fatal(err)
		}
		c, err = x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	now := time.Now()
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	rootKey, key := newKey(), newKey()
	root = sign(root, root, rootKey, rootKey)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "client of " + name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(leaf)
	}
	leaf = sign(leaf, root, key, rootKey)
	p := party{pool: x509.NewCertPool(), client: tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}}
	p.pool.AddCert(root)
	return p
}

// TestASVS_12_1_3_ClientCertificates has handshakes with each kind of client certificate. A
// handler sees one only in the chains that were verified.
func TestASVS_12_1_3_ClientCertificates(t *testing.T) {
	ours, theirs := newParty(t, "ours", nil), newParty(t, "theirs", nil)
	expired := newParty(t, "expired", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	server := newParty(t, "servers", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	pool := ours.pool
	for _, tt := range []struct {
		name      string
		pool      *x509.CertPool
		required  bool
		client    *tls.Certificate
		handshake bool
		verified  bool
	}{
		{"ours", pool, true, &ours.client, true, true},
		{"ours, where none is required", pool, false, &ours.client, true, true},
		{"none", pool, true, nil, false, false},
		{"none, where none is required", pool, false, nil, true, false},
		{"of another authority", pool, true, &theirs.client, false, false},
		{"of another authority, where none is required", pool, false, &theirs.client, false, false},
		{"expired", expired.pool, false, &expired.client, false, false},
		{"of a server", server.pool, false, &server.client, false, false},
		{"where none is asked for", nil, false, &ours.client, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var verified atomic.Bool
			srv, config := newServer(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				verified.Store(len(r.TLS.VerifiedChains) > 0)
			}), transport.ServerConfig{ClientCAs: tt.pool, RequireClientCert: tt.required})
			addr := start(t, srv).addr
			if tt.client != nil { // whatever authorities the server names
				config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return tt.client, nil }
			}
			resp, err := client(t, config, false).Get("https://" + addr)
			if (err == nil) != tt.handshake {
				t.Fatalf("got %v, want a handshake: %t", err, tt.handshake)
			}
			if err == nil {
				_ = resp.Body.Close()
			}
			if verified.Load() != tt.verified {
				t.Errorf("the handler saw a verified certificate: %t, want %t", verified.Load(), tt.verified)
			}
		})
	}
}

// TestCVE_2026_27586_NoAuthorities has no configuration that asks for certificates of clients
// without saying whose let anyone in.
func TestCVE_2026_27586_NoAuthorities(t *testing.T) {
	cert, _ := selfSigned(t)
	for field, cfg := range map[string]transport.ServerConfig{
		"ClientCAs: the pool is empty":       {ClientCAs: x509.NewCertPool()},
		"RequireClientCert: needs ClientCAs": {RequireClientCert: true},
	} {
		cfg.Certificates = []tls.Certificate{cert}
		_, err := transport.NewServer("", ok, cfg)
		wantErr(t, err, field)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert.Leaf)
	_, err := transport.NewServer("", ok, transport.ServerConfig{
		Autocert: &transport.Autocert{Hosts: []string{"api.example.com"}, CacheDir: t.TempDir(), AcceptTOS: true}, ClientCAs: pool, RequireClientCert: true,
	})
	wantErr(t, err, "RequireClientCert: with Autocert")
	for _, cfg := range []transport.ServerConfig{{ClientCAs: pool}, {RequireClientCert: true}, {TLS13Only: true}} {
		cfg.AllowInsecureHTTP = true
		_, err := transport.NewServer("", ok, cfg)
		wantErr(t, err, "need TLS")
	}
}

func wantErr(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want an error that says %q", err, text)
	}
}

// TestASVS_12_1_1_TLS13Only has handshakes of each version. By default the key exchange is a
// hybrid with a post-quantum one.
func TestASVS_12_1_1_TLS13Only(t *testing.T) {
	for _, tt := range []struct {
		name    string
		only    bool
		version uint16
		want    bool
	}{
		{"1.3", true, tls.VersionTLS13, true},
		{"1.2 where 1.3 is a must", true, tls.VersionTLS12, false},
		{"1.2", false, tls.VersionTLS12, true},
		{"1.1", false, tls.VersionTLS11, false},
	} {
		srv, config := newServer(t, ok, transport.ServerConfig{TLS13Only: tt.only})
		addr := start(t, srv).addr
		config.MinVersion, config.MaxVersion = tls.VersionTLS10, tt.version
		conn, err := tls.Dial("tcp", addr, config)
		if (err == nil) != tt.want {
			t.Errorf("%s: got %v", tt.name, err)
		}
		if err != nil {
			continue
		}
		if s := conn.ConnectionState(); s.Version == tls.VersionTLS13 && s.CurveID != tls.X25519MLKEM768 {
			t.Errorf("%s: the key exchange is %s, want %s", tt.name, s.CurveID, tls.X25519MLKEM768)
		}
		_ = conn.Close()
	}
}

// A countingListener counts the connections that are open at a time.
type countingListener struct {
	net.Listener
	mu         sync.Mutex
	open, peak int
}

func (l *countingListener) add(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open += n
	l.peak = max(l.peak, l.open)
}

func (l *countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.add(1)
	return &countedConn{Conn: conn, closed: sync.OnceFunc(func() { l.add(-1) })}, nil
}

type countedConn struct {
	net.Conn
	closed func()
}

func (c *countedConn) Close() error {
	c.closed()
	return c.Conn.Close()
}

// All requests are served, with no more connections at a time than there may be, over TLS
// and without.
func TestMaxConnections(t *testing.T) {
	const most, clients = 3, 30
	for name, plain := range map[string]bool{"TLS": false, "plain": true} {
		t.Run(name, func(t *testing.T) {
			srv, config := newServer(t, ok, transport.ServerConfig{AllowInsecureHTTP: plain, MaxConnections: most})
			tcp, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ln := &countingListener{Listener: tcp}
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- transport.Serve(ctx, srv, ln) }()
			url := "https://" + tcp.Addr().String()
			if plain {
				url = "http" + url[len("https"):]
			}
			var wg sync.WaitGroup
			for range clients {
				wg.Go(func() {
					c := client(t, config, false)
					c.Transport.(*http.Transport).DisableKeepAlives = true
					resp, err := c.Get(url)
					if err != nil {
						t.Error(err)
						return
					}
					defer func() { _ = resp.Body.Close() }()
					if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "ok" {
						t.Errorf("got %q, %v", b, err)
					}
				})
			}
			wg.Wait()
			stop()
			if err := <-done; err != nil {
				t.Errorf("Serve: got %v, want nil", err)
			}
			if ln.peak > most || ln.peak == 0 || ln.open != 0 {
				t.Errorf("%d connections were open at a time, want %d at most; %d are left", ln.peak, most, ln.open)
			}
		})
	}
	cert, _ := selfSigned(t)
	_, err := transport.NewServer("", ok, transport.ServerConfig{Certificates: []tls.Certificate{cert}, MaxConnections: -1})
	wantErr(t, err, "MaxConnections")
}

// A bound leaves connections what net/http makes use of.
func TestMaxConnectionsKeepsWhatConnectionsCan(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	content := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	can := make(chan bool, 2)
	srv, _ := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) }),
		transport.ServerConfig{AllowInsecureHTTP: true, MaxConnections: 1})
	own := srv.ConnContext
	srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if c.RemoteAddr().Network() == "tcp" {
			_, reads := c.(io.ReaderFrom)
			w, closes := c.(interface{ CloseWrite() error })
			can <- reads && closes && w != nil
		}
		return own(ctx, c)
	}
	conn, err := net.Dial("tcp", start(t, srv).addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if got, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(got, content) {
		t.Errorf("got %d bytes, %v, want %d", len(got), err, len(content))
	}
	if !<-can {
		t.Error("the connection can't send files, or half close")
	}
}

// A server that is full stops as any other, which start checks: also when the place is taken
// by a connection that a handler has made its own, which nobody but the handler closes.
func TestMaxConnectionsStops(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"idle": ok,
		"hijacked": func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv, _ := newServer(t, h, transport.ServerConfig{AllowInsecureHTTP: true, MaxConnections: 1})
			r := start(t, srv)
			first, err := net.Dial("tcp", r.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = first.Close() }()
			if _, err := io.WriteString(first, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			if _, err := first.Read(make([]byte, 1)); err != nil { // it is served
				t.Fatal(err)
			}
			second, err := net.Dial("tcp", r.addr) // waits
			if err != nil {
				t.Fatal(err)
			}
			_ = second.Close()
			r.stop()
			if err := <-r.done; err != nil {
				t.Errorf("Serve: got %v, want nil", err)
			}
		})
	}
}
