// Quickstart is a small API with many of the doors of Sallyport around it: HTTPS,
// Basic, OAuth 2.0 tokens, API keys, roles and scopes, validation, rate limits
// and safe errors.
//
//	go run ./examples/quickstart        # http://127.0.0.1:8080, this machine only
//	go run ./examples/quickstart -tls   # the same over HTTPS
//
// It makes new random credentials at each start and prints them: first, on
// standard output, for a shell to eval; then, on standard error, curl commands
// to try.
package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/sallyport/sallyport"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/apikey"
	"github.com/sallyport/sallyport/auth/basic"
	"github.com/sallyport/sallyport/auth/bearer"
	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/auth/oauth"
	"github.com/sallyport/sallyport/auth/password"
	"github.com/sallyport/sallyport/authz"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/ratelimit"
	"github.com/sallyport/sallyport/transport"
	"github.com/sallyport/sallyport/validate"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "the address to listen on; port 0 picks a free one")
	useTLS := flag.Bool("tls", false, "serve HTTPS with a self-signed certificate made at start")
	keyFile := flag.String("key", "", "a PEM file with the PKCS #8 P-256 key that signs the tokens, so that they outlive a restart; empty makes a new one")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *useTLS, *keyFile); err != nil {
		log.Fatal(err)
	}
}

// run listens, tells how to talk to it, and serves until ctx ends.
func run(ctx context.Context, addr string, useTLS bool, keyFile string) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	// Without -tls only this machine can connect: anything else is refused.
	base, cfg := "http://"+ln.Addr().String(), transport.ServerConfig{LoopbackHTTP: true}
	if useTLS {
		cert, err := transport.SelfSigned("localhost", "127.0.0.1", "::1")
		if err != nil {
			return err
		}
		base, cfg = "https://"+ln.Addr().String(), transport.ServerConfig{Certificates: []tls.Certificate{cert}}
	}
	demo, err := newDemo(ctx)
	if err != nil {
		return err
	}
	key, err := signingKey(keyFile)
	if err != nil {
		return err
	}
	h, err := newHandler(base, key, demo)
	if err != nil {
		return err
	}
	srv, err := transport.NewServer(addr, h, cfg)
	if err != nil {
		return err
	}
	demo.print(base)
	return transport.Serve(ctx, srv, ln)
}

// newHandler puts the doors around the routes. base is the URL that clients
// see, and the issuer of the tokens.
func newHandler(base string, key jwk.Key, demo *demo) (http.Handler, error) {
	// Who: three schemes, and the endpoint that issues the tokens of one.
	ring, err := jwk.NewRing(jwk.RingConfig{Active: key})
	if err != nil {
		return nil, err
	}
	lockout, err := ratelimit.NewLockout(ratelimit.LockoutConfig{}) // one memory of failed logins for all
	if err != nil {
		return nil, err
	}
	issuer, err := oauth.NewServer(oauth.Config{
		Issuer: base, Audience: base, Keys: ring,
		Users: demo.users, Passwords: demo.hasher, Lockout: lockout, Clients: demo.clients,
		// RFC 9700 says that the password grant must not be used: it shows the
		// password to the client. Here the client is the service's own page, which
		// is the one case where that tells nobody anything new. Services with
		// other clients use the authorization code flow of an identity provider.
		Grants:        []oauth.Grant{oauth.Password, oauth.ClientCredentials},
		DefaultClient: firstParty,
	})
	if err != nil {
		return nil, err
	}
	tokens, err := bearer.New(bearer.Config{
		Issuer: base, Audience: []string{base}, Keys: ring,
		Leeway: time.Second, // the issuer's clock is this machine's own
	})
	if err != nil {
		return nil, err
	}
	keys, err := apikey.New(apikey.Config{Store: demo.keys, Lockout: lockout})
	if err != nil {
		return nil, err
	}
	passwords, err := basic.New(basic.Config{Realm: "quickstart", Users: demo.users, Passwords: demo.hasher, Lockout: lockout})
	if err != nil {
		return nil, err
	}

	// How often: by client address, with a tighter limit on the token endpoint.
	everywhere, err := ratelimit.New(ratelimit.Config{
		Limits: []ratelimit.Limit{ratelimit.PerMinute(100)},
		Skip:   func(r *http.Request) bool { return r.URL.Path == "/healthz" },
	})
	if err != nil {
		return nil, err
	}
	logins, err := ratelimit.New(ratelimit.Config{Name: "token", Limits: []ratelimit.Limit{ratelimit.PerMinute(10)}})
	if err != nil {
		return nil, err
	}
	addresses, err := transport.NewClientIP(transport.ClientIPConfig{}) // no proxy in front: trust none
	if err != nil {
		return nil, err
	}

	// May they: what follows the scheme in a route's chain.
	write := authz.Require(authz.Scope("items:write"))
	read := authz.Require(authz.Scope("items:read"))
	admin := authz.Require(authz.Role("admin"))

	items := &items{byID: make(map[string]Item)}
	mux := http.NewServeMux()
	mux.Handle("POST /token", logins.Wrap(issuer.TokenHandler()))
	mux.Handle("GET /.well-known/jwks.json", jwk.Handler(ring))
	mux.Handle("GET /basic/me", auth.Require(passwords)(me))
	mux.Handle("GET /me", auth.Require(tokens)(me))
	mux.Handle("GET /keys/me", auth.Require(keys)(me))
	mux.Handle("GET /any/me", auth.Require(tokens, keys, passwords)(me))
	mux.Handle("POST /items", sallyport.Chain(auth.Require(tokens, keys), write, validate.Body[NewItem]())(httperr.Handler(items.create)))
	mux.Handle("GET /items/{id}", sallyport.Chain(auth.Require(tokens, keys), read)(httperr.Handler(items.get)))
	mux.Handle("GET /admin", sallyport.Chain(auth.Require(tokens, keys, passwords), admin)(text("Hello, admin.")))
	mux.Handle("GET /error", httperr.Handler(func(http.ResponseWriter, *http.Request) error {
		return errors.New("dial db.internal: password=correct-horse: connection refused") // the client never sees this
	}))
	mux.Handle("GET /panic", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("correct-horse") }))
	mux.Handle("GET /public", text("Hello, world."))
	mux.Handle("GET /healthz", text("ok"))

	return sallyport.Chain(
		httperr.Recover(),                     // a request id, and a safe answer to every error and panic
		addresses.Wrap,                        // whose request it is, for limits and the log
		transport.Secure(transport.Headers{}), // headers on every answer
		transport.CSRF(),                      // no page of another origin uses a browser's stored password
		everywhere.Wrap,                       // 100 a minute
		transport.MaxBody(64<<10),             // no body needs more
	)(httperr.Mux(mux)), nil
}

// signingKey returns the key in a file, or a new one if there is none.
func signingKey(file string) (jwk.Key, error) {
	if file == "" {
		return jwk.Generate("ES256")
	}
	text, err := os.ReadFile(file) //nolint:gosec // who starts the service names it
	if err != nil {
		return jwk.Key{}, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return jwk.Key{}, fmt.Errorf("-key: %s has no PEM block", file)
	}
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return jwk.Key{}, fmt.Errorf("-key: %w", err)
	}
	return jwk.NewKey("", "ES256", private) // the id is the thumbprint
}

// me tells who is asking.
var me = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	id, _ := auth.FromContext(r.Context()) // there is one: auth.Require is above
	reply(w, http.StatusOK, map[string]any{
		"subject": id.Subject, "scheme": id.Scheme,
		"scopes": append([]string{}, id.Scopes...), "roles": append([]string{}, id.Roles...),
	})
})

func text(s string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintln(w, s)
	})
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone if this fails
}

// NewItem is what a client may say of an item. A body with any other field is
// refused, so nobody can choose an id.
type NewItem struct {
	Name  string   `json:"name" validate:"required,max=100"`
	Price float64  `json:"price" validate:"required,gt=0"`
	Tags  []string `json:"tags,omitempty" validate:"max=10,unique,dive,required,max=50"`
}

// Item is one that was stored.
type Item struct {
	ID string `json:"id"`
	NewItem
}

// items keeps items in memory. It is safe for concurrent use.
type items struct {
	mu   sync.RWMutex
	byID map[string]Item
}

const maxItems = 10_000

func (s *items) create(w http.ResponseWriter, r *http.Request) error {
	body := validate.MustFrom[NewItem](r.Context())
	item := Item{ID: rand.Text(), NewItem: body}
	s.mu.Lock()
	full := len(s.byID) >= maxItems
	if !full {
		s.byID[item.ID] = item
	}
	s.mu.Unlock()
	if full {
		return httperr.New(http.StatusInsufficientStorage, "items_full", "There is no room for more items.")
	}
	w.Header().Set("Location", "/items/"+item.ID)
	reply(w, http.StatusCreated, item)
	return nil
}

func (s *items) get(w http.ResponseWriter, r *http.Request) error {
	s.mu.RLock()
	item, ok := s.byID[r.PathValue("id")]
	s.mu.RUnlock()
	if !ok {
		return httperr.New(http.StatusNotFound, "item_not_found", "There is no such item.")
	}
	reply(w, http.StatusOK, item)
	return nil
}

// demo is the accounts of one run.
type demo struct {
	users   *auth.MemoryUsers
	hasher  *password.Hasher
	clients *oauth.MemoryClients
	keys    *apikey.MemoryStore

	userPassword, adminPassword, apiKey, clientID, clientSecret string // as their owners type them
}

const firstParty = "quickstart" // the public client of the password grant

func newDemo(ctx context.Context) (*demo, error) {
	d := &demo{userPassword: rand.Text(), adminPassword: rand.Text(), clientID: "demo-client"}
	scopes := []string{"items:read", "items:write"}

	var err error
	if d.hasher, err = password.New(password.Config{}); err != nil {
		return nil, err
	}
	userHash, err := d.hasher.Hash(ctx, d.userPassword)
	if err != nil {
		return nil, err
	}
	adminHash, err := d.hasher.Hash(ctx, d.adminPassword)
	if err != nil {
		return nil, err
	}
	if d.users, err = auth.NewMemoryUsers(
		auth.User{Subject: "johndoe", Name: "johndoe", PasswordHash: userHash, Scopes: scopes},
		auth.User{Subject: "admin", Name: "admin", PasswordHash: adminHash, Scopes: scopes, Roles: []string{"admin"}},
	); err != nil {
		return nil, err
	}

	plain, record, err := apikey.Mint(apikey.MintConfig{Prefix: "demo", Subject: "johndoe", Name: "quickstart", Scopes: scopes})
	if err != nil {
		return nil, err
	}
	d.apiKey = plain
	if d.keys, err = apikey.NewMemoryStore(record); err != nil {
		return nil, err
	}

	secret, secretHash, err := oauth.NewClientSecret()
	if err != nil {
		return nil, err
	}
	d.clientSecret = secret
	d.clients, err = oauth.NewMemoryClients(
		oauth.Client{ID: firstParty, Public: true, Grants: []oauth.Grant{oauth.Password}, Scopes: scopes},
		oauth.Client{ID: d.clientID, SecretHash: secretHash, Grants: []oauth.Grant{oauth.ClientCredentials}, Scopes: scopes},
	)
	return d, err
}

// print tells how to talk to the service.
func (d *demo) print(base string) {
	fmt.Printf("export BASE=%s USERNAME=johndoe PASSWORD=%s ADMIN_PASSWORD=%s API_KEY=%s CLIENT_ID=%s CLIENT_SECRET=%s\n",
		base, d.userPassword, d.adminPassword, d.apiKey, d.clientID, d.clientSecret)

	fmt.Fprint(os.Stderr, `
Paste the line above into another shell, and try (with -tls add -k, since the certificate is self-signed):

  # a token for johndoe by password, and one for a program
  TOKEN=$(curl -s "$BASE/token" -d grant_type=password -d username="$USERNAME" -d password="$PASSWORD" | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
  ADMIN=$(curl -s "$BASE/token" -d grant_type=password -d username=admin -d password="$ADMIN_PASSWORD" | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
  curl -i "$BASE/token" -u "$CLIENT_ID:$CLIENT_SECRET" -d grant_type=client_credentials
  curl -i "$BASE/.well-known/jwks.json"

  # who am I, by each scheme, by any, and by none
  curl -i "$BASE/basic/me" -u "$USERNAME:$PASSWORD"
  curl -i "$BASE/me" -H "Authorization: Bearer $TOKEN"
  curl -i "$BASE/keys/me" -H "X-API-Key: $API_KEY"
  curl -i "$BASE/any/me" -H "X-API-Key: $API_KEY"
  curl -i "$BASE/any/me"

  # scopes, validation, roles
  curl -i "$BASE/items" -H "Authorization: Bearer $TOKEN" --json '{"name":"Plumbus","price":9.5,"tags":["home"]}'
  curl -i "$BASE/items" -H "X-API-Key: $API_KEY" --json '{"name":"","price":-1,"tags":["a","a"]}'
  curl -i "$BASE/items/none" -H "Authorization: Bearer $TOKEN"
  curl -i "$BASE/admin" -H "Authorization: Bearer $TOKEN"
  curl -i "$BASE/admin" -H "Authorization: Bearer $ADMIN"

  # errors that tell nothing, and routes that need nothing
  curl -i "$BASE/error"
  curl -i "$BASE/panic"
  curl -i "$BASE/public"
  curl -i "$BASE/healthz"

`)
}
