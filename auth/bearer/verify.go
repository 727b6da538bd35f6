package bearer

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/internal/jws"
)

// verified is a good token. It is shared by all requests that carry the token, so
// it never changes, and nothing of it that can be changed is handed out.
type verified struct {
	by       *verifier
	identity auth.Identity
	// What a [Token] has and an identity has not.
	id, session string
	issued      time.Time
	lists       [7]string // where the identity's are, if they are not longer

	// What a later request with the same token is decided by.
	token    string // the token itself, where it is kept
	verified time.Time
	good     time.Time // not before this: the later of nbf and iat, less the leeway
	key      jwk.Key
	keyID    string

	// The confirmation methods of "cnf" (RFC 7800): the client must prove each.
	thumbprint  string // of a DPoP key, "jkt" (RFC 9449 §6.1)
	certificate string // of a client certificate, "x5t#S256" (RFC 8705 §3.1)
}

// info returns what a revocation check is asked about.
func (t *verified) info() Token {
	return Token{
		ID: t.id, SessionID: t.session,
		Issuer: t.identity.Issuer, Subject: t.identity.Subject, ClientID: t.identity.ClientID,
		IssuedAt: t.issued, Expires: t.identity.Expires,
	}
}

// handOut returns what a handler may change: a copy, unless nobody else has t.
func (t *verified) handOut() *auth.Identity {
	if t.token == "" {
		return &t.identity
	}
	id := new(auth.Identity)
	*id = t.identity
	if n := len(id.Scopes) + len(id.Roles) + len(id.AMR); n > 0 {
		all := make([]string, 0, n)
		for _, list := range []*[]string{&id.Scopes, &id.Roles, &id.AMR} {
			if *list != nil {
				from := len(all)
				all = append(all, *list...)
				*list = all[from:len(all):len(all)]
			}
		}
	}
	return id
}

// decide finds out about a token, wherever it came from: whether it is good for
// this API, whoever brings it.
func (a *Authenticator) decide(ctx context.Context, token string) (*verified, error) {
	t, err := a.look(ctx, token)
	if err != nil {
		return nil, err
	}
	if t.by.Revoked == nil {
		return t, nil
	}
	switch revoked, err := t.by.Revoked(ctx, t.info()); {
	case err != nil:
		return nil, undecided("the revocation check can't tell", err)
	case revoked:
		a.known.drop(t)
		return nil, errRevoked
	}
	return t, nil
}

// look does all that depends on the token, the keys and the time alone.
func (a *Authenticator) look(ctx context.Context, token string) (*verified, error) {
	if !jws.HasForm(token) {
		if a.opaque != nil {
			return a.opaque.verify(ctx, token)
		}
		return nil, errSyntax
	}
	if !a.signed {
		return a.opaque.verify(ctx, token)
	}
	now := time.Now()
	t, hash := a.known.find(token)
	if t != nil {
		err := t.still(ctx, now)
		if err == nil {
			return t, nil
		}
		if err != errReverify && !errors.Is(err, auth.ErrInvalid) {
			return nil, err
		}
		a.known.drop(t)
		if err != errReverify {
			return nil, err
		}
	}
	t, err := a.verify(ctx, token, now)
	if err != nil {
		return nil, err
	}
	if t.by.Keys != nil { // what was introspected is remembered by who asked
		a.known.add(t, token, hash)
	}
	return t, nil
}

// errReverify says that a token that was good must be looked at again.
var errReverify = errors.New("bearer: verify again")

// still decides about a token that was good when it was verified.
func (t *verified) still(ctx context.Context, now time.Time) error {
	switch age := now.Sub(t.verified); {
	case !t.identity.Expires.Add(t.by.Leeway).After(now):
		return errExpired
	case t.good.After(now):
		return errNotYet
	case age >= t.by.Cache.MaxAge || age < 0:
		return errReverify
	}
	key, err := t.by.Keys.Lookup(ctx, t.keyID, t.key.Algorithm())
	switch {
	case errors.Is(err, jwk.ErrUnknownKey):
		return errKey
	case err != nil:
		return undecided("the key set can't tell", err)
	case key != t.key: // replaced
		return errReverify
	}
	return nil
}

// verify reads and verifies a token that nothing is known of.
func (a *Authenticator) verify(ctx context.Context, token string, now time.Time) (*verified, error) {
	buf, _ := a.scratch.Get().(*jws.Scratch)
	if buf == nil {
		buf = new(jws.Scratch)
	}
	// Nothing that is returned aliases the buffer. It is cleared so that a
	// mistake there would show, and no token stays in memory longer than it must.
	defer func() {
		buf.Clear()
		a.scratch.Put(buf)
	}()

	buf.Known = a.header.Load()
	j, err := buf.Parse(token)
	if err != nil {
		return nil, formError(err)
	}
	v := a.verifiers[0]
	if a.byIssuer != nil {
		if v, err = a.route(j.Payload); err != nil {
			return nil, err
		}
		if v.Keys == nil { // its issuer is asked about JWTs too
			return v.opaque.verify(ctx, token)
		}
	}
	if err := v.checkType(&j); err != nil {
		return nil, err
	}
	key, err := v.checkSignature(ctx, &j)
	if err != nil {
		return nil, err
	}
	if j.Header != nil { // it was not known
		a.header.Store(j.Known(token))
	}
	t, err := v.read(j.Payload, jws.IsType(j.Type, []byte(typAccessToken)), now)
	if err != nil {
		return nil, err
	}
	// The key must be found again as it was found now, if need be by its algorithm.
	t.key, t.keyID = key, j.KeyID
	return t, nil
}

// checkSignature checks the signature with the one key that the token names. The
// key's algorithm decides, and the token's must be the same (RFC 8725 §3.1).
func (v *verifier) checkSignature(ctx context.Context, j *jws.Token) (jwk.Key, error) {
	alg, ok := v.algorithms[string(j.Alg)]
	if !ok {
		return jwk.Key{}, errAlgorithm
	}
	key, err := v.Keys.Lookup(ctx, j.KeyID, alg)
	switch {
	case errors.Is(err, jwk.ErrUnknownKey):
		return jwk.Key{}, errKey
	case err != nil:
		return jwk.Key{}, undecided("the key set can't tell", err)
	case key.Algorithm() != alg:
		return jwk.Key{}, errKey
	case key.Verify(j.Signed, j.Signature) != nil:
		return jwk.Key{}, errSignature
	}
	return key, nil
}

// checkType compares the token's type (RFC 8725 §3.11).
func (v *verifier) checkType(j *jws.Token) error {
	if j.Type == nil && v.untyped {
		return nil
	}
	if j.Type == nil || !slices.ContainsFunc(v.types, func(t []byte) bool { return jws.IsType(j.Type, t) }) {
		return errType
	}
	return nil
}
