package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// A flight is one run of the script, and the calls that it decides. Its command has
// room for the reply that it can have, and no more: what is longer is an error, and is
// not kept.
type flight struct {
	calls []*call
	args  []any
	cmd   *redis.ZeroCopyStringCmd
}

// flights returns the runs of the script that decide calls. On a cluster the keys of
// one run must be in one slot, so there each key has a run of its own.
func (b *bucket) flights(ctx context.Context, calls []*call, known *knownLimits) []*flight {
	if b.store.cluster == nil {
		return []*flight{b.flight(ctx, calls, known)}
	}
	slices.SortStableFunc(calls, func(x, y *call) int { return strings.Compare(x.key, y.key) })
	flights := make([]*flight, 0, len(calls))
	for len(calls) > 0 {
		n := 1
		for n < len(calls) && calls[n].key == calls[0].key {
			n++
		}
		flights = append(flights, b.flight(ctx, calls[:n], known))
		calls = calls[n:]
	}
	return flights
}

func (b *bucket) flight(ctx context.Context, calls []*call, known *knownLimits) *flight {
	f := &flight{calls: calls, args: b.scriptArgs(calls, known)}
	f.prepare(ctx, len(calls)*(2+longestPair*len(b.rates))+longestNumber)
	return f
}

func (f *flight) prepare(ctx context.Context, room int) {
	f.cmd = redis.NewZeroCopyStringCmd(ctx, make([]byte, room), f.args...)
}

// fly has calls decided, and settles each. Those of which a connection was lost go once
// more, except for what gives back: that may have counted, and must not count twice. Those
// that were told another window than that of the clock of Redis have not counted, and go
// again with the window of that clock.
func (b *bucket) fly(ctx context.Context, calls []*call) {
	err := errors.New("redisstore: Take: the client did not return")
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("redisstore: Take: the client panicked: %v", p)
		}
		for _, c := range calls { // that are not settled
			c.settle(err)
		}
	}()
	known := b.known()
	for try := 1; len(calls) > 0; try++ {
		flights := b.flights(ctx, calls, known)
		sent := time.Since(b.start)
		b.store.send(ctx, flights)
		calls = nil
		for _, f := range flights {
			if again, current := b.learn(f.cmd.Bytes()); again && try <= mostWindows && ctx.Err() == nil {
				known = current
				calls = append(calls, f.calls...)
				continue
			}
			calls = append(calls, b.land(ctx, f, sent, try > 1)...)
		}
	}
}

// mostWindows is how often calls go again with another window. Once is enough, unless the
// clock passes into the next one meanwhile.
const mostWindows = 2

// land settles the calls of a flight, unless it was lost and this isn't the last time:
// then it returns those that may go once more.
func (b *bucket) land(ctx context.Context, f *flight, sent time.Duration, last bool) (again []*call) {
	err := f.cmd.Err()
	lost := isLost(err)
	switch {
	case err != nil:
		err = failed(ctx, "Take", err)
	case !b.readReply(f.cmd.Bytes(), f.calls):
		err = errReply
	}
	for _, c := range f.calls {
		switch {
		case err == nil && c.outcome == unknownValue:
			c.settle(errValue)
		case lost && !last && c.n > 0 && ctx.Err() == nil:
			again = append(again, c)
		default:
			c.sent = sent
			c.settle(err)
		}
	}
	return again
}

// send sends flights together, and once more those of which Redis does not know the
// script. It returns when each has its reply or an error.
func (s *Store) send(ctx context.Context, flights []*flight) {
	s.exec(ctx, flights)
	var unknown []*flight
	moved := false
	for _, f := range flights {
		err := f.cmd.Err()
		if redis.HasErrorPrefix(err, "NOSCRIPT") {
			f.args[0], f.args[1] = "eval", s.program.text
			f.prepare(ctx, cap(f.cmd.Bytes()))
			unknown = append(unknown, f)
		}
		moved = moved || isLost(err) || redis.HasErrorPrefix(err, "MOVED")
	}
	if moved && s.cluster != nil {
		s.cluster.ReloadState(ctx) // soon: another node may have the keys by now
	}
	if len(unknown) > 0 {
		s.exec(ctx, unknown)
	}
}

// isLost reports whether err means that there is no reply.
func isLost(err error) bool {
	var reply redis.Error
	return err != nil && !errors.As(err, &reply)
}

func (s *Store) exec(ctx context.Context, flights []*flight) {
	if s.cluster == nil {
		for _, f := range flights { // there is one
			_ = s.client.Process(ctx, f.cmd)
		}
		return
	}
	pipe := s.cluster.Pipeline()
	for _, f := range flights {
		_ = pipe.Process(ctx, f.cmd) // which only queues it
	}
	_, err := pipe.Exec(ctx)
	if err != nil && !slices.ContainsFunc(flights, func(f *flight) bool { return f.cmd.Err() != nil }) {
		for _, f := range flights { // it came before any was sent
			f.cmd.SetErr(err)
		}
	}
}

// node returns the address of the node that has a key, or "" if there is one server.
func (s *Store) node(ctx context.Context, key string) (string, error) {
	if s.cluster == nil {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout) // it may have to ask which nodes there are
	defer cancel()
	node, err := s.cluster.MasterForKey(ctx, key)
	if err != nil {
		return "", err
	}
	return node.Options().Addr, nil
}
