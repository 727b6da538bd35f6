package dpop

import (
	"net/http"
	"strings"
)

// A target is a URI without its query and fragment, normalized (RFC 3986, sections
// 6.2.2 and 6.2.3).
type target struct {
	authority string // scheme://host[:port], in lower case and without a default port
	path      string // normalized
	rest      string // what began with ? or #
}

// contains reports whether t, without a slash at its end, is the beginning of o.
func (t target) contains(o target) bool {
	return t.authority == o.authority && strings.HasPrefix(o.path+"/", t.path+"/")
}

// isFor reports whether uri is that of r: one of the origins and r's path. Query and
// fragment do not count (RFC 9449 §4.3).
func (v *Verifier) isFor(uri string, r *http.Request) bool {
	if len(uri) > maxURIBytes || r.URL == nil {
		return false
	}
	t, ok := parseTarget(uri)
	if !ok {
		return false
	}
	path, ok := normalizePath(r.URL.EscapedPath())
	if !ok {
		return false
	}
	for _, o := range v.origins {
		// What a proxy makes of the path that it takes off, where nothing follows,
		// may be a slash or nothing.
		if t.authority == o.authority && (t.path == o.path+path || path == "/" && t.path == o.path) {
			return true
		}
	}
	return false
}

// parseTarget splits an absolute URI. It takes the characters of RFC 3986 and no
// others.
func parseTarget(uri string) (target, bool) {
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok {
		return target{}, false
	}
	scheme = strings.ToLower(scheme)
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	host, rest := strings.ToLower(rest[:end]), rest[end:]
	var port string
	switch scheme {
	case "https":
		port = ":443"
	case "http":
		port = ":80"
	default:
		return target{}, false
	}
	if host, ok = strings.CutSuffix(host, port); !ok {
		host = strings.TrimSuffix(host, ":")
	}
	if host == "" || strings.ContainsAny(host, "@%\\ ") || !printable(host) {
		return target{}, false
	}
	path := rest
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		path, rest = rest[:i], rest[i:]
	} else {
		rest = ""
	}
	path, ok = normalizePath(path)
	return target{authority: scheme + "://" + host, path: path, rest: rest}, ok
}

// normalizePath decodes what need not be encoded, spells what must be in one way, and
// gives an empty path its slash. Dot segments are refused rather than taken away: what
// a router does with those that came encoded differs. An encoded slash stays encoded,
// since it is another path than one with a slash.
func normalizePath(path string) (string, bool) {
	if path == "" {
		return "/", true
	}
	b := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c < ' ' || c == 0x7f {
			return "", false
		}
		if c != '%' {
			if c == ' ' || c > '~' || strings.IndexByte(`"<>\^`+"`{|}", c) >= 0 {
				// Some clients leave these as they are in a proof, and encode them
				// in the request.
				b = appendEncoded(b, c)
				continue
			}
			b = append(b, c)
			continue
		}
		if i+2 >= len(path) {
			return "", false
		}
		hi, lo := unhex(path[i+1]), unhex(path[i+2])
		if hi < 0 || lo < 0 {
			return "", false
		}
		if c = byte(hi<<4 | lo); unreserved(c) { //nolint:gosec // two digits
			b = append(b, c)
		} else {
			b = appendEncoded(b, c)
		}
		i += 2
	}
	for segment := range strings.SplitSeq(string(b), "/") {
		if segment == "." || segment == ".." {
			return "", false
		}
	}
	return string(b), true
}

func appendEncoded(b []byte, c byte) []byte {
	const digits = "0123456789ABCDEF"
	return append(b, '%', digits[c>>4], digits[c&15])
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// unreserved are the characters that mean the same encoded or not (RFC 3986,
// section 2.3).
func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
