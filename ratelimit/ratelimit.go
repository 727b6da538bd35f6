// Package ratelimit bounds how often something may happen: requests per client
// address, per identity, or per whatever a [KeyFunc] says, and failed logins.
//
//	limiter, err := ratelimit.New(ratelimit.Config{
//		Limits: []ratelimit.Limit{ratelimit.PerSecond(10).WithBurst(20), ratelimit.PerHour(1000)},
//	})
//	…
//	handler := limiter.Wrap(mux)
//
// All limits of a limiter are one atomic decision: a request takes from each of
// them or from none. Decisions are exact; see [Limit] for what they promise.
//
// # Where it belongs
//
// A limiter by address stands before everything that costs, below
// transport.ClientIP if there are proxies. A limiter by identity, with Key:
// [ByIdentity], stands below auth.Require. Both may be in one chain, with names
// of their own.
//
// # What clients see
//
// Every answer, allowed or not, has the fields of
// draft-ietf-httpapi-ratelimit-headers-10:
//
//	RateLimit-Policy: "default";q=100;w=60
//	RateLimit: "default";r=50;t=30
//
// The policy says that q events are allowed at once, and regained in w seconds:
// q is Limit.Burst and w is Burst × Per / Events, rounded up, so for a Limit
// without a Burst of its own they are Events and Per. With several limits there
// is a policy for each: the first is called Config.Name, the others Name-2,
// Name-3 and so on. RateLimit tells about the one with the smallest part left: r
// events remain for the next t seconds. A client that spreads r over t keeps to
// the rate of the limit. If r is 0, t is when the next event is possible.
// Integers stop at 15 digits (RFC 9651, section 3.3.1). Two limiters in one
// chain both add their fields.
//
// A refusal is a 429 problem of the registered type quota-exceeded, with code
// "rate_limited" and Retry-After, the seconds until the same request would be
// allowed, rounded up. t is the same number then.
//
// # Failed logins
//
// A limiter does not know which attempts fail. A [Lockout] does: it is the
// auth.Lockout that auth/basic, auth/oauth and auth/apikey share, and ends guessing
// without keeping people out of their accounts.
//
// # Several processes
//
// Without Config.Store each limiter counts in its own memory. To share counts
// among processes, give it a Store that they share; Config.OnStoreError says
// what happens while that one fails. A Lockout has a store of its own kind, which
// auth/redisstore has for Redis.
package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/quoted"
)

// Config says what a [Limiter] allows, and to whom. Only Limits is required.
type Config struct {
	// Name tells this limiter from others: in the RateLimit fields, in the log, and
	// in its store, where a name can be used once. It is printable ASCII. The
	// default is "default".
	Name string
	// Limits must all allow a request. There are 1 to 8.
	Limits []Limit
	// Key says whom a request is counted against. Nil is ByClientAddr.
	Key KeyFunc
	// Cost says how many events a request is. Nil is 1 for each. A cost that is
	// not positive is answered by a 500, never free. One above the Burst of a
	// limit could never be allowed; it is answered by a 413 problem with code
	// "cost_too_high" and no Retry-After, because a client that waited would wait
	// in vain. Cost must be safe for concurrent use.
	Cost func(*http.Request) int
	// Store keeps the counts. Nil is a new Memory for this limiter alone.
	Store Store
	// Skip exempts a request for which it returns true: it is not counted, and its
	// answer has no RateLimit fields. It must be safe for concurrent use. Exempt by
	// r.Pattern or by identity, not by what a client can claim.
	Skip func(*http.Request) bool
	// OnStoreError says what to do with requests while Store can't decide. The
	// default is Local. Memory never fails.
	OnStoreError Policy
	// StoreTimeout bounds how long a decision of Store may take, 100 ms by
	// default. A decision that takes longer counts as a failure. It does not
	// concern Memory.
	StoreTimeout time.Duration
	// Audit gets an event when Store fails and when it works again, but none per
	// request. Nil is the recorder of the request that finds out, else
	// slog.Default().
	Audit audit.Recorder
}

// A Limiter decides whether requests may go on. It is safe for concurrent use.
type Limiter struct {
	name     string
	quotas   []quota
	minBurst int
	key      KeyFunc
	cost     func(*http.Request) int
	skip     func(*http.Request) bool
	bucket   Bucket
	field    []string // RateLimit-Policy; shared by all answers, so cap = len
}

// New returns a Limiter. It returns an error that names the field if cfg can't
// work, and if cfg.Store has a limiter of this name already.
func New(cfg Config) (*Limiter, error) {
	if cfg.Name == "" {
		cfg.Name = "default"
	}
	switch {
	case !quoted.Valid(cfg.Name):
		return nil, fmt.Errorf("ratelimit: Config.Name %q is not printable ASCII", cfg.Name)
	case cfg.OnStoreError < Local || cfg.OnStoreError > Deny:
		return nil, fmt.Errorf("ratelimit: Config.OnStoreError is %d, none of Local, Allow, Deny", cfg.OnStoreError)
	case cfg.StoreTimeout < 0:
		return nil, fmt.Errorf("ratelimit: Config.StoreTimeout is %s", cfg.StoreTimeout)
	case cfg.StoreTimeout == 0:
		cfg.StoreTimeout = 100 * time.Millisecond
	}
	rates, err := compileLimits("ratelimit: Config.Limits", cfg.Limits)
	if err != nil {
		return nil, err
	}
	if cfg.Key == nil {
		cfg.Key = ByClientAddr
	}
	l := &Limiter{
		name:     cfg.Name,
		quotas:   newQuotas(cfg.Name, rates),
		minBurst: minBurst(rates),
		key:      cfg.Key,
		cost:     cfg.Cost,
		skip:     cfg.Skip,
	}
	l.field = []string{policyField(l.quotas)}
	l.bucket, err = open(cfg, l.Limits())
	if err != nil {
		return nil, fmt.Errorf("ratelimit: Config.Store can't open %q: %w", cfg.Name, err)
	}
	return l, nil
}

// open opens the bucket of cfg, with what stands in for it if it can fail.
func open(cfg Config, limits []Limit) (Bucket, error) {
	if _, ok := cfg.Store.(*Memory); ok {
		return cfg.Store.Open(cfg.Name, limits)
	}
	memory, err := NewMemory(MemoryConfig{})
	if err != nil {
		return nil, err
	}
	local, err := memory.Open(cfg.Name, limits)
	if err != nil || cfg.Store == nil {
		return local, err
	}
	remote, err := cfg.Store.Open(cfg.Name, slices.Clone(limits))
	if err != nil {
		return nil, err
	}
	return newFallible(cfg, remote, local), nil
}

// Name returns the limiter's name.
func (l *Limiter) Name() string { return l.name }

// Limits returns a copy of the limits, each with its Burst set.
func (l *Limiter) Limits() []Limit {
	limits := make([]Limit, len(l.quotas))
	for i := range l.quotas {
		limits[i] = l.quotas[i].limit
	}
	return limits
}

// Wrap returns a handler that calls next for the requests that [Limiter.Check]
// allows, and answers the others. It adds the RateLimit fields to every answer;
// like those of transport.Secure they are shared, so nothing may write into a
// slice that it found in the response's Header (Set, Add and Del do not).
// The request that next gets is the one that came. Wrap panics if next is nil.
func (l *Limiter) Wrap(next http.Handler) http.Handler {
	if next == nil {
		panic("ratelimit: Wrap: the handler is nil")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if l.skip != nil && l.skip(r) {
			next.ServeHTTP(w, r)
			return
		}
		res, err := l.check(r)
		l.setFields(w.Header(), res)
		if err != nil {
			httperr.Write(w, r, l.problem(res, err))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Check counts r and decides whether it may go on, without writing an answer. If
// it may not, the error is not nil: it is what Wrap would hand to errors.Write, a
// *errors.Problem unless Key or Cost failed. A request that Config.Skip exempts
// is allowed with a zero Result.Limit.
func (l *Limiter) Check(r *http.Request) (Result, error) {
	if l.skip != nil && l.skip(r) {
		return Result{Allowed: true}, nil
	}
	res, err := l.check(r)
	if err != nil {
		return res, l.problem(res, err)
	}
	return res, nil
}

// errRefused is what check returns for a request that is over a limit.
var errRefused = errors.New("ratelimit: over the limit")

// check counts a request that is not exempt.
func (l *Limiter) check(r *http.Request) (Result, error) {
	key, err := l.key(r)
	if err != nil {
		return Result{}, fmt.Errorf("ratelimit: Config.Key: %w", err)
	}
	n := 1
	if l.cost != nil {
		if n = l.cost(r); n <= 0 {
			return Result{}, fmt.Errorf("ratelimit: Config.Cost returned %d: %w", n, ErrCost)
		}
	}
	res, err := l.Take(r.Context(), key, n)
	if err == nil && !res.Allowed {
		err = errRefused
	}
	return res, err
}

// Take spends n events under key, for what is not a request: messages, logins,
// jobs. A refusal is a Result that is not Allowed, with a nil error.
//
// It returns ErrNoKey for an empty key, ErrCost if n is not positive, and
// ErrCostExceedsBurst if n is above the Burst of a limit. Where the store fails
// it does what Config.OnStoreError says; under Deny it returns ErrUnavailable.
// A decision isn't cancelled with ctx: Memory decides at once, and other stores
// within Config.StoreTimeout.
func (l *Limiter) Take(ctx context.Context, key string, n int) (Result, error) {
	switch {
	case key == "":
		return Result{}, ErrNoKey
	case n <= 0:
		return Result{}, ErrCost
	case n > l.minBurst:
		return Result{}, ErrCostExceedsBurst
	}
	return l.bucket.Take(ctx, key, n)
}
