package ratelimit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport"
	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/eventlog"
	"github.com/sallyport/sallyport/ratelimit"
)

// TestMain keeps the events of refusals, which go to slog.Default, out of the
// output.
func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	m.Run()
}

func newLimiter(t testing.TB, cfg ratelimit.Config) *ratelimit.Limiter {
	t.Helper()
	l, err := ratelimit.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

var ok = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func get() *http.Request { return httptest.NewRequest(http.MethodGet, "/", nil) }

// recorder keeps events.
type recorder struct{ eventlog.Recorder }

func (r *recorder) names() []string {
	var names []string
	for _, e := range r.All() {
		names = append(names, e.Name)
	}
	return names
}

// The fields on each answer, for the sequence of requests of a client.
func TestFields(t *testing.T) {
	type step struct {
		pause         time.Duration
		status        int
		limit, policy string
		retryAfter    string
	}
	const fifth = 200 * time.Millisecond
	for _, c := range []struct {
		name  string
		cfg   ratelimit.Config
		steps []step
	}{
		{"per minute", ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerMinute(3)}}, []step{
			{0, 204, `"default";r=2;t=40`, `"default";q=3;w=60`, ""},
			{0, 204, `"default";r=1;t=20`, `"default";q=3;w=60`, ""},
			{0, 204, `"default";r=0;t=20`, `"default";q=3;w=60`, ""},
			{0, 429, `"default";r=0;t=20`, `"default";q=3;w=60`, "20"},
			{fifth, 429, `"default";r=0;t=20`, `"default";q=3;w=60`, "20"},
			{19*time.Second + 4*fifth - 1, 429, `"default";r=0;t=1`, `"default";q=3;w=60`, "1"},
			{1, 204, `"default";r=0;t=20`, `"default";q=3;w=60`, ""},
			{time.Hour, 204, `"default";r=2;t=40`, `"default";q=3;w=60`, ""},
		}},
		{"burst above events", ratelimit.Config{Name: "api", Limits: []ratelimit.Limit{ratelimit.PerSecond(10).WithBurst(25)}}, []step{
			{0, 204, `"api";r=24;t=3`, `"api";q=25;w=3`, ""},
			{0, 204, `"api";r=23;t=3`, `"api";q=25;w=3`, ""},
		}},
		{"burst below events", ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerHour(1000).WithBurst(2)}}, []step{
			{0, 204, `"default";r=1;t=4`, `"default";q=2;w=8`, ""},
			{0, 204, `"default";r=0;t=4`, `"default";q=2;w=8`, ""},
			{0, 429, `"default";r=0;t=4`, `"default";q=2;w=8`, "4"},
		}},
		{"less than a second", ratelimit.Config{Limits: []ratelimit.Limit{{Events: 1, Per: time.Millisecond}}}, []step{
			{0, 204, `"default";r=0;t=1`, `"default";q=1;w=1`, ""},
			{0, 429, `"default";r=0;t=1`, `"default";q=1;w=1`, "1"},
		}},
		{"a third of a nanosecond more", ratelimit.Config{Limits: []ratelimit.Limit{{Events: 3, Per: 3*time.Second + 1, Burst: 2}}}, []step{
			{0, 204, `"default";r=1;t=2`, `"default";q=2;w=3`, ""},
		}},
		{"several limits", ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerMinute(2), ratelimit.PerDay(100), ratelimit.PerHour(3)}}, []step{
			{0, 204, `"default";r=1;t=30`, `"default";q=2;w=60, "default-2";q=100;w=86400, "default-3";q=3;w=3600`, ""},
			{time.Minute, 204, `"default-3";r=1;t=1200`, `"default";q=2;w=60, "default-2";q=100;w=86400, "default-3";q=3;w=3600`, ""},
			{0, 204, `"default";r=0;t=30`, `"default";q=2;w=60, "default-2";q=100;w=86400, "default-3";q=3;w=3600`, ""},
			{0, 429, `"default-3";r=0;t=1140`, `"default";q=2;w=60, "default-2";q=100;w=86400, "default-3";q=3;w=3600`, "1140"},
		}},
		{"the largest integers", ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerSecond(math.MaxInt)}}, []step{
			{0, 204, `"default";r=999999999999999;t=1`, `"default";q=999999999999999;w=1`, ""},
		}},
		{"the largest window", ratelimit.Config{Limits: []ratelimit.Limit{{Events: 1, Per: 1<<62 - 1}}}, []step{
			{0, 204, `"default";r=0;t=4611686019`, `"default";q=1;w=4611686019`, ""},
			{0, 429, `"default";r=0;t=4611686019`, `"default";q=1;w=4611686019`, "4611686019"},
		}},
		{"a name that needs escapes", ratelimit.Config{Name: `a "b" \c`, Limits: []ratelimit.Limit{ratelimit.PerSecond(2)}}, []step{
			{0, 204, `"a \"b\" \\c";r=1;t=1`, `"a \"b\" \\c";q=2;w=1`, ""},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newLimiter(t, c.cfg).Wrap(ok)
				for i, s := range c.steps {
					time.Sleep(s.pause)
					w := serve(h, get())
					if w.Code != s.status {
						t.Errorf("step %d: got status %d, want %d", i, w.Code, s.status)
					}
					for _, f := range []struct{ name, want string }{
						{"RateLimit", s.limit}, {"RateLimit-Policy", s.policy}, {"Retry-After", s.retryAfter},
					} {
						if got := strings.Join(w.Header().Values(f.name), " | "); got != f.want {
							t.Errorf("step %d: got %s: %s, want %s", i, f.name, got, f.want)
						}
					}
				}
			})
		})
	}
}

// RFC 6585, section 4, and the problem type of the draft: what a refusal is.
func TestRFC6585_4_Refusal(t *testing.T) {
	rec := new(recorder)
	reached := 0
	h := sallyport.Chain(
		httperr.Recover(httperr.Config{Audit: rec}),
		newLimiter(t, ratelimit.Config{Name: "api", Limits: []ratelimit.Limit{ratelimit.PerHour(50), ratelimit.PerMinute(1)}}).Wrap,
	)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ }))
	serve(h, get())
	w := serve(h, get())

	if w.Code != http.StatusTooManyRequests || reached != 1 {
		t.Fatalf("got status %d and %d requests let through, want 429 and 1", w.Code, reached)
	}
	for name, want := range map[string]string{
		"Content-Type":     "application/problem+json",
		"Cache-Control":    "no-store",
		"Retry-After":      "60",
		"RateLimit":        `"api-2";r=0;t=60`,
		"RateLimit-Policy": `"api";q=50;w=3600, "api-2";q=1;w=60`,
	} {
		if got := strings.Join(w.Header().Values(name), " | "); got != want {
			t.Errorf("got %s: %s, want %s", name, got, want)
		}
	}
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	delete(got, "request_id")
	want := map[string]any{
		"type":              "https://iana.org/assignments/http-problem-types#quota-exceeded",
		"title":             "Quota Exceeded",
		"status":            429.0,
		"code":              "rate_limited",
		"detail":            "The quota is used up. Retry-After says when there will be enough of it.",
		"violated-policies": []any{"api-2"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if len(rec.All()) != 1 {
		t.Fatalf("got %d events, want 1: %+v", len(rec.All()), rec.All())
	}
	e := rec.All()[0]
	if e.Name != audit.RateLimitExceeded || e.Status != 429 || e.Code != "rate_limited" || e.Level != slog.LevelWarn ||
		e.Reason != "api-2: over 1 per 1m0s" || e.Addr.String() != "192.0.2.1" {
		t.Errorf("got the event %+v", e)
	}
}

// A refusal to HEAD has the same fields and no body.
func TestRefusalOfHEAD(t *testing.T) {
	h := newLimiter(t, ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerHour(1)}}).Wrap(ok)
	serve(h, get())
	w := serve(h, httptest.NewRequest(http.MethodHead, "/", nil))
	if w.Code != 429 || w.Header().Get("Retry-After") == "" || w.Body.Len() != 0 {
		t.Errorf("got %d %v %q", w.Code, w.Header(), w.Body)
	}
}

// Two limiters in a chain are both told about, and neither overwrites the other,
// nor what all answers share.
func TestTwoLimiters(t *testing.T) {
	outer := newLimiter(t, ratelimit.Config{Name: "outer", Limits: []ratelimit.Limit{ratelimit.PerHour(2)}})
	inner := newLimiter(t, ratelimit.Config{Name: "inner", Limits: []ratelimit.Limit{ratelimit.PerHour(1)}})
	h := outer.Wrap(inner.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Add("RateLimit-Policy", `"mine";q=1`)
	})))
	for i, want := range []struct {
		limits, policies []string
		retryAfter       string
	}{
		{[]string{`"outer";r=1;t=1800`, `"inner";r=0;t=3600`}, []string{`"outer";q=2;w=3600`, `"inner";q=1;w=3600`, `"mine";q=1`}, ""},
		{[]string{`"outer";r=0;t=1800`, `"inner";r=0;t=3600`}, []string{`"outer";q=2;w=3600`, `"inner";q=1;w=3600`}, "3600"},
		{[]string{`"outer";r=0;t=1800`}, []string{`"outer";q=2;w=3600`}, "1800"},
	} {
		w := serve(h, get())
		if got := w.Header().Values("RateLimit"); !slices.Equal(got, want.limits) {
			t.Errorf("request %d: got RateLimit %q, want %q", i, got, want.limits)
		}
		if got := w.Header().Values("RateLimit-Policy"); !slices.Equal(got, want.policies) {
			t.Errorf("request %d: got RateLimit-Policy %q, want %q", i, got, want.policies)
		}
		if got := w.Header().Get("Retry-After"); got != want.retryAfter {
			t.Errorf("request %d: got Retry-After %q, want %q", i, got, want.retryAfter)
		}
	}
}

// The handler gets the request that came, so a limiter costs no copy.
func TestWrapPassesTheRequestOn(t *testing.T) {
	var got *http.Request
	h := newLimiter(t, ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerHour(1)}}).Wrap(
		http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r }))
	r := get()
	serve(h, r)
	if got != r {
		t.Error("the handler got another request")
	}
}

func TestSkip(t *testing.T) {
	l := newLimiter(t, ratelimit.Config{
		Limits: []ratelimit.Limit{ratelimit.PerHour(1)},
		Skip:   func(r *http.Request) bool { return r.URL.Path == "/health" },
		Key: func(r *http.Request) (string, error) {
			if r.URL.Path == "/health" {
				t.Error("an exempt request was asked for its key")
			}
			return "all", nil
		},
	})
	h := l.Wrap(ok)
	health := httptest.NewRequest(http.MethodGet, "/health", nil)
	for range 3 {
		w := serve(h, health)
		if w.Code != 204 || w.Header().Get("RateLimit") != "" || w.Header().Get("RateLimit-Policy") != "" {
			t.Errorf("exempt: got %d %v, want 204 without RateLimit fields", w.Code, w.Header())
		}
		if res, err := l.Check(health); err != nil || !res.Allowed || res.Limit != (ratelimit.Limit{}) {
			t.Errorf("exempt: Check returned %+v, %v, want allowed without a limit", res, err)
		}
	}
	if w := serve(h, get()); w.Code != 204 {
		t.Errorf("first request: got %d, want 204: the exempt ones were counted", w.Code)
	}
	if w := serve(h, get()); w.Code != 429 {
		t.Errorf("second request: got %d, want 429", w.Code)
	}
}

func TestCost(t *testing.T) {
	l := newLimiter(t, ratelimit.Config{
		Limits: []ratelimit.Limit{ratelimit.PerHour(10), ratelimit.PerHour(4)},
		Cost: func(r *http.Request) int {
			var n int
			_, _ = fmt.Sscan(r.URL.Query().Get("n"), &n)
			return n
		},
	})
	var log bytes.Buffer
	h := httperr.Recover(httperr.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})(l.Wrap(ok))
	for _, c := range []struct {
		n          string
		status     int
		code       string
		retryAfter bool
	}{
		{"0", 500, "internal_error", false},
		{"-1", 500, "internal_error", false},
		{"-9223372036854775808", 500, "internal_error", false},
		{"5", 413, "cost_too_high", false},
		{"9223372036854775807", 413, "cost_too_high", false},
		{"3", 204, "", false},
		{"3", 429, "rate_limited", true},
		{"1", 204, "", false},
		{"1", 429, "rate_limited", true},
	} {
		r := httptest.NewRequest(http.MethodGet, "/?n="+c.n, nil)
		w := serve(h, r)
		var p struct{ Code string }
		_ = json.Unmarshal(w.Body.Bytes(), &p)
		if w.Code != c.status || p.Code != c.code || (w.Header().Get("Retry-After") != "") != c.retryAfter {
			t.Errorf("cost %s: got %d %q, Retry-After %q, want %d %q, Retry-After: %t",
				c.n, w.Code, p.Code, w.Header().Get("Retry-After"), c.status, c.code, c.retryAfter)
		}
		if after := w.Header().Get("Retry-After"); after != "" && !strings.HasSuffix(w.Header().Get("RateLimit"), ";t="+after) {
			t.Errorf("cost %s: got RateLimit %s with Retry-After %s, want the same time", c.n, w.Header().Get("RateLimit"), after)
		}
		if w.Header().Get("RateLimit-Policy") == "" {
			t.Errorf("cost %s: the answer has no RateLimit-Policy", c.n)
		}
	}
	for _, want := range []string{"Config.Cost returned 0", "Config.Cost returned -1"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log doesn't tell %q: %s", want, log.String())
		}
	}
}

func TestKeyErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		key    string
		err    error
		status int
	}{
		{"empty", "", nil, 500},
		{"error", "a", errors.New("the tenant is unknown: s3cret"), 500},
		{"problem", "", httperr.New(http.StatusBadRequest, "no_tenant", "Name a tenant."), 400},
		{"wrapped problem", "", fmt.Errorf("key: %w", httperr.New(http.StatusBadRequest, "no_tenant", "Name a tenant.")), 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLimiter(t, ratelimit.Config{
				Limits: []ratelimit.Limit{ratelimit.PerHour(1)},
				Key:    func(*http.Request) (string, error) { return c.key, c.err },
			})
			reached := false
			h := httperr.Recover(httperr.Config{Logger: slog.New(slog.DiscardHandler)})(
				l.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true })))
			w := serve(h, get())
			if w.Code != c.status || reached {
				t.Errorf("got %d, let through: %t, want %d", w.Code, reached, c.status)
			}
			if strings.Contains(w.Body.String(), "s3cret") {
				t.Errorf("the answer shows the cause: %s", w.Body)
			}
			if res, err := l.Check(get()); err == nil || res.Allowed {
				t.Errorf("Check returned %+v, %v, want an error", res, err)
			}
		})
	}
}

// A panic in a callback goes to the door above, and the limiter works on.
func TestPanicInCallback(t *testing.T) {
	panicking := false
	boom := func() {
		if panicking {
			panic("boom")
		}
	}
	for _, c := range []struct {
		name string
		cfg  ratelimit.Config
	}{
		{"Key", ratelimit.Config{Key: func(r *http.Request) (string, error) { boom(); return "a", nil }}},
		{"Cost", ratelimit.Config{Cost: func(*http.Request) int { boom(); return 1 }}},
		{"Skip", ratelimit.Config{Skip: func(*http.Request) bool { boom(); return false }}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.Limits = []ratelimit.Limit{ratelimit.PerHour(2)}
			h := httperr.Recover(httperr.Config{Logger: slog.New(slog.DiscardHandler)})(newLimiter(t, c.cfg).Wrap(ok))
			for i, want := range []int{204, 500, 500, 204, 429} {
				panicking = want == 500
				if w := serve(h, get()); w.Code != want {
					t.Errorf("request %d: got %d, want %d", i, w.Code, want)
				}
			}
			panicking = false
		})
	}
}

// Check is Wrap without the answer.
func TestCheck(t *testing.T) {
	l := newLimiter(t, ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerHour(1)}})
	if res, err := l.Check(get()); err != nil || !res.Allowed || res.Limit != ratelimit.PerHour(1).WithBurst(1) {
		t.Errorf("first: got %+v, %v, want allowed", res, err)
	}
	res, err := l.Check(get())
	var p *httperr.Problem
	if res.Allowed || !errors.As(err, &p) || p.Status != 429 || p.Header.Get("Retry-After") != "3600" {
		t.Errorf("second: got %+v, %v, want a 429 problem", res, err)
	}
	// What one answer gets is not what another does.
	p.Header.Set("Retry-After", "1")
	if _, err := l.Check(get()); !errors.As(err, &p) || p.Header.Get("Retry-After") != "3600" {
		t.Errorf("third: got %v, want a 429 problem of its own", err)
	}
}

func TestTake(t *testing.T) {
	l := newLimiter(t, ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerHour(3)}})
	for _, c := range []struct {
		key     string
		n       int
		want    error
		allowed bool
	}{
		{"", 1, ratelimit.ErrNoKey, false},
		{"a", 0, ratelimit.ErrCost, false},
		{"a", -1, ratelimit.ErrCost, false},
		{"a", math.MinInt, ratelimit.ErrCost, false},
		{"a", 4, ratelimit.ErrCostExceedsBurst, false},
		{"a", math.MaxInt, ratelimit.ErrCostExceedsBurst, false},
		{"a", 3, nil, true},
		{"a", 1, nil, false},
		{"b", 1, nil, true},
	} {
		res, err := l.Take(t.Context(), c.key, c.n)
		if !errors.Is(err, c.want) || res.Allowed != c.allowed {
			t.Errorf("Take(%q, %d): got %+v, %v, want allowed %t, %v", c.key, c.n, res, err, c.allowed, c.want)
		}
	}
}

func TestNew(t *testing.T) {
	valid := []ratelimit.Limit{ratelimit.PerSecond(1)}
	shared := newMemory(t, ratelimit.MemoryConfig{})
	for _, c := range []struct {
		name string
		cfg  ratelimit.Config
		want string // in the error, "" for none
	}{
		{"zero", ratelimit.Config{}, "Config.Limits is empty"},
		{"no limits", ratelimit.Config{Limits: []ratelimit.Limit{}}, "Config.Limits is empty"},
		{"nine limits", ratelimit.Config{Limits: slices.Repeat(valid, 9)}, "Config.Limits has 9"},
		{"eight limits", ratelimit.Config{Limits: slices.Repeat(valid, 8)}, ""},
		{"name with a control character", ratelimit.Config{Limits: valid, Name: "a\r\nSet-Cookie: b=c"}, "Config.Name"},
		{"name that is not ASCII", ratelimit.Config{Limits: valid, Name: "défaut"}, "Config.Name"},
		{"unknown policy", ratelimit.Config{Limits: valid, OnStoreError: 3}, "Config.OnStoreError"},
		{"negative policy", ratelimit.Config{Limits: valid, OnStoreError: -1}, "Config.OnStoreError"},
		{"negative timeout", ratelimit.Config{Limits: valid, StoreTimeout: -1}, "Config.StoreTimeout"},
		{"shared store", ratelimit.Config{Limits: valid, Store: shared}, ""},
		{"shared store, same name", ratelimit.Config{Limits: valid, Store: shared}, `Config.Store can't open "default"`},
		{"shared store, other name", ratelimit.Config{Limits: valid, Store: shared, Name: "other"}, ""},
		{"own store, same name", ratelimit.Config{Limits: valid}, ""},
		{"store that fails", ratelimit.Config{Limits: valid, Store: &flaky{openErr: errors.New("no route")}}, "no route"},
		{"negative jitter", ratelimit.Config{Limits: valid, RetryJitter: -1}, "Config.RetryJitter"},
		{"jitter of a day", ratelimit.Config{Limits: valid, RetryJitter: 24 * time.Hour}, "Config.RetryJitter"},
		{"plans without Plan", ratelimit.Config{Limits: valid, Plans: map[string][]ratelimit.Limit{"pro": valid}}, "Config.Plan"},
		{"Plan without plans", ratelimit.Config{Limits: valid, Plan: planOf}, "Config.Plans"},
		{"plan without a name", ratelimit.Config{Limits: valid, Plan: planOf, Plans: map[string][]ratelimit.Limit{"": valid}}, "Config.Plans"},
		{"plan with a name that is not ASCII", ratelimit.Config{Limits: valid, Plan: planOf, Plans: map[string][]ratelimit.Limit{"é": valid}}, "Config.Plans"},
		{"plan without limits", ratelimit.Config{Limits: valid, Plan: planOf, Plans: map[string][]ratelimit.Limit{"pro": {}}}, `Config.Plans["pro"] is empty`},
		{"plan with limits of nothing", ratelimit.Config{Limits: valid, Plan: planOf, Plans: map[string][]ratelimit.Limit{"pro": {{}}}}, `Config.Plans["pro"][0].Events`},
		{"limits of nothing", ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerSecond(0)}}, "Config.Limits[0].Events"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := ratelimit.New(c.cfg)
			if c.want == "" {
				if err != nil || l == nil {
					t.Errorf("got %v, want no error", err)
				}
				return
			}
			if l != nil || err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "ratelimit: ") {
				t.Errorf("got %v, %v, want an error with %q", l, err, c.want)
			}
		})
	}
	t.Run("nil handler", func(t *testing.T) {
		defer func() {
			if v := recover(); v == nil {
				t.Error("Wrap(nil) did not panic")
			}
		}()
		newLimiter(t, ratelimit.Config{Limits: valid}).Wrap(nil)
	})
}

// What is configured can be listed, and a caller who changes his slices later
// changes nothing.
func TestConfigIsCopied(t *testing.T) {
	limits := []ratelimit.Limit{ratelimit.PerHour(1), ratelimit.PerDay(10).WithBurst(3)}
	l := newLimiter(t, ratelimit.Config{Name: "api", Limits: limits})
	limits[0] = ratelimit.PerHour(1000)
	l.Limits()[0] = ratelimit.PerHour(1000)
	want := []ratelimit.Limit{ratelimit.PerHour(1).WithBurst(1), ratelimit.PerDay(10).WithBurst(3)}
	if got := l.Limits(); !slices.Equal(got, want) {
		t.Errorf("Limits: got %v, want %v", got, want)
	}
	if l.Name() != "api" {
		t.Errorf("Name: got %q, want api", l.Name())
	}
	h := l.Wrap(ok)
	serve(h, get())
	if w := serve(h, get()); w.Code != 429 {
		t.Errorf("got %d, want 429 by the limits as they were", w.Code)
	}
}

// A store is opened once with the name and the complete limits, which it may
// keep. What isn't Memory may fail, and what is costs no timer.
func TestStoreIsOpened(t *testing.T) {
	store := newFlaky(t)
	limits := []ratelimit.Limit{ratelimit.PerHour(1), ratelimit.PerDay(10).WithBurst(3)}
	l := newLimiter(t, ratelimit.Config{Name: "api", Limits: limits, Store: store})
	if len(store.opened) != 1 || store.opened[0] != "api" {
		t.Errorf("the store opened %q, want api", store.opened)
	}
	want := []ratelimit.Limit{ratelimit.PerHour(1).WithBurst(1), ratelimit.PerDay(10).WithBurst(3)}
	if !slices.Equal(store.limits, want) {
		t.Errorf("the store got %v, want %v", store.limits, want)
	}
	store.limits[0] = ratelimit.PerHour(1000)
	if got := l.Limits(); !slices.Equal(got, want) {
		t.Errorf("the limiter has %v after the store changed its slice, want %v", got, want)
	}
}

// A request that is allowed costs a key, a field and its slice.
func TestWrapAllocations(t *testing.T) {
	for name, store := range map[string]ratelimit.Store{"own": nil, "given": newMemory(t, ratelimit.MemoryConfig{})} {
		h := newLimiter(t, ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerSecond(1_000_000)}, Store: store}).Wrap(ok)
		r, w := get(), &discard{h: make(http.Header)}
		got := testing.AllocsPerRun(1000, func() {
			clear(w.h)
			h.ServeHTTP(w, r)
		})
		if got > 4 {
			t.Errorf("%s memory: a request makes %v allocations, want at most 4", name, got)
		}
	}
}

// No key is in a log, an event, an error or an answer.
func TestKeysAreSecret(t *testing.T) {
	const key = "k3y-of-a-customer"
	rec := new(recorder)
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	store := &flaky{Store: newMemory(t, ratelimit.MemoryConfig{})}
	l := newLimiter(t, ratelimit.Config{
		Limits: []ratelimit.Limit{ratelimit.PerHour(1)},
		Key:    func(*http.Request) (string, error) { return key, nil },
		Store:  store,
		Audit:  audit.Slog(logger),
	})
	h := httperr.Recover(httperr.Config{Audit: rec, Logger: logger})(l.Wrap(ok))
	var answers bytes.Buffer
	for range 4 {
		_ = serve(h, get()).Result().Write(&answers)
		store.fail.Store(true)
	}
	_, err := l.Check(get())
	all := answers.String() + log.String() + fmt.Sprintf("%+v %v %+v", rec.All(), err, l)
	if strings.Contains(all, key) {
		t.Errorf("the key is shown in %s", all)
	}
}
