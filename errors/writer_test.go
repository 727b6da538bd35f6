package errors_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	httperr "github.com/sallyport/sallyport/errors"
)

func TestFlushThroughTheWriter(t *testing.T) {
	for _, proto := range protocols {
		t.Run(proto.name, func(t *testing.T) {
			read := make(chan struct{})
			s := serve(t, new(witness).recover(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, "first")
				w.(http.Flusher).Flush()
				select { // the client has the first part before the second is written
				case <-read:
				case <-r.Context().Done():
				}
				_, _ = io.WriteString(w, "second")
				if err := http.NewResponseController(w).Flush(); err != nil {
					t.Errorf("Flush: %v", err)
				}
			})), proto.http2)
			resp, err := s.Client().Get(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			first := make([]byte, 5)
			if _, err := io.ReadFull(resp.Body, first); err != nil {
				t.Fatal(err)
			}
			close(read)
			rest, err := io.ReadAll(resp.Body)
			if err != nil || string(first)+string(rest) != "firstsecond" {
				t.Errorf("got %q, %q, %v", first, rest, err)
			}
		})
	}
}

// mute is a ResponseWriter that can do nothing but write.
type mute struct {
	header http.Header
	status int
	bytes.Buffer
}

func (m *mute) Header() http.Header { return m.header }
func (m *mute) WriteHeader(status int) {
	if m.status == 0 {
		m.status = status
	}
}
func (m *mute) Write(b []byte) (int, error) { return m.Buffer.Write(b) }

// narrow hides everything of a ResponseWriter but its three methods.
type narrow struct{ http.ResponseWriter }

func TestWhatTheConnectionCannotDo(t *testing.T) {
	m := &mute{header: http.Header{}}
	new(witness).recover(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		if err := c.Flush(); !errors.Is(err, http.ErrNotSupported) {
			t.Errorf("Flush: got %v, want http.ErrNotSupported", err)
		}
		w.(http.Flusher).Flush()
		if _, _, err := c.Hijack(); !errors.Is(err, http.ErrNotSupported) {
			t.Errorf("Hijack: got %v, want http.ErrNotSupported", err)
		}
		if err := c.SetReadDeadline(time.Time{}); !errors.Is(err, http.ErrNotSupported) {
			t.Errorf("SetReadDeadline: got %v, want http.ErrNotSupported", err)
		}
		httperr.Write(w, r, httperr.New(404, "not_found", "")) // none of that has begun the answer
	})).ServeHTTP(narrow{m}, httptest.NewRequest(http.MethodGet, "/", nil))
	if m.status != 404 || members(t, m.Bytes())["code"] != "not_found" {
		t.Errorf("got %d %s", m.status, m)
	}
}

func TestHijackIsNotPossibleOverHTTP2(t *testing.T) {
	s := serve(t, new(witness).recover(httperr.Handler(func(w http.ResponseWriter, _ *http.Request) error {
		_, _, err := w.(http.Hijacker).Hijack()
		return httperr.New(501, "no_hijack", "").WithCause(err)
	})), true)
	if got := s.do(t, http.MethodGet, "/", nil); got.err != nil || got.StatusCode != 501 {
		t.Errorf("got %v, %v: a Hijack that failed has not begun the answer", got.Response, got.err)
	}
}

// brokenFlush is a ResponseWriter whose connection breaks on a flush.
type brokenFlush struct{ mute }

func (*brokenFlush) FlushError() error { return io.ErrClosedPipe }

func TestAFlushThatFailsHasBegunTheAnswer(t *testing.T) {
	var o witness
	defer func() {
		if v := recover(); v != http.ErrAbortHandler {
			t.Errorf("got the panic %v, want http.ErrAbortHandler", v)
		}
	}()
	o.recover(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).Flush(); err != io.ErrClosedPipe {
			t.Errorf("Flush: got %v, want io.ErrClosedPipe", err)
		}
		httperr.Write(w, r, io.EOF)
	})).ServeHTTP(&brokenFlush{mute{header: http.Header{}}}, httptest.NewRequest(http.MethodGet, "/", nil))
}

// A spy is a ResponseWriter with a ReadFrom that tells what came.
type spy struct {
	mute
	src     io.Reader
	strings int
}

func (s *spy) ReadFrom(src io.Reader) (int64, error) {
	s.src = src
	return s.Buffer.ReadFrom(src)
}

func (s *spy) WriteString(text string) (int, error) {
	s.strings++
	return s.Buffer.WriteString(text)
}

// net/http sends a file without copying it only if the file itself reaches its
// ReadFrom.
func TestIOCopyReachesTheConnectionsReadFrom(t *testing.T) {
	for _, size := range []int{0, 1, 511, 512, 513, 100_000} {
		for _, first := range []string{"", "first,"} {
			t.Run(fmt.Sprint(size, " bytes after ", len(first)), func(t *testing.T) {
				content := strings.Repeat("x", size)
				s := &spy{mute: mute{header: http.Header{}}}
				src := struct{ io.Reader }{strings.NewReader(content)} // no WriterTo
				var n int64
				new(witness).recover(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					if first != "" {
						_, _ = io.WriteString(w, first)
					}
					n, _ = io.Copy(w, src)
				})).ServeHTTP(s, httptest.NewRequest(http.MethodGet, "/", nil))
				if n != int64(size) || s.String() != first+content {
					t.Errorf("got %d bytes, %.20q…; want %d", n, s, size)
				}
				if size >= 512 && s.src != io.Reader(src) {
					t.Errorf("the connection got the source %T, want the handler's", s.src)
				}
				if first != "" && s.strings != 1 {
					t.Error("WriteString does not reach the connection")
				}
			})
		}
	}
}

func TestAFileThroughTheWriter(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	copied := func(length bool) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			f, err := os.Open(name)
			if err != nil {
				panic(err)
			}
			defer f.Close()
			if length {
				w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			}
			if n, err := io.Copy(w, f); r.Method != http.MethodHead && (err != nil || n != int64(len(content))) {
				t.Errorf("io.Copy: got %d, %v", n, err)
			}
		})
	}
	for _, proto := range protocols {
		for _, tt := range []struct {
			name string
			h    http.Handler
		}{
			{"http.ServeFile", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, name) })},
			{"io.Copy with a length", copied(true)},
			{"io.Copy without a length", copied(false)},
		} {
			t.Run(proto.name+", "+tt.name, func(t *testing.T) {
				s := serve(t, new(witness).recover(httperr.Mux(muxOf("/", tt.h))), proto.http2)
				if got := s.do(t, http.MethodGet, "/", nil); got.err != nil || got.StatusCode != 200 || !bytes.Equal(got.body, content) {
					t.Errorf("got %d bytes, %v", len(got.body), got.err)
				}
				if got := s.do(t, http.MethodHead, "/", nil); got.err != nil || got.StatusCode != 200 || len(got.body) != 0 {
					t.Errorf("HEAD: got %d bytes, %v", len(got.body), got.err)
				}
			})
		}
	}
}

func TestInformationalResponsesThroughTheWriter(t *testing.T) {
	for _, proto := range protocols {
		t.Run(proto.name, func(t *testing.T) {
			s := serve(t, new(witness).recover(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Link", "</style.css>; rel=preload")
				w.WriteHeader(http.StatusEarlyHints)
				w.WriteHeader(http.StatusProcessing)
				httperr.Write(w, r, httperr.New(404, "not_found", ""))
			})), proto.http2)
			var hints []int
			ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
				Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
					if h.Get("Link") == "" {
						t.Errorf("%d has the fields %v", code, h)
					}
					hints = append(hints, code)
					return nil
				},
			})
			r, _ := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
			resp, err := s.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != 404 || members(t, body)["code"] != "not_found" || fmt.Sprint(hints) != "[103 102]" {
				t.Errorf("got %d %s after %v", resp.StatusCode, body, hints)
			}
		})
	}
}

func TestSwitchingProtocolsBeginsTheAnswer(t *testing.T) {
	defer func() {
		if v := recover(); v != http.ErrAbortHandler {
			t.Errorf("got the panic %v, want http.ErrAbortHandler", v)
		}
	}()
	new(witness).recover(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusSwitchingProtocols)
		httperr.Write(w, r, io.EOF)
	})).ServeHTTP(&mute{header: http.Header{}}, httptest.NewRequest(http.MethodGet, "/", nil))
}

func TestResponseControllerThroughTheWriter(t *testing.T) {
	for _, proto := range protocols {
		t.Run(proto.name, func(t *testing.T) {
			s := serve(t, new(witness).recover(httperr.Handler(func(w http.ResponseWriter, _ *http.Request) error {
				c := http.NewResponseController(w)
				far := time.Now().Add(time.Hour)
				return errors.Join(c.SetReadDeadline(far), c.SetWriteDeadline(far), c.EnableFullDuplex())
			})), proto.http2)
			if got := s.do(t, http.MethodGet, "/", nil); got.err != nil || got.StatusCode != 200 {
				t.Errorf("got %v %s, %v", got.Response, got.body, got.err)
			}
		})
	}
	t.Run("a deadline does end the request", func(t *testing.T) {
		s := serve(t, new(witness).recover(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(-time.Hour))
			_, _ = w.Write(make([]byte, 1<<20))
		})), false)
		if got := s.do(t, http.MethodPost, "/", nil); got.err == nil {
			t.Errorf("got a whole answer of %d bytes", len(got.body))
		}
	})
}

func TestHijackThroughTheWriter(t *testing.T) {
	s := serve(t, new(witness).recover(httperr.Mux(muxOf("/", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_, _ = rw.WriteString("HTTP/1.1 418 I'm a teapot\r\nContent-Length: 5\r\nConnection: close\r\n\r\nshort")
		_ = rw.Flush()
	})))), false)
	if got := s.do(t, http.MethodGet, "/", nil); got.err != nil || got.StatusCode != 418 || string(got.body) != "short" {
		t.Errorf("got %v %s, %v", got.Response, got.body, got.err)
	}
}

// http.TimeoutHandler runs the handler on a writer of its own.
func TestBelowATimeoutHandler(t *testing.T) {
	answered := make(chan struct{}) // a handler that returned in time may win over the timeout
	defer close(answered)
	for _, tt := range []struct {
		name string
		h    http.Handler
		want int
	}{
		{"error", fail(httperr.New(404, "not_found", "")), 404},
		{"panic", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("x") }), 500},
		{"no such path", httperr.Mux(http.NewServeMux()), 404},
		{"timeout", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-answered }), 503},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := time.Hour
			if tt.want == 503 {
				d = time.Nanosecond
			}
			s := serve(t, new(witness).recover(http.TimeoutHandler(tt.h, d, "")), false)
			got := s.do(t, http.MethodGet, "/", nil)
			if got.err != nil || got.StatusCode != tt.want {
				t.Errorf("got %v, %v, want %d", got.Response, got.err, tt.want)
			}
			if tt.want != 503 {
				members(t, got.body)
			}
		})
	}
}

// Of fields of which two are none to a browser, the last is sent, however the answer begins.
func TestOneCrossOriginPolicy(t *testing.T) {
	names := []string{"Cross-Origin-Opener-Policy", "Cross-Origin-Embedder-Policy", "Cross-Origin-Resource-Policy"}
	for name, begin := range map[string]func(w http.ResponseWriter, r *http.Request){
		"a status":       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) },
		"a body":         func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") },
		"a flush":        func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() },
		"a copy":         func(w http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(w, strings.NewReader("x")) },
		"nothing":        func(http.ResponseWriter, *http.Request) {},
		"an early hint":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusEarlyHints) },
		"an error":       func(w http.ResponseWriter, r *http.Request) { httperr.Write(w, r, io.EOF) },
		"a panic of its": func(http.ResponseWriter, *http.Request) { panic("x") },
	} {
		s := serve(t, new(witness).recover(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for _, field := range names {
				w.Header().Add(field, "of this service")
				w.Header().Add(field, "of the one behind")
			}
			begin(w, r)
		})), false)
		got := s.do(t, http.MethodGet, "/", nil)
		for _, field := range names {
			if v := got.Header[field]; len(v) != 1 || v[0] != "of the one behind" {
				t.Errorf("%s: %s is %q", name, field, v)
			}
		}
	}
}
