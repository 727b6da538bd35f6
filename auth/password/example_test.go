package password_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sallyport/sallyport/auth/password"
)

func Example() {
	// One for the whole process: it bounds the work of all who use it.
	hasher, err := password.New(password.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background() // in a handler, r.Context()

	// When the password is set.
	encoded, err := hasher.Hash(ctx, "correct horse battery staple")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(strings.Join(strings.Split(encoded, "$")[:4], "$"))

	// When someone logs in.
	_, err = hasher.Verify(ctx, encoded, "correct horse battery staple")
	fmt.Println("right:", err)
	_, err = hasher.Verify(ctx, encoded, "Tr0ub4dor&3")
	fmt.Println("wrong:", errors.Is(err, password.ErrMismatch))

	// Output:
	// $argon2id$v=19$m=19456,t=2,p=1
	// right: <nil>
	// wrong: true
}

// A store that moves from bcrypt: each account gets a new hash at its next
// login, and until then an unknown account costs what a bcrypt one does.
func ExampleHasher_Verify_upgrade() {
	stored := "$2a$10$WvvTPHKwdBJ3uk0Z37EMR.hLA2W6N9AEBhEgrAOljy2Ae5MtaSIUi" // "abc"
	hasher, err := password.New(password.Config{Reference: stored})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	rehash, err := hasher.Verify(ctx, stored, "abc")
	switch {
	case errors.Is(err, password.ErrMismatch):
		fmt.Println("refuse")
	case err != nil:
		fmt.Println("undecided: answer 503")
	case rehash:
		stored, err = hasher.Hash(ctx, "abc") // and save it
	}
	fmt.Println(strings.HasPrefix(stored, "$argon2id$"), err)
	// Output: true <nil>
}

func ExampleHasher_Dummy() {
	hasher, err := password.New(password.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	hashes := map[string]string{} // no account at all

	encoded, ok := hashes["nobody"]
	if ok {
		_, err = hasher.Verify(context.Background(), encoded, "guess")
	} else {
		err = hasher.Dummy(context.Background(), "guess") // takes as long
	}
	fmt.Println(err)
	// Output: password: mismatch
}
