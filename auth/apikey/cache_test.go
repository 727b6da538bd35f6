package apikey_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/apikey"
)

// OWASP ASVS 5.0, 6.5.6: with a cache a revoked key fails within the time that was
// asked for, and never comes back.
func TestASVS_6_5_6_RevokedKeyFailsWithinCacheFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plain, rec := mint(t, apikey.MintConfig{Subject: "alice", Scopes: []string{"a"}})
		store := memory(t, rec)
		asked := 0
		keys := newAuthenticator(t, apikey.Config{CacheFor: 10 * time.Second, Store: storeFunc(func(ctx context.Context, id string) (apikey.Record, error) {
			asked++
			return store.Key(ctx, id)
		})})
		ok := func() bool {
			id, err := keys.Authenticate(request(plain))
			if err != nil && !errors.Is(err, auth.ErrInvalid) {
				t.Fatal(err)
			}
			if err == nil {
				if id.Scopes[0] != "a" {
					t.Fatalf("got the scopes %q", id.Scopes)
				}
				id.Scopes[0] = "changed" // it is this request's alone
			}
			return err == nil
		}
		for range 9 {
			if !ok() {
				t.Fatal("it is refused")
			}
			time.Sleep(time.Second)
		}
		if asked != 1 {
			t.Errorf("the store was asked %d times in 9 seconds, want once", asked)
		}
		if err := store.Revoke(t.Context(), "alice", rec.ID, time.Time{}); err != nil {
			t.Fatal(err)
		}
		if !ok() {
			t.Error("it is refused a second too early: the cache does nothing")
		}
		time.Sleep(time.Second)
		for range 60 {
			if ok() {
				t.Fatal("it is taken 10 seconds after the store was asked")
			}
			time.Sleep(time.Second)
		}
	})
}

// The time is counted from before the store was asked, whatever that took.
func TestCacheOfASlowStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plain, rec := mint(t, apikey.MintConfig{Subject: "alice"})
		keys := newAuthenticator(t, apikey.Config{CacheFor: 10 * time.Second, Store: storeFunc(func(context.Context, string) (apikey.Record, error) {
			old := rec
			time.Sleep(9 * time.Second)
			return old, nil
		})})
		if _, err := keys.Authenticate(request(plain)); err != nil {
			t.Fatal(err)
		}
		rec.Revoked = time.Now()
		time.Sleep(2 * time.Second)
		if _, err := keys.Authenticate(request(plain)); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("got %v, want ErrInvalid: what the store said is 11 seconds old", err)
		}
	})
}

// What ends by itself, or was forgotten, is not waited for.
func TestCacheKeepsNothingLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		expiring, recExpiring := mint(t, apikey.MintConfig{Subject: "alice", Lifetime: 3 * time.Second})
		ending, recEnding := mint(t, apikey.MintConfig{Subject: "alice"})
		recEnding.Revoked = time.Now().Add(3 * time.Second)
		plain, rec := mint(t, apikey.MintConfig{Subject: "alice"})
		store := memory(t, recExpiring, recEnding, rec)
		keys := newAuthenticator(t, apikey.Config{CacheFor: 10 * time.Second, Store: store})
		for name, key := range map[string]string{"expires": expiring, "will be revoked": ending} {
			id, err := keys.Authenticate(request(key))
			if err != nil || !id.Expires.Equal(time.Now().Add(3*time.Second)) {
				t.Errorf("%s: got %v, %v, want an identity for 3 seconds", name, id, err)
			}
		}
		time.Sleep(3 * time.Second)
		for name, key := range map[string]string{"expires": expiring, "will be revoked": ending} {
			if _, err := keys.Authenticate(request(key)); !errors.Is(err, auth.ErrInvalid) {
				t.Errorf("%s: got %v, want ErrInvalid", name, err)
			}
		}
		if _, err := keys.Authenticate(request(plain)); err != nil {
			t.Fatal(err)
		}
		if err := store.Revoke(t.Context(), "alice", rec.ID, time.Time{}); err != nil {
			t.Fatal(err)
		}
		keys.Forget(rec.ID)
		if _, err := keys.Authenticate(request(plain)); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("forgotten: got %v, want ErrInvalid", err)
		}
		newAuthenticator(t, apikey.Config{Store: store}).Forget(rec.ID) // without a cache
	})
}

// What a lookup found that was under way when the key was forgotten is not kept.
func TestForgetBesideALookup(t *testing.T) {
	plain, rec := mint(t, apikey.MintConfig{Subject: "alice"})
	store := memory(t, rec)
	var keys *apikey.Authenticator
	once := sync.OnceFunc(func() {
		if err := store.Revoke(t.Context(), "alice", rec.ID, time.Time{}); err != nil {
			t.Error(err)
		}
		keys.Forget(rec.ID)
	})
	keys = newAuthenticator(t, apikey.Config{CacheFor: 10 * time.Second, Store: storeFunc(func(ctx context.Context, id string) (apikey.Record, error) {
		found, err := store.Key(ctx, id)
		once()
		return found, err
	})})
	if _, err := keys.Authenticate(request(plain)); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Authenticate(request(plain)); !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("after Forget: got %v, want ErrInvalid", err)
	}
}

// Close leaves no goroutine, also not one that waits for a store.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plain, rec := mint(t, apikey.MintConfig{Subject: "alice"})
		hanging := &hangs{MemoryStore: memory(t, rec)}
		keys := newAuthenticator(t, apikey.Config{Store: hanging, Logger: slog.New(slog.DiscardHandler)})
		if _, err := keys.Authenticate(request(plain)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		before := time.Now()
		for range 2 {
			if err := keys.Close(); err != nil {
				t.Error(err)
			}
		}
		if d := time.Since(before); d != 0 || hanging.ended.Load() != 1 {
			t.Errorf("Close took %v, and %d writes have ended", d, hanging.ended.Load())
		}
		time.Sleep(time.Hour)
		if _, err := keys.Authenticate(request(plain)); err != nil {
			t.Errorf("after Close: %v", err)
		}
		synctest.Wait()
		if n := hanging.ended.Load(); n != 1 {
			t.Errorf("%d writes have ended, want no other after Close", n)
		}
		if err := newAuthenticator(t, apikey.Config{Store: storeFunc(store(rec))}).Close(); err != nil {
			t.Errorf("with nothing to close: %v", err)
		}
	})
}

// hangs is a store whose Touch waits for its context.
type hangs struct {
	*apikey.MemoryStore
	ended atomic.Int64
}

func (s *hangs) Touch(ctx context.Context, _ string, _ time.Time) error {
	<-ctx.Done()
	s.ended.Add(1)
	return ctx.Err()
}

func store(rec apikey.Record) func(context.Context, string) (apikey.Record, error) {
	return func(context.Context, string) (apikey.Record, error) { return rec, nil }
}

// A cached id helps nobody who has not the secret, and a store that is out of reach
// stops known keys only when their time is over.
func TestCacheKnowsTheWholeKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plain, rec := mint(t, apikey.MintConfig{Subject: "alice"})
		other, _ := mint(t, apikey.MintConfig{Subject: "alice"})
		down := false
		keys := newAuthenticator(t, apikey.Config{CacheFor: 10 * time.Second, Store: storeFunc(func(context.Context, string) (apikey.Record, error) {
			if down {
				return apikey.Record{}, errors.New("down")
			}
			return rec, nil
		})})
		if _, err := keys.Authenticate(request(plain)); err != nil {
			t.Fatal(err)
		}
		if _, err := keys.Authenticate(request(forge(t, plain, other))); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("another secret: got %v, want ErrInvalid", err)
		}
		if _, err := keys.Authenticate(request(rechecked("xk" + plain[2:]))); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("another prefix: got %v, want ErrInvalid", err)
		}
		// The form of a known key is not looked at again, so it must be the same text.
		spellings := []string{plain[1:], plain[:len(plain)-1], plain + "0", "s" + plain, plain + " ", strings.ToUpper(plain), "sk_live" + plain[2:]}
		for i := range len(plain) {
			spellings = append(spellings, changed(plain, i), plain[:i]+plain[i+1:], plain[:i]+"\x00"+plain[i+1:])
		}
		for _, one := range spellings {
			if _, err := keys.Authenticate(request(one)); one != plain && !errors.Is(err, auth.ErrInvalid) {
				t.Errorf("%q for %q: got %v, want ErrInvalid", one, plain, err)
			}
		}
		down = true
		if _, err := keys.Authenticate(request(forge(t, plain, other))); err == nil || errors.Is(err, auth.ErrInvalid) {
			t.Errorf("another secret while the store is down: got %v, want that it can't be told", err)
		}
		time.Sleep(9 * time.Second)
		if _, err := keys.Authenticate(request(plain)); err != nil {
			t.Errorf("the known key: %v", err)
		}
		time.Sleep(time.Second)
		if _, err := keys.Authenticate(request(plain)); err == nil || errors.Is(err, auth.ErrInvalid) {
			t.Errorf("the known key 10 seconds later: got %v, want that it can't be told", err)
		}
	})
}

// touched is a store that tells when keys were used.
type touched struct {
	*apikey.MemoryStore
	mu    sync.Mutex
	at    []time.Duration
	start time.Time
	err   error
	panic bool
	hold  time.Duration
}

func (s *touched) times() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.at)
}

// set changes what the store does.
func (s *touched) set(err error, panics bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.panic = err, panics
}

func (s *touched) Touch(ctx context.Context, id string, at time.Time) error {
	time.Sleep(s.hold)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = append(s.at, at.Sub(s.start))
	if s.panic {
		panic("x")
	}
	if s.err != nil {
		return s.err
	}
	return s.MemoryStore.Touch(ctx, id, at)
}

// A key's use is noted once a minute at most, and within two, never in the request's
// way.
func TestLastUsed(t *testing.T) {
	for _, cacheFor := range []time.Duration{0, 10 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			plain, rec := mint(t, apikey.MintConfig{Subject: "alice"})
			store := &touched{MemoryStore: memory(t, rec), start: time.Now(), hold: 4 * time.Second}
			keys := newAuthenticator(t, apikey.Config{Store: store, CacheFor: cacheFor})
			for range 600 {
				before := time.Now()
				if _, err := keys.Authenticate(request(plain)); err != nil {
					t.Fatal(err)
				}
				if d := time.Since(before); d != 0 {
					t.Fatalf("the request waited %v", d)
				}
				time.Sleep(time.Second)
			}
			time.Sleep(10 * time.Second)
			at := store.times()
			if len(at) < 5 || len(at) > 10 || at[0] != 0 {
				t.Errorf("noted at %v", at)
			}
			for i := 1; i < len(at); i++ {
				if d := at[i] - at[i-1]; d < time.Minute || d > 2*time.Minute {
					t.Errorf("noted %v after the last time", d)
				}
			}
			got, err := store.Key(t.Context(), rec.ID)
			if err != nil || got.LastUsed.Sub(store.start) != at[len(at)-1] {
				t.Errorf("got LastUsed %v, %v", got.LastUsed, err)
			}
			// One that is refused was not used.
			if err := store.Revoke(t.Context(), "alice", rec.ID, time.Time{}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Minute)
			if _, err := keys.Authenticate(request(plain)); !errors.Is(err, auth.ErrInvalid) {
				t.Fatalf("got %v, want ErrInvalid", err)
			}
			time.Sleep(time.Minute)
			if len(store.times()) != len(at) {
				t.Error("the use of a revoked key was noted")
			}
		})
	}
}

// That a store fails or panics is told once, until it can write again.
func TestLastUsedFaults(t *testing.T) {
	for name, edit := range map[string]func(*touched){
		"fails":  func(s *touched) { s.set(errors.New("down"), false) },
		"panics": func(s *touched) { s.set(nil, true) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				plain, rec := mint(t, apikey.MintConfig{Subject: "alice"})
				other, recOther := mint(t, apikey.MintConfig{Subject: "bob"})
				store := &touched{MemoryStore: memory(t, rec, recOther), start: time.Now()}
				edit(store)
				var log strings.Builder
				keys := newAuthenticator(t, apikey.Config{Store: store, Logger: slog.New(slog.NewTextHandler(&log, nil))})
				use := func() {
					for _, key := range []string{plain, other} {
						if _, err := keys.Authenticate(request(key)); err != nil {
							t.Fatal(err)
						}
						synctest.Wait()
					}
					time.Sleep(2 * time.Minute)
				}
				for range 3 {
					use()
				}
				if n := strings.Count(log.String(), "level=WARN"); n != 1 || len(store.times()) != 6 || strings.Contains(log.String(), plain) {
					t.Errorf("after %d attempts the log has\n%s", len(store.times()), &log)
				}
				store.set(nil, false)
				use()
				edit(store)
				use()
				if n := strings.Count(log.String(), "level=WARN"); n != 2 {
					t.Errorf("after it had recovered and failed again, the log has\n%s", &log)
				}
			})
		})
	}
}

// Each key waits for a slow store once, whoever uses it meanwhile.
func TestLastUsedOfManyKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var plains []string
		var records []apikey.Record
		for range 50 {
			plain, rec := mint(t, apikey.MintConfig{Subject: "alice"})
			plains, records = append(plains, plain), append(records, rec)
		}
		store := &touched{MemoryStore: memory(t, records...), start: time.Now(), hold: time.Second}
		keys := newAuthenticator(t, apikey.Config{Store: store})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for _, plain := range plains {
					if _, err := keys.Authenticate(request(plain)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		time.Sleep(55 * time.Second)
		if n := len(store.times()); n != 50 {
			t.Errorf("%d were written in 55 seconds, want the 50 keys", n)
		}
	})
}
