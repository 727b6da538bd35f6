// Package h2spec holds the server of package transport against HTTP/2 (RFC 9113, RFC 7541)
// with h2spec, and against floods. It is a module of its own, so that no user of the library
// sees that tool in a go.sum.
package h2spec
