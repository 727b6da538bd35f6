package errors

import (
	"context"
	"crypto/rand"
	stderrors "errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/internal/grammar"
	"github.com/sallyport/sallyport/internal/logtext"
)

// Write answers r with err. It is the only writer of error responses.
//
// If err is or wraps a [Problem], that is what the client sees. An
// *http.MaxBytesError is a 413, and Config.Map may know others. Of what Map does not know, an
// error of reading from the client is a 408 if it was too slow; and what comes of a context
// that is done is a 503 if the request's own deadline has passed, and a 504 if another one
// has. If the client has gone it is a 499, which nobody sees; a door that cancels a request's
// context for another reason says so by a cause, and it is a 503. Anything else, a
// nil error and a nil *Problem among them, is a bare 500 with an error id, and
// is logged with its cause and stack under the same id. So are the problems with
// a status of 500; those above it are logged without a stack.
//
// Write records the Problem's audit event once. It never changes err. Fields
// that the failed handler set for a body that isn't sent (Content-Length,
// Content-Encoding, Content-Range, ETag, Last-Modified, a digest and the like),
// for caches (Cache-Control, Expires), Location, Refresh and Set-Cookie, and
// trailers, are dropped however they are spelled; all others stay.
//
// If the response has begun, Write logs the error and aborts the connection by
// panicking with http.ErrAbortHandler. It can tell below [Recover], [Handler] and
// [Mux]. If the connection was hijacked, Write only logs.
func Write(w http.ResponseWriter, r *http.Request, err error) {
	c := configOf(r.Context())
	c.write(w, r, RequestID(r.Context()), c.Audit, c.problem(r, err), err)
}

// problem returns the Problem that err stands for, or nil.
func (c *compiled) problem(r *http.Request, err error) *Problem {
	if err == nil {
		return nil
	}
	var p *Problem
	if stderrors.As(err, &p) {
		return p
	}
	var tooLarge *http.MaxBytesError
	if stderrors.As(err, &tooLarge) {
		return New(http.StatusRequestEntityTooLarge, "body_too_large", "The body is too large.").WithCause(err)
	}
	if c.Map != nil {
		if p := c.Map(err); p != nil {
			return p
		}
	}
	if p := ofClient(r, err); p != nil {
		return p
	}
	return ofContext(r, err)
}

// write answers r with p, or with a bare 500 if p can't be shown, and accounts
// for err, the error that p was made of.
func (c *compiled) write(w http.ResponseWriter, r *http.Request, requestID string, recorder audit.Recorder, p *Problem, err error) {
	a := answer{Problem: p, status: http.StatusInternalServerError, requestID: requestID, typeBase: c.TypeBase, types: c.Types}
	switch {
	case p == nil:
		a.Problem = New(a.status, "internal_error", "")
	case p.Status < 400 || p.Status > 599:
		a.Problem = New(a.status, "internal_error", "")
		a.Audit = p.Audit
	default:
		a.status = p.Status
	}
	if a.status >= 500 {
		a.errorID = rand.Text()
	}
	if len(c.languages) > 0 && a.Render == nil {
		a.translate(r, c)
	}
	if c.TraceContext {
		a.traceID = traceID(r.Header)
	}

	started, hijacked := settle(w)
	c.log(r, &a, err, started)
	if a.Audit != nil {
		e := *a.Audit
		e.ErrorID, e.Status, e.Code = a.errorID, a.status, a.Code
		if e.RequestID == "" {
			e.RequestID = requestID
		}
		audit.Record(r, recorder, e)
	}
	switch {
	case hijacked: // the handler owns the connection, and its end
	case started:
		panic(http.ErrAbortHandler)
	default:
		a.send(w, r)
	}
}

// maxCause bounds the text of an error in the log, in bytes: many an error
// repeats all of the input that it is about.
const maxCause = 8 << 10

// log keeps the cause of what the client is told too little about: all errors of
// ours, and the client's where no audit event gives the reason.
func (c *compiled) log(r *http.Request, a *answer, err error, started bool) {
	level, message := slog.LevelInfo, "httperr: a request was refused"
	failed := a.status == http.StatusInternalServerError || started
	switch _, bare := err.(*Problem); {
	case a.status == statusClientClosed || failed && gone(r) && stderrors.Is(err, context.Canceled):
		failed, message = false, "httperr: a request ended before its answer" // the client left: no fault of ours
	case failed:
		level, message = slog.LevelError, "httperr: a request failed"
	case a.status > http.StatusInternalServerError: // a dependency is out of reach: no stack tells more
		level, message = slog.LevelWarn, "httperr: a request could not be served"
	case a.Audit != nil && a.Audit.Reason != "", bare && a.Unwrap() == nil:
		return
	}
	cause := "nil error"
	if err != nil {
		cause = logtext.Clean(fmt.Sprint(err), maxCause) // Sprint survives an Error method that panics
	}
	attrs := []slog.Attr{
		slog.String("method", logtext.Clean(r.Method, 32)), slog.String("path", path(r)), slog.Int("status", a.status),
		slog.String("code", logtext.Clean(a.Code, 128)), slog.String("request_id", a.requestID), slog.String("error", cause),
	}
	if a.errorID != "" {
		attrs = append(attrs, slog.String("error_id", a.errorID))
	}
	if a.traceID != "" {
		attrs = append(attrs, slog.String("trace_id", a.traceID))
	}
	if failed {
		attrs = append(attrs, slog.Bool("response_begun", started), slog.String("stack", string(debug.Stack())))
	}
	c.logger().LogAttrs(r.Context(), level, message, attrs...)
}

func path(r *http.Request) string {
	if r.URL == nil {
		return ""
	}
	return logtext.Clean(r.URL.EscapedPath(), 512)
}

func (a *answer) send(w http.ResponseWriter, r *http.Request) {
	contentType, body := a.render(r)
	// One array for the four values that every answer has.
	v := [...]string{"no-store", contentType, "nosniff", strconv.Itoa(len(body))}

	h := w.Header()
	drop(h)
	h["Cache-Control"] = v[0:1:1]
	kept := false // by caches
	for name, values := range a.Header {
		name = http.CanonicalHeaderKey(name)
		values = slices.DeleteFunc(slices.Clone(values), unsafeValue)
		switch {
		case len(values) == 0 || !grammar.IsToken(name):
		case name == "Vary":
			vary(h, values...)
		default:
			h[name] = values
			kept = kept || forCaches(name)
		}
	}
	if kept { // for those who want the same form alone
		vary(h, "Accept")
	}
	if a.negotiated {
		vary(h, "Accept-Language")
		if _, ok := a.Header["Content-Language"]; !ok && a.language != "" {
			h["Content-Language"] = []string{a.language}
		}
	}
	h["Content-Type"] = v[1:2:2]
	h["X-Content-Type-Options"] = v[2:3:3]
	h["Content-Length"] = v[3:4:4]
	w.WriteHeader(a.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the client is gone: there is nobody to tell
	}
}

// vary adds values to the Vary field that it does not have yet.
func vary(h http.Header, values ...string) {
	for _, v := range values {
		if !slices.ContainsFunc(h["Vary"], func(has string) bool { return strings.EqualFold(has, v) }) {
			h["Vary"] = append(slices.Clip(h["Vary"]), v)
		}
	}
}

// drop takes from h the fields of a failed handler that must not outlive it.
func drop(h http.Header) {
	for _, names := range h["Trailer"] {
		for name := range strings.SplitSeq(names, ",") {
			delete(h, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
	for name := range h {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			delete(h, name)
			continue
		}
		// A handler may have set "ETag" past Header.Set, just as it is spelled.
		canonical := http.CanonicalHeaderKey(name)
		if forCaches(canonical) || strings.HasPrefix(canonical, "X-Accel-") || strings.HasPrefix(canonical, "X-Sendfile") {
			delete(h, name)
			continue
		}
		switch canonical {
		case "Content-Length", "Content-Type", "Content-Encoding", "Content-Language", "Content-Location",
			"Content-Range", "Content-Disposition", "Content-Digest", "Content-Md5", "Repr-Digest", "Unencoded-Digest", "Digest",
			"Signature", "Signature-Input", // of the answer that is not sent (RFC 9421)
			"Transfer-Encoding", "Trailer", "X-Content-Type-Options",
			"Etag", "Last-Modified", "Accept-Ranges",
			"Age", "Pragma", "No-Vary-Search",
			"Set-Cookie", "Location", "Refresh",
			// Servers in front would send a file in place of the problem.
			"X-Send-File", "X-Lighttpd-Send-File", "X-Litespeed-Location", "X-Reproxy-Url":
			delete(h, name)
		}
	}
}

// forCaches reports whether some cache takes from a field how long to keep an answer.
func forCaches(canonical string) bool {
	switch canonical {
	case "Surrogate-Control", "Edge-Control", "X-Accel-Expires", "Expires":
		return true
	}
	return strings.HasSuffix(strings.ToLower(canonical), "cache-control") // with a cache's name in front (RFC 9213)
}

// unsafeValue reports whether v has characters that may not stand in a field
// (RFC 9110, section 5.5).
func unsafeValue(v string) bool {
	return strings.ContainsFunc(v, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f })
}
