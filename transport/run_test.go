package transport_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/transport"
)

func TestRunRefusesMisuse(t *testing.T) {
	cert, _ := selfSigned(t)
	withTLS := func(change func(*tls.Config)) *http.Server {
		srv, _ := newServer(t, ok, transport.ServerConfig{})
		change(srv.TLSConfig)
		return srv
	}
	plainWithTLS, _ := newServer(t, ok, transport.ServerConfig{AllowInsecureHTTP: true})
	plainWithTLS.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	replaced, _ := newServer(t, ok, transport.ServerConfig{AllowInsecureHTTP: true})
	replaced.ConnContext = func(ctx context.Context, _ net.Conn) context.Context { return ctx }
	noTLS, _ := newServer(t, ok, transport.ServerConfig{})
	noTLS.TLSConfig = nil
	looking, _ := newServer(t, ok, transport.ServerConfig{})
	next := looking.ConnContext
	looking.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		_ = c.(*tls.Conn).ConnectionState()
		return next(ctx, c)
	}
	noHandler, _ := newServer(t, ok, transport.ServerConfig{})
	noHandler.Handler = nil

	for _, tt := range []struct {
		name string
		srv  *http.Server
		want string
	}{
		{"nil", nil, "server is nil"},
		{"made by hand, without TLS", &http.Server{Handler: ok}, "srv.TLSConfig is nil"},                            //nolint:gosec // refused
		{"made by hand, without handler", &http.Server{TLSConfig: &tls.Config{}}, "srv.Handler is nil"},             //nolint:gosec // refused
		{"made by hand, no certificate", &http.Server{Handler: ok, TLSConfig: &tls.Config{}}, "has no certificate"}, //nolint:gosec // refused
		{"TLS taken away", noTLS, "srv.TLSConfig is nil"},
		{"handler taken away", noHandler, "srv.Handler is nil"},
		{"TLS 1.1 allowed", withTLS(func(c *tls.Config) { c.MinVersion = tls.VersionTLS11 }), "below TLS 1.2"},
		{"TLS added to plain HTTP", plainWithTLS, "made for plain HTTP"},
		{"a ConnContext that knows TLS alone", looking, "srv.ConnContext panicked"},
		{"the mark of plain HTTP replaced", replaced, "srv.TLSConfig is nil"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := transport.Run(t.Context(), tt.srv); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Run: got %v, want an error with %q", err, tt.want)
			}
			ln := newPipes()
			if err := transport.Serve(t.Context(), tt.srv, ln); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Serve: got %v, want an error with %q", err, tt.want)
			}
			select {
			case <-ln.closed:
			default:
				t.Error("Serve refused and left the listener open")
			}
		})
	}
	if err := transport.Serve(t.Context(), withTLS(func(*tls.Config) {}), nil); err == nil || !strings.Contains(err.Error(), "listener is nil") {
		t.Errorf("nil listener: got %v", err)
	}
}

// A server that Run serves in TLS must not answer in the clear, and the reverse.
func TestASVS_12_2_1_NoPlaintextFallback(t *testing.T) {
	srv, _ := newServer(t, ok, transport.ServerConfig{})
	resp, err := client(t, nil, false).Get("http://" + start(t, srv).addr)
	if err == nil {
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest || strings.Contains(string(body), "ok") {
			t.Errorf("plain HTTP: got %d %q, want no answer of the handler", resp.StatusCode, body)
		}
	}
}

func TestRunPlainHTTPWhenAskedFor(t *testing.T) {
	out := &logs{}
	srv, _ := newServer(t, ok, transport.ServerConfig{AllowInsecureHTTP: true, Logger: slog.New(slog.NewTextHandler(out, nil))})
	// A ConnContext in front that calls the one it replaces, and looks at the connection.
	inner := srv.ConnContext
	srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return inner(context.WithValue(ctx, connKey{}, c.RemoteAddr().String()), c)
	}
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Context().Value(connKey{}).(string))
	})
	resp, err := client(t, nil, false).Get("http://" + start(t, srv).addr)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != 200 || !strings.HasPrefix(string(body), "127.0.0.1:") {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
	if !strings.Contains(out.String(), "level=WARN") || !strings.Contains(out.String(), "plain HTTP") {
		t.Errorf("got log %q, want a warning", out)
	}
}

type connKey struct{}

// LoopbackHTTP holds for the address that is really listened on.
func TestRunLoopbackHTTP(t *testing.T) {
	newLoopback := func(addr string) *http.Server {
		srv, err := transport.NewServer(addr, ok, transport.ServerConfig{LoopbackHTTP: true, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		return srv
	}
	resp, err := client(t, nil, false).Get("http://" + start(t, newLoopback("")).addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("got %d, want 200", resp.StatusCode)
	}

	for _, addr := range []string{"0.0.0.0:0", ":0", "[::]:0"} {
		if err := transport.Run(t.Context(), newLoopback(addr)); err == nil || !strings.Contains(err.Error(), "LoopbackHTTP serves plain HTTP on loopback addresses only") {
			t.Errorf("Run on %s: got %v, want it refused", addr, err)
		}
	}
	ln, err := net.Listen("unix", t.TempDir()+"/socket")
	if err != nil {
		t.Fatal(err)
	}
	if err := transport.Serve(t.Context(), newLoopback("127.0.0.1:0"), ln); err == nil || !strings.Contains(err.Error(), "LoopbackHTTP serves plain HTTP on loopback addresses only") {
		t.Errorf("Serve on a socket: got %v, want it refused", err)
	}
	if _, err := ln.Accept(); err == nil {
		t.Error("Serve refused and left the listener open")
	}
}

func TestRunServesAServerMadeByHand(t *testing.T) {
	cert, c := selfSigned(t)
	srv := &http.Server{Handler: ok, ReadHeaderTimeout: time.Second, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}}
	resp, err := client(t, c, true).Get("https://" + start(t, srv).addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 200 || resp.ProtoMajor != 2 {
		t.Errorf("got %s %s", resp.Proto, resp.Status)
	}
}

func TestRunListensOnTheServersAddress(t *testing.T) {
	out := &logs{lines: make(chan string, 10)}
	srv, c := newServer(t, ok, transport.ServerConfig{Logger: slog.New(slog.NewTextHandler(out, nil))})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- transport.Run(ctx, srv) }()
	addr := addrIn(t, <-out.lines)
	resp, err := client(t, c, true).Get("https://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()

	// The address is taken now, both for a server and for a redirect.
	second, _ := newServer(t, ok, transport.ServerConfig{})
	second.Addr = addr
	if err := transport.Run(t.Context(), second); err == nil || !strings.Contains(err.Error(), addr) {
		t.Errorf("an address in use: got %v, want an error that names it", err)
	}
	again, _ := newServer(t, ok, transport.ServerConfig{})
	ended, end := context.WithCancel(t.Context())
	end()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	late, _ := newServer(t, ok, transport.ServerConfig{RedirectAddr: busy.Addr().String(), RedirectHost: "example.com"})
	if err := transport.Run(ended, late); err == nil {
		t.Error("with a RedirectAddr that is taken: got nil")
	}
	_ = busy.Close()
	if err := transport.Run(ended, late); err != nil {
		t.Errorf("once it is free: got %v", err)
	}
	if err := transport.Run(ended, again); err != nil {
		t.Errorf("once: got %v", err)
	}
	if err := transport.Run(t.Context(), again); err == nil || !strings.Contains(err.Error(), "has run already") {
		t.Errorf("twice: got %v", err)
	}
	third, _ := newServer(t, ok, transport.ServerConfig{RedirectAddr: addr, RedirectHost: "example.com"})
	if err := transport.Run(t.Context(), third); err == nil || !strings.Contains(err.Error(), "RedirectAddr") {
		t.Errorf("a redirect address in use: got %v, want an error that names the field", err)
	}

	stop()
	if err := <-done; err != nil {
		t.Errorf("Run: got %v, want nil", err)
	}
	if conn, err := net.Dial("tcp", addr); err == nil {
		_ = conn.Close()
		t.Error("the server still listens after Run returned")
	}
}

// A stop that comes before the start is a clean stop.
func TestRunWithAnEndedContext(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	for _, addr := range []string{"127.0.0.1:0", "localhost:0"} {
		srv, _ := newServer(t, ok, transport.ServerConfig{})
		srv.Addr = addr
		if err := transport.Run(ctx, srv); err != nil {
			t.Errorf("%s: got %v, want nil", addr, err)
		}
	}
}

func TestRunDrains(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	var seen error
	slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-release
		seen = r.Context().Err()
		_, _ = io.WriteString(w, "done")
	})
	srv, c := newServer(t, slow, transport.ServerConfig{})
	r := start(t, srv)
	got := make(chan string, 1)
	go func() {
		resp, err := client(t, c, false).Get("https://" + r.addr)
		if err != nil {
			got <- err.Error()
			return
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		got <- string(body)
	}()
	<-entered
	r.stop()
	// New connections are refused as soon as the drain begins, which is while the
	// request still runs.
	for {
		conn, err := net.Dial("tcp", r.addr)
		if err != nil {
			break
		}
		_ = conn.Close()
	}
	select {
	case err := <-r.done:
		t.Fatalf("Serve returned %v while a request was in flight", err)
	default:
	}
	close(release)
	if body := <-got; body != "done" {
		t.Errorf("the request in flight got %q, want its answer", body)
	}
	if err := <-r.done; err != nil {
		t.Errorf("Serve: got %v, want nil", err)
	}
	if seen != nil {
		t.Errorf("the request's context ended with the server's: %v", seen)
	}
}

func TestRunCutsOffAfterShutdownTimeout(t *testing.T) {
	for _, tt := range []struct {
		name      string
		set, want time.Duration
	}{{"default", 0, 20 * time.Second}, {"set", 3 * time.Second, 3 * time.Second}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				entered, cut := make(chan struct{}), make(chan struct{})
				stuck := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					close(entered)
					<-r.Context().Done() // ends with the connection
					close(cut)
				})
				srv, c := newServer(t, stuck, transport.ServerConfig{ShutdownTimeout: tt.set})
				ln := newPipes()
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- transport.Serve(ctx, srv, ln) }()
				conn := tls.Client(ln.dial(t), c)
				go func() {
					_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
					_, _ = io.Copy(io.Discard, conn)
				}()
				<-entered
				begin := time.Now()
				stop()
				err := <-done
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v, want a deadline exceeded", err)
				}
				if took := time.Since(begin); took != tt.want {
					t.Errorf("cut off after %v, want %v", took, tt.want)
				}
				<-cut // by the server: a deadlock if it is not
				_ = conn.Close()
			})
		})
	}
}

func TestRunReturnsWhatBrokeTheListener(t *testing.T) {
	srv, _ := newServer(t, ok, transport.ServerConfig{})
	ln := newPipes()
	_ = ln.Close()
	if err := transport.Serve(t.Context(), srv, ln); !errors.Is(err, errClosed) {
		t.Errorf("got %v, want %v", err, errClosed)
	}
}

func TestRunEndsWhenSomeoneElseShutsDown(t *testing.T) {
	srv, c := newServer(t, ok, transport.ServerConfig{})
	r := start(t, srv)
	resp, err := client(t, c, false).Get("https://" + r.addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-r.done; err != nil {
		t.Errorf("got %v, want nil", err)
	}
}

// net/http serves in the clear what is not told to be TLS.
func TestASVS_12_2_1_ListenAndServeIsNoWayAround(t *testing.T) {
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	out := &logs{}
	entered := make(chan struct{}, 1)
	srv, _ := newServer(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { entered <- struct{}{} }), transport.ServerConfig{Logger: slog.New(slog.NewTextHandler(out, nil))})
	go func() { _ = srv.Serve(ln) }() // as ListenAndServe does
	defer func() { _ = srv.Close() }()
	resp, err := client(t, nil, false).Get("http://" + ln.Addr().String())
	if err == nil {
		_ = resp.Body.Close()
		t.Errorf("got %s", resp.Status)
	}
	select {
	case <-entered:
		t.Error("the handler was called")
	default:
	}
	if !strings.Contains(out.String(), "closed a connection that is not TLS") {
		t.Errorf("got the log %q", out)
	}
}

// The fields that carry credentials are the program's to name.
func TestRedirectListenerKnowsCredentials(t *testing.T) {
	out := &logs{lines: make(chan string, 10)}
	srv, _ := newServer(t, ok, transport.ServerConfig{
		RedirectAddr: "127.0.0.1:0", RedirectHost: "api.example.com", RedirectCredentials: []string{"x-token"}, Logger: slog.New(slog.NewTextHandler(out, nil)),
	})
	start(t, srv)
	req := must(http.NewRequestWithContext(t.Context(), "GET", "http://"+addrIn(t, <-out.lines), nil))
	req.Header.Set("X-Token", "s3cret")
	resp, err := client(t, nil, false).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 403 || !strings.Contains(out.String(), "X-Token") {
		t.Errorf("got %d and the log %q", resp.StatusCode, out)
	}
}

func TestRedirectListener(t *testing.T) {
	out := &logs{lines: make(chan string, 10)}
	events := &recorder{}
	srv, c := newServer(t, ok, transport.ServerConfig{
		RedirectAddr: "127.0.0.1:0", RedirectHost: "api.example.com",
		Logger: slog.New(slog.NewTextHandler(out, nil)), Audit: events,
	})
	r := start(t, srv)
	addr := addrIn(t, <-out.lines)

	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+addr+"/a?b=c", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "evil.example"
	resp, err := client(t, nil, false).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if got := resp.Header.Get("Location"); resp.StatusCode != 308 || got != "https://api.example.com/a?b=c" {
		t.Errorf("got %d to %q", resp.StatusCode, got)
	}
	if resp.Header.Get("X-Content-Type-Options") != "nosniff" || resp.Header.Get("Strict-Transport-Security") != "" {
		t.Errorf("got fields %v, want those of Secure for plain HTTP", resp.Header)
	}

	req.Header.Set("Authorization", "Bearer s3cret-token")
	resp, err = client(t, nil, false).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 403 {
		t.Errorf("with a token: got %d, want 403", resp.StatusCode)
	}
	if e := events.one(t); e.Name != audit.InputValidationFail || !strings.Contains(e.Reason, "Authorization") || strings.Contains(e.Reason, "s3cret") {
		t.Errorf("got event %+v", e)
	}

	resp, err = client(t, c, true).Get("https://" + r.addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	r.stop()
	if err := <-r.done; err != nil {
		t.Errorf("got %v, want nil", err)
	}
	if conn, err := net.Dial("tcp", addr); err == nil {
		_ = conn.Close()
		t.Error("the redirect listener still listens after Serve returned")
	}
}

// Without an Audit, the redirect listener's events are in its log.
func TestRedirectListenerLogsEvents(t *testing.T) {
	out := &logs{lines: make(chan string, 10)}
	srv, _ := newServer(t, ok, transport.ServerConfig{
		RedirectAddr: "127.0.0.1:0", RedirectHost: "api.example.com", Logger: slog.New(slog.NewTextHandler(out, nil)),
	})
	start(t, srv)
	resp, err := client(t, nil, false).Post("http://"+addrIn(t, <-out.lines), "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 403 || !strings.Contains(out.String(), "plain HTTP") {
		t.Errorf("got %d and log %q", resp.StatusCode, out)
	}
}
