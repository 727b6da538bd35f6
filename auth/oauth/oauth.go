// Package oauth issues access tokens: it is the back channel of a small authorization
// server for one API and its own clients. There is a token endpoint (RFC 6749, section
// 3.2), revocation (RFC 7009), introspection (RFC 7662) and metadata (RFC 8414); there
// is no authorization endpoint, so nobody logs in by a browser here.
//
//	server, err := oauth.NewServer(oauth.Config{
//		Issuer:   "https://api.example.com",
//		Audience: "api",
//		Keys:     ring,
//		Clients:  clients,
//		Grants:   []oauth.Grant{oauth.ClientCredentials},
//	})
//	mux.Handle("POST /token", server.TokenHandler())
//	mux.Handle("POST /revoke", server.RevocationHandler())
//	mux.Handle("POST /introspect", server.IntrospectionHandler())
//	mux.Handle("GET /.well-known/jwks.json", jwk.Handler(ring))
//	mux.Handle(server.MetadataPath(), server.MetadataHandler())
//
// The tokens are JWTs of the profile of RFC 9068, which package auth/bearer
// checks. Nothing is granted by default: [Config].Grants names what the server
// does at all, [Client].Grants what each client may do.
//
// # Answers
//
// They have the form of RFC 6749, sections 5.1 and 5.2, not that of RFC 9457,
// since OAuth clients read no other: "error" is one of the codes there, and
// "error_description" a fixed text. All have Cache-Control: no-store.
//
//	400 invalid_request         the request is malformed, or not a form
//	400 invalid_grant           user name and password, or the refresh token, are not
//	                            right, or not now
//	400 unauthorized_client     the client may not use this grant
//	400 unsupported_grant_type  the server does not offer this grant
//	400 invalid_scope           the client or the user may not have this scope
//	400 invalid_dpop_proof      the DPoP proof is not right
//	400 use_dpop_nonce          it needs the nonce in the field DPoP-Nonce
//	400 unsupported_token_type  the server can't revoke access tokens
//	401 invalid_client          the client is unknown, or has not proved who it is
//	405 invalid_request         the method is not POST
//	413 invalid_request         the body is over 16 KiB
//	429 temporarily_unavailable too many attempts have failed with this user name or
//	                            from this network
//	500 server_error            a store holds something that can't be
//	503 temporarily_unavailable a store, the lockout or the signing key failed,
//	                            or too many passwords are being checked
//
// server_error and temporarily_unavailable are not in section 5.2 of RFC 6749, which
// has none for them; those of DPoP are of
// RFC 9449, and unsupported_token_type is of RFC 7009. A 429
// and a 503 have Retry-After, and count no failed attempt against anyone.
//
// # What must be around it
//
// Passwords, secrets and tokens pass through here in the clear, so serve it over
// TLS only (RFC 6749, section 3.2; transport.RequireHTTPS). Don't let a door
// before it read the body. The requests that it refuses cost little, but each
// try of a password costs a hash: set [Config].Lockout, and put a limiter in
// front.
//
// # Logins that last
//
// Access tokens are short-lived, and a login goes on by refresh tokens: see
// [RefreshToken]. Access tokens can be ended sooner only where the API asks a store:
// [Config].Revocations.
package oauth

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/dpop"
	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/internal/fetch"
	"github.com/sallyport/sallyport/internal/isnil"
	"github.com/sallyport/sallyport/internal/login"
	"github.com/sallyport/sallyport/internal/quoted"
	"github.com/sallyport/sallyport/internal/scope"
)

// A Grant is a way to get a token, by its name on the wire ("grant_type").
type Grant string

const (
	// ClientCredentials lets a client that has a secret get a token for itself
	// (RFC 6749, section 4.4).
	ClientCredentials Grant = "client_credentials"

	// Password lets a client trade a user's name and password for a token (RFC
	// 6749, section 4.3). It is a legacy: "The resource owner password
	// credentials grant MUST NOT be used", says RFC 9700, section 2.4, and OAuth
	// 2.1 has dropped it. The client sees the password, users learn to type it
	// anywhere, and there is no room for a second factor, a passkey or another
	// identity provider.
	//
	// It is still right in one place: a first-party client of your own that
	// can't do better yet, on its way to the authorization code grant. Never
	// offer it to a client that someone else wrote.
	Password Grant = "password"
)

const (
	defaultLifetime = 15 * time.Minute
	longestLifetime = 24 * time.Hour

	// maxSubject bounds a token's "sub", in bytes (RFC 7519 has no bound; OpenID
	// Connect Core, section 2, has this one).
	maxSubject = 255

	// ownClientID names the client of a server without Clients.
	ownClientID = "first-party"
)

// ClientSubjectPrefix begins the subject of each token that a client got for
// itself; the client's id follows. Without it, a client registered under the
// subject of a user would be taken for that user (RFC 9700, section 4.15; RFC
// 9068, section 5). A user whose subject begins with it gets no token. The bare
// id is in the claim "client_id".
const ClientSubjectPrefix = "client:"

// A Server issues tokens. It is safe for concurrent use, and has no background
// work.
type Server struct {
	issuer        string
	audience      string
	lifetime      time.Duration
	grants        []Grant
	clients       Clients
	defaultClient string
	challenge     string
	logins        login.Checker
	logger        *slog.Logger
	tls           bool        // the issuer is https
	warned        atomic.Bool // of plain HTTP

	ring               *jwk.Ring
	refreshing         refresher
	revocations        auth.Revocations
	replays            auth.Replays
	proofs             *dpop.Verifier
	assertionAudiences []string
	metadata           []byte

	sign func(payload []byte) (string, error)
	// These stand in where there is no client, so that the work is the same.
	decoy          Client
	decoyKey       jwk.Key
	decoySignature []byte // of something else
}

// String returns the issuer.
func (s *Server) String() string { return "oauth.Server(" + s.issuer + ")" }

// Format writes String whatever the verb, so that what the stores hold does not
// get into a log.
func (s *Server) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// NewServer returns a Server. It returns an error that names the field if
// something is missing, out of its range, or can't work together.
func NewServer(cfg Config) (*Server, error) {
	s := &Server{
		issuer:        cfg.Issuer,
		audience:      cfg.Audience,
		lifetime:      cfg.TokenLifetime,
		grants:        slices.Clone(cfg.Grants),
		clients:       cfg.Clients,
		defaultClient: cfg.DefaultClient,
		logins:        login.Checker{Users: cfg.Users, Passwords: cfg.Passwords, Lockout: cfg.Lockout},
		logger:        cfg.Logger,
		tls:           !strings.HasPrefix(strings.ToLower(cfg.Issuer), "http:"),
	}
	if s.lifetime == 0 {
		s.lifetime = defaultLifetime
	}
	if cfg.Realm == "" {
		cfg.Realm = "token endpoint"
	}
	s.challenge = "Basic realm=" + quoted.String(cfg.Realm) + `, charset="UTF-8"`

	if err := checkIssuer(cfg.Issuer, cfg.AllowInsecureIssuer); err != nil {
		return nil, fmt.Errorf("oauth: Config.Issuer %w", err)
	}
	switch {
	case cfg.Audience == "":
		return nil, errors.New("oauth: Config.Audience is empty")
	case !isText(cfg.Audience):
		return nil, errors.New("oauth: Config.Audience has a character that is not allowed")
	case s.lifetime < time.Second || s.lifetime > longestLifetime || s.lifetime%time.Second != 0:
		return nil, fmt.Errorf("oauth: Config.TokenLifetime must be whole seconds, from 1s to %v", longestLifetime)
	case !quoted.Valid(cfg.Realm):
		return nil, errors.New("oauth: Config.Realm must be printable ASCII")
	}
	if err := s.checkGrants(cfg); err != nil {
		return nil, err
	}
	if err := s.checkClients(); err != nil {
		return nil, err
	}
	if err := s.useKeys(cfg.Keys); err != nil {
		return nil, err
	}
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // never fails: crypto/rand ends the program instead
	s.decoy = Client{SecretHash: hashSecret(base64.RawURLEncoding.EncodeToString(secret[:]))}
	if err := s.useStores(cfg); err != nil {
		return nil, err
	}
	return s, nil
}

// useStores settles what is there for tokens after they are issued.
func (s *Server) useStores(cfg Config) (err error) {
	switch {
	case cfg.Lockout != nil && isnil.Value(cfg.Lockout):
		return errors.New("oauth: Config.Lockout holds a nil")
	case cfg.RefreshTokens != nil && isnil.Value(cfg.RefreshTokens):
		return errors.New("oauth: Config.RefreshTokens holds a nil")
	case cfg.Revocations != nil && isnil.Value(cfg.Revocations):
		return errors.New("oauth: Config.Revocations holds a nil")
	case cfg.Replays != nil && isnil.Value(cfg.Replays):
		return errors.New("oauth: Config.Replays holds a nil")
	}
	for _, one := range cfg.AssertionAudiences {
		if one == "" {
			return errors.New("oauth: Config.AssertionAudiences has an empty one")
		}
	}
	s.revocations, s.replays, s.proofs = cfg.Revocations, cfg.Replays, cfg.DPoP
	s.assertionAudiences = append([]string{s.issuer}, cfg.AssertionAudiences...)
	if s.replays == nil {
		s.replays = auth.NewMemoryReplays(0)
	}
	if s.refreshing, err = newRefresher(cfg); err != nil {
		return err
	}
	if s.decoyKey, err = jwk.Generate("ES256"); err != nil {
		return fmt.Errorf("oauth: %w", err)
	}
	if s.decoySignature, err = s.decoyKey.Sign([]byte("decoy")); err != nil {
		return fmt.Errorf("oauth: %w", err)
	}
	return s.describe(cfg)
}

func (s *Server) checkGrants(cfg Config) error {
	if len(s.grants) == 0 {
		return errors.New("oauth: Config.Grants is empty: name what the server shall grant")
	}
	for _, g := range s.grants {
		if !g.known() {
			return fmt.Errorf("oauth: Config.Grants: %q is not supported", g)
		}
	}
	switch refreshes := slices.Contains(s.grants, RefreshToken); {
	case refreshes && !slices.Contains(s.grants, Password):
		return errors.New("oauth: Config.Grants has RefreshToken, but not Password, which is where refresh tokens come from")
	case refreshes && cfg.RefreshTokens == nil:
		return errors.New("oauth: Config.RefreshTokens is nil, but Config.Grants has RefreshToken")
	}
	switch offered := slices.Contains(s.grants, Password); {
	case offered && isnil.Value(s.logins.Users):
		return errors.New("oauth: Config.Users is nil, but Config.Grants has Password")
	case offered && s.logins.Passwords == nil:
		return errors.New("oauth: Config.Passwords is nil, but Config.Grants has Password")
	}
	return nil
}

// checkClients checks what can be known of the clients without asking a store
// that may not be there yet.
func (s *Server) checkClients() error {
	if id := s.defaultClient; id != "" && !isID(id) {
		return errors.New("oauth: Config.DefaultClient is not a client id")
	}
	if s.clients == nil {
		if slices.Contains(s.grants, ClientCredentials) {
			return errors.New("oauth: Config.Clients is nil, but Config.Grants has ClientCredentials")
		}
		if s.defaultClient == "" {
			s.defaultClient = ownClientID
		}
		s.clients = ownClient(s.defaultClient)
		return nil
	}
	m, ok := s.clients.(*MemoryClients)
	if ok && m == nil {
		return errors.New("oauth: Config.Clients is a nil *MemoryClients")
	}
	if ok && s.defaultClient != "" {
		c, known := m.clients[s.defaultClient]
		if !known {
			return errors.New("oauth: Config.DefaultClient is not in Config.Clients")
		}
		if !c.Public {
			return errors.New("oauth: Config.DefaultClient is not a public client")
		}
	}
	return nil
}

// useKeys makes keys sign the tokens. It signs once, so that a key which can't
// is an error now rather than at the first login.
func (s *Server) useKeys(keys *jwk.Ring) error {
	if keys == nil {
		return errors.New("oauth: Config.Keys is nil")
	}
	s.ring = keys
	s.sign = func(payload []byte) (string, error) { return keys.Active().SignCompact(tokenType, payload) }
	if _, err := s.sign([]byte("{}")); err != nil {
		return fmt.Errorf("oauth: Config.Keys: the active key can't sign: %w", err)
	}
	return nil
}

// warnOfPlainHTTP says once that credentials came in the clear, except where the
// issuer's own URL says that they shall.
func (s *Server) warnOfPlainHTTP(r *http.Request) {
	if !s.tls || s.warned.Load() || scope.SchemeOf(r) == "https" {
		return
	}
	if s.warned.CompareAndSwap(false, true) {
		s.log().WarnContext(r.Context(), "oauth: credentials came over plain HTTP; put transport.RequireHTTPS in front, and behind a proxy that ends TLS a transport.ClientIP")
	}
}

func (s *Server) log() *slog.Logger {
	if s.logger != nil {
		return s.logger
	}
	return slog.Default()
}

func (g Grant) known() bool { return g == Password || g == ClientCredentials || g == RefreshToken }

// checkIssuer returns an error that goes on after the name of the field.
func checkIssuer(issuer string, insecure bool) error {
	if issuer == "" {
		return errors.New("is empty")
	}
	u, err := url.Parse(issuer)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || !quoted.Valid(issuer) || strings.ContainsAny(issuer, " \"\\"):
		return errors.New("is not an absolute URL")
	case u.User != nil || strings.ContainsAny(issuer, "?#"):
		return errors.New("must not have a user, query or fragment")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && (insecure || fetch.IsLoopback(u.Hostname())):
		return nil
	}
	return errors.New("must be an https URL (http only for loopback hosts, or with AllowInsecureIssuer)")
}
