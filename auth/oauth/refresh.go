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
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/strictbase64"
)

// RefreshToken lets a client trade the refresh token that came with a user's access
// token for a new one of each (RFC 6749, section 6), so that access tokens can be
// short-lived and no client has to keep a password.
//
// A refresh token is good once. One that comes again was stolen, either way: it kills
// its whole family, the access tokens included where Config.Revocations is set (RFC
// 9700, section 4.14.2). The user is looked up each time: one who was disabled, or has
// a new password, gets nothing.
const RefreshToken Grant = "refresh_token"

const (
	defaultRefreshIdle     = 14 * 24 * time.Hour
	defaultRefreshLifetime = 90 * 24 * time.Hour
	longestRefreshLifetime = 366 * 24 * time.Hour
	longestRefreshGrace    = time.Minute

	// A token is what all of its family have in common, and its own part.
	familyBytes = 16
	tokenBytes  = 32
	// longestLeeway is what a bearer door may add to the life of an access token.
	longestLeeway = 5 * time.Minute
	// endTimeout bounds the end of a login, which does not end with its request.
	endTimeout = 10 * time.Second
)

// refresher is what the grant RefreshToken needs.
type refresher struct {
	store                 RefreshStore
	idle, lifetime, grace time.Duration
}

func newRefresher(cfg Config) (refresher, error) {
	f := refresher{cfg.RefreshTokens, cfg.RefreshIdle, cfg.RefreshLifetime, cfg.RefreshGrace}
	if f.lifetime == 0 {
		f.lifetime = defaultRefreshLifetime
	}
	if f.idle == 0 {
		f.idle = min(defaultRefreshIdle, f.lifetime)
	}
	switch {
	case f.lifetime < time.Minute || f.lifetime > longestRefreshLifetime:
		return f, fmt.Errorf("oauth: Config.RefreshLifetime must be from 1m to %v", longestRefreshLifetime)
	case f.idle < time.Minute || f.idle > f.lifetime:
		return f, errors.New("oauth: Config.RefreshIdle must be from 1m to RefreshLifetime")
	case f.grace < 0 || f.grace > longestRefreshGrace:
		return f, fmt.Errorf("oauth: Config.RefreshGrace must be from 0 to %v", longestRefreshGrace)
	}
	return f, nil
}

// A refreshToken is one as a client has it.
type refreshToken struct {
	family [familyBytes]byte
	own    [tokenBytes]byte
}

func newRefreshToken() (t refreshToken) {
	_, _ = rand.Read(t.family[:]) // never fails: crypto/rand ends the program instead
	return t.next()
}

// next returns a new token of the same family.
func (t refreshToken) next() refreshToken {
	_, _ = rand.Read(t.own[:])
	return t
}

func (t refreshToken) encode() string {
	return base64.RawURLEncoding.EncodeToString(append(t.family[:], t.own[:]...))
}

// parseRefreshToken takes the one spelling of a token.
func parseRefreshToken(s string) (t refreshToken, ok bool) {
	b, err := strictbase64.Decode(base64.RawURLEncoding, s)
	if err != nil || len(b) != familyBytes+tokenBytes {
		return t, false
	}
	copy(t.family[:], b)
	copy(t.own[:], b[familyBytes:])
	return t, true
}

// key and hash are what is stored. Only who has had a token of a family knows its
// key, so that nobody else can have it revoked.
func (t refreshToken) key() string  { return hexSum("family", t.family[:]) }
func (t refreshToken) hash() string { return hexSum("token", append(t.family[:], t.own[:]...)) }

func hexSum(kind string, b []byte) string {
	sum := sha256.Sum256(append([]byte(kind+":"), b...))
	return hex.EncodeToString(sum[:])
}

func same(hash, other string) bool {
	return subtle.ConstantTimeCompare([]byte(hash), []byte(other)) == 1
}

// start makes a the first of a family, if the client may refresh.
func (s *Server) start(q *request, a *approval, user auth.User) {
	if !slices.Contains(s.grants, RefreshToken) || !slices.Contains(q.client.Grants, RefreshToken) {
		return
	}
	token, now := newRefreshToken(), time.Now()
	f := RefreshFamily{
		Key: token.key(), SessionID: rand.Text(), Issuer: s.issuer,
		ClientID: q.client.ID, Subject: user.Subject, UserName: user.Name, UserVersion: user.Version,
		Scopes: slices.Clone(a.scopes), AuthTime: a.authTime, Ends: now.Add(s.refreshing.lifetime),
		Rotation: Rotation{Current: token.hash(), Rotated: now},
	}
	f.Expires = earlier(now.Add(s.refreshing.idle), f.Ends)
	if q.client.Public {
		f.Thumbprint = q.thumbprint
	}
	a.session, a.refresh = f.SessionID, token.encode()
	a.commit = func(ctx context.Context) error {
		if err := s.refreshing.store.Create(ctx, f); err != nil {
			return storeFailed("the refresh token store", err)
		}
		return nil
	}
}

// refresh approves new tokens for who has a refresh token.
func (s *Server) refresh(ctx context.Context, q *request) (approval, error) {
	if q.form.refreshToken == "" {
		return approval{}, invalidRequest("The refresh_token parameter is missing.")
	}
	token, ok := parseRefreshToken(q.form.refreshToken)
	if !ok {
		return approval{}, invalidRefresh("not a refresh token")
	}
	f, err := s.family(ctx, token)
	if err != nil {
		return approval{}, err
	}
	if f.ClientID != q.client.ID {
		return approval{}, invalidRefresh("the refresh token is another client's")
	}
	q.subject = f.Subject
	next := token.next()
	if _, err := s.step(ctx, f, token, next); err != nil {
		return approval{}, err
	}
	switch {
	case f.Thumbprint != "" && q.thumbprint == "":
		return approval{}, invalidProof(errors.New("oauth: the refresh token is bound to a key, and there is no proof"))
	case f.Thumbprint != "" && !same(f.Thumbprint, q.thumbprint):
		return approval{}, invalidRefresh("the refresh token is bound to another key")
	}
	user, err := s.owner(ctx, f)
	if err != nil {
		return approval{}, err
	}
	allowed := intersect(f.Scopes, q.client.common(user.Scopes))
	if !subset(q.asked, allowed) {
		return approval{}, scopeRefused("the scope is more than the login has granted")
	}
	return approval{
		subject: f.Subject, scopes: choose(q.asked, allowed), roles: user.Roles, authTime: f.AuthTime,
		session: f.SessionID, refresh: next.encode(),
		commit: func(ctx context.Context) error { return s.rotate(ctx, f, token, next) },
	}, nil
}

// family returns the family that a token says it is of.
func (s *Server) family(ctx context.Context, t refreshToken) (RefreshFamily, error) {
	f, err := s.refreshing.store.Family(ctx, t.key())
	switch {
	case errors.Is(err, auth.ErrNotFound):
		return f, invalidRefresh("unknown refresh token")
	case err != nil:
		return f, storeFailed("the refresh token store", err)
	case f.Key != t.key() || f.Issuer != s.issuer: // a store may compare more loosely
		return f, invalidRefresh("unknown refresh token")
	}
	return f, nil
}

// step returns what becomes of f when t is used and next takes its place. The use of a
// token that has been used, or replaced, ends the family.
func (s *Server) step(ctx context.Context, f RefreshFamily, t, next refreshToken) (Rotation, error) {
	now := time.Now()
	if f.Revoked || !f.Ends.After(now) {
		return Rotation{}, invalidRefresh("the login has ended")
	}
	to := Rotation{Current: next.hash(), Previous: t.hash(), Rotated: now, Expires: earlier(now.Add(s.refreshing.idle), f.Ends)}
	switch {
	case same(t.hash(), f.Current):
		if !f.Expires.After(now) {
			return Rotation{}, invalidRefresh("the refresh token has not been used for too long")
		}
		return to, nil
	case same(t.hash(), f.Previous) && !f.Retried && s.refreshing.grace > 0 && now.Sub(f.Rotated) <= s.refreshing.grace:
		// The answer was lost, it seems: what it held has not been used.
		to.Rotated, to.Retried = f.Rotated, true
		return to, nil
	}
	return Rotation{}, s.reused(ctx, f)
}

// rotate puts next in the place of t. It looks again where somebody else was quicker.
func (s *Server) rotate(ctx context.Context, f RefreshFamily, t, next refreshToken) error {
	for range 3 {
		to, err := s.step(ctx, f, t, next)
		if err != nil {
			return err
		}
		done, err := s.refreshing.store.Rotate(ctx, f.Key, f.Current, to)
		switch {
		case err != nil:
			return storeFailed("the refresh token store", err)
		case done:
			return nil
		}
		if f, err = s.family(ctx, t); err != nil {
			return err
		}
	}
	return unavailable(errors.New("oauth: the refresh token store neither rotates nor says why"))
}

// reused ends the family of a token that came again. Of all requests that see it, one
// tells so.
func (s *Server) reused(ctx context.Context, f RefreshFamily) error {
	n, err := s.end(ctx, RefreshSelector{Key: f.Key}, f.SessionID)
	if err != nil {
		return err
	}
	p := invalidRefresh("the refresh token has been used before")
	if n > 0 {
		p.Audit.Name, p.Audit.Level = audit.TokenReuse, slog.LevelError
		p.Audit.Reason = "a refresh token came again, so its login has been ended: it, or the one after it, was stolen"
	}
	return p
}

// end revokes families, and the access tokens of a session if it is named. Those come
// first: if the second store fails, the family is alive, and its next use tries both
// again and tells of it. Nor may a client that hangs up keep it from being done.
func (s *Server) end(ctx context.Context, which RefreshSelector, session string) (int, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	if s.revocations != nil && session != "" {
		err := s.revocations.Revoke(ctx, auth.Revocation{Issuer: s.issuer, SessionID: session, Until: s.lastExpiry()})
		if err != nil {
			return 0, storeFailed("the store of revocations", err)
		}
	}
	n, err := s.refreshing.store.Revoke(ctx, which)
	if err != nil {
		return 0, storeFailed("the refresh token store", err)
	}
	return n, nil
}

// lastExpiry is when the last access token that was issued until now has expired,
// wherever it is checked, and whatever Config.TokenLifetime was when it was issued.
func (s *Server) lastExpiry() time.Time { return time.Now().Add(longestLifetime + longestLeeway) }

// owner returns the user of a login, as he is now.
func (s *Server) owner(ctx context.Context, f RefreshFamily) (auth.User, error) {
	user, err := s.logins.Users.User(ctx, f.UserName)
	gone := ""
	switch {
	case errors.Is(err, auth.ErrNotFound), err == nil && user.Subject != f.Subject:
		gone = "the user is gone"
	case err != nil:
		return auth.User{}, storeFailed("the user store", err)
	case user.Disabled:
		gone = "the account is disabled"
	case user.Version != f.UserVersion:
		gone = "the password has been changed"
	}
	if gone != "" {
		if _, err := s.end(ctx, RefreshSelector{Key: f.Key}, f.SessionID); err != nil {
			return auth.User{}, err
		}
		return auth.User{}, invalidRefresh(gone)
	}
	if err := checkUser(user); err != nil {
		return auth.User{}, serverError(err)
	}
	return user, nil
}

// RevokeSubject ends all logins of a user: his refresh tokens, and with
// Config.Revocations the access tokens that were issued to him until now. Call it when
// a password is changed or an account disabled, and after that is stored: a login whose
// password was checked before, and which is answered after, has an access token that lives
// until it expires, and a refresh token that is refused. Tokens tell whole seconds, so the
// access token of a login within the second in which it returns is refused too. It returns an
// error if the server has no store for either, or a store failed; then call it again.
func (s *Server) RevokeSubject(ctx context.Context, subject string) error {
	return s.revoke(ctx, RefreshSelector{Subject: subject, Issuer: s.issuer}, auth.Revocation{
		Issuer: s.issuer, Subject: subject, NotBefore: time.Now(), Until: s.lastExpiry(),
	})
}

// RevokeSession ends one login, by the "sid" of its access tokens: its refresh token
// and, with Config.Revocations, its access tokens. The errors are those of
// [Server.RevokeSubject].
func (s *Server) RevokeSession(ctx context.Context, sessionID string) error {
	return s.revoke(ctx, RefreshSelector{SessionID: sessionID, Issuer: s.issuer}, auth.Revocation{
		Issuer: s.issuer, SessionID: sessionID, Until: s.lastExpiry(),
	})
}

func (s *Server) revoke(ctx context.Context, which RefreshSelector, r auth.Revocation) error {
	if s.refreshing.store == nil && s.revocations == nil {
		return errors.New("oauth: there is neither Config.RefreshTokens nor Config.Revocations, so nothing can be revoked")
	}
	if s.revocations != nil {
		if err := s.revocations.Revoke(ctx, r); err != nil {
			return fmt.Errorf("oauth: the store of revocations failed: %w", err)
		}
	}
	if s.refreshing.store != nil {
		if _, err := s.refreshing.store.Revoke(ctx, which); err != nil {
			return fmt.Errorf("oauth: the refresh token store failed: %w", err)
		}
	}
	return nil
}

func invalidRefresh(reason string) *httperr.Problem {
	return refuse(http.StatusBadRequest, codeInvalidGrant, "The refresh token is not valid.", audit.LoginFail, reason)
}

// storeFailed does not wrap err: what a store's error wraps must not become an answer.
func storeFailed(what string, err error) *httperr.Problem {
	return unavailable(fmt.Errorf("oauth: %s failed: %v", what, err))
}

func intersect(some, others []string) []string {
	var both []string
	for _, one := range some {
		if slices.Contains(others, one) {
			both = append(both, one)
		}
	}
	return both
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
