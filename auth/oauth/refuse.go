package oauth

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/lockout"
)

// The error codes of RFC 6749, section 5.2, and two for what it leaves to HTTP.
const (
	codeInvalidRequest       = "invalid_request"
	codeInvalidClient        = "invalid_client"
	codeInvalidGrant         = "invalid_grant"
	codeUnauthorizedClient   = "unauthorized_client"
	codeUnsupportedGrantType = "unsupported_grant_type"
	codeInvalidScope         = "invalid_scope"
	codeUnsupportedTokenType = "unsupported_token_type" // RFC 7009, section 2.2.1
	codeInvalidProof         = "invalid_dpop_proof"     // RFC 9449, section 5
	codeUseNonce             = "use_dpop_nonce"         // RFC 9449, section 8
	codeServerError          = "server_error"
	codeUnavailable          = "temporarily_unavailable"
)

// refuse returns a refusal of a client's fault. description is a fixed text.
func refuse(status int, code, description, event, reason string) *httperr.Problem {
	p := answer(status, code, description)
	p.Audit = &audit.Event{Name: event, Level: slog.LevelWarn, Reason: reason}
	return p
}

func invalidRequest(description string) *httperr.Problem {
	return refuse(http.StatusBadRequest, codeInvalidRequest, description, audit.InputValidationFail, description)
}

func methodNotAllowed() *httperr.Problem {
	p := invalidRequest("The method must be POST.")
	p.Status = http.StatusMethodNotAllowed
	p.Header.Set("Allow", http.MethodPost)
	return p
}

func tooLarge() *httperr.Problem {
	p := invalidRequest("The body is too large.")
	p.Status = http.StatusRequestEntityTooLarge
	return p
}

// invalidClient has a challenge also where the client did not use the
// Authorization field, because each 401 must (RFC 9110, section 15.5.2).
func (s *Server) invalidClient(reason string) *httperr.Problem {
	p := refuse(http.StatusUnauthorized, codeInvalidClient, "The client could not be authenticated.", audit.LoginFail, reason)
	p.Header.Set("WWW-Authenticate", s.challenge)
	return p
}

func invalidGrant(reason string) *httperr.Problem {
	return refuse(http.StatusBadRequest, codeInvalidGrant, "The user name or the password is not valid.", audit.LoginFail, reason)
}

// tooMany is the answer while no password is looked at, whatever the account.
func tooMany(reason string, wait time.Duration) *httperr.Problem {
	p := refuse(http.StatusTooManyRequests, codeUnavailable, "Too many attempts have failed. Retry-After says when the next one is possible.", audit.LoginFail, reason)
	p.Header.Set("Retry-After", lockout.Seconds(wait))
	return p
}

func grantNotOffered() *httperr.Problem {
	const text = "The server does not offer this grant."
	return refuse(http.StatusBadRequest, codeUnsupportedGrantType, text, audit.InputValidationFail, text)
}

func grantNotAllowed() *httperr.Problem {
	const text = "The client may not use this grant."
	return refuse(http.StatusBadRequest, codeUnauthorizedClient, text, audit.AuthzFail, text)
}

func scopeRefused(reason string) *httperr.Problem {
	return refuse(http.StatusBadRequest, codeInvalidScope, "The scope is malformed, or more than may be granted.", audit.AuthzFail, reason)
}

// busy is unavailable for the shortest time.
func busy(cause error) *httperr.Problem {
	p := unavailable(cause)
	p.Header.Set("Retry-After", "1")
	return p
}

// unavailable is the answer where something that is needed can't be had now. It
// is no event of a login: nothing was decided.
func unavailable(cause error) *httperr.Problem {
	p := answer(http.StatusServiceUnavailable, codeUnavailable, "The request can't be served at the moment.").WithCause(cause)
	p.Header.Set("Retry-After", "5")
	return p
}

// serverError is the answer where trying again won't help.
func serverError(cause error) *httperr.Problem {
	return answer(http.StatusInternalServerError, codeServerError, "The request failed.").WithCause(cause)
}

func answer(status int, code, description string) *httperr.Problem {
	p := httperr.New(status, code, description)
	p.Header = http.Header{"Pragma": {"no-cache"}}
	p.Render = render
	return p
}

// render writes the form of RFC 6749, section 5.2.
func render(p *httperr.Problem) (contentType string, body []byte) {
	body, _ = json.Marshal(struct { // two strings always have a JSON form
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}{p.Code, p.Detail})
	return "application/json", body
}

// describe tells the event of err, if it has one, what is known of the request.
func (q *request) describe(err error) {
	var p *httperr.Problem
	if errors.As(err, &p) && p.Audit != nil {
		p.Audit.Scheme, p.Audit.ClientID, p.Audit.Subject = string(q.grant), q.named, q.subject
	}
}
