// Package storetest checks that a store of refresh tokens does what
// oauth.RefreshStore asks of it. Call [Run] in the tests of a store, under the race
// detector:
//
//	func TestRefreshTokens(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) oauth.RefreshStore {
//			return NewRefreshTokens(openTestDatabase(t))
//		})
//	}
package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/oauth"
	"github.com/sallyport/sallyport/internal/conformance"
)

// An Open function returns a new store that holds nothing. It may use t.Cleanup to
// remove it, and must be able to make several for one test.
type Open = func(t *testing.T) oauth.RefreshStore

// Run checks the stores that open returns, with one subtest for each rule. A store may
// keep times to the microsecond.
func Run(t *testing.T, open Open) {
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Log("the rule: " + r.why)
				}
			}()
			r.check(t, open(t))
		})
	}
}

// A rule is one thing that every store does, and why.
type rule struct {
	name, why string
	check     func(t *testing.T, s oauth.RefreshStore)
}

var rules = []rule{
	{"found", "all fields come back as they were stored", func(t *testing.T, s oauth.RefreshStore) {
		one, two := family("1"), family("2")
		two.Scopes, two.Thumbprint, two.Previous, two.UserVersion = nil, "", "", 0
		create(t, s, one, two)
		same(t, find(t, s, "1"), one)
		same(t, find(t, s, "2"), two)
	}},
	{"not found", "auth.ErrNotFound tells a token that is wrong from a store that can't tell", func(t *testing.T, s oauth.RefreshStore) {
		create(t, s, family("1"))
		for _, key := range []string{"2", "", "KEY-1", "1", "%", "key-1 ", "key-1\x00"} {
			_, err := s.Family(t.Context(), key)
			conformance.Holds(t, errors.Is(err, auth.ErrNotFound), "Family(%q): got %v, want ErrNotFound", key, err)
		}
	}},
	{"one of a key", "a second family of a key would take the place of the first", func(t *testing.T, s oauth.RefreshStore) {
		create(t, s, family("1"))
		other := family("1")
		other.Subject = "mallory"
		conformance.Holds(t, s.Create(t.Context(), other) != nil, "a second family of one Key was taken")
		same(t, find(t, s, "1"), family("1"))
	}},
	{"rotate", "what changes is the Rotation, and nothing else of the family", func(t *testing.T, s oauth.RefreshStore) {
		f := family("1")
		create(t, s, f, family("2"))
		f.Rotation = oauth.Rotation{Current: "c2", Previous: f.Current, Rotated: f.Rotated.Add(time.Hour), Expires: f.Expires.Add(time.Hour), Retried: true}
		rotate(t, s, "1", family("1").Current, f.Rotation, true)
		same(t, find(t, s, "1"), f)
		same(t, find(t, s, "2"), family("2"))
	}},
	{"rotate what is current", "a token that was used must not be used again", func(t *testing.T, s oauth.RefreshStore) {
		create(t, s, family("1"))
		first, second := rotation("1"), rotation("2")
		rotate(t, s, "1", family("1").Current, first, true)
		rotate(t, s, "1", family("1").Current, second, false)
		rotate(t, s, "1", first.Previous, second, false)
		rotate(t, s, "1", "", second, false)
		rotate(t, s, "nobody", first.Current, second, false)
		rotate(t, s, "1", first.Current, second, true)
		got := find(t, s, "1")
		conformance.Holds(t, got.Current == second.Current, "the current token is %q, want %q", got.Current, second.Current)
	}},
	{"rotate once", "of any number of concurrent uses of one token, one is the first", func(t *testing.T, s oauth.RefreshStore) {
		create(t, s, family("1"))
		var done, failed atomic.Int64
		conformance.Together(50, func(i int) {
			ok, err := s.Rotate(t.Context(), "key-1", family("1").Current, rotation(fmt.Sprint(i)))
			if err != nil {
				failed.Add(1)
			}
			if ok {
				done.Add(1)
			}
		})
		conformance.Holds(t, done.Load() == 1 && failed.Load() == 0, "%d of 50 rotated and %d failed, want 1 and 0", done.Load(), failed.Load())
	}},
	{"revoke", "a family that is revoked stays so, and no token of it is good", func(t *testing.T, s oauth.RefreshStore) {
		create(t, s, family("1"), family("2"))
		revoke(t, s, oauth.RefreshSelector{Key: "key-1"}, 1)
		revoke(t, s, oauth.RefreshSelector{Key: "key-1"}, 0)
		revoke(t, s, oauth.RefreshSelector{Key: "nobody"}, 0)
		f := find(t, s, "1")
		conformance.Holds(t, f.Revoked, "the family is not revoked")
		rotate(t, s, "1", f.Current, rotation("1"), false)
		same(t, find(t, s, "2"), family("2"))
	}},
	{"revoke once", "of concurrent requests that see a theft, one tells so", func(t *testing.T, s oauth.RefreshStore) {
		create(t, s, family("1"))
		var counted, failed atomic.Int64
		conformance.Together(50, func(int) {
			n, err := s.Revoke(t.Context(), oauth.RefreshSelector{Key: "key-1"})
			if err != nil {
				failed.Add(1)
			}
			counted.Add(int64(n))
		})
		conformance.Holds(t, counted.Load() == 1 && failed.Load() == 0, "counted %d times with %d failures, want 1 and 0", counted.Load(), failed.Load())
	}},
	{"revoke and rotate", "once Revoke has returned, nothing of the family is good, whatever was under way", func(t *testing.T, s oauth.RefreshStore) {
		for i := range 20 {
			id := fmt.Sprint(i)
			create(t, s, family(id))
			conformance.Together(2, func(n int) {
				if n == 0 {
					_, _ = s.Rotate(t.Context(), "key-"+id, family(id).Current, rotation(id))
				} else {
					_, _ = s.Revoke(t.Context(), oauth.RefreshSelector{Key: "key-" + id})
				}
			})
			f := find(t, s, id)
			conformance.Holds(t, f.Revoked, "a rotation undid the revocation")
			rotate(t, s, id, f.Current, rotation("last"), false)
		}
	}},
	{"revoke a session", "sessions are of one issuer", func(t *testing.T, s oauth.RefreshStore) {
		other := family("2")
		other.SessionID, other.Issuer = family("1").SessionID, "https://other.example.com"
		create(t, s, family("1"), other)
		revoke(t, s, oauth.RefreshSelector{SessionID: "session-1", Issuer: "https://nobody.example.com"}, 0)
		revoke(t, s, oauth.RefreshSelector{SessionID: "key-1", Issuer: family("1").Issuer}, 0)
		revoke(t, s, oauth.RefreshSelector{SessionID: "session-1", Issuer: family("1").Issuer}, 1)
		conformance.Holds(t, find(t, s, "1").Revoked && !find(t, s, "2").Revoked, "not the one session was revoked")
	}},
	{"revoke a subject", "all logins of a user end, and nobody else's", func(t *testing.T, s oauth.RefreshStore) {
		a, b, c, d := family("1"), family("2"), family("3"), family("4")
		a.Subject, b.Subject, c.Subject, d.Subject = "ada", "ada", "Ada", "ada"
		d.Issuer = "https://other.example.com"
		create(t, s, a, b, c, d)
		revoke(t, s, oauth.RefreshSelector{Key: "key-2"}, 1)
		revoke(t, s, oauth.RefreshSelector{Subject: "ada", Issuer: a.Issuer}, 1)
		revoke(t, s, oauth.RefreshSelector{Subject: "ada", Issuer: a.Issuer}, 0)
		for id, want := range map[string]bool{"1": true, "2": true, "3": false, "4": false} {
			conformance.Holds(t, find(t, s, id).Revoked == want, "family %s: revoked is %v, want %v", id, !want, want)
		}
	}},
	{"revoke nothing", "a selector that names nothing, or two things, is a mistake: it must not be taken for all", func(t *testing.T, s oauth.RefreshStore) {
		create(t, s, family("1"))
		for _, which := range []oauth.RefreshSelector{
			{},
			{Issuer: family("1").Issuer},
			{Subject: "subject-1"},
			{SessionID: "session-1"},
			{Key: "key-1", Subject: "subject-1", Issuer: family("1").Issuer},
			{Key: "key-1", Issuer: family("1").Issuer},
		} {
			n, err := s.Revoke(t.Context(), which)
			conformance.Holds(t, err != nil && n == 0, "Revoke(%+v): got %d, %v, want an error", which, n, err)
		}
		conformance.Holds(t, !find(t, s, "1").Revoked, "the family was revoked")
	}},
	{"names are bytes", "a name means itself alone (ASVS 1.2.4)", func(t *testing.T, s oauth.RefreshStore) {
		for _, name := range []string{"a", "A", "a ", "' OR '1'='1", "{a}", "a:b", "\r\n*1\r\n$8\r\nFLUSHALL\r\n", "ä"} {
			f := family(name)
			create(t, s, f)
		}
		revoke(t, s, oauth.RefreshSelector{Subject: "subject-' OR '1'='1", Issuer: family("").Issuer}, 1)
		revoke(t, s, oauth.RefreshSelector{Subject: "subject-a", Issuer: family("").Issuer}, 1)
		conformance.Holds(t, !find(t, s, "A").Revoked && !find(t, s, "a ").Revoked && !find(t, s, "ä").Revoked, "another name was revoked")
	}},
	{"fresh", "the caller may change what it is given, and what it gave", func(t *testing.T, s oauth.RefreshStore) {
		f := family("1")
		conformance.Need(t, "Create", s.Create(t.Context(), f))
		conformance.Spoil(f.Scopes)
		got := find(t, s, "1")
		conformance.Spoil(got.Scopes)
		same(t, find(t, s, "1"), family("1"))
	}},
	{"cancelled", "a store that was given up has not decided", func(t *testing.T, s oauth.RefreshStore) {
		create(t, s, family("1"))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := s.Family(ctx, "key-1")
		conformance.Holds(t, err != nil && !errors.Is(err, auth.ErrNotFound), "Family: got %v", err)
		ok, err := s.Rotate(ctx, "key-1", family("1").Current, rotation("1"))
		conformance.Holds(t, !ok && err != nil, "Rotate: got %v, %v", ok, err)
		_, err = s.Revoke(ctx, oauth.RefreshSelector{Key: "key-1"})
		conformance.Holds(t, err != nil, "Revoke: got no error")
		conformance.Holds(t, s.Create(ctx, family("2")) != nil, "Create: got no error")
	}},
}

// later is a time that every store can keep, and that has not come.
var later = time.Date(2100, time.January, 1, 12, 0, 0, 123456000, time.UTC)

func family(id string) oauth.RefreshFamily {
	return oauth.RefreshFamily{
		Key: "key-" + id, SessionID: "session-" + id, Issuer: "https://api.example.com", ClientID: "client-" + id, Subject: "subject-" + id,
		UserName: "name-" + id, UserVersion: 7, Scopes: []string{"items:read", "items:write"}, AuthTime: later.AddDate(-80, 0, 0), Ends: later,
		Thumbprint: "thumbprint-" + id,
		Rotation:   oauth.Rotation{Current: "current-" + id, Previous: "previous-" + id, Rotated: later.AddDate(-79, 0, 0), Expires: later.AddDate(0, 0, -7)},
	}
}

func rotation(id string) oauth.Rotation {
	return oauth.Rotation{Current: "next-" + id, Previous: "before-" + id, Rotated: later.AddDate(-78, 0, 0), Expires: later.AddDate(0, 0, -1)}
}

func create(t *testing.T, s oauth.RefreshStore, families ...oauth.RefreshFamily) {
	t.Helper()
	for _, f := range families {
		f.Scopes = slices.Clone(f.Scopes)
		conformance.Need(t, "Create", s.Create(t.Context(), f))
	}
}

func find(t *testing.T, s oauth.RefreshStore, id string) oauth.RefreshFamily {
	t.Helper()
	f, err := s.Family(t.Context(), "key-"+id)
	conformance.Need(t, "Family", err)
	return f
}

func rotate(t *testing.T, s oauth.RefreshStore, id, ifCurrent string, to oauth.Rotation, want bool) {
	t.Helper()
	ok, err := s.Rotate(t.Context(), "key-"+id, ifCurrent, to)
	conformance.Holds(t, ok == want && err == nil, "Rotate of %q: got %v, %v, want %v", ifCurrent, ok, err, want)
}

func revoke(t *testing.T, s oauth.RefreshStore, which oauth.RefreshSelector, want int) {
	t.Helper()
	n, err := s.Revoke(t.Context(), which)
	conformance.Holds(t, n == want && err == nil, "Revoke(%+v): got %d, %v, want %d", which, n, err, want)
}

// same compares two families field by field, times by what they mean.
func same(t *testing.T, got, want oauth.RefreshFamily) {
	t.Helper()
	for _, f := range []*oauth.RefreshFamily{&got, &want} {
		for _, at := range []*time.Time{&f.AuthTime, &f.Ends, &f.Rotated, &f.Expires} {
			*at = at.UTC().Round(0)
		}
		if len(f.Scopes) == 0 {
			f.Scopes = nil
		}
	}
	type plain oauth.RefreshFamily // to print all of it
	conformance.Holds(t, reflect.DeepEqual(got, want), "got %+v, want %+v", plain(got), plain(want))
}
