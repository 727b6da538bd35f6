package introspect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/sallyport/sallyport/internal/fetch"
	"github.com/sallyport/sallyport/internal/jws"
	"github.com/sallyport/sallyport/internal/strictjson"
)

// ask makes one request (RFC 7662, section 2.1), and says how the endpoint did. The
// error has nothing of the token, and wraps nothing: a transport's error must not
// turn "can't tell" into another outcome. The timeout is of all of it: of Authorize,
// which may ask somebody for credentials, too.
func (c *Client) ask(ctx context.Context, token string) (Answer, health, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint, strings.NewReader(form))
	if err != nil {
		return Answer{}, unknown, errors.New("introspect: the request can't be made")
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	if c.authorize == nil {
		r.Header.Set("Authorization", c.authorization)
	} else if err := c.authorize(r); err != nil {
		h := unknown
		if ctx.Err() != nil { // who gives the credentials is down: that is as good as the endpoint
			h = failed
		}
		return Answer{}, h, fmt.Errorf("introspect: the request can't be authorized: %v", err)
	}
	reply, err := c.fetch.Do(ctx, r)
	switch {
	case errors.Is(err, fetch.ErrTooLarge):
		return Answer{}, unknown, fmt.Errorf("introspect: %v", err)
	case errors.Is(err, fetch.ErrRedirect):
		return Answer{}, doubtful, fmt.Errorf("introspect: %v", err)
	case err != nil && strings.Contains(err.Error(), token): // net/http quotes what it can't read
		return Answer{}, failed, errors.New("introspect: the answer is malformed, and has the token where none belongs")
	case err != nil:
		return Answer{}, failed, fmt.Errorf("introspect: %v", err)
	case reply.Status != http.StatusOK:
		return Answer{}, healthOf(reply.Status), fmt.Errorf("introspect: the endpoint answered with status %d", reply.Status)
	case !fetch.IsJSON(reply.Header):
		return Answer{}, doubtful, errors.New("introspect: the answer is not of a JSON media type")
	}
	a, err := readAnswer(reply.Body)
	if err != nil {
		return Answer{}, unknown, fmt.Errorf("introspect: %v", err)
	}
	return a, works, nil
}

// healthOf tells a status that says something of the endpoint from one that is about
// the one token, and from those that may be either: a proxy in front refuses what a
// token has in it or how long it is, and an endpoint may crash over one. Whoever sends
// tokens must not be able to stop the endpoint being asked about others.
func healthOf(status int) health {
	switch status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return unknown
	case http.StatusUnauthorized, http.StatusTooManyRequests,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return failed
	}
	return doubtful
}

// readAnswer reads what RFC 7662, section 2.2, says: an object that has "active",
// true or false and nothing that only looks like it. Of a token that is not active
// nothing else is read, or kept.
func readAnswer(body []byte) (Answer, error) {
	var members strictjson.Members
	if err := members.Read(body, jws.ClaimLimits); err != nil {
		return Answer{}, fmt.Errorf("the answer is refused: %v", err)
	}
	var a Answer
	decided, dated := false, true
	for i := range members.Len() {
		value := members.Value(i)
		switch string(members.Name(i)) {
		case "active":
			if value.Kind != strictjson.Bool {
				return Answer{}, errors.New(`the "active" of the answer is not true or false`)
			}
			decided, a.Active = true, value.Raw[0] == 't'
		case "exp":
			a.Expires, dated = jws.NumericDate(value)
		}
	}
	switch {
	case !decided:
		return Answer{}, errors.New(`the answer has no "active"`)
	case !a.Active:
		return Answer{}, nil
	case !dated:
		return Answer{}, errors.New(`the "exp" of the answer is not a date`)
	}
	a.Claims = bytes.Clone(body)
	return a, nil
}
