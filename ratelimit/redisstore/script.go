package redisstore

import (
	"slices"

	"github.com/redis/go-redis/v9"
)

// The script decides requests of keys in the order in which they are given, which may
// be several of one key. All of them see one time, that of Redis.
//
// A limit has a kind. What a key has used of it is a pair of numbers, of which the
// second is 0 if it has one word, and a kind says how the pair is read from the value
// and written to it, how a cost is added to it and taken from it, and in how many
// milliseconds it ends. There is one kind so far, and the places that depend on it are
// marked with its name: functions and tables that are made for each run take longer
// than a decision. The value of a key is the words of all its limits, with blanks
// between them. Numbers are whole and at most 2⁵³, which numbers of Lua hold exactly.
//
// Of the kind gcra the pair is what the key owes, a span of the rate, and the value
// has when it owes nothing any more: microseconds since 1970 and, unless the rate has
// whole microseconds only, the parts of one. A debt above the window can only be seen
// when the clock was set back. It counts as the window and is written so, or the key
// would be refused until the clock is where it was.
//
// That the script begins with a shebang makes Redis refuse it before anything is done
// if it can't write, as a replica or when its memory is full.
//
// KEYS: of each request. ARGV: the number of limits, and of each the kind and what
// the kind takes (gcra: parts, window and its parts); the number of costs, and of each
// whether it is given back (1) or spent (0), and its pair for each limit; if there are
// several costs, of each request the first cost to try, and the next one if that is
// too much.
//
// The reply has for each request what became of it ("0": refused, "1" or "2": that
// cost was spent, "x": the value is not one that a store writes), and the words of the
// pairs.
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

-- Of limit i the parts, the window and its parts are limit[3i - 2] and the next two.
local limits = tonumber(ARGV[1])
local width, limit = 2 * limits, {}
for i = 1, 3 * limits, 3 do -- ARGV[at + 1] is the kind, gcra
	limit[i], limit[i + 1], limit[i + 2] = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
	at = at + 4
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
	for i = 1, limits do -- gcra
		local parts, window, rest = limit[3 * i - 2], limit[3 * i - 1], limit[3 * i]
		local us, frac, begin, word = nil, 0
		begin, last, word = find(v, '^(%d+) ?', last + 1)
		if not begin or #word > 16 then return odd end
		us = tonumber(word) - now
		if parts > 1 then
			begin, last, word = find(v, '^(%d+) ?', last + 1)
			if not begin or #word > 16 then return odd end
			frac = tonumber(word)
			if frac >= parts then return odd end
		end
		if us < 0 then
			us, frac = 0, 0
		elseif us > window or us == window and frac > rest then
			us, frac, again = window, rest, dirty
		end
		states[s + 2 * i - 1], states[s + 2 * i] = us, frac
	end
	if last ~= #v or find(v, ' ', -1, true) then return odd end
	return again
end

-- spend adds the cost c to the pairs after states[s], unless it is too much for a limit.
local after = {}
local function spend(s, c)
	c = (width + 1) * (c - 1)
	for i = 1, limits do -- gcra
		local parts, window, rest = limit[3 * i - 2], limit[3 * i - 1], limit[3 * i]
		local us, frac = states[s + 2 * i - 1] + cost[c + 2 * i], states[s + 2 * i] + cost[c + 2 * i + 1]
		if frac >= parts then us, frac = us + 1, frac - parts end
		if us > window or us == window and frac > rest then return false end
		after[2 * i - 1], after[2 * i] = us, frac
	end
	for i = 1, width do states[s + i] = after[i] end
	return true
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
			for j = s + 1, s + width do states[j] = 0 end
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
		for j = s + 1, s + width do states[j] = 0 end
	elseif cost[(width + 1) * (c - 1) + 1] == 1 then
		c = (width + 1) * (c - 1)
		for i = 1, limits do -- gcra
			local us, frac = states[s + 2 * i - 1] - cost[c + 2 * i], states[s + 2 * i] - cost[c + 2 * i + 1]
			if frac < 0 then us, frac = us - 1, frac + limit[3 * i - 2] end
			if us < 0 then us, frac = 0, 0 end
			states[s + 2 * i - 1], states[s + 2 * i] = us, frac
		end
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
		if limit[3 * i - 2] > 1 then
			r = r + 1
			reply[r] = text(states[s + 2 * i])
		end
	end
end

for k = 1, known do
	if mark[k] == dirty then
		local s, key, value, most = width * (k - 1), KEYS[first[k]], nil, 0
		for i = 1, limits do -- gcra
			local us, frac = states[s + 2 * i - 1], states[s + 2 * i]
			local up = frac > 0 and us + 1 or us
			if up > most then most = up end
			local word = text(now + us)
			if limit[3 * i - 2] > 1 then word = word .. ' ' .. text(frac) end
			value = value and value .. ' ' .. word or word
		end
		if most == 0 then
			redis.call('DEL', key)
		else
			redis.call('SET', key, value, 'PX', text(floor(most / 1000) + 2))
		end
	end
end
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

const (
	longestNumber = 16                  // digits of 2⁵³
	longestPair   = 2 + 2*longestNumber // with blanks
)

// limitArgs returns the arguments of the script by which it knows the limits.
func limitArgs(rates []rate) []any {
	args := []any{len(rates)}
	for _, r := range rates {
		args = append(args, "gcra", r.e, r.window.us, r.window.frac)
	}
	return args
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
func (b *bucket) scriptArgs(calls []*call) []any {
	args := make([]any, 0, 5+len(b.oneArgs)+3*len(calls))
	args = append(args, "evalsha", b.store.program.hash, len(calls))
	for _, c := range calls {
		args = append(args, c.key)
	}
	if !slices.ContainsFunc(calls, func(c *call) bool { return c.n != 1 || c.first != 1 }) {
		return append(args, b.oneArgs...)
	}
	args = append(args, b.limitArgs...)
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
			if r.e > 1 {
				if c.debts[i].frac, reply, ok = readNumber(reply); !ok {
					return false
				}
			}
			if c.debts[i].frac >= r.e || c.debts[i].more(r.window) {
				return false
			}
		}
	}
	return len(reply) == 0
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
