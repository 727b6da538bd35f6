package redisstore_test

import (
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/redisstore"
	"github.com/sallyport/sallyport/auth/storetest"
	"github.com/sallyport/sallyport/internal/redistest"
)

// eachServer runs conform with each kind of server that stores are for.
func eachServer(t *testing.T, conform func(*testing.T, redisstore.Config)) {
	t.Helper()
	t.Run("single", func(t *testing.T) {
		t.Parallel()
		conform(t, redisstore.Config{Client: single(t, redistest.Start(t).Addr)})
	})
	t.Run("single in RESP2, hashed with a key", func(t *testing.T) {
		t.Parallel()
		client := single(t, redistest.Start(t).Addr, func(o *redis.Options) { o.Protocol = 2 })
		conform(t, redisstore.Config{Client: client, HashKey: []byte(strings.Repeat("k", 32))})
	})
	t.Run("single with a replica", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t)
		redistest.StartReplica(t, server)
		conform(t, redisstore.Config{Client: single(t, server.Addr), WaitReplicas: 1})
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		conform(t, redisstore.Config{Client: cluster(t, redistest.StartCluster(t))})
	})
}

func TestConformance(t *testing.T) {
	eachServer(t, conform)
	t.Run("cluster with replicas", func(t *testing.T) {
		t.Parallel()
		nodes := redistest.StartCluster(t)
		for _, node := range nodes {
			redistest.StartReplica(t, node)
		}
		conform(t, redisstore.Config{Client: cluster(t, nodes), WaitReplicas: 1})
	})
}

// prefixes gives each store a part of Redis of its own.
var prefixes atomic.Int64

func conform(t *testing.T, cfg redisstore.Config) {
	t.Helper()
	if cfg.Timeout == 0 {
		cfg.Timeout = patience
	}
	t.Run("revocations", func(t *testing.T) {
		storetest.RunRevocations(t, func(t *testing.T) auth.Revocations {
			cfg.Prefix = "test" + strconv.FormatInt(prefixes.Add(1), 10) + ":"
			return newRevocations(t, cfg)
		})
	})
	t.Run("replays", func(t *testing.T) {
		storetest.RunReplays(t, func(t *testing.T) auth.Replays {
			cfg.Prefix = "test" + strconv.FormatInt(prefixes.Add(1), 10) + ":"
			return newReplays(t, cfg)
		})
	})
}
