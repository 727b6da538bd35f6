package bearer

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/internal/grammar"
	"github.com/sallyport/sallyport/internal/jws"
	"github.com/sallyport/sallyport/internal/strictjson"
)

const maxSubjectBytes = 255

// claims are those of a verified token that are decided about. The byte slices
// alias the payload.
type claims struct {
	issuer, subject, id, client []byte

	audience bool // one of ours is in aud
	expires  time.Time
	notUntil time.Time // nbf
	issued   time.Time
	authTime time.Time

	scopes, roles, amr []string
	acr                string
}

// identity decides about the claims of a token whose signature is good.
func (v *verifier) identity(j *jws.Token, now time.Time) (verified, error) {
	cursor, err := strictjson.Read(j.Payload, jws.ClaimLimits)
	if err != nil || cursor.Kind() != strictjson.Map {
		return verified{}, errClaims
	}
	c := claims{}
	if err := v.readClaims(&c, &cursor); err != nil {
		return verified{}, err
	}
	if err := v.check(&c, jws.IsType(j.Type, []byte(typAccessToken)), now); err != nil {
		return verified{}, err
	}
	id := &auth.Identity{
		Subject:  string(c.subject),
		Issuer:   v.Issuer,
		Scheme:   scheme,
		ClientID: string(c.client),
		Scopes:   c.scopes,
		Roles:    c.roles,
		AuthTime: c.authTime,
		Expires:  c.expires,
		ACR:      c.acr,
		AMR:      c.amr,
		Claims:   auth.NewClaims(j.Payload),
	}
	t := Token{Issuer: id.Issuer, Subject: id.Subject, ClientID: id.ClientID, IssuedAt: c.issued, Expires: c.expires}
	if v.Revoked != nil {
		t.ID = string(c.id)
	}
	return verified{Token: t, identity: id, by: v}, nil
}

// check decides about claims of the right types.
func (v *verifier) check(c *claims, accessToken bool, now time.Time) error {
	switch {
	case string(c.issuer) != v.Issuer:
		return errIssuer
	case !c.audience:
		return errAudience
	case len(c.subject) == 0 || c.expires.IsZero():
		return errMissing
	case accessToken && (len(c.client) == 0 || len(c.id) == 0 || c.issued.IsZero()): // RFC 9068 §2.2
		return errMissing
	case !c.expires.Add(v.Leeway).After(now):
		return errExpired
	case c.notUntil.Add(-v.Leeway).After(now), c.issued.Add(-v.Leeway).After(now):
		return errNotYet
	case v.MaxLifetime > 0 && c.issued.IsZero():
		return errMissing
	case v.MaxLifetime > 0 && c.expires.Sub(c.issued) > v.MaxLifetime:
		return errLifetime
	}
	return nil
}

// readClaims reads the claims and their types (RFC 7519 §4.1, RFC 9068 §2.2).
func (v *verifier) readClaims(c *claims, cursor *strictjson.Cursor) error {
	for more := cursor.Enter(); more; more = cursor.More() {
		name, value := jws.MemberName(cursor.Name()), cursor.Value()
		var ok bool
		switch string(name) {
		case "iss":
			c.issuer, ok = jws.Text(value)
		case "sub":
			c.subject, ok = jws.Text(value)
			ok = ok && len(c.subject) <= maxSubjectBytes
		case "aud":
			ok = v.readAudience(c, value)
		case "exp":
			c.expires, ok = jws.NumericDate(value)
		case "nbf":
			c.notUntil, ok = jws.NumericDate(value)
		case "iat":
			c.issued, ok = jws.NumericDate(value)
		case "auth_time":
			c.authTime, ok = jws.NumericDate(value)
		case "jti":
			c.id, ok = jws.Text(value)
		case "client_id":
			c.client, ok = jws.Text(value)
		case "acr":
			var b []byte
			b, ok = jws.Text(value)
			c.acr = string(b)
		case "amr":
			c.amr, ok = texts(value)
		case "cnf":
			return errBound
		case v.ScopeClaim:
			c.scopes, ok = v.readScopes(value)
		case v.RolesClaim:
			if value.Kind == strictjson.String {
				var b []byte
				b, ok = jws.Text(value)
				c.roles = []string{string(b)}
			} else {
				c.roles, ok = texts(value)
			}
		default:
			// A reader that ignores case takes this for the claim it resembles.
			ok = !isRegistered(name)
		}
		if !ok {
			return errClaimType
		}
	}
	return nil
}

// isRegistered reports whether name is, in any case, a claim that readClaims
// gives a meaning to.
func isRegistered(name []byte) bool {
	for _, one := range []string{
		"iss", "sub", "aud", "exp", "nbf", "iat", "auth_time", "jti", "client_id", "acr", "amr", "cnf",
	} {
		// Folding as Unicode does it, in which "ſub" equals "sub".
		if bytes.EqualFold(name, []byte(one)) {
			return true
		}
	}
	return false
}

// readAudience takes one string or an array of nothing but strings.
func (v *verifier) readAudience(c *claims, value strictjson.Value) bool {
	if value.Kind == strictjson.String {
		b, ok := jws.Text(value)
		c.audience = ok && slices.Contains(v.Audience, string(b))
		return ok
	}
	return eachText(value, func(b []byte) bool {
		c.audience = c.audience || slices.Contains(v.Audience, string(b))
		return true
	})
}

// readScopes reads names of RFC 6749 §3.3 out of a string, in which they are
// separated by one space each, or an array. The empty string has none.
func (v *verifier) readScopes(value strictjson.Value) ([]string, bool) {
	if value.Kind != strictjson.String && v.ScopeClaim != "scope" {
		scopes, ok := texts(value)
		return scopes, ok && !slices.ContainsFunc(scopes, func(s string) bool { return !grammar.IsScopeToken(s) })
	}
	joined, err := value.Text()
	if err != nil {
		return nil, false
	}
	if joined == "" {
		return nil, true
	}
	scopes := make([]string, 0, strings.Count(joined, " ")+1)
	for one := range strings.SplitSeq(joined, " ") {
		if !grammar.IsScopeToken(one) {
			return nil, false
		}
		scopes = append(scopes, one)
	}
	return scopes, true
}

// texts reads an array of strings that are not empty.
func texts(value strictjson.Value) ([]string, bool) {
	var all []string
	ok := eachText(value, func(b []byte) bool {
		all = append(all, string(b))
		return true
	})
	return slices.Clip(all), ok
}

// eachText calls f for each element of an array, and reports false if it is no
// array, an element is no string or empty, or f said so.
func eachText(value strictjson.Value, f func([]byte) bool) bool {
	return value.Elements(func(v strictjson.Value) error {
		if b, ok := jws.Text(v); ok && f(b) {
			return nil
		}
		return errClaimType
	}) == nil
}

// route returns the verifier of the issuer that an unverified payload names. The
// issuer is good for nothing but this choice: it is compared again after the
// signature.
func (a *Authenticator) route(payload []byte) (*verifier, error) {
	cursor, err := strictjson.Read(payload, jws.ClaimLimits)
	if err != nil || cursor.Kind() != strictjson.Map {
		return nil, errClaims
	}
	for more := cursor.Enter(); more; more = cursor.More() {
		name, value := jws.MemberName(cursor.Name()), cursor.Value()
		if string(name) != "iss" {
			continue
		}
		if issuer, ok := jws.Text(value); ok {
			if v := a.byIssuer[string(issuer)]; v != nil {
				return v, nil
			}
		}
		return nil, errIssuer
	}
	return nil, errMissing
}
