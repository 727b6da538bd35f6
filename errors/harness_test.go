package errors_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/eventlog"
)

// A buffer is a bytes.Buffer that a server may write to while the test reads.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// lines returns the JSON objects that were logged.
func (b *buffer) lines(t testing.TB) []map[string]any {
	t.Helper()
	var lines []map[string]any
	for s := range strings.Lines(b.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(s), &m); err != nil {
			t.Fatalf("the log line %q is not JSON: %v", s, err)
		}
		lines = append(lines, m)
	}
	return lines
}

// A memory is an audit.Recorder that keeps what it gets.
type memory struct{ eventlog.Recorder }

func (m *memory) all() []audit.Event { return m.All() }

// A witness is what a chain tells its operator.
type witness struct {
	log    buffer
	events memory
}

// config returns a Config that reports to the witness.
func (o *witness) config() httperr.Config {
	return httperr.Config{Logger: slog.New(slog.NewJSONHandler(&o.log, nil)), Audit: &o.events}
}

// recover is Recover with the witness.
func (o *witness) recover(h http.Handler) http.Handler { return httperr.Recover(o.config())(h) }

// captureDefault makes slog.Default write to the buffer that it returns, until
// the test ends.
func captureDefault(t testing.TB) *buffer {
	t.Helper()
	buf := new(buffer)
	old, out, flags := slog.Default(), log.Writer(), log.Flags() // SetDefault takes over package log
	slog.SetDefault(slog.New(slog.NewJSONHandler(buf, nil)))
	t.Cleanup(func() {
		slog.SetDefault(old)
		log.SetOutput(out)
		log.SetFlags(flags)
	})
	return buf
}

// fail returns a handler that answers with err.
func fail(err error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { httperr.Write(w, r, err) })
}

// get asks h for /items in process.
func get(h http.Handler, accept ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/items", nil)
	if len(accept) > 0 {
		r.Header["Accept"] = accept
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// members decodes a problem, and fails if it is no JSON object or names a member
// twice.
func members(t testing.TB, body []byte) map[string]any {
	t.Helper()
	if !utf8.Valid(body) {
		t.Fatalf("the body %q is not UTF-8", body)
	}
	var m map[string]any
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatalf("the body %q is not a JSON object: %v", body, err)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	names, _ := d.Token() // {
	for n := 0; d.More(); n++ {
		name, _ := d.Token()
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			t.Fatal(err)
		}
		if n >= len(m) {
			t.Fatalf("%v in %q: the member %v, or another one, comes twice", names, body, name)
		}
	}
	return m
}

// A site is a running server.
type site struct {
	*httptest.Server
	errors *buffer // what net/http logged
}

// protocols are those that everything about connections is tested with.
var protocols = []struct {
	name  string
	http2 bool
}{{"HTTP 1.1", false}, {"HTTP 2", true}}

// serve starts a server for h, which ends with the test.
func serve(t testing.TB, h http.Handler, http2 bool) *site {
	t.Helper()
	s := &site{httptest.NewUnstartedServer(h), new(buffer)}
	s.Config.ErrorLog = log.New(s.errors, "", 0)
	if s.EnableHTTP2 = http2; http2 {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

// A reply is a response that was read to its end.
type reply struct {
	*http.Response
	body []byte
	err  error // of the request or of its body
}

// do sends a request and reads the answer. A POST is never sent twice by the
// client.
func (s *site) do(t testing.TB, method, path string, header http.Header) reply {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		r.Header = header
	}
	c := *s.Client()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := c.Do(r)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	if s.EnableHTTP2 != (resp.ProtoMajor == 2) {
		t.Fatalf("got %s, want HTTP 2: %v", resp.Proto, s.EnableHTTP2)
	}
	body, err := io.ReadAll(resp.Body)
	return reply{resp, body, err}
}
