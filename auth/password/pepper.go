package password

import (
	"encoding/base64"
	"math"
	"strings"

	"github.com/sallyport/sallyport/internal/pepper"
)

const pepperPrefix = "$hmac-sha256$"

// A Pepper is a secret key that hashes depend on and that is not in the store, so
// that who steals the store alone can't guess even one password. It has an ID, of 1
// to 32 letters, digits, '.', '_' and '-', which names it in each hash, and a Key, of
// at least 32 bytes from crypto/rand, which is used for nothing else. The key must be
// kept as well as the store is: without it no password verifies any more. No form of
// a Pepper shows it.
//
// With a pepper, what is hashed is the base64 of the HMAC-SHA-256 of the password
// under Key, and the hash stands behind the name of the key:
//
//	$hmac-sha256$keyid=2026$argon2id$v=19$m=19456,t=2,p=1$<salt>$<tag>
type Pepper = pepper.Pepper

// season returns what is hashed in place of password: 43 characters, none of them
// NUL, so that any algorithm reads all of it.
func season(p Pepper, password string) string {
	sum := p.Sum([]byte(password))
	return base64.RawStdEncoding.EncodeToString(sum[:])
}

// A pepperedMaker makes hashes that depend on a pepper.
type pepperedMaker struct {
	maker
	pepper Pepper
}

func (m pepperedMaker) hash(password string) (storedHash, error) {
	h, err := m.maker.hash(season(m.pepper, password))
	return pepperedHash{h, m.pepper}, err
}

func (m pepperedMaker) sample() storedHash { return pepperedHash{m.maker.sample(), m.pepper} }

func (m pepperedMaker) isMetBy(stored storedHash) bool {
	h, ok := stored.(pepperedHash)
	return ok && h.pepper.ID == m.pepper.ID && m.maker.isMetBy(h.storedHash)
}

func (m pepperedMaker) maxLength() int { return math.MaxInt }

// A pepperedHash is a parsed hash that depends on a pepper.
type pepperedHash struct {
	storedHash
	pepper Pepper
}

func (h pepperedHash) matches(password string) (bool, error) {
	return h.storedHash.matches(season(h.pepper, password))
}

func (h pepperedHash) maxLength() int { return math.MaxInt }

func (h pepperedHash) decoy() storedHash { return pepperedHash{h.storedHash.decoy(), h.pepper} }

// String returns the hash behind the name of its pepper.
func (h pepperedHash) String() string {
	return pepperPrefix + "keyid=" + h.pepper.ID + h.storedHash.String()
}

func (l limits) parsePeppered(encoded string) (storedHash, error) {
	rest, ok := strings.CutPrefix(encoded, pepperPrefix+"keyid=")
	if !ok {
		return nil, malformed("pepper without a keyid")
	}
	id, _, ok := strings.Cut(rest, "$")
	if !ok {
		return nil, malformed("pepper without a hash")
	}
	p := pepper.Find(l.peppers, id)
	if p == nil {
		return nil, malformed("its pepper is not among Config.Peppers")
	}
	h, err := l.parsePlain(rest[len(id):])
	if err != nil {
		return nil, err
	}
	return pepperedHash{h, *p}, nil
}
