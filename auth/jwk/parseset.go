package jwk

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/sallyport/sallyport/internal/strictjson"
)

// ParseSet returns the keys of a JWK Set (RFC 7517 §5), a document of at most
// 1 MiB and 256 keys. Private members of asymmetric keys are dropped.
//
// Entries that can't be used here are skipped, as the RFC asks: other key types,
// curves and algorithms, encryption keys, and keys that are malformed or weak. The
// result may be empty. A document that is not a set, two signing keys of one id,
// and secrets beside public keys are errors.
func ParseSet(data []byte) ([]Key, error) {
	keys, err := (&setReader{secrets: true}).read(data)
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	if _, err := newIndex(keys); err != nil {
		return nil, err
	}
	return keys, nil
}

// A setReader reads a JWK Set.
type setReader struct {
	algorithms []string // see members
	secrets    bool     // take secrets, else skip them
	exposed    []string // the ids of keys that came with what nobody but their owner may know
}

func (r *setReader) read(data []byte) ([]Key, error) {
	var (
		keys  []Key
		found bool
		seen  = make(map[string]bool)
	)
	err := strictjson.Object(data, limits, func(name string, v strictjson.Value) error {
		if name != "keys" {
			return nil
		}
		found = true
		return v.Elements(func(v strictjson.Value) error {
			m, malformed := readMembers(v.Raw)
			m.algorithms = r.algorithms
			secret := m.text["kty"] == ktySecret
			if m.private() {
				r.exposed = append(r.exposed, cmp.Or(m.text["kid"], "one without an id"))
			}
			if secret && !r.secrets {
				return nil
			}
			if !secret {
				m.dropPrivate()
			}
			if !m.unclear && !m.forSignatures() {
				return nil // an entry that can't be used is skipped
			}
			var k Key
			err := malformed
			if err == nil {
				k, err = m.key()
			}
			// A signing key that is malformed counts too: nobody can say which
			// of the two its issuer means by the id.
			if id := m.text["kid"]; id != "" {
				if seen[id] {
					return errors.New("two keys have the same id")
				}
				seen[id] = true
			}
			if err != nil {
				return nil
			}
			keys = append(keys, k)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("jwk: not a JWK Set: %w", err)
	}
	if !found {
		return nil, errors.New(`jwk: not a JWK Set: "keys" is missing`)
	}
	return keys, nil
}
