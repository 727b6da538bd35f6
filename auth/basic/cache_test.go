package basic_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/basic"
	"github.com/sallyport/sallyport/internal/scope"
)

// A password that was right is not hashed again for 30 seconds, and then it is.
func TestCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hasher := newHasher(t)
		rec := new(recorder)
		h := wrap(newBasic(t, basic.Config{Passwords: hasher, Users: unchanging{newAccounts()}}), rec)
		for range 100 {
			if status, answer := respond(t, h, request(encode("ada", secret))); status != 200 || !strings.HasSuffix(answer, "user-1") {
				t.Fatalf("got %d %s", status, answer)
			}
			time.Sleep(time.Second)
		}
		// One of these is the wrong one's; what is refused is not remembered either.
		for range 3 {
			if status, _ := respond(t, h, request(encode("ada", "wrong"))); status != 401 {
				t.Errorf("a wrong password: got %d", status)
			}
		}
		if n := hasher.Stats().Done; n != 4+3 {
			t.Errorf("%d hashes in 100 seconds and for 3 wrong passwords, want 4 and 3", n)
		}
		var won int
		for _, e := range rec.All() {
			if e.Name == audit.LoginSuccess {
				won++
			}
		}
		if won != 4 {
			t.Errorf("%d events of a success, want one for each hash", won)
		}
	})
}

// unchanging accounts ask for no new hashes.
type unchanging struct{ *accounts }

func (unchanging) ReadOnly() {}

// What is remembered is one account's password, as the account is now: all of it is
// looked up for each request.
func TestCacheKnowsTheAccountAsItIs(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(u *auth.User)
		want int
		hash bool // whether it takes another hash
	}{
		{"the same", func(*auth.User) {}, 200, false},
		{"other roles", func(u *auth.User) { u.Roles = nil }, 200, false},
		{"CVE-2025-53826: disabled", func(u *auth.User) { u.Disabled = true }, 401, true},
		{"another password", func(u *auth.User) { u.PasswordHash = weak("another") }, 401, true},
		{"another hash of the password", func(u *auth.User) { u.PasswordHash = weak(secret) }, 200, true},
		{"another version", func(u *auth.User) { u.Version++ }, 200, true},
		{"no password any more", func(u *auth.User) { u.PasswordHash = "" }, 401, true},
		{"another account of that name", func(u *auth.User) { u.Subject = "user-9"; u.PasswordHash = weak("another") }, 401, true},
		{"no subject", func(u *auth.User) { u.Subject = "" }, 401, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			users, hasher := newAccounts(), newHasher(t)
			h := wrap(newBasic(t, basic.Config{Users: unchanging{users}, Passwords: hasher}), nil)
			if status, answer := respond(t, h, request(encode("ada", secret))); status != 200 {
				t.Fatal(answer)
			}
			u := users.users["ada"]
			tt.edit(&u)
			users.users["ada"] = u
			status, answer := respond(t, h, request(encode("ada", secret)))
			if status != tt.want || (hasher.Stats().Done == 2) != tt.hash {
				t.Errorf("got %d after %d hashes, want %d, and another hash: %v\n%s", status, hasher.Stats().Done, tt.want, tt.hash, answer)
			}
		})
	}
	t.Run("removed, and back", func(t *testing.T) {
		users := newAccounts()
		h := wrap(newBasic(t, basic.Config{Users: unchanging{users}}), nil)
		u := users.users["ada"]
		for _, want := range []int{200, 401, 200} {
			if status, _ := respond(t, h, request(encode("ada", secret))); status != want {
				t.Errorf("got %d, want %d", status, want)
			}
			if delete(users.users, "ada"); want == 401 {
				users.users["ada"] = u
			}
		}
	})
	t.Run("the store is down", func(t *testing.T) {
		users := newAccounts()
		h := wrap(newBasic(t, basic.Config{Users: unchanging{users}}), nil)
		_, _ = respond(t, h, request(encode("ada", secret)))
		users.lookup = func(context.Context, string) (auth.User, error) { return auth.User{}, errors.New("down") }
		if status, _ := respond(t, h, request(encode("ada", secret))); status != 503 {
			t.Errorf("got %d, want 503", status)
		}
	})
}

// CVE-2026-33496 and CVE-2026-71326: what one question was answered by answers no
// other, however name and password are divided.
func TestCVE_2026_33496_CacheKeysDoNotCollide(t *testing.T) {
	users := &accounts{users: map[string]auth.User{
		"a":  {Subject: "a", PasswordHash: weak("bc")},
		"ab": {Subject: "ab", PasswordHash: weak("x")},
		"":   {Subject: "abc", PasswordHash: weak("x")},
		"b":  {Subject: "a\x00b", PasswordHash: weak("x")},
	}}
	b := newBasic(t, basic.Config{Users: unchanging{users}})
	if _, err := login(b, encode("a", "bc")); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{{"ab", "c"}, {"ab", "bc"}, {"a", "b"}, {"a", "bcd"}, {"b", "bc"}, {"a", ""}} {
		if _, err := login(b, encode(c[0], c[1])); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%q: got %v, want ErrInvalid", c, err)
		}
	}
	// Nor does one of another Authenticator.
	other := newBasic(t, basic.Config{Users: unchanging{&accounts{users: map[string]auth.User{"a": {Subject: "a", PasswordHash: weak("x")}}}}})
	if _, err := login(other, encode("a", "bc")); !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("another realm: got %v, want ErrInvalid", err)
	}
}

// A client that is logged in goes on while others guess, and what it sends is no
// attempt. Who guesses from its address has ten guesses until it is asked like others.
func TestCacheGoesOnWhileTheAccountIsLocked(t *testing.T) {
	from := func(addr string, pw string) *http.Request {
		s, r := scope.For(request(encode("ada", pw)))
		s.Recorder, r.RemoteAddr = discard{}, addr+":1"
		return r
	}
	l := &lockout{limit: 3}
	users := unchanging{newAccounts()}
	b := newBasic(t, basic.Config{Users: users, Lockout: l})
	try := func(addr, pw string) bool {
		t.Helper()
		_, err := b.Authenticate(from(addr, pw))
		if err != nil && !errors.Is(err, auth.ErrInvalid) {
			t.Fatal(err)
		}
		return err == nil
	}
	if !try("192.0.2.1", secret) {
		t.Fatal("the first login is refused")
	}
	for range 100 {
		if try("203.0.113.9", "wrong") {
			t.Fatal("a wrong password is accepted")
		}
	}
	if try("203.0.113.9", secret) {
		t.Error("the right password is accepted from where the account is locked")
	}
	before := len(l.calls)
	for range 3 {
		if !try("192.0.2.1", secret) {
			t.Error("the client that is logged in is refused")
		}
	}
	if len(l.calls) != before {
		t.Error("it was counted as an attempt")
	}
	for n := range 10 {
		if try("192.0.2.1", "wrong") {
			t.Fatal("a wrong password is accepted")
		}
		if known := n < 9; try("192.0.2.1", secret) != known {
			t.Errorf("after %d wrong passwords from its address the client is known: %v", n+1, !known)
		}
	}
	if len(l.calls) != before+11 {
		t.Errorf("%d attempts were counted, want the 10 wrong ones and the one that was not known", len(l.calls)-before)
	}
}

func TestCacheConfig(t *testing.T) {
	for _, tt := range []struct {
		cfg  basic.CacheConfig
		want string // in the error
	}{
		{basic.CacheConfig{MaxAge: -1}, "MaxAge"},
		{basic.CacheConfig{MaxAge: time.Second - 1}, "MaxAge"},
		{basic.CacheConfig{MaxAge: 5*time.Minute + 1}, "MaxAge"},
		{basic.CacheConfig{MaxEntries: -1}, "MaxEntries"},
		{basic.CacheConfig{MaxEntries: 1_000_001}, "MaxEntries"},
		{basic.CacheConfig{MaxAge: time.Second, MaxEntries: 1}, ""},
		{basic.CacheConfig{MaxAge: 5 * time.Minute, MaxEntries: 1_000_000}, ""},
	} {
		_, err := basic.New(basic.Config{Users: newAccounts(), Passwords: newHasher(t), Cache: tt.cfg})
		if (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), "Config.Cache."+tt.want) {
			t.Errorf("%+v: got %v, want an error with %q", tt.cfg, err, tt.want)
		}
	}
	hasher := newHasher(t)
	b := newBasic(t, basic.Config{Users: unchanging{newAccounts()}, Passwords: hasher, Cache: basic.CacheConfig{Disabled: true}})
	for range 3 {
		if _, err := login(b, encode("ada", secret)); err != nil {
			t.Fatal(err)
		}
	}
	if n := hasher.Stats().Done; n != 3 {
		t.Errorf("without a cache: %d hashes for 3 requests", n)
	}
}

// Requests, changes and guesses at the same time, for the race detector; an answer is
// never that of another account.
func TestCacheConcurrentUse(t *testing.T) {
	users := &accounts{users: make(map[string]auth.User)}
	for i := range 8 {
		name := fmt.Sprint("user", i)
		users.users[name] = auth.User{Subject: "subject of " + name, PasswordHash: weak(name), Roles: []string{name}}
	}
	b := newBasic(t, basic.Config{Users: unchanging{users}, Cache: basic.CacheConfig{MaxEntries: 4}})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			name := fmt.Sprint("user", i)
			for n := range 50 {
				id, err := login(b, encode(name, name))
				if err != nil || id.Subject != "subject of "+name || id.Roles[0] != name {
					t.Errorf("got %v, %v", id, err)
					return
				}
				id.Roles[0] = "changed"
				if _, err := login(b, encode(name, fmt.Sprint("user", (i+1+n%7)%8))); !errors.Is(err, auth.ErrInvalid) {
					t.Errorf("with another's password: %v", err)
				}
			}
		})
	}
	wg.Wait()
}
