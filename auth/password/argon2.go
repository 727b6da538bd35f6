package password

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"

	"github.com/sallyport/sallyport/internal/strictbase64"
)

const (
	argon2Prefix = "$argon2id$"

	saltLength = 16 // bytes of a new salt
	tagLength  = 32 // bytes of a new tag

	minSalt, maxSalt = 8, 64 // bytes of a stored salt
	minTag, maxTag   = 16, 64

	maxPasses = 255
	maxRounds = 16 // times limits.memory that all passes of a hash may touch

	// OWASP asks for 46 MiB in one pass and takes 19 MiB in two as equally
	// strong (ASVS 5.0, 11.4.2 and appendix C; password storage cheat sheet).
	// Less memory in more passes is not offered: memory is what slows a guess.
	minMemory        = 19 << 10 // KiB
	minMemoryOnePass = 46 << 10
)

// params are the costs of an argon2id hash.
type params struct {
	memory uint32 // KiB
	passes uint32
	lanes  uint8
}

// newParams returns the costs of new hashes, or an error that names the field.
func newParams(cfg Config, l limits) (params, error) {
	p := params{memory: cfg.Memory, passes: cfg.Iterations, lanes: cfg.Parallelism}
	if p.passes == 0 {
		p.passes = 2
	}
	if p.memory == 0 {
		p.memory = minMemory
		if p.passes == 1 {
			p.memory = minMemoryOnePass
		}
	}
	if p.lanes == 0 {
		p.lanes = 1
	}
	switch {
	case p.passes > maxPasses:
		return params{}, fmt.Errorf("password: Config.Iterations is %d, must be at most %d", p.passes, maxPasses)
	case p.memory < minMemory:
		return params{}, fmt.Errorf("password: Config.Memory is %d KiB, must be at least %d", p.memory, minMemory)
	case p.passes == 1 && p.memory < minMemoryOnePass:
		return params{}, fmt.Errorf("password: Config.Memory is %d KiB, must be at least %d with one of Config.Iterations", p.memory, minMemoryOnePass)
	case p.memory > l.memory:
		return params{}, fmt.Errorf("password: Config.Memory is %d KiB, more than Config.MaxMemory, %d", p.memory, l.memory)
	case p.work() > maxRounds*uint64(l.memory):
		return params{}, fmt.Errorf("password: Config.Iterations times Config.Memory is more than %d times Config.MaxMemory", maxRounds)
	}
	return p, nil
}

// work is the memory in KiB that all passes touch together.
func (p params) work() uint64 {
	return uint64(p.memory) * uint64(p.passes)
}

// hash returns a hash of password under a new salt.
func (p params) hash(password string) argon2Hash {
	h := argon2Hash{params: p, salt: make([]byte, saltLength)}
	_, _ = rand.Read(h.salt) // never fails: crypto/rand ends the program instead
	h.tag = h.derive(password, tagLength)
	return h
}

// An argon2Hash is a parsed argon2id hash.
type argon2Hash struct {
	params
	salt, tag []byte
}

func (h argon2Hash) derive(password string, length uint32) []byte {
	return argon2.IDKey([]byte(password), h.salt, h.passes, h.memory, h.lanes, length)
}

func (h argon2Hash) matches(password string) bool {
	tag := h.derive(password, uint32(len(h.tag))) //nolint:gosec // at most maxTag
	return subtle.ConstantTimeCompare(tag, h.tag) == 1
}

// weakerThan: memory is what makes a guess costly, so less of it is weaker
// however many passes there are. Fewer passes over more memory are weaker only
// if they come to less work; so 46 MiB once passes for 19 MiB twice. Lanes
// share the work out and don't add to it.
func (h argon2Hash) weakerThan(p params) bool {
	return h.memory < p.memory || h.work() < p.work() ||
		len(h.salt) < saltLength || len(h.tag) < tagLength
}

func (h argon2Hash) maxLength() int { return math.MaxInt }

// decoy has a random tag, so that the work is to be done and no password is
// known to give it.
func (h argon2Hash) decoy() storedHash {
	d := argon2Hash{params: h.params, salt: make([]byte, len(h.salt)), tag: make([]byte, len(h.tag))}
	_, _ = rand.Read(d.salt)
	_, _ = rand.Read(d.tag)
	return d
}

// String returns the PHC string form.
func (h argon2Hash) String() string {
	return fmt.Sprintf("%sv=%d$m=%d,t=%d,p=%d$%s$%s", argon2Prefix, argon2.Version, h.memory, h.passes, h.lanes,
		base64.RawStdEncoding.EncodeToString(h.salt), base64.RawStdEncoding.EncodeToString(h.tag))
}

// parseArgon2 accepts exactly the strings that String writes: one spelling for
// each hash, so that nothing is read in two ways.
func (l limits) parseArgon2(encoded string) (storedHash, error) {
	rest, ok := strings.CutPrefix(encoded, argon2Prefix+"v=19$")
	if !ok {
		return nil, malformed("argon2id version is not 19")
	}
	fields := strings.Split(rest, "$")
	if len(fields) != 3 {
		return nil, malformed("argon2id has a wrong number of fields")
	}
	p, err := l.parseParams(fields[0])
	if err != nil {
		return nil, err
	}
	salt, ok := decode(fields[1], minSalt, maxSalt)
	if !ok {
		return nil, malformed("argon2id salt")
	}
	tag, ok := decode(fields[2], minTag, maxTag)
	if !ok {
		return nil, malformed("argon2id tag")
	}
	return argon2Hash{params: p, salt: salt, tag: tag}, nil
}

func (l limits) parseParams(s string) (params, error) {
	fields := strings.Split(s, ",")
	if len(fields) != 3 {
		return params{}, malformed("argon2id has a wrong number of parameters")
	}
	memory, okM := parameter(fields[0], "m=", uint64(l.memory))
	passes, okT := parameter(fields[1], "t=", maxPasses)
	lanes, okP := parameter(fields[2], "p=", math.MaxUint8)
	if !okM || !okT || !okP {
		return params{}, malformed("argon2id parameter out of order or range")
	}
	p := params{memory: memory, passes: passes, lanes: uint8(lanes)} //nolint:gosec // at most MaxUint8
	if p.memory < 8*uint32(p.lanes) {
		// RFC 9106, section 3.1.
		return params{}, malformed("argon2id memory is less than 8 KiB for each lane")
	}
	if p.work() > maxRounds*uint64(l.memory) {
		return params{}, malformed("argon2id asks for too much work")
	}
	return p, nil
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

// decode reads canonical standard base64 without padding of least to most
// bytes.
func decode(s string, least, most int) ([]byte, bool) {
	if n := base64.RawStdEncoding.DecodedLen(len(s)); n < least || n > most {
		return nil, false
	}
	b, err := strictbase64.Decode(base64.RawStdEncoding, s)
	return b, err == nil
}
