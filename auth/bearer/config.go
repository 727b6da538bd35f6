package bearer

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sallyport/sallyport/auth/dpop"
	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/auth/mtls"
	"github.com/sallyport/sallyport/internal/isnil"
	"github.com/sallyport/sallyport/internal/jws"
	"github.com/sallyport/sallyport/internal/quoted"
)

const (
	defaultLeeway  = 30 * time.Second
	longestLeeway  = 5 * time.Minute
	defaultRealm   = "api"
	typAccessToken = "application/at+jwt"
)

// Config configures an [Authenticator] for the tokens of one issuer. Issuer,
// Audience, and Keys or Introspection are required; the other zero values are the
// secure default.
type Config struct {
	// Issuer is the one "iss" whose tokens are taken, compared exactly.
	Issuer string

	// Audience names this API. A token is taken if one of these is its "aud" or
	// in it, compared exactly.
	Audience []string

	// Keys finds the issuer's keys: jwk.Discover, jwk.Remote, a jwk.Ring, or
	// jwk.Static. Use one set for each issuer. Nil means that the issuer has no
	// JWTs for this API, and each token is asked about by Introspection.
	Keys jwk.Set

	// Introspection asks the issuer about tokens that are not JWTs, or about all
	// if Keys is nil. Nil means that only JWTs are taken.
	Introspection *Introspection

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

	// Cache bounds the memory of tokens that were verified before.
	Cache CacheConfig

	// Revoked is asked about each token whose signature and claims are good, also
	// where they were verified before. [CheckRevocations] makes one of a store. Nil
	// means that tokens are good until they expire.
	Revoked RevocationCheck

	// DPoP verifies the proofs of tokens that are bound to a key of the client
	// (RFC 9449). Nil means that such tokens are refused.
	DPoP *dpop.Verifier

	// RequireDPoP refuses tokens that are not bound to a key. It needs DPoP.
	RequireDPoP bool

	// ClientCertificate returns the certificate that the client proved to have,
	// for tokens that are bound to one (RFC 8705 §3). Nil means that of the TLS
	// connection, mtls.Certificate; behind a proxy that ends TLS, use the method of
	// a mtls.Forwarded.
	ClientCertificate func(*http.Request) (*x509.Certificate, error)

	// Cookie also takes a token from a cookie. The zero value doesn't.
	Cookie CookieConfig

	// Resource describes this API to clients that don't know its issuer (RFC
	// 9728). Challenges point at it. Nil means that they don't.
	Resource *Resource

	// Realm is that of the challenge, printable ASCII. "" means "api".
	Realm string

	// ScopeClaim is the claim that Identity.Scopes is read from: a string of
	// names separated by single spaces or, unless it is "scope", an array of
	// names. "" means "scope" (RFC 9068 §2.2.3). Some issuers have "scp".
	//
	// This and RolesClaim may be a JSON Pointer (RFC 6901) into nested objects:
	// "/realm_access/roles".
	ScopeClaim string

	// RolesClaim is the claim that Identity.Roles is read from: an array of
	// strings, or one string for a single role. "" means "roles" (RFC 9068
	// §2.2.3.1).
	RolesClaim string

	// ClientClaim is the claim that Identity.ClientID is read from. "" means
	// "client_id" (RFC 9068 §2.2). Other issuers have "azp" or "cid".
	ClientClaim string
}

// verifier is a Config that has been checked.
type verifier struct {
	Config
	algorithms map[string]string // each name to itself, to turn bytes into a string without a copy
	types      [][]byte          // in lower case, with "application/"
	untyped    bool              // tokens without typ are taken
	scopes     []string          // the path of the claim
	roles      []string
	opaque     *opaque // nil without Introspection
}

func newVerifier(cfg Config) (*verifier, error) {
	switch {
	case cfg.Issuer == "":
		return nil, errors.New("bearer: Config.Issuer is empty")
	case len(cfg.Audience) == 0:
		return nil, errors.New("bearer: Config.Audience is empty")
	case slices.Contains(cfg.Audience, ""):
		return nil, errors.New("bearer: Config.Audience has an empty name")
	case isnil.Value(cfg.Keys) && (cfg.Keys != nil || cfg.Introspection == nil):
		return nil, errors.New("bearer: Config.Keys is nil")
	case cfg.Leeway < 0 || cfg.Leeway > longestLeeway:
		return nil, fmt.Errorf("bearer: Config.Leeway must be from 0 to %v", longestLeeway)
	case cfg.MaxLifetime < 0:
		return nil, errors.New("bearer: Config.MaxLifetime is negative")
	case !quoted.Valid(cfg.Realm):
		return nil, errors.New("bearer: Config.Realm is not printable ASCII")
	case cfg.RequireDPoP && cfg.DPoP == nil:
		return nil, errors.New("bearer: Config.DPoP is nil, but RequireDPoP is set")
	}
	v := &verifier{Config: cfg}
	v.Audience = slices.Clone(cfg.Audience)
	if v.Leeway == 0 {
		v.Leeway = defaultLeeway
	}
	if v.Realm == "" {
		v.Realm = defaultRealm
	}
	if v.ClientCertificate == nil {
		v.ClientCertificate = mtls.Certificate
	}
	for _, set := range []func() error{v.setAlgorithms, v.setTypes, v.setClaims, v.Cache.check, v.Cookie.check} {
		if err := set(); err != nil {
			return nil, err
		}
	}
	if cfg.Resource != nil {
		if err := cfg.Resource.agrees(&v.Config); err != nil {
			return nil, fmt.Errorf("bearer: Config.Resource %w", err)
		}
	}
	if cfg.Introspection != nil {
		var err error
		if v.opaque, err = newOpaque(v); err != nil {
			return nil, fmt.Errorf("bearer: Config.Introspection: %w", err)
		}
	}
	return v, nil
}

func (v *verifier) setAlgorithms() error {
	known := jwk.Algorithms()
	if v.Algorithms == nil {
		v.Algorithms = known
	}
	if len(v.Algorithms) == 0 {
		return errors.New("bearer: Config.Algorithms is empty: leave it nil for all")
	}
	v.algorithms = make(map[string]string)
	for _, name := range v.Algorithms {
		if !slices.Contains(known, name) {
			return fmt.Errorf("bearer: Config.Algorithms: %q is not supported", name)
		}
		v.algorithms[name] = name
	}
	return nil
}

func (v *verifier) setTypes() error {
	if v.Types == nil {
		v.Types = []string{typAccessToken}
	}
	if len(v.Types) == 0 {
		return errors.New(`bearer: Config.Types is empty: leave it nil for "at+jwt"`)
	}
	for _, t := range v.Types {
		if t == "" {
			v.untyped = true
			continue
		}
		if !quoted.Valid(t) {
			return errors.New("bearer: Config.Types has one that is not printable ASCII")
		}
		v.types = append(v.types, jws.AppendType(nil, []byte(t)))
	}
	return nil
}

// setClaims settles which claims are read. Those with a meaning of their own can't
// have another, and no claim has two.
func (v *verifier) setClaims() error {
	if v.ClientClaim == "" {
		v.ClientClaim = "client_id"
	}
	for _, one := range []struct {
		field string
		name  *string
		path  *[]string
	}{{"ScopeClaim", &v.ScopeClaim, &v.scopes}, {"RolesClaim", &v.RolesClaim, &v.roles}} {
		if *one.name == "" {
			*one.name = map[string]string{"ScopeClaim": "scope", "RolesClaim": "roles"}[one.field]
		}
		path, ok := claimPath(*one.name)
		if !ok {
			return errors.New("bearer: Config." + one.field + " is not a JSON Pointer, which a name with a slash in front must be")
		}
		if isRegistered(path[0]) || strings.EqualFold(path[0], v.ClientClaim) {
			return errors.New("bearer: Config." + one.field + " is a claim with a meaning of its own")
		}
		*one.path = path
	}
	if strings.EqualFold(v.roles[0], v.scopes[0]) {
		return errors.New("bearer: Config.RolesClaim is a claim with a meaning of its own: that of ScopeClaim")
	}
	if v.ClientClaim != "client_id" && isRegistered(v.ClientClaim) {
		return errors.New("bearer: Config.ClientClaim is a claim with a meaning of its own")
	}
	return nil
}

// claimPath returns the names that lead to a claim: one, or those of a JSON
// Pointer (RFC 6901 §3).
func claimPath(name string) ([]string, bool) {
	if !strings.HasPrefix(name, "/") {
		return []string{name}, true
	}
	path := strings.Split(name[1:], "/")
	for i, one := range path {
		if strings.Contains(strings.NewReplacer("~0", "", "~1", "").Replace(one), "~") || one == "" {
			return nil, false
		}
		path[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(one)
	}
	return path, true
}
