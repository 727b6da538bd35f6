package ratelimit_test

import (
	"errors"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/ratelimit"
)

// planOf reads a request's plan out of a field, which only a test does.
func planOf(r *http.Request) (string, error) {
	switch plan := r.Header.Get("Plan"); plan {
	case "error":
		return "", errors.New("no route to the billing system")
	case "problem":
		return "", httperr.New(http.StatusPaymentRequired, "unpaid", "The subscription is not paid.")
	case "panic":
		panic("no such customer")
	default:
		return plan, nil
	}
}

func TestPlans(t *testing.T) {
	store := newMemory(t, ratelimit.MemoryConfig{})
	l := newLimiter(t, ratelimit.Config{
		Name: "api", Limits: []ratelimit.Limit{ratelimit.PerHour(1)}, Store: store,
		Plans: map[string][]ratelimit.Limit{"pro": {ratelimit.PerHour(3), ratelimit.PerDay(50)}, "max": {ratelimit.PerSecond(100)}},
		Plan:  planOf,
	})
	h := httperr.Recover()(l.Wrap(ok))
	for i, step := range []struct {
		plan   string
		status int
		policy string
		limit  string
	}{
		{"", 204, `"api";q=1;w=3600`, `"api";r=0;t=3600`},
		{"", 429, `"api";q=1;w=3600`, `"api";r=0;t=3600`},
		{"pro", 204, `"api-pro";q=3;w=3600, "api-pro-2";q=50;w=86400`, `"api-pro";r=2;t=2400`},
		{"pro", 204, `"api-pro";q=3;w=3600, "api-pro-2";q=50;w=86400`, `"api-pro";r=1;t=1200`},
		{"pro", 204, `"api-pro";q=3;w=3600, "api-pro-2";q=50;w=86400`, `"api-pro";r=0;t=1200`},
		{"pro", 429, `"api-pro";q=3;w=3600, "api-pro-2";q=50;w=86400`, `"api-pro";r=0;t=1200`},
		{"max", 204, `"api-max";q=100;w=1`, `"api-max";r=99;t=1`},
		{"", 429, `"api";q=1;w=3600`, `"api";r=0;t=3600`},
		{"unknown", 500, "", ""},
		{"PRO", 500, "", ""},
		{"error", 500, "", ""},
		{"problem", 402, "", ""},
		{"panic", 500, "", ""},
	} {
		w := serve(h, with("Plan", step.plan))
		if w.Code != step.status || step.status < 430 && step.status != 402 && (w.Header().Get("RateLimit-Policy") != step.policy || w.Header().Get("RateLimit") != step.limit) {
			t.Errorf("step %d, plan %q: got %d, %q, %q; want %d, %q, %q", i+1, step.plan, w.Code,
				w.Header().Get("RateLimit-Policy"), w.Header().Get("RateLimit"), step.status, step.policy, step.limit)
		}
	}
	if got := l.Plans(); !reflect.DeepEqual(got["pro"], []ratelimit.Limit{ratelimit.PerHour(3).WithBurst(3), ratelimit.PerDay(50).WithBurst(50)}) || len(got) != 2 {
		t.Errorf("Plans: got %v", got)
	}
	if got := l.Limits(); len(got) != 1 || got[0] != ratelimit.PerHour(1).WithBurst(1) {
		t.Errorf("Limits: got %v", got)
	}
	if _, err := ratelimit.New(ratelimit.Config{Name: "api-pro", Limits: []ratelimit.Limit{ratelimit.PerHour(1)}, Store: store}); err == nil {
		t.Error("a limiter has the name of a plan in the same store")
	}
}

// A limiter in shadow admits everything, says nothing to clients, and tells what it
// would have refused.
func TestShadow(t *testing.T) {
	rec := new(recorder)
	l := newLimiter(t, ratelimit.Config{
		Name: "new", Limits: []ratelimit.Limit{ratelimit.PerHour(2)}, Shadow: true, Audit: rec, Cost: func(r *http.Request) int {
			n, _ := strconv.Atoi(r.Header.Get("Cost"))
			return n
		},
		Plan: planOf, Plans: map[string][]ratelimit.Limit{"pro": {ratelimit.PerHour(9)}},
	})
	reached := 0
	h := l.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { reached++ }))
	for i, step := range []struct {
		cost, plan string
		reason     string
	}{
		{"1", "", ""},
		{"1", "", ""},
		{"1", "", "new: over 2 per 1h0m0s (shadow: the request went on)"},
		{"3", "", "new: the cost exceeds the burst of a limit (shadow: the request went on)"},
		{"9", "pro", ""},
		{"1", "pro", "new-pro: over 9 per 1h0m0s (shadow: the request went on)"},
		{"0", "", "new: could not decide: ratelimit: Config.Cost returned 0: ratelimit: the cost is not positive (shadow: the request went on)"},
		{"1", "error", "new: could not decide: ratelimit: Config.Plan: no route to the billing system (shadow: the request went on)"},
	} {
		r := with("Cost", step.cost)
		r.Header.Set("Plan", step.plan)
		w := serve(h, r)
		events := rec.Take()
		if w.Code != 200 || len(w.Header()) > 0 || reached != i+1 {
			t.Errorf("step %d: got %d with %v; the handler was reached %d times", i+1, w.Code, w.Header(), reached)
		}
		switch {
		case step.reason == "" && len(events) > 0, step.reason != "" && len(events) != 1:
			t.Errorf("step %d: got the events %v", i+1, events)
		case step.reason != "" && (events[0].Reason != step.reason || events[0].Name != audit.RateLimitExceeded):
			t.Errorf("step %d: got %q, want %q", i+1, events[0].Reason, step.reason)
		}
	}
	if res, err := l.Check(with("Cost", "1")); err != nil || res.Allowed || len(rec.Take()) != 1 {
		t.Errorf("Check: got %+v, %v, want what would be, no error and an event", res, err)
	}
}

// What a request in shadow costs can be settled as if it counted, whatever became of it.
func TestShadowSettles(t *testing.T) {
	l := newLimiter(t, ratelimit.Config{
		Limits: []ratelimit.Limit{ratelimit.PerDay(10)}, Shadow: true, SettleLater: true, Audit: new(recorder), Cost: func(*http.Request) int { return 6 },
		Plan: planOf, Plans: map[string][]ratelimit.Limit{"pro": {ratelimit.PerDay(100)}},
	})
	var settled []error
	h := l.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, err := l.Settle(r.Context(), 2)
		settled = append(settled, err)
	}))
	for range 3 { // 6 and 2 of 10, then 6 and 2 of 8, then 6 of 6
		serve(h, get())
	}
	serve(h, with("Plan", "error"))
	if len(settled) != 4 || settled[0] != nil || settled[1] != nil || settled[2] != nil || !errors.Is(settled[3], ratelimit.ErrNoReservation) {
		t.Errorf("got %v, want three that are settled and one that is nobody's", settled)
	}
	if got := left(t, l, keyOf(t, ratelimit.ByClientAddr, get())); got != 4 {
		t.Errorf("%d are left, want 4", got)
	}
}

// In shadow nothing is settled of a cost that is none.
func TestShadowWithoutACost(t *testing.T) {
	cost := -3
	l := newLimiter(t, ratelimit.Config{
		Limits: []ratelimit.Limit{ratelimit.PerDay(10)}, Shadow: true, SettleLater: true, Audit: new(recorder), Cost: func(*http.Request) int { return cost },
	})
	serve(l.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := l.Settle(r.Context(), 5); !errors.Is(err, ratelimit.ErrNoReservation) {
			t.Errorf("got %v, want ErrNoReservation", err)
		}
	})), get())
	if got := left(t, l, keyOf(t, ratelimit.ByClientAddr, get())); got != 10 {
		t.Errorf("%d are left, want 10", got)
	}
}

func TestRetryJitter(t *testing.T) {
	l := newLimiter(t, ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerMinute(1)}, RetryJitter: 30 * time.Second})
	h := l.Wrap(ok)
	serve(h, get())
	seen := make(map[int]bool)
	for range 200 {
		w := serve(h, get())
		after, err := strconv.Atoi(w.Header().Get("Retry-After"))
		if err != nil || after < 59 || after > 90 {
			t.Fatalf("got Retry-After %q, want 60 to 90", w.Header().Get("Retry-After"))
		}
		if got := w.Header().Get("RateLimit"); !strings.HasPrefix(got, `"default";r=0;t=`) {
			t.Fatalf("got RateLimit %q", got)
		}
		seen[after] = true
	}
	if len(seen) < 10 {
		t.Errorf("%d different times among 200 answers", len(seen))
	}
}

func TestXRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(t, ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerMinute(3)}, XRateLimit: true})
		h := l.Wrap(ok)
		for i, want := range []struct {
			remaining string
			reset     time.Duration
		}{{"2", 20 * time.Second}, {"1", 40 * time.Second}, {"0", 60 * time.Second}, {"0", 20 * time.Second}} {
			header := serve(h, get()).Header()
			reset := strconv.FormatInt(time.Now().Add(want.reset).Unix(), 10)
			if header.Get("X-RateLimit-Limit") != "3" || header.Get("X-RateLimit-Remaining") != want.remaining || header.Get("X-RateLimit-Reset") != reset {
				t.Errorf("answer %d: got %v, want %s remaining and a reset at %s", i+1, header, want.remaining, reset)
			}
			if header.Get("RateLimit") == "" {
				t.Errorf("answer %d has no RateLimit field", i+1)
			}
		}
		if header := serve(newLimiter(t, ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerMinute(3)}}).Wrap(ok), get()).Header(); header.Get("X-RateLimit-Limit") != "" {
			t.Errorf("without the option: got %v", header)
		}
	})
}
