package transport

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	httperr "github.com/sallyport/sallyport/errors"
)

// Autocert gets and renews certificates from an ACME authority (RFC 8555), Let's
// Encrypt by default, when a client first asks for a host. The authority checks
// the hosts by TLS-ALPN-01 on the server's own port, which must be 443 to the
// outside, and by HTTP-01 if there is a RedirectAddr, which must be 80.
//
// For each host a renewal timer runs as long as the process does. A handshake that comes
// before there is a certificate fails once the server's timeouts for it have passed, and the
// certificate is there for a later one; up to eight goroutines for each host wait for that.
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

// manager checks a and returns its manager.
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

// A patience lets handshakes wait for a Manager, which may ask its authority for minutes, no
// longer than the server lets a handshake take: the connections, and their places among
// MaxConnections, would be anyone's to hold.
type patience struct {
	manager *autocert.Manager
	wait    time.Duration
	asking  map[wanted]chan struct{} // full of those that wait
}

// A wanted is one of the certificates that a Manager has: for a host one with an ECDSA key, and
// one with an RSA key for those who know nothing else.
type wanted struct {
	host string
	rsa  bool
}

// askingAtOnce is how many may ask for one certificate at a time.
const askingAtOnce = 4

func newPatience(m *autocert.Manager, c *ServerConfig) *patience {
	p := &patience{manager: m, wait: min(c.ReadHeaderTimeout, c.ReadTimeout, c.WriteTimeout), asking: make(map[wanted]chan struct{})}
	for _, host := range c.Autocert.Hosts {
		for _, rsa := range []bool{false, true} {
			p.asking[wanted{hostKey(host), rsa}] = make(chan struct{}, askingAtOnce)
		}
	}
	return p
}

func hostKey(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }

// GetCertificate is the Manager's, with a bound on the time that it takes.
func (p *patience) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	// A Manager would map letters that are not ASCII, which the extension never has (RFC 6066,
	// section 3), to others.
	if strings.ContainsFunc(hello.ServerName, func(c rune) bool { return c >= utf8.RuneSelf }) {
		return nil, errors.New("transport: Autocert: the server name is not ASCII")
	}
	asking, ok := p.asking[wanted{hostKey(hello.ServerName), !knowsECDSA(hello)}]
	if !ok || slices.Equal(hello.SupportedProtos, []string{acme.ALPNProto}) { // nobody is asked
		return p.manager.GetCertificate(hello)
	}
	late := time.NewTimer(p.wait)
	defer late.Stop()
	select {
	case asking <- struct{}{}:
	case <-late.C:
		return nil, errNoCertificateYet
	}
	var cert *tls.Certificate
	var err error
	done := make(chan struct{})
	go func() {
		defer func() {
			if cause := recover(); cause != nil { // net/http would have seen to it
				err = fmt.Errorf("transport: Autocert: panic: %v", cause)
			}
			<-asking
			close(done)
		}()
		cert, err = p.manager.GetCertificate(hello)
	}()
	select {
	case <-done:
		return cert, err
	case <-late.C:
		return nil, errNoCertificateYet
	}
}

// knowsECDSA reports whether a Manager would answer hello with an ECDSA key.
func knowsECDSA(hello *tls.ClientHelloInfo) bool {
	schemes := []tls.SignatureScheme{tls.ECDSAWithSHA1, tls.ECDSAWithP256AndSHA256, tls.ECDSAWithP384AndSHA384, tls.ECDSAWithP521AndSHA512}
	suites := []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305,
	}
	return (hello.SignatureSchemes == nil || slices.ContainsFunc(hello.SignatureSchemes, func(s tls.SignatureScheme) bool { return slices.Contains(schemes, s) })) &&
		(hello.SupportedCurves == nil || slices.Contains(hello.SupportedCurves, tls.CurveP256)) &&
		slices.ContainsFunc(hello.CipherSuites, func(s uint16) bool { return slices.Contains(suites, s) })
}

var errNoCertificateYet = errors.New("transport: Autocert: there is no certificate yet")

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
