package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/auth"
)

const longestReplay = 512 // bytes of a key

// Replays is an auth.Replays in Redis. It is safe for concurrent use.
type Replays struct{ store *store }

var _ auth.Replays = (*Replays)(nil)

// NewReplays returns a store. It sends nothing: a Redis that is down makes the calls
// fail. It returns an error that names the field if cfg can't work.
func NewReplays(cfg Config) (*Replays, error) {
	s, err := newStore(cfg)
	if err != nil {
		return nil, err
	}
	return &Replays{s}, nil
}

// String tells nothing of the configuration.
func (r *Replays) String() string { return "redisstore.Replays" }

// Format writes String whatever the verb, so that no HashKey gets into a log.
func (r *Replays) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.String()) }

// Use implements auth.Replays. A call that has to ask again, since the reply was
// lost, is one use. It returns an error for a key of more than 512 bytes,
// and if Redis does not say in time that it has written the key, or that it had it:
// then the key may count as used.
func (r *Replays) Use(ctx context.Context, key string, until time.Time) (bool, error) {
	ctx, cancel, err := r.store.begin(ctx)
	if err != nil {
		return false, err
	}
	defer cancel()
	if len(key) > longestReplay {
		return false, errors.New("redisstore: Use: the key is too long")
	}
	if !until.After(time.Now()) {
		return false, nil
	}
	name, mine := r.store.key(kindReplay, key), rand.Text()
	cmd := newCommand(ctx, "set", name, mine, "nx", "get", "px", ttl(until))
	err = r.store.write(ctx, name, cmd)
	if errors.Is(err, redis.Nil) { // there was no such key
		return true, nil
	}
	if err != nil {
		return false, failed(ctx, "Use", err)
	}
	if len(cmd.Bytes()) != len(mine) {
		return false, errors.New("redisstore: Use: an unexpected reply")
	}
	return string(cmd.Bytes()) == mine, nil
}
