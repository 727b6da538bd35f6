package storetest_test

import (
	"context"
	"errors"
	"math/bits"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/internal/conformance"
	"github.com/sallyport/sallyport/ratelimit"
	"github.com/sallyport/sallyport/ratelimit/storetest"
)

// lockoutStore is a plain store of lockouts with a clock of its own, and maybe a flaw.
type lockoutStore struct {
	flaw string

	mu    sync.Mutex
	now   time.Duration
	names map[string]*lockoutBook
}

func (s *lockoutStore) advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now += d
}

func (s *lockoutStore) OpenLockout(name string, rules ratelimit.LockoutRules) (ratelimit.LockoutBook, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, taken := s.names[name]
	if taken {
		if s.flaw == "a name opens twice" {
			return b, nil
		}
		return nil, errors.New("the name is taken")
	}
	if s.names == nil {
		s.names = make(map[string]*lockoutBook)
	}
	b = &lockoutBook{s: s, rules: rules, counters: make(map[string]*lockoutCounter), known: make(map[string][]seen)}
	if s.flaw == "names meet" {
		for _, other := range s.names {
			b.counters = other.counters
		}
	}
	s.names[name] = b
	return b, nil
}

type lockoutBook struct {
	s        *lockoutStore
	rules    ratelimit.LockoutRules
	counters map[string]*lockoutCounter
	epoch    int64
	known    map[string][]seen // by account, or by network under ""
}

type lockoutCounter struct {
	debt  float64 // failures
	at    time.Duration
	until time.Duration
	told  bool
	epoch int64
}

type seen struct {
	where string
	at    time.Duration
}

// place is a counter of a guess.
type place struct {
	bit   ratelimit.LockoutCounters
	key   string
	limit ratelimit.LockoutLimit
}

func part(s string) string { return strconv.Itoa(len(s)) + ":" + s }

func (b *lockoutBook) places(g ratelimit.LockoutGuess) []place {
	f, r := b.s.flaw, b.rules
	near, network := g.Near.String(), g.Network.String()
	account, sent := g.Account, g.Sent
	switch f {
	case "networks are addresses":
		near, network = g.Near.Addr().String(), g.Network.Addr().String()
	case "no network is no network":
		if !g.Network.IsValid() {
			return nil
		}
	case "names are cut":
		account, sent = account[:min(len(account), 1000)], sent[:min(len(sent), 1000)]
	case "names end at NUL":
		account, _, _ = strings.Cut(account, "\x00")
	case "names ignore case":
		account, sent = strings.ToLower(account), strings.ToLower(sent)
	case "networks ignore length":
		near = netip.PrefixFrom(g.Near.Addr(), 24).Masked().String()
	}
	all := []place{{ratelimit.CountNetwork, "n" + part(network), r.Network}}
	if g.Sent != "" {
		all = append(all, place{ratelimit.CountSentNear, "s" + part(sent) + part(near), r.Pair})
		if f == "sent everywhere" || !b.knows("", near) {
			all = append(all, place{ratelimit.CountSent, "S" + part(sent), r.Account})
		}
	}
	all = append(all, place{ratelimit.CountPair, "p" + part(account) + part(near), r.Pair})
	if f != "pair without network" && f != "known everywhere" && !b.knows(account, near) || f == "known nowhere" {
		all = append(all, place{ratelimit.CountAccount, "a" + part(account), r.Account})
	}
	if f == "no limit of a network" {
		all = all[1:]
	}
	if f == "pair without network" {
		for i := range all {
			all[i].key, _, _ = strings.Cut(all[i].key, part(near))
		}
	}
	return all
}

func (b *lockoutBook) knows(account, near string) bool {
	for _, one := range b.known[account] {
		if one.where == near || b.s.flaw == "known to all" && len(b.known) > 0 {
			return b.s.now-one.at < b.rules.KnownFor || b.s.flaw == "known for ever"
		}
	}
	if b.s.flaw == "known to all" {
		return account != "" && b.knows("", near)
	}
	return false
}

// counter returns the state of a place, as it is now.
func (b *lockoutBook) counter(p place) *lockoutCounter {
	c := b.counters[p.key]
	if c == nil {
		b.epoch++
		c = &lockoutCounter{epoch: b.epoch}
		b.counters[p.key] = c
	}
	each := p.limit.Window / time.Duration(p.limit.Failures)
	switch b.s.flaw {
	case "nothing is forgiven":
		each = 1 << 62
	case "all is forgiven":
		if b.s.now-c.at >= each {
			c.debt = 0
		}
	}
	c.debt -= float64(b.s.now-c.at) / float64(each)
	c.at = b.s.now
	if c.debt <= 1e-9 {
		b.epoch++
		*c = lockoutCounter{at: b.s.now, told: c.told && b.s.flaw == "began but once", epoch: b.epoch}
	}
	return c
}

func (b *lockoutBook) exhausted(c *lockoutCounter, p place) bool {
	limit := float64(p.limit.Failures)
	if b.s.flaw == "one more" {
		limit++
	}
	return c.debt > limit-1+1e-9
}

func (b *lockoutBook) Count(ctx context.Context, g ratelimit.LockoutGuess) (a ratelimit.LockoutAnswer, err error) {
	s := b.s
	if s.flaw == "no atomicity" {
		s.mu.Lock()
		before := make(map[string]lockoutCounter)
		for _, p := range b.places(g) {
			before[p.key] = *b.counter(p)
		}
		s.mu.Unlock()
		runtime.Gosched()
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			for key, c := range before {
				c.debt++
				*b.counters[key] = c
			}
		}()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flaw == "done context is free" && ctx.Err() != nil {
		return a, nil
	}
	places := b.places(g)
	const told = ratelimit.CountNetwork | ratelimit.CountSentNear | ratelimit.CountSent
	for _, p := range places {
		c := b.counter(p)
		wait := c.until - s.now
		if wait <= 0 || !b.exhausted(c, p) {
			continue
		}
		silent := p.bit&told == 0
		if silent && (a.RetryAfter > 0 || s.flaw == "silent locks are none") {
			continue
		}
		a.Locked = true
		if !silent || s.flaw == "everything is told" {
			switch {
			case s.flaw == "shortest wait" && a.RetryAfter > 0:
				a.RetryAfter = min(a.RetryAfter, wait)
			case s.flaw == "early RetryAfter":
				a.RetryAfter = max(a.RetryAfter, wait-1)
			default:
				a.RetryAfter = max(a.RetryAfter, wait)
			}
		}
		if !c.told || s.flaw == "began at each refusal" {
			c.told = true
			a.Began |= p.bit
		}
		if s.flaw == "a refusal counts" {
			c.debt++
			c.until = s.now + b.backoff(c, p)
		}
	}
	switch {
	case a.RetryAfter > 0 && s.flaw == "a refusal uses up the network":
		b.counter(places[0]).debt++
	case a.RetryAfter > 0:
		return a, nil
	}
	for _, p := range places {
		silent := p.bit&told == 0
		if a.Locked && (silent && s.flaw != "silent refusals count on the account" || s.flaw == "silent refusals count nowhere") {
			continue
		}
		c := b.counter(p)
		c.debt++
		if b.exhausted(c, p) {
			c.until = s.now + b.backoff(c, p)
		}
		if s.flaw != "debt without end" {
			steps := 0
			for w := b.rules.Backoff; w < b.rules.MaxBackoff; w *= 2 {
				steps++
			}
			c.debt = min(c.debt, float64(p.limit.Failures+steps+1))
		}
		a.Counted |= p.bit
		a.Epochs[bits.TrailingZeros8(uint8(p.bit))] = c.epoch
	}
	if s.flaw == "few keys" && len(b.counters) > 400 {
		clear(b.counters)
	}
	return a, nil
}

func (b *lockoutBook) Peek(ctx context.Context, g ratelimit.LockoutGuess) (a ratelimit.LockoutAnswer, err error) {
	if b.s.flaw == "peek counts" {
		return b.Count(ctx, g)
	}
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	for _, p := range b.places(g) {
		const told = ratelimit.CountNetwork | ratelimit.CountSentNear | ratelimit.CountSent
		c := b.counter(p)
		if wait := c.until - b.s.now; p.bit&told != 0 && wait > 0 && b.exhausted(c, p) && b.s.flaw != "peek is blind" {
			a.RetryAfter = max(a.RetryAfter, wait)
			if !c.told {
				c.told = b.s.flaw != "peek forgets what it told"
				a.Began |= p.bit
			}
		}
	}
	return a, nil
}

func (b *lockoutBook) backoff(c *lockoutCounter, p place) time.Duration {
	wait := b.rules.Backoff
	for over := c.debt - float64(p.limit.Failures); over > 1e-9 && b.s.flaw != "the wait is constant"; over-- {
		wait *= 2
		if wait >= b.rules.MaxBackoff && b.s.flaw != "the wait has no end" {
			return b.rules.MaxBackoff
		}
	}
	return wait
}

func (b *lockoutBook) Settle(_ context.Context, g ratelimit.LockoutGuess, a ratelimit.LockoutAnswer, o ratelimit.LockoutOutcome) error {
	s := b.s
	s.mu.Lock()
	defer s.mu.Unlock()
	success := o == ratelimit.LockoutSuccess
	for _, p := range b.allPlaces(g) {
		pair := p.bit&(ratelimit.CountPair|ratelimit.CountSentNear) != 0
		c := b.counter(p)
		switch {
		case success && pair && s.flaw == "success resets the account alone" && p.bit == ratelimit.CountSentNear,
			success && s.flaw == "success resets nothing",
			!success && s.flaw == "undecided counts":
		case success && (pair || s.flaw == "success resets all"):
			told := c.told
			*c = lockoutCounter{at: s.now}
			c.told = told && s.flaw == "began but once"
		case a.Counted&p.bit != 0 && a.Epochs[bits.TrailingZeros8(uint8(p.bit))] != c.epoch && s.flaw != "undecided takes off twice":
		case a.Counted&p.bit == 0 && s.flaw != "undecided gives back what was not counted":
		case !success && s.flaw == "undecided gives back all":
			*c = lockoutCounter{at: s.now}
		default:
			c.debt--
			if b.exhausted(c, p) && s.flaw != "undecided keeps the wait" {
				c.until = s.now
			}
			c.debt = max(c.debt, 0)
		}
	}
	if !success {
		return nil
	}
	near := g.Near.String()
	for _, account := range []string{g.Account, ""} {
		list := slices.DeleteFunc(b.known[account], func(one seen) bool { return one.where == near })
		most := 16
		if s.flaw == "few known networks" {
			most = 3
		}
		if account != "" && len(list) >= most {
			list = list[1:]
			if s.flaw == "the last known network goes" {
				list = b.known[account][:most-1]
			}
		}
		b.known[account] = append(list, seen{near, s.now})
	}
	return nil
}

// allPlaces are those of a guess, whatever is known by now.
func (b *lockoutBook) allPlaces(g ratelimit.LockoutGuess) []place {
	known := b.known
	b.known = nil
	defer func() { b.known = known }()
	return b.places(g)
}

func lockoutSubject(flaw string, frozen bool) storetest.LockoutSubject {
	var s *lockoutStore
	return storetest.LockoutSubject{
		New:     func(*testing.T) ratelimit.LockoutStore { s = &lockoutStore{flaw: flaw}; return s },
		Advance: func(d time.Duration) { s.advance(d) },
		Frozen:  frozen,
	}
}

func TestRunLockouts(t *testing.T) {
	t.Run("frozen", func(t *testing.T) { storetest.RunLockouts(t, lockoutSubject("", true)) })
	t.Run("running", func(t *testing.T) { storetest.RunLockouts(t, lockoutSubject("", false)) })
}

// lockoutFlaws are the rules that find each flaw.
var lockoutFlaws = map[string][]string{
	"a name opens twice":                        {"names"},
	"names meet":                                {"names"},
	"networks are addresses":                    {"networks"},
	"no network is no network":                  {"networks"},
	"networks ignore length":                    {"networks"},
	"names are cut":                             {"hostile names"},
	"names end at NUL":                          {"hostile names"},
	"names ignore case":                         {"hostile names", "spellings"},
	"sent everywhere":                           {"limit of what was sent"},
	"pair without network":                      {"limit of a pair"},
	"known everywhere":                          {"limit of an account"},
	"known nowhere":                             {"known network"},
	"known to all":                              {"known to one"},
	"known for ever":                            {"known for some time", "known each for itself"},
	"few known networks":                        {"many known networks"},
	"no limit of a network":                     {"limit of a network"},
	"nothing is forgiven":                       {"forgiven"},
	"all is forgiven":                           {"forgiven"},
	"one more":                                  {"limit of a pair"},
	"no atomicity":                              {"concurrent"},
	"done context is free":                      {"done context"},
	"silent locks are none":                     {"nothing sent", "spellings", "limit of an account"},
	"everything is told":                        {"nothing sent", "spellings"},
	"shortest wait":                             {"longest wait"},
	"early RetryAfter":                          {"wait"},
	"began at each refusal":                     {"began"},
	"the last known network goes":               {"many known networks"},
	"began but once":                            {"began anew", "began after a time"},
	"a refusal counts":                          {"refusal counts nothing"},
	"a refusal uses up the network":             {"refusal counts nothing"},
	"silent refusals count on the account":      {"silent refusal counts"},
	"silent refusals count nowhere":             {"silent refusal counts", "spellings"},
	"debt without end":                          {"debt has an end"},
	"few keys":                                  {"many keys"},
	"the wait is constant":                      {"wait", "back-off"},
	"the wait has no end":                       {"back-off"},
	"success resets the account alone":          {"success"},
	"success resets nothing":                    {"success"},
	"success resets all":                        {"own account", "success from strange networks"},
	"undecided counts":                          {"undecided", "undecided silence"},
	"undecided gives back what was not counted": {"undecided of nothing"},
	"undecided gives back all":                  {"undecided together"},
	"undecided keeps the wait":                  {"undecided after a wait"},
	"undecided takes off twice":                 {"undecided after a success"},
	"peek counts":                               {"peek"},
	"peek is blind":                             {"peek"},
	"peek forgets what it told":                 {"peek"},
}

// TestFaultyLockouts fails, in the process that TestRunLockoutsFindsFlaws starts.
func TestFaultyLockouts(t *testing.T) {
	conformance.Faulty(t)
	for flaw := range lockoutFlaws {
		t.Run(flaw, func(t *testing.T) { storetest.RunLockouts(t, lockoutSubject(flaw, true)) })
	}
}

// A suite that can't fail proves nothing.
func TestRunLockoutsFindsFlaws(t *testing.T) {
	conformance.Catches(t, "TestFaultyLockouts", lockoutFlaws)
}
