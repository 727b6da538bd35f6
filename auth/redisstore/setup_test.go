package redisstore_test

import (
	"context"
	"io"
	"log"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/redisstore"
	"github.com/sallyport/sallyport/internal/redistest"
)

// patience is the Timeout of stores whose answers a test wants, however slow the
// machine is.
const patience = 20 * time.Second

const issuer = "https://issuer.example"

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

func newRevocations(t testing.TB, cfg redisstore.Config) *redisstore.Revocations {
	t.Helper()
	s, err := redisstore.NewRevocations(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newReplays(t testing.TB, cfg redisstore.Config) *redisstore.Replays {
	t.Helper()
	s, err := redisstore.NewReplays(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func inAnHour() time.Time { return time.Now().Add(time.Hour) }

// calls returns a call of each method.
func calls(t testing.TB, cfg redisstore.Config) map[string]func(ctx context.Context) error {
	t.Helper()
	revocations, replays := newRevocations(t, cfg), newReplays(t, cfg)
	return map[string]func(ctx context.Context) error{
		"Revoke": func(ctx context.Context) error {
			return revocations.Revoke(ctx, auth.Revocation{Issuer: issuer, Subject: "s", NotBefore: time.Now(), Until: inAnHour()})
		},
		"Revoked": func(ctx context.Context) error {
			revoked, err := revocations.Revoked(ctx, auth.TokenInfo{Issuer: issuer, ID: "t", SessionID: "s", Subject: "u"})
			if err != nil && revoked {
				t.Error("Revoked: got true besides an error")
			}
			return err
		},
		"Use": func(ctx context.Context) error {
			first, err := replays.Use(ctx, "k", inAnHour())
			if err != nil && first {
				t.Error("Use: got true besides an error")
			}
			return err
		},
	}
}
