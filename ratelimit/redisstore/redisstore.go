package redisstore

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/ratelimit"
)

// Config says where a store keeps what it knows, and what it may decide without
// asking. Only Client has no default. The stores of all machines that share limits
// must have the same Prefix and HashKey.
type Config struct {
	// Client is a *redis.Client, of one server or of Sentinel, or a
	// *redis.ClusterClient. It belongs to the caller, who closes it. It must have
	// ContextTimeoutEnabled, without which a Redis that does not answer holds
	// requests up for as long as the client's ReadTimeout; and neither a client-side
	// cache nor reads from replicas.
	Client redis.UniversalClient

	// Prefix begins every key: "sallyport:" if it is empty. It must not contain
	// braces, which would put all keys on one node of a cluster.
	Prefix string

	// HashKey is a secret of 32 bytes or more under which keys are hashed, so that
	// someone who can read Redis learns nothing by trying out addresses and names.
	// Nil means a plain hash. When it changes, all counts begin anew.
	HashKey []byte

	// Timeout bounds each decision: 250 ms if it is 0. What takes longer is an error.
	// A ratelimit.Limiter bounds it by its StoreTimeout too.
	Timeout time.Duration

	// MaxDenials bounds of how many keys each bucket remembers that Redis refused them, so
	// that it need not be asked again at once: 16,384 if it is 0, none if it is
	// negative. One takes about 200 bytes, and 16 more for each limit.
	MaxDenials int

	// Lease has hot keys served from memory. The zero Lease means that Redis is asked
	// each time.
	Lease Lease
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
	defaultDenials = 1 << 14
	shortestKey    = 32 // bytes of HashKey
	maxLimits      = 8  // of a bucket, as in package ratelimit
)

// Store is a ratelimit.Store in Redis: what is used at one machine counts at all. It
// is safe for concurrent use. It has no goroutine while nothing is asked of it, so
// that there is nothing to close.
type Store struct {
	client     redis.UniversalClient
	cluster    *redis.ClusterClient // Client, if it is one
	prefix     string
	hashKey    []byte
	timeout    time.Duration
	maxDenials int
	lease      Lease
	program    program

	mu    sync.Mutex
	names map[string]struct{}
}

var _ ratelimit.Store = (*Store)(nil)

// New returns a store. It sends nothing: a Redis that is down makes decisions fail,
// and the ratelimit.Limiter then does what its OnStoreError says. It returns an error
// that names the field if cfg can't work.
func New(cfg Config) (*Store, error) {
	if err := checkClient(cfg.Client); err != nil {
		return nil, err
	}
	s := &Store{
		client: cfg.Client, prefix: cfg.Prefix, hashKey: append([]byte(nil), cfg.HashKey...),
		timeout: cfg.Timeout, maxDenials: cfg.MaxDenials, lease: cfg.Lease,
		program: newProgram(clock), names: make(map[string]struct{}),
	}
	s.cluster, _ = cfg.Client.(*redis.ClusterClient)
	if s.prefix == "" {
		s.prefix = defaultPrefix
	}
	if s.timeout == 0 {
		s.timeout = defaultTimeout
	}
	if s.maxDenials == 0 {
		s.maxDenials = defaultDenials
	}
	switch {
	case strings.ContainsAny(s.prefix, "{}"):
		return nil, errors.New("redisstore: Config.Prefix contains braces, which put all keys on one node")
	case cfg.HashKey != nil && len(cfg.HashKey) < shortestKey:
		return nil, fmt.Errorf("redisstore: Config.HashKey has %d bytes, want %d or more", len(cfg.HashKey), shortestKey)
	case s.timeout < time.Millisecond:
		return nil, errors.New("redisstore: Config.Timeout is less than a millisecond")
	}
	if err := s.lease.check(); err != nil {
		return nil, err
	}
	return s, nil
}

// String tells nothing of the configuration.
func (s *Store) String() string { return "redisstore.Store" }

// Format writes String whatever the verb, so that no HashKey gets into a log.
func (s *Store) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// Open implements ratelimit.Store. Buckets of one name and the same limits that are
// opened in several stores, such as those of several machines, share their counts.
// With other limits they share none, so while limits are being changed machine by
// machine, the old ones and the new ones are counted apart.
//
// Besides limits that can never allow anything and more than 8 of them, it refuses
// what it can't count exactly: limits whose burst takes 142 years or more to be
// regained, and those of more than 4.5 × 10¹² Events (fewer fit exactly if they and
// Per have no divisor in common, more if they do); calendars of time.Local, which is not the
// same on all machines; sliding windows of parts of a microsecond; and kinds of windows that
// it does not know.
func (s *Store) Open(name string, limits []ratelimit.Limit) (ratelimit.Bucket, error) {
	if s.names == nil {
		return nil, errors.New("redisstore: the Store was not made by New")
	}
	if len(limits) == 0 || len(limits) > maxLimits {
		return nil, fmt.Errorf("redisstore: Open: there are %d Limits, want 1 to %d", len(limits), maxLimits)
	}
	rates := make([]rate, len(limits))
	for i, l := range limits {
		var err error
		if rates[i], err = compileRate(fmt.Sprintf("redisstore: Open: Limits[%d]", i), l); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.names[name]; ok {
		return nil, fmt.Errorf("redisstore: Open: the name %q is open already in this store", name)
	}
	s.names[name] = struct{}{}
	return newBucket(s, name, rates), nil
}
