package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/sqlstore"
	"github.com/sallyport/sallyport/internal/pgtest"
)

// fill writes n rows to each table, in the ids of the keys' alphabet and order.
func fill(t testing.TB, b backend, n int) {
	t.Helper()
	numbers, blob, at := fmt.Sprintf("generate_series(1, %d) AS numbers(i)", n), "sha256(i::text::bytea)", "timestamptz '2100-01-01'"
	if b.dialect == sqlstore.SQLite {
		numbers = fmt.Sprintf("(WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM r WHERE i < %d) SELECT i FROM r)", n)
		blob, at = "CAST(printf('%032d', i) AS BLOB)", "4102444800000000"
	}
	const hash = "'sha256:0000000000000000000000000000000000000000000000000000000000000000'"
	id := "lpad(i::text, 16, '0')"
	if b.dialect == sqlstore.SQLite {
		id = "printf('%016d', i)"
	}
	for _, text := range []string{
		"INSERT INTO sallyport_users SELECT 'subject' || i, 'name' || i, " + hash + ", 1, false, '[]', '[]' FROM " + numbers,
		"INSERT INTO sallyport_api_keys SELECT " + id + ", " + hash + ", '', 'subject' || i, 'name', '[]', '[]', '[]', " + at + ", NULL, NULL, NULL, false FROM " + numbers,
		"INSERT INTO sallyport_refresh_tokens SELECT 'key' || i, 'session' || i, 'issuer', 'client', 'subject' || i, 'name' || i, 1, '[]', NULL, " +
			at + ", '', 'current' || i, '', NULL, false, " + at + ", false, " + at + " FROM " + numbers,
		"INSERT INTO sallyport_revocations SELECT " + blob + ", NULL, " + at + " FROM " + numbers,
		"INSERT INTO sallyport_replays SELECT " + blob + ", " + at + " FROM " + numbers,
	} {
		b.exec(t, text)
	}
	for _, table := range []string{"users", "api_keys", "refresh_tokens", "revocations", "replays"} {
		b.exec(t, "ANALYZE sallyport_"+table)
	}
}

// Each statement finds its rows by an index, and reads no table from end to end.
func TestExplain(t *testing.T) {
	reads := map[string]int{ // of indexes, for each method
		"User": 1, "BySubject": 1, "Family": 1, "Revoked": 1, "Key": 2, "List": 2, "Rotate": 1, "SetPasswordHash": 1, "Touch": 1, "Cleanup": 2,
	}
	each(t, func(t *testing.T, b backend) {
		s := newStore(t, b)
		rows := 20_000 // so many that PostgreSQL does not rather read all
		if b.dialect == sqlstore.SQLite {
			rows = 500
		}
		fill(t, b, rows)
		conn, err := b.db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for _, st := range s.Statements() {
			plan := explain(t, b, conn, st.Text)
			n := strings.Count(plan, "Index") // Index Scan, Index Only Scan, Bitmap Index Scan
			n -= strings.Count(plan, "Index Cond") + strings.Count(plan, "Index Searches")
			full := strings.Contains(plan, "Seq Scan")
			if b.dialect == sqlstore.SQLite {
				n = strings.Count(plan, "SEARCH")
				full = strings.Contains(plan, "SCAN ") || strings.Contains(plan, "TEMP B-TREE") || strings.Contains(plan, "AUTOMATIC")
			}
			want, ok := reads[st.What]
			if insert := strings.HasPrefix(st.Text, "INSERT"); full || n == 0 && !insert || ok && n != want {
				t.Errorf("%s reads %d indexes, want %d:\n%s\n%s", st.What, n, want, st.Text, plan)
			}
		}
	})
}

func explain(t *testing.T, b backend, conn *sql.Conn, text string) string {
	t.Helper()
	n := 0
	for strings.Contains(text, fmt.Sprint(map[sqlstore.Dialect]string{sqlstore.PostgreSQL: "$", sqlstore.SQLite: "?"}[b.dialect], n+1)) {
		n++
	}
	nulls := strings.TrimSuffix(strings.Repeat("NULL, ", n), ", ")
	run := func(text string) {
		if _, err := conn.ExecContext(t.Context(), text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	query, args, columns := "EXPLAIN QUERY PLAN "+text, make([]any, n), 4
	if b.dialect == sqlstore.PostgreSQL {
		run("SET plan_cache_mode = force_generic_plan") // the plan of a statement that was prepared
		run("PREPARE explained AS " + text)
		defer run("DEALLOCATE explained")
		query, args, columns = "EXPLAIN EXECUTE explained("+nulls+")", nil, 1
	}
	rows, err := conn.QueryContext(t.Context(), query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var line string
		dest := make([]any, columns)
		for i := range dest {
			dest[i] = new(any)
		}
		dest[columns-1] = &line
		if err := rows.Scan(dest...); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, line)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(plan, "\n")
}

// turns counts how often a connection listens after it has spoken.
type turns struct {
	net.Conn
	spoke *atomic.Bool
	n     *atomic.Int64
}

func (c turns) Write(p []byte) (int, error) {
	c.spoke.Store(true)
	return c.Conn.Write(p)
}

func (c turns) Read(p []byte) (int, error) {
	if c.spoke.Swap(false) {
		c.n.Add(1)
	}
	return c.Conn.Read(p)
}

// A lookup is one round trip.
func TestRoundTrips(t *testing.T) {
	b := postgreSQL(t)
	cfg, err := pgx.ParseConfig(b.dsn)
	if err != nil {
		t.Fatal(err)
	}
	var spoke atomic.Bool
	var n atomic.Int64
	cfg.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		return turns{conn, &spoke, &n}, err
	}
	// Without the ping of pgx, which a slow machine may see.
	b.db = stdlib.OpenDB(*cfg, stdlib.OptionShouldPing(func(context.Context, stdlib.ShouldPingParams) bool { return false }))
	defer b.db.Close()
	b.db.SetMaxOpenConns(1)
	s := newStore(t, b)
	for name, call := range calls(s) {
		if name == "Cleanup" { // of three tables
			continue
		}
		_ = call(t.Context()) // it is prepared
		before := n.Load()
		for range 10 {
			_ = call(t.Context())
		}
		if got := n.Load() - before; got != 10 {
			t.Errorf("10 calls of %s: got %d round trips", name, got)
		}
	}
}

// go test -run '^$' -bench Lookup. The databases have memory for all of it, as they
// would in service: what is compared are the indexes, and not the disks.
func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{1_000, 1_000_000} {
		for _, one := range []struct {
			name string
			open func(testing.TB) backend
		}{
			{"PostgreSQL", func(t testing.TB) backend {
				server := pgtest.Start(t, "shared_buffers=1GB", "max_wal_size=4GB")
				return backend{dialect: sqlstore.PostgreSQL, db: open(t, "pgx", server.DSN), prefix: "sallyport_"}
			}},
			{"SQLite", func(t testing.TB) backend {
				dsn := sqliteDSN(filepath.Join(t.TempDir(), "auth.db"), "busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "cache_size(-1000000)")
				return backend{dialect: sqlstore.SQLite, db: openOne(t, "sqlite", dsn), prefix: "sallyport_"}
			}},
		} {
			b.Run(fmt.Sprintf("%s/%d", one.name, n), func(b *testing.B) {
				db := one.open(b)
				s := newStore(b, db)
				fill(b, db, n)
				lookup := func(i int) {
					if r, err := s.Keys().Key(b.Context(), fmt.Sprintf("%016d", i+1)); err != nil || r.Subject != fmt.Sprint("subject", i+1) {
						b.Fatal(r, err)
					}
				}
				if db.dialect == sqlstore.PostgreSQL {
					db.exec(b, "VACUUM")
					db.exec(b, "CHECKPOINT")
				}
				db.one(b, "SELECT sum(length(k.hash) + length(u.name)) FROM sallyport_api_keys k JOIN sallyport_users u ON u.subject = k.subject")
				i := 0
				for b.Loop() {
					i = (i*7919 + 12_345) % n
					lookup(i)
				}
			})
		}
	}
}

func BenchmarkRevoked(b *testing.B) {
	for _, one := range []struct {
		name string
		open func(testing.TB) backend
	}{{"PostgreSQL", postgreSQL}, {"SQLite", sqlite}} {
		b.Run(one.name, func(b *testing.B) {
			s := newStore(b, one.open(b)).Revocations()
			token := auth.TokenInfo{Issuer: "https://issuer.example", ID: "d3b07384-d9a0", SessionID: "0d6b6f2d51", Subject: "248289761001", IssuedAt: time.Now()}
			for b.Loop() {
				if revoked, err := s.Revoked(b.Context(), token); revoked || err != nil {
					b.Fatal(revoked, err)
				}
			}
		})
	}
}
