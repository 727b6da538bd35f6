package redisstore_test

import (
	"context"
	"errors"
	"math"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/redisstore"
	"github.com/sallyport/sallyport/internal/conformance"
	"github.com/sallyport/sallyport/internal/redistest"
)

// undecided checks that each call is an error that means 503, comes before the test
// loses patience, and says nothing of what was asked.
func undecided(t *testing.T, cfg redisstore.Config, what string) {
	t.Helper()
	for name, call := range calls(t, cfg) {
		start := time.Now()
		err := call(t.Context())
		if err == nil {
			t.Errorf("%s: %s: got no error", what, name)
			continue
		}
		if errors.Is(err, auth.ErrInvalid) || errors.Is(err, auth.ErrNoCredentials) || errors.Is(err, auth.ErrNotFound) {
			t.Errorf("%s: %s: got %v, which is a verdict on the token", what, name, err)
		}
		if !strings.HasPrefix(err.Error(), "redisstore: "+name+": ") || strings.Contains(err.Error(), issuer) {
			t.Errorf("%s: %s: got the text %q", what, name, err)
		}
		if d := time.Since(start); d > patience/2 {
			t.Errorf("%s: %s: it took %v", what, name, d)
		}
	}
}

// works checks that no call is an error, sooner or later.
func works(t *testing.T, cfg redisstore.Config, what string) {
	t.Helper()
	for name, call := range calls(t, cfg) {
		eventually(t, what+", "+name+" works", func() bool { return call(t.Context()) == nil })
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
	cfg := redisstore.Config{Client: single(t, server.Addr)}
	undecided(t, cfg, "down at start")
	server.Restart()
	cfg.Timeout = patience
	works(t, cfg, "when it is up")
}

func TestDownLater(t *testing.T) {
	server := redistest.Start(t)
	client := single(t, server.Addr)
	cfg := redisstore.Config{Client: client, Timeout: patience}
	works(t, cfg, "when it is up")
	for range 3 { // flapping
		server.Stop()
		undecided(t, redisstore.Config{Client: client}, "down")
		server.Restart()
		works(t, cfg, "when it is up again")
	}
	// What a restart loses is not revoked any more: the documentation says so.
	revocations := newRevocations(t, cfg)
	r := revocationsOf(inAnHour())["token"]
	if err := revocations.Revoke(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	server.Restart()
	eventually(t, "the data is lost", func() bool {
		revoked, err := revocations.Revoked(t.Context(), tokenOf(r))
		return !revoked && err == nil
	})
}

// With "appendfsync always" what Revoke returned nil for survives a crash.
func TestRevokedSurvivesACrash(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	cfg := redisstore.Config{Client: single(t, server.Addr), Timeout: patience}
	revocations, replays := newRevocations(t, cfg), newReplays(t, cfg)
	until := inAnHour()
	for i := range 20 {
		id := strconv.Itoa(i)
		if err := revocations.Revoke(t.Context(), auth.Revocation{Issuer: issuer, TokenID: id, Until: until}); err != nil {
			t.Fatal(err)
		}
		if first, err := replays.Use(t.Context(), id, until); !first {
			t.Fatal(err)
		}
	}
	server.Restart()
	for i := range 20 {
		id := strconv.Itoa(i)
		if revoked, err := revocations.Revoked(t.Context(), auth.TokenInfo{Issuer: issuer, ID: id}); !revoked || err != nil {
			t.Errorf("token %d: got %v, %v, want true", i, revoked, err)
		}
		if first, err := replays.Use(t.Context(), id, until); first || err != nil {
			t.Errorf("key %d: got %v, %v, want false", i, first, err)
		}
	}
}

// A Redis that takes connections and says nothing holds no request up for longer
// than Timeout, and leaves nothing behind.
func TestSlow(t *testing.T) {
	server := redistest.Start(t)
	p := redistest.StartProxy(t, server.Addr)
	client := single(t, p.Addr)
	cfg := redisstore.Config{Client: client, Timeout: patience}
	works(t, cfg, "at first")
	leavesNothing(t, p, func() {
		p.On(func(string, string) (time.Duration, bool) { return time.Hour, true })
		short := redisstore.Config{Client: client, Timeout: 20 * time.Millisecond}
		undecided(t, short, "silent")
		conformance.Together(64, func(int) { undecided(t, short, "silent to many") })
	})
	works(t, cfg, "when it answers again")
}

// The deadline of the request counts if it is earlier, and one that was given up
// asks nothing.
func TestContext(t *testing.T) {
	p := redistest.StartProxy(t, redistest.Start(t).Addr)
	cfg := redisstore.Config{Client: single(t, p.Addr), Timeout: patience}
	works(t, cfg, "at first")
	p.On(func(string, string) (time.Duration, bool) { return time.Hour, true })
	for name, call := range calls(t, cfg) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		start := time.Now()
		err := call(ctx)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > patience/2 {
			t.Errorf("%s after 20 ms: got %v after %v, want the context's error", name, err, time.Since(start))
		}
	}
	before := len(p.Sent())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range calls(t, cfg) {
		if err := call(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s when it was cancelled: got %v, want context.Canceled", name, err)
		}
	}
	if after := len(p.Sent()); after != before {
		t.Errorf("%d bytes were sent for what was cancelled", after-before)
	}
}

// What can't be revoked is not asked for.
func TestNothingToAsk(t *testing.T) {
	cfg := redisstore.Config{Client: single(t, nowhere)}
	for name, token := range map[string]auth.TokenInfo{
		"empty": {}, "with an issuer alone": {Issuer: issuer}, "without issuer": {ID: "x", SessionID: "x", Subject: "x"},
	} {
		if revoked, err := newRevocations(t, cfg).Revoked(t.Context(), token); revoked || err != nil {
			t.Errorf("a token %s: got %v, %v, want false", name, revoked, err)
		}
	}
	if first, err := newReplays(t, cfg).Use(t.Context(), "x", time.Now()); first || err != nil {
		t.Errorf("a use that comes too late: got %v, %v, want false", first, err)
	}
}

// The default Timeout is less than what a person waits for.
func TestDefaultTimeout(t *testing.T) {
	p := redistest.StartProxy(t, redistest.Start(t).Addr)
	client := single(t, p.Addr)
	works(t, redisstore.Config{Client: client, Timeout: patience}, "at first")
	p.On(func(string, string) (time.Duration, bool) { return time.Hour, true })
	for name, call := range calls(t, redisstore.Config{Client: client}) {
		start := time.Now()
		if err := call(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %v, want the error of a deadline", name, err)
		}
		if d := time.Since(start); d < 200*time.Millisecond || d > patience/2 {
			t.Errorf("%s took %v, want about 250 ms", name, d)
		}
	}
}

// A reply that was lost is asked for again: a use whose key was written is still the
// first, and only once.
func TestLostReply(t *testing.T) {
	p := redistest.StartProxy(t, redistest.Start(t).Addr)
	client := single(t, p.Addr)
	cfg := redisstore.Config{Client: client, Timeout: patience}
	works(t, cfg, "at first")
	replays, revocations := newReplays(t, cfg), newRevocations(t, cfg)
	lose := func(n int32) { // the next n replies to what the stores send
		left := new(atomic.Int32)
		left.Store(n)
		p.On(func(request, _ string) (time.Duration, bool) {
			return 0, !strings.Contains(request, "sallyport:") || left.Add(-1) < 0
		})
	}
	lose(1)
	if first, err := replays.Use(t.Context(), "lost once", inAnHour()); !first || err != nil {
		t.Errorf("Use: got %v, %v, want true", first, err)
	}
	if first, err := replays.Use(t.Context(), "lost once", inAnHour()); first || err != nil {
		t.Errorf("Use again: got %v, %v, want false", first, err)
	}
	lose(1)
	if first, err := replays.Use(t.Context(), "lost once", inAnHour()); first || err != nil {
		t.Errorf("Use again, lost once: got %v, %v, want false", first, err)
	}
	lose(1)
	r := revocationsOf(inAnHour())["session"]
	if err := revocations.Revoke(t.Context(), r); err != nil {
		t.Errorf("Revoke: %v", err)
	}
	lose(1)
	if revoked, err := revocations.Revoked(t.Context(), tokenOf(r)); !revoked || err != nil {
		t.Errorf("Revoked: got %v, %v, want true", revoked, err)
	}
	lose(math.MaxInt32)
	undecided(t, cfg, "when all replies are lost")
	p.On(nil)
	works(t, cfg, "when no replies are lost")
}

// A reply that is cut off in the middle is none, and its connection is not used
// again.
func TestCutReply(t *testing.T) {
	for _, reply := range []string{"$", "$1", "$15\r\n1764", "$-", "$-1", "$-1\r", ":", ":1", ":1\r"} {
		client := single(t, redistest.StartScripted(t, reply, true))
		undecided(t, redisstore.Config{Client: client, Timeout: patience}, "cut after "+strconv.Quote(reply))
		if n := client.PoolStats().IdleConns; n != 0 {
			t.Errorf("cut after %q: %d connections are kept", reply, n)
		}
	}
}

// A Redis whose memory is full says so, and forgets nothing.
func TestFull(t *testing.T) {
	server := redistest.Start(t, "--maxmemory-policy", "noeviction")
	client := single(t, server.Addr)
	cfg := redisstore.Config{Client: client, Timeout: patience}
	revocations, replays := newRevocations(t, cfg), newReplays(t, cfg)
	r := revocationsOf(inAnHour())["token"]
	if err := revocations.Revoke(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if first, err := replays.Use(t.Context(), "x", inAnHour()); !first {
		t.Fatal(err)
	}
	server.Do("CONFIG", "SET", "maxmemory", "1")
	if err := revocations.Revoke(t.Context(), revocationsOf(inAnHour())["session"]); err == nil || !strings.Contains(err.Error(), "OOM") {
		t.Errorf("Revoke: got %v, want an error that there is no memory", err)
	}
	if first, err := replays.Use(t.Context(), "y", inAnHour()); first || err == nil || !strings.Contains(err.Error(), "OOM") {
		t.Errorf("Use: got %v, %v, want an error that there is no memory", first, err)
	}
	if revoked, err := revocations.Revoked(t.Context(), tokenOf(r)); !revoked || err != nil {
		t.Errorf("Revoked: got %v, %v, want true", revoked, err)
	}
	server.Do("CONFIG", "SET", "maxmemory", "0")
	if first, err := replays.Use(t.Context(), "x", inAnHour()); first || err != nil {
		t.Errorf("Use of what was used: got %v, %v, want false", first, err)
	}
}

// Redis forgets scripts when it restarts, or is told to.
func TestScriptIsLoadedAgain(t *testing.T) {
	server := redistest.Start(t)
	revocations := newRevocations(t, redisstore.Config{Client: single(t, server.Addr), Timeout: patience})
	for _, forget := range []func(){
		func() {}, func() { server.Do("SCRIPT", "FLUSH") }, server.Restart, func() { server.Do("FUNCTION", "FLUSH") },
	} {
		forget()
		for kind, r := range revocationsOf(inAnHour()) {
			if err := revocations.Revoke(t.Context(), r); err != nil {
				t.Errorf("Revoke of a %s: %v", kind, err)
			}
		}
	}
	if n := strings.Count(server.Do("INFO", "commandstats"), "cmdstat_eval:"); n != 1 {
		t.Error("the script was never sent in full")
	}
}

// An error of what sits in the client is not taken for a verdict, and no reply not
// for an answer that lets anything through.
func TestHooks(t *testing.T) {
	client := single(t, redistest.Start(t).Addr)
	client.AddHook(hook{auth.ErrInvalid})
	undecided(t, redisstore.Config{Client: client, Timeout: patience}, "a hook that returns an error")

	client = single(t, redistest.Start(t).Addr)
	client.AddHook(hook{nil})
	cfg := redisstore.Config{Client: client, Timeout: patience}
	revocations := newRevocations(t, cfg)
	for kind, r := range revocationsOf(inAnHour()) {
		if err := revocations.Revoke(t.Context(), r); err == nil {
			t.Errorf("Revoke of a %s without reply: got no error", kind)
		}
		if revoked, err := revocations.Revoked(t.Context(), tokenOf(r)); !revoked && err == nil {
			t.Errorf("Revoked of a %s without reply: got false, want true or an error", kind)
		}
	}
	if first, err := newReplays(t, cfg).Use(t.Context(), "x", inAnHour()); first || err == nil {
		t.Errorf("Use without reply: got %v, %v, want an error", first, err)
	}
}

// A hook keeps commands from being sent.
type hook struct{ err error }

func (hook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (h hook) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(context.Context, redis.Cmder) error { return h.err }
}

func (h hook) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(context.Context, []redis.Cmder) error { return h.err }
}
