package basic

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/sallyport/sallyport/auth"
)

// The edges of what is accepted.
func TestParseLimits(t *testing.T) {
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	longest := strings.Repeat("n", maxName) + ":" + strings.Repeat("p", maxCredentials/4*3-maxName-1)
	name, pw, err := parse(encode(longest))
	if err != nil || name+":"+pw != longest || len(name) != maxName {
		t.Errorf("the longest: got %d and %d bytes, %v", len(name), len(pw), err)
	}
	for _, tooLong := range []string{longest + "p", strings.Repeat("n", maxName+1) + ":p"} {
		if _, _, err := parse(encode(tooLong)); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%d bytes: got %v, want ErrInvalid", len(tooLong), err)
		}
	}
	if name, pw, err := parse(encode("n:")); name != "n" || pw != "" || err != nil {
		t.Errorf("no password: got %q, %q, %v, want it left to the hasher", name, pw, err)
	}
}

// What is accepted is the only text for its name and password, and has nothing
// in it that could be read in another way. What is refused gives nothing away.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", "=", "YTpi", "YTpi=", "YTpiYw==", "YTpiYx==", "YTpiYw", "YTpi\n", "\tYTpi", "YTpi, YTpi", "Og==", "OnB3", "YQ==",
		"dGVzdDoxMjPCow==", "YTo6Og==", "AGE6Yg==", "/zpi", "YTr/", "_zpi", "QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, pw, err := parse(s)
		if err != nil {
			if !errors.Is(err, auth.ErrInvalid) || name != "" || pw != "" {
				t.Fatalf("%q: got %q, %q, %v, want nothing and ErrInvalid", s, name, pw, err)
			}
			if len(s) > 12 && strings.Contains(err.Error(), s) || len(err.Error()) > 100 {
				t.Fatalf("%q: the error shows it: %v", s, err)
			}
			return
		}
		if got := base64.StdEncoding.EncodeToString([]byte(name + ":" + pw)); got != s {
			t.Fatalf("%q was read as %q, %q, which is written %q", s, name, pw, got)
		}
		if name == "" || strings.Contains(name, ":") || len(name) > maxName {
			t.Fatalf("%q: got the name %q", s, name)
		}
		isControl := func(c rune) bool { return c <= unicode.MaxASCII && unicode.IsControl(c) }
		if all := name + pw; !utf8.ValidString(all) || strings.ContainsFunc(all, isControl) {
			t.Fatalf("%q: got %q", s, all)
		}
	})
}
