package sqlstore_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/apikey"
	"github.com/sallyport/sallyport/auth/sqlstore"
)

// A step whose commit the database has undone is made again, the last one too.
func TestMigrateWhoseCommitIsUndone(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		for n := 1; n <= 3; n++ {
			commits := 0
			h := hooked(t, b, func(query string, done bool) error {
				if query != "COMMIT" || done {
					return nil
				}
				if commits++; commits != n {
					return nil
				}
				if b.dialect == sqlstore.SQLite {
					return code(5)
				}
				return state("40001")
			})
			h.prefix = string(rune('a'+n)) + "_"
			s := unmigrated(t, h)
			if err := s.Migrate(t.Context()); err != nil {
				t.Errorf("commit %d is undone: %v", n, err)
			}
			if _, err := s.Keys().Key(t.Context(), "0123456789abcdef"); !errors.Is(err, auth.ErrNotFound) {
				t.Errorf("commit %d was undone, and after Migrate: %v", n, err)
			}
			if err := s.Check(t.Context()); err != nil && !strings.Contains(err.Error(), "SQLite can lose") {
				t.Errorf("commit %d was undone, and after Migrate: %v", n, err)
			}
		}
	})
}

// A transaction that has begun although it was answered by an error is ended before
// anyone gets the connection.
func TestMigrateWhoseBeginIsAnsweredByAnError(t *testing.T) {
	b := sqlite(t)
	ctx, cancel := context.WithCancel(t.Context())
	h := hooked(t, b, func(query string, done bool) error {
		if query == "BEGIN IMMEDIATE" && done && ctx.Err() == nil {
			cancel()
			return context.Canceled
		}
		return nil
	})
	h.db.SetMaxOpenConns(1)
	s := unmigrated(t, h)
	if err := s.Migrate(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want context.Canceled", err)
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Errorf("the next one: %v", err)
	}
	if err := s.Revocations().Revoke(t.Context(), auth.Revocation{Issuer: "i", TokenID: "t", Until: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	revoked, err := unmigrated(t, b).Revocations().Revoked(t.Context(), auth.TokenInfo{Issuer: "i", ID: "t"})
	if err != nil || !revoked {
		t.Errorf("what was answered is not there for others: got %v, %v", revoked, err)
	}
}

// Tables are not made again in front of those that are there.
func TestMigrateIntoAnotherSchema(t *testing.T) {
	b := postgreSQL(t)
	s := newStore(t, b)
	add(t, s, "ada")
	b.exec(t, "CREATE SCHEMA deploy")
	t.Cleanup(func() { b.exec(t, "DROP SCHEMA deploy CASCADE") })
	other := b
	other.dsn += "&search_path=deploy,public"
	other.db = open(t, "pgx", other.dsn)
	elsewhere := unmigrated(t, other)
	for name, err := range map[string]error{"Migrate": elsewhere.Migrate(t.Context()), "Check": elsewhere.Check(t.Context())} {
		if err == nil || !strings.Contains(err.Error(), "search_path") {
			t.Errorf("%s: got %v, want an error that names search_path", name, err)
		}
	}
	if n := b.one(t, "SELECT count(*) FROM pg_tables WHERE schemaname = 'deploy'"); n != "0" {
		t.Errorf("%s tables were made in front of the others", n)
	}
}

// A change that overwrites is not tried again when its answer was lost: another may have
// come after it.
func TestChangesWhoseAnswerIsLostAreNotRepeated(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		admin := newStore(t, b)
		add(t, admin, "ada")
		lost := false
		s := unmigrated(t, hooked(t, b, func(query string, done bool) error {
			if lost || !done || !strings.HasPrefix(query, "UPDATE") {
				return nil
			}
			lost = true
			if err := admin.Users().SetDisabled(t.Context(), "sada", true); err != nil { // the last word
				t.Error(err)
			}
			return io.ErrUnexpectedEOF
		}))
		if err := s.Users().SetDisabled(t.Context(), "sada", false); err == nil {
			t.Error("SetDisabled: got no error, although its answer was lost")
		}
		if u, err := admin.Users().User(t.Context(), "ada"); err != nil || !u.Disabled {
			t.Errorf("the account that was disabled last: got %v, %v", u.Disabled, err)
		}
	})
}

// Nothing makes a revoked key valid again, nor an expired one last for ever: no time that
// is not zero becomes the zero one.
func TestTimesNextToZero(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		s := newStore(t, b)
		almost := time.Time{}.Add(1)
		_, revoked, err := apikey.Mint(apikey.MintConfig{Subject: "u"})
		if err != nil {
			t.Fatal(err)
		}
		_, expired, err := apikey.Mint(apikey.MintConfig{Subject: "u"})
		if err != nil {
			t.Fatal(err)
		}
		expired.Expires = almost
		for _, r := range []apikey.Record{revoked, expired} {
			if err := s.Keys().Add(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		for _, at := range []time.Time{{}, almost} {
			if err := s.Keys().Revoke(t.Context(), "u", revoked.ID, at); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := s.Keys().Key(t.Context(), revoked.ID); err != nil || got.Revoked.IsZero() {
			t.Errorf("the revoked key: got %v, %v", got.Revoked, err)
		}
		if got, err := s.Keys().Key(t.Context(), expired.ID); err != nil || got.Expires.IsZero() {
			t.Errorf("the expired key: got %v, %v", got.Expires, err)
		}
	})
}

// A list that is none gives nobody more than was written.
func TestListsThatAreNull(t *testing.T) {
	b := sqlite(t)
	s := newStore(t, b)
	_, rec, err := apikey.Mint(apikey.MintConfig{Subject: "u"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Keys().Add(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	for _, column := range []string{"networks", "roles", "scopes"} {
		for _, text := range []string{"null", "[null]"} {
			b.exec(t, "UPDATE sallyport_api_keys SET "+column+" = '"+text+"'")
			if got, err := s.Keys().Key(t.Context(), rec.ID); err == nil || errors.Is(err, auth.ErrNotFound) {
				t.Errorf("%s is %s: got %v, %v, want an error", column, text, got, err)
			}
		}
		b.exec(t, "UPDATE sallyport_api_keys SET "+column+" = '[]'")
	}
}

// A database that takes no writes is no good one.
func TestCheckOfAReadOnlyDatabase(t *testing.T) {
	p := postgreSQL(t)
	newStore(t, p)
	p.dsn += "&default_transaction_read_only=on"
	p.db = open(t, "pgx", p.dsn)
	file := t.TempDir() + "/auth.db"
	l := sqliteFile(t, file)
	newStore(t, l)
	l.dsn = sqliteDSN(file, "busy_timeout(1000)", "journal_mode(WAL)", "synchronous(FULL)", "query_only(1)")
	l.db = open(t, "sqlite", l.dsn)
	for _, b := range []backend{p, l} {
		if err := unmigrated(t, b).Check(t.Context()); err == nil || !strings.Contains(err.Error(), "takes no writes") {
			t.Errorf("%v: got %v, want that it takes no writes", b.dialect, err)
		}
	}
}

func TestPrefixThatSQLiteKeeps(t *testing.T) {
	b := sqlite(t)
	b.prefix = "sqlite_"
	if _, err := sqlstore.New(b.config()); err == nil || !strings.Contains(err.Error(), "Config.Prefix") {
		t.Errorf("got %v, want an error that names Config.Prefix", err)
	}
}
