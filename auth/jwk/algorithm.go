package jwk

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256" // also registers SHA-256 with package crypto, which the signing methods look it up in
	"crypto/sha512" // also registers SHA-384 and SHA-512
	"fmt"
	"hash"

	"github.com/golang-jwt/jwt/v5"
)

// The JWK key types (RFC 7518 §6.1, RFC 8037 §2).
const (
	ktySecret = "oct"
	ktyRSA    = "RSA"
	ktyEC     = "EC"
	ktyOKP    = "OKP"
)

// crvEd25519 is the one OKP curve that signs here.
const crvEd25519 = "Ed25519"

// generatedRSABits is the size of a generated RSA modulus: 128 bits of security.
const generatedRSABits = 3072

// algorithm is one row of a fixed table.
type algorithm struct {
	name   string
	kty    string
	method jwt.SigningMethod // all but HMAC
	hash   func() hash.Hash  // HMAC
	curve  elliptic.Curve    // ECDSA
	crv    string            // the JWK name of the curve, for EC and OKP
}

// Algorithms returns the names of all algorithms a [Key] can have, in a new slice.
func Algorithms() []string {
	return []string{
		"HS256", "HS384", "HS512",
		"RS256", "RS384", "RS512",
		"PS256", "PS384", "PS512",
		"ES256", "ES384", "ES512",
		"EdDSA", "Ed25519",
	}
}

// algorithmNamed returns the row of that exact name. Its signing method is made
// here and shared with nobody: the registry and the variables of package jwt are
// writable by every import of the program.
func algorithmNamed(name string) (algorithm, bool) {
	switch name {
	case "HS256":
		return hmacAlgorithm(name, sha256.New), true
	case "HS384":
		return hmacAlgorithm(name, sha512.New384), true
	case "HS512":
		return hmacAlgorithm(name, sha512.New), true
	case "RS256":
		return rsaAlgorithm(name, crypto.SHA256), true
	case "RS384":
		return rsaAlgorithm(name, crypto.SHA384), true
	case "RS512":
		return rsaAlgorithm(name, crypto.SHA512), true
	case "PS256":
		return pssAlgorithm(name, crypto.SHA256), true
	case "PS384":
		return pssAlgorithm(name, crypto.SHA384), true
	case "PS512":
		return pssAlgorithm(name, crypto.SHA512), true
	case "ES256":
		return ecdsaAlgorithm(name, crypto.SHA256, elliptic.P256()), true
	case "ES384":
		return ecdsaAlgorithm(name, crypto.SHA384, elliptic.P384()), true
	case "ES512":
		return ecdsaAlgorithm(name, crypto.SHA512, elliptic.P521()), true
	case "EdDSA", "Ed25519":
		return algorithm{name: name, kty: ktyOKP, crv: crvEd25519, method: &jwt.SigningMethodEd25519{}}, true
	}
	return algorithm{}, false
}

func hmacAlgorithm(name string, h func() hash.Hash) algorithm {
	return algorithm{name: name, kty: ktySecret, hash: h}
}

func rsaAlgorithm(name string, hash crypto.Hash) algorithm {
	return algorithm{name: name, kty: ktyRSA, method: &jwt.SigningMethodRSA{Name: name, Hash: hash}}
}

// pssAlgorithm leaves VerifyOptions unset: the library's own PS methods verify
// with any salt length, where RFC 7518 §3.5 says that of the hash.
func pssAlgorithm(name string, hash crypto.Hash) algorithm {
	return algorithm{name: name, kty: ktyRSA, method: &jwt.SigningMethodRSAPSS{
		SigningMethodRSA: &jwt.SigningMethodRSA{Name: name, Hash: hash},
		Options:          &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash},
	}}
}

func ecdsaAlgorithm(name string, hash crypto.Hash, curve elliptic.Curve) algorithm {
	bits := curve.Params().BitSize
	return algorithm{
		name: name, kty: ktyEC, curve: curve, crv: curve.Params().Name,
		method: &jwt.SigningMethodECDSA{Name: name, Hash: hash, KeySize: (bits + 7) / 8, CurveBits: bits},
	}
}

// load copies and checks the caller's material.
func (a algorithm) load(v any) (material, error) {
	var (
		m   material
		err error
	)
	switch v := v.(type) {
	case []byte:
		if a.kty != ktySecret {
			return m, a.mismatch(v)
		}
		m, err = loadSecret(a, v)
	case *rsa.PublicKey:
		if a.kty != ktyRSA {
			return m, a.mismatch(v)
		}
		m, err = loadRSAPublic(v)
	case *rsa.PrivateKey:
		if a.kty != ktyRSA {
			return m, a.mismatch(v)
		}
		m, err = loadRSAPrivate(v)
	case *ecdsa.PublicKey:
		if a.kty != ktyEC {
			return m, a.mismatch(v)
		}
		m, err = loadECDSAPublic(a, v)
	case *ecdsa.PrivateKey:
		if a.kty != ktyEC {
			return m, a.mismatch(v)
		}
		m, err = loadECDSAPrivate(a, v)
	case ed25519.PublicKey:
		if a.kty != ktyOKP {
			return m, a.mismatch(v)
		}
		m, err = loadEd25519Public(v)
	case ed25519.PrivateKey:
		if a.kty != ktyOKP {
			return m, a.mismatch(v)
		}
		m, err = loadEd25519Private(v)
	default:
		return m, a.mismatch(v)
	}
	if err != nil {
		return material{}, fmt.Errorf("jwk: material for %s: %w", a.name, err)
	}
	return m, nil
}

// mismatch names the types alone: the value may be a secret.
func (a algorithm) mismatch(v any) error {
	return fmt.Errorf("jwk: material of type %T does not fit %s", v, a.name)
}

// generate returns new material that load accepts.
func (a algorithm) generate() (any, error) {
	switch a.kty {
	case ktySecret:
		secret := make([]byte, a.hash().Size())
		_, err := rand.Read(secret)
		return secret, err
	case ktyRSA:
		return rsa.GenerateKey(rand.Reader, generatedRSABits)
	case ktyEC:
		return ecdsa.GenerateKey(a.curve, rand.Reader)
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	return private, err
}
