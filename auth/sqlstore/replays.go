package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sallyport/sallyport/auth"
)

const longestReplay = 512 // bytes of a key

// Replays is an auth.Replays in a database. Each use is a write that waits for the
// disk: where there are many, take package redisstore. Keys are kept as hashes, a
// minute longer than asked, so that the clocks of the machines may differ by as much.
// It is safe for concurrent use.
type Replays struct {
	s *Store

	use *statement
}

var _ auth.Replays = (*Replays)(nil)

func newReplays(s *Store) *Replays {
	return &Replays{
		s: s,
		use: s.statement("Use", `INSERT INTO sallyport_replays AS r (hash, until) VALUES ($1, $2)
			ON CONFLICT (hash) DO UPDATE SET until = excluded.until WHERE r.until <= $3`),
	}
}

// Use implements auth.Replays, in one statement. It returns an error for a key of more
// than 512 bytes, and if it can't tell that the key is committed, or was there; then
// the key may count as used.
func (r *Replays) Use(ctx context.Context, key string, until time.Time) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if len(key) > longestReplay {
		return false, errors.New("sqlstore: Use: the key is too long")
	}
	now := time.Now()
	if !until.After(now) {
		return false, nil
	}
	at := r.s.dialect.time
	n, err := r.s.exec(ctx, r.use, digest(kindReplay, key), at(ceil(until).Add(clockMargin)), at(now))
	return n == 1, err
}

// String tells nothing of the keys.
func (Replays) String() string { return "sqlstore.Replays" }

// Format writes String whatever the verb.
func (r Replays) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.String()) }
