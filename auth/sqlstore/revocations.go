package sqlstore

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/sallyport/sallyport/auth"
)

// Revocations is an auth.Revocations in a database. What is there is kept under
// hashes, so that any name is itself alone. It is safe for concurrent use.
type Revocations struct {
	s *Store

	revoke, revoked *statement
}

var _ auth.Revocations = (*Revocations)(nil)

func newRevocations(s *Store) *Revocations {
	return &Revocations{
		s: s,
		revoke: s.repeatable("Revoke", `INSERT INTO sallyport_revocations AS r (hash, not_before, until) VALUES ($1, $2, $3)
			ON CONFLICT (hash) DO UPDATE SET
			not_before = CASE WHEN r.not_before > excluded.not_before THEN r.not_before ELSE excluded.not_before END,
			until = CASE WHEN r.until > excluded.until THEN r.until ELSE excluded.until END`),
		revoked: s.repeatable("Revoked", "SELECT not_before FROM sallyport_revocations WHERE hash IN ($1, $2, $3)"),
	}
}

// The kinds of what is kept, which are part of what is hashed.
const (
	kindToken   = 't'
	kindSession = 's'
	kindSubject = 'u'
	kindReplay  = 'r'
)

// digest is a hash over the lengths and bytes of the parts, so that no two different
// lists of them have one.
func digest(kind byte, parts ...string) []byte {
	b := []byte{kind}
	for _, part := range parts {
		b = binary.BigEndian.AppendUint64(b, uint64(len(part)))
		b = append(b, part...)
	}
	sum := sha256.Sum256(b)
	return sum[:]
}

// Revoke implements auth.Revocations: when it returns nil, the database has answered
// that it is committed. It returns an error if rev does not pass Check, and if it
// can't tell that it is committed; then it may be.
func (r *Revocations) Revoke(ctx context.Context, rev auth.Revocation) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := rev.Check(); err != nil {
		return err
	}
	until := ceil(rev.Until).Add(clockMargin)
	if !until.After(time.Now()) {
		return nil
	}
	var hash []byte
	var notBefore time.Time // NULL for tokens and sessions: whatever their time is
	switch {
	case rev.TokenID != "":
		hash = digest(kindToken, rev.Issuer, rev.TokenID)
	case rev.SessionID != "":
		hash = digest(kindSession, rev.Issuer, rev.SessionID)
	default:
		hash = digest(kindSubject, rev.Issuer, rev.Subject)
		notBefore = ceil(rev.NotBefore)
		if !notBefore.After(firstTime) {
			notBefore = firstTime.Add(time.Microsecond)
		}
	}
	at := r.s.dialect.time
	_, err := r.s.exec(ctx, r.revoke, hash, at(notBefore), at(until))
	return err
}

// Revoked implements auth.Revocations. It asks for the token, its session and its
// subject in one round trip, with one read of an index each.
func (r *Revocations) Revoked(ctx context.Context, t auth.TokenInfo) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if t.Issuer == "" {
		return false, nil
	}
	var hashes []any
	for _, one := range [...]struct {
		kind byte
		name string
	}{{kindToken, t.ID}, {kindSession, t.SessionID}, {kindSubject, t.Subject}} {
		if one.name != "" {
			hashes = append(hashes, digest(one.kind, t.Issuer, one.name))
		}
	}
	if len(hashes) == 0 {
		return false, nil
	}
	for len(hashes) < 3 { // one statement for all
		hashes = append(hashes, hashes[0])
	}
	revoked := false
	err := r.s.each(ctx, r.revoked, func() { revoked = false }, func(rows *sql.Rows) error {
		var notBefore instant
		if err := rows.Scan(&notBefore); err != nil {
			return err
		}
		if notBefore.IsZero() || t.IssuedAt.Before(notBefore.Time) {
			revoked = true
		}
		return nil
	}, hashes...)
	return revoked && err == nil, err
}

// String tells nothing of what was revoked.
func (Revocations) String() string { return "sqlstore.Revocations" }

// Format writes String whatever the verb.
func (r Revocations) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.String()) }
