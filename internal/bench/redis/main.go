// Redis measures limits in Redis: Sallyport's, those of its peers, and the least script
// that keeps one, run by redis-benchmark, which is the limit of what one round trip for
// each decision can do. It writes the tables into README.md, between the lines <!-- redis -->
// and <!-- /redis -->. It needs redis-server and redis-benchmark in the PATH.
//
//	go run ./redis [-rounds 6] [-time 0.5s] [-file README.md]
//
// It runs all contenders once in each round, one after the other, so that a slow moment
// of the machine meets them all; ratios are taken within a round, and their medians are
// what counts. With -file "" it prints the tables only. A target that is missed is said
// in the tables, and is no error.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/internal/proctest"
	"github.com/sallyport/sallyport/ratelimit"
)

const (
	keys      = 10_000
	benchmark = "redis-benchmark"
)

var (
	callers = []int{1, 16, 128}
	// limit is one that is not reached.
	limit = ratelimit.Limit{Events: 1_000_000, Per: time.Second, Burst: 1_000_000}
)

// A sample is what one contender did in one round.
type sample struct {
	rate   float64 // decisions per second
	p99    time.Duration
	writes float64 // per decision
}

// samples are those of each contender and number of callers, round by round.
type samples map[string]map[int][]sample

func main() {
	rounds := flag.Int("rounds", 6, "how many rounds")
	length := flag.Duration("time", 500*time.Millisecond, "how long to run each contender in a round")
	file := flag.String("file", "README.md", "the file to write the tables into")
	flag.Parse()
	if err := report(*rounds, *length, *file); err != nil {
		log.Fatal(err)
	}
}

func report(rounds int, length time.Duration, file string) error {
	if rounds < 1 {
		return fmt.Errorf("-rounds is %d", rounds)
	}
	addr, stop, err := startRedis()
	if err != nil {
		return err
	}
	defer stop()
	all := make(samples)
	for round := range rounds {
		for _, n := range callers {
			if err := all.round(addr, n, length); err != nil {
				return err
			}
		}
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, rounds)
	}
	text := all.tables(rounds)
	fmt.Println(text)
	if file == "" {
		return nil
	}
	return replace(file, text)
}

// round runs all contenders once, each time in another order.
func (all samples) round(addr string, n int, length time.Duration) error {
	order := rand.Perm(len(contenders) + 1) //nolint:gosec // no secret
	for _, i := range order {
		name := benchmark
		var s sample
		var err error
		if i == len(contenders) {
			s, err = runBenchmark(addr, n, length)
		} else {
			name = contenders[i].name
			s, err = run(addr, contenders[i], n, length)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if all[name] == nil {
			all[name] = make(map[int][]sample)
		}
		all[name][n] = append(all[name][n], s)
	}
	return nil
}

// run has n callers ask a contender.
func run(addr string, c contender, n int, length time.Duration) (sample, error) {
	var writes atomic.Int64
	take, end, err := c.open(addr, limit, &writes)
	if err != nil {
		return sample{}, err
	}
	defer end()
	names := make([]string, keys)
	for i := range names {
		names[i] = "192.0.2." + strconv.Itoa(i)
	}
	var failure atomic.Pointer[error]
	ask := func(took *[]time.Duration, until time.Time) {
		for {
			start := time.Now()
			if start.After(until) {
				return
			}
			allowed, err := take(context.Background(), names[rand.IntN(keys)]) //nolint:gosec // no secret
			if err == nil && !allowed {
				err = fmt.Errorf("it was refused")
			}
			if err != nil {
				failure.Store(&err)
				return
			}
			*took = append(*took, time.Since(start))
		}
	}
	together := func(length time.Duration) []time.Duration {
		times := make([][]time.Duration, n)
		until := time.Now().Add(length)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() { ask(&times[i], until) })
		}
		wg.Wait()
		return slices.Concat(times...)
	}
	together(length / 5) // it connects
	before, start := writes.Load(), time.Now()
	times := together(length)
	passed := time.Since(start)
	if err := failure.Load(); err != nil {
		return sample{}, *err
	}
	slices.Sort(times)
	return sample{
		rate:   float64(len(times)) / passed.Seconds(),
		p99:    times[len(times)*99/100],
		writes: float64(writes.Load()-before) / float64(len(times)),
	}, nil
}

var csvLine = regexp.MustCompile(`(?m)^"[^"]*","([0-9.]+)","[0-9.]+","[0-9.]+","[0-9.]+","[0-9.]+","([0-9.]+)"`)

// runBenchmark has redis-benchmark run the script over n connections.
func runBenchmark(addr string, n int, length time.Duration) (sample, error) {
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer func() { _ = client.Close() }()
	hash, err := client.ScriptLoad(context.Background(), script).Result()
	if err != nil {
		return sample{}, err
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return sample{}, err
	}
	interval, window := micros(limit)
	requests := int(length.Seconds() * 15_000 * float64(min(n, 4)))
	out, err := exec.Command(benchmark, "-h", host, "-p", port, "-c", strconv.Itoa(n), "-n", strconv.Itoa(requests), //nolint:gosec // fixed arguments
		"-r", strconv.Itoa(keys), "--csv", "EVALSHA", hash, "1", "bench:__rand_int__", strconv.FormatInt(interval, 10), strconv.FormatInt(window, 10)).CombinedOutput()
	if err != nil {
		return sample{}, fmt.Errorf("%w: %s", err, out)
	}
	m := csvLine.FindSubmatch(out)
	if m == nil {
		return sample{}, fmt.Errorf("it printed %q", out)
	}
	rate, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		return sample{}, err
	}
	p99, err := strconv.ParseFloat(string(m[2]), 64)
	return sample{rate: rate, p99: time.Duration(p99 * float64(time.Millisecond)), writes: 1}, err
}

// startRedis starts a server on a free loopback port.
func startRedis() (addr string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	addr = l.Addr().String()
	if err := l.Close(); err != nil {
		return "", nil, err
	}
	_, port, _ := net.SplitHostPort(addr)
	p, err := proctest.Start(exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"), "9") //nolint:gosec // a port
	if err != nil {
		return "", nil, err
	}
	stop = func() { p.End(os.Kill) }
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer func() { _ = client.Close() }()
	for range 100 {
		if err = client.Ping(context.Background()).Err(); err == nil {
			return addr, stop, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	stop()
	return "", nil, err
}

// replace puts text between the marks in a file.
func replace(file, text string) error {
	old, err := os.ReadFile(file) //nolint:gosec // named by the user
	if err != nil {
		return err
	}
	begin, end := []byte("<!-- redis -->\n"), []byte("<!-- /redis -->")
	i, j := bytes.Index(old, begin), bytes.Index(old, end)
	if i < 0 || j < i {
		return fmt.Errorf("%s has no lines %sand %s", file, begin, end)
	}
	updated := slices.Concat(old[:i+len(begin)], []byte("\n"+text+"\n"), old[j:])
	return os.WriteFile(file, updated, 0o644) //nolint:gosec // a document
}
