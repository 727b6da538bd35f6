package ratelimit

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/netip"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/internal/grammar"
	"github.com/sallyport/sallyport/internal/scope"
)

// A KeyFunc says whom a request is counted against: requests with equal keys
// share a limit. An empty key is an error and never means "unlimited". An error
// that is or wraps an *errors.Problem is the answer; any other is a bare 500. A
// KeyFunc must be safe for concurrent use.
//
// Keys are never logged or sent to clients. [Memory] keeps only a hash of them;
// other stores keep what they are given.
type KeyFunc func(r *http.Request) (string, error)

// ByClientAddr counts by the client's address: an IPv4 address, or the /64
// network of an IPv6 one, since a single customer has as many addresses in it
// as he likes. It is the default.
//
// The address is the one that transport.ClientIP settled, else the peer's. No
// header is read here, so none can be forged. All requests whose peer has no IP
// address (those that come over a Unix socket, say) share one key.
func ByClientAddr(r *http.Request) (string, error) {
	return addrKey(scope.ClientAddr(r), 32, 64), nil
}

// ByClientNetwork is ByClientAddr for networks of other sizes: the first bits4
// bits of an IPv4 address and the first bits6 of an IPv6 one. It panics if
// bits4 is not 1 to 32 or bits6 not 1 to 128.
func ByClientNetwork(bits4, bits6 int) KeyFunc {
	switch {
	case bits4 < 1 || bits4 > 32:
		panic(fmt.Sprintf("ratelimit: ByClientNetwork: bits4 is %d, not 1 to 32", bits4))
	case bits6 < 1 || bits6 > 128:
		panic(fmt.Sprintf("ratelimit: ByClientNetwork: bits6 is %d, not 1 to 128", bits6))
	}
	return func(r *http.Request) (string, error) {
		return addrKey(scope.ClientAddr(r), bits4, bits6), nil
	}
}

// The first byte of a key tells its kind, so that no kind can imitate another.
const (
	kindIPv4     = '4'
	kindIPv6     = '6'
	kindUnknown  = '?'
	kindIdentity = 'i'
	kindClient   = 'c'
	kindHeader   = 'h'
	kindCookie   = 'k'
	kindRoute    = 'r'
	kindEveryone = '*'
)

// addrKey returns the network of a as a key of fixed length.
func addrKey(a netip.Addr, bits4, bits6 int) string {
	kind, bits := byte(kindIPv6), bits6
	switch {
	case !a.IsValid():
		return string(kindUnknown)
	case a.Is4():
		kind, bits = kindIPv4, bits4
	}
	network, err := a.Prefix(bits)
	if err != nil { // the callers' bits fit
		return string(kindUnknown)
	}
	var key [17]byte
	key[0] = kind
	if kind == kindIPv4 {
		b := network.Addr().As4()
		return string(key[:1+copy(key[1:], b[:])])
	}
	b := network.Addr().As16()
	return string(key[:1+copy(key[1:], b[:(bits+7)/8])])
}

// ByIdentity counts by issuer and subject of the identity, so that a principal
// has one limit whatever scheme and address it uses. It belongs below
// auth.Require or auth.Optional; anonymous requests are counted as by
// [ByClientAddr], apart from identities. An identity without a subject is an
// error.
func ByIdentity(r *http.Request) (string, error) {
	id, ok := auth.FromContext(r.Context())
	if !ok {
		return ByClientAddr(r)
	}
	if id.Subject == "" {
		return "", errors.New("ratelimit: ByIdentity: the identity has no subject")
	}
	key := make([]byte, 0, 64)
	key = append(key, kindIdentity)
	key = appendPart(key, id.Issuer)
	key = append(key, id.Subject...)
	return string(key), nil
}

// ByClientID counts by issuer and ClientID of the identity: by OAuth client, or by API
// key, whose id that is, so that each of the keys of one owner has a limit of its own.
// It belongs below auth.Require or auth.Optional; anonymous requests are counted as by
// [ByClientAddr], and identities without a ClientID as by [ByIdentity], apart from the
// others.
func ByClientID(r *http.Request) (string, error) {
	id, ok := auth.FromContext(r.Context())
	if !ok || id.ClientID == "" {
		return ByIdentity(r)
	}
	key := make([]byte, 0, 64)
	key = append(key, kindClient)
	key = appendPart(key, id.Issuer)
	key = append(key, id.ClientID...)
	return string(key), nil
}

// ByRoute counts by the pattern with which the route was registered, r.Pattern, so that
// all its requests together have one limit; with [Join], those of each client. It
// belongs below the http.ServeMux: where no pattern is known it is an error. A path
// would not do: a client can choose among many that lead to one route.
func ByRoute(r *http.Request) (string, error) {
	if r.Pattern == "" {
		return "", errors.New("ratelimit: ByRoute: the request has no Pattern; put the limiter below the http.ServeMux")
	}
	return string(kindRoute) + r.Pattern, nil
}

// ByNothing counts all requests together: its limit is that of the whole service, and
// a single client can use it up. Let a limiter by address stand before it.
func ByNothing(*http.Request) (string, error) { return string(kindEveryone), nil }

// ByHeader counts by the value of a request field, which stands in the key as
// its SHA-256 hash. If a request has several such fields, all count, in order.
// If it has none, it is counted as by [ByClientAddr], apart from those that do.
//
// A client chooses its fields, and with every new value it has a new limit. So
// use ByHeader only where something above has checked the value (an API key
// that auth.Require took), and never for the client's address. Host is not a
// field here.
//
// ByHeader panics if name is not a valid field name.
func ByHeader(name string) KeyFunc {
	if !grammar.IsToken(name) {
		panic(fmt.Sprintf("ratelimit: ByHeader: %q is not a field name", name))
	}
	name = http.CanonicalHeaderKey(name)
	return func(r *http.Request) (string, error) {
		return hashKey(kindHeader, r, r.Header[name])
	}
}

// ByCookie counts by the value of a cookie, as [ByHeader] does by that of a field, and
// with the same warning: a client that drops its cookie has a new limit.
//
// ByCookie panics if name is not a valid cookie name.
func ByCookie(name string) KeyFunc {
	if !grammar.IsToken(name) {
		panic(fmt.Sprintf("ratelimit: ByCookie: %q is not a cookie name", name))
	}
	return func(r *http.Request) (string, error) {
		var values []string
		for _, c := range r.CookiesNamed(name) {
			values = append(values, c.Value)
		}
		return hashKey(kindCookie, r, values)
	}
}

// hashKey returns a hash of values as a key, or the client's address if there are none.
func hashKey(kind byte, r *http.Request, values []string) (string, error) {
	if len(values) == 0 {
		return ByClientAddr(r)
	}
	var parts []byte
	for _, v := range values {
		parts = appendPart(parts, v)
	}
	sum := sha256.Sum256(parts)
	return string(kind) + string(sum[:]), nil
}

// Join counts by all of keys together: requests share a limit if every key is
// equal. The parts are kept apart by their lengths, so that no two lists of keys
// are joined to the same one. An error of a key, or an empty one, is an error of
// the whole. Join panics if it gets no keys or a nil one.
func Join(keys ...KeyFunc) KeyFunc {
	if len(keys) == 0 {
		panic("ratelimit: Join: there are no keys")
	}
	all := make([]KeyFunc, len(keys))
	for i, key := range keys {
		if key == nil {
			panic(fmt.Sprintf("ratelimit: Join: keys[%d] is nil", i))
		}
		all[i] = key
	}
	return func(r *http.Request) (string, error) {
		joined := make([]byte, 0, 64)
		for _, key := range all {
			part, err := key(r)
			if err != nil {
				return "", err
			}
			if part == "" {
				return "", ErrNoKey
			}
			joined = appendPart(joined, part)
		}
		return string(joined), nil
	}
}

// appendPart appends the length of part and part itself.
func appendPart(b []byte, part string) []byte {
	b = binary.AppendUvarint(b, uint64(len(part)))
	return append(b, part...)
}
