package errors_test

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	httperr "github.com/sallyport/sallyport/errors"
)

const problemsBase = "https://api.example.com/problems/"

func registry(t testing.TB, types ...httperr.ProblemType) *httperr.Registry {
	t.Helper()
	r, err := httperr.NewRegistry(problemsBase, types...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestNewRegistryRefuses(t *testing.T) {
	good := httperr.ProblemType{Code: "out_of_stock", Title: "Out of stock", Status: 409}
	with := func(change func(*httperr.ProblemType)) httperr.ProblemType {
		p := good
		change(&p)
		return p
	}
	for name, tt := range map[string]struct {
		base  string
		types []httperr.ProblemType
		want  string
	}{
		"no base":               {"", nil, "base"},
		"a relative base":       {"/problems/", nil, "base"},
		"a base without a host": {"urn:problems:/", nil, "base"},
		"no slash at the end":   {"https://api.example.com/problems", nil, "base"},
		"a query":               {"https://api.example.com/problems/?x=/", nil, "base"},
		"an empty query":        {"https://api.example.com/?", nil, "base"},
		"an empty fragment":     {"https://api.example.com/problems/#", nil, "base"},
		"a slash in a query":    {"https://api.example.com/?/", nil, "base"},
		"a user":                {"https://me@api.example.com/problems/", nil, "base"},
		"a blank":               {"https://api.example.com/a b/", nil, "base"},
		"a quotation mark":      {`https://api.example.com/a"/`, nil, "base"},
		"letters beyond ASCII":  {"https://api.example.com/\u202e/", nil, "base"},
		"no Code":               {problemsBase, []httperr.ProblemType{with(func(p *httperr.ProblemType) { p.Code = "" })}, "Code"},
		"a Code with a slash":   {problemsBase, []httperr.ProblemType{with(func(p *httperr.ProblemType) { p.Code = "a/b" })}, "Code"},
		"a Code in capitals":    {problemsBase, []httperr.ProblemType{with(func(p *httperr.ProblemType) { p.Code = "Out" })}, "Code"},
		"no Title":              {problemsBase, []httperr.ProblemType{with(func(p *httperr.ProblemType) { p.Title = "" })}, "Title"},
		"no Status":             {problemsBase, []httperr.ProblemType{with(func(p *httperr.ProblemType) { p.Status = 0 })}, "Status"},
		"a Status of success":   {problemsBase, []httperr.ProblemType{with(func(p *httperr.ProblemType) { p.Status = 200 })}, "Status"},
		"a Code twice":          {problemsBase, []httperr.ProblemType{good, good}, "two types"},
	} {
		if r, err := httperr.NewRegistry(tt.base, tt.types...); err == nil || r != nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want an error that names %s", name, err, tt.want)
		}
	}
}

// TestRFC9457_4_TypesAreDocumented has each type URI of the problems of a service resolve to
// its documentation.
func TestRFC9457_4_TypesAreDocumented(t *testing.T) {
	hostile := httperr.ProblemType{Code: "hostile", Title: `<script>alert("x")</script>`, Status: 400, Description: `</p><img src=x onerror=y>`}
	r := registry(t, append(httperr.ProblemTypes(), hostile)...)
	ask := func(method, path string, header ...string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		req := httptest.NewRequest(method, path, nil)
		for i := 0; i+1 < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		new(witness).recover(r).ServeHTTP(w, req)
		return w
	}
	for _, p := range r.Types() {
		w := ask("GET", "/problems/"+p.Code)
		var got struct {
			Type, Code, Title string
			Status            int
		}
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 || got.Type != problemsBase+p.Code || got.Code != p.Code || got.Title != p.Title || got.Status != p.Status {
			t.Errorf("%s: got %d %s, %v", p.Code, w.Code, w.Body, err)
		}
		if !strings.HasPrefix(w.Header().Get("Content-Security-Policy"), "default-src 'none'") || w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Vary") != "Accept" {
			t.Errorf("%s: got the fields %v", p.Code, w.Header())
		}
	}
	page := ask("GET", "/problems/hostile", "Accept", "text/html")
	if body := page.Body.String(); page.Header().Get("Content-Type") != "text/html; charset=utf-8" || strings.Contains(body, "<script") || strings.Contains(body, "<img") || !strings.Contains(body, "&lt;script&gt;") {
		t.Errorf("got %s %s", page.Header().Get("Content-Type"), body)
	}
	list := ask("GET", "/problems/", "Accept", "text/html")
	if n := strings.Count(list.Body.String(), "<li>"); n != len(r.Types()) || strings.Contains(list.Body.String(), "<script") {
		t.Errorf("the list has %d types, want %d", n, len(r.Types()))
	}
	var all []map[string]any
	if err := json.Unmarshal(ask("GET", "/problems/").Body.Bytes(), &all); err != nil || len(all) != len(r.Types()) {
		t.Errorf("the list has %d types, %v", len(all), err)
	}

	tag := page.Header().Get("Etag")
	if w := ask("GET", "/problems/hostile", "Accept", "text/html", "If-None-Match", tag); w.Code != 304 || w.Body.Len() > 0 {
		t.Errorf("with its tag: got %d %s", w.Code, w.Body)
	}
	for value, want := range map[string]int{`"a", ` + tag: 304, "W/" + tag: 304, `W/"a",W/` + tag + `,"b"`: 304, "*": 304, `"a"`: 200, `W/"a"`: 200, strings.Trim(tag, `"`): 200, "": 200} {
		if w := ask("GET", "/problems/hostile", "Accept", "text/html", "If-None-Match", value); w.Code != want {
			t.Errorf("with %s: got %d, want %d", value, w.Code, want)
		}
	}
	if w := ask("GET", "/problems/hostile", "If-None-Match", tag); w.Code != 200 {
		t.Errorf("with the tag of the other form: got %d", w.Code)
	}
	if w := ask("HEAD", "/problems/hostile"); w.Code != 200 || w.Body.Len() > 0 || w.Header().Get("Content-Length") == "" {
		t.Errorf("HEAD: got %d, %d bytes", w.Code, w.Body.Len())
	}
	if w := ask("GET", "/problems/none"); w.Code != 404 || members(t, w.Body.Bytes())["code"] != "not_found" {
		t.Errorf("of none: got %d %s", w.Code, w.Body)
	}
	if w := ask("POST", "/problems/hostile"); w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: got %d, Allow %q", w.Code, w.Header().Get("Allow"))
	}
}

// What a Registry says of a code is what answers with it say.
func TestRFC9457_3_1_TypesOfARegistry(t *testing.T) {
	r := registry(t, append(httperr.ProblemTypes(), httperr.ProblemType{Code: "out_of_stock", Title: "Out of stock", Status: 409})...)
	own := httperr.New(409, "out_of_stock", "")
	own.Title = "Sold out"
	other := httperr.New(409, "out_of_stock", "")
	other.Type = "https://other.example/stock"
	for _, tt := range []struct {
		name        string
		err         error
		kind, title string
	}{
		{"of this module", httperr.New(400, "body_required", ""), problemsBase + "body_required", "A body is required"},
		{"of the service", httperr.New(409, "out_of_stock", ""), problemsBase + "out_of_stock", "Out of stock"},
		{"with a title of its own", own, problemsBase + "out_of_stock", "Sold out"},
		{"with a type of its own", other, "https://other.example/stock", "Conflict"},
		{"of no type", httperr.New(404, "item_not_found", ""), "about:blank", "Not Found"},
		{"without a code", httperr.New(404, "", ""), "about:blank", "Not Found"},
		{"an error", http.ErrBodyNotAllowed, problemsBase + "internal_error", "Internal error"},
	} {
		w := new(witness)
		cfg := w.config()
		cfg.Types = r
		for _, accept := range []string{"application/json", "application/problem+xml", "text/html"} {
			body := get(httperr.Recover(cfg)(fail(tt.err)), accept).Body.String()
			shown := accept != "text/html"
			if strings.Contains(body, tt.kind) != shown || strings.Contains(body, problemsBase) && !strings.HasPrefix(tt.kind, problemsBase) || !strings.Contains(body, tt.title) {
				t.Errorf("%s, as %s: got %s, want %s, %s", tt.name, accept, body, tt.kind, tt.title)
			}
		}
	}
}

func TestRegistryProblem(t *testing.T) {
	r := registry(t, httperr.ProblemType{Code: "out_of_stock", Title: "Out of stock", Status: http.StatusConflict})
	w := get(new(witness).recover(fail(r.Problem("out_of_stock", "Two are left."))))
	m := members(t, w.Body.Bytes())
	if w.Code != 409 || m["type"] != problemsBase+"out_of_stock" || m["title"] != "Out of stock" || m["detail"] != "Two are left." || m["code"] != "out_of_stock" {
		t.Errorf("got %d %v", w.Code, m)
	}
	defer func() {
		if recover() == nil {
			t.Error("of none: got no panic")
		}
	}()
	r.Problem("outofstock", "")
}

// TestAPI9_EveryCodeIsListed reads the sources: each code that a package answers with is one
// of ProblemTypes, and each of those is answered somewhere.
func TestAPI9_EveryCodeIsListed(t *testing.T) {
	listed := make(map[string]bool)
	for _, p := range httperr.ProblemTypes() {
		listed[p.Code] = false
	}
	registry(t, httperr.ProblemTypes()...)
	root := os.DirFS("..")
	made := regexp.MustCompile(`(?:\bNew|refuse)\((?:http\.Status\w+|\d{3}|status\w*|a\.status), *"([a-z_]+)"`)
	text := regexp.MustCompile(`"([a-z_]+)"`)
	files := 0
	err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != "." || d.Name() == "examples" || d.Name() == "oauth"):
			return fs.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || path == "errors/catalogue.go":
			return nil
		}
		b, err := fs.ReadFile(root, path)
		if err != nil {
			return err
		}
		files++
		for _, line := range strings.Split(string(b), "\n") {
			if strings.HasPrefix(strings.TrimSpace(line), "//") {
				continue
			}
			for _, m := range made.FindAllStringSubmatch(line, -1) {
				if _, ok := listed[m[1]]; !ok {
					t.Errorf("%s answers with %q, which is not listed", path, m[1])
				}
			}
			for _, m := range text.FindAllStringSubmatch(line, -1) {
				if _, ok := listed[m[1]]; ok {
					listed[m[1]] = true
				}
			}
		}
		return nil
	})
	if err != nil || files < 50 {
		t.Fatalf("%d files were read, %v", files, err)
	}
	for code, seen := range listed {
		if !seen {
			t.Errorf("%q is listed, and nothing answers with it", code)
		}
	}
}
