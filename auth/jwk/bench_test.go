package jwk_test

import (
	"testing"

	"github.com/sallyport/sallyport/auth/jwk"
)

func BenchmarkVerify(b *testing.B) {
	input := make([]byte, 512)
	for _, alg := range []string{"HS256", "RS256", "PS256", "ES256", "EdDSA"} {
		k := mustKey(b, "k", alg, privateMaterial(b, alg))
		signature, err := k.Sign(input)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(alg, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := k.Verify(input, signature); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSignCompact(b *testing.B) {
	payload := make([]byte, 300)
	for _, alg := range []string{"HS256", "RS256", "ES256", "EdDSA"} {
		k := mustKey(b, "k", alg, privateMaterial(b, alg))
		b.Run(alg, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := k.SignCompact("at+jwt", payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRingLookup(b *testing.B) {
	r := newRing(b, ecKey(b, "a"), ecKey(b, "b"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Lookup(b.Context(), "a", "ES256"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseSet(b *testing.B) {
	set := setOf(b, rsaDoc(), ecDoc, edDoc)
	b.ReportAllocs()
	for b.Loop() {
		if keys, err := jwk.ParseSet(set); err != nil || len(keys) != 3 {
			b.Fatal(keys, err)
		}
	}
}

func BenchmarkHandler(b *testing.B) {
	h := jwk.Handler(newRing(b, ecKey(b, "a")))
	for _, method := range []string{"GET", "POST"} {
		b.Run(method, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				get(b, h, method, nil)
			}
		})
	}
}
