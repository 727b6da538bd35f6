package introspect

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/internal/scope"
)

const (
	// failuresToStop is after how many failures in a row the endpoint is down.
	failuresToStop = 5
	// pause is how long it is then left alone between two requests.
	pause = time.Second
	// patience is for how long the endpoint must have answered nothing that works
	// before it is told of what may be about single tokens.
	patience = 30 * time.Second
)

// health is what a request has shown of the endpoint.
type health int

const (
	unknown health = iota // nothing: it was not asked, or its answer may be about the one token
	works
	failed
	doubtful // it failed, or it doesn't like the one token
)

// A breaker keeps requests from an endpoint that fails: waiting for it would hold up
// every caller, and a server that comes back would meet all of them at once. While it
// is down one request at a time finds out whether it works again.
//
// What a token may have caused never stops the asking: the endpoint does answer, and
// whoever sends tokens must not be in the way of others. If nothing works for 30 seconds
// that is told, and no more.
type breaker struct {
	mu       sync.Mutex
	failures int       // in a row
	doubts   time.Time // when the first in a row was doubtful; zero if none was
	doubted  bool      // that was told
	down     bool      // only then the next two count
	probing  bool      // a request is finding out
	askAt    time.Time // when the next may
}

// enter reports whether the endpoint may be asked, and whether that is to find out.
func (b *breaker) enter(now time.Time) (probe, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.down:
		return false, true
	case b.probing || now.Before(b.askAt):
		return false, false
	}
	b.probing = true
	return true, true
}

// isDown reports whether requests that are not to find out must not be made.
func (b *breaker) isDown() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.down
}

// leave takes note of a request that entered, and reports whether it has changed what
// is thought of the endpoint. One that was made before the endpoint went down, and is
// answered after, does not bring it back.
func (b *breaker) leave(probe bool, h health, now time.Time) (changed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case probe:
		return b.found(h, now)
	case b.down:
	case h == works:
		changed = b.doubted
		b.failures, b.doubts, b.doubted = 0, time.Time{}, false
	case h == doubtful:
		if b.doubts.IsZero() {
			b.doubts = now
		}
		changed = !b.doubted && now.Sub(b.doubts) >= patience
		b.doubted = b.doubted || changed
	case h == failed:
		if b.failures++; b.failures >= failuresToStop {
			changed = !b.doubted
			b.down, b.askAt, b.doubted = true, now.Add(pause), false
		}
	}
	return changed
}

// found takes note of what a request was to find out.
func (b *breaker) found(h health, now time.Time) (changed bool) {
	b.probing = false
	switch h {
	case works:
		b.down, b.failures, b.doubts = false, 0, time.Time{}
		return true
	case doubtful: // it answers: others may be asked about, and that it works is still to be told
		b.down, b.failures, b.doubts, b.doubted = false, 0, now, true
	case failed:
		b.askAt = now.Add(pause)
	}
	return false
}

// tell records that the endpoint has failed, with the error, or works again. It does
// not wait for the recorder: one that blocks must not stop the endpoint being asked.
func (c *Client) tell(ctx context.Context, err error) {
	name := "the introspection endpoint " + withoutQuery(c.endpoint)
	e := audit.Event{Time: time.Now(), Name: audit.SysMonitorEnabled, Level: slog.LevelInfo, Reason: name + " works again"}
	if err != nil {
		e.Name, e.Level, e.Reason = audit.SysMonitorDisabled, slog.LevelError, name+" has failed: "+err.Error()
	}
	// The request goes on meanwhile, and writes to what is known of it.
	known := scope.Derive(ctx)
	c.teller.Tell(func() { audit.RecordContext(known, c.audit, e) })
}
