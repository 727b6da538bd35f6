package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/apikey"
)

// Keys is an apikey.Manager in a database. A key whose owner has an account that is
// disabled, or was deleted, comes back as Disabled; an owner need not have one. It is
// safe for concurrent use.
type Keys struct {
	s *Store

	key, add, revoke, touch, list *statement
}

var _ apikey.Manager = (*Keys)(nil)

func newKeys(s *Store) *Keys {
	const columns = `SELECT k.id, k.prefix, k.subject, k.name, k.scopes, k.roles, k.networks, k.created, k.expires, k.revoked, k.last_used,
		k.disabled OR coalesce(u.disabled, false)`
	const tables = " FROM sallyport_api_keys k LEFT JOIN sallyport_users u ON u.subject = k.subject "
	return &Keys{
		s:   s,
		key: s.repeatable("Key", columns+", k.hash"+tables+"WHERE k.id = $1"),
		add: s.statement("Add", `INSERT INTO sallyport_api_keys (id, prefix, subject, name, scopes, roles, networks, created, expires, revoked,
			last_used, disabled, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT DO NOTHING`),
		revoke: s.repeatable("Revoke", `UPDATE sallyport_api_keys SET revoked = CASE WHEN revoked < $3 THEN revoked ELSE $3 END
			WHERE id = $1 AND subject = $2`),
		touch: s.repeatable("Touch", "UPDATE sallyport_api_keys SET last_used = $2 WHERE id = $1 AND (last_used IS NULL OR last_used < $2)"),
		list:  s.repeatable("List", columns+tables+"WHERE k.subject = $1"),
	}
}

// Key implements apikey.Store, in one round trip: with one read of an index for the
// key, and one for the account.
func (k *Keys) Key(ctx context.Context, id string) (apikey.Record, error) {
	if err := ctx.Err(); err != nil {
		return apikey.Record{}, err
	}
	if !isName(id) {
		return apikey.Record{}, auth.ErrNotFound
	}
	var row keyRow
	ok, err := k.s.find(ctx, k.key, append(row.dest(), &row.Hash), id)
	switch {
	case err != nil:
		return apikey.Record{}, err
	case !ok:
		return apikey.Record{}, auth.ErrNotFound
	}
	return row.record(), nil
}

// Add implements apikey.Manager. The error for an ID that is taken wraps [ErrTaken].
func (k *Keys) Add(ctx context.Context, r apikey.Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := r.Validate(); err != nil {
		return err
	}
	err := cmp.Or(
		checkNames(field{"Record.Subject", r.Subject}), checkTexts(field{"Record.Name", r.Name}, field{"Record.Hash", r.Hash}),
		checkTime("Record.Created", r.Created), checkTime("Record.Expires", r.Expires),
		checkTime("Record.Revoked", r.Revoked), checkTime("Record.LastUsed", r.LastUsed),
	)
	if err != nil {
		return err
	}
	networks := make([]string, len(r.Networks))
	for i, n := range r.Networks {
		networks[i] = n.String()
	}
	args := []any{r.ID, r.Prefix, r.Subject, r.Name}
	for _, l := range []struct {
		name  string
		names []string
	}{{"Record.Scopes", r.Scopes}, {"Record.Roles", r.Roles}, {"Record.Networks", networks}} {
		text, err := encodeList(l.name, l.names)
		if err != nil {
			return err
		}
		args = append(args, text)
	}
	at := k.s.dialect.time
	args = append(args, at(r.Created), at(r.Expires), at(r.Revoked), at(r.LastUsed), r.Disabled, r.Hash)
	n, err := k.s.exec(ctx, k.add, args...)
	if err == nil && n == 0 {
		return fmt.Errorf("sqlstore: Add: the ID: %w", ErrTaken)
	}
	return err
}

// Revoke implements apikey.Manager, in one statement. After an error the key may be
// revoked; a second call does no harm.
func (k *Keys) Revoke(ctx context.Context, subject, id string, at time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if at.IsZero() {
		at = time.Now()
	}
	if err := checkTime("the time", at); err != nil {
		return err
	}
	if !isName(id) || !isName(subject) {
		return auth.ErrNotFound
	}
	n, err := k.s.exec(ctx, k.revoke, id, subject, k.s.dialect.time(at))
	if err == nil && n == 0 {
		return auth.ErrNotFound
	}
	return err
}

// Touch implements apikey.Manager, in one statement. It returns nil if there is no
// such key.
func (k *Keys) Touch(ctx context.Context, id string, at time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkEnd("the time", at); err != nil {
		return err
	}
	if !isName(id) {
		return nil
	}
	_, err := k.s.exec(ctx, k.touch, id, k.s.dialect.time(at))
	return err
}

// List implements apikey.Manager. It returns all keys of the subject at once: bound
// how many a subject may have where you add them.
func (k *Keys) List(ctx context.Context, subject string) ([]apikey.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !isName(subject) {
		return nil, nil
	}
	var records []apikey.Record
	err := k.s.each(ctx, k.list, func() { records = nil }, func(rows *sql.Rows) error {
		var row keyRow
		if err := rows.Scan(row.dest()...); err != nil {
			return err
		}
		records = append(records, row.record())
		return nil
	}, subject)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(records, func(a, b apikey.Record) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return records, nil
}

// String tells nothing of the keys.
func (Keys) String() string { return "sqlstore.Keys" }

// Format writes String whatever the verb.
func (k Keys) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// A keyRow is a Record as it is read.
type keyRow struct {
	apikey.Record
	networks                           networks
	created, expires, revoked, touched instant
}

// dest is where the columns go, but for the hash.
func (r *keyRow) dest() []any {
	return []any{
		&r.ID, &r.Prefix, &r.Subject, &r.Name, (*list)(&r.Scopes), (*list)(&r.Roles), &r.networks,
		&r.created, &r.expires, &r.revoked, &r.touched, &r.Disabled,
	}
}

func (r *keyRow) record() apikey.Record {
	rec := r.Record
	rec.Networks = r.networks
	rec.Created, rec.Expires, rec.Revoked, rec.LastUsed = r.created.Time, r.expires.Time, r.revoked.Time, r.touched.Time
	return rec
}

// networks is a column with a list of networks. One that can't be read is an error:
// to leave it out could open the key to everywhere.
type networks []netip.Prefix

// Scan implements sql.Scanner.
func (n *networks) Scan(src any) error {
	var names list
	if err := names.Scan(src); err != nil {
		return err
	}
	*n = nil
	for _, name := range names {
		one, err := netip.ParsePrefix(name)
		if err != nil {
			return reason("a network is none")
		}
		*n = append(*n, one)
	}
	*n = slices.Clip(*n)
	return nil
}
