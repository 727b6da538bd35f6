package basic_test

import (
	"context"
	"net/http/httptest"
	"testing"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/basic"
	"github.com/sallyport/sallyport/auth/password"
)

// The cost is that of one hash, except for what never gets that far.
func BenchmarkAuthenticator(b *testing.B) {
	hasher, err := password.New(password.Config{})
	if err != nil {
		b.Fatal(err)
	}
	hash, err := hasher.Hash(b.Context(), secret)
	if err != nil {
		b.Fatal(err)
	}
	store := &accounts{users: map[string]auth.User{"ada": {Subject: "user-1", PasswordHash: hash}}}
	h := wrap(newBasic(b, basic.Config{Users: store, Passwords: hasher}), discard{})
	for _, bb := range []struct {
		name, authorization string
		want                int
	}{
		{"accepted", encode("ada", secret), 200},
		{"refused", encode("ada", "wrong"), 401},
		{"unknown", encode("eve", "wrong"), 401},
		{"malformed", "Basic YWRh", 401},
	} {
		b.Run(bb.name, func(b *testing.B) {
			r := request(bb.authorization)
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if w.Code != bb.want {
					b.Fatalf("got %d, want %d", w.Code, bb.want)
				}
			}
		})
	}
	b.Run("other scheme", func(b *testing.B) {
		a := newBasic(b, basic.Config{Users: store, Passwords: hasher})
		r := request("Bearer abc")
		b.ReportAllocs()
		for b.Loop() {
			if _, err := a.Authenticate(r); err == nil {
				b.Fatal("accepted")
			}
		}
	})
}

type discard struct{}

func (discard) Record(context.Context, audit.Event) error { return nil }
