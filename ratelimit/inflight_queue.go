package ratelimit

import (
	"context"
	"sync"
	"time"
)

// rules are what the queues of an InFlight have in common.
type rules struct {
	max      int           // how many run at once, at most
	most     int           // how many wait
	maxWait  time.Duration // how long
	target   time.Duration // how long, where the queue stands; 0: it never does
	interval time.Duration // after which it does
	latency  time.Duration // what handlers should keep to; 0: the limit is max
	min      int           // how many run at once, whatever their latency
}

// queues are the queues of some keys, or the one of all requests together. A key
// has one while any request with it runs or waits, and no longer.
type queues struct {
	rules
	mu    sync.Mutex
	limit int // how many run at once
	aimd
	all     queue             // if byKey is nil
	byKey   map[string]*queue // else
	spare   *queue            // queues of no key, to be used again
	spares  int
	refused uint64
	shed    uint64
}

// mostSpares bounds the spare queues of one queues.
const mostSpares = 64

// A queue is what runs under one key, and what waits for that. If any wait, as
// many run as the limit is, or more if it has just become less.
type queue struct {
	key         string
	running     int
	waiting     int
	first, last *waiter // by the time they came
	delay
	spare *queue // the next one
}

// A waiter is a request that waits. It is in a queue until it has been decided
// about, or has left.
type waiter struct {
	prev, next *waiter
	queued     bool
	since      time.Time
	err        error         // why there is no place for it, or nil
	decided    chan struct{} // gets one value, once there is a decision
}

// A place is one in a queue, for what runs.
type place struct {
	in    *queues
	q     *queue
	since time.Time // zero if the limit is not led by latency
}

// init says how many may run and wait, and whether there are keys.
func (s *queues) init(r rules, keyed bool) {
	s.rules, s.limit = r, r.max
	if keyed {
		s.byKey = make(map[string]*queue)
	}
	if r.latency > 0 {
		s.limit = r.min
	}
}

// enter takes a place under key, waiting for one if there is room to.
func (s *queues) enter(ctx context.Context, key string) (place, error) {
	q, err := s.take(ctx, key)
	if err != nil {
		return place{}, err
	}
	p := place{in: s, q: q}
	if s.latency > 0 {
		p.since = time.Now()
	}
	return p, nil
}

// take is enter without the time.
func (s *queues) take(ctx context.Context, key string) (*queue, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	q := s.open(key)
	if q.running < s.limit {
		q.running++
		if !q.taken.IsZero() {
			s.relax(q)
		}
		s.mu.Unlock()
		return q, nil
	}
	s.full = true
	if s.most == 0 {
		s.refused++
		s.mu.Unlock()
		return nil, errFull
	}
	now := time.Now()
	patience := s.maxWait
	if s.target > 0 && s.stands(q, now) {
		s.cut(q, now, nil)
		patience = s.target
	}
	if q.waiting >= s.most {
		s.refused++
		s.mu.Unlock()
		return nil, errFull
	}
	w := &waiter{since: now, decided: make(chan struct{}, 1)}
	q.push(w)
	s.mu.Unlock()
	return q, s.wait(ctx, q, w, patience)
}

// wait waits for a decision about w, or for an end of ctx or of its patience.
func (s *queues) wait(ctx context.Context, q *queue, w *waiter, patience time.Duration) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case <-w.decided:
			// If ctx ended at the same moment, nobody waits for the answer.
			if err := ctx.Err(); err != nil && w.err == nil {
				place{in: s, q: q}.leave()
				return err
			}
			return w.err
		case <-ctx.Done():
			if s.withdraw(q, w) {
				return ctx.Err()
			}
		case <-timer.C:
			rest, err := s.impatient(q, w)
			if err != nil {
				return err
			}
			timer.Reset(rest)
		}
	}
}

// withdraw takes w out of its queue. It reports whether w was there; if not, a
// decision has come before.
func (s *queues) withdraw(q *queue, w *waiter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !w.queued {
		return false
	}
	q.remove(w)
	return true
}

// impatient takes w out of its queue at the end of its patience, and returns why.
// Without an error it has patience for rest: as the last to come, or since a
// decision has come before.
func (s *queues) impatient(q *queue, w *waiter) (rest time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rest = s.maxWait - time.Since(w.since)
	switch {
	case !w.queued:
		return s.maxWait, nil
	case rest <= 0:
		err = errWaited
	case w == q.last:
		return rest, nil
	default:
		err = errShed
		s.shed++
	}
	q.remove(w)
	s.refused++
	return 0, err
}

// leave gives the place back, to one who waits if there is any. It is called once.
func (p place) leave() {
	s, q := p.in, p.q
	s.mu.Lock()
	defer s.mu.Unlock()
	if !p.since.IsZero() {
		s.learn(p.since)
	}
	q.running--
	for q.running < s.limit && q.first != nil {
		next := q.first
		if q.standing {
			s.cut(q, time.Now(), q.last)
			next = q.last
		}
		q.remove(next)
		q.running++
		next.decided <- struct{}{}
	}
	if q.running == 0 {
		s.close(q)
	}
}

// open returns the queue of key.
func (s *queues) open(key string) *queue {
	if s.byKey == nil {
		return &s.all
	}
	q := s.byKey[key]
	if q != nil {
		return q
	}
	if q = s.spare; q != nil {
		s.spare, q.spare = q.spare, nil
		s.spares--
	} else {
		q = new(queue)
	}
	q.key = key
	s.byKey[key] = q
	return q
}

// close forgets q, where nothing runs and nothing waits.
func (s *queues) close(q *queue) {
	if s.byKey == nil {
		return
	}
	delete(s.byKey, q.key)
	if s.spares < mostSpares {
		*q = queue{spare: s.spare}
		s.spare = q
		s.spares++
	}
}

// add adds what the queues are doing to sum.
func (s *queues) add(sum *InFlightStats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum.Limit = s.limit
	sum.Refused += s.refused
	sum.Shed += s.shed
	count := func(q *queue) {
		sum.Running += q.running
		sum.Waiting += q.waiting
		sum.Keys++
	}
	if s.byKey == nil && s.all.running > 0 {
		count(&s.all)
	}
	for _, q := range s.byKey {
		count(q)
	}
}

// push adds w as the last to come.
func (q *queue) push(w *waiter) {
	w.queued = true
	w.prev = q.last
	if w.prev == nil {
		q.first = w
	} else {
		w.prev.next = w
	}
	q.last = w
	q.waiting++
}

// remove takes w out.
func (q *queue) remove(w *waiter) {
	if w.prev == nil {
		q.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		q.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next, w.queued = nil, nil, false
	q.waiting--
}
