package validate

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"net/http"
	"reflect"
	"strconv"

	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/bodylimit"
)

const itemsType = "application/x-ndjson"

// Items returns an iterator over a body of newline-delimited JSON (application/x-ndjson or
// application/jsonl), one T on each line, as they come:
//
//	for item, err := range v.Items(w, r) {
//		if err != nil {
//			return err // or keep it for an answer that tells of each item
//		}
//		…
//	}
//
// An item that is refused has the error that [Validator.Decode] would have for it, whose
// fields' pointers begin with the number of the item, from 0, and the extension "item" with
// that number; the next one follows. Empty lines are no items. What is wrong with all of the
// body is an error after which nothing follows: another Content-Type, a line longer than
// Config.MaxBytes, a body longer than Config.MaxStreamBytes, a connection that breaks; what
// came of a last line then is not taken for an item. A body may be empty.
//
// A T with fields bound from elsewhere than JSON is an error of the server. The iterator can
// be used once. A client that is slow is ended by the server's ReadTimeout alone.
func (v *Validator[T]) Items(w http.ResponseWriter, r *http.Request) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		v.plan.items(w, r, &v.lim, func(decode func(reflect.Value) error) bool {
			t := new(T)
			if err := decode(reflect.ValueOf(t).Elem()); err != nil {
				t = new(T)
				return yield(*t, err)
			}
			return yield(*t, nil)
		})
	}
}

// items calls each with what decodes an item, or is the error of all, until it says false.
func (p *plan) items(w http.ResponseWriter, r *http.Request, lim *limits, each func(decode func(reflect.Value) error) bool) {
	fail := func(err error) { each(func(reflect.Value) error { return err }) }
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
	from := io.Reader(bodylimit.Limit(w, r, lim.stream))
	if name != "" {
		u := newUnzipper(from, lim.stream)
		defer u.release()
		from = u
	}
	lines := bufio.NewScanner(from)
	lines.Split(func(data []byte, atEOF bool) (int, []byte, error) {
		if atEOF && lines.Err() != nil && bytes.IndexByte(data, '\n') < 0 {
			return len(data), nil, nil // half a line may be a whole item, but not the one that was sent
		}
		return bufio.ScanLines(data, atEOF)
	})
	lines.Buffer(nil, int(min(lim.bytes, math.MaxInt-2))+2) // the line and its end
	for n := 0; lines.Scan(); {
		line := lines.Bytes()
		if len(bytes.TrimLeft(line, " \t\r")) == 0 {
			continue
		}
		if int64(len(line)) > lim.bytes {
			bodylimit.Abandon(w, r)
			fail(tooLarge(lim.bytes))
			return
		}
		if !each(func(v reflect.Value) error { return p.item(r, lim, line, n, v) }) {
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

// item decodes the item on a line into v and checks its rules.
func (p *plan) item(r *http.Request, lim *limits, line []byte, n int, v reflect.Value) error {
	err := p.guard(lim, func(d *decoder) error {
		if err := d.document(p.json, line, v); err != nil {
			return err
		}
		return p.check(d, r, v)
	})
	var refused *httperr.Problem
	if !errors.As(err, &refused) {
		return err
	}
	// The problem is ours, and new.
	refused.Detail = "Item " + strconv.Itoa(n) + ": " + refused.Detail
	refused.Extensions = map[string]any{"item": n}
	for i := range refused.Fields {
		refused.Fields[i].Pointer = "/" + strconv.Itoa(n) + refused.Fields[i].Pointer
	}
	return refused
}
