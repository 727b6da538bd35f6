package sqlstore_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/auth/sqlstore"
	"github.com/sallyport/sallyport/internal/pgtest"
)

// checked checks that the error contains want, and that there is none if it is "".
func checked(t *testing.T, s *sqlstore.Store, what, want string) {
	t.Helper()
	switch err := s.Check(t.Context()); {
	case want == "" && err != nil:
		t.Errorf("%s: got %v, want no error", what, err)
	case want != "" && (err == nil || !strings.HasPrefix(err.Error(), "sqlstore: Check: ") || !strings.Contains(err.Error(), want)):
		t.Errorf("%s: got %v, want an error with %q", what, err, want)
	}
}

func TestCheckSQLite(t *testing.T) {
	for _, tt := range []struct {
		name    string
		pragmas []string
		want    string
	}{
		{"as the documentation says", []string{"busy_timeout(1000)", "journal_mode(WAL)", "synchronous(FULL)"}, ""},
		{"with more", []string{"busy_timeout(1000)", "journal_mode(WAL)", "synchronous(EXTRA)"}, ""},
		{"without waiting", []string{"journal_mode(WAL)", "synchronous(FULL)"}, "busy_timeout is 0"},
		{"with less", []string{"busy_timeout(1000)", "journal_mode(WAL)", "synchronous(NORMAL)"}, "synchronous is less than FULL"},
		{"without", []string{"busy_timeout(1000)", "journal_mode(WAL)", "synchronous(OFF)"}, "synchronous is less than FULL"},
		{"with a rollback journal", []string{"busy_timeout(1000)", "journal_mode(DELETE)", "synchronous(FULL)"}, "journal_mode of SQLite is delete, want WAL"},
	} {
		dsn := sqliteDSN(filepath.Join(t.TempDir(), "auth.db"), tt.pragmas...)
		checked(t, newStore(t, backend{dialect: sqlstore.SQLite, db: open(t, "sqlite", dsn), prefix: "sallyport_"}), tt.name, tt.want)
	}
}

func TestCheckPostgreSQL(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	db := func(dsn string) backend {
		return backend{dialect: sqlstore.PostgreSQL, db: open(t, "pgx", dsn), prefix: "sallyport_"}
	}
	b := db(server.DSN)
	s := newStore(t, b)
	checked(t, s, "at first", "")
	checked(t, unmigrated(t, db(server.DSN+"&synchronous_commit=off")), "asynchronous", "(synchronous_commit)")
	checked(t, unmigrated(t, db(server.DSN+"&synchronous_commit=local")), "without a standby", "")
	for setting, want := range map[string]string{"full_page_writes": "(fsync, full_page_writes)", "synchronous_commit": "(synchronous_commit)"} {
		server.Do("ALTER SYSTEM SET " + setting + " = off")
		server.Do("SELECT pg_reload_conf()")
		eventually(t, setting+" is off", func() bool { err := s.Check(t.Context()); return err != nil && strings.Contains(err.Error(), want) })
		server.Do("ALTER SYSTEM RESET " + setting)
		server.Do("SELECT pg_reload_conf()")
		eventually(t, setting+" is on", func() bool { return s.Check(t.Context()) == nil })
	}
	server.Do("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
	checked(t, unmigrated(t, db(strings.Replace(server.DSN, "/postgres?", "/latin?", 1))), "Latin 1", "encoding of the database is LATIN1, want UTF8")

	// What the README says a user needs is enough.
	server.Do("CREATE ROLE api LOGIN PASSWORD 'password'")
	server.Do("GRANT SELECT, INSERT, UPDATE, DELETE ON sallyport_users, sallyport_api_keys, sallyport_refresh_tokens, sallyport_revocations, sallyport_replays TO api; GRANT SELECT ON sallyport_migrations TO api")
	least := unmigrated(t, db("postgres://api:password@"+server.Addr+"/postgres?sslmode=disable"))
	checked(t, least, "with the least rights", "")
	works(t, least, "with the least rights")
	if err := least.Migrate(t.Context()); err != nil {
		t.Errorf("Migrate with the least rights, and nothing to do: %v", err)
	}
}
