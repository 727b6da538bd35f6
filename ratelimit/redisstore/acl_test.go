package redisstore_test

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/internal/redistest"
	"github.com/sallyport/sallyport/ratelimit/redisstore"
)

// What the README says a user needs is enough, and its Prefix bounds it.
func TestLeastPrivilege(t *testing.T) {
	const (
		one  = "on >password resetchannels ~sallyport:* -@all +evalsha +eval +time +get +set +del +info"
		more = "+cluster|slots"
	)
	allow := func(server *redistest.Server, rules string) {
		server.Do(append([]string{"ACL", "SETUSER", "api"}, strings.Fields(rules)...)...)
	}
	t.Run("single", func(t *testing.T) {
		server := redistest.Start(t)
		allow(server, one)
		client := single(t, server.Addr, func(o *redis.Options) { o.Username, o.Password = "api", "password" })
		checked(t, client, "with its rights", "")
		b := bucket(t, redisstore.Config{Client: client}, hourly(3))
		works(t, b, "with its rights")
		take(t, b, "x", -1)
		take(t, b, "x", 1)
		take(t, b, "x", -1)
		undecided(t, bucket(t, redisstore.Config{Client: client, Prefix: "other:"}, hourly(3)), "another prefix")
	})
	t.Run("cluster", func(t *testing.T) {
		nodes := redistest.StartCluster(t)
		for _, node := range nodes {
			allow(node, one+" "+more)
		}
		client := cluster(t, nodes, func(o *redis.ClusterOptions) { o.Username, o.Password = "api", "password" })
		checked(t, client, "with its rights", "")
		b := bucket(t, redisstore.Config{Client: client}, hourly(3))
		for range 10 {
			works(t, b, "with its rights")
		}
	})
}
