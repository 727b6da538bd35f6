package ratelimit

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// A calendarCache has the window that was looked at last, since finding one takes
// longer than a decision. It is safe for concurrent use.
type calendarCache struct {
	last atomic.Pointer[calendarBounds]
}

// calendarBounds are those of a window, in nanoseconds since 1970.
type calendarBounds struct{ start, end int64 }

func (c *calendarCache) at(w Window, wall int64) calendarBounds {
	if b := c.last.Load(); b != nil && b.start <= wall && wall < b.end {
		return *b
	}
	start, end := w.Bounds(time.Unix(0, wall))
	b := calendarBounds{start.UnixNano(), end.UnixNano()}
	c.last.Store(&b)
	return b
}

// A calendarCount is what was counted in a window of a calendar.
type calendarCount struct {
	calendarBounds
	wall  int64
	count int64
}

// inCalendar returns what is counted now. A state of a window that is over counts
// nothing. One of a window that has not begun, since the clock was set back, goes on: a
// key that has its slot still has no quota twice. (A slot may be given away while the
// clock is ahead, since what stands in it is over then.)
func (l *memoryLimit) inCalendar(state []int64, at moment) calendarCount {
	c := calendarCount{l.calendar.at(l.limit.Window, at.wall), at.wall, 0}
	start, count := state[l.at], state[l.at+1]
	switch {
	case count == 0 || start < c.start:
	case start > c.start:
		c.calendarBounds, c.count = l.calendar.at(l.limit.Window, start), count
	default:
		c.count = count
	}
	return c
}

func (c *calendarCount) store(words []int64) { words[0], words[1] = c.start, c.count }

func (c calendarCount) ask(l Limit, n int) Result {
	if c.count+int64(n) <= int64(l.Events) {
		return Result{Allowed: true}
	}
	res := c.result(l)
	res.Allowed, res.RetryAfter, res.ResetAfter = false, time.Duration(c.end-c.wall), time.Duration(c.end-c.wall)
	return res
}

// result returns what is left.
func (c calendarCount) result(l Limit) Result {
	res := Result{Allowed: true, Limit: l, Remaining: l.Events - int(c.count)}
	if c.count > 0 {
		res.ResetAfter = time.Duration(c.end - c.wall)
	}
	return res
}

// A slidingCount is what was counted in the current window of a Sliding limit and in the
// one before. Windows begin at multiples of Per.
type slidingCount struct {
	index             int64 // of the current window
	elapsed           int64 // nanoseconds of it
	current, previous int64
}

func (l *memoryLimit) inSliding(state []int64, at moment) slidingCount {
	per := int64(l.limit.Per)
	s := slidingCount{index: at.now / per, elapsed: at.now % per}
	current, previous := state[l.at+1]&mostWindowEvents, state[l.at+1]>>32
	switch state[l.at] {
	case s.index:
		s.current, s.previous = current, previous
	case s.index - 1:
		s.previous = current
	}
	return s
}

func (s *slidingCount) store(words []int64) {
	words[0], words[1] = s.index, s.previous<<32|s.current
}

// settled reports whether nothing counts any more.
func (s slidingCount) settled() bool { return s.current == 0 && s.previous == 0 }

func (s slidingCount) ask(l Limit, n int) Result {
	room := int64(l.Events) - int64(n) - s.current
	if room >= s.weight(l) {
		return Result{Allowed: true}
	}
	res := s.result(l)
	res.Allowed = false
	per := int64(l.Per)
	if room >= 0 {
		// The window before still weighs too much.
		res.RetryAfter = time.Duration(lighter(s.previous, room, per) - s.elapsed)
		return res
	}
	// The current one alone does, and becomes the one before.
	room = int64(l.Events) - int64(n)
	res.RetryAfter = time.Duration(per - s.elapsed + lighter(s.current, room, per))
	return res
}

// weight returns how much of the window before counts, rounded up.
func (s slidingCount) weight(l Limit) int64 {
	hi, lo := bits.Mul64(uint64(s.previous), uint64(int64(l.Per)-s.elapsed)) //nolint:gosec // neither is negative
	q, rest := bits.Div64(hi, lo, uint64(l.Per))                             //nolint:gosec // the quotient is at most previous
	if rest > 0 {
		q++
	}
	return int64(q) //nolint:gosec // at most previous
}

// lighter returns how many nanoseconds of a window are over when a count of the one
// before weighs room or less.
func lighter(count, room, per int64) int64 {
	if count <= room {
		return 0
	}
	hi, lo := bits.Mul64(uint64(room), uint64(per)) //nolint:gosec // neither is negative
	q, _ := bits.Div64(hi, lo, uint64(count))       //nolint:gosec // room is less than count
	return per - int64(q)                           //nolint:gosec // less than per
}

func (s slidingCount) result(l Limit) Result {
	res := Result{Allowed: true, Limit: l, Remaining: int(max(0, int64(l.Events)-s.current-s.weight(l)))}
	per := int64(l.Per)
	switch {
	case s.current > 0:
		res.ResetAfter = time.Duration(2*per - s.elapsed)
	case s.previous > 0:
		res.ResetAfter = time.Duration(per - s.elapsed)
	}
	return res
}

// SlidingResult is for stores: it returns what a limit that is [Limit.Sliding] says of a key
// of which so many events were counted in the current span of Per, of which a time has
// passed, and in the one before. If n is positive and more than what is left, it is the
// refusal of n; otherwise it is what is left.
func (l Limit) SlidingResult(current, previous int, elapsed time.Duration, n int) Result {
	s := slidingCount{elapsed: int64(elapsed), current: int64(current), previous: int64(previous)}
	if n > 0 {
		if res := s.ask(l, n); !res.Allowed {
			return res
		}
	}
	return s.result(l)
}
