package validate

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"net/http"
	"reflect"
	"strconv"

	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/bodylimit"
)

const itemsType = "application/x-ndjson"

// Items returns an iterator over a body of newline-delimited JSON (application/x-ndjson,
// application/ndjson or application/jsonl), one T on each line, as they come:
//
//	for item, err := range v.Items(w, r) {
//		if err != nil {
//			return err // or keep it, and not too many, for an answer that tells of each item
//		}
//		…
//	}
//
// An item that is refused has the error that [Validator.Decode] would have for it (but that the
// bound of the rule "timezone" is one for all items), whose
// fields' pointers begin with the number of the item, from 0, and the extension "item" with
// that number ([ItemOf]); the next one follows. Empty lines are no items. An error of the server,
// as of a check, names the item, and the next one follows.
//
// What is wrong with all of the body is an error after which nothing follows, without "item":
// another Content-Type, a line longer than Config.MaxBytes, a body longer than
// Config.MaxStreamBytes or with more items than Config.MaxStreamItems, a context that has ended,
// a connection that breaks; what came of a last line then is not taken for an item. A body may be
// empty.
//
// Nothing is recorded of what is refused until an error is written by [httperr.Write]. A T with
// fields bound from elsewhere than JSON is an error of the server. The iterator can be used once.
// A client that is slow is ended by the server's ReadTimeout alone. Answer behind the last item:
// over HTTP/1.1, net/http closes the body once an answer is too long for its buffer, unless
// http.ResponseController.EnableFullDuplex was called.
func (v *Validator[T]) Items(w http.ResponseWriter, r *http.Request) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		v.plan.items(w, r, &v.lim, func(n int, decode func(reflect.Value) error) bool {
			t := new(T)
			err := decode(reflect.ValueOf(t).Elem())
			if err == nil {
				err = v.check(r.Context(), t)
			}
			if err != nil {
				t = new(T)
			}
			return yield(*t, ofItem(n, err))
		})
	}
}

// items calls each with what decodes the item n, or with -1 and the error of all, until it
// says false.
func (p *plan) items(w http.ResponseWriter, r *http.Request, lim *limits, each func(n int, decode func(reflect.Value) error) bool) {
	fail := func(err error) { each(-1, func(reflect.Value) error { return err }) }
	if p.json == nil || len(p.params) > 0 {
		fail(fmt.Errorf("validate: Items: %s has fields that are not bound from JSON", typeName(p.typ)))
		return
	}
	name, ok := coding(r)
	switch {
	case !ok || name != "" && !lim.gzip:
		fail(encoded(lim.gzip))
		return
	case empty(r):
		return
	case !isItems(r.Header["Content-Type"]):
		fail(unsupported(itemsType))
		return
	case r.ContentLength > lim.stream:
		bodylimit.Abandon(w, r)
		fail(tooLarge(lim.stream))
		return
	}
	from, done := open(w, r, lim.stream)
	defer done()
	lines := bufio.NewScanner(from)
	lines.Split(func(data []byte, atEOF bool) (int, []byte, error) {
		if atEOF && lines.Err() != nil && bytes.IndexByte(data, '\n') < 0 {
			return len(data), nil, nil // half a line may be a whole item, but not the one that was sent
		}
		return bufio.ScanLines(data, atEOF)
	})
	lines.Buffer(nil, int(min(lim.bytes, math.MaxInt-2))+2) // the line and its end
	var missed int                                          // one bound for all items, which each moves on by one
	if p.rules.zone {
		r = r.WithContext(context.WithValue(r.Context(), misses{}, &missed))
	}
	for n := 0; lines.Scan(); {
		line := lines.Bytes()
		if len(bytes.TrimLeft(line, " \t\r")) == 0 {
			continue
		}
		switch {
		case int64(len(line)) > lim.bytes:
			bodylimit.Abandon(w, r)
			fail(tooLarge(lim.bytes))
			return
		case n == lim.lines:
			bodylimit.Abandon(w, r)
			fail(tooMany(lim.lines))
			return
		case r.Context().Err() != nil:
			fail(fmt.Errorf("validate: Items: %w", r.Context().Err()))
			return
		}
		missed = max(0, missed-1)
		if !each(n, func(v reflect.Value) error {
			return p.guard(r.Context(), lim, func(d *decoder) error {
				if err := d.document(p.json, line, v); err != nil {
					return err
				}
				return p.check(d, r, v)
			})
		}) {
			return
		}
		n++
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		bodylimit.Abandon(w, r)
		fail(tooLarge(lim.bytes))
	} else if err != nil {
		fail(readError(w, r, err))
	}
}

func isItems(types []string) bool {
	media, ok := mediaType(types)
	return ok && (media == itemsType || media == "application/jsonl" || media == "application/ndjson")
}

// ItemOf returns the number of the item, from 0, that an error of [Validator.Items] refuses. It is
// false of an error of the whole body, after which nothing follows, and of one of the server, which
// is all that has no status of 400 to 499.
func ItemOf(err error) (n int, ok bool) {
	var p *httperr.Problem
	if errors.As(err, &p) && p != nil && p.Status >= 400 && p.Status <= 499 {
		n, ok = p.Extensions["item"].(int)
	}
	return n, ok
}

// ofItem says of a problem which item it is about, if it is about one.
func ofItem(n int, err error) error {
	var p *httperr.Problem
	switch {
	case n < 0 || err == nil:
		return err
	case !errors.As(err, &p) || p == nil:
		return fmt.Errorf("validate: Items: item %d: %w", n, err)
	}
	p = p.WithCause(p.Unwrap()) // a copy: it may be one that a check returns each time
	p.Detail = "Item " + strconv.Itoa(n) + ": " + p.Detail
	if p.Extensions == nil {
		p.Extensions = map[string]any{}
	}
	p.Extensions["item"] = n
	for i := range p.Fields {
		p.Fields[i].Pointer = "/" + strconv.Itoa(n) + p.Fields[i].Pointer
	}
	return p
}
