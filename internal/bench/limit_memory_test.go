package bench

import (
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"
)

// BenchmarkLimitMemory measures the heap that each live key takes, and how long a
// collection takes with all of them. For Sallyport it also measures other numbers of keys
// than MaxKeys, in percent of it.
func BenchmarkLimitMemory(b *testing.B) {
	for _, c := range limiters {
		b.Run(c.name+"/1M", func(b *testing.B) { liveHeap(b, c.make, million, million) })
	}
	for _, most := range []int{million, 10 * million} {
		for _, percent := range []int{55, 70, 85, 100} {
			if most == million && percent == 100 {
				continue // is above
			}
			if most > million && percent > 55 && percent < 100 {
				continue // takes long, and is as with a million
			}
			name := "sallyport/" + strconv.Itoa(most/million) + "M " + strconv.Itoa(percent) + "%"
			b.Run(name, func(b *testing.B) { liveHeap(b, sallyportLimiter, most/100*percent, most) })
		}
	}
}

// liveHeap asks for n keys once. Each that is allowed is live: it has used up its quota, and
// the limiter has to know.
func liveHeap(b *testing.B, of func(quota) (limiter, error), n, most int) {
	q := usedUp
	q.keys = most
	before := heap()
	l := newLimiter(b, of, q)
	live := l.fill(0, n)
	after := heap()
	collection := time.Hour
	for range 3 {
		start := time.Now()
		runtime.GC()
		collection = min(collection, time.Since(start))
	}
	for b.Loop() { // what it measures is reported here
	}
	if l.allow(address(0)) { // and the limiter is still in use
		b.Error("a key that was used up is allowed")
	}
	b.ReportMetric((float64(after)-float64(before))/float64(live), "heap-bytes/key")
	b.ReportMetric(float64(live)/float64(n), "kept")
	b.ReportMetric(float64(collection), "gc-ns")
}

const (
	stallEvery = 10 * time.Microsecond // a decision each
	stallFor   = 2 * time.Second
)

// BenchmarkLimitStall measures how long decisions take while a million keys expire, and while
// they don't. A decision is due each 10 µs, about a new key. Its time counts from when it was
// due, so it includes the time in which nothing was decided.
func BenchmarkLimitStall(b *testing.B) {
	const decisions = int(stallFor / stallEvery)
	keys := make([]string, decisions)
	for i := range keys {
		keys[i] = address(million + i)
	}
	took := make([]time.Duration, decisions)
	for _, c := range limiters {
		for _, bb := range []struct {
			name string
			of   quota
		}{
			{"kept", quota{burst: 1, interval: 1000 * time.Hour, window: 1000 * time.Hour}},
			{"expiring", quota{burst: 1, interval: time.Second, window: time.Second, forget: time.Second}},
		} {
			b.Run(c.name+"/"+bb.name, func(b *testing.B) {
				bb.of.keys = 2 * million
				l := newLimiter(b, c.make, bb.of)
				l.fill(0, million)
				runtime.GC() // of what filled it
				start := time.Now()
				for i, key := range keys {
					due := time.Duration(i) * stallEvery
					for time.Since(start) < due { //nolint:revive // waits
					}
					l.allow(key)
					took[i] = time.Since(start) - due
				}
				for b.Loop() { // what it measures is reported here
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[decisions-1-decisions/1000]), "p99.9-ns")
				b.ReportMetric(float64(took[decisions-1]), "max-ns")
			})
		}
	}
}

// BenchmarkLimitSpray sends 50 million keys through a Memory that may keep one million.
func BenchmarkLimitSpray(b *testing.B) {
	b.Run("sallyport", func(b *testing.B) {
		s := spray(b, million, 50*million)
		for b.Loop() { // what it measures is reported here
		}
		b.ReportMetric(s.heap, "heap-bytes")
		b.ReportMetric(float64(s.allowed), "allowed")
		b.ReportMetric(s.each, "each-ns")
	})
}

// Keys without number neither take more memory than there may be, nor free one that is
// limited. make bench runs it with 50 million.
func TestSpray(t *testing.T) {
	const most = 50_000
	s := spray(t, most, 20*most)
	if s.heap > 20*most {
		t.Errorf("the heap grew by %.0f bytes, want at most 20 for each of %d keys", s.heap, most)
	}
}

type sprayed struct {
	heap    float64 // by how much it grew
	allowed int     // of all keys
	each    float64 // nanoseconds
}

// spray sends n keys through a Memory that may keep most. It fails t if a key that was
// limited before is free in between, or if more are allowed than most and one for each
// shard.
func spray(t testing.TB, most, n int) (s sprayed) {
	const limited, shards = 1000, 128
	before := heap()
	q := usedUp
	q.keys = most
	l := newLimiter(t, sallyportLimiter, q)
	if kept := l.fill(0, limited); kept != limited {
		t.Fatalf("%d of the first %d keys were allowed", kept, limited)
	}
	s.allowed = limited
	const parts = 50
	var took time.Duration
	for part := range parts {
		start := time.Now()
		s.allowed += l.fill(limited+part*n/parts, limited+(part+1)*n/parts)
		took += time.Since(start)
		if free := l.fill(0, limited); free > 0 {
			t.Fatalf("after %d keys, %d of %d that were limited are free", (part+1)*n/parts, free, limited)
		}
	}
	if s.allowed > most+shards {
		t.Errorf("%d of %d keys were allowed, want at most %d and one for each of %d shards", s.allowed, n, most, shards)
	}
	s.heap = float64(heap()) - float64(before)
	s.each = float64(took) / float64(n)
	if l.allow(address(0)) {
		t.Error("a key that is limited is free")
	}
	return s
}
