package transport

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/origin"
)

// CSRF returns a door against cross-site request forgery, for services that
// browsers authenticate to by a cookie, Basic or a client certificate. It answers
// with 403 what a page of another origin makes a browser send: requests whose
// Sec-Fetch-Site is neither same-origin nor none, or, from browsers before 2023, whose
// Origin is not the request's host. Requests with neither field pass, since over HTTPS, and to
// localhost, they do not come from a browser of today; over plain HTTP browsers leave out
// Sec-Fetch-Site, so have [RequireHTTPS] above. GET, HEAD and OPTIONS pass too, unless they
// open a WebSocket, which no same-origin policy protects. Such methods must not change
// anything; where one does, use [SameOrigin].
//
// Pages of trustedOrigins, such as "https://app.example.com", may send anything that has an
// Origin, which links and plain GET requests have not. Origins are compared whole. CSRF
// panics if one is not written as a browser does: scheme, host in lower case, a port only if
// it is not the scheme's default.
//
// It is [http.CrossOriginProtection] with answers of this module, and with two
// more rules for old browsers: an Origin that is no URL with a host ("null") never
// passes, and one of plain http never passes for a request over HTTPS.
func CSRF(trustedOrigins ...string) func(http.Handler) http.Handler {
	return newOriginCheck("CSRF", trustedOrigins).door(origin.Applies)
}

// SameOrigin is [CSRF] for every method: over HTTPS, a page of another origin can't even
// follow a link here. It is for routes that only your own pages and programs use.
// CORS preflights are refused too, so put a CORS door in front.
func SameOrigin(trustedOrigins ...string) func(http.Handler) http.Handler {
	return newOriginCheck("SameOrigin", trustedOrigins).door(func(*http.Request) bool { return true })
}

type originCheck struct {
	name  string
	check *origin.Check
}

func newOriginCheck(name string, trusted []string) *originCheck {
	for _, o := range trusted {
		if err := checkOrigin(o); err != nil {
			panic("transport: " + name + ": trustedOrigins: " + err.Error())
		}
	}
	check, err := origin.New(trusted)
	if err != nil {
		panic("transport: " + name + ": trustedOrigins: " + err.Error())
	}
	return &originCheck{name, check}
}

// door refuses cross-origin requests among those that applies picks.
func (c *originCheck) door(applies func(*http.Request) bool) func(http.Handler) http.Handler {
	refused := httperr.New(http.StatusForbidden, "cross_origin", "This request may not come from a page of another origin.")
	return func(next http.Handler) http.Handler {
		mustHandler(c.name, next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if applies(r) {
				if err := c.check.Cross(r); err != nil {
					p := refused.WithCause(err)
					p.Audit = &audit.Event{Name: audit.MaliciousCORS, Level: slog.LevelWarn, Reason: err.Error()}
					httperr.Write(w, r, p)
					return
				}
			}
			next.ServeHTTP(w, r)
		})
	}
}

// checkOrigin returns an error if no browser would send o as an Origin.
func checkOrigin(o string) error {
	u, err := url.Parse(o)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return fmt.Errorf("%q is not scheme://host", o)
	}
	host, port, err := cleanHost(u.Host)
	if err != nil {
		return err
	}
	canonical := u.Scheme + "://" + host
	switch {
	case port == "", u.Scheme == "https" && port == "443", u.Scheme == "http" && port == "80":
	default:
		canonical += ":" + port
	}
	if o != canonical {
		return fmt.Errorf("%q: browsers send %q", o, canonical)
	}
	return nil
}
