package ratelimit_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/sallyport/sallyport/ratelimit"
)

// A limiter with its default key bounds how often each client address may ask.
func ExampleNew() {
	limiter, err := ratelimit.New(ratelimit.Config{
		Limits: []ratelimit.Limit{ratelimit.PerHour(2)},
	})
	if err != nil {
		log.Fatal(err)
	}
	handler := limiter.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "hello")
	}))

	for range 3 {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		fmt.Println(w.Code, w.Header().Get("RateLimit-Policy"), w.Header().Get("RateLimit"))
	}
	// Output:
	// 200 "default";q=2;w=3600 "default";r=1;t=1800
	// 200 "default";q=2;w=3600 "default";r=0;t=1800
	// 429 "default";q=2;w=3600 "default";r=0;t=1800
}

// A burst of 20 and 10 per second after that, but not more than 1000 per hour,
// for each identity: the limiter stands below auth.Require.
func ExampleByIdentity() {
	limiter, err := ratelimit.New(ratelimit.Config{
		Name:   "per-user",
		Limits: []ratelimit.Limit{ratelimit.PerSecond(10).WithBurst(20), ratelimit.PerHour(1000)},
		Key:    ratelimit.ByIdentity,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(limiter.Name(), limiter.Limits())
	// Output: per-user [10 per 1s, burst 20 1000 per 1h0m0s]
}

// Events that are no requests can be limited too.
func ExampleLimiter_Take() {
	limiter, err := ratelimit.New(ratelimit.Config{
		Name:   "reset-mails",
		Limits: []ratelimit.Limit{{Events: 1, Per: 2 * 3600e9}}, // one every two hours
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := httptest.NewRequest(http.MethodPost, "/reset", nil).Context()
	for range 2 {
		res, err := limiter.Take(ctx, "alice@example.com", 1)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(res.Allowed, res.RetryAfter.Hours() > 1)
	}
	// Output:
	// true false
	// false true
}
