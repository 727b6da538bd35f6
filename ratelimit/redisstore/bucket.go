package redisstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/ratelimit"
)

// A bucket is a ratelimit.Bucket in Redis.
type bucket struct {
	store     *Store
	names     *namer
	rates     []rate
	minBurst  int
	windows   bool // a limit is counted in windows
	calendars bool // of a calendar
	limits    atomic.Pointer[knownLimits]
	ahead     atomic.Int64 // microseconds by which the clock of Redis is thought to be
	start     time.Time

	denials *denials     // nil if there are none
	leases  *leases      // nil if there are none
	given   atomic.Int64 // how often events were given back

	mu    sync.Mutex
	lanes map[string]*lane // by the address of a node; those that have work
}

func newBucket(s *Store, name string, rates []rate) *bucket {
	b := &bucket{
		store: s, names: newNamer(s.prefix, s.hashKey, name, rates), rates: rates, minBurst: rates[0].limit.Burst,
		start: time.Now(), lanes: make(map[string]*lane),
	}
	for _, r := range rates {
		b.minBurst = min(b.minBurst, r.limit.Burst)
		b.windows = b.windows || r.windowed
		b.calendars = b.calendars || r.limit.Window.IsCalendar()
	}
	b.limits.Store(limitArgs(rates, b.start.UnixMicro()))
	b.denials = newDenials(s.maxDenials, rates)
	if !b.windows {
		b.leases = newLeases(s.lease, rates, b.minBurst)
	}
	return b
}

// Take implements ratelimit.Bucket. It takes one round trip, which decisions of other
// callers may share, or none. A caller whose context is done leaves at once; what it
// asked for may have been spent.
func (b *bucket) Take(ctx context.Context, key string, n int) (ratelimit.Result, error) {
	switch {
	case key == "":
		return ratelimit.Result{}, ratelimit.ErrNoKey
	case n == 0:
		return ratelimit.Result{}, ratelimit.ErrCost
	case n > b.minBurst:
		return ratelimit.Result{}, ratelimit.ErrCostExceedsBurst
	}
	if err := ctx.Err(); err != nil {
		return ratelimit.Result{}, failed(ctx, "Take", err)
	}
	name := b.names.name(key)
	if n < 0 {
		return b.giveBack(ctx, newCall(name, n))
	}
	now := time.Since(b.start)
	if res, ok := b.leases.serve(name, n, now); ok {
		return res, nil
	}
	if res, ok := b.denials.refuse(name, n, now); ok {
		return res, nil
	}
	return b.ask(ctx, name, n, now)
}

// ask has Redis decide, and keeps what follows from its answer.
func (b *bucket) ask(ctx context.Context, name string, n int, now time.Duration) (ratelimit.Result, error) {
	c := newCall(name, n)
	c.first, c.leasing = b.leases.want(name, n, now)
	leased := false
	defer func(leasing bool) {
		if leasing && !leased {
			b.leases.failed(name)
		}
	}(c.leasing)
	given := b.given.Load()
	if err := b.decide(ctx, c); err != nil {
		return ratelimit.Result{}, err
	}
	defer c.free()
	debts := c.debts[:len(b.rates)]
	switch {
	case c.outcome == refusedCost:
		res, short := refused(b.rates, debts, n, c.now)
		if !short {
			return ratelimit.Result{}, errReply
		}
		if given == b.given.Load() {
			b.denials.add(name, debts, c.sent, c.now)
		}
		return res, nil
	case !c.spent(b.rates):
		return ratelimit.Result{}, errReply
	}
	if c.leasing {
		leased = true
		debts = b.leases.granted(c, debts)
	}
	return allowed(b.rates, debts, c.now), nil
}

// spent reports whether what was asked for is among what the key owes.
func (c *call) spent(rates []rate) bool {
	n := c.first
	switch c.outcome {
	case nextCost:
		n = c.n
	case firstCost:
	default:
		return false
	}
	for i := range rates {
		if cost := rates[i].cost(n); cost.us > c.debts[i].us || !rates[i].windowed && cost.more(c.debts[i]) {
			return false
		}
	}
	return true
}

// Refund implements ratelimit.Refunder: what is given back of each limit is what n of the
// events are, or what all of them are less their age if that is less. Until Redis knows of
// it they may get older by Config.Timeout, so that counts as well.
func (b *bucket) Refund(ctx context.Context, key string, n, of int, age time.Duration) (ratelimit.Result, error) {
	switch {
	case key == "":
		return ratelimit.Result{}, ratelimit.ErrNoKey
	case n <= 0 || n > of:
		return ratelimit.Result{}, ratelimit.ErrCost
	}
	if err := ctx.Err(); err != nil {
		return ratelimit.Result{}, failed(ctx, "Refund", err)
	}
	c := newCall(b.names.name(key), -n)
	c.back = make([]span, len(b.rates))
	for i := range b.rates {
		c.back[i] = b.rates[i].refund(n, of, age+b.store.timeout)
	}
	return b.giveBack(ctx, c)
}

var _ ratelimit.Refunder = (*bucket)(nil)

// giveBack has events given back. It is never sent twice.
func (b *bucket) giveBack(ctx context.Context, c *call) (ratelimit.Result, error) {
	name := c.key
	// A refusal that was decided before must not be remembered after.
	b.given.Add(1)
	defer func() {
		b.given.Add(1)
		b.denials.forget(name)
	}()
	if err := b.decide(ctx, c); err != nil {
		return ratelimit.Result{}, err
	}
	defer c.free()
	if c.outcome != firstCost {
		return ratelimit.Result{}, errReply
	}
	return allowed(b.rates, c.debts[:len(b.rates)], c.now), nil
}

var (
	errReply = errors.New("redisstore: Take: an unexpected reply")
	errValue = errors.New("redisstore: Take: the key has a value that no store has written")
	errLate  = errors.New("redisstore: Take: no answer within Config.Timeout")
)

// failed is the error of a call. It wraps that of ctx alone, since what the client
// says must not be taken for another package's verdict.
func failed(ctx context.Context, what string, err error) error {
	if done := ctx.Err(); done != nil {
		return fmt.Errorf("redisstore: %s: %w (%v)", what, done, err)
	}
	return fmt.Errorf("redisstore: %s: %v", what, err)
}
