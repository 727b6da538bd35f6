// Package interop tests packages auth/jwk, auth/bearer and auth/oauth against
// programs that others wrote: authorization servers that issue real tokens, and
// clients and resource servers that take ours. It is a module of its own, so
// that the main module does not require what only these tests need.
//
// The peers in Go run inside the test. Those of npm, in the folder node, are
// installed there at the versions of its package-lock.json, and run as
// processes on free loopback ports. Where there is no node or npm their tests
// are skipped, or fail if CI=true.
package interop
