package ratelimit

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/audit"
)

// A Policy says what to do with a request that the store can't decide on. A
// store has failed if it returns an error or takes longer than
// Config.StoreTimeout. From then on it is asked once a second, by one request,
// until it answers; all others are decided by the policy at once. The failure and
// the recovery are one audit event each.
type Policy int

const (
	// Local keeps the same limits in the memory of this process, at the share of their
	// rate that Config.Instances says. Without that, n processes allow up to n times as
	// much until the store is back.
	Local Policy = iota
	// Allow lets everything through, as if there were no limit.
	Allow
	// Deny answers 503 with Retry-After.
	Deny
)

// String returns the policy's name.
func (p Policy) String() string {
	switch p {
	case Local:
		return "Local"
	case Allow:
		return "Allow"
	case Deny:
		return "Deny"
	default:
		return "unknown policy"
	}
}

// probeInterval is how often a store that failed is asked whether it works.
const probeInterval = time.Second

// An outage is what is known about a store that may fail: whether it works, and
// when to ask it again if it does not.
type outage struct {
	store   string // what it is, for the events
	instead string // what holds while it fails
	timeout time.Duration
	audit   audit.Recorder

	start   time.Time
	probeAt atomic.Int64 // when the store may be asked again, since start; 0 while it works
}

// ask calls f, which asks the store, and reports whether the store has decided. If
// it has failed before and is not to be asked yet, f is not called.
func (o *outage) ask(ctx context.Context, f func(ctx context.Context) error) bool {
	at := o.probeAt.Load()
	if at != 0 {
		now := int64(time.Since(o.start))
		// The winner of the swap asks. It moves the time first, so that a store
		// which hangs or panics holds up one request a second and no more.
		if now < at || !o.probeAt.CompareAndSwap(at, now+int64(probeInterval)) {
			return false
		}
	}
	// A client that goes away must not look like a store that fails, and must not
	// cost the store its connection. So the decision isn't cancelled with it.
	asked, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.timeout)
	returned := false
	defer func() {
		cancel()
		if !returned { // a store that panics has failed too
			o.probeAt.CompareAndSwap(0, int64(time.Since(o.start)+probeInterval))
		}
	}()
	err := f(asked)
	returned = true
	if err == nil {
		err = asked.Err() // too late, from a store that does not keep to ctx
	}
	if err == nil {
		if at != 0 && o.probeAt.Swap(0) != 0 {
			o.record(ctx, audit.SysMonitorEnabled, slog.LevelInfo, "works again")
		}
		return true
	}
	if o.probeAt.CompareAndSwap(0, int64(time.Since(o.start)+probeInterval)) {
		o.record(ctx, audit.SysMonitorDisabled, slog.LevelError, "failed, so "+o.instead+" holds: "+err.Error())
	}
	return false
}

func (o *outage) record(ctx context.Context, name string, level slog.Level, what string) {
	audit.RecordContext(ctx, o.audit, audit.Event{Name: name, Level: level, Reason: "the store of " + o.store + " " + what})
}

// A fallible is a bucket that may fail, and what happens then.
type fallible struct {
	outage
	remote Bucket
	local  *memoryBucket
	policy Policy
	limits []Limit // as they are
	shares []Limit // as local has them
}

func newFallible(cfg Config, name string, remote Bucket, local *memoryBucket, limits, shares []Limit) *fallible {
	return &fallible{
		outage: outage{
			store: "rate limit " + name, instead: cfg.OnStoreError.String(),
			timeout: cfg.StoreTimeout, audit: cfg.Audit, start: time.Now(),
		},
		remote: remote, local: local, policy: cfg.OnStoreError, limits: limits, shares: shares,
	}
}

// Take asks the store, or decides by the policy.
func (f *fallible) Take(ctx context.Context, key string, n int) (Result, error) {
	res, _, _, err := f.takeFrom(ctx, key, n)
	return res, err
}

// takeFrom is Take, and tells which bucket has counted, nil if none has, and whether that
// was in an overflow slot.
func (f *fallible) takeFrom(ctx context.Context, key string, n int) (res Result, from Bucket, shared bool, err error) {
	if f.ask(ctx, func(ctx context.Context) (err error) {
		res, err = f.remote.Take(ctx, key, n)
		return err
	}) {
		return res, f.remote, false, nil
	}
	switch f.policy {
	case Local:
		shared = f.local.take(&res, key, n)
		if i := slices.Index(f.shares, res.Limit); i >= 0 {
			res.Limit = f.limits[i] // which clients know
		}
		return res, f.local, shared, nil
	case Allow:
		return Result{Allowed: true}, nil, false, nil
	default:
		return Result{}, nil, false, ErrUnavailable
	}
}
