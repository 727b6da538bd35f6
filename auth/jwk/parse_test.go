package jwk_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/internal/vectors"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// doc is a JWK under construction.
type doc map[string]any

func (d doc) with(kv ...any) doc {
	c := maps.Clone(d)
	for i := 0; i < len(kv); i += 2 {
		if kv[i+1] == nil {
			delete(c, kv[i].(string))
		} else {
			c[kv[i].(string)] = kv[i+1]
		}
	}
	return c
}

func (d doc) json(t testing.TB) []byte {
	t.Helper()
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The P-256 key of RFC 7515 A.3 and the Ed25519 key of RFC 8037 A.1.
var (
	ecDoc = doc{
		"kty": "EC", "crv": "P-256", "kid": "ec", "alg": "ES256", "use": "sig",
		"x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
		"d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
	}
	edDoc = doc{
		"kty": "OKP", "crv": "Ed25519", "kid": "ed", "alg": "EdDSA",
		"x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
	}
	octDoc = doc{"kty": "oct", "kid": "oct", "alg": "HS256", "k": b64(goodSecret)}
)

func rsaDoc() doc {
	k := rsa2048()
	return doc{
		"kty": "RSA", "kid": "rsa", "alg": "RS256", "n": b64(k.N.Bytes()), "e": "AQAB", "d": b64(k.D.Bytes()),
		"p": b64(k.Primes[0].Bytes()), "q": b64(k.Primes[1].Bytes()),
		"dp": b64(k.Precomputed.Dp.Bytes()), "dq": b64(k.Precomputed.Dq.Bytes()), "qi": b64(k.Precomputed.Qinv.Bytes()),
	}
}

func TestParse(t *testing.T) {
	sign := []string{"sign"}
	verify := []string{"verify"}
	both := []string{"sign", "verify"}
	rsa := rsaDoc()
	rsaPublic := rsa.with("d", nil, "p", nil, "q", nil, "dp", nil, "dq", nil, "qi", nil)
	ecPublic := ecDoc.with("d", nil)
	for _, tt := range []struct {
		name    string
		doc     doc
		alg     string // "" if refused
		signs   bool
		mention string // in the error
	}{
		{"EC private", ecDoc, "ES256", true, ""},
		{"EC public", ecPublic, "ES256", false, ""},
		{"EC without alg", ecPublic.with("alg", nil), "ES256", false, ""},
		{"OKP private", edDoc, "EdDSA", true, ""},
		{"OKP public", edDoc.with("d", nil), "EdDSA", false, ""},
		{"OKP without alg", edDoc.with("alg", nil), "EdDSA", true, ""},
		{"RFC 9864 Ed25519", edDoc.with("alg", "Ed25519"), "Ed25519", true, ""},
		{"RSA private", rsa, "RS256", true, ""},
		{"RSA public", rsaPublic, "RS256", false, ""},
		{"RSA without alg", rsaPublic.with("alg", nil), "RS256", false, ""},
		{"RSA PS512", rsa.with("alg", "PS512"), "PS512", true, ""},
		{"RSA without CRT members", rsa.with("dp", nil, "dq", nil, "qi", nil), "RS256", true, ""},
		{"oct", octDoc, "HS256", true, ""},
		{"oct HS512", octDoc.with("alg", "HS512"), "HS512", true, ""},
		{"unknown members", ecDoc.with("x5c", []string{"MIIB"}, "x5t", "abc", "issuer", "https://x", "exp", 17), "ES256", true, ""},

		// RFC 7517 §4.2 and §4.3
		{"use enc", ecPublic.with("use", "enc"), "", false, "use"},
		{"use of another case", ecPublic.with("use", "SIG"), "", false, "use"},
		{"use is no string", ecPublic.with("use", 1), "", false, "use"},
		{"ops verify", ecPublic.with("key_ops", verify), "ES256", false, ""},
		{"ops verify, private", ecDoc.with("key_ops", verify), "ES256", false, ""},
		{"ops sign, private", ecDoc.with("key_ops", sign), "ES256", true, ""},
		{"ops both, private", ecDoc.with("key_ops", both), "ES256", true, ""},
		{"ops sign, public", ecPublic.with("key_ops", sign), "", false, "key_ops"},
		{"ops empty", ecDoc.with("key_ops", []string{}), "", false, "key_ops"},
		{"ops encrypt", ecDoc.with("key_ops", []string{"encrypt"}), "", false, "key_ops"},
		{"ops verify and encrypt", ecDoc.with("key_ops", []string{"verify", "encrypt"}), "", false, "key_ops"},
		{"ops in one string", ecDoc.with("key_ops", []string{"sign, verify"}), "", false, "key_ops"},
		{"ops twice the same", ecDoc.with("key_ops", []string{"verify", "verify"}), "", false, "key_ops"},
		{"ops not strings", ecDoc.with("key_ops", []any{1}), "", false, "key_ops"},
		{"ops no array", ecDoc.with("key_ops", "verify"), "", false, "array"},
		{"use and ops disagree", ecDoc.with("use", "sig", "key_ops", []string{"deriveKey"}), "", false, "key_ops"},
		{"oct ops verify", octDoc.with("key_ops", verify), "HS256", false, ""},
		{"oct ops sign", octDoc.with("key_ops", sign), "", false, "verify"},
		{"oct ops both", octDoc.with("key_ops", both), "HS256", true, ""},

		// alg and the key must fit
		{"no kty", ecDoc.with("kty", nil), "", false, "key type"},
		{"kty of another case", ecDoc.with("kty", "ec"), "", false, "key type"},
		{"kty RSA for EC", ecDoc.with("kty", "RSA"), "", false, "key type"},
		{"kty oct for EC", ecDoc.with("kty", "oct", "alg", "HS256", "k", b64(goodSecret)), "", false, "key type"},
		{"EC as HS256", ecDoc.with("alg", "HS256"), "", false, "key type"},
		{"ES384 on P-256", ecDoc.with("alg", "ES384"), "", false, "curve"},
		{"P-384 named for P-256", ecDoc.with("crv", "P-384"), "", false, "curve"},
		{"P-384 named, ES384", ecDoc.with("crv", "P-384", "alg", "ES384"), "", false, "bytes"},
		{"secp256k1", ecDoc.with("crv", "secp256k1", "alg", nil), "", false, "not supported"},
		{"no crv", ecDoc.with("crv", nil, "alg", nil), "", false, "not supported"},
		{"Ed448", edDoc.with("crv", "Ed448"), "", false, "curve"},
		{"X25519", edDoc.with("crv", "X25519", "alg", nil), "", false, "not supported"},
		{"oct with crv", octDoc.with("crv", "P-256"), "", false, "curve"},
		{"alg none", ecDoc.with("alg", "none"), "", false, "alg"},
		{"alg ES521", ecDoc.with("alg", "ES521"), "", false, "alg"},
		{"alg A256GCM", octDoc.with("alg", "A256GCM"), "", false, "alg"},
		{"alg no string", ecDoc.with("alg", []string{"ES256"}), "", false, "alg"},
		{"alg empty", ecDoc.with("alg", ""), "", false, "alg"},
		{"oct without alg", octDoc.with("alg", nil), "", false, "alg"},
		{"oct without kid", octDoc.with("kid", nil), "", false, "kid"},
		{"kid no string", ecDoc.with("kid", 1), "", false, "kid"},
		{"kid empty", ecDoc.with("kid", ""), "", false, "kid"},
		{"kid too long", ecDoc.with("kid", strings.Repeat("k", 257)), "", false, "id"},

		// members
		{"no x", ecDoc.with("x", nil), "", false, `"x" is missing`},
		{"no y", ecDoc.with("y", nil), "", false, `"y" is missing`},
		{"x short", ecDoc.with("x", b64(make([]byte, 31))), "", false, "bytes"},
		{"x long", ecDoc.with("x", "AH_NzidzyxFtQYPO"), "", false, "bytes"},
		{"d short", ecDoc.with("d", "AQ"), "", false, "bytes"},
		{"d of another key", ecDoc.with("d", b64(append(make([]byte, 31), 7))), "", false, "belong"},
		{"off the curve", ecDoc.with("y", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a1"), "", false, "canonical"},
		{"not on the curve", ecDoc.with("y", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a4"), "", false, "not a point"},
		{"OKP no x", edDoc.with("x", nil), "", false, `"x" is missing`},
		{"OKP x short", edDoc.with("x", "AQ"), "", false, "bytes"},
		{"OKP d short", edDoc.with("d", "AQ"), "", false, "bytes"},
		{"OKP d of another key", edDoc.with("d", b64(goodSecret[:32])), "", false, "belong"},
		{"OKP identity", edDoc.with("d", nil, "x", b64(append([]byte{1}, make([]byte, 31)...))), "", false, "small order"},
		{"RSA no n", rsa.with("n", nil), "", false, `"n" is missing`},
		{"RSA no e", rsa.with("e", nil), "", false, `"e" is missing`},
		{"RSA e zero", rsaPublic.with("e", "AA"), "", false, "exponent"},
		{"RSA e 3", rsaPublic.with("e", "Aw"), "", false, "exponent"},
		{"RSA e over 2^31", rsaPublic.with("e", b64([]byte{1, 0, 0, 0, 1})), "", false, "exponent"},
		{"RSA e 65537 mod 2^64", rsaPublic.with("e", b64([]byte{1, 0, 0, 0, 0, 0, 1, 0, 1})), "", false, "exponent"},
		{"RSA n with a leading zero", rsaPublic.with("n", b64(append([]byte{0}, rsa2048().N.Bytes()...))), "", false, "leading zero"},
		{"RSA n of 64 KiB", rsaPublic.with("n", strings.Repeat("_", 65536)), "", false, "too long"},
		{"RSA no p", rsa.with("p", nil), "", false, `"p" is missing`},
		{"RSA no q", rsa.with("q", nil), "", false, `"q" is missing`},
		{"RSA d wrong", rsa.with("d", "AQAB"), "", false, "not consistent"},
		{"RSA dp wrong", rsa.with("dp", "AQAB"), "", false, "belong"},
		{"RSA dq wrong", rsa.with("dq", "AQAB"), "", false, "belong"},
		{"RSA qi wrong", rsa.with("qi", "AQAB"), "", false, "belong"},
		{"RSA qi with a leading zero", rsa.with("qi", "AAE"), "", false, "leading zero"},
		{"RSA of more primes", rsa.with("oth", []any{}), "", false, "two primes"},
		{"oct no k", octDoc.with("k", nil), "", false, `"k" is missing`},
		{"oct k empty", octDoc.with("k", ""), "", false, "k"},
		{"oct k short", octDoc.with("k", b64(goodSecret[:31])), "", false, "31 bytes"},
		{"padding", octDoc.with("k", b64(goodSecret[:32])+"="), "", false, "base64url"},
		{"standard alphabet", octDoc.with("k", "+/"+b64(goodSecret)), "", false, "base64url"},
		{"line break", octDoc.with("k", b64(goodSecret[:30])+"\n"+b64(goodSecret[30:60])), "", false, "base64url"},
		{"unused bits", ecDoc.with("x", "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEV"), "", false, "base64url"},
		{"k no string", octDoc.with("k", 17), "", false, "string"},
		{"k null", octDoc.with("k", json.RawMessage("null")), "", false, "string"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k, err := jwk.Parse(tt.doc.json(t))
			if tt.alg == "" {
				if err == nil {
					t.Fatalf("accepted as %v", k)
				}
				if k != (jwk.Key{}) {
					t.Error("got a key beside the error")
				}
				if !strings.Contains(err.Error(), tt.mention) {
					t.Errorf("got %q, want a mention of %q", err, tt.mention)
				}
				for _, private := range []string{"d", "k", "p", "q"} {
					if v, ok := tt.doc[private].(string); ok && len(v) > 8 && strings.Contains(err.Error(), v) {
						t.Errorf("the error shows %q: %v", private, err)
					}
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if k.Algorithm() != tt.alg || k.CanSign() != tt.signs {
				t.Errorf("got %s, signs %v, want %s, %v", k.Algorithm(), k.CanSign(), tt.alg, tt.signs)
			}
			if id, ok := tt.doc["kid"].(string); ok && k.ID() != id {
				t.Errorf("ID() = %q, want %q", k.ID(), id)
			}
		})
	}
}

func TestParseStrictJSON(t *testing.T) {
	good := string(ecDoc.json(t))
	if _, err := jwk.Parse([]byte(" " + good + "\n")); err != nil {
		t.Fatalf("white space around: %v", err)
	}
	for name, data := range map[string]string{
		"empty":         "",
		"null":          "null",
		"array":         "[" + good + "]",
		"string":        `"EC"`,
		"trailing":      good + good,
		"cut":           good[:len(good)-1],
		"duplicate":     strings.Replace(good, "{", `{"kty":"RSA",`, 1),
		"case variant":  strings.Replace(good, "{", `{"KTY":"oct",`, 1),
		"escaped twin":  strings.Replace(good, "{", `{"\u006bty":"oct",`, 1),
		"invalid UTF-8": strings.Replace(good, `"ec"`, "\"e\xff\"", 1),
		"byte mark":     "\xef\xbb\xbf" + good,
		"too deep":      strings.Replace(good, "{", `{"z":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+",", 1),
	} {
		if _, err := jwk.Parse([]byte(data)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func setOf(t testing.TB, docs ...any) []byte {
	t.Helper()
	return doc{"keys": append([]any{}, docs...)}.json(t)
}

// What a set has that can't be used here does not spoil the rest.
func TestCVE_2026_42576_SetSkipsWhatItCantUse(t *testing.T) {
	rsa := rsaDoc().with("d", nil, "p", nil, "q", nil, "dp", nil, "dq", nil, "qi", nil)
	set := setOf(t,
		nil, 17, "x", []any{}, doc{},
		doc{"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"},
		doc{"kty": "oct", "kid": "aes", "alg": "A256KW", "k": b64(goodSecret)},
		ecDoc.with("kid", "enc", "use", "enc"),
		ecDoc.with("kid", "k1", "crv", "secp256k1"),
		ecDoc.with("kid", "bad", "x", nil),
		edDoc.with("kid", "small", "d", nil, "x", b64(append([]byte{1}, make([]byte, 31)...))),
		rsa.with("kid", "no n", "n", nil),
		rsa.with("kid", "1024", "n", b64(new(big.Int).SetBit(big.NewInt(1), 1023, 1).Bytes())),
		rsa.with("kid", "rsa-enc", "alg", "RSA-OAEP", "use", "enc"),
		rsa.with("kid", 3),
		rsa, ecDoc.with("d", nil), edDoc.with("d", nil),
	)
	keys, err := jwk.ParseSet(set)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(keys); got != "[rsa ec ed]" {
		t.Errorf("got %s, want [rsa ec ed]", got)
	}
}

func TestParseSet(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  []byte
		want string // the ids; "error" if refused
	}{
		{"one", setOf(t, ecDoc), "[ec]"},
		{"empty", setOf(t), "[]"},
		{"further members", []byte(`{"x":{"keys":1},"keys":[],"issuer":"x"}`), "[]"},
		{"nothing usable", setOf(t, doc{"kty": "AKP"}), "[]"},
		{"secrets", setOf(t, octDoc, octDoc.with("kid", "o2")), "[oct o2]"},
		{"no keys member", []byte(`{}`), "error"},
		{"keys of another case", []byte(`{"Keys":[]}`), "error"},
		{"keys null", []byte(`{"keys":null}`), "error"},
		{"keys an object", []byte(`{"keys":{}}`), "error"},
		{"an array", []byte(`[]`), "error"},
		{"a single key", ecDoc.json(t), "error"},
		{"HTML", []byte(`<html>`), "error"},
		{"empty document", nil, "error"},
		{"cut", setOf(t, ecDoc)[:40], "error"},
		{"keys twice", []byte(`{"keys":[],"keys":[]}`), "error"},
		{"duplicate member in a key", []byte(`{"keys":[{"kty":"EC","kty":"EC"}]}`), "error"},
		{"duplicate id", setOf(t, ecDoc, edDoc.with("kid", "ec")), "error"},
		{"the same key twice", setOf(t, ecDoc.with("kid", nil), ecDoc.with("kid", nil)), "error"},
		{"an id twice, one malformed", setOf(t, ecDoc, ecDoc.with("x", "AQ")), "error"},
		{"an id twice, one with a number for a coordinate", setOf(t, ecDoc, ecDoc.with("y", 7)), "error"},
		{"an id twice, one with an empty coordinate", setOf(t, ecDoc.with("y", ""), ecDoc), "error"},
		{"an id twice, one with a type that is none", setOf(t, ecDoc, ecDoc.with("kty", 7)), "error"},
		{"an id twice, one with a type that is none, and no alg", setOf(t, ecDoc, ecDoc.with("kty", 7, "alg", nil)), "error"},
		{"an id twice, one with a curve that is none, and no alg", setOf(t, ecDoc, ecDoc.with("crv", "", "alg", nil)), "error"},
		{"an id twice, one with a use that is none", setOf(t, ecDoc, ecDoc.with("use", "")), "error"},
		{"an id twice, one with operations that are none", setOf(t, ecDoc.with("key_ops", []any{"verify", 1}), ecDoc), "error"},
		{"an id twice, one of many primes", setOf(t, ecDoc.with("kid", "r"), rsaDoc().with("kid", "r", "oth", []any{})), "error"},
		{"an id twice, one malformed and for encryption", setOf(t, ecDoc, ecDoc.with("use", "enc", "y", 7)), "[ec]"},
		{"an id twice, one malformed and of an unknown kind", setOf(t, ecDoc, doc{"kty": "AKP", "kid": "ec", "x": 7}), "[ec]"},
		{"malformed, with an id of its own", setOf(t, ecDoc, ecDoc.with("kid", "other", "y", 7)), "[ec]"},
		{"an id that is none, twice", setOf(t, ecDoc, ecDoc.with("kid", 7), ecDoc.with("kid", 7)), "[ec]"},
		{"an id twice, one for encryption", setOf(t, ecDoc, ecDoc.with("use", "enc")), "[ec]"},
		{"an id twice, one of an unknown kind", setOf(t, ecDoc, doc{"kty": "AKP", "kid": "ec"}), "[ec]"},
		{"secret beside a public key", setOf(t, ecDoc, octDoc), "error"},
		{"too many", setOf(t, make([]any, 257)...), "error"},
		{"as many as allowed", setOf(t, make([]any, 256)...), "[]"},
		{"too long", append(setOf(t, ecDoc), make([]byte, 1<<20)...), "error"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			keys, err := jwk.ParseSet(tt.set)
			got := fmt.Sprint(keys)
			if err != nil {
				got = "error"
				if keys != nil {
					t.Error("got keys beside the error")
				}
			}
			if got != tt.want {
				t.Errorf("got %s (%v), want %s", got, err, tt.want)
			}
		})
	}
}

// A set is published: what private members it has by mistake are not kept.
func TestParseSetDropsPrivateMembers(t *testing.T) {
	keys, err := jwk.ParseSet(setOf(t, ecDoc.with("key_ops", []string{"sign"}), edDoc, rsaDoc(), rsaDoc().with("kid", "r2", "d", "AQAB")))
	if err != nil {
		t.Fatal(err)
	}
	if len(keys) != 4 {
		t.Fatalf("got %v, want four keys", keys)
	}
	for _, k := range keys {
		if k.CanSign() {
			t.Errorf("%v can sign", k)
		}
	}
}

// The keys of RFC 7520 §3.
func TestRFC7520_3_Keys(t *testing.T) {
	for _, tt := range []struct {
		file, want string
		signs      bool
	}{
		{"3_1.ec_public_key.json", "ES512", false},
		{"3_2.ec_private_key.json", "ES512", true},
		{"3_3.rsa_public_key.json", "RS256", false},
		{"3_4.rsa_private_key.json", "RS256", true},
		{"3_5.symmetric_key_mac_computation.json", "HS256", true},
		{"3_6.symmetric_key_encryption.json", "", false},
	} {
		t.Run(tt.file, func(t *testing.T) {
			k, err := jwk.Parse(vectors.Read(t, "jose-cookbook", "jwk", tt.file))
			if tt.want == "" {
				if err == nil {
					t.Fatalf("accepted as %v", k)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if k.Algorithm() != tt.want || k.CanSign() != tt.signs {
				t.Errorf("got %s, signs %v, want %s, %v", k.Algorithm(), k.CanSign(), tt.want, tt.signs)
			}
		})
	}
	if files, _ := filepath.Glob(filepath.Join(vectors.Path(t, "jose-cookbook", "jwk"), "*.json")); len(files) != 6 {
		t.Errorf("there are %d vectors, want 6", len(files))
	}
}

// The Wycheproof JWK vectors that are about the key alone: no key comes of them.
func TestWycheproofWeakKeys(t *testing.T) {
	data, err := os.ReadFile(vectors.Path(t, "wycheproof", "json_web_key_test.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		TestGroups []struct {
			Comment         string
			Public, Private json.RawMessage
			Tests           []struct{ TcID int }
		}
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	unusable := map[int]bool{
		1: true, 4: true, // mixed kinds; duplicate kid
		6: true, 7: true, 8: true, 9: true, // use enc; ROCA; 1024 bits; exponent 1
		10: true, 11: true, 12: true, 16: true, 17: true, 18: true, // short and empty secrets
		19: true, 20: true, 21: true, 22: true, 23: true, 24: true, 25: true, 26: true, // alg, use, point, curve, kty
	}
	n := 0
	for _, g := range file.TestGroups {
		set := g.Public
		if set == nil {
			set = g.Private
		}
		keys, err := jwk.ParseSet(set)
		for _, tc := range g.Tests {
			n++
			if got := err != nil || len(keys) == 0; got != unusable[tc.TcID] {
				t.Errorf("tcId %d (%s): got %v, %v, want unusable %v", tc.TcID, g.Comment, keys, err, unusable[tc.TcID])
			}
		}
	}
	if n != 26 {
		t.Errorf("there are %d vectors, want 26", n)
	}
}
