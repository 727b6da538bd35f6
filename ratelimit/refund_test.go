package ratelimit_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/ratelimit"
)

type lossyBucket struct {
	ratelimit.Bucket
	lose *bool
}

func (b lossyBucket) Take(ctx context.Context, key string, n int) (ratelimit.Result, error) {
	res, err := b.Bucket.Take(ctx, key, n)
	if *b.lose {
		*b.lose = false
		return ratelimit.Result{}, errors.New("i/o timeout: the reply is lost")
	}
	return res, err
}

type lossyStore struct {
	ratelimit.Store
	lose bool
}

func (s *lossyStore) Open(name string, limits []ratelimit.Limit) (ratelimit.Bucket, error) {
	b, err := s.Store.Open(name, limits)
	return lossyBucket{b, &s.lose}, err
}

type slowStore struct {
	ratelimit.Store
	d time.Duration
}

type slowBucket struct {
	ratelimit.Bucket
	d time.Duration
}

func (s *slowStore) Open(name string, limits []ratelimit.Limit) (ratelimit.Bucket, error) {
	b, err := s.Store.Open(name, limits)
	return slowBucket{b, s.d}, err
}

func (b slowBucket) Take(ctx context.Context, key string, n int) (ratelimit.Result, error) {
	res, err := b.Bucket.Take(ctx, key, n)
	time.Sleep(b.d)
	return res, err
}

// What was said to be used, and was not there, is not given back.
func TestSettleUpThenDown(t *testing.T) {
	l := newLimiter(t, ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerDay(100)}})
	r, _, _ := l.Reserve(t.Context(), "a", 30)
	if res, err := l.Take(t.Context(), "a", 60); err != nil || !res.Allowed {
		t.Fatal(res, err)
	}
	if _, err := r.Settle(t.Context(), 1000); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Settle(t.Context(), 30); err != nil {
		t.Fatal(err)
	}
	if got := left(t, l, "a"); got != 10 {
		t.Errorf("%d are left, want 10: 60 and 30 were used", got)
	}
}

// What a key has regained while a request was served is not given back once more: else long
// requests would be worth a burst each.
func TestSettleAfterRegained(t *testing.T) {
	for _, limit := range []ratelimit.Limit{ratelimit.PerMinute(100), ratelimit.PerMinute(100).Sliding(), ratelimit.PerCalendarDay(100, nil)} {
		t.Run(limit.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLimiter(t, ratelimit.Config{Limits: []ratelimit.Limit{limit}})
				var rs []*ratelimit.Reservation
				for range 5 { // five long requests, that each reserve all there is
					r, _, err := l.Reserve(t.Context(), "a", 100)
					if err != nil || r == nil {
						t.Fatal(r, err)
					}
					rs = append(rs, r)
					time.Sleep(2 * limit.Per)
				}
				// within one moment:
				spent := 0
				for i := 0; ; i++ {
					res, err := l.Take(t.Context(), "a", 100)
					if err != nil {
						t.Fatal(err)
					}
					if res.Allowed {
						spent += 100
					}
					if i == len(rs) {
						break
					}
					if _, err := rs[i].Settle(t.Context(), 0); err != nil {
						t.Fatal(err)
					}
				}
				if spent > 100 {
					t.Errorf("%d were spent at one moment, with %s", spent, limit)
				}
			})
		})
	}
}

// What was counted elsewhere, or nowhere, while the store failed is not given back to it.
func TestSettleAcrossAnOutage(t *testing.T) {
	for _, policy := range []ratelimit.Policy{ratelimit.Allow, ratelimit.Local} {
		t.Run(policy.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newFlaky(t)
				l := newLimiter(t, ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerDay(100)}, Store: store, OnStoreError: policy})
				if res, err := l.Take(t.Context(), "a", 100); err != nil || !res.Allowed {
					t.Fatal(res, err)
				}
				store.fail.Store(true)
				r, _, err := l.Reserve(t.Context(), "a", 100)
				if err != nil || r == nil {
					t.Fatal(r, err)
				}
				store.fail.Store(false)
				time.Sleep(1100 * time.Millisecond)
				if _, err := r.Settle(t.Context(), 0); err != nil {
					t.Fatal(err)
				}
				if res, err := l.Take(t.Context(), "a", 100); err != nil || res.Allowed {
					t.Errorf("100 of the store's 100 were used, and 100 more are allowed: %+v, %v", res, err)
				}
			})
		})
	}
}

// A store that has given back and could not say so is not asked again.
func TestSettleWhenTheReplyIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &lossyStore{Store: newMemory(t, ratelimit.MemoryConfig{})}
		l := newLimiter(t, ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerDay(1000)}, Store: store, OnStoreError: ratelimit.Deny})
		r, _, _ := l.Reserve(t.Context(), "a", 300)
		if res, err := l.Take(t.Context(), "a", 600); err != nil || !res.Allowed {
			t.Fatal(res, err)
		}
		store.lose = true
		if _, err := r.Settle(t.Context(), 0); err == nil {
			t.Fatal("the reply is lost, and there is no error")
		}
		for range 3 {
			time.Sleep(1100 * time.Millisecond)
			if _, err := r.Settle(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
		}
		if got := left(t, l, "a"); got < 399 || got > 400 { // the store can't tell how much counts still
			t.Errorf("%d are left, want 400: 600 were used", got)
		}
	})
}

// What was counted in the overflow slot is not given back to a slot that the key has now.
func TestSettleOfTheOverflow(t *testing.T) {
	m := newMemory(t, ratelimit.MemoryConfig{MaxKeys: 8})
	l := newLimiter(t, ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerDay(100)}, Store: m})
	var free *ratelimit.Reservation
	for i := range 8 {
		r, _, _ := l.Reserve(t.Context(), string(rune('a'+i)), 1)
		if i == 0 {
			free = r
		}
	}
	r, _, _ := l.Reserve(t.Context(), "mallory", 100) // in the overflow
	_, _ = free.Settle(t.Context(), 0)
	spent := 0
	if res, _ := l.Take(t.Context(), "mallory", 100); res.Allowed { // in a slot of his own
		spent += 100
	}
	_, _ = r.Settle(t.Context(), 0)
	if res, _ := l.Take(t.Context(), "mallory", 100); res.Allowed {
		spent += 100
	}
	if spent > 100 {
		t.Errorf("spent %d of 100", spent)
	}
}

// A request in process that is exempt has nothing to settle, least of all what it was made
// from.
func TestExemptSubRequestSettlesNothing(t *testing.T) {
	l := newLimiter(t, ratelimit.Config{
		Limits: []ratelimit.Limit{ratelimit.PerDay(100)}, SettleLater: true,
		Cost: func(*http.Request) int { return 50 }, Skip: func(r *http.Request) bool { return r.URL.Path == "/free" },
	})
	inner := l.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/free" {
			if _, err := l.Settle(r.Context(), 0); !errors.Is(err, ratelimit.ErrNoReservation) {
				t.Errorf("a request that was exempt: got %v, want ErrNoReservation", err)
			}
			return
		}
		sub, _ := http.NewRequestWithContext(r.Context(), "GET", "/free", nil)
		sub.RemoteAddr = r.RemoteAddr
		serve(l.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := l.Settle(r.Context(), 0); !errors.Is(err, ratelimit.ErrNoReservation) {
				t.Errorf("a sub-request that was exempt: got %v, want ErrNoReservation", err)
			}
		})), sub)
	}))
	serve(inner, get())
	if got := left(t, l, keyOf(t, ratelimit.ByClientAddr, get())); got != 50 {
		t.Errorf("%d left, want 50", got)
	}
}

// What is given back because another limiter refused is less what was regained meanwhile.
func TestTogetherGivesBackNoMoreThanIsOwed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newLimiter(t, ratelimit.Config{Name: "a", Limits: []ratelimit.Limit{ratelimit.PerSecond(1000).WithBurst(50)}})
		b := newLimiter(t, ratelimit.Config{Name: "b", Key: ratelimit.ByHeader("X-Tenant"), Limits: []ratelimit.Limit{ratelimit.PerDay(1)}, Store: &slowStore{newMemory(t, ratelimit.MemoryConfig{}), 60 * time.Millisecond}})
		g := together(t, a, b)
		if _, err := g.Check(tenant("192.0.2.1", "x")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // a owes nothing; b's tenant x is used up
		for range 50 {
			go func() { _, _ = g.Check(tenant("192.0.2.1", "x")) }() // all will be refused by b
		}
		time.Sleep(55 * time.Millisecond) // a has regained its 50
		key := keyOf(t, ratelimit.ByClientAddr, from("192.0.2.1:1"))
		spent := 0
		for range 50 {
			if res, _ := a.Take(t.Context(), key, 1); res.Allowed {
				spent++
			}
		}
		time.Sleep(6 * time.Millisecond) // b has refused, so a gets back
		for range 100 {
			if res, _ := a.Take(t.Context(), key, 1); res.Allowed {
				spent++
			}
		}
		if spent > 50+6+1 {
			t.Errorf("%d were spent of a within 6 ms; its limit is 50 + 6", spent)
		}
	})
}

// A group gives back where it has taken.
func TestTogetherAcrossAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sa := newFlaky(t)
		a := newLimiter(t, ratelimit.Config{Name: "a", Limits: []ratelimit.Limit{ratelimit.PerDay(10)}, Store: sa, OnStoreError: ratelimit.Allow})
		b := newLimiter(t, ratelimit.Config{Name: "b", Limits: []ratelimit.Limit{ratelimit.PerDay(1)}, Key: ratelimit.ByHeader("X-Tenant"), Store: &slowStore{newMemory(t, ratelimit.MemoryConfig{}), 60 * time.Millisecond}})
		g := together(t, a, b)
		key := keyOf(t, ratelimit.ByClientAddr, from("192.0.2.1:1"))
		if _, err := g.Check(tenant("192.0.2.1", "x")); err != nil {
			t.Fatal(err)
		}
		if res, err := a.Take(t.Context(), key, 9); err != nil || !res.Allowed {
			t.Fatal(res, err) // all of a's 10 are used
		}
		sa.fail.Store(true)
		_, _ = a.Take(t.Context(), key, 1)
		time.Sleep(950 * time.Millisecond)
		for range 10 {
			go func() { _, _ = g.Check(tenant("192.0.2.1", "x")) }() // a allows without counting; b refuses 60 ms later
		}
		time.Sleep(20 * time.Millisecond)
		sa.fail.Store(false)
		time.Sleep(time.Second)
		_, _ = a.Take(t.Context(), "other", 1)
		time.Sleep(100 * time.Millisecond)
		more := 0
		for range 20 {
			if res, _ := a.Take(t.Context(), key, 1); res.Allowed && res.Limit.Burst > 0 {
				more++
			}
		}
		if more > 0 {
			t.Errorf("%d more than the 10 of the day were allowed by the store", more)
		}
	})
}
