package sqlstore_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/apikey"
	"github.com/sallyport/sallyport/auth/basic"
	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/auth/oauth"
	"github.com/sallyport/sallyport/auth/password"
	"github.com/sallyport/sallyport/auth/sqlstore"
	"github.com/sallyport/sallyport/internal/conformance"
)

func do(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func token(h http.Handler, form url.Values) (status int, refresh string) {
	r := httptest.NewRequest(http.MethodPost, "https://api.example.com/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := do(h, r)
	var got struct {
		RefreshToken string `json:"refresh_token"`
	}
	_ = json.Unmarshal(w.Body.Bytes(), &got)
	return w.Code, got.RefreshToken
}

// F7, through the token endpoint: of a hundred uses of one refresh token at once one is
// good, and its family ends with the theft. A database that is gone is 503, at each
// door.
func TestDoors(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		store := newStore(t, b)
		hasher, err := password.New(password.Config{})
		if err != nil {
			t.Fatal(err)
		}
		hash, err := hasher.Hash(t.Context(), "correct horse battery")
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Users().Add(t.Context(), auth.User{Subject: "1", Name: "ada", PasswordHash: hash, Version: 1}); err != nil {
			t.Fatal(err)
		}
		plain, record, err := apikey.Mint(apikey.MintConfig{Subject: "1"})
		if err == nil {
			err = store.Keys().Add(t.Context(), record)
		}
		if err != nil {
			t.Fatal(err)
		}
		key, err := jwk.Generate("EdDSA")
		if err != nil {
			t.Fatal(err)
		}
		ring, err := jwk.NewRing(jwk.RingConfig{Active: key})
		if err != nil {
			t.Fatal(err)
		}
		doors := func(s *sqlstore.Store) (tokens, basics, keys http.Handler) {
			server, err := oauth.NewServer(oauth.Config{
				Issuer: "https://api.example.com", Audience: "api", Keys: ring, Users: s.Users(), Passwords: hasher,
				Grants: []oauth.Grant{oauth.Password, oauth.RefreshToken}, RefreshTokens: s.RefreshTokens(), Revocations: s.Revocations(),
			})
			if err != nil {
				t.Fatal(err)
			}
			one, err := basic.New(basic.Config{Realm: "api", Users: s.Users(), Passwords: hasher})
			if err != nil {
				t.Fatal(err)
			}
			other, err := apikey.New(apikey.Config{Store: s.Keys()})
			if err != nil {
				t.Fatal(err)
			}
			ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
			return server.TokenHandler(), auth.Require(one)(ok), auth.Require(other)(ok)
		}
		withPassword := func(name string) *http.Request {
			r := httptest.NewRequest(http.MethodGet, "https://api.example.com/", nil)
			r.SetBasicAuth(name, "correct horse battery")
			return r
		}
		withKey := httptest.NewRequest(http.MethodGet, "https://api.example.com/", nil)
		withKey.Header.Set("X-API-Key", plain)

		tokens, basics, keys := doors(store)
		status, refresh := token(tokens, url.Values{"grant_type": {"password"}, "username": {"ada"}, "password": {"correct horse battery"}})
		if status != http.StatusOK || refresh == "" {
			t.Fatalf("the login: got %d", status)
		}
		form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}}
		var good, refused atomic.Int64
		var next atomic.Pointer[string]
		conformance.Together(100, func(int) {
			switch status, refresh := token(tokens, form); status {
			case http.StatusOK:
				good.Add(1)
				next.Store(&refresh)
			case http.StatusBadRequest:
				refused.Add(1)
			default:
				t.Errorf("a refresh: got %d", status)
			}
		})
		if good.Load() != 1 || refused.Load() != 99 {
			t.Fatalf("of 100 uses of one refresh token %d were good and %d refused, want 1 and 99", good.Load(), refused.Load())
		}
		form.Set("refresh_token", *next.Load())
		if status, _ := token(tokens, form); status != http.StatusBadRequest {
			t.Errorf("the next token of a family that was stolen: got %d, want 400", status)
		}
		for name, tt := range map[string]struct {
			door    http.Handler
			request *http.Request
			status  int
		}{
			"a password":         {basics, withPassword("ada"), http.StatusNoContent},
			"an unknown name":    {basics, withPassword("bob"), http.StatusUnauthorized},
			"a name of no text":  {basics, withPassword("ada\xff"), http.StatusUnauthorized},
			"a key":              {keys, withKey, http.StatusNoContent},
			"a name in any case": {basics, withPassword("Ada"), http.StatusUnauthorized},
		} {
			if w := do(tt.door, tt.request.Clone(t.Context())); w.Code != tt.status {
				t.Errorf("%s: got %d, want %d", name, w.Code, tt.status)
			}
		}
		if err := store.Users().SetDisabled(t.Context(), "1", true); err != nil {
			t.Fatal(err)
		}
		_, basics, keys = doors(store)
		for name, w := range map[string]*httptest.ResponseRecorder{"a password": do(basics, withPassword("ada")), "a key": do(keys, withKey.Clone(t.Context()))} {
			if w.Code != http.StatusUnauthorized {
				t.Errorf("%s of one who is disabled: got %d, want 401", name, w.Code)
			}
		}

		b.db = open(t, b.driver, b.dsn)
		gone := unmigrated(t, b, func(c *sqlstore.Config) { c.Timeout = time.Second })
		b.db.Close()
		tokens, basics, keys = doors(gone)
		status, _ = token(tokens, form)
		for name, got := range map[string]int{
			"a refresh": status, "a password": do(basics, withPassword("ada")).Code, "a key": do(keys, withKey.Clone(t.Context())).Code,
		} {
			if got != http.StatusServiceUnavailable {
				t.Errorf("%s without the database: got %d, want 503", name, got)
			}
		}
	})
}
