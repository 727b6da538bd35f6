package ratelimit_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/ratelimit"
)

// left returns how much a key has left, by taking one that is given back.
func left(t *testing.T, l *ratelimit.Limiter, key string) int {
	t.Helper()
	r, res, err := l.Reserve(t.Context(), key, 1)
	if err != nil {
		t.Fatal(err)
	}
	if r == nil {
		return 0
	}
	if _, err := r.Settle(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	return res.Remaining + 1
}

func TestReserveAndSettle(t *testing.T) {
	for _, c := range []struct {
		name     string
		reserved int
		actual   []int
		left     int
	}{
		{"never settled", 30, nil, 70},
		{"as reserved", 30, []int{30}, 70},
		{"less", 30, []int{10}, 90},
		{"nothing", 30, []int{0}, 100},
		{"more", 30, []int{50}, 50},
		{"all there is", 30, []int{100}, 0},
		{"more than there is", 30, []int{1000}, 0},
		{"less, then more", 30, []int{10, 60}, 40},
		{"more, then less", 30, []int{60, 10}, 90},
		{"the same twice", 30, []int{10, 10}, 90},
		{"more than there is, then what was reserved", 30, []int{1 << 40, 1 << 40}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLimiter(t, ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerDay(100)}})
			r, res, err := l.Reserve(t.Context(), "a", c.reserved)
			if err != nil || r == nil || !res.Allowed || res.Remaining != 100-c.reserved {
				t.Fatalf("got %v, %+v, %v", r, res, err)
			}
			for _, n := range c.actual {
				if _, err := r.Settle(t.Context(), n); err != nil {
					t.Fatal(err)
				}
			}
			if got := left(t, l, "a"); got != c.left {
				t.Errorf("%d are left, want %d", got, c.left)
			}
			if got := left(t, l, "b"); got != 100 {
				t.Errorf("another key has %d left", got)
			}
		})
	}
	t.Run("refused", func(t *testing.T) {
		l := newLimiter(t, ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerDay(1)}})
		if r, res, err := l.Reserve(t.Context(), "a", 1); r == nil || !res.Allowed || err != nil {
			t.Fatalf("got %v, %+v, %v", r, res, err)
		}
		if r, res, err := l.Reserve(t.Context(), "a", 1); r != nil || res.Allowed || err != nil {
			t.Errorf("got %v, %+v, %v, want a refusal", r, res, err)
		}
		if r, _, err := l.Reserve(t.Context(), "a", 2); r != nil || !errors.Is(err, ratelimit.ErrCostExceedsBurst) {
			t.Errorf("got %v, %v", r, err)
		}
	})
	t.Run("several limits", func(t *testing.T) {
		l := newLimiter(t, ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerDay(100), ratelimit.PerHour(40), ratelimit.PerDay(90).WithBurst(60)}})
		r, _, err := l.Reserve(t.Context(), "a", 10)
		if err != nil {
			t.Fatal(err)
		}
		res, err := r.Settle(t.Context(), 100)
		if err != nil || res.Allowed && res.Remaining > 0 {
			t.Errorf("got %+v, %v, want what is left of the tightest", res, err)
		}
		if got := left(t, l, "a"); got != 0 {
			t.Errorf("%d are left, want none of the tightest", got)
		}
	})
	t.Run("negative", func(t *testing.T) {
		l := newLimiter(t, ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerDay(2)}})
		r, _, _ := l.Reserve(t.Context(), "a", 1)
		if _, err := r.Settle(t.Context(), -1); !errors.Is(err, ratelimit.ErrNegativeCost) {
			t.Errorf("got %v, want ErrNegativeCost", err)
		}
		if got := left(t, l, "a"); got != 1 {
			t.Errorf("%d are left, want 1", got)
		}
	})
	t.Run("at the same time", func(t *testing.T) {
		l := newLimiter(t, ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerDay(1000)}})
		r, _, _ := l.Reserve(t.Context(), "a", 500)
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() { _, _ = r.Settle(context.Background(), 10*i) })
		}
		wg.Wait()
		if _, err := r.Settle(t.Context(), 300); err != nil {
			t.Fatal(err)
		}
		// What was taken and given back again has been paid for a moment: of an event of 86
		// seconds that is nearly nothing.
		if got := left(t, l, "a"); got != 700 && got != 699 {
			t.Errorf("%d are left, want 700", got)
		}
	})
	t.Run("while the store fails", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := newFlaky(t)
			l := newLimiter(t, ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerDay(100)}, Store: store, OnStoreError: ratelimit.Deny})
			r, _, err := l.Reserve(t.Context(), "a", 50)
			if err != nil {
				t.Fatal(err)
			}
			store.fail.Store(true)
			if _, err := r.Settle(t.Context(), 10); !errors.Is(err, ratelimit.ErrUnavailable) {
				t.Errorf("got %v, want ErrUnavailable", err)
			}
			store.fail.Store(false)
			time.Sleep(1100 * time.Millisecond)
			// It may have been done, so it is not done again.
			if _, err := r.Settle(t.Context(), 10); err != nil {
				t.Errorf("settled again: %v", err)
			}
			if got := left(t, l, "a"); got != 50 {
				t.Errorf("%d are left, want 50", got)
			}
		})
	})
}

// A handler settles what its own request was counted as, by the limiter that it names.
func TestSettleInAHandler(t *testing.T) {
	tokens := newLimiter(t, ratelimit.Config{
		Name: "tokens", Limits: []ratelimit.Limit{ratelimit.PerDay(1000)}, Cost: func(*http.Request) int { return 400 }, SettleLater: true,
		Plan: planOf, Plans: map[string][]ratelimit.Limit{"pro": {ratelimit.PerDay(5000)}},
	})
	bytes := newLimiter(t, ratelimit.Config{Name: "bytes", Limits: []ratelimit.Limit{ratelimit.PerDay(100)}, SettleLater: true})
	requests := newLimiter(t, ratelimit.Config{Name: "requests", Limits: []ratelimit.Limit{ratelimit.PerDay(100)}})
	h := tokens.Wrap(requests.Wrap(bytes.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		ctx := context.WithValue(r.Context(), new(int), 1) // a context that is made from the request's
		if _, err := tokens.Settle(ctx, 150); err != nil {
			t.Error(err)
		}
		if _, err := bytes.Settle(ctx, 20); err != nil {
			t.Error(err)
		}
		if _, err := requests.Settle(ctx, 20); !errors.Is(err, ratelimit.ErrNoReservation) {
			t.Errorf("a limiter that settles nothing: got %v", err)
		}
	}))))
	w := serve(h, get())
	if w.Code != 200 || w.Header().Get("RateLimit") == "" {
		t.Fatalf("got %d %v", w.Code, w.Header())
	}
	serve(h, with("Plan", "pro"))
	key := keyOf(t, ratelimit.ByClientAddr, get())
	for _, c := range []struct {
		name string
		l    *ratelimit.Limiter
		want int
	}{{"tokens", tokens, 850}, {"bytes", bytes, 60}, {"requests", requests, 98}} {
		if got := left(t, c.l, key); got != c.want {
			t.Errorf("%s: %d are left, want %d", c.name, got, c.want)
		}
	}
	if _, err := tokens.Settle(t.Context(), 1); !errors.Is(err, ratelimit.ErrNoReservation) {
		t.Errorf("outside of a request: got %v", err)
	}
}

// What one request was counted as is nothing that another can settle.
func TestSettleIsOfOneRequest(t *testing.T) {
	l := newLimiter(t, ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerDay(100)}, SettleLater: true})
	var first context.Context
	h := l.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if first == nil {
			first = r.Context()
			return
		}
		if _, err := l.Settle(r.Context(), 50); err != nil {
			t.Error(err)
		}
	}))
	serve(h, from("192.0.2.1:1"))
	serve(h, from("192.0.2.2:1"))
	for addr, want := range map[string]int{"192.0.2.1:1": 99, "192.0.2.2:1": 50} {
		if got := left(t, l, keyOf(t, ratelimit.ByClientAddr, from(addr))); got != want {
			t.Errorf("%s has %d left, want %d", addr, got, want)
		}
	}
	if _, err := l.Settle(first, 10); err != nil {
		t.Errorf("a request that is settled after its answer: %v", err)
	}
	if got := left(t, l, keyOf(t, ratelimit.ByClientAddr, from("192.0.2.1:1"))); got != 90 {
		t.Errorf("it has %d left, want 90", got)
	}
}
