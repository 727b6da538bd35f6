// Package recent remembers what happened in the last minute or so.
package recent

import (
	"sync"
	"time"
)

// A Map forgets what was put into it after one to two periods, and sooner if more
// than a bound comes meanwhile. Nothing sweeps it: it has a current half and a
// previous one, and from time to time the previous one is dropped as a whole.
//
// It is safe for concurrent use. A nil Map is empty and stays so.
type Map[K comparable, V any] struct {
	period time.Duration
	half   int // entries of one half

	mu                sync.RWMutex
	current, previous map[K]V
	since             time.Time // when current was begun
}

// New returns a Map that holds up to most entries.
func New[K comparable, V any](period time.Duration, most int) *Map[K, V] {
	return &Map[K, V]{period: period, half: max(1, most/2)}
}

// Get returns what was put for k last. It may be up to two periods old.
func (m *Map[K, V]) Get(k K, now time.Time) (v V, ok bool) {
	if m == nil {
		return v, false
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	switch age := now.Sub(m.since); {
	case age >= 2*m.period || age <= -m.period:
		return v, false
	case age >= m.period:
		v, ok = m.current[k] // as if it were turned already
		return v, ok
	}
	if v, ok = m.current[k]; !ok {
		v, ok = m.previous[k]
	}
	return v, ok
}

// Put remembers v for k.
func (m *Map[K, V]) Put(k K, v V, now time.Time) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn(now)
	m.current[k] = v
}

// PutNew remembers v for k unless there is something for k, and reports whether it
// did.
func (m *Map[K, V]) PutNew(k K, v V, now time.Time) bool {
	if m == nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn(now)
	_, inCurrent := m.current[k]
	_, inPrevious := m.previous[k]
	if inCurrent || inPrevious {
		return false
	}
	m.current[k] = v
	return true
}

// turn begins a new half if the current one is old or full.
func (m *Map[K, V]) turn(now time.Time) {
	switch age := now.Sub(m.since); {
	case m.current == nil || age >= 2*m.period || age <= -m.period:
		m.previous = nil
	case age >= m.period || len(m.current) >= m.half:
		m.previous = m.current
	default:
		return
	}
	if now.Sub(m.since) <= -m.period || now.After(m.since) {
		m.since = now
	}
	m.current = make(map[K]V)
}

// Delete forgets k.
func (m *Map[K, V]) Delete(k K) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.current, k)
	delete(m.previous, k)
}
