package redisstore

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// longestFlight is how many decisions travel together at most. Redis does nothing
// else while it decides them.
const longestFlight = 128

// A call is a decision that a caller waits for.
type call struct {
	key     string
	n       int // what is asked for; negative to give back
	first   int // what is tried first: n, or more to lease the rest
	leasing bool
	back    []span        // what is given back of each limit; nil if it is what n events are
	gone    atomic.Bool   // the caller has left
	done    chan struct{} // has room for one: the call is decided
	timer   *time.Timer

	// What became of it, when it is decided.
	err     error
	outcome byte
	debts   [maxLimits]span
	now     int64         // the clock of Redis, in microseconds since 1970; 0 if there are no windows
	sent    time.Duration // when it was sent, since the start of the bucket
}

var freeCalls = sync.Pool{New: func() any { return &call{done: make(chan struct{}, 1)} }}

func newCall(key string, n int) *call {
	c := freeCalls.Get().(*call)
	c.key, c.n, c.first, c.leasing, c.back, c.err, c.outcome = key, n, n, false, nil, nil, 0
	return c
}

// free says that nobody has the call any more.
func (c *call) free() { freeCalls.Put(c) }

// settle tells the caller.
func (c *call) settle(err error) {
	c.err = err
	c.done <- struct{}{}
}

// wait waits until the call is decided, or its caller has no more patience.
func (c *call) wait(ctx context.Context, timeout time.Duration) error {
	var late <-chan time.Time
	if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > timeout {
		if c.timer == nil {
			c.timer = time.NewTimer(timeout)
		} else {
			c.timer.Reset(timeout)
		}
		defer c.timer.Stop()
		late = c.timer.C
	}
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		c.gone.Store(true)
		return failed(ctx, "Take", ctx.Err())
	case <-late:
		c.gone.Store(true)
		return errLate
	}
}

// A lane has the calls for one node, of which some are on their way and the others
// wait. Nobody waits for others to come: what has come while the last ones were on
// their way goes next, together, and at once if there are many. A lane that has no
// work is gone.
type lane struct {
	bucket  *bucket
	node    string
	waiting []*call
	flying  int // flights on their way
}

const (
	many        = longestFlight / 2 // that wait are enough for another flight
	mostFlights = 4                 // to one node at a time
)

// decide returns when c is decided, or when ctx is done. Unless the error is nil, c
// belongs to others from then on.
func (b *bucket) decide(ctx context.Context, c *call) error {
	node, err := b.store.node(ctx, c.key)
	if err != nil {
		return failed(ctx, "Take", err)
	}
	b.mu.Lock()
	l, busy := b.lanes[node]
	if busy {
		l.waiting = append(l.waiting, c)
		if l.flying < mostFlights && len(l.waiting) >= many {
			l.flying++
			go l.drain() //nolint:gosec // it goes for many callers, and ends with none of them
		}
		b.mu.Unlock()
		return c.wait(ctx, b.store.timeout)
	}
	l = &lane{bucket: b, node: node, flying: 1}
	b.lanes[node] = l
	b.mu.Unlock()

	// Nothing is on its way, so this goes alone, and ends with its caller.
	defer l.leave()
	if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > b.store.timeout {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, b.store.timeout)
		defer cancel()
	}
	b.fly(ctx, []*call{c})
	<-c.done
	return c.err
}

// leave is called when the flight of a caller is over: what has come meanwhile is
// taken over by a goroutine, which ends when there is no more.
func (l *lane) leave() {
	b := l.bucket
	b.mu.Lock()
	defer b.mu.Unlock()
	if !l.land() {
		go l.drain()
	}
}

// land reports whether a flight that is over is followed by none, and counts it out
// then. The lane is gone if it was the last one.
func (l *lane) land() bool {
	if len(l.waiting) > 0 && (l.flying == 1 || len(l.waiting) >= many) {
		return false
	}
	if l.flying--; l.flying == 0 {
		delete(l.bucket.lanes, l.node)
	}
	return true
}

// drain sends what waits until nothing does.
func (l *lane) drain() {
	over := false
	defer func() {
		if !over { // a hook of the client has ended this goroutine
			go l.drain()
		}
	}()
	for {
		calls := l.next()
		if calls == nil {
			over = true
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), l.bucket.store.timeout)
		l.bucket.fly(ctx, calls)
		cancel()
		runtime.Gosched() // those that were told may have more to ask
	}
}

// next returns the calls that go next, without those whose callers have left. If there
// are none, the flight is over.
func (l *lane) next() []*call {
	b := l.bucket
	b.mu.Lock()
	defer b.mu.Unlock()
	for !l.land() {
		n := min(len(l.waiting), longestFlight)
		calls := make([]*call, 0, n)
		for _, c := range l.waiting[:n] {
			if !c.gone.Load() {
				calls = append(calls, c)
			}
		}
		rest := copy(l.waiting, l.waiting[n:])
		clear(l.waiting[rest:])
		l.waiting = l.waiting[:rest]
		if len(calls) > 0 {
			return calls
		}
	}
	return nil
}
