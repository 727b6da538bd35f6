// Package redisstore keeps revocations, replays and lockouts in Redis or Valkey, for
// several machines that share them: auth.Revocations, auth.Replays and
// ratelimit.LockoutStore.
//
//	client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
//	revocations, err := redisstore.NewRevocations(redisstore.Config{Client: client})
//	replays, err := redisstore.NewReplays(redisstore.Config{Client: client})
//	lockouts, err := redisstore.NewLockouts(redisstore.Config{Client: client})
//
// Each question takes one round trip. On a cluster the keys of one question may be
// on several nodes, which are asked at once.
//
// # What is in Redis
//
// Keys are hashes, and values are times, counts or random: Redis learns no name, token or
// key. With Config.HashKey it can't even try out guesses. Every key ends by itself,
// a minute later than asked, so that the clocks of the machines may differ by as
// much.
//
// Lockouts are another matter: their keys are in one slot, end when they are forgiven,
// by the clock of Redis, and while Redis fails they count in the memory of each process
// instead of answering 503. A login takes up to three round trips for them. See
// [Lockouts].
//
// # What Redis must do
//
// It must be Redis 7.0 or Valkey 7.2, or later, and must not evict keys: a
// revocation that was evicted is not in force any more. [Check] tells. The error of
// a Redis that is full, or whose memory may not grow, is an error of the store,
// which makes the answer 503.
//
// What a restart or a failover loses is up to Redis. It answers when it has written
// to memory. With appendonly and "appendfsync always" it answers when it has
// written to disk; with "everysec", the default, a crash loses up to a second or
// two. Replication does not wait: a replica that takes over may lack what was
// written last, unless Config.WaitReplicas makes each write wait for it. That makes
// a loss unlikely, and not impossible, since Redis may promote another replica. A
// lost revocation leaves the token good until it expires: keep tokens short-lived.
//
// Questions go to the masters. A master that was cut off from the others answers
// for some time from what it knew.
//
// Redis itself is trusted: who can write to it can revoke anything and let tokens
// in again.
package redisstore

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Config says where a store keeps what it knows. Only Client has no default. The
// stores of all machines must have the same Prefix and HashKey.
type Config struct {
	// Client is a *redis.Client, of one server or of Sentinel, or a
	// *redis.ClusterClient. It belongs to the caller, who closes it. It must have
	// ContextTimeoutEnabled, without which a Redis that does not answer holds
	// requests up for as long as the client's ReadTimeout; and neither a
	// client-side cache nor reads from replicas, which answer from what was true
	// before. That of Sentinel's FailoverOptions.ReplicaOnly can't be seen at
	// construction: Check finds it. A *redis.Ring forgets the keys of a node that
	// is down.
	Client redis.UniversalClient

	// Prefix begins every key: "sallyport:" if it is empty. It must not contain
	// braces, which would put all keys on one node of a cluster.
	Prefix string

	// HashKey is a secret of 32 bytes or more under which names are hashed, so that
	// someone who can read Redis learns nothing by trying out names. Nil means a
	// plain hash. When it changes, all that was written is forgotten.
	HashKey []byte

	// Timeout bounds each call: 250 ms if it is 0. What takes longer is an error.
	Timeout time.Duration

	// WaitReplicas is how many replicas must have got a write before it counts
	// (the command WAIT); 0 means none. Fewer within Timeout are an error, though
	// Redis may have what was written.
	WaitReplicas int
}

// String tells nothing of the configuration.
func (Config) String() string { return "redisstore.Config" }

// GoString is String.
func (c Config) GoString() string { return c.String() }

// Format writes String whatever the verb, so that no HashKey gets into a log.
func (c Config) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// LogValue is String.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalJSON refuses: a key does not belong into a document.
func (Config) MarshalJSON() ([]byte, error) {
	return nil, errors.New("a redisstore.Config is not written as JSON")
}

const (
	defaultPrefix  = "sallyport:"
	defaultTimeout = 250 * time.Millisecond
	shortestKey    = 32          // bytes of HashKey
	clockMargin    = time.Minute // by which clocks may differ
	longestTTL     = 1 << 53     // milliseconds; what a number of Lua holds exactly
)

// store is what Revocations, Replays and Lockouts have in common.
type store struct {
	client   redis.UniversalClient
	prefix   string
	hashKey  []byte
	timeout  time.Duration
	replicas int
}

func newStore(cfg Config) (*store, error) {
	if err := checkClient(cfg.Client); err != nil {
		return nil, err
	}
	s := &store{
		client: cfg.Client, prefix: cfg.Prefix, hashKey: append([]byte(nil), cfg.HashKey...),
		timeout: cfg.Timeout, replicas: cfg.WaitReplicas,
	}
	if s.prefix == "" {
		s.prefix = defaultPrefix
	}
	if s.timeout == 0 {
		s.timeout = defaultTimeout
	}
	switch {
	case strings.ContainsAny(s.prefix, "{}"):
		return nil, errors.New("redisstore: Config.Prefix contains braces, which put all keys on one node")
	case cfg.HashKey != nil && len(cfg.HashKey) < shortestKey:
		return nil, fmt.Errorf("redisstore: Config.HashKey has %d bytes, want %d or more", len(cfg.HashKey), shortestKey)
	case s.timeout < time.Millisecond:
		return nil, errors.New("redisstore: Config.Timeout is less than a millisecond")
	case s.replicas < 0:
		return nil, errors.New("redisstore: Config.WaitReplicas is negative")
	}
	return s, nil
}

// checkClient refuses clients whose answers can be old, or come too late, as far
// as they tell.
func checkClient(client redis.UniversalClient) error {
	var timeouts, cached, replicas bool
	switch c := client.(type) {
	case nil:
		return errors.New("redisstore: Config.Client is nil")
	case *redis.Client:
		if c == nil {
			return errors.New("redisstore: Config.Client is a nil *redis.Client")
		}
		o := c.Options()
		timeouts = o.ContextTimeoutEnabled
		cached = o.ClientSideCache != nil || o.ClientSideCacheConfig != nil
	case *redis.ClusterClient:
		if c == nil {
			return errors.New("redisstore: Config.Client is a nil *redis.ClusterClient")
		}
		o := c.Options()
		timeouts = o.ContextTimeoutEnabled
		replicas = o.ReadOnly || o.RouteByLatency || o.RouteRandomly
	default:
		return fmt.Errorf("redisstore: Config.Client is a %T, want a *redis.Client or *redis.ClusterClient", client)
	}
	switch {
	case !timeouts:
		return errors.New("redisstore: Config.Client needs ContextTimeoutEnabled")
	case cached:
		return errors.New("redisstore: Config.Client has a client-side cache, whose answers may be old")
	case replicas:
		return errors.New("redisstore: Config.Client reads from replicas, whose answers may be old")
	}
	return nil
}

// key names what is kept of the parts. It is a hash over their lengths and bytes, so
// that no two different lists of them have one name, and no byte of theirs is in it.
func (s *store) key(kind byte, parts ...string) string {
	b := []byte{kind}
	for _, part := range parts {
		b = binary.BigEndian.AppendUint64(b, uint64(len(part)))
		b = append(b, part...)
	}
	var sum []byte
	if len(s.hashKey) > 0 {
		mac := hmac.New(sha256.New, s.hashKey)
		_, _ = mac.Write(b) // never fails
		sum = mac.Sum(nil)
	} else {
		plain := sha256.Sum256(b)
		sum = plain[:]
	}
	return s.prefix + base64.RawURLEncoding.EncodeToString(sum)
}

// begin returns the context of one call, or why there is none.
func (s *store) begin(ctx context.Context) (context.Context, context.CancelFunc, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	return ctx, cancel, nil
}

// failed is the error of a call. It wraps that of ctx alone, since what the client
// says must not be taken for another package's verdict.
func failed(ctx context.Context, what string, err error) error {
	if done := ctx.Err(); done != nil {
		return fmt.Errorf("redisstore: %s: %w (%v)", what, done, err)
	}
	return fmt.Errorf("redisstore: %s: %v", what, err)
}

// ttl is how long to keep what counts until the time given, in milliseconds. It is
// 0 or less if that has passed.
func ttl(until time.Time) int64 {
	now := time.Now()
	if until.Unix()-now.Unix() > longestTTL/1000 {
		return longestTTL
	}
	return until.Add(clockMargin+time.Millisecond-1).UnixMilli() - now.UnixMilli()
}
