// Package mtls takes client certificates: as who is calling, and as what a token is
// bound to (RFC 8705).
//
//	certificates, err := mtls.New(mtls.Config{Name: mtls.URI, Allowed: []string{"spiffe://example.com/billing"}})
//	mux.Handle("POST /invoices", auth.Require(certificates)(invoices))
//
// A certificate counts only if crypto/tls has verified it for the connection that the
// request came by, or a trusted proxy has ([Forwarded]). Here it is looked at once more,
// for each request: whether it is valid still, and for clients at all.
//
// Certificates are not looked up in lists of revoked ones: keep them short-lived.
package mtls

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"time"

	"github.com/sallyport/sallyport/auth"
)

// Certificate returns the client certificate of the connection that carries r, if
// crypto/tls has verified it: the leaf of its first verified chain. What a client
// merely presents counts for nothing. It returns [auth.ErrNoCredentials] if there is
// none, and an error that wraps [auth.ErrInvalid] for one that is not valid any more:
// a connection may live longer.
func Certificate(r *http.Request) (*x509.Certificate, error) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || len(r.TLS.VerifiedChains[0]) == 0 {
		return nil, auth.ErrNoCredentials
	}
	c := r.TLS.VerifiedChains[0][0]
	if err := valid(c, time.Now()); err != nil {
		return nil, err
	}
	return c, nil
}

func valid(c *x509.Certificate, now time.Time) error {
	if now.Before(c.NotBefore) || now.After(c.NotAfter) {
		return invalid("the client certificate is not valid at this time")
	}
	return nil
}

// Thumbprint returns the SHA-256 thumbprint of c, in base64url without padding: what a
// token's "cnf" has as "x5t#S256" (RFC 8705, section 3.1).
func Thumbprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
