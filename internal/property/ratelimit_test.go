package property_test

import (
	"context"
	"math/big"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
	"pgregory.net/rapid"

	"github.com/sallyport/sallyport/ratelimit"
)

// check looks for inputs that break a property, with the clock of a bubble.
func check(t *testing.T, property func(*rapid.T)) {
	t.Helper()
	// rapid would ask for the deadline, which a test in a bubble has not.
	synctest.Test(t, func(t *testing.T) { rapid.Check(struct{ testing.TB }{t}, property) })
}

// limits are of every kind and every awkward size.
func limits() *rapid.Generator[ratelimit.Limit] {
	return rapid.Custom(func(t *rapid.T) ratelimit.Limit {
		l := ratelimit.Limit{
			Events: rapid.IntRange(1, 50).Draw(t, "events"),
			Per:    time.Duration(rapid.SampledFrom([]int64{1, 7, 1000, 333_333_333, int64(time.Second), int64(time.Minute), int64(time.Hour)}).Draw(t, "per")),
		}
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			return l.Sliding()
		case 1:
			return ratelimit.PerCalendarDay(l.Events, nil)
		}
		l.Burst = rapid.IntRange(1, 80).Draw(t, "burst")
		return l
	})
}

func someLimits() *rapid.Generator[[]ratelimit.Limit] { return rapid.SliceOfN(limits(), 1, 4) }

func open(t *rapid.T, limits ...ratelimit.Limit) *ratelimit.Limiter {
	l, err := ratelimit.New(ratelimit.Config{Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// burst is how much a limit allows at once.
func burst(l ratelimit.Limit) int {
	if l.Burst == 0 {
		return l.Events
	}
	return l.Burst
}

func cost(t *rapid.T, limits []ratelimit.Limit) int {
	least := burst(limits[0])
	for _, l := range limits {
		least = min(least, burst(l))
	}
	return rapid.IntRange(1, least).Draw(t, "n")
}

func pause(t *rapid.T, limits []ratelimit.Limit) {
	longest := int64(0)
	for _, l := range limits {
		longest = max(longest, int64(l.Per))
	}
	time.Sleep(time.Duration(rapid.Int64Range(0, 2*longest/rapid.Int64Range(1, 100).Draw(t, "part")).Draw(t, "pause")))
}

// No span of time has more events than the limit says: Burst + Events × d / Per by GCRA,
// Events within a day of the calendar, twice Events within Per by a sliding window.
func TestNothingBeyondTheLimit(t *testing.T) {
	check(t, func(t *rapid.T) {
		all := someLimits().Draw(t, "limits")
		l := open(t, all...)
		type spent struct {
			at time.Time
			n  int
		}
		var events []spent
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			n := cost(t, all)
			res, err := l.Take(context.Background(), "k", n)
			if err != nil {
				t.Fatal(err)
			}
			if res.Allowed {
				events = append(events, spent{time.Now(), n})
			}
			pause(t, all)
		}
		for _, limit := range all {
			for i := range events {
				sum := 0
				for _, e := range events[i:] {
					sum += e.n
					d := e.at.Sub(events[i].at)
					most := 0
					switch {
					case limit.Window.IsCalendar():
						start, _ := limit.Window.Bounds(e.at)
						if events[i].at.Before(start) {
							continue
						}
						most = limit.Events
					case limit.Window.IsSliding():
						if d >= limit.Per {
							continue
						}
						most = 2 * limit.Events
					default:
						gained := new(big.Int).Mul(big.NewInt(int64(d)), big.NewInt(int64(limit.Events)))
						most = burst(limit) + int(gained.Quo(gained, big.NewInt(int64(limit.Per))).Int64())
					}
					if sum > most {
						t.Fatalf("%s: %d events within %s, at most %d are allowed", limit, sum, d, most)
					}
				}
			}
		}
	})
}

// A refusal takes nothing: with it or without it all later decisions are the same.
func TestAllOrNone(t *testing.T) {
	check(t, func(t *rapid.T) {
		all := someLimits().Draw(t, "limits")
		one, other := open(t, all...), open(t, all...)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			n := cost(t, all)
			res, err := one.Take(context.Background(), "k", n)
			if err != nil {
				t.Fatal(err)
			}
			if res.Allowed { // the other is never asked for what is refused
				again, err := other.Take(context.Background(), "k", n)
				if err != nil || again != res {
					t.Fatalf("Take(%d): %+v, but %+v (%v) where nothing was refused before", n, res, again, err)
				}
			}
			pause(t, all)
		}
	})
}

// Who spends less, or waits longer, never has less left.
func TestMonotonicity(t *testing.T) {
	check(t, func(t *rapid.T) {
		limit := limits().Draw(t, "limit")
		frugal, lavish := open(t, limit), open(t, limit)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			n := cost(t, []ratelimit.Limit{limit})
			b, err := lavish.Take(context.Background(), "k", n)
			if err != nil {
				t.Fatal(err)
			}
			var a ratelimit.Result
			less := rapid.IntRange(0, n).Draw(t, "less")
			if less > 0 && b.Allowed {
				if a, err = frugal.Take(context.Background(), "k", less); err != nil || !a.Allowed {
					t.Fatalf("Take(%d) is allowed, but after spending less Take(%d) is not: %+v, %v", n, less, a, err)
				}
				if a.Remaining < b.Remaining {
					t.Fatalf("%d are left after Take(%d), but %d after Take(%d)", a.Remaining, less, b.Remaining, n)
				}
			}
			pause(t, []ratelimit.Limit{limit})
		}
	})
}

// What RetryAfter says is so: refused until then, and allowed from then on.
func TestRetryAfterIsExact(t *testing.T) {
	check(t, func(t *rapid.T) {
		all := someLimits().Draw(t, "limits")
		l := open(t, all...)
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			n := cost(t, all)
			res, err := l.Take(context.Background(), "k", n)
			if err != nil {
				t.Fatal(err)
			}
			if res.Allowed {
				pause(t, all)
				continue
			}
			if res.RetryAfter > 1 {
				time.Sleep(res.RetryAfter - time.Nanosecond)
				if early, err := l.Take(context.Background(), "k", n); err != nil || early.Allowed || early.RetryAfter != 1 {
					t.Fatalf("a nanosecond before RetryAfter of %+v: %+v, %v", res, early, err)
				}
				time.Sleep(time.Nanosecond)
			} else {
				time.Sleep(res.RetryAfter)
			}
			if then, err := l.Take(context.Background(), "k", n); err != nil || !then.Allowed {
				t.Fatalf("at RetryAfter of %+v: %+v, %v", res, then, err)
			}
		}
	})
}

// A million sequences of keys, costs and steps of time give what x/time/rate gives, for
// intervals of whole nanoseconds. That counts in floats, and forgives up to a nanosecond;
// so time goes by quarters of the interval, on which no lack is that small.
func TestAMillionDecisionsEqualXTimeRate(t *testing.T) {
	const decisions = 1_000_000
	synctest.Test(t, func(t *testing.T) {
		seen := 0
		for seed := 0; seen < decisions; seed++ {
			random := newRandom(uint64(seed)) //nolint:gosec // not negative
			quarter := time.Duration(1 + random.IntN(250_000_000))
			interval := 4 * quarter
			events := 1 + random.IntN(20)
			limit := ratelimit.Limit{Events: events, Per: interval * time.Duration(events), Burst: 1 + random.IntN(30)}
			l, err := ratelimit.New(ratelimit.Config{Limits: []ratelimit.Limit{limit}})
			if err != nil {
				t.Fatal(err)
			}
			const keys = 4
			var oracles [keys]*rate.Limiter
			for i := range oracles {
				oracles[i] = rate.NewLimiter(rate.Every(interval), limit.Burst)
			}
			for range 200 {
				seen++
				key, n := random.IntN(keys), 1+random.IntN(limit.Burst)
				if random.IntN(2) == 0 {
					n = 1
				}
				got, err := l.Take(t.Context(), strconv.Itoa(key), n)
				if err != nil {
					t.Fatal(err)
				}
				if want := oracles[key].AllowN(time.Now(), n); got.Allowed != want {
					t.Fatalf("seed %d, %s: Take(%d) allowed %t, x/time says %t", seed, limit, n, got.Allowed, want)
				}
				time.Sleep(quarter * time.Duration(random.IntN(12)))
			}
		}
	})
}
