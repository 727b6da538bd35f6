package password

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestBoundHoldsUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBound(3, 100, time.Minute)
		var running, most, done atomic.Int32
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				err := b.do(t.Context(), func() {
					now := running.Add(1)
					for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
					}
					time.Sleep(time.Millisecond)
					running.Add(-1)
					done.Add(1)
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if got := b.stats(); got.Running != 3 || got.Waiting != 97 {
			t.Errorf("got %+v, want 3 running and 97 waiting", got)
		}
		wg.Wait()
		if most.Load() != 3 || done.Load() != 100 {
			t.Errorf("at most %d at a time of %d, want 3 of 100", most.Load(), done.Load())
		}
		if got, want := b.stats(), (Stats{Done: 100}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

// occupy takes every slot until the returned function is called.
func occupy(t *testing.T, b *bound) (leave func()) {
	t.Helper()
	for range cap(b.slots) {
		if err := b.acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		for range cap(b.slots) {
			<-b.slots
		}
	}
}

func TestBoundRefusesAtOnceWhenTheQueueIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBound(2, 3, time.Minute)
		leave := occupy(t, b)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if err := b.do(t.Context(), func() {}); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		start := time.Now()
		err := b.do(t.Context(), func() { t.Error("work was done without a slot") })
		if !errors.Is(err, ErrBusy) || time.Since(start) != 0 {
			t.Errorf("got %v after %v, want ErrBusy at once", err, time.Since(start))
		}
		if got, want := b.stats(), (Stats{Running: 2, Waiting: 3, Refused: 1}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		leave()
		wg.Wait()
		if got, want := b.stats(), (Stats{Done: 3, Refused: 1}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

func TestBoundWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBound(1, 1, 5*time.Second)
		leave := occupy(t, b)
		start := time.Now()
		err := b.do(t.Context(), func() { t.Error("work was done without a slot") })
		if !errors.Is(err, ErrBusy) || time.Since(start) != 5*time.Second {
			t.Errorf("got %v after %v, want ErrBusy after 5s", err, time.Since(start))
		}
		if got, want := b.stats(), (Stats{Running: 1, Refused: 1}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		leave()
		if err := b.do(t.Context(), func() {}); err != nil {
			t.Errorf("after the slot came free: %v", err)
		}
	})
}

func TestBoundWaiterLeavesWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBound(1, 1, time.Minute)
		leave := occupy(t, b)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		err := b.do(ctx, func() { t.Error("work was done without a slot") })
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("got %v after %v, want context.DeadlineExceeded after 1s", err, time.Since(start))
		}
		// Its place in the queue is free again.
		if got, want := b.stats(), (Stats{Running: 1}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		leave()
	})
}

// An endedContext has ended, but those who wait for it have not noticed.
type endedContext struct {
	context.Context
	ended atomic.Bool
}

func (c *endedContext) Done() <-chan struct{} { return nil }

func (c *endedContext) Err() error {
	if c.ended.Load() {
		return context.Canceled
	}
	return nil
}

// If the context ends at the moment a slot comes free, nobody is worked for and
// the slot is not lost.
func TestBoundContextEndsWithTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBound(1, 1, time.Minute)
		leave := occupy(t, b)
		ctx := &endedContext{Context: t.Context()}
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := b.do(ctx, func() { t.Error("work was done for nobody") }); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want context.Canceled", err)
			}
		})
		synctest.Wait()
		ctx.ended.Store(true)
		leave()
		wg.Wait()
		if got, want := b.stats(), (Stats{}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

// Who waits is served in order, and before whoever comes when a slot is free.
func TestBoundIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBound(1, 10, time.Minute)
		leave := occupy(t, b)
		var order []int // only one works at a time
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() {
				_ = b.do(t.Context(), func() { order = append(order, i) })
			})
			synctest.Wait()
		}
		leave()
		_ = b.do(t.Context(), func() { order = append(order, 5) })
		wg.Wait()
		for i, got := range order {
			if got != i {
				t.Fatalf("got order %v, want 0 to 5", order)
			}
		}
	})
}

func TestBoundGivesTheSlotBackOnPanic(t *testing.T) {
	b := newBound(1, 1, time.Millisecond)
	for range 3 {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was swallowed")
				}
			}()
			_ = b.do(t.Context(), func() { panic("out of luck") })
		}()
	}
	if err := b.do(t.Context(), func() {}); err != nil {
		t.Errorf("got %v, want a slot", err)
	}
	if got, want := b.stats(), (Stats{Done: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// No method computes anything outside the bound.
func TestHasherWorksInsideTheBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, err := New(Config{MaxConcurrent: 2})
		if err != nil {
			t.Fatal(err)
		}
		made, err := h.maker.hash("pw")
		if err != nil {
			t.Fatal(err)
		}
		encoded := made.String()
		leave := occupy(t, h.bound)
		if _, err := h.Hash(t.Context(), "pw"); !errors.Is(err, ErrBusy) {
			t.Errorf("Hash: got %v, want ErrBusy", err)
		}
		if _, err := h.Verify(t.Context(), encoded, "pw"); !errors.Is(err, ErrBusy) {
			t.Errorf("Verify: got %v, want ErrBusy", err)
		}
		if _, err := h.Verify(t.Context(), encoded, ""); !errors.Is(err, ErrBusy) {
			t.Errorf("Verify of what can't match: got %v, want ErrBusy", err)
		}
		if err := h.Dummy(t.Context(), "pw"); !errors.Is(err, ErrBusy) {
			t.Errorf("Dummy: got %v, want ErrBusy", err)
		}
		if got, want := h.Stats(), (Stats{Running: 2, Refused: 4}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		leave()
		if _, err := h.Verify(t.Context(), encoded, "pw"); err != nil {
			t.Errorf("with a slot: %v", err)
		}
	})
}
