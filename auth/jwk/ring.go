package jwk

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	defaultMaxAge = 5 * time.Minute
	longestMaxAge = 24 * time.Hour
)

// RingConfig configures a [Ring].
type RingConfig struct {
	// Active signs new tokens. It is required and must be able to sign.
	Active Key

	// Verify are the keys that verify but do not sign: the next one, published
	// before it signs so that every client knows it by then, and retired ones,
	// kept until their last token has expired.
	Verify []Key

	// MaxAge is how long clients may keep the published set, the max-age of
	// [Handler]. 0 means 5 minutes; less than 0 or over 24 hours is an error.
	// A next key should be published for longer than this before it signs.
	MaxAge time.Duration
}

// A Ring is a [Set] that also signs: with one active key, while all its keys
// verify. Rotate it by [Ring.Add] of the next key, [Ring.Rotate] once every
// client has had time to fetch it, and [Ring.Drop] of the old key once its last
// token has expired. It is safe for concurrent use; a reader sees the ring
// before or after a change, never between.
//
// The ring of a [Rotation] is changed by that alone: Add, Rotate and Drop of it are
// errors, since the next step of the rotation would undo what they do.
type Ring struct {
	maxAge time.Duration
	owned  bool       // by a Rotation
	mu     sync.Mutex // serializes changes
	state  atomic.Pointer[ringState]
}

// ringState is one immutable state of a ring.
type ringState struct {
	active Key
	index  *index // of all keys, the active one first
	jwks   []byte
	// The values of header fields, made once: the handler hands them out as they are.
	etags, lengths []string
}

// NewRing returns a ring. An active key that can't sign, a zero key, two keys of
// one id, secrets mixed with public keys, more than 256 keys, and a MaxAge out of
// range are errors.
func NewRing(cfg RingConfig) (*Ring, error) {
	if cfg.MaxAge == 0 {
		cfg.MaxAge = defaultMaxAge
	}
	if cfg.MaxAge < 0 || cfg.MaxAge > longestMaxAge {
		return nil, fmt.Errorf("jwk: RingConfig.MaxAge must be from 0 to %v", longestMaxAge)
	}
	if !cfg.Active.CanSign() {
		return nil, errors.New("jwk: RingConfig.Active can't sign")
	}
	s, err := newRingState(cfg.Active, cfg.Verify)
	if err != nil {
		return nil, err
	}
	r := &Ring{maxAge: cfg.MaxAge}
	r.state.Store(s)
	return r, nil
}

func newRingState(active Key, verify []Key) (*ringState, error) {
	if len(verify) >= maxSetKeys { // what is published must be a set that is read
		return nil, fmt.Errorf("jwk: a ring has at most %d keys", maxSetKeys)
	}
	x, err := newIndex(append([]Key{active}, verify...))
	if err != nil {
		return nil, err
	}
	jwks, err := marshalSet(x.keys)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(jwks)
	return &ringState{
		active:  active,
		index:   x,
		jwks:    jwks,
		etags:   []string{`"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`},
		lengths: []string{strconv.Itoa(len(jwks))},
	}, nil
}

// Active returns the key that signs now. That of a Ring which NewRing did not
// make is the zero Key, which can't sign.
func (r *Ring) Active() Key {
	if s := r.state.Load(); s != nil {
		return s.active
	}
	return Key{}
}

// Lookup implements [Set] for all keys of the ring. The keys it returns only
// verify, unless they are secrets.
func (r *Ring) Lookup(ctx context.Context, id, alg string) (Key, error) {
	s := r.state.Load()
	if s == nil {
		return Key{}, errNoRing
	}
	return s.index.Lookup(ctx, id, alg)
}

// Add takes in a key that verifies but does not sign yet: the next one. Publish
// it for longer than MaxAge before [Ring.Rotate]. A key whose id the ring has
// already, one that is a secret where the others are not, and the 257th are errors,
// and leave the ring as it was.
func (r *Ring) Add(k Key) error {
	return r.own(func(s *ringState) (*ringState, error) {
		return newRingState(s.active, append(s.verifying(), k))
	})
}

// Rotate makes next the key that signs, and the active one a key that only
// verifies. next may be in the ring already, or its public half may; another key
// of its id is an error, and so is a next that can't sign or is active already.
// An error leaves the ring as it was.
func (r *Ring) Rotate(next Key) error {
	return r.own(func(s *ringState) (*ringState, error) {
		if !next.CanSign() {
			return nil, errors.New("jwk: the next key can't sign")
		}
		if next.ID() == s.active.ID() {
			return nil, fmt.Errorf("jwk: the active key has the id %q already", next.ID())
		}
		verify := []Key{s.active}
		for _, k := range s.verifying() {
			if k.ID() != next.ID() {
				verify = append(verify, k)
			} else if !k.sameMaterial(next) {
				return nil, fmt.Errorf("jwk: another key has the id %q", next.ID())
			}
		}
		return newRingState(next, verify)
	})
}

// Drop removes a key that only verifies: its tokens are refused from now on. An
// unknown id wraps [ErrUnknownKey]; the active key can't be dropped.
func (r *Ring) Drop(id string) error {
	return r.own(func(s *ringState) (*ringState, error) {
		if id == s.active.ID() {
			return nil, errors.New("jwk: the active key can't be dropped: rotate first")
		}
		var verify []Key
		for _, k := range s.verifying() {
			if k.ID() != id {
				verify = append(verify, k)
			}
		}
		if len(verify) == len(s.index.keys)-1 {
			return nil, fmt.Errorf("%w: nothing to drop", ErrUnknownKey)
		}
		return newRingState(s.active, verify)
	})
}

// MarshalJWKS returns the ring's public keys as a JWK Set (RFC 7517 §5), the
// active key first. Secrets are left out, so that of a ring of secrets is empty.
// It returns an error if NewRing did not make the ring.
func (r *Ring) MarshalJWKS() ([]byte, error) {
	s := r.state.Load()
	if s == nil {
		return nil, errNoRing
	}
	return slices.Clone(s.jwks), nil
}

var (
	errNoRing = errors.New("jwk: the Ring was not made by NewRing") // of the zero Ring
	errOwned  = errors.New("jwk: the ring belongs to a Rotation, which would undo this: use Rotation.Rotate and Rotation.Drop")
)

// own is change for the ring's user.
func (r *Ring) own(f func(*ringState) (*ringState, error)) error {
	if r.owned {
		return errOwned
	}
	return r.change(f)
}

func (r *Ring) change(f func(*ringState) (*ringState, error)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.state.Load()
	if s == nil {
		return errNoRing
	}
	s, err := f(s)
	if err != nil {
		return err
	}
	r.state.Store(s)
	return nil
}

// verifying returns the keys that do not sign, in a new slice.
func (s *ringState) verifying() []Key { return append([]Key(nil), s.index.keys[1:]...) }

func (k Key) sameMaterial(other Key) bool {
	return k.Algorithm() == other.Algorithm() &&
		subtle.ConstantTimeCompare(k.k.thumbprint[:], other.k.thumbprint[:]) == 1
}
