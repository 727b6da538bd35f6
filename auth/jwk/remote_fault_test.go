package jwk_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/internal/eventlog"
)

// The rows of the fault matrix for key sets that others publish: for each fault
// what is decided, how long that takes, and what it costs the issuer.

func TestFaultJWKS_DownAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := new(issuer)
		a := ecKey(t, "a")
		i.set(refused)
		r, events := remote(t, i)
		start := time.Now()
		for range 10 * 60 {
			for range 10 {
				atOnce(t, func() { undecidable(t, r, "a") })
			}
			time.Sleep(100 * time.Millisecond)
		}
		// After a second, 2, 4, 8, 16 and then 30, each less up to a half.
		if n := i.hits(); n < 6 || n > 9 {
			t.Errorf("it was asked %d times in a minute", n)
		}
		for n := 1; n < len(i.times); n++ {
			if d := i.times[n].Sub(i.times[n-1]); d > 31*time.Second || n > 5 && d < 15*time.Second {
				t.Errorf("attempt %d came %v after the one before", n, d)
			}
		}
		synctest.Wait()
		if got := events.Take(); names(got) != "sys_monitor_disabled ERROR" || !strings.Contains(got[0].Reason, "none to use") {
			t.Errorf("got %+v", got)
		}
		i.publish(t, a)
		for {
			if _, err := r.Lookup(t.Context(), "a", "ES256"); err == nil {
				break
			}
			if time.Since(start) > 90*time.Second {
				t.Fatal("it does not recover")
			}
			time.Sleep(100 * time.Millisecond)
		}
		has(t, r, a)
		unknown(t, r, "b")
		synctest.Wait()
		if got := names(events.Take()); got != "sys_monitor_enabled INFO" {
			t.Errorf("got %s", got)
		}
	})
}

// Many instances that start together do not ask together again and again.
func TestRetriesAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all []*issuer
		var asking sync.WaitGroup
		start := time.Now()
		for range 20 {
			i := new(issuer)
			i.set(refused)
			r, _ := remote(t, i)
			all = append(all, i)
			asking.Go(func() {
				for i.hits() < 2 && time.Since(start) < 2*time.Second {
					undecidable(t, r, "a")
					time.Sleep(time.Millisecond)
				}
			})
		}
		asking.Wait()
		seen := map[time.Duration]bool{}
		for _, i := range all {
			if i.hits() < 2 {
				t.Fatal("it was not asked again within 2 s")
			}
			again := i.times[1].Sub(start)
			// What asks looks each millisecond.
			if again < time.Second/2 || again > time.Second+time.Millisecond {
				t.Errorf("it was asked again after %v", again)
			}
			seen[again] = true
		}
		if len(seen) < 10 {
			t.Errorf("20 instances tried again at %d different times", len(seen))
		}
	})
}

func TestFaultJWKS_DownLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := new(issuer)
		a := ecKey(t, "a")
		i.publish(t, a)
		r, events := remote(t, i)
		k := has(t, r, a)
		start := time.Now()
		i.set(refused)
		// Good for 15 minutes, and an hour longer.
		for n := 0; time.Since(start) < 75*time.Minute-time.Second; n++ {
			time.Sleep(time.Second)
			synctest.Wait()
			atOnce(t, func() {
				if has(t, r, a) != k {
					t.Fatal("the key is another one")
				}
				// Nothing is certain of others from when it was first seen to be down.
				_, err := r.Lookup(t.Context(), fmt.Sprint("stranger-", n), "ES256")
				if err == nil || errors.Is(err, jwk.ErrUnknownKey) != (i.hits() == 1) {
					t.Fatalf("after %v and %d fetches: a stranger's key: got %v", time.Since(start), i.hits(), err)
				}
			})
		}
		if n, most := i.hits(), 1+75*2; n > most {
			t.Errorf("it was asked %d times, want at most %d", n, most)
		}
		synctest.Wait()
		got := events.Take()
		if names(got) != "sys_monitor_disabled WARN" || !strings.Contains(got[0].Reason, errDown.Error()) || !strings.Contains(got[0].Reason, keysURL) {
			t.Errorf("got %+v", got)
		}
		time.Sleep(time.Second)
		undecidable(t, r, "a")
		undecidable(t, r, "b")
		time.Sleep(time.Minute)
		undecidable(t, r, "a")
		synctest.Wait()
		if got := names(events.Take()); got != "sys_monitor_disabled ERROR" {
			t.Errorf("got %s", got)
		}
		i.publish(t, a)
		time.Sleep(31 * time.Second)
		if has(t, r, a) != k {
			t.Error("the key is another one after an outage")
		}
		unknown(t, r, "b")
		synctest.Wait()
		if got := names(events.Take()); got != "sys_monitor_enabled INFO" {
			t.Errorf("got %s", got)
		}
	})
}

// How long stale keys serve is bounded, and the program's to say.
func TestMaxStale(t *testing.T) {
	for _, stale := range []time.Duration{1, 10 * time.Minute, 24 * time.Hour} {
		t.Run(stale.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := new(issuer)
				a := ecKey(t, "a")
				i.publish(t, a)
				r, _ := remote(t, i, func(c *jwk.RemoteConfig) { c.MaxStale = stale })
				has(t, r, a)
				i.set(refused)
				time.Sleep(15*time.Minute - 1)
				has(t, r, a)
				time.Sleep(stale)
				has(t, r, a)
				time.Sleep(time.Nanosecond)
				undecidable(t, r, "a")
			})
		})
	}
}

// A set that is too old because nobody asked is not used before the issuer was.
func TestIdleSetIsRenewedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := new(issuer)
		a, b := ecKey(t, "a"), ecKey(t, "b")
		i.publish(t, a)
		r, _ := remote(t, i)
		has(t, r, a)
		i.publish(t, b)
		i.set(after(time.Second, i.reply))
		time.Sleep(20 * time.Minute)
		unknown(t, r, "a")

		// Also where it was down once, long ago.
		i.set(refused)
		time.Sleep(20 * time.Minute)
		has(t, r, b)
		i.publish(t, a)
		time.Sleep(20 * time.Minute)
		unknown(t, r, "b")

		// And where the key has another algorithm.
		time.Sleep(20 * time.Minute)
		i.publish(t, mustKey(t, "a", "EdDSA", newEd(t)))
		if _, err := r.Lookup(t.Context(), "a", "EdDSA"); err != nil {
			t.Errorf("got %v", err)
		}
	})
}

func TestFaultJWKS_Slow(t *testing.T) {
	t.Run("waiters leave, the fetch goes on", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			i := new(issuer)
			a := ecKey(t, "a")
			i.publish(t, a)
			i.set(after(4*time.Second, i.reply))
			r, _ := remote(t, i)
			var wg sync.WaitGroup
			start := time.Now()
			for n := range 100 {
				wg.Go(func() {
					wait := time.Duration(n%3+1) * time.Second
					ctx, cancel := context.WithTimeout(t.Context(), wait)
					defer cancel()
					_, err := r.Lookup(ctx, "a", "ES256")
					if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, jwk.ErrUnknownKey) || time.Since(start) != wait {
						t.Errorf("got %v after %v, want DeadlineExceeded after %v", err, time.Since(start), wait)
					}
				})
			}
			wg.Wait()
			has(t, r, a)
			if d := time.Since(start); d != 4*time.Second || i.hits() != 1 {
				t.Errorf("it took %v and %d fetches, want 4s and 1", d, i.hits())
			}
		})
	})
	t.Run("a request that is over before it begins", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			i := new(issuer)
			i.set(hangs)
			r, _ := remote(t, i)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			atOnce(t, func() {
				if _, err := r.Lookup(ctx, "a", "ES256"); !errors.Is(err, context.Canceled) {
					t.Errorf("got %v, want Canceled", err)
				}
			})
		})
	})
	t.Run("slower than the timeout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			i := new(issuer)
			i.set(hangs)
			r, events := remote(t, i)
			start := time.Now()
			undecidable(t, r, "a")
			if d := time.Since(start); d != 5*time.Second {
				t.Errorf("it took %v, want 5s", d)
			}
			atOnce(t, func() { undecidable(t, r, "a") })
			synctest.Wait()
			if got := names(events.All()); got != "sys_monitor_disabled ERROR" {
				t.Errorf("got %s", got)
			}
		})
	})
	t.Run("nobody waits for an issuer that was just seen to hang", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			i := new(issuer)
			a := ecKey(t, "a")
			i.publish(t, a)
			r, _ := remote(t, i)
			has(t, r, a)
			i.set(hangs)
			for range 60 * 60 {
				time.Sleep(time.Second)
				atOnce(t, func() { has(t, r, a) })
			}
		})
	})
}

func TestFaultJWKS_Flapping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := new(issuer)
		a := ecKey(t, "a")
		i.publish(t, a)
		good := i.reply
		var up, was atomic.Bool // now, and when it was asked
		up.Store(true)
		i.set(func(r *http.Request) (*http.Response, error) {
			was.Store(up.Load())
			if was.Load() {
				return good(r)
			}
			return refused(r)
		})
		r, _ := remote(t, i)
		has(t, r, a)
		start := time.Now()
		for n := 0; time.Since(start) < 30*time.Minute; n++ {
			time.Sleep(time.Second)
			up.Store(n%2 == 1)
			has(t, r, a)
			_, err := r.Lookup(t.Context(), fmt.Sprint("stranger-", n), "ES256")
			synctest.Wait()
			if err == nil || errors.Is(err, jwk.ErrUnknownKey) != was.Load() {
				t.Fatalf("the last fetch was good: %t, got %v", was.Load(), err)
			}
		}
		for n := 1; n < len(i.times); n++ {
			if d := i.times[n].Sub(i.times[n-1]); d < 30*time.Second {
				t.Errorf("it was asked twice within %v", d)
			}
		}
	})
}

// As long as the issuer is down a token of a key that it has begun to sign with is as
// good as before: nobody can tell, and it must not be refused. When the issuer is back
// it is known at once, and a stranger's is refused again.
func TestNewKeyInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := new(issuer)
		a, b := ecKey(t, "a"), ecKey(t, "b")
		i.publish(t, a)
		r, _ := remote(t, i)
		has(t, r, a)
		unknown(t, r, "b") // it was just fetched
		time.Sleep(14 * time.Minute)
		i.set(refused)
		for range 4 {
			undecidable(t, r, "b")
			undecidable(t, r, "stranger")
			has(t, r, a)
			if _, err := r.Lookup(t.Context(), "a", "ES384"); !errors.Is(err, jwk.ErrUnknownKey) {
				t.Errorf("a known key with another algorithm: got %v, want ErrUnknownKey", err)
			}
			if _, err := r.Lookup(t.Context(), "", "RS256"); err == nil || errors.Is(err, jwk.ErrUnknownKey) {
				t.Errorf("no id, and no key of the algorithm: got %v, want another error than ErrUnknownKey", err)
			}
			time.Sleep(10 * time.Minute)
		}
		i.publish(t, a, b)
		if err := r.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		has(t, r, b)
		unknown(t, r, "stranger")
	})
}

// endless is a body that never ends.
type endless struct{ read *int }

func (e endless) Read(p []byte) (int, error) { *e.read += len(p); return len(p), nil }
func (endless) Close() error                 { return nil }

// cut is a body that breaks off.
type cut struct{ io.Reader }

func (c cut) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
func (cut) Close() error { return nil }

// Whatever a server sends that is not a set of good keys, the old ones stay, one
// event says so, and one that it is over.
func TestFaultJWKS_WrongData(t *testing.T) {
	other := string(setOf(t, ecKey(t, "other")))
	json := func(body string) func(*http.Request) (*http.Response, error) {
		return document(200, "application/json", body)
	}
	var read int
	for name, wrong := range map[string]func(*http.Request) (*http.Response, error){
		"HTML":                       document(200, "text/html", "<html>"),
		"HTML as JSON":               json("<html>"),
		"keys of another type":       document(200, "text/plain", other),
		"404 with keys":              document(404, "application/json", other),
		"500":                        document(500, "application/json", "{}"),
		"204":                        document(204, "application/json", ""),
		"redirect":                   document(302, "application/json", other, "Location", keysURL),
		"10 MB":                      json(`{"keys":[` + strings.Repeat(" ", 10<<20) + `]}`),
		"more than 1 MiB, then keys": json(strings.Repeat(" ", 1<<20) + other),
		"1 GiB": func(r *http.Request) (*http.Response, error) {
			resp, err := json("")(r)
			resp.Body = endless{&read}
			return resp, err
		},
		"cut": func(r *http.Request) (*http.Response, error) {
			resp, err := json("")(r)
			resp.Body = cut{strings.NewReader(other)}
			return resp, err
		},
		"empty":                       json(""),
		"null":                        json("null"),
		"array":                       json("[" + other + "]"),
		"no keys member":              json(`{}`),
		"empty keys":                  json(`{"keys":[]}`),
		"keys is an object":           json(`{"keys":{}}`),
		"keys is null":                json(`{"keys":null}`),
		"keys in another case":        json(strings.Replace(other, `"keys"`, `"Keys"`, 1)),
		"keys twice":                  json(strings.Replace(other, `"keys"`, `"keys":[],"keys"`, 1)),
		"truncated":                   json(other[:len(other)/2]),
		"something after it":          json(other + other),
		"bad base64":                  json(`{"keys":[{"kty":"EC","crv":"P-256","kid":"x","x":"****","y":"****"}]}`),
		"unknown kty alone":           json(`{"keys":[{"kty":"AKP","kid":"x"}]}`),
		"a secret alone":              json(`{"keys":[{"kty":"oct","alg":"HS256","kid":"x","k":"` + b64(goodSecret) + `"}]}`),
		"two keys of one id":          json(string(setOf(t, ecKey(t, "x"), ecKey(t, "x")))),
		"one key twice without an id": json(`{"keys":[` + string(ecDoc.json(t)) + `,` + string(ecDoc.json(t)) + `]}`),
		"too many keys":               json(`{"keys":[` + strings.Repeat("{},", 256) + string(ecDoc.json(t)) + `]}`),
		"too deep":                    json(strings.Repeat(`{"keys":[`, 100) + strings.Repeat(`]}`, 100)),
		"not UTF-8":                   json(strings.Replace(other, `"kid":"`, `"kid":"`+"\xff", 1)),
		"a transport that panics":     func(*http.Request) (*http.Response, error) { panic("nil map") },
		"a transport that names another": func(*http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("%w %w", jwk.ErrUnknownKey, auth.ErrInvalid)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := new(issuer)
				a := ecKey(t, "a")
				good := func() { i.publish(t, a) }

				// As the first reply, there is nothing to decide by.
				i.set(wrong)
				r, events := remote(t, i)
				undecidable(t, r, "a")
				undecidable(t, r, "other")
				time.Sleep(time.Second)
				undecidable(t, r, "other")
				if _, err := r.Lookup(t.Context(), "a", "ES256"); errors.Is(err, auth.ErrInvalid) {
					t.Errorf("got %v, which wraps ErrInvalid", err)
				}
				synctest.Wait()
				if got := names(events.Take()); got != "sys_monitor_disabled ERROR" {
					t.Errorf("got %s", got)
				}

				good()
				time.Sleep(time.Minute)
				k := has(t, r, a)
				synctest.Wait() // a fetch that has begun is a good one
				events.Take()
				i.set(wrong)
				for range 10 {
					if err := r.Refresh(t.Context()); err == nil {
						t.Fatal("it was taken")
					}
					if has(t, r, a) != k {
						t.Error("the key is another one")
					}
					undecidable(t, r, "other")
					undecidable(t, r, "x")
				}
				synctest.Wait()
				if got := names(events.Take()); got != "sys_monitor_disabled WARN" {
					t.Errorf("got %s", got)
				}
				good()
				for range 2 {
					if err := r.Refresh(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				unknown(t, r, "other")
				synctest.Wait()
				if got := names(events.Take()); got != "sys_monitor_enabled INFO" {
					t.Errorf("got %s", got)
				}
			})
		})
	}
	if read > 40<<20 {
		t.Errorf("of endless bodies %d bytes were read", read)
	}
}

// A recorder that blocks keeps no key from being fetched, and Close from ending for no
// longer than a second.
func TestRemoteRecorderThatBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := new(issuer)
		a := ecKey(t, "a")
		i.set(refused)
		free := make(chan struct{})
		defer close(free)
		r, _ := remote(t, i, func(c *jwk.RemoteConfig) { c.Audit = blocking{free} })
		atOnce(t, func() { undecidable(t, r, "a") }) // and that is told
		i.publish(t, a)
		time.Sleep(time.Minute)
		atOnce(t, func() {
			has(t, r, a)
			if err := r.Refresh(t.Context()); err != nil {
				t.Error(err)
			}
		})
		if n := i.hits(); n != 3 {
			t.Errorf("it was asked %d times, want 3", n)
		}
		start := time.Now()
		if err := r.Close(); err != nil || time.Since(start) != time.Second {
			t.Errorf("Close: got %v after %v, want it to end after a second", err, time.Since(start))
		}
	})
}

// blocking is a recorder that waits until it is free.
type blocking struct{ free chan struct{} }

func (b blocking) Record(context.Context, audit.Event) error {
	<-b.free
	return nil
}

// A recorder that panics takes no answer away.
func TestRemoteRecorderThatPanics(t *testing.T) {
	i := new(issuer)
	a := ecKey(t, "a")
	i.set(refused)
	old := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	defer slog.SetDefault(old)
	var none *eventlog.Recorder
	r, _ := remote(t, i, func(c *jwk.RemoteConfig) { c.Audit = none })
	undecidable(t, r, "a")
	i.publish(t, a)
	if err := r.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	has(t, r, a)
	_ = r.Close() // which waits for the events
}

// Lookups, refreshes and changes go on at once.
func TestRemoteIsSafeForConcurrentUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := new(issuer)
		a, b := ecKey(t, "a"), ecKey(t, "b")
		i.publish(t, a)
		r, _ := remote(t, i)
		var wg sync.WaitGroup
		for n := range 20 {
			wg.Go(func() {
				for m := range 200 {
					switch (n + m) % 10 {
					case 0:
						_ = r.Refresh(t.Context())
					case 1:
						i.publish(t, a, b)
					case 2:
						i.publish(t, b, a)
					case 3:
						_, _ = r.Lookup(t.Context(), "stranger", "ES256")
					default:
						has(t, r, a)
					}
					time.Sleep(time.Duration(n+1) * time.Second)
				}
			})
		}
		wg.Wait()
	})
}
