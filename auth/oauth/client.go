package oauth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/internal/grammar"
)

// Clients is a store of clients. It must be safe for concurrent use.
type Clients interface {
	// Client returns the client with this id, compared byte by byte. It returns
	// an error that wraps auth.ErrNotFound if there is none; any other error
	// means that the store could not tell, and makes the answer 503. The slices
	// of the Client belong to the caller.
	Client(ctx context.Context, id string) (Client, error)
}

// A Client is a program that may ask for tokens (RFC 6749, section 2). It prints
// and logs as its id.
type Client struct {
	// ID names the client: 1 to 248 printable ASCII characters.
	ID string

	// Public says that the client can't keep a secret, because it runs in a
	// browser or on a user's device. Its id is no proof of anything: everyone
	// may use it.
	Public bool
	// SecretHash is the hash that [NewClientSecret] returned along with the
	// secret. A public client has none, any other needs one. The form is
	// "sha256:" and 64 hexadecimal digits. That is only as strong as the secret:
	// never put the hash of one that a person made up here.
	SecretHash string `json:"-"`
	// OldSecretHash is taken as well as SecretHash, while a secret is changed.
	// Empty at other times.
	OldSecretHash string `json:"-"`
	// Keys are the client's public keys, for a client that proves itself by signing
	// (private_key_jwt, RFC 7523) instead of by a secret, which it has not then: its
	// jwks_uri by jwk.Remote, or jwk.Static.
	Keys jwk.Set `json:"-"`

	// Grants are the grants that the client may use, of those that the server
	// offers. There is no default.
	Grants []Grant
	// Scopes are what the client may be granted (RFC 6749, section 3.3): for
	// itself, or of what its user may have.
	Scopes []string

	// RequireDPoP refuses a token to a request without a DPoP proof, so that the
	// client gets tokens that are bound to a key only (RFC 9449). It needs
	// Config.DPoP.
	RequireDPoP bool
	// Introspects says that the client is an API which may be told about every access
	// token for the server's Audience, not just its own. A public client can't be.
	Introspects bool

	allScopes bool // may have each scope of its user
}

// String returns the id alone.
func (c Client) String() string { return "oauth.Client(" + c.ID + ")" }

// GoString is String.
func (c Client) GoString() string { return c.String() }

// Format writes String whatever the verb, so that no hash gets into a log.
func (c Client) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// LogValue returns the id alone.
func (c Client) LogValue() slog.Value { return slog.StringValue(c.ID) }

// NewClientSecret returns a new secret of 256 random bits, 43 characters that
// need no escaping anywhere, and the hash of it for [Client].SecretHash. Give the
// secret to the client and keep only the hash.
//
// Secrets are made here rather than chosen, since nothing slows down or locks
// out who guesses at one: there is nothing to guess. The error is always nil.
func NewClientSecret() (plain, hash string, err error) {
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails: crypto/rand ends the program instead
	plain = base64.RawURLEncoding.EncodeToString(random[:])
	return plain, hashSecret(plain), nil
}

// MemoryClients is a fixed set of clients in memory. It is safe for concurrent
// use.
type MemoryClients struct {
	clients map[string]Client
}

// NewMemoryClients returns a store that holds clients. It returns an error that
// names the field for a client without a usable ID or with that of another, a
// public one with a secret or ClientCredentials, another one without a secret, a
// hash of another form, a grant that does not exist, and a scope that is not a
// scope-token of RFC 6749, section 3.3.
func NewMemoryClients(clients ...Client) (*MemoryClients, error) {
	m := &MemoryClients{clients: make(map[string]Client, len(clients))}
	for i, c := range clients {
		if err := c.check(); err != nil {
			return nil, fmt.Errorf("oauth: client %d: %w", i, err)
		}
		if _, ok := m.clients[c.ID]; ok {
			return nil, fmt.Errorf("oauth: client %d: Client.ID is taken", i)
		}
		c.Grants, c.Scopes = slices.Clone(c.Grants), slices.Clone(c.Scopes)
		m.clients[c.ID] = c
	}
	return m, nil
}

// String tells nothing of the clients.
func (m *MemoryClients) String() string { return "oauth.MemoryClients" }

// Format writes String whatever the verb, so that no hash gets into a log.
func (m *MemoryClients) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, m.String()) }

// Client returns the client with this id, or auth.ErrNotFound.
func (m *MemoryClients) Client(ctx context.Context, id string) (Client, error) {
	if err := ctx.Err(); err != nil {
		return Client{}, err
	}
	c, ok := m.clients[id]
	if !ok {
		return Client{}, auth.ErrNotFound
	}
	c.Grants, c.Scopes = slices.Clone(c.Grants), slices.Clone(c.Scopes)
	return c, nil
}

// ownClient is the id of the one client of a server that was given none.
type ownClient string

func (o ownClient) Client(_ context.Context, id string) (Client, error) {
	if id != string(o) {
		return Client{}, auth.ErrNotFound
	}
	return Client{ID: id, Public: true, Grants: []Grant{Password, RefreshToken}, allScopes: true}, nil
}

// check returns an error, which begins with the name of the field, if c can't
// be a client.
func (c Client) check() error {
	switch {
	case !isID(c.ID):
		return errors.New("Client.ID must be 1 to 248 printable ASCII characters")
	case c.Public && (c.SecretHash != "" || c.OldSecretHash != ""):
		return errors.New("Client.SecretHash is set, but the client is Public")
	case c.Keys != nil && !c.hasKeys():
		return errors.New("Client.Keys holds a nil")
	case c.hasKeys() && (c.Public || c.SecretHash != "" || c.OldSecretHash != ""):
		return errors.New("Client.Keys is set, but the client is Public or has a SecretHash")
	case !c.Public && c.SecretHash == "" && !c.hasKeys():
		return errors.New("Client.SecretHash is empty, but the client is not Public and has no Keys")
	case c.Public && c.Introspects:
		return errors.New("Client.Introspects is set, but the client is Public")
	case c.Public && slices.Contains(c.Grants, ClientCredentials):
		return errors.New("Client.Grants has ClientCredentials, but the client is Public")
	}
	for _, h := range [...]struct{ field, hash string }{{"SecretHash", c.SecretHash}, {"OldSecretHash", c.OldSecretHash}} {
		if _, ok := parseHash(h.hash); !ok && h.hash != "" {
			return errors.New("Client." + h.field + " is not of the form that NewClientSecret returns")
		}
	}
	for _, g := range c.Grants {
		if !g.known() {
			return fmt.Errorf("Client.Grants: %q is not supported", string(g))
		}
	}
	for _, one := range c.Scopes {
		if !grammar.IsScopeToken(one) {
			return fmt.Errorf("Client.Scopes: %q is not a scope token", one)
		}
	}
	return nil
}

// hasSecret reports whether secret is one of c's. It compares with two hashes
// whatever c has, taking those that it lacks from decoy, which fits no secret.
func (c Client) hasSecret(secret, decoy string) bool {
	given := sha256.Sum256([]byte(secret))
	same := 0
	for _, hash := range [...]string{c.SecretHash, c.OldSecretHash} {
		if hash == "" {
			hash = decoy
		}
		want, _ := parseHash(hash)
		same |= subtle.ConstantTimeCompare(given[:], want[:])
	}
	return same == 1 && secret != ""
}

const hashPrefix = "sha256:"

func hashSecret(plain string) string {
	sum := sha256.Sum256([]byte(plain))
	return hashPrefix + hex.EncodeToString(sum[:])
}

func parseHash(s string) (sum [sha256.Size]byte, ok bool) {
	digits, ok := strings.CutPrefix(s, hashPrefix)
	if !ok || len(digits) != hex.EncodedLen(len(sum)) {
		return sum, false
	}
	_, err := hex.Decode(sum[:], []byte(digits))
	return sum, err == nil
}
