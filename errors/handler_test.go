package errors_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	httperr "github.com/sallyport/sallyport/errors"
)

// muxOf returns a mux with one handler.
func muxOf(pattern string, h http.Handler) *http.ServeMux {
	m := http.NewServeMux()
	m.Handle(pattern, h)
	return m
}

// says returns a handler that answers with a status and a text.
func says(status int, text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	})
}

func TestHandler(t *testing.T) {
	for _, tt := range []struct {
		name     string
		f        func(http.ResponseWriter, *http.Request) error
		want     int
		wantBody string // "" is a problem
	}{
		{"an answer", func(w http.ResponseWriter, _ *http.Request) error {
			_, err := io.WriteString(w, "fine")
			return err
		}, 200, "fine"},
		{"a problem", func(http.ResponseWriter, *http.Request) error { return httperr.New(409, "conflict", "") }, 409, ""},
		{"an error", func(http.ResponseWriter, *http.Request) error { return io.EOF }, 500, ""},
		{"a nil problem", func(http.ResponseWriter, *http.Request) error { return (*httperr.Problem)(nil) }, 500, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			captureDefault(t)
			for name, h := range map[string]http.Handler{
				"alone":          httperr.Handler(tt.f),
				"below Recover":  new(witness).recover(httperr.Handler(tt.f)),
				"below a writer": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { httperr.Handler(tt.f).ServeHTTP(&foreign{w}, r) }),
			} {
				w := get(h)
				if w.Code != tt.want {
					t.Errorf("%s: got %d, want %d", name, w.Code, tt.want)
				}
				if tt.wantBody != "" && w.Body.String() != tt.wantBody {
					t.Errorf("%s: got %s, want %s", name, w.Body, tt.wantBody)
				}
				if tt.wantBody == "" {
					members(t, w.Body.Bytes())
				}
			}
		})
	}
}

// Handler alone can tell that its answer has begun.
func TestHandlerAloneAbortsAnAnswerThatHasBegun(t *testing.T) {
	captureDefault(t)
	s := serve(t, httperr.Handler(func(w http.ResponseWriter, _ *http.Request) error {
		_, _ = io.WriteString(w, "part")
		return io.EOF
	}), false)
	if got := s.do(t, http.MethodPost, "/", nil); got.err == nil {
		t.Errorf("got a whole answer: %s", got.body)
	}
}

func TestMux(t *testing.T) {
	build := func() *http.ServeMux {
		m := http.NewServeMux()
		m.Handle("GET /items/{id}", says(200, "an item"))
		m.Handle("DELETE /items/{id}", says(204, ""))
		m.Handle("GET /tree/", says(200, "a tree"))
		m.Handle("/gone", says(404, "my own 404"))
		m.Handle("/strict", says(405, "my own 405"))
		m.Handle("/fails", httperr.Handler(func(http.ResponseWriter, *http.Request) error {
			return httperr.New(404, "item_not_found", "There is no such item.")
		}))
		m.Handle("/late", httperr.Handler(func(http.ResponseWriter, *http.Request) error {
			return httperr.New(405, "not_now", "")
		}))
		m.Handle("/strip/", http.StripPrefix("/other", says(200, "never")))
		m.Handle("/api/", http.StripPrefix("/api", httperr.Mux(muxOf("GET /in", says(200, "inside")))))
		m.Handle("/plain/", http.StripPrefix("/plain", muxOf("/in", says(200, "inside"))))
		m.Handle("/v1/", httperr.Mux(muxOf("POST /v1/in", says(200, "inside"))))
		m.Handle("example.com/hosted", says(200, "hosted"))
		return m
	}
	for _, tt := range []struct {
		name, method, path string
		want               int
		wantCode           string // "" is not a problem of ours
		wantBody           string
		wantAllow          string
		wantLocation       string
	}{
		{name: "hit", method: "GET", path: "/items/1", want: 200, wantBody: "an item"},
		{name: "hit without a body", method: "DELETE", path: "/items/1", want: 204},
		{name: "HEAD of a GET", method: "HEAD", path: "/items/1", want: 200},
		{name: "no such path", method: "GET", path: "/nowhere", want: 404, wantCode: "not_found"},
		{name: "no such path, HEAD", method: "HEAD", path: "/nowhere", want: 404, wantCode: "not_found"},
		{name: "no such path, POST", method: "POST", path: "/nowhere", want: 404, wantCode: "not_found"},
		{name: "the root", method: "GET", path: "/", want: 404, wantCode: "not_found"},
		{name: "wrong method", method: "POST", path: "/items/1", want: 405, wantCode: "method_not_allowed", wantAllow: "DELETE, GET, HEAD"},
		{name: "a method of their own", method: "PURGE", path: "/items/1", want: 405, wantCode: "method_not_allowed", wantAllow: "DELETE, GET, HEAD"},
		{name: "OPTIONS", method: "OPTIONS", path: "/items/1", want: 405, wantCode: "method_not_allowed", wantAllow: "DELETE, GET, HEAD"},
		{name: "wrong method, HEAD", method: "HEAD", path: "/v1/in", want: 405, wantCode: "method_not_allowed", wantAllow: "POST"},
		{name: "a handler's own 404", method: "GET", path: "/gone", want: 404, wantBody: "my own 404"},
		{name: "a handler's own 405", method: "GET", path: "/strict", want: 405, wantBody: "my own 405"},
		{name: "a handler's own problem", method: "GET", path: "/fails", want: 404, wantCode: "item_not_found"},
		{name: "a handler's own 405 problem", method: "GET", path: "/late", want: 405, wantCode: "not_now"},
		{name: "a prefix that does not match", method: "GET", path: "/strip/x", want: 404, wantBody: "404 page not found\n"},
		{name: "trailing slash", method: "GET", path: "/tree", want: 307, wantLocation: "/tree/"},
		{name: "two slashes", method: "GET", path: "//items/1", want: 307, wantLocation: "/items/1"},
		{name: "dots", method: "GET", path: "/a/../items/1", want: 307, wantLocation: "/items/1"},
		{name: "two slashes to nowhere", method: "GET", path: "//nowhere", want: 307, wantLocation: "/nowhere"},
		{name: "nested, hit", method: "GET", path: "/api/in", want: 200, wantBody: "inside"},
		{name: "nested, no such path", method: "GET", path: "/api/out", want: 404, wantCode: "not_found"},
		{name: "nested, wrong method", method: "POST", path: "/api/in", want: 405, wantCode: "method_not_allowed", wantAllow: "GET, HEAD"},
		{name: "nested on the same request, hit", method: "POST", path: "/v1/in", want: 200, wantBody: "inside"},
		{name: "nested on the same request, no such path", method: "GET", path: "/v1/out", want: 404, wantCode: "not_found"},
		{name: "nested on the same request, wrong method", method: "GET", path: "/v1/in", want: 405, wantCode: "method_not_allowed", wantAllow: "POST"},
		{name: "nested mux of a handler's own", method: "GET", path: "/plain/out", want: 404, wantBody: "404 page not found\n"},
		{name: "by host", method: "GET", path: "/hosted", want: 200, wantBody: "hosted"},
		{name: "percent-encoded dots, which a mux does not clean", method: "GET", path: "/tree/%2e%2e/gone", want: 200, wantBody: "a tree"},
		{name: "CONNECT to a path", method: "CONNECT", path: "/nowhere", want: 404, wantCode: "not_found"},
		{name: "CONNECT, which is not cleaned", method: "CONNECT", path: "/tree/../gone", want: 405, wantCode: "method_not_allowed", wantAllow: "GET, HEAD"},
		{name: "all of the server", method: "OPTIONS", path: "*", want: 400},
	} {
		for name, h := range map[string]http.Handler{
			"below Recover": new(witness).recover(httperr.Mux(build())),
			"alone":         httperr.Mux(build()),
		} {
			t.Run(tt.name+", "+name, func(t *testing.T) {
				r := httptest.NewRequest(tt.method, "http://example.com/", nil)
				r.RequestURI, r.URL.Path, r.URL.RawPath = tt.path, tt.path, ""
				if unescaped := strings.ReplaceAll(tt.path, "%2e", "."); unescaped != tt.path {
					r.URL.Path, r.URL.RawPath = unescaped, tt.path
				}
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if w.Code != tt.want {
					t.Fatalf("got %d %s, want %d", w.Code, w.Body, tt.want)
				}
				if tt.method == "HEAD" && tt.wantCode != "" && w.Body.Len() > 0 {
					t.Errorf("the answer to HEAD has the body %s", w.Body)
				}
				if tt.wantCode != "" && tt.method != "HEAD" {
					if m := members(t, w.Body.Bytes()); m["code"] != tt.wantCode || m["status"] != float64(tt.want) {
						t.Errorf("got %s, want the code %s", w.Body, tt.wantCode)
					}
				}
				if got := w.Header().Get("Content-Type"); (tt.wantCode != "") != (got == asJSON) {
					t.Errorf("got Content-Type %q", got)
				}
				if tt.wantBody != "" && w.Body.String() != tt.wantBody {
					t.Errorf("got the body %q, want %q", w.Body, tt.wantBody)
				}
				if got := w.Header()["Allow"]; (tt.wantAllow == "") != (got == nil) || tt.wantAllow != "" && !slices.Equal(got, []string{tt.wantAllow}) {
					t.Errorf("got Allow %q, want %q", got, tt.wantAllow)
				}
				if got := w.Header().Get("Location"); got != tt.wantLocation {
					t.Errorf("got Location %q, want %q", got, tt.wantLocation)
				}
			})
		}
	}
}

// A 405 names what is allowed, over every protocol.
func TestRFC9110_15_5_6_MethodNotAllowedHasAllow(t *testing.T) {
	for _, proto := range protocols {
		t.Run(proto.name, func(t *testing.T) {
			s := serve(t, new(witness).recover(httperr.Mux(muxOf("PUT /x", says(200, "")))), proto.http2)
			for _, method := range []string{"GET", "HEAD", "POST", "DELETE", "TRACE", "M-SEARCH"} {
				got := s.do(t, method, "/x", nil)
				if got.err != nil || got.StatusCode != 405 || got.Header.Get("Allow") != "PUT" || got.Header.Get("Content-Type") != asJSON {
					t.Errorf("%s: got %v, %v", method, got.Response, got.err)
				}
			}
			if out := s.errors.String(); out != "" {
				t.Errorf("net/http logged %q", out)
			}
		})
	}
}

// Between the mux's own answer and the end of the request a handler around a
// nested mux may try to go on.
func TestWhatComesAfterAMuxsOwnAnswer(t *testing.T) {
	empty := http.NewServeMux()
	for _, tt := range []struct {
		name string
		h    func(w http.ResponseWriter, r *http.Request)
		want string // the code of the problem
	}{
		{"nothing", func(http.ResponseWriter, *http.Request) {}, "not_found"},
		{"another status", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) }, "not_found"},
		{"a body", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "fallback") }, "not_found"},
		{"a body of bytes", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("fallback")) }, "not_found"},
		{"a copy", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.(io.ReaderFrom).ReadFrom(strings.NewReader("fallback"))
		}, "not_found"},
		{"a flush", func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() }, "not_found"},
		{"an error", func(w http.ResponseWriter, r *http.Request) { httperr.Write(w, r, httperr.New(503, "later", "")) }, "later"},
		{"an error with the same status", func(w http.ResponseWriter, r *http.Request) { httperr.Write(w, r, httperr.New(404, "mine", "")) }, "mine"},
		{"a panic", func(http.ResponseWriter, *http.Request) { panic("x") }, "internal_error"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, new(witness).recover(httperr.Mux(muxOf("/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				empty.ServeHTTP(w, r)
				tt.h(w, r)
			})))), false)
			got := s.do(t, http.MethodGet, "/", nil)
			if got.err != nil {
				t.Fatal(got.err)
			}
			if m := members(t, got.body); m["code"] != tt.want || m["status"] != float64(got.StatusCode) {
				t.Errorf("got %d %s, want the code %s", got.StatusCode, got.body, tt.want)
			}
			if out := s.errors.String(); out != "" {
				t.Errorf("net/http logged %q", out)
			}
		})
	}
}

// Mux holds answers back only while it serves.
func TestAMuxThatHasReturnedHoldsNothing(t *testing.T) {
	silent := httperr.Mux(muxOf("/", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	w := get(new(witness).recover(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		silent.ServeHTTP(w, r)
		http.NewServeMux().ServeHTTP(w, r)
	})))
	if w.Code != 404 || w.Body.String() != "404 page not found\n" {
		t.Errorf("got %d %q, want the answer of the plain mux", w.Code, w.Body)
	}
}

// A panic below a nested Mux leaves nothing behind that would change what an
// outer handler answers.
func TestAPanicInANestedMux(t *testing.T) {
	inner := httperr.Mux(muxOf("/", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("x") })))
	h := httperr.Mux(muxOf("/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			_ = recover()
			w.WriteHeader(404)
			fmt.Fprint(w, "mine")
		}()
		inner.ServeHTTP(w, r)
	})))
	if w := get(new(witness).recover(h)); w.Code != 404 || w.Body.String() != "mine" {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}
