package basic_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/basic"
	"github.com/sallyport/sallyport/internal/scope"
)

// lockout locks an account after limit failures, whatever the address.
type lockout struct {
	limit int
	err   error

	mu       sync.Mutex
	failures map[string]int
	calls    []string // "subject address"
	events   []string // what was told of the attempts
	before   func()   // called by Attempt
}

func (l *lockout) Attempt(_ context.Context, account string, addr netip.Addr) (auth.Attempt, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, account+" "+addr.String())
	if l.before != nil {
		l.before()
	}
	if l.err != nil {
		return nil, l.err
	}
	if l.failures == nil {
		l.failures = make(map[string]int)
	}
	l.failures[account]++
	return &attempt{l, account, l.limit > 0 && l.failures[account] > l.limit}, nil
}

type attempt struct {
	l       *lockout
	account string
	locked  bool
}

func (a *attempt) Locked() bool { return a.locked }

func (a *attempt) Succeeded() {
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	a.l.failures[a.account] = 0
	a.l.events = append(a.l.events, "succeeded "+a.account)
}

func (a *attempt) Undecided() {
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	a.l.failures[a.account]--
	a.l.events = append(a.l.events, "undecided "+a.account)
}

// An attempt is counted before the password is looked at, once, on the account
// and the client's address.
func TestLockoutCountsBeforeTheCheck(t *testing.T) {
	hasher := newHasher(t)
	var computed []uint64
	guard := &lockout{before: func() { computed = append(computed, hasher.Stats().Done) }}
	b := newBasic(t, basic.Config{Passwords: hasher, Lockout: guard})
	r := request(encode("ada", "wrong"))
	r.RemoteAddr = "[::ffff:192.0.2.1]:1234"
	_, _ = b.Authenticate(r)
	s, r := scope.For(request(encode("ada", secret)))
	s.Client, s.Recorder = netip.MustParseAddr("2001:db8::1"), discard{}
	_, _ = b.Authenticate(r) // and upgrades the hash
	_, _ = login(b, encode("eve", secret))
	if got, want := fmt.Sprint(guard.calls), "[user-1 192.0.2.1 user-1 2001:db8::1 name:eve 192.0.2.1]"; got != want {
		t.Errorf("got attempts %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(computed), "[0 1 3]"; got != want {
		t.Errorf("hashes computed before each attempt: got %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(guard.events), "[succeeded user-1]"; got != want {
		t.Errorf("the lockout was told %s, want %s", got, want)
	}
}

// Vault (CVE-2025-6004), OpenBao (CVE-2025-54998) and Authelia (CVE-2025-24806)
// counted on the name as it was written, so that another spelling of the same
// account had attempts left.
func TestCVE_2025_54998_LockoutCountsOnTheAccount(t *testing.T) {
	guard := &lockout{limit: 3}
	store := newAccounts()
	users := store.users
	store.lookup = func(_ context.Context, name string) (auth.User, error) { // a forgiving store
		return users[strings.ToLower(strings.TrimSpace(name))], nil
	}
	b := newBasic(t, basic.Config{Users: store, Lockout: guard})
	for _, name := range []string{"ada", "ADA", " ada "} {
		_, _ = login(b, encode(name, "wrong"))
	}
	if id, err := login(b, encode("Ada", secret)); !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("got %v, %v, want ErrInvalid: the account is locked", id, err)
	}
}

// In Vikunja (CVE-2026-35597) the lockout never took effect. Locked means that
// the right password is refused too, and that this is not a success.
func TestCVE_2026_35597_LockedRefusesTheRightPassword(t *testing.T) {
	guard := &lockout{limit: 5}
	store := newAccounts()
	store.set = func(string, string, int64) error {
		t.Error("the hash of a locked account was replaced")
		return nil
	}
	rec := new(recorder)
	h := wrap(newBasic(t, basic.Config{Users: store, Lockout: guard}), rec)
	for range 5 {
		respond(t, h, request(encode("ada", "wrong")))
	}
	for range 2 {
		if status, _ := respond(t, h, request(encode("ada", secret))); status != 401 {
			t.Errorf("got %d, want 401", status)
		}
	}
	for _, e := range rec.All() {
		if e.Name != audit.LoginFail {
			t.Errorf("got event %s, want only authn_login_fail", e.Name)
		}
	}
	if len(guard.events) != 0 {
		t.Errorf("the lockout was told %v, want nothing", guard.events)
	}
}

// Guesses made at the same time all count (CVE-2025-6015, CVE-2025-55003).
func TestCVE_2025_55003_ConcurrentGuessesCount(t *testing.T) {
	const limit, guesses = 5, 100
	guard := &lockout{limit: limit}
	var decided atomic.Int32
	rec := new(recorder)
	h := wrap(newBasic(t, basic.Config{Lockout: guard}), rec)
	var wg sync.WaitGroup
	for range guesses {
		wg.Go(func() {
			status, _ := respond(t, h, request(encode("ada", "wrong")))
			if status == 401 {
				decided.Add(1)
			}
		})
	}
	wg.Wait()
	if decided.Load() != guesses {
		t.Fatalf("%d of %d guesses were answered with 401", decided.Load(), guesses)
	}
	var looked int
	for _, e := range rec.All() {
		if strings.Contains(e.Reason, "wrong password") {
			looked++
		}
	}
	if looked != limit {
		t.Errorf("%d guesses were looked at, want %d", looked, limit)
	}
}
