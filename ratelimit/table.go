package ratelimit

import (
	"math"
	"sync"
	"sync/atomic"
)

// A shard is an open-addressing table. Its slots stand in groups of groupSize,
// and a key has its slot in one of two groups that follow from its hash. It goes
// to the one with more room, so that most slots are in use before both groups of
// some key are full.
//
// Whoever holds mu may do anything. Who does not may find a slot, and swap the
// first word of its state from one value to a later one, if it reads the hash
// once more after that value. So whoever holds mu gives a slot away, and moves
// it, as give and grow do.
type shard struct {
	mu     sync.Mutex
	moment // the latest seen
	table  atomic.Pointer[table]
	given  int64 // how many slots were given to another key

	shared   []int64 // the slot, with no hash, of the keys that have none of their own
	overflow []int64 // its state
	first    int     // groups of the first table
	most     int     // groups of the largest table, first × 2ⁿ

	_ [24]byte // a shard fills two cache lines, so that it shares none
}

// A moment is a time by two clocks.
type moment struct {
	now  int64 // in nanoseconds since the start of the store, which never goes back
	wall int64 // in nanoseconds since 1970, where a limit is by the calendar; else 0
}

// A table is what doubles. At first it has no slots.
type table struct {
	slots  []int64 // nil if a state is one word
	paired []pairs // the same then, by group
	width  int     // words of a slot: the hash, 0 in one that was never used, and the state
	groups int
}

// moved is the first word of a state that is in another table by now.
const moved = math.MaxInt64

// init says how many words a state has and how many groups there may be. The
// number is rounded down, since doubling must arrive at it.
func (s *shard) init(words, most int) {
	s.table.Store(&table{width: 1 + words})
	s.shared = make([]int64, 1+words)
	s.overflow = s.shared[1:]
	doublings := 0
	for most>>doublings >= 2*firstGroups {
		doublings++
	}
	s.first = most >> doublings
	s.most = s.first << doublings
}

// find returns the state of a key that has a slot, or nil.
func (s *shard) find(h uint64) []int64 {
	if slot := s.table.Load().slot(h); slot != nil {
		return slot[1:]
	}
	return nil
}

// slot returns the slot of a key that has one, or nil.
func (t *table) slot(h uint64) []int64 {
	if t.groups == 0 {
		return nil
	}
	a, b := homes(h, t.groups)
	for _, group := range [...][]int64{t.group(a), t.group(b)} {
		for i := 0; i < len(group); i += t.width {
			if group[i] == int64(h) { //nolint:gosec // bits
				return group[i : i+t.width]
			}
		}
	}
	return nil
}

// pair is slot where a state is one word. It needs no lock.
func (t *table) pair(hash uint64) *pair {
	if t.groups == 0 {
		return nil
	}
	h := int64(hash) //nolint:gosec // bits
	a, b := homes(hash, t.groups)
	inA, inB := &t.paired[a], &t.paired[b]
	// Side by side, so that the processor fetches both groups at the same time.
	for i := 0; i < len(pairs{}); i += 2 {
		if atomic.LoadInt64(&inA[i]) == h {
			return (*pair)(inA[i:])
		}
		if atomic.LoadInt64(&inB[i]) == h {
			return (*pair)(inB[i:])
		}
	}
	return nil
}

type (
	pair  = [2]int64 // a slot of a hash and one word of state
	pairs = [2 * groupSize]int64
)

// homes returns the two groups of a hash in a table of so many, at most 2³². If
// the number doubles, group g becomes 2g or 2g+1. The bits that choose are not
// those that chose the shard.
func homes(h uint64, groups int) (a, b int) {
	n := uint64(groups)                                                 //nolint:gosec // not negative
	return int(((h >> 32) * n) >> 32), int(((h << 24 >> 32) * n) >> 32) //nolint:gosec // below groups
}

// claim gives a key that has no slot one that nobody needs. The state in it is
// in the past. If all that the key may have are taken and the table may not
// grow, claim returns the overflow state.
func (s *shard) claim(h uint64, limits []memoryLimit) []int64 {
	for {
		t := s.table.Load()
		if t.groups > 0 {
			a, b := homes(h, t.groups)
			slot, freeA := s.room(t.group(a), t.width, limits)
			atB, freeB := s.room(t.group(b), t.width, limits)
			if freeB > freeA {
				slot = atB
			}
			if slot != nil {
				if s.give(slot, h, limits) {
					return slot[1:]
				}
				continue
			}
		}
		if t.groups == s.most {
			return s.overflow
		}
		s.grow(limits)
	}
}

// room returns how many slots of a group nobody needs, and the first of them.
func (s *shard) room(group []int64, width int, limits []memoryLimit) (slot []int64, free int) {
	for i := len(group) - width; i >= 0; i -= width {
		if one := group[i : i+width]; one[0] == 0 || settled(one[1:], limits, s.moment) {
			slot = one
			free++
		}
	}
	return slot, free
}

// give gives a slot that nobody needs to h. It reports whether that was still so:
// the key that had it may have come back.
//
// The state becomes a time in the past that no state ever was. Every other state
// that the slot will have is later than all that it had, unless something is given
// back. So who has read a state of the key before can't swap it any more.
func (s *shard) give(slot []int64, h uint64, limits []memoryLimit) bool {
	old := slot[0]
	atomic.StoreInt64(&slot[0], 0) // who reads a state from here on reads no hash after it
	tat := atomic.LoadInt64(&slot[1])
	s.given++
	if old != 0 && !settled(slot[1:], limits, s.moment) || !atomic.CompareAndSwapInt64(&slot[1], tat, -s.given) {
		atomic.StoreInt64(&slot[0], old)
		return false
	}
	atomic.StoreInt64(&slot[0], int64(h)) //nolint:gosec // bits
	return true
}

// settled reports whether a state owes nothing, so that it equals no state.
func settled(state []int64, limits []memoryLimit, at moment) bool {
	for i := range limits {
		if !limits[i].settled(state, at) {
			return false
		}
	}
	return true
}

// grow doubles the table and drops what is settled. Each key stays in the same
// of its two groups, which become two groups each, so there is room for all.
func (s *shard) grow(limits []memoryLimit) {
	old := s.table.Load()
	t := &table{width: old.width, groups: max(s.first, 2*old.groups)}
	if t.width == len(pair{}) {
		t.paired = make([]pairs, t.groups)
	} else {
		t.slots = make([]int64, t.groups*groupSize*t.width)
	}
	for g := range old.groups {
		group := old.group(g)
		for i := 0; i < len(group); i += old.width {
			slot := group[i : i+old.width]
			if slot[0] == 0 {
				continue
			}
			tat := atomic.SwapInt64(&slot[1], moved)
			home, second := homes(uint64(slot[0]), t.groups) //nolint:gosec // bits
			if home/2 != g {
				home = second
			}
			to := t.group(home)
			for to[0] != 0 {
				to = to[t.width:]
			}
			to[0], to[1] = slot[0], tat
			copy(to[2:t.width], slot[2:])
			if settled(to[1:t.width], limits, s.moment) {
				to[0] = 0
			}
		}
	}
	s.table.Store(t)
}

// group returns the slots of a group.
func (t *table) group(g int) []int64 {
	if t.paired != nil {
		return t.paired[g][:]
	}
	size := groupSize * t.width
	return t.slots[g*size : (g+1)*size : (g+1)*size]
}
