package storetest

import (
	"context"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/ratelimit"
)

// A LockoutSubject is a store of lockouts under test. Its fields are those of
// [Subject].
type LockoutSubject struct {
	New     func(t *testing.T) ratelimit.LockoutStore
	Advance func(d time.Duration)
	Frozen  bool
	In      func(t *testing.T, f func(t *testing.T))
}

// RunLockouts runs a subtest for each promise of [ratelimit.LockoutStore].
func RunLockouts(t *testing.T, s LockoutSubject) {
	t.Helper()
	if s.New == nil || s.Advance == nil {
		t.Fatal("storetest: LockoutSubject.New and LockoutSubject.Advance must be set")
	}
	in := s.In
	if in == nil {
		in = func(t *testing.T, f func(*testing.T)) { f(t) }
	}
	for _, c := range lockoutCases {
		if c.frozen && !s.Frozen {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				c.run(t, &lockouts{LockoutSubject: s, store: s.New(t)})
				if t.Failed() {
					t.Logf("the promise: %s", c.why)
				}
			})
		})
	}
}

// lockouts is a LockoutSubject with the store of one case.
type lockouts struct {
	LockoutSubject
	store ratelimit.LockoutStore
	books int
}

// A book is a LockoutBook that fails the test instead of returning an error.
type book struct {
	t testing.TB
	ratelimit.LockoutBook
}

func (s *lockouts) open(t *testing.T, edit ...func(*ratelimit.LockoutRules)) book {
	t.Helper()
	s.books++
	return s.openAs(t, "book-"+strconv.Itoa(s.books), edit...)
}

// openAs opens a book in which nothing is reached but three failures of a pair.
func (s *lockouts) openAs(t *testing.T, name string, edit ...func(*ratelimit.LockoutRules)) book {
	t.Helper()
	far := ratelimit.LockoutLimit{Failures: 1000, Window: 1000 * time.Hour}
	rules := ratelimit.LockoutRules{
		Pair:    ratelimit.LockoutLimit{Failures: 3, Window: 3 * time.Hour},
		Network: far, Account: far,
		Backoff: time.Minute, MaxBackoff: 15 * time.Minute, KnownFor: 30 * 24 * time.Hour,
	}
	for _, f := range edit {
		f(&rules)
	}
	b, err := s.store.OpenLockout(name, rules)
	if err != nil {
		t.Fatalf("OpenLockout(%q) failed: %v", name, err)
	}
	return book{t, b}
}

func network(limit int) func(*ratelimit.LockoutRules) {
	return func(r *ratelimit.LockoutRules) {
		r.Network = ratelimit.LockoutLimit{Failures: limit, Window: 1000 * time.Hour}
	}
}

func account(limit int) func(*ratelimit.LockoutRules) {
	return func(r *ratelimit.LockoutRules) {
		r.Account = ratelimit.LockoutLimit{Failures: limit, Window: 1000 * time.Hour}
	}
}

func pair(limit int) func(*ratelimit.LockoutRules) {
	return func(r *ratelimit.LockoutRules) {
		r.Pair = ratelimit.LockoutLimit{Failures: limit, Window: 1000 * time.Hour}
	}
}

func backoff(least, most time.Duration) func(*ratelimit.LockoutRules) {
	return func(r *ratelimit.LockoutRules) { r.Backoff, r.MaxBackoff = least, most }
}

// guess is one at an account whose sent name is its own, from a network of its own.
func guess(account, addr string) ratelimit.LockoutGuess {
	a := netip.MustParseAddr(addr)
	near, _ := a.Prefix(a.BitLen() / 2)
	return ratelimit.LockoutGuess{Account: account, Sent: "sent " + account, Near: near, Network: netip.PrefixFrom(a, a.BitLen())}
}

func sent(g ratelimit.LockoutGuess, name string) ratelimit.LockoutGuess {
	g.Sent = name
	return g
}

func (b book) count(g ratelimit.LockoutGuess) ratelimit.LockoutAnswer {
	b.t.Helper()
	a, err := b.Count(b.t.Context(), g)
	if err != nil {
		b.t.Fatalf("Count(%+v) failed: %v", g, err)
	}
	if a.RetryAfter < 0 || a.RetryAfter > 0 && !a.Locked {
		b.t.Errorf("Count(%+v): got %+v, want a RetryAfter only if it is locked", g, a)
	}
	return a
}

func (b book) settle(g ratelimit.LockoutGuess, a ratelimit.LockoutAnswer, o ratelimit.LockoutOutcome) {
	b.t.Helper()
	if err := b.Settle(b.t.Context(), g, a, o); err != nil {
		b.t.Fatalf("Settle(%+v, %+v, %d) failed: %v", g, a, o, err)
	}
}

// succeed has a guess succeed, which must pass.
func (b book) succeed(g ratelimit.LockoutGuess) {
	b.t.Helper()
	a := b.passes("a guess that is right", g)
	b.settle(g, a, ratelimit.LockoutSuccess)
}

// fail has n guesses fail, which must pass.
func (b book) fail(n int, g ratelimit.LockoutGuess) {
	b.t.Helper()
	for i := range n {
		b.passes("guess "+strconv.Itoa(i+1)+" of "+strconv.Itoa(n), g)
	}
}

func (b book) passes(what string, g ratelimit.LockoutGuess) ratelimit.LockoutAnswer {
	b.t.Helper()
	a := b.count(g)
	if a.Locked || a.RetryAfter != 0 || a.Counted == 0 {
		b.t.Errorf("%s: got %+v, want it to pass", what, a)
	}
	return a
}

// told checks that a guess is refused, counted on nothing, and told.
func (b book) told(what string, g ratelimit.LockoutGuess) ratelimit.LockoutAnswer {
	b.t.Helper()
	a := b.count(g)
	if !a.Locked || a.RetryAfter <= 0 || a.Counted != 0 {
		b.t.Errorf("%s: got %+v, want it refused with RetryAfter, and not counted", what, a)
	}
	return a
}

// peeks checks what Peek says of a guess, whatever its account is.
func (b book) peeks(what string, g ratelimit.LockoutGuess, began ratelimit.LockoutCounters, least time.Duration) {
	b.t.Helper()
	g.Account = ""
	a, err := b.Peek(b.t.Context(), g)
	if err != nil {
		b.t.Fatalf("Peek(%+v) failed: %v", g, err)
	}
	if a.RetryAfter < least || least == 0 && a.RetryAfter != 0 || a.Began != began || a.Counted != 0 {
		b.t.Errorf("%s: Peek(%+v): got %+v, want RetryAfter of %s or more, Began %b and nothing counted", what, g, a, least, began)
	}
}

// silent checks that a guess is refused, not told, and counted on what is told.
func (b book) silent(what string, g ratelimit.LockoutGuess) ratelimit.LockoutAnswer {
	b.t.Helper()
	a := b.count(g)
	if !a.Locked || a.RetryAfter != 0 || a.Counted&(ratelimit.CountPair|ratelimit.CountAccount) != 0 || a.Counted&ratelimit.CountNetwork == 0 {
		b.t.Errorf("%s: got %+v, want it refused silently, counted on the network and not on the account", what, a)
	}
	return a
}

type lockoutCase struct {
	name   string
	why    string
	frozen bool
	run    func(t *testing.T, s *lockouts)
}

const (
	home  = "192.0.2.1"
	away  = "198.51.100.1"
	other = "203.0.113.1"
)

var lockoutCases = []lockoutCase{
	{name: "limit of a pair", why: "exactly Failures guesses pass, and then the client is told to wait for Backoff", run: func(t *testing.T, s *lockouts) {
		b := s.open(t)
		b.fail(3, guess("ada", home))
		about(t, "RetryAfter", b.told("guess 4", guess("ada", home)).RetryAfter, time.Minute)
		b.passes("another account", guess("bob", home))
		b.passes("another network", guess("ada", away))
	}},
	{name: "limit of a network", why: "a network has a limit for all accounts together, whatever near networks they are counted with", run: func(t *testing.T, s *lockouts) {
		b := s.open(t, network(5))
		for i := range 5 {
			b.passes("account "+strconv.Itoa(i), guess(strconv.Itoa(i), home))
		}
		b.told("account 6", guess("6", home))
		b.passes("the neighbour in the same near network", guess("6", "192.0.2.2"))
		b.passes("another network", guess("6", away))
	}},
	{name: "limit of an account", why: "guesses at one account from many networks are bounded, silently where what was sent differs", run: func(t *testing.T, s *lockouts) {
		b := s.open(t, account(5))
		for i := range 5 {
			b.passes("network "+strconv.Itoa(i), sent(guess("ada", "10."+strconv.Itoa(i)+".0.1"), "spelling "+strconv.Itoa(i)))
		}
		b.silent("network 6", sent(guess("ada", home), "spelling 6"))
		b.passes("another account", guess("bob", home))
	}},
	{name: "limit of what was sent", why: "guesses with one name from many networks are bounded, and told, where nobody has logged in", run: func(t *testing.T, s *lockouts) {
		b := s.open(t, account(5))
		b.succeed(guess("bob", away))
		for i := range 5 {
			b.passes("network "+strconv.Itoa(i), guess("ada", "10."+strconv.Itoa(i)+".0.1"))
		}
		b.told("a network where nobody has logged in", guess("ada", home))
		b.silent("a network where another has logged in", guess("ada", away))
		b.passes("another name and account", guess("eve", home))
	}},
	{name: "nothing sent", why: "where it is not known what was sent, a lock of the account is silent", run: func(t *testing.T, s *lockouts) {
		b := s.open(t, network(6))
		b.fail(3, sent(guess("ada", home), ""))
		for range 3 {
			b.silent("guess 4", sent(guess("ada", home), ""))
		}
		b.told("the network after 6", sent(guess("ada", home), ""))
		b.fail(3, guess("eve", away)) // has a sent name
		b.silent("the account without it", sent(guess("eve", away), ""))
	}},
	{name: "spellings", why: "another spelling of a name is no new chance, and does not show that it is one", run: func(t *testing.T, s *lockouts) {
		b := s.open(t)
		b.fail(3, sent(guess("ada", home), "ada"))
		b.told("the same spelling", sent(guess("ada", home), "ada"))
		for range 3 {
			b.silent("another spelling", sent(guess("ada", home), "ADA"))
		}
		b.told("another spelling after as many guesses", sent(guess("ada", home), "ADA"))
		// The same of names that are of no account.
		b.fail(3, sent(guess("name:eve", home), "eve"))
		b.told("the same spelling of nobody", sent(guess("name:eve", home), "eve"))
		b.fail(3, sent(guess("name:EVE", home), "EVE"))
		b.told("another spelling of nobody", sent(guess("name:EVE", home), "EVE"))
	}},
	{name: "refusal counts nothing", why: "who keeps asking does not wait longer, and uses nothing up", run: func(t *testing.T, s *lockouts) {
		b := s.open(t, network(5), account(5))
		b.fail(3, guess("ada", home))
		first := b.told("guess 4", guess("ada", home))
		for range 20 {
			b.told("a further guess", guess("ada", home))
		}
		if last := b.told("the last guess", guess("ada", home)); last.RetryAfter > first.RetryAfter {
			t.Errorf("RetryAfter grew from %s to %s", first.RetryAfter, last.RetryAfter)
		}
		b.fail(2, guess("bob", home))
		b.told("the network after 5", guess("bob", home))
	}},
	{name: "silent refusal counts", why: "a guess that is refused silently counts on what may be told, and not on the account", run: func(t *testing.T, s *lockouts) {
		b := s.open(t, network(8), pair(3))
		b.fail(3, sent(guess("ada", home), ""))
		for i := range 5 {
			b.silent("guess "+strconv.Itoa(4+i), sent(guess("ada", home), strconv.Itoa(i)))
		}
		b.told("the network after 8", guess("bob", home))
	}},
	{name: "wait", why: "a guess passes RetryAfter later, one and no more, and then the wait is twice as long", run: func(t *testing.T, s *lockouts) {
		b := s.open(t, backoff(300*time.Millisecond, time.Hour))
		b.fail(3, guess("ada", home))
		s.Advance(b.told("guess 4", guess("ada", home)).RetryAfter)
		b.passes("after RetryAfter", guess("ada", home))
		if a := b.told("once more", guess("ada", home)); a.RetryAfter <= 300*time.Millisecond || a.RetryAfter > 600*time.Millisecond {
			t.Errorf("got RetryAfter %s, want up to 600 ms", a.RetryAfter)
		}
	}},
	{name: "back-off", why: "the wait doubles up to MaxBackoff, to the moment", frozen: true, run: func(t *testing.T, s *lockouts) {
		b := s.open(t)
		b.fail(3, guess("ada", home))
		for i, want := range []time.Duration{1, 2, 4, 8, 15, 15, 15} {
			want *= time.Minute
			s.Advance(want - 2)
			b.told("just before", guess("ada", home))
			s.Advance(2)
			b.passes("wait "+strconv.Itoa(i), guess("ada", home))
			b.told("once more", guess("ada", home))
		}
	}},
	{name: "longest wait", why: "of several locks the longest wait is told", run: func(t *testing.T, s *lockouts) {
		for _, limits := range [][2]int{{3, 4}, {4, 3}} {
			b := s.open(t, network(limits[0]), pair(limits[1]), backoff(300*time.Millisecond, time.Hour))
			b.fail(3, guess("ada", home))
			s.Advance(b.told("guess 4", guess("ada", home)).RetryAfter)
			b.fail(1, guess("ada", home)) // locks one for 600 ms, and the other for 300 ms
			if a := b.told("guess 5", guess("ada", home)); a.RetryAfter <= 310*time.Millisecond {
				t.Errorf("network %d, pair %d: got RetryAfter %s, want 600 ms", limits[0], limits[1], a.RetryAfter)
			}
		}
	}},
	{name: "forgiven", why: "one failure is forgiven each Window/Failures", frozen: true, run: func(t *testing.T, s *lockouts) {
		b := s.open(t)
		b.fail(3, guess("ada", home))
		s.Advance(time.Hour)
		b.fail(1, guess("ada", home))
		about(t, "RetryAfter", b.told("another one", guess("ada", home)).RetryAfter, time.Minute)
		s.Advance(3 * time.Hour)
		b.fail(3, guess("ada", home))
		b.told("after all were forgiven", guess("ada", home))
		s.Advance(1000 * time.Hour)
		b.fail(3, guess("ada", home))
		b.told("after a long time", guess("ada", home))
	}},
	{name: "debt has an end", why: "however many guesses fail, the debt is no more than what makes MaxBackoff and one", frozen: true, run: func(t *testing.T, s *lockouts) {
		b := s.open(t)
		b.fail(3, guess("ada", home))
		for range 100 {
			s.Advance(15 * time.Minute)
			b.fail(1, guess("ada", home))
		}
		s.Advance(8 * time.Hour) // 3, 4 doublings and 1, each an hour
		b.fail(3, guess("ada", home))
		about(t, "RetryAfter", b.told("then", guess("ada", home)).RetryAfter, time.Minute)
	}},
	{name: "success", why: "a success sets the counts of the account and the sent name in its network to nothing", run: func(t *testing.T, s *lockouts) {
		b := s.open(t)
		for range 4 {
			b.fail(2, guess("ada", home))
			b.succeed(guess("ada", home))
		}
		b.fail(3, guess("ada", home))
		b.told("guess 4", guess("ada", home))
		b.fail(2, sent(guess("bob", home), ""))
		b.succeed(sent(guess("bob", home), ""))
		b.fail(3, sent(guess("bob", home), ""))
		b.silent("guess 4 with nothing sent", sent(guess("bob", home), ""))
	}},
	{name: "success elsewhere", why: "a success changes nothing for another network, and nothing for another account", run: func(t *testing.T, s *lockouts) {
		b := s.open(t)
		b.fail(3, guess("ada", home))
		b.succeed(guess("ada", away))
		b.succeed(guess("bob", home))
		b.told("the first network", guess("ada", home))
	}},
	{name: "own account", why: "a success takes only itself off the count of the network", run: func(t *testing.T, s *lockouts) {
		b := s.open(t, network(3))
		for range 2 {
			b.fail(1, guess("ada", home))
			for range 5 {
				b.succeed(guess("eve", home))
			}
		}
		b.fail(1, guess("ada", home))
		b.told("the network after 3", guess("eve", home))
	}},
	{name: "success from strange networks", why: "a success takes only itself off the count of the account", run: func(t *testing.T, s *lockouts) {
		b := s.open(t, account(3))
		for i := range 2 {
			b.fail(1, sent(guess("ada", "10."+strconv.Itoa(i)+".0.1"), ""))
			b.succeed(sent(guess("ada", "10.9"+strconv.Itoa(i)+".0.1"), ""))
		}
		b.fail(1, sent(guess("ada", home), ""))
		b.silent("the account after 3", sent(guess("ada", away), ""))
	}},
	{name: "known network", why: "a network where the account has succeeded has a budget outside the limit of the account, and a limit of its own", run: func(t *testing.T, s *lockouts) {
		b := s.open(t, account(4))
		b.succeed(guess("ada", home))
		b.fail(2, guess("ada", home))
		for i := range 4 {
			b.passes("a strange network", guess("ada", "10."+strconv.Itoa(i)+".0.1"))
		}
		b.told("a strange network after 4", guess("ada", away))
		b.fail(1, guess("ada", home))
		b.told("the known network after 3", guess("ada", home))
		b.passes("another account in the known network", guess("bob", home))
	}},
	{name: "known to one", why: "a network that one account knows is strange to another", run: func(t *testing.T, s *lockouts) {
		b := s.open(t, account(2))
		b.succeed(guess("ada", home))
		b.fail(1, sent(guess("bob", away), "a"))
		b.fail(1, sent(guess("bob", other), "b"))
		b.silent("bob in ada's network", sent(guess("bob", home), "c"))
	}},
	{name: "many known networks", why: "an account knows the 16 networks where it has succeeded last", run: func(t *testing.T, s *lockouts) {
		b := s.open(t, account(1))
		at := func(i int) string { return "10." + strconv.Itoa(i) + ".0.1" }
		for i := range 16 {
			b.succeed(sent(guess("ada", at(i)), ""))
		}
		b.fail(1, sent(guess("ada", away), ""))
		b.silent("a strange network", sent(guess("ada", other), ""))
		for i := range 16 {
			b.passes("known network "+strconv.Itoa(i), sent(guess("ada", at(i)), ""))
		}
		for i := range 17 {
			for _, i := range []int{0, i} {
				s.Advance(time.Millisecond)
				b.succeed(sent(guess("bob", at(i)), ""))
			}
		}
		b.fail(1, sent(guess("bob", away), ""))
		for _, i := range []int{0, 2, 16} {
			b.passes("known network "+strconv.Itoa(i)+" of 17", sent(guess("bob", at(i)), ""))
		}
	}},
	{name: "known for some time", why: "a network is known for KnownFor after the last success", frozen: true, run: func(t *testing.T, s *lockouts) {
		const day = 24 * time.Hour
		b := s.open(t, func(r *ratelimit.LockoutRules) {
			r.Account = ratelimit.LockoutLimit{Failures: 1, Window: 300 * day}
		})
		b.succeed(guess("ada", home))
		s.Advance(20 * day)
		b.succeed(guess("ada", home))
		b.fail(1, guess("ada", away))
		s.Advance(29 * day)
		b.passes("after 29 days", sent(guess("ada", home), "another spelling"))
		b.passes("a name in a network where somebody has logged in", sent(guess("eve", home), "sent ada"))
		s.Advance(2 * day)
		b.fail(1, sent(guess("eve", away), "sent eve")) // the account and the name were passed once
		b.told("a sent name after 31 days", sent(guess("eve", home), "sent eve"))
		b.count(sent(guess("ada", other), "spelling 3"))
		b.silent("the account after 31 days", sent(guess("ada", home), "spelling 4"))
	}},
	{name: "known each for itself", why: "a success in another network keeps none known for longer", run: func(t *testing.T, s *lockouts) {
		b := s.open(t, account(1), func(r *ratelimit.LockoutRules) { r.KnownFor = 300 * time.Millisecond })
		b.succeed(sent(guess("ada", home), ""))
		s.Advance(200 * time.Millisecond)
		b.succeed(sent(guess("ada", away), ""))
		s.Advance(200 * time.Millisecond)
		b.fail(1, sent(guess("ada", other), ""))
		b.silent("the first network", sent(guess("ada", home), ""))
	}},
	{name: "undecided", why: "what could not be checked is not counted", run: func(t *testing.T, s *lockouts) {
		b := s.open(t, network(3), account(3))
		for range 10 {
			g := guess("ada", home)
			b.settle(g, b.passes("a guess that is undecided", g), ratelimit.LockoutUndecided)
		}
		b.fail(3, guess("ada", home))
		b.told("guess 4", guess("ada", home))
	}},
	{name: "undecided together", why: "each undecided guess gives back its own count and no more", run: func(t *testing.T, s *lockouts) {
		b := s.open(t, network(7), pair(5), account(9))
		g := guess("ada", home)
		var open []ratelimit.LockoutAnswer
		for range 5 {
			open = append(open, b.passes("a guess", g))
		}
		b.told("guess 6", g)
		for _, a := range open[:2] {
			b.settle(g, a, ratelimit.LockoutUndecided)
		}
		b.fail(2, g)
		b.told("guess 6 again", g)
		b.fail(2, guess("bob", home))
		b.told("the network after 7", guess("bob", home))
	}},
	{name: "undecided silence", why: "a guess that was refused silently gives back what it was counted on, and nothing of the account", run: func(t *testing.T, s *lockouts) {
		b := s.open(t, network(4))
		b.fail(3, sent(guess("ada", home), ""))
		for range 5 {
			g := sent(guess("ada", home), "")
			b.settle(g, b.silent("guess 4", g), ratelimit.LockoutUndecided)
		}
		b.silent("the account", sent(guess("ada", home), ""))
		b.told("the network after 4", guess("bob", home))
	}},
	{name: "undecided after a wait", why: "if the guess that waited is undecided, another may pass in its place", run: func(t *testing.T, s *lockouts) {
		b := s.open(t, backoff(200*time.Millisecond, time.Hour))
		g := guess("ada", home)
		b.fail(3, g)
		s.Advance(b.told("guess 4", g).RetryAfter)
		b.settle(g, b.passes("after the wait", g), ratelimit.LockoutUndecided)
		b.passes("in its place", g)
		if a := b.told("then", g); s.Frozen && a.RetryAfter != 400*time.Millisecond {
			t.Errorf("got RetryAfter %s, want 400ms as if the other had not been", a.RetryAfter)
		}
	}},
	{name: "undecided of nothing", why: "a guess that was told to wait was not counted, so nothing is given back", run: func(t *testing.T, s *lockouts) {
		b := s.open(t)
		g := guess("ada", home)
		b.fail(3, g)
		for range 5 {
			b.settle(g, b.told("guess 4", g), ratelimit.LockoutUndecided)
		}
		b.told("guess 4 again", g)
	}},
	{name: "undecided after a success", why: "what was counted before a success is gone, and is not taken off what came after", run: func(t *testing.T, s *lockouts) {
		b := s.open(t)
		g := guess("ada", home)
		first, second := b.passes("the first", g), b.passes("the second", g)
		b.succeed(g)
		b.fail(1, g)
		b.settle(g, first, ratelimit.LockoutUndecided)
		b.fail(1, g)
		b.settle(g, second, ratelimit.LockoutUndecided)
		b.fail(1, g)
		b.told("the limit after the success", g)
	}},
	{name: "peek", why: "Peek tells what Count would, as far as it may be told, and counts nothing", run: func(t *testing.T, s *lockouts) {
		b := s.open(t)
		g := guess("ada", home)
		for range 10 {
			b.peeks("before", g, 0, 0)
		}
		b.fail(3, g)
		b.peeks("the name is locked", g, ratelimit.CountSentNear, 59*time.Second)
		b.peeks("again", g, 0, 59*time.Second)
		b.peeks("another name", guess("bob", home), 0, 0)
		b.peeks("another network", guess("ada", away), 0, 0)
		b.peeks("another spelling", sent(g, "ADA"), 0, 0)
		b.peeks("nothing sent", sent(g, ""), 0, 0)
		if a := b.told("the guess", g); a.Began != 0 {
			t.Errorf("Began is %b after Peek has told it", a.Began)
		}
		b.silent("the account is locked all the same", sent(g, "ADA"))
	}},
	{name: "concurrent", why: "of guesses at the same time exactly Failures pass", run: func(t *testing.T, s *lockouts) {
		for _, c := range []struct {
			name string
			want int64
			g    func(i int) ratelimit.LockoutGuess
		}{
			{"one account", 3, func(int) ratelimit.LockoutGuess { return guess("ada", home) }},
			{"nothing sent", 3, func(int) ratelimit.LockoutGuess { return sent(guess("eve", other), "") }},
			{"one network", 20, func(i int) ratelimit.LockoutGuess { return guess(strconv.Itoa(i), away) }},
			{"one account from everywhere", 12, func(i int) ratelimit.LockoutGuess { return guess("bob", "10."+strconv.Itoa(i)+".0.1") }},
		} {
			b := s.open(t, network(20), account(12))
			var passed atomic.Int64
			var wg sync.WaitGroup
			for i := range 64 {
				wg.Go(func() {
					if a, err := b.Count(t.Context(), c.g(i)); err != nil {
						t.Errorf("Count failed: %v", err)
					} else if !a.Locked {
						passed.Add(1)
					}
				})
			}
			wg.Wait()
			if got := passed.Load(); got != c.want {
				t.Errorf("%s: %d of 64 passed, want %d", c.name, got, c.want)
			}
		}
	}},
	{name: "began", why: "what becomes locked is told once, until it has forgiven everything", run: func(t *testing.T, s *lockouts) {
		b := s.open(t, backoff(200*time.Millisecond, time.Hour))
		g := guess("ada", home)
		b.fail(3, g)
		first := b.told("guess 4", g)
		if first.Began != ratelimit.CountSentNear {
			t.Errorf("the first refusal: got Began %b, want %b", first.Began, ratelimit.CountSentNear)
		}
		if a := b.told("guess 5", g); a.Began != 0 {
			t.Errorf("the second refusal: got Began %b, want none", a.Began)
		}
		if a := b.silent("another spelling", sent(g, "x")); a.Began != ratelimit.CountPair {
			t.Errorf("the first silent refusal: got Began %b, want %b", a.Began, ratelimit.CountPair)
		}
		if a := b.silent("another spelling", sent(g, "x")); a.Began != 0 {
			t.Errorf("the second silent refusal: got Began %b, want none", a.Began)
		}
		s.Advance(first.RetryAfter)
		b.fail(1, g)
		if a := b.told("after the wait", g); a.Began != 0 {
			t.Errorf("a longer lock: got Began %b, want none", a.Began)
		}
	}},
	{name: "began anew", why: "a lock after a success is a new one", run: func(t *testing.T, s *lockouts) {
		b := s.open(t, backoff(100*time.Millisecond, time.Hour))
		g := guess("ada", home)
		for range 2 {
			b.fail(3, g)
			a := b.told("guess 4", g)
			if a.Began != ratelimit.CountSentNear {
				t.Errorf("got Began %b, want %b", a.Began, ratelimit.CountSentNear)
			}
			s.Advance(a.RetryAfter)
			b.succeed(g)
		}
	}},
	{name: "began after a time", why: "a lock after everything was forgiven is a new one", frozen: true, run: func(t *testing.T, s *lockouts) {
		b := s.open(t)
		for range 2 {
			b.fail(3, guess("ada", home))
			if a := b.told("guess 4", guess("ada", home)); a.Began != ratelimit.CountSentNear {
				t.Errorf("got Began %b, want %b", a.Began, ratelimit.CountSentNear)
			}
			s.Advance(3 * time.Hour)
		}
	}},
	{name: "hostile names", why: "a name is any bytes, and names that differ are apart", run: func(t *testing.T, s *lockouts) {
		b := s.open(t, pair(1))
		seen := netip.MustParsePrefix("192.0.2.0/24")
		for _, name := range []string{
			"\r\n*1\r\n$8\r\nFLUSHALL\r\n", "\x00", "\x00\x00", "{}", "{", "}", "{a}b", "{a}c", "a{b", "*", "?", "[a]",
			"%s%n%d", `"`, `\`, " ", "  ", "\n", "\xff\xfe", "é", "e\u0301", "A", "a", "a:b", "a b", "name:a", "key:a", "192.0.2.0/24",
			strings.Repeat("k", 100_000), strings.Repeat("k", 99_999), "' .. redis.call('FLUSHALL') .. '", "KEYS[1]", "../../x",
		} {
			for _, g := range []ratelimit.LockoutGuess{
				{Account: name, Near: seen}, {Account: name}, {Account: name, Near: netip.MustParsePrefix("192.0.0.0/16")},
			} {
				b.passes(strconv.Quote(name[:min(len(name), 30)]), g)
				if a := b.count(g); !a.Locked {
					t.Errorf("account %.30q passed twice", name)
				}
			}
			g := ratelimit.LockoutGuess{Account: "an account for sent " + name, Sent: name, Near: seen}
			b.passes("sent "+strconv.Quote(name[:min(len(name), 30)]), g)
			b.told("sent again", g)
		}
	}},
	{name: "networks", why: "networks that differ are apart, whatever their family and length", run: func(t *testing.T, s *lockouts) {
		b, near := s.open(t, network(1)), s.open(t, pair(1))
		for i, p := range []string{"", "0.0.0.0/0", "::/0", "0.0.0.0/8", "192.0.2.0/24", "192.0.2.0/25", "192.0.2.0/32", "::/64", "::192.0.2.0/128", "2001:db8::/64", "2001:db8::/48", "2001:db8:0:1::/64"} {
			g := ratelimit.LockoutGuess{Account: strconv.Itoa(i)}
			if p != "" {
				g.Network = netip.MustParsePrefix(p)
			}
			b.passes(p, g)
			b.told(p, g)
			g = ratelimit.LockoutGuess{Account: "ada", Near: g.Network}
			near.passes("near "+p, g)
			near.silent("near "+p, g)
		}
	}},
	{name: "names", why: "a name can be open once, and lockouts don't meet", run: func(t *testing.T, s *lockouts) {
		a := s.openAs(t, "a", pair(1))
		if _, err := s.store.OpenLockout("a", ratelimit.LockoutRules{}); err == nil {
			t.Error("the name a was opened twice")
		}
		ab := s.openAs(t, "ab", pair(1), network(1))
		a.fail(1, guess("bc", home))
		ab.fail(1, guess("c", home))
		ab.told("the network in its own lockout", guess("d", home))
		a.fail(1, guess("b", home))
		a.told("an account in its own lockout", guess("b", home))
		ab.fail(1, guess("b", away))
		a.fail(1, guess("b", away))
	}},
	{name: "many keys", why: "each has a count of its own, and is not forgotten while it owes something", run: func(t *testing.T, s *lockouts) {
		b := s.open(t, pair(1))
		for i := range 300 {
			b.passes("key "+strconv.Itoa(i), guess(strconv.Itoa(i), home))
		}
		for i := range 300 {
			b.told("key "+strconv.Itoa(i), guess(strconv.Itoa(i), home))
		}
	}},
	{name: "done context", why: "a context that is done is an error or changes nothing, but never a free guess", run: func(t *testing.T, s *lockouts) {
		b := s.open(t)
		b.fail(3, guess("ada", home))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if a, err := b.Count(ctx, guess("ada", home)); err == nil && !a.Locked {
			t.Errorf("got %+v, want it locked or an error", a)
		}
		for range 5 {
			if a, err := b.Count(ctx, guess("bob", home)); err == nil && !a.Locked && a.Counted == 0 {
				t.Errorf("got %+v, want it counted or an error", a)
			}
		}
	}},
}
