// Package scope holds what the doors of a chain learn about one request: its
// id, the client's address, the identity, the decoded input.
//
// All of it lives in one context value, so that a chain of any length pays for
// one copy of the request. A [Scope] belongs to exactly one *http.Request. A
// request that merely carries the scope of another in its context (a shallow
// copy made by http.TimeoutHandler or http.StripPrefix, or a request that a
// handler makes in process) gets a child of its own from [For], so nothing that
// is written for it is seen by, or races with, the other.
//
// The rules for doors:
//
//   - write only to the scope that For or Child returned, and only before
//     calling the next handler;
//   - after the next handler returned, read nothing that a door further in may
//     have written;
//   - never keep a scope beyond the request, and never pool one.
package scope

import (
	"context"
	"net/http"
	"net/netip"
)

// A Scope is what is known about one request. It is the request's context.
// Slots whose types belong to other packages are any; the package that owns
// the type is named beside it.
type Scope struct {
	context.Context
	owner *http.Request

	RequestID string     // errors: validated or made by Recover
	Client    netip.Addr // transport: the client's address, once settled
	Scheme    string     // transport: "http" or "https" as the client sees it, once settled

	Config   any // errors: *errors.compiled, how errors are rendered
	Recorder any // audit: audit.Recorder

	Identity any // auth: *auth.Identity
	// What audit events tell of the identity. A copy, because a handler may
	// change its Identity while an event is being written elsewhere.
	Subject, Issuer, ClientID, Credential string

	Auth any // auth: *auth.outcome, the auth door above and what it decided
	// Borrowed says that Identity and Auth came with the context of another
	// request. An auth door clears it once it has decided about this one.
	Borrowed bool

	Inputs *Input // validate: decoded input, newest first

	Nonce string // transport: that of the answer's Content-Security-Policy

	Costs any // ratelimit: *ratelimit.Reservation, what the request was counted as, newest first
}

// An Input is one decoded value. Key is the key of its type.
type Input struct {
	Key   any
	Value any
	Next  *Input
}

type key struct{}

// Value returns s itself for the package's key, and asks the parent context
// for any other.
func (s *Scope) Value(k any) any {
	if _, ok := k.(key); ok {
		return s
	}
	return s.Context.Value(k)
}

// For returns the scope that r owns, and r. If r owns none, For returns a new
// child scope together with the copy of r that owns it; pass that copy on.
func For(r *http.Request) (*Scope, *http.Request) {
	if s, ok := r.Context().(*Scope); ok && s.owner == r {
		return s, r
	}
	return Child(r)
}

// Owns reports whether r owns its scope, that is, whether an outer door of the
// same request has already made one.
func Owns(r *http.Request) bool {
	s, ok := r.Context().(*Scope)
	return ok && s.owner == r
}

// Child returns a new scope that begins as a copy of the nearest one, and the
// copy of r that owns it.
func Child(r *http.Request) (*Scope, *http.Request) {
	s := derive(r.Context())
	if !Owns(r) {
		s.Borrowed = s.Identity != nil || s.Auth != nil
	}
	s.owner = r.WithContext(s)
	return s, s.owner
}

// Derive returns a new scope on top of ctx which begins as a copy of the
// nearest one. No request owns it.
func Derive(ctx context.Context) *Scope { return derive(ctx) }

func derive(ctx context.Context) *Scope {
	s := new(Scope)
	if near := From(ctx); near != nil {
		*s = *near
	}
	s.Context, s.owner = ctx, nil
	return s
}

// From returns the nearest scope in ctx, or nil. It is for reading only.
func From(ctx context.Context) *Scope {
	if s, ok := ctx.(*Scope); ok {
		return s
	}
	s, _ := ctx.Value(key{}).(*Scope)
	return s
}

// ClientAddr returns the client's address: the one that was settled for the
// request, else the peer's. It returns the zero Addr if neither is known. The
// address is unmapped (::ffff:192.0.2.1 is 192.0.2.1) and has no zone.
func ClientAddr(r *http.Request) netip.Addr {
	if s := From(r.Context()); s != nil && s.Client.IsValid() {
		return s.Client
	}
	return PeerAddr(r)
}

// SchemeOf returns "https" or "http": what a trusted proxy said of the client's own
// connection, once that is settled, else what r's connection is.
func SchemeOf(r *http.Request) string {
	if s := From(r.Context()); s != nil && s.Scheme != "" {
		return s.Scheme
	}
	if r.TLS != nil {
		return "https"
	}
	return "http"
}

// PeerAddr returns the address of the other end of the connection, unmapped
// and without a zone, or the zero Addr if r.RemoteAddr holds none (a Unix
// socket, say).
func PeerAddr(r *http.Request) netip.Addr {
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	if a, err := netip.ParseAddr(r.RemoteAddr); err == nil {
		return a.Unmap().WithZone("")
	}
	return netip.Addr{}
}
