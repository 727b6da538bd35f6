package ratelimit

import (
	"fmt"
	"time"
)

// A Window says how the events of a [Limit] are counted where it is not by GCRA. The
// zero Window is GCRA. Windows are comparable.
type Window struct {
	kind windowKind
	in   *time.Location
}

type windowKind uint8

const (
	rolling windowKind = iota // GCRA
	sliding
	calendarDay
	calendarMonth
)

// PerCalendarDay allows n events on each day of a time zone, for a quota that is billed
// or promised by the day. All n may be used at once, so within a moment around midnight
// 2n are possible: let a [Limit] of the usual kind stand beside it where that matters.
// A day has 23 or 25 hours where the zone changes its clocks. A nil zone is UTC.
func PerCalendarDay(n int, in *time.Location) Limit {
	return calendar(n, 24*time.Hour, calendarDay, in)
}

// PerCalendarMonth allows n events in each month of a time zone. See [PerCalendarDay].
func PerCalendarMonth(n int, in *time.Location) Limit {
	return calendar(n, 31*24*time.Hour, calendarMonth, in)
}

func calendar(n int, per time.Duration, kind windowKind, in *time.Location) Limit {
	if in == nil {
		in = time.UTC
	}
	return Limit{Events: n, Per: per, Window: Window{kind: kind, in: in}}
}

// Sliding returns l counted by a sliding window: what was counted in the current span of
// Per, and of what was counted in the one before as large a part as the last Per still
// reaches into it. It is what many services document as "n per minute". It supposes that
// the events of the span before were spread evenly: where they were not, up to nearly
// twice Events are possible within some span of Per, as GCRA allows Events plus Burst. It
// takes more memory than GCRA and has no Burst of its own.
func (l Limit) Sliding() Limit {
	l.Window = Window{kind: sliding}
	return l
}

// IsCalendar reports whether the windows are those of a calendar.
func (w Window) IsCalendar() bool { return w.kind >= calendarDay }

// IsSliding reports whether w is that of [Limit.Sliding].
func (w Window) IsSliding() bool { return w.kind == sliding }

// Bounds returns when the window of a calendar in which t lies has begun, and when the
// next one begins. It returns zero times if w is not that of a calendar.
func (w Window) Bounds(t time.Time) (start, end time.Time) {
	if !w.IsCalendar() {
		return time.Time{}, time.Time{}
	}
	y, m, d := t.In(w.in).Date()
	if w.kind == calendarMonth {
		return dayStart(y, m, 1, w.in), dayStart(y, m+1, 1, w.in)
	}
	return dayStart(y, m, d, w.in), dayStart(y, m, d+1, w.in)
}

// dayStart returns the first instant of a day, or of the next one that there is. That is
// not always midnight: where clocks are changed then, 00:00 may not exist, or may be
// there twice, and which instant time.Date returns is not said. Zones that change their
// clocks do so at some quarter of an hour, by 3 hours at the most.
func dayStart(y int, m time.Month, d int, in *time.Location) time.Time {
	y, m, d = time.Date(y, m, d, 12, 0, 0, 0, time.UTC).Date() // the 32nd is the 1st
	t := time.Date(y, m, d, 0, 0, 0, 0, in)
	const step, most = 15 * time.Minute, 3 * 4
	for range most {
		if !before(t, y, m, d) {
			break
		}
		t = t.Add(step)
	}
	if before(t, y, m, d) { // the zone has left the day out, as Samoa did
		return dayStart(y, m, d+1, in)
	}
	for range most {
		if before(t.Add(-step), y, m, d) {
			break
		}
		t = t.Add(-step)
	}
	return t
}

// before reports whether t lies on a day before that one.
func before(t time.Time, y int, m time.Month, d int) bool {
	ty, tm, td := t.Date()
	switch {
	case ty != y:
		return ty < y
	case tm != m:
		return tm < m
	}
	return td < d
}

// check returns an error for a limit that can't be counted so. Its text follows the
// name of the field.
func (w Window) check(l Limit) error {
	switch {
	case w.kind == rolling:
		return nil
	case w.kind > calendarMonth:
		return fmt.Errorf(".Window is none that there is")
	case l.Burst != 0 && l.Burst != l.Events:
		return fmt.Errorf(".Burst is %d, but in a window all %d events may come at once", l.Burst, l.Events)
	case l.Events > mostWindowEvents:
		return fmt.Errorf(".Events is %d, more than %d for a window", l.Events, mostWindowEvents)
	case w.kind == sliding && l.Per > mostSlidingPer:
		return fmt.Errorf(".Per is %s, more than %s for a sliding window", l.Per, mostSlidingPer)
	}
	return nil
}

const (
	// Two counts of a sliding window stand in one word.
	mostWindowEvents = 1<<31 - 1
	mostSlidingPer   = 10 * 365 * 24 * time.Hour
)

// String returns what follows "10 per".
func (w Window) String() string {
	switch w.kind {
	case calendarDay:
		return "day (" + w.in.String() + ")"
	case calendarMonth:
		return "month (" + w.in.String() + ")"
	case sliding:
		return "sliding"
	}
	return ""
}
