package apikey

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sallyport/sallyport/auth"
)

// RotateConfig says which key another takes the place of. Subject and ID are
// required.
type RotateConfig struct {
	// Subject is the owner of the key, and ID its id. A key of somebody else is
	// not found.
	Subject, ID string

	// Overlap is how long the old key goes on. The default, 0, ends it at once.
	Overlap time.Duration

	// Pepper is as in MintConfig.
	Pepper Pepper
}

// Rotate mints a key with the rights, the name, the networks, the prefix and the
// lifetime of another, adds it to m, and revokes the other one as of the end of the
// overlap. It returns the new key, which goes to the owner and is not kept, and its
// record.
//
// It returns an error that wraps auth.ErrNotFound if the owner has no such key, and
// another error if that is not valid any more, was or is to be revoked, also meanwhile,
// the Overlap is negative, or m failed. When Rotate returns an error there is no new key
// that could be used: if the old one can't be revoked, the new one is, and if that fails
// too its text is lost. Two calls within a second can each make one.
func Rotate(ctx context.Context, m Manager, cfg RotateConfig) (plain string, record Record, err error) {
	if cfg.Overlap < 0 {
		return "", Record{}, errors.New("apikey: RotateConfig.Overlap is negative")
	}
	if err := checkPepper("RotateConfig.Pepper", cfg.Pepper); err != nil {
		return "", Record{}, err
	}
	old, err := m.Key(ctx, cfg.ID)
	if err == nil && (old.ID != cfg.ID || old.Subject != cfg.Subject || cfg.Subject == "") {
		err = auth.ErrNotFound
	}
	if err != nil {
		return "", Record{}, fmt.Errorf("apikey: the key to rotate: %w", err)
	}
	now := time.Now()
	switch {
	case !old.Revoked.IsZero():
		return "", Record{}, errors.New("apikey: the key to rotate was revoked, or has been rotated; mint another")
	case !old.Expires.IsZero() && !now.Before(old.Expires):
		return "", Record{}, errors.New("apikey: the key to rotate has expired; mint another")
	case old.Disabled:
		return "", Record{}, errors.New("apikey: the owner of the key to rotate is disabled")
	}

	mint := MintConfig{
		Subject: old.Subject, Name: old.Name, Scopes: old.Scopes, Roles: old.Roles, Networks: old.Networks,
		NeverExpires: old.Expires.IsZero(), Pepper: cfg.Pepper,
	}
	mint.Prefix, mint.Environment, _ = strings.Cut(old.Prefix, "_")
	if !mint.NeverExpires && !old.Created.IsZero() {
		mint.Lifetime = max(old.Expires.Sub(old.Created), time.Second)
	}
	if plain, record, err = Mint(mint); err != nil {
		return "", Record{}, fmt.Errorf("apikey: the new key can't be made: %w", err)
	}
	if err := m.Add(ctx, record); err != nil {
		return "", Record{}, fmt.Errorf("apikey: the new key can't be added: %w", err)
	}
	end := now.Add(cfg.Overlap)
	if err := retire(ctx, m, old, end); err != nil {
		// Also if ctx has ended: nobody gets to know the new key.
		_ = m.Revoke(context.WithoutCancel(ctx), record.Subject, record.ID, time.Time{})
		return "", Record{}, err
	}
	return plain, record, nil
}

// retire revokes a key as of a time, unless it ends sooner: it was revoked meanwhile then.
func retire(ctx context.Context, m Manager, old Record, end time.Time) error {
	if err := m.Revoke(ctx, old.Subject, old.ID, end); err != nil {
		return fmt.Errorf("apikey: the old key can't be revoked: %w", err)
	}
	after, err := m.Key(ctx, old.ID)
	if err != nil {
		return fmt.Errorf("apikey: whether the old key was revoked meanwhile: %w", err)
	}
	// A store may keep less than a nanosecond, but a second at least.
	if after.Revoked.Before(end.Truncate(time.Second)) {
		return errors.New("apikey: the key to rotate was revoked meanwhile; mint another")
	}
	return nil
}
