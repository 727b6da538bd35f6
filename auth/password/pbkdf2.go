package password

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"fmt"
	"math"
	"strings"
)

const (
	pbkdf2Prefix = "$pbkdf2-"

	// The floors of ASVS 5.0, appendix C.
	minIterationsSHA256 = 600_000
	minIterationsSHA512 = 210_000
)

// pbkdf2Params are the costs of a PBKDF2 hash (RFC 8018, section 5.2) with HMAC.
type pbkdf2Params struct {
	digest     string // "sha256" or "sha512"
	iterations uint32
}

// newPBKDF2 returns the costs of new hashes, or an error that names the field.
func newPBKDF2(cfg Config, l limits) (pbkdf2Params, error) {
	p := pbkdf2Params{digest: "sha512", iterations: cfg.Iterations}
	floor := uint32(minIterationsSHA512)
	if cfg.Algorithm == PBKDF2SHA256 {
		p.digest, floor = "sha256", minIterationsSHA256
	}
	if p.iterations == 0 {
		p.iterations = floor
	}
	switch {
	case cfg.Memory != 0 || cfg.Parallelism != 0:
		return pbkdf2Params{}, errors.New("password: Config.Memory and Config.Parallelism have no meaning for PBKDF2, must be 0")
	case p.iterations < floor:
		return pbkdf2Params{}, fmt.Errorf("password: Config.Iterations is %d, must be at least %d for %v", p.iterations, floor, cfg.Algorithm)
	case p.iterations > l.iterations:
		return pbkdf2Params{}, fmt.Errorf("password: Config.Iterations is %d, more than Config.MaxIterations, %d", p.iterations, l.iterations)
	}
	return p, nil
}

func (p pbkdf2Params) hash(password string) (storedHash, error) {
	h := pbkdf2Hash{pbkdf2Params: p, salt: random(saltLength)}
	var err error
	h.tag, err = h.derive(password, tagLength)
	return h, err
}

func (p pbkdf2Params) sample() storedHash {
	return pbkdf2Hash{pbkdf2Params: p, salt: random(saltLength), tag: random(tagLength)}
}

func (p pbkdf2Params) maxLength() int { return math.MaxInt }

func (p pbkdf2Params) isMetBy(stored storedHash) bool {
	h, ok := stored.(pbkdf2Hash)
	return ok && h.digest == p.digest && h.iterations >= p.iterations && longEnough(h.salt, h.tag)
}

// A pbkdf2Hash is a parsed PBKDF2 hash.
type pbkdf2Hash struct {
	pbkdf2Params
	// passlib says that it is written as passlib does, which was there before PHC
	// strings were: the iterations without a name, and '.' for '+' in base64.
	passlib   bool
	length    bool // the length of the tag is among the parameters
	salt, tag []byte
}

// derive may fail in the mode of crypto/fips140 that allows nothing else, which
// asks for salts of 16 bytes.
func (h pbkdf2Hash) derive(password string, length int) ([]byte, error) {
	if h.digest == "sha256" {
		return pbkdf2.Key(sha256.New, password, h.salt, int(h.iterations), length)
	}
	return pbkdf2.Key(sha512.New, password, h.salt, int(h.iterations), length)
}

func (h pbkdf2Hash) matches(password string) (bool, error) {
	tag, err := h.derive(password, len(h.tag))
	return err == nil && subtle.ConstantTimeCompare(tag, h.tag) == 1, err
}

func (h pbkdf2Hash) maxLength() int { return math.MaxInt }

func (h pbkdf2Hash) decoy() storedHash {
	h.salt, h.tag = random(len(h.salt)), random(len(h.tag))
	return h
}

// String returns the hash as it was written.
func (h pbkdf2Hash) String() string {
	salt, tag := encode(h.salt), encode(h.tag)
	switch {
	case h.passlib:
		salt, tag = strings.ReplaceAll(salt, "+", "."), strings.ReplaceAll(tag, "+", ".")
		return fmt.Sprintf("%s%s$%d$%s$%s", pbkdf2Prefix, h.digest, h.iterations, salt, tag)
	case h.length:
		return fmt.Sprintf("%s%s$i=%d,l=%d$%s$%s", pbkdf2Prefix, h.digest, h.iterations, len(h.tag), salt, tag)
	}
	return fmt.Sprintf("%s%s$i=%d$%s$%s", pbkdf2Prefix, h.digest, h.iterations, salt, tag)
}

// parsePBKDF2 accepts exactly the strings that String writes. SHA-1, which
// passlib knows as "$pbkdf2$", is not among them.
func (l limits) parsePBKDF2(encoded string) (storedHash, error) {
	fields := strings.Split(strings.TrimPrefix(encoded, pbkdf2Prefix), "$")
	if len(fields) != 4 {
		return nil, malformed("PBKDF2 has a wrong number of fields")
	}
	h := pbkdf2Hash{pbkdf2Params: pbkdf2Params{digest: fields[0]}}
	if h.digest != "sha256" && h.digest != "sha512" {
		return nil, malformed("PBKDF2 with another digest than SHA-256 and SHA-512")
	}
	name, salt, tag := "i=", fields[2], fields[3]
	costs, length, hasLength := strings.Cut(fields[1], ",")
	if h.passlib = !strings.HasPrefix(costs, name); h.passlib {
		name = ""
		if hasLength || strings.Contains(salt+tag, "+") {
			return nil, malformed("PBKDF2 is neither a PHC string nor passlib's")
		}
		salt, tag = strings.ReplaceAll(salt, ".", "+"), strings.ReplaceAll(tag, ".", "+")
	}
	var ok bool
	if h.iterations, ok = parameter(costs, name, uint64(l.iterations)); !ok {
		return nil, malformed("PBKDF2 iterations are out of range")
	}
	var err error
	if h.salt, h.tag, err = decodeBoth(salt, tag); err != nil {
		return nil, err
	}
	if h.length = hasLength; h.length {
		if n, ok := parameter(length, "l=", maxTag); !ok || int(n) != len(h.tag) {
			return nil, malformed("PBKDF2 tag is not as long as it says")
		}
	}
	return h, nil
}
