package fetch

import (
	"sync"
	"time"
)

// maxUntold bounds what waits for a recorder that is slow.
const maxUntold = 32

// A Teller tells a recorder of events one at a time, in the order they came, and
// holds up nobody: it has a goroutine, which lasts as long as there is something to
// tell. Of a recorder that blocks, 32 events are kept, and the oldest of them make
// room. The zero Teller is ready for use, and safe for concurrent use.
type Teller struct {
	mu     sync.Mutex
	untold []func()
	told   chan struct{} // closed when all is told; nil if nobody tells
}

// Tell has f called, which records an event, and does not wait for it.
func (t *Teller) Tell(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.untold) == maxUntold {
		t.untold = t.untold[1:]
	}
	t.untold = append(t.untold, f)
	if t.told == nil {
		t.told = make(chan struct{})
		go t.run()
	}
}

func (t *Teller) run() {
	all := false
	defer func() {
		if !all { // a recorder has ended the goroutine
			go t.run()
		}
	}()
	for {
		f := t.next()
		if f == nil {
			all = true
			return
		}
		f()
	}
}

// next returns what is to be told, or nil if that was all.
func (t *Teller) next() func() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.untold) == 0 {
		close(t.told)
		t.told = nil
		return nil
	}
	f := t.untold[0]
	t.untold = t.untold[1:]
	return f
}

// Wait waits until all is told, for d at most.
func (t *Teller) Wait(d time.Duration) {
	t.mu.Lock()
	told := t.told
	t.mu.Unlock()
	if told == nil {
		return
	}
	select {
	case <-told:
	case <-time.After(d):
	}
}
