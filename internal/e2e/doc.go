// Package e2e drives the quickstart from outside, as its users do: the binary
// is built and started, and talked to with curl, golang.org/x/oauth2 and plain
// requests. It is a module of its own, so that the main module does not require
// what only these tests need.
package e2e
