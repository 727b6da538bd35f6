package auth

import (
	"math"
	"time"
)

// expireAtOnce bounds how many ends one call looks at, so that none takes long.
// Any number over one keeps up with what comes in.
const expireAtOnce = 64

// expiring is a map whose entries have an end. It has no pointers in it, which a
// large one would make the garbage collector follow. It is not safe for concurrent
// use.
type expiring[V any] struct {
	entries map[[32]byte]lasting[V]
	ends    []end // one of each entry, in a heap, the first in front
}

type lasting[V any] struct {
	value V
	until int64 // milliseconds since 1970
}

// An end says when to look at an entry. One that was prolonged ends later than
// its end here says.
type end struct {
	until int64
	key   [32]byte
}

func newExpiring[V any]() expiring[V] {
	return expiring[V]{entries: make(map[[32]byte]lasting[V])}
}

// get returns what is kept under key, unless it has ended.
func (e *expiring[V]) get(key [32]byte, now time.Time) (V, bool) {
	l, ok := e.entries[key]
	if !ok || l.until <= now.UnixMilli() {
		var zero V
		return zero, false
	}
	return l.value, true
}

// set keeps value until the time given, or as long as what was kept under the key
// before, if that ends later.
func (e *expiring[V]) set(key [32]byte, value V, until time.Time) {
	ms := milliseconds(until)
	if l, ok := e.entries[key]; ok {
		e.entries[key] = lasting[V]{value, max(ms, l.until)}
		return
	}
	e.entries[key] = lasting[V]{value, ms}
	e.ends = append(e.ends, end{ms, key})
	e.up(len(e.ends) - 1)
}

// expire drops entries that have ended, the oldest first.
func (e *expiring[V]) expire(now time.Time) {
	ms := now.UnixMilli()
	for range expireAtOnce {
		if len(e.ends) == 0 || e.ends[0].until > ms {
			return
		}
		if l := e.entries[e.ends[0].key]; l.until > ms {
			e.ends[0].until = l.until
		} else {
			delete(e.entries, e.ends[0].key)
			last := len(e.ends) - 1
			e.ends[0] = e.ends[last]
			e.ends = e.ends[:last]
		}
		e.down(0)
	}
}

// milliseconds is t in milliseconds since 1970, rounded up: what is kept until then
// is not dropped too early, and what was issued before then is not let through.
func milliseconds(t time.Time) int64 {
	if t.Unix() > math.MaxInt64/1000-1 {
		return math.MaxInt64
	}
	return t.Add(time.Millisecond - 1).UnixMilli()
}

// up moves the end at i to the front until none that is later is before it.
func (e *expiring[V]) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if e.ends[parent].until <= e.ends[i].until {
			return
		}
		e.ends[parent], e.ends[i] = e.ends[i], e.ends[parent]
		i = parent
	}
}

// down moves the end at i to the back until none that is earlier is behind it.
func (e *expiring[V]) down(i int) {
	for {
		first := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(e.ends); child++ {
			if e.ends[child].until < e.ends[first].until {
				first = child
			}
		}
		if first == i {
			return
		}
		e.ends[first], e.ends[i] = e.ends[i], e.ends[first]
		i = first
	}
}
