package storetest_test

import (
	"context"
	"errors"
	"math"
	"math/big"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/ratelimit"
	"github.com/sallyport/sallyport/ratelimit/storetest"
)

// store is a plain store with a clock of its own, and maybe a flaw.
type store struct {
	flaw string

	mu    sync.Mutex
	now   time.Duration
	names map[string]*bucket
}

func (s *store) advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now += d
}

func (s *store) Open(name string, limits []ratelimit.Limit) (ratelimit.Bucket, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b, ok := s.names[name]; ok {
		if s.flaw == "a name opens twice" {
			return b, nil
		}
		return nil, errors.New("the name is taken")
	}
	for _, l := range limits {
		if l.Window != (ratelimit.Window{}) && s.flaw != "windows are ignored" {
			return nil, errors.New("there are no windows here")
		}
	}
	if s.names == nil {
		s.names = make(map[string]*bucket)
	}
	b := &bucket{store: s, limits: limits, tats: make(map[string][]*big.Int)}
	if s.flaw == "names meet" && len(s.names) > 0 {
		for _, other := range s.names {
			b.tats = other.tats
		}
	}
	s.names[name] = b
	return b, nil
}

type bucket struct {
	store  *store
	limits []ratelimit.Limit
	tats   map[string][]*big.Int // of each limit, in 1/Events ns
}

func (b *bucket) Take(ctx context.Context, key string, n int) (ratelimit.Result, error) {
	s := b.store
	if s.flaw == "no atomicity" {
		s.mu.Lock()
		before := b.state(key)
		s.mu.Unlock()
		runtime.Gosched()
		s.mu.Lock()
		b.tats[key] = before
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case key == "" && s.flaw != "no key is a key":
		return ratelimit.Result{}, ratelimit.ErrNoKey
	case n == 0 && s.flaw != "no cost is free":
		return ratelimit.Result{}, ratelimit.ErrCost
	case s.flaw == "done context is allowed" && ctx.Err() != nil:
		return ratelimit.Result{Allowed: true}, nil
	}
	for _, l := range b.limits {
		if n > l.Burst && s.flaw != "any cost" {
			return ratelimit.Result{}, ratelimit.ErrCostExceedsBurst
		}
	}
	switch s.flaw {
	case "keys are cut":
		key = key[:min(len(key), 1000)]
	case "keys end at NUL":
		key, _, _ = strings.Cut(key, "\x00")
	case "keys ignore case":
		key = strings.ToLower(key)
	case "cost is ignored":
		n = min(n, 1)
	}
	return b.decide(key, n), nil
}

// state returns a copy of what key owes.
func (b *bucket) state(key string) []*big.Int {
	tats := make([]*big.Int, len(b.limits))
	for i := range tats {
		tats[i] = new(big.Int)
		if have := b.tats[key]; i < len(have) {
			tats[i].Set(have[i])
		}
	}
	return tats
}

func (b *bucket) decide(key string, n int) ratelimit.Result {
	flaw := b.store.flaw
	var refused, allowed ratelimit.Result
	tats := b.state(key)
	for i, l := range b.limits {
		events, per, burst := big.NewInt(int64(l.Events)), big.NewInt(int64(l.Per)), big.NewInt(int64(l.Burst))
		if flaw == "the rate drifts" {
			events, per = big.NewInt(1), big.NewInt(int64(l.Per)/int64(l.Events))
		}
		now := new(big.Int).Mul(big.NewInt(int64(b.store.now)), events)
		debt := new(big.Int).Sub(tats[i], now)
		if debt.Sign() < 0 && flaw != "idle saves up" && flaw != "giving back saves up" {
			debt.SetInt64(0)
		}
		window := new(big.Int).Mul(burst, per)
		if flaw == "the burst is one more" {
			window.Add(window, per)
		}
		after := new(big.Int).Add(debt, new(big.Int).Mul(big.NewInt(int64(n)), per))
		if after.Sign() < 0 && flaw != "giving back saves up" {
			after.SetInt64(0)
		}
		if n < 0 && flaw == "nothing is given back" {
			after.Set(debt)
		}
		over := new(big.Int).Sub(after, window)
		if over.Sign() > 0 {
			res := ratelimit.Result{
				Limit: l, Remaining: quo(new(big.Int).Sub(window, debt), per),
				RetryAfter: ceil(over, events), ResetAfter: ceil(debt, events),
			}
			switch {
			case flaw == "early RetryAfter":
				res.RetryAfter = res.RetryAfter/2 + 1
			case flaw == "RetryAfter 1 ns early":
				res.RetryAfter--
			case flaw == "late RetryAfter":
				res.RetryAfter += time.Millisecond
			case flaw == "shortest RetryAfter" && refused.RetryAfter > 0:
				continue
			}
			if res.RetryAfter > refused.RetryAfter {
				refused = res
			}
			if flaw == "a refusal takes" {
				b.tats[key] = nil
				tats[i].Add(now, after)
				b.tats[key] = tats
			}
			continue
		}
		tats[i] = new(big.Int).Add(now, after)
		res := ratelimit.Result{Allowed: true, Limit: l, Remaining: quo(new(big.Int).Neg(over), per), ResetAfter: ceil(after, events)}
		switch flaw {
		case "Remaining is off by one":
			res.Remaining++
		case "ResetAfter is off":
			res.ResetAfter /= 2
		}
		if allowed.Limit.Burst == 0 || res.Remaining*allowed.Limit.Burst < allowed.Remaining*l.Burst && flaw != "the first limit" {
			allowed = res
		}
	}
	if refused.RetryAfter > 0 && flaw == "some limits take" {
		b.tats[key] = tats
	}
	if refused.RetryAfter > 0 && (flaw != "the first limit decides" || allowed.Limit != b.limits[0]) {
		return refused
	}
	b.tats[key] = tats
	if flaw == "few keys" && len(b.tats) > 100 {
		clear(b.tats)
	}
	return allowed
}

func quo(x, per *big.Int) int { return int(new(big.Int).Quo(x, per).Int64()) }

func ceil(x, events *big.Int) time.Duration {
	q, r := new(big.Int).QuoRem(x, events, new(big.Int))
	if r.Sign() > 0 {
		q.Add(q, big.NewInt(1))
	}
	if !q.IsInt64() {
		return math.MaxInt64
	}
	return time.Duration(q.Int64())
}

func subject(flaw string, frozen bool) storetest.Subject {
	var s *store
	return storetest.Subject{
		New:     func(*testing.T) ratelimit.Store { s = &store{flaw: flaw}; return s },
		Advance: func(d time.Duration) { s.advance(d) },
		Frozen:  frozen,
	}
}

func TestRun(t *testing.T) {
	t.Run("frozen", func(t *testing.T) { storetest.Run(t, subject("", true)) })
	t.Run("running", func(t *testing.T) { storetest.Run(t, subject("", false)) })
}

const flawVariable = "STORETEST_FLAW"

// TestFlawed fails, in the processes that TestRunFindsFlaws starts.
func TestFlawed(t *testing.T) {
	flaw := os.Getenv(flawVariable)
	if flaw == "" {
		t.Skip("runs only as a child of TestRunFindsFlaws")
	}
	if flaw == "no subject" {
		storetest.Run(t, storetest.Subject{})
	}
	storetest.Run(t, subject(flaw, true))
}

// Each flaw makes the case fail that is about it. A suite which can't fail
// proves nothing.
func TestRunFindsFlaws(t *testing.T) {
	for _, c := range []struct{ flaw, fails string }{
		{"no subject", "TestFlawed"},
		{"a name opens twice", "names"},
		{"names meet", "names"},
		{"no atomicity", "atomic"},
		{"no key is a key", "bad_input"},
		{"no cost is free", "bad_input"},
		{"any cost", "bad_input"},
		{"done context is allowed", "done_context"},
		{"keys are cut", "hostile_keys"},
		{"keys end at NUL", "hostile_keys"},
		{"keys ignore case", "hostile_keys"},
		{"cost is ignored", "cost"},
		{"the rate drifts", "no_drift"},
		{"idle saves up", "idle_saves_nothing"},
		{"the burst is one more", "burst"},
		{"giving back saves up", "give_back"},
		{"nothing is given back", "give_back"},
		{"early RetryAfter", "retry_after"},
		{"RetryAfter 1 ns early", "exact_times"},
		{"late RetryAfter", "exact_times"},
		{"shortest RetryAfter", "tightest_limit"},
		{"a refusal takes", "refusal_takes_nothing"},
		{"some limits take", "all_or_none"},
		{"the first limit decides", "order_of_limits"},
		{"the first limit", "tightest_limit"},
		{"Remaining is off by one", "result"},
		{"ResetAfter is off", "reset_after"},
		{"few keys", "many_keys"},
		{"windows are ignored", "windows"},
	} {
		t.Run(c.flaw, func(t *testing.T) {
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFlawed$", "-test.timeout=60s") //nolint:gosec // this very binary
			child.Env = append(os.Environ(), flawVariable+"="+c.flaw)
			out, err := child.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) {
				t.Fatalf("the suite ended with %v, want a failure:\n%s", err, out)
			}
			failed := regexp.MustCompile(`(?m)^\s*--- FAIL: (?:TestFlawed/)?` + c.fails + ` `)
			if !failed.Match(out) {
				t.Errorf("the case %s didn't fail:\n%s", c.fails, out)
			}
		})
	}
}
