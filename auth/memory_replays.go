package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	defaultReplays = 100_000
	longestReplay  = 512 // bytes of a key
)

// MemoryReplays is a [Replays] in memory, for one process: what it knows is lost
// with it, and not shared. It keeps a hash of each key until the key's time by the
// wall clock, and drops what has ended a few at a time when more comes in. It is
// safe for concurrent use and has no goroutine.
type MemoryReplays struct {
	max  int
	mu   sync.Mutex
	used expiring[struct{}]
}

// NewMemoryReplays returns a store of at most max keys at a time; 0 or less means
// 100,000, some 15 MB. One that is full refuses new keys by an error, since to
// forget a key that counts would let it in again.
func NewMemoryReplays(max int) *MemoryReplays {
	if max <= 0 {
		max = defaultReplays
	}
	return &MemoryReplays{max: max, used: newExpiring[struct{}]()}
}

// String tells nothing of the keys.
func (m *MemoryReplays) String() string { return "auth.MemoryReplays" }

// Format writes String whatever the verb.
func (m *MemoryReplays) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, m.String()) }

// Use implements [Replays]. It returns an error for a key of more than 512 bytes,
// if the store is full, and if ctx has ended.
func (m *MemoryReplays) Use(ctx context.Context, key string, until time.Time) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if len(key) > longestReplay {
		return false, errors.New("auth: MemoryReplays: the key is too long")
	}
	hash := sha256.Sum256([]byte(key))
	now := time.Now()

	m.mu.Lock()
	defer m.mu.Unlock()
	m.used.expire(now)
	if _, ok := m.used.get(hash, now); ok || !until.After(now) {
		return false, nil
	}
	if len(m.used.entries) >= m.max {
		return false, errors.New("auth: MemoryReplays: the store is full")
	}
	m.used.set(hash, struct{}{}, until)
	return true, nil
}
