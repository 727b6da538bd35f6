package introspect_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/internal/introspect"
)

// BenchmarkHit is a token that was asked about before.
func BenchmarkHit(b *testing.B) {
	for name, body := range map[string]string{
		"active":     `{"active":true,"sub":"alice","scope":"items:read","aud":"api","exp":4102444800}`,
		"not active": `{"active":false}`,
	} {
		for _, n := range []int{43, 1200} {
			b.Run(fmt.Sprintf("%s/%d bytes", name, n), func(b *testing.B) {
				c := newClient(b, &asServer{answer: says(body)}, func(c *introspect.Config) { c.CacheTTL, c.NegativeTTL = 3.6e12, 6e10 })
				token := strings.Repeat("a", n)
				ask(b, c, token)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := c.Introspect(b.Context(), token); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkHitParallel is many at a time.
func BenchmarkHitParallel(b *testing.B) {
	c := newClient(b, new(asServer), func(c *introspect.Config) { c.CacheTTL = 3.6e12 })
	token := strings.Repeat("a", 43)
	ask(b, c, token)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Introspect(b.Context(), token); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkRead is an answer that came.
func BenchmarkRead(b *testing.B) {
	body := []byte(`{"active":true,"sub":"alice","scope":"items:read items:write","client_id":"app","aud":["api"],"iss":"https://login.example.com","exp":4102444800,"iat":1700000000}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := introspect.ReadAnswer(body); err != nil {
			b.Fatal(err)
		}
	}
}
