package ratelimit

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// A Limit is how often something may happen: Events per Per in the long run,
// and up to Burst at once. It is kept by the generic cell rate algorithm, which
// equals a token bucket of size Burst that is full at the start and gains one
// token every Per/Events. So in any span of time d at most
// Burst + Events × d / Per events are allowed, and no window has an edge at
// which a quota doubles.
type Limit struct {
	// Events is the number of events allowed per Per. It must be positive.
	Events int
	// Per is the time in which Events events are regained. It must be positive.
	Per time.Duration
	// Burst is how many events are allowed at once after a pause. 0 means
	// Events. Per × Burst / Events, the time in which a spent burst is regained,
	// must be less than 146 years.
	Burst int
	// Window, if it is not zero, has the events counted otherwise. [PerCalendarDay],
	// [PerCalendarMonth] and [Limit.Sliding] set it; Burst is Events then.
	Window Window
}

// PerSecond allows n events per second, all of them at once if they come so.
// See [Limit.WithBurst].
func PerSecond(n int) Limit { return Limit{Events: n, Per: time.Second} }

// PerMinute allows n events per minute, all of them at once if they come so.
func PerMinute(n int) Limit { return Limit{Events: n, Per: time.Minute} }

// PerHour allows n events per hour, all of them at once if they come so.
func PerHour(n int) Limit { return Limit{Events: n, Per: time.Hour} }

// PerDay allows n events per 24 hours, all of them at once if they come so.
func PerDay(n int) Limit { return Limit{Events: n, Per: 24 * time.Hour} }

// MinimumInterval allows one event, and the next one d later at the earliest: for what no
// human does faster, such as a purchase or a message. A d that is not positive is an error
// of New.
func MinimumInterval(d time.Duration) Limit { return Limit{Events: 1, Per: d, Burst: 1} }

// WithBurst returns l with another number of events that are allowed at once.
// A burst of 1 enforces a minimum interval of Per/Events between events.
func (l Limit) WithBurst(n int) Limit {
	l.Burst = n
	return l
}

// String returns l in words, such as "10 per 1s, burst 20".
func (l Limit) String() string {
	if l.Window.IsCalendar() {
		return strconv.Itoa(l.Events) + " per " + l.Window.String()
	}
	s := strconv.Itoa(l.Events) + " per " + l.Per.String()
	if l.Window.IsSliding() {
		return s + ", sliding"
	}
	if l.Burst != 0 && l.Burst != l.Events {
		s += ", burst " + strconv.Itoa(l.Burst)
	}
	return s
}

// share returns l with so small a part of its rate. Windows have no rate.
func (l Limit) share(of int) (Limit, error) {
	if of <= 1 || l.Window != (Window{}) {
		return l, nil
	}
	if l.Per > math.MaxInt64/time.Duration(of) {
		return l, fmt.Errorf("one of the %d of Config.Instances has no rate left of %s", of, l)
	}
	l.Per *= time.Duration(of)
	return l, nil
}

// maxLimits bounds the limits of one limiter: a slot of the memory store and
// the RateLimit-Policy field grow with each.
const maxLimits = 8

// compileLimits checks limits and returns them ready for use. Its errors begin
// with the name of the field that limits are.
func compileLimits(field string, limits []Limit) ([]rate, error) {
	switch {
	case len(limits) == 0:
		return nil, fmt.Errorf("%s is empty", field)
	case len(limits) > maxLimits:
		return nil, fmt.Errorf("%s has %d elements, more than %d", field, len(limits), maxLimits)
	}
	rates := make([]rate, len(limits))
	for i, l := range limits {
		r, err := compileRate(fmt.Sprintf("%s[%d]", field, i), l)
		if err != nil {
			return nil, err
		}
		rates[i] = r
	}
	return rates, nil
}
