package jwk

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/internal/fetch"
)

// flights are the fetches of a set, of which there is one at a time.
type flights struct {
	ctx     context.Context // of all fetches; it ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	flight   *flight       // nil if none is under way
	next     time.Duration // before this, none but by Refresh
	failures int           // in a row
	failedAt time.Duration // when the last of them ended
	err      error         // of the last; nil if it was good
	health   health
	exposed  string // what the last set had in it that should be secret
	teller   fetch.Teller
}

// A flight is one fetch, for all who wait.
type flight struct {
	done chan struct{}
	err  error // once done is closed
}

// firstRetry is the time between the first two attempts to get a set at all. It
// doubles with each.
const firstRetry = time.Second

// tellTimeout is how long Close waits for the recorder.
const tellTimeout = time.Second

func (f *flights) open() {
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.err = errNotFetched
}

func (f *flights) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	if f.cancel != nil { // of the zero set
		f.cancel()
	}
	f.running.Wait()
	f.teller.Wait(tellTimeout)
}

// begin returns the fetch that is under way, or one that it begins; nil if it may
// not yet. down means that the issuer was seen to be down a short while ago.
func (r *RemoteSet) begin(now time.Duration, force bool) (f *flight, down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	// While requests come in, the next attempt begins after an interval and a
	// quarter, and ends after the timeout.
	down = r.failures > 0 && now-r.failedAt < 2*r.interval+r.timeout
	switch {
	case r.flight != nil:
		return r.flight, down
	case r.closed, r.load == nil, !force && now < r.next:
		return nil, down
	}
	f = &flight{done: make(chan struct{})}
	r.flight = f
	r.running.Add(1)
	go r.fly(f)
	return f, down
}

// reason returns why nothing is certain: there is no set, or none that is good.
func (r *RemoteSet) reason() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.load == nil:
		return errNoRemote
	case r.closed:
		return errClosed
	case r.err == nil:
		return errTooOld
	}
	return r.err
}

// renewed reports whether s is what the issuer publishes, as far as can be known: it
// is fresh, and the last fetch was good.
func (r *RemoteSet) renewed(s *remoteState, now time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return now < s.expires && r.err == nil && !r.closed
}

// fly fetches the set and settles what follows from it.
func (r *RemoteSet) fly(f *flight) {
	defer r.running.Done()
	began := r.now()
	ctx, cancel := context.WithTimeout(r.ctx, r.timeout)
	s, exposed, err := r.fetch(ctx)
	cancel()
	now := r.now()
	switch {
	case err == nil:
	case r.ctx.Err() != nil:
		err = errClosed
	default:
		// The cause is not wrapped: a transport's error must not pass for another
		// kind of answer.
		err = fmt.Errorf("jwk: the keys of %s could not be fetched: %v", r.name, err)
	}

	// Whoever sees the new set sees that its flight has ended.
	r.mu.Lock()
	if err == nil {
		r.state.Store(s)
	}
	serves := r.state.Load().serves(now)
	r.err, f.err, r.flight = err, err, nil
	switch {
	case err == nil:
		r.failures, r.next = 0, began+r.interval
	case serves:
		r.failures, r.failedAt = r.failures+1, now
		r.next = now + r.interval + jitter(r.interval/4)
	default:
		r.failures, r.failedAt = r.failures+1, now
		wait := min(r.interval, firstRetry<<min(r.failures-1, 10))
		r.next = now + wait/2 + jitter(wait/2)
	}
	// It does not wait for the recorder: one that blocks must not be what keeps keys
	// from being fetched.
	for _, e := range r.events(err, serves, exposed) {
		r.teller.Tell(func() { audit.RecordContext(context.Background(), r.audit, e) })
	}
	r.mu.Unlock()
	close(f.done)
}

// jitter returns a random time below d, so that many instances do not ask at once.
func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d) //nolint:gosec // nothing hangs on its being guessed
}

// fetch returns the set as it is published now. exposed names the keys in it that
// are no secret any more.
func (r *RemoteSet) fetch(ctx context.Context) (s *remoteState, exposed string, err error) {
	defer func() { // of a transport or a resolver that is not ours
		if v := recover(); v != nil {
			s, err = nil, fmt.Errorf("panic: %v", v)
		}
	}()
	began := r.now()
	answer, err := r.load(ctx)
	if err != nil {
		return nil, "", err
	}
	reader := setReader{algorithms: r.algorithms}
	keys, err := reader.read(answer.Body)
	if err != nil {
		return nil, "", err
	}
	if len(keys) == 0 {
		return nil, "", errNoKeys
	}
	x, err := newIndex(keys)
	if err != nil {
		return nil, "", err
	}
	if old := r.state.Load(); old != nil {
		x.keep(old.index)
	}
	fresh, ok := fetch.Freshness(answer.Header)
	if !ok {
		fresh = r.maxRefresh
	}
	// Its age counts from before the server was asked.
	fresh = min(max(fresh, r.minRefresh), r.maxRefresh)
	return &remoteState{
		index:   x,
		renew:   began + fresh*3/4 + jitter(fresh/8),
		expires: began + fresh,
		gone:    began + fresh + r.maxStale,
	}, strings.Join(reader.exposed, ", "), nil
}

// keep makes the keys that old has too those of old, so that they are the same by
// ==. It is for an index that nobody else has yet.
func (x *index) keep(old *index) {
	for i, k := range x.keys {
		if was, ok := old.byID[k.ID()]; ok && was.sameMaterial(k) {
			x.keys[i], x.byID[k.ID()] = was, was
		}
	}
}

// health is how a set fares.
type health int

const (
	healthy health = iota // as it is at first, when nothing is known
	stale                 // it can't be renewed, and the old one is used
	down                  // there is none that may be used
)

// events returns those that are due: one for each change.
func (r *RemoteSet) events(err error, serves bool, exposed string) []audit.Event {
	if err == errClosed {
		return nil
	}
	now := healthy
	event := audit.Event{Time: time.Now(), Name: audit.SysMonitorEnabled, Level: slog.LevelInfo, Issuer: r.issuer, Reason: "the keys of " + r.name + " are fetched again"}
	switch {
	case err != nil && serves:
		now = stale
		event.Name, event.Level, event.Reason = audit.SysMonitorDisabled, slog.LevelWarn, err.Error()+"; the old ones are used"
	case err != nil:
		now = down
		event.Name, event.Level, event.Reason = audit.SysMonitorDisabled, slog.LevelError, err.Error()+"; there are none to use"
	}
	var events []audit.Event
	if now != r.health {
		r.health = now
		events = append(events, event)
	}
	if err == nil && exposed != r.exposed {
		r.exposed = exposed
		if exposed != "" {
			events = append(events, audit.Event{
				Time: time.Now(), Name: audit.SysMonitorDisabled, Level: slog.LevelError, Issuer: r.issuer,
				Reason: r.name + " publishes the private part of its keys, so that everyone can sign with them: " + exposed,
			})
		}
	}
	return events
}
