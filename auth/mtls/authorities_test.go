package mtls_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/mtls"
)

// What can't be read in whole is an error, and never fewer authorities, or those of the
// system (ASVS 12.1.3; Caddy CVE-2026-27586).
func TestGO_2026_4539_ParseAuthorities(t *testing.T) {
	mine, theirs := ours().pem(), newAuthority(t, "theirs").pem()
	leaf := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ours().client(t, nil).Leaf.Raw})
	for _, tt := range []struct {
		name string
		data []byte
		want string // "" is taken
	}{
		{"one", mine, ""},
		{"two", append(bytes.Clone(mine), theirs...), ""},
		{"text around them", []byte("# ours\n" + string(mine) + "# theirs\n" + string(theirs) + "# end\n"), ""},
		{"nil", nil, "no certificate"},
		{"text", []byte("certificates"), "no certificate"},
		{"cut off", mine[:len(mine)-20], "cut off"},
		{"the first cut off", append(bytes.Clone(mine[:len(mine)/2]), theirs...), "cut off"},
		{"the second cut off", append(bytes.Clone(mine), theirs[:len(theirs)/2]...), "cut off"},
		{"DER", ours().cert.Raw, "no certificate"},
		{"a client's", append(bytes.Clone(mine), leaf...), "certificate 2 is not of an authority"},
		{"a key", append(bytes.Clone(mine), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("canary")})...), "block 2 is no certificate"},
		{"no DER", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("canary")}), "certificate 1"},
		{"more than a certificate", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: append(bytes.Clone(ours().cert.Raw), 0)}), "certificate 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := mtls.ParseAuthorities(tt.data)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("got %v", err)
			case tt.want != "" && (a != nil || err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "canary")):
				t.Errorf("got %v, %v, want %q", a, err, tt.want)
			}
		})
	}
	var none *mtls.Authorities
	if p := none.Pool(); p == nil || !p.Equal(x509.NewCertPool()) {
		t.Error("the pool of no authorities is not empty")
	}
}

// Where ClientCAs was not set as it should be, crypto/tls takes the clients of every
// authority that the system knows. They are nobody here.
func TestGO_2026_4539_AnotherPool(t *testing.T) {
	theirs := newAuthority(t, "theirs")
	s := serve(t, func(c *tls.Config) { c.ClientCAs = theirs.authorities(t).Pool() }, newAuthenticator(t))
	cert := theirs.client(t, nil)
	client := clientOf(s, func(c *tls.Config) { c.Certificates = []tls.Certificate{cert} })
	if status, body, err := get(t, client, s); err != nil || status != 401 {
		t.Errorf("got %d, %q, %v, want 401", status, body, err)
	}
}

// Two authorities may give the same name: it is of two principals then, each with the
// issuer of its authority, and neither is taken for the other.
func TestTwoAuthorities(t *testing.T) {
	theirs := newAuthority(t, "theirs")
	of := func(name string, a *authority) auth.Authenticator {
		return newAuthenticator(t, func(c *mtls.Config) { c.Issuer, c.Authorities = name, a.authorities(t) })
	}
	both := append(bytes.Clone(ours().pem()), theirs.pem()...)
	all, err := mtls.ParseAuthorities(both)
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, func(c *tls.Config) { c.ClientCAs = all.Pool() }, of("ours", ours()), of("theirs", theirs))
	for want, a := range map[string]*authority{"ours": ours(), "theirs": theirs} {
		cert := a.client(t, nil)
		client := clientOf(s, func(c *tls.Config) { c.Certificates = []tls.Certificate{cert} })
		if status, body, err := get(t, client, s); err != nil || status != 200 || !strings.HasPrefix(body, "spiffe://example.com/billing by "+want+",") {
			t.Errorf("%s: got %d, %q, %v", want, status, body, err)
		}
	}
	// The one alone takes the certificate of the other for none.
	r := with(theirs.client(t, nil).Leaf)
	r.TLS.VerifiedChains[0][1] = theirs.cert
	if id, err := of("ours", ours()).Authenticate(r); id != nil || !errors.Is(err, auth.ErrNoCredentials) {
		t.Errorf("got %+v, %v", id, err)
	}
	// Of several chains the one that counts may be any.
	r.TLS.VerifiedChains = append(r.TLS.VerifiedChains, []*x509.Certificate{r.TLS.VerifiedChains[0][0], ours().cert})
	if id, err := of("ours", ours()).Authenticate(r); err != nil || id.Issuer != "ours" {
		t.Errorf("got %+v, %v", id, err)
	}
}

func FuzzParseAuthorities(f *testing.F) {
	f.Add(ours().pem())
	f.Add(append(bytes.Clone(ours().pem()), ours().pem()...))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Add([]byte("-----BEGIN"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := mtls.ParseAuthorities(data)
		if (a == nil) == (err == nil) {
			t.Fatalf("got %v, %v", a, err)
		}
		if a == nil {
			return
		}
		// Whatever is taken, x509 takes too.
		if p := x509.NewCertPool(); !p.AppendCertsFromPEM(data) || !p.Equal(a.Pool()) {
			t.Fatalf("the pool differs from what x509 reads")
		}
	})
}
