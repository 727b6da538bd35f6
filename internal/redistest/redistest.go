// Package redistest starts real redis-servers for tests, on free loopback ports
// and without persistence, and stops them when the test ends. It needs
// redis-server 7 in the PATH: without one it skips the test, or fails it where
// CI=true.
package redistest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/internal/proctest"
)

const (
	patience = 20 * time.Second // for what takes a tenth of a second on an idle machine
	pause    = 10 * time.Millisecond
)

// A Server is a redis-server that belongs to one test.
type Server struct {
	Addr string // host and port

	t    testing.TB
	dir  string
	args []string
	bus  string // the port by which nodes of a cluster talk; "" if it is in none

	mu      sync.Mutex
	process *proctest.Process // nil when it is stopped
}

// Start starts a redis-server with args after the usual ones, as in
// Start(t, "--maxmemory", "2mb"). It stops with the test.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return start(t, 1, func(ports []int) []string { return args })
}

// start starts a server on the first of n free ports, and again on others should
// somebody have taken one of them in between.
func start(t testing.TB, n int, args func(ports []int) []string) *Server {
	t.Helper()
	need(t)
	s := &Server{t: t, dir: t.TempDir()}
	t.Cleanup(s.Stop)
	var err error
	for range 5 {
		var ports []int
		if ports, err = freePorts(n); err != nil {
			continue
		}
		s.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0]))
		s.args = append([]string{
			"--port", strconv.Itoa(ports[0]), "--bind", "127.0.0.1", "--dir", s.dir,
			"--save", "", "--appendonly", "no", "--daemonize", "no", "--logfile", "",
		}, args(ports)...)
		if err = s.run(); err == nil {
			return s
		}
	}
	t.Fatalf("redistest: %v", err)
	return nil
}

// Stop kills the server, as a power failure would. It does nothing if it is not
// running.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		s.process.End(os.Kill)
		s.process = nil
	}
}

// Restart stops the server if it is running, and starts it at the same address,
// with what it had in its folder and nothing else.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	if err := s.run(); err != nil {
		s.t.Fatalf("redistest: %v", err)
	}
}

// Pause has the server stand still: it takes connections, and answers nothing until
// Resume. A server that stands still can be stopped.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume ends Pause.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(signal os.Signal) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.process.Signal(signal); err != nil {
		s.t.Fatalf("redistest: %v", err)
	}
}

// Do sends a command on a connection of its own and returns the reply: a text as
// it is, a number in digits, nil as "", the elements of a list in lines. An error
// reply fails the test.
func (s *Server) Do(args ...string) string {
	s.t.Helper()
	reply, err := do(s.Addr, args...)
	if err != nil {
		s.t.Fatalf("redistest: %s: %v", args[0], err)
	}
	return reply
}

func need(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err == nil {
		return
	}
	const missing = "redistest: there is no redis-server in the PATH (Debian: apt-get install redis-server)"
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip(missing)
}

// freePorts returns n ports that nobody listened on a moment ago.
func freePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() //nolint:errcheck // it only held the port
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}

// run starts the process and waits until it answers.
func (s *Server) run() error {
	cmd := exec.Command("redis-server", s.args...) //nolint:gosec // of the tests
	p, err := proctest.Start(cmd, "9")
	if err != nil {
		return err
	}
	pid := "process_id:" + strconv.Itoa(cmd.Process.Pid)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(pause) {
		select {
		case <-p.Exited:
			p.End(os.Kill) // its guard
			return fmt.Errorf("redis-server ended: %s", p.Output())
		default:
		}
		// Another server may have got the port first: this one says who it is. It says
		// so before it has read what is on the disk, too.
		info, err := do(s.Addr, "INFO")
		lines := strings.Split(info, "\r\n")
		if err == nil && slices.Contains(lines, pid) && slices.Contains(lines, "loading:0") {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.process = p
			return nil
		}
	}
	p.End(os.Kill)
	return errors.New("redis-server does not answer: " + p.Output())
}
