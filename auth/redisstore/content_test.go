package redisstore_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/redisstore"
	"github.com/sallyport/sallyport/internal/conformance"
	"github.com/sallyport/sallyport/internal/redistest"
)

// keys returns the names of all keys.
func keys(t testing.TB, client *redis.Client) []string {
	t.Helper()
	names, err := client.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// only returns the name of the only key.
func only(t testing.TB, client *redis.Client) string {
	t.Helper()
	names := keys(t, client)
	if len(names) != 1 {
		t.Fatalf("there are the keys %q, want one", names)
	}
	return names[0]
}

// Every key ends by itself, no earlier than asked and not much later.
func TestKeysEnd(t *testing.T) {
	client := single(t, redistest.Start(t).Addr)
	cfg := redisstore.Config{Client: client, Timeout: patience}
	revocations, replays := newRevocations(t, cfg), newReplays(t, cfg)
	for _, lifetime := range []time.Duration{time.Millisecond, 999 * time.Millisecond, time.Minute, 24 * time.Hour, 100 * 365 * 24 * time.Hour} {
		for _, r := range []auth.Revocation{
			{Issuer: issuer, TokenID: "x"}, {Issuer: issuer, SessionID: "x"}, {Issuer: issuer, Subject: "x", NotBefore: time.Now()}, {},
		} {
			client.FlushAll(t.Context())
			before := time.Now()
			var err error
			if r.Until = before.Add(lifetime); r.Issuer != "" {
				err = revocations.Revoke(t.Context(), r)
			} else {
				r.Until = r.Until.Add(time.Minute) // or it has passed
				_, err = replays.Use(t.Context(), "x", r.Until)
			}
			if err != nil {
				t.Fatal(err)
			}
			left, err := client.PTTL(t.Context(), only(t, client)).Result()
			shortest, longest := time.Until(r.Until), r.Until.Sub(before)+2*time.Minute
			if err != nil || left < shortest || left > longest {
				t.Errorf("%v of %+v: ends in %v, %v, want between %v and %v", lifetime, r, left, err, shortest, longest)
			}
		}
	}
	client.FlushAll(t.Context())
	if err := revocations.Revoke(t.Context(), auth.Revocation{Issuer: issuer, TokenID: "x", Until: time.Now().Add(-time.Hour)}); err != nil {
		t.Errorf("what ended an hour ago: got %v, want no error", err)
	}
	if names := keys(t, client); len(names) != 0 {
		t.Errorf("what ended an hour ago: got the keys %q, want none", names)
	}
}

// Nothing that names a person, a token or a key gets to Redis: not into its keys or
// values, and not over the wire.
func TestNothingPersonalIsStored(t *testing.T) {
	p := redistest.StartProxy(t, redistest.Start(t).Addr)
	for _, hashKey := range [][]byte{nil, []byte("a key of 32 bytes or more, secret")} {
		cfg := redisstore.Config{Client: single(t, p.Addr), HashKey: hashKey, Timeout: patience}
		revocations, replays := newRevocations(t, cfg), newReplays(t, cfg)
		for _, r := range []auth.Revocation{
			{Issuer: issuer, TokenID: "token-0f0d6b6f"},
			{Issuer: issuer, SessionID: "session-0f0d6b6f"},
			{Issuer: issuer, Subject: "ada@example.com", NotBefore: time.Now()},
		} {
			r.Until = inAnHour()
			if err := revocations.Revoke(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		token := auth.TokenInfo{Issuer: issuer, ID: "token-0f0d6b6f", SessionID: "session-0f0d6b6f", Subject: "ada@example.com"}
		if revoked, err := revocations.Revoked(t.Context(), token); !revoked {
			t.Fatal(revoked, err)
		}
		if first, err := replays.Use(t.Context(), "key-0f0d6b6f", inAnHour()); !first {
			t.Fatal(first, err)
		}
		sent := p.Sent()
		if !strings.Contains(sent, "sallyport:") {
			t.Fatal("the proxy saw no key")
		}
		for _, name := range []string{issuer, "issuer.example", "0f0d6b6f", "ada", "session-", "a key of 32"} {
			if strings.Contains(sent, name) {
				t.Errorf("%q was sent to Redis", name)
			}
		}
	}
}

// What a stranger chooses reaches Redis as a hash alone, so that it can't be taken
// for protocol, script, pattern or hash tag.
func TestASVS_1_2_4_KeysAreInert(t *testing.T) {
	p := redistest.StartProxy(t, redistest.Start(t).Addr)
	client := single(t, p.Addr)
	cfg := redisstore.Config{Client: client, Timeout: patience}
	revocations, replays := newRevocations(t, cfg), newReplays(t, cfg)
	if err := client.Set(t.Context(), "canary", "alive", 0).Err(); err != nil {
		t.Fatal(err)
	}
	const evil = "\r\n*1\r\n$8\r\nFLUSHALL\r\n\x00{x}'] redis.call('FLUSHALL') --"
	for _, r := range []auth.Revocation{
		{Issuer: evil, TokenID: evil}, {Issuer: evil, SessionID: evil}, {Issuer: evil, Subject: evil, NotBefore: time.Now()},
	} {
		r.Until = inAnHour()
		if err := revocations.Revoke(t.Context(), r); err != nil {
			t.Error(err)
		}
	}
	if revoked, err := revocations.Revoked(t.Context(), auth.TokenInfo{Issuer: evil, ID: evil, SessionID: evil, Subject: evil}); !revoked || err != nil {
		t.Errorf("Revoked: got %v, %v, want true", revoked, err)
	}
	if first, err := replays.Use(t.Context(), evil, inAnHour()); !first || err != nil {
		t.Errorf("Use: got %v, %v, want true", first, err)
	}
	if got := client.Get(t.Context(), "canary").Val(); got != "alive" {
		t.Error("the canary is gone")
	}
	if sent := p.Sent(); strings.Contains(sent, "FLUSHALL") || strings.Contains(sent, "{x}") {
		t.Error("the name was sent as it is")
	}
	for _, name := range keys(t, client) {
		if name != "canary" && (!strings.HasPrefix(name, "sallyport:") || len(name) != len("sallyport:")+43) {
			t.Errorf("got the key %q, want a prefix and a hash", name)
		}
	}
}

// Stores with one configuration are one, and others have nothing to do with it.
func TestStoresShareByConfig(t *testing.T) {
	addr := redistest.Start(t).Addr
	config := func(edit func(*redisstore.Config)) redisstore.Config {
		cfg := redisstore.Config{Client: single(t, addr), HashKey: []byte(strings.Repeat("a", 32)), Timeout: patience}
		edit(&cfg)
		return cfg
	}
	revocation := auth.Revocation{Issuer: issuer, TokenID: "x", Until: inAnHour()}
	token := auth.TokenInfo{Issuer: issuer, ID: "x"}
	one := config(func(*redisstore.Config) {})
	if err := newRevocations(t, one).Revoke(t.Context(), revocation); err != nil {
		t.Fatal(err)
	}
	if first, err := newReplays(t, one).Use(t.Context(), "x", inAnHour()); !first {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		edit   func(*redisstore.Config)
		shares bool
	}{
		"another client":    {func(*redisstore.Config) {}, true},
		"another timeout":   {func(c *redisstore.Config) { c.Timeout = time.Minute }, true},
		"another prefix":    {func(c *redisstore.Config) { c.Prefix = "x:" }, false},
		"another hash key":  {func(c *redisstore.Config) { c.HashKey = []byte(strings.Repeat("b", 32)) }, false},
		"a longer hash key": {func(c *redisstore.Config) { c.HashKey = []byte(strings.Repeat("a", 33)) }, false},
		"no hash key":       {func(c *redisstore.Config) { c.HashKey = nil }, false},
	} {
		cfg := config(tt.edit)
		if revoked, err := newRevocations(t, cfg).Revoked(t.Context(), token); revoked != tt.shares || err != nil {
			t.Errorf("%s: Revoked: got %v, %v, want %v", name, revoked, err, tt.shares)
		}
		if first, err := newReplays(t, cfg).Use(t.Context(), "x", inAnHour()); first == tt.shares || err != nil {
			t.Errorf("%s: Use: got %v, %v, want %v", name, first, err, !tt.shares)
		}
	}
}

// The key is the caller's to wipe.
func TestHashKeyIsCopied(t *testing.T) {
	hashKey := []byte(strings.Repeat("a", 32))
	replays := newReplays(t, redisstore.Config{Client: single(t, redistest.Start(t).Addr), HashKey: hashKey, Timeout: patience})
	for i, want := range []bool{true, false} {
		if first, err := replays.Use(t.Context(), "x", inAnHour()); first != want || err != nil {
			t.Errorf("use %d: got %v, %v, want %v", i, first, err, want)
		}
		clear(hashKey)
	}
}

// F7 of the figures to hold: of a hundred uses of one proof on all machines one is
// the first.
func TestOneUseOnManyMachines(t *testing.T) {
	addr := redistest.Start(t).Addr
	machines := make([]*redisstore.Replays, 4)
	for i := range machines {
		machines[i] = newReplays(t, redisstore.Config{Client: single(t, addr), Timeout: patience})
	}
	for round := range 20 {
		first := make([]bool, 100)
		conformance.Together(len(first), func(i int) {
			var err error
			if first[i], err = machines[i%len(machines)].Use(t.Context(), strconv.Itoa(round), inAnHour()); err != nil {
				t.Error(err)
			}
		})
		if n := strings.Count(fmt.Sprint(first), "true"); n != 1 {
			t.Errorf("round %d: %d uses were the first, want 1", round, n)
		}
	}
}
