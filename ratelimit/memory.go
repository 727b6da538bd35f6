package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// MemoryConfig says how much a [Memory] may hold. The zero MemoryConfig is ready
// for use.
type MemoryConfig struct {
	// MaxKeys bounds how many keys each bucket keeps apart at a time. Only keys
	// that owe something are kept: one that made a single request of a limit of
	// 10 per second is forgotten after 100 ms. The default is 1<<20. The table may
	// be smaller by up to an eighth, or by up to 7 keys; less than 8 means 8.
	//
	// A key takes 8 bytes, and for each limit 8 more, or 16 if Per/Events is not a
	// whole number of nanoseconds or the limit has a Window. So a bucket with one limit such as 10 per second
	// takes at most 16 MiB by default. A table begins small and doubles as keys
	// come; it never shrinks.
	MaxKeys int
}

const (
	defaultMaxKeys = 1 << 20
	mostMaxKeys    = 1 << 32
	groupSize      = 8       // slots; with a state of one word they fill two cache lines
	firstGroups    = 8       // a shard begins with so many groups, up to twice as many, or as it may have
	maxShards      = 128     // a power of two
	keysPerShard   = 1 << 10 // below this another shard isn't worth its memory
)

// Memory is a [Store] in the memory of this process. Its decisions are exact
// and need no allocation, it starts no goroutine, and its size is bounded.
//
// A key's state is its theoretical arrival time for each limit, in a slot that
// is found by a 64-bit hash of the key with a random seed. A state in the past
// equals no state, so its slot is free for the next key, and nothing needs to
// be swept. The key itself is not kept. Two of n keys share a hash, and so a
// limit, with a probability of about n²/2⁶⁵: 1 in 30 million for 2²⁰ keys.
//
// # When it is full
//
// A key that owes something keeps its slot, whatever comes, so nobody gets rid
// of a refusal by spraying keys. A new key that finds no free slot shares one
// overflow slot, with the same limits, with all such keys of its shard; there are
// at most 128 shards. That is stricter for each of them and lasts until a slot is
// free. So n sprayed keys are never allowed more than MaxKeys + 128 keys would
// be, however large n is. The first keys share when 70 to 85 % of the slots are in
// use; of MaxKeys keys that all owe something, 4 to 8 % do. Where a slow limit
// and many addresses could fill the table, let a fast limit by a wider network
// stand before it; see [ByClientNetwork].
//
// # Time
//
// The clock is monotonic: setting the wall clock changes nothing. On systems
// whose monotonic clock stands still while the machine is suspended, so do the
// limits.
//
// Memory is safe for concurrent use.
type Memory struct {
	maxKeys int
	start   time.Time

	mu    sync.Mutex
	names map[string]struct{}
}

// NewMemory returns an empty Memory. It returns an error if MaxKeys is negative
// or more than 1<<32.
func NewMemory(cfg MemoryConfig) (*Memory, error) {
	switch {
	case cfg.MaxKeys < 0:
		return nil, fmt.Errorf("ratelimit: MemoryConfig.MaxKeys is %d", cfg.MaxKeys)
	case int64(cfg.MaxKeys) > mostMaxKeys:
		return nil, fmt.Errorf("ratelimit: MemoryConfig.MaxKeys is %d, more than 1<<32", cfg.MaxKeys)
	case cfg.MaxKeys == 0:
		cfg.MaxKeys = defaultMaxKeys
	}
	return &Memory{maxKeys: cfg.MaxKeys, start: time.Now(), names: make(map[string]struct{})}, nil
}

// Open returns the bucket of a name, as [Store] says. Each bucket has a table of
// its own, so the keys of one can't crowd out those of another. Limits that can
// never allow anything, and more than 8 of them, are an error too.
func (m *Memory) Open(name string, limits []Limit) (Bucket, error) {
	if m.maxKeys == 0 {
		return nil, errors.New("ratelimit: the Memory was not made by NewMemory")
	}
	rates, err := compileLimits("ratelimit: Limits", limits)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, taken := m.names[name]; taken {
		return nil, fmt.Errorf("ratelimit: the name %q is open already in this store", name)
	}
	m.names[name] = struct{}{}
	return newMemoryBucket(m.start, m.maxKeys, rates), nil
}

// A memoryBucket is what the keys of one limiter owe.
type memoryBucket struct {
	limits   []memoryLimit
	only     *memoryLimit // the first
	simple   bool         // one limit, of one word
	windows  bool         // a limit is counted in windows
	id       uint64       // in the order in which buckets are made
	minBurst int
	seed     maphash.Seed
	start    time.Time
	mask     uint64 // takes the shard from a hash
	shards   []shard
}

// A memoryLimit is a limit and where its state stands in the words of a slot:
// the nanoseconds at word at, and the part of one at the next if e is not 1. Windows
// have two words.
type memoryLimit struct {
	rate
	at       int
	calendar *calendarCache // nil if it is not by the calendar
}

var memoryBuckets atomic.Uint64

func newMemoryBucket(start time.Time, maxKeys int, rates []rate) *memoryBucket {
	b := &memoryBucket{id: memoryBuckets.Add(1), minBurst: minBurst(rates), seed: maphash.MakeSeed(), start: start}
	words := 0
	for _, r := range rates {
		l := memoryLimit{rate: r, at: words}
		words++
		if r.e != 1 || r.limit.Window != (Window{}) {
			words++
		}
		if r.limit.Window != (Window{}) {
			b.windows = true
		}
		if r.limit.Window.IsCalendar() {
			l.calendar = new(calendarCache)
		}
		b.limits = append(b.limits, l)
	}
	b.only, b.simple = &b.limits[0], words == 1
	shards := 1
	for shards < maxShards && maxKeys/shards > keysPerShard {
		shards *= 2
	}
	b.mask = uint64(shards - 1) //nolint:gosec // at most 127
	b.shards = make([]shard, shards)
	for i := range b.shards {
		b.shards[i].init(words, max(1, maxKeys/shards/groupSize))
	}
	return b
}

// Take decides at once, whatever ctx is.
func (b *memoryBucket) Take(_ context.Context, key string, n int) (res Result, err error) {
	switch {
	case key == "":
		return res, ErrNoKey
	case n == 0:
		return res, ErrCost
	case n > b.minBurst:
		return res, ErrCostExceedsBurst
	}
	b.take(&res, key, n)
	return res, nil
}

// take is Take, with what it is given checked, and with a res that is zero. It reports
// whether the key shares the overflow slot.
//
// One event of the only limit, of a key that has a slot, is what most decisions are, so that
// is tried here, in as few calls as it takes. The clock is read late and the result written
// early: what a processor does before it reads the clock overlaps with the caller's work,
// and what it writes before it swaps a word has arrived when the caller reads it.
func (b *memoryBucket) take(res *Result, key string, n int) (shared bool) {
	hash := maphash.String(b.seed, key)
	if hash == 0 {
		hash = 1 // 0 marks an empty slot
	}
	s := &b.shards[hash&b.mask]
	if !b.simple || n != 1 {
		return b.takeAny(res, s, hash, b.moment(), n)
	}
	slot, l := s.table.Load().pair(hash), b.only
	res.Allowed = true
	res.Limit.Events, res.Limit.Per, res.Limit.Burst = l.limit.Events, l.limit.Per, l.limit.Burst
	now := max(0, int64(time.Since(b.start)))
	if slot != nil {
		tat := atomic.LoadInt64(&slot[1])
		if after := max(tat-now, 0) + l.interval.ns; tat != moved && after <= l.window.ns {
			res.Remaining, res.ResetAfter = int(uint64(l.window.ns-after)/l.p), time.Duration(after)               //nolint:gosec // at most Burst
			if atomic.LoadInt64(&slot[0]) == int64(hash) && atomic.CompareAndSwapInt64(&slot[1], tat, now+after) { //nolint:gosec // bits
				return false
			}
		}
	}
	res.Allowed = false // not yet
	return b.takeAny(res, s, hash, moment{now: now}, n)
}

// takeAny is take of any number, at a moment.
func (b *memoryBucket) takeAny(res *Result, s *shard, hash uint64, at moment, n int) (shared bool) {
	if b.simple && n > 0 {
		if slot := s.table.Load().pair(hash); slot != nil && b.swap(res, slot, hash, at.now, n, span{}) {
			return false
		}
	}
	s.mu.Lock()
	s.advance(at)
	shared = b.takeLocked(res, s, hash, n)
	s.mu.Unlock()
	return shared
}

// Refund gives events back, as [Refunder] says.
func (b *memoryBucket) Refund(_ context.Context, key string, n, of int, age time.Duration) (res Result, err error) {
	switch {
	case key == "":
		return res, ErrNoKey
	case n <= 0 || n > of:
		return res, ErrCost
	}
	h, s := b.place(key)
	at := b.moment()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance(at)
	b.giveBack(&res, s, h, refund{n, of, max(0, age)})
	return res, nil
}

// A refund is n events that are given back, of so many that were counted so long ago; less
// than 0 if nobody knows.
type refund struct {
	n, of int
	age   time.Duration
}

// place returns the hash of a key, and its shard.
func (b *memoryBucket) place(key string) (h uint64, s *shard) {
	h = maphash.String(b.seed, key)
	if h == 0 {
		h = 1 // 0 marks an empty slot
	}
	return h, &b.shards[h&b.mask]
}

// moment reads the clock, once.
func (b *memoryBucket) moment() moment {
	if !b.windows {
		return moment{now: max(0, int64(time.Since(b.start)))}
	}
	now := time.Now()
	return moment{max(0, int64(now.Sub(b.start))), now.UnixNano()}
}

// advance moves the shard's time. The clock was read outside the lock, so another
// caller's may be later, and time must not go back within a shard.
func (s *shard) advance(to moment) {
	s.now, s.wall = max(s.now, to.now), to.wall
}

// takeLocked is take for who holds the lock of the shard.
func (b *memoryBucket) takeLocked(res *Result, s *shard, h uint64, n int) (shared bool) {
	if n < 0 {
		b.giveBack(res, s, h, refund{n: -max(n, -math.MaxInt), age: -1})
		return false
	}
	state := s.find(h)
	if state == nil {
		state = s.claim(h, b.limits)
	}
	shared = &state[0] == &s.overflow[0]
	switch {
	case !b.simple:
		b.spend(res, state, s.moment, n)
	case shared:
		b.swap(res, (*pair)(s.shared), 0, s.now, n, span{})
	default: // the slot may have moved with the table since
		b.swap(res, s.table.Load().pair(h), h, s.now, n, span{})
	}
	return shared
}

// giveBack returns what was counted, for who holds the lock of the shard. A key without a
// slot owes nothing of its own. What it took from the overflow slot stays taken, since
// others owe that too.
func (b *memoryBucket) giveBack(res *Result, s *shard, h uint64, c refund) {
	state := s.find(h)
	switch {
	case state == nil:
		l := b.limits[0].limit
		*res = Result{Allowed: true, Limit: l, Remaining: l.Burst}
	case b.simple:
		b.swap(res, s.table.Load().pair(h), h, s.now, -c.n, b.limits[0].backFor(c))
	default:
		var one Result
		for i := range b.limits {
			b.limits[i].giveBack(&one, state, s.moment, c)
			*res = tighter(*res, one)
		}
	}
}

// backFor returns what is given back of a limit that is no window.
func (l *memoryLimit) backFor(c refund) span {
	if c.age < 0 {
		return l.back(-c.n)
	}
	return l.refund(min(c.n, l.limit.Burst), min(c.of, l.limit.Burst), c.age)
}

// swap spends n of the only limit, or gives back if n is negative, where one word is the
// state. It needs no lock to spend: whoever is first swaps the word, and the others decide
// again. It reports false, and does nothing, if the slot was taken from h or moved.
//
// A caller that comes late may have read the clock before others did. It owes what
// they spent all the same, and more of it than at a later time.
func (b *memoryBucket) swap(res *Result, slot *pair, hash uint64, now int64, n int, back span) bool {
	l := &b.limits[0]
	for {
		tat := atomic.LoadInt64(&slot[1])
		if tat == moved || atomic.LoadInt64(&slot[0]) != int64(hash) { //nolint:gosec // bits
			return false
		}
		debt := max(tat-now, 0)
		after := debt
		if n > 0 {
			after += l.cost(n).ns
		} else {
			after = l.less(span{ns: debt}, back).ns
		}
		if after > l.window.ns {
			l.refused(res, span{ns: debt}, span{ns: after})
			return true
		}
		if atomic.CompareAndSwapInt64(&slot[1], tat, now+after) {
			l.allowed(res, span{ns: after})
			return true
		}
	}
}

// spend spends n of every limit, or of none.
func (b *memoryBucket) spend(res *Result, state []int64, at moment, n int) {
	var one Result
	refused := false
	for i := range b.limits {
		if b.limits[i].ask(&one, state, at, n); !one.Allowed && (!refused || one.RetryAfter > res.RetryAfter) {
			*res, refused = one, true
		}
	}
	if refused {
		return
	}
	for i := range b.limits {
		b.limits[i].spend(&one, state, at, n)
		*res = tighter(*res, one)
	}
}

// settled reports whether a state owes nothing, so that it equals no state.
func (l *memoryLimit) settled(state []int64, at moment) bool {
	switch {
	case l.limit.Window.kind == rolling:
		return l.debt(l.load(state), at.now) == span{}
	case l.calendar != nil:
		return l.inCalendar(state, at).count == 0
	default:
		return l.inSliding(state, at).settled()
	}
}

// ask writes a refusal, or a Result of which nothing but Allowed is good.
func (l *memoryLimit) ask(res *Result, state []int64, at moment, n int) {
	switch {
	case l.limit.Window.kind == rolling:
		debt := l.debt(l.load(state), at.now)
		if after := l.add(debt, l.cost(n)); after.more(l.window) {
			l.refused(res, debt, after)
			return
		}
		res.Allowed = true
	case l.calendar != nil:
		*res = l.inCalendar(state, at).ask(l.limit, n)
	default:
		*res = l.inSliding(state, at).ask(l.limit, n)
	}
}

// spend takes n, which ask has allowed.
func (l *memoryLimit) spend(res *Result, state []int64, at moment, n int) {
	switch {
	case l.limit.Window.kind == rolling:
		debt := l.add(l.debt(l.load(state), at.now), l.cost(n))
		l.store(state, at.now, debt)
		l.allowed(res, debt)
	case l.calendar != nil:
		c := l.inCalendar(state, at)
		c.count += int64(n)
		c.store(state[l.at:])
		*res = c.result(l.limit)
	default:
		s := l.inSliding(state, at)
		s.current += int64(n)
		s.store(state[l.at:])
		*res = s.result(l.limit)
	}
}

// giveBack returns what was counted, as far as it counts still.
func (l *memoryLimit) giveBack(res *Result, state []int64, at moment, c refund) {
	switch {
	case l.limit.Window.kind == rolling:
		debt := l.less(l.debt(l.load(state), at.now), l.backFor(c))
		l.store(state, at.now, debt)
		l.allowed(res, debt)
	case l.calendar != nil:
		w := l.inCalendar(state, at)
		if at.wall-int64(c.age) >= w.start { // of this window, or nobody knows
			w.count = max(0, w.count-int64(c.n))
		}
		w.store(state[l.at:])
		*res = w.result(l.limit)
	default:
		s := l.inSliding(state, at)
		n := int64(c.n)
		switch then := (at.now - int64(max(0, c.age))) / int64(l.limit.Per); {
		case c.age < 0:
			back := min(n, s.current)
			s.current, s.previous = s.current-back, max(0, s.previous-(n-back))
		case then == s.index:
			s.current = max(0, s.current-n)
		case then == s.index-1:
			s.previous = max(0, s.previous-n)
		}
		s.store(state[l.at:])
		*res = s.result(l.limit)
	}
}

// load returns the theoretical arrival time.
func (l *memoryLimit) load(state []int64) span {
	tat := span{ns: atomic.LoadInt64(&state[l.at])} // see memoryBucket.swap
	if l.e != 1 {
		tat.frac = uint64(state[l.at+1]) //nolint:gosec // below e, which was an int
	}
	return tat
}

func (l *memoryLimit) store(state []int64, now int64, debt span) {
	state[l.at] = now + debt.ns
	if l.e != 1 {
		state[l.at+1] = int64(debt.frac) //nolint:gosec // below e, which was an int
	}
}
