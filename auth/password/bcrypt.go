package password

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

const (
	bcryptLength    = 60 // characters of an encoded hash
	bcryptSalt      = 22
	bcryptMaxLength = 72 // bytes of a password that are read

	bcryptAlphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
)

// bcryptEncoding is bcrypt's own base64. Each stored hash is of a length that
// leaves no spare bits but the last character's.
var bcryptEncoding = base64.NewEncoding(bcryptAlphabet).WithPadding(base64.NoPadding)

// A bcryptCost is the cost of new hashes: 2 to its power are the rounds.
type bcryptCost int

// newBcrypt returns the cost of new hashes, or an error that names the field. Its
// floor is that of ASVS 5.0, appendix C.
func newBcrypt(cfg Config, l limits) (bcryptCost, error) {
	switch {
	case cfg.Memory != 0 || cfg.Iterations != 0 || cfg.Parallelism != 0:
		return 0, errors.New("password: Config.Memory, Config.Iterations and Config.Parallelism have no meaning for bcrypt, must be 0")
	case l.bcryptCost < bcrypt.DefaultCost:
		return 0, fmt.Errorf("password: Config.MaxBcryptCost is %d, must be at least %d for new hashes of bcrypt", l.bcryptCost, bcrypt.DefaultCost)
	}
	cost, err := within("BcryptCost", cfg.BcryptCost, min(12, l.bcryptCost), bcrypt.DefaultCost, l.bcryptCost)
	return bcryptCost(cost), err
}

func (c bcryptCost) hash(password string) (storedHash, error) {
	encoded, err := bcrypt.GenerateFromPassword([]byte(password), int(c))
	return bcryptHash{cost: int(c), encoded: string(encoded)}, err
}

func (c bcryptCost) sample() storedHash { return bcryptHash{cost: int(c)}.decoy() }

func (c bcryptCost) maxLength() int { return bcryptMaxLength }

func (c bcryptCost) isMetBy(stored storedHash) bool {
	h, ok := stored.(bcryptHash)
	return ok && h.cost >= int(c)
}

// A bcryptHash is a hash that parseBcrypt has checked.
type bcryptHash struct {
	cost    int
	encoded string
}

func (h bcryptHash) matches(password string) (bool, error) {
	err := bcrypt.CompareHashAndPassword([]byte(h.encoded), []byte(password))
	if errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		return false, nil
	}
	return err == nil, err
}

func (h bcryptHash) maxLength() int { return bcryptMaxLength }

func (h bcryptHash) decoy() storedHash {
	h.encoded = fmt.Sprintf("$2b$%02d$%s%s", h.cost, bcryptEncoding.EncodeToString(random(16)), bcryptEncoding.EncodeToString(random(23)))
	return h
}

// String returns the hash.
func (h bcryptHash) String() string { return h.encoded }

// parseBcrypt accepts $2a$, $2b$ and $2y$, which are one algorithm. $2x$ marks
// hashes of a library that read bytes above 127 wrongly, $2$ ones of a draft;
// x/crypto would compute both as if they were $2a$.
func (l limits) parseBcrypt(encoded string) (storedHash, error) {
	if len(encoded) != bcryptLength || encoded[3] != '$' || encoded[6] != '$' {
		return nil, malformed("bcrypt layout")
	}
	if strings.IndexByte("aby", encoded[2]) < 0 {
		return nil, malformed("bcrypt variant is not 2a, 2b or 2y")
	}
	tens, ones := encoded[4]-'0', encoded[5]-'0'
	if tens > 9 || ones > 9 {
		return nil, malformed("bcrypt cost")
	}
	cost := 10*int(tens) + int(ones)
	if cost < bcrypt.MinCost || cost > l.bcryptCost {
		return nil, malformed("bcrypt cost is out of range")
	}
	body := encoded[7:]
	for i := range len(body) {
		if strings.IndexByte(bcryptAlphabet, body[i]) < 0 {
			return nil, malformed("bcrypt alphabet")
		}
	}
	// The tag's last character has two spare bits, which bcrypt leaves zero: a
	// hash with others could never match. Those of the salt are ignored, since
	// some writers of old set them.
	if strings.IndexByte(bcryptAlphabet, body[len(body)-1])&3 != 0 {
		return nil, malformed("bcrypt tag")
	}
	return bcryptHash{cost: cost, encoded: encoded}, nil
}
