// Scan runs scanners against the quickstart, over HTTPS and plain, and writes what they say
// into one report.
//
//	go run ./internal/scan [-file scan.txt] [-slow 15s]
//
// It takes nmap, sslscan, testssl, wapiti and slowhttptest (Debian's packages nmap, sslscan,
// testssl.sh, wapiti and slowhttptest), in their checks that call nobody outside. It exits
// with 1 if there is a finding that is not explained in explained.go. All of it runs on
// loopback, in about two minutes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	file := flag.String("file", "scan.txt", "the report to write")
	slow := flag.Duration("slow", 15*time.Second, "how long each mode of slowhttptest lasts")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	found, err := scan(ctx, *file, *slow)
	stop()
	switch {
	case err != nil:
		log.Fatal(err)
	case found > 0:
		log.Fatalf("%d findings are not explained: see %s", found, *file)
	}
}

// A finding is what a scanner does not like.
type finding struct{ scanner, text string }

// A report is what is written.
type report struct {
	b        strings.Builder
	findings []finding
}

// section adds what a scanner has printed.
func (r *report) section(name, text string, findings ...finding) {
	fmt.Fprintf(&r.b, "\n== %s\n\n%s\n", name, strings.TrimSpace(text))
	r.findings = append(r.findings, findings...)
}

// summary returns the findings, each with its explanation, and how many have none.
func (r *report) summary() (text string, open int) {
	var b strings.Builder
	for _, f := range r.findings {
		why := explain(f)
		if why == "" {
			open++
			why = "NOT EXPLAINED"
		}
		fmt.Fprintf(&b, "%s: %s\n    %s\n", f.scanner, f.text, why)
	}
	if len(r.findings) == 0 {
		b.WriteString("none\n")
	}
	return b.String(), open
}

func scan(ctx context.Context, file string, slow time.Duration) (open int, err error) {
	for _, tool := range []string{"nmap", "sslscan", "testssl", "wapiti", "slowhttptest"} {
		if _, err := exec.LookPath(tool); err != nil {
			return 0, fmt.Errorf("%w: install Debian's packages nmap, sslscan, testssl.sh, wapiti and slowhttptest", err)
		}
	}
	dir, err := os.MkdirTemp("", "scan")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary := filepath.Join(dir, "quickstart")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "./examples/quickstart").CombinedOutput(); err != nil { //nolint:gosec // fixed arguments
		return 0, fmt.Errorf("building the quickstart: %w: %s", err, out)
	}
	secure, stopSecure, err := serve(ctx, binary, "-tls")
	if err != nil {
		return 0, err
	}
	defer stopSecure()
	plain, stopPlain, err := serve(ctx, binary)
	if err != nil {
		return 0, err
	}
	defer stopPlain()

	var r report
	for _, check := range []func() error{
		func() error { return r.ciphers(ctx, secure) },
		func() error { return r.sslscan(ctx, secure) },
		func() error { return r.testssl(ctx, secure, dir) },
		func() error { return r.scripts(ctx, plain) },
		func() error { return r.wapiti(ctx, plain, dir) },
		func() error { return r.slowly(ctx, plain, slow) },
	} {
		if err := check(); err != nil {
			return 0, err
		}
	}
	summary, open := r.summary()
	text := "Scanners against the quickstart.\n\n== Findings\n\n" + summary + r.b.String()
	fmt.Print(summary)
	return open, os.WriteFile(file, []byte(text), 0o600)
}

// serve runs the quickstart on a free port of loopback.
func serve(ctx context.Context, binary string, args ...string) (addr string, stop func(), err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // ends at once
	if err != nil {
		return "", nil, err
	}
	addr = ln.Addr().String()
	_ = ln.Close()
	cmd := exec.CommandContext(ctx, binary, append([]string{"-addr", addr}, args...)...) //nolint:gosec // built above
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	}
	for range 100 {
		conn, err := net.Dial("tcp", addr) //nolint:noctx // on loopback
		if err == nil {
			_ = conn.Close()
			return addr, stop, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	stop()
	return "", nil, errors.New("the quickstart does not listen")
}

// run returns what a scanner prints. That it exits with an error is often its verdict.
func run(ctx context.Context, most time.Duration, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput() //nolint:gosec // fixed names
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("%s took more than %s", name, most)
	case err != nil && !errors.As(err, &exit):
		return "", err
	case len(out) == 0:
		return "", fmt.Errorf("%s has printed nothing", name)
	}
	return string(out), nil
}
