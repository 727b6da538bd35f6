package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/ratelimit"
	"github.com/sallyport/sallyport/ratelimit/redisstore"
)

// A service makes one client and one store for all its limiters, and says at its start
// whether it can rely on Redis.
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
	store, err := redisstore.New(redisstore.Config{Client: client})
	if err != nil {
		log.Fatal(err)
	}
	limiter, err := ratelimit.New(ratelimit.Config{
		Name:   "address",
		Limits: []ratelimit.Limit{ratelimit.PerSecond(10).WithBurst(20), ratelimit.PerHour(1000)},
		Store:  store,
	})
	if err != nil {
		log.Fatal(err)
	}
	serve(limiter.Wrap(http.NotFoundHandler()))
}

func serve(http.Handler) {}

// While Redis can't be reached a limiter does what its policy says: by default it
// counts in the memory of each process.
func ExampleNew() {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", ContextTimeoutEnabled: true})
	defer client.Close()
	store, err := redisstore.New(redisstore.Config{Client: client, Timeout: 50 * time.Millisecond})
	if err != nil {
		log.Fatal(err)
	}
	for _, policy := range []ratelimit.Policy{ratelimit.Local, ratelimit.Allow, ratelimit.Deny} {
		limiter, err := ratelimit.New(ratelimit.Config{
			Name:         policy.String(),
			Limits:       []ratelimit.Limit{ratelimit.PerHour(1)},
			Store:        store,
			OnStoreError: policy,
			Audit:        silent{},
		})
		if err != nil {
			log.Fatal(err)
		}
		for range 2 {
			res, err := limiter.Take(context.Background(), "192.0.2.1", 1)
			fmt.Println(policy, res.Allowed, errors.Is(err, ratelimit.ErrUnavailable))
		}
	}
	// Output:
	// Local true false
	// Local false false
	// Allow true false
	// Allow true false
	// Deny false true
	// Deny false true
}

// silent keeps no events: a service has its own recorder.
type silent struct{}

func (silent) Record(context.Context, audit.Event) error { return nil }
