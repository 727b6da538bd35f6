package redisstore_test

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sallyport/sallyport/internal/redistest"
	"github.com/sallyport/sallyport/ratelimit"
	"github.com/sallyport/sallyport/ratelimit/redisstore"
)

// The server shares the machine with the client. Figures beside other libraries are
// in internal/bench.
func BenchmarkTake(b *testing.B) {
	for _, callers := range []int{1, 16, 128} {
		b.Run(fmt.Sprint("single, ", callers), func(b *testing.B) {
			benchmark(b, redisstore.Config{Client: single(b, redistest.Start(b).Addr)}, 10_000, callers)
		})
	}
	b.Run("cluster, 128", func(b *testing.B) {
		benchmark(b, redisstore.Config{Client: cluster(b, redistest.StartCluster(b))}, 10_000, 128)
	})
	b.Run("hot key, 128", func(b *testing.B) {
		benchmark(b, redisstore.Config{Client: single(b, redistest.Start(b).Addr)}, 1, 128)
	})
	b.Run("hot key with a lease, 128", func(b *testing.B) {
		benchmark(b, redisstore.Config{Client: single(b, redistest.Start(b).Addr), Lease: redisstore.Lease{Events: 100}}, 1, 128)
	})
}

func benchmark(b *testing.B, cfg redisstore.Config, keys, callers int) {
	bucket := bucket(b, cfg, ratelimit.PerSecond(1_000_000))
	names := make([]string, keys)
	for i := range names {
		names[i] = "key " + strconv.Itoa(i)
	}
	for range 100 { // the client connects
		take(b, bucket, names[0], 1)
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for range callers {
		wg.Go(func() {
			for {
				i := int(next.Add(1))
				if i > b.N {
					return
				}
				if _, err := bucket.Take(b.Context(), names[i*7919%keys], 1); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
}
