package mtls

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/internal/quoted"
)

const (
	scheme        = "MutualTLS"
	maxNameBytes  = 255
	defaultIssuer = "mtls"
	defaultRealm  = "api"
)

// A NameKind is what of a certificate names its owner.
type NameKind int

// The kinds of names.
const (
	URI     NameKind = iota + 1 // the one subjectAltName of type URI, as SPIFFE has it
	DNS                         // the one subjectAltName of type dNSName
	Email                       // the one subjectAltName of type rfc822Name
	Subject                     // the subject's distinguished name (RFC 4514)
)

// Config configures an [Authenticator]. Name, or Identity, is required; the other zero
// values are the secure default.
type Config struct {
	// Name says what names the caller. A certificate that has none of the kind, or more
	// than one, names nobody and is refused: who chooses which of two names counts could
	// choose who he is.
	Name NameKind

	// Identity makes an identity of a verified certificate, where Name is not enough. It
	// must return one with a Subject, or an error as auth.Authenticator's, and be safe
	// for concurrent use. Issuer, Scheme and Expires are set if it leaves them empty.
	Identity func(r *http.Request, c *x509.Certificate) (*auth.Identity, error)

	// Allowed are the names that are taken, compared exactly. Nil means all that the
	// certificate authorities of the server vouch for, which must be your own then.
	Allowed []string

	// Issuer is the Identity's Issuer: who vouches for the names. Two authorities whose
	// names may be the same need two of it. "" means "mtls".
	Issuer string

	// Certificate returns the verified client certificate of a request. Nil means that
	// of the connection, [Certificate]; behind a proxy that ends TLS, use
	// [Forwarded.Certificate].
	Certificate func(*http.Request) (*x509.Certificate, error)

	// Realm is that of the challenge, printable ASCII. "" means "api".
	Realm string
}

// An Authenticator accepts client certificates (RFC 8705 describes them for OAuth). It
// is safe for concurrent use.
//
// The server's tls.Config decides which certificates are good: set ClientCAs to your
// own authorities, and ClientAuth to tls.VerifyClientCertIfGiven, or to
// tls.RequireAndVerifyClientCert where there is no other scheme. With one that does not
// verify, nobody gets in here.
type Authenticator struct {
	cfg       Config
	challenge string
}

// New returns an Authenticator. Neither Name nor Identity, both, an unknown Name, an
// empty allowed name or no name, and a Realm that is not printable ASCII are errors that
// name the field.
func New(cfg Config) (*Authenticator, error) {
	switch {
	case cfg.Name == 0 && cfg.Identity == nil:
		return nil, errors.New("mtls: Config.Name is not set, and Config.Identity is nil")
	case cfg.Name != 0 && cfg.Identity != nil:
		return nil, errors.New("mtls: Config.Name and Config.Identity are both set")
	case cfg.Name < 0 || cfg.Name > Subject:
		return nil, errors.New("mtls: Config.Name is none of the kinds")
	case cfg.Allowed != nil && len(cfg.Allowed) == 0:
		return nil, errors.New("mtls: Config.Allowed is empty: leave it nil for all")
	case slices.Contains(cfg.Allowed, ""):
		return nil, errors.New("mtls: Config.Allowed has an empty name")
	case cfg.Allowed != nil && cfg.Identity != nil:
		return nil, errors.New("mtls: Config.Allowed goes with Name: Identity decides by itself")
	case !quoted.Valid(cfg.Realm):
		return nil, errors.New("mtls: Config.Realm is not printable ASCII")
	}
	cfg.Allowed = slices.Clone(cfg.Allowed)
	if cfg.Issuer == "" {
		cfg.Issuer = defaultIssuer
	}
	if cfg.Realm == "" {
		cfg.Realm = defaultRealm
	}
	if cfg.Certificate == nil {
		cfg.Certificate = Certificate
	}
	return &Authenticator{cfg, scheme + " realm=" + quoted.String(cfg.Realm)}, nil
}

// Authenticate returns the identity that the client's certificate stands for. Without
// one it returns [auth.ErrNoCredentials]. One that may not be used for clients, names
// nobody, or somebody who is not allowed, is an error that wraps [auth.ErrInvalid]; any
// other error is that of Config.Identity or Config.Certificate, which could not tell.
func (a *Authenticator) Authenticate(r *http.Request) (*auth.Identity, error) {
	c, err := a.cfg.Certificate(r)
	switch {
	case err != nil:
		return nil, err
	case c == nil:
		return nil, errors.New("mtls: Config.Certificate returned neither a certificate nor an error")
	case !forClients(c):
		return nil, invalid("the certificate is not for clients")
	}
	id, err := a.identity(r, c)
	if err != nil {
		return nil, err
	}
	if id.Issuer == "" {
		id.Issuer = a.cfg.Issuer
	}
	if id.Scheme == "" {
		id.Scheme = scheme
	}
	if id.Expires.IsZero() || id.Expires.After(c.NotAfter) {
		id.Expires = c.NotAfter
	}
	return id, nil
}

func (a *Authenticator) identity(r *http.Request, c *x509.Certificate) (*auth.Identity, error) {
	if a.cfg.Identity != nil {
		id, err := a.cfg.Identity(r, c)
		if err == nil && id == nil {
			err = errors.New("mtls: Config.Identity returned neither an identity nor an error")
		}
		return id, err
	}
	name, err := a.cfg.Name.of(c)
	if err != nil {
		return nil, err
	}
	if a.cfg.Allowed != nil && !slices.Contains(a.cfg.Allowed, name) {
		return nil, invalid("the name of the certificate is not allowed")
	}
	return &auth.Identity{Subject: name}, nil
}

// forClients reports whether a certificate may authenticate a client (RFC 5280, section
// 4.2.1.12). One that says nothing may be used for anything.
func forClients(c *x509.Certificate) bool {
	return len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 0 ||
		slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
}

// of returns the one name of c that is of this kind.
func (k NameKind) of(c *x509.Certificate) (string, error) {
	var names []string
	switch k {
	case URI:
		for _, u := range c.URIs {
			names = append(names, u.String())
		}
	case DNS:
		names = c.DNSNames
	case Email:
		names = c.EmailAddresses
	case Subject:
		if len(c.Subject.Names) > 0 {
			names = []string{c.Subject.String()}
		}
	}
	switch {
	case len(names) == 0 || names[0] == "":
		return "", invalid("the certificate has no name of the kind that counts")
	case len(names) > 1:
		return "", invalid("the certificate has more than one name of the kind that counts")
	case len(names[0]) > maxNameBytes || !utf8.ValidString(names[0]) || strings.ContainsFunc(names[0], func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "", invalid("the name of the certificate is too long, or has a character that is not allowed")
	}
	return names[0], nil
}

// Challenge adds a WWW-Authenticate field, as each 401 must have one. There is no
// scheme for certificates in IANA's registry, since no field of a request carries one:
// "MutualTLS" tells people what is missing, and programs that they don't know it.
func (a *Authenticator) Challenge(h http.Header, _ *http.Request, _ error) {
	h["Www-Authenticate"] = append(h["Www-Authenticate"], a.challenge)
}

// Scheme describes the scheme for OpenAPI.
func (a *Authenticator) Scheme() auth.SecurityScheme {
	return auth.SecurityScheme{Type: "mutualTLS", Description: "A client certificate."}
}

func invalid(reason string) error { return fmt.Errorf("%w: %s", auth.ErrInvalid, reason) }
