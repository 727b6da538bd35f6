package mtls

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sallyport/sallyport/auth"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/scope"
	"github.com/sallyport/sallyport/internal/strictbase64"
)

const (
	clientCert      = "Client-Cert"
	maxForwardBytes = 16 << 10
)

// ForwardedConfig configures a [Forwarded].
type ForwardedConfig struct {
	// TrustedProxies are the addresses of the proxies that end TLS, as this service sees
	// them. There is no default. The peer of a Unix socket has none, and is not trusted.
	TrustedProxies []netip.Prefix
}

// A Forwarded reads the client certificate that a proxy has verified and passes on in
// the field Client-Cert (RFC 9440). It is safe for concurrent use.
//
// The proxy must verify the certificate, and must remove the field from what clients
// send. From other peers the field counts for nothing, and [Forwarded.Wrap] removes it
// for handlers further in. That the connection to the proxy has a certificate of its own
// says nothing of the client, and is not looked at.
type Forwarded struct{ trusted []netip.Prefix }

// NewForwarded returns a Forwarded. No TrustedProxies, and one that is not valid or
// holds every address, are errors that name the field.
func NewForwarded(cfg ForwardedConfig) (*Forwarded, error) {
	if len(cfg.TrustedProxies) == 0 {
		return nil, errors.New("mtls: ForwardedConfig.TrustedProxies is empty")
	}
	f := &Forwarded{}
	for i, p := range cfg.TrustedProxies {
		if p.Addr().Is4In6() && p.Bits() >= 96 { // as peers are compared
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		if !p.IsValid() || p.Bits() == 0 || p.Addr().Is4In6() {
			return nil, fmt.Errorf("mtls: ForwardedConfig.TrustedProxies[%d]: %v is not a prefix, or holds every address", i, p)
		}
		f.trusted = append(f.trusted, p)
	}
	return f, nil
}

func (f *Forwarded) trusts(r *http.Request) bool {
	peer := scope.PeerAddr(r)
	return peer.IsValid() && slices.ContainsFunc(f.trusted, func(p netip.Prefix) bool { return p.Contains(peer) })
}

// Certificate returns the certificate of Client-Cert. It returns [auth.ErrNoCredentials]
// if there is none, or the peer is no trusted proxy; a *errors.Problem of status 400 for
// two fields, or one that holds no certificate; and an error that wraps [auth.ErrInvalid]
// for a certificate that is not valid at this time. Whose it is, the proxy has verified.
func (f *Forwarded) Certificate(r *http.Request) (*x509.Certificate, error) {
	values := r.Header[clientCert]
	if len(values) == 0 || !f.trusts(r) {
		return nil, auth.ErrNoCredentials
	}
	if len(values) > 1 || len(values[0]) > maxForwardBytes {
		return nil, malformed()
	}
	// A Byte Sequence of RFC 8941, section 3.3.5, without parameters.
	text, ok := strings.CutPrefix(values[0], ":")
	if ok {
		text, ok = strings.CutSuffix(text, ":")
	}
	if !ok {
		return nil, malformed()
	}
	der, err := strictbase64.Decode(base64.StdEncoding, text)
	if err != nil {
		return nil, malformed()
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, malformed()
	}
	if err := valid(c, time.Now()); err != nil {
		return nil, err
	}
	return c, nil
}

func malformed() error {
	return httperr.New(http.StatusBadRequest, "invalid_request", "The Client-Cert field does not hold one certificate.")
}

// Wrap is a door that removes Client-Cert, and Client-Cert-Chain, from requests of peers
// that are no trusted proxies, so that nothing further in can believe them.
func (f *Forwarded) Wrap(next http.Handler) http.Handler {
	if next == nil {
		panic("mtls: Forwarded.Wrap: the handler is nil")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !f.trusts(r) && carries(r.Header) {
			_, r = scope.Child(r) // a copy: an outer door may be reading the header
			r.Header = r.Header.Clone()
			for name := range r.Header {
				if isClientCert(name) {
					delete(r.Header, name)
				}
			}
		}
		next.ServeHTTP(w, r)
	})
}

func carries(h http.Header) bool {
	for name := range h {
		if isClientCert(name) {
			return true
		}
	}
	return false
}

// isClientCert also knows the spelling with underscores, which some gateways take for
// the same.
func isClientCert(name string) bool {
	name = strings.ReplaceAll(name, "_", "-")
	return strings.EqualFold(name, clientCert) || strings.EqualFold(name, clientCert+"-Chain")
}
