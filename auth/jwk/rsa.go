package jwk

import (
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
)

const (
	minRSABits     = 2048
	maxRSABits     = 8192 // a larger modulus makes each verification a denial of service
	minRSAExponent = 65537
	maxRSAExponent = 1<<31 - 1
)

func loadRSAPublic(k *rsa.PublicKey) (material, error) {
	if k == nil || k.N == nil {
		return material{}, errors.New("the RSA public key is nil")
	}
	if err := checkRSAPublic(k.N, k.E); err != nil {
		return material{}, err
	}
	k = &rsa.PublicKey{N: new(big.Int).Set(k.N), E: k.E}
	return material{
		verifier: k,
		size:     k.Size(),
		canonical: `{"e":"` + base64.RawURLEncoding.EncodeToString(big.NewInt(int64(k.E)).Bytes()) +
			`","kty":"RSA","n":"` + base64.RawURLEncoding.EncodeToString(k.N.Bytes()) + `"}`,
	}, nil
}

func loadRSAPrivate(k *rsa.PrivateKey) (material, error) {
	if k == nil {
		return material{}, errors.New("the RSA private key is nil")
	}
	m, err := loadRSAPublic(&k.PublicKey)
	if err != nil {
		return material{}, err
	}
	if k.D == nil || k.D.Sign() <= 0 || k.D.BitLen() > k.N.BitLen() {
		return material{}, errors.New("the RSA private exponent is missing or out of range")
	}
	if len(k.Primes) != 2 {
		return material{}, fmt.Errorf("the RSA private key has %d primes, want 2", len(k.Primes))
	}
	private := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: new(big.Int).Set(k.N), E: k.E},
		D:         new(big.Int).Set(k.D),
	}
	for _, p := range k.Primes {
		if p == nil || p.Sign() <= 0 || p.BitLen() > k.N.BitLen() {
			return material{}, errors.New("an RSA prime is missing or out of range")
		}
		private.Primes = append(private.Primes, new(big.Int).Set(p))
	}
	private.Precompute()
	if private.Validate() != nil { // its error may show parts of the key
		return material{}, errors.New("the RSA private key is not consistent")
	}
	m.signer = private
	return m, nil
}

func checkRSAPublic(n *big.Int, e int) error {
	if bits := n.BitLen(); n.Sign() <= 0 || bits < minRSABits || bits > maxRSABits {
		return fmt.Errorf("the RSA modulus has %d bits, want %d to %d", n.BitLen(), minRSABits, maxRSABits)
	}
	if n.Bit(0) == 0 {
		return errors.New("the RSA modulus is even")
	}
	if e < minRSAExponent || e > maxRSAExponent || e%2 == 0 {
		return fmt.Errorf("the RSA exponent must be odd and from %d to %d", minRSAExponent, maxRSAExponent)
	}
	return checkRSAFactors(n)
}

// checkRSAFactors refuses moduli with small factors, and those of the Infineon
// generator (ROCA, CVE-2017-15361). It made primes of the form k·M + 65537^a mod
// M, M the product of the first primes, so each modulus is a power of 65537
// modulo every small prime. A sound modulus has that property for all of these
// with odds below 2^-100.
func checkRSAFactors(n *big.Int) error {
	roca := true
	mod := new(big.Int)
	for _, p := range []int64{
		3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79,
		83, 89, 97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
	} {
		rest := mod.Mod(n, big.NewInt(p)).Int64()
		if rest == 0 {
			return fmt.Errorf("the RSA modulus has the factor %d", p)
		}
		roca = roca && isPowerOf65537(rest, p)
	}
	if roca {
		return errors.New("the RSA modulus has the ROCA fingerprint (CVE-2017-15361)")
	}
	return nil
}

// isPowerOf65537 reports whether x is in the subgroup that 65537 generates modulo p.
func isPowerOf65537(x, p int64) bool {
	for power := int64(1); ; {
		if power == x {
			return true
		}
		power = power * 65537 % p
		if power == 1 {
			return false
		}
	}
}
