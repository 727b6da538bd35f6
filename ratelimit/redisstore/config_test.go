package redisstore_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/ratelimit"
	"github.com/sallyport/sallyport/ratelimit/redisstore"
)

// Nothing listens there, and nothing is sent at construction.
const nowhere = "127.0.0.1:1"

func TestNewRefuses(t *testing.T) {
	good := single(t, nowhere)
	for _, tt := range []struct {
		name string
		cfg  redisstore.Config
		want string
	}{
		{"no client", redisstore.Config{}, "Config.Client is nil"},
		{"a nil client", redisstore.Config{Client: (*redis.Client)(nil)}, "Config.Client is a nil *redis.Client"},
		{"a nil cluster", redisstore.Config{Client: (*redis.ClusterClient)(nil)}, "Config.Client is a nil *redis.ClusterClient"},
		{"a ring", redisstore.Config{Client: ring(t)}, "Config.Client is a *redis.Ring"},
		{"an embedded client", redisstore.Config{Client: struct{ *redis.Client }{good}}, "Config.Client is a struct"},
		{
			"no deadlines",
			redisstore.Config{Client: single(t, nowhere, func(o *redis.Options) { o.ContextTimeoutEnabled = false })},
			"Config.Client needs ContextTimeoutEnabled",
		},
		{
			"no deadlines of a cluster",
			redisstore.Config{Client: cluster(t, nil, func(o *redis.ClusterOptions) { o.ContextTimeoutEnabled = false })},
			"Config.Client needs ContextTimeoutEnabled",
		},
		{
			"a cache",
			redisstore.Config{Client: single(t, nowhere, func(o *redis.Options) { o.ClientSideCacheConfig = &redis.ClientSideCacheConfig{} })},
			"Config.Client has a client-side cache or reads from replicas",
		},
		{
			"reads from replicas",
			redisstore.Config{Client: cluster(t, nil, func(o *redis.ClusterOptions) { o.ReadOnly = true })},
			"Config.Client has a client-side cache or reads from replicas",
		},
		{
			"reads from the nearest",
			redisstore.Config{Client: cluster(t, nil, func(o *redis.ClusterOptions) { o.RouteByLatency = true })},
			"Config.Client has a client-side cache or reads from replicas",
		},
		{
			"reads from any",
			redisstore.Config{Client: cluster(t, nil, func(o *redis.ClusterOptions) { o.RouteRandomly = true })},
			"Config.Client has a client-side cache or reads from replicas",
		},
		{"a hash tag", redisstore.Config{Client: good, Prefix: "{app}:"}, "Config.Prefix contains braces"},
		{"a brace", redisstore.Config{Client: good, Prefix: "}"}, "Config.Prefix contains braces"},
		{"an empty key", redisstore.Config{Client: good, HashKey: []byte{}}, "Config.HashKey has 0 bytes"},
		{"a short key", redisstore.Config{Client: good, HashKey: make([]byte, 31)}, "Config.HashKey has 31 bytes"},
		{"a negative timeout", redisstore.Config{Client: good, Timeout: -time.Second}, "Config.Timeout"},
		{"a timeout without unit", redisstore.Config{Client: good, Timeout: 250}, "Config.Timeout"},
		{"a negative lease", redisstore.Config{Client: good, Lease: redisstore.Lease{Events: -1}}, "Config.Lease.Events"},
		{"a lease for a negative time", redisstore.Config{Client: good, Lease: redisstore.Lease{Events: 2, For: -1}}, "Config.Lease.For"},
		{"a lease for hours", redisstore.Config{Client: good, Lease: redisstore.Lease{Events: 2, For: time.Hour}}, "Config.Lease.For"},
		{"a lease of nothing", redisstore.Config{Client: good, Lease: redisstore.Lease{For: time.Second}}, "Config.Lease.For is set"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store, err := redisstore.New(tt.cfg)
			if store != nil || err == nil || !strings.HasPrefix(err.Error(), "redisstore: "+tt.want) {
				t.Errorf("got %v, %v, want an error with %q", store, err, tt.want)
			}
		})
	}
}

func ring(t *testing.T) *redis.Ring {
	r := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": nowhere}, ContextTimeoutEnabled: true, HeartbeatFrequency: time.Hour})
	t.Cleanup(func() { r.Close() })
	return r
}

func TestStoreShowsNothing(t *testing.T) {
	secret := strings.Repeat("secret", 6)
	cfg := redisstore.Config{
		Client:  single(t, nowhere, func(o *redis.Options) { o.Password = secret }),
		HashKey: []byte(secret),
	}
	store := newStore(t, cfg)
	b := open(t, store, "b", hourly(3))
	for _, v := range []any{store, &store, b, &b} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
			got := fmt.Sprintf(verb, v)
			if strings.Contains(got, secret) || strings.Contains(got, fmt.Sprintf("%x", secret)) || strings.Contains(got, "115, 101, 99") {
				t.Errorf("%s of a %T shows the key: %s", verb, v, got)
			}
		}
	}
}

// The key that names are hashed under gets into no log and no document. %p, which vet
// refuses, is the one verb that fmt does not ask a Formatter about.
func TestConfigShowsNoKey(t *testing.T) {
	key := []byte(strings.Repeat("canary", 6))
	cfg := redisstore.Config{HashKey: key, Prefix: "app:"}
	shows := func(what, text string) {
		t.Helper()
		for _, form := range []string{"canary", "99 97 110", "63616e617279", "63616E617279", "0x63, 0x61", "Y2FuYXJ5"} {
			if strings.Contains(text, form) {
				t.Errorf("%s shows HashKey: %s", what, text)
			}
		}
	}
	type holder struct {
		Config redisstore.Config
		Pair   *redisstore.Config
	}
	for _, v := range []any{cfg, &cfg, holder{cfg, &cfg}, []redisstore.Config{cfg}} {
		for _, verb := range strings.Split("v +v #v s q x X d o b c U t e T", " ") {
			shows("%"+verb, fmt.Sprintf("%"+verb, v))
		}
		var log strings.Builder
		for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
			slog.New(h).Info("it", "config", v)
		}
		shows("slog", log.String())
		text, err := json.Marshal(v)
		if err == nil {
			t.Errorf("JSON of %T: got %s, want an error", v, text)
		}
	}
}

// What can't be counted exactly, or not at all, is refused when a bucket is opened, with
// an error that says which limit it is. Nothing is sent.
func TestOpenRefuses(t *testing.T) {
	const years = 365 * 24 * time.Hour
	good := ratelimit.PerSecond(10)
	for _, tt := range []struct {
		name   string
		limits []ratelimit.Limit
		want   string
	}{
		{"no limits", nil, "there are 0 Limits"},
		{"nine limits", slices.Repeat([]ratelimit.Limit{good}, 9), "there are 9 Limits"},
		{"no events", []ratelimit.Limit{good, {Per: time.Second}}, "Limits[1].Events is 0"},
		{"negative events", []ratelimit.Limit{{Events: -1, Per: time.Second}}, "Limits[0].Events is -1"},
		{"no time", []ratelimit.Limit{{Events: 1}}, "Limits[0].Per is 0s"},
		{"a negative time", []ratelimit.Limit{{Events: 1, Per: -1}}, "Limits[0].Per is -1ns"},
		{"a negative burst", []ratelimit.Limit{good.WithBurst(-1)}, "Limits[0].Burst is -1"},
		{"143 years", []ratelimit.Limit{{Events: 1, Per: 143 * years}}, "Limits[0].Burst takes 142 years or more"},
		{"143 times a year", []ratelimit.Limit{{Events: 1, Per: years, Burst: 143}}, "Limits[0].Burst takes 142 years or more"},
		{"a window of 2⁶⁴", []ratelimit.Limit{{Events: 1, Per: years, Burst: math.MaxInt}}, "Limits[0].Burst takes 142 years or more"},
		{"too many events", []ratelimit.Limit{{Events: 4_503_599_627_371, Per: time.Second + 7}}, "Limits[0].Events is 4503599627371 per 1.000000007s, too many"},
		{"the most events", []ratelimit.Limit{ratelimit.PerSecond(math.MaxInt)}, "too many to be counted exactly"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore(t, redisstore.Config{Client: single(t, nowhere)})
			b, err := s.Open("b", tt.limits)
			if b != nil || err == nil || !strings.HasPrefix(err.Error(), "redisstore: Open: ") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, %v, want an error with %q", b, err, tt.want)
			}
			open(t, s, "b", good) // the name is not taken
		})
	}
	for _, l := range []ratelimit.Limit{
		{Events: 1, Per: 142 * years},
		{Events: 1, Per: years, Burst: 142},
		{Events: 4_503_599_627_370, Per: time.Second + 7},
		{Events: 1e18, Per: time.Second, Burst: math.MaxInt},
		{Events: 1, Per: 1},
		good.WithBurst(0),
	} {
		open(t, newStore(t, redisstore.Config{Client: single(t, nowhere)}), "b", l)
	}
	if _, err := new(redisstore.Store).Open("b", []ratelimit.Limit{good}); err == nil {
		t.Error("a Store that New has not made: got no error")
	}
}

// What can't be counted in windows as it is meant is refused.
func TestOpenRefusesWindows(t *testing.T) {
	store := newStore(t, redisstore.Config{Client: single(t, "127.0.0.1:1")})
	odd := ratelimit.Limit{Events: 10, Per: 1500, Burst: 10}.Sliding()
	long := ratelimit.Limit{Events: 10, Per: 11 * 365 * 24 * time.Hour}.Sliding()
	burst := ratelimit.PerCalendarDay(10, nil)
	burst.Burst = 20
	for name, tt := range map[string]struct {
		limit ratelimit.Limit
		field string
	}{
		"of a zone that differs from machine to machine": {ratelimit.PerCalendarDay(10, time.Local), "Limits[0].Window"},
		"months of such a zone":                          {ratelimit.PerCalendarMonth(10, time.Local), "Limits[0].Window"},
		"with a burst":                                   {burst, "Limits[0].Burst"},
		"too many events":                                {ratelimit.PerCalendarMonth(1<<31, nil), "Limits[0].Events"},
		"parts of a microsecond":                         {odd, "Limits[0].Per"},
		"too long":                                       {long, "Limits[0].Per"},
	} {
		b, err := store.Open(name, []ratelimit.Limit{tt.limit})
		if b != nil || err == nil || !strings.Contains(err.Error(), tt.field) {
			t.Errorf("%s: got %v, %v, want an error that names %s", name, b, err, tt.field)
		}
	}
}
