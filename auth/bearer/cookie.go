package bearer

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/grammar"
	"github.com/sallyport/sallyport/internal/origin"
)

// cookiePrefix makes browsers refuse a cookie that another host, or plain HTTP, has
// set (RFC 6265bis §4.1.3.2).
const cookiePrefix = "__Host-"

// CookieConfig lets a token come in a cookie, for pages of the same origin. Browsers
// send a cookie with requests that another site's page makes them send, so the
// check against cross-site request forgery comes with it and can't be left out: a
// request that may change something is refused with 401 unless the browser says
// that it comes from this origin, by Sec-Fetch-Site or Origin. One that says
// neither is refused too. GET, HEAD and OPTIONS pass, and must not change anything.
//
// Set the cookie with Secure, HttpOnly, SameSite and Path=/.
type CookieConfig struct {
	// Name is that of the cookie. It begins with "__Host-". "" means that no cookie
	// is read.
	Name string

	// TrustedOrigins are other origins whose pages may send anything, such as
	// "https://app.example.com", as a browser writes them.
	TrustedOrigins []string
}

func (c *CookieConfig) check() error {
	switch {
	case c.Name == "" && len(c.TrustedOrigins) > 0:
		return errors.New("bearer: Config.Cookie.TrustedOrigins is set, but Name is empty")
	case c.Name == "":
		return nil
	case !strings.HasPrefix(c.Name, cookiePrefix) || !grammar.IsToken(c.Name):
		return errors.New("bearer: Config.Cookie.Name must be a token that begins with " + cookiePrefix)
	}
	c.TrustedOrigins = slices.Clone(c.TrustedOrigins)
	for _, o := range c.TrustedOrigins {
		if o != strings.ToLower(o) {
			return errors.New("bearer: Config.Cookie.TrustedOrigins has one that is not in lower case")
		}
	}
	if _, err := origin.New(c.TrustedOrigins); err != nil {
		return errors.New("bearer: Config.Cookie.TrustedOrigins has one that is not scheme://host")
	}
	return nil
}

func (c CookieConfig) same(other CookieConfig) bool {
	return c.Name == other.Name && slices.Equal(c.TrustedOrigins, other.TrustedOrigins)
}

// reader returns what reads the cookie, or nil if none is.
func (c CookieConfig) reader() *cookie {
	if c.Name == "" {
		return nil
	}
	check, err := origin.New(c.TrustedOrigins)
	if err != nil {
		panic("bearer: " + err.Error()) // check has made one of the same
	}
	return &cookie{c.Name, check}
}

type cookie struct {
	name   string
	origin *origin.Check
}

// orHeader returns the token of the cookie if the header has none of it. token and
// err are what the Authorization field gave.
func (c *cookie) orHeader(r *http.Request, token string, err error) (string, error) {
	var found []*http.Cookie
	if len(r.Header["Cookie"]) > 0 {
		found = r.CookiesNamed(c.name)
	}
	switch {
	case len(found) == 0:
		return token, err
	case len(r.Header["Authorization"]) > 0:
		// Whichever scheme it is of: two credentials are two callers.
		return "", malformed("The request has a token in the Cookie field and an Authorization field.")
	case len(found) > 1:
		return "", malformed("The request has two tokens in the Cookie field.")
	case found[0].Value == "":
		return "", auth.ErrNoCredentials
	}
	if !origin.Applies(r) {
		return found[0].Value, nil
	}
	cross := c.origin.Cross(r)
	if origin.Unknown(r) {
		cross = errors.New("the request does not say which origin it comes from")
	}
	if cross != nil {
		p := httperr.New(http.StatusUnauthorized, "cross_origin", "The cookie is not taken from a page of another origin.").WithCause(cross)
		p.Audit = &audit.Event{Name: audit.MaliciousCORS, Level: slog.LevelWarn, Reason: cross.Error()}
		return "", p
	}
	return found[0].Value, nil
}
