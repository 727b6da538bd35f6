package sallyport_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// FuzzStack sends whatever net/http takes for a request through the usual chain: nothing is the
// server's fault, each answer has the fields of a safe one, and each refusal is a problem that
// says its status.
func FuzzStack(f *testing.F) {
	for _, s := range []string{
		"POST /items HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nAuthorization: Bearer TOKEN\r\nContent-Length: 58\r\n\r\n" + orderBody,
		"POST /items HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nAuthorization: Bearer TOKEN\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"na\n\r\n0\r\n\r\n",
		"GET /items HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n",
		"POST /items HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YTpi\r\nAuthorization: Bearer x\r\n\r\n",
		"POST https://evil/items?a=%zz HTTP/1.0\r\nOrigin: null\r\nX-Forwarded-For: ::1\r\nForwarded: for=_a\r\n\r\n",
		"CONNECT items:443 HTTP/1.1\r\nHost: items:443\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: a\r\nAccept-Language: de\r\nAccept: */*;q=0\r\nTraceparent: 00-x\r\n\r\n",
		"HEAD //items/%2e%2e/..;/ HTTP/1.1\r\nHost: a\r\nX-Request-Id: \x01\r\nContent-Encoding: gzip\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	old := slog.Default()
	var log bytes.Buffer
	slog.SetDefault(slog.New(slog.NewJSONHandler(&log, nil)))
	f.Cleanup(func() { slog.SetDefault(old) })
	h, token := stack(f, func(next http.Handler) http.Handler { return next })
	f.Fuzz(func(t *testing.T, sent []byte) {
		log.Reset()
		raw := strings.ReplaceAll(string(sent), "TOKEN", token)
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
		if err != nil {
			return
		}
		r.RemoteAddr = "192.0.2.1:1234"
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		resp := w.Result()
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode >= 500 {
			t.Fatalf("got %d %s", resp.StatusCode, body)
		}
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "X-Frame-Options": "DENY",
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; object-src 'none'; form-action 'none'",
		} {
			if got := resp.Header[name]; len(got) != 1 || got[0] != want {
				t.Fatalf("%d: %s is %q", resp.StatusCode, name, got)
			}
		}
		for name, values := range resp.Header {
			for _, v := range values {
				if strings.ContainsAny(v, "\r\n\x00") {
					t.Fatalf("%s is %q", name, v)
				}
			}
		}
		if strings.Contains(string(body)+log.String(), token) {
			t.Fatalf("the token is told: %s %s", body, log.String())
		}
		switch resp.StatusCode {
		case http.StatusUnauthorized:
			if len(resp.Header["Www-Authenticate"]) == 0 {
				t.Fatal("a 401 without a challenge")
			}
		case http.StatusMethodNotAllowed:
			if len(resp.Header["Allow"]) == 0 {
				t.Fatal("a 405 without Allow")
			}
		}
		if r.Method == http.MethodHead {
			if len(body) > 0 {
				t.Fatalf("the answer to HEAD has the body %s", body)
			}
			return
		}
		if resp.StatusCode >= 400 && resp.Header.Get("Content-Type") == "application/problem+json" {
			var p struct {
				Type, Title, Code string
				Status            int
			}
			if err := json.Unmarshal(body, &p); err != nil || p.Status != resp.StatusCode || p.Type == "" || p.Title == "" || p.Code == "" {
				t.Fatalf("got %d %s, %v", resp.StatusCode, body, err)
			}
		}
	})
}
