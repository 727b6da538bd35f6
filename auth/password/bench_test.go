package password_test

import (
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/sallyport/sallyport/auth/password"
)

func BenchmarkHasher(b *testing.B) {
	h := newHasher(b, password.Config{})
	encoded, err := h.Hash(b.Context(), "correct horse")
	if err != nil {
		b.Fatal(err)
	}
	bcrypt10 := bcrypted(b, "correct horse", bcrypt.DefaultCost)
	for _, bb := range []struct {
		name string
		f    func() error
	}{
		{"Hash", func() error { _, err := h.Hash(b.Context(), "correct horse"); return err }},
		{"Verify/accepted", func() error { _, err := h.Verify(b.Context(), encoded, "correct horse"); return err }},
		{"Verify/refused", func() error { _, err := h.Verify(b.Context(), encoded, "wrong horse"); return err }},
		{"Verify/bcrypt10", func() error { _, err := h.Verify(b.Context(), bcrypt10, "correct horse"); return err }},
		{"Verify/malformed", func() error { _, err := h.Verify(b.Context(), encoded+"$", "correct horse"); return err }},
		{"Dummy", func() error { return h.Dummy(b.Context(), "correct horse") }},
		{"NeedsRehash", func() error { h.NeedsRehash(encoded); return nil }},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = bb.f()
			}
		})
	}
}
