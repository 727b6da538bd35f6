package sqlstore_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/oauth"
	"github.com/sallyport/sallyport/auth/sqlstore"
	"github.com/sallyport/sallyport/internal/conformance"
	"github.com/sallyport/sallyport/internal/pgtest"
)

// A task is what a child process of a test does, which is this very binary.
type task struct {
	Do      string // "rotate" or "migrate"
	Dialect sqlstore.Dialect
	Driver  string
	DSN     string
	Prefix  string
	Stop    int // migrate: before which statement to say so, and wait to be killed
}

const childVariable = "SQLSTORE_CHILD"

// child does a task, if this process is a child.
func child(text string) bool {
	if text == "" {
		return false
	}
	var one task
	err := json.Unmarshal([]byte(text), &one)
	if err == nil {
		switch one.Do {
		case "rotate":
			err = one.rotate()
		case "migrate":
			err = one.migrate()
		}
	}
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	return true
}

// start starts a child, and returns what it says line by line, and what kills it and
// calls rest for each line that was not read yet.
func (k task) start(t *testing.T) (lines *bufio.Scanner, kill func(rest func(line string))) {
	t.Helper()
	text, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	// It ends with this process, should that not kill it: its stdin is closed then.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines = bufio.NewScanner(stdout)
	end := sync.OnceFunc(func() {
		_ = cmd.Wait()
		stdin.Close()
	})
	kill = func(rest func(string)) {
		_ = cmd.Process.Kill() // SIGKILL
		for lines.Scan() {
			rest(lines.Text())
		}
		end()
	}
	t.Cleanup(func() { kill(func(string) {}) })
	return lines, kill
}

func orphan() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(2)
}

func (k task) store(h hook) (*sqlstore.Store, error) {
	return sqlstore.New(sqlstore.Config{DB: hookedDB(k.Driver, k.DSN, h), Dialect: k.Dialect, Prefix: k.Prefix, Timeout: patience})
}

func chained(n int) string { return "hash-" + strconv.Itoa(n) }

// link is the use of the token n.
func link(n int) oauth.Rotation {
	now := time.Now()
	return oauth.Rotation{Current: chained(n + 1), Previous: chained(n), Rotated: now, Expires: now.Add(time.Hour)}
}

// rotate uses one token after the other, and tells how many it knows to be used.
func (k task) rotate() error {
	go orphan()
	s, err := k.store(func(string, bool) error { return nil })
	if err != nil {
		return err
	}
	ctx := context.Background()
	f, err := s.RefreshTokens().Family(ctx, "family")
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(strings.TrimPrefix(f.Current, "hash-"))
	if err != nil {
		return err
	}
	for ; ; n++ {
		ok, err := s.RefreshTokens().Rotate(ctx, "family", chained(n), link(n))
		if err != nil || !ok {
			return fmt.Errorf("rotation %d: %v, %v", n, ok, err)
		}
		fmt.Println("used", n)
	}
}

// migrate migrates up to some statement.
func (k task) migrate() error {
	go orphan()
	var n atomic.Int64
	s, err := k.store(func(_ string, done bool) error {
		if !done && n.Add(1) == int64(k.Stop) {
			fmt.Println("there")
			select {}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := s.Migrate(context.Background()); err != nil {
		return err
	}
	fmt.Println("migrated")
	return nil
}

// Whenever a process is killed, and the server with it: what it knows to be used is
// used, and no token is good twice.
func TestKilledWhileRotating(t *testing.T) {
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		server := pgtest.Start(t)
		b := backend{dialect: sqlstore.PostgreSQL, driver: "pgx", dsn: server.DSN, db: open(t, "pgx", server.DSN), prefix: "sallyport_"}
		killedWhileRotating(t, b, func(round int) {
			if round%2 == 1 {
				server.Kill()
			}
		}, func(round int) {
			if round%2 == 1 {
				server.Restart()
			}
		})
	})
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		killedWhileRotating(t, sqlite(t), func(int) {}, func(int) {})
	})
}

func killedWhileRotating(t *testing.T, b backend, crash, recovered func(round int)) {
	s := newStore(t, b).RefreshTokens()
	now := time.Now()
	err := s.Create(t.Context(), oauth.RefreshFamily{
		Key: "family", SessionID: "session", Issuer: "issuer", Subject: "subject", Ends: now.Add(time.Hour),
		Rotation: oauth.Rotation{Current: chained(0), Expires: now.Add(time.Hour)},
	})
	if err != nil {
		t.Fatal(err)
	}
	for round := range 6 {
		lines, kill := task{Do: "rotate", Dialect: b.dialect, Driver: b.driver, DSN: b.dsn, Prefix: b.prefix}.start(t)
		last, after := -1, 5+17*round
		for i := 0; i < after && lines.Scan(); i++ {
			if _, err := fmt.Sscanf(lines.Text(), "used %d", &last); err != nil {
				t.Fatalf("the child says %q", lines.Text())
			}
		}
		crash(round)
		kill(func(line string) { _, _ = fmt.Sscanf(line, "used %d", &last) })
		recovered(round)
		var f oauth.RefreshFamily
		eventually(t, "the store works again", func() bool {
			f, err = s.Family(t.Context(), "family")
			return err == nil
		})
		current, err := strconv.Atoi(strings.TrimPrefix(f.Current, "hash-"))
		if err != nil || last < 0 || current != last+1 && current != last+2 {
			t.Fatalf("round %d: the token %d was used, and %q is current", round, last, f.Current)
		}
		if f.Previous != chained(current-1) {
			t.Errorf("round %d: before %q there was %q", round, f.Current, f.Previous)
		}
		for n := max(0, current-30); n < current; n++ {
			if ok, err := s.Rotate(t.Context(), "family", chained(n), link(n)); ok || err != nil {
				t.Fatalf("round %d: the token %d was used again: %v, %v", round, n, ok, err)
			}
		}
		// A use over a connection that the server's death broke may fail, and may still
		// be the one. A use that is answered is good once at most.
		onceAtMost(t, s, current)
	}
}

// onceAtMost is once where uses may fail.
func onceAtMost(t *testing.T, s *sqlstore.RefreshTokens, current int) {
	t.Helper()
	done, failed := usedTogether(t, s, current)
	f, err := s.Family(t.Context(), "family")
	if done > 1 || done == 0 && failed == 0 || err != nil || f.Current != link(current).Current {
		t.Errorf("%d of 100 uses of one token were good and %d failed, and %q is current, %v", done, failed, f.Current, err)
	}
}

// once uses a token a hundred times at once.
func once(t *testing.T, s *sqlstore.RefreshTokens, current int) {
	t.Helper()
	if done, failed := usedTogether(t, s, current); done != 1 || failed != 0 {
		t.Errorf("%d of 100 uses of one token were good and %d failed, want 1 and 0", done, failed)
	}
}

func usedTogether(t *testing.T, s *sqlstore.RefreshTokens, current int) (int64, int64) {
	t.Helper()
	var done, failed atomic.Int64
	conformance.Together(100, func(int) {
		ok, err := s.Rotate(t.Context(), "family", chained(current), link(current))
		if err != nil {
			failed.Add(1)
		}
		if ok {
			done.Add(1)
		}
	})
	return done.Load(), failed.Load()
}

// F7: of a hundred uses at once one is good, and when the family is revoked none is.
func TestRotateOnce(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		s := newStore(t, b).RefreshTokens()
		now := time.Now()
		err := s.Create(t.Context(), oauth.RefreshFamily{
			Key: "family", SessionID: "session", Issuer: "issuer", Subject: "subject", Ends: now.Add(time.Hour),
			Rotation: oauth.Rotation{Current: chained(0), Expires: now.Add(time.Hour)},
		})
		if err != nil {
			t.Fatal(err)
		}
		for n := range 5 {
			once(t, s, n)
		}
		if n, err := s.Revoke(t.Context(), oauth.RefreshSelector{Key: "family"}); n != 1 || err != nil {
			t.Errorf("Revoke: got %d, %v", n, err)
		}
		conformance.Together(100, func(int) {
			if ok, err := s.Rotate(t.Context(), "family", chained(5), link(5)); ok || err != nil {
				t.Errorf("a token of a family that was revoked: got %v, %v", ok, err)
			}
		})
	})
}

// Wherever a process is killed, there is the old version or the new one, and the next
// Migrate goes on from there.
func TestKilledWhileMigrating(t *testing.T) {
	for _, one := range []struct {
		name string
		open func(testing.TB) backend
	}{{"PostgreSQL", postgreSQL}, {"SQLite", sqlite}} {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			last := false
			for stop := 1; !last; stop++ {
				b := one.open(t)
				lines, kill := task{Do: "migrate", Dialect: b.dialect, Driver: b.driver, DSN: b.dsn, Prefix: b.prefix, Stop: stop}.start(t)
				if !lines.Scan() {
					t.Fatal("the child says nothing")
				}
				switch lines.Text() {
				case "migrated": // there are no more statements
					last = true
				case "there":
				default:
					t.Fatalf("the child says %q", lines.Text())
				}
				kill(func(string) {})
				recovers(t, b, fmt.Sprintf("killed before statement %d", stop))
				if stop > 100 {
					t.Fatal("it does not end")
				}
			}
		})
	}
}

func recovers(t *testing.T, b backend, what string) {
	t.Helper()
	s := unmigrated(t, b)
	version := schema(t, b)
	// Another process may still be seen in the database for a moment: Migrate waits.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Migrate(ctx); err != nil {
		t.Fatalf("%s, at version %d: %v", what, version, err)
	}
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	works(t, s, what)
}

// schema returns the version of the tables, and checks that there are those of that
// version and no others.
func schema(t *testing.T, b backend) int {
	t.Helper()
	var names []string
	rows, err := b.db.Query(map[sqlstore.Dialect]string{
		sqlstore.PostgreSQL: "SELECT tablename FROM pg_tables WHERE starts_with(tablename, '" + b.prefix + "') ORDER BY 1",
		sqlstore.SQLite:     "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1",
	}[b.dialect])
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		names = append(names, strings.TrimPrefix(name, b.prefix))
	}
	version := 0
	if len(names) > 0 {
		version, _ = strconv.Atoi(b.one(t, "SELECT coalesce(max(version), 0) FROM sallyport_migrations"))
	}
	want := []string{"", "migrations users", "migrations refresh_tokens replays revocations users", "api_keys migrations refresh_tokens replays revocations users"}
	if got := strings.Join(names, " "); got != want[version] && (version > 0 || got != "migrations") {
		t.Errorf("version %d has the tables %q, want %q", version, got, want[version])
	}
	return version
}

// works checks that no call is an error, sooner or later.
func works(t testing.TB, s *sqlstore.Store, what string) {
	t.Helper()
	for name, call := range calls(s) {
		eventually(t, what+", "+name+" works", func() bool {
			err := call(t.Context())
			return err == nil || errors.Is(err, auth.ErrNotFound) || errors.Is(err, sqlstore.ErrTaken)
		})
	}
}
