package redisstore_test

import (
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/redisstore"
	"github.com/sallyport/sallyport/internal/redistest"
)

// The keys are spread over the nodes, and those of one token are found together.
func TestClusterSpreads(t *testing.T) {
	nodes := redistest.StartCluster(t)
	cfg := redisstore.Config{Client: cluster(t, nodes), Timeout: patience}
	revocations, replays := newRevocations(t, cfg), newReplays(t, cfg)
	for i := range 60 {
		name := strconv.Itoa(i)
		for _, r := range []auth.Revocation{
			{Issuer: issuer, TokenID: name}, {Issuer: issuer, SessionID: name}, {Issuer: issuer, Subject: name, NotBefore: time.Now()},
		} {
			r.Until = inAnHour()
			if err := revocations.Revoke(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			token := auth.TokenInfo{Issuer: issuer, ID: "never", SessionID: "never", Subject: "never", IssuedAt: time.Unix(0, 0)}
			if revoked, err := revocations.Revoked(t.Context(), token); revoked || err != nil {
				t.Fatalf("another token: got %v, %v, want false", revoked, err)
			}
			switch {
			case r.TokenID != "":
				token.ID = name
			case r.SessionID != "":
				token.SessionID = name
			default:
				token.Subject = name
			}
			if revoked, err := revocations.Revoked(t.Context(), token); !revoked || err != nil {
				t.Errorf("a token with something revoked: got %v, %v, want true", revoked, err)
			}
		}
		for _, want := range []bool{true, false} {
			if first, err := replays.Use(t.Context(), name, inAnHour()); first != want || err != nil {
				t.Errorf("Use: got %v, %v, want %v", first, err, want)
			}
		}
	}
	for i, node := range nodes {
		if n := len(keys(t, single(t, node.Addr))); n < 40 || n > 120 {
			t.Errorf("node %d has %d of 240 keys, want some 80", i, n)
		}
	}
}

// While a slot moves to another node, and when it has, nothing in it is forgotten.
func TestClusterSlotMoves(t *testing.T) {
	nodes := redistest.StartCluster(t)
	client := cluster(t, nodes)
	cfg := redisstore.Config{Client: client, Timeout: patience}
	revocations, replays := newRevocations(t, cfg), newReplays(t, cfg)
	works(t, cfg, "at first") // the client knows all nodes

	r := auth.Revocation{Issuer: issuer, Subject: "moves", NotBefore: time.Unix(1000, 0), Until: inAnHour()}
	revokedKey := added(t, nodes, func() {
		if err := revocations.Revoke(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	})
	usedKey := added(t, nodes, func() {
		if first, err := replays.Use(t.Context(), "moves", inAnHour()); !first {
			t.Fatal(err)
		}
	})
	check := func(when string) {
		t.Helper()
		r.NotBefore = r.NotBefore.Add(time.Hour)
		if err := revocations.Revoke(t.Context(), r); err != nil {
			t.Errorf("%s: Revoke: %v", when, err)
		}
		for issued, want := range map[time.Time]bool{r.NotBefore.Add(-time.Second): true, r.NotBefore: false} {
			revoked, err := revocations.Revoked(t.Context(), auth.TokenInfo{Issuer: issuer, ID: "never", Subject: "moves", IssuedAt: issued})
			if revoked != want || err != nil {
				t.Errorf("%s: Revoked: got %v, %v, want %v", when, revoked, err, want)
			}
		}
		if first, err := replays.Use(t.Context(), "moves", inAnHour()); first || err != nil {
			t.Errorf("%s: Use: got %v, %v, want false", when, first, err)
		}
	}
	check("at first")
	for _, key := range []string{revokedKey, usedKey} {
		slot := nodes[0].Do("CLUSTER", "KEYSLOT", key)
		n, _ := strconv.Atoi(slot)
		from := nodes[n*3/16384]
		to := nodes[(n*3/16384+1)%3]
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
}

// added returns the name of the key that f adds.
func added(t *testing.T, nodes []*redistest.Server, f func()) string {
	t.Helper()
	all := func() map[string]bool {
		names := make(map[string]bool)
		for _, node := range nodes {
			for _, name := range keys(t, single(t, node.Addr)) {
				names[name] = true
			}
		}
		return names
	}
	before := all()
	f()
	for name := range all() {
		if !before[name] {
			return name
		}
	}
	t.Fatal("no key was added")
	return ""
}

// What is on a node that is down can't be told; when a replica has taken over, what
// it had is in force.
func TestClusterNodeDown(t *testing.T) {
	nodes := redistest.StartCluster(t, "--cluster-require-full-coverage", "no")
	redistest.StartReplica(t, nodes[0])
	client := cluster(t, nodes, func(o *redis.ClusterOptions) { o.DialerRetries = 1 })
	cfg := redisstore.Config{Client: client, Timeout: patience}
	safe := cfg
	safe.WaitReplicas, safe.Timeout = 1, time.Second
	revocations, replicated := newRevocations(t, cfg), newRevocations(t, safe)

	// Of these tokens the replica has got those that are on node 0.
	var there, elsewhere []auth.TokenInfo
	for i := 0; len(there) < 10 || len(elsewhere) < 5; i++ {
		id := "t" + strconv.Itoa(i)
		var err error
		before := len(keys(t, single(t, nodes[0].Addr)))
		if err = revocations.Revoke(t.Context(), auth.Revocation{Issuer: issuer, TokenID: id, Until: inAnHour()}); err != nil {
			t.Fatal(err)
		}
		token := auth.TokenInfo{Issuer: issuer, ID: id}
		if len(keys(t, single(t, nodes[0].Addr))) == before {
			elsewhere = append(elsewhere, token)
			continue
		}
		if err = replicated.Revoke(t.Context(), auth.Revocation{Issuer: issuer, TokenID: id, Until: inAnHour()}); err != nil {
			t.Fatalf("Revoke on the node that has a replica: %v", err)
		}
		there = append(there, token)
	}

	nodes[0].Stop()
	quick := newRevocations(t, redisstore.Config{Client: client, Timeout: 300 * time.Millisecond})
	if revoked, err := quick.Revoked(t.Context(), there[0]); !revoked && err == nil {
		t.Error("a token on the node that is down: got false, want true or an error")
	}
	for _, token := range elsewhere {
		if revoked, err := revocations.Revoked(t.Context(), token); !revoked || err != nil {
			t.Errorf("a token on a node that is up: got %v, %v, want true", revoked, err)
		}
		// One answer that it is revoked is enough.
		token.Subject = "somebody"
		if revoked, err := quick.Revoked(t.Context(), token); !revoked && err == nil {
			t.Error("a token with its subject elsewhere: got false, want true or an error")
		}
	}
	for _, token := range there {
		eventually(t, "the replica has taken over", func() bool {
			revoked, err := revocations.Revoked(t.Context(), token)
			if !revoked && err == nil {
				t.Fatal("a revocation that the replica had is lost")
			}
			return revoked
		})
	}
	works(t, cfg, "when the replica has taken over")
}
