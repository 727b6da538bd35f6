package redisstore_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/internal/redistest"
	"github.com/sallyport/sallyport/ratelimit"
	"github.com/sallyport/sallyport/ratelimit/redisstore"
)

// A counter counts what is sent to Redis.
type counter struct{ commands, pipelines atomic.Int64 }

func (*counter) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *counter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.commands.Add(1)
		return next(ctx, cmd)
	}
}

func (c *counter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.pipelines.Add(1)
		return next(ctx, cmds)
	}
}

// counted returns a client whose commands are counted.
func counted(t testing.TB, addr string) (*redis.Client, *counter) {
	client, c := single(t, addr), new(counter)
	client.AddHook(c)
	return client, c
}

// A key that Redis has refused is refused without asking it, with the same answers;
// what it may have by then, and what gives back, is asked for.
func TestDenialsAreRemembered(t *testing.T) {
	addr := redistest.Start(t).Addr
	client, asked := counted(t, addr)
	b := bucket(t, redisstore.Config{Client: client}, hourly(3), ratelimit.PerHour(1000))
	take(t, b, "x", 2)
	first := take(t, b, "x", 2)
	before := asked.commands.Load()
	for range 100 {
		for n, wait := range map[int]time.Duration{2: time.Hour, 3: 2 * time.Hour} {
			res := take(t, b, "x", n)
			if res.Allowed || res.Limit != first.Limit || res.Remaining != 1 || res.RetryAfter > wait || res.RetryAfter < wait-time.Minute ||
				res.ResetAfter > first.ResetAfter || res.ResetAfter < first.ResetAfter-time.Minute {
				t.Fatalf("got %+v, want what Redis said, %+v", res, first)
			}
		}
	}
	if n := asked.commands.Load() - before; n > 5 { // one a second
		t.Errorf("Redis was asked %d times about 200 refusals", n)
	}
	if res := take(t, b, "x", 1); !res.Allowed {
		t.Errorf("less than was refused: got %+v, want allowed", res)
	}
	if res := take(t, b, "x", 1); res.Allowed {
		t.Errorf("one more: got %+v, want refused", res)
	}
	take(t, b, "x", -1)
	if res := take(t, b, "x", 1); !res.Allowed {
		t.Errorf("what was given back: got %+v, want allowed", res)
	}
	if res := take(t, b, "y", 3); !res.Allowed {
		t.Errorf("another key: got %+v, want allowed", res)
	}
}

// A key is allowed again no later than Redis would allow it.
func TestDenialsEndInTime(t *testing.T) {
	client, asked := counted(t, redistest.Start(t).Addr)
	own := bucket(t, redisstore.Config{Client: client}, ratelimit.PerSecond(20).WithBurst(1))
	for range 20 {
		take(t, own, "x", 1)
		res := take(t, own, "x", 1)
		if res.Allowed { // the machine is slow
			continue
		}
		time.Sleep(res.RetryAfter)
		if res := take(t, own, "x", 1); !res.Allowed {
			t.Fatalf("at RetryAfter: got %+v, want allowed", res)
		}
		time.Sleep(60 * time.Millisecond)
	}
	if n := asked.commands.Load(); n < 40 {
		t.Errorf("Redis was asked %d times, and so not about what is allowed", n)
	}
}

// What another instance gives back, and a Redis that has forgotten, are noticed within
// a second.
func TestDenialsOfOthersEnd(t *testing.T) {
	addr := redistest.Start(t).Addr
	one := bucket(t, redisstore.Config{Client: single(t, addr)}, hourly(1))
	other := bucket(t, redisstore.Config{Client: single(t, addr)}, hourly(1))
	for name, forget := range map[string]func(){
		"given back": func() { take(t, other, "x", -1) },
		"forgotten":  func() { single(t, addr).FlushAll(t.Context()) },
	} {
		take(t, one, "x", 1)
		if res := take(t, one, "x", 1); res.Allowed {
			t.Fatalf("%s: got %+v, want refused", name, res)
		}
		start := time.Now()
		forget()
		eventually(t, "it is allowed", func() bool { return take(t, one, "x", 1).Allowed })
		if d := time.Since(start); d > 10*time.Second {
			t.Errorf("%s: it took %v to be noticed", name, d)
		}
	}
}

// No more keys are remembered than MaxDenials, and none if it is negative.
func TestMaxDenials(t *testing.T) {
	addr := redistest.Start(t).Addr
	for _, tt := range []struct{ most, keys, want int }{{0, 100, 100}, {10, 100, 10}, {-1, 10, 0}} {
		client, asked := counted(t, addr)
		b := bucket(t, redisstore.Config{Client: client, Prefix: prefix(), MaxDenials: tt.most}, hourly(1))
		for round := range 2 {
			for i := range tt.keys {
				take(t, b, fmt.Sprint(i), 1)
			}
			_ = round
		}
		if n := redisstore.Denials(b); n != tt.want {
			t.Errorf("MaxDenials %d: %d of %d keys are remembered, want %d", tt.most, n, tt.keys, tt.want)
		}
		before := asked.commands.Load()
		for i := range tt.keys {
			if res := take(t, b, fmt.Sprint(i), 1); res.Allowed {
				t.Errorf("MaxDenials %d: got %+v, want refused", tt.most, res)
			}
		}
		if n := asked.commands.Load() - before; tt.most < 0 && n != int64(tt.keys) {
			t.Errorf("MaxDenials %d: Redis was asked %d times, want %d", tt.most, n, tt.keys)
		}
	}
}

// A refusal that was decided before events were given back is not remembered after.
func TestDenialBeforeGivingBack(t *testing.T) {
	p := redistest.StartProxy(t, redistest.Start(t).Addr)
	b := bucket(t, redisstore.Config{Client: single(t, p.Addr)}, hourly(1))
	take(t, b, "x", 1)
	gate := make(chan struct{})
	var asked atomic.Int64
	p.On(func(request, _ string) (time.Duration, bool) {
		if strings.Contains(request, "evalsha") && asked.Add(1) == 1 {
			<-gate
		}
		return 0, true
	})
	refused := make(chan ratelimit.Result)
	go func() {
		res, _ := b.Take(t.Context(), "x", 1)
		refused <- res
	}()
	eventually(t, "the refusal is on its way", func() bool { return asked.Load() == 1 })
	given := make(chan struct{})
	go func() {
		take(t, b, "x", -1)
		close(given)
	}()
	time.Sleep(10 * time.Millisecond)
	close(gate)
	if res := <-refused; res.Allowed {
		t.Errorf("got %+v, want refused", res)
	}
	<-given
	if res := take(t, b, "x", 1); !res.Allowed {
		t.Errorf("what was given back: got %+v, want allowed", res)
	}
}
