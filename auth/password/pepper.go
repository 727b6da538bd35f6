package password

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/internal/grammar"
)

const (
	pepperPrefix = "$hmac-sha256$"

	minPepper   = 32 // bytes
	maxPepperID = 32
)

// A Pepper is a secret that hashes depend on and that is not in the store, so
// that who steals the store alone can't guess even one password. It must be kept
// as well as the store is: without it no password verifies any more.
//
// With a pepper, what is hashed is the base64 of the HMAC-SHA-256 of the password
// under Key, and the hash stands behind the name of the key:
//
//	$hmac-sha256$keyid=2026$argon2id$v=19$m=19456,t=2,p=1$<salt>$<tag>
type Pepper struct {
	ID  string // names the key in each hash: 1 to 32 letters, digits, '.', '_' and '-'
	Key []byte // at least 32 bytes from crypto/rand, used for nothing else
}

// String returns the ID alone.
func (p Pepper) String() string { return "password.Pepper(" + p.ID + ")" }

// GoString is String.
func (p Pepper) GoString() string { return p.String() }

// Format writes String whatever the verb, so that no key gets into a log.
func (p Pepper) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, p.String()) }

// LogValue is String.
func (p Pepper) LogValue() slog.Value { return slog.StringValue(p.String()) }

// MarshalJSON refuses: a key does not belong into a document.
func (p Pepper) MarshalJSON() ([]byte, error) {
	return nil, errors.New("password: a Pepper is not written as JSON")
}

func checkPeppers(peppers []Pepper) error {
	for i, p := range peppers {
		switch {
		case p.ID == "" || len(p.ID) > maxPepperID || strings.IndexFunc(p.ID, notInID) >= 0:
			return fmt.Errorf("password: Config.Peppers[%d].ID is not of 1 to %d letters, digits, '.', '_' and '-'", i, maxPepperID)
		case len(p.Key) < minPepper:
			return fmt.Errorf("password: Config.Peppers[%d].Key has %d bytes, needs at least %d", i, len(p.Key), minPepper)
		case slices.ContainsFunc(peppers[:i], func(q Pepper) bool { return q.ID == p.ID }):
			return fmt.Errorf("password: Config.Peppers[%d].ID %q is taken", i, p.ID)
		}
	}
	return nil
}

func clonePeppers(peppers []Pepper) []Pepper {
	peppers = slices.Clone(peppers)
	for i := range peppers {
		peppers[i].Key = slices.Clone(peppers[i].Key)
	}
	return peppers
}

func notInID(r rune) bool {
	return r > '~' || !grammar.IsAlphanumeric(byte(r)) && !strings.ContainsRune("._-", r)
}

// apply returns what is hashed in place of password: 43 characters, none of them
// NUL, so that any algorithm reads all of it.
func (p Pepper) apply(password string) string {
	mac := hmac.New(sha256.New, p.Key)
	_, _ = io.WriteString(mac, password)
	return base64.RawStdEncoding.EncodeToString(mac.Sum(nil))
}

// A pepperedMaker makes hashes that depend on a pepper.
type pepperedMaker struct {
	maker
	pepper Pepper
}

func (m pepperedMaker) hash(password string) (storedHash, error) {
	h, err := m.maker.hash(m.pepper.apply(password))
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
	return h.storedHash.matches(h.pepper.apply(password))
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
	i := slices.IndexFunc(l.peppers, func(p Pepper) bool { return p.ID == id })
	if i < 0 {
		return nil, malformed("its pepper is not among Config.Peppers")
	}
	h, err := l.parsePlain(rest[len(id):])
	if err != nil {
		return nil, err
	}
	return pepperedHash{h, l.peppers[i]}, nil
}
