// Package grammar knows the small productions that several packages check: those
// of RFC 9110 and RFC 6749.
package grammar

import (
	"strconv"
	"strings"
)

// IsToken reports whether s is a token (RFC 9110, section 5.6.2), which is what
// methods, field names and authentication schemes are made of.
func IsToken(s string) bool {
	for i := range len(s) {
		if !IsTokenChar(s[i]) {
			return false
		}
	}
	return s != ""
}

// IsTokenChar reports whether c may stand in a token.
func IsTokenChar(c byte) bool {
	return IsAlphanumeric(c) || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// IsAlphanumeric reports whether c is an ASCII letter or digit.
func IsAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// IsScopeToken reports whether s is a scope-token (RFC 6749, section 3.3):
// printable ASCII without spaces, quotes and backslashes, and not empty. A scope
// that is not one could become two on the way.
func IsScopeToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}

// IsToken68 reports whether s is a token68 (RFC 9110, section 11.2), which is what a
// bearer token is (b64token in RFC 6750, section 2.1).
func IsToken68(s string) bool {
	s = strings.TrimRight(s, "=")
	for i := range len(s) {
		if !IsAlphanumeric(s[i]) && strings.IndexByte("-._~+/", s[i]) < 0 {
			return false
		}
	}
	return s != ""
}

// QValue returns a qvalue (RFC 9110, section 12.4.2) in thousandths.
func QValue(s string) (thousandths int, ok bool) {
	whole, frac, _ := strings.Cut(s, ".")
	if whole != "0" && whole != "1" || len(frac) > 3 {
		return 0, false
	}
	n, err := strconv.ParseUint(whole+(frac + "000")[:3], 10, 16)
	return int(n), err == nil && n <= 1000 //nolint:gosec // of four digits
}
