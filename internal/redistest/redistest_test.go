package redistest_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/internal/redistest"
)

func TestStart(t *testing.T) {
	a, b := redistest.Start(t), redistest.Start(t, "--maxmemory", "2mb")
	if got := b.Do("CONFIG", "GET", "maxmemory"); got != "maxmemory\n2097152" {
		t.Errorf("got %q, want the maxmemory that was given", got)
	}
	a.Do("SET", "k", "v\r\n")
	if got := a.Do("GET", "k"); got != "v\r\n" {
		t.Errorf("got %q, want what was set", got)
	}
	if got := b.Do("GET", "k"); got != "" {
		t.Errorf("another server: got %q, want nothing", got)
	}
	a.Restart()
	if got := a.Do("GET", "k"); got != "" {
		t.Errorf("after a restart: got %q, want nothing", got)
	}
}

func TestRestartWithPersistence(t *testing.T) {
	s := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	s.Do("SET", "k", "v")
	s.Stop()
	if conn, err := net.Dial("tcp", s.Addr); err == nil {
		conn.Close()
		t.Error("a stopped server still listens")
	}
	s.Restart()
	if got := s.Do("GET", "k"); got != "v" {
		t.Errorf("got %q, want what was written to disk", got)
	}
}

func TestStartStopsWithTheTest(t *testing.T) {
	var addr string
	t.Run("inner", func(t *testing.T) { addr = redistest.Start(t).Addr })
	if addr == "" {
		t.Skip("the inner test was skipped")
	}
	if conn, err := net.Dial("tcp", addr); err == nil {
		conn.Close()
		t.Error("the server still listens")
	}
}

func TestStartCluster(t *testing.T) {
	nodes := redistest.StartCluster(t)
	if len(nodes) != 3 {
		t.Fatalf("got %d nodes, want 3", len(nodes))
	}
	for _, node := range nodes {
		if lines := strings.Split(strings.TrimSpace(node.Do("CLUSTER", "NODES")), "\n"); len(lines) != 3 {
			t.Errorf("got %q, want 3 nodes", lines)
		}
	}
}

func TestStartReplica(t *testing.T) {
	for name, master := range map[string]func(t *testing.T) *redistest.Server{
		"single":  func(t *testing.T) *redistest.Server { return redistest.Start(t) },
		"cluster": func(t *testing.T) *redistest.Server { return redistest.StartCluster(t)[0] },
	} {
		t.Run(name, func(t *testing.T) {
			master := master(t)
			replica := redistest.StartReplica(t, master)
			if got := master.Do("WAIT", "1", "0"); got != "1" {
				t.Errorf("got %q replicas, want 1", got)
			}
			if got := replica.Do("INFO", "replication"); !strings.Contains(got, "role:slave") {
				t.Errorf("got %q, want a replica", got)
			}
		})
	}
}

func TestPause(t *testing.T) {
	s := redistest.Start(t)
	s.Pause()
	conn, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "PING\r\n"); err != nil {
		t.Fatal(err)
	}
	reply := make([]byte, len("+PONG\r\n"))
	if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(reply); err == nil {
		t.Errorf("a paused server answers %q", reply[:n])
	}
	s.Resume()
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, reply); err != nil || string(reply) != "+PONG\r\n" {
		t.Errorf("after that: got %q, %v", reply, err)
	}
}

func TestProxy(t *testing.T) {
	p := redistest.StartProxy(t, redistest.Start(t).Addr)
	conn, err := net.Dial("tcp", p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ping := func() (string, error) {
		if _, err := io.WriteString(conn, "PING\r\n"); err != nil {
			return "", err
		}
		reply := make([]byte, len("+PONG\r\n"))
		n, err := io.ReadFull(conn, reply)
		return string(reply[:n]), err
	}
	if got, err := ping(); got != "+PONG\r\n" || err != nil {
		t.Errorf("got %q, %v, want the reply of the server", got, err)
	}
	if got := p.Sent(); got != "PING\r\n" || p.Open() != 1 {
		t.Errorf("got %q on %d connections, want what was sent on one", got, p.Open())
	}
	seen := make(chan [2]string, 1)
	p.On(func(request, reply string) (time.Duration, bool) { seen <- [2]string{request, reply}; return 0, false })
	if got, err := ping(); err == nil {
		t.Errorf("when replies are cut off: got %q", got)
	}
	if got := <-seen; got != [2]string{"PING\r\n", "+PONG\r\n"} {
		t.Errorf("got the request and the reply %q", got)
	}
}
