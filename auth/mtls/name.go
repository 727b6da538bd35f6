package mtls

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

// maxNameBytes is how long a SPIFFE ID may be.
const maxNameBytes = 2048

// A NameKind is what of a certificate names its owner.
type NameKind int

// The kinds of names. Each counts exactly as the certificate spells it.
const (
	URI     NameKind = iota + 1 // the one subjectAltName of type URI, as SPIFFE has it
	DNS                         // the one subjectAltName of type dNSName, without a wildcard
	Email                       // the one subjectAltName of type rfc822Name
	Subject                     // the whole distinguished name of the subject, as RFC 4514 writes it: "CN=billing,O=Example"
)

// of returns the one name of c that is of this kind.
func (k NameKind) of(c *x509.Certificate) (string, error) {
	var names []string
	ok := true
	switch k {
	case URI:
		names, ok = altNames(c, 6)
	case DNS:
		names, ok = altNames(c, 2)
	case Email:
		names, ok = altNames(c, 1)
	case Subject:
		names = make([]string, 1)
		names[0], ok = distinguishedName(c.RawSubject)
	}
	switch {
	case !ok:
		return "", invalid("the names of the certificate can't be read")
	case len(names) == 0 || names[0] == "":
		return "", invalid("the certificate has no name of the kind that counts")
	case len(names) > 1:
		return "", invalid("the certificate has more than one name of the kind that counts")
	case len(names[0]) > maxNameBytes || !utf8.ValidString(names[0]) || strings.ContainsFunc(names[0], isControl):
		return "", invalid("the name of the certificate is too long, or has a character that is not allowed")
	case k == DNS && strings.Contains(names[0], "*"):
		return "", invalid("the name of the certificate stands for more than one")
	}
	return names[0], nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// altNames returns the alternative names of c with this tag (RFC 5280, section
// 4.2.1.6), byte for byte. c.URIs would not do: what net/url prints may differ from what
// it parsed, so that two names become one.
func altNames(c *x509.Certificate, tag int) (names []string, ok bool) {
	for _, e := range c.Extensions {
		if !e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) {
			continue
		}
		var all []asn1.RawValue
		if rest, err := asn1.Unmarshal(e.Value, &all); err != nil || len(rest) > 0 {
			return nil, false
		}
		for _, n := range all {
			if n.Class == asn1.ClassContextSpecific && n.Tag == tag {
				names = append(names, string(n.Bytes))
			}
		}
	}
	return names, true
}

// A relativeNameSET is a part of a distinguished name; encoding/asn1 goes by "SET".
type relativeNameSET []struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

// distinguishedName writes a name as RFC 4514 does, with all that is in it: the last
// part first, and what is in one part joined by "+". pkix.Name would not do: it keeps
// the last of two common names, and forgets the order.
func distinguishedName(der []byte) (string, bool) {
	var parts []relativeNameSET
	if rest, err := asn1.Unmarshal(der, &parts); err != nil || len(rest) > 0 {
		return "", false
	}
	var b strings.Builder
	for i := len(parts) - 1; i >= 0; i-- {
		for j, a := range parts[i] {
			switch {
			case j > 0:
				b.WriteByte('+')
			case b.Len() > 0:
				b.WriteByte(',')
			}
			short, value := shortName(a.Type), ""
			if _, err := asn1.Unmarshal(a.Value.FullBytes, &value); err != nil || short == "" {
				b.WriteString(a.Type.String() + "=#" + hex.EncodeToString(a.Value.FullBytes))
				continue
			}
			b.WriteString(short + "=")
			writeEscaped(&b, value)
		}
	}
	return b.String(), true
}

// shortName is that of RFC 4514, section 3, or "".
func shortName(id asn1.ObjectIdentifier) string {
	switch id.String() {
	case "2.5.4.3":
		return "CN"
	case "2.5.4.6":
		return "C"
	case "2.5.4.7":
		return "L"
	case "2.5.4.8":
		return "ST"
	case "2.5.4.9":
		return "STREET"
	case "2.5.4.10":
		return "O"
	case "2.5.4.11":
		return "OU"
	case "0.9.2342.19200300.100.1.1":
		return "UID"
	case "0.9.2342.19200300.100.1.25":
		return "DC"
	}
	return ""
}

// writeEscaped writes a value (RFC 4514, section 2.4). Control characters are left as
// they are: no name with one is taken.
func writeEscaped(b *strings.Builder, value string) {
	for i := range len(value) {
		c := value[i]
		if strings.IndexByte(`"+,;<>\`, c) >= 0 || c == ' ' && (i == 0 || i == len(value)-1) || c == '#' && i == 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
}
