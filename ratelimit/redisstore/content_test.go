package redisstore_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/internal/conformance"
	"github.com/sallyport/sallyport/internal/redistest"
	"github.com/sallyport/sallyport/ratelimit"
	"github.com/sallyport/sallyport/ratelimit/redisstore"
)

// Nothing that names a client gets to Redis, nor the name of the limiter: not into its
// keys or values, and not over the wire.
func TestNothingPersonalIsStored(t *testing.T) {
	p := redistest.StartProxy(t, redistest.Start(t).Addr)
	for _, hashKey := range [][]byte{nil, []byte("a key of 32 bytes or more, secret")} {
		s := newStore(t, redisstore.Config{Client: single(t, p.Addr), HashKey: hashKey})
		b := open(t, s, "limiter-of-logins", hourly(3))
		for _, key := range []string{"ada@example.com", "192.0.2.17"} {
			take(t, b, key, 1)
			take(t, b, key, -1)
		}
		sent := p.Sent()
		if !strings.Contains(sent, "sallyport:") {
			t.Fatal("the proxy saw no key")
		}
		for _, name := range []string{"ada", "example", "192.0", "logins", "a key of 32"} {
			if strings.Contains(sent, name) {
				t.Errorf("%q was sent to Redis", name)
			}
		}
	}
}

// What a stranger chooses reaches Redis as a hash alone, so that it can't be taken
// for protocol, script, pattern or hash tag, and is no longer than others.
func TestASVS_1_2_4_KeysAreInert(t *testing.T) {
	p := redistest.StartProxy(t, redistest.Start(t).Addr)
	client := single(t, p.Addr)
	b := bucket(t, redisstore.Config{Client: client}, hourly(1))
	if err := client.Set(t.Context(), "canary", "alive", 0).Err(); err != nil {
		t.Fatal(err)
	}
	evil := []string{
		"\r\n*1\r\n$8\r\nFLUSHALL\r\n", "\x00", "\x00\x00", "{}", "{x}a", "{x}b", "'] redis.call('FLUSHALL') --", "\xff\xfe",
		strings.Repeat("k", 1<<20), strings.Repeat("k", 1<<20-1), strings.Repeat("\r\n", 1<<19),
	}
	for _, want := range []bool{true, false} {
		for _, key := range evil {
			if res := take(t, b, key, 1); res.Allowed != want {
				t.Errorf("key %.20q: got %+v, want allowed: %v", key, res, want)
			}
		}
	}
	if got := client.Get(t.Context(), "canary").Val(); got != "alive" {
		t.Error("the canary is gone")
	}
	if sent := p.Sent(); strings.Contains(sent, "FLUSHALL") || strings.Contains(sent, "{x}") || len(sent) > 100_000 {
		t.Error("a key was sent as it is")
	}
	for _, name := range keys(t, client) {
		if name == "canary" {
			continue
		}
		if !strings.HasPrefix(name, "sallyport:") || len(name) != len("sallyport:")+22 {
			t.Errorf("got the key %q, want a prefix and a hash", name)
		}
		if value := client.Get(t.Context(), name).Val(); len(value) != 16 {
			t.Errorf("got the value %q, want 16 digits", value)
		}
	}
}

// Stores with one configuration share their counts, and others have nothing to do with
// them. So it is with the limits of a name.
func TestStoresShareByConfig(t *testing.T) {
	addr := redistest.Start(t).Addr
	config := func(edit func(*redisstore.Config)) redisstore.Config {
		cfg := redisstore.Config{Client: single(t, addr), HashKey: []byte(strings.Repeat("a", 32))}
		edit(&cfg)
		return cfg
	}
	take(t, open(t, newStore(t, config(func(*redisstore.Config) {})), "b", hourly(3)), "x", 3)
	same := func(*redisstore.Config) {}
	for _, tt := range []struct {
		what   string
		edit   func(*redisstore.Config)
		name   string
		limits []ratelimit.Limit
		shares bool
	}{
		{"another client", same, "b", []ratelimit.Limit{hourly(3)}, true},
		{"another timeout", func(c *redisstore.Config) { c.Timeout = time.Minute }, "b", []ratelimit.Limit{hourly(3)}, true},
		{"a lease", func(c *redisstore.Config) { c.Lease.Events = 2 }, "b", []ratelimit.Limit{hourly(3)}, true},
		{"another prefix", func(c *redisstore.Config) { c.Prefix = "x:" }, "b", []ratelimit.Limit{hourly(3)}, false},
		{"another hash key", func(c *redisstore.Config) { c.HashKey = []byte(strings.Repeat("b", 32)) }, "b", []ratelimit.Limit{hourly(3)}, false},
		{"no hash key", func(c *redisstore.Config) { c.HashKey = nil }, "b", []ratelimit.Limit{hourly(3)}, false},
		{"another name", same, "c", []ratelimit.Limit{hourly(3)}, false},
		{"another burst", same, "b", []ratelimit.Limit{hourly(2)}, false},
		{"another rate", same, "b", []ratelimit.Limit{{Events: 2, Per: time.Hour, Burst: 3}}, false},
		{"the same rate in other words", same, "b", []ratelimit.Limit{{Events: 2, Per: 2 * time.Hour, Burst: 3}}, false},
		{"one limit more", same, "b", []ratelimit.Limit{hourly(3), hourly(4)}, false},
	} {
		b := open(t, newStore(t, config(tt.edit)), tt.name, tt.limits...)
		if res := take(t, b, "x", 1); res.Allowed == tt.shares {
			t.Errorf("%s: got %+v, want it to share its counts: %v", tt.what, res, tt.shares)
		}
	}
}

// The key is the caller's to wipe.
func TestHashKeyIsCopied(t *testing.T) {
	hashKey := []byte(strings.Repeat("a", 32))
	b := bucket(t, redisstore.Config{Client: single(t, redistest.Start(t).Addr), HashKey: hashKey}, hourly(1))
	for i, want := range []bool{true, false} {
		if res := take(t, b, "x", 1); res.Allowed != want {
			t.Errorf("event %d: got %+v, want allowed: %v", i, res, want)
		}
		clear(hashKey)
	}
}

// Many callers take few round trips, and whoever is alone takes one.
func TestDecisionsTravelTogether(t *testing.T) {
	client, asked := counted(t, redistest.Start(t).Addr)
	b := bucket(t, redisstore.Config{Client: client}, hourly(1))
	take(t, b, "the script is sent", 1)
	before := asked.commands.Load()
	for i := range 10 {
		take(t, b, fmt.Sprint("alone ", i), 1)
	}
	if n := asked.commands.Load() - before; n != 10 {
		t.Errorf("10 decisions took %d commands, want 10", n)
	}
	const callers, each = 128, 50
	before = asked.commands.Load()
	conformance.Together(callers, func(caller int) {
		for i := range each {
			take(t, b, fmt.Sprint(caller, " ", i), 1)
		}
	})
	n := asked.commands.Load() - before
	t.Logf("%d decisions took %d commands", callers*each, n)
	if n > callers*each/10 {
		t.Errorf("%d decisions took %d commands, want a tenth or less", callers*each, n)
	}
}
