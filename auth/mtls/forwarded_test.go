package mtls_test

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/mtls"
	httperr "github.com/sallyport/sallyport/errors"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func newForwarded(t testing.TB) *mtls.Forwarded {
	t.Helper()
	f, err := mtls.NewForwarded(mtls.ForwardedConfig{TrustedProxies: []netip.Prefix{prefix("::ffff:10.9.9.9/104"), prefix("fd00::/8")}})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestForwardedConfigErrors(t *testing.T) {
	for _, p := range [][]netip.Prefix{nil, {}, {{}}, {prefix("0.0.0.0/0")}, {prefix("10.0.0.0/8"), prefix("::/0")}, {prefix("::ffff:0:0/90")}, {prefix("::ffff:0:0/96")}} {
		if f, err := mtls.NewForwarded(mtls.ForwardedConfig{TrustedProxies: p}); f != nil || err == nil || !strings.Contains(err.Error(), "ForwardedConfig.TrustedProxies") {
			t.Errorf("%v: got %v, %v", p, f, err)
		}
	}
}

func TestRFC9440_ForwardedCertificate(t *testing.T) {
	leaf := ours().client(t, nil).Leaf
	field := ":" + base64.StdEncoding.EncodeToString(leaf.Raw) + ":"
	expired := ours().client(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }).Leaf
	large := ours().client(t, func(c *x509.Certificate) { c.Subject.OrganizationalUnit = []string{strings.Repeat("a", 12<<10)} }).Leaf
	for _, tt := range []struct {
		name, peer string
		fields     []string
		want       string // "" is the certificate; "none", "invalid", "malformed"
	}{
		{"from the proxy", "10.1.2.3:1", []string{field}, ""},
		{"mapped", "[::ffff:10.1.2.3]:1", []string{field}, ""},
		{"IPv6", "[fd00::1]:1", []string{field}, ""},
		{"from somebody", "192.0.2.1:1", []string{field}, "none"},
		{"from next to the proxies", "11.1.2.3:1", []string{field}, "none"},
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
		{"large", "10.1.2.3:1", []string{":" + base64.StdEncoding.EncodeToString(large.Raw) + ":"}, "malformed"},
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

// An Authenticator takes what the proxy passes on, and nothing of the connection that
// the proxy itself has made.
func TestRFC9440_WhoIsCalling(t *testing.T) {
	a := newAuthenticator(t, func(c *mtls.Config) { c.Authorities, c.Certificate = nil, newForwarded(t).Certificate })
	proxy := ours().client(t, func(c *x509.Certificate) { c.URIs[0].Path = "/proxy" }).Leaf
	r := with(proxy)
	r.RemoteAddr = "10.1.2.3:1"
	if id, err := a.Authenticate(r); id != nil || !errors.Is(err, auth.ErrNoCredentials) {
		t.Errorf("without a field: got %+v, %v", id, err)
	}
	r.Header.Set("Client-Cert", ":"+base64.StdEncoding.EncodeToString(ours().client(t, nil).Leaf.Raw)+":")
	if id, err := a.Authenticate(r); err != nil || id.Subject != "spiffe://example.com/billing" {
		t.Errorf("got %+v, %v", id, err)
	}
	// The proxy may have looked at less than crypto/tls does.
	server := ours().client(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }).Leaf
	r.Header.Set("Client-Cert", ":"+base64.StdEncoding.EncodeToString(server.Raw)+":")
	if id, err := a.Authenticate(r); id != nil || !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("for servers: got %+v, %v", id, err)
	}
}
