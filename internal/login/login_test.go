package login_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/password"
	"github.com/sallyport/sallyport/internal/login"
	"github.com/sallyport/sallyport/ratelimit"
)

// asked is a store that counts how often it is asked for each name.
type asked struct {
	auth.Users
	names map[string]int
}

func (a asked) User(ctx context.Context, name string) (auth.User, error) {
	a.names[name]++
	return a.Users.User(ctx, name)
}

const right = "correct horse battery staple"

func newChecker(t *testing.T, memory *login.Memory) (c login.Checker, store asked) {
	t.Helper()
	hasher, err := password.New(password.Config{})
	if err != nil {
		t.Fatal(err)
	}
	hash, err := hasher.Hash(t.Context(), right)
	if err != nil {
		t.Fatal(err)
	}
	users, err := auth.NewMemoryUsers(auth.User{Subject: "user-1", Name: "ada", PasswordHash: hash})
	if err != nil {
		t.Fatal(err)
	}
	lockout, err := ratelimit.NewLockout(ratelimit.LockoutConfig{Pair: ratelimit.LockoutLimit{Failures: 2, Window: time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	store = asked{users, make(map[string]int)}
	return login.Checker{Users: store, Passwords: hasher, Lockout: lockout, Memory: memory}, store
}

func check(t *testing.T, c *login.Checker, name, pw, addr string) login.Verdict {
	t.Helper()
	r := httptest.NewRequest("GET", "https://api.example/", strings.NewReader(""))
	r.RemoteAddr = addr + ":1234"
	v, err := c.Check(r, name, pw)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// How long a store takes depends on whether there is such an account. So it is not
// asked before the client is told to wait (ASVS 5.0, 6.3.8).
func TestASVS_6_3_8_ToldBeforeTheStoreIsAsked(t *testing.T) {
	for name, memory := range map[string]*login.Memory{"without a memory": nil, "with one": login.NewMemory(time.Minute, 100)} {
		t.Run(name, func(t *testing.T) {
			c, store := newChecker(t, memory)
			for _, name := range []string{"ada", "nobody"} {
				for i := range 5 {
					v := check(t, &c, name, "wrong", "203.0.113.9")
					if told := v.Wait > 0; told != (i >= 2) || v.Refused == "" {
						t.Errorf("%s: guess %d: got %+v, want it told from the third on", name, i+1, v)
					}
				}
				if n := store.names[name]; n != 2 {
					t.Errorf("the store was asked %d times for %s, want 2", n, name)
				}
			}
		})
	}
}

// Who has just logged in gets in while others at his address have locked the name, and
// whoever has another name or address is told without the store.
func TestRememberedClientIsNotTold(t *testing.T) {
	c, store := newChecker(t, login.NewMemory(time.Minute, 100))
	const home, near = "192.0.2.1", "192.0.2.2"
	if v := check(t, &c, "ada", right, home); v.Refused != "" {
		t.Fatalf("before: got %+v", v)
	}
	for range 3 {
		check(t, &c, "ada", "wrong", near)
	}
	if v := check(t, &c, "ada", right, home); v.Refused != "" || !v.Known {
		t.Errorf("the client that has just logged in: got %+v, want it known", v)
	}
	before := store.names["ada"]
	if v := check(t, &c, "ada", right, near); v.Wait == 0 {
		t.Errorf("another address: got %+v, want it told to wait", v)
	}
	if store.names["ada"] != before {
		t.Error("the store was asked for another address")
	}
	if v := check(t, &c, "ada", "wrong", home); v.Wait == 0 {
		t.Errorf("a wrong password from the known address: got %+v, want it told to wait", v)
	}
}
