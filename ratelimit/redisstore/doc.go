// Package redisstore keeps rate limits in Redis or Valkey, for several machines that
// share them: it is a ratelimit.Store.
//
//	client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
//	store, err := redisstore.New(redisstore.Config{Client: client})
//	limiter, err := ratelimit.New(ratelimit.Config{
//		Limits: []ratelimit.Limit{ratelimit.PerSecond(10).WithBurst(20), ratelimit.PerHour(1000)},
//		Store:  store,
//	})
//
// # Decisions
//
// One script decides on all limits of a key: all allow a request, or nothing is
// counted. Its decisions are those of ratelimit.Memory, exactly, by the clock of Redis,
// which counts microseconds: times are whole microseconds and integer parts of one, so
// that 3 per second stays 3 per second. What all machines admit in the time d by that
// clock never is more than Burst + Events × d / Per. Store.Open refuses limits that
// can't be counted so; in 2112 the numbers of Redis end.
//
// Quotas by the day or month of a calendar and sliding windows are counted in the same
// decision. When a day begins in a time zone is what the zone says on the machine that asks,
// and which day it is what the clock of Redis says: all machines need the same zone data.
// Sliding windows begin at multiples of Per since 1970. Where the clocks differ, the first
// decision of a bucket with a calendar takes another round trip, and so may those around the
// beginning of a window.
//
// A decision takes one round trip. Those of one bucket that come while others are on
// their way go together, up to 128 in one run of the script, so many callers need few
// writes and little of Redis; nobody waits for others to come. On a cluster those of one node
// go together in one pipeline, with one run for each key, and a node that does not
// answer holds up no key of another.
//
// # What is in Redis
//
// A key of a bucket is one key in Redis: Config.Prefix and 22 characters, which are a hash
// of the name of the bucket, its limits, and the key. With Config.HashKey nobody can try out
// guesses. So all limits of a key are in one slot of a cluster, and keys are spread over
// all of them. The value has for each limit 16 digits, the time in microseconds at
// which the key owes nothing any more, and up to 16 more if its rate is not a whole
// number of microseconds; of a window, when or which it is and what was counted. It ends, by
// its TTL, up to 2 ms after the last of these times, or after the last window that counts, so
// idle keys take no memory.
//
// Nothing bounds how many keys owe something: a Redis whose memory is full refuses to
// write, which is an error. A value that no store has written, or a key of another
// type, is an error too, for this key alone, and stays as it is; a ratelimit.Limiter
// that gets an error goes by its OnStoreError for a second, for all keys.
//
// # When Redis fails
//
// Whatever keeps Redis from deciding within Config.Timeout is an error: one that is
// down, slow, loading or full, a replica, a cluster without the node. The
// ratelimit.Limiter then does what its OnStoreError says, and asks again once a
// second. A caller whose context ends leaves at once; what it asked for may have been
// counted, and those it travels with are decided all the same. A decision whose
// connection was lost is asked for once more, and may then count twice; what
// gives back is sent once, so that it never counts twice.
//
// What a ratelimit.Limiter settles later, or gives back since another of its group has
// refused, is given back as far as it counts still (ratelimit.Refunder). What Redis has been
// told within Config.Timeout it takes to be as old as that.
//
// A restart without persistence forgets what was used: each key has its burst again. A
// replica that takes over may lack what was spent last, so that the keys of that node may
// be admitted as much once more, and its clock counts from then on. If the clock of
// Redis is set forward by d, the keys have what they regain in d; if it is set back, none is
// refused for longer than if it had just spent its burst, or than until the window ends of
// which it has used the events.
//
// # Keys that are blocked
//
// What Redis has refused is remembered: as long as the same key can't have enough
// again it is refused without asking, for up to a second at a time and in up to Config.MaxDenials
// keys. This refuses nothing that Redis would admit, except in that second what
// another instance has given back (a negative cost), and what Redis has forgotten or
// its clock has been set forward by. What this instance gives back counts at once.
//
// # Keys that are hot
//
// With Config.Lease an instance takes events of hot keys in advance and admits by them
// without asking. See [Lease] for what that may admit and lose.
//
// # What Redis must do
//
// It must be Redis 7.0 or Valkey 7.2, or later, and must not evict keys: who can make it
// evict them is rid of his count. [Check] tells. Redis itself is trusted: who can write
// to it can lift every limit.
package redisstore
