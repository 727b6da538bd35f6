// Package bench measures Sallyport against the bare standard library and
// against its peers. It is a module of its own, so that no user of the library
// sees the peers in a go.sum.
//
// Its benchmarks verify tokens, check bodies, set header fields and keep limits; the command in report runs them and
// writes the tables of README.md. The command in stack measures a whole chain over
// loopback, and that in redis limits in Redis.
package bench
