package password

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/sallyport/sallyport/internal/isnil"
)

var (
	// ErrTooShort is returned by [Policy.Check] for a password of fewer characters
	// than [Policy].MinLength.
	ErrTooShort = errors.New("password: too short")

	// ErrBreached is returned by [Policy.Check] for a password that is known from
	// a breach.
	ErrBreached = errors.New("password: known from a breach")
)

// A Breached knows passwords that have been in a breach, or are among the most
// common ones. It must be safe for concurrent use.
type Breached interface {
	// Breached reports whether password is one of them. An error means that it
	// could not tell. It must not pass the password on; a service is asked for a
	// range of hashes, as the package's example does.
	Breached(ctx context.Context, password string) (bool, error)
}

// A Policy says which passwords may be chosen. It is for where one is set, before
// [Hasher.Hash], and not for logins: a password that was good enough once stays
// good for logging in.
//
// There are no rules on which characters a password must have, and none on how
// often it must be changed: neither makes passwords better (NIST SP 800-63B-4,
// section 3.1.1.2; ASVS 5.0, 6.2.5 and 6.2.10). What a Hasher can't store, such as
// the empty one, is for Hash to refuse.
//
// The zero Policy is ready for use. A Policy is safe for concurrent use.
type Policy struct {
	// MinLength is the least number of characters (code points). The default is
	// 15. The least is 8, for accounts with a second factor; a smaller one counts
	// as 8 (NIST SP 800-63B-4; ASVS 5.0, 6.2.1).
	MinLength int

	// Breached is asked about passwords that are long enough. Nil asks nobody; an
	// application that is to conform to ASVS 5.0, 6.2.4 and 6.2.12, sets it.
	Breached Breached
}

// Check returns nil if password may be chosen, [ErrTooShort] or [ErrBreached].
// Any other error means that Breached could not tell, or the context ended:
// whether to set the password anyway is the application's decision. No error
// contains the password.
func (p Policy) Check(ctx context.Context, password string) error {
	least := 15
	if p.MinLength != 0 {
		least = max(p.MinLength, 8)
	}
	if utf8.RuneCountInString(password) < least {
		return ErrTooShort
	}
	if isnil.Value(p.Breached) {
		return nil
	}
	breached, err := p.Breached.Breached(ctx, password)
	switch {
	case err != nil:
		return fmt.Errorf("password: can't tell whether it is known from a breach: %w", err)
	case breached:
		return ErrBreached
	}
	return nil
}
