package bench

import (
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/bearer"
	httperr "github.com/sallyport/sallyport/errors"
)

// manyTokens is how many different tokens a stranger sends.
const manyTokens = 100_000

// garbage are tokens whose form alone shows that they can't be good. Each format has
// the place of a number, which makes all of them different.
var garbage = []struct{ name, format string }{
	{"no JWS", "garbage-%d-" + strings.Repeat("x", 500)},
	{"three parts", "%d." + strings.Repeat("x", 500) + ".xx"},
	{"not base64", "eyJ%d~." + strings.Repeat("x", 500) + ".xx"},
}

// BenchmarkGarbage measures what different tokens that nobody signed cost, and how much
// of 100,000 of them stays in memory.
func BenchmarkGarbage(b *testing.B) {
	for _, kind := range garbage {
		b.Run(kind.name, func(b *testing.B) {
			a := garbageAuthenticator(b)
			kept := heapKept(b, a, kind.format)
			requests := make([]*http.Request, manyTokens)
			for i := range requests {
				requests[i] = bearerRequest(fmt.Sprintf(kind.format, i))
			}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Authenticate(requests[i%manyTokens]); err == nil {
					b.Fatal("accepted")
				}
				i++
			}
			b.ReportMetric(kept, "heap-bytes-kept")
		})
	}
	b.Run("1 MiB", func(b *testing.B) {
		a := garbageAuthenticator(b)
		r := bearerRequest(mebibyte)
		var err error
		b.ReportAllocs()
		for b.Loop() {
			if _, err = a.Authenticate(r); err == nil {
				b.Fatal("accepted")
			}
		}
		if p := (*httperr.Problem)(nil); !errors.As(err, &p) || p.Status != http.StatusBadRequest {
			b.Fatal(err) // not by its size
		}
	})
}

// mebibyte has the form of a token, and 1 MiB of claims that nobody signed.
var mebibyte = "eyJhbGciOiJSUzI1NiIsInR5cCI6ImF0K2p3dCJ9." + strings.Repeat("A", 1<<20) + ".AA"

func garbageAuthenticator(t testing.TB) *bearer.Authenticator {
	t.Helper()
	a, err := authenticator(materials()[1], bearer.CacheConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// heapKept returns by how many bytes the heap has grown after a has refused manyTokens
// different tokens. Nothing but a could still hold one of them, or what was made of it.
func heapKept(t testing.TB, a auth.Authenticator, format string) float64 {
	t.Helper()
	ask := func(from, to int) {
		for i := from; i < to; i++ {
			if _, err := a.Authenticate(bearerRequest(fmt.Sprintf(format, i))); !errors.Is(err, auth.ErrInvalid) {
				t.Fatal(err)
			}
		}
	}
	ask(0, 1000) // what is made once is not the strangers' doing
	before := heap()
	ask(1000, 1000+manyTokens)
	after := heap()
	runtime.KeepAlive(a) // with all that it remembers
	return max(0, float64(after)-float64(before))
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // a sync.Pool gives up what it has at the second
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// What a stranger sends does not stay in memory.
func TestGarbageIsNotKept(t *testing.T) {
	for _, kind := range garbage {
		t.Run(kind.name, func(t *testing.T) {
			if kept := heapKept(t, garbageAuthenticator(t), kind.format); kept > 1<<20 {
				t.Errorf("%.0f bytes are kept of %d tokens", kept, manyTokens)
			}
		})
	}
}
