package auth

import (
	"container/heap"
	"time"
)

// expireAtOnce bounds how many expired entries one call drops, so that none takes
// long. Any number over one keeps up with what comes in.
const expireAtOnce = 64

// expiring is a map whose entries have an end. It is not safe for concurrent use.
type expiring[V any] struct {
	entries map[[32]byte]*lasting[V]
	ends    endHeap[V] // the same entries, the first to end in front
}

type lasting[V any] struct {
	key   [32]byte
	value V
	until time.Time
	index int // in the heap
}

// get returns what is kept under key, unless it has ended.
func (e *expiring[V]) get(key [32]byte, now time.Time) (V, bool) {
	if l, ok := e.entries[key]; ok && l.until.After(now) {
		return l.value, true
	}
	var zero V
	return zero, false
}

// set keeps value until the time given, or as long as what was kept under the key
// before, if that ends later.
func (e *expiring[V]) set(key [32]byte, value V, until time.Time) {
	l, ok := e.entries[key]
	if !ok {
		l = &lasting[V]{key: key, value: value, until: until}
		e.entries[key] = l
		heap.Push(&e.ends, l)
		return
	}
	l.value = value
	if until.After(l.until) {
		l.until = until
		heap.Fix(&e.ends, l.index)
	}
}

// expire drops entries that have ended, the oldest first.
func (e *expiring[V]) expire(now time.Time) {
	for range expireAtOnce {
		if len(e.ends) == 0 || e.ends[0].until.After(now) {
			return
		}
		l := heap.Pop(&e.ends).(*lasting[V])
		delete(e.entries, l.key)
	}
}

// endHeap is a heap.Interface.
type endHeap[V any] []*lasting[V]

func (h endHeap[V]) Len() int           { return len(h) }
func (h endHeap[V]) Less(i, j int) bool { return h[i].until.Before(h[j].until) }
func (h endHeap[V]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *endHeap[V]) Push(x any) {
	l := x.(*lasting[V])
	l.index = len(*h)
	*h = append(*h, l)
}

func (h *endHeap[V]) Pop() any {
	last := len(*h) - 1
	l := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return l
}
