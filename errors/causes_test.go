package errors_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	httperr "github.com/sallyport/sallyport/errors"
)

// What comes of a context that is done is answered by whose context that was.
func TestCausesOfContexts(t *testing.T) {
	live := func() (context.Context, context.CancelFunc) { return context.WithCancel(context.Background()) }
	gone := func() (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		return ctx, cancel
	}
	late := func() (context.Context, context.CancelFunc) {
		return context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	}
	shed := func() (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(errors.New("too much to do"))
		return ctx, func() { cancel(nil) }
	}
	wrapped := func(err error) error { return fmt.Errorf("query of secret-dsn: %w", err) }
	for _, tt := range []struct {
		name   string
		ctx    func() (context.Context, context.CancelFunc)
		err    error
		status int
		code   string
	}{
		{"the client has gone", gone, wrapped(context.Canceled), 499, "client_closed_request"},
		{"a door has given it up", shed, wrapped(context.Canceled), 503, "timeout"},
		{"a door has given it up, and something else failed", shed, errors.New("secret-dsn"), 500, "internal_error"},
		{"the request's own deadline", late, wrapped(context.DeadlineExceeded), 503, "timeout"},
		{"the deadline of a dependency", live, wrapped(context.DeadlineExceeded), 504, "dependency_timeout"},
		{"the deadline of a dependency, and the client has gone", gone, wrapped(context.DeadlineExceeded), 504, "dependency_timeout"},
		{"something else was canceled", live, wrapped(context.Canceled), 500, "internal_error"},
		{"something else was canceled, and it is late", late, wrapped(context.Canceled), 500, "internal_error"},
		{"the client has gone, and something else failed", gone, errors.New("secret-dsn"), 500, "internal_error"},
		{"a problem of its own", late, httperr.New(409, "conflict", "").WithCause(context.DeadlineExceeded), 409, "conflict"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := tt.ctx()
			defer cancel()
			var o witness
			w := httptest.NewRecorder()
			o.recover(fail(tt.err)).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx))
			if m := members(t, w.Body.Bytes()); w.Code != tt.status || m["code"] != tt.code {
				t.Errorf("got %d %v, want %d %s", w.Code, m["code"], tt.status, tt.code)
			}
			if strings.Contains(w.Body.String(), "secret") {
				t.Errorf("the answer has the cause: %s", w.Body)
			}
		})
	}
}

// RFC 9110, section 15.5.9. Who sends half a body and then nothing is no fault of the service:
// its log has no error.
func TestRFC9110_15_5_9_ClientsThatAreSlow(t *testing.T) {
	for _, proto := range protocols {
		for name, read := range map[string]func(r *http.Request) error{
			"as it is": func(r *http.Request) error {
				_, err := io.ReadAll(r.Body)
				return err
			},
			"wrapped": func(r *http.Request) error {
				var v any
				return fmt.Errorf("decode: %w", json.NewDecoder(r.Body).Decode(&v))
			},
		} {
			t.Run(proto.name+" "+name, func(t *testing.T) {
				var o witness
				s := serve(t, o.recover(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
						t.Error(err)
					}
					httperr.Write(w, r, read(r))
				})), proto.http2)
				body, half := io.Pipe()
				go func() { _, _ = half.Write([]byte("{")) }()
				resp, err := s.Client().Post(s.URL, "application/json", body)
				_ = half.Close()
				if err != nil {
					t.Fatal(err)
				}
				b, _ := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if m := members(t, b); resp.StatusCode != http.StatusRequestTimeout || m["code"] != "request_timeout" {
					t.Errorf("got %d %s", resp.StatusCode, b)
				}
				if log := o.log.String(); strings.Contains(log, "stack") || strings.Contains(log, "ERROR") {
					t.Errorf("logged %s", log)
				}
			})
		}
	}
}

// Nor is who sends half a body and leaves, by a word or without.
func TestClientsThatLeaveWithinABody(t *testing.T) {
	for name, leave := range map[string]func(c *net.TCPConn) error{
		"closes": (*net.TCPConn).Close,
		"resets": func(c *net.TCPConn) error { return errors.Join(c.SetLinger(0), c.Close()) },
	} {
		t.Run(name, func(t *testing.T) {
			var o witness
			entered, done := make(chan struct{}), make(chan struct{})
			s := serve(t, o.recover(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer close(done)
				close(entered)
				_, err := io.ReadAll(r.Body)
				httperr.Write(w, r, err)
			})), false)
			conn, err := net.Dial("tcp", s.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf"); err != nil {
				t.Fatal(err)
			}
			<-entered
			if err := leave(conn.(*net.TCPConn)); err != nil {
				t.Fatal(err)
			}
			<-done
			if log := o.log.String(); strings.Contains(log, "stack") || strings.Contains(log, "ERROR") || !strings.Contains(log, "client_closed_request") {
				t.Errorf("logged %s", log)
			}
		})
	}
}

// Nor is who leaves a stream of HTTP/2, or the connection, within a body or an answer.
func TestClientsThatLeaveAStream(t *testing.T) {
	endless := func(w io.Writer) (err error) {
		for err == nil {
			_, err = w.Write(make([]byte, 64<<10))
		}
		return err
	}
	for _, proto := range protocols {
		for name, use := range map[string]func(w http.ResponseWriter, r *http.Request) error{
			"reads":            func(_ http.ResponseWriter, r *http.Request) error { _, err := io.ReadAll(r.Body); return err },
			"reads a form":     func(_ http.ResponseWriter, r *http.Request) error { return r.ParseForm() },
			"reads parts":      func(_ http.ResponseWriter, r *http.Request) error { return r.ParseMultipartForm(1 << 10) },
			"writes":           func(w http.ResponseWriter, _ *http.Request) error { return endless(w) },
			"writes and wraps": func(w http.ResponseWriter, _ *http.Request) error { return fmt.Errorf("copy: %w", endless(w)) },
		} {
			for _, all := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s %s, all of the connection %t", proto.name, name, all), func(t *testing.T) {
					var o witness
					entered, done := make(chan struct{}), make(chan struct{})
					s := serve(t, o.recover(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						defer close(done)
						close(entered)
						httperr.Write(w, r, use(w, r))
					})), proto.http2)
					var conn net.Conn
					transport := s.Client().Transport.(*http.Transport)
					transport.DialContext = func(ctx context.Context, network, addr string) (c net.Conn, err error) {
						conn, err = new(net.Dialer).DialContext(ctx, network, addr)
						return conn, err
					}
					ctx, leave := context.WithCancel(t.Context())
					defer leave()
					body, rest := io.Pipe()
					defer func() { _ = rest.Close() }()
					r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, body)
					if err != nil {
						t.Fatal(err)
					}
					r.Header.Set("Content-Type", map[string]string{"reads a form": "application/x-www-form-urlencoded", "reads parts": "multipart/form-data; boundary=b"}[name])
					sent := make(chan struct{})
					go func() {
						defer close(sent)
						_, _ = io.WriteString(rest, "--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx")
					}()
					go func() {
						if resp, err := transport.RoundTrip(r); err == nil {
							<-ctx.Done()
							_ = resp.Body.Close()
						}
					}()
					<-entered
					<-sent
					if all {
						_ = conn.Close()
					} else {
						leave()
					}
					<-done
					if log := o.log.String(); strings.Contains(log, "stack") || strings.Contains(log, "ERROR") || !strings.Contains(log, "client_closed_request") {
						t.Errorf("logged %s", log)
					}
				})
			}
		}
	}
}

// Deadlines of other connections are the service's own.
func TestDeadlinesOfOtherConnections(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(-time.Second))
	_, late := conn.Read(make([]byte, 1))
	for name, tt := range map[string]struct {
		err    error
		remote string
		major  int
		status int
	}{
		"of a dependency":              {late, "192.0.2.1:1234", 1, 500},
		"of a dependency, over HTTP/2": {late, "192.0.2.1:1234", 2, 500},
		"of the client":                {late, ln.Addr().String(), 1, 408},
		"of the client, wrapped":       {fmt.Errorf("read: %w", late), ln.Addr().String(), 1, 408},
		"of a file":                    {os.ErrDeadlineExceeded, "192.0.2.1:1234", 1, 500},
		"half of something else":       {io.ErrUnexpectedEOF, "192.0.2.1:1234", 1, 500},
		"a stream of another's":        {fmt.Errorf("dependency: %w", &streamReset{StreamID: 1, Code: 8}), "192.0.2.1:1234", 2, 500},
		"another's words":              {errors.New("upstream: client disconnected"), "192.0.2.1:1234", 2, 500},
		"the words over HTTP/1.1":      {errors.New("client disconnected"), "192.0.2.1:1234", 1, 500},
		"a write":                      {&net.OpError{Op: "write", Addr: ln.Addr(), Err: os.ErrDeadlineExceeded}, ln.Addr().String(), 1, 500},
		"of a file over HTTP/2":        {&fs.PathError{Op: "read", Path: "|0", Err: os.ErrDeadlineExceeded}, "192.0.2.1:1234", 2, 500},
		"of a body over HTTP/2":        {os.ErrDeadlineExceeded, "192.0.2.1:1234", 2, 408},
		"without an address":           {&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, "", 1, 500},
		"a problem of its own":         {httperr.New(409, "conflict", "").WithCause(late), ln.Addr().String(), 1, 409},
	} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("a"))
		r.RemoteAddr, r.ProtoMajor = tt.remote, tt.major
		w := httptest.NewRecorder()
		new(witness).recover(fail(tt.err)).ServeHTTP(w, r)
		if w.Code != tt.status {
			t.Errorf("%s: got %d, want %d", name, w.Code, tt.status)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.ProtoMajor = 2
	w := httptest.NewRecorder()
	if new(witness).recover(fail(os.ErrDeadlineExceeded)).ServeHTTP(w, r); w.Code != 500 {
		t.Errorf("over HTTP/2 without a body: got %d", w.Code)
	}

	// A door may have taken the client's address from a field, and a client may have sent that
	// of a dependency.
	local := context.WithValue(t.Context(), http.LocalAddrContextKey, conn.LocalAddr())
	for name, tt := range map[string]struct {
		err    error
		status int
	}{
		"of the client":   {late, 408},
		"of a dependency": {&net.OpError{Op: "read", Source: ln.Addr(), Addr: ln.Addr(), Err: os.ErrDeadlineExceeded}, 500},
	} {
		for _, remote := range []string{"203.0.113.7", ln.Addr().String()} {
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("a")).WithContext(local)
			r.RemoteAddr = remote
			w := httptest.NewRecorder()
			new(witness).recover(fail(tt.err)).ServeHTTP(w, r)
			if w.Code != tt.status {
				t.Errorf("%s, as if from %s: got %d, want %d", name, remote, w.Code, tt.status)
			}
		}
	}
}

func TestMaps(t *testing.T) {
	teapot := errors.New("teapot")
	m := httperr.MapFirst(
		func(err error) *httperr.Problem {
			if errors.Is(err, teapot) {
				return httperr.New(http.StatusTeapot, "teapot", "")
			}
			return nil
		},
		httperr.MapNotFound(sql.ErrNoRows, fs.ErrNotExist),
	)
	for _, tt := range []struct {
		err    error
		status int
	}{
		{teapot, 418},
		{fmt.Errorf("item 7: %w", sql.ErrNoRows), 404},
		{&fs.PathError{Op: "open", Path: "/secret", Err: fs.ErrNotExist}, 404},
		{errors.Join(errors.New("a"), sql.ErrNoRows), 404},
		{errors.New("another"), 500},
		{context.DeadlineExceeded, 504}, // what no map knows goes on
	} {
		w := get(httperr.Recover(httperr.Config{Map: m, Logger: new(witness).config().Logger})(fail(tt.err)))
		if w.Code != tt.status || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%v: got %d %s, want %d", tt.err, w.Code, w.Body, tt.status)
		}
	}
	if w := get(new(witness).recover(fail(sql.ErrNoRows))); w.Code != 500 {
		t.Errorf("without a map: got %d, want 500", w.Code)
	}
	for name, f := range map[string]func(){
		"MapNotFound: no cause":       func() { httperr.MapNotFound() },
		"MapNotFound: a cause is nil": func() { httperr.MapNotFound(sql.ErrNoRows, nil) },
		"MapFirst: a map is nil":      func() { httperr.MapFirst(nil) },
	} {
		func() {
			defer func() {
				if v := fmt.Sprint(recover()); !strings.Contains(v, name) {
					t.Errorf("got the panic %q, want one that names %q", v, name)
				}
			}()
			f()
		}()
	}
}

// A streamReset looks like net/http's own, as that of another library may.
type streamReset struct {
	StreamID, Code uint32
}

func (*streamReset) Error() string { return "stream error" }

func (e *streamReset) As(target any) bool {
	return reflect.TypeOf(target).Elem().Kind() == reflect.Struct
}

func TestErrorsThatPanic(t *testing.T) {
	for _, major := range []int{1, 2} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("a")).WithContext(ctx)
		r.ProtoMajor = major
		w := httptest.NewRecorder()
		if new(witness).recover(fail((*nilError)(nil))).ServeHTTP(w, r); w.Code != 500 {
			t.Errorf("HTTP/%d: got %d", major, w.Code)
		}
	}
}
