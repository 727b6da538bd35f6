package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/sallyport/sallyport/ratelimit"
	"github.com/sallyport/sallyport/ratelimit/redisstore"
)

// A take asks for one event of a key, and returns whether it is allowed.
type take func(ctx context.Context, key string) (bool, error)

// A contender is a way to keep a limit of Events per Per, of which Burst are allowed
// at once, in the Redis at addr. What it writes is counted. end ends it.
type contender struct {
	name string
	open func(addr string, l ratelimit.Limit, writes *atomic.Int64) (t take, end func(), err error)
}

var contenders = []contender{
	{"sallyport", openSallyport},
	{"go-redis, EVALSHA", openPlain},
	{"redis_rate", openRedisRate},
	{"rueidis, EVALSHA", func(addr string, l ratelimit.Limit, writes *atomic.Int64) (take, func(), error) {
		return openRueidis(addr, l, writes, 0)
	}},
	{"rueidis, EVALSHA, 50 µs flush delay", func(addr string, l ratelimit.Limit, writes *atomic.Int64) (take, func(), error) {
		return openRueidis(addr, l, writes, 50*time.Microsecond)
	}},
}

// script is about the least that keeps one limit of one key by GCRA and the clock of
// Redis. KEYS: the key. ARGV: interval and window in microseconds.
const script = `local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local tat = tonumber(redis.call('GET', KEYS[1]) or 0)
if tat < now then tat = now end
local after = tat + ARGV[1]
if after - now > tonumber(ARGV[2]) then return {0, tat - now} end
redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.ceil((after - now) / 1000))
return {1, after - now}
`

// micros returns the interval and the window of a limit for the script.
func micros(l ratelimit.Limit) (interval, window int64) {
	interval = l.Per.Microseconds() / int64(l.Events)
	return interval, interval * int64(l.Burst)
}

// A writer counts what is written on a connection.
type writer struct {
	net.Conn
	writes *atomic.Int64
}

func (w writer) Write(b []byte) (int, error) {
	w.writes.Add(1)
	return w.Conn.Write(b)
}

func goRedis(addr string, writes *atomic.Int64) *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: addr, ContextTimeoutEnabled: true, PoolSize: 128,
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			return writer{conn, writes}, err
		},
	})
}

func openSallyport(addr string, l ratelimit.Limit, writes *atomic.Int64) (take, func(), error) {
	client := goRedis(addr, writes)
	store, err := redisstore.New(redisstore.Config{Client: client, Timeout: time.Minute, MaxDenials: -1})
	if err != nil {
		return nil, nil, err
	}
	b, err := store.Open("bench", []ratelimit.Limit{l})
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context, key string) (bool, error) {
		res, err := b.Take(ctx, key, 1)
		return res.Allowed, err
	}, func() { _ = client.Close() }, nil
}

func openPlain(addr string, l ratelimit.Limit, writes *atomic.Int64) (take, func(), error) {
	client := goRedis(addr, writes)
	loaded := redis.NewScript(script)
	interval, window := micros(l)
	return func(ctx context.Context, key string) (bool, error) {
		reply, err := loaded.Run(ctx, client, []string{"plain:" + key}, interval, window).Int64Slice()
		return err == nil && reply[0] == 1, err
	}, func() { _ = client.Close() }, nil
}

func openRedisRate(addr string, l ratelimit.Limit, writes *atomic.Int64) (take, func(), error) {
	client := goRedis(addr, writes)
	limiter := redis_rate.NewLimiter(client)
	limit := redis_rate.Limit{Rate: l.Events, Burst: l.Burst, Period: l.Per}
	return func(ctx context.Context, key string) (bool, error) {
		res, err := limiter.Allow(ctx, key, limit)
		return err == nil && res.Allowed == 1, err
	}, func() { _ = client.Close() }, nil
}

func openRueidis(addr string, l ratelimit.Limit, writes *atomic.Int64, delay time.Duration) (take, func(), error) {
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{addr}, ForceSingleClient: true, DisableCache: true, MaxFlushDelay: delay,
		DialCtxFn: func(ctx context.Context, addr string, dialer *net.Dialer, _ *tls.Config) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, "tcp", addr)
			return writer{conn, writes}, err
		},
	})
	if err != nil {
		return nil, nil, err
	}
	loaded := rueidis.NewLuaScript(script)
	interval, window := micros(l)
	args := []string{strconv.FormatInt(interval, 10), strconv.FormatInt(window, 10)}
	return func(ctx context.Context, key string) (bool, error) {
		reply, err := loaded.Exec(ctx, client, []string{"rueidis:" + key}, args).AsIntSlice()
		if err == nil && len(reply) == 0 {
			err = errors.New("the reply is empty")
		}
		return err == nil && reply[0] == 1, err
	}, client.Close, nil
}
