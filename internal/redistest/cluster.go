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
	bus := make([]string, len(nodes))
	for i := range nodes {
		// The port of the bus is named: 10,000 more than a free one may be no port.
		nodes[i] = start(t, 2, func(ports []int) []string {
			bus[i] = strconv.Itoa(ports[1])
			return append([]string{
				"--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf",
				"--cluster-node-timeout", "2000", "--cluster-port", bus[i],
			}, args...)
		})
	}
	for i, node := range nodes {
		first, last := i*slots/len(nodes), (i+1)*slots/len(nodes)-1
		node.Do("CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(first), strconv.Itoa(last))
		node.Do("CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
		if i > 0 {
			host, port, _ := net.SplitHostPort(node.Addr)
			nodes[0].Do("CLUSTER", "MEET", host, port, bus[i])
		}
	}
	all := []string{
		"cluster_state:ok", fmt.Sprint("cluster_slots_ok:", slots),
		fmt.Sprint("cluster_known_nodes:", len(nodes)), fmt.Sprint("cluster_size:", len(nodes)),
	}
	deadline := time.Now().Add(patience)
	for _, node := range nodes {
		for !containsAll(node.Do("CLUSTER", "INFO"), all) {
			if time.Now().After(deadline) {
				t.Fatalf("redistest: the cluster does not form:\n%s", node.Do("CLUSTER", "INFO"))
			}
			time.Sleep(pause)
		}
	}
	return nodes
}

func containsAll(info string, lines []string) bool {
	for _, line := range lines {
		if !strings.Contains(info, line+"\r\n") {
			return false
		}
	}
	return true
}
