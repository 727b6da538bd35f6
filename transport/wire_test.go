package transport_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/transport"
)

// What net/http decides before any door, as the package's documentation tells it.
// A request that two servers could read in two ways must not get to a handler; of
// the one kind that does, the field which was not used is gone.
func TestASVS_4_2_1_Framing(t *testing.T) {
	h := httperr.Handler(func(w http.ResponseWriter, r *http.Request) error {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return httperr.New(http.StatusBadRequest, "body_unreadable", "The body is not what was announced.").WithCause(err)
		}
		_, err = fmt.Fprintf(w, "%d %q %q", r.ContentLength, r.Header["Content-Length"], body)
		return err
	})
	srv, _ := newServer(t, h, transport.ServerConfig{AllowInsecureHTTP: true})
	addr := start(t, srv).addr
	for _, tt := range []struct {
		name, rest string // of the request, after Host
		status     int
		body       string
	}{
		{"Content-Length", "Content-Length: 3\r\n\r\nabc", 200, `3 ["3"] "abc"`},
		{"chunked", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 200, `-1 [] "abc"`},
		{"both", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 200, `-1 [] "abc"`},
		{"two Content-Length that differ", "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400, ""},
		{"a signed Content-Length", "Content-Length: +3\r\n\r\nabc", 400, ""},
		{"a negative Content-Length", "Content-Length: -3\r\n\r\nabc", 400, ""},
		{"a list as Content-Length", "Content-Length: 3, 4\r\n\r\nabc", 400, ""},
		{"a blank before the colon", "Content-Length : 3\r\n\r\nabc", 400, ""},
		{"NUL in a value", "X-A: a\x00b\r\n\r\n", 400, ""},
		{"CR in a value", "X-A: a\rb\r\n\r\n", 400, ""},
		{"an unknown coding", "Transfer-Encoding: xchunked\r\n\r\n", 501, ""},
		{"chunked, identity", "Transfer-Encoding: chunked, identity\r\n\r\n", 501, ""},
		{"two codings on two lines", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", 501, ""},
		{"bare LF after a chunk's size", "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", 400, ""},
		{"a signed chunk size", "Transfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n", 400, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp, body := exchange(t, addr, "POST / HTTP/1.1\r\nHost: localhost\r\n"+tt.rest)
			if resp.StatusCode != tt.status || tt.status == 200 && body != tt.body {
				t.Errorf("got %d %s, want %d %s", resp.StatusCode, body, tt.status, tt.body)
			}
		})
	}
}

// A body that is announced too large is refused before the client sends it (RFC
// 9110, section 10.1.1), and the connection does not wait for it.
func TestRFC9110_10_1_1_ExpectContinue(t *testing.T) {
	read := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	srv, _ := newServer(t, httperr.Recover()(transport.MaxBody(10)(read)), transport.ServerConfig{AllowInsecureHTTP: true})
	addr := start(t, srv).addr
	const expect = "POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
	if resp, body := exchange(t, addr, fmt.Sprintf(expect, 11)); resp.StatusCode != 413 || !strings.Contains(body, "body_too_large") {
		t.Errorf("too large: got %d %s, want 413", resp.StatusCode, body)
	}
	if resp, _ := exchange(t, addr, fmt.Sprintf(expect, 10)); resp.StatusCode != 100 {
		t.Errorf("not too large: got %d, want 100", resp.StatusCode)
	}
}
