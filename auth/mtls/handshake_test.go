package mtls_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth/mtls"
)

// Real handshakes: who gets in, by which certificate (ASVS 12.1.3, RFC 8705 §2).
func TestRFC8705_2_Handshakes(t *testing.T) {
	theirs := newAuthority(t, "theirs")
	good := ours().client(t, nil)
	fake := newAuthority(t, "ours") // the name of our authority, and another key
	none := 0                       // no connection
	for _, tt := range []struct {
		name   string
		mode   tls.ClientAuthType
		cert   *tls.Certificate
		status int
	}{
		{"ours", tls.VerifyClientCertIfGiven, &good, 200},
		{"ours, required", tls.RequireAndVerifyClientCert, &good, 200},
		{"none", tls.VerifyClientCertIfGiven, nil, 401},
		{"none, required", tls.RequireAndVerifyClientCert, nil, none},
		{"another authority's", tls.VerifyClientCertIfGiven, ptr(theirs.client(t, nil)), none},
		{"signed by another", tls.VerifyClientCertIfGiven, ptr(fake.client(t, nil)), none},
		{"expired", tls.VerifyClientCertIfGiven, ptr(ours().client(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) })), none},
		{"for servers", tls.VerifyClientCertIfGiven, ptr(ours().client(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })), none},
		// A server that does not verify lets everyone in, but nobody through.
		{"another authority's, not verified", tls.RequireAnyClientCert, ptr(theirs.client(t, nil)), 401},
		{"ours, not verified", tls.RequestClientCert, &good, 401},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(tt.name+" "+tls.VersionName(version), func(t *testing.T) {
				s := serve(t, func(c *tls.Config) { c.ClientAuth = tt.mode }, newAuthenticator(t))
				client := clientOf(s, func(c *tls.Config) {
					c.MinVersion, c.MaxVersion = version, version
					if tt.cert != nil { // whatever the server asks for
						c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return tt.cert, nil }
					}
				})
				status, body, err := get(t, client, s)
				if status != tt.status || (err != nil) != (tt.status == none) {
					t.Errorf("got %d, %v, want %d", status, err, tt.status)
				}
				if status == 200 && !strings.HasPrefix(body, "spiffe://example.com/billing by mtls, "+mtls.Thumbprint(tt.cert.Leaf)) {
					t.Errorf("got %q", body)
				}
			})
		}
	}
}

func ptr[T any](v T) *T { return &v }

// A session that is resumed has the certificate of the first handshake.
func TestRFC8705_3_Resumption(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			s := serve(t, nil, newAuthenticator(t))
			cert := ours().client(t, nil)
			client := clientOf(s, func(c *tls.Config) {
				c.MinVersion, c.MaxVersion = version, version
				c.Certificates, c.ClientSessionCache = []tls.Certificate{cert}, tls.NewLRUClientSessionCache(0)
			})
			for i, want := range []string{"resumed false", "resumed true"} {
				status, body, err := get(t, client, s)
				if err != nil || status != 200 || !strings.HasSuffix(body, mtls.Thumbprint(cert.Leaf)+", "+want) {
					t.Fatalf("request %d: got %d, %q, %v", i, status, body, err)
				}
				client.CloseIdleConnections()
			}
		})
	}
}

// A connection may outlive its certificate, or one of the chain: the server's clock was
// right when it was made, and each request is looked at anew.
func TestASVS_12_1_3_ExpiredSinceTheHandshake(t *testing.T) {
	now := time.Now()
	past := func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(-50*time.Minute), now.Add(-time.Second) }
	between := ours().under(t, past)
	lasting := ours().under(t, func(*x509.Certificate) {})
	good := lasting.client(t, func(c *x509.Certificate) { c.NotBefore = now.Add(-50 * time.Minute) })
	good.Certificate = append(good.Certificate, lasting.cert.Raw)
	below := between.client(t, func(c *x509.Certificate) { c.NotBefore = now.Add(-50 * time.Minute) })
	below.Certificate = append(below.Certificate, between.cert.Raw)
	for _, tt := range []struct {
		name   string
		cert   tls.Certificate
		status int
	}{
		{"the certificate", ours().client(t, past), 401},
		{"what issued it", below, 401},
		{"nothing", good, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, func(c *tls.Config) { c.Time = func() time.Time { return now.Add(-30 * time.Minute) } }, newAuthenticator(t))
			client := clientOf(s, func(c *tls.Config) {
				c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tt.cert, nil }
			})
			if status, body, err := get(t, client, s); err != nil || status != tt.status {
				t.Errorf("got %d, %q, %v, want %d", status, body, err, tt.status)
			}
		})
	}
}

// Which policy a connection has is chosen by the server name of its handshake, and Host
// says another one: the certificate of the connection counts, or none (Dex
// CVE-2024-23656; Traefik CVE-2022-23632, CVE-2026-53622).
func TestCVE_2022_23632_AnotherHost(t *testing.T) {
	theirs := newAuthority(t, "theirs")
	server := ours().client(t, nil)
	s := serve(t, func(c *tls.Config) {
		c.Certificates = []tls.Certificate{server}
		strict, public, others := c.Clone(), c.Clone(), c.Clone()
		strict.ClientAuth = tls.RequireAndVerifyClientCert
		public.ClientAuth = tls.NoClientCert
		others.ClientCAs = theirs.authorities(t).Pool()
		c.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			return map[string]*tls.Config{"private.example.com": strict, "public.example.com": public, "others.example.com": others}[h.ServerName], nil
		}
	}, newAuthenticator(t))
	mine, other := ours().client(t, nil), theirs.client(t, nil)
	for _, tt := range []struct {
		name, server string
		cert         *tls.Certificate
		status       int
	}{
		{"where it is asked for", "private.example.com", &mine, 200},
		{"where none is asked for", "public.example.com", &mine, 401},
		{"none", "public.example.com", nil, 401},
		{"one of another policy", "others.example.com", &other, 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client := clientOf(s, func(c *tls.Config) {
				c.ServerName, c.InsecureSkipVerify = tt.server, true
				if tt.cert != nil {
					c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return tt.cert, nil }
				}
			})
			r, err := http.NewRequest(http.MethodGet, s.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = "private.example.com"
			resp, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != tt.status {
				t.Errorf("got %d, want %d", resp.StatusCode, tt.status)
			}
		})
	}
}

// Each request has the certificate of its own connection, over HTTP/2 as well.
func TestCVE_2024_23656_EachItsOwnConnection(t *testing.T) {
	s := serve(t, func(c *tls.Config) { c.NextProtos = []string{"h2", "http/1.1"} }, newAuthenticator(t))
	var wg sync.WaitGroup
	for _, h2 := range []bool{false, true} {
		for _, name := range []string{"ada", "eve", ""} {
			client := clientOf(s, func(c *tls.Config) {
				c.NextProtos = []string{"http/1.1"}
				if h2 {
					c.NextProtos = []string{"h2"}
				}
				if name != "" {
					c.Certificates = []tls.Certificate{ours().client(t, func(c *x509.Certificate) { c.URIs[0] = uri("spiffe://example.com/" + name) })}
				}
			})
			client.Transport.(*http.Transport).ForceAttemptHTTP2 = h2
			for range 20 {
				wg.Go(func() {
					resp, err := client.Get(s.URL)
					if err != nil {
						t.Error(err)
						return
					}
					defer resp.Body.Close()
					body, _ := io.ReadAll(resp.Body)
					switch {
					case (resp.ProtoMajor == 2) != h2:
						t.Errorf("got %s", resp.Proto)
					case name == "" && resp.StatusCode != 401, name != "" && !strings.HasPrefix(string(body), "spiffe://example.com/"+name+" by"):
						t.Errorf("%q over %s: got %d, %s", name, resp.Proto, resp.StatusCode, body)
					}
				})
			}
		}
	}
	wg.Wait()
}
