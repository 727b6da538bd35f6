package bearer_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/bearer"
	"github.com/sallyport/sallyport/auth/jwk"
)

// countingSet counts the lookups, and can be changed.
type countingSet struct {
	mu      sync.Mutex
	keys    map[string]jwk.Key
	err     error
	lookups atomic.Int64
}

func newCountingSet(keys ...jwk.Key) *countingSet {
	s := &countingSet{keys: make(map[string]jwk.Key)}
	for _, k := range keys {
		s.keys[k.ID()] = k
	}
	return s
}

func (s *countingSet) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *countingSet) Lookup(_ context.Context, id, alg string) (jwk.Key, error) {
	s.lookups.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return jwk.Key{}, s.err
	}
	k, ok := s.keys[id]
	if !ok || k.Algorithm() != alg {
		return jwk.Key{}, jwk.ErrUnknownKey
	}
	return k, nil
}

func known(t testing.TB, a *bearer.Authenticator, want int) {
	t.Helper()
	if n, _ := bearer.Known(a); n != want {
		t.Errorf("%d tokens are kept, want %d", n, want)
	}
}

func TestAVerifiedTokenIsNotVerifiedAgain(t *testing.T) {
	token := mint(t, hsKey(), goodClaims().with("roles", []string{"editor"}, "amr", []string{"pwd", "otp"}, "acr", "2"))
	a := newAuthenticator(t)
	first := accept(t, a, token)
	known(t, a, 1)
	for range 3 {
		again := accept(t, a, token)
		if again == first || fmt.Sprintf("%+v", again) != fmt.Sprintf("%+v", first) {
			t.Errorf("got %+v, want a copy of %+v", again, first)
		}
		if c, ok := auth.Claim[string](again, "jti"); !ok || c != "t-1" {
			t.Errorf("the claims are lost: %q", c)
		}
	}
	known(t, a, 1)
	// What is not to be kept is not.
	a = newAuthenticator(t, func(c *bearer.Config) { c.Cache.Disabled = true })
	accept(t, a, token)
	known(t, a, 0)
}

// Each thing that can end a token ends one that is kept.
func TestWhatIsKeptIsAskedEachTime(t *testing.T) {
	now := func(c claims) claims { return c.with("exp", time.Now().Unix()+600, "iat", time.Now().Unix()) }
	t.Run("expiry", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := newAuthenticator(t, func(c *bearer.Config) { c.Cache.MaxAge = time.Hour })
			token := mint(t, hsKey(), now(goodClaims()))
			accept(t, a, token)
			time.Sleep(629 * time.Second) // exp and the leeway, less one
			accept(t, a, token)
			time.Sleep(time.Second)
			refuse(t, a, token, "expired")
			known(t, a, 0)
		})
	})
	t.Run("age", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			set := newCountingSet(hsKey())
			a := newAuthenticator(t, func(c *bearer.Config) { c.Keys, c.Cache.MaxAge = set, time.Minute })
			token := mint(t, hsKey(), now(goodClaims()))
			accept(t, a, token)
			for range 5 {
				if err := bearer.StillGood(a, token, time.Now().Add(time.Minute-1)); err != nil {
					t.Errorf("got %v within the age", err)
				}
				if err := bearer.StillGood(a, token, time.Now().Add(time.Minute)); err == nil || !strings.Contains(err.Error(), "verify again") {
					t.Errorf("got %v at the age, want it verified again", err)
				}
				time.Sleep(time.Minute)
				accept(t, a, token)
				known(t, a, 1)
			}
		})
	})
	t.Run("key gone", func(t *testing.T) {
		set := newCountingSet(hsKey())
		a := newAuthenticator(t, func(c *bearer.Config) { c.Keys = set })
		token := mint(t, hsKey(), goodClaims())
		accept(t, a, token)
		set.change(func() { clear(set.keys) })
		refuse(t, a, token, "no key")
		known(t, a, 0)
	})
	t.Run("key replaced by another of its id", func(t *testing.T) {
		other, err := jwk.NewKey(hsKey().ID(), "HS256", []byte(rand.Text()+rand.Text()))
		if err != nil {
			t.Fatal(err)
		}
		set := newCountingSet(hsKey())
		a := newAuthenticator(t, func(c *bearer.Config) { c.Keys = set })
		token := mint(t, hsKey(), goodClaims())
		accept(t, a, token)
		set.change(func() { set.keys[other.ID()] = other })
		refuse(t, a, token, "signature")
		known(t, a, 0)
		set.change(func() { set.keys[other.ID()] = hsKey() })
		accept(t, a, token)
	})
	t.Run("keys out of reach", func(t *testing.T) {
		set := newCountingSet(hsKey())
		a := newAuthenticator(t, func(c *bearer.Config) { c.Keys = set })
		token := mint(t, hsKey(), goodClaims())
		accept(t, a, token)
		set.change(func() { set.err = auth.ErrInvalid })
		if id, err := a.Authenticate(request(token)); id != nil || err == nil || errors.Is(err, auth.ErrInvalid) {
			t.Errorf("got %v, %v, want it undecided", id, err)
		}
		set.change(func() { set.err = nil })
		accept(t, a, token)
	})
	t.Run("revoked", func(t *testing.T) {
		var revoked, broken atomic.Bool
		var asked atomic.Int64
		a := newAuthenticator(t, func(c *bearer.Config) {
			c.Revoked = func(_ context.Context, tok bearer.Token) (bool, error) {
				asked.Add(1)
				if tok.ID != "t-1" || tok.SessionID != "s-1" || tok.Subject != "alice" || tok.Issuer != testIssuer || tok.IssuedAt.IsZero() {
					t.Errorf("asked about %+v", tok)
				}
				if broken.Load() {
					return false, errors.New("out of reach")
				}
				return revoked.Load(), nil
			}
		})
		token := mint(t, hsKey(), goodClaims().with("sid", "s-1"))
		accept(t, a, token)
		accept(t, a, token)
		broken.Store(true)
		if id, err := a.Authenticate(request(token)); id != nil || err == nil || errors.Is(err, auth.ErrInvalid) {
			t.Errorf("got %v, %v, want it undecided", id, err)
		}
		broken.Store(false)
		revoked.Store(true)
		refuse(t, a, token, "revoked")
		refuse(t, a, token, "revoked")
		if asked.Load() != 5 {
			t.Errorf("asked %d times, want 5", asked.Load())
		}
	})
}

// Nothing that is only like a token that is kept is taken for it.
func TestCacheComparesWholeTokens(t *testing.T) {
	a := newAuthenticator(t)
	token := mint(t, hsKey(), goodClaims())
	accept(t, a, token)
	parts := strings.Split(token, ".")
	for name, other := range map[string]string{
		"last letter":     token[:len(token)-4] + "AAAA",
		"cut":             token[:len(token)-1],
		"longer":          token + "A",
		"another payload": parts[0] + "." + b64(goodClaims().with("sub", "admin").String()) + "." + parts[2],
		"another header":  b64(`{"alg":"none"}`) + "." + parts[1] + "." + parts[2],
		"unsigned":        parts[0] + "." + parts[1] + ".",
	} {
		t.Run(name, func(t *testing.T) { refuse(t, a, other, "") })
	}
	known(t, a, 1)
	r := request(token)
	r.URL.RawQuery = "access_token=x"
	if _, err := a.Authenticate(r); err == nil {
		t.Error("a second token in the query is taken because the first is known")
	}
}

// What one door knows says nothing to another: issuer, audience, keys and all
// other settings are those of the door (Oathkeeper GO-2022-0406, OpenFGA).
func TestGO_2022_0406_CacheIsOfOneDoor(t *testing.T) {
	token := mint(t, hsKey(), goodClaims())
	first := newAuthenticator(t)
	accept(t, first, token)
	for name, change := range map[string]func(*bearer.Config){
		"audience": func(c *bearer.Config) { c.Audience = []string{"https://other.example.com"} },
		"issuer":   func(c *bearer.Config) { c.Issuer = "https://other.example.com" },
		"keys":     func(c *bearer.Config) { c.Keys = static(t, generate("HS256")) },
		"type":     func(c *bearer.Config) { c.Types = []string{"JWT"} },
		"lifetime": func(c *bearer.Config) { c.MaxLifetime = time.Second },
	} {
		t.Run(name, func(t *testing.T) {
			a := newAuthenticator(t, change)
			refuse(t, a, token, "")
			refuse(t, a, token, "")
			accept(t, first, token)
		})
	}
}

// A handler may change its Identity. No other request with the token sees it.
func TestACachedIdentityIsNeverShared(t *testing.T) {
	a := newAuthenticator(t)
	token := mint(t, hsKey(), goodClaims().with("roles", []string{"editor"}, "amr", []string{"pwd"}))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				id, err := a.Authenticate(request(token))
				if err != nil {
					t.Errorf("refused: %v", err)
					return
				}
				if id.Subject != "alice" || !slices.Equal(id.Scopes, []string{"items:read", "items:write"}) ||
					!slices.Equal(id.Roles, []string{"editor"}) || !slices.Equal(id.AMR, []string{"pwd"}) {
					t.Errorf("got %+v, which another request changed", id)
					return
				}
				id.Subject = "mallory"
				id.Scopes[0], id.Roles[0], id.AMR[0] = "admin", "admin", "admin"
				id.Scopes = append(id.Scopes, "root")
				id.Roles = append(id.Roles, "root")
				id.AMR = append(id.AMR, "root")
				id.Claims = auth.NewClaims(`{}`)
			}
		})
	}
	wg.Wait()
}

func TestCacheIsBounded(t *testing.T) {
	for _, tt := range []struct {
		name    string
		cache   bearer.CacheConfig
		entries int
		bytes   int64
	}{
		{"by entries", bearer.CacheConfig{MaxEntries: 64}, 64, 32 << 20},
		{"one entry is a few", bearer.CacheConfig{MaxEntries: 1}, 8, 32 << 20},
		{"by bytes", bearer.CacheConfig{MaxBytes: 64 << 10}, 10_000, 64 << 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newAuthenticator(t, func(c *bearer.Config) { c.Cache = tt.cache })
			good := goodClaims()
			for i := range 2000 {
				accept(t, a, mint(t, hsKey(), good.with("jti", fmt.Sprint(i))))
				if n, b := bearer.Known(a); n > tt.entries || b > tt.bytes || n == 0 || b <= 0 {
					t.Fatalf("after %d tokens: %d are kept, %d bytes; at most %d and %d", i+1, n, b, tt.entries, tt.bytes)
				}
			}
			last := mint(t, hsKey(), good.with("jti", "last"))
			accept(t, a, last)
			accept(t, a, last)
		})
	}
}

// Entries and bytes agree whatever happens at once.
func TestCacheUnderConcurrentUse(t *testing.T) {
	var revoke atomic.Int64
	a := newAuthenticator(t, func(c *bearer.Config) {
		c.Cache = bearer.CacheConfig{MaxEntries: 32, MaxBytes: 64 << 10}
		c.Revoked = func(context.Context, bearer.Token) (bool, error) { return revoke.Add(1)%7 == 0, nil }
	})
	var tokens []string
	for i := range 100 {
		tokens = append(tokens, mint(t, hsKey(), goodClaims().with("jti", fmt.Sprint(i), "sub", fmt.Sprint("user", i))))
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for n := range 500 {
				i := (n*7 + g*13) % len(tokens)
				id, err := a.Authenticate(request(tokens[i]))
				if err != nil && !errors.Is(err, auth.ErrInvalid) {
					t.Errorf("got %v", err)
				}
				if err == nil && id.Subject != fmt.Sprint("user", i) {
					t.Errorf("token %d is that of %s", i, id.Subject)
				}
			}
		})
	}
	wg.Wait()
	if n, b := bearer.Known(a); n > 32 || b > 64<<10 || int64(n)*700 > b {
		t.Errorf("%d are kept, %d bytes", n, b)
	}
}

// 100,000 tokens that nobody signed leave nothing behind, and no key set is asked
// about those of no form.
func TestGarbageTokensLeaveNothing(t *testing.T) {
	set := newCountingSet(hsKey())
	a := newAuthenticator(t, func(c *bearer.Config) { c.Keys = set })
	accept(t, a, mint(t, hsKey(), goodClaims()))
	before := set.lookups.Load()
	var m0, m1 runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m0)
	for i := range 100_000 {
		if _, err := a.Authenticate(request(fmt.Sprintf("eyJ%d.eyJ%d.%d", i, i, i))); !errors.Is(err, auth.ErrInvalid) {
			t.Fatalf("got %v", err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&m1)
	if grown := int64(m1.HeapAlloc) - int64(m0.HeapAlloc); grown > 4<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	known(t, a, 1)
	if n := set.lookups.Load() - before; n != 0 {
		t.Errorf("the key set was asked %d times", n)
	}
}

func TestCacheConfigErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		cache bearer.CacheConfig
		field string
	}{
		"entries":          {bearer.CacheConfig{MaxEntries: -1}, "Cache.MaxEntries"},
		"too many entries": {bearer.CacheConfig{MaxEntries: 10_000_001}, "Cache.MaxEntries"},
		"bytes":            {bearer.CacheConfig{MaxBytes: -1}, "Cache.MaxBytes"},
		"few bytes":        {bearer.CacheConfig{MaxBytes: 1000}, "Cache.MaxBytes"},
		"age":              {bearer.CacheConfig{MaxAge: -1}, "Cache.MaxAge"},
		"long age":         {bearer.CacheConfig{MaxAge: 25 * time.Hour}, "Cache.MaxAge"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := bearer.New(bearer.Config{Issuer: testIssuer, Audience: []string{testAudience}, Keys: static(t, hsKey()), Cache: tt.cache})
			if err == nil || !strings.Contains(err.Error(), tt.field) {
				t.Errorf("got %v, want it to name %s", err, tt.field)
			}
		})
	}
}

// Of two issuers that use one key id for two keys, neither's token is ever taken
// for the other's, whatever is known already (CVE-2026-49998).
func TestCVE_2026_49998_CacheOfJoinedIssuers(t *testing.T) {
	issuers := []string{"https://a.example.com", "https://b.example.com"}
	keys := make(map[string]jwk.Key)
	var doors []*bearer.Authenticator
	for _, issuer := range issuers {
		k, err := jwk.NewKey("shared", "HS256", []byte(rand.Text()+rand.Text()))
		if err != nil {
			t.Fatal(err)
		}
		keys[issuer] = k
		doors = append(doors, newAuthenticator(t, func(c *bearer.Config) { c.Issuer, c.Keys = issuer, static(t, k) }))
	}
	a, err := bearer.Join(doors...)
	if err != nil {
		t.Fatal(err)
	}
	type try struct {
		token string
		ok    bool
	}
	var tries []try
	for issuer := range maps.Keys(keys) {
		for signer, k := range keys {
			tries = append(tries, try{mint(t, k, goodClaims().with("iss", issuer)), signer == issuer})
		}
	}
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			for _, one := range tries {
				if id, err := a.Authenticate(request(one.token)); (err == nil) != one.ok {
					t.Errorf("got %v, %v, want ok = %v", id, err, one.ok)
				}
			}
		})
	}
	wg.Wait()
	known(t, a, 2)
}

// Two tokens of one hash are two tokens.
func TestCacheOfOneHash(t *testing.T) {
	a := newAuthenticator(t)
	good := mint(t, hsKey(), goodClaims())
	accept(t, a, good)
	forged := good[:len(good)-8] + "AAAAAAAA"
	if bearer.FoundByHashOf(a, good, good) != true || bearer.FoundByHashOf(a, good, forged) != false {
		t.Error("a token is found by its hash alone")
	}
}

// A clock that is set back makes a token that is kept one of the future again.
func TestATokenThatIsKeptAndTheClockSetBack(t *testing.T) {
	a := newAuthenticator(t)
	now := time.Now()
	for name, c := range map[string]claims{
		"nbf": goodClaims().with("nbf", now.Unix(), "iat", now.Unix()-3600),
		"iat": goodClaims().with("iat", now.Unix()),
	} {
		token := mint(t, hsKey(), c)
		accept(t, a, token)
		for back, want := range map[time.Duration]string{0: "", 20 * time.Second: "verify again", 40 * time.Second: "not valid yet"} {
			err := bearer.StillGood(a, token, time.Now().Add(-back))
			if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s, %v back: got %v, want %q", name, back, err, want)
			}
		}
	}
}
