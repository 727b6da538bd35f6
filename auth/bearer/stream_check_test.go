package bearer_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/bearer"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/eventlog"
)

// The check is told of the token what bearer.Config.Revoked is told, and ends the
// stream within the interval.
func TestStreamEndsWhenRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := new(eventlog.Recorder)
		start := time.Now()
		var asked []time.Duration
		var told []bearer.Token
		check := func(ctx context.Context, tok bearer.Token) (bool, error) {
			if d, ok := ctx.Deadline(); !ok || time.Until(d) != 5*time.Second {
				t.Errorf("the check has until %v", d)
			}
			asked, told = append(asked, time.Since(start)), append(told, tok)
			return time.Since(start) > 5*time.Minute, nil
		}
		h, r := streamOf(t, newStreams(t, bearer.StreamConfig{Revoked: check, Audit: rec}), time.Hour, func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "data")
			id, _ := auth.FromContext(r.Context())
			id.Subject, id.Issuer = "mallory", "" // it is the handler's own
			<-r.Context().Done()
			if got := context.Cause(r.Context()); got != bearer.ErrRevoked {
				t.Errorf("cause = %v", got)
			}
		})
		w := newSink()
		if v := w.serve(h, r); v != http.ErrAbortHandler {
			t.Errorf("panicked with %v", v)
		}
		if took := time.Since(start); took <= 5*time.Minute || took > 5*time.Minute+30*time.Second {
			t.Errorf("ended after %v", took)
		}
		if asked[0] <= 15*time.Second-1 || asked[0] > 30*time.Second {
			t.Errorf("the first check came after %v", asked[0])
		}
		for i := range asked[1:] {
			if asked[i+1]-asked[i] != 30*time.Second {
				t.Errorf("%v between two checks", asked[i+1]-asked[i])
			}
		}
		want := bearer.Token{
			ID: "t-1", SessionID: "s-1", Issuer: testIssuer, Subject: "alice", ClientID: "app",
			IssuedAt: time.Unix(start.Unix(), 0), Expires: time.Unix(start.Unix()+3600, 0),
		}
		for _, tok := range told {
			if tok != want {
				t.Errorf("the check was told of %+v, want %+v", tok, want)
			}
		}
		synctest.Wait()
		if all := rec.All(); len(all) != 1 || all[0].Name != audit.SessionExpired || all[0].Level != slog.LevelWarn || all[0].Subject != "alice" {
			t.Errorf("got the events %+v", all)
		}
	})
}

// Streams that begin together are not checked together.
func TestStreamChecksAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var mu sync.Mutex
		first := make(map[time.Duration]int)
		s := newStreams(t, bearer.StreamConfig{Revoked: func(context.Context, bearer.Token) (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			first[time.Since(start)/time.Second]++
			return false, nil
		}})
		h, r := streamOf(t, s, time.Hour, func(http.ResponseWriter, *http.Request) { time.Sleep(30 * time.Second) })
		var wg sync.WaitGroup
		for range 300 {
			wg.Go(func() { newSink().serve(h, r.Clone(context.Background())) })
		}
		wg.Wait()
		total := 0
		for second, n := range first {
			if total += n; n > 60 {
				t.Errorf("%d checks in second %d", n, second)
			}
		}
		if total < 250 {
			t.Errorf("%d checks", total)
		}
	})
}

// An identity of another scheme is watched too, with what it has.
func TestStreamOfOtherIdentities(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		expires := time.Now().Add(20 * time.Minute)
		for _, tt := range []struct {
			name string
			id   auth.Identity
			want bearer.Token
		}{
			{"API key", auth.Identity{Subject: "alice", ClientID: "k1", Expires: expires}, bearer.Token{Subject: "alice", ClientID: "k1", Expires: expires}},
			{"mapped subject", auth.Identity{
				Subject: "u-17", Issuer: "https://app.example",
				Claims: auth.NewClaims(`{"iss":"https://login.example","sub":"alice","jti":"j","sid":"s","iat":1700000000.5}`),
			}, bearer.Token{
				ID: "j", SessionID: "s", Issuer: "https://login.example", Subject: "alice", IssuedAt: time.Unix(1700000000, 5e8),
			}},
			{"claims of other types", auth.Identity{
				Subject: "alice", Claims: auth.NewClaims(`{"iss":1,"sub":null,"jti":["j"],"sid":{},"iat":"x"}`),
			}, bearer.Token{Subject: "alice"}},
			{"iat out of range", auth.Identity{Subject: "alice", Claims: auth.NewClaims(`{"iat":1e300}`)}, bearer.Token{Subject: "alice"}},
		} {
			var told bearer.Token
			s := newStreams(t, bearer.StreamConfig{Revoked: func(_ context.Context, tok bearer.Token) (bool, error) {
				told = tok
				return true, nil
			}})
			h := httperr.Recover(quiet())(s.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })))
			r := httptest.NewRequest("GET", "/", nil)
			w := newSink()
			if v := w.serve(h, r.WithContext(auth.NewContext(r.Context(), &tt.id))); v != nil || w.status != 403 {
				t.Errorf("%s: got %d, panicked with %v", tt.name, w.status, v)
			}
			if told != tt.want {
				t.Errorf("%s: the check was told of %+v, want %+v", tt.name, told, tt.want)
			}
		}
	})
}

// A check that can't tell is no end at once, and one after MaxStale.
func TestStreamWithoutAnswer(t *testing.T) {
	down := errors.New("connection refused")
	hang := func(ctx context.Context, _ bearer.Token) (bool, error) { <-ctx.Done(); return false, ctx.Err() }
	stuck := func(context.Context, bearer.Token) (bool, error) { time.Sleep(10 * time.Minute); return false, nil }
	for _, tt := range []struct {
		name  string
		cfg   bearer.StreamConfig
		check func(since time.Duration) bearer.RevocationCheck
		least time.Duration
		most  time.Duration
		names []string
	}{
		{"fails from the start", bearer.StreamConfig{}, func(time.Duration) bearer.RevocationCheck {
			return func(context.Context, bearer.Token) (bool, error) { return false, down }
		}, 90 * time.Second, 90 * time.Second, []string{audit.SysMonitorDisabled, audit.SessionExpired}},
		{"says revoked and an error", bearer.StreamConfig{}, func(time.Duration) bearer.RevocationCheck {
			return func(context.Context, bearer.Token) (bool, error) { return true, down }
		}, 90 * time.Second, 90 * time.Second, []string{audit.SysMonitorDisabled, audit.SessionExpired}},
		{"panics", bearer.StreamConfig{}, func(time.Duration) bearer.RevocationCheck {
			return func(context.Context, bearer.Token) (bool, error) { panic("nil map") }
		}, 90 * time.Second, 90 * time.Second, []string{audit.SysMonitorDisabled, audit.SessionExpired}},
		{"ends its goroutine", bearer.StreamConfig{}, func(time.Duration) bearer.RevocationCheck {
			return func(context.Context, bearer.Token) (bool, error) { runtime.Goexit(); return false, nil }
		}, 90 * time.Second, 90 * time.Second, []string{audit.SessionExpired}},
		{"hangs", bearer.StreamConfig{}, func(time.Duration) bearer.RevocationCheck { return hang }, 90 * time.Second, 90 * time.Second, []string{audit.SysMonitorDisabled, audit.SessionExpired}},
		{"hangs, whatever its context says", bearer.StreamConfig{}, func(time.Duration) bearer.RevocationCheck { return stuck }, 90 * time.Second, 90 * time.Second, []string{audit.SessionExpired}},
		{"other times", bearer.StreamConfig{Interval: 10 * time.Second, MaxStale: 305 * time.Second}, func(time.Duration) bearer.RevocationCheck { return hang }, 305 * time.Second, 305 * time.Second, []string{audit.SysMonitorDisabled, audit.SessionExpired}},
		{"fails after a while", bearer.StreamConfig{}, func(since time.Duration) bearer.RevocationCheck {
			return func(context.Context, bearer.Token) (bool, error) {
				if since < 10*time.Minute {
					return false, nil
				}
				return false, down
			}
		}, 11 * time.Minute, 11*time.Minute + 30*time.Second, []string{audit.SysMonitorDisabled, audit.SessionExpired}},
		{"fails now and then", bearer.StreamConfig{}, func(since time.Duration) bearer.RevocationCheck {
			return func(context.Context, bearer.Token) (bool, error) {
				if since < 20*time.Minute && since/(30*time.Second)%2 == 0 {
					return false, down
				}
				return since >= 20*time.Minute, nil
			}
		}, 20 * time.Minute, 20*time.Minute + 30*time.Second, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rec := new(eventlog.Recorder)
				start := time.Now()
				tt.cfg.Audit = rec
				tt.cfg.Revoked = func(ctx context.Context, tok bearer.Token) (bool, error) {
					return tt.check(time.Since(start))(ctx, tok)
				}
				h, r := streamOf(t, newStreams(t, tt.cfg), time.Hour, func(w http.ResponseWriter, r *http.Request) {
					fmt.Fprint(w, "data")
					<-r.Context().Done()
				})
				w := newSink()
				if v := w.serve(h, r); v != http.ErrAbortHandler {
					t.Errorf("panicked with %v", v)
				}
				if took := time.Since(start); took < tt.least || took > tt.most {
					t.Errorf("ended after %v, want %v to %v", took, tt.least, tt.most)
				}
				synctest.Wait()
				if got := events(rec); tt.names != nil && !slices.Equal(got, tt.names) {
					t.Errorf("got the events %v, want %v", got, tt.names)
				}
				if all := rec.All(); tt.names != nil && all[len(all)-1].Level != slog.LevelError {
					t.Errorf("got the event %+v", all[len(all)-1])
				}
				time.Sleep(10 * time.Minute) // the check that hangs
				if got := len(rec.All()); tt.names != nil && got != len(tt.names) {
					t.Errorf("%d events, the last of them late", got)
				}
			})
		})
	}
}

// That the check fails is told once, however many streams there are, and that it works
// again.
func TestStreamCheckOutageIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := new(eventlog.Recorder)
		var down atomic.Bool
		s := newStreams(t, bearer.StreamConfig{Audit: rec, MaxStale: time.Hour, Revoked: func(context.Context, bearer.Token) (bool, error) {
			if down.Load() {
				return false, errors.New("connection refused")
			}
			return false, nil
		}})
		stop := make(chan struct{})
		h, r := streamOf(t, s, 2*time.Hour, func(http.ResponseWriter, *http.Request) { <-stop })
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { newSink().serve(h, r.Clone(context.Background())) })
		}
		for _, step := range []struct {
			down bool
			want []string
		}{
			{false, nil},
			{true, []string{audit.SysMonitorDisabled}},
			{false, []string{audit.SysMonitorDisabled, audit.SysMonitorEnabled}},
		} {
			down.Store(step.down)
			time.Sleep(10 * time.Minute)
			if got := events(rec); !slices.Equal(got, step.want) {
				t.Errorf("got the events %v, want %v", got, step.want)
			}
		}
		// One that comes and goes is told no more than once in an interval.
		rec.Take()
		for range 600 {
			down.Store(!down.Load())
			time.Sleep(time.Second)
		}
		if got := len(events(rec)); got > 41 {
			t.Errorf("%d events in 10 minutes", got)
		}
		close(stop)
		wg.Wait()
	})
}
