package redisstore

import (
	"fmt"
	"math/bits"
	"time"

	"github.com/sallyport/sallyport/ratelimit"
)

// A rate is a checked limit and its arithmetic, which is exact: that of the memory
// store of package ratelimit in the unit of the clock of Redis, the microsecond.
// Per/Events is p/e microseconds in lowest terms, so that times are counted in whole
// microseconds and parts of 1/e of one.
type rate struct {
	limit    ratelimit.Limit // with Burst set
	p, e     uint64
	interval span // of one event
	window   span // of Burst events
}

// A span is us + frac/e microseconds, where e is that of the rate and frac < e.
type span struct{ us, frac uint64 }

// Numbers of Lua hold whole numbers up to 2⁵³ exactly. So the clock, what a key owes,
// and the parts of a microsecond may be half of that each: their sums are exact.
const (
	maxWindow = 1 << 52 // microseconds, about 142 years; the clock is there in 2112
	maxParts  = 1 << 52
)

// compileRate checks l, which is called field in errors.
func compileRate(field string, l ratelimit.Limit) (rate, error) {
	switch {
	case l != ratelimit.Limit{Events: l.Events, Per: l.Per, Burst: l.Burst}:
		return rate{}, fmt.Errorf("%s.Window is %q, and this store counts in none: use Events per Per with a Burst", field, l.Window)
	case l.Events <= 0:
		return rate{}, fmt.Errorf("%s.Events is %d, so nothing can ever be allowed", field, l.Events)
	case l.Per <= 0:
		return rate{}, fmt.Errorf("%s.Per is %s, not a span of time", field, l.Per)
	case l.Burst < 0:
		return rate{}, fmt.Errorf("%s.Burst is %d, so nothing can ever be allowed", field, l.Burst)
	case l.Burst == 0:
		l.Burst = l.Events
	}
	p, e := lowest(uint64(l.Per), uint64(l.Events)) //nolint:gosec // both are positive
	p, thousand := lowest(p, uint64(time.Microsecond))
	over, e := bits.Mul64(e, thousand)
	if over > 0 || e > maxParts {
		return rate{}, fmt.Errorf("%s.Events is %d per %s, too many to be counted exactly: up to %d always are", field, l.Events, l.Per, maxParts/1000)
	}
	r := rate{limit: l, p: p, e: e}
	if hi, _ := bits.Mul64(uint64(l.Burst), p); hi < e { //nolint:gosec // Burst is positive; or the window is no uint64
		r.interval, r.window = r.span(1), r.span(l.Burst)
		if r.window.us < maxWindow {
			return r, nil
		}
	}
	return rate{}, fmt.Errorf("%s.Burst takes 142 years or more to be regained at this rate", field)
}

// lowest returns a/b, both positive, in lowest terms.
func lowest(a, b uint64) (p, e uint64) {
	p, e = a, b
	for b != 0 {
		a, b = b, a%b
	}
	return p / a, e / a
}

// span returns the time that n events take, for 0 <= n <= Burst.
func (r *rate) span(n int) span {
	hi, lo := bits.Mul64(uint64(n), r.p) //nolint:gosec // n is not negative
	us, frac := bits.Div64(hi, lo, r.e)
	return span{us, frac}
}

// cost is span for what is spent, or given back if n is negative: no more than Burst.
func (r *rate) cost(n int) span {
	switch {
	case n == 1:
		return r.interval
	case n < -r.limit.Burst:
		return r.window
	case n < 0:
		return r.span(-n)
	}
	return r.span(n)
}

// refund returns what n of so many events are that were counted together so long ago, as
// far as they are certainly owed still.
func (r *rate) refund(n, of int, age time.Duration) span {
	// The clock of Redis shows whole microseconds, one of which may have begun before.
	gone := span{us: uint64(max(0, age)/time.Microsecond) + 2} //nolint:gosec // not negative
	back, still := r.cost(min(n, r.limit.Burst)), r.sub(r.cost(min(of, r.limit.Burst)), gone)
	if back.more(still) {
		return still
	}
	return back
}

func (a span) more(b span) bool { return a.us > b.us || a.us == b.us && a.frac > b.frac }

func (r *rate) add(a, b span) span {
	a.us, a.frac = a.us+b.us, a.frac+b.frac
	if a.frac >= r.e {
		a.us, a.frac = a.us+1, a.frac-r.e
	}
	return a
}

// sub returns a - b, or nothing if b is more.
func (r *rate) sub(a, b span) span {
	switch {
	case b.more(a):
		return span{}
	case a.frac < b.frac:
		return span{a.us - b.us - 1, a.frac + r.e - b.frac}
	}
	return span{a.us - b.us, a.frac - b.frac}
}

// remaining returns how many events are left to a key with this debt, which is no
// more than the window.
func (r *rate) remaining(debt span) int {
	left := r.sub(r.window, debt)
	hi, lo := bits.Mul64(left.us, r.e)
	lo, carry := bits.Add64(lo, left.frac, 0)
	n, _ := bits.Div64(hi+carry, lo, r.p)
	return int(n) //nolint:gosec // at most Burst
}

// duration returns a in nanoseconds, rounded up.
func (r *rate) duration(a span) time.Duration {
	const unit = uint64(time.Microsecond)
	return time.Duration(a.us*unit + (a.frac*unit+r.e-1)/r.e) //nolint:gosec // below 2⁶³, as maxWindow and maxParts are below 2⁵³
}

// refused returns the answer to a request for n events of a key with these debts, and
// whether there are too few of some limit: then it tells about the one that lacks them
// for the longest time.
func refused(rates []rate, debts []span, n int) (res ratelimit.Result, short bool) {
	for i := range rates {
		r := &rates[i]
		after := r.add(debts[i], r.cost(n))
		if !after.more(r.window) {
			continue
		}
		if wait := r.duration(r.sub(after, r.window)); wait > res.RetryAfter {
			short = true
			res = ratelimit.Result{Limit: r.limit, Remaining: r.remaining(debts[i]), RetryAfter: wait, ResetAfter: r.duration(debts[i])}
		}
	}
	return res, short
}

// allowed returns the answer to a request after which a key has these debts. It tells
// about the limit of which the smallest part is left.
func allowed(rates []rate, debts []span) ratelimit.Result {
	var tightest ratelimit.Result
	for i := range rates {
		r := &rates[i]
		res := ratelimit.Result{Allowed: true, Limit: r.limit, Remaining: r.remaining(debts[i]), ResetAfter: r.duration(debts[i])}
		if i == 0 || smaller(res, tightest) {
			tightest = res
		}
	}
	return tightest
}

// smaller reports whether a smaller part of its limit is left of a than of b.
func smaller(a, b ratelimit.Result) bool {
	ahi, alo := bits.Mul64(uint64(a.Remaining), uint64(b.Limit.Burst)) //nolint:gosec // neither is negative
	bhi, blo := bits.Mul64(uint64(b.Remaining), uint64(a.Limit.Burst)) //nolint:gosec // neither is negative
	return ahi < bhi || ahi == bhi && alo < blo
}
