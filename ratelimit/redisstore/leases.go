package redisstore

import (
	"errors"
	"sync"
	"time"

	"github.com/sallyport/sallyport/ratelimit"
)

// A Lease has hot keys served from memory: an instance takes events of such a key from
// Redis in advance, several at a time, and admits with them without asking again.
//
// They are spent before anybody is admitted by them, so that what all instances have
// admitted since the beginning never is more than the limit allows. But they may be
// used For later. So in a span of time each instance may admit up to Events - 1 more
// than the limit allows: those that it had taken before.
//
// A key gets a lease as it gets hot: one event the first time, and twice as many as
// the last time whenever those were used within For, up to Events; half as many
// when they were not. What is not used within For is lost, and so is what an instance
// has when it ends: the key is then admitted less often than its limit allows, by up
// to Events - 1 for each instance.
//
// Buckets of which a limit is counted in windows have no leases: a quota is to be used
// whole.
//
// What Result says of a request that was served from memory is what Redis said when the
// events were taken, less what has been regained and used here since.
type Lease struct {
	// Events is how many events of a key are taken at a time at most, the one that is
	// asked for included. 0 means that there are no leases. It is never more than the
	// smallest Burst of the limits, and should be much less than that divided by the
	// number of instances: else one takes what others need.
	Events int

	// For is how long events that were taken may be used: 100 ms if it is 0.
	For time.Duration
}

const (
	defaultLeaseFor = 100 * time.Millisecond
	longestLease    = time.Minute
	maxLeases       = 1 << 12 // keys of a bucket that are watched at a time
)

func (l Lease) check() error {
	switch {
	case l.Events < 0:
		return errors.New("redisstore: Config.Lease.Events is negative")
	case l.For < 0:
		return errors.New("redisstore: Config.Lease.For is negative")
	case l.For > longestLease:
		return errors.New("redisstore: Config.Lease.For is more than a minute")
	case l.For > 0 && l.Events == 0:
		return errors.New("redisstore: Config.Lease.For is set, but not Config.Lease.Events")
	}
	return nil
}

// leases has the events that were taken in advance.
type leases struct {
	most  int
	hold  time.Duration
	rates []rate

	mu   sync.Mutex
	keys map[string]*lease
}

// A lease is what was taken of a key, or that somebody takes it.
type lease struct {
	asking bool          // a call is on its way
	size   int           // of the last one
	left   int           // that may be used
	at     time.Duration // when Redis was asked
	debts  []span        // at that time, with what is left
}

// newLeases returns nil if there shall be none, whose methods do nothing.
func newLeases(cfg Lease, rates []rate, minBurst int) *leases {
	if cfg.Events < 2 || minBurst < 2 {
		return nil
	}
	if cfg.For == 0 {
		cfg.For = defaultLeaseFor
	}
	return &leases{most: min(cfg.Events, minBurst), hold: cfg.For, rates: rates, keys: make(map[string]*lease)}
}

// serve takes n events from the lease of a key, if there are as many.
func (l *leases) serve(key string, n int, now time.Duration) (ratelimit.Result, bool) {
	if l == nil {
		return ratelimit.Result{}, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	have := l.keys[key]
	if have == nil || have.left < n || now-have.at >= l.hold {
		return ratelimit.Result{}, false
	}
	have.left -= n
	var room [maxLimits]span
	return allowed(l.rates, l.without(have.left, since(room[:0], l.rates, have.debts, now-have.at, 0)), 0), true
}

// without takes n events, which can still be used here, from what a key owes.
func (l *leases) without(n int, debts []span) []span {
	for i := range debts {
		debts[i] = l.rates[i].sub(debts[i], l.rates[i].cost(n))
	}
	return debts
}

// want says how many events to ask for, where n are needed: more if the key is hot.
func (l *leases) want(key string, n int, now time.Duration) (first int, leasing bool) {
	if l == nil {
		return n, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	have := l.keys[key]
	switch {
	case have == nil:
		if len(l.keys) >= maxLeases {
			makeRoom(l.keys, func(old *lease) bool { return !old.asking && now-old.at >= l.hold })
		}
		if len(l.keys) >= maxLeases {
			return n, false
		}
		have = &lease{size: 1}
		l.keys[key] = have
	case have.asking:
		return n, false
	case now-have.at < l.hold:
		have.size = min(2*have.size, l.most)
	default:
		have.size = max(have.size/2, 1)
	}
	have.asking = true
	return max(n, have.size), true
}

// granted is called with what a key owes after a call for it was allowed. It returns
// that without what can still be used here.
func (l *leases) granted(c *call, debts []span) []span {
	l.mu.Lock()
	defer l.mu.Unlock()
	have := l.keys[c.key]
	have.asking = false
	have.left = 0
	if c.outcome == firstCost {
		have.left = c.first - c.n
	}
	have.at, have.debts = c.sent, append(have.debts[:0], debts...)
	return l.without(have.left, debts)
}

// failed is called when a call was refused or not decided.
func (l *leases) failed(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	have := l.keys[key]
	have.asking, have.size = false, 1
}
