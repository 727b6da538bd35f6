package bearer

import (
	"bytes"
	"context"
	"time"

	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/internal/jws"
)

// ParseJWS is how a token is split and decoded.
func ParseJWS(token string) (header, payload, signature []byte, err error) {
	var s jws.Scratch
	j, err := s.Parse(token)
	if err != nil {
		return nil, nil, nil, formError(err)
	}
	return j.Header, j.Payload, j.Signature, nil
}

// OpenJWS returns the payload of a token whose signature is good: all that is
// done before the claims, with the type of the token left open.
func OpenJWS(ctx context.Context, keys jwk.Set, token string) ([]byte, error) {
	var s jws.Scratch
	j, err := s.Parse(token)
	if err != nil {
		return nil, formError(err)
	}
	v := &verifier{Config: Config{Keys: keys}}
	if err := v.setAlgorithms(); err != nil {
		return nil, err
	}
	if _, err := v.checkSignature(ctx, &j); err != nil {
		return nil, err
	}
	return bytes.Clone(j.Payload), nil
}

// Known returns how many tokens a remembers, and how many bytes it counts for them.
func Known(a *Authenticator) (entries int, bytes int64) {
	if a.known == nil {
		return 0, 0
	}
	for i := range a.known.sets {
		for j := range a.known.sets[i] {
			if a.known.sets[i][j].Load() != nil {
				entries++
			}
		}
	}
	return entries, a.known.bytes.Load()
}

// ScratchIsClear reports whether the buffer that the next token would be decoded
// in holds nothing; ok is false if the pool has none.
func ScratchIsClear(a *Authenticator) (isClear, ok bool) {
	s, _ := a.scratch.Get().(*jws.Scratch)
	if s == nil || len(s.Buffer()) == 0 {
		return false, false
	}
	b := s.Buffer()
	return bytes.Equal(b, make([]byte, len(b))), true
}

// FoundByHashOf reports whether token is found in the place, and by the hash, of
// another that is kept.
func FoundByHashOf(a *Authenticator, kept, token string) bool {
	t, hash := a.known.find(kept)
	return t != nil && a.known.at(hash, token) != nil
}

// StillGood returns what is said at a time of a token that is kept.
func StillGood(a *Authenticator, token string, now time.Time) error {
	t, _ := a.known.find(token)
	return t.still(context.Background(), now)
}
