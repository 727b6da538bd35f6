// Package bearer authenticates requests by JWT access tokens in the
// Authorization field (RFC 6750, RFC 9068).
//
//	tokens, err := bearer.New(bearer.Config{
//		Issuer:   "https://login.example.com",
//		Audience: []string{"https://api.example.com"},
//		Keys:     keys, // a jwk.Set
//	})
//	mux.Handle("GET /items", auth.Require(tokens)(items))
//
// A token is read in one fixed order. It is bounded and split, its header is
// read strictly, one key with one algorithm is looked up, the signature is
// checked, and only then are the claims looked at. The issuer, one of the
// audiences, the expiry and a subject are always required: there is no option
// that turns a check off. Duplicate members, names that differ only in case,
// line breaks and other spellings of one token, critical extensions, encrypted
// and nested tokens, and keys carried or pointed at by the token are refused or
// ignored, as RFC 8725 asks.
//
// Tokens come from the Authorization field, never from a query or a body, and from
// a cookie only where [Config.Cookie] names it.
//
// # Which tokens
//
// By default only access tokens of RFC 9068 are taken, which say so with the
// "typ" at+jwt. An issuer that types its access tokens "JWT", or not at all,
// needs [Config.Types]. Then the audience is all that tells its access tokens
// from its ID tokens: give the API an audience that is no client's id.
//
// Issuers differ in where they put scopes, roles and the client's id:
// [Config.ScopeClaim], [Config.RolesClaim] and [Config.ClientClaim] say where.
//
// Tokens that are not JWTs ("opaque") can be asked about with
// [Config.Introspection] (RFC 7662). [Join] makes one door of several issuers.
//
// # Bound tokens
//
// A token that is bound to a key (DPoP, RFC 9449) or to a client certificate (RFC
// 8705) is good only with the proof of possession: [Config.DPoP], and
// [Config.ClientCertificate]. Where the proof can't be checked the token is
// refused, since to accept it all the same would undo the binding.
//
// # Revocation
//
// [Config.Revoked] is asked for each request. A long response can be ended when its
// token is: see [Streams].
//
// # What a token costs
//
// A token is verified once, and then found again by comparing it as a whole:
// [CacheConfig].
package bearer

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/internal/grammar"
	"github.com/sallyport/sallyport/internal/jws"
)

const (
	scheme     = "Bearer"
	schemeDPoP = "DPoP"
)

// An Authenticator accepts bearer tokens of one issuer, or of several after
// [Join]. It is safe for concurrent use.
type Authenticator struct {
	challenges challenges
	verifiers  []*verifier
	byIssuer   map[string]*verifier // nil for one issuer
	signed     bool                 // there are issuers of JWTs
	opaque     *opaque              // asked about tokens that are not JWTs; nil: they are refused
	cookie     *cookie              // nil: tokens come from the Authorization field alone
	known      *cache
	scratch    sync.Pool // of *jws.Scratch
	header     atomic.Pointer[jws.KnownHeader]
}

// New returns an Authenticator. An empty Issuer, Audience or audience, neither Keys
// nor Introspection, an unknown or no algorithm, a Leeway, MaxLifetime or bound of
// the Cache out of range, a type or Realm that is not printable ASCII, a claim with
// two meanings, RequireDPoP without DPoP, a Cookie without the prefix "__Host-",
// and an Introspection that can't work are errors that name the field.
func New(cfg Config) (*Authenticator, error) {
	v, err := newVerifier(cfg)
	if err != nil {
		return nil, err
	}
	return newAuthenticator([]*verifier{v})
}

// Join returns an Authenticator for the tokens of several issuers, each with its
// own keys and settings. A token is given to the one whose Issuer its "iss"
// names, by exact comparison, and no other: it is that one's keys that must
// verify it. Tokens that are not JWTs go to the one issuer that has Introspection.
//
// Realm and Resource are those of the first. No authenticators, a nil one, two of
// one issuer, two with Introspection, and two different Cookies or DPoP verifiers
// are errors.
func Join(a ...*Authenticator) (*Authenticator, error) {
	if len(a) == 0 {
		return nil, errors.New("bearer: Join: there is no Authenticator")
	}
	var all []*verifier
	for i, one := range a {
		if one == nil {
			return nil, fmt.Errorf("bearer: Join: Authenticator %d is nil", i)
		}
		all = append(all, one.verifiers...)
	}
	joined, err := newAuthenticator(all)
	if err != nil {
		return nil, fmt.Errorf("bearer: Join: %w", err)
	}
	return joined, nil
}

func newAuthenticator(verifiers []*verifier) (*Authenticator, error) {
	a := &Authenticator{verifiers: verifiers}
	if len(verifiers) > 1 {
		a.byIssuer = make(map[string]*verifier)
	}
	first := verifiers[0]
	c := settings{realm: first.Realm, resource: first.Resource, dpop: first.DPoP, bearer: !first.RequireDPoP}
	entries, bytes := 0, int64(0)
	for _, v := range verifiers {
		if a.byIssuer != nil {
			if _, ok := a.byIssuer[v.Issuer]; ok {
				return nil, fmt.Errorf("two have the Issuer %q", v.Issuer)
			}
			a.byIssuer[v.Issuer] = v
		}
		a.signed = a.signed || v.Keys != nil
		switch {
		case v.opaque != nil && a.opaque != nil:
			return nil, errors.New("two have Introspection, and a token that is no JWT does not say whose it is")
		case v.opaque != nil:
			a.opaque = v.opaque
		}
		if !v.Cookie.same(first.Cookie) {
			return nil, errors.New("two have different Cookies")
		}
		switch {
		case v.DPoP != nil && c.dpop != nil && v.DPoP != c.dpop:
			return nil, errors.New("two have different DPoP verifiers: share one, which knows all the proofs")
		case v.DPoP != nil:
			c.dpop = v.DPoP
		}
		c.bearer = c.bearer || !v.RequireDPoP
		if !v.Cache.Disabled && v.Keys != nil {
			entries, bytes = entries+v.Cache.MaxEntries, bytes+v.Cache.MaxBytes
		}
	}
	a.cookie = first.Cookie.reader()
	a.challenges = newChallenges(c)
	a.known = newCache(entries, bytes)
	return a, nil
}

// Authenticate returns the identity that r's token stands for. Without a token
// it returns [auth.ErrNoCredentials]. A request that is malformed (RFC 6750 §3.1: a
// field that holds no token, two fields, a second token in the query or in the
// cookie) is a *errors.Problem of status 400; a token or proof that is refused is one
// of status 401 that wraps [auth.ErrInvalid], and a cookie that came with a
// cross-origin request is one of status 401 too; any other error means that the
// keys, the issuer, the revocation check or the memory of proofs could not tell.
//
// The error of a refused token says what is wrong with it, for the audit event,
// and nothing of what is in it.
func (a *Authenticator) Authenticate(r *http.Request) (*auth.Identity, error) {
	token, dpop, err := a.credentials(r)
	if err != nil {
		return nil, err
	}
	if r.URL != nil && queryHasToken(r.URL.RawQuery) {
		return nil, malformed("The request has a second token in the query.")
	}
	t, err := a.decide(r.Context(), token)
	if err == errSyntax && !grammar.IsToken68(token) {
		return nil, malformed("The Bearer credentials are not a token.")
	}
	if errors.Is(err, auth.ErrInvalid) {
		return nil, refused(err)
	}
	if err != nil {
		return nil, err
	}
	if err := t.prove(r, token, dpop); err != nil {
		return nil, err
	}
	id := t.handOut()
	if dpop {
		id.Scheme = schemeDPoP
	}
	return id, nil
}

// credentials returns the one token of a request, and whether it came by the
// scheme DPoP.
func (a *Authenticator) credentials(r *http.Request) (token string, dpop bool, err error) {
	token, err = auth.Credentials(r, scheme)
	if err != nil && a.challenges.dpop != nil && errors.Is(err, auth.ErrNoCredentials) {
		token, err = auth.Credentials(r, schemeDPoP)
		dpop = err == nil
	}
	if a.cookie != nil {
		token, err = a.cookie.orHeader(r, token, err)
	}
	return token, dpop, err
}

// Scheme describes the scheme for OpenAPI.
func (a *Authenticator) Scheme() auth.SecurityScheme {
	s := auth.SecurityScheme{Type: "http", Scheme: "bearer", BearerFormat: "JWT"}
	if !a.signed {
		s.BearerFormat = ""
	}
	return s
}

// queryHasToken reports whether a raw query has the parameter access_token, in
// whatever spelling: two tokens in one request are two callers (RFC 6750 §2).
func queryHasToken(query string) bool {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		for one := range strings.SplitSeq(pair, ";") { // which some readers take for a separator
			name, _, _ := strings.Cut(one, "=")
			if strings.Contains(name, "%") {
				if plain, err := url.QueryUnescape(name); err == nil {
					name = plain
				}
			}
			if name == "access_token" {
				return true
			}
		}
	}
	return false
}
