package mtls_test

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/mtls"
)

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

// What the caller changes later changes nothing here, and a source of certificates that
// says nothing is no certificate.
func TestConfigIsCopied(t *testing.T) {
	allowed := []string{"spiffe://example.com/orders"}
	a := newAuthenticator(t, func(c *mtls.Config) { c.Allowed = allowed })
	allowed[0] = "spiffe://example.com/billing"
	if id, err := a.Authenticate(with(ours().client(t, nil).Leaf)); id != nil || !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("got %+v, %v", id, err)
	}
	a = newAuthenticator(t, func(c *mtls.Config) {
		c.Authorities, c.Certificate = nil, func(*http.Request) (*x509.Certificate, error) { return nil, nil }
	})
	id, err := a.Authenticate(httptest.NewRequest("GET", "/", nil))
	if id != nil || err == nil || errors.Is(err, auth.ErrInvalid) || errors.Is(err, auth.ErrNoCredentials) {
		t.Errorf("got %+v, %v", id, err)
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
		{"a store that knows nobody", nil, fmt.Errorf("%w: u-1", auth.ErrNotFound), false},
		{"a store out of reach", nil, errors.New("out of reach"), false},
		{"neither", nil, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newAuthenticator(t, func(c *mtls.Config) {
				c.Name, c.Authorities = 0, nil
				c.Identity = func(_ *http.Request, c *x509.Certificate) (*auth.Identity, error) {
					if c != leaf {
						t.Error("another certificate was asked about")
					}
					return tt.id, tt.err
				}
			})
			id, err := a.Authenticate(with(leaf))
			want := tt.err
			if errors.Is(want, auth.ErrNotFound) {
				want = auth.ErrInvalid
			}
			if (err == nil) != tt.ok || want != nil && !errors.Is(err, want) || tt.ok && !id.Expires.Equal(leaf.NotAfter) {
				t.Errorf("got %+v, %v", id, err)
			}
			if err != nil && !errors.Is(tt.err, auth.ErrInvalid) && !errors.Is(tt.err, auth.ErrNotFound) && errors.Is(err, auth.ErrInvalid) {
				t.Errorf("got %v: the certificate is refused by what can't tell", err)
			}
			if id != nil && (id == tt.id || tt.id.Scheme != "") {
				t.Error("the identity of the callback was changed")
			}
		})
	}
}

func TestConfigErrors(t *testing.T) {
	identity := func(*http.Request, *x509.Certificate) (*auth.Identity, error) { return nil, auth.ErrInvalid }
	some, mine := []string{"a"}, ours().authorities(t)
	for name, tt := range map[string]struct {
		cfg   mtls.Config
		field string
	}{
		"nothing":               {mtls.Config{}, "Name"},
		"both":                  {mtls.Config{Name: mtls.URI, Identity: identity}, "Name"},
		"an unknown kind":       {mtls.Config{Name: 99, Allowed: some}, "Name"},
		"a negative kind":       {mtls.Config{Name: -1, Allowed: some}, "Name"},
		"everybody":             {mtls.Config{Name: mtls.URI}, "Authorities"},
		"nobody allowed":        {mtls.Config{Name: mtls.URI, Allowed: []string{}}, "Allowed"},
		"an empty name":         {mtls.Config{Name: mtls.URI, Allowed: []string{""}}, "Allowed"},
		"allowed, Identity":     {mtls.Config{Identity: identity, Allowed: some}, "Allowed"},
		"no authority":          {mtls.Config{Name: mtls.URI, Authorities: new(mtls.Authorities)}, "Authorities"},
		"authorities, no chain": {mtls.Config{Name: mtls.URI, Authorities: mine, Certificate: mtls.Certificate}, "Authorities"},
		"realm":                 {mtls.Config{Name: mtls.URI, Allowed: some, Realm: "a\nb"}, "Realm"},
	} {
		t.Run(name, func(t *testing.T) {
			if a, err := mtls.New(tt.cfg); a != nil || err == nil || !strings.Contains(err.Error(), "mtls: Config."+tt.field) {
				t.Errorf("got %v, %v", a, err)
			}
		})
	}
	for name, cfg := range map[string]mtls.Config{
		"authorities": {Name: mtls.URI, Authorities: mine}, "names": {Name: mtls.URI, Allowed: some},
		"a proxy": {Name: mtls.URI, Certificate: newForwarded(t).Certificate}, "a callback": {Identity: identity},
	} {
		if _, err := mtls.New(cfg); err != nil {
			t.Errorf("%s: got %v", name, err)
		}
	}
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
