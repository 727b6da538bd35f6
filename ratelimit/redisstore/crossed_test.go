package redisstore_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/internal/conformance"
	"github.com/sallyport/sallyport/internal/redistest"
	"github.com/sallyport/sallyport/ratelimit/redisstore"
)

var crossed = flag.Int("crossed", 10_000, "how many decisions TestCVE_2025_29923_CrossedReplies asks for")

// A client of Redis that goes on using a connection after a timeout reads the reply
// to the question before, and those who travel together could get each other's. Here
// replies come late, or when the connection was given up, and calls are cancelled: no
// decision may be that of another key.
func TestCVE_2025_29923_CrossedReplies(t *testing.T) {
	const (
		timeout  = 50 * time.Millisecond
		poolSize = 8
		known    = 64
	)
	p := redistest.StartProxy(t, redistest.Start(t).Addr)
	client := single(t, p.Addr, func(o *redis.Options) { o.PoolSize, o.PipelinePoolSize = poolSize, poolSize })
	b := bucket(t, redisstore.Config{Client: client, Timeout: timeout, MaxDenials: -1}, hourly(2*known+2))
	// Key n has spent 2n, and what is asked for may never be spent: it is refused.
	for n := range known {
		eventually(t, "it is spent", func() bool {
			res, err := b.Take(t.Context(), fmt.Sprint(n), 2*n+2)
			return err == nil && !res.Allowed || err == nil && res.Remaining == 2*known-2*n
		})
	}
	left := func(n int) int { return 2*known - 2*n }

	// Of a hundred replies two are late and one is lost, those by which connections
	// begin included.
	p.On(func(string, string) (time.Duration, bool) {
		switch rand.IntN(100) {
		case 0, 1:
			return rand.N(2 * timeout), true
		case 2:
			return 0, false
		}
		return 0, true
	})
	var answered, failed, next atomic.Int64
	leavesNothing(t, p, func() {
		conformance.Together(16, func(int) {
			for {
				i := int(next.Add(1))
				if i > *crossed {
					return
				}
				ctx, cancel := context.WithCancel(t.Context())
				if i%16 == 0 {
					time.AfterFunc(rand.N(timeout), cancel)
				}
				n := rand.IntN(known)
				res, err := b.Take(ctx, fmt.Sprint(n), left(n)+1)
				cancel()
				switch {
				case err != nil && strings.Contains(err.Error(), "unexpected reply"):
					t.Errorf("call %d: %v", i, err)
				case err != nil:
					failed.Add(1)
				case res.Allowed || res.Remaining != left(n):
					t.Errorf("call %d of key %d: got %+v, want refused with %d left", i, n, res, left(n))
				default:
					answered.Add(1)
				}
			}
		})
		if n, most := p.Open(), 4*poolSize; n > most {
			t.Errorf("there are %d connections, want no more than %d", n, most)
		}
	})
	t.Logf("%d answers and %d errors", answered.Load(), failed.Load())
	if answered.Load() < int64(*crossed)/4 || failed.Load() < int64(*crossed)/1000 {
		t.Errorf("%d answers and %d errors: the test needs more of both", answered.Load(), failed.Load())
	}
}
