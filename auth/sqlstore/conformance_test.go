package sqlstore_test

import (
	"testing"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/apikey"
	keytest "github.com/sallyport/sallyport/auth/apikey/storetest"
	"github.com/sallyport/sallyport/auth/oauth"
	refreshtest "github.com/sallyport/sallyport/auth/oauth/storetest"
	"github.com/sallyport/sallyport/auth/sqlstore"
	"github.com/sallyport/sallyport/auth/storetest"
)

func TestConformance(t *testing.T) {
	for name, open := range map[string]func(testing.TB) backend{
		"PostgreSQL": postgreSQL,
		"SQLite":     sqlite,
		"SQLite in memory": func(t testing.TB) backend {
			b := backend{dialect: sqlstore.SQLite, driver: "sqlite", dsn: ":memory:", prefix: "sallyport_"}
			b.db = openOne(t, b.driver, b.dsn)
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Run("users", func(t *testing.T) {
				storetest.Run(t, func(t *testing.T, users ...auth.User) auth.Users {
					s := newStore(t, open(t)).Users()
					for _, u := range users {
						if err := s.Add(t.Context(), u); err != nil {
							t.Fatal(err)
						}
					}
					return s
				})
			})
			t.Run("API keys", func(t *testing.T) {
				keytest.Run(t, func(t *testing.T, records ...apikey.Record) apikey.Store {
					s := newStore(t, open(t)).Keys()
					for _, r := range records {
						if err := s.Add(t.Context(), r); err != nil {
							t.Fatal(err)
						}
					}
					return s
				})
			})
			t.Run("refresh tokens", func(t *testing.T) {
				refreshtest.Run(t, func(t *testing.T) oauth.RefreshStore { return newStore(t, open(t)).RefreshTokens() })
			})
			t.Run("revocations", func(t *testing.T) {
				storetest.RunRevocations(t, func(t *testing.T) auth.Revocations { return newStore(t, open(t)).Revocations() })
			})
			t.Run("replays", func(t *testing.T) {
				storetest.RunReplays(t, func(t *testing.T) auth.Replays { return newStore(t, open(t)).Replays() })
			})
		})
	}
}
