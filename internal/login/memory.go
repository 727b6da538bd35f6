package login

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"hash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/internal/recent"
)

// maxMisses is how many wrong passwords make a Memory forget the right one.
const maxMisses = 10

// A Memory remembers which passwords were right a moment ago, and where they came
// from, so that a client that sends one with each request costs a hash now and then
// alone. It holds their HMAC under a key of its own, and forgets an account whose
// stored hash has changed. It does not help to guess: it is asked about each place
// apart, and forgets one from which some wrong passwords have come, so that the
// Lockout is asked again. It is safe for concurrent use. A nil Memory remembers
// nothing.
type Memory struct {
	period time.Duration
	macs   sync.Pool
	known  *recent.Map[place, right]
	names  *recent.Map[sender, struct{}]
}

// A sender is a name, as it was sent, and the address that logged in with it.
type sender struct {
	name string
	addr netip.Addr
}

// A place is an account, and an address from which it was logged in to.
type place struct {
	subject string
	addr    netip.Addr
}

// right is a password that was right for a stored hash.
type right struct {
	sum     [sha256.Size]byte
	hash    string
	version int64
	until   time.Time
	left    *atomic.Int32 // wrong ones until it is forgotten
}

// NewMemory returns a Memory that holds up to most passwords for a period.
func NewMemory(period time.Duration, most int) *Memory {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails: the program ends instead
	m := &Memory{period: period, known: recent.New[place, right](period, most), names: recent.New[sender, struct{}](period, most)}
	m.macs.New = func() any { return &macBuffer{Hash: hmac.New(sha256.New, key)} }
	return m
}

// A macBuffer is what one sum needs.
type macBuffer struct {
	hash.Hash
	text []byte
	sum  [sha256.Size]byte
}

func (m *Memory) sum(pw string) [sha256.Size]byte {
	b := m.macs.Get().(*macBuffer) //nolint:forcetypeassert // New makes no other
	b.Reset()
	b.text = append(b.text[:0], pw...)
	_, _ = b.Write(b.text) // never fails
	sum := [sha256.Size]byte(b.Sum(b.sum[:0]))
	clear(b.text)
	m.macs.Put(b)
	return sum
}

// mayKnow reports whether somebody has logged in with name from addr lately, so that
// knows is worth asking.
func (m *Memory) mayKnow(name string, addr netip.Addr, now time.Time) bool {
	if m == nil {
		return false
	}
	_, ok := m.names.Get(sender{name, addr}, now)
	return ok
}

// knows reports whether pw from addr was right for user, as user is now.
func (m *Memory) knows(user *auth.User, pw string, addr netip.Addr, now time.Time) bool {
	if m == nil || user.Subject == "" || user.PasswordHash == "" {
		return false
	}
	at := place{user.Subject, addr}
	r, ok := m.known.Get(at, now)
	if !ok || !now.Before(r.until) || r.hash != user.PasswordHash || r.version != user.Version {
		return false
	}
	if sum := m.sum(pw); subtle.ConstantTimeCompare(sum[:], r.sum[:]) == 1 {
		return r.left.Load() > 0
	}
	if r.left.Add(-1) <= 0 {
		m.known.Delete(at)
	}
	return false
}

// add notes that pw is right for user, who was called name. now is when the account was looked up.
func (m *Memory) add(user *auth.User, name, pw string, addr netip.Addr, now time.Time) {
	if m == nil {
		return
	}
	r := right{m.sum(pw), user.PasswordHash, user.Version, now.Add(m.period), new(atomic.Int32)}
	r.left.Store(maxMisses)
	m.names.Put(sender{name, addr}, struct{}{}, now)
	m.known.Put(place{user.Subject, addr}, r, now)
}
