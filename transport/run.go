package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// Run listens on srv.Addr and serves until ctx ends; then it takes no new
// connection, lets the requests in flight finish, and returns nil. Requests do not
// see the end of ctx. What still runs after ServerConfig.ShutdownTimeout is cut off,
// and Run returns an error that wraps context.DeadlineExceeded. Connections that a
// handler hijacked are the handler's to end (http.Server.RegisterOnShutdown).
//
// Run serves TLS. It serves plain HTTP only if srv was made by [NewServer] with
// AllowInsecureHTTP, or with LoopbackHTTP and the address is a loopback one. It
// refuses, before it listens, any other server without a TLSConfig, one whose
// TLSConfig has no certificate, and one that allows TLS below 1.2. Run returns an
// error if it can't listen, or if serving fails.
//
// A server of [NewServer] runs once; another Run is an error. To stop on a signal, give Run
// the context of signal.NotifyContext.
func Run(ctx context.Context, srv *http.Server) error {
	s, err := runnable(srv)
	if err != nil {
		return err
	}
	addr := srv.Addr
	switch {
	case addr != "":
	case s.insecure:
		addr = ":http"
	default:
		addr = ":https"
	}
	ln, err := listen(ctx, addr)
	if err != nil {
		return err
	}
	return Serve(ctx, srv, ln)
}

// Serve is [Run] on a listener that is there already, which it closes. Use it to
// let the system choose a port and learn which. ln must be a plain listener: Serve
// adds TLS.
func Serve(ctx context.Context, srv *http.Server, ln net.Listener) error {
	if ln == nil {
		return errors.New("transport: Serve: the listener is nil")
	}
	s, err := runnable(srv)
	if err != nil {
		_ = ln.Close() // the refusal matters more
		return err
	}
	if s.loopback && !onLoopback(ln.Addr()) {
		_ = ln.Close()
		return fmt.Errorf("transport: Serve: LoopbackHTTP serves plain HTTP on loopback addresses only, and %s is none", ln.Addr())
	}
	if !s.ran.CompareAndSwap(false, true) {
		_ = ln.Close()
		return errors.New("transport: Serve: the server has run already; make another one with NewServer")
	}
	servers := []*http.Server{srv}
	cut := func() {}
	ended := make(chan error, 2)
	if s.redirect != nil {
		second, err := listen(ctx, s.redirect.Addr)
		if err != nil {
			_ = ln.Close()
			s.ran.Store(false) // it may try again
			return fmt.Errorf("ServerConfig.RedirectAddr: %w", err)
		}
		servers = append(servers, s.redirect)
		s.logger().Info("transport: redirecting HTTP to HTTPS", "addr", second.Addr().String())
		go func() { ended <- s.redirect.Serve(s.bound(second)) }()
	}
	bounded := s.bound(ln)
	serve := func() { ended <- srv.Serve(bounded) }
	switch addr := ln.Addr().String(); {
	case s.loopback:
		s.logger().Info("transport: serving plain HTTP to this machine", "addr", addr)
	case s.insecure:
		s.logger().Warn("transport: serving plain HTTP, as AllowInsecureHTTP says", "addr", addr)
	default:
		s.logger().Info("transport: serving HTTPS", "addr", addr)
		guarded := newGuardedListener(bounded, stalled(srv.WriteTimeout))
		guarded.release(srv)
		cut = guarded.cut
		serve = func() { ended <- srv.ServeTLS(guarded, "", "") }
	}
	go serve()

	var failed error
	running := len(servers)
	select {
	case <-ctx.Done():
	case failed = <-ended: // a listener broke, or someone else called Shutdown
		running--
	}
	if errors.Is(failed, http.ErrServerClosed) {
		failed = nil
	}
	err = drain(ctx, servers, s.drain, cut)
	for range running {
		if later := <-ended; failed == nil && !errors.Is(later, http.ErrServerClosed) {
			failed = later
		}
	}
	// Serve closes its listener only if it came so far as to use it.
	_ = bounded.Close()
	if failed != nil {
		return fmt.Errorf("transport: %w", failed)
	}
	return err
}

// bound returns ln with the bound on its connections, if there is one.
func (s *settings) bound(ln net.Listener) net.Listener {
	if s.connections == 0 {
		return ln
	}
	return newBoundedListener(ln, s.connections)
}

// onLoopback reports whether only this machine can connect to addr.
func onLoopback(addr net.Addr) bool {
	ap, err := netip.ParseAddrPort(addr.String())
	return err == nil && ap.Addr().Unmap().IsLoopback()
}

// stalled is how long a client may take nothing of what is written to it.
func stalled(writeTimeout time.Duration) time.Duration {
	if writeTimeout <= 0 {
		return 30 * time.Second
	}
	return min(writeTimeout, 30*time.Second)
}

// drain stops the servers together, and cuts off what still runs after timeout: first the
// connections below TLS, since Shutdown and Close would wait for each that can't be written
// to, then all others.
func drain(ctx context.Context, servers []*http.Server, timeout time.Duration, cut func()) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	results := make(chan error, len(servers))
	for _, srv := range servers {
		go func() {
			ended := make(chan error, 1)
			go func() { ended <- srv.Shutdown(ctx) }()
			var err error
			select {
			case err = <-ended:
			case <-ctx.Done():
				err = ctx.Err()
			}
			if ctx.Err() != nil {
				cut()
			}
			if err != nil {
				_ = srv.Close() // nothing is left to do about a connection that does not close
			}
			results <- err
		}()
	}
	var failed error
	for range servers {
		if err := <-results; err != nil {
			failed = fmt.Errorf("transport: cut off what still ran after %v: %w", timeout, err)
		}
	}
	return failed
}

// runnable returns the settings of srv, or why it can't be run.
func runnable(srv *http.Server) (*settings, error) {
	if srv == nil {
		return nil, errors.New("transport: Run: the server is nil")
	}
	if srv.Handler == nil {
		return nil, errors.New("transport: Run: srv.Handler is nil (net/http would serve DefaultServeMux)")
	}
	s, err := settingsOf(srv)
	if err != nil {
		return nil, err
	}
	c := srv.TLSConfig
	if s != nil && s.insecure {
		if c != nil {
			return nil, errors.New("transport: Run: srv.TLSConfig is set, but the server was made for plain HTTP")
		}
		return s, nil
	}
	switch {
	case c == nil:
		return nil, errors.New("transport: Run: srv.TLSConfig is nil: make the server with NewServer, which serves plain HTTP only with LoopbackHTTP or AllowInsecureHTTP")
	case len(c.Certificates) == 0 && c.GetCertificate == nil && c.GetConfigForClient == nil:
		return nil, errors.New("transport: Run: srv.TLSConfig has no certificate")
	case c.MinVersion != 0 && c.MinVersion < tls.VersionTLS12:
		return nil, errors.New("transport: Run: srv.TLSConfig.MinVersion is below TLS 1.2")
	}
	if s == nil {
		var c ServerConfig
		_ = c.setDefaults() // the zero config is valid
		s = &settings{drain: c.ShutdownTimeout, logger: c.logger}
	}
	return s, nil
}

// listen listens on addr. If ctx has ended already, that is for Serve to see,
// which then stops at once.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	ln, err := new(net.ListenConfig).Listen(context.WithoutCancel(ctx), "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	return ln, nil
}
