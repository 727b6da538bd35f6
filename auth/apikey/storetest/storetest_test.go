package storetest_test

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/apikey"
	"github.com/sallyport/sallyport/auth/apikey/storetest"
	"github.com/sallyport/sallyport/internal/conformance"
)

func TestMemoryStore(t *testing.T) {
	storetest.Run(t, memory)
}

// A store that can only be read is checked as far as it goes.
func TestReadOnly(t *testing.T) {
	storetest.Run(t, func(t *testing.T, records ...apikey.Record) apikey.Store {
		return readOnly{memory(t, records...)}
	})
}

func TestZeroMemoryStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T, records ...apikey.Record) apikey.Store {
		m := new(apikey.MemoryStore)
		for _, r := range records {
			if err := m.Add(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		return m
	})
}

type readOnly struct{ apikey.Store }

func memory(t *testing.T, records ...apikey.Record) apikey.Store {
	t.Helper()
	m, err := apikey.NewMemoryStore(records...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A fault is a store with one mistake, and the rules that must catch it.
type fault struct {
	rules []string
	open  func(m apikey.Manager) apikey.Store
}

var faults = map[string]fault{
	"a nil record for an unknown key": {[]string{"unknown", "exact"}, func(m apikey.Manager) apikey.Store {
		return keyFunc(m, func(ctx context.Context, id string) (apikey.Record, error) {
			r, err := m.Key(ctx, id)
			if errors.Is(err, auth.ErrNotFound) {
				err = nil
			}
			return r, err
		})
	}},
	"another error for an unknown key": {[]string{"unknown"}, func(m apikey.Manager) apikey.Store {
		return keyFunc(m, func(ctx context.Context, id string) (apikey.Record, error) {
			r, err := m.Key(ctx, id)
			if errors.Is(err, auth.ErrNotFound) {
				err = errors.New("no rows")
			}
			return r, err
		})
	}},
	"case folded": {[]string{"exact"}, func(m apikey.Manager) apikey.Store {
		return keyFunc(m, func(ctx context.Context, id string) (apikey.Record, error) { return m.Key(ctx, strings.ToLower(id)) })
	}},
	"blanks trimmed": {[]string{"exact"}, func(m apikey.Manager) apikey.Store {
		return keyFunc(m, func(ctx context.Context, id string) (apikey.Record, error) { return m.Key(ctx, strings.TrimSpace(id)) })
	}},
	"expired keys are hidden": {[]string{"expired and revoked"}, func(m apikey.Manager) apikey.Store {
		return keyFunc(m, func(ctx context.Context, id string) (apikey.Record, error) {
			r, err := m.Key(ctx, id)
			if err == nil && !r.Expires.IsZero() && time.Now().After(r.Expires) {
				return apikey.Record{}, auth.ErrNotFound
			}
			return r, err
		})
	}},
	"the zero time comes back as the epoch": {[]string{"found", "add"}, func(m apikey.Manager) apikey.Store {
		return keyFunc(m, func(ctx context.Context, id string) (apikey.Record, error) {
			r, err := m.Key(ctx, id)
			if r.Expires.IsZero() {
				r.Expires = time.Unix(0, 0)
			}
			return r, err
		})
	}},
	"roles are lost": {[]string{"found"}, func(m apikey.Manager) apikey.Store {
		return keyFunc(m, func(ctx context.Context, id string) (apikey.Record, error) {
			r, err := m.Key(ctx, id)
			r.Roles = nil
			return r, err
		})
	}},
	"scopes are split at commas": {[]string{"found"}, func(m apikey.Manager) apikey.Store {
		return keyFunc(m, func(ctx context.Context, id string) (apikey.Record, error) {
			r, err := m.Key(ctx, id)
			r.Scopes = strings.Split(strings.Join(r.Scopes, ","), ",")
			return r, err
		})
	}},
	"a cache shares its slices": {[]string{"copies", "concurrent lookups"}, func(m apikey.Manager) apikey.Store {
		var mu sync.Mutex
		seen := make(map[string]apikey.Record)
		return keyFunc(m, func(ctx context.Context, id string) (apikey.Record, error) {
			mu.Lock()
			defer mu.Unlock()
			if r, ok := seen[id]; ok && ctx.Err() == nil {
				return r, nil
			}
			r, err := m.Key(ctx, id)
			if err == nil {
				seen[id] = r
			}
			return r, err
		})
	}},
	"a cache keeps what was revoked": {[]string{"revoke", "revoke later", "revoke again"}, func(m apikey.Manager) apikey.Store {
		f := broken{Manager: m}
		f.revoke = func(context.Context, string, string, time.Time) error { return nil }
		return f
	}},
	"the context is ignored": {[]string{"cancelled"}, func(m apikey.Manager) apikey.Store {
		return keyFunc(m, func(_ context.Context, id string) (apikey.Record, error) { return m.Key(context.Background(), id) })
	}},
	"a cancelled lookup finds nothing": {[]string{"cancelled"}, func(m apikey.Manager) apikey.Store {
		return keyFunc(m, func(ctx context.Context, id string) (apikey.Record, error) {
			r, err := m.Key(ctx, id)
			if err != nil {
				err = auth.ErrNotFound
			}
			return r, err
		})
	}},
	"answers get mixed up": {[]string{"concurrent lookups"}, func(m apikey.Manager) apikey.Store {
		var mu sync.Mutex
		var shared string
		return keyFunc(m, func(ctx context.Context, id string) (apikey.Record, error) {
			mu.Lock()
			shared = id
			mu.Unlock()
			time.Sleep(time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			return m.Key(ctx, shared)
		})
	}},
	"add replaces": {[]string{"add taken", "add concurrently"}, func(m apikey.Manager) apikey.Store {
		f := &overlay{broken: broken{Manager: m}, put: make(map[string]apikey.Record)}
		f.add = func(ctx context.Context, r apikey.Record) error {
			if err := cmp.Or(ctx.Err(), r.Validate()); err != nil {
				return err
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			f.put[r.ID] = r
			return nil
		}
		return f
	}},
	"add looks first, then writes": {[]string{"add concurrently"}, func(m apikey.Manager) apikey.Store {
		f := &overlay{broken: broken{Manager: m}, put: make(map[string]apikey.Record)}
		f.add = func(ctx context.Context, r apikey.Record) error {
			if err := cmp.Or(ctx.Err(), r.Validate()); err != nil {
				return err
			}
			if _, err := f.Key(ctx, r.ID); err == nil {
				return errors.New("taken")
			}
			time.Sleep(time.Millisecond)
			f.mu.Lock()
			defer f.mu.Unlock()
			f.put[r.ID] = r
			return nil
		}
		return f
	}},
	"add takes anything": {[]string{"add invalid"}, func(m apikey.Manager) apikey.Store {
		f := &overlay{broken: broken{Manager: m}, put: make(map[string]apikey.Record)}
		f.add = func(ctx context.Context, r apikey.Record) error {
			if r.Validate() == nil {
				return m.Add(ctx, r)
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			f.put[r.ID] = r
			return nil
		}
		return f
	}},
	"add keeps the caller's slices": {[]string{"add copies"}, func(m apikey.Manager) apikey.Store {
		f := &overlay{broken: broken{Manager: m}, put: make(map[string]apikey.Record)}
		f.add = func(ctx context.Context, r apikey.Record) error {
			if err := m.Add(ctx, r); err != nil {
				return err
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			f.put[r.ID] = r
			return nil
		}
		return f
	}},
	"revoke knows no owner": {[]string{"revoke of another"}, func(m apikey.Manager) apikey.Store {
		f := broken{Manager: m}
		f.revoke = func(ctx context.Context, _, id string, at time.Time) error {
			r, err := m.Key(ctx, id)
			if err != nil {
				return err
			}
			return m.Revoke(ctx, r.Subject, id, at)
		}
		return f
	}},
	"revoke of an unknown key is no error": {[]string{"revoke of another"}, func(m apikey.Manager) apikey.Store {
		f := broken{Manager: m}
		f.revoke = func(ctx context.Context, subject, id string, at time.Time) error {
			if err := m.Revoke(ctx, subject, id, at); !errors.Is(err, auth.ErrNotFound) {
				return err
			}
			return nil
		}
		return f
	}},
	"the last revocation stands": {[]string{"revoke again", "revoke concurrently"}, func(m apikey.Manager) apikey.Store {
		f := &revoked{broken: broken{Manager: m}, at: make(map[string]time.Time)}
		f.revoke = func(ctx context.Context, subject, id string, at time.Time) error {
			if err := m.Revoke(ctx, subject, id, at); err != nil {
				return err
			}
			if at.IsZero() {
				at = time.Now()
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			f.at[id] = at
			return nil
		}
		return f
	}},
	"no time is the zero time": {[]string{"revoke"}, func(m apikey.Manager) apikey.Store {
		f := broken{Manager: m}
		f.revoke = func(ctx context.Context, subject, id string, at time.Time) error {
			if at.IsZero() {
				_, err := m.Key(ctx, id)
				return err
			}
			return m.Revoke(ctx, subject, id, at)
		}
		return f
	}},
	"revoke in a minute": {[]string{"revoke", "revoke again"}, func(m apikey.Manager) apikey.Store {
		f := broken{Manager: m}
		f.revoke = func(ctx context.Context, subject, id string, at time.Time) error {
			if at.IsZero() {
				at = time.Now().Add(time.Minute)
			}
			return m.Revoke(ctx, subject, id, at)
		}
		return f
	}},
	"the last touch stands": {[]string{"touch"}, func(m apikey.Manager) apikey.Store {
		return &touched{broken: broken{Manager: m}, at: make(map[string]time.Time)}
	}},
	"a touch is forgotten": {[]string{"touch", "touch concurrently"}, func(m apikey.Manager) apikey.Store {
		return touchFunc(m, func(ctx context.Context, _ string, _ time.Time) error { return ctx.Err() })
	}},
	"a touch revokes": {[]string{"touch"}, func(m apikey.Manager) apikey.Store {
		return touchFunc(m, func(ctx context.Context, id string, at time.Time) error {
			r, err := m.Key(ctx, id)
			if err != nil {
				return err
			}
			return cmp.Or(m.Touch(ctx, id, at), m.Revoke(ctx, r.Subject, id, at))
		})
	}},
	"a touch makes a key": {[]string{"touch nothing"}, func(m apikey.Manager) apikey.Store {
		return touchFunc(m, func(ctx context.Context, id string, at time.Time) error {
			err := m.Touch(ctx, id, at)
			if !errors.Is(err, auth.ErrNotFound) {
				return err
			}
			_, r, err := apikey.Mint(apikey.MintConfig{Subject: "alice"})
			r.ID = id
			return cmp.Or(err, m.Add(ctx, r))
		})
	}},
	"a touch ignores the context": {[]string{"changes cancelled"}, func(m apikey.Manager) apikey.Store {
		return touchFunc(m, func(ctx context.Context, id string, at time.Time) error {
			return m.Touch(context.WithoutCancel(ctx), id, at)
		})
	}},
	"the list has hashes": {[]string{"list"}, func(m apikey.Manager) apikey.Store {
		f := broken{Manager: m}
		f.list = func(ctx context.Context, subject string) ([]apikey.Record, error) {
			records, err := m.List(ctx, subject)
			for i := range records {
				records[i], _ = m.Key(ctx, records[i].ID)
			}
			return records, err
		}
		return f
	}},
	"the list has no order": {[]string{"list"}, func(m apikey.Manager) apikey.Store {
		f := broken{Manager: m}
		f.list = func(ctx context.Context, subject string) ([]apikey.Record, error) {
			records, err := m.List(ctx, subject)
			slices.Reverse(records)
			return records, err
		}
		return f
	}},
	"the list leaves out what was revoked": {[]string{"list"}, func(m apikey.Manager) apikey.Store {
		f := broken{Manager: m}
		f.list = func(ctx context.Context, subject string) ([]apikey.Record, error) {
			records, err := m.List(ctx, subject)
			return slices.DeleteFunc(records, func(r apikey.Record) bool { return !r.Revoked.IsZero() }), err
		}
		return f
	}},
	"nobody stands for all": {[]string{"list nothing"}, func(m apikey.Manager) apikey.Store {
		f := broken{Manager: m}
		f.list = func(ctx context.Context, subject string) ([]apikey.Record, error) {
			return m.List(ctx, cmp.Or(subject, "alice"))
		}
		return f
	}},
	"an empty list is an error": {[]string{"list nothing"}, func(m apikey.Manager) apikey.Store {
		f := broken{Manager: m}
		f.list = func(ctx context.Context, subject string) ([]apikey.Record, error) {
			records, err := m.List(ctx, subject)
			if len(records) == 0 {
				err = cmp.Or(err, auth.ErrNotFound)
			}
			return records, err
		}
		return f
	}},
	"changes ignore the context": {[]string{"changes cancelled"}, func(m apikey.Manager) apikey.Store {
		f := broken{Manager: m}
		f.add = func(ctx context.Context, r apikey.Record) error {
			_ = m.Add(context.WithoutCancel(ctx), r)
			return ctx.Err()
		}
		return f
	}},
}

// TestFaultyStore fails on purpose, but only where TestFaultsAreCaught runs it.
func TestFaultyStore(t *testing.T) {
	conformance.Faulty(t)
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T, records ...apikey.Record) apikey.Store {
				return f.open(memory(t, records...).(apikey.Manager))
			})
		})
	}
}

func TestFaultsAreCaught(t *testing.T) {
	rules := make(map[string][]string)
	for name, f := range faults {
		rules[name] = f.rules
	}
	conformance.Catches(t, "TestFaultyStore", rules)
}

// A broken store is one in which some methods are others.
type broken struct {
	apikey.Manager
	key    func(context.Context, string) (apikey.Record, error)
	add    func(context.Context, apikey.Record) error
	revoke func(context.Context, string, string, time.Time) error
	list   func(context.Context, string) ([]apikey.Record, error)
	touch  func(context.Context, string, time.Time) error
}

func touchFunc(m apikey.Manager, f func(context.Context, string, time.Time) error) apikey.Store {
	return broken{Manager: m, touch: f}
}

func (b broken) Touch(ctx context.Context, id string, at time.Time) error {
	if b.touch != nil {
		return b.touch(ctx, id, at)
	}
	return b.Manager.Touch(ctx, id, at)
}

func keyFunc(m apikey.Manager, f func(context.Context, string) (apikey.Record, error)) apikey.Store {
	return broken{Manager: m, key: f}
}

func (b broken) Key(ctx context.Context, id string) (apikey.Record, error) {
	if b.key != nil {
		return b.key(ctx, id)
	}
	return b.Manager.Key(ctx, id)
}

func (b broken) Add(ctx context.Context, r apikey.Record) error {
	if b.add != nil {
		return b.add(ctx, r)
	}
	return b.Manager.Add(ctx, r)
}

func (b broken) Revoke(ctx context.Context, subject, id string, at time.Time) error {
	if b.revoke != nil {
		return b.revoke(ctx, subject, id, at)
	}
	return b.Manager.Revoke(ctx, subject, id, at)
}

func (b broken) List(ctx context.Context, subject string) ([]apikey.Record, error) {
	if b.list != nil {
		return b.list(ctx, subject)
	}
	return b.Manager.List(ctx, subject)
}

// An overlay finds what was put beside the store below.
type overlay struct {
	broken
	mu  sync.Mutex
	put map[string]apikey.Record
}

func (o *overlay) Key(ctx context.Context, id string) (apikey.Record, error) {
	o.mu.Lock()
	r, ok := o.put[id]
	o.mu.Unlock()
	if ok {
		return r, ctx.Err()
	}
	return o.broken.Key(ctx, id)
}

// A revoked store remembers revocations of its own.
type revoked struct {
	broken
	mu sync.Mutex
	at map[string]time.Time
}

func (o *revoked) Key(ctx context.Context, id string) (apikey.Record, error) {
	r, err := o.broken.Key(ctx, id)
	o.mu.Lock()
	defer o.mu.Unlock()
	if at, ok := o.at[id]; ok && err == nil {
		r.Revoked = at
	}
	return r, err
}

// A touched store lets the last touch stand.
type touched struct {
	broken
	mu sync.Mutex
	at map[string]time.Time
}

func (o *touched) Touch(ctx context.Context, id string, at time.Time) error {
	if err := o.broken.Touch(ctx, id, at); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.at[id] = at
	return nil
}

func (o *touched) Key(ctx context.Context, id string) (apikey.Record, error) {
	r, err := o.broken.Key(ctx, id)
	o.mu.Lock()
	defer o.mu.Unlock()
	if at, ok := o.at[id]; ok && err == nil {
		r.LastUsed = at
	}
	return r, err
}
