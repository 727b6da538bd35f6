package bearer

import (
	"context"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/internal/isnil"
)

// A RevocationCheck reports whether a token that is otherwise good has been
// revoked: by its ID, or with all that were issued to its subject before some
// time. It is called for every request, so it should be fast. An error means
// that it could not tell, and makes the answer 503. It must be safe for
// concurrent use.
type RevocationCheck func(ctx context.Context, t Token) (revoked bool, err error)

// A Token is what a [RevocationCheck] is told of a verified token.
type Token struct {
	ID        string // "jti", unique within Issuer; "" if the token has none
	SessionID string // "sid", what the tokens of one login have in common; "" if the token has none
	Issuer    string
	Subject   string
	ClientID  string    // "" if the token has none
	IssuedAt  time.Time // zero if the token doesn't say
	Expires   time.Time // until when a revocation has to be remembered, not counting Config.Leeway; zero if the token doesn't say
}

// CheckRevocations returns a check that asks store: by the token's id, its session
// and its subject. It panics if store is nil.
func CheckRevocations(store auth.Revocations) RevocationCheck {
	if isnil.Value(store) {
		panic("bearer: CheckRevocations: the store is nil")
	}
	return func(ctx context.Context, t Token) (bool, error) {
		return store.Revoked(ctx, auth.TokenInfo{
			Issuer: t.Issuer, ID: t.ID, SessionID: t.SessionID, Subject: t.Subject, IssuedAt: t.IssuedAt,
		})
	}
}
