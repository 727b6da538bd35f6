package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/oauth"
	"github.com/sallyport/sallyport/auth/sqlstore"
	"github.com/sallyport/sallyport/internal/conformance"
	"github.com/sallyport/sallyport/internal/pgtest"
)

// undecided checks that each call is an error that means 503, comes before the test
// loses patience, and shows nothing.
func undecided(t *testing.T, s *sqlstore.Store, what string) {
	t.Helper()
	for name, call := range calls(s) {
		start := time.Now()
		err := call(t.Context())
		shows(t, what+": "+name, err)
		if d := time.Since(start); d > patience/2 {
			t.Errorf("%s: %s: it took %v", what, name, d)
		}
	}
}

// shows checks that err is one that means 503, and shows nothing.
func shows(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: got no error", what)
		return
	}
	for _, verdict := range []error{auth.ErrInvalid, auth.ErrNoCredentials, auth.ErrNotFound, sqlstore.ErrTaken} {
		if errors.Is(err, verdict) {
			t.Errorf("%s: got %v, which is a verdict", what, err)
		}
	}
	for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
		for _, secret := range []string{canary, "ca7a", "postgres", "127.0.0.1", "app", ".db", "INSERT", "SELECT", "UPDATE"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s: %q shows %q", what, text, secret)
			}
		}
	}
	if !strings.HasPrefix(err.Error(), "sqlstore: ") && !errors.Is(err, context.Canceled) {
		t.Errorf("%s: got the text %q", what, err)
	}
}

func TestDown(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	b := backend{dialect: sqlstore.PostgreSQL, driver: "pgx", dsn: server.DSN, db: open(t, "pgx", server.DSN), prefix: "sallyport_"}
	quick := func(c *sqlstore.Config) { c.Timeout = 60 * time.Millisecond }
	server.Stop()
	start := time.Now()
	_, err := unmigrated(t, b, func(c *sqlstore.Config) { c.Timeout = 0 }).Users().User(t.Context(), canary)
	shows(t, "User with the default Timeout", err)
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("User with the default Timeout of 1 s took %v", d)
	}
	undecided(t, unmigrated(t, b, quick), "down at the start")
	shows(t, "Migrate", unmigrated(t, b).Migrate(t.Context()))
	shows(t, "Check", unmigrated(t, b).Check(t.Context()))
	server.Restart()
	s := newStore(t, b)
	works(t, s, "when it is up")
	server.Stop()
	undecided(t, unmigrated(t, b, quick), "down")
	server.Restart()
	works(t, s, "when it is up again")
	server.Do("DROP TABLE sallyport_users; CREATE TABLE sallyport_users (name text)")
	_, err = s.Users().User(t.Context(), "x")
	shows(t, "a table that is another", err)
}

// A wrong password is no text that shows anything, and neither is a host that is not.
func TestCannotConnect(t *testing.T) {
	b := postgreSQL(t)
	u, _ := url.Parse(b.dsn)
	u.User = url.UserPassword("app", canary)
	for name, dsn := range map[string]string{
		"a wrong password":  u.String(),
		"no such server":    "postgres://app:" + canary + "@127.0.0.1:1/postgres?sslmode=disable",
		"no such database":  strings.Replace(b.dsn, "/postgres?", "/"+canary+"?", 1),
		"a text that is no": "postgres://app:" + canary + "@127.0.0.1:port/",
	} {
		own := b
		own.db = open(t, "pgx", dsn)
		s := unmigrated(t, own)
		for _, call := range []string{"User", "Rotate"} {
			shows(t, name+": "+call, calls(s)[call](t.Context()))
		}
	}
}

// A database that does not answer holds no call up for longer than Timeout.
func TestSlow(t *testing.T) {
	short := func(c *sqlstore.Config) { c.Timeout = 30 * time.Millisecond }
	t.Run("PostgreSQL", func(t *testing.T) {
		b := postgreSQL(t)
		s := newStore(t, b)
		tx, err := b.db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		if _, err := tx.Exec(b.sql("LOCK TABLE sallyport_users, sallyport_api_keys, sallyport_refresh_tokens, sallyport_revocations, sallyport_replays")); err != nil {
			t.Fatal(err)
		}
		blocked := unmigrated(t, b, short)
		for name, call := range calls(blocked) {
			start := time.Now()
			err := call(t.Context())
			shows(t, name, err)
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > patience/2 {
				t.Errorf("%s: got %v after %v, want the error of a deadline", name, err, time.Since(start))
			}
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		works(t, s, "when the lock is gone")
	})
	t.Run("SQLite", func(t *testing.T) {
		b := sqlite(t)
		s := newStore(t, b)
		works(t, s, "at first")
		conn, err := b.db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
			t.Fatal(err)
		}
		blocked := unmigrated(t, b, short)
		for name, call := range calls(blocked) {
			start := time.Now()
			err := call(t.Context())
			switch name {
			case "User", "BySubject", "Key", "List", "Family", "Revoked": // readers wait for nobody
				continue
			}
			shows(t, name, err)
			if time.Since(start) > 2*time.Second { // and not the busy_timeout of 10 s
				t.Errorf("%s: got %v after %v", name, err, time.Since(start))
			}
		}
		if _, err := conn.ExecContext(t.Context(), "ROLLBACK"); err != nil {
			t.Fatal(err)
		}
		works(t, s, "when the writer is gone")
	})
}

// What was cancelled is not sent.
func TestCancelled(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		newStore(t, b)
		var n atomic.Int64
		s := unmigrated(t, hooked(t, b, func(string, bool) error { n.Add(1); return nil }))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for name, call := range calls(s) {
			if err := call(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: got %v, want context.Canceled", name, err)
			}
		}
		if n.Load() != 0 {
			t.Errorf("%d statements were sent", n.Load())
		}
	})
}

// state is an error of PostgreSQL, code one of SQLite.
type state string

func (s state) Error() string    { return canary + " " + string(s) }
func (s state) SQLState() string { return string(s) }

type code int

func (c code) Error() string { return canary }
func (c code) Code() int     { return int(c) }

// What the database has undone is tried again, and not for ever; what it refuses is
// not; and of what nobody knows whether it was done, only what can be done twice is.
func TestTriedAgain(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		newStore(t, b)
		var fault atomic.Pointer[func() error]
		var after atomic.Bool
		s := unmigrated(t, hooked(t, b, func(_ string, done bool) error {
			if f := fault.Load(); f != nil && done == after.Load() {
				return (*f)()
			}
			return nil
		}))
		again := make(map[string]bool)
		for _, st := range s.Statements() {
			again[st.What] = st.Again
		}
		for name, call := range calls(s) {
			what, _, _ := strings.Cut(name, " ")
			repeatable := again[what]
			switch name {
			case "Revoke of a family", "Revoke of a session", "Revoke of a subject", "Add of a user", "Add of a key":
				repeatable = false
			case "Revoke of a key", "Revoke":
				repeatable = true
			}
			for _, tt := range []struct {
				name  string
				err   error
				after bool
				again bool
				lost  bool
			}{
				{"a serialization failure", state("40001"), false, true, false},
				{"a deadlock", state("40P01"), false, true, false},
				{"SQLITE_BUSY", code(5), false, true, false},
				{"SQLITE_BUSY_SNAPSHOT", code(5 | 2<<8), false, true, false},
				{"SQLITE_LOCKED", code(6), false, true, false},
				{"a connection that is cut before", io.ErrUnexpectedEOF, false, repeatable, true},
				{"a connection that is cut after", io.ErrUnexpectedEOF, true, repeatable, true},
				{"a shutdown", state("57P01"), true, repeatable, true},
				{"a lost connection", state("08006"), true, repeatable, true},
				{"a full disk", state("53100"), false, false, false},
				{"no right", state("42501"), false, false, false},
				{"SQLITE_FULL", code(13), false, false, false},
				{"SQLITE_IOERR", code(10), true, false, false},
				{"something else", errors.New(canary), true, false, false},
				{"a verdict of a driver", auth.ErrNotFound, false, false, false},
			} {
				var n atomic.Int64
				after.Store(tt.after)
				if !tt.again || name == "Key" { // the pauses of all would take long
					f := func() error { n.Add(1); return tt.err }
					fault.Store(&f)
					err := call(t.Context())
					fault.Store(nil)
					shows(t, name+", "+tt.name, err)
					want := int64(1)
					if tt.again {
						want = sqlstore.Attempts
					}
					if tt.again && tt.lost {
						want = sqlstore.AttemptsLost
					}
					if n.Load() != want {
						t.Errorf("%s, %s: it was tried %d times, want %d", name, tt.name, n.Load(), want)
					}
				}
				if tt.again {
					n.Store(0)
					f := func() error {
						if n.Add(1) < 3 {
							return tt.err
						}
						return nil
					}
					fault.Store(&f)
					err := call(t.Context())
					fault.Store(nil)
					if err != nil && !errors.Is(err, auth.ErrNotFound) && !errors.Is(err, sqlstore.ErrTaken) {
						t.Errorf("%s, %s twice: got %v", name, tt.name, err)
					}
				}
			}
		}
	})
}

// A rotation whose answer is lost is an error, and neither true nor false; and it is
// not sent again, where it would find its own work.
func TestRotationLost(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		newStore(t, b)
		var lose atomic.Bool
		s := unmigrated(t, hooked(t, b, func(query string, done bool) error {
			if lose.Load() && done && strings.HasPrefix(query, "UPDATE") {
				return io.ErrUnexpectedEOF
			}
			return nil
		})).RefreshTokens()
		later := time.Now().Add(time.Hour)
		f := oauth.RefreshFamily{
			Key: "k", SessionID: "s", Issuer: "i", Subject: "u", Ends: later,
			Rotation: oauth.Rotation{Current: chained(0), Expires: later},
		}
		if err := s.Create(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		lose.Store(true)
		ok, err := s.Rotate(t.Context(), "k", chained(0), link(0))
		shows(t, "Rotate", err)
		lose.Store(false)
		if ok {
			t.Error("Rotate: got true besides an error")
		}
		if got, err := s.Family(t.Context(), "k"); err != nil || got.Current != chained(1) || got.Previous != chained(0) {
			t.Errorf("after it: got %q, %v, want what was written", got.Current, err)
		}
		if ok, err := s.Rotate(t.Context(), "k", chained(0), link(0)); ok || err != nil {
			t.Errorf("the token again: got %v, %v, want false", ok, err)
		}
	})
}

// In a database whose transactions are serializable by default, the losers of a race
// are told to try again, and do.
func TestSerializable(t *testing.T) {
	for _, level := range []string{"repeatable read", "serializable"} {
		t.Run(level, func(t *testing.T) {
			b := postgreSQL(t)
			b.dsn += "&default_transaction_isolation=" + url.PathEscape(level)
			b.db = open(t, "pgx", b.dsn)
			s := newStore(t, b)
			later := time.Now().Add(time.Hour)
			f := oauth.RefreshFamily{
				Key: "family", SessionID: "s", Issuer: "i", Subject: "u", Ends: later,
				Rotation: oauth.Rotation{Current: chained(0), Expires: later},
			}
			if err := s.RefreshTokens().Create(t.Context(), f); err != nil {
				t.Fatal(err)
			}
			for n := range 3 {
				once(t, s.RefreshTokens(), n)
			}
		})
	}
}

func TestClosed(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		s := newStore(t, b)
		works(t, s, "at first")
		conformance.Together(4, func(int) {
			if err := s.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
		for name, call := range calls(s) {
			if err := call(t.Context()); err == nil || !strings.HasSuffix(err.Error(), ": the Store is closed") {
				t.Errorf("%s of a closed store: got %v", name, err)
			}
		}
		if err := b.db.Ping(); err != nil {
			t.Errorf("Close has closed the DB: %v", err)
		}
		b.db = open(t, b.driver, b.dsn)
		s = unmigrated(t, b)
		b.db.Close()
		for name, call := range calls(s) {
			if err := call(t.Context()); err == nil || !strings.HasSuffix(err.Error(), ": Config.DB is closed") {
				t.Errorf("%s of a closed DB: got %v", name, err)
			}
		}
	})
}

// Statements that are closed while they are used end well, or with an error.
func TestClosedWhileUsed(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		newStore(t, b)
		for range 20 {
			s := unmigrated(t, b)
			conformance.Together(8, func(i int) {
				if i == 0 {
					_ = s.Close()
					return
				}
				_, err := s.Users().User(t.Context(), "nobody")
				if !errors.Is(err, auth.ErrNotFound) && (err == nil || !strings.HasSuffix(err.Error(), "the Store is closed")) {
					t.Errorf("got %v", err)
				}
			})
		}
	})
}
