package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/internal/conformance"
	"github.com/sallyport/sallyport/internal/redistest"
	"github.com/sallyport/sallyport/ratelimit"
	"github.com/sallyport/sallyport/ratelimit/redisstore"
)

// undecided checks that a decision of another key is an error that is no verdict,
// comes before the test loses patience, and doesn't name the key.
func undecided(t *testing.T, b ratelimit.Bucket, what string) {
	t.Helper()
	key := prefix() + "secret"
	for _, n := range []int{1, -1} {
		start := time.Now()
		res, err := b.Take(t.Context(), key, n)
		switch {
		case err == nil || res != ratelimit.Result{}:
			t.Errorf("%s: Take of %d: got %+v, %v, want an error", what, n, res, err)
		case errors.Is(err, ratelimit.ErrNoKey) || errors.Is(err, ratelimit.ErrCost) || errors.Is(err, ratelimit.ErrCostExceedsBurst):
			t.Errorf("%s: Take of %d: got %v, which is a verdict", what, n, err)
		case !strings.HasPrefix(err.Error(), "redisstore: Take: ") || strings.Contains(err.Error(), "secret"):
			t.Errorf("%s: Take of %d: got the text %q", what, n, err)
		}
		if d := time.Since(start); d > patience/2 {
			t.Errorf("%s: Take of %d took %v", what, n, d)
		}
	}
}

// works checks that another key is allowed its burst and no more, sooner or later.
func works(t *testing.T, b ratelimit.Bucket, what string) {
	t.Helper()
	eventually(t, what+" it works", func() bool {
		_, err := b.Take(t.Context(), prefix(), 1)
		return err == nil
	})
	key := prefix()
	for i, want := range []bool{true, true, true, false} { // of hourly(3)
		if res := take(t, b, key, 1); res.Allowed != want {
			t.Errorf("%s: event %d: got %+v, want allowed: %v", what, i+1, res, want)
		}
	}
}

// leavesNothing checks that what f starts ends: goroutines, and connections to the
// proxy that the client does not close when they are cut.
func leavesNothing(t *testing.T, p *redistest.Proxy, f func()) {
	t.Helper()
	quiet := func() bool { p.Cut(); return p.Open() == 0 }
	eventually(t, "there are no connections at first", quiet)
	before := runtime.NumGoroutine()
	f()
	p.On(nil)
	eventually(t, "there are no more goroutines than before", func() bool { return quiet() && runtime.NumGoroutine() <= before })
}

func TestDownAtStartThenUp(t *testing.T) {
	server := redistest.Start(t)
	server.Stop()
	client := single(t, server.Addr)
	undecided(t, bucket(t, redisstore.Config{Client: client, Timeout: 250 * time.Millisecond}, hourly(3)), "down at start")
	server.Restart()
	works(t, bucket(t, redisstore.Config{Client: client}, hourly(3)), "when it is up")
}

func TestFlapping(t *testing.T) {
	server := redistest.Start(t)
	client := single(t, server.Addr)
	b := bucket(t, redisstore.Config{Client: client}, hourly(3))
	brief := bucket(t, redisstore.Config{Client: client, Prefix: "brief:", Timeout: 250 * time.Millisecond}, hourly(3))
	for range 3 {
		works(t, b, "when it is up")
		server.Stop()
		undecided(t, brief, "down")
		server.Restart() // which forgets the counts, and the script
	}
}

// A Redis that takes connections and says nothing holds nobody up for longer than
// Timeout, and leaves nothing behind.
func TestSilent(t *testing.T) {
	p := redistest.StartProxy(t, redistest.Start(t).Addr)
	client := single(t, p.Addr)
	b := bucket(t, redisstore.Config{Client: client}, hourly(3))
	brief := bucket(t, redisstore.Config{Client: client, Prefix: "brief:", Timeout: 20 * time.Millisecond}, hourly(3))
	works(t, b, "at first")
	leavesNothing(t, p, func() {
		p.On(func(string, string) (time.Duration, bool) { return time.Hour, true })
		undecided(t, brief, "silent")
		conformance.Together(64, func(int) { undecided(t, brief, "silent to many") })
	})
	works(t, b, "when it answers again")
}

// Of those who wait together each has its own patience. One that leaves, even the one
// whose decision is on its way, takes no other's answer along.
func TestCallersLeave(t *testing.T) {
	p := redistest.StartProxy(t, redistest.Start(t).Addr)
	b := bucket(t, redisstore.Config{Client: single(t, p.Addr)}, hourly(3))
	works(t, b, "at first")
	gate := make(chan struct{})
	var asked atomic.Int64
	p.On(func(request, _ string) (time.Duration, bool) {
		if strings.Contains(request, "evalsha") {
			asked.Add(1)
			<-gate
		}
		return 0, true
	})
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error, 3)
	go func() {
		_, err := b.Take(ctx, "first", 1)
		left <- err
	}()
	eventually(t, "the first is on its way", func() bool { return asked.Load() == 1 })
	type answer struct {
		res ratelimit.Result
		err error
	}
	answers := make(chan answer, 20)
	for i := range 20 {
		go func() {
			res, err := b.Take(t.Context(), fmt.Sprint("other", i), 1)
			answers <- answer{res, err}
		}()
	}
	for range 2 {
		go func() {
			_, err := b.Take(ctx, "one of many", 1)
			left <- err
		}()
	}
	time.Sleep(20 * time.Millisecond)
	leave()
	for range 3 {
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("one that leaves: got %v, want the error of its context", err)
		}
	}
	close(gate)
	for range 20 {
		if a := <-answers; !a.res.Allowed || a.err != nil || a.res.Remaining != 2 {
			t.Errorf("one that stays: got %+v, %v, want allowed with 2 left", a.res, a.err)
		}
	}
	works(t, b, "after that")
}

// A deadline of the caller that comes before Timeout counts, and a context that is
// done asks nothing.
func TestContext(t *testing.T) {
	p := redistest.StartProxy(t, redistest.Start(t).Addr)
	b := bucket(t, redisstore.Config{Client: single(t, p.Addr)}, hourly(3))
	works(t, b, "at first")
	p.On(func(string, string) (time.Duration, bool) { return time.Hour, true })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := b.Take(ctx, "x", 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the error of the deadline", err)
	}
	before := len(p.Sent())
	for _, n := range []int{1, -1} {
		if _, err := b.Take(ctx, "x", n); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a context that is done: got %v, want its error", err)
		}
	}
	if len(p.Sent()) != before {
		t.Error("a context that is done: something was sent")
	}
}

// A reply that was lost is asked for again, which may count twice; what gives back is
// not sent again, and so never counts twice.
func TestLostReply(t *testing.T) {
	p := redistest.StartProxy(t, redistest.Start(t).Addr)
	b := bucket(t, redisstore.Config{Client: single(t, p.Addr)}, hourly(10))
	lose := func(n int32) { // the next n replies to what the store sends
		left := new(atomic.Int32)
		left.Store(n)
		p.On(func(request, _ string) (time.Duration, bool) {
			return 0, !strings.Contains(request, "sallyport:") || left.Add(-1) < 0
		})
	}
	take(t, b, "a", 1)
	lose(1)
	if res := take(t, b, "a", 1); !res.Allowed || res.Remaining != 7 {
		t.Errorf("a reply that was lost: got %+v, want allowed with 7 left", res)
	}
	lose(1)
	if res, err := b.Take(t.Context(), "a", -1); err == nil {
		t.Errorf("a reply to what gives back that was lost: got %+v, want an error", res)
	}
	p.On(nil)
	if res := take(t, b, "a", 1); res.Remaining != 7 { // 7 + 1 - 1
		t.Errorf("after one was given back, and one taken: got %+v, want 7 left", res)
	}
	lose(100)
	undecided(t, b, "when all replies are lost")
}

// One that gives back in a flight that is lost does not keep the others from being
// sent again, or together with it twice.
func TestLostReplyToSeveral(t *testing.T) {
	p := redistest.StartProxy(t, redistest.Start(t).Addr)
	b := bucket(t, redisstore.Config{Client: single(t, p.Addr)}, hourly(10))
	take(t, b, "a", 5)
	var left atomic.Int32
	left.Store(1)
	p.On(func(request, _ string) (time.Duration, bool) {
		return 0, !strings.Contains(request, "sallyport:") || left.Add(-1) < 0
	})
	if res, err := redisstore.TakeTogether(t.Context(), b, []string{"b", "a", "c"}, []int{1, -1, 1}, nil); err == nil {
		t.Errorf("got %+v, want the error of the second", res)
	}
	p.On(nil)
	for key, want := range map[string]int{"a": 5, "b": 7, "c": 7} {
		if res := take(t, b, key, 1); res.Remaining != want {
			t.Errorf("key %s: got %d left, want %d", key, res.Remaining, want)
		}
	}
}

// Redis forgets scripts when it restarts, or is told to.
func TestScriptIsLoadedAgain(t *testing.T) {
	server := redistest.Start(t)
	b := bucket(t, redisstore.Config{Client: single(t, server.Addr)}, hourly(3))
	for _, forget := range []func(){func() {}, func() { server.Do("SCRIPT", "FLUSH") }, server.Restart} {
		forget()
		works(t, b, "when the script was forgotten")
	}
	if n := strings.Count(server.Do("INFO", "commandstats"), "cmdstat_eval:"); n != 1 {
		t.Error("the script was never sent in full")
	}
}

// A Redis that can't write decides nothing, not even what it could refuse, and counts
// nothing.
func TestCannotWrite(t *testing.T) {
	for name, fault := range map[string]struct{ begin, end []string }{
		"a full memory": {[]string{"CONFIG", "SET", "maxmemory", "1"}, []string{"CONFIG", "SET", "maxmemory", "0"}},
		"a replica":     {[]string{"REPLICAOF", "127.0.0.1", "1"}, []string{"REPLICAOF", "NO", "ONE"}},
		"no replicas":   {[]string{"CONFIG", "SET", "min-replicas-to-write", "1"}, []string{"CONFIG", "SET", "min-replicas-to-write", "0"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			client := single(t, server.Addr)
			b := bucket(t, redisstore.Config{Client: client, MaxDenials: -1}, hourly(3))
			take(t, b, "spent", 3)
			server.Do(fault.begin...)
			undecided(t, b, name)
			if res, err := b.Take(t.Context(), "spent", 1); err == nil {
				t.Errorf("a key that is spent: got %+v, want an error", res)
			}
			if name == "a replica" && client.PoolStats().IdleConns != 0 {
				t.Error("a connection to the replica is kept, though another server may have the address by now")
			}
			server.Do(fault.end...)
			works(t, b, "after "+name)
			if res := take(t, b, "spent", 1); res.Allowed {
				t.Errorf("a key that is spent, after %s: got %+v, want refused", name, res)
			}
		})
	}
}

// What sits in the client, and does not return or returns nonsense, is an error to
// those who wait for it, and to nobody else.
func TestHooks(t *testing.T) {
	for name, h := range map[string]hook{
		"an error":              {process: func() error { return ratelimit.ErrCost }},
		"nothing":               {process: func() error { return nil }},
		"a panic":               {process: func() error { panic("hook") }},
		"the end of goroutines": {process: func() error { runtime.Goexit(); return nil }},
	} {
		t.Run(name, func(t *testing.T) {
			var broken atomic.Bool
			h.broken = &broken
			client := single(t, redistest.Start(t).Addr)
			client.AddHook(h)
			b := bucket(t, redisstore.Config{Client: client}, hourly(3))
			works(t, b, "at first")
			broken.Store(true)
			if name != "the end of goroutines" { // which ends the caller
				undecided(t, b, name)
				conformance.Together(20, func(int) { undecided(t, b, name+" for many") })
			} else {
				conformance.Together(20, func(int) { b.Take(t.Context(), "x", 1) })
			}
			broken.Store(false)
			works(t, b, "after "+name)
		})
	}
}

// A hook keeps commands from being sent.
type hook struct {
	process func() error
	broken  *atomic.Bool
}

func (hook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (h hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if h.broken.Load() {
			return h.process()
		}
		return next(ctx, cmd)
	}
}

func (hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
