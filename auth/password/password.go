// Package password stores passwords as hashes and verifies them, with a bound on
// how much of that work runs at a time.
//
// A [Hasher] writes the PHC string form, which carries its own parameters and
// salt, so that a store needs one text column:
//
//	$argon2id$v=19$m=19456,t=2,p=1$<salt>$<tag>
//
// It makes argon2id unless [Config].Algorithm names another, and verifies all that
// it can make, and argon2i, whatever the Config says, so that a store may move from
// one to the other. What it reads of others' is [Hasher.Verify]'s to say. A match
// against another algorithm, or against parameters weaker than the Hasher's own,
// asks for a new hash, which the caller makes and saves while it still has the
// password:
//
//	rehash, err := hasher.Verify(ctx, user.PasswordHash, given)
//	switch {
//	case errors.Is(err, password.ErrMismatch): // refuse
//	case err != nil:                           // undecided: try later
//	case rehash:                               // save hasher.Hash(ctx, given)
//	}
//
// Where a password is chosen, a [Policy] says whether it may be.
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
// both before calling Hash and Verify. It is not done here because it is not
// needed to be safe, it can't be taken back once hashes depend on it, and it
// would make stores of other programs unreadable.
package password

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"

	"github.com/sallyport/sallyport/internal/pepper"
)

var (
	// ErrMismatch is returned when the password is not the one that was hashed.
	// Any other error of [Hasher.Verify] means that it is not known whether it is.
	ErrMismatch = errors.New("password: mismatch")

	// ErrMalformed is wrapped when a stored hash can't be used: it is of no form
	// that [Hasher.Verify] reads, it asks for more work than the Hasher's limits
	// allow, or it depends on a pepper that the Hasher has not. The store is at
	// fault, not who logs in: answer as for a store that failed (503), and count
	// no failed attempt.
	ErrMalformed = errors.New("password: unusable stored hash")

	// ErrBusy is returned when too many passwords are being hashed and the
	// queue is full, or a place in it did not come up within
	// [Config].MaxWait. Nothing was decided: answer 503 with a Retry-After of a
	// second, and count no failed attempt.
	ErrBusy = errors.New("password: too many hashes at a time")

	// ErrTooLong is returned by [Hasher.Hash] for a password of more than
	// [Config].MaxLength bytes, or more than the algorithm reads: the 72 of bcrypt.
	ErrTooLong = errors.New("password: too long")

	// ErrUnacceptable is wrapped when [Hasher.Hash] is given a password that is
	// empty, is not UTF-8, or holds a NUL.
	ErrUnacceptable = errors.New("password: unacceptable")
)

// An Algorithm makes hashes of passwords.
type Algorithm int

// The algorithms. A new hash takes memory with the first two alone, and that is
// what makes guesses costly on special hardware. PBKDF2 is for those who may use
// nothing that FIPS 140 does not approve: it is computed by the standard library's
// module. Bcrypt is for stores that other programs read too.
const (
	Argon2id     Algorithm = iota // RFC 9106
	Scrypt                        // RFC 7914, with r=8
	PBKDF2SHA512                  // RFC 8018, with HMAC-SHA-512
	PBKDF2SHA256                  // RFC 8018, with HMAC-SHA-256
	Bcrypt                        // reads 72 bytes: longer passwords are refused
)

// String returns the name of the algorithm.
func (a Algorithm) String() string {
	switch a {
	case Argon2id:
		return "argon2id"
	case Scrypt:
		return "scrypt"
	case PBKDF2SHA512:
		return "PBKDF2-HMAC-SHA-512"
	case PBKDF2SHA256:
		return "PBKDF2-HMAC-SHA-256"
	case Bcrypt:
		return "bcrypt"
	}
	return "password.Algorithm(" + strconv.Itoa(int(a)) + ")"
}

// Config holds the settings of a [Hasher]. The zero Config is secure. The floors
// are those of OWASP ASVS 5.0, appendix C.
type Config struct {
	// Algorithm makes new hashes. The default is Argon2id.
	Algorithm Algorithm

	// Memory is the memory of one new hash in KiB, at most MaxMemory.
	//
	// With argon2id it is m; the default is 19456 (19 MiB). At least that is
	// needed, and 47104 (46 MiB) if Iterations is 1. With scrypt it is N, a power
	// of two; the default and least is 131072 (128 MiB), half of that with a
	// Parallelism of 2, and a quarter with more. It must be 0 with the others.
	Memory uint32

	// Iterations is the number of passes over that memory, the t of argon2id,
	// at most 255; the default is 2. With PBKDF2 it is the number of iterations,
	// at most MaxIterations; the default and least is 600,000 with SHA-256 and
	// 210,000 with SHA-512. It must be 0 with the others.
	Iterations uint32

	// Parallelism is the number of lanes of a new hash, the p of argon2id and
	// scrypt. The default is 1. Each lane of argon2id takes a processor while the
	// hash is computed, so with more than one MaxConcurrent should shrink in
	// proportion; those of scrypt are computed one after the other, at most 64. It
	// must be 0 with the others.
	Parallelism uint8

	// BcryptCost is the cost of new hashes of bcrypt, from 10 to MaxBcryptCost.
	// The default is 12, or MaxBcryptCost if that is less. It must be 0 with the
	// others.
	BcryptCost int

	// Peppers are secret keys outside of the store. New hashes depend on the
	// first; the others are for hashes that were made when they were it. To rotate,
	// put a new one in front, and remove the old one when no hash names it any
	// more. Hashes without a pepper verify, and ask to be made anew. The default
	// is none.
	Peppers []Pepper

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

	// MaxWait is the longest wait for a turn. The default is 5 seconds, the most 10
	// minutes.
	MaxWait time.Duration

	// MaxMemory is the most memory in KiB that a stored hash of argon2 or scrypt
	// may ask for. The default is 262144 (256 MiB), the least 19456, the most 4194304 (4 GiB). A
	// hash may also ask for no more than MaxMemory times 16 in all its passes, or
	// lanes of scrypt, together.
	MaxMemory uint32

	// MaxIterations is the most that a stored PBKDF2 hash may ask for. The default
	// is 4,000,000, some two seconds of work, the least 600,000, the most
	// 100,000,000.
	MaxIterations uint32

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
	maker     maker
	limits    limits
	maxLength int
	dummy     storedHash
	bound     *bound
}

// New returns a Hasher. It returns an error that names the field for settings
// out of their range, for ones weaker than the floors that Memory, Iterations and
// BcryptCost state, for ones that have no meaning for the Algorithm, for Peppers
// without an ID, of one ID or with a short Key, and for a Reference that is not a
// usable hash.
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
	maxIterations, err := within("MaxIterations", cfg.MaxIterations, 4_000_000, minIterationsSHA256, 100_000_000)
	if err != nil {
		return nil, err
	}
	maxCost, err := within("MaxBcryptCost", cfg.MaxBcryptCost, 14, bcrypt.MinCost, 20)
	if err != nil {
		return nil, err
	}

	if err := pepper.Check(cfg.Peppers); err != nil {
		return nil, fmt.Errorf("password: Config.Peppers%w", err)
	}

	h := &Hasher{
		limits:    limits{memory: maxMemory, iterations: maxIterations, bcryptCost: maxCost, peppers: pepper.Clone(cfg.Peppers)},
		maxLength: maxLength,
		bound:     newBound(maxConcurrent, maxQueue, maxWait),
	}
	if h.maker, err = newMaker(cfg, h.limits); err != nil {
		return nil, err
	}
	h.dummy = h.maker.sample()
	if cfg.Reference != "" {
		reference, err := h.limits.parse(cfg.Reference)
		if err != nil {
			return nil, fmt.Errorf("password: Config.Reference: %w", err)
		}
		h.dummy = reference.decoy()
	}
	return h, nil
}

// newMaker returns what makes new hashes.
func newMaker(cfg Config, l limits) (m maker, err error) {
	if cfg.Algorithm != Bcrypt && cfg.BcryptCost != 0 {
		return nil, fmt.Errorf("password: Config.BcryptCost has no meaning for %v, must be 0", cfg.Algorithm)
	}
	switch cfg.Algorithm {
	case Argon2id:
		m, err = newArgon2(cfg, l)
	case Scrypt:
		m, err = newScrypt(cfg, l)
	case PBKDF2SHA512, PBKDF2SHA256:
		m, err = newPBKDF2(cfg, l)
	case Bcrypt:
		m, err = newBcrypt(cfg, l)
	default:
		err = fmt.Errorf("password: Config.Algorithm is %v", cfg.Algorithm)
	}
	if err != nil {
		return nil, err
	}
	if len(l.peppers) > 0 {
		m = pepperedMaker{m, l.peppers[0]}
	}
	return m, nil
}

// String returns the name of the type.
func (Hasher) String() string { return "password.Hasher" }

// Format writes String whatever the verb, so that no pepper gets into a log.
func (h Hasher) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, h.String()) }

// Hash returns a new hash of password, with a fresh salt, as a PHC string of at
// most 192 bytes: 128 without a pepper.
//
// It returns [ErrTooLong] or an error that wraps [ErrUnacceptable] for a
// password that can't be stored, [ErrBusy], or the error of ctx if that ends
// before the work begins. A computation that has begun runs to its end.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	switch {
	case password == "":
		return "", fmt.Errorf("%w: empty", ErrUnacceptable)
	case len(password) > min(h.maxLength, h.maker.maxLength()):
		return "", ErrTooLong
	case !utf8.ValidString(password):
		return "", fmt.Errorf("%w: not UTF-8", ErrUnacceptable)
	case strings.IndexByte(password, 0) >= 0:
		return "", fmt.Errorf("%w: holds a NUL", ErrUnacceptable)
	}
	var made storedHash
	var failed error
	if err := h.bound.do(ctx, func() { made, failed = h.maker.hash(password) }); err != nil {
		return "", err
	}
	if failed != nil {
		return "", fmt.Errorf("password: it can't be hashed: %w", failed)
	}
	return made.String(), nil
}

// Verify returns nil if encoded was made from password, and [ErrMismatch] if it
// was not. With nil, rehash tells that the store should get a new hash of
// password, because encoded is of another algorithm, weaker than the Hasher's
// settings, or not made with its first pepper.
//
// It reads the PHC strings of argon2id and argon2i (version 19), scrypt, and
// PBKDF2 with SHA-256 and SHA-512, also as Python's passlib writes that; bcrypt as
// "$2a$", "$2b$" and "$2y$"; and each of them behind a [Pepper]. That is what
// htpasswd -B, passlib, and the libraries of other languages write today. Fast
// hashes, such as those of htpasswd without -B, are not read (ASVS 5.0, 11.4.1).
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
	return !h.maker.isMetBy(stored), nil
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

// NeedsRehash reports whether encoded is anything but a hash of the Hasher's
// algorithm and pepper that is at least as strong as the ones that Hash makes. It is what Verify reports after a
// match, for counting how many accounts of a store are left behind. It is true
// for what is not a hash at all.
func (h *Hasher) NeedsRehash(encoded string) bool {
	stored, err := h.limits.parse(encoded)
	return err != nil || !h.maker.isMetBy(stored)
}

// Check returns nil if encoded is a hash that [Hasher.Verify] can use, and an error
// that wraps [ErrMalformed] and says why not otherwise. Nothing is computed. It is for
// stores that would rather know at once.
func (h *Hasher) Check(encoded string) error {
	_, err := h.limits.parse(encoded)
	return err
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
	var failed error
	if err := h.bound.do(ctx, func() { match, failed = stored.matches(input) }); err != nil {
		return false, err
	}
	if failed != nil {
		return false, fmt.Errorf("password: it can't be compared: %w", failed)
	}
	return match && possible, nil
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
