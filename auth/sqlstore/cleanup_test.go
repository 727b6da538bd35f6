package sqlstore_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/oauth"
	"github.com/sallyport/sallyport/auth/sqlstore"
	"github.com/sallyport/sallyport/internal/conformance"
)

// at is a time as b's tables have it.
func (b backend) at(t time.Time) string {
	if b.dialect == sqlstore.SQLite {
		return fmt.Sprint(t.UnixMicro())
	}
	return "'" + t.UTC().Format(time.RFC3339Nano) + "'"
}

// Cleanup deletes what has ended, all of it, and nothing else.
func TestCleanup(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		s := newStore(t, b)
		now := time.Now()
		if n, err := s.Cleanup(t.Context()); n != 0 || err != nil {
			t.Errorf("of nothing: got %d, %v", n, err)
		}
		const rows = 2*sqlstore.Batch + 500
		fill(t, b, rows)
		if n, err := s.Cleanup(t.Context()); n != 0 || err != nil {
			t.Errorf("of what has not ended: got %d, %v", n, err)
		}
		add(t, s, "ada")
		key := mint(t, s, "sada")
		for _, text := range []string{
			"UPDATE sallyport_revocations SET until = " + b.at(now.Add(-time.Second)),
			"UPDATE sallyport_replays SET until = " + b.at(now.Add(-time.Second)),
			"UPDATE sallyport_refresh_tokens SET ended = " + b.at(now.Add(-26*time.Hour)),
			"UPDATE sallyport_api_keys SET expires = " + b.at(now.Add(-time.Hour)),
		} {
			b.exec(t, text)
		}
		// What has ended a moment ago is kept: clocks differ, and access tokens live on.
		err := s.Revocations().Revoke(t.Context(), auth.Revocation{Issuer: "i", TokenID: "t", Until: now.Add(-30 * time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		// And a revocation that ends earlier cuts off none that ends later.
		for _, until := range []time.Time{now.Add(time.Hour), now.Add(-30 * time.Second)} {
			if err := s.Revocations().Revoke(t.Context(), auth.Revocation{Issuer: "i", SessionID: "s", Until: until}); err != nil {
				t.Fatal(err)
			}
		}
		if got := b.one(t, "SELECT count(*) FROM sallyport_revocations WHERE until > "+b.at(now.Add(time.Hour))); got != fmt.Sprint(1) {
			t.Errorf("%s revocations end in an hour or later, want 1", got)
		}
		f := oauth.RefreshFamily{
			Key: "k", SessionID: "s", Issuer: "i", Subject: "u", Ends: now.Add(time.Hour),
			Rotation: oauth.Rotation{Current: chained(0), Expires: now.Add(-24 * time.Hour)},
		}
		if err := s.RefreshTokens().Create(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		var n atomic.Int64
		conformance.Together(2, func(int) {
			deleted, err := s.Cleanup(t.Context())
			if err != nil {
				t.Errorf("Cleanup: %v", err)
			}
			n.Add(deleted)
		})
		if want := int64(3 * rows); n.Load() != want {
			t.Errorf("%d rows were deleted, want %d", n.Load(), want)
		}
		for table, want := range map[string]string{"users": "2501", "api_keys": "2501", "refresh_tokens": "1", "revocations": "2", "replays": "0"} {
			if got := b.one(t, "SELECT count(*) FROM sallyport_"+table); got != want {
				t.Errorf("%s rows of %s are left, want %s", got, table, want)
			}
		}
		if _, err := s.Keys().Key(t.Context(), key.ID); err != nil {
			t.Error(err)
		}
	})
}

// A family is kept for 25 hours after nothing can come of it, which is the earliest of
// its ends.
func TestFamiliesEnd(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		store := newStore(t, b)
		s := store.RefreshTokens()
		now := time.Now()
		for _, tt := range []struct {
			name                  string
			ends, expires, rotate time.Duration
			revoke, gone          bool
		}{
			{"good", time.Hour, time.Hour, 0, false, false},
			{"ended", -27 * time.Hour, time.Hour, 0, false, true},
			{"expired", time.Hour, -27 * time.Hour, 0, false, true},
			{"expired a day ago", time.Hour, -24 * time.Hour, 0, false, false},
			{"rotated", time.Hour, -27 * time.Hour, time.Hour, false, false},
			{"rotated beyond its end", time.Hour, -27 * time.Hour, 2 * time.Hour, false, false},
			{"rotated after its end", -27 * time.Hour, time.Hour, time.Hour, false, true},
			{"rotated to less", time.Hour, time.Hour, -27 * time.Hour, false, true},
			{"revoked", time.Hour, time.Hour, 0, true, false},
			{"expired and revoked", time.Hour, -27 * time.Hour, 0, true, true},
		} {
			f := oauth.RefreshFamily{
				Key: tt.name, SessionID: "s", Issuer: "i", Subject: "u", Ends: now.Add(tt.ends),
				Rotation: oauth.Rotation{Current: chained(0), Expires: now.Add(tt.expires)},
			}
			if err := s.Create(t.Context(), f); err != nil {
				t.Fatal(err)
			}
			if tt.rotate != 0 {
				if ok, err := s.Rotate(t.Context(), tt.name, chained(0), oauth.Rotation{Current: chained(1), Expires: now.Add(tt.rotate)}); !ok || err != nil {
					t.Fatal(ok, err)
				}
			}
			if tt.revoke {
				if n, err := s.Revoke(t.Context(), oauth.RefreshSelector{Key: tt.name}); n != 1 || err != nil {
					t.Fatal(n, err)
				}
			}
			if _, err := store.Cleanup(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Family(t.Context(), tt.name); errors.Is(err, auth.ErrNotFound) != tt.gone {
				t.Errorf("%s: got %v, want gone: %v", tt.name, err, tt.gone)
			}
		}
	})
}
