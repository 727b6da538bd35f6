package redisstore_test

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/internal/redistest"
	"github.com/sallyport/sallyport/ratelimit"
	"github.com/sallyport/sallyport/ratelimit/redisstore"
)

// A fakeClock is the time of a store with SetClock, in microseconds since 1970.
type fakeClock struct {
	t      testing.TB
	client *redis.Client
	now    int64
}

func (c *fakeClock) set(now int64) {
	c.now = now
	if err := c.client.MSet(c.t.Context(), redisstore.ClockSeconds, now/1e6, redisstore.ClockMicros, now%1e6).Err(); err != nil {
		c.t.Fatal(err)
	}
}

// A step of a sequence: a while later n events of a key are asked for.
type step struct {
	after time.Duration
	key   string
	n     int
}

// A model is a limit in exact arithmetic: times are counted in 1/Events ns.
type model struct {
	limit ratelimit.Limit
	tat   map[string]*big.Int
}

func scaled(n, by int64) *big.Int { return new(big.Int).Mul(big.NewInt(n), big.NewInt(by)) }

// debt is what key owes at a time in ns.
func (m *model) debt(key string, now *big.Int) *big.Int {
	at := new(big.Int).Mul(now, big.NewInt(int64(m.limit.Events)))
	if tat := m.tat[key]; tat != nil && tat.Cmp(at) > 0 {
		return at.Sub(tat, at)
	}
	return new(big.Int)
}

func (m *model) set(key string, now, debt *big.Int) {
	at := new(big.Int).Mul(now, big.NewInt(int64(m.limit.Events)))
	m.tat[key] = at.Add(at, debt)
}

// ns is a span in ns, rounded up, and 0 if it is none.
func (m *model) ns(units *big.Int) time.Duration {
	if units.Sign() <= 0 {
		return 0
	}
	q, r := new(big.Int).QuoRem(units, big.NewInt(int64(m.limit.Events)), new(big.Int))
	if r.Sign() > 0 {
		q.Add(q, big.NewInt(1))
	}
	return time.Duration(q.Int64())
}

// decide is what Take must return for limits that are kept by models, at a time in ns.
func decide(models []*model, key string, now *big.Int, n int) ratelimit.Result {
	var refused ratelimit.Result
	debts := make([]*big.Int, len(models))
	result := func(i int) ratelimit.Result {
		m := models[i]
		left := new(big.Int).Sub(scaled(int64(m.limit.Burst), int64(m.limit.Per)), debts[i])
		return ratelimit.Result{Limit: m.limit, Remaining: int(left.Quo(left, big.NewInt(int64(m.limit.Per))).Int64()), ResetAfter: m.ns(debts[i])}
	}
	for i, m := range models {
		debts[i] = m.debt(key, now)
		over := new(big.Int).Add(debts[i], scaled(int64(n), int64(m.limit.Per)))
		over.Sub(over, scaled(int64(m.limit.Burst), int64(m.limit.Per)))
		if wait := m.ns(over); wait > refused.RetryAfter {
			refused = result(i)
			refused.RetryAfter = wait
		}
	}
	if refused.RetryAfter > 0 {
		return refused
	}
	var least ratelimit.Result
	for i, m := range models {
		debts[i].Add(debts[i], scaled(int64(n), int64(m.limit.Per)))
		if debts[i].Sign() < 0 { // given back more than was spent
			debts[i].SetInt64(0)
		}
		m.set(key, now, debts[i])
		res := result(i)
		res.Allowed = true
		if least.Limit.Burst == 0 || big.NewRat(int64(res.Remaining), int64(res.Limit.Burst)).Cmp(big.NewRat(int64(least.Remaining), int64(least.Limit.Burst))) < 0 {
			least = res
		}
	}
	return least
}

// Every result, to the nanosecond, is that of exact arithmetic, and that of the memory
// store: for rates that are no whole number of microseconds, very fast and very slow
// ones, and several limits at once; today and in the last years that count.
func TestResultsEqualModelAndMemory(t *testing.T) {
	server := redistest.Start(t)
	client := single(t, server.Addr)
	const keys, steps = 3, 400
	for _, limits := range [][]ratelimit.Limit{
		{ratelimit.PerSecond(10)},
		{ratelimit.PerSecond(3)},
		{ratelimit.PerSecond(3).WithBurst(1)},
		{ratelimit.PerMinute(7).WithBurst(100)},
		{ratelimit.PerSecond(999_983).WithBurst(40)},
		{ratelimit.PerSecond(1_000_000_000).WithBurst(123_456)},
		{ratelimit.PerDay(1_000_003)},
		{ratelimit.PerDay(86_399).WithBurst(2)},
		{{Events: 7, Per: 3_001}},
		{{Events: 4_503_599_627_370, Per: 1_000_003 * time.Second}},
		{{Events: 4_503_599_627_370, Per: 7 * time.Second, Burst: 1 << 40}},
		{{Events: 1 << 62, Per: time.Hour, Burst: 1 << 50}},
		{{Events: 1, Per: 142 * 365 * 24 * time.Hour}},
		{ratelimit.PerSecond(10).WithBurst(20), ratelimit.PerHour(1000)},
		{ratelimit.PerSecond(3), ratelimit.PerSecond(7).WithBurst(4), ratelimit.PerMinute(60).WithBurst(90), ratelimit.PerDay(1_000_003)},
	} {
		for name, start := range map[string]int64{
			"today":         time.Now().UnixMicro(),
			"until it ends": 1<<52 - (steps * longestStep).Microseconds(), // in 2112
		} {
			t.Run(fmt.Sprint(limits, " ", name), func(t *testing.T) {
				rnd := rand.New(rand.NewPCG(uint64(len(limits)), uint64(limits[0].Per)))
				seq, want := sequence(t, rnd, limits, start, keys, steps)

				redisEquals(t, client, limits, start, seq, want)
				memoryEquals(t, limits, seq, want)
			})
		}
	}
}

// longestStep keeps sequences within the time that stores can tell.
const longestStep = 36 * 24 * time.Hour

// sequence makes up steps and what must come of them.
func sequence(t *testing.T, rnd *rand.Rand, limits []ratelimit.Limit, start int64, keys, steps int) ([]step, []ratelimit.Result) {
	t.Helper()
	models := make([]*model, len(limits))
	most := math.MaxInt
	for i, l := range limits {
		if l.Burst == 0 {
			l.Burst = l.Events
		}
		models[i] = &model{limit: l, tat: make(map[string]*big.Int)}
		most = min(most, l.Burst)
	}
	now := scaled(start, 1000)
	var seq []step
	var want []ratelimit.Result
	var seen [2]int
	var after time.Duration
	for range steps {
		st := step{after: after, key: strconv.Itoa(rnd.IntN(keys)), n: 1}
		switch rnd.IntN(6) {
		case 0, 1:
			st.n = 1 + int(rnd.Int64N(int64(most)))
		case 2:
			st.n = max(1, most-int(rnd.Int64N(int64(min(most, 5)))))
		case 3:
			if rnd.IntN(3) == 0 {
				st.n = -1 - int(rnd.Int64N(int64(most)))
			}
		}
		now.Add(now, big.NewInt(int64(after)))
		res := decide(models, st.key, now, st.n)
		seq, want = append(seq, st), append(want, res)
		if res.Allowed {
			seen[0]++
		} else {
			seen[1]++
		}
		const us = time.Microsecond
		switch rnd.IntN(5) {
		case 0:
			after = 0
		case 1:
			after = res.RetryAfter.Truncate(us) // the last moment at which it is too early, or the first
		case 2:
			after = (res.RetryAfter + us - 1).Truncate(us) // the first moment
		case 3:
			after = time.Duration(rnd.Int64N(int64(res.ResetAfter) + 2)).Truncate(us)
		default:
			after = time.Duration(rnd.IntN(3)) * us
		}
		after = min(after, longestStep)
	}
	if seen[0] < steps/20 || seen[1] < steps/20 {
		t.Errorf("%d were allowed and %d refused, so the test shows little", seen[0], seen[1])
	}
	return seq, want
}

// redisEquals checks that Redis, whose clock is at start first, returns the same.
func redisEquals(t *testing.T, client *redis.Client, limits []ratelimit.Limit, start int64, seq []step, want []ratelimit.Result) {
	t.Helper()
	s := newStore(t, redisstore.Config{Client: client, Prefix: prefix(), MaxDenials: -1})
	redisstore.SetClock(s)
	b := open(t, s, "b", limits...)
	clock := &fakeClock{t: t, client: client}
	clock.set(start)
	for i, st := range seq {
		if st.after > 0 {
			clock.set(clock.now + st.after.Microseconds())
		}
		if got := take(t, b, st.key, st.n); got != want[i] {
			t.Fatalf("step %d, %+v, at %s:\n got %+v,\nwant %+v", i, st, time.UnixMicro(clock.now).UTC(), got, want[i])
		}
	}
}

// memoryEquals checks that the memory store returns the same.
func memoryEquals(t *testing.T, limits []ratelimit.Limit, seq []step, want []ratelimit.Result) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		memory, err := ratelimit.NewMemory(ratelimit.MemoryConfig{})
		if err != nil {
			t.Fatal(err)
		}
		b := open(t, memory, "b", limits...)
		for i, st := range seq {
			time.Sleep(st.after)
			got := take(t, b, st.key, st.n)
			if got != want[i] && st.n > 0 {
				t.Fatalf("step %d, %+v: the memory store says\n     %+v,\nwant %+v", i, st, got, want[i])
			}
		}
	})
}

// Requests that travel together are decided one after the other, those of one key
// too. One that tries more first gets what it needs if there isn't as much.
func TestTogetherEqualsModel(t *testing.T) {
	client := single(t, redistest.Start(t).Addr)
	for _, limits := range [][]ratelimit.Limit{
		{ratelimit.PerSecond(4).WithBurst(9)},
		{ratelimit.PerSecond(3).WithBurst(9)},
		{ratelimit.PerSecond(3).WithBurst(9), ratelimit.PerMinute(60).WithBurst(20)},
	} {
		t.Run(fmt.Sprint(limits), func(t *testing.T) { togetherEqualsModel(t, client, limits) })
	}
}

func togetherEqualsModel(t *testing.T, client *redis.Client, limits []ratelimit.Limit) {
	t.Helper()
	models := make([]*model, len(limits))
	for i, l := range limits {
		models[i] = &model{limit: l, tat: make(map[string]*big.Int)}
	}
	s := newStore(t, redisstore.Config{Client: client, Prefix: prefix()})
	redisstore.SetClock(s)
	b := open(t, s, "b", limits...)
	clock := &fakeClock{t: t, client: client, now: time.Now().UnixMicro()}
	rnd := rand.New(rand.NewPCG(1, uint64(len(limits))))
	var seen [3]int
	for round := range 60 {
		clock.set(clock.now + rnd.Int64N(2_000_000))
		now := scaled(clock.now, 1000)
		size := 1 + rnd.IntN(128)
		keys, n, first, want := make([]string, size), make([]int, size), make(map[int]int), make([]ratelimit.Result, size)
		for i := range size {
			keys[i], n[i] = strconv.Itoa(rnd.IntN(1+size/4)), 1
			switch rnd.IntN(5) {
			case 0:
				n[i] = 1 + rnd.IntN(9)
			case 1:
				n[i] = -1 - rnd.IntN(12)
			case 2:
				first[i] = 1 + rnd.IntN(9)
				want[i] = decide(models, keys[i], now, first[i])
				seen[0]++
			}
			if !want[i].Allowed {
				want[i] = decide(models, keys[i], now, n[i])
				seen[1]++
			}
			if !want[i].Allowed {
				seen[2]++
			}
		}
		got, err := redisstore.TakeTogether(t.Context(), b, keys, n, first)
		if err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("round %d, %d of %d, key %s, %d, first %d:\n got %+v,\nwant %+v", round, i, size, keys[i], n[i], first[i], got[i], want[i])
			}
		}
	}
	if seen[0] < 100 || seen[1] < 100 || seen[2] < 100 {
		t.Errorf("got %d that tried more, %d that asked for what they need, and %d refusals: the test shows little", seen[0], seen[1], seen[2])
	}
}
