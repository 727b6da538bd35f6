package transport_test

import (
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/transport"
)

// The port that redirects answers challenges, and nothing of what autocert knows gets out of
// it.
func TestRFC8555_8_3_Challenges(t *testing.T) {
	out := &logs{lines: make(chan string, 100)}
	dir := t.TempDir()
	srv, err := transport.NewServer("127.0.0.1:0", ok, transport.ServerConfig{
		Autocert:     &transport.Autocert{Hosts: []string{"api.example.com"}, CacheDir: dir, AcceptTOS: true},
		RedirectAddr: "127.0.0.1:0", RedirectHost: "api.example.com", Logger: slog.New(slog.NewTextHandler(out, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	// Where autocert keeps the answers that other processes may be asked for.
	if err := os.WriteFile(filepath.Join(dir, "token-1_+http-01"), []byte("token-1_.thumbprint"), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, srv)
	addr := addrIn(t, <-out.lines)
	const path = "/.well-known/acme-challenge/"
	for _, tt := range []struct {
		name, method, host, target string
		credentials                bool
		status                     int
		body                       string
	}{
		{"a challenge", "GET", "api.example.com", path + "token-1_", false, 200, "token-1_.thumbprint"},
		{"one with credentials", "GET", "api.example.com", path + "token-1_", true, 403, "https_required"},
		{"one by another method", "POST", "api.example.com", path + "token-1_", false, 403, "https_required"},
		{"another challenge", "GET", "api.example.com", path + "token-2", false, 404, "not_found"},
		{"another host", "GET", "evil.example", path + "token-1_", false, 404, "not_found"},
		{"no host name", "GET", "a<b", path + "token-1_", false, 404, "not_found"},
		{"a long token", "GET", "api.example.com", path + strings.Repeat("a", 128), false, 404, "not_found"},
		{"a token that is too long", "GET", "api.example.com", path + strings.Repeat("a", 129), false, 308, ""},
		{"a token with a NUL", "GET", "api.example.com", path + "%00", false, 308, ""},
		{"a token with a slash", "GET", "api.example.com", path + "..%2ftoken-1_", false, 308, ""},
		{"a token that is not ASCII", "GET", "api.example.com", path + "%c3%a9", false, 308, ""},
		{"no token", "GET", "api.example.com", path, false, 308, ""},
		{"anything else", "GET", "api.example.com", "/", false, 308, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tt.method, "http://"+addr+tt.target, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Host = tt.host
			if tt.credentials {
				req.Header.Set("Authorization", "Bearer x")
			}
			resp, err := client(t, nil, false).Transport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			b, err := io.ReadAll(resp.Body)
			if body := string(b); err != nil || resp.StatusCode != tt.status || !strings.Contains(body, tt.body) ||
				strings.Contains(body, dir) || strings.Contains(body, "autocert") || strings.Contains(body, "evil") {
				t.Errorf("got %d %s, %v, want %d with %s", resp.StatusCode, body, err, tt.status, tt.body)
			}
			if contentType := resp.Header.Get("Content-Type"); tt.status >= 400 && contentType != "application/problem+json" {
				t.Errorf("the type is %s", contentType)
			}
		})
	}
}
