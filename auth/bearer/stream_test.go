package bearer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/bearer"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/eventlog"
)

func newStreams(t testing.TB, cfg bearer.StreamConfig) *bearer.Streams {
	t.Helper()
	if cfg.Audit == nil {
		cfg.Audit = new(eventlog.Recorder)
	}
	s, err := bearer.NewStreams(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A sink is a ResponseWriter with deadlines, that knows when it must not be used any
// more.
type sink struct {
	mu       sync.Mutex
	header   http.Header
	status   int
	body     bytes.Buffer
	writes   time.Time // the deadlines
	reads    time.Time
	early    int // informational responses
	returned bool
	misused  []string
}

func newSink() *sink { return &sink{header: make(http.Header)} }

func (s *sink) used(as string) func() {
	s.mu.Lock()
	if s.returned {
		s.misused = append(s.misused, as)
	}
	return s.mu.Unlock
}

func (s *sink) Header() http.Header {
	defer s.used("Header")()
	return s.header
}

func (s *sink) WriteHeader(status int) {
	defer s.used("WriteHeader")()
	if status < 200 {
		s.early++
	} else if s.status == 0 {
		s.status = status
	}
}

func (s *sink) Write(b []byte) (int, error) {
	defer s.used("Write")()
	if !s.writes.IsZero() && !time.Now().Before(s.writes) {
		return 0, os.ErrDeadlineExceeded
	}
	if s.status == 0 {
		s.status = 200
	}
	return s.body.Write(b)
}

func (s *sink) Flush() {
	s.used("Flush")()
}

func (s *sink) SetWriteDeadline(t time.Time) error {
	defer s.used("SetWriteDeadline")()
	s.writes = t
	return nil
}

func (s *sink) SetReadDeadline(t time.Time) error {
	defer s.used("SetReadDeadline")()
	s.reads = t
	return nil
}

// serve calls a handler as a server does, and returns what it panicked with.
func (s *sink) serve(h http.Handler, r *http.Request) (panicked any) {
	defer func() {
		panicked = recover()
		s.mu.Lock()
		s.returned = true
		s.mu.Unlock()
	}()
	h.ServeHTTP(s, r)
	return nil
}

// streamOf is a request with a token for that long, through the doors.
func streamOf(t testing.TB, s *bearer.Streams, life time.Duration, f http.HandlerFunc) (http.Handler, *http.Request) {
	t.Helper()
	now := time.Now().Unix()
	token := mint(t, hsKey(), goodClaims().with("iat", now, "exp", now+int64(life/time.Second), "sid", "s-1"))
	return auth.Require(newAuthenticator(t))(s.Wrap(f)), request(token)
}

func quiet() httperr.Config {
	return httperr.Config{Logger: slog.New(slog.DiscardHandler), Audit: new(eventlog.Recorder)}
}

func events(rec *eventlog.Recorder) []string {
	var all []string
	for _, e := range rec.All() {
		all = append(all, e.Name)
	}
	return all
}

func TestNewStreamsErrors(t *testing.T) {
	for _, tt := range []struct {
		cfg   bearer.StreamConfig
		field string
	}{
		{bearer.StreamConfig{Interval: -time.Second}, "Interval"},
		{bearer.StreamConfig{Interval: time.Second - 1}, "Interval"},
		{bearer.StreamConfig{Interval: time.Hour + 1}, "Interval"},
		{bearer.StreamConfig{MaxStale: -1}, "MaxStale"},
		{bearer.StreamConfig{MaxStale: time.Minute - 1}, "MaxStale"},
		{bearer.StreamConfig{Interval: time.Minute, MaxStale: time.Minute}, "MaxStale"},
	} {
		if s, err := bearer.NewStreams(tt.cfg); err == nil || s != nil || !strings.HasPrefix(err.Error(), "bearer: StreamConfig."+tt.field+" ") {
			t.Errorf("%+v: got %v, want an error about %s", tt.cfg, err, tt.field)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("Wrap(nil) did not panic")
		}
	}()
	newStreams(t, bearer.StreamConfig{}).Wrap(nil)
}

// A stream ends at the moment at which its token does, whether its handler looks or
// not.
func TestStreamEndsWithItsToken(t *testing.T) {
	for _, tt := range []struct {
		name    string
		handler func(w http.ResponseWriter, r *http.Request) error
	}{
		{"a handler that looks", func(w http.ResponseWriter, r *http.Request) error {
			for {
				select {
				case <-time.After(time.Second):
					fmt.Fprint(w, "data: x\n\n")
				case <-r.Context().Done():
					if r.Context().Err() != context.Canceled {
						t.Errorf("Err = %v", r.Context().Err())
					}
					return context.Cause(r.Context())
				}
			}
		}},
		{"a handler that writes", func(w http.ResponseWriter, _ *http.Request) error {
			for {
				if _, err := w.Write([]byte("data: x\n\n")); err != nil {
					return err
				}
				time.Sleep(time.Second)
			}
		}},
		{"a handler that writes strings", func(w http.ResponseWriter, _ *http.Request) error {
			for {
				if _, err := io.WriteString(w, "data: x\n\n"); err != nil {
					return err
				}
				time.Sleep(time.Second)
			}
		}},
		{"a handler that copies", func(w http.ResponseWriter, _ *http.Request) error {
			_, err := io.Copy(w, slowly{})
			return err
		}},
		{"a handler that copies a part", func(w http.ResponseWriter, _ *http.Request) error {
			_, err := io.CopyN(w, slowly{}, 1<<40)
			return err
		}},
		{"a handler that flushes", func(w http.ResponseWriter, _ *http.Request) error {
			fmt.Fprint(w, "data: x\n\n")
			for {
				if err := http.NewResponseController(w).Flush(); err != nil {
					return err
				}
				time.Sleep(time.Second)
			}
		}},
		{"a handler that moves the deadline", func(w http.ResponseWriter, _ *http.Request) error {
			for {
				if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Hour)); err != nil {
					return err
				}
				fmt.Fprint(w, "data: x\n\n")
				time.Sleep(time.Second)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rec := new(eventlog.Recorder)
				start := time.Now()
				var got error
				var ended time.Duration
				h, r := streamOf(t, newStreams(t, bearer.StreamConfig{Audit: rec}), 95*time.Second, func(w http.ResponseWriter, r *http.Request) {
					got = tt.handler(w, r)
					ended = time.Since(start)
					fmt.Fprint(w, "too late")
					w.WriteHeader(500)
					w.(http.Flusher).Flush()
				})
				w := newSink()
				if v := w.serve(h, r); v != http.ErrAbortHandler {
					t.Errorf("panicked with %v, want http.ErrAbortHandler", v)
				}
				if got != bearer.ErrExpired || ended < 95*time.Second || ended > 96*time.Second {
					t.Errorf("ended after %v with %v", ended, got)
				}
				if strings.Contains(w.body.String(), "late") || w.status != 200 {
					t.Errorf("got %d %q", w.status, w.body.String()[max(0, w.body.Len()-20):])
				}
				if w.writes.IsZero() || w.writes.After(start) || !w.reads.IsZero() {
					t.Errorf("deadlines %v for writes and %v for reads", w.writes, w.reads)
				}
				synctest.Wait()
				all := rec.All()
				if len(all) != 1 || all[0].Name != audit.SessionExpired || all[0].Level != slog.LevelInfo || all[0].Subject != "alice" || all[0].Path != "/items" ||
					all[0].Reason != "bearer: the credentials of the stream have expired" || all[0].Time.Sub(start) != 95*time.Second {
					t.Errorf("got the events %+v", all)
				}
				if len(w.misused) > 0 {
					t.Errorf("used after the handler had returned: %v", w.misused)
				}
			})
		})
	}
}

// slowly is an endless body, of 1,000 bytes a second.
type slowly struct{}

func (slowly) Read(p []byte) (int, error) {
	n := min(len(p), 1000)
	time.Sleep(time.Duration(n) * time.Millisecond)
	return copy(p, bytes.Repeat([]byte("x"), n)), nil
}

// io.Copy passes all that there is on, and no more than it was asked to.
func TestStreamCopies(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 200_000) // 3.2 MB
	for _, tt := range []struct {
		name string
		copy func(w io.Writer, src io.Reader) (int64, error)
		src  io.Reader
		want int
		rest int
		err  error
	}{
		{"all", io.Copy, &onlyReader{bytes.NewReader(big)}, len(big), 0, nil},
		{"exactly a part", io.Copy, &onlyReader{bytes.NewReader(big[:1<<20])}, 1 << 20, 0, nil},
		{"nothing", io.Copy, &onlyReader{bytes.NewReader(nil)}, 0, 0, nil},
		{"some", copyN(5000), &onlyReader{bytes.NewReader(big)}, 5000, len(big) - 5000, nil},
		{"some parts", copyN(3 << 20), &onlyReader{bytes.NewReader(big)}, 3 << 20, len(big) - 3<<20, nil},
		{"more than there is", copyN(1 << 30), &onlyReader{bytes.NewReader(big)}, len(big), 0, io.EOF},
		{"none of it", copyN(0), &onlyReader{bytes.NewReader(big)}, 0, len(big), nil},
		{"a source that fails", io.Copy, io.MultiReader(&onlyReader{bytes.NewReader(big)}, failing{}), len(big), 0, io.ErrUnexpectedEOF},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, r := streamOf(t, newStreams(t, bearer.StreamConfig{}), time.Hour, func(w http.ResponseWriter, _ *http.Request) {
				n, err := tt.copy(w, tt.src)
				if int(n) != tt.want || !errors.Is(err, tt.err) {
					t.Errorf("got %d, %v, want %d, %v", n, err, tt.want, tt.err)
				}
			})
			w := newSink()
			w.serve(h, r)
			if got := w.body.Bytes(); !bytes.Equal(got, big[:tt.want]) {
				t.Errorf("sent %d bytes, want %d", len(got), tt.want)
			}
			if one, ok := tt.src.(*onlyReader); ok && one.Reader.(*bytes.Reader).Len() != tt.rest {
				t.Errorf("%d bytes are left, want %d", one.Reader.(*bytes.Reader).Len(), tt.rest)
			}
		})
	}
}

// A slowSink takes time, and has no deadlines.
type slowSink struct {
	http.ResponseWriter
	sent int
}

func (s *slowSink) Write(b []byte) (int, error) {
	time.Sleep(time.Duration(len(b)) * time.Microsecond) // 1 MB a second
	s.sent += len(b)
	return len(b), nil
}

func (s *slowSink) FlushError() error {
	time.Sleep(time.Second)
	return io.ErrClosedPipe
}

// Where there are no deadlines, what was under way goes on, and no more.
func TestStreamWithoutDeadlines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 1<<30); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		send func(w http.ResponseWriter, f *os.File) error
		most int // seconds, or MB
	}{
		{"a file", func(w http.ResponseWriter, f *os.File) error { _, err := io.Copy(w, f); return err }, 62},
		{"a part of a file", func(w http.ResponseWriter, f *os.File) error { _, err := io.CopyN(w, f, 1<<29); return err }, 62},
		{"no file", func(w http.ResponseWriter, f *os.File) error { _, err := io.Copy(w, &onlyReader{f}); return err }, 61},
		{"flushes", func(w http.ResponseWriter, _ *os.File) error {
			for {
				sofar := time.Now()
				if err := http.NewResponseController(w).Flush(); err != io.ErrClosedPipe {
					if time.Since(sofar) == 0 {
						t.Error("the flush that was under way at the end had another error")
					}
					return err
				}
			}
		}, 61},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				h, r := streamOf(t, newStreams(t, bearer.StreamConfig{}), time.Minute, func(w http.ResponseWriter, _ *http.Request) {
					w.WriteHeader(200)
					time.Sleep(time.Microsecond) // so that nothing else comes at the moment of the end
					if err := tt.send(w, f); err != bearer.ErrExpired {
						t.Errorf("got %v", err)
					}
				})
				w := &slowSink{ResponseWriter: newSink()}
				func() {
					defer func() {
						if v := recover(); v != http.ErrAbortHandler {
							t.Errorf("panicked with %v", v)
						}
					}()
					h.ServeHTTP(w, r)
				}()
				if took := time.Since(start); took < time.Minute || took > time.Duration(tt.most)*time.Second || w.sent > tt.most<<20 {
					t.Errorf("%d bytes in %v", w.sent, took)
				}
			})
		})
	}
}

// Of a reader that is limited, it is known what is left.
func TestStreamCopiesPartsOfFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), 3<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ limit, want, left int64 }{{5000, 5000, 0}, {2 << 20, 2 << 20, 0}, {5 << 20, 3 << 20, 2 << 20}, {0, 0, 0}, {-1, 0, -1}} {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		w := &fileSink{sink: newSink()}
		h, r := streamOf(t, newStreams(t, bearer.StreamConfig{}), time.Hour, func(w http.ResponseWriter, _ *http.Request) {
			limited := &io.LimitedReader{R: f, N: tt.limit}
			if n, err := io.Copy(w, limited); err != nil || n != tt.want || limited.N != tt.left {
				t.Errorf("limit %d: got %d, %v, and %d are left", tt.limit, n, err, limited.N)
			}
		})
		h.ServeHTTP(w, r)
		if int64(w.body.Len()) != tt.want || (w.files > 0) != (tt.want > 0) {
			t.Errorf("limit %d: sent %d, with %d times sendfile", tt.limit, w.body.Len(), w.files)
		}
	}
}

// An *os.File writes itself, as another type; a pipe is none that sendfile is for.
func TestStreamCopiesFilesThatWriteThemselves(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	pr, pw, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pr.Close()
	if _, err := pw.WriteString("content"); err != nil {
		t.Fatal(err)
	}
	pw.Close()
	for _, tt := range []struct {
		name string
		from *os.File
		want int // times sendfile
	}{{"file", f, 1}, {"pipe", pr, 0}} {
		w := &fileSink{sink: newSink()}
		h, r := streamOf(t, newStreams(t, bearer.StreamConfig{}), time.Hour, func(w http.ResponseWriter, _ *http.Request) {
			if n, err := io.Copy(w, tt.from); n != 7 || err != nil {
				t.Errorf("%s: got %d, %v", tt.name, n, err)
			}
		})
		h.ServeHTTP(w, r)
		if w.files != tt.want || w.body.String() != "content" {
			t.Errorf("%s: sent %q, with %d times sendfile, want %d", tt.name, w.body.String(), w.files, tt.want)
		}
	}
}

// A pipe may give little and late, so each write of it is looked at.
func TestStreamCopiesAPipeWriteByWrite(t *testing.T) {
	pr, pw, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pr.Close()
	defer pw.Close()
	sent := newSink()
	h, r := streamOf(t, newStreams(t, bearer.StreamConfig{}), 2*time.Second, func(w http.ResponseWriter, r *http.Request) {
		if _, err := pw.WriteString("before"); err != nil {
			t.Error(err)
		}
		go func() {
			<-r.Context().Done()
			_, _ = pw.WriteString("after")
		}()
		if n, err := io.CopyN(w, pr, 1<<20); n != 6 || !errors.Is(err, bearer.ErrExpired) {
			t.Errorf("got %d, %v, want 6, ErrExpired", n, err)
		}
	})
	func() {
		defer func() { _ = recover() }()
		h.ServeHTTP(sent, r)
	}()
	if sent.body.String() != "before" {
		t.Errorf("sent %q", sent.body.String())
	}
}

// A fileSink knows whether net/http could use sendfile.
type fileSink struct {
	*sink
	files int
}

func (s *fileSink) ReadFrom(src io.Reader) (int64, error) {
	if l, ok := src.(*io.LimitedReader); ok {
		if _, ok := l.R.(syscall.Conn); ok {
			s.files++
		}
	}
	return io.Copy(s.sink, src)
}

type onlyReader struct{ io.Reader }

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func copyN(n int64) func(io.Writer, io.Reader) (int64, error) {
	return func(w io.Writer, src io.Reader) (int64, error) { return io.CopyN(w, src, n) }
}

// Where nothing was sent yet, the client is told.
func TestStreamThatHasNotBegun(t *testing.T) {
	revoked := func(context.Context, bearer.Token) (bool, error) { return true, nil }
	failed := func(context.Context, bearer.Token) (bool, error) { return false, errors.New("x") }
	for _, tt := range []struct {
		name      string
		check     bearer.RevocationCheck
		proto     int
		body      io.Reader
		status    int
		challenge string
		close     bool
	}{
		{"expired", nil, 1, nil, 401, invalidToken, false},
		{"revoked", revoked, 1, nil, 401, invalidToken, false},
		{"unchecked", failed, 1, nil, 503, "", false},
		{"with a body", revoked, 1, strings.NewReader("x"), 401, invalidToken, true},
		{"with a body, over HTTP/2", revoked, 2, strings.NewReader("x"), 401, invalidToken, false},
		{"unchecked, with a body", failed, 1, strings.NewReader("x"), 503, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rec := new(eventlog.Recorder)
				h, r := streamOf(t, newStreams(t, bearer.StreamConfig{Revoked: tt.check, Audit: rec}), 10*time.Minute, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "text/event-stream")
					w.Header().Set("Cache-Control", "max-age=60")
					w.WriteHeader(103)
					<-r.Context().Done()
					w.WriteHeader(103)
					w.WriteHeader(200)
					if _, err := fmt.Fprint(w, "too late"); err != context.Cause(r.Context()) {
						t.Errorf("writing: got %v, want %v", err, context.Cause(r.Context()))
					}
					if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Hour)); err != context.Cause(r.Context()) {
						t.Errorf("setting a deadline: got %v", err)
					}
				})
				r.ProtoMajor = tt.proto
				if tt.body != nil {
					r.Body = io.NopCloser(tt.body)
				}
				w := newSink()
				if v := w.serve(httperr.Recover(quiet())(h), r); v != nil {
					t.Errorf("panicked with %v", v)
				}
				if w.status != tt.status || w.header.Get("Www-Authenticate") != tt.challenge || !strings.Contains(w.body.String(), `"status":`+fmt.Sprint(tt.status)) {
					t.Errorf("got %d %q %s", w.status, w.header, w.body.String())
				}
				if got := w.header.Get("Content-Type"); got != "application/problem+json" {
					t.Errorf("Content-Type = %q", got)
				}
				if got := w.header.Get("Connection"); (got == "close") != tt.close {
					t.Errorf("Connection = %q", got)
				}
				if got := w.header.Get("Retry-After"); (got != "") != (tt.status == 503) {
					t.Errorf("Retry-After = %q", got)
				}
				if w.early != 1 {
					t.Errorf("%d informational responses, want the one before the end", w.early)
				}
				if !w.writes.IsZero() || w.reads.IsZero() != (tt.body == nil) || w.reads.After(time.Now()) {
					t.Errorf("deadlines %v for writes and %v for reads", w.writes, w.reads)
				}
				synctest.Wait()
				ended := 0
				for _, name := range events(rec) {
					if name == audit.SessionExpired {
						ended++
					}
				}
				if ended != 1 {
					t.Errorf("got the events %v", events(rec))
				}
			})
		})
	}
}

// A request whose token is past its time, which is within the leeway of the auth
// door, begins no stream.
func TestStreamOfAnExpiredToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := new(eventlog.Recorder)
		h, r := streamOf(t, newStreams(t, bearer.StreamConfig{}), 10*time.Second, func(http.ResponseWriter, *http.Request) { t.Error("the handler was called") })
		time.Sleep(10 * time.Second)
		w := newSink()
		w.serve(httperr.Recover(httperr.Config{Audit: rec})(h), r)
		if w.status != 401 || w.header.Get("Www-Authenticate") != invalidToken {
			t.Errorf("got %d, %q", w.status, w.header)
		}
		if all := rec.All(); len(all) != 1 || all[0].Name != audit.LoginFail || all[0].Subject != "alice" {
			t.Errorf("got the events %+v", all)
		}
	})
}

// A handler that is done in time notices nothing.
func TestStreamThatEndsInTime(t *testing.T) {
	for name, f := range map[string]http.HandlerFunc{
		"writes":     func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") },
		"nothing":    func(http.ResponseWriter, *http.Request) {},
		"panics":     func(http.ResponseWriter, *http.Request) { panic("oops") },
		"no content": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				before := runtime.NumGoroutine()
				rec := new(eventlog.Recorder)
				var ctx context.Context
				h, r := streamOf(t, newStreams(t, bearer.StreamConfig{Audit: rec, Revoked: func(context.Context, bearer.Token) (bool, error) {
					t.Error("the check was asked")
					return true, nil
				}}), time.Minute, func(w http.ResponseWriter, r *http.Request) {
					ctx = r.Context()
					f(w, r)
				})
				w := newSink()
				if v := w.serve(h, r); (v == "oops") != (name == "panics") || v == http.ErrAbortHandler {
					t.Errorf("panicked with %v", v)
				}
				if ctx.Err() == nil || context.Cause(ctx) != context.Canceled {
					t.Errorf("after it the context says %v", context.Cause(ctx))
				}
				time.Sleep(time.Hour)
				if n := runtime.NumGoroutine() - before; n > 0 {
					t.Errorf("%d goroutines are left", n)
				}
				if len(rec.All()) > 0 || len(w.misused) > 0 || !w.writes.IsZero() {
					t.Errorf("events %v, misuse %v, deadline %v", events(rec), w.misused, w.writes)
				}
			})
		})
	}
}

// A check that is under way when the handler returns is given up, and what it says
// then does not matter.
func TestStreamIsLeftAloneAfterTheHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := new(eventlog.Recorder)
		var given error
		h, r := streamOf(t, newStreams(t, bearer.StreamConfig{Audit: rec, Interval: 10 * time.Second, Revoked: func(ctx context.Context, _ bearer.Token) (bool, error) {
			<-ctx.Done()
			given = ctx.Err()
			return true, nil
		}}), time.Minute, func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "data")
			time.Sleep(10*time.Second + time.Millisecond)
		})
		w := newSink()
		if v := w.serve(h, r); v != nil {
			t.Errorf("panicked with %v", v)
		}
		synctest.Wait()
		time.Sleep(time.Hour)
		if given != context.Canceled || len(rec.All()) > 0 || len(w.misused) > 0 || !w.writes.IsZero() {
			t.Errorf("the check got %v, events %v, misuse %v, deadline %v", given, events(rec), w.misused, w.writes)
		}
	})
}

// The request's end reaches the handler as without the door.
func TestStreamOfAClientThatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := new(eventlog.Recorder)
		h, r := streamOf(t, newStreams(t, bearer.StreamConfig{Audit: rec}), time.Hour, func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "data")
			<-r.Context().Done()
			if got := context.Cause(r.Context()); got != context.Canceled {
				t.Errorf("cause = %v", got)
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		parent, left := context.WithCancel(ctx)
		time.AfterFunc(time.Second, left)
		if v := newSink().serve(h, r.WithContext(parent)); v != nil || len(rec.All()) > 0 {
			t.Errorf("panicked with %v, events %v", v, events(rec))
		}
	})
}

// What there is nothing to watch of passes as it is.
func TestStreamOfNothing(t *testing.T) {
	endless := newAuthenticatorFor(auth.Identity{Subject: "alice"})
	revoked := func(context.Context, bearer.Token) (bool, error) { return true, nil }
	for _, tt := range []struct {
		name   string
		door   func(http.Handler) http.Handler
		check  bearer.RevocationCheck
		token  string
		status int
	}{
		{"credentials without an end", auth.Require(endless), nil, "x", 200},
		{"anonymous", auth.Optional(newAuthenticator(t)), nil, "", 200},
		{"anonymous, with a check", auth.Optional(newAuthenticator(t)), revoked, "", 200},
		{"no auth door", func(h http.Handler) http.Handler { return h }, nil, "", 500},
		{"no auth door, with a check", func(h http.Handler) http.Handler { return h }, revoked, "", 500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var before, after *http.Request
			var given http.ResponseWriter
			s := newStreams(t, bearer.StreamConfig{Revoked: tt.check})
			inner := s.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				given, after = w, r
				w.WriteHeader(200)
			}))
			h := tt.door(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				before = r
				inner.ServeHTTP(w, r)
			}))
			r := httptest.NewRequest("GET", "/", nil)
			if tt.token != "" {
				r.Header.Set("Authorization", "Bearer "+tt.token)
			}
			w := newSink()
			httperr.Recover(quiet())(h).ServeHTTP(w, r)
			if w.status != tt.status {
				t.Errorf("got %d, want %d", w.status, tt.status)
			}
			if _, unwraps := given.(interface{ SetWriteDeadline(time.Time) error }); tt.status == 200 && (before != after || unwraps) {
				t.Error("the handler got another request or ResponseWriter")
			}
		})
	}
}

type fixed struct{ id auth.Identity }

func newAuthenticatorFor(id auth.Identity) auth.Authenticator { return fixed{id} }

func (f fixed) Authenticate(r *http.Request) (*auth.Identity, error) {
	if r.Header.Get("Authorization") == "" {
		return nil, auth.ErrNoCredentials
	}
	return f.id.Clone(), nil
}

func (fixed) Challenge(h http.Header, _ *http.Request, _ error) { h.Add("Www-Authenticate", "Fixed") }

func (fixed) Scheme() auth.SecurityScheme { return auth.SecurityScheme{Type: "http", Scheme: "fixed"} }

// What the auth door has found is the handler's, and that of doors further in, as
// without this door; a mux further in may change its request while an event is
// written.
func TestStreamKeepsTheScope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /items", func(w http.ResponseWriter, r *http.Request) {
			if id, ok := auth.FromContext(r.Context()); !ok || id.Subject != "alice" {
				t.Errorf("the handler has the identity %v", id)
			}
			if httperr.RequestID(r.Context()) != "req-1" {
				t.Errorf("request id %q", httperr.RequestID(r.Context()))
			}
			w.WriteHeader(200)
			<-r.Context().Done()
			if context.Cause(r.Context()) != bearer.ErrExpired {
				t.Errorf("cause = %v", context.Cause(r.Context()))
			}
			p := auth.Refuse(r, auth.ErrInvalid)
			if p.Status != 401 || p.Header.Get("Www-Authenticate") != invalidToken {
				t.Errorf("refused with %d %v", p.Status, p.Header)
			}
		})
		slow := func(next http.Handler) http.Handler { // so that the mux writes when the stream ends
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(time.Minute)
				r.URL.Path = "/" + "items"
				next.ServeHTTP(w, r)
			})
		}
		// The second door finds none of its own credentials, and keeps the first's.
		second := auth.Optional(noCredentials{})
		now := time.Now().Unix()
		h, rec := newStreams(t, bearer.StreamConfig{}), new(eventlog.Recorder)
		r := request(mint(t, hsKey(), goodClaims().with("iat", now, "exp", now+60)))
		r.Header.Set("X-Request-Id", "req-1")
		cfg := quiet()
		cfg.Audit = rec
		// Both come at one moment, so it may have begun or not.
		if v := newSink().serve(httperr.Recover(cfg)(auth.Require(newAuthenticator(t))(h.Wrap(second(slow(mux))))), r); v != nil && v != http.ErrAbortHandler {
			t.Errorf("panicked with %v", v)
		}
		now = time.Now().Unix()
		r = request(mint(t, hsKey(), goodClaims().with("iat", now, "exp", now+60)))
		r.Header.Set("X-Request-Id", "req-1")
		if v := newSink().serve(httperr.Recover(cfg)(auth.Require(newAuthenticator(t))(h.Wrap(second(mux)))), r); v != http.ErrAbortHandler {
			t.Errorf("panicked with %v", v)
		}
	})
}

type noCredentials struct{ fixed }

func (noCredentials) Authenticate(*http.Request) (*auth.Identity, error) {
	return nil, auth.ErrNoCredentials
}

func BenchmarkStreams(b *testing.B) {
	for name, check := range map[string]bearer.RevocationCheck{
		"expiry": nil,
		"check":  func(context.Context, bearer.Token) (bool, error) { return false, nil },
	} {
		b.Run(name, func(b *testing.B) {
			h := newStreams(b, bearer.StreamConfig{Revoked: check}).Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }))
			id := &auth.Identity{Subject: "alice", Expires: time.Now().Add(time.Hour), Claims: auth.NewClaims(goodClaims().String())}
			r := httptest.NewRequest("GET", "/", nil)
			r = r.WithContext(auth.NewContext(r.Context(), id))
			w := httptest.NewRecorder()
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, r)
			}
		})
	}
}

// Events go on until the token ends, or is revoked.
func ExampleStreams() {
	revoked := func(context.Context, bearer.Token) (bool, error) { return false, nil } // bearer.CheckRevocations(store)
	streams, err := bearer.NewStreams(bearer.StreamConfig{Revoked: revoked})
	if err != nil {
		log.Fatal(err)
	}
	events := streams.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: hello\n\n")
		<-r.Context().Done() // or the next event
		fmt.Println(context.Cause(r.Context()))
	}))
	// auth.Require(tokens)(events), in a service.
	r := httptest.NewRequest("GET", "/events", nil)
	id := &auth.Identity{Subject: "alice", Expires: time.Now().Add(time.Second)}
	w := httptest.NewRecorder()
	func() {
		defer func() { fmt.Println(recover()) }() // net/http does that
		events.ServeHTTP(w, r.WithContext(auth.NewContext(r.Context(), id)))
	}()
	fmt.Printf("%q", w.Body)
	// Output:
	// bearer: the credentials of the stream have expired
	// net/http: abort Handler
	// "data: hello\n\n"
}
