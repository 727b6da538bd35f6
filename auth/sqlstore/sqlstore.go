// Package sqlstore keeps accounts, API keys, refresh tokens, revocations and replays
// in PostgreSQL or SQLite, by database/sql: auth.Users, apikey.Manager,
// oauth.RefreshStore, auth.Revocations and auth.Replays.
//
//	db, err := sql.Open("pgx", dsn) // import _ "github.com/jackc/pgx/v5/stdlib"
//	store, err := sqlstore.New(sqlstore.Config{DB: db, Dialect: sqlstore.PostgreSQL})
//	err = store.Migrate(ctx)
//	err = store.Check(ctx)
//	users, keys := store.Users(), store.Keys()
//
// It imports no driver. It is tested with pgx (github.com/jackc/pgx/v5/stdlib) on
// PostgreSQL and modernc.org/sqlite on SQLite.
//
// # What is in the database
//
// Tables whose names begin with Config.Prefix. Of passwords, keys and tokens there
// are only the hashes that the interfaces hand over; revocations and replays have
// hashes for names. Lists are JSON arrays, and times are timestamptz in PostgreSQL
// and microseconds since 1970 in SQLite.
//
// Names are compared byte by byte, in any collation of the database: "Ada" and "ada"
// are two accounts. A service that wants one must fold the case itself, both where
// it adds an account and where it looks one up. A name that PostgreSQL can't hold
// (one that is not UTF-8, has a NUL, or is longer than 1,024 bytes) is refused where
// it would be stored, and is found nowhere.
//
// # What PostgreSQL must do
//
// It must be version 13 or later, encode in UTF8, be no replica, and write to the disk
// before it answers (fsync and synchronous_commit). [Store.Check] tells. A lookup is
// one round trip once its statement is prepared on the connection. PgBouncer needs
// max_prepared_statements (1.21) where it pools transactions. pgx pings a connection
// that was idle for a second before it uses it.
//
// # What SQLite must do
//
// It must be version 3.37 or later. Pragmas belong to a connection, so they go into
// the name of the database:
//
//	file:/var/lib/api/auth.db?_pragma=busy_timeout(1000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)
//
// Without WAL readers and the writer exclude each other; without synchronous=FULL a
// power failure can take back what was answered; without busy_timeout concurrent
// writers fail. [Store.Check] tells, of one connection. A database in memory
// (":memory:") is one for each connection, so it is refused unless
// DB.SetMaxOpenConns(1) was called. One process at a time writes: for several machines
// take PostgreSQL.
//
// # What is undecided
//
// A call whose outcome is not known (the connection was lost, the time was up) is an
// error that is not auth.ErrNotFound, which makes the answer 503; what it wrote may be
// there. What the database has certainly undone (a serialization failure, a deadlock,
// SQLITE_BUSY) is tried again, a bounded number of times after random pauses, within
// Timeout. So are lookups, and changes that do no more when they are done twice, when
// the connection was lost. No error has a text of the driver, which might show a
// value: it has the SQLSTATE, the code of SQLite or of the operating system.
package sqlstore

import (
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"
)

// Config says where a Store keeps what it knows. DB and Dialect have no default.
type Config struct {
	// DB is the database. It belongs to the caller, who bounds its connections
	// (SetMaxOpenConns), and closes it after the Store.
	DB *sql.DB

	// Dialect is what DB speaks: PostgreSQL or SQLite.
	Dialect Dialect

	// Prefix begins the names of the tables and indexes: "sallyport_" if it is empty.
	// It is 1 to 32 lower-case letters, digits and underscores, and begins with a
	// letter. In PostgreSQL the tables are in the first schema of the search_path.
	Prefix string

	// Timeout bounds each call, retries included: 1 s if it is 0. What takes longer is
	// an error. It does not bound Migrate, and bounds each batch of Cleanup.
	Timeout time.Duration
}

// String tells nothing of the database, whose DB may show a password.
func (Config) String() string { return "sqlstore.Config" }

// Format writes String whatever the verb.
func (c Config) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

const (
	defaultPrefix  = "sallyport_" // which the texts of all statements have
	longestPrefix  = 32           // of the 63 bytes of a name in PostgreSQL
	defaultTimeout = time.Second
	clockMargin    = time.Minute // by which the clocks of machines may differ
)

// ErrTaken is wrapped by the error for a subject or a name, an id or a key that is
// taken.
var ErrTaken = errors.New("sqlstore: it is taken")

// A Store is the stores that one database has. It has no goroutine, and is safe for
// concurrent use.
type Store struct {
	db      *sql.DB
	dialect Dialect
	prefix  string
	timeout time.Duration

	closed     atomic.Bool
	statements []*statement // all of those below

	users       *Users
	keys        *Keys
	refresh     *RefreshTokens
	revocations *Revocations
	replays     *Replays
	cleanups    []*statement
}

// New returns a Store. It sends nothing: with a database that is down, or has no
// tables yet, the calls fail. It returns an error that names the field if cfg can't
// work.
func New(cfg Config) (*Store, error) {
	s := &Store{db: cfg.DB, dialect: cfg.Dialect, prefix: cfg.Prefix, timeout: cfg.Timeout}
	if s.prefix == "" {
		s.prefix = defaultPrefix
	}
	if s.timeout == 0 {
		s.timeout = defaultTimeout
	}
	switch {
	case s.db == nil:
		return nil, errors.New("sqlstore: Config.DB is nil")
	case s.dialect == 0:
		return nil, errors.New("sqlstore: Config.Dialect is not set")
	case s.dialect != PostgreSQL && s.dialect != SQLite:
		return nil, fmt.Errorf("sqlstore: Config.Dialect is %d, want PostgreSQL or SQLite", s.dialect)
	case !isPrefix(s.prefix):
		return nil, fmt.Errorf("sqlstore: Config.Prefix must be a letter and up to %d more of a-z, 0-9 and _", longestPrefix-1)
	case s.dialect == SQLite && strings.HasPrefix(s.prefix, "sqlite_"):
		return nil, errors.New("sqlstore: Config.Prefix must not begin with sqlite_, which SQLite keeps for itself")
	case s.timeout < time.Millisecond:
		return nil, errors.New("sqlstore: Config.Timeout is less than a millisecond")
	}
	s.users = newUsers(s)
	s.keys = newKeys(s)
	s.refresh = newRefreshTokens(s)
	s.revocations = newRevocations(s)
	s.replays = newReplays(s)
	s.cleanups = newCleanups(s)
	return s, nil
}

// Users returns the store of accounts.
func (s *Store) Users() *Users { return s.users }

// Keys returns the store of API keys.
func (s *Store) Keys() *Keys { return s.keys }

// RefreshTokens returns the store of refresh tokens.
func (s *Store) RefreshTokens() *RefreshTokens { return s.refresh }

// Revocations returns the store of revocations.
func (s *Store) Revocations() *Revocations { return s.revocations }

// Replays returns the store of what may be used only once.
func (s *Store) Replays() *Replays { return s.replays }

// Close releases the prepared statements. It waits for calls that are under way, and
// makes later ones fail. It does not close the DB. The error is that of the driver,
// and needs no answer; a second Close does nothing.
func (s *Store) Close() error {
	s.closed.Store(true)
	var errs []error
	for _, st := range s.statements {
		errs = append(errs, st.close())
	}
	return errors.Join(errs...)
}

// String tells nothing of the database.
func (s *Store) String() string { return "sqlstore.Store" }

// Format writes String whatever the verb.
func (s *Store) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

func isPrefix(s string) bool {
	for i := range len(s) {
		c := s[i]
		if letter := c >= 'a' && c <= 'z'; !letter && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return s != "" && len(s) <= longestPrefix
}

// text is a statement as the database of s takes it. It is written for PostgreSQL
// and the default prefix.
func (s *Store) text(text string) string {
	text = strings.ReplaceAll(text, defaultPrefix, s.prefix)
	if s.dialect == SQLite {
		text = strings.ReplaceAll(text, "$", "?") // $1 would be a name there
	}
	return text
}
