package ratelimit

import (
	"context"
	"net/netip"
	"time"
)

// A LockoutStore keeps what lockouts count. [Memory] is one.
//
// An implementation is safe for concurrent use and passes storetest.RunLockouts.
type LockoutStore interface {
	// OpenLockout returns the book of a name. It is called once for each lockout, by
	// NewLockout, with rules that NewLockout has checked, all of them set. A name that
	// is open already in this store is an error. Counts of one name never meet those
	// of another.
	OpenLockout(name string, rules LockoutRules) (LockoutBook, error)
}

// LockoutRules are the bounds that a LockoutBook keeps.
type LockoutRules struct {
	Pair    LockoutLimit // of one account, or of what was sent, from one network
	Network LockoutLimit // of one network, whatever the account
	Account LockoutLimit // of one account, or of what was sent, from all networks that are strange to it
	Backoff, MaxBackoff,
	KnownFor time.Duration
}

// A LockoutLimit is how many failed attempts there may be before each further one
// has to wait.
type LockoutLimit struct {
	// Failures is how many attempts may fail at once, up to 1,000,000.
	Failures int
	// Window is the time in which so many failures are forgiven, one after another:
	// one each Window/Failures, which is at least a millisecond. It is at most 365
	// days.
	Window time.Duration
}

// A LockoutGuess is an attempt as a LockoutBook counts it.
type LockoutGuess struct {
	// Account is whom the attempt is at. It is never empty.
	Account string
	// Sent is what was sent as the name of the account; "" if that is not known.
	Sent string
	// Near is the network that is counted together with Account and Sent. The zero
	// Prefix is a network too, of those whose address is not known.
	Near netip.Prefix
	// Network is the network that is counted alone.
	Network netip.Prefix
}

// LockoutCounters is a set of what a guess is counted on.
type LockoutCounters uint8

// What a guess is counted on. A refusal by one of the first three may be told; one
// by the last two must not be, since it depends on the account.
const (
	CountNetwork  LockoutCounters = 1 << iota // LockoutGuess.Network
	CountSentNear                             // Sent together with Near
	CountSent                                 // Sent, from all networks where nobody has succeeded
	CountPair                                 // Account together with Near
	CountAccount                              // Account, from all networks where it has not succeeded
)

const (
	lockoutCounters = 5
	countTold       = CountNetwork | CountSentNear | CountSent
)

// A LockoutAnswer is what a LockoutBook says of a guess.
type LockoutAnswer struct {
	// Locked says that the guess must fail.
	Locked bool
	// RetryAfter is when the counters that may be told of would let the same guess
	// pass, if there were no others until then. It is 0 if none of them refuses.
	RetryAfter time.Duration
	// Counted is what the guess was counted on.
	Counted LockoutCounters
	// Began is what refused a guess for the first time since it had forgiven
	// everything.
	Began LockoutCounters
	// Epochs are what the book needs to know again, of each counter, that what it
	// counted there has not gone by a success. They mean nothing to others.
	Epochs [5]int64
}

// A LockoutOutcome is what became of a guess that did not fail.
type LockoutOutcome int

const (
	// LockoutSuccess means that the credentials were right.
	LockoutSuccess LockoutOutcome = iota
	// LockoutUndecided means that they could not be checked.
	LockoutUndecided
)

// A LockoutBook counts failed attempts. It is safe for concurrent use.
//
// # A counter
//
// Each counter has a limit L, of Failures and a Window. It holds a debt that grows
// by one for each guess that is counted, and shrinks by one each Window/Failures,
// down to nothing. It is exhausted while one more would make the debt more than
// L.Failures. A guess that exhausts it, or is counted while it is exhausted, sets
// when the next may pass: Backoff later, or twice that for each whole or begun
// failure by which the debt, with this guess, is above L.Failures, up to MaxBackoff.
// Until then an exhausted counter refuses. The debt stops growing at one failure
// more than makes MaxBackoff.
//
// Pair is the limit of CountSentNear and CountPair, Network that of CountNetwork,
// and Account that of CountSent and CountAccount. CountSent and CountSentNear count
// only if Sent is not empty, CountSent only from a Near where no account has had a
// success within KnownFor, and CountAccount only from a Near where Account has had
// none. A book remembers the last 16 networks of an account, or more.
type LockoutBook interface {
	// Count counts a guess, before the credentials are looked at. It is one atomic
	// decision.
	//
	// If a counter that may be told of refuses, nothing is counted, and RetryAfter
	// is the longest of their waits. Else the guess is counted on all that may be
	// told of. If one of the other counters refuses, it is counted on none of those,
	// and Locked, with no RetryAfter. Else it is counted on them too.
	//
	// So what is told depends on the sent name, the network and the guesses before,
	// and never on whether there is such an account.
	//
	// An error means that the store could not decide. Its text may be logged, so it
	// must not hold what is in g. Count returns soon after ctx is done.
	Count(ctx context.Context, g LockoutGuess) (LockoutAnswer, error)

	// Peek says whether a counter that may be told of refuses, with RetryAfter and
	// Began as Count would, and counts nothing. Account, which may be empty, does not
	// matter. A book may leave out counters that several keys have to share.
	Peek(ctx context.Context, g LockoutGuess) (LockoutAnswer, error)

	// Settle says what became of a guess, once, with what Count answered. A guess
	// that failed is not settled.
	//
	// LockoutSuccess sets CountSentNear and CountPair to nothing, takes one off the
	// others that it was counted on, and notes that Account has had a success in
	// Near. LockoutUndecided takes one off all that it was counted on. A counter from
	// which one was taken off lets the next guess pass at once. What could not be
	// settled stays counted; nothing is ever taken off twice. In particular a guess
	// that was counted before a counter went to nothing takes none off it afterwards.
	Settle(ctx context.Context, g LockoutGuess, a LockoutAnswer, o LockoutOutcome) error
}
