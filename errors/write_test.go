package errors_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/scope"
)

// canary stands in what no client may see.
const canary = "pq: password authentication failed for user canary-7c1d"

// nilError is an error whose Error method can't bear a nil receiver.
type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }

var errKnown = errors.New("known to the Map: " + canary)

func TestWriteEveryKindOfError(t *testing.T) {
	problem := httperr.New(http.StatusNotFound, "item_not_found", "There is no such item.")
	var none *httperr.Problem
	var nilErr *nilError
	for _, tt := range []struct {
		name       string
		err        error
		wantStatus int
		wantCode   string
		wantDetail string
	}{
		{"problem", problem, 404, "item_not_found", "There is no such item."},
		{"problem with a cause", problem.WithCause(errors.New(canary)), 404, "item_not_found", "There is no such item."},
		{"wrapped problem", fmt.Errorf("load %s: %w", canary, problem), 404, "item_not_found", "There is no such item."},
		{"joined problem", errors.Join(errors.New(canary), problem), 404, "item_not_found", "There is no such item."},
		{"problem that wraps another", httperr.New(403, "forbidden", "").WithCause(problem), 403, "forbidden", ""},
		{"nil", nil, 500, "internal_error", ""},
		{"nil problem", none, 500, "internal_error", ""},
		{"wrapped nil problem", fmt.Errorf("%s: %w", canary, none), 500, "internal_error", ""},
		{"plain error", errors.New(canary), 500, "internal_error", ""},
		{"error that panics", nilErr, 500, "internal_error", ""},
		{"body too large", &http.MaxBytesError{Limit: 4711}, 413, "body_too_large", "The body is too large."},
		{"wrapped body too large", fmt.Errorf("%s: %w", canary, &http.MaxBytesError{Limit: 4711}), 413, "body_too_large", "The body is too large."},
		{"known to the Map", fmt.Errorf("query: %w", errKnown), 409, "mapped", "Mapped."},
		{"unknown to the Map", io.EOF, 500, "internal_error", ""},
		{"status 0", &httperr.Problem{Code: "zero", Detail: canary}, 500, "internal_error", ""},
		{"status 200", httperr.New(200, "fine", canary), 500, "internal_error", ""},
		{"status 302", httperr.New(302, "elsewhere", canary), 500, "internal_error", ""},
		{"status 399", httperr.New(399, "almost", canary), 500, "internal_error", ""},
		{"status 600", httperr.New(600, "beyond", canary), 500, "internal_error", ""},
		{"status 999", httperr.New(999, "beyond", canary), 500, "internal_error", ""},
		{"status -1", httperr.New(-1, "below", canary), 500, "internal_error", ""},
		{"status without a phrase", httperr.New(499, "odd", "Odd."), 499, "odd", "Odd."},
		{"server's problem", httperr.New(503, "unavailable", "Try later.").WithCause(errors.New(canary)), 503, "unavailable", "Try later."},
		{"server's 500 problem", httperr.New(500, "broken", "It is broken.").WithCause(errors.New(canary)), 500, "broken", "It is broken."},
	} {
		for _, accept := range []string{"application/json", "text/html", "text/plain"} {
			t.Run(tt.name+", "+accept, func(t *testing.T) {
				var o witness
				cfg := o.config()
				cfg.Map = func(err error) *httperr.Problem {
					if errors.Is(err, errKnown) {
						return httperr.New(409, "mapped", "Mapped.")
					}
					return nil
				}
				w := get(httperr.Recover(cfg)(fail(tt.err)), accept)

				if w.Code != tt.wantStatus {
					t.Errorf("got status %d, want %d", w.Code, tt.wantStatus)
				}
				resp := w.Result()
				if out := w.Body.String() + fmt.Sprint(resp.Header, resp.Trailer); strings.Contains(out, "canary") || strings.Contains(out, "4711") {
					t.Errorf("the client sees the cause: %s", out)
				}
				if accept != "application/json" {
					return
				}
				m := members(t, w.Body.Bytes())
				if m["status"] != float64(tt.wantStatus) || m["code"] != tt.wantCode {
					t.Errorf("got status %v and code %v, want %d, %s", m["status"], m["code"], tt.wantStatus, tt.wantCode)
				}
				if detail, _ := m["detail"].(string); detail != tt.wantDetail {
					t.Errorf("got detail %q, want %q", detail, tt.wantDetail)
				}
				if _, has := m["error_id"]; has != (tt.wantStatus >= 500) {
					t.Errorf("got error id %v with status %d", m["error_id"], tt.wantStatus)
				}
				if m["request_id"] != w.Header().Get("X-Request-Id") {
					t.Errorf("got request id %v in the body, %q in the header", m["request_id"], w.Header().Get("X-Request-Id"))
				}
			})
		}
	}
}

// The client gets a generic message, without a cause, a stack or the name of the
// server, and the log has all of it under the same id.
func TestASVS_16_5_1_GenericMessage(t *testing.T) {
	var o witness
	w := get(o.recover(fail(fmt.Errorf("query: %s", canary))))
	m := members(t, w.Body.Bytes())
	want := map[string]any{
		"type": "about:blank", "title": "Internal Server Error", "status": 500.0, "code": "internal_error",
		"request_id": w.Header().Get("X-Request-Id"), "error_id": m["error_id"],
	}
	if !reflect.DeepEqual(m, want) {
		t.Errorf("got  %v\nwant %v", m, want)
	}
	lines := o.log.lines(t)
	if len(lines) != 1 {
		t.Fatalf("got %d log lines, want 1: %s", len(lines), &o.log)
	}
	l := lines[0]
	if l["error_id"] != m["error_id"] || l["request_id"] != m["request_id"] || len(m["error_id"].(string)) < 26 {
		t.Errorf("got the ids %v, %v in the log and %v, %v in the body", l["error_id"], l["request_id"], m["error_id"], m["request_id"])
	}
	if l["error"] != "query: "+canary || l["level"] != "ERROR" || l["status"] != 500.0 || l["method"] != "GET" || l["path"] != "/items" || l["code"] != "internal_error" {
		t.Errorf("got the log line %v", l)
	}
	if stack, _ := l["stack"].(string); !strings.Contains(stack, ".fail.func1(") {
		t.Errorf("the stack does not lead to the handler: %s", stack)
	}
	if e := o.events.all(); len(e) != 0 {
		t.Errorf("got the events %v, want none: an error is no security event of its own", e)
	}
}

func TestASVS_13_4_6_NoVersionBanner(t *testing.T) {
	h := get(new(witness).recover(fail(io.EOF))).Header()
	want := []string{"Cache-Control", "Content-Length", "Content-Type", "X-Content-Type-Options", "X-Request-Id"}
	if got := slices.Sorted(maps.Keys(h)); !slices.Equal(got, want) {
		t.Errorf("got the fields %v, want %v", got, want)
	}
}

func TestASVS_4_1_1_ContentTypeOfEveryForm(t *testing.T) {
	for accept, want := range map[string]string{
		"*/*":        "application/problem+json", // RFC 8259, section 11: JSON is UTF-8 and has no charset parameter
		"text/plain": "text/plain; charset=utf-8",
		"text/html":  "text/html; charset=utf-8",
		"text/xml":   "application/problem+xml; charset=utf-8",
	} {
		w := get(fail(httperr.New(404, "", "")), accept)
		if got := w.Header()["Content-Type"]; !slices.Equal(got, []string{want}) {
			t.Errorf("Accept: %s: got %q, want %q", accept, got, want)
		}
		if got := w.Header()["X-Content-Type-Options"]; !slices.Equal(got, []string{"nosniff"}) {
			t.Errorf("Accept: %s: got X-Content-Type-Options %q", accept, got)
		}
	}
}

// A client that leaves must not be able to fill the log with stacks.
func TestAClientThatLeftIsNotAnError(t *testing.T) {
	for _, tt := range []struct {
		name      string
		left      bool
		err       error
		wantLevel string
	}{
		{"the client left", true, fmt.Errorf("query: %w", context.Canceled), "INFO"},
		{"something else was canceled", false, fmt.Errorf("query: %w", context.Canceled), "ERROR"},
		{"the client left, and something else failed", true, errors.New("query failed"), "ERROR"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			if tt.left {
				leave()
			}
			var o witness
			r := httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx)
			o.recover(fail(tt.err)).ServeHTTP(httptest.NewRecorder(), r)
			lines := o.log.lines(t)
			if len(lines) != 1 || lines[0]["level"] != tt.wantLevel {
				t.Fatalf("got %v, want one line at %s", lines, tt.wantLevel)
			}
			if _, stack := lines[0]["stack"]; stack != (tt.wantLevel == "ERROR") {
				t.Errorf("got a stack: %v", stack)
			}
		})
	}
}

func TestWhatIsLogged(t *testing.T) {
	problem := httperr.New(404, "not_found", "")
	event := func(status int, reason string) *httperr.Problem {
		p := httperr.New(status, "x", "").WithCause(errors.New("the cause"))
		p.Audit = &audit.Event{Name: audit.LoginFail, Reason: reason}
		return p
	}
	for _, tt := range []struct {
		name      string
		err       error
		wantLevel string // "" is no line
		wantStack bool
		wantError string
	}{
		{"a refusal that says it all", problem, "", false, ""},
		{"a refusal with a cause", problem.WithCause(errors.New("the cause")), "INFO", false, "httperr: 404: not_found: the cause"},
		{"a refusal that was wrapped", fmt.Errorf("the place: %w", problem), "INFO", false, "the place: httperr: 404: not_found"},
		{"a refusal whose event gives the reason", event(401, "the reason"), "", false, ""},
		{"a refusal whose event gives none", event(401, ""), "INFO", false, "httperr: 401: x: the cause"},
		{"a dependency that is out of reach", event(503, "the reason"), "WARN", false, "httperr: 503: x: the cause"},
		{"an internal error", event(500, "the reason"), "ERROR", true, "httperr: 500: x: the cause"},
		{"a problem with an impossible status", event(0, "the reason"), "ERROR", true, "httperr: 0: x: the cause"},
		{"nil", nil, "ERROR", true, "nil error"},
		{"a typed nil error", (*nilError)(nil), "ERROR", true, "<nil>"},
		{"a forged line", errors.New("a\r\n{\"level\":\"INFO\"}\x1b[2J\u202e"), "ERROR", true, `a\r\n{"level":"INFO"}\x1b[2J\u202e`},
		{"an endless cause", errors.New(strings.Repeat("x", 1<<20)), "ERROR", true, strings.Repeat("x", 8<<10) + "…"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var o witness
			get(o.recover(fail(tt.err)))
			lines := o.log.lines(t)
			if tt.wantLevel == "" {
				if len(lines) != 0 {
					t.Errorf("got %v, want nothing", lines)
				}
				return
			}
			if len(lines) != 1 {
				t.Fatalf("got %d lines, want 1", len(lines))
			}
			l := lines[0]
			if l["level"] != tt.wantLevel || l["error"] != tt.wantError {
				t.Errorf("got %v %.200v, want %s %.200s", l["level"], l["error"], tt.wantLevel, tt.wantError)
			}
			if _, has := l["stack"]; has != tt.wantStack {
				t.Errorf("got a stack: %v, want %v", has, tt.wantStack)
			}
		})
	}
}

// The message of a log line and the name of an event come from a fixed set,
// whatever methods, paths and agents clients make up.
func TestCVE_2023_45142_UnboundedLabels(t *testing.T) {
	var o witness
	p := httperr.New(401, "no", "").WithCause(io.EOF)
	p.Audit = &audit.Event{Name: audit.LoginFail}
	h := o.recover(fail(p))
	for i := range 1000 {
		r := httptest.NewRequest(http.MethodGet, fmt.Sprintf("/%d", i), nil)
		r.Method = fmt.Sprintf("M%d%s", i, strings.Repeat("X", 100))
		r.Header.Set("User-Agent", fmt.Sprint(i))
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	seen := map[any]bool{}
	for _, l := range o.log.lines(t) {
		seen[l["msg"]] = true
		if m := l["method"].(string); len(m) > 40 {
			t.Fatalf("the log has the method %q", m)
		}
	}
	for _, e := range o.events.all() {
		seen[e.Name] = true
	}
	if len(seen) != 2 {
		t.Errorf("got %d messages and names, want 2: %v", len(seen), seen)
	}
}

// What a request brings to prove itself is in no log line, event or answer.
func TestCVE_2022_23469_CredentialsInLogs(t *testing.T) {
	var o witness
	p := httperr.New(401, "credentials_invalid", "The credentials are not valid.").WithCause(io.EOF)
	p.Audit = &audit.Event{Name: audit.LoginFail}
	for _, err := range []error{p, io.EOF, httperr.New(503, "x", "").WithCause(io.EOF)} {
		r := httptest.NewRequest(http.MethodPost, "/items?access_token=canary", strings.NewReader("canary"))
		r.Header.Set("Authorization", "Bearer canary")
		r.Header.Set("Cookie", "session=canary")
		r.Header.Set("X-Api-Key", "canary")
		w := httptest.NewRecorder()
		o.recover(fail(err)).ServeHTTP(w, r)
		if out := w.Body.String() + fmt.Sprint(w.Header()); strings.Contains(out, "canary") {
			t.Errorf("%v: the answer has the credentials: %s", err, out)
		}
	}
	if out := o.log.String() + fmt.Sprintf("%+v", o.events.all()); strings.Contains(out, "canary") || len(o.log.lines(t)) != 3 || len(o.events.all()) != 1 {
		t.Errorf("got the log and events %s", out)
	}
}

func TestWriteRecordsTheEventOnceAndCompletesIt(t *testing.T) {
	var o witness
	p := httperr.New(http.StatusServiceUnavailable, "busy", "")
	p.Audit = &audit.Event{Name: audit.LoginFail, Level: slog.LevelWarn, Reason: "the store\nis down", Code: "overwritten"}
	door := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, r := scope.For(r)
			s.Client = netip.MustParseAddr("203.0.113.9")
			next.ServeHTTP(w, r)
		})
	}
	mux := http.NewServeMux()
	mux.Handle("GET /items", fail(fmt.Errorf("wrapped: %w", p)))
	r := httptest.NewRequest(http.MethodGet, "/items?q=1", nil)
	r.Header.Set("X-Request-Id", "req-1")
	w := httptest.NewRecorder()
	o.recover(door(httperr.Mux(mux))).ServeHTTP(w, r)

	events := o.events.all()
	if len(events) != 1 {
		t.Fatalf("got %d events, want 1: %+v", len(events), events)
	}
	e := events[0]
	if e.Time.IsZero() {
		t.Error("the event has no time")
	}
	e.Time = p.Audit.Time
	want := audit.Event{
		Name: audit.LoginFail, Level: slog.LevelWarn, Reason: `the store\nis down`, RequestID: "req-1",
		ErrorID: members(t, w.Body.Bytes())["error_id"].(string), Method: "GET", Path: "/items", Route: "GET /items",
		Addr: netip.MustParseAddr("203.0.113.9"), Status: 503, Code: "busy",
	}
	if !reflect.DeepEqual(e, want) {
		t.Errorf("got  %+v\nwant %+v", e, want)
	}
}

func TestTheEventOfAnImpossibleProblemIsStillRecorded(t *testing.T) {
	var o witness
	p := &httperr.Problem{Audit: &audit.Event{Name: audit.AuthzFail}}
	get(o.recover(fail(p)))
	if e := o.events.all(); len(e) != 1 || e[0].Status != 500 || e[0].Code != "internal_error" {
		t.Errorf("got %+v", e)
	}
}

// An event without a Recover goes where slog goes.
func TestWriteWithoutRecover(t *testing.T) {
	buf := captureDefault(t)
	p := httperr.New(403, "forbidden", "")
	p.Audit = &audit.Event{Name: audit.AuthzFail}
	w := get(fail(p))
	if m := members(t, w.Body.Bytes()); w.Code != 403 || m["request_id"] != nil || w.Header().Get("X-Request-Id") != "" {
		t.Errorf("got %d %v", w.Code, m)
	}
	get(fail(io.EOF))
	if l := buf.lines(t); len(l) != 2 || l[0]["msg"] != "authz_fail" || l[1]["error"] != "EOF" {
		t.Errorf("slog.Default got %v", l)
	}
}

func TestWriteNeverChangesTheProblem(t *testing.T) {
	original := func() *httperr.Problem {
		return &httperr.Problem{
			Type: "https://example.com/p", Title: "T", Detail: "D", Instance: "/i", Status: 401, Code: "c",
			Header:     http.Header{"www-authenticate": {"Basic", "bad\r\nvalue"}, "Vary": {"Origin", "X"}, "Bad Name": {"x"}},
			Fields:     []httperr.Field{{Pointer: "/a", Location: "body", Code: "gt", Detail: "must be more"}},
			Extensions: map[string]any{"balance": 30, "status": 200, "list": []any{1, "b"}},
			Audit:      &audit.Event{Name: audit.LoginFail, Reason: "a\nb"},
		}
	}
	p := original()
	h := new(witness).recover(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Vary"] = []string{"Accept"}
		httperr.Write(w, r, p)
	}))
	// Many at once, which the race detector watches.
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if w := get(h); w.Code != 401 || !slices.Equal(w.Header()["Vary"], []string{"Accept", "Origin", "X"}) {
				t.Errorf("got %d with Vary %q", w.Code, w.Header()["Vary"])
			}
		})
	}
	wg.Wait()
	if want := original(); !reflect.DeepEqual(p, want) {
		t.Errorf("got  %+v\nwant %+v", p, want)
	}
}

func TestTheFieldsOfAFailedHandler(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  http.Header
		want http.Header // beyond what every answer has
	}{
		{"of a body that is not sent", http.Header{
			"Content-Length": {"9999"}, "Content-Encoding": {"gzip"}, "Content-Range": {"bytes 0-1/2"}, "Content-Language": {"de"},
			"Content-Location": {"/x"}, "Content-Disposition": {"attachment"}, "Content-Digest": {"sha-256=::"}, "Repr-Digest": {"sha-256=::"},
			"Unencoded-Digest": {"sha-256=::"}, "Signature": {"a=:AA==:"}, "Signature-Input": {`a=("@status")`},
			"Digest": {"x"}, "Content-Md5": {"x"}, "Etag": {`"a"`}, "Last-Modified": {"now"}, "Accept-Ranges": {"bytes"},
			"Transfer-Encoding": {"chunked"}, "Content-Type": {"image/png"}, "X-Content-Type-Options": {"x"},
		}, nil},
		{"for caches", http.Header{
			"Cache-Control": {"public, max-age=600"}, "Cdn-Cache-Control": {"max-age=600"}, "Surrogate-Control": {"max-age=600"},
			"Expires": {"Thu, 01 Jan 2099 00:00:00 GMT"}, "Age": {"1"}, "Pragma": {"x"}, "No-Vary-Search": {"params"},
			"Cloudflare-Cdn-Cache-Control": {"max-age=600"}, "vercel-cdn-cache-control": {"max-age=600"}, "Edge-Control": {"max-age=600"}, "ExampleCDN-Cache-Control": {"max-age=600"},
			"X-Accel-Expires": {"600"}, "X-Litespeed-Cache-Control": {"public"},
		}, nil},
		{"for servers in front", http.Header{
			"X-Accel-Redirect": {"/protected/f"}, "x-accel-redirect": {"/protected/f"}, "X-Accel-Buffering": {"no"}, "X-Sendfile": {"/f"},
			"X-SENDFILE": {"/f"}, "X-Sendfile-Temporary": {"/f"}, "X-Sendfile2": {"/f 0-9"}, "X-Send-File": {"/f"}, "X-Lighttpd-Send-File": {"/f"}, "X-LiteSpeed-Location": {"/f"}, "X-Reproxy-Url": {"http://10.0.0.1/f"},
		}, nil},
		{"that set cookies or lead elsewhere", http.Header{"Set-Cookie": {"a=b", "c=d"}, "Location": {"/"}, "Refresh": {"0; url=/"}}, nil},
		{"spelled past Header.Set", http.Header{"ETag": {"a"}, "set-cookie": {"a=b"}, "CONTENT-LENGTH": {"9"}, "content-type": {"text/html"}, "cache-control": {"public"}}, nil},
		{"trailers", http.Header{"Trailer": {"X-Checksum, X-Other", "grpc-status"}, "X-Checksum": {"1"}, "Grpc-Status": {"13"}, http.TrailerPrefix + "X-Late": {"1"}}, nil},
		{"all others stay", http.Header{
			"Access-Control-Allow-Origin": {"https://a.example"}, "Strict-Transport-Security": {"max-age=63072000"}, "Vary": {"Origin"},
			"Content-Security-Policy": {"default-src 'none'"}, "Retry-After": {"5"}, "Www-Authenticate": {"Basic"}, "X-Custom": {"a", "b"},
		}, http.Header{
			"Access-Control-Allow-Origin": {"https://a.example"}, "Strict-Transport-Security": {"max-age=63072000"}, "Vary": {"Origin"},
			"Content-Security-Policy": {"default-src 'none'"}, "Retry-After": {"5"}, "Www-Authenticate": {"Basic"}, "X-Custom": {"a", "b"},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := get(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				maps.Copy(w.Header(), tt.set)
				httperr.Write(w, r, httperr.New(404, "not_found", ""))
			}))
			want := http.Header{
				"Cache-Control": {"no-store"}, "X-Content-Type-Options": {"nosniff"},
				"Content-Type": {"application/problem+json"}, "Content-Length": {fmt.Sprint(w.Body.Len())},
			}
			maps.Copy(want, tt.want)
			if got := w.Header(); !reflect.DeepEqual(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
		})
	}
}

func TestTheHeaderOfAProblem(t *testing.T) {
	for _, tt := range []struct {
		name     string
		set, add http.Header
		want     http.Header // those named by set or add
	}{
		{"set", nil, http.Header{"Retry-After": {"5"}}, http.Header{"Retry-After": {"5"}}},
		{"several values", nil, http.Header{"Www-Authenticate": {"Basic", "Bearer"}}, http.Header{"Www-Authenticate": {"Basic", "Bearer"}}},
		{"replaces the handler's", http.Header{"Retry-After": {"9"}}, http.Header{"Retry-After": {"5"}}, http.Header{"Retry-After": {"5"}}},
		{"canonical", nil, http.Header{"retry-after": {"5"}}, http.Header{"Retry-After": {"5"}}},
		{"Vary is added to", http.Header{"Vary": {"Origin"}}, http.Header{"vary": {"Authorization"}}, http.Header{"Vary": {"Origin", "Authorization"}}},
		{"Vary alone", nil, http.Header{"Vary": {"Authorization"}}, http.Header{"Vary": {"Authorization"}}},
		{"line break", nil, http.Header{"X-A": {"a\r\nSet-Cookie: b=c"}}, http.Header{}},
		{"one bad value of two", nil, http.Header{"X-A": {"bad\n", "good"}}, http.Header{"X-A": {"good"}}},
		{"only bad values leave what was there", http.Header{"X-A": {"old"}}, http.Header{"X-A": {"a\x00"}}, http.Header{"X-A": {"old"}}},
		{"NUL, escape, delete", nil, http.Header{"X-A": {"\x00", "\x1b", "\x7f"}}, http.Header{}},
		{"tab may stand in a value", nil, http.Header{"X-A": {"a\tb"}}, http.Header{"X-A": {"a\tb"}}},
		{"no value", nil, http.Header{"X-A": {}}, http.Header{}},
		{"no name", nil, http.Header{"": {"x"}}, http.Header{}},
		{"name with a line break", nil, http.Header{"X-A\r\nSet-Cookie": {"x"}}, http.Header{}},
		{"name with a space", nil, http.Header{"X A": {"x"}}, http.Header{}},
		{"name beyond ASCII", nil, http.Header{"X-Ä": {"x"}}, http.Header{}},
		{"a trailer", nil, http.Header{http.TrailerPrefix + "X-A": {"x"}}, http.Header{}},
		{"every character of a name", nil, http.Header{"!#$%&'*+-.^_`|~a9": {"x"}}, http.Header{http.CanonicalHeaderKey("!#$%&'*+-.^_`|~a9"): {"x"}}},
		{"the body's own can't be set", nil, http.Header{"Content-Length": {"1"}, "Content-Type": {"text/html"}}, http.Header{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := get(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				maps.Copy(w.Header(), tt.set)
				httperr.Write(w, r, &httperr.Problem{Status: 404, Header: tt.add})
			}))
			want := http.Header{
				"Cache-Control": {"no-store"}, "X-Content-Type-Options": {"nosniff"},
				"Content-Type": {"application/problem+json"}, "Content-Length": {fmt.Sprint(w.Body.Len())},
			}
			maps.Copy(want, tt.want)
			if got := w.Header(); !reflect.DeepEqual(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}

// HEAD gives the fields of GET and no body, errors included.
func TestRFC9110_9_3_2_HeadHasTheSameFields(t *testing.T) {
	p := httperr.New(401, "credentials_missing", "This needs credentials.")
	p.Header = http.Header{"Www-Authenticate": {"Basic"}}
	for _, proto := range protocols {
		t.Run(proto.name, func(t *testing.T) {
			s := serve(t, new(witness).recover(fail(p)), proto.http2)
			header := func() http.Header { return http.Header{"X-Request-Id": {"req-1"}} }
			g, h := s.do(t, http.MethodGet, "/", header()), s.do(t, http.MethodHead, "/", header())
			if g.err != nil || h.err != nil {
				t.Fatal(g.err, h.err)
			}
			g.Header.Del("Date")
			h.Header.Del("Date")
			if !reflect.DeepEqual(g.Header, h.Header) || g.StatusCode != h.StatusCode {
				t.Errorf("GET  %d %v\nHEAD %d %v", g.StatusCode, g.Header, h.StatusCode, h.Header)
			}
			if len(h.body) != 0 || len(g.body) == 0 || h.Header.Get("Content-Length") != fmt.Sprint(len(g.body)) {
				t.Errorf("got %d bytes by HEAD, %d by GET, Content-Length %s", len(h.body), len(g.body), h.Header.Get("Content-Length"))
			}
			if out := s.errors.String(); out != "" {
				t.Errorf("net/http logged %q", out)
			}
		})
	}
}

func TestWriteOfARequestWithoutAURL(t *testing.T) {
	buf := captureDefault(t)
	w := httptest.NewRecorder()
	httperr.Write(w, &http.Request{Method: http.MethodGet}, io.EOF)
	if l := buf.lines(t); w.Code != 500 || len(l) != 1 || l[0]["path"] != "" {
		t.Errorf("got %d and the log %v", w.Code, l)
	}
}

func TestMaxBytesReaderIsA413(t *testing.T) {
	s := serve(t, new(witness).recover(httperr.Handler(func(w http.ResponseWriter, r *http.Request) error {
		_, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 4))
		return err
	})), false)
	resp, err := s.Client().Post(s.URL, "text/plain", strings.NewReader("12345"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if m := members(t, body); resp.StatusCode != 413 || m["code"] != "body_too_large" {
		t.Errorf("got %d %s", resp.StatusCode, body)
	}
}
