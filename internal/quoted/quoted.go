// Package quoted writes quoted-strings, the form in which HTTP fields carry
// text (RFC 9110, section 5.6.4).
package quoted

// String returns s as a quoted-string. The characters " and \ are escaped.
// What may not stand in one, or is not ASCII, is replaced by a question mark,
// so that no input can end the string or the field.
func String(s string) string { return string(Append(make([]byte, 0, len(s)+2), s)) }

// Append appends s as a quoted-string to b, as [String] does.
func Append(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case !printable(c):
			b = append(b, '?')
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// Valid reports whether String would keep every character of s: s is printable
// ASCII.
func Valid(s string) bool {
	for i := range len(s) {
		if !printable(s[i]) {
			return false
		}
	}
	return true
}

func printable(c byte) bool { return c >= ' ' && c <= '~' }
