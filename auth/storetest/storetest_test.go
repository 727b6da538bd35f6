package storetest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/storetest"
	"github.com/sallyport/sallyport/internal/conformance"
)

func TestMemoryUsers(t *testing.T) {
	storetest.Run(t, memory)
}

// Names may be compared without regard to case.
func TestNamesInAnyCase(t *testing.T) {
	storetest.Run(t, func(t *testing.T, users ...auth.User) auth.Users {
		m := memory(t, users...)
		return broken{Users: m, user: func(ctx context.Context, name string) (auth.User, error) {
			return m.User(ctx, strings.ToLower(strings.TrimSpace(name)))
		}}
	})
}

// A store need not tell whether a subject is unknown or its version another.
func TestUnknownSubjectWithoutAnError(t *testing.T) {
	storetest.Run(t, func(t *testing.T, users ...auth.User) auth.Users {
		m := memory(t, users...)
		return broken{Users: m, set: func(ctx context.Context, subject, hash string, ifVersion int64) error {
			if err := m.SetPasswordHash(ctx, subject, hash, ifVersion); !errors.Is(err, auth.ErrNotFound) {
				return err
			}
			return nil
		}}
	})
}

func memory(t *testing.T, users ...auth.User) auth.Users {
	t.Helper()
	m, err := auth.NewMemoryUsers(users...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A fault is a store with one mistake, and the rules that must catch it.
type fault struct {
	rules []string
	open  func(t *testing.T, users ...auth.User) auth.Users
}

// lookup is a fault of the method User.
func lookup(f func(m auth.Users) func(context.Context, string) (auth.User, error), rules ...string) fault {
	return fault{rules, func(t *testing.T, users ...auth.User) auth.Users {
		m := memory(t, users...)
		return broken{Users: m, user: f(m)}
	}}
}

// change is a fault of the method SetPasswordHash, in a store that has the
// method User right.
func change(f func(p *plain) func(context.Context, string, string, int64) error, rules ...string) fault {
	return fault{rules, func(_ *testing.T, users ...auth.User) auth.Users {
		p := &plain{users: slices.Clone(users)}
		for i := range p.users {
			p.users[i] = clone(p.users[i])
		}
		return broken{Users: p, set: f(p)}
	}}
}

var faults = map[string]fault{
	"no error for an unknown name": lookup(func(m auth.Users) func(context.Context, string) (auth.User, error) {
		return func(ctx context.Context, name string) (auth.User, error) {
			u, err := m.User(ctx, name)
			if errors.Is(err, auth.ErrNotFound) {
				err = nil
			}
			return u, err
		}
	}, "unknown"),
	"another error for an unknown name": lookup(func(m auth.Users) func(context.Context, string) (auth.User, error) {
		return func(ctx context.Context, name string) (auth.User, error) {
			u, err := m.User(ctx, name)
			if errors.Is(err, auth.ErrNotFound) {
				err = errors.New("no rows")
			}
			return u, err
		}
	}, "unknown"),
	"the subject is a name as well": lookup(func(m auth.Users) func(context.Context, string) (auth.User, error) {
		return func(ctx context.Context, name string) (auth.User, error) {
			return m.User(ctx, strings.TrimPrefix(name, "subject of "))
		}
	}, "unknown"),
	"a name is a pattern": lookup(func(m auth.Users) func(context.Context, string) (auth.User, error) {
		return func(ctx context.Context, name string) (auth.User, error) {
			if name == "%" {
				name = "ada"
			}
			return m.User(ctx, name)
		}
	}, "unknown"),
	"disabled accounts are hidden": lookup(func(m auth.Users) func(context.Context, string) (auth.User, error) {
		return func(ctx context.Context, name string) (auth.User, error) {
			u, err := m.User(ctx, name)
			if u.Disabled {
				return auth.User{}, auth.ErrNotFound
			}
			return u, err
		}
	}, "disabled"),
	"disabled is lost": lookup(func(m auth.Users) func(context.Context, string) (auth.User, error) {
		return func(ctx context.Context, name string) (auth.User, error) {
			u, err := m.User(ctx, name)
			u.Disabled = false
			return u, err
		}
	}, "disabled"),
	"scopes are split at commas": lookup(func(m auth.Users) func(context.Context, string) (auth.User, error) {
		return func(ctx context.Context, name string) (auth.User, error) {
			u, err := m.User(ctx, name)
			u.Scopes = strings.Split(strings.Join(u.Scopes, ","), ",")
			return u, err
		}
	}, "found"),
	"roles are lost": lookup(func(m auth.Users) func(context.Context, string) (auth.User, error) {
		return func(ctx context.Context, name string) (auth.User, error) {
			u, err := m.User(ctx, name)
			u.Roles = nil
			return u, err
		}
	}, "found"),
	"a cache shares its slices": lookup(func(m auth.Users) func(context.Context, string) (auth.User, error) {
		var mu sync.Mutex
		seen := make(map[string]auth.User)
		return func(ctx context.Context, name string) (auth.User, error) {
			mu.Lock()
			defer mu.Unlock()
			if u, ok := seen[name]; ok && ctx.Err() == nil {
				return u, nil
			}
			u, err := m.User(ctx, name)
			if err == nil {
				seen[name] = u
			}
			return u, err
		}
	}, "copies", "concurrent lookups", "set hash"),
	"answers get mixed up": lookup(func(m auth.Users) func(context.Context, string) (auth.User, error) {
		var mu sync.Mutex
		var shared string
		return func(ctx context.Context, name string) (auth.User, error) {
			mu.Lock()
			shared = name
			mu.Unlock()
			time.Sleep(time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			return m.User(ctx, shared)
		}
	}, "concurrent lookups"),
	"the context is ignored": lookup(func(m auth.Users) func(context.Context, string) (auth.User, error) {
		return func(ctx context.Context, name string) (auth.User, error) {
			return m.User(context.WithoutCancel(ctx), name)
		}
	}, "cancelled"),
	"a cancelled lookup finds nobody": lookup(func(m auth.Users) func(context.Context, string) (auth.User, error) {
		return func(ctx context.Context, name string) (auth.User, error) {
			u, err := m.User(ctx, name)
			if err != nil {
				err = auth.ErrNotFound
			}
			return u, err
		}
	}, "cancelled"),
	"hash and version are read apart": lookup(func(m auth.Users) func(context.Context, string) (auth.User, error) {
		return func(ctx context.Context, name string) (auth.User, error) {
			u, err := m.User(ctx, name)
			if err != nil {
				return u, err
			}
			time.Sleep(time.Millisecond)
			later, err := m.User(ctx, name)
			u.Version = later.Version
			return u, err
		}
	}, "set hash while it is read"),

	"the version is not asked": change(func(p *plain) func(context.Context, string, string, int64) error {
		return func(ctx context.Context, subject, hash string, _ int64) error {
			return p.edit(ctx, subject, func(u *auth.User) { u.PasswordHash, u.Version = hash, u.Version+1 })
		}
	}, "set hash of an old version", "set hash concurrently"),
	"a later version will do": change(func(p *plain) func(context.Context, string, string, int64) error {
		return func(ctx context.Context, subject, hash string, ifVersion int64) error {
			return p.edit(ctx, subject, func(u *auth.User) {
				if u.Version <= ifVersion {
					u.PasswordHash, u.Version = hash, u.Version+1
				}
			})
		}
	}, "set hash of an old version"),
	"version 0 is any": change(func(p *plain) func(context.Context, string, string, int64) error {
		return func(ctx context.Context, subject, hash string, ifVersion int64) error {
			return p.edit(ctx, subject, func(u *auth.User) {
				if u.Version == ifVersion || ifVersion == 0 {
					u.PasswordHash, u.Version = hash, u.Version+1
				}
			})
		}
	}, "set hash of an old version"),
	"the version is not counted up": change(func(p *plain) func(context.Context, string, string, int64) error {
		return func(ctx context.Context, subject, hash string, ifVersion int64) error {
			return p.edit(ctx, subject, func(u *auth.User) {
				if u.Version == ifVersion {
					u.PasswordHash = hash
				}
			})
		}
	}, "set hash", "set hash of an old version", "set hash concurrently"),
	"another version is an error": change(func(p *plain) func(context.Context, string, string, int64) error {
		return func(ctx context.Context, subject, hash string, ifVersion int64) error {
			var err error
			return errors.Join(p.edit(ctx, subject, func(u *auth.User) {
				if u.Version != ifVersion {
					err = errors.New("conflict")
					return
				}
				u.PasswordHash, u.Version = hash, u.Version+1
			}), err)
		}
	}, "set hash of an old version", "set hash concurrently"),
	"a login removes the roles": change(func(p *plain) func(context.Context, string, string, int64) error {
		return func(ctx context.Context, subject, hash string, ifVersion int64) error {
			return p.edit(ctx, subject, func(u *auth.User) {
				if u.Version == ifVersion {
					u.PasswordHash, u.Version, u.Roles = hash, u.Version+1, nil
				}
			})
		}
	}, "set hash"),
	"the subject is the name": change(func(p *plain) func(context.Context, string, string, int64) error {
		return func(ctx context.Context, subject, hash string, ifVersion int64) error {
			for _, u := range p.all() {
				if u.Name == subject || u.Subject == subject {
					return p.edit(ctx, u.Subject, func(u *auth.User) {
						if u.Version == ifVersion {
							u.PasswordHash, u.Version = hash, u.Version+1
						}
					})
				}
			}
			return auth.ErrNotFound
		}
	}, "set hash by subject", "set hash of an unknown subject"),
	"an unknown subject is a fault": change(func(p *plain) func(context.Context, string, string, int64) error {
		return func(ctx context.Context, subject, hash string, ifVersion int64) error {
			err := p.right(ctx, subject, hash, ifVersion)
			if errors.Is(err, auth.ErrNotFound) {
				return errors.New("no rows")
			}
			return err
		}
	}, "set hash of an unknown subject"),
	"an unknown subject gets an account": change(func(p *plain) func(context.Context, string, string, int64) error {
		return func(ctx context.Context, subject, hash string, ifVersion int64) error {
			err := p.right(ctx, subject, hash, ifVersion)
			if errors.Is(err, auth.ErrNotFound) {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.users = append(p.users, auth.User{Subject: subject, Name: subject, PasswordHash: hash})
				return nil
			}
			return err
		}
	}, "set hash of an unknown subject"),
	"an upgrade reads, then writes": change(func(p *plain) func(context.Context, string, string, int64) error {
		return func(ctx context.Context, subject, hash string, ifVersion int64) error {
			for _, u := range p.all() {
				if u.Subject == subject && u.Version != ifVersion {
					return ctx.Err()
				}
			}
			time.Sleep(time.Millisecond)
			return p.edit(ctx, subject, func(u *auth.User) { u.PasswordHash, u.Version = hash, u.Version+1 })
		}
	}, "set hash concurrently"),
	"an upgrade goes on when it was cancelled": change(func(p *plain) func(context.Context, string, string, int64) error {
		return func(ctx context.Context, subject, hash string, ifVersion int64) error {
			_ = p.right(context.WithoutCancel(ctx), subject, hash, ifVersion)
			return ctx.Err()
		}
	}, "cancelled"),
}

// TestFaultyStore fails on purpose, but only where TestFaultsAreCaught runs it.
func TestFaultyStore(t *testing.T) {
	conformance.Faulty(t)
	for name, f := range faults {
		t.Run(name, func(t *testing.T) { storetest.Run(t, f.open) })
	}
}

func TestFaultsAreCaught(t *testing.T) {
	rules := make(map[string][]string)
	for name, f := range faults {
		rules[name] = f.rules
	}
	conformance.Catches(t, "TestFaultyStore", rules)
}

// The stores that the faults are made of have none themselves.
func TestPlain(t *testing.T) {
	right := change(func(p *plain) func(context.Context, string, string, int64) error { return p.right })
	storetest.Run(t, right.open)
}

// A broken store is one in which a method is another.
type broken struct {
	auth.Users
	user func(context.Context, string) (auth.User, error)
	set  func(context.Context, string, string, int64) error
}

func (b broken) User(ctx context.Context, name string) (auth.User, error) {
	if b.user != nil {
		return b.user(ctx, name)
	}
	return b.Users.User(ctx, name)
}

func (b broken) SetPasswordHash(ctx context.Context, subject, hash string, ifVersion int64) error {
	if b.set != nil {
		return b.set(ctx, subject, hash, ifVersion)
	}
	return b.Users.SetPasswordHash(ctx, subject, hash, ifVersion)
}

// A plain store is a list.
type plain struct {
	auth.Users
	mu    sync.Mutex
	users []auth.User
}

func (p *plain) all() []auth.User {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.users)
}

func (p *plain) User(ctx context.Context, name string) (auth.User, error) {
	if err := ctx.Err(); err != nil {
		return auth.User{}, err
	}
	for _, u := range p.all() {
		if u.Name == name {
			return clone(u), nil
		}
	}
	return auth.User{}, auth.ErrNotFound
}

func (p *plain) right(ctx context.Context, subject, hash string, ifVersion int64) error {
	return p.edit(ctx, subject, func(u *auth.User) {
		if u.Version == ifVersion {
			u.PasswordHash, u.Version = hash, u.Version+1
		}
	})
}

// edit calls f for the account with this subject, alone.
func (p *plain) edit(ctx context.Context, subject string, f func(*auth.User)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.users {
		if p.users[i].Subject == subject {
			f(&p.users[i])
			return nil
		}
	}
	return auth.ErrNotFound
}

func clone(u auth.User) auth.User {
	u.Roles, u.Scopes = slices.Clip(slices.Clone(u.Roles)), slices.Clip(slices.Clone(u.Scopes))
	return u
}
