package transport

import (
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// A certificate ends soon in the last quarter of its life, or the last two weeks: whatever
// renews certificates does so earlier, authorities' clients by a third.
const lastDays = 14 * 24 * time.Hour

// An expiry warns of certificates that end soon, of each once an hour at most, as handshakes come
// by.
type expiry struct {
	logger func() *slog.Logger

	mu   sync.Mutex // held by the one handshake that looks when the last warning was
	last map[[sha256.Size]byte]time.Time
}

// mostEnding bounds the certificates whose last warning is remembered.
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
	if e.last == nil || len(e.last) >= mostEnding {
		e.last = make(map[[sha256.Size]byte]time.Time)
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

// complete fills in what crypto/tls would parse in each handshake, and refuses a certificate
// that clients would, or could not use.
func complete(cert *tls.Certificate) (err error) {
	if cert.Leaf == nil {
		if cert.Leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
			return err
		}
	}
	signer, ok := cert.PrivateKey.(crypto.Signer)
	if !ok {
		return errors.New("the private key can't sign")
	}
	if key, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool }); ok && !key.Equal(cert.Leaf.PublicKey) {
		return errors.New("the private key is that of another certificate")
	}
	for _, x := range cert.Leaf.Extensions {
		if x.Id.Equal(tlsFeature) && len(cert.OCSPStaple) == 0 {
			return errors.New("the certificate demands a stapled OCSP response (RFC 7633) and has none: ask for one without that, or set OCSPStaple and keep it fresh by GetCertificate")
		}
	}
	return nil
}
