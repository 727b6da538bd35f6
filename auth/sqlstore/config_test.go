package sqlstore_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth/sqlstore"
)

func TestNewRefuses(t *testing.T) {
	db := open(t, "sqlite", "/nowhere/auth.db") // nothing is sent at construction
	for _, tt := range []struct {
		name string
		cfg  sqlstore.Config
		want string
	}{
		{"nothing", sqlstore.Config{}, "Config.DB is nil"},
		{"no DB", sqlstore.Config{Dialect: sqlstore.SQLite}, "Config.DB is nil"},
		{"no dialect", sqlstore.Config{DB: db}, "Config.Dialect is not set"},
		{"an unknown dialect", sqlstore.Config{DB: db, Dialect: 3}, "Config.Dialect is 3"},
		{"a negative dialect", sqlstore.Config{DB: db, Dialect: -1}, "Config.Dialect is -1"},
		{"a prefix with a quote", sqlstore.Config{DB: db, Dialect: 1, Prefix: `a"`}, "Config.Prefix"},
		{"a prefix that is SQL", sqlstore.Config{DB: db, Dialect: 1, Prefix: "a; DROP TABLE b; --"}, "Config.Prefix"},
		{"a prefix in upper case", sqlstore.Config{DB: db, Dialect: 1, Prefix: "A_"}, "Config.Prefix"},
		{"a prefix with a parameter", sqlstore.Config{DB: db, Dialect: 1, Prefix: "a$1"}, "Config.Prefix"},
		{"a prefix that begins with a digit", sqlstore.Config{DB: db, Dialect: 1, Prefix: "1a"}, "Config.Prefix"},
		{"a prefix with a schema", sqlstore.Config{DB: db, Dialect: 1, Prefix: "auth."}, "Config.Prefix"},
		{"a long prefix", sqlstore.Config{DB: db, Dialect: 1, Prefix: strings.Repeat("a", 33)}, "Config.Prefix"},
		{"a negative timeout", sqlstore.Config{DB: db, Dialect: 1, Timeout: -time.Second}, "Config.Timeout"},
		{"a timeout without unit", sqlstore.Config{DB: db, Dialect: 1, Timeout: 250}, "Config.Timeout"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := sqlstore.New(tt.cfg)
			if s != nil || err == nil || !strings.HasPrefix(err.Error(), "sqlstore: "+tt.want) {
				t.Errorf("got %v, %v, want an error with %q", s, err, tt.want)
			}
		})
	}
}

// The longest prefix makes no name longer than PostgreSQL takes.
func TestLongestPrefix(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		b.prefix = strings.Repeat("p", 31) + "1"
		s := newStore(t, b)
		if err := s.Check(t.Context()); err != nil {
			t.Error(err)
		}
		works(t, s, "with a long prefix")
	})
}

// The stores of two prefixes are two.
func TestPrefixesAreApart(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		one := newStore(t, b)
		b.prefix = "other_" + b.prefix[:len(b.prefix)-1]
		other := newStore(t, b)
		add(t, one, "ada")
		if _, err := other.Users().User(t.Context(), "ada"); err == nil {
			t.Error("the account of another prefix was found")
		}
	})
}

func TestStoresShowNothing(t *testing.T) {
	dsn := "file:" + canary
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	cfg := sqlstore.Config{DB: db, Dialect: sqlstore.SQLite}
	s, err := sqlstore.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{s, s.Users(), s.Keys(), s.RefreshTokens(), s.Revocations(), s.Replays(), *s.Users(), *s.Keys(), cfg} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
			if got := fmt.Sprintf(verb, v); strings.Contains(got, canary) || strings.Contains(got, "SELECT") {
				t.Errorf("%s of a %T shows %s", verb, v, got)
			}
		}
	}
	if got := fmt.Sprint(sqlstore.PostgreSQL, sqlstore.SQLite, sqlstore.Dialect(3)); got != "PostgreSQL SQLite Dialect(3)" {
		t.Errorf("got %q", got)
	}
}
