package ratelimit_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/internal/scope"
	"github.com/sallyport/sallyport/ratelimit"
)

func BenchmarkTake(b *testing.B) {
	fast := ratelimit.PerSecond(1_000_000_000)
	keys := make([]string, 10_000)
	for i := range keys {
		keys[i] = "client-" + strconv.Itoa(i)
	}
	for _, bb := range []struct {
		name   string
		limits []ratelimit.Limit
		keys   []string
	}{
		{"hot/allowed", []ratelimit.Limit{fast}, keys[:1]},
		{"hot/refused", []ratelimit.Limit{ratelimit.PerDay(1)}, keys[:1]},
		{"hot/allowed/fraction", []ratelimit.Limit{ratelimit.PerSecond(999_999_937)}, keys[:1]},
		{"hot/allowed/2limits", []ratelimit.Limit{fast, fast.WithBurst(10_000)}, keys[:1]},
		{"10k/allowed", []ratelimit.Limit{fast}, keys},
		{"10k/refused", []ratelimit.Limit{ratelimit.PerDay(1)}, keys},
	} {
		b.Run(bb.name, func(b *testing.B) {
			s := bucket(b, ratelimit.MemoryConfig{}, bb.limits...)
			ctx := b.Context()
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if i++; i == len(bb.keys) {
					i = 0
				}
				if _, err := s.Take(ctx, bb.keys[i], 1); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(bb.name+"/parallel", func(b *testing.B) {
			s := bucket(b, ratelimit.MemoryConfig{}, bb.limits...)
			ctx := b.Context()
			var worker atomic.Int64
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				i := int(worker.Add(1)) * 4999 % len(bb.keys)
				for pb.Next() {
					if i++; i == len(bb.keys) {
						i = 0
					}
					_, _ = s.Take(ctx, bb.keys[i], 1)
				}
			})
		})
	}
}

// Each decision is for a key that was never seen, in a table that is full.
func BenchmarkTakeSprayed(b *testing.B) {
	s := bucket(b, ratelimit.MemoryConfig{}, ratelimit.PerDay(1))
	ctx := b.Context()
	for i := range 1_200_000 {
		_, _ = s.Take(ctx, "fill-"+strconv.Itoa(i), 1)
	}
	keys := make([]string, 1<<16)
	for i := range keys {
		keys[i] = "spray-" + strconv.Itoa(i)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		_, _ = s.Take(ctx, keys[i&(1<<16-1)], 1)
	}
}

// discard is a ResponseWriter that costs little.
type discard struct{ h http.Header }

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}

// silent is a Recorder that keeps nothing.
type silent struct{}

func (silent) Record(context.Context, audit.Event) error { return nil }

func BenchmarkWrap(b *testing.B) {
	for _, bb := range []struct {
		name  string
		limit ratelimit.Limit
	}{
		{"allowed", ratelimit.PerSecond(1_000_000_000)},
		{"refused", ratelimit.PerDay(1)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			h := newLimiter(b, ratelimit.Config{Limits: []ratelimit.Limit{bb.limit}}).Wrap(
				http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			// Events are discarded, as a recorder that queues would.
			s, r := scope.For(httptest.NewRequest(http.MethodGet, "/", nil))
			s.Recorder = silent{}
			w := &discard{h: make(http.Header)}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.h)
				h.ServeHTTP(w, r)
			}
		})
	}
}

func BenchmarkInFlight(b *testing.B) {
	keys := make([]string, 10_000)
	for i := range keys {
		keys[i] = "/" + strconv.Itoa(i)
	}
	for _, bb := range []struct {
		name  string
		cfg   ratelimit.InFlightConfig
		taken bool
	}{
		{"free", ratelimit.InFlightConfig{Max: 1000}, false},
		{"free/controlled", ratelimit.InFlightConfig{Max: 1000, Queue: 1000, Target: 5e6}, false},
		{"free/key", ratelimit.InFlightConfig{Max: 1000, Key: byPath}, false},
		{"refused", ratelimit.InFlightConfig{Max: 1}, true},
	} {
		f := newInFlight(b, bb.cfg)
		if bb.taken {
			defer acquire(b, f, "")()
		}
		h := f.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		request := func() *http.Request {
			s, r := scope.For(httptest.NewRequest(http.MethodGet, "/", nil))
			s.Recorder = silent{}
			return r
		}
		b.Run(bb.name, func(b *testing.B) {
			r, w := request(), &discard{h: make(http.Header)}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				clear(w.h)
				if i++; i == len(keys) {
					i = 0
				}
				r.URL.Path = keys[i]
				h.ServeHTTP(w, r)
			}
		})
		b.Run(bb.name+"/parallel", func(b *testing.B) {
			var worker atomic.Int64
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				r, w := request(), &discard{h: make(http.Header)}
				i := int(worker.Add(1)) * 4999 % len(keys)
				for pb.Next() {
					clear(w.h)
					if i++; i == len(keys) {
						i = 0
					}
					r.URL.Path = keys[i]
					h.ServeHTTP(w, r)
				}
			})
		})
	}
}

// Each place is handed to one who waits for it.
func BenchmarkInFlightQueue(b *testing.B) {
	for _, bb := range []struct {
		name string
		cfg  ratelimit.InFlightConfig
	}{
		{"in order", ratelimit.InFlightConfig{Max: 1, Queue: 1000}},
		{"stands", ratelimit.InFlightConfig{Max: 1, Queue: 1000, Target: 1e9, Interval: 1}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			f := newInFlight(b, bb.cfg)
			b.ReportAllocs()
			b.SetParallelism(50)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if release, err := f.Acquire(b.Context(), ""); err == nil {
						release()
					}
				}
			})
		})
	}
}
