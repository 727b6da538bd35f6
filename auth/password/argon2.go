package password

import (
	"crypto/subtle"
	"fmt"
	"math"
	"strings"

	"golang.org/x/crypto/argon2"
)

const (
	argon2idPrefix = "$argon2id$"
	argon2iPrefix  = "$argon2i$"

	maxPasses = 255

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

// newArgon2 returns the costs of new hashes, or an error that names the field.
func newArgon2(cfg Config, l limits) (params, error) {
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
		return params{}, fmt.Errorf("password: Config.Memory is %d KiB, must be at least %d if Config.Iterations is 1", p.memory, minMemoryOnePass)
	case p.memory > l.memory:
		return params{}, fmt.Errorf("password: Config.Memory is %d KiB, more than Config.MaxMemory, %d", p.memory, l.memory)
	case !l.allow(p.memory, p.passes):
		return params{}, fmt.Errorf("password: Config.Iterations times Config.Memory is more than %d times Config.MaxMemory", maxRounds)
	}
	return p, nil
}

// work is the memory in KiB that all passes touch together.
func (p params) work() uint64 {
	return uint64(p.memory) * uint64(p.passes)
}

func (p params) hash(password string) (storedHash, error) {
	h := argon2Hash{params: p, salt: random(saltLength)}
	h.tag = h.derive(password, tagLength)
	return h, nil
}

func (p params) sample() storedHash {
	return argon2Hash{params: p, salt: random(saltLength), tag: random(tagLength)}
}

func (p params) maxLength() int { return math.MaxInt }

// isMetBy: memory is what makes a guess costly, so less of it is weaker however
// many passes there are. Fewer passes over more memory are weaker only if they
// come to less work; so 46 MiB once passes for 19 MiB twice. Lanes share the work
// out and don't add to it.
func (p params) isMetBy(stored storedHash) bool {
	h, ok := stored.(argon2Hash)
	return ok && !h.legacy && h.memory >= p.memory && h.work() >= p.work() && longEnough(h.salt, h.tag)
}

// An argon2Hash is a parsed argon2id hash, or one of argon2i, which is verified
// but never made: what it does depends on the password only after the first
// half of its first pass, and attacks on it trade memory for less time.
type argon2Hash struct {
	params
	legacy    bool // argon2i
	salt, tag []byte
}

func (h argon2Hash) derive(password string, length uint32) []byte {
	if h.legacy {
		return argon2.Key([]byte(password), h.salt, h.passes, h.memory, h.lanes, length)
	}
	return argon2.IDKey([]byte(password), h.salt, h.passes, h.memory, h.lanes, length)
}

func (h argon2Hash) prefix() string {
	if h.legacy {
		return argon2iPrefix
	}
	return argon2idPrefix
}

func (h argon2Hash) matches(password string) (bool, error) {
	tag := h.derive(password, uint32(len(h.tag))) //nolint:gosec // at most maxTag
	return subtle.ConstantTimeCompare(tag, h.tag) == 1, nil
}

func (h argon2Hash) maxLength() int { return math.MaxInt }

func (h argon2Hash) decoy() storedHash {
	h.salt, h.tag = random(len(h.salt)), random(len(h.tag))
	return h
}

// String returns the PHC string form.
func (h argon2Hash) String() string {
	return fmt.Sprintf("%sv=%d$m=%d,t=%d,p=%d$%s$%s", h.prefix(), argon2.Version, h.memory, h.passes, h.lanes, encode(h.salt), encode(h.tag))
}

// parseArgon2 accepts exactly the strings that String writes: one spelling for
// each hash, so that nothing is read in two ways.
func (l limits) parseArgon2(encoded string) (storedHash, error) {
	var h argon2Hash
	rest, ok := strings.CutPrefix(encoded, argon2idPrefix)
	if !ok {
		h.legacy = true
		rest = strings.TrimPrefix(encoded, argon2iPrefix)
	}
	if rest, ok = strings.CutPrefix(rest, "v=19$"); !ok {
		return nil, malformed("argon2 version is not 19")
	}
	fields := strings.Split(rest, "$")
	if len(fields) != 3 {
		return nil, malformed("argon2 has a wrong number of fields")
	}
	var err error
	if h.params, err = l.parseParams(fields[0]); err != nil {
		return nil, err
	}
	if h.salt, h.tag, err = decodeBoth(fields[1], fields[2]); err != nil {
		return nil, err
	}
	return h, nil
}

func (l limits) parseParams(s string) (params, error) {
	fields := strings.Split(s, ",")
	if len(fields) != 3 {
		return params{}, malformed("argon2 has a wrong number of parameters")
	}
	memory, okM := parameter(fields[0], "m=", uint64(l.memory))
	passes, okT := parameter(fields[1], "t=", maxPasses)
	lanes, okP := parameter(fields[2], "p=", math.MaxUint8)
	if !okM || !okT || !okP {
		return params{}, malformed("argon2 parameter out of order or range")
	}
	p := params{memory: memory, passes: passes, lanes: uint8(lanes)} //nolint:gosec // at most MaxUint8
	if p.memory < 8*uint32(p.lanes) {
		// RFC 9106, section 3.1.
		return params{}, malformed("argon2 memory is less than 8 KiB for each lane")
	}
	if !l.allow(p.memory, p.passes) {
		return params{}, malformed("argon2 asks for too much work")
	}
	return p, nil
}
