package sqlstore_test

import (
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/sallyport/sallyport/auth/sqlstore"
	"github.com/sallyport/sallyport/internal/pgtest"
)

// patience is the Timeout of stores whose answers a test wants, however slow the
// machine is.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	if child(os.Getenv(childVariable)) {
		return
	}
	code := m.Run()
	for _, f := range shared.cleanups {
		f()
	}
	os.Exit(code)
}

// shared is the PostgreSQL that tests use which do it no harm. Each has tables of its
// own in it.
var shared struct {
	once     sync.Once
	server   *pgtest.Server
	db       *sql.DB
	cleanups []func()
	prefixes atomic.Int64
}

// keeper is the first test that needs what is shared, and leaves it to the others.
type keeper struct{ testing.TB }

func (keeper) Cleanup(f func()) { shared.cleanups = append([]func(){f}, shared.cleanups...) }

func sharedPostgreSQL(t testing.TB) *pgtest.Server {
	t.Helper()
	shared.once.Do(func() {
		server := pgtest.Start(keeper{t}, "max_connections=100")
		db, err := sql.Open("pgx", server.DSN)
		if err != nil {
			t.Fatal(err)
		}
		keeper{t}.Cleanup(func() { db.Close() })
		db.SetMaxOpenConns(24)
		db.SetMaxIdleConns(24)
		shared.server, shared.db = server, db
	})
	if shared.server == nil {
		t.Skip("there is no PostgreSQL")
	}
	return shared.server
}

// A backend is a database for tests.
type backend struct {
	dialect sqlstore.Dialect
	driver  string
	dsn     string
	db      *sql.DB
	prefix  string
}

func (b backend) config() sqlstore.Config {
	return sqlstore.Config{DB: b.db, Dialect: b.dialect, Prefix: b.prefix, Timeout: patience}
}

// table returns text with the names of the tables of b.
func (b backend) sql(text string) string { return strings.ReplaceAll(text, "sallyport_", b.prefix) }

func (b backend) exec(t testing.TB, text string) {
	t.Helper()
	if _, err := b.db.Exec(b.sql(text)); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

func (b backend) one(t testing.TB, text string) (s string) {
	t.Helper()
	if err := b.db.QueryRow(b.sql(text)).Scan(&s); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return s
}

// postgreSQL returns an empty part of the shared server.
func postgreSQL(t testing.TB) backend {
	server := sharedPostgreSQL(t)
	prefix := fmt.Sprintf("test%d_", shared.prefixes.Add(1))
	return backend{dialect: sqlstore.PostgreSQL, driver: "pgx", dsn: server.DSN, db: shared.db, prefix: prefix}
}

// sqlite returns a new database in a file.
func sqlite(t testing.TB) backend { return sqliteFile(t, filepath.Join(t.TempDir(), "auth.db")) }

func sqliteFile(t testing.TB, file string) backend {
	t.Helper()
	dsn := sqliteDSN(file, "busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)")
	return backend{dialect: sqlstore.SQLite, driver: "sqlite", dsn: dsn, db: open(t, "sqlite", dsn), prefix: "sallyport_"}
}

func sqliteDSN(file string, pragmas ...string) string {
	u := url.URL{Scheme: "file", Opaque: file, RawQuery: url.Values{"_pragma": pragmas}.Encode()}
	return u.String()
}

func open(t testing.TB, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16)
	return db
}

// each runs f for both databases.
func each(t *testing.T, f func(t *testing.T, b backend)) {
	t.Helper()
	for _, one := range []struct {
		name string
		open func(testing.TB) backend
	}{{"PostgreSQL", postgreSQL}, {"SQLite", sqlite}} {
		t.Run(one.name, func(t *testing.T) { f(t, one.open(t)) })
	}
}

// newStore returns a store on b, whose tables are there.
func newStore(t testing.TB, b backend, edit ...func(*sqlstore.Config)) *sqlstore.Store {
	t.Helper()
	s := unmigrated(t, b, edit...)
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func unmigrated(t testing.TB, b backend, edit ...func(*sqlstore.Config)) *sqlstore.Store {
	t.Helper()
	cfg := b.config()
	for _, f := range edit {
		f(&cfg)
	}
	s, err := sqlstore.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after %v it is not so that %s", patience, what)
		}
	}
}

// openOne is open with one connection.
func openOne(t testing.TB, driver, dsn string) *sql.DB {
	t.Helper()
	db := open(t, driver, dsn)
	db.SetMaxOpenConns(1)
	return db
}
