package ratelimit_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/apikey"
	"github.com/sallyport/sallyport/auth/basic"
	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/auth/oauth"
	"github.com/sallyport/sallyport/auth/password"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/ratelimit"
)

const right = "correct: horse"

// cheapHash is a hash of right that costs next to nothing.
var cheapHash = sync.OnceValue(func() string {
	salt := []byte(rand.Text()[:16])
	b64 := base64.RawStdEncoding.EncodeToString
	return "$argon2id$v=19$m=8,t=1,p=1$" + b64(salt) + "$" + b64(argon2.IDKey([]byte(right), salt, 1, 8, 1, 32))
})

// A service is one whose doors share a Lockout, and whose password checks count.
type service struct {
	http.Handler
	hasher *password.Hasher
	rec    *recorder
	key    string        // of ada's, for the door of API keys
	record apikey.Record // of it, which is not in keys yet
	keys   *apikey.MemoryStore
}

// forgiving is a store that takes names for equal that differ in case or blanks, as
// many do.
type forgiving struct{ *auth.MemoryUsers }

func (f forgiving) User(ctx context.Context, name string) (auth.User, error) {
	return f.MemoryUsers.User(ctx, strings.ToLower(strings.TrimSpace(name)))
}

func (forgiving) ReadOnly() {}

func newService(t testing.TB, lockout auth.Lockout) *service {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	users, err := auth.NewMemoryUsers(
		auth.User{Subject: "user-1", Name: "ada", PasswordHash: cheapHash()},
		auth.User{Subject: "user-2", Name: "bob", PasswordHash: cheapHash()},
	)
	must(err)
	hasher, err := password.New(password.Config{Reference: cheapHash(), MaxQueue: 10_000, MaxWait: 10 * time.Minute})
	must(err)
	logger := slog.New(slog.DiscardHandler)
	b, err := basic.New(basic.Config{Users: forgiving{users}, Passwords: hasher, Lockout: lockout, Logger: logger})
	must(err)
	signing, err := jwk.Generate("EdDSA")
	must(err)
	ring, err := jwk.NewRing(jwk.RingConfig{Active: signing})
	must(err)
	clients, err := oauth.NewMemoryClients(oauth.Client{ID: "app", Public: true, Grants: []oauth.Grant{oauth.Password}})
	must(err)
	issuer, err := oauth.NewServer(oauth.Config{
		Issuer: "https://api.example.com", Audience: "api", Keys: ring, Users: forgiving{users}, Passwords: hasher, Lockout: lockout,
		Clients: clients, DefaultClient: "app", Grants: []oauth.Grant{oauth.Password}, Logger: logger,
	})
	must(err)
	plain, record, err := apikey.Mint(apikey.MintConfig{Subject: "user-1"})
	must(err)
	records, err := apikey.NewMemoryStore()
	must(err)
	keys, err := apikey.New(apikey.Config{Store: records, Lockout: lockout, Logger: logger})
	must(err)

	s := &service{hasher: hasher, rec: new(recorder), key: plain, record: record, keys: records}
	mux := http.NewServeMux()
	mux.Handle("GET /basic", auth.Require(b)(ok))
	mux.Handle("GET /key", auth.Require(keys)(ok))
	mux.Handle("POST /token", issuer.TokenHandler())
	s.Handler = httperr.Recover(httperr.Config{Audit: s.rec, Logger: logger})(mux)
	return s
}

func (s *service) do(r *http.Request, addr string) *httptest.ResponseRecorder {
	r.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(addr), 1234).String()
	return serve(s, r)
}

func (s *service) basic(name, pw, addr string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "https://api.example.com/basic", nil)
	r.SetBasicAuth(name, pw)
	return s.do(r, addr)
}

func (s *service) token(name, pw, addr string) *httptest.ResponseRecorder {
	form := url.Values{"grant_type": {"password"}, "username": {name}, "password": {pw}}
	r := httptest.NewRequest(http.MethodPost, "https://api.example.com/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return s.do(r, addr)
}

func (s *service) apikey(key, addr string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "https://api.example.com/key", nil)
	r.Header.Set("X-API-Key", key)
	return s.do(r, addr)
}

// checks is how many passwords were checked.
func (s *service) checks() int { return int(s.hasher.Stats().Done) } //nolint:gosec // a few thousand

const (
	home = "192.0.2.1"
	evil = "203.0.113.9"
)

func sprayed(i int) string { return "10." + strconv.Itoa(i/256) + "." + strconv.Itoa(i%256) + ".7" }

// 10,000 guesses at one account within a minute, from all addresses of one network:
// 10 passwords are checked, and the owner gets in from elsewhere.
func TestASVS_6_3_1_GuessesAtOneAccount(t *testing.T) {
	for _, name := range []string{"ada", "nobody"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t, newLockout(t, ratelimit.LockoutConfig{}))
				if w := s.basic("ada", right, home); w.Code != 204 {
					t.Fatalf("the owner gets %d", w.Code)
				}
				before := s.checks()
				codes := make(map[int]int)
				for i := range 10_000 {
					w := s.basic(name, "guess "+strconv.Itoa(i), "203.0.113."+strconv.Itoa(i%256))
					codes[w.Code]++
					if w.Code == 429 && w.Header().Get("Retry-After") == "" {
						t.Fatal("a 429 has no Retry-After")
					}
					time.Sleep(5990 * time.Microsecond)
				}
				checks := s.checks() - before
				t.Logf("%d passwords were checked; answers: %v", checks, codes)
				if checks != 10 || codes[401] != 10 || codes[429] != 9990 {
					t.Errorf("%d passwords were checked, want 10; answers: %v", checks, codes)
				}
				if w := s.basic("ada", right, evil); (w.Code == 204) != (name != "ada") {
					t.Errorf("the right password from the locked network: got %d", w.Code)
				}
				if w := s.basic("ada", right, home); w.Code != 204 {
					t.Errorf("the owner from a network it has used gets %d, want 204", w.Code)
				}
				if w := s.token("ada", right, "198.51.100.1"); w.Code != 200 {
					t.Errorf("the owner from a new network gets %d, want 200", w.Code)
				}
			})
		})
	}
}

// A whole day of guesses at one account from one network: after the first 10, one for
// each back-off.
func TestASVS_6_3_1_GuessesForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, newLockout(t, ratelimit.LockoutConfig{}))
		for start := time.Now(); time.Since(start) < 24*time.Hour; time.Sleep(10 * time.Second) {
			s.basic("ada", "wrong", evil)
		}
		t.Logf("%d passwords were checked", s.checks())
		if got := s.checks(); got > 110 {
			t.Errorf("%d passwords were checked, want 10 and no more than 100 for back-offs", got)
		}
	})
}

// 10,000 accounts from one address: 100 passwords are checked.
func TestASVS_6_3_1_ManyAccountsFromOneAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, newLockout(t, ratelimit.LockoutConfig{}))
		for i := range 10_000 {
			s.basic("user"+strconv.Itoa(i), "Summer2026!", evil)
		}
		t.Logf("%d passwords were checked", s.checks())
		if got := s.checks(); got != 100 {
			t.Errorf("%d passwords were checked, want 100", got)
		}
		if w := s.basic("ada", right, evil); w.Code != 429 {
			t.Errorf("the right password from that address: got %d, want 429", w.Code)
		}
		if w := s.basic("ada", right, "203.0.113.10"); w.Code != 204 {
			t.Errorf("a neighbour of that address gets %d, want 204", w.Code)
		}
	})
}

// Spraying from 1,000 addresses, each in a network of its own.
func TestASVS_6_3_1_SprayingFromManyAddresses(t *testing.T) {
	t.Run("at one account", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t, newLockout(t, ratelimit.LockoutConfig{}))
			s.basic("ada", right, home)
			before := s.checks()
			for i := range 10_000 {
				s.basic("ada", "guess "+strconv.Itoa(i), sprayed(i%1000))
			}
			checks := s.checks() - before
			t.Logf("%d passwords were checked", checks)
			if checks != 100 {
				t.Errorf("%d passwords were checked, want 100", checks)
			}
			if w := s.basic("ada", right, sprayed(1)); w.Code == 204 {
				t.Error("the right password got in from a network that the account does not know")
			}
			time.Sleep(31 * time.Second) // what the door remembers
			if w := s.basic("ada", right, home); w.Code != 204 {
				t.Errorf("the owner from a network it has used gets %d, want 204", w.Code)
			}
			if w := s.token("ada", right, "192.0.2.200"); w.Code != 200 {
				t.Errorf("the owner from another address of that network gets %d, want 200", w.Code)
			}
		})
	})
	t.Run("at one account in many spellings", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t, newLockout(t, ratelimit.LockoutConfig{}))
			s.basic("ada", right, home)
			s.rec.Take()
			for i := range 10_000 {
				s.basic(strings.Repeat(" ", i%100)+"ada"+strings.Repeat(" ", i/100), "guess", sprayed(i%1000))
			}
			looked := 0
			for _, e := range s.rec.Take() {
				if strings.Contains(e.Reason, "wrong password") {
					looked++
				}
			}
			t.Logf("%d guesses had a chance, %d hashes", looked, s.checks()-1)
			if looked != 100 || s.checks()-1 > 10_000 {
				t.Errorf("%d guesses had a chance with %d hashes, want 100 with up to 10,000", looked, s.checks()-1)
			}
		})
	})
	t.Run("at many accounts", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t, newLockout(t, ratelimit.LockoutConfig{Network: ratelimit.LockoutLimit{Failures: 5}}))
			for i := range 10_000 {
				s.basic("user"+strconv.Itoa(i), "Summer2026!", sprayed(i%1000))
			}
			t.Logf("%d passwords were checked", s.checks())
			if got := s.checks(); got != 5*1000 {
				t.Errorf("%d passwords were checked, want the limit of each network, 5000 together", got)
			}
		})
	})
}

// OWASP ASVS 5.0, 6.1.1: a lockout is no weapon against an account. For a day somebody
// guesses at one from 1,000 networks, and the owner gets in by every door from those that
// the account has been used from.
func TestASVS_6_1_1_NoMaliciousLockout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, newLockout(t, ratelimit.LockoutConfig{}))
		homes := []string{home, "2001:db8:1::1", "192.0.3.1"}
		for _, one := range homes {
			if w := s.basic("ada", right, one); w.Code != 204 {
				t.Fatalf("the owner gets %d at first", w.Code)
			}
		}
		for hour := range 24 {
			for i := range 1000 {
				s.basic("ada", "guess "+strconv.Itoa(i), sprayed(i))
				time.Sleep(3 * time.Second)
			}
			if w := s.basic("ada", right, "198.51.100.9"); w.Code == 204 {
				t.Errorf("after %d hours the account is not locked for strangers", hour)
			}
			for _, one := range homes {
				if w := s.basic("ada", right, one); w.Code != 204 {
					t.Errorf("after %d hours Basic gives the owner %d from %s, want 204", hour, w.Code, one)
				}
				if w := s.token("ada", right, one); w.Code != 200 {
					t.Errorf("after %d hours the token endpoint gives the owner %d from %s, want 200", hour, w.Code, one)
				}
				// Nor does it cost the owner, who may mistype meanwhile.
				if w := s.basic("ada", "a slip", one); w.Code != 401 {
					t.Errorf("after %d hours a slip of the owner gets %d from %s, want 401", hour, w.Code, one)
				}
			}
			time.Sleep(10 * time.Minute)
		}
	})
}

// Basic, the token endpoint and API keys share the memory: what fails at one counts at
// the others (ASVS 5.0, 6.1.3 and 6.3.4).
func TestASVS_6_3_4_DoorsShareALockout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, newLockout(t, ratelimit.LockoutConfig{Network: ratelimit.LockoutLimit{Failures: 20}}))
		for range 5 {
			if got := s.basic("ada", "wrong", evil).Code; got != 401 {
				t.Fatalf("Basic: got %d", got)
			}
			if got := s.token("ada", "wrong", evil).Code; got != 400 {
				t.Fatalf("the token endpoint: got %d", got)
			}
		}
		w := s.token("ada", right, evil)
		if w.Code != 429 || w.Header().Get("Retry-After") != "60" || !strings.Contains(w.Body.String(), `"error":"temporarily_unavailable"`) || s.checks() != 10 {
			t.Errorf("the token endpoint after 10: got %d %v %s, want 429 for 60 s", w.Code, w.Header(), w.Body)
		}
		w = s.basic("ada", right, evil)
		if w.Code != 429 || w.Header().Get("Retry-After") != "60" || !strings.Contains(w.Body.String(), `"code":"too_many_attempts"`) {
			t.Errorf("Basic after 10: got %d %v %s, want 429 for 60 s", w.Code, w.Header(), w.Body)
		}
		for range 10 {
			if got := s.apikey(s.key, evil).Code; got != 401 {
				t.Fatalf("an unknown key: got %d", got)
			}
		}
		if err := s.keys.Add(t.Context(), s.record); err != nil {
			t.Fatal(err)
		}
		if w := s.apikey(s.key, evil); w.Code != 429 || w.Header().Get("Retry-After") != "60" {
			t.Errorf("the right key after 10: got %d %v, want 429 for 60 s", w.Code, w.Header())
		}
		// 20 failed in the network, so everything there has to wait.
		for what, code := range map[string]int{
			"Basic":              s.basic("bob", right, evil).Code,
			"the token endpoint": s.token("bob", right, evil).Code,
		} {
			if code != 429 {
				t.Errorf("%s for another account after 20: got %d, want 429", what, code)
			}
		}
		if got := s.apikey(s.key, home).Code; got != 204 {
			t.Errorf("the right key from elsewhere: got %d, want 204", got)
		}
	})
}

// In Vikunja (CVE-2026-35597) the lockout never took effect: here the guess after the
// last one is refused although its password is right, until the wait is over.
func TestCVE_2026_35597_TheRightPasswordIsRefusedWhileLocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, newLockout(t, ratelimit.LockoutConfig{}))
		for range 10 {
			s.basic("ada", "wrong", evil)
		}
		if got := s.basic("ada", right, evil).Code; got != 429 {
			t.Errorf("guess 11 with the right password: got %d, want 429", got)
		}
		time.Sleep(time.Minute)
		if got := s.basic("ada", right, evil).Code; got != 204 {
			t.Errorf("a minute later: got %d, want 204", got)
		}
		for range 9 { // the success has reset the count
			s.token("ada", "wrong", evil)
		}
		if got := s.token("ada", right, evil).Code; got != 200 {
			t.Errorf("after 9 more: got %d, want 200", got)
		}
	})
}

// A password that is remembered for one client is not looked at for the guesses of
// another, which would be uncounted.
func TestRememberedPasswordsAreNoOracle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, newLockout(t, ratelimit.LockoutConfig{}))
		s.basic("ada", right, home)
		for range 20 {
			s.basic("ada", "wrong", evil)
		}
		if got := s.basic("ada", right, evil).Code; got != 429 {
			t.Errorf("the right password from a locked network: got %d, want 429", got)
		}
		if got := s.basic("ada", right, home).Code; got != 204 {
			t.Errorf("the client that is logged in: got %d, want 204", got)
		}
	})
}

// Vault, OpenBao and Authelia (CVE-2025-6004, CVE-2025-54998, CVE-2025-24806) counted
// on the name as it was written.
func TestCVE_2025_54998_SpellingsShareALock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, newLockout(t, ratelimit.LockoutConfig{}))
		for i, name := range []string{"ada", "Ada", "ADA", " ada", "ada ", "aDa", "adA", "ADa", "aDA", "  ada"} {
			if got := s.basic(name, "wrong", evil).Code; got != 401 {
				t.Fatalf("guess %d: got %d, want 401", i+1, got)
			}
		}
		// Silent: as if the password were wrong, with the work of a check.
		for _, name := range []string{"ada", "AdA"} {
			before := s.checks()
			if got := s.basic(name, right, evil); got.Code != 401 || s.checks() != before+1 || got.Header().Get("Retry-After") != "" {
				t.Errorf("%q with the right password: got %d and %d hashes, want 401 after one", name, got.Code, s.checks()-before)
			}
		}
		// And another spelling of nobody's name behaves as one of somebody's.
		for _, name := range []string{"eve", "EVE"} {
			if got := s.basic(name, "wrong", evil).Code; got != 401 {
				t.Errorf("%q: got %d, want 401", name, got)
			}
		}
	})
}

// Guesses at the same time are counted before they are checked (CVE-2025-6015,
// CVE-2025-55003).
func TestCVE_2025_6015_GuessesAtTheSameTime(t *testing.T) {
	s := newService(t, newLockout(t, ratelimit.LockoutConfig{}))
	var refused atomic.Int64
	var wg sync.WaitGroup
	start := make(chan struct{})
	for range 1000 {
		wg.Go(func() {
			<-start
			if s.basic("ada", "wrong", evil).Code == 429 {
				refused.Add(1)
			}
		})
	}
	close(start)
	wg.Wait()
	if s.checks() != 10 || refused.Load() != 990 {
		t.Errorf("%d of 1000 passwords were checked, and %d refused, want 10 and 990", s.checks(), refused.Load())
	}
}

// Nothing in the answers tells an account from a name that nobody has, nor a locked
// account from a wrong password: not while guesses go on from one network, nor from
// many, nor in other spellings, nor in a network that the account knows (ASVS 5.0,
// 6.3.8).
func TestASVS_6_3_8_AnswersTellNothingOfTheAccount(t *testing.T) {
	type step struct{ prefix, addr string }
	var steps []step
	for range 12 { // one network
		steps = append(steps, step{"", evil})
	}
	for range 5 { // another spelling there, silently locked for an account
		steps = append(steps, step{" ", evil})
	}
	for i := range 150 { // many networks
		steps = append(steps, step{"", sprayed(i)})
	}
	for range 12 { // the network of the owner, and of others
		steps = append(steps, step{"", home}, step{"  ", home})
	}
	for range 80 {
		steps = append(steps, step{"   ", "198.51.100.3"})
	}
	synctest.Test(t, func(t *testing.T) {
		answers := func(name string) (list []string) {
			s := newService(t, newLockout(t, ratelimit.LockoutConfig{}))
			s.basic("ada", right, home)
			s.basic("bob", right, home)
			for _, st := range steps {
				for _, w := range []*httptest.ResponseRecorder{s.basic(st.prefix+name, "wrong", st.addr), s.token(st.prefix+name, "wrong", st.addr)} {
					before := s.checks()
					w.Header().Del("X-Request-Id")
					var body map[string]any
					if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
						t.Fatal(err)
					}
					delete(body, "request_id")
					delete(body, "instance")
					list = append(list, fmt.Sprint(st, w.Code, w.Header(), body, s.checks()-before))
				}
				list = append(list, fmt.Sprint(s.checks()))
				time.Sleep(100 * time.Millisecond)
			}
			return list
		}
		known, unknown := answers("ada"), answers("eve")
		for i := range known {
			if known[i] != unknown[i] {
				t.Fatalf("answer %d:\n  of an account %s\n  of nobody     %s", i, known[i], unknown[i])
			}
		}
	})
}

// What becomes locked is one event, whoever asks how often. It names the account by
// its subject and no name as it was sent, for people type passwords into that field.
func TestLockoutEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, newLockout(t, ratelimit.LockoutConfig{}))
		locks := func() (list []string) {
			for _, e := range s.rec.Take() {
				if e.Name == audit.LoginLock {
					list = append(list, e.Level.String()+" "+e.Subject+e.ClientID+" "+e.Addr.String()+" "+e.Reason)
				}
			}
			return list
		}
		for range 10 {
			s.basic("ada", "wrong", evil)
		}
		if got := locks(); len(got) != 0 {
			t.Errorf("before anything is refused: got %q", got)
		}
		for range 100 {
			s.basic("ada", "wrong", evil)
			time.Sleep(10 * time.Second)
		}
		want := "WARN  203.0.113.9 lockout login locks a name in a network, after 10 failures in 12h0m0s"
		if got := locks(); len(got) != 1 || got[0] != want {
			t.Errorf("got %q, want %q", got, want)
		}
		for range 11 {
			s.basic("hunter2", "ada", home)
		}
		want = "WARN  192.0.2.1 lockout login locks a name in a network, after 10 failures in 12h0m0s"
		if got := locks(); len(got) != 1 || got[0] != want {
			t.Errorf("got %q, want %q", got, want)
		}
		for range 11 {
			s.apikey(s.key, home)
		}
		want = "WARN " + s.record.ID + " 192.0.2.1 lockout login locks a name in a network, after 10 failures in 12h0m0s"
		if got := locks(); len(got) != 1 || got[0] != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
