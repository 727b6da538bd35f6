package ratelimit

import (
	"testing"
	"time"
)

// Who sets the wall clock back gives nobody the quota of a day twice, and who sets it
// forward and back takes no more away than the day it was set to.
func TestCalendarAfterTheClockWasSet(t *testing.T) {
	r, err := compileRate("", PerCalendarDay(3, nil))
	if err != nil {
		t.Fatal(err)
	}
	l := memoryLimit{rate: r, calendar: new(calendarCache)}
	state := make([]int64, 2)
	at := func(day, hour int) moment {
		return moment{wall: time.Date(2026, time.November, day, hour, 0, 0, 0, time.UTC).UnixNano()}
	}
	for i, step := range []struct {
		day, hour int
		allowed   bool
		wait      time.Duration
	}{
		{26, 12, true, 0},
		{26, 13, true, 0},
		{26, 9, true, 0}, // back within the day
		{26, 9, false, 15 * time.Hour},
		{27, 0, true, 0},
		{26, 22, true, 0}, // back into the day before, whose quota is used up: it counts for the next
		{27, 1, true, 0},
		{26, 23, false, 25 * time.Hour},
		{27, 23, false, time.Hour},
		{28, 0, true, 0},
	} {
		now := at(step.day, step.hour)
		var res, spent Result
		if l.ask(&res, state, now, 1); res.Allowed {
			l.spend(&spent, state, now, 1)
		}
		if res.Allowed != step.allowed || res.RetryAfter != step.wait {
			t.Errorf("step %d: got %+v, want %v and %s", i+1, res, step.allowed, step.wait)
		}
		if l.settled(state, now) {
			t.Errorf("step %d: the state is settled though something counts", i+1)
		}
	}
	if !l.settled(state, at(29, 0)) {
		t.Error("the day after it is not settled")
	}
}
