package auth

import (
	"context"
	"errors"
	"time"
)

// Revocations is a store of what was revoked before it expired: tokens, sessions,
// and all tokens of a subject that were issued before some time. The bearer door
// asks it, the token endpoint writes to it. It must be safe for concurrent use and
// pass storetest.RunRevocations.
type Revocations interface {
	// Revoke remembers r until r.Until, or longer. When it returns nil, every
	// later call of Revoked sees it, on each machine that shares the store, and a
	// restart does not undo it where the store survives one. Of several
	// revocations of one subject the latest NotBefore counts, whatever the order
	// they come in; a store may round it up to the next millisecond. Revoke returns
	// an error, and remembers nothing, if r does not pass Revocation.Check.
	Revoke(ctx context.Context, r Revocation) error

	// Revoked reports whether the token, its session, or all tokens of its
	// subject of that age are revoked. An error means that the store could not
	// tell, and makes the answer 503.
	Revoked(ctx context.Context, t TokenInfo) (bool, error)
}

// A Revocation takes back one token, the tokens of one session, or those of one
// subject that were issued before some time. Exactly one of TokenID, SessionID and
// Subject is set.
type Revocation struct {
	Issuer    string // the "iss" of the tokens; never empty
	TokenID   string // the token's "jti"
	SessionID string // the "sid" of all the session's tokens
	Subject   string // the "sub" of all the tokens
	// NotBefore goes with Subject: its tokens are revoked whose "iat" is before
	// it, or that have none. As "iat" is in whole seconds, a token that is issued
	// after NotBefore but within the same second is revoked too. Where the clock of
	// the issuer may be ahead, NotBefore should be later by as much.
	NotBefore time.Time
	// Until is when the last such token has expired, leeway included. Nothing need
	// be remembered after it.
	Until time.Time
}

// Check returns an error if r has no Issuer or no Until, or not exactly one of
// TokenID, SessionID and Subject, or if Subject and NotBefore are not set together.
// Stores call it.
func (r Revocation) Check() error {
	named := 0
	for _, name := range []string{r.TokenID, r.SessionID, r.Subject} {
		if name != "" {
			named++
		}
	}
	switch {
	case r.Issuer == "":
		return errors.New("auth: Revocation.Issuer is empty")
	case named != 1:
		return errors.New("auth: Revocation needs exactly one of TokenID, SessionID and Subject")
	case (r.Subject != "") == r.NotBefore.IsZero():
		return errors.New("auth: Revocation.NotBefore goes with Subject")
	case r.Until.IsZero():
		return errors.New("auth: Revocation.Until is not set")
	}
	return nil
}

// TokenInfo is what [Revocations] needs to know of a token. Empty fields are not
// in the token, and match nothing.
type TokenInfo struct {
	Issuer    string
	ID        string // "jti"
	SessionID string // "sid"
	Subject   string
	IssuedAt  time.Time // zero if the token does not say
}

// Replays is a store of what may be used only once within some time: the "jti" of
// DPoP proofs (RFC 9449, section 11.1) and of client assertions (RFC 7523, section
// 3). It must be safe for concurrent use and pass storetest.RunReplays.
type Replays interface {
	// Use records key until the time given, or longer, and reports whether it is
	// the first use. Of any number of concurrent calls with one key, on all
	// machines that share the store, exactly one gets true. An error means that
	// the store could not tell, or is full: then the use must not be accepted.
	// Nothing is a first use when the time given has passed. The key is at most 512
	// bytes of any value; for a longer one Use returns an error.
	Use(ctx context.Context, key string, until time.Time) (first bool, err error)
}
