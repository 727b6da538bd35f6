package transport

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

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
		certs.tls.GetCertificate = ends.watch(newPatience(m, c).GetCertificate)
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
	if old := f.current.Load(); old != nil && holds(old.Leaf) {
		switch now := time.Now(); {
		case now.After(pair.Leaf.NotAfter):
			return errors.New("the new certificate has ended, and the old one has not")
		case now.Before(pair.Leaf.NotBefore):
			return errors.New("the new certificate does not hold yet, and the old one does")
		}
	}
	f.current.Store(&pair)
	return nil
}
