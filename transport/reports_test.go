package transport_test

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/eventlog"
	"github.com/sallyport/sallyport/transport"
)

const (
	oldReport = `{"csp-report":{"document-uri":"https://a.example/page?token=s3cret#s3cret","violated-directive":"script-src-elem 'self'","effective-directive":"script-src-elem","blocked-uri":"inline","script-sample":"s3cret"}}`
	newReport = `{"type":"csp-violation","age":1,"url":"https://a.example/","user_agent":"s3cret","body":{"documentURL":"https://u:s3cret@a.example/page","effectiveDirective":"img-src","blockedURL":"https://evil.example/x?s3cret"}}`
)

func TestASVS_3_4_7_Reports(t *testing.T) {
	many := "[" + strings.Repeat(newReport+",", 11) + newReport + "]"
	for _, tt := range []struct {
		name, method, media, body string
		status                    int
		want                      string // the first event
		events                    int
	}{
		{"an old one", "POST", "application/csp-report", oldReport, 204, "a browser reports script-src-elem of inline on https://a.example/page", 1},
		{"of level 2", "POST", "application/csp-report", strings.Replace(oldReport, `"effective-directive":"script-src-elem",`, "", 1), 204, "a browser reports script-src-elem 'self' of inline on https://a.example/page", 1},
		{"a new one", "POST", "application/reports+json; charset=utf-8", "[" + newReport + "]", 204, "a browser reports img-src of https://evil.example/x on https://a.example/page", 1},
		{"of a policy that only reports", "POST", "application/csp-report", strings.Replace(oldReport, `{"document`, `{"disposition":"report","document`, 1), 204, "a browser reports script-src-elem of inline on https://a.example/page, which a policy that only reports would block", 1},
		{"of one that blocks", "POST", "application/reports+json", "[" + strings.Replace(newReport, `"body":{`, `"body":{"disposition":"enforce",`, 1) + "]", 204, "a browser reports img-src of https://evil.example/x on https://a.example/page", 1},
		{"of another kind", "POST", "application/reports+json", `[{"type":"deprecation","body":{}}]`, 204, "", 0},
		{"beside others in forms of their own", "POST", "application/reports+json", `[{"type":"a","body":null},{"type":"b","body":[1]},{"type":"c","body":{"disposition":1}},{"type":1},7,{"body":{"blockedURL":1}},` + newReport + "]", 204, "a browser reports img-src of https://evil.example/x on https://a.example/page", 1},
		{"beside some that can't be read", "POST", "application/reports+json", `[{"type":"csp-violation","body":null},{"type":"csp-violation"},{"type":"csp-violation","body":{"blockedURL":{}}},` + newReport + "]", 204, "a browser reports img-src of https://evil.example/x on https://a.example/page", 1},
		{"many", "POST", "application/reports+json", many, 204, "a browser reports img-src of https://evil.example/x on https://a.example/page", 10},
		{"an opaque place", "POST", "application/csp-report", `{"csp-report":{"blocked-uri":"data:s3cret","document-uri":"::s3cret"}}`, 204, "a browser reports  of data: on what is no URL", 1},
		{"nothing blocked", "POST", "application/reports+json", "[" + strings.Replace(newReport, `"https://evil.example/x?s3cret"`, "null", 1) + "]", 204, "a browser reports img-src of nothing on https://a.example/page", 1},
		{"no page", "POST", "application/csp-report", `{"csp-report":{"violated-directive":"img-src","blocked-uri":"inline","document-uri":null,"":"s3cret"}}`, 204, "a browser reports img-src of inline on nothing", 1},
		{"line breaks", "POST", "application/csp-report", `{"csp-report":{"effective-directive":"a\nlevel=ERROR","blocked-uri":"x\u0085y"}}`, 204, "a browser reports a\\nlevel=ERROR of x%C2%85y on nothing", 1},
		{"too large", "POST", "application/csp-report", `{"csp-report":{"x":"` + strings.Repeat("a", 64<<10) + `"}}`, 413, "", 0},
		{"no JSON", "POST", "application/csp-report", `{"csp-report":`, 400, "", 0},
		{"another form", "POST", "application/reports+json", `{}`, 400, "", 0},
		{"a member of another type", "POST", "application/csp-report", `{"csp-report":{"blocked-uri":1}}`, 400, "", 0},
		{"another type", "POST", "text/plain", oldReport, 415, "", 0},
		{"another method", "GET", "application/csp-report", "", 405, "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rec, out := new(eventlog.Recorder), new(strings.Builder)
			h := httperr.Recover(httperr.Config{Audit: rec, Logger: slog.New(slog.NewTextHandler(out, nil))})(transport.CSPReports())
			r := httptest.NewRequest(tt.method, "/", strings.NewReader(tt.body))
			r.Header.Set("Content-Type", tt.media)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			var reasons []string
			for _, e := range rec.All() {
				if e.Name == "browser_policy_violation" {
					reasons = append(reasons, e.Reason)
				}
			}
			if w.Code != tt.status || len(reasons) != tt.events || tt.events > 0 && reasons[0] != tt.want {
				t.Errorf("got %d, %q; want %d, %d of %q", w.Code, reasons, tt.status, tt.events, tt.want)
			}
			if out.Len() > 0 {
				t.Errorf("anyone can have this logged: %s", out)
			}
			if all := fmt.Sprint(rec.All(), w.Body); strings.Contains(all, "s3cret") {
				t.Errorf("a secret is in %s", all)
			}
		})
	}
}

func TestReportsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := new(eventlog.Recorder)
		h := httperr.Recover(httperr.Config{Audit: rec})(transport.CSPReports())
		send := func(n int) {
			for range n {
				r := httptest.NewRequest("POST", "/", strings.NewReader(oldReport))
				r.Header.Set("Content-Type", "application/csp-report")
				w := httptest.NewRecorder()
				if h.ServeHTTP(w, r); w.Code != 204 {
					t.Fatalf("got %d", w.Code)
				}
			}
		}
		send(1000)
		if n := len(rec.All()); n != 60 {
			t.Errorf("%d events, want 60", n)
		}
		time.Sleep(time.Minute)
		send(1)
		all := rec.All()
		if last := all[len(all)-1].Reason; len(all) != 61 || !strings.HasPrefix(last, "after 940 others, which were too many, a browser reports") {
			t.Errorf("%d events, the last of which is %q", len(all), last)
		}
	})
}

// Whatever is sent, events are lines of text without what stands after a '?' or '#'.
func FuzzCSPReports(f *testing.F) {
	f.Add("application/csp-report", oldReport)
	f.Add("application/reports+json", "["+newReport+"]")
	f.Fuzz(func(t *testing.T, media, body string) {
		rec := new(eventlog.Recorder)
		h := httperr.Recover(httperr.Config{Audit: rec})(transport.CSPReports())
		r := httptest.NewRequest("POST", "/", strings.NewReader(body))
		r.Header.Set("Content-Type", media)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 204 && w.Code != 400 && w.Code != 413 && w.Code != 415 {
			t.Errorf("got %d", w.Code)
		}
		for _, e := range rec.All() {
			if len(e.Reason) > 3000 || strings.ContainsFunc(e.Reason, func(c rune) bool { return c < ' ' || c == 0x85 || c == 0x2028 }) {
				t.Errorf("the reason %q", e.Reason)
			}
			if places := e.Reason[strings.LastIndex(e.Reason, " of "):]; strings.ContainsAny(places, "?#") {
				t.Errorf("the reason %q", e.Reason)
			}
		}
	})
}
