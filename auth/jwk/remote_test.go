package jwk_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/internal/eventlog"
)

const keysURL = "https://id.example/keys"

// An issuer is a transport behind which keys are published.
type issuer struct {
	mu    sync.Mutex
	reply func(*http.Request) (*http.Response, error)
	asked []string
	times []time.Time
}

func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.mu.Lock()
	i.asked = append(i.asked, r.URL.String())
	i.times = append(i.times, time.Now())
	reply := i.reply
	i.mu.Unlock()
	return reply(r)
}

func (i *issuer) set(reply func(*http.Request) (*http.Response, error)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.reply = reply
}

// publish makes it answer with a set of keys.
func (i *issuer) publish(t testing.TB, keys ...jwk.Key) {
	t.Helper()
	docs := make([]any, len(keys))
	for n, k := range keys {
		docs[n] = k
	}
	i.set(document(200, "application/json", string(setOf(t, docs...))))
}

func (i *issuer) hits() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.asked)
}

func document(status int, contentType, body string, header ...string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		w.Header().Set("Content-Type", contentType)
		for n := 0; n < len(header); n += 2 {
			w.Header().Add(header[n], header[n+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
		resp := w.Result()
		resp.Request = r
		return resp, nil
	}
}

var errDown = errors.New("connection refused")

func refused(*http.Request) (*http.Response, error) { return nil, errDown }

// hangs never answers.
func hangs(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// after answers late.
func after(d time.Duration, reply func(*http.Request) (*http.Response, error)) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		select {
		case <-time.After(d):
			return reply(r)
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

// remote returns a set of what the issuer publishes, and its events.
func remote(t testing.TB, i *issuer, change ...func(*jwk.RemoteConfig)) (*jwk.RemoteSet, *eventlog.Recorder) {
	t.Helper()
	events := new(eventlog.Recorder)
	cfg := jwk.RemoteConfig{URL: keysURL, HTTPClient: &http.Client{Transport: i}, Audit: events}
	for _, f := range change {
		f(&cfg)
	}
	r, err := jwk.Remote(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r, events
}

// has checks that the set finds the key, and returns what it found.
func has(t testing.TB, s jwk.Set, k jwk.Key) jwk.Key {
	t.Helper()
	got, err := s.Lookup(t.Context(), k.ID(), k.Algorithm())
	if err != nil {
		t.Fatalf("the key %s: %v", k, err)
	}
	if got.Thumbprint() != k.Thumbprint() || got.CanSign() {
		t.Fatalf("the key %s is another one, or can sign", k)
	}
	return got
}

// unknown checks that the set is sure that it has no such key.
func unknown(t testing.TB, s jwk.Set, id string) {
	t.Helper()
	if k, err := s.Lookup(t.Context(), id, "ES256"); !errors.Is(err, jwk.ErrUnknownKey) || k != (jwk.Key{}) {
		t.Fatalf("the key %s: got %v, %v, want ErrUnknownKey", id, k, err)
	}
}

// undecidable checks that the set can't tell.
func undecidable(t testing.TB, s jwk.Set, id string) {
	t.Helper()
	if k, err := s.Lookup(t.Context(), id, "ES256"); err == nil || errors.Is(err, jwk.ErrUnknownKey) || k != (jwk.Key{}) {
		t.Fatalf("the key %s: got %v, %v, want another error than ErrUnknownKey", id, k, err)
	}
}

// atOnce checks that f takes no time.
func atOnce(t testing.TB, f func()) {
	t.Helper()
	start := time.Now()
	f()
	if d := time.Since(start); d != 0 {
		t.Fatalf("it took %v", d)
	}
}

func names(events []audit.Event) string {
	var s []string
	for _, e := range events {
		s = append(s, e.Name+" "+e.Level.String())
	}
	return strings.Join(s, ", ")
}

func TestRemoteConfigIsChecked(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*jwk.RemoteConfig)
		want   string // "" is good
	}{
		{"good", func(*jwk.RemoteConfig) {}, ""},
		{"everything set", func(c *jwk.RemoteConfig) {
			*c = jwk.RemoteConfig{
				URL: "https://id.example/keys?v=1", Algorithms: []string{"PS256", "ES256"}, Timeout: 30 * time.Second, MinRefresh: time.Second,
				MaxRefresh: 24 * time.Hour, RefetchInterval: time.Second, MaxStale: 24 * time.Hour, PublicOnly: true,
			}
		}, ""},
		{"loopback", func(c *jwk.RemoteConfig) { c.URL = "http://127.0.0.1:1/keys" }, ""},
		{"http by name", func(c *jwk.RemoteConfig) { c.URL, c.AllowInsecureHTTP = "http://id.example/", true }, ""},
		{"nearly no stale keys", func(c *jwk.RemoteConfig) { c.MaxStale = 1 }, ""},
		{"no URL", func(c *jwk.RemoteConfig) { c.URL = "" }, "RemoteConfig.URL"},
		{"http", func(c *jwk.RemoteConfig) { c.URL = "http://id.example/" }, "RemoteConfig.URL"},
		{"a file", func(c *jwk.RemoteConfig) { c.URL, c.AllowInsecureHTTP = "file:///etc/passwd", true }, "RemoteConfig.URL"},
		{"no algorithm", func(c *jwk.RemoteConfig) { c.Algorithms = []string{} }, "RemoteConfig.Algorithms"},
		{"unknown algorithm", func(c *jwk.RemoteConfig) { c.Algorithms = []string{"RS256", "none"} }, "RemoteConfig.Algorithms"},
		{"algorithm of secrets", func(c *jwk.RemoteConfig) { c.Algorithms = []string{"HS256"} }, "RemoteConfig.Algorithms"},
		{"negative timeout", func(c *jwk.RemoteConfig) { c.Timeout = -1 }, "RemoteConfig.Timeout"},
		{"long timeout", func(c *jwk.RemoteConfig) { c.Timeout = 31 * time.Second }, "RemoteConfig.Timeout"},
		{"negative MinRefresh", func(c *jwk.RemoteConfig) { c.MinRefresh = -1 }, "RemoteConfig.MinRefresh"},
		{"MinRefresh below the interval", func(c *jwk.RemoteConfig) { c.MinRefresh = 29 * time.Second }, "RemoteConfig.MinRefresh"},
		{"MinRefresh above MaxRefresh", func(c *jwk.RemoteConfig) { c.MinRefresh = 16 * time.Minute }, "RemoteConfig.MaxRefresh"},
		{"long MaxRefresh", func(c *jwk.RemoteConfig) { c.MaxRefresh = 24*time.Hour + 1 }, "RemoteConfig.MaxRefresh"},
		{"short interval", func(c *jwk.RemoteConfig) { c.RefetchInterval = time.Second - 1 }, "RemoteConfig.RefetchInterval"},
		{"long interval", func(c *jwk.RemoteConfig) { c.RefetchInterval = 11 * time.Minute }, "RemoteConfig.RefetchInterval"},
		{"negative MaxStale", func(c *jwk.RemoteConfig) { c.MaxStale = -1 }, "RemoteConfig.MaxStale"},
		{"a MaxStale that no slow answer survives", func(c *jwk.RemoteConfig) {
			c.RefetchInterval, c.MinRefresh, c.MaxStale = time.Second, time.Second, 4*time.Second
		}, "RemoteConfig.MaxStale"},
		{"one that each survives", func(c *jwk.RemoteConfig) {
			c.RefetchInterval, c.MinRefresh, c.MaxStale = time.Second, time.Second, 4*time.Second+1
		}, ""},
		{"endless MaxStale", func(c *jwk.RemoteConfig) { c.MaxStale = 1<<63 - 1 }, "RemoteConfig.MaxStale"},
		{"a transport that can't be told", func(c *jwk.RemoteConfig) {
			c.PublicOnly, c.HTTPClient = true, &http.Client{Transport: new(issuer)}
		}, "RemoteConfig.HTTPClient"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := jwk.RemoteConfig{URL: keysURL}
			tt.change(&cfg)
			r, err := jwk.Remote(cfg)
			if tt.want == "" && err != nil {
				t.Fatalf("got %v, want no error", err)
			}
			if tt.want != "" && (r != nil || err == nil || !strings.HasPrefix(err.Error(), "jwk: "+tt.want+" ") && !strings.HasPrefix(err.Error(), "jwk: "+tt.want+":")) {
				t.Errorf("got %v, want an error of %s", err, tt.want)
			}
		})
	}
}

func TestRemoteAsksNobodyBeforeItMust(t *testing.T) {
	i := new(issuer)
	a := ecKey(t, "a")
	i.publish(t, a)
	r, _ := remote(t, i)
	if n := i.hits(); n != 0 {
		t.Fatalf("Remote asked %d times", n)
	}
	has(t, r, a)
	unknown(t, r, "b")
	if got, err := r.Lookup(t.Context(), "", "ES256"); err != nil || got.ID() != "a" {
		t.Errorf("without an id: got %v, %v", got, err)
	}
	if _, err := r.Lookup(t.Context(), "a", "ES384"); !errors.Is(err, jwk.ErrUnknownKey) {
		t.Errorf("of another algorithm: got %v, want ErrUnknownKey", err)
	}
	if n := i.hits(); n != 1 {
		t.Errorf("it was asked %d times, want once", n)
	}
}

// However many requests come first, there is one fetch.
func TestF3_OneFetchForAThousand(t *testing.T) {
	a := ecKey(t, "a")
	for name, id := range map[string]string{"with a known id": "a", "with an unknown id": "b", "without an id": ""} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := new(issuer)
				i.publish(t, a)
				i.set(after(time.Second, i.reply))
				r, _ := remote(t, i)
				var wg sync.WaitGroup
				for range 1000 {
					wg.Go(func() {
						_, err := r.Lookup(t.Context(), id, "ES256")
						if (id == "b") != errors.Is(err, jwk.ErrUnknownKey) || id != "b" && err != nil {
							t.Errorf("got %v", err)
						}
					})
				}
				wg.Wait()
				if n := i.hits(); n != 1 {
					t.Errorf("it was asked %d times, want once", n)
				}
			})
		})
	}
}

// What strangers make up does not make the issuer be asked more than once in an
// interval.
func TestF3_RandomIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := new(issuer)
		a := ecKey(t, "a")
		i.publish(t, a)
		r, events := remote(t, i)
		has(t, r, a)
		time.Sleep(time.Minute)
		const seconds = 90
		for n := range 10_000 * seconds / 10 {
			if n%1000 == 0 {
				time.Sleep(time.Second)
			}
			unknown(t, r, fmt.Sprintf("stranger-%d", n))
			has(t, r, a)
		}
		if n := i.hits(); n > 2+seconds/30 {
			t.Errorf("it was asked %d times in %d s", n, seconds)
		}
		for n := 1; n < len(i.times); n++ {
			if d := i.times[n].Sub(i.times[n-1]); d < 30*time.Second {
				t.Errorf("it was asked twice within %v", d)
			}
		}
		synctest.Wait()
		if got := names(events.All()); got != "" {
			t.Errorf("events: %s", got)
		}
	})
}

// An issuer that rotates within the time that it says its keys may be kept (dex
// does) is followed: the first token of a new key is good at once.
func TestRotationWithinMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := new(issuer)
		a, b, c := ecKey(t, "a"), ecKey(t, "b"), ecKey(t, "c")
		i.publish(t, a)
		r, _ := remote(t, i)
		has(t, r, a)
		time.Sleep(30 * time.Second)
		i.publish(t, a, b)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { has(t, r, b) })
		}
		wg.Wait()
		if n := i.hits(); n != 2 {
			t.Fatalf("it was asked %d times, want 2", n)
		}
		// The next comes too soon after, and is found when the interval is over.
		i.publish(t, b, c)
		time.Sleep(29 * time.Second)
		atOnce(t, func() { unknown(t, r, "c") })
		if n := i.hits(); n != 2 {
			t.Fatalf("it was asked %d times, want 2", n)
		}
		time.Sleep(time.Second)
		has(t, r, c)
		unknown(t, r, "a")
	})
}

// The set is renewed while requests go on, and none of them waits for it.
func TestRefreshBehindTheRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := new(issuer)
		a := ecKey(t, "a")
		i.publish(t, a)
		i.set(after(2*time.Second, i.reply))
		r, events := remote(t, i)
		has(t, r, a)
		start := time.Now()
		for time.Since(start) < 3*time.Hour {
			time.Sleep(time.Second)
			atOnce(t, func() { has(t, r, a) })
		}
		// Every 15 minutes, less a quarter to an eighth.
		if n := i.hits() - 1; n < 13 || n > 16 {
			t.Errorf("it was asked %d times in 3 hours", n)
		}
		synctest.Wait()
		if got := names(events.All()); got != "" {
			t.Errorf("events: %s", got)
		}
	})
}

// A set is good for as long as its issuer says, within the bounds: a key that is
// taken back is refused then, whether requests go on or not.
func TestCVE_2025_22149_RemovedKey(t *testing.T) {
	for _, tt := range []struct {
		name   string
		header []string
		want   time.Duration
	}{
		{"nothing said", nil, 15 * time.Minute},
		{"less", []string{"Cache-Control", "public, max-age=300"}, 5 * time.Minute},
		{"less, and not new", []string{"Cache-Control", "max-age=600", "Age", "300"}, 5 * time.Minute},
		{"more", []string{"Cache-Control", "max-age=31536000, immutable"}, 15 * time.Minute},
		{"too little", []string{"Cache-Control", "max-age=1"}, time.Minute},
		{"nothing at all", []string{"Cache-Control", "no-store"}, time.Minute},
	} {
		for _, busy := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, busy %t", tt.name, busy), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					i := new(issuer)
					a, b := ecKey(t, "a"), ecKey(t, "b")
					with := string(setOf(t, a, b))
					i.set(document(200, "application/json", with, tt.header...))
					r, _ := remote(t, i)
					has(t, r, a)
					i.set(document(200, "application/json", string(setOf(t, b)), tt.header...))
					if busy {
						start := time.Now()
						for {
							time.Sleep(time.Second)
							synctest.Wait()
							if _, err := r.Lookup(t.Context(), "a", "ES256"); errors.Is(err, jwk.ErrUnknownKey) {
								break
							}
							if time.Since(start) > tt.want {
								t.Fatalf("it is still good after %v", time.Since(start))
							}
						}
						if d := time.Since(start); d < tt.want/2 {
							t.Errorf("the set was renewed after %v, want %v", d, tt.want)
						}
					} else {
						time.Sleep(tt.want)
						unknown(t, r, "a")
					}
					has(t, r, b)
				})
			})
		}
	}
}

// A key that is the same stays the same by ==, and one that is not does not.
func TestUnchangedKeysStayEqual(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := new(issuer)
		a, b := ecKey(t, "a"), ecKey(t, "b")
		i.publish(t, a, b)
		r, _ := remote(t, i)
		oldA, oldB := has(t, r, a), has(t, r, b)
		b2 := ecKey(t, "b")
		i.publish(t, b2, a, ecKey(t, "c"))
		if err := r.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if has(t, r, a) != oldA {
			t.Error("the key that is the same is another one now")
		}
		if has(t, r, b2) == oldB {
			t.Error("another key of the same id is taken for the old one")
		}
		// The same material for another algorithm is another key.
		i.set(document(200, "application/json", string(setOf(t, rsaDoc().with("kid", "r", "alg", "RS256")))))
		_ = r.Refresh(t.Context())
		rs, err := r.Lookup(t.Context(), "r", "RS256")
		if err != nil {
			t.Fatal(err)
		}
		i.set(document(200, "application/json", string(setOf(t, rsaDoc().with("kid", "r", "alg", "PS256")))))
		_ = r.Refresh(t.Context())
		ps, err := r.Lookup(t.Context(), "r", "PS256")
		if err != nil || ps == rs || ps.Algorithm() != "PS256" {
			t.Errorf("got %v of %s, %v", ps, ps.Algorithm(), err)
		}
		if _, err := r.Lookup(t.Context(), "r", "RS256"); !errors.Is(err, jwk.ErrUnknownKey) {
			t.Errorf("the old algorithm: got %v, want ErrUnknownKey", err)
		}
	})
}

// Two issuers use one id for different keys: neither ever gets the other's.
func TestCVE_2026_49998_TwoIssuersOneID(t *testing.T) {
	for _, order := range []string{"ab", "ba"} {
		t.Run(order, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				keys := map[byte]jwk.Key{'a': ecKey(t, "k"), 'b': ecKey(t, "k")}
				sets := map[byte]*jwk.RemoteSet{}
				for name, k := range keys {
					i := new(issuer)
					i.publish(t, k)
					i.set(after(time.Second, i.reply))
					// The same URL even: what tells them apart is the set.
					sets[name], _ = remote(t, i)
				}
				input := []byte("header.payload")
				var wg sync.WaitGroup
				for n := range 1000 {
					wg.Go(func() {
						mine, other := order[n%2], order[1-n%2]
						signature, err := keys[mine].Sign(input)
						if err != nil {
							t.Error(err)
							return
						}
						k := has(t, sets[mine], keys[mine])
						if err := k.Verify(input, signature); err != nil {
							t.Errorf("its own: %v", err)
						}
						if has(t, sets[other], keys[other]).Verify(input, signature) == nil {
							t.Error("the other's key verifies it")
						}
					})
				}
				wg.Wait()
			})
		})
	}
}

func TestCVE_2026_42576_RemoteSkipsWhatItCantUse(t *testing.T) {
	var reached int
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ }))
	defer other.Close()
	good := ecKey(t, "good")
	body := strings.Replace(string(setOf(t, good)), `"keys":[`, `"keys":[null, 1, "a", [], {}, {"kty":7}, {"kty":"RSA"}, {"kty":"RSA","n":"!","e":"AQAB"},
		{"kty":"EC","crv":"P-256","x":"AA"}, {"kty":"EC","crv":"secp256k1","x":"AA","y":"AA","kid":"z"}, {"kty":"OKP","crv":"X25519","x":"AA"},
		{"kty":"AKP","alg":"ML-DSA-44","pub":"AA","kid":"z"}, {"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow","alg":"HS256","kid":"s"},
		{"kty":"RSA","use":"enc","kid":"good"}, {"kty":"EC","alg":"ECDH-ES","kid":"good"},
		{"kty":"RSA","x5u":"`+other.URL+`","jku":"`+other.URL+`","kid":"q"},`, 1)
	i := new(issuer)
	i.set(document(200, "application/jwk-set+json; charset=utf-8", body))
	r, _ := remote(t, i)
	has(t, r, good)
	unknown(t, r, "z")
	unknown(t, r, "q")
	if _, err := r.Lookup(t.Context(), "s", "HS256"); !errors.Is(err, jwk.ErrUnknownKey) {
		t.Errorf("a secret: got %v, want ErrUnknownKey", err)
	}
	if reached != 0 {
		t.Error("a URL of the set was asked")
	}
}

// Which algorithm a key without "alg" has is the program's to say.
func TestRemoteAlgorithms(t *testing.T) {
	rs := rsaDoc().with("kid", "rsa")
	ec := ecDoc.with("kid", "ec")
	ed := edDoc.with("kid", "ed")
	delete(rs, "alg")
	delete(ec, "alg")
	delete(ed, "alg")
	named := rsaDoc().with("kid", "named", "alg", "RS512")
	for _, tt := range []struct {
		name       string
		algorithms []string
		want       map[string]string // "" is unknown
	}{
		{"the default", nil, map[string]string{"rsa": "RS256", "ec": "ES256", "ed": "EdDSA", "named": "RS512"}},
		{"PS256", []string{"PS256"}, map[string]string{"rsa": "PS256", "ec": "", "ed": "", "named": ""}},
		{"the first that fits", []string{"ES256", "PS384", "RS256", "Ed25519", "EdDSA", "RS512"}, map[string]string{"rsa": "PS384", "ec": "ES256", "ed": "Ed25519", "named": "RS512"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := new(issuer)
			i.set(document(200, "application/json", string(setOf(t, rs, ec, ed, named))))
			r, _ := remote(t, i, func(c *jwk.RemoteConfig) { c.Algorithms = tt.algorithms })
			for id, want := range tt.want {
				for _, alg := range jwk.Algorithms() {
					k, err := r.Lookup(t.Context(), id, alg)
					if alg == want && (err != nil || k.Algorithm() != alg) {
						t.Errorf("%s for %s: %v", id, alg, err)
					}
					if alg != want && !errors.Is(err, jwk.ErrUnknownKey) {
						t.Errorf("%s for %s: got %v, want ErrUnknownKey", id, alg, err)
					}
				}
			}
		})
	}
}

// An issuer that publishes what it has to keep secret is told of, once.
func TestExposedKeysAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := new(issuer)
		private, other := ecDoc.with("kid", "leaked", "d", "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"), ecKey(t, "fine")
		secret := doc{"kty": "oct", "k": b64(goodSecret), "alg": "HS256", "kid": "shared"}
		i.set(document(200, "application/json", string(setOf(t, private, other, secret))))
		r, events := remote(t, i)
		for range 3 {
			if err := r.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		k, err := r.Lookup(t.Context(), "leaked", "ES256")
		if err != nil || k.CanSign() {
			t.Errorf("got %v, which can sign: %t, %v", k, k.CanSign(), err)
		}
		synctest.Wait()
		got := events.Take()
		if names(got) != "sys_monitor_disabled ERROR" || !strings.Contains(got[0].Reason, "leaked, shared") || strings.Contains(got[0].Reason, "870MB6") {
			t.Errorf("got %+v", got)
		}
		i.publish(t, other)
		_ = r.Refresh(t.Context())
		i.set(document(200, "application/json", string(setOf(t, doc{"kty": "oct", "k": "AAAA"}, other))))
		_ = r.Refresh(t.Context())
		synctest.Wait()
		if got := events.Take(); names(got) != "sys_monitor_disabled ERROR" {
			t.Errorf("one without an id, later: got %+v", got)
		}
		// Also of keys that can't be used.
		malformed := private.with("kid", "malformed", "y", 7)
		primes := doc{"kty": "RSA", "kid": "primes", "n": 7, "oth": []any{}}
		i.set(document(200, "application/json", string(setOf(t, malformed, primes, other))))
		_ = r.Refresh(t.Context())
		synctest.Wait()
		if got := events.Take(); names(got) != "sys_monitor_disabled ERROR" || !strings.Contains(got[0].Reason, "malformed, primes") {
			t.Errorf("malformed ones: got %+v", got)
		}
	})
}

func TestRemoteRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := new(issuer)
		a := ecKey(t, "a")
		i.set(refused)
		r, _ := remote(t, i)
		if err := r.Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), keysURL) || !strings.Contains(err.Error(), errDown.Error()) {
			t.Fatalf("got %v, want why", err)
		} else if errors.Is(err, errDown) {
			t.Error("the transport's error is wrapped")
		}
		// It does not wait for the next attempt to be due.
		i.publish(t, a)
		if err := r.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := r.Refresh(t.Context()); err != nil || i.hits() != 3 {
			t.Fatalf("got %v after %d fetches", err, i.hits())
		}
		i.set(hangs)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := r.Refresh(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		has(t, r, a)
	})
}

func TestRemoteClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := new(issuer)
		a := ecKey(t, "a")
		i.publish(t, a)
		r, events := remote(t, i)
		has(t, r, a)
		i.set(hangs)
		waiting := make(chan error)
		go func() {
			time.Sleep(30 * time.Second)
			_, err := r.Lookup(t.Context(), "b", "ES256")
			waiting <- err
		}()
		time.Sleep(31 * time.Second)
		atOnce(t, func() {
			for range 2 {
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}
			if err := <-waiting; err == nil || errors.Is(err, jwk.ErrUnknownKey) {
				t.Errorf("who waited got %v", err)
			}
		})
		if err := r.Refresh(t.Context()); err == nil {
			t.Error("Refresh after Close: got no error")
		}
		has(t, r, a)
		undecidable(t, r, "b")
		time.Sleep(75*time.Minute - 32*time.Second)
		has(t, r, a)
		time.Sleep(time.Second)
		undecidable(t, r, "a")
		if n := i.hits(); n != 2 {
			t.Errorf("it was asked %d times, want 2", n)
		}
		synctest.Wait()
		if got := names(events.All()); got != "" {
			t.Errorf("events: %s", got)
		}
	})
	t.Run("after a good fetch", func(t *testing.T) {
		i := new(issuer)
		a := ecKey(t, "a")
		i.publish(t, a)
		r, _ := remote(t, i)
		if err := r.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		unknown(t, r, "b")
		_ = r.Close()
		has(t, r, a)
		undecidable(t, r, "b")
	})
	t.Run("before anything", func(t *testing.T) {
		i := new(issuer)
		r, _ := remote(t, i)
		_ = r.Close()
		undecidable(t, r, "a")
		if i.hits() != 0 {
			t.Error("it was asked")
		}
	})
	t.Run("while the first fetch is under way", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			i := new(issuer)
			i.set(hangs)
			r, events := remote(t, i)
			go func() { undecidable(t, r, "a") }()
			synctest.Wait()
			_ = r.Close()
			undecidable(t, r, "a")
			synctest.Wait()
			if len(events.All()) != 0 {
				t.Error("there is an event")
			}
		})
	})
}

// The zero set was told of no issuer. It must not take a program down.
func TestZeroRemoteSet(t *testing.T) {
	var r jwk.RemoteSet
	for range 2 {
		undecidable(t, &r, "a")
		undecidable(t, &r, "")
		if err := r.Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), "Remote") {
			t.Errorf("Refresh: got %v, want it to say how a set is made", err)
		}
		if err := r.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
}

// The slowest answer that is waited for is good for its first lookup, in the shortest
// times that are allowed.
func TestSlowIssuerOfShortLivedKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := new(issuer)
		a := ecKey(t, "a")
		i.publish(t, a)
		i.set(after(5*time.Second-1, i.reply))
		r, _ := remote(t, i, func(c *jwk.RemoteConfig) {
			c.RefetchInterval, c.MinRefresh, c.MaxRefresh, c.MaxStale = time.Second, time.Second, time.Second, 4*time.Second+1
		})
		for range 5 {
			has(t, r, a)
			unknown(t, r, "b") // the answer is as new as any can be
		}
	})
}

func TestRemoteLookupDoesNotAllocate(t *testing.T) {
	i := new(issuer)
	a := ecKey(t, "a")
	i.publish(t, a)
	r, _ := remote(t, i)
	has(t, r, a)
	ctx := t.Context()
	if got := testing.AllocsPerRun(1000, func() {
		if _, err := r.Lookup(ctx, "a", "ES256"); err != nil {
			t.Error(err)
		}
		if _, err := r.Lookup(ctx, "made up", "ES256"); err != jwk.ErrUnknownKey {
			t.Error(err)
		}
	}); got != 0 {
		t.Errorf("Lookup allocates %v times", got)
	}
}

// The default is the process's log, and no query gets into it.
func TestRemoteEventsWithoutARecorder(t *testing.T) {
	var buf bytes.Buffer
	old := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&buf, nil)))
	defer slog.SetDefault(old)
	i := new(issuer)
	i.set(refused)
	r, err := jwk.Remote(jwk.RemoteConfig{URL: keysURL + "?key=canary", HTTPClient: &http.Client{Transport: i}})
	if err != nil {
		t.Fatal(err)
	}
	err = r.Refresh(t.Context())
	_ = r.Close() // which waits for the events
	if err == nil || strings.Contains(err.Error()+buf.String(), "canary") || !strings.Contains(buf.String(), "sys_monitor_disabled") {
		t.Errorf("got %v and the log %s", err, buf.String())
	}
}
