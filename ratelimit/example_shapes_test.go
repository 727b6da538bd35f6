package ratelimit_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/ratelimit"
)

// What customers pay for decides how much they may do. The plan is read from an identity
// that something above has checked.
func ExampleConfig_plans() {
	limiter, err := ratelimit.New(ratelimit.Config{
		Key:    ratelimit.ByIdentity,
		Limits: []ratelimit.Limit{ratelimit.PerMinute(10)},
		Plans: map[string][]ratelimit.Limit{
			"pro": {ratelimit.PerMinute(100), ratelimit.PerCalendarMonth(100_000, time.UTC)},
		},
		Plan: func(r *http.Request) (string, error) {
			if id, ok := auth.FromContext(r.Context()); ok && slices.Contains(id.Roles, "pro") {
				return "pro", nil
			}
			return "", nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	h := limiter.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for _, roles := range [][]string{nil, {"pro"}} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r = r.WithContext(auth.NewContext(r.Context(), &auth.Identity{Subject: "ada", Roles: roles}))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Println(w.Header()["Ratelimit-Policy"])
	}
	// Output:
	// ["default";q=10;w=60]
	// ["default-pro";q=100;w=60, "default-pro-2";q=100000]
}

// What a request costs is known when it has been served: a guess is reserved, and the
// handler settles it.
func ExampleLimiter_Settle() {
	limiter, err := ratelimit.New(ratelimit.Config{
		Limits:      []ratelimit.Limit{ratelimit.PerHour(10_000)},
		Cost:        func(*http.Request) int { return 2000 }, // the most that an answer takes
		SettleLater: true,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	h := limiter.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		res, err := limiter.Settle(r.Context(), 130)
		fmt.Println(res.Remaining, err)
	}))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	fmt.Println(w.Header().Get("RateLimit"))
	// Output:
	// 9870 <nil>
	// "default";r=8000;t=2880
}

// A request is counted by its address and by the tenant, and takes from both or from
// neither.
func ExampleTogether() {
	byAddress, err := ratelimit.New(ratelimit.Config{Name: "address", Limits: []ratelimit.Limit{ratelimit.PerMinute(2)}})
	if err != nil {
		fmt.Println(err)
		return
	}
	byTenant, err := ratelimit.New(ratelimit.Config{
		Name: "tenant", Limits: []ratelimit.Limit{ratelimit.PerMinute(3)},
		Key: func(r *http.Request) (string, error) { return r.Host, nil }, // one that something above has checked
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	group, err := ratelimit.Together(byAddress, byTenant)
	if err != nil {
		fmt.Println(err)
		return
	}
	h := group.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for _, peer := range []string{"192.0.2.1:1", "192.0.2.1:1", "192.0.2.1:1", "192.0.2.2:1", "192.0.2.2:1"} {
		r := httptest.NewRequest(http.MethodGet, "https://a.example.com/", nil)
		r.RemoteAddr = peer
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Header()["Ratelimit"])
	}
	// Output:
	// 200 ["address";r=1;t=30 "tenant";r=2;t=40]
	// 200 ["address";r=0;t=30 "tenant";r=1;t=20]
	// 429 ["address";r=0;t=30 "tenant";r=1;t=20]
	// 200 ["address";r=1;t=30 "tenant";r=0;t=20]
	// 429 ["address";r=1;t=30 "tenant";r=0;t=20]
}

// A client that waits as the service says.
func ExampleTransport() {
	limiter, err := ratelimit.New(ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerSecond(1)}})
	if err != nil {
		fmt.Println(err)
		return
	}
	srv := httptest.NewServer(limiter.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	defer srv.Close()
	client := &http.Client{Transport: &ratelimit.Transport{MaxWait: 10 * time.Second}}
	for range 2 {
		res, err := client.Get(srv.URL)
		if err != nil {
			fmt.Println(err)
			return
		}
		_ = res.Body.Close()
		fmt.Println(res.StatusCode)
	}
	// Output:
	// 200
	// 200
}
