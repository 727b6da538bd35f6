// Package storetest checks that stores do what package auth asks of them: [Run]
// those of accounts, auth.Users, [RunRevocations] those of auth.Revocations and
// [RunReplays] those of auth.Replays. Call them in the tests of a store, under the
// race detector:
//
//	func TestUsers(t *testing.T) {
//		storetest.Run(t, func(t *testing.T, users ...auth.User) auth.Users {
//			db := openTestDatabase(t)
//			insert(t, db, users)
//			return NewUsers(db)
//		})
//	}
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/internal/conformance"
)

// An Open function returns a new store that holds users and nothing else. It may
// use t.Cleanup to remove it, and must be able to make several for one test.
type Open = func(t *testing.T, users ...auth.User) auth.Users

// Run checks the stores that open returns, with one subtest for each rule.
//
// A store may compare names without regard to case, or in another way that suits
// it: the rules give names that differ in more than that.
func Run(t *testing.T, open Open) { run(t, rules, open) }

// A rule is one thing that every store does, and why.
type rule[O any] struct {
	name, why string
	check     func(t *testing.T, open O)
}

func run[O any](t *testing.T, rules []rule[O], open O) {
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Log("the rule: " + r.why)
				}
			}()
			r.check(t, open)
		})
	}
}

var rules = []rule[Open]{
	{"found", "all fields come back as they were stored", func(t *testing.T, open Open) {
		ada, bob := user("ada"), user("bob")
		bob.PasswordHash, bob.Version, bob.Roles, bob.Scopes = "", 0, nil, nil
		s := open(t, ada, bob)
		same(t, find(t, s, "ada"), ada)
		same(t, find(t, s, "bob"), bob)
	}},
	{"disabled", "the caller refuses a disabled account, so that this takes as long as any other refusal", func(t *testing.T, open Open) {
		ada := user("ada")
		ada.Disabled = true
		same(t, find(t, open(t, ada, user("bob")), "ada"), ada)
	}},
	{"unknown", "an error that wraps auth.ErrNotFound is what tells an unknown name from a store that is down", func(t *testing.T, open Open) {
		for _, s := range []auth.Users{open(t), open(t, user("ada"))} {
			for _, name := range []string{"bob", "", "%", "_da", "ad", "adaa", "ad*", "a.a", "subject of ada", "' OR ''='", `ada"`} {
				u, err := s.User(t.Context(), name)
				conformance.Holds(t, errors.Is(err, auth.ErrNotFound), "User(%q): got %v, %v, want auth.ErrNotFound", name, u, err)
			}
		}
	}},
	{"copies", "the slices of a User belong to the caller, or one request could change the rights of the next", func(t *testing.T, open Open) {
		ada := user("ada")
		given := clone(ada)
		s := open(t, given)
		conformance.Spoil(given.Scopes, given.Roles)
		got := find(t, s, "ada")
		_, _ = append(got.Scopes, "changed"), append(got.Roles, "changed")
		same(t, got, ada)
		conformance.Spoil(got.Scopes, got.Roles)
		same(t, find(t, s, "ada"), ada)
	}},
	{"cancelled", "a request that was given up must not look like one with an unknown name, and changes nothing", func(t *testing.T, open Open) {
		ada := user("ada")
		s := open(t, ada)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for _, name := range []string{"ada", "bob"} {
			u, err := s.User(ctx, name)
			conformance.Holds(t, err != nil && !errors.Is(err, auth.ErrNotFound),
				"User(%q) with a cancelled context: got %v, want an error that is not auth.ErrNotFound", name, err)
			conformance.Holds(t, u.Subject == "" && u.PasswordHash == "", "User(%q) with a cancelled context: got %v besides the error", name, u)
		}
		err := s.SetPasswordHash(ctx, ada.Subject, "changed", ada.Version)
		conformance.Holds(t, err != nil && !errors.Is(err, auth.ErrNotFound),
			"SetPasswordHash with a cancelled context: got %v, want an error that is not auth.ErrNotFound", err)
		same(t, find(t, s, "ada"), ada)
	}},
	{"concurrent lookups", "a store is safe for concurrent use, and no answer gets to another question", func(t *testing.T, open Open) {
		users := []auth.User{user("ada"), user("bob"), user("cleo")}
		s := open(t, users...)
		conformance.Together(24, func(i int) {
			for range 5 {
				want := users[i%len(users)]
				got, err := s.User(t.Context(), want.Name)
				conformance.Holds(t, err == nil, "User(%q): got %v", want.Name, err)
				same(t, got, want)
				conformance.Spoil(got.Scopes, got.Roles)
			}
		})
	}},
	{"set hash", "an upgrade replaces the hash, counts up the version, and touches nothing else", func(t *testing.T, open Open) {
		ada, bob := user("ada"), user("bob")
		bob.Version = 0
		s := open(t, ada, bob)
		for i := range 3 {
			for _, u := range []*auth.User{&ada, &bob} {
				hash := fmt.Sprintf("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$%d", i)
				set(t, s, u.Subject, hash, u.Version)
				u.PasswordHash = hash
				u.Version++
			}
			same(t, find(t, s, "ada"), ada)
			same(t, find(t, s, "bob"), bob)
		}
	}},
	{"set hash of an old version", "an upgrade that comes late never undoes a change of the password", func(t *testing.T, open Open) {
		ada := user("ada")
		s := open(t, ada)
		for _, version := range []int64{ada.Version - 1, ada.Version + 1, 0, -1, -ada.Version, 1 << 62} {
			set(t, s, ada.Subject, "changed", version)
			same(t, find(t, s, "ada"), ada)
		}
		set(t, s, ada.Subject, "$new", ada.Version)
		set(t, s, ada.Subject, "$late", ada.Version)
		ada.PasswordHash = "$new"
		ada.Version++
		same(t, find(t, s, "ada"), ada)
	}},
	{"set hash by subject", "the subject is not the name: a name may be that of another's subject", func(t *testing.T, open Open) {
		ada, bob := user("ada"), user("bob")
		ada.Subject, bob.Subject = "bob", "ada"
		s := open(t, ada, bob)
		for _, u := range []*auth.User{&ada, &bob} {
			u.PasswordHash = "$new of " + u.Name
			set(t, s, u.Subject, u.PasswordHash, u.Version)
			u.Version++
			same(t, find(t, s, "ada"), ada)
			same(t, find(t, s, "bob"), bob)
		}
	}},
	{"set hash of an unknown subject", "it makes no account and changes none; the error, if there is one, wraps auth.ErrNotFound", func(t *testing.T, open Open) {
		ada := user("ada")
		s := open(t, ada)
		for _, subject := range []string{"nobody", "", "ada", "%", strings.ToUpper(ada.Subject)} {
			err := s.SetPasswordHash(t.Context(), subject, "$new", ada.Version)
			conformance.Holds(t, err == nil || errors.Is(err, auth.ErrNotFound), "SetPasswordHash of %q: got %v, want none or auth.ErrNotFound", subject, err)
			same(t, find(t, s, "ada"), ada)
		}
		_, err := s.User(t.Context(), "nobody")
		conformance.Holds(t, errors.Is(err, auth.ErrNotFound), "User(nobody) after SetPasswordHash of an unknown subject: got %v, want auth.ErrNotFound", err)
	}},
	{"set hash concurrently", "of several upgrades of one version exactly one wins, in one atomic step", func(t *testing.T, open Open) {
		const n = 16
		ada, bob := user("ada"), user("bob")
		s := open(t, ada, bob)
		hash := func(i int) string { return fmt.Sprintf("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$%d", i) }
		conformance.Together(n, func(i int) {
			err := s.SetPasswordHash(t.Context(), ada.Subject, hash(i), ada.Version)
			conformance.Holds(t, err == nil, "SetPasswordHash: got %v", err)
		})
		got := find(t, s, "ada")
		conformance.Holds(t, got.Version == ada.Version+1, "%d upgrades of version %d made version %d, want %d", n, ada.Version, got.Version, ada.Version+1)
		won := false
		for i := range n {
			won = won || got.PasswordHash == hash(i)
		}
		conformance.Holds(t, won, "got the hash %q, which is none of those that were set", got.PasswordHash)
		same(t, find(t, s, "bob"), bob)
	}},
	{"set hash while it is read", "hash and version are read together, or an upgrade could replace what it has not seen", func(t *testing.T, open Open) {
		ada := user("ada")
		hash := func(version int64) string { return fmt.Sprintf("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$%d", version) }
		ada.PasswordHash = hash(ada.Version)
		s := open(t, ada)
		conformance.Together(8, func(i int) {
			for range 20 {
				got, err := s.User(t.Context(), "ada")
				conformance.Holds(t, err == nil, "User: got %v", err)
				conformance.Holds(t, got.PasswordHash == hash(got.Version), "version %d came with the hash %q", got.Version, got.PasswordHash)
				if i == 0 {
					set(t, s, ada.Subject, hash(got.Version+1), got.Version)
				}
			}
		})
		got := find(t, s, "ada")
		conformance.Holds(t, got.Version == ada.Version+20, "20 upgrades made version %d of %d", got.Version, ada.Version)
	}},
}

// user returns an account with something in every field.
func user(name string) auth.User {
	return auth.User{
		Subject:      "subject of " + name,
		Name:         name,
		PasswordHash: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdCBvZiA" + name + "$aGFzaA",
		Version:      7,
		Roles:        []string{"editor of " + name, `röle "{}'; --`},
		Scopes:       []string{"items:read", "items:write,all", name},
	}
}

func clone(u auth.User) auth.User {
	u.Roles, u.Scopes = slices.Clone(u.Roles), slices.Clone(u.Scopes)
	return u
}

func find(t *testing.T, s auth.Users, name string) auth.User {
	t.Helper()
	u, err := s.User(t.Context(), name)
	conformance.Holds(t, err == nil, "User(%q): got %v", name, err)
	return u
}

func set(t *testing.T, s auth.Users, subject, hash string, ifVersion int64) {
	t.Helper()
	err := s.SetPasswordHash(t.Context(), subject, hash, ifVersion)
	conformance.Holds(t, err == nil, "SetPasswordHash of %q if the version is %d: got %v", subject, ifVersion, err)
}

// same reports the fields in which got is not want. No slice equals an empty one.
func same(t *testing.T, got, want auth.User) {
	t.Helper()
	for _, f := range []struct {
		name      string
		equal     bool
		got, want any
	}{
		{"Subject", got.Subject == want.Subject, got.Subject, want.Subject},
		{"Name", got.Name == want.Name, got.Name, want.Name},
		{"PasswordHash", got.PasswordHash == want.PasswordHash, got.PasswordHash, want.PasswordHash},
		{"Version", got.Version == want.Version, got.Version, want.Version},
		{"Disabled", got.Disabled == want.Disabled, got.Disabled, want.Disabled},
		{"Roles", slices.Equal(got.Roles, want.Roles), got.Roles, want.Roles},
		{"Scopes", slices.Equal(got.Scopes, want.Scopes), got.Scopes, want.Scopes},
	} {
		conformance.Holds(t, f.equal, "%s: got the %s %v, want %v", want.Name, f.name, f.got, f.want)
	}
}
