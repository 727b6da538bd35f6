package ratelimit_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

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

// One request at a time. The health check is exempt, so that a busy instance is not
// taken for a dead one.
func ExampleNewInFlight() {
	busy, err := ratelimit.NewInFlight(ratelimit.InFlightConfig{
		Max:  1,
		Skip: func(r *http.Request) bool { return r.Pattern == "GET /healthz" },
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	hello := busy.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }))
	mux.Handle("GET /healthz", hello)
	mux.Handle("GET /", hello)
	ask := func(path string) {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		fmt.Printf("%s %d %q\n", path, w.Code, w.Header().Get("Retry-After"))
	}

	release, err := busy.Acquire(context.Background(), "") // as a request would that is being served
	if err != nil {
		log.Fatal(err)
	}
	ask("/")
	ask("/healthz")
	release()
	ask("/")
	// Output:
	// / 503 "1"
	// /healthz 200 ""
	// / 200 ""
}

// A server that does not know how much it can take: the bound moves between 20
// and 1000, so that nine of ten handlers return within 200 ms, and while all places
// are taken nobody waits for long.
func ExampleNewInFlight_overload() {
	busy, err := ratelimit.NewInFlight(ratelimit.InFlightConfig{
		Max: 1000, Min: 20, Latency: 200 * time.Millisecond,
		Queue: 500, Target: 5 * time.Millisecond,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(busy.Stats().Limit)
	// Output: 20
}

// Work that is not a request takes a place in the same way.
func ExampleInFlight_Acquire() {
	reports, err := ratelimit.NewInFlight(ratelimit.InFlightConfig{
		Name: "reports", Max: 4, Queue: 100, MaxWait: time.Minute,
	})
	if err != nil {
		log.Fatal(err)
	}
	release, err := reports.Acquire(context.Background(), "")
	if err != nil {
		log.Fatal(err) // ratelimit.ErrBusy, or the context's own
	}
	defer release()
	fmt.Println(reports.Stats().Running)
	// Output: 1
}
