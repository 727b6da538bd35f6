package ratelimit_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/ratelimit"
)

func newLockout(t testing.TB, cfg ratelimit.LockoutConfig) *ratelimit.Lockout {
	t.Helper()
	l, err := ratelimit.NewLockout(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// attempts makes n attempts and returns how many passed, the last, and how long its
// client is told to wait.
func attempts(t testing.TB, l *ratelimit.Lockout, n int, account, sent, addr string) (passed int, last auth.Attempt, wait time.Duration) {
	t.Helper()
	for range n {
		a, err := l.AttemptSent(t.Context(), account, sent, netip.MustParseAddr(addr))
		if err != nil {
			t.Fatal(err)
		}
		last, wait = a, a.(interface{ RetryAfter() time.Duration }).RetryAfter()
		if !a.Locked() {
			passed++
		}
	}
	return passed, last, wait
}

func TestNewLockoutRefuses(t *testing.T) {
	memory := newMemory(t, ratelimit.MemoryConfig{})
	newLockout(t, ratelimit.LockoutConfig{Store: memory, Name: "taken"})
	for _, tt := range []struct {
		name string
		cfg  ratelimit.LockoutConfig
		want string
	}{
		{"name", ratelimit.LockoutConfig{Name: "a\n"}, "Name"},
		{"name twice", ratelimit.LockoutConfig{Name: "taken", Store: memory}, "Store"},
		{"negative failures", ratelimit.LockoutConfig{Pair: ratelimit.LockoutLimit{Failures: -1}}, "Pair.Failures"},
		{"too many failures", ratelimit.LockoutConfig{Network: ratelimit.LockoutLimit{Failures: 1_000_001}}, "Network.Failures"},
		{"negative window", ratelimit.LockoutConfig{Account: ratelimit.LockoutLimit{Window: -1}}, "Account.Window"},
		{"long window", ratelimit.LockoutConfig{Account: ratelimit.LockoutLimit{Window: 9000 * time.Hour}}, "Account.Window"},
		{"short window", ratelimit.LockoutConfig{Account: ratelimit.LockoutLimit{Window: 99 * time.Millisecond}}, "Account.Window"},
		{"negative back-off", ratelimit.LockoutConfig{Backoff: -1}, "Backoff"},
		{"short back-off", ratelimit.LockoutConfig{Backoff: 1}, "Backoff"},
		{"shorter longest back-off", ratelimit.LockoutConfig{MaxBackoff: time.Second}, "MaxBackoff"},
		{"long back-off", ratelimit.LockoutConfig{MaxBackoff: 25 * time.Hour}, "MaxBackoff"},
		{"negative KnownFor", ratelimit.LockoutConfig{KnownFor: -1}, "KnownFor"},
		{"long KnownFor", ratelimit.LockoutConfig{KnownFor: 1 << 62}, "KnownFor"},
		{"negative bits", ratelimit.LockoutConfig{PairBits4: -1}, "PairBits4"},
		{"many bits", ratelimit.LockoutConfig{PairBits6: 129}, "PairBits6"},
		{"many bits of a network", ratelimit.LockoutConfig{NetworkBits4: 33}, "NetworkBits4"},
		{"negative bits of a network", ratelimit.LockoutConfig{NetworkBits6: -1}, "NetworkBits6"},
		{"negative timeout", ratelimit.LockoutConfig{StoreTimeout: -1}, "StoreTimeout"},
		{"store", ratelimit.LockoutConfig{Store: &flakyLockouts{openErr: errors.New("no")}}, "Store"},
		{"nothing opened", ratelimit.LockoutConfig{Store: &flakyLockouts{}}, "Store"},
		{"memory not made by New", ratelimit.LockoutConfig{Store: new(ratelimit.Memory)}, "Store"},
	} {
		l, err := ratelimit.NewLockout(tt.cfg)
		if err == nil || l != nil || !strings.Contains(err.Error(), "LockoutConfig."+tt.want) {
			t.Errorf("%s: got %v, want an error that names %s", tt.name, err, tt.want)
		}
	}
	if _, err := memory.OpenLockout("x", ratelimit.LockoutRules{}); err == nil {
		t.Error("OpenLockout without rules: got no error")
	}
	newLockout(t, ratelimit.LockoutConfig{Backoff: time.Hour}) // and so is MaxBackoff
	if _, err := newLockout(t, ratelimit.LockoutConfig{}).Attempt(t.Context(), "", netip.Addr{}); err == nil {
		t.Error("an attempt on nobody: got no error")
	}
}

// The defaults are the figures of the documentation.
func TestLockoutDefaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLockout(t, ratelimit.LockoutConfig{})
		if passed, _, wait := attempts(t, l, 20, "a", "name:a", home); passed != 10 || wait != time.Minute {
			t.Errorf("one account from one network: %d passed, then %s, want 10 and 1m", passed, wait)
		}
		for _, want := range []time.Duration{2, 4, 8, 15, 15} {
			_, _, wait := attempts(t, l, 1, "a", "name:a", home)
			time.Sleep(wait)
			if passed, _, wait := attempts(t, l, 2, "a", "name:a", home); passed != 1 || wait != want*time.Minute {
				t.Errorf("after the wait: %d passed, then %s, want 1 and %dm", passed, wait, want)
			}
		}
		time.Sleep(72 * time.Minute)
		passed := 0
		for i := range 200 {
			n, _, _ := attempts(t, l, 1, strconv.Itoa(i), "", evil)
			passed += n
		}
		if passed != 100 {
			t.Errorf("many accounts from one network: %d passed, want 100", passed)
		}
		passed = 0
		for i := range 200 {
			n, last, wait := attempts(t, l, 1, "b", "", sprayed(i))
			if passed += n; last.Locked() && wait != 0 {
				t.Fatalf("the lock of an account is told: %s", wait)
			}
		}
		if passed != 100 {
			t.Errorf("one account from many networks: %d passed, want 100", passed)
		}
		if n, _, _ := attempts(t, l, 1, "b", "", sprayed(1000)); n != 0 {
			t.Error("one account from yet another network passed")
		}
		time.Sleep(72 * time.Second) // in which two are forgiven
		if n, _, _ := attempts(t, l, 3, "b", "", sprayed(1001)); n != 2 {
			t.Errorf("72 s later %d passed, want 2", n)
		}
	})
}

// What is one network, and what is not: mapped addresses (CVE-2024-24790) and zones
// (CVE-2025-22870) make no others.
func TestCVE_2024_24790_LockoutNetworks(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  ratelimit.LockoutConfig
		a, b string
		pair bool // whether they are one network for an account
		all  bool // whether they are one network for all accounts
	}{
		{"the same", ratelimit.LockoutConfig{}, home, home, true, true},
		{"a /24", ratelimit.LockoutConfig{}, "192.0.2.1", "192.0.2.255", true, false},
		{"not a /24", ratelimit.LockoutConfig{}, "192.0.2.1", "192.0.3.1", false, false},
		{"mapped", ratelimit.LockoutConfig{}, "192.0.2.1", "::ffff:192.0.2.1", true, true},
		{"mapped in a /24", ratelimit.LockoutConfig{}, "192.0.2.1", "::ffff:c000:2ff", true, false},
		{"a /64", ratelimit.LockoutConfig{}, "2001:db8::1", "2001:db8::ffff:0:0:2", true, true},
		{"not a /64", ratelimit.LockoutConfig{}, "2001:db8::1", "2001:db8:0:1::1", false, false},
		{"zones", ratelimit.LockoutConfig{}, "fe80::1%eth0", "fe80::2%eth1", true, true},
		{"zone and none", ratelimit.LockoutConfig{}, "fe80::1%eth0", "fe80::1", true, true},
		{"configured to /32", ratelimit.LockoutConfig{PairBits4: 32}, "192.0.2.1", "192.0.2.2", false, false},
		{"configured to /16", ratelimit.LockoutConfig{PairBits4: 16, NetworkBits4: 16}, "192.0.2.1", "192.0.3.1", true, true},
		{"configured to /48", ratelimit.LockoutConfig{PairBits6: 48, NetworkBits6: 48}, "2001:db8::1", "2001:db8:0:1::1", true, true},
		{"configured to /128", ratelimit.LockoutConfig{PairBits6: 128, NetworkBits6: 128}, "2001:db8::1", "2001:db8::2", false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			one := ratelimit.LockoutLimit{Failures: 1}
			cfg := tt.cfg
			cfg.Pair = one
			l := newLockout(t, cfg)
			attempts(t, l, 1, "ada", "name:ada", tt.a)
			if passed, _, _ := attempts(t, l, 1, "ada", "name:ada", tt.b); (passed == 0) != tt.pair {
				t.Errorf("for an account: got one network %t, want %t", passed == 0, tt.pair)
			}
			cfg.Pair, cfg.Network = ratelimit.LockoutLimit{}, one
			l = newLockout(t, cfg)
			attempts(t, l, 1, "ada", "name:ada", tt.a)
			if passed, _, _ := attempts(t, l, 1, "bob", "name:bob", tt.b); (passed == 0) != tt.all {
				t.Errorf("for all accounts: got one network %t, want %t", passed == 0, tt.all)
			}
		})
	}
	t.Run("no address", func(t *testing.T) {
		l := newLockout(t, ratelimit.LockoutConfig{Pair: ratelimit.LockoutLimit{Failures: 1}})
		for i, want := range []bool{false, true} {
			if a, err := l.Attempt(t.Context(), "ada", netip.Addr{}); err != nil || a.Locked() != want {
				t.Errorf("attempt %d: got %v, want locked %t", i+1, err, want)
			}
		}
	})
}

// An attempt is settled once, whatever its door does.
func TestLockoutSettlesOnce(t *testing.T) {
	one := func(t *testing.T, l *ratelimit.Lockout) auth.Attempt {
		_, a, _ := attempts(t, l, 1, "ada", "name:ada", home)
		return a
	}
	for _, tt := range []struct {
		name   string
		settle func(a auth.Attempt)
		want   int // how many of 10 more pass, when 3 of 5 have failed
	}{
		{"failed", func(auth.Attempt) {}, 1},
		{"undecided", func(a auth.Attempt) { a.Undecided() }, 2},
		{"undecided twice", func(a auth.Attempt) { a.Undecided(); a.Undecided() }, 2},
		{"undecided, then succeeded", func(a auth.Attempt) { a.Undecided(); a.Succeeded() }, 2},
		{"succeeded", func(a auth.Attempt) { a.Succeeded() }, 5},
		{"succeeded, then undecided", func(a auth.Attempt) { a.Succeeded(); a.Undecided() }, 5},
	} {
		l := newLockout(t, ratelimit.LockoutConfig{Pair: ratelimit.LockoutLimit{Failures: 5}})
		attempts(t, l, 3, "ada", "name:ada", home)
		tt.settle(one(t, l))
		if passed, _, _ := attempts(t, l, 10, "ada", "name:ada", home); passed != tt.want {
			t.Errorf("%s: %d more passed, want %d", tt.name, passed, tt.want)
		}
		// What is locked can't succeed.
		one(t, l).Succeeded()
		if passed, _, _ := attempts(t, l, 1, "ada", "name:ada", home); passed != 0 {
			t.Errorf("%s: a success of a locked attempt let the next pass", tt.name)
		}
	}
}

// 1,000 undecided attempts leave everything as it was.
func TestLockoutGivesBackExactly(t *testing.T) {
	l := newLockout(t, ratelimit.LockoutConfig{})
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			a, err := l.AttemptSent(t.Context(), "ada", "name:ada", netip.MustParseAddr(home))
			if err != nil {
				t.Error(err)
				return
			}
			a.Undecided()
		})
	}
	wg.Wait()
	if passed, _, _ := attempts(t, l, 20, "ada", "name:ada", home); passed != 10 {
		t.Errorf("%d passed, want 10", passed)
	}
}

// flakyLockouts is a store that can fail, hang or panic.
type flakyLockouts struct {
	ratelimit.LockoutStore
	openErr           error
	fail, hang, panic atomic.Bool
	asked             atomic.Int64
}

func (f *flakyLockouts) OpenLockout(name string, rules ratelimit.LockoutRules) (ratelimit.LockoutBook, error) {
	if f.LockoutStore == nil {
		return nil, f.openErr
	}
	b, err := f.LockoutStore.OpenLockout(name, rules)
	return &flakyBook{b, f}, err
}

type flakyBook struct {
	ratelimit.LockoutBook
	f *flakyLockouts
}

func (b *flakyBook) trouble(ctx context.Context) error {
	b.f.asked.Add(1)
	switch {
	case b.f.panic.Load():
		panic("the store panics")
	case b.f.hang.Load():
		<-ctx.Done()
		return ctx.Err()
	case b.f.fail.Load():
		return errors.New("connection refused")
	}
	return ctx.Err()
}

func (b *flakyBook) Count(ctx context.Context, g ratelimit.LockoutGuess) (ratelimit.LockoutAnswer, error) {
	if err := b.trouble(ctx); err != nil {
		return ratelimit.LockoutAnswer{}, err
	}
	return b.LockoutBook.Count(ctx, g)
}

func (b *flakyBook) Peek(ctx context.Context, g ratelimit.LockoutGuess) (ratelimit.LockoutAnswer, error) {
	if err := b.trouble(ctx); err != nil {
		return ratelimit.LockoutAnswer{}, err
	}
	return b.LockoutBook.Peek(ctx, g)
}

func (b *flakyBook) Settle(ctx context.Context, g ratelimit.LockoutGuess, a ratelimit.LockoutAnswer, o ratelimit.LockoutOutcome) error {
	if err := b.trouble(ctx); err != nil {
		return err
	}
	return b.LockoutBook.Settle(ctx, g, a, o)
}

// While its store fails a lockout counts in its own memory, never lets everything
// through, and says so once. Those who logged in before are known there.
func TestLockoutOutage(t *testing.T) {
	for name, fail := range map[string]func(f *flakyLockouts) *atomic.Bool{
		"error":   func(f *flakyLockouts) *atomic.Bool { return &f.fail },
		"silence": func(f *flakyLockouts) *atomic.Bool { return &f.hang },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, rec := &flakyLockouts{LockoutStore: newMemory(t, ratelimit.MemoryConfig{})}, new(recorder)
				l := newLockout(t, ratelimit.LockoutConfig{Store: store, Audit: rec, Account: ratelimit.LockoutLimit{Failures: 20}})
				_, owner, _ := attempts(t, l, 1, "ada", "name:ada", home)
				owner.Succeeded()
				attempts(t, l, 20, "ada", "name:ada", evil)
				rec.Take()

				fail(store).Store(true)
				start := time.Now()
				asked := store.asked.Load()
				if passed, _, _ := attempts(t, l, 100, "ada", "name:ada", evil); passed != 10 {
					t.Errorf("%d guesses passed without the store, want 10", passed)
				}
				if d := time.Since(start); d > 100*time.Millisecond {
					t.Errorf("100 attempts took %s, want the time of one failure", d)
				}
				if n := store.asked.Load() - asked; n != 1 {
					t.Errorf("the store was asked %d times, want 1", n)
				}
				for i := range 40 {
					attempts(t, l, 1, "ada", "name:ada", sprayed(i))
				}
				if passed, _, _ := attempts(t, l, 1, "ada", "name:ada", sprayed(50)); passed != 0 {
					t.Error("the limit of the account does not hold without the store")
				}
				if passed, a, _ := attempts(t, l, 1, "ada", "name:ada", home); passed != 1 {
					t.Error("the owner is locked out in a network that was known to the store")
				} else {
					a.Succeeded()
				}
				var names []string
				for _, e := range rec.Take() {
					names = append(names, e.Name)
				}
				if want := []string{audit.SysMonitorDisabled, audit.LoginLock, audit.LoginLock}; !slices.Equal(names, want) {
					t.Errorf("got the events %v, want %v", names, want)
				}

				fail(store).Store(false)
				time.Sleep(time.Second)
				if passed, _, _ := attempts(t, l, 20, "ada", "name:ada", evil); passed != 0 {
					t.Errorf("%d guesses passed when the store is back, want none: it was locked there", passed)
				}
				if e := rec.Take(); len(e) != 1 || e[0].Name != audit.SysMonitorEnabled {
					t.Errorf("got the events %v, want that it works again", e)
				}
			})
		})
	}
	t.Run("while an attempt is settled", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store, rec := &flakyLockouts{LockoutStore: newMemory(t, ratelimit.MemoryConfig{})}, new(recorder)
			l := newLockout(t, ratelimit.LockoutConfig{Store: store, Audit: rec})
			attempts(t, l, 9, "ada", "name:ada", home)
			_, a, _ := attempts(t, l, 1, "ada", "name:ada", home)
			store.fail.Store(true)
			a.Undecided()
			if e := rec.Take(); len(e) != 1 || e[0].Name != audit.SysMonitorDisabled {
				t.Errorf("got the events %v, want one of the outage", e)
			}
			store.fail.Store(false)
			time.Sleep(time.Second)
			if passed, _, _ := attempts(t, l, 1, "ada", "name:ada", home); passed != 0 {
				t.Error("what could not be given back was not counted")
			}
		})
	})
	t.Run("panic", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := &flakyLockouts{LockoutStore: newMemory(t, ratelimit.MemoryConfig{})}
			l := newLockout(t, ratelimit.LockoutConfig{Store: store, Audit: new(recorder)})
			store.panic.Store(true)
			func() {
				defer func() {
					if recover() == nil {
						t.Error("the panic was swallowed")
					}
				}()
				attempts(t, l, 1, "ada", "name:ada", home)
			}()
			if passed, _, _ := attempts(t, l, 20, "ada", "name:ada", home); passed != 10 {
				t.Errorf("%d passed after a panic of the store, want 10", passed)
			}
		})
	})
}

// A request that is cancelled is no failure of the store, and is counted.
func TestLockoutIgnoresCancelledRequests(t *testing.T) {
	store, rec := &flakyLockouts{LockoutStore: newMemory(t, ratelimit.MemoryConfig{})}, new(recorder)
	l := newLockout(t, ratelimit.LockoutConfig{Store: store, Audit: rec})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	passed := 0
	for range 20 {
		if a, err := l.AttemptSent(ctx, "ada", "name:ada", netip.MustParseAddr(home)); err == nil && !a.Locked() {
			passed++
		}
	}
	if passed != 10 {
		t.Errorf("%d passed, want 10", passed)
	}
	for _, e := range rec.Take() {
		if e.Name != audit.LoginLock {
			t.Errorf("got the event %v", e)
		}
	}
}

var spray = flag.Int("spray", 150_000, "how many guesses at other accounts are to free what is locked")

// Argo CD (CVE-2024-21652, CVE-2024-21662) lost its count of failures when the cache
// overflowed. Here other keys, of many times the number that fit, free none that is
// locked: not those that are counted once, nor those that get locked themselves. With
// -spray 10000000 there are 10 million.
func TestCVE_2024_21652_EvictionIsNoAmnesty(t *testing.T) {
	n := *spray
	for _, tt := range []struct {
		name     string
		failures int // of each other key
	}{{"counted once", 1}, {"almost locked", 3}, {"locked", 4}} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := newMemory(t, ratelimit.MemoryConfig{MaxKeys: 1 << 14}).OpenLockout("login", ratelimit.LockoutRules{
				Pair: ratelimit.LockoutLimit{Failures: 4, Window: 12 * time.Hour}, Network: ratelimit.LockoutLimit{Failures: 4, Window: 12 * time.Hour},
				Account: ratelimit.LockoutLimit{Failures: 4, Window: 12 * time.Hour},
				Backoff: time.Hour, MaxBackoff: 24 * time.Hour, KnownFor: 24 * time.Hour,
			})
			if err != nil {
				t.Fatal(err)
			}
			count := func(account string, addr uint32) ratelimit.LockoutAnswer {
				a := netip.AddrFrom4([4]byte{byte(addr >> 24), byte(addr >> 16), byte(addr >> 8), byte(addr)})
				p := netip.PrefixFrom(a, 32)
				answer, _ := b.Count(t.Context(), ratelimit.LockoutGuess{Account: account, Sent: account, Near: p, Network: p})
				return answer
			}
			const locked = 100
			for i := range uint32(locked) {
				for range 4 {
					count("victim "+strconv.Itoa(int(i)), i)
				}
			}
			passed := 0
			for i := range uint32(n / tt.failures) { // 16 of each /16
				name := strconv.FormatUint(uint64(i), 36)
				for range tt.failures {
					if !count(name, 1<<24+i%(1<<17)<<12+i>>17).Locked {
						passed++
					}
				}
			}
			for i := range uint32(locked) {
				if a := count("victim "+strconv.Itoa(int(i)), i); !a.Locked || a.RetryAfter == 0 {
					t.Fatalf("key %d of %d is locked no more: %+v", i, locked, a)
				}
				// Also for each counter alone: another address, another name.
				if a := count("victim "+strconv.Itoa(int(i)), 1<<30+i); !a.Locked {
					t.Fatalf("account %d of %d is locked no more: %+v", i, locked, a)
				}
				if a := count("another", i); !a.Locked {
					t.Fatalf("network %d of %d is locked no more: %+v", i, locked, a)
				}
			}
			t.Logf("%d of %d guesses passed", passed, n)
			if tt.failures == 4 && passed > 4*(1<<14+16*129) { // the shared ones, of 16 shards
				t.Errorf("%d of %d guesses passed, want no more than the table has room for", passed, n)
			}
			told := 0
			for i := range uint32(100) {
				if count("new "+strconv.Itoa(int(i)), 1<<24+i<<12+1).RetryAfter > 0 {
					told++
				}
			}
			if (tt.failures == 4) != (told > 50) {
				t.Errorf("of 100 new keys beside the others %d are told to wait", told)
			}
		})
	}
}

// The networks of accounts are bounded too, and those that were used last are kept.
func TestMemoryLockoutForgetsTheOldestAccounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLockout(t, ratelimit.LockoutConfig{
			Store: newMemory(t, ratelimit.MemoryConfig{MaxKeys: 256}), Account: ratelimit.LockoutLimit{Failures: 1, Window: 300 * 24 * time.Hour},
			Network: ratelimit.LockoutLimit{Failures: 1_000_000},
		})
		for i := range 10_000 {
			if i%10 == 0 {
				_, a, _ := attempts(t, l, 1, "ada", "", home)
				a.Succeeded()
			}
			_, a, _ := attempts(t, l, 1, strconv.Itoa(i), "", evil)
			a.Succeeded()
			time.Sleep(time.Second)
		}
		attempts(t, l, 1, "ada", "", evil)
		if passed, _, _ := attempts(t, l, 1, "ada", "", evil); passed != 0 {
			t.Fatal("the account is not locked")
		}
		if passed, _, _ := attempts(t, l, 1, "ada", "", home); passed != 1 {
			t.Error("a network that was used a moment ago is forgotten")
		}
		forgotten := 0
		for i := range 100 {
			attempts(t, l, 1, strconv.Itoa(i), "", strconv.Itoa(i+11)+".0.0.7")
			passed, _, _ := attempts(t, l, 1, strconv.Itoa(i), "", evil)
			forgotten += 1 - passed
		}
		if forgotten < 90 {
			t.Errorf("of the 100 oldest accounts %d are forgotten, want nearly all", forgotten)
		}
	})
}

// The memory needs one allocation for an attempt.
func TestLockoutAllocations(t *testing.T) {
	l := newLockout(t, ratelimit.LockoutConfig{})
	addr := netip.MustParseAddr(home)
	for name, f := range map[string]func(){
		"refused": func() { _, _ = l.AttemptSent(t.Context(), "ada", "name:ada", addr) },
		"succeeded": func() {
			a, _ := l.AttemptSent(t.Context(), "bob", "name:bob", addr)
			a.Succeeded()
		},
	} {
		if name == "refused" {
			attempts(t, l, 20, "ada", "name:ada", home)
		} else {
			f()
		}
		if n := testing.AllocsPerRun(100, f); n > 1 {
			t.Errorf("%s: %v allocations, want 1", name, n)
		}
	}
}

// A lockout that doors share. Its zero config is ready for use.
func ExampleNewLockout() {
	lockout, err := ratelimit.NewLockout(ratelimit.LockoutConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	// basic.Config, oauth.Config and apikey.Config take it as Lockout. A door of your
	// own asks before it checks anything:
	try := func(addr, pw string) string {
		attempt, err := lockout.Attempt(context.Background(), "user-1", netip.MustParseAddr(addr))
		switch {
		case err != nil:
			return "503"
		case pw != "correct horse" || attempt.Locked():
			return "401" // the same answer, after the same work
		}
		attempt.Succeeded()
		return "200"
	}
	fmt.Println(try("192.0.2.1", "correct horse"))
	for range 10 {
		try("203.0.113.9", "guess")
	}
	fmt.Println(try("203.0.113.9", "correct horse"))
	fmt.Println(try("192.0.2.1", "correct horse"))
	// Output:
	// 200
	// 401
	// 200
}

func BenchmarkLockout(b *testing.B) {
	addr := netip.MustParseAddr(home)
	names := make([]string, 10_000)
	for i := range names {
		names[i] = "name:user-" + strconv.Itoa(i)
	}
	run := func(name string, after func(a auth.Attempt), cfg ratelimit.LockoutConfig) {
		b.Run(name, func(b *testing.B) {
			l := newLockout(b, cfg)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if i++; i == len(names) {
					i = 0
				}
				a, _ := l.AttemptSent(b.Context(), names[i][5:], names[i], addr)
				after(a)
			}
		})
	}
	run("refused", func(auth.Attempt) {}, ratelimit.LockoutConfig{})
	run("failed", func(auth.Attempt) {}, ratelimit.LockoutConfig{
		Network: ratelimit.LockoutLimit{Failures: 1_000_000, Window: 1001 * time.Second}, Pair: ratelimit.LockoutLimit{Failures: 1_000_000},
		Account: ratelimit.LockoutLimit{Failures: 1_000_000},
	})
	run("succeeded", auth.Attempt.Succeeded, ratelimit.LockoutConfig{})
}
