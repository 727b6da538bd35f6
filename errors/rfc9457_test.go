package errors_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	httperr "github.com/sallyport/sallyport/errors"
)

// The clauses of RFC 9457 that can be tested, each of them on answers that came over a
// connection.
func TestRFC9457_Clauses(t *testing.T) {
	const secret = "pq: relation \"users\" does not exist at 10.0.0.7"
	registered := httperr.New(429, "rate_limited", "Too many requests.")
	registered.Type = "https://iana.org/assignments/http-problem-types#quota-exceeded"
	kinds := map[string]error{
		"/full": full(), "/bare": httperr.New(404, "", ""), "/cause": errors.New(secret), "/markup": &httperr.Problem{
			Status: 400, Code: "x", Title: "<h1>", Detail: "</script>", Extensions: map[string]any{"own": "<b>"},
		},
		"/override":   &httperr.Problem{Status: 400, Code: "x", Extensions: map[string]any{"status": 200, "type": "mine"}},
		"/impossible": &httperr.Problem{Status: 200, Code: "x"}, "/registered": registered,
		"/hidden": (&httperr.Problem{Status: 500, Code: "x", Detail: "Try later."}).WithCause(errors.New(secret)),
	}
	mux := http.NewServeMux()
	for path, err := range kinds {
		mux.Handle(path, fail(err))
	}
	mux.Handle("/problems/", registry(t, httperr.ProblemTypes()...))
	s := serve(t, new(witness).recover(mux), false)
	ask := func(t *testing.T, path string) (reply, map[string]any) {
		t.Helper()
		r := s.do(t, http.MethodGet, path, nil)
		if r.err != nil {
			t.Fatal(r.err)
		}
		return r, members(t, r.body)
	}
	each := func(t *testing.T, f func(t *testing.T, path string, r reply, m map[string]any)) {
		t.Helper()
		for path := range kinds {
			r, m := ask(t, path)
			f(t, path, r, m)
		}
	}

	for _, clause := range []struct {
		name  string
		holds func(t *testing.T)
	}{
		{"3: the media type is application/problem+json", func(t *testing.T) {
			each(t, func(t *testing.T, path string, r reply, _ map[string]any) {
				if got := r.Header["Content-Type"]; !slices.Equal(got, []string{"application/problem+json"}) {
					t.Errorf("%s: got %q", path, got)
				}
			})
		}},
		{"3.1.1 and 4.2.1: type is a URI reference, about:blank by default, with the phrase as title", func(t *testing.T) {
			each(t, func(t *testing.T, path string, _ reply, m map[string]any) {
				if _, err := url.Parse(fmt.Sprint(m["type"])); err != nil {
					t.Errorf("%s: %v", path, err)
				}
			})
			if _, m := ask(t, "/bare"); m["type"] != "about:blank" || m["title"] != "Not Found" {
				t.Errorf("got %v", m)
			}
		}},
		{"3.1.2: status is that of the answer", func(t *testing.T) {
			each(t, func(t *testing.T, path string, r reply, m map[string]any) {
				if m["status"] != float64(r.StatusCode) || r.StatusCode < 400 {
					t.Errorf("%s: got %d and the status %v", path, r.StatusCode, m["status"])
				}
			})
		}},
		{"3.1: a consumer ignores members of another type", func(t *testing.T) {
			p, _ := remote(t, 422, problemJSON, `{"type":1,"title":["x"],"status":"200","detail":{},"instance":null,"own":1}`)
			if p.Type != "about:blank" || p.Title != "" || p.Status != 422 || p.Detail != "" || p.Instance != "" {
				t.Errorf("got %#v", p)
			}
		}},
		{"3.2: names of extensions are letters, digits and '_', three or more, a letter first", func(t *testing.T) {
			each(t, func(t *testing.T, path string, _ reply, m map[string]any) {
				for name := range m {
					extensionName(t, path, name)
				}
			})
			for path, name := range ownExtensions(t) {
				if name != "violated-policies" { // which the draft for quotas has so named
					extensionName(t, path, name)
				}
			}
		}},
		{"3.2: an extension does not overwrite a member", func(t *testing.T) {
			if r, m := ask(t, "/override"); m["status"] != 400.0 || m["type"] != "about:blank" || strings.Count(string(r.body), `"status"`) != 1 {
				t.Errorf("got %s", r.body)
			}
		}},
		{"3.1.4 and 5: detail has nothing of the inside", func(t *testing.T) {
			each(t, func(t *testing.T, path string, r reply, _ map[string]any) {
				for _, part := range []string{"pq:", "relation", "10.0.0.7"} {
					if strings.Contains(string(r.body)+fmt.Sprint(r.Header), part) {
						t.Errorf("%s: got %s", path, r.body)
					}
				}
			})
			if _, m := ask(t, "/hidden"); m["detail"] != "Try later." {
				t.Errorf("got %v", m)
			}
		}},
		{"3.1.5: instance is nothing that the client has sent", func(t *testing.T) {
			for path := range kinds {
				r, m := ask(t, path+"?next=https://evil.example/")
				if _, ok := m["instance"]; ok != (path == "/full") || strings.Contains(string(r.body), "evil") {
					t.Errorf("%s: got %s", path, r.body)
				}
			}
		}},
		{"4: types are documented where their URI leads, with title and status", func(t *testing.T) {
			for _, p := range httperr.ProblemTypes() {
				r := s.do(t, http.MethodGet, "/problems/"+p.Code, http.Header{"Accept": {"application/json"}})
				m := members(t, r.body)
				if r.err != nil || r.StatusCode != 200 || m["title"] == "" || m["status"] != float64(p.Status) || m["type"] != problemsBase+p.Code {
					t.Errorf("%s: got %d %s, %v", p.Code, r.StatusCode, r.body, r.err)
				}
			}
		}},
		{"3: there is no markup in it", func(t *testing.T) {
			each(t, func(t *testing.T, path string, r reply, _ map[string]any) {
				if strings.ContainsAny(string(r.body), "<>&") {
					t.Errorf("%s: got %s", path, r.body)
				}
			})
		}},
		{"RFC 9110, 9.3.2: the answer to HEAD has the fields and no body", func(t *testing.T) {
			each(t, func(t *testing.T, path string, g reply, _ map[string]any) {
				h := s.do(t, http.MethodHead, path, nil)
				if h.err != nil || len(h.body) > 0 || h.StatusCode != g.StatusCode || h.Header.Get("Content-Type") != g.Header.Get("Content-Type") {
					t.Errorf("%s: got %d %v %q, %v", path, h.StatusCode, h.Header, h.body, h.err)
				}
			})
		}},
		{"4.3: a registered type has the registry's URI", func(t *testing.T) {
			if _, m := ask(t, "/registered"); m["type"] != registered.Type {
				t.Errorf("got %v", m["type"])
			}
		}},
	} {
		t.Run(clause.name, clause.holds)
	}
}

func extensionName(t *testing.T, where, name string) {
	t.Helper()
	if !regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{2,}$`).MatchString(name) {
		t.Errorf("%s: the name %q", where, name)
	}
}

// ownExtensions returns the names that the packages of this module give to extensions, by
// where they do.
func ownExtensions(t *testing.T) map[string]string {
	t.Helper()
	names := make(map[string]string)
	set := regexp.MustCompile(`Extensions(?:\[| = map\[string\]any\{)"([^"]+)"`)
	root := os.DirFS("..")
	err := fs.WalkDir(root, ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := fs.ReadFile(root, path)
		for i, m := range set.FindAllSubmatch(b, -1) {
			names[fmt.Sprint(path, " ", i)] = string(m[1])
		}
		return err
	})
	if err != nil || len(names) < 5 {
		t.Fatalf("%v are set, %v", names, err)
	}
	return names
}
