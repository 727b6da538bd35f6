package transport

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// A guardedListener keeps its connections, which are below TLS, from being held by clients
// that read nothing. crypto/tls answers some records from within a read, where net/http has
// set no deadline for writing; and it closes a connection only once such a write has ended.
type guardedListener struct {
	net.Listener
	most time.Duration // that a write without a deadline may take

	mu    sync.Mutex
	conns map[*guardedConn]struct{}
}

func newGuardedListener(ln net.Listener, most time.Duration) *guardedListener {
	return &guardedListener{Listener: ln, most: most, conns: make(map[*guardedConn]struct{})}
}

func (l *guardedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &guardedConn{Conn: conn, from: l}
	l.mu.Lock()
	l.conns[c] = struct{}{}
	l.mu.Unlock()
	return c, nil
}

// cut closes what is open, without a word of TLS.
func (l *guardedListener) cut() {
	l.mu.Lock()
	conns := make([]*guardedConn, 0, len(l.conns))
	for c := range l.conns {
		conns = append(conns, c)
	}
	l.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
}

// release gives connections that handlers have taken over to them as they are.
func (l *guardedListener) release(srv *http.Server) {
	next := srv.ConnState
	srv.ConnState = func(conn net.Conn, state http.ConnState) {
		if state == http.StateHijacked {
			if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
				if c, ok := t.NetConn().(*guardedConn); ok {
					c.free()
				}
			}
		}
		if next != nil {
			next(conn, state)
		}
	}
}

// A guardedConn ends a write that nobody has set a deadline for.
type guardedConn struct {
	net.Conn
	from *guardedListener

	mu       sync.Mutex
	deadline time.Time // for writing, as it was set
	writing  bool
	freed    bool
}

func (c *guardedConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	unbound := c.deadline.IsZero() && !c.freed
	if unbound {
		c.writing = true
		c.apply()
	}
	c.mu.Unlock()
	n, err := c.Conn.Write(b)
	if unbound {
		c.mu.Lock()
		c.writing = false
		c.apply()
		c.mu.Unlock()
	}
	return n, err
}

// apply sets the deadline that holds now. Its errors are those of a closed connection.
func (c *guardedConn) apply() {
	at := c.deadline
	if c.writing && at.IsZero() && !c.freed {
		at = time.Now().Add(c.from.most)
	}
	_ = c.Conn.SetWriteDeadline(at)
}

func (c *guardedConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

func (c *guardedConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	if t.IsZero() && c.writing {
		c.apply()
		return nil
	}
	return c.Conn.SetWriteDeadline(t)
}

// free leaves the connection to a handler, which is not bound by ours.
func (c *guardedConn) free() {
	c.mu.Lock()
	c.freed = true
	c.mu.Unlock()
	c.forget()
}

func (c *guardedConn) forget() {
	c.from.mu.Lock()
	delete(c.from.conns, c)
	c.from.mu.Unlock()
}

func (c *guardedConn) Close() error {
	c.forget()
	return c.Conn.Close()
}
