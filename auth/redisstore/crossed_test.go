package redisstore_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/redisstore"
	"github.com/sallyport/sallyport/internal/conformance"
	"github.com/sallyport/sallyport/internal/redistest"
)

var crossed = flag.Int("crossed", 10_000, "how many calls TestCVE_2025_29923_CrossedReplies makes")

// A client of Redis that goes on using a connection after a timeout reads the reply
// to the question before. Here replies come late, or when the connection was given
// up, and calls are cancelled: no answer may be that of another call.
func TestCVE_2025_29923_CrossedReplies(t *testing.T) {
	const (
		timeout  = 50 * time.Millisecond
		poolSize = 8
	)
	p := redistest.StartProxy(t, redistest.Start(t).Addr)
	client := single(t, p.Addr, func(o *redis.Options) { o.PoolSize, o.PipelinePoolSize = poolSize, poolSize })
	cfg := redisstore.Config{Client: client, Timeout: timeout}
	revocations, replays := newRevocations(t, cfg), newReplays(t, cfg)

	// Even tokens and sessions are revoked, and even keys used.
	const known = 64
	at := time.Unix(1_700_000_000, 0)
	for i := 0; i < known; i += 2 {
		for _, r := range []auth.Revocation{
			{Issuer: issuer, TokenID: fmt.Sprint(i)},
			{Issuer: issuer, SessionID: fmt.Sprint(i)},
			{Issuer: issuer, Subject: fmt.Sprint(i), NotBefore: at},
		} {
			r.Until = inAnHour()
			eventually(t, "it is revoked", func() bool { return revocations.Revoke(t.Context(), r) == nil })
		}
		eventually(t, "it is used", func() bool {
			_, err := replays.Use(t.Context(), fmt.Sprint(i), inAnHour())
			return err == nil
		})
	}

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
	ask := func(ctx context.Context, i int) (got, want bool, err error) {
		n := rand.IntN(known)
		even := n%2 == 0
		switch i % 5 {
		case 0:
			got, err = revocations.Revoked(ctx, auth.TokenInfo{Issuer: issuer, ID: fmt.Sprint(n)})
			return got, even, err
		case 1: // the session alone decides, in the middle of three replies
			got, err = revocations.Revoked(ctx, auth.TokenInfo{Issuer: issuer, ID: "1", SessionID: fmt.Sprint(n), Subject: "1"})
			return got, even, err
		case 2: // the time of the subject decides
			issued := at.Add(time.Duration(rand.IntN(2)*2-1) * time.Second)
			got, err = revocations.Revoked(ctx, auth.TokenInfo{Issuer: issuer, Subject: fmt.Sprint(n), IssuedAt: issued})
			return got, even && issued.Before(at), err
		case 3:
			got, err = replays.Use(ctx, fmt.Sprint(n/2*2), inAnHour())
			return got, false, err
		default:
			got, err = replays.Use(ctx, fmt.Sprint("new ", i), inAnHour())
			return got, true, err
		}
	}
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
				got, want, err := ask(ctx, i)
				cancel()
				switch {
				case err != nil:
					failed.Add(1)
				case got != want:
					t.Errorf("call %d (of the kind %d): got %v, want %v", i, i%5, got, want)
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
