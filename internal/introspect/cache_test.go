package introspect_test

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/internal/introspect"
)

// until asks once a second, and returns for how long the first answer was good.
func until(t *testing.T, s *asServer, c *introspect.Client, token string) time.Duration {
	t.Helper()
	before, _ := s.count()
	start := time.Now()
	for range 3700 {
		_, _ = c.Introspect(t.Context(), token)
		if asked, _ := s.count(); asked > before+1 {
			return time.Since(start)
		}
		time.Sleep(time.Second)
	}
	return -1
}

// An answer is good for the least of the TTL and the token's own time.
func TestRFC7662_4_CacheIsBoundedByTTLAndExp(t *testing.T) {
	const active, dated = `{"active":true}`, `{"active":true,"exp":%d}`
	for _, tt := range []struct {
		name     string
		body     string
		exp      time.Duration // from now
		ttl, neg time.Duration
		want     time.Duration
	}{
		{"the default", active, 0, 0, 0, 10 * time.Second},
		{"a TTL", active, 0, 30 * time.Second, 0, 30 * time.Second},
		{"the longest", active, 0, time.Hour, 0, time.Hour},
		{"exp before the TTL", dated, 4 * time.Second, 30 * time.Second, 0, 4 * time.Second},
		{"exp after the TTL", dated, time.Hour, 5 * time.Second, 0, 5 * time.Second},
		{"exp is now", dated, 0, 0, 0, time.Second},
		{"exp is past", dated, -time.Hour, 0, 0, time.Second},
		{"off", active, 0, -1, 0, time.Second},
		{"not active", `{"active":false}`, 0, time.Hour, 0, 3 * time.Second},
		{"not active, with a TTL", `{"active":false}`, 0, 0, 20 * time.Second, 20 * time.Second},
		{"not active, off", `{"active":false}`, 0, 0, -1, time.Second},
		{"not active, all off", `{"active":false}`, 0, -1, 20 * time.Second, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body := tt.body
				if strings.Contains(body, "%d") {
					body = fmt.Sprintf(body, time.Now().Add(tt.exp).Unix())
				}
				s := &asServer{answer: says(body)}
				c := newClient(t, s, func(c *introspect.Config) { c.CacheTTL, c.NegativeTTL = tt.ttl, tt.neg })
				if got := until(t, s, c, "t"); got != tt.want {
					t.Errorf("the answer was good for %v, want %v", got, tt.want)
				}
			})
		})
	}
}

// The time that counts begins when the endpoint is asked, not when it answers.
func TestTheTTLBeginsWithTheQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asServer{hold: sleeps(2 * time.Second)}
		c := newClient(t, s)
		ask(t, c, "t")
		s.set(func(s *asServer) { s.answer = says(`{"active":false}`) })
		time.Sleep(8*time.Second - 1)
		if !ask(t, c, "t").Active {
			t.Error("the token is not active, though what was said of it is still good")
		}
		time.Sleep(time.Nanosecond)
		if ask(t, c, "t").Active {
			t.Error("the token is active 10 s after it was asked about")
		}
	})
}

// A token that is revoked at the issuer ends with what is remembered of it, and one
// that becomes good is not kept out by what was said before.
func TestAnswersReplaceEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asServer{answer: says(`{"active":false}`)}
		c := newClient(t, s)
		ask(t, c, "t")
		s.set(func(s *asServer) { s.answer = says(`{"active":true,"sub":"a"}`) })
		time.Sleep(3 * time.Second)
		if a := ask(t, c, "t"); !a.Active {
			t.Error("not active after the negative TTL")
		}
		s.set(func(s *asServer) { s.answer = says(`{"active":true,"sub":"b"}`) })
		time.Sleep(10 * time.Second)
		if a := ask(t, c, "t"); !strings.Contains(string(a.Claims), `"b"`) {
			t.Errorf("claims = %s after the TTL", a.Claims)
		}
		if asked, _ := s.count(); asked != 3 {
			t.Errorf("asked %d times, want 3", asked)
		}
		ask(t, c, "t")
		if asked, _ := s.count(); asked != 3 {
			t.Error("what took the place of another is not remembered")
		}
		if active, _, bytes := introspect.Remembered(c); active != 1 || bytes > 1000 {
			t.Errorf("%d tokens in %d bytes", active, bytes)
		}
		s.set(func(s *asServer) { s.answer = says(`{"active":false}`) })
		time.Sleep(10 * time.Second)
		if a := ask(t, c, "t"); a.Active {
			t.Error("active after the TTL")
		}
	})
}

// The holes of Oathkeeper: an answer that was given to one endpoint, issuer,
// audience or caller was found by another.
func TestGO_2022_0406_GO_2026_4799_CVE_2026_33496_CacheKey(t *testing.T) {
	type tuple struct {
		endpoint, issuer string
		audience         []string
		caller, token    string
	}
	seen := make(map[[32]byte]tuple)
	add := func(x tuple) {
		k := introspect.Key(x.endpoint, x.issuer, x.audience, x.caller, x.token)
		if y, ok := seen[k]; ok && fmt.Sprintf("%q", x) != fmt.Sprintf("%q", y) {
			t.Fatalf("%q and %q have one key", x, y)
		}
		seen[k] = x
	}
	// All ways to cut short texts, which have what others use as separators, into the
	// parts of a key.
	n := 0
	for _, text := range []string{"aaaaa", "a,b,a", "a\x00a\x00a", "\x00\x00\x00\x01a", "a:b:c"} {
		for i := 0; i <= len(text); i++ {
			for j := i; j <= len(text); j++ {
				for k := j; k <= len(text); k++ {
					for l := k; l <= len(text); l++ {
						for _, audience := range [][]string{nil, {text[j:k]}, {text[j:k], ""}, {"", text[j:k]}} {
							add(tuple{text[:i], text[i:j], audience, text[k:l], text[l:]})
							n++
						}
						for m := j; m <= k; m++ {
							add(tuple{text[:i], text[i:j], []string{text[j:m], text[m:k]}, text[k:l], text[l:]})
							n++
						}
					}
				}
			}
		}
	}
	if n < 3000 {
		t.Errorf("only %d keys", n)
	}
}

func FuzzKey(f *testing.F) {
	f.Add("e", "i", "a", "b", "c", "t", "e", "i", "ab", "", "c", "t")
	f.Add("\x00", "", "", "", "", "t", "", "\x00", "", "", "", "t")
	f.Fuzz(func(t *testing.T, e1, i1, a1, b1, c1, t1, e2, i2, a2, b2, c2, t2 string) {
		same := e1 == e2 && i1 == i2 && a1 == a2 && b1 == b2 && c1 == c2 && t1 == t2
		if got := introspect.Key(e1, i1, []string{a1, b1}, c1, t1) == introspect.Key(e2, i2, []string{a2, b2}, c2, t2); got != same {
			t.Errorf("equal keys %v, equal questions %v", got, same)
		}
		if introspect.Key(e1, i1, []string{a1, b1}, c1, t1) == introspect.Key(e2, i2, []string{a2}, c2, t2) {
			t.Error("one and two audiences have one key")
		}
	})
}

// A flood of invented tokens takes a bounded memory, meets the endpoint a bounded
// number at a time, and does not push out what is known of good ones.
func TestAFloodOfTokensIsBounded(t *testing.T) {
	const flood = 100_000
	s := &asServer{answer: func(token string) (int, string, string) {
		if strings.HasPrefix(token, "good") {
			return 200, "application/json", `{"active":true,"sub":"alice"}`
		}
		return 200, "application/json", `{"active":false}`
	}}
	c := newClient(t, s, func(c *introspect.Config) {
		c.CacheTTL, c.NegativeTTL, c.MaxEntries, c.MaxConcurrent = time.Hour, time.Minute, 1000, 4
	})
	for i := range 500 {
		ask(t, c, fmt.Sprintf("good%d", i))
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range flood / 8 {
				if a := ask(t, c, fmt.Sprintf("garbage.%d.%d", g, i)); a.Active {
					t.Error("garbage is active")
				}
			}
		})
	}
	wg.Wait()
	asked, most := s.count()
	s.set(func(s *asServer) { s.asked = nil })
	runtime.GC()
	runtime.ReadMemStats(&after)
	active, inactive, bytes := introspect.Remembered(c)
	if active != 500 || inactive != 1000 || bytes > 1500*400 {
		t.Errorf("%d active and %d other tokens are remembered, in %d bytes", active, inactive, bytes)
	}
	if most > 4 || asked != flood+500 {
		t.Errorf("the endpoint was asked %d times, up to %d at once, want %d and 4", asked, most, flood+500)
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	for i := range 500 {
		ask(t, c, fmt.Sprintf("good%d", i))
	}
	if asked, _ := s.count(); asked != 0 {
		t.Errorf("%d good tokens were pushed out", asked)
	}
}

// What is accounted for an entry is not less than what it takes.
func TestBytesAreBounded(t *testing.T) {
	if got := introspect.EntryBytes(); got > introspect.EntryOverhead {
		t.Errorf("an entry takes %d bytes beside its claims, and %d are accounted", got, introspect.EntryOverhead)
	}
	claims := `{"active":true,"x":"` + strings.Repeat("a", 10_000) + `"}`
	s := &asServer{answer: says(claims)}
	c := newClient(t, s, func(c *introspect.Config) { c.MaxBytes, c.CacheTTL = 64<<10, time.Hour })
	for i := range 20 {
		ask(t, c, fmt.Sprint("t", i))
	}
	if active, _, bytes := introspect.Remembered(c); active != 6 || bytes > 64<<10 {
		t.Errorf("%d tokens in %d bytes, want 6 in 64 KiB", active, bytes)
	}
	// The newest are those that stay.
	s.set(func(s *asServer) { s.asked = nil })
	for i := 14; i < 20; i++ {
		ask(t, c, fmt.Sprint("t", i))
	}
	if asked, _ := s.count(); asked != 0 {
		t.Errorf("%d of the newest tokens were pushed out", asked)
	}
}

// What has ended makes room before what has not.
func TestEndedEntriesAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(asServer)
		c := newClient(t, s)
		for i := range 100 {
			ask(t, c, fmt.Sprint("t", i))
		}
		time.Sleep(10 * time.Second)
		ask(t, c, "another")
		if active, _, _ := introspect.Remembered(c); active != 1 {
			t.Errorf("%d tokens are remembered, want 1", active)
		}
	})
}

// Of any number who ask about one token at a time, one does.
func TestOneRequestForEachToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, ttl := range []time.Duration{0, -1} {
			s := &asServer{hold: sleeps(time.Second)}
			c := newClient(t, s, func(c *introspect.Config) { c.CacheTTL = ttl })
			var wg sync.WaitGroup
			for range 1000 {
				wg.Go(func() {
					if !ask(t, c, "t").Active {
						t.Error("not active")
					}
				})
			}
			wg.Wait()
			if asked, _ := s.count(); asked != 1 {
				t.Errorf("the endpoint was asked %d times, want 1", asked)
			}
			if flights, slots := introspect.Leftover(c); flights != 0 || slots != 0 {
				t.Errorf("%d requests and %d places are left", flights, slots)
			}
		}
	})
}

// Without the race that this looks for, each token costs one request, however those
// who ask come together.
func TestNoTokenIsAskedTwice(t *testing.T) {
	s := new(asServer)
	c := newClient(t, s, func(c *introspect.Config) { c.CacheTTL = time.Hour })
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 2000 {
				ask(t, c, fmt.Sprint("t", i))
			}
		})
	}
	wg.Wait()
	if asked, _ := s.count(); asked != 2000 {
		t.Errorf("2000 tokens cost %d requests", asked)
	}
}

// A first caller that leaves takes nothing from the others: not the answer, and not
// their time.
func TestFirstCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asServer{hold: sleeps(time.Second)}
		c := newClient(t, s)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.Introspect(ctx, "t"); err == nil {
				t.Error("the first caller got a decision")
			}
		})
		synctest.Wait()
		for range 10 {
			wg.Go(func() {
				if !ask(t, c, "t").Active {
					t.Error("not active")
				}
			})
		}
		synctest.Wait()
		cancel()
		wg.Wait()
		if asked, _ := s.count(); asked != 1 {
			t.Errorf("the endpoint was asked %d times, want 1", asked)
		}
	})
}

// A request that waits for a place is made as long as one of several callers is
// left.
func TestFirstCallerLeavesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asServer{hold: sleeps(time.Second)}
		c := newClient(t, s, func(c *introspect.Config) { c.MaxConcurrent = 1 })
		var wg sync.WaitGroup
		wg.Go(func() { ask(t, c, "another") })
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() { _, _ = c.Introspect(ctx, "t") })
		synctest.Wait()
		wg.Go(func() { ask(t, c, "t") })
		synctest.Wait()
		cancel()
		synctest.Wait()
		wg.Go(func() { ask(t, c, "t") })
		wg.Wait()
		if asked, _ := s.count(); asked != 2 {
			t.Errorf("asked %d times, want 2", asked)
		}
	})
}

// Requests to the endpoint are bounded, and so are those that wait.
func TestConcurrencyIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asServer{hold: sleeps(100 * time.Millisecond)}
		c := newClient(t, s, func(c *introspect.Config) { c.MaxConcurrent = 2 })
		busy := 0
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range 30 {
			wg.Go(func() {
				_, err := c.Introspect(t.Context(), fmt.Sprint("t", i))
				if err != nil && err != introspect.ErrBusy {
					t.Errorf("got %v", err)
				}
				if err != nil {
					mu.Lock()
					busy++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if asked, most := s.count(); most != 2 || asked != 18 || busy != 12 {
			t.Errorf("%d requests, up to %d at once, and %d were told to be busy; want 18, 2, 12", asked, most, busy)
		}
	})
}

// Who waits for a place leaves with its context, and then nothing is asked on its
// behalf.
func TestWaitersLeaveWithTheirContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asServer{hold: sleeps(time.Second)}
		c := newClient(t, s, func(c *introspect.Config) { c.MaxConcurrent = 1 })
		var wg sync.WaitGroup
		wg.Go(func() { ask(t, c, "first") })
		synctest.Wait()
		before := runtime.NumGoroutine()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		for i := range 8 {
			wg.Go(func() {
				start := time.Now()
				if _, err := c.Introspect(ctx, fmt.Sprint("t", i)); err == nil || time.Since(start) != 100*time.Millisecond {
					t.Errorf("got %v after %v", err, time.Since(start))
				}
			})
		}
		synctest.Wait()
		if flights, _ := introspect.Leftover(c); flights != 9 {
			t.Errorf("%d requests are known, want 9", flights)
		}
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		if n := runtime.NumGoroutine() - before; n > 0 {
			t.Errorf("%d goroutines wait on", n)
		}
		if flights, _ := introspect.Leftover(c); flights != 1 {
			t.Errorf("%d requests are known after the waiters have left, want 1", flights)
		}
		// One that comes now gets its own, and an answer.
		wg.Go(func() { ask(t, c, "t0") })
		wg.Wait()
		if asked, _ := s.count(); asked != 2 {
			t.Errorf("the endpoint was asked %d times, want 2", asked)
		}
	})
}

// The wait for a place ends too.
func TestTheWaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		c := newClient(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			<-stuck // whatever its context says
			return nil, r.Context().Err()
		}), func(c *introspect.Config) { c.MaxConcurrent = 1 })
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = c.Introspect(t.Context(), "a") })
		synctest.Wait()
		start := time.Now()
		if _, err := c.Introspect(t.Context(), "b"); err != introspect.ErrBusy || time.Since(start) != 3*time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		close(stuck)
		wg.Wait()
	})
}
