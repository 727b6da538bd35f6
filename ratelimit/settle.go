package ratelimit

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"github.com/sallyport/sallyport/internal/scope"
)

// A Reservation is what something was counted as before it was known what it costs.
// It is safe for concurrent use.
type Reservation struct {
	limiter *Limiter
	tier    *tier
	key     string
	next    *Reservation // of a limiter above

	mu sync.Mutex
	n  int // what is counted now
}

// Errors of settling.
var (
	// ErrNoReservation is returned by Limiter.Settle for a request that the limiter
	// has not counted, or whose Config.SettleLater is not set.
	ErrNoReservation = errors.New("ratelimit: there is nothing to settle")
	// ErrNegativeCost is returned for a settled cost below 0.
	ErrNegativeCost = errors.New("ratelimit: the cost is negative")
)

// Reserve is [Limiter.Take] for what may turn out to cost more or less than n. The
// Reservation is nil if n was not allowed; one that is never settled stands.
func (l *Limiter) Reserve(ctx context.Context, key string, n int) (*Reservation, Result, error) {
	res, err := l.Take(ctx, key, n)
	if err != nil || !res.Allowed {
		return nil, res, err
	}
	return &Reservation{limiter: l, tier: &l.tier, key: key, n: n}, res, nil
}

// Settle changes what was counted to n, and may be called again if n is found to be
// another. What was reserved and not used is given back. What was used beyond is taken
// as far as there is any: it has been used, so it is never refused, and a key that has
// nothing left does not get into debt. An n of 0 gives back all.
//
// It returns ErrNegativeCost, or what Limiter.Take returns where the store fails. What
// could not be settled is counted as it was.
func (r *Reservation) Settle(ctx context.Context, n int) (Result, error) {
	if n < 0 {
		return Result{}, ErrNegativeCost
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case n < r.n:
		res, err := r.tier.bucket.Take(ctx, r.key, n-r.n)
		if err == nil {
			r.n = n
		}
		return res, err
	case n == r.n:
		return Result{Allowed: true}, nil
	}
	extra := min(n-r.n, r.tier.minBurst)
	for {
		res, err := r.tier.bucket.Take(ctx, r.key, extra)
		if err != nil {
			return res, err
		}
		if res.Allowed {
			r.n = n
			return res, nil
		}
		// The result is about one limit; another may have even less.
		if extra = min(extra-1, res.Remaining); extra <= 0 {
			r.n = n
			return res, nil
		}
	}
}

// Settle is [Reservation.Settle] for the request whose context ctx is, or is made from.
// A handler below a limiter with Config.SettleLater calls it:
//
//	tokens, err := answer(w, r)
//	…
//	_, err = limiter.Settle(r.Context(), tokens)
//
// The RateLimit fields of the answer tell what was reserved. It returns ErrNoReservation
// if the limiter has not counted the request.
func (l *Limiter) Settle(ctx context.Context, n int) (Result, error) {
	if s := scope.From(ctx); s != nil {
		first, _ := s.Costs.(*Reservation)
		for r := first; r != nil; r = r.next {
			if r.limiter == l {
				return r.Settle(ctx, n)
			}
		}
	}
	return Result{}, ErrNoReservation
}

// reserve notes what r was counted as, for Settle.
func (d *decision) reserve(l *Limiter, r *http.Request) *http.Request {
	s, r := scope.For(r)
	above, _ := s.Costs.(*Reservation)
	s.Costs = &Reservation{limiter: l, tier: d.tier, key: d.key, n: d.n, next: above}
	return r
}
