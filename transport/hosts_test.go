package transport_test

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/transport"
)

func TestAllowedHosts(t *testing.T) {
	door := transport.AllowedHosts("API.example.com", "exact.example.com:8443", "two.example.com:1", "two.example.com:2",
		"default.example.com:443", "plain.example.com:80", "any.example.com:1", "any.example.com", "all.example.com", "all.example.com:1", "192.0.2.1", "[2001:db8::1]", "my_service")
	for _, tt := range []struct {
		host string
		tls  bool
		want bool
	}{
		{"api.example.com", true, true},
		{"API.EXAMPLE.COM", true, true},
		{"api.example.com.", true, true},
		{"api.example.com:443", true, true},
		{"api.example.com:6666", false, true},
		{"api.example.com.:443", true, true},
		{"exact.example.com:8443", true, true},
		{"exact.example.com", true, false},
		{"exact.example.com:443", true, false},
		{"two.example.com:1", true, true},
		{"two.example.com:2", true, true},
		{"two.example.com:3", true, false},
		{"default.example.com", true, true},
		{"default.example.com:443", true, true},
		{"default.example.com", false, false},
		{"plain.example.com", false, true},
		{"plain.example.com", true, false},
		{"any.example.com:9", true, true},
		{"all.example.com:9", true, true},
		{"192.0.2.1", true, true},
		{"192.0.2.1:8080", true, true},
		{"[2001:db8::1]", true, true},
		{"[2001:DB8:0:0::1]:443", true, true},
		{"my_service:8080", false, true},

		{"", true, false},
		{"example.com", true, false},
		{"evil.example", true, false},
		{"api.example.com.evil.example", true, false},
		{"evilapi.example.com", true, false},
		{"x.api.example.com", true, false},
		{"api.example.com..", true, false},
		{".api.example.com", true, false},
		{"api.example.com:", true, false},
		{"api.example.com:evil", true, false},
		{"api.example.com:443:evil.example", true, false},
		{"api.example.com:0", true, false},
		{"api.example.com:65536", true, false},
		{"api.example.com:0443", true, false},
		{"api.example.com:+443", true, false},
		{"api.example.com@evil.example", true, false},
		{"api.example.com,evil.example", true, false},
		{"api.example.com evil.example", true, false},
		{" api.example.com", true, false},
		{"api.example.com/", true, false},
		{"api.example.com#", true, false},
		{"api.example.com\x00", true, false},
		{"api.exampl\u212a.com", true, false}, // folds to k in Unicode
		{"[2001:db8::2]", true, false},
		{"[2001:db8::1", true, false},
		{"[2001:db8::1]x", true, false},
		{"[2001:db8::1%25eth0]", true, false},
		{"2001:db8::1", true, false},
		{"[192.0.2.1]", true, false},
		{"[::ffff:192.0.2.1]", true, false},
	} {
		t.Run(tt.host, func(t *testing.T) {
			events := &recorder{}
			r := httptest.NewRequest("GET", "/", nil)
			r.Host = tt.host
			r.Header.Set("X-Forwarded-Host", "api.example.com")
			if tt.tls {
				r.TLS = &tls.ConnectionState{}
			}
			w := do(httperr.Recover(httperr.Config{Audit: events})(door(ok)), r)
			if tt.want {
				if w.Code != 200 {
					t.Errorf("got %d, want 200", w.Code)
				}
				return
			}
			wantProblem(t, w, 421, "host_not_served")
			if e := events.one(t); e.Name != audit.MaliciousExtraneous {
				t.Errorf("got event %+v", e)
			}
		})
	}
}

func TestAllowedHostsRefusesBadConfig(t *testing.T) {
	wantPanic(t, "AllowedHosts: no host", func() { transport.AllowedHosts() })
	for _, host := range []string{"", "*", "*.example.com", "https://example.com", "example.com/", "exämple.com", "example.com:x", "::1", "[::1%25x]", strings.Repeat("a.", 127) + "aa"} {
		wantPanic(t, "AllowedHosts", func() { transport.AllowedHosts("example.com", host) })
	}
}

// On the wire: a target that is a whole URL overrides Host, and HTTP/1.0 may have
// none.
func TestAllowedHostsOverTheWire(t *testing.T) {
	srv, _ := newServer(t, transport.AllowedHosts("api.example.com")(ok), transport.ServerConfig{AllowInsecureHTTP: true})
	addr := start(t, srv).addr
	for _, tt := range []struct {
		name, request string
		want          int
	}{
		{"Host", "GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n", 200},
		{"another Host", "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421},
		{"target and Host differ", "GET http://evil.example/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n", 421},
		{"target is allowed", "GET http://api.example.com/ HTTP/1.1\r\nHost: evil.example\r\n\r\n", 200},
		{"HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n", 421},
		{"an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 421},
		{"two Hosts", "GET / HTTP/1.1\r\nHost: api.example.com\r\nHost: evil.example\r\n\r\n", 400},
	} {
		resp, _ := exchange(t, addr, tt.request)
		if resp.StatusCode != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, resp.StatusCode, tt.want)
		}
	}
}

// Beside the :authority of HTTP/2 there may be a Host, which net/http leaves in the header.
func TestRFC9113_8_3_1_HostBesideAuthority(t *testing.T) {
	h := transport.AllowedHosts("api.example.com")(ok)
	for _, tt := range []struct {
		name  string
		hosts []string
		want  int
	}{
		{"none", nil, 200},
		{"the same", []string{"api.example.com"}, 200},
		{"the same in another form", []string{"API.example.com."}, 200},
		{"another", []string{"evil.example"}, 421},
		{"the same with the port that it has", []string{"api.example.com:443"}, 200},
		{"the same with another port", []string{"api.example.com:8443"}, 421},
		{"nothing", []string{""}, 421},
		{"two", []string{"api.example.com", "evil.example"}, 421},
	} {
		r := httptest.NewRequest("GET", "https://api.example.com/", nil)
		r.ProtoMajor = 2
		if tt.hosts != nil {
			r.Header["Host"] = tt.hosts
		}
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, w.Code, tt.want)
		}
	}
}

// What passes is one of the configured hosts, whatever is sent.
func FuzzAllowedHosts(f *testing.F) {
	for _, s := range []string{"api.example.com", "API.example.com.:8443", "[::1]:443", "[::1", "a@b", "api.example.com:443@evil", "\x00", "192.0.2.1"} {
		f.Add(s)
	}
	h := transport.AllowedHosts("api.example.com", "[::1]:443", "192.0.2.1")(ok)
	f.Fuzz(func(t *testing.T, host string) {
		w := do(h, &http.Request{Method: "GET", Host: host, Header: http.Header{"Accept": {"application/json"}}, TLS: &tls.ConnectionState{}})
		switch w.Code {
		case 421:
			return
		case 200:
		default:
			t.Fatalf("%q: got %d", host, w.Code)
		}
		name, port := host, ""
		if h, p, err := net.SplitHostPort(host); err == nil {
			name, port = h, p
		}
		name = strings.ToLower(strings.Trim(strings.TrimSuffix(name, "."), "[]"))
		if ip := net.ParseIP(name); ip != nil {
			name = ip.String()
		}
		if name != "api.example.com" && name != "192.0.2.1" && (name != "::1" || port != "443" && port != "") {
			t.Fatalf("%q passed as host %q, port %q", host, name, port)
		}
		for _, c := range port {
			if c < '0' || c > '9' {
				t.Fatalf("%q passed with port %q", host, port)
			}
		}
	})
}
