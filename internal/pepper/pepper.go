// Package pepper has the type of the secret keys that stored hashes depend on. It
// is one type for passwords and API keys.
package pepper

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"github.com/sallyport/sallyport/internal/grammar"
)

const (
	minKey = 32 // bytes
	maxID  = 32
)

// A Pepper is a secret key that hashes depend on and that is not in the store, so
// that who steals the store alone can't try out even one guess. It must be kept as
// well as the store is: what was hashed under it verifies under no other.
type Pepper struct {
	ID  string // names the key in each hash: 1 to 32 letters, digits, '.', '_' and '-'
	Key []byte // at least 32 bytes from crypto/rand, used for nothing else
}

// String returns the ID alone.
func (p Pepper) String() string { return "Pepper(" + p.ID + ")" }

// GoString is String.
func (p Pepper) GoString() string { return p.String() }

// Format writes String whatever the verb, so that no key gets into a log.
func (p Pepper) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, p.String()) }

// LogValue is String.
func (p Pepper) LogValue() slog.Value { return slog.StringValue(p.String()) }

// MarshalJSON refuses: a key does not belong into a document.
func (p Pepper) MarshalJSON() ([]byte, error) {
	return nil, errors.New("a Pepper is not written as JSON")
}

// Sum returns the HMAC-SHA-256 of text.
func (p Pepper) Sum(text []byte) [sha256.Size]byte {
	mac := hmac.New(sha256.New, p.Key)
	_, _ = mac.Write(text) // never fails
	return [sha256.Size]byte(mac.Sum(nil))
}

// Check returns an error that names what is wrong with one of the peppers.
func Check(peppers []Pepper) error {
	for i, p := range peppers {
		switch {
		case !ValidID(p.ID):
			return fmt.Errorf("[%d].ID is not of 1 to %d letters, digits, '.', '_' and '-'", i, maxID)
		case len(p.Key) < minKey:
			return fmt.Errorf("[%d].Key has %d bytes, needs at least %d", i, len(p.Key), minKey)
		case slices.ContainsFunc(peppers[:i], func(q Pepper) bool { return q.ID == p.ID }):
			return fmt.Errorf("[%d].ID %q is taken", i, p.ID)
		}
	}
	return nil
}

// ValidID reports whether id can name a pepper.
func ValidID(id string) bool {
	for i := range len(id) {
		if c := id[i]; !grammar.IsAlphanumeric(c) && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return id != "" && len(id) <= maxID
}

// Clone returns a copy that shares nothing with peppers.
func Clone(peppers []Pepper) []Pepper {
	peppers = slices.Clone(peppers)
	for i := range peppers {
		peppers[i].Key = slices.Clone(peppers[i].Key)
	}
	return peppers
}

// Find returns the pepper of that ID, or nil.
func Find(peppers []Pepper, id string) *Pepper {
	for i := range peppers {
		if peppers[i].ID == id {
			return &peppers[i]
		}
	}
	return nil
}
