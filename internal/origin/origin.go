// Package origin tells whether a page of another origin made a browser send a
// request.
package origin

import (
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/sallyport/sallyport/internal/scope"
)

// A Check knows the origins that may send anything. It is
// [http.CrossOriginProtection] with two more rules for old browsers: an Origin
// that is no URL with a host ("null") never passes, and one of plain http never
// passes for a request over HTTPS. It is safe for concurrent use.
type Check struct {
	trusted []string
	std     *http.CrossOriginProtection
}

// New returns a Check. Each of trusted is scheme://host or scheme://host:port, as
// a browser writes it.
func New(trusted []string) (*Check, error) {
	c := &Check{slices.Clone(trusted), http.NewCrossOriginProtection()}
	for _, o := range trusted {
		if err := c.std.AddTrustedOrigin(o); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Applies reports whether r may change something, or opens a WebSocket, which no
// same-origin policy protects.
func Applies(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return len(r.Header["Upgrade"]) > 0
	}
	return true
}

// Unknown reports whether r says nothing of where it comes from: it is not from a
// browser, or from a very old one.
func Unknown(r *http.Request) bool {
	return r.Header.Get("Sec-Fetch-Site") == "" && r.Header.Get("Origin") == ""
}

// Cross returns why r is cross-origin, or nil, whatever its method. A request
// that says nothing of where it comes from is not.
func (c *Check) Cross(r *http.Request) error {
	asked := r
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		// The standard library passes these; ask it about the same request as a POST.
		asked = &http.Request{Method: http.MethodPost, URL: r.URL, Host: r.Host, Header: r.Header}
	}
	if err := c.std.Check(asked); err != nil {
		return err
	}
	from := r.Header.Get("Origin")
	if r.Header.Get("Sec-Fetch-Site") != "" || from == "" || slices.Contains(c.trusted, from) {
		return nil
	}
	u, err := url.Parse(from)
	switch {
	case err != nil || u.Host == "":
		return errors.New("the Origin has no host")
	case u.Scheme != "https" && scope.SchemeOf(r) == "https":
		return errors.New("the Origin is not https, the request is")
	}
	return nil
}
