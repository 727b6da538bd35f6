package ratelimit_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/sallyport/sallyport/ratelimit"
)

func TestSkips(t *testing.T) {
	networks := ratelimit.SkipNetworks(netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32"))
	subjects := ratelimit.SkipSubjects("https://idp", "monitor", "batch")
	routes := ratelimit.SkipRoutes("GET /healthz")
	any := ratelimit.SkipAny(networks, subjects)
	routed := func(pattern string) *http.Request {
		r := get()
		r.Pattern = pattern
		return r
	}
	forged := from("203.0.113.1:1")
	forged.Header.Set("X-Forwarded-For", "192.0.2.1")
	for _, c := range []struct {
		name string
		skip func(*http.Request) bool
		r    *http.Request
		want bool
	}{
		{"in the network", networks, from("192.0.2.9:1"), true},
		{"4-in-6", networks, from("[::ffff:192.0.2.9]:1"), true},
		{"in the other", networks, from("[2001:db8:1::1]:1"), true},
		{"beside it", networks, from("192.0.3.1:1"), false},
		{"forged", networks, forged, false},
		{"no address", networks, from("@"), false},
		{"no networks", ratelimit.SkipNetworks(), from("192.0.2.9:1"), false},
		{"the subject", subjects, as("https://idp", "monitor", "Bearer", ""), true},
		{"the other subject", subjects, as("https://idp", "batch", "Bearer", ""), true},
		{"of another issuer", subjects, as("", "monitor", "Basic", ""), false},
		{"another subject", subjects, as("https://idp", "alice", "Bearer", ""), false},
		{"anonymous", subjects, get(), false},
		{"the route", routes, routed("GET /healthz"), true},
		{"another route", routes, routed("GET /healthz/"), false},
		{"no route", routes, routed(""), false},
		{"either", any, from("192.0.2.9:1"), true},
		{"or", any, as("https://idp", "batch", "Bearer", ""), true},
		{"neither", any, from("203.0.113.1:1"), false},
		{"nothing", ratelimit.SkipAny(), get(), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.skip(c.r); got != c.want {
				t.Errorf("got %t, want %t", got, c.want)
			}
		})
	}
	t.Run("below the mux", func(t *testing.T) {
		l := newLimiter(t, ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerHour(1)}, Skip: routes})
		mux := http.NewServeMux()
		mux.Handle("GET /healthz", l.Wrap(ok))
		mux.Handle("GET /", l.Wrap(ok))
		for range 3 {
			if w := serve(mux, httptest.NewRequest(http.MethodGet, "/healthz", nil)); w.Code != 204 || len(w.Header()) > 0 {
				t.Fatalf("got %d with %v", w.Code, w.Header())
			}
		}
		serve(mux, get())
		if w := serve(mux, get()); w.Code != 429 {
			t.Errorf("another route: got %d, want 429", w.Code)
		}
	})
}
