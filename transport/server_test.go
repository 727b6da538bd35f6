package transport_test

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/acme"

	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/transport"
)

// An oddSigner has a public key of its own kind.
type oddSigner struct{ crypto.Signer }

func (oddSigner) Public() crypto.PublicKey { return "public" }

func TestAPI8_NewServerRefusesWhatCannotWork(t *testing.T) {
	cert, _ := selfSigned(t)
	certs := []tls.Certificate{cert}
	pick := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }
	certFile, keyFile := writePair(t, cert)
	_, otherKey := writePair(t, must(transport.SelfSigned()))
	dir := t.TempDir()
	acmeOf := func(change func(*transport.Autocert)) transport.ServerConfig {
		a := &transport.Autocert{Hosts: []string{"api.example.com"}, CacheDir: dir, AcceptTOS: true}
		change(a)
		return transport.ServerConfig{Autocert: a}
	}
	plainFile := filepath.Join(dir, "file")
	if err := os.WriteFile(plainFile, nil, 0o600); err != nil {
		t.Fatal(err)
	}

	for _, tt := range []struct {
		name string
		cfg  transport.ServerConfig
		want string // in the error
	}{
		{"no certificate", transport.ServerConfig{}, "CertFile and KeyFile, Certificates, GetCertificate or Autocert"},
		{"plain HTTP and a certificate", transport.ServerConfig{AllowInsecureHTTP: true, Certificates: certs}, "only one of Certificates, AllowInsecureHTTP"},
		{"two kinds of plain HTTP", transport.ServerConfig{AllowInsecureHTTP: true, LoopbackHTTP: true}, "only one of LoopbackHTTP, AllowInsecureHTTP"},
		{"redirect to plain HTTP on loopback", transport.ServerConfig{LoopbackHTTP: true, RedirectAddr: ":80", RedirectHost: "example.com"}, "ServerConfig.RedirectAddr"},
		{"two sources", transport.ServerConfig{GetCertificate: pick, Certificates: certs}, "only one of Certificates, GetCertificate"},
		{"files and autocert", transport.ServerConfig{CertFile: certFile, KeyFile: keyFile, Autocert: &transport.Autocert{}}, "only one of CertFile and KeyFile, Autocert"},
		{"empty certificates", transport.ServerConfig{Certificates: []tls.Certificate{}}, "ServerConfig.Certificates"},
		{"certificate without key", transport.ServerConfig{Certificates: []tls.Certificate{{Certificate: cert.Certificate}}}, "ServerConfig.Certificates[0]"},
		{"zero certificate", transport.ServerConfig{Certificates: []tls.Certificate{cert, {}}}, "ServerConfig.Certificates[1]"},
		{"no key file", transport.ServerConfig{CertFile: certFile}, "ServerConfig.KeyFile"},
		{"no cert file", transport.ServerConfig{KeyFile: keyFile}, "ServerConfig.CertFile"},
		{"missing files", transport.ServerConfig{CertFile: dir + "/absent", KeyFile: keyFile}, "ServerConfig.CertFile, KeyFile"},
		{"another certificate's key", transport.ServerConfig{CertFile: certFile, KeyFile: otherKey}, "ServerConfig.CertFile, KeyFile"},
		{"negative ReadHeaderTimeout", transport.ServerConfig{Certificates: certs, ReadHeaderTimeout: -1}, "ServerConfig.ReadHeaderTimeout"},
		{"negative ReadTimeout", transport.ServerConfig{Certificates: certs, ReadTimeout: -1}, "ServerConfig.ReadTimeout"},
		{"negative WriteTimeout", transport.ServerConfig{Certificates: certs, WriteTimeout: -1}, "ServerConfig.WriteTimeout"},
		{"negative IdleTimeout", transport.ServerConfig{Certificates: certs, IdleTimeout: -1}, "ServerConfig.IdleTimeout"},
		{"negative ShutdownTimeout", transport.ServerConfig{Certificates: certs, ShutdownTimeout: -1}, "ServerConfig.ShutdownTimeout"},
		{"negative MaxHeaderBytes", transport.ServerConfig{Certificates: certs, MaxHeaderBytes: -1}, "ServerConfig.MaxHeaderBytes"},
		{"negative MaxConcurrentStreams", transport.ServerConfig{Certificates: certs, MaxConcurrentStreams: -1}, "ServerConfig.MaxConcurrentStreams"},
		{"redirect without host", transport.ServerConfig{Certificates: certs, RedirectAddr: ":80"}, "ServerConfig.RedirectHost"},
		{"redirect without address", transport.ServerConfig{Certificates: certs, RedirectHost: "example.com"}, "ServerConfig.RedirectHost: needs RedirectAddr"},
		{"credentials without a redirect", transport.ServerConfig{Certificates: certs, RedirectCredentials: []string{"X-Token"}}, "ServerConfig.RedirectCredentials: needs RedirectAddr"},
		{"credentials of no field", transport.ServerConfig{Certificates: certs, RedirectAddr: ":80", RedirectHost: "example.com", RedirectCredentials: []string{"X Token"}}, "ServerConfig.RedirectCredentials: \"X Token\""},
		{"the key of another certificate", transport.ServerConfig{Certificates: []tls.Certificate{cert, {Certificate: cert.Certificate, PrivateKey: must(transport.SelfSigned()).PrivateKey}}}, "ServerConfig.Certificates[1]: the private key is that of another"},
		{"a key that is nil", transport.ServerConfig{Certificates: []tls.Certificate{{Certificate: cert.Certificate, PrivateKey: (*ecdsa.PrivateKey)(nil)}}}, "ServerConfig.Certificates[0]: the private key has no public key"},
		{"a key of a type of its own", transport.ServerConfig{Certificates: []tls.Certificate{{Certificate: cert.Certificate, PrivateKey: oddSigner{}}}}, "is of the type string"},
		{"a key that is none", transport.ServerConfig{Certificates: []tls.Certificate{{Certificate: cert.Certificate, PrivateKey: "key"}}}, "ServerConfig.Certificates[0]: the private key can't sign"},
		{"redirect to a URL", transport.ServerConfig{Certificates: certs, RedirectAddr: ":80", RedirectHost: "https://example.com"}, "ServerConfig.RedirectHost"},
		{"redirect on a bad address", transport.ServerConfig{Certificates: certs, RedirectAddr: "80", RedirectHost: "example.com"}, "ServerConfig.RedirectAddr"},
		{"redirect to no HTTPS", transport.ServerConfig{AllowInsecureHTTP: true, RedirectAddr: ":80", RedirectHost: "example.com"}, "ServerConfig.RedirectAddr"},
		{"autocert without hosts", acmeOf(func(a *transport.Autocert) { a.Hosts = nil }), "Autocert.Hosts"},
		{"autocert for an address", acmeOf(func(a *transport.Autocert) { a.Hosts = []string{"192.0.2.1"} }), "Autocert.Hosts[0]"},
		{"autocert for an IPv6 address", acmeOf(func(a *transport.Autocert) { a.Hosts = []string{"[2001:db8::1]"} }), "Autocert.Hosts[0]"},
		{"autocert for localhost", acmeOf(func(a *transport.Autocert) { a.Hosts = []string{"localhost"} }), "Autocert.Hosts[0]"},
		{"autocert for a wildcard", acmeOf(func(a *transport.Autocert) { a.Hosts = []string{"a.example.com", "*.example.com"} }), "Autocert.Hosts[1]"},
		{"autocert with a port", acmeOf(func(a *transport.Autocert) { a.Hosts = []string{"a.example.com:443"} }), "Autocert.Hosts[0]"},
		{"autocert without cache", acmeOf(func(a *transport.Autocert) { a.CacheDir = "" }), "Autocert.CacheDir"},
		{"autocert with a file as cache", acmeOf(func(a *transport.Autocert) { a.CacheDir = plainFile }), "Autocert.CacheDir"},
		{"autocert without consent", acmeOf(func(a *transport.Autocert) { a.AcceptTOS = false }), "Autocert.AcceptTOS"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv, err := transport.NewServer(":443", ok, tt.cfg)
			if srv != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, %v; want nil and an error that names %q", srv, err, tt.want)
			}
		})
	}

	good := transport.ServerConfig{Certificates: certs}
	for name, f := range map[string]func() (*http.Server, error){
		"handler is nil":                        func() (*http.Server, error) { return transport.NewServer(":443", nil, good) },
		"more than one":                         func() (*http.Server, error) { return transport.NewServer(":443", ok, good, good) },
		"missing port":                          func() (*http.Server, error) { return transport.NewServer("example.com", ok, good) },
		"no certificate":                        func() (*http.Server, error) { return transport.NewServer(":443", ok) },
		"say LoopbackHTTP or AllowInsecureHTTP": func() (*http.Server, error) { return transport.NewServer(":443", ok) },
	} {
		if srv, err := f(); srv != nil || err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, %v; want nil and an error with %q", srv, err, name)
		}
	}
}

// The defaults are part of the contract: no limit may be missing.
func TestNewServerDefaults(t *testing.T) {
	srv, _ := newServer(t, ok, transport.ServerConfig{})
	for _, tt := range []struct {
		name      string
		got, want time.Duration
	}{
		{"ReadHeaderTimeout", srv.ReadHeaderTimeout, 5 * time.Second},
		{"ReadTimeout", srv.ReadTimeout, 30 * time.Second},
		{"WriteTimeout", srv.WriteTimeout, 60 * time.Second},
		{"IdleTimeout", srv.IdleTimeout, 120 * time.Second},
	} {
		if tt.got != tt.want {
			t.Errorf("%s = %v, want %v", tt.name, tt.got, tt.want)
		}
	}
	if srv.MaxHeaderBytes != 32<<10 {
		t.Errorf("MaxHeaderBytes = %d, want %d", srv.MaxHeaderBytes, 32<<10)
	}
	if got, want := *srv.HTTP2, (http.HTTP2Config{
		MaxConcurrentStreams: 100, MaxReadFrameSize: 16 << 10,
		MaxReceiveBufferPerConnection: 1 << 20, MaxReceiveBufferPerStream: 1 << 20, WriteByteTimeout: 30 * time.Second,
	}); !reflect.DeepEqual(got, want) {
		t.Errorf("HTTP2 = %+v, want %+v", got, want)
	}
	if c := srv.TLSConfig; c.MinVersion != tls.VersionTLS12 || c.CurvePreferences != nil || !slices.Contains(c.NextProtos, "h2") {
		t.Errorf("TLSConfig: MinVersion %x, CurvePreferences %v, NextProtos %v", c.MinVersion, c.CurvePreferences, c.NextProtos)
	}

	set, _ := newServer(t, ok, transport.ServerConfig{
		ReadHeaderTimeout: 1, ReadTimeout: 2, WriteTimeout: 3, IdleTimeout: 4, MaxHeaderBytes: 5, MaxConcurrentStreams: 6,
	})
	if set.HTTP2.MaxConcurrentStreams != 6 || set.HTTP2.WriteByteTimeout != 3 {
		t.Errorf("the given limits were not kept: %+v", set.HTTP2)
	}
	if set.ReadHeaderTimeout != 1 || set.ReadTimeout != 2 || set.WriteTimeout != 3 || set.IdleTimeout != 4 || set.MaxHeaderBytes != 5 {
		t.Errorf("the given limits were not kept: %+v", set)
	}
}

// CVE-2024-23656 and CVE-2022-23632 were TLS settings that a server accepted and
// then did not use, so this asks the running server.
func TestASVS_12_1_1_CVE_2024_23656_HandshakesAsConfigured(t *testing.T) {
	ecdsaCert, ecdsaClient := selfSigned(t)
	rsaCert := rsaPair(t)
	for _, tt := range []struct {
		name     string
		cert     tls.Certificate
		min, max uint16
		suites   []uint16
		ok       bool
	}{
		{"TLS 1.3", ecdsaCert, tls.VersionTLS13, tls.VersionTLS13, nil, true},
		{"TLS 1.2", ecdsaCert, tls.VersionTLS12, tls.VersionTLS12, nil, true},
		{"TLS 1.1", ecdsaCert, tls.VersionTLS11, tls.VersionTLS11, nil, false},
		{"TLS 1.0", ecdsaCert, tls.VersionTLS10, tls.VersionTLS10, nil, false},
		{"TLS 1.0 and 1.1, RSA", rsaCert, tls.VersionTLS10, tls.VersionTLS11, nil, false},
		{"ECDHE, AES-128-GCM", ecdsaCert, 0, tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}, true},
		{"ECDHE, AES-256-GCM", ecdsaCert, 0, tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}, true},
		{"ECDHE, ChaCha20", ecdsaCert, 0, tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}, true},
		{"ECDHE, AES-128-CBC, SHA-1", ecdsaCert, 0, tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}, false},
		{"ECDHE, AES-256-CBC, SHA-1", ecdsaCert, 0, tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA}, false},
		{"ECDHE, AES-128-CBC, SHA-256", ecdsaCert, 0, tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256}, false},
		{"RSA certificate, ECDHE, AES-128-GCM", rsaCert, 0, tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}, true},
		{"RSA certificate, ECDHE, CBC", rsaCert, 0, tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA}, false},
		{"RSA key exchange, GCM", rsaCert, 0, tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}, false},
		{"RSA key exchange, CBC", rsaCert, 0, tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}, false},
		{"3DES", rsaCert, 0, tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA}, false},
		{"RC4", rsaCert, 0, tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv, err := transport.NewServer(":0", ok, transport.ServerConfig{
				Certificates: []tls.Certificate{tt.cert}, Logger: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				t.Fatal(err)
			}
			c := ecdsaClient.Clone()
			c.RootCAs = trusting(tt.cert).RootCAs
			c.MinVersion, c.MaxVersion, c.CipherSuites = tt.min, tt.max, tt.suites
			conn, err := tls.Dial("tcp", start(t, srv).addr, c)
			if err == nil {
				defer func() { _ = conn.Close() }()
			}
			if (err == nil) != tt.ok {
				t.Errorf("handshake: got error %v, want success %v", err, tt.ok)
			}
			// The server must have refused, rather than this client.
			if err != nil && !strings.HasPrefix(err.Error(), "remote error: tls:") {
				t.Errorf("got %v, want an alert from the server", err)
			}
		})
	}
}

func TestTLSPrefersPostQuantumAndHTTP2(t *testing.T) {
	srv, c := newServer(t, ok, transport.ServerConfig{})
	c.NextProtos = []string{"h2", "http/1.1"}
	conn, err := tls.Dial("tcp", start(t, srv).addr, c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	got := conn.ConnectionState()
	if got.Version != tls.VersionTLS13 || got.CurveID != tls.X25519MLKEM768 || got.NegotiatedProtocol != "h2" {
		t.Errorf("got version %x, key exchange %v, protocol %q; want TLS 1.3, X25519MLKEM768, h2", got.Version, got.CurveID, got.NegotiatedProtocol)
	}
}

func TestCertificatesByName(t *testing.T) {
	a, b := must(transport.SelfSigned("a.example.com")), must(transport.SelfSigned("b.example.com"))
	srv, err := transport.NewServer("", ok, transport.ServerConfig{Certificates: []tls.Certificate{a, b}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	c := trusting(b)
	c.ServerName = "b.example.com"
	conn, err := tls.Dial("tcp", start(t, srv).addr, c)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

func TestGetCertificateIsAsked(t *testing.T) {
	cert, c := selfSigned(t)
	asked := make(chan string, 1)
	srv, err := transport.NewServer("", ok, transport.ServerConfig{
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			asked <- hello.ServerName
			return &cert, nil
		},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", start(t, srv).addr, c)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if name := <-asked; name != "localhost" {
		t.Errorf("asked for %q, want localhost", name)
	}
}

// A flood of header bytes is refused before a handler sees it. net/http has slack
// of its own (4 KiB in HTTP/1, some per field in HTTP/2), so the sizes keep clear.
func TestGO_2025_3553_HeaderFlood(t *testing.T) {
	srv, c := newServer(t, ok, transport.ServerConfig{})
	r := start(t, srv)
	for _, h2 := range []bool{false, true} {
		cl := client(t, c, h2)
		for _, tt := range []struct {
			name  string
			lines int
			size  int
			want  int
		}{
			{"31 KiB in one line", 1, 31 << 10, 200},
			{"64 KiB in one line", 1, 64 << 10, 431},
			{"a thousand lines", 1000, 64, 431},
		} {
			req, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+r.addr, nil)
			if err != nil {
				t.Fatal(err)
			}
			for i := range tt.lines {
				req.Header["X-Flood-"+string(rune('A'+i%26))] = append(req.Header["X-Flood-"+string(rune('A'+i%26))], strings.Repeat("a", tt.size))
			}
			resp, err := cl.Do(req)
			if h2 && tt.want == 431 && err != nil && strings.Contains(err.Error(), "larger than peer's advertised limit") {
				continue // the server said so in its SETTINGS, and the client obeys
			}
			if err != nil {
				t.Fatalf("HTTP/2 %v, %s: %v", h2, tt.name, err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != tt.want {
				t.Errorf("HTTP/2 %v, %s: got %d, want %d", h2, tt.name, resp.StatusCode, tt.want)
			}
		}
	}
}

// Half a request must not hold a connection: each stage has its deadline, told
// here by the bubble's clock.
func TestAPI4_SlowClientsAreClosed(t *testing.T) {
	const post = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n"
	for _, tt := range []struct {
		name string
		send string
		want time.Duration // when the server closes
	}{
		{"no byte", "", 5 * time.Second},
		{"half a request line", "GET /", 5 * time.Second},
		{"half a header section", "GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ", 5 * time.Second},
		{"a body that dribbles", post + "abc", 30 * time.Second},
		{"idle", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 120 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				read := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if _, err := io.Copy(io.Discard, r.Body); err != nil {
						panic(http.ErrAbortHandler)
					}
				})
				srv, c := newServer(t, read, transport.ServerConfig{})
				ln := newPipes()
				stop := ln.serve(t, srv)

				conn := tls.Client(ln.dial(t), c)
				if err := conn.Handshake(); err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				if _, err := conn.Write([]byte(tt.send)); err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, conn) // returns when the server closes
				if got := time.Since(begin); got != tt.want {
					t.Errorf("closed after %v, want %v", got, tt.want)
				}
				_ = conn.Close()
				if err := stop(); err != nil {
					t.Errorf("Serve: %v", err)
				}
			})
		})
	}
}

// A client that takes nothing of its answer holds neither its connection nor the handler. In
// HTTP/2 net/http's WriteTimeout ends a stream by a frame, which such a client does not take
// either.
func TestAPI4_ClientsThatReadNothingAreClosed(t *testing.T) {
	const farewell = 5 * time.Second // that crypto/tls waits to be rid of its close_notify
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	frame := func(kind, flags, stream byte, payload string) string {
		return string([]byte{0, 0, byte(len(payload)), kind, flags, 0, 0, 0, stream}) + payload
	}
	for _, tt := range []struct {
		name, protocol, send string
		want                 time.Duration
	}{
		{"HTTP/1.1", "http/1.1", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 60 * time.Second},
		{
			// SETTINGS, then HEADERS with GET, https, / and :authority, the last of its stream.
			"HTTP/2", "h2", preface + frame(4, 0, 0, "") + frame(1, 5, 1, "\x82\x87\x84\x01\x09localhost"), 30 * time.Second,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				left := make(chan time.Time, 1)
				endless := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					for {
						if _, err := w.Write(make([]byte, 4<<10)); err != nil {
							left <- time.Now()
							return
						}
					}
				})
				srv, c := newServer(t, endless, transport.ServerConfig{})
				ended := make(chan time.Time, 1)
				srv.ConnState = func(_ net.Conn, s http.ConnState) {
					if s == http.StateClosed {
						ended <- time.Now()
					}
				}
				ln := newPipes()
				stop := ln.serve(t, srv)

				c.NextProtos = []string{tt.protocol}
				conn := tls.Client(ln.dial(t), c)
				begin := time.Now()
				go func() { // the pipe has no buffer, so that something must be read at the same time
					if _, err := conn.Read(make([]byte, 1)); err != nil {
						t.Error(err)
					}
				}()
				if _, err := conn.Write([]byte(tt.send)); err != nil {
					t.Fatal(err)
				}
				for what, at := range map[string]chan time.Time{"the handler": left, "the connection": ended} {
					if got := (<-at).Sub(begin); got != tt.want+farewell {
						t.Errorf("%s has ended after %v, want %v", what, got, tt.want+farewell)
					}
				}
				_ = conn.NetConn().Close()
				if err := stop(); err != nil {
					t.Errorf("Serve: %v", err)
				}
			})
		})
	}
}

// net/http would answer OPTIONS * itself, past every door.
func TestOptionsAsteriskReachesTheHandler(t *testing.T) {
	srv, c := newServer(t, transport.Methods("GET")(ok), transport.ServerConfig{})
	conn, err := tls.Dial("tcp", start(t, srv).addr, c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("got %d, want 405 from the door", resp.StatusCode)
	}
}

func TestErrorLogGoesToLogger(t *testing.T) {
	out := &logs{lines: make(chan string, 10)}
	srv, _ := newServer(t, ok, transport.ServerConfig{Logger: slog.New(slog.NewJSONHandler(out, nil))})
	r := start(t, srv)
	if line := <-out.lines; !strings.Contains(line, "serving HTTPS") || !strings.Contains(line, r.addr) {
		t.Errorf("got %q, want the address", line)
	}
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if line := <-out.lines; !strings.Contains(line, `"level":"WARN"`) || !strings.Contains(line, "TLS handshake error") {
		t.Errorf("got %q, want a warning about the handshake", line)
	}

	// One log line stays one, whatever it is made of.
	srv.ErrorLog.Print("a\nlevel=ERROR msg=forged\x1b[2J")
	if line := <-out.lines; !strings.Contains(line, `a\\nlevel=ERROR`) || !strings.Contains(line, `\\x1b`) {
		t.Errorf("got %q, want escaped control characters", line)
	}
}

func TestCertFileIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := must(transport.SelfSigned())
		certFile, keyFile := writePair(t, first)
		out := &logs{}
		srv, err := transport.NewServer("", ok, transport.ServerConfig{
			CertFile: certFile, KeyFile: keyFile, Logger: slog.New(slog.NewTextHandler(out, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		want := func(when string, cert tls.Certificate) {
			t.Helper()
			got, err := srv.TLSConfig.GetCertificate(nil)
			if err != nil || !bytes.Equal(got.Certificate[0], cert.Certificate[0]) {
				t.Errorf("%s: got another certificate, or error %v", when, err)
			}
		}
		second := must(transport.SelfSigned())
		secondCert, secondKey := writePair(t, second)

		copyFile(t, secondCert, certFile)
		copyFile(t, secondKey, keyFile)
		<-time.After(59 * time.Second)
		want("within a minute", first)
		<-time.After(time.Second)
		want("after a minute", second)

		// Nobody reads files for each handshake.
		firstCert, firstKey := writePair(t, first)
		copyFile(t, firstCert, certFile)
		copyFile(t, firstKey, keyFile)
		want("at once", second)
		<-time.After(time.Minute)
		want("after two minutes", first)
		copyFile(t, secondCert, certFile)
		copyFile(t, secondKey, keyFile)
		<-time.After(time.Minute)
		want("after three minutes", second)

		// A renewal that is half done must not take the service down.
		thirdCert, thirdKey := writePair(t, must(transport.SelfSigned()))
		copyFile(t, thirdCert, certFile)
		for range 3 {
			<-time.After(time.Minute)
			want("with a key that does not match", second)
		}
		if n := strings.Count(out.String(), "the old certificate stays"); n != 1 {
			t.Errorf("got %d warnings, want 1:\n%s", n, out)
		}
		copyFile(t, thirdKey, keyFile)
		<-time.After(time.Minute)
		got, _ := srv.TLSConfig.GetCertificate(nil)
		if bytes.Equal(got.Certificate[0], second.Certificate[0]) {
			t.Error("once the renewal is complete: got the old certificate")
		}
	})
}

// A chain of which half is written is not taken, nor one that has ended in place of one that has
// not.
func TestCertFileThatIsWorse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := issue(t, 0, 90*day)
		certFile, keyFile := writePair(t, good)
		leaf := must(os.ReadFile(certFile))
		out := &logs{}
		srv := must(transport.NewServer("", ok, transport.ServerConfig{CertFile: certFile, KeyFile: keyFile, Logger: slog.New(slog.NewTextHandler(out, nil))}))
		want := func(when string, cert tls.Certificate, certs int, told string) {
			t.Helper()
			time.Sleep(time.Minute)
			got, err := srv.TLSConfig.GetCertificate(nil)
			if err != nil || !bytes.Equal(got.Certificate[0], cert.Certificate[0]) || len(got.Certificate) != certs {
				t.Errorf("%s: got another certificate, or a chain of %d, or error %v", when, len(got.Certificate), err)
			}
			if told != "" && !strings.Contains(out.String(), told) {
				t.Errorf("%s: logged %s", when, out)
			}
		}
		write := func(b ...[]byte) {
			t.Helper()
			if err := os.WriteFile(certFile, bytes.Join(b, nil), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		other := must(os.ReadFile(func() string { f, _ := writePair(t, issue(t, 0, day)); return f }()))
		write(leaf, other[:len(other)/2])
		want("half a chain", good, 1, "the chain is cut off")
		write(leaf, other)
		want("all of it", good, 2, "")
		for _, n := range []int{1, 9, 15, len("-----BEGIN CERTIFICATE-----")} {
			write(leaf, other[:n])
			want(fmt.Sprintf("no more than %d bytes of the next", n), good, 2, "")
		}
		write([]byte("a comment\n"), leaf, []byte("\nanother\n"))
		want("with comments", good, 1, "")

		early := issue(t, -day, 3*day)
		earlyCert, earlyKey := writePair(t, early)
		copyFile(t, earlyCert, certFile)
		copyFile(t, earlyKey, keyFile)
		want("one that does not hold yet", good, 1, "the new certificate does not hold yet")
		time.Sleep(day)
		want("once it does", early, 1, "")
		copyFile(t, must(func() (string, error) { f, k := writePair(t, good); copyFile(t, k, keyFile); return f, nil }()), certFile)
		want("the first again", good, 1, "")

		ended := issue(t, 2*day, day)
		endedCert, endedKey := writePair(t, ended)
		copyFile(t, endedCert, certFile)
		copyFile(t, endedKey, keyFile)
		want("one that has ended", good, 1, "the new certificate has ended")
		time.Sleep(91 * day)
		want("when the other has ended too", ended, 1, "")
	})
}

// A certificate that does not hold itself is kept from none.
func TestCertFileThatIsAsBad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		certFile, keyFile := writePair(t, issue(t, -day, 3*day))
		srv := must(transport.NewServer("", ok, transport.ServerConfig{CertFile: certFile, KeyFile: keyFile, Logger: slog.New(slog.DiscardHandler)}))
		other := issue(t, -2*day, 3*day)
		otherCert, otherKey := writePair(t, other)
		copyFile(t, otherCert, certFile)
		copyFile(t, otherKey, keyFile)
		time.Sleep(time.Minute)
		if got, err := srv.TLSConfig.GetCertificate(nil); err != nil || !bytes.Equal(got.Certificate[0], other.Certificate[0]) {
			t.Errorf("got another certificate, or error %v", err)
		}
	})
}

// Connections from before a renewal live on, and new ones come all the time.
func TestARenewalDropsNoConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := must(transport.SelfSigned()), must(transport.SelfSigned())
		certFile, keyFile := writePair(t, first)
		srv := must(transport.NewServer("", ok, transport.ServerConfig{CertFile: certFile, KeyFile: keyFile, Logger: slog.New(slog.DiscardHandler)}))
		ln := newPipes()
		stop := ln.serve(t, srv)
		connect := func() *tls.Conn {
			t.Helper()
			c := trusting(first)
			c.RootCAs.AddCert(second.Leaf)
			conn := tls.Client(ln.dial(t), c)
			if err := conn.Handshake(); err != nil {
				t.Fatal(err)
			}
			return conn
		}
		ask := func(conn *tls.Conn) {
			t.Helper()
			if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "ok" {
				t.Errorf("got %q, %v", b, err)
			}
			_ = resp.Body.Close()
		}
		old := connect()
		ask(old)
		secondCert, secondKey := writePair(t, second)
		copyFile(t, secondCert, certFile)
		copyFile(t, secondKey, keyFile)
		renewed := 0
		for range 100 {
			time.Sleep(time.Second)
			conn := connect()
			if conn.ConnectionState().PeerCertificates[0].Equal(second.Leaf) {
				renewed++
			}
			ask(conn)
			_ = conn.NetConn().Close()
		}
		ask(old)
		if renewed < 40 || renewed > 41 {
			t.Errorf("%d of 100 connections have the new certificate, want those after a minute", renewed)
		}
		_ = old.NetConn().Close()
		if err := stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

func TestAutocertIsWired(t *testing.T) {
	asked := make(chan string, 10)
	authority := roundTripper(func(r *http.Request) (*http.Response, error) {
		asked <- r.URL.String()
		return nil, errors.New("no network here")
	})
	dir := filepath.Join(t.TempDir(), "certs")
	srv, err := transport.NewServer(":443", ok, transport.ServerConfig{Autocert: &transport.Autocert{
		Hosts: []string{"API.example.com."}, CacheDir: dir, AcceptTOS: true, Email: "ops@example.com",
		DirectoryURL: "https://acme.example.net/dir", HTTPClient: &http.Client{Transport: authority},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(srv.TLSConfig.NextProtos, []string{"h2", "http/1.1", acme.ALPNProto}) {
		t.Errorf("NextProtos = %v", srv.TLSConfig.NextProtos)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("CacheDir: got %v, %v; want a directory for its owner only", info, err)
	}
	hello := func(name string) error {
		_, err := srv.TLSConfig.GetCertificate(&tls.ClientHelloInfo{ServerName: name, SupportedProtos: []string{"h2"}})
		return err
	}
	for _, other := range []string{"evil.example.com", "example.com", "x.api.example.com"} {
		if err := hello(other); err == nil || !strings.Contains(err.Error(), "not configured") {
			t.Errorf("certificate for %s: got error %v, want refused by the host policy", other, err)
		}
	}
	if len(asked) != 0 {
		t.Errorf("the authority was asked about other hosts: %s", <-asked)
	}
	if err := hello("api.example.com"); err == nil {
		t.Error("got a certificate from nowhere")
	}
	if url := <-asked; url != "https://acme.example.net/dir" {
		t.Errorf("asked %s, want the configured authority", url)
	}
}

func TestAutocertAnswersHTTP01OnTheRedirectListener(t *testing.T) {
	out := &logs{lines: make(chan string, 10)}
	srv, err := transport.NewServer("127.0.0.1:0", ok, transport.ServerConfig{
		Autocert:     &transport.Autocert{Hosts: []string{"api.example.com"}, CacheDir: t.TempDir(), AcceptTOS: true},
		RedirectAddr: "127.0.0.1:0", RedirectHost: "api.example.com", Logger: slog.New(slog.NewTextHandler(out, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	start(t, srv)
	addr := addrIn(t, <-out.lines)
	for path, want := range map[string]int{
		"/.well-known/acme-challenge/unknown-token": http.StatusNotFound,
		"/items": http.StatusPermanentRedirect,
	} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+addr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "api.example.com"
		resp, err := client(t, nil, false).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: got %d, want %d", path, resp.StatusCode, want)
		}
	}
}

func TestSelfSigned(t *testing.T) {
	cert := must(transport.SelfSigned("dev.example.com", "192.0.2.1", "2001:db8::1"))
	pool := x509.NewCertPool()
	pool.AddCert(cert.Leaf)
	for _, host := range []string{"dev.example.com", "192.0.2.1", "2001:db8::1"} {
		if _, err := cert.Leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: pool}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if _, err := cert.Leaf.Verify(x509.VerifyOptions{DNSName: "other.example.com", Roots: pool}); err == nil {
		t.Error("the certificate is valid for another host")
	}
	if cert.Leaf.IsCA || cert.Leaf.NotAfter.After(time.Now().Add(25*time.Hour)) {
		t.Errorf("got IsCA %v, NotAfter %v; want a leaf for a day", cert.Leaf.IsCA, cert.Leaf.NotAfter)
	}
	for _, bad := range []string{"", "a b", "https://example.com", "example.com:443", "[::1]", "fe80::1%eth0", "exämple.com", "*.example.com"} {
		if _, err := transport.SelfSigned(bad); err == nil || !strings.Contains(err.Error(), "SelfSigned") {
			t.Errorf("SelfSigned(%q): got error %v, want one", bad, err)
		}
	}
}

// Not a banner anywhere, also where errors are rendered.
func TestNoVersionBanners(t *testing.T) {
	h := httperr.Recover()(transport.Secure(transport.Headers{})(httperr.Mux(http.NewServeMux())))
	srv, c := newServer(t, h, transport.ServerConfig{})
	resp, err := client(t, c, false).Get("https://" + start(t, srv).addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	for _, name := range []string{"Server", "X-Powered-By", "Via"} {
		if v := resp.Header.Values(name); len(v) > 0 {
			t.Errorf("%s: %q, want none", name, v)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func rsaPair(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: must(x509.ParseCertificate(der))}
}

// writePair writes a certificate and its key to PEM files.
func writePair(t *testing.T, cert tls.Certificate) (certFile, keyFile string) {
	t.Helper()
	dir := t.TempDir()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: cert.Certificate[0]},
		keyFile:  {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// addrIn returns the addr attribute of a text log line.
func addrIn(t *testing.T, line string) string {
	t.Helper()
	_, addr, found := strings.Cut(strings.TrimSpace(line), "addr=")
	if !found {
		t.Fatalf("no addr in %q", line)
	}
	return addr
}
