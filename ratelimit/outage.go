package ratelimit

import (
	"context"
	"log/slog"
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
	// Local keeps the same limits in the memory of this process. With n processes
	// up to n times as much is allowed until the store is back.
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

// A fallible is a bucket that may fail, and what happens then.
type fallible struct {
	name    string
	remote  Bucket
	local   Bucket
	policy  Policy
	timeout time.Duration
	audit   audit.Recorder

	start   time.Time
	probeAt atomic.Int64 // when the store may be asked again, since start; 0 while it works
}

func newFallible(cfg Config, remote, local Bucket) *fallible {
	return &fallible{
		name: cfg.Name, remote: remote, local: local,
		policy: cfg.OnStoreError, timeout: cfg.StoreTimeout, audit: cfg.Audit,
		start: time.Now(),
	}
}

// Take asks the store, or decides by the policy.
func (f *fallible) Take(ctx context.Context, key string, n int) (Result, error) {
	at := f.probeAt.Load()
	if at != 0 {
		now := int64(time.Since(f.start))
		// The winner of the swap asks. It moves the time first, so that a store
		// which hangs or panics holds up one request a second and no more.
		if now < at || !f.probeAt.CompareAndSwap(at, now+int64(probeInterval)) {
			return f.decide(ctx, key, n)
		}
	}
	// A client that goes away must not look like a store that fails, and must not
	// cost the store its connection. So the decision isn't cancelled with it.
	asked, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.timeout)
	returned := false
	defer func() {
		cancel()
		if !returned { // a store that panics has failed too
			f.probeAt.CompareAndSwap(0, int64(time.Since(f.start)+probeInterval))
		}
	}()
	res, err := f.remote.Take(asked, key, n)
	returned = true
	if err == nil {
		err = asked.Err() // too late, from a store that does not keep to ctx
	}
	if err == nil {
		if at != 0 && f.probeAt.Swap(0) != 0 {
			f.record(ctx, audit.SysMonitorEnabled, slog.LevelInfo, "works again")
		}
		return res, nil
	}
	if f.probeAt.CompareAndSwap(0, int64(time.Since(f.start)+probeInterval)) {
		f.record(ctx, audit.SysMonitorDisabled, slog.LevelError, "failed, so "+f.policy.String()+" holds: "+err.Error())
	}
	return f.decide(ctx, key, n)
}

// decide applies the policy.
func (f *fallible) decide(ctx context.Context, key string, n int) (Result, error) {
	switch f.policy {
	case Local:
		return f.local.Take(ctx, key, n)
	case Allow:
		return Result{Allowed: true}, nil
	default:
		return Result{}, ErrUnavailable
	}
}

func (f *fallible) record(ctx context.Context, name string, level slog.Level, what string) {
	audit.RecordContext(ctx, f.audit, audit.Event{Name: name, Level: level, Reason: "the store of rate limit " + f.name + " " + what})
}
