package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/quoted"
)

// InFlightConfig says how many requests an [InFlight] lets be served at once.
// Only Max is required. See "Overload" in the package documentation for what
// Latency and Target promise.
type InFlightConfig struct {
	// Name tells this bound from others in the log. It is printable ASCII. The
	// default is "default".
	Name string
	// Max is how many requests are served at once, from 1 to 2²⁴.
	Max int
	// Latency makes the bound find its place between Min and Max: it grows while
	// nine of ten handlers return within Latency, and shrinks while they do not. The
	// wait in the queue does not count. 0 makes the bound Max; the most is 10 minutes.
	// It can't be had together with a Key.
	Latency time.Duration
	// Min is how many requests are served at once however long they take, from 1 to
	// Max. The default is a tenth of Max, at least 1. Without a Latency it must be 0.
	Min int
	// Key says whose bound a request counts against: each key has a Max of its own,
	// and a Queue. Nil is one bound for all requests together. See [ByClientAddr] and
	// [ByIdentity]; a bound by address belongs above what costs, one by identity
	// below auth.Require.
	Key KeyFunc
	// Queue is how many more may wait, at most 2²⁴. The default is that nobody
	// waits: the first request above Max is refused at once.
	Queue int
	// MaxWait is the longest wait. The default is 1 second, the most 10 minutes.
	// Without a Queue it must be 0.
	MaxWait time.Duration

	// Target makes the queue one of controlled delay: a queue that absorbs a burst
	// stays as it is, and one that stands is cut to those that came within the last
	// Target. 0 leaves the queue alone; the most is MaxWait. 5 milliseconds is the
	// value of CoDel. Take it where requests are finished every few milliseconds, and
	// more where there are few places and slow handlers.
	Target time.Duration
	// Interval is for how long nobody must have found a place for the queue to
	// count as one that stands. The default is that of CoDel, 100 milliseconds; it
	// should not be shorter than what a handler usually takes. The most is 10 minutes.
	// Without a Target it must be 0.
	Interval time.Duration

	// Skip exempts a request for which it returns true: it is served at once and
	// counts for nothing. It must be safe for concurrent use. Health checks belong
	// here, since an instance that sheds them is taken for dead and its load goes to
	// the others. Exempt by r.Pattern or by identity, not by what a client can claim.
	// Above the mux there is no Pattern yet: compare r.URL.Path as a whole, never its
	// beginning.
	Skip func(*http.Request) bool
}

// ErrBusy is what [InFlight.Acquire] returns if there is no room now. Nothing was
// decided about what was asked for: try again later.
var ErrBusy = errors.New("ratelimit: too many at once")

// Why there was no room. The answer says the same to all, the log tells them apart.
var (
	errFull   = fmt.Errorf("%w, and no room to wait", ErrBusy)
	errWaited = fmt.Errorf("%w, for longer than the longest wait", ErrBusy)
	errShed   = fmt.Errorf("%w, and the queue stands: shed", ErrBusy)
)

// An InFlight bounds how many requests are served at once. It is safe for
// concurrent use, and has no goroutine. A request that finds a place costs no
// allocation.
type InFlight struct {
	name     string
	key      KeyFunc
	skip     func(*http.Request) bool
	queues   []queues // a power of two
	seed     maphash.Seed
	answers  []*httperr.Problem // one for each reason; nobody changes them
	over     string             // the reason in the audit events
	start    time.Time
	reportAt atomic.Int64  // when the next event of a 503 is due, since start
	untold   atomic.Uint64 // how many were answered since the last one
}

// Bounds of an InFlightConfig.
const (
	mostInFlight = 1 << 24
	longestWait  = 10 * time.Minute
	queueShards  = 32 // with a Key
)

// NewInFlight returns an InFlight. It returns an error that names the field if
// cfg can't work.
func NewInFlight(cfg InFlightConfig) (*InFlight, error) {
	if cfg.Name == "" {
		cfg.Name = "default"
	}
	rules, err := cfg.rules()
	if err != nil {
		return nil, err
	}
	f := &InFlight{
		name: cfg.Name, key: cfg.Key, skip: cfg.Skip, seed: maphash.MakeSeed(), start: time.Now(),
	}
	shards := 1
	if cfg.Key != nil {
		shards = queueShards
	}
	f.queues = make([]queues, shards)
	for i := range f.queues {
		f.queues[i].init(rules, cfg.Key != nil)
	}
	f.prepare(rules)
	return f, nil
}

// rules checks cfg and returns what a queue must know of it.
func (cfg *InFlightConfig) rules() (rules, error) {
	bad := func(field string, value any, want string) (rules, error) {
		return rules{}, fmt.Errorf("ratelimit: InFlightConfig.%s is %v, %s", field, value, want)
	}
	maxWait, interval, least := cfg.MaxWait, cfg.Interval, cfg.Min
	switch {
	case !quoted.Valid(cfg.Name):
		return bad("Name", strconv.Quote(cfg.Name), "not printable ASCII")
	case cfg.Max < 1 || cfg.Max > mostInFlight:
		return bad("Max", cfg.Max, fmt.Sprintf("not 1 to %d", mostInFlight))
	case cfg.Queue < 0 || cfg.Queue > mostInFlight:
		return bad("Queue", cfg.Queue, fmt.Sprintf("not 0 to %d", mostInFlight))
	case maxWait < 0 || maxWait > longestWait:
		return bad("MaxWait", maxWait, "not 0 to "+longestWait.String())
	case maxWait > 0 && cfg.Queue == 0:
		return bad("MaxWait", maxWait, "but there is no Queue to wait in")
	case maxWait == 0 && cfg.Queue > 0:
		maxWait = time.Second
	}
	switch {
	case cfg.Target < 0 || cfg.Target > maxWait:
		return bad("Target", cfg.Target, "not 0 to MaxWait, which is "+maxWait.String())
	case interval < 0 || interval > longestWait:
		return bad("Interval", interval, "not 0 to "+longestWait.String())
	case interval > 0 && cfg.Target == 0:
		return bad("Interval", interval, "but there is no Target")
	case interval == 0:
		interval = 100 * time.Millisecond
	}
	switch {
	case cfg.Latency < 0 || cfg.Latency > longestWait:
		return bad("Latency", cfg.Latency, "not 0 to "+longestWait.String())
	case cfg.Latency > 0 && cfg.Key != nil:
		return bad("Latency", cfg.Latency, "but there is a Key")
	case least < 0 || least > cfg.Max:
		return bad("Min", least, "not 0 to Max")
	case least > 0 && cfg.Latency == 0:
		return bad("Min", least, "but there is no Latency")
	case least == 0:
		least = max(1, cfg.Max/10)
	}
	return rules{
		max: cfg.Max, most: cfg.Queue, maxWait: maxWait,
		target: cfg.Target, interval: interval,
		latency: cfg.Latency, min: least,
	}, nil
}

// Name returns the bound's name.
func (f *InFlight) Name() string { return f.name }

// Wrap returns a handler that calls next for the requests that there is room for,
// and answers the others. A request has its place until next returns, be it by a
// panic, and be the connection hijacked: a handler that hands its connection to a
// goroutine gives up its place when it returns, one that streams keeps it.
//
// Where all requests share a bound, what is refused gets a 503 problem of the
// registered type temporary-reduced-capacity with code "overloaded". Where each
// key has one, it is the client that asks for too much: a 429 problem of the type
// quota-exceeded with code "concurrency_limited". Both have a Retry-After of
// MaxWait, rounded up to seconds. A request whose context ends while it waits
// leaves the queue; if anyone is there to read it, the answer is a 503.
//
// A 429 is one audit event. What gets a 503 is no more to blame than what is
// served, so of those there is one event a second at most, and it tells how many
// they were. Each is in the log of errors.Recover, as every 503 is.
//
// If Key or Skip panics or Key fails, no place is taken.
//
// Wrap panics if next is nil. All handlers that are wrapped share the bound.
func (f *InFlight) Wrap(next http.Handler) http.Handler {
	if next == nil {
		panic("ratelimit: Wrap: the handler is nil")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.skip != nil && f.skip(r) {
			next.ServeHTTP(w, r)
			return
		}
		key := ""
		if f.key != nil {
			var err error
			if key, err = f.key(r); err == nil && key == "" {
				err = ErrNoKey
			}
			if err != nil {
				httperr.Write(w, r, fmt.Errorf("ratelimit: InFlightConfig.Key: %w", err))
				return
			}
		}
		p, err := f.of(key).enter(r.Context(), key)
		if err != nil {
			httperr.Write(w, r, f.problem(err))
			return
		}
		defer p.leave()
		next.ServeHTTP(w, r)
	})
}

// Acquire takes a place, for what is not a request: jobs, messages, calls to a
// service that takes only so many. It waits for one as requests do, and counts
// together with them. release gives the place back; it must be called, and only
// its first call does anything. It is safe for concurrent use.
//
// Without an InFlightConfig.Key the key must be empty; with one it must not, else
// the error is [ErrNoKey]. If there is no room, it is or wraps [ErrBusy]. If ctx
// ends before there is, it is that of ctx. With an error, release is nil.
func (f *InFlight) Acquire(ctx context.Context, key string) (release func(), err error) {
	switch {
	case f.key == nil && key != "":
		return nil, errors.New("ratelimit: Acquire: there is a key, but InFlightConfig.Key is nil")
	case f.key != nil && key == "":
		return nil, ErrNoKey
	}
	p, err := f.of(key).enter(ctx, key)
	if err != nil {
		return nil, err
	}
	var released atomic.Bool
	return func() {
		if !released.Swap(true) {
			p.leave()
		}
	}, nil
}

// of returns the queues among which that of key is.
func (f *InFlight) of(key string) *queues {
	if len(f.queues) == 1 {
		return &f.queues[0]
	}
	return &f.queues[maphash.String(f.seed, key)%queueShards]
}

// InFlightStats is what an [InFlight] is doing and has done.
type InFlightStats struct {
	Limit   int    // how many are served at once now: Max, unless there is a Latency
	Running int    // requests being served
	Waiting int    // requests in a queue
	Keys    int    // keys that they have; 1 at most without an InFlightConfig.Key
	Refused uint64 // requests for which there was no room, since the start; those that left are not among them
	Shed    uint64 // those of them that left a queue that stood
}

// Stats returns the state of the bound, for metrics. It stops no more than a part
// of the keys at a time, so with an InFlightConfig.Key the numbers are not of one
// instant.
func (f *InFlight) Stats() InFlightStats {
	var sum InFlightStats
	for i := range f.queues {
		f.queues[i].add(&sum)
	}
	return sum
}

// prepare makes the answers, since those of an overload must cost little.
func (f *InFlight) prepare(r rules) {
	f.over = f.name + ": over " + strconv.Itoa(r.max) + " at once"
	if r.latency > 0 {
		f.over = f.name + ": over what can be served within " + r.latency.String()
	}
	p := &httperr.Problem{
		Type: typeReducedCapacity, Title: "Temporary Reduced Capacity",
		Status: http.StatusServiceUnavailable, Code: "overloaded",
		Detail: "Too many requests are being served. Try again later.",
	}
	if f.key != nil {
		p = &httperr.Problem{
			Type: typeQuotaExceeded, Title: "Quota Exceeded",
			Status: http.StatusTooManyRequests, Code: "concurrency_limited",
			Detail: "Too many requests at once. Wait for some of them to be answered.",
			Audit:  &audit.Event{Name: audit.RateLimitExceeded, Level: slog.LevelWarn, Reason: f.over},
		}
	}
	p.Header = http.Header{"Retry-After": {strconv.FormatInt(seconds(r.maxWait), 10)}}
	for _, err := range []error{errFull, errWaited, errShed} {
		f.answers = append(f.answers, p.WithCause(err))
	}
}

// problem returns what the client is told where enter returned err.
func (f *InFlight) problem(err error) error {
	for _, p := range f.answers {
		if p.Unwrap() != err {
			continue
		}
		if f.key == nil {
			if event := f.overload(); event != nil {
				told := *p
				told.Audit = event
				return &told
			}
		}
		return p
	}
	p := httperr.New(http.StatusServiceUnavailable, "overloaded", "The request ended before it could be served.")
	p.Header = http.Header{"Retry-After": {"1"}}
	return p.WithCause(err)
}

// reportInterval is how far apart the events of an overload are, at least.
const reportInterval = time.Second

// overload counts an answer of 503 and returns the event of it, or nil if there
// was one less than a second ago.
func (f *InFlight) overload() *audit.Event {
	f.untold.Add(1)
	at, now := f.reportAt.Load(), int64(time.Since(f.start))
	if now < at || !f.reportAt.CompareAndSwap(at, now+int64(reportInterval)) {
		return nil
	}
	return &audit.Event{
		Name: audit.RateLimitExceeded, Level: slog.LevelWarn,
		Reason: f.over + "; refused since the last such event: " + strconv.FormatUint(f.untold.Swap(0), 10),
	}
}
