package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/grammar"
	"github.com/sallyport/sallyport/internal/logtext"
)

// ServerConfig is what [NewServer] makes a server of. It must name exactly one
// source of certificates: CertFile and KeyFile, Certificates, GetCertificate or
// Autocert; or else say LoopbackHTTP or AllowInsecureHTTP.
type ServerConfig struct {
	// CertFile and KeyFile are PEM files: the certificate with its chain, and its
	// private key. They are read again at most once a minute, so that a renewed
	// certificate is used without a restart; as long as the new ones can't be read,
	// don't belong together or are cut off, or have ended or don't hold yet while the old ones do,
	// the old ones stay and a warning is logged.
	CertFile, KeyFile string
	// Certificates are offered by server name, the first by default.
	Certificates []tls.Certificate
	// GetCertificate picks a certificate for each handshake.
	GetCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Autocert gets certificates from an ACME authority.
	Autocert *Autocert
	// TLS13Only refuses clients that know no more than TLS 1.2.
	TLS13Only bool
	// ClientCAs are the authorities whose certificates clients may show (mutual TLS): that
	// of mtls.Authorities.Pool. A handshake with another one fails. Nil asks clients for none. An
	// empty pool is an error, and never the system's: a file that could not be read must not
	// let everyone in.
	ClientCAs *x509.CertPool
	// RequireClientCert fails the handshakes of clients without a certificate. Otherwise
	// they come without one, for auth.Require to decide. It needs ClientCAs, and does not
	// go with Autocert, whose authority checks a host by a handshake without one.
	RequireClientCert bool
	// LoopbackHTTP serves plain HTTP to this machine alone: [Serve] refuses a
	// listener whose address is not a loopback one. It is for development, and for
	// a server that only a proxy on the same host is to reach.
	LoopbackHTTP bool
	// AllowInsecureHTTP serves plain HTTP on any address, and no HTTPS: everyone on
	// the way can read and change what is sent. It is for a server that only a proxy
	// in the same protected network can reach.
	AllowInsecureHTTP bool

	// ReadHeaderTimeout is how long a client may take to send a header section.
	// The default is 5 s.
	ReadHeaderTimeout time.Duration
	// ReadTimeout is how long it may take to send a whole request. The default is
	// 30 s. A handler that reads for longer extends it for its own request with
	// http.ResponseController.SetReadDeadline, or has a [Timeout] around it.
	ReadTimeout time.Duration
	// WriteTimeout is how long a response may take from the end of the request's
	// header section. The default is 60 s. A handler that streams extends it with
	// http.ResponseController.SetWriteDeadline. Where that has lifted it, a client over TLS must
	// still take something each 30 s, or each WriteTimeout if that is less; a handler that waits
	// for longer pauses over HTTP/1.1 sets a deadline that is far away.
	WriteTimeout time.Duration
	// IdleTimeout is how long a connection stays open between requests. The default
	// is 120 s.
	IdleTimeout time.Duration
	// ShutdownTimeout is how long [Run] waits for requests in flight once it is told
	// to stop. The default is 20 s, to be done before the 30 s after which
	// Kubernetes kills. A connection on which nothing has come yet is waited for too, for 5 s at
	// most.
	ShutdownTimeout time.Duration
	// MaxHeaderBytes bounds a request's header section, in bytes. The default is
	// 32 KiB. net/http adds 4,096 of its own. More is answered with 431.
	MaxHeaderBytes int

	// MaxConcurrentStreams is how many requests an HTTP/2 connection has at a time. The
	// default is 100, the least that RFC 9113, section 6.5.2, advises; net/http's is 250. More
	// are refused, and clients send them again.
	MaxConcurrentStreams int

	// MaxConnections is how many connections the server has at a time, idle ones among
	// them. More wait in the system's queue until one ends. The default is no bound but the
	// system's on open files. The listener of RedirectAddr has as many of its own.
	MaxConnections int

	// RedirectAddr is the address, such as ":80", of a second, plain HTTP listener.
	// It answers every request as [RedirectHTTPS] does for RedirectHost, and serves
	// Autocert's HTTP-01 challenges. Empty: no such listener.
	RedirectAddr string
	// RedirectHost is the host, with a port unless it is 443, that clients are
	// redirected to. It must be set if RedirectAddr is.
	RedirectHost string
	// RedirectCredentials are the fields that carry credentials of your own, as for
	// [RedirectHTTPS].
	RedirectCredentials []string

	// Logger gets the errors of connections, certificates and the redirect listener,
	// and the addresses listened on. Nil is slog.Default().
	Logger *slog.Logger
	// Audit gets the events of the redirect listener. Nil is Logger. The handler's
	// own events go where its errors.Recover says.
	Audit audit.Recorder
}

// NewServer returns a server for h, to be served by [Run] or [Serve]: one that is not for plain
// HTTP closes each connection that comes to it without TLS, as by ListenAndServe. addr is
// host:port as for net.Listen; empty is ":https", or ":http" for plain HTTP. Its fields may be
// changed before Run, with one rule: Run knows the settings through ConnContext, so a
// ConnContext of your own must call the one it replaces, and is called by Run with a connection
// that is not of crypto/tls.
//
// TLS is 1.3 or 1.2 with ECDHE and an AEAD cipher, over HTTP/2 or HTTP/1.1. Key
// exchanges are Go's default, which prefers post-quantum hybrids. OPTIONS * goes
// to h like any other request.
//
// An HTTP/2 connection, beside its streams, takes at most 1 MiB of bodies that no handler has
// read yet, in frames of 16 KiB. It is closed once there is something to write and the client
// has taken nothing for WriteTimeout, or for 30 s if that is less: net/http's WriteTimeout
// ends no connection whose client has stopped to read, nor the handlers that write to it.
// The server's field HTTP2 has these limits. [Run] bounds what TLS itself writes likewise.
//
// NewServer returns an error that names the field if h is nil, if there is more
// than one ServerConfig, or if the config can't work: no source of certificates, more
// than one, unreadable files, negative values, an empty pool of authorities.
func NewServer(addr string, h http.Handler, cfg ...ServerConfig) (*http.Server, error) {
	if h == nil {
		return nil, errors.New("transport: NewServer: the handler is nil (net/http would serve DefaultServeMux)")
	}
	if len(cfg) > 1 {
		return nil, errors.New("transport: NewServer: more than one ServerConfig")
	}
	var c ServerConfig
	if len(cfg) == 1 {
		c = cfg[0]
	}
	if addr != "" {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return nil, fmt.Errorf("transport: NewServer: addr: %w", err)
		}
	}
	if err := c.setDefaults(); err != nil {
		return nil, err
	}
	certs, err := c.certificates()
	if err != nil {
		return nil, err
	}
	redirect, err := c.redirectServer(certs)
	if err != nil {
		return nil, err
	}

	srv := c.server(addr, h)
	srv.DisableGeneralOptionsHandler = true
	if !c.plain() {
		srv.TLSConfig = certs.tls
		if err := c.clients(srv.TLSConfig); err != nil {
			return nil, err
		}
		srv.Protocols.SetHTTP2(true)
		srv.HTTP2 = &http.HTTP2Config{
			MaxConcurrentStreams:          c.MaxConcurrentStreams,
			MaxReadFrameSize:              16 << 10,
			MaxReceiveBufferPerConnection: 1 << 20,
			MaxReceiveBufferPerStream:     1 << 20,
			WriteByteTimeout:              stalled(c.WriteTimeout),
		}
	}
	s := &settings{insecure: c.plain(), loopback: c.LoopbackHTTP, connections: c.MaxConnections, drain: c.ShutdownTimeout, redirect: redirect, logger: c.logger}
	srv.ConnContext = s.connContext
	return srv, nil
}

// setDefaults fills in what is zero and refuses what is negative.
func (c *ServerConfig) setDefaults() error {
	for _, f := range []struct {
		name string
		d    *time.Duration
		def  time.Duration
	}{
		{"ReadHeaderTimeout", &c.ReadHeaderTimeout, 5 * time.Second},
		{"ReadTimeout", &c.ReadTimeout, 30 * time.Second},
		{"WriteTimeout", &c.WriteTimeout, 60 * time.Second},
		{"IdleTimeout", &c.IdleTimeout, 120 * time.Second},
		{"ShutdownTimeout", &c.ShutdownTimeout, 20 * time.Second},
	} {
		switch {
		case *f.d < 0:
			return fmt.Errorf("transport: ServerConfig.%s: %v is negative", f.name, *f.d)
		case *f.d == 0:
			*f.d = f.def
		}
	}
	for _, f := range []struct {
		name string
		n    *int
		def  int
	}{
		{"MaxHeaderBytes", &c.MaxHeaderBytes, 32 << 10},
		{"MaxConcurrentStreams", &c.MaxConcurrentStreams, 100},
		{"MaxConnections", &c.MaxConnections, 0},
	} {
		switch {
		case *f.n < 0:
			return fmt.Errorf("transport: ServerConfig.%s: %d is negative", f.name, *f.n)
		case *f.n == 0:
			*f.n = f.def
		}
	}
	if c.plain() && (c.TLS13Only || c.ClientCAs != nil || c.RequireClientCert) {
		return errors.New("transport: ServerConfig: TLS13Only, ClientCAs and RequireClientCert need TLS, which LoopbackHTTP and AllowInsecureHTTP do without")
	}
	return nil
}

// clients sets what is asked of clients in a handshake.
func (c *ServerConfig) clients(config *tls.Config) error {
	switch {
	case c.ClientCAs != nil && c.ClientCAs.Equal(x509.NewCertPool()):
		return errors.New("transport: ServerConfig.ClientCAs: the pool is empty")
	case c.ClientCAs == nil && c.RequireClientCert:
		return errors.New("transport: ServerConfig.RequireClientCert: needs ClientCAs")
	case c.Autocert != nil && c.RequireClientCert:
		return errors.New("transport: ServerConfig.RequireClientCert: with Autocert the authority could not check the host; leave it to auth.Require who needs a certificate")
	}
	if c.TLS13Only {
		config.MinVersion = tls.VersionTLS13
	}
	if c.ClientCAs == nil {
		return nil
	}
	config.ClientCAs, config.ClientAuth = c.ClientCAs.Clone(), tls.VerifyClientCertIfGiven
	if c.RequireClientCert {
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return nil
}

// server returns a plain HTTP/1 server for h, with every limit set.
func (c *ServerConfig) server(addr string, h http.Handler) *http.Server {
	srv := &http.Server{
		Addr:              addr,
		Handler:           h,
		ReadHeaderTimeout: c.ReadHeaderTimeout,
		ReadTimeout:       c.ReadTimeout,
		WriteTimeout:      c.WriteTimeout,
		IdleTimeout:       c.IdleTimeout,
		MaxHeaderBytes:    c.MaxHeaderBytes,
		Protocols:         new(http.Protocols),
		ErrorLog:          log.New(errorLog{c.logger}, "", 0),
	}
	srv.Protocols.SetHTTP1(true)
	return srv
}

// redirectServer returns the server for RedirectAddr, or nil.
func (c *ServerConfig) redirectServer(certs *certificates) (*http.Server, error) {
	switch {
	case c.RedirectAddr == "" && c.RedirectHost == "" && len(c.RedirectCredentials) == 0:
		return nil, nil
	case c.RedirectAddr == "" && c.RedirectHost == "":
		return nil, errors.New("transport: ServerConfig.RedirectCredentials: needs RedirectAddr")
	case c.RedirectAddr == "":
		return nil, errors.New("transport: ServerConfig.RedirectHost: needs RedirectAddr")
	case c.plain():
		return nil, errors.New("transport: ServerConfig.RedirectAddr: there is no HTTPS to redirect to with LoopbackHTTP or AllowInsecureHTTP")
	}
	if _, _, err := net.SplitHostPort(c.RedirectAddr); err != nil {
		return nil, fmt.Errorf("transport: ServerConfig.RedirectAddr: %w", err)
	}
	if _, _, err := cleanHost(c.RedirectHost); err != nil {
		return nil, fmt.Errorf("transport: ServerConfig.RedirectHost: %w", err)
	}
	for _, name := range c.RedirectCredentials {
		if !grammar.IsToken(name) {
			return nil, fmt.Errorf("transport: ServerConfig.RedirectCredentials: %q is not a field name", name)
		}
	}
	h := RedirectHTTPS(c.RedirectHost, c.RedirectCredentials...)
	if certs.acme != nil {
		h = challenges(certs.acme, h)
	}
	recorder := c.Audit
	if recorder == nil && c.Logger != nil {
		recorder = audit.Slog(c.Logger)
	}
	recovered := httperr.Recover(httperr.Config{Logger: c.Logger, Audit: recorder})
	srv := c.server(c.RedirectAddr, recovered(Secure(Headers{})(h)))
	srv.DisableGeneralOptionsHandler = true
	return srv, nil
}

// plain reports whether the server speaks plain HTTP.
func (c *ServerConfig) plain() bool { return c.LoopbackHTTP || c.AllowInsecureHTTP }

func (c *ServerConfig) logger() *slog.Logger {
	if c.Logger != nil {
		return c.Logger
	}
	return slog.Default()
}

// settings are what Run needs to know of a server beyond its own fields.
type settings struct {
	insecure bool // plain HTTP
	loopback bool // but only on a loopback address

	connections int // at a time; 0 is no bound
	drain       time.Duration
	redirect    *http.Server
	logger      func() *slog.Logger
	ran         atomic.Bool
}

// A question is a connection that asks a server's ConnContext for its settings.
// They travel in the server itself, since a table beside it would be a global.
// Of the fields that could hold them, ConnContext is the one that users least
// often set.
type question struct {
	net.Conn
	settings *settings
}

func (s *settings) connContext(ctx context.Context, conn net.Conn) context.Context {
	switch c := conn.(type) {
	case *question:
		c.settings = s
	case *tls.Conn:
	default:
		if !s.insecure { // net/http serves it in the clear
			s.logger().Error("transport: closed a connection that is not TLS to net/http: serve with transport.Run or Serve", "remote_addr", fmt.Sprint(conn.RemoteAddr()))
			_ = conn.Close()
		}
	}
	return ctx
}

// settingsOf returns the settings of a server that NewServer made, or nil.
func settingsOf(srv *http.Server) (s *settings, err error) {
	if srv.ConnContext == nil {
		return nil, nil
	}
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("transport: Run: srv.ConnContext panicked when it was asked for the server's settings, with a connection that is none of crypto/tls: %v", cause)
		}
	}()
	// A real connection below, because a ConnContext in front of ours may look at it.
	conn, other := net.Pipe()
	defer func() { _, _ = conn.Close(), other.Close() }()
	q := &question{Conn: conn}
	srv.ConnContext(context.Background(), q)
	return q.settings, nil
}

// An errorLog passes net/http's log lines on.
type errorLog struct{ logger func() *slog.Logger }

func (l errorLog) Write(line []byte) (int, error) {
	l.logger().Warn("transport: " + logtext.Clean(string(bytes.TrimSpace(line)), 8<<10))
	return len(line), nil
}
