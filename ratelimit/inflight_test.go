package ratelimit_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport"
	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/ratelimit"
)

func newInFlight(t testing.TB, cfg ratelimit.InFlightConfig) *ratelimit.InFlight {
	t.Helper()
	f, err := ratelimit.NewInFlight(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// byPath is a KeyFunc for tests: the path is the key.
func byPath(r *http.Request) (string, error) { return r.URL.Path, nil }

// acquire takes a place that there must be.
func acquire(t testing.TB, f *ratelimit.InFlight, key string) (release func()) {
	t.Helper()
	release, err := f.Acquire(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return release
}

// idle fails unless nothing runs, waits or is kept.
func idle(t testing.TB, f *ratelimit.InFlight) {
	t.Helper()
	if s := f.Stats(); s.Running != 0 || s.Waiting != 0 || s.Keys != 0 {
		t.Errorf("got %+v, want nothing left", s)
	}
}

func TestNewInFlightRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		cfg   ratelimit.InFlightConfig
		field string // "" works
	}{
		{"only Max", ratelimit.InFlightConfig{Max: 1}, ""},
		{"all at their most", ratelimit.InFlightConfig{Max: 1 << 24, Queue: 1 << 24, MaxWait: 10 * time.Minute, Target: 10 * time.Minute, Interval: 10 * time.Minute, Latency: 10 * time.Minute, Min: 1 << 24}, ""},
		{"nothing", ratelimit.InFlightConfig{}, "Max"},
		{"negative Max", ratelimit.InFlightConfig{Max: -1}, "Max"},
		{"large Max", ratelimit.InFlightConfig{Max: 1<<24 + 1}, "Max"},
		{"a name of two lines", ratelimit.InFlightConfig{Name: "a\nb", Max: 1}, "Name"},
		{"negative Queue", ratelimit.InFlightConfig{Max: 1, Queue: -1}, "Queue"},
		{"large Queue", ratelimit.InFlightConfig{Max: 1, Queue: 1<<24 + 1}, "Queue"},
		{"negative MaxWait", ratelimit.InFlightConfig{Max: 1, Queue: 1, MaxWait: -1}, "MaxWait"},
		{"long MaxWait", ratelimit.InFlightConfig{Max: 1, Queue: 1, MaxWait: 10*time.Minute + 1}, "MaxWait"},
		{"MaxWait without Queue", ratelimit.InFlightConfig{Max: 1, MaxWait: time.Second}, "MaxWait"},
		{"negative Target", ratelimit.InFlightConfig{Max: 1, Queue: 1, Target: -1}, "Target"},
		{"Target above MaxWait", ratelimit.InFlightConfig{Max: 1, Queue: 1, MaxWait: time.Second, Target: time.Second + 1}, "Target"},
		{"Target above the default MaxWait", ratelimit.InFlightConfig{Max: 1, Queue: 1, Target: time.Second + 1}, "Target"},
		{"Target without Queue", ratelimit.InFlightConfig{Max: 1, Target: 1}, "Target"},
		{"negative Interval", ratelimit.InFlightConfig{Max: 1, Queue: 1, Target: 1, Interval: -1}, "Interval"},
		{"long Interval", ratelimit.InFlightConfig{Max: 1, Queue: 1, Target: 1, Interval: 10*time.Minute + 1}, "Interval"},
		{"negative Latency", ratelimit.InFlightConfig{Max: 1, Latency: -1}, "Latency"},
		{"long Latency", ratelimit.InFlightConfig{Max: 1, Latency: 10*time.Minute + 1}, "Latency"},
		{"Latency per key", ratelimit.InFlightConfig{Max: 1, Latency: 1, Key: byPath}, "Latency"},
		{"negative Min", ratelimit.InFlightConfig{Max: 1, Latency: 1, Min: -1}, "Min"},
		{"Min above Max", ratelimit.InFlightConfig{Max: 1, Latency: 1, Min: 2}, "Min"},
		{"Min without Latency", ratelimit.InFlightConfig{Max: 1, Min: 1}, "Min"},
		{"Interval without Target", ratelimit.InFlightConfig{Max: 1, Queue: 1, Interval: 1}, "Interval"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := ratelimit.NewInFlight(c.cfg)
			if c.field == "" {
				if err != nil || f.Name() != "default" {
					t.Errorf("got %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), "InFlightConfig."+c.field+" ") {
				t.Errorf("got %v, want an error about %s", err, c.field)
			}
		})
	}
	t.Run("Wrap of nil", func(t *testing.T) {
		defer func() {
			if recover() == nil {
				t.Error("it did not panic")
			}
		}()
		newInFlight(t, ratelimit.InFlightConfig{Max: 1}).Wrap(nil)
	})
}

func TestInFlightAnswers(t *testing.T) {
	for _, c := range []struct {
		name       string
		cfg        ratelimit.InFlightConfig
		key        string
		status     int
		code, typ  string
		retryAfter string
	}{
		{"all together", ratelimit.InFlightConfig{Name: "app", Max: 2}, "", 503, "overloaded", "temporary-reduced-capacity", "1"},
		{"all together, with a full queue", ratelimit.InFlightConfig{Name: "app", Max: 1, Queue: 1, MaxWait: 1500 * time.Millisecond}, "", 503, "overloaded", "temporary-reduced-capacity", "2"},
		{"per key", ratelimit.InFlightConfig{Name: "app", Max: 2, Key: byPath}, "/", 429, "concurrency_limited", "quota-exceeded", "1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newInFlight(t, c.cfg)
				for range c.cfg.Max {
					defer acquire(t, f, c.key)()
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				for range c.cfg.Queue {
					go func() {
						if _, err := f.Acquire(ctx, c.key); !errors.Is(err, context.Canceled) {
							t.Error(err)
						}
					}()
				}
				synctest.Wait()
				rec := new(recorder)
				h := sallyport.Chain(httperr.Recover(httperr.Config{Audit: rec}), f.Wrap)(ok)
				w := serve(h, get())
				var p struct{ Type, Title, Code string }
				if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
					t.Fatal(err)
				}
				if w.Code != c.status || p.Code != c.code || !strings.HasSuffix(p.Type, "#"+c.typ) {
					t.Errorf("got %d %s", w.Code, w.Body)
				}
				if got := w.Header()["Retry-After"]; len(got) != 1 || got[0] != c.retryAfter {
					t.Errorf("got Retry-After %q, want %s", got, c.retryAfter)
				}
				events := rec.All()
				if len(events) != 1 || events[0].Name != audit.RateLimitExceeded || events[0].Status != c.status || !strings.HasPrefix(events[0].Reason, "app: over ") {
					t.Errorf("got the events %+v", events)
				}
				if strings.Contains(w.Body.String(), "app") {
					t.Errorf("the answer tells what is ours: %s", w.Body)
				}
			})
		})
	}
}

// A flood must not become a flood of events, and none may be lost from the count.
func TestInFlightEventsOfAnOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newInFlight(t, ratelimit.InFlightConfig{Name: "app", Max: 1})
		defer acquire(t, f, "")()
		rec := new(recorder)
		h := sallyport.Chain(httperr.Recover(httperr.Config{Audit: rec}), f.Wrap)(ok)
		for range 3 {
			for range 100 {
				serve(h, get())
				time.Sleep(10 * time.Millisecond)
			}
		}
		var reasons []string
		for _, e := range rec.All() {
			reasons = append(reasons, e.Reason)
		}
		const want = "[app: over 1 at once; refused since the last such event: 1" +
			" app: over 1 at once; refused since the last such event: 100" +
			" app: over 1 at once; refused since the last such event: 100]"
		if got := fmt.Sprint(reasons); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
	})
	t.Run("per key, each refusal is one", func(t *testing.T) {
		f := newInFlight(t, ratelimit.InFlightConfig{Max: 1, Key: byPath})
		defer acquire(t, f, "/")()
		rec := new(recorder)
		h := sallyport.Chain(httperr.Recover(httperr.Config{Audit: rec}), f.Wrap)(ok)
		for range 10 {
			serve(h, get())
		}
		if n := len(rec.All()); n != 10 {
			t.Errorf("got %d events, want 10", n)
		}
	})
}

func TestInFlightKeysAreApart(t *testing.T) {
	f := newInFlight(t, ratelimit.InFlightConfig{Max: 2, Key: byPath})
	var releases []func()
	for i := range 1000 {
		key := fmt.Sprintf("/%d", i)
		releases = append(releases, acquire(t, f, key), acquire(t, f, key))
		if _, err := f.Acquire(t.Context(), key); !errors.Is(err, ratelimit.ErrBusy) {
			t.Fatalf("%s: got %v, want ErrBusy", key, err)
		}
	}
	if got := f.Stats(); got.Running != 2000 || got.Keys != 1000 || got.Refused != 1000 {
		t.Errorf("got %+v", got)
	}
	if w := serve(f.Wrap(ok), httptest.NewRequest(http.MethodGet, "/7", nil)); w.Code != 429 {
		t.Errorf("a request shares no bound with Acquire: %d", w.Code)
	}
	for _, release := range releases {
		release()
	}
	idle(t, f)
}

func TestAcquireKeys(t *testing.T) {
	all := newInFlight(t, ratelimit.InFlightConfig{Max: 1})
	each := newInFlight(t, ratelimit.InFlightConfig{Max: 1, Key: byPath})
	if release, err := all.Acquire(t.Context(), "a"); err == nil || release != nil {
		t.Errorf("a key without keys: got %v", err)
	}
	if release, err := each.Acquire(t.Context(), ""); !errors.Is(err, ratelimit.ErrNoKey) || release != nil {
		t.Errorf("no key: got %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if release, err := all.Acquire(ended, ""); !errors.Is(err, context.Canceled) || release != nil {
		t.Errorf("an ended context: got %v", err)
	}
	idle(t, all)
	idle(t, each)
}

func TestReleaseCountsOnce(t *testing.T) {
	f := newInFlight(t, ratelimit.InFlightConfig{Max: 2})
	first, second := acquire(t, f, ""), acquire(t, f, "")
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(first)
	}
	wg.Wait()
	if got := f.Stats().Running; got != 1 {
		t.Errorf("%d running, want 1", got)
	}
	third := acquire(t, f, "")
	first()
	if _, err := f.Acquire(t.Context(), ""); !errors.Is(err, ratelimit.ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
	second()
	third()
	idle(t, f)
}

// Whatever way a handler ends, its place is free after it, and not before.
func TestPlaceIsGivenBack(t *testing.T) {
	var f *ratelimit.InFlight
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		want    int // 0 is no answer
	}{
		{"returns", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, 204},
		{"panics", func(http.ResponseWriter, *http.Request) { panic("x") }, 500},
		{"aborts", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 0},
		{"exits its goroutine", func(http.ResponseWriter, *http.Request) { runtime.Goexit() }, 0},
		{"streams", func(w http.ResponseWriter, _ *http.Request) {
			for range 3 {
				fmt.Fprintln(w, "x")
				w.(http.Flusher).Flush()
			}
		}, 200},
		{"hijacks", func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
				err = conn.Close()
			}
			if err != nil {
				panic(err)
			}
		}, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, key := range []ratelimit.KeyFunc{nil, ratelimit.ByClientAddr} {
				f = newInFlight(t, ratelimit.InFlightConfig{Max: 1, Key: key})
				inside, done := 0, make(chan struct{})
				bounded := f.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					inside = f.Stats().Running
					c.handler(w, r)
				}))
				server := httptest.NewServer(httperr.Recover()(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					defer close(done)
					bounded.ServeHTTP(w, r)
				})))
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, nil)
				if err != nil {
					t.Fatal(err)
				}
				// Goexit leaves its connection open and unanswered.
				ctx, cancel := context.WithCancel(t.Context())
				if c.name == "exits its goroutine" {
					go func() { <-done; cancel() }()
				}
				resp, err := server.Client().Do(r.WithContext(ctx))
				<-done
				if (err != nil) != (c.want == 0) || err == nil && resp.StatusCode != c.want {
					t.Errorf("got %v, %v, want %d", resp, err, c.want)
				}
				if err == nil {
					resp.Body.Close()
				}
				if inside != 1 {
					t.Errorf("%d running inside of the handler, want 1", inside)
				}
				idle(t, f)
				cancel()
				server.CloseClientConnections()
				if c.name != "exits its goroutine" { // the server would wait for it
					server.Close()
				}
			}
		})
	}
}

// What panics or fails in a callback is answered by a 500 and holds no place.
func TestInFlightCallbacksThatFail(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  ratelimit.InFlightConfig
		want int
	}{
		{"Key panics", ratelimit.InFlightConfig{Max: 1, Key: func(*http.Request) (string, error) { panic("x") }}, 500},
		{"Key fails", ratelimit.InFlightConfig{Max: 1, Key: func(*http.Request) (string, error) { return "a", errors.New("x") }}, 500},
		{"Key is empty", ratelimit.InFlightConfig{Max: 1, Key: func(*http.Request) (string, error) { return "", nil }}, 500},
		{"Key is a problem", ratelimit.InFlightConfig{Max: 1, Key: func(*http.Request) (string, error) { return "", httperr.New(418, "teapot", "") }}, 418},
		{"Skip panics", ratelimit.InFlightConfig{Max: 1, Skip: func(*http.Request) bool { panic("x") }}, 500},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newInFlight(t, c.cfg)
			h := httperr.Recover()(f.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the handler was called") })))
			for range 3 {
				if w := serve(h, get()); w.Code != c.want {
					t.Errorf("got %d, want %d", w.Code, c.want)
				}
			}
			idle(t, f)
		})
	}
}

func TestInFlightSkip(t *testing.T) {
	f := newInFlight(t, ratelimit.InFlightConfig{Max: 1, Skip: func(r *http.Request) bool { return r.Pattern == "GET /healthz" }})
	defer acquire(t, f, "")()
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", f.Wrap(ok))
	mux.Handle("/", f.Wrap(ok))
	if w := serve(mux, httptest.NewRequest(http.MethodGet, "/healthz", nil)); w.Code != 204 {
		t.Errorf("the exempt one: got %d, want 204", w.Code)
	}
	if w := serve(mux, get()); w.Code != 503 {
		t.Errorf("another one: got %d, want 503", w.Code)
	}
	if s := f.Stats(); s.Running != 1 || s.Refused != 1 {
		t.Errorf("got %+v, want 1 running and 1 refused", s)
	}
}

// line makes n callers wait, in order. They send their number when they have a
// place, and give it back when told to.
func line(ctx context.Context, t *testing.T, f *ratelimit.InFlight, n int) (got chan int, leave chan struct{}) {
	got, leave = make(chan int, n), make(chan struct{})
	for i := range n {
		go func() {
			release, err := f.Acquire(ctx, "")
			if err != nil {
				t.Errorf("%d: %v", i, err)
				return
			}
			got <- i
			<-leave
			release()
		}()
		synctest.Wait()
	}
	return got, leave
}

func TestQueueIsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newInFlight(t, ratelimit.InFlightConfig{Max: 1, Queue: 20})
		release := acquire(t, f, "")
		got, leave := line(t.Context(), t, f, 20)
		if s := f.Stats(); s.Running != 1 || s.Waiting != 20 {
			t.Errorf("got %+v, want 1 running and 20 waiting", s)
		}
		start := time.Now()
		if _, err := f.Acquire(t.Context(), ""); !errors.Is(err, ratelimit.ErrBusy) || time.Since(start) != 0 {
			t.Fatalf("above the queue: got %v after %s, want ErrBusy at once", err, time.Since(start))
		}
		release()
		for i := range 20 {
			if next := <-got; next != i {
				t.Fatalf("%d came before %d", next, i)
			}
			synctest.Wait()
			if s := f.Stats(); s.Running != 1 || s.Waiting != 19-i {
				t.Errorf("got %+v, want 1 running and %d waiting", s, 19-i)
			}
			leave <- struct{}{}
		}
		synctest.Wait()
		idle(t, f)
	})
}

func TestMaxWait(t *testing.T) {
	for _, c := range []struct {
		name    string
		maxWait time.Duration
		want    time.Duration
	}{
		{"default", 0, time.Second},
		{"given", 250 * time.Millisecond, 250 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newInFlight(t, ratelimit.InFlightConfig{Max: 1, Queue: 2, MaxWait: c.maxWait})
				release := acquire(t, f, "")
				start := time.Now()
				_, err := f.Acquire(t.Context(), "")
				if got := time.Since(start); got != c.want || !errors.Is(err, ratelimit.ErrBusy) {
					t.Errorf("got %v after %s, want ErrBusy after %s", err, got, c.want)
				}
				if s := f.Stats(); s.Waiting != 0 || s.Refused != 1 || s.Shed != 0 {
					t.Errorf("got %+v, want 1 refused", s)
				}
				release()
				idle(t, f)
			})
		})
	}
}

// Who leaves the queue is passed over, and the place goes to the next.
func TestWaiterLeavesWithItsContext(t *testing.T) {
	for _, c := range []struct {
		name  string
		leave []int
		next  int
	}{
		{"first", []int{0}, 1},
		{"middle", []int{1}, 0},
		{"last", []int{2}, 0},
		{"first two", []int{0, 1}, 2},
		{"first two, backwards", []int{1, 0}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newInFlight(t, ratelimit.InFlightConfig{Max: 1, Queue: 3})
				release := acquire(t, f, "")
				got := make(chan int, 3)
				var cancels []context.CancelFunc
				for i := range 3 {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					cancels = append(cancels, cancel)
					go func() {
						if release, err := f.Acquire(ctx, ""); err == nil {
							got <- i
							release()
						} else if !errors.Is(err, context.Canceled) || errors.Is(err, ratelimit.ErrBusy) {
							t.Errorf("%d: got %v", i, err)
						}
					}()
					synctest.Wait()
				}
				for _, i := range c.leave {
					cancels[i]()
					synctest.Wait()
				}
				if s := f.Stats(); s.Waiting != 3-len(c.leave) || s.Refused != 0 {
					t.Errorf("got %+v", s)
				}
				release()
				if next := <-got; next != c.next {
					t.Errorf("%d was next, want %d", next, c.next)
				}
				synctest.Wait()
				if n := 1 + len(got); n != 3-len(c.leave) {
					t.Errorf("%d were served, want %d", n, 3-len(c.leave))
				}
				idle(t, f)
			})
		})
	}
}

// A place that is given to who leaves at that moment is not lost.
func TestPlaceIsNotLostOnWhoLeaves(t *testing.T) {
	f := newInFlight(t, ratelimit.InFlightConfig{Max: 1, Queue: 2, MaxWait: time.Minute})
	for range 2000 {
		release := acquire(t, f, "")
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if release, err := f.Acquire(ctx, ""); err == nil {
				release()
			} else if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		for f.Stats().Waiting == 0 {
			runtime.Gosched()
		}
		wg.Go(cancel)
		wg.Go(release)
		wg.Wait()
		if idle(t, f); t.Failed() {
			return
		}
	}
}

// A request that waits when its context ends is answered, for a deadline that a
// door further out has set.
func TestRequestLeavesWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newInFlight(t, ratelimit.InFlightConfig{Max: 1, Queue: 1, Key: byPath, MaxWait: time.Minute})
		release := acquire(t, f, "/")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if w := serve(f.Wrap(ok), get().WithContext(ctx)); w.Code != 503 || time.Since(start) != time.Second {
			t.Errorf("got %d after %s, want 503 after 1s", w.Code, time.Since(start))
		}
		release()
		idle(t, f)
	})
}

func TestInFlightHammered(t *testing.T) {
	before := runtime.NumGoroutine()
	const workers, rounds, most = 10_000, 3, 7
	for _, c := range []struct {
		name string
		cfg  ratelimit.InFlightConfig
		keys int
	}{
		{"all together", ratelimit.InFlightConfig{Max: most}, 1},
		{"with a queue", ratelimit.InFlightConfig{Max: most, Queue: 500}, 1},
		{"with a queue of controlled delay", ratelimit.InFlightConfig{Max: most, Queue: 500, Target: time.Microsecond, Interval: time.Microsecond}, 1},
		{"led by latency", ratelimit.InFlightConfig{Max: most, Min: 2, Queue: 500, Latency: 10 * time.Microsecond}, 1},
		{"per key", ratelimit.InFlightConfig{Max: most, Queue: 20, Key: byPath}, 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newInFlight(t, c.cfg)
			running := make([]atomic.Int32, c.keys)
			var served, refused, left atomic.Uint64
			var wg sync.WaitGroup
			for i := range workers {
				wg.Go(func() {
					n := i % c.keys
					key := ""
					if c.cfg.Key != nil {
						key = fmt.Sprintf("/%d", n)
					}
					for range rounds {
						ctx, cancel := context.WithCancel(t.Context())
						if rand.N(4) == 0 {
							time.AfterFunc(time.Duration(rand.N(1000))*time.Microsecond, cancel)
						}
						release, err := f.Acquire(ctx, key)
						switch {
						case err == nil:
							if now := running[n].Add(1); now > most {
								t.Errorf("%d at once, want at most %d", now, most)
							}
							runtime.Gosched()
							running[n].Add(-1)
							release()
							release()
							served.Add(1)
						case errors.Is(err, ratelimit.ErrBusy):
							refused.Add(1)
						default:
							left.Add(1)
						}
						cancel()
					}
				})
			}
			wg.Wait()
			idle(t, f)
			if got := f.Stats().Refused; got != refused.Load() {
				t.Errorf("Refused is %d, want %d", got, refused.Load())
			}
			if sum := served.Load() + refused.Load() + left.Load(); sum != workers*rounds || served.Load() == 0 {
				t.Errorf("%d served, %d refused, %d left", served.Load(), refused.Load(), left.Load())
			}
			t.Logf("%d served, %d refused, %d left", served.Load(), refused.Load(), left.Load())
		})
	}
	for range 10_000 { // those of time.AfterFunc end, but when is the scheduler's to say
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(time.Millisecond)
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines before, %d after", before, after)
	}
}
