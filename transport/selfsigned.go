package transport

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net/netip"
	"time"
)

// SelfSigned returns a certificate for hosts (names or IP addresses; none means
// localhost, 127.0.0.1 and ::1) with a new ECDSA P-256 key. It is for development
// and tests: no client trusts it unless told to, it is valid for 24 hours, and it
// exists only in memory. It returns an error if a host is not one.
func SelfSigned(hosts ...string) (tls.Certificate, error) {
	if len(hosts) == 0 {
		hosts = []string{"localhost", "127.0.0.1", "::1"}
	}
	now := time.Now()
	cert := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "development only"},
		NotBefore:             now.Add(-time.Hour), // for clocks that differ
		NotAfter:              now.Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, h := range hosts {
		if addr, err := netip.ParseAddr(h); err == nil && addr.Zone() == "" {
			cert.IPAddresses = append(cert.IPAddresses, addr.AsSlice())
			continue
		}
		name, port, err := cleanHost(h)
		if err != nil || port != "" || name[0] == '[' {
			return tls.Certificate{}, fmt.Errorf("transport: SelfSigned: %q is neither a host name nor an IP address", h)
		}
		cert.DNSNames = append(cert.DNSNames, name)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("transport: SelfSigned: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("transport: SelfSigned: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("transport: SelfSigned: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}
