package ratelimit_test

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/ratelimit"
)

// Of several refusals the longest is the answer.
func TestTogetherAnswersTheLongest(t *testing.T) {
	for _, swap := range []bool{false, true} {
		a := newLimiter(t, ratelimit.Config{Name: "a", Limits: []ratelimit.Limit{ratelimit.PerSecond(1)}})
		b := newLimiter(t, ratelimit.Config{Name: "b", Limits: []ratelimit.Limit{ratelimit.PerDay(1)}})
		g := together(t, a, b)
		if swap {
			g = together(t, b, a)
		}
		h := g.Wrap(ok)
		serve(h, get())
		if w := serve(h, get()); w.Header().Get("Retry-After") != "86400" {
			t.Errorf("Retry-After: %s, want 86400", w.Header().Get("Retry-After"))
		}
	}
}

// X-RateLimit tells of what binds.
func TestTogetherXRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newLimiter(t, ratelimit.Config{Name: "a", Limits: []ratelimit.Limit{ratelimit.PerDay(1)}, XRateLimit: true})
		b := newLimiter(t, ratelimit.Config{Name: "b", Limits: []ratelimit.Limit{ratelimit.PerMinute(9)}, XRateLimit: true})
		h := together(t, a, b).Wrap(ok)
		w := serve(h, get())
		if got := w.Header().Get("X-RateLimit-Remaining"); got != "0" {
			t.Errorf("allowed: %s remain, but the next is refused: %v", got, w.Header())
		}
		c := newLimiter(t, ratelimit.Config{Name: "c", Limits: []ratelimit.Limit{ratelimit.PerSecond(1)}, XRateLimit: true})
		h = together(t, a, c).Wrap(ok)
		_, _ = c.Take(t.Context(), keyOf(t, ratelimit.ByClientAddr, get()), 1)
		w = serve(h, get())
		retry, _ := strconv.Atoi(w.Header().Get("Retry-After"))
		reset, _ := strconv.Atoi(w.Header().Get("X-RateLimit-Reset"))
		if want := int(time.Now().Unix()) + retry; reset != want {
			t.Errorf("refused: X-RateLimit-Reset is in %ds, Retry-After says %d", reset-int(time.Now().Unix()), retry)
		}
	})
}

// The fields tell what is left after it was given back.
func TestTogetherFieldsAfterGivingBack(t *testing.T) {
	a := newLimiter(t, ratelimit.Config{Name: "a", Limits: []ratelimit.Limit{ratelimit.PerDay(10)}, Store: newFlaky(t)})
	b := newLimiter(t, ratelimit.Config{Name: "b", Limits: []ratelimit.Limit{ratelimit.PerDay(1)}, Store: newFlaky(t)})
	h := together(t, a, b).Wrap(ok)
	serve(h, get())
	w := serve(h, get())
	if got := w.Header()["Ratelimit"]; w.Code != 429 || len(got) != 2 || !strings.HasPrefix(got[0], `"a";r=9;`) {
		t.Errorf("got %d and %q, want that a has 9 left", w.Code, got)
	}
}

// A copy of a limiter is the same limiter.
func TestTogetherWithACopy(t *testing.T) {
	l := newLimiter(t, ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerMinute(10)}})
	c := *l
	if g, err := ratelimit.Together(l, &c); g != nil || err == nil {
		t.Errorf("got %v, %v, want an error: it would wait for itself", g, err)
	}
}

// Groups in both orders, with plans, windows and settling, at the same time.
func TestTogetherRace(t *testing.T) {
	a := newLimiter(t, ratelimit.Config{Name: "a", Limits: []ratelimit.Limit{ratelimit.PerDay(1000), ratelimit.PerCalendarDay(900, nil)}, SettleLater: true})
	b := newLimiter(t, ratelimit.Config{Name: "b", Limits: []ratelimit.Limit{ratelimit.PerMinute(500).Sliding()}, Plan: planOf, Plans: map[string][]ratelimit.Limit{"pro": {ratelimit.PerDay(700)}}, Key: ratelimit.ByNothing, XRateLimit: true})
	c := newLimiter(t, ratelimit.Config{Name: "c", Limits: []ratelimit.Limit{ratelimit.PerDay(10)}, Shadow: true, Audit: new(recorder)})
	h := together(t, a, b, c).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = a.Settle(ctx, 2) })
		_, _ = a.Settle(ctx, 3)
		wg.Wait()
		_, _ = a.Settle(ctx, 1)
	}))
	h2 := together(t, b, a).Wrap(ok)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 60 {
				r := get()
				if (i+j)%2 == 0 {
					r = with("Plan", "pro")
				}
				if j%3 == 0 {
					serve(h2, r)
				} else {
					serve(h, r)
				}
			}
		})
	}
	wg.Wait()
}

// No two quotas have one name.
func TestPlanNamesAreApart(t *testing.T) {
	l, err := ratelimit.New(ratelimit.Config{
		Name: "api", Limits: []ratelimit.Limit{ratelimit.PerSecond(5), ratelimit.PerHour(10)},
		Plan: planOf, Plans: map[string][]ratelimit.Limit{"2": {ratelimit.PerDay(7)}},
	})
	if l != nil || err == nil || !strings.Contains(err.Error(), `"api-2"`) {
		t.Errorf("got %v, %v, want an error: the second limit is called api-2 as well", l, err)
	}
}

// A store that panics leaves nothing taken.
func TestTogetherWithAPanic(t *testing.T) {
	store := newFlaky(t)
	first := newLimiter(t, ratelimit.Config{Name: "first", Limits: []ratelimit.Limit{ratelimit.PerDay(10)}, Store: newFlaky(t)})
	second := newLimiter(t, ratelimit.Config{Name: "second", Limits: []ratelimit.Limit{ratelimit.PerDay(10)}, Store: store})
	store.panic.Store(true)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("there was no panic")
			}
		}()
		_, _ = together(t, first, second).Check(get())
	}()
	time.Sleep(10 * time.Millisecond) // which pays for the time that it was counted
	if got := left(t, first, keyOf(t, ratelimit.ByClientAddr, get())); got != 10 {
		t.Errorf("the first has %d left, want 10", got)
	}
}

// In shadow a request goes on even if a function of Config panics.
func TestShadowPanic(t *testing.T) {
	l := newLimiter(t, ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerDay(100)}, Shadow: true, Plan: planOf, Plans: map[string][]ratelimit.Limit{"pro": {ratelimit.PerDay(700)}}})
	defer func() {
		if recover() != nil {
			t.Error("shadow: the request did not go on")
		}
	}()
	serve(l.Wrap(ok), with("Plan", "panic"))
}
