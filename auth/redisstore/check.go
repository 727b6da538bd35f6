package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

const oldestMajor = 7 // of Redis, for SET with NX and GET

// Check asks Redis, on a cluster each master, whether the stores can rely on it. It
// returns an error if it is older than 7.0, is a replica, or evicts keys when its
// memory is full (maxmemory-policy), and if it does not say. Call it when the
// service starts, or to tell whether it is ready. It does not look at persistence
// and replication, where what is right depends on what may be lost.
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
	text, err := client.Info(ctx).Result()
	if err != nil {
		return failed(ctx, "Check", err)
	}
	info := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	version, _, _ := strings.Cut(info["redis_version"], ".") // which Valkey has too
	major, err := strconv.Atoi(version)
	if err != nil {
		return errors.New("redisstore: Check: Redis does not say which version it is")
	}
	switch policy, memory := info["maxmemory_policy"], info["maxmemory"]; {
	case major < oldestMajor:
		return fmt.Errorf("redisstore: Check: Redis is version %.20s, want %d.0 or later", info["redis_version"], oldestMajor)
	case info["role"] != "master":
		return fmt.Errorf("redisstore: Check: Redis is a %.20q, want a master", info["role"])
	case policy == "" || memory == "":
		return errors.New("redisstore: Check: Redis does not say whether it evicts keys")
	case policy != "noeviction" && memory != "0":
		return fmt.Errorf("redisstore: Check: Redis evicts keys (maxmemory-policy %.20s), want noeviction", policy)
	}
	return nil
}
