package basic_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/basic"
	"github.com/sallyport/sallyport/auth/password"
)

// The cost is that of one hash, except for what never gets that far, and for a
// password that is known: that is the whole middleware, with the copy of the request.
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
	cold := wrap(newBasic(b, basic.Config{Users: store, Passwords: hasher, Cache: basic.CacheConfig{Disabled: true}}), discard{})
	door := auth.Require(newBasic(b, basic.Config{Users: store, Passwords: hasher}))(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for _, bb := range []struct {
		name, authorization string
		h                   http.Handler
		want                int
	}{
		{"accepted", encode("ada", secret), cold, 200},
		{"known", encode("ada", secret), door, 200},
		{"refused", encode("ada", "wrong"), h, 401},
		{"unknown", encode("eve", "wrong"), h, 401},
		{"malformed", "Basic YWRh", h, 401},
	} {
		b.Run(bb.name, func(b *testing.B) {
			r := request(bb.authorization)
			b.ReportAllocs()
			w := &status{header: make(http.Header)}
			for b.Loop() {
				w.code = 200
				clear(w.header)
				bb.h.ServeHTTP(w, r)
				if w.code != bb.want {
					b.Fatalf("got %d, want %d", w.code, bb.want)
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

// A status is a ResponseWriter that costs nothing.
type status struct {
	header http.Header
	code   int
}

func (s *status) Header() http.Header         { return s.header }
func (s *status) Write(b []byte) (int, error) { return len(b), nil }
func (s *status) WriteHeader(code int)        { s.code = code }

type discard struct{}

func (discard) Record(context.Context, audit.Event) error { return nil }
