package validate_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/eventlog"
)

// quiet keeps the events of a test out of its output.
func quiet(t testing.TB) {
	old := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { slog.SetDefault(old) })
}

// recorder keeps events.
type recorder = eventlog.Recorder

// An answer is what a client sees.
type answer struct {
	Status int             `json:"status"`
	Code   string          `json:"code"`
	Detail string          `json:"detail"`
	Errors []httperr.Field `json:"errors"`

	header http.Header
	body   string
}

// places lists the errors as "location pointer code".
func (a answer) places() string {
	var s []string
	for _, e := range a.Errors {
		s = append(s, strings.TrimSpace(e.Location+" "+e.Pointer+" "+e.Code))
	}
	return strings.Join(s, ", ")
}

// serve runs one request through door and tells the answer, whether the handler
// was entered, the events and the log.
func serve(t testing.TB, door func(http.Handler) http.Handler, r *http.Request) (a answer, entered int, events []audit.Event, log string) {
	t.Helper()
	var out strings.Builder
	rec := new(recorder)
	h := httperr.Recover(httperr.Config{Audit: rec, Logger: slog.New(slog.NewTextHandler(&out, nil))})(door(
		http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			entered++
			w.WriteHeader(http.StatusNoContent)
		})))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	res := w.Result()
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 0 {
		if err := json.Unmarshal(b, &a); err != nil {
			t.Fatalf("the answer %q is no JSON: %v", b, err)
		}
	}
	if a.Status != 0 && a.Status != res.StatusCode {
		t.Errorf("the answer says %d, its status is %d", a.Status, res.StatusCode)
	}
	a.Status, a.header, a.body = res.StatusCode, res.Header, string(b)
	return a, entered, rec.All(), out.String()
}

// post returns a request with a JSON body.
func post(body string) *http.Request {
	r := httptest.NewRequest("POST", "/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	return r
}

// postForm returns a request with a form.
func postForm(body string) *http.Request {
	r := post(body)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}
