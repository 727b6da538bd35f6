package errors_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"

	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/vectors"
)

// full is a Problem with every member, and with texts that would break out of
// any form that did not escape them.
func full() *httperr.Problem {
	return &httperr.Problem{
		Type: "https://example.com/probs/out-of-credit", Title: `Not <enough> "credit"`,
		Detail: "It's <script>alert(1)</script> & more\u2028", Instance: "/account/12345", Status: 403, Code: "out_of_credit",
		Fields: []httperr.Field{
			{Pointer: "/items/0/<b>", Location: "body", Code: "gt", Detail: "must be > 0"},
			{Detail: "the whole is wrong"},
		},
		Extensions: map[string]any{"balance": 30, "accounts": []string{"/a", "/b"}},
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	want, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
}

func TestTheFormsOfAFullProblem(t *testing.T) {
	for accept, file := range map[string]string{
		"application/problem+json": "full.json",
		"text/plain":               "full.txt",
		"text/html":                "full.html",
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Accept", accept)
		r.Header.Set("X-Request-Id", "req-1")
		w := httptest.NewRecorder()
		new(witness).recover(fail(full())).ServeHTTP(w, r)
		golden(t, file, w.Body.String())
		if got := w.Header().Get("Content-Length"); got != fmt.Sprint(w.Body.Len()) {
			t.Errorf("%s: got Content-Length %s, want %d", accept, got, w.Body.Len())
		}
	}
}

func TestRFC9457_4_2_1_DefaultsOfTypeAndTitle(t *testing.T) {
	const base = "https://api.example.com/problems/"
	for _, tt := range []struct {
		name, base          string
		p                   httperr.Problem
		wantType, wantTitle string
	}{
		{"neither", "", httperr.Problem{Status: 404, Code: "x"}, "about:blank", "Not Found"},
		{"a title", "", httperr.Problem{Status: 404, Title: "Gone fishing"}, "about:blank", "Gone fishing"},
		{"a type", "", httperr.Problem{Status: 404, Type: "/p/x"}, "/p/x", "Not Found"},
		{"a base", base, httperr.Problem{Status: 404, Code: "x"}, base + "x", "Not Found"},
		{"a base and no code", base, httperr.Problem{Status: 404}, "about:blank", "Not Found"},
		{"a base and a type", base, httperr.Problem{Status: 404, Code: "x", Type: "/p/x"}, "/p/x", "Not Found"},
		{"no phrase", "", httperr.Problem{Status: 599}, "about:blank", "Error"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := new(witness).config()
			cfg.TypeBase = tt.base
			m := members(t, get(httperr.Recover(cfg)(fail(&tt.p))).Body.Bytes())
			if m["type"] != tt.wantType || m["title"] != tt.wantTitle {
				t.Errorf("got %v, %v; want %s, %s", m["type"], m["title"], tt.wantType, tt.wantTitle)
			}
		})
	}
	m := members(t, get(func() http.Handler {
		cfg := new(witness).config()
		cfg.TypeBase = base
		return httperr.Recover(cfg)(fail(errors.New("x")))
	}()).Body.Bytes())
	if m["type"] != base+"internal_error" {
		t.Errorf("a bare 500 has the type %v", m["type"])
	}
}

// A marshaler is an extension with a JSON form of its own.
type marshaler string

func (m marshaler) MarshalJSON() ([]byte, error) { return []byte(m), nil }

func TestRFC9457_3_2_ExtensionsCannotOverride(t *testing.T) {
	p := full()
	p.Extensions = map[string]any{"kept": marshaler(`{"a":"<b>"}`)}
	for _, name := range []string{"type", "title", "status", "detail", "instance", "code", "errors", "request_id", "error_id"} {
		p.Extensions[name] = "overridden"
		p.Extensions[strings.ToUpper(name)] = "overridden"
		p.Extensions[strings.ToUpper(name[:1])+name[1:]] = "overridden"
	}
	// encoding/json folds these onto "status", "instance" and "request_id" too.
	p.Extensions["ſtatus"] = "overridden"
	p.Extensions["inſtance"] = "overridden"
	p.Extensions["requeſt_id"] = "overridden"
	p.Extensions[""] = "overridden"
	p.Extensions["ty\xffpe"] = "overridden"
	p.Extensions["a\xfe"], p.Extensions["a\xff"] = "overridden", "overridden" // one name, once they are UTF-8
	p.Extensions["func"] = func() {}
	p.Extensions["infinite"] = math.Inf(1)
	p.Extensions["broken"] = marshaler(`{"a":`)
	p.Extensions["forged"] = marshaler(`1,"status":200`)

	w := get(new(witness).recover(fail(p)))
	if strings.Contains(w.Body.String(), "overridden") || strings.Contains(w.Body.String(), "200") || strings.ContainsAny(w.Body.String(), "<>") {
		t.Errorf("got %s", w.Body)
	}
	m := members(t, w.Body.Bytes())
	if !reflect.DeepEqual(m["kept"], map[string]any{"a": "<b>"}) || m["status"] != 403.0 || len(m) != 9 {
		t.Errorf("got %v", m)
	}
	// A client in Go, which does not tell case apart.
	var client struct {
		Status int
		Type   string
	}
	if err := json.Unmarshal(w.Body.Bytes(), &client); err != nil || client.Status != 403 || client.Type != p.Type {
		t.Errorf("a client decodes %+v, %v", client, err)
	}
}

func TestTextsThatAreNotUTF8(t *testing.T) {
	const bad = "a\xff\xed\xa0\x80\xc0\xaf\x00\x1b\x7f"
	const inJSON = "a" + "\ufffd" + "\ufffd\ufffd\ufffd" + "\ufffd\ufffd" + "\x00\x1b\x7f"
	const inText = `a\xff\xed\xa0\x80\xc0\xaf\x00\x1b\x7f`
	p := &httperr.Problem{
		Type: bad, Title: bad, Detail: bad, Instance: bad, Code: bad, Status: 422,
		Fields:     []httperr.Field{{Pointer: bad, Location: bad, Code: bad, Detail: bad}},
		Extensions: map[string]any{"text": bad},
	}
	h := new(witness).recover(fail(p))

	m := members(t, get(h).Body.Bytes())
	for _, name := range []string{"type", "title", "detail", "instance", "code", "text"} {
		if m[name] != inJSON {
			t.Errorf("%s: got %q, want %q", name, m[name], inJSON)
		}
	}
	field := m["errors"].([]any)[0].(map[string]any)
	for _, name := range []string{"pointer", "location", "code", "detail"} {
		if field[name] != inJSON {
			t.Errorf("errors/0/%s: got %q, want %q", name, field[name], inJSON)
		}
	}

	w := get(h, "text/plain")
	want := "422 " + inText + "\n" + inText + "\n" + inText + " " + inText + ": " + inText + "\ncode: " + inText + "\n"
	if got, ok := strings.CutPrefix(w.Body.String(), want); !ok || !strings.HasPrefix(got, "request id: ") {
		t.Errorf("got %q, want %q", w.Body, want)
	}
	if out := get(h, "text/html").Body.String(); strings.Count(out, inText) != 7 || strings.Contains(out, "\x1b") {
		t.Errorf("got %q", out)
	}
}

// A text can't pretend to be a line of its own, or command a terminal.
func TestThePlainFormHasTheLinesThatItShould(t *testing.T) {
	p := httperr.New(400, "bad", "no\nrequest id: forged\x1b[2J\u202e")
	p.Fields = []httperr.Field{{Location: "query", Pointer: "/a\r\nerror id: forged", Detail: "x\u2028y"}}
	w := get(new(witness).recover(fail(p)), "text/plain")
	lines := strings.Split(strings.TrimSuffix(w.Body.String(), "\n"), "\n")
	want := []string{
		"400 Bad Request",
		`no\nrequest id: forged\x1b[2J\u202e`,
		`query /a\r\nerror id: forged: x\u2028y`,
		"code: bad",
		"request id: " + w.Header().Get("X-Request-Id"),
	}
	if !reflect.DeepEqual(lines, want) {
		t.Errorf("got  %q\nwant %q", lines, want)
	}
}

func TestRender(t *testing.T) {
	oauth := func(p *httperr.Problem) (string, []byte) {
		return "application/json", []byte(`{"error":"` + p.Code + `"}`)
	}
	for _, tt := range []struct {
		name     string
		status   int
		render   func(*httperr.Problem) (string, []byte)
		wantType string
		wantBody string // "" is any
	}{
		{"a form of its own", 400, oauth, "application/json", `{"error":"invalid_grant"}`},
		{"no body", 400, func(*httperr.Problem) (string, []byte) { return "text/plain; charset=utf-8", nil }, "text/plain; charset=utf-8", ""},
		{"no content type", 400, func(*httperr.Problem) (string, []byte) { return "", []byte("x") }, "application/problem+json", ""},
		{"a content type that breaks out", 400, func(*httperr.Problem) (string, []byte) { return "a/b\r\nSet-Cookie: c=d", []byte("x") }, "application/problem+json", ""},
		{"a status that can't be", 200, oauth, "application/problem+json", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := httperr.New(tt.status, "invalid_grant", "The grant is not valid.")
			p.Render = tt.render
			w := get(new(witness).recover(fail(p)))
			if got := w.Header().Get("Content-Type"); got != tt.wantType {
				t.Errorf("got Content-Type %q, want %q", got, tt.wantType)
			}
			if tt.wantBody != "" && w.Body.String() != tt.wantBody {
				t.Errorf("got %s, want %s", w.Body, tt.wantBody)
			}
			if tt.wantType == "application/problem+json" {
				members(t, w.Body.Bytes())
			}
			if got := w.Header().Get("Cache-Control"); got != "no-store" {
				t.Errorf("got Cache-Control %q", got)
			}
		})
	}
}

// Whatever makes the body gets the Problem, and nothing of the request.
func TestCVE_2026_41181_RendererGetsNoRequestHeaders(t *testing.T) {
	var seen string
	p := httperr.New(400, "bad", "Bad.")
	p.Render = func(p *httperr.Problem) (string, []byte) {
		seen = fmt.Sprintf("%+v %#v", p, *p)
		return "text/plain", nil
	}
	r := httptest.NewRequest(http.MethodGet, "/?q=canary", nil)
	r.Header.Set("Authorization", "Bearer canary")
	r.Header.Set("Cookie", "a=canary")
	new(witness).recover(fail(p)).ServeHTTP(httptest.NewRecorder(), r)
	if seen == "" || strings.Contains(seen, "canary") {
		t.Errorf("Render saw %q", seen)
	}
}

// Every member of the published examples comes out as it stands there. What
// differs from them:
//
//   - status is rendered always, and request_id and error_id are added;
//   - a Pointer is a JSON Pointer (RFC 6901, section 5), "/age", as in JSON
//     Patch; the example has its URI fragment form (section 6), "#/age".
func TestRFC9457_3_Examples(t *testing.T) {
	var file struct {
		Examples []struct {
			Status      int
			ContentType string         `json:"content_type"`
			Body        map[string]any `json:"body"`
		}
	}
	if err := json.Unmarshal(vectors.Read(t, "problem", "examples.json"), &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Examples) == 0 {
		t.Fatal("there are no examples")
	}
	for _, example := range file.Examples {
		p := &httperr.Problem{Status: example.Status, Extensions: map[string]any{}}
		t.Run(fmt.Sprint(example.Body["type"]), func(t *testing.T) {
			want := map[string]any{"status": float64(example.Status)}
			for name, value := range example.Body {
				want[name] = value
				switch name {
				case "type":
					p.Type = value.(string)
				case "title":
					p.Title = value.(string)
				case "detail":
					p.Detail = value.(string)
				case "instance":
					p.Instance = value.(string)
				case "errors":
					for _, e := range value.([]any) {
						e := e.(map[string]any)
						e["pointer"] = strings.TrimPrefix(e["pointer"].(string), "#")
						p.Fields = append(p.Fields, httperr.Field{Pointer: e["pointer"].(string), Detail: e["detail"].(string)})
					}
				default:
					p.Extensions[name] = value
				}
			}
			w := get(new(witness).recover(fail(p)))
			got := members(t, w.Body.Bytes())
			want["request_id"] = w.Header().Get("X-Request-Id")
			if example.Status >= 500 {
				want["error_id"] = got["error_id"]
			}
			if !reflect.DeepEqual(got, want) || w.Code != example.Status || w.Header().Get("Content-Type") != example.ContentType {
				t.Errorf("got  %d %s %v\nwant %v", w.Code, w.Header().Get("Content-Type"), got, want)
			}
		})
	}
}

// The five standard members have the types of RFC 9457, section 3.1, in every
// answer, so that no consumer has to ignore one.
func TestRFC9457_3_1_TypesOfTheMembers(t *testing.T) {
	for _, err := range []error{nil, full(), httperr.New(404, "", ""), errors.New("x"), httperr.New(0, "", "")} {
		w := get(new(witness).recover(fail(err)))
		for name, value := range members(t, w.Body.Bytes()) {
			switch name {
			case "type", "title", "detail", "instance", "code", "request_id", "error_id":
				if s, ok := value.(string); !ok || s == "" {
					t.Errorf("%v: %s is %v, want a string", err, name, value)
				}
			case "status":
				if value != float64(w.Code) {
					t.Errorf("%v: status is %v, want %d", err, value, w.Code)
				}
			}
		}
	}
}
