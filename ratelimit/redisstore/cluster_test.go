package redisstore_test

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/internal/conformance"
	"github.com/sallyport/sallyport/internal/redistest"
	"github.com/sallyport/sallyport/ratelimit"
	"github.com/sallyport/sallyport/ratelimit/redisstore"
)

// The keys of a bucket are spread over the nodes, all limits of one in one place, also
// when many are decided at once.
func TestClusterSpreads(t *testing.T) {
	nodes := redistest.StartCluster(t)
	b := bucket(t, redisstore.Config{Client: cluster(t, nodes)}, hourly(4), hourly(3))
	conformance.Together(120, func(i int) {
		for n, want := range []bool{true, true, true, false} {
			if res := take(t, b, strconv.Itoa(i), 1); res.Allowed != want {
				t.Errorf("key %d, event %d: got %+v, want allowed: %v", i, n+1, res, want)
			}
		}
	})
	for i, node := range nodes {
		if n := len(keys(t, single(t, node.Addr))); n < 15 || n > 80 {
			t.Errorf("node %d has %d of 120 keys, want some 40", i, n)
		}
	}
}

// Many callers of one key are decided together, in their order, and no more than there
// are.
func TestClusterHotKey(t *testing.T) {
	nodes := redistest.StartCluster(t)
	client, asked := cluster(t, nodes), new(counter)
	client.AddHook(asked)
	b := bucket(t, redisstore.Config{Client: client, MaxDenials: -1}, hourly(500))
	take(t, b, "hot", 1)
	before := asked.pipelines.Load()
	var allowed atomic.Int64
	conformance.Together(100, func(int) {
		for range 10 {
			if take(t, b, "hot", 1).Allowed {
				allowed.Add(1)
			}
		}
	})
	if n := allowed.Load(); n != 499 {
		t.Errorf("%d were allowed, want 499", n)
	}
	if n := asked.pipelines.Load() - before; n > 500 {
		t.Errorf("1000 decisions took %d pipelines, want half as many at most", n)
	}
}

// While a slot moves to another node, and when it has, nothing in it is forgotten.
func TestClusterSlotMoves(t *testing.T) {
	nodes := redistest.StartCluster(t)
	b := bucket(t, redisstore.Config{Client: cluster(t, nodes), MaxDenials: -1}, hourly(100))
	for i := range 20 { // the client knows all nodes
		take(t, b, strconv.Itoa(i), 1)
	}
	spent := 0
	check := func(when string) {
		t.Helper()
		var left atomic.Int64 // of five in all
		conformance.Together(5, func(int) { left.Add(int64(take(t, b, "moves", 1).Remaining)) })
		spent += 5
		if want := int64(5*(100-spent) + 4 + 3 + 2 + 1); left.Load() != want {
			t.Errorf("%s: %d were left of five in all, want %d", when, left.Load(), want)
		}
	}
	check("at first")
	key := redisstore.KeyName(b, "moves")
	slot := nodes[0].Do("CLUSTER", "KEYSLOT", key)
	n, _ := strconv.Atoi(slot)
	from, to := nodes[n*3/16384], nodes[(n*3/16384+1)%3]
	id := func(s *redistest.Server) string { return strings.TrimSpace(s.Do("CLUSTER", "MYID")) }
	to.Do("CLUSTER", "SETSLOT", slot, "IMPORTING", id(from))
	from.Do("CLUSTER", "SETSLOT", slot, "MIGRATING", id(to))
	check("before the key moves")
	host, port, _ := net.SplitHostPort(to.Addr)
	from.Do("MIGRATE", host, port, key, "0", "5000")
	check("when the key has moved, and the slot has not")
	for _, node := range []*redistest.Server{to, from, nodes[0], nodes[1], nodes[2]} {
		node.Do("CLUSTER", "SETSLOT", slot, "NODE", id(to))
	}
	check("when the slot has moved")
}

// A node that stands still holds up its own keys alone.
func TestClusterNodePaused(t *testing.T) {
	nodes := redistest.StartCluster(t, "--cluster-require-full-coverage", "no")
	client := cluster(t, nodes)
	b := bucket(t, redisstore.Config{Client: client}, hourly(1000))
	brief := open(t, newStore(t, redisstore.Config{Client: client, Timeout: 200 * time.Millisecond}), "b", hourly(1000))
	var there, elsewhere []string
	for i := range 40 {
		key := strconv.Itoa(i)
		take(t, b, key, 1)
		node, err := client.MasterForKey(t.Context(), redisstore.KeyName(b, key))
		if err != nil {
			t.Fatal(err)
		}
		if node.Options().Addr == nodes[0].Addr {
			there = append(there, key)
		} else {
			elsewhere = append(elsewhere, key)
		}
	}
	nodes[0].Pause()
	var ended atomic.Bool
	var answered atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		conformance.Together(10, func(i int) {
			if res, err := brief.Take(t.Context(), there[i%len(there)], 1); err == nil {
				t.Errorf("a key of the node that stands still: got %+v, want an error", res)
			}
		})
		ended.Store(true)
	}()
	for !ended.Load() {
		for _, key := range elsewhere {
			if res, err := b.Take(t.Context(), key, 1); err != nil || !res.Allowed {
				t.Errorf("a key of another node: got %+v, %v, want allowed", res, err)
			}
			answered.Add(1)
		}
	}
	<-done
	nodes[0].Resume()
	if n := answered.Load(); n < int64(len(elsewhere)) {
		t.Errorf("%d decisions of other nodes came meanwhile, want many", n)
	}
	for _, key := range there {
		eventually(t, "the node decides again", func() bool {
			_, err := b.Take(t.Context(), key, 1)
			return err == nil
		})
	}
}

// When a replica has taken over, what it had counts.
func TestClusterFailover(t *testing.T) {
	nodes := redistest.StartCluster(t, "--cluster-require-full-coverage", "no")
	redistest.StartReplica(t, nodes[0])
	client := cluster(t, nodes)
	b := bucket(t, redisstore.Config{Client: client, Timeout: 300 * time.Millisecond, MaxDenials: -1}, hourly(2))
	var there []string
	for i := 0; len(there) < 5; i++ {
		key := fmt.Sprint("key ", i)
		node, err := client.MasterForKey(t.Context(), redisstore.KeyName(b, key))
		if err != nil {
			t.Fatal(err)
		}
		if node.Options().Addr == nodes[0].Addr {
			there = append(there, key)
			eventually(t, "it is spent", func() bool {
				res, err := b.Take(t.Context(), key, 1)
				return err == nil && !res.Allowed
			})
		}
	}
	if got := nodes[0].Do("WAIT", "1", "10000"); got != "1" {
		t.Fatalf("%s replicas have what was spent, want 1", got)
	}
	nodes[0].Stop()
	for _, key := range there {
		var res ratelimit.Result
		eventually(t, "the replica has taken over", func() bool {
			var err error
			res, err = b.Take(t.Context(), key, 1)
			return err == nil
		})
		if res.Allowed {
			t.Errorf("key %s, which had been spent: got %+v, want refused", key, res)
		}
	}
}
