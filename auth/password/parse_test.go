package password

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/sallyport/sallyport/internal/vectors"
)

func TestVectorsArgon2(t *testing.T) {
	var file struct {
		Valid []struct {
			Type     string
			Version  int
			Memory   uint32 `json:"m_kib"`
			Password string
			PHC      string
		}
		Negative []struct{ Why, PHC, Password string }
		Ours     []struct{ Why, PHC string } `json:"ours_negative"`
	}
	if err := json.Unmarshal(vectors.Read(t, "phc", "argon2.json"), &file); err != nil {
		t.Fatal(err)
	}
	h, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	var verified int
	for _, v := range file.Valid {
		rehash, err := h.Verify(t.Context(), v.PHC, v.Password)
		if v.Version != 19 || v.Memory > 256<<10 {
			// Right, but not ours: version 16 is weaker, and 1 GiB is too much.
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: got %v, want ErrMalformed", v.PHC, err)
			}
			continue
		}
		if err != nil || !rehash && v.Type == "argon2i" {
			t.Errorf("%s: got %v, %v, want a match, and argon2i to be made anew", v.PHC, rehash, err)
		}
		verified++
		if v.Memory > 256 {
			continue // only the small ones twice
		}
		if _, err := h.Verify(t.Context(), v.PHC, v.Password+"x"); !errors.Is(err, ErrMismatch) {
			t.Errorf("%s with a wrong password: got %v, want ErrMismatch", v.PHC, err)
		}
	}
	if verified < 16 {
		t.Errorf("%d vectors were verified, want at least 16", verified)
	}
	for _, v := range file.Negative {
		if _, err := h.Verify(t.Context(), v.PHC, v.Password); err == nil {
			t.Errorf("%s (%s): got a match", v.PHC, v.Why)
		}
	}
	before := h.Stats().Done
	for _, v := range file.Ours {
		if _, err := h.Verify(t.Context(), v.PHC, "password"); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s (%s): got %v, want ErrMalformed", v.PHC, v.Why, err)
		}
	}
	if got := h.Stats().Done - before; got != 0 || len(file.Ours) == 0 {
		t.Errorf("%d hashes were computed for %d hostile strings, want 0", got, len(file.Ours))
	}
}

func TestVectorsBcrypt(t *testing.T) {
	var file struct {
		Valid []struct {
			Password string `json:"password_hex"`
			Hash     string
		}
		Malformed []string `json:"malformed_or_over_cap"`
	}
	if err := json.Unmarshal(vectors.Read(t, "phc", "bcrypt.json"), &file); err != nil {
		t.Fatal(err)
	}
	h, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	var verified, refused int
	for _, v := range file.Valid {
		pw, err := hex.DecodeString(v.Password)
		if err != nil {
			t.Fatal(err)
		}
		rehash, err := h.Verify(t.Context(), v.Hash, string(pw))
		if len(pw) == 0 || len(pw) > 72 {
			// bcrypt has an answer to these; we don't take it.
			if !errors.Is(err, ErrMismatch) {
				t.Errorf("%s with %d bytes: got %v, want ErrMismatch", v.Hash, len(pw), err)
			}
			refused++
			continue
		}
		if err != nil || !rehash {
			t.Errorf("%s: got %v, %v, want true, nil", v.Hash, rehash, err)
		}
		verified++
		if !strings.HasPrefix(v.Hash[4:], "05") {
			continue // only the cheap ones twice
		}
		if _, err := h.Verify(t.Context(), v.Hash, "x"+string(pw[1:])); !errors.Is(err, ErrMismatch) {
			t.Errorf("%s with a wrong password: got %v, want ErrMismatch", v.Hash, err)
		}
	}
	if verified < 18 || refused != 5 {
		t.Errorf("%d verified and %d refused, want at least 18 and 5", verified, refused)
	}
	before := h.Stats().Done
	for _, encoded := range file.Malformed {
		if _, err := h.Verify(t.Context(), encoded, "password"); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: got %v, want ErrMalformed", encoded, err)
		}
	}
	if got := h.Stats().Done - before; got != 0 || len(file.Malformed) == 0 {
		t.Errorf("%d hashes were computed for %d bad strings, want 0", got, len(file.Malformed))
	}
}

// An unknown account costs what the accounts of the store cost: same algorithm,
// same parameters. In GO-2026-4792 and GO-2026-5195 (Traefik) and GO-2026-5886
// (Fiber) it did not.
func TestGO_2026_5886_DummyCostsLikeTheStore(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  Config
		want string // what the dummy begins with
	}{
		{"default", Config{}, "$argon2id$v=19$m=19456,t=2,p=1$"},
		{"configured", Config{Memory: 64 << 10, Iterations: 3, Parallelism: 4}, "$argon2id$v=19$m=65536,t=3,p=4$"},
		{"scrypt", Config{Algorithm: Scrypt}, "$scrypt$ln=17,r=8,p=1$"},
		{"PBKDF2", Config{Algorithm: PBKDF2SHA512}, "$pbkdf2-sha512$i=210000$"},
		{"bcrypt", Config{Algorithm: Bcrypt, BcryptCost: 11}, "$2b$11$"},
		{"peppered", Config{Peppers: []Pepper{{ID: "p", Key: make([]byte, 32)}}}, "$hmac-sha256$keyid=p$argon2id$v=19$m=19456,t=2,p=1$"},
		{"PBKDF2 store of passlib", Config{Reference: "$pbkdf2-sha256$1000$1loLAWCM8X4PQWhtba2Vsg$fvx2W8O5SVshEXetqvfpAcRiKR5WrO/yDlr2xcXZJEQ"}, "$pbkdf2-sha256$1000$"},
		{"scrypt store", Config{Reference: "$scrypt$ln=10,r=8,p=1$cu5d673XOgfAmFPqHaMU4g$tcL4fxI46RKVr5yJ0xTYzmT4zJ31ldR1A1yugSip9Bg"}, "$scrypt$ln=10,r=8,p=1$"},
		{"bcrypt store", Config{Reference: "$2y$12$EXRkfkdmXnagzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9q"}, "$2b$12$"},
		{
			"older argon2id store",
			Config{Reference: "$argon2id$v=19$m=4096,t=3,p=2$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"},
			"$argon2id$v=19$m=4096,t=3,p=2$",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, err := New(tt.cfg)
			if err != nil {
				t.Fatal(err)
			}
			got := h.dummy.String()
			if !strings.HasPrefix(got, tt.want) || len(tt.cfg.Reference) != 0 && len(got) != len(tt.cfg.Reference) {
				t.Errorf("got dummy %q, want %s…", got, tt.want)
			}
			// Random, so that there is no known password for it.
			if tt.cfg.Reference != "" && got[len(tt.want):] == tt.cfg.Reference[len(tt.want):] {
				t.Error("the dummy is the reference itself")
			}
			other, err := New(tt.cfg)
			if err != nil {
				t.Fatal(err)
			}
			if again := other.dummy.String(); got[len(got)-22:] == again[len(again)-22:] {
				t.Errorf("two dummies have one tag: %q and %q", got, again)
			}
			// And it is a hash that Verify would take.
			if _, err := h.limits.parse(got); err != nil {
				t.Errorf("the dummy %q is no hash: %v", got, err)
			}
		})
	}
}

// What is too long is not even divided into fields.
func TestVeryLongHashIsNotRead(t *testing.T) {
	l := limits{memory: 64 << 10, iterations: 1_000_000, bcryptCost: 12, peppers: []Pepper{{ID: "2026", Key: make([]byte, 32)}}}
	long := argon2idPrefix + "v=19$" + strings.Repeat("$", 1<<20)
	if got := testing.AllocsPerRun(10, func() {
		if _, err := l.parse(long); !errors.Is(err, ErrMalformed) {
			t.Errorf("got %v, want ErrMalformed", err)
		}
	}); got > 5 {
		t.Errorf("got %v allocations, want those of the error alone", got)
	}
	if h, err := l.parse(long[:maxEncoded+1]); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("got %v, %v, want an error that says it is too long", h, err)
	}
}

// What is accepted is within the limits, is written back as it was read, and
// can be computed without a panic.
func FuzzParse(f *testing.F) {
	const tail = "$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	for _, s := range []string{
		"", "$", "$2", "$argon2id$", "$argon2id$v=19$m=19456,t=2,p=1" + tail, "$argon2id$v=19$m=8,t=1,p=1" + tail,
		"$argon2id$v=19$m=2040,t=1,p=255" + tail, "$argon2id$v=19$m=0,t=0,p=0" + tail, "$argon2id$v=19$m=+8,t=1,p=1" + tail,
		"$argon2id$v=19$m=4294967295,t=4294967295,p=255" + tail, "$argon2id$v=19$m=8,t=1,p=1$c29t\nZXNhbHQ$AA",
		"$2a$04$EXRkfkdmXnagzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9q",
		"$2x$04$EXRkfkdmXnagzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9q",
		"$2y$31$EXRkfkdmXnagzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9q",
		"$argon2i$v=19$m=8,t=1,p=1" + tail, "$argon2i$v=16$m=8,t=1,p=1" + tail,
		"$scrypt$ln=1,r=1,p=1" + tail, "$scrypt$ln=17,r=8,p=1" + tail, "$scrypt$ln=24,r=64,p=64" + tail, "$scrypt$ln=0,r=0,p=0" + tail,
		"$pbkdf2-sha256$i=1" + tail, "$pbkdf2-sha512$i=1,l=32" + tail, "$pbkdf2-sha256$1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GR.Pc",
		"$pbkdf2-sha1$1" + tail, "$pbkdf2-sha256$i=1,l=31" + tail, "$pbkdf2-sha256$4294967295" + tail,
		"$hmac-sha256$keyid=2026$argon2id$v=19$m=8,t=1,p=1" + tail, "$hmac-sha256$keyid=2025$argon2id$v=19$m=8,t=1,p=1" + tail,
		"$hmac-sha256$keyid=2026$hmac-sha256$keyid=2026$pbkdf2-sha256$i=1" + tail, "$hmac-sha256$keyid=$2a$04$", "$hmac-sha256$",
	} {
		f.Add(s)
	}
	l := limits{memory: 64 << 10, iterations: 1_000_000, bcryptCost: 12, peppers: []Pepper{{ID: "2026", Key: make([]byte, 32)}}}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := l.parse(s)
		if err != nil {
			if h != nil || !errors.Is(err, ErrMalformed) {
				t.Fatalf("got %v, %v, want nil, ErrMalformed", h, err)
			}
			if strings.Contains(s, "$") && strings.Contains(err.Error(), s) || len(err.Error()) > 120 {
				t.Fatalf("the error shows the hash: %v", err)
			}
			return
		}
		if got := h.String(); got != s {
			t.Fatalf("%q was read as %q", s, got)
		}
		if len(s) > maxEncoded {
			t.Fatalf("%d bytes were accepted", len(s))
		}
		if p, ok := h.(pepperedHash); ok {
			h, s = p.storedHash, s[len("$hmac-sha256$keyid=2026"):]
		}
		cheap := false
		switch h := h.(type) {
		case argon2Hash:
			if h.memory > l.memory || h.memory < 8*uint32(h.lanes) || h.passes < 1 || h.passes > 255 || h.lanes < 1 ||
				h.work() > maxRounds*uint64(l.memory) || len(h.salt) < 8 || len(h.salt) > 64 || len(h.tag) < 16 || len(h.tag) > 64 {
				t.Fatalf("%q is out of range", s)
			}
			cheap = h.work() <= 64
		case scryptHash:
			if bytes := uint64(128) * uint64(h.r) << h.logN; bytes > uint64(l.memory)<<10 || bytes*uint64(h.p) > maxRounds*uint64(l.memory)<<10 ||
				h.r < 1 || h.p < 1 || len(h.salt) < 8 || len(h.salt) > 64 || len(h.tag) < 16 || len(h.tag) > 64 {
				t.Fatalf("%q is out of range", s)
			}
			cheap = h.memory()*h.p <= 64
		case pbkdf2Hash:
			if h.iterations < 1 || h.iterations > l.iterations || len(h.salt) < 8 || len(h.salt) > 64 || len(h.tag) < 16 || len(h.tag) > 64 {
				t.Fatalf("%q is out of range", s)
			}
			cheap = h.iterations <= 10
		case bcryptHash:
			cost, err := bcrypt.Cost([]byte(s))
			if err != nil || cost != h.cost || cost > l.bcryptCost {
				t.Fatalf("%q: cost %d, x/crypto says %d, %v", s, h.cost, cost, err)
			}
		default:
			t.Fatalf("%q is a %T", s, h)
		}
		if cheap {
			if _, err := h.matches("pw"); err != nil {
				t.Fatalf("%q: %v", s, err)
			}
		}
	})
}
