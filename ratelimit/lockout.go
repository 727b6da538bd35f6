package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/internal/quoted"
)

// LockoutConfig says how many attempts to log in may fail. The zero LockoutConfig is
// ready for use.
type LockoutConfig struct {
	// Name tells this lockout from others, in the log and in its store, where it can
	// be used once. It is printable ASCII. The default is "login".
	Name string

	// Pair bounds the failures of one account from one network, and of one sent name
	// from one network. The default is 10 in 12 hours.
	Pair LockoutLimit
	// Network bounds the failures from one network, whatever the accounts. The
	// default is 100 in an hour.
	Network LockoutLimit
	// Account bounds the failures of one account, and of one sent name, from all the
	// networks together that are strange to it. The default is 100 in an hour.
	Account LockoutLimit

	// Backoff is how long to wait after a limit is reached, 1 minute by default. It
	// doubles with each further failure up to MaxBackoff, 15 minutes by default, or
	// Backoff if that is longer, and a day at most.
	Backoff, MaxBackoff time.Duration

	// KnownFor is how long a network in which an account has succeeded is not strange
	// to it, 30 days by default and 10 years at most.
	KnownFor time.Duration

	// PairBits4 and PairBits6 are how many bits of an address make the network that
	// counts together with an account, and that an account can know: 24 and 64 by
	// default.
	PairBits4, PairBits6 int
	// NetworkBits4 and NetworkBits6 are how many make the one that counts alone: 32
	// and 64 by default.
	NetworkBits4, NetworkBits6 int

	// Store keeps the counts. Nil is a new Memory for this lockout alone.
	Store LockoutStore
	// StoreTimeout bounds how long a decision of Store may take, 100 ms by default.
	// What takes longer is a failure. It does not concern Memory.
	StoreTimeout time.Duration

	// Audit gets an event when something becomes locked, when Store fails and when it
	// works again. Nil is the recorder of the request, else slog.Default().
	Audit audit.Recorder
}

// A Lockout ends guessing. It is an [auth.Lockout], to be shared by all doors that
// check passwords or keys: what fails at one counts at the others.
//
//	lockout, err := ratelimit.NewLockout(ratelimit.LockoutConfig{})
//	b, err := basic.New(basic.Config{Lockout: lockout, …})
//	issuer, err := oauth.NewServer(oauth.Config{Lockout: lockout, …})
//	keys, err := apikey.New(apikey.Config{Lockout: lockout, …})
//
// An attempt counts before it is checked, so that guesses at the same time all count
// (ASVS 5.0, 6.3.1), and is given back if it succeeds or can't be checked. While
// something is locked the right password is refused too.
//
// # What is counted, and who is told
//
//	                                                    failures     refusal
//	one network                                         100 in 1 h   told
//	one sent name, from one network                     10 in 12 h   told
//	one sent name, from networks where nobody logged in 100 in 1 h   told
//	one account, from one network                       10 in 12 h   silent
//	one account, from networks where it did not log in  100 in 1 h   silent
//
// A failure is forgiven each Window/Failures. Whoever has used up a limit may try
// once more after 1 minute, then after 2, 4, 8 and each 15 minutes. A success sets
// the counts of the account and of the sent name in its network to nothing. From the
// others it takes its own attempt and no more: else an attacker who has an account
// would log in to it now and then, to get more guesses at those of others.
//
// The figures: Vault locks after 5 failures for 15 minutes, Keycloak waits 60 seconds
// and longer, up to 15 minutes, OWASP ASVS 4.0 allows up to 100 failures of an
// account in an hour, and NIST SP 800-63B 100 in a row. 10, and a minute, are such
// that in the first minute no more than 10 passwords are checked, and that people who
// try what passwords they have are not kept out.
//
// # Why some refusals are told
//
// A door that is told that it may tell, by RetryAfter on the attempt, answers 429
// with Retry-After, and computes no hash. So 10,000 guesses at one account cost 10
// hashes and not 10,000. Doors for passwords ask by Told before they look for an
// account, so that the time of a 429 depends on no account either, unless the counter
// is one that several share in [Memory]. The counters which do that depend on what was
// sent, where from, and what was sent before. Nothing in them tells whether there is such an
// account, and names that belong to nobody are locked just the same. They count what
// was sent byte by byte, since two spellings that were locked together would show
// that they are of one account.
//
// That an account is locked is silent: the door checks the password, with the same
// work, and gives the answer of a wrong one, so that time and text are equal (ASVS
// 5.0, 6.3.8). This is where another spelling, an alias or an address instead of a
// name leads: it gets a hash and no chance. Silent refusals go on counting as
// failures wherever it is told, or their number would tell.
//
// The one thing that can be seen is seen from the same network: that somebody there
// has failed with a name, and that the count of a name went back to nothing by a
// success.
//
// # Who is kept out
//
// An attacker elsewhere does not lock a victim out: networks in which an account has
// logged in within 30 days have a budget of their own, which no guess from outside
// uses up. But while the limit of an account is used up, its owner may be refused,
// with the right password, in a network that is new to the account. That is the
// price of a bound on guesses from many networks. When a process without a shared
// store starts, all networks are new.
//
// Who shares the network of an attacker can be refused with him. The network that
// counts with an account is a /24 or a /64: an attacker can have that many addresses,
// and people whose address changes within it stay known. That which counts alone is a
// /32 or a /64, because there the neighbours of a /24 would all be refused. The
// address is the one that transport.ClientIP settled. All clients without one share
// a network. Who shares the /16 or /48 of an attacker who makes up names without end
// may be refused as well; see [Memory.OpenLockout].
//
// Attempts count until they are decided. A client that starts more than 10 with one
// account at the same time, none of which was right before, gets 429 for the rest,
// although all are right. Doors that remember a good password or key for a while do
// not count it: see basic.CacheConfig and apikey.Config.CacheFor.
//
// # Bounds
//
// In a span of time t the credentials of one account are checked, counting only
// checks that could find them right: at most 10 times from each network that it
// knows, and 100 times from all others, and once more for each failure that t
// forgives and each back-off that t has room for. Hashes computed: at most 10 for
// one name from one network, 100 from one network, and 100 for one name from any
// number of networks where nobody has logged in; and the same additions.
//
// Each success of the account in a network begins its 10 there anew, whoever in that
// network has used some of them. So who shares a /24 or a /64 with the owner has up to
// 9 more checks for each login of the owner that counts, as far as the 100 of each of
// his addresses go, or of the /64. A password that a door remembers is no login that
// counts. With a PairBits4 of 32 nobody shares a count with the owner who does not
// share the address.
//
// What [Memory] has no slots for is counted on what is shared, and the 100 of an
// account are then those of each /16 or /48 that has run out of slots.
//
// # Stores
//
// A store that fails or takes too long is asked once a second until it works again,
// and two events tell. Until then each process counts in its own memory, from
// nothing: never are guesses free. It knows the networks of those who logged in at
// this process.
//
// Time is monotonic in [Memory], so that setting the clock frees nobody. Other stores
// have their own clock, whose doc says so.
type Lockout struct {
	name    string
	rules   LockoutRules
	pair    networkBits
	network networkBits
	local   LockoutBook
	remote  LockoutBook // nil if there is none
	outage  outage
	audit   audit.Recorder
}

var _ auth.Lockout = (*Lockout)(nil)

type networkBits struct{ v4, v6 int }

// NewLockout returns a Lockout. It returns an error that names the field if cfg can't
// work, and if cfg.Store has a lockout of this name already.
func NewLockout(cfg LockoutConfig) (*Lockout, error) {
	cfg.setDefaults()
	rules := LockoutRules{
		Pair: cfg.Pair, Network: cfg.Network, Account: cfg.Account,
		Backoff: cfg.Backoff, MaxBackoff: cfg.MaxBackoff, KnownFor: cfg.KnownFor,
	}
	if err := rules.check("LockoutConfig"); err != nil {
		return nil, err
	}
	switch {
	case !quoted.Valid(cfg.Name):
		return nil, fmt.Errorf("ratelimit: LockoutConfig.Name %q is not printable ASCII", cfg.Name)
	case cfg.StoreTimeout < 0:
		return nil, fmt.Errorf("ratelimit: LockoutConfig.StoreTimeout is %s", cfg.StoreTimeout)
	}
	for _, b := range []struct {
		field     string
		bits, max int
	}{
		{"PairBits4", cfg.PairBits4, 32},
		{"PairBits6", cfg.PairBits6, 128},
		{"NetworkBits4", cfg.NetworkBits4, 32},
		{"NetworkBits6", cfg.NetworkBits6, 128},
	} {
		if b.bits < 1 || b.bits > b.max {
			return nil, fmt.Errorf("ratelimit: LockoutConfig.%s is %d, not 1 to %d", b.field, b.bits, b.max)
		}
	}
	l := &Lockout{
		name: cfg.Name, rules: rules, audit: cfg.Audit,
		pair:    networkBits{cfg.PairBits4, cfg.PairBits6},
		network: networkBits{cfg.NetworkBits4, cfg.NetworkBits6},
		outage: outage{
			store: "lockout " + cfg.Name, instead: "the memory of this process",
			timeout: cfg.StoreTimeout, audit: cfg.Audit, start: time.Now(),
		},
	}
	if err := l.open(cfg.Store); err != nil {
		return nil, fmt.Errorf("ratelimit: LockoutConfig.Store can't open %q: %w", cfg.Name, err)
	}
	return l, nil
}

func (cfg *LockoutConfig) setDefaults() {
	if cfg.Name == "" {
		cfg.Name = "login"
	}
	for _, l := range []struct {
		limit    *LockoutLimit
		failures int
		window   time.Duration
	}{
		{&cfg.Pair, 10, 12 * time.Hour},
		{&cfg.Network, 100, time.Hour},
		{&cfg.Account, 100, time.Hour},
	} {
		if l.limit.Failures == 0 {
			l.limit.Failures = l.failures
		}
		if l.limit.Window == 0 {
			l.limit.Window = l.window
		}
	}
	for _, d := range []struct {
		value   *time.Duration
		instead time.Duration
	}{
		{&cfg.Backoff, time.Minute},
		{&cfg.MaxBackoff, max(15*time.Minute, cfg.Backoff)},
		{&cfg.KnownFor, 30 * 24 * time.Hour},
		{&cfg.StoreTimeout, 100 * time.Millisecond},
	} {
		if *d.value == 0 {
			*d.value = d.instead
		}
	}
	for _, b := range []struct {
		bits    *int
		instead int
	}{{&cfg.PairBits4, 24}, {&cfg.PairBits6, 64}, {&cfg.NetworkBits4, 32}, {&cfg.NetworkBits6, 64}} {
		if *b.bits == 0 {
			*b.bits = b.instead
		}
	}
}

const (
	mostFailures    = 1_000_000
	longestWindow   = 365 * 24 * time.Hour
	longestBackoff  = 24 * time.Hour
	longestKnownFor = 10 * 365 * 24 * time.Hour
)

// check returns an error that names what can't work. owner has the fields.
func (r *LockoutRules) check(owner string) error {
	for _, l := range []struct {
		field string
		limit LockoutLimit
	}{{"Pair", r.Pair}, {"Network", r.Network}, {"Account", r.Account}} {
		field := "ratelimit: " + owner + "." + l.field
		switch {
		case l.limit.Failures < 1 || l.limit.Failures > mostFailures:
			return fmt.Errorf("%s.Failures is %d, not 1 to %d", field, l.limit.Failures, mostFailures)
		case l.limit.Window <= 0 || l.limit.Window > longestWindow:
			return fmt.Errorf("%s.Window is %s, not up to %s", field, l.limit.Window, longestWindow)
		case l.limit.each() < time.Millisecond:
			return fmt.Errorf("%s.Window is %s, so a failure would be forgiven within a millisecond", field, l.limit.Window)
		}
	}
	switch {
	case r.Backoff < time.Millisecond:
		return fmt.Errorf("ratelimit: %s.Backoff is %s, less than a millisecond", owner, r.Backoff)
	case r.MaxBackoff < r.Backoff || r.MaxBackoff > longestBackoff:
		return fmt.Errorf("ratelimit: %s.MaxBackoff is %s, not from Backoff to %s", owner, r.MaxBackoff, longestBackoff)
	case r.KnownFor < time.Millisecond || r.KnownFor > longestKnownFor:
		return fmt.Errorf("ratelimit: %s.KnownFor is %s, not up to %s", owner, r.KnownFor, longestKnownFor)
	}
	return nil
}

// each is the time in which a failure is forgiven, rounded up.
func (l LockoutLimit) each() time.Duration {
	n := time.Duration(l.Failures)
	return l.Window/n + min(l.Window%n, 1)
}

// String returns l in words, such as "10 failures in 12h0m0s".
func (l LockoutLimit) String() string {
	return strconv.Itoa(l.Failures) + " failures in " + l.Window.String()
}

// doublings is how often a back-off doubles until it is the longest.
func doublings(backoff, longest time.Duration) int {
	n := 0
	for ; backoff < longest; backoff *= 2 {
		n++
	}
	return n
}

// open opens the book of the lockout, and what stands in for it if it can fail.
func (l *Lockout) open(store LockoutStore) (err error) {
	if memory, ok := store.(*Memory); ok {
		l.local, err = memory.OpenLockout(l.name, l.rules)
		return err
	}
	memory, err := NewMemory(MemoryConfig{})
	if err != nil {
		return err
	}
	l.local, err = memory.OpenLockout(l.name, l.rules)
	if err != nil || store == nil {
		return err
	}
	l.remote, err = store.OpenLockout(l.name, l.rules)
	if err == nil && l.remote == nil {
		err = errors.New("it returned neither a book nor an error")
	}
	return err
}

// Attempt counts an attempt, as [auth.Lockout] says. What was sent is not known here,
// so the attempt does not count on that, and of the locks only that of a network is
// told. It returns an error for an empty account. A store that fails is no error.
func (l *Lockout) Attempt(ctx context.Context, account string, addr netip.Addr) (auth.Attempt, error) {
	return l.AttemptSent(ctx, account, "", addr)
}

// AttemptSent is Attempt for a door that knows what was sent as the name of the
// account: sent is that, with something before it that tells names from the ids of
// keys, as account has. What belongs to one sent name must not depend on whether
// there is such an account.
//
// The attempt has a method RetryAfter() time.Duration. If that is more than 0 the
// attempt is locked, and the client may be told so at once, with the time to wait; see
// [Lockout] for why.
func (l *Lockout) AttemptSent(ctx context.Context, account, sent string, addr netip.Addr) (auth.Attempt, error) {
	if account == "" {
		return nil, errors.New("ratelimit: Attempt: the account is empty")
	}
	addr = addr.Unmap().WithZone("")
	a := &attempt{lockout: l, ctx: ctx, guess: LockoutGuess{
		Account: account, Sent: sent, Near: l.pair.of(addr), Network: l.network.of(addr),
	}}
	if err := a.ask(LockoutBook.Count); err != nil {
		return nil, err
	}
	if a.answer.Began != 0 {
		l.record(ctx, &a.guess, addr, a.answer.Began)
	}
	return a, nil
}

// Told returns how long a client has to wait with the name that it sent, if it may be
// told so, and counts nothing. It does what AttemptSent does first, without the
// account: a door that asks before it looks for an account answers 429 in a time that
// depends on no account. An event that tells of a new lock has no subject then.
func (l *Lockout) Told(ctx context.Context, sent string, addr netip.Addr) (time.Duration, error) {
	addr = addr.Unmap().WithZone("")
	a := &attempt{lockout: l, ctx: ctx, guess: LockoutGuess{Sent: sent, Near: l.pair.of(addr), Network: l.network.of(addr)}}
	if err := a.ask(LockoutBook.Peek); err != nil {
		return 0, err
	}
	if a.answer.Began != 0 {
		l.record(ctx, &a.guess, addr, a.answer.Began)
	}
	return a.answer.RetryAfter, nil
}

// of returns the network of an address, or the zero Prefix if it has none.
func (n networkBits) of(a netip.Addr) netip.Prefix {
	bits := n.v6
	if a.Is4() {
		bits = n.v4
	}
	p, err := a.Prefix(bits)
	if err != nil { // a is not valid; the bits fit
		return netip.Prefix{}
	}
	return p
}

// An attempt is an auth.Attempt.
type attempt struct {
	lockout *Lockout
	ctx     context.Context //nolint:containedctx // the methods of auth.Attempt take none
	remote  bool            // the store has counted it
	settled atomic.Bool
	guess   LockoutGuess
	answer  LockoutAnswer
}

// ask asks the store, or the memory in its stead.
func (a *attempt) ask(what func(LockoutBook, context.Context, LockoutGuess) (LockoutAnswer, error)) (err error) {
	l := a.lockout
	if l.remote != nil && l.outage.ask(a.ctx, func(ctx context.Context) (err error) {
		a.answer, err = what(l.remote, ctx, a.guess)
		return err
	}) {
		a.remote = true
		return nil
	}
	a.answer, err = what(l.local, a.ctx, a.guess)
	return err
}

// Locked reports whether the attempt must fail.
func (a *attempt) Locked() bool { return a.answer.Locked }

// RetryAfter returns how long to wait, if the client may be told that.
func (a *attempt) RetryAfter() time.Duration { return a.answer.RetryAfter }

// Succeeded tells that the credentials were right. It does nothing if the attempt is
// locked, since then that does not count.
func (a *attempt) Succeeded() {
	if !a.answer.Locked {
		a.settle(LockoutSuccess)
	}
}

// Undecided gives the count back.
func (a *attempt) Undecided() { a.settle(LockoutUndecided) }

func (a *attempt) settle(o LockoutOutcome) {
	if a.settled.Swap(true) {
		return
	}
	l := a.lockout
	if !a.remote {
		_ = l.local.Settle(a.ctx, a.guess, a.answer, o) // memory does not fail
		return
	}
	l.outage.ask(a.ctx, func(ctx context.Context) error {
		return l.remote.Settle(ctx, a.guess, a.answer, o)
	})
	if o == LockoutSuccess { // so that the network is known should the store fail
		_ = l.local.Settle(a.ctx, a.guess, LockoutAnswer{}, o)
	}
}

// record tells of what has become locked. It names an account by its subject, and
// never by what was sent: people type passwords into the wrong field.
func (l *Lockout) record(ctx context.Context, g *LockoutGuess, addr netip.Addr, began LockoutCounters) {
	e := audit.Event{Name: audit.LoginLock, Level: slog.LevelWarn, Addr: addr}
	key, isKey := strings.CutPrefix(g.Account, "key:")
	switch {
	case isKey:
		e.Scheme, e.ClientID = "ApiKey", key
	case !strings.HasPrefix(g.Account, "name:"):
		e.Subject = g.Account
	}
	for i, what := range [lockoutCounters]string{
		"a network, after " + l.rules.Network.String(),
		"a name in a network, after " + l.rules.Pair.String(),
		"a name in networks where nobody has logged in, after " + l.rules.Account.String(),
		"an account in a network, after " + l.rules.Pair.String(),
		"an account in networks that are new to it, after " + l.rules.Account.String(),
	} {
		if began.has(i) {
			e.Reason = "lockout " + l.name + " locks " + what
			audit.RecordContext(ctx, l.audit, e)
		}
	}
}
