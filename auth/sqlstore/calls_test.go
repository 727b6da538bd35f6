package sqlstore_test

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/apikey"
	"github.com/sallyport/sallyport/auth/oauth"
	"github.com/sallyport/sallyport/auth/sqlstore"
)

// What must be in no error and in no log.
const (
	canary = "canary0000000000"
	hash   = "sha256:ca7a47000000000000000000000000000000000000000000000000000000ca7a"
)

var serial atomic.Int64

// calls returns a call of each method that asks the database.
func calls(s *sqlstore.Store) map[string]func(ctx context.Context) error {
	later := time.Now().Add(time.Hour)
	rotation := oauth.Rotation{Current: canary, Rotated: time.Now(), Expires: later}
	family := oauth.RefreshFamily{Key: canary, SessionID: canary, Issuer: canary, Subject: canary, Ends: later, Rotation: rotation}
	record := apikey.Record{ID: "0000000000000000", Hash: hash, Subject: canary, Created: time.Now()}
	return map[string]func(ctx context.Context) error{
		"User":      func(ctx context.Context) error { _, err := s.Users().User(ctx, canary); return err },
		"BySubject": func(ctx context.Context) error { _, err := s.Users().BySubject(ctx, canary); return err },
		"Add of a user": func(ctx context.Context) error {
			return s.Users().Add(ctx, auth.User{Subject: canary, Name: canary, PasswordHash: canary})
		},
		"SetPasswordHash": func(ctx context.Context) error { return s.Users().SetPasswordHash(ctx, canary, canary, 1) },
		"SetPassword":     func(ctx context.Context) error { return s.Users().SetPassword(ctx, canary, canary) },
		"SetDisabled":     func(ctx context.Context) error { return s.Users().SetDisabled(ctx, canary, true) },
		"SetRoles":        func(ctx context.Context) error { return s.Users().SetRoles(ctx, canary, []string{canary}) },
		"SetScopes":       func(ctx context.Context) error { return s.Users().SetScopes(ctx, canary, []string{canary}) },
		"Delete":          func(ctx context.Context) error { return s.Users().Delete(ctx, canary) },
		"Key":             func(ctx context.Context) error { _, err := s.Keys().Key(ctx, record.ID); return err },
		"Add of a key":    func(ctx context.Context) error { return s.Keys().Add(ctx, record) },
		"Revoke of a key": func(ctx context.Context) error { return s.Keys().Revoke(ctx, canary, record.ID, later) },
		"Touch":           func(ctx context.Context) error { return s.Keys().Touch(ctx, record.ID, later) },
		"List":            func(ctx context.Context) error { _, err := s.Keys().List(ctx, canary); return err },
		"Create":          func(ctx context.Context) error { return s.RefreshTokens().Create(ctx, family) },
		"Family":          func(ctx context.Context) error { _, err := s.RefreshTokens().Family(ctx, canary); return err },
		"Rotate": func(ctx context.Context) error {
			_, err := s.RefreshTokens().Rotate(ctx, canary, canary, rotation)
			return err
		},
		"Revoke of a family": func(ctx context.Context) error {
			_, err := s.RefreshTokens().Revoke(ctx, oauth.RefreshSelector{Key: canary})
			return err
		},
		"Revoke of a session": func(ctx context.Context) error {
			_, err := s.RefreshTokens().Revoke(ctx, oauth.RefreshSelector{SessionID: canary, Issuer: canary})
			return err
		},
		"Revoke of a subject": func(ctx context.Context) error {
			_, err := s.RefreshTokens().Revoke(ctx, oauth.RefreshSelector{Subject: canary, Issuer: canary})
			return err
		},
		"Revoke": func(ctx context.Context) error {
			return s.Revocations().Revoke(ctx, auth.Revocation{Issuer: canary, Subject: canary, NotBefore: time.Now(), Until: later})
		},
		"Revoked": func(ctx context.Context) error {
			_, err := s.Revocations().Revoked(ctx, auth.TokenInfo{Issuer: canary, ID: canary, SessionID: canary, Subject: canary})
			return err
		},
		"Use": func(ctx context.Context) error {
			_, err := s.Replays().Use(ctx, canary+strconv.FormatInt(serial.Add(1), 10), later)
			return err
		},
		"Cleanup": func(ctx context.Context) error { _, err := s.Cleanup(ctx); return err },
	}
}
