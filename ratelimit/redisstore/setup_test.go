package redisstore_test

import (
	"context"
	"io"
	"log"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/internal/redistest"
	"github.com/sallyport/sallyport/ratelimit"
	"github.com/sallyport/sallyport/ratelimit/redisstore"
)

// patience is the Timeout of stores whose answers a test wants, however slow the
// machine is.
const patience = 20 * time.Second

func TestMain(m *testing.M) {
	redis.SetLogger(discard{log.New(io.Discard, "", 0)}) // it tells of connections that tests cut
	os.Exit(m.Run())
}

type discard struct{ *log.Logger }

func (d discard) Printf(_ context.Context, format string, v ...any) { d.Logger.Printf(format, v...) }

func single(t testing.TB, addr string, edit ...func(*redis.Options)) *redis.Client {
	o := &redis.Options{Addr: addr, ContextTimeoutEnabled: true}
	for _, f := range edit {
		f(o)
	}
	client := redis.NewClient(o)
	t.Cleanup(func() { client.Close() })
	return client
}

func cluster(t testing.TB, nodes []*redistest.Server, edit ...func(*redis.ClusterOptions)) *redis.ClusterClient {
	o := &redis.ClusterOptions{ContextTimeoutEnabled: true}
	for _, node := range nodes {
		o.Addrs = append(o.Addrs, node.Addr)
	}
	for _, f := range edit {
		f(o)
	}
	client := redis.NewClusterClient(o)
	t.Cleanup(func() { client.Close() })
	return client
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after %v it is not so that %s", patience, what)
		}
	}
}

// newStore returns a store, whose Timeout is patience if cfg has none.
func newStore(t testing.TB, cfg redisstore.Config) *redisstore.Store {
	t.Helper()
	if cfg.Timeout == 0 {
		cfg.Timeout = patience
	}
	s, err := redisstore.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func open(t testing.TB, s ratelimit.Store, name string, limits ...ratelimit.Limit) ratelimit.Bucket {
	t.Helper()
	b, err := s.Open(name, limits)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// bucket returns one of a store of its own.
func bucket(t testing.TB, cfg redisstore.Config, limits ...ratelimit.Limit) ratelimit.Bucket {
	t.Helper()
	return open(t, newStore(t, cfg), "b", limits...)
}

func take(t testing.TB, b ratelimit.Bucket, key string, n int) ratelimit.Result {
	t.Helper()
	res, err := b.Take(t.Context(), key, n)
	if err != nil {
		t.Fatalf("Take(%.40q, %d): %v", key, n, err)
	}
	return res
}

// hourly is so slow that nothing is regained while a test runs.
func hourly(burst int) ratelimit.Limit {
	return ratelimit.Limit{Events: 1, Per: time.Hour, Burst: burst}
}

var prefixes atomic.Int64

// prefix gives a store a part of Redis of its own.
func prefix() string { return "test" + strconv.FormatInt(prefixes.Add(1), 10) + ":" }
