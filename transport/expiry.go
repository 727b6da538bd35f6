package transport

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// A certificate ends soon in the last quarter of its life, or the last two weeks: whatever
// renews certificates does so earlier, authorities' clients by a third.
const lastDays = 14 * 24 * time.Hour

// An expiry warns of certificates that end soon, of each once an hour at most, and of no more than
// mostEnding, as handshakes come by.
type expiry struct {
	logger func() *slog.Logger

	mu   sync.Mutex // held by the one handshake that looks when the last warning was
	last map[[sha256.Size]byte]time.Time
	// When last was made smaller, and when a warning said that there are more than it holds.
	swept, more time.Time
}

const mostEnding = 1000

// watch returns get with an eye on what it returns.
func (e *expiry) watch(get func(*tls.ClientHelloInfo) (*tls.Certificate, error)) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, err := get(hello)
		if err == nil && cert != nil {
			e.look(cert.Leaf)
		}
		return cert, err
	}
}

// look warns if leaf ends soon. Nil is one that was not parsed.
func (e *expiry) look(leaf *x509.Certificate) {
	if leaf == nil {
		return
	}
	now := time.Now()
	left := leaf.NotAfter.Sub(now)
	if left > min(leaf.NotAfter.Sub(leaf.NotBefore)/4, lastDays) || !e.mu.TryLock() {
		return
	}
	defer e.mu.Unlock()
	id := sha256.Sum256(leaf.Raw)
	if last, told := e.last[id]; told && now.Sub(last) < time.Hour {
		return
	}
	if len(e.last) >= mostEnding && now.Sub(e.swept) >= time.Minute {
		e.swept = now
		maps.DeleteFunc(e.last, func(_ [sha256.Size]byte, last time.Time) bool { return now.Sub(last) >= time.Hour })
	}
	switch {
	case e.last == nil:
		e.last = make(map[[sha256.Size]byte]time.Time)
	case len(e.last) >= mostEnding:
		if now.Sub(e.more) >= time.Hour {
			e.more = now
			e.logger().Warn("transport: more certificates end than are named here", "named", mostEnding)
		}
		return
	}
	e.last[id] = now
	message := "transport: a certificate ends soon"
	if left <= 0 {
		message = "transport: a certificate has ended, and clients refuse it"
	}
	names := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	e.logger().Warn(message, "names", names[:min(len(names), 5)], "not_after", leaf.NotAfter)
}

// tlsFeature is the extension of RFC 7633.
var tlsFeature = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}

// belongs returns an error if a private key is not the one of a public key. It may be somewhere
// else, as in an HSM, and of a type of its own.
func belongs(private crypto.PrivateKey, public crypto.PublicKey) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("the private key has no public key: %v", cause)
		}
	}()
	signer, ok := private.(crypto.Signer)
	if !ok {
		return errors.New("the private key can't sign")
	}
	same := false
	switch key := signer.Public().(type) {
	case *ecdsa.PublicKey:
		same = key.Equal(public)
	case *rsa.PublicKey:
		same = key.Equal(public)
	case ed25519.PublicKey:
		same = key.Equal(public)
	default:
		return fmt.Errorf("the public key of the private key is of the type %T, which TLS does not know", key)
	}
	if !same {
		return errors.New("the private key is that of another certificate")
	}
	return nil
}

// complete fills in what crypto/tls would parse in each handshake, and refuses a certificate
// that clients would, or could not use.
func complete(cert *tls.Certificate) (err error) {
	if cert.Leaf == nil {
		if cert.Leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
			return err
		}
	}
	if err := belongs(cert.PrivateKey, cert.Leaf.PublicKey); err != nil {
		return err
	}
	for _, x := range cert.Leaf.Extensions {
		if x.Id.Equal(tlsFeature) && len(cert.OCSPStaple) == 0 {
			return errors.New("the certificate demands a stapled OCSP response (RFC 7633) and has none: ask for one without that, or set OCSPStaple and keep it fresh by GetCertificate")
		}
	}
	return nil
}
