package jwk_test

import (
	"encoding/json"
	"testing"

	"github.com/sallyport/sallyport/auth/jwk"
)

// Whatever is accepted as a key is one: it has an id and an algorithm, verifies
// what it signs, and its public JWK is read back as the same public key.
func FuzzParse(f *testing.F) {
	for _, d := range []doc{ecDoc, edDoc, octDoc, rsaDoc(), ecDoc.with("d", nil), {"kty": "RSA"}} {
		f.Add(d.json(f))
	}
	f.Add([]byte(`{"kty":"oct","k":"","alg":"HS256","kid":"\u0000"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := jwk.Parse(data)
		if err != nil {
			if k != (jwk.Key{}) {
				t.Fatal("a key beside an error")
			}
			return
		}
		checkParsed(t, k)
	})
}

// Whatever is accepted as a set has distinct ids and one kind of key, none of
// them with a private half, and makes a Static set in which each is found.
func FuzzParseSet(f *testing.F) {
	f.Add(setOf(f, ecDoc, edDoc, rsaDoc()))
	f.Add(setOf(f, octDoc, octDoc.with("kid", "o2")))
	f.Add(setOf(f, nil, 1, doc{"kty": "EC"}))
	f.Add([]byte(`{"keys":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := jwk.ParseSet(data)
		if err != nil || len(keys) == 0 {
			if keys != nil {
				t.Fatal("keys beside an error")
			}
			return
		}
		set, err := jwk.Static(keys...)
		if err != nil {
			t.Fatalf("an accepted set is none: %v", err)
		}
		for _, k := range keys {
			if k.CanSign() && !k.Symmetric() {
				t.Fatal("a set has a private key")
			}
			if got, err := set.Lookup(t.Context(), k.ID(), k.Algorithm()); err != nil || got != k {
				t.Fatalf("%q is not found: %v", k.ID(), err)
			}
			checkParsed(t, k)
		}
	})
}

func checkParsed(t *testing.T, k jwk.Key) {
	t.Helper()
	if k.ID() == "" || k.Algorithm() == "" {
		t.Fatal("a key without id or algorithm")
	}
	if k.Verify([]byte("x"), nil) == nil || k.Verify([]byte("x"), make([]byte, 64)) == nil {
		t.Fatal("an empty signature is accepted")
	}
	if k.CanSign() {
		signature, err := k.Sign([]byte("x"))
		if err != nil {
			t.Fatalf("an accepted key does not sign: %v", err)
		}
		if err := k.Verify([]byte("x"), signature); err != nil {
			t.Fatalf("an accepted key does not verify: %v", err)
		}
	}
	public, err := k.Public()
	if err != nil {
		if !k.Symmetric() {
			t.Fatal(err)
		}
		return
	}
	out, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	back, err := jwk.Parse(out)
	if err != nil {
		t.Fatalf("the public JWK %s: %v", out, err)
	}
	again, err := json.Marshal(back)
	if err != nil || string(again) != string(out) || back.CanSign() || back.ID() != public.ID() {
		t.Fatalf("read back as %s, want %s", again, out)
	}
}
