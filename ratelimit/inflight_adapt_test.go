package ratelimit_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/ratelimit"
)

// Max is a hundred times too much for the servers behind: without a Latency all of
// it waits inside of the handlers. Who comes first at one moment is the scheduler's choice, so
// that with random arrivals two runs differ: 95.8 to 99 % are served in 90 of them.
func TestLatencyFindsTheBound(t *testing.T) {
	const lasts, settled = 10 * time.Second, 2 * time.Second
	for _, c := range []struct {
		name    string
		latency time.Duration
		phase   phase
		served  int           // per cent of what can be
		p90     time.Duration // at most
	}{
		{"steady, half", 60 * time.Millisecond, phase{lasts, 0.5, false}, 50, 20 * time.Millisecond},
		{"steady, all but full", 60 * time.Millisecond, phase{lasts, 0.9, false}, 90, 20 * time.Millisecond},
		{"steady, 2 times", 60 * time.Millisecond, phase{lasts, 2, false}, 99, 80 * time.Millisecond},
		{"steady, 2 times, half the latency", 30 * time.Millisecond, phase{lasts, 2, false}, 99, 40 * time.Millisecond},
		{"random, 2 times", 80 * time.Millisecond, phase{lasts, 2, true}, 93, 120 * time.Millisecond},
		{"random, 10 times", 80 * time.Millisecond, phase{lasts, 10, true}, 93, 120 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newInFlight(t, ratelimit.InFlightConfig{Max: 1000, Min: 5, Queue: 1000, Target: target, Latency: c.latency})
				all := during(run(t, f, places, takes, c.phase), settled, lasts-time.Second)
				served, median, p99, _ := waits(all)
				capacity := int((lasts - settled - time.Second) / takes * places)
				p90 := took(all, 9)
				t.Logf("%d served, of %d possible; waited %s (median), %s (p99), took %s (p90); a bound of %d", served, capacity, median, p99, p90, f.Stats().Limit)
				if served < capacity*c.served/100 || p90 > c.p90 || median > target || p99 > interval {
					t.Errorf("want %d%% of them, with %s, %s and %s", c.served, target, interval, c.p90)
				}
			})
		})
	}
	t.Run("for comparison, random, 2 times, without Latency", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newInFlight(t, ratelimit.InFlightConfig{Max: 1000, Queue: 1000, Target: target})
			all := during(run(t, f, places, takes, phase{lasts, 2, true}), settled, lasts-time.Second)
			if got := took(all, 5); got < 1900*time.Millisecond {
				t.Errorf("the handlers took %s (median): that is no comparison", got)
			}
		})
	})
}

// rounds serves full rounds: all that the bound allows, at once and n times, while
// one more asks in vain.
func rounds(t *testing.T, f *ratelimit.InFlight, n int, takes time.Duration) (limits []int) {
	t.Helper()
	for range n {
		var wg sync.WaitGroup
		for range f.Stats().Limit {
			release := acquire(t, f, "")
			wg.Go(func() {
				time.Sleep(takes)
				release()
			})
		}
		if _, err := f.Acquire(t.Context(), ""); err == nil {
			t.Fatal("there is room above the bound")
		}
		wg.Wait()
		time.Sleep(time.Nanosecond) // what comes now came after the change
		limits = append(limits, f.Stats().Limit)
	}
	return limits
}

func TestBoundByLatencyStepByStep(t *testing.T) {
	const fast, slow = 50 * time.Millisecond, 50*time.Millisecond + 1
	synctest.Test(t, func(t *testing.T) {
		f := newInFlight(t, ratelimit.InFlightConfig{Max: 100, Latency: fast})
		for _, step := range []struct {
			name  string
			takes time.Duration
			want  []int
		}{
			{"from a tenth of Max, in doubles up to Max", fast, []int{20, 40, 80, 100, 100}},
			{"a tenth less, as long as they are slow", slow, []int{90, 81, 73}},
			{"one more, as long as they are fast", fast, []int{74, 75, 76}},
			{"down to Min", slow, []int{69, 63, 57, 52, 47, 43, 39, 36, 33, 30, 27, 25, 23, 21, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 10, 10}},
			{"and up again", fast, []int{11, 12}},
		} {
			got := rounds(t, f, len(step.want), step.takes)
			for i := range got {
				if got[i] != step.want[i] {
					t.Fatalf("%s: got %v, want %v", step.name, got, step.want)
				}
			}
		}
		idle(t, f)
	})
}

// A tenth of less than 10 is one.
func TestBoundByLatencyCanBeSmall(t *testing.T) {
	const fast, slow = 50 * time.Millisecond, 50*time.Millisecond + 1
	synctest.Test(t, func(t *testing.T) {
		f := newInFlight(t, ratelimit.InFlightConfig{Max: 20, Min: 1, Latency: fast})
		if got := rounds(t, f, 50, fast); got[0] != 1 || got[49] != 20 {
			t.Errorf("got %v, want to get from 1 to 20", got)
		}
		if got := rounds(t, f, 100, slow); got[99] != 1 {
			t.Errorf("got %v, want to get to 1", got)
		}
	})
}

func TestBoundByLatencyLearnsOnlyFromWhatItHolds(t *testing.T) {
	const latency = 50 * time.Millisecond
	for _, c := range []struct {
		name string
		do   func(t *testing.T, f *ratelimit.InFlight)
		want int
	}{
		{"fast, but never full", func(t *testing.T, f *ratelimit.InFlight) {
			for range 1000 {
				acquire(t, f, "")()
			}
		}, 40},
		{"one of ten is slow", func(t *testing.T, f *ratelimit.InFlight) {
			for i := range 1000 {
				release := acquire(t, f, "")
				if i%10 == 0 {
					time.Sleep(2 * latency)
				}
				release()
			}
		}, 40},
		{"two of ten are slow, though never full", func(t *testing.T, f *ratelimit.InFlight) {
			for i := range 40 {
				release := acquire(t, f, "")
				if i%5 == 0 {
					time.Sleep(2 * latency)
				}
				release()
			}
		}, 36},
		{"slow, but from before the last change", func(t *testing.T, f *ratelimit.InFlight) {
			var old []func()
			for range 36 {
				old = append(old, acquire(t, f, ""))
			}
			for range 10 { // the change
				var more []func()
				for range 4 {
					more = append(more, acquire(t, f, ""))
				}
				time.Sleep(2 * latency)
				for _, release := range more {
					release()
				}
			}
			for _, release := range old {
				release()
			}
		}, 36},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newInFlight(t, ratelimit.InFlightConfig{Max: 200, Latency: latency})
				if got := rounds(t, f, 1, latency)[0]; got != 40 {
					t.Fatalf("the bound is %d, want 40", got)
				}
				c.do(t, f)
				if got := f.Stats().Limit; got != c.want {
					t.Errorf("the bound is %d, want %d", got, c.want)
				}
				idle(t, f)
			})
		})
	}
}

// When the bound shrinks, who runs goes on and who waits waits; when it grows, so
// many more of them are served.
func TestBoundByLatencyAndTheQueue(t *testing.T) {
	const latency = 50 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		f := newInFlight(t, ratelimit.InFlightConfig{Max: 40, Min: 20, Latency: latency, Queue: 100, MaxWait: time.Minute})
		hold := func(n int, d time.Duration) {
			for range n {
				go func() {
					release, err := f.Acquire(t.Context(), "")
					if err != nil {
						t.Error(err)
						return
					}
					time.Sleep(d)
					release()
				}()
			}
			synctest.Wait()
		}
		want := func(limit, running, waiting int) {
			t.Helper()
			synctest.Wait()
			if s := f.Stats(); s.Limit != limit || s.Running != running || s.Waiting != waiting {
				t.Errorf("got %+v, want %d running of %d and %d waiting", s, running, limit, waiting)
			}
		}
		hold(20, latency)
		hold(60, 2*latency)
		want(20, 20, 60)
		time.Sleep(latency)
		want(40, 40, 20)
		time.Sleep(2 * latency) // the 40 were slow
		want(36, 20, 0)
		time.Sleep(time.Second)
		idle(t, f)
	})
}
