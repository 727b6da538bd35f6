package ratelimit_test

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	_ "time/tzdata"

	"github.com/sallyport/sallyport/ratelimit"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	in, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func TestBounds(t *testing.T) {
	day := func(in string) ratelimit.Window { return ratelimit.PerCalendarDay(1, zone(t, in)).Window }
	month := func(in string) ratelimit.Window { return ratelimit.PerCalendarMonth(1, zone(t, in)).Window }
	for _, c := range []struct {
		name           string
		w              ratelimit.Window
		at, start, end string
	}{
		{"a day of UTC", day("UTC"), "2026-11-26T23:59:59.999999999Z", "2026-11-26T00:00:00Z", "2026-11-27T00:00:00Z"},
		{"its first instant", day("UTC"), "2026-11-27T00:00:00Z", "2026-11-27T00:00:00Z", "2026-11-28T00:00:00Z"},
		{"a day of Berlin", day("Europe/Berlin"), "2026-11-26T23:00:00Z", "2026-11-26T23:00:00Z", "2026-11-27T23:00:00Z"},
		{"of 23 hours", day("Europe/Berlin"), "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"},
		{"of 25 hours", day("Europe/Berlin"), "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"},
		{"without a midnight", day("America/Sao_Paulo"), "2018-11-04T12:00:00Z", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"},
		{"before one without", day("America/Sao_Paulo"), "2018-11-03T12:00:00Z", "2018-11-03T03:00:00Z", "2018-11-04T03:00:00Z"},
		{"whose last hour comes twice", day("America/Sao_Paulo"), "2018-02-17T12:00:00Z", "2018-02-17T02:00:00Z", "2018-02-18T03:00:00Z"},
		{"whose first hour comes twice", day("America/Havana"), "2025-11-02T12:00:00Z", "2025-11-02T04:00:00Z", "2025-11-03T05:00:00Z"},
		{"half an hour", day("Australia/Lord_Howe"), "2025-10-05T00:00:00Z", "2025-10-04T13:30:00Z", "2025-10-05T13:00:00Z"},
		{"before a day that was left out", day("Pacific/Apia"), "2011-12-30T09:00:00Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"},
		{"a month", month("UTC"), "2026-02-28T23:59:59Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"},
		{"of a leap year", month("UTC"), "2028-02-29T00:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"},
		{"the last of a year", month("Asia/Tokyo"), "2026-12-31T14:59:59Z", "2026-11-30T15:00:00Z", "2026-12-31T15:00:00Z"},
		{"the next", month("Asia/Tokyo"), "2026-12-31T15:00:00Z", "2026-12-31T15:00:00Z", "2027-01-31T15:00:00Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			at, err := time.Parse(time.RFC3339Nano, c.at)
			if err != nil {
				t.Fatal(err)
			}
			start, end := c.w.Bounds(at)
			if got, want := start.UTC().Format(time.RFC3339), c.start; got != want {
				t.Errorf("it begins at %s, want %s", got, want)
			}
			if got, want := end.UTC().Format(time.RFC3339), c.end; got != want {
				t.Errorf("it ends at %s, want %s", got, want)
			}
		})
	}
	if start, end := ratelimit.PerHour(1).Window.Bounds(time.Now()); !start.IsZero() || !end.IsZero() {
		t.Errorf("the bounds of no calendar are %s and %s", start, end)
	}
}

// FuzzBounds: windows have no gaps and no overlaps, and a window is one day, or month, of
// its zone.
func FuzzBounds(f *testing.F) {
	zones := []string{"UTC", "Europe/Berlin", "America/Sao_Paulo", "America/Havana", "Asia/Beirut", "Africa/Cairo", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Chatham", "America/St_Johns", "Asia/Tehran", "America/Asuncion", "Antarctica/Troll", "Atlantic/Azores", "Pacific/Apia", "Pacific/Kwajalein", "America/Scoresbysund"}
	for i := range zones {
		f.Add(uint8(i), int64(1793000000), false)
		f.Add(uint8(i), int64(1541300400), true)
	}
	f.Fuzz(func(t *testing.T, z uint8, unix int64, monthly bool) {
		// From 1972, when zones had come to change by quarters of an hour, to 2100.
		unix = 63072000 + int64(uint64(unix)%uint64(4102444800-63072000)) //nolint:gosec // any
		in := zone(t, zones[int(z)%len(zones)])
		limit := ratelimit.PerCalendarDay(1, in)
		if monthly {
			limit = ratelimit.PerCalendarMonth(1, in)
		}
		at := time.Unix(unix, 0)
		start, end := limit.Window.Bounds(at)
		if at.Before(start) || !at.Before(end) {
			t.Fatalf("%s is not between %s and %s", at.In(in), start, end)
		}
		for _, other := range []time.Time{start, start.Add(end.Sub(start) / 2), end.Add(-1)} {
			if s, e := limit.Window.Bounds(other); !s.Equal(start) || !e.Equal(end) {
				t.Fatalf("%s is in the window of %s, but has one from %s to %s", other.In(in), start, s, e)
			}
		}
		if s, _ := limit.Window.Bounds(end); !s.Equal(end) {
			t.Fatalf("after the window until %s comes one from %s", end, s)
		}
		first, last := start.In(in), end.Add(-1).In(in)
		if monthly && first.Month() != last.Month() || !monthly && first.YearDay() != last.YearDay() {
			t.Fatalf("a window is from %s to %s", first, last)
		}
	})
}

func TestCalendarQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // begins at 2000-01-01T00:00:00Z
		l := newLimiter(t, ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerCalendarDay(3, zone(t, "Europe/Berlin"))}})
		h := l.Wrap(ok)
		for i, step := range []struct {
			pause      time.Duration
			status     int
			limit      string
			retryAfter string
		}{
			{0, 204, `"default";r=2;t=82800`, ""}, // 1 o'clock in Berlin
			{time.Hour, 204, `"default";r=1;t=79200`, ""},
			{21 * time.Hour, 204, `"default";r=0;t=3600`, ""},
			{0, 429, `"default";r=0;t=3600`, "3600"},
			{time.Hour - time.Nanosecond, 429, `"default";r=0;t=1`, "1"},
			{time.Nanosecond, 204, `"default";r=2;t=86400`, ""},
			{0, 204, `"default";r=1;t=86400`, ""},
			{0, 204, `"default";r=0;t=86400`, ""},
			{0, 429, `"default";r=0;t=86400`, "86400"},
			{48 * time.Hour, 204, `"default";r=2;t=86400`, ""},
		} {
			time.Sleep(step.pause)
			header := serve(h, get()).Header()
			if got := header.Get("RateLimit"); got != step.limit || header.Get("Retry-After") != step.retryAfter || header.Get("RateLimit-Policy") != `"default";q=3` {
				t.Errorf("step %d: got %s, %v, want %s and %q", i+1, got, header, step.limit, step.retryAfter)
			}
		}
	})
}

func TestCalendarGivesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bucket(t, ratelimit.MemoryConfig{}, ratelimit.PerCalendarMonth(10, nil))
		take(t, b, "a", 8)
		if res := take(t, b, "a", -3); !res.Allowed || res.Remaining != 5 {
			t.Errorf("got %+v, want 5 left", res)
		}
		if res := take(t, b, "a", -1<<62); !res.Allowed || res.Remaining != 10 || res.ResetAfter != 0 {
			t.Errorf("got %+v, want 10 left", res)
		}
		if res := take(t, b, "a", 10); !res.Allowed || res.Remaining != 0 || res.ResetAfter != 31*24*time.Hour {
			t.Errorf("got %+v, want none left until February", res)
		}
		// A month in which nothing was spent gives nothing back to the next.
		time.Sleep(31 * 24 * time.Hour)
		if res := take(t, b, "a", -5); res.Remaining != 10 {
			t.Errorf("got %+v, want 10 left", res)
		}
	})
}

// A slidingModel counts in exact fractions, and keeps every window.
type slidingModel struct {
	limit  ratelimit.Limit
	counts map[int64]int64
}

// used returns what counts at now, where n more would have come.
func (m *slidingModel) used(now time.Duration, n int) *big.Rat {
	per := int64(m.limit.Per)
	i, x := int64(now)/per, int64(now)%per
	used := new(big.Rat).SetFrac(new(big.Int).Mul(big.NewInt(m.counts[i-1]), big.NewInt(per-x)), big.NewInt(per))
	return used.Add(used, new(big.Rat).SetInt64(m.counts[i]+int64(n)))
}

func (m *slidingModel) allows(now time.Duration, n int) bool {
	return m.used(now, n).Cmp(new(big.Rat).SetInt64(int64(m.limit.Events))) <= 0
}

func TestSlidingEqualsModel(t *testing.T) {
	for _, limit := range []ratelimit.Limit{
		ratelimit.PerSecond(10), ratelimit.PerSecond(1), ratelimit.PerMinute(7),
		{Events: 3, Per: 7 * time.Nanosecond},
		{Events: 1000, Per: 333_333_333},
		{Events: 1<<31 - 1, Per: 24 * time.Hour},
	} {
		t.Run(limit.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				limit := limit.Sliding()
				b := bucket(t, ratelimit.MemoryConfig{}, limit)
				start := time.Now()
				models := make([]slidingModel, 5)
				for i := range models {
					models[i] = slidingModel{limit, make(map[int64]int64)}
				}
				rnd := rand.New(rand.NewPCG(5, uint64(limit.Per))) //nolint:gosec // a seed
				allowed := 0
				for step := range 20_000 {
					key := rnd.IntN(len(models))
					m := &models[key]
					n := 1
					if rnd.IntN(4) == 0 {
						n = 1 + rnd.IntN(limit.Events)
					}
					if rnd.IntN(10) == 0 {
						n = -n
					}
					now := time.Since(start)
					i := int64(now) / int64(limit.Per)
					got := take(t, b, strconv.Itoa(key), n)
					switch want := n < 0 || m.allows(now, n); {
					case got.Allowed != want:
						t.Fatalf("step %d: Take(%d) of %v: allowed %t, want %t", step, n, m.counts, got.Allowed, want)
					case n > 0 && want:
						m.counts[i] += int64(n)
						allowed++
					case n < 0:
						left := int64(-n)
						back := min(left, m.counts[i])
						m.counts[i] -= back
						m.counts[i-1] = max(0, m.counts[i-1]-(left-back))
					}
					remaining := 0
					for lo, hi := 0, limit.Events; lo <= hi; {
						mid := lo + (hi-lo)/2
						if m.allows(now, mid) {
							remaining, lo = mid, mid+1
						} else {
							hi = mid - 1
						}
					}
					if got.Remaining != remaining {
						t.Fatalf("step %d: %d remain, want %d", step, got.Remaining, remaining)
					}
					if !got.Allowed && (!m.allows(now+got.RetryAfter, n) || m.allows(now+got.RetryAfter-1, n)) {
						t.Fatalf("step %d: Take(%d) says that it will be allowed after %s; %v at %s", step, n, got.RetryAfter, m.counts, now)
					}
					if m.used(now+got.ResetAfter, 0).Sign() != 0 {
						t.Fatalf("step %d: after %s something still counts", step, got.ResetAfter)
					}
					time.Sleep(time.Duration(rnd.Int64N(int64(limit.Per))/int64(1+rnd.IntN(20))) + 1)
				}
				if allowed < 1000 {
					t.Errorf("%d were allowed: the test tests little", allowed)
				}
			})
		})
	}
}

// All kinds of limits are one decision: all or none.
func TestKindsOfLimitsTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bucket(t, ratelimit.MemoryConfig{},
			ratelimit.PerSecond(3), ratelimit.PerMinute(10).Sliding(), ratelimit.PerHour(7*20).WithBurst(11), ratelimit.PerCalendarDay(12, nil))
		spent := 0
		for range 10_000 {
			res := take(t, b, "a", 1)
			if res.Allowed {
				spent++
			}
			time.Sleep(time.Second)
		}
		if spent != 12 {
			t.Errorf("%d were allowed within 3 hours, want the 12 of the day: what one limit refuses is not taken from another", spent)
		}
		time.Sleep(24 * time.Hour)
		for i := range 4 {
			if res := take(t, b, "a", 1); res.Allowed != (i < 3) {
				t.Errorf("event %d of the next day: got %+v", i+1, res)
			}
		}
	})
}

// Keys of windows that are over leave their slots.
func TestWindowsFreeTheirSlots(t *testing.T) {
	for _, limit := range []ratelimit.Limit{ratelimit.PerMinute(1).Sliding(), ratelimit.PerCalendarDay(1, nil)} {
		synctest.Test(t, func(t *testing.T) {
			b := bucket(t, ratelimit.MemoryConfig{MaxKeys: 1024}, limit)
			for day := range 20 {
				refused := 0
				for i := range 600 {
					if !take(t, b, fmt.Sprint(day, "-", i), 1).Allowed {
						refused++
					}
				}
				if refused > 0 {
					t.Fatalf("%s, day %d: %d of 600 new keys are refused", limit, day, refused)
				}
				time.Sleep(24 * time.Hour)
			}
		})
	}
}

func TestWindowsThatCannotBe(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit ratelimit.Limit
		want  string
	}{
		{"a burst", ratelimit.PerCalendarDay(10, nil).WithBurst(20), "Config.Limits[0].Burst is 20"},
		{"a burst of a sliding window", ratelimit.PerMinute(10).WithBurst(2).Sliding(), "Config.Limits[0].Burst is 2"},
		{"too many", ratelimit.PerCalendarDay(1<<31, nil), "Config.Limits[0].Events"},
		{"too long", ratelimit.Limit{Events: 1, Per: 11 * 365 * 24 * time.Hour}.Sliding(), "Config.Limits[0].Per"},
		{"none", ratelimit.PerCalendarDay(0, nil), "Config.Limits[0].Events"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if l, err := ratelimit.New(ratelimit.Config{Limits: []ratelimit.Limit{c.limit}}); l != nil || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, %v, want an error with %q", l, err, c.want)
			}
		})
	}
	for limit, want := range map[ratelimit.Limit]string{
		ratelimit.PerCalendarDay(10, nil):                          "10 per day (UTC)",
		ratelimit.PerCalendarMonth(5, zone(t, "Europe/Berlin")):    "5 per month (Europe/Berlin)",
		ratelimit.PerMinute(7).Sliding():                           "7 per 1m0s, sliding",
		ratelimit.PerCalendarMonth(5, zone(t, "UTC")).WithBurst(5): "5 per month (UTC)",
	} {
		if got := limit.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
