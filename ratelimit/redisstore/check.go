package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// checkClient refuses clients that can't do what a store needs, as far as they tell.
func checkClient(client redis.UniversalClient) error {
	var timeouts, old bool
	switch c := client.(type) {
	case nil:
		return errors.New("redisstore: Config.Client is nil")
	case *redis.Client:
		if c == nil {
			return errors.New("redisstore: Config.Client is a nil *redis.Client")
		}
		o := c.Options()
		timeouts, old = o.ContextTimeoutEnabled, o.ClientSideCache != nil || o.ClientSideCacheConfig != nil
	case *redis.ClusterClient:
		if c == nil {
			return errors.New("redisstore: Config.Client is a nil *redis.ClusterClient")
		}
		o := c.Options()
		timeouts, old = o.ContextTimeoutEnabled, o.ReadOnly || o.RouteByLatency || o.RouteRandomly
	default:
		return fmt.Errorf("redisstore: Config.Client is a %T, want a *redis.Client or *redis.ClusterClient", client)
	}
	if !timeouts {
		return errors.New("redisstore: Config.Client needs ContextTimeoutEnabled")
	}
	if old {
		return errors.New("redisstore: Config.Client has a client-side cache or reads from replicas, which answer from what was true before")
	}
	return nil
}

const oldestMajor = 7 // of Redis, for scripts that say what they need

// Check asks Redis, on a cluster each master, whether a Store can rely on it. It
// returns an error if it is older than 7.0, is a replica, or evicts keys when its
// memory is full (maxmemory-policy), since whoever can fill it would then get rid of
// his own count; and if it does not say. Call it when the service starts, or to tell
// whether it is ready.
func Check(ctx context.Context, client redis.UniversalClient) error {
	if err := checkClient(client); err != nil {
		return err
	}
	if cluster, ok := client.(*redis.ClusterClient); ok {
		return cluster.ForEachMaster(ctx, checkServer)
	}
	return checkServer(ctx, client.(*redis.Client))
}

func checkServer(ctx context.Context, client *redis.Client) error {
	info, err := client.Info(ctx).Result()
	if err != nil {
		return failed(ctx, "Check", err)
	}
	says := func(name string) string {
		_, rest, _ := strings.Cut("\r\n"+info, "\r\n"+name+":")
		value, _, _ := strings.Cut(rest, "\r\n")
		return value
	}
	version := says("redis_version") // which Valkey has too
	text, _, _ := strings.Cut(version, ".")
	major, err := strconv.Atoi(text)
	policy, memory, role := says("maxmemory_policy"), says("maxmemory"), says("role")
	switch {
	case err != nil:
		return errors.New("redisstore: Check: Redis does not say which version it is")
	case major < oldestMajor:
		return fmt.Errorf("redisstore: Check: Redis is version %.20s, want %d.0 or later", version, oldestMajor)
	case role != "master":
		return fmt.Errorf("redisstore: Check: Redis is a %.20q, want a master", role)
	case policy == "" || memory == "":
		return errors.New("redisstore: Check: Redis does not say whether it evicts keys")
	case policy != "noeviction" && memory != "0":
		return fmt.Errorf("redisstore: Check: Redis evicts keys (maxmemory-policy %.20s), want noeviction", policy)
	}
	return nil
}
