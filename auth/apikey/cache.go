package apikey

import (
	"crypto/sha256"
	"crypto/subtle"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/internal/recent"
)

const (
	maxCacheFor = 10 * time.Second
	maxCached   = 10_000
)

// A cache remembers good keys for a while, by their ids.
type cache struct {
	period time.Duration
	m      *recent.Map[string, *cached]
	drops  atomic.Uint64
}

// A cached record never changes.
type cached struct {
	digest   [sha256.Size]byte
	checksum [checksumLen]byte
	record   Record
	until    time.Time
}

// newCache returns a cache, or nil, which is empty, if there is nothing to keep.
func newCache(period time.Duration) *cache {
	if period == 0 {
		return nil
	}
	return &cache{period: period, m: recent.New[string, *cached](period, maxCached)}
}

// get returns the record of a key, as it was sent, if it was good a moment ago. Its form
// need not be looked at then: it is the same text.
func (c *cache) get(plain string, now time.Time) *Record {
	if c == nil {
		return nil
	}
	id, text, checksum, ok := split(plain)
	if !ok {
		return nil
	}
	e, ok := c.m.Get(id, now)
	if !ok || !now.Before(e.until) {
		return nil
	}
	sum := digest(text)
	if subtle.ConstantTimeCompare(sum[:], e.digest[:]) != 1 || checksum != string(e.checksum[:]) {
		return nil // the store and the Lockout see it
	}
	return &e.record
}

// changes counts what was dropped. What was found out before a change is not kept.
func (c *cache) changes() uint64 {
	if c == nil {
		return 0
	}
	return c.drops.Load()
}

// add keeps the record of k, which is good. now is when the store was about to be
// asked, so that what it said is not kept longer than period; before is what changes
// returned then.
func (c *cache) add(k key, rec *Record, now time.Time, before uint64) {
	if c == nil {
		return
	}
	c.m.Put(rec.ID, &cached{digest(k.text), k.checksum(), *rec, now.Add(c.period)}, now)
	if c.changes() != before { // after Put, so that a drop from now on finds it
		c.m.Delete(k.id)
	}
}

func (c *cache) drop(id string) {
	if c != nil {
		c.drops.Add(1)
		c.m.Delete(id)
	}
}
