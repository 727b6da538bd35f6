package bearer

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/dpop"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/jws"
)

// The reasons for which a token is refused. They go to the log; the client is
// told invalid_token, whichever it is.
var (
	errSyntax      = invalid("not a JWS in its compact form")
	errHeader      = invalid("the header is not acceptable")
	errExtension   = invalid("the header has an extension that is not supported")
	errType        = invalid("the token is of another type")
	errAlgorithm   = invalid("the algorithm is not allowed")
	errKey         = invalid("no key fits the token")
	errSignature   = invalid("the signature is not valid")
	errClaims      = invalid("the claims are not a JSON object as it should be")
	errClaimType   = invalid("a claim has the wrong type or an impossible value")
	errMissing     = invalid("a required claim is missing")
	errIssuer      = invalid("the token is from another issuer")
	errAudience    = invalid("the token is for another audience")
	errExpired     = invalid("the token has expired")
	errNotYet      = invalid("the token is not valid yet")
	errLifetime    = invalid("the token lives longer than allowed")
	errBound       = invalid("the token is bound to a key or certificate, without proof of possession")
	errUnbound     = invalid("the token is not bound to a key, as it must be")
	errCertificate = invalid("the token is bound to another certificate")
	errInactive    = invalid("the issuer says that the token is not active")
	errRevoked     = invalid("the token has been revoked")
	errOtherKey    = invalid("the proof is by another key than the token's")
)

const (
	codeInvalidToken = "invalid_token"
	codeInvalidProof = "invalid_dpop_proof"
	codeUseNonce     = "use_dpop_nonce"

	detailInvalidToken = "The access token is expired, revoked, malformed or not meant for this service."
	detailInvalidProof = "The DPoP proof is missing, malformed, used or not for this request."
	detailUseNonce     = "The DPoP proof needs the nonce that DPoP-Nonce gives."
)

// formError turns the parser's reasons into those of this package.
func formError(err error) error {
	switch err {
	case jws.ErrSyntax:
		return errSyntax
	case jws.ErrExtension:
		return errExtension
	}
	return errHeader
}

// refused is the answer to a token that is not good, whyever.
func refused(reason error) error {
	return httperr.New(http.StatusUnauthorized, codeInvalidToken, detailInvalidToken).WithCause(reason)
}

// refusedProof is the answer to a good token whose proof is not (RFC 9449 §7.1).
func refusedProof(reason error) error {
	if errors.Is(reason, dpop.ErrNonce) {
		p := httperr.New(http.StatusUnauthorized, codeUseNonce, detailUseNonce).WithCause(reason)
		// Each client is told so once in a while: that is nothing to warn of.
		p.Audit = &audit.Event{Name: audit.LoginFail, Level: slog.LevelInfo, Scheme: schemeDPoP, Reason: reason.Error()}
		return p
	}
	return httperr.New(http.StatusUnauthorized, codeInvalidProof, detailInvalidProof).WithCause(reason)
}

// malformed is the answer to a request that is not one of RFC 6750.
func malformed(detail string) error {
	return httperr.New(http.StatusBadRequest, "invalid_request", detail)
}

func invalid(reason string) error { return fmt.Errorf("%w: %s", auth.ErrInvalid, reason) }

// undecided does not wrap err: what a callback's error wraps must not turn "can't
// tell" into "no credentials" or "invalid".
func undecided(what string, err error) error { return fmt.Errorf("bearer: %s: %v", what, err) }
