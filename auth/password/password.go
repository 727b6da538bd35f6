// Package password stores passwords as argon2id hashes and verifies them, with
// a bound on how much of that work runs at a time.
//
// A [Hasher] writes the PHC string form, which carries its own parameters and
// salt, so that a store needs one text column:
//
//	$argon2id$v=19$m=19456,t=2,p=1$<salt>$<tag>
//
// It verifies those and, for stores that are moving, bcrypt. A match against
// bcrypt, or against parameters weaker than the Hasher's own, asks for a new
// hash, which the caller makes and saves while it still has the password:
//
//	rehash, err := hasher.Verify(ctx, user.PasswordHash, given)
//	switch {
//	case errors.Is(err, password.ErrMismatch): // refuse
//	case err != nil:                           // undecided: try later
//	case rehash:                               // save hasher.Hash(ctx, given)
//	}
//
// # One Hasher for one process
//
// Each argon2id computation takes 19 MiB and some 25 ms, so whoever may start
// as many as he likes can exhaust the machine. Everything a Hasher does counts
// against one bound, [Config].MaxConcurrent; share one Hasher among all doors
// that check passwords. What exceeds the bound waits in a short queue, what
// exceeds the queue is [ErrBusy].
//
// # Unknown accounts
//
// A login that finds no account must cost as much as one that does, or the
// answer's time tells which accounts exist. Call [Hasher.Dummy] where there is
// nothing to verify.
//
// # What is a password
//
// Passwords are compared byte by byte, as given. Two ways to write one
// character, such as é as one code point or as two, are two passwords: who
// wants them equal applies the OpaqueString profile (RFC 8265, section 4.2) to
// both before calling Hash and Verify. Rules on length and on known breached
// passwords belong where a password is chosen, before Hash.
package password

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"
)

var (
	// ErrMismatch is returned when the password is not the one that was hashed.
	// Any other error of [Hasher.Verify] means that it is not known whether it is.
	ErrMismatch = errors.New("password: mismatch")

	// ErrMalformed is wrapped when a stored hash can't be used: it is not an
	// argon2id PHC string or a bcrypt hash, or it asks for more work than the
	// Hasher's limits allow. The store is at fault, not who logs in: answer as
	// for a store that failed (503), and count no failed attempt.
	ErrMalformed = errors.New("password: unusable stored hash")

	// ErrBusy is returned when too many passwords are being hashed and the
	// queue is full, or a place in it did not come up within
	// [Config].MaxWait. Nothing was decided: answer 503 with a Retry-After of a
	// second, and count no failed attempt.
	ErrBusy = errors.New("password: too many hashes at a time")

	// ErrTooLong is returned by [Hasher.Hash] for a password of more than
	// [Config].MaxLength bytes.
	ErrTooLong = errors.New("password: too long")

	// ErrUnacceptable is wrapped when [Hasher.Hash] is given a password that is
	// empty, is not UTF-8, or holds a NUL.
	ErrUnacceptable = errors.New("password: unacceptable")
)

// Config holds the settings of a [Hasher]. The zero Config is secure.
type Config struct {
	// Memory is the memory of one new hash in KiB, the m of argon2id. The
	// default is 19456 (19 MiB). At least that is needed, and 47104 (46 MiB) if
	// Iterations is 1; at most MaxMemory.
	Memory uint32

	// Iterations is the number of passes over that memory, the t of argon2id,
	// at most 255. The default is 2.
	Iterations uint32

	// Parallelism is the number of lanes of a new hash, the p of argon2id. The
	// default is 1. Each lane takes a processor while the hash is computed, so
	// with more than one MaxConcurrent should shrink in proportion.
	Parallelism uint8

	// MaxLength is the longest password in bytes. The default is 1024, the
	// least is 64, the most 65536. A longer one is refused by Hash and never
	// verifies. Where a store holds bcrypt hashes, 72 bytes is the longest that
	// those can verify, whatever MaxLength says.
	MaxLength int

	// MaxConcurrent is how many hashes are computed at a time. The default is
	// GOMAXPROCS-1, at least 1, which leaves a processor to everything else.
	// The memory in use is at most MaxConcurrent times that of the largest
	// hash, and about twice that before garbage is collected.
	MaxConcurrent int

	// MaxQueue is how many callers may wait for their turn. The default is 64
	// for each of MaxConcurrent: with default hashes, between one and four
	// seconds of work.
	MaxQueue int

	// MaxWait is the longest wait for a turn. The default is 5 seconds.
	MaxWait time.Duration

	// MaxMemory is the most memory in KiB that a stored argon2id hash may ask
	// for. The default is 262144 (256 MiB), the most 4194304 (4 GiB). A hash may
	// also ask for no more than MaxMemory times 16 in all its passes together.
	MaxMemory uint32

	// MaxBcryptCost is the highest cost of a stored bcrypt hash. The default is
	// 14, about a second of work, the least 4 and the most 20.
	MaxBcryptCost int

	// Reference is a hash typical for the store, such as one of bcrypt with
	// cost 12 while most accounts still have those. [Hasher.Dummy] does the
	// work that this hash would ask for. Only its algorithm and parameters are
	// read and kept, so it need not belong to an account. If empty, Dummy does
	// the work of a new hash.
	Reference string
}

// A Hasher hashes and verifies passwords. It is safe for concurrent use.
type Hasher struct {
	params    params
	limits    limits
	maxLength int
	dummy     storedHash
	bound     *bound
}

// New returns a Hasher. It returns an error that names the field for settings
// out of their range, for ones weaker than the floor that [Config].Memory
// states, and for a Reference that is not a usable hash.
func New(cfg Config) (*Hasher, error) {
	maxConcurrent, err := within("MaxConcurrent", cfg.MaxConcurrent, max(1, runtime.GOMAXPROCS(0)-1), 1, 1<<16)
	if err != nil {
		return nil, err
	}
	maxQueue, err := within("MaxQueue", cfg.MaxQueue, 64*maxConcurrent, 1, 1<<24)
	if err != nil {
		return nil, err
	}
	maxWait, err := within("MaxWait", cfg.MaxWait, 5*time.Second, 1, 10*time.Minute)
	if err != nil {
		return nil, err
	}
	maxLength, err := within("MaxLength", cfg.MaxLength, 1024, 64, 1<<16)
	if err != nil {
		return nil, err
	}
	maxMemory, err := within("MaxMemory", cfg.MaxMemory, 256<<10, minMemory, 4<<20)
	if err != nil {
		return nil, err
	}
	maxCost, err := within("MaxBcryptCost", cfg.MaxBcryptCost, 14, bcrypt.MinCost, 20)
	if err != nil {
		return nil, err
	}

	h := &Hasher{
		limits:    limits{memory: maxMemory, bcryptCost: maxCost},
		maxLength: maxLength,
		bound:     newBound(maxConcurrent, maxQueue, maxWait),
	}
	if h.params, err = newParams(cfg, h.limits); err != nil {
		return nil, err
	}
	h.dummy = argon2Hash{params: h.params, salt: make([]byte, saltLength), tag: make([]byte, tagLength)}.decoy()
	if cfg.Reference != "" {
		reference, err := h.limits.parse(cfg.Reference)
		if err != nil {
			return nil, fmt.Errorf("password: Config.Reference: %w", err)
		}
		h.dummy = reference.decoy()
	}
	return h, nil
}

// Hash returns a new argon2id hash of password, with a fresh salt, as a PHC
// string of at most 128 bytes.
//
// It returns [ErrTooLong] or an error that wraps [ErrUnacceptable] for a
// password that can't be stored, [ErrBusy], or the error of ctx if that ends
// before the work begins. A computation that has begun runs to its end.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	switch {
	case password == "":
		return "", fmt.Errorf("%w: empty", ErrUnacceptable)
	case len(password) > h.maxLength:
		return "", ErrTooLong
	case !utf8.ValidString(password):
		return "", fmt.Errorf("%w: not UTF-8", ErrUnacceptable)
	case strings.IndexByte(password, 0) >= 0:
		return "", fmt.Errorf("%w: holds a NUL", ErrUnacceptable)
	}
	var encoded string
	err := h.bound.do(ctx, func() { encoded = h.params.hash(password).String() })
	return encoded, err
}

// Verify returns nil if encoded was made from password, and [ErrMismatch] if it
// was not. With nil, rehash tells that the store should get a new hash of
// password, because encoded is bcrypt or weaker than the Hasher's settings.
//
// A password that can't have been stored (empty, too long, with a NUL) is a
// mismatch and costs the same work as a wrong one. So is a password of more
// than 72 bytes against a bcrypt hash: bcrypt reads no further, and accepting
// what it does read would accept every longer password with the same beginning.
//
// Any other error decides nothing: one that wraps [ErrMalformed], [ErrBusy], or
// the error of ctx if that ends before the work begins. No error contains
// encoded or password.
func (h *Hasher) Verify(ctx context.Context, encoded, password string) (rehash bool, err error) {
	stored, err := h.limits.parse(encoded)
	if err != nil {
		return false, err
	}
	match, err := h.compare(ctx, stored, password)
	if err != nil {
		return false, err
	}
	if !match {
		return false, ErrMismatch
	}
	return stored.weakerThan(h.params), nil
}

// Dummy does the work of a [Hasher.Verify] that fails, under the same bound,
// and returns [ErrMismatch], whatever the password. Call it where there is no
// hash to verify, so that the answer takes as long as for a wrong password.
//
// How long that is depends on the hashes in the store. If they are not all
// like new ones, see [Config].Reference.
//
// It returns [ErrBusy], or the error of ctx, as Verify does.
func (h *Hasher) Dummy(ctx context.Context, password string) error {
	if _, err := h.compare(ctx, h.dummy, password); err != nil {
		return err
	}
	return ErrMismatch
}

// NeedsRehash reports whether encoded is anything but an argon2id hash at least
// as strong as the ones that Hash makes. It is what Verify reports after a
// match, for counting how many accounts of a store are left behind. It is true
// for what is not a hash at all.
func (h *Hasher) NeedsRehash(encoded string) bool {
	stored, err := h.limits.parse(encoded)
	return err != nil || stored.weakerThan(h.params)
}

// Stats is what a [Hasher] is doing and has done.
type Stats struct {
	Running int    // hashes being computed
	Waiting int    // callers in the queue
	Done    uint64 // hashes computed since the start, by Hash, Verify and Dummy
	Refused uint64 // calls answered with ErrBusy since the start
}

// Stats returns the state of the bound, for metrics: a Waiting that does not go
// back to 0 says that MaxConcurrent is too low or someone is guessing passwords.
// The four numbers are read one after the other, not at one instant.
func (h *Hasher) Stats() Stats {
	return h.bound.stats()
}

// compare does the work that stored asks for and reports whether password is
// the one. What can't be the password is replaced by what stored can read, and
// the result of the comparison ignored, so that it costs the same.
func (h *Hasher) compare(ctx context.Context, stored storedHash, password string) (match bool, err error) {
	longest := min(h.maxLength, stored.maxLength())
	// A NUL is refused because bcrypt repeats its key with a NUL between, so
	// that "a" and "a\x00a" are one key.
	possible := password != "" && len(password) <= longest && strings.IndexByte(password, 0) < 0
	input := password[:min(len(password), longest)]
	err = h.bound.do(ctx, func() { match = stored.matches(input) })
	return match && possible, err
}

// A storedHash is a parsed hash whose demands are within the limits.
type storedHash interface {
	matches(password string) bool
	weakerThan(p params) bool
	maxLength() int    // bytes of a password that are read
	decoy() storedHash // one as costly, which no password is known to match
}

// limits are the most that a stored hash may ask for.
type limits struct {
	memory     uint32 // KiB
	bcryptCost int
}

// No hash within the limits is longer; what is, is not looked at.
const maxEncoded = 256

// parse reads a hash from the store. Nothing is computed, and no memory
// allocated beyond the hash itself, before its parameters have been checked.
func (l limits) parse(encoded string) (storedHash, error) {
	switch {
	case encoded == "":
		return nil, malformed("empty")
	case len(encoded) > maxEncoded:
		return nil, malformed("too long")
	case strings.HasPrefix(encoded, argon2Prefix):
		return l.parseArgon2(encoded)
	case strings.HasPrefix(encoded, "$2"):
		return l.parseBcrypt(encoded)
	}
	return nil, malformed("neither argon2id nor bcrypt")
}

// malformed never takes a part of the hash: errors end up in logs.
func malformed(reason string) error {
	return fmt.Errorf("%w: %s", ErrMalformed, reason)
}

// within returns v, or def if v is zero, and an error if it is out of range.
func within[T int | uint32 | time.Duration](field string, v, def, least, most T) (T, error) {
	if v == 0 {
		return def, nil
	}
	if v < least || v > most {
		return 0, fmt.Errorf("password: Config.%s is %v, must be between %v and %v", field, v, least, most)
	}
	return v, nil
}
