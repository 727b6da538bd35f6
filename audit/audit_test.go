package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/internal/scope"
)

// A memory is a Recorder that keeps what it gets.
type memory struct {
	mu     sync.Mutex
	events []audit.Event
	fail   func() error
}

func (m *memory) Record(_ context.Context, e audit.Event) error {
	m.mu.Lock()
	m.events = append(m.events, e)
	m.mu.Unlock()
	if m.fail != nil {
		return m.fail()
	}
	return nil
}

// only returns the single event that was recorded.
func (m *memory) only(t testing.TB) audit.Event {
	t.Helper()
	if len(m.events) != 1 {
		t.Fatalf("got %d events, want 1: %+v", len(m.events), m.events)
	}
	return m.events[0]
}

// captureDefault makes slog.Default write to the buffer that it returns, until
// the test ends.
func captureDefault(t testing.TB) *bytes.Buffer {
	t.Helper()
	buf := new(bytes.Buffer)
	old, out, flags := slog.Default(), log.Writer(), log.Flags() // SetDefault takes over package log
	slog.SetDefault(slog.New(slog.NewJSONHandler(buf, &slog.HandlerOptions{Level: slog.LevelDebug})))
	t.Cleanup(func() {
		slog.SetDefault(old)
		log.SetOutput(out)
		log.SetFlags(flags)
	})
	return buf
}

func TestRecordCompletesAnEvent(t *testing.T) {
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.FixedZone("CET", 3600))
	for _, tt := range []struct {
		name  string
		scope func(*scope.Scope)
		in    audit.Event
		want  audit.Event
	}{
		{
			name: "of a request that nothing is known about",
			in:   audit.Event{Time: at, Name: audit.AuthzFail, Level: slog.LevelWarn, Status: 403, Code: "forbidden", Reason: "no role"},
			want: audit.Event{
				Time: at.UTC(), Name: "authz_fail", Level: slog.LevelWarn, Status: 403, Code: "forbidden", Reason: "no role",
				Method: "POST", Path: "/items/a%20b", Route: "POST /items/{id}", Addr: netip.MustParseAddr("192.0.2.1"),
			},
		},
		{
			name: "of a request in a chain",
			scope: func(s *scope.Scope) {
				s.RequestID, s.Client = "req-1", netip.MustParseAddr("203.0.113.9")
				s.Subject, s.Issuer, s.ClientID, s.Credential = "alice", "https://id.example", "web", "Bearer"
			},
			in: audit.Event{Time: at, Name: audit.AuthzFail},
			want: audit.Event{
				Time: at.UTC(), Name: "authz_fail", RequestID: "req-1", Addr: netip.MustParseAddr("203.0.113.9"),
				Subject: "alice", Issuer: "https://id.example", ClientID: "web", Scheme: "Bearer",
				Method: "POST", Path: "/items/a%20b", Route: "POST /items/{id}",
			},
		},
		{
			name: "that knows better",
			scope: func(s *scope.Scope) {
				s.RequestID, s.Client = "req-1", netip.MustParseAddr("203.0.113.9")
				s.Subject, s.Issuer, s.ClientID, s.Credential = "alice", "https://id.example", "web", "Bearer"
			},
			in: audit.Event{Time: at, Name: audit.LoginFail, RequestID: "mine", Addr: netip.MustParseAddr("2001:db8::1"), Scheme: "Basic"},
			want: audit.Event{
				Time: at.UTC(), Name: "authn_login_fail", RequestID: "mine", Addr: netip.MustParseAddr("2001:db8::1"), Scheme: "Basic",
				Method: "POST", Path: "/items/a%20b", Route: "POST /items/{id}",
			},
		},
		{
			name: "with a subject of its own",
			scope: func(s *scope.Scope) {
				s.Subject, s.Issuer, s.ClientID, s.Credential = "alice", "https://id.example", "web", "Bearer"
			},
			in: audit.Event{Time: at, Name: audit.TokenCreated, Subject: "bob"},
			want: audit.Event{
				Time: at.UTC(), Name: "authn_token_created", Subject: "bob", Addr: netip.MustParseAddr("192.0.2.1"),
				Method: "POST", Path: "/items/a%20b", Route: "POST /items/{id}",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/items/a%20b?token=secret", nil)
			r.Pattern = "POST /items/{id}"
			if tt.scope != nil {
				var s *scope.Scope
				s, r = scope.For(r)
				tt.scope(s)
			}
			rec := new(memory)
			before := tt.in
			audit.Record(r, rec, tt.in)
			if got := rec.only(t); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
			if !reflect.DeepEqual(tt.in, before) {
				t.Error("Record changed the caller's event")
			}
		})
	}
}

func TestRecordSetsTheTimeInUTC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := new(memory)
		audit.Record(httptest.NewRequest(http.MethodGet, "/", nil), rec, audit.Event{Name: audit.SysCrash})
		got := rec.only(t).Time
		if !got.Equal(time.Now()) || got.Location() != time.UTC {
			t.Errorf("got %v, want %v in UTC", got, time.Now())
		}
	})
}

func TestRecordOfARequestWithoutAURL(t *testing.T) {
	rec := new(memory)
	audit.Record(&http.Request{Method: http.MethodGet}, rec, audit.Event{Name: audit.SysCrash})
	if got := rec.only(t); got.Path != "" || got.Addr.IsValid() {
		t.Errorf("got path %q and address %v, want none", got.Path, got.Addr)
	}
}

// Every text of an event, whoever chose it, is fit for a line of a log.
func TestASVS_16_4_1_LogInjection(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for _, tt := range []struct{ name, in, want string }{
		{"line break", "alice\r\nINFO authn_login_success", `alice\r\nINFO authn_login_success`},
		{"ANSI escape", "\x1b[2J\x1b[31m", `\x1b[2J\x1b[31m`},
		{"bidi override", "\u202egnp", `\u202egnp`},
		{"line separator", "a\u2028b", `a\u2028b`},
		{"NUL", "a\x00", `a\x00`},
		{"not UTF-8", "\xff\xfe", `\xff\xfe`},
		{"very long", long, long[:512] + "…"},
		{"beyond ASCII stays", "Jürgen", "Jürgen"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Method, r.Pattern = tt.in, tt.in
			rec := new(memory)
			audit.Record(r, rec, audit.Event{
				Name: tt.in, RequestID: tt.in, ErrorID: tt.in, Scheme: tt.in, Subject: tt.in,
				Issuer: tt.in, ClientID: tt.in, Code: tt.in, Reason: tt.in,
			})
			e := reflect.ValueOf(rec.only(t))
			for i := range e.NumField() {
				name := e.Type().Field(i).Name
				if e.Field(i).Kind() != reflect.String || name == "Path" {
					continue
				}
				if got := e.Field(i).String(); got != tt.want {
					t.Errorf("%s: got %.80q, want %.80q", name, got, tt.want)
				}
			}
		})
	}
}

func TestThePathIsEscapedAndHasNoQuery(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/a%0d%0ab/"+strings.Repeat("c", 1000)+"?access_token=secret", nil)
	rec := new(memory)
	audit.Record(r, rec, audit.Event{Name: audit.LoginFail})
	got := rec.only(t).Path
	if !strings.HasPrefix(got, "/a%0d%0ab/c") || !strings.HasSuffix(got, "c…") || len(got) > 520 {
		t.Errorf("got %q", got)
	}
}

func TestRecordContext(t *testing.T) {
	s, r := scope.For(httptest.NewRequest(http.MethodGet, "/path", nil))
	scoped := new(memory)
	s.RequestID, s.Subject, s.Recorder = "req-1", "alice", scoped

	t.Run("a request's", func(t *testing.T) {
		scoped.events = nil
		audit.RecordContext(r.Context(), nil, audit.Event{Name: audit.SysMonitorDisabled, Reason: "a\nb"})
		if e := scoped.only(t); e.RequestID != "req-1" || e.Subject != "alice" || e.Reason != `a\nb` || e.Path != "" {
			t.Errorf("got %+v", e)
		}
	})
	t.Run("a recorder of its own", func(t *testing.T) {
		scoped.events = nil
		own := new(memory)
		audit.RecordContext(r.Context(), own, audit.Event{Name: audit.SysMonitorDisabled})
		if own.only(t); len(scoped.events) != 0 {
			t.Error("the scope's recorder got the event too")
		}
	})
	t.Run("nobody's", func(t *testing.T) {
		buf := captureDefault(t)
		audit.RecordContext(t.Context(), nil, audit.Event{Name: audit.SysMonitorEnabled})
		if !strings.Contains(buf.String(), `"msg":"sys_monitor_enabled"`) {
			t.Errorf("slog.Default got %q", buf)
		}
	})
}

// A client that hangs up, or a handler that returns, takes no event with it.
func TestTheRecordersContextHasValuesAndNoEnd(t *testing.T) {
	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
	cancel()
	rec := recorderFunc(func(ctx context.Context, _ audit.Event) error {
		if ctx.Err() != nil || ctx.Done() != nil || ctx.Value(key{}) != "value" {
			t.Errorf("got %v, with the error %v", ctx, ctx.Err())
		}
		return nil
	})
	audit.Record(httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx), rec, audit.Event{Name: audit.LoginFail})
	audit.RecordContext(ctx, rec, audit.Event{Name: audit.SysMonitorDisabled})
}

type recorderFunc func(context.Context, audit.Event) error

func (f recorderFunc) Record(ctx context.Context, e audit.Event) error { return f(ctx, e) }

func TestTheRecorderIsTheGivenOneElseTheScopesElseTheDefault(t *testing.T) {
	given, scoped := new(memory), new(memory)
	var none *memory
	for _, tt := range []struct {
		name        string
		given       audit.Recorder
		scoped      any
		wantGiven   int
		wantScoped  int
		wantDefault int
	}{
		{"given", given, scoped, 1, 0, 0},
		{"the scope's", nil, scoped, 0, 1, 0},
		{"none anywhere", nil, nil, 0, 0, 1},
		{"something else in the scope", nil, 7, 0, 0, 1},
		{"a nil pointer is a recorder, which panics", none, scoped, 0, 0, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			given.events, scoped.events = nil, nil
			buf := captureDefault(t)
			s, r := scope.For(httptest.NewRequest(http.MethodGet, "/", nil))
			s.Recorder = tt.scoped
			audit.Record(r, tt.given, audit.Event{Name: audit.AuthzFail})
			if g, s, d := len(given.events), len(scoped.events), strings.Count(buf.String(), "\n"); g != tt.wantGiven || s != tt.wantScoped || d != tt.wantDefault {
				t.Errorf("got %d given, %d scope's, %d default; want %d, %d, %d", g, s, d, tt.wantGiven, tt.wantScoped, tt.wantDefault)
			}
		})
	}
}

// nilError is an error whose Error method can't bear a nil receiver.
type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }

func TestARecorderThatFailsIsReportedAndOtherwiseIgnored(t *testing.T) {
	for _, tt := range []struct {
		name string
		fail func() error
		want string
	}{
		{"error", func() error { return errors.New("disk full\r\nINFO all is well") }, `disk full\r\nINFO all is well`},
		{"endless error", func() error { return errors.New(strings.Repeat("x", 1<<20)) }, strings.Repeat("x", 512) + "…"},
		{"panic", func() error { panic("queue closed\n") }, `panic: queue closed\n`},
		{"panic with an error", func() error { panic(http.ErrAbortHandler) }, "panic: net/http: abort Handler"},
		{"panic with what can't be compared", func() error { panic([]int{1}) }, "panic: [1]"},
		{"error that panics", func() error { return (*nilError)(nil) }, "<nil>"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			buf := captureDefault(t)
			s, r := scope.For(httptest.NewRequest(http.MethodGet, "/", nil))
			s.RequestID = "req-1"
			audit.Record(r, &memory{fail: tt.fail}, audit.Event{Name: audit.LoginFail, Subject: "alice"})

			var line struct {
				Level, Msg, Event, Error string
				RequestID                string `json:"request_id"`
			}
			if err := json.Unmarshal(buf.Bytes(), &line); err != nil {
				t.Fatalf("%v in %q", err, buf)
			}
			if line.Level != "ERROR" || line.Msg != "audit: the recorder failed" || line.Event != "authn_login_fail" || line.RequestID != "req-1" || line.Error != tt.want {
				t.Errorf("got %+v, want the error %q", line, tt.want)
			}
		})
	}
}

// The message is the event's name, and the keys and their order are fixed.
func TestASVS_16_2_1_SlogKeys(t *testing.T) {
	full := audit.Event{
		Time: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), Name: audit.LoginFail, Level: slog.LevelWarn,
		RequestID: "req-1", ErrorID: "err-1", Method: "GET", Path: "/items", Route: "GET /items", Addr: netip.MustParseAddr("192.0.2.1"),
		Scheme: "Bearer", Subject: "alice", Issuer: "https://id.example", ClientID: "web", Status: 401, Code: "token_expired", Reason: "exp",
	}
	for _, tt := range []struct {
		name string
		in   audit.Event
		want string
	}{
		{"everything", full, `{"time":"2026-11-23T12:00:00Z","level":"WARN","msg":"authn_login_fail",` +
			`"request_id":"req-1","error_id":"err-1","method":"GET","path":"/items","route":"GET /items",` +
			`"scheme":"Bearer","subject":"alice","issuer":"https://id.example","client_id":"web",` +
			`"code":"token_expired","reason":"exp","client_addr":"192.0.2.1","status":401}`},
		{"what is empty is left out", audit.Event{Time: full.Time, Name: audit.SysCrash}, `{"time":"2026-11-23T12:00:00Z","level":"INFO","msg":"sys_crash"}`},
		{"below the level", audit.Event{Time: full.Time, Name: audit.SysCrash, Level: slog.LevelDebug}, ``},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var buf bytes.Buffer
			rec := audit.Slog(slog.New(slog.NewJSONHandler(&buf, &slog.HandlerOptions{AddSource: false})))
			if err := rec.Record(t.Context(), tt.in); err != nil {
				t.Fatal(err)
			}
			if got := strings.TrimSpace(buf.String()); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
	t.Run("an event has no text that the recorder leaves out", func(t *testing.T) {
		e := reflect.TypeFor[audit.Event]()
		if e.NumField() != 16 {
			t.Errorf("Event has %d fields, want 16: adapt Slog, Record and this test", e.NumField())
		}
	})
}

func TestSlogFollowsTheDefault(t *testing.T) {
	rec := audit.Slog(nil)
	buf := captureDefault(t)
	if err := rec.Record(t.Context(), audit.Event{Name: audit.SysCrash}); err != nil || !strings.Contains(buf.String(), "sys_crash") {
		t.Errorf("got %v and %q, want what slog.Default is at the time of the event", err, buf)
	}
}

// What a request brings to prove itself is in no event.
func TestCVE_2022_23469_CredentialsInLogs(t *testing.T) {
	const canary = "canary-7c1d"
	r := httptest.NewRequest(http.MethodPost, "/items?access_token="+canary, strings.NewReader(canary))
	r.Header.Set("Authorization", "Bearer "+canary)
	r.Header.Set("Cookie", "session="+canary)
	r.Header.Set("X-Api-Key", canary)
	r.SetBasicAuth("alice", canary)
	r.URL.RawQuery, r.URL.Fragment = "k="+canary, canary
	var buf bytes.Buffer
	for _, h := range []slog.Handler{slog.NewJSONHandler(&buf, nil), slog.NewTextHandler(&buf, nil)} {
		audit.Record(r, audit.Slog(slog.New(h)), audit.Event{Name: audit.LoginFail})
	}
	if out := buf.String(); !strings.Contains(out, "authn_login_fail") || strings.Contains(out, canary) {
		t.Errorf("got %s", out)
	}
}

func TestRecordIsSafeForConcurrentUse(t *testing.T) {
	rec := new(memory)
	s, r := scope.For(httptest.NewRequest(http.MethodGet, "/", nil))
	s.Recorder = rec
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { audit.Record(r, nil, audit.Event{Name: audit.LoginFail}) })
	}
	wg.Wait()
	if len(rec.events) != 50 {
		t.Errorf("got %d events, want 50", len(rec.events))
	}
}

func FuzzRecord(f *testing.F) {
	for _, s := range []string{"alice", "a\r\nb", "\x1b[2J", "\u202e", "\xff", "\u2028\u2029", "\ufeff", strings.Repeat("é", 600)} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, subject, reason string) {
		var buf bytes.Buffer
		rec := new(memory)
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Method = reason
		e := audit.Event{Name: audit.LoginFail, Subject: subject, Reason: reason}
		audit.Record(r, rec, e)
		audit.Record(r, audit.Slog(slog.New(slog.NewTextHandler(&buf, nil))), e)
		if n := strings.Count(buf.String(), "\n"); n != 1 {
			t.Fatalf("one event wrote %d lines", n)
		}
		got := rec.only(t)
		for _, s := range []string{got.Subject, got.Reason, got.Method} {
			if !utf8.ValidString(s) || len(s) > 530 || strings.ContainsFunc(s, unicode.IsControl) {
				t.Fatalf("the recorder got %q", s)
			}
		}
	})
}
