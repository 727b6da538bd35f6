package ratelimit_test

import (
	"net/netip"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/ratelimit"
	"github.com/sallyport/sallyport/ratelimit/storetest"
)

func TestMemoryLockouts(t *testing.T) {
	for name, cfg := range map[string]ratelimit.MemoryConfig{"default": {}, "in small tables": {MaxKeys: 8192}} {
		t.Run(name, func(t *testing.T) {
			storetest.RunLockouts(t, storetest.LockoutSubject{
				New:     func(t *testing.T) ratelimit.LockoutStore { return newMemory(t, cfg) },
				Advance: time.Sleep, Frozen: true, In: synctest.Test,
			})
		})
	}
}

// A guess that is refused gets no slot: else a network that is locked could make what
// others owe be forgotten, for nothing.
func TestMemoryLockoutRefusalsEvictNothing(t *testing.T) {
	far := ratelimit.LockoutLimit{Failures: 1000, Window: 1000 * time.Hour}
	b, err := newMemory(t, ratelimit.MemoryConfig{MaxKeys: 8}).OpenLockout("login", ratelimit.LockoutRules{
		Pair: ratelimit.LockoutLimit{Failures: 3, Window: 3 * time.Hour}, Network: ratelimit.LockoutLimit{Failures: 2, Window: 2 * time.Hour}, Account: far,
		Backoff: time.Hour, MaxBackoff: time.Hour, KnownFor: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	count := func(name, sent string, network byte) ratelimit.LockoutAnswer {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, network}), 32)
		a, _ := b.Count(t.Context(), ratelimit.LockoutGuess{Account: name, Sent: sent, Near: p, Network: p})
		return a
	}
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	const locked = 200
	count("x", "", locked)
	count("x", "", locked)
	for i, name := range names {
		count("x", name, byte(i))
	}
	for i := range 1000 {
		if a := count("x", strconv.Itoa(i), locked); a.RetryAfter == 0 {
			t.Fatalf("guess %d of the locked network: got %+v, want it refused", i, a)
		}
	}
	for i, name := range names {
		near := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 32)
		for n := range 3 { // from other addresses of that network
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(n), byte(i)}), 32)
			a, _ := b.Count(t.Context(), ratelimit.LockoutGuess{Account: "y", Sent: name, Near: near, Network: p})
			if told := a.RetryAfter > 0; told != (n == 2) {
				t.Errorf("name %s: guess %d: got %+v, so it was forgotten", name, n+2, a)
			}
		}
	}
}

// Keys that nobody has cost an attacker nothing. However many he makes up in four /48s,
// those elsewhere get in: at home, and where they have never been.
func TestMemoryLockoutFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys, sites = 4096, 4
		l := newLockout(t, ratelimit.LockoutConfig{Store: newMemory(t, ratelimit.MemoryConfig{MaxKeys: keys}), Audit: new(recorder)})
		refused := func(what string, from func(i int) string) {
			t.Helper()
			n := 0
			for i := range 1000 {
				passed, a, _ := attempts(t, l, 1, "person-"+strconv.Itoa(i), "name:person-"+strconv.Itoa(i), from(i))
				n += 1 - passed
				a.Succeeded()
			}
			if n > 0 {
				t.Errorf("%s: %d of 1000 right logins are refused", what, n)
			}
		}
		atHome := func(i int) string { return "198." + strconv.Itoa(i%256) + "." + strconv.Itoa(i/256) + ".7" }
		refused("before", atHome)
		for net := range keys / 10 * 2 {
			for id := range 10 {
				key := "key:" + strconv.Itoa(net) + "-" + strconv.Itoa(id)
				attempts(t, l, 10, key, key, "2001:db8:"+strconv.Itoa(net%sites)+":"+strconv.FormatInt(int64(net), 16)+"::1")
			}
		}
		refused("at home", atHome)
		refused("elsewhere", func(i int) string { return "192." + strconv.Itoa(i%256) + "." + strconv.Itoa(i/256) + ".7" })
	})
}

// A network can't have more than its share by making counters that owe nothing any
// more, and coming back to all of them at once.
func TestMemoryLockoutSavesUpNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys = 1024
		b := shortBook(t, keys, 2)
		at := func(account string, third byte) ratelimit.LockoutGuess {
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, third, 1}), 32)
			return ratelimit.LockoutGuess{Account: account, Near: p, Network: p}
		}
		for round := range 20 {
			for i := range keys / 8 {
				_, _ = b.Count(t.Context(), at(strconv.Itoa(round)+"-"+strconv.Itoa(i), 0))
			}
			time.Sleep(3 * time.Hour)
		}
		own := 0
		for round := range 20 {
			for i := range keys / 8 {
				g := at(strconv.Itoa(round)+"-"+strconv.Itoa(i), 0)
				_, _ = b.Count(t.Context(), g)
				if a, _ := b.Count(t.Context(), g); !a.Locked {
					own++
				}
			}
		}
		if own > keys/4 {
			t.Errorf("one site has %d of %d counters", own, keys)
		}
	})
}

// What is counted on a counter that a site shares is taken back from it, once.
func TestMemoryLockoutGivesBackWhatIsShared(t *testing.T) {
	for name, outcome := range map[string]ratelimit.LockoutOutcome{"success": ratelimit.LockoutSuccess, "undecided": ratelimit.LockoutUndecided} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := shortBook(t, 64, 2)
				at := func(account string) ratelimit.LockoutGuess {
					p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, 1}), 32)
					return ratelimit.LockoutGuess{Account: account, Near: p, Network: p}
				}
				for i := range 1000 {
					g := at(strconv.Itoa(i))
					_, _ = b.Count(t.Context(), g)
					_, _ = b.Count(t.Context(), g)
				}
				if a, _ := b.Count(t.Context(), at("new")); !a.Locked {
					t.Fatal("the counter that is shared is not used up")
				}
				time.Sleep(time.Hour) // a guess is forgiven
				for i := range 100 {
					g := at("owner-" + strconv.Itoa(i))
					a, _ := b.Count(t.Context(), g)
					if a.Locked {
						t.Fatalf("the %d. owner is refused, though those before have taken back what they counted", i+1)
					}
					_ = b.Settle(t.Context(), g, a, outcome)
				}
			})
		})
	}
}

// shortBook is a book in which a pair has few failures, one forgiven each hour, and
// the other limits are far.
func shortBook(t *testing.T, keys, failures int) ratelimit.LockoutBook {
	t.Helper()
	far := ratelimit.LockoutLimit{Failures: 1_000_000, Window: 1_000_000 * time.Second}
	b, err := newMemory(t, ratelimit.MemoryConfig{MaxKeys: keys}).OpenLockout("login", ratelimit.LockoutRules{
		Pair: ratelimit.LockoutLimit{Failures: failures, Window: time.Duration(failures) * time.Hour}, Network: far, Account: far,
		Backoff: time.Minute, MaxBackoff: time.Minute, KnownFor: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Two guesses meet if their accounts or their sent names are equal, in one network,
// and else never, whatever bytes they have (ASVS 5.0, 8.4.1).
func FuzzLockoutKeys(f *testing.F) {
	v4, v6 := []byte{192, 0, 2, 1}, []byte("\x20\x01\x0d\xb8............")
	f.Add("ada", "name:ada", v4, uint8(24), "ada", "name:ada", v4, uint8(24))
	f.Add("ada", "name:ada", v4, uint8(24), "ada", "name:ada", v4, uint8(25))
	f.Add("ada", "", v4, uint8(24), "", "ada", v4, uint8(24))
	f.Add("a", "b", v4, uint8(0), "ab", "", v6, uint8(0))
	f.Add("a\x04", "", v4, uint8(32), "a", "\x04", v6, uint8(128))
	f.Add("a", "", []byte{1, 2, 3, '?'}, uint8(32), "a4\x20\x01\x02\x03", "", []byte{}, uint8(0))
	f.Add("a", "x", []byte{}, uint8(0), "a", "y", v6, uint8(64))
	f.Add("a", "x", []byte{}, uint8(0), "b", "x", []byte{}, uint8(64))
	prefix := func(addr []byte, bits uint8) netip.Prefix {
		a, _ := netip.AddrFromSlice(addr)
		p, _ := a.Prefix(int(bits))
		return p
	}
	f.Fuzz(func(t *testing.T, account1, sent1 string, addr1 []byte, bits1 uint8, account2, sent2 string, addr2 []byte, bits2 uint8) {
		far := ratelimit.LockoutLimit{Failures: 1000, Window: time.Hour}
		b, err := newMemory(t, ratelimit.MemoryConfig{MaxKeys: 64}).OpenLockout("login", ratelimit.LockoutRules{
			Pair: ratelimit.LockoutLimit{Failures: 1, Window: time.Hour}, Network: far, Account: far,
			Backoff: time.Hour, MaxBackoff: time.Hour, KnownFor: time.Hour,
		})
		if err != nil {
			t.Fatal(err)
		}
		first := ratelimit.LockoutGuess{Account: account1, Sent: sent1, Near: prefix(addr1, bits1)}
		second := ratelimit.LockoutGuess{Account: account2, Sent: sent2, Near: prefix(addr2, bits2)}
		if a, _ := b.Count(t.Context(), first); a.Locked {
			t.Fatalf("the first guess is locked: %+v", a)
		}
		want := first.Near == second.Near && (account1 == account2 || sent1 == sent2 && sent1 != "")
		if a, _ := b.Count(t.Context(), second); a.Locked != want {
			t.Errorf("%+v after %+v: got locked %t, want %t", second, first, a.Locked, want)
		}
	})
}
