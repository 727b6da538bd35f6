package auth

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

const defaultRevocations = 1_000_000

// MemoryRevocations is a [Revocations] in memory, for one process: a restart
// forgets what was revoked, and other processes don't know. Then only the lifetime
// of the tokens bounds the damage, so keep it short, or use a store that lasts. It
// keeps hashes, each until its time by the wall clock, and drops what has ended a
// few at a time when more is revoked. It is safe for concurrent use and has no
// goroutine.
type MemoryRevocations struct {
	max     int
	mu      sync.RWMutex
	revoked expiring[int64] // the NotBefore of subjects, in milliseconds
}

// NewMemoryRevocations returns a store of at most max revocations at a time; 0 or
// less means 1,000,000, some 150 MB. One that is full refuses more by an error.
func NewMemoryRevocations(max int) *MemoryRevocations {
	if max <= 0 {
		max = defaultRevocations
	}
	return &MemoryRevocations{max: max, revoked: newExpiring[int64]()}
}

// String tells nothing of what was revoked.
func (m *MemoryRevocations) String() string { return "auth.MemoryRevocations" }

// Format writes String whatever the verb.
func (m *MemoryRevocations) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, m.String()) }

// Revoke implements [Revocations]. It returns an error if r does not pass
// [Revocation.Check], if the store is full, and if ctx has ended. What ended before
// now needs no memory.
func (m *MemoryRevocations) Revoke(ctx context.Context, r Revocation) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := r.Check(); err != nil {
		return err
	}
	kind, name := r.named()
	key := revocationKey(kind, r.Issuer, name)
	notBefore := milliseconds(r.NotBefore)
	now := time.Now()

	m.mu.Lock()
	defer m.mu.Unlock()
	m.revoked.expire(now)
	if !r.Until.After(now) {
		return nil
	}
	before, known := m.revoked.get(key, now)
	switch {
	case known:
		notBefore = max(notBefore, before)
	case len(m.revoked.entries) >= m.max:
		return errors.New("auth: MemoryRevocations: the store is full")
	}
	m.revoked.set(key, notBefore, r.Until)
	return nil
}

// Revoked implements [Revocations]. It returns an error only if ctx has ended.
func (m *MemoryRevocations) Revoked(ctx context.Context, t TokenInfo) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	now := time.Now()
	for _, one := range [...]struct {
		kind byte
		name string
	}{{revokedToken, t.ID}, {revokedSession, t.SessionID}, {revokedSubject, t.Subject}} {
		if one.name == "" {
			continue
		}
		notBefore, ok := m.find(revocationKey(one.kind, t.Issuer, one.name), now)
		if ok && (one.kind != revokedSubject || t.IssuedAt.Before(time.UnixMilli(notBefore))) {
			return true, nil
		}
	}
	return false, nil
}

func (m *MemoryRevocations) find(key [32]byte, now time.Time) (notBefore int64, ok bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.revoked.get(key, now)
}

// The kinds of revocations, which keep a session from being taken for a token of
// the same name.
const (
	revokedToken   = 't'
	revokedSession = 's'
	revokedSubject = 'u'
)

// named returns what r revokes.
func (r Revocation) named() (kind byte, name string) {
	switch {
	case r.TokenID != "":
		return revokedToken, r.TokenID
	case r.SessionID != "":
		return revokedSession, r.SessionID
	}
	return revokedSubject, r.Subject
}

// revocationKey is a hash over length-prefixed parts, so that no two different
// tuples of them are one.
func revocationKey(kind byte, issuer, name string) [32]byte {
	var buf [512]byte
	b := append(buf[:0], kind)
	b = binary.BigEndian.AppendUint32(b, uint32(len(issuer))) //nolint:gosec // a text of a token
	b = append(b, issuer...)
	b = append(b, name...)
	return sha256.Sum256(b)
}
