package sallyport_test

import (
	"bufio"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sallyport/sallyport"
	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/apikey"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/transport"
)

// ASVS.md names tests; each of them is there.
func TestTheTestsOfASVSExist(t *testing.T) {
	list, err := os.ReadFile("ASVS.md")
	if err != nil {
		t.Fatal(err)
	}
	have := make(map[string]bool)
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err = filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path) //nolint:gosec // of this project
		for _, m := range declared.FindAllSubmatch(b, -1) {
			have[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(list)) {
		cells := strings.Split(line, "|")
		if len(cells) < 5 || !regexp.MustCompile(`^ (\d|API|CVE|GO)`).MatchString(cells[1]) {
			continue
		}
		rows++
		names := regexp.MustCompile("`([^`]*)`").FindAllStringSubmatch(cells[len(cells)-2], -1)
		if len(names) == 0 {
			t.Errorf("%s: no test", cells[1])
		}
		for _, name := range names {
			if !have[name[1]] {
				t.Errorf("%s: there is no %s", cells[1], name[1])
			}
		}
	}
	if rows < 140 {
		t.Errorf("%d rows were read", rows)
	}
}

// The patterns of rules, and our own, are Go's, whose time is linear in the text.
func TestASVS_1_3_12_NoBacktracking(t *testing.T) {
	out := goList(t, "-deps", "./...")
	if !strings.Contains(out, "\nregexp\n") {
		t.Fatalf("go list says %s", out)
	}
	for path := range strings.FieldsSeq(out) {
		if (strings.Contains(path, "regexp") || strings.Contains(path, "pcre")) && path != "regexp" && !strings.HasPrefix(path, "regexp/") && !strings.HasPrefix(path, "internal/") {
			t.Errorf("%s is linked", path)
		}
	}
}

// A cookie that nobody sets needs no attributes.
func TestASVS_3_3_1_NoDoorSetsACookie(t *testing.T) {
	h, token := stack(t, func(next http.Handler) http.Handler { return next })
	page := transport.Secure(transport.Headers{})(transport.Page(transport.CSP{Nonce: true})(h))
	for name, change := range map[string]func(r *http.Request){
		"what is let in": func(*http.Request) {},
		"no credentials": func(r *http.Request) { r.Header.Del("Authorization") },
		"another origin": func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"not valid":      func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("{}")) },
		"not there":      func(r *http.Request) { r.URL.Path = "/other" },
		"a cookie":       func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "session", Value: "x"}) },
	} {
		r := post(token)
		change(r)
		w := httptest.NewRecorder()
		page.ServeHTTP(w, r)
		if got := w.Header()["Set-Cookie"]; got != nil {
			t.Errorf("%s: %d with %q", name, w.Code, got)
		}
	}
	set := regexp.MustCompile(`SetCookie\(|(?:Set|Add)\("Set-Cookie"|\["Set-Cookie"\] *=`)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (path == "internal" || path == "examples"):
			return filepath.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		b, err := os.ReadFile(path) //nolint:gosec // of this project
		if set.Match(b) {
			t.Errorf("%s sets a cookie", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Browsers open WebSockets to any host, with its cookies, and no CORS keeps them from it: the
// handshake passes the doors like every other request, and what is let in can take over the
// connection below them.
func TestASVS_4_4_2_WebSocketHandshake(t *testing.T) {
	key, record, err := apikey.Mint(apikey.MintConfig{Subject: "u-1"})
	if err != nil {
		t.Fatal(err)
	}
	store, err := apikey.NewMemoryStore(record)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := apikey.New(apikey.Config{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	entered := 0
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entered++
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
		line, _ := rw.ReadString('\n')
		_, _ = io.WriteString(conn, line)
	})
	discard := slog.New(slog.DiscardHandler)
	srv := httptest.NewServer(sallyport.Chain(
		httperr.Recover(httperr.Config{Logger: discard, Audit: audit.Slog(discard)}),
		transport.Secure(transport.Headers{}), transport.SameOrigin(), auth.Require(keys),
	)(echo))
	defer srv.Close()
	for _, tt := range []struct {
		name, fields string
		status       int
	}{
		{"of another site", "Origin: https://evil.example\r\nSec-Fetch-Site: cross-site\r\nX-API-Key: " + key + "\r\n", 403},
		{"of another origin, by an old browser", "Origin: https://evil.example\r\nX-API-Key: " + key + "\r\n", 403},
		{"without credentials", "Sec-Fetch-Site: same-origin\r\n", 401},
		{"with others'", "Sec-Fetch-Site: same-origin\r\nX-API-Key: " + key[1:] + "\r\n", 401},
		{"of its own pages", "Sec-Fetch-Site: same-origin\r\nX-API-Key: " + key + "\r\n", 101},
	} {
		t.Run(tt.name, func(t *testing.T) {
			entered = 0
			conn, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
				"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"+tt.fields+"\r\nhello\n"); err != nil {
				t.Fatal(err)
			}
			in := bufio.NewReader(conn)
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != tt.status || (entered > 0) != (tt.status == 101) {
				t.Errorf("got %d, entered %d times; want %d", resp.StatusCode, entered, tt.status)
			}
			if tt.status == 101 {
				if line, err := in.ReadString('\n'); line != "hello\n" {
					t.Errorf("got %q, %v through the connection", line, err)
				}
			}
			_ = resp.Body.Close()
		})
	}
}
