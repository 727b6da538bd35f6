package redisstore

import (
	"slices"

	"github.com/redis/go-redis/v9"
)

// The script decides requests of keys in the order in which they are given, which may
// be several of one key. All of them see one time, that of Redis.
//
// A limit has a kind. What a key has used of it is a pair of numbers, and a kind says
// how the pair is read from the value and written to it, how a cost is added to it and
// taken from it, and when it ends. The value of a key is the numbers of all its limits,
// with blanks between them. Numbers are whole and at most 2⁵³, which numbers of Lua
// hold exactly.
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
// cost was spent, "x": the value is not one that a store writes), and the pairs.
const script = `
local now = t[1] * 1000000 + t[2]
local at = 0
local function arg()
	at = at + 1
	return ARGV[at]
end
local function num() return tonumber(arg()) end
local function text(n)
	if n < 1e14 then return n end
	return string.format('%.0f', n)
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

local limits, costs = {}, {}
for i = 1, num() do
	local kind = kinds[arg()]
	limits[i] = kind.open()
	limits[i].kind = kind
end
for i = 1, num() do
	local c = {back = num() == 1}
	for j = 1, 2 * #limits do c[j] = num() end
	costs[i] = c
end

local states = {}
local function load(key)
	local s = {}
	states[key] = s
	local v = redis.pcall('GET', key)
	if type(v) == 'table' then
		if string.find(v.err, 'WRONGTYPE', 1, true) ~= 1 then error(v) end
		s.odd = true
		return s
	end
	if not v then
		for i = 1, 2 * #limits do s[i] = 0 end
		return s
	end
	local words = {}
	for w in string.gmatch(v, '[^ ]+') do
		if #w > 16 or string.find(w, '%D') then s.odd = true return s end
		words[#words + 1] = tonumber(w)
	end
	local at = 1
	for i, l in ipairs(limits) do
		local a, b = words[at], 0
		if l.words == 2 then b = words[at + 1] end
		at = at + l.words
		if not a or not b then s.odd = true return s end
		local healed
		s[2 * i - 1], s[2 * i], healed = l.kind.read(l, a, b)
		if not s[2 * i] then s.odd = true return s end
		s.dirty = s.dirty or healed
	end
	s.odd = #words ~= at - 1
	return s
end
local function spend(s, c)
	local after = {}
	for i, l in ipairs(limits) do
		local x, y = 2 * i - 1, 2 * i
		after[x], after[y] = l.kind.add(l, s[x], s[y], c[x], c[y])
		if not after[x] then return false end
	end
	for i = 1, #after do s[i] = after[i] end
	s.dirty = true
	return true
end
local function back(s, c)
	for i, l in ipairs(limits) do
		local x, y = 2 * i - 1, 2 * i
		s[x], s[y] = l.kind.sub(l, s[x], s[y], c[x], c[y])
	end
	s.dirty = true
	return true
end
local function save(key, s)
	local words, ends = {}, 0
	for i, l in ipairs(limits) do
		local a, b = s[2 * i - 1], s[2 * i]
		ends = math.max(ends, l.kind.ends(l, a, b))
		a, b = l.kind.write(l, a, b)
		words[#words + 1] = text(a)
		if l.words == 2 then words[#words + 1] = text(b) end
	end
	if ends == 0 then
		redis.call('DEL', key)
	else
		redis.call('SET', key, table.concat(words, ' '), 'PX', text(ends))
	end
end

local reply = {}
for i = 1, #KEYS do
	local s = states[KEYS[i]] or load(KEYS[i])
	local first, second = 1, 1
	if #costs > 1 then first, second = num(), num() end
	if s.odd then
		reply[#reply + 1] = 'x'
		for j = 1, 2 * #limits do reply[#reply + 1] = 0 end
	else
		local done = '0'
		local c = costs[first]
		if c.back then
			back(s, c)
			done = '1'
		elseif spend(s, c) then
			done = '1'
		elseif second ~= first and spend(s, costs[second]) then
			done = '2'
		end
		reply[#reply + 1] = done
		for j = 1, 2 * #limits do reply[#reply + 1] = text(s[j]) end
	end
end
for key, s in pairs(states) do
	if s.dirty and not s.odd then save(key, s) end
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
			if c.debts[i].frac, reply, ok = readNumber(reply); !ok {
				return false
			}
			if r := &b.rates[i]; c.debts[i].frac >= r.e || c.debts[i].more(r.window) {
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
