package redisstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/auth"
)

// Revocations is an auth.Revocations in Redis. It is safe for concurrent use.
type Revocations struct{ store *store }

var _ auth.Revocations = (*Revocations)(nil)

// NewRevocations returns a store. It sends nothing: a Redis that is down makes the
// calls fail. It returns an error that names the field if cfg can't work.
func NewRevocations(cfg Config) (*Revocations, error) {
	s, err := newStore(cfg)
	if err != nil {
		return nil, err
	}
	return &Revocations{s}, nil
}

// String tells nothing of the configuration.
func (r *Revocations) String() string { return "redisstore.Revocations" }

// Format writes String whatever the verb, so that no HashKey gets into a log.
func (r *Revocations) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.String()) }

// The kinds of keys, which are part of what is hashed.
const (
	kindToken   = 't'
	kindSession = 's'
	kindSubject = 'u'
	kindReplay  = 'r'
)

// A revocation's value is its NotBefore in milliseconds since 1970, rounded up; for
// tokens and sessions it is 0, and only counts by being there.
const (
	longestDigits = 15 // which a number of Lua holds exactly
	longestValue  = 999_999_999_999_999
)

// revoke writes a value that is later than what is there, and lets nothing end
// sooner. What it does not understand is left: it revokes everything.
const revoke = `
local value = ARGV[1]
local old = redis.call('GET', KEYS[1])
if old then
	if not string.match(old, '^%d+$') or #old > 15 or tonumber(old) > tonumber(value) then
		value = old
	end
	local left = redis.call('PTTL', KEYS[1])
	if left < 0 or left > tonumber(ARGV[2]) then
		redis.call('SET', KEYS[1], value, 'KEEPTTL')
		return 1
	end
end
redis.call('SET', KEYS[1], value, 'PX', ARGV[2])
return 1
`

var revokeHash = redis.NewScript(revoke).Hash()

// Revoke implements auth.Revocations: when it returns nil, Redis has answered that
// it is written. It returns an error if rev does not pass Check, and if it can't
// tell that it is written; then it may be.
func (r *Revocations) Revoke(ctx context.Context, rev auth.Revocation) error {
	ctx, cancel, err := r.store.begin(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	if err := rev.Check(); err != nil {
		return err
	}
	left := ttl(rev.Until)
	if left <= 0 {
		return nil
	}
	kind, name, value := byte(kindSubject), rev.Subject, milliseconds(rev.NotBefore)
	switch {
	case rev.TokenID != "":
		kind, name, value = kindToken, rev.TokenID, 0
	case rev.SessionID != "":
		kind, name, value = kindSession, rev.SessionID, 0
	}
	key := r.store.key(kind, rev.Issuer, name)
	cmd := newCommand(ctx, "evalsha", revokeHash, 1, key, value, left)
	err = r.store.write(ctx, key, cmd)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		cmd = newCommand(ctx, "eval", revoke, 1, key, value, left)
		err = r.store.write(ctx, key, cmd)
	}
	if err != nil {
		return failed(ctx, "Revoke", err)
	}
	if string(cmd.Bytes()) != "1" {
		return errors.New("redisstore: Revoke: an unexpected reply")
	}
	return nil
}

// Revoked implements auth.Revocations. It asks for the token, its session and its
// subject in one round trip. A value that no Revoke wrote means revoked, unless it is
// so long that it is an error.
func (r *Revocations) Revoked(ctx context.Context, t auth.TokenInfo) (bool, error) {
	ctx, cancel, err := r.store.begin(ctx)
	if err != nil {
		return false, err
	}
	defer cancel()
	if t.Issuer == "" {
		return false, nil
	}
	// Not MGET: it says nil of a key that holds something else than a string, and
	// can't ask several nodes.
	var cmds []*command
	var subject *command
	for _, one := range [...]struct {
		kind byte
		name string
	}{{kindToken, t.ID}, {kindSession, t.SessionID}, {kindSubject, t.Subject}} {
		if one.name == "" {
			continue
		}
		cmd := newCommand(ctx, "get", r.store.key(one.kind, t.Issuer, one.name))
		cmds = append(cmds, cmd)
		if one.kind == kindSubject {
			subject = cmd
		}
	}
	if len(cmds) == 0 {
		return false, nil
	}
	r.store.read(ctx, cmds...)

	// One answer that it is revoked is enough, whatever became of the others.
	var unknown error
	for _, cmd := range cmds {
		switch err := cmd.Err(); {
		case errors.Is(err, redis.Nil):
		case err != nil:
			unknown = err
		case cmd != subject || revokes(string(cmd.Bytes()), t.IssuedAt):
			return true, nil
		}
	}
	if unknown != nil {
		return false, failed(ctx, "Revoked", unknown)
	}
	return false, nil
}

// revokes reports whether the value of a subject revokes what was issued then. One
// that it does not understand does.
func revokes(value string, issued time.Time) bool {
	notBefore, err := strconv.ParseUint(value, 10, 63)
	return err != nil || len(value) > longestDigits || issued.Before(time.UnixMilli(int64(notBefore))) //nolint:gosec // of 63 bits
}

// milliseconds is the value of a time.
func milliseconds(t time.Time) int64 {
	if t.Unix() >= longestValue/1000 {
		return longestValue
	}
	return max(t.Add(time.Millisecond-1).UnixMilli(), 0)
}
