package redistest

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Proxy stands between a client and its server, and does to the replies what a
// network does.
type Proxy struct {
	Addr string // host and port

	mu    sync.Mutex
	reply func(request, reply string) (delay time.Duration, ok bool) // not ok: cut the connection
	log   strings.Builder                                            // what clients sent
	conns map[net.Conn]bool                                          // those of clients
}

// StartProxy starts a proxy of the server at target that changes nothing. It
// stops with the test.
func StartProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: l.Addr().String(), conns: make(map[net.Conn]bool)}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		p.Cut()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				_ = client.Close()
				continue
			}
			p.mu.Lock()
			p.conns[client] = true
			p.mu.Unlock()
			c := &proxied{proxy: p, client: client, server: server, done: make(chan struct{})}
			wg.Go(c.requests)
			wg.Go(c.replies)
		}
	})
	return p
}

// On sets what is done to replies, as many as come at once: it returns by how much they
// are late, or false to cut the connection. request is what the client has sent last.
// nil means nothing.
func (p *Proxy) On(f func(request, reply string) (time.Duration, bool)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reply = f
}

// Sent returns what clients have sent so far.
func (p *Proxy) Sent() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// Open returns how many connections of clients there are.
func (p *Proxy) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// Cut closes all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		_ = conn.Close()
	}
}

// A proxied connection is a client's, and the one to the server that goes with it.
type proxied struct {
	proxy          *Proxy
	client, server net.Conn
	done           chan struct{} // closed when a side is gone
	once           sync.Once

	mu      sync.Mutex
	request string // the last one
}

func (c *proxied) close() {
	c.once.Do(func() { close(c.done) })
	_ = c.client.Close()
	_ = c.server.Close()
	c.proxy.mu.Lock()
	defer c.proxy.mu.Unlock()
	delete(c.proxy.conns, c.client)
}

func (c *proxied) requests() {
	defer c.close()
	buf := make([]byte, 64<<10)
	for {
		n, err := c.client.Read(buf)
		if err != nil {
			return
		}
		c.mu.Lock()
		c.request = string(buf[:n])
		c.mu.Unlock()
		c.proxy.mu.Lock()
		c.proxy.log.Write(buf[:n])
		c.proxy.mu.Unlock()
		if _, err := c.server.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (c *proxied) replies() {
	defer c.close()
	buf := make([]byte, 64<<10)
	for {
		n, err := c.server.Read(buf)
		if err != nil {
			return
		}
		c.mu.Lock()
		request := c.request
		c.mu.Unlock()
		c.proxy.mu.Lock()
		f := c.proxy.reply
		c.proxy.mu.Unlock()
		if f != nil {
			delay, ok := f(request, string(buf[:n]))
			if !ok {
				return
			}
			if delay > 0 {
				select {
				case <-time.After(delay):
				case <-c.done:
					return
				}
			}
		}
		if _, err := c.client.Write(buf[:n]); err != nil {
			return
		}
	}
}
