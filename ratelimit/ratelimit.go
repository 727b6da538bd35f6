// Package ratelimit bounds how often something may happen: requests per client
// address, per identity, or per whatever a [KeyFunc] says, and failed logins. It
// also bounds how many requests are served at once.
//
//	limiter, err := ratelimit.New(ratelimit.Config{
//		Limits: []ratelimit.Limit{ratelimit.PerSecond(10).WithBurst(20), ratelimit.PerHour(1000)},
//	})
//	…
//	handler := limiter.Wrap(mux)
//
// All limits of a limiter are one atomic decision: a request takes from each of
// them or from none. Decisions are exact; see [Limit] for what they promise. Limiters
// with different keys decide together in a [Group].
//
// # What is counted, and how
//
// A Limit is kept by GCRA, a token bucket, unless it says otherwise: [PerCalendarDay] and
// [PerCalendarMonth] are quotas by the calendar of a time zone, as they are billed, and
// [Limit.Sliding] counts in a sliding window. Config.Cost weighs requests, and
// [Limiter.Settle] corrects the weight when it is known. Config.Plan chooses other limits
// for some, by what they pay or who they are; Config.Skip exempts. Config.Shadow tries
// limits out on what really comes, and refuses nothing.
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
// the rate of the limit. If r is 0, t is when the next event is possible. Quotas by the
// calendar have no w, since their windows differ in length. In windows t is when all that
// was counted counts no more.
// Integers stop at 15 digits (RFC 9651, section 3.3.1). Two limiters in one
// chain both add their fields.
//
// A refusal is a 429 problem of the registered type quota-exceeded, with code
// "rate_limited" and Retry-After, the seconds until the same request would be
// allowed, rounded up, and a random part if there is a Config.RetryJitter. t is the same
// number without that. [Transport] is for clients that do as they are told.
//
// # Failed logins
//
// A limiter does not know which attempts fail. A [Lockout] does: it is the
// auth.Lockout that auth/basic, auth/oauth and auth/apikey share, and ends guessing
// without keeping people out of their accounts.
//
// # Requests in flight
//
// A rate says how often, not how many at once, and it is those at once that take
// memory, connections and processors. An [InFlight] bounds them, for all requests
// together or for each key:
//
//	busy, err := ratelimit.NewInFlight(ratelimit.InFlightConfig{Max: 100, Queue: 500, Target: 5 * time.Millisecond})
//	…
//	handler := busy.Wrap(mux)
//
// It keeps each key of which a request runs or waits, with some 150 bytes, and
// nothing for any other: there are never more keys than requests, so there is no
// table that others could fill. One for all requests together stands below the limiter
// by address, so that nobody takes every place by asking often. A client that sends
// or reads slowly holds its place for as long as the server's timeouts let it.
//
// # Overload
//
// Under more load than can be served a queue makes things worse: once it is full,
// every request waits for as long as all of it takes, many until their clients
// have given up. Three parts of InFlightConfig are against that.
//
// Queue and MaxWait bound the harm. Places are given in the order of arrival.
//
// Target keeps the queue short. A queue stands once for an Interval nobody who came
// found a place. From then on those who have waited for Target are shed, all but the
// last to come, and the last to come is served first; until half of those who came
// within an Interval found a place. So under lasting overload the wait of those who
// are served is about Target or less, no place is idle for it, and who is refused
// learns of it soon. A burst that is served within Interval loses nobody, nor does one
// after which nobody comes, and nobody is shed under light load. Near the limit of what
// can be served, from 0.8 to 1.5 times of it, the queue stands and does not by turns:
// some wait for up to Interval, and a few in a hundred are shed whom a longer queue would have
// served later. This is the controlled delay and adaptive LIFO of Maurer, "Fail at
// Scale" (ACM Queue 13(8), 2015), after CoDel: Nichols and Jacobson, "Controlling
// Queue Delay" (ACM Queue 10(5), 2012) and RFC 8289. CoDel's control law is not part of
// it, since that is for senders that slow down.
//
// Latency finds how many are too many, where Max is not known. The bound begins at
// Min. For each round of as many requests as it allows it grows by one, if it was
// reached and nine of ten handlers returned within Latency; if they did not, it
// shrinks by a tenth. Until it shrinks for the first time it doubles. This is the additive
// increase and multiplicative decrease of TCP: Chiu and Jain, "Analysis of the
// Increase and Decrease Algorithms for Congestion Avoidance in Computer Networks"
// (Computer Networks and ISDN Systems 17, 1989). It helps where handlers are slow
// because there are many of them. Where they are slow for another reason it shrinks
// in vain, so Min must be what is worth serving even then; and it learns nothing from
// handlers that don't return. Streams and long polls are slow on purpose: give them
// an InFlight of their own.
//
// Neither knows which requests are important, except by Skip.
//
// # Several processes
//
// Without Config.Store each limiter counts in its own memory. To share counts
// among processes, give it a Store that they share, such as that of
// ratelimit/redisstore; Config.OnStoreError says what happens while that one fails. A Lockout has a store of its own kind, which
// auth/redisstore has for Redis.
package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync/atomic"
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
	// Plans are other limits for some: those of a plan that customers pay for, say.
	// Each has counts of its own, so a customer who changes from one to another
	// begins anew. Their names are as printable as Name.
	Plans map[string][]Limit
	// Plan says which of Plans a request has; "" is none, and Limits hold. One that
	// is not in Plans is a 500 and never unlimited, and so is an error unless it is
	// or wraps an *errors.Problem, which is the answer then. Decide by what something
	// above has checked, such as the identity. It must be safe for concurrent use.
	Plan func(*http.Request) (string, error)
	// Key says whom a request is counted against. Nil is ByClientAddr.
	Key KeyFunc
	// Cost says how many events a request is. Nil is 1 for each. A cost that is
	// not positive is answered by a 500, never free. One above the Burst of a
	// limit could never be allowed; it is answered by a 413 problem with code
	// "cost_too_high" and no Retry-After, because a client that waited would wait
	// in vain. Cost must be safe for concurrent use.
	Cost func(*http.Request) int
	// SettleLater lets a handler change what its request costs once it knows, by
	// [Limiter.Settle]. Cost says what is counted until then. It needs a copy of the
	// request, if no door above has made one.
	SettleLater bool
	// Store keeps the counts. Nil is a new Memory for this limiter alone.
	Store Store
	// Skip exempts a request for which it returns true: it is not counted, and its
	// answer has no RateLimit fields. It must be safe for concurrent use. Exempt by
	// r.Pattern or by identity, not by what a client can claim: see [SkipNetworks],
	// [SkipSubjects] and [SkipRoutes].
	Skip func(*http.Request) bool
	// Shadow only tells what it would do: every request goes on, without RateLimit
	// fields, and each that would not have is an audit event. It is for trying out
	// limits on what really comes. What Plan, Key and Cost return, and a panic in them, is
	// told as well.
	Shadow bool
	// RetryJitter adds a random time of up to so much to Retry-After, so that clients
	// that were refused together do not come back together. The default is none.
	RetryJitter time.Duration
	// XRateLimit adds the older fields X-RateLimit-Limit, X-RateLimit-Remaining and
	// X-RateLimit-Reset, the last in seconds since 1970, for clients that know no
	// others. No document defines them. They tell what RateLimit does, and replace
	// those of a limiter above.
	XRateLimit bool
	// OnStoreError says what to do with requests while Store can't decide. The
	// default is Local. Memory never fails.
	OnStoreError Policy
	// Instances is how many processes share Store. Under Local each of them allows that
	// part of the rate while the store fails, so that all together allow about what they
	// did before; a burst, and a limit with a Window, is allowed by each of them as a
	// whole. The default is 1.
	Instances int
	// StoreTimeout bounds how long a decision of Store may take, 100 ms by
	// default. A decision that takes longer counts as a failure. It does not
	// concern Memory.
	StoreTimeout time.Duration
	// Audit gets an event when Store fails and when it works again, but none per
	// request, except for Shadow. Nil is the recorder of the request that finds out, else
	// slog.Default().
	Audit audit.Recorder
}

// A Limiter decides whether requests may go on. It is safe for concurrent use.
type Limiter struct {
	tier
	name        string
	plans       map[string]*tier
	plan        func(*http.Request) (string, error)
	key         KeyFunc
	cost        func(*http.Request) int
	skip        func(*http.Request) bool
	settleLater bool
	shadow      bool
	jitter      time.Duration
	x           bool
	audit       audit.Recorder
}

// A tier is what a limiter allows to those of one plan.
type tier struct {
	quotas   []quota
	minBurst int
	bucket   Bucket
	memory   *memoryBucket // bucket, if it is one: a call of it needs no copy of the Result
	field    []string      // RateLimit-Policy; shared by all answers, so cap = len
}

// New returns a Limiter. It returns an error that names the field if cfg can't
// work, and if cfg.Store has a limiter of this name already. A plan has the name
// Name-plan in the store; after an error some of the names may stay taken there.
func New(cfg Config) (*Limiter, error) {
	if cfg.Name == "" {
		cfg.Name = "default"
	}
	switch {
	case !quoted.Valid(cfg.Name):
		return nil, fmt.Errorf("ratelimit: Config.Name %q is not printable ASCII", cfg.Name)
	case cfg.OnStoreError < Local || cfg.OnStoreError > Deny:
		return nil, fmt.Errorf("ratelimit: Config.OnStoreError is %d, none of Local, Allow, Deny", cfg.OnStoreError)
	case cfg.Instances < 0:
		return nil, fmt.Errorf("ratelimit: Config.Instances is %d", cfg.Instances)
	case cfg.StoreTimeout < 0:
		return nil, fmt.Errorf("ratelimit: Config.StoreTimeout is %s", cfg.StoreTimeout)
	case cfg.RetryJitter < 0 || cfg.RetryJitter > maxJitter:
		return nil, fmt.Errorf("ratelimit: Config.RetryJitter is %s, not 0 to %s", cfg.RetryJitter, maxJitter)
	case len(cfg.Plans) > 0 && cfg.Plan == nil:
		return nil, errors.New("ratelimit: Config.Plans are never used without Config.Plan")
	case len(cfg.Plans) == 0 && cfg.Plan != nil:
		return nil, errors.New("ratelimit: Config.Plan has no Config.Plans to choose from")
	case cfg.StoreTimeout == 0:
		cfg.StoreTimeout = 100 * time.Millisecond
	}
	if cfg.Key == nil {
		cfg.Key = ByClientAddr
	}
	l := &Limiter{
		name: cfg.Name, plan: cfg.Plan, key: cfg.Key, cost: cfg.Cost, skip: cfg.Skip, settleLater: cfg.SettleLater,
		shadow: cfg.Shadow, jitter: cfg.RetryJitter, x: cfg.XRateLimit, audit: cfg.Audit,
	}
	// All are checked before the first is opened, which nothing takes back.
	plans := slices.Sorted(maps.Keys(cfg.Plans))
	rates := make([][]rate, 1+len(plans))
	var err error
	if rates[0], err = compileLimits("ratelimit: Config.Limits", cfg.Limits); err != nil {
		return nil, err
	}
	for i, plan := range plans {
		if plan == "" || !quoted.Valid(plan) {
			return nil, fmt.Errorf("ratelimit: Config.Plans has the name %q, which is empty or not printable ASCII", plan)
		}
		if rates[1+i], err = compileLimits(fmt.Sprintf("ratelimit: Config.Plans[%q]", plan), cfg.Plans[plan]); err != nil {
			return nil, err
		}
	}
	if err := checkNames(cfg.Name, plans, rates); err != nil {
		return nil, err
	}
	if l.tier, err = newTier(cfg, cfg.Name, rates[0]); err != nil {
		return nil, err
	}
	if len(plans) > 0 {
		l.plans = make(map[string]*tier, len(plans))
	}
	for i, plan := range plans {
		t, err := newTier(cfg, cfg.Name+"-"+plan, rates[1+i])
		if err != nil {
			return nil, err
		}
		l.plans[plan] = &t
	}
	return l, nil
}

const maxJitter = time.Hour

// checkNames returns an error if two quotas would have one name for clients.
func checkNames(name string, plans []string, rates [][]rate) error {
	taken := make(map[string]bool)
	for i := range rates {
		called := name
		if i > 0 {
			called += "-" + plans[i-1]
		}
		for _, q := range newQuotas(called, rates[i]) {
			if taken[q.name] {
				return fmt.Errorf("ratelimit: Config.Plans: two quotas would be called %q; give the plan another name", q.name)
			}
			taken[q.name] = true
		}
	}
	return nil
}

// newTier opens what is called name in the store of cfg.
func newTier(cfg Config, name string, rates []rate) (tier, error) {
	t := tier{quotas: newQuotas(name, rates), minBurst: minBurst(rates)}
	t.field = []string{policyField(t.quotas)}
	for i := range t.quotas {
		if q := &t.quotas[i]; q.limit.Window == (Window{}) {
			q.fields = make([]atomic.Pointer[[]string], min(q.limit.Burst, mostFields)+1)
		}
	}
	var err error
	if t.bucket, err = open(cfg, name, t.limits()); err != nil {
		return tier{}, fmt.Errorf("ratelimit: Config.Store can't open %q: %w", name, err)
	}
	t.memory, _ = t.bucket.(*memoryBucket)
	return t, nil
}

// open opens the bucket of a name, with what stands in for it if it can fail.
func open(cfg Config, name string, limits []Limit) (Bucket, error) {
	if _, ok := cfg.Store.(*Memory); ok {
		return cfg.Store.Open(name, limits)
	}
	memory, err := NewMemory(MemoryConfig{})
	if err != nil {
		return nil, err
	}
	if cfg.Store == nil {
		return memory.Open(name, limits)
	}
	shares := make([]Limit, len(limits))
	for i, l := range limits {
		if shares[i], err = l.share(cfg.Instances); err != nil {
			return nil, err
		}
	}
	local, err := memory.Open(name, shares)
	if err != nil {
		return nil, err
	}
	remote, err := cfg.Store.Open(name, slices.Clone(limits))
	if err != nil {
		return nil, err
	}
	return newFallible(cfg, name, remote, local.(*memoryBucket), limits, shares), nil //nolint:forcetypeassert // a Memory opens no other
}

// Name returns the limiter's name.
func (l *Limiter) Name() string { return l.name }

// Limits returns a copy of the limits of those who have no plan, each with its Burst
// set.
func (l *Limiter) Limits() []Limit { return l.limits() }

// Plans returns a copy of the limits of each plan, each with its Burst set.
func (l *Limiter) Plans() map[string][]Limit {
	plans := make(map[string][]Limit, len(l.plans))
	for name, t := range l.plans {
		plans[name] = t.limits()
	}
	return plans
}

func (t *tier) limits() []Limit {
	limits := make([]Limit, len(t.quotas))
	for i := range t.quotas {
		limits[i] = t.quotas[i].limit
	}
	return limits
}

// Wrap returns a handler that calls next for the requests that [Limiter.Check]
// allows, and answers the others. It adds the RateLimit fields to every answer;
// like those of transport.Secure they are shared, so nothing may write into a
// slice that it found in the response's Header (Set, Add and Del do not).
// The request that next gets is the one that came, unless Config.SettleLater is
// set. Wrap panics if next is nil.
func (l *Limiter) Wrap(next http.Handler) http.Handler {
	if next == nil {
		panic("ratelimit: Wrap: the handler is nil")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if l.skip != nil && l.skip(r) {
			next.ServeHTTP(w, l.exempt(r))
			return
		}
		d := l.decide(r)
		switch {
		case l.shadow:
			if d.err != nil {
				l.tell(r, d)
			}
		case d.err != nil:
			l.setFields(w.Header(), d)
			l.setXFields(w.Header(), d)
			httperr.Write(w, r, l.problem(d))
			return
		default:
			l.setFields(w.Header(), d)
			l.setXFields(w.Header(), d)
		}
		if l.settleLater {
			r = d.reserve(l, r)
		}
		next.ServeHTTP(w, r)
	})
}

// Check counts r and decides whether it may go on, without writing an answer. If
// it may not, the error is not nil: it is what Wrap would hand to errors.Write, a
// *errors.Problem unless Key, Plan or Cost failed. A request that Config.Skip exempts
// is allowed with a zero Result.Limit. With Config.Shadow the error is nil, and the
// Result tells what it would have been.
func (l *Limiter) Check(r *http.Request) (Result, error) {
	if l.skip != nil && l.skip(r) {
		return Result{Allowed: true}, nil
	}
	d := l.decide(r)
	switch {
	case d.err == nil:
		return d.Result, nil
	case l.shadow:
		l.tell(r, d)
		return d.Result, nil
	default:
		return d.Result, l.problem(d)
	}
}

// A decision is what is made of a request: allowed if err is nil.
type decision struct {
	Result
	tier *tier
	key  string
	n    int
	kept *deposit // if it may be given back
	err  error
}

// errRefused is the error of a request that is over a limit.
var errRefused = errors.New("ratelimit: over the limit")

// decide counts a request that is not exempt.
func (l *Limiter) decide(r *http.Request) decision {
	d := l.prepare(r)
	if d.err == nil {
		d.take(r.Context(), l.settleLater)
	}
	return d
}

// prepare finds out what a request that is not exempt is counted as.
func (l *Limiter) prepare(r *http.Request) (d decision) {
	d = decision{tier: &l.tier, n: 1}
	if l.shadow {
		defer func() {
			if v := recover(); v != nil { // the request goes on, whatever is wrong here
				d.err = fmt.Errorf("ratelimit: a function of Config panicked: %v", v)
			}
		}()
	}
	if l.plan != nil {
		if d.err = l.choose(&d, r); d.err != nil {
			return d
		}
	}
	if d.key, d.err = l.key(r); d.err != nil {
		d.err = fmt.Errorf("ratelimit: Config.Key: %w", d.err)
		return d
	}
	if l.cost != nil {
		if d.n = l.cost(r); d.n <= 0 {
			d.err = fmt.Errorf("ratelimit: Config.Cost returned %d: %w", d.n, ErrCost)
			return d
		}
	}
	d.err = d.tier.check(d.key, d.n)
	return d
}

// take counts what was prepared. If keep is set, it can be given back.
func (d *decision) take(ctx context.Context, keep bool) {
	switch {
	case keep:
		var kept deposit
		if d.Result, kept, d.err = d.tier.deposit(ctx, d.key, d.n); d.err == nil && d.Allowed {
			d.kept = &kept
		}
	case d.tier.memory != nil:
		d.tier.memory.take(&d.Result, d.key, d.n)
	default:
		d.Result, d.err = d.tier.bucket.Take(ctx, d.key, d.n)
	}
	if d.err == nil && !d.Allowed {
		d.err = errRefused
	}
}

// choose finds the plan of a request.
func (l *Limiter) choose(d *decision, r *http.Request) error {
	plan, err := l.plan(r)
	switch {
	case err != nil:
		return fmt.Errorf("ratelimit: Config.Plan: %w", err)
	case plan == "":
		return nil
	}
	t := l.plans[plan]
	if t == nil {
		return fmt.Errorf("ratelimit: Config.Plan returned %q, which is not in Config.Plans", plan)
	}
	d.tier = t
	return nil
}

// Take spends n events under key, for what is not a request: messages, logins,
// jobs. A refusal is a Result that is not Allowed, with a nil error. Config.Limits
// hold, and neither Skip nor Shadow is heeded.
//
// It returns ErrNoKey for an empty key, ErrCost if n is not positive, and
// ErrCostExceedsBurst if n is above the Burst of a limit. Where the store fails
// it does what Config.OnStoreError says; under Deny it returns ErrUnavailable.
// A decision isn't cancelled with ctx: Memory decides at once, and other stores
// within Config.StoreTimeout.
func (l *Limiter) Take(ctx context.Context, key string, n int) (res Result, err error) {
	if n == 1 && key != "" && l.memory != nil { // the usual, with nothing left to check
		l.memory.take(&res, key, n)
		return res, nil
	}
	if err := l.check(key, n); err != nil {
		return res, err
	}
	if l.memory != nil {
		l.memory.take(&res, key, n)
		return res, nil
	}
	return l.bucket.Take(ctx, key, n)
}

// check returns the error of what can't be counted.
func (t *tier) check(key string, n int) error {
	switch {
	case key == "":
		return ErrNoKey
	case n <= 0:
		return ErrCost
	case n > t.minBurst:
		return ErrCostExceedsBurst
	}
	return nil
}
