package ratelimit

import (
	"sync/atomic"
	"testing"
	"time"
)

// Who has found a slot, and comes late, does not write into it once it belongs to another
// key or has moved.
func TestSlotIsLost(t *testing.T) {
	const h, other = 1 << 40, 1<<40 + 1<<20
	for _, c := range []struct {
		name string
		lose func(s *shard, slot []int64, limits []memoryLimit) bool
	}{
		{"given away", func(s *shard, slot []int64, limits []memoryLimit) bool {
			s.now = int64(time.Hour) // nothing is owed any more
			return s.give(slot, other, limits)
		}},
		{"given away and back", func(s *shard, slot []int64, limits []memoryLimit) bool {
			s.now = int64(time.Hour)
			return s.give(slot, other, limits) && s.give(slot, h, limits)
		}},
		{"moved", func(s *shard, _ []int64, limits []memoryLimit) bool {
			s.grow(limits)
			return true
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := compileRate("", PerSecond(1))
			if err != nil {
				t.Fatal(err)
			}
			b := newMemoryBucket(time.Now(), 1<<10, []rate{r})
			s := &b.shards[0]
			if state := s.claim(h, b.limits); &state[0] == &s.overflow[0] {
				t.Fatal("there is no slot")
			}
			slot := s.table.Load().pair(h)
			var read []int64 // all that a late one may have read
			read = append(read, slot[1])
			for range 3 {
				b.swap(new(Result), slot, h, 0, 1, span{})
				read = append(read, slot[1])
			}
			if !c.lose(s, slot[:], b.limits) {
				t.Fatal("the slot was not lost")
			}
			after := *slot
			if c.name != "given away and back" && b.swap(new(Result), slot, h, s.now, 1, span{}) {
				t.Error("the slot was found to be that of the key still")
			}
			for _, tat := range read {
				if atomic.CompareAndSwapInt64(&slot[1], tat, tat+1) {
					t.Errorf("the state %d was swapped", tat)
				}
			}
			if *slot != after {
				t.Errorf("the slot is %v, was %v", *slot, after)
			}
		})
	}
}

// A slot is not given away while its key owes something, whoever thought it does not.
func TestSlotIsKept(t *testing.T) {
	const h, other = 1 << 40, 1<<40 + 1<<20
	r, err := compileRate("", PerSecond(1))
	if err != nil {
		t.Fatal(err)
	}
	b := newMemoryBucket(time.Now(), 1<<10, []rate{r})
	s := &b.shards[0]
	s.claim(h, b.limits)
	slot := s.table.Load().pair(h)
	b.swap(new(Result), slot, h, 0, 1, span{})
	before := *slot
	if s.give(slot[:], other, b.limits) || *slot != before {
		t.Errorf("the slot is %v, was %v", *slot, before)
	}
	s.grow(b.limits)
	if moved := s.table.Load().pair(h); moved == nil || *moved != before {
		t.Errorf("the slot moved to %v, was %v", moved, before)
	}
}
