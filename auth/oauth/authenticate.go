package oauth

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/jwk"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/strictbase64"
)

// authenticate finds out which client asks, and refuses one that can't prove
// it. What it does and what it answers are the same for a client that is
// unknown, that gave a wrong secret, and that gave none although it has one.
func (s *Server) authenticate(ctx context.Context, q *request) error {
	id := q.id
	if id == "" {
		id = s.defaultClient
	}
	if id == "" {
		return s.invalidClient("no client is named")
	}
	c, err := s.clients.Client(ctx, id)
	known := err == nil && c.ID == id // a store may compare more loosely than OAuth does
	switch {
	case err != nil && !errors.Is(err, auth.ErrNotFound):
		return unavailable(fmt.Errorf("oauth: the client store failed: %w", err))
	case !known:
		c = s.decoy
	default:
		q.named = id
		if err := c.check(); err != nil {
			return serverError(fmt.Errorf("oauth: client %q: %w", id, err))
		}
	}
	if q.assertion != nil {
		return s.authenticateByAssertion(ctx, q, c, known)
	}
	right := c.hasSecret(q.secret, s.decoy.SecretHash)
	switch {
	case !known:
		return s.invalidClient("unknown client")
	case c.Public && q.secret != "":
		return s.invalidClient("a public client sent a secret")
	case c.hasKeys():
		return s.invalidClient("a client with keys sent no assertion")
	case c.Public:
	case q.id == "":
		return s.invalidClient("the default client is not public")
	case !right && q.secret == "":
		return s.invalidClient("the client sent no secret")
	case !right:
		return s.invalidClient("wrong client secret")
	}
	q.client = c
	return nil
}

// authenticateByAssertion is authenticate for a client that sent one. A signature is
// verified also where there is nobody whose it could be. The caller uses the assertion
// up: [Server.useAssertion].
func (s *Server) authenticateByAssertion(ctx context.Context, q *request, c Client, known bool) error {
	var keys jwk.Set
	if known && c.hasKeys() {
		keys = c.Keys
	}
	reason, err := s.verifyAssertion(ctx, q.assertion, keys)
	switch {
	case err != nil:
		return unavailable(err)
	case !known:
		return s.invalidClient("unknown client")
	case !c.hasKeys():
		return s.invalidClient("the client has no keys for assertions")
	case reason != "":
		return s.invalidClient(reason)
	}
	q.client = c
	return nil
}

// readClient takes the client's credentials from the Authorization field
// (client_secret_basic), from the form (client_secret_post) or from an assertion
// (private_key_jwt), never from two of them (RFC 6749, section 2.3).
func (s *Server) readClient(r *http.Request, q *request) error {
	id, secret, err := s.basicCredentials(r)
	if err != nil {
		return err
	}
	f := &q.form
	asserted := f.assertion != "" || f.assertionType != ""
	switch {
	case id != "" && (f.clientSecret != "" || asserted), f.clientSecret != "" && asserted:
		return invalidRequest("The client authenticates in more than one way.")
	case asserted && (f.assertion == "" || f.assertionType == ""):
		return invalidRequest("There is a client_assertion without its client_assertion_type, or the other way round.")
	case asserted && f.assertionType != assertionType:
		return s.invalidClient("unknown type of client assertion")
	case asserted:
		a, err := readAssertion(f.assertion)
		if err != nil {
			return s.invalidClient(err.Error())
		}
		if f.clientID != "" && f.clientID != a.client { // RFC 7521, section 4.2
			return invalidRequest("The client_id parameter and the client_assertion name two clients.")
		}
		q.id, q.assertion = a.client, a
		return nil
	case id != "" && f.clientID != "" && f.clientID != id:
		return invalidRequest("The client_id parameter and the Authorization field name two clients.")
	case id != "":
		q.id, q.secret = id, secret
		return nil
	case f.clientSecret != "" && f.clientID == "":
		return invalidRequest("There is a client_secret without a client_id.")
	}
	q.id, q.secret = f.clientID, f.clientSecret
	return nil
}

// basicCredentials returns what the Authorization field says, or an empty id if
// there is none. Empty credentials are the same as none: programs that ask a
// user for a client id and get no answer send "Basic Og==".
func (s *Server) basicCredentials(r *http.Request) (id, secret string, err error) {
	encoded, err := auth.Credentials(r, "Basic")
	var p *httperr.Problem
	switch {
	case errors.As(err, &p):
		return "", "", invalidRequest(p.Detail)
	case err != nil && len(r.Header["Authorization"]) > 0:
		return "", "", s.invalidClient("the authentication scheme is not Basic")
	case err != nil:
		return "", "", nil
	}
	id, secret, ok := parseBasic(encoded)
	if !ok {
		return "", "", s.invalidClient("malformed Basic credentials")
	}
	return id, secret, nil
}

// parseBasic decodes a client's id and secret, which are form-urlencoded each
// before they are joined (RFC 6749, section 2.3.1). Either may be empty, but an
// id only if the secret is too.
func parseBasic(encoded string) (id, secret string, ok bool) {
	joined, err := strictbase64.Decode(base64.StdEncoding, encoded)
	if err != nil {
		return "", "", false
	}
	id, secret, found := strings.Cut(string(joined), ":")
	if !found {
		return "", "", false
	}
	id, err = url.QueryUnescape(id)
	if err != nil {
		return "", "", false
	}
	secret, err = url.QueryUnescape(secret)
	if err != nil {
		return "", "", false
	}
	if id == "" && secret == "" {
		return "", "", true
	}
	return id, secret, isID(id) && isVisible(secret)
}
