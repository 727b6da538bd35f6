package jwk

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/sallyport/sallyport/internal/strictbase64"
	"github.com/sallyport/sallyport/internal/strictjson"
)

const (
	maxSetBytes = 1 << 20
	maxSetKeys  = 256
)

// limits bound one JWK, and a JWK Set as a whole. Names are compared without
// regard to case: a reader that ignores case would see another key.
var limits = strictjson.Limits{Depth: 8, Members: 64, Items: maxSetKeys, Bytes: maxSetBytes, FoldNames: true}

// Parse returns the key in a JWK (RFC 7517 §4), which may hold private members.
//
// The document must be strict JSON without duplicate members, and the key good
// enough for [NewKey]. Binary members are base64url without padding in their one
// canonical form and length (RFC 7518 §6). "use" must be "sig" and "key_ops" must
// be of signing and verifying, where they are there: a private key without "sign"
// gives one that only verifies. Members that are not defined for keys, and the
// certificate members, are ignored.
//
// "alg" must fit the key. Without it an EC key has the algorithm of its curve, an
// OKP key EdDSA and an RSA key RS256; an oct key needs it, and "kid" too. For all
// others the id is the RFC 7638 thumbprint if there is no "kid".
func Parse(data []byte) (Key, error) {
	m, err := readMembers(data)
	if err != nil {
		return Key{}, err
	}
	return m.key()
}

// members are those of a JWK that matter here.
type members struct {
	text    map[string]string
	ops     []string // nil if there is no "key_ops"
	oth     bool     // there are primes beyond two, which are private
	unclear bool     // nobody can say what the key is meant for
	// algorithms are those that the key may have. Without an "alg" it has the first
	// that fits it. Nil stands for all, and the defaults of Parse.
	algorithms []string
}

// readMembers reads a JWK without judging it. Beside an error are the members that are
// what they should be. The errors never show a value: it may be private.
func readMembers(data []byte) (members, error) {
	m := members{text: make(map[string]string)}
	var wrong error // the first
	err := strictjson.Object(data, limits, func(name string, v strictjson.Value) error {
		if err := m.read(name, v); err != nil && wrong == nil {
			wrong = err
		}
		return nil
	})
	if err == nil {
		err = wrong
	}
	if err != nil {
		return m, fmt.Errorf("jwk: not a JWK: %w", err)
	}
	return m, nil
}

func (m *members) read(name string, v strictjson.Value) error {
	switch name {
	case "kty", "use", "alg", "kid", "crv", "n", "e", "d", "p", "q", "dp", "dq", "qi", "x", "y", "k":
		s, err := v.Text()
		if err != nil || s == "" {
			m.unclear = m.unclear || name == "kty" || name == "use" || name == "alg" || name == "crv"
			return fmt.Errorf("%q is not a string, or empty", name)
		}
		m.text[name] = s
	case "oth":
		m.oth = true
		return errors.New("keys of more than two primes are not supported")
	case "key_ops":
		m.ops = []string{}
		err := v.Elements(func(v strictjson.Value) error {
			op, err := v.Text()
			if err != nil || slices.Contains(m.ops, op) {
				return errors.New(`"key_ops" has an entry twice, or one that is not a string`)
			}
			m.ops = append(m.ops, op)
			return nil
		})
		m.unclear = m.unclear || err != nil
		return err
	}
	return nil
}

// private reports whether there is more in the JWK than the public may know.
func (m *members) private() bool {
	for _, name := range privateMembers() {
		if _, ok := m.text[name]; ok {
			return true
		}
	}
	return m.oth
}

func privateMembers() []string { return []string{"d", "p", "q", "dp", "dq", "qi", "k"} }

// dropPrivate leaves a public key, and of its operations the one of that half.
func (m *members) dropPrivate() {
	for _, name := range privateMembers() {
		delete(m.text, name)
	}
	if slices.Contains(m.ops, "sign") && !slices.Contains(m.ops, "verify") {
		m.ops = append(m.ops, "verify")
	}
}

func (m *members) key() (Key, error) {
	a, err := m.algorithm()
	if err != nil {
		return Key{}, err
	}
	if a.kty != m.text["kty"] || a.crv != m.text["crv"] {
		return Key{}, fmt.Errorf("jwk: %s does not fit the key type or curve", a.name)
	}
	sign, verify, err := m.purpose()
	if err != nil {
		return Key{}, err
	}
	raw, err := m.material(a)
	if err != nil {
		return Key{}, err
	}
	loaded, err := a.load(raw)
	if err != nil {
		return Key{}, err
	}
	if err := m.checkCRT(raw); err != nil {
		return Key{}, err
	}
	id := m.text["kid"]
	switch {
	case a.kty == ktySecret && id == "":
		return Key{}, errors.New(`jwk: an oct key needs a "kid"`)
	case !sign && !verify, !verify && loaded.signer == nil:
		return Key{}, errors.New(`jwk: "key_ops" leaves the key no use`)
	case !verify && a.kty == ktySecret:
		return Key{}, errors.New(`jwk: "key_ops" of an oct key lacks "verify"`)
	case !sign:
		loaded.signer = nil
	}
	return newKey(id, a, loaded)
}

// forSignatures reports whether the key is meant for what is done here.
func (m *members) forSignatures() bool {
	_, err := m.algorithm()
	if err == nil {
		_, _, err = m.purpose()
	}
	return err == nil
}

// algorithm returns the key's one algorithm.
func (m *members) algorithm() (algorithm, error) {
	name, ok := m.text["alg"]
	switch {
	case ok:
	case m.text["kty"] == ktySecret:
		return algorithm{}, errors.New(`jwk: an oct key needs an "alg"`)
	default:
		if name, ok = m.defaultAlgorithm(); !ok {
			return algorithm{}, errors.New("jwk: the key type or curve is not supported")
		}
	}
	a, ok := algorithmNamed(name)
	if !ok || m.algorithms != nil && !slices.Contains(m.algorithms, name) {
		return algorithm{}, errors.New("jwk: the alg is not supported")
	}
	return a, nil
}

// defaultAlgorithm returns the first algorithm that fits the key.
func (m *members) defaultAlgorithm() (name string, ok bool) {
	candidates := m.algorithms
	if candidates == nil {
		candidates = []string{"RS256", "ES256", "ES384", "ES512", "EdDSA"}
	}
	for _, name := range candidates {
		if a, ok := algorithmNamed(name); ok && a.kty == m.text["kty"] && a.crv == m.text["crv"] {
			return name, true
		}
	}
	return "", false
}

// purpose reads "use" and "key_ops" (RFC 7517 §4.2 and §4.3), which must agree.
func (m *members) purpose() (sign, verify bool, err error) {
	if use, ok := m.text["use"]; ok && use != "sig" {
		return false, false, errors.New(`jwk: "use" is not "sig"`)
	}
	if m.ops == nil {
		return true, true, nil
	}
	for _, op := range m.ops {
		switch op {
		case "sign":
			sign = true
		case "verify":
			verify = true
		default:
			return false, false, errors.New(`jwk: "key_ops" has another operation than "sign" and "verify"`)
		}
	}
	return sign, verify, nil
}

// material returns what NewKey takes, of the size that the algorithm asks for
// but not vetted otherwise.
func (m *members) material(a algorithm) (any, error) {
	_, private := m.text["d"]
	switch a.kty {
	case ktySecret:
		return m.bytes("k", 0)
	case ktyRSA:
		return m.rsa(private)
	case ktyEC:
		return m.ecdsa(a, private)
	}
	x, err := m.bytes("x", ed25519.PublicKeySize)
	if err != nil || !private {
		return ed25519.PublicKey(x), err
	}
	seed, err := m.bytes("d", ed25519.SeedSize)
	if err != nil {
		return nil, err
	}
	return ed25519.PrivateKey(append(seed, x...)), nil
}

func (m *members) rsa(private bool) (any, error) {
	n, err := m.integer("n")
	if err != nil {
		return nil, err
	}
	e, err := m.integer("e")
	if err != nil {
		return nil, err
	}
	if e.Cmp(big.NewInt(maxRSAExponent)) > 0 {
		return nil, errors.New("jwk: the RSA exponent is too large")
	}
	public := rsa.PublicKey{N: n, E: int(e.Int64())}
	if !private {
		return &public, nil
	}
	k := &rsa.PrivateKey{PublicKey: public, Primes: make([]*big.Int, 2)}
	for name, to := range map[string]**big.Int{"d": &k.D, "p": &k.Primes[0], "q": &k.Primes[1]} {
		if *to, err = m.integer(name); err != nil {
			return nil, err
		}
	}
	return k, nil
}

func (m *members) ecdsa(a algorithm, private bool) (any, error) {
	size := a.coordinateSize()
	x, err := m.bytes("x", size)
	if err != nil {
		return nil, err
	}
	y, err := m.bytes("y", size)
	if err != nil {
		return nil, err
	}
	const uncompressed = 4 // SEC 1 §2.3.3
	public, err := ecdsa.ParseUncompressedPublicKey(a.curve, append(append([]byte{uncompressed}, x...), y...))
	if err != nil {
		return nil, fmt.Errorf("jwk: the EC key is not a point of %s", a.crv)
	}
	if !private {
		return public, nil
	}
	d, err := m.bytes("d", size)
	if err != nil {
		return nil, err
	}
	k, err := ecdsa.ParseRawPrivateKey(a.curve, d)
	if err != nil {
		return nil, errors.New("jwk: the EC private key is out of range")
	}
	k.PublicKey = *public // whether it belongs is checked as for every key
	return k, nil
}

// checkCRT refuses an RSA key whose precomputed members, where it has them, are
// not those of its primes. They are not used: they are computed anew.
func (m *members) checkCRT(raw any) error {
	k, ok := raw.(*rsa.PrivateKey)
	if !ok {
		return nil
	}
	one := big.NewInt(1)
	p, q := k.Primes[0], k.Primes[1]
	for name, want := range map[string]*big.Int{
		"dp": new(big.Int).Mod(k.D, new(big.Int).Sub(p, one)),
		"dq": new(big.Int).Mod(k.D, new(big.Int).Sub(q, one)),
		"qi": new(big.Int).ModInverse(q, p),
	} {
		if _, ok := m.text[name]; !ok {
			continue
		}
		got, err := m.integer(name)
		if err != nil {
			return err
		}
		if want == nil || got.Cmp(want) != 0 {
			return errors.New("jwk: the members of the RSA private key do not belong together")
		}
	}
	return nil
}

// bytes decodes a member of that many bytes; of any number if size is 0.
func (m *members) bytes(name string, size int) ([]byte, error) {
	s, ok := m.text[name]
	if !ok {
		return nil, fmt.Errorf("jwk: %q is missing", name)
	}
	b, err := strictbase64.Decode(base64.RawURLEncoding, s)
	if err != nil {
		return nil, fmt.Errorf("jwk: %q is not base64url in its canonical form", name)
	}
	if size != 0 && len(b) != size {
		return nil, fmt.Errorf("jwk: %q has %d bytes, want %d", name, len(b), size)
	}
	return b, nil
}

// integer decodes a member of the form Base64urlUInt (RFC 7518 §2).
func (m *members) integer(name string) (*big.Int, error) {
	b, err := m.bytes(name, 0)
	if err != nil {
		return nil, err
	}
	if b[0] == 0 && len(b) > 1 {
		return nil, fmt.Errorf("jwk: %q has a leading zero", name)
	}
	if len(b) > maxRSABits/8 {
		return nil, fmt.Errorf("jwk: %q is too long", name)
	}
	return new(big.Int).SetBytes(b), nil
}
