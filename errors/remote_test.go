package errors_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	httperr "github.com/sallyport/sallyport/errors"
)

// A body that says how much of it was read, and whether it was closed.
type body struct {
	io.Reader
	read   int
	closed bool
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.read += n
	return n, err
}

func (b *body) Close() error {
	b.closed = true
	return nil
}

func remote(t testing.TB, status int, contentType, document string, header ...string) (*httperr.RemoteProblem, *body) {
	t.Helper()
	b := &body{Reader: strings.NewReader(document)}
	resp := &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {contentType}}, Body: b, ContentLength: int64(len(document))}
	for i := 0; i+1 < len(header); i += 2 {
		resp.Header.Set(header[i], header[i+1])
	}
	var p *httperr.RemoteProblem
	if err := httperr.FromResponse(resp); !errors.As(fmt.Errorf("call: %w", err), &p) {
		t.Fatalf("got %v, want a RemoteProblem", err)
	}
	if !b.closed {
		t.Error("the body was not closed")
	}
	return p, b
}

const problemJSON = "application/problem+json"

// TestRFC9457_3_1_Consumer has documents read as that section tells consumers to.
func TestRFC9457_3_1_Consumer(t *testing.T) {
	none := httperr.RemoteProblem{Status: 422, Type: "about:blank"}
	with := func(f func(*httperr.RemoteProblem)) httperr.RemoteProblem {
		p := none
		f(&p)
		return p
	}
	for _, tt := range []struct {
		name, contentType, document string
		want                        httperr.RemoteProblem
	}{
		{
			"all members", problemJSON, `{"type":"https://example.com/out-of-credit","title":"No credit","status":422,"detail":"Balance is 30.",
			"instance":"/accounts/1","code":"out_of_credit","request_id":"r1","error_id":"e1","balance":30,"accounts":["/a","/b"],
			"errors":[{"pointer":"/a","location":"body","code":"gt","detail":"too low"},7,{"pointer":1}]}`,
			httperr.RemoteProblem{
				Status: 422, Type: "https://example.com/out-of-credit", Title: "No credit", Detail: "Balance is 30.",
				Instance: "/accounts/1", Code: "out_of_credit", RequestID: "r1", ErrorID: "e1",
				Fields:     []httperr.Field{{Pointer: "/a", Location: "body", Code: "gt", Detail: "too low"}, {}},
				Extensions: map[string]any{"balance": json.Number("30"), "accounts": []any{"/a", "/b"}},
			},
		},
		{"with a charset", problemJSON + "; charset=utf-8", `{"title":"T"}`, with(func(p *httperr.RemoteProblem) { p.Title = "T" })},
		{"members of another type", problemJSON, `{"type":1,"title":null,"detail":["a"],"instance":{},"code":true,"errors":"x","request_id":7}`, none},
		{"the status of the answer counts", problemJSON, `{"status":200,"title":"T"}`, with(func(p *httperr.RemoteProblem) { p.Title = "T" })},
		{"an empty type", problemJSON, `{"type":""}`, none},
		{"an empty object", problemJSON, `{}`, none},
		{"names are told apart by case", problemJSON, `{"Title":"T"}`, with(func(p *httperr.RemoteProblem) { p.Extensions = map[string]any{"Title": "T"} })},
		{"another type of document", "application/json", `{"title":"T"}`, none},
		{"HTML", "text/html", `<h1>Bad Gateway</h1>`, none},
		{"no type of document", "", `{"title":"T"}`, none},
		{"no JSON", problemJSON, `<html>`, none},
		{"cut off", problemJSON, `{"title":"T"`, none},
		{"an array", problemJSON, `["T"]`, none},
		{"a name twice", problemJSON, `{"title":"T","title":"U"}`, none},
		{"no UTF-8", problemJSON, "{\"title\":\"\xff\"}", none},
		{"more than one document", problemJSON, `{"title":"T"}{}`, none},
		{"too deep", problemJSON, `{"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, none},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, b := remote(t, 422, tt.contentType, tt.document)
			if b.read != len(tt.document) { // or the connection could not be used again
				t.Errorf("%d bytes of %d were read", b.read, len(tt.document))
			}
			if !reflect.DeepEqual(*got, tt.want) {
				t.Errorf("got  %#v\nwant %#v", *got, tt.want)
			}
		})
	}
}

func TestFromResponse(t *testing.T) {
	// What is no problem, and of an unknown length, is not waited for.
	endless := &body{Reader: strings.NewReader("<h1>")}
	if err := httperr.FromResponse(&http.Response{StatusCode: 502, Body: endless, ContentLength: -1}); err == nil || !endless.closed || endless.read > 0 {
		t.Errorf("of an unknown length: got %v, closed %t, read %d", err, endless.closed, endless.read)
	}
	// Nor is one that is too long, but a problem is, as far as it goes.
	long := &body{Reader: strings.NewReader("<h1>")}
	_ = httperr.FromResponse(&http.Response{StatusCode: 502, Body: long, ContentLength: 1 << 20, Header: http.Header{"Content-Type": {"text/html"}}})
	if long.read > 0 || !long.closed {
		t.Errorf("of a long one: closed %t, read %d", long.closed, long.read)
	}
	var chunked *httperr.RemoteProblem
	err := httperr.FromResponse(&http.Response{StatusCode: 502, ContentLength: -1, Header: http.Header{"Content-Type": {problemJSON}}, Body: io.NopCloser(strings.NewReader(`{"code":"down"}`))})
	if !errors.As(err, &chunked) || chunked.Code != "down" {
		t.Errorf("of a problem of an unknown length: got %v", err)
	}
	// A good answer is left alone.
	b := &body{Reader: strings.NewReader("hello")}
	if err := httperr.FromResponse(&http.Response{StatusCode: 200, Body: b}); err != nil || b.closed || b.read > 0 {
		t.Errorf("of a 200: got %v, closed %t, read %d", err, b.closed, b.read)
	}
	if err := httperr.FromResponse(nil); err == nil {
		t.Error("of nil: got no error")
	}
	if err := httperr.FromResponse(&http.Response{StatusCode: 503}); err == nil {
		t.Error("without a body: got no error")
	}
	// An answer without an end is not read to it.
	p, long := remote(t, 500, problemJSON, `{"title":"`+strings.Repeat("x", 10<<20)+`"}`)
	if p.Title != "" || long.read > 64<<10+1 {
		t.Errorf("of a long one: got a title of %d bytes after reading %d", len(p.Title), long.read)
	}
	if p, _ = remote(t, 503, "text/plain", "", "Retry-After", "7"); p.RetryAfter != 7*time.Second {
		t.Errorf("got a RetryAfter of %s, want 7 s", p.RetryAfter)
	}
	// The text is one line, and not long.
	p, _ = remote(t, 400, problemJSON, `{"title":"a\nb\u001b[31m","detail":"`+strings.Repeat("d", 5000)+`"}`)
	if s := p.Error(); strings.ContainsAny(s, "\n\x1b") || len(s) > 2000 || !strings.Contains(s, "400") {
		t.Errorf("got the text %.100q of %d bytes", s, len(s))
	}
}

// What another service says to this one is not for the clients of this one.
func TestARemoteProblemIsNotPassedOn(t *testing.T) {
	p, _ := remote(t, 403, problemJSON, `{"title":"canary-1","detail":"canary-2","code":"canary_3","x":"canary-4"}`)
	w := get(new(witness).recover(fail(fmt.Errorf("calling billing: %w", p))))
	if w.Code != 500 || strings.Contains(w.Body.String(), "canary") || strings.Contains(fmt.Sprint(w.Header()), "canary") {
		t.Errorf("got %d %v %s, want a bare 500", w.Code, w.Header(), w.Body)
	}
}

// What Write writes FromResponse reads.
func TestFromResponseOfWrite(t *testing.T) {
	w := get(new(witness).recover(fail(&httperr.Problem{
		Status: 422, Code: "validation_failed", Title: "Invalid", Detail: "No.", Type: "https://example.com/p", Instance: "/x",
		Fields: []httperr.Field{{Pointer: "/a", Code: "gt"}}, Extensions: map[string]any{"trace": "t"},
	})))
	var p *httperr.RemoteProblem
	if err := httperr.FromResponse(w.Result()); !errors.As(err, &p) {
		t.Fatal(err)
	}
	want := httperr.RemoteProblem{
		Status: 422, Type: "https://example.com/p", Code: "validation_failed", Title: "Invalid", Detail: "No.", Instance: "/x",
		RequestID: w.Header().Get("X-Request-Id"), Fields: []httperr.Field{{Pointer: "/a", Code: "gt"}}, Extensions: map[string]any{"trace": "t"},
	}
	if !reflect.DeepEqual(*p, want) {
		t.Errorf("got  %#v\nwant %#v", *p, want)
	}
}

func FuzzFromResponse(f *testing.F) {
	f.Add(422, problemJSON, []byte(`{"type":"x","title":"T","errors":[{"pointer":"/a"}],"y":[1]}`), "5")
	f.Add(500, "application/problem+json;charset", []byte("\x00"), "-1")
	f.Fuzz(func(t *testing.T, status int, contentType string, document []byte, wait string) {
		resp := &http.Response{
			StatusCode: status, Header: http.Header{"Content-Type": {contentType}, "Retry-After": {wait}},
			Body: io.NopCloser(bytes.NewReader(document)),
		}
		err := httperr.FromResponse(resp)
		if (err == nil) != (status < 400) {
			t.Fatalf("of %d: got %v", status, err)
		}
		var p *httperr.RemoteProblem
		if errors.As(err, &p) && (p.Status != status || p.Type == "" || p.RetryAfter < 0 || strings.ContainsAny(p.Error(), "\r\n\x00\x1b")) {
			t.Errorf("got %#v", p)
		}
	})
}
