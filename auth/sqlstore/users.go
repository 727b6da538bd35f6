package sqlstore

import (
	"context"
	"fmt"
	"io"

	"github.com/sallyport/sallyport/auth"
)

// Users is an auth.Users in a database, with what a service needs to keep accounts.
// Names and subjects are compared byte by byte. It is safe for concurrent use.
type Users struct {
	s *Store

	byName, bySubject, add, upgrade, password, disable, roles, scopes, remove *statement
}

var _ auth.Users = (*Users)(nil)

func newUsers(s *Store) *Users {
	// The name of a deleted account is NULL, which is equal to nothing.
	const columns = "SELECT subject, name, password_hash, version, disabled, roles, scopes FROM sallyport_users "
	return &Users{
		s:         s,
		byName:    s.repeatable("User", columns+"WHERE name = $1"),
		bySubject: s.repeatable("BySubject", columns+"WHERE subject = $1 AND name IS NOT NULL"),
		add: s.statement("Add", `INSERT INTO sallyport_users (subject, name, password_hash, version, disabled, roles, scopes)
			VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`),
		upgrade: s.statement("SetPasswordHash", `UPDATE sallyport_users SET password_hash = $2, version = version + 1
			WHERE subject = $1 AND version = $3 AND name IS NOT NULL`),
		password: s.statement("SetPassword", `UPDATE sallyport_users SET password_hash = $2, version = version + 1
			WHERE subject = $1 AND name IS NOT NULL`),
		disable: s.statement("SetDisabled", "UPDATE sallyport_users SET disabled = $2 WHERE subject = $1 AND name IS NOT NULL"),
		roles:   s.statement("SetRoles", "UPDATE sallyport_users SET roles = $2 WHERE subject = $1 AND name IS NOT NULL"),
		scopes:  s.statement("SetScopes", "UPDATE sallyport_users SET scopes = $2 WHERE subject = $1 AND name IS NOT NULL"),
		remove: s.statement("Delete", `UPDATE sallyport_users SET name = NULL, password_hash = '', version = version + 1,
			disabled = true, roles = '[]', scopes = '[]' WHERE subject = $1 AND name IS NOT NULL`),
	}
}

// User implements auth.Users, with one read of an index.
func (u *Users) User(ctx context.Context, name string) (auth.User, error) {
	return u.find(ctx, u.byName, name)
}

// BySubject is User by the account's subject.
func (u *Users) BySubject(ctx context.Context, subject string) (auth.User, error) {
	return u.find(ctx, u.bySubject, subject)
}

func (u *Users) find(ctx context.Context, st *statement, name string) (auth.User, error) {
	if err := ctx.Err(); err != nil {
		return auth.User{}, err
	}
	if !isName(name) {
		return auth.User{}, auth.ErrNotFound
	}
	var found auth.User
	ok, err := u.s.find(ctx, st, []any{
		&found.Subject, &found.Name, &found.PasswordHash, &found.Version, &found.Disabled, (*list)(&found.Roles), (*list)(&found.Scopes),
	}, name)
	switch {
	case err != nil:
		return auth.User{}, err
	case !ok:
		return auth.User{}, auth.ErrNotFound
	}
	return found, nil
}

// SetPasswordHash implements auth.Users, in one statement. It returns nil if there is
// no such subject.
func (u *Users) SetPasswordHash(ctx context.Context, subject, hash string, ifVersion int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkTexts(field{"the hash", hash}); err != nil {
		return err
	}
	if !isName(subject) {
		return nil
	}
	_, err := u.s.exec(ctx, u.upgrade, subject, hash, ifVersion)
	return err
}

// Add stores an account. It returns an error that wraps [ErrTaken] if there is, or
// was, one of this Subject, or is one of this Name, and another error if one of both
// is empty or something can't be stored. After an error that does not tell, look with
// BySubject whether the account is there.
func (u *Users) Add(ctx context.Context, user auth.User) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkNames(field{"User.Subject", user.Subject}, field{"User.Name", user.Name}); err != nil {
		return err
	}
	if err := checkTexts(field{"User.PasswordHash", user.PasswordHash}); err != nil {
		return err
	}
	roles, err := encodeList("User.Roles", user.Roles)
	if err != nil {
		return err
	}
	scopes, err := encodeList("User.Scopes", user.Scopes)
	if err != nil {
		return err
	}
	n, err := u.s.exec(ctx, u.add, user.Subject, user.Name, user.PasswordHash, user.Version, user.Disabled, roles, scopes)
	if err == nil && n == 0 {
		return fmt.Errorf("sqlstore: Add: the Subject or the Name: %w", ErrTaken)
	}
	return err
}

// SetPassword replaces the hash of the account with this subject and counts up its
// version, which ends its refresh tokens. Access tokens and API keys are another
// matter. It returns an error that wraps auth.ErrNotFound if there is no such
// subject. hash is as package password makes it; empty means no login by password.
func (u *Users) SetPassword(ctx context.Context, subject, hash string) error {
	if err := checkTexts(field{"the hash", hash}); err != nil {
		return err
	}
	return u.change(ctx, u.password, subject, hash)
}

// SetDisabled says whether the account with this subject may not log in. One that
// may not gets nothing for its refresh tokens, and its API keys are refused, until
// it may again. It returns an error that wraps auth.ErrNotFound if there is no such
// subject.
func (u *Users) SetDisabled(ctx context.Context, subject string, disabled bool) error {
	return u.change(ctx, u.disable, subject, disabled)
}

// SetRoles replaces the roles of the account with this subject. It returns an error
// that wraps auth.ErrNotFound if there is no such subject.
func (u *Users) SetRoles(ctx context.Context, subject string, roles []string) error {
	text, err := encodeList("roles", roles)
	if err != nil {
		return err
	}
	return u.change(ctx, u.roles, subject, text)
}

// SetScopes replaces the scopes of the account with this subject. It returns an error
// that wraps auth.ErrNotFound if there is no such subject.
func (u *Users) SetScopes(ctx context.Context, subject string, scopes []string) error {
	text, err := encodeList("scopes", scopes)
	if err != nil {
		return err
	}
	return u.change(ctx, u.scopes, subject, text)
}

// Delete removes all of the account with this subject but the subject, which is never
// given to another, so that nothing of this account becomes that of the next: its API
// keys are refused for good, and its refresh tokens find no account. Its name is free.
// Delete returns an error that wraps auth.ErrNotFound if there is no such subject; a
// second call, after an error that does not tell, may be told so too.
func (u *Users) Delete(ctx context.Context, subject string) error {
	return u.change(ctx, u.remove, subject)
}

// change runs a statement on one account.
func (u *Users) change(ctx context.Context, st *statement, subject string, args ...any) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !isName(subject) {
		return auth.ErrNotFound
	}
	n, err := u.s.exec(ctx, st, append([]any{subject}, args...)...)
	if err == nil && n == 0 {
		return auth.ErrNotFound
	}
	return err
}

// String tells nothing of the accounts.
func (Users) String() string { return "sqlstore.Users" }

// Format writes String whatever the verb.
func (u Users) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, u.String()) }
