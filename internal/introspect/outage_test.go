package introspect_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/internal/eventlog"
	"github.com/sallyport/sallyport/internal/introspect"
)

func names(rec *eventlog.Recorder) []string {
	var all []string
	for _, e := range rec.All() {
		all = append(all, e.Name)
	}
	return all
}

var errRefused = errors.New("connection refused")

func refuses(*http.Request) error { return errRefused }

// An endpoint that is down is left alone but for one request a second, is known to
// work again by that, and each change is told once.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := new(eventlog.Recorder)
		s := &asServer{hold: refuses}
		c := newClient(t, s, func(c *introspect.Config) { c.Audit = rec })
		n := 0
		many := func() (down int) {
			var mu sync.Mutex
			var wg sync.WaitGroup
			for range 20 {
				n++
				wg.Go(func() {
					if _, err := c.Introspect(t.Context(), fmt.Sprint("t", n)); errors.Is(err, introspect.ErrDown) {
						mu.Lock()
						down++
						mu.Unlock()
					}
				})
				synctest.Wait()
			}
			wg.Wait()
			synctest.Wait() // for the events
			return down
		}
		if down := many(); down != 15 {
			t.Errorf("%d of 20 were refused at once, want 15", down)
		}
		if asked, _ := s.count(); asked != 5 {
			t.Errorf("the endpoint was asked %d times before it was down, want 5", asked)
		}
		s.set(func(s *asServer) { s.asked = nil })
		for range 10 {
			time.Sleep(time.Second)
			many()
		}
		if asked, _ := s.count(); asked != 10 {
			t.Errorf("in 10 s of outage it was asked %d times, want 10", asked)
		}
		if got, want := names(rec), []string{audit.SysMonitorDisabled}; !slices.Equal(got, want) {
			t.Errorf("during the outage: got the events %v", got)
		}
		if e := rec.All()[0]; e.Level != slog.LevelError || e.Reason != "the introspection endpoint "+endpoint+" has failed: introspect: connection refused" {
			t.Errorf("got the event %+v", e)
		}
		s.set(func(s *asServer) { s.hold = nil })
		time.Sleep(time.Second)
		if down := many(); down != 0 {
			t.Errorf("after the outage %d of 20 were refused", down)
		}
		if got, want := names(rec), []string{audit.SysMonitorDisabled, audit.SysMonitorEnabled}; !slices.Equal(got, want) {
			t.Errorf("after the outage: got the events %v", got)
		}
		if e := rec.All()[1]; e.Level != slog.LevelInfo || e.Reason != "the introspection endpoint "+endpoint+" works again" {
			t.Errorf("got the event %+v", e)
		}
		s.set(func(s *asServer) { s.hold = refuses })
		if down := many(); down != 15 || len(rec.All()) != 3 {
			t.Errorf("the second outage: %d were refused at once, and there were %d events", down, len(rec.All()))
		}
		// It is over with one answer, and what was before counts no more.
		s.set(func(s *asServer) { s.hold = nil })
		time.Sleep(time.Second)
		ask(t, c, "probe")
		s.set(func(s *asServer) { s.hold = refuses })
		if down := many(); down != 15 || len(rec.All()) != 5 {
			t.Errorf("the third outage: %d were refused at once, and there were %d events", down, len(rec.All()))
		}
	})
}

// What is remembered is good during an outage, and no longer than without one.
func TestNothingStaleIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(asServer)
		c := newClient(t, s)
		ask(t, c, "t")
		s.set(func(s *asServer) { s.hold = refuses })
		for i := range 6 {
			_, _ = c.Introspect(t.Context(), fmt.Sprint("x", i))
		}
		time.Sleep(10*time.Second - 1)
		if !ask(t, c, "t").Active {
			t.Error("not active within the TTL")
		}
		time.Sleep(time.Nanosecond)
		if a, err := c.Introspect(t.Context(), "t"); err == nil || a.Active {
			t.Errorf("got %v, %v after the TTL, want an error", a.Active, err)
		}
	})
}

// An endpoint that hangs holds up nobody for longer than the timeout, and during an
// outage one at a time.
func TestSlowEndpoint(t *testing.T) {
	for _, tt := range []struct{ timeout, want time.Duration }{{0, 3 * time.Second}, {200 * time.Millisecond, 200 * time.Millisecond}} {
		synctest.Test(t, func(t *testing.T) {
			rec := new(eventlog.Recorder)
			s := &asServer{hold: sleeps(time.Hour)}
			c := newClient(t, s, func(c *introspect.Config) { c.Timeout, c.Audit = tt.timeout, rec })
			var wg sync.WaitGroup
			for i := range 10 {
				wg.Go(func() {
					start := time.Now()
					if _, err := c.Introspect(t.Context(), fmt.Sprint("t", i)); err == nil || time.Since(start) != tt.want {
						t.Errorf("got %v after %v, want an error after %v", err, time.Since(start), tt.want)
					}
				})
			}
			wg.Wait()
			synctest.Wait()
			if got, want := names(rec), []string{audit.SysMonitorDisabled}; !slices.Equal(got, want) {
				t.Errorf("got the events %v", got)
			}
			time.Sleep(time.Second)
			wg.Go(func() { _, _ = c.Introspect(t.Context(), "probe") })
			synctest.Wait()
			start := time.Now()
			if _, err := c.Introspect(t.Context(), "another"); err != introspect.ErrDown || time.Since(start) != 0 {
				t.Errorf("got %v after %v while another finds out", err, time.Since(start))
			}
			wg.Wait()
		})
	}
}

// Those who wait for a place when the endpoint goes down don't each find that out.
func TestTheQueueEndsWithTheOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asServer{hold: func(r *http.Request) error {
			_ = sleeps(time.Second)(r)
			return errRefused
		}}
		c := newClient(t, s, func(c *introspect.Config) { c.MaxConcurrent = 5; c.Timeout = time.Minute })
		start := time.Now()
		var wg sync.WaitGroup
		for i := range 45 {
			wg.Go(func() { _, _ = c.Introspect(t.Context(), fmt.Sprint("t", i)) })
		}
		wg.Wait()
		if asked, _ := s.count(); asked > 10 || time.Since(start) > 2*time.Second {
			t.Errorf("it was asked %d times in %v", asked, time.Since(start))
		}
	})
}

// An answer to what was asked before the outage doesn't end it.
func TestLateAnswerEndsNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := new(eventlog.Recorder)
		s := &asServer{hold: sleeps(2 * time.Second)}
		c := newClient(t, s, func(c *introspect.Config) { c.Audit = rec })
		var wg sync.WaitGroup
		wg.Go(func() { ask(t, c, "slow") })
		synctest.Wait()
		s.set(func(s *asServer) { s.hold = refuses })
		for i := range 5 {
			_, _ = c.Introspect(t.Context(), fmt.Sprint("t", i))
		}
		wg.Wait()
		s.set(func(s *asServer) { s.asked = nil })
		_, _ = c.Introspect(t.Context(), "probe")
		_, _ = c.Introspect(t.Context(), "another")
		if asked, _ := s.count(); asked != 1 {
			t.Errorf("it was asked %d times, want once, to find out", asked)
		}
		synctest.Wait()
		if got, want := names(rec), []string{audit.SysMonitorDisabled}; !slices.Equal(got, want) {
			t.Errorf("got the events %v", got)
		}
	})
}

// Who finds out may leave: what was found stays.
func TestAProbeGoesOnWithoutItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asServer{hold: refuses}
		c := newClient(t, s, func(c *introspect.Config) { c.MaxConcurrent = 1 })
		for i := range 5 {
			_, _ = c.Introspect(t.Context(), fmt.Sprint("t", i))
		}
		s.set(func(s *asServer) { s.hold = sleeps(2 * time.Second) })
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Introspect(ctx, "probe"); err == nil {
			t.Error("the probe was decided in a second")
		}
		time.Sleep(time.Second)
		if !ask(t, c, "probe").Active || !ask(t, c, "another").Active {
			t.Error("the endpoint is not known to work")
		}
	})
}

// Whoever sends tokens must not be able to stop the endpoint being asked about
// others: what may be about the one token is no failure of the endpoint.
func TestOneTokenStopsNoOther(t *testing.T) {
	for name, answer := range map[string]func(string) (int, string, string){
		"too large":  says(`{"active":true,"x":"` + strings.Repeat("a", 1<<20) + `"}`),
		"malformed":  says(`{"active":true,"a":1,"a":2}`),
		"not a bool": says(`{"active":"yes"}`),
		"400":        func(string) (int, string, string) { return 400, "application/json", `{}` },
		"422":        func(string) (int, string, string) { return 422, "text/html", `` },
	} {
		t.Run(name, func(t *testing.T) {
			rec := new(eventlog.Recorder)
			s := &asServer{answer: answer}
			c := newClient(t, s, func(c *introspect.Config) { c.Audit = rec })
			for i := range 100 {
				if _, err := c.Introspect(t.Context(), fmt.Sprint("evil", i)); err == nil || errors.Is(err, introspect.ErrDown) {
					t.Fatalf("got %v", err)
				}
			}
			s.set(func(s *asServer) { s.answer = nil })
			ask(t, c, "good")
			if len(rec.All()) != 0 {
				t.Errorf("got the events %v", names(rec))
			}
		})
	}
}

// What only an endpoint in trouble answers is told at once.
func TestFailuresOfTheEndpoint(t *testing.T) {
	for _, status := range []int{401, 429, 502, 503, 504} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rec := new(eventlog.Recorder)
				s := &asServer{answer: func(string) (int, string, string) { return status, "application/json", `{"error":"invalid_client"}` }}
				c := newClient(t, s, func(c *introspect.Config) { c.Audit = rec })
				for i := range 50 {
					_, _ = c.Introspect(t.Context(), fmt.Sprint("t", i))
				}
				if asked, _ := s.count(); asked != 5 {
					t.Errorf("asked %d times, want 5", asked)
				}
				s.set(func(s *asServer) { s.answer = nil })
				time.Sleep(time.Second)
				ask(t, c, "good")
				synctest.Wait()
				if got, want := names(rec), []string{audit.SysMonitorDisabled, audit.SysMonitorEnabled}; !slices.Equal(got, want) {
					t.Errorf("got the events %v", got)
				}
			})
		})
	}
}

// doubtful are answers of an endpoint that is in trouble, or doesn't know this API, or
// doesn't like the one token.
func doubtful() map[string]func(string) (int, string, string) {
	m := map[string]func(string) (int, string, string){
		"HTML":    func(string) (int, string, string) { return 200, "text/html", `<html>` },
		"no type": func(string) (int, string, string) { return 200, "", `{"active":true}` },
	}
	for _, status := range []int{204, 302, 303, 307, 403, 404, 405, 413, 414, 431, 500, 501, 505, 507} {
		m[fmt.Sprint(status)] = func(string) (int, string, string) { return status, "text/html", "" }
	}
	return m
}

// However long nobody has sent a good token: those that the endpoint can't stand stop
// nothing.
func TestQuietEndpointIsNotStoppedByTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asServer{answer: func(token string) (int, string, string) {
			if strings.HasPrefix(token, "evil") {
				return 413, "text/html", ""
			}
			return 200, "application/json", `{"active":true}`
		}}
		c := newClient(t, s)
		_, _ = c.Introspect(t.Context(), "evil")
		time.Sleep(30 * time.Second)
		for i := range 1000 {
			_, _ = c.Introspect(t.Context(), fmt.Sprint("evil", i))
			if i%20 != 19 {
				continue
			}
			if a, err := c.Introspect(t.Context(), fmt.Sprint("good", i)); err != nil || !a.Active {
				t.Fatalf("after %d of the others: got %v, %v", i, a.Active, err)
			}
			time.Sleep(31 * time.Second)
		}
	})
}

// One that was down and answers, though nothing that works, is asked again.
func TestDoubtfulAnswersEndAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := new(eventlog.Recorder)
		status := 503
		s := &asServer{answer: func(token string) (int, string, string) {
			if token == "good" {
				return 200, "application/json", `{"active":true}`
			}
			return status, "text/html", ""
		}}
		c := newClient(t, s, func(c *introspect.Config) { c.Audit = rec })
		for i := range 5 {
			_, _ = c.Introspect(t.Context(), fmt.Sprint("t", i))
		}
		if _, err := c.Introspect(t.Context(), "good"); !errors.Is(err, introspect.ErrDown) {
			t.Fatalf("got %v, want ErrDown", err)
		}
		status = 413
		time.Sleep(time.Second)
		_, _ = c.Introspect(t.Context(), "evil")
		synctest.Wait()
		if got := names(rec); !slices.Equal(got, []string{audit.SysMonitorDisabled}) {
			t.Errorf("before an answer that works: %v", got)
		}
		if a, err := c.Introspect(t.Context(), "good"); err != nil || !a.Active {
			t.Errorf("got %v, %v", a.Active, err)
		}
		synctest.Wait()
		if got := names(rec); !slices.Equal(got, []string{audit.SysMonitorDisabled, audit.SysMonitorEnabled}) {
			t.Errorf("after it: %v", got)
		}
	})
}

// Where the endpoint is not one, that is told too, once it has gone on for 30 s.
func TestDoubtfulAnswersAreToldInTheEnd(t *testing.T) {
	for name, answer := range doubtful() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rec := new(eventlog.Recorder)
				s := &asServer{answer: answer}
				c := newClient(t, s, func(c *introspect.Config) { c.Audit = rec })
				ask := func(n int) (asked int) {
					s.set(func(s *asServer) { s.asked = nil })
					for i := range n {
						_, _ = c.Introspect(t.Context(), fmt.Sprint("t", i))
					}
					asked, _ = s.count()
					return asked
				}
				if asked := ask(50); asked != 50 {
					t.Errorf("at first it was asked %d times, want 50", asked)
				}
				time.Sleep(30*time.Second - 1)
				if asked := ask(50); asked != 50 || len(rec.All()) != 0 {
					t.Errorf("within 30 s it was asked %d times, want 50, and there are the events %v", asked, names(rec))
				}
				time.Sleep(time.Nanosecond)
				if asked := ask(50); asked != 50 {
					t.Errorf("after 30 s it was asked %d times, want 50", asked)
				}
				s.set(func(s *asServer) { s.answer = nil })
				time.Sleep(time.Second)
				if a, err := c.Introspect(t.Context(), "good"); err != nil || !a.Active {
					t.Errorf("got %v, %v", a.Active, err)
				}
				synctest.Wait()
				if got, want := names(rec), []string{audit.SysMonitorDisabled, audit.SysMonitorEnabled}; !slices.Equal(got, want) {
					t.Errorf("got the events %v", got)
				}
				// What was before an answer counts no more.
				s.set(func(s *asServer) { s.answer = answer })
				if asked := ask(50); asked != 50 {
					t.Errorf("after an answer it was asked %d times, want 50", asked)
				}
			})
		})
	}
}

// Someone sends tokens that the endpoint can't stand, 20 a second. The tokens of
// others are decided as long as there are some.
func TestTokensThatTheEndpointCantStand(t *testing.T) {
	for name, answer := range doubtful() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rec := new(eventlog.Recorder)
				s := &asServer{answer: func(token string) (int, string, string) {
					if strings.HasPrefix(token, "evil") {
						return answer(token)
					}
					return 200, "application/json", `{"active":true}`
				}}
				c := newClient(t, s, func(c *introspect.Config) { c.Audit = rec })
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				wg.Go(func() {
					for i := 0; ctx.Err() == nil; i++ {
						_, _ = c.Introspect(t.Context(), fmt.Sprint("evil", i))
						time.Sleep(50 * time.Millisecond)
					}
				})
				for i := range 120 {
					time.Sleep(time.Second + 7*time.Millisecond)
					if !ask(t, c, fmt.Sprint("good", i)).Active {
						t.Error("a good token is not active")
					}
				}
				cancel()
				wg.Wait()
				if got := names(rec); len(got) != 0 {
					t.Errorf("got the events %v", got)
				}
			})
		})
	}
}

// A recorder that blocks holds up no request, and no other event is lost of a few.
func TestRecorderThatBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := &blocking{free: make(chan struct{})}
		s := &asServer{hold: refuses}
		c := newClient(t, s, func(c *introspect.Config) { c.Audit = rec })
		start := time.Now()
		for i := range 20 {
			_, _ = c.Introspect(t.Context(), fmt.Sprint("t", i))
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("the outage took %v", d)
		}
		if flights, slots := introspect.Leftover(c); flights != 0 || slots != 0 {
			t.Errorf("%d requests and %d places are left", flights, slots)
		}
		s.set(func(s *asServer) { s.hold = nil })
		time.Sleep(time.Second)
		ask(t, c, "t0")
		ask(t, c, "t1")
		if got := names(&rec.Recorder); len(got) != 0 {
			t.Errorf("got the events %v from one that blocks", got)
		}
		close(rec.free)
		synctest.Wait()
		if got, want := names(&rec.Recorder), []string{audit.SysMonitorDisabled, audit.SysMonitorEnabled}; !slices.Equal(got, want) {
			t.Errorf("got the events %v", got)
		}
	})
}

// blocking is a recorder that waits until it is free.
type blocking struct {
	eventlog.Recorder
	free chan struct{}
}

func (b *blocking) Record(ctx context.Context, e audit.Event) error {
	<-b.free
	return b.Recorder.Record(ctx, e)
}

// Failures that are not in a row, as of a connection now and then, stop nothing.
func TestSingleFailuresAreNoOutage(t *testing.T) {
	rec := new(eventlog.Recorder)
	s := new(asServer)
	c := newClient(t, s, func(c *introspect.Config) { c.Audit = rec })
	for i := range 100 {
		s.set(func(s *asServer) { s.hold = nil })
		if i%5 != 0 {
			s.set(func(s *asServer) { s.hold = refuses })
		}
		_, _ = c.Introspect(t.Context(), fmt.Sprint("t", i))
	}
	if len(rec.All()) != 0 {
		t.Errorf("got the events %v", names(rec))
	}
}

// A transport that panics, or ends its goroutine, decides nothing and leaves
// nothing behind.
func TestTransportThatPanics(t *testing.T) {
	for name, f := range map[string]func(){
		"panic":  func() { panic("out of range") },
		"error":  func() { panic(errors.New("out of range")) },
		"Goexit": runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClient(t, roundTrip(func(*http.Request) (*http.Response, error) {
					f()
					return nil, nil
				}))
				if a, err := c.Introspect(t.Context(), "t"); err == nil || a.Active {
					t.Errorf("got %v, %v, want an error", a, err)
				}
				if _, inactive, _ := introspect.Remembered(c); inactive != 0 {
					t.Error("it is remembered that the token is not active")
				}
				if flights, slots := introspect.Leftover(c); flights != 0 || slots != 0 {
					t.Errorf("%d requests and %d places are left", flights, slots)
				}
				if name == "Goexit" {
					return
				}
				for i := range 5 {
					_, err := c.Introspect(t.Context(), fmt.Sprint("t", i))
					if want := i == 4; errors.Is(err, introspect.ErrDown) != want {
						t.Errorf("after %d panics: got %v", i+1, err)
					}
				}
			})
		})
	}
}

// What nobody waits for ends within the timeout, and in the queue at once.
func TestNoGoroutineOutlivesItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asServer{hold: sleeps(time.Hour)}
		c := newClient(t, s, func(c *introspect.Config) { c.MaxConcurrent = 2 })
		for i := range 100 {
			ctx, cancel := context.WithCancel(t.Context())
			go func() { _, _ = c.Introspect(ctx, fmt.Sprint("t", i)) }()
			synctest.Wait()
			cancel()
			synctest.Wait()
		}
		// The two under way end with their timeout; the bubble would not end otherwise.
		if flights, slots := introspect.Leftover(c); flights != 2 || slots != 2 {
			t.Errorf("%d requests and %d places, want 2 and 2", flights, slots)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if flights, slots := introspect.Leftover(c); flights != 0 || slots != 0 {
			t.Errorf("%d requests and %d places are left", flights, slots)
		}
	})
}
