package oauth_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/bearer"
	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/auth/oauth"
	"github.com/sallyport/sallyport/auth/password"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/ratelimit"
)

// A program gets a token with its secret, and calls the API with it.
func ExampleServer_TokenHandler() {
	key, err := jwk.Generate("EdDSA")
	if err != nil {
		log.Fatal(err)
	}
	ring, err := jwk.NewRing(jwk.RingConfig{Active: key})
	if err != nil {
		log.Fatal(err)
	}
	// The secret goes to whoever runs the client, once; the hash is kept.
	secret, hash, err := oauth.NewClientSecret()
	if err != nil {
		log.Fatal(err)
	}
	clients, err := oauth.NewMemoryClients(oauth.Client{
		ID: "billing", SecretHash: hash,
		Grants: []oauth.Grant{oauth.ClientCredentials},
		Scopes: []string{"invoices:read", "invoices:write"},
	})
	if err != nil {
		log.Fatal(err)
	}
	server, err := oauth.NewServer(oauth.Config{
		Issuer: "https://api.example.com", Audience: "https://api.example.com", Keys: ring,
		Clients: clients, Grants: []oauth.Grant{oauth.ClientCredentials},
	})
	if err != nil {
		log.Fatal(err)
	}
	tokens, err := bearer.New(bearer.Config{
		Issuer: "https://api.example.com", Audience: []string{"https://api.example.com"}, Keys: ring,
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/token", server.TokenHandler())
	mux.Handle("GET /invoices", auth.Require(tokens)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _ := auth.FromContext(r.Context())
		fmt.Fprintf(w, "%s may %v", id.Subject, id.Scopes)
	})))
	api := httptest.NewTLSServer(httperr.Recover(httperr.Config{Audit: audit.Slog(slog.New(slog.DiscardHandler))})(httperr.Mux(mux)))
	defer api.Close()

	form := url.Values{"grant_type": {"client_credentials"}, "scope": {"invoices:read"}}
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, api.URL+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		log.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(url.QueryEscape("billing"), url.QueryEscape(secret))
	answer, err := api.Client().Do(r)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var got struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int    `json:"expires_in"`
		Scope       string `json:"scope"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&got); err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer.StatusCode, got.TokenType, got.ExpiresIn, got.Scope)

	r, err = http.NewRequestWithContext(context.Background(), http.MethodGet, api.URL+"/invoices", nil)
	if err != nil {
		log.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+got.AccessToken)
	w := httptest.NewRecorder()
	api.Config.Handler.ServeHTTP(w, r)
	fmt.Println(w.Code, w.Body)
	// Output:
	// 200 Bearer 900 invoices:read
	// 200 client:billing may [invoices:read]
}

// A first-party client that can't do better yet trades the user's password for a
// token. Both the grant and what it is for are named: see [oauth.Password].
func ExampleNewServer() {
	key, err := jwk.Generate("EdDSA")
	if err != nil {
		log.Fatal(err)
	}
	ring, err := jwk.NewRing(jwk.RingConfig{Active: key})
	if err != nil {
		log.Fatal(err)
	}
	hasher, err := password.New(password.Config{})
	if err != nil {
		log.Fatal(err)
	}
	hash, err := hasher.Hash(context.Background(), "correct horse battery staple")
	if err != nil {
		log.Fatal(err)
	}
	users, err := auth.NewMemoryUsers(auth.User{Subject: "u1", Name: "ada", PasswordHash: hash, Scopes: []string{"items:read"}})
	if err != nil {
		log.Fatal(err)
	}
	lockout, err := ratelimit.NewLockout(ratelimit.LockoutConfig{}) // ends guessing
	if err != nil {
		log.Fatal(err)
	}
	server, err := oauth.NewServer(oauth.Config{
		Issuer: "https://api.example.com", Audience: "api", Keys: ring,
		Users: users, Passwords: hasher, Lockout: lockout, Grants: []oauth.Grant{oauth.Password},
	})
	if err != nil {
		log.Fatal(err)
	}
	handler := httperr.Recover(httperr.Config{Audit: audit.Slog(slog.New(slog.DiscardHandler))})(server.TokenHandler())

	for _, given := range []string{"correct horse battery staple", "guess"} {
		form := url.Values{"grant_type": {"password"}, "username": {"ada"}, "password": {given}}
		r := httptest.NewRequest(http.MethodPost, "https://api.example.com/token", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		var got struct {
			TokenType string `json:"token_type"`
			Scope     string `json:"scope"`
			Error     string `json:"error"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			log.Fatal(err)
		}
		fmt.Println(w.Code, got.TokenType+got.Error, got.Scope)
	}
	// Output:
	// 200 Bearer items:read
	// 400 invalid_grant
}

// A public client has no secret, another one has the hash of one.
func ExampleNewMemoryClients() {
	secret, hash, err := oauth.NewClientSecret()
	if err != nil {
		log.Fatal(err)
	}
	clients, err := oauth.NewMemoryClients(
		oauth.Client{ID: "web", Public: true, Grants: []oauth.Grant{oauth.Password}, Scopes: []string{"items:read"}},
		oauth.Client{ID: "billing", SecretHash: hash, Grants: []oauth.Grant{oauth.ClientCredentials}, Scopes: []string{"invoices:read"}},
	)
	if err != nil {
		log.Fatal(err)
	}
	c, err := clients.Client(context.Background(), "billing")
	fmt.Println(c, c.Grants, err, len(secret))

	_, err = oauth.NewMemoryClients(oauth.Client{ID: "web"})
	fmt.Println(err)
	// Output:
	// oauth.Client(billing) [client_credentials] <nil> 43
	// oauth: client 0: Client.SecretHash is empty, but the client is not Public and has no Keys
}
