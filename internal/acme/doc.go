// Package acme has the tests of transport.Autocert with a real ACME server, pebble. It is a
// module of its own, so that no user of the library sees that server in a go.sum.
package acme
