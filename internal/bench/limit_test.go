package bench

import (
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strconv"
	"sync/atomic"
	"testing"
)

const million = 1_000_000

// address returns key i: an IPv4 address, which stands in memory of its own.
func address(i int) string {
	n := uint32(i) + 1<<24
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}).String()
}

// lookups returns random ones of the first n keys, at most a million. They stand in memory
// in this order, so that a key is at hand when it is asked for, as that of a request is,
// wherever the limiter has what belongs to it.
func lookups(n int) []string {
	rnd := rand.New(rand.NewPCG(1, 2))
	keys := make([]string, min(n, million))
	ends := make([]int, len(keys))
	var text []byte
	for i := range keys {
		text = append(text, address(rnd.IntN(n))...)
		ends[i] = len(text)
	}
	all, start := string(text), 0
	for i, end := range ends {
		keys[i], start = all[start:end], end
	}
	return keys
}

// fill asks for each of the keys from one number up to another, and returns how many were
// allowed. What a limiter keeps of a key is not in the memory of lookups, so it has to
// compare the two.
func (l limiter) fill(from, to int) int {
	allowed := 0
	for i := from; i < to; i++ {
		if l.allow(address(i)) {
			allowed++
		}
	}
	return allowed
}

// BenchmarkLimit measures decisions: of one key, of 10,000 and of a million random ones
// that are all live.
func BenchmarkLimit(b *testing.B) {
	few, many := lookups(10_000), lookups(million)
	for _, c := range limiters {
		for _, bb := range []struct {
			name    string
			of      quota
			keys    []string
			allowed bool
		}{
			{"hot", endless, few[:1], true},
			{"hot, refused", usedUp, few[:1], false},
			{"10k", endless, few, true},
			{"1M", endless, many, true},
		} {
			b.Run(c.name+"/"+bb.name, func(b *testing.B) {
				bb.of.keys = 2 * len(bb.keys)
				l := newLimiter(b, c.make, bb.of)
				l.fill(0, len(bb.keys))
				if len(bb.keys) == 1 {
					l.allow(bb.keys[0])
				}
				decide(b, l, bb.keys, bb.allowed)
			})
		}
		b.Run(c.name+"/10k, parallel", func(b *testing.B) {
			l := newLimiter(b, c.make, endless)
			l.fill(0, len(few))
			var worker, refused atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				i := int(worker.Add(1)) * 4999 % len(few)
				for pb.Next() {
					if i++; i == len(few) {
						i = 0
					}
					if !l.allow(few[i]) {
						refused.Add(1)
					}
				}
			})
			if n := refused.Load(); n > 0 {
				b.Errorf("%d were refused", n)
			}
		})
	}
}

func decide(b *testing.B, l limiter, keys []string, allowed bool) {
	b.ReportAllocs()
	i, wrong := 0, 0
	for b.Loop() {
		if i++; i == len(keys) {
			i = 0
		}
		if l.allow(keys[i]) != allowed {
			wrong++
		}
	}
	if wrong > 0 {
		b.Errorf("%d decisions were wrong", wrong)
	}
}

// BenchmarkLimitHTTP measures whole middleware, as far as a contender has one.
func BenchmarkLimitHTTP(b *testing.B) {
	for _, c := range limiters {
		for _, bb := range []struct {
			name   string
			of     quota
			status int
		}{
			{"allowed", usual, 0},
			{"refused", usedUp, http.StatusTooManyRequests},
		} {
			l := newLimiter(b, c.make, bb.of)
			if l.wrap == nil {
				continue
			}
			b.Run(c.name+"/"+bb.name, func(b *testing.B) {
				h, r := l.wrap(next), limitedRequest()
				w := &statusWriter{h: make(http.Header)}
				h.ServeHTTP(w, r)
				b.ReportAllocs()
				for b.Loop() {
					clear(w.h)
					w.status = 0
					h.ServeHTTP(w, r)
				}
				if w.status != bb.status {
					b.Errorf("status %d, want %d", w.status, bb.status)
				}
			})
		}
	}
}

// BenchmarkLimitCurve measures decisions about random keys of as many as are live, from one
// to a million, and to ten million with who needs less than 1.5 GB for them.
func BenchmarkLimitCurve(b *testing.B) {
	for _, c := range limiters {
		b.Run(c.name, func(b *testing.B) {
			most := million
			switch c.name {
			case "sallyport", "go-limiter", "throttled", "httprate":
				most *= 10
			}
			q := endless
			q.keys = 2 * most
			l := newLimiter(b, c.make, q)
			live := 0
			for n := 1; n <= most; n *= 10 {
				live += l.fill(live, n)
				if live < n {
					b.Fatalf("one of the first %d keys was refused", n)
				}
				keys := lookups(n)
				b.Run(strconv.Itoa(n), func(b *testing.B) { decide(b, l, keys, true) })
			}
		})
	}
}
