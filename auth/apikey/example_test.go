package apikey_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/apikey"
)

// A key is minted, shown to its owner once, used, and revoked.
func Example() {
	store := new(apikey.MemoryStore)
	keys, err := apikey.New(apikey.Config{Store: store})
	if err != nil {
		log.Fatal(err)
	}
	handler := auth.Require(keys)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _ := auth.FromContext(r.Context())
		_, _ = fmt.Fprintf(w, "hello, %s, you may %s", id.Subject, id.Scopes[0])
	}))

	plain, record, err := apikey.Mint(apikey.MintConfig{
		Prefix: "acme", Subject: "alice", Name: "backup job", Scopes: []string{"items:read"}, Lifetime: 90 * 24 * time.Hour,
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Add(context.Background(), record); err != nil {
		log.Fatal(err)
	}

	call := func(key string) {
		r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/items", nil)
		r.Header.Set("X-API-Key", key)
		w := httptest.NewRecorder()
		quiet(handler).ServeHTTP(w, r)
		if w.Code == http.StatusOK {
			fmt.Println(w.Code, w.Body)
		} else {
			fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
		}
	}
	call(plain)
	call("hunter2")

	if err := store.Revoke(context.Background(), "alice", record.ID, time.Time{}); err != nil {
		log.Fatal(err)
	}
	call(plain)
	// Output:
	// 200 hello, alice, you may items:read
	// 401 ApiKey realm="api", in="header", name="X-API-Key"
	// 401 ApiKey realm="api", in="header", name="X-API-Key"
}

// A key that was found where it should not be is revoked without a search.
func ExampleKeyID() {
	store := new(apikey.MemoryStore)
	leaked, record, err := apikey.Mint(apikey.MintConfig{Subject: "alice"})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	if err := store.Add(ctx, record); err != nil {
		log.Fatal(err)
	}

	id, err := apikey.KeyID(leaked)
	if err != nil {
		log.Fatal(err) // it only looks like a key
	}
	found, err := store.Key(ctx, id)
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Revoke(ctx, found.Subject, id, time.Time{}); err != nil {
		log.Fatal(err)
	}
	fmt.Println("revoked a key of", found.Subject)
	// Output:
	// revoked a key of alice
}
