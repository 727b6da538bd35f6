package redisstore_test

import (
	"strings"
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
