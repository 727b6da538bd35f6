package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth/redisstore"
	"github.com/sallyport/sallyport/internal/eventlog"
	"github.com/sallyport/sallyport/internal/redistest"
	"github.com/sallyport/sallyport/ratelimit"
	"github.com/sallyport/sallyport/ratelimit/storetest"
)

func newLockouts(t testing.TB, cfg redisstore.Config) *redisstore.Lockouts {
	t.Helper()
	s, err := redisstore.NewLockouts(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// lockoutRules are far from everything but 3 failures of a pair.
func lockoutRules() ratelimit.LockoutRules {
	far := ratelimit.LockoutLimit{Failures: 1000, Window: 1000 * time.Hour}
	return ratelimit.LockoutRules{
		Pair: ratelimit.LockoutLimit{Failures: 3, Window: 3 * time.Hour}, Network: far, Account: far,
		Backoff: time.Minute, MaxBackoff: 15 * time.Minute, KnownFor: 30 * 24 * time.Hour,
	}
}

func openLockout(t testing.TB, cfg redisstore.Config, rules ratelimit.LockoutRules) ratelimit.LockoutBook {
	t.Helper()
	b, err := newLockouts(t, cfg).OpenLockout("login", rules)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var (
	home  = netip.MustParseAddr("192.0.2.1")
	guess = ratelimit.LockoutGuess{Account: "user-1", Sent: "name:ada", Near: netip.MustParsePrefix("192.0.2.0/24"), Network: netip.MustParsePrefix("192.0.2.1/32")}
)

func count(t testing.TB, b ratelimit.LockoutBook, g ratelimit.LockoutGuess) ratelimit.LockoutAnswer {
	t.Helper()
	a, err := b.Count(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestLockoutsConformance(t *testing.T) {
	eachServer(t, func(t *testing.T, cfg redisstore.Config) {
		t.Helper()
		cfg.Timeout = patience
		storetest.RunLockouts(t, storetest.LockoutSubject{
			New: func(t *testing.T) ratelimit.LockoutStore {
				cfg.Prefix = "test" + strconv.FormatInt(prefixes.Add(1), 10) + ":"
				return newLockouts(t, cfg)
			},
			Advance: time.Sleep,
		})
	})
}

// counter counts the commands and pipelines that are sent, but for those by which a
// connection begins.
type counter struct{ sent atomic.Int64 }

func (c *counter) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *counter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if strings.HasPrefix(cmd.Name(), "eval") {
			c.sent.Add(1)
		}
		return next(ctx, cmd)
	}
}

func (c *counter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if strings.HasPrefix(cmds[0].Name(), "eval") {
			c.sent.Add(1)
		}
		return next(ctx, cmds)
	}
}

func TestLockoutsTakeOneRoundTrip(t *testing.T) {
	client := single(t, redistest.Start(t).Addr)
	trips := new(counter)
	client.AddHook(trips)
	lockout, err := ratelimit.NewLockout(ratelimit.LockoutConfig{
		Store: newLockouts(t, redisstore.Config{Client: client, Timeout: patience}), StoreTimeout: patience,
	})
	if err != nil {
		t.Fatal(err)
	}
	attempt := func(settle string, want int64) {
		t.Helper()
		before := trips.sent.Load()
		a, err := lockout.AttemptSent(t.Context(), "user-1", "name:ada", home)
		if err != nil || a.Locked() {
			t.Fatalf("got %v, %v, want an attempt that passes", a, err)
		}
		switch settle {
		case "succeeded":
			a.Succeeded()
		case "undecided":
			a.Undecided()
		}
		if got := trips.sent.Load() - before; got != want {
			t.Errorf("an attempt that %s: got %d round trips, want %d", settle, got, want)
		}
	}
	attempt("failed", 2) // the script is not there yet
	attempt("failed", 1)
	attempt("succeeded", 2)
	attempt("undecided", 2)
	client.ScriptFlush(t.Context())
	attempt("failed", 2)
}

// Redis learns neither names nor addresses, every key ends, and all are in one slot.
func TestLockoutsInRedis(t *testing.T) {
	server := redistest.Start(t)
	client := single(t, server.Addr)
	names := func(cfg redisstore.Config) []string {
		t.Helper()
		client.FlushAll(t.Context())
		cfg.Client, cfg.Timeout = client, patience
		b := openLockout(t, cfg, lockoutRules())
		count(t, b, guess)
		count(t, b, guess)
		if err := b.Settle(t.Context(), guess, count(t, b, guess), ratelimit.LockoutUndecided); err != nil {
			t.Fatal(err)
		}
		other := guess
		other.Account = "user-2"
		if err := b.Settle(t.Context(), other, count(t, b, other), ratelimit.LockoutSuccess); err != nil {
			t.Fatal(err)
		}
		all := keys(t, client)
		slices.Sort(all)
		return all
	}
	plain := names(redisstore.Config{})
	if len(plain) < 6 {
		t.Fatalf("got the keys %q, want 6 or more", plain)
	}
	slots := make(map[string]bool)
	for _, name := range plain {
		value, err := client.Get(t.Context(), name).Result()
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"user", "ada", "192.0", "login"} {
			if strings.Contains(name, secret) || strings.Contains(value, secret) {
				t.Errorf("%q is in the key %q or its value %q", secret, name, value)
			}
		}
		if left := client.PTTL(t.Context(), name).Val(); left <= 0 || left > 31*24*time.Hour {
			t.Errorf("key %s ends in %v", name, left)
		}
		if !strings.HasPrefix(name, "sallyport:{") {
			t.Errorf("key %q does not begin with the prefix and its slot", name)
		}
		slots[fmt.Sprint(client.ClusterKeySlot(t.Context(), name).Val())] = true
	}
	if len(slots) != 1 {
		t.Errorf("the keys are in %d slots, want 1", len(slots))
	}
	if again := names(redisstore.Config{}); !slices.Equal(plain, again) {
		t.Errorf("got other keys for the same: %q and %q", plain, again)
	}
	for _, name := range names(redisstore.Config{HashKey: []byte(strings.Repeat("k", 32))}) {
		if slices.Contains(plain, name) {
			t.Errorf("the key %q does not depend on HashKey", name)
		}
	}
}

// What is kept of an account has a bound, however many networks it comes from.
func TestLockoutsKnowFewNetworks(t *testing.T) {
	client := single(t, redistest.Start(t).Addr)
	b := openLockout(t, redisstore.Config{Client: client, Timeout: patience}, lockoutRules())
	for i := range 100 {
		g := guess
		g.Near = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), 0}), 24)
		if err := b.Settle(t.Context(), g, ratelimit.LockoutAnswer{}, ratelimit.LockoutSuccess); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range keys(t, client) {
		if n := len(client.Get(t.Context(), name).Val()); n > 16*100 {
			t.Errorf("a value has %d bytes, want no more than 16 networks take", n)
		}
	}
}

// What a user of Redis needs, as the README says.
func TestLockoutsLeastPrivilege(t *testing.T) {
	server := redistest.Start(t)
	server.Do(append([]string{"ACL", "SETUSER", "api"}, strings.Fields("on >password resetchannels ~sallyport:* -@all +get +set +pttl +evalsha +eval +wait +info +time +del")...)...)
	client := single(t, server.Addr, func(o *redis.Options) { o.Username, o.Password = "api", "password" })
	b := openLockout(t, redisstore.Config{Client: client, Timeout: patience}, lockoutRules())
	for _, o := range []ratelimit.LockoutOutcome{ratelimit.LockoutUndecided, ratelimit.LockoutSuccess} {
		if err := b.Settle(t.Context(), guess, count(t, b, guess), o); err != nil {
			t.Error(err)
		}
	}
}

// Several machines count together.
func TestLockoutsOfManyMachines(t *testing.T) {
	addr := redistest.Start(t).Addr
	var passed atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		b := openLockout(t, redisstore.Config{Client: single(t, addr), Timeout: patience}, lockoutRules())
		for range 25 {
			wg.Go(func() {
				if a, err := b.Count(t.Context(), guess); err != nil {
					t.Error(err)
				} else if !a.Locked {
					passed.Add(1)
				}
			})
		}
	}
	wg.Wait()
	if got := passed.Load(); got != 3 {
		t.Errorf("%d guesses passed, want 3", got)
	}
}

// The login lockout falls back to the memory of the process, never to open, with one
// event, and comes back with another.
func TestLockoutsFallBackToMemory(t *testing.T) {
	server := redistest.Start(t)
	rec := new(eventlog.Recorder)
	lockout, err := ratelimit.NewLockout(ratelimit.LockoutConfig{
		Store: newLockouts(t, redisstore.Config{Client: single(t, server.Addr), Timeout: patience}), StoreTimeout: 2 * time.Second, Audit: rec,
	})
	if err != nil {
		t.Fatal(err)
	}
	guesses := func(account string, n int) (passed int) {
		t.Helper()
		for range n {
			a, err := lockout.AttemptSent(t.Context(), account, "name:"+account, home)
			if err != nil {
				t.Fatal(err)
			}
			if !a.Locked() {
				passed++
			}
		}
		return passed
	}
	events := func() (names []string) {
		for _, e := range rec.Take() {
			names = append(names, e.Name)
		}
		return names
	}
	if got := guesses("user-1", 20); got != 10 {
		t.Errorf("with Redis %d guesses passed, want 10", got)
	}
	if got := events(); !slices.Equal(got, []string{audit.LoginLock}) {
		t.Errorf("got the events %v, want one of the lock", got)
	}
	server.Stop()
	if got := guesses("user-1", 20); got != 10 {
		t.Errorf("without Redis %d guesses passed, want 10", got)
	}
	if got := events(); !slices.Equal(got, []string{audit.SysMonitorDisabled, audit.LoginLock}) {
		t.Errorf("got the events %v, want one of the outage and one of the lock", got)
	}
	server.Restart()
	eventually(t, "Redis is asked again", func() bool {
		guesses("user-2", 1)
		return slices.Contains(events(), audit.SysMonitorEnabled)
	})
	if got := guesses("user-3", 20); got != 10 {
		t.Errorf("with Redis again %d guesses passed, want 10", got)
	}
}

// A reply that is lost is asked for again, which may count a guess twice. It never
// gives one back twice.
func TestLockoutsLostReply(t *testing.T) {
	p := redistest.StartProxy(t, redistest.Start(t).Addr)
	b := openLockout(t, redisstore.Config{Client: single(t, p.Addr), Timeout: patience}, lockoutRules())
	lose := func() {
		left := new(atomic.Int32)
		left.Store(1)
		p.On(func(request, _ string) (time.Duration, bool) {
			return 0, !strings.Contains(request, "sallyport:") || left.Add(-1) < 0
		})
	}
	first := count(t, b, guess)
	lose()
	if a := count(t, b, guess); a.Locked { // counts for two
		t.Errorf("got %+v, want it to pass", a)
	}
	if a := count(t, b, guess); !a.Locked {
		t.Errorf("after three: got %+v, want it locked", a)
	}
	lose()
	if err := b.Settle(t.Context(), guess, first, ratelimit.LockoutUndecided); err == nil {
		t.Error("Settle whose reply is lost: got no error")
	}
	if a := count(t, b, guess); a.Locked {
		t.Errorf("after one was given back: got %+v, want it to pass", a)
	}
	if a := count(t, b, guess); !a.Locked {
		t.Errorf("after one was given back and taken: got %+v, want it locked", a)
	}
}

// A reply that no script of ours gives is an error, and never lets a guess pass.
func TestLockoutsOddReplies(t *testing.T) {
	const epochs = " 0 0 0 0 0"
	odd := []string{
		"$-1\r\n", "*-1\r\n", "*0\r\n", ":0\r\n", "+OK\r\n", "$0\r\n\r\n", "-ERR no\r\n", "-NOSCRIPT no\r\n", "-OOM no\r\n",
		"$100000000\r\n", "_\r\n", "#t\r\n", "$8\r\n0 0 31 0\r\n",
	}
	for _, answer := range []string{
		"0 0 0 0", "0 0 1 0", "0 0 8 0", "0 9 9 0", "1 0 0 0", "1 0 31 0", "1 9 9 0", "2 0 9 0", "0 0 257 0", "0 0 9 -1", "0 0 09 0", "0 0 9", "0 0 9 0 0", "1 86400000001 0 ", "1 86400000001 0 0", "1 9223372036854775808 0 0 0",
		"0 0 9 0 0", "0 0 9 0 -1", "0 0 9 0 x",
	} {
		odd = append(odd, bulk(answer+epochs))
	}
	for _, reply := range odd {
		b := openLockout(t, redisstore.Config{Client: single(t, redistest.StartScripted(t, reply, true)), Timeout: patience}, lockoutRules())
		a, err := b.Count(t.Context(), guess)
		if err == nil || a != (ratelimit.LockoutAnswer{}) {
			t.Errorf("reply %q: got %+v, %v, want an error alone", reply, a, err)
			continue
		}
		if !strings.HasPrefix(err.Error(), "redisstore: Count: ") || strings.Contains(err.Error(), "ada") {
			t.Errorf("reply %q: got the text %q", reply, err)
		}
		if err := b.Settle(t.Context(), guess, ratelimit.LockoutAnswer{}, ratelimit.LockoutUndecided); err == nil {
			t.Errorf("reply %q: Settle returned no error", reply)
		}
		if a, err := b.Peek(t.Context(), guess); err == nil && (a.Counted != 0 || a.Locked) {
			t.Errorf("reply %q: Peek returned no error", reply)
		}
	}
	b := openLockout(t, redisstore.Config{Client: single(t, redistest.StartScripted(t, bulk("0 0 31 0"+epochs), false)), Timeout: patience}, lockoutRules())
	if a := count(t, b, guess); a.Locked || a.Counted != 31 {
		t.Errorf("a good reply: got %+v", a)
	}
}

// bulk is a string as Redis sends it.
func bulk(s string) string { return "$" + strconv.Itoa(len(s)) + "\r\n" + s + "\r\n" }

// A blank in the prefix is part of no value, so an account knows its networks.
func TestLockoutsPrefixWithABlank(t *testing.T) {
	server := redistest.Start(t)
	for _, prefix := range []string{"app:", "my app:", " "} {
		b := openLockout(t, redisstore.Config{Client: single(t, server.Addr), Prefix: prefix, Timeout: patience}, lockoutRules())
		if err := b.Settle(t.Context(), guess, count(t, b, guess), ratelimit.LockoutSuccess); err != nil {
			t.Fatal(err)
		}
		if a := count(t, b, guess); a.Counted&ratelimit.CountAccount != 0 {
			t.Errorf("prefix %q: the network in which the account has just logged in is strange to it", prefix)
		}
	}
}

// A value that no script wrote, and one of a clock that was set back, let no guess
// pass, and keep nobody out for longer than MaxBackoff.
func TestLockoutsUnknownValue(t *testing.T) {
	client := single(t, redistest.Start(t).Addr)
	b := openLockout(t, redisstore.Config{Client: client, Timeout: patience}, lockoutRules())
	count(t, b, guess)
	for _, value := range []string{"", "x", "1", "1 1", "1 1 2", "-1 1 1", "1 1 1", "1 1 1 x", "1 1 1 1 1", "99999999999999999999 99999999999999999999 0 1x", "9999999999999999 9999999999999999 1 1"} {
		for _, name := range keys(t, client) {
			client.Set(t.Context(), name, value, 0)
		}
		a := count(t, b, guess)
		if !a.Locked || a.RetryAfter <= 14*time.Minute || a.RetryAfter > 15*time.Minute {
			t.Errorf("value %q: got %+v, want it locked for 15 minutes", value, a)
		}
		for _, name := range keys(t, client) { // those that were written again
			if left := client.PTTL(t.Context(), name).Val(); left > 1010*time.Hour {
				t.Errorf("value %q: a key is kept for %v", value, left)
			}
		}
	}
	for _, name := range keys(t, client) { // nothing is saved up
		client.Set(t.Context(), name, "1 9999999999999999 0 1", 0)
	}
	for i := range 5 {
		if a := count(t, b, guess); a.Locked != (i >= 3) {
			t.Errorf("guess %d when all was forgiven long ago: got %+v", i+1, a)
		}
	}
	for _, name := range keys(t, client) {
		client.Del(t.Context(), name)
		client.LPush(t.Context(), name, "x")
	}
	if a, err := b.Count(t.Context(), guess); err == nil {
		t.Errorf("a list: got %+v, want an error", a)
	}
}

func TestLockoutsContext(t *testing.T) {
	b := openLockout(t, redisstore.Config{Client: single(t, nowhere)}, lockoutRules())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Count(ctx, guess); !errors.Is(err, context.Canceled) {
		t.Errorf("Count: got %v, want context.Canceled", err)
	}
	if err := b.Settle(ctx, guess, ratelimit.LockoutAnswer{}, ratelimit.LockoutSuccess); !errors.Is(err, context.Canceled) {
		t.Errorf("Settle: got %v, want context.Canceled", err)
	}
}

func TestNewLockoutsRefuses(t *testing.T) {
	if _, err := redisstore.NewLockouts(redisstore.Config{}); err == nil {
		t.Error("NewLockouts without a client: got no error")
	}
	s := newLockouts(t, redisstore.Config{Client: single(t, nowhere), HashKey: []byte(strings.Repeat("k", 32))})
	if _, err := s.OpenLockout("login", ratelimit.LockoutRules{}); err == nil {
		t.Error("OpenLockout without rules: got no error")
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d"} {
		if got := fmt.Sprintf(verb, s); got != "redisstore.Lockouts" {
			t.Errorf("%s: got %q", verb, got)
		}
	}
}

func BenchmarkLockouts(b *testing.B) {
	client := single(b, redistest.Start(b).Addr)
	book := openLockout(b, redisstore.Config{Client: client, Timeout: patience}, lockoutRules())
	for b.Loop() {
		a := count(b, book, guess)
		if err := book.Settle(b.Context(), guess, a, ratelimit.LockoutSuccess); err != nil {
			b.Fatal(err)
		}
	}
}
