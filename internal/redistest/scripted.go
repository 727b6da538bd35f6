package redistest

import (
	"bufio"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// StartScripted starts a server that gives one reply, whatever it is, to all commands but
// those by which a connection begins. With cut it closes the connection after it. It
// stops with the test, and returns its host and port.
func StartScripted(t testing.TB, reply string, cut bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, conn := range conns {
			_ = conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			wg.Go(func() {
				defer func() { _ = conn.Close() }()
				r := bufio.NewReader(conn)
				for {
					name, err := readCommand(r)
					if err != nil {
						return
					}
					switch name {
					case "hello":
						_, _ = io.WriteString(conn, "-ERR unknown command\r\n")
					case "client":
						_, _ = io.WriteString(conn, "+OK\r\n")
					default:
						_, _ = io.WriteString(conn, reply)
						if cut {
							return
						}
					}
				}
			})
		}
	})
	return l.Addr().String()
}

// readCommand reads a list of texts and returns the first in lower case.
func readCommand(r *bufio.Reader) (string, error) {
	var name string
	n, err := readLength(r)
	for i := 0; i < n && err == nil; i++ {
		var size int
		if size, err = readLength(r); err == nil {
			text := make([]byte, size+2)
			if _, err = io.ReadFull(r, text); i == 0 {
				name = strings.ToLower(string(text[:size]))
			}
		}
	}
	return name, err
}

func readLength(r *bufio.Reader) (int, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(line[1:]))
}
