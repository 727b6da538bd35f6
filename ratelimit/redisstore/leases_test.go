package redisstore_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/internal/redistest"
	"github.com/sallyport/sallyport/ratelimit"
	"github.com/sallyport/sallyport/ratelimit/redisstore"
	"github.com/sallyport/sallyport/ratelimit/storetest"
)

func TestLeaseConformance(t *testing.T) {
	client := single(t, redistest.Start(t).Addr)
	storetest.Run(t, storetest.Subject{
		New: func(t *testing.T) ratelimit.Store {
			return newStore(t, redisstore.Config{Client: client, Prefix: prefix(), Lease: redisstore.Lease{Events: 4, For: time.Minute}})
		},
		Advance: time.Sleep,
	})
}

// A hot key is served from memory for the most part, and never admits more than there
// is; what is left in the end is known and bounded.
func TestLeaseSavesRoundTrips(t *testing.T) {
	const burst, events, instances = 10_000, 100, 3
	addr := redistest.Start(t).Addr
	limit := hourly(burst)
	var allowed, commands atomic.Int64
	var wg sync.WaitGroup
	for range instances {
		client, asked := counted(t, addr)
		b := bucket(t, redisstore.Config{Client: client, Lease: redisstore.Lease{Events: events, For: time.Minute}}, limit)
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() {
				for {
					res, err := b.Take(t.Context(), "hot", 1)
					if err != nil {
						t.Error(err)
						return
					}
					if !res.Allowed {
						return
					}
					if res.Remaining < 0 || res.Remaining > burst || res.Limit != limit {
						t.Errorf("got %+v", res)
					}
					allowed.Add(1)
				}
			})
		}
		wg.Go(func() {
			callers.Wait()
			commands.Add(asked.commands.Load())
		})
	}
	wg.Wait()
	// Nothing is left at an instance either, since each has asked until it was refused.
	if n := allowed.Load(); n > burst || n < burst-instances*(events-1) {
		t.Errorf("%d were allowed, want %d or up to %d less", n, burst, instances*(events-1))
	}
	t.Logf("%d round trips for %d decisions", commands.Load(), allowed.Load())
	if n := commands.Load(); n > burst/4 {
		t.Errorf("Redis was asked %d times, so leases save little", n)
	}
}

// In any span of time each instance may admit up to Events - 1 more than the limit
// allows, those that it had taken before, and no more.
func TestLeaseSlack(t *testing.T) {
	const events = 8
	addr := redistest.Start(t).Addr
	s := newStore(t, redisstore.Config{Client: single(t, addr), Lease: redisstore.Lease{Events: events, For: time.Minute}})
	redisstore.SetClock(s)
	clock := &fakeClock{t: t, client: single(t, addr)}
	clock.set(time.Now().UnixMicro())
	l := ratelimit.PerSecond(10).WithBurst(40)
	b := open(t, s, "b", l)
	// 1, 2, 4 and 8 are taken, of which 1 + 2 + 4 + 1 are used.
	for range 1 + 2 + 4 + 1 {
		if res := take(t, b, "x", 1); !res.Allowed {
			t.Fatal(res)
		}
	}
	clock.set(clock.now + (10 * time.Second).Microseconds()) // all is regained
	n := 0
	for n < 100 && take(t, b, "x", 1).Allowed {
		n++
	}
	if want := l.Burst + events - 1; n != want {
		t.Errorf("%d were allowed at once, want %d: the burst and what had been taken", n, want)
	}
}

// What is not used in time is lost, and a key that is not hot any more has no lease.
func TestLeaseEnds(t *testing.T) {
	client, asked := counted(t, redistest.Start(t).Addr)
	b := bucket(t, redisstore.Config{Client: client, MaxDenials: -1, Lease: redisstore.Lease{Events: 8, For: 20 * time.Millisecond}}, hourly(1000))
	for range 30 {
		take(t, b, "x", 1)
	}
	before := asked.commands.Load()
	for range 10 {
		time.Sleep(30 * time.Millisecond)
		take(t, b, "x", 1)
	}
	if n := asked.commands.Load() - before; n != 10 {
		t.Errorf("Redis was asked %d times about 10 slow requests, want 10", n)
	}
}

// What costs more than is left of a lease is asked for, and what is refused with a
// lease is asked for without, in one round trip.
func TestLeaseOfCosts(t *testing.T) {
	client, asked := counted(t, redistest.Start(t).Addr)
	b := bucket(t, redisstore.Config{Client: client, MaxDenials: -1, Lease: redisstore.Lease{Events: 8, For: time.Minute}}, hourly(10))
	for _, n := range []int{1, 2, 5} { // with leases of 1, 2, and 4, which 5 exceeds
		if res := take(t, b, "x", n); !res.Allowed {
			t.Fatalf("%d: got %+v, want allowed", n, res)
		}
	}
	before := asked.commands.Load()
	if res := take(t, b, "x", 1); !res.Allowed || res.Remaining != 1 { // 8 are more than there are
		t.Errorf("got %+v, want allowed with 1 left", res)
	}
	if n := asked.commands.Load() - before; n != 1 {
		t.Errorf("it took %d round trips, want 1", n)
	}
	take(t, b, "x", 1)
	if res := take(t, b, "x", 1); res.Allowed {
		t.Errorf("one more than there are: got %+v, want refused", res)
	}
}
