package transport

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/grammar"
	"github.com/sallyport/sallyport/internal/scope"
)

// maxRedirect bounds a redirect's Location, in bytes. Longer ones fail in
// browsers and proxies.
const maxRedirect = 8 << 10

// RequireHTTPS is a door that answers requests which the client sent over plain
// HTTP with 403. An API must not redirect them instead: the client would go on
// sending its token in the clear and never notice. A request is over HTTPS if its
// connection is TLS, or, where [ClientIP] is above, if the trusted proxy says so.
//
// If the request carried credentials, the audit event says in which field, so
// that they can be treated as leaked; it does not hold them.
//
// RequireHTTPS panics if next is nil.
func RequireHTTPS(next http.Handler) http.Handler {
	mustHandler("RequireHTTPS", next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if scope.SchemeOf(r) != "https" {
			httperr.Write(w, r, plainHTTP(leaked(r.Header, nil)))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// RedirectHTTPS returns a handler for plain HTTP that sends browsers to the same
// path and query on https://host, with 308 (RFC 9110, section 15.4.9). host may
// have a port; it is fixed, since the request's own Host may be forged. GET and HEAD
// are redirected; anything else is answered with 403, because its body has been sent
// in the clear by now. So is a request with Authorization, Proxy-Authorization,
// Cookie, X-API-Key or one of the fields named by credentials: redirected, its
// sender would not notice that they leaked. The audit event names the field.
//
// A target of more than 8 KiB is answered with 414.
//
// RedirectHTTPS panics if host is not a host with an optional port, or if a name in
// credentials is not a field name.
func RedirectHTTPS(host string, credentials ...string) http.Handler {
	name, port, err := cleanHost(host)
	if err != nil {
		panic("transport: RedirectHTTPS: host: " + err.Error())
	}
	base := "https://" + name
	if port != "" && port != "443" {
		base += ":" + port
	}
	fields := make([]string, len(credentials))
	for i, c := range credentials {
		if !grammar.IsToken(c) {
			panic(fmt.Sprintf("transport: RedirectHTTPS: credentials: %q is not a field name", c))
		}
		fields[i] = textproto.CanonicalMIMEHeaderKey(c)
	}
	tooLong := httperr.New(http.StatusRequestURITooLong, "uri_too_long", "The request's target is too long.")

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		field := leaked(r.Header, fields)
		if field != "" || r.Method != http.MethodGet && r.Method != http.MethodHead {
			httperr.Write(w, r, plainHTTP(field))
			return
		}
		target := base + redirectPath(r)
		if len(target) > maxRedirect {
			httperr.Write(w, r, tooLong)
			return
		}
		h := w.Header()
		h["Location"] = []string{target}
		h["Content-Length"] = []string{"0"}
		w.WriteHeader(http.StatusPermanentRedirect)
	})
}

// redirectPath returns the request's path and query, with exactly one slash in
// front and every character that may not stand in a Location escaped.
func redirectPath(r *http.Request) string {
	path := "/" + strings.TrimLeft(r.URL.EscapedPath(), `/\`)
	if r.URL.RawQuery != "" {
		path += "?" + r.URL.RawQuery
	}
	clean := func(c byte) bool { return c > ' ' && c < 0x7f && strings.IndexByte("\"#<>\\^`{|}", c) < 0 }
	var b []byte
	for i := range len(path) {
		switch c := path[i]; {
		case clean(c):
			if b != nil {
				b = append(b, c)
			}
		default:
			if b == nil {
				b = append(make([]byte, 0, len(path)+16), path[:i]...)
			}
			const hex = "0123456789ABCDEF"
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	if b == nil {
		return path
	}
	return string(b)
}

// plainHTTP is the refusal of a request over plain HTTP that carried credentials
// in a field, or none if field is empty.
func plainHTTP(field string) *httperr.Problem {
	p := httperr.New(http.StatusForbidden, "https_required", "Use https. Treat credentials that were sent without it as leaked.")
	p.Audit = &audit.Event{Name: audit.InputValidationFail, Level: slog.LevelInfo, Reason: "plain HTTP"}
	if field != "" {
		p.Audit.Level = slog.LevelWarn
		p.Audit.Reason = "plain HTTP with credentials, which have leaked, in the field " + field
	}
	return p
}

// leaked returns the name of a field of h that carries credentials: one that
// always does, or one of more.
func leaked(h http.Header, more []string) string {
	for _, field := range [...]string{"Authorization", "Proxy-Authorization", "Cookie", "X-Api-Key"} {
		if len(h[field]) > 0 {
			return field
		}
	}
	if i := slices.IndexFunc(more, func(field string) bool { return len(h[field]) > 0 }); i >= 0 {
		return more[i]
	}
	return ""
}
