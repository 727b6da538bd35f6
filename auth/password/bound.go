package password

import (
	"context"
	"sync/atomic"
	"time"
)

// A bound lets a few calls work at a time and a few more wait. It has no
// goroutine: who waits is the caller's own.
type bound struct {
	slots    chan struct{} // holds one for each call at work
	maxQueue int64
	maxWait  time.Duration
	waiting  atomic.Int64
	done     atomic.Uint64
	refused  atomic.Uint64
}

func newBound(maxConcurrent, maxQueue int, maxWait time.Duration) *bound {
	return &bound{slots: make(chan struct{}, maxConcurrent), maxQueue: int64(maxQueue), maxWait: maxWait}
}

// do calls work once there is a slot for it. It returns ErrBusy or the error of
// ctx if there was none; then work was not called. The slot is given back even
// if work panics.
func (b *bound) do(ctx context.Context, work func()) error {
	if err := b.acquire(ctx); err != nil {
		return err
	}
	defer func() { <-b.slots }()
	work()
	b.done.Add(1)
	return nil
}

func (b *bound) acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	// A slot that is given back goes straight to the first who waits, so this
	// does not let a newcomer pass the queue.
	select {
	case b.slots <- struct{}{}:
		return nil
	default:
	}
	defer b.waiting.Add(-1)
	if b.waiting.Add(1) > b.maxQueue {
		b.refused.Add(1)
		return ErrBusy
	}
	timer := time.NewTimer(b.maxWait)
	defer timer.Stop()
	select {
	case b.slots <- struct{}{}:
		// If ctx ended at the same moment, nobody waits for the result.
		if err := ctx.Err(); err != nil {
			<-b.slots
			return err
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		b.refused.Add(1)
		return ErrBusy
	}
}

func (b *bound) stats() Stats {
	return Stats{Running: len(b.slots), Waiting: int(b.waiting.Load()), Done: b.done.Load(), Refused: b.refused.Load()}
}
