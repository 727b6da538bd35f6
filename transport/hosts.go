package transport

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/grammar"
	"github.com/sallyport/sallyport/internal/scope"
)

// AllowedHosts returns a door that answers requests for any other host with 421
// (RFC 9110, section 15.5.20), so that a forged Host can't end up in a link, a
// cache or a password-reset mail. A host is a name, an IPv4 address or an IPv6
// address in brackets; it is compared whole, without regard to case and to one dot
// at its end. A host without a port allows every port; one with a port allows just
// that, which a request may leave out if it is the default of its scheme.
//
// What is compared is the request's target if that is a whole URL, else the Host
// field (RFC 9112, section 3.2). An HTTP/2 request whose Host field is another than its
// :authority is refused. X-Forwarded-Host is never read.
//
// AllowedHosts panics if there is no host or one that is not valid; there are no
// wildcards. An international name is written in its xn-- form.
func AllowedHosts(hosts ...string) func(http.Handler) http.Handler {
	if len(hosts) == 0 {
		panic("transport: AllowedHosts: no host")
	}
	allowed := make(map[string][]string) // ports by host; none means all
	for _, h := range hosts {
		host, port, err := cleanHost(h)
		if err != nil {
			panic("transport: AllowedHosts: " + err.Error())
		}
		ports, seen := allowed[host]
		switch {
		case port == "" || seen && len(ports) == 0:
			allowed[host] = nil
		default:
			allowed[host] = append(ports, port)
		}
	}
	refused := httperr.New(http.StatusMisdirectedRequest, "host_not_served", "This server does not serve that host.")
	refused.Audit = &audit.Event{Name: audit.MaliciousExtraneous, Level: slog.LevelWarn, Reason: "the Host is not an allowed one"}

	return func(next http.Handler) http.Handler {
		mustHandler("AllowedHosts", next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			host, port, ok := splitHost(r.Host)
			if ok {
				var ports []string
				ports, ok = allowed[host]
				ok = ok && (len(ports) == 0 || slices.Contains(ports, portOr(port, r)))
			}
			// net/http leaves a Host field there beside the :authority of HTTP/2, which would be
			// another one to who reads it (RFC 9113, section 8.3.1).
			for _, field := range r.Header["Host"] {
				h, p, valid := splitHost(field)
				ok = ok && valid && h == host && portOr(p, r) == portOr(port, r)
			}
			if !ok {
				httperr.Write(w, r, refused)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// portOr returns port, or the default of the request's scheme if it is empty.
func portOr(port string, r *http.Request) string {
	switch {
	case port != "":
		return port
	case scope.SchemeOf(r) == "https":
		return "443"
	default:
		return "80"
	}
}

// cleanHost is splitHost for hosts in a configuration.
func cleanHost(s string) (host, port string, err error) {
	if s == "" {
		return "", "", errors.New("the host is empty")
	}
	host, port, ok := splitHost(s)
	if !ok {
		return "", "", fmt.Errorf("%q is not host or host:port", s)
	}
	return host, port, nil
}

// splitHost returns the host in lower case, without a dot at its end, an IPv6
// address in its canonical form in brackets, and the port, or "". It reports false
// for anything that is not a host with an optional port between 1 and 65535.
func splitHost(s string) (host, port string, ok bool) {
	if strings.HasPrefix(s, "[") {
		literal, rest, found := strings.Cut(s[1:], "]")
		addr, err := netip.ParseAddr(literal)
		if !found || err != nil || !addr.Is6() || addr.Zone() != "" {
			return "", "", false
		}
		host, s = "["+addr.String()+"]", rest
	} else {
		i := strings.IndexByte(s, ':')
		if i < 0 {
			i = len(s)
		}
		host, s = strings.TrimSuffix(s[:i], "."), s[i:]
		if !validName(host) {
			return "", "", false
		}
		host = strings.ToLower(host)
	}
	if s == "" {
		return host, "", true
	}
	port = s[1:]
	_, err := strconv.ParseUint(port, 10, 16)
	if s[0] != ':' || err != nil || port[0] == '0' {
		return "", "", false
	}
	return host, port, true
}

// validName reports whether s is dot-separated labels of letters, digits, '-' and
// '_' (which names inside a cluster may have).
func validName(s string) bool {
	if len(s) > 253 {
		return false
	}
	label := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.' && label == 0:
			return false
		case c == '.':
			label = 0
		case grammar.IsAlphanumeric(c) || c == '-' || c == '_':
			if label++; label > 63 {
				return false
			}
		default:
			return false
		}
	}
	return label > 0
}

// mustHandler panics if the handler that a door was given is nil.
func mustHandler(door string, next http.Handler) {
	if next == nil {
		panic("transport: " + door + ": the handler is nil")
	}
}
