package auth

import (
	"context"
	"slices"
	"time"

	"github.com/sallyport/sallyport/internal/scope"
)

// An Identity is who makes a request. Two identities are the same principal only
// if both Issuer and Subject are equal. The handler that reads an Identity may
// change it: no other request shares it, except those that the handler itself
// makes with its context. Give these a Clone.
type Identity struct {
	Subject  string // who, unique within Issuer; never empty
	Issuer   string // who says so: a token's iss, or "" for the service's own stores
	Scheme   string // how it was authenticated: "Basic", "Bearer", "ApiKey"
	ClientID string // the OAuth client that acts for Subject, if one does

	Scopes []string // what the credentials allow (RFC 6749, section 3.3)
	Roles  []string // what Subject is

	AuthTime time.Time // when Subject was authenticated; zero if unknown
	Expires  time.Time // when the credentials end; zero if they don't
	ACR      string    // authentication context class reference, as in OpenID Connect
	AMR      []string  // authentication methods (RFC 8176)

	Claims Claims // what else the credentials say; see [Claim]
}

// Clone returns a deep copy of id, or nil.
func (id *Identity) Clone() *Identity {
	if id == nil {
		return nil
	}
	c := *id
	c.Scopes = slices.Clip(slices.Clone(id.Scopes))
	c.Roles = slices.Clip(slices.Clone(id.Roles))
	c.AMR = slices.Clip(slices.Clone(id.AMR))
	return &c
}

// NewContext returns a copy of ctx that carries id. It always derives a new
// scope, so neither ctx nor a request that uses it changes. Doors do this for
// handlers; it is meant for tests and for work that leaves the request.
// It panics if id is nil.
func NewContext(ctx context.Context, id *Identity) context.Context {
	if id == nil {
		panic("auth: NewContext: the identity is nil")
	}
	s := scope.Derive(ctx)
	set(s, id)
	s.Auth, s.Borrowed = nil, false // no door decided about id
	return s
}

// FromContext returns the identity of the request that ctx belongs to. It
// returns false if there is none: no auth door is above, or the request is
// anonymous.
func FromContext(ctx context.Context) (*Identity, bool) {
	s := scope.From(ctx)
	if s == nil {
		return nil, false
	}
	id, ok := s.Identity.(*Identity)
	return id, ok && id != nil
}

// set makes id the identity of s, or makes s anonymous if id is nil.
func set(s *scope.Scope, id *Identity) {
	if id == nil {
		s.Identity = nil
		s.Subject, s.Issuer, s.ClientID, s.Credential = "", "", "", ""
		return
	}
	s.Identity = id
	s.Subject, s.Issuer, s.ClientID, s.Credential = id.Subject, id.Issuer, id.ClientID, id.Scheme
}
