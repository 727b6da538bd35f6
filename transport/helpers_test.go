package transport_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/internal/eventlog"
	"github.com/sallyport/sallyport/transport"
)

// ok answers 200 with the body "ok".
var ok = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) })

// selfSigned returns a certificate and a client TLS config that trusts it.
func selfSigned(t testing.TB) (tls.Certificate, *tls.Config) {
	t.Helper()
	cert, err := transport.SelfSigned()
	if err != nil {
		t.Fatal(err)
	}
	return cert, trusting(cert)
}

func trusting(cert tls.Certificate) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(cert.Leaf)
	return &tls.Config{RootCAs: pool, ServerName: "localhost"} //nolint:gosec // tests of the server's own minimum
}

// A running server.
type running struct {
	addr string
	stop context.CancelFunc
	done chan error // what Serve returned
}

// start runs srv on a free port, and checks at the end of the test that it stops
// without an error, unless the test has read done itself.
func start(t *testing.T, srv *http.Server) *running {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{addr: ln.Addr().String(), stop: stop, done: make(chan error, 1)}
	go func() {
		r.done <- transport.Serve(ctx, srv, ln)
		close(r.done)
	}()
	t.Cleanup(func() {
		stop()
		if err := <-r.done; err != nil {
			t.Errorf("Serve: got %v, want nil", err)
		}
	})
	return r
}

// newServer is NewServer with a self-signed certificate, unless cfg is plain.
func newServer(t *testing.T, h http.Handler, cfg transport.ServerConfig) (*http.Server, *tls.Config) {
	t.Helper()
	var client *tls.Config
	if !cfg.AllowInsecureHTTP {
		var cert tls.Certificate
		cert, client = selfSigned(t)
		cfg.Certificates = []tls.Certificate{cert}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	srv, err := transport.NewServer("127.0.0.1:0", h, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return srv, client
}

// client returns an HTTP client that follows no redirects.
func client(t *testing.T, c *tls.Config, h2 bool) *http.Client {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: c, Protocols: new(http.Protocols)}
	tr.Protocols.SetHTTP1(!h2)
	tr.Protocols.SetHTTP2(h2)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{
		Transport:     tr,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// exchange sends the bytes of a request over a plain connection, and returns the
// first answer and its body.
func exchange(t *testing.T, addr, request string) (*http.Response, string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%q: %v", request, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%q: %v", request, err)
	}
	return resp, string(body)
}

// recorder keeps audit events.
type recorder struct{ eventlog.Recorder }

func (r *recorder) all() []audit.Event { return r.All() }

// one returns the only event.
func (r *recorder) one(t *testing.T) audit.Event {
	t.Helper()
	events := r.all()
	if len(events) != 1 {
		t.Fatalf("got %d events, want 1: %+v", len(events), events)
	}
	return events[0]
}

// do sends r through h.
func do(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// wantProblem checks that w is a problem with a status and a code.
func wantProblem(t *testing.T, w *httptest.ResponseRecorder, status int, code string) {
	t.Helper()
	var p struct {
		Status int
		Code   string
	}
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("got status %d and no problem: %v in %q", w.Code, err, w.Body)
	}
	if w.Code != status || p.Status != status || p.Code != code {
		t.Errorf("got %d, problem %d %q; want %d %q", w.Code, p.Status, p.Code, status, code)
	}
}

// wantPanic checks that f panics with a text that names the field.
func wantPanic(t *testing.T, names string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		v := recover()
		if text, ok := v.(string); !ok || !strings.Contains(text, names) {
			t.Errorf("got panic %v, want one that names %q", v, names)
		}
	}()
	f()
}

// logs is a buffer of log lines that may be read while it is written.
type logs struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	lines chan string // each line, if not nil
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lines != nil {
		l.lines <- string(b)
	}
	return l.buf.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// pipes is a listener whose connections are in memory, for synctest.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes {
	return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// errClosed is what Accept returns after Close.
var errClosed = errors.New("pipes: closed")

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, errClosed
	}
}

// serve runs srv on p. What it returns ends that, and says what Serve did.
func (p *pipes) serve(t *testing.T, srv *http.Server) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- transport.Serve(ctx, srv, p) }()
	return func() error {
		cancel()
		return <-done
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 443} }

// dial returns the client's end of a new connection.
func (p *pipes) dial(t *testing.T) net.Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
	case <-p.closed:
		t.Fatal("dial: the listener is closed")
	}
	return ours
}
