// Stack measures what a whole chain costs over loopback. It serves the same
// POST route three ways, each in a process of its own: by a bare net/http
// handler that reads the body, behind Sallyport's doors (recover, headers,
// client address, a limit that is never reached, bearer HS256, scope, JSON
// validation), and behind those that are usually glued together for this (chi,
// jwtauth, httprate, validator). It loads them in turn with wrk (Debian's
// package of that name), so that a slow moment of the machine meets all three,
// and prints the ratios within each round and their medians.
//
//	go run ./stack [-rounds 6] [-duration 4s]
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const body = `{"name":"Plumbus","price":9.5,"tags":["home","garden","a"]}`

// stacks are the ways to serve, in the order of the table. Each returns the
// handler and the Authorization field that it wants.
var stacks = []struct {
	name  string
	serve func() (http.Handler, string, error)
}{
	{"bare", bare},
	{"sallyport", sallyportStack},
	{"peers", peers},
}

func main() {
	serve := flag.String("serve", "", "serve this stack (the command starts itself so)")
	rounds := flag.Int("rounds", 6, "how many rounds")
	duration := flag.Duration("duration", 4*time.Second, "how long to load each stack in a round")
	flag.Parse()
	var err error
	if *serve != "" {
		err = serveStack(*serve)
	} else {
		err = measure(*rounds, *duration)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// serveStack serves until standard input ends. It prints the address and the
// Authorization field first.
func serveStack(name string) error {
	for _, s := range stacks {
		if s.name != name {
			continue
		}
		h, authorization, err := s.serve()
		if err != nil {
			return err
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		fmt.Println(ln.Addr())
		fmt.Println(authorization)
		go func() {
			_, _ = bufio.NewReader(os.Stdin).ReadByte() // the parent is gone
			os.Exit(0)
		}()
		srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
		return srv.Serve(ln)
	}
	return fmt.Errorf("there is no stack %q", name)
}

// A target is a running stack.
type target struct {
	name   string
	addr   string
	script string
	stop   func()
}

func measure(rounds int, duration time.Duration) error {
	if _, err := exec.LookPath("wrk"); err != nil {
		return errors.New("wrk is missing: install Debian's package wrk")
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "stack")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	var targets []target
	for _, s := range stacks {
		t, err := start(self, s.name, dir)
		if err != nil {
			return err
		}
		defer t.stop()
		targets = append(targets, t)
	}
	for _, t := range targets { // warm up
		if _, err := load(t, time.Second); err != nil {
			return err
		}
	}
	rates := make(map[string][]float64)
	for round := range rounds {
		for i := range targets {
			t := targets[(i+round)%len(targets)] // nobody is always the first
			rate, err := load(t, duration)
			if err != nil {
				return err
			}
			rates[t.name] = append(rates[t.name], rate)
		}
		fmt.Printf("round %d:", round+1)
		for _, t := range targets {
			fmt.Printf("  %s %.0f/s", t.name, rates[t.name][round])
		}
		fmt.Println()
	}
	fmt.Printf("\n| stack | req/s (median of %d) | ratio to bare (median) | least | most |\n|---|---|---|---|---|\n", rounds)
	for _, t := range targets {
		var ratios []float64
		for i, rate := range rates[t.name] {
			ratios = append(ratios, rate/rates["bare"][i])
		}
		fmt.Printf("| %s | %.0f | %.2f | %.2f | %.2f |\n", t.name, median(rates[t.name]), median(ratios), slices.Min(ratios), slices.Max(ratios))
	}
	return nil
}

func start(self, name, dir string) (target, error) {
	cmd := exec.Command(self, "-serve", name) //nolint:gosec // itself
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return target{}, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return target{}, err
	}
	if err := cmd.Start(); err != nil {
		return target{}, err
	}
	t := target{name: name, script: filepath.Join(dir, name+".lua"), stop: func() { _ = stdin.Close(); _ = cmd.Wait() }}
	out := bufio.NewReader(stdout)
	addr, err := out.ReadString('\n')
	if err != nil {
		return t, fmt.Errorf("starting %s: %w", name, err)
	}
	authorization, err := out.ReadString('\n')
	if err != nil {
		return t, fmt.Errorf("starting %s: %w", name, err)
	}
	t.addr = strings.TrimSpace(addr)
	script := "wrk.method = \"POST\"\nwrk.body = '" + body + "'\n" +
		"wrk.headers[\"Content-Type\"] = \"application/json\"\n" +
		"wrk.headers[\"Authorization\"] = \"" + strings.TrimSpace(authorization) + "\"\n"
	return t, os.WriteFile(t.script, []byte(script), 0o600)
}

var (
	rateLine = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)
	badLine  = regexp.MustCompile(`Non-2xx or 3xx responses|Socket errors`)
)

func load(t target, d time.Duration) (float64, error) {
	out, err := exec.Command("wrk", "-t1", "-c32", "-d"+strconv.Itoa(int(d.Seconds()))+"s", "-s", t.script, "http://"+t.addr+"/items").CombinedOutput() //nolint:gosec // fixed arguments
	if err != nil {
		return 0, fmt.Errorf("wrk: %w: %s", err, out)
	}
	m := rateLine.FindSubmatch(out)
	if m == nil || badLine.Match(out) {
		return 0, fmt.Errorf("%s answers wrongly: %s", t.name, out)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}
