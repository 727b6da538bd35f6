package transport_test

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/transport"
)

// proxies are the trusted proxies of these tests: the peer 10.0.0.1 is one.
var proxies = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("2001:db8:aaaa::/48"),
	netip.MustParsePrefix("127.0.0.1/32"),
}

func newClientIP(t testing.TB, header string, trusted ...netip.Prefix) *transport.ClientIP {
	t.Helper()
	c, err := transport.NewClientIP(transport.ClientIPConfig{TrustedProxies: trusted, Header: header})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// addFields adds lines such as "X-Forwarded-For: 192.0.2.1", with the names as
// net/http would have stored them.
func addFields(r *http.Request, lines []string) {
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		r.Header.Add(name, strings.TrimSpace(value))
	}
}

const (
	xff = "X-Forwarded-For"
	fwd = "Forwarded"
)

// Each case is a way to be taken for someone else. The peer is 10.0.0.1, a trusted
// proxy, unless it is said; the client is 192.0.2.9, unless it is said.
var spoofing = []struct {
	name   string
	header string // which field the proxies use
	peer   string
	fields []string
	want   string // the address
	bad    bool   // Resolve returns an error beside it
}{
	// Nobody is trusted who was not named.
	{"untrusted peer, X-Forwarded-For", xff, "203.0.113.5:1234", []string{"X-Forwarded-For: 1.1.1.1"}, "203.0.113.5", false},
	{"untrusted peer, Forwarded", fwd, "203.0.113.5:1234", []string{"Forwarded: for=1.1.1.1"}, "203.0.113.5", false},
	{"untrusted peer claims a trusted hop", xff, "203.0.113.5:1234", []string{"X-Forwarded-For: 1.1.1.1, 10.0.0.1"}, "203.0.113.5", false},
	{"untrusted peer, garbage", xff, "203.0.113.5:1234", []string{"X-Forwarded-For: ,,,"}, "203.0.113.5", false},
	{"untrusted peer lists the field in Connection", xff, "203.0.113.5:1234", []string{"Connection: X-Forwarded-For"}, "203.0.113.5", false},
	{"private peer that was not named", xff, "192.168.1.1:1234", []string{"X-Forwarded-For: 1.1.1.1"}, "192.168.1.1", false},
	{"loopback peer that was not named", xff, "[::1]:1234", []string{"X-Forwarded-For: 1.1.1.1"}, "::1", false},
	{"untrusted IPv6 peer", xff, "[2001:db8:bbbb::1]:1234", []string{"X-Forwarded-For: 1.1.1.1"}, "2001:db8:bbbb::1", false},
	{"no field at all", xff, "10.0.0.1:1234", nil, "10.0.0.1", false},

	// Only the one field is read.
	{"X-Real-IP", xff, "10.0.0.1:1234", []string{"X-Real-Ip: 1.1.1.1"}, "10.0.0.1", false},
	{"True-Client-IP", xff, "10.0.0.1:1234", []string{"True-Client-Ip: 1.1.1.1"}, "10.0.0.1", false},
	{"CF-Connecting-IP", xff, "10.0.0.1:1234", []string{"Cf-Connecting-Ip: 1.1.1.1"}, "10.0.0.1", false},
	{"X-Client-IP", xff, "10.0.0.1:1234", []string{"X-Client-Ip: 1.1.1.1"}, "10.0.0.1", false},
	{"X-Cluster-Client-IP", xff, "10.0.0.1:1234", []string{"X-Cluster-Client-Ip: 1.1.1.1"}, "10.0.0.1", false},
	{"X-Original-Forwarded-For", xff, "10.0.0.1:1234", []string{"X-Original-Forwarded-For: 1.1.1.1"}, "10.0.0.1", false},
	{"Forwarded beside X-Forwarded-For", xff, "10.0.0.1:1234", []string{"Forwarded: for=1.1.1.1", "X-Forwarded-For: 192.0.2.9"}, "192.0.2.9", false},
	{"Forwarded alone where X-Forwarded-For is read", xff, "10.0.0.1:1234", []string{"Forwarded: for=1.1.1.1"}, "10.0.0.1", false},
	{"X-Forwarded-For where Forwarded is read", fwd, "10.0.0.1:1234", []string{"X-Forwarded-For: 1.1.1.1"}, "10.0.0.1", false},
	{"underscores", xff, "10.0.0.1:1234", []string{"X_Forwarded_For: 1.1.1.1"}, "10.0.0.1", false},
	{"one underscore", xff, "10.0.0.1:1234", []string{"X-Forwarded_For: 1.1.1.1", "X-Forwarded-For: 192.0.2.9"}, "192.0.2.9", false},
	{"a longer name", xff, "10.0.0.1:1234", []string{"X-Forwarded-For-: 1.1.1.1"}, "10.0.0.1", false},

	// From right to left, and no further than the first that is not trusted.
	{"one client", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 192.0.2.9"}, "192.0.2.9", false},
	{"a forged first element", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 1.1.1.1, 192.0.2.9"}, "192.0.2.9", false},
	{"a forged trusted element", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 10.0.0.7, 192.0.2.9"}, "192.0.2.9", false},
	{"several trusted proxies", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 1.1.1.1, 192.0.2.9, 10.0.0.3, 10.0.0.2"}, "192.0.2.9", false},
	{"an untrusted proxy on the way", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 1.1.1.1, 10.0.0.3, 192.0.2.9, 10.0.0.2"}, "192.0.2.9", false},
	{"IPv6 proxy on the way", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 192.0.2.9, 2001:db8:aaaa::5"}, "192.0.2.9", false},
	{"nobody but trusted proxies", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 10.0.0.3, 10.0.0.2"}, "10.0.0.3", false},
	{"forged garbage", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: <script>, 192.0.2.9"}, "192.0.2.9", false},
	{"forged empty elements", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: ,,,, 192.0.2.9"}, "192.0.2.9", false},
	{"forged quote", xff, "10.0.0.1:1234", []string{`X-Forwarded-For: "1.1.1.1, 192.0.2.9`}, "192.0.2.9", false},
	{"1,000 forged elements", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: " + strings.Repeat("1.1.1.1, ", 999) + "192.0.2.9"}, "192.0.2.9", false},
	{"1,000 forged trusted elements", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: " + strings.Repeat("10.0.0.2,", 999) + "192.0.2.9"}, "192.0.2.9", false},
	{"the proxies add 1,000 elements", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 192.0.2.9" + strings.Repeat(",10.0.0.2", 999)}, "10.0.0.2", true},

	// All lines are one list.
	{"a forged first line", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 192.0.2.9"}, "192.0.2.9", false},
	{"three lines", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 192.0.2.9", "X-Forwarded-For: 10.0.0.2"}, "192.0.2.9", false},
	{"the walk goes on in the line before", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 1.1.1.1, 192.0.2.9", "X-Forwarded-For: 10.0.0.3, 10.0.0.2"}, "192.0.2.9", false},
	{"an empty last line", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 1.1.1.1", "X-Forwarded-For:"}, "10.0.0.1", true},

	// What is no address ends the walk at the proxy that passed it on.
	{"garbage from the proxy", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 1.1.1.1, garbage"}, "10.0.0.1", true},
	{"garbage before a trusted proxy", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 1.1.1.1, garbage, 10.0.0.2"}, "10.0.0.2", true},
	{"unknown", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 1.1.1.1, unknown"}, "10.0.0.1", true},
	{"an empty last element", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 1.1.1.1,"}, "10.0.0.1", true},
	{"an empty element before a trusted proxy", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 1.1.1.1,,10.0.0.2"}, "10.0.0.2", true},
	{"a host name", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: localhost"}, "10.0.0.1", true},
	{"leading zeros", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 010.0.0.1"}, "10.0.0.1", true},
	{"a number", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 2130706433"}, "10.0.0.1", true},
	{"hexadecimal", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 0x7f.1"}, "10.0.0.1", true},
	{"a prefix", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 192.0.2.9/32"}, "10.0.0.1", true},
	{"a blank inside", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 192.0.2.9 1.1.1.1"}, "10.0.0.1", true},
	{"quotes", xff, "10.0.0.1:1234", []string{`X-Forwarded-For: "192.0.2.9"`}, "10.0.0.1", true},
	{"semicolons", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 1.1.1.1;192.0.2.9"}, "10.0.0.1", true},

	// Ports, brackets, zones and mapped addresses.
	{"IPv4 with a port", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 192.0.2.9:4711"}, "192.0.2.9", false},
	{"IPv4 with port 65536", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 192.0.2.9:65536"}, "10.0.0.1", true},
	{"IPv4 with a port that is none", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 192.0.2.9:http"}, "10.0.0.1", true},
	{"IPv4 with an empty port", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 192.0.2.9:"}, "10.0.0.1", true},
	{"IPv4 with a signed port", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 192.0.2.9:+80"}, "10.0.0.1", true},
	{"IPv4 with a long port", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 192.0.2.9:000080"}, "10.0.0.1", true},
	{"IPv4 with a hidden port", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 192.0.2.9:_p"}, "10.0.0.1", true},
	{"IPv4 in brackets", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: [192.0.2.9]"}, "10.0.0.1", true},
	{"IPv6", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 2001:db8::9"}, "2001:db8::9", false},
	{"IPv6 in brackets", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: [2001:db8::9]"}, "2001:db8::9", false},
	{"IPv6 in brackets with a port", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: [2001:db8::9]:443"}, "2001:db8::9", false},
	{"IPv6 in brackets with more", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: [2001:db8::9]x"}, "10.0.0.1", true},
	{"IPv6 in an open bracket", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: [2001:db8::9"}, "10.0.0.1", true},
	{"IPv6 with a zone", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: fe80::1%eth0"}, "fe80::1", false},
	{"a trusted IPv6 proxy with a zone", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 192.0.2.9, 2001:db8:aaaa::1%anything"}, "192.0.2.9", false},
	{"mapped client", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: ::ffff:192.0.2.9"}, "192.0.2.9", false},
	{"mapped trusted proxy", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 192.0.2.9, ::ffff:10.0.0.2"}, "192.0.2.9", false},
	{"mapped hexadecimal trusted proxy", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 192.0.2.9, ::ffff:a00:2"}, "192.0.2.9", false},
	{"mapped peer", xff, "[::ffff:10.0.0.1]:1234", []string{"X-Forwarded-For: 192.0.2.9"}, "192.0.2.9", false},
	{"mapped untrusted peer", xff, "[::ffff:203.0.113.5]:1234", []string{"X-Forwarded-For: 1.1.1.1"}, "203.0.113.5", false},
	{"peer with a zone", xff, "[fe80::1%eth0]:1234", []string{"X-Forwarded-For: 1.1.1.1"}, "fe80::1", false},
	{"trusted peer with a zone", xff, "[2001:db8:aaaa::1%x]:1234", []string{"X-Forwarded-For: 192.0.2.9"}, "192.0.2.9", false},
	{"tabs and blanks", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 1.1.1.1 ,\t192.0.2.9\t"}, "192.0.2.9", false},
	{"compatible address is not mapped", xff, "10.0.0.1:1234", []string{"X-Forwarded-For: 192.0.2.9, ::10.0.0.2"}, "::a00:2", false},

	// A client can't make the field go away.
	{"Connection lists the field", xff, "10.0.0.1:1234", []string{"Connection: X-Forwarded-For", "X-Forwarded-For: 192.0.2.9"}, "10.0.0.1", true},
	{"Connection lists the field, which is gone", xff, "10.0.0.1:1234", []string{"Connection: X-Forwarded-For"}, "10.0.0.1", true},
	{"Connection lists the field in another case", xff, "10.0.0.1:1234", []string{"Connection: keep-alive, x-forwarded-for", "X-Forwarded-For: 192.0.2.9"}, "10.0.0.1", true},
	{"Connection lists it on a second line", xff, "10.0.0.1:1234", []string{"Connection: close", "Connection:  X-FORWARDED-FOR ", "X-Forwarded-For: 192.0.2.9"}, "10.0.0.1", true},
	{"Connection lists Forwarded", fwd, "10.0.0.1:1234", []string{"Connection: Forwarded", "Forwarded: for=192.0.2.9"}, "10.0.0.1", true},
	{"Connection lists X-Forwarded-Proto", xff, "10.0.0.1:1234", []string{"Connection: X-Forwarded-Proto", "X-Forwarded-For: 192.0.2.9"}, "10.0.0.1", true},
	{"Connection lists something else", xff, "10.0.0.1:1234", []string{"Connection: X-Forwarded-Form, forwarded", "X-Forwarded-For: 192.0.2.9"}, "192.0.2.9", false},

	// RFC 7239.
	{"Forwarded", fwd, "10.0.0.1:1234", []string{"Forwarded: for=192.0.2.9;proto=https;by=10.0.0.1"}, "192.0.2.9", false},
	{"names in any case and order", fwd, "10.0.0.1:1234", []string{"Forwarded: Proto=https;By=10.0.0.1;FOR=192.0.2.9"}, "192.0.2.9", false},
	{"a forged first element of Forwarded", fwd, "10.0.0.1:1234", []string{"Forwarded: for=1.1.1.1, for=192.0.2.9"}, "192.0.2.9", false},
	{"a forged first line of Forwarded", fwd, "10.0.0.1:1234", []string{"Forwarded: for=1.1.1.1", "Forwarded: for=192.0.2.9, for=10.0.0.2"}, "192.0.2.9", false},
	{"a forged open quote", fwd, "10.0.0.1:1234", []string{`Forwarded: for=1.1.1.1;x=", for=192.0.2.9`}, "192.0.2.9", false},
	{"a forged open quote in a line of its own", fwd, "10.0.0.1:1234", []string{`Forwarded: for="1.1.1.1`, "Forwarded: for=192.0.2.9"}, "192.0.2.9", false},
	{"a forged open quote and a quoted element", fwd, "10.0.0.1:1234", []string{`Forwarded: x=", for="192.0.2.9:80"`}, "192.0.2.9", false},
	{"a forged backslash before the comma", fwd, "10.0.0.1:1234", []string{`Forwarded: x="\, for="192.0.2.9"`}, "192.0.2.9", false},
	{"quoted with a port", fwd, "10.0.0.1:1234", []string{`Forwarded: for="192.0.2.9:4711"`}, "192.0.2.9", false},
	{"quoted with a hidden port", fwd, "10.0.0.1:1234", []string{`Forwarded: for="192.0.2.9:_p-1.x"`}, "192.0.2.9", false},
	{"quoted IPv6", fwd, "10.0.0.1:1234", []string{`Forwarded: for="[2001:db8::9]"`}, "2001:db8::9", false},
	{"quoted IPv6 with a port", fwd, "10.0.0.1:1234", []string{`Forwarded: for="[2001:db8::9]:443"`}, "2001:db8::9", false},
	{"quoted IPv6 with a zone", fwd, "10.0.0.1:1234", []string{`Forwarded: for="[fe80::1%25eth0]"`}, "fe80::1", false},
	{"escapes", fwd, "10.0.0.1:1234", []string{`Forwarded: for="\1\9\2.0.2.9";ext="a\"b\\"`}, "192.0.2.9", false},
	{"a comma in quotes", fwd, "10.0.0.1:1234", []string{`Forwarded: for=192.0.2.9;host="a, for=1.1.1.1"`}, "192.0.2.9", false},
	{"a comma and an escaped quote in quotes", fwd, "10.0.0.1:1234", []string{`Forwarded: for=192.0.2.9;host="a\", for=1.1.1.1"`}, "192.0.2.9", false},
	{"a comma and an escaped backslash in quotes", fwd, "10.0.0.1:1234", []string{`Forwarded: for=192.0.2.9;x="\\\\";host=",\\"`}, "192.0.2.9", false},
	{"quotes in a trusted element", fwd, "10.0.0.1:1234", []string{`Forwarded: for=1.1.1.1, for=192.0.2.9, for="[2001:db8:aaaa::2]:80";host="x,y;z"`}, "192.0.2.9", false},
	{"empty pairs and blanks at semicolons", fwd, "10.0.0.1:1234", []string{"Forwarded: ; for=192.0.2.9 ;; proto=https;"}, "192.0.2.9", false},
	{"extensions", fwd, "10.0.0.1:1234", []string{"Forwarded: for=192.0.2.9;secret=x;a=b"}, "192.0.2.9", false},
	{"unknown in Forwarded", fwd, "10.0.0.1:1234", []string{"Forwarded: for=1.1.1.1, for=unknown"}, "10.0.0.1", true},
	{"hidden", fwd, "10.0.0.1:1234", []string{"Forwarded: for=1.1.1.1, for=_gazonk, for=10.0.0.2"}, "10.0.0.2", true},
	{"hidden and quoted", fwd, "10.0.0.1:1234", []string{`Forwarded: for=1.1.1.1, for="_gazonk"`}, "10.0.0.1", true},
	{"no for", fwd, "10.0.0.1:1234", []string{"Forwarded: for=1.1.1.1, proto=https"}, "10.0.0.1", true},
	{"for twice", fwd, "10.0.0.1:1234", []string{"Forwarded: for=1.1.1.1;for=192.0.2.9"}, "10.0.0.1", true},
	{"for twice, in another case", fwd, "10.0.0.1:1234", []string{"Forwarded: for=1.1.1.1;For=192.0.2.9"}, "10.0.0.1", true},
	{"an extension twice", fwd, "10.0.0.1:1234", []string{"Forwarded: for=192.0.2.9;a=1;A=2"}, "10.0.0.1", true},
	{"too many pairs", fwd, "10.0.0.1:1234", []string{"Forwarded: a=1;b=1;c=1;d=1;e=1;f=1;g=1;h=1;i=1;j=1;k=1;l=1;m=1;n=1;o=1;p=1;for=192.0.2.9"}, "10.0.0.1", true},
	{"unquoted port", fwd, "10.0.0.1:1234", []string{"Forwarded: for=192.0.2.9:80"}, "10.0.0.1", true},
	{"unquoted IPv6", fwd, "10.0.0.1:1234", []string{"Forwarded: for=[2001:db8::9]"}, "10.0.0.1", true},
	{"IPv6 without brackets", fwd, "10.0.0.1:1234", []string{`Forwarded: for="2001:db8::9"`}, "10.0.0.1", true},
	{"hidden port without a name", fwd, "10.0.0.1:1234", []string{`Forwarded: for="192.0.2.9:_"`}, "10.0.0.1", true},
	{"hidden port with other characters", fwd, "10.0.0.1:1234", []string{`Forwarded: for="192.0.2.9:_a b"`}, "10.0.0.1", true},
	{"an empty value", fwd, "10.0.0.1:1234", []string{"Forwarded: for="}, "10.0.0.1", true},
	{"an empty quoted value", fwd, "10.0.0.1:1234", []string{`Forwarded: for=""`}, "10.0.0.1", true},
	{"an empty name", fwd, "10.0.0.1:1234", []string{"Forwarded: =192.0.2.9"}, "10.0.0.1", true},
	{"blanks around the equals sign", fwd, "10.0.0.1:1234", []string{"Forwarded: for = 192.0.2.9"}, "10.0.0.1", true},
	{"text after a quoted value", fwd, "10.0.0.1:1234", []string{`Forwarded: for="192.0.2.9"x`}, "10.0.0.1", true},
	{"a pair right after a quoted value", fwd, "10.0.0.1:1234", []string{`Forwarded: for="192.0.2.9"x=1`}, "10.0.0.1", true},
	{"a pair after a blank", fwd, "10.0.0.1:1234", []string{"Forwarded: for=192.0.2.9 x=1"}, "10.0.0.1", true},
	{"an open quote from the proxy", fwd, "10.0.0.1:1234", []string{`Forwarded: for=1.1.1.1, for="192.0.2.9`}, "10.0.0.1", true},
	{"a backslash at the end", fwd, "10.0.0.1:1234", []string{`Forwarded: for="192.0.2.9\`}, "10.0.0.1", true},
	{"a control character in quotes", fwd, "10.0.0.1:1234", []string{"Forwarded: for=192.0.2.9;a=\"\x01\""}, "10.0.0.1", true},
	{"an empty Forwarded", fwd, "10.0.0.1:1234", []string{"Forwarded:"}, "10.0.0.1", true},
	{"an empty last element of Forwarded", fwd, "10.0.0.1:1234", []string{"Forwarded: for=1.1.1.1,"}, "10.0.0.1", true},
	{"X-Forwarded-For syntax in Forwarded", fwd, "10.0.0.1:1234", []string{"Forwarded: 192.0.2.9"}, "10.0.0.1", true},
	{"1,000 forged elements of Forwarded", fwd, "10.0.0.1:1234", []string{"Forwarded: " + strings.Repeat(`for="1.1.1.1",`, 999) + "for=192.0.2.9"}, "192.0.2.9", false},

	// No peer address.
	{"Unix socket", xff, "@", []string{"X-Forwarded-For: 1.1.1.1"}, "invalid IP", true},
	{"empty RemoteAddr", fwd, "", []string{"Forwarded: for=1.1.1.1"}, "invalid IP", true},
	{"RemoteAddr without a port", xff, "10.0.0.1", []string{"X-Forwarded-For: 192.0.2.9"}, "192.0.2.9", false},
}

// GO-2026-5774, -5775 and -5777, CVE-2025-66508, CVE-2026-45045, CVE-2024-45410 and
// CVE-2024-24790 are all in here: fields believed from anyone, the first line
// taken for the list, Connection tricks, mapped addresses.
func TestGO_2026_5774_Spoofing(t *testing.T) {
	if len(spoofing) < 60 {
		t.Fatalf("%d cases", len(spoofing))
	}
	for _, tt := range spoofing {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = tt.peer
			addFields(r, tt.fields)
			c := newClientIP(t, tt.header, proxies...)

			addr, err := c.Resolve(r)
			if addr.String() != tt.want || (err != nil) != tt.bad {
				t.Errorf("Resolve: got %v, %v; want %v, error %v", addr, err, tt.want, tt.bad)
			}

			// Wrap agrees, goes on in any case, and tells what is wrong once.
			events, served := &recorder{}, false
			h := httperr.Recover(httperr.Config{Audit: events})(c.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				served = true
				if got := transport.ClientAddr(r); got != addr {
					t.Errorf("ClientAddr: got %v, want %v as Resolve", got, addr)
				}
			})))
			do(h, r)
			if !served {
				t.Error("the request was refused")
			}
			if n := len(events.all()); (n == 1) != tt.bad || n > 1 {
				t.Errorf("got %d events, want one only if there is an error", n)
			}

			// Without a trusted proxy, nothing above has any effect.
			peer, err := newClientIP(t, tt.header).Resolve(r)
			want, perr := netip.ParseAddrPort(tt.peer)
			if perr == nil && (err != nil || peer != want.Addr().Unmap().WithZone("")) {
				t.Errorf("nobody trusted: got %v, %v; want the peer %v", peer, err, want)
			}
		})
	}
}

// The proxy's part of the field decides, whatever stands to its left.
func TestClientIPIsNeverLeftOfAnUntrustedHop(t *testing.T) {
	for _, left := range []string{"", ",", `"`, `\`, `\"`, `="`, `x="\`, `for="[::1]`, "for=1.1.1.1;", "10.0.0.9", "unknown", "\t", strings.Repeat(`"`, 99), strings.Repeat(`\`, 99)} {
		for header, own := range map[string]string{xff: "192.0.2.9", fwd: `for="192.0.2.9:80";host="a,b"`} {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = "10.0.0.1:1"
			r.Header[header] = []string{left, left + ", " + own}
			if got, err := newClientIP(t, header, proxies...).Resolve(r); err != nil || got.String() != "192.0.2.9" {
				t.Errorf("%s: %q: got %v, %v; want 192.0.2.9", header, left, got, err)
			}
		}
	}
}

func TestClientIPEvents(t *testing.T) {
	for _, tt := range []struct {
		name, line, want, reason string
	}{
		{"malformed", "X-Forwarded-For: a\x1b[2Jb" + strings.Repeat("c", 2000), audit.InputValidationFail, "from 10.0.0.1"},
		{"hop by hop", "Connection: X-Forwarded-For", audit.MaliciousExtraneous, "Connection"},
	} {
		events := &recorder{}
		r := httptest.NewRequest("GET", "/a?secret=1", nil)
		r.RemoteAddr = "10.0.0.1:1"
		addFields(r, []string{tt.line})
		do(httperr.Recover(httperr.Config{Audit: events})(newClientIP(t, xff, proxies...).Wrap(ok)), r)
		e := events.one(t)
		if e.Name != tt.want || e.Level != slog.LevelWarn || !strings.Contains(e.Reason, tt.reason) || len(e.Reason) > 400 ||
			strings.ContainsRune(e.Reason, 0x1b) || e.Addr.String() != "10.0.0.1" {
			t.Errorf("%s: got %+v", tt.name, e)
		}
	}
}

func TestNewClientIPRefusesWhatCannotWork(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  transport.ClientIPConfig
		want string
	}{
		{"X-Real-IP", transport.ClientIPConfig{Header: "X-Real-IP"}, "ClientIPConfig.Header"},
		{"two fields", transport.ClientIPConfig{Header: "Forwarded, X-Forwarded-For"}, "ClientIPConfig.Header"},
		{"zero prefix", transport.ClientIPConfig{TrustedProxies: []netip.Prefix{proxies[0], {}}}, "ClientIPConfig.TrustedProxies[1]"},
		{"every IPv4 address", transport.ClientIPConfig{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}, "ClientIPConfig.TrustedProxies[0]"},
		{"every IPv6 address", transport.ClientIPConfig{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("::/0")}}, "ClientIPConfig.TrustedProxies[0]"},
		{"every mapped address", transport.ClientIPConfig{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("::ffff:0.0.0.0/96")}}, "ClientIPConfig.TrustedProxies[0]"},
		{"half a mapped prefix", transport.ClientIPConfig{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/90")}}, "ClientIPConfig.TrustedProxies[0]"},
	} {
		if c, err := transport.NewClientIP(tt.cfg); c != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, %v; want nil and an error that names %s", tt.name, c, err, tt.want)
		}
	}
}

// CVE-2026-33433: a name written in another case must not disable the check. The
// same goes for prefixes with host bits, or in mapped form, and for a slice that
// is changed later.
func TestCVE_2026_33433_ConfigIsMadeCanonical(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.7/104")}
	c, err := transport.NewClientIP(transport.ClientIPConfig{Header: "x-forwarded-FOR", TrustedProxies: trusted})
	if err != nil {
		t.Fatal(err)
	}
	trusted[0] = netip.MustParsePrefix("192.0.2.0/24")
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = "10.9.9.9:1"
	r.Header.Set(xff, "1.1.1.1, 192.0.2.9, 10.0.0.2")
	if got, err := c.Resolve(r); err != nil || got.String() != "192.0.2.9" {
		t.Errorf("got %v, %v; want 192.0.2.9", got, err)
	}
}

func TestClientAddrWithoutClientIP(t *testing.T) {
	for peer, want := range map[string]string{
		"192.0.2.1:80": "192.0.2.1", "[::ffff:192.0.2.1]:80": "192.0.2.1", "[fe80::1%eth0]:80": "fe80::1", "@": "invalid IP",
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = peer
		r.Header.Set(xff, "1.1.1.1")
		r.Header.Set("X-Real-Ip", "1.1.1.1")
		if got := transport.ClientAddr(r).String(); got != want {
			t.Errorf("peer %s: got %s, want %s", peer, got, want)
		}
	}
}

// The outermost ClientIP settles.
func TestClientIPSettlesOnce(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = "10.0.0.1:1"
	addFields(r, []string{"X-Forwarded-For: 192.0.2.9", "Forwarded: for=1.1.1.1"})
	outer, inner := newClientIP(t, xff, proxies...), newClientIP(t, fwd, proxies...)
	do(outer.Wrap(inner.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if got := transport.ClientAddr(r).String(); got != "192.0.2.9" {
			t.Errorf("got %s, want the outer door's 192.0.2.9", got)
		}
	}))), r)
}

// The scheme decides on HSTS, so that shows it.
func TestClientScheme(t *testing.T) {
	for _, tt := range []struct {
		name   string
		header string
		peer   string
		tls    bool
		fields []string
		want   bool // https
	}{
		{"direct, TLS", xff, "203.0.113.5:1", true, nil, true},
		{"direct, plain", xff, "203.0.113.5:1", false, nil, false},
		{"untrusted peer says https", xff, "203.0.113.5:1", false, []string{"X-Forwarded-For: 1.1.1.1", "X-Forwarded-Proto: https"}, false},
		{"untrusted peer says http", xff, "203.0.113.5:1", true, []string{"X-Forwarded-Proto: http"}, true},
		{"untrusted peer, Forwarded", fwd, "203.0.113.5:1", false, []string{"Forwarded: for=1.1.1.1;proto=https"}, false},
		{"proxy says https", xff, "10.0.0.1:1", false, []string{"X-Forwarded-For: 192.0.2.9", "X-Forwarded-Proto: https"}, true},
		{"proxy says HTTPS", xff, "10.0.0.1:1", false, []string{"X-Forwarded-For: 192.0.2.9", "X-Forwarded-Proto: HTTPS"}, true},
		{"proxy says http over TLS", xff, "10.0.0.1:1", true, []string{"X-Forwarded-For: 192.0.2.9", "X-Forwarded-Proto: http"}, false},
		{"proxy says nothing of the scheme", xff, "10.0.0.1:1", true, []string{"X-Forwarded-For: 192.0.2.9"}, false},
		{"proxy says only the scheme", xff, "10.0.0.1:1", false, []string{"X-Forwarded-Proto: https"}, true},
		{"the proxy itself is the client, TLS", xff, "10.0.0.1:1", true, nil, true},
		{"the proxy itself is the client, plain", xff, "10.0.0.1:1", false, nil, false},
		{"two values", xff, "10.0.0.1:1", false, []string{"X-Forwarded-For: 192.0.2.9", "X-Forwarded-Proto: https, http"}, false},
		{"two equal values", xff, "10.0.0.1:1", false, []string{"X-Forwarded-For: 192.0.2.9", "X-Forwarded-Proto: https,https"}, false},
		{"two lines", xff, "10.0.0.1:1", false, []string{"X-Forwarded-For: 192.0.2.9", "X-Forwarded-Proto: https", "X-Forwarded-Proto: https"}, false},
		{"something else", xff, "10.0.0.1:1", true, []string{"X-Forwarded-For: 192.0.2.9", "X-Forwarded-Proto: wss"}, false},
		{"empty", xff, "10.0.0.1:1", true, []string{"X-Forwarded-Proto:"}, false},
		{"longer", xff, "10.0.0.1:1", true, []string{"X-Forwarded-Proto: httpsx"}, false},
		{"another field", xff, "10.0.0.1:1", false, []string{"X-Forwarded-For: 192.0.2.9", "X-Forwarded-Scheme: https", "X-Forwarded-Ssl: on", "X-Url-Scheme: https", "Front-End-Https: on"}, false},
		{"underscores", xff, "10.0.0.1:1", false, []string{"X-Forwarded-For: 192.0.2.9", "X_Forwarded_Proto: https"}, false},
		{"Connection lists X-Forwarded-Proto", xff, "10.0.0.1:1", true, []string{"Connection: x-forwarded-proto", "X-Forwarded-For: 192.0.2.9"}, false},
		{"Connection lists X-Forwarded-For", xff, "10.0.0.1:1", true, []string{"Connection: x-forwarded-for", "X-Forwarded-Proto: https"}, false},
		{"Forwarded says https", fwd, "10.0.0.1:1", false, []string{"Forwarded: for=192.0.2.9;proto=https"}, true},
		{"Forwarded says https in quotes", fwd, "10.0.0.1:1", false, []string{`Forwarded: for=192.0.2.9;proto="https"`}, true},
		{"Forwarded says http", fwd, "10.0.0.1:1", true, []string{"Forwarded: for=192.0.2.9;proto=http"}, false},
		{"Forwarded does not say", fwd, "10.0.0.1:1", true, []string{"Forwarded: for=192.0.2.9"}, false},
		{"the client's element counts, https", fwd, "10.0.0.1:1", false, []string{"Forwarded: for=192.0.2.9;proto=https, for=10.0.0.2;proto=http"}, true},
		{"the client's element counts, http", fwd, "10.0.0.1:1", true, []string{"Forwarded: for=192.0.2.9;proto=http, for=10.0.0.2;proto=https"}, false},
		{"a forged element", fwd, "10.0.0.1:1", false, []string{"Forwarded: for=1.1.1.1;proto=https, for=192.0.2.9;proto=http"}, false},
		{"proto twice", fwd, "10.0.0.1:1", false, []string{"Forwarded: for=192.0.2.9;proto=https;proto=https"}, false},
		{"X-Forwarded-Proto where Forwarded is read", fwd, "10.0.0.1:1", false, []string{"Forwarded: for=192.0.2.9", "X-Forwarded-Proto: https"}, false},
		{"X-Forwarded-Proto alone where Forwarded is read", fwd, "10.0.0.1:1", false, []string{"X-Forwarded-Proto: https"}, false},
		{"a hidden client", fwd, "10.0.0.1:1", true, []string{"Forwarded: for=_x;proto=https"}, false},
		{"no peer address, TLS", xff, "@", true, []string{"X-Forwarded-Proto: http"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = tt.peer
			if tt.tls {
				r.TLS = &tls.ConnectionState{}
			}
			addFields(r, tt.fields)
			c := newClientIP(t, tt.header, proxies...)
			w := do(c.Wrap(transport.Secure(transport.Headers{})(ok)), r)
			if got := w.Header().Get("Strict-Transport-Security") != ""; got != tt.want {
				t.Errorf("HSTS: got %v, want %v", got, tt.want)
			}
			w = do(c.Wrap(transport.RequireHTTPS(ok)), r)
			if got := w.Code == 200; got != tt.want {
				t.Errorf("RequireHTTPS: got %d, want passed %v", w.Code, tt.want)
			}
		})
	}
}

// Over a real connection, as net/http stores the fields: names in every case, and a
// folded line.
func TestClientIPOverTheWire(t *testing.T) {
	c := newClientIP(t, "", proxies...)
	srv, _ := newServer(t, c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, transport.ClientAddr(r))
	})), transport.ServerConfig{AllowInsecureHTTP: true})
	addr := start(t, srv).addr
	for _, tt := range []struct{ name, fields, want string }{
		{"none", "", "127.0.0.1"},
		{"lower case", "x-forwarded-for: 1.1.1.1\r\nx-forwarded-for: 192.0.2.9\r\n", "192.0.2.9"},
		{"mixed case", "X-FORWARDED-FOR: 1.1.1.1\r\nx-Forwarded-For: 192.0.2.9\r\n", "192.0.2.9"},
		{"folded", "X-Forwarded-For: 1.1.1.1,\r\n 192.0.2.9\r\n", "192.0.2.9"},
		{"underscores", "X_Forwarded_For: 1.1.1.1\r\n", "127.0.0.1"},
		{"Connection", "X-Forwarded-For: 192.0.2.9\r\nConnection: close, x-forwarded-for\r\n", "127.0.0.1"},
	} {
		_, body := exchange(t, addr, "GET / HTTP/1.1\r\nHost: localhost\r\n"+tt.fields+"\r\n")
		if body != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, body, tt.want)
		}
	}
}

// A header of the size that net/http allows must cost little, and nothing on the
// heap unless something is wrong with it.
func TestClientIPAllocatesNothing(t *testing.T) {
	for _, tt := range []struct{ header, value string }{
		{xff, "192.0.2.9"},
		{xff, strings.Repeat("10.0.0.2,", 3000) + "192.0.2.9, 10.0.0.2"},
		{fwd, strings.Repeat(`"`, 30000) + `, for="192.0.2.9:80";proto=https;host="a,b", for=10.0.0.2`},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = "10.0.0.1:1"
		r.Header.Set(tt.header, tt.value)
		c := newClientIP(t, tt.header, proxies...)
		if n := testing.AllocsPerRun(100, func() {
			if _, err := c.Resolve(r); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%.20s: got %v allocations, want 0", tt.value, n)
		}
	}
}

// Whatever a client writes to the left of what the trusted proxy appends, on the
// same line or one before, the proxy's word is the answer.
func FuzzClientIPProxyDecides(f *testing.F) {
	for _, s := range []string{"", "1.1.1.1", "10.0.0.9", `for="`, `"\`, "unknown, _x", "for=1.1.1.1;x=\"", "\\\"", ",", "::ffff:10.0.0.1%x"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	xffIP, fwdIP := newClientIP(f, xff, proxies...), newClientIP(f, fwd, proxies...)
	f.Fuzz(func(t *testing.T, left string, ownLine bool) {
		for _, c := range []struct {
			ip           *transport.ClientIP
			header, last string
		}{
			{xffIP, xff, "192.0.2.9"},
			{xffIP, xff, "192.0.2.9, 10.0.0.2"},
			{fwdIP, fwd, "for=192.0.2.9"},
			{fwdIP, fwd, `for="192.0.2.9:80";host="a,\"b\\";proto=https, for="[2001:db8:aaaa::1]"`},
		} {
			r := &http.Request{Method: "GET", RemoteAddr: "10.0.0.1:1", Header: http.Header{c.header: {left + ", " + c.last}}}
			if ownLine {
				r.Header[c.header] = []string{left, c.last}
			}
			if got, err := c.ip.Resolve(r); err != nil || got.String() != "192.0.2.9" {
				t.Fatalf("%s: %q: got %v, %v; want 192.0.2.9", c.header, r.Header[c.header], got, err)
			}
		}
	})
}

// Any field at all: no panic, and an answer that a trusted hop vouches for.
func FuzzClientIP(f *testing.F) {
	for _, tt := range spoofing {
		for _, line := range tt.fields {
			if _, value, _ := strings.Cut(line, ":"); len(value) < 200 {
				f.Add(value)
			}
		}
	}
	xffIP, fwdIP, nobody := newClientIP(f, xff, proxies...), newClientIP(f, fwd, proxies...), newClientIP(f, xff)
	f.Fuzz(func(t *testing.T, value string) {
		peer := netip.MustParseAddr("10.0.0.1")
		for _, c := range []struct {
			ip     *transport.ClientIP
			header string
		}{{xffIP, xff}, {fwdIP, fwd}} {
			lines := strings.Split(value, "\n")
			r := &http.Request{Method: "GET", RemoteAddr: "10.0.0.1:1", Header: http.Header{c.header: lines}}
			got, err := c.ip.Resolve(r)
			switch {
			case got == peer:
			case !got.IsValid() || got.Zone() != "" || got.Is4In6():
				t.Fatalf("%q: got %v", value, got)
			case err != nil && !trustedAddr(got):
				t.Fatalf("%q: got the untrusted %v beside an error", value, got)
			case c.header == xff && !inTail(lines, got):
				t.Fatalf("%q: %v has an untrusted or unreadable element to its right", value, got)
			}
			// Appending a trusted hop changes nothing, and an untrusted one everything.
			r.Header[c.header] = append(lines, map[string]string{xff: "10.0.0.1", fwd: "for=10.0.0.1"}[c.header])
			if again, _ := c.ip.Resolve(r); again != got {
				t.Fatalf("%q: got %v, and %v behind one more trusted proxy", value, got, again)
			}
		}
		r := &http.Request{Method: "GET", RemoteAddr: "10.0.0.1:1", Header: http.Header{xff: {value}}}
		if got, err := nobody.Resolve(r); got != peer || err != nil {
			t.Fatalf("nobody is trusted: got %v, %v", got, err)
		}
	})
}

func trustedAddr(a netip.Addr) bool {
	for _, p := range proxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// inTail reports whether want stands in the list with nothing but trusted
// addresses to its right.
func inTail(lines []string, want netip.Addr) bool {
	list := strings.Split(strings.Join(lines, ","), ",")
	for i := len(list) - 1; i >= 0; i-- {
		s := strings.Trim(list[i], " \t")
		for _, text := range []string{s, strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")} {
			addr, err := netip.ParseAddr(text)
			if ap, perr := netip.ParseAddrPort(text); perr == nil {
				addr, err = ap.Addr(), nil
			}
			if err == nil && addr.Unmap().WithZone("") == want {
				return true
			}
		}
		host, _, _ := strings.Cut(strings.Trim(s, "[]"), "]")
		if strings.Count(s, ":") == 1 {
			host, _, _ = strings.Cut(s, ":")
		}
		addr, err := netip.ParseAddr(host)
		if err != nil || !trustedAddr(addr.Unmap().WithZone("")) {
			return false
		}
	}
	return false
}
