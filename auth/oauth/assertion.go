package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/internal/isnil"
	"github.com/sallyport/sallyport/internal/jws"
	"github.com/sallyport/sallyport/internal/strictjson"
)

// assertionType is the one client_assertion_type (RFC 7523, section 2.2).
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

const (
	assertionLeeway  = 30 * time.Second
	longestAssertion = 10 * time.Minute // from now to its "exp"
	maxAssertionID   = 256              // bytes of "jti"
)

// An assertion is a JWT by which a client proves itself (private_key_jwt, RFC 7523,
// section 3). The parts are those it claims: nothing is checked but their form.
type assertion struct {
	text     string
	client   string // "iss" and "sub", which are the same
	id       string // "jti"
	audience []string
	expires  time.Time
	notUntil time.Time
	issued   time.Time
}

// readAssertion reads what an assertion says, to find out whose key shall verify it.
func readAssertion(text string) (*assertion, error) {
	var s jws.Scratch
	j, err := s.Parse(text)
	if err != nil {
		return nil, errors.New("malformed client assertion")
	}
	if j.Type != nil && !jws.IsType(j.Type, []byte("application/jwt")) && !jws.IsType(j.Type, []byte("application/client-authentication+jwt")) {
		return nil, errors.New("the client assertion is of another type")
	}
	a := &assertion{text: text}
	var issuer string
	var members strictjson.Members
	if err := members.Read(j.Payload, jws.ClaimLimits); err != nil {
		return nil, errors.New("malformed client assertion")
	}
	for i := range members.Len() {
		value := members.Value(i)
		ok := true
		switch string(members.Name(i)) {
		case "iss":
			issuer, ok = jws.String(value)
		case "sub":
			a.client, ok = jws.String(value)
		case "jti":
			a.id, ok = jws.String(value)
		case "exp":
			a.expires, ok = jws.NumericDate(value)
		case "nbf":
			a.notUntil, ok = jws.NumericDate(value)
		case "iat":
			a.issued, ok = jws.NumericDate(value)
		case "aud":
			a.audience, ok = readAudience(value)
		}
		if !ok {
			return nil, errors.New("a claim of the client assertion has the wrong type")
		}
	}
	if issuer != a.client || !isID(a.client) {
		return nil, errors.New("the client assertion does not name one client as its issuer and subject")
	}
	return a, nil
}

// readAudience reads one string or an array of them.
func readAudience(v strictjson.Value) ([]string, bool) {
	if s, ok := jws.String(v); ok {
		return []string{s}, true
	}
	var all []string
	err := v.Elements(func(v strictjson.Value) error {
		s, ok := jws.String(v)
		if !ok {
			return errors.New("no string")
		}
		all = append(all, s)
		return nil
	})
	return all, err == nil
}

// verifyAssertion checks an assertion by a client's keys, and that it is for this server, now.
// An empty reason means that it is good. err means that it could not be checked. Without
// keys it is bad, which takes a verification all the same.
func (s *Server) verifyAssertion(ctx context.Context, a *assertion, keys jwk.Set) (reason string, err error) {
	var scratch jws.Scratch
	j, err := scratch.Parse(a.text)
	if err != nil {
		return "malformed client assertion", nil
	}
	key, err := jwk.Key{}, error(jwk.ErrUnknownKey)
	if keys != nil {
		key, err = keys.Lookup(ctx, j.KeyID, string(j.Alg))
	}
	switch unknown := errors.Is(err, jwk.ErrUnknownKey); {
	case err != nil && !unknown:
		return "", fmt.Errorf("oauth: the keys of a client can't be had: %v", err)
	case unknown, key.Algorithm() != string(j.Alg), key.Symmetric():
		_ = s.decoyKey.Verify(j.Signed, s.decoySignature) // so that this takes no less work
		return "no key of the client fits its assertion", nil
	case key.Verify(j.Signed, j.Signature) != nil:
		return "the signature of the client assertion is not valid", nil
	}
	now := time.Now()
	switch {
	case !slices.ContainsFunc(a.audience, func(one string) bool { return slices.Contains(s.assertionAudiences, one) }):
		return "the client assertion is for another audience", nil
	case a.expires.IsZero() || !a.expires.Add(assertionLeeway).After(now):
		return "the client assertion has no expiry, or has expired", nil
	case a.expires.After(now.Add(longestAssertion + assertionLeeway)):
		return "the client assertion lives too long", nil
	case a.notUntil.After(now.Add(assertionLeeway)), a.issued.After(now.Add(assertionLeeway)):
		return "the client assertion is from the future", nil
	case a.id == "" || len(a.id) > maxAssertionID:
		return "the client assertion has no identifier, or too long a one", nil
	}
	return "", nil
}

// useAssertion uses up the assertion of a client that gave one, and so proved itself by
// it only once this has returned nil. It comes after all that a client is told to mend
// and try again with the same one.
func (s *Server) useAssertion(ctx context.Context, q *request) error {
	a := q.assertion
	if a == nil {
		return nil
	}
	first, err := s.replays.Use(ctx, assertionKey(s.issuer, a.client, a.id), a.expires.Add(assertionLeeway))
	switch {
	case err != nil:
		return unavailable(fmt.Errorf("oauth: the memory of client assertions can't tell: %v", err))
	case !first:
		return s.invalidClient("the client assertion has been used before")
	}
	return nil
}

// assertionKey is a hash over length-prefixed parts.
func assertionKey(parts ...string) string {
	var b []byte
	for _, one := range parts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(one))) //nolint:gosec // bounded by the form
		b = append(b, one...)
	}
	sum := sha256.Sum256(b)
	return "client_assertion:" + string(sum[:])
}

// hasKeys reports whether the client proves itself by assertions.
func (c Client) hasKeys() bool { return !isnil.Value(c.Keys) }
