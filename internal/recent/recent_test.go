package recent_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/internal/recent"
)

// What was put is there for one period at least, and two at most.
func TestPeriods(t *testing.T) {
	start := time.Now()
	for _, tt := range []struct {
		name           string
		put, again, at time.Duration // again is when another key is put
		want           bool
	}{
		{"at once", 0, 0, 0, true},
		{"before the period ends", 0, 0, 59 * time.Second, true},
		{"put late in the period, asked in the next", 59 * time.Second, 61 * time.Second, 110 * time.Second, true},
		{"after a turn, before two periods", 0, 61 * time.Second, 119 * time.Second, true},
		{"after two turns", 0, 61 * time.Second, 121 * time.Second, false},
		{"two periods of silence", 0, 0, 2 * time.Minute, false},
		{"the clock goes back", time.Hour, time.Hour, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := recent.New[string, int](time.Minute, 100)
			m.Put("first", 0, start)
			m.Put("k", 7, start.Add(tt.put))
			m.Put("other", 0, start.Add(tt.again))
			got, ok := m.Get("k", start.Add(tt.at))
			if ok != tt.want || ok && got != 7 {
				t.Errorf("got %d, %v, want %v", got, ok, tt.want)
			}
		})
	}
}

// Requests overlap: what began before a turn, and is put after it, drops nothing.
func TestPutByOneThatBeganEarlier(t *testing.T) {
	start := time.Now()
	m := recent.New[string, int](time.Minute, 100)
	m.Put("first", 0, start)
	m.Put("late in the period", 1, start.Add(59*time.Second))
	m.Put("turns", 2, start.Add(time.Minute))
	m.Put("began before", 3, start.Add(time.Minute-time.Millisecond))
	for k, want := range map[string]int{"late in the period": 1, "turns": 2, "began before": 3} {
		if v, ok := m.Get(k, start.Add(time.Minute-time.Nanosecond)); !ok || v != want {
			t.Errorf("%s, asked by one that began before: got %d, %v", k, v, ok)
		}
		if v, ok := m.Get(k, start.Add(time.Minute+time.Second)); !ok || v != want {
			t.Errorf("%s: got %d, %v", k, v, ok)
		}
	}
}

// However much comes, no more than the bound is kept, and the latest of it.
func TestBound(t *testing.T) {
	now := time.Now()
	m := recent.New[int, int](time.Hour, 100)
	for i := range 10_000 {
		m.Put(i, i, now)
	}
	kept := 0
	for i := range 10_000 {
		if _, ok := m.Get(i, now); ok {
			kept++
		}
	}
	if _, ok := m.Get(9_999, now); kept > 100 || kept < 50 || !ok {
		t.Errorf("%d are kept, the last of them: %v; want 50 to 100, and the last", kept, ok)
	}
}

func TestPutNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := recent.New[string, int](time.Minute, 100)
		var at []time.Duration
		start := time.Now()
		for range 600 {
			if m.PutNew("k", 0, time.Now()) {
				at = append(at, time.Since(start))
			}
			time.Sleep(time.Second)
		}
		for i := 1; i < len(at); i++ {
			if d := at[i] - at[i-1]; d < time.Minute || d > 2*time.Minute {
				t.Errorf("it was new %v after the last time", d)
			}
		}
		if len(at) < 5 {
			t.Errorf("it was new %d times in 10 minutes", len(at))
		}
	})
}

func TestDelete(t *testing.T) {
	now := time.Now()
	m := recent.New[string, int](time.Minute, 100)
	m.Put("k", 1, now)
	m.Put("other", 1, now.Add(61*time.Second)) // k is in the previous half
	m.Put("k", 2, now.Add(62*time.Second))
	m.Delete("k")
	if v, ok := m.Get("k", now.Add(63*time.Second)); ok {
		t.Errorf("got %d after it was deleted", v)
	}
}

func TestNilIsEmpty(t *testing.T) {
	var m *recent.Map[string, int]
	m.Put("k", 1, time.Now())
	m.Delete("k")
	if _, ok := m.Get("k", time.Now()); ok || m.PutNew("k", 1, time.Now()) {
		t.Error("a nil Map has something")
	}
}

func TestConcurrentUse(t *testing.T) {
	m := recent.New[int, int](time.Minute, 10)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 1000 {
				m.Put(n%20, i, time.Now())
				m.Get(n%20, time.Now())
				m.PutNew(n%20, i, time.Now())
				m.Delete(n % 20)
			}
		})
	}
	wg.Wait()
	now := time.Now()
	m.Put(1, 7, now)
	if v, ok := m.Get(1, now); !ok || v != 7 {
		t.Errorf("got %d, %v after all", v, ok)
	}
}
