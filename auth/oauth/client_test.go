package oauth_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/oauth"
)

func sha256Hash(plain string) string {
	sum := sha256.Sum256([]byte(plain))
	return "sha256:" + hex.EncodeToString(sum[:])
}

func clientNamed(id, hash string) oauth.Client {
	return oauth.Client{ID: id, SecretHash: hash, Grants: []oauth.Grant{oauth.ClientCredentials}}
}

func withDefaultClient(c *oauth.Config) { c.DefaultClient = "app" }

func TestNewMemoryClientsRefusesWhatCantWork(t *testing.T) {
	hash := sha256Hash("x")
	for _, tt := range []struct {
		name   string
		client oauth.Client
		field  string // named by the error; "" means there is none
	}{
		{"confidential", oauth.Client{ID: "a", SecretHash: hash}, ""},
		{"public", oauth.Client{ID: "a", Public: true}, ""},
		{"everything", oauth.Client{ID: "https://a.example/ b", SecretHash: hash, OldSecretHash: hash, Grants: []oauth.Grant{oauth.Password, oauth.ClientCredentials}, Scopes: []string{"a:b", "!#[]~"}}, ""},
		{"hash in capitals", oauth.Client{ID: "a", SecretHash: "sha256:" + strings.Repeat("AB", 32)}, ""},
		{"longest ID", oauth.Client{ID: strings.Repeat("a", 248), Public: true}, ""},
		{"no ID", oauth.Client{SecretHash: hash}, "ID"},
		{"ID too long", oauth.Client{ID: strings.Repeat("a", 249), Public: true}, "ID"},
		{"ID not ASCII", oauth.Client{ID: "ä", Public: true}, "ID"},
		{"ID with line break", oauth.Client{ID: "a\n", Public: true}, "ID"},
		{"neither public nor secret", oauth.Client{ID: "a"}, "SecretHash"},
		{"old secret alone", oauth.Client{ID: "a", OldSecretHash: hash}, "SecretHash"},
		{"public with secret", oauth.Client{ID: "a", Public: true, SecretHash: hash}, "SecretHash"},
		{"public with old secret", oauth.Client{ID: "a", Public: true, OldSecretHash: hash}, "SecretHash"},
		{"public for itself", oauth.Client{ID: "a", Public: true, Grants: []oauth.Grant{oauth.ClientCredentials}}, "Grants"},
		{"secret not hashed", oauth.Client{ID: "a", SecretHash: "hunter2"}, "SecretHash"},
		{"hash untagged", oauth.Client{ID: "a", SecretHash: hash[len("sha256:"):]}, "SecretHash"},
		{"other algorithm", oauth.Client{ID: "a", SecretHash: "sha1:" + strings.Repeat("00", 20)}, "SecretHash"},
		{"hash short", oauth.Client{ID: "a", SecretHash: hash[:len(hash)-2]}, "SecretHash"},
		{"hash long", oauth.Client{ID: "a", SecretHash: hash + "00"}, "SecretHash"},
		{"hash not hex", oauth.Client{ID: "a", SecretHash: "sha256:" + strings.Repeat("zz", 32)}, "SecretHash"},
		{"old hash not hex", oauth.Client{ID: "a", SecretHash: hash, OldSecretHash: "x"}, "OldSecretHash"},
		{"grant unknown", oauth.Client{ID: "a", Public: true, Grants: []oauth.Grant{"implicit"}}, "Grants"},
		{"scope empty", oauth.Client{ID: "a", Public: true, Scopes: []string{""}}, "Scopes"},
		{"scope that is two", oauth.Client{ID: "a", Public: true, Scopes: []string{"a b"}}, "Scopes"},
		{"scope with quote", oauth.Client{ID: "a", Public: true, Scopes: []string{`a"`}}, "Scopes"},
		{"scope not ASCII", oauth.Client{ID: "a", Public: true, Scopes: []string{"ä"}}, "Scopes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := oauth.NewMemoryClients(tt.client)
			switch {
			case tt.field == "" && (err != nil || m == nil):
				t.Errorf("got %v, %v, want a store", m, err)
			case tt.field != "" && (err == nil || m != nil):
				t.Errorf("got %v, %v, want an error that names %s", m, err, tt.field)
			case tt.field != "" && !strings.HasPrefix(err.Error(), "oauth: client 0: Client."+tt.field):
				t.Errorf("got %q, want an error that names %s", err, tt.field)
			case err != nil && tt.client.SecretHash != "" && strings.Contains(err.Error(), tt.client.SecretHash):
				t.Errorf("the error shows the hash, or a secret that was put there: %v", err)
			}
		})
	}
	t.Run("same ID", func(t *testing.T) {
		_, err := oauth.NewMemoryClients(oauth.Client{ID: "a", Public: true}, oauth.Client{ID: "a", Public: true})
		if err == nil || !strings.Contains(err.Error(), "client 1: Client.ID") {
			t.Errorf("got %v, want an error that names ID", err)
		}
	})
}

func TestMemoryClientsAreCopies(t *testing.T) {
	c := oauth.Client{ID: "a", Public: true, Grants: []oauth.Grant{oauth.Password}, Scopes: []string{"read"}}
	m := memoryClients(t, c)
	c.Grants[0], c.Scopes[0] = "x", "x"
	got, err := m.Client(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	got.Grants[0], got.Scopes[0] = "y", "y"
	again, err := m.Client(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if again.Grants[0] != oauth.Password || again.Scopes[0] != "read" {
		t.Errorf("got %v and %v, want what was stored", again.Grants, again.Scopes)
	}
	if _, err := m.Client(t.Context(), "A"); !errors.Is(err, auth.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
}

func TestNewClientSecret(t *testing.T) {
	seen := make(map[string]bool)
	for range 100 {
		plain, hash, err := oauth.NewClientSecret()
		if err != nil {
			t.Fatal(err)
		}
		if len(plain) != 43 || strings.Trim(plain, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			t.Fatalf("got %q, want 43 characters of base64url", plain)
		}
		if hash != sha256Hash(plain) {
			t.Fatalf("got hash %q, want the SHA-256 of the secret", hash)
		}
		if seen[plain] {
			t.Fatal("got one secret twice")
		}
		seen[plain] = true
	}
}

// While a secret is changed both are good; then only the new one.
func TestOldSecret(t *testing.T) {
	e := newEndpoint(t, nil)
	oldSecret, oldHash, _ := oauth.NewClientSecret()
	newSecret, newHash, _ := oauth.NewClientSecret()
	try := func(secret string) *httptest.ResponseRecorder {
		return e.send(request{body: "grant_type=client_credentials", id: "service", secret: secret})
	}
	c := clientNamed("service", newHash)
	c.OldSecretHash = oldHash
	e.clients.Clients = memoryClients(t, c)
	wantToken(t, try(newSecret))
	wantToken(t, try(oldSecret))
	wantError(t, try(e.secret), 401, "invalid_client")

	e.clients.Clients = memoryClients(t, clientNamed("service", newHash))
	wantToken(t, try(newSecret))
	wantError(t, try(oldSecret), 401, "invalid_client")
}

// The hash of nothing is no way in: an empty secret is none.
func TestHashOfNothing(t *testing.T) {
	e := newEndpoint(t, nil)
	e.clients.Clients = memoryClients(t, clientNamed("service", sha256Hash("")))
	wantError(t, e.send(request{body: "grant_type=client_credentials", id: "service"}), 401, "invalid_client")
	wantError(t, e.post("grant_type=client_credentials&client_id=service&client_secret="), 401, "invalid_client")
	wantError(t, e.post("grant_type=client_credentials&client_id=service"), 401, "invalid_client")
}

// A client that is unknown, gives a wrong secret, or gives none gets the same
// bytes after the same steps.
func TestRFC6749_2_3_UnknownClientIsNotTold(t *testing.T) {
	e := newEndpoint(t, nil)
	var first string
	for _, tt := range []struct{ name, id, secret string }{
		{"wrong secret", "service", "wrong"},
		{"no secret", "service", ""},
		{"unknown", "nobody", "wrong"},
		{"unknown, no secret", "nobody", ""},
		{"public with a secret", "app", "wrong"},
	} {
		for _, inBody := range []bool{false, true} {
			t.Run(fmt.Sprint(tt.name, " in the body: ", inBody), func(t *testing.T) {
				before := e.clients.lookups
				r := request{body: "grant_type=client_credentials", id: tt.id, secret: tt.secret}
				if inBody {
					r = request{body: r.body + "&client_id=" + tt.id + "&client_secret=" + tt.secret}
				}
				w := e.send(r)
				wantError(t, w, 401, "invalid_client")
				w.Header().Del("X-Request-Id")
				got := fmt.Sprint(w.Code, w.Header(), w.Body)
				if first == "" {
					first = got
				}
				if got != first {
					t.Errorf("got  %s\nwant %s", got, first)
				}
				if n := e.clients.lookups - before; n != 1 {
					t.Errorf("the store was asked %d times, want once", n)
				}
			})
		}
	}
}

// A grant that the server does not offer is refused alike for every client, and
// whether a client may use one is told only to that client.
func TestRFC6749_5_2_UnknownGrantRevealsNoClient(t *testing.T) {
	e := newEndpoint(t, func(c *oauth.Config) { c.Grants = []oauth.Grant{oauth.ClientCredentials} })
	for _, grant := range []string{"password", "refresh_token", "urn:x"} {
		for _, r := range []request{{}, {id: "service", secret: e.secret}, {id: "service", secret: "wrong"}, {id: "nobody", secret: "wrong"}, {id: "app"}} {
			r.body = "grant_type=" + grant
			wantError(t, e.send(r), 400, "unsupported_grant_type")
		}
	}
	if e.clients.lookups != 0 {
		t.Errorf("the client store was asked %d times, want never", e.clients.lookups)
	}

	e = newEndpoint(t, nil)
	secret, hash, _ := oauth.NewClientSecret()
	e.clients.Clients = memoryClients(t, oauth.Client{ID: "idle", SecretHash: hash})
	wantError(t, e.send(request{body: "grant_type=client_credentials", id: "idle", secret: secret}), 400, "unauthorized_client")
	wantError(t, e.send(request{body: "grant_type=client_credentials", id: "idle", secret: "wrong"}), 401, "invalid_client")
	wantError(t, e.send(request{body: "grant_type=client_credentials", id: "nobody", secret: "wrong"}), 401, "invalid_client")
}

func TestClientPrintsAsItsID(t *testing.T) {
	c := oauth.Client{ID: "service", SecretHash: sha256Hash("x"), OldSecretHash: sha256Hash("y")}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("a", "client", c)
	slog.New(slog.NewTextHandler(&log, nil)).Info("a", "client", c)
	for _, got := range []string{fmt.Sprintf("%v", c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c), c.String(), fmt.Sprintf("%v", []oauth.Client{c}), log.String()} {
		if !strings.Contains(got, "service") || strings.Contains(got, "sha256") {
			t.Errorf("got %s, want the id and no hash", got)
		}
	}
}
