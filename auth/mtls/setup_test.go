package mtls_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/mtls"
	httperr "github.com/sallyport/sallyport/errors"
)

// authority issues certificates.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return &authority{key, c}
}

var ours = sync.OnceValue(func() *authority { return newAuthority(new(testing.B), "ours") })

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

func (a *authority) authorities(t testing.TB) *mtls.Authorities {
	t.Helper()
	as, err := mtls.ParseAuthorities(a.pem())
	if err != nil {
		t.Fatal(err)
	}
	return as
}

// under issues an authority's certificate, changed by change.
func (a *authority) under(t testing.TB, change func(*x509.Certificate)) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "between"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	change(c)
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return &authority{key, c}
}

// client issues a certificate for clients that names one URI, changed by change.
func (a *authority) client(t testing.TB, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "billing", Organization: []string{"Example"}},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Minute),
		URIs: []*url.URL{uri("spiffe://example.com/billing")}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(c)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func uri(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return u
}

func newAuthenticator(t testing.TB, change ...func(*mtls.Config)) *mtls.Authenticator {
	t.Helper()
	cfg := mtls.Config{Name: mtls.URI, Authorities: ours().authorities(t)}
	for _, f := range change {
		f(&cfg)
	}
	a, err := mtls.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// quiet keeps events out of the output.
func quiet(h http.Handler) http.Handler {
	logger := slog.New(slog.DiscardHandler)
	return httperr.Recover(httperr.Config{Logger: logger, Audit: audit.Slog(logger)})(h)
}

// serve starts a server that tells who calls, with our authority for clients.
func serve(t *testing.T, change func(*tls.Config), a ...auth.Authenticator) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(quiet(auth.Require(a...)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _ := auth.FromContext(r.Context())
		c, err := mtls.Certificate(r)
		if err != nil {
			t.Error(err)
		}
		fmt.Fprintf(w, "%s by %s, %s, resumed %v", id.Subject, id.Issuer, mtls.Thumbprint(c), r.TLS.DidResume)
	}))))
	s.TLS = &tls.Config{ClientCAs: ours().authorities(t).Pool(), ClientAuth: tls.VerifyClientCertIfGiven}
	if change != nil {
		change(s.TLS)
	}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that must fail
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func clientOf(s *httptest.Server, change func(*tls.Config)) *http.Client {
	c := s.Client()
	t := c.Transport.(*http.Transport).Clone()
	change(t.TLSClientConfig)
	return &http.Client{Transport: t, Timeout: 10 * time.Second}
}

func get(t *testing.T, c *http.Client, s *httptest.Server) (int, string, error) {
	t.Helper()
	resp, err := c.Get(s.URL)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// with returns a request over a connection that has verified c.
func with(c *x509.Certificate) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c}, VerifiedChains: [][]*x509.Certificate{{c, ours().cert}}}
	return r
}
