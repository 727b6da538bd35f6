package ratelimit

import (
	"sync"
	"testing"
	"time"
)

// Who sets the wall clock back gives nobody the quota of a day twice, and who sets it
// forward and back takes no more away than the day it was set to.
func TestCalendarAfterTheClockWasSet(t *testing.T) {
	r, err := compileRate("", PerCalendarDay(3, nil))
	if err != nil {
		t.Fatal(err)
	}
	l := memoryLimit{rate: r, calendar: new(calendarCache)}
	state := make([]int64, 2)
	at := func(day, hour int) moment {
		return moment{wall: time.Date(2026, time.November, day, hour, 0, 0, 0, time.UTC).UnixNano()}
	}
	for i, step := range []struct {
		day, hour int
		allowed   bool
		wait      time.Duration
	}{
		{26, 12, true, 0},
		{26, 13, true, 0},
		{26, 9, true, 0}, // back within the day
		{26, 9, false, 15 * time.Hour},
		{27, 0, true, 0},
		{26, 22, true, 0}, // back into the day before, whose quota is used up: it counts for the next
		{27, 1, true, 0},
		{26, 23, false, 25 * time.Hour},
		{27, 23, false, time.Hour},
		{28, 0, true, 0},
	} {
		now := at(step.day, step.hour)
		var res, spent Result
		if l.ask(&res, state, now, 1); res.Allowed {
			l.spend(&spent, state, now, 1)
		}
		if res.Allowed != step.allowed || res.RetryAfter != step.wait {
			t.Errorf("step %d: got %+v, want %v and %s", i+1, res, step.allowed, step.wait)
		}
		if l.settled(state, now) {
			t.Errorf("step %d: the state is settled though something counts", i+1)
		}
	}
	if !l.settled(state, at(29, 0)) {
		t.Error("the day after it is not settled")
	}
}

// A key that is limited by the window before keeps its slot, whoever comes.
func TestSlidingKeepsTheSlotOfTheWindowBefore(t *testing.T) {
	rates, err := compileLimits("", []Limit{PerMinute(10).Sliding()})
	if err != nil {
		t.Fatal(err)
	}
	b := newMemoryBucket(time.Now(), 8, rates)
	take := func(key string, now time.Duration, n int) (res Result) {
		h, s := b.place(key)
		s.advance(moment{now: int64(now)})
		b.takeLocked(&res, s, h, n)
		return res
	}
	take("limited", 59*time.Second, 10)
	for _, key := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"} {
		if res := take(key, 61*time.Second, 1); !res.Allowed {
			t.Errorf("%s is refused: it has the slot of another, who is limited still", key)
		}
	}
	if res := take("limited", 61*time.Second, 10); res.Allowed {
		t.Error("other keys got rid of a limit")
	}
}

// What was counted in the overflow slot of what stands in for a store is not given back.
func TestDepositInTheOverflowOfAStandIn(t *testing.T) {
	rates, err := compileLimits("", []Limit{PerDay(100)})
	if err != nil {
		t.Fatal(err)
	}
	f := newFallible(Config{StoreTimeout: time.Second}, "", nil, newMemoryBucket(time.Now(), 8, rates), nil, nil)
	f.probeAt.Store(1 << 62) // the store has failed
	tr := tier{bucket: f, quotas: newQuotas("", rates), minBurst: 100}
	var first deposit
	for i := range 9 {
		res, d, err := tr.deposit(t.Context(), string(rune('a'+i)), 1)
		if err != nil || !res.Allowed || d.bucket != Bucket(f.local) || d.shared != (i == 8) {
			t.Fatalf("key %d: got %+v, %+v, %v", i, res, d, err)
		}
		if i == 0 {
			first = d
		}
	}
	_, shared, err := tr.deposit(t.Context(), "i", 50)
	if err != nil || !shared.shared {
		t.Fatalf("got %+v, %v", shared, err)
	}
	if _, err := first.giveBack(t.Context(), &tr, "a", 1); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond) // which pays for the time that it was counted
	if res, own, err := tr.deposit(t.Context(), "i", 100); err != nil || !res.Allowed || own.shared {
		t.Fatalf("the key has no slot of its own: %+v, %+v, %v", res, own, err)
	}
	if _, err := shared.giveBack(t.Context(), &tr, "i", 50); err != nil {
		t.Fatal(err)
	}
	if res, _, err := tr.deposit(t.Context(), "i", 1); err != nil || res.Allowed {
		t.Errorf("got %+v, %v: the overflow was given back to the slot", res, err)
	}
}

// Groups lock in one order, however they are made: who waits for the first lock holds no
// later one.
func TestGroupsLockInOneOrder(t *testing.T) {
	const key = "k"
	limiter := func() *Limiter {
		l, err := New(Config{Limits: []Limit{PerDay(10)}})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	a, b := limiter(), limiter()
	_, first := a.memory.place(key)
	_, second := b.memory.place(key)
	first.mu.Lock()
	var wg sync.WaitGroup
	wg.Go(func() {
		pa, pb := part{a, decision{tier: &a.tier, key: key, n: 1}}, part{b, decision{tier: &b.tier, key: key, n: 1}}
		takeAtOnce([]*part{&pb, &pa}) // the other way round
	})
	time.Sleep(50 * time.Millisecond)
	if second.mu.TryLock() {
		second.mu.Unlock()
	} else {
		t.Error("the second lock is held by one who waits for the first")
	}
	first.mu.Unlock()
	wg.Wait()
}
