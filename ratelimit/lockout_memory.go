package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// OpenLockout returns the book of a name, as [LockoutStore] says.
//
// The counters of each kind have a table of their own, of MaxKeys. What they count
// on is kept as a hash under a random key of this process. A table that is full
// gives the slot of the counter that owes the least to the next one, among 16, but
// never that of one that is exhausted: nobody gets rid of a lock by making other
// counters.
//
// The guesses from one /16 (IPv4) or /48 (IPv6) take about an eighth of a table, and
// not much more than a sixth: the further counters that they need share one, which is
// that of their /16 or /48 in one of 128 parts of the table. So who fills his share locks out his
// neighbours and nobody else. It takes some ten such networks to fill the table with
// exhausted counters, and as many checked guesses as there are slots, times the limit;
// then all new counters are shared like that. Guesses without an address are from one
// such network. A shared counter has the limit of one, and a success or an undecided
// guess takes its own count back from it and no more.
//
// All tables together take some 165 MiB by default, when they are full.
//
// Up to MaxKeys accounts are known, with 16 networks each; an account takes about
// 100 bytes. When there are more, one that has not succeeded for long is forgotten.
// Only successes add to them.
func (m *Memory) OpenLockout(name string, rules LockoutRules) (LockoutBook, error) {
	if err := rules.check("LockoutRules"); err != nil {
		return nil, err
	}
	if m.maxKeys == 0 {
		return nil, errors.New("ratelimit: the Memory was not made by NewMemory")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := "\x00" + name // which no name of a limiter is
	if _, ok := m.names[taken]; ok {
		return nil, fmt.Errorf("ratelimit: the lockout %q is open already in this store", name)
	}
	m.names[taken] = struct{}{}
	return newMemoryLockout(m.start, m.maxKeys, rules), nil
}

// A memoryLockout is a LockoutBook in memory.
type memoryLockout struct {
	seed     maphash.Seed
	start    time.Time
	tables   [lockoutCounters]lockoutTable
	accounts known // of an account, the networks where it succeeded
	networks known // of a network, whether somebody did
}

func newMemoryLockout(start time.Time, maxKeys int, rules LockoutRules) *memoryLockout {
	b := &memoryLockout{seed: maphash.MakeSeed(), start: start}
	for i, l := range [lockoutCounters]LockoutLimit{rules.Network, rules.Pair, rules.Account, rules.Pair, rules.Account} {
		b.tables[i].init(maxKeys, l, rules.Backoff, rules.MaxBackoff)
	}
	b.accounts.init(maxKeys, rules.KnownFor)
	b.networks.init(maxKeys, rules.KnownFor)
	return b
}

// The places of the counters.
const (
	atNetwork = iota
	atSentNear
	atSent
	atPair
	atAccount
)

// A counted is where the counters of a guess are.
type counted struct {
	hashes  [lockoutCounters]uint64
	site    uint64 // the /16 or /48 that the guess is from
	near    uint64
	account uint64
}

func (b *memoryLockout) find(g *LockoutGuess) (c counted) {
	c.hashes[atNetwork] = b.hash(keyNetwork, "", g.Network)
	c.hashes[atPair] = b.hash(keyPair, g.Account, g.Near)
	c.account = b.hash(keyAccount, g.Account, netip.Prefix{})
	c.hashes[atAccount] = c.account
	c.near = b.hash(keyNetwork, "", g.Near)
	c.site = b.hash(keySite, "", siteOf(g.Network))
	if g.Sent != "" {
		c.hashes[atSentNear] = b.hash(keyPair, g.Sent, g.Near)
		c.hashes[atSent] = b.hash(keyAccount, g.Sent, netip.Prefix{})
	}
	return c
}

// siteOf returns the /16 or /48 around a network, or the network if that is wider.
func siteOf(network netip.Prefix) netip.Prefix {
	bits := 48
	if network.Addr().Is4() {
		bits = 16
	}
	p, err := network.Addr().Prefix(min(bits, network.Bits()))
	if err != nil { // there is no address
		return netip.Prefix{}
	}
	return p
}

// Count decides at once, whatever ctx is.
func (b *memoryLockout) Count(_ context.Context, g LockoutGuess) (LockoutAnswer, error) {
	c := b.find(&g)
	now := time.Since(b.start)
	use := CountNetwork | CountPair
	if g.Sent != "" {
		use |= CountSentNear
		if !b.networks.has(c.near, 0, now) {
			use |= CountSent
		}
	}
	if !b.accounts.has(c.account, c.near, now) {
		use |= CountAccount
	}
	var shards [lockoutCounters]*lockoutShard
	for i := range shards { // always in this order, so that nobody waits for each other
		if use.has(i) {
			shards[i] = b.tables[i].lock(c.hashes[i], now)
		}
	}
	a := b.decide(&shards, &c)
	for _, s := range shards {
		if s != nil {
			s.mu.Unlock()
		}
	}
	return a, nil
}

// Peek asks no shared counter: which one a guess gets depends on what there is room
// for, so Count tells.
func (b *memoryLockout) Peek(_ context.Context, g LockoutGuess) (a LockoutAnswer, err error) {
	c := b.find(&g)
	now := time.Since(b.start)
	for i := range atSent + 1 {
		if i > atNetwork && g.Sent == "" || i == atSent && b.networks.has(c.near, 0, now) {
			continue
		}
		s := b.tables[i].lock(c.hashes[i], now)
		if state := s.find(c.hashes[i]); state != nil {
			a.RetryAfter = max(a.RetryAfter, b.tables[i].refuse(state, s.now, i, &a))
		}
		s.mu.Unlock()
	}
	return a, nil
}

// decide is Count with the shards locked.
func (b *memoryLockout) decide(shards *[lockoutCounters]*lockoutShard, c *counted) (a LockoutAnswer) {
	// What refuses is there already: a guess that it refuses gets no slot.
	for i := range atSent + 1 {
		if s := shards[i]; s != nil {
			if state := s.find(c.hashes[i]); state != nil {
				a.RetryAfter = max(a.RetryAfter, b.tables[i].refuse(state, s.now, i, &a))
			}
		}
	}
	if a.Locked {
		return a
	}
	var states [lockoutCounters][]int64
	for i, s := range shards {
		if s == nil {
			continue
		}
		states[i] = b.tables[i].slot(s, c.hashes[i], c.site)
		if i <= atSent { // a state that is shared may refuse what is new
			a.RetryAfter = max(a.RetryAfter, b.tables[i].refuse(states[i], s.now, i, &a))
		}
	}
	if a.Locked {
		return a
	}
	for i := atPair; i < lockoutCounters; i++ {
		if s := shards[i]; s != nil {
			b.tables[i].refuse(states[i], s.now, i, &a)
		}
	}
	for i, s := range shards {
		if s != nil && (i <= atSent || !a.Locked) {
			b.tables[i].count(states[i], s.now)
			a.Counted |= 1 << i
			a.Epochs[i] = epoch(states[i])
		}
	}
	return a
}

// Settle never fails.
func (b *memoryLockout) Settle(_ context.Context, g LockoutGuess, a LockoutAnswer, o LockoutOutcome) error {
	c := b.find(&g)
	now := time.Since(b.start)
	back, reset := a.Counted, LockoutCounters(0)
	if o == LockoutSuccess {
		reset = CountPair
		if g.Sent != "" {
			reset |= CountSentNear
		}
		b.accounts.note(c.account, c.near, now)
		b.networks.note(c.near, 0, now)
	}
	for i := range b.tables {
		if !(back | reset).has(i) {
			continue
		}
		t := &b.tables[i]
		s := t.lock(c.hashes[i], now)
		own := s.find(c.hashes[i])
		if reset.has(i) && own != nil {
			s.renew(own)
		}
		if back.has(i) {
			for _, state := range [...][]int64{own, s.spare.find(c.site), s.spare.overflow} {
				if state != nil && epoch(state) == a.Epochs[i] {
					t.giveBack(state, s.now)
					break
				}
			}
		}
		s.mu.Unlock()
	}
	return nil
}

func (c LockoutCounters) has(i int) bool { return c>>i&1 != 0 }

// A lockoutTable holds the counters of one kind. A state is three words: the time at
// which all is forgiven, as in a memoryBucket; the time until which an exhausted
// counter refuses, which is even, and is odd once a guess was refused; and, in halves
// of 32 bits, a hash of the site that the counter was made for, and its epoch. Each
// time that a counter begins at nothing it has another epoch, so that a guess takes
// back what it has added itself, and nothing that came after a success.
type lockoutTable struct {
	limits  []memoryLimit // one
	one     int64         // what a failure adds, in nanoseconds
	full    int64         // what makes a counter exhausted, if it is more
	most    int64         // what is never exceeded
	backoff time.Duration
	longest time.Duration
	share   int // how many slots of a shard one site may have
	mask    uint64
	shards  []lockoutShard
}

// A lockoutShard is a shard with what keeps one site from using it up.
type lockoutShard struct {
	shard
	epoch uint32
	spare shard // by site, the counters that are shared
	heavy [8]heavySite
}

// A heavySite is one that was found to have many slots.
type heavySite struct {
	site int64 // the half of a state
	room int   // how many more it may have
	at   int64 // when its slots were counted
}

const (
	spareGroups = 16 // so that a shard knows up to 128 sites that share a counter
	crowd       = 2  // so many slots of one site, among 16, make a shard count them all
	recount     = int64(time.Second)
)

// epoch returns which beginning of a counter this is.
func epoch(state []int64) int64 { return state[2] & math.MaxUint32 }

// site returns the half of a state that says whom it was made for.
func site(hash uint64) int64 { return int64(hash >> 32 << 32) } //nolint:gosec // as bits

// renew begins a counter at nothing.
func (s *lockoutShard) renew(state []int64) {
	s.epoch++
	state[0], state[1], state[2] = s.now, 0, state[2]&^math.MaxUint32|int64(s.epoch)
}

func (t *lockoutTable) init(maxKeys int, l LockoutLimit, backoff, longest time.Duration) {
	per := l.each()
	r, _ := compileRate("", Limit{Events: 1, Per: per, Burst: l.Failures}) // the rules were checked
	t.limits = []memoryLimit{{rate: r}}
	t.one = int64(per)
	t.full = int64(l.Failures-1) * t.one
	t.most = int64(l.Failures+doublings(backoff, longest)+1) * t.one
	t.backoff, t.longest = backoff, longest
	shards := 1
	for shards < maxShards && maxKeys/shards > keysPerShard {
		shards *= 2
	}
	t.mask = uint64(shards - 1) //nolint:gosec // at most 127
	t.shards = make([]lockoutShard, shards)
	for i := range t.shards {
		s := &t.shards[i]
		s.init(3, max(1, maxKeys/shards/groupSize))
		s.spare.init(3, spareGroups)
		t.share = max(2*groupSize, s.most*groupSize/8)
	}
}

// lock locks the shard of h. Time does not go back in it.
func (t *lockoutTable) lock(h uint64, now time.Duration) *lockoutShard {
	s := &t.shards[h&t.mask]
	s.mu.Lock()
	s.now = max(s.now, int64(now))
	s.spare.now = s.now
	return s
}

// slot returns the state of h, which may be new, or that of the site from which it is
// asked for. One that owes nothing is as good as none, so that nobody saves up slots.
func (t *lockoutTable) slot(s *lockoutShard, h, from uint64) []int64 {
	state := s.find(h)
	if state != nil && state[0] > s.now {
		return state
	}
	if t.crowded(s, h, from) {
		state = nil
	} else {
		if state == nil {
			state = t.claim(&s.shard, h)
		}
		if state != nil {
			state[2] = site(from) | epoch(state)
		}
	}
	if state == nil {
		state = s.spare.find(from)
	}
	if state == nil {
		state = t.claim(&s.spare, from)
	}
	if state == nil {
		state = s.spare.overflow
	}
	if state[0] <= s.now {
		s.renew(state)
	}
	return state
}

// claim gives h a slot that nobody needs, or the one that owes the least and is not
// exhausted. It returns nil if there is none.
func (t *lockoutTable) claim(s *shard, h uint64) []int64 {
	state := s.claim(h, t.limits)
	if &state[0] != &s.overflow[0] {
		return state
	}
	in := s.table.Load()
	a, b := homes(h, in.groups)
	least, slot := t.full, []int64(nil)
	for _, g := range [...]int{a, b} {
		for one := range slices.Chunk(in.group(g), in.width) {
			if debt := one[1] - s.now; debt <= least {
				least, slot = debt, one
			}
		}
	}
	if slot == nil {
		return nil
	}
	slot[0] = int64(h) //nolint:gosec // bits
	slot[1] = s.now
	return slot[1:]
}

// crowded reports whether a site has its share of the slots. They are counted only
// where h could go next to several of them, and no more than once a second while there
// are too many.
func (t *lockoutTable) crowded(s *lockoutShard, h, from uint64) bool {
	groups := s.table.Load().groups
	if groups == 0 {
		return false
	}
	mine, heavy := site(from), &s.heavy[from%uint64(len(s.heavy))]
	a, b := homes(h, groups)
	if s.slotsOf(mine, a, a+1)+s.slotsOf(mine, b, b+1) >= crowd {
		if heavy.site != mine || heavy.room == 0 && s.now-heavy.at >= recount {
			*heavy = heavySite{mine, max(0, t.share-s.slotsOf(mine, 0, groups)), s.now}
		}
		if heavy.room == 0 {
			return true
		}
	}
	if heavy.site == mine && heavy.room > 0 {
		heavy.room--
	}
	return false
}

// slotsOf returns how many slots a site needs in the groups from first up to end.
func (s *lockoutShard) slotsOf(mine int64, first, end int) (n int) {
	t := s.table.Load()
	for at := first * groupSize * t.width; at < end*groupSize*t.width; at += t.width {
		if state := t.slots[at+1:]; state[0] > s.now && state[2]&^math.MaxUint32 == mine {
			n++
		}
	}
	return n
}

// refuse notes in a whether the counter at i refuses, and returns for how long.
func (t *lockoutTable) refuse(state []int64, now int64, i int, a *LockoutAnswer) time.Duration {
	wait := state[1]&^1 - now
	if state[0]-now <= t.full || wait <= 0 {
		return 0
	}
	a.Locked = true
	if state[1]&1 == 0 {
		state[1] |= 1
		a.Began |= 1 << i
	}
	return time.Duration(wait)
}

func (t *lockoutTable) count(state []int64, now int64) {
	debt := min(max(state[0]-now, 0)+t.one, t.most)
	state[0] = now + debt
	if debt > t.full {
		state[1] = (now+int64(t.wait(debt))+1)&^1 | state[1]&1
	}
}

// wait is the back-off that a debt makes.
func (t *lockoutTable) wait(debt int64) time.Duration {
	over := (debt+t.one-1)/t.one - t.full/t.one - 1
	wait := t.backoff
	for ; over > 0 && wait < t.longest; over-- {
		wait *= 2
	}
	return min(wait, t.longest)
}

func (t *lockoutTable) giveBack(state []int64, now int64) {
	debt := state[0] - now - t.one
	if debt <= 0 {
		state[0], state[1] = now, 0
		return
	}
	state[0] = now + debt
	if debt > t.full {
		state[1] = now&^1 | state[1]&1 // the next may try in its place
	}
}

// The kinds of what is counted on, which begin its key.
const (
	keyNetwork = 'n'
	keyPair    = 'p'
	keyAccount = 'a'
	keySite    = 's'
)

func (b *memoryLockout) hash(kind byte, name string, network netip.Prefix) uint64 {
	var buf [128]byte
	h := maphash.Bytes(b.seed, appendLockoutKey(buf[:0], kind, name, network))
	if h == 0 {
		h = 1 // 0 marks an empty slot
	}
	return h
}

// appendLockoutKey appends a key that no other name and network of any kind have.
func appendLockoutKey(b []byte, kind byte, name string, network netip.Prefix) []byte {
	b = append(b, kind)
	b = appendPart(b, name)
	addr := network.Addr()
	switch {
	case addr.Is4():
		a := addr.As4()
		b = append(b, kindIPv4, byte(network.Bits())) //nolint:gosec // at most 32
		b = append(b, a[:]...)
	case addr.Is6():
		a := addr.As16()
		b = append(b, kindIPv6, byte(network.Bits())) //nolint:gosec // at most 128
		b = append(b, a[:]...)
	default:
		b = append(b, kindUnknown)
	}
	return b
}

// A known remembers for some time where a key was seen last. Keys and places are
// hashes under a random key.
type known struct {
	keep     time.Duration
	perShard int
	shards   []knownShard
}

type knownShard struct {
	mu   sync.Mutex
	seen map[uint64][]sighting
}

type sighting struct {
	where uint64
	at    time.Duration
}

const (
	knownNetworks  = 16 // of one account
	evictionSample = 8
)

func (k *known) init(most int, keep time.Duration) {
	k.keep = keep
	k.shards = make([]knownShard, max(1, min(64, most/64)))
	k.perShard = max(1, most/len(k.shards))
	for i := range k.shards {
		k.shards[i].seen = make(map[uint64][]sighting)
	}
}

func (k *known) shard(key uint64) *knownShard {
	return &k.shards[key%uint64(len(k.shards))]
}

func (k *known) has(key, where uint64, now time.Duration) bool {
	s := k.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.seen[key] {
		if one.where == where {
			return now-one.at < k.keep
		}
	}
	return false
}

// note remembers where a key was seen, in place of what was longest ago if there is
// no room.
func (k *known) note(key, where uint64, now time.Duration) {
	s := k.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.seen[key]
	oldest := 0
	for i := range list {
		if list[i].where == where {
			list[i].at = max(list[i].at, now)
			return
		}
		if list[i].at < list[oldest].at {
			oldest = i
		}
	}
	if len(list) == knownNetworks || len(list) > 0 && now-list[oldest].at >= k.keep {
		list[oldest] = sighting{where, now}
		return
	}
	if list == nil && len(s.seen) >= k.perShard {
		s.evict()
	}
	s.seen[key] = append(list, sighting{where, now})
}

// evict forgets the key that was seen the longest ago, of a few.
func (s *knownShard) evict() {
	var victim uint64
	oldest, n := time.Duration(math.MaxInt64), 0
	for key, list := range s.seen {
		last := time.Duration(0)
		for _, one := range list {
			last = max(last, one.at)
		}
		if last < oldest {
			victim, oldest = key, last
		}
		if n++; n == evictionSample {
			break
		}
	}
	delete(s.seen, victim)
}
