package redisstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/ratelimit"
)

// Lockouts is a ratelimit.LockoutStore in Redis: what fails at one machine counts at
// all. It is safe for concurrent use.
//
//	lockouts, err := redisstore.NewLockouts(redisstore.Config{Client: client})
//	lockout, err := ratelimit.NewLockout(ratelimit.LockoutConfig{Store: lockouts})
//
// An attempt is one round trip, and one more if it succeeds or is undecided. Both are
// a script, so that each is one atomic decision.
//
// Time is that of Redis alone. Setting its clock forward forgives what that time
// would have; setting it back makes no wait longer than MaxBackoff.
//
// All keys of a lockout are in one slot, since a decision needs several of them: on a
// cluster one node has them all. Lockouts of other names may be on other nodes.
//
// A login takes another round trip before it, which asks whether the client has to
// wait (LockoutBook.Peek).
//
// Nothing bounds the number of counters: a guess at a name that has not been tried
// writes about 1,100 bytes, which stay until it is forgiven, 72 minutes by default. Who
// makes up keys in 10,000 guesses a second could write some 47 GB in that time. A
// Redis whose maxmemory is reached refuses to write, since it must not evict, and then
// the lockout counts in the memory of each process, which is bounded; but so it does
// for revocations in the same Redis. Give lockouts a Redis of their own with a
// maxmemory, and put a rate limit by network in front of the doors.
//
// A Redis that loses what it has, or whose clock stands, gives as many guesses as
// there are at the start. An answer that was lost may count an attempt twice, and
// never gives one back twice.
type Lockouts struct {
	store *store

	mu    sync.Mutex
	names map[string]struct{}
}

var _ ratelimit.LockoutStore = (*Lockouts)(nil)

// NewLockouts returns a store. It sends nothing: a Redis that is down makes the calls
// fail, and ratelimit.Lockout then counts in memory. It returns an error that names
// the field if cfg can't work. Config.Timeout should not be less than the
// StoreTimeout of the Lockout, which is 100 ms by default and holds as well.
func NewLockouts(cfg Config) (*Lockouts, error) {
	s, err := newStore(cfg)
	if err != nil {
		return nil, err
	}
	return &Lockouts{store: s, names: make(map[string]struct{})}, nil
}

// String tells nothing of the configuration.
func (l *Lockouts) String() string { return "redisstore.Lockouts" }

// Format writes String whatever the verb, so that no HashKey gets into a log.
func (l *Lockouts) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, l.String()) }

// OpenLockout implements ratelimit.LockoutStore. Lockouts of one name that are opened
// in several stores, such as those of several machines, share their counts; they
// should have the same rules.
func (l *Lockouts) OpenLockout(name string, rules ratelimit.LockoutRules) (ratelimit.LockoutBook, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.names[name]; ok {
		return nil, fmt.Errorf("redisstore: the lockout %q is open already in this store", name)
	}
	b := &lockoutBook{store: l.store}
	b.slot = l.store.prefix + "{" + strings.TrimPrefix(l.store.key(kindLockout, name), l.store.prefix) + "}"
	limits := []ratelimit.LockoutLimit{rules.Network, rules.Pair, rules.Account, rules.Pair, rules.Account}
	steps := 0
	for wait := rules.Backoff; wait < rules.MaxBackoff; wait *= 2 {
		steps++
	}
	b.args = []any{micros(rules.Backoff), micros(rules.MaxBackoff), micros(rules.KnownFor)}
	for _, limit := range limits {
		if limit.Failures < 1 || limit.Window <= 0 {
			return nil, errors.New("redisstore: OpenLockout: the rules are not complete")
		}
		one := micros((limit.Window + time.Duration(limit.Failures) - 1) / time.Duration(limit.Failures))
		b.args = append(b.args, one, one*int64(limit.Failures), one*int64(limit.Failures+steps+1))
	}
	l.names[name] = struct{}{}
	return b, nil
}

// micros is d in microseconds, rounded up.
func micros(d time.Duration) int64 { return int64((d + time.Microsecond - 1) / time.Microsecond) }

// The kinds of what a lockout counts on, besides those of revocations and replays.
const (
	kindLockout = 'l'
	kindNetwork = 'N'
	kindPair    = 'P'
	kindAccount = 'A'
	kindKnown   = 'K' // the networks of an account
	kindUsed    = 'U' // that somebody has succeeded in a network
	kindWhere   = 'W' // how a network is called among those of an account
)

// A lockoutBook is one lockout.
type lockoutBook struct {
	store *store
	slot  string // begins each key, and has the name of the lockout in it
	args  []any  // the rules
}

// lockout counts a guess, or settles one. A counter is "debt-free-at wait-until told
// epoch", in microseconds by the clock of Redis: the epoch is when it began at nothing,
// so that a guess takes back what it has added itself, and nothing that came after a
// success. The networks of an account are pairs of a
// name and the time of the last success. What it does not understand counts as
// nothing known, and as a counter that is exhausted for the longest wait.
//
// KEYS: the counters by network, sent and near, sent, account and near, account; the
// networks of the account; whether somebody has succeeded in the network.
// ARGV: backoff, longest, keep, five times (one, full, most), what to do ("count",
// "peek", "success" or "undecided"), the name of the network, whether something was
// sent, what was counted, and in which epoch of each counter.
const lockout = `
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local backoff, longest, keep = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local act, where, sent, counted = ARGV[19], ARGV[20], ARGV[21] == '1', tonumber(ARGV[22])

local function rule(i)
	return tonumber(ARGV[1 + 3 * i]), tonumber(ARGV[2 + 3 * i]), tonumber(ARGV[3 + 3 * i])
end
local function text(n) return string.format('%.0f', n) end
local function load(i)
	local one, full, most = rule(i)
	local v = redis.call('GET', KEYS[i])
	local none = {debt = 0, till = 0, told = 0, epoch = text(now)}
	if not v then return none end
	local free, till, told, epoch = string.match(v, '^(%d+) (%d+) ([01]) (%d%d?%d?%d?%d?%d?%d?%d?%d?%d?%d?%d?%d?%d?%d?%d?%d?%d?)$')
	if not free then return {debt = full, till = now + longest, told = 0, epoch = text(now)} end
	local s = {debt = math.min(tonumber(free) - now, most), till = math.min(tonumber(till), now + longest), told = tonumber(told), epoch = epoch}
	if s.debt <= 0 then return none end
	return s
end
local function save(i, s)
	if s.debt <= 0 then
		redis.call('DEL', KEYS[i])
	else
		redis.call('SET', KEYS[i], text(now + s.debt) .. ' ' .. text(s.till) .. ' ' .. s.told .. ' ' .. s.epoch, 'PX', text(math.ceil(math.max(s.debt, s.till - now) / 1000) + 1))
	end
end
local function exhausted(i, s)
	local one, full = rule(i)
	return s.debt > full - one
end
local function networks()
	local list, found = {}, false
	for name, at in string.gmatch(redis.call('GET', KEYS[6]) or '', '(%S+) (%d+)') do
		at = math.min(tonumber(at), now)
		if now - at < keep then
			table.insert(list, {name = name, at = at})
			found = found or name == where
		end
	end
	return list, found
end

if act == 'count' or act == 'peek' then
	local count = act == 'count'
	local known = false
	if count then local _; _, known = networks() end
	local used = redis.call('GET', KEYS[7])
	local use = {true, sent, sent and not used, count, count and not known}
	local states, locked, wait, began, epochs = {}, false, 0, 0, {'0', '0', '0', '0', '0'}
	for i = 1, 5 do
		if use[i] then
			local s = load(i)
			states[i] = s
			if s.till > now and exhausted(i, s) and not (i > 3 and wait > 0) then
				locked = true
				if i <= 3 then wait = math.max(wait, s.till - now) end
				if s.told == 0 then
					s.told = 1
					began = began + 2 ^ (i - 1)
					save(i, s)
				end
			end
		end
	end
	counted = 0
	if count and wait == 0 then
		for i = 1, 5 do
			local s = states[i]
			if s and (i <= 3 or not locked) then
				local one, full, most = rule(i)
				s.debt = math.min(s.debt + one, most)
				if exhausted(i, s) then
					s.till = now + math.min(longest, backoff * 2 ^ math.max(0, math.ceil((s.debt - full) / one)))
				end
				save(i, s)
				counted = counted + 2 ^ (i - 1)
				epochs[i] = s.epoch
			end
		end
	end
	return (locked and '1 ' or '0 ') .. text(wait) .. ' ' .. text(counted) .. ' ' .. text(began) .. ' ' .. table.concat(epochs, ' ')
end

for i = 1, 5 do
	if act == 'success' and (i == 4 or i == 2 and sent) then
		redis.call('DEL', KEYS[i])
	elseif math.floor(counted / 2 ^ (i - 1)) % 2 == 1 then
		local s = load(i)
		local one = rule(i)
		if s.epoch == ARGV[22 + i] then
			s.debt = s.debt - one
			if exhausted(i, s) then s.till = now end
			save(i, s)
		end
	end
end
if act == 'success' then
	local list, found = networks()
	if found then
		for _, one in ipairs(list) do
			if one.name == where then one.at = now end
		end
	else
		table.insert(list, {name = where, at = now})
		if #list > 16 then
			local oldest = 1
			for i, one in ipairs(list) do
				if one.at < list[oldest].at then oldest = i end
			end
			table.remove(list, oldest)
		end
	end
	local parts = {}
	for _, one in ipairs(list) do table.insert(parts, one.name .. ' ' .. text(one.at)) end
	redis.call('SET', KEYS[6], table.concat(parts, ' '), 'PX', text(math.ceil(keep / 1000)))
	redis.call('SET', KEYS[7], '1', 'PX', text(math.ceil(keep / 1000)))
end
return '1'
`

var lockoutHash = redis.NewScript(lockout).Hash()

// Count implements ratelimit.LockoutBook.
func (b *lockoutBook) Count(ctx context.Context, g ratelimit.LockoutGuess) (ratelimit.LockoutAnswer, error) {
	ctx, cancel, err := b.store.begin(ctx)
	if err != nil {
		return ratelimit.LockoutAnswer{}, err
	}
	defer cancel()
	reply, err := b.run(ctx, &g, "count", ratelimit.LockoutAnswer{}, func(key string, cmd *command) error { return b.store.write(ctx, key, cmd) })
	if err != nil {
		return ratelimit.LockoutAnswer{}, failed(ctx, "Count", err)
	}
	a, ok := parseAnswer(reply)
	if !ok || !counts(a) {
		return ratelimit.LockoutAnswer{}, errors.New("redisstore: Count: an unexpected reply")
	}
	return a, nil
}

// Peek implements ratelimit.LockoutBook. It waits for no replicas, since what it
// writes is no more than that a lock has been told.
func (b *lockoutBook) Peek(ctx context.Context, g ratelimit.LockoutGuess) (ratelimit.LockoutAnswer, error) {
	ctx, cancel, err := b.store.begin(ctx)
	if err != nil {
		return ratelimit.LockoutAnswer{}, err
	}
	defer cancel()
	reply, err := b.run(ctx, &g, "peek", ratelimit.LockoutAnswer{}, func(_ string, cmd *command) error { return b.store.client.Process(ctx, cmd) })
	if err != nil {
		return ratelimit.LockoutAnswer{}, failed(ctx, "Peek", err)
	}
	a, ok := parseAnswer(reply)
	if !ok || a.Counted != 0 || a.Locked != (a.RetryAfter > 0) {
		return ratelimit.LockoutAnswer{}, errors.New("redisstore: Peek: an unexpected reply")
	}
	return a, nil
}

// Settle implements ratelimit.LockoutBook. It is sent once: to give back what may be
// given back already would be a guess for nothing.
func (b *lockoutBook) Settle(ctx context.Context, g ratelimit.LockoutGuess, a ratelimit.LockoutAnswer, o ratelimit.LockoutOutcome) error {
	ctx, cancel, err := b.store.begin(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	act := "undecided"
	if o == ratelimit.LockoutSuccess {
		act = "success"
	}
	reply, err := b.run(ctx, &g, act, a, func(_ string, cmd *command) error { return b.store.client.Process(ctx, cmd) })
	if err != nil {
		return failed(ctx, "Settle", err)
	}
	if reply != "1" {
		return errors.New("redisstore: Settle: an unexpected reply")
	}
	return nil
}

// run has Redis run the script, which it may have to be sent first.
func (b *lockoutBook) run(ctx context.Context, g *ratelimit.LockoutGuess, act string, a ratelimit.LockoutAnswer, send func(key string, cmd *command) error) (string, error) {
	near, network := networkName(g.Near), networkName(g.Network)
	sent := "0"
	if g.Sent != "" {
		sent = "1"
	}
	keys := []any{
		b.key(kindNetwork, network), b.key(kindPair, g.Sent, near, "sent"), b.key(kindAccount, g.Sent, "sent"),
		b.key(kindPair, g.Account, near), b.key(kindAccount, g.Account), b.key(kindKnown, g.Account), b.key(kindUsed, near),
	}
	args := make([]any, 0, 3+len(keys)+len(b.args)+4+len(a.Epochs))
	args = append(args, "evalsha", lockoutHash, len(keys))
	args = append(args, keys...)
	args = append(args, b.args...)
	args = append(args, act, b.keyPart(kindWhere, g.Account, near), sent, int(a.Counted))
	for _, epoch := range a.Epochs {
		args = append(args, epoch)
	}
	cmd := newCommand(ctx, args...)
	err := send(b.slot, cmd)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		args[0], args[1] = "eval", lockout
		cmd = newCommand(ctx, args...)
		err = send(b.slot, cmd)
	}
	return string(cmd.Bytes()), err
}

// key names what is kept of the parts in the slot of the lockout.
func (b *lockoutBook) key(kind byte, parts ...string) string {
	return b.slot + b.keyPart(kind, parts...)
}

// keyPart is a key without the prefix, and so without any blank.
func (b *lockoutBook) keyPart(kind byte, parts ...string) string {
	return strings.TrimPrefix(b.store.key(kind, parts...), b.store.prefix)
}

// networkName is a network as a part of a key.
func networkName(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.String()
}

// parseAnswer reads "locked wait counted began", and five epochs.
func parseAnswer(reply string) (a ratelimit.LockoutAnswer, ok bool) {
	parts := strings.Split(reply, " ")
	if len(parts) != 4+len(a.Epochs) || parts[0] != "0" && parts[0] != "1" {
		return a, false
	}
	var n [3 + len(a.Epochs)]int64
	for i, part := range parts[1:] {
		v, err := strconv.ParseUint(part, 10, 63)
		if err != nil || part != strconv.FormatUint(v, 10) {
			return a, false
		}
		n[i] = int64(v) //nolint:gosec // of 63 bits
	}
	const longest, all = 24 * time.Hour, 1<<5 - 1
	if n[0] > longest.Microseconds() || n[1] > all || n[2] > all {
		return a, false
	}
	return ratelimit.LockoutAnswer{
		Locked: parts[0] == "1", RetryAfter: time.Duration(n[0]) * time.Microsecond,
		Counted: ratelimit.LockoutCounters(n[1] & all), Began: ratelimit.LockoutCounters(n[2] & all), //nolint:gosec // of 5 bits
		Epochs: [len(a.Epochs)]int64(n[3:]),
	}, true
}

// counts reports whether a guess was refused or counted: else it would be free.
func counts(a ratelimit.LockoutAnswer) bool {
	const told = ratelimit.CountNetwork | ratelimit.CountSentNear | ratelimit.CountSent
	switch {
	case a.RetryAfter > 0:
		return a.Locked && a.Counted == 0
	case a.Locked:
		return a.Counted&ratelimit.CountNetwork != 0 && a.Counted&^told == 0
	default:
		return a.Counted&ratelimit.CountNetwork != 0 && a.Counted&ratelimit.CountPair != 0
	}
}
