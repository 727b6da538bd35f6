package bearer

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/internal/grammar"
	"github.com/sallyport/sallyport/internal/jws"
	"github.com/sallyport/sallyport/internal/strictjson"
)

const maxSubjectBytes = 255

// A reader reads claims. The strings that it returns are parts of the document, so
// that a token costs one copy of its claims.
type reader struct {
	v        *verifier
	payload  []byte
	document string    // the payload
	out      *verified // what is read into, once there are claims
	lists    []string  // backs the lists of strings; begins in out

	issuer, subject, id, session, client string

	audience bool // one of ours is in aud
	hasAud   bool
	expires  time.Time
	notUntil time.Time // nbf
	issued   time.Time
	authTime time.Time

	scopes, roles, amr      span
	acr                     string
	thumbprint, certificate string
}

// A span is a part of reader.lists.
type span struct{ from, to int }

// read decides about the claims of a token whose signature is good. accessToken
// says that it is typed as one (RFC 9068 §2.1).
func (v *verifier) read(payload []byte, accessToken bool, now time.Time) (*verified, error) {
	r := reader{v: v}
	if err := r.read(payload); err != nil {
		return nil, err
	}
	if r.issuer == "" {
		return nil, errIssuer
	}
	if !r.hasAud {
		return nil, errAudience
	}
	if err := r.check(now); err != nil {
		return nil, err
	}
	switch {
	case r.expires.IsZero():
		return nil, errMissing
	case accessToken && (r.client == "" || r.id == "" || r.issued.IsZero()): // RFC 9068 §2.2
		return nil, errMissing
	}
	return r.verified(now), nil
}

// check decides about claims of the right types, as far as they are there.
func (r *reader) check(now time.Time) error {
	v := r.v
	switch {
	case r.issuer != "" && r.issuer != v.Issuer:
		return errIssuer
	case r.hasAud && !r.audience:
		return errAudience
	case r.subject == "":
		return errMissing
	case !r.expires.IsZero() && !r.expires.Add(v.Leeway).After(now):
		return errExpired
	case r.notUntil.Add(-v.Leeway).After(now), r.issued.Add(-v.Leeway).After(now):
		return errNotYet
	case v.MaxLifetime > 0 && (r.issued.IsZero() || r.expires.IsZero()):
		return errMissing
	case v.MaxLifetime > 0 && r.expires.Sub(r.issued) > v.MaxLifetime:
		return errLifetime
	}
	return nil
}

// verified returns what was read.
func (r *reader) verified(now time.Time) *verified {
	v, t := r.v, r.out
	t.by, t.verified = v, now
	t.id, t.session, t.issued = r.id, r.session, r.issued
	t.thumbprint, t.certificate = r.thumbprint, r.certificate
	t.good = r.notUntil.Add(-v.Leeway)
	i := &t.identity
	i.Subject, i.Issuer, i.Scheme, i.ClientID = r.subject, v.Issuer, scheme, r.client
	i.AuthTime, i.Expires, i.ACR = r.authTime, r.expires, r.acr
	i.Claims = auth.NewClaims(r.document)
	if issued := r.issued.Add(-v.Leeway); issued.After(t.good) {
		t.good = issued
	}
	i.Scopes, i.Roles, i.AMR = r.scopes.of(r.lists), r.roles.of(r.lists), r.amr.of(r.lists)
	return t
}

func (s span) of(lists []string) []string {
	if s.from == s.to {
		return nil
	}
	return lists[s.from:s.to:s.to]
}

// read reads the claims and their types (RFC 7519 §4.1, RFC 9068 §2.2).
func (r *reader) read(payload []byte) error {
	var members strictjson.Members
	if err := members.Read(payload, jws.ClaimLimits); err != nil {
		return errClaims
	}
	r.out = new(verified)
	r.payload, r.document, r.lists = payload, string(payload), r.out.lists[:0]
	for i := range members.Len() {
		if err := r.claim(members.Name(i), members.Place(i)); err != nil {
			return err
		}
	}
	return nil
}

// claim reads the claim of this name.
func (r *reader) claim(name []byte, v strictjson.Place) error {
	var ok bool
	switch string(name) {
	case "iss":
		r.issuer, ok = r.text(v)
	case "sub":
		r.subject, ok = r.text(v)
		ok = ok && len(r.subject) <= maxSubjectBytes
	case "aud":
		ok = r.readAudience(v)
	case "exp":
		r.expires, ok = jws.NumericDate(v.In(r.payload))
	case "nbf":
		r.notUntil, ok = jws.NumericDate(v.In(r.payload))
	case "iat":
		r.issued, ok = jws.NumericDate(v.In(r.payload))
	case "auth_time":
		r.authTime, ok = jws.NumericDate(v.In(r.payload))
	case "jti":
		r.id, ok = r.text(v)
	case "sid":
		r.session, ok = r.text(v)
	case r.v.ClientClaim:
		r.client, ok = r.text(v)
	case "client_id": // where ClientClaim is another
		_, ok = r.text(v)
	case "acr":
		r.acr, ok = r.text(v)
	case "amr":
		ok = r.readTexts(v, &r.amr)
	case "cnf":
		return r.readConfirmation(v)
	case r.v.scopes[0]:
		ok = r.at(v, r.v.scopes[1:], false)
	case r.v.roles[0]:
		ok = r.at(v, r.v.roles[1:], true)
	default:
		// A reader that ignores case takes this for the claim it resembles.
		ok = !isRegistered(string(name))
	}
	if !ok {
		return errClaimType
	}
	return nil
}

var registered = [...]string{
	"iss", "sub", "aud", "exp", "nbf", "iat", "auth_time", "jti", "sid", "client_id", "acr", "amr", "cnf",
}

// isRegistered reports whether name is, in any case, a claim that has a meaning
// of its own.
func isRegistered(name string) bool {
	ascii := true
	for i := range len(name) {
		ascii = ascii && name[i] < utf8.RuneSelf
	}
	for _, one := range registered {
		// Only a letter beyond ASCII that folds to one of ASCII makes a name longer:
		// "ſub" equals "sub".
		if (len(name) == len(one) || !ascii) && strings.EqualFold(name, one) {
			return true
		}
	}
	return false
}

// text reads a string that is not empty.
func (r *reader) text(v strictjson.Place) (string, bool) {
	if v.Kind != strictjson.String || v.To-v.From <= 2 {
		return "", false
	}
	if v.Plain {
		return r.document[v.From+1 : v.To-1], true
	}
	s, err := v.In(r.payload).Text()
	return s, err == nil
}

// texts reads an array of strings that are not empty and calls f for each. It
// reports false if v is no array, an element is no string or empty, or f said so.
func (r *reader) texts(v strictjson.Place, f func(string) bool) bool {
	if v.Kind != strictjson.Array {
		return false
	}
	c := v.Cursor(r.payload)
	for more := c.Enter(); more; more = c.More() {
		if s, ok := r.text(c.Place()); !ok || !f(s) {
			return false
		}
	}
	return true
}

// at goes down the members of these names, which need not be there, and reads the
// scopes or the roles at the last of them.
func (r *reader) at(v strictjson.Place, path []string, roles bool) bool {
	switch {
	case len(path) == 0 && roles:
		return r.readRoles(v)
	case len(path) == 0:
		return r.readScopes(v)
	case v.Kind != strictjson.Map:
		return false
	}
	c := v.Cursor(r.payload)
	for more := c.Enter(); more; more = c.More() {
		name, v := jws.MemberName(c.Name()), c.Place()
		if string(name) == path[0] && !r.at(v, path[1:], roles) {
			return false
		}
	}
	return true
}

// readAudience takes one string or an array of nothing but strings.
func (r *reader) readAudience(v strictjson.Place) bool {
	r.hasAud = true
	ours := func(s string) bool {
		r.audience = r.audience || slices.Contains(r.v.Audience, s)
		return true
	}
	if v.Kind == strictjson.String {
		s, ok := r.text(v)
		return ok && ours(s)
	}
	return r.texts(v, ours)
}

// readTexts reads an array of strings that are not empty.
func (r *reader) readTexts(v strictjson.Place, to *span) bool {
	to.from = len(r.lists)
	ok := r.texts(v, func(s string) bool {
		r.lists = append(r.lists, s)
		return true
	})
	to.to = len(r.lists)
	return ok
}

// readRoles reads an array of names, or one.
func (r *reader) readRoles(v strictjson.Place) bool {
	if v.Kind != strictjson.String {
		return r.readTexts(v, &r.roles)
	}
	s, ok := r.text(v)
	r.roles.from = len(r.lists)
	r.lists = append(r.lists, s)
	r.roles.to = len(r.lists)
	return ok
}

// readScopes reads names of RFC 6749 §3.3 out of a string, in which they are
// separated by one space each, or an array. The empty string has none.
func (r *reader) readScopes(v strictjson.Place) bool {
	if v.Kind == strictjson.Array && r.v.ScopeClaim != "scope" {
		ok := r.readTexts(v, &r.scopes)
		return ok && !slices.ContainsFunc(r.scopes.of(r.lists), func(s string) bool { return !grammar.IsScopeToken(s) })
	}
	if v.Kind != strictjson.String {
		return false
	}
	joined, ok := r.text(v)
	if !ok { // a string that text does not take is the empty one
		return true
	}
	r.scopes.from = len(r.lists)
	for one := range strings.SplitSeq(joined, " ") {
		if !grammar.IsScopeToken(one) {
			return false
		}
		r.lists = append(r.lists, one)
	}
	r.scopes.to = len(r.lists)
	return true
}

// readConfirmation reads "cnf" (RFC 7800 §3.1). A confirmation method that is not
// known, or none, can't be checked, so such a token is refused.
func (r *reader) readConfirmation(v strictjson.Place) error {
	if v.Kind != strictjson.Map {
		return errBound
	}
	c := v.Cursor(r.payload)
	for more := c.Enter(); more; more = c.More() {
		var ok bool
		switch name, v := jws.MemberName(c.Name()), c.Place(); string(name) {
		case "jkt":
			r.thumbprint, ok = r.text(v)
		case "x5t#S256":
			r.certificate, ok = r.text(v)
		}
		if !ok {
			return errBound
		}
	}
	if r.thumbprint == "" && r.certificate == "" {
		return errBound
	}
	return nil
}

// route returns the verifier of the issuer that an unverified payload names. The
// issuer is good for nothing but this choice: it is compared again after the
// signature.
func (a *Authenticator) route(payload []byte) (*verifier, error) {
	var members strictjson.Members
	if err := members.Read(payload, jws.ClaimLimits); err != nil {
		return nil, errClaims
	}
	for i := range members.Len() {
		if string(members.Name(i)) != "iss" {
			continue
		}
		if issuer, ok := jws.Text(members.Value(i)); ok {
			if v := a.byIssuer[string(issuer)]; v != nil {
				return v, nil
			}
		}
		return nil, errIssuer
	}
	return nil, errMissing
}
