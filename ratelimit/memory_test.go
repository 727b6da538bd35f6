package ratelimit_test

import (
	"fmt"
	"math"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/ratelimit"
	"github.com/sallyport/sallyport/ratelimit/storetest"
)

func newMemory(t testing.TB, cfg ratelimit.MemoryConfig) *ratelimit.Memory {
	t.Helper()
	m, err := ratelimit.NewMemory(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// bucket opens a bucket of a new Memory.
func bucket(t testing.TB, cfg ratelimit.MemoryConfig, limits ...ratelimit.Limit) ratelimit.Bucket {
	t.Helper()
	b, err := newMemory(t, cfg).Open("b", limits)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func take(t testing.TB, b ratelimit.Bucket, key string, n int) ratelimit.Result {
	t.Helper()
	res, err := b.Take(t.Context(), key, n)
	if err != nil {
		t.Fatalf("Take(%.40q, %d) failed: %v", key, n, err)
	}
	return res
}

func TestMemory(t *testing.T) {
	for _, c := range []struct {
		name    string
		maxKeys int
	}{{"default", 0}, {"one shard", 1000}} {
		newStore := func(t *testing.T) ratelimit.Store {
			return newMemory(t, ratelimit.MemoryConfig{MaxKeys: c.maxKeys})
		}
		t.Run(c.name, func(t *testing.T) {
			storetest.Run(t, storetest.Subject{New: newStore, Advance: time.Sleep, Frozen: true, In: synctest.Test})
		})
	}
}

func TestNewMemory(t *testing.T) {
	for _, c := range []struct {
		maxKeys int
		wantErr bool
	}{
		{-1, true},
		{math.MinInt, true},
		{math.MaxInt, true},
		{1 << 30, false},
		{0, false},
		{1, false},
	} {
		m, err := ratelimit.NewMemory(ratelimit.MemoryConfig{MaxKeys: c.maxKeys})
		if (err != nil) != c.wantErr || (m == nil) != c.wantErr {
			t.Errorf("MaxKeys %d: got %v, %v, want an error: %t", c.maxKeys, m, err, c.wantErr)
		}
		if err != nil && !strings.Contains(err.Error(), "MaxKeys") {
			t.Errorf("MaxKeys %d: the error %q doesn't name the field", c.maxKeys, err)
		}
	}
	if _, err := new(ratelimit.Memory).Open("b", []ratelimit.Limit{ratelimit.PerSecond(1)}); err == nil {
		t.Error("a Memory that NewMemory didn't make opened a bucket")
	}
}

// What a table costs doesn't depend on what it may hold.
func TestMemoryBeginsSmall(t *testing.T) {
	before := heap()
	b := bucket(t, ratelimit.MemoryConfig{MaxKeys: 1 << 30}, ratelimit.PerHour(1))
	take(t, b, "a", 1)
	if grown := heap() - before; grown > 256<<10 {
		t.Errorf("an empty table takes %d bytes, want at most 256 KiB", grown)
	}
	runtime.KeepAlive(b)
}

// heap returns the bytes in use after a collection.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// An attacker who sprays keys neither fills the memory, nor frees a key that is
// limited, nor gets more than the keys that fit would.
func TestKeySpraying(t *testing.T) {
	const maxKeys, sprayed, shards = 4096, 200_000, 4
	synctest.Test(t, func(t *testing.T) {
		b := bucket(t, ratelimit.MemoryConfig{MaxKeys: maxKeys}, ratelimit.PerHour(2))
		for i := range 100 {
			take(t, b, "limited "+strconv.Itoa(i), 2)
		}
		before := heap()
		admitted := 0
		for i := range sprayed {
			if take(t, b, "sprayed "+strconv.Itoa(i), 2).Allowed {
				admitted++
			}
			if i%1000 == 0 {
				for j := range 100 {
					if res := take(t, b, "limited "+strconv.Itoa(j), 1); res.Allowed {
						t.Fatalf("after %d sprayed keys a limited key is free: %+v", i, res)
					}
				}
			}
		}
		if admitted > maxKeys-100+shards {
			t.Errorf("%d of %d sprayed keys were allowed, want at most %d", admitted, sprayed, maxKeys-100+shards)
		}
		// Two groups of eight for each key use nearly all of the table.
		if admitted < maxKeys*9/10-100 {
			t.Errorf("%d sprayed keys were allowed, so only part of the %d slots is in use", admitted, maxKeys)
		}
		// 16 bytes for each slot.
		if grown := heap() - before; grown > 16*maxKeys+16<<10 {
			t.Errorf("the heap grew by %d bytes, want at most 16 for each of %d slots", grown, maxKeys)
		}

		// Once what was sprayed is forgotten, there is room again.
		time.Sleep(time.Hour)
		for i := range maxKeys / 2 {
			if res := take(t, b, "new "+strconv.Itoa(i), 2); !res.Allowed {
				t.Fatalf("new key %d: got %+v, want allowed", i, res)
			}
		}
		runtime.KeepAlive(b)
	})
}

// A slot is in use while its key owes anything to any of its limits, whatever the
// first limit says.
func TestKeySprayingOfSlowSecondLimit(t *testing.T) {
	for _, limits := range [][]ratelimit.Limit{
		{ratelimit.PerSecond(10), ratelimit.PerDay(2)},
		{ratelimit.PerDay(2), ratelimit.PerSecond(10)},
		{{Events: 7, Per: time.Second}, {Events: 2, Per: 86_399 * time.Second}},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := bucket(t, ratelimit.MemoryConfig{MaxKeys: 256}, limits...)
			for i := range 100 {
				take(t, b, "limited "+strconv.Itoa(i), 2)
			}
			shared := 0
			for i := range 5000 {
				time.Sleep(time.Second)
				if res := take(t, b, "sprayed "+strconv.Itoa(i), 2); !res.Allowed && i < 40 {
					shared++
				}
			}
			if shared > 2 {
				t.Errorf("with 140 of 256 slots in use, %d keys share one", shared)
			}
			for i := range 100 {
				if res := take(t, b, "limited "+strconv.Itoa(i), 1); res.Allowed {
					t.Fatalf("key %d is free: %+v", i, res)
				}
			}
		})
	}
}

// Most of a table is in use before more than a few keys have to share.
func TestTableFillsUp(t *testing.T) {
	const maxKeys = 1 << 14
	synctest.Test(t, func(t *testing.T) {
		b := bucket(t, ratelimit.MemoryConfig{MaxKeys: maxKeys}, ratelimit.PerDay(1))
		shared := 0
		for i := range maxKeys * 85 / 100 {
			if !take(t, b, strconv.Itoa(i), 1).Allowed {
				shared++
			}
		}
		if shared > maxKeys/100 { // 0.2 % are usual
			t.Errorf("in a table filled to 85 %%, %d keys have no slot of their own", shared)
		}
	})
}

// The keys that found no slot share one limit, which regains at its rate.
func TestOverflowIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bucket(t, ratelimit.MemoryConfig{MaxKeys: 8}, ratelimit.PerDay(1), ratelimit.PerDay(2).WithBurst(3))
		for i := range 8 {
			if !take(t, b, "first "+strconv.Itoa(i), 1).Allowed {
				t.Fatalf("key %d of 8 was refused", i+1)
			}
		}
		if !take(t, b, "ninth", 1).Allowed {
			t.Error("the first key in overflow was refused, want it to have the limit that all share")
		}
		for i := range 1000 {
			if res := take(t, b, "other "+strconv.Itoa(i), 1); res.Allowed {
				t.Fatalf("key %d in overflow: got %+v, want refused", i, res)
			}
		}
		// Nobody can give back what others spent.
		take(t, b, "liar", -1)
		if res := take(t, b, "liar", 1); res.Allowed {
			t.Errorf("got %+v, want refused", res)
		}
	})
}

// A fast limit forgets fast, so no number of keys fills the table.
func TestExpiredSlotsAreReused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bucket(t, ratelimit.MemoryConfig{MaxKeys: 1024}, ratelimit.PerSecond(10))
		for i := range 100_000 {
			if !take(t, b, strconv.Itoa(i), 1).Allowed {
				t.Fatalf("key %d was refused", i)
			}
			time.Sleep(time.Millisecond) // so 100 keys owe something at a time
		}
	})
}

// A table that grows keeps what every key owes, whole nanoseconds or not.
func TestGrowingForgetsNothing(t *testing.T) {
	for _, limits := range [][]ratelimit.Limit{
		{ratelimit.PerDay(3).WithBurst(2)},
		{{Events: 7, Per: time.Hour, Burst: 2}, ratelimit.PerDay(5), {Events: 11, Per: time.Hour, Burst: 3}},
	} {
		t.Run(fmt.Sprint(len(limits)), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := bucket(t, ratelimit.MemoryConfig{MaxKeys: 1 << 16}, limits...)
				want := make([]ratelimit.Result, 40_000)
				for i := range want {
					take(t, b, strconv.Itoa(i), 2)
					want[i] = take(t, b, strconv.Itoa(i), 1)
					if want[i].Allowed {
						t.Fatalf("key %d: event 3 of 2 was allowed", i)
					}
				}
				for i := range want {
					if got := take(t, b, strconv.Itoa(i), 1); got != want[i] {
						t.Fatalf("key %d: got %+v, want %+v as before the table grew", i, got, want[i])
					}
				}
			})
		})
	}
}

// Limiters that share a Memory don't share its room.
func TestBucketsDoNotCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t, ratelimit.MemoryConfig{MaxKeys: 8})
		a, err := m.Open("a", []ratelimit.Limit{ratelimit.PerDay(1)})
		if err != nil {
			t.Fatal(err)
		}
		b, err := m.Open("b", []ratelimit.Limit{ratelimit.PerDay(1)})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 100 {
			take(t, a, strconv.Itoa(i), 1)
		}
		for i := range 8 {
			if !take(t, b, strconv.Itoa(i), 1).Allowed {
				t.Errorf("key %d of another bucket was refused", i)
			}
		}
	})
}

// N×M concurrent events, time standing still, over many keys: each key gets its
// burst exactly.
func TestConcurrentTakes(t *testing.T) {
	const workers, keys, burst = 16, 50, 7
	for _, limits := range [][]ratelimit.Limit{
		{ratelimit.PerHour(burst)},
		{ratelimit.PerDay(3).WithBurst(burst + 1), {Events: 7, Per: time.Hour, Burst: burst}},
	} {
		t.Run(fmt.Sprint(len(limits)), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := bucket(t, ratelimit.MemoryConfig{}, limits...)
				var allowed [keys]atomic.Int64
				var wg sync.WaitGroup
				for w := range workers {
					wg.Go(func() {
						for i := range keys * burst {
							key := (i + w) % keys
							if res, err := b.Take(t.Context(), strconv.Itoa(key), 1); err == nil && res.Allowed {
								allowed[key].Add(1)
							}
						}
					})
				}
				wg.Wait()
				for key := range allowed {
					if got := allowed[key].Load(); got != burst {
						t.Errorf("key %d: %d events allowed, want %d", key, got, burst)
					}
				}
			})
		})
	}
}

// CVE-2025-6015 and CVE-2025-55003: a limit that is checked first and counted
// afterwards lets a thousand concurrent guesses through.
func TestCVE_2025_6015_ConcurrentGuesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bucket(t, ratelimit.MemoryConfig{}, ratelimit.PerHour(5))
		var allowed atomic.Int64
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				if res, err := b.Take(t.Context(), "victim", 1); err == nil && res.Allowed {
					allowed.Add(1)
				}
			})
		}
		wg.Wait()
		if got := allowed.Load(); got != 5 {
			t.Errorf("%d of 1000 concurrent guesses were allowed, want 5", got)
		}
	})
}

// Concurrent callers read the clock before they hold the lock. Whoever comes late
// must not turn time back: x/time/rate allows a second burst then.
func TestConcurrentTakesWithTime(t *testing.T) {
	const events, per = 50, 100 * time.Millisecond
	b := bucket(t, ratelimit.MemoryConfig{}, ratelimit.Limit{Events: events, Per: per, Burst: 5})
	start := time.Now()
	var allowed atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20_000 {
				if res, err := b.Take(t.Context(), "a", 1); err == nil && res.Allowed {
					allowed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(start)
	if got, most := allowed.Load(), 5+int64(elapsed*events/per); got > most {
		t.Errorf("%d events allowed in %s, want at most %d", got, elapsed, most)
	}
}

// While tables grow, no decision about a key that moves is lost.
func TestConcurrentTakesWhileGrowing(t *testing.T) {
	const workers, keys, burst, others = 4, 64, 2000, 20_000
	synctest.Test(t, func(t *testing.T) {
		b := bucket(t, ratelimit.MemoryConfig{MaxKeys: 1 << 18}, ratelimit.PerDay(1).WithBurst(burst))
		var allowed [keys]atomic.Int64
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for i := range keys * burst {
					key := (i + w) % keys
					if res, err := b.Take(t.Context(), strconv.Itoa(key), 1); err == nil && res.Allowed {
						allowed[key].Add(1)
					}
				}
			})
			wg.Go(func() {
				for i := range others {
					_, _ = b.Take(t.Context(), fmt.Sprint("other ", w, " ", i), 1)
				}
			})
		}
		wg.Wait()
		for key := range allowed {
			if got := allowed[key].Load(); got != burst {
				t.Errorf("key %d: %d events were allowed, want %d", key, got, burst)
			}
		}
	})
}

// While slots go from key to key, nobody is counted in the slot of another.
func TestConcurrentTakesWhileSlotsChangeHands(t *testing.T) {
	const keys, burst, interval = 16, 3, 20 * time.Microsecond
	b := bucket(t, ratelimit.MemoryConfig{MaxKeys: 512}, ratelimit.Limit{Events: 1, Per: interval, Burst: burst})
	start := time.Now()
	var allowed [keys]atomic.Int64
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 200_000 {
				key := i / 8 % keys // others settle in the meantime
				if res, err := b.Take(t.Context(), strconv.Itoa(key), 1); err == nil && res.Allowed {
					allowed[key].Add(1)
				}
				if i%4 == 0 {
					_, _ = b.Take(t.Context(), fmt.Sprint("other ", w, " ", i), 1)
				}
			}
		})
	}
	wg.Wait()
	most := burst + int64(time.Since(start)/interval)
	for key := range allowed {
		if got := allowed[key].Load(); got > most {
			t.Errorf("key %d: %d events were allowed, want at most %d", key, got, most)
		}
	}
}

func TestTakeAllocatesNothing(t *testing.T) {
	for _, limits := range [][]ratelimit.Limit{
		{ratelimit.PerSecond(10)},
		{ratelimit.PerSecond(10), ratelimit.PerHour(1000), ratelimit.PerSecond(3)},
	} {
		b := bucket(t, ratelimit.MemoryConfig{}, limits...)
		take(t, b, "a", 1)
		if got := testing.AllocsPerRun(1000, func() { take(t, b, "a", 1) }); got != 0 {
			t.Errorf("%d limits: a decision makes %v allocations, want none", len(limits), got)
		}
	}
}
