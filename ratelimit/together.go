package ratelimit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	httperr "github.com/sallyport/sallyport/errors"
)

// A Group is several limiters that count by keys of their own, by address and by tenant
// say, and decide together: a request takes from all of them or from none. It is safe for
// concurrent use.
type Group struct{ limiters []*Limiter }

// Together returns the Group of these limiters. Each keeps its Name, its Skip, its Plans
// and the rest of its Config: one that skips a request has no part in it, and one in
// shadow counts by itself and keeps nothing back.
//
// Where all of them have a [Memory], or no Store, the decision is atomic among the
// requests of groups. With others each is asked in turn, and where one refuses, the others
// get back what they counted: so no more is ever allowed than every limit allows, but
// between the two moments another request may be refused that would not have been; that
// goes for requests which one of the limiters decides about by itself, too. What can't be
// given back, since a store fails just then or a Memory is full, stays counted.
//
// It returns an error if there is none, if one is nil, or if one is there twice.
func Together(limiters ...*Limiter) (*Group, error) {
	if len(limiters) == 0 {
		return nil, errors.New("ratelimit: Together: there are no limiters")
	}
	for i, l := range limiters {
		switch {
		case l == nil:
			return nil, fmt.Errorf("ratelimit: Together: limiter %d is nil", i)
		case slices.IndexFunc(limiters, func(o *Limiter) bool { return o.bucket == l.bucket }) != i:
			return nil, fmt.Errorf("ratelimit: Together: limiter %d, %q, is there twice", i, l.name)
		}
	}
	return &Group{slices.Clone(limiters)}, nil
}

// Wrap returns a handler that calls next for the requests that every limiter allows, and
// answers the others as [Limiter.Wrap] does. If several refuse, the answer is that of the
// one that does for the longest time; but where they are asked in turn, of the first, and
// those that were not asked any more have no RateLimit in it. X-RateLimit, for which there
// is one place, tells of the one that refuses or has the smallest part left. It panics if
// next is nil.
func (g *Group) Wrap(next http.Handler) http.Handler {
	if next == nil {
		panic("ratelimit: Group.Wrap: the handler is nil")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		parts, refused := g.decide(r)
		for i := range parts {
			if p := &parts[i]; !p.limiter.shadow {
				p.limiter.setFields(w.Header(), p.decision)
			}
		}
		if p := cmp.Or(refused, tightest(parts)); p != nil { // X-RateLimit can tell of one
			p.limiter.setXFields(w.Header(), p.decision)
		}
		if refused != nil {
			httperr.Write(w, r, refused.limiter.problem(refused.decision))
			return
		}
		for i := range parts {
			if p := &parts[i]; p.limiter.settleLater {
				r = p.reserve(p.limiter, r)
			}
		}
		for _, l := range g.limiters {
			if !slices.ContainsFunc(parts, func(p part) bool { return p.limiter == l }) {
				r = l.exempt(r)
			}
		}
		next.ServeHTTP(w, r)
	})
}

// Check counts r and decides whether it may go on, without writing an answer. The error
// is that of [Limiter.Check]. The Result is the refusal, or the one of whose limit the
// smallest part is left.
func (g *Group) Check(r *http.Request) (Result, error) {
	parts, refused := g.decide(r)
	if refused != nil {
		return refused.Result, refused.limiter.problem(refused.decision)
	}
	if p := tightest(parts); p != nil {
		return p.Result, nil
	}
	return Result{Allowed: true}, nil
}

// tightest returns the part of whose limit the smallest part is left, or nil.
func tightest(parts []part) (least *part) {
	for i := range parts {
		p := &parts[i]
		if p.limiter.shadow || p.Limit.Burst == 0 {
			continue
		}
		if least == nil || tighter(least.Result, p.Result) != least.Result {
			least = p
		}
	}
	return least
}

// A part is what one limiter makes of a request.
type part struct {
	limiter *Limiter
	decision
}

// decide counts r. If it may not go on, it returns the part that says so.
func (g *Group) decide(r *http.Request) (parts []part, refused *part) {
	parts = make([]part, 0, len(g.limiters))
	for _, l := range g.limiters {
		if l.skip == nil || !l.skip(r) {
			parts = append(parts, part{l, l.prepare(r)})
		}
	}
	// Nothing is taken if it is clear already that something refuses.
	binding := make([]*part, 0, len(parts))
	for i := range parts {
		switch p := &parts[i]; {
		case p.limiter.shadow:
			if p.err == nil {
				p.take(r.Context(), p.limiter.settleLater)
			}
			if p.err != nil {
				p.limiter.tell(r, p.decision)
			}
		case p.err != nil && refused == nil:
			refused = p
		default:
			binding = append(binding, p)
		}
	}
	if refused != nil {
		return parts, refused
	}
	if !takeAtOnce(binding) {
		takeInTurn(r.Context(), binding)
	}
	for _, p := range binding {
		if p.err != nil && (refused == nil || p.RetryAfter > refused.RetryAfter) {
			refused = p
		}
	}
	return parts, refused
}

// takeInTurn asks one after the other, until one refuses or fails. What was taken is
// given back then.
func takeInTurn(ctx context.Context, parts []*part) {
	done := false
	taken := 0
	defer func() {
		if !done { // also if a store panics
			for _, p := range parts[:taken] {
				p.Result, _ = p.kept.giveBack(ctx, p.tier, p.key, p.n)
				p.kept = nil
			}
		}
	}()
	for _, p := range parts {
		if p.take(ctx, true); p.err != nil {
			return
		}
		taken++
	}
	done = true
}

// A spot is where a part is decided in memory.
type spot struct {
	*part
	bucket *memoryBucket
	shard  *shard
	hash   uint64
}

// takeAtOnce decides in memory, if all of parts are there; else it reports false.
func takeAtOnce(parts []*part) bool {
	now := time.Now() // before anything is counted
	all := make([]spot, len(parts))
	for i, p := range parts {
		b := p.tier.memory
		if b == nil {
			return false
		}
		all[i] = spot{part: p, bucket: b}
		all[i].hash, all[i].shard = b.place(p.key)
	}
	// Every caller locks in the order in which the buckets were made, so that no two wait
	// for each other.
	slices.SortFunc(all, func(a, b spot) int { return cmp.Compare(a.bucket.id, b.bucket.id) })
	for i := range all {
		at := all[i].bucket.moment()
		all[i].shard.mu.Lock()
		defer all[i].shard.mu.Unlock()
		all[i].shard.advance(at)
	}
	refused := false
	for i := range all {
		a := &all[i]
		a.kept = &deposit{bucket: a.bucket, n: a.n, at: now}
		if a.kept.shared = a.bucket.takeLocked(&a.Result, a.shard, a.hash, a.n); !a.Allowed {
			a.err = errRefused
			refused = true
		}
	}
	if refused {
		for i := range all {
			if a := &all[i]; a.err == nil {
				a.Result = Result{}
				if !a.kept.shared {
					a.bucket.takeLocked(&a.Result, a.shard, a.hash, -a.n)
				}
			}
		}
	}
	return true
}
