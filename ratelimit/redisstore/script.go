package redisstore

import (
	"bytes"
	"math"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// The script decides requests of keys in the order in which they are given, which may
// be several of one key. All of them see one time, that of Redis.
//
// A limit has a kind. What a key has used of it is a pair of numbers, of which the
// second is 0 if it has one word, and a kind says how the pair is read from the value
// and written to it, how a cost is added to it and taken from it, and in how many
// milliseconds it ends. The places that depend on the kind ask for it: functions and tables
// that are made for each run take longer than a decision. The value of a key is the words
// of all its limits, with blanks between them. Numbers are whole and at most 2⁵³, which
// numbers of Lua hold exactly.
//
// Of the kind gcra the pair is what the key owes, a span of the rate, and the value
// has when it owes nothing any more: microseconds since 1970 and, unless the rate has
// whole microseconds only, the parts of one. A debt above the window can only be seen
// when the clock was set back. It counts as the window and is written so, or the key
// would be refused until the clock is where it was.
//
// Of the kind calendar the pair is how many events were counted and when their window
// began. The script can't tell when one of a time zone begins, so it is told the one that
// is thought to be current. If that is another by the clock of Redis, nothing is done, and
// the reply is "w" and that clock. A window that has not begun, since the clock was set
// back, goes on.
//
// Of the kind sliding the pair is how many events were counted in the current window and
// in the one before; the value has the number of the current one before them. Windows begin
// at multiples of their length since 1970. What was counted in a later one, since the clock
// was set back, counts in the current one.
//
// That the script begins with a shebang makes Redis refuse it before anything is done
// if it can't write, as a replica or when its memory is full.
//
// KEYS: of each request. ARGV: the number of limits, and of each the kind and three
// numbers (gcra: parts, window and its parts; calendar: events, and when the window begins
// and ends; sliding: events, the length of a window, 0); the number of costs, and of each
// whether it is given back (1) or spent (0), and its pair for each limit (of windows: the
// events, and how many microseconds and one ago they were counted if they are given back,
// 0 if nobody knows); if there are several costs, of each request the first cost to try,
// and the next one if that is too much.
//
// The reply has for each request what became of it ("0": refused, "1" or "2": that
// cost was spent, "x": the value is not one that a store writes), and the words of the
// pairs; and, if there are windows, the clock at its end.
const script = `
local now = t[1] * 1000000 + t[2]
local find, format, floor, tonumber, KEYS, ARGV = string.find, string.format, math.floor, tonumber, KEYS, ARGV

local function text(n)
	if n == 0 then return '0' end
	if n < 1e14 then return n end
	return format('%.0f', n)
end

-- One key that spends of one limit of whole microseconds: what follows would decide the
-- same, and takes longer to set up than to decide.
if #KEYS == 1 and ARGV[1] == '1' and ARGV[2] == 'gcra' and ARGV[3] == '1' and ARGV[6] == '1' and ARGV[7] == '0' then
	local v = redis.pcall('GET', KEYS[1])
	if not v or type(v) == 'string' and #v <= 16 and find(v, '^%d+$') then
		local us, window = 0, tonumber(ARGV[4])
		if v then us = tonumber(v) - now end
		if us < 0 then us = 0 end
		local after = us + tonumber(ARGV[8])
		if after <= window then
			redis.call('SET', KEYS[1], text(now + after), 'PX', text(floor(after / 1000) + 2))
			return '1 ' .. text(after)
		end
		if us <= window then return '0 ' .. text(us) end
	end
end

local at = 1 -- the last argument that was read

-- Of limit i the three numbers are limit[3i - 2] and the next two, and words[i] is how
-- many words it has in a value.
local limits = tonumber(ARGV[1])
local width, kind, limit, words, windows = 2 * limits, {}, {}, {}, false
for i = 1, limits do
	local a, b, c = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
	kind[i], limit[3 * i - 2], limit[3 * i - 1], limit[3 * i] = ARGV[at + 1], a, b, c
	at = at + 4
	if kind[i] == 'gcra' then
		words[i] = a > 1 and 2 or 1
	elseif kind[i] == 'calendar' then
		words[i], windows = 2, true
		if now < b or now >= c then return 'w ' .. text(now) end
	else
		words[i], windows = 3, true
	end
end

-- weight returns n * rest / per, rounded up, for n below 2^31 and rest up to per, which is
-- below 2^49: three bits of n at a time, so that all numbers are exact.
local weight
if windows then
	weight = function(n, rest, per)
		local q, r = 0, 0
		if n * rest < 2 ^ 53 then
			q = floor(n * rest / per)
			r = n * rest - q * per
			if r < 0 then q, r = q - 1, r + per end
		else
			for shift = 30, 0, -3 do
				local x = r * 8 + floor(n / 2 ^ shift) % 8 * rest
				local part = floor(x / per)
				r = x - part * per
				if r < 0 then part, r = part - 1, r + per end
				q = q * 8 + part
			end
		end
		return r > 0 and q + 1 or q
	end
end

-- Of cost c the pair of limit i is cost[(width + 1) * (c - 1) + 2i] and the next; before
-- all is whether it is given back.
local costs = tonumber(ARGV[at + 1])
local cost = {}
for j = 1, costs * (width + 1) do cost[j] = tonumber(ARGV[at + 1 + j]) end
at = at + 1 + costs * (width + 1)

-- Keys that differ have numbers. Of key k the pair of limit i is
-- states[width * (k - 1) + 2i - 1] and the next.
local where, first, mark, states, known = {}, {}, {}, {}, 0
local clean, dirty, odd = 0, 1, 2

-- read puts the pairs of a value after states[s]. It returns what is to be done about
-- it: nothing, that it is written again, or nothing ever as no store has written it.
local function read(v, s)
	local last, again = 0, clean
	for i = 1, limits do
		local x, y, z, begin, word
		for _ = 1, words[i] do
			begin, last, word = find(v, '^(%d+) ?', last + 1)
			if not begin or #word > 16 then return odd end
			x, y, z = y, z, tonumber(word)
		end
		local one, two = 0, 0
		if kind[i] == 'gcra' then
			local parts, window, rest = limit[3 * i - 2], limit[3 * i - 1], limit[3 * i]
			one = z - now
			if parts > 1 then one, two = y - now, z end
			if two >= parts then return odd end
			if one < 0 then
				one, two = 0, 0
			elseif one > window or one == window and two > rest then
				one, two, again = window, rest, dirty
			end
		elseif kind[i] == 'calendar' then
			if z > limit[3 * i - 2] then return odd end
			two = limit[3 * i - 1]
			if y >= two then one, two = z, y end
		else
			local index = floor(now / limit[3 * i - 1])
			if y > limit[3 * i - 2] or z > limit[3 * i - 2] then return odd end
			if x >= index then
				one, two = y, z
			elseif x == index - 1 then
				two = y
			end
			if x > index then again = dirty end
		end
		states[s + 2 * i - 1], states[s + 2 * i] = one, two
	end
	if last ~= #v or find(v, ' ', -1, true) then return odd end
	return again
end

-- spend adds the cost c to the pairs after states[s], unless it is too much for a limit.
local after = {}
local function spend(s, c)
	c = (width + 1) * (c - 1)
	for i = 1, limits do
		local one, two = states[s + 2 * i - 1] + cost[c + 2 * i], states[s + 2 * i]
		if kind[i] == 'gcra' then
			local parts, window, rest = limit[3 * i - 2], limit[3 * i - 1], limit[3 * i]
			two = two + cost[c + 2 * i + 1]
			if two >= parts then one, two = one + 1, two - parts end
			if one > window or one == window and two > rest then return false end
		else
			local room = limit[3 * i - 2] - one
			if room < 0 then return false end
			if kind[i] == 'sliding' and two > room then
				local per = limit[3 * i - 1]
				if weight(two, per - now % per, per) > room then return false end
			end
		end
		after[2 * i - 1], after[2 * i] = one, two
	end
	for i = 1, width do states[s + i] = after[i] end
	return true
end

-- back gives the cost c back to the pairs after states[s], as far as it counts.
local function back(s, c)
	c = (width + 1) * (c - 1)
	for i = 1, limits do
		local one, two = states[s + 2 * i - 1], states[s + 2 * i]
		local n, ago = cost[c + 2 * i], cost[c + 2 * i + 1]
		if kind[i] == 'gcra' then
			one, two = one - n, two - ago
			if two < 0 then one, two = one - 1, two + limit[3 * i - 2] end
			if one < 0 then one, two = 0, 0 end
		elseif kind[i] == 'calendar' then
			if ago == 0 or now - ago + 1 >= two then one = one > n and one - n or 0 end
		else
			local per = limit[3 * i - 1]
			local start = now - now % per
			if ago == 0 then
				local more = n > one and n - one or 0
				one, two = one - n + more, two > more and two - more or 0
			elseif now - ago + 1 >= start then
				one = one > n and one - n or 0
			elseif now - ago + 1 >= start - per then
				two = two > n and two - n or 0
			end
		end
		states[s + 2 * i - 1], states[s + 2 * i] = one, two
	end
end

-- fresh sets the pairs after states[s] to those of a key that has no value.
local function fresh(s)
	for i = 1, limits do
		states[s + 2 * i - 1], states[s + 2 * i] = 0, kind[i] == 'calendar' and limit[3 * i - 1] or 0
	end
end

local reply, r = {}, 0
for i = 1, #KEYS do
	local key = KEYS[i]
	local k = where[key]
	local s
	if k then
		s = width * (k - 1)
	else
		known = known + 1
		k = known
		s = width * (k - 1)
		where[key], first[k], mark[k] = k, i, clean
		local v = redis.pcall('GET', key)
		if not v then
			fresh(s)
		elseif type(v) == 'string' then
			mark[k] = read(v, s)
		elseif find(v.err, 'WRONGTYPE', 1, true) == 1 then
			mark[k] = odd
		else
			return v
		end
	end
	local c, other = 1, 1
	if costs > 1 then
		c, other = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
		at = at + 2
	end
	local done = '0'
	if mark[k] == odd then
		done = 'x'
		fresh(s)
	elseif cost[(width + 1) * (c - 1) + 1] == 1 then
		back(s, c)
		done, mark[k] = '1', dirty
	elseif spend(s, c) then
		done, mark[k] = '1', dirty
	elseif other ~= c and spend(s, other) then
		done, mark[k] = '2', dirty
	end
	r = r + 1
	reply[r] = done
	for i = 1, limits do
		r = r + 1
		reply[r] = text(states[s + 2 * i - 1])
		if words[i] > 1 then
			r = r + 1
			reply[r] = text(states[s + 2 * i])
		end
	end
end

for k = 1, known do
	if mark[k] == dirty then
		local s, key, value, most = width * (k - 1), KEYS[first[k]], nil, 0
		for i = 1, limits do
			local one, two, ends, word = states[s + 2 * i - 1], states[s + 2 * i], 0
			if kind[i] == 'gcra' then
				ends = two > 0 and one + 1 or one
				word = text(now + one)
				if words[i] > 1 then word = word .. ' ' .. text(two) end
			elseif kind[i] == 'calendar' then
				local start, after = limit[3 * i - 1], limit[3 * i]
				if one > 0 then ends = after - now end
				-- Of a later window it is not known here when it ends: months differ by three days.
				if one > 0 and two > start then ends = two - now + after - start + 4 * 86400000000 end
				word = text(two) .. ' ' .. text(one)
			else
				local per = limit[3 * i - 1]
				if two > 0 then ends = per - now % per end
				if one > 0 then ends = 2 * per - now % per end
				word = text(floor(now / per)) .. ' ' .. text(one) .. ' ' .. text(two)
			end
			if ends > most then most = ends end
			value = value and value .. ' ' .. word or word
		end
		if most == 0 then
			redis.call('DEL', key)
		else
			redis.call('SET', key, value, 'PX', text(floor(most / 1000) + 2))
		end
	end
end
if windows then reply[r + 1] = text(now) end
return table.concat(reply, ' ')
`

// What the script reads the time by: seconds and microseconds since 1970.
const clock = `local t = redis.call('TIME')`

// A program is a script and its name in Redis.
type program struct{ text, hash string }

func newProgram(clock string) program {
	text := "#!lua\n" + clock + script
	return program{text, redis.NewScript(text).Hash()}
}

// What became of a request.
const (
	refusedCost  = '0'
	firstCost    = '1'
	nextCost     = '2'
	unknownValue = 'x'
)

// otherWindow begins the reply of a script that was told another window of a calendar than
// the current one. The clock of Redis follows.
const otherWindow = "w "

const (
	longestNumber = 16                  // digits of 2⁵³
	longestPair   = 2 + 2*longestNumber // with blanks
)

// knownLimits are the arguments of the script by which it knows the limits, as long as the
// windows of calendars are these.
type knownLimits struct {
	limits     []any
	one        []any // limits and a cost of 1, for calls that ask for no other
	start, end int64 // of the windows, in microseconds since 1970
}

// limitArgs returns the arguments for a time in microseconds since 1970.
func limitArgs(rates []rate, now int64) *knownLimits {
	k := &knownLimits{limits: []any{len(rates)}, start: math.MinInt64, end: math.MaxInt64}
	for i := range rates {
		switch r := &rates[i]; {
		case r.limit.Window.IsCalendar():
			start, end := r.limit.Window.Bounds(time.UnixMicro(now))
			k.start, k.end = max(k.start, start.UnixMicro()), min(k.end, end.UnixMicro())
			k.limits = append(k.limits, "calendar", r.limit.Events, start.UnixMicro(), end.UnixMicro())
		case r.limit.Window.IsSliding():
			k.limits = append(k.limits, "sliding", r.limit.Events, r.limit.Per.Microseconds(), 0)
		default:
			k.limits = append(k.limits, "gcra", r.e, r.window.us, r.window.frac)
		}
	}
	k.one = appendCost(append(slices.Clone(k.limits), 1), rates, 1)
	return k
}

// known returns the arguments for the current windows. What Redis has said of its clock
// counts.
func (b *bucket) known() *knownLimits {
	k := b.limits.Load()
	if !b.calendars {
		return k
	}
	if now := time.Now().UnixMicro() + b.ahead.Load(); now < k.start || now >= k.end {
		k = limitArgs(b.rates, now)
		b.limits.Store(k)
	}
	return k
}

// learn reports whether a reply says that the windows of the script were not the current ones
// by the clock of Redis. It notes by how much that is ahead, and returns the arguments for
// the current ones.
func (b *bucket) learn(reply []byte) (other bool, current *knownLimits) {
	word, ok := bytes.CutPrefix(reply, []byte(otherWindow))
	if !ok || !b.calendars {
		return false, nil
	}
	n, rest, ok := readNumber(word)
	if !ok || len(rest) > 0 {
		return false, nil
	}
	now := int64(n) //nolint:gosec // of 16 digits
	b.ahead.Store(now - time.Now().UnixMicro())
	current = limitArgs(b.rates, now)
	b.limits.Store(current)
	return true, current
}

// appendCost appends the arguments of the script that are a cost.
func appendCost(args []any, rates []rate, n int) []any {
	gives := 0
	if n < 0 {
		gives = 1
	}
	args = append(args, gives)
	for i := range rates {
		cost := rates[i].cost(n)
		args = append(args, cost.us, cost.frac)
	}
	return args
}

// scriptArgs returns the command that decides the calls. Its name and that of the
// script are the first two.
func (b *bucket) scriptArgs(calls []*call, known *knownLimits) []any {
	args := make([]any, 0, 5+len(known.one)+3*len(calls))
	args = append(args, "evalsha", b.store.program.hash, len(calls))
	for _, c := range calls {
		args = append(args, c.key)
	}
	if !slices.ContainsFunc(calls, func(c *call) bool { return c.n != 1 || c.first != 1 }) {
		return append(args, known.one...)
	}
	args = append(args, known.limits...)
	var few [8]int
	costs := few[:0] // that differ; mostly one
	refunds := 0     // each has a cost of its own, after the others
	for _, c := range calls {
		if c.back != nil {
			refunds++
			continue
		}
		if !slices.Contains(costs, c.first) {
			costs = append(costs, c.first)
		}
		if !slices.Contains(costs, c.n) {
			costs = append(costs, c.n)
		}
	}
	args = append(args, len(costs)+refunds)
	for _, n := range costs {
		args = appendCost(args, b.rates, n)
	}
	for _, c := range calls {
		if c.back == nil {
			continue
		}
		args = append(args, 1)
		for _, back := range c.back {
			args = append(args, back.us, back.frac)
		}
	}
	if len(costs)+refunds > 1 {
		next := len(costs)
		for _, c := range calls {
			if c.back != nil {
				next++
				args = append(args, next, next)
				continue
			}
			args = append(args, slices.Index(costs, c.first)+1, slices.Index(costs, c.n)+1)
		}
	}
	return args
}

// readReply gives the calls what the script has decided. It reports whether the reply
// is one to them: if not, none was given anything that counts.
func (b *bucket) readReply(reply []byte, calls []*call) bool {
	for _, c := range calls {
		if len(reply) < 2 || reply[1] != ' ' {
			return false
		}
		c.outcome, reply = reply[0], reply[2:]
		for i := range b.rates {
			var ok bool
			if c.debts[i].us, reply, ok = readNumber(reply); !ok {
				return false
			}
			r := &b.rates[i]
			c.debts[i].frac = 0
			if r.windowed || r.e > 1 {
				if c.debts[i].frac, reply, ok = readNumber(reply); !ok {
					return false
				}
			}
			if !r.can(c.debts[i]) {
				return false
			}
		}
	}
	if !b.windows {
		return len(reply) == 0
	}
	now, rest, ok := readNumber(reply)
	for _, c := range calls {
		c.now = int64(now) //nolint:gosec // of 16 digits
	}
	return ok && len(rest) == 0
}

// readNumber reads a number, and the blank after it if there is one.
func readNumber(b []byte) (n uint64, rest []byte, ok bool) {
	i := 0
	for ; i < len(b) && b[i] != ' '; i++ {
		if b[i] < '0' || b[i] > '9' || i == longestNumber {
			return 0, nil, false
		}
		n = n*10 + uint64(b[i]-'0')
	}
	if i == 0 {
		return 0, nil, false
	}
	return n, b[min(i+1, len(b)):], true
}
