package errors_test

import (
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	httperr "github.com/sallyport/sallyport/errors"
)

func TestRFC9457_B_XML(t *testing.T) {
	p := &httperr.Problem{
		Type: "https://example.com/probs/out-of-credit", Title: "You do not have enough credit.", Detail: "<b>30</b> & \x00\xff", Status: 403, Instance: "/account/12345",
		Code:   "credit",
		Fields: []httperr.Field{{Pointer: "/a", Location: "body", Code: "gt", Detail: "must be \"more\""}},
		Extensions: map[string]any{
			"balance": 30, "accounts": []any{"/1", map[string]any{"id": 2, "a b": 3}}, "none": nil, "yes": true, "big": uint64(math.MaxUint64),
			"1st": "no name", "a><b": "no name", "xmlns": "no name", "XMLa": "no name", "status": 200, "broken": math.NaN(),
		},
	}
	const want = `<?xml version="1.0" encoding="UTF-8"?>
<problem xmlns="urn:ietf:rfc:7807"><type>https://example.com/probs/out-of-credit</type><title>You do not have enough credit.</title><status>403</status>` +
		"<detail>&lt;b&gt;30&lt;/b&gt; &amp; \ufffd\ufffd</detail><instance>/account/12345</instance><code>credit</code>" +
		"<errors><i><code>gt</code><detail>must be &#34;more&#34;</detail><location>body</location><pointer>/a</pointer></i></errors>" +
		"<accounts><i>/1</i><i><id>2</id></i></accounts><balance>30</balance><big>18446744073709551615</big><none></none><yes>true</yes></problem>\n"
	if got := get(fail(p), "application/problem+xml").Body.String(); got != want {
		t.Errorf("got %s,\nwant %s", got, want)
	}
}

// A redacted is shown as something else than it is.
type redacted string

func (redacted) MarshalText() ([]byte, error)    { return []byte("***"), nil }
func (r *redacted) UnmarshalText(b []byte) error { *r = redacted(b); return nil }

// What an extension points to is the application's, and others read it at the same time.
func TestXMLLeavesExtensionsAlone(t *testing.T) {
	type limits struct {
		Max   map[string]int `json:"max"`
		Token redacted       `json:"token"`
	}
	live := &limits{map[string]int{"a": 1}, "s3cret"}
	h := new(witness).recover(fail(&httperr.Problem{Status: 409, Code: "full", Extensions: map[string]any{"limits": live}}))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if got := get(h, "application/problem+xml").Body.String(); !strings.Contains(got, "<limits><max><a>1</a></max><token>***</token></limits>") {
					t.Errorf("got %s", got)
				}
			}
		})
	}
	wg.Wait()
	if live.Token != "s3cret" || len(live.Max) != 1 {
		t.Errorf("the extension has become %v", live)
	}
}

// RFC 9111, section 4.1: what a cache may keep says what it depends on.
func TestRFC9111_4_1_VaryOfWhatIsKept(t *testing.T) {
	for _, tt := range []struct {
		header http.Header
		want   []string
	}{
		{nil, nil},
		{http.Header{"Cache-Control": {"public, max-age=60"}}, []string{"Accept"}},
		{http.Header{"CDN-Cache-Control": {"max-age=60"}}, []string{"Accept"}},
		{http.Header{"Cloudflare-Cdn-Cache-Control": {"max-age=60"}}, []string{"Accept"}},
		{http.Header{"Surrogate-Control": {"max-age=60"}}, []string{"Accept"}},
		{http.Header{"X-Accel-Expires": {"60"}}, []string{"Accept"}},
		{http.Header{"Expires": {"Thu, 01 Jan 2099 00:00:00 GMT"}}, []string{"Accept"}},
		{http.Header{"Retry-After": {"60"}}, nil},
		{http.Header{"cache-control": {"max-age=60"}, "Vary": {"Origin"}}, []string{"Origin", "Accept"}},
	} {
		w := get(new(witness).recover(fail(&httperr.Problem{Status: 404, Code: "x", Header: tt.header})), "text/html")
		if got := w.Header()["Vary"]; !slices.Equal(got, tt.want) {
			t.Errorf("%v: got Vary %q, want %q", tt.header, got, tt.want)
		}
	}
}

func TestTraceContext(t *testing.T) {
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	for _, tt := range []struct {
		name string
		sent []string
		want string
	}{
		{"valid", []string{"00-" + trace + "-00f067aa0ba902b7-01"}, trace},
		{"of a later version", []string{"01-" + trace + "-00f067aa0ba902b7-01-more"}, trace},
		{"of a later version, no longer", []string{"cc-" + trace + "-00f067aa0ba902b7-01"}, trace},
		{"none", nil, ""},
		{"two", []string{"00-" + trace + "-00f067aa0ba902b7-01", "00-" + trace + "-00f067aa0ba902b7-01"}, ""},
		{"longer", []string{"00-" + trace + "-00f067aa0ba902b7-01-more"}, ""},
		{"of a later version, longer by another sign", []string{"01-" + trace + "-00f067aa0ba902b7-01.more"}, ""},
		{"shorter", []string{"00-" + trace + "-00f067aa0ba902b7-0"}, ""},
		{"empty", []string{""}, ""},
		{"the version that is none", []string{"ff-" + trace + "-00f067aa0ba902b7-01"}, ""},
		{"capitals", []string{"00-" + strings.ToUpper(trace) + "-00f067aa0ba902b7-01"}, ""},
		{"no hexadecimal", []string{"00-" + trace[:31] + "\n-00f067aa0ba902b7-01"}, ""},
		{"no trace", []string{"00-" + strings.Repeat("0", 32) + "-00f067aa0ba902b7-01"}, ""},
		{"no parent", []string{"00-" + trace + "-0000000000000000-01"}, ""},
		{"other separators", []string{"00_" + trace + "-00f067aa0ba902b7-01"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, on := range []bool{true, false} {
				w := new(witness)
				cfg := w.config()
				cfg.TraceContext = on
				h := httperr.Recover(cfg)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					httperr.Write(w, r, &httperr.Problem{Status: 500, Extensions: map[string]any{"Trace_ID": "mine"}})
				}))
				r := httptest.NewRequest("GET", "/", nil)
				r.Header["Traceparent"] = tt.sent
				rec := httptest.NewRecorder()
				h.ServeHTTP(rec, r)
				want := tt.want
				if !on {
					want = ""
				}
				got, _ := members(t, rec.Body.Bytes())["trace_id"].(string)
				if logged := strings.Contains(w.log.String(), "trace_id"); got != want || logged != (want != "") || strings.Contains(rec.Body.String(), "mine") {
					t.Errorf("on %t: got %s, logged %t: %s", on, rec.Body, logged, w.log.String())
				}
			}
		})
	}
}

// FuzzTraceparent checks that what is taken for a trace id is one.
func FuzzTraceparent(f *testing.F) {
	f.Add("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	f.Add("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x")
	h := httperr.Recover(httperr.Config{TraceContext: true, Logger: slog.New(slog.DiscardHandler)})(fail(httperr.New(404, "x", "")))
	f.Fuzz(func(t *testing.T, field string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Traceparent"] = []string{field}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if id, ok := members(t, w.Body.Bytes())["trace_id"].(string); ok && (len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" || strings.Trim(id, "0") == "" || !strings.Contains(field, id)) {
			t.Errorf("%q gives %q", field, id)
		}
	})
}
