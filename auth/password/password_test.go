package password_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"runtime/metrics"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"github.com/sallyport/sallyport/auth/password"
)

func newHasher(t testing.TB, cfg password.Config) *password.Hasher {
	t.Helper()
	h, err := password.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// phc makes a PHC string that Hash would not: with parameters of choice.
func phc(pw string, m, t uint32, p uint8, salt, tag int) string {
	s := []byte(strings.Repeat("s", salt))
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", m, t, p,
		base64.RawStdEncoding.EncodeToString(s),
		base64.RawStdEncoding.EncodeToString(argon2.IDKey([]byte(pw), s, t, m, p, uint32(tag)))) //nolint:gosec // a test's constant
}

func bcrypted(t testing.TB, pw string, cost int) string {
	t.Helper()
	b, err := bcrypt.GenerateFromPassword([]byte(pw), cost)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestHashAndVerify(t *testing.T) {
	h := newHasher(t, password.Config{})
	one, err := h.Hash(t.Context(), "correct horse battery staple")
	if err != nil {
		t.Fatal(err)
	}
	if want := regexp.MustCompile(`^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$`); !want.MatchString(one) {
		t.Errorf("got hash %q, want the form %v", one, want)
	}
	two, err := h.Hash(t.Context(), "correct horse battery staple")
	if err != nil {
		t.Fatal(err)
	}
	if one == two {
		t.Error("two hashes of one password are equal: the salt is not random")
	}
	if rehash, err := h.Verify(t.Context(), one, "correct horse battery staple"); err != nil || rehash {
		t.Errorf("right password: got %v, %v, want false, nil", rehash, err)
	}
	for _, wrong := range []string{"correct horse battery stapl", "correct horse battery staple ", "Correct horse battery staple", "", one} {
		if rehash, err := h.Verify(t.Context(), one, wrong); !errors.Is(err, password.ErrMismatch) || rehash {
			t.Errorf("password %q: got %v, %v, want false, ErrMismatch", wrong, rehash, err)
		}
	}
}

// The hash says what it cost, and x/crypto computes the same from it.
func TestHashUsesTheConfiguredParameters(t *testing.T) {
	h := newHasher(t, password.Config{Memory: 20 << 10, Iterations: 3, Parallelism: 2})
	got, err := h.Hash(t.Context(), "pässword")
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Split(got, "$")
	if len(fields) != 6 || fields[3] != "m=20480,t=3,p=2" {
		t.Fatalf("got %q, want m=20480,t=3,p=2", got)
	}
	salt, err := base64.RawStdEncoding.DecodeString(fields[4])
	if err != nil || len(salt) != 16 {
		t.Fatalf("got a salt of %d bytes (%v), want 16", len(salt), err)
	}
	want := base64.RawStdEncoding.EncodeToString(argon2.IDKey([]byte("pässword"), salt, 3, 20<<10, 2, 32))
	if fields[5] != want {
		t.Errorf("got tag %q, want %q", fields[5], want)
	}
}

// ASVS 5.0, 11.4.2 asks for argon2id with 46 MiB in one pass; 19 MiB in two
// count as equivalent, and are the default. Nothing below either is accepted.
func TestASVS_11_4_2_FloorOfTheCost(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  password.Config
		want string // parameters of a hash, or "" for an error
	}{
		{"the default is 19 MiB twice", password.Config{}, "m=19456,t=2,p=1"},
		{"one pass by default over 46 MiB", password.Config{Iterations: 1}, "m=47104,t=1,p=1"},
		{"19 MiB twice, named", password.Config{Memory: 19456, Iterations: 2}, "m=19456,t=2,p=1"},
		{"46 MiB once, named", password.Config{Memory: 47104, Iterations: 1}, "m=47104,t=1,p=1"},
		{"less than 19 MiB", password.Config{Memory: 19455}, ""},
		{"less than 19 MiB, many passes", password.Config{Memory: 12288, Iterations: 10}, ""},
		{"less than 46 MiB once", password.Config{Memory: 47103, Iterations: 1}, ""},
		{"19 MiB once", password.Config{Memory: 19456, Iterations: 1}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, err := password.New(tt.cfg)
			if tt.want == "" {
				if err == nil || !strings.Contains(err.Error(), "Config.Memory") {
					t.Fatalf("got error %v, want one that names Config.Memory", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := h.Hash(t.Context(), "x")
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(got, "$"+tt.want+"$") {
				t.Errorf("got %q, want %s", got, tt.want)
			}
		})
	}

	// Equivalent means that a hash of one kind is not made anew as the other
	// where that would take memory away.
	h := newHasher(t, password.Config{})
	if h.NeedsRehash(phc("x", 47104, 1, 1, 16, 32)) {
		t.Error("46 MiB once should pass for 19 MiB twice")
	}
}

func TestConfigErrorsNameTheField(t *testing.T) {
	for _, tt := range []struct {
		field string
		cfg   password.Config
	}{
		{"Memory", password.Config{Memory: 1}},
		{"Memory", password.Config{Memory: 256<<10 + 1}},
		{"Iterations", password.Config{Iterations: 256}},
		{"Iterations", password.Config{Memory: 256 << 10, Iterations: 17}},
		{"MaxLength", password.Config{MaxLength: 63}},
		{"MaxLength", password.Config{MaxLength: 65537}},
		{"MaxConcurrent", password.Config{MaxConcurrent: -1}},
		{"MaxQueue", password.Config{MaxQueue: -1}},
		{"MaxWait", password.Config{MaxWait: -1}},
		{"MaxWait", password.Config{MaxWait: time.Hour}},
		{"MaxMemory", password.Config{MaxMemory: 19455}},
		{"MaxMemory", password.Config{MaxMemory: 4<<20 + 1}},
		{"MaxBcryptCost", password.Config{MaxBcryptCost: 3}},
		{"MaxBcryptCost", password.Config{MaxBcryptCost: 21}},
		{"Reference", password.Config{Reference: "hunter2"}},
		{"Algorithm", password.Config{Algorithm: -1}},
		{"Algorithm", password.Config{Algorithm: 5}},
		{"BcryptCost", password.Config{BcryptCost: 12}},
		{"BcryptCost", password.Config{Algorithm: password.Bcrypt, BcryptCost: 9}},
		{"BcryptCost", password.Config{Algorithm: password.Bcrypt, BcryptCost: 15}},
		{"MaxBcryptCost", password.Config{Algorithm: password.Bcrypt, MaxBcryptCost: 9}},
		{"Memory", password.Config{Algorithm: password.Bcrypt, Memory: 19456}},
		{"Iterations", password.Config{Algorithm: password.Bcrypt, Iterations: 2}},
		{"Parallelism", password.Config{Algorithm: password.Bcrypt, Parallelism: 1}},
		{"Memory", password.Config{Algorithm: password.Scrypt, Memory: 64 << 10}},
		{"Memory", password.Config{Algorithm: password.Scrypt, Memory: 32 << 10, Parallelism: 2}},
		{"Memory", password.Config{Algorithm: password.Scrypt, Memory: 16 << 10, Parallelism: 8}},
		{"Memory", password.Config{Algorithm: password.Scrypt, Memory: 150 << 10}},
		{"Memory", password.Config{Algorithm: password.Scrypt, Memory: 512 << 10}},
		{"Parallelism", password.Config{Algorithm: password.Scrypt, Memory: 256 << 10, Parallelism: 17}},
		{"Parallelism", password.Config{Algorithm: password.Scrypt, Memory: 32 << 10, Parallelism: 65}},
		{"Iterations", password.Config{Algorithm: password.Scrypt, Iterations: 1}},
		{"Iterations", password.Config{Algorithm: password.PBKDF2SHA256, Iterations: 599_999}},
		{"Iterations", password.Config{Algorithm: password.PBKDF2SHA512, Iterations: 209_999}},
		{"Iterations", password.Config{Algorithm: password.PBKDF2SHA512, Iterations: 4_000_001}},
		{"Memory", password.Config{Algorithm: password.PBKDF2SHA256, Memory: 19456}},
		{"Parallelism", password.Config{Algorithm: password.PBKDF2SHA256, Parallelism: 1}},
		{"MaxIterations", password.Config{MaxIterations: 599_999}},
		{"MaxIterations", password.Config{MaxIterations: 100_000_001}},
		{"Peppers[0].Key", password.Config{Peppers: []password.Pepper{{ID: "a", Key: make([]byte, 31)}}}},
		{"Peppers[0].ID", password.Config{Peppers: []password.Pepper{{Key: make([]byte, 32)}}}},
		{"Peppers[0].ID", password.Config{Peppers: []password.Pepper{{ID: "a$b", Key: make([]byte, 32)}}}},
		{"Peppers[0].ID", password.Config{Peppers: []password.Pepper{{ID: "ä", Key: make([]byte, 32)}}}},
		{"Peppers[0].ID", password.Config{Peppers: []password.Pepper{{ID: strings.Repeat("a", 33), Key: make([]byte, 32)}}}},
		{"Peppers[1].ID", password.Config{Peppers: append(peppers("a"), peppers("a")...)}},
		{"Reference", password.Config{Reference: "$hmac-sha256$keyid=a$2b$10$EXRkfkdmXnagzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9q"}},
		{"Reference", password.Config{Reference: "$2b$15$EXRkfkdmXnagzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9q"}},
	} {
		h, err := password.New(tt.cfg)
		if err == nil || h != nil || !strings.Contains(err.Error(), "Config."+tt.field) {
			t.Errorf("%+v: got %v, %v, want an error that names Config.%s", tt.cfg, h, err, tt.field)
		}
		if err != nil && tt.cfg.Reference != "" && strings.Contains(err.Error(), tt.cfg.Reference) {
			t.Errorf("the error contains the hash: %v", err)
		}
	}
	// The edges themselves.
	for _, cfg := range []password.Config{
		{Memory: 256 << 10, Iterations: 16},
		{MaxLength: 64},
		{MaxLength: 65536},
		{MaxConcurrent: 1, MaxQueue: 1, MaxWait: time.Nanosecond},
		{MaxMemory: 19456},
		{MaxMemory: 4 << 20},
		{MaxBcryptCost: 4},
		{MaxBcryptCost: 20},
		{Algorithm: password.Bcrypt, BcryptCost: 10, MaxBcryptCost: 10},
		{Algorithm: password.Bcrypt, BcryptCost: 14},
		{Algorithm: password.Bcrypt, MaxBcryptCost: 11},
		{Algorithm: password.Scrypt, Memory: 256 << 10},
		{Algorithm: password.Scrypt, Memory: 64 << 10, Parallelism: 2},
		{Algorithm: password.Scrypt, Memory: 32 << 10, Parallelism: 64},
		{Algorithm: password.PBKDF2SHA256, Iterations: 600_000, MaxIterations: 600_000},
		{Algorithm: password.PBKDF2SHA512, Iterations: 4_000_000},
		{Peppers: peppers(strings.Repeat("a", 32), "A.b_c-9")},
	} {
		if _, err := password.New(cfg); err != nil {
			t.Errorf("%+v: got %v, want no error", cfg, err)
		}
	}
}

func TestHashRefuses(t *testing.T) {
	h := newHasher(t, password.Config{MaxLength: 64})
	for _, tt := range []struct {
		name, password string
		want           error
	}{
		{"empty", "", password.ErrUnacceptable},
		{"NUL", "pass\x00word", password.ErrUnacceptable},
		{"invalid UTF-8", "pass\xffword", password.ErrUnacceptable},
		{"lone surrogate", "\xed\xa0\x80", password.ErrUnacceptable},
		{"one byte too long", strings.Repeat("p", 65), password.ErrTooLong},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := h.Hash(t.Context(), tt.password)
			if !errors.Is(err, tt.want) || got != "" {
				t.Errorf("got %q, %v, want \"\", %v", got, err, tt.want)
			}
		})
	}
	if got := h.Stats().Done; got != 0 {
		t.Errorf("%d hashes were computed, want 0", got)
	}
}

// Any NUL-free UTF-8 is a password, and 64 bytes are always allowed.
func TestASVS_6_2_5_AnyComposition(t *testing.T) {
	h := newHasher(t, password.Config{MaxLength: 64})
	for _, pw := range []string{
		" ", "  leading and trailing  ", "тест", "pass word\t\r\n", "😀", "a$b$c,d=e",
		strings.Repeat("é", 32), strings.Repeat("p", 64),
	} {
		encoded, err := h.Hash(t.Context(), pw)
		if err != nil {
			t.Errorf("%q: %v", pw, err)
			continue
		}
		if _, err := h.Verify(t.Context(), encoded, pw); err != nil {
			t.Errorf("%q: got %v, want a match", pw, err)
		}
		if _, err := h.Verify(t.Context(), encoded, strings.TrimSpace(pw)+"x"); !errors.Is(err, password.ErrMismatch) {
			t.Errorf("%q and one more character: got %v, want ErrMismatch", pw, err)
		}
	}
}

// Every byte of a password counts, to the longest.
func TestASVS_6_2_8_NoTruncation(t *testing.T) {
	h := newHasher(t, password.Config{})
	for _, n := range []int{64, 72, 128, 1024} {
		pw := strings.Repeat("p", n)
		encoded, err := h.Hash(t.Context(), pw)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Verify(t.Context(), encoded, pw); err != nil {
			t.Errorf("%d bytes: got %v, want a match", n, err)
		}
		for _, other := range []string{pw[:n-1], pw + "p", pw[:n-1] + "q"} {
			if _, err := h.Verify(t.Context(), encoded, other); !errors.Is(err, password.ErrMismatch) {
				t.Errorf("%d bytes against %d: got %v, want ErrMismatch", len(other), n, err)
			}
		}
	}
}

// A longer password must not be cut to MaxLength and compared: the shorter one
// is known to match here.
func TestVerifyDoesNotCutALongPassword(t *testing.T) {
	h := newHasher(t, password.Config{MaxLength: 64})
	pw := strings.Repeat("p", 64)
	encoded := phc(pw, 19456, 2, 1, 16, 32)
	if _, err := h.Verify(t.Context(), encoded, pw); err != nil {
		t.Fatalf("got %v, want a match", err)
	}
	before := h.Stats().Done
	if _, err := h.Verify(t.Context(), encoded, pw+"p"); !errors.Is(err, password.ErrMismatch) {
		t.Errorf("got %v, want ErrMismatch", err)
	}
	if got := h.Stats().Done - before; got != 1 {
		t.Errorf("%d hashes were computed, want 1 as for any wrong password", got)
	}
}

// bcrypt reads 72 bytes, so a library that compares what it reads accepts every
// password that begins with the right one.
func TestCVE_2025_22228_BcryptPrefixOfALongPassword(t *testing.T) {
	h := newHasher(t, password.Config{})
	pw := strings.Repeat("p", 72)
	encoded := bcrypted(t, pw, bcrypt.MinCost)
	if err := bcrypt.CompareHashAndPassword([]byte(encoded), []byte(pw+"x")); err != nil {
		t.Logf("x/crypto now refuses the 73rd byte: %v", err)
	}
	if rehash, err := h.Verify(t.Context(), encoded, pw); err != nil || !rehash {
		t.Errorf("72 bytes: got %v, %v, want true, nil", rehash, err)
	}
	for _, long := range []string{pw + "x", pw + "p", pw + strings.Repeat("x", 1000)} {
		before := h.Stats().Done
		if _, err := h.Verify(t.Context(), encoded, long); !errors.Is(err, password.ErrMismatch) {
			t.Errorf("%d bytes: got %v, want ErrMismatch", len(long), err)
		}
		if got := h.Stats().Done - before; got != 1 {
			t.Errorf("%d bytes: %d hashes were computed, want 1 as for any wrong password", len(long), got)
		}
	}
}

// bcrypt's key is the password and a NUL, over and over: "a" and "a\x00a" are
// the same key.
func TestBcryptPasswordWithNULNeverMatches(t *testing.T) {
	h := newHasher(t, password.Config{})
	encoded := bcrypted(t, "a", bcrypt.MinCost)
	if _, err := h.Verify(t.Context(), encoded, "a"); err != nil {
		t.Fatalf("got %v, want a match", err)
	}
	before := h.Stats().Done
	for _, pw := range []string{"a\x00a", "a\x00a\x00a", "a\x00", "\x00a", "\x00"} {
		if _, err := h.Verify(t.Context(), encoded, pw); !errors.Is(err, password.ErrMismatch) {
			t.Errorf("%q: got %v, want ErrMismatch", pw, err)
		}
	}
	if got := h.Stats().Done - before; got != 5 {
		t.Errorf("%d hashes were computed, want 5", got)
	}
}

// A hash of the empty password, as a broken import may leave in a store, lets
// nobody in.
func TestEmptyPasswordNeverMatches(t *testing.T) {
	h := newHasher(t, password.Config{})
	for _, encoded := range []string{phc("", 19456, 2, 1, 16, 32), bcrypted(t, "", bcrypt.MinCost)} {
		before := h.Stats().Done
		if _, err := h.Verify(t.Context(), encoded, ""); !errors.Is(err, password.ErrMismatch) {
			t.Errorf("got %v, want ErrMismatch", err)
		}
		if got := h.Stats().Done - before; got != 1 {
			t.Errorf("%d hashes were computed, want 1", got)
		}
	}
}

const goodTail = "$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"

func TestVerifyRefusesMalformedHashes(t *testing.T) {
	h := newHasher(t, password.Config{})
	const head = "$argon2id$v=19$m=19456,t=2,p=1"
	b64 := func(n int) string { return base64.RawStdEncoding.EncodeToString(make([]byte, n)) }
	for name, encoded := range map[string]string{
		"empty":                       "",
		"plain text":                  "hunter2",
		"only the algorithm":          "$argon2id$",
		"upper case":                  "$ARGON2ID$v=19$m=19456,t=2,p=1" + goodTail,
		"blank before":                " " + head + goodTail,
		"blank after":                 head + goodTail + " ",
		"line break after":            head + goodTail + "\n",
		"no version":                  "$argon2id$m=19456,t=2,p=1" + goodTail,
		"version 16":                  "$argon2id$v=16$m=19456,t=2,p=1" + goodTail,
		"version 019":                 "$argon2id$v=019$m=19456,t=2,p=1" + goodTail,
		"parameters in another order": "$argon2id$v=19$t=2,m=19456,p=1" + goodTail,
		"a parameter twice":           "$argon2id$v=19$m=19456,m=19456,t=2,p=1" + goodTail,
		"a parameter is missing":      "$argon2id$v=19$m=19456,t=2" + goodTail,
		"keyid":                       "$argon2id$v=19$m=19456,t=2,p=1,keyid=AAAA" + goodTail,
		"no number":                   "$argon2id$v=19$m=,t=2,p=1" + goodTail,
		"leading zero":                "$argon2id$v=19$m=019456,t=2,p=1" + goodTail,
		"sign":                        "$argon2id$v=19$m=+19456,t=2,p=1" + goodTail,
		"negative":                    "$argon2id$v=19$m=-19456,t=2,p=1" + goodTail,
		"hexadecimal":                 "$argon2id$v=19$m=0x4c00,t=2,p=1" + goodTail,
		"underscore":                  "$argon2id$v=19$m=19_456,t=2,p=1" + goodTail,
		"m=0":                         "$argon2id$v=19$m=0,t=2,p=1" + goodTail,
		"t=0, where x/crypto panics":  "$argon2id$v=19$m=19456,t=0,p=1" + goodTail,
		"p=0, where x/crypto panics":  "$argon2id$v=19$m=19456,t=2,p=0" + goodTail,
		"m below 8p":                  "$argon2id$v=19$m=15,t=2,p=2" + goodTail,
		"m above the cap":             "$argon2id$v=19$m=262145,t=1,p=1" + goodTail,
		"m wraps 32 bits":             "$argon2id$v=19$m=4294986752,t=2,p=1" + goodTail,
		"t above the cap":             "$argon2id$v=19$m=1024,t=256,p=1" + goodTail,
		"p above the cap":             "$argon2id$v=19$m=19456,t=2,p=256" + goodTail,
		"too much work in all":        "$argon2id$v=19$m=262144,t=17,p=1" + goodTail,
		"no salt":                     head + "$$" + b64(32),
		"salt of 7 bytes":             head + "$" + b64(7) + "$" + b64(32),
		"salt of 65 bytes":            head + "$" + b64(65) + "$" + b64(32),
		"no tag":                      head + "$" + b64(16) + "$",
		"no tag field":                head + "$" + b64(16),
		"tag of 15 bytes":             head + "$" + b64(16) + "$" + b64(15),
		"tag of 65 bytes":             head + "$" + b64(16) + "$" + b64(65),
		"a field more":                head + goodTail + "$x",
		"padded":                      head + "$" + b64(16) + "==$" + b64(32),
		"URL alphabet":                head + "$" + strings.Repeat("_", 22) + "$" + b64(32),
		"line break in the salt":      head + "$" + b64(9) + "\n" + b64(9) + "$" + b64(32),
		"spare bits in the salt":      head + "$" + strings.Repeat("A", 21) + "B$" + b64(32),
		"spare bits in the tag":       head + "$" + b64(16) + "$" + strings.Repeat("A", 42) + "B",
		"very long":                   head + "$" + strings.Repeat("A", 1<<20) + "$" + b64(32),

		"scrypt, nothing else":              "$scrypt$",
		"scrypt, another order":             "$scrypt$r=8,ln=10,p=1" + goodTail,
		"scrypt, one parameter less":        "$scrypt$ln=10,r=8" + goodTail,
		"scrypt, one parameter more":        "$scrypt$ln=10,r=8,p=1,x=1" + goodTail,
		"scrypt, ln=0":                      "$scrypt$ln=0,r=8,p=1" + goodTail,
		"scrypt, ln above the cap":          "$scrypt$ln=19,r=8,p=1" + goodTail,
		"scrypt, ln that overflows":         "$scrypt$ln=64,r=8,p=1" + goodTail,
		"scrypt, r=0":                       "$scrypt$ln=10,r=0,p=1" + goodTail,
		"scrypt, r that makes it too large": "$scrypt$ln=18,r=9,p=1" + goodTail,
		"scrypt, r above the cap":           "$scrypt$ln=1,r=65,p=1" + goodTail,
		"scrypt, p=0":                       "$scrypt$ln=10,r=8,p=0" + goodTail,
		"scrypt, too much work in all":      "$scrypt$ln=18,r=8,p=17" + goodTail,
		"scrypt, short salt":                "$scrypt$ln=10,r=8,p=1$" + b64(7) + "$" + b64(32),
		"scrypt, a field more":              "$scrypt$ln=10,r=8,p=1" + goodTail + "$",
		"scrypt, version":                   "$scrypt$v=1$ln=10,r=8,p=1" + goodTail,

		"PBKDF2, nothing else":            "$pbkdf2-",
		"PBKDF2, no iterations":           "$pbkdf2-sha256$" + goodTail,
		"PBKDF2, i=0":                     "$pbkdf2-sha256$i=0" + goodTail,
		"PBKDF2, passlib, 0":              "$pbkdf2-sha256$0" + goodTail,
		"PBKDF2, above the cap":           "$pbkdf2-sha256$i=4000001" + goodTail,
		"PBKDF2, passlib, above the cap":  "$pbkdf2-sha256$4000001" + goodTail,
		"PBKDF2, upper case":              "$pbkdf2-SHA256$i=1000" + goodTail,
		"PBKDF2, length that lies":        "$pbkdf2-sha256$i=1000,l=31" + goodTail,
		"PBKDF2, length twice":            "$pbkdf2-sha256$i=1000,l=32,l=32" + goodTail,
		"PBKDF2, empty length":            "$pbkdf2-sha256$i=1000," + goodTail,
		"PBKDF2, length before":           "$pbkdf2-sha256$l=32,i=1000" + goodTail,
		"PBKDF2, passlib with a length":   "$pbkdf2-sha256$1000,l=32" + goodTail,
		"PBKDF2, passlib's base64 in PHC": "$pbkdf2-sha256$i=1000$c29tZXNhbHQ$" + strings.Repeat(".", 43),
		"PBKDF2, PHC's base64 in passlib": "$pbkdf2-sha256$1000$c29tZXNhbHQ$" + strings.Repeat("+", 42) + "A",
		"PBKDF2, short tag":               "$pbkdf2-sha256$i=1000$" + b64(16) + "$" + b64(15),

		"pepper without a key":  "$hmac-sha256$" + head + goodTail,
		"pepper without a hash": "$hmac-sha256$keyid=2026",
		"pepper that is absent": "$hmac-sha256$keyid=2026" + head + goodTail,

		"bcrypt, nothing else":       "$2",
		"bcrypt, cost above the cap": "$2b$15$EXRkfkdmXnagzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9q",
		"bcrypt, cost of hours":      "$2a$31$EXRkfkdmXnagzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9q",
		"bcrypt, cost 3":             "$2a$03$EXRkfkdmXnagzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9q",
		"bcrypt, cost is no number":  "$2a$1:$EXRkfkdmXnagzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9q",
		"bcrypt 2x":                  "$2x$05$EXRkfkdmXnagzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9q",
		"bcrypt 2":                   "$2$05$EXRkfkdmXnagzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9q.",
		"bcrypt 3a":                  "$3a$05$EXRkfkdmXnagzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9q",
		"bcrypt, other separators":   "$2a$05:EXRkfkdmXnagzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9q",
		"bcrypt, alphabet":           "$2a$05$EXRkfkdmXn!gzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9q",
		"bcrypt, spare bits":         "$2a$05$EXRkfkdmXnagzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9r",
		"bcrypt, short":              "$2a$05$EXRkfkdmXnagzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9",
		"bcrypt, long":               "$2a$05$EXRkfkdmXnagzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9qq",
	} {
		t.Run(name, func(t *testing.T) {
			const pw = "swordfish"
			rehash, err := h.Verify(t.Context(), encoded, pw)
			if !errors.Is(err, password.ErrMalformed) || errors.Is(err, password.ErrMismatch) || rehash {
				t.Fatalf("got %v, %v, want false, ErrMalformed", rehash, err)
			}
			if encoded != "" && strings.Contains(err.Error(), encoded) || strings.Contains(err.Error(), pw) || len(err.Error()) > 120 {
				t.Errorf("the error shows what it was given: %v", err)
			}
			if !h.NeedsRehash(encoded) {
				t.Error("NeedsRehash is false for what is not a hash")
			}
		})
	}
	if got := h.Stats().Done; got != 0 {
		t.Errorf("%d hashes were computed, want 0: a hash is checked before any work", got)
	}
}

// Fast hashes and the like, which htpasswd files and crypt(3) hold, are no
// password hashes here.
func TestASVS_11_4_1_OtherAlgorithmsRefused(t *testing.T) {
	h := newHasher(t, password.Config{})
	for _, encoded := range []string{
		"$apr1$salt$aWUuTRhRH7MLx1ZpHGmCQ1", "$1$salt$qJH7.N4xYta3aEG/dfqo/0", "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
		"5f4dcc3b5aa765d61d8327deb882cf99", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc8",
		"$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjlO/O817G3uBnIFNjnQJuesI68OTLiBFdcbYEdFCoEOfaS35inz1",
		"$pbkdf2$600000" + goodTail, "$pbkdf2-sha1$i=600000" + goodTail, "$pbkdf2-md5$i=600000" + goodTail,
		"$argon2d$v=19$m=65536,t=2,p=1" + goodTail, "$bcrypt-sha256$v=2,t=2b,r=12" + goodTail,
	} {
		if _, err := h.Verify(t.Context(), encoded, "password"); !errors.Is(err, password.ErrMalformed) {
			t.Errorf("%q: got %v, want ErrMalformed", encoded, err)
		}
	}
}

// Caps follow the configuration.
func TestLimitsFollowTheConfiguration(t *testing.T) {
	small := newHasher(t, password.Config{MaxMemory: 19456, MaxBcryptCost: 4, MaxIterations: 600_000})
	large := newHasher(t, password.Config{})
	for _, tt := range []struct {
		name, encoded string
	}{
		{"argon2id memory", phc("pw", 19457, 1, 1, 16, 32)},
		{"bcrypt cost", bcrypted(t, "pw", 5)},
		{"scrypt memory", scrypted("pw", 15, 1)},
		{"PBKDF2 iterations", pbkdf2ed("pw", "sha256", 600_001)},
	} {
		if _, err := small.Verify(t.Context(), tt.encoded, "pw"); !errors.Is(err, password.ErrMalformed) {
			t.Errorf("%s above the cap: got %v, want ErrMalformed", tt.name, err)
		}
		if _, err := large.Verify(t.Context(), tt.encoded, "pw"); err != nil {
			t.Errorf("%s below the cap: got %v, want a match", tt.name, err)
		}
	}
}

func TestRehash(t *testing.T) {
	const pw = "correct horse"
	for _, tt := range []struct {
		name    string
		cfg     password.Config
		encoded string
		want    bool
	}{
		{"as configured", password.Config{}, phc(pw, 19456, 2, 1, 16, 32), false},
		{"stronger", password.Config{}, phc(pw, 20480, 3, 1, 16, 32), false},
		{"more lanes, same work", password.Config{}, phc(pw, 19456, 2, 4, 16, 32), false},
		{"longer salt and tag", password.Config{}, phc(pw, 19456, 2, 1, 64, 64), false},
		{"more memory in fewer passes, more work", password.Config{}, phc(pw, 47104, 1, 1, 16, 32), false},
		{"less memory", password.Config{}, phc(pw, 19455, 2, 1, 16, 32), true},
		{"less memory, more work", password.Config{}, phc(pw, 8192, 10, 1, 16, 32), true},
		{"fewer passes", password.Config{}, phc(pw, 19456, 1, 1, 16, 32), true},
		{"more memory, less work", password.Config{}, phc(pw, 20480, 1, 1, 16, 32), true},
		{"19 MiB twice where 46 MiB once is configured", password.Config{Iterations: 1}, phc(pw, 19456, 2, 1, 16, 32), true},
		{"raised since", password.Config{Iterations: 3}, phc(pw, 19456, 2, 1, 16, 32), true},
		{"short salt", password.Config{}, phc(pw, 19456, 2, 1, 15, 32), true},
		{"short tag", password.Config{}, phc(pw, 19456, 2, 1, 16, 31), true},
		{"shortest salt and tag", password.Config{}, phc(pw, 19456, 2, 1, 8, 16), true},
		{"bcrypt", password.Config{}, bcrypted(t, pw, 5), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHasher(t, tt.cfg)
			rehash, err := h.Verify(t.Context(), tt.encoded, pw)
			if err != nil || rehash != tt.want {
				t.Errorf("Verify: got %v, %v, want %v, nil", rehash, err, tt.want)
			}
			if got := h.NeedsRehash(tt.encoded); got != tt.want {
				t.Errorf("NeedsRehash: got %v, want %v", got, tt.want)
			}
			if rehash, err := h.Verify(t.Context(), tt.encoded, pw+"x"); rehash || !errors.Is(err, password.ErrMismatch) {
				t.Errorf("wrong password: got %v, %v, want false, ErrMismatch", rehash, err)
			}
		})
	}
}

// The three names are one algorithm.
func TestBcryptVariants(t *testing.T) {
	h := newHasher(t, password.Config{})
	encoded := bcrypted(t, "pw", bcrypt.MinCost)
	for _, minor := range []string{"a", "b", "y"} {
		variant := "$2" + minor + encoded[3:]
		if _, err := h.Verify(t.Context(), variant, "pw"); err != nil {
			t.Errorf("$2%s$: got %v, want a match", minor, err)
		}
		if _, err := h.Verify(t.Context(), variant, "pW"); !errors.Is(err, password.ErrMismatch) {
			t.Errorf("$2%s$, wrong password: got %v, want ErrMismatch", minor, err)
		}
	}
}

func TestDummyNeverMatches(t *testing.T) {
	for _, reference := range []string{
		"", bcrypted(t, "pw", bcrypt.MinCost), phc("pw", 1024, 1, 1, 8, 16), scrypted("pw", 10, 1), pbkdf2ed("pw", "sha256", 1),
	} {
		h := newHasher(t, password.Config{Reference: reference})
		for i, pw := range []string{"pw", "", "a\x00b", strings.Repeat("p", 4096)} {
			if err := h.Dummy(t.Context(), pw); !errors.Is(err, password.ErrMismatch) {
				t.Errorf("reference %q, password %d: got %v, want ErrMismatch", reference, i, err)
			}
			if got, want := h.Stats().Done, uint64(i)+1; got != want {
				t.Errorf("reference %q, password %d: %d hashes were computed, want %d", reference, i, got, want)
			}
		}
	}
}

// Work does not begin for a caller that has gone.
func TestEndedContext(t *testing.T) {
	h := newHasher(t, password.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Hash(ctx, "pw"); !errors.Is(err, context.Canceled) {
		t.Errorf("Hash: got %v, want context.Canceled", err)
	}
	if rehash, err := h.Verify(ctx, phc("pw", 1024, 1, 1, 16, 32), "pw"); !errors.Is(err, context.Canceled) || rehash {
		t.Errorf("Verify: got %v, %v, want false, context.Canceled", rehash, err)
	}
	if err := h.Dummy(ctx, "pw"); !errors.Is(err, context.Canceled) {
		t.Errorf("Dummy: got %v, want context.Canceled", err)
	}
	if got := h.Stats(); got != (password.Stats{}) {
		t.Errorf("got %+v, want no work", got)
	}
}

// A wait ends in ErrBusy for the callers of all three methods alike.
func TestBusy(t *testing.T) {
	// In the bubble the clock moves only when every goroutine is blocked, which
	// none is while it computes: so the waits of the others can't run out, and
	// only the queue's length decides.
	synctest.Test(t, func(t *testing.T) {
		h := newHasher(t, password.Config{MaxConcurrent: 1, MaxQueue: 1})
		encoded := phc("pw", 1024, 1, 1, 16, 32)
		var served, busy atomic.Int32
		var wg sync.WaitGroup
		for range 20 {
			for _, call := range []func() error{
				func() error { _, err := h.Hash(t.Context(), "pw"); return err },
				func() error { _, err := h.Verify(t.Context(), encoded, "pw"); return err },
				func() error { return h.Dummy(t.Context(), "pw") },
			} {
				wg.Go(func() {
					switch err := call(); {
					case err == nil, errors.Is(err, password.ErrMismatch):
						served.Add(1)
					case errors.Is(err, password.ErrBusy):
						busy.Add(1)
					default:
						t.Errorf("got %v, want nil, ErrMismatch or ErrBusy", err)
					}
				})
			}
		}
		wg.Wait()
		if served.Load() < 2 || served.Load()+busy.Load() != 60 {
			t.Errorf("%d served and %d refused, want 60 in all", served.Load(), busy.Load())
		}
		got := h.Stats()
		if got.Running != 0 || got.Waiting != 0 || int32(got.Done) != served.Load() || int32(got.Refused) != busy.Load() { //nolint:gosec // at most 60
			t.Errorf("got %+v, want %d done, %d refused and nobody left", got, served.Load(), busy.Load())
		}
	})
}

// What the bound is for: many logins at a time take the memory of a few.
func TestASVS_15_2_2_PeakMemoryIsBounded(t *testing.T) {
	const callers, slots = 40, 2
	h := newHasher(t, password.Config{MaxConcurrent: slots, MaxWait: 10 * time.Minute})
	sample := func() uint64 {
		s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	before := sample()
	var peak atomic.Uint64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			if _, err := h.Hash(t.Context(), "pw"); err != nil {
				t.Error(err)
			}
			// Others are at work while this one reads.
			for now := sample(); ; {
				old := peak.Load()
				if now <= old || peak.CompareAndSwap(old, now) {
					return
				}
			}
		})
	}
	wg.Wait()
	// Garbage may be as much as what is in use, and some is made meanwhile.
	const limit = 2*slots*(19<<20) + (64 << 20)
	if got := peak.Load() - min(before, peak.Load()); got > limit {
		t.Errorf("%d MiB at the peak, want at most %d for %d hashes of 19 MiB at a time", got>>20, limit>>20, slots)
	}
}

// Neither a password nor a hash is in an error or in a printed Hasher.
func TestSecretsStayInside(t *testing.T) {
	const secret = "s3cr3t-swordfish"
	encoded := bcrypted(t, secret, bcrypt.MinCost)
	h := newHasher(t, password.Config{MaxLength: 64, Reference: encoded})
	_, tooLong := h.Hash(t.Context(), strings.Repeat(secret, 10))
	_, nul := h.Hash(t.Context(), secret+"\x00")
	_, notUTF8 := h.Hash(t.Context(), secret+"\xff")
	_, mismatch := h.Verify(t.Context(), encoded, secret+"x")
	_, malformed := h.Verify(t.Context(), encoded+secret, secret)
	_, reference := password.New(password.Config{Reference: secret + encoded})
	for name, v := range map[string]any{
		"too long": tooLong, "NUL": nul, "UTF-8": notUTF8, "mismatch": mismatch, "malformed": malformed,
		"reference": reference, "dummy": h.Dummy(t.Context(), secret), "Hasher": h,
	} {
		if v == nil {
			t.Errorf("%s: no error", name)
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			got := fmt.Sprintf(verb, v)
			if strings.Contains(got, secret) || strings.Contains(got, encoded[7:]) {
				t.Errorf("%s with %s shows a secret: %s", name, verb, got)
			}
		}
	}
}
