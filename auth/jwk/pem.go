package jwk

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

const maxPEMBytes = 64 << 10

// ParsePEM returns the key in a PEM file (RFC 7468): a private key in PKCS#8
// ("PRIVATE KEY"), PKCS#1 ("RSA PRIVATE KEY") or SEC 1 ("EC PRIVATE KEY"), or a
// public one in PKIX ("PUBLIC KEY"), PKCS#1 ("RSA PUBLIC KEY") or a certificate
// ("CERTIFICATE"), of which nothing but the key is looked at. id and alg are those of
// [NewKey], which says what it refuses; an alg of "" is RS256, the algorithm of the
// curve, or EdDSA.
//
// The file must hold one block, besides the "EC PARAMETERS" that some tools write, and
// no more than 64 KiB. An encrypted key is an error: decrypt it first.
func ParsePEM(id, alg string, data []byte) (Key, error) {
	if len(data) > maxPEMBytes {
		return Key{}, fmt.Errorf("jwk: the PEM file is larger than %d bytes", maxPEMBytes)
	}
	block, rest := pem.Decode(data)
	if block != nil && block.Type == "EC PARAMETERS" {
		block, rest = pem.Decode(rest)
	}
	if block == nil {
		return Key{}, errors.New("jwk: there is no PEM block")
	}
	if more, _ := pem.Decode(rest); more != nil || len(bytes.TrimSpace(rest)) > 0 {
		return Key{}, errors.New("jwk: the PEM file has more than one block")
	}
	material, err := pemMaterial(block)
	if err != nil {
		return Key{}, err
	}
	if alg == "" {
		if alg, err = defaultAlgorithmOf(material); err != nil {
			return Key{}, err
		}
	}
	return NewKey(id, alg, material)
}

// pemMaterial returns what NewKey takes. The errors of the parsers are left out: they
// may show parts of a private key.
func pemMaterial(block *pem.Block) (any, error) {
	var (
		v   any
		err error
	)
	if block.Headers["DEK-Info"] != "" || block.Type == "ENCRYPTED PRIVATE KEY" {
		return nil, errors.New("jwk: the PEM block is encrypted: decrypt it first")
	}
	switch block.Type {
	case "PRIVATE KEY":
		v, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		v, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		v, err = x509.ParseECPrivateKey(block.Bytes)
	case "PUBLIC KEY":
		v, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		v, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var c *x509.Certificate
		if c, err = x509.ParseCertificate(block.Bytes); err == nil {
			v = c.PublicKey
		}
	default:
		return nil, errors.New("jwk: the PEM block is of a type that is no key's")
	}
	if err != nil {
		return nil, errors.New("jwk: the PEM block does not hold what its type says")
	}
	return v, nil
}

func defaultAlgorithmOf(material any) (string, error) {
	var bits int
	switch k := material.(type) {
	case *rsa.PrivateKey, *rsa.PublicKey:
		return "RS256", nil
	case ed25519.PrivateKey, ed25519.PublicKey:
		return "EdDSA", nil
	case *ecdsa.PrivateKey:
		bits = k.Curve.Params().BitSize
	case *ecdsa.PublicKey:
		bits = k.Curve.Params().BitSize
	}
	switch bits {
	case 256:
		return "ES256", nil
	case 384:
		return "ES384", nil
	case 521:
		return "ES512", nil
	}
	return "", fmt.Errorf("jwk: a key of type %T is not supported", material)
}

// MarshalPrivatePEM returns the private key in PKCS#8 ("PRIVATE KEY"), not encrypted,
// which [ParsePEM] reads; neither the id nor the algorithm is in it. A secret, and a
// key that can't sign, are errors.
func (k Key) MarshalPrivatePEM() ([]byte, error) {
	if !k.CanSign() || k.Symmetric() {
		return nil, errors.New("jwk: MarshalPrivatePEM: the key has no private half")
	}
	der, err := x509.MarshalPKCS8PrivateKey(k.k.signer)
	if err != nil {
		return nil, fmt.Errorf("jwk: MarshalPrivatePEM: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// MarshalPEM returns the public half in PKIX ("PUBLIC KEY"), which [ParsePEM] reads. A
// secret, and the zero Key, are errors.
func (k Key) MarshalPEM() ([]byte, error) {
	public, err := k.Public()
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(crypto.PublicKey(public.k.verifier))
	if err != nil {
		return nil, fmt.Errorf("jwk: MarshalPEM: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}
