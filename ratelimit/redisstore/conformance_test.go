package redisstore_test

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/internal/redistest"
	"github.com/sallyport/sallyport/ratelimit"
	"github.com/sallyport/sallyport/ratelimit/redisstore"
	"github.com/sallyport/sallyport/ratelimit/storetest"
)

func TestConformance(t *testing.T) {
	for name, config := range map[string]func(t *testing.T) redisstore.Config{
		"single": func(t *testing.T) redisstore.Config {
			return redisstore.Config{Client: single(t, redistest.Start(t).Addr)}
		},
		"single in RESP2, hashed with a key": func(t *testing.T) redisstore.Config {
			client := single(t, redistest.Start(t).Addr, func(o *redis.Options) { o.Protocol = 2 })
			return redisstore.Config{Client: client, HashKey: []byte(strings.Repeat("k", 32))}
		},
		"cluster": func(t *testing.T) redisstore.Config {
			return redisstore.Config{Client: cluster(t, redistest.StartCluster(t))}
		},
		"without denials": func(t *testing.T) redisstore.Config {
			return redisstore.Config{Client: single(t, redistest.Start(t).Addr), MaxDenials: -1}
		},
		"with one denial": func(t *testing.T) redisstore.Config {
			return redisstore.Config{Client: single(t, redistest.Start(t).Addr), MaxDenials: 1}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config(t)
			storetest.Run(t, storetest.Subject{
				New: func(t *testing.T) ratelimit.Store {
					cfg.Prefix = prefix()
					return newStore(t, cfg)
				},
				Advance: time.Sleep,
			})
		})
	}
}

// What is given back later is what counts still: never what time has given back already.
func TestRefund(t *testing.T) {
	server := single(t, redistest.Start(t).Addr)
	store := newStore(t, redisstore.Config{Client: server, Timeout: 100 * time.Millisecond})
	b := open(t, store, "b", ratelimit.PerDay(1000))
	refund, ok := b.(ratelimit.Refunder)
	if !ok {
		t.Fatal("the bucket is no Refunder")
	}
	take := func(n int) ratelimit.Result {
		t.Helper()
		res, err := b.Take(t.Context(), "k", n)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	take(600)
	// 86.4 seconds each, in which they get no older worth mentioning.
	res, err := refund.Refund(t.Context(), "k", 500, 600, 0)
	if err != nil || !res.Allowed || res.Remaining != 900 {
		t.Errorf("500 of 600 just now: got %+v, %v, want 900 left of the day", res, err)
	}
	if res, err = refund.Refund(t.Context(), "k", 100, 100, 2*time.Hour); err != nil || res.Remaining != 916 {
		t.Errorf("100 of 100 two hours ago: got %+v, %v, want back the 16.7 that count still", res, err)
	}
	if res, err = refund.Refund(t.Context(), "k", 100, 100, 3*time.Hour); err != nil || res.Remaining != 916 {
		t.Errorf("100 of 100 three hours ago: got %+v, %v, want nothing back", res, err)
	}
	if res := take(900); !res.Allowed {
		t.Errorf("900: got %+v, want them allowed", res)
	}
	for n, of := range map[int]int{0: 1, -1: 1, 2: 1} {
		if _, err := refund.Refund(t.Context(), "k", n, of, 0); !errors.Is(err, ratelimit.ErrCost) {
			t.Errorf("%d of %d: got %v, want ErrCost", n, of, err)
		}
	}
	// Beside other decisions in one run of the script.
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			key := strconv.Itoa(i)
			if res, err := b.Take(t.Context(), key, 10); err != nil || !res.Allowed {
				t.Errorf("got %+v, %v", res, err)
			}
			if res, err := refund.Refund(t.Context(), key, 1+i%9, 10, 0); err != nil || res.Remaining != 990+1+i%9 {
				t.Errorf("%d of 10: got %+v, %v, want %d left", 1+i%9, res, err, 990+1+i%9)
			}
		})
	}
	wg.Wait()
}
