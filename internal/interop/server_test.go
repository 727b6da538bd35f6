package interop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/bearer"
	"github.com/sallyport/sallyport/auth/dpop"
	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/auth/oauth"
	"github.com/sallyport/sallyport/auth/password"
	"github.com/sallyport/sallyport/authz"
	httperr "github.com/sallyport/sallyport/errors"
)

const (
	userName     = "ada"
	userPassword = "correct horse battery staple"
	userSubject  = "u-ada"
)

// A server is our authorization server, with an API of its own beside it, over
// TLS.
type server struct {
	*authority
	issuer string
	alg    string
	ring   *jwk.Ring
	secret string          // of the client "service"
	signer json.RawMessage // the private JWK of the client "signer"

	mu   sync.Mutex // for changes of the ring
	olds []string   // ids of the keys that no longer sign
}

// newServer starts one whose keys are of this algorithm.
//
// Its clients are "service", which has a secret, "signer", which signs assertions,
// and "app", which is public and for the user ada, as is "other". They may have tokens that are
// bound to a key, by proofs with nonces. Its API is at /items, for the scope
// items:read, and at /admin, for a scope that nobody has.
func newServer(t *testing.T, alg string) *server {
	t.Helper()
	s := &server{authority: newAuthority(t), alg: alg}
	var err error
	if s.ring, err = jwk.NewRing(jwk.RingConfig{Active: newKey(t, alg)}); err != nil {
		t.Fatal(err)
	}
	s.issuer = s.serve(t, func(issuer string) http.Handler { return s.handler(t, issuer) })
	return s
}

func (s *server) handler(t *testing.T, issuer string) http.Handler {
	t.Helper()
	var (
		hash string
		err  error
	)
	if s.secret, hash, err = oauth.NewClientSecret(); err != nil {
		t.Fatal(err)
	}
	clients, err := oauth.NewMemoryClients(
		oauth.Client{ID: "service", SecretHash: hash, Grants: []oauth.Grant{oauth.ClientCredentials}, Scopes: []string{"items:read", "items:write"}},
		oauth.Client{ID: "signer", Keys: s.signerKeys(t), Grants: []oauth.Grant{oauth.ClientCredentials}, Scopes: []string{"items:read", "items:write"}},
		oauth.Client{ID: "other", Public: true, Grants: []oauth.Grant{oauth.Password, oauth.RefreshToken}, Scopes: []string{"items:read", "items:write"}},
		oauth.Client{ID: "app", Public: true, Grants: []oauth.Grant{oauth.Password, oauth.RefreshToken}, Scopes: []string{"items:read", "items:write"}},
	)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := bcrypt.GenerateFromPassword([]byte(userPassword), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	users, err := auth.NewMemoryUsers(auth.User{
		Subject: userSubject, Name: userName, PasswordHash: string(encoded), Scopes: []string{"items:read", "items:write"},
	})
	if err != nil {
		t.Fatal(err)
	}
	passwords, err := password.New(password.Config{Reference: string(encoded)})
	if err != nil {
		t.Fatal(err)
	}
	proofs, err := dpop.New(dpop.Config{Origins: []string{issuer}, RequireNonce: true})
	if err != nil {
		t.Fatal(err)
	}
	revocations := auth.NewMemoryRevocations(0)
	tokens, err := oauth.NewServer(oauth.Config{
		Issuer: issuer, Audience: audience, Keys: s.ring,
		Users: users, Passwords: passwords,
		Clients: clients, Grants: []oauth.Grant{oauth.Password, oauth.RefreshToken, oauth.ClientCredentials},
		RefreshTokens: oauth.NewMemoryRefreshStore(0), Revocations: revocations, DPoP: proofs,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	door, err := bearer.New(bearer.Config{
		Issuer: issuer, Audience: []string{audience}, Keys: s.ring,
		Revoked: bearer.CheckRevocations(revocations), DPoP: proofs,
	})
	if err != nil {
		t.Fatal(err)
	}
	guard := func(scope string) http.Handler {
		return auth.Require(door)(authz.Require(authz.Scope(scope))(http.HandlerFunc(tell)))
	}
	mux := http.NewServeMux()
	mux.Handle(tokens.MetadataPath(), tokens.MetadataHandler())
	mux.Handle("/.well-known/openid-configuration", tokens.MetadataHandler()) // for clients that look nowhere else
	mux.Handle("/token", tokens.TokenHandler())
	mux.Handle("/revoke", tokens.RevocationHandler())
	mux.Handle("/introspect", tokens.IntrospectionHandler())
	mux.Handle("/.well-known/jwks.json", jwk.Handler(s.ring))
	mux.Handle("GET /items", guard("items:read"))
	mux.Handle("GET /admin", guard("admin"))
	mux.HandleFunc("POST /rotate", func(w http.ResponseWriter, r *http.Request) {
		if err := s.rotate(r.URL.RawQuery == "drop"); err != nil {
			httperr.Write(w, r, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return quietly(httperr.Mux(mux))
}

// signerKeys makes the key of the client "signer", and returns the public half.
func (s *server) signerKeys(t *testing.T) jwk.Set {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	bytes, err := private.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	key, err := jwk.NewKey("signer-1", "ES256", &private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	public, err := json.Marshal(key)
	if err == nil {
		err = json.Unmarshal(public, &members)
	}
	if err != nil {
		t.Fatal(err)
	}
	members["d"] = base64.RawURLEncoding.EncodeToString(bytes)
	if s.signer, err = json.Marshal(members); err != nil {
		t.Fatal(err)
	}
	keys, err := jwk.Static(key)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// rotate makes a new key sign. The old ones still verify, unless drop is true.
func (s *server) rotate(drop bool) error {
	next, err := generate(s.alg)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.olds = append(s.olds, s.ring.Active().ID())
	if err := s.ring.Rotate(next); err != nil {
		return err
	}
	if !drop {
		return nil
	}
	for _, id := range s.olds {
		if err := s.ring.Drop(id); err != nil {
			return err
		}
	}
	s.olds = nil
	return nil
}

func newKey(t *testing.T, alg string) jwk.Key {
	t.Helper()
	k, err := generate(alg)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// generate is jwk.Generate with RSA keys that are made quickly.
func generate(alg string) (jwk.Key, error) {
	if !strings.HasPrefix(alg, "RS") && !strings.HasPrefix(alg, "PS") {
		return jwk.Generate(alg)
	}
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return jwk.Key{}, err
	}
	return jwk.NewKey(rand.Text(), alg, private)
}

// settings are what the scripts that talk to s are told.
func (s *server) settings() map[string]any {
	return map[string]any{
		"issuer":   s.issuer,
		"token":    s.issuer + "/token",
		"jwks":     s.jwks(),
		"api":      s.issuer + "/items",
		"audience": audience,
		"alg":      s.alg,
		"service":  map[string]string{"id": "service", "secret": s.secret},
		"signer":   map[string]any{"id": "signer", "jwk": s.signer},
		"app":      map[string]string{"id": "app"},
		"other":    map[string]string{"id": "other"},
		"user":     map[string]string{"name": userName, "password": userPassword, "subject": userSubject},
	}
}

func (s *server) jwks() string { return s.issuer + "/.well-known/jwks.json" }

// token gets a token for the client "service".
func (s *server) token(t *testing.T, c *http.Client) string {
	t.Helper()
	token, err := requestToken(c, s.issuer+"/token", "service", s.secret, url.Values{"scope": {"items:read"}})
	if err != nil {
		t.Fatal(err)
	}
	return token
}
