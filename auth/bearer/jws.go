package bearer

import (
	"context"
	"errors"

	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/internal/jws"
)

// formError turns the parser's reasons into those of this package.
func formError(err error) error {
	switch err {
	case jws.ErrSyntax:
		return errSyntax
	case jws.ErrExtension:
		return errExtension
	}
	return errHeader
}

// verify checks the signature with the one key that the token names. The key's
// algorithm decides, and the token's must be the same (RFC 8725 §3.1).
func verify(ctx context.Context, j *jws.Token, keys jwk.Set, algorithms map[string]string) error {
	alg, ok := algorithms[string(j.Alg)]
	if !ok {
		return errAlgorithm
	}
	key, err := keys.Lookup(ctx, string(j.KeyID), alg)
	switch {
	case errors.Is(err, jwk.ErrUnknownKey):
		return errKey
	case err != nil:
		return undecided("the key set can't tell", err)
	case key.Algorithm() != alg:
		return errKey
	case key.Verify(j.Signed, j.Signature) != nil:
		return errSignature
	}
	return nil
}

// checkType compares the token's type (RFC 8725 §3.11).
func (v *verifier) checkType(j *jws.Token) error {
	if j.Type == nil {
		if v.untyped {
			return nil
		}
		return errType
	}
	for _, t := range v.types {
		if jws.IsType(j.Type, t) {
			return nil
		}
	}
	return errType
}
