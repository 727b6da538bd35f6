package apikey_test

import (
	"cmp"
	"errors"
	"hash/crc32"
	"math"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/apikey"
)

func TestMint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(1500 * time.Millisecond) // not on a second
		now := time.Now()
		scopes, roles := []string{"items:read"}, []string{"editor"}
		plain, rec := mint(t, apikey.MintConfig{Prefix: "acme", Subject: "alice", Name: "laptop", Scopes: scopes, Roles: roles, Lifetime: time.Hour})
		scopes[0], roles[0] = "changed", "changed"
		want := apikey.Record{
			ID: plain[5:21], Hash: rec.Hash, Prefix: "acme", Subject: "alice", Name: "laptop", Scopes: []string{"items:read"}, Roles: []string{"editor"},
			Created: now.Truncate(time.Second).UTC(), Expires: now.Add(time.Hour + time.Second/2).UTC(),
		}
		if !reflect.DeepEqual(rec, want) {
			t.Errorf("got %s %+v, want %+v", rec, reflect.ValueOf(rec), reflect.ValueOf(want))
		}
		if len(plain) != len("acme_")+16+1+32+7 || !strings.HasPrefix(plain, "acme_"+rec.ID+"_") {
			t.Errorf("got the key %s", plain)
		}
		if strings.Contains(rec.Hash, plain[22:54]) {
			t.Errorf("the record has the secret: %s", rec.Hash)
		}
		if _, rec := mint(t, apikey.MintConfig{Subject: "alice"}); rec.Expires.Sub(rec.Created).Round(24*time.Hour) != 365*24*time.Hour {
			t.Errorf("got from %s to %s by default, want 365 days", rec.Created, rec.Expires)
		}
		if _, rec := mint(t, apikey.MintConfig{Subject: "alice", NeverExpires: true}); !rec.Expires.IsZero() {
			t.Errorf("got %s, want no end", rec.Expires)
		}
	})
}

func TestMintRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, field string
		cfg         apikey.MintConfig
	}{
		{"no subject", "Subject", apikey.MintConfig{}},
		{"a short prefix", "Prefix", apikey.MintConfig{Subject: "alice", Prefix: "s"}},
		{"a long prefix", "Prefix", apikey.MintConfig{Subject: "alice", Prefix: strings.Repeat("s", 17)}},
		{"upper case", "Prefix", apikey.MintConfig{Subject: "alice", Prefix: "SK"}},
		{"an underscore", "Prefix", apikey.MintConfig{Subject: "alice", Prefix: "sk_live"}},
		{"a letter that is not ASCII", "Prefix", apikey.MintConfig{Subject: "alice", Prefix: "ключ"}},
		{"a negative lifetime", "Lifetime", apikey.MintConfig{Subject: "alice", Lifetime: -1}},
		{"two lifetimes", "Lifetime", apikey.MintConfig{Subject: "alice", Lifetime: 1, NeverExpires: true}},
		{"an empty scope", "Scopes", apikey.MintConfig{Subject: "alice", Scopes: []string{""}}},
		{"two scopes in one", "Scopes", apikey.MintConfig{Subject: "alice", Scopes: []string{"a b"}}},
		{"a scope with a quote", "Scopes", apikey.MintConfig{Subject: "alice", Scopes: []string{`a"`}}},
		{"an empty role", "Roles", apikey.MintConfig{Subject: "alice", Roles: []string{"a", ""}}},
		{"a short environment", "Environment", apikey.MintConfig{Subject: "alice", Environment: "a"}},
		{"a long environment", "Environment", apikey.MintConfig{Subject: "alice", Environment: "abcdefgh123456789"}},
		{"an environment with two parts", "Environment", apikey.MintConfig{Subject: "alice", Environment: "eu_live"}},
		{"an environment in upper case", "Environment", apikey.MintConfig{Subject: "alice", Environment: "LIVE"}},
		{"no network", "Networks", apikey.MintConfig{Subject: "alice", Networks: []netip.Prefix{{}}}},
		{"an address in a network", "Networks", apikey.MintConfig{Subject: "alice", Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}}},
		{"a mapped network", "Networks", apikey.MintConfig{Subject: "alice", Networks: []netip.Prefix{netip.MustParsePrefix("::ffff:192.0.2.0/120")}}},
		{"a pepper without an ID", "Pepper.ID", apikey.MintConfig{Subject: "alice", Pepper: apikey.Pepper{Key: make([]byte, 32)}}},
		{"a pepper with a colon", "Pepper.ID", apikey.MintConfig{Subject: "alice", Pepper: apikey.Pepper{ID: "a:b", Key: make([]byte, 32)}}},
		{"a pepper without a key", "Pepper.Key", apikey.MintConfig{Subject: "alice", Pepper: apikey.Pepper{ID: "a"}}},
		{"a pepper with a short key", "Pepper.Key", apikey.MintConfig{Subject: "alice", Pepper: apikey.Pepper{ID: "a", Key: make([]byte, 31)}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plain, rec, err := apikey.Mint(tt.cfg)
			if err == nil || plain != "" || !reflect.DeepEqual(rec, apikey.Record{}) {
				t.Fatalf("got %q, %v, %v, want an error alone", plain, rec, err)
			}
			if !strings.Contains(err.Error(), tt.field) {
				t.Errorf("got %q, want it to name %s", err, tt.field)
			}
		})
	}
}

// OWASP ASVS 5.0, 6.5.2: secrets of 112 bits and more may be kept as a plain hash.
func TestASVS_6_5_2_MintedKeysHave160Bits(t *testing.T) {
	const n = 2000
	seen := make(map[string]bool)
	var count [48][256]int // at each place of id and secret
	for range n {
		plain, rec := mint(t, apikey.MintConfig{Subject: "alice"})
		secret := plain[20:52]
		if seen[rec.ID] || seen[secret] {
			t.Fatalf("%s came twice", plain)
		}
		seen[rec.ID], seen[secret] = true, true
		for i, c := range []byte(rec.ID + secret) {
			count[i][c]++
		}
	}
	for i := range count {
		for _, c := range []byte("0123456789abcdefghjkmnpqrstvwxyz") {
			// 62.5 are expected. A fair source misses these bounds once in 10^9 runs.
			if got := count[i][c]; got < 15 || got > 130 {
				t.Errorf("%c stands %d times in %d at place %d of id and secret", c, got, n, i)
			}
		}
	}
}

// OWASP ASVS 5.0, 6.5.2: there is no way to use a key that somebody chose.
func TestASVS_6_5_2_ShortCustomKeyIsRefused(t *testing.T) {
	for _, key := range []string{"letmein", "admin", "sk_letmein", "sk_0123456789abcdef_letmein", "changeme-changeme-changeme-changeme-changeme-changeme-chang"} {
		_, rec := mint(t, apikey.MintConfig{Subject: "alice"})
		rec.Hash = sha256Hex(key)
		rec.ID = key
		if err := rec.Validate(); err == nil {
			t.Errorf("a record with the id %q is valid", key)
		}
		if err := new(apikey.MemoryStore).Add(t.Context(), rec); err == nil {
			t.Errorf("a key %q was added", key)
		}
		g := guard(t, apikey.Config{Store: storeFunc(everything(rec))})
		g.serve(request(key))
		g.want(401, "credentials_invalid")
	}
}

// What scanners are told in the package's documentation is what keys look like.
func TestPatternOfTheDocumentation(t *testing.T) {
	source, err := os.ReadFile("apikey.go")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^//\t(\\b.*)$`).FindSubmatch(source)
	if line == nil {
		t.Fatal("the package documentation has no pattern")
	}
	pattern := regexp.MustCompile(string(line[1]))
	for _, prefix := range []string{"", "sp", "0x", "abcdefgh12345678"} {
		for i := range 100 {
			environment := ""
			if i%2 == 1 {
				environment = cmp.Or(prefix, "live")
			}
			plain, _ := mint(t, apikey.MintConfig{Subject: "alice", Prefix: prefix, Environment: environment})
			for _, text := range []string{plain, "KEY=" + plain, `{"key":"` + plain + `"}`, "curl -H 'X-API-Key: " + plain + "' https://example.com"} {
				if got := pattern.FindString(text); got != plain {
					t.Fatalf("got %q in %q, want the key", got, text)
				}
			}
		}
	}
	example := regexp.MustCompile(`(?m)^//\t(sk_\w+)$`).FindSubmatch(source)
	if example == nil || !pattern.Match(example[1]) {
		t.Error("the key that the documentation shows does not look like one")
	}
	for _, text := range []string{"sk_short_key", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789a"} {
		if pattern.MatchString(text) {
			t.Errorf("%q looks like a key", text)
		}
	}
}

func TestKeyID(t *testing.T) {
	plain, rec := mint(t, apikey.MintConfig{Subject: "alice"})
	if id, err := apikey.KeyID(plain); err != nil || id != rec.ID {
		t.Errorf("got %s, %v, want %s", id, err, rec.ID)
	}
	if id, err := apikey.KeyID("hunter2"); !errors.Is(err, auth.ErrInvalid) || id != "" {
		t.Errorf("got %s, %v, want ErrInvalid", id, err)
	}
}

// Anybody can compute a checksum, so with the right one the form is still exact:
// every byte at every place is taken where it belongs, and nowhere else.
func TestFormIsExact(t *testing.T) {
	plain, _ := mint(t, apikey.MintConfig{Subject: "alice", Prefix: "acme"})
	for i := range len(plain) - 7 {
		allowed := "0123456789abcdefghjkmnpqrstvwxyz"
		switch {
		case i < 4:
			allowed = "0123456789abcdefghijklmnopqrstuvwxyz"
		case plain[i] == '_':
			allowed = "_"
		}
		for c := range 256 {
			key := rechecked(plain[:i] + string([]byte{byte(c)}) + plain[i+1:])
			_, err := apikey.KeyID(key)
			if want := strings.IndexByte(allowed, byte(c)) >= 0; (err == nil) != want {
				t.Errorf("%#x at %d of %q: got %v, want it taken: %v", c, i, plain, err, want)
			}
		}
	}
	for n := range 32 {
		_, err := apikey.KeyID(rechecked(strings.Repeat("a", n) + plain[4:]))
		if want := n >= 2 && n <= 16; (err == nil) != want {
			t.Errorf("a prefix of %d: got %v, want it taken: %v", n, err, want)
		}
	}
}

// No key becomes another by one mistake of the fingers, whatever the character.
func TestMistypedKeysAreRefusedOffline(t *testing.T) {
	plain, _ := mint(t, apikey.MintConfig{Subject: "alice"})
	b := []byte(plain)
	for i, was := range b {
		for c := range 256 {
			if b[i] = byte(c); b[i] == was {
				continue
			}
			if _, err := apikey.KeyID(string(b)); err == nil {
				t.Errorf("%q is taken for %q", b, plain)
			}
		}
		b[i] = was
		if _, err := apikey.KeyID(plain[:i] + plain[i+1:]); err == nil {
			t.Errorf("%q without character %d is taken", plain, i)
		}
		if _, err := apikey.KeyID(plain[:i] + "0" + plain[i:]); err == nil {
			t.Errorf("%q with another character at %d is taken", plain, i)
		}
		if i > 0 && b[i] != b[i-1] {
			b[i], b[i-1] = b[i-1], b[i]
			if _, err := apikey.KeyID(string(b)); err == nil {
				t.Errorf("%q, two characters changed over, is taken", b)
			}
			b[i], b[i-1] = b[i-1], b[i]
		}
	}
}

// rechecked returns key with the right checksum in its last seven characters,
// computed here for itself: anybody can do that.
func rechecked(key string) string {
	text := key[:len(key)-7]
	sum := crc32.ChecksumIEEE([]byte(text))
	digits := ""
	for range 7 {
		digits = string("0123456789abcdefghjkmnpqrstvwxyz"[sum%32]) + digits
		sum /= 32
	}
	return text + digits
}

// forge returns a key with the id of one and the secret of the other, which must
// have the default prefix.
func forge(t *testing.T, id, secret string) string {
	t.Helper()
	forged := rechecked(id[:20] + secret[20:])
	if got, err := apikey.KeyID(forged); err != nil || got != id[3:19] {
		t.Fatalf("forged %s: %v", forged, err)
	}
	return forged
}

// changed returns key with another character of the alphabet at i.
func changed(key string, i int) string {
	c := byte('0')
	if key[i] == c {
		c = '1'
	}
	return key[:i] + string(c) + key[i+1:]
}

func TestMintForAsLongAsADurationCanSay(t *testing.T) {
	_, rec, err := apikey.Mint(apikey.MintConfig{Subject: "alice", Lifetime: math.MaxInt64})
	if err != nil || !rec.Expires.After(time.Now().AddDate(290, 0, 0)) {
		t.Errorf("got a key that expires %v, %v", rec.Expires, err)
	}
}

func TestNewRefusesANilPointer(t *testing.T) {
	if _, err := apikey.New(apikey.Config{Store: (*apikey.MemoryStore)(nil)}); err == nil {
		t.Error("New took a nil *MemoryStore")
	}
	_, err := apikey.New(apikey.Config{Store: new(apikey.MemoryStore), Lockout: (*lockout)(nil)})
	if err == nil || !strings.Contains(err.Error(), "Config.Lockout") {
		t.Errorf("a nil *lockout: got %v, want an error that names the field", err)
	}
}
