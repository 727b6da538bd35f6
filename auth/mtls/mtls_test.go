package mtls_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

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

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
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
	cfg := mtls.Config{Name: mtls.URI}
	for _, f := range change {
		f(&cfg)
	}
	a, err := mtls.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// serve starts a server that tells who calls, with our authority for clients.
func serve(t *testing.T, a *mtls.Authenticator, change func(*tls.Config)) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(auth.Require(a)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _ := auth.FromContext(r.Context())
		c, err := mtls.Certificate(r)
		if err != nil {
			t.Error(err)
		}
		fmt.Fprintf(w, "%s by %s, %s, resumed %v", id.Subject, id.Issuer, mtls.Thumbprint(c), r.TLS.DidResume)
	})))
	s.TLS = &tls.Config{ClientCAs: ours().pool(), ClientAuth: tls.VerifyClientCertIfGiven}
	if change != nil {
		change(s.TLS)
	}
	s.Config.ErrorLog = nil
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
				s := serve(t, newAuthenticator(t), func(c *tls.Config) { c.ClientAuth = tt.mode })
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
			s := serve(t, newAuthenticator(t), nil)
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

// with returns a request over a connection that has verified c.
func with(c *x509.Certificate) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c}, VerifiedChains: [][]*x509.Certificate{{c, ours().cert}}}
	return r
}

func TestCertificate(t *testing.T) {
	good := ours().client(t, nil).Leaf
	for _, tt := range []struct {
		name string
		r    *http.Request
		want error
	}{
		{"verified", with(good), nil},
		{"expired since the handshake", with(ours().client(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }).Leaf), auth.ErrInvalid},
		{"not valid yet", with(ours().client(t, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }).Leaf), auth.ErrInvalid},
		{"presented alone", func() *http.Request { r := with(good); r.TLS.VerifiedChains = nil; return r }(), auth.ErrNoCredentials},
		{"an empty chain", func() *http.Request { r := with(good); r.TLS.VerifiedChains = [][]*x509.Certificate{{}}; return r }(), auth.ErrNoCredentials},
		{"no TLS", httptest.NewRequest("GET", "/", nil), auth.ErrNoCredentials},
		{"a field", func() *http.Request {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("Client-Cert", ":"+base64.StdEncoding.EncodeToString(good.Raw)+":")
			return r
		}(), auth.ErrNoCredentials},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := mtls.Certificate(tt.r)
			if tt.want == nil && (err != nil || c != good) || tt.want != nil && (c != nil || !errors.Is(err, tt.want)) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	sum := sha256.Sum256(good.Raw)
	if got := mtls.Thumbprint(good); got != base64.RawURLEncoding.EncodeToString(sum[:]) || len(got) != 43 {
		t.Errorf("the thumbprint is %s", got)
	}
}

func TestNames(t *testing.T) {
	dn := pkix.Name{CommonName: "billing", Organization: []string{"Example"}}
	for _, tt := range []struct {
		name   string
		kind   mtls.NameKind
		change func(*x509.Certificate)
		want   string // "" is refused
	}{
		{"URI", mtls.URI, nil, "spiffe://example.com/billing"},
		{"two URIs", mtls.URI, func(c *x509.Certificate) { c.URIs = append(c.URIs, uri("spiffe://example.com/admin")) }, ""},
		{"no URI", mtls.URI, func(c *x509.Certificate) { c.URIs = nil }, ""},
		{"a long URI", mtls.URI, func(c *x509.Certificate) {
			c.URIs = []*url.URL{uri("spiffe://example.com/" + strings.Repeat("a", 300))}
		}, ""},
		{"DNS", mtls.DNS, func(c *x509.Certificate) { c.DNSNames = []string{"billing.example.com"} }, "billing.example.com"},
		{"DNS, besides a URI and an email", mtls.DNS, func(c *x509.Certificate) { c.DNSNames, c.EmailAddresses = []string{"a.example.com"}, []string{"a@b.c"} }, "a.example.com"},
		{"two DNS names", mtls.DNS, func(c *x509.Certificate) { c.DNSNames = []string{"a.example.com", "b.example.com"} }, ""},
		{"no DNS name", mtls.DNS, nil, ""},
		{"email", mtls.Email, func(c *x509.Certificate) { c.EmailAddresses = []string{"ada@example.com"} }, "ada@example.com"},
		{"two emails", mtls.Email, func(c *x509.Certificate) { c.EmailAddresses = []string{"ada@example.com", "eve@example.com"} }, ""},
		{"subject", mtls.Subject, nil, dn.String()},
		{"no subject", mtls.Subject, func(c *x509.Certificate) { c.Subject = pkix.Name{} }, ""},
		{"a subject that looks like another", mtls.Subject, func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: "billing,O=Example"} }, `CN=billing\,O\=Example`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id, err := newAuthenticator(t, func(c *mtls.Config) { c.Name = tt.kind }).Authenticate(with(ours().client(t, tt.change).Leaf))
			switch {
			case tt.want == "" && (id != nil || !errors.Is(err, auth.ErrInvalid)):
				t.Errorf("got %v, %v, want it refused", id, err)
			case tt.want != "" && (err != nil || id.Subject != tt.want && id.Subject != strings.ReplaceAll(tt.want, `\=`, "=")):
				t.Errorf("got %+v, %v, want %s", id, err, tt.want)
			}
		})
	}
}

func TestAuthenticate(t *testing.T) {
	leaf := ours().client(t, nil).Leaf
	id, err := newAuthenticator(t).Authenticate(with(leaf))
	if err != nil || id.Scheme != "MutualTLS" || id.Issuer != "mtls" || !id.Expires.Equal(leaf.NotAfter) {
		t.Errorf("got %+v, %v", id, err)
	}
	allowed := newAuthenticator(t, func(c *mtls.Config) {
		c.Allowed, c.Issuer = []string{"spiffe://example.com/orders", "spiffe://example.com/billing"}, "corp"
	})
	if id, err := allowed.Authenticate(with(leaf)); err != nil || id.Issuer != "corp" {
		t.Errorf("got %+v, %v", id, err)
	}
	for name, u := range map[string]string{"another": "spiffe://example.com/admin", "another case": "spiffe://example.com/Billing", "longer": "spiffe://example.com/billing/x"} {
		other := ours().client(t, func(c *x509.Certificate) { c.URIs = []*url.URL{uri(u)} }).Leaf
		if id, err := allowed.Authenticate(with(other)); id != nil || !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%s: got %v, %v", name, id, err)
		}
	}
	for name, usage := range map[string][]x509.ExtKeyUsage{"none": nil, "any": {x509.ExtKeyUsageAny}, "both": {x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}} {
		c := ours().client(t, func(c *x509.Certificate) { c.ExtKeyUsage = usage }).Leaf
		if _, err := newAuthenticator(t).Authenticate(with(c)); err != nil {
			t.Errorf("usage %s: got %v", name, err)
		}
	}
	for name, change := range map[string]func(*x509.Certificate){
		"for servers": func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} },
		"for something unknown": func(c *x509.Certificate) {
			c.ExtKeyUsage, c.UnknownExtKeyUsage = nil, []asn1.ObjectIdentifier{{1, 2, 3}}
		},
	} {
		if id, err := newAuthenticator(t).Authenticate(with(ours().client(t, change).Leaf)); id != nil || !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%s: got %v, %v", name, id, err)
		}
	}
	if a := newAuthenticator(t); a.Scheme().Type != "mutualTLS" {
		t.Errorf("got %+v", a.Scheme())
	}
}

func TestIdentity(t *testing.T) {
	leaf := ours().client(t, nil).Leaf
	for _, tt := range []struct {
		name string
		id   *auth.Identity
		err  error
		ok   bool
	}{
		{"an identity", &auth.Identity{Subject: "u-1", Roles: []string{"service"}}, nil, true},
		{"one that lasts longer", &auth.Identity{Subject: "u-1", Expires: time.Now().Add(time.Hour)}, nil, true},
		{"nobody", nil, auth.ErrInvalid, false},
		{"a store out of reach", nil, errors.New("out of reach"), false},
		{"neither", nil, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newAuthenticator(t, func(c *mtls.Config) {
				c.Name = 0
				c.Identity = func(_ *http.Request, c *x509.Certificate) (*auth.Identity, error) {
					if c != leaf {
						t.Error("another certificate was asked about")
					}
					return tt.id, tt.err
				}
			})
			id, err := a.Authenticate(with(leaf))
			if (err == nil) != tt.ok || tt.err != nil && !errors.Is(err, tt.err) || tt.ok && !id.Expires.Equal(leaf.NotAfter) {
				t.Errorf("got %+v, %v", id, err)
			}
		})
	}
}

func TestConfigErrors(t *testing.T) {
	identity := func(*http.Request, *x509.Certificate) (*auth.Identity, error) { return nil, auth.ErrInvalid }
	for name, tt := range map[string]struct {
		cfg   mtls.Config
		field string
	}{
		"nothing":           {mtls.Config{}, "Name"},
		"both":              {mtls.Config{Name: mtls.URI, Identity: identity}, "Name"},
		"an unknown kind":   {mtls.Config{Name: 99}, "Name"},
		"a negative kind":   {mtls.Config{Name: -1}, "Name"},
		"nobody allowed":    {mtls.Config{Name: mtls.URI, Allowed: []string{}}, "Allowed"},
		"an empty name":     {mtls.Config{Name: mtls.URI, Allowed: []string{""}}, "Allowed"},
		"allowed, Identity": {mtls.Config{Identity: identity, Allowed: []string{"a"}}, "Allowed"},
		"realm":             {mtls.Config{Name: mtls.URI, Realm: "a\nb"}, "Realm"},
	} {
		t.Run(name, func(t *testing.T) {
			if a, err := mtls.New(tt.cfg); a != nil || err == nil || !strings.Contains(err.Error(), "Config."+tt.field) {
				t.Errorf("got %v, %v", a, err)
			}
		})
	}
	for _, p := range [][]netip.Prefix{nil, {{}}} {
		if f, err := mtls.NewForwarded(mtls.ForwardedConfig{TrustedProxies: p}); f != nil || err == nil {
			t.Errorf("%v: got %v, %v", p, f, err)
		}
	}
}

func newForwarded(t testing.TB) *mtls.Forwarded {
	t.Helper()
	f, err := mtls.NewForwarded(mtls.ForwardedConfig{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestRFC9440_ForwardedCertificate(t *testing.T) {
	leaf := ours().client(t, nil).Leaf
	field := ":" + base64.StdEncoding.EncodeToString(leaf.Raw) + ":"
	expired := ours().client(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }).Leaf
	for _, tt := range []struct {
		name, peer string
		fields     []string
		want       string // "" is the certificate; "none", "invalid", "malformed"
	}{
		{"from the proxy", "10.1.2.3:1", []string{field}, ""},
		{"mapped", "[::ffff:10.1.2.3]:1", []string{field}, ""},
		{"IPv6", "[fd00::1]:1", []string{field}, ""},
		{"from somebody", "192.0.2.1:1", []string{field}, "none"},
		{"from nobody", "@", []string{field}, "none"},
		{"no field", "10.1.2.3:1", nil, "none"},
		{"expired", "10.1.2.3:1", []string{":" + base64.StdEncoding.EncodeToString(expired.Raw) + ":"}, "invalid"},
		{"two fields", "10.1.2.3:1", []string{field, field}, "malformed"},
		{"two in one", "10.1.2.3:1", []string{field + ", " + field}, "malformed"},
		{"parameters", "10.1.2.3:1", []string{field + ";a=b"}, "malformed"},
		{"no colons", "10.1.2.3:1", []string{strings.Trim(field, ":")}, "malformed"},
		{"one colon", "10.1.2.3:1", []string{":"}, "malformed"},
		{"empty", "10.1.2.3:1", []string{"::"}, "malformed"},
		{"a space", "10.1.2.3:1", []string{": " + field[1:]}, "malformed"},
		{"a line break", "10.1.2.3:1", []string{":\n" + field[1:]}, "malformed"},
		{"more than a certificate", "10.1.2.3:1", []string{":" + base64.StdEncoding.EncodeToString(append(leaf.Raw, leaf.Raw...)) + ":"}, "malformed"},
		{"PEM", "10.1.2.3:1", []string{":-----BEGIN CERTIFICATE-----:"}, "malformed"},
		{"large", "10.1.2.3:1", []string{":" + strings.Repeat("A", 16<<10) + ":"}, "malformed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = tt.peer
			if tt.fields != nil {
				r.Header["Client-Cert"] = tt.fields
			}
			// An address that a header claims counts for nothing.
			r.Header.Set("X-Forwarded-For", "10.1.2.3")
			c, err := newForwarded(t).Certificate(r)
			var p *httperr.Problem
			switch {
			case tt.want == "" && (err != nil || mtls.Thumbprint(c) != mtls.Thumbprint(leaf)):
				t.Errorf("got %v", err)
			case tt.want != "" && c != nil,
				tt.want == "none" && !errors.Is(err, auth.ErrNoCredentials),
				tt.want == "invalid" && !errors.Is(err, auth.ErrInvalid),
				tt.want == "malformed" && (!errors.As(err, &p) || p.Status != http.StatusBadRequest):
				t.Errorf("got %v, %v, want %s", c, err, tt.want)
			}
		})
	}
}

// Of anyone else the field is removed, in every spelling (oauth2-proxy CVE-2025-64484).
func TestCVE_2025_64484_ForwardedWrap(t *testing.T) {
	var seen http.Header
	h := newForwarded(t).Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Header }))
	for peer, kept := range map[string]bool{"10.1.2.3:1": true, "192.0.2.1:1": false} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = peer
		for _, name := range []string{"Client-Cert", "Client-Cert-Chain", "Client_cert", "CLIENT_CERT_CHAIN", "client-cert"} {
			r.Header[name] = []string{"x"}
		}
		r.Header.Set("Other", "y")
		h.ServeHTTP(httptest.NewRecorder(), r)
		if want := map[bool]int{true: 6, false: 1}[kept]; len(seen) != want || len(r.Header) != 6 {
			t.Errorf("%s: the handler sees %v, of %v", peer, seen, r.Header)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a nil handler is taken")
		}
	}()
	newForwarded(t).Wrap(nil)
}

func FuzzForwarded(f *testing.F) {
	fwd := newForwarded(f)
	f.Add(":" + base64.StdEncoding.EncodeToString(ours().cert.Raw) + ":")
	for _, s := range []string{"", ":", "::", ":AAAA:", "AAAA", ":MIIB:;a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = "10.0.0.1:1"
		r.Header["Client-Cert"] = []string{s}
		c, err := fwd.Certificate(r)
		if (c == nil) == (err == nil) {
			t.Fatalf("got %v, %v", c, err)
		}
	})
}

func BenchmarkAuthenticate(b *testing.B) {
	a := newAuthenticator(b)
	r := with(ours().client(b, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(time.Hour) }).Leaf)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Authenticate(r); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleNew() {
	certificates, err := mtls.New(mtls.Config{Name: mtls.URI, Allowed: []string{"spiffe://example.com/billing"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	h := auth.Require(certificates)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	// Serve it with tls.Config{ClientCAs: …, ClientAuth: tls.RequireAndVerifyClientCert}.
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/invoices", nil))
	fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
	// Output: 401 MutualTLS realm="api"
}
