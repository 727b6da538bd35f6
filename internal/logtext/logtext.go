// Package logtext makes text from outside fit for a log line.
package logtext

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean returns s with control characters, the Unicode characters that change
// how a line reads (format characters, line and paragraph separators) and bytes
// that are not UTF-8 escaped. What is longer than limit bytes is cut and marked
// with "…"; a limit of 0 means none.
func Clean(s string, limit int) string {
	if limit <= 0 {
		limit = len(s)*10 + 1 // an escape is at most ten characters
	}
	if len(s) <= limit && plain(s) {
		return s
	}
	var b strings.Builder
	for i, c := range s {
		if b.Len() >= limit {
			b.WriteString("…")
			break
		}
		switch {
		case c == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			b.WriteString(`\x` + strconv.FormatUint(uint64(s[i])|0x100, 16)[1:])
		case hostile(c):
			q := strconv.QuoteRuneToASCII(c)
			b.WriteString(q[1 : len(q)-1])
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

// plain reports whether Clean would leave s as it is.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return !strings.ContainsFunc(s[i:], hostile)
		}
	}
	return true
}

// hostile reports whether c could forge or hide part of a log line, or stands
// for a byte that is not UTF-8.
func hostile(c rune) bool {
	return c == utf8.RuneError || unicode.IsControl(c) || unicode.In(c, unicode.Cf, unicode.Zl, unicode.Zp)
}
