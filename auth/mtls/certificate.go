// Package mtls takes client certificates: as who is calling, and as what a token is
// bound to (RFC 8705).
package mtls

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
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
	if now := time.Now(); now.Before(c.NotBefore) || now.After(c.NotAfter) {
		return nil, fmt.Errorf("%w: the client certificate is not valid at this time", auth.ErrInvalid)
	}
	return c, nil
}

// Thumbprint returns the SHA-256 thumbprint of c, in base64url without padding: what a
// token's "cnf" has as "x5t#S256" (RFC 8705, section 3.1).
func Thumbprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
