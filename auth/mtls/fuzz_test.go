package mtls_test

import (
	"encoding/asn1"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/sallyport/sallyport/auth/mtls"
)

// Two names that differ are written differently, whatever is in them.
func FuzzSubjectsStayApart(f *testing.F) {
	f.Add("admin", "a", true, "admin", "a", false)
	f.Add("admin,OU=a", "", true, "admin", "a", false)
	f.Add(`admin\`, `\,OU=a`, false, `admin\\`, "a", false)
	f.Add(" ", "#", true, `\ `, `\#`, true)
	f.Fuzz(func(t *testing.T, a, b string, joined bool, c, d string, joinedToo bool) {
		for _, s := range []string{a, b, c, d} {
			if !utf8.ValidString(s) {
				return
			}
		}
		one, ok := mtls.DistinguishedName(subject(t, a, b, joined))
		two, okToo := mtls.DistinguishedName(subject(t, c, d, joinedToo))
		if !ok || !okToo {
			t.Fatal("a name can't be read")
		}
		if same := a == c && b == d && joined == joinedToo; (one == two) != same {
			t.Fatalf("got %q and %q", one, two)
		}
	})
}

// subject encodes a name of a unit and a common name, in one part or two.
func subject(t *testing.T, unit, common string, joined bool) []byte {
	t.Helper()
	type attribute struct {
		Type  asn1.ObjectIdentifier
		Value asn1.RawValue
	}
	text := func(s string) asn1.RawValue { return asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(s)} }
	ou := mustDER(t, attribute{asn1.ObjectIdentifier{2, 5, 4, 11}, text(unit)})
	cn := mustDER(t, attribute{asn1.ObjectIdentifier{2, 5, 4, 3}, text(common)})
	set := func(b ...byte) []byte {
		return mustDER(t, asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: b})
	}
	parts := append(set(ou...), set(cn...)...)
	if joined {
		parts = set(append(ou, cn...)...)
	}
	return mustDER(t, asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: parts})
}

// What is no name is refused, and nothing is read beyond its end.
func FuzzDistinguishedName(f *testing.F) {
	f.Add(ours().cert.RawSubject)
	f.Add([]byte{0x30, 0})
	f.Add([]byte{0x30, 2, 0x31, 0})
	f.Fuzz(func(t *testing.T, der []byte) {
		s, ok := mtls.DistinguishedName(der)
		if !ok && s != "" {
			t.Fatalf("got %q of what is no name", s)
		}
		if _, more := mtls.DistinguishedName(slices.Concat(der, []byte{0})); ok && more {
			t.Fatal("what follows the name is left out")
		}
	})
}
