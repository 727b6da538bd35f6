package transport

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"time"
)

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

// holds reports whether now is within the time for which a certificate was issued.
func holds(leaf *x509.Certificate) bool {
	now := time.Now()
	return !now.Before(leaf.NotBefore) && !now.After(leaf.NotAfter)
}
