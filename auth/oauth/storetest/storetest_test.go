package storetest_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/oauth"
	"github.com/sallyport/sallyport/auth/oauth/storetest"
	"github.com/sallyport/sallyport/internal/conformance"
)

func TestMemoryRefreshStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) oauth.RefreshStore { return oauth.NewMemoryRefreshStore(0) })
}

// faulty is a store whose methods a fault may replace.
type faulty struct {
	oauth.RefreshStore
	create func(context.Context, oauth.RefreshFamily) error
	family func(context.Context, string) (oauth.RefreshFamily, error)
	rotate func(context.Context, string, string, oauth.Rotation) (bool, error)
	revoke func(context.Context, oauth.RefreshSelector) (int, error)
}

func (f *faulty) Create(ctx context.Context, r oauth.RefreshFamily) error {
	if f.create != nil {
		return f.create(ctx, r)
	}
	return f.RefreshStore.Create(ctx, r)
}

func (f *faulty) Family(ctx context.Context, key string) (oauth.RefreshFamily, error) {
	if f.family != nil {
		return f.family(ctx, key)
	}
	return f.RefreshStore.Family(ctx, key)
}

func (f *faulty) Rotate(ctx context.Context, key, ifCurrent string, to oauth.Rotation) (bool, error) {
	if f.rotate != nil {
		return f.rotate(ctx, key, ifCurrent, to)
	}
	return f.RefreshStore.Rotate(ctx, key, ifCurrent, to)
}

func (f *faulty) Revoke(ctx context.Context, which oauth.RefreshSelector) (int, error) {
	if f.revoke != nil {
		return f.revoke(ctx, which)
	}
	return f.RefreshStore.Revoke(ctx, which)
}

// A fault is one mistake of a store, and the rules that must catch it.
type fault struct {
	rules []string
	put   func(f *faulty)
}

var faults = map[string]fault{
	"rotates whatever is current": {[]string{"rotate what is current", "rotate once"}, func(f *faulty) {
		f.rotate = func(ctx context.Context, key, _ string, to oauth.Rotation) (bool, error) {
			found, err := f.RefreshStore.Family(ctx, key)
			if err != nil {
				return false, nil
			}
			return f.RefreshStore.Rotate(ctx, key, found.Current, to)
		}
	}},
	"says that it rotated": {[]string{"rotate what is current", "revoke", "rotate once"}, func(f *faulty) {
		f.rotate = func(ctx context.Context, key, ifCurrent string, to oauth.Rotation) (bool, error) {
			_, err := f.RefreshStore.Rotate(ctx, key, ifCurrent, to)
			return true, err
		}
	}},
	"forgets Retried": {[]string{"rotate"}, func(f *faulty) {
		f.rotate = func(ctx context.Context, key, ifCurrent string, to oauth.Rotation) (bool, error) {
			to.Retried = false
			return f.RefreshStore.Rotate(ctx, key, ifCurrent, to)
		}
	}},
	"forgets Previous": {[]string{"found", "rotate"}, func(f *faulty) {
		f.family = func(ctx context.Context, key string) (oauth.RefreshFamily, error) {
			found, err := f.RefreshStore.Family(ctx, key)
			found.Previous = ""
			return found, err
		}
	}},
	"folds names": {[]string{"names are bytes"}, func(f *faulty) {
		f.create = func(ctx context.Context, r oauth.RefreshFamily) error {
			r.Subject = strings.ToLower(strings.TrimSpace(r.Subject))
			return f.RefreshStore.Create(ctx, r)
		}
	}},
	"folds keys": {[]string{"not found", "names are bytes"}, func(f *faulty) {
		f.family = func(ctx context.Context, key string) (oauth.RefreshFamily, error) {
			return f.RefreshStore.Family(ctx, strings.ToLower(strings.TrimSpace(key)))
		}
	}},
	"another error for not found": {[]string{"not found"}, func(f *faulty) {
		f.family = func(ctx context.Context, key string) (oauth.RefreshFamily, error) {
			found, err := f.RefreshStore.Family(ctx, key)
			if errors.Is(err, auth.ErrNotFound) {
				err = errors.New("no rows")
			}
			return found, err
		}
	}},
	"a cancelled call is not found": {[]string{"cancelled"}, func(f *faulty) {
		f.family = func(ctx context.Context, key string) (oauth.RefreshFamily, error) {
			if ctx.Err() != nil {
				return oauth.RefreshFamily{}, auth.ErrNotFound
			}
			return f.RefreshStore.Family(ctx, key)
		}
	}},
	"counts each revocation": {[]string{"revoke", "revoke once", "revoke a subject"}, func(f *faulty) {
		f.revoke = func(ctx context.Context, which oauth.RefreshSelector) (int, error) {
			n, err := f.RefreshStore.Revoke(ctx, which)
			if err == nil {
				n = max(n, 1)
			}
			return n, err
		}
	}},
	"revokes nothing": {[]string{"revoke", "revoke and rotate", "revoke a session", "revoke a subject"}, func(f *faulty) {
		f.revoke = func(_ context.Context, which oauth.RefreshSelector) (int, error) { return 0, which.Check() }
	}},
	"revokes without looking at the issuer": {[]string{"revoke a session", "revoke a subject"}, func(f *faulty) {
		f.create = func(ctx context.Context, r oauth.RefreshFamily) error {
			r.Issuer = "https://api.example.com"
			return f.RefreshStore.Create(ctx, r)
		}
	}},
	"takes an empty selector for a mistake without saying so": {[]string{"revoke nothing"}, func(f *faulty) {
		f.revoke = func(ctx context.Context, which oauth.RefreshSelector) (int, error) {
			if which.Check() != nil {
				return 0, nil
			}
			return f.RefreshStore.Revoke(ctx, which)
		}
	}},
	"a second family takes the first one's place": {[]string{"one of a key"}, func(f *faulty) {
		inner := map[string]oauth.RefreshFamily{}
		f.create = func(ctx context.Context, r oauth.RefreshFamily) error {
			inner[r.Key] = r
			_ = f.RefreshStore.Create(ctx, r)
			return nil
		}
	}},
	"keeps the caller's slice": {[]string{"fresh"}, func(f *faulty) {
		kept := map[string][]string{}
		f.create = func(ctx context.Context, r oauth.RefreshFamily) error {
			kept[r.Key] = r.Scopes
			return f.RefreshStore.Create(ctx, r)
		}
		f.family = func(ctx context.Context, key string) (oauth.RefreshFamily, error) {
			found, err := f.RefreshStore.Family(ctx, key)
			if err == nil {
				found.Scopes = kept[key]
			}
			return found, err
		}
	}},
	"whole seconds": {[]string{"found"}, func(f *faulty) {
		f.create = func(ctx context.Context, r oauth.RefreshFamily) error {
			r.Expires = r.Expires.Truncate(1e9)
			return f.RefreshStore.Create(ctx, r)
		}
	}},
}

// TestFaultyStore fails on purpose, but only where TestFaultsAreCaught runs it.
func TestFaultyStore(t *testing.T) {
	conformance.Faulty(t)
	for name, one := range faults {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(*testing.T) oauth.RefreshStore {
				f := &faulty{RefreshStore: oauth.NewMemoryRefreshStore(0)}
				one.put(f)
				return f
			})
		})
	}
}

func TestFaultsAreCaught(t *testing.T) {
	rules := make(map[string][]string)
	for _, name := range slices.Sorted(maps.Keys(faults)) {
		rules[name] = faults[name].rules
	}
	conformance.Catches(t, "TestFaultyStore", rules)
}
