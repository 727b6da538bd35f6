package redisstore_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/internal/redistest"
	"github.com/sallyport/sallyport/ratelimit"
	"github.com/sallyport/sallyport/ratelimit/redisstore"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	in, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// Every result of limits that are counted in windows, alone, together and beside others, is
// that of the memory store. Time begins for both where all windows begin.
func TestWindowsEqualMemory(t *testing.T) {
	client := single(t, redistest.Start(t).Addr)
	berlin, samoa := zone(t, "Europe/Berlin"), zone(t, "Pacific/Apia")
	for _, limits := range [][]ratelimit.Limit{
		{ratelimit.PerCalendarDay(6, nil)},
		{ratelimit.PerCalendarDay(100, berlin)},
		{ratelimit.PerCalendarMonth(1000, samoa)},
		{ratelimit.PerMinute(6).Sliding()},
		{ratelimit.PerSecond(100).Sliding()},
		{ratelimit.PerMinute(1<<31 - 1).Sliding()},
		{{Events: 1<<31 - 1, Per: 10 * 365 * 24 * time.Hour, Window: ratelimit.PerSecond(1).Sliding().Window}},
		{{Events: 999_983, Per: 9 * 365 * 24 * time.Hour, Window: ratelimit.PerSecond(1).Sliding().Window}},
		{ratelimit.PerCalendarDay(50, berlin), ratelimit.PerCalendarMonth(400, samoa)},
		{ratelimit.PerSecond(3), ratelimit.PerCalendarDay(40, nil), ratelimit.PerHour(30).Sliding()},
		{ratelimit.PerHour(1000).Sliding(), ratelimit.PerMinute(60).WithBurst(90), ratelimit.PerCalendarMonth(5000, berlin)},
	} {
		t.Run(fmt.Sprint(limits), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(uint64(len(limits)), uint64(limits[0].Events)))
			start, seq, want := windowSequence(t, rnd, limits, 600)
			redisEquals(t, client, limits, start, seq, want)
		})
	}
}

// windowSequence makes up steps, and has the memory store say what must come of them.
func windowSequence(t *testing.T, rnd *rand.Rand, limits []ratelimit.Limit, steps int) (start int64, seq []step, want []ratelimit.Result) {
	t.Helper()
	most := limits[0].Events
	for _, l := range limits {
		most = min(most, max(l.Events, l.Burst))
	}
	allowed, refused := 0, 0
	synctest.Test(t, func(t *testing.T) {
		// Sliding windows of the memory store begin with it, those of Redis with 1970.
		for _, l := range limits {
			if per := l.Per.Microseconds(); l.Window.IsSliding() {
				time.Sleep(time.Duration(per-time.Now().UnixMicro()%per) * time.Microsecond)
			}
		}
		memory, err := ratelimit.NewMemory(ratelimit.MemoryConfig{})
		if err != nil {
			t.Fatal(err)
		}
		b := open(t, memory, "b", limits...)
		start = time.Now().UnixMicro()
		var after time.Duration
		for range steps {
			st := step{after: after, key: strconv.Itoa(rnd.IntN(3)), n: 1}
			switch rnd.IntN(6) {
			case 0, 1:
				st.n = 1 + rnd.IntN(most)
			case 2:
				st.n = max(1, most-rnd.IntN(min(most, 5)))
			case 3:
				if rnd.IntN(3) == 0 {
					st.n = -1 - rnd.IntN(most)
				}
			}
			time.Sleep(st.after)
			res := take(t, b, st.key, st.n)
			const us = time.Microsecond
			if res.Limit.Window.IsSliding() { // the clock of Redis shows whole microseconds
				res.RetryAfter = (res.RetryAfter + us - 1).Truncate(us)
			}
			seq, want = append(seq, st), append(want, res)
			if res.Allowed {
				allowed++
			} else {
				refused++
			}
			switch rnd.IntN(6) {
			case 0:
				after = 0
			case 1:
				after = max(res.RetryAfter-us, 0).Truncate(us)
			case 2:
				after = (res.RetryAfter + us - 1).Truncate(us)
			case 3:
				after = time.Duration(rnd.Int64N(int64(res.ResetAfter) + 2)).Truncate(us)
			case 4:
				after = time.Duration(rnd.Int64N(int64(limits[0].Per) + 2)).Truncate(us)
			default:
				after = time.Duration(rnd.IntN(3)) * us
			}
			after = min(after, 60*24*time.Hour) // until 2112
		}
	})
	if allowed < steps/20 || refused < steps/20 {
		t.Errorf("%d were allowed and %d refused, so the test shows little", allowed, refused)
	}
	return start, seq, want
}

// A clock of Redis that is far from the client's own is the one that counts, and one that is
// set back gives nobody a window twice, and refuses nobody for longer than that window.
func TestWindowsByTheClockOfRedis(t *testing.T) {
	client := single(t, redistest.Start(t).Addr)
	s := newStore(t, redisstore.Config{Client: client, Prefix: prefix(), MaxDenials: -1})
	redisstore.SetClock(s)
	day := open(t, s, "day", ratelimit.PerCalendarDay(10, zone(t, "America/New_York")))
	hour := open(t, s, "hour", ratelimit.PerHour(10).Sliding())
	clock := &fakeClock{t: t, client: client}
	at := func(s string) {
		when, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		clock.set(when.UnixMicro())
	}
	at("2031-07-04T03:59:59Z") // a second before midnight
	if res := take(t, day, "k", 10); !res.Allowed || res.ResetAfter != time.Second {
		t.Errorf("before midnight: got %+v, want 10 allowed and a reset in a second", res)
	}
	if res := take(t, day, "k", 1); res.Allowed || res.RetryAfter != time.Second {
		t.Errorf("before midnight: got %+v, want a refusal for a second", res)
	}
	at("2031-07-04T04:00:00Z")
	if res := take(t, day, "k", 10); !res.Allowed || res.ResetAfter != 24*time.Hour {
		t.Errorf("at midnight: got %+v, want 10 allowed and a reset in a day", res)
	}
	at("2031-07-04T03:00:00Z") // set back to the day before
	if res := take(t, day, "k", 1); res.Allowed || res.RetryAfter != 25*time.Hour {
		t.Errorf("with a clock that was set back: got %+v, want a refusal until the next midnight", res)
	}
	at("1999-12-31T12:00:00Z")
	if res := take(t, day, "another", 10); !res.Allowed || res.ResetAfter != 17*time.Hour {
		t.Errorf("with a clock that is 30 years behind: got %+v, want 10 allowed", res)
	}
	at("2031-07-04T04:30:00Z")
	take(t, hour, "k", 10)
	at("2031-07-04T02:30:00Z")
	if res := take(t, hour, "k", 1); res.Allowed || res.RetryAfter > 90*time.Minute {
		t.Errorf("with a clock that was set back: got %+v, want a refusal for an hour and a half at most", res)
	}
	at("2031-07-04T04:00:00Z")
	if res := take(t, hour, "k", 10); !res.Allowed {
		t.Errorf("an hour and a half later: got %+v, want 10 allowed", res)
	}
}

// What is given back of a window is what was counted in one that counts still.
func TestWindowsRefund(t *testing.T) {
	client := single(t, redistest.Start(t).Addr)
	s := newStore(t, redisstore.Config{Client: client, Prefix: prefix(), Timeout: 100 * time.Millisecond})
	redisstore.SetClock(s)
	clock := &fakeClock{t: t, client: client}
	for _, tt := range []struct {
		name  string
		limit ratelimit.Limit
		age   time.Duration
		want  int // is left
	}{
		{"of this day", ratelimit.PerCalendarDay(100, nil), 11 * time.Hour, 70},
		{"of the day before", ratelimit.PerCalendarDay(100, nil), 13 * time.Hour, 40},
		{"of this hour", ratelimit.Limit{Events: 100, Per: 24 * time.Hour}.Sliding(), 11 * time.Hour, 70},
		{"of the window before, of which nothing counts", ratelimit.Limit{Events: 100, Per: 24 * time.Hour}.Sliding(), 13 * time.Hour, 40},
		{"of long ago", ratelimit.Limit{Events: 100, Per: 24 * time.Hour}.Sliding(), 49 * time.Hour, 40},
	} {
		clock.set(time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC).UnixMicro())
		b := open(t, s, tt.name, tt.limit)
		take(t, b, "k", 60)
		res, err := b.(ratelimit.Refunder).Refund(t.Context(), "k", 30, 60, tt.age)
		if err != nil || res.Remaining != tt.want {
			t.Errorf("%s: got %+v, %v, want %d left", tt.name, res, err, tt.want)
		}
	}
}

// Once Redis has refused, it need not be asked until the window may have passed.
func TestWindowsDenials(t *testing.T) {
	for name, limit := range map[string]ratelimit.Limit{
		"day":   ratelimit.PerCalendarDay(3, zone(t, "Asia/Tokyo")),
		"hours": ratelimit.Limit{Events: 3, Per: 1000 * time.Hour}.Sliding(),
	} {
		server := redistest.Start(t)
		b := open(t, newStore(t, redisstore.Config{Client: single(t, server.Addr)}), name, limit)
		take(t, b, "k", 3)
		if res := take(t, b, "k", 1); res.Allowed {
			t.Fatalf("%s: got %+v, want a refusal", name, res)
		}
		server.Stop()
		if res := take(t, b, "k", 1); res.Allowed || res.RetryAfter <= 0 {
			t.Errorf("%s: got %+v, want a refusal", name, res)
		}
	}
}

// A refusal is remembered no longer than it holds, in the next window too.
func TestWindowsDenialsEnd(t *testing.T) {
	limit := ratelimit.Limit{Events: 4, Per: 300 * time.Millisecond}.Sliding()
	b := open(t, newStore(t, redisstore.Config{Client: single(t, redistest.Start(t).Addr)}), "b", limit)
	take(t, b, "k", 4)
	res := take(t, b, "k", 2)
	for range 3 { // it may be that a window has passed since
		if !res.Allowed {
			break
		}
		res = take(t, b, "k", 2)
	}
	if res.Allowed {
		t.Fatalf("got %+v, want a refusal", res)
	}
	time.Sleep(res.RetryAfter)
	if again := take(t, b, "k", 2); !again.Allowed {
		t.Errorf("got %+v, want 2 allowed after %s", again, res.RetryAfter)
	}
}

// A key with windows ends with the last of them that counts, and at once when all that was
// counted is given back; on a cluster as on one server.
func TestWindowsEnd(t *testing.T) {
	day := ratelimit.PerCalendarDay(6, zone(t, "Asia/Kolkata"))
	for name, client := range map[string]redis.UniversalClient{
		"single": single(t, redistest.Start(t).Addr), "cluster": cluster(t, redistest.StartCluster(t)),
	} {
		store := newStore(t, redisstore.Config{Client: client})
		for of, tt := range map[string]struct {
			limit ratelimit.Limit
			end   func(now time.Time) time.Time
		}{
			"day": {day, func(now time.Time) time.Time {
				_, end := day.Window.Bounds(now)
				return end
			}},
			"sliding": {ratelimit.PerHour(6).Sliding(), func(now time.Time) time.Time { return now.Truncate(time.Hour).Add(2 * time.Hour) }},
		} {
			b := open(t, store, of, tt.limit)
			for i := range 20 {
				key := strconv.Itoa(i)
				before := time.Now()
				take(t, b, key, 6)
				stored := redisstore.KeyName(b, key)
				ttl, err := client.PTTL(t.Context(), stored).Result()
				after := time.Now()
				// What is left when it was asked is between what was left before and after.
				if least, most := tt.end(before).Sub(after)-time.Millisecond, tt.end(after).Sub(before)+3*time.Millisecond; err != nil || ttl < least || ttl > most {
					t.Errorf("%s, %s: the key ends in %s, %v; want from %s to %s", name, of, ttl, err, least, most)
				}
				take(t, b, key, -6)
				if n, err := client.Exists(t.Context(), stored).Result(); err != nil || n != 0 {
					t.Errorf("%s, %s: the key is there when nothing counts any more: %d, %v", name, of, n, err)
				}
			}
		}
	}
}
