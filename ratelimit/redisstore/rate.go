package redisstore

import (
	"fmt"
	"math"
	"math/bits"
	"time"

	"github.com/sallyport/sallyport/ratelimit"
)

// A rate is a checked limit and its arithmetic, which is exact: that of the memory
// store of package ratelimit in the unit of the clock of Redis, the microsecond.
// Per/Events is p/e microseconds in lowest terms, so that times are counted in whole
// microseconds and parts of 1/e of one.
//
// A limit that is counted in windows has no rate, and in place of spans it has pairs of
// numbers: the events counted in the window of a calendar and when that began, or those of
// the current sliding window and of the one before. See the script.
type rate struct {
	limit    ratelimit.Limit // with Burst set
	windowed bool
	p, e     uint64
	interval span // of one event
	window   span // of Burst events
}

// A span is us + frac/e microseconds, where e is that of the rate and frac < e; or a pair of
// numbers of a window.
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
	case l.Events <= 0:
		return rate{}, fmt.Errorf("%s.Events is %d, so nothing can ever be allowed", field, l.Events)
	case l.Per <= 0:
		return rate{}, fmt.Errorf("%s.Per is %s, not a span of time", field, l.Per)
	case l.Burst < 0:
		return rate{}, fmt.Errorf("%s.Burst is %d, so nothing can ever be allowed", field, l.Burst)
	case l.Burst == 0:
		l.Burst = l.Events
	}
	if l.Window != (ratelimit.Window{}) {
		return compileWindow(field, l)
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

// compileWindow is compileRate for a limit that is counted in windows.
func compileWindow(field string, l ratelimit.Limit) (rate, error) {
	const most = 1<<31 - 1 // see the script
	switch {
	case !l.Window.IsCalendar() && !l.Window.IsSliding():
		return rate{}, fmt.Errorf("%s.Window is %q, and this store does not count in such", field, l.Window)
	case l.Window == ratelimit.PerCalendarDay(1, time.Local).Window, l.Window == ratelimit.PerCalendarMonth(1, time.Local).Window:
		return rate{}, fmt.Errorf("%s.Window is by time.Local, which is another zone on another machine: name one", field)
	case l.Burst != l.Events:
		return rate{}, fmt.Errorf("%s.Burst is %d, but in a window all %d events may come at once", field, l.Burst, l.Events)
	case l.Events > most:
		return rate{}, fmt.Errorf("%s.Events is %d, more than %d for a window", field, l.Events, most)
	case l.Window.IsSliding() && l.Per%time.Microsecond != 0:
		return rate{}, fmt.Errorf("%s.Per is %s: a sliding window in Redis takes whole microseconds", field, l.Per)
	case l.Window.IsSliding() && l.Per > longestSliding:
		return rate{}, fmt.Errorf("%s.Per is %s, more than %s for a sliding window", field, l.Per, longestSliding)
	}
	return rate{limit: l, windowed: true, e: 1}, nil
}

// longestSliding has less than 2⁴⁹ microseconds, see the script.
const longestSliding = 10 * 365 * 24 * time.Hour

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
	case r.windowed && n < 0:
		return span{us: uint64(min(-max(n, -math.MaxInt), r.limit.Burst))} //nolint:gosec // not negative
	case r.windowed:
		return span{us: uint64(n)} //nolint:gosec // not negative
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
	if r.windowed {
		return span{us: uint64(min(n, r.limit.Burst)), frac: gone.us + 1} //nolint:gosec // not negative
	}
	back, still := r.cost(min(n, r.limit.Burst)), r.sub(r.cost(min(of, r.limit.Burst)), gone)
	if back.more(still) {
		return still
	}
	return back
}

// can reports whether a key can owe so much, or have such counts.
func (r *rate) can(debt span) bool {
	most := uint64(r.limit.Events) //nolint:gosec // positive
	switch {
	case !r.windowed:
		return debt.frac < r.e && !debt.more(r.window)
	case r.limit.Window.IsCalendar():
		return debt.us <= most
	}
	return debt.us <= most && debt.frac <= most
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
// for the longest time. For windows now is the clock of Redis.
func refused(rates []rate, debts []span, n int, now int64) (res ratelimit.Result, short bool) {
	for i := range rates {
		if one, lacks := rates[i].refusal(debts[i], n, now); lacks && one.RetryAfter > res.RetryAfter {
			res, short = one, true
		}
	}
	return res, short
}

// allowed returns the answer to a request after which a key has these debts. It tells
// about the limit of which the smallest part is left.
func allowed(rates []rate, debts []span, now int64) ratelimit.Result {
	var tightest ratelimit.Result
	for i := range rates {
		if res := rates[i].left(debts[i], now); i == 0 || smaller(res, tightest) {
			tightest = res
		}
	}
	return tightest
}

// refusal returns the refusal of n events, if there are too few of this limit.
func (r *rate) refusal(debt span, n int, now int64) (res ratelimit.Result, lacks bool) {
	switch {
	case r.limit.Window.IsCalendar():
		count, ends := r.inCalendar(debt, now)
		if count+n <= r.limit.Events {
			return res, false
		}
		return ratelimit.Result{Limit: r.limit, Remaining: r.limit.Events - count, RetryAfter: ends, ResetAfter: ends}, true
	case r.windowed:
		res = r.inSliding(debt, now, n)
		return res, !res.Allowed
	}
	after := r.add(debt, r.cost(n))
	if !after.more(r.window) {
		return res, false
	}
	wait := r.duration(r.sub(after, r.window))
	return ratelimit.Result{Limit: r.limit, Remaining: r.remaining(debt), RetryAfter: wait, ResetAfter: r.duration(debt)}, true
}

// left returns what is left of this limit.
func (r *rate) left(debt span, now int64) ratelimit.Result {
	switch {
	case r.limit.Window.IsCalendar():
		res := ratelimit.Result{Allowed: true, Limit: r.limit}
		count, ends := r.inCalendar(debt, now)
		if res.Remaining = r.limit.Events - count; count > 0 {
			res.ResetAfter = ends
		}
		return res
	case r.windowed:
		return r.inSliding(debt, now, 0)
	}
	return ratelimit.Result{Allowed: true, Limit: r.limit, Remaining: r.remaining(debt), ResetAfter: r.duration(debt)}
}

// inCalendar returns what was counted in the window of a calendar, and when that ends. If it
// is over by now, nothing was.
func (r *rate) inCalendar(pair span, now int64) (count int, ends time.Duration) {
	_, end := r.limit.Window.Bounds(time.UnixMicro(int64(pair.frac))) //nolint:gosec // of 16 digits
	if left := end.UnixMicro() - now; left > 0 {
		return int(pair.us), time.Duration(left) * time.Microsecond //nolint:gosec // at most Events
	}
	return 0, 0
}

// later returns what a pair of a window is at a later time. What was counted in the window of
// a calendar stays, and is over when that is.
func (r *rate) later(pair span, then, now int64) span {
	if r.limit.Window.IsCalendar() {
		return pair
	}
	per := r.limit.Per.Microseconds()
	switch now/per - then/per {
	case 0:
		return pair
	case 1:
		return span{frac: pair.us}
	}
	return span{}
}

// inSliding returns the refusal of n events, or what is left if there are as many.
func (r *rate) inSliding(pair span, now int64, n int) ratelimit.Result {
	per := r.limit.Per.Microseconds()
	res := r.limit.SlidingResult(int(pair.us), int(pair.frac), time.Duration(now%per)*time.Microsecond, n) //nolint:gosec // at most Events each
	// The clock of Redis shows whole microseconds.
	res.RetryAfter = (res.RetryAfter + time.Microsecond - 1).Truncate(time.Microsecond)
	return res
}

// smaller reports whether a smaller part of its limit is left of a than of b.
func smaller(a, b ratelimit.Result) bool {
	ahi, alo := bits.Mul64(uint64(a.Remaining), uint64(b.Limit.Burst)) //nolint:gosec // neither is negative
	bhi, blo := bits.Mul64(uint64(b.Remaining), uint64(a.Limit.Burst)) //nolint:gosec // neither is negative
	return ahi < bhi || ahi == bhi && alo < blo
}
