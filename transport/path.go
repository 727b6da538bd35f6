package transport

import (
	"bytes"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
)

// PathRules say which paths StrictPath lets through although not everybody reads them
// alike. The zero PathRules let none through.
type PathRules struct {
	// AllowSemicolons lets ';' and %3B through. Some servers take what follows for
	// parameters of a segment, and read /admin;x as /admin. A segment that is nothing, . or
	// .. before it is still refused.
	AllowSemicolons bool
	// AllowEncodedSlashes lets %2F through, for path values that have slashes, such as
	// r.PathValue("object") of /objects/a%2Fb. Some proxies decode it and see another path. One
	// beside a slash, or beside . or .. between slashes, is still refused.
	AllowEncodedSlashes bool
	// AllowEncodedPercent lets %25 through where two hexadecimal digits follow, or u and four of
	// them. Who decodes such a path twice sees another one.
	AllowEncodedPercent bool
	// AllowEncodedDelimiters lets %3F and %23, an encoded question mark and number sign, through,
	// for path values that have them. Who decodes such a path before looking for its end sees
	// /admin in /admin%3Fx.
	AllowEncodedDelimiters bool
}

// StrictPath returns a door that answers 400 to a path which a proxy, a guard, a router and
// a file system might read differently, so that none of them lets through what another one
// has been told to guard. It is for services behind proxies that decide by the path. These
// it refuses:
//
//   - empty segments, as in //admin
//   - the segments . and .., also with encoded dots
//   - letters, digits, '.', '-' and '_' that are encoded for no reason, as in /%61dmin (RFC 3986,
//     section 6.2.2.2); '~' is left alone, as older clients encode it
//   - backslashes and encoded slashes: \, %5C, %2F
//   - semicolons: ; and %3B
//   - encoded delimiters of the path: %3F and %23
//   - what is encoded twice: %252F, and %25u002F
//   - control characters (NUL, line breaks, those of Unicode too), encoded or not, and what is no
//     UTF-8
//   - '#' and blanks, which no client sends
//   - a target that is no path: CONNECT, *, and a URL without one, as in a:b
//
// A slash at the end is not empty. To a ServeMux, upper and lower case are not the same, nor are
// a letter and its full-width form, nor a name with and without characters that nobody sees, or
// dots and blanks behind it. This is no door for systems to which they are, as some file systems.
//
// It looks at the request's target as the client sent it, and at the path as the doors
// above have left it. Doors that guard a part of a service belong on the patterns of the
// mux, with or without this.
func StrictPath(rules PathRules) func(http.Handler) http.Handler {
	refused := httperr.New(http.StatusBadRequest, "path_not_plain", "")
	return func(next http.Handler) http.Handler {
		mustHandler("StrictPath", next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			why := rules.refuse(wirePath(r.RequestURI))
			if r.URL.Opaque != "" || r.Method == http.MethodConnect && r.URL.Path == "" {
				why = "no path"
			}
			if path := r.URL.EscapedPath(); why == "" && path != "" { // none is that of a whole URL
				why = rules.refuse(path)
			}
			if why == "" {
				next.ServeHTTP(w, r)
				return
			}
			p := *refused
			p.Detail = "The path of the request has " + why + ", so that it can be read in several ways, and is refused."
			p.Audit = &audit.Event{Name: audit.MaliciousExtraneous, Level: slog.LevelWarn, Reason: "the path has " + why}
			httperr.Write(w, r, &p)
		})
	}
}

// wirePath returns the path of a request target (RFC 9112, section 3.2), or "/" if there is
// none because the request was made up in this process.
func wirePath(target string) string {
	if target == "" {
		return "/"
	}
	path, _, _ := strings.Cut(target, "?")
	if i := strings.Index(path, "://"); i > 0 && !strings.ContainsAny(path[:i], ":/") { // a whole URL
		rest := path[i+len("://"):]
		slash := strings.IndexByte(rest, '/')
		if slash < 0 {
			return "/"
		}
		return rest[slash:]
	}
	return path
}

// refuse says what a path has that not everybody reads alike; nothing if it is plain.
func (p PathRules) refuse(path string) (why string) {
	if path == "" || path[0] != '/' {
		return "no slash at its beginning"
	}
	var room [256]byte
	decoded := room[:0]
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' {
			if i+2 >= len(path) || !isHex(path[i+1]) || !isHex(path[i+2]) {
				return "a percent sign that encodes nothing"
			}
			c = unhex(path[i+1])<<4 | unhex(path[i+2])
			i += 2
			if why = p.refuseEncoded(c, path[i+1:]); why != "" {
				return why
			}
			decoded = append(decoded, c)
			continue
		}
		switch {
		case c == ';' && !p.AllowSemicolons:
			return "a semicolon"
		case c == '\\':
			return "a backslash"
		case c == '#':
			return "a fragment"
		case c == ' ':
			return "a blank"
		case c < ' ' || c == 0x7f:
			return "a control character"
		}
		decoded = append(decoded, c)
	}
	if !utf8.Valid(decoded) {
		return "what is no UTF-8"
	}
	if bytes.ContainsFunc(decoded, breaksLine) {
		return "a control character"
	}
	return refuseSegments(string(decoded[1:]))
}

// breaksLine reports whether c is a control character or ends a line, also beyond ASCII.
func breaksLine(c rune) bool { return unicode.In(c, unicode.Cc, unicode.Zl, unicode.Zp) }

// refuseSegments is refuse for the segments of a decoded path, without the slash at its
// beginning, and without what follows a semicolon.
func refuseSegments(path string) (why string) {
	for path != "" {
		segment, rest, _ := strings.Cut(path, "/")
		segment, _, _ = strings.Cut(segment, ";")
		switch segment {
		case "":
			return "an empty segment"
		case ".", "..":
			return "a dot segment"
		}
		path = rest
	}
	return ""
}

// refuseEncoded is refuse for a byte that was encoded, and what follows it.
func (p PathRules) refuseEncoded(c byte, rest string) (why string) {
	switch {
	case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_':
		return "an encoding where none is needed"
	case c == '/' && !p.AllowEncodedSlashes:
		return "an encoded slash"
	case c == '\\':
		return "an encoded backslash"
	case c == ';' && !p.AllowSemicolons:
		return "an encoded semicolon"
	case c < ' ' || c == 0x7f:
		return "an encoded control character"
	case (c == '?' || c == '#') && !p.AllowEncodedDelimiters:
		return "an encoded delimiter"
	case c == '%' && !p.AllowEncodedPercent && (twoDigits(rest) || utf16Unit.MatchString(rest)):
		return "what is encoded twice"
	}
	return ""
}

// utf16Unit is what some servers decode behind a percent sign, as in %u002f.
var utf16Unit = regexp.MustCompile(`^[uU][0-9a-fA-F]{4}`)

// twoDigits reports whether a string begins with two hexadecimal digits, which may be
// encoded themselves.
func twoDigits(s string) bool {
	for range 2 {
		switch {
		case len(s) >= 3 && s[0] == '%' && isHex(s[1]) && isHex(s[2]):
			if !isHex(unhex(s[1])<<4 | unhex(s[2])) {
				return false
			}
			s = s[3:]
		case s != "" && isHex(s[0]):
			s = s[1:]
		default:
			return false
		}
	}
	return true
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}
