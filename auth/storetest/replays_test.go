package storetest_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/storetest"
	"github.com/sallyport/sallyport/internal/conformance"
)

func TestMemoryReplays(t *testing.T) {
	t.Parallel()
	storetest.RunReplays(t, func(*testing.T) auth.Replays { return auth.NewMemoryReplays(1000) })
}

// The store that the faults are made of has none itself.
func TestPlainReplays(t *testing.T) {
	t.Parallel()
	storetest.RunReplays(t, func(*testing.T) auth.Replays { return new(plainReplays) })
}

// A store need not tell what comes too late from what was used.
func TestLateReplaysAsErrors(t *testing.T) {
	t.Parallel()
	storetest.RunReplays(t, func(*testing.T) auth.Replays {
		return replaysFunc(new(plainReplays), func(p *plainReplays, ctx context.Context, key string, until time.Time) (bool, error) {
			first, err := p.Use(ctx, key, until)
			if key == "a" && !until.After(time.Now()) {
				err = errors.New("too late")
			}
			return first, err
		})
	})
}

// A replayFault is a store with one mistake, and the rules that must catch it.
type replayFault struct {
	rules []string
	open  func() auth.Replays
}

func use(f func(p *plainReplays, ctx context.Context, key string, until time.Time) (bool, error), rules ...string) replayFault {
	return replayFault{rules, func() auth.Replays { return replaysFunc(new(plainReplays), f) }}
}

// samekey is the fault of a store that takes some keys for others.
func samekey(f func(key string) string, rules ...string) replayFault {
	return use(func(p *plainReplays, ctx context.Context, key string, until time.Time) (bool, error) {
		return p.Use(ctx, f(key), until)
	}, rules...)
}

var replayFaults = map[string]replayFault{
	"every use is the first": use(func(_ *plainReplays, ctx context.Context, _ string, _ time.Time) (bool, error) {
		return true, ctx.Err()
	}, "once", "keys are bytes", "too long", "has passed", "cancelled", "one key concurrently"),
	"no use is the first": use(func(_ *plainReplays, ctx context.Context, _ string, _ time.Time) (bool, error) {
		return false, ctx.Err()
	}, "once", "one key concurrently", "many keys concurrently"),
	"a repeated use is forgotten": use(func(p *plainReplays, ctx context.Context, key string, until time.Time) (bool, error) {
		first, err := p.Use(ctx, key, until)
		if !first && err == nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			delete(p.used, key)
		}
		return first, err
	}, "once"),
	"the last key is known": use(func(p *plainReplays, ctx context.Context, key string, until time.Time) (bool, error) {
		p.mu.Lock()
		if _, ok := p.used[key]; !ok {
			p.used = nil
		}
		p.mu.Unlock()
		return p.Use(ctx, key, until)
	}, "once", "keys are bytes"),
	"keys are compared in any case": samekey(strings.ToLower, "keys are bytes"),
	"keys are trimmed":              samekey(strings.TrimSpace, "keys are bytes"),
	"keys are valid UTF-8":          samekey(func(key string) string { return strings.ToValidUTF8(key, "?") }, "keys are bytes"),
	"keys end at a NUL": samekey(func(key string) string {
		key, _, _ = strings.Cut(key, "\x00")
		return key
	}, "keys are bytes"),
	"keys are cut at 255 bytes": samekey(func(key string) string { return key[:min(len(key), 255)] }, "keys are bytes", "too long"),
	"keys are cut at 512 bytes": samekey(func(key string) string { return key[:min(len(key), 512)] }, "too long"),
	"long keys are taken": use(func(p *plainReplays, ctx context.Context, key string, until time.Time) (bool, error) {
		return p.use(ctx, key, until)
	}, "too long"),
	"an empty key is refused": use(func(p *plainReplays, ctx context.Context, key string, until time.Time) (bool, error) {
		if key == "" {
			return false, errors.New("the key is empty")
		}
		return p.Use(ctx, key, until)
	}, "keys are bytes"),
	"a line end is a command": use(func(p *plainReplays, ctx context.Context, key string, until time.Time) (bool, error) {
		first, err := p.Use(ctx, key, until)
		if strings.Contains(key, "\r\nFLUSHALL\r\n") {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.used = nil
		}
		return first, err
	}, "keys are bytes"),
	"the last end wins": use(func(p *plainReplays, ctx context.Context, key string, until time.Time) (bool, error) {
		first, err := p.Use(ctx, key, until)
		p.mu.Lock()
		defer p.mu.Unlock()
		if _, ok := p.used[key]; ok && err == nil {
			p.used[key] = until
		}
		return first, err
	}, "until"),
	"ends are rounded down": use(func(p *plainReplays, ctx context.Context, key string, until time.Time) (bool, error) {
		return p.Use(ctx, key, time.Now().Add(time.Until(until).Truncate(time.Second)))
	}, "until"),
	"a late use is the first": use(func(p *plainReplays, ctx context.Context, key string, until time.Time) (bool, error) {
		first, err := p.Use(ctx, key, until)
		return first || !until.After(time.Now()), err
	}, "has passed", "until"),
	"contexts are ignored": use(func(p *plainReplays, ctx context.Context, key string, until time.Time) (bool, error) {
		return p.Use(context.WithoutCancel(ctx), key, until)
	}, "cancelled"),
	"a cancelled use is the first": use(func(p *plainReplays, ctx context.Context, key string, until time.Time) (bool, error) {
		first, err := p.Use(ctx, key, until)
		return first || ctx.Err() != nil, err
	}, "cancelled"),
	"it reads, then writes": use(func(p *plainReplays, ctx context.Context, key string, until time.Time) (bool, error) {
		p.mu.Lock()
		end, ok := p.used[key]
		p.mu.Unlock()
		if ok && end.After(time.Now()) {
			return false, ctx.Err()
		}
		time.Sleep(time.Millisecond)
		_, err := p.Use(ctx, key, until)
		return err == nil, err
	}, "one key concurrently"),
	"answers cross over": func() replayFault {
		last := make(chan bool, 1)
		return use(func(p *plainReplays, ctx context.Context, key string, until time.Time) (bool, error) {
			first, err := p.Use(ctx, key, until)
			select {
			case last <- first:
				time.Sleep(time.Millisecond)
				return <-last, err
			case other := <-last:
				last <- first
				return other, err
			}
		}, "many keys concurrently")
	}(),
}

// TestFaultyReplays fails on purpose, but only where TestReplayFaultsAreCaught
// runs it.
func TestFaultyReplays(t *testing.T) {
	conformance.Faulty(t)
	for name, f := range replayFaults {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // some rules wait
			storetest.RunReplays(t, func(*testing.T) auth.Replays { return f.open() })
		})
	}
}

func TestReplayFaultsAreCaught(t *testing.T) {
	rules := make(map[string][]string)
	for name, f := range replayFaults {
		rules[name] = f.rules
	}
	conformance.Catches(t, "TestFaultyReplays", rules)
}

type brokenReplays struct {
	plain *plainReplays
	use   func(p *plainReplays, ctx context.Context, key string, until time.Time) (bool, error)
}

func replaysFunc(p *plainReplays, f func(p *plainReplays, ctx context.Context, key string, until time.Time) (bool, error)) auth.Replays {
	return brokenReplays{p, f}
}

func (b brokenReplays) Use(ctx context.Context, key string, until time.Time) (bool, error) {
	return b.use(b.plain, ctx, key, until)
}

// plainReplays is a map of the ends of keys, in the clear and for good.
type plainReplays struct {
	mu   sync.Mutex
	used map[string]time.Time
}

func (p *plainReplays) Use(ctx context.Context, key string, until time.Time) (bool, error) {
	if len(key) > 512 {
		return false, errors.New("the key is too long")
	}
	return p.use(ctx, key, until)
}

func (p *plainReplays) use(ctx context.Context, key string, until time.Time) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used == nil {
		p.used = make(map[string]time.Time)
	}
	if now := time.Now(); p.used[key].After(now) || !until.After(now) {
		return false, nil
	}
	p.used[key] = until
	return true, nil
}
