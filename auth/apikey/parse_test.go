package apikey

import (
	"errors"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/auth"
)

// What is compared where there is no record must be compared to the end, and
// must not match.
func TestDigestOfNobody(t *testing.T) {
	k := key{id: random(idLen), text: "sk_x"}
	for _, peppers := range [][]Pepper{nil, {{ID: "a", Key: make([]byte, 32)}}} {
		if match, err := k.matches(nobody(peppers), peppers); match || err != nil {
			t.Errorf("got %v, %v, want a comparison that fails", match, err)
		}
	}
}

func TestMatchesNothingElse(t *testing.T) {
	peppers := []Pepper{{ID: "a", Key: []byte(strings.Repeat("a", 32))}, {ID: "b", Key: []byte(strings.Repeat("b", 32))}}
	for tag, p := range map[string]Pepper{"sha256:": {}, "hmac-sha256:b:": peppers[1]} {
		plain, rec, err := Mint(MintConfig{Subject: "alice", Pepper: p})
		if err != nil || !strings.HasPrefix(rec.Hash, tag) {
			t.Fatalf("got %q, %v, want %s…", rec.Hash, err, tag)
		}
		k, err := parse(plain)
		if err != nil {
			t.Fatal(err)
		}
		if match, err := k.matches(rec.Hash, peppers); !match || err != nil {
			t.Errorf("got %v, %v for its own hash", match, err)
		}
		for i := len(tag); i < len(rec.Hash); i++ {
			c := "0"
			if rec.Hash[i] == '0' {
				c = "1"
			}
			if match, err := k.matches(rec.Hash[:i]+c+rec.Hash[i+1:], peppers); match || err != nil {
				t.Errorf("got %v, %v with digit %d changed", match, err, i)
			}
		}
		// The same digits do not pass for those of another algorithm or pepper.
		for _, other := range []string{"sha256:", "hmac-sha256:a:", "hmac-sha256:b:"} {
			if match, err := k.matches(other+rec.Hash[len(tag):], peppers); err != nil || match != (other == tag) {
				t.Errorf("%s for %s: got %v, %v", other, tag, match, err)
			}
		}
		for _, bad := range []string{"", "hmac-sha256:c:" + rec.Hash[len(tag):], "hmac-sha256::" + rec.Hash[len(tag):], "hmac-sha256:" + rec.Hash[len(tag):]} {
			if match, err := k.matches(bad, peppers); match || err == nil {
				t.Errorf("%q: got %v, %v, want an error", bad, match, err)
			}
		}
	}
}

// FuzzParse checks that a key has one spelling: what is taken is written again
// as it was, and no change of one character is taken. The checksum, which anyone
// can compute, is put right, so that the fuzzer gets past it.
func FuzzParse(f *testing.F) {
	plain, _, err := Mint(MintConfig{Subject: "alice"})
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{
		plain, "", "sk", strings.ToUpper(plain), plain + " ", "a_" + plain, "sk__" + plain,
		"abcdefghijklmnop_0123456789abcdef_00000000000000000000000000000000zzzzzzz",
		"sk_0123456789abcdeF_000000000000000000000000000000000000000",
	} {
		f.Add(s, uint(3), byte('x'))
	}
	f.Fuzz(func(t *testing.T, plain string, at uint, c byte) {
		for _, s := range []string{plain, withChecksum(plain)} {
			k, err := parse(s)
			if err != nil {
				if !errors.Is(err, auth.ErrInvalid) || k.id != "" || k.text != "" {
					t.Fatalf("parse(%q) = %v, %v", s, k, err)
				}
				if len(s) > 16 && strings.Contains(err.Error(), s) {
					t.Fatalf("the error has the key: %v", err)
				}
				continue
			}
			if got := k.String(); got != s {
				t.Fatalf("%q was written again as %q", s, got)
			}
			if id, err := KeyID(s); err != nil || id != k.id || len(id) != idLen {
				t.Fatalf("KeyID(%q) = %q, %v", s, id, err)
			}
			b := []byte(s)
			i := at % uint(len(b))
			if b[i] == c {
				continue
			}
			b[i] = c
			if _, err := parse(string(b)); err == nil {
				t.Fatalf("%q was taken, which differs from %q by one character", b, s)
			}
		}
	})
}

// withChecksum returns s with the checksum of what is before its last seven
// characters.
func withChecksum(s string) string {
	if len(s) < checksumLen {
		return s
	}
	return key{text: s[:len(s)-checksumLen]}.String()
}
