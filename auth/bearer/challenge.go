package bearer

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/dpop"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/grammar"
	"github.com/sallyport/sallyport/internal/quoted"
)

// settings are what challenges are made of.
type settings struct {
	realm    string
	resource *Resource
	dpop     *dpop.Verifier
	bearer   bool // tokens that are not bound are taken
}

// challenges are the field values of RFC 6750 §3 and RFC 9449 §7.1, made once.
type challenges struct {
	bearer bool
	dpop   *dpop.Verifier // nil if no bound token is taken
	// What every challenge of the scheme begins, and ends, with.
	start, startDPoP string
	end, endDPoP     string
}

func newChallenges(s settings) challenges {
	c := challenges{bearer: s.bearer, dpop: s.dpop}
	c.start = scheme + " realm=" + quoted.String(s.realm)
	if s.resource != nil { // RFC 9728 §5.1
		c.end = ", resource_metadata=" + quoted.String(s.resource.MetadataURL())
	}
	if s.dpop != nil {
		c.startDPoP = schemeDPoP + " realm=" + quoted.String(s.realm)
		c.endDPoP = ", algs=" + quoted.String(strings.Join(s.dpop.Algorithms(), " ")) + c.end
	}
	return c
}

// Challenge adds the WWW-Authenticate fields of RFC 6750 §3 and, where tokens may be
// bound to a key, RFC 9449 §7.1, with a DPoP-Nonce if proofs need one. One has an
// error code only if err is about a token, and only the scheme that the request used:
// invalid_request for a *errors.Problem of status 400, insufficient_scope for one of
// status 403, with the scope names in its Extensions["scope"] if it has them,
// insufficient_user_authentication (RFC 9470) for one of that code with "acr_values"
// and "max_age", invalid_dpop_proof and use_dpop_nonce for a proof, and invalid_token
// for a token that was refused. Why it was is not told.
func (a *Authenticator) Challenge(h http.Header, r *http.Request, err error) {
	c := &a.challenges
	attributes := attributes(err)
	if c.dpop == nil {
		h["Www-Authenticate"] = append(h["Www-Authenticate"], c.start+attributes+c.end)
		return
	}
	bound := usesDPoP(r)
	if c.bearer {
		line := c.start
		if !bound {
			line += attributes
		}
		h["Www-Authenticate"] = append(h["Www-Authenticate"], line+c.end)
	}
	line := c.startDPoP
	if bound || !c.bearer {
		line += attributes
	}
	h["Www-Authenticate"] = append(h["Www-Authenticate"], line+c.endDPoP)
	if nonce := c.dpop.Nonce(); nonce != "" {
		h["Dpop-Nonce"] = []string{nonce}
	}
}

// usesDPoP reports whether r's credentials are of the scheme DPoP.
func usesDPoP(r *http.Request) bool {
	if r == nil {
		return false
	}
	_, err := auth.Credentials(r, schemeDPoP)
	return err == nil
}

// attributes are the parameters of a challenge that depend on what is wrong.
func attributes(err error) string {
	var p *httperr.Problem
	switch isProblem := errors.As(err, &p) && p != nil; {
	case isProblem && p.Code == "insufficient_user_authentication":
		return stepUp(p)
	case isProblem && p.Status == http.StatusForbidden:
		return insufficientScope(p)
	case isProblem && p.Status == http.StatusBadRequest:
		return errorCode("invalid_request", "The request is malformed.")
	case isProblem && p.Code == codeUseNonce:
		return errorCode(codeUseNonce, detailUseNonce)
	case isProblem && p.Code == codeInvalidProof:
		return errorCode(codeInvalidProof, detailInvalidProof)
	case errors.Is(err, auth.ErrInvalid):
		return errorCode(codeInvalidToken, detailInvalidToken)
	}
	return ""
}

func errorCode(code, description string) string {
	return `, error="` + code + `", error_description="` + description + `"`
}

// stepUp is the challenge of RFC 9470, section 3.
func stepUp(p *httperr.Problem) string {
	s := errorCode("insufficient_user_authentication", "A stronger or a newer authentication is required.")
	if acr, _ := p.Extensions["acr_values"].(string); acr != "" && quoted.Valid(acr) {
		s += ", acr_values=" + quoted.String(acr)
	}
	if age, ok := p.Extensions["max_age"].(int64); ok && age >= 0 {
		s += `, max_age="` + strconv.FormatInt(age, 10) + `"`
	}
	return s
}

func insufficientScope(p *httperr.Problem) string {
	s := errorCode("insufficient_scope", "The access token does not allow this.")
	scope, _ := p.Extensions["scope"].(string)
	for one := range strings.SplitSeq(scope, " ") {
		if !grammar.IsScopeToken(one) {
			return s // no list is better than one that says something else
		}
	}
	return s + ", scope=" + quoted.String(scope)
}
