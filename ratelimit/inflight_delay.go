package ratelimit

import "time"

// A delay is what is known of the load of a queue of controlled delay.
//
// CoDel takes a queue for one that stands if the least delay within an interval is
// above the target (RFC 8289), but where the last to come is served first the delay
// of who is served says nothing. "Fail at Scale" asks whether the queue was empty at
// any time within the interval. Where places are few a queue is empty for a moment
// under any load, and the delay would swing between the target and the interval. So
// the sign here is whether who comes finds a place.
type delay struct {
	// taken is when one came who found no place, since when none has found any.
	// It is zero if the last one did. Where the queue stands, it is when the
	// present interval began.
	taken    time.Time
	standing bool
	came     int // within that interval
	found    int // a place, of those who came
}

// stands counts one who finds no place, and reports whether the queue stands.
func (s *queues) stands(q *queue, now time.Time) bool {
	switch {
	case q.taken.IsZero():
		q.taken = now
	case q.standing:
		s.count(q, now, 0)
	case now.Sub(q.taken) >= s.interval:
		q.delay = delay{taken: now, standing: true}
	}
	return q.standing
}

// relax counts one who finds a place.
func (s *queues) relax(q *queue) {
	if q.standing {
		s.count(q, time.Now(), 1)
	} else {
		q.taken = time.Time{}
	}
}

// count counts one who comes to a queue that stands. The queue does no longer once
// half of those who came within an interval found a place, or if nobody came.
func (s *queues) count(q *queue, now time.Time, found int) {
	elapsed := now.Sub(q.taken)
	switch {
	case elapsed >= 2*s.interval, elapsed >= s.interval && 2*q.found >= q.came:
		q.delay = delay{}
		if found == 0 {
			q.taken = now
		}
		return
	case elapsed >= s.interval:
		q.delay = delay{taken: now, standing: true}
	}
	q.came++
	q.found += found
}

// cut sheds those who have waited for the target, except keep. It is called when
// someone comes or leaves; between that their timers do the same.
//
// The last to come is kept whatever its age, as CoDel keeps the last packet of a
// queue: else a place that is given back would stay free until the next request.
func (s *queues) cut(q *queue, now time.Time, keep *waiter) {
	for w := q.first; w != nil && w != keep && now.Sub(w.since) >= s.target; w = q.first {
		q.remove(w)
		s.refused++
		s.shed++
		w.err = errShed
		w.decided <- struct{}{}
	}
}
