package sqlstore

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/oauth"
)

// RefreshTokens is an oauth.RefreshStore in a database: one row for each login,
// whatever comes of it. It is safe for concurrent use.
type RefreshTokens struct {
	s *Store

	create, family, rotate, revokeKey, revokeSession, revokeSubject *statement
}

var _ oauth.RefreshStore = (*RefreshTokens)(nil)

// afterlife is for how long a family is kept that no token can be had by, as
// oauth.RefreshStore asks: its access tokens may still have to be revoked.
const afterlife = 25 * time.Hour

func newRefreshTokens(s *Store) *RefreshTokens {
	// The column ended is when nothing more can come of the family.
	const revoke = "UPDATE sallyport_refresh_tokens SET revoked = true, ended = CASE WHEN ended < $1 THEN ended ELSE $1 END WHERE NOT revoked AND "
	return &RefreshTokens{
		s: s,
		create: s.statement("Create", `INSERT INTO sallyport_refresh_tokens (id, session_id, issuer, client_id, subject, user_name, user_version,
			scopes, auth_time, ends, thumbprint, current_hash, previous_hash, rotated, retried, expires, revoked, ended)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18) ON CONFLICT DO NOTHING`),
		family: s.repeatable("Family", `SELECT id, session_id, issuer, client_id, subject, user_name, user_version,
			scopes, auth_time, ends, thumbprint, current_hash, previous_hash, rotated, retried, expires, revoked
			FROM sallyport_refresh_tokens WHERE id = $1`),
		// The one step by which a token is used. Of concurrent ones the second waits for
		// the first, looks again, and finds another hash.
		rotate: s.statement("Rotate", `UPDATE sallyport_refresh_tokens SET current_hash = $3, previous_hash = $4, rotated = $5, retried = $6,
			expires = $7, ended = CASE WHEN ends < $7 THEN ends ELSE $7 END
			WHERE id = $1 AND current_hash = $2 AND NOT revoked`),
		revokeKey:     s.statement("Revoke", revoke+"id = $2"),
		revokeSession: s.statement("Revoke", revoke+"issuer = $2 AND session_id = $3"),
		revokeSubject: s.statement("Revoke", revoke+"issuer = $2 AND subject = $3"),
	}
}

// Create implements oauth.RefreshStore. The error for a Key that is taken wraps
// [ErrTaken].
func (r *RefreshTokens) Create(ctx context.Context, f oauth.RefreshFamily) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := cmp.Or(
		checkNames(field{"RefreshFamily.Key", f.Key}, field{"RefreshFamily.SessionID", f.SessionID}, field{"RefreshFamily.Issuer", f.Issuer},
			field{"RefreshFamily.Subject", f.Subject}, field{"RefreshFamily.Current", f.Current}),
		checkTexts(field{"RefreshFamily.ClientID", f.ClientID}, field{"RefreshFamily.UserName", f.UserName},
			field{"RefreshFamily.Thumbprint", f.Thumbprint}, field{"RefreshFamily.Previous", f.Previous}),
		checkTime("RefreshFamily.AuthTime", f.AuthTime), checkTime("RefreshFamily.Rotated", f.Rotated),
		checkEnd("RefreshFamily.Ends", f.Ends), checkEnd("RefreshFamily.Expires", f.Expires),
	)
	if err != nil {
		return err
	}
	scopes, err := encodeList("RefreshFamily.Scopes", f.Scopes)
	if err != nil {
		return err
	}
	ended := earlier(f.Expires, f.Ends)
	if f.Revoked {
		ended = earlier(ended, time.Now())
	}
	at := r.s.dialect.time
	n, err := r.s.exec(ctx, r.create, f.Key, f.SessionID, f.Issuer, f.ClientID, f.Subject, f.UserName, f.UserVersion,
		scopes, at(f.AuthTime), at(f.Ends), f.Thumbprint, f.Current, f.Previous, at(f.Rotated), f.Retried, at(f.Expires), f.Revoked, at(ended))
	if err == nil && n == 0 {
		return fmt.Errorf("sqlstore: Create: the Key: %w", ErrTaken)
	}
	return err
}

// Family implements oauth.RefreshStore, with one read of an index. A family that
// nothing can come of is found until Cleanup removes it.
func (r *RefreshTokens) Family(ctx context.Context, key string) (oauth.RefreshFamily, error) {
	if err := ctx.Err(); err != nil {
		return oauth.RefreshFamily{}, err
	}
	if !isName(key) {
		return oauth.RefreshFamily{}, auth.ErrNotFound
	}
	var f oauth.RefreshFamily
	var authTime, ends, rotated, expires instant
	ok, err := r.s.find(ctx, r.family, []any{
		&f.Key, &f.SessionID, &f.Issuer, &f.ClientID, &f.Subject, &f.UserName, &f.UserVersion,
		(*list)(&f.Scopes), &authTime, &ends, &f.Thumbprint, &f.Current, &f.Previous, &rotated, &f.Retried, &expires, &f.Revoked,
	}, key)
	switch {
	case err != nil:
		return oauth.RefreshFamily{}, err
	case !ok:
		return oauth.RefreshFamily{}, auth.ErrNotFound
	}
	f.AuthTime, f.Ends, f.Rotated, f.Expires = authTime.Time, ends.Time, rotated.Time, expires.Time
	return f, nil
}

// Rotate implements oauth.RefreshStore, in one statement. After an error the token may
// have been used: Family tells, by its Current.
func (r *RefreshTokens) Rotate(ctx context.Context, key, ifCurrent string, to oauth.Rotation) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	err := cmp.Or(
		checkNames(field{"Rotation.Current", to.Current}),
		checkTexts(field{"Rotation.Previous", to.Previous}),
		checkTime("Rotation.Rotated", to.Rotated), checkEnd("Rotation.Expires", to.Expires),
	)
	if err != nil {
		return false, err
	}
	if !isName(key) || !isName(ifCurrent) {
		return false, nil
	}
	at := r.s.dialect.time
	n, err := r.s.exec(ctx, r.rotate, key, ifCurrent, to.Current, to.Previous, at(to.Rotated), to.Retried, at(to.Expires))
	return n == 1, err
}

// Revoke implements oauth.RefreshStore, in one statement. After an error it is not
// known how many were revoked; they stay so when it is called again.
func (r *RefreshTokens) Revoke(ctx context.Context, which oauth.RefreshSelector) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := which.Check(); err != nil {
		return 0, err
	}
	st, args := r.revokeKey, []string{which.Key}
	switch {
	case which.SessionID != "":
		st, args = r.revokeSession, []string{which.Issuer, which.SessionID}
	case which.Subject != "":
		st, args = r.revokeSubject, []string{which.Issuer, which.Subject}
	}
	all := []any{r.s.dialect.time(time.Now())}
	for _, name := range args {
		if !isName(name) {
			return 0, nil
		}
		all = append(all, name)
	}
	n, err := r.s.exec(ctx, st, all...)
	return int(n), err
}

// String tells nothing of the tokens.
func (RefreshTokens) String() string { return "sqlstore.RefreshTokens" }

// Format writes String whatever the verb.
func (r RefreshTokens) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.String()) }

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
