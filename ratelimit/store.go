package ratelimit

import (
	"context"
	"errors"
	"math/bits"
	"time"
)

// A Store keeps what keys have used of their limits. [Memory] is one.
//
// An implementation is safe for concurrent use and passes storetest.Run.
type Store interface {
	// Open returns the bucket of a name. It is called once for each limiter, by
	// New, with limits that New has checked: there is at least one, and Events,
	// Per and Burst are all positive. The limits belong to the store from then on.
	//
	// Limits may be counted in windows. A store that can't count in the Window of one
	// returns an error, and never counts it otherwise.
	//
	// A name that is open already is an error, since two limiters that share their
	// counts by accident refuse what neither would. Keys of one bucket never meet
	// those of another.
	Open(name string, limits []Limit) (Bucket, error)
}

// A Bucket keeps what the keys of one limiter have used. It is safe for
// concurrent use.
type Bucket interface {
	// Take spends n events of every limit of the bucket under key. It is atomic:
	// of two concurrent calls with one event left exactly one is allowed, and
	// where one limit refuses, nothing is taken from any. A refusal is a Result,
	// not an error. A key is any non-empty string, of any bytes and length.
	//
	// A negative n gives events back, as far as any were spent, and is allowed; it
	// is for settling a cost that was estimated, and never comes from a request.
	//
	// An empty key is [ErrNoKey], an n of 0 is [ErrCost], and an n above the Burst
	// of a limit is [ErrCostExceedsBurst]; each takes nothing. Any other error
	// means that the store could not decide. Its text may be logged, so it must
	// not hold the key. Take returns soon after ctx is done.
	Take(ctx context.Context, key string, n int) (Result, error)
}

// A Refunder is a [Bucket] that knows what of an earlier cost counts still. Without it, what
// is given back some time later may be what time has given back already, and so
// [Limiter.Settle] and [Group] give back less than they could where a bucket is none, and
// often nothing. The buckets of [Memory] are.
type Refunder interface {
	Bucket

	// Refund gives n events back under key, of so many that were taken by one call of Take,
	// age ago and no less, and not given back before. Of each limit it gives back no more
	// than counts still because of them: of GCRA what n events are, or what all of them are
	// less age if that is less; of a window what was counted in one that counts still. An n
	// that is not positive or more than of is [ErrCost].
	Refund(ctx context.Context, key string, n, of int, age time.Duration) (Result, error)
}

// A Result is a decision. If there are several limits it tells about one: when
// refused, the one that refuses for the longest time; when allowed, the one of
// which the smallest part is left. Times are spans, not instants, so that a
// store on another machine needs no common clock.
type Result struct {
	// Allowed says whether the events may happen.
	Allowed bool
	// Limit is the limit that the other fields are about, with its Burst set. It
	// is the zero Limit if none was asked: for a request that Config.Skip exempts,
	// and under the policy Allow while the store fails.
	Limit Limit
	// Remaining is how many events Limit has left, from 0 to Limit.Burst.
	Remaining int
	// RetryAfter is when the same number of events would be allowed, if nothing
	// else is spent until then. It is exact to the nanosecond above, and 0 if
	// Allowed.
	RetryAfter time.Duration
	// ResetAfter is when all of Limit.Burst would be available.
	ResetAfter time.Duration

	// A Result of nine words is returned in nine registers, written to memory by the caller,
	// and read back in pieces of two words before they are there. One of ten is returned in
	// memory, which costs a tenth less of a decision.
	_ uint64
}

// Errors of Take.
var (
	// ErrNoKey is returned for an empty key: what has no key would share one
	// bucket with everything else that has none, or escape its limit.
	ErrNoKey = errors.New("ratelimit: the key is empty")
	// ErrCost is returned for a cost that is not positive.
	ErrCost = errors.New("ratelimit: the cost is not positive")
	// ErrCostExceedsBurst is returned for a cost above the Burst of a limit. It
	// could never be allowed, however long one waited.
	ErrCostExceedsBurst = errors.New("ratelimit: the cost exceeds the burst of a limit")
	// ErrUnavailable is returned by a limiter with the policy [Deny] while its
	// store can't decide.
	ErrUnavailable = errors.New("ratelimit: the store can't decide")
)

// tighter returns the result of whose limit the smaller part is left; a if both
// are equal, and b if a is none yet.
func tighter(a, b Result) Result {
	if a.Limit.Burst == 0 {
		return b
	}
	ahi, alo := bits.Mul64(uint64(a.Remaining), uint64(b.Limit.Burst)) //nolint:gosec // neither is negative
	bhi, blo := bits.Mul64(uint64(b.Remaining), uint64(a.Limit.Burst)) //nolint:gosec // neither is negative
	if bhi < ahi || bhi == ahi && blo < alo {
		return b
	}
	return a
}

// minBurst returns the largest cost that all rates can ever allow.
func minBurst(rates []rate) int {
	least := rates[0].limit.Burst
	for i := range rates {
		least = min(least, rates[i].limit.Burst)
	}
	return least
}
