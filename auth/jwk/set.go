package jwk

import (
	"context"
	"errors"
	"fmt"
)

// ErrUnknownKey is what [Set.Lookup] wraps when it is certain that it has no
// such key: the token is invalid.
var ErrUnknownKey = errors.New("jwk: no such key")

var (
	errAmbiguous = fmt.Errorf("%w: the token names none, and several keys fit its algorithm", ErrUnknownKey)
	errOtherAlg  = fmt.Errorf("%w: the key of that id has another algorithm", ErrUnknownKey)
)

// A Set finds the key that a token names. Implementations must be safe for
// concurrent use.
type Set interface {
	// Lookup returns the key of that id whose algorithm is alg. With id "" it
	// returns the only key whose algorithm is alg.
	//
	// An error that wraps [ErrUnknownKey] means that there is no such key, or
	// without an id more than one, and the token is refused with 401. Any other
	// error means that the set can't tell, say because it could not be fetched,
	// and the request is answered with 503. Both arguments come from a token
	// that is not verified yet: they must be good for nothing but a comparison.
	//
	// As long as the key does not change, Lookup returns the same Key by ==.
	Lookup(ctx context.Context, id, alg string) (Key, error)
}

// Static returns a set that never changes. Lookup hands out keys that only
// verify: of a private key its public half. No keys, a zero key, two keys of one
// id, and secrets mixed with public keys are errors. The set is safe for
// concurrent use.
func Static(keys ...Key) (Set, error) {
	x, err := newIndex(keys)
	if err != nil {
		return nil, err
	}
	return x, nil
}

// index finds keys by id or algorithm. It is immutable.
type index struct {
	keys []Key
	byID map[string]Key
}

func newIndex(keys []Key) (*index, error) {
	if len(keys) == 0 {
		return nil, errors.New("jwk: a set needs at least one key")
	}
	x := &index{byID: make(map[string]Key, len(keys))}
	for i, k := range keys {
		if k.k == nil {
			return nil, fmt.Errorf("jwk: key %d is the zero Key", i)
		}
		if _, ok := x.byID[k.ID()]; ok {
			return nil, fmt.Errorf("jwk: two keys have the id %q", k.ID())
		}
		// One verifier for both kinds is where a public key is taken for a
		// secret, so they never stand side by side.
		if k.Symmetric() != keys[0].Symmetric() {
			return nil, errors.New("jwk: secrets and public keys can't be in one set")
		}
		k = k.verifyOnly()
		x.keys = append(x.keys, k)
		x.byID[k.ID()] = k
	}
	return x, nil
}

// Lookup implements [Set].
func (x *index) Lookup(_ context.Context, id, alg string) (Key, error) {
	if id != "" {
		k, ok := x.byID[id]
		if !ok {
			return Key{}, ErrUnknownKey
		}
		if k.Algorithm() != alg {
			return Key{}, errOtherAlg
		}
		return k, nil
	}
	var found Key
	for _, k := range x.keys {
		if k.Algorithm() != alg {
			continue
		}
		if found.k != nil {
			return Key{}, errAmbiguous
		}
		found = k
	}
	if found.k == nil {
		return Key{}, ErrUnknownKey
	}
	return found, nil
}
