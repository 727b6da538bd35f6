package fetch

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// dialTimeout bounds one attempt to connect; the exchange has a bound of its own.
const dialTimeout = 10 * time.Second

// ErrAddress is wrapped by the error for a server whose address is not public.
var ErrAddress = errors.New("the server's address is not a public one")

// PublicOnly returns a copy of base, which may be nil, that connects to public
// addresses alone, for URLs that others have a say in. The address is looked at
// when it is dialled, so that no name which resolves to something else the second
// time gets by. The dialer and the proxy of base's transport are not used: behind
// a proxy, nobody here knows the address. The header of an answer is bounded to 64
// KiB. A transport that is not an *http.Transport is an error, as its dialer can't be
// replaced.
func PublicOnly(base *http.Client) (*http.Client, error) {
	c := &http.Client{}
	if base != nil {
		*c = *base
	}
	if c.Transport == nil {
		c.Transport = http.DefaultTransport
	}
	t, ok := c.Transport.(*http.Transport)
	if !ok || t == nil {
		return nil, fmt.Errorf("has a transport of type %T, whose dialer can't be replaced", c.Transport)
	}
	t = t.Clone()
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second, Control: controlPublic}
	t.Proxy = nil
	t.DialContext = dialer.DialContext
	t.DialTLSContext = nil
	//lint:ignore SA1019 they may be set in old programs
	t.Dial, t.DialTLS = nil, nil //nolint:staticcheck // as above
	boundHeader(t)
	c.Transport = t
	return c, nil
}

func controlPublic(network, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil || network != "tcp4" && network != "tcp6" || !IsPublic(a.Addr()) {
		return ErrAddress
	}
	return nil
}

// IsPublic reports whether anyone on the Internet may have that address: it is
// global unicast, and not in one of IANA's special-purpose registries. IPv6
// addresses that stand for an IPv4 address, by translation or in a tunnel, are not
// public, whichever they stand for.
func IsPublic(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.Zone() != "" {
		return false
	}
	special := special4()
	if a.Is6() {
		if !netip.MustParsePrefix("2000::/3").Contains(a) { // all that is assigned
			return false
		}
		special = special6()
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// special4 returns the IPv4 special-purpose registry, without what netip knows.
func special4() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"),       // this network
		netip.MustParsePrefix("100.64.0.0/10"),   // shared, behind carriers
		netip.MustParsePrefix("192.0.0.0/24"),    // IETF protocols
		netip.MustParsePrefix("192.0.2.0/24"),    // documentation
		netip.MustParsePrefix("192.31.196.0/24"), // AS112
		netip.MustParsePrefix("192.52.193.0/24"), // AMT
		netip.MustParsePrefix("192.88.99.0/24"),  // 6to4 relays
		netip.MustParsePrefix("192.175.48.0/24"), // AS112
		netip.MustParsePrefix("198.18.0.0/15"),   // benchmarks
		netip.MustParsePrefix("198.51.100.0/24"), // documentation
		netip.MustParsePrefix("203.0.113.0/24"),  // documentation
		netip.MustParsePrefix("240.0.0.0/4"),     // reserved
	}
}

// special6 returns the IPv6 special-purpose registry within 2000::/3.
func special6() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("2001::/23"),         // IETF protocols, Teredo among them
		netip.MustParsePrefix("2001:db8::/32"),     // documentation
		netip.MustParsePrefix("2002::/16"),         // 6to4
		netip.MustParsePrefix("2620:4f:8000::/48"), // AS112
		netip.MustParsePrefix("3fff::/20"),         // documentation
	}
}
