package redisstore_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/bits"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/internal/redistest"
	"github.com/sallyport/sallyport/ratelimit"
	"github.com/sallyport/sallyport/ratelimit/redisstore"
)

var load = flag.Duration("load", 3*time.Second, "how long TestExact asks; for a minute or more on a quiet machine it also checks that hardly less is admitted than may be")

// least is how many of those that may be admitted must be. A machine that does other
// things may not come to ask.
func least(most int64) int64 {
	if *load < time.Minute {
		return most / 20
	}
	return most * 99 / 100
}

// A job is what one process of several does: 16 goroutines ask, each for one key, as
// fast as they may.
type job struct {
	Addrs   []string // of a cluster, if there are several
	Time    string   // the server that tells the time
	Keys    int
	Load    time.Duration
	Timeout time.Duration
	Lease   int
}

// A report is what came of a job.
type report struct {
	Start, End int64   // by the clock of Redis, in microseconds: before the first and after the last
	Allowed    []int64 // of each key
	Errors     int64
}

// exactLimit is no whole number of microseconds, and no whole number of them in a day.
var exactLimit = ratelimit.Limit{Events: 1001, Per: time.Second, Burst: 500}

const jobVariable = "REDISSTORE_JOB"

// TestJob is what the processes run that other tests start.
func TestJob(t *testing.T) {
	text := os.Getenv(jobVariable)
	if text == "" {
		t.Skip("it is for the processes that other tests start")
	}
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		t.Fatal(err)
	}
	r, err := j.run(t)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewEncoder(os.Stderr).Encode(r); err != nil {
		t.Fatal(err)
	}
}

func (j *job) run(t *testing.T) (*report, error) {
	client := redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: j.Addrs, IsClusterMode: len(j.Addrs) > 1, ContextTimeoutEnabled: true, DialerRetries: 1,
	})
	defer client.Close()
	s := newStore(t, redisstore.Config{Client: client, Timeout: j.Timeout, Lease: redisstore.Lease{Events: j.Lease}})
	b := open(t, s, "exact", exactLimit)
	clock := single(t, j.Time)
	now := func() (int64, error) {
		at, err := clock.Time(context.Background()).Result()
		return at.UnixMicro(), err
	}
	r := &report{Allowed: make([]int64, j.Keys)}
	var err error
	if r.Start, err = now(); err != nil {
		return nil, err
	}
	end := time.Now().Add(j.Load)
	var wg sync.WaitGroup
	for i := range 16 {
		key := i % j.Keys // one of its own, so that nothing else holds it up
		wg.Go(func() {
			for time.Now().Before(end) {
				res, err := b.Take(context.Background(), fmt.Sprint(key), 1)
				switch {
				case err != nil:
					atomic.AddInt64(&r.Errors, 1)
					time.Sleep(time.Millisecond)
				case res.Allowed:
					atomic.AddInt64(&r.Allowed[key], 1)
				default:
					time.Sleep(res.RetryAfter)
				}
			}
		})
	}
	wg.Wait()
	r.End, err = now()
	return r, err
}

// start runs a job in n processes, and returns a function that waits for what came of
// them together.
func (j job) start(t *testing.T, n int) (wait func() *report) {
	t.Helper()
	text, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	reports := make([]report, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestJob$")
			cmd.Env = append(os.Environ(), jobVariable+"="+string(text))
			var told strings.Builder
			cmd.Stderr = &told
			out, err := cmd.Output()
			if err == nil {
				err = json.Unmarshal([]byte(told.String()), &reports[i])
			}
			if err != nil {
				t.Errorf("process %d: %v\n%s%s", i, err, out, told.String())
			}
		})
	}
	return func() *report {
		wg.Wait()
		all := &report{Start: reports[0].Start, Allowed: make([]int64, j.Keys)}
		for _, r := range reports {
			all.Start, all.End = min(all.Start, r.Start), max(all.End, r.End)
			all.Errors += r.Errors
			for key, n := range r.Allowed {
				all.Allowed[key] += n
			}
		}
		return all
	}
}

// most is how many events the limit allows between Start and End.
func (r *report) most() int64 {
	hi, lo := bits.Mul64(uint64(r.End-r.Start), uint64(exactLimit.Events))
	n, _ := bits.Div64(hi, lo, uint64(exactLimit.Per.Microseconds()))
	return int64(exactLimit.Burst) + int64(n)
}

// What many processes admit is never more than the limit allows in the time that has
// passed for Redis, and hardly less. Leases change nothing about that but for what is
// left of them.
func TestExact(t *testing.T) {
	const processes = 8
	for _, lease := range []int{0, 8} {
		t.Run(fmt.Sprint("lease of ", lease), func(t *testing.T) {
			addr := redistest.Start(t).Addr
			j := job{Addrs: []string{addr}, Time: addr, Keys: 1, Load: *load, Timeout: patience, Lease: lease}
			r := j.start(t, processes)()
			got, most := r.Allowed[0], r.most()
			t.Logf("%d of %d were allowed in %d µs", got, most, r.End-r.Start)
			if got > most || r.Errors > 0 {
				t.Errorf("%d were allowed, and there were %d errors, want no more than %d and none", got, r.Errors, most)
			}
			if want := least(most) - int64(processes*lease); got < want {
				t.Errorf("%d were allowed, want %d of %d or more", got, want, most)
			}
		})
	}
}

// When a replica takes over it may lack what was spent last: then the keys of that node
// are allowed that much more, no more than their burst and what is regained. All
// others are exact, and not held up.
func TestExactWithFailover(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes 10 seconds")
	}
	const processes, keys = 4, 12
	nodes := redistest.StartCluster(t, "--cluster-require-full-coverage", "no")
	redistest.StartReplica(t, nodes[0])
	j := job{Time: nodes[1].Addr, Keys: keys, Load: max(*load, 9*time.Second), Timeout: time.Second}
	for _, node := range nodes {
		j.Addrs = append(j.Addrs, node.Addr)
	}
	// Where the keys are: the first ones that are there are theirs.
	client := cluster(t, nodes)
	b := open(t, newStore(t, redisstore.Config{Client: client}), "exact", exactLimit)
	first := make([]bool, keys) // that are on the node which stops
	for key := range keys {
		name := redisstore.KeyName(b, fmt.Sprint(key))
		node, err := client.MasterForKey(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		first[key] = node.Options().Addr == nodes[0].Addr
	}
	wait := j.start(t, processes)
	time.Sleep(j.Load / 3)
	nodes[0].Stop()
	r := wait()
	most := r.most()
	over, after := int64(0), int64(0)
	for key, got := range r.Allowed {
		switch {
		case !first[key] && got > most:
			t.Errorf("key %d of a node that was up: %d were allowed, want no more than %d", key, got, most)
		case !first[key] && got < least(most):
			t.Errorf("key %d of a node that was up: %d were allowed, want %d or more", key, got, least(most))
		case got > most+int64(exactLimit.Burst):
			t.Errorf("key %d of the node that stopped: %d were allowed, want no more than %d and a burst", key, got, most)
		}
		if first[key] {
			over, after = max(over, got-most), max(after, got)
		}
	}
	t.Logf("%d errors; of %d, keys of the node that stopped were allowed %d at most, %d more than without", r.Errors, most, after, over)
	if r.Errors == 0 {
		t.Error("there were no errors, so nothing has stopped")
	}
}
