// Package storetest checks that a rate limit store keeps the promises of
// [ratelimit.Store]. Every implementation runs it:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, storetest.Subject{
//			New:     func(t *testing.T) ratelimit.Store { return redisstore.New(…) },
//			Advance: time.Sleep,
//		})
//	}
//
// Run it with -race too: a store without a lock passes without.
package storetest

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/ratelimit"
)

// A Subject is a store under test.
type Subject struct {
	// New returns an empty store. It is called in each case. What it opens can be
	// closed by t.Cleanup.
	New func(t *testing.T) ratelimit.Store

	// Advance lets at least d pass on the store's clock. For a store that uses
	// the real clock, or runs inside testing/synctest, it is time.Sleep. The cases
	// advance by half a second or less, unless Frozen is set.
	Advance func(d time.Duration)

	// Frozen says that the store's clock moves by Advance alone and to the
	// nanosecond, as it does inside testing/synctest. Then the cases check spans of
	// time exactly, and long ones too.
	Frozen bool

	// In runs each case, if not nil: testing/synctest.Test, for a store that tells
	// time by this process.
	In func(t *testing.T, f func(t *testing.T))
}

// Run runs a subtest for each promise.
func Run(t *testing.T, s Subject) {
	t.Helper()
	if s.New == nil || s.Advance == nil {
		t.Fatal("storetest: Subject.New and Subject.Advance must be set")
	}
	in := s.In
	if in == nil {
		in = func(t *testing.T, f func(*testing.T)) { f(t) }
	}
	for _, c := range cases {
		if c.frozen && !s.Frozen {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				c.run(t, &subject{Subject: s, store: s.New(t)})
				if t.Failed() {
					t.Logf("the promise: %s", c.why)
				}
			})
		})
	}
}

// A subject is a Subject with the store of one case.
type subject struct {
	Subject
	store ratelimit.Store
}

func (s *subject) open(t *testing.T, name string, limits ...ratelimit.Limit) ratelimit.Bucket {
	t.Helper()
	b, err := s.store.Open(name, limits)
	if err != nil {
		t.Fatalf("Open(%q) failed: %v", name, err)
	}
	return b
}

func take(t *testing.T, b ratelimit.Bucket, key string, n int) ratelimit.Result {
	t.Helper()
	res, err := b.Take(t.Context(), key, n)
	if err != nil {
		t.Fatalf("Take(%q, %d) failed: %v", key, n, err)
	}
	return res
}

// limit returns a limit as a Limiter hands it to a store.
func limit(events int, per time.Duration, burst int) ratelimit.Limit {
	return ratelimit.Limit{Events: events, Per: per, Burst: burst}
}

// hourly is so slow that nothing is regained while a case runs.
func hourly(burst int) ratelimit.Limit { return limit(1, time.Hour, burst) }

type check struct {
	name   string
	why    string
	frozen bool // needs a frozen clock
	run    func(t *testing.T, s *subject)
}

var cases = []check{
	{name: "burst", why: "exactly Burst events are allowed at once", run: func(t *testing.T, s *subject) {
		b := s.open(t, "b", hourly(3))
		for i, want := range []bool{true, true, true, false, false} {
			if got := take(t, b, "a", 1); got.Allowed != want {
				t.Errorf("event %d: got allowed %t, want %t", i+1, got.Allowed, want)
			}
		}
	}},
	{name: "result", why: "a result tells the limit, what is left, and when there is more", run: func(t *testing.T, s *subject) {
		l := hourly(3)
		b := s.open(t, "b", l)
		for want := 2; want >= 0; want-- {
			res := take(t, b, "a", 1)
			if res.Limit != l || res.Remaining != want || res.RetryAfter != 0 {
				t.Errorf("got %+v, want the limit %v with %d remaining and no RetryAfter", res, l, want)
			}
			about(t, "ResetAfter", res.ResetAfter, time.Duration(3-want)*time.Hour)
		}
		res := take(t, b, "a", 2)
		if res.Allowed || res.Limit != l || res.Remaining != 0 {
			t.Errorf("got %+v, want a refusal by %v with 0 remaining", res, l)
		}
		about(t, "RetryAfter", res.RetryAfter, 2*time.Hour)
		about(t, "ResetAfter", res.ResetAfter, 3*time.Hour)
	}},
	{name: "cost", why: "a cost is taken whole or not at all", run: func(t *testing.T, s *subject) {
		b := s.open(t, "b", hourly(5))
		if res := take(t, b, "a", 3); !res.Allowed || res.Remaining != 2 {
			t.Errorf("3 of 5: got %+v, want allowed with 2 remaining", res)
		}
		if res := take(t, b, "a", 3); res.Allowed || res.Remaining != 2 {
			t.Errorf("3 of 2: got %+v, want refused with 2 remaining", res)
		}
		if res := take(t, b, "a", 2); !res.Allowed || res.Remaining != 0 {
			t.Errorf("2 of 2: got %+v, want allowed with 0 remaining", res)
		}
	}},
	{name: "refusal takes nothing", why: "a client that keeps asking is not kept out longer", run: func(t *testing.T, s *subject) {
		b := s.open(t, "b", hourly(1))
		take(t, b, "a", 1)
		first := take(t, b, "a", 1)
		for range 20 {
			take(t, b, "a", 1)
		}
		last := take(t, b, "a", 1)
		if last.RetryAfter > first.RetryAfter {
			t.Errorf("RetryAfter grew from %s to %s", first.RetryAfter, last.RetryAfter)
		}
	}},
	{name: "retry after", why: "the same request is allowed RetryAfter later", run: func(t *testing.T, s *subject) {
		b := s.open(t, "b", limit(2, time.Second, 2))
		take(t, b, "a", 2)
		res := take(t, b, "a", 1)
		if res.Allowed || res.RetryAfter <= 0 || res.RetryAfter > 500*time.Millisecond {
			t.Fatalf("got %+v, want a refusal for up to 500 ms", res)
		}
		s.Advance(res.RetryAfter)
		if res := take(t, b, "a", 1); !res.Allowed {
			t.Errorf("after RetryAfter: got %+v, want allowed", res)
		}
	}},
	{name: "reset after", why: "the whole burst is there ResetAfter later, and no more", run: func(t *testing.T, s *subject) {
		b := s.open(t, "b", limit(4, time.Second, 2))
		res := take(t, b, "a", 2)
		s.Advance(res.ResetAfter)
		s.Advance(200 * time.Millisecond) // being idle saves nothing up
		if res := take(t, b, "a", 2); !res.Allowed {
			t.Errorf("after ResetAfter: got %+v, want the burst allowed", res)
		}
	}},
	{name: "idle saves nothing", why: "a key that was idle for long has Burst events and no more", frozen: true, run: func(t *testing.T, s *subject) {
		b := s.open(t, "b", limit(1, time.Second, 3))
		take(t, b, "a", 1)
		s.Advance(1000 * time.Hour)
		take(t, b, "a", 3)
		if res := take(t, b, "a", 1); res.Allowed {
			t.Errorf("event 4 after 1000 h: got %+v, want refused", res)
		}
	}},
	{name: "exact times", why: "RetryAfter and ResetAfter are neither early nor late", frozen: true, run: func(t *testing.T, s *subject) {
		for _, l := range []ratelimit.Limit{
			limit(10, time.Second, 5), limit(3, time.Second, 3), limit(7, time.Minute, 2),
			limit(1, 333*time.Nanosecond, 4), limit(1000, time.Hour, 1000), limit(999_983, 24*time.Hour, 20),
		} {
			b := s.open(t, l.String(), l)
			take(t, b, "a", l.Burst)
			for range 50 {
				res := take(t, b, "a", 1)
				if res.Allowed {
					t.Fatalf("%v: got %+v, want refused", l, res)
				}
				s.Advance(res.RetryAfter - 1)
				if early := take(t, b, "a", 1); early.Allowed {
					t.Fatalf("%v: allowed 1 ns before RetryAfter", l)
				}
				s.Advance(1)
				if res := take(t, b, "a", 1); !res.Allowed {
					t.Fatalf("%v: refused at RetryAfter: %+v", l, res)
				}
			}
			res := take(t, b, "a", 1)
			s.Advance(res.ResetAfter - 1)
			if res := take(t, b, "a", l.Burst); res.Allowed {
				t.Errorf("%v: the burst is there 1 ns before ResetAfter", l)
			}
			s.Advance(1)
			if res := take(t, b, "a", l.Burst); !res.Allowed {
				t.Errorf("%v: the burst isn't there at ResetAfter: %+v", l, res)
			}
		}
	}},
	{name: "no drift", why: "a rate that is no whole number of nanoseconds is kept exactly", frozen: true, run: func(t *testing.T, s *subject) {
		b := s.open(t, "b", limit(3, time.Second, 1))
		allowed := 0
		for range 3000 {
			if take(t, b, "a", 1).Allowed {
				allowed++
			}
			s.Advance(333_333_333) // ⅓ ns early
		}
		if got, want := allowed, 1500; got != want {
			t.Errorf("%d events ⅓ ns early: %d allowed, want every second one, %d", 3000, got, want)
		}
		if got := s.per(t, b, 334*time.Millisecond, 3000); got != 3000 {
			t.Errorf("3000 events at 2.99 per second: %d allowed, want all", got)
		}
	}},
	{name: "all or none", why: "where one limit refuses, nothing is taken from any", run: func(t *testing.T, s *subject) {
		for _, limits := range [][]ratelimit.Limit{{hourly(4), hourly(3)}, {hourly(3), hourly(4)}} {
			b := s.open(t, limits[0].String(), limits...)
			take(t, b, "a", 2)
			for range 5 { // 2 of 4 and 1 of 3 are left, so only one limit refuses
				if res := take(t, b, "a", 2); res.Allowed || res.Limit.Burst != 3 {
					t.Errorf("2 of 1: got %+v, want refused by the limit of 3", res)
				}
			}
			if res := take(t, b, "a", 1); !res.Allowed {
				t.Errorf("the last of 3: got %+v, want allowed", res)
			}
		}
	}},
	{name: "order of limits", why: "it makes no difference which of the limits refuses", run: func(t *testing.T, s *subject) {
		first := s.open(t, "first", hourly(2), hourly(9))
		last := s.open(t, "last", hourly(9), hourly(2))
		for i, want := range []bool{true, true, false, false} {
			if a, b := take(t, first, "a", 1), take(t, last, "a", 1); a.Allowed != want || b.Allowed != want {
				t.Errorf("event %d: got %t and %t, want %t", i+1, a.Allowed, b.Allowed, want)
			}
		}
	}},
	{name: "tightest limit", why: "a result tells about the limit that matters", run: func(t *testing.T, s *subject) {
		fast, slow := limit(1, time.Minute, 2), limit(1, time.Hour, 8)
		b := s.open(t, "b", slow, fast)
		if res := take(t, b, "a", 1); res.Limit != fast || res.Remaining != 1 {
			t.Errorf("1 of 2 and 7 of 8 left: got %+v, want %v with 1", res, fast)
		}
		b = s.open(t, "refused", fast, limit(1, time.Hour, 2))
		take(t, b, "a", 2)
		if res := take(t, b, "a", 1); res.Allowed || res.Limit.Per != time.Hour {
			t.Errorf("got %+v, want a refusal by the limit with the longest RetryAfter", res)
		}
	}},
	{name: "atomic", why: "concurrent calls never spend more than there is", run: func(t *testing.T, s *subject) {
		b := s.open(t, "b", hourly(50), hourly(60))
		var allowed atomic.Int64
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for range 25 {
					if res, err := b.Take(t.Context(), "a", 1); err != nil {
						t.Errorf("Take failed: %v", err)
					} else if res.Allowed {
						allowed.Add(1)
					}
				}
			})
		}
		wg.Wait()
		if got := allowed.Load(); got != 50 {
			t.Errorf("%d events allowed, want 50", got)
		}
	}},
	{name: "last one", why: "of concurrent calls for the last event exactly one is allowed", run: func(t *testing.T, s *subject) {
		b := s.open(t, "b", hourly(1))
		for _, key := range []string{"a", "b", "c", "d", "e"} {
			var allowed atomic.Int64
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					if res, err := b.Take(t.Context(), key, 1); err == nil && res.Allowed {
						allowed.Add(1)
					}
				})
			}
			wg.Wait()
			if got := allowed.Load(); got != 1 {
				t.Errorf("key %s: %d allowed, want 1", key, got)
			}
		}
	}},
	{name: "hostile keys", why: "a key is any bytes, and keys that differ are apart", run: func(t *testing.T, s *subject) {
		b := s.open(t, "b", hourly(1))
		for _, key := range []string{
			"\r\n*1\r\n$8\r\nFLUSHALL\r\n", "\x00", "\x00\x00", "{}", "{", "}", "{a}b", "{a}c", "a{b", "*", "?", "[a]",
			"%s%n%d", "'; DROP TABLE t; --", `"`, `\`, " ", "  ", "\n", "\xff\xfe", "é", "e\u0301", "A", "a", "a:b", "a b",
			strings.Repeat("k", 100_000), strings.Repeat("k", 99_999), "' .. redis.call('FLUSHALL') .. '", "KEYS[1]", "../../x",
		} {
			if res := take(t, b, key, 1); !res.Allowed {
				t.Errorf("key %.30q: refused, so it shares its limit with another", key)
			}
			if res := take(t, b, key, 1); res.Allowed {
				t.Errorf("key %.30q: allowed twice", key)
			}
		}
	}},
	{name: "names", why: "a name can be open once, and buckets don't meet", run: func(t *testing.T, s *subject) {
		a := s.open(t, "a", hourly(1))
		if _, err := s.store.Open("a", []ratelimit.Limit{hourly(1)}); err == nil {
			t.Error("the name a was opened twice")
		}
		if _, err := s.store.Open("a", []ratelimit.Limit{hourly(7)}); err == nil {
			t.Error("the name a was opened twice, with other limits")
		}
		ab := s.open(t, "ab", hourly(1))
		for _, c := range []struct {
			b   ratelimit.Bucket
			key string
		}{{a, "bc"}, {ab, "c"}, {a, "b"}, {ab, "b"}, {a, "a:b"}, {a, "{a}"}} {
			if res := take(t, c.b, c.key, 1); !res.Allowed {
				t.Errorf("key %q: refused, so it shares its limit with another", c.key)
			}
		}
	}},
	{name: "bad input", why: "what makes no sense is an error, and takes nothing", run: func(t *testing.T, s *subject) {
		b := s.open(t, "b", hourly(9), hourly(3))
		for _, c := range []struct {
			name string
			key  string
			n    int
			want error
		}{
			{"no key", "", 1, ratelimit.ErrNoKey},
			{"no cost", "a", 0, ratelimit.ErrCost},
			{"more than a burst", "a", 4, ratelimit.ErrCostExceedsBurst},
			{"the largest int", "a", int(^uint(0) >> 1), ratelimit.ErrCostExceedsBurst},
		} {
			if res, err := b.Take(t.Context(), c.key, c.n); !errors.Is(err, c.want) || res.Allowed {
				t.Errorf("%s: got %+v, %v, want the error %v", c.name, res, err, c.want)
			}
		}
		if res := take(t, b, "a", 3); !res.Allowed {
			t.Errorf("got %+v, want the whole burst allowed", res)
		}
	}},
	{name: "give back", why: "a negative cost gives back what was spent, and no more", run: func(t *testing.T, s *subject) {
		b := s.open(t, "b", hourly(5), hourly(4))
		take(t, b, "a", 4)
		if res := take(t, b, "a", -1); !res.Allowed {
			t.Errorf("giving 1 back: got %+v, want allowed", res)
		}
		if res := take(t, b, "a", 2); res.Allowed {
			t.Errorf("2 of 1: got %+v, want refused", res)
		}
		if res := take(t, b, "a", 1); !res.Allowed {
			t.Errorf("1 of 1: got %+v, want allowed", res)
		}
		one := s.open(t, "one", hourly(5))
		take(t, one, "a", 1)
		if res := take(t, one, "a", -3); res.Limit != hourly(5) || res.Remaining != 5 || res.RetryAfter != 0 || res.ResetAfter != 0 {
			t.Errorf("giving 3 of 1 back: got %+v, want 5 remaining", res)
		}
		for _, key := range []string{"a", "never seen"} {
			take(t, b, key, -100)
			take(t, b, key, -1-int(^uint(0)>>1)) // the smallest int
			if res := take(t, b, key, 4); !res.Allowed {
				t.Errorf("%s: got %+v, want the burst of 4 allowed", key, res)
			}
			if res := take(t, b, key, 1); res.Allowed {
				t.Errorf("%s: got %+v, want no more than the burst", key, res)
			}
		}
	}},
	{name: "many keys", why: "each key has a limit of its own, and is not forgotten while it owes something", run: func(t *testing.T, s *subject) {
		b := s.open(t, "b", hourly(1))
		for _, want := range []bool{true, false} {
			for i := range 500 {
				if res := take(t, b, strconv.Itoa(i), 1); res.Allowed != want {
					t.Errorf("key %d: got allowed %t, want %t", i, res.Allowed, want)
				}
			}
		}
	}},
	{name: "windows", frozen: true, why: "a limit in windows is counted so, or Open refuses it", run: func(t *testing.T, s *subject) {
		day := ratelimit.PerCalendarDay(6, nil)
		day.Burst = 6
		if b, err := s.store.Open("day", []ratelimit.Limit{day}); err == nil {
			take(t, b, "a", 6)
			res := take(t, b, "a", 1)
			if res.Allowed || res.RetryAfter <= 0 || res.RetryAfter > 24*time.Hour || res.Limit != day {
				t.Errorf("7 of 6 a day: got %+v, want a refusal until midnight", res)
			}
			// Six are there after midnight, and none before.
			s.Advance(res.RetryAfter / 2)
			if res := take(t, b, "a", 1); res.Allowed {
				t.Errorf("before midnight: got %+v, want a refusal", res)
			}
			s.Advance(res.RetryAfter - res.RetryAfter/2)
			if res := take(t, b, "a", 6); !res.Allowed {
				t.Errorf("after midnight: got %+v, want all 6", res)
			}
			take(t, b, "a", -4)
			if res := take(t, b, "a", 5); res.Allowed {
				t.Errorf("5 of 4 that were given back: got %+v, want a refusal", res)
			}
			if res := take(t, b, "a", 4); !res.Allowed {
				t.Errorf("4 of 4 that were given back: got %+v, want them allowed", res)
			}
		}
		sliding := limit(6, time.Minute, 6).Sliding()
		if b, err := s.store.Open("sliding", []ratelimit.Limit{sliding}); err == nil {
			s.Advance(time.Minute - time.Second) // wherever in a window that is
			take(t, b, "a", 6)
			res := take(t, b, "a", 3)
			if res.Allowed || res.RetryAfter <= 30*time.Second-time.Nanosecond || res.RetryAfter > 90*time.Second || res.Limit != sliding {
				t.Errorf("9 of 6 a minute: got %+v, want a refusal until half of them have slid out", res)
			}
			s.Advance(res.RetryAfter - time.Nanosecond)
			if res := take(t, b, "a", 3); res.Allowed {
				t.Errorf("a nanosecond too early: got %+v, want a refusal", res)
			}
			s.Advance(time.Nanosecond)
			if res := take(t, b, "a", 3); !res.Allowed {
				t.Errorf("then: got %+v, want 3 allowed", res)
			}
		}
	}},
	{name: "done context", why: "a context that is done is an error or changes nothing, but never a wrong decision", run: func(t *testing.T, s *subject) {
		b := s.open(t, "b", hourly(1))
		take(t, b, "a", 1)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if res, err := b.Take(ctx, "a", 1); err == nil && res.Allowed {
			t.Errorf("got %+v, want a refusal or an error", res)
		}
	}},
}

// per counts how many of n events are allowed, each after a pause.
func (s *subject) per(t *testing.T, b ratelimit.Bucket, pause time.Duration, n int) int {
	t.Helper()
	allowed := 0
	for range n {
		s.Advance(pause)
		if take(t, b, "a", 1).Allowed {
			allowed++
		}
	}
	return allowed
}

// about compares spans of hours, in which a case is over within a minute.
func about(t *testing.T, name string, got, want time.Duration) {
	t.Helper()
	if got > want || got < want-time.Minute {
		t.Errorf("%s: got %s, want %s", name, got, want)
	}
}
