// Package apikey authenticates requests by API keys: long random secrets that a
// service hands to programs, which send them with every request.
//
// [Mint] makes a key. Its plain text is shown to the owner once; what is kept is
// a [Record] with a hash of it, in a [Store]. [New] returns the Authenticator
// for auth.Require:
//
//	plain, record, err := apikey.Mint(apikey.MintConfig{Subject: "alice", Scopes: []string{"items:read"}})
//	err = store.Add(ctx, record)
//	keys, err := apikey.New(apikey.Config{Store: store})
//	mux.Handle("GET /items", auth.Require(keys)(items))
//
// # The key
//
// A key is a prefix, the key's id, a secret, and a checksum:
//
//	sk_5n8t3qzkf0w7rm2d_0hx4c9vz61tq8ybm3kfd7wne5gsj2arp01vjt9e
//	-- ---------------- --------------------------------=======
//
// The prefix tells people and secret scanners what they found; an environment may
// stand behind it, as in sk_live_…. The id is 80
// random bits; it is public, and stands in logs. The secret is 160 random bits
// from crypto/rand. The last seven characters are the CRC-32 (IEEE) of all
// before them, so a mistyped key, and text that only looks like one, is told
// apart without asking the store. Id, secret and checksum are in the lower-case
// base32 of Crockford's alphabet, which has no i, l, o and u. There is one
// spelling of a key: no case, blank or look-alike is forgiven.
//
// A secret scanner finds keys with this regular expression, and confirms them
// with [KeyID]:
//
//	\b[a-z0-9]{2,16}(_[a-z0-9]{2,16})?_[0-9a-hjkmnp-tv-z]{16}_[0-9a-hjkmnp-tv-z]{39}\b
//
// Keys of another form can't be used, and Mint takes no secret from outside, so
// nobody gets to choose a short one. With 160 random bits a fast, unsalted hash
// is enough to keep a key (OWASP ASVS 5.0, 6.5.2).
//
// # Verification
//
// The store is asked for every request, so a revoked key fails at once (ASVS
// 6.5.6); with [Config].CacheFor, within that time. Keys that are unknown, wrong,
// expired, revoked, disabled or sent from outside their networks get the same
// answer, after the same work; the audit event has the reason and the id.
//
// When a key was used last is noted behind the request's back, once a minute at
// most, if the store is a [Manager].
//
// # Rotation
//
// To replace a key without an outage, [Rotate] mints a second one with the rights
// of the first, which goes on for as long as its owner needs.
package apikey

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/sallyport/sallyport/auth"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/grammar"
	"github.com/sallyport/sallyport/internal/isnil"
	"github.com/sallyport/sallyport/internal/lockout"
	"github.com/sallyport/sallyport/internal/pepper"
	"github.com/sallyport/sallyport/internal/quoted"
	"github.com/sallyport/sallyport/internal/scope"
)

// Config says where keys are sent and kept. Only Store is required.
type Config struct {
	// Store has the records of the keys.
	Store Store

	// Header is the field that carries the key. The default is X-API-Key. Fields
	// that mean something else (Authorization, Cookie, Host, X-Request-Id, ...)
	// are refused.
	Header string

	// Realm is named in the challenge, in printable ASCII. The default is "api".
	Realm string

	// Lockout, if not nil, counts the attempts on each key id, and those from each network. Minted keys can't
	// be guessed, so this is only for services that want every scheme to feed the
	// same memory of failures. Keys of the wrong form or checksum are not counted.
	Lockout auth.Lockout

	// Environment, if set, is the only one whose keys are taken. Others, and keys
	// without one, are refused before the store or the Lockout is asked.
	Environment string

	// Peppers are the keys that hashes in the store may depend on, in any order: see
	// MintConfig.Pepper. A hash under another can't be checked, which is a fault of
	// the service.
	Peppers []Pepper

	// AllowPlainHashes also takes keys whose hash depends on no pepper, although there
	// are Peppers: for a store in which there are such keys still. Who can write to the
	// store can then make up keys.
	AllowPlainHashes bool

	// CacheFor is how long a key that was found good need not be looked up again, at
	// most 10 seconds. That is how long a key goes on after it was revoked, its owner
	// disabled or its rights changed, and how long good keys go on while the store
	// is out of reach. The default, 0, asks the store for each request. Only keys
	// that were good are kept, 10,000 at most, and never their text.
	CacheFor time.Duration

	// Logger is told when LastUsed can't be written, once until it can be again. The
	// default is slog.Default().
	Logger *slog.Logger

	// InsecureQueryParameter also takes the key from the query parameter of this
	// name. Leave it empty: a URL gets into the logs of every proxy and server on
	// the way, into browser histories and Referer fields, and into whatever users
	// paste (OWASP ASVS 5.0, 14.2.1), and the key with it. Nothing here keeps the
	// handler from logging r.URL, and answers should be sent with Cache-Control:
	// private.
	//
	// The name is of letters, digits, '_', '-' and '.', at most 64. A request that
	// has the parameter twice, or has it and the field, or whose query is
	// malformed, is answered by 400.
	InsecureQueryParameter string
}

// An Authenticator verifies API keys. It implements auth.Authenticator and is
// safe for concurrent use.
type Authenticator struct {
	store       Store
	lockout     auth.Lockout
	header      string // as Config spells it
	canonical   string // as the keys of an http.Header are spelled
	parameter   string
	challenge   string
	environment string
	peppers     []Pepper
	plain       bool     // hashes without a pepper count too
	nobody      string   // a well-formed hash that no key is known to have
	known       *cache   // nil keeps nothing
	usage       *touches // nil if the store does not keep it
}

var _ auth.Authenticator = (*Authenticator)(nil)

// scheme is the Scheme of the identities, and the auth-scheme of the challenge.
const scheme = "ApiKey"

// New returns an Authenticator. It returns an error that names the field if cfg
// has no Store, a Lockout that holds a nil, a Header that is no field name or has another meaning, a Realm
// that is not printable ASCII, an Environment or an InsecureQueryParameter of other
// characters, Peppers without an ID, of one ID or with a short Key, or a CacheFor out
// of its range.
func New(cfg Config) (*Authenticator, error) {
	if cfg.Header == "" {
		cfg.Header = "X-API-Key"
	}
	if cfg.Realm == "" {
		cfg.Realm = "api"
	}
	name := http.CanonicalHeaderKey(cfg.Header)
	switch {
	case isnil.Value(cfg.Store):
		return nil, errors.New("apikey: Config.Store is nil")
	case cfg.Lockout != nil && isnil.Value(cfg.Lockout):
		return nil, errors.New("apikey: Config.Lockout holds a nil")
	case !grammar.IsToken(cfg.Header):
		return nil, fmt.Errorf("apikey: Config.Header %q is not a field name", cfg.Header)
	case reserved(name):
		return nil, fmt.Errorf("apikey: Config.Header %q has a meaning of its own; use X-API-Key or the like", cfg.Header)
	case !quoted.Valid(cfg.Realm):
		return nil, errors.New("apikey: Config.Realm is not printable ASCII")
	case cfg.Environment != "" && !validPart(cfg.Environment):
		return nil, fmt.Errorf("apikey: Config.Environment %q is not 2 to 16 of a-z and 0-9", cfg.Environment)
	case cfg.CacheFor < 0 || cfg.CacheFor > maxCacheFor:
		return nil, fmt.Errorf("apikey: Config.CacheFor is %v, must be from 0 to %v", cfg.CacheFor, maxCacheFor)
	case !plainParameter(cfg.InsecureQueryParameter):
		return nil, fmt.Errorf("apikey: Config.InsecureQueryParameter %q is not of at most 64 letters, digits, '_', '-' and '.'", cfg.InsecureQueryParameter)
	}
	if err := pepper.Check(cfg.Peppers); err != nil {
		return nil, fmt.Errorf("apikey: Config.Peppers%w", err)
	}
	return &Authenticator{
		store:       cfg.Store,
		lockout:     cfg.Lockout,
		header:      cfg.Header,
		canonical:   name,
		parameter:   cfg.InsecureQueryParameter,
		environment: cfg.Environment,
		peppers:     pepper.Clone(cfg.Peppers),
		nobody:      nobody(cfg.Peppers),
		plain:       len(cfg.Peppers) == 0 || cfg.AllowPlainHashes,
		known:       newCache(cfg.CacheFor),
		usage:       newTouches(cfg.Store, cfg.Logger),
		challenge:   scheme + " realm=" + quoted.String(cfg.Realm) + `, in="header", name=` + quoted.String(cfg.Header),
	}, nil
}

// Authenticate returns the identity of the owner of r's key: Subject, Scopes and
// Roles are those of the [Record], Scheme is "ApiKey", Expires is when the key
// ends, or will have been revoked. ClientID is the key's id, so that every audit
// event of the request, and a limit by client, tells the keys of one owner apart.
//
// It returns an error that wraps auth.ErrNoCredentials if r has no key,
// auth.ErrInvalid if the key is not valid, a *errors.Problem with status 400 if r
// has more than one, or 429 if too many attempts have failed with its id or from its
// network, and any other error if the store or the Lockout could not tell.
func (a *Authenticator) Authenticate(r *http.Request) (*auth.Identity, error) {
	plain, err := a.credentials(r)
	if err != nil {
		return nil, err
	}
	now, addr := time.Now(), scope.ClientAddr(r) // for each, so that no refusal takes longer
	if rec := a.known.get(plain, now); rec != nil {
		// What was found good a moment ago, and noted as used, is asked again for all
		// that depends on the request and the time.
		if err := rec.usable(addr, now); err != nil {
			return nil, err
		}
		return rec.identity(), nil
	}
	k, err := parse(plain)
	if err != nil {
		return nil, err
	}
	if a.environment != "" && k.environment != a.environment {
		return nil, errEnvironment
	}
	before := a.known.changes()
	var rec Record
	if err := a.verify(r, k, &rec, addr, now); err != nil {
		return nil, err
	}
	a.known.add(k, &rec, now, before)
	a.usage.note(rec.ID, now)
	return rec.identity(), nil
}

// identity returns that of the bearer of a key that is good. It shares nothing with r,
// nor with the text of the key.
func (r *Record) identity() *auth.Identity {
	id := &auth.Identity{Subject: r.Subject, Scheme: scheme, ClientID: r.ID, Expires: r.ends()}
	id.Scopes, id.Roles = clonePair(r.Scopes, r.Roles)
	return id
}

// Close ends the writing of when keys were used, which may be under way. What is not
// written is lost. An Authenticator that is closed goes on to authenticate. Close
// returns nil.
func (a *Authenticator) Close() error {
	a.usage.close()
	return nil
}

// Forget makes the next request with the key of this id ask the store, whatever
// CacheFor says. A service that has just revoked a key calls it, on each machine that
// it can reach.
func (a *Authenticator) Forget(id string) { a.known.drop(id) }

// Challenge adds a WWW-Authenticate field with the scheme "ApiKey", the realm,
// and where the key belongs. No such scheme is registered with IANA; the form
// follows RFC 9110, section 11.6.1, because a 401 must have a challenge, and
// the parameters are named as in OpenAPI.
func (a *Authenticator) Challenge(h http.Header, _ *http.Request, _ error) {
	h.Add("Www-Authenticate", a.challenge)
}

// Scheme returns {type: apiKey, in: header, name: …}. A query parameter is not
// told of, so that no generated client uses it.
func (a *Authenticator) Scheme() auth.SecurityScheme {
	return auth.SecurityScheme{Type: "apiKey", In: "header", Name: a.header}
}

// String returns the name of the field.
func (a *Authenticator) String() string { return "apikey.Authenticator(" + a.header + ")" }

// Format writes String whatever the verb, so that what the store holds, hashes
// or the password of a database, does not get into a log.
func (a *Authenticator) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, a.String()) }

// credentials returns the text that r carries where a key belongs.
func (a *Authenticator) credentials(r *http.Request) (string, error) {
	values := r.Header[a.canonical]
	if len(values) > 1 {
		return "", httperr.New(http.StatusBadRequest, "invalid_request", "The request has more than one "+a.header+" field.")
	}
	if a.parameter != "" {
		fromQuery, err := a.query(r)
		switch {
		case err != nil:
			return "", err
		case len(fromQuery) > 0 && len(values) > 0:
			return "", httperr.New(http.StatusBadRequest, "invalid_request", "The request has an API key in a field and another in the query.")
		case len(fromQuery) > 0:
			values = fromQuery
		}
	}
	if len(values) == 0 {
		return "", auth.ErrNoCredentials
	}
	return values[0], nil
}

// query returns the one value of the parameter, or none.
func (a *Authenticator) query(r *http.Request) ([]string, error) {
	if r.URL == nil || r.URL.RawQuery == "" {
		return nil, nil
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil { // its text quotes the query, so it is not kept
		return nil, httperr.New(http.StatusBadRequest, "invalid_request", "The query is malformed.")
	}
	values := query[a.parameter]
	if len(values) > 1 {
		return nil, httperr.New(http.StatusBadRequest, "invalid_request", "The query has more than one API key.")
	}
	return values, nil
}

// verify fills in the record of k if k is right and may be used, after the
// Lockout, if there is one, has counted the attempt.
func (a *Authenticator) verify(r *http.Request, k key, rec *Record, addr netip.Addr, now time.Time) error {
	if a.lockout == nil {
		return a.check(r.Context(), k, rec, addr, now)
	}
	id := "key:" + k.id
	attempt, err := lockout.Begin(r.Context(), a.lockout, id, id, addr)
	if err != nil {
		return undecided("the Lockout failed", err)
	}
	if wait := lockout.Wait(attempt); wait > 0 {
		return lockout.Problem(wait, &refusal{id: k.id, why: "was not looked at, after too many failed attempts"})
	}
	decided := false
	defer func() { // also if the store panics
		if !decided {
			attempt.Undecided()
		}
	}()
	err = a.check(r.Context(), k, rec, addr, now)
	if err != nil && !errors.Is(err, auth.ErrInvalid) {
		return err
	}
	locked := attempt.Locked()
	decided = true
	switch {
	case locked: // asked last, so that a locked key costs the time of any other
		return &refusal{id: k.id, why: "is locked after too many attempts"}
	case err != nil:
		return err
	}
	attempt.Succeeded()
	return nil
}

// check asks the store for k and compares. An id that the store doesn't know is
// hashed and compared as well, with a digest that no key has, and what that
// yields is not looked at.
func (a *Authenticator) check(ctx context.Context, k key, rec *Record, addr netip.Addr, now time.Time) error {
	var err error
	*rec, err = a.store.Key(ctx, k.id)
	found := err == nil
	if !found && !errors.Is(err, auth.ErrNotFound) {
		return undecided("the store failed", err)
	}
	hash := rec.Hash
	if !found || hash == "" {
		hash = a.nobody
	}
	match, err := k.matches(hash, a.peppers)
	switch {
	case !found:
		return &refusal{k.id, "is unknown"}
	case rec.ID != k.id:
		return undecided("the store is wrong", fmt.Errorf("asked for key %s it returned another", k.id))
	case err != nil:
		return undecided("the store is wrong", fmt.Errorf("key %s: %w", k.id, err))
	case rec.Hash == "":
		return &refusal{k.id, "has no hash"}
	case !match:
		return &refusal{k.id, "came with a wrong secret"}
	case !a.plain && strings.HasPrefix(rec.Hash, plainTag):
		return &refusal{k.id, "has a hash without a pepper"}
	}
	return rec.usable(addr, now)
}

// usable returns why a key that is right may not be used from addr, or nil.
func (r *Record) usable(addr netip.Addr, now time.Time) error {
	switch {
	case !r.Revoked.IsZero() && !r.Revoked.After(now):
		return &refusal{r.ID, "was revoked"}
	case !r.Expires.IsZero() && !now.Before(r.Expires):
		return &refusal{r.ID, "has expired"}
	case r.Disabled:
		return &refusal{r.ID, "has a disabled owner"}
	case r.Subject == "":
		return &refusal{r.ID, "has no owner"}
	case len(r.Networks) > 0 && !r.allows(addr):
		return &refusal{r.ID, "came from outside its networks"}
	}
	return nil
}

// A refusal is why a key of the right form is not valid. It never has the key.
type refusal struct{ id, why string }

func (e *refusal) Error() string {
	return auth.ErrInvalid.Error() + ": the API key " + e.id + " " + e.why
}

func (e *refusal) Unwrap() error { return auth.ErrInvalid }

// undecided returns the error for a key that could not be checked.
func undecided(what string, err error) error { return lockout.Undecided("apikey: "+what, err) }

func plainParameter(s string) bool {
	for i := range len(s) {
		if c := s[i]; !grammar.IsAlphanumeric(c) && strings.IndexByte("_-.", c) < 0 {
			return false
		}
	}
	return len(s) <= 64
}

// reserved reports whether a field of this canonical name already has a meaning,
// for which it would be logged, cached, changed or read by others.
func reserved(name string) bool {
	switch name {
	case "Authorization", "Authentication-Info", "Cookie", "Set-Cookie", "Www-Authenticate", "Dpop",
		"Host", "Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Via", "Expect",
		"Forwarded", "X-Real-Ip", "X-Request-Id", "X-Correlation-Id", "X-Http-Method-Override", "Traceparent", "Tracestate", "Baggage",
		"Accept", "Age", "Allow", "Cache-Control", "Date", "Etag", "From", "Location", "Origin", "Pragma", "Range", "Referer",
		"Retry-After", "Server", "User-Agent", "Vary", "Warning", "Last-Modified", "Link", "Max-Forwards", "Priority", "Idempotency-Key":
		return true
	}
	for _, prefix := range []string{"Accept-", "Access-Control-", "Content-", "If-", "Proxy-", "Sec-", "X-Forwarded-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
