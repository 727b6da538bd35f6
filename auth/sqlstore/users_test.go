package sqlstore_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/apikey"
	"github.com/sallyport/sallyport/auth/oauth"
	"github.com/sallyport/sallyport/auth/sqlstore"
	"github.com/sallyport/sallyport/internal/conformance"
)

// add adds an account of the name, whose subject is "s" and the name.
func add(t testing.TB, s *sqlstore.Store, name string) auth.User {
	t.Helper()
	u := auth.User{Subject: "s" + name, Name: name, PasswordHash: "$hash", Version: 3, Roles: []string{"editor"}, Scopes: []string{"items:read"}}
	if err := s.Users().Add(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	return u
}

func mint(t testing.TB, s *sqlstore.Store, subject string) apikey.Record {
	t.Helper()
	_, r, err := apikey.Mint(apikey.MintConfig{Subject: subject, Name: "key"})
	if err == nil {
		err = s.Keys().Add(t.Context(), r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestUsers(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		store := newStore(t, b)
		s := store.Users()
		ada, bob := add(t, store, "ada"), add(t, store, "bob")
		is := func(want auth.User) {
			t.Helper()
			for _, find := range []func() (auth.User, error){
				func() (auth.User, error) { return s.User(t.Context(), want.Name) },
				func() (auth.User, error) { return s.BySubject(t.Context(), want.Subject) },
			} {
				if got, err := find(); err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("got %#v, %v, want %#v", plain(got), err, plain(want))
				}
			}
		}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Error(err)
			}
		}
		is(ada)
		must(s.SetPassword(t.Context(), ada.Subject, "$new"))
		ada.PasswordHash, ada.Version = "$new", ada.Version+1
		is(ada)
		must(s.SetDisabled(t.Context(), ada.Subject, true))
		ada.Disabled = true
		is(ada)
		must(s.SetDisabled(t.Context(), ada.Subject, false))
		ada.Disabled = false
		is(ada)
		must(s.SetRoles(t.Context(), ada.Subject, []string{"admin", `"; --`}))
		ada.Roles = []string{"admin", `"; --`}
		is(ada)
		must(s.SetScopes(t.Context(), ada.Subject, nil))
		ada.Scopes = nil
		is(ada)
		is(bob)

		for name, u := range map[string]auth.User{
			"the subject": {Subject: ada.Subject, Name: "new"},
			"the name":    {Subject: "new", Name: "ada"},
			"both":        ada,
		} {
			if err := s.Add(t.Context(), u); !errors.Is(err, sqlstore.ErrTaken) {
				t.Errorf("Add where %s is taken: got %v, want ErrTaken", name, err)
			}
		}
		is(ada)
		for name, err := range map[string]error{
			"SetPassword": s.SetPassword(t.Context(), "nobody", "$x"),
			"SetDisabled": s.SetDisabled(t.Context(), "nobody", true),
			"SetRoles":    s.SetRoles(t.Context(), "nobody", nil),
			"SetScopes":   s.SetScopes(t.Context(), "nobody", nil),
			"Delete":      s.Delete(t.Context(), "nobody"),
		} {
			if !errors.Is(err, auth.ErrNotFound) {
				t.Errorf("%s of nobody: got %v, want ErrNotFound", name, err)
			}
		}
	})
}

type plain auth.User // to print all of it

// Names are bytes: no collation and no case makes two of them one.
func TestNamesAreBytes(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		s := newStore(t, b).Users()
		names := []string{"ada", "Ada", "ADA", "ada ", " ada", "ada\t", "é", "e\u0301", "É", "ß", "ss", "ﬁ", "fi", "%", "a_a", "' OR ''='", strings.Repeat("n", 1024)}
		for _, name := range names {
			if err := s.Add(t.Context(), auth.User{Subject: name, Name: name}); err != nil {
				t.Errorf("Add of %.20q: %v", name, err)
			}
		}
		for _, name := range names {
			if u, err := s.User(t.Context(), name); err != nil || u.Subject != name {
				t.Errorf("User(%.20q): got %v, %v", name, u, err)
			}
		}
		for _, name := range []string{"aDA", "ada  ", "", "ada\x00", "\x00", "ad\xe4", "\xff", strings.Repeat("n", 1023), strings.Repeat("n", 1025), strings.Repeat("n", 1<<20)} {
			if u, err := s.User(t.Context(), name); !errors.Is(err, auth.ErrNotFound) {
				t.Errorf("User(%.20q): got %v, %v, want ErrNotFound", name, u, err)
			}
			if err := s.SetPassword(t.Context(), name, "$x"); !errors.Is(err, auth.ErrNotFound) {
				t.Errorf("SetPassword of %.20q: got %v, want ErrNotFound", name, err)
			}
		}
		for what, u := range map[string]auth.User{
			"without subject":          {Name: "x"},
			"without name":             {Subject: "x"},
			"with a NUL in the name":   {Subject: "x", Name: "x\x00"},
			"with Latin 1":             {Subject: "x", Name: "x\xe4"},
			"with a long subject":      {Subject: strings.Repeat("x", 1025), Name: "x"},
			"with a NUL in the hash":   {Subject: "x", Name: "x", PasswordHash: "\x00"},
			"with Latin 1 in the role": {Subject: "x", Name: "x", Roles: []string{"a", "\xe4"}},
			"with a NUL in the scope":  {Subject: "x", Name: "x", Scopes: []string{"\x00"}},
		} {
			err := s.Add(t.Context(), u)
			shows(t, "Add of one "+what, err)
		}
		if _, err := s.User(t.Context(), "x"); !errors.Is(err, auth.ErrNotFound) {
			t.Errorf("after they were refused: got %v", err)
		}
	})
}

// Of an account that is deleted nothing is left that another could get.
func TestDelete(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		store := newStore(t, b)
		s := store.Users()
		ada := add(t, store, "ada")
		key, other := mint(t, store, ada.Subject), mint(t, store, "no account")
		disabled := func(id string, want bool) {
			t.Helper()
			if r, err := store.Keys().Key(t.Context(), id); err != nil || r.Disabled != want {
				t.Errorf("the key: got disabled %v, %v, want %v", r.Disabled, err, want)
			}
			if list, err := store.Keys().List(t.Context(), ada.Subject); err != nil || len(list) != 1 || id == key.ID && list[0].Disabled != want {
				t.Errorf("the list: got %v, %v", list, err)
			}
		}
		disabled(key.ID, false)
		if err := s.SetDisabled(t.Context(), ada.Subject, true); err != nil {
			t.Fatal(err)
		}
		disabled(key.ID, true)
		if err := s.SetDisabled(t.Context(), ada.Subject, false); err != nil {
			t.Fatal(err)
		}
		disabled(key.ID, false)

		var deleted int
		results := make([]error, 8)
		conformance.Together(len(results), func(i int) { results[i] = s.Delete(t.Context(), ada.Subject) })
		for _, err := range results {
			if err == nil {
				deleted++
			} else if !errors.Is(err, auth.ErrNotFound) {
				t.Errorf("Delete: %v", err)
			}
		}
		if deleted != 1 {
			t.Errorf("%d of %d deletions returned nil, want 1", deleted, len(results))
		}
		disabled(key.ID, true)
		disabled(other.ID, false)
		for name, err := range map[string]error{
			"SetPassword": s.SetPassword(t.Context(), ada.Subject, "$x"),
			"SetDisabled": s.SetDisabled(t.Context(), ada.Subject, false),
			"SetRoles":    s.SetRoles(t.Context(), ada.Subject, []string{"admin"}),
		} {
			if !errors.Is(err, auth.ErrNotFound) {
				t.Errorf("%s of one that was deleted: got %v, want ErrNotFound", name, err)
			}
		}
		if err := s.SetPasswordHash(t.Context(), ada.Subject, "$x", ada.Version+1); err != nil {
			t.Errorf("SetPasswordHash: %v", err)
		}
		_, byName := s.User(t.Context(), "ada")
		_, bySubject := s.BySubject(t.Context(), ada.Subject)
		if !errors.Is(byName, auth.ErrNotFound) || !errors.Is(bySubject, auth.ErrNotFound) {
			t.Errorf("one that was deleted: got %v and %v, want ErrNotFound", byName, bySubject)
		}
		if err := s.Add(t.Context(), auth.User{Subject: ada.Subject, Name: "new"}); !errors.Is(err, sqlstore.ErrTaken) {
			t.Errorf("the subject again: got %v, want ErrTaken", err)
		}
		if err := s.Add(t.Context(), auth.User{Subject: "new", Name: "ada"}); err != nil {
			t.Errorf("the name again: got %v", err)
		}
		if got := b.one(t, "SELECT coalesce(name, 'none') || password_hash || roles || scopes FROM sallyport_users WHERE subject = 'sada'"); got != "none[][]" {
			t.Errorf("%q is left", got)
		}
	})
}

// Times come back to the microsecond, whatever their zone, and what is no time does
// too.
func TestTimes(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		store := newStore(t, b)
		zone := time.FixedZone("", -7*3600)
		for _, at := range []time.Time{
			{},
			time.Now(),
			time.Unix(0, 0),
			time.Unix(0, 999),
			time.Unix(-1, 999_999_999),
			time.Date(1, 1, 1, 0, 0, 0, 1000, time.UTC),
			time.Date(1582, 10, 10, 0, 0, 0, 0, time.UTC),
			time.Date(1969, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
			time.Date(2026, 3, 29, 2, 30, 0, 123_456_789, zone),
			time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		} {
			_, r, err := apikey.Mint(apikey.MintConfig{Subject: "s"})
			if err != nil {
				t.Fatal(err)
			}
			r.Created, r.Expires, r.Revoked, r.LastUsed = at, at, at, at
			if err := store.Keys().Add(t.Context(), r); err != nil {
				t.Errorf("%v: %v", at, err)
				continue
			}
			got, err := store.Keys().Key(t.Context(), r.ID)
			for _, one := range []time.Time{got.Created, got.Expires, got.Revoked, got.LastUsed} {
				if want := at.UTC().Truncate(time.Microsecond); err != nil || !one.Equal(want) || one.Location() != time.UTC || one.IsZero() != at.IsZero() {
					t.Errorf("%v: got %v, %v, want %v", at, one, err, want)
				}
			}
		}
		for _, at := range []time.Time{time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(1<<60, 0), time.Unix(-1<<60, 0)} {
			_, r, _ := apikey.Mint(apikey.MintConfig{Subject: "s"})
			r.Expires = at
			shows(t, "a key that expires out of range", store.Keys().Add(t.Context(), r))
			shows(t, "Revoke out of range", store.Keys().Revoke(t.Context(), "s", r.ID, at))
			shows(t, "Touch out of range", store.Keys().Touch(t.Context(), r.ID, at))
			f := oauth.RefreshFamily{Key: "k", SessionID: "s", Issuer: "i", Subject: "s", Ends: at, Rotation: oauth.Rotation{Current: "c", Expires: time.Now()}}
			shows(t, "a family that ends out of range", store.RefreshTokens().Create(t.Context(), f))
		}
		// A revocation may be for longer than a database can tell.
		for name, until := range map[string]time.Time{"far": time.Unix(1<<60, 0), "farthest": time.Unix(1<<62, 0)} {
			err := store.Revocations().Revoke(t.Context(), auth.Revocation{Issuer: "i", Subject: name, NotBefore: until, Until: until})
			if err != nil {
				t.Error(err)
			}
			if revoked, err := store.Revocations().Revoked(t.Context(), auth.TokenInfo{Issuer: "i", Subject: name, IssuedAt: time.Now()}); !revoked || err != nil {
				t.Errorf("until %v: got %v, %v, want true", until, revoked, err)
			}
		}
		if first, err := store.Replays().Use(t.Context(), "far", time.Unix(1<<60, 0)); !first || err != nil {
			t.Errorf("a use for ever: got %v, %v", first, err)
		}
		if first, err := store.Replays().Use(t.Context(), "far", time.Now().Add(time.Hour)); first || err != nil {
			t.Errorf("a use again: got %v, %v", first, err)
		}
	})
}

// What somebody else wrote into the tables is an error, and no account or key with
// less in it.
func TestWrongData(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		store := newStore(t, b)
		add(t, store, "ada")
		key := mint(t, store, "sada")
		for _, text := range []string{"", "x", "null1", "{}", `"` + canary + `"`, "[1]", `["a"`, `["a"]x`, canary, "[null, 1]"} {
			value := "'" + text + "'"
			for _, column := range []string{"roles", "scopes"} {
				b.exec(t, "UPDATE sallyport_users SET "+column+" = "+value)
				_, err := store.Users().User(t.Context(), "ada")
				shows(t, "an account with "+column+" "+text, err)
				b.exec(t, "UPDATE sallyport_users SET "+column+" = '[]'")
			}
			for _, column := range []string{"roles", "scopes", "networks"} {
				b.exec(t, "UPDATE sallyport_api_keys SET "+column+" = "+value)
				_, err := store.Keys().Key(t.Context(), key.ID)
				shows(t, "a key with "+column+" "+text, err)
				_, err = store.Keys().List(t.Context(), key.Subject)
				shows(t, "a list with "+column+" "+text, err)
				b.exec(t, "UPDATE sallyport_api_keys SET "+column+" = '[]'")
			}
		}
		b.exec(t, `UPDATE sallyport_api_keys SET networks = '["`+canary+`"]'`)
		_, err := store.Keys().Key(t.Context(), key.ID)
		shows(t, "a key with a network that is none", err)
	})
}

// What a caller does to a slice reaches nobody else, and grows into nothing.
func TestListsAreClipped(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		store := newStore(t, b)
		add(t, store, "ada")
		u, err := store.Users().User(t.Context(), "ada")
		if err != nil || cap(u.Roles) != len(u.Roles) || cap(u.Scopes) != len(u.Scopes) || !slices.Equal(u.Roles, []string{"editor"}) {
			t.Errorf("got %v of %d, %v", u.Roles, cap(u.Roles), err)
		}
	})
}
