package sqlstore

import (
	"context"
	"time"
)

// batch is how many rows one statement of Cleanup deletes.
const batch = 1000

func newCleanups(s *Store) []*statement {
	one := func(table, key, column string) *statement {
		// Rows that another Cleanup is at, or that are being changed, are left alone.
		return s.repeatable("Cleanup", s.dialect.pick(
			"DELETE FROM sallyport_"+table+" WHERE "+key+" = ANY (ARRAY (SELECT "+key+" FROM sallyport_"+table+
				" WHERE "+column+" < $1 ORDER BY "+column+" LIMIT $2 FOR UPDATE SKIP LOCKED))",
			"DELETE FROM sallyport_"+table+" WHERE "+key+" IN (SELECT "+key+" FROM sallyport_"+table+
				" WHERE "+column+" < $1 ORDER BY "+column+" LIMIT $2)",
		))
	}
	return []*statement{
		one("revocations", "hash", "until"),
		one("replays", "hash", "until"),
		one("refresh_tokens", "id", "ended"),
	}
}

// Cleanup deletes what has ended: revocations and replays a minute after their time,
// refresh tokens 25 hours after nothing more could come of them. It leaves accounts
// and API keys alone. It returns how many rows it has deleted, also besides an error.
//
// It deletes 1,000 rows at a time, each batch in a transaction of its own that is
// bounded by Timeout, until nothing is left. Without it the tables grow, and nothing
// else is wrong. Call it every few minutes, or every hour where little happens, on one
// machine or on all.
func (s *Store) Cleanup(ctx context.Context) (n int64, err error) {
	now := time.Now()
	for i, st := range s.cleanups {
		before := now // what is written has the margin of the clocks in it
		if i == len(s.cleanups)-1 {
			before = now.Add(-afterlife - clockMargin)
		}
		for {
			deleted, err := s.exec(ctx, st, s.dialect.time(before), int64(batch))
			n += deleted
			if err != nil {
				return n, err
			}
			if deleted < batch {
				break
			}
		}
	}
	return n, nil
}
