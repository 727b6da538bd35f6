// Package mtls takes client certificates: as who is calling, and as what a token is
// bound to (RFC 8705).
//
//	authorities, err := mtls.ParseAuthorities(file)
//	clients, err := mtls.New(mtls.Config{Name: mtls.URI, Authorities: authorities})
//	mux.Handle("POST /invoices", auth.Require(clients)(invoices))
//	server := &http.Server{Handler: mux, TLSConfig: &tls.Config{
//		ClientCAs: authorities.Pool(), ClientAuth: tls.VerifyClientCertIfGiven,
//	}}
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
// crypto/tls has verified it: the leaf of a verified chain. What a client merely
// presents counts for nothing. It returns [auth.ErrNoCredentials] if there is none, and
// an error that wraps [auth.ErrInvalid] if it, or each chain that leads to it, is not
// valid any more: a connection may live longer.
func Certificate(r *http.Request) (*x509.Certificate, error) { return ofConnection(r, nil) }

// ofConnection is Certificate, and if authorities are given, only of a chain that ends
// with one of them.
func ofConnection(r *http.Request, authorities *Authorities) (*x509.Certificate, error) {
	if r.TLS == nil {
		return nil, auth.ErrNoCredentials
	}
	err, now := auth.ErrNoCredentials, time.Now()
	for _, chain := range r.TLS.VerifiedChains {
		if len(chain) == 0 || authorities != nil && !authorities.issued(chain) {
			continue
		}
		if err = validChain(chain, now); err == nil {
			return chain[0], nil
		}
	}
	return nil, err
}

func validChain(chain []*x509.Certificate, now time.Time) error {
	for _, c := range chain {
		if err := valid(c, now); err != nil {
			return err
		}
	}
	return nil
}

func valid(c *x509.Certificate, now time.Time) error {
	if now.Before(c.NotBefore) || now.After(c.NotAfter) {
		return errTime
	}
	return nil
}

// Thumbprint returns the SHA-256 thumbprint of c, in base64url without padding: what a
// token's "cnf" has as "x5t#S256" (RFC 8705, section 3.1).
func Thumbprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
