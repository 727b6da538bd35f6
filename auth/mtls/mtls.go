package mtls

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/internal/quoted"
)

const (
	scheme        = "MutualTLS"
	defaultIssuer = "mtls"
	defaultRealm  = "api"
)

// Config configures an [Authenticator]. Name, or Identity, is required, and with Name
// also Authorities or Allowed; the other zero values are the secure default.
type Config struct {
	// Name says what names the caller. A certificate that has none of the kind, or more
	// than one, names nobody and is refused: who chooses which of two names counts could
	// choose who he is. A name is of at most 2048 bytes.
	Name NameKind

	// Identity makes an identity of a verified certificate, where Name is not enough. It
	// must return one with a Subject, or an error as auth.Authenticator's, and be safe
	// for concurrent use. One that wraps auth.ErrNotFound refuses the certificate. Issuer
	// and Scheme are set if it leaves them empty, and Expires is never later than the
	// certificate's end.
	Identity func(r *http.Request, c *x509.Certificate) (*auth.Identity, error)

	// Authorities are those whose certificates are taken; one of another is as good as
	// none, whatever the server's tls.Config has let in. Nil means all that crypto/tls
	// has verified, which is every public authority's if ClientCAs was forgotten. They
	// go with the certificates of connections, not with those that a proxy has verified.
	Authorities *Authorities

	// Allowed are the names that are taken, compared exactly. Nil means all that
	// Authorities, or the proxy, vouch for.
	Allowed []string

	// Issuer is the Identity's Issuer: who vouches for the names. "" means "mtls".
	// Authorities that may give one name to two owners need an Authenticator each, with
	// another Issuer.
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
// The server's tls.Config decides which certificates are verified: set ClientCAs to
// Authorities.Pool, and ClientAuth to tls.VerifyClientCertIfGiven, or to
// tls.RequireAndVerifyClientCert where there is no other scheme. With one that does not
// verify, nobody gets in here.
type Authenticator struct {
	cfg       Config
	challenge string
}

// New returns an Authenticator. Neither Name nor Identity, both, an unknown Name, a Name
// without Authorities, Allowed or Certificate, an empty allowed name or no name, empty
// Authorities, Authorities besides Certificate, and a Realm that is not printable ASCII
// are errors that name the field.
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
	case cfg.Authorities != nil && len(cfg.Authorities.certificates) == 0:
		return nil, errors.New("mtls: Config.Authorities is empty")
	case cfg.Authorities != nil && cfg.Certificate != nil:
		return nil, errors.New("mtls: Config.Authorities and Config.Certificate are both set: a chain is known of connections alone")
	case cfg.Name != 0 && cfg.Allowed == nil && cfg.Authorities == nil && cfg.Certificate == nil:
		return nil, errors.New("mtls: Config.Authorities is nil, and so is Allowed: whoever has a certificate of a public authority could get in")
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
		cfg.Certificate = func(r *http.Request) (*x509.Certificate, error) { return ofConnection(r, cfg.Authorities) }
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
		return nil, errPurpose
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
		switch {
		case errors.Is(err, auth.ErrNotFound):
			return nil, errUnknown
		case err != nil:
			return nil, err
		case id == nil:
			return nil, errors.New("mtls: Config.Identity returned neither an identity nor an error")
		}
		return id.Clone(), nil // it is changed below
	}
	name, err := a.cfg.Name.of(c)
	if err != nil {
		return nil, err
	}
	if a.cfg.Allowed != nil && !slices.Contains(a.cfg.Allowed, name) {
		return nil, errNotAllowed
	}
	return &auth.Identity{Subject: name}, nil
}

// forClients reports whether a certificate may authenticate a client (RFC 5280, section
// 4.2.1.12). One that says nothing may be used for anything.
func forClients(c *x509.Certificate) bool {
	return len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 0 ||
		slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
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

// The reasons for which a certificate is refused, besides those of its name.
var (
	errTime       = invalid("the client certificate is not valid at this time")
	errPurpose    = invalid("the certificate is not for clients")
	errNotAllowed = invalid("the name of the certificate is not allowed")
	errUnknown    = invalid("nobody is known by the certificate")
)

func invalid(reason string) error { return fmt.Errorf("%w: %s", auth.ErrInvalid, reason) }
