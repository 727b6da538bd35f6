package pgtest_test

import (
	"net"
	"testing"

	"github.com/sallyport/sallyport/internal/pgtest"
)

func TestStart(t *testing.T) {
	s := pgtest.Start(t, "max_connections=17")
	if got := s.Do("SHOW max_connections; SHOW fsync; SHOW server_encoding"); got != "17\non\nUTF8" {
		t.Errorf("got %q, want the setting that was given, fsync and UTF8", got)
	}
	s.Do("CREATE TABLE one (a integer, b text); INSERT INTO one VALUES (1, 'x'), (2, NULL)")
	const rows = "SELECT a, b FROM one ORDER BY a"
	for name, end := range map[string]func(){"running": func() {}, "stopped": s.Stop, "killed": s.Kill} {
		end()
		if conn, err := net.Dial("tcp", s.Addr); name != "running" && err == nil {
			conn.Close()
			t.Errorf("%s: the server still listens", name)
		}
		s.Restart()
		if got := s.Do(rows); got != "1|x\n2|" {
			t.Errorf("%s, then started again: got %q, want what was committed", name, got)
		}
	}
}

func TestStartStopsWithTheTest(t *testing.T) {
	var addr string
	t.Run("inner", func(t *testing.T) { addr = pgtest.Start(t).Addr })
	if addr == "" {
		t.Skip("the inner test was skipped")
	}
	if conn, err := net.Dial("tcp", addr); err == nil {
		conn.Close()
		t.Error("the server still listens")
	}
}
