package errors_test

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"html"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	httperr "github.com/sallyport/sallyport/errors"
)

// FuzzProblem checks that no text of a Problem breaks out of a form or of the
// header.
func FuzzProblem(f *testing.F) {
	for _, s := range []string{
		"", "plain", `"},"status":200,"x":{"a":"`, "</title><script>alert(1)</script>", "a\r\nSet-Cookie: a=b\r\n\r\n<html>",
		"\x00\x1b[2J\x7f\u0085\u202e\u2028", "\xff\xed\xa0\x80\xc0\xaf", `\`, `\u0022`, "&lt;&#34;'", "𝄞", "ſtatus", "STATUS", "😀\ufffd",
	} {
		f.Add(404, s, s, s, s)
		f.Add(503, "plain", s, "", s)
	}
	quiet := httperr.Recover(httperr.Config{Logger: slog.New(slog.DiscardHandler)})
	f.Fuzz(func(t *testing.T, status int, text, name, pointer, value string) {
		p := &httperr.Problem{
			Type: text, Title: text, Detail: text, Instance: text, Status: status, Code: text,
			Header:     http.Header{name: {value}, "X-Value": {value, text}},
			Fields:     []httperr.Field{{Pointer: pointer, Location: value, Code: text, Detail: text}},
			Extensions: map[string]any{name: value, "extension": text},
		}
		// One problem with the same parts, whose texts need no escapes.
		plain := func(s string) string {
			if s == "" {
				return ""
			}
			return "x"
		}
		harmless := &httperr.Problem{
			Title: plain(text), Detail: plain(text), Status: status, Code: plain(text),
			Fields: []httperr.Field{{Pointer: plain(pointer), Location: plain(value), Detail: plain(text)}},
		}
		answer := func(p *httperr.Problem, accept string) *httptest.ResponseRecorder {
			return get(quiet(fail(p)), accept)
		}

		w := answer(p, "application/json")
		m := members(t, w.Body.Bytes())
		if m["status"] != float64(w.Code) || w.Code < 400 || w.Code > 599 {
			t.Fatalf("answered %d, rendered the status %v", w.Code, m["status"])
		}
		if strings.ContainsAny(w.Body.String(), "<>&\u2028\u2029") {
			t.Fatalf("not fit for a script: %s", w.Body)
		}
		if status == w.Code && text != "" {
			if want := string([]rune(text)); m["detail"] != want || m["code"] != want || m["type"] != want || m["title"] != want || m["extension"] != want {
				t.Fatalf("%q came back as %s", text, w.Body)
			}
		}
		for field, values := range w.Header() {
			if !regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$").MatchString(field) || slices.ContainsFunc(values, func(v string) bool {
				return strings.ContainsAny(v, "\r\n\x00\x1b\x7f")
			}) {
				t.Fatalf("the field %q has the values %q", field, values)
			}
		}

		got, want := answer(p, "text/html").Body.String(), answer(harmless, "text/html").Body.String()
		for _, c := range "<>\"'\n" {
			if g, w := strings.Count(got, string(c)), strings.Count(want, string(c)); g != w {
				t.Fatalf("%d times %q in the page %q, want %d as in %q", g, c, got, w, want)
			}
		}
		if !utf8.ValidString(got) {
			t.Fatalf("the page %q is not UTF-8", got)
		}
		if status == w.Code && text != "" && !strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c > '~' }) && !strings.Contains(html.UnescapeString(got), "<p>"+text+"</p>") {
			t.Fatalf("the page %q does not show %q", got, text)
		}

		shape := func(document string) (names []string) {
			d := xml.NewDecoder(strings.NewReader(document))
			for {
				token, err := d.Token()
				switch token := token.(type) {
				case xml.StartElement:
					names = append(names, token.Name.Local)
				case xml.Comment, xml.Directive:
					t.Fatalf("the document %q has %v", document, token)
				}
				if err == io.EOF {
					return names
				}
				if err != nil {
					t.Fatalf("the document %q: %v", document, err)
				}
			}
		}
		// Of the other texts, those that are empty are not there at all.
		if shape(answer(p, "application/xml").Body.String())[0] != "problem" {
			t.Fatal("the document is no problem")
		}
		if strings.ContainsAny(name, "<>&/ ") {
			if a, b := len(shape(answer(p, "application/xml").Body.String())), len(shape(answer(&httperr.Problem{
				Type: text, Title: text, Detail: text, Instance: text, Status: status, Code: text, Fields: p.Fields,
				Extensions: map[string]any{"extension": text},
			}, "application/xml").Body.String())); a != b {
				t.Fatalf("the extension %q makes %d elements of %d", name, a, b)
			}
		}

		got, want = answer(p, "text/plain").Body.String(), answer(harmless, "text/plain").Body.String()
		if strings.Count(got, "\n") != strings.Count(want, "\n") || !utf8.ValidString(got) ||
			strings.ContainsFunc(got, func(c rune) bool { return c != '\n' && unicode.IsControl(c) || unicode.Is(unicode.Cf, c) }) {
			t.Fatalf("the text is %q, want lines as in %q", got, want)
		}
	})
}

// FuzzAccept checks that negotiation ends in one of the forms, and that neither
// the order of the ranges nor how they are split into fields matters.
func FuzzAccept(f *testing.F) {
	for _, s := range []string{
		"", "*/*", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "application/json;q=0, text/*",
		"text/html;q=0.001", "text/html;q=1.001", ";;q=,=,/", "TEXT/PLAIN ; Q=.5", strings.Repeat("a/b,", 40), "text/html;q=\xff",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, accept string) {
		form := func(accept ...string) string {
			r := &http.Request{Method: http.MethodGet, Header: http.Header{"Accept": accept}}
			w := httptest.NewRecorder()
			httperr.Write(w, r, refused)
			return w.Header().Get("Content-Type")
		}
		got := form(accept)
		if got != asJSON && got != asText && got != asHTML && got != asXML {
			t.Fatalf("Accept: %q: got %q", accept, got)
		}
		ranges := strings.Split(accept, ",")
		if split := form(ranges...); split != got {
			t.Fatalf("Accept: %q: got %s, in several fields %s", accept, got, split)
		}
		if len(ranges) <= 32 {
			slices.Reverse(ranges)
			if reversed := form(strings.Join(ranges, ",")); reversed != got {
				t.Fatalf("Accept: %q: got %s, reversed %s", accept, got, reversed)
			}
		}
		if len(ranges) < 32 && !strings.Contains(accept, "/") { // it names no form
			for media, want := range map[string]string{"application/problem+json": asJSON, "text/plain": asText, "text/html": asHTML, "application/xml": asXML} {
				if got := form(accept, media); got != want {
					t.Fatalf("Accept: %q and %s: got %s", accept, media, got)
				}
			}
		}
	})
}

var refused = httperr.New(http.StatusForbidden, "forbidden", "No.")

// FuzzRequestID checks that an id from outside is kept whole or not at all, and
// that what is kept can do no harm.
func FuzzRequestID(f *testing.F) {
	for _, s := range []string{"", "req-1", "a:b._-", "a b", "a\r\nb", strings.Repeat("a", 129), "é", "\xff", `"><script>`} {
		f.Add(s)
	}
	harmless := regexp.MustCompile(`\A[A-Za-z0-9._:-]{1,128}\z`)
	h := new(witness).recover(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	f.Fuzz(func(t *testing.T, id string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["X-Request-Id"] = []string{id}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		got := w.Header()["X-Request-Id"]
		if len(got) != 1 || !harmless.MatchString(got[0]) || (got[0] == id) != harmless.MatchString(id) {
			t.Fatalf("sent %q, got %q", id, got)
		}
	})
}

// FuzzProblemXML checks that whatever extensions there are, the XML is well-formed and holds
// what the JSON does, but for what has no name that an element can have.
func FuzzProblemXML(f *testing.F) {
	for _, s := range []string{
		`{"balance":30,"accounts":["/1",{"id":2,"a b":3}],"none":null,"yes":true}`, `{"a":[[[]],{}],"b":"</b><!--]]>&amp;"}`,
		`{"xmlns":"x","a:b":1,"i":[["i"]],"problem":{"problem":"\u0000\ufffe\r\n\t"}}`, `{"":1,"1":2,"-":3,"_":4e200,"é":5,"a\u2028":6}`,
		`{"Status":200,"own":{"status":200,"type":{}}}`,
	} {
		f.Add(s)
	}
	quiet := httperr.Recover(httperr.Config{Logger: slog.New(slog.DiscardHandler)})
	f.Fuzz(func(t *testing.T, document string) {
		var extensions map[string]any
		if json.Unmarshal([]byte(document), &extensions) != nil {
			return
		}
		// The rest of the members is in every answer.
		for _, name := range []string{"type", "title", "status", "code", "request_id"} {
			delete(extensions, name)
		}
		p := &httperr.Problem{Status: 400, Code: "x", Extensions: extensions}
		want := members(t, get(quiet(fail(p)), asJSON).Body.Bytes())
		got := parseXML(t, get(quiet(fail(p)), "application/xml").Body.String())
		delete(want, "request_id") // which each answer has its own of
		got.children = slices.DeleteFunc(got.children, func(e *element) bool { return e.name == "request_id" })
		got.same(t, want)
	})
}

// An element is one of a document in XML.
type element struct {
	name, text string
	children   []*element
}

func parseXML(t *testing.T, document string) *element {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(document))
	open := []*element{{}}
	for {
		token, err := d.Token()
		last := open[len(open)-1]
		switch token := token.(type) {
		case xml.StartElement:
			if token.Name.Space != "urn:ietf:rfc:7807" || len(token.Attr) > 0 && len(open) > 1 {
				t.Fatalf("the element %v with %v in %q", token.Name, token.Attr, document)
			}
			e := &element{name: token.Name.Local}
			last.children = append(last.children, e)
			open = append(open, e)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			last.text += string(token)
		case xml.Comment, xml.Directive:
			t.Fatalf("the document %q has %v", document, token)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("the document %q: %v", document, err)
		}
	}
	if len(open) != 1 || len(open[0].children) != 1 || open[0].children[0].name != "problem" {
		t.Fatalf("the document %q", document)
	}
	return open[0].children[0]
}

// same checks that e holds what v does.
func (e *element) same(t *testing.T, v any) {
	t.Helper()
	text := ""
	switch v := v.(type) {
	case map[string]any:
		named := regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)
		maps.DeleteFunc(v, func(name string, _ any) bool {
			return !named.MatchString(name) || strings.HasPrefix(strings.ToLower(name), "xml")
		})
		if len(e.children) != len(v) {
			t.Fatalf("%s has %d elements, want %d", e.name, len(e.children), len(v))
		}
		seen := make(map[string]bool)
		for _, c := range e.children {
			if _, ok := v[c.name]; !ok || seen[c.name] {
				t.Fatalf("%s has an element %s", e.name, c.name)
			}
			seen[c.name] = true
			c.same(t, v[c.name])
		}
	case []any:
		if len(e.children) != len(v) {
			t.Fatalf("%s has %d elements, want %d", e.name, len(e.children), len(v))
		}
		for i, c := range e.children {
			if c.name != "i" {
				t.Fatalf("%s has an element %s", e.name, c.name)
			}
			c.same(t, v[i])
		}
	case string: // of which XML can't hold all characters
		text = strings.Map(func(c rune) rune {
			if c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0xfffe || c == 0xffff {
				return utf8.RuneError
			}
			return c
		}, v)
	case bool, float64:
		text = fmt.Sprint(v)
		if n, err := strconv.ParseFloat(e.text, 64); err == nil && n == v {
			text = e.text // written in another way
		}
	}
	if e.text != text {
		t.Fatalf("%s holds %q, want %q", e.name, e.text, text)
	}
}
