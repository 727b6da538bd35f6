package transport

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/internal/logtext"
	"github.com/sallyport/sallyport/internal/scope"
)

// ClientIPConfig says whose word [ClientIP] takes for a client's address. The zero
// config trusts no one: the client is the other end of the connection.
type ClientIPConfig struct {
	// TrustedProxies are the addresses of your own proxies. Each must set, not pass
	// on, the fields that are read. Prefixes that hold every address are refused.
	TrustedProxies []netip.Prefix
	// Header is the field that the proxies append clients' addresses to:
	// "X-Forwarded-For" (the default) or "Forwarded" (RFC 7239). No other field is
	// read, except X-Forwarded-Proto with the first.
	Header string
}

// A ClientIP finds a client's address and scheme behind trusted proxies. It is
// safe for concurrent use.
//
// If the peer, the other end of the connection, is no trusted proxy, it is the
// client and no field is read. Else the field's elements are followed from right to
// left, on all its lines, for as long as they are trusted proxies themselves; the
// first one that is not is the client. So what a client writes into the field is
// never reached. An element that is no address (malformed, "unknown", hidden) ends
// the walk at the trusted proxy that passed it on, and so does the hundredth.
// Addresses are unmapped (::ffff:192.0.2.1 is 192.0.2.1) and have no zone.
//
// The scheme is that of the client's connection. If the peer is the client, that is
// whether the connection is TLS. Else it is https only if the trusted proxies say
// so: by the proto of the element that names the client in Forwarded, or by exactly
// one X-Forwarded-Proto of one value.
//
// A field that the request's Connection field lists is not believed, because a
// client can make a proxy drop fields in that way.
type ClientIP struct {
	trusted   []netip.Prefix
	header    string // canonical
	forwarded bool   // header is Forwarded
}

// NewClientIP returns a ClientIP. It returns an error if a prefix is not valid or
// holds every address, or if Header is neither X-Forwarded-For nor Forwarded.
func NewClientIP(cfg ClientIPConfig) (*ClientIP, error) {
	c := &ClientIP{header: "X-Forwarded-For"}
	if cfg.Header != "" {
		c.header = http.CanonicalHeaderKey(cfg.Header)
	}
	c.forwarded = c.header == "Forwarded"
	if !c.forwarded && c.header != "X-Forwarded-For" {
		return nil, fmt.Errorf("transport: ClientIPConfig.Header: %q is neither X-Forwarded-For nor Forwarded", cfg.Header)
	}
	for i, p := range cfg.TrustedProxies {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		if !p.IsValid() || p.Bits() == 0 || p.Addr().Is4In6() {
			return nil, fmt.Errorf("transport: ClientIPConfig.TrustedProxies[%d]: %v is not a prefix, or holds every address", i, p)
		}
		c.trusted = append(c.trusted, p)
	}
	return c, nil
}

// ClientAddr returns the address of the client: the one that [ClientIP.Wrap]
// settled, else the peer's. It returns the zero Addr if there is none, as on a Unix
// socket. The address is unmapped and has no zone.
func ClientAddr(r *http.Request) netip.Addr { return scope.ClientAddr(r) }

// Resolve returns the address of the client that sent r. If it can't be known, it
// returns an error beside the address of the last trusted proxy on the way, which is
// the zero Addr if not even the peer has one.
func (c *ClientIP) Resolve(r *http.Request) (netip.Addr, error) {
	addr, _, err := c.resolve(r)
	return addr, err
}

// Wrap returns a handler that settles the client's address and scheme for next and
// for all doors and handlers below, which read it with [ClientAddr]. It never
// refuses: where [ClientIP.Resolve] returns an error, the address is the one beside
// it, and one audit event says why. What an outer ClientIP settled stays. Wrap panics
// if next is nil.
func (c *ClientIP) Wrap(next http.Handler) http.Handler {
	mustHandler("ClientIP", next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, r := scope.For(r)
		if s.Scheme != "" {
			next.ServeHTTP(w, r)
			return
		}
		addr, proto, err := c.resolve(r)
		s.Client, s.Scheme = addr, proto
		if err != nil {
			name := audit.InputValidationFail
			if errors.Is(err, errHopByHop) {
				name = audit.MaliciousExtraneous
			}
			audit.Record(r, nil, audit.Event{Name: name, Level: slog.LevelWarn, Reason: err.Error()})
		}
		next.ServeHTTP(w, r)
	})
}

// maxHops bounds the walk.
const maxHops = 100

var (
	errNoPeer   = errors.New("transport: the connection has no peer address")
	errTooMany  = errors.New("transport: more than 100 trusted proxies on the way")
	errHopByHop = errors.New("transport: the request's Connection field lists a field that proxies set")
)

// resolve returns the client's address and scheme. The address is the best one
// known also if there is an error.
func (c *ClientIP) resolve(r *http.Request) (addr netip.Addr, proto string, err error) {
	own := "http"
	if r.TLS != nil {
		own = "https"
	}
	peer := scope.PeerAddr(r)
	if !peer.IsValid() {
		return peer, own, errNoPeer
	}
	if !c.trusts(peer) {
		return peer, own, nil
	}
	lines := r.Header[c.header]
	protos := r.Header["X-Forwarded-Proto"]
	if hopByHop(r.Header, c.header) || !c.forwarded && hopByHop(r.Header, "X-Forwarded-Proto") {
		return peer, "http", errHopByHop
	}
	if len(lines) > 0 {
		addr, proto, err = c.walk(peer, lines)
	} else {
		addr, proto = peer, own
	}
	if !c.forwarded && len(protos) > 0 {
		proto = ""
		if len(protos) == 1 {
			proto = strings.Trim(protos[0], " \t")
		}
	}
	if strings.EqualFold(proto, "https") {
		return addr, "https", err
	}
	return addr, "http", err
}

// walk follows the elements from the peer, a trusted proxy, to the client. proto
// is what the client's element says.
func (c *ClientIP) walk(peer netip.Addr, lines []string) (addr netip.Addr, proto string, err error) {
	addr = peer
	e := elements{lines: lines, quotes: c.forwarded}
	for range maxHops {
		element, ok := e.next()
		if !ok {
			return addr, proto, nil // the client is one of the proxies
		}
		var hop netip.Addr
		var said string
		if c.forwarded {
			hop, said, ok = parseForwarded(element)
		} else {
			hop, ok = parseNode(element, false)
		}
		if !ok {
			return addr, "", fmt.Errorf("transport: %s: no address in %q, from %v", c.header, logtext.Clean(element, 64), addr)
		}
		addr, proto = hop, said
		if !c.trusts(addr) {
			return addr, proto, nil
		}
	}
	return addr, "", errTooMany
}

func (c *ClientIP) trusts(addr netip.Addr) bool {
	for _, p := range c.trusted {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// hopByHop reports whether the Connection field lists name (RFC 9110, section
// 7.6.1).
func hopByHop(h http.Header, name string) bool {
	for _, line := range h["Connection"] {
		for option := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.Trim(option, " \t"), name) {
				return true
			}
		}
	}
	return false
}
