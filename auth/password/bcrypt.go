package password

import (
	"crypto/rand"
	"encoding/base64"
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

// A bcryptHash is a hash that parseBcrypt has checked. It is verified, never
// made: bcrypt needs no memory, so guessing it is cheap on special hardware,
// and it reads no more than 72 bytes.
type bcryptHash struct {
	cost    int
	encoded string
}

func (h bcryptHash) matches(password string) bool {
	return bcrypt.CompareHashAndPassword([]byte(h.encoded), []byte(password)) == nil
}

func (h bcryptHash) weakerThan(params) bool { return true }

func (h bcryptHash) maxLength() int { return bcryptMaxLength }

func (h bcryptHash) decoy() storedHash {
	var random [16 + 23]byte // salt and tag
	_, _ = rand.Read(random[:])
	enc := base64.NewEncoding(bcryptAlphabet).WithPadding(base64.NoPadding)
	encoded := fmt.Sprintf("$2b$%02d$%s%s", h.cost, enc.EncodeToString(random[:16]), enc.EncodeToString(random[16:]))
	return bcryptHash{cost: h.cost, encoded: encoded}
}

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
