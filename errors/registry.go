package errors

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/internal/grammar"
)

// A ProblemType is a kind of problem and its documentation (RFC 9457, section 4).
type ProblemType struct {
	// Code is the stable name, of small letters, digits, '_' and '-', and the last part of the
	// type URI. Required.
	Code string `json:"code"`
	// Title is a short text that is the same for every problem of the type. Required.
	Title string `json:"title"`
	// Status is the HTTP status, 400 to 599. Required.
	Status int `json:"status"`
	// Description says when the problem occurs and what a client can do about it.
	Description string `json:"description,omitempty"`
}

// A Registry has the problem types of a service, and serves their documentation at their
// type URIs. As Config.Types it gives each [Problem] with a code that it has the type and title of
// that:
//
//	types, err := httperr.NewRegistry("https://api.example.com/problems/", append(httperr.ProblemTypes(), httperr.ProblemType{
//		Code: "out_of_stock", Title: "Out of stock", Status: 409, Description: "There are fewer items than were ordered.",
//	})...)
//	mux.Handle("GET /problems/", types)
//	h := httperr.Recover(httperr.Config{Types: types})(httperr.Mux(mux))
//
// A Registry is safe for concurrent use.
type Registry struct {
	base  string
	types []ProblemType // by code
	pages map[string]documents
}

// documents are those of a type, or of the list of them. The key of the list is "".
type documents struct {
	html, json []byte
	htmlTag    string
	jsonTag    string
}

// NewRegistry returns a registry of types under a base URI, which is absolute, without a
// query or fragment, and ends with a slash. It returns an error that names what is wrong: a
// base that is none, a type without a Code, Title or Status, or two with one Code.
func NewRegistry(base string, types ...ProblemType) (*Registry, error) {
	u, err := url.Parse(base)
	if err != nil || !u.IsAbs() || u.Host == "" || u.User != nil || strings.Trim(base, uriCharacters) != "" || strings.ContainsAny(base, "?#") || !strings.HasSuffix(base, "/") {
		return nil, fmt.Errorf("httperr: NewRegistry: the base %q is not an absolute URI without user, query and fragment that ends with a slash", base)
	}
	r := &Registry{base: base, types: slices.Clone(types), pages: make(map[string]documents)}
	slices.SortFunc(r.types, func(a, b ProblemType) int { return cmp.Compare(a.Code, b.Code) })
	all := make([]described, len(r.types))
	for i, t := range r.types {
		switch {
		case !isSlug(t.Code):
			return nil, fmt.Errorf("httperr: NewRegistry: the Code %q is not of small letters, digits, '_' and '-'", t.Code)
		case i > 0 && r.types[i-1].Code == t.Code:
			return nil, fmt.Errorf("httperr: NewRegistry: there are two types with the Code %q", t.Code)
		case t.Title == "":
			return nil, fmt.Errorf("httperr: NewRegistry: %q has no Title", t.Code)
		case t.Status < 400 || t.Status > 599:
			return nil, fmt.Errorf("httperr: NewRegistry: %q has the Status %d, want 400 to 599", t.Code, t.Status)
		}
		all[i] = described{base + t.Code, t}
		if r.pages[t.Code], err = document(t.Title, all[i], all[i].page()); err != nil {
			return nil, err
		}
	}
	if r.pages[""], err = document("Problem types", all, r.list()); err != nil {
		return nil, err
	}
	return r, nil
}

// uriCharacters are those of RFC 3986, section 2.
const uriCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:/?#[]@!$&'()*+,;=%"

func isSlug(s string) bool {
	for i := range len(s) {
		if c := s[i]; !grammar.IsAlphanumeric(c) && c != '_' && c != '-' || c >= 'A' && c <= 'Z' {
			return false
		}
	}
	return s != ""
}

// Base returns the URI that the types are under.
func (r *Registry) Base() string { return r.base }

// Types returns the types in the order of their codes.
func (r *Registry) Types() []ProblemType { return slices.Clone(r.types) }

// Problem returns a problem of a type, with a detail that may be shown to the client. It
// panics if there is no type with this code, so make problems where a test comes by.
func (r *Registry) Problem(code, detail string) *Problem {
	t, ok := r.find(code)
	if !ok {
		panic("httperr: Registry.Problem: there is no type " + strconv.Quote(code))
	}
	return &Problem{Type: r.base + t.Code, Title: t.Title, Status: t.Status, Code: t.Code, Detail: detail}
}

// find returns the type with a code. A nil r has none.
func (r *Registry) find(code string) (t ProblemType, ok bool) {
	if r == nil {
		return t, false
	}
	i, ok := slices.BinarySearchFunc(r.types, code, func(t ProblemType, code string) int { return cmp.Compare(t.Code, code) })
	if ok {
		t = r.types[i]
	}
	return t, ok
}

// ServeHTTP serves the documentation of the type that the last part of the path names, and
// of all of them if it is empty: HTML to who prefers that, and JSON otherwise. It may be kept
// for an hour. Mount it at the path of the base.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		p := New(http.StatusMethodNotAllowed, "method_not_allowed", "The documentation can only be read.")
		p.Header = http.Header{"Allow": {"GET, HEAD"}}
		Write(w, req, p)
		return
	}
	docs, ok := r.pages[req.URL.Path[strings.LastIndexByte(req.URL.Path, '/')+1:]]
	if !ok {
		Write(w, req, New(http.StatusNotFound, "not_found", "There is no problem type of this name."))
		return
	}
	body, tag, contentType := docs.json, docs.jsonTag, "application/json"
	if prefers(req.Header["Accept"]) == formHTML {
		body, tag, contentType = docs.html, docs.htmlTag, "text/html; charset=utf-8"
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	h.Set("Cache-Control", "public, max-age=3600")
	h.Set("Etag", tag)
	h.Add("Vary", "Accept")
	if hasTag(req.Header["If-None-Match"], tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if req.Method != http.MethodHead {
		_, _ = w.Write(body) // the client is gone: there is nobody to tell
	}
}

// hasTag reports whether the values of If-None-Match have a tag, by the weak comparison (RFC 9110,
// section 13.1.2): what compresses in front makes tags weak. Ours have no commas.
func hasTag(values []string, tag string) bool {
	for _, value := range values {
		for one := range strings.SplitSeq(value, ",") {
			if one = strings.Trim(one, " \t"); one == "*" || strings.TrimPrefix(one, "W/") == tag {
				return true
			}
		}
	}
	return false
}

// A described type is one with its URI.
type described struct {
	Type string `json:"type"`
	ProblemType
}

// document returns the documents of a title, what is described, and the body of its page.
func document(title string, what any, page string) (d documents, err error) {
	if d.json, err = json.Marshal(what); err != nil {
		return d, fmt.Errorf("httperr: NewRegistry: %w", err)
	}
	d.html = []byte("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>" + html.EscapeString(title) + "</title></head><body>\n" + page + "</body></html>\n")
	d.htmlTag, d.jsonTag = entityTag(d.html), entityTag(d.json)
	return d, nil
}

func entityTag(b []byte) string {
	sum := sha256.Sum256(b)
	return fmt.Sprintf(`"%x"`, sum[:8])
}

// page returns the body of the page about a type.
func (t described) page() string {
	s := "<h1>" + html.EscapeString(t.Title) + "</h1>\n<p><code>" + html.EscapeString(t.Type) + "</code>, status " + strconv.Itoa(t.Status) + "</p>\n"
	if t.Description != "" {
		s += "<p>" + html.EscapeString(t.Description) + "</p>\n"
	}
	return s
}

// list returns the body of the page about all types.
func (r *Registry) list() string {
	var b strings.Builder
	b.WriteString("<h1>Problem types</h1>\n<ul>\n")
	for _, t := range r.types {
		b.WriteString(`<li><a href="` + html.EscapeString(t.Code) + `">` + html.EscapeString(t.Title) + "</a>, status " + strconv.Itoa(t.Status) + "</li>\n")
	}
	b.WriteString("</ul>\n")
	return b.String()
}
