package redisstore_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/internal/redistest"
	"github.com/sallyport/sallyport/ratelimit/redisstore"
)

func TestCheck(t *testing.T) {
	server := redistest.Start(t)
	client := single(t, server.Addr)
	for _, tt := range []struct{ memory, policy, want string }{
		{"0", "noeviction", ""},
		{"100mb", "noeviction", ""},
		{"0", "allkeys-lru", ""}, // nothing is evicted without a limit
		{"100mb", "allkeys-lru", "evicts keys (maxmemory-policy allkeys-lru)"},
		{"100mb", "volatile-ttl", "evicts keys (maxmemory-policy volatile-ttl)"},
	} {
		server.Do("CONFIG", "SET", "maxmemory", tt.memory, "maxmemory-policy", tt.policy)
		checked(t, client, tt.policy+" of "+tt.memory, tt.want)
	}
	checked(t, single(t, redistest.StartReplica(t, server).Addr), "a replica", `is a "slave"`)
	server.Stop()
	checked(t, client, "down", "Check: ")
	checked(t, nil, "no client", "Config.Client is nil")
	checked(t, ring(t), "a ring", "Config.Client is a *redis.Ring")
}

func TestCheckCluster(t *testing.T) {
	nodes := redistest.StartCluster(t)
	client := cluster(t, nodes)
	checked(t, client, "a cluster", "")
	nodes[2].Do("CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-random")
	checked(t, client, "one node evicts", "evicts keys")
}

func TestCheckOfWhatRedisSays(t *testing.T) {
	const good = "# Server\r\nredis_version:7.2.4\r\nvalkey_version:8.0.1\r\nrole:master\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n"
	for name, tt := range map[string]struct{ old, new, want string }{
		"Valkey 8":      {"", "", ""},
		"Redis 8":       {"7.2.4", "8.4.0", ""},
		"Redis 6":       {"7.2.4", "6.2.14", "Redis is version 6.2.14, want 7.0 or later"},
		"no version":    {"redis_version", "version", "does not say which version"},
		"an odd one":    {"7.2.4", "x", "does not say which version"},
		"no role":       {"role", "roll", `is a "", want a master`},
		"no policy":     {"maxmemory_policy", "policy", "does not say whether it evicts keys"},
		"no limit":      {"maxmemory:", "memory:", "does not say whether it evicts keys"},
		"an odd limit":  {"maxmemory:0\r\nmaxmemory_policy:noeviction", "maxmemory:x\r\nmaxmemory_policy:lru", "evicts keys"},
		"an empty text": {good, "", "does not say which version"},
	} {
		text := strings.Replace(good, tt.old, tt.new, 1)
		client := single(t, redistest.StartScripted(t, fmt.Sprintf("$%d\r\n%s\r\n", len(text), text), false))
		checked(t, client, name, tt.want)
	}
	checked(t, single(t, redistest.StartScripted(t, "-NOPERM this user has no permissions\r\n", false)), "not allowed", "NOPERM")
}

// checked checks that the error contains want, and that there is none if it is "".
func checked(t *testing.T, client redis.UniversalClient, what, want string) {
	t.Helper()
	switch err := redisstore.Check(t.Context(), client); {
	case want == "" && err != nil:
		t.Errorf("%s: got %v, want no error", what, err)
	case want != "" && (err == nil || !strings.HasPrefix(err.Error(), "redisstore: ") || !strings.Contains(err.Error(), want)):
		t.Errorf("%s: got %v, want an error with %q", what, err, want)
	}
}
