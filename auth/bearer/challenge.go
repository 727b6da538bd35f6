package bearer

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/auth"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/grammar"
	"github.com/sallyport/sallyport/internal/quoted"
)

// challenges are the field values of RFC 6750 §3, made once.
type challenges struct{ bare, invalidRequest, invalidToken string }

func newChallenges(realm string) challenges {
	bare := scheme + " realm=" + quoted.String(realm)
	return challenges{
		bare:           bare,
		invalidRequest: bare + `, error="invalid_request", error_description="The request is malformed."`,
		invalidToken:   bare + `, error="invalid_token", error_description="The access token is expired, revoked, malformed or not meant for this service."`,
	}
}

// Challenge adds the WWW-Authenticate field of RFC 6750 §3. It has an error code
// only if err is about a bearer token: invalid_request for a *errors.Problem of
// status 400, insufficient_scope for one of status 403, with the scope names in
// its Extensions["scope"] if it has them, insufficient_user_authentication (RFC
// 9470) for one of that code with "acr_values" and "max_age", and invalid_token for a token that was refused. Why it
// was is not told.
func (a *Authenticator) Challenge(h http.Header, _ *http.Request, err error) {
	h["Www-Authenticate"] = append(h["Www-Authenticate"], a.challenges.of(err))
}

func (c *challenges) of(err error) string {
	var p *httperr.Problem
	switch isProblem := errors.As(err, &p) && p != nil; {
	case isProblem && p.Code == "insufficient_user_authentication":
		return c.stepUp(p)
	case isProblem && p.Status == http.StatusForbidden:
		return c.insufficientScope(p)
	case isProblem && p.Status == http.StatusBadRequest:
		return c.invalidRequest
	case errors.Is(err, auth.ErrInvalid):
		return c.invalidToken
	}
	return c.bare
}

// stepUp is the challenge of RFC 9470, section 3.
func (c *challenges) stepUp(p *httperr.Problem) string {
	s := c.bare + `, error="insufficient_user_authentication", error_description="A stronger or a newer authentication is required."`
	if acr, _ := p.Extensions["acr_values"].(string); acr != "" && quoted.Valid(acr) {
		s += ", acr_values=" + quoted.String(acr)
	}
	if age, ok := p.Extensions["max_age"].(int64); ok && age >= 0 {
		s += `, max_age="` + strconv.FormatInt(age, 10) + `"`
	}
	return s
}

func (c *challenges) insufficientScope(p *httperr.Problem) string {
	s := c.bare + `, error="insufficient_scope", error_description="The access token does not allow this."`
	scope, _ := p.Extensions["scope"].(string)
	for one := range strings.SplitSeq(scope, " ") {
		if !grammar.IsScopeToken(one) {
			return s // no list is better than one that says something else
		}
	}
	return s + ", scope=" + quoted.String(scope)
}
