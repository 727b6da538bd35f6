package ratelimit_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/ratelimit"
)

// An outcome is what became of one call.
type outcome struct {
	came   time.Duration // since the start
	waited time.Duration
	took   time.Duration // the handler, with its own wait for a server
	served bool
}

// A phase is a time of load: arrivals that do not care whether earlier ones were
// served, as those of many clients.
type phase struct {
	lasts  time.Duration
	load   float64 // 1 is what can just be served
	random bool    // arrivals and services are exponential, else at a steady pace
}

// run offers the load of phases to as many servers as there are places, each of
// which serves in service, with f before them. It returns what became of the calls,
// by the time they came. It needs a bubble of synctest.
func run(t *testing.T, f *ratelimit.InFlight, places int, service time.Duration, phases ...phase) []outcome {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	var (
		mu  sync.Mutex
		all []outcome
		wg  sync.WaitGroup
		// What handlers share: a pool of connections, say, or the processors.
		servers = make(chan struct{}, places)
	)
	start := time.Now()
	var end time.Duration
	for _, p := range phases {
		end += p.lasts
		pace := time.Duration(float64(service) / float64(places) / p.load)
		for time.Since(start) < end {
			pause, work := pace, service
			if p.random {
				pause, work = time.Duration(random.ExpFloat64()*float64(pace)), time.Duration(random.ExpFloat64()*float64(service))
			}
			time.Sleep(pause)
			came := time.Since(start)
			wg.Go(func() {
				release, err := f.Acquire(t.Context(), "")
				o := outcome{came: came, waited: time.Since(start) - came, served: err == nil}
				if err == nil {
					servers <- struct{}{}
					time.Sleep(work)
					<-servers
					o.took = time.Since(start) - came - o.waited
					release()
				} else if !errors.Is(err, ratelimit.ErrBusy) {
					t.Error(err)
				}
				mu.Lock()
				all = append(all, o)
				mu.Unlock()
			})
		}
	}
	wg.Wait()
	if s := f.Stats(); s.Waiting != 0 {
		t.Errorf("got %+v, want none waiting", s)
	}
	slices.SortFunc(all, func(a, b outcome) int { return int(a.came - b.came) })
	return all
}

// during returns the outcomes of the calls that came from and before to.
func during(all []outcome, from, to time.Duration) []outcome {
	return slices.DeleteFunc(slices.Clone(all), func(o outcome) bool { return o.came < from || o.came >= to })
}

// took returns the given part in ten of how long the handlers took.
func took(all []outcome, tenths int) time.Duration {
	var d []time.Duration
	for _, o := range all {
		if o.served {
			d = append(d, o.took)
		}
	}
	slices.Sort(d)
	return d[len(d)*tenths/10]
}

// waits returns how many of all were served, and the median, the 99th percentile
// and the maximum of how long those waited.
func waits(all []outcome) (served int, median, p99, most time.Duration) {
	var w []time.Duration
	for _, o := range all {
		if o.served {
			w = append(w, o.waited)
		}
	}
	if len(w) == 0 {
		return 0, 0, 0, 0
	}
	slices.Sort(w)
	return len(w), w[len(w)/2], w[len(w)*99/100], w[len(w)-1]
}

// controlled is a bound for 10 places of 20 ms each, 500 a second.
func controlled(t *testing.T, target time.Duration) *ratelimit.InFlight {
	t.Helper()
	return newInFlight(t, ratelimit.InFlightConfig{Max: 10, Queue: 2000, MaxWait: time.Second, Target: target})
}

const (
	places = 10
	takes  = 20 * time.Millisecond
	target = 5 * time.Millisecond
	// The default of InFlightConfig.Interval.
	interval = 100 * time.Millisecond
)

func TestLightLoadIsNotShed(t *testing.T) {
	for _, c := range []struct {
		name  string
		phase phase
	}{
		{"steady, half", phase{time.Minute, 0.5, false}},
		{"steady, all but full", phase{time.Minute, 0.99, false}},
		{"random, half", phase{time.Minute, 0.5, true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := controlled(t, target)
				all := run(t, f, places, takes, c.phase)
				if served, _, _, _ := waits(all); served != len(all) || f.Stats().Refused != 0 {
					t.Errorf("%d of %d were served", served, len(all))
				}
			})
		})
	}
}

// Under overload those who are served wait for about the target, and no place is
// left empty for that; a queue that is not controlled is as long as it may be.
func TestOverloadKeepsToTheTarget(t *testing.T) {
	const lasts, settled = 10 * time.Second, 2 * time.Second
	for _, c := range []struct {
		name   string
		target time.Duration
		phase  phase
	}{
		{"steady, 1.5 times", target, phase{lasts, 1.5, false}},
		{"steady, 2 times", target, phase{lasts, 2, false}},
		{"random, 2 times", target, phase{lasts, 2, true}},
		{"random, 10 times", target, phase{lasts, 10, true}},
		{"random, 2 times, not controlled", 0, phase{lasts, 2, true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := controlled(t, c.target)
				all := run(t, f, places, takes, c.phase)
				served, median, p99, most := waits(during(all, settled, lasts-time.Second))
				capacity := int((lasts - settled - time.Second) / takes * places)
				t.Logf("%d served, of %d possible; they waited %s (median), %s (p99), %s (most)", served, capacity, median, p99, most)
				if served < capacity*95/100 {
					t.Errorf("%d served, of %d possible", served, capacity)
				}
				if c.target == 0 {
					if median < 950*time.Millisecond {
						t.Errorf("they waited %s (median): that is no comparison", median)
					}
					return
				}
				if median > c.target || p99 > 2*c.target {
					t.Errorf("they waited %s (median) and %s (p99), want at most %s and %s", median, p99, c.target, 2*c.target)
				}
				for _, o := range all { // who is not served learns of it soon
					if !o.served && o.came > settled && o.waited > 10*c.target {
						t.Errorf("one was shed after %s", o.waited)
					}
				}
			})
		})
	}
}

func TestOverloadIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := controlled(t, target)
		all := run(t, f, places, takes,
			phase{5 * time.Second, 0.5, false}, phase{5 * time.Second, 3, false}, phase{5 * time.Second, 0.5, false})
		for _, p := range []struct {
			name     string
			from, to time.Duration
			shed     bool
		}{
			{"before", 0, 5 * time.Second, false},
			{"overload", 5 * time.Second, 10 * time.Second, true},
			{"after", 10*time.Second + 50*time.Millisecond, 15 * time.Second, false},
		} {
			part := during(all, p.from, p.to)
			if served, _, _, _ := waits(part); (served < len(part)) != p.shed {
				t.Errorf("%s: %d of %d were served", p.name, served, len(part))
			}
		}
		// It waits again as before.
		releases := make([]func(), 0, places)
		for range places {
			releases = append(releases, acquire(t, f, ""))
		}
		time.AfterFunc(900*time.Millisecond, func() {
			for _, release := range releases {
				release()
			}
		})
		acquire(t, f, "")()
	})
}

// After an overload that ended with the last request, the next ones, however much
// later, are not treated as part of it.
func TestOverloadEndsWithItsRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := controlled(t, target)
		run(t, f, places, takes, phase{2 * time.Second, 3, false})
		before := f.Stats().Shed
		time.Sleep(time.Hour)
		var wg sync.WaitGroup
		for range 10 * places {
			wg.Go(func() {
				release, err := f.Acquire(t.Context(), "")
				if err != nil {
					t.Error(err)
					return
				}
				time.Sleep(takes)
				release()
			})
		}
		wg.Wait()
		if shed := f.Stats().Shed - before; before == 0 || shed != 0 {
			t.Errorf("%d were shed in the overload and %d after it", before, shed)
		}
	})
}

func TestBurstIsAbsorbed(t *testing.T) {
	for _, c := range []struct {
		name  string
		burst int
		load  float64 // besides
	}{
		{"alone", 400, 0},
		{"on top of half the load", 20, 0.5},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := controlled(t, target)
				var bursts sync.WaitGroup
				bursts.Go(func() {
					for range 5 {
						time.Sleep(time.Second)
						for range c.burst {
							bursts.Go(func() {
								release, err := f.Acquire(t.Context(), "")
								if err != nil {
									t.Error(err)
									return
								}
								time.Sleep(takes)
								release()
							})
						}
					}
				})
				if c.load > 0 {
					all := run(t, f, places, takes, phase{7 * time.Second, c.load, false})
					if served, _, _, _ := waits(all); served != len(all) {
						t.Errorf("%d of %d were served", served, len(all))
					}
				}
				bursts.Wait()
				idle(t, f)
			})
		})
	}
}

// Step by step: the queue becomes one that stands, sheds the old ones but the last
// to come, and serves the last to come first.
func TestQueueThatStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := controlled(t, target)
		var releases []func()
		for range places {
			releases = append(releases, acquire(t, f, ""))
		}
		type event struct {
			who    string
			served bool
			at     time.Duration
		}
		start := time.Now()
		events := make(chan event, 10)
		come := func(who string) {
			go func() {
				_, err := f.Acquire(t.Context(), "")
				events <- event{who, err == nil, time.Since(start)}
			}()
			synctest.Wait()
		}
		want := func(who string, served bool, at time.Duration) {
			t.Helper()
			synctest.Wait()
			select {
			case e := <-events:
				if want := (event{who, served, at}); e != want {
					t.Errorf("got %+v, want %+v", e, want)
				}
			default:
				t.Errorf("nothing happened to %s", who)
			}
		}
		ms := func(n time.Duration) time.Duration { return n * time.Millisecond }

		come("a")         // at 0
		time.Sleep(ms(1)) // it stands from 100 on
		come("b")         // at 1
		time.Sleep(ms(98))
		if s := f.Stats(); s.Waiting != 2 || s.Shed != 0 {
			t.Fatalf("before the interval is over: %+v", s)
		}
		releases[0]() // at 99: still in order
		want("a", true, ms(99))
		time.Sleep(ms(1))
		come("c") // at 100
		want("b", false, ms(100))
		time.Sleep(ms(2))
		come("d") // at 102
		come("e")
		releases[1]()
		want("e", true, ms(102))
		time.Sleep(ms(3)) // 105
		want("c", false, ms(105))
		time.Sleep(ms(45)) // 150: the last to come is kept
		if s := f.Stats(); s.Waiting != 1 || s.Shed != 2 || s.Refused != 2 {
			t.Fatalf("got %+v, want 1 waiting and 2 shed", s)
		}
		releases[2]()
		want("d", true, ms(150))
		come("f") // at 150
		time.Sleep(time.Second)
		want("f", false, ms(1150)) // for MaxWait
		if s := f.Stats(); s.Waiting != 0 || s.Shed != 2 || s.Refused != 3 {
			t.Errorf("got %+v, want none waiting", s)
		}
	})
}
