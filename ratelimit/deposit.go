package ratelimit

import (
	"context"
	"time"
)

// A deposit is what was counted at one time in one place, so that it can be given back:
// there, and as far as it counts still. What time has given back already must not be
// given back once more, since it would be what others have taken since.
type deposit struct {
	bucket Bucket // that has counted; nil if none has
	shared bool   // it was counted in the overflow slot of a Memory, which gives nothing back
	n      int
	at     time.Time // before it was counted
}

// deposit is Bucket.Take, and keeps where and when. n was checked.
func (t *tier) deposit(ctx context.Context, key string, n int) (res Result, d deposit, err error) {
	d = deposit{n: n, at: time.Now()}
	if t.memory != nil {
		d.bucket, d.shared = t.memory, t.memory.take(&res, key, n)
		return res, d, nil
	}
	res, d.bucket, d.shared, err = t.bucket.(*fallible).takeFrom(ctx, key, n) //nolint:forcetypeassert // open makes no other
	return res, d, err
}

// giveBack gives n of d back, and keeps that in mind first: an error doesn't say that
// nothing was given back, so it is never tried again.
func (d *deposit) giveBack(ctx context.Context, t *tier, key string, n int) (Result, error) {
	of := d.n
	d.n -= n
	if d.bucket == nil || d.shared {
		return Result{Allowed: true}, nil
	}
	if m, ok := d.bucket.(*memoryBucket); ok {
		return m.Refund(ctx, key, n, of, time.Since(d.at))
	}
	f := t.bucket.(*fallible) //nolint:forcetypeassert // d.bucket is its remote one
	r, ok := f.remote.(Refunder)
	if !ok {
		for i := range t.quotas {
			n = min(n, t.quotas[i].owed(n, of, d.at))
		}
		if n <= 0 {
			return Result{Allowed: true}, nil
		}
	}
	var res Result
	if !f.ask(ctx, func(ctx context.Context) (err error) {
		if r != nil {
			res, err = r.Refund(ctx, key, n, of, time.Since(d.at))
		} else {
			res, err = f.remote.Take(ctx, key, -n)
		}
		return err
	}) {
		return Result{}, ErrUnavailable
	}
	return res, nil
}

// owed returns how many whole ones of n events, of so many that were counted at a time,
// certainly count still.
func (r *rate) owed(n, of int, at time.Time) int {
	switch {
	case r.limit.Window.IsCalendar():
		if start, _ := r.limit.Window.Bounds(time.Now()); at.Before(start) {
			return 0
		}
		return n
	case r.limit.Window.IsSliding():
		return 0 // the store knows when its windows begin, and nobody else
	}
	return min(n, r.whole(r.refund(n, of, time.Since(at))))
}
