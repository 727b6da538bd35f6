package apikey_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/apikey"
)

// The new key has all that the old one had, and the old one goes on for the overlap.
func TestRotate(t *testing.T) {
	for _, overlap := range []time.Duration{0, 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			old, rec := mint(t, apikey.MintConfig{
				Prefix: "acme", Environment: "live", Subject: "alice", Name: "laptop", Scopes: []string{"a", "b"}, Roles: []string{"c"},
				Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Lifetime: 30 * 24 * time.Hour,
			})
			store := memory(t, rec)
			keys := newAuthenticator(t, apikey.Config{Store: store})
			time.Sleep(20 * 24 * time.Hour)
			plain, fresh, err := apikey.Rotate(t.Context(), store, apikey.RotateConfig{Subject: "alice", ID: rec.ID, Overlap: overlap})
			if err != nil {
				t.Fatal(err)
			}
			if fresh.ID == rec.ID || fresh.Hash == rec.Hash || !strings.HasPrefix(plain, "acme_live_"+fresh.ID+"_") {
				t.Errorf("got %s", fresh)
			}
			if fresh.Subject != "alice" || fresh.Name != "laptop" || fresh.Prefix != "acme_live" || !slices.Equal(fresh.Scopes, rec.Scopes) ||
				!slices.Equal(fresh.Roles, rec.Roles) || !slices.Equal(fresh.Networks, rec.Networks) || fresh.Expires.Sub(fresh.Created) != 30*24*time.Hour {
				t.Errorf("got %+v, want what the old one has", []any{fresh.Name, fresh.Prefix, fresh.Scopes, fresh.Roles, fresh.Networks, fresh.Created, fresh.Expires})
			}
			valid := func(key string) bool {
				_, err := keys.Authenticate(request(key))
				if err != nil && !errors.Is(err, auth.ErrInvalid) {
					t.Fatal(err)
				}
				return err == nil
			}
			if !valid(plain) || valid(old) != (overlap > 0) {
				t.Errorf("at once: the new key is valid: %v, the old one: %v", valid(plain), valid(old))
			}
			time.Sleep(overlap)
			if !valid(plain) || valid(old) {
				t.Errorf("after the overlap: the new key is valid: %v, the old one: %v", valid(plain), valid(old))
			}
		})
	}
}

// A record that does not say when it was made does not say for how long either.
func TestRotateOfAKeyWithoutCreated(t *testing.T) {
	_, rec := mint(t, apikey.MintConfig{Subject: "alice", Lifetime: 24 * time.Hour})
	rec.Created = time.Time{}
	_, fresh, err := apikey.Rotate(t.Context(), memory(t, rec), apikey.RotateConfig{Subject: "alice", ID: rec.ID})
	if err != nil || time.Until(fresh.Expires) > 366*24*time.Hour {
		t.Errorf("got a key until %v, %v", fresh.Expires, err)
	}
}

func TestRotateOfAKeyThatNeverExpires(t *testing.T) {
	_, rec := mint(t, apikey.MintConfig{Subject: "alice", NeverExpires: true})
	pepper := apikey.Pepper{ID: "2026", Key: make([]byte, 32)}
	_, fresh, err := apikey.Rotate(t.Context(), memory(t, rec), apikey.RotateConfig{Subject: "alice", ID: rec.ID, Pepper: pepper})
	if err != nil || !fresh.Expires.IsZero() || !strings.HasPrefix(fresh.Hash, "hmac-sha256:2026:") {
		t.Errorf("got %v, %v, %v", fresh, fresh.Expires, err)
	}
}

// What can't be rotated stays as it is, and no key is left over.
func TestRotateRefuses(t *testing.T) {
	ended := func(edit func(*apikey.Record)) func(*testing.T, *manager, *apikey.RotateConfig) {
		return func(t *testing.T, m *manager, cfg *apikey.RotateConfig) {
			_, rec := mint(t, apikey.MintConfig{Subject: "alice"})
			edit(&rec)
			if err := m.Add(t.Context(), rec); err != nil {
				t.Fatal(err)
			}
			cfg.ID = rec.ID
		}
	}
	for _, tt := range []struct {
		name string
		edit func(*testing.T, *manager, *apikey.RotateConfig)
		want error // nil: any
		left int   // keys of alice that are valid at last
	}{
		{"somebody else's", func(_ *testing.T, _ *manager, c *apikey.RotateConfig) { c.Subject = "bob" }, auth.ErrNotFound, 1},
		{"nobody's", func(_ *testing.T, _ *manager, c *apikey.RotateConfig) { c.Subject = "" }, auth.ErrNotFound, 1},
		{"no such key", func(_ *testing.T, _ *manager, c *apikey.RotateConfig) { c.ID = "0000000000000000" }, auth.ErrNotFound, 1},
		{"a negative overlap", func(_ *testing.T, _ *manager, c *apikey.RotateConfig) { c.Overlap = -1 }, nil, 1},
		{"expired", ended(func(r *apikey.Record) { r.Expires = r.Created }), nil, 1},
		{"revoked", ended(func(r *apikey.Record) { r.Revoked = r.Created }), nil, 1},
		{"to be revoked, as after a rotation", ended(func(r *apikey.Record) { r.Revoked = time.Now().Add(time.Hour) }), nil, 1},
		{"revoked meanwhile", func(_ *testing.T, m *manager, c *apikey.RotateConfig) { c.Overlap, m.meanwhile = time.Hour, true }, nil, 0},
		{"whether it was revoked meanwhile can't be told", func(_ *testing.T, m *manager, _ *apikey.RotateConfig) { m.thenErr = errDown }, errDown, 0},
		{"a disabled owner", func(_ *testing.T, m *manager, _ *apikey.RotateConfig) { m.disabled = true }, nil, 1},
		{"the store is down", func(_ *testing.T, m *manager, _ *apikey.RotateConfig) { m.keyErr = errDown }, errDown, 1},
		{"it can't be added", func(_ *testing.T, m *manager, _ *apikey.RotateConfig) { m.addErr = errDown }, errDown, 1},
		{"the old one can't be revoked", func(_ *testing.T, m *manager, _ *apikey.RotateConfig) { m.revokeErrs = []error{errDown} }, errDown, 1},
		{"nor the new one", func(_ *testing.T, m *manager, _ *apikey.RotateConfig) { m.revokeErrs = []error{errDown, errDown} }, errDown, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, rec := mint(t, apikey.MintConfig{Subject: "alice"})
			m := &manager{MemoryStore: memory(t, rec)}
			cfg := apikey.RotateConfig{Subject: "alice", ID: rec.ID}
			tt.edit(t, m, &cfg)
			plain, fresh, err := apikey.Rotate(t.Context(), m, cfg)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) || plain != "" || fresh.ID != "" {
				t.Errorf("got %q, %v, %v, want %v alone", plain, fresh, err, tt.want)
			}
			records, err := m.List(t.Context(), "alice")
			if err != nil {
				t.Fatal(err)
			}
			left := 0
			for _, r := range records {
				if r.Revoked.IsZero() && r.Expires.After(time.Now()) {
					left++
				}
			}
			if left != tt.left {
				t.Errorf("%d keys are valid, want %d", left, tt.left)
			}
		})
	}
}

var errDown = errors.New("down")

type manager struct {
	*apikey.MemoryStore
	disabled       bool
	keyErr, addErr error
	thenErr        error // of Key, once a key was added
	meanwhile      bool  // the key is revoked after it was looked up
	added          bool
	revokeErrs     []error
}

func (m *manager) Key(ctx context.Context, id string) (apikey.Record, error) {
	rec, err := m.MemoryStore.Key(ctx, id)
	rec.Disabled = m.disabled
	if m.added {
		err = errors.Join(err, m.thenErr)
	}
	return rec, errors.Join(err, m.keyErr)
}

func (m *manager) Add(ctx context.Context, rec apikey.Record) error {
	if m.addErr != nil {
		return m.addErr
	}
	if m.meanwhile {
		keys, err := m.List(ctx, rec.Subject)
		if err != nil {
			return err
		}
		for _, k := range keys {
			if err := m.MemoryStore.Revoke(ctx, rec.Subject, k.ID, time.Time{}); err != nil {
				return err
			}
		}
	}
	m.added = true
	return m.MemoryStore.Add(ctx, rec)
}

func (m *manager) Revoke(ctx context.Context, subject, id string, at time.Time) error {
	if len(m.revokeErrs) > 0 {
		err := m.revokeErrs[0]
		m.revokeErrs = m.revokeErrs[1:]
		return err
	}
	return m.MemoryStore.Revoke(ctx, subject, id, at)
}
