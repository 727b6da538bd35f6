// Package storetest checks that a store of API keys does what apikey.Store and
// apikey.Manager ask of it. Call [Run] in the tests of a store, under the race
// detector:
//
//	func TestKeys(t *testing.T) {
//		storetest.Run(t, func(t *testing.T, records ...apikey.Record) apikey.Store {
//			db := openTestDatabase(t)
//			insert(t, db, records)
//			return NewKeys(db)
//		})
//	}
package storetest

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/apikey"
	"github.com/sallyport/sallyport/internal/conformance"
)

// An Open function returns a new store that holds records and nothing else. It
// may use t.Cleanup to remove it, and must be able to make several for one test.
type Open = func(t *testing.T, records ...apikey.Record) apikey.Store

// Run checks the stores that open returns, with one subtest for each rule. If
// they are also an apikey.Manager, it checks the rules of that as well.
//
// Times need to keep whole seconds, in any time zone.
func Run(t *testing.T, open Open) {
	check(t, storeRules, func(t *testing.T, r rule[apikey.Store]) { r.check(t, open) })
	if _, ok := open(t).(apikey.Manager); !ok {
		return
	}
	check(t, managerRules, func(t *testing.T, r rule[apikey.Manager]) {
		r.check(t, func(t *testing.T, records ...apikey.Record) apikey.Manager {
			return open(t, records...).(apikey.Manager)
		})
	})
}

// A rule is one thing that every store does, and why.
type rule[S any] struct {
	name, why string
	check     func(t *testing.T, open func(t *testing.T, records ...apikey.Record) S)
}

func check[S any](t *testing.T, rules []rule[S], run func(*testing.T, rule[S])) {
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Log("the rule: " + r.why)
				}
			}()
			run(t, r)
		})
	}
}

var storeRules = []rule[apikey.Store]{
	{"found", "all fields come back as they were stored", func(t *testing.T, open Open) {
		a, b := mint(t, "alice"), mint(t, "bob")
		b.Expires, b.Scopes, b.Roles, b.Name = time.Time{}, nil, nil, ""
		b.Networks, b.Prefix, b.LastUsed = nil, "", time.Time{}
		b.Revoked = b.Created.Add(time.Hour)
		s := open(t, a, b)
		same(t, key(t, s, a.ID), a)
		same(t, key(t, s, b.ID), b)
	}},
	{"unknown", "an error that wraps auth.ErrNotFound is what tells an unknown key from a store that is down", func(t *testing.T, open Open) {
		a, b := mint(t, "alice"), mint(t, "bob")
		for name, s := range map[string]apikey.Store{"empty": open(t), "another": open(t, a)} {
			missing(t, s, b.ID, "a store with "+name)
			missing(t, s, "", "a store with "+name)
		}
	}},
	{"exact", "an id is compared byte by byte, so that no pattern, padding or case finds a key", func(t *testing.T, open Open) {
		a := mint(t, "alice")
		a.ID = "0abc" + a.ID[4:] // so that it has letters
		s := open(t, a)
		for _, id := range []string{
			strings.ToUpper(a.ID), "0ABC" + a.ID[4:], a.ID + " ", " " + a.ID, a.ID + "\n", a.ID[:15], a.ID + "0",
			"%", a.ID[:15] + "%", a.ID[:15] + "_", "*", a.ID[:15] + "?", "' OR ''='", "o" + a.ID[1:],
		} {
			missing(t, s, id, "a store with "+a.ID)
		}
		same(t, key(t, s, a.ID), a)
	}},
	{"expired and revoked", "the Authenticator decides whether a key is valid, so that the log says why it is not", func(t *testing.T, open Open) {
		a, b := mint(t, "alice"), mint(t, "bob")
		a.Expires = a.Created.Add(-time.Hour)
		b.Revoked = b.Created.Add(-time.Hour)
		s := open(t, a, b)
		same(t, key(t, s, a.ID), a)
		same(t, key(t, s, b.ID), b)
	}},
	{"copies", "the slices of a record belong to the caller, or one request could change the rights of the next", func(t *testing.T, open Open) {
		a := mint(t, "alice")
		given := clone(a)
		s := open(t, given)
		conformance.Spoil(given.Scopes, given.Roles)
		clear(given.Networks)
		got := key(t, s, a.ID)
		_ = append(got.Scopes, "changed")
		same(t, got, a)
		conformance.Spoil(got.Scopes, got.Roles)
		clear(got.Networks)
		same(t, key(t, s, a.ID), a)
	}},
	{"cancelled", "a request that was given up must not look like one with an unknown key", func(t *testing.T, open Open) {
		a := mint(t, "alice")
		s := open(t, a)
		for _, id := range []string{a.ID, mint(t, "bob").ID} {
			got, err := s.Key(cancelled(t), id)
			conformance.Holds(t, err != nil && !errors.Is(err, auth.ErrNotFound),
				"Key with a cancelled context: got %v, want an error that is not auth.ErrNotFound", err)
			conformance.Holds(t, got.ID == "" && got.Hash == "", "Key with a cancelled context: got %v besides the error", got)
		}
	}},
	{"concurrent lookups", "a store is safe for concurrent use, and no answer gets to another question", func(t *testing.T, open Open) {
		records := []apikey.Record{mint(t, "alice"), mint(t, "bob"), mint(t, "carol")}
		s := open(t, records...)
		var wg sync.WaitGroup
		for i := range 24 {
			wg.Go(func() {
				for range 5 {
					want := records[i%len(records)]
					got, err := s.Key(t.Context(), want.ID)
					conformance.Holds(t, err == nil, "Key: %v", err)
					same(t, got, want)
					conformance.Spoil(got.Scopes, got.Roles)
				}
			})
		}
		wg.Wait()
	}},
}

type openManager = func(t *testing.T, records ...apikey.Record) apikey.Manager

var managerRules = []rule[apikey.Manager]{
	{"add", "a key is valid from the moment when Add returns", func(t *testing.T, open openManager) {
		a, b := mint(t, "alice"), mint(t, "alice")
		b.Expires, b.Scopes, b.Roles, b.Name = time.Time{}, nil, nil, ""
		b.Networks, b.Prefix, b.LastUsed = nil, "", time.Time{}
		b.Revoked = b.Created.Add(time.Hour)
		m := open(t)
		for _, r := range []apikey.Record{a, b} {
			add(t, m, r)
			same(t, key(t, m, r.ID), r)
		}
		same(t, key(t, m, a.ID), a)
	}},
	{"add copies", "a caller may go on to use the slices of a record that was added", func(t *testing.T, open openManager) {
		a := mint(t, "alice")
		given := clone(a)
		m := open(t)
		add(t, m, given)
		conformance.Spoil(given.Scopes, given.Roles)
		clear(given.Networks)
		same(t, key(t, m, a.ID), a)
	}},
	{"add taken", "a key that exists is never replaced", func(t *testing.T, open openManager) {
		a, b := mint(t, "alice"), mint(t, "bob")
		b.ID = a.ID
		m := open(t)
		add(t, m, a)
		for _, r := range []apikey.Record{a, b} {
			conformance.Holds(t, m.Add(t.Context(), r) != nil, "Add of an id that is taken: got no error")
		}
		same(t, key(t, m, a.ID), a)
	}},
	{"add invalid", "what does not pass Record.Validate never becomes a key", func(t *testing.T, open openManager) {
		m := open(t)
		for name, edit := range map[string]func(*apikey.Record){
			"no owner":        func(r *apikey.Record) { r.Subject = "" },
			"no hash":         func(r *apikey.Record) { r.Hash = "" },
			"an unknown hash": func(r *apikey.Record) { r.Hash = "md5:" + r.Hash },
			"a malformed id":  func(r *apikey.Record) { r.ID = strings.ToUpper("a" + r.ID[1:]) },
			"a short id":      func(r *apikey.Record) { r.ID = r.ID[1:] },
			"two scopes":      func(r *apikey.Record) { r.Scopes = []string{"a b"} },
			"an empty role":   func(r *apikey.Record) { r.Roles = []string{""} },
			"no network":      func(r *apikey.Record) { r.Networks = []netip.Prefix{{}} },
			"a long prefix":   func(r *apikey.Record) { r.Prefix = "sk_live_eu" },
		} {
			r := mint(t, "alice")
			edit(&r)
			conformance.Holds(t, m.Add(t.Context(), r) != nil, "Add of a record with %s: got no error", name)
			missing(t, m, r.ID, "after a record with "+name+" was refused, the store")
		}
	}},
	{"add concurrently", "of several additions of one id exactly one wins, whole", func(t *testing.T, open openManager) {
		const n = 16
		m := open(t)
		records := make([]apikey.Record, n)
		for i := range records {
			records[i] = mint(t, "alice")
			records[i].ID = records[0].ID
		}
		var mu sync.Mutex
		var won []apikey.Record
		conformance.Together(n, func(i int) {
			if m.Add(t.Context(), records[i]) == nil {
				mu.Lock()
				won = append(won, records[i])
				mu.Unlock()
			}
		})
		conformance.Holds(t, len(won) == 1, "%d of %d additions of one id returned no error, want 1", len(won), n)
		for _, r := range won {
			same(t, key(t, m, r.ID), r)
		}
	}},
	{"revoke", "a key is not valid any more from the moment when Revoke returns, and nothing else changes", func(t *testing.T, open openManager) {
		a, b := mint(t, "alice"), mint(t, "alice")
		m := open(t, a, b)
		revoke(t, m, "alice", a.ID, time.Time{})
		got := key(t, m, a.ID)
		age := time.Since(got.Revoked)
		conformance.Holds(t, age >= 0 && age < time.Minute, "Revoke without a time: got %v, %v ago, want now", got.Revoked, age)
		a.Revoked = got.Revoked
		same(t, got, a)
		same(t, key(t, m, b.ID), b)
	}},
	{"revoke later", "a key can go on for a while when another takes its place", func(t *testing.T, open openManager) {
		a := mint(t, "alice")
		m := open(t, a)
		a.Revoked = a.Created.Add(24 * time.Hour)
		revoke(t, m, "alice", a.ID, a.Revoked)
		same(t, key(t, m, a.ID), a)
	}},
	{"revoke again", "a key keeps the earlier time, so that nothing makes a revoked one valid again", func(t *testing.T, open openManager) {
		a := mint(t, "alice")
		m := open(t, a)
		at := a.Created.Add(24 * time.Hour)
		for _, step := range []struct{ revoke, want time.Time }{
			{at, at},
			{at.Add(time.Hour), at},
			{at, at},
			{at.Add(-time.Hour), at.Add(-time.Hour)},
			{at, at.Add(-time.Hour)},
		} {
			revoke(t, m, "alice", a.ID, step.revoke)
			got := key(t, m, a.ID).Revoked
			conformance.Holds(t, got.Equal(step.want), "after Revoke at %v: got %v, want %v", step.revoke, got, step.want)
		}
		revoke(t, m, "alice", a.ID, time.Time{})
		got := key(t, m, a.ID).Revoked
		conformance.Holds(t, !got.IsZero() && !got.After(time.Now()), "after Revoke without a time: got %v, want now", got)
		revoke(t, m, "alice", a.ID, at)
		after := key(t, m, a.ID).Revoked
		conformance.Holds(t, after.Equal(got), "after Revoke at a later time: got %v, want still %v", after, got)
	}},
	{"revoke of another", "who names the id of somebody else's key changes nothing, and learns nothing", func(t *testing.T, open openManager) {
		a := mint(t, "alice")
		m := open(t, a, mint(t, "bob"))
		for _, subject := range []string{"bob", "", "Alice", "alice ", "%", "mallory"} {
			err := m.Revoke(t.Context(), subject, a.ID, time.Time{})
			conformance.Holds(t, errors.Is(err, auth.ErrNotFound), "Revoke of alice's key by %q: got %v, want auth.ErrNotFound", subject, err)
		}
		for _, id := range []string{mint(t, "alice").ID, "", strings.ToUpper("a" + a.ID[1:])} {
			err := m.Revoke(t.Context(), "alice", id, time.Time{})
			conformance.Holds(t, errors.Is(err, auth.ErrNotFound), "Revoke of the unknown key %q: got %v, want auth.ErrNotFound", id, err)
		}
		same(t, key(t, m, a.ID), a)
	}},
	{"revoke concurrently", "of several revocations the earliest stands, whatever their order", func(t *testing.T, open openManager) {
		const n = 16
		for range 8 { // in one round the earliest may come last by chance
			a := mint(t, "alice")
			m := open(t, a)
			conformance.Together(n, func(i int) {
				err := m.Revoke(t.Context(), "alice", a.ID, a.Created.Add(time.Duration(i+1)*time.Hour))
				conformance.Holds(t, err == nil, "Revoke: %v", err)
			})
			a.Revoked = a.Created.Add(time.Hour)
			same(t, key(t, m, a.ID), a)
		}
	}},
	{"list", "an owner sees all his keys and no others, the oldest first, without hashes", func(t *testing.T, open openManager) {
		m := open(t)
		var want []apikey.Record
		for i := range 4 {
			a, other := mint(t, "alice"), mint(t, "bob")
			a.Created = a.Created.Add(-time.Duration(i/2) * time.Hour)
			switch i {
			case 1:
				a.Expires = a.Created.Add(-time.Hour)
			case 2:
				a.Revoked = a.Created
			}
			add(t, m, a)
			add(t, m, other)
			want = append(want, a)
		}
		slices.SortFunc(want, func(a, b apikey.Record) int {
			if c := a.Created.Compare(b.Created); c != 0 {
				return c
			}
			return strings.Compare(a.ID, b.ID)
		})
		for range 2 { // once more, since nothing of the first list is the store's
			got := list(t, m, "alice")
			conformance.Holds(t, len(got) == len(want), "got %d keys of alice, want %d", len(got), len(want))
			for i := range min(len(got), len(want)) {
				conformance.Holds(t, got[i].Hash == "", "the list has the hash of %s", got[i].ID)
				got[i].Hash = want[i].Hash
				same(t, got[i], want[i])
				conformance.Spoil(got[i].Scopes, got[i].Roles)
			}
		}
		for _, r := range want {
			same(t, key(t, m, r.ID), r)
		}
	}},
	{"touch", "LastUsed is the later of the times at which the key was used, and nothing else changes", func(t *testing.T, open openManager) {
		a, b := mint(t, "alice"), mint(t, "alice")
		a.LastUsed = time.Time{}
		m := open(t, a, b)
		at := a.Created.Add(time.Hour)
		for _, step := range []struct{ at, want time.Time }{
			{at, at},
			{at.Add(time.Minute), at.Add(time.Minute)},
			{at, at.Add(time.Minute)},
			{at.Add(time.Minute), at.Add(time.Minute)},
		} {
			conformance.Need(t, "Touch", m.Touch(t.Context(), a.ID, step.at))
			a.LastUsed = step.want
			same(t, key(t, m, a.ID), a)
		}
		same(t, key(t, m, b.ID), b)
		revoke(t, m, "alice", b.ID, time.Time{})
		b.Revoked = key(t, m, b.ID).Revoked
		conformance.Need(t, "Touch", m.Touch(t.Context(), b.ID, at.Add(time.Hour)))
		b.LastUsed = at.Add(time.Hour)
		same(t, key(t, m, b.ID), b)
	}},
	{"touch concurrently", "instances that write at the same time leave the latest time", func(t *testing.T, open openManager) {
		a := mint(t, "alice")
		m := open(t, a)
		const n = 16
		conformance.Together(n, func(i int) {
			err := m.Touch(t.Context(), a.ID, a.Created.Add(time.Hour+time.Duration(i)*time.Second))
			conformance.Holds(t, err == nil, "Touch: %v", err)
		})
		a.LastUsed = a.Created.Add(time.Hour + (n-1)*time.Second)
		same(t, key(t, m, a.ID), a)
	}},
	{"touch nothing", "what is not there is not made", func(t *testing.T, open openManager) {
		a, b := mint(t, "alice"), mint(t, "bob")
		m := open(t, a)
		err := m.Touch(t.Context(), b.ID, b.Created)
		conformance.Holds(t, err == nil || errors.Is(err, auth.ErrNotFound), "Touch of an unknown key: got %v, want nil or auth.ErrNotFound", err)
		missing(t, m, b.ID, "after Touch of an unknown key, the store")
		same(t, key(t, m, a.ID), a)
	}},
	{"list nothing", "who has no keys gets no error, and nobody's name stands for all", func(t *testing.T, open openManager) {
		m := open(t, mint(t, "alice"))
		for _, subject := range []string{"bob", "", "%", "ALICE"} {
			got := list(t, m, subject)
			conformance.Holds(t, len(got) == 0, "got %d keys of %q, want none", len(got), subject)
		}
	}},
	{"changes cancelled", "what returns an error because of the context has changed nothing", func(t *testing.T, open openManager) {
		a, b := mint(t, "alice"), mint(t, "bob")
		m := open(t, a)
		conformance.Holds(t, m.Add(cancelled(t), b) != nil, "Add with a cancelled context: got no error")
		missing(t, m, b.ID, "after a cancelled Add, the store")
		err := m.Revoke(cancelled(t), "alice", a.ID, time.Time{})
		conformance.Holds(t, err != nil && !errors.Is(err, auth.ErrNotFound),
			"Revoke with a cancelled context: got %v, want an error that is not auth.ErrNotFound", err)
		same(t, key(t, m, a.ID), a)
		conformance.Holds(t, m.Touch(cancelled(t), a.ID, a.LastUsed.Add(time.Hour)) != nil, "Touch with a cancelled context: got no error")
		same(t, key(t, m, a.ID), a)
		got, err := m.List(cancelled(t), "alice")
		conformance.Holds(t, err != nil && len(got) == 0, "List with a cancelled context: got %v, %v, want an error", got, err)
	}},
}

// mint returns the record of a new key with something in every field but
// Revoked.
func mint(t *testing.T, subject string) apikey.Record {
	t.Helper()
	_, r, err := apikey.Mint(apikey.MintConfig{
		Subject: subject, Name: "it's a \"näme\"; --", Scopes: []string{"items:read", "items:write,admin"}, Roles: []string{"editor", "röle \x7b}"},
		Environment: "test", Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("0.0.0.0/0")},
	})
	conformance.Need(t, "Mint", err)
	r.LastUsed = r.Created.Add(time.Minute)
	return r
}

func clone(r apikey.Record) apikey.Record {
	r.Scopes, r.Roles, r.Networks = slices.Clone(r.Scopes), slices.Clone(r.Roles), slices.Clone(r.Networks)
	return r
}

func key(t *testing.T, s apikey.Store, id string) apikey.Record {
	t.Helper()
	r, err := s.Key(t.Context(), id)
	conformance.Need(t, "Key("+id+")", err)
	return r
}

func missing(t *testing.T, s apikey.Store, id, where string) {
	t.Helper()
	r, err := s.Key(t.Context(), id)
	conformance.Holds(t, errors.Is(err, auth.ErrNotFound), "%s: Key(%q): got %v, %v, want auth.ErrNotFound", where, id, r, err)
}

func add(t *testing.T, m apikey.Manager, r apikey.Record) {
	t.Helper()
	conformance.Need(t, "Add", m.Add(t.Context(), r))
}

func revoke(t *testing.T, m apikey.Manager, subject, id string, at time.Time) {
	t.Helper()
	conformance.Need(t, "Revoke", m.Revoke(t.Context(), subject, id, at))
}

func list(t *testing.T, m apikey.Manager, subject string) []apikey.Record {
	t.Helper()
	records, err := m.List(t.Context(), subject)
	conformance.Need(t, "List("+subject+")", err)
	return records
}

// same reports the fields in which got is not want. Times are compared as
// instants, and no slice equals an empty one.
func same(t *testing.T, got, want apikey.Record) {
	t.Helper()
	g, w := reflect.ValueOf(got), reflect.ValueOf(want)
	for i := range g.NumField() {
		name, equal := g.Type().Field(i).Name, false
		a, b := g.Field(i).Interface(), w.Field(i).Interface()
		switch a := a.(type) {
		case time.Time:
			equal = a.Equal(b.(time.Time)) && a.IsZero() == b.(time.Time).IsZero()
		case []string:
			equal = slices.Equal(a, b.([]string))
		case []netip.Prefix:
			equal = slices.Equal(a, b.([]netip.Prefix))
		default:
			equal = a == b
		}
		conformance.Holds(t, equal, "the key %s: got the %s %v, want %v", want.ID, name, a, b)
	}
}

func cancelled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
