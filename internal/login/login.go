// Package login decides about a name and a password. It is what the doors that
// take passwords have in common: the order of the steps is what keeps a client
// from learning more than yes or no, so there is one copy of it.
package login

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/password"
	"github.com/sallyport/sallyport/internal/lockout"
	"github.com/sallyport/sallyport/internal/scope"
)

// A Checker knows whom to ask. Users and Passwords are required; a nil Lockout
// lets everyone try. It is safe for concurrent use.
type Checker struct {
	Users     auth.Users
	Passwords *password.Hasher
	Lockout   auth.Lockout
	Memory    *Memory // nil remembers nothing
}

// A Verdict is what [Checker.Check] decided.
type Verdict struct {
	User    auth.User     // the account, as far as there is one
	Refused string        // why not, for operators; "" if the password is right
	Wait    time.Duration // if more than 0, the client is refused for so long, and may be told
	Rehash  bool          // the stored hash is weaker than new ones are, and can be replaced
	Known   bool          // the password was right a moment ago, and was not hashed again
}

// Check decides whether name and pw belong to an account that may log in. An
// unknown name, a wrong password, and an account that has none, is disabled or
// is locked all cost one hash. Only who must wait whatever the account is, because
// of what was sent before from the same network, costs none. Where the Lockout can
// say so before (see lockout.Told), the store is not asked either: that answer takes
// the same time for names that exist and names that don't.
//
// Nor does a password that Memory knows from the same address, and it is no attempt:
// an attack on the account does not keep out who has logged in already. So the store
// is asked where somebody has just logged in with this name from this address; that
// tells nobody else anything. From other
// addresses it is one: else guesses at an account that is in use would be free.
//
// An error means that it could not tell; the attempt has been given back then.
// It wraps password.ErrBusy if too many hashes are being computed. An error of a
// store that looks like an answer, because the store passes on what another
// service said to it, is kept as text alone.
func (c *Checker) Check(r *http.Request, name, pw string) (Verdict, error) {
	ctx, now := r.Context(), time.Now()
	addr := scope.ClientAddr(r)
	if c.Lockout != nil && !c.Memory.mayKnow(name, addr, now) {
		wait, err := lockout.Told(ctx, c.Lockout, sent(name), addr)
		switch {
		case err != nil:
			return Verdict{}, lockout.Undecided("the lockout failed", err)
		case wait > 0:
			return Verdict{Refused: "too many failed attempts", Wait: wait}, nil
		}
	}

	user, err := c.Users.User(ctx, name)
	unknown := errors.Is(err, auth.ErrNotFound)
	switch {
	case unknown:
		user = auth.User{} // whatever the store returned with the error
	case err != nil:
		return Verdict{}, lockout.Undecided("the user store failed", err)
	}

	if !user.Disabled && c.Memory.knows(&user, pw, addr, now) {
		return Verdict{User: user, Known: true}, nil
	}

	attempt, err := c.attempt(ctx, user, name, addr)
	if err != nil {
		return Verdict{User: user}, lockout.Undecided("the lockout failed", err)
	}
	decided := false
	defer func() { // also if something panics
		if !decided {
			attempt.Undecided()
		}
	}()
	locked := attempt.Locked()
	if wait := lockout.Wait(attempt); wait > 0 {
		decided = true
		return Verdict{User: user, Refused: "too many failed attempts", Wait: wait}, nil
	}
	// Also where the answer is settled already: it must not come any sooner.
	rehash, err := c.verify(ctx, user, pw)
	match := err == nil
	if !match && !errors.Is(err, password.ErrMismatch) {
		return Verdict{User: user}, lockout.Undecided(fmt.Sprintf("the password of subject %q can't be verified", user.Subject), err)
	}
	decided = true

	v := Verdict{User: user}
	switch {
	case locked:
		v.Refused = "locked out"
	case unknown:
		v.Refused = "no such user"
	case user.Subject == "":
		v.Refused = "the store's user has no subject"
	case user.PasswordHash == "":
		v.Refused = "the account has no password"
	case !match:
		v.Refused = "wrong password"
	case user.Disabled:
		v.Refused = "the account is disabled"
	default:
		_, readOnly := c.Users.(auth.ReadOnlyUsers)
		v.Rehash = rehash && !readOnly
		attempt.Succeeded()
		c.Memory.add(&user, name, pw, addr, now)
	}
	return v, nil
}

// Upgrade replaces the account's hash by one of today's strength, unless the
// password has been changed since.
func (c *Checker) Upgrade(ctx context.Context, user auth.User, pw string) error {
	hash, err := c.Passwords.Hash(ctx, pw)
	if err != nil {
		return err
	}
	return c.Users.SetPasswordHash(ctx, user.Subject, hash, user.Version)
}

// attempt counts the login before anything is computed, so that guesses made at
// the same time all count. It counts on the account where there is one: how the
// name was written must not give new attempts.
func (c *Checker) attempt(ctx context.Context, user auth.User, name string, addr netip.Addr) (auth.Attempt, error) {
	if c.Lockout == nil {
		return uncounted{}, nil
	}
	account := user.Subject
	if account == "" {
		account = sent(name) // not the account of another with this subject
	}
	return lockout.Begin(ctx, c.Lockout, account, sent(name), addr)
}

// sent is a name as a Lockout counts it, apart from the ids of keys.
func sent(name string) string { return "name:" + name }

// verify computes one hash, always: that of the account, or one as costly. Only
// an account with a subject and a hash can match.
func (c *Checker) verify(ctx context.Context, user auth.User, pw string) (rehash bool, err error) {
	if user.Subject == "" || user.PasswordHash == "" {
		return false, c.Passwords.Dummy(ctx, pw)
	}
	return c.Passwords.Verify(ctx, user.PasswordHash, pw)
}

// uncounted is the attempt where there is no lockout.
type uncounted struct{}

func (uncounted) Locked() bool { return false }
func (uncounted) Succeeded()   {}
func (uncounted) Undecided()   {}
