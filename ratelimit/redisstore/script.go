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
// milliseconds it ends. The value of a key is the words of all its limits, with blanks
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
local at = 0
local function arg()
	at = at + 1
	return ARGV[at]
end
local function num() return tonumber(arg()) end
local format, find, match, call, pcall = string.format, string.find, string.match, redis.call, redis.pcall
local function text(n)
	if n == 0 then return '0' end
	if n < 1e14 then return n end
	return format('%.0f', n)
end

local kinds = {}
kinds.gcra = {
	open = function()
		local l = {parts = num(), us = num(), frac = num()}
		l.words = l.parts == 1 and 1 or 2
		return l
	end,
	read = function(l, us, frac)
		if frac >= l.parts then return nil end
		us = us - now
		if us < 0 then return 0, 0, false end
		if us > l.us or us == l.us and frac > l.frac then return l.us, l.frac, true end
		return us, frac, false
	end,
	write = function(l, us, frac) return now + us, frac end,
	add = function(l, us, frac, more, parts)
		us, frac = us + more, frac + parts
		if frac >= l.parts then us, frac = us + 1, frac - l.parts end
		if us > l.us or us == l.us and frac > l.frac then return nil end
		return us, frac
	end,
	sub = function(l, us, frac, less, parts)
		us, frac = us - less, frac - parts
		if frac < 0 then us, frac = us - 1, frac + l.parts end
		if us < 0 then return 0, 0 end
		return us, frac
	end,
	ends = function(l, us, frac)
		if us == 0 and frac == 0 then return 0 end
		return math.floor(us / 1000) + 2
	end,
}

local limits, width, words = {}, 0, 0
for i = 1, num() do
	local kind = kinds[arg()]
	local l = kind.open()
	l.read, l.write, l.add, l.sub, l.ends = kind.read, kind.write, kind.add, kind.sub, kind.ends
	limits[i] = l
	width, words = width + 2, words + l.words
end
local costs = {}
for i = 1, num() do
	local c = {back = num() == 1}
	for j = 1, width do c[j] = num() end
	costs[i] = c
end

-- Keys that differ have numbers. Pair i of key k is states[width * (k - 1) + 2i - 1]
-- and the next.
local where, names, states, dirty, odd, known = {}, {}, {}, {}, {}, 0

local function load(k, s, key)
	local v = pcall('GET', key)
	if not v then
		for i = s + 1, s + width do states[i] = 0 end
		return true
	end
	if type(v) == 'table' then
		if find(v.err, 'WRONGTYPE', 1, true) ~= 1 then error(v) end
		return false
	end
	local last, ok, first, word = 0, true
	for i = 1, #limits do
		local l, a, b, healed = limits[i], nil, 0, false
		first, last, word = find(v, '^(%d+) ?', last + 1)
		if first and #word <= 16 then a = tonumber(word) end
		if a and l.words == 2 then
			first, last, word = find(v, '^(%d+) ?', last + 1)
			b = first and #word <= 16 and tonumber(word)
		end
		if a and b then a, b, healed = l.read(l, a, b) end
		if not a or not b then return false end
		states[s + 2 * i - 1], states[s + 2 * i] = a, b
		dirty[k] = dirty[k] or healed
	end
	return last == #v and not find(v, ' $')
end

local after = {}
local function spend(s, c)
	for i = 1, #limits do
		local l, x, y = limits[i], 2 * i - 1, 2 * i
		local a, b = l.add(l, states[s + x], states[s + y], c[x], c[y])
		if not a then return false end
		after[x], after[y] = a, b
	end
	for i = 1, width do states[s + i] = after[i] end
	return true
end
local function back(s, c)
	for i = 1, #limits do
		local l, x, y = limits[i], 2 * i - 1, 2 * i
		states[s + x], states[s + y] = l.sub(l, states[s + x], states[s + y], c[x], c[y])
	end
end
local function save(key, s)
	local value, ends = nil, 0
	for i = 1, #limits do
		local l, a, b = limits[i], states[s + 2 * i - 1], states[s + 2 * i]
		ends = math.max(ends, l.ends(l, a, b))
		a, b = l.write(l, a, b)
		local word = text(a)
		if l.words == 2 then word = word .. ' ' .. text(b) end
		value = value and value .. ' ' .. word or word
	end
	if ends == 0 then
		call('DEL', key)
	else
		call('SET', key, value, 'PX', text(ends))
	end
end

local reply, r = {}, 0
for i = 1, #KEYS do
	local key = KEYS[i]
	local k = where[key]
	if not k then
		known = known + 1
		k = known
		where[key], names[k], dirty[k] = k, key, false
		odd[k] = not load(k, width * (k - 1), key)
	end
	local s = width * (k - 1)
	local first, second = 1, 1
	if #costs > 1 then first, second = num(), num() end
	local done = '0'
	if odd[k] then
		done = 'x'
		for j = s + 1, s + width do states[j] = 0 end
	elseif costs[first].back then
		back(s, costs[first])
		done = '1'
	elseif spend(s, costs[first]) then
		done = '1'
	elseif second ~= first and spend(s, costs[second]) then
		done = '2'
	end
	dirty[k] = dirty[k] or done == '1' or done == '2'
	r = r + 1
	reply[r] = done
	for j = 1, #limits do
		r = r + 1
		reply[r] = text(states[s + 2 * j - 1])
		if limits[j].words == 2 then
			r = r + 1
			reply[r] = text(states[s + 2 * j])
		end
	end
end
for k = 1, known do
	if dirty[k] and not odd[k] then save(names[k], width * (k - 1)) end
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
