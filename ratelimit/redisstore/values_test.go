package redisstore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/internal/redistest"
	"github.com/sallyport/sallyport/ratelimit"
	"github.com/sallyport/sallyport/ratelimit/redisstore"
)

// keys returns the names of all keys but those of a fakeClock.
func keys(t testing.TB, client *redis.Client) []string {
	t.Helper()
	names, err := client.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	var own []string
	for _, name := range names {
		if !strings.HasPrefix(name, "clock:") {
			own = append(own, name)
		}
	}
	return own
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

// A value that no store has written decides nothing and stays as it is. Others that
// travel with it are decided.
func TestUnknownValueIsUndecided(t *testing.T) {
	client := single(t, redistest.Start(t).Addr)
	for name, limits := range map[string][]ratelimit.Limit{
		"one word":    {hourly(3)},
		"two words":   {{Events: 7, Per: time.Hour, Burst: 3}},
		"three words": {hourly(3), {Events: 7, Per: time.Hour, Burst: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			client.FlushAll(t.Context())
			b := bucket(t, redisstore.Config{Client: client, MaxDenials: -1}, limits...)
			take(t, b, "x", 1)
			key := only(t, client)
			good := client.Get(t.Context(), key).Val()
			for _, value := range []string{
				"", " ", "x", "true", "nil", "-1", "+1", "1.5", "1e3", "0x10", "inf", "nan", "1_000", "\x00", "1\n", "1\t1",
				good + " 1", good + "x", "x" + good, strings.Replace(good, "1", "-1", 1), good[:len(good)-1] + "-", "9" + good, good + "0",
				strings.Repeat("9", 17), strings.Repeat("9", 400), strings.Repeat("1 ", 100_000), "1 2 3 4 5 6 7 8 9", good + " " + good,
				"9007199254740992 9007199254740992", "1764137036123456 7000 1 1",
			} {
				if value == good+"0" && len(value) <= 16 || name == "two words" && value == good+"0" {
					continue // which is another number
				}
				client.Set(t.Context(), key, value, time.Hour)
				for _, n := range []int{1, 3, -1} {
					if res, err := b.Take(t.Context(), "x", n); err == nil || !strings.Contains(err.Error(), "no store has written") {
						t.Errorf("the value %.40q, %d: got %+v, %v, want an error", value, n, res, err)
					}
				}
				if got := client.Get(t.Context(), key).Val(); got != value {
					t.Errorf("the value %.40q was replaced by %.40q", value, got)
				}
			}
			for kind, set := range map[string]func() error{
				"hash": func() error { return client.HSet(t.Context(), key, "a", "b").Err() },
				"list": func() error { return client.LPush(t.Context(), key, "a").Err() },
				"set":  func() error { return client.SAdd(t.Context(), key, "a").Err() },
			} {
				client.Del(t.Context(), key)
				if err := set(); err != nil {
					t.Fatal(err)
				}
				if res, err := b.Take(t.Context(), "x", 1); err == nil {
					t.Errorf("a %s: got %+v, want an error", kind, res)
				}
				if got := client.Type(t.Context(), key).Val(); got != kind {
					t.Errorf("a %s was replaced by a %s", kind, got)
				}
				if res := take(t, b, "other "+kind, 1); !res.Allowed {
					t.Errorf("another key: got %+v, want allowed", res)
				}
			}
		})
	}
}

// One key with such a value does not keep others from being decided with it.
func TestUnknownValueAmongOthers(t *testing.T) {
	server := redistest.Start(t)
	client := single(t, server.Addr)
	p := redistest.StartProxy(t, server.Addr)
	b := bucket(t, redisstore.Config{Client: single(t, p.Addr)}, hourly(3))
	take(t, b, "bad", 1)
	key := only(t, client)
	client.Del(t.Context(), key)
	client.LPush(t.Context(), key, "a")
	gate := make(chan struct{})
	first := true
	p.On(func(request, _ string) (time.Duration, bool) {
		if strings.Contains(request, "evalsha") && first {
			first = false
			<-gate
		}
		return 0, true
	})
	type answer struct {
		key string
		res ratelimit.Result
		err error
	}
	answers := make(chan answer, 20)
	for i := range 20 {
		key := "good" + string(rune('a'+i))
		if i%5 == 4 {
			key = "bad"
		}
		go func() {
			res, err := b.Take(t.Context(), key, 1)
			answers <- answer{key, res, err}
		}()
	}
	time.Sleep(20 * time.Millisecond)
	close(gate)
	for range 20 {
		if a := <-answers; (a.err != nil) != (a.key == "bad") || a.res.Allowed != (a.key != "bad") {
			t.Errorf("key %s: got %+v, %v", a.key, a.res, a.err)
		}
	}
}

// When the clock of Redis was set back, a key is refused for no longer than if it had
// spent its burst just now. When it was set forward, what that time regains is there.
func TestClockIsSet(t *testing.T) {
	client := single(t, redistest.Start(t).Addr)
	s := newStore(t, redisstore.Config{Client: client, MaxDenials: -1})
	redisstore.SetClock(s)
	limits := []ratelimit.Limit{{Events: 7, Per: time.Minute, Burst: 3}, ratelimit.PerHour(10)}
	b := open(t, s, "b", limits...)
	clock := &fakeClock{t: t, client: client}
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
	clock.set(start)
	take(t, b, "x", 2)
	clock.set(start - 10*365*24*3600*1e6)
	res := take(t, b, "x", 1)
	if res.Allowed || res.RetryAfter != 6*time.Minute || res.ResetAfter != time.Hour {
		t.Errorf("set back 10 years: got %+v, want a refusal for 6 minutes", res)
	}
	clock.set(clock.now + (5 * time.Minute).Microseconds())
	if res := take(t, b, "x", 1); res.Allowed || res.RetryAfter != time.Minute {
		t.Errorf("5 minutes later: got %+v, want a refusal for a minute", res)
	}
	clock.set(clock.now + time.Minute.Microseconds())
	if res := take(t, b, "x", 1); !res.Allowed {
		t.Errorf("6 minutes later: got %+v, want allowed", res)
	}
	clock.set(start)
	if res := take(t, b, "x", 3); !res.Allowed {
		t.Errorf("set right again: got %+v, want the burst allowed", res)
	}
}

// Every key ends by itself, when it owes nothing any more.
func TestKeysEnd(t *testing.T) {
	client := single(t, redistest.Start(t).Addr)
	for _, limits := range [][]ratelimit.Limit{
		{ratelimit.PerSecond(1_000_000_000)},
		{ratelimit.PerSecond(10)},
		{ratelimit.PerMinute(7)},
		{ratelimit.PerSecond(100), ratelimit.PerDay(100)},
		{{Events: 1, Per: 142 * 365 * 24 * time.Hour}},
	} {
		client.FlushAll(t.Context())
		b := bucket(t, redisstore.Config{Client: client, MaxDenials: -1}, limits...)
		before := time.Now()
		res := take(t, b, "x", 1)
		for _, name := range keys(t, client) {
			left := client.PTTL(t.Context(), name).Val()
			longest := limits[0].Per / time.Duration(limits[0].Events)
			for _, l := range limits {
				longest = max(longest, l.Per/time.Duration(l.Events))
			}
			if passed := time.Since(before); left != -2 && (left < longest-passed-time.Millisecond || left > longest+3*time.Millisecond) {
				t.Errorf("%v: it ends in %v, want %v; it said %+v", limits, left, longest, res)
			}
		}
		take(t, b, "x", 1)
		for _, name := range keys(t, client) {
			if left := client.PTTL(t.Context(), name).Val(); left == -1 {
				t.Errorf("%v: a key never ends", limits)
			}
		}
		take(t, b, "x", -limits[0].Events)
		if names := keys(t, client); len(names) != 0 {
			t.Errorf("%v: a key that owes nothing is kept: %q", limits, names)
		}
	}
	b := bucket(t, redisstore.Config{Client: client}, ratelimit.PerSecond(10))
	take(t, b, "y", 1)
	eventually(t, "the key has ended", func() bool { return len(keys(t, client)) == 0 })
}
