package ratelimit

import (
	"fmt"
	"math/bits"
	"time"
)

// A rate is a checked Limit and its arithmetic, which is exact.
//
// Per/Events is rarely a whole number of nanoseconds: for 3 per second it is
// 333,333,333⅓. Rounding it would let the real rate drift, so times are counted
// in whole nanoseconds and parts of 1/e of one, where p/e is the interval in
// lowest terms. Most limits have e = 1.
type rate struct {
	limit    Limit  // with Burst set
	p, e     uint64 // the interval between events is p/e nanoseconds
	interval span   // of one event
	window   span   // of Burst events
}

// A span is ns + frac/e nanoseconds, where e is that of the rate and frac < e.
// Since e is at most the largest int, two fracs add up without overflow.
type span struct {
	ns   int64
	frac uint64
}

// maxWindow bounds the debt that a key may have. It is about 146 years. As the
// clock of a store stays below it too, the sum of both is an int64.
const maxWindow = 1 << 62

// compileRate checks l. Its errors begin with the name of the field that l is.
func compileRate(field string, l Limit) (rate, error) {
	switch {
	case l.Events <= 0:
		return rate{}, fmt.Errorf("%s.Events is %d, so nothing can ever be allowed", field, l.Events)
	case l.Per <= 0:
		return rate{}, fmt.Errorf("%s.Per is %s, not a span of time", field, l.Per)
	case l.Burst < 0:
		return rate{}, fmt.Errorf("%s.Burst is %d, so nothing can ever be allowed", field, l.Burst)
	}
	if err := l.Window.check(l); err != nil {
		return rate{}, fmt.Errorf("%s%w", field, err)
	}
	if l.Burst == 0 {
		l.Burst = l.Events
	}
	p, e := uint64(l.Per), uint64(l.Events) //nolint:gosec // both are positive
	d := gcd(p, e)
	r := rate{limit: l, p: p / d, e: e / d}
	hi, _ := bits.Mul64(uint64(l.Burst), r.p) //nolint:gosec // Burst is positive
	possible := hi < r.e                      // or the window is no uint64
	if possible {
		r.interval, r.window = r.span(1), r.span(l.Burst)
		possible = r.window.ns >= 0 && r.window.ns < maxWindow
	}
	if !possible {
		return rate{}, fmt.Errorf("%s.Burst takes 146 years or more to be regained at this rate", field)
	}
	return r, nil
}

// gcd returns the greatest common divisor of two positive numbers.
func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// span returns the time that n events take, for 0 <= n <= Burst.
func (r *rate) span(n int) span {
	hi, lo := bits.Mul64(uint64(n), r.p) //nolint:gosec // n is not negative
	ns, frac := bits.Div64(hi, lo, r.e)
	return span{int64(ns), frac} //nolint:gosec // at most maxWindow, see compileRate
}

// cost is span without a division for the usual n.
func (r *rate) cost(n int) span {
	if n == 1 {
		return r.interval
	}
	return r.span(n)
}

// debt returns how far tat, the time at which the key owes nothing any more
// (the theoretical arrival time), lies ahead of now. A tat in the past is no
// debt, so it equals having no state at all.
func (r *rate) debt(tat span, now int64) span {
	if tat.ns < now {
		return span{}
	}
	return span{tat.ns - now, tat.frac}
}

func (r *rate) add(a, b span) span {
	s := span{a.ns + b.ns, a.frac + b.frac}
	if s.frac >= r.e {
		s.ns++
		s.frac -= r.e
	}
	return s
}

// sub returns a - b, for a >= b.
func (r *rate) sub(a, b span) span {
	s := span{a.ns - b.ns, a.frac - b.frac}
	if a.frac < b.frac {
		s.ns--
		s.frac += r.e
	}
	return s
}

// back returns what -n events are, as far as they can be owed.
func (r *rate) back(n int) span {
	if n > -r.limit.Burst {
		return r.cost(-n)
	}
	return r.window
}

// refund returns what n of so many events are that were counted together so long ago, as
// far as they are certainly owed still: what a key owes is paid in the order in which it
// came, and of these events those that are not given back came first.
func (r *rate) refund(n, of int, age time.Duration) span {
	back, still, gone := r.cost(n), r.cost(of), span{ns: int64(max(0, age))}
	if !still.more(gone) {
		return span{}
	}
	if still = r.sub(still, gone); back.more(still) {
		return still
	}
	return back
}

// less returns the debt that is left after some was given back.
func (r *rate) less(debt, back span) span {
	if debt.more(back) {
		return r.sub(debt, back)
	}
	return span{}
}

func (a span) more(b span) bool {
	return a.ns > b.ns || a.ns == b.ns && a.frac > b.frac
}

// remaining returns how many events are left to a key with this debt.
func (r *rate) remaining(debt span) int { return r.whole(r.sub(r.window, debt)) }

// whole returns how many whole events a span within the window is.
func (r *rate) whole(left span) int {
	if r.e == 1 {
		return int(uint64(left.ns) / r.p) //nolint:gosec // not negative, and at most Burst
	}
	hi, lo := bits.Mul64(uint64(left.ns), r.e) //nolint:gosec // not negative: no debt exceeds the window
	lo, carry := bits.Add64(lo, left.frac, 0)
	n, _ := bits.Div64(hi+carry, lo, r.p)
	return int(n) //nolint:gosec // at most Burst
}

// allowed writes the result for a key that has this debt after it was allowed.
// It writes field by field into where the result belongs, since each copy of a
// Result that was just made costs as much as the rest of the arithmetic.
func (r *rate) allowed(res *Result, debt span) {
	res.Allowed = true
	res.Limit.Events, res.Limit.Per, res.Limit.Burst, res.Limit.Window = r.limit.Events, r.limit.Per, r.limit.Burst, Window{}
	res.Remaining = r.remaining(debt)
	res.RetryAfter = 0
	res.ResetAfter = debt.duration()
}

// refused writes the result for a key that has this debt, and would have more
// than the window if it were allowed.
func (r *rate) refused(res *Result, debt, after span) {
	r.allowed(res, debt)
	res.Allowed = false
	res.RetryAfter = r.sub(after, r.window).duration()
}

// duration returns a, rounded up to the next nanosecond.
func (a span) duration() time.Duration {
	if a.frac > 0 {
		a.ns++
	}
	return time.Duration(a.ns)
}
