package password_test

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/crypto/scrypt"

	"github.com/sallyport/sallyport/auth/password"
)

// scrypted makes a PHC string that Hash would not.
func scrypted(pw string, logN, lanes int) string {
	tag, err := scrypt.Key([]byte(pw), []byte("0123456789abcdef"), 1<<logN, 8, lanes, 32)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("$scrypt$ln=%d,r=8,p=%d$%s$%s", logN, lanes, b64("0123456789abcdef"), b64(string(tag)))
}

// pbkdf2ed makes a PHC string that Hash would not.
func pbkdf2ed(pw, digest string, iterations int) string {
	f := map[string]func() hash.Hash{"sha256": sha256.New, "sha512": sha512.New}[digest]
	tag, err := pbkdf2.Key(f, pw, []byte("0123456789abcdef"), iterations, 32)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("$pbkdf2-%s$i=%d$%s$%s", digest, iterations, b64("0123456789abcdef"), b64(string(tag)))
}

func b64(s string) string { return base64.RawStdEncoding.EncodeToString([]byte(s)) }

// peppers returns keys of these names, each a different one.
func peppers(ids ...string) []password.Pepper {
	var all []password.Pepper
	for _, id := range ids {
		key := sha256.Sum256([]byte(id))
		all = append(all, password.Pepper{ID: id, Key: key[:]})
	}
	return all
}

// peppered returns a new hash that depends on the pepper of that name.
func peppered(t testing.TB, id, pw string) string {
	t.Helper()
	encoded, err := newHasher(t, password.Config{Peppers: peppers(id)}).Hash(t.Context(), pw)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

// Each algorithm makes what it verifies, at the floor of ASVS 5.0, 11.4.2 and
// appendix C, and says of it that it need not be made anew.
func TestASVS_11_4_2_EachAlgorithm(t *testing.T) {
	const salt, tag = `\$[A-Za-z0-9+/]{22}`, `\$[A-Za-z0-9+/]{43}$`
	for _, tt := range []struct {
		algorithm password.Algorithm
		want      string
	}{
		{password.Argon2id, `^\$argon2id\$v=19\$m=19456,t=2,p=1` + salt + tag},
		{password.Scrypt, `^\$scrypt\$ln=17,r=8,p=1` + salt + tag},
		{password.PBKDF2SHA512, `^\$pbkdf2-sha512\$i=210000` + salt + tag},
		{password.PBKDF2SHA256, `^\$pbkdf2-sha256\$i=600000` + salt + tag},
		{password.Bcrypt, `^\$2a\$12\$[./A-Za-z0-9]{53}$`},
	} {
		t.Run(tt.algorithm.String(), func(t *testing.T) {
			h := newHasher(t, password.Config{Algorithm: tt.algorithm})
			encoded, err := h.Hash(t.Context(), "pässword")
			if err != nil || !regexp.MustCompile(tt.want).MatchString(encoded) {
				t.Fatalf("got %q, %v, want the form %s", encoded, err, tt.want)
			}
			if rehash, err := h.Verify(t.Context(), encoded, "pässword"); err != nil || rehash {
				t.Errorf("right password: got %v, %v, want false, nil", rehash, err)
			}
			if _, err := h.Verify(t.Context(), encoded, "pässwor"); !errors.Is(err, password.ErrMismatch) {
				t.Errorf("wrong password: got %v, want ErrMismatch", err)
			}
			if got := h.Stats().Done; got != 3 {
				t.Errorf("%d hashes were computed, want 3: one for each call", got)
			}
		})
	}
}

// What was made with one configuration under another. Only what a hash says of
// itself is read, so the tags are of no password.
func TestNeedsRehash(t *testing.T) {
	const tail = "$MDEyMzQ1Njc4OWFiY2RlZg$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	const argon2id, bcrypt = "$argon2id$v=19$m=19456,t=2,p=1" + tail, "$2b$12$EXRkfkdmXnagzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9q"
	scrypt := password.Config{Algorithm: password.Scrypt}
	twoLanes := password.Config{Algorithm: password.Scrypt, Parallelism: 2}
	pbkdf2 := password.Config{Algorithm: password.PBKDF2SHA512}
	for _, tt := range []struct {
		name    string
		cfg     password.Config
		encoded string
		want    bool
	}{
		{"argon2i", password.Config{}, "$argon2i$v=19$m=19456,t=2,p=1" + tail, true},
		{"scrypt where argon2id is configured", password.Config{}, "$scrypt$ln=17,r=8,p=1" + tail, true},
		{"scrypt as configured", scrypt, "$scrypt$ln=17,r=8,p=1" + tail, false},
		{"scrypt with as much memory in another shape", scrypt, "$scrypt$ln=16,r=16,p=1" + tail, false},
		{"scrypt with less memory in more lanes", scrypt, "$scrypt$ln=16,r=8,p=2" + tail, true},
		{"scrypt with fewer lanes", twoLanes, "$scrypt$ln=16,r=8,p=1" + tail, true},
		{"scrypt with more memory in fewer lanes", twoLanes, "$scrypt$ln=17,r=8,p=1" + tail, false},
		{"scrypt with a short salt", scrypt, "$scrypt$ln=17,r=8,p=1" + goodTail, true},
		{"argon2id where scrypt is configured", scrypt, argon2id, true},
		{"PBKDF2 as configured", pbkdf2, "$pbkdf2-sha512$i=210000" + tail, false},
		{"PBKDF2 of passlib, as strong", pbkdf2, "$pbkdf2-sha512$210000" + tail, false},
		{"PBKDF2 with fewer iterations", pbkdf2, "$pbkdf2-sha512$i=209999" + tail, true},
		{"PBKDF2 with a short salt", pbkdf2, "$pbkdf2-sha512$i=210000" + goodTail, true},
		{"PBKDF2 with another digest", pbkdf2, "$pbkdf2-sha256$i=600000" + tail, true},
		{"argon2id where PBKDF2 is configured", pbkdf2, argon2id, true},
		{"bcrypt as configured", password.Config{Algorithm: password.Bcrypt}, bcrypt, false},
		{"bcrypt of more cost", password.Config{Algorithm: password.Bcrypt, BcryptCost: 10}, bcrypt, false},
		{"bcrypt of less cost", password.Config{Algorithm: password.Bcrypt, BcryptCost: 13}, bcrypt, true},
		{"no pepper where one is configured", password.Config{Peppers: peppers("a")}, argon2id, true},
		{"the first pepper", password.Config{Peppers: peppers("a", "b")}, "$hmac-sha256$keyid=a" + argon2id, false},
		{"the first pepper of a weak hash", password.Config{Peppers: peppers("a")}, "$hmac-sha256$keyid=a" + bcrypt, true},
		{"an older pepper", password.Config{Peppers: peppers("b", "a")}, "$hmac-sha256$keyid=a" + argon2id, true},
		{"a pepper that is gone", password.Config{Peppers: peppers("b")}, "$hmac-sha256$keyid=a" + argon2id, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := newHasher(t, tt.cfg).NeedsRehash(tt.encoded); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// What others write for the password "pässword 1".
func TestHashesOfOthers(t *testing.T) {
	h := newHasher(t, password.Config{})
	for name, encoded := range map[string]string{
		"passlib, pbkdf2_sha256": "$pbkdf2-sha256$1000$1loLAWCM8X4PQWhtba2Vsg$fvx2W8O5SVshEXetqvfpAcRiKR5WrO/yDlr2xcXZJEQ",
		"passlib, pbkdf2_sha512": "$pbkdf2-sha512$1000$NyaktLb2npOy9p6zFmLsnQ$WG21Zeiy8jn6hS9s/VXY7prbU.bdmx6fURLt27812VFtFuivFu7.gqBjST1r5/.8CY3859n5YRJ2/yYtifOchg",
		"passlib, scrypt":        "$scrypt$ln=10,r=8,p=1$cu5d673XOgfAmFPqHaMU4g$tcL4fxI46RKVr5yJ0xTYzmT4zJ31ldR1A1yugSip9Bg",
		"passlib, argon2id":      "$argon2id$v=19$m=1024,t=2,p=2$s3YuhVCqdQ5hrNWaM6YUQg$nYLjwEjxzxAFBi43jNkOCA",
		"passlib, argon2i":       "$argon2i$v=19$m=1024,t=2,p=2$em9tbW0thXDOGcMYg/D+fw$Oo05Z7gRrDVCXlfxtUyDBQ",
		"passlib, bcrypt 2b":     "$2b$05$FQu61HPC7e.m7IkPeydeSeTNZfktP/DoaM06Ox.ZDXU06XO98bnf2",
		"passlib, bcrypt 2a":     "$2a$05$sMbKk1PHgMjTNf2fb9mk9eOgHux7nekzE5lpnNG3s1LYIt./7OU4C",
		"htpasswd -B":            "$2y$05$j7pQG3p6Yr1WR.HrM5LjOueKWOsfK3n.yFRP/YFhShHJVbwHas.Eq",
		"PHC with a length":      "$pbkdf2-sha256$i=1000,l=32$1loLAWCM8X4PQWhtba2Vsg$fvx2W8O5SVshEXetqvfpAcRiKR5WrO/yDlr2xcXZJEQ",
	} {
		t.Run(name, func(t *testing.T) {
			if rehash, err := h.Verify(t.Context(), encoded, "pässword 1"); err != nil || !rehash {
				t.Errorf("got %v, %v, want true, nil", rehash, err)
			}
			if _, err := h.Verify(t.Context(), encoded, "pässword 2"); !errors.Is(err, password.ErrMismatch) {
				t.Errorf("another password: got %v, want ErrMismatch", err)
			}
		})
	}
}

// RFC 7914, section 12: the vector whose salt is long enough.
func TestRFC7914_12_Scrypt(t *testing.T) {
	tag, err := hex.DecodeString("7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2" +
		"d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887")
	if err != nil {
		t.Fatal(err)
	}
	encoded := "$scrypt$ln=14,r=8,p=1$" + b64("SodiumChloride") + "$" + b64(string(tag))
	if _, err := newHasher(t, password.Config{}).Verify(t.Context(), encoded, "pleaseletmein"); err != nil {
		t.Errorf("got %v, want a match", err)
	}
}

// bcrypt reads 72 bytes, so a longer password is refused where one is made, and
// nowhere cut (ASVS 5.0, 6.2.8). With a pepper it reads all of it.
func TestNewBcryptHashOfALongPassword(t *testing.T) {
	h := newHasher(t, password.Config{Algorithm: password.Bcrypt, BcryptCost: 10})
	if _, err := h.Hash(t.Context(), strings.Repeat("p", 72)); err != nil {
		t.Errorf("72 bytes: %v", err)
	}
	if _, err := h.Hash(t.Context(), strings.Repeat("p", 73)); !errors.Is(err, password.ErrTooLong) {
		t.Errorf("73 bytes: got %v, want ErrTooLong", err)
	}
	h = newHasher(t, password.Config{Algorithm: password.Bcrypt, BcryptCost: 10, Peppers: peppers("a")})
	long := strings.Repeat("p", 200)
	encoded, err := h.Hash(t.Context(), long)
	if err != nil {
		t.Fatal(err)
	}
	for pw, want := range map[string]error{long: nil, long[1:]: password.ErrMismatch, long[:72]: password.ErrMismatch, long + "p": password.ErrMismatch} {
		if _, err := h.Verify(t.Context(), encoded, pw); !errors.Is(err, want) {
			t.Errorf("%d bytes: got %v, want %v", len(pw), err, want)
		}
	}
}

// A pepper is taken from what Config said when the Hasher was made, and from
// nowhere else; one of the same name with another key verifies nothing.
func TestPepper(t *testing.T) {
	keys := peppers("a", "b")
	h := newHasher(t, password.Config{Peppers: keys})
	encoded := peppered(t, "a", "pw")
	clear(keys[0].Key)
	keys[0].ID = "c"
	if rehash, err := h.Verify(t.Context(), encoded, "pw"); err != nil || rehash {
		t.Errorf("after the caller changed its slice: got %v, %v, want false, nil", rehash, err)
	}
	other := newHasher(t, password.Config{Peppers: []password.Pepper{{ID: "a", Key: make([]byte, 32)}}})
	if _, err := other.Verify(t.Context(), encoded, "pw"); !errors.Is(err, password.ErrMismatch) {
		t.Errorf("another key of the name: got %v, want ErrMismatch", err)
	}
	// Neither the bare hash nor the name of another key will do.
	bare := strings.TrimPrefix(encoded, "$hmac-sha256$keyid=a")
	for _, s := range []string{bare, "$hmac-sha256$keyid=b" + bare} {
		if _, err := h.Verify(t.Context(), s, "pw"); !errors.Is(err, password.ErrMismatch) {
			t.Errorf("%s: got %v, want ErrMismatch", s, err)
		}
	}
	if _, err := h.Verify(t.Context(), "$hmac-sha256$keyid=a"+encoded, "pw"); !errors.Is(err, password.ErrMalformed) {
		t.Errorf("a pepper behind a pepper: got %v, want ErrMalformed", err)
	}
	// The rotation: the old hash verifies, is made anew, and then needs the new key alone.
	rotated := newHasher(t, password.Config{Peppers: peppers("b", "a")})
	if rehash, err := rotated.Verify(t.Context(), encoded, "pw"); err != nil || !rehash {
		t.Errorf("after the rotation: got %v, %v, want true, nil", rehash, err)
	}
	renewed, err := rotated.Hash(t.Context(), "pw")
	if err != nil {
		t.Fatal(err)
	}
	if rehash, err := newHasher(t, password.Config{Peppers: peppers("b")}).Verify(t.Context(), renewed, "pw"); err != nil || rehash {
		t.Errorf("without the old key: got %v, %v, want false, nil", rehash, err)
	}
}

func TestPepperStaysInside(t *testing.T) {
	key := []byte("s3cr3t-swordfish-s3cr3t-swordfish")
	p := password.Pepper{ID: "2026", Key: key}
	h := newHasher(t, password.Config{Peppers: []password.Pepper{p}})
	for _, v := range []any{p, &p, []password.Pepper{p}, password.Config{Peppers: []password.Pepper{p}}, h, *h} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x", "%q"} {
			got := fmt.Sprintf(verb, v)
			if strings.Contains(got, "s3cr3t") || strings.Contains(got, "115 51 99") || strings.Contains(got, hex.EncodeToString(key[:4])) {
				t.Errorf("%T with %s shows the key: %s", v, verb, got)
			}
		}
	}
	if b, err := json.Marshal(p); err == nil {
		t.Errorf("got %s, want no JSON", b)
	}
}

// ASVS 5.0, 6.2.9: pass phrases of 64 characters and more are taken, and all of each
// counts. bcrypt refuses what it would not read.
func TestASVS_6_2_9_LongPassPhrases(t *testing.T) {
	for _, n := range []int{64, 128} {
		phrase := strings.Repeat("pass phrase ", 12)[:n]
		for _, cfg := range []password.Config{{}, {Algorithm: password.Bcrypt, BcryptCost: 10}, {Algorithm: password.Bcrypt, BcryptCost: 10, Peppers: peppers("a")}} {
			h := newHasher(t, cfg)
			encoded, err := h.Hash(t.Context(), phrase)
			if cfg.Algorithm == password.Bcrypt && cfg.Peppers == nil && n > 72 {
				if !errors.Is(err, password.ErrTooLong) {
					t.Errorf("%v, %d characters: got %v, want ErrTooLong", cfg.Algorithm, n, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%v, %d characters: %v", cfg.Algorithm, n, err)
				continue
			}
			if _, err := h.Verify(t.Context(), encoded, phrase); err != nil {
				t.Errorf("%v, %d characters: %v", cfg.Algorithm, n, err)
			}
			if _, err := h.Verify(t.Context(), encoded, phrase[:n-1]+"!"); !errors.Is(err, password.ErrMismatch) {
				t.Errorf("%v, %d characters, the last another one: got %v, want ErrMismatch", cfg.Algorithm, n, err)
			}
		}
	}
}
