package jwk

import (
	"crypto/ecdsa"
	"encoding/base64"
	"errors"
	"fmt"
)

func loadECDSAPublic(a algorithm, k *ecdsa.PublicKey) (material, error) {
	if k == nil {
		return material{}, errors.New("the EC public key is nil")
	}
	if k.Curve != a.curve {
		return material{}, fmt.Errorf("the EC key is not on %s", a.crv)
	}
	point, err := encode(k.Bytes)
	if err != nil {
		return material{}, fmt.Errorf("the EC key is not a point of %s", a.crv)
	}
	public, err := ecdsa.ParseUncompressedPublicKey(a.curve, point)
	if err != nil {
		return material{}, fmt.Errorf("the EC key is not a point of %s", a.crv)
	}
	enc, size := base64.RawURLEncoding, a.coordinateSize()
	return material{
		verifier: public,
		size:     2 * size,
		canonical: `{"crv":"` + a.crv + `","kty":"EC","x":"` + enc.EncodeToString(point[1:1+size]) +
			`","y":"` + enc.EncodeToString(point[1+size:]) + `"}`,
	}, nil
}

func loadECDSAPrivate(a algorithm, k *ecdsa.PrivateKey) (material, error) {
	if k == nil {
		return material{}, errors.New("the EC private key is nil")
	}
	m, err := loadECDSAPublic(a, &k.PublicKey)
	if err != nil {
		return material{}, err
	}
	// The causes are not wrapped: they may show the key.
	scalar, err := encode(k.Bytes)
	if err != nil {
		return material{}, errors.New("the EC private key is out of range")
	}
	private, err := ecdsa.ParseRawPrivateKey(a.curve, scalar)
	if err != nil {
		return material{}, errors.New("the EC private key is out of range")
	}
	if !private.PublicKey.Equal(m.verifier) {
		return material{}, errors.New("the EC private key does not belong to its public key")
	}
	m.signer = private
	return m, nil
}

// coordinateSize returns the octets of a coordinate, and of a private key.
func (a algorithm) coordinateSize() int { return (a.curve.Params().BitSize + 7) / 8 }

// encode calls the Bytes method of a key that was put together by hand: a nil
// number in it makes that panic.
func encode(bytes func() ([]byte, error)) (b []byte, err error) {
	defer func() {
		if recover() != nil {
			b, err = nil, errors.New("incomplete")
		}
	}()
	return bytes()
}
