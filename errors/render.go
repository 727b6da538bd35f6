package errors

import (
	"cmp"
	"encoding/json"
	"html"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sallyport/sallyport/internal/language"
	"github.com/sallyport/sallyport/internal/logtext"
)

// An answer is a Problem with what Write adds to it.
type answer struct {
	*Problem
	status    int
	requestID string
	errorID   string
	traceID   string

	negotiated bool   // by language
	language   string // of the texts, if it is not the code's own
	typeBase   string
	types      *Registry
}

// translate gives a the texts that the client reads best.
func (a *answer) translate(r *http.Request, c *compiled) {
	a.negotiated = true
	tongue := language.Choose(r.Header["Accept-Language"], c.languages...)
	text, ok := c.Translations[tongue][a.Code]
	if !ok || text == (Text{}) {
		return
	}
	p := *a.Problem // which is not ours to change
	p.Title, p.Detail = cmp.Or(text.Title, p.Title), cmp.Or(text.Detail, p.Detail)
	a.Problem, a.language = &p, tongue
}

func (a *answer) render(r *http.Request) (contentType string, body []byte) {
	if a.Render != nil {
		if contentType, body = a.Render(a.Problem); contentType != "" && !unsafeValue(contentType) {
			return contentType, body
		}
	}
	switch prefers(r.Header["Accept"]) {
	case formHTML:
		return "text/html; charset=utf-8", a.html()
	case formText:
		return "text/plain; charset=utf-8", a.text()
	case formXML:
		return "application/problem+xml; charset=utf-8", a.xml()
	default:
		return "application/problem+json", a.json()
	}
}

func (a *answer) typeURI() string {
	switch {
	case a.Type != "":
		return a.Type
	case a.typeBase != "" && a.Code != "":
		return a.typeBase + a.Code
	}
	if t, ok := a.types.find(a.Code); ok {
		return a.types.base + t.Code
	}
	return "about:blank"
}

func (a *answer) title() string {
	if a.Title != "" {
		return a.Title
	}
	if t, ok := a.types.find(a.Code); ok && a.Type == "" {
		return t.Title
	}
	if phrase := http.StatusText(a.status); phrase != "" {
		return phrase
	}
	return "Error"
}

// json renders the members in the order of RFC 9457, section 3.1.
func (a *answer) json() []byte {
	b := make([]byte, 0, 512)
	b = append(b, `{"type":`...)
	b = appendString(b, a.typeURI())
	b = append(b, `,"title":`...)
	b = appendString(b, a.title())
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(a.status), 10)
	for _, m := range []struct{ name, value string }{
		{`,"detail":`, a.Detail},
		{`,"instance":`, a.Instance},
		{`,"code":`, a.Code},
		{`,"request_id":`, a.requestID},
		{`,"error_id":`, a.errorID},
		{`,"trace_id":`, a.traceID},
	} {
		if m.value != "" {
			b = append(b, m.name...)
			b = appendString(b, m.value)
		}
	}
	if len(a.Fields) > 0 {
		if fields, err := json.Marshal(a.Fields); err == nil {
			b = append(b, `,"errors":`...)
			b = append(b, fields...)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.Extensions)) {
		if reserved(name) {
			continue
		}
		value, err := json.Marshal(a.Extensions[name])
		if err != nil {
			continue // a broken extension must not cost the client the rest
		}
		b = append(b, ',')
		b = appendString(b, name)
		b = append(b, ':')
		b = append(b, value...)
	}
	return append(b, '}', '\n')
}

// reserved reports whether an extension may not have this name. Case doesn't
// count, since there are clients, encoding/json among them, that would take
// "Status" for the status. What is not UTF-8 could turn into another's name.
func reserved(name string) bool {
	for _, s := range [...]string{"", "type", "title", "status", "detail", "instance", "code", "errors", "request_id", "error_id", "trace_id"} {
		if strings.EqualFold(s, name) {
			return true
		}
	}
	return !utf8.ValidString(name)
}

func (a *answer) text() []byte {
	var b []byte
	a.lines(func(line string) {
		b = append(b, line...)
		b = append(b, '\n')
	})
	return b
}

func (a *answer) html() []byte {
	b := []byte("<!DOCTYPE html>\n<html lang=\"" + html.EscapeString(cmp.Or(a.language, "en")) + "\"><head><meta charset=\"utf-8\">")
	heading := true
	a.lines(func(line string) {
		line = html.EscapeString(line)
		if heading {
			b = append(b, "<title>"+line+"</title></head><body><h1>"+line+"</h1>\n"...)
			heading = false
			return
		}
		b = append(b, "<p>"+line+"</p>\n"...)
	})
	return append(b, "</body></html>\n"...)
}

// lines calls f for each line of the forms for people, the heading first. The
// lines are clean, so that no text can pretend to be a line of its own, or a
// command to the terminal.
func (a *answer) lines(f func(line string)) {
	f(strconv.Itoa(a.status) + " " + logtext.Clean(a.title(), 0))
	if a.Detail != "" {
		f(logtext.Clean(a.Detail, 0))
	}
	for _, field := range a.Fields {
		line := field.Detail
		if place := strings.TrimSpace(field.Location + " " + field.Pointer); place != "" {
			line = place + ": " + line
		}
		f(logtext.Clean(line, 0))
	}
	for _, m := range [][2]string{{"code: ", a.Code}, {"request id: ", a.requestID}, {"error id: ", a.errorID}, {"trace id: ", a.traceID}} {
		if m[1] != "" {
			f(m[0] + logtext.Clean(m[1], 0))
		}
	}
}

const hex = "0123456789abcdef"

// appendString appends s as a JSON string. Like encoding/json it escapes <, >,
// &, U+2028 and U+2029 and replaces what is not UTF-8, so the result is safe
// inside HTML and JavaScript too.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for _, c := range s { // an invalid byte comes as utf8.RuneError
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', byte(c))
		case c < ' ' || c == '<' || c == '>' || c == '&' || c == 0x7f || c == '\u2028' || c == '\u2029':
			b = append(b, '\\', 'u', hex[c>>12&15], hex[c>>8&15], hex[c>>4&15], hex[c&15])
		default:
			b = utf8.AppendRune(b, c)
		}
	}
	return append(b, '"')
}
