// Package sallyport makes an HTTP API safe. It is a set of small net/http
// middleware, called doors here, each in a package of its own, which a service
// chains around its handlers:
//
//   - [github.com/sallyport/sallyport/errors] (imported as httperr) turns every
//     error into an RFC 9457 problem and recovers from panics;
//   - [github.com/sallyport/sallyport/transport] serves TLS with safe timeouts,
//     sets security headers, and finds the client's address behind proxies;
//   - [github.com/sallyport/sallyport/ratelimit] bounds how often;
//   - [github.com/sallyport/sallyport/auth] and the packages below it decide who
//     is calling: Basic, OAuth 2.0 tokens, API keys, client certificates, and the
//     token endpoint;
//   - [github.com/sallyport/sallyport/authz] decides what they may do;
//   - [github.com/sallyport/sallyport/validate] decides whether the input is well formed;
//   - [github.com/sallyport/sallyport/audit] tells what happened.
//
// # Order
//
// The doors belong in this order, the first outermost:
//
//	httperr.Recover        request id, panics, error rendering
//	transport.ClientIP     the client's address, settled once
//	transport.Secure       headers on every answer
//	ratelimit by address   before anything that costs
//	auth.Require           who
//	ratelimit by identity
//	authz.Require          may they
//	validate.Body          is it well formed
//
// Doors that hold for every route wrap the mux; the others wrap the handler of
// a mux pattern. Do not guard by path prefix: "/pub/%2e%2e/admin" and CONNECT
// requests walk around prefixes, while a pattern is what really matched.
//
// Every constructor checks its configuration, and every zero field means the
// secure default. What is insecure has a name that says so.
package sallyport
