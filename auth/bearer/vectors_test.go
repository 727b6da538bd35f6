package bearer_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/auth/bearer"
	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/internal/vectors"
)

// wycheproof is a file of test vectors.
type wycheproof struct {
	NumberOfTests int
	TestGroups    []struct {
		Comment         string
		Public, Private json.RawMessage
		Tests           []struct {
			TcID     int
			Comment  string
			JWS, JWE json.RawMessage
			Result   string
		}
	}
}

func readWycheproof(t *testing.T, name string, want int) wycheproof {
	t.Helper()
	data, err := os.ReadFile(vectors.Path(t, "wycheproof", name))
	if err != nil {
		t.Fatal(err)
	}
	var file wycheproof
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, g := range file.TestGroups {
		n += len(g.Tests)
	}
	if n != want || file.NumberOfTests != want {
		t.Fatalf("%s has %d vectors and says %d, want %d", name, n, file.NumberOfTests, want)
	}
	return file
}

// token returns the text of a vector's token: JSON serializations as they are.
func token(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

// open verifies a token with the keys in a JWK or a JWK Set.
func open(t *testing.T, keys json.RawMessage, token string) error {
	t.Helper()
	var list []jwk.Key
	if strings.Contains(string(keys), `"keys"`) {
		var err error
		if list, err = jwk.ParseSet(keys); err != nil {
			return err
		}
	} else {
		k, err := jwk.Parse(keys)
		if err != nil {
			return err
		}
		list = []jwk.Key{k}
	}
	set, err := jwk.Static(list...)
	if err != nil {
		return err
	}
	payload, err := bearer.OpenJWS(t.Context(), set, token)
	if err != nil && payload != nil {
		t.Error("a payload beside an error")
	}
	return err
}

func TestWycheproofJWS(t *testing.T) {
	// Vectors that are marked valid and are refused here, each with its reason.
	refused := map[int]string{
		346: "a PS384 token for a key whose alg is PS256: one key, one algorithm",
		350: "as 346",
		347: "the key's alg is ES521, which does not exist",
		351: "as 347",
		357: "the secret is 32 zero bytes: no key is made of it (see TestWycheproofJWSEncoding)",
		358: "as 357",
		359: "as 357",
		376: "as 357",
		377: "as 357",
		372: "the header segment has a '?', which is not of the base64url alphabet",
		373: "as 372, the payload segment",
	}
	for _, g := range readWycheproof(t, "json_web_signature_test.json", 401).TestGroups {
		keys := g.Public
		if keys == nil {
			keys = g.Private
		}
		for _, tc := range g.Tests {
			err := open(t, keys, token(tc.JWS))
			want := tc.Result == "valid" && refused[tc.TcID] == ""
			if (err == nil) != want {
				t.Errorf("tcId %d (%s, %s): got %v, want accepted %v", tc.TcID, g.Comment, tc.Comment, err, want)
			}
			if refused[tc.TcID] != "" && tc.Result != "valid" {
				t.Errorf("tcId %d is no exception: it is marked %s", tc.TcID, tc.Result)
			}
		}
	}
}

// The vectors about base64 have a secret that is refused for its weakness, so
// their tokens are decoded as every token is, and the MAC is checked here.
func TestWycheproofJWSEncoding(t *testing.T) {
	var accepted []int
	for _, g := range readWycheproof(t, "json_web_signature_test.json", 401).TestGroups {
		if g.Comment != "base64" {
			continue
		}
		for _, tc := range g.Tests {
			jws := token(tc.JWS)
			_, _, signature, err := bearer.ParseJWS(jws)
			if err != nil {
				continue
			}
			mac := hmac.New(sha256.New, make([]byte, 32))
			mac.Write([]byte(jws[:strings.LastIndexByte(jws, '.')]))
			if hmac.Equal(mac.Sum(nil), signature) {
				accepted = append(accepted, tc.TcID)
			}
		}
	}
	// 367 and 370 are marked invalid, but are the same bytes as the valid 357.
	if want := []int{357, 358, 359, 367, 370, 376, 377}; !slices.Equal(accepted, want) {
		t.Errorf("accepted %v, want %v", accepted, want)
	}
}

func TestWycheproofJWK(t *testing.T) {
	for _, g := range readWycheproof(t, "json_web_key_test.json", 26).TestGroups {
		keys := g.Public
		if keys == nil {
			keys = g.Private
		}
		for _, tc := range g.Tests {
			if err := open(t, keys, token(tc.JWS)); (err == nil) != (tc.Result == "valid") {
				t.Errorf("tcId %d (%s, %s): got %v, want %s", tc.TcID, g.Comment, tc.Comment, err, tc.Result)
			}
		}
	}
}

func TestWycheproofMixedJOSE(t *testing.T) {
	signed := 0
	for _, g := range readWycheproof(t, "json_web_crypto_test.json", 83).TestGroups {
		keys := g.Public
		if keys == nil {
			keys = g.Private
		}
		for _, tc := range g.Tests {
			if tc.JWS == nil { // encrypted: all of them are refused, the valid ones too
				if _, _, _, err := bearer.ParseJWS(token(tc.JWE)); err == nil {
					t.Errorf("tcId %d (%s): a JWE is taken for a JWS", tc.TcID, tc.Comment)
				}
				continue
			}
			signed++
			if err := open(t, keys, token(tc.JWS)); (err == nil) != (tc.Result == "valid") {
				t.Errorf("tcId %d (%s, %s): got %v, want %s", tc.TcID, g.Comment, tc.Comment, err, tc.Result)
			}
		}
	}
	if signed != 49 {
		t.Errorf("there are %d signed vectors, want 49", signed)
	}
}

// The examples of RFC 7515, appendices A and E.
func TestRFC7515_A_Examples(t *testing.T) {
	var file struct {
		Vectors []struct {
			Name, Expect, JWS string
			JWK               map[string]any
		}
	}
	if err := json.Unmarshal(vectors.Read(t, "rfc7515", "examples.json"), &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Vectors) != 4 {
		t.Fatalf("there are %d vectors, want 4", len(file.Vectors))
	}
	for _, v := range file.Vectors {
		t.Run(v.Name, func(t *testing.T) {
			if v.Expect == "reject" {
				if header, _, _, err := bearer.ParseJWS(v.JWS); err == nil && !strings.Contains(string(header), `"none"`) {
					t.Error("not refused by its form, and not of alg none")
				}
				k, err := jwk.Generate("HS256")
				if err != nil {
					t.Fatal(err)
				}
				set, err := jwk.Static(k)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := bearer.OpenJWS(t.Context(), set, v.JWS); err == nil {
					t.Error("accepted")
				}
				return
			}
			if v.JWK["kty"] == "oct" { // the example leaves out what a secret needs here
				v.JWK["alg"], v.JWK["kid"] = "HS256", "a1"
			}
			key, err := json.Marshal(v.JWK)
			if err != nil {
				t.Fatal(err)
			}
			if err := open(t, key, v.JWS); err != nil {
				t.Errorf("got %v, want accepted", err)
			}
			dot := strings.LastIndexByte(v.JWS, '.')
			if err := open(t, key, v.JWS[:dot-1]+"A"+v.JWS[dot:]); err == nil {
				t.Error("accepted with another payload")
			}
		})
	}
}

// The examples of RFC 7520 §4, RFC 7797 and RFC 8037.
func TestRFC7520_4_Cookbook(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(vectors.Path(t, "jose-cookbook"), "*", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	accept := map[string]bool{
		"4_1.rsa_v15_signature.json": true, "4_2.rsa-pss_signature.json": true, "4_3.ecdsa_signature.json": true,
		"4_4.hmac-sha2_integrity_protection.json": true,
		"jws.json": true, // RFC 8037, Ed25519
	}
	seen := 0
	for _, path := range files {
		name := filepath.Base(path)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var v struct {
			Input struct {
				Payload string
				Key     json.RawMessage
				Alg     json.RawMessage
			}
			Output struct {
				Compact string
				JSON    json.RawMessage
			}
		}
		if json.Unmarshal(data, &v) != nil || v.Output.Compact == "" && v.Output.JSON == nil {
			continue // a key
		}
		t.Run(name, func(t *testing.T) {
			seen++
			if v.Output.JSON != nil {
				if _, _, _, err := bearer.ParseJWS(string(v.Output.JSON)); err == nil {
					t.Error("the JSON serialization is accepted")
				}
			}
			if !accept[name] {
				if v.Output.Compact == "" {
					return
				}
				if err := open(t, withAlg(t, v.Input.Key, v.Input.Alg), v.Output.Compact); err == nil {
					t.Error("accepted")
				}
				return
			}
			key := withAlg(t, v.Input.Key, v.Input.Alg)
			if err := open(t, key, v.Output.Compact); err != nil {
				t.Errorf("got %v, want accepted", err)
			}
			_, payload, _, err := bearer.ParseJWS(v.Output.Compact)
			if err != nil || string(payload) != v.Input.Payload {
				t.Errorf("payload = %q, %v", payload, err)
			}
		})
	}
	if seen != 12 {
		t.Errorf("saw %d examples, want 12", seen)
	}
}

// withAlg returns a JWK with the algorithm of the example, which its key may
// leave open.
func withAlg(t *testing.T, key, alg json.RawMessage) json.RawMessage {
	t.Helper()
	var members map[string]any
	if err := json.Unmarshal(key, &members); err != nil {
		t.Fatal(err)
	}
	var name string
	if json.Unmarshal(alg, &name) == nil {
		members["alg"] = name
	}
	out, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
