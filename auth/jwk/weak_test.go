package jwk_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"math/big"
	"strings"
	"testing"
	"testing/cryptotest"

	"github.com/sallyport/sallyport/auth/jwk"
)

func TestRFC7518_3_2_SecretLength(t *testing.T) {
	for alg, size := range map[string]int{"HS256": 32, "HS384": 48, "HS512": 64} {
		if _, err := jwk.NewKey("k", alg, goodSecret[:size]); err != nil {
			t.Errorf("%s: a secret of %d bytes: %v", alg, size, err)
		}
		for _, n := range []int{0, 1, 16, size - 1} {
			if _, err := jwk.NewKey("k", alg, goodSecret[:n]); err == nil {
				t.Errorf("%s: a secret of %d bytes is accepted", alg, n)
			}
		}
	}
}

// Secrets that were found in the wild: hard-coded, copied from a page, or padded.
func TestCVE_2025_30206_WeakSecrets(t *testing.T) {
	for _, tt := range []struct {
		name, secret string
		reason       string
	}{
		{"zeros", strings.Repeat("\x00", 32), "different bytes"},
		{"one letter", strings.Repeat("a", 64), "different bytes"},
		{"secretsecret", strings.Repeat("secret", 8), "different bytes"},
		{"changeme", strings.Repeat("changeme", 8), "different bytes"},
		{"digits", strings.Repeat("1234567890", 4), "repeats"},
		{"hex digits", strings.Repeat("0123456789abcdef", 2), "repeats"},
		{"a short secret twice", string(goodSecret[:16]) + string(goodSecret[:16]), "repeats"},
		{"a short secret, cut", strings.Repeat(string(goodSecret[:15]), 3)[:40], "repeats"},
		{"zero padded", "Tr0ub4dor&3-horse" + strings.Repeat("\x00", 15), "in a row"},
		{"padded in front", strings.Repeat(" ", 20) + "Tr0ub4dor&3-horse", "in a row"},
		{"your-256-bit-secret", "your-256-bit-secret-your-512-bit-secret", "words"},
		{"jwt.io", "a-string-secret-at-least-256-bits-long", "words"},
		{"jwt.io, upper case", "A-STRING-SECRET-AT-LEAST-256-BITS-LONG!!", "words"},
		{"super secret", "my-super-secret-key-for-jwt-tokens-123", "words"},
		{"change this", "please_change_this_secret_key_in_production", "words"},
		{"very long", "this is a very long secret key that must be changed", "words"},
		{"alphabet", "abcdefghijklmnopqrstuvwxyz0123456789", "words"},
		{"password", "Password12345678!Password123456789", "words"},
		{"a tutorial's", "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7", "words"},
		{"another tutorial's", "404E635266556A586E3272357538782F413F4428472B4B6250645367566B5970", "words"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := jwk.NewKey("k", "HS256", []byte(tt.secret))
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), tt.reason) {
				t.Errorf("got %q, want the reason %q", err, tt.reason)
			}
			if strings.Contains(err.Error(), tt.secret) {
				t.Errorf("the error shows the secret: %v", err)
			}
		})
	}
}

// What a generator of secrets makes must not be refused. The secrets are the same each
// time: of hexadecimal ones, one in some millions has a digit eight times in a row.
func TestRandomSecretsAreAccepted(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 1)
	for range 2000 {
		raw := make([]byte, 32)
		if _, err := rand.Read(raw); err != nil {
			t.Fatal(err)
		}
		for name, secret := range map[string][]byte{
			"bytes":    raw,
			"hex":      []byte(hex.EncodeToString(raw)),
			"half hex": []byte(hex.EncodeToString(raw[:16])),
			"text":     []byte(rand.Text() + rand.Text()),
		} {
			if _, err := jwk.NewKey("k", "HS256", secret); err != nil {
				t.Fatalf("%s %x: %v", name, secret, err)
			}
		}
	}
	// A random secret twice the needed length, or one with a prefix that says what it is.
	for _, secret := range []string{
		string(goodSecret[:32]) + string(goodSecret[:32]),
		"secret_key_" + hex.EncodeToString(goodSecret[:32]),
	} {
		if _, err := jwk.NewKey("k", "HS256", []byte(secret)); err != nil {
			t.Errorf("%q: %v", secret, err)
		}
	}
}

func TestRSAKeyChecks(t *testing.T) {
	good := rsa2048().PublicKey
	n := func(f func(*big.Int)) *rsa.PublicKey {
		k := &rsa.PublicKey{N: new(big.Int).Set(good.N), E: good.E}
		f(k.N)
		return k
	}
	bits := func(bits uint) *rsa.PublicKey {
		// An odd number of that size that has no small factor.
		return n(func(n *big.Int) {
			n.SetBit(new(big.Int), int(bits)-1, 1)
			for n.SetBit(n, 0, 1); !noSmallFactor(n); n.Add(n, big.NewInt(2)) {
			}
		})
	}
	for _, tt := range []struct {
		name   string
		key    *rsa.PublicKey
		reason string // "" if accepted
	}{
		{"2048 bits", &good, ""},
		{"8192 bits", bits(8192), ""},
		{"nil", nil, "nil"},
		{"nil modulus", &rsa.PublicKey{E: 65537}, "nil"},
		{"zero modulus", &rsa.PublicKey{N: new(big.Int), E: 65537}, "bits"},
		{"1024 bits", bits(1024), "bits"},
		{"2047 bits", bits(2047), "bits"},
		{"8193 bits", bits(8193), "bits"},
		{"65536 bits", bits(65536), "bits"},
		{"negative", n(func(n *big.Int) { n.Neg(n) }), "bits"},
		{"even", n(func(n *big.Int) { n.SetBit(n, 0, 0) }), "even"},
		{"factor 3", n(func(n *big.Int) { n.Sub(n, new(big.Int).Mod(n, big.NewInt(6))).Add(n, big.NewInt(3)) }), "factor 3"},
		{"factor 167", n(func(n *big.Int) {
			n.SetBit(new(big.Int), 2050, 1)
			n.Sub(n, new(big.Int).Mod(n, big.NewInt(167)))
			for step := big.NewInt(167); ; n.Add(n, step) {
				if n.Bit(0) == 1 && noSmallFactor(new(big.Int).Div(n, step)) {
					return
				}
			}
		}), "factor 167"},
		{"exponent 1", &rsa.PublicKey{N: good.N, E: 1}, "exponent"},
		{"exponent 3", &rsa.PublicKey{N: good.N, E: 3}, "exponent"},
		{"exponent 65536", &rsa.PublicKey{N: good.N, E: 65536}, "exponent"},
		{"exponent 65538", &rsa.PublicKey{N: good.N, E: 65538}, "exponent"},
		{"exponent 65539", &rsa.PublicKey{N: good.N, E: 65539}, ""},
		{"exponent 2^31-1", &rsa.PublicKey{N: good.N, E: 1<<31 - 1}, ""},
		{"exponent negative", &rsa.PublicKey{N: good.N, E: -65537}, "exponent"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, alg := range []string{"RS256", "PS512"} {
				_, err := jwk.NewKey("k", alg, tt.key)
				if tt.reason == "" && err != nil || tt.reason != "" && (err == nil || !strings.Contains(err.Error(), tt.reason)) {
					t.Errorf("%s: got %v, want reason %q", alg, err, tt.reason)
				}
			}
		})
	}
}

var smallPrimes = []int64{
	3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
	101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
}

func noSmallFactor(n *big.Int) bool {
	for _, p := range smallPrimes {
		if new(big.Int).Mod(n, big.NewInt(p)).Sign() == 0 {
			return false
		}
	}
	return true
}

// Moduli of the flawed generator are powers of 65537 modulo the small primes.
func TestCVE_2017_15361_ROCA(t *testing.T) {
	m := big.NewInt(2)
	for _, p := range smallPrimes {
		m.Mul(m, big.NewInt(p))
	}
	n := new(big.Int).Exp(big.NewInt(65537), big.NewInt(987654321), m)
	k := new(big.Int).Div(new(big.Int).SetBit(new(big.Int), 2050, 1), m)
	n.Add(n, k.Mul(k, m))
	_, err := jwk.NewKey("k", "RS256", &rsa.PublicKey{N: n, E: 65537})
	if err == nil || !strings.Contains(err.Error(), "ROCA") {
		t.Fatalf("got %v, want the ROCA fingerprint refused", err)
	}
	// One residue beside the subgroup makes it a modulus like any other: modulo
	// 11, 65537 is 10, so its powers are 1 and 10.
	for {
		n.Add(n, new(big.Int).Div(m, big.NewInt(11)))
		if r := new(big.Int).Mod(n, big.NewInt(11)).Int64(); n.Bit(0) == 1 && r > 1 && r < 10 {
			break
		}
	}
	if _, err := jwk.NewKey("k", "RS256", &rsa.PublicKey{N: n, E: 65537}); err != nil {
		t.Errorf("got %v, want accepted", err)
	}
}

func TestRSAPrivateKeyChecks(t *testing.T) {
	good, other := rsa2048(), otherRSA(t)
	for _, tt := range []struct {
		name   string
		change func(*rsa.PrivateKey)
	}{
		{"no exponent", func(k *rsa.PrivateKey) { k.D = nil }},
		{"zero exponent", func(k *rsa.PrivateKey) { k.D = new(big.Int) }},
		{"negative exponent", func(k *rsa.PrivateKey) { k.D = new(big.Int).Neg(k.D) }},
		{"huge exponent", func(k *rsa.PrivateKey) { k.D = new(big.Int).Lsh(k.D, 4096) }},
		{"another's exponent", func(k *rsa.PrivateKey) { k.D = other.D }},
		{"no primes", func(k *rsa.PrivateKey) { k.Primes = nil }},
		{"one prime", func(k *rsa.PrivateKey) { k.Primes = k.Primes[:1] }},
		{"three primes", func(k *rsa.PrivateKey) { k.Primes = append(k.Primes, big.NewInt(3)) }},
		{"nil prime", func(k *rsa.PrivateKey) { k.Primes[1] = nil }},
		{"zero prime", func(k *rsa.PrivateKey) { k.Primes[1] = new(big.Int) }},
		{"another's prime", func(k *rsa.PrivateKey) { k.Primes[0] = other.Primes[0] }},
		{"trivial primes", func(k *rsa.PrivateKey) { k.Primes = []*big.Int{big.NewInt(1), k.N} }},
		{"no modulus", func(k *rsa.PrivateKey) { k.N = nil }},
		{"exponent 3", func(k *rsa.PrivateKey) { k.E = 3 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := &rsa.PrivateKey{
				PublicKey: rsa.PublicKey{N: new(big.Int).Set(good.N), E: good.E},
				D:         new(big.Int).Set(good.D),
				Primes:    []*big.Int{new(big.Int).Set(good.Primes[0]), new(big.Int).Set(good.Primes[1])},
			}
			mustKey(t, "k", "RS256", k)
			tt.change(k)
			if _, err := jwk.NewKey("k", "RS256", k); err == nil {
				t.Error("accepted")
			}
		})
	}
	if _, err := jwk.NewKey("k", "RS256", (*rsa.PrivateKey)(nil)); err == nil {
		t.Error("a nil key is accepted")
	}
}

// handMade returns keys as a program could put them together field by field.
func handMade(c elliptic.Curve, x, y, d *big.Int) (*ecdsa.PublicKey, *ecdsa.PrivateKey) {
	k := new(ecdsa.PrivateKey)
	//lint:ignore SA1019 no parser makes a broken key
	k.Curve, k.X, k.Y, k.D = c, x, y, d //nolint:staticcheck // as above
	return &k.PublicKey, k
}

func TestRFC7518_3_4_ECKeyChecks(t *testing.T) {
	good := newEC(t, elliptic.P256())
	point, err := good.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	scalar, err := good.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	x, y, d := new(big.Int).SetBytes(point[1:33]), new(big.Int).SetBytes(point[33:]), new(big.Int).SetBytes(scalar)
	public := func(c elliptic.Curve, x, y *big.Int) *ecdsa.PublicKey {
		k, _ := handMade(c, x, y, nil)
		return k
	}
	private := func(d *big.Int) *ecdsa.PrivateKey {
		_, k := handMade(elliptic.P256(), x, y, d)
		return k
	}
	p256, params := elliptic.P256(), elliptic.P256().Params()
	mustKey(t, "k", "ES256", public(p256, x, y))
	if _, err := jwk.NewKey("k", "ES256", &newEC(t, elliptic.P384()).PublicKey); err == nil || !strings.Contains(err.Error(), "not on P-256") {
		t.Errorf("a key on P-384: got %v", err)
	}
	mustKey(t, "k", "ES256", private(d))
	for _, tt := range []struct {
		name     string
		material any
	}{
		{"nil public", (*ecdsa.PublicKey)(nil)},
		{"nil private", (*ecdsa.PrivateKey)(nil)},
		{"nothing in it", new(ecdsa.PrivateKey)},
		{"no curve", public(nil, x, y)},
		{"no coordinates", public(p256, nil, nil)},
		{"no y", public(p256, x, nil)},
		{"off the curve", public(p256, x, new(big.Int).Add(y, big.NewInt(1)))},
		{"infinity", public(p256, new(big.Int), new(big.Int))},
		{"negative", public(p256, new(big.Int).Neg(x), y)},
		{"x not reduced", public(p256, new(big.Int).Add(x, params.P), y)},
		{"x far too long", public(p256, new(big.Int).Lsh(x, 4096), y)},
		{"another curve's point", &newEC(t, elliptic.P384()).PublicKey},
		{"another curve's parameters", public(params, x, y)},
		{"no private scalar", private(nil)},
		{"scalar 0", private(new(big.Int))},
		{"scalar n", private(params.N)},
		{"scalar negative", private(new(big.Int).Neg(d))},
		{"another's scalar", private(new(big.Int).Sub(params.N, d))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := jwk.NewKey("k", "ES256", tt.material); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestRFC8032_Ed25519PointChecks(t *testing.T) {
	ff := strings.Repeat("ff", 30)
	zeros := strings.Repeat("00", 30)
	for _, tt := range []struct{ name, hex, reason string }{
		{"identity", "01" + zeros + "00", "small order"},
		{"order 2", "ec" + ff + "7f", "small order"},
		{"order 4", "00" + zeros + "00", "small order"},
		{"order 4, other sign", "00" + zeros + "80", "small order"},
		{"order 8 a", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", "small order"},
		{"order 8 b", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85", "small order"},
		{"order 8 c", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", "small order"},
		{"order 8 d", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa", "small order"},
		{"identity with a sign", "01" + zeros + "80", "canonical"},
		{"order 2 with a sign", "ec" + ff + "ff", "canonical"},
		{"y = p", "ed" + ff + "7f", "canonical"},
		{"y = p + 1", "ee" + ff + "7f", "canonical"},
		{"y = 2^255 - 1", "ff" + ff + "7f", "canonical"},
		{"not on the curve", "02" + zeros + "00", "not a point"},
		{"short", "0102", "bytes"},
		{"empty", "", "bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := hex.DecodeString(tt.hex)
			if err != nil {
				t.Fatal(err)
			}
			for _, alg := range []string{"EdDSA", "Ed25519"} {
				if _, err := jwk.NewKey("k", alg, ed25519.PublicKey(b)); err == nil || !strings.Contains(err.Error(), tt.reason) {
					t.Errorf("%s: got %v, want reason %q", alg, err, tt.reason)
				}
			}
		})
	}
	t.Run("the base point", func(t *testing.T) {
		b := append([]byte{0x58}, bytes.Repeat([]byte{0x66}, 31)...)
		mustKey(t, "k", "EdDSA", ed25519.PublicKey(b))
	})
	t.Run("many good keys", func(t *testing.T) {
		for range 100 {
			mustKey(t, "k", "EdDSA", newEd(t))
		}
	})
}

// Under the identity point one signature fits every message.
func TestEd25519ForgeryUnderTheIdentity(t *testing.T) {
	identity := make(ed25519.PublicKey, 32)
	identity[0] = 1
	forged := make([]byte, 64)
	forged[0] = 1
	if !ed25519.Verify(identity, []byte("any message"), forged) {
		t.Skip("crypto/ed25519 refuses the identity by itself now")
	}
	if _, err := jwk.NewKey("k", "EdDSA", identity); err == nil {
		t.Error("the identity is accepted as a key")
	}
}

func TestEd25519PrivateKeyChecks(t *testing.T) {
	good, other := newEd(t), newEd(t)
	mixed := append(append(ed25519.PrivateKey{}, good[:32]...), other[32:]...)
	for name, k := range map[string]ed25519.PrivateKey{"nil": nil, "seed only": good[:32], "too long": append(bytes.Clone(good), 0), "another's public half": mixed} {
		if _, err := jwk.NewKey("k", "EdDSA", k); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
