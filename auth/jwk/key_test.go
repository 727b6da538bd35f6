package jwk_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"sync"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/sallyport/sallyport/auth/jwk"
)

// goodSecret is as long as the longest hash.
var goodSecret = []byte("\x17\xa9\x02~\xc4Q\x9d\x8f3\xe6\x0b\xd1z\\\xf8&N\xb3\x9a\x05\xecp!\xc7\x84\x1fY\xd6\xa0<\x6b\xf1" +
	"\xb2\x48\xe9\x13\xd7\x5e\x8a\x24\xfc\x61\x0f\x93\xce\x37\x58\xaa\x79\x06\xbd\x42\xe1\x9c\x2b\x70\xd4\x85\x16\xf3\x4c\xa8\x65\x0a\xdb")

// rsa2048 is made once: it is slow.
var rsa2048 = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func newEC(t testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newEd(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// privateMaterial returns signing material for an algorithm.
func privateMaterial(t testing.TB, alg string) any {
	t.Helper()
	switch alg {
	case "HS256", "HS384", "HS512":
		return goodSecret
	case "ES256":
		return newEC(t, elliptic.P256())
	case "ES384":
		return newEC(t, elliptic.P384())
	case "ES512":
		return newEC(t, elliptic.P521())
	case "EdDSA", "Ed25519":
		return newEd(t)
	}
	return rsa2048()
}

func mustKey(t testing.TB, id, alg string, material any) jwk.Key {
	t.Helper()
	k, err := jwk.NewKey(id, alg, material)
	if err != nil {
		t.Fatalf("NewKey(%q, %q, %T): %v", id, alg, material, err)
	}
	return k
}

func TestKeySignsAndVerifies(t *testing.T) {
	sizes := map[string]int{
		"HS256": 32, "HS384": 48, "HS512": 64, "ES256": 64, "ES384": 96, "ES512": 132, "EdDSA": 64, "Ed25519": 64,
	}
	for _, alg := range jwk.Algorithms() {
		t.Run(alg, func(t *testing.T) {
			k := mustKey(t, "k1", alg, privateMaterial(t, alg))
			if got := k.ID(); got != "k1" {
				t.Errorf("ID() = %q, want k1", got)
			}
			if got := k.Algorithm(); got != alg {
				t.Errorf("Algorithm() = %q, want %q", got, alg)
			}
			if !k.CanSign() {
				t.Error("CanSign() = false, want true")
			}
			if got, want := k.Symmetric(), strings.HasPrefix(alg, "HS"); got != want {
				t.Errorf("Symmetric() = %v, want %v", got, want)
			}
			input := []byte("header.payload")
			signature, err := k.Sign(input)
			if err != nil {
				t.Fatalf("Sign: %v", err)
			}
			want, ok := sizes[alg]
			if !ok {
				want = 256
			}
			if len(signature) != want {
				t.Errorf("signature has %d bytes, want %d", len(signature), want)
			}
			if err := k.Verify(input, signature); err != nil {
				t.Errorf("Verify of its own signature: %v", err)
			}
			if k.Verify([]byte("header.payloae"), signature) == nil {
				t.Error("Verify accepts another input")
			}
			for i := range signature {
				bad := bytes.Clone(signature)
				bad[i] ^= 1
				if k.Verify(input, bad) == nil {
					t.Fatalf("Verify accepts a signature with byte %d changed", i)
				}
				if len(signature) > 64 && i > 3 {
					break // each RSA and P-521 verification is slow
				}
			}
			for _, bad := range [][]byte{nil, {}, signature[:len(signature)-1], append(bytes.Clone(signature), 0), append([]byte{0}, signature...)} {
				if k.Verify(input, bad) == nil {
					t.Errorf("Verify accepts a signature of %d bytes", len(bad))
				}
			}
			other := mustKey(t, "k1", alg, func() any {
				switch alg[:2] {
				case "HS":
					return append(bytes.Clone(goodSecret), 1)
				case "RS", "PS":
					return otherRSA(t)
				}
				return privateMaterial(t, alg)
			}())
			if other.Verify(input, signature) == nil {
				t.Error("another key verifies the signature")
			}
		})
	}
}

var otherRSA = func() func(testing.TB) *rsa.PrivateKey {
	made := sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })
	return func(t testing.TB) *rsa.PrivateKey {
		t.Helper()
		k, err := made()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
}()

func TestPublicVerifiesOnly(t *testing.T) {
	for _, alg := range jwk.Algorithms() {
		t.Run(alg, func(t *testing.T) {
			k := mustKey(t, "k1", alg, privateMaterial(t, alg))
			p, err := k.Public()
			if k.Symmetric() {
				if err == nil {
					t.Fatal("a secret has a public half")
				}
				return
			}
			if err != nil {
				t.Fatalf("Public: %v", err)
			}
			if p == k {
				t.Error("the public half is the key itself")
			}
			if again, _ := k.Public(); again != p {
				t.Error("Public returns another key each time")
			}
			if itself, _ := p.Public(); itself != p {
				t.Error("the public half of a public key is not itself")
			}
			if p.CanSign() {
				t.Error("the public half can sign")
			}
			if _, err := p.Sign([]byte("x")); err == nil {
				t.Error("the public half signs")
			}
			if _, err := p.SignCompact("at+jwt", []byte("x")); err == nil {
				t.Error("the public half signs a token")
			}
			signature, err := k.Sign([]byte("x"))
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Verify([]byte("x"), signature); err != nil {
				t.Errorf("the public half does not verify: %v", err)
			}
			if p.ID() != k.ID() || p.Algorithm() != k.Algorithm() {
				t.Errorf("the public half is %s %s, want %s %s", p.ID(), p.Algorithm(), k.ID(), k.Algorithm())
			}
		})
	}
}

func TestNewKeyFromPublicMaterial(t *testing.T) {
	for _, tt := range []struct {
		alg             string
		private, public any
	}{
		{"RS256", rsa2048(), &rsa2048().PublicKey},
		{"PS512", rsa2048(), &rsa2048().PublicKey},
	} {
		t.Run(tt.alg, func(t *testing.T) { signAcross(t, tt.alg, tt.private, tt.public) })
	}
	t.Run("ES384", func(t *testing.T) {
		k := newEC(t, elliptic.P384())
		signAcross(t, "ES384", k, &k.PublicKey)
	})
	t.Run("Ed25519", func(t *testing.T) {
		k := newEd(t)
		signAcross(t, "Ed25519", k, k.Public().(ed25519.PublicKey))
	})
}

func signAcross(t *testing.T, alg string, private, public any) {
	t.Helper()
	s, v := mustKey(t, "a", alg, private), mustKey(t, "a", alg, public)
	if v.CanSign() {
		t.Error("a key of public material can sign")
	}
	signature, err := s.Sign([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Verify([]byte("x"), signature); err != nil {
		t.Errorf("Verify: %v", err)
	}
	if s == v {
		t.Error("two keys of the same material are equal")
	}
}

// One key, one algorithm: material of another kind or another curve is refused,
// so a public key is never a secret's bytes.
func TestRFC8725_3_1_MaterialFitsTheAlgorithm(t *testing.T) {
	ed := newEd(t)
	materials := map[string]any{
		"secret": goodSecret, "rsa": rsa2048(), "rsa public": &rsa2048().PublicKey,
		"P-256": newEC(t, elliptic.P256()), "P-384": &newEC(t, elliptic.P384()).PublicKey, "P-521": newEC(t, elliptic.P521()),
		"Ed25519": ed, "Ed25519 public": ed.Public(), "P-224": newEC(t, elliptic.P224()),
		"string": "a string is not key material at all", "nil": nil, "rsa by value": rsa2048().PublicKey,
	}
	fits := map[string][]string{
		"HS": {"secret"}, "RS": {"rsa", "rsa public"}, "PS": {"rsa", "rsa public"},
		"ES256": {"P-256"}, "ES384": {"P-384"}, "ES512": {"P-521"}, "Ed": {"Ed25519", "Ed25519 public"},
	}
	for _, alg := range jwk.Algorithms() {
		want := map[string]bool{}
		for prefix, names := range fits {
			for _, name := range names {
				if strings.HasPrefix(alg, prefix) {
					want[name] = true
				}
			}
		}
		if len(want) == 0 {
			t.Fatalf("%s: no material fits", alg)
		}
		for name, m := range materials {
			_, err := jwk.NewKey("k", alg, m)
			if (err == nil) != want[name] {
				t.Errorf("%s with %s: got error %v, want accepted %v", alg, name, err, want[name])
			}
			if err != nil && strings.Contains(err.Error(), "a string is not") {
				t.Errorf("%s with %s: the error shows the material: %v", alg, name, err)
			}
		}
	}
}

func TestNewKeyUnknownAlgorithm(t *testing.T) {
	for _, alg := range []string{"", "none", "None", "NONE", "nOnE", "hs256", "HS256 ", "ES521", "ES224", "ES256K", "RS1", "A256GCM", "RSA1_5", "dir", "Ed448", "ed25519"} {
		if _, err := jwk.NewKey("k", alg, goodSecret); err == nil {
			t.Errorf("NewKey accepts alg %q", alg)
		}
		if _, err := jwk.Generate(alg); err == nil {
			t.Errorf("Generate accepts alg %q", alg)
		}
	}
}

func TestKeyID(t *testing.T) {
	for _, tt := range []struct {
		name, id string
		ok       bool
	}{
		{"plain", "2026-11-a", true},
		{"256 bytes", strings.Repeat("a", 256), true},
		{"257 bytes", strings.Repeat("a", 257), false},
		{"a path", "../../etc/passwd", true},
		{"quotes", `a"b\c`, true},
		{"beyond ASCII", "schlüssel", true},
		{"line break", "a\nb", false},
		{"NUL", "a\x00", false},
		{"DEL", "a\x7f", false},
		{"not UTF-8", "a\xff", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k, err := jwk.NewKey(tt.id, "HS256", goodSecret)
			if (err == nil) != tt.ok {
				t.Fatalf("got error %v, want accepted %v", err, tt.ok)
			}
			if err == nil && k.ID() != tt.id {
				t.Errorf("ID() = %q, want %q", k.ID(), tt.id)
			}
		})
	}
	if _, err := jwk.NewKey("", "HS256", goodSecret); err == nil {
		t.Error("a secret without an id is accepted: its id would be a hash of it")
	}
}

// The examples of the RFCs.
func TestRFC7638_Thumbprint(t *testing.T) {
	for _, tt := range []struct{ name, jwk, want string }{
		{"RFC 7638 §3.1", `{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256"}`, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"},
		{"RFC 8037 A.3", `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k, err := jwk.Parse([]byte(tt.jwk))
			if err != nil {
				t.Fatal(err)
			}
			if k.ID() != tt.want {
				t.Errorf("ID() = %q, want the thumbprint %q", k.ID(), tt.want)
			}
		})
	}
}

func TestGenerate(t *testing.T) {
	for _, alg := range jwk.Algorithms() {
		if strings.HasPrefix(alg, "PS") || alg == "RS384" || alg == "RS512" {
			continue // as RS256, and slow
		}
		t.Run(alg, func(t *testing.T) {
			k, err := jwk.Generate(alg)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := base64.RawURLEncoding.DecodeString(k.ID()); err != nil || len(b) != 32 {
				t.Errorf("ID() = %q, want a SHA-256 thumbprint", k.ID())
			}
			signature, err := k.Sign([]byte("x"))
			if err != nil {
				t.Fatal(err)
			}
			if alg == "RS256" && len(signature) != 384 {
				t.Errorf("a generated RSA key has %d bits, want 3072", 8*len(signature))
			}
			if err := k.Verify([]byte("x"), signature); err != nil {
				t.Error(err)
			}
			if alg == "RS256" {
				return
			}
			if other, _ := jwk.Generate(alg); other.ID() == k.ID() {
				t.Error("two generated keys are the same")
			}
		})
	}
}

func TestZeroKey(t *testing.T) {
	var k jwk.Key
	if k.ID() != "" || k.Algorithm() != "" || k.CanSign() || k.Symmetric() || k.String() != "" {
		t.Error("the zero Key has an id, an algorithm or a use")
	}
	if _, err := k.Sign(nil); err == nil {
		t.Error("the zero Key signs")
	}
	if err := k.Verify(nil, nil); err == nil {
		t.Error("the zero Key verifies")
	}
	if _, err := k.Public(); err == nil {
		t.Error("the zero Key has a public half")
	}
	if _, err := k.SignCompact("at+jwt", nil); err == nil {
		t.Error("the zero Key signs a token")
	}
	if b, err := json.Marshal(k); err != nil || string(b) != "null" {
		t.Errorf("Marshal = %s, %v, want null", b, err)
	}
}

// A key is what it was checked to be, whatever becomes of the caller's material.
func TestKeyCopiesItsMaterial(t *testing.T) {
	check := func(t *testing.T, k jwk.Key, spoil func()) {
		t.Helper()
		before, err := k.Sign([]byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		spoil()
		if err := k.Verify([]byte("x"), before); err != nil {
			t.Errorf("the key no longer verifies: %v", err)
		}
		after, err := k.Sign([]byte("x"))
		if err != nil {
			t.Fatalf("the key no longer signs: %v", err)
		}
		if err := k.Verify([]byte("x"), after); err != nil {
			t.Errorf("the key signs otherwise: %v", err)
		}
	}
	t.Run("secret", func(t *testing.T) {
		s := bytes.Clone(goodSecret)
		check(t, mustKey(t, "k", "HS256", s), func() { clear(s) })
	})
	t.Run("RSA", func(t *testing.T) {
		n, d := new(big.Int).Set(rsa2048().N), new(big.Int).Set(rsa2048().D)
		p, q := new(big.Int).Set(rsa2048().Primes[0]), new(big.Int).Set(rsa2048().Primes[1])
		own := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: n, E: rsa2048().E}, D: d, Primes: []*big.Int{p, q}}
		check(t, mustKey(t, "k", "RS256", own), func() {
			for _, x := range []*big.Int{n, d, p, q} {
				x.SetInt64(3)
			}
			own.E = 3
		})
	})
	t.Run("EC", func(t *testing.T) {
		own := newEC(t, elliptic.P256())
		check(t, mustKey(t, "k", "ES256", own), func() {
			*own = *newEC(t, elliptic.P256())
		})
	})
	t.Run("Ed25519", func(t *testing.T) {
		own := newEd(t)
		check(t, mustKey(t, "k", "EdDSA", own), func() { clear(own) })
	})
}

func TestSignCompact(t *testing.T) {
	k := mustKey(t, `k"1`, "HS256", goodSecret)
	for _, tt := range []struct{ typ, header string }{
		{"at+jwt", `{"alg":"HS256","kid":"k\"1","typ":"at+jwt"}`},
		{"", `{"alg":"HS256","kid":"k\"1"}`},
	} {
		token, err := k.SignCompact(tt.typ, []byte(`{"sub":"1"}`))
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(token, ".")
		if len(parts) != 3 {
			t.Fatalf("token has %d parts, want 3", len(parts))
		}
		header, err := base64.RawURLEncoding.DecodeString(parts[0])
		if err != nil || string(header) != tt.header {
			t.Errorf("header = %s, %v, want %s", header, err, tt.header)
		}
		payload, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err != nil || string(payload) != `{"sub":"1"}` {
			t.Errorf("payload = %s, %v", payload, err)
		}
		signature, err := base64.RawURLEncoding.DecodeString(parts[2])
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Verify([]byte(parts[0]+"."+parts[1]), signature); err != nil {
			t.Error(err)
		}
	}
	for _, typ := range []string{`a"b`, `a\b`, "a b", "a\nb", "ä", "\x7f"} {
		if _, err := k.SignCompact(typ, nil); err == nil {
			t.Errorf("typ %q is accepted", typ)
		}
	}
}

// A key is in configurations that get logged and dumped: every way of printing
// one shows the id and nothing of the material.
func TestKeyNeverShowsItsMaterial(t *testing.T) {
	ed := newEd(t)
	ec := newEC(t, elliptic.P256())
	scalar, err := ec.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		key     jwk.Key
		private [][]byte
	}{
		{"secret", mustKey(t, "the-id", "HS256", goodSecret), [][]byte{goodSecret}},
		{"RSA", mustKey(t, "the-id", "PS256", rsa2048()), [][]byte{rsa2048().D.Bytes(), rsa2048().Primes[0].Bytes(), rsa2048().Primes[1].Bytes()}},
		{"EC", mustKey(t, "the-id", "ES256", ec), [][]byte{scalar}},
		{"Ed25519", mustKey(t, "the-id", "EdDSA", ed), [][]byte{ed.Seed()}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			type config struct {
				Name string
				Key  jwk.Key
				Ptr  *jwk.Key
			}
			c := config{"x", tt.key, &tt.key}
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%T", "%08b", "%o", "%t"} {
				if got := fmt.Sprintf(verb, tt.key); verb != "%T" && verb != "%p" && got != "the-id" {
					t.Errorf("Sprintf(%s) = %q, want the id", verb, got)
				}
				noSecrets(t, verb, fmt.Sprintf(verb, c)+fmt.Sprintf(verb, &c)+fmt.Sprintf(verb, []jwk.Key{tt.key}), tt.private)
			}
			if got := tt.key.GoString() + tt.key.String(); got != "the-idthe-id" {
				t.Errorf("GoString and String = %q", got)
			}
			var log bytes.Buffer
			slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "key", tt.key, "config", c)
			slog.New(slog.NewTextHandler(&log, nil)).Info("m", "key", tt.key, "config", c)
			if !strings.Contains(log.String(), `"key":"the-id"`) || !strings.Contains(log.String(), "key=the-id") {
				t.Errorf("log lacks the id: %s", log.String())
			}
			noSecrets(t, "slog", log.String(), tt.private)
			out, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			noSecrets(t, "json", string(out), tt.private)
			var members map[string]any
			marshaled, err := tt.key.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(marshaled, &members); err != nil {
				t.Fatalf("%s: %v", marshaled, err)
			}
			for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "k", "oth"} {
				if _, ok := members[private]; ok {
					t.Errorf("MarshalJSON has the private member %q", private)
				}
			}
			if members["kid"] != "the-id" || members["alg"] != tt.key.Algorithm() || members["use"] != "sig" {
				t.Errorf("MarshalJSON = %s", marshaled)
			}
		})
	}
}

// noSecrets looks for private bytes in the forms in which they would leak.
func noSecrets(t *testing.T, where, out string, private [][]byte) {
	t.Helper()
	for _, p := range private {
		for _, form := range []string{
			string(p), fmt.Sprintf("%x", p), fmt.Sprintf("%X", p), fmt.Sprintf("%d", p), fmt.Sprint(new(big.Int).SetBytes(p)),
			base64.StdEncoding.EncodeToString(p), base64.RawURLEncoding.EncodeToString(p), strings.Trim(fmt.Sprintf("%d", p), "[]"),
		} {
			if strings.Contains(out, form) {
				t.Errorf("%s shows private material", where)
			}
		}
	}
}

func TestMarshalJSONIsAPublicJWK(t *testing.T) {
	for _, alg := range []string{"RS256", "PS384", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"} {
		k := mustKey(t, "k<1>", alg, privateMaterial(t, alg))
		b, err := json.Marshal(k)
		if err != nil {
			t.Fatal(err)
		}
		back, err := jwk.Parse(b)
		if err != nil {
			t.Fatalf("%s: Parse(%s): %v", alg, b, err)
		}
		signature, err := k.Sign([]byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		if back.ID() != k.ID() || back.Algorithm() != alg || back.CanSign() || back.Verify([]byte("x"), signature) != nil {
			t.Errorf("%s: the JWK read back is another key: %s", alg, b)
		}
	}
	if b, err := mustKey(t, "k", "HS256", goodSecret).MarshalJSON(); err != nil || string(b) != `{"kty":"oct","alg":"HS256","kid":"k","use":"sig"}` {
		t.Errorf("MarshalJSON of a secret = %s, %v", b, err)
	}
}

// The registry and the method variables of package jwt belong to the whole
// program: an import that changes them must not change a Key.
func TestSigningMethodsAreNotTheLibrarysGlobals(t *testing.T) {
	method, hash := jwt.SigningMethodHS256, jwt.SigningMethodHS256.Hash
	t.Cleanup(func() {
		jwt.SigningMethodHS256, method.Hash = method, hash
		jwt.RegisterSigningMethod("HS256", func() jwt.SigningMethod { return method })
	})
	before := mustKey(t, "k", "HS256", goodSecret)
	signature, err := before.Sign([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	method.Hash = crypto.MD5
	jwt.SigningMethodHS256 = nil
	jwt.RegisterSigningMethod("HS256", func() jwt.SigningMethod { return jwt.SigningMethodNone })
	after := mustKey(t, "k", "HS256", goodSecret)
	for name, k := range map[string]jwk.Key{"made before": before, "made after": after} {
		if err := k.Verify([]byte("x"), signature); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if k.Verify([]byte("x"), nil) == nil {
			t.Errorf("%s: an empty signature is accepted", name)
		}
	}
}

// PSS signatures have the salt length of the hash, both ways (RFC 7518 §3.5).
func TestRFC7518_3_5_SaltLength(t *testing.T) {
	k := mustKey(t, "k", "PS256", rsa2048())
	digest := crypto.SHA256.New()
	digest.Write([]byte("x"))
	for _, salt := range []int{0, 20, 31, 32, 33, rsa.PSSSaltLengthAuto} {
		signature, err := rsa.SignPSS(rand.Reader, rsa2048(), crypto.SHA256, digest.Sum(nil), &rsa.PSSOptions{SaltLength: salt})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := k.Verify([]byte("x"), signature) == nil, salt == 32; got != want {
			t.Errorf("salt length %d: accepted %v, want %v", salt, got, want)
		}
	}
	signature, err := k.Sign([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if err := rsa.VerifyPSS(&rsa2048().PublicKey, crypto.SHA256, digest.Sum(nil), signature, &rsa.PSSOptions{SaltLength: 32}); err != nil {
		t.Errorf("Sign made another salt length: %v", err)
	}
}

func TestVerifyIsSafeForConcurrentUse(t *testing.T) {
	k := mustKey(t, "k", "ES256", newEC(t, elliptic.P256()))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				signature, err := k.Sign([]byte("x"))
				if err == nil {
					err = k.Verify([]byte("x"), signature)
				}
				if err != nil {
					t.Error(err)
				}
				_, _ = k.MarshalJSON()
				_ = k.String()
			}
		})
	}
	wg.Wait()
}

func TestErrUnknownKeyIsWrapped(t *testing.T) {
	s, err := jwk.Static(mustKey(t, "a", "HS256", goodSecret))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lookup(t.Context(), "b", "HS256"); !errors.Is(err, jwk.ErrUnknownKey) {
		t.Errorf("got %v, want ErrUnknownKey", err)
	}
}

// The example of RFC 7638, section 3.1.
func TestRFC7638_3_1_Thumbprint(t *testing.T) {
	k, err := jwk.Parse([]byte(`{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := k.Thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := secretKey(t, "s").Thumbprint(); got != "" {
		t.Errorf("the thumbprint of a secret is %q, want none", got)
	}
	if got := (jwk.Key{}).Thumbprint(); got != "" {
		t.Errorf("the thumbprint of the zero Key is %q", got)
	}
}
