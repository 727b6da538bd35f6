package transport

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
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
