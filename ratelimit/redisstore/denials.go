package redisstore

import (
	"slices"
	"sync"
	"time"

	"github.com/sallyport/sallyport/ratelimit"
)

// longestDenial is how long a refusal is remembered, so that a key which is given
// events back at another machine, or which Redis has forgotten, isn't refused for
// longer than that.
const longestDenial = time.Second

// denials remembers what keys owed when Redis refused them. They owe at least what is
// left of that, so what is too much then needs no question.
type denials struct {
	most  int
	rates []rate

	mu   sync.Mutex
	keys map[string]denial
}

// A denial is what a key owed at a time, since the start of the bucket. The time is
// when Redis was asked, which is before it decided: so what is left is never taken for
// more than it is.
type denial struct {
	at    time.Duration
	debts []span
	now   int64 // the clock of Redis when it decided; 0 if there are no windows
}

// newDenials returns nil if there shall be none, whose methods do nothing.
func newDenials(most int, rates []rate) *denials {
	if most < 0 {
		return nil
	}
	return &denials{most: most, rates: rates, keys: make(map[string]denial)}
}

// refuse returns the refusal of n events of a key, if it is certain.
func (d *denials) refuse(key string, n int, now time.Duration) (res ratelimit.Result, ok bool) {
	if d == nil {
		return res, false
	}
	d.mu.Lock()
	denied, known := d.keys[key]
	d.mu.Unlock()
	if !known || now-denied.at > longestDenial {
		return res, false
	}
	var room [maxLimits]span
	passed := now - denied.at
	return refused(d.rates, since(room[:0], d.rates, denied.debts, passed, denied.now), n, denied.now+latest(passed))
}

// since appends what is left of debts after a time to left. If there are windows, the clock
// of Redis was at then.
func since(left []span, rates []rate, debts []span, passed time.Duration, then int64) []span {
	elapsed := latest(passed)
	for i := range rates {
		if rates[i].windowed {
			left = append(left, rates[i].later(debts[i], then, then+elapsed))
			continue
		}
		left = append(left, rates[i].sub(debts[i], span{us: uint64(elapsed)})) //nolint:gosec // not negative
	}
	return left
}

// latest returns the most microseconds by which the clock of Redis may have gone on in a
// time: it shows whole ones, which may begin up to one earlier.
func latest(passed time.Duration) int64 { return int64(max(passed, 0)/time.Microsecond) + 2 }

// add remembers what key owed at a time.
func (d *denials) add(key string, debts []span, at time.Duration, now int64) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, known := d.keys[key]; !known && len(d.keys) >= d.most {
		makeRoom(d.keys, func(old denial) bool { return at-old.at > longestDenial })
		for some := range d.keys {
			if len(d.keys) < d.most {
				break
			}
			delete(d.keys, some) // it costs a question
		}
	}
	d.keys[key] = denial{at, slices.Clone(debts), now}
}

// makeRoom looks at some of the elements and deletes those that are over.
func makeRoom[V any](m map[string]V, over func(V) bool) {
	const some = 16
	i := 0
	for key, v := range m {
		if over(v) {
			delete(m, key)
		}
		if i++; i == some {
			return
		}
	}
}

// forget is for a key that was given events back.
func (d *denials) forget(key string) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.keys, key)
}
