package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
)

// A User is an account that logs in with a name and a password.
type User struct {
	Subject      string   `json:"subject"`          // the account's stable id, never reused
	Name         string   `json:"name"`             // what is typed to log in
	PasswordHash string   `json:"-"`                // as package password makes it; empty: no login by password
	Version      int64    `json:"version"`          // counts the changes of PasswordHash
	Disabled     bool     `json:"disabled"`         // may not log in
	Roles        []string `json:"roles,omitempty"`  // what the account is
	Scopes       []string `json:"scopes,omitempty"` // what it may be granted
}

// String returns the subject alone.
func (u User) String() string { return "auth.User(" + u.Subject + ")" }

// GoString is String.
func (u User) GoString() string { return u.String() }

// Format writes String whatever the verb, so that no hash gets into a log.
func (u User) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, u.String()) }

// Users is a store of accounts. One serves auth/basic and auth/oauth. It must be
// safe for concurrent use.
type Users interface {
	// User returns the account with this name. It returns an error that wraps
	// ErrNotFound if there is none; any other error means that the store could
	// not tell, and makes the answer 503. The slices of the User belong to the
	// caller.
	User(ctx context.Context, name string) (User, error)

	// SetPasswordHash replaces the hash of the account with this subject and
	// counts up its version, but only if its version still is ifVersion: in one
	// atomic step, so that an upgrade of an old hash never undoes a change of the
	// password. If the version is another, it does nothing and returns nil. It
	// returns an error that wraps ErrNotFound, or nil, if there is no such subject.
	SetPasswordHash(ctx context.Context, subject, hash string, ifVersion int64) error
}

// ReadOnlyUsers are [Users] that keep no new hashes, such as a file that others
// write. No new hash is computed for them, and SetPasswordHash is not called.
type ReadOnlyUsers interface {
	Users
	ReadOnly()
}

// A Lockout remembers failed logins and says when to stop trying. Basic, the
// token endpoint and API keys can share one. It must be safe for concurrent use.
type Lockout interface {
	// Attempt counts an attempt on account from addr, before the credentials are
	// checked, so that concurrent guesses are counted too. account is the subject
	// of a known account, "name:" and what was typed where there is none, or
	// "key:" and the id of an API key. An error means that it could not tell.
	//
	// A Lockout that has AttemptSent(ctx, account, sent, addr) too is asked by that
	// instead: sent is "name:" or "key:" and what the client sent, whoever it is. So a
	// type that embeds such a Lockout, to change what an attempt is, must have both
	// methods of its own: with Attempt alone it is never asked. One that has Told(ctx,
	// sent, addr) (time.Duration, error) is asked by that before, and nothing else if
	// it returns a wait: such a type must have that too.
	Attempt(ctx context.Context, account string, addr netip.Addr) (Attempt, error)
}

// An Attempt is one that a [Lockout] counted. If it is locked, and has a method
// RetryAfter() time.Duration that returns more than 0, the answer is 429 at once,
// and nothing is checked: that must not depend on whether there is such an account.
type Attempt interface {
	// Locked reports whether the attempt must fail whatever the credentials are.
	Locked() bool
	// Succeeded tells that the credentials were right.
	Succeeded()
	// Undecided gives the count back: the credentials could not be checked.
	Undecided()
}

// MemoryUsers is a store of accounts in memory. It is safe for concurrent use.
type MemoryUsers struct {
	mu      sync.RWMutex
	byName  map[string]User
	subject map[string]string // the name of each subject
}

// NewMemoryUsers returns a store that holds users. It returns an error if one
// has no Subject or no Name, or has that of another.
func NewMemoryUsers(users ...User) (*MemoryUsers, error) {
	m := &MemoryUsers{byName: make(map[string]User), subject: make(map[string]string)}
	for i, u := range users {
		if err := m.add(u); err != nil {
			return nil, fmt.Errorf("auth: user %d: %w", i, err)
		}
	}
	return m, nil
}

// String tells nothing of the accounts.
func (m *MemoryUsers) String() string { return "auth.MemoryUsers" }

// Format writes String whatever the verb, so that no hash gets into a log.
func (m *MemoryUsers) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, m.String()) }

func (m *MemoryUsers) add(u User) error {
	switch {
	case u.Subject == "":
		return errors.New("the Subject is empty")
	case u.Name == "":
		return errors.New("the Name is empty")
	}
	if _, ok := m.byName[u.Name]; ok {
		return errors.New("the Name is taken")
	}
	if _, ok := m.subject[u.Subject]; ok {
		return errors.New("the Subject is taken")
	}
	m.byName[u.Name] = u.clone()
	m.subject[u.Subject] = u.Name
	return nil
}

// User returns the account with this name, or ErrNotFound.
func (m *MemoryUsers) User(ctx context.Context, name string) (User, error) {
	if err := ctx.Err(); err != nil {
		return User{}, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	u, ok := m.byName[name]
	if !ok {
		return User{}, ErrNotFound
	}
	return u.clone(), nil
}

// SetPasswordHash replaces a hash as [Users] asks. It returns ErrNotFound if
// there is no such subject.
func (m *MemoryUsers) SetPasswordHash(ctx context.Context, subject, hash string, ifVersion int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	name, ok := m.subject[subject]
	if !ok {
		return ErrNotFound
	}
	u := m.byName[name]
	if u.Version == ifVersion {
		u.PasswordHash = hash
		u.Version++
		m.byName[name] = u
	}
	return nil
}

func (u User) clone() User {
	u.Roles = slices.Clip(slices.Clone(u.Roles))
	u.Scopes = slices.Clip(slices.Clone(u.Scopes))
	return u
}
