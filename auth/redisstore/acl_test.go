package redisstore_test

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/auth/redisstore"
	"github.com/sallyport/sallyport/internal/redistest"
)

// What the README says a user needs is enough, and its Prefix bounds it.
func TestLeastPrivilege(t *testing.T) {
	const (
		one  = "on >password resetchannels ~sallyport:* -@all +get +set +pttl +evalsha +eval +wait +info"
		more = "+cluster|slots"
	)
	allow := func(server *redistest.Server, rules string) {
		server.Do(append([]string{"ACL", "SETUSER", "api"}, strings.Fields(rules)...)...)
	}
	t.Run("single", func(t *testing.T) {
		server := redistest.Start(t)
		redistest.StartReplica(t, server)
		allow(server, one)
		client := single(t, server.Addr, func(o *redis.Options) { o.Username, o.Password = "api", "password" })
		checked(t, client, "with its rights", "")
		works(t, redisstore.Config{Client: client, WaitReplicas: 1, Timeout: patience}, "with its rights")
		undecided(t, redisstore.Config{Client: client, Prefix: "other:", Timeout: patience}, "another prefix")
	})
	t.Run("cluster", func(t *testing.T) {
		nodes := redistest.StartCluster(t)
		for _, node := range nodes {
			allow(node, one+" "+more)
		}
		client := cluster(t, nodes, func(o *redis.ClusterOptions) { o.Username, o.Password = "api", "password" })
		checked(t, client, "with its rights", "")
		works(t, redisstore.Config{Client: client, Timeout: patience}, "with its rights")
	})
}
