package transport

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/sallyport/sallyport/internal/grammar"
	"github.com/sallyport/sallyport/internal/scope"
)

// StripHeaders returns a door that removes request fields which only a trusted
// proxy might set, such as "X-User" or "X-Auth-*", before a handler can believe
// them. A name that ends in * stands for all that begin so. Names are compared
// without regard to case, and with '_' equal to '-', because some programs behind
// this one take X_User for X-User. A field is removed with all its values; the
// caller's request is not changed. Trailers come after the body, too late to be
// removed: believe nothing in r.Trailer.
//
// StripHeaders panics if there is no name, or one that is not a field name with at
// most one * at its end, or if it is a * alone, or that of a field which net/http reads before
// any handler: Host (see [AllowedHosts]), Content-Length, Transfer-Encoding and Trailer.
func StripHeaders(names ...string) func(http.Handler) http.Handler {
	if len(names) == 0 {
		panic("transport: StripHeaders: no name")
	}
	patterns := make([]namePattern, len(names))
	for i, name := range names {
		folded, prefix := strings.CutSuffix(name, "*")
		if !grammar.IsToken(folded) || strings.Contains(folded, "*") {
			panic(fmt.Sprintf("transport: StripHeaders: %q is not a field name, with or without a * at its end", name))
		}
		switch http.CanonicalHeaderKey(name) {
		case "Host", "Content-Length", "Transfer-Encoding", "Trailer":
			panic(fmt.Sprintf("transport: StripHeaders: %s is not among the fields that can be removed: net/http has read it", name))
		}
		patterns[i] = namePattern{strings.ReplaceAll(strings.ToLower(folded), "_", "-"), prefix}
	}
	matches := func(field string) bool {
		for i := range patterns {
			if patterns[i].matches(field) {
				return true
			}
		}
		return false
	}
	return func(next http.Handler) http.Handler {
		mustHandler("StripHeaders", next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for field := range r.Header {
				if matches(field) {
					r = strip(r, matches)
					break
				}
			}
			next.ServeHTTP(w, r)
		})
	}
}

// strip returns a copy of r without the fields that match. It is always a copy,
// with a Header of its own, since an outer door may be reading r's.
func strip(r *http.Request, matches func(string) bool) *http.Request {
	_, r = scope.Child(r)
	r.Header = r.Header.Clone()
	for field := range r.Header {
		if matches(field) {
			delete(r.Header, field)
		}
	}
	return r
}

// A namePattern is a field name in lower case with '-' for '_', or the beginning
// of one.
type namePattern struct {
	name   string
	prefix bool
}

func (p namePattern) matches(field string) bool {
	if len(field) < len(p.name) || !p.prefix && len(field) != len(p.name) {
		return false
	}
	for i := range len(p.name) {
		c := field[i]
		switch {
		case c == '_':
			c = '-'
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		}
		if c != p.name[i] {
			return false
		}
	}
	return true
}
