// Package jwk holds the keys that sign and verify tokens: single keys, fixed
// sets, and a ring that rotates the signing key and publishes its public half.
//
// A [Key] has exactly one algorithm (RFC 8725 §3.1): what a token's header says
// never chooses how a key is used, so a public key can't be taken for an HMAC
// secret. Keys are checked when they are made. Short or guessable secrets, RSA
// moduli that are small, even or made by the ROCA generator, points off their
// curve and Ed25519 points of small order are errors at construction, never a
// surprise per request.
//
// The algorithms are HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384,
// PS512, ES256, ES384, ES512 (RFC 7518), EdDSA with Ed25519 (RFC 8037), and
// Ed25519 under its own name (RFC 9864). Prefer Ed25519, ES256 or PS256.
// "none" and encryption do not exist here.
package jwk

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"unicode/utf8"
)

// maxIDBytes bounds a key id. A token's kid is attacker-controlled until the
// signature is checked, so an id longer than anyone needs is refused on both sides.
const maxIDBytes = 256

var (
	errZeroKey   = errors.New("jwk: the zero Key has no material")
	errSignature = errors.New("jwk: the signature is not valid")
)

// A Key is an id, one algorithm and the material for it. It is immutable, a
// copy is the same key, and == tells whether two are: a value that stays equal
// was not replaced. The zero Key signs and verifies nothing.
//
// A Key prints, logs and formats as its id. It is safe for concurrent use.
type Key struct{ k *key }

type key struct {
	id  string
	alg algorithm
	material
	thumbprint [sha256.Size]byte // RFC 7638
	header     string            // the start of a JOSE header, {"alg":"…","kid":"…"
	public     *key              // the verifying half; the key itself if that is all there is; nil for a secret
}

// material is what an algorithm computes with, copied from what the caller gave
// and already checked.
type material struct {
	signer    any    // for SigningMethod.Sign; nil if the key only verifies
	verifier  any    // for SigningMethod.Verify
	macs      *macs  // of a secret, which signs and verifies by these
	size      int    // octets of a signature, exactly
	canonical string // the JWK members of RFC 7638 §3.2; for a secret its thumbprint input, never kept
}

// NewKey returns the key of the given id and algorithm (see the package comment
// for the names). material is one of []byte, *rsa.PrivateKey, *rsa.PublicKey,
// *ecdsa.PrivateKey, *ecdsa.PublicKey, ed25519.PrivateKey and ed25519.PublicKey,
// and is copied. A private key also verifies.
//
// The id is what tokens name as "kid": at most 256 bytes of UTF-8 without
// control characters. An empty id stands for the RFC 7638 thumbprint, except for
// a []byte secret, which a published hash would help to guess; there it is an error.
//
// Material that does not fit the algorithm or is weak is an error: a secret
// shorter than the hash (RFC 7518 §3.2), of too few different bytes, made by
// repetition or of the words found in sample secrets; an RSA modulus outside
// 2048 to 8192 bits, with small factors or the ROCA fingerprint (CVE-2017-15361),
// an exponent that is even or outside 65537 to 2^31-1; a point that is not on the
// algorithm's curve, or of small order; a private half that does not match the
// public one.
func NewKey(id, alg string, material any) (Key, error) {
	a, ok := algorithmNamed(alg)
	if !ok {
		return Key{}, fmt.Errorf("jwk: alg %q is not supported", alg)
	}
	m, err := a.load(material)
	if err != nil {
		return Key{}, err
	}
	if id == "" && a.kty == ktySecret {
		return Key{}, errors.New("jwk: a secret needs an id")
	}
	return newKey(id, a, m)
}

// Generate returns a new private key (for HS256, HS384 and HS512 a secret as
// long as the hash) from the system's random source. Its id is the RFC 7638
// thumbprint. RSA keys have 3072 bits.
func Generate(alg string) (Key, error) {
	a, ok := algorithmNamed(alg)
	if !ok {
		return Key{}, fmt.Errorf("jwk: alg %q is not supported", alg)
	}
	generated, err := a.generate()
	if err != nil {
		return Key{}, fmt.Errorf("jwk: generating a key for %s: %w", alg, err)
	}
	m, err := a.load(generated)
	if err != nil {
		return Key{}, err
	}
	return newKey("", a, m)
}

// newKey makes the key of material that load has vetted.
func newKey(id string, a algorithm, m material) (Key, error) {
	thumbprint := sha256.Sum256([]byte(m.canonical))
	if id == "" {
		id = base64.RawURLEncoding.EncodeToString(thumbprint[:])
	}
	if err := checkID(id); err != nil {
		return Key{}, err
	}
	kid, err := json.Marshal(id)
	if err != nil {
		return Key{}, fmt.Errorf("jwk: id: %w", err)
	}
	k := &key{
		id:         id,
		alg:        a,
		material:   m,
		thumbprint: thumbprint,
		header:     `{"alg":"` + a.name + `","kid":` + string(kid),
	}
	switch {
	case a.kty == ktySecret:
		k.canonical = ""
	case m.signer == nil:
		k.public = k
	default:
		public := *k
		public.signer = nil
		public.public = &public
		k.public = &public
	}
	return Key{k}, nil
}

func checkID(id string) error {
	if len(id) > maxIDBytes {
		return fmt.Errorf("jwk: id is longer than %d bytes", maxIDBytes)
	}
	if !utf8.ValidString(id) {
		return errors.New("jwk: id is not valid UTF-8")
	}
	for _, r := range id {
		if r < 0x20 || r == 0x7f {
			return errors.New("jwk: id has a control character")
		}
	}
	return nil
}

// ID returns the key's id, the "kid" of its tokens; "" for the zero Key.
func (k Key) ID() string {
	if k.k == nil {
		return ""
	}
	return k.k.id
}

// Algorithm returns the name of the one algorithm the key is for, as it stands
// in a token's "alg"; "" for the zero Key.
func (k Key) Algorithm() string {
	if k.k == nil {
		return ""
	}
	return k.k.alg.name
}

// Thumbprint returns the key's JWK Thumbprint (RFC 7638) with SHA-256, in
// base64url without padding. Both halves of a key have the same one. It is "" for
// the zero Key, and for a secret, which a hash would help to guess.
func (k Key) Thumbprint() string {
	if k.k == nil || k.Symmetric() {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(k.k.thumbprint[:])
}

// CanSign reports whether the key has its private half, or is a secret that may sign.
func (k Key) CanSign() bool { return k.k != nil && k.k.signer != nil }

// Symmetric reports whether the key is a shared secret (HS256, HS384, HS512):
// whoever can verify with it can sign.
func (k Key) Symmetric() bool { return k.k != nil && k.k.alg.kty == ktySecret }

// Public returns the half of the key that only verifies. Each call returns the
// same Key, and a key without a private half is its own. A secret and the zero
// Key have none: an error.
func (k Key) Public() (Key, error) {
	if k.k == nil {
		return Key{}, errZeroKey
	}
	if k.k.public == nil {
		return Key{}, errors.New("jwk: a secret has no public half")
	}
	return Key{k.k.public}, nil
}

// verifyOnly returns what a verifier needs of the key: its public half, or the
// secret itself.
func (k Key) verifyOnly() Key {
	if k.k != nil && k.k.public != nil {
		return Key{k.k.public}
	}
	return k
}

// Sign returns the JWS signature or MAC of input (RFC 7515 §5.1). A key that
// can't sign is an error.
func (k Key) Sign(input []byte) ([]byte, error) {
	if k.k == nil {
		return nil, errZeroKey
	}
	if k.k.signer == nil {
		return nil, errors.New("jwk: the key has no private half to sign with")
	}
	if k.k.macs != nil {
		return k.k.macs.sign(input), nil
	}
	signature, err := k.k.alg.method.Sign(string(input), k.k.signer)
	if err != nil {
		return nil, fmt.Errorf("jwk: signing: %w", err)
	}
	return signature, nil
}

// Verify returns nil if signature is the key's JWS signature or MAC of input
// (RFC 7515 §5.2), and an error otherwise. A signature has exactly one length
// for each key, and PSS signatures one salt length, that of the hash
// (RFC 7518 §3.5). MACs are compared in constant time.
func (k Key) Verify(input, signature []byte) error {
	if k.k == nil {
		return errZeroKey
	}
	if len(signature) != k.k.size {
		return errSignature
	}
	if k.k.macs != nil {
		if !k.k.macs.verify(input, signature) {
			return errSignature
		}
		return nil
	}
	if k.k.alg.method.Verify(string(input), signature, k.k.verifier) != nil {
		return errSignature
	}
	return nil
}

// SignCompact returns payload as a signed token in the compact form
// (RFC 7515 §7.1). Its header has "alg", "kid" and, unless typ is empty, "typ",
// which should name the kind of token, such as "at+jwt" (RFC 8725 §3.11). A typ
// of other than printable ASCII without quotes and backslashes is an error.
func (k Key) SignCompact(typ string, payload []byte) (string, error) {
	if k.k == nil {
		return "", errZeroKey
	}
	header := append(make([]byte, 0, len(k.k.header)+len(`,"typ":""}`)+len(typ)), k.k.header...)
	if typ != "" {
		for i := range len(typ) {
			if c := typ[i]; c <= 0x20 || c >= 0x7f || c == '"' || c == '\\' {
				return "", errors.New("jwk: typ has a character that is not allowed")
			}
		}
		header = append(append(append(header, `,"typ":"`...), typ...), '"')
	}
	header = append(header, '}')

	enc := base64.RawURLEncoding
	token := make([]byte, 0, enc.EncodedLen(len(header))+1+enc.EncodedLen(len(payload))+1+enc.EncodedLen(k.k.size))
	token = enc.AppendEncode(token, header)
	token = append(token, '.')
	token = enc.AppendEncode(token, payload)
	signature, err := k.Sign(token)
	if err != nil {
		return "", err
	}
	token = append(token, '.')
	token = enc.AppendEncode(token, signature)
	return string(token), nil
}

// String returns the key's id alone, so that no print shows its material.
func (k Key) String() string { return k.ID() }

// GoString returns the key's id alone, for %#v.
func (k Key) GoString() string { return k.ID() }

// Format writes the key's id alone, whatever the verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(k.ID())) }

// LogValue returns the key's id alone.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.ID()) }
