package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// A command has room for the replies that it can have, and no more: what is longer
// is an error, and is not kept.
type command = redis.ZeroCopyStringCmd

const longestReply = 128 // bytes

func newCommand(ctx context.Context, args ...any) *command {
	return redis.NewZeroCopyStringCmd(ctx, make([]byte, longestReply), args...)
}

// read sends commands together and returns when each has its reply or an error.
func (s *store) read(ctx context.Context, cmds ...*command) {
	s.send(ctx, func() (redis.Pipeliner, error) { return s.client.Pipeline(), nil }, cmds...)
}

// write sends a command that writes to key, and waits for replicas if it shall. The
// command may be sent again, so that it must do no more when it is done twice. The
// error is redis.Nil if that is the reply.
func (s *store) write(ctx context.Context, key string, cmd *command) error {
	if s.replicas == 0 {
		s.read(ctx, cmd)
		return cmd.Err()
	}
	// WAIT is about what was written on its own connection.
	wait := newCommand(ctx, "wait", s.replicas, patience(ctx).Milliseconds())
	s.send(ctx, func() (redis.Pipeliner, error) { return s.pipeline(ctx, key) }, cmd, wait)
	if err := cmd.Err(); err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	if err := wait.Err(); err != nil {
		return fmt.Errorf("waiting for replicas: %v", err)
	}
	n, err := strconv.Atoi(string(wait.Bytes()))
	if err != nil {
		return errors.New("waiting for replicas: an unexpected reply")
	}
	if n < s.replicas {
		return fmt.Errorf("%d replicas have got it, want %d", n, s.replicas)
	}
	return cmd.Err()
}

// send sends commands on what open returns, and once more if a connection was lost:
// the client does not repeat commands that have their own room for the reply.
func (s *store) send(ctx context.Context, open func() (redis.Pipeliner, error), cmds ...*command) {
	for range 2 {
		pipe, err := open()
		if err == nil {
			for _, cmd := range cmds {
				cmd.SetErr(nil)
				_ = pipe.Process(ctx, cmd) // which only queues it
			}
			_, err = pipe.Exec(ctx)
		}
		if err != nil && !slices.ContainsFunc(cmds, func(cmd *command) bool { return cmd.Err() != nil }) {
			for _, cmd := range cmds { // it came before any was sent
				cmd.SetErr(err)
			}
		}
		lost, moved := outcome(cmds)
		if cluster, ok := s.client.(*redis.ClusterClient); ok && (lost || moved) {
			cluster.ReloadState(ctx) // soon: another node may have the keys by now
		}
		if !lost || ctx.Err() != nil {
			return
		}
	}
}

// outcome reports whether a command has no reply, and whether one was answered by a
// node that does not have its key.
func outcome(cmds []*command) (lost, moved bool) {
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil {
			var reply redis.Error // such as redis.Nil
			lost = lost || !errors.As(err, &reply)
			moved = moved || redis.HasErrorPrefix(err, "MOVED")
		}
	}
	return lost, moved
}

// pipeline returns one on a connection to the server that has key.
func (s *store) pipeline(ctx context.Context, key string) (redis.Pipeliner, error) {
	cluster, ok := s.client.(*redis.ClusterClient)
	if !ok {
		return s.client.Pipeline(), nil
	}
	node, err := cluster.MasterForKey(ctx, key)
	if err != nil {
		return nil, err
	}
	return node.Pipeline(), nil
}

// patience is how long to wait for replicas: not until ctx ends, since Redis looks at
// its clock ten times a second, and the connection would be lost with the reply that
// says how many there are.
func patience(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return defaultTimeout
	}
	return max(time.Until(deadline)/2, time.Millisecond) // 0 would be for ever
}
