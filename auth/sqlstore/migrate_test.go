package sqlstore_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/sqlstore"
	"github.com/sallyport/sallyport/internal/conformance"
)

// Several that migrate at once do what one does, and another does nothing.
func TestMigrateTogether(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		conformance.Together(8, func(int) {
			own := b
			own.db = open(t, b.driver, b.dsn)
			if err := unmigrated(t, own).Migrate(t.Context()); err != nil {
				t.Errorf("Migrate: %v", err)
			}
		})
		s := unmigrated(t, b)
		if err := s.Check(t.Context()); err != nil {
			t.Error(err)
		}
		if err := s.Users().Add(t.Context(), auth.User{Subject: "s", Name: "n"}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := s.Migrate(t.Context()); err != nil {
				t.Errorf("Migrate again: %v", err)
			}
		}
		if _, err := s.Users().User(t.Context(), "n"); err != nil {
			t.Errorf("after Migrate: %v", err)
		}
	})
}

func TestMigrateRefusesNewerTables(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		s := newStore(t, b)
		b.exec(t, "INSERT INTO sallyport_migrations (version) VALUES (4)")
		for name, err := range map[string]error{"Migrate": s.Migrate(t.Context()), "Check": s.Check(t.Context())} {
			if err == nil || !strings.Contains(err.Error(), "version 4, newer than the program, which knows 3") {
				t.Errorf("%s of newer tables: got %v", name, err)
			}
		}
		b.exec(t, "DELETE FROM sallyport_migrations WHERE version = 2")
		for name, err := range map[string]error{"Migrate": s.Migrate(t.Context()), "Check": s.Check(t.Context())} {
			if err == nil || !strings.Contains(err.Error(), "version 4, of which 3 steps are recorded") {
				t.Errorf("%s of tables with a gap: got %v", name, err)
			}
		}
	})
}

// While another migrates, Migrate waits, until ctx ends.
func TestMigrateWaits(t *testing.T) {
	b := sqlite(t)
	conn, err := b.db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	s := unmigrated(t, b)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := s.Migrate(ctx); err == nil || time.Since(start) > patience/2 {
		t.Errorf("Migrate beside another: got %v after %v, want an error", err, time.Since(start))
	}
	done := make(chan error)
	go func() { done <- s.Migrate(t.Context()) }()
	if _, err := conn.ExecContext(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("Migrate after another: %v", err)
	}
}

// Without tables each call is an error that is not auth.ErrNotFound.
func TestWithoutTables(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		s := unmigrated(t, b)
		undecided(t, s, "without tables")
		if err := s.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "the tables are version 0, want 3: call Migrate") {
			t.Errorf("Check: got %v", err)
		}
	})
}

// A database in memory is another for each connection.
func TestMemoryIsRefused(t *testing.T) {
	for _, dsn := range []string{":memory:", "file::memory:?cache=shared", ""} {
		b := backend{dialect: sqlstore.SQLite, driver: "sqlite", dsn: dsn, db: open(t, "sqlite", dsn), prefix: "sallyport_"}
		s := unmigrated(t, b)
		for name, err := range map[string]error{"Migrate": s.Migrate(t.Context()), "Check": s.Check(t.Context())} {
			if err == nil || !strings.Contains(err.Error(), "call DB.SetMaxOpenConns(1)") {
				t.Errorf("%s of %q: got %v", name, dsn, err)
			}
		}
		b.db.SetMaxOpenConns(1)
		if err := s.Migrate(t.Context()); err != nil {
			t.Errorf("Migrate of %q with one connection: %v", dsn, err)
		}
		if err := s.Check(t.Context()); err != nil {
			t.Errorf("Check of %q with one connection: %v", dsn, err)
		}
	}
}
