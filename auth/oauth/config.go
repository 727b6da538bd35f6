package oauth

import (
	"log/slog"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/dpop"
	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/auth/password"
)

// Config holds the settings of a [Server]. Issuer, Audience, Keys and Grants are
// required.
type Config struct {
	// Issuer is the "iss" of the tokens: the https URL of the service, without a
	// query and fragment (RFC 8414, section 2). Plain http is taken for loopback
	// hosts only. The bearer door compares it byte by byte.
	Issuer string
	// AllowInsecureIssuer takes an Issuer of plain http whatever its host, for
	// test networks: tokens that pass there can be read and used by everyone on
	// the way.
	AllowInsecureIssuer bool
	// Audience is the "aud" of the tokens: the API that they are for.
	Audience string
	// Keys signs the tokens, with the key that is active at the time.
	Keys *jwk.Ring
	// TokenLifetime is how long a token is good for, in whole seconds. The
	// default is 15 minutes, the most 24 hours: a token can't be taken back
	// without asking a store on each request.
	TokenLifetime time.Duration

	// Grants are the grants that the server offers. There is no default.
	Grants []Grant

	// Clients knows the clients. If nil, the server has one client, which is
	// public, may use Password and no other grant, and may get all the scopes of
	// its user: the first-party client. Its id is DefaultClient, or
	// "first-party" if that is empty; requests may name it or no client at all.
	Clients Clients
	// DefaultClient is the id of the public client that is meant by a request
	// which names none. If empty, and Clients is set, such a request is refused.
	DefaultClient string
	// Realm is what a refused client is shown in WWW-Authenticate, in printable
	// ASCII. The default is "token endpoint".
	Realm string

	// RefreshTokens keeps refresh tokens, and serves the grant of that name, which
	// requires it.
	RefreshTokens RefreshStore
	// RefreshLifetime is how long after its login a user can go on with refresh
	// tokens. The default is 90 days, the most 366.
	RefreshLifetime time.Duration
	// RefreshIdle is how long a refresh token is good if it is not used. The default is
	// 14 days, or RefreshLifetime if that is less.
	RefreshIdle time.Duration
	// RefreshGrace lets a refresh token be used a second time this long after the
	// first, for clients whose answer was lost on the way: what the first answer held,
	// and has not been used, is then void. The default is 0, no grace: a token that
	// comes twice ends its login. The most is a minute.
	RefreshGrace time.Duration

	// Revocations makes access tokens end before they expire: with their login, by the
	// revocation endpoint, and by [Server.RevokeSubject]. Give the bearer door the same
	// store (bearer.CheckRevocations). If nil, they live until they expire.
	Revocations auth.Revocations
	// Replays remembers which client assertions were used. If nil, that is an
	// auth.MemoryReplays, for one process.
	Replays auth.Replays
	// AssertionAudiences are taken for the "aud" of a client assertion besides Issuer:
	// the URL of the token endpoint, for clients that follow RFC 7523 and not yet what
	// came after it.
	AssertionAudiences []string

	// DPoP verifies the proofs of clients that want their tokens bound to a key (RFC
	// 9449). Share it with the bearer door. If nil, proofs are ignored, and tokens are
	// bearer tokens, as their "token_type" says.
	DPoP *dpop.Verifier

	// Endpoints are told by the metadata.
	Endpoints Endpoints

	// Users, Passwords and Lockout serve the grant Password, which requires the
	// first two; RefreshToken looks users up too. Share the Hasher with everything else that checks passwords.
	Users     auth.Users
	Passwords *password.Hasher
	// Lockout counts attempts by the subject of the account, or by the name that
	// was given if there is no such account, and by the client's address. Share
	// it with the other doors. If nil, nobody is locked out: then a rate limit
	// must stand before the handler, which RFC 6749, section 4.3.2, demands.
	Lockout auth.Lockout

	// Logger is told what needs an operator: hashes that could not be upgraded,
	// and credentials over plain HTTP. The default is slog.Default().
	Logger *slog.Logger
}
