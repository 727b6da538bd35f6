package apikey

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/internal/pepper"
)

// MintConfig says what kind of key to make, and for whom. Only Subject is
// required.
type MintConfig struct {
	// Prefix begins the key: 2 to 16 characters of a-z and 0-9. The default is
	// "sk". One that is the service's own makes leaked keys easy to find.
	Prefix string

	// Environment says where the key is for, "live" or "test": as many characters
	// of the same ones. It stands behind the prefix, "sk_live_…", so that a key
	// which got into the wrong place is seen at a glance, and refused by an
	// Authenticator of another environment without a look into the store. The
	// default is none.
	Environment string

	// Subject is the owner, the Subject of the identities that the key gives.
	Subject string

	// Name is what the owner calls the key, "laptop". It may be empty.
	Name string

	// Scopes and Roles are what the key may do and be. None: nothing that asks
	// for one.
	Scopes, Roles []string

	// Networks are where the key may be used from. None: from anywhere.
	Networks []netip.Prefix

	// Lifetime is how long the key is valid, rounded up so that it ends with a
	// second. The default is 365 days.
	Lifetime time.Duration

	// NeverExpires makes a key that is valid until it is revoked. A key that was
	// lost and forgotten then stays dangerous for good.
	NeverExpires bool

	// Pepper, if it has an ID, is a secret key outside of the store under which the
	// key is hashed. The Authenticator needs it in Config.Peppers. Keys are random,
	// so that a stolen store does not give them away without it either; with it,
	// who can write to the store can't make up keys, but can still change what those
	// that he has may do.
	Pepper Pepper
}

// A Pepper is a secret key that hashes depend on and that is not in the store. It has
// an ID, of 1 to 32 letters, digits, '.', '_' and '-', which names it in each hash, and
// a Key, of at least 32 bytes from crypto/rand, which is used for nothing else. No form
// of a Pepper shows the key.
type Pepper = pepper.Pepper

// Mint makes a new key. It returns the key itself, which goes to the owner and
// is not kept, and the record, which goes to the store and from which the key
// can't be found out.
//
// It returns an error that names the field if cfg has a malformed Prefix or
// Environment, no Subject, a Scope that is not a scope-token (RFC 6749, section 3.3),
// an empty Role, a network that is not valid, a Lifetime that is negative or
// contradicts NeverExpires, or a Pepper with an ID or a Key that is not one. Subject,
// Scopes, Roles and Networks are named as those of the Record.
func Mint(cfg MintConfig) (plain string, record Record, err error) {
	if cfg.Prefix == "" {
		cfg.Prefix = "sk"
	}
	switch {
	case !validPart(cfg.Prefix):
		return "", Record{}, fmt.Errorf("apikey: MintConfig.Prefix %q is not 2 to 16 of a-z and 0-9", cfg.Prefix)
	case cfg.Environment != "" && !validPart(cfg.Environment):
		return "", Record{}, fmt.Errorf("apikey: MintConfig.Environment %q is not 2 to 16 of a-z and 0-9", cfg.Environment)
	case cfg.Lifetime < 0:
		return "", Record{}, errors.New("apikey: MintConfig.Lifetime is negative")
	case cfg.Lifetime > 0 && cfg.NeverExpires:
		return "", Record{}, errors.New("apikey: MintConfig.Lifetime contradicts NeverExpires")
	case cfg.Lifetime == 0:
		cfg.Lifetime = 365 * 24 * time.Hour
	}
	if err := checkPepper("MintConfig.Pepper", cfg.Pepper); err != nil {
		return "", Record{}, err
	}
	if cfg.Environment != "" {
		cfg.Prefix += "_" + cfg.Environment
	}
	k := key{id: random(idLen)}
	k.text = cfg.Prefix + "_" + k.id + "_" + random(secretLen)

	now := time.Now().UTC()
	record = Record{
		ID:      k.id,
		Hash:    k.hash(cfg.Pepper),
		Prefix:  cfg.Prefix,
		Subject: cfg.Subject,
		Name:    cfg.Name,
		Created: now.Truncate(time.Second), // what every database keeps
	}
	if !cfg.NeverExpires {
		record.Expires = now.Add(cfg.Lifetime).Add(time.Second - 1).Truncate(time.Second)
	}
	record.Scopes, record.Roles = clonePair(cfg.Scopes, cfg.Roles)
	record.Networks = slices.Clone(cfg.Networks)
	if err := record.Validate(); err != nil {
		return "", Record{}, err
	}
	return k.String(), record, nil
}

// KeyID returns the id of a key, so that one which turned up where it should not
// can be found and revoked. It checks the form and the checksum, which needs no
// store. It returns an error that wraps auth.ErrInvalid, and doesn't quote plain,
// if plain is not a key.
func KeyID(plain string) (string, error) {
	k, err := parse(plain)
	return k.id, err
}

// The lengths of the parts of a key, in characters of five bits.
const (
	minPart     = 2 // of the prefix, and of the environment
	maxPart     = 16
	idLen       = 16 // 80 bits
	secretLen   = 32 // 160 bits
	checksumLen = 7  // 32 bits, and three that are zero

	fixedLen = 1 + idLen + 1 + secretLen + checksumLen // all but prefix and environment
)

// alphabet is Crockford's, in the one case that we take. A store that compares
// without regard to case can't confuse two ids.
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// A key is one whose form and checksum are right.
type key struct {
	id          string
	environment string
	text        string // all but the checksum, which says nothing more
}

// maxText is the length of the longest key, without its checksum.
const maxText = maxPart + 1 + maxPart + 1 + idLen + 1 + secretLen

// digest returns what a hash is made of, text being a key without its checksum.
func digest(text string) [sha256.Size]byte {
	var buf [maxText]byte
	b := append(buf[:0], text...)
	defer clear(b)
	return sha256.Sum256(b)
}

var (
	errMalformed   = fmt.Errorf("%w: the API key is malformed", auth.ErrInvalid)
	errEnvironment = fmt.Errorf("%w: the API key is of another environment", auth.ErrInvalid)
	errChecksum    = fmt.Errorf("%w: the checksum of the API key is wrong", auth.ErrInvalid)
)

// parse reads a key. It takes exactly what String writes.
func parse(plain string) (key, error) {
	id, text, checksum, ok := split(plain)
	if !ok {
		return key{}, errMalformed
	}
	prefix, rest := plain[:len(plain)-fixedLen], plain[len(plain)-fixedLen:]
	prefix, environment, hasEnvironment := strings.Cut(prefix, "_")
	if rest[0] != '_' || rest[1+idLen] != '_' || !validPart(prefix) || hasEnvironment && !validPart(environment) ||
		!inAlphabet(id) || !inAlphabet(rest[1+idLen+1:][:secretLen]) {
		return key{}, errMalformed
	}
	k := key{id: id, environment: environment, text: text}
	if sum := k.checksum(); string(sum[:]) != checksum {
		return key{}, errChecksum
	}
	return k, nil
}

// String returns the key itself.
func (k key) String() string {
	sum := k.checksum()
	return k.text + string(sum[:])
}

// checksum returns the CRC-32 of the text in seven characters.
func (k key) checksum() (c [checksumLen]byte) {
	buf := buffers.Get().(*[maxText]byte) //nolint:forcetypeassert // New makes no other
	defer buffers.Put(buf)
	b := append(buf[:0], k.text...)
	sum := crc32.ChecksumIEEE(b)
	clear(b)
	for i := range c {
		c[checksumLen-1-i] = alphabet[sum>>(5*i)&31]
	}
	return c
}

// buffers are for texts whose checksum is made, which would be copied to the heap for
// each request otherwise.
var buffers = sync.Pool{New: func() any { return new([maxText]byte) }}

// split returns the id and the checksum of a key where they stand in one of the right
// form, and all before the checksum. It looks at the length alone.
func split(plain string) (id, text, checksum string, ok bool) {
	n := len(plain) - fixedLen
	if n < minPart || n > maxPart+1+maxPart {
		return "", "", "", false
	}
	end := len(plain) - checksumLen
	return plain[n+1:][:idLen], plain[:end], plain[end:], true
}

// checkPepper returns an error that names the field for what is neither a pepper nor
// the zero one.
func checkPepper(field string, p Pepper) error {
	if p.ID == "" && p.Key == nil {
		return nil
	}
	if err := pepper.Check([]Pepper{p}); err != nil {
		return fmt.Errorf("apikey: %s%s", field, strings.TrimPrefix(err.Error(), "[0]"))
	}
	return nil
}

// hash returns what is stored of k, under the pepper if that has an ID.
func (k key) hash(p Pepper) string {
	if p.ID == "" {
		digest := digest(k.text)
		return plainTag + hex.EncodeToString(digest[:])
	}
	digest := p.Sum([]byte(k.text))
	return pepperTag + p.ID + ":" + hex.EncodeToString(digest[:])
}

// matches reports whether hash is that of k, in a time that doesn't depend on
// where they differ. It returns an error if hash is not of a form that is known, or
// was made under a pepper that is not.
func (k key) matches(hash string, peppers []Pepper) (bool, error) {
	want, id, err := readHash(hash)
	digest := digest(k.text)
	if id != "" && err == nil {
		p := pepper.Find(peppers, id)
		if p == nil {
			return false, errPepper
		}
		digest = p.Sum([]byte(k.text))
	}
	match := subtle.ConstantTimeCompare(digest[:], want[:]) == 1
	return match && err == nil, err
}

// random returns n characters of the alphabet, each five bits of crypto/rand.
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: the program ends instead
	for i := range b {
		b[i] = alphabet[b[i]&31]
	}
	return string(b)
}

// validPart reports whether s can be a prefix or an environment.
func validPart(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return len(s) >= minPart && len(s) <= maxPart
}

// inAlphabet reports whether s is of the alphabet, with a bit for each character.
func inAlphabet(s string) bool {
	const (
		digits  = 0x3ff << '0'
		letters = 0x3ffffff << ('a' - 64) &^ (1<<('i'-64) | 1<<('l'-64) | 1<<('o'-64) | 1<<('u'-64))
	)
	for i := range len(s) {
		c, set := s[i], uint64(digits)
		if c >= 64 {
			set = letters
		}
		if c >= 128 || set>>(c&63)&1 == 0 {
			return false
		}
	}
	return true
}

// What a hash begins with names the algorithm.
const (
	plainTag  = "sha256:"
	pepperTag = "hmac-sha256:" // and the ID of the pepper
)

// nobody returns a well-formed hash that no key is known to have, and that is as much
// work to compare as others are.
func nobody(peppers []Pepper) string {
	tag := plainTag
	if len(peppers) > 0 {
		tag = pepperTag + peppers[0].ID + ":"
	}
	return tag + strings.Repeat("0", hex.EncodedLen(sha256.Size))
}

var (
	errHash   = errors.New("the hash is neither \"sha256:\" nor \"hmac-sha256:\", a pepper's ID and ':', and then 64 hexadecimal digits")
	errPepper = errors.New("the pepper of the hash is not among Config.Peppers")
)

// readHash returns the digest in hash, and the ID of its pepper if it has one.
func readHash(hash string) (digest [sha256.Size]byte, id string, err error) {
	digits, ok := strings.CutPrefix(hash, plainTag)
	if !ok {
		var named bool
		if digits, named = strings.CutPrefix(hash, pepperTag); named {
			id, digits, ok = strings.Cut(digits, ":")
			ok = ok && pepper.ValidID(id)
		}
	}
	if !ok || len(digits) != hex.EncodedLen(len(digest)) {
		return digest, "", errHash
	}
	if _, err := hex.Decode(digest[:], []byte(digits)); err != nil {
		return digest, "", errHash
	}
	return digest, id, nil
}
