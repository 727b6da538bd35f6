package ratelimit

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/internal/scope"
)

// SkipNetworks returns a Config.Skip that exempts the clients of these networks: those
// of a monitoring service, say. The address is that of [ByClientAddr], so that no header
// can claim it. It panics if a network is not valid, has bits beyond its length, or is an
// IPv4 network written as IPv6.
func SkipNetworks(networks ...netip.Prefix) func(*http.Request) bool {
	for _, n := range networks {
		if !n.IsValid() || n != n.Masked() || n.Addr().Is4In6() {
			panic(fmt.Sprintf("ratelimit: SkipNetworks: %q is not a network; write it as in 192.0.2.0/24 or 2001:db8::/32", n))
		}
	}
	networks = slices.Clone(networks)
	return func(r *http.Request) bool {
		addr := scope.ClientAddr(r)
		return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(addr) })
	}
}

// SkipSubjects returns a Config.Skip that exempts identities by their issuer, which is
// "" for those of this service's own accounts, and their subjects. The limiter belongs
// below auth.Require; requests without an identity are not exempt. It panics if a
// subject is empty.
func SkipSubjects(issuer string, subjects ...string) func(*http.Request) bool {
	if slices.Contains(subjects, "") {
		panic("ratelimit: SkipSubjects: a subject is empty")
	}
	subjects = slices.Clone(subjects)
	return func(r *http.Request) bool {
		id, ok := auth.FromContext(r.Context())
		return ok && id.Issuer == issuer && slices.Contains(subjects, id.Subject)
	}
}

// SkipRoutes returns a Config.Skip that exempts routes by the patterns with which they
// were registered, such as "GET /healthz". Only a limiter below the http.ServeMux knows
// r.Pattern; above it, nothing is exempt. It panics if a pattern is empty.
func SkipRoutes(patterns ...string) func(*http.Request) bool {
	if slices.Contains(patterns, "") {
		panic("ratelimit: SkipRoutes: a pattern is empty")
	}
	patterns = slices.Clone(patterns)
	return func(r *http.Request) bool { return r.Pattern != "" && slices.Contains(patterns, r.Pattern) }
}

// SkipAny returns a Config.Skip that exempts what any of the given ones does. It panics
// if one is nil.
func SkipAny(skips ...func(*http.Request) bool) func(*http.Request) bool {
	for i, skip := range skips {
		if skip == nil {
			panic(fmt.Sprintf("ratelimit: SkipAny: skips[%d] is nil", i))
		}
	}
	skips = slices.Clone(skips)
	return func(r *http.Request) bool {
		return slices.ContainsFunc(skips, func(skip func(*http.Request) bool) bool { return skip(r) })
	}
}
