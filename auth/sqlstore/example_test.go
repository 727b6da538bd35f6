package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/apikey"
	"github.com/sallyport/sallyport/auth/basic"
	"github.com/sallyport/sallyport/auth/password"
	"github.com/sallyport/sallyport/auth/sqlstore"
	"github.com/sallyport/sallyport/ratelimit"
)

// A service opens its database, migrates it, checks that it can be relied on, and
// gives the stores to what needs them. bearer.CheckRevocations takes the revocations,
// oauth.Config.RefreshTokens the refresh tokens, dpop.Config.Replays the replays.
func Example() {
	ctx := context.Background()
	db, err := sql.Open("pgx", "postgres://api@db.internal/api?sslmode=verify-full")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(16)
	store, err := sqlstore.New(sqlstore.Config{DB: db, Dialect: sqlstore.PostgreSQL})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	if err := store.Migrate(ctx); err != nil {
		log.Fatal(err)
	}
	if err := store.Check(ctx); err != nil {
		log.Print(err) // it can lose what is committed, say
	}
	hasher, err := password.New(password.Config{})
	if err != nil {
		log.Fatal(err)
	}
	lockout, err := ratelimit.NewLockout(ratelimit.LockoutConfig{}) // ends guessing
	if err != nil {
		log.Fatal(err)
	}
	passwords, err := basic.New(basic.Config{Realm: "api", Users: store.Users(), Passwords: hasher, Lockout: lockout})
	if err != nil {
		log.Fatal(err)
	}
	keys, err := apikey.New(apikey.Config{Store: store.Keys()})
	if err != nil {
		log.Fatal(err)
	}
	auth.Require(passwords, keys)
}

// A database in a file serves one machine. Here it is in memory, so that it has one
// connection.
func ExampleUsers() {
	ctx := context.Background()
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	store, err := sqlstore.New(sqlstore.Config{DB: db, Dialect: sqlstore.SQLite})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	if err := store.Migrate(ctx); err != nil {
		log.Fatal(err)
	}
	users := store.Users()
	ada := auth.User{Subject: "248289761001", Name: "ada", PasswordHash: "$argon2id$…", Roles: []string{"editor"}}
	fmt.Println(users.Add(ctx, ada))
	fmt.Println(errors.Is(users.Add(ctx, ada), sqlstore.ErrTaken))
	fmt.Println(users.SetDisabled(ctx, ada.Subject, true))
	found, err := users.User(ctx, "ada")
	fmt.Println(found.Subject, found.Disabled, found.Roles, err)
	_, err = users.User(ctx, "Ada")
	fmt.Println(errors.Is(err, auth.ErrNotFound))
	// Output:
	// <nil>
	// true
	// <nil>
	// 248289761001 true [editor] <nil>
	// true
}
