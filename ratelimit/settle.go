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
	tier    *tier // nil for a request that was not counted
	key     string
	next    *Reservation // of a limiter above

	mu       sync.Mutex
	n        int // what was said last
	untaken  int // how much of that was not counted, since there was not as much
	deposits []deposit
	first    [1]deposit
}

func newReservation(l *Limiter, t *tier, key string, n int, d *deposit) *Reservation {
	r := &Reservation{limiter: l, tier: t, key: key, n: n}
	if d == nil {
		r.untaken = n
		return r
	}
	r.first[0] = *d
	r.deposits = r.first[:]
	return r
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
	if err := l.check(key, n); err != nil {
		return nil, Result{}, err
	}
	res, d, err := l.deposit(ctx, key, n)
	if err != nil || !res.Allowed {
		return nil, res, err
	}
	return newReservation(l, &l.tier, key, n, &d), res, nil
}

// Settle changes what was counted to n, and may be called again if n is found to be
// another. An n of 0 gives back all.
//
// What was reserved and not used is given back where it was counted, and as far as it
// counts still: what the key has regained since, or in a window that is over, it has had
// already. What was used beyond is taken as far as there is any: it has been used, so it is
// never refused, and a key that has nothing left does not get into debt.
//
// It returns ErrNegativeCost, or what Limiter.Take returns where the store fails. Nothing
// is tried again then, since the store may have done it: what was to be given back counts
// as given back, and what was to be taken as not taken.
func (r *Reservation) Settle(ctx context.Context, n int) (Result, error) {
	switch {
	case n < 0:
		return Result{}, ErrNegativeCost
	case r.tier == nil:
		return Result{}, ErrNoReservation
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	more := n - r.n
	r.n = n
	switch {
	case more < 0:
		return r.giveBack(ctx, -more)
	case more > 0:
		return r.take(ctx, more)
	}
	return Result{Allowed: true}, nil
}

// giveBack gives n back, what was never counted first and what was counted last next.
func (r *Reservation) giveBack(ctx context.Context, n int) (res Result, err error) {
	res.Allowed = true
	skip := min(n, r.untaken)
	r.untaken -= skip
	n -= skip
	for i := len(r.deposits) - 1; i >= 0 && n > 0; i-- {
		d := &r.deposits[i]
		if part := min(n, d.n); part > 0 {
			n -= part
			if res, err = d.giveBack(ctx, r.tier, r.key, part); err != nil {
				return Result{}, err
			}
		}
		if d.n == 0 { // so that settling again and again keeps nothing
			r.deposits = r.deposits[:i]
		}
	}
	return res, nil
}

// take takes n, or what there is.
func (r *Reservation) take(ctx context.Context, n int) (Result, error) {
	r.untaken += n
	for ask := min(n, r.tier.minBurst); ; {
		res, d, err := r.tier.deposit(ctx, r.key, ask)
		if err != nil {
			return res, err
		}
		if res.Allowed {
			r.untaken -= ask
			r.deposits = append(r.deposits, d)
			return res, nil
		}
		// The result is about one limit; another may have even less.
		if ask = min(ask-1, res.Remaining); ask <= 0 {
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
	if r := l.reservation(ctx); r != nil {
		return r.Settle(ctx, n)
	}
	return Result{}, ErrNoReservation
}

// reservation returns the nearest one of l.
func (l *Limiter) reservation(ctx context.Context) *Reservation {
	s := scope.From(ctx)
	if s == nil {
		return nil
	}
	first, _ := s.Costs.(*Reservation)
	for r := first; r != nil; r = r.next {
		if r.limiter == l {
			return r
		}
	}
	return nil
}

// reserve notes what r was counted as, for Settle.
func (d *decision) reserve(l *Limiter, r *http.Request) *http.Request {
	if d.key == "" || d.n <= 0 { // in shadow: nobody can tell whose it is, or what it costs
		return note(&Reservation{limiter: l}, r)
	}
	return note(newReservation(l, d.tier, d.key, d.n, d.kept), r)
}

// exempt notes that r was not counted, if it is made from a request that was: what that
// costs is not for this one to settle.
func (l *Limiter) exempt(r *http.Request) *http.Request {
	if !l.settleLater || l.reservation(r.Context()) == nil {
		return r
	}
	return note(&Reservation{limiter: l}, r)
}

func note(one *Reservation, r *http.Request) *http.Request {
	s, r := scope.For(r)
	one.next, _ = s.Costs.(*Reservation)
	s.Costs = one
	return r
}
