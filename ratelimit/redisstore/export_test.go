package redisstore

import (
	"context"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/ratelimit"
)

// Keys that have the time of stores with SetClock.
const (
	ClockSeconds = "clock:seconds"
	ClockMicros  = "clock:micros"
)

// SetClock has s take the time from two keys instead of the clock of Redis, and keep
// keys for ever, since they would end by the clock of Redis. It replaces the places in
// the script where these are: the script of a store outside these tests has no other
// clock, and takes no time from its arguments.
func SetClock(s *Store) {
	text := s.program.text
	for old, replaced := range map[string]string{
		clock: "local t = {redis.call('GET', '" + ClockSeconds + "'), redis.call('GET', '" + ClockMicros + "')}",
		", 'PX', text(floor(most / 1000) + 2))\n":  ")\n",
		", 'PX', text(floor(after / 1000) + 2))\n": ")\n",
	} {
		if strings.Count(text, old) != 1 {
			panic("the script has changed: there is no " + old)
		}
		text = strings.Replace(text, old, replaced, 1)
	}
	s.program = program{text, redis.NewScript(text).Hash()}
}

// TakeTogether has b decide on n[i] events of keys[i] in one run of the script, in
// this order. Of the i for which first has an entry so many are tried first.
func TakeTogether(ctx context.Context, b ratelimit.Bucket, keys []string, n []int, first map[int]int) ([]ratelimit.Result, error) {
	own := b.(*bucket)
	together := make([]*call, len(keys))
	for i, key := range keys {
		together[i] = newCall(own.names.name(key), n[i])
		if most, ok := first[i]; ok {
			together[i].first = most
		}
	}
	own.fly(ctx, append([]*call(nil), together...))
	results := make([]ratelimit.Result, len(keys))
	for i, c := range together {
		<-c.done
		if c.err != nil {
			return nil, c.err
		}
		if debts := c.debts[:len(own.rates)]; c.outcome == refusedCost {
			results[i], _ = refused(own.rates, debts, n[i], c.now)
		} else {
			results[i] = allowed(own.rates, debts, c.now)
		}
	}
	return results, nil
}

// Denials returns how many refused keys b remembers.
func Denials(b ratelimit.Bucket) int {
	d := b.(*bucket).denials
	if d == nil {
		return 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.keys)
}

// KeyName returns the name in Redis of a key of b.
func KeyName(b ratelimit.Bucket, key string) string { return b.(*bucket).names.name(key) }
