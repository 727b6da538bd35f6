package mtls_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/mtls"
)

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		name   string
		kind   mtls.NameKind
		change func(*x509.Certificate)
		want   string // "" is refused
	}{
		{"URI", mtls.URI, nil, "spiffe://example.com/billing"},
		{"two URIs", mtls.URI, func(c *x509.Certificate) { c.URIs = append(c.URIs, uri("spiffe://example.com/admin")) }, ""},
		{"the same URI twice", mtls.URI, func(c *x509.Certificate) { c.URIs = append(c.URIs, c.URIs[0]) }, ""},
		{"no URI", mtls.URI, func(c *x509.Certificate) { c.URIs = nil }, ""},
		{"the longest URI", mtls.URI, func(c *x509.Certificate) {
			c.URIs = []*url.URL{uri("spiffe://example.com/" + strings.Repeat("a", 2027))}
		}, "spiffe://example.com/" + strings.Repeat("a", 2027)},
		{"a URI that is too long", mtls.URI, func(c *x509.Certificate) {
			c.URIs = []*url.URL{uri("spiffe://example.com/" + strings.Repeat("a", 2028))}
		}, ""},
		{"DNS", mtls.DNS, func(c *x509.Certificate) { c.DNSNames = []string{"billing.example.com"} }, "billing.example.com"},
		{"DNS, besides a URI and an email", mtls.DNS, func(c *x509.Certificate) { c.DNSNames, c.EmailAddresses = []string{"a.example.com"}, []string{"a@b.c"} }, "a.example.com"},
		{"two DNS names", mtls.DNS, func(c *x509.Certificate) { c.DNSNames = []string{"a.example.com", "b.example.com"} }, ""},
		{"a DNS name for many", mtls.DNS, func(c *x509.Certificate) { c.DNSNames = []string{"*.example.com"} }, ""},
		{"no DNS name", mtls.DNS, nil, ""},
		{"email", mtls.Email, func(c *x509.Certificate) { c.EmailAddresses = []string{"ada@example.com"} }, "ada@example.com"},
		{"two emails", mtls.Email, func(c *x509.Certificate) { c.EmailAddresses = []string{"ada@example.com", "eve@example.com"} }, ""},
		{"subject", mtls.Subject, nil, "CN=billing,O=Example"},
		{"no subject", mtls.Subject, func(c *x509.Certificate) { c.Subject = pkix.Name{} }, ""},
		{"a subject that is too long", mtls.Subject, func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: strings.Repeat("a", 2046)} }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := nameOf(t, tt.kind, tt.change)
			if got != tt.want || (tt.want == "") != errors.Is(err, auth.ErrInvalid) {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

// nameOf returns the subject that a certificate is taken for.
func nameOf(t *testing.T, kind mtls.NameKind, change func(*x509.Certificate)) (string, error) {
	t.Helper()
	a := newAuthenticator(t, func(c *mtls.Config) { c.Name = kind })
	id, err := a.Authenticate(with(ours().client(t, change).Leaf))
	if err != nil {
		return "", err
	}
	return id.Subject, nil
}

// A name counts as the certificate spells it. What net/url makes of a URI leaves out
// an empty fragment, and writes the scheme in lower case: two names would be one.
func TestRFC8705_2_1_NamesStayApart(t *testing.T) {
	for _, spelt := range []string{
		"spiffe://example.com/billing", "spiffe://example.com/billing#", "spiffe://example.com/billing?",
		"SPIFFE://example.com/billing", "spiffe://example.com/%62illing", "spiffe://@example.com/billing",
	} {
		got, err := nameOf(t, mtls.URI, func(c *x509.Certificate) {
			c.URIs = nil
			c.ExtraExtensions = []pkix.Extension{subjectAltName(t, asn1.RawValue{Class: 2, Tag: 6, Bytes: []byte(spelt)})}
		})
		if err != nil || got != spelt {
			t.Errorf("%s: got %q, %v", spelt, got, err)
		}
	}
}

// Names of other kinds don't count, whatever they hold.
func TestRFC8705_2_1_OtherKindsOfNames(t *testing.T) {
	name := []byte("spiffe://example.com/admin")
	got, err := nameOf(t, mtls.URI, func(c *x509.Certificate) {
		c.URIs = nil
		c.ExtraExtensions = []pkix.Extension{subjectAltName(
			t,
			asn1.RawValue{Class: 2, Tag: 1, Bytes: []byte("admin@example.com")},
			asn1.RawValue{Class: 2, Tag: 2, Bytes: []byte("admin.example.com")},
			asn1.RawValue{Tag: 6, Bytes: []byte("*A")},            // an object identifier, which is no name
			asn1.RawValue{Class: 2, Tag: 8, Bytes: []byte{42, 3}}, // a registered id
			asn1.RawValue{Class: 2, Tag: 0, IsCompound: true, Bytes: mustDER(t, asn1.RawValue{Class: 2, Tag: 6, Bytes: name})},
		)}
	})
	if got != "" || !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("got %q, %v", got, err)
	}
}

func subjectAltName(t *testing.T, names ...asn1.RawValue) pkix.Extension {
	t.Helper()
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: mustDER(t, names)}
}

func mustDER(t *testing.T, v any) []byte {
	t.Helper()
	der, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// Each attribute of a subject counts, in its order and with its type. What
// crypto/x509/pkix prints of a name leaves out all but the last of two common names.
func TestRFC4514_Subject(t *testing.T) {
	var (
		cn, o, ou = asn1.ObjectIdentifier{2, 5, 4, 3}, asn1.ObjectIdentifier{2, 5, 4, 10}, asn1.ObjectIdentifier{2, 5, 4, 11}
		dc, uid   = asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}, asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}
	)
	one := func(id asn1.ObjectIdentifier, value string) pkix.RelativeDistinguishedNameSET {
		return pkix.RelativeDistinguishedNameSET{{Type: id, Value: value}}
	}
	text := func(tag int, value string) asn1.RawValue { return asn1.RawValue{Tag: tag, Bytes: []byte(value)} }
	seen := make(map[string]string)
	for _, tt := range []struct {
		name    string
		subject pkix.RDNSequence
		want    string
	}{
		{"one common name", pkix.RDNSequence{one(cn, "admin")}, "CN=admin"},
		{"two common names", pkix.RDNSequence{one(cn, "eve"), one(cn, "admin")}, "CN=admin,CN=eve"},
		{"in the other order", pkix.RDNSequence{one(cn, "admin"), one(cn, "eve")}, "CN=eve,CN=admin"},
		{"one of two values", pkix.RDNSequence{{{Type: cn, Value: "admin"}, {Type: ou, Value: "a"}}}, "OU=a+CN=admin"},
		{"two of one", pkix.RDNSequence{one(ou, "a"), one(cn, "admin")}, "CN=admin,OU=a"},
		{"another order", pkix.RDNSequence{one(cn, "admin"), one(ou, "a")}, "OU=a,CN=admin"},
		{"another type", pkix.RDNSequence{one(o, "a"), one(cn, "admin")}, "CN=admin,O=a"},
		{"a value like two", pkix.RDNSequence{one(cn, "admin,OU=a")}, `CN=admin\,OU=a`},
		{"a value like two of one", pkix.RDNSequence{one(cn, "admin+OU=a")}, `CN=admin\+OU=a`},
		{"escaped already", pkix.RDNSequence{one(cn, `admin\,OU=a`)}, `CN=admin\\\,OU=a`},
		{"all that is escaped", pkix.RDNSequence{one(cn, `a"+,;<>\=b`)}, `CN=a\"\+\,\;\<\>\\=b`},
		{"blanks at the ends", pkix.RDNSequence{one(cn, "  a b  ")}, `CN=\  a b \ `},
		{"one blank", pkix.RDNSequence{one(cn, " ")}, `CN=\ `},
		{"a number sign", pkix.RDNSequence{one(cn, "#0c05")}, `CN=\#0c05`},
		{"letters", pkix.RDNSequence{one(cn, "Ada Žižková")}, "CN=Ada Žižková"},
		{"an empty value", pkix.RDNSequence{one(o, "Example"), one(cn, "")}, "CN=,O=Example"},
		{"a directory's", pkix.RDNSequence{one(dc, "com"), one(dc, "example"), one(uid, "ada")}, "UID=ada,DC=example,DC=com"},
		{"in RFC 4514's table", pkix.RDNSequence{
			one(asn1.ObjectIdentifier{2, 5, 4, 6}, "DE"), one(asn1.ObjectIdentifier{2, 5, 4, 8}, "BE"), one(asn1.ObjectIdentifier{2, 5, 4, 7}, "Berlin"), one(asn1.ObjectIdentifier{2, 5, 4, 9}, "Road 1"),
		}, "STREET=Road 1,L=Berlin,ST=BE,C=DE"},
		{"a type without a name", pkix.RDNSequence{one(asn1.ObjectIdentifier{2, 5, 4, 5}, "0815")}, "2.5.4.5=#130430383135"},
		{"in UTF-8", pkix.RDNSequence{{{Type: cn, Value: text(asn1.TagUTF8String, "admin")}}}, "CN=admin"},
		{"a line break", pkix.RDNSequence{one(cn, "a\nb")}, ""},
		{"a null character", pkix.RDNSequence{one(cn, "admin\x00.example.com")}, ""},
		{"letters of T.61", pkix.RDNSequence{{{Type: cn, Value: text(asn1.TagT61String, "a\xff")}}}, "CN=aÿ"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			raw := mustDER(t, tt.subject)
			a := newAuthenticator(t, func(c *mtls.Config) { c.Name = mtls.Subject })
			leaf := ours().client(t, func(c *x509.Certificate) { c.RawSubject = raw }).Leaf
			id, err := a.Authenticate(with(leaf))
			got := ""
			if err == nil {
				got = id.Subject
			}
			if got != tt.want || (tt.want == "") != errors.Is(err, auth.ErrInvalid) {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
			if before, ok := seen[got]; ok && got != "" && got != "CN=admin" {
				t.Errorf("%q is also the name of the certificate with %s", got, before)
			}
			seen[got] = tt.name
		})
	}
}
