package validate_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/validate"
)

type one struct {
	A int `json:"a"`
}

type oneForm struct {
	A int `form:"a"`
}

func TestASVS_1_5_2_ContentType(t *testing.T) {
	tests := []struct {
		name  string
		types []string
		ok    bool
	}{
		{"json", []string{"application/json"}, true},
		{"with charset", []string{"application/json; charset=utf-8"}, true},
		{"with charset in capitals", []string{"Application/JSON;Charset=UTF-8"}, true},
		{"with charset quoted", []string{`application/json; charset="utf-8"`}, true},
		{"with another parameter", []string{"application/json; profile=x"}, true},
		{"structured suffix", []string{"application/merge-patch+json"}, true},
		{"absent", nil, false},
		{"empty", []string{""}, false},
		{"text", []string{"text/plain"}, false},
		{"text that ends in json", []string{"text/x+json"}, false},
		{"text/json", []string{"text/json"}, false},
		{"form", []string{"application/x-www-form-urlencoded"}, false},
		{"multipart", []string{"multipart/form-data; boundary=x"}, false},
		{"json in a parameter", []string{"text/plain; application/json"}, false},
		{"list", []string{"text/plain, application/json"}, false},
		{"list that begins with json", []string{"application/json, text/plain"}, false},
		{"twice", []string{"application/json", "application/json"}, false},
		{"twice, different", []string{"application/json", "text/plain"}, false},
		{"latin-1", []string{"application/json; charset=iso-8859-1"}, false},
		{"utf-16", []string{"application/json; charset=utf-16"}, false},
		{"two charsets", []string{"application/json; charset=utf-8; charset=utf-16"}, false},
		{"broken parameter", []string{"application/json; charset"}, false},
		{"json sequence", []string{"application/json-seq"}, false},
		{"jsonp", []string{"application/javascript"}, false},
		{"suffix without plus", []string{"application/xjson"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := post(`{"a":1}`)
			r.Header["Content-Type"] = tt.types
			a, entered, _, _ := serve(t, validate.Body[one](), r)
			if tt.ok {
				if entered != 1 {
					t.Errorf("got %d %s, want it accepted", a.Status, a.body)
				}
				return
			}
			if a.Status != 415 || a.Code != "unsupported_media_type" || entered != 0 {
				t.Errorf("got %d %q, want 415", a.Status, a.Code)
			}
			if got := a.header.Get("Accept"); got != "application/json" {
				t.Errorf("got Accept %q, want application/json", got)
			}
		})
	}
	for _, ct := range []string{"application/json", "multipart/form-data; boundary=x", "text/plain"} {
		r := postForm("a=1")
		r.Header.Set("Content-Type", ct)
		a, _, _, _ := serve(t, validate.Body[oneForm](), r)
		if a.Status != 415 || a.header.Get("Accept") != "application/x-www-form-urlencoded" {
			t.Errorf("a form of type %s: got %d, Accept %q, want a 415 that names the form's type", ct, a.Status, a.header.Get("Accept"))
		}
	}
}

func TestContentEncoding(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write([]byte(`{"a":1}`))
	_ = z.Close()
	for _, tt := range []struct {
		lines []string
		ok    bool
	}{
		{nil, true},
		{[]string{"identity"}, true},
		{[]string{"Identity, identity"}, true},
		{[]string{""}, true},
		{[]string{"gzip"}, false},
		{[]string{"identity", "gzip"}, false},
		{[]string{"identity, br"}, false},
		{[]string{"deflate"}, false},
	} {
		text := `{"a":1}`
		if !tt.ok {
			text = zipped.String()
		}
		r := post(text)
		r.Header["Content-Encoding"] = tt.lines
		a, entered, _, _ := serve(t, validate.Body[one](), r)
		if tt.ok != (entered == 1) {
			t.Errorf("%q: got %d, want accepted %t", tt.lines, a.Status, tt.ok)
		}
		if !tt.ok && (a.Status != 415 || a.header.Get("Accept-Encoding") != "identity" || a.header.Get("Accept") != "") {
			t.Errorf("%q: got %d with %v, want a 415 with Accept-Encoding alone", tt.lines, a.Status, a.header)
		}
	}
}

func TestSize(t *testing.T) {
	exact := `{"a":1` + strings.Repeat(" ", 100-7) + `}`
	tests := []struct {
		name   string
		body   io.Reader
		length int64
		max    int64
		status int
	}{
		{"exactly", strings.NewReader(exact), 100, 100, 204},
		{"one more", strings.NewReader(exact), 100, 99, 413},
		{"one more, chunked", strings.NewReader(exact), -1, 99, 413},
		{"exactly, chunked", strings.NewReader(exact), -1, 100, 204},
		{"byte by byte", byteReader{strings.NewReader(exact)}, -1, 100, 204},
		{"a length that says less than comes", strings.NewReader(exact), 5, 99, 413},
		{"a length that says more than comes", strings.NewReader(exact), 101, 200, 204},
		{"declared too large", errReader{errors.New("read")}, 1 << 40, 100, 413},
		{"default is 1 MiB", strings.NewReader(`{"a":1` + strings.Repeat(" ", 1<<20-7) + `}`), 1 << 20, 0, 204},
		{"default and one more", strings.NewReader(`{"a":1` + strings.Repeat(" ", 1<<20-6) + `}`), -1, 0, 413},
		{"cut off by a door above", http.MaxBytesReader(nil, io.NopCloser(strings.NewReader(exact)), 50), 100, 100, 413},
		{"wrapped cut", errReader{fmt.Errorf("wrapped: %w", &http.MaxBytesError{Limit: 5})}, -1, 100, 413},
		{"broken off", io.MultiReader(strings.NewReader(`{"a"`), errReader{io.ErrUnexpectedEOF}), -1, 100, 400},
		{"good, then broken off", io.MultiReader(strings.NewReader(`{"a":1}`), errReader{io.ErrUnexpectedEOF}), -1, 100, 400},
		{"too slow", io.MultiReader(strings.NewReader(`{"a"`), errReader{fmt.Errorf("read: %w", os.ErrDeadlineExceeded)}), -1, 100, 408},
		{"greatest limit", strings.NewReader(exact), -1, 1<<63 - 1, 204},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := post("")
			r.Body, r.ContentLength = io.NopCloser(tt.body), tt.length
			a, entered, _, _ := serve(t, validate.Body[one](validate.Config{MaxBytes: tt.max}), r)
			if a.Status != tt.status || entered == 1 != (tt.status == 204) {
				t.Errorf("got %d %s, want %d", a.Status, a.body, tt.status)
			}
			if want := map[int]string{413: "body_too_large", 408: "request_timeout", 400: "malformed_body"}[tt.status]; a.Code != want {
				t.Errorf("got code %q, want %q", a.Code, want)
			}
		})
	}
}

type byteReader struct{ r io.Reader }

func (b byteReader) Read(p []byte) (int, error) { return b.r.Read(p[:1]) }

type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) { return 0, e.err }

// What a real server does with chunks, expectations and bodies that are too large.
func TestOverHTTP(t *testing.T) {
	quiet(t)
	srv := httptest.NewServer(validate.Body[one](validate.Config{MaxBytes: 1 << 10})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, _ := validate.From[one](r.Context())
		_, _ = fmt.Fprint(w, got.A)
	})))
	defer srv.Close()
	for _, tt := range []struct {
		name    string
		body    io.Reader
		chunked bool
		status  int
	}{
		{"plain", strings.NewReader(`{"a":5}`), false, 200},
		{"chunked", strings.NewReader(`{"a":5}`), true, 200},
		{"too large", strings.NewReader(strings.Repeat(" ", 1<<10) + `{"a":5}`), false, 413},
		{"too large, chunked", strings.NewReader(strings.Repeat(" ", 1<<16) + `{"a":5}`), true, 413},
		{"empty", http.NoBody, false, 400},
		{"empty, chunked", strings.NewReader(""), true, 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := tt.body
			if tt.chunked {
				body = io.MultiReader(body) // of unknown length
			}
			r, err := http.NewRequestWithContext(t.Context(), "POST", srv.URL, body)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Expect", "100-continue")
			res, err := srv.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			b, _ := io.ReadAll(res.Body)
			if res.StatusCode != tt.status || tt.status == 200 && string(b) != "5" {
				t.Errorf("got %d %s, want %d", res.StatusCode, b, tt.status)
			}
		})
	}
}

// A request without fields from the body is not read.
func TestBodyIsNotReadInVain(t *testing.T) {
	type page struct {
		N int `query:"n"`
	}
	r := httptest.NewRequest("GET", "/?n=3", errReader{errors.New("read")})
	r.Header.Set("Content-Type", "nonsense")
	r.Header.Set("Content-Encoding", "gzip")
	if got, err := validate.Decode[page](nop{}, r); err != nil || got.N != 3 {
		t.Errorf("got %+v, %v, want 3", got, err)
	}
	// Nor is one that the header alone refuses.
	r = httptest.NewRequest("POST", "/", errReader{errors.New("read")})
	r.Header.Set("Content-Type", "text/plain")
	if _, err := validate.Decode[one](nop{}, r); problem(t, err).Status != 415 {
		t.Errorf("got %v, want a 415", err)
	}
}

func TestNoBody(t *testing.T) {
	for name, change := range map[string]func(*http.Request){
		"nil":                      func(r *http.Request) { r.Body = nil },
		"nil without a type":       func(r *http.Request) { r.Body = nil; r.Header.Del("Content-Type") },
		"http.NoBody":              func(r *http.Request) { r.Body = http.NoBody },
		"length 0 without a type":  func(r *http.Request) { r.ContentLength = 0; r.Header.Del("Content-Type") },
		"empty, of unknown length": func(r *http.Request) { r.ContentLength = -1 },
	} {
		r := post("")
		change(r)
		if _, err := validate.Decode[one](nop{}, r); problem(t, err) == nil || problem(t, err).Code != "body_required" {
			t.Errorf("%s: got %v, want body_required", name, err)
		}
	}
}

func TestLimits(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		cfg        validate.Config
		ok         bool
	}{
		{"depth 32", strings.Repeat("[", 32) + strings.Repeat("]", 32), validate.Config{}, true},
		{"depth 33", strings.Repeat("[", 33) + strings.Repeat("]", 33), validate.Config{}, false},
		{"depth 33 of 33", strings.Repeat("[", 33) + strings.Repeat("]", 33), validate.Config{MaxDepth: 33}, true},
		{"10,000 items", "[" + strings.Repeat("0,", 9_999) + "0]", validate.Config{}, true},
		{"10,001 items", "[" + strings.Repeat("0,", 10_000) + "0]", validate.Config{}, false},
		{"10,001 items of more", "[" + strings.Repeat("0,", 10_000) + "0]", validate.Config{MaxItems: 10_001}, true},
		{"50,000 values", "[" + strings.Repeat("["+strings.Repeat("0,", 4_997)+"0],", 9) + "[" + strings.Repeat("0,", 5_006) + "0]]", validate.Config{}, true},
		{"50,001 values", "[" + strings.Repeat("["+strings.Repeat("0,", 4_997)+"0],", 9) + "[" + strings.Repeat("0,", 5_007) + "0]]", validate.Config{}, false},
		{"50,001 values of more", "[" + strings.Repeat("["+strings.Repeat("0,", 4_997)+"0],", 9) + "[" + strings.Repeat("0,", 5_007) + "0]]", validate.Config{MaxValues: 50_001}, true},
		{"3 members of 2", `{"a":1,"b":2,"c":3}`, validate.Config{MaxItems: 2}, false},
		{"3 values of 2", `[1,2]`, validate.Config{MaxValues: 2}, false},
		{"4 bytes of 4", `{"abcd":"efgh"}`, validate.Config{MaxString: 4}, true},
		{"5 bytes of 4", `["a","abcde"]`, validate.Config{MaxString: 4}, false},
		{"5 bytes of 4 as they are written", `["a\nbc"]`, validate.Config{MaxString: 4}, false},
		{"a name of 5 bytes of 4", `{"abcde":0}`, validate.Config{MaxString: 4}, false},
		{"escapes that look like depth", `["` + strings.Repeat(`[`, 16<<10) + `\"` + strings.Repeat(`{`, 50<<10) + `"]`, validate.Config{}, true},
		{"brackets side by side", `[` + strings.Repeat(`[],{},`, 4_000) + `0]`, validate.Config{}, true},
	} {
		_, err := validate.Decode[any](nop{}, post(tt.text), tt.cfg)
		if p := problem(t, err); (p == nil) != tt.ok || p != nil && p.Status != 400 {
			t.Errorf("%s: got %v, want accepted %t", tt.name, err, tt.ok)
		}
	}
	type texts struct {
		One  string   `query:"one"`
		More []string `form:"more"`
	}
	r := postForm("more=abcd&more=abcde")
	r.URL.RawQuery = "one=abc%20e"
	_, err := validate.Decode[texts](nop{}, r, validate.Config{MaxString: 4})
	if p := problem(t, err); p == nil || len(p.Fields) != 2 || p.Fields[0].Code != "max_length" || p.Fields[1].Code != "max_length" {
		t.Errorf("parameters of 5 bytes of 4: got %v", err)
	}
	r = postForm("more=abcd")
	r.URL.RawQuery = "one=%22%22%22%22"
	if _, err := validate.Decode[texts](nop{}, r, validate.Config{MaxString: 4}); err != nil {
		t.Errorf("parameters of 4 bytes of 4: got %v", err)
	}
}

func TestMaxErrors(t *testing.T) {
	type item struct {
		A int `json:"a" validate:"gt=0"`
	}
	for name, body := range map[string]string{"wrong types": `[` + strings.Repeat(`{"a":""},`, 200) + `{}]`, "broken rules": `[` + strings.Repeat(`{},`, 200) + `{}]`} {
		for most, want := range map[int]int{0: 100, 1: 1, 150: 150, 1000: 201} {
			_, err := validate.Decode[[]item](nop{}, post(body), validate.Config{MaxErrors: most})
			if p := problem(t, err); p == nil || len(p.Fields) != want && (want < 200 || len(p.Fields) != 200) {
				t.Errorf("%s, %d: got %v", name, most, err)
			}
		}
	}
}

// A body that is refused for its size or depth costs less memory than it may have bytes,
// and no more is read of it than need be.
func TestASVS_4_3_1_RefusalsCost(t *testing.T) {
	const bound = 1 << 20
	for _, tt := range []struct {
		name, body string
		declared   bool
		status     int
		most       int // bytes to be read
	}{
		{"too large", `"` + strings.Repeat("a", 2*bound), false, 413, bound + 64<<10},
		{"too large as declared", `"` + strings.Repeat("a", 2*bound), true, 413, 0},
		{"too deep at once", strings.Repeat("[", bound-1), true, 400, 64 << 10},
		{"too deep at once, nothing declared", strings.Repeat("[", bound-1), false, 400, 64 << 10},
		{"too deep late", `["` + strings.Repeat("a", bound/2) + `",` + strings.Repeat("[", bound/3), false, 400, bound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// The least of some: the pools are emptied now and then, and by the race detector
			// often.
			var before, after runtime.MemStats
			least := uint64(math.MaxUint64)
			for range 10 {
				runtime.ReadMemStats(&before)
				from := &counting{Reader: strings.NewReader(tt.body)}
				r := httptest.NewRequest("POST", "/", from)
				r.Header.Set("Content-Type", "application/json")
				if tt.declared {
					r.ContentLength = int64(len(tt.body))
				}
				_, err := validate.Decode[any](nop{}, r)
				runtime.ReadMemStats(&after)
				if p := problem(t, err); p == nil || p.Status != tt.status || from.n > tt.most {
					t.Errorf("got %v after %d bytes, want %d after %d at most", err, from.n, tt.status, tt.most)
				}
				least = min(least, after.TotalAlloc-before.TotalAlloc)
			}
			if least > bound {
				t.Errorf("%d bytes were allocated, want %d at most", least, bound)
			}
		})
	}
}
