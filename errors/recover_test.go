package errors_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/scope"
)

// A sliceError is an error that == panics on.
type sliceError []string

func (e sliceError) Error() string { return strings.Join(e, "") }

// A rudeError is an error whose text can't be had.
type rudeError struct{}

func (rudeError) Error() string { panic("no text for you") }

// A panic is a 500 problem that keeps the fields which doors have set, it is
// logged with its stack under the id that the client gets, and the process
// lives.
func TestASVS_16_5_4_LastResort(t *testing.T) {
	var nilMap map[string]int
	for _, tt := range []struct {
		name      string
		panic     func()
		wantError string
	}{
		{"text", func() { panic(canary) }, "panic: " + canary},
		{"error", func() { panic(errors.New(canary)) }, "panic: " + canary},
		{"problem", func() { panic(httperr.New(404, "not_found", canary)) }, "panic: httperr: 404: not_found: " + canary},
		{"nil", func() { panic(nil) }, "panic: panic called with nil argument"},
		{"what can't be compared", func() { panic([]string{canary}) }, "panic: [" + canary + "]"},
		{"an error that can't be compared", func() { panic(sliceError{canary}) }, "panic: " + canary},
		{"a nil error", func() { panic((*nilError)(nil)) }, "panic: <nil>"},
		{"an error that panics", func() { panic(rudeError{}) }, "panic: %!v(PANIC=Error method: no text for you)"},
		{"the runtime", func() { nilMap["a"] = 1 }, "panic: assignment to entry in nil map"},
		{"a forged log line", func() { panic("a\r\nb\x1b[2J") }, `panic: a\r\nb\x1b[2J`},
		{"a wrapped http.ErrAbortHandler", func() { panic(fmt.Errorf("x: %w", http.ErrAbortHandler)) }, "panic: x: net/http: abort Handler"},
	} {
		for _, proto := range protocols {
			t.Run(tt.name+", "+proto.name, func(t *testing.T) {
				var o witness
				s := serve(t, o.recover(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/fine" {
						return
					}
					w.Header().Set("Strict-Transport-Security", "max-age=63072000")
					w.Header().Set("Content-Type", "image/png")
					w.Header().Set("Set-Cookie", "session=1")
					tt.panic()
				})), proto.http2)

				got := s.do(t, http.MethodGet, "/panic?token=canary", nil)
				if got.err != nil {
					t.Fatal(got.err)
				}
				m := members(t, got.body)
				if got.StatusCode != 500 || m["status"] != 500.0 || m["code"] != "internal_error" || m["title"] != "Internal Server Error" {
					t.Errorf("got %d %s", got.StatusCode, got.body)
				}
				h := got.Header
				if h.Get("Strict-Transport-Security") == "" || h.Get("Set-Cookie") != "" || h.Get("Content-Type") != asJSON || h.Get("Cache-Control") != "no-store" {
					t.Errorf("got the fields %v", h)
				}
				if out := string(got.body) + fmt.Sprint(h, got.Trailer); strings.Contains(out, "canary") || strings.Contains(out, "goroutine") {
					t.Errorf("the client sees %s", out)
				}

				lines := o.log.lines(t)
				if len(lines) != 1 {
					t.Fatalf("got %d log lines, want 1: %v", len(lines), lines)
				}
				l := lines[0]
				// Go 1.27 words its own errors a little differently.
				cause := strings.Replace(fmt.Sprint(l["error"]), "panic: runtime error: panic", "panic: panic", 1)
				if cause != tt.wantError || l["level"] != "ERROR" || l["path"] != "/panic" || l["response_begun"] != false {
					t.Errorf("got %v %v of %v, begun: %v; want the error %s", l["level"], l["error"], l["path"], l["response_begun"], tt.wantError)
				}
				if l["error_id"] != m["error_id"] || l["request_id"] != m["request_id"] || l["request_id"] != h.Get("X-Request-Id") {
					t.Errorf("the log has the ids %v, %v, the answer %v, %v", l["error_id"], l["request_id"], m["error_id"], m["request_id"])
				}
				if stack := l["stack"].(string); !strings.Contains(stack, "TestASVS_16_5_4_LastResort.func") {
					t.Errorf("the stack does not show where the panic was:\n%s", stack)
				}

				events := o.events.all()
				if len(events) != 1 {
					t.Fatalf("got %d events, want 1: %+v", len(events), events)
				}
				e := events[0]
				if e.Name != audit.SysCrash || e.RequestID != m["request_id"] || e.ErrorID != m["error_id"] || e.Status != 500 || e.Method != "GET" || e.Path != "/panic" || !e.Addr.IsValid() {
					t.Errorf("got the event %+v", e)
				}
				if strings.Contains(fmt.Sprintf("%+v", e), "canary") {
					t.Errorf("the event tells what the panic said: %+v", e)
				}

				if again := s.do(t, http.MethodGet, "/fine", nil); again.err != nil || again.StatusCode != 200 {
					t.Errorf("the next request got %v, %v", again.Response, again.err)
				}
				if out := s.errors.String(); out != "" {
					t.Errorf("net/http logged %q", out)
				}
			})
		}
	}
}

// A handler that aborts does so on purpose: the connection ends, and nobody is
// told.
func TestErrAbortHandlerPassesThroughUntouched(t *testing.T) {
	for _, proto := range protocols {
		for _, tt := range []struct {
			name  string
			begin func(http.ResponseWriter)
		}{
			{"at once", func(http.ResponseWriter) {}},
			{"after a part of the answer", func(w http.ResponseWriter) {
				_, _ = io.WriteString(w, "part")
				w.(http.Flusher).Flush()
			}},
		} {
			t.Run(proto.name+", "+tt.name, func(t *testing.T) {
				var o witness
				s := serve(t, o.recover(httperr.Mux(muxOf("/", httperr.Handler(func(w http.ResponseWriter, _ *http.Request) error {
					tt.begin(w)
					panic(http.ErrAbortHandler)
				})))), proto.http2)
				if got := s.do(t, http.MethodPost, "/", nil); got.err == nil {
					t.Errorf("got a whole answer: %d %s", got.StatusCode, got.body)
				}
				s.Close()
				if out := o.log.String() + s.errors.String() + fmt.Sprint(o.events.all()); out != "[]" {
					t.Errorf("got the log and events %s, want none", out)
				}
			})
		}
	}
}

// Half an answer can't be taken for a whole one, and has no second answer behind
// it.
func TestAnAnswerThatHasBegunIsAborted(t *testing.T) {
	problem := httperr.New(404, "not_found", "nothing here").WithCause(errors.New("late"))
	problem.Audit = &audit.Event{Name: audit.AuthzFail}
	begun := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, "part of the answer")
	}
	flushed := func(w http.ResponseWriter) {
		begun(w)
		w.(http.Flusher).Flush()
	}
	for _, tt := range []struct {
		name       string
		h          http.Handler
		wantError  string
		wantEvents int
	}{
		{"panic", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			begun(w)
			panic("late")
		}), "panic: late", 1},
		{"panic after a flush", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			flushed(w)
			panic("late")
		}), "panic: late", 1},
		{"error", httperr.Handler(func(w http.ResponseWriter, _ *http.Request) error {
			begun(w)
			return io.EOF
		}), "EOF", 0},
		{"error after a flush", httperr.Handler(func(w http.ResponseWriter, _ *http.Request) error {
			flushed(w)
			return io.EOF
		}), "EOF", 0},
		{"problem", httperr.Handler(func(w http.ResponseWriter, _ *http.Request) error {
			flushed(w)
			return problem
		}), "httperr: 404: not_found: nothing here: late", 1},
		{"Write", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			flushed(w)
			httperr.Write(w, r, io.EOF)
			_, _ = io.WriteString(w, "never reached")
		}), "EOF", 0},
		{"a header alone", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			httperr.Write(w, r, io.EOF)
		}), "EOF", 0},
		{"a flush alone", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			httperr.Write(w, r, io.EOF)
		}), "EOF", 0},
		{"WriteString", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.(io.StringWriter).WriteString("part of the answer")
			httperr.Write(w, r, io.EOF)
		}), "EOF", 0},
		{"ReadFrom", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.(io.ReaderFrom).ReadFrom(strings.NewReader("part of the answer"))
			httperr.Write(w, r, io.EOF)
		}), "EOF", 0},
		{"a source that fails in the middle", httperr.Handler(func(w http.ResponseWriter, _ *http.Request) error {
			_, err := io.Copy(w, io.MultiReader(strings.NewReader(strings.Repeat("x", 1000)), failing{io.ErrClosedPipe}))
			return err
		}), "io: read/write on closed pipe", 0},
		{"a source that panics in the middle", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.Copy(w, io.MultiReader(strings.NewReader("part of the answer"), failing{nil}))
		}), "panic: the source is broken", 1},
		{"below a foreign writer that has begun it", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			flushed(w)
			httperr.Handler(func(http.ResponseWriter, *http.Request) error { return io.EOF }).ServeHTTP(&foreign{w}, r)
		}), "EOF", 0},
	} {
		for _, proto := range protocols {
			t.Run(tt.name+", "+proto.name, func(t *testing.T) {
				var o witness
				s := serve(t, o.recover(tt.h), proto.http2)
				got := s.do(t, http.MethodPost, "/", nil)
				if got.err == nil {
					t.Fatalf("got a whole answer: %d %s", got.StatusCode, got.body)
				}
				if strings.Contains(string(got.body), "problem") || strings.Contains(string(got.body), "about:blank") || strings.Contains(string(got.body), "never") {
					t.Errorf("there is a second answer: %s", got.body)
				}
				if got.Response != nil && !proto.http2 && !errors.Is(got.err, io.ErrUnexpectedEOF) {
					t.Errorf("got the error %v, want an unexpected EOF", got.err)
				}
				s.Close()
				lines := o.log.lines(t)
				if len(lines) != 1 || lines[0]["error"] != tt.wantError || lines[0]["response_begun"] != true || lines[0]["level"] != "ERROR" || lines[0]["stack"] == nil {
					t.Errorf("got the log %v, want one line with %q", lines, tt.wantError)
				}
				if e := o.events.all(); len(e) != tt.wantEvents {
					t.Errorf("got the events %+v, want %d", e, tt.wantEvents)
				}
				if out := s.errors.String(); out != "" {
					t.Errorf("net/http logged %q", out)
				}
			})
		}
	}
}

// failing is a source that fails with err, or panics if that is nil.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	if f.err == nil {
		panic("the source is broken")
	}
	return 0, f.err
}

// foreign is the writer of a middleware that is not ours.
type foreign struct{ http.ResponseWriter }

func (f *foreign) Unwrap() http.ResponseWriter { return f.ResponseWriter }

// What went wrong before the first byte can be answered as if nothing had been
// tried.
func TestAnAnswerThatHasNotBegunIsAProblem(t *testing.T) {
	for _, tt := range []struct {
		name string
		h    func(http.ResponseWriter, *http.Request) error
	}{
		{"a source that fails at once", func(w http.ResponseWriter, _ *http.Request) error {
			_, err := io.Copy(w, failing{io.ErrClosedPipe})
			return err
		}},
		{"a source that panics at once", func(w http.ResponseWriter, _ *http.Request) error {
			_, _ = io.Copy(w, failing{nil})
			return nil
		}},
		{"an empty source", func(w http.ResponseWriter, _ *http.Request) error {
			_, _ = w.(io.ReaderFrom).ReadFrom(strings.NewReader(""))
			return io.EOF
		}},
		{"an impossible status", func(w http.ResponseWriter, _ *http.Request) error {
			w.WriteHeader(1000)
			return nil
		}},
		{"status 0", func(w http.ResponseWriter, _ *http.Request) error {
			w.WriteHeader(0)
			return nil
		}},
		{"an informational answer", func(w http.ResponseWriter, _ *http.Request) error {
			w.WriteHeader(http.StatusEarlyHints)
			return io.EOF
		}},
		{"the fields", func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("Content-Length", "1000")
			w.Header().Set("Content-Encoding", "gzip")
			return io.EOF
		}},
	} {
		for _, proto := range protocols {
			t.Run(tt.name+", "+proto.name, func(t *testing.T) {
				var o witness
				s := serve(t, o.recover(httperr.Handler(tt.h)), proto.http2)
				got := s.do(t, http.MethodGet, "/", nil)
				if got.err != nil {
					t.Fatal(got.err)
				}
				if m := members(t, got.body); got.StatusCode != 500 || m["code"] != "internal_error" {
					t.Errorf("got %d %s", got.StatusCode, got.body)
				}
				if lines := o.log.lines(t); len(lines) != 1 || lines[0]["response_begun"] != false {
					t.Errorf("got the log %v", lines)
				}
			})
		}
	}
}

// Whoever takes the connection over owns it: nothing is written to it, and it is
// not closed.
func TestAfterHijackNothingIsWritten(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(w http.ResponseWriter, r *http.Request) error
	}{
		{"error", func(http.ResponseWriter, *http.Request) error { return io.EOF }},
		{"panic", func(http.ResponseWriter, *http.Request) error { panic("late") }},
		{"Write", func(w http.ResponseWriter, r *http.Request) error {
			httperr.Write(w, r, io.EOF)
			return nil
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var o witness
			conns, done := make(chan net.Conn, 1), make(chan struct{})
			h := o.recover(httperr.Handler(func(w http.ResponseWriter, r *http.Request) error {
				c, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					return err
				}
				conns <- c
				return tt.end(w, r)
			}))
			s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer close(done)
				defer func() {
					if v := recover(); v != nil {
						t.Errorf("got the panic %v: there is no connection of ours to abort", v)
					}
				}()
				h.ServeHTTP(w, r)
			}), false)
			client, err := net.Dial("tcp", s.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			fmt.Fprint(client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			server := <-conns
			<-done
			fmt.Fprint(server, "all that comes")
			server.Close()
			if got, err := io.ReadAll(client); err != nil || string(got) != "all that comes" {
				t.Errorf("the client got %q, %v", got, err)
			}
			if lines := o.log.lines(t); len(lines) != 1 || lines[0]["response_begun"] != true {
				t.Errorf("got the log %v, want one line", lines)
			}
			if out := s.errors.String(); out != "" {
				t.Errorf("net/http logged %q", out)
			}
		})
	}
}

func TestRequestID(t *testing.T) {
	for _, tt := range []struct {
		name string
		sent []string
		keep bool
	}{
		{"none", nil, false},
		{"a UUID", []string{"0191c6a5-7f3c-7d9e-8a55-2f6f0a1b2c3d"}, true},
		{"every character", []string{"azAZ09._-:"}, true},
		{"one character", []string{"a"}, true},
		{"128 characters", []string{strings.Repeat("a", 128)}, true},
		{"129 characters", []string{strings.Repeat("a", 129)}, false},
		{"1 MiB", []string{strings.Repeat("a", 1<<20)}, false},
		{"empty", []string{""}, false},
		{"two fields", []string{"a", "b"}, false},
		{"two equal fields", []string{"a", "a"}, false},
		{"line break", []string{"a\r\nSet-Cookie: b=c"}, false},
		{"blank", []string{"a b"}, false},
		{"blank around", []string{" a"}, false},
		{"NUL", []string{"a\x00"}, false},
		{"quote", []string{`a"b`}, false},
		{"comma", []string{"a,b"}, false},
		{"slash", []string{"a/b"}, false},
		{"template", []string{"${jndi:ldap://x}"}, false},
		{"markup", []string{"<script>"}, false},
		{"beyond ASCII", []string{"é"}, false},
		{"not UTF-8", []string{"\xff"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var inside string
			h := new(witness).recover(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				inside = httperr.RequestID(r.Context())
			}))
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			if tt.sent != nil {
				r.Header["X-Request-Id"] = tt.sent
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			back := w.Header()["X-Request-Id"]
			if len(back) != 1 || back[0] != inside {
				t.Fatalf("got %q in the answer, %q in the handler", back, inside)
			}
			if kept := len(tt.sent) > 0 && inside == tt.sent[0]; kept != tt.keep {
				t.Errorf("sent %.40q, got %q, want it kept: %v", tt.sent, inside, tt.keep)
			}
			if !tt.keep && !regexp.MustCompile(`^[A-Z2-7]{26}$`).MatchString(inside) {
				t.Errorf("got the new id %q", inside)
			}
		})
	}
	t.Run("a new one each time", func(t *testing.T) {
		h := new(witness).recover(http.NotFoundHandler())
		if a, b := get(h).Header().Get("X-Request-Id"), get(h).Header().Get("X-Request-Id"); a == b {
			t.Errorf("got %q twice", a)
		}
	})
	t.Run("without Recover", func(t *testing.T) {
		if got := httperr.RequestID(context.Background()); got != "" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("over the wire", func(t *testing.T) {
		s := serve(t, new(witness).recover(http.NotFoundHandler()), false)
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\nx-request-id: kept\r\nConnection: close\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.Header.Get("X-Request-Id") != "kept" {
			t.Errorf("got %v, %v", resp, err)
		}
	})
}

// An inner Recover adds nothing to an outer one but its configuration.
func TestRecoverInsideRecover(t *testing.T) {
	for _, tt := range []struct {
		name      string
		h         http.Handler
		wantAbort bool
	}{
		{"panic", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("x") }), false},
		{"error", fail(io.EOF), false},
		{"panic after the answer has begun", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "part")
			panic("x")
		}), true},
		{"ErrAbortHandler", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var outer, inner witness
			cfg := inner.config()
			cfg.TypeBase = "https://inner.example/"
			s := serve(t, outer.recover(httperr.Recover(cfg)(tt.h)), false)
			got := s.do(t, http.MethodPost, "/", http.Header{"X-Request-Id": {"req-1"}})
			if tt.wantAbort != (got.err != nil) {
				t.Fatalf("got %v, want an abort: %v", got.err, tt.wantAbort)
			}
			if got.err == nil {
				m := members(t, got.body)
				if m["type"] != "https://inner.example/internal_error" || m["request_id"] != "req-1" || !slices.Equal(got.Header["X-Request-Id"], []string{"req-1"}) {
					t.Errorf("got %s", got.body)
				}
			}
			s.Close()
			wantLines := 1
			if tt.name == "ErrAbortHandler" {
				wantLines = 0
			}
			if out := outer.log.String(); out != "" || len(inner.log.lines(t)) != wantLines {
				t.Errorf("the outer logged %q, the inner %q; want %d lines of the inner", out, &inner.log, wantLines)
			}
		})
	}

	t.Run("both know the request by one id", func(t *testing.T) {
		var id string
		w := get(new(witness).recover(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			id = httperr.RequestID(r.Context())
			httperr.Recover()(fail(httperr.New(404, "not_found", ""))).ServeHTTP(w, r)
		})))
		if m := members(t, w.Body.Bytes()); m["request_id"] != id || !slices.Equal(w.Header()["X-Request-Id"], []string{id}) {
			t.Errorf("the outer has the id %s, the inner %v, the header %q", id, m["request_id"], w.Header()["X-Request-Id"])
		}
	})
	t.Run("the inner's events go to the outer's recorder if it has none", func(t *testing.T) {
		var outer witness
		p := httperr.New(403, "no", "")
		p.Audit = &audit.Event{Name: audit.AuthzFail}
		get(outer.recover(httperr.Recover()(fail(p))))
		if e := outer.events.all(); len(e) != 1 || e[0].RequestID == "" {
			t.Errorf("got %+v", e)
		}
	})
	t.Run("so does a crash", func(t *testing.T) {
		var outer, inner witness
		get(outer.recover(httperr.Recover(httperr.Config{Logger: inner.config().Logger})(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("x") }))))
		if e := outer.events.all(); len(e) != 1 || e[0].Name != audit.SysCrash {
			t.Errorf("got %+v", e)
		}
	})
}

// What outlives a panic may still write to the scope of the request that it was
// given, so Recover must not read it any more. The race detector watches.
func TestAPanicWhileAGoroutineStillRuns(t *testing.T) {
	written := make(chan struct{})
	w := get(new(witness).recover(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		s, _ := scope.For(r)
		go func() {
			defer close(written)
			s.Subject, s.RequestID, s.Recorder, s.Config = "alice", "x", nil, nil
		}()
		panic("x")
	})))
	<-written
	if m := members(t, w.Body.Bytes()); w.Code != 500 || m["request_id"] != w.Header().Get("X-Request-Id") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

// A recorder, a Render and a Map of the application run in the request's way,
// and may be broken.
func TestABrokenCallbackIsAnsweredAnyway(t *testing.T) {
	captureDefault(t)
	p := httperr.New(403, "forbidden", "No.")
	p.Audit = &audit.Event{Name: audit.AuthzFail}
	rendering := httperr.New(403, "forbidden", "No.")
	rendering.Render = func(*httperr.Problem) (string, []byte) { panic("render") }
	extended := httperr.New(403, "forbidden", "No.")
	extended.Extensions = map[string]any{"x": panicking{}}
	for _, tt := range []struct {
		name string
		cfg  func(*httperr.Config)
		err  error
		want int
	}{
		{"a recorder that panics", func(c *httperr.Config) { c.Audit = broken{} }, p, 403},
		{"a recorder that panics on a crash", func(c *httperr.Config) { c.Audit = broken{} }, rendering, 500},
		{"a Render that panics", func(*httperr.Config) {}, rendering, 500},
		{"an extension that panics", func(*httperr.Config) {}, extended, 500},
		{"a Map that panics", func(c *httperr.Config) { c.Map = func(error) *httperr.Problem { panic("map") } }, io.EOF, 500},
		{"a Map that answers nonsense", func(c *httperr.Config) { c.Map = func(error) *httperr.Problem { return &httperr.Problem{Status: 42} } }, io.EOF, 500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := new(witness).config()
			tt.cfg(&cfg)
			s := serve(t, httperr.Recover(cfg)(fail(tt.err)), false)
			if got := s.do(t, http.MethodGet, "/", nil); got.err != nil || got.StatusCode != tt.want || members(t, got.body)["status"] != float64(tt.want) {
				t.Errorf("got %v, %v", got.Response, got.err)
			}
		})
	}
}

type broken struct{}

func (broken) Record(context.Context, audit.Event) error { panic("recorder") }

type panicking struct{}

func (panicking) MarshalJSON() ([]byte, error) { panic("marshal") }

func TestRecoverIsCheckedAtConstruction(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func()
		want string // "" is no panic
	}{
		{"nothing", func() { httperr.Recover() }, ""},
		{"an absolute TypeBase", func() { httperr.Recover(httperr.Config{TypeBase: "https://a.example/p/"}) }, ""},
		{"a urn as TypeBase", func() { httperr.Recover(httperr.Config{TypeBase: "urn:problem:"}) }, ""},
		{"two Configs", func() { httperr.Recover(httperr.Config{}, httperr.Config{}) }, "Config"},
		{"a TypeBase without an end", func() { httperr.Recover(httperr.Config{TypeBase: "https://a.example/p"}) }, "must end with"},
		{"a TypeBase that ends in a query", func() { httperr.Recover(httperr.Config{TypeBase: "https://a.example/?code="}) }, ""},
		{"a TypeBase beside Types", func() { httperr.Recover(httperr.Config{TypeBase: "https://a.example/", Types: new(httperr.Registry)}) }, "only one of them"},
		{"a relative TypeBase", func() { httperr.Recover(httperr.Config{TypeBase: "/problems/"}) }, "TypeBase"},
		{"a TypeBase that is no URI", func() { httperr.Recover(httperr.Config{TypeBase: "https://a.example/%zz"}) }, "TypeBase"},
		{"a TypeBase with a line break", func() { httperr.Recover(httperr.Config{TypeBase: "https://a.example/\n"}) }, "TypeBase"},
		{"a TypeBase beyond ASCII", func() { httperr.Recover(httperr.Config{TypeBase: "https://a.example/é"}) }, "TypeBase"},
		{"a nil handler below Recover", func() { httperr.Recover()(nil) }, "Recover"},
		{"a nil function", func() { httperr.Handler(nil) }, "Handler"},
		{"a nil mux", func() { httperr.Mux(nil) }, "Mux"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			defer func() {
				v := recover()
				if got := fmt.Sprint(v); (v != nil) != (tt.want != "") || !strings.Contains(got, tt.want) {
					t.Errorf("got the panic %v, want one that names %q", v, tt.want)
				}
			}()
			tt.make()
		})
	}
}

// Where only a Logger is given, it gets the events too, unless a Recover above has a recorder.
func TestEventsGoToTheLogger(t *testing.T) {
	problem := httperr.New(403, "forbidden", "")
	problem.Audit = &audit.Event{Name: audit.AuthzFail, Level: slog.LevelWarn, Reason: "no reason"}
	var inner, outer strings.Builder
	log := func(b *strings.Builder) *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }
	h := httperr.Recover(httperr.Config{Logger: log(&inner)})(fail(problem))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	if !strings.Contains(inner.String(), "authz_fail") {
		t.Errorf("got the log %q", inner.String())
	}
	inner.Reset()
	httperr.Recover(httperr.Config{Logger: log(&inner)})(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("x") })).ServeHTTP(
		httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	if !strings.Contains(inner.String(), "sys_crash") {
		t.Errorf("of a panic: got the log %q", inner.String())
	}
	inner.Reset()
	httperr.Recover(httperr.Config{Audit: audit.Slog(log(&outer))})(h).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	if strings.Contains(inner.String(), "authz_fail") || !strings.Contains(outer.String(), "authz_fail") {
		t.Errorf("got the logs %q and %q", inner.String(), outer.String())
	}
}
