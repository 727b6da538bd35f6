package redisstore_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/redisstore"
	"github.com/sallyport/sallyport/internal/redistest"
)

// When a write with WaitReplicas returns, the replica has it.
func TestWaitReplicas(t *testing.T) {
	server := redistest.Start(t)
	replica := redistest.StartReplica(t, server)
	behind := single(t, replica.Addr)
	cfg := redisstore.Config{Client: single(t, server.Addr), WaitReplicas: 1, Timeout: patience}
	revocations, replays := newRevocations(t, cfg), newReplays(t, cfg)
	for i := range 100 {
		id := strconv.Itoa(i)
		if err := revocations.Revoke(t.Context(), auth.Revocation{Issuer: issuer, TokenID: id, Until: inAnHour()}); err != nil {
			t.Fatal(err)
		}
		if n := behind.DBSize(t.Context()).Val(); n != int64(2*i+1) {
			t.Fatalf("after revocation %d the replica has %d keys, want %d", i, n, 2*i+1)
		}
		for _, want := range []bool{true, false} {
			if first, err := replays.Use(t.Context(), id, inAnHour()); first != want || err != nil {
				t.Fatalf("use of %d: got %v, %v, want %v", i, first, err, want)
			}
		}
		if n := behind.DBSize(t.Context()).Val(); n != int64(2*i+2) {
			t.Fatalf("after use %d the replica has %d keys, want %d", i, n, 2*i+2)
		}
	}
}

// A write that too few replicas have got is an error, within Timeout. Questions are
// answered all the same.
func TestTooFewReplicas(t *testing.T) {
	server := redistest.Start(t)
	replica := redistest.StartReplica(t, server)
	client := single(t, server.Addr)
	r := revocationsOf(inAnHour())["token"]
	refuse := func(what string, want int) {
		t.Helper()
		cfg := redisstore.Config{Client: client, WaitReplicas: want, Timeout: time.Second}
		revocations, replays := newRevocations(t, cfg), newReplays(t, cfg)
		start := time.Now()
		if err := revocations.Revoke(t.Context(), r); err == nil || !strings.Contains(err.Error(), "replicas have got it") {
			t.Errorf("%s: Revoke: got %v, want an error that says how many replicas there are", what, err)
		}
		for range 2 {
			if first, err := replays.Use(t.Context(), "x", inAnHour()); first || err == nil || !strings.Contains(err.Error(), "replicas have got it") {
				t.Errorf("%s: Use: got %v, %v, want an error that says how many replicas there are", what, first, err)
			}
		}
		if d := time.Since(start); d > patience/2 {
			t.Errorf("%s: it took %v", what, d)
		}
		eventually(t, "it is revoked nevertheless", func() bool {
			revoked, err := revocations.Revoked(t.Context(), tokenOf(r))
			return revoked && err == nil
		})
	}
	refuse("one of two replicas", 2)
	replica.Stop()
	refuse("a replica that is down", 1)
	server = redistest.Start(t)
	client = single(t, server.Addr)
	refuse("no replica", 1)
	nodes := redistest.StartCluster(t)
	c := cluster(t, nodes)
	cfg := redisstore.Config{Client: c, WaitReplicas: 1, Timeout: time.Second}
	works(t, redisstore.Config{Client: c, Timeout: patience}, "without WaitReplicas")
	if err := newRevocations(t, cfg).Revoke(t.Context(), r); err == nil || !strings.Contains(err.Error(), "0 replicas have got it") {
		t.Errorf("a cluster without replicas: got %v, want an error that says how many there are", err)
	}
}
