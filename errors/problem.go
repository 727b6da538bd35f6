// Package errors is the one place where an error becomes an HTTP response. It
// renders RFC 9457 problem details and shows the client nothing that was not
// meant for it. Import it as httperr, so that the standard library's errors
// keeps its name:
//
//	import httperr "github.com/sallyport/sallyport/errors"
//
// A handler returns an error, and [Handler] renders it:
//
//	mux.Handle("GET /items/{id}", httperr.Handler(func(w http.ResponseWriter, r *http.Request) error {
//		item, err := load(r.PathValue("id"))
//		if errors.Is(err, sql.ErrNoRows) {
//			return httperr.New(http.StatusNotFound, "item_not_found", "There is no such item.").WithCause(err)
//		}
//		…
//	}))
//	h := httperr.Recover()(httperr.Mux(mux))
//
// A [Problem] is safe to show. Every other error is a bare 500 with an error id
// that stands in the log together with the cause and the stack, but for a few that
// [Write] and Config.Map know.
//
// # Answers
//
// The form is application/problem+json, unless the client prefers text/plain, text/html or
// application/problem+xml (RFC 9110, section 12.5.1; RFC 9457, appendix B). Config.Translations has
// titles and details in other languages. Every answer has X-Content-Type-Options: nosniff and,
// unless the Problem says otherwise, Cache-Control: no-store. It loses the fields of the
// handler that failed which describe a body that is not sent, may be cached, or set cookies.
package errors

import (
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/sallyport/sallyport/audit"
)

// A Problem is an error that may be shown to the client, in the form of RFC
// 9457. It may wrap a cause, which never is. A Problem that has been handed to
// [Write] or shared must not be changed; [Problem.WithCause] makes a copy.
type Problem struct {
	// Type is a URI reference that names the kind of problem. The default is
	// Config.TypeBase followed by Code, or that of Code in Config.Types, or "about:blank".
	Type string
	// Title is a short text which is the same for every problem of the type. The
	// default is that of Code in Config.Types, or the phrase of the status, "Not Found".
	Title string
	// Detail says what is wrong with this request, and how to mend it. It is
	// shown to the client.
	Detail string
	// Instance is a URI reference that names this occurrence.
	Instance string
	// Status is the HTTP status, 400 to 599. Anything else is rendered as 500.
	Status int
	// Code is a stable name for programs, such as "item_not_found".
	Code string
	// Header is set on the response: WWW-Authenticate, Retry-After. A value with
	// control characters, and what is no field name, is left out. Vary is added to
	// rather than replaced. Content-Type and Content-Length are those of the body.
	Header http.Header
	// Fields says which parts of the input are wrong. It is rendered as "errors".
	Fields []Field
	// Extensions are further members. Those named like a member above, or like
	// one that Write adds ("request_id", "error_id", "trace_id"), in any case, are left out, and
	// so is what encoding/json can't render. RFC 9457, section 3.2, wants names of
	// three or more letters, digits and underscores.
	Extensions map[string]any
	// Render overrides the form of the body. It must not change the Problem. Nil,
	// and an empty content type, is the form of RFC 9457.
	Render func(*Problem) (contentType string, body []byte)
	// Audit is recorded once by Write, completed with what is known of the
	// request. It is never sent. Nil records nothing.
	Audit *audit.Event

	cause error
}

// A Field says what is wrong with one part of the input. It never holds the
// value that was sent.
type Field struct {
	Pointer  string `json:"pointer,omitempty"`  // RFC 6901 JSON Pointer of the wire names, "/items/0/price"
	Location string `json:"location,omitempty"` // "body", "query", "path", "header", "form" or "cookie"
	Code     string `json:"code,omitempty"`     // the rule, "gt"
	Detail   string `json:"detail,omitempty"`   // "must be greater than 0"
}

// New returns a Problem with a status, a stable code and a detail that may be
// shown to the client.
func New(status int, code, detail string) *Problem {
	return &Problem{Status: status, Code: code, Detail: detail}
}

// WithCause returns a copy of p that wraps err. The cause stands in the log and
// matches errors.Is and errors.As; it never reaches the client. Header, Fields
// and Extensions are cloned, so the copy may be changed freely.
func (p *Problem) WithCause(err error) *Problem {
	c := *p
	c.Header = p.Header.Clone()
	c.Fields = slices.Clone(p.Fields)
	c.Extensions = maps.Clone(p.Extensions)
	if p.Audit != nil {
		e := *p.Audit
		c.Audit = &e
	}
	c.cause = err
	return &c
}

// Error returns the status, code, detail and cause. It is meant for logs: what
// the client sees is written from the fields.
func (p *Problem) Error() string {
	if p == nil {
		return "httperr: nil problem"
	}
	s := "httperr: " + strconv.Itoa(p.Status)
	for _, part := range []string{p.Code, p.Detail} {
		if part != "" {
			s += ": " + part
		}
	}
	if p.cause != nil {
		s += ": " + p.cause.Error()
	}
	return s
}

// Unwrap returns the cause, or nil.
func (p *Problem) Unwrap() error {
	if p == nil {
		return nil
	}
	return p.cause
}
