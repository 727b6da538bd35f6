package bench

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/didip/tollbooth/v8"
	tollboothlimiter "github.com/didip/tollbooth/v8/limiter"
	"github.com/go-chi/httprate"
	"github.com/labstack/echo/v4"
	echomiddleware "github.com/labstack/echo/v4/middleware"
	"github.com/sethvargo/go-limiter/httplimit"
	"github.com/sethvargo/go-limiter/memorystore"
	"github.com/throttled/throttled/v2"
	"github.com/throttled/throttled/v2/store/memstore"
	ulule "github.com/ulule/limiter/v3"
	ululestdlib "github.com/ulule/limiter/v3/drivers/middleware/stdlib"
	ululememory "github.com/ulule/limiter/v3/drivers/store/memory"
	"golang.org/x/time/rate"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/internal/scope"
	"github.com/sallyport/sallyport/ratelimit"
)

// A quota is what a limiter is to allow to each key: burst events at once. Those that count
// in windows allow as many in each window, the others one more after each interval.
type quota struct {
	burst            int
	interval, window time.Duration
	forget           time.Duration // what was idle for so long may be dropped; 0 is never, or nearly
	keys             int           // how many there may be
}

var (
	// endless is never used up, and a key that was seen owes something for long.
	endless = quota{burst: 100_000_000, interval: 30 * time.Second, window: 1000 * time.Hour, keys: 1 << 20}
	// usual is a limit of a size that services have. It is regained faster than one client
	// can use it up.
	usual = quota{burst: 100, interval: 10 * time.Nanosecond, window: time.Microsecond, keys: 1 << 20}
	// usedUp allows one event.
	usedUp = quota{burst: 1, interval: 1000 * time.Hour, window: 1000 * time.Hour, keys: 1 << 20}
)

func (q quota) forgetAfter() time.Duration {
	if q.forget == 0 {
		return 1000 * time.Hour
	}
	return q.forget
}

// perSecond is for those that count in floats.
func (q quota) perSecond() float64 { return 1 / q.interval.Seconds() }

// A limiter decides, and may be middleware. A contender with no middleware of its own
// has a nil wrap.
type limiter struct {
	allow func(key string) bool
	wrap  func(http.Handler) http.Handler
	close func()
}

// limiters are the contenders.
var limiters = []struct {
	name string
	make func(quota) (limiter, error)
}{
	{"sallyport", sallyportLimiter},
	{"go-limiter", goLimiter},
	{"throttled", throttledLimiter},
	{"echo", echoLimiter},
	{"x/time", xTimeLimiter},
	{"ulule", ululeLimiter},
	{"tollbooth", tollboothLimiter},
	{"httprate", httprateLimiter},
}

// discardEvents is a recorder that costs nothing: no peer tells anybody of a refusal.
type discardEvents struct{}

func (discardEvents) Record(context.Context, audit.Event) error { return nil }

func sallyportLimiter(q quota) (limiter, error) {
	memory, err := ratelimit.NewMemory(ratelimit.MemoryConfig{MaxKeys: q.keys})
	if err != nil {
		return limiter{}, err
	}
	l, err := ratelimit.New(ratelimit.Config{
		Limits: []ratelimit.Limit{{Events: 1, Per: q.interval, Burst: q.burst}},
		Store:  memory,
	})
	if err != nil {
		return limiter{}, err
	}
	ctx := context.Background()
	return limiter{
		allow: func(key string) bool {
			res, err := l.Take(ctx, key, 1)
			return err == nil && res.Allowed
		},
		wrap: l.Wrap,
	}, nil
}

func goLimiter(q quota) (limiter, error) {
	store, err := memorystore.New(&memorystore.Config{
		Tokens: uint64(q.burst), Interval: q.window, SweepInterval: q.forgetAfter(), SweepMinTTL: q.forgetAfter(),
	})
	if err != nil {
		return limiter{}, err
	}
	middleware, err := httplimit.NewMiddleware(store, httplimit.IPKeyFunc())
	if err != nil {
		return limiter{}, err
	}
	ctx := context.Background()
	return limiter{
		allow: func(key string) bool {
			_, _, _, ok, err := store.Take(ctx, key)
			return err == nil && ok
		},
		wrap:  middleware.Handle,
		close: func() { _ = store.Close(ctx) },
	}, nil
}

func throttledLimiter(q quota) (limiter, error) {
	store, err := memstore.NewCtx(0)
	if err != nil {
		return limiter{}, err
	}
	l, err := throttled.NewGCRARateLimiterCtx(store, throttled.RateQuota{MaxRate: throttled.PerDuration(1, q.interval), MaxBurst: q.burst - 1})
	if err != nil {
		return limiter{}, err
	}
	ctx := context.Background()
	return limiter{
		allow: func(key string) bool {
			limited, _, err := l.RateLimitCtx(ctx, key, 1)
			return err == nil && !limited
		},
		wrap: (&throttled.HTTPRateLimiterCtx{RateLimiter: l, VaryBy: &throttled.VaryBy{RemoteAddr: true}}).RateLimit,
	}, nil
}

func echoLimiter(q quota) (limiter, error) {
	store := echomiddleware.NewRateLimiterMemoryStoreWithConfig(echomiddleware.RateLimiterMemoryStoreConfig{
		Rate: rate.Limit(q.perSecond()), Burst: q.burst, ExpiresIn: q.forgetAfter(),
	})
	e := echo.New()
	e.IPExtractor = echo.ExtractIPDirect()
	return limiter{
		allow: func(key string) bool {
			ok, err := store.Allow(key)
			return err == nil && ok
		},
		wrap: func(next http.Handler) http.Handler {
			h := echomiddleware.RateLimiter(store)(func(c echo.Context) error {
				next.ServeHTTP(c.Response(), c.Request())
				return nil
			})
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c := e.AcquireContext()
				c.Reset(r, w)
				if err := h(c); err != nil {
					e.HTTPErrorHandler(err, c)
				}
				e.ReleaseContext(c)
			})
		},
	}, nil
}

// xTimeLimiter is what is written around x/time/rate: a map, a mutex, and a goroutine that
// drops what was not seen for a while.
func xTimeLimiter(q quota) (limiter, error) {
	type visitor struct {
		limiter *rate.Limiter
		seen    time.Time
	}
	var mu sync.Mutex
	visitors := make(map[string]*visitor)
	stop := make(chan struct{})
	go func() {
		tick := time.NewTicker(q.forgetAfter())
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			mu.Lock()
			for key, v := range visitors {
				if time.Since(v.seen) > q.forgetAfter() {
					delete(visitors, key)
				}
			}
			mu.Unlock()
		}
	}()
	return limiter{
		allow: func(key string) bool {
			now := time.Now()
			mu.Lock()
			v, ok := visitors[key]
			if !ok {
				v = &visitor{limiter: rate.NewLimiter(rate.Every(q.interval), q.burst)}
				visitors[key] = v
			}
			v.seen = now
			allowed := v.limiter.AllowN(now, 1)
			mu.Unlock()
			return allowed
		},
		close: func() { close(stop) },
	}, nil
}

func ululeLimiter(q quota) (limiter, error) {
	store := ululememory.NewStoreWithOptions(ulule.StoreOptions{Prefix: "l", CleanUpInterval: q.forgetAfter()})
	l := ulule.New(store, ulule.Rate{Period: q.window, Limit: int64(q.burst)})
	ctx := context.Background()
	return limiter{
		allow: func(key string) bool {
			c, err := l.Get(ctx, key)
			return err == nil && !c.Reached
		},
		wrap: ululestdlib.NewMiddleware(l).Handler,
	}, nil
}

func tollboothLimiter(q quota) (limiter, error) {
	l := tollbooth.NewLimiter(q.perSecond(), &tollboothlimiter.ExpirableOptions{DefaultExpirationTTL: q.forgetAfter()})
	l.SetBurst(q.burst).SetIPLookup(tollboothlimiter.IPLookup{Name: "RemoteAddr"})
	return limiter{
		allow: func(key string) bool { return !l.LimitReached(key) },
		wrap:  tollbooth.HTTPMiddleware(l),
	}, nil
}

func httprateLimiter(q quota) (limiter, error) {
	l := httprate.NewRateLimiter(q.burst, q.window, httprate.WithKeyFuncs(func(r *http.Request) (string, error) {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		return httprate.CanonicalizeIP(host), err
	}))
	// It has no decision without a request: this is what its middleware asks, and it sets
	// the fields of the answer.
	r := limitedRequest()
	writers := sync.Pool{New: func() any { return &statusWriter{h: make(http.Header)} }}
	return limiter{
		allow: func(key string) bool {
			w := writers.Get().(*statusWriter)
			defer writers.Put(w)
			return !l.OnLimit(w, r, key)
		},
		wrap: l.Handler,
	}, nil
}

// limitedRequest is one as the middleware gets it from the doors above, with a recorder of
// events that costs nothing: the peers tell nobody of a refusal.
func limitedRequest() *http.Request {
	s, r := scope.For(&http.Request{
		Method: http.MethodGet, URL: &url.URL{Path: "/items"}, Header: make(http.Header), RemoteAddr: "192.0.2.1:4711",
	})
	s.Recorder = discardEvents{}
	return r
}

// A contender refuses what is over its limit, by itself and as middleware, and tells keys
// apart: none is measured while it lets everything through.
func TestLimiters(t *testing.T) {
	const burst = 5
	for _, c := range limiters {
		t.Run(c.name, func(t *testing.T) {
			l := newLimiter(t, c.make, quota{burst: burst, interval: time.Hour, window: 24 * time.Hour, keys: 1000})
			for _, key := range []string{"192.0.2.7", "192.0.2.8"} {
				for i := range burst + 3 {
					if got := l.allow(key); got != (i < burst) {
						t.Errorf("%s: request %d of a limit of %d was allowed: %v", key, i+1, burst, got)
					}
				}
			}
			if l.wrap == nil {
				return
			}
			served := 0
			h := l.wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ }))
			for i := range burst + 3 {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, limitedRequest())
				if refused := w.Code == http.StatusTooManyRequests; refused == (i < burst) {
					t.Errorf("middleware: request %d of a limit of %d was answered %d", i+1, burst, w.Code)
				}
				if has := setsFields(w.Header()); has != (c.name != "echo") {
					t.Errorf("the answer tells of the limit: %v", has)
				}
			}
			if served != burst {
				t.Errorf("%d requests were served, want %d", served, burst)
			}
		})
	}
}

// setsFields reports whether an answer tells of a limit.
func setsFields(h http.Header) bool {
	for name := range h {
		if strings.Contains(strings.ToLower(name), "ratelimit-") {
			return true
		}
	}
	return false
}

// Nobody refuses what endless allows, and usedUp allows one event.
func TestQuotas(t *testing.T) {
	for _, c := range limiters {
		t.Run(c.name, func(t *testing.T) {
			l, one := newLimiter(t, c.make, endless), newLimiter(t, c.make, usedUp)
			for i := range 100_000 {
				if !l.allow("a") {
					t.Fatalf("endless refused request %d", i+1)
				}
				if one.allow("a") != (i == 0) {
					t.Fatalf("usedUp was wrong about request %d", i+1)
				}
			}
		})
	}
}

func newLimiter(t testing.TB, of func(quota) (limiter, error), q quota) limiter {
	t.Helper()
	l, err := of(q)
	if err != nil {
		t.Fatal(err)
	}
	if l.close != nil {
		t.Cleanup(l.close)
	}
	return l
}
