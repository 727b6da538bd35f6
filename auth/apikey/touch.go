package apikey

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/internal/recent"
)

const (
	touchEvery   = time.Minute
	touchTimeout = 5 * time.Second
	maxTouches   = 10_000 // that wait
)

// A toucher is what a Manager does for touches.
type toucher interface {
	Touch(ctx context.Context, id string, at time.Time) error
}

// touches notes when keys were used, behind the back of the requests: one goroutine
// writes while there is something to write. What can't be written is lost, and noted
// with the next use a minute later.
type touches struct {
	store  toucher
	logger *slog.Logger
	recent *recent.Map[string, struct{}]

	ctx  context.Context // of the writes
	stop context.CancelFunc

	mu      sync.Mutex
	waiting map[string]time.Time
	running chan struct{} // closed when the goroutine has ended; nil if there is none
	closed  bool
	failing bool
}

// newTouches returns nil if the store doesn't keep when keys were used.
func newTouches(s Store, logger *slog.Logger) *touches {
	store, ok := s.(toucher)
	if !ok {
		return nil
	}
	t := &touches{store: store, logger: logger, recent: recent.New[string, struct{}](touchEvery, 200_000)}
	t.ctx, t.stop = context.WithCancel(context.Background())
	return t
}

// close ends the goroutine, and what it is writing.
func (t *touches) close() {
	if t == nil {
		return
	}
	t.mu.Lock()
	t.closed, t.waiting = true, nil
	running := t.running
	t.mu.Unlock()
	t.stop()
	if running != nil {
		<-running
	}
}

// note says that the key of this id was used.
func (t *touches) note(id string, now time.Time) {
	if t == nil {
		return
	}
	if _, ok := t.recent.Get(id, now); ok {
		return
	}
	if !t.recent.PutNew(id, struct{}{}, now) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || len(t.waiting) >= maxTouches {
		return
	}
	if t.waiting == nil {
		t.waiting = make(map[string]time.Time)
	}
	t.waiting[id] = now
	if t.running == nil {
		t.running = make(chan struct{})
		go t.run(t.running)
	}
}

// run writes until nothing waits any more.
func (t *touches) run(ended chan struct{}) {
	defer close(ended)
	for {
		t.mu.Lock()
		batch := t.waiting
		t.waiting = nil
		if len(batch) == 0 {
			t.running = nil
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
		for id, at := range batch {
			if t.ctx.Err() == nil {
				t.write(id, at)
			}
		}
	}
}

func (t *touches) write(id string, at time.Time) {
	ctx, cancel := context.WithTimeout(t.ctx, touchTimeout)
	defer cancel()
	err := t.try(ctx, id, at)
	if errors.Is(err, auth.ErrNotFound) || t.ctx.Err() != nil { // removed meanwhile, or closed
		err = nil
	}
	failed := t.failing
	t.failing = err != nil // by this goroutine alone
	if err != nil && !failed {
		logger := t.logger
		if logger == nil {
			logger = slog.Default()
		}
		logger.Warn("apikey: when keys were used last can't be written", "error", err)
	}
}

// try calls the store. If that panics, nobody is there to recover but this.
func (t *touches) try(ctx context.Context, id string, at time.Time) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the store panicked: %v", v)
		}
	}()
	return t.store.Touch(ctx, id, at)
}
