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

	mu      sync.Mutex
	waiting map[string]time.Time
	running bool
	failing bool
}

// newTouches returns nil if the store doesn't keep when keys were used.
func newTouches(s Store, logger *slog.Logger) *touches {
	store, ok := s.(toucher)
	if !ok {
		return nil
	}
	return &touches{store: store, logger: logger, recent: recent.New[string, struct{}](touchEvery, 200_000)}
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
	if len(t.waiting) >= maxTouches {
		return
	}
	if t.waiting == nil {
		t.waiting = make(map[string]time.Time)
	}
	t.waiting[id] = now
	if !t.running {
		t.running = true
		go t.run()
	}
}

// run writes until nothing waits any more.
func (t *touches) run() {
	for {
		t.mu.Lock()
		batch := t.waiting
		t.waiting = nil
		t.running = len(batch) > 0
		t.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		for id, at := range batch {
			t.write(id, at)
		}
	}
}

func (t *touches) write(id string, at time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), touchTimeout)
	defer cancel()
	err := t.try(ctx, id, at)
	if errors.Is(err, auth.ErrNotFound) { // removed meanwhile
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
