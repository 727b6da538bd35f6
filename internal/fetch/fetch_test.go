package fetch_test

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/internal/fetch"
)

const limit = 1 << 10

// serve returns a server, and a client that trusts it.
func serve(t *testing.T, h http.HandlerFunc) (*httptest.Server, *fetch.Client) {
	t.Helper()
	srv := httptest.NewTLSServer(h)
	t.Cleanup(srv.Close)
	return srv, fetch.New(srv.Client(), 10*time.Second, limit)
}

func answer(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, body)
	}
}

func TestGet(t *testing.T) {
	srv, c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.Header.Get("Accept") != "application/json, application/jwk-set+json" || r.URL.RawQuery != "a=b" {
			t.Errorf("got %s %s, %v", r.Method, r.URL, r.Header)
		}
		w.Header().Set("Cache-Control", "max-age=5")
		answer("application/json", `{}`)(w, r)
	})
	got, err := c.Get(t.Context(), srv.URL+"/?a=b")
	if err != nil {
		t.Fatal(err)
	}
	if got.Status != 200 || string(got.Body) != `{}` || got.Header.Get("Cache-Control") != "max-age=5" {
		t.Errorf("got %+v", got)
	}
}

func TestGetRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		handle http.HandlerFunc
		want   string
	}{
		{"HTML", answer("text/html", `<html>`), "media type"},
		{"text", answer("text/plain", `{}`), "media type"},
		{"JSON in name alone", answer("application/jsonp", `{}`), "media type"},
		{"+json in a parameter", answer("text/html; x=+json", `{}`), "media type"},
		{"no type", func(w http.ResponseWriter, _ *http.Request) { w.Header()["Content-Type"] = nil }, "media type"},
		{"201", status(201), "status 201"},
		{"204", status(204), "status 204"},
		{"206", status(206), "status 206"},
		{"404", status(404), "status 404"},
		{"503", status(503), "status 503"},
		{"one byte too many", answer("application/json", strings.Repeat(" ", limit+1)), "larger"},
		{"cut, by its length", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			answer("application/json", `{}`)(w, r)
		}, "EOF"},
		{"cut, in a chunk", func(w http.ResponseWriter, r *http.Request) {
			answer("application/json", `{}`)(w, r)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, "EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv, c := serve(t, tt.handle)
			srv.Config.ErrorLog = log.New(io.Discard, "", 0)
			got, err := c.Get(t.Context(), srv.URL+"/?secret=canary")
			if err == nil || got != nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, %v, want an error with %q", got, err, tt.want)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("the error shows the query: %v", err)
			}
		})
	}
}

func status(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(n)
	}
}

func TestGetTakesJSONTypes(t *testing.T) {
	for _, contentType := range []string{
		"application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "application/jwk-set+json", "application/x.y+json",
	} {
		srv, c := serve(t, answer(contentType, strings.Repeat(" ", limit)))
		if _, err := c.Get(t.Context(), srv.URL); err != nil {
			t.Errorf("%s: %v", contentType, err)
		}
	}
}

// No redirect is followed, whatever its status, its target and the client's own
// policy.
func TestASVS_15_3_2_Redirects(t *testing.T) {
	var reached atomic.Int32
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(target.Close)
	for _, code := range []int{300, 301, 302, 303, 304, 305, 307, 308, 399} {
		for _, location := range []string{target.URL, "/other", "//" + target.Listener.Addr().String(), "http://169.254.169.254/", "file:///etc/passwd", ""} {
			srv, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/other" {
					reached.Add(1)
				}
				w.Header().Set("Location", location)
				w.WriteHeader(code)
			})
			base := srv.Client()
			base.CheckRedirect = func(*http.Request, []*http.Request) error { return nil }
			c := fetch.New(base, time.Minute, limit)
			if _, err := c.Get(t.Context(), srv.URL); !errors.Is(err, fetch.ErrRedirect) {
				t.Errorf("%d to %q: got %v, want ErrRedirect", code, location, err)
			}
			if base.CheckRedirect == nil {
				t.Error("the base client was changed")
			}
		}
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}
}

// An http.Client shows a Location that it can't read in its error. What was sent must
// not come out there.
func TestLocationIsNotShown(t *testing.T) {
	for _, location := range []string{"https://id.example/%zz?token=canary", "%canary", "http://[canary", "https://id.example/canary"} {
		header := http.Header{"Location": {location}, "Content-Type": {"application/json"}}
		c := fetch.New(&http.Client{Transport: tripper(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 302, Header: header, Body: http.NoBody, Request: r}, nil
		})}, time.Minute, limit)
		for range 2 {
			if _, err := c.Get(t.Context(), "https://id.example/"); !errors.Is(err, fetch.ErrRedirect) || strings.Contains(err.Error(), "canary") {
				t.Errorf("to %q: got %v, want ErrRedirect and nothing of it", location, err)
			}
		}
		if header.Get("Location") != location {
			t.Error("the header of the transport was changed")
		}
	}
}

// A header is bounded too, where the transport is not another's, whatever that of the
// base allows.
func TestHeadersAreBounded(t *testing.T) {
	var size atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for n := int64(0); n < size.Load(); n += 1 << 10 {
			w.Header().Add("X", strings.Repeat("a", 1<<10))
		}
		answer("application/json", `{}`)(w, r)
	}))
	t.Cleanup(srv.Close)
	bound := func(base *http.Client) int64 {
		public, err := fetch.PublicOnly(base)
		if err != nil {
			t.Fatal(err)
		}
		return public.Transport.(*http.Transport).MaxResponseHeaderBytes
	}
	for name, base := range map[string]*http.Client{"none": nil, "without a transport": {}} {
		c := fetch.New(base, time.Minute, limit)
		size.Store(32 << 10)
		if _, err := c.Get(t.Context(), srv.URL); err != nil {
			t.Errorf("%s: 32 KiB: %v", name, err)
		}
		size.Store(128 << 10)
		if _, err := c.Get(t.Context(), srv.URL); err == nil {
			t.Errorf("%s: 128 KiB were taken", name)
		}
		if got := bound(base); got != 64<<10 {
			t.Errorf("%s: PublicOnly takes headers of %d bytes", name, got)
		}
		c.CloseIdle()
	}
	for most, want := range map[int64]int64{0: 64 << 10, 1 << 20: 64 << 10, 1 << 10: 1 << 10} {
		if got := bound(&http.Client{Transport: &http.Transport{MaxResponseHeaderBytes: most}}); got != want {
			t.Errorf("of %d bytes: PublicOnly takes %d, want %d", most, got, want)
		}
	}
}

// A body without an end is read up to the limit and not further.
func TestCVE_2026_26998_EndlessReply(t *testing.T) {
	for _, tt := range []struct {
		name string
		wrap func(http.ResponseWriter) io.Writer
	}{
		{"plain", func(w http.ResponseWriter) io.Writer { return w }},
		{"compressed", func(w http.ResponseWriter) io.Writer {
			w.Header().Set("Content-Encoding", "gzip")
			return gzip.NewWriter(w)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			done := make(chan int, 1)
			srv, c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				body, n := tt.wrap(w), 0
				chunk := make([]byte, 64<<10)
				for n < 1<<30 {
					k, err := body.Write(chunk)
					n += k
					if err != nil {
						break
					}
				}
				done <- n
			})
			if _, err := c.Get(t.Context(), srv.URL); !errors.Is(err, fetch.ErrTooLarge) {
				t.Fatalf("got %v, want ErrTooLarge", err)
			}
			if tt.name == "plain" {
				if n := <-done; n == 1<<30 {
					t.Error("1 GiB was sent")
				}
			}
		})
	}
}

// tripper is a transport in this process.
type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// reader is a body that blocks until its request's context ends.
type reader struct{ ctx context.Context }

func (r reader) Read([]byte) (int, error) { <-r.ctx.Done(); return 0, r.ctx.Err() }
func (reader) Close() error               { return nil }

func TestTimeoutBoundsTheWholeExchange(t *testing.T) {
	for name, slow := range map[string]tripper{
		"no answer": func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() },
		"no body": func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: reader{r.Context()}}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := fetch.New(&http.Client{Transport: slow, Timeout: time.Hour}, 5*time.Second, limit)
				start := time.Now()
				_, err := c.Get(t.Context(), "https://id.example/")
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 5*time.Second {
					t.Errorf("got %v after %v, want DeadlineExceeded after 5s", err, time.Since(start))
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				start = time.Now()
				if _, err := c.Get(ctx, "https://id.example/"); err == nil || time.Since(start) != time.Second {
					t.Errorf("got %v after %v, want an error after the caller's second", err, time.Since(start))
				}
			})
		})
	}
}

// early is a body that ends in good order when its request is over.
type early struct{ ctx context.Context }

func (e early) Read([]byte) (int, error) { <-e.ctx.Done(); return 0, io.EOF }
func (early) Close() error               { return nil }

func TestAnAnswerThatEndsWithItsTimeIsNotWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fetch.New(&http.Client{Transport: tripper(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: early{r.Context()}}, nil
		})}, time.Second, limit)
		if got, err := c.Get(t.Context(), "https://id.example/"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, %v, want DeadlineExceeded", got, err)
		}
	})
}

func TestASVS_12_3_2_SelfSigned(t *testing.T) {
	var reached atomic.Int32
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	for name, base := range map[string]*http.Client{"none given": nil, "the zero client": {}} {
		if _, err := fetch.New(base, time.Minute, limit).Get(t.Context(), srv.URL); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s: got %v, want an error about the certificate", name, err)
		}
	}
	if reached.Load() != 0 {
		t.Error("the request was sent")
	}
}

func TestTheJarOfTheBaseIsUsed(t *testing.T) {
	srv, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
		answer("application/json", r.Header.Get("Cookie"))(w, r)
	})
	base := srv.Client()
	base.Jar, _ = cookiejar.New(nil)
	c := fetch.New(base, time.Minute, limit)
	for i, want := range []string{"", "a=b"} {
		if got, err := c.Get(t.Context(), srv.URL); err != nil || string(got.Body) != want {
			t.Errorf("request %d: got %q, %v, want %q", i, got.Body, err, want)
		}
	}
}

func TestGetOfNoURL(t *testing.T) {
	if _, err := fetch.New(nil, time.Minute, limit).Get(t.Context(), "https://id.example/%zz?secret=canary"); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("got %v, want an error that does not show the URL", err)
	}
}

func TestASVS_1_3_6_CheckURL(t *testing.T) {
	for _, tt := range []struct {
		url                   string
		allowed, withInsecure bool
	}{
		{"https://id.example", true, true},
		{"https://id.example:8443/a/b?c=d", true, true},
		{"https://[2001:db8::1]/", true, true},
		{"HTTPS://id.example", true, true},
		{"http://id.example", false, true},
		{"http://10.0.0.1/", false, true},
		{"http://localhost:8080", true, true},
		{"http://LOCALHOST", true, true},
		{"http://127.0.0.1/", true, true},
		{"http://127.9.9.9/", true, true},
		{"http://[::1]/", true, true},
		{"http://[::ffff:127.0.0.1]/", true, true},
		{"http://localhost.example/", false, true},
		{"http://127.0.0.1.example/", false, true},
		{"http://2130706433/", false, true},
		{"", false, false},
		{"id.example", false, false},
		{"//id.example/", false, false},
		{"/keys", false, false},
		{"https:", false, false},
		{"https://%EF%BD%8Cocalhost/", false, false}, // a wide l
		{"https://127%E3%80%820%E3%80%820%E3%80%821/", false, false},
		{"https://", false, false},
		{"https:///keys", false, false},
		{"https://:443/", false, false},
		{"https:id.example", false, false},
		{"file:///etc/passwd", false, false},
		{"ftp://id.example/", false, false},
		{"gopher://id.example/", false, false},
		{"unix:/run/sock", false, false},
		{"https://alice@id.example/", false, false},
		{"https://alice:pass@id.example/", false, false},
		{"https://id.example/#a", false, false},
		{"https://id.example/#", false, false},
		{"https://id.example/a b", false, false},
		{"https://id.example/\r\nHost: evil", false, false},
		{"https://id.example/%zz", false, false},
		{"https://id.example/\"", false, false},
		{"https://id.example\\@evil.example/", false, false},
		{"https://id.éxample/", false, false},
		{"https://id.example/" + strings.Repeat("a", 2030), false, false},
	} {
		for _, insecure := range []bool{false, true} {
			want := tt.allowed || insecure && tt.withInsecure
			if err := fetch.CheckURL(tt.url, insecure); (err == nil) != want {
				t.Errorf("%.60q, insecure %t: got %v, want allowed %t", tt.url, insecure, err, want)
			}
		}
	}
}

func TestRFC9111_4_2_Freshness(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, tt := range []struct {
		name   string
		cache  []string
		age    string
		want   time.Duration
		wantOK bool
	}{
		{"nothing", nil, "", 0, false},
		{"nothing, with an age", nil, "10", 0, false},
		{"other directives", []string{"public, must-revalidate, s-maxage=60"}, "", 0, false},
		{"max-age", []string{"max-age=600"}, "", 10 * time.Minute, true},
		{"among others", []string{"public,max-age=600 , must-revalidate"}, "", 10 * time.Minute, true},
		{"upper case", []string{"Max-Age=600"}, "", 10 * time.Minute, true},
		{"quoted", []string{`max-age="600"`}, "", 10 * time.Minute, true},
		{"two lines", []string{"max-age=600", "max-age=60"}, "", time.Minute, true},
		{"twice", []string{"max-age=60, max-age=600"}, "", time.Minute, true},
		{"less its age", []string{"max-age=600"}, "100", 500 * time.Second, true},
		{"older than that", []string{"max-age=600"}, "601", 0, true},
		{"an age that is none", []string{"max-age=600"}, "-1", 10 * time.Minute, true},
		{"no-store", []string{"no-store"}, "", 0, true},
		{"no-store beats", []string{"max-age=600, No-Store"}, "", 0, true},
		{"no-cache on another line", []string{"max-age=600", "no-cache"}, "", 0, true},
		{"zero", []string{"max-age=0"}, "", 0, true},
		{"negative", []string{"max-age=-1"}, "", 0, true},
		{"no number", []string{"max-age=soon"}, "", 0, true},
		{"empty", []string{"max-age"}, "", 0, true},
		{"fraction", []string{"max-age=1.5"}, "", 0, true},
		{"beyond a duration", []string{"max-age=9999999999999"}, "", year, true},
		{"beyond 64 bits", []string{"max-age=" + strings.Repeat("9", 100)}, "", year, true},
		{"age beyond 64 bits", []string{"max-age=600"}, strings.Repeat("9", 100), 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Header{"Cache-Control": tt.cache}
			if tt.age != "" {
				h.Set("Age", tt.age)
			}
			if got, ok := fetch.Freshness(h); got != tt.want || ok != tt.wantOK {
				t.Errorf("got %v, %t, want %v, %t", got, ok, tt.want, tt.wantOK)
			}
		})
	}
}

func TestOWASP_API7_IsPublic(t *testing.T) {
	for addr, want := range map[string]bool{
		"8.8.8.8": true, "1.1.1.1": true, "172.15.255.255": true, "172.32.0.0": true, "100.63.255.255": true, "100.128.0.0": true,
		"2606:4700::1111": true, "2a00:1450::1": true, "::ffff:8.8.8.8": true,
		"0.0.0.0": false, "0.1.2.3": false, "10.0.0.1": false, "127.0.0.1": false, "127.255.255.255": false, "169.254.169.254": false,
		"172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false, "100.64.0.1": false, "100.127.255.255": false,
		"192.0.0.1": false, "192.0.2.1": false, "198.18.0.1": false, "198.19.255.255": false, "198.51.100.1": false, "203.0.113.1": false,
		"224.0.0.1": false, "239.255.255.255": false, "240.0.0.1": false, "255.255.255.255": false,
		"::": false, "::1": false, "fe80::1": false, "fe80::1%eth0": false, "fc00::1": false, "fd00:ec2::254": false, "ff02::1": false, "fec0::1": false,
		"::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::127.0.0.1": false, "64:ff9b::7f00:1": false, "64:ff9b::808:808": false,
		"64:ff9b:1::1": false, "100::1": false, "2001::1": false, "2001:db8::1": false, "2002:7f00:1::": false, "3fff::1": false, "5f00::1": false,
		"2606:4700::1111%eth0": false,
	} {
		if got := fetch.IsPublic(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: got %t, want %t", addr, got, want)
		}
	}
	if fetch.IsPublic(netip.Addr{}) {
		t.Error("the zero address is public")
	}
}

// A name that resolves to an address in this network is refused when it is
// dialled, and a proxy does not get around that.
func TestASVS_1_3_6_PrivateAddresses(t *testing.T) {
	var reached atomic.Int32
	srv := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(srv.Close)
	_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	withProxy := srv.Client()
	proxy, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	withProxy.Transport.(*http.Transport).Proxy = http.ProxyURL(proxy)
	var dialer net.Dialer
	withDialer := &http.Client{Transport: &http.Transport{
		DialContext:    dialer.DialContext,
		DialTLSContext: dialer.DialContext,
	}}
	for name, base := range map[string]*http.Client{"none": nil, "one that trusts the server": srv.Client(), "with a proxy": withProxy, "with a dialer": withDialer} {
		public, err := fetch.PublicOnly(base)
		if err != nil {
			t.Fatal(err)
		}
		for _, host := range []string{"localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"} {
			_, err := fetch.New(public, time.Minute, limit).Get(t.Context(), "https://"+host+":"+port)
			if host == "[::1]" && errors.Is(err, syscall.EAFNOSUPPORT) {
				continue // there is no IPv6 here
			}
			if !errors.Is(err, fetch.ErrAddress) {
				t.Errorf("%s, %s: got %v, want ErrAddress", name, host, err)
			}
		}
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// What is looked at when it is dialled, whether there is IPv6 here or not.
func TestASVS_1_3_6_DialledAddresses(t *testing.T) {
	for _, tt := range []struct {
		network, address string
		want             bool
	}{
		{"tcp4", "8.8.8.8:443", true},
		{"tcp6", "[2606:4700::1111]:443", true},
		{"tcp6", "[::ffff:8.8.8.8]:443", true},
		{"tcp4", "127.0.0.1:443", false},
		{"tcp6", "[::1]:443", false},
		{"tcp6", "[::ffff:127.0.0.1]:443", false},
		{"tcp6", "[::ffff:169.254.169.254]:80", false},
		{"tcp6", "[fe80::1%eth0]:443", false},
		{"tcp6", "[64:ff9b::7f00:1]:443", false},
		{"udp4", "8.8.8.8:53", false},
		{"unix", "/run/docker.sock", false},
		{"tcp4", "", false},
	} {
		if err := fetch.ControlPublic(tt.network, tt.address); (err == nil) != tt.want || err != nil && !errors.Is(err, fetch.ErrAddress) {
			t.Errorf("%s %s: got %v, want it allowed: %t", tt.network, tt.address, err, tt.want)
		}
	}
}

func TestOWASP_API7_IsInside(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LOCALHOST": true, "localhost.": true, "a.localhost": true, "a.LocalHost.": true,
		"127.0.0.1": true, "10.0.0.1": true, "169.254.169.254": true, "0.0.0.0": true, "::1": true, "::": true, "fe80::1%eth0": true, "fd00:ec2::254": true,
		"::ffff:127.0.0.1": true, "64:ff9b::808:808": true, "127.0.0.1.": true,
		"\uff4cocalhost": true, "127.0.0.\uff11": true, "127\u30020\u30020\u30021": true, "169.254.169.25\u2463": true, "localhost\u3002": true, "127.0.0.1..": true,
		"127.1": true, "2130706433": true, "0x7f000001": true, "0X7F.1": true, "0177.0.0.1": true, "0x": true,
		"id.example": false, "localhost.example": false, "notlocalhost": false, "127.0.0.1.example": false, "10.example": false, "a1": false, "x0f": false, "0xg": false,
		"8.8.8.8": false, "2606:4700::1111": false, "::ffff:8.8.8.8": false, "id.example.": false, "": false,
	} {
		if got := fetch.IsInside(host); got != want {
			t.Errorf("%q: got %t, want %t", host, got, want)
		}
	}
}

func TestPublicOnlyLeavesItsBaseAlone(t *testing.T) {
	srv, _ := serve(t, answer("application/json", `{}`))
	base := srv.Client()
	public, err := fetch.PublicOnly(base)
	if err != nil {
		t.Fatal(err)
	}
	if public == base || public.Transport == base.Transport || public.Transport == http.DefaultTransport {
		t.Error("it shares what it changes")
	}
	if _, err := fetch.New(base, time.Minute, limit).Get(t.Context(), srv.URL); err != nil {
		t.Errorf("the base client: %v", err)
	}
	if got := public.Transport.(*http.Transport).TLSClientConfig.RootCAs; got == nil {
		t.Error("the roots of the base are lost")
	}
	if _, err := fetch.PublicOnly(&http.Client{Transport: tripper(nil)}); err == nil || !strings.Contains(err.Error(), "transport") {
		t.Errorf("another transport: got %v, want an error", err)
	}
	if _, err := fetch.PublicOnly(&http.Client{Transport: (*http.Transport)(nil)}); err == nil {
		t.Error("a nil transport: got no error")
	}
}

func FuzzFreshness(f *testing.F) {
	for _, s := range []string{"max-age=600", "no-store", `max-age="1"`, "max-age=-1,max-age=9999999999999999999999", "=,,=;"} {
		f.Add(s, "10")
	}
	f.Fuzz(func(t *testing.T, cache, age string) {
		got, ok := fetch.Freshness(http.Header{"Cache-Control": {cache}, "Age": {age}})
		if got < 0 || got > 365*24*time.Hour || !ok && got != 0 {
			t.Errorf("got %v, %t", got, ok)
		}
		if strings.EqualFold(strings.TrimSpace(cache), "no-store") && (got != 0 || !ok) {
			t.Errorf("no-store is fresh for %v", got)
		}
	})
}

func FuzzCheckURL(f *testing.F) {
	for _, s := range []string{"https://id.example/a?b", "http://127.0.0.1", "https://a@b/", "https://[::1%25eth0]/", "https://a\\b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if fetch.CheckURL(raw, false) != nil {
			return
		}
		r, err := http.NewRequest(http.MethodGet, raw, nil)
		if err != nil {
			t.Fatalf("%q can't be asked: %v", raw, err)
		}
		u := r.URL
		if u.Host == "" || u.User != nil || u.Fragment != "" || u.Scheme != "https" && (u.Scheme != "http" || !fetch.IsLoopback(u.Hostname())) {
			t.Errorf("%q is allowed: %#v", raw, u)
		}
	})
}
