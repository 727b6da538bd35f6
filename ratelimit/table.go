package ratelimit

import "sync"

// A shard is an open-addressing table. Its slots stand in groups of groupSize,
// and a key has its slot in one of two groups that follow from its hash. It goes
// to the one with more room, so that most slots are in use before both groups of
// some key are full.
type shard struct {
	mu     sync.Mutex
	moment // the latest seen
	table

	overflow []int64 // the state that the keys without a slot share
	first    int     // groups of the first table
	most     int     // groups of the largest table, first × 2ⁿ
	// A shard fills two cache lines, so that it shares none.
}

// A moment is a time by two clocks.
type moment struct {
	now  int64 // in nanoseconds since the start of the store, which never goes back
	wall int64 // in nanoseconds since 1970, where a limit is by the calendar; else 0
}

// A table is what doubles. The zero table has no slots.
type table struct {
	hashes []uint64 // of each slot; 0 marks one that was never used
	states []int64  // words for each slot
	words  int
	groups int
}

// init says how many words a state has and how many groups there may be. The
// number is rounded down, since doubling must arrive at it.
func (s *shard) init(words, most int) {
	s.words = words
	s.overflow = make([]int64, words)
	doublings := 0
	for most>>doublings >= 2*firstGroups {
		doublings++
	}
	s.first = most >> doublings
	s.most = s.first << doublings
}

// find returns the state of a key that has a slot, or nil.
func (t *table) find(h uint64) []int64 {
	if t.groups == 0 {
		return nil
	}
	a, b := homes(h, t.groups)
	for i, have := range t.group(a) {
		if have == h {
			return t.state(a, i)
		}
	}
	for i, have := range t.group(b) {
		if have == h {
			return t.state(b, i)
		}
	}
	return nil
}

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
		if s.groups > 0 {
			a, b := homes(h, s.groups)
			atA, freeA := s.room(a, limits)
			atB, freeB := s.room(b, limits)
			switch {
			case freeA > 0 && freeA >= freeB:
				s.group(a)[atA] = h
				return s.state(a, atA)
			case freeB > 0:
				s.group(b)[atB] = h
				return s.state(b, atB)
			}
		}
		if s.groups == s.most {
			return s.overflow
		}
		s.grow(limits)
	}
}

// room returns how many slots of a group nobody needs, and one of them.
func (s *shard) room(g int, limits []memoryLimit) (at, free int) {
	for i, h := range s.group(g) {
		if h == 0 || settled(s.state(g, i), limits, s.moment) {
			at = i
			free++
		}
	}
	return at, free
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
	old := s.table
	s.groups = max(s.first, 2*old.groups)
	s.hashes = make([]uint64, s.groups*groupSize)
	s.states = make([]int64, s.groups*groupSize*s.words)
	for g := range old.groups {
		for i, h := range old.group(g) {
			state := old.state(g, i)
			if h == 0 || settled(state, limits, s.moment) {
				continue
			}
			home, second := homes(h, s.groups)
			if home/2 != g {
				home = second
			}
			group := s.group(home)
			j := 0
			for group[j] != 0 {
				j++
			}
			group[j] = h
			copy(s.state(home, j), state)
		}
	}
}

func (t *table) group(g int) *[groupSize]uint64 {
	return (*[groupSize]uint64)(t.hashes[g*groupSize:])
}

func (t *table) state(g, i int) []int64 {
	at := (g*groupSize + i) * t.words
	return t.states[at : at+t.words : at+t.words]
}
