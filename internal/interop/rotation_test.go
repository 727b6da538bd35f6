package interop

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth/jwk"
)

// refetchInterval is the shortest that the library takes.
const refetchInterval = time.Second

// TestKeysChange changes each provider's keys under traffic: from one moment to
// the next it signs with a key that nobody has seen. As long as the old keys are
// published no token is ever refused, of the old keys or of the new ones.
func TestKeysChange(t *testing.T) {
	t.Parallel()
	eachProvider(t, func(t *testing.T, p *provider) {
		keys := discovered(t, p, func(cfg *jwk.DiscoverConfig) { cfg.Remote.RefetchInterval = refetchInterval })
		traffic := startTraffic(t, api(t, p, keys), p.token(t))
		traffic.wait(t, 100)
		for range 3 {
			// Within the interval of the last fetch an unknown key would be one
			// that nobody asks for.
			refreshed(t, keys)
			time.Sleep(refetchInterval)
			p.rotate(t)
			traffic.add(p.token(t))
			traffic.wait(t, 100)
		}
		traffic.stop(t)
	})
}

// TestKeyIsTakenBack takes each provider's old keys out of what it publishes. What
// they signed is refused once the set has been renewed, and from then on; and never
// is the answer anything else than yes or no.
func TestKeyIsTakenBack(t *testing.T) {
	t.Parallel()
	eachProvider(t, func(t *testing.T, p *provider) {
		keys := discovered(t, p, func(cfg *jwk.DiscoverConfig) {
			cfg.Remote.RefetchInterval, cfg.Remote.MinRefresh, cfg.Remote.MaxRefresh = refetchInterval, refetchInterval, refetchInterval
		})
		h := api(t, p, keys)
		old := p.token(t)
		if w := get(h, old); w.Code != http.StatusOK {
			t.Fatalf("got status %d: %s", w.Code, w.Body)
		}
		p.rotate(t)
		p.drop(t)
		fresh := p.token(t)
		deadline := time.Now().Add(20 * time.Second)
		for get(h, old).Code == http.StatusOK {
			if time.Now().After(deadline) {
				t.Fatal("a key that was taken back is still good")
			}
			time.Sleep(10 * time.Millisecond)
		}
		for range 20 {
			wantRefused(t, h, old)
			if w := get(h, fresh); w.Code != http.StatusOK {
				t.Errorf("got status %d for a token of the new key: %s", w.Code, w.Body)
			}
		}
		// Refresh is for whoever knows and won't wait.
		if err := keys.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
		wantRefused(t, h, old)
	})
}

// A load is several goroutines that ask with tokens that are all good.
type load struct {
	tokens  atomic.Pointer[[]*used]
	done    chan struct{}
	running sync.WaitGroup

	mu  sync.Mutex
	bad []string
}

// used is a token and how often it was taken.
type used struct {
	token string
	good  atomic.Int64
}

func startTraffic(t *testing.T, h http.Handler, token string) *load {
	t.Helper()
	l := &load{done: make(chan struct{})}
	l.tokens.Store(&[]*used{{token: token}})
	for range 4 {
		l.running.Go(func() {
			for {
				select {
				case <-l.done:
					return
				default:
				}
				all := *l.tokens.Load()
				i := rand.IntN(len(all))
				if w := get(h, all[i].token); w.Code == http.StatusOK {
					all[i].good.Add(1)
				} else {
					l.refused(i, w)
				}
			}
		})
	}
	t.Cleanup(func() { l.stop(t) })
	return l
}

func (l *load) refused(i int, w *httptest.ResponseRecorder) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bad = append(l.bad, fmt.Sprintf("token %d: status %d: %s %s", i, w.Code, w.Header()["Www-Authenticate"], w.Body))
}

// add makes the requests use this token too.
func (l *load) add(token string) {
	all := append(slices.Clone(*l.tokens.Load()), &used{token: token})
	l.tokens.Store(&all)
}

// wait waits until each of the tokens was taken so often, or one was refused.
func (l *load) wait(t *testing.T, n int64) {
	t.Helper()
	for _, one := range *l.tokens.Load() {
		want := one.good.Load() + n
		for deadline := time.Now().Add(time.Minute); one.good.Load() < want; time.Sleep(time.Millisecond) {
			l.mu.Lock()
			bad := len(l.bad)
			l.mu.Unlock()
			if bad > 0 {
				l.stop(t)
				t.FailNow()
			}
			if time.Now().After(deadline) {
				t.Fatal("the requests come to no end")
			}
		}
	}
}

// stop ends the requests and tells which were refused.
func (l *load) stop(t *testing.T) {
	t.Helper()
	select {
	case <-l.done:
		return
	default:
		close(l.done)
	}
	l.running.Wait()
	for _, one := range l.bad[:min(len(l.bad), 5)] {
		t.Errorf("a good token was refused: %s", one)
	}
}
