package ratelimit_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/ratelimit"
)

// flaky is a store that can fail, hang or panic.
type flaky struct {
	ratelimit.Store
	openErr           error
	fail, hang, panic atomic.Bool
	asked             atomic.Int64
	opened            []string
	limits            []ratelimit.Limit // of the last
}

func (f *flaky) Open(name string, limits []ratelimit.Limit) (ratelimit.Bucket, error) {
	if f.openErr != nil {
		return nil, f.openErr
	}
	f.opened, f.limits = append(f.opened, name), limits
	b, err := f.Store.Open(name, limits)
	return &flakyBucket{f, b}, err
}

type flakyBucket struct {
	store *flaky
	ratelimit.Bucket
}

func (b *flakyBucket) Take(ctx context.Context, key string, n int) (ratelimit.Result, error) {
	b.store.asked.Add(1)
	if key == "slow" {
		time.Sleep(50 * time.Millisecond)
		return b.Bucket.Take(ctx, key, n)
	}
	switch {
	case b.store.panic.Load():
		panic("the store panics")
	case b.store.hang.Load():
		<-ctx.Done()
		return ratelimit.Result{}, ctx.Err()
	case b.store.fail.Load():
		return ratelimit.Result{Allowed: true}, errors.New("connection refused")
	}
	if err := ctx.Err(); err != nil {
		return ratelimit.Result{}, err
	}
	return b.Bucket.Take(ctx, key, n)
}

// Refund is a question like another.
func (b *flakyBucket) Refund(ctx context.Context, key string, n, of int, age time.Duration) (ratelimit.Result, error) {
	if b.store.fail.Load() {
		return ratelimit.Result{}, errors.New("connection refused")
	}
	return b.Bucket.(ratelimit.Refunder).Refund(ctx, key, n, of, age)
}

func newFlaky(t *testing.T) *flaky {
	return &flaky{Store: newMemory(t, ratelimit.MemoryConfig{})}
}

func TestOnStoreError(t *testing.T) {
	for _, c := range []struct {
		policy ratelimit.Policy
		want   []int // statuses of four requests while the store fails
		code   string
		fields string
	}{
		{ratelimit.Local, []int{204, 204, 429, 429}, "rate_limited", `"default";r=0;t=1800`},
		{ratelimit.Allow, []int{204, 204, 204, 204}, "", ""},
		{ratelimit.Deny, []int{503, 503, 503, 503}, "limiter_unavailable", ""},
	} {
		t.Run(c.policy.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, rec := newFlaky(t), new(recorder)
				l := newLimiter(t, ratelimit.Config{
					Limits: []ratelimit.Limit{ratelimit.PerHour(2)}, Store: store, OnStoreError: c.policy,
				})
				h := httperr.Recover(httperr.Config{Audit: rec, Logger: slog.New(slog.DiscardHandler)})(l.Wrap(ok))
				store.fail.Store(true)
				for i, want := range c.want {
					w := serve(h, get())
					if w.Code != want {
						t.Errorf("request %d: got %d, want %d", i, w.Code, want)
					}
					if got := w.Header().Get("RateLimit-Policy"); got != `"default";q=2;w=3600` {
						t.Errorf("request %d: got RateLimit-Policy %q", i, got)
					}
					if i == 3 {
						if c.code != "" && !strings.Contains(w.Body.String(), c.code) {
							t.Errorf("got the body %s, want the code %s", w.Body, c.code)
						}
						if got := w.Header().Get("RateLimit"); got != c.fields {
							t.Errorf("got RateLimit %q, want %q", got, c.fields)
						}
						if want >= 400 && w.Header().Get("Retry-After") == "" {
							t.Error("the refusal has no Retry-After")
						}
					}
				}
				_, err := l.Take(t.Context(), "other", 1)
				if got := errors.Is(err, ratelimit.ErrUnavailable); got != (c.policy == ratelimit.Deny) {
					t.Errorf("Take returned %v", err)
				}

				// No policy allows what makes no sense.
				for _, bad := range []struct {
					key  string
					n    int
					want error
				}{{"", 1, ratelimit.ErrNoKey}, {"a", 0, ratelimit.ErrCost}, {"a", -1, ratelimit.ErrCost}, {"a", 3, ratelimit.ErrCostExceedsBurst}} {
					if res, err := l.Take(t.Context(), bad.key, bad.n); !errors.Is(err, bad.want) || res.Allowed {
						t.Errorf("Take(%q, %d): got %+v, %v, want %v", bad.key, bad.n, res, err, bad.want)
					}
				}

				// It works again: its own counts hold, which the outage didn't touch.
				store.fail.Store(false)
				time.Sleep(time.Second)
				for i, want := range []int{204, 204, 429} {
					if w := serve(h, get()); w.Code != want {
						t.Errorf("request %d after the outage: got %d, want %d", i, w.Code, want)
					}
				}
			})
		})
	}
}

// An outage and its end are one event each, however many requests there are, and
// a store that is down is asked once a second.
func TestOutageIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, rec := newFlaky(t), new(recorder)
		l := newLimiter(t, ratelimit.Config{
			Name: "api", Limits: []ratelimit.Limit{ratelimit.PerSecond(1000)}, Store: store, Audit: rec,
		})
		many := func() {
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() { _, _ = l.Take(t.Context(), "a", 1) })
			}
			wg.Wait()
		}
		many()
		store.fail.Store(true)
		many()
		store.asked.Store(0)
		for range 10 {
			time.Sleep(time.Second)
			many()
		}
		if got := store.asked.Load(); got != 10 {
			t.Errorf("in 10 s the store was asked %d times, want 10", got)
		}
		if got, want := rec.names(), []string{audit.SysMonitorDisabled}; !slices.Equal(got, want) {
			t.Errorf("during the outage: got the events %v, want %v", got, want)
		}
		store.fail.Store(false)
		time.Sleep(time.Second)
		many()
		if got, want := rec.names(), []string{audit.SysMonitorDisabled, audit.SysMonitorEnabled}; !slices.Equal(got, want) {
			t.Errorf("after the outage: got the events %v, want %v", got, want)
		}
		if e := rec.All()[0]; e.Level != slog.LevelError || e.Reason != "the store of rate limit api failed, so Local holds: connection refused" {
			t.Errorf("got the event %+v", e)
		}
		if e := rec.All()[1]; e.Level != slog.LevelInfo || e.Reason != "the store of rate limit api works again" {
			t.Errorf("got the event %+v", e)
		}
		store.fail.Store(true)
		many()
		if got := len(rec.names()); got != 3 {
			t.Errorf("at the second outage: got %d events, want 3", got)
		}
	})
}

// An answer to what was asked before the outage doesn't end it.
func TestLateAnswerEndsNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, rec := newFlaky(t), new(recorder)
		l := newLimiter(t, ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerHour(5)}, Store: store, Audit: rec})
		var wg sync.WaitGroup
		wg.Go(func() {
			if res, err := l.Take(t.Context(), "slow", 1); err != nil || !res.Allowed {
				t.Errorf("the slow request: got %+v, %v, want allowed", res, err)
			}
		})
		synctest.Wait()
		store.fail.Store(true)
		_, _ = l.Take(t.Context(), "a", 1)
		wg.Wait()
		store.asked.Store(0)
		_, _ = l.Take(t.Context(), "a", 1)
		if got := store.asked.Load(); got != 0 {
			t.Errorf("the store was asked %d times during the outage, want 0", got)
		}
		if got, want := rec.names(), []string{audit.SysMonitorDisabled}; !slices.Equal(got, want) {
			t.Errorf("got the events %v, want %v", got, want)
		}
	})
}

// A store that hangs holds up nobody for longer than the timeout, and during an
// outage one request a second.
func TestStoreTimeout(t *testing.T) {
	for _, c := range []struct{ timeout, want time.Duration }{
		{0, 100 * time.Millisecond},
		{30 * time.Millisecond, 30 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			store := newFlaky(t)
			store.hang.Store(true)
			l := newLimiter(t, ratelimit.Config{
				Limits: []ratelimit.Limit{ratelimit.PerHour(5)}, Store: store, StoreTimeout: c.timeout,
				Audit: new(recorder),
			})
			for i, want := range []time.Duration{c.want, 0, 0} {
				start := time.Now()
				if res, err := l.Take(t.Context(), "a", 1); err != nil || !res.Allowed {
					t.Errorf("request %d: got %+v, %v, want allowed by the local limit", i, res, err)
				}
				if got := time.Since(start); got != want {
					t.Errorf("timeout %s, request %d: took %s, want %s", c.timeout, i, got, want)
				}
			}
			time.Sleep(time.Second)
			var wg sync.WaitGroup
			var waited atomic.Int64
			for range 10 {
				wg.Go(func() {
					start := time.Now()
					_, _ = l.Take(t.Context(), "a", 1)
					waited.Add(int64(time.Since(start)))
				})
			}
			wg.Wait()
			if got := time.Duration(waited.Load()); got != c.want {
				t.Errorf("ten requests waited %s in all, want %s", got, c.want)
			}
		})
	}
}

// A client that goes away must not make the store look as if it failed: else its
// next requests would have a second quota, or none under Allow.
func TestCancelledRequestsAreCounted(t *testing.T) {
	for _, policy := range []ratelimit.Policy{ratelimit.Local, ratelimit.Allow, ratelimit.Deny} {
		synctest.Test(t, func(t *testing.T) {
			rec := new(recorder)
			l := newLimiter(t, ratelimit.Config{
				Limits: []ratelimit.Limit{ratelimit.PerHour(3)}, Store: newFlaky(t), OnStoreError: policy, Audit: rec,
			})
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			for i, want := range []bool{true, true, true, false, false} {
				if res, err := l.Take(ctx, "a", 1); err != nil || res.Allowed != want {
					t.Errorf("%s, request %d: got %+v, %v, want allowed %t", policy, i, res, err, want)
				}
			}
			if got := rec.names(); got != nil {
				t.Errorf("%s: got the events %v, want none", policy, got)
			}
		})
	}
}

// A store that panics goes to the door above, and is asked again later.
func TestStorePanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFlaky(t)
		l := newLimiter(t, ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerHour(9)}, Store: store, Audit: new(recorder)})
		h := httperr.Recover(httperr.Config{Logger: slog.New(slog.DiscardHandler)})(l.Wrap(ok))
		store.fail.Store(true)
		serve(h, get())
		store.panic.Store(true)
		time.Sleep(time.Second)
		for i, want := range []int{500, 204, 204} { // the one that asks, and others
			if w := serve(h, get()); w.Code != want {
				t.Errorf("request %d: got %d, want %d", i, w.Code, want)
			}
		}
		store.panic.Store(false)
		store.fail.Store(false)
		time.Sleep(time.Second)
		if w := serve(h, get()); w.Code != 204 || w.Header().Get("RateLimit") != `"default";r=8;t=3200` {
			t.Errorf("got %d %v, want the store's first decision", w.Code, w.Header())
		}
	})
}

// Answers of a store that breaks its promises do no harm to the fields.
func TestStoreThatLies(t *testing.T) {
	for _, c := range []struct {
		name   string
		res    ratelimit.Result
		status int
		want   string
	}{
		{"no limit", ratelimit.Result{Allowed: true}, 204, ""},
		{"another limit", ratelimit.Result{Allowed: true, Limit: ratelimit.PerHour(9), Remaining: 3}, 204, ""},
		{"negative remaining", ratelimit.Result{Allowed: true, Limit: ratelimit.PerHour(2).WithBurst(2), Remaining: -7}, 204, `"default";r=0;t=1`},
		{"too much remaining", ratelimit.Result{Allowed: true, Limit: ratelimit.PerHour(2).WithBurst(2), Remaining: 7}, 204, `"default";r=2;t=3600`},
		{"refused at once", ratelimit.Result{Limit: ratelimit.PerHour(2).WithBurst(2), RetryAfter: -1}, 429, `"default";r=0;t=1`},
		{"refused without limit", ratelimit.Result{}, 429, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLimiter(t, ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerHour(2)}, Store: liar(c.res)})
			w := serve(l.Wrap(ok), get())
			if got := w.Header().Get("RateLimit"); w.Code != c.status || got != c.want {
				t.Errorf("got %d with %q, want %d with %q", w.Code, got, c.status, c.want)
			}
			if w.Code == http.StatusTooManyRequests && w.Header().Get("Retry-After") != "1" {
				t.Errorf("got Retry-After %q, want 1", w.Header().Get("Retry-After"))
			}
		})
	}
}

type liar ratelimit.Result

func (l liar) Open(string, []ratelimit.Limit) (ratelimit.Bucket, error) { return l, nil }

func (l liar) Take(context.Context, string, int) (ratelimit.Result, error) {
	return ratelimit.Result(l), nil
}

func TestPolicyString(t *testing.T) {
	for p, want := range map[ratelimit.Policy]string{
		ratelimit.Local: "Local", ratelimit.Allow: "Allow", ratelimit.Deny: "Deny", 7: "unknown policy",
	} {
		if got := p.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// A store that panics from its first decision on is an outage like any other.
func TestStoreThatPanicsAtFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFlaky(t)
		store.panic.Store(true)
		l := newLimiter(t, ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerHour(2)}, Store: store, Audit: new(recorder)})
		h := httperr.Recover(httperr.Config{Logger: slog.New(slog.DiscardHandler)})(l.Wrap(ok))
		for i, want := range []int{500, 204, 204, 429} { // the policy is Local
			if w := serve(h, get()); w.Code != want {
				t.Errorf("request %d: got %d, want %d", i, w.Code, want)
			}
		}
	})
}

// sleepy is a store that takes its time, whatever its context says.
type sleepy struct{ calls atomic.Int32 }

func (s *sleepy) Open(string, []ratelimit.Limit) (ratelimit.Bucket, error) { return s, nil }

func (s *sleepy) Take(context.Context, string, int) (ratelimit.Result, error) {
	s.calls.Add(1)
	time.Sleep(300 * time.Millisecond)
	return ratelimit.Result{Allowed: true, Limit: ratelimit.PerHour(9)}, nil
}

func TestStoreThatIgnoresItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, rec := new(sleepy), new(recorder)
		l := newLimiter(t, ratelimit.Config{
			Limits: []ratelimit.Limit{ratelimit.PerHour(9)}, Store: store, OnStoreError: ratelimit.Deny, Audit: rec,
		})
		for range 3 {
			if _, err := l.Take(t.Context(), "a", 1); !errors.Is(err, ratelimit.ErrUnavailable) {
				t.Errorf("got %v, want ErrUnavailable", err)
			}
		}
		if got := store.calls.Load(); got != 1 {
			t.Errorf("the store was asked %d times, want once", got)
		}
		if got := len(rec.names()); got != 1 {
			t.Errorf("got %d events, want one", got)
		}
	})
}

// While the store fails each of several processes allows its share of the rate, and says
// so in the terms of the limit.
func TestInstances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFlaky(t)
		l := newLimiter(t, ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerMinute(60).WithBurst(5), ratelimit.PerCalendarDay(1000, nil)}, Store: store, Instances: 4})
		store.fail.Store(true)
		h := l.Wrap(ok)
		for i := range 5 {
			if w := serve(h, get()); w.Code != 204 {
				t.Fatalf("request %d of the burst: got %d", i+1, w.Code)
			}
		}
		w := serve(h, get())
		if w.Code != 429 || w.Header().Get("Retry-After") != "4" || w.Header().Get("RateLimit") != `"default";r=0;t=4` || w.Header().Get("RateLimit-Policy") != `"default";q=5;w=5, "default-2";q=1000` {
			t.Errorf("got %d, %v, want a refusal for 4 seconds in the terms of the limit", w.Code, w.Header())
		}
		allowed := 0
		for range 600 {
			time.Sleep(100 * time.Millisecond)
			if serve(h, get()).Code == 204 {
				allowed++
			}
		}
		if allowed != 15 {
			t.Errorf("%d were allowed in a minute, want a quarter of 60", allowed)
		}
		store.fail.Store(false)
		time.Sleep(time.Minute)
		serve(h, get())
		for range 4 {
			if w := serve(h, get()); w.Code != 204 {
				t.Errorf("when the store is back: got %d", w.Code)
			}
		}
	})
	for _, n := range []int{-1, 1 << 62} {
		if l, err := ratelimit.New(ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerDay(1)}, Store: newFlaky(t), Instances: n}); l != nil || err == nil || !strings.Contains(err.Error(), "Config.Instances") {
			t.Errorf("%d instances: got %v, %v, want an error", n, l, err)
		}
	}
}
