// Package dpop checks that who brings a token has the key that it is bound to:
// DPoP proofs, "demonstrating proof of possession" (RFC 9449).
//
//	proofs, err := dpop.New(dpop.Config{Origins: []string{"https://api.example.com"}})
//	tokens, err := bearer.New(bearer.Config{Issuer: …, Audience: …, Keys: …, DPoP: proofs})
//
// A client signs a proof for each request, and sends it in the field DPoP. A proof
// is good for one method and one URI, for about a minute, with one token, and once.
// A token that was stolen from a log, or from the memory of another service, is
// worth nothing without the client's key.
//
// Share one [Verifier] between all that take proofs of one service, the token
// endpoint included: it is the memory of what was used, and the maker of nonces.
// Where several machines serve, give them one auth.Replays to share, and one
// NonceKey.
//
// The URI that a proof must name is made of [Config.Origins] and the request's path.
// Host and X-Forwarded-Host say nothing here: a service that was sent a proof by
// mistake could otherwise use it elsewhere.
package dpop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/internal/fetch"
	"github.com/sallyport/sallyport/internal/isnil"
)

const (
	field = "Dpop"

	defaultWindow = time.Minute
	longestWindow = 5 * time.Minute
	// remembered is how much longer than it could be used a proof is remembered, so
	// that a clock that is set back, or that of another machine, does not let it in
	// again.
	remembered = 10 * time.Second

	// maxProofBytes bounds a proof. One by an 8192-bit RSA key has some 3 KiB.
	maxProofBytes = 6 << 10
	maxIDBytes    = 256 // of "jti"
	maxURIBytes   = 2 << 10
)

// Config configures a [Verifier]. Origins is required; the other zero values are
// the secure default.
type Config struct {
	// Origins are what "htu" may begin with: scheme and authority as clients see
	// them, "https://api.example.com". A path, "https://example.com/api", is for a
	// proxy that takes it off before the request gets here. Plain http is taken
	// for loopback hosts only. No origin may be the beginning of another: a proof
	// would be for two resources.
	Origins []string
	// AllowInsecureHTTP takes Origins of plain http whatever their host.
	AllowInsecureHTTP bool

	// Algorithms are those that a proof may be signed with. Nil means all of
	// jwk.Algorithms but those of shared secrets, which are never taken.
	Algorithms []string

	// Window is how far a proof's "iat" may be from now, either way, so that clocks
	// may differ. 0 means a minute; at most 5 minutes.
	Window time.Duration

	// Replays remembers which proofs were used: each for as long as its iat is within
	// Window, and 10 seconds. Where it is full no proof is taken, so it must hold
	// as many as come in that time; limit the rate of requests in front. Nil means an
	// auth.NewMemoryReplays of 100,000, for one process, which is some 1,400 a
	// second.
	Replays auth.Replays

	// RequireNonce refuses a proof that does not carry a nonce of this service, so
	// that none can be made in advance (RFC 9449 §8, §9). A client learns the nonce
	// by being refused once.
	RequireNonce bool
	// NonceKey is what nonces are made with: 32 random bytes or more. All machines of
	// a service need the same, and the same NonceLifetime. Nil means a key of this
	// process alone.
	NonceKey []byte
	// NonceLifetime is how long a nonce is good, half of it at the least. 0 means 10
	// minutes; from 10 seconds to 24 hours.
	NonceLifetime time.Duration
}

// Format writes a name alone, whatever the verb, so that NonceKey gets into no log.
func (c Config) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "dpop.Config") }

// ErrNoProof is wrapped by what Verify returns for a request without a proof. It
// wraps auth.ErrInvalid.
var ErrNoProof = invalid("there is no DPoP proof")

// ErrNonce is wrapped by what Verify returns for a proof without a current nonce,
// where one is required: the client is to be told use_dpop_nonce, and the nonce. It
// wraps auth.ErrInvalid.
var ErrNonce = invalid("the DPoP proof has no current nonce")

// A Proof is one that is good.
type Proof struct {
	// Thumbprint is that of the client's key (RFC 7638), what a token's "cnf" has
	// as "jkt". Compare it with that, or bind a new token to it.
	Thumbprint string

	// What it is remembered by.
	id    string
	until time.Time
}

// A Verifier checks proofs. It is safe for concurrent use, and has no goroutine.
type Verifier struct {
	origins    []target
	algorithms map[string]string
	names      []string
	window     time.Duration
	replays    auth.Replays
	nonces     *nonces // nil if none are required
}

// New returns a Verifier. No origin, one that is no https URL or the beginning of
// another, an algorithm that is unknown or of a shared secret, a Window or NonceLifetime out of range, a
// NonceKey that is short or without RequireNonce, and Replays that hold a nil are
// errors that name the field.
func New(cfg Config) (*Verifier, error) {
	v := &Verifier{algorithms: make(map[string]string), window: cfg.Window, replays: cfg.Replays}
	if len(cfg.Origins) == 0 {
		return nil, errors.New("dpop: Config.Origins is empty")
	}
	for _, o := range cfg.Origins {
		if err := fetch.CheckURL(o, cfg.AllowInsecureHTTP); err != nil {
			return nil, fmt.Errorf("dpop: Config.Origins has one that %w", err)
		}
		t, ok := parseTarget(o)
		if !ok || t.rest != "" || strings.HasSuffix(t.path, "//") {
			return nil, errors.New("dpop: Config.Origins has one that is not scheme://host, with a plain path at most")
		}
		t.path = strings.TrimSuffix(t.path, "/")
		for _, o := range v.origins {
			if o.contains(t) || t.contains(o) {
				return nil, errors.New("dpop: Config.Origins has one that is the beginning of another")
			}
		}
		v.origins = append(v.origins, t)
	}
	if cfg.Algorithms == nil {
		for _, name := range jwk.Algorithms() {
			if !symmetric(name) {
				cfg.Algorithms = append(cfg.Algorithms, name)
			}
		}
	}
	if len(cfg.Algorithms) == 0 {
		return nil, errors.New("dpop: Config.Algorithms is empty: leave it nil for all")
	}
	for _, name := range cfg.Algorithms {
		if symmetric(name) || !slices.Contains(jwk.Algorithms(), name) {
			return nil, fmt.Errorf("dpop: Config.Algorithms: %q is not an asymmetric algorithm that is supported", name)
		}
		v.algorithms[name] = name
	}
	v.names = slices.Clone(cfg.Algorithms)
	if v.window == 0 {
		v.window = defaultWindow
	}
	if v.window < time.Second || v.window > longestWindow {
		return nil, fmt.Errorf("dpop: Config.Window must be 0, or from 1s to %v", longestWindow)
	}
	switch {
	case v.replays == nil:
		v.replays = auth.NewMemoryReplays(0)
	case isnil.Value(v.replays):
		return nil, errors.New("dpop: Config.Replays holds a nil")
	}
	var err error
	if v.nonces, err = newNonces(cfg); err != nil {
		return nil, fmt.Errorf("dpop: Config.%w", err)
	}
	return v, nil
}

// Algorithms returns the names of the algorithms that a proof may be signed with, for
// a challenge's "algs" and for metadata.
func (v *Verifier) Algorithms() []string { return slices.Clone(v.names) }

// Nonce returns the nonce that a client shall use next, for the field DPoP-Nonce, or
// "" if none is required.
func (v *Verifier) Nonce() string {
	if v.nonces == nil {
		return ""
	}
	return v.nonces.current(time.Now())
}

// Format writes a name alone, whatever the verb, so that no key gets into a log.
func (v *Verifier) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "dpop.Verifier") }

// Verify returns the proof that r carries for accessToken (RFC 9449 §4.3); at the
// token endpoint, where there is no token yet, that is "". A caller whose token is
// bound to a key compares the thumbprint between [Verifier.Check] and [Verifier.Use]
// instead, so that proofs by other keys are not remembered.
//
// A proof that is not good is an error that wraps [auth.ErrInvalid]; [ErrNoProof] and
// [ErrNonce] are among them. Any other error means that the memory of proofs could not
// tell. A good proof is used up by Verify, so call it last.
func (v *Verifier) Verify(r *http.Request, accessToken string) (Proof, error) {
	p, err := v.Check(r, accessToken)
	if err != nil {
		return Proof{}, err
	}
	if err := v.Use(r.Context(), p); err != nil {
		return Proof{}, err
	}
	return p, nil
}

// Check is [Verifier.Verify] without using the proof up: whether it was used before is
// not known yet. Call [Verifier.Use] before anything is granted by it. A token endpoint
// does so last, since anyone can make proofs that are good but for that, and would fill
// the memory of them.
func (v *Verifier) Check(r *http.Request, accessToken string) (Proof, error) {
	fields := r.Header[field]
	switch {
	case len(fields) == 0:
		return Proof{}, ErrNoProof
	case len(fields) > 1:
		return Proof{}, errSeveral
	case len(fields[0]) > maxProofBytes:
		return Proof{}, errSyntax
	}
	p, err := v.read(fields[0])
	if err != nil {
		return Proof{}, err
	}
	now := time.Now()
	if err := v.check(&p, r, accessToken, now); err != nil {
		return Proof{}, err
	}
	return Proof{Thumbprint: p.thumbprint, id: p.id, until: p.issued.Add(v.window + remembered)}, nil
}

// Use uses up a proof that [Verifier.Check] returned. One that was used before is an
// error that wraps [auth.ErrInvalid]; any other error means that the memory of proofs
// could not tell.
func (v *Verifier) Use(ctx context.Context, p Proof) error {
	if p.id == "" {
		return errors.New("dpop: Use: the proof is not one of Check")
	}
	// The key is part of it: a client can't use up the identifiers of another.
	first, err := v.replays.Use(ctx, replayKey(p.Thumbprint, p.id), p.until)
	switch {
	case err != nil:
		return fmt.Errorf("dpop: the memory of proofs can't tell: %v", err)
	case !first:
		return errUsed
	}
	return nil
}

func symmetric(alg string) bool { return strings.HasPrefix(alg, "HS") }

func invalid(reason string) error { return fmt.Errorf("%w: %s", auth.ErrInvalid, reason) }
