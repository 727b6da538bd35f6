package bearer_test

import (
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/bearer"
	"github.com/sallyport/sallyport/auth/jwk"
)

// An API that takes the access tokens of one issuer.
func Example() {
	// The issuer's side: a key, and a token for alice.
	key, err := jwk.Generate("Ed25519")
	if err != nil {
		log.Fatal(err)
	}
	now := time.Now().Unix()
	token, err := key.SignCompact("at+jwt", fmt.Appendf(nil, `{"iss":"https://login.example.com","aud":"https://api.example.com",
		"sub":"alice","client_id":"app","jti":"7f3a","iat":%d,"exp":%d,"scope":"items:read"}`, now, now+300))
	if err != nil {
		log.Fatal(err)
	}

	// The API's side: the public key, and the door.
	public, err := key.Public()
	if err != nil {
		log.Fatal(err)
	}
	keys, err := jwk.Static(public)
	if err != nil {
		log.Fatal(err)
	}
	tokens, err := bearer.New(bearer.Config{
		Issuer:   "https://login.example.com",
		Audience: []string{"https://api.example.com"},
		Keys:     keys,
	})
	if err != nil {
		log.Fatal(err)
	}
	items := auth.Require(tokens)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _ := auth.FromContext(r.Context())
		fmt.Fprintln(w, id.Subject, id.ClientID, id.Scopes)
	}))

	for _, credentials := range []string{"Bearer " + token, "Bearer " + token[:len(token)-5], ""} {
		r := httptest.NewRequest("GET", "/items", nil)
		if credentials != "" {
			r.Header.Set("Authorization", credentials)
		}
		w := httptest.NewRecorder()
		items.ServeHTTP(w, r)
		if w.Code == http.StatusOK {
			fmt.Print(w.Code, " ", w.Body)
		} else {
			fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
		}
	}
	// Output:
	// 200 alice app [items:read]
	// 401 Bearer realm="api", error="invalid_token", error_description="The access token is expired, revoked, malformed or not meant for this service."
	// 401 Bearer realm="api"
}

// Two issuers, each with its own keys: a token's iss says whose it is.
func ExampleJoin() {
	issuer := func(name string) (*bearer.Authenticator, jwk.Key) {
		key, err := jwk.Generate("ES256")
		if err != nil {
			log.Fatal(err)
		}
		keys, err := jwk.Static(key)
		if err != nil {
			log.Fatal(err)
		}
		a, err := bearer.New(bearer.Config{Issuer: name, Audience: []string{"api"}, Keys: keys, Types: []string{"JWT"}})
		if err != nil {
			log.Fatal(err)
		}
		return a, key
	}
	staff, staffKey := issuer("https://staff.example.com")
	partners, partnersKey := issuer("https://partners.example.com")
	both, err := bearer.Join(staff, partners)
	if err != nil {
		log.Fatal(err)
	}

	for _, key := range []jwk.Key{staffKey, partnersKey} {
		token, err := key.SignCompact("JWT", fmt.Appendf(nil, `{"iss":"https://staff.example.com","sub":"alice","aud":"api","exp":%d}`, time.Now().Unix()+60))
		if err != nil {
			log.Fatal(err)
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		id, err := both.Authenticate(r)
		fmt.Println(id != nil, errors.Is(err, auth.ErrInvalid))
	}
	// Output:
	// true false
	// false true
}
