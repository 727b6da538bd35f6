package transport_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"log/slog"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/transport"
)

const day = 24 * time.Hour

// issue returns a self-signed certificate that lasts for life from now, less what is over of it.
func issue(t *testing.T, over, life time.Duration, extensions ...pkix.Extension) tls.Certificate {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"api.example.com"}, ExtraExtensions: extensions,
		NotBefore: time.Now().Add(-over), NotAfter: time.Now().Add(life - over),
	}
	der := must(x509.CreateCertificate(rand.Reader, c, c, key.Public(), key))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: must(x509.ParseCertificate(der))}
}

// A handshake is all that there is to notice that a certificate ends.
func TestACertificateThatEndsIsToldOf(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  func(t *testing.T, cert tls.Certificate) transport.ServerConfig
	}{
		{"of files", func(t *testing.T, cert tls.Certificate) (c transport.ServerConfig) {
			c.CertFile, c.KeyFile = writePair(t, cert)
			return c
		}},
		{"given", func(t *testing.T, cert tls.Certificate) transport.ServerConfig {
			cert.Leaf = nil // as one is that was put together by hand
			return transport.ServerConfig{Certificates: []tls.Certificate{issue(t, 0, 3650*day), cert}}
		}},
		{"picked", func(_ *testing.T, cert tls.Certificate) transport.ServerConfig {
			return transport.ServerConfig{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }}
		}},
	} {
		for _, life := range []struct {
			whole, left time.Duration // of its life, and what is left of it at the first warning
		}{{365 * day, 14 * day}, {40 * day, 10 * day}, {6 * day, 36 * time.Hour}} {
			t.Run(tt.name+" for "+life.whole.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					out := &logs{}
					cfg := tt.cfg(t, issue(t, 0, life.whole))
					cfg.Logger = slog.New(slog.NewTextHandler(out, nil))
					srv := must(transport.NewServer("", ok, cfg))
					handshakes := func(n int) {
						t.Helper()
						for range n {
							if get := srv.TLSConfig.GetConfigForClient; get != nil {
								if c, err := get(nil); c != nil || err != nil {
									t.Fatal(c, err)
								}
							} else if _, err := srv.TLSConfig.GetCertificate(nil); err != nil {
								t.Fatal(err)
							}
						}
					}
					told := func(when string, want int, message string) {
						t.Helper()
						text := out.String()
						if n := strings.Count(text, message); n != want || n > 0 && !strings.Contains(text, "api.example.com") {
							t.Errorf("%s: got %d times %q, want %d: %s", when, n, message, want, text)
						}
					}
					time.Sleep(life.whole - life.left - time.Second)
					handshakes(3)
					told("before", 0, "a certificate")
					time.Sleep(time.Second)
					handshakes(3)
					told("at the time", 1, "ends soon")
					time.Sleep(59 * time.Minute)
					handshakes(3)
					told("within an hour", 1, "ends soon")
					time.Sleep(time.Minute)
					handshakes(3)
					told("an hour later", 2, "ends soon")
					time.Sleep(life.left)
					handshakes(3)
					told("when it has ended", 1, "has ended")
				})
			})
		}
	}
}

// Each certificate that ends is told of, whatever was said of others.
func TestCertificatesThatEndAreToldOfEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &logs{}
		two := []tls.Certificate{issue(t, 0, 10*day), issue(t, 0, 8*day)}
		srv := must(transport.NewServer("", ok, transport.ServerConfig{Certificates: two, Logger: slog.New(slog.NewTextHandler(out, nil))}))
		time.Sleep(9 * day)
		for range 2 {
			if _, err := srv.TLSConfig.GetConfigForClient(nil); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Minute)
		}
		if text := out.String(); strings.Count(text, "ends soon") != 1 || strings.Count(text, "has ended") != 1 {
			t.Errorf("got %q", text)
		}
	})
}

// However many end, a handshake does not make a warning of each.
func TestManyCertificatesThatEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &logs{}
		one, many := issue(t, 0, 8*day), make([]tls.Certificate, 1100)
		for i := range many {
			many[i] = one
			leaf := *one.Leaf
			leaf.Raw = append([]byte{byte(i), byte(i >> 8)}, leaf.Raw...)
			many[i].Leaf = &leaf
		}
		srv := must(transport.NewServer("", ok, transport.ServerConfig{Certificates: many, Logger: slog.New(slog.NewTextHandler(out, nil))}))
		time.Sleep(7 * day)
		for hours := 1; hours <= 2; hours++ {
			for range 3 {
				if _, err := srv.TLSConfig.GetConfigForClient(nil); err != nil {
					t.Fatal(err)
				}
			}
			if n, more := strings.Count(out.String(), "ends soon"), strings.Count(out.String(), "more certificates end"); n != 1000*hours || more != hours {
				t.Errorf("%d warnings in %d hours, and %d of more", n, hours, more)
			}
			time.Sleep(time.Hour)
		}
	})
}

// A handshake goes on as it was.
func TestACertificateThatEndsIsServedOn(t *testing.T) {
	out := &logs{}
	old := issue(t, 364*day, 365*day)
	srv := must(transport.NewServer("", ok, transport.ServerConfig{Certificates: []tls.Certificate{old}, Logger: slog.New(slog.NewTextHandler(out, nil))}))
	c := trusting(old)
	c.ServerName = "api.example.com"
	conn, err := tls.Dial("tcp", start(t, srv).addr, c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if got := conn.ConnectionState().PeerCertificates[0]; !got.Equal(old.Leaf) {
		t.Errorf("got the certificate of %v", got.DNSNames)
	}
	if text := out.String(); strings.Count(text, "ends soon") != 1 {
		t.Errorf("got %q", text)
	}
}

// Whoever renews certificates may fail to, and autocert tells nobody.
func TestACertificateThatEndsOfAutocert(t *testing.T) {
	dir, out, asked := t.TempDir(), &logs{}, make(chan struct{}, 100)
	cacheOfAutocert(t, dir, issue(t, 364*day, 365*day))
	srv := must(transport.NewServer("", ok, transport.ServerConfig{
		Autocert: &transport.Autocert{
			Hosts: []string{"api.example.com"}, CacheDir: dir, AcceptTOS: true,
			HTTPClient: &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
				asked <- struct{}{}
				return nil, errors.New("no network here")
			})},
		},
		Logger: slog.New(slog.NewTextHandler(out, nil)),
	}))
	if _, err := srv.TLSConfig.GetCertificate(&tls.ClientHelloInfo{
		ServerName: "api.example.com", SupportedProtos: []string{"h2"}, SupportedCurves: []tls.CurveID{tls.CurveP256},
		CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}, SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256},
	}); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); strings.Count(text, "ends soon") != 1 {
		t.Errorf("got %q", text)
	}
	<-asked // the renewal has written its account key, and writes nothing more
}

// RFC 7633: clients refuse a certificate that demands a stapled response, and is sent without.
func TestRFC7633_StapleThatIsDemanded(t *testing.T) {
	demand := pkix.Extension{Id: []int{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: []byte{0x30, 3, 2, 1, 5}}
	strict := issue(t, 0, 90*day, demand)
	certFile, keyFile := writePair(t, strict)
	stapled := strict
	stapled.OCSPStaple = []byte("a response")
	for _, tt := range []struct {
		name, want string
		cfg        transport.ServerConfig
	}{
		{"given", "ServerConfig.Certificates[1]: the certificate demands", transport.ServerConfig{Certificates: []tls.Certificate{issue(t, 0, day), strict}}},
		{"of files", "ServerConfig.CertFile, KeyFile: the certificate demands", transport.ServerConfig{CertFile: certFile, KeyFile: keyFile}},
		{"with one", "", transport.ServerConfig{Certificates: []tls.Certificate{stapled}}},
		{"that is none", "ServerConfig.Certificates[0]: x509", transport.ServerConfig{Certificates: []tls.Certificate{{Certificate: [][]byte{{1}}, PrivateKey: strict.PrivateKey}}}},
	} {
		_, err := transport.NewServer("", ok, tt.cfg)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}
