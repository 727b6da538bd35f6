package transport

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/internal/grammar"
)

// An elements walks through the list elements of a field's lines, from the last
// one to the first.
//
// It splits from the right, also where quoted strings may hold commas: the
// elements at the right were written by trusted proxies, and nothing that a client
// wrote to their left, an open quote say, can change how they are read.
type elements struct {
	lines  []string
	rest   string // of the line that was begun
	begun  bool
	quotes bool // commas inside quoted strings do not separate
}

// next returns the next element without the blanks around it.
func (e *elements) next() (string, bool) {
	if !e.begun {
		if len(e.lines) == 0 {
			return "", false
		}
		e.rest, e.lines, e.begun = e.lines[len(e.lines)-1], e.lines[:len(e.lines)-1], true
	}
	i := strings.LastIndexByte(e.rest, ',')
	if e.quotes {
		i = lastComma(e.rest)
	}
	element := e.rest[i+1:]
	if i < 0 {
		e.begun = false
	} else {
		e.rest = e.rest[:i]
	}
	return strings.Trim(element, " \t"), true
}

// lastComma returns the index of the last comma outside of quoted strings, as far
// as the right end of s is well formed, or -1. Inside of a quoted string a quote has
// a backslash in front; the one that begins it stands behind an equals sign.
func lastComma(s string) int {
	for i := len(s) - 1; i >= 0; i-- {
		switch s[i] {
		case ',':
			return i
		case '"': // ends a quoted string: go to where it begins
			for i--; i >= 0 && (s[i] != '"' || i > 0 && s[i-1] == '\\'); i-- {
			}
		}
	}
	return -1
}

// parseForwarded reads one element of the Forwarded field (RFC 7239, section 4).
// It reports false if the element is malformed, says one thing twice, or if its
// "for" is missing or hidden ("unknown", "_gateway").
func parseForwarded(element string) (addr netip.Addr, proto string, ok bool) {
	const maxPairs = 16
	var names [maxPairs]string
	n := 0
	for rest := element; ; {
		rest = strings.TrimLeft(rest, " \t")
		if rest == "" {
			return addr, proto, addr.IsValid()
		}
		if rest[0] == ';' { // an empty pair
			rest = rest[1:]
			continue
		}
		var name, value string
		name, rest = cutToken(rest)
		if name == "" || n == maxPairs || !strings.HasPrefix(rest, "=") {
			return netip.Addr{}, "", false
		}
		for _, seen := range names[:n] {
			if strings.EqualFold(seen, name) {
				return netip.Addr{}, "", false
			}
		}
		names[n] = name
		n++
		value, rest, ok = cutValue(rest[1:])
		rest = strings.TrimLeft(rest, " \t")
		if !ok || rest != "" && rest[0] != ';' {
			return netip.Addr{}, "", false
		}
		switch {
		case strings.EqualFold(name, "for"):
			if addr, ok = parseNode(value, true); !ok {
				return netip.Addr{}, "", false
			}
		case strings.EqualFold(name, "proto"):
			proto = value
		}
	}
}

// parseNode reads an address with an optional port, unmapped and without a zone. In
// the Forwarded field an IPv6 address must stand in brackets, and the port may be a
// name that begins with an underscore (RFC 7239, section 6).
func parseNode(s string, forwarded bool) (netip.Addr, bool) {
	host, port := s, ""
	if literal, bracketed := strings.CutPrefix(s, "["); bracketed {
		var closed bool
		host, port, closed = strings.Cut(literal, "]")
		if !closed || !strings.Contains(host, ":") {
			return netip.Addr{}, false
		}
	} else if i := strings.IndexByte(s, ':'); i >= 0 {
		if strings.IndexByte(s[i+1:], ':') < 0 {
			host, port = s[:i], s[i:]
		} else if forwarded {
			return netip.Addr{}, false
		}
	}
	switch {
	case port == "":
	case port[0] == ':' && (isPort(port[1:]) || forwarded && isHidden(port[1:])):
	default:
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}, false
	}
	return addr.Unmap().WithZone(""), true
}

func isPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil && len(s) <= 5
}

// isHidden reports whether s is an obfuscated identifier of RFC 7239, section 6.3.
func isHidden(s string) bool {
	if len(s) < 2 || s[0] != '_' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !grammar.IsAlphanumeric(c) && strings.IndexByte("._-", c) < 0 {
			return false
		}
	}
	return true
}

// cutValue cuts a token or a quoted string (RFC 9110, section 5.6) off the left of
// s, and returns what it means.
func cutValue(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		value, rest = cutToken(s)
		return value, rest, value != ""
	}
	var unescaped []byte // nil as long as nothing was escaped
	for i := 1; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '"' && unescaped == nil:
			return s[1:i], s[i+1:], true
		case c == '"':
			return string(unescaped), s[i+1:], true
		case c == '\\':
			if unescaped == nil {
				unescaped = append(make([]byte, 0, len(s)), s[1:i]...)
			}
			if i++; i == len(s) {
				return "", "", false
			}
			c = s[i]
		}
		if c < ' ' && c != '\t' || c == 0x7f {
			return "", "", false
		}
		if unescaped != nil {
			unescaped = append(unescaped, c)
		}
	}
	return "", "", false
}

// cutToken cuts a token (RFC 9110, section 5.6.2) off the left of s.
func cutToken(s string) (token, rest string) {
	i := 0
	for i < len(s) && grammar.IsTokenChar(s[i]) {
		i++
	}
	return s[:i], s[i:]
}
