package transport_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport/sallyport"
	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/transport"
)

type httpDoor = func(http.Handler) http.Handler

// doors are all the doors of the package.
func doors(t testing.TB) map[string]httpDoor {
	return map[string]httpDoor{
		"ClientIP":     newClientIP(t, xff, proxies...).Wrap,
		"Secure":       transport.Secure(transport.Headers{}),
		"RequireHTTPS": transport.RequireHTTPS,
		"AllowedHosts": transport.AllowedHosts("example.com"),
		"Methods":      transport.Methods(),
		"StripHeaders": transport.StripHeaders("X-User", "X-Auth-*"),
		"CSRF":         transport.CSRF(),
		"SameOrigin":   transport.SameOrigin(),
		"MaxBody":      transport.MaxBody(1 << 20),
		"StrictPath":   transport.StrictPath(transport.PathRules{}),
	}
}

func TestDoorsRefuseANilHandler(t *testing.T) {
	for name, door := range doors(t) {
		wantPanic(t, name+": the handler is nil", func() { door(nil) })
	}
}

// All of them together let an honest request through, unchanged.
func TestDoorsLetAnHonestRequestThrough(t *testing.T) {
	var all []sallyport.Middleware
	for _, name := range []string{"ClientIP", "Secure", "RequireHTTPS", "AllowedHosts", "Methods", "StripHeaders", "CSRF", "SameOrigin", "MaxBody", "StrictPath"} {
		all = append(all, doors(t)[name])
	}
	h := sallyport.Chain(all...)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != "hello" || r.Header.Get("X-Other") != "kept" || r.Method != "POST" || r.URL.Path != "/items" {
			t.Errorf("got %s %s, %v, body %q, error %v", r.Method, r.URL, r.Header, body, err)
		}
		w.WriteHeader(201)
	}))
	r := httptest.NewRequest("POST", "https://example.com/items", strings.NewReader("hello"))
	r.Header.Set("X-Other", "kept")
	w := do(h, r)
	if w.Code != 201 {
		t.Errorf("got %d: %s", w.Code, w.Body)
	}
	wantHeaders(t, w.Header(), true)
}

func TestASVS_4_1_4_Methods(t *testing.T) {
	const all = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
	for _, tt := range []struct {
		allowed []string
		method  string
		want    bool
		allow   string
	}{
		{nil, "GET", true, ""},
		{nil, "HEAD", true, ""},
		{nil, "POST", true, ""},
		{nil, "PUT", true, ""},
		{nil, "PATCH", true, ""},
		{nil, "DELETE", true, ""},
		{nil, "OPTIONS", true, ""},
		{nil, "TRACE", false, all},
		{nil, "CONNECT", false, all},
		{nil, "get", false, all},
		{nil, "M-SEARCH", false, all},
		{nil, "TRACK", false, all},
		{nil, "GET ", false, all},
		{nil, "", false, all},
		{[]string{"GET"}, "GET", true, ""},
		{[]string{"GET"}, "HEAD", true, ""},
		{[]string{"GET"}, "POST", false, "GET, HEAD"},
		{[]string{"POST", "GET", "POST", "HEAD"}, "DELETE", false, "GET, HEAD, POST"},
		{[]string{"QUERY"}, "QUERY", true, ""},
		{[]string{"QUERY"}, "GET", false, "QUERY"},
	} {
		t.Run(tt.method, func(t *testing.T) {
			events := &recorder{}
			r := httptest.NewRequest("GET", "/", nil)
			r.Method = tt.method
			w := do(httperr.Recover(httperr.Config{Audit: events})(transport.Methods(tt.allowed...)(ok)), r)
			if tt.want {
				if w.Code != 200 {
					t.Errorf("%v: got %d, want 200", tt.allowed, w.Code)
				}
				return
			}
			wantProblem(t, w, 405, "method_not_allowed")
			if got := w.Header()["Allow"]; !slices.Equal(got, []string{tt.allow}) {
				t.Errorf("Allow: got %q, want %q", got, tt.allow)
			}
			if e := events.one(t); e.Name != audit.InputValidationFail {
				t.Errorf("got event %+v", e)
			}
		})
	}
	for _, bad := range []string{"", "TRACE", "CONNECT", "get", "Get", "G ET", "GET,POST"} {
		wantPanic(t, "Methods: ", func() { transport.Methods("GET", bad) })
	}
}

func TestMaxBody(t *testing.T) {
	for _, tt := range []struct {
		name    string
		body    string
		length  int64 // Content-Length; -1 is unknown
		read    bool  // the handler is reached
		wantErr bool  // and can't read the body
	}{
		{"empty", "", 0, true, false},
		{"as much as allowed", "12345", 5, true, false},
		{"announced too large", "123456", 6, false, false},
		{"announced huge", "1", 1 << 40, false, false},
		{"unknown, as much as allowed", "12345", -1, true, false},
		{"unknown, too large", "123456", -1, true, true},
		{"announced too small", "123456", 1, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			events := &recorder{}
			reached := false
			h := httperr.Recover(httperr.Config{Audit: events})(transport.MaxBody(5)(httperr.Handler(func(_ http.ResponseWriter, r *http.Request) error {
				reached = true
				got, err := io.ReadAll(r.Body)
				var tooLarge *http.MaxBytesError
				if errors.As(err, &tooLarge) != tt.wantErr || len(got) > 5 {
					t.Errorf("read %q, %v", got, err)
				}
				if tt.wantErr && tooLarge.Limit != 5 {
					t.Errorf("Limit = %d, want 5", tooLarge.Limit)
				}
				return err
			})))
			r := httptest.NewRequest("POST", "/", strings.NewReader(tt.body))
			r.ContentLength = tt.length
			w := do(h, r)
			if reached != tt.read {
				t.Errorf("handler reached: %v, want %v", reached, tt.read)
			}
			if !tt.read || tt.wantErr {
				wantProblem(t, w, 413, "body_too_large")
			} else if w.Code != 200 {
				t.Errorf("got %d, want 200", w.Code)
			}
			if !tt.read {
				if e := events.one(t); e.Name != audit.InputValidationFail {
					t.Errorf("got event %+v", e)
				}
			}
		})
	}
	for _, n := range []int64{0, -1} {
		wantPanic(t, "MaxBody: n must be positive", func() { transport.MaxBody(n) })
	}
}

// The smallest of several holds, in either order.
func TestMaxBodyNested(t *testing.T) {
	for _, limits := range [][2]int64{{3, 100}, {100, 3}} {
		h := transport.MaxBody(limits[0])(transport.MaxBody(limits[1])(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if got, err := io.ReadAll(r.Body); len(got) != 3 || err == nil {
				t.Errorf("limits %v: read %q, %v; want 3 bytes and an error", limits, got, err)
			}
		})))
		r := httptest.NewRequest("POST", "/", strings.NewReader("12345"))
		r.ContentLength = -1
		do(h, r)
	}
}

// The request that the caller holds keeps its body, as it keeps its fields.
func TestDoorsLeaveTheCallersRequest(t *testing.T) {
	r := httptest.NewRequest("POST", "/", strings.NewReader("12345"))
	r.Header.Set("X-User", "admin")
	body := r.Body
	for _, door := range []httpDoor{
		transport.MaxBody(9),
		transport.StripHeaders("X-User"),
		sallyport.Chain(transport.StripHeaders("X-User"), transport.MaxBody(9)),
	} {
		do(door(http.HandlerFunc(func(_ http.ResponseWriter, inner *http.Request) {
			if inner.Body == body && inner.Header.Get("X-User") != "" {
				t.Error("the door had no effect")
			}
		})), r)
	}
	if r.Body != body || r.Header.Get("X-User") != "admin" {
		t.Errorf("the caller's request was changed: %v", r.Header)
	}
}

// CVE-2025-64484, CVE-2026-39858 and CVE-2026-54763: identity fields that came
// through in another spelling.
func TestCVE_2025_64484_StripHeaders(t *testing.T) {
	door := transport.StripHeaders("X-User", "X-Auth-*", "remote_addr")
	for _, tt := range []struct {
		field string
		want  bool // stripped
	}{
		{"X-User", true},
		{"X_User", true},
		{"x-user", true}, // as stored by code that writes into the map
		{"X_USER", true},
		{"x_user", true},
		{"X-Auth-Subject", true},
		{"X_Auth_Subject", true},
		{"X-AUTH_Groups", true},
		{"X-Auth-", true},
		{"Remote-Addr", true},
		{"Remote_Addr", true},
		{"X-Username", false},
		{"X-Use", false},
		{"X-User-", false},
		{"Xx-User", false},
		{"X-Authority", false},
		{"X-Auth", false},
		{"Authorization", false},
		{"X--User", false},
	} {
		t.Run(tt.field, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header[tt.field] = []string{"admin", "root"}
			r.Header["X-Kept"] = []string{"a", "b"}
			do(door(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if _, found := r.Header[tt.field]; found == tt.want {
					t.Errorf("found %v, want stripped %v", found, tt.want)
				}
				if !slices.Equal(r.Header["X-Kept"], []string{"a", "b"}) {
					t.Errorf("X-Kept: got %q", r.Header["X-Kept"])
				}
				r.Header.Set("X-Kept", "changed") // must not reach the caller if this is a copy
			})), r)
			if !slices.Equal(r.Header[tt.field], []string{"admin", "root"}) {
				t.Errorf("the caller's field is %q now", r.Header[tt.field])
			}
			if tt.want && r.Header.Get("X-Kept") != "a" {
				t.Error("the caller's Header is shared with the handler")
			}
		})
	}

	// Several spellings at once: all go.
	r := httptest.NewRequest("GET", "/", nil)
	for _, name := range []string{"X-User", "X_User", "x-user", "X-Auth-A", "X-Auth-B"} {
		r.Header[name] = []string{"admin"}
	}
	do(door(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if len(r.Header) != 0 {
			t.Errorf("left: %v", r.Header)
		}
	})), r)

	wantPanic(t, "StripHeaders: no name", func() { transport.StripHeaders() })
	for _, bad := range []string{"", "*", "X-*-User", "*-User", "X-User**", "X User", "X-User:", "host", "Content-Length", "transfer-encoding", "Trailer"} {
		wantPanic(t, "StripHeaders: ", func() { transport.StripHeaders("X-Ok", bad) })
	}
}

// Nothing matched: the same request goes on, and nothing is copied.
func TestStripHeadersCopiesOnlyIfNeeded(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Accept", "*/*")
	do(transport.StripHeaders("X-User")(http.HandlerFunc(func(_ http.ResponseWriter, inner *http.Request) {
		if inner != r {
			t.Error("the request was copied")
		}
	})), r)
}
