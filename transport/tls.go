package transport

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	httperr "github.com/sallyport/sallyport/errors"
)

// Autocert gets and renews certificates from an ACME authority (RFC 8555), Let's
// Encrypt by default, when a client first asks for a host. The authority checks
// the hosts by TLS-ALPN-01 on the server's own port, which must be 443 to the
// outside, and by HTTP-01 if there is a RedirectAddr, which must be 80.
//
// For each host a renewal timer runs as long as the process does.
type Autocert struct {
	// Hosts are the names to get certificates for, and no others. Required.
	Hosts []string
	// CacheDir is the directory that keeps the account key and the certificates with
	// their private keys. It is made, for its owner only, if it does not exist.
	// Required: an authority soon refuses a service that asks again at every start.
	CacheDir string
	// AcceptTOS says that you accept the authority's terms of service. Required.
	AcceptTOS bool
	// Email is where the authority writes to about problems. Optional.
	Email string
	// DirectoryURL is the authority's directory. Empty is Let's Encrypt.
	DirectoryURL string
	// HTTPClient talks to the authority. Nil is http.DefaultClient.
	HTTPClient *http.Client
}

// certificates is where a server has its certificates from.
type certificates struct {
	tls  *tls.Config
	acme *autocert.Manager // nil without Autocert
}

// certificates returns the one source that c names.
func (c *ServerConfig) certificates() (*certificates, error) {
	var named []string
	for _, source := range []struct {
		name string
		set  bool
	}{
		{"CertFile and KeyFile", c.CertFile != "" || c.KeyFile != ""},
		{"Certificates", c.Certificates != nil},
		{"GetCertificate", c.GetCertificate != nil},
		{"Autocert", c.Autocert != nil},
		{"LoopbackHTTP", c.LoopbackHTTP},
		{"AllowInsecureHTTP", c.AllowInsecureHTTP},
	} {
		if source.set {
			named = append(named, source.name)
		}
	}
	switch {
	case len(named) == 0:
		return nil, errors.New("transport: ServerConfig: no certificate: set CertFile and KeyFile, Certificates, GetCertificate or Autocert, or say LoopbackHTTP or AllowInsecureHTTP")
	case len(named) > 1:
		return nil, fmt.Errorf("transport: ServerConfig: set only one of %s", strings.Join(named, ", "))
	case c.plain():
		return &certificates{}, nil
	}

	certs := &certificates{tls: baseTLS()}
	ends := &expiry{logger: c.logger}
	switch {
	case c.Autocert != nil:
		m, err := c.Autocert.manager()
		if err != nil {
			return nil, err
		}
		certs.acme = m
		certs.tls.GetCertificate = ends.watch(m.GetCertificate)
		certs.tls.NextProtos = append(certs.tls.NextProtos, acme.ALPNProto)
	case c.GetCertificate != nil:
		certs.tls.GetCertificate = ends.watch(c.GetCertificate)
	case c.Certificates != nil:
		if len(c.Certificates) == 0 {
			return nil, errors.New("transport: ServerConfig.Certificates: empty")
		}
		list := slices.Clone(c.Certificates)
		for i := range list {
			if len(list[i].Certificate) == 0 || list[i].PrivateKey == nil {
				return nil, fmt.Errorf("transport: ServerConfig.Certificates[%d]: has no certificate or no private key", i)
			}
			if err := complete(&list[i]); err != nil {
				return nil, fmt.Errorf("transport: ServerConfig.Certificates[%d]: %w", i, err)
			}
		}
		certs.tls.Certificates = list
		certs.tls.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			for _, cert := range list {
				ends.look(cert.Leaf)
			}
			return nil, nil // as it is
		}
	default:
		f, err := newCertFile(c.CertFile, c.KeyFile, c.logger)
		if err != nil {
			return nil, err
		}
		certs.tls.GetCertificate = ends.watch(f.GetCertificate)
	}
	return certs, nil
}

// baseTLS returns the TLS settings that all servers share. The cipher suites are
// those of TLS 1.2 with forward secrecy and an AEAD cipher; Go's default still
// offers CBC ones with SHA-1. Those of TLS 1.3 are not configurable and all fine.
func baseTLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		NextProtos: []string{"h2", "http/1.1"},
	}
}

// manager checks a and returns its manager.
const challengePath = "/.well-known/acme-challenge/"

var challengeToken = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// challenges returns a handler that answers the http-01 challenges of m (RFC 8555, section
// 8.3), and leaves everything else to next. What m says of its errors stays inside.
func challenges(m *autocert.Manager, next http.Handler) http.Handler {
	h := m.HTTPHandler(nil)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.URL.Path, challengePath)
		if !ok || !challengeToken.MatchString(token) || r.Method != http.MethodGet || leaked(r.Header, nil) != "" {
			next.ServeHTTP(w, r)
			return
		}
		held := &challengeAnswer{header: http.Header{}, status: http.StatusOK}
		h.ServeHTTP(held, r)
		if held.status != http.StatusOK {
			httperr.Write(w, r, httperr.New(http.StatusNotFound, "not_found", "There is no such challenge.").WithCause(errors.New(held.body.String())))
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write(held.body.Bytes())
	})
}

// A challengeAnswer holds what a Manager answers.
type challengeAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *challengeAnswer) Header() http.Header         { return a.header }
func (a *challengeAnswer) WriteHeader(status int)      { a.status = status }
func (a *challengeAnswer) Write(b []byte) (int, error) { return a.body.Write(b) }

func (a *Autocert) manager() (*autocert.Manager, error) {
	if len(a.Hosts) == 0 {
		return nil, errors.New("transport: Autocert.Hosts: empty")
	}
	hosts := make([]string, len(a.Hosts))
	for i, h := range a.Hosts {
		host, port, err := cleanHost(h)
		switch _, notAddr := netip.ParseAddr(host); {
		case err != nil:
			return nil, fmt.Errorf("transport: Autocert.Hosts[%d]: %w", i, err)
		case port != "":
			return nil, fmt.Errorf("transport: Autocert.Hosts[%d]: %q has a port", i, h)
		case notAddr == nil || host[0] == '[' || !strings.Contains(host, "."):
			return nil, fmt.Errorf("transport: Autocert.Hosts[%d]: %q is not a public host name", i, h)
		}
		hosts[i] = host
	}
	if a.CacheDir == "" {
		return nil, errors.New("transport: Autocert.CacheDir: empty")
	}
	if !a.AcceptTOS {
		return nil, errors.New("transport: Autocert.AcceptTOS: must be true")
	}
	if err := os.MkdirAll(a.CacheDir, 0o700); err != nil {
		return nil, fmt.Errorf("transport: Autocert.CacheDir: %w", err)
	}
	return &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		Cache:      autocert.DirCache(a.CacheDir),
		HostPolicy: autocert.HostWhitelist(hosts...),
		Email:      a.Email,
		Client:     &acme.Client{DirectoryURL: a.directory(), HTTPClient: a.HTTPClient, UserAgent: "sallyport"},
	}, nil
}

func (a *Autocert) directory() string {
	if a.DirectoryURL != "" {
		return a.DirectoryURL
	}
	return autocert.DefaultACMEDirectory
}

// reloadEvery is how often certificate files are looked at, at most.
const reloadEvery = time.Minute

// A certFile is a certificate in files that may be renewed. It has no goroutine:
// a handshake reads the files when it is time.
type certFile struct {
	cert, key string
	logger    func() *slog.Logger
	current   atomic.Pointer[tls.Certificate]

	mu      sync.Mutex // held by the one handshake that reads the files
	read    time.Time
	problem string // why the last reading failed, logged once
}

func newCertFile(cert, key string, logger func() *slog.Logger) (*certFile, error) {
	switch {
	case cert == "":
		return nil, errors.New("transport: ServerConfig.CertFile: empty, but KeyFile is set")
	case key == "":
		return nil, errors.New("transport: ServerConfig.KeyFile: empty, but CertFile is set")
	}
	f := &certFile{cert: cert, key: key, logger: logger, read: time.Now()}
	if err := f.load(); err != nil {
		return nil, fmt.Errorf("transport: ServerConfig.CertFile, KeyFile: %w", err)
	}
	return f, nil
}

// GetCertificate returns the certificate as of less than reloadEvery ago.
func (f *certFile) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if f.mu.TryLock() { // else another handshake is at it, and this one uses the old
		if time.Since(f.read) >= reloadEvery {
			f.reload()
		}
		f.mu.Unlock()
	}
	return f.current.Load(), nil
}

func (f *certFile) reload() {
	f.read = time.Now()
	if err := f.load(); err != nil {
		if err.Error() != f.problem {
			f.problem = err.Error()
			f.logger().Warn("transport: the old certificate stays, the new one can't be used", "cert_file", f.cert, "error", err)
		}
		return
	}
	f.problem = ""
}

// load takes the files as they are, if they are right: whole, and better than what there is.
func (f *certFile) load() error {
	chain, err := os.ReadFile(f.cert)
	if err != nil {
		return err
	}
	key, err := os.ReadFile(f.key)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return err
	}
	rest := chain
	for block := new(pem.Block); block != nil; {
		block, rest = pem.Decode(rest)
	}
	for line := range bytes.Lines(rest) {
		if line[0] == '-' { // of another block
			return errors.New("the chain is cut off")
		}
	}
	if err := complete(&pair); err != nil {
		return err
	}
	now, old := time.Now(), f.current.Load()
	if old != nil && now.After(pair.Leaf.NotAfter) && !now.After(old.Leaf.NotAfter) {
		return errors.New("the new certificate has ended, and the old one has not")
	}
	f.current.Store(&pair)
	return nil
}
