package bearer

import (
	"bytes"
	"context"

	"github.com/sallyport/sallyport/auth/jwk"
)

// ParseJWS is how a token is split and decoded.
func ParseJWS(token string) (header, payload, signature []byte, err error) {
	var s scratch
	j, err := s.parse(token)
	return j.header, j.payload, j.signature, err
}

// OpenJWS returns the payload of a token whose signature is good: all that is
// done before the claims, with the type of the token left open.
func OpenJWS(ctx context.Context, keys jwk.Set, token string) ([]byte, error) {
	var s scratch
	j, err := s.parse(token)
	if err != nil {
		return nil, err
	}
	algorithms := make(map[string]string)
	for _, name := range jwk.Algorithms() {
		algorithms[name] = name
	}
	if err := j.verify(ctx, keys, algorithms); err != nil {
		return nil, err
	}
	return bytes.Clone(j.payload), nil
}

// ScratchIsClear reports whether the buffer that the next token would be decoded
// in holds nothing; ok is false if the pool has none.
func ScratchIsClear(a *Authenticator) (isClear, ok bool) {
	s, _ := a.scratch.Get().(*scratch)
	if s == nil || cap(s.b) == 0 {
		return false, false
	}
	b := s.b[:cap(s.b)]
	return bytes.Equal(b, make([]byte, len(b))), true
}
