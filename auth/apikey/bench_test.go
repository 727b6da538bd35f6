package apikey_test

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/apikey"
	"github.com/sallyport/sallyport/internal/scope"
)

// BenchmarkAuthenticate is the Authenticator alone, with a MemoryStore: one of
// its allocations is the store's.
func BenchmarkAuthenticate(b *testing.B) {
	plain, rec := mint(b, apikey.MintConfig{Subject: "alice", Scopes: []string{"items:read", "items:write"}, Roles: []string{"editor"}})
	unknown, _ := mint(b, apikey.MintConfig{Subject: "alice"})
	keys := newAuthenticator(b, apikey.Config{Store: memory(b, rec)})
	for _, bb := range []struct {
		name, key string
		accepted  bool
	}{
		{"accepted", plain, true},
		{"unknown", unknown, false},
		{"wrong", rechecked(plain[:20] + unknown[20:]), false},
		{"garbage", "sk_garbage", false},
		{"checksum", changed(plain, len(plain)-1), false},
		{"empty", "", false},
	} {
		b.Run(bb.name, func(b *testing.B) {
			r := request(bb.key)
			b.ReportAllocs()
			for b.Loop() {
				if id, err := keys.Authenticate(r); (err == nil) != bb.accepted || (id != nil) != bb.accepted {
					b.Fatalf("got %v, %v", id, err)
				}
			}
		})
	}
}

// BenchmarkDoor is the whole middleware, the copy of the request included. The
// refusals are also rendered and logged.
func BenchmarkDoor(b *testing.B) {
	plain, rec := mint(b, apikey.MintConfig{Subject: "alice", Scopes: []string{"items:read", "items:write"}, Roles: []string{"editor"}})
	unknown, _ := mint(b, apikey.MintConfig{Subject: "alice"})
	door := auth.Require(newAuthenticator(b, apikey.Config{Store: memory(b, rec)}))(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	cached := auth.Require(newAuthenticator(b, apikey.Config{Store: memory(b, rec), CacheFor: 10 * time.Second}))(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for _, bb := range []struct {
		name, key string
		door      http.Handler
		status    int
	}{
		{"accepted", plain, door, http.StatusOK},
		{"cached", plain, cached, http.StatusOK},
		{"unknown", unknown, quiet(door), http.StatusUnauthorized},
		{"garbage", "sk_garbage", quiet(door), http.StatusUnauthorized},
	} {
		b.Run(bb.name, func(b *testing.B) {
			r := request(bb.key)
			w := &nowhere{header: make(http.Header)}
			b.ReportAllocs()
			for b.Loop() {
				w.status = http.StatusOK
				clear(w.header)
				bb.door.ServeHTTP(w, r)
				if w.status != bb.status {
					b.Fatalf("got status %d, want %d", w.status, bb.status)
				}
			}
		})
	}
}

// BenchmarkDoorInChain is the door behind another one that has copied the request:
// what it costs by itself. It is compared with BenchmarkLimit.
func BenchmarkDoorInChain(b *testing.B) {
	plain, rec := mint(b, apikey.MintConfig{Subject: "alice", Scopes: []string{"items:read", "items:write"}, Roles: []string{"editor"}})
	for _, bb := range []struct {
		name     string
		cacheFor time.Duration
	}{{"accepted", 0}, {"cached", 10 * time.Second}} {
		door := auth.Require(newAuthenticator(b, apikey.Config{Store: memory(b, rec), CacheFor: bb.cacheFor}))(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		b.Run(bb.name, func(b *testing.B) {
			s, r := scope.For(request(plain))
			fresh := *s
			w := &nowhere{header: make(http.Header)}
			b.ReportAllocs()
			for b.Loop() {
				*s = fresh
				door.ServeHTTP(w, r)
			}
			if w.status != 0 || s.Identity == nil {
				b.Fatalf("got status %d, identity %v", w.status, s.Identity)
			}
		})
	}
}

// BenchmarkMillion shows that the time does not grow with the number of keys.
func BenchmarkMillion(b *testing.B) {
	if testing.Short() {
		b.Skip("it mints a million keys")
	}
	m := new(apikey.MemoryStore)
	plain, rec := mint(b, apikey.MintConfig{Subject: "alice"})
	if err := m.Add(b.Context(), rec); err != nil {
		b.Fatal(err)
	}
	for i := range 1_000_000 {
		_, other := mint(b, apikey.MintConfig{Subject: strconv.Itoa(i)})
		if err := m.Add(b.Context(), other); err != nil {
			b.Fatal(err)
		}
	}
	keys := newAuthenticator(b, apikey.Config{Store: m})
	r := request(plain)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := keys.Authenticate(r); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLimit is what no implementation can do without: hash, look up, compare.
func BenchmarkLimit(b *testing.B) {
	plain, rec := mint(b, apikey.MintConfig{Subject: "alice"})
	text := []byte(plain)
	id := string(text[len("sk_"):][:len(rec.ID)])
	table := map[string][sha256.Size]byte{id: sha256.Sum256(text)}
	b.ReportAllocs()
	for b.Loop() {
		got, want := sha256.Sum256(text), table[id]
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			b.Fatal("differs")
		}
	}
}

func BenchmarkMint(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		mint(b, apikey.MintConfig{Subject: "alice"})
	}
}

// nowhere is a ResponseWriter that keeps only the status.
type nowhere struct {
	header http.Header
	status int
}

func (w *nowhere) Header() http.Header         { return w.header }
func (w *nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (w *nowhere) WriteHeader(status int)      { w.status = status }
