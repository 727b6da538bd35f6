package password

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/internal/strictbase64"
)

const (
	saltLength = 16 // bytes of a new salt
	tagLength  = 32 // bytes of a new tag

	minSalt, maxSalt = 8, 64 // bytes of a stored salt
	minTag, maxTag   = 16, 64

	maxRounds = 16 // times limits.memory that a hash may go through in all

	// No hash within the limits is longer; what is, is not looked at.
	maxEncoded = 384
)

// A maker makes hashes of one algorithm at one cost.
type maker interface {
	hash(password string) (storedHash, error) // under a new salt
	sample() storedHash                       // as costly as those, of no password
	isMetBy(stored storedHash) bool           // whether stored is as good
	maxLength() int                           // bytes of a password that are read
}

// A storedHash is a parsed hash whose demands are within the limits.
type storedHash interface {
	fmt.Stringer // the hash as it is stored
	matches(password string) (bool, error)
	maxLength() int    // bytes of a password that are read
	decoy() storedHash // one as costly, which no password is known to match
}

// limits are the most that a stored hash may ask for.
type limits struct {
	memory     uint32 // KiB
	iterations uint32 // of PBKDF2
	bcryptCost int
	peppers    []Pepper
}

// allow reports whether a hash may go through so much memory so often.
func (l limits) allow(memory, times uint32) bool {
	return memory <= l.memory && uint64(memory)*uint64(times) <= maxRounds*uint64(l.memory)
}

// parse reads a hash from the store. Nothing is computed, and no memory
// allocated beyond the hash itself, before its parameters have been checked.
func (l limits) parse(encoded string) (storedHash, error) {
	switch {
	case encoded == "":
		return nil, malformed("empty")
	case len(encoded) > maxEncoded:
		return nil, malformed("too long")
	case strings.HasPrefix(encoded, pepperPrefix):
		return l.parsePeppered(encoded)
	}
	return l.parsePlain(encoded)
}

// parsePlain reads a hash that depends on no pepper.
func (l limits) parsePlain(encoded string) (storedHash, error) {
	switch {
	case strings.HasPrefix(encoded, argon2idPrefix), strings.HasPrefix(encoded, argon2iPrefix):
		return l.parseArgon2(encoded)
	case strings.HasPrefix(encoded, scryptPrefix):
		return l.parseScrypt(encoded)
	case strings.HasPrefix(encoded, pbkdf2Prefix):
		return l.parsePBKDF2(encoded)
	case strings.HasPrefix(encoded, "$2"):
		return l.parseBcrypt(encoded)
	}
	return nil, malformed("not of a known algorithm")
}

// malformed never takes a part of the hash: errors end up in logs.
func malformed(reason string) error {
	return fmt.Errorf("%w: %s", ErrMalformed, reason)
}

// parameter reads a number from 1 to most that follows name. A leading zero, a
// sign or anything else that is not a digit is refused.
func parameter(s, name string, most uint64) (uint32, bool) {
	digits, ok := strings.CutPrefix(s, name)
	if !ok || digits == "" || digits[0] == '0' {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || n > most {
		return 0, false
	}
	return uint32(n), true
}

// encode is the base64 of PHC strings: the standard one without padding.
func encode(b []byte) string { return base64.RawStdEncoding.EncodeToString(b) }

// decodeBoth reads a salt and a tag.
func decodeBoth(salt, tag string) (s, t []byte, err error) {
	s, ok := decode(salt, minSalt, maxSalt)
	if !ok {
		return nil, nil, malformed("salt")
	}
	t, ok = decode(tag, minTag, maxTag)
	if !ok {
		return nil, nil, malformed("tag")
	}
	return s, t, nil
}

// decode reads canonical standard base64 without padding of least to most
// bytes.
func decode(s string, least, most int) ([]byte, bool) {
	if n := base64.RawStdEncoding.DecodedLen(len(s)); n < least || n > most {
		return nil, false
	}
	b, err := strictbase64.Decode(base64.RawStdEncoding, s)
	return b, err == nil
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the program instead
	return b
}

func longEnough(salt, tag []byte) bool { return len(salt) >= saltLength && len(tag) >= tagLength }
