// Package eventlog keeps audit events for tests. Only tests import it.
package eventlog

import (
	"context"
	"slices"
	"sync"

	"github.com/sallyport/sallyport/audit"
)

// A Recorder is an audit.Recorder that keeps what it gets. The zero Recorder is
// ready for use, and safe for concurrent use.
type Recorder struct {
	mu     sync.Mutex
	events []audit.Event
}

// Record keeps e.
func (r *Recorder) Record(_ context.Context, e audit.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	return nil
}

// All returns the events so far.
func (r *Recorder) All() []audit.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// Take returns the events so far, and forgets them.
func (r *Recorder) Take() []audit.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.events
	r.events = nil
	return taken
}
