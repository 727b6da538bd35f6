// Package pgtest starts real PostgreSQL servers for tests, on free loopback ports,
// with fsync, and stops them when the test ends. It needs Debian's package
// postgresql, or initdb, postgres and psql in one folder of the PATH: without them it
// skips the test, or fails it where CI=true. PostgreSQL refuses to run as root: a test
// that does needs the user postgres or nobody, and the command setpriv.
package pgtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
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
	patience = 60 * time.Second // for what takes a second on an idle machine
	pause    = 10 * time.Millisecond
	owner    = "app" // the superuser
)

// A Server is a PostgreSQL server that belongs to one test.
type Server struct {
	Addr string // host and port
	DSN  string // of the database postgres, as a superuser; a URL

	t        testing.TB
	bin, dir string
	password string
	args     []string

	mu      sync.Mutex
	process *proctest.Process // nil when it is stopped
}

// Start starts a server with settings after the usual ones, as in
// Start(t, "max_connections=20"). It stops with the test.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	s := &Server{t: t, bin: need(t), password: rand.Text()}
	s.dir = folder(t)
	t.Cleanup(s.Stop)
	if err := s.initdb(); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	var err error
	for range 5 { // somebody may take the port in between
		var port string
		if port, err = freePort(); err != nil {
			continue
		}
		s.Addr = net.JoinHostPort("127.0.0.1", port)
		dsn := url.URL{Scheme: "postgres", User: url.UserPassword(owner, s.password), Host: s.Addr, Path: "postgres", RawQuery: "sslmode=disable"}
		s.DSN = dsn.String()
		s.args = []string{"-D", filepath.Join(s.dir, "data"), "-p", port}
		for _, setting := range append([]string{
			"listen_addresses=127.0.0.1", "unix_socket_directories=", "shared_buffers=16MB", "max_wal_size=64MB",
			"logging_collector=off", "log_min_messages=fatal", "autovacuum=off",
		}, settings...) {
			s.args = append(s.args, "-c", setting)
		}
		if err = s.run(); err == nil {
			return s
		}
	}
	t.Fatalf("pgtest: %v", err)
	return nil
}

// Stop ends the server at once, without a checkpoint, so that it has to recover when
// it starts again. It does nothing if the server is not running.
func (s *Server) Stop() { s.end(syscall.SIGQUIT) }

// Kill kills the server as the kernel would. What it was doing for its clients ends a
// moment later.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

func (s *Server) end(signal os.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		s.process.End(signal)
		s.process = nil
	}
}

// Restart stops the server if it is running, and starts it at the same address, with
// what it had on the disk.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(pause) {
		// It refuses to while a process of the one that was killed is there.
		if err = s.run(); err == nil {
			return
		}
	}
	s.t.Fatalf("pgtest: %v", err)
}

// Do sends statements with psql, on a connection of its own, and returns the rows in
// lines and their columns with "|" between. An error fails the test.
func (s *Server) Do(statements string) string {
	s.t.Helper()
	out, err := s.psql(statements)
	if err != nil {
		s.t.Fatalf("pgtest: %v", err)
	}
	return out
}

func (s *Server) psql(statements string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	host, port, _ := net.SplitHostPort(s.Addr)
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", //nolint:gosec // of the tests
		"-h", host, "-p", port, "-U", owner, "-d", "postgres", "-c", statements)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+s.password, "PGCONNECT_TIMEOUT=5")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("psql: %v: %s", err, out)
	}
	return strings.TrimSuffix(string(out), "\n"), nil
}

// need returns the folder of the programs.
func need(t testing.TB) string {
	t.Helper()
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.Reverse(dirs) // the latest first
	if initdb, err := exec.LookPath("initdb"); err == nil {
		dirs = append(dirs, filepath.Dir(initdb))
	}
	for _, dir := range dirs {
		missing := slices.ContainsFunc([]string{"initdb", "postgres", "psql"}, func(name string) bool {
			_, err := os.Stat(filepath.Join(dir, name))
			return err != nil
		})
		if !missing && (os.Getuid() != 0 || account() != nil) {
			return dir
		}
	}
	const missing = "pgtest: there is no PostgreSQL (Debian: apt-get install postgresql), or no user but root to run it"
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// account returns whom to run the server as where that can't be root.
func account() *user.User {
	if _, err := exec.LookPath("setpriv"); err != nil {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			return u
		}
	}
	return nil
}

// command returns one of PostgreSQL's programs, to be run by somebody who may.
func (s *Server) command(name string, args ...string) *exec.Cmd {
	args = append([]string{filepath.Join(s.bin, name)}, args...)
	if os.Getuid() == 0 {
		u := account()
		args = append([]string{"setpriv", "--reuid", u.Uid, "--regid", u.Gid, "--clear-groups", "--"}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...) //nolint:gosec // of the tests
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	return cmd
}

// folder returns a new folder of the server's user. Not t.TempDir, which nobody else
// may enter.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgtest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// A process of the server may write for a moment after the first has ended.
		for deadline := time.Now().Add(patience); os.RemoveAll(dir) != nil && time.Now().Before(deadline); {
			time.Sleep(pause)
		}
	})
	if os.Getuid() == 0 {
		u := account()
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// initdb makes the files of a server. Only what comes later is synced.
func (s *Server) initdb() error {
	file := filepath.Join(s.dir, "password")
	if err := os.WriteFile(file, []byte(s.password+"\n"), 0o644); err != nil { //nolint:gosec // in a folder of the server's user alone
		return err
	}
	cmd := s.command("initdb", "-D", filepath.Join(s.dir, "data"), "-U", owner, "-A", "scram-sha-256", "--pwfile", file,
		"-E", "UTF8", "--locale=C.UTF-8", "-N")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %v: %s", err, out)
	}
	return nil
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close() //nolint:errcheck // it only held the port
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), nil
}

// run starts the process and waits until it answers.
func (s *Server) run() error {
	p, err := proctest.Start(s.command("postgres", s.args...), "QUIT")
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(pause) {
		select {
		case <-p.Exited:
			p.End(syscall.SIGQUIT) // and its guard
			return fmt.Errorf("postgres ended: %s", p.Output())
		default:
		}
		// Another server may have got the port first: this one knows the password.
		var conn net.Conn
		if conn, err = net.DialTimeout("tcp", s.Addr, time.Second); err == nil {
			_ = conn.Close()
			if _, err = s.psql("SELECT 1"); err == nil {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.process = p
				return nil
			}
		}
	}
	p.End(syscall.SIGQUIT)
	return fmt.Errorf("postgres does not answer: %v: %s", err, p.Output())
}
