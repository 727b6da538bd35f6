package sqlstore

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"database/sql/driver"
	"embed"
	"encoding/binary"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// The migrations of each dialect, in the order of their names. The n-th makes version
// n out of version n-1. One that was released never changes.
//
//go:embed migrations
var migrations embed.FS

// migrations returns the statements of each migration.
func (s *Store) migrations() ([][]string, error) {
	dir := path.Join("migrations", s.dialect.pick("postgresql", "sqlite"))
	files, err := fs.ReadDir(migrations, dir) // sorted
	if err != nil {
		return nil, err
	}
	all := make([][]string, len(files))
	for i, file := range files {
		text, err := fs.ReadFile(migrations, path.Join(dir, file.Name()))
		if err != nil {
			return nil, err
		}
		for _, one := range strings.SplitAfter(string(text), ";\n") {
			if strings.TrimSpace(one) != "" {
				all[i] = append(all[i], s.text(one))
			}
		}
	}
	return all, nil
}

// Migrate makes the tables, or brings them to the version that this program knows.
// Each version is one transaction: whatever ends Migrate, the next one goes on from
// where it was. Several processes may call it at once, of which one works and the
// others wait. It does nothing if there is nothing to do, and returns an error, and
// changes nothing, if the tables are newer than the program. Only ctx bounds it.
//
// The user of the database needs the right to create tables when there is something
// to do.
func (s *Store) Migrate(ctx context.Context) error {
	all, err := s.migrations()
	if err != nil {
		return failed(ctx, "Migrate", err)
	}
	if err := s.memory(ctx, s.db); err != nil {
		return failed(ctx, "Migrate", err)
	}
	version, err := s.version(ctx, s.db)
	for i := 1; err == nil && version < len(all); i++ {
		version, err = s.step(ctx, all)
		if err != nil && undone(err) && rest(ctx, i) {
			err = nil // as often as ctx allows: another one works
		}
	}
	if err == nil {
		err = known(version, len(all))
	}
	if err != nil {
		return failed(ctx, "Migrate", err)
	}
	return nil
}

// known returns an error for a version that is newer than the latest.
func known(version, latest int) error {
	if version > latest {
		return reason(fmt.Sprintf("the tables are version %d, newer than the program, which knows %d", version, latest))
	}
	return nil
}

// A session is what statements run on: all, one connection, or a transaction.
type session interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// version returns the version of the tables, 0 if there are none. Tables behind another
// schema of PostgreSQL's search_path would be made again, empty, in front of them.
func (s *Store) version(ctx context.Context, on session) (int, error) {
	var where int // 0: nowhere, 1: where it belongs, 2: elsewhere
	err := on.QueryRowContext(ctx, s.text(s.dialect.pick(
		"SELECT coalesce((SELECT CASE WHEN relnamespace = current_schema()::regnamespace THEN 1 ELSE 2 END FROM pg_class WHERE oid = to_regclass($1)), 0)",
		"SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = $1",
	)), s.prefix+"migrations").Scan(&where)
	switch {
	case err != nil || where == 0:
		return 0, err
	case where == 2:
		return 0, reason("the tables are not in the first schema of the search_path")
	}
	var version, n int
	err = on.QueryRowContext(ctx, s.text("SELECT coalesce(max(version), 0), count(*) FROM sallyport_migrations")).Scan(&version, &n)
	if err == nil && version != n {
		err = reason(fmt.Sprintf("the tables are version %d, of which %d steps are recorded", version, n))
	}
	return version, err
}

// step makes the next version, alone, if there is one to make, and returns which there
// is now.
func (s *Store) step(ctx context.Context, all [][]string) (version int, err error) {
	err = s.alone(ctx, func(on session) error {
		_, err := on.ExecContext(ctx, s.text("CREATE TABLE IF NOT EXISTS sallyport_migrations (version integer NOT NULL PRIMARY KEY)"))
		if err != nil {
			return err
		}
		version, err = s.version(ctx, on) // again: another may have worked since
		if err != nil || version >= len(all) {
			return err
		}
		for _, text := range all[version] {
			if _, err := on.ExecContext(ctx, text); err != nil {
				return err
			}
		}
		version++
		_, err = on.ExecContext(ctx, s.text("INSERT INTO sallyport_migrations (version) VALUES ($1)"), version)
		return err
	})
	if err != nil {
		return 0, err // what was counted up may be undone
	}
	return version, nil
}

// alone calls f in a transaction that no other Migrate is in.
func (s *Store) alone(ctx context.Context, f func(session) error) error {
	if s.dialect == SQLite {
		return s.immediate(ctx, f)
	}
	// What is read after the lock must be what is there then, whatever the default is.
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // it does nothing after Commit
	sum := sha256.Sum256([]byte("sallyport/sqlstore:" + s.prefix))
	lock := int64(binary.BigEndian.Uint64(sum[:])) //nolint:gosec // any number
	if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", lock); err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// immediate is alone for SQLite, whose transactions otherwise begin as readers, and
// may find that another has written since.
func (s *Store) immediate(ctx context.Context, f func(session) error) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()                                //nolint:errcheck // back to the pool
	_, err = conn.ExecContext(ctx, "BEGIN IMMEDIATE") // after an error it may have begun
	if err == nil {
		err = f(conn)
	}
	if err == nil {
		_, err = conn.ExecContext(ctx, "COMMIT")
	}
	if err != nil {
		_, undo := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		if undo != nil { // nobody must get a connection that is in a transaction
			_ = conn.Raw(func(any) error { return driver.ErrBadConn })
		}
	}
	return err
}
