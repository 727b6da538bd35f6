package transport

import (
	"errors"
	"io"
	"net"
	"sync"
)

// A boundedListener accepts no more connections at a time than it has room for. The others
// wait in the system's queue, so that nobody who waits takes memory here, and are taken in
// turn as connections end.
type boundedListener struct {
	net.Listener
	room   chan struct{}
	closed chan struct{}
	once   sync.Once
}

func newBoundedListener(ln net.Listener, most int) *boundedListener {
	return &boundedListener{Listener: ln, room: make(chan struct{}, most), closed: make(chan struct{})}
}

func (l *boundedListener) Accept() (net.Conn, error) {
	select {
	case l.room <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.room
		return nil, err
	}
	return &boundedConn{Conn: conn, leave: sync.OnceFunc(func() { <-l.room })}, nil
}

func (l *boundedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// A boundedConn makes room when it is closed. It can do what net/http looks for in the
// connections of plain HTTP.
type boundedConn struct {
	net.Conn
	leave func()
}

// CloseWrite lets a client that is refused see that nothing more will come.
func (c *boundedConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}

// ReadFrom lets the system send files.
func (c *boundedConn) ReadFrom(r io.Reader) (int64, error) { return io.Copy(c.Conn, r) }

func (c *boundedConn) Close() error {
	err := c.Conn.Close()
	c.leave()
	return err
}
