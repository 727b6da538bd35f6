package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

const (
	oldestPostgreSQL = 130000    // 13
	oldestSQLite     = 3_037_000 // 3.37, for STRICT tables
)

// Check asks the database whether the stores can rely on it, and returns an error
// that says what is wrong. Call it when the service starts, after Migrate, or to tell
// whether it is ready. Timeout bounds it.
//
// The tables must be of the version that this program knows. PostgreSQL must be 13 or
// later, take writes, be no replica, and have the encoding UTF8, fsync, full_page_writes, and
// synchronous_commit. SQLite must be 3.37 or later, with journal_mode WAL,
// synchronous FULL or EXTRA, and a busy_timeout; of the connections in the pool one
// is looked at.
func (s *Store) Check(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return failed(ctx, "Check", err)
	}
	defer conn.Close() //nolint:errcheck // back to the pool
	ask := s.checkPostgreSQL
	if s.dialect == SQLite {
		ask = s.checkSQLite
	}
	err = ask(ctx, conn)
	if err == nil {
		err = s.checkVersion(ctx, conn)
	}
	if err != nil {
		return failed(ctx, "Check", err)
	}
	return nil
}

func (s *Store) checkPostgreSQL(ctx context.Context, conn *sql.Conn) error {
	var version int
	var replica, readOnly bool
	var encoding, fsync, pages, commit string
	err := conn.QueryRowContext(ctx, `SELECT current_setting('server_version_num')::integer, pg_is_in_recovery(), current_setting('server_encoding'),
		current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'), current_setting('transaction_read_only')::boolean`).
		Scan(&version, &replica, &encoding, &fsync, &pages, &commit, &readOnly)
	switch {
	case err != nil:
		return err
	case version < oldestPostgreSQL:
		return reason(fmt.Sprintf("PostgreSQL is version %d, want %d or later", version/10_000, oldestPostgreSQL/10_000))
	case replica:
		return reason("PostgreSQL is a replica")
	case readOnly:
		return reason("PostgreSQL takes no writes (default_transaction_read_only)")
	case encoding != "UTF8":
		return reason(fmt.Sprintf("the encoding of the database is %.20s, want UTF8", encoding))
	case fsync != "on" || pages != "on":
		return reason("PostgreSQL can lose what is committed when the machine fails (fsync, full_page_writes)")
	case commit == "off":
		return reason("PostgreSQL answers before it has committed (synchronous_commit)")
	}
	return nil
}

func (s *Store) checkSQLite(ctx context.Context, conn *sql.Conn) error {
	if err := s.memory(ctx, conn); err != nil {
		return err
	}
	var text, journal, file string
	var synchronous, busy int
	var readOnly bool
	for _, q := range []struct {
		query string
		dest  any
	}{
		{"SELECT sqlite_version()", &text},
		{"PRAGMA journal_mode", &journal},
		{"PRAGMA synchronous", &synchronous},
		{"PRAGMA busy_timeout", &busy},
		{"PRAGMA query_only", &readOnly},
		{"SELECT file FROM pragma_database_list WHERE name = 'main'", &file},
	} {
		if err := conn.QueryRowContext(ctx, q.query).Scan(q.dest); err != nil {
			return err
		}
	}
	var major, minor, patch int
	if _, err := fmt.Sscanf(text, "%d.%d.%d", &major, &minor, &patch); err != nil {
		return reason("SQLite does not say which version it is")
	}
	switch {
	case major*1_000_000+minor*1_000+patch < oldestSQLite:
		return reason(fmt.Sprintf("SQLite is version %d.%d, want 3.37 or later", major, minor))
	case readOnly:
		return reason("SQLite takes no writes: query_only is set")
	case file == "":
		return nil // in memory, of one connection: there is nothing to lose, and nobody to wait for
	case journal != "wal":
		return reason(fmt.Sprintf("the journal_mode of SQLite is %.10s, want WAL", journal))
	case synchronous < 2:
		return reason("SQLite can lose what is committed when the machine fails: synchronous is less than FULL")
	case busy == 0:
		return reason("SQLite does not wait for another writer: busy_timeout is 0")
	}
	return nil
}

// memory returns an error if each connection has a database of its own.
func (s *Store) memory(ctx context.Context, on session) error {
	if s.dialect != SQLite || s.db.Stats().MaxOpenConnections == 1 {
		return nil
	}
	var file string
	err := on.QueryRowContext(ctx, "SELECT file FROM pragma_database_list WHERE name = 'main'").Scan(&file)
	if errors.Is(err, sql.ErrNoRows) {
		return reason("SQLite does not say where the database is")
	}
	if err == nil && file == "" {
		return reason("the database is in memory, one for each connection: call DB.SetMaxOpenConns(1)")
	}
	return err
}

func (s *Store) checkVersion(ctx context.Context, on session) error {
	all, err := s.migrations()
	if err != nil {
		return err
	}
	version, err := s.version(ctx, on)
	if err == nil && version < len(all) {
		err = reason(fmt.Sprintf("the tables are version %d, want %d: call Migrate", version, len(all)))
	}
	if err == nil {
		err = known(version, len(all))
	}
	return err
}
