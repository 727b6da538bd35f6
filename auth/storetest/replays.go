package storetest

import (
	"context"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/internal/conformance"
)

// An OpenReplays function returns a new store that holds nothing, and has room for
// a thousand keys. It may use t.Cleanup to remove it, and must be able to make
// several for one test.
type OpenReplays = func(t *testing.T) auth.Replays

// RunReplays checks the stores that open returns, with one subtest for each rule.
// It takes more than a second, since a store has a clock of its own.
func RunReplays(t *testing.T, open OpenReplays) { run(t, replayRules, open) }

var replayRules = []rule[OpenReplays]{
	{"once", "the first use of a key is one, and no later one", func(t *testing.T, open OpenReplays) {
		s := open(t)
		for _, key := range []string{"a", "b"} {
			used(t, s, key, inAnHour(), true, "the first use")
			for range 3 {
				used(t, s, key, inAnHour(), false, "another use")
			}
		}
		used(t, s, "a", inAnHour(), false, "a use of a after b")
	}},
	{"keys are bytes", "a key is what a stranger chose: it must mean itself alone (ASVS 1.2.4)", func(t *testing.T, open OpenReplays) {
		s := open(t)
		for _, key := range append(hostile(), "") {
			used(t, s, key, inAnHour(), true, "the first use")
			used(t, s, key, inAnHour(), false, "the second use")
		}
		for _, key := range append(hostile(), "") {
			used(t, s, key, inAnHour(), false, "a use after all others")
		}
	}},
	{"too long", "a key that is too long is refused, since what is cut off would make two keys one", func(t *testing.T, open OpenReplays) {
		s := open(t)
		long := strings.Repeat("k", 512)
		for _, key := range []string{long + "1", long + "2", strings.Repeat(long, 100)} {
			first, err := s.Use(t.Context(), key, inAnHour())
			conformance.Holds(t, !first && err != nil, "a key of %d bytes: got %v, %v, want an error", len(key), first, err)
		}
		used(t, s, long, inAnHour(), true, "a key of 512 bytes")
	}},
	{"until", "a key is remembered until its time, and no use with a shorter one cuts it off", func(t *testing.T, open OpenReplays) {
		s := open(t)
		until := time.Now().Add(1200 * time.Millisecond) // and not one second, when it is rounded down
		used(t, s, "short", until, true, "the first use")
		used(t, s, "long", inAnHour(), true, "the first use")
		used(t, s, "long", time.Now().Add(50*time.Millisecond), false, "a use with an earlier end")
		used(t, s, "long", time.Now().Add(-time.Hour), false, "a use with an end that has passed")
		time.Sleep(time.Until(until) - 150*time.Millisecond)
		first, err := s.Use(t.Context(), "short", inAnHour())
		if time.Now().Before(until) {
			conformance.Holds(t, !first && err == nil, "a use before its end: got %v, %v, want false", first, err)
		}
		used(t, s, "long", inAnHour(), false, "a use after an earlier end")
	}},
	{"has passed", "what nothing is remembered of could be used again and again", func(t *testing.T, open OpenReplays) {
		s := open(t)
		for _, until := range []time.Time{time.Now().Add(-time.Hour), time.Now(), time.Unix(0, 0), {}} {
			first, err := s.Use(t.Context(), "a", until)
			conformance.Holds(t, !first, "a use until %v: got %v, %v, want false", until, first, err)
		}
	}},
	{"cancelled", "a use that was given up is not a first one", func(t *testing.T, open OpenReplays) {
		s := open(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		late, stop := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
		defer stop()
		for name, ctx := range map[string]context.Context{"cancelled": ctx, "late": late} {
			first, err := s.Use(ctx, name, inAnHour())
			conformance.Holds(t, !first && err != nil, "a use that is %s: got %v, %v, want an error", name, first, err)
		}
	}},
	{"one key concurrently", "of any number of uses at once exactly one is the first", func(t *testing.T, open OpenReplays) {
		s := open(t)
		for round := range 5 {
			var first atomic.Int32
			conformance.Together(100, func(int) {
				ok, err := s.Use(t.Context(), strconv.Itoa(round), inAnHour())
				conformance.Holds(t, err == nil, "Use: got %v", err)
				if ok {
					first.Add(1)
				}
			})
			conformance.Holds(t, first.Load() == 1, "%d of 100 uses at once were the first, want 1", first.Load())
		}
	}},
	{"many keys concurrently", "a store is safe for concurrent use, and no answer gets to another question", func(t *testing.T, open OpenReplays) {
		s := open(t)
		conformance.Together(24, func(i int) {
			for j := range 10 {
				key := strconv.Itoa(i) + "." + strconv.Itoa(j)
				used(t, s, key, inAnHour(), true, "the first use")
				used(t, s, key, inAnHour(), false, "the second use")
			}
		})
	}},
}

// used checks the answer of s. It may be called from any goroutine.
func used(t *testing.T, s auth.Replays, key string, until time.Time, want bool, what string) {
	t.Helper()
	got, err := s.Use(t.Context(), key, until)
	conformance.Holds(t, err == nil && got == want, "%s of the key %.80q: got %v, %v, want %v", what, key, got, err, want)
}
