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
// milliseconds it ends. There is one so far, and the places that depend on it are
// marked: a table of functions for each kind would take longer to set up than most
// decisions take. The value of a key is the words of all its limits, with blanks
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
local find, format, tonumber, KEYS, ARGV = string.find, string.format, tonumber, KEYS, ARGV
local at = 1 -- the last argument that was read

local limits = tonumber(ARGV[1])
local width = 2 * limits
local parts, window, rest = {}, {}, {} -- of each limit
for i = 1, limits do -- ARGV[at + 1] is the kind, gcra
	parts[i], window[i], rest[i] = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
	at = at + 4
end
at = at + 1
local costs = tonumber(ARGV[at])
local back, cost = {}, {} -- pair i of cost c begins at cost[width * (c - 1) + 2i - 1]
for c = 1, costs do
	back[c] = ARGV[at + 1] == '1'
	for j = 1, width do cost[width * (c - 1) + j] = tonumber(ARGV[at + 1 + j]) end
	at = at + 1 + width
end

-- Keys that differ have numbers. Pair i of key k begins at states[width * (k - 1) + 2i - 1].
local where, names, states, dirty, odd, known = {}, {}, {}, {}, {}, 0

local function text(n)
	if n == 0 then return '0' end
	if n < 1e14 then return n end
	return format('%.0f', n)
end

-- read puts the pairs of a value at states[s + 1]. It returns whether it is one that a
-- store writes, and whether it is to be written again.
local function read(v, s)
	local last, again = 0, false
	for i = 1, limits do -- gcra
		local us, frac, first, word = nil, 0
		first, last, word = find(v, '^(%d+) ?', last + 1)
		if not first or #word > 16 then return false end
		us = tonumber(word) - now
		if parts[i] > 1 then
			first, last, word = find(v, '^(%d+) ?', last + 1)
			if not first or #word > 16 then return false end
			frac = tonumber(word)
			if frac >= parts[i] then return false end
		end
		if us < 0 then
			us, frac = 0, 0
		elseif us > window[i] or us == window[i] and frac > rest[i] then
			us, frac, again = window[i], rest[i], true
		end
		states[s + 2 * i - 1], states[s + 2 * i] = us, frac
	end
	return last == #v and not find(v, ' $'), again
end

-- spend adds the cost at cost[c + 1] to the pairs at states[s + 1], unless it is too
-- much for a limit.
local after = {}
local function spend(s, c)
	for i = 1, limits do -- gcra
		local x, y = 2 * i - 1, 2 * i
		local us, frac = states[s + x] + cost[c + x], states[s + y] + cost[c + y]
		if frac >= parts[i] then us, frac = us + 1, frac - parts[i] end
		if us > window[i] or us == window[i] and frac > rest[i] then return false end
		after[x], after[y] = us, frac
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
		s = width * known
		known = known + 1
		k = known
		where[key], names[k], odd[k], dirty[k] = k, key, false, false
		local v = redis.pcall('GET', key)
		if not v then
			for j = s + 1, s + width do states[j] = 0 end
		elseif type(v) == 'string' then
			local ok, again = read(v, s)
			odd[k], dirty[k] = not ok, again
		elseif find(v.err, 'WRONGTYPE', 1, true) == 1 then
			odd[k] = true
		else
			return v
		end
	end
	local first, second = 1, 1
	if costs > 1 then
		first, second = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
		at = at + 2
	end
	local done = '0'
	if odd[k] then
		done = 'x'
		for j = s + 1, s + width do states[j] = 0 end
	elseif back[first] then
		local c = width * (first - 1)
		for i = 1, limits do -- gcra
			local x, y = 2 * i - 1, 2 * i
			local us, frac = states[s + x] - cost[c + x], states[s + y] - cost[c + y]
			if frac < 0 then us, frac = us - 1, frac + parts[i] end
			if us < 0 then us, frac = 0, 0 end
			states[s + x], states[s + y] = us, frac
		end
		done, dirty[k] = '1', true
	elseif spend(s, width * (first - 1)) then
		done, dirty[k] = '1', true
	elseif second ~= first and spend(s, width * (second - 1)) then
		done, dirty[k] = '2', true
	end
	r = r + 1
	reply[r] = done
	for i = 1, limits do
		r = r + 1
		reply[r] = text(states[s + 2 * i - 1])
		if parts[i] > 1 then
			r = r + 1
			reply[r] = text(states[s + 2 * i])
		end
	end
end

for k = 1, known do
	if dirty[k] and not odd[k] then
		local s, value, most = width * (k - 1), nil, 0
		for i = 1, limits do -- gcra
			local us, frac = states[s + 2 * i - 1], states[s + 2 * i]
			if frac > 0 then most = math.max(most, us + 1) else most = math.max(most, us) end
			local word = text(now + us)
			if parts[i] > 1 then word = word .. ' ' .. text(frac) end
			if value then value = value .. ' ' .. word else value = word end
		end
		if most == 0 then
			redis.call('DEL', names[k])
		else
			redis.call('SET', names[k], value, 'PX', text(math.floor(most / 1000) + 2))
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

// scriptArgs returns the command that decides the calls. Its name and that of the
// script are the first two.
func (b *bucket) scriptArgs(calls []*call) []any {
	args := make([]any, 0, 8+len(b.limitArgs)+3*len(calls)+2*len(b.rates))
	args = append(args, "evalsha", b.store.program.hash, len(calls))
	for _, c := range calls {
		args = append(args, c.key)
	}
	args = append(args, b.limitArgs...)
	var few [8]int
	costs := few[:0] // that differ; mostly one
	for _, c := range calls {
		if !slices.Contains(costs, c.first) {
			costs = append(costs, c.first)
		}
		if !slices.Contains(costs, c.n) {
			costs = append(costs, c.n)
		}
	}
	args = append(args, len(costs))
	for _, n := range costs {
		gives := 0
		if n < 0 {
			gives = 1
		}
		args = append(args, gives)
		for i := range b.rates {
			cost := b.rates[i].cost(n)
			args = append(args, cost.us, cost.frac)
		}
	}
	if len(costs) > 1 {
		for _, c := range calls {
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
