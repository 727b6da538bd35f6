package validate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"

	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/bodylimit"
	"github.com/sallyport/sallyport/internal/strictjson"
)

const (
	jsonType = "application/json"
	formType = "application/x-www-form-urlencoded"
)

// decoders are reused with their buffers.
var decoders = sync.Pool{New: func() any { return new(decoder) }}

// firstBuffer is the size of the buffer that a declared length can claim, maxPart that of
// the largest part that a body is read in, and maxKept that of the largest buffer which is
// kept for another request.
const firstBuffer, maxPart, maxKept = 16 << 10, 128 << 10, 64 << 10

// release gives d back, emptied of all that came from the request.
func (d *decoder) release() {
	clear(d.buf)
	if cap(d.buf) > maxKept {
		d.buf = nil
	}
	clear(d.values)
	*d = decoder{buf: d.buf[:0], path: d.path[:0], values: d.values[:0]}
	decoders.Put(d)
}

// guard lends f a decoder. A panic of a rule or of an UnmarshalJSON in f is the server's fault,
// and must not be the end of a server that has no Recover above.
func (p *plan) guard(ctx context.Context, lim *limits, f func(d *decoder) error) (err error) {
	d := decoders.Get().(*decoder)
	d.lim, d.ctx = lim, ctx
	defer func() {
		if cause := recover(); cause != nil {
			if cause == http.ErrAbortHandler { // from the body, which is another door's
				panic(cause)
			}
			err = fmt.Errorf("validate: decoding %s panicked: %v", typeName(p.typ), cause)
			return // d may be in any state
		}
		d.release()
	}()
	return f(d)
}

// decode fills v, the T itself, from r, and checks its rules. What it keeps is the caller's to
// close.
func (p *plan) decode(w http.ResponseWriter, r *http.Request, lim *limits, v reflect.Value, files *kept) error {
	return p.guard(r.Context(), lim, func(d *decoder) error {
		d.kept = files
		if p.json != nil || p.form {
			if err := p.acceptable(w, r, lim); err != nil {
				return err
			}
		}
		if len(p.params) > 0 || lim.refuseUnknownQuery {
			d.prepare(p)
			if err := d.params(p, r, v); err != nil {
				return err
			}
		}
		var err error
		switch {
		case p.json != nil:
			if err = d.read(w, r, true); err == nil {
				err = d.document(p.json, d.buf, v)
			}
		case p.files:
			err = d.files(w, r, p, v)
		case p.form:
			err = d.form(w, r, p, v)
		}
		if err != nil {
			return err
		}
		return p.check(d, r, v)
	})
}

// check returns what is wrong with v, which d has decoded from r or a part of it.
func (p *plan) check(d *decoder, r *http.Request, v reflect.Value) error {
	switch {
	case d.forbidden:
		return forbidden(d.fields)
	case len(d.fields) > 0:
		return invalid(d.fields)
	}
	return p.rules.check(r, v, d.lim.errors)
}

// document decodes a whole JSON document.
func (d *decoder) document(n *node, data []byte, v reflect.Value) error {
	c, err := strictjson.Read(data, strictjson.Limits{
		Depth: d.lim.depth, Members: d.lim.items, Items: d.lim.items, Values: d.lim.values,
		Strings: d.lim.text, Bytes: len(data) + 1, FoldNames: true,
	})
	if err != nil {
		var e *strictjson.Error
		errors.As(err, &e)
		return malformed(e)
	}
	// Null is nothing but where anything is taken: a handler that asks for a *T should not
	// get nil.
	if n.kind == pointerNode && c.Kind() == strictjson.Null {
		d.wrong(n)
		return nil
	}
	d.json(&c, n, v)
	return nil
}

// acceptable refuses by the header alone what need not be read.
func (p *plan) acceptable(w http.ResponseWriter, r *http.Request, lim *limits) error {
	if name, ok := coding(r); !ok || name != "" && !lim.gzip {
		return encoded(lim.gzip)
	}
	types := r.Header["Content-Type"]
	if len(types) == 0 && empty(r) {
		return bodyRequired()
	}
	if p.files {
		if _, ok := boundary(types); !ok {
			return unsupported(multipartType)
		}
	} else if p.form {
		if !isForm(types) {
			return unsupported(formType)
		}
	} else if !isJSON(types) {
		return unsupported(jsonType)
	}
	if r.ContentLength > lim.bytes {
		bodylimit.Abandon(w, r)
		return tooLarge(lim.bytes)
	}
	return nil
}

// parsed reports whether r.PostForm is the body. For other methods than these,
// ParseForm leaves the body unread and PostForm empty.
func parsed(r *http.Request) bool {
	return r.PostForm != nil && (r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch)
}

func empty(r *http.Request) bool {
	return r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 && len(r.TransferEncoding) == 0
}

func isJSON(types []string) bool {
	if len(types) == 1 && (types[0] == jsonType || types[0] == jsonType+"; charset=utf-8") {
		return true
	}
	media, ok := mediaType(types)
	return ok && (media == jsonType || strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json"))
}

func isForm(types []string) bool {
	media, ok := mediaType(types)
	return ok && media == formType
}

// mediaType returns the one media type there is, if its charset is UTF-8.
func mediaType(types []string) (string, bool) {
	if len(types) != 1 {
		return "", false
	}
	media, params, err := mime.ParseMediaType(types[0])
	if err != nil {
		return "", false
	}
	charset, ok := params["charset"]
	return media, !ok || strings.EqualFold(charset, "utf-8")
}

// read reads the body into d.buf, JSON no further than its depth allows.
func (d *decoder) read(w http.ResponseWriter, r *http.Request, json bool) error {
	if r.Body == nil {
		return nil
	}
	// The declared length is a claim: memory follows what really came, as much again each
	// time up to a part, and the reader, not the claim, is the bound. The parts are put
	// together once the body is known not to be too large.
	most := min(d.lim.bytes, math.MaxInt64-1) + 1
	from, done := open(w, r, d.lim.bytes)
	defer done()
	if name, _ := coding(r); name == "" && r.ContentLength >= 0 {
		most = r.ContentLength + 1 // one more than is needed, to see the end
	}
	if size := min(most, firstBuffer); int64(cap(d.buf)) < size {
		d.buf = make([]byte, 0, size)
	}
	var full [][]byte // the parts before b
	nested, total := nesting{most: d.lim.depth}, 0
	b := d.buf[:0]
	for {
		n, err := from.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if full == nil {
			d.buf = b // which release clears
		}
		switch {
		case err == io.EOF && full == nil:
			return nil
		case err != nil && err != io.EOF:
			return readError(w, r, err)
		case err == nil && len(b) < cap(b):
			continue
		}
		if json {
			if at := nested.exceeded(b); at >= 0 {
				if err == nil { // there is more
					bodylimit.Abandon(w, r)
				}
				return malformed(&strictjson.Error{Offset: total + at, Reason: strictjson.Depth})
			}
		}
		full, total = append(full, b), total+len(b)
		if err == io.EOF {
			d.buf = slices.Concat(full...)
			return nil
		}
		next := min(int64(total), maxPart, most-int64(total))
		if next <= 0 { // more has come than was declared
			next = firstBuffer
		}
		b = make([]byte, 0, next)
	}
}

// A nesting counts the brackets of JSON that comes in parts.
type nesting struct {
	depth, most     int
	inside, escaped bool // of a string, by a backslash
}

// exceeded reads the next part and returns where it is too deep, or -1.
func (n *nesting) exceeded(b []byte) int {
	for i, c := range b {
		switch {
		case n.escaped:
			n.escaped = false
		case n.inside:
			n.inside, n.escaped = c != '"', c == '\\'
		case c == '"':
			n.inside = true
		case c == '{' || c == '[':
			if n.depth++; n.depth > n.most {
				return i
			}
		case c == '}' || c == ']':
			n.depth--
		}
	}
	return -1
}

// readError tells a body that is too large, by our limit or that of a door
// above, from one that came too slowly, or ended early.
func readError(w http.ResponseWriter, r *http.Request, err error) *httperr.Problem {
	var e *http.MaxBytesError
	if errors.As(err, &e) {
		bodylimit.Abandon(w, r) // a compressed one may have more
		return tooLarge(e.Limit)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return refuse(http.StatusRequestTimeout, "request_timeout", "The request came too slowly.", "the body came too slowly").WithCause(err)
	}
	return unreadable(err)
}
