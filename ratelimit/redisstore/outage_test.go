package redisstore_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/internal/eventlog"
	"github.com/sallyport/sallyport/internal/redistest"
	"github.com/sallyport/sallyport/ratelimit"
	"github.com/sallyport/sallyport/ratelimit/redisstore"
)

// A fault is something that happens to a Redis, and its end.
type fault struct {
	name       string
	begin, end func(r *faulty)
	rounds     int
}

// A faulty is a Redis to which something happens.
type faulty struct {
	t      *testing.T
	server *redistest.Server
	proxy  *redistest.Proxy
	client *redis.Client // which nothing happens to
	key    string        // that the test asks for
}

func (r *faulty) overwrite(set func(key string) error) {
	r.t.Helper()
	if err := r.client.Del(r.t.Context(), r.key).Err(); err != nil {
		r.t.Fatal(err)
	}
	if err := set(r.key); err != nil {
		r.t.Fatal(err)
	}
}

var faults = []fault{
	{name: "stopped", begin: func(r *faulty) { r.server.Stop() }, end: func(r *faulty) { r.server.Restart() }},
	{name: "flapping", begin: func(r *faulty) { r.server.Stop() }, end: func(r *faulty) { r.server.Restart() }, rounds: 3},
	{name: "paused", begin: func(r *faulty) { r.server.Pause() }, end: func(r *faulty) { r.server.Resume() }},
	{
		name:  "slow",
		begin: func(r *faulty) { r.proxy.On(func(string, string) (time.Duration, bool) { return time.Hour, true }) },
		end:   func(r *faulty) { r.proxy.On(nil) },
	},
	{
		name:  "cut",
		begin: func(r *faulty) { r.proxy.On(func(string, string) (time.Duration, bool) { return 0, false }) },
		end:   func(r *faulty) { r.proxy.On(nil) },
	},
	{
		name:  "read-only",
		begin: func(r *faulty) { r.server.Do("REPLICAOF", "127.0.0.1", "1") },
		end:   func(r *faulty) { r.server.Do("REPLICAOF", "NO", "ONE") },
	},
	{
		name:  "full",
		begin: func(r *faulty) { r.server.Do("CONFIG", "SET", "maxmemory", "1") },
		end:   func(r *faulty) { r.server.Do("CONFIG", "SET", "maxmemory", "0") },
	},
	{
		name: "wrong type",
		begin: func(r *faulty) {
			r.overwrite(func(key string) error { return r.client.HSet(r.t.Context(), key, "a", "b").Err() })
		},
		end: func(r *faulty) { r.client.Del(r.t.Context(), r.key) },
	},
	{
		name: "a value of somebody else",
		begin: func(r *faulty) {
			r.overwrite(func(key string) error { return r.client.Set(r.t.Context(), key, "x", 0).Err() })
		},
		end: func(r *faulty) { r.client.Del(r.t.Context(), r.key) },
	},
}

// While Redis fails a Limiter does what its policy says, without holding anybody up
// for long, and tells so once; then it goes on as before.
func TestOnStoreError(t *testing.T) {
	for _, f := range faults {
		for _, policy := range []ratelimit.Policy{ratelimit.Local, ratelimit.Allow, ratelimit.Deny} {
			t.Run(f.name+", "+policy.String(), func(t *testing.T) {
				t.Parallel()
				onStoreError(t, f, policy)
			})
		}
	}
}

func onStoreError(t *testing.T, f fault, policy ratelimit.Policy) {
	t.Helper()
	// How much longer than the timeout an answer may take, because the machine is busy.
	const timeout, slack = 400 * time.Millisecond, 5 * time.Second
	server := redistest.Start(t)
	r := &faulty{t: t, server: server, proxy: redistest.StartProxy(t, server.Addr), client: single(t, server.Addr)}
	rec := new(eventlog.Recorder)
	limiter, err := ratelimit.New(ratelimit.Config{
		Limits: []ratelimit.Limit{hourly(3)}, OnStoreError: policy, StoreTimeout: timeout, Audit: rec,
		Store: newStore(t, redisstore.Config{Client: single(t, r.proxy.Addr)}),
	})
	if err != nil {
		t.Fatal(err)
	}
	ask := func() ratelimit.Result {
		t.Helper()
		start := time.Now()
		res, err := limiter.Take(t.Context(), "key", 1)
		if took := time.Since(start); took > timeout+slack {
			t.Errorf("an answer took %v, where the timeout is %v", took, timeout)
		}
		if err != nil && (policy != ratelimit.Deny || !errors.Is(err, ratelimit.ErrUnavailable) || res.Allowed) {
			t.Errorf("got %+v, %v", res, err)
		}
		return res
	}
	eventually(t, "Redis decides", func() bool { // on a busy machine even the first answer can be late
		before := len(rec.All())
		res := ask()
		return res.Limit.Burst == 3 && res.Allowed && len(rec.All()) == before
	})
	rec.Take()
	r.key = r.client.Keys(t.Context(), "*").Val()[0]

	for round := range max(f.rounds, 1) {
		f.begin(r)
		var allowed []bool
		start := time.Now()
		for range 5 {
			allowed = append(allowed, ask().Allowed)
		}
		if took := time.Since(start); took > 2*timeout+slack { // the second is the probe that a slow machine may come to
			t.Errorf("5 answers took %v, where the timeout is %v and is waited for once", took, timeout)
		}
		want := map[ratelimit.Policy]string{
			ratelimit.Local: "[true true true false false]", ratelimit.Allow: "[true true true true true]", ratelimit.Deny: "[false false false false false]",
		}[policy]
		if round > 0 && policy == ratelimit.Local {
			want = "[false false false false false]" // what was counted here is not forgotten
		}
		if got := fmt.Sprint(allowed); got != want {
			t.Errorf("while it fails: got allowed %s, want %s", got, want)
		}
		if events := rec.All(); len(events) != 1 || events[0].Name != audit.SysMonitorDisabled ||
			!strings.Contains(events[0].Reason, "failed, so "+policy.String()+" holds: redisstore: Take: ") {
			t.Errorf("while it fails: got the events %+v, want one that tells so", events)
		}
		rec.Take()

		f.end(r)
		eventually(t, "it is told that Redis works again", func() bool {
			ask()
			return len(rec.All()) > 0
		})
		if events := rec.Take(); len(events) != 1 || events[0].Name != audit.SysMonitorEnabled {
			t.Errorf("when it works again: got the events %+v, want one that tells so", events)
		}
	}
}
