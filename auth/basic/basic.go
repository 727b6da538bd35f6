// Package basic authenticates requests by user name and password with the HTTP
// Basic scheme (RFC 7617).
//
//	users, err := auth.NewMemoryUsers(auth.User{Subject: "1", Name: "ada", PasswordHash: hash})
//	hasher, err := password.New(password.Config{})
//	lockout, err := ratelimit.NewLockout(ratelimit.LockoutConfig{})
//	b, err := basic.New(basic.Config{Users: users, Passwords: hasher, Lockout: lockout})
//	mux.Handle("GET /report", auth.Require(b)(report))
//
// Basic sends the password with every request, readable to whoever sees the
// connection. Serve it over HTTPS only: transport.RequireHTTPS refuses anything
// else. An [Authenticator] that is given credentials over plain HTTP says so in
// the log, once.
//
// # What a client can learn
//
// An unknown name, a wrong password, a disabled account, one without a password
// and one that is locked out have the same answer after the same work, so that
// none can be told from another. The reason is in the audit event alone. The
// work is equal if all hashes of the store are; where they are not, see
// password.Config.Reference.
//
// Who has failed too often is answered 429, and nothing is checked, if the Lockout
// says so. That depends on the name as it was sent and on where it came from, never
// on whether there is such an account.
//
// # Names and passwords
//
// Both are UTF-8, and the challenge says so. They are compared byte by byte as
// they were sent, without Unicode normalization (RFC 8265): a client that writes
// é as two code points sends another name than one that writes it as one. Names
// that differ in case or blanks are different as well, unless the store's lookup
// takes them for equal. A lockout counts on the account that was found, however
// its name was written.
package basic

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/password"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/isnil"
	"github.com/sallyport/sallyport/internal/lockout"
	"github.com/sallyport/sallyport/internal/login"
	"github.com/sallyport/sallyport/internal/quoted"
	"github.com/sallyport/sallyport/internal/scope"
)

// Config holds the settings of an [Authenticator]. Users and Passwords are
// required.
type Config struct {
	// Realm names what the credentials are for. Browsers show it, and reuse
	// credentials within it. It is printable ASCII. The default is "restricted".
	Realm string

	// Users is the store of accounts.
	Users auth.Users

	// Passwords verifies the hashes in the store, and bounds the work of doing
	// so. Share one with every other door that checks passwords.
	Passwords *password.Hasher

	// Lockout counts failed logins by account and client address, and ends
	// guessing. Nil counts nothing: then something else must limit guesses.
	Lockout auth.Lockout

	// Cache is how passwords that were right are remembered. The zero CacheConfig
	// remembers them for 30 seconds.
	Cache CacheConfig

	// Logger is told what needs an operator: hashes that could not be upgraded,
	// and credentials over plain HTTP. The default is slog.Default().
	Logger *slog.Logger
}

// CacheConfig bounds how long a password that was right need not be hashed again. What
// is kept is its HMAC under a random key of this Authenticator, and never the password.
// The account is looked up for each request all the same: a changed password, an account
// that was disabled or removed, and changed roles count at once. What is remembered is
// not an attempt to the Lockout, so that an attack on an account does not stop a client
// that is logged in. It is remembered for the address of that client alone, and until
// ten wrong passwords have come from there: else guesses would be looked at without being
// counted.
type CacheConfig struct {
	MaxAge     time.Duration // from 1 second to 5 minutes; 0 means 30 seconds
	MaxEntries int           // of passwords, up to 1,000,000; 0 means 10,000
	Disabled   bool          // every request hashes
}

const (
	defaultCacheAge, longestCacheAge      = 30 * time.Second, 5 * time.Minute
	defaultCacheEntries, mostCacheEntries = 10_000, 1_000_000
)

func (c CacheConfig) memory() (*login.Memory, error) {
	if c.MaxAge == 0 {
		c.MaxAge = defaultCacheAge
	}
	if c.MaxEntries == 0 {
		c.MaxEntries = defaultCacheEntries
	}
	switch {
	case c.MaxAge < time.Second || c.MaxAge > longestCacheAge:
		return nil, errors.New("auth/basic: Config.Cache.MaxAge must be from 1s to 5m")
	case c.MaxEntries < 1 || c.MaxEntries > mostCacheEntries:
		return nil, errors.New("auth/basic: Config.Cache.MaxEntries must be from 1 to 1,000,000")
	case c.Disabled:
		return nil, nil //nolint:nilnil // a nil Memory remembers nothing
	}
	return login.NewMemory(c.MaxAge, c.MaxEntries), nil
}

// An Authenticator checks Basic credentials. It is an [auth.Authenticator] and
// safe for concurrent use.
type Authenticator struct {
	challenge string
	checker   login.Checker
	logger    *slog.Logger
	warned    atomic.Bool // of plain HTTP
}

// New returns an Authenticator. It returns an error that names the field if
// Users or Passwords is missing, Lockout holds a nil, Realm is not printable ASCII, or
// a bound of the Cache is out of its range.
func New(cfg Config) (*Authenticator, error) {
	switch {
	case isnil.Value(cfg.Users):
		return nil, errors.New("auth/basic: Config.Users is nil")
	case cfg.Passwords == nil:
		return nil, errors.New("auth/basic: Config.Passwords is nil")
	case cfg.Lockout != nil && isnil.Value(cfg.Lockout):
		return nil, errors.New("auth/basic: Config.Lockout holds a nil")
	case !quoted.Valid(cfg.Realm):
		return nil, errors.New("auth/basic: Config.Realm is not printable ASCII")
	}
	if cfg.Realm == "" {
		cfg.Realm = "restricted"
	}
	memory, err := cfg.Cache.memory()
	if err != nil {
		return nil, err
	}
	return &Authenticator{
		challenge: "Basic realm=" + quoted.String(cfg.Realm) + `, charset="UTF-8"`,
		checker:   login.Checker{Users: cfg.Users, Passwords: cfg.Passwords, Lockout: cfg.Lockout, Memory: memory},
		logger:    cfg.Logger,
	}, nil
}

// Authenticate returns the identity of the account that r's credentials belong
// to, with the Scheme "Basic". An old hash of the account is replaced on the
// way; if that fails the login does not.
//
// It returns an error that wraps [auth.ErrNoCredentials] if r has no Basic
// credentials, and one that wraps [auth.ErrInvalid] if they are malformed or
// wrong; if they were not looked at since too many have failed, it is a
// *errors.Problem with the status 429 and Retry-After. Anything else means that
// they could not be checked: the store or the lockout failed, the stored hash is
// unusable, the request was cancelled, or too many passwords are being checked,
// which is a *errors.Problem with the status 503. None of these counts as a failed
// login.
//
// An audit event tells of each password that was found right; the requests that the
// cache lets through have none. AuthTime is when the request came. Refusals are the
// door's to record.
func (a *Authenticator) Authenticate(r *http.Request) (*auth.Identity, error) {
	field, err := auth.Credentials(r, "Basic")
	if err != nil {
		return nil, err
	}
	a.warnOfPlainHTTP(r)
	name, pw, err := parse(field)
	if err != nil {
		return nil, err
	}
	user, err := a.login(r, name, pw)
	if err != nil {
		return nil, err
	}
	return &auth.Identity{
		Subject:  user.Subject,
		Scheme:   "Basic",
		Roles:    slices.Clip(slices.Clone(user.Roles)),
		Scopes:   slices.Clip(slices.Clone(user.Scopes)),
		AuthTime: time.Now(),
	}, nil
}

// String returns the name of the type.
func (a *Authenticator) String() string { return "basic.Authenticator" }

// Format writes String whatever the verb, so that what the store holds does not
// get into a log.
func (a *Authenticator) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, a.String()) }

// Challenge adds the challenge (RFC 7617, section 2): the realm, and UTF-8 as
// the encoding of names and passwords.
func (a *Authenticator) Challenge(h http.Header, _ *http.Request, _ error) {
	h.Add("WWW-Authenticate", a.challenge)
}

// Scheme describes the scheme for OpenAPI: "http" with the scheme "basic".
func (a *Authenticator) Scheme() auth.SecurityScheme {
	return auth.SecurityScheme{Type: "http", Scheme: "basic"}
}

// login returns the account with this name and password. Every refusal comes
// after a hash was computed, and is the same to the client.
func (a *Authenticator) login(r *http.Request, name, pw string) (auth.User, error) {
	v, err := a.checker.Check(r, name, pw)
	switch {
	case errors.Is(err, password.ErrBusy):
		return auth.User{}, overloaded(err)
	case err != nil:
		return auth.User{}, fmt.Errorf("auth/basic: %w", err)
	case v.Wait > 0:
		return auth.User{}, lockout.Problem(v.Wait, refused(v.Refused, v.User))
	case v.Refused != "":
		return auth.User{}, refused(v.Refused, v.User)
	}
	if v.Known {
		return v.User, nil
	}
	audit.Record(r, nil, audit.Event{Name: audit.LoginSuccess, Level: slog.LevelInfo, Scheme: "Basic", Subject: v.User.Subject})
	if v.Rehash {
		if err := a.checker.Upgrade(r.Context(), v.User, pw); err != nil {
			a.log().WarnContext(r.Context(), "auth/basic: a password hash could not be upgraded", "subject", v.User.Subject, "error", err)
		}
	}
	return v.User, nil
}

func (a *Authenticator) warnOfPlainHTTP(r *http.Request) {
	if a.warned.Load() || scope.SchemeOf(r) == "https" {
		return
	}
	if a.warned.CompareAndSwap(false, true) {
		a.log().WarnContext(r.Context(), "auth/basic: a password came over plain HTTP; put transport.RequireHTTPS in front, and behind a proxy that ends TLS a transport.ClientIP")
	}
}

func (a *Authenticator) log() *slog.Logger {
	if a.logger != nil {
		return a.logger
	}
	return slog.Default()
}

// refused is the one refusal. Its reason is for the audit event. It names the
// account by its subject, never by what was sent as the name, since people type
// passwords into the wrong field.
func refused(reason string, user auth.User) error {
	if user.Subject == "" {
		return fmt.Errorf("%w: %s", auth.ErrInvalid, reason)
	}
	return fmt.Errorf("%w: %s (subject %q)", auth.ErrInvalid, reason, user.Subject)
}

// overloaded is the answer when no hash can be computed now.
func overloaded(err error) error {
	p := httperr.New(http.StatusServiceUnavailable, "overloaded", "Too many logins at a time. Try again.").WithCause(err)
	p.Header = http.Header{"Retry-After": {"1"}}
	return p
}
