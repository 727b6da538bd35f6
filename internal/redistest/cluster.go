package redistest

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

const slots = 16384

// StartCluster starts a Redis Cluster of three masters without replicas, with args
// after the usual ones. It stops with the test.
func StartCluster(t testing.TB, args ...string) []*Server {
	t.Helper()
	nodes := make([]*Server, 3)
	for i := range nodes {
		nodes[i] = startNode(t, args)
	}
	for i, node := range nodes {
		first, last := i*slots/len(nodes), (i+1)*slots/len(nodes)-1
		node.Do("CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(first), strconv.Itoa(last))
		node.Do("CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
		if i > 0 {
			nodes[0].meet(node)
		}
	}
	all := []string{
		"cluster_state:ok", fmt.Sprint("cluster_slots_ok:", slots),
		fmt.Sprint("cluster_known_nodes:", len(nodes)), fmt.Sprint("cluster_size:", len(nodes)),
	}
	for _, node := range nodes {
		eventually(t, "the cluster forms", func() bool { return containsAll(node.Do("CLUSTER", "INFO"), all) })
	}
	return nodes
}

// startNode starts a server that is in no cluster yet.
func startNode(t testing.TB, args []string) *Server {
	t.Helper()
	var bus string
	s := start(t, 2, func(ports []int) []string {
		bus = strconv.Itoa(ports[1]) // it is named: 10,000 more than a free port may be no port
		return append([]string{
			"--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf",
			"--cluster-node-timeout", "2000", "--cluster-port", bus,
		}, args...)
	})
	s.bus = bus
	return s
}

// meet makes s know other, and other s.
func (s *Server) meet(other *Server) {
	s.t.Helper()
	host, port, _ := net.SplitHostPort(other.Addr)
	s.Do("CLUSTER", "MEET", host, port, other.bus)
}

// StartReplica starts a replica of master, in its cluster if it is in one, with args
// after the usual ones, and waits until it has what master has. It stops with the
// test.
func StartReplica(t testing.TB, master *Server, args ...string) *Server {
	t.Helper()
	master.Do("CONFIG", "SET", "repl-diskless-sync-delay", "0")
	var replica *Server
	if master.bus == "" {
		host, port, _ := net.SplitHostPort(master.Addr)
		replica = Start(t, append([]string{"--replicaof", host + " " + port}, args...)...)
	} else {
		id := strings.TrimSpace(master.Do("CLUSTER", "MYID"))
		replica = startNode(t, args)
		replica.meet(master)
		eventually(t, "the replica knows the cluster", func() bool {
			return strings.Contains(replica.Do("CLUSTER", "NODES"), id) &&
				containsAll(replica.Do("CLUSTER", "INFO"), []string{fmt.Sprint("cluster_slots_ok:", slots)})
		})
		replica.Do("CLUSTER", "REPLICATE", id)
		// A master that does not know the replica yet would not vote for it.
		self := strings.TrimSpace(replica.Do("CLUSTER", "MYID"))
		eventually(t, "the cluster knows the replica", func() bool {
			for line := range strings.Lines(master.Do("CLUSTER", "NODES")) {
				addr, _, _ := strings.Cut(strings.Fields(line)[1], "@")
				if nodes, err := do(addr, "CLUSTER", "NODES"); err != nil || !isReplica(nodes, self, id) {
					return false
				}
			}
			return true
		})
	}
	eventually(t, "the replica is connected", func() bool {
		return strings.Contains(replica.Do("INFO", "replication"), "master_link_status:up\r\n") &&
			strings.Contains(master.Do("INFO", "replication"), "state=online")
	})
	return replica
}

// isReplica reports whether the node self is a replica of master, as nodes tells.
func isReplica(nodes, self, master string) bool {
	for line := range strings.Lines(nodes) {
		if f := strings.Fields(line); len(f) > 3 && f[0] == self {
			return strings.HasSuffix(f[2], "slave") && f[3] == master
		}
	}
	return false
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !f(); time.Sleep(pause) {
		if time.Now().After(deadline) {
			t.Fatalf("redistest: after %v it is not so that %s", patience, what)
		}
	}
}

func containsAll(info string, lines []string) bool {
	for _, line := range lines {
		if !strings.Contains(info, line+"\r\n") {
			return false
		}
	}
	return true
}
