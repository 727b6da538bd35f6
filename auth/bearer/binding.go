package bearer

import (
	"crypto/subtle"
	"errors"
	"net/http"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/mtls"
	httperr "github.com/sallyport/sallyport/errors"
)

// prove checks that who brings a token is who it was issued to, where it is bound.
// A token that is bound twice needs both proofs. It comes last, since a proof is
// used up by it.
func (t *verified) prove(r *http.Request, token string, dpop bool) error {
	switch {
	case t.thumbprint != "" && !dpop: // RFC 9449 §7.2
		return refused(errBound)
	case t.thumbprint == "" && (dpop || t.by.RequireDPoP): // RFC 9449 §7.1
		return refused(errUnbound)
	case dpop && t.by.DPoP == nil:
		return refused(errBound)
	}
	if t.certificate != "" {
		if err := t.proveCertificate(r); err != nil {
			return err
		}
	}
	if !dpop {
		return nil
	}
	proof, err := t.by.DPoP.Check(r, token)
	// Only a proof by the token's own key is remembered: anyone can make others, and
	// would fill the memory of proofs with them.
	if err == nil && subtle.ConstantTimeCompare([]byte(proof.Thumbprint), []byte(t.thumbprint)) != 1 {
		return refusedProof(errOtherKey)
	}
	if err == nil {
		err = t.by.DPoP.Use(r.Context(), proof)
	}
	switch {
	case errors.Is(err, auth.ErrInvalid):
		return refusedProof(err)
	case err != nil:
		return undecided("the DPoP proof can't be checked", err)
	}
	return nil
}

// proveCertificate compares the client's certificate with the token's (RFC 8705
// §3).
func (t *verified) proveCertificate(r *http.Request) error {
	certificate, err := t.by.ClientCertificate(r)
	var p *httperr.Problem
	switch {
	case errors.As(err, &p) && p != nil && p.Status == http.StatusBadRequest: // the field of a proxy is malformed
		return err
	case errors.Is(err, auth.ErrNoCredentials):
		return refused(errBound)
	case errors.Is(err, auth.ErrInvalid):
		return refused(errCertificate)
	case err != nil:
		return undecided("the client certificate can't be read", err)
	case certificate == nil:
		return refused(errBound)
	case subtle.ConstantTimeCompare([]byte(mtls.Thumbprint(certificate)), []byte(t.certificate)) != 1:
		return refused(errCertificate)
	}
	return nil
}
