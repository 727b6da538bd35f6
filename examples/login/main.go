// Login is a service with accounts of its own, in SQLite, that outlive a restart: it
// registers them, logs them in, keeps them logged in by refresh tokens, changes their
// passwords and logs them out.
//
//	cd examples/login && go run . -data ./data
//
// It prints commands to try. The password grant is for the service's own pages, as in the
// quickstart; a service with other clients uses an identity provider.
package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	_ "modernc.org/sqlite"

	"github.com/sallyport/sallyport"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/bearer"
	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/auth/oauth"
	"github.com/sallyport/sallyport/auth/password"
	"github.com/sallyport/sallyport/auth/sqlstore"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/ratelimit"
	"github.com/sallyport/sallyport/transport"
	"github.com/sallyport/sallyport/validate"
)

func main() {
	addr := flag.String("addr", "localhost:8443", "the address to listen on")
	data := flag.String("data", "data", "the directory of the accounts and the signing keys")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *data); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, addr, data string) error {
	s, err := open(ctx, "https://"+addr, data)
	if err != nil {
		return err
	}
	defer s.close()
	go s.cleanup(ctx)
	cert, err := transport.SelfSigned("localhost")
	if err != nil {
		return err
	}
	srv, err := transport.NewServer(addr, s.handler, transport.ServerConfig{Certificates: []tls.Certificate{cert}})
	if err != nil {
		return err
	}
	fmt.Printf(`curl -k https://%[1]s/register --json '{"name":"ada","password":"correct horse battery staple"}'
TOKEN=$(curl -sk https://%[1]s/token -d grant_type=password -d username=ada -d 'password=correct horse battery staple' | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
curl -k https://%[1]s/me -H "Authorization: Bearer $TOKEN"
`, addr)
	return transport.Run(ctx, srv)
}

// A service is what has to be closed, and the handler.
type service struct {
	handler http.Handler

	db     *sql.DB
	store  *sqlstore.Store
	keys   *jwk.Rotation
	issuer *oauth.Server
	hasher *password.Hasher
	policy password.Policy

	lockout auth.Lockout // of all that checks a password
}

// The pragmas that package sqlstore asks for.
const pragmas = "?_pragma=busy_timeout(1000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)"

// open opens the service that lies in a directory, and makes it if there is none. base is
// the URL that clients see, and the issuer of the tokens.
func open(ctx context.Context, base, data string) (*service, error) {
	s := new(service)
	if err := s.openStores(ctx, data); err != nil {
		s.close()
		return nil, err
	}
	if err := s.build(base); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *service) openStores(ctx context.Context, data string) error {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	var err error
	if s.db, err = sql.Open("sqlite", "file:"+filepath.Join(data, "auth.db")+pragmas); err != nil {
		return err
	}
	if s.store, err = sqlstore.New(sqlstore.Config{DB: s.db, Dialect: sqlstore.SQLite}); err != nil {
		return err
	}
	if err := s.store.Migrate(ctx); err != nil {
		return err
	}
	if err := s.store.Check(ctx); err != nil {
		return err
	}
	file := filepath.Join(data, "keys.json")
	state, err := jwk.LoadRingState(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.keys, err = jwk.NewRotation(jwk.RotationConfig{
		State: state,
		Save:  func(_ context.Context, state jwk.RingState) error { return state.SaveFile(file) },
	})
	return err
}

// build puts the doors around the routes.
func (s *service) build(base string) (err error) {
	if s.hasher, err = password.New(password.Config{}); err != nil {
		return err
	}
	if s.lockout, err = ratelimit.NewLockout(ratelimit.LockoutConfig{}); err != nil {
		return err
	}
	s.issuer, err = oauth.NewServer(oauth.Config{
		Issuer: base, Audience: base, Keys: s.keys.Ring(),
		Users: s.store.Users(), Passwords: s.hasher, Lockout: s.lockout,
		Clients: firstParty{}, DefaultClient: "web",
		Grants:        []oauth.Grant{oauth.Password, oauth.RefreshToken},
		RefreshTokens: s.store.RefreshTokens(), Revocations: s.store.Revocations(),
	})
	if err != nil {
		return err
	}
	tokens, err := bearer.New(bearer.Config{
		Issuer: base, Audience: []string{base}, Keys: s.keys.Ring(),
		Leeway:  time.Second, // the issuer's clock is this machine's own
		Revoked: bearer.CheckRevocations(s.store.Revocations()),
	})
	if err != nil {
		return err
	}
	limiter, err := ratelimit.New(ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerMinute(300)}})
	if err != nil {
		return err
	}
	registrations, err := ratelimit.New(ratelimit.Config{Name: "register", Limits: []ratelimit.Limit{ratelimit.PerHour(20)}})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("POST /register", sallyport.Chain(registrations.Wrap, validate.Body[account]())(httperr.Handler(s.register)))
	mux.Handle("POST /token", s.issuer.TokenHandler())
	mux.Handle("GET /.well-known/jwks.json", jwk.Handler(s.keys.Ring()))
	mux.Handle("GET /me", auth.Require(tokens)(http.HandlerFunc(me)))
	mux.Handle("POST /password", sallyport.Chain(auth.Require(tokens), validate.Body[newPassword]())(httperr.Handler(s.changePassword)))
	mux.Handle("POST /logout", auth.Require(tokens)(httperr.Handler(s.logout)))
	s.handler = sallyport.Chain(
		httperr.Recover(),
		transport.Secure(transport.Headers{}),
		limiter.Wrap,
		transport.MaxBody(64<<10),
	)(httperr.Mux(mux))
	return nil
}

// firstParty is the service's own page.
type firstParty struct{}

func (firstParty) Client(_ context.Context, id string) (oauth.Client, error) {
	if id != "web" {
		return oauth.Client{}, auth.ErrNotFound
	}
	return oauth.Client{ID: "web", Public: true, Grants: []oauth.Grant{oauth.Password, oauth.RefreshToken}}, nil
}

func (s *service) close() {
	if s.keys != nil {
		_ = s.keys.Close()
	}
	if s.store != nil {
		_ = s.store.Close()
	}
	if s.db != nil {
		_ = s.db.Close()
	}
}

// cleanup removes what has ended, each hour.
func (s *service) cleanup(ctx context.Context) {
	for tick := time.NewTicker(time.Hour); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
			if _, err := s.store.Cleanup(ctx); err != nil {
				log.Print(err)
			}
		}
	}
}

type account struct {
	Name     string `json:"name" validate:"required,min=2,max=64,alphanum"`
	Password string `json:"password" validate:"required,max=1024"`
}

// register makes an account. That a name is taken can't be hidden where names are public;
// the limit keeps anyone from trying many.
func (s *service) register(w http.ResponseWriter, r *http.Request) error {
	a := validate.MustFrom[account](r.Context())
	hash, err := s.hash(r.Context(), a.Password)
	if err != nil {
		return err
	}
	err = s.store.Users().Add(r.Context(), auth.User{Subject: rand.Text(), Name: a.Name, PasswordHash: hash})
	if errors.Is(err, sqlstore.ErrTaken) {
		return httperr.New(http.StatusConflict, "name_taken", "The name is taken.")
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusCreated)
	return nil
}

// hash returns the hash of a password that may be chosen.
func (s *service) hash(ctx context.Context, pw string) (string, error) {
	switch err := s.policy.Check(ctx, pw); {
	case errors.Is(err, password.ErrTooShort):
		return "", httperr.New(http.StatusUnprocessableEntity, "password_too_short", "Use a password of at least 15 characters.")
	case errors.Is(err, password.ErrBreached):
		return "", httperr.New(http.StatusUnprocessableEntity, "password_breached", "This password is known from a breach. Use another one.")
	case err != nil:
		return "", err
	}
	hash, err := s.hasher.Hash(ctx, pw)
	if errors.Is(err, password.ErrUnacceptable) || errors.Is(err, password.ErrTooLong) {
		return "", httperr.New(http.StatusUnprocessableEntity, "password_unacceptable", "Use another password.").WithCause(err)
	}
	return hash, busy(err)
}

// busy is the answer when no password can be looked at now.
func busy(err error) error {
	if !errors.Is(err, password.ErrBusy) {
		return err
	}
	p := httperr.New(http.StatusServiceUnavailable, "overloaded", "Too many passwords are being looked at. Try again.").WithCause(err)
	p.Header = http.Header{"Retry-After": {"1"}}
	return p
}

type newPassword struct {
	Old string `json:"old" validate:"required,max=1024"`
	New string `json:"new" validate:"required,max=1024"`
}

// changePassword ends all that the account was logged in with. Who asks is logged in, and
// shows the old password all the same: a stolen token must not be enough.
func (s *service) changePassword(w http.ResponseWriter, r *http.Request) error {
	id, _ := auth.FromContext(r.Context())
	p := validate.MustFrom[newPassword](r.Context())
	user, err := s.withPassword(r, id.Subject, p.Old)
	if err != nil {
		return err
	}
	hash, err := s.hash(r.Context(), p.New)
	if err != nil {
		return err
	}
	if err := s.replace(r.Context(), user, hash); err != nil {
		return err
	}
	// Tokens tell whole seconds, so those of this second are revoked with the earlier
	// ones. The client logs in again when it has the answer: let it be a good one.
	next := time.NewTimer(time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
	defer next.Stop()
	select {
	case <-next.C:
	case <-r.Context().Done():
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// withPassword returns the account if pw is its password, and counts that as a login: a
// stolen token must not give more guesses than there are elsewhere.
func (s *service) withPassword(r *http.Request, subject, pw string) (auth.User, error) {
	wrong := httperr.New(http.StatusForbidden, "wrong_password", "The old password is not this one.")
	user, err := s.store.Users().BySubject(r.Context(), subject)
	if err != nil {
		return auth.User{}, err
	}
	attempt, err := s.lockout.Attempt(r.Context(), subject, transport.ClientAddr(r))
	if err != nil {
		return auth.User{}, err
	}
	_, err = s.hasher.Verify(r.Context(), user.PasswordHash, pw)
	switch {
	case errors.Is(err, password.ErrMismatch):
		return auth.User{}, wrong
	case err != nil:
		attempt.Undecided()
		return auth.User{}, busy(err)
	case attempt.Locked() || user.Disabled:
		return auth.User{}, wrong
	}
	attempt.Succeeded()
	return user, nil
}

// replace gives an account, as it was looked up, another password, and ends all its
// logins: once that has begun, whether the client stays or not, since it could not ask
// for it again with the old password. It changes nothing if another request was quicker.
// What can't be revoked ends after 15 minutes.
func (s *service) replace(ctx context.Context, user auth.User, hash string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err := s.store.Users().SetPasswordHash(ctx, user.Subject, hash, user.Version)
	if err == nil {
		var now auth.User
		if now, err = s.store.Users().BySubject(ctx, user.Subject); err == nil && now.PasswordHash != hash {
			return httperr.New(http.StatusConflict, "changed_meanwhile", "The password was changed meanwhile.")
		}
	}
	// Also if it is not known whether the password is another one now.
	for range 3 {
		revokeErr := s.issuer.RevokeSubject(ctx, user.Subject)
		if revokeErr == nil {
			return err
		}
		err = errors.Join(err, revokeErr)
	}
	return err
}

// logout ends the login that the token is of.
func (s *service) logout(w http.ResponseWriter, r *http.Request) error {
	id, _ := auth.FromContext(r.Context())
	session, ok := auth.Claim[string](id, "sid")
	if !ok {
		return errors.New("a token without a session")
	}
	if err := s.issuer.RevokeSession(r.Context(), session); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func me(w http.ResponseWriter, r *http.Request) {
	id, _ := auth.FromContext(r.Context())
	_, _ = fmt.Fprintln(w, id.Subject)
}
