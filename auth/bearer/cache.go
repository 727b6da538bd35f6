package bearer

import (
	"errors"
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	defaultCacheEntries = 10_000
	mostCacheEntries    = 10_000_000
	defaultCacheBytes   = 32 << 20
	leastCacheBytes     = 64 << 10
	defaultCacheAge     = 5 * time.Minute
	longestCacheAge     = 24 * time.Hour

	// ways is how many entries a set has: the places where one token can be.
	ways = 8
	// entryOverhead is what an entry takes beside its texts, in bytes, roughly. The
	// texts are the token and its claims, which are at most three quarters as long.
	// CacheConfig.MaxBytes counts both.
	entryOverhead = 768
)

// CacheConfig bounds the memory of verified tokens. A token that comes again is
// not verified again, which saves nearly all of the cost: what is compared is the
// whole token. Its times, its key, which the set must still have, and its
// revocation are asked each time, and so are the proofs of DPoP and certificates.
// Tokens that were refused are not kept.
type CacheConfig struct {
	// Disabled verifies every token each time.
	Disabled bool

	// MaxEntries bounds the number of tokens. 0 means 10,000; at most 10 million.
	// The oldest make room.
	MaxEntries int

	// MaxBytes bounds the memory that the tokens and their claims take, roughly.
	// 0 means 32 MiB; at least 64 KiB.
	MaxBytes int64

	// MaxAge is how long a token is good without being verified again. 0 means 5
	// minutes; at most 24 hours.
	MaxAge time.Duration
}

func (c *CacheConfig) check() error {
	if c.MaxEntries == 0 {
		c.MaxEntries = defaultCacheEntries
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = defaultCacheBytes
	}
	if c.MaxAge == 0 {
		c.MaxAge = defaultCacheAge
	}
	switch {
	case c.MaxEntries < 0 || c.MaxEntries > mostCacheEntries:
		return errors.New("bearer: Config.Cache.MaxEntries must be from 0 to 10,000,000")
	case c.MaxBytes < leastCacheBytes:
		return errors.New("bearer: Config.Cache.MaxBytes must be 0, or at least 64 KiB")
	case c.MaxAge < 0 || c.MaxAge > longestCacheAge:
		return errors.New("bearer: Config.Cache.MaxAge must be from 0 to 24h")
	}
	return nil
}

// A cache remembers verified tokens. It belongs to one Authenticator, whose issuers
// and audiences never change, so what was decided by it is good for it alone.
//
// Tokens are found by a keyed 64-bit hash and then compared as a whole: a second
// token of the same hash takes the place of the first, and is never taken for it.
// That costs half of what a SHA-256 of the token would, and the seed, which no
// client learns, keeps anyone from choosing tokens that meet in one set.
//
// Readers take no lock. A set is small, so a writer looks at all of it.
type cache struct {
	seed     maphash.Seed
	maxBytes int64
	size     int
	once     sync.Once
	sets     [][ways]atomic.Pointer[entry] // nil until the first token
	bytes    atomic.Int64
	hand     atomic.Uint64 // where the next token is dropped when there are too many bytes
}

type entry struct {
	*verified
	hash uint64
	cost int64
}

// newCache returns a cache, or nil if there is nothing to keep: a nil cache is
// empty.
func newCache(entries int, bytes int64) *cache {
	if entries == 0 {
		return nil
	}
	return &cache{seed: maphash.MakeSeed(), size: max(1, (entries+ways/2)/ways), maxBytes: bytes}
}

func (c *cache) start() {
	c.once.Do(func() { c.sets = make([][ways]atomic.Pointer[entry], c.size) })
}

func (c *cache) set(hash uint64) *[ways]atomic.Pointer[entry] {
	return &c.sets[hash%uint64(len(c.sets))]
}

// find returns what is known of token, or nil, and its hash for add.
func (c *cache) find(token string) (*verified, uint64) {
	if c == nil {
		return nil, 0
	}
	c.start()
	hash := maphash.String(c.seed, token)
	return c.at(hash, token), hash
}

func (c *cache) at(hash uint64, token string) *verified {
	set := c.set(hash)
	for i := range set {
		if e := set[i].Load(); e != nil && e.hash == hash && e.token == token {
			return e.verified
		}
	}
	return nil
}

// add keeps t, which token was verified to be. It takes the place of the same
// token, an empty one, or that of the token of its set that was verified first,
// whose client has most likely got a new one since.
func (c *cache) add(t *verified, token string, hash uint64) {
	if c == nil || t.by.Cache.Disabled {
		return
	}
	t.token = strings.Clone(token) // not the whole request's header
	e := &entry{verified: t, hash: hash, cost: int64(len(token))*7/4 + entryOverhead}
	if e.cost > c.maxBytes/ways {
		return
	}
	set := c.set(hash)
	for range ways { // others may write to the set meanwhile
		place, old := 0, set[0].Load()
		for i := range set {
			one := set[i].Load()
			if one == nil || one.hash == hash {
				place, old = i, one
				break
			}
			if old != nil && one.verified.verified.Before(old.verified.verified) {
				place, old = i, one
			}
		}
		if c.swap(&set[place], old, e) {
			break
		}
	}
	c.shrink()
}

// swap puts e in the place of old, and keeps the account.
func (c *cache) swap(place *atomic.Pointer[entry], old, e *entry) bool {
	if !place.CompareAndSwap(old, e) {
		return false
	}
	var change int64
	if e != nil {
		change += e.cost
	}
	if old != nil {
		change -= old.cost
	}
	c.bytes.Add(change)
	return true
}

// shrink drops tokens, wherever the hand points, until the bytes are few enough.
func (c *cache) shrink() {
	for range len(c.sets) * ways { // nothing is left after one turn
		if c.bytes.Load() <= c.maxBytes {
			return
		}
		n := c.hand.Add(1)
		place := &c.sets[n/ways%uint64(len(c.sets))][n%ways]
		if old := place.Load(); old != nil {
			c.swap(place, old, nil)
		}
	}
}

// drop forgets t.
func (c *cache) drop(t *verified) {
	if c == nil || t.token == "" {
		return
	}
	hash := maphash.String(c.seed, t.token)
	set := c.set(hash)
	for i := range set {
		if e := set[i].Load(); e != nil && e.verified == t {
			c.swap(&set[i], e, nil)
			return
		}
	}
}
