package leaktest_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/errors/leaktest"
)

// witness is a testing.TB that counts errors.
type witness struct {
	testing.TB
	errors int
}

func (*witness) Helper()                 {}
func (w *witness) Errorf(string, ...any) { w.errors++ }

// The canary is found however it is written, wherever it is.
func TestFinds(t *testing.T) {
	c := leaktest.New(t)
	s := c.String()
	percent := ""
	for _, b := range []byte(s) {
		percent += fmt.Sprintf("%%%02X", b)
	}
	for name, text := range map[string]string{
		"as it is": "x" + s + "y", "in an error": c.Error().Error(), "in lower case": strings.ToLower(s), "in upper case": strings.ToUpper(s),
		"in a URL": url.QueryEscape("a b" + s), "percent-encoded": percent, "hexadecimal": strings.ToUpper(hex.EncodeToString([]byte("ab" + s + "c"))),
		"escaped for HTML": html.EscapeString("<" + s + ">"),
	} {
		if c.Find([]byte(text)) == "" {
			t.Errorf("%s: not found in %q", name, text)
		}
	}
	for before := range 4 {
		for after := range 4 {
			plain := []byte(strings.Repeat("?", before) + s + strings.Repeat("?", after))
			for name, e := range map[string]*base64.Encoding{"std": base64.StdEncoding, "raw": base64.RawStdEncoding, "url": base64.URLEncoding} {
				if c.Find([]byte(e.EncodeToString(plain))) == "" {
					t.Errorf("base64 %s, %d before and %d after: not found", name, before, after)
				}
			}
		}
	}
	var unicode string
	for _, b := range s {
		unicode += fmt.Sprintf(`\u%04X`, b)
	}
	if c.Find([]byte(unicode)) == "" {
		t.Error("in JSON escapes: not found")
	}
	b, _ := json.Marshal(map[string]string{"detail": s})
	if c.Find(b) == "" {
		t.Error("in JSON: not found")
	}
	for _, text := range []string{"", "canary", "Canary", leaktest.New(t).String(), s[:len(s)-1]} {
		if form := c.Find([]byte(text)); form != "" {
			t.Errorf("found %s in %q", form, text)
		}
	}
}

func TestServe(t *testing.T) {
	for name, tt := range map[string]struct {
		h    func(c *leaktest.Canary) http.HandlerFunc
		want int
	}{
		"nothing": {func(*leaktest.Canary) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }
		}, 0},
		"in the body": {func(c *leaktest.Canary) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, c.Error().Error(), 500) }
		}, 1},
		"in a field": {func(c *leaktest.Canary) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Error", c.String()) }
		}, 1},
		"in the name of a field": {func(c *leaktest.Canary) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-"+c.String(), "x") }
		}, 1},
		"in a trailer": {func(c *leaktest.Canary) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Trailer", "X-T")
				_, _ = w.Write([]byte("x"))
				w.Header().Set("X-T", c.String())
			}
		}, 1},
		"a panic": {func(c *leaktest.Canary) http.HandlerFunc {
			return func(http.ResponseWriter, *http.Request) { panic(c.Error()) }
		}, 1},
		"an aborted answer": {func(*leaktest.Canary) http.HandlerFunc {
			return func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
		}, 0},
	} {
		w := &witness{TB: t}
		c := leaktest.New(w)
		resp := c.Serve(tt.h(c), httptest.NewRequest("GET", "/", nil))
		if w.errors != tt.want || resp == nil {
			t.Errorf("%s: got %d errors, want %d", name, w.errors, tt.want)
		}
	}
}
