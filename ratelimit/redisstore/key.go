package redisstore

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"sync"
)

// A namer names the keys of a bucket. A name is a hash over the name of the bucket,
// its limits and the key, so that no byte of theirs is in it. It has 128 bits: who
// finds two keys of one name, which takes 2⁶⁴ hashes and no HashKey, has two keys
// that share a limit.
type namer struct {
	prefix string
	bucket []byte     // a hash
	macs   *sync.Pool // of hash.Hash under the HashKey; nil if there is none
}

const nameSize = 16 // bytes

func newNamer(prefix string, hashKey []byte, name string, rates []rate) *namer {
	b := []byte{'L'} // apart from the hashes of other stores
	b = binary.BigEndian.AppendUint64(b, uint64(len(name)))
	b = append(b, name...)
	for _, r := range rates {
		for _, n := range []int64{int64(r.limit.Events), int64(r.limit.Per), int64(r.limit.Burst)} {
			b = binary.BigEndian.AppendUint64(b, uint64(n)) //nolint:gosec // a pattern of bits
		}
		if r.windowed {
			window := r.limit.Window.String()
			b = binary.BigEndian.AppendUint64(b, uint64(len(window)))
			b = append(b, window...)
		}
	}
	sum := sha256.Sum256(b)
	n := &namer{prefix: prefix, bucket: sum[:]}
	if len(hashKey) > 0 {
		n.macs = &sync.Pool{New: func() any { return hmac.New(sha256.New, hashKey) }}
	}
	return n
}

// name returns the name of key in Redis.
func (n *namer) name(key string) string {
	var sum [sha256.Size]byte
	if n.macs == nil {
		var room [256]byte
		sum = sha256.Sum256(append(append(room[:0], n.bucket...), key...))
	} else {
		mac := n.macs.Get().(hash.Hash)
		mac.Reset()
		_, _ = mac.Write(n.bucket) // never fails
		_, _ = mac.Write([]byte(key))
		mac.Sum(sum[:0])
		n.macs.Put(mac)
	}
	room := make([]byte, 0, 64)
	return string(base64.RawURLEncoding.AppendEncode(append(room, n.prefix...), sum[:nameSize]))
}
