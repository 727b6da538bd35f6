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
// Tokens come from the Authorization field alone, never from a query or a body.
//
// # Which tokens
//
// By default only access tokens of RFC 9068 are taken, which say so with the
// "typ" at+jwt. An issuer that types its access tokens "JWT", or not at all,
// needs [Config.Types]. Then the audience is all that tells its access tokens
// from its ID tokens: give the API an audience that is no client's id.
//
// A token that is bound to a key or a certificate ("cnf") is refused: accepting
// it without proof of possession would undo the binding.
package bearer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/jwk"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/isnil"
	"github.com/sallyport/sallyport/internal/jws"
	"github.com/sallyport/sallyport/internal/quoted"
)

const (
	scheme         = "Bearer"
	defaultLeeway  = 30 * time.Second
	longestLeeway  = 5 * time.Minute
	defaultRealm   = "api"
	typAccessToken = "application/at+jwt"
)

// Config configures an [Authenticator] for the tokens of one issuer. Issuer,
// Audience and Keys are required; the other zero values are the secure default.
type Config struct {
	// Issuer is the one "iss" whose tokens are taken, compared exactly.
	Issuer string

	// Audience names this API. A token is taken if one of these is its "aud" or
	// in it, compared exactly.
	Audience []string

	// Keys finds the issuer's keys. Use one set for each issuer.
	Keys jwk.Set

	// Algorithms narrows what a token's "alg" may be. Nil means all of
	// jwk.Algorithms. Either way the key decides: each has one algorithm, and a
	// token that names another is refused.
	Algorithms []string

	// Leeway is how far the clocks of the issuer and this machine may differ,
	// for "exp", "nbf" and "iat". 0 means 30 seconds; at most 5 minutes.
	Leeway time.Duration

	// Types are the accepted values of the header's "typ", compared without regard
	// to case and with "application/" supplied where there is no slash (RFC 7515
	// §4.1.9). Nil means "at+jwt", for which the claims "client_id", "iat" and
	// "jti" are required too (RFC 9068 §2.2). "JWT", and "" for tokens without
	// "typ", accept every kind of token that the issuer signs for the audience.
	Types []string

	// MaxLifetime bounds the time from a token's "iat", which is then required,
	// to its "exp". 0 means no bound.
	MaxLifetime time.Duration

	// Revoked is asked about each token whose signature and claims are good. Nil
	// means that tokens are good until they expire.
	Revoked RevocationCheck

	// Realm is that of the challenge, printable ASCII. "" means "api".
	Realm string

	// ScopeClaim is the claim that Identity.Scopes is read from: a string of
	// names separated by single spaces or, unless it is "scope", an array of
	// names. "" means "scope" (RFC 9068 §2.2.3).
	ScopeClaim string

	// RolesClaim is the claim that Identity.Roles is read from: an array of
	// strings, or one string for a single role. "" means "roles" (RFC 9068
	// §2.2.3.1).
	RolesClaim string
}

// A RevocationCheck reports whether a token that is otherwise good has been
// revoked: by its ID, or with all that were issued to its subject before some
// time. It is called for every request, so it should be fast. An error means
// that it could not tell, and makes the answer 503. It must be safe for
// concurrent use.
type RevocationCheck func(ctx context.Context, t Token) (revoked bool, err error)

// A Token is what a [RevocationCheck] is told of a verified token.
type Token struct {
	ID       string // "jti", unique within Issuer; "" if the token has none
	Issuer   string
	Subject  string
	ClientID string    // "" if the token has none
	IssuedAt time.Time // zero if the token doesn't say
	Expires  time.Time // until when a revocation has to be remembered, not counting Config.Leeway
}

// An Authenticator accepts bearer tokens of one issuer, or of several after
// [Join]. It is safe for concurrent use.
type Authenticator struct {
	challenges challenges
	verifiers  []*verifier
	byIssuer   map[string]*verifier // nil for one issuer
	scratch    sync.Pool            // of *jws.Scratch
	header     atomic.Pointer[jws.KnownHeader]
}

// verifier is a Config that has been checked.
type verifier struct {
	Config
	algorithms map[string]string // each name to itself, to turn bytes into a string without a copy
	types      [][]byte          // in lower case, with "application/"
	untyped    bool              // tokens without typ are taken
}

// New returns an Authenticator. An empty Issuer, Audience or audience, nil Keys,
// an unknown or no algorithm, a Leeway or MaxLifetime out of range, a type or
// Realm that is not printable ASCII, and a ScopeClaim or RolesClaim that is one
// of the claims with a meaning of its own are errors that name the field.
func New(cfg Config) (*Authenticator, error) {
	v, err := newVerifier(cfg)
	if err != nil {
		return nil, err
	}
	return &Authenticator{challenges: newChallenges(v.Realm), verifiers: []*verifier{v}}, nil
}

// Join returns an Authenticator for the tokens of several issuers, each with its
// own keys and settings. A token is given to the one whose Issuer its "iss"
// names, by exact comparison, and no other: it is that one's keys that must
// verify it. The realm is that of the first. No authenticators, a nil one, and
// two of one issuer are errors.
func Join(a ...*Authenticator) (*Authenticator, error) {
	if len(a) == 0 {
		return nil, errors.New("bearer: Join: there is no Authenticator")
	}
	joined := &Authenticator{byIssuer: make(map[string]*verifier)}
	for i, one := range a {
		if one == nil {
			return nil, fmt.Errorf("bearer: Join: Authenticator %d is nil", i)
		}
		if i == 0 {
			joined.challenges = one.challenges
		}
		for _, v := range one.verifiers {
			if _, ok := joined.byIssuer[v.Issuer]; ok {
				return nil, fmt.Errorf("bearer: Join: two have the Issuer %q", v.Issuer)
			}
			joined.byIssuer[v.Issuer] = v
			joined.verifiers = append(joined.verifiers, v)
		}
	}
	return joined, nil
}

func newVerifier(cfg Config) (*verifier, error) {
	switch {
	case cfg.Issuer == "":
		return nil, errors.New("bearer: Config.Issuer is empty")
	case len(cfg.Audience) == 0:
		return nil, errors.New("bearer: Config.Audience is empty")
	case slices.Contains(cfg.Audience, ""):
		return nil, errors.New("bearer: Config.Audience has an empty name")
	case isnil.Value(cfg.Keys):
		return nil, errors.New("bearer: Config.Keys is nil")
	case cfg.Algorithms != nil && len(cfg.Algorithms) == 0:
		return nil, errors.New("bearer: Config.Algorithms is empty: leave it nil for all")
	case cfg.Leeway < 0 || cfg.Leeway > longestLeeway:
		return nil, fmt.Errorf("bearer: Config.Leeway must be from 0 to %v", longestLeeway)
	case cfg.MaxLifetime < 0:
		return nil, errors.New("bearer: Config.MaxLifetime is negative")
	case !quoted.Valid(cfg.Realm):
		return nil, errors.New("bearer: Config.Realm is not printable ASCII")
	case cfg.Types != nil && len(cfg.Types) == 0:
		return nil, errors.New(`bearer: Config.Types is empty: leave it nil for "at+jwt"`)
	}
	v := &verifier{Config: cfg, algorithms: make(map[string]string)}
	v.Audience = slices.Clone(cfg.Audience)
	known := jwk.Algorithms()
	if v.Algorithms == nil {
		v.Algorithms = known
	}
	for _, name := range v.Algorithms {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("bearer: Config.Algorithms: %q is not supported", name)
		}
		v.algorithms[name] = name
	}
	if v.Types == nil {
		v.Types = []string{typAccessToken}
	}
	for _, t := range v.Types {
		if t == "" {
			v.untyped = true
			continue
		}
		if !quoted.Valid(t) {
			return nil, errors.New("bearer: Config.Types has one that is not printable ASCII")
		}
		v.types = append(v.types, jws.AppendType(nil, []byte(t)))
	}
	if v.Leeway == 0 {
		v.Leeway = defaultLeeway
	}
	if v.Realm == "" {
		v.Realm = defaultRealm
	}
	if v.ScopeClaim == "" {
		v.ScopeClaim = "scope"
	}
	if v.RolesClaim == "" {
		v.RolesClaim = "roles"
	}
	if isRegistered([]byte(v.ScopeClaim)) {
		return nil, errors.New("bearer: Config.ScopeClaim is a claim with a meaning of its own")
	}
	if isRegistered([]byte(v.RolesClaim)) || strings.EqualFold(v.RolesClaim, v.ScopeClaim) {
		return nil, errors.New("bearer: Config.RolesClaim is a claim with a meaning of its own")
	}
	return v, nil
}

// Authenticate returns the identity that r's token stands for. Without a token
// in the Authorization field it returns [auth.ErrNoCredentials]. A request that
// is malformed (RFC 6750 §3.1: a field that holds no token, two fields, a second
// token in the query) is a *errors.Problem of status 400; a token that is refused
// is one of status 401 that wraps [auth.ErrInvalid]; any other error means that the keys or the revocation
// check could not tell.
//
// The error of a refused token says what is wrong with it, for the audit event,
// and nothing of what is in it.
func (a *Authenticator) Authenticate(r *http.Request) (*auth.Identity, error) {
	token, err := auth.Credentials(r, scheme)
	if err != nil {
		return nil, err
	}
	if r.URL != nil && queryHasToken(r.URL.RawQuery) {
		return nil, malformed("The request has a second token in the query.")
	}
	id, err := a.authenticate(r.Context(), token)
	if err == errSyntax && !isToken68(token) {
		return nil, malformed("The Bearer credentials are not a token.")
	}
	if errors.Is(err, auth.ErrInvalid) {
		return nil, refused(err)
	}
	return id, err
}

// authenticate decides about a token, wherever it came from.
func (a *Authenticator) authenticate(ctx context.Context, token string) (*auth.Identity, error) {
	t, err := a.verify(ctx, token)
	if err != nil {
		return nil, err
	}
	if t.by.Revoked != nil {
		revoked, err := t.by.Revoked(ctx, t.Token)
		if err != nil {
			return nil, undecided("the revocation check can't tell", err)
		}
		if revoked {
			return nil, errRevoked
		}
	}
	return t.identity, nil
}

// verified is a good token.
type verified struct {
	Token
	identity *auth.Identity
	by       *verifier
}

// verify does all that depends on the token, the keys and the time alone.
func (a *Authenticator) verify(ctx context.Context, token string) (verified, error) {
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
		return verified{}, formError(err)
	}
	v := a.verifiers[0]
	if a.byIssuer != nil {
		if v, err = a.route(j.Payload); err != nil {
			return verified{}, err
		}
	}
	if err := v.checkType(&j); err != nil {
		return verified{}, err
	}
	if err := verify(ctx, &j, v.Keys, v.algorithms); err != nil {
		return verified{}, err
	}
	if j.Header != nil { // it was not known
		a.header.Store(j.Known(token))
	}
	return v.identity(&j, time.Now())
}

// Scheme describes the scheme for OpenAPI.
func (a *Authenticator) Scheme() auth.SecurityScheme {
	return auth.SecurityScheme{Type: "http", Scheme: "bearer", BearerFormat: "JWT"}
}

// isToken68 reports whether s has the syntax of RFC 6750 §2.1.
func isToken68(s string) bool {
	s = strings.TrimRight(s, "=")
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '-', c == '.', c == '_', c == '~', c == '+', c == '/':
		default:
			return false
		}
	}
	return s != ""
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

// malformed is the answer to a request that is not one of RFC 6750.
func malformed(detail string) error {
	return httperr.New(http.StatusBadRequest, "invalid_request", detail)
}

// The reasons for which a token is refused. They go to the log; the client is
// told invalid_token, whichever it is.
var (
	errSyntax    = invalid("not a JWS in its compact form")
	errHeader    = invalid("the header is not acceptable")
	errExtension = invalid("the header has an extension that is not supported")
	errType      = invalid("the token is of another type")
	errAlgorithm = invalid("the algorithm is not allowed")
	errKey       = invalid("no key fits the token")
	errSignature = invalid("the signature is not valid")
	errClaims    = invalid("the claims are not a JSON object as it should be")
	errClaimType = invalid("a claim has the wrong type or an impossible value")
	errMissing   = invalid("a required claim is missing")
	errIssuer    = invalid("the token is from another issuer")
	errAudience  = invalid("the token is for another audience")
	errExpired   = invalid("the token has expired")
	errNotYet    = invalid("the token is not valid yet")
	errLifetime  = invalid("the token lives longer than allowed")
	errBound     = invalid("the token is bound to a key or certificate, without proof of possession")
	errRevoked   = invalid("the token has been revoked")
)

// refused is the answer to a token that is not good, whyever.
func refused(reason error) error {
	return httperr.New(http.StatusUnauthorized, "invalid_token", "The access token is expired, revoked, malformed or not meant for this service.").WithCause(reason)
}

func invalid(reason string) error { return fmt.Errorf("%w: %s", auth.ErrInvalid, reason) }

// undecided does not wrap err: what a callback's error wraps must not turn "can't
// tell" into "no credentials" or "invalid".
func undecided(what string, err error) error { return fmt.Errorf("bearer: %s: %v", what, err) }
