package redisstore_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/auth/redisstore"
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
			"Config.Client has a client-side cache",
		},
		{
			"reads from replicas",
			redisstore.Config{Client: cluster(t, nil, func(o *redis.ClusterOptions) { o.ReadOnly = true })},
			"Config.Client reads from replicas",
		},
		{
			"reads from the nearest",
			redisstore.Config{Client: cluster(t, nil, func(o *redis.ClusterOptions) { o.RouteByLatency = true })},
			"Config.Client reads from replicas",
		},
		{
			"reads from any",
			redisstore.Config{Client: cluster(t, nil, func(o *redis.ClusterOptions) { o.RouteRandomly = true })},
			"Config.Client reads from replicas",
		},
		{"a hash tag", redisstore.Config{Client: good, Prefix: "{app}:"}, "Config.Prefix contains braces"},
		{"a brace", redisstore.Config{Client: good, Prefix: "}"}, "Config.Prefix contains braces"},
		{"an empty key", redisstore.Config{Client: good, HashKey: []byte{}}, "Config.HashKey has 0 bytes"},
		{"a short key", redisstore.Config{Client: good, HashKey: make([]byte, 31)}, "Config.HashKey has 31 bytes"},
		{"a negative timeout", redisstore.Config{Client: good, Timeout: -time.Second}, "Config.Timeout"},
		{"a timeout without unit", redisstore.Config{Client: good, Timeout: 250}, "Config.Timeout"},
		{"negative replicas", redisstore.Config{Client: good, WaitReplicas: -1}, "Config.WaitReplicas"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			revocations, err := redisstore.NewRevocations(tt.cfg)
			if revocations != nil || err == nil || !strings.HasPrefix(err.Error(), "redisstore: "+tt.want) {
				t.Errorf("NewRevocations: got %v, %v, want an error with %q", revocations, err, tt.want)
			}
			replays, err := redisstore.NewReplays(tt.cfg)
			if replays != nil || err == nil || !strings.HasPrefix(err.Error(), "redisstore: "+tt.want) {
				t.Errorf("NewReplays: got %v, %v, want an error with %q", replays, err, tt.want)
			}
		})
	}
}

func ring(t *testing.T) *redis.Ring {
	r := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": nowhere}, ContextTimeoutEnabled: true, HeartbeatFrequency: time.Hour})
	t.Cleanup(func() { r.Close() })
	return r
}

func TestStoresShowNothing(t *testing.T) {
	secret := strings.Repeat("secret", 6)
	cfg := redisstore.Config{
		Client:  single(t, nowhere, func(o *redis.Options) { o.Password = secret }),
		HashKey: []byte(secret),
	}
	revocations, replays := newRevocations(t, cfg), newReplays(t, cfg)
	for _, v := range []any{revocations, *revocations, replays, *replays} {
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
