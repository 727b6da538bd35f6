package dpop

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/sallyport/sallyport/internal/strictbase64"
)

const (
	defaultNonceLifetime = 10 * time.Minute
	leastNonceLifetime   = 10 * time.Second
	longestNonceLifetime = 24 * time.Hour
	leastNonceKey        = 32

	nonceBytes = 8 + 16 // the step, and half of the MAC
)

// nonces makes nonces and knows its own, without remembering any: a nonce is the
// number of the step of time that it was made in, and a MAC of that. Those of the
// step before are taken too, so each is good for half of its lifetime or more, and
// for all of it at the most. They are the same for all clients; what was used is
// known by the proof's own identifier.
type nonces struct {
	key  []byte
	step time.Duration
}

func newNonces(cfg Config) (*nonces, error) {
	if !cfg.RequireNonce {
		if cfg.NonceKey != nil || cfg.NonceLifetime != 0 {
			return nil, errors.New("NonceKey or NonceLifetime is set, but RequireNonce is not")
		}
		return nil, nil
	}
	n := &nonces{key: bytes.Clone(cfg.NonceKey), step: cfg.NonceLifetime / 2}
	if cfg.NonceLifetime == 0 {
		n.step = defaultNonceLifetime / 2
	}
	if n.step < leastNonceLifetime/2 || n.step > longestNonceLifetime/2 {
		return nil, fmt.Errorf("NonceLifetime must be 0, or from %v to %v", leastNonceLifetime, longestNonceLifetime)
	}
	if cfg.NonceKey == nil {
		n.key = make([]byte, leastNonceKey)
		_, _ = rand.Read(n.key) // never fails: crypto/rand ends the program instead
	}
	if len(n.key) < leastNonceKey {
		return nil, fmt.Errorf("NonceKey is shorter than %d bytes", leastNonceKey)
	}
	return n, nil
}

func (n *nonces) current(now time.Time) string {
	return n.at(n.number(now))
}

func (n *nonces) number(now time.Time) uint64 {
	return uint64(now.UnixNano() / int64(n.step)) //nolint:gosec // after 1970
}

func (n *nonces) at(number uint64) string {
	var b [nonceBytes]byte
	binary.BigEndian.PutUint64(b[:], number)
	m := hmac.New(sha256.New, n.key)
	_, _ = m.Write([]byte("DPoP-Nonce"))
	_, _ = m.Write(b[:8])
	copy(b[8:], m.Sum(nil))
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// good reports whether nonce is one of the last two.
func (n *nonces) good(nonce string, now time.Time) bool {
	b, err := strictbase64.Decode(base64.RawURLEncoding, nonce)
	if err != nil || len(b) != nonceBytes {
		return false
	}
	number, current := binary.BigEndian.Uint64(b), n.number(now)
	if number > current+1 || number+1 < current { // one ahead: another machine's clock
		return false
	}
	return hmac.Equal([]byte(nonce), []byte(n.at(number)))
}
