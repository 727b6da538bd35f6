package redisstore_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/redisstore"
)

// A service makes one client and the stores that it needs, and says at its start
// whether it can rely on Redis. bearer.CheckRevocations takes the revocations, and
// dpop.Config.Replays the replays.
func Example() {
	client := redis.NewClient(&redis.Options{
		Addr:                  "redis.internal:6379",
		Username:              "api",
		ContextTimeoutEnabled: true,
	})
	defer client.Close()
	if err := redisstore.Check(context.Background(), client); err != nil {
		log.Print(err) // it evicts keys, say
	}
	cfg := redisstore.Config{Client: client}
	revocations, err := redisstore.NewRevocations(cfg)
	if err != nil {
		log.Fatal(err)
	}
	replays, err := redisstore.NewReplays(cfg)
	if err != nil {
		log.Fatal(err)
	}
	serve(revocations, replays)
}

func serve(auth.Revocations, auth.Replays) {}

// A Redis that can't be reached is an error, and never the answer that a token is
// not revoked.
func ExampleRevocations_Revoked() {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", ContextTimeoutEnabled: true})
	defer client.Close()
	revocations, err := redisstore.NewRevocations(redisstore.Config{Client: client, Timeout: 50 * time.Millisecond})
	if err != nil {
		log.Fatal(err)
	}
	revoked, err := revocations.Revoked(context.Background(), auth.TokenInfo{
		Issuer: "https://issuer.example", ID: "d3b07384", Subject: "ada", IssuedAt: time.Now(),
	})
	fmt.Println(revoked, err != nil)
	// Output: false true
}
