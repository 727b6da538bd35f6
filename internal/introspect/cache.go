package introspect

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"
)

// A key stands for a token, for one caller that asks one endpoint on behalf of one
// API. An answer to one of them must never be found by another.
type key [sha256.Size]byte

// prefix hashes all that belongs to a key but the token. Each part is preceded by
// its length, and the list by its own, so that no two lists of parts are the same
// bytes.
func prefix(endpoint, issuer string, audience []string, caller string) [sha256.Size]byte {
	var b []byte
	add := func(s string) {
		b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
		b = append(b, s...)
	}
	add(endpoint)
	add(issuer)
	b = binary.BigEndian.AppendUint64(b, uint64(len(audience)))
	for _, one := range audience {
		add(one)
	}
	add(caller)
	return sha256.Sum256(b)
}

// newKey hashes the prefix, whose length never changes, and the token.
func newKey(prefix *[sha256.Size]byte, token string) key {
	var buf [1024]byte // most tokens fit, and need no allocation
	b := append(buf[:0], prefix[:]...)
	return sha256.Sum256(append(b, token...))
}

// entryOverhead is about what an entry takes beside its claims: itself, its key
// twice and the slot of the map.
const entryOverhead = 256

// A cache keeps answers for as long as they are good. Those that came first make
// room; since they are all kept for the same time, they are also the first to
// end, but for the few whose token expires sooner.
type cache struct {
	maxEntries int
	maxBytes   int64

	mu             sync.RWMutex
	entries        map[key]*entry
	bytes          int64
	oldest, newest *entry
}

// An entry never changes, but for its place among the others.
type entry struct {
	key    key
	answer Answer
	until  time.Time

	older, newer *entry
}

func (e *entry) cost() int64 { return int64(len(e.answer.Claims)) + entryOverhead }

func (e *entry) isGood(now time.Time) bool {
	return now.Before(e.until) && (e.answer.Expires.IsZero() || now.Before(e.answer.Expires))
}

func newCache(maxEntries int, maxBytes int64) *cache {
	return &cache{maxEntries: maxEntries, maxBytes: maxBytes, entries: make(map[key]*entry)}
}

// get returns what is known at the time given.
func (c *cache) get(k key, now time.Time) (Answer, bool) {
	c.mu.RLock()
	e := c.entries[k]
	c.mu.RUnlock()
	if e == nil || !e.isGood(now) {
		return Answer{}, false
	}
	return e.answer, true
}

// put keeps an answer until the time given, in the place of another for k.
func (c *cache) put(k key, a Answer, until time.Time) {
	e := &entry{key: k, answer: a, until: until}
	now := time.Now()
	if !e.isGood(now) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.entries[k]; old != nil {
		c.remove(old)
	}
	c.entries[k] = e
	c.bytes += e.cost()
	e.older = c.newest
	if c.newest != nil {
		c.newest.newer = e
	} else {
		c.oldest = e
	}
	c.newest = e
	for len(c.entries) > c.maxEntries || c.bytes > c.maxBytes || !c.oldest.isGood(now) {
		c.remove(c.oldest)
	}
}

func (c *cache) remove(e *entry) {
	delete(c.entries, e.key)
	c.bytes -= e.cost()
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		c.oldest = e.newer
	}
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		c.newest = e.older
	}
	e.older, e.newer = nil, nil
}
