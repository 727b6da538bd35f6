package oauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/sallyport/sallyport/auth"
)

// A RefreshStore keeps what refresh tokens stand for. One login makes a family of
// tokens, each of which replaces the one before, so a family is one record however
// often its token is used: the token of today and the one before it are told apart by
// hashes. It must be safe for concurrent use, also from several machines where these
// share it.
type RefreshStore interface {
	// Create keeps a new family. It returns an error if there is one of that Key.
	Create(ctx context.Context, f RefreshFamily) error

	// Family returns the family with this Key, revoked or not, or an error that wraps
	// auth.ErrNotFound; any other means that the store could not tell. It may forget a
	// family that nothing can come of any more: 25 hours after it was revoked, after its
	// Expires or after its Ends. The slices belong to the caller.
	Family(ctx context.Context, key string) (RefreshFamily, error)

	// Rotate replaces the Rotation of a family and reports whether it did: only if the
	// family's Current still is ifCurrent and it is not revoked. Reading and writing
	// are one atomic step: of any number of concurrent calls with one ifCurrent, on all
	// machines, exactly one gets true.
	Rotate(ctx context.Context, key, ifCurrent string, to Rotation) (bool, error)

	// Revoke marks the families that which names as revoked, for good, and returns how
	// many were not before. Of concurrent calls for one family, one counts it. When it
	// returns nil, no later Rotate of them succeeds.
	Revoke(ctx context.Context, which RefreshSelector) (int, error)
}

// A RefreshFamily is one login and what has come of it.
type RefreshFamily struct {
	Key       string // hash of what its tokens have in common; its name in the store
	SessionID string // the "sid" of its access tokens
	Issuer    string // of the server that made it

	ClientID string
	Subject  string
	UserName string // what the user was found by
	// UserVersion is the auth.User's Version at the login: the family ends with the
	// password.
	UserVersion int64
	Scopes      []string  // what the login granted; a refresh never has more
	AuthTime    time.Time // of the login
	Ends        time.Time // no token of the family is good from then on
	// Thumbprint is that of the DPoP key which a public client has bound the family to
	// (RFC 9449, section 5), or "".
	Thumbprint string

	Rotation
	Revoked bool
}

// A Rotation is what changes of a family when its token is used.
type Rotation struct {
	Current  string    // hash of the token that is good
	Previous string    // hash of the one before, or ""
	Rotated  time.Time // when Current took its place
	Retried  bool      // Previous has been used twice, because an answer was lost
	Expires  time.Time // Current is not good from then on
}

// A RefreshSelector names families: one by its Key or SessionID, or those of a
// Subject. Exactly one field is set, besides Issuer, which goes with the last two.
type RefreshSelector struct {
	Key       string
	SessionID string
	Subject   string
	Issuer    string
}

// String tells nothing but the session: hashes are of no use to a reader.
func (f RefreshFamily) String() string { return "oauth.RefreshFamily(" + f.SessionID + ")" }

// Format writes String whatever the verb.
func (f RefreshFamily) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, f.String()) }

// Check returns an error if w does not name families in exactly one way. Stores call
// it.
func (w RefreshSelector) Check() error {
	named := 0
	for _, name := range []string{w.Key, w.SessionID, w.Subject} {
		if name != "" {
			named++
		}
	}
	if named != 1 || (w.Key == "") != (w.Issuer != "") {
		return errors.New("oauth: RefreshSelector needs exactly one of Key, SessionID and Subject, and Issuer with the last two")
	}
	return nil
}

// selects reports whether w names f.
func (w RefreshSelector) selects(f *RefreshFamily) bool {
	switch {
	case w.Key != "":
		return f.Key == w.Key
	case f.Issuer != w.Issuer:
		return false
	case w.SessionID != "":
		return f.SessionID == w.SessionID
	}
	return f.Subject == w.Subject
}

const (
	defaultFamilies = 100_000
	// sample is how many families Create looks at for those that have ended. The map
	// gives them in random order, so few that have ended are ever there.
	sample = 16
)

// MemoryRefreshStore is a [RefreshStore] in memory, for one process: a restart logs
// everyone out. It is safe for concurrent use and has no goroutine.
type MemoryRefreshStore struct {
	max      int
	mu       sync.RWMutex
	families map[string]*kept
}

// kept is a family, and until when it is of use.
type kept struct {
	RefreshFamily
	revoked time.Time // when it was, or zero
}

// memory is how long a family is kept that no token can be had by: for as long as an
// access token of it may be good, so that these can still be revoked with it.
const memory = 25 * time.Hour

func (k *kept) useless(now time.Time) bool {
	end := earlier(k.Expires, k.Ends)
	if k.Revoked {
		end = earlier(end, k.revoked)
	}
	return !end.Add(memory).After(now)
}

// NewMemoryRefreshStore returns a store of at most max families; 0 or less means
// 100,000. One that is full of families that have not ended refuses new ones: a limiter
// keeps one user from making them all.
func NewMemoryRefreshStore(max int) *MemoryRefreshStore {
	if max <= 0 {
		max = defaultFamilies
	}
	return &MemoryRefreshStore{max: max, families: make(map[string]*kept)}
}

// String tells nothing of the families.
func (m *MemoryRefreshStore) String() string { return "oauth.MemoryRefreshStore" }

// Format writes String whatever the verb.
func (m *MemoryRefreshStore) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, m.String()) }

// Create implements [RefreshStore].
func (m *MemoryRefreshStore) Create(ctx context.Context, f RefreshFamily) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f.Scopes = slices.Clone(f.Scopes)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire(sample)
	if len(m.families) >= m.max {
		m.expire(len(m.families))
	}
	switch _, ok := m.families[f.Key]; {
	case ok:
		return errors.New("oauth: MemoryRefreshStore: there is a family of that Key")
	case len(m.families) >= m.max:
		return errors.New("oauth: MemoryRefreshStore: the store is full")
	}
	m.families[f.Key] = &kept{RefreshFamily: f}
	return nil
}

// expire drops what has ended of n families.
func (m *MemoryRefreshStore) expire(n int) {
	now := time.Now()
	for key, f := range m.families {
		if n--; n < 0 {
			return
		}
		if f.useless(now) {
			delete(m.families, key)
		}
	}
}

// Family implements [RefreshStore].
func (m *MemoryRefreshStore) Family(ctx context.Context, key string) (RefreshFamily, error) {
	if err := ctx.Err(); err != nil {
		return RefreshFamily{}, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	f, ok := m.families[key]
	if !ok {
		return RefreshFamily{}, auth.ErrNotFound
	}
	found := f.RefreshFamily
	found.Scopes = slices.Clone(f.Scopes)
	return found, nil
}

// Rotate implements [RefreshStore].
func (m *MemoryRefreshStore) Rotate(ctx context.Context, key, ifCurrent string, to Rotation) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.families[key]
	if !ok || f.Revoked || f.Current != ifCurrent {
		return false, nil
	}
	f.Rotation = to
	return true, nil
}

// Revoke implements [RefreshStore].
func (m *MemoryRefreshStore) Revoke(ctx context.Context, which RefreshSelector) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := which.Check(); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if which.Key != "" {
		return m.revoke(m.families[which.Key]), nil
	}
	n := 0
	for _, f := range m.families {
		if which.selects(&f.RefreshFamily) {
			n += m.revoke(f)
		}
	}
	return n, nil
}

func (m *MemoryRefreshStore) revoke(f *kept) int {
	if f == nil || f.Revoked {
		return 0
	}
	f.Revoked, f.revoked = true, time.Now()
	return 1
}
