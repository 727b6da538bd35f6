package mtls

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// Authorities are the certificate authorities whose clients are taken. One value serves
// the server's tls.Config, by Pool, and Config.Authorities. It never changes, and is
// safe for concurrent use.
type Authorities struct{ certificates []*x509.Certificate }

// ParseAuthorities reads the certificates of authorities in PEM, as files have them;
// text between them is skipped. It returns an error if there is none, or anything that
// is not the whole certificate of an authority: x509.CertPool would leave that out, and
// a tls.Config whose ClientCAs is nil takes the clients of every public authority.
func ParseAuthorities(data []byte) (*Authorities, error) {
	a := &Authorities{}
	marks := bytes.Count(data, []byte("-----BEGIN"))
	for rest := data; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		n := len(a.certificates) + 1
		if b.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("mtls: ParseAuthorities: block %d is no certificate", n)
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, fmt.Errorf("mtls: ParseAuthorities: certificate %d: %w", n, err)
		}
		if !c.BasicConstraintsValid || !c.IsCA {
			return nil, fmt.Errorf("mtls: ParseAuthorities: certificate %d is not of an authority", n)
		}
		a.certificates = append(a.certificates, c)
	}
	switch {
	case len(a.certificates) != marks: // pem skips what is not whole
		return nil, errors.New("mtls: ParseAuthorities: a block is cut off or malformed")
	case marks == 0:
		return nil, errors.New("mtls: ParseAuthorities: there is no certificate")
	}
	return a, nil
}

// Pool returns the authorities in a pool of its own, for tls.Config.ClientCAs. That of
// nil Authorities is empty: no client gets in.
func (a *Authorities) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	if a != nil {
		for _, c := range a.certificates {
			p.AddCert(c)
		}
	}
	return p
}

// issued reports whether a chain ends with one of the authorities.
func (a *Authorities) issued(chain []*x509.Certificate) bool {
	for _, c := range a.certificates {
		if c.Equal(chain[len(chain)-1]) {
			return true
		}
	}
	return false
}
