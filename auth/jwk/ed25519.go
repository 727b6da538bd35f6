package jwk

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

func loadEd25519Public(k ed25519.PublicKey) (material, error) {
	if len(k) != ed25519.PublicKeySize {
		return material{}, fmt.Errorf("the Ed25519 public key has %d bytes, want %d", len(k), ed25519.PublicKeySize)
	}
	if err := checkEd25519Point(k); err != nil {
		return material{}, err
	}
	k = bytes.Clone(k)
	return material{
		verifier:  k,
		size:      ed25519.SignatureSize,
		canonical: `{"crv":"Ed25519","kty":"OKP","x":"` + base64.RawURLEncoding.EncodeToString(k) + `"}`,
	}, nil
}

func loadEd25519Private(k ed25519.PrivateKey) (material, error) {
	if len(k) != ed25519.PrivateKeySize {
		return material{}, fmt.Errorf("the Ed25519 private key has %d bytes, want %d", len(k), ed25519.PrivateKeySize)
	}
	private := ed25519.NewKeyFromSeed(k.Seed())
	if !private.Equal(k) {
		// Signing with another public half than the seed's gives the seed away.
		return material{}, errors.New("the Ed25519 private key does not belong to its public key")
	}
	m, err := loadEd25519Public(ed25519.PublicKey(private[ed25519.PublicKeySize:]))
	if err != nil {
		return material{}, err
	}
	m.signer = private
	return m, nil
}

// checkEd25519Point refuses what is not the canonical encoding of a point
// (RFC 8032 §5.1.3) and points of small order: under those, one signature fits
// many messages, and everyone can make it.
func checkEd25519Point(encoded []byte) error {
	// p = 2^255 - 19, the curve is -x² + y² = 1 + d·x²·y² with d = -121665/121666.
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	mod := func(x *big.Int) *big.Int { return x.Mod(x, p) }
	mul := func(a, b *big.Int) *big.Int { return mod(new(big.Int).Mul(a, b)) }
	add := func(a, b *big.Int) *big.Int { return mod(new(big.Int).Add(a, b)) }
	sub := func(a, b *big.Int) *big.Int { return mod(new(big.Int).Sub(a, b)) }
	div := func(a, b *big.Int) *big.Int { return mul(a, new(big.Int).ModInverse(b, p)) }
	one, two := big.NewInt(1), big.NewInt(2)
	d := div(mod(big.NewInt(-121665)), big.NewInt(121666))

	bigEndian := slices.Clone(encoded)
	slices.Reverse(bigEndian)
	negative := bigEndian[0]&0x80 != 0
	bigEndian[0] &= 0x7f
	y := new(big.Int).SetBytes(bigEndian)
	if y.Cmp(p) >= 0 {
		return errors.New("the Ed25519 key is not encoded canonically")
	}
	// x² = (y² - 1) / (d·y² + 1); d is not a square, so the divisor is never 0.
	y2 := mul(y, y)
	x := new(big.Int).ModSqrt(div(sub(y2, one), add(mul(d, y2), one)), p)
	if x == nil {
		return errors.New("the Ed25519 key is not a point of the curve")
	}
	if x.Sign() == 0 && negative {
		return errors.New("the Ed25519 key is not encoded canonically")
	}
	// Whether x is negated makes no difference to the order. The group has order
	// 8·L: a point of small order is the identity (0, 1) after three doublings.
	for range 3 {
		x2, y2 := mul(x, x), mul(y, y)
		x, y = div(mul(two, mul(x, y)), sub(y2, x2)), div(add(y2, x2), sub(add(two, x2), y2))
	}
	if x.Sign() == 0 && y.Cmp(one) == 0 {
		return errors.New("the Ed25519 key is a point of small order")
	}
	return nil
}
