package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"github.com/sallyport/sallyport/ratelimit"
)

// Every decision equals that of golang.org/x/time/rate, which counts tokens in
// floats: it forgives a lack of less than 1 ns, and may forgive one of exactly 1
// ns. So the steps of time are multiples of a grid, on which no lack is that
// small or a matter of luck.
func TestDecisionsEqualXTimeRate(t *testing.T) {
	const keys, steps = 7, 25_000
	for _, c := range []struct {
		limit ratelimit.Limit
		grid  time.Duration
	}{
		{ratelimit.PerSecond(10), time.Microsecond},
		{ratelimit.PerSecond(10).WithBurst(25), time.Millisecond},
		{ratelimit.PerSecond(1000).WithBurst(3), 100},
		{ratelimit.PerMinute(60).WithBurst(1), time.Millisecond},
		{ratelimit.PerHour(1000), time.Millisecond},
		{ratelimit.Limit{Events: 1, Per: 333_333_333, Burst: 9}, 1},
		{ratelimit.Limit{Events: 5, Per: 5 * 1_234_567_891, Burst: 4}, 1},
	} {
		t.Run(c.limit.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := bucket(t, ratelimit.MemoryConfig{}, c.limit)
				interval := c.limit.Per / time.Duration(c.limit.Events)
				burst := c.limit.Burst
				if burst == 0 {
					burst = c.limit.Events
				}
				var oracles [keys]*rate.Limiter
				for i := range oracles {
					oracles[i] = rate.NewLimiter(rate.Every(interval), burst)
				}
				rnd := rand.New(rand.NewPCG(1, uint64(interval)))
				allowed := 0
				for step := range steps {
					key, n := rnd.IntN(keys), 1
					if rnd.IntN(3) == 0 {
						n = 1 + rnd.IntN(burst)
					}
					want := oracles[key].AllowN(time.Now(), n)
					got := take(t, b, strconv.Itoa(key), n)
					if got.Allowed != want {
						t.Fatalf("step %d, key %d, cost %d: got allowed %t, x/time/rate says %t", step, key, n, got.Allowed, want)
					}
					if want {
						allowed++
					}
					switch {
					case rnd.IntN(4) == 0: // time stands still
					case rnd.IntN(4) == 0 && got.RetryAfter%c.grid == 0:
						time.Sleep(got.RetryAfter) // the very moment
					case rnd.IntN(50) == 0:
						time.Sleep(time.Duration(rnd.Int64N(int64(2*interval)*int64(burst)/int64(c.grid))) * c.grid)
					default:
						time.Sleep(time.Duration(rnd.Int64N(int64(interval)/2/int64(c.grid)+1)) * c.grid)
					}
				}
				if allowed < steps/20 || allowed > steps*19/20 {
					t.Errorf("%d of %d steps were allowed, so the test shows little", allowed, steps)
				}
			})
		})
	}
}

// A model is a limit in exact arithmetic: times are counted in 1/Events ns.
type model struct {
	limit ratelimit.Limit
	tat   map[string]*big.Int
}

func newModel(l ratelimit.Limit) *model {
	if l.Burst == 0 {
		l.Burst = l.Events
	}
	return &model{limit: l, tat: make(map[string]*big.Int)}
}

func units(n int64, scale int64) *big.Int {
	return new(big.Int).Mul(big.NewInt(n), big.NewInt(scale))
}

// debt is what key owes now, the time since the start.
func (m *model) debt(key string, now time.Duration) *big.Int {
	tat, at := m.tat[key], units(int64(now), int64(m.limit.Events))
	if tat == nil || tat.Cmp(at) < 0 {
		return new(big.Int)
	}
	return new(big.Int).Sub(tat, at)
}

// wait is how long until n is allowed, in ns rounded up; 0 if it is.
func (m *model) wait(key string, now time.Duration, n int) time.Duration {
	after := new(big.Int).Add(m.debt(key, now), units(int64(n), int64(m.limit.Per)))
	return ceil(after.Sub(after, units(int64(m.limit.Burst), int64(m.limit.Per))), m.limit.Events)
}

func (m *model) spend(key string, now time.Duration, n int) {
	tat := new(big.Int).Add(m.debt(key, now), units(int64(n), int64(m.limit.Per)))
	m.tat[key] = tat.Add(tat, units(int64(now), int64(m.limit.Events)))
}

func (m *model) remaining(key string, now time.Duration) int {
	left := new(big.Int).Sub(units(int64(m.limit.Burst), int64(m.limit.Per)), m.debt(key, now))
	return int(left.Quo(left, big.NewInt(int64(m.limit.Per))).Int64())
}

func ceil(units *big.Int, events int) time.Duration {
	if units.Sign() <= 0 {
		return 0
	}
	q, r := new(big.Int).QuoRem(units, big.NewInt(int64(events)), new(big.Int))
	if r.Sign() > 0 {
		q.Add(q, big.NewInt(1))
	}
	return time.Duration(q.Int64())
}

// take is what Take must return for limits that are kept by models.
func takeModels(models []*model, key string, now time.Duration, n int) ratelimit.Result {
	var refused ratelimit.Result
	for _, m := range models {
		if wait := m.wait(key, now, n); wait > refused.RetryAfter {
			refused = ratelimit.Result{
				Limit: m.limit, Remaining: m.remaining(key, now),
				RetryAfter: wait, ResetAfter: ceil(m.debt(key, now), m.limit.Events),
			}
		}
	}
	if refused.RetryAfter > 0 {
		return refused
	}
	var least ratelimit.Result
	for _, m := range models {
		m.spend(key, now, n)
		res := ratelimit.Result{
			Allowed: true, Limit: m.limit, Remaining: m.remaining(key, now),
			ResetAfter: ceil(m.debt(key, now), m.limit.Events),
		}
		if least.Limit.Burst == 0 ||
			big.NewRat(int64(res.Remaining), int64(res.Limit.Burst)).Cmp(big.NewRat(int64(least.Remaining), int64(least.Limit.Burst))) < 0 {
			least = res
		}
	}
	return least
}

// Every result, to the nanosecond, equals that of exact arithmetic, where x/time
// counts in floats: for rates that are no whole number of nanoseconds, very fast
// and very slow ones, huge bursts, and several limits at once.
func TestResultsEqualExactModel(t *testing.T) {
	const keys, steps = 3, 6000
	for _, limits := range [][]ratelimit.Limit{
		{ratelimit.PerSecond(3)},
		{ratelimit.PerSecond(3).WithBurst(1)},
		{ratelimit.PerMinute(7).WithBurst(100)},
		{ratelimit.PerSecond(999_999_937)},
		{ratelimit.PerSecond(math.MaxInt32).WithBurst(50)},
		{ratelimit.PerDay(1_000_003)},
		{ratelimit.PerDay(86_399).WithBurst(2)},
		{{Events: 7, Per: 3}},
		{{Events: math.MaxInt64, Per: time.Second}},
		{{Events: math.MaxInt64, Per: time.Second, Burst: 5}},
		{{Events: math.MaxInt64 - 24, Per: 97 * time.Hour, Burst: 1 << 40}},
		{{Events: 3, Per: 1 << 61}},
		{{Events: 1, Per: 1<<62 - 1}},
		{ratelimit.PerSecond(10).WithBurst(20), ratelimit.PerHour(1000)},
		{ratelimit.PerSecond(math.MaxInt64), ratelimit.PerSecond(math.MaxInt64 - 1).WithBurst(math.MaxInt64 - 7), {Events: math.MaxInt64, Per: 3 * time.Second}},
		{ratelimit.PerSecond(3), ratelimit.PerSecond(7).WithBurst(4), ratelimit.PerMinute(60).WithBurst(90), ratelimit.PerDay(1_000_003)},
	} {
		t.Run(fmt.Sprint(limits), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := bucket(t, ratelimit.MemoryConfig{}, limits...)
				start := time.Now()
				rnd := rand.New(rand.NewPCG(2, uint64(len(limits))))
				models := make([]*model, len(limits))
				most := math.MaxInt
				for i, l := range limits {
					models[i] = newModel(l)
					most = min(most, models[i].limit.Burst)
				}
				var seen [2]int
				for step := range steps {
					key, n := strconv.Itoa(rnd.IntN(keys)), 1
					switch rnd.IntN(4) {
					case 0:
						n += rnd.IntN(most)
					case 1:
						n = most
					}
					want := takeModels(models, key, time.Since(start), n)
					got := take(t, b, key, n)
					if got != want {
						t.Fatalf("step %d at %s, key %s, cost %d:\n got %+v\nwant %+v", step, time.Since(start), key, n, got, want)
					}
					if got.Allowed {
						seen[1]++
					} else {
						seen[0]++
					}
					var pause time.Duration
					switch rnd.IntN(5) {
					case 0: // time stands still
					case 1: // the very moment
						pause = got.RetryAfter
					case 2: // just before it
						pause = max(got.RetryAfter-1, 0)
					case 3:
						pause = time.Duration(rnd.Int64N(int64(got.ResetAfter) + 1))
					case 4:
						pause = time.Duration(rnd.Int64N(int64(models[0].limit.Per)/int64(models[0].limit.Events) + 2))
					}
					if time.Since(start)+pause < 100*365*24*time.Hour { // or the clock ends
						time.Sleep(pause)
					}
				}
				if seen[0] < 20 || seen[1] < keys {
					t.Errorf("%d steps were refused and %d allowed, so the test shows little", seen[0], seen[1])
				}
			})
		})
	}
}

// No span of time has more events than Burst + Events × span / Per, wherever it
// begins. A fixed window allows twice its quota across its edge.
func TestNoWindowEdge(t *testing.T) {
	for _, l := range []ratelimit.Limit{ratelimit.PerSecond(3), ratelimit.PerMinute(100), ratelimit.PerSecond(10).WithBurst(1)} {
		t.Run(l.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := bucket(t, ratelimit.MemoryConfig{}, l)
				burst := max(l.Burst, 1)
				if l.Burst == 0 {
					burst = l.Events
				}
				rnd := rand.New(rand.NewPCG(3, 3))
				start := time.Now()
				var at []time.Duration
				for len(at) < 1000 {
					if take(t, b, "a", 1).Allowed {
						at = append(at, time.Since(start))
						continue
					}
					time.Sleep(time.Duration(rnd.Int64N(int64(3 * l.Per))))
					for rnd.IntN(3) > 0 { // about the edges of whole windows
						time.Sleep(l.Per - time.Since(start)%l.Per - 1 + time.Duration(rnd.Int64N(3)))
					}
				}
				for i := range at {
					for j := i; j < len(at); j++ {
						most := burst + int(int64(at[j]-at[i])*int64(l.Events)/int64(l.Per))
						if got := j - i + 1; got > most {
							t.Fatalf("%d events from %s to %s, want at most %d", got, at[i], at[j], most)
						}
					}
				}
			})
		})
	}
}

// Costs beyond what is possible are errors, and never wrap around to something
// that is allowed.
func TestCostExtremes(t *testing.T) {
	for _, l := range []ratelimit.Limit{
		ratelimit.PerSecond(10),
		{Events: math.MaxInt, Per: math.MaxInt64, Burst: 1},
		{Events: math.MaxInt, Per: 1},
		{Events: math.MaxInt, Per: 1 << 61},
		{Events: 1, Per: 1, Burst: 1 << 61},
		{Events: 1, Per: 1<<62 - 1, Burst: 1},
	} {
		t.Run(l.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := bucket(t, ratelimit.MemoryConfig{}, l)
				burst := l.Burst
				if burst == 0 {
					burst = l.Events
				}
				if burst < math.MaxInt {
					for _, n := range []int{burst + 1, math.MaxInt, math.MaxInt - 1} {
						if res, err := b.Take(t.Context(), "a", n); !errors.Is(err, ratelimit.ErrCostExceedsBurst) || res.Allowed {
							t.Errorf("cost %d: got %+v, %v, want ErrCostExceedsBurst", n, res, err)
						}
					}
				}
				if res := take(t, b, "a", burst); !res.Allowed || res.Remaining != 0 {
					t.Errorf("cost %d: got %+v, want allowed with 0 remaining", burst, res)
				}
				if res := take(t, b, "a", burst); res.Allowed || res.RetryAfter <= 0 {
					t.Errorf("cost %d again: got %+v, want refused", burst, res)
				}
				if res := take(t, b, "a", math.MinInt); !res.Allowed || res.Remaining != burst || res.ResetAfter != 0 {
					t.Errorf("all given back: got %+v, want %d remaining", res, burst)
				}
			})
		})
	}
}

// A clock that stands before the store's start, or that goes back, gives no
// second burst and does not make the first one impossible.
func TestClockBeforeStart(t *testing.T) {
	b := bucket(t, ratelimit.MemoryConfig{}, ratelimit.PerSecond(10))
	synctest.Test(t, func(t *testing.T) { // where it is the year 2000
		admitted := 0
		for range 100 {
			if take(t, b, "a", 1).Allowed {
				admitted++
			}
		}
		if admitted != 10 {
			t.Errorf("%d events were allowed, want 10", admitted)
		}
	})
}

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		name    string
		limit   ratelimit.Limit
		wantErr string // the field, or "" for none
	}{
		{"zero", ratelimit.Limit{}, "Events"},
		{"no events", ratelimit.PerSecond(0), "Events"},
		{"negative events", ratelimit.PerSecond(-1), "Events"},
		{"the smallest int", ratelimit.PerSecond(math.MinInt), "Events"},
		{"no time", ratelimit.Limit{Events: 1}, "Per"},
		{"negative time", ratelimit.Limit{Events: 1, Per: -time.Second}, "Per"},
		{"the smallest time", ratelimit.Limit{Events: 1, Per: math.MinInt64}, "Per"},
		{"negative burst", ratelimit.PerSecond(1).WithBurst(-1), "Burst"},
		{"the smallest burst", ratelimit.PerSecond(1).WithBurst(math.MinInt), "Burst"},
		{"146 years", ratelimit.Limit{Events: 1, Per: 1 << 62}, "Burst"},
		{"292 years", ratelimit.Limit{Events: 1, Per: math.MaxInt64}, "Burst"},
		{"a burst of 146 years", ratelimit.PerSecond(1).WithBurst(4_611_686_018), ""},
		{"a burst of more", ratelimit.PerSecond(1).WithBurst(4_611_686_019), "Burst"},
		{"a burst that wraps around", ratelimit.PerHour(1).WithBurst(math.MaxInt), "Burst"},
		{"a burst that is no int64", ratelimit.Limit{Events: 1, Per: 1 << 40, Burst: 1 << 23}, "Burst"},
		{"a burst that wraps around to little", ratelimit.Limit{Events: 1, Per: 1 << 40, Burst: 1 << 24}, "Burst"},
		{"all at their largest", ratelimit.Limit{Events: math.MaxInt, Per: math.MaxInt64, Burst: math.MaxInt}, "Burst"},
		{"usual", ratelimit.PerSecond(10).WithBurst(20), ""},
		{"fast", ratelimit.PerSecond(math.MaxInt), ""},
		{"slow", ratelimit.Limit{Events: 1, Per: 1<<62 - 1}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ratelimit.New(ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerSecond(1), c.limit}})
			_, openErr := newMemory(t, ratelimit.MemoryConfig{}).Open("b", []ratelimit.Limit{ratelimit.PerSecond(1), c.limit})
			if c.wantErr == "" {
				if err != nil || openErr != nil {
					t.Errorf("got %v and %v, want no error", err, openErr)
				}
				return
			}
			want := "Limits[1]." + c.wantErr + " "
			if err == nil || !strings.Contains(err.Error(), "Config."+want) {
				t.Errorf("New: got %v, want an error that names Config.%s", err, want)
			}
			if openErr == nil || !strings.Contains(openErr.Error(), want) {
				t.Errorf("Open: got %v, want an error that names %s", openErr, want)
			}
		})
	}
}

func TestLimitConstructors(t *testing.T) {
	for _, c := range []struct {
		got, want ratelimit.Limit
		text      string
	}{
		{ratelimit.PerSecond(10), ratelimit.Limit{Events: 10, Per: time.Second}, "10 per 1s"},
		{ratelimit.PerMinute(10), ratelimit.Limit{Events: 10, Per: time.Minute}, "10 per 1m0s"},
		{ratelimit.PerHour(10), ratelimit.Limit{Events: 10, Per: time.Hour}, "10 per 1h0m0s"},
		{ratelimit.PerDay(10), ratelimit.Limit{Events: 10, Per: 24 * time.Hour}, "10 per 24h0m0s"},
		{ratelimit.PerDay(10).WithBurst(3), ratelimit.Limit{Events: 10, Per: 24 * time.Hour, Burst: 3}, "10 per 24h0m0s, burst 3"},
	} {
		if c.got != c.want {
			t.Errorf("got %+v, want %+v", c.got, c.want)
		}
		if got := c.got.String(); got != c.text {
			t.Errorf("String: got %q, want %q", got, c.text)
		}
	}
}

// A minimum interval between events is a burst of 1.
func TestASVS_2_4_2_MinimumInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := ratelimit.New(ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.MinimumInterval(2 * time.Second)}})
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range []struct {
			pause time.Duration
			want  bool
		}{{0, true}, {2*time.Second - 1, false}, {1, true}, {0, false}, {2 * time.Second, true}} {
			time.Sleep(c.pause)
			res, err := l.Take(context.Background(), "a", 1)
			if err != nil || res.Allowed != c.want {
				t.Errorf("step %d: got %+v, %v, want allowed %t", i, res, err, c.want)
			}
		}
	})
}
