package browser_test

import (
	"context"
	"encoding/json"
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/cors"

	"github.com/sallyport/sallyport"
	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/transport"
)

// chromium returns the browser, or skips the test where there is none; in CI that is a
// failure.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("there is no chromium")
	}
	t.Skip("there is no chromium")
	return ""
}

// browse returns the command that has the browser load a page.
func browse(ctx context.Context, t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return exec.CommandContext(ctx, chromium(t), append([]string{ //nolint:gosec // found above
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--user-data-dir=" + t.TempDir(),
	}, args...)...)
}

// open has the browser load a page, run its scripts, and returns what it has become.
func open(t *testing.T, page string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := browse(ctx, t, "--virtual-time-budget=20000", "--dump-dom", page)
	var log strings.Builder
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("chromium: %v: %s", err, log.String())
	}
	return string(out)
}

var result = regexp.MustCompile(`(?s)<pre id="result">(.*?)</pre>`)

// results opens a page of the kind that page makes, and returns what its steps came to.
func results(t *testing.T, page string) map[string]string {
	t.Helper()
	dom := open(t, page)
	m := result.FindStringSubmatch(dom)
	if m == nil {
		t.Fatalf("the page has no result: %s", dom)
	}
	var got map[string]string
	if err := json.Unmarshal([]byte(html.UnescapeString(m[1])), &got); err != nil {
		t.Fatalf("%v in %s", err, m[1])
	}
	return got
}

// page makes a page of steps, each an expression of JavaScript by its name.
func page(steps map[string]string) http.HandlerFunc {
	var script strings.Builder
	for name, step := range steps {
		fmt.Fprintf(&script, "r[%q] = await %s;\n", name, step)
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprintf(w, `<!doctype html><pre id="result">{}</pre><script>
async function ask(url, options) {
	try {
		const response = await fetch(url, options);
		return response.type === 'opaque' ? 'opaque' : response.status + ' ' + await response.text();
	} catch (e) { return 'blocked'; }
}
function image(url) {
	return new Promise(done => {
		const i = new Image();
		i.onload = () => done('loaded');
		i.onerror = () => done('blocked');
		i.src = url;
	});
}
(async () => {
	const r = {};
	%s
	document.getElementById('result').textContent = JSON.stringify(r);
})();
</script>`, script.String())
	}
}

// An entered counts the requests that have come to a handler, by method and path.
type entered struct {
	mu    sync.Mutex
	count map[string]int
}

func (e *entered) say(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		e.count[r.Method+" "+r.URL.Path]++
		e.mu.Unlock()
		_, _ = fmt.Fprint(w, text)
	}
}

func (e *entered) of(request string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.count[request]
}

// A GIF of one pixel.
const pixel = "GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"

// A site is a server whose handlers may be set once its address is known.
type site struct {
	*httptest.Server
	mux *http.ServeMux
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{mux: http.NewServeMux()}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }))
	t.Cleanup(s.Close)
	return s
}

// at returns the URL of the site by another name of this machine, which is another site to a
// browser.
func (s *site) at(host string) string { return strings.Replace(s.URL, "127.0.0.1", host, 1) }

// The service is at 127.0.0.1, and the pages that ask it at localhost: another origin, and
// another site.
func TestWhatABrowserMayDo(t *testing.T) {
	chromium(t)
	service, allowed, other, behind := newSite(t), newSite(t), newSite(t), newSite(t)
	e := &entered{count: make(map[string]int)}

	discard := slog.New(slog.DiscardHandler)
	quiet := httperr.Recover(httperr.Config{Logger: discard, Audit: audit.Slog(discard)})
	secure := sallyport.Chain(quiet, transport.Secure(transport.Headers{}))
	crossOrigin := cors.New(cors.Options{
		AllowedOrigins: []string{allowed.at("localhost")}, AllowedMethods: []string{"GET", "PUT"}, AllowedHeaders: []string{"Authorization"},
	})
	service.mux.Handle("/data", crossOrigin.Handler(secure(e.say("data"))))
	service.mux.Handle("/form", sallyport.Chain(secure, transport.CSRF())(e.say("form")))
	service.mux.Handle("/private", sallyport.Chain(secure, transport.SameOrigin())(e.say("private")))
	service.mux.Handle("/guarded.gif", secure(e.say(pixel)))
	service.mux.Handle("/open.gif", e.say(pixel))
	target, err := url.Parse(behind.URL)
	if err != nil {
		t.Fatal(err)
	}
	behind.mux.Handle("/proxied.gif", secure(e.say(pixel)))
	service.mux.Handle("/proxied.gif", secure(httputil.NewSingleHostReverseProxy(target)))
	service.mux.Handle("/unguarded", e.say("unguarded"))
	service.mux.Handle("/self", page(map[string]string{
		"post":    `ask('/form', {method: 'POST', body: 'a=1'})`,
		"private": `ask('/private')`,
		"image":   `image('/guarded.gif')`,
	}))

	to := func(path string) string { return service.URL + path }
	allowed.mux.Handle("/", page(map[string]string{
		"get":          fmt.Sprintf(`ask(%q, {headers: {Authorization: 'Bearer x'}})`, to("/data")),
		"put":          fmt.Sprintf(`ask(%q, {method: 'PUT', headers: {Authorization: 'Bearer x'}})`, to("/data")),
		"delete":       fmt.Sprintf(`ask(%q, {method: 'DELETE'})`, to("/data")),
		"other header": fmt.Sprintf(`ask(%q, {headers: {'X-Other': 'x'}})`, to("/data")),
		"form":         fmt.Sprintf(`ask(%q, {method: 'POST', mode: 'no-cors', body: 'a=1', headers: {'Content-Type': 'text/plain'}})`, to("/form")),
		"private":      fmt.Sprintf(`ask(%q, {mode: 'no-cors'})`, to("/private")),
		"unguarded":    fmt.Sprintf(`ask(%q, {method: 'POST', mode: 'no-cors', body: 'a=1'})`, to("/unguarded")),
		"guarded":      fmt.Sprintf(`image(%q)`, to("/guarded.gif")),
		"open":         fmt.Sprintf(`image(%q)`, to("/open.gif")),
		"proxied":      fmt.Sprintf(`image(%q)`, to("/proxied.gif")),
	}))
	other.mux.Handle("/", page(map[string]string{
		"get": fmt.Sprintf(`ask(%q, {headers: {Authorization: 'Bearer x'}})`, to("/data")),
		"put": fmt.Sprintf(`ask(%q, {method: 'PUT'})`, to("/data")),
	}))

	for _, tt := range []struct {
		name, url string
		want      map[string]string
		entered   map[string]int
	}{
		{
			"an origin that CORS allows", allowed.at("localhost"),
			map[string]string{
				"get": "200 data", "put": "200 data", "delete": "blocked", "other header": "blocked",
				"form": "blocked", "private": "blocked", // refused, and their answers kept from the page
				"guarded": "blocked", "proxied": "blocked", "open": "loaded", "unguarded": "opaque",
			},
			map[string]int{"GET /data": 1, "PUT /data": 1, "DELETE /data": 0, "POST /form": 0, "GET /private": 0, "POST /unguarded": 1},
		},
		{
			"another origin", other.at("localhost"),
			map[string]string{"get": "blocked", "put": "blocked"},
			map[string]int{"PUT /data": 1}, // the one of above
		},
		{
			"its own", service.URL + "/self",
			map[string]string{"post": "200 form", "private": "200 private", "image": "loaded"},
			map[string]int{"POST /form": 1, "GET /private": 1},
		},
	} {
		got := results(t, tt.url)
		for name, want := range tt.want {
			if got[name] != want {
				t.Errorf("%s: %s: got %q, want %q", tt.name, name, got[name], want)
			}
		}
		for request, want := range tt.entered {
			if n := e.of(request); n != want {
				t.Errorf("%s: %s has come to the handler %d times, want %d", tt.name, request, n, want)
			}
		}
	}
}

// A page with the Content-Security-Policy of Secure runs no script, and stands in no frame.
func TestContentSecurityPolicy(t *testing.T) {
	chromium(t)
	s := newSite(t)
	secure := transport.Secure(transport.Headers{})
	hostile := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprint(w, `<!doctype html><p id="x">untouched</p><script>
document.getElementById('x').textContent = 'run';
if (parent !== window) parent.postMessage('framed', '*');
</script><img src="x" onerror="document.getElementById('x').textContent = 'run'">`)
	})
	s.mux.Handle("/open", hostile)
	s.mux.Handle("/guarded", secure(hostile))
	// A policy that allows the script leaves what forbids frames.
	s.mux.Handle("/unframed", transport.Secure(transport.Headers{
		ContentSecurityPolicy: "default-src 'none'; script-src 'unsafe-inline'; frame-ancestors 'none'",
	})(hostile))
	framing := func(path string) string {
		return `new Promise(done => {
			addEventListener('message', m => done(m.data), {once: true});
			const f = document.createElement('iframe');
			f.src = '` + path + `';
			document.body.append(f);
			setTimeout(() => done('blocked'), 3000);
		})`
	}
	s.mux.Handle("/frames", page(map[string]string{"open": framing("/open")}))
	s.mux.Handle("/frames-guarded", page(map[string]string{"unframed": framing("/unframed")}))

	for path, want := range map[string]string{"/open": ">run<", "/guarded": ">untouched<", "/unframed": ">run<"} {
		if dom := open(t, s.URL+path); !strings.Contains(dom, want) {
			t.Errorf("%s: got %s, want %s", path, dom, want)
		}
	}
	if got := results(t, s.URL+"/frames"); got["open"] != "framed" {
		t.Errorf("a page without a policy, in a frame: got %v", got)
	}
	if got := results(t, s.URL+"/frames-guarded"); got["unframed"] != "blocked" {
		t.Errorf("a page that forbids frames, in a frame: got %v", got)
	}
}

// A page whose policy has a nonce runs the script that has it, and none that was slipped in.
func TestNonce(t *testing.T) {
	chromium(t)
	s := newSite(t)
	s.mux.Handle("/", transport.Secure(transport.Headers{})(transport.Page(transport.CSP{Nonce: true})(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = fmt.Fprintf(w, `<!doctype html><p id="own">untouched</p><p id="other">untouched</p>
<script nonce="%s">document.getElementById('own').textContent = 'run';</script>
<script>document.getElementById('other').textContent = 'run';</script>
<script nonce="AAAAAAAAAAAAAAAAAAAAAA==">document.getElementById('other').textContent = 'run';</script>
<script src="data:text/javascript,document.getElementById('other').textContent='run'"></script>
<img src="x" onerror="document.getElementById('other').textContent = 'run'">`, html.EscapeString(transport.Nonce(r.Context())))
		}))))
	dom := open(t, s.URL)
	for _, want := range []string{`<p id="own">run</p>`, `<p id="other">untouched</p>`} {
		if !strings.Contains(dom, want) {
			t.Errorf("got %s, want %s", dom, want)
		}
	}
}
