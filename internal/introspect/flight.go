package introspect

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A flight is one request to the endpoint, and all who wait for its answer.
type flight struct {
	key   key
	ctx   context.Context // what the first who waits brought, but not its end
	probe bool            // to find out whether the endpoint works again

	// Guarded by Client.mu.
	waiting int
	started bool

	abandoned chan struct{} // closed when nobody waits and it has not started
	done      chan struct{} // closed when the next two are set
	answer    Answer
	err       error
}

var errUnfinished = errors.New("introspect: the request has ended without an answer")

// join returns the flight for a token: one that is under way, or a new one.
func (c *Client) join(ctx context.Context, k key, token string) (*flight, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.flights[k]; f != nil {
		f.waiting++
		return f, nil
	}
	// One may have landed since the caller looked. It is remembered before it is
	// taken from the flights, so this is where nothing is asked twice.
	if a, ok := c.remembered(k); ok {
		f := &flight{answer: a, done: make(chan struct{})}
		close(f.done)
		return f, nil
	}
	if len(c.flights) >= c.maxFlights {
		return nil, ErrBusy
	}
	probe, ok := c.breaker.enter(time.Now())
	if !ok {
		return nil, ErrDown
	}
	f := &flight{
		key: k, ctx: context.WithoutCancel(ctx), probe: probe, waiting: 1,
		abandoned: make(chan struct{}), done: make(chan struct{}), err: errUnfinished,
	}
	c.flights[k] = f
	go c.fly(f, token)
	return f, nil
}

// leave is what one does who does not wait any more. A request that nobody waits for
// is not made. One that is under way goes on: its answer is good for the next, and
// clients that come and go must not cost the endpoint its connections.
func (c *Client) leave(f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.waiting--
	if f.waiting == 0 && !f.started && c.flights[f.key] == f {
		delete(c.flights, f.key) // who comes now needs another
		close(f.abandoned)
	}
}

// start reports whether somebody still waits for f, which from now on goes on.
func (c *Client) start(f *flight) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.started = f.waiting > 0
	return f.started
}

// fly waits for a place, makes the request and hands out the answer.
func (c *Client) fly(f *flight, token string) {
	h := unknown
	defer func() {
		if v := recover(); v != nil { // of the transport, or of Authorize
			h, f.answer, f.err = failed, Answer{}, fmt.Errorf("introspect: panic: %v", v)
		}
		if c.breaker.leave(f.probe, h, time.Now()) {
			c.tell(f.ctx, f.err)
		}
		c.mu.Lock()
		if c.flights[f.key] == f {
			delete(c.flights, f.key)
		}
		c.mu.Unlock()
		close(f.done)
	}()

	patience := time.NewTimer(c.timeout)
	defer patience.Stop()
	select {
	case c.slots <- struct{}{}:
	case <-f.abandoned:
		return
	case <-patience.C:
		f.err = ErrBusy
		return
	}
	defer func() { <-c.slots }()
	if !c.start(f) {
		return
	}
	if !f.probe && c.breaker.isDown() { // it failed while this one waited
		f.err = ErrDown
		return
	}
	asked := time.Now()
	var a Answer
	var err error
	a, h, err = c.ask(f.ctx, token)
	if err == nil {
		c.remember(f.key, a, asked)
	}
	f.answer, f.err = a, err
}
