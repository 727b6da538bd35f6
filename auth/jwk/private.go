package jwk

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
)

// MarshalPrivateJWK returns the whole key as a JWK, its private half or secret
// included (RFC 7518 §6), which [Parse] reads. Keep it where only this program can
// read it. A key that can't sign is an error.
func (k Key) MarshalPrivateJWK() ([]byte, error) {
	if !k.CanSign() {
		return nil, errors.New("jwk: MarshalPrivateJWK: the key has no private half")
	}
	members := map[string]string{"alg": k.k.alg.name, "kid": k.k.id, "use": "sig", "kty": k.k.alg.kty}
	encode := func(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
	switch private := k.k.signer.(type) {
	case []byte:
		members["k"] = encode(private)
		return json.Marshal(members)
	case *rsa.PrivateKey:
		private.Precompute()
		for name, n := range map[string]*big.Int{
			"d": private.D, "p": private.Primes[0], "q": private.Primes[1],
			"dp": private.Precomputed.Dp, "dq": private.Precomputed.Dq, "qi": private.Precomputed.Qinv,
		} {
			members[name] = encode(n.Bytes())
		}
	case *ecdsa.PrivateKey:
		d, err := private.Bytes()
		if err != nil {
			return nil, fmt.Errorf("jwk: MarshalPrivateJWK: %w", err)
		}
		members["d"] = encode(d)
	case ed25519.PrivateKey:
		members["d"] = encode(private.Seed())
	default:
		return nil, errors.New("jwk: MarshalPrivateJWK: the key is of a kind that has no JWK")
	}
	// The public members are those of the thumbprint.
	var public map[string]string
	if err := json.Unmarshal([]byte(k.k.canonical), &public); err != nil {
		return nil, fmt.Errorf("jwk: MarshalPrivateJWK: %w", err)
	}
	for name, value := range public {
		members[name] = value
	}
	return json.Marshal(members)
}

// marshalVerifier returns what a verifier needs of the key as a JWK: its public half, or
// the whole secret, which must not sign if it could not.
func (k Key) marshalVerifier() ([]byte, error) {
	if !k.Symmetric() {
		return k.verifyOnly().MarshalJSON()
	}
	if k.CanSign() {
		return k.MarshalPrivateJWK()
	}
	secret, ok := k.k.verifier.([]byte)
	if !ok {
		return nil, errors.New("jwk: the key is of a kind that has no JWK")
	}
	return json.Marshal(map[string]any{
		"alg": k.k.alg.name, "kid": k.k.id, "use": "sig", "kty": k.k.alg.kty,
		"k": base64.RawURLEncoding.EncodeToString(secret), "key_ops": []string{"verify"},
	})
}
