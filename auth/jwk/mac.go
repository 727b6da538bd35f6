package jwk

import (
	"crypto/hmac"
	"crypto/sha512"
	"crypto/subtle"
	"hash"
	"sync"
)

// macs computes the MACs of one secret (RFC 7518 §3.2). Keying HMAC costs two
// blocks of the hash and a handful of allocations, so what was keyed once is kept
// and reset. It is safe for concurrent use.
type macs struct{ pool sync.Pool }

// mac is one that is keyed and ready. It holds the sum too, which would otherwise
// be allocated anew each time.
type mac struct {
	hash.Hash
	sum [sha512.Size]byte
}

func newMACs(h func() hash.Hash, secret []byte) *macs {
	p := &macs{}
	p.pool.New = func() any { return &mac{Hash: hmac.New(h, secret)} }
	return p
}

// compute returns the MAC of input in a mac that the caller has to give to done.
func (p *macs) compute(input []byte) (*mac, []byte) {
	m := p.pool.Get().(*mac)
	_, _ = m.Write(input) // a hash never fails
	return m, m.Sum(m.sum[:0])
}

// done keeps m for the next, and nothing of what it was used for.
func (p *macs) done(m *mac) {
	m.Reset()
	clear(m.sum[:])
	p.pool.Put(m)
}

func (p *macs) sign(input []byte) []byte {
	m, sum := p.compute(input)
	defer p.done(m)
	return append([]byte(nil), sum...)
}

// verify compares in constant time.
func (p *macs) verify(input, signature []byte) bool {
	m, sum := p.compute(input)
	defer p.done(m)
	return subtle.ConstantTimeCompare(sum, signature) == 1
}
