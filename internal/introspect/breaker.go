package introspect

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/sallyport/sallyport/audit"
)

const (
	// failuresToStop is after how many failures in a row the endpoint is down.
	failuresToStop = 5
	// pause is how long it is then left alone between two requests.
	pause = time.Second
)

// health is what a request has shown of the endpoint.
type health int

const (
	unknown health = iota // nothing: it was not asked, or its answer may be about the one token
	works
	failed
)

// A breaker keeps requests from an endpoint that fails: waiting for it would hold up
// every caller, and a server that comes back would meet all of them at once. While it
// is down one request at a time finds out whether it works again.
type breaker struct {
	mu       sync.Mutex
	failures int       // in a row
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
	if probe {
		b.probing = false
		switch h {
		case works:
			b.down, b.failures = false, 0
			return true
		case failed:
			b.askAt = now.Add(pause)
		}
		return false
	}
	switch {
	case b.down:
	case h == works:
		b.failures = 0
	case h == failed:
		if b.failures++; b.failures >= failuresToStop {
			b.down, b.askAt = true, now.Add(pause)
			return true
		}
	}
	return false
}

// tell records that the endpoint has failed, with the error, or works again.
func (c *Client) tell(ctx context.Context, err error) {
	name := "the introspection endpoint " + withoutQuery(c.endpoint)
	e := audit.Event{Name: audit.SysMonitorEnabled, Level: slog.LevelInfo, Reason: name + " works again"}
	if err != nil {
		e = audit.Event{Name: audit.SysMonitorDisabled, Level: slog.LevelError, Reason: name + " has failed: " + err.Error()}
	}
	audit.RecordContext(ctx, c.audit, e)
}
