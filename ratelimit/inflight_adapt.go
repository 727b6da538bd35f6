package ratelimit

import "time"

// An aimd is what a limit that is led by latency goes by: additive increase and
// multiplicative decrease, by rounds. A round is as many requests as the limit, or
// minRound, that came after the limit was last changed and have been served; as in
// TCP it lasts about as long as one of them.
type aimd struct {
	done    int  // of this round
	slow    int  // of those
	full    bool // one came and found no place
	slowed  bool // some time; until then the limit doubles, as in TCP's slow start
	changed time.Time
}

// minRound is how many requests tell something about latency.
const minRound = 10

// learn counts a request that has been served since then, and changes the limit at
// the end of a round.
func (s *queues) learn(since time.Time) {
	if since.Before(s.changed) {
		return
	}
	now := time.Now()
	s.done++
	if now.Sub(since) > s.latency {
		s.slow++
	}
	if s.done < max(s.limit, minRound) {
		return
	}
	limit := s.limit
	switch {
	case s.slow > s.done/10:
		limit, s.slowed = limit-max(1, limit/10), true
	case !s.full: // how it would be with more is as unknown as before
	case s.slowed:
		limit++
	default:
		limit *= 2
	}
	s.done, s.slow, s.full = 0, 0, false
	if limit = min(max(limit, s.min), s.max); limit != s.limit {
		s.limit, s.changed = limit, now
	}
}
