package password

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strings"

	"golang.org/x/crypto/scrypt"
)

const (
	scryptPrefix = "$scrypt$"

	scryptBlock = 8 // r of new hashes: one of N = 2^ln then takes 2^ln KiB

	maxScryptBlock = 64
	maxScryptLanes = 64
)

// scryptParams are the costs of a scrypt hash (RFC 7914): N = 2^logN, r and p.
type scryptParams struct{ logN, r, p uint32 }

// newScrypt returns the costs of new hashes, or an error that names the field.
// Its floor is that of ASVS 5.0, appendix C: 128 MiB, or 64 in two lanes, or 32 in
// three.
func newScrypt(cfg Config, l limits) (scryptParams, error) {
	if cfg.Iterations != 0 {
		return scryptParams{}, errors.New("password: Config.Iterations has no meaning for scrypt, must be 0")
	}
	memory, lanes := cfg.Memory, uint32(cfg.Parallelism)
	if lanes == 0 {
		lanes = 1
	}
	floor := uint32(128<<10) >> min(lanes-1, 2)
	if memory == 0 {
		memory = floor
	}
	switch {
	case bits.OnesCount32(memory) != 1:
		return scryptParams{}, fmt.Errorf("password: Config.Memory is %d KiB, must be a power of two for scrypt", memory)
	case memory < floor:
		return scryptParams{}, fmt.Errorf("password: Config.Memory is %d KiB, must be at least %d for scrypt with a Config.Parallelism of %d", memory, floor, lanes)
	case memory > l.memory:
		return scryptParams{}, fmt.Errorf("password: Config.Memory is %d KiB, more than Config.MaxMemory, %d", memory, l.memory)
	case lanes > maxScryptLanes || !l.allow(memory, lanes):
		return scryptParams{}, fmt.Errorf("password: Config.Parallelism is %d, must be at most %d, and times Config.Memory at most %d times Config.MaxMemory", lanes, maxScryptLanes, maxRounds)
	}
	return scryptParams{logN: uint32(bits.TrailingZeros32(memory)), r: scryptBlock, p: lanes}, nil //nolint:gosec // at most 32
}

// memory is what one lane takes, in KiB. The lanes are computed one after the
// other.
func (p scryptParams) memory() uint32 { return max(1, p.r<<p.logN/8) }

func (p scryptParams) hash(password string) (storedHash, error) {
	h := scryptHash{scryptParams: p, salt: random(saltLength)}
	h.tag = h.derive(password, tagLength)
	return h, nil
}

func (p scryptParams) sample() storedHash {
	return scryptHash{scryptParams: p, salt: random(saltLength), tag: random(tagLength)}
}

func (p scryptParams) maxLength() int { return math.MaxInt }

// isMetBy: as with argon2id, less memory is weaker, whatever the rest.
func (p scryptParams) isMetBy(stored storedHash) bool {
	h, ok := stored.(scryptHash)
	return ok && h.memory() >= p.memory() && h.memory()*h.p >= p.memory()*p.p && longEnough(h.salt, h.tag)
}

// A scryptHash is a parsed scrypt hash.
type scryptHash struct {
	scryptParams
	salt, tag []byte
}

func (h scryptHash) derive(password string, length int) []byte {
	b, err := scrypt.Key([]byte(password), h.salt, 1<<h.logN, int(h.r), int(h.p), length)
	if err != nil { // parameters out of range, which neither newScrypt nor parseScrypt lets through
		panic("password: scrypt: " + err.Error())
	}
	return b
}

func (h scryptHash) matches(password string) (bool, error) {
	return subtle.ConstantTimeCompare(h.derive(password, len(h.tag)), h.tag) == 1, nil
}

func (h scryptHash) maxLength() int { return math.MaxInt }

func (h scryptHash) decoy() storedHash {
	h.salt, h.tag = random(len(h.salt)), random(len(h.tag))
	return h
}

// String returns the PHC string form, which passlib writes too.
func (h scryptHash) String() string {
	return fmt.Sprintf("%sln=%d,r=%d,p=%d$%s$%s", scryptPrefix, h.logN, h.r, h.p, encode(h.salt), encode(h.tag))
}

// parseScrypt accepts exactly the strings that String writes.
func (l limits) parseScrypt(encoded string) (storedHash, error) {
	fields := strings.Split(strings.TrimPrefix(encoded, scryptPrefix), "$")
	if len(fields) != 3 {
		return nil, malformed("scrypt has a wrong number of fields")
	}
	costs := strings.Split(fields[0], ",")
	if len(costs) != 3 {
		return nil, malformed("scrypt has a wrong number of parameters")
	}
	logN, okN := parameter(costs[0], "ln=", 24) // with the largest r still in an uint32
	r, okR := parameter(costs[1], "r=", maxScryptBlock)
	lanes, okP := parameter(costs[2], "p=", maxScryptLanes)
	if !okN || !okR || !okP {
		return nil, malformed("scrypt parameter out of order or range")
	}
	h := scryptHash{scryptParams: scryptParams{logN: logN, r: r, p: lanes}}
	if !l.allow(h.memory(), lanes) {
		return nil, malformed("scrypt asks for too much work")
	}
	var err error
	if h.salt, h.tag, err = decodeBoth(fields[1], fields[2]); err != nil {
		return nil, err
	}
	return h, nil
}
