package fetch_test

import (
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/internal/fetch"
)

// told keeps what was told.
type told struct {
	mu  sync.Mutex
	all []int
}

func (s *told) tell(n int) func() {
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all = append(s.all, n)
	}
}

func (s *told) want(t *testing.T, want ...int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.all, want) {
		t.Errorf("got %v, want %v", s.all, want)
	}
}

func TestTellerKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var teller fetch.Teller
		var s told
		var want []int
		for n := range 10 {
			teller.Tell(s.tell(n))
			want = append(want, n)
		}
		teller.Wait(time.Second)
		s.want(t, want...)
		teller.Tell(s.tell(10))
		teller.Wait(time.Second)
		s.want(t, append(want, 10)...)
		teller.Wait(time.Second) // for nothing
	})
}

// A recorder that blocks holds up nobody, and what it is still to be told is bounded.
func TestTellerOfARecorderThatBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var teller fetch.Teller
		var s told
		stuck := make(chan struct{})
		teller.Tell(func() { <-stuck })
		synctest.Wait()
		for n := range 100 {
			teller.Tell(s.tell(n))
		}
		start := time.Now()
		teller.Wait(time.Second)
		if d := time.Since(start); d != time.Second {
			t.Errorf("it waited for %v, want a second", d)
		}
		s.want(t)
		close(stuck)
		teller.Wait(time.Second)
		var last []int
		for n := 68; n < 100; n++ {
			last = append(last, n)
		}
		s.want(t, last...)
	})
}

func TestTellerOfARecorderThatEndsItsGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var teller fetch.Teller
		var s told
		teller.Tell(runtime.Goexit)
		teller.Tell(s.tell(1))
		teller.Wait(time.Second)
		s.want(t, 1)
		teller.Tell(s.tell(2))
		teller.Wait(time.Second)
		s.want(t, 1, 2)
	})
}
