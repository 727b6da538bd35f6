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
