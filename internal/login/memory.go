package login

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"net/netip"
	"sync"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/internal/recent"
)

// A Memory remembers which passwords were right a moment ago, and from where, so that a client that
// sends one with each request costs a hash with each moment alone. It holds their
// HMAC under a key of its own, and forgets an account whose stored hash has changed.
// It is safe for concurrent use. A nil Memory remembers nothing.
type Memory struct {
	period time.Duration
	macs   sync.Pool
	known  *recent.Map[[sha256.Size]byte, right]
}

// right is the stored hash that a password was right for.
type right struct {
	hash    string
	version int64
	until   time.Time
}

// NewMemory returns a Memory that holds up to most passwords for a period.
func NewMemory(period time.Duration, most int) *Memory {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails: the program ends instead
	m := &Memory{period: period, known: recent.New[[sha256.Size]byte, right](period, most)}
	m.macs.New = func() any { return &macBuffer{Hash: hmac.New(sha256.New, key)} }
	return m
}

// A macBuffer is what one sum needs.
type macBuffer struct {
	hash.Hash
	text []byte
	sum  [sha256.Size]byte
}

// sum is over the lengths too, so that no two accounts, addresses and passwords have
// one.
func (m *Memory) sum(subject string, addr netip.Addr, pw string) [sha256.Size]byte {
	b := m.macs.Get().(*macBuffer) //nolint:forcetypeassert // New makes no other
	b.Reset()
	b.text = binary.BigEndian.AppendUint64(b.text[:0], uint64(len(subject)))
	b.text = append(b.text, subject...)
	from := addr.As16() // zeros if there is none
	b.text = append(append(b.text, from[:]...), pw...)
	_, _ = b.Write(b.text) // never fails
	sum := [sha256.Size]byte(b.Sum(b.sum[:0]))
	clear(b.text)
	m.macs.Put(b)
	return sum
}

// knows reports whether pw from addr was right for user, as user is now.
func (m *Memory) knows(user *auth.User, pw string, addr netip.Addr, now time.Time) bool {
	if m == nil || user.Subject == "" || user.PasswordHash == "" {
		return false
	}
	r, ok := m.known.Get(m.sum(user.Subject, addr, pw), now)
	return ok && now.Before(r.until) && r.hash == user.PasswordHash && r.version == user.Version
}

// add notes that pw is right for user. now is when the account was looked up.
func (m *Memory) add(user *auth.User, pw string, addr netip.Addr, now time.Time) {
	if m != nil {
		m.known.Put(m.sum(user.Subject, addr, pw), right{user.PasswordHash, user.Version, now.Add(m.period)}, now)
	}
}
