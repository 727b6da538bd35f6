package validate

import (
	"bytes"
	"context"
	"encoding"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"time"

	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/strictbase64"
	"github.com/sallyport/sallyport/internal/strictjson"
)

// A step is one step of the path to the value that is being decoded.
type step struct {
	pointer string // of a member
	index   int    // of an element, if pointer is empty
}

// A decoder decodes one request. It is reused, so nothing of what it returns
// may alias it.
type decoder struct {
	lim    *limits
	ctx    context.Context // of the request
	path   []step
	hidden int // the length of path below which names are the client's, plus one
	fields []httperr.Field

	made      int64 // how many values were made
	full      bool  // and that there is no room for more
	names     int   // the length of the names of maps' members above
	forbidden bool  // a field may not be sent by the caller

	buf    []byte
	values []values
	kept   *kept // of the caller
}

// json decodes the checked document at c into v.
func (d *decoder) json(c *strictjson.Cursor, n *node, v reflect.Value) {
	k := c.Kind()
	if n.kind == optionalNode {
		v.Field(1).SetBool(true)
		d.json(c, n.elem, v.Field(0))
		return
	}
	if k == strictjson.Null {
		c.Value()
		switch n.kind {
		case pointerNode, anyNode:
			v.SetZero()
		case rawNode:
			d.unmarshal(n, v, []byte("null"))
		default:
			d.wrong(n)
		}
		return
	}
	switch n.kind {
	case pointerNode:
		if !d.room(n.elem.room - 1) { // the pointer was one already
			break
		}
		p := reflect.New(n.typ.Elem())
		d.json(c, n.elem, p.Elem())
		v.Set(p)
		return
	case structNode:
		if k == strictjson.Map {
			d.object(c, n.object, v)
			return
		}
	case sliceNode:
		if k == strictjson.Array {
			d.slice(c, n, v)
			return
		}
	case arrayNode:
		if k == strictjson.Array {
			d.array(c, n, v)
			return
		}
	case mapNode:
		if k == strictjson.Map {
			d.mapping(c, n, v)
			return
		}
	case anyNode:
		if a, ok := decodeAny(c); !ok {
			d.wrong(n)
		} else if a != nil {
			v.Set(reflect.ValueOf(a))
		}
		return
	case rawNode:
		// A copy: what UnmarshalJSON keeps must not be the next request's body.
		d.unmarshal(n, v, bytes.Clone(c.Value().Raw))
		return
	default:
		if !scalar(n, v, c.Value()) {
			d.wrong(n)
		}
		return
	}
	c.Value()
	if !d.full {
		d.wrong(n)
	}
}

// perName is for how many bytes of the names of maps' members a value below them counts once
// more: the rules copy them for each.
const perName = 128

// room reports whether there is room for n more values, after failing if there is none.
func (d *decoder) room(n int64) bool {
	if d.full {
		return false
	}
	d.made += n * int64(1+d.names/perName)
	if d.full = d.made > int64(d.lim.values); d.full {
		d.fail("max_values", "has more values than are taken, with those that are left out")
	}
	return !d.full
}

func (d *decoder) object(c *strictjson.Cursor, o *object, v reflect.Value) {
	o.preset(v)
	next, unknown, variant := 0, false, false
	for more := c.Enter(); more; more = c.More() {
		name := c.Name()
		i := o.find(name, next)
		if i < 0 {
			c.Value()
			unknown = unknown || !d.lim.allowUnknown
			variant = variant || o.resembles(name)
			continue
		}
		next = i + 1
		m := &o.fields[i]
		d.path = append(d.path, step{pointer: m.pointer})
		if d.forbids(m.scope) {
			c.Value()
			d.fail("forbidden", "may not be sent with these credentials")
			d.path = d.path[:len(d.path)-1]
			continue
		}
		f := field(v, m.index)
		if m.preset != nil {
			f.SetZero() // what is sent takes the place of the default, and is not put on top of it
		}
		if m.quoted {
			d.quoted(c, m.node, f)
		} else {
			d.json(c, m.node, f)
		}
		d.path = d.path[:len(d.path)-1]
	}
	// The unknown names themselves are the client's, so they are not repeated.
	if variant {
		d.fail("unknown", "has a member whose name differs from a known one only in case")
	} else if unknown {
		d.fail("unknown", "has a member that is not known here")
	}
}

// forbids reports whether the caller lacks the scope that a field needs, and notes it.
func (d *decoder) forbids(scope string) bool {
	if scope == "" || d.lim.hasScope(d.ctx, scope) {
		return false
	}
	d.forbidden = true
	return true
}

// field returns the field of v, with the embedded pointers on the way made.
func field(v reflect.Value, index []int) reflect.Value {
	for i, x := range index {
		if i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(x)
	}
	return v
}

func (d *decoder) slice(c *strictjson.Cursor, n *node, v reflect.Value) {
	i := 0
	for more := c.Enter(); more; more = c.More() {
		if !d.room(n.elem.room) {
			c.Value()
			continue
		}
		if i == v.Cap() {
			v.Grow(1)
		}
		v.SetLen(i + 1)
		d.element(c, n, v, i)
		i++
	}
	if i == 0 {
		v.Set(reflect.MakeSlice(n.typ, 0, 0)) // [] is not nothing
	}
}

func (d *decoder) array(c *strictjson.Cursor, n *node, v reflect.Value) {
	i := 0
	for more := c.Enter(); more; more = c.More() {
		if i < v.Len() {
			d.element(c, n, v, i)
		} else {
			c.Value()
		}
		i++
	}
	if i != v.Len() {
		d.wrong(n)
	}
}

func (d *decoder) element(c *strictjson.Cursor, n *node, v reflect.Value, i int) {
	d.path = append(d.path, step{index: i})
	d.json(c, n.elem, v.Index(i))
	d.path = d.path[:len(d.path)-1]
}

func (d *decoder) mapping(c *strictjson.Cursor, n *node, v reflect.Value) {
	m := reflect.MakeMap(n.typ)
	hidden := d.hidden
	if hidden == 0 {
		d.hidden = len(d.path) + 1
	}
	for more := c.Enter(); more; more = c.More() {
		name := c.Name().String()
		d.names += len(name)
		if d.room(n.elem.room) {
			key := reflect.New(n.typ.Key()).Elem()
			key.SetString(name)
			elem := reflect.New(n.typ.Elem()).Elem()
			d.json(c, n.elem, elem)
			m.SetMapIndex(key, elem)
		} else {
			c.Value()
		}
		d.names -= len(name)
	}
	d.hidden = hidden
	v.Set(m)
}

// scalar sets v from a value that holds no other.
func scalar(n *node, v reflect.Value, j strictjson.Value) bool {
	switch n.kind {
	case boolNode:
		if j.Kind != strictjson.Bool {
			return false
		}
		v.SetBool(j.Raw[0] == 't')
	case intNode:
		if j.Kind != strictjson.Number {
			return false
		}
		i, err := strconv.ParseInt(string(j.Raw), 10, n.typ.Bits())
		if err != nil {
			return false
		}
		v.SetInt(i)
	case uintNode:
		if j.Kind != strictjson.Number {
			return false
		}
		u, err := strconv.ParseUint(string(j.Raw), 10, n.typ.Bits())
		if err != nil {
			return false
		}
		v.SetUint(u)
	case floatNode:
		if j.Kind != strictjson.Number {
			return false
		}
		f, err := strconv.ParseFloat(string(j.Raw), n.typ.Bits())
		if err != nil {
			return false
		}
		v.SetFloat(f)
	case numberNode:
		if j.Kind != strictjson.Number {
			return false
		}
		v.SetString(string(j.Raw))
	case timeNode:
		t := v.Addr().Interface().(*time.Time)
		return j.Kind == strictjson.String && t.UnmarshalJSON(j.Raw) == nil && zeroed(t)
	default:
		s, err := j.Text()
		return err == nil && text(n, v, s)
	}
	return true
}

// zeroed makes a t that IsZero the zero Time, which rules know it by, whatever its offset.
func zeroed(t *time.Time) bool {
	if t.IsZero() {
		*t = time.Time{}
	}
	return true
}

// text sets v from a string.
func text(n *node, v reflect.Value, s string) bool {
	switch n.kind {
	case stringNode:
		v.SetString(s)
		return true
	case timeNode:
		t := v.Addr().Interface().(*time.Time)
		return t.UnmarshalText([]byte(s)) == nil && zeroed(t)
	case textNode:
		return v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(s)) == nil
	case bytesNode:
		b, err := strictbase64.Decode(base64.StdEncoding, s)
		if err != nil {
			return false
		}
		v.SetBytes(b)
		return true
	}
	return false
}

// unmarshal hands raw to the value's own UnmarshalJSON. Its error may quote
// what was sent, so it goes nowhere.
func (d *decoder) unmarshal(n *node, v reflect.Value, raw []byte) {
	if v.Addr().Interface().(json.Unmarshaler).UnmarshalJSON(raw) != nil {
		d.wrong(n)
	}
}

// quoted decodes a string that holds another scalar, as the option "string" of
// a json tag says.
func (d *decoder) quoted(c *strictjson.Cursor, n *node, v reflect.Value) {
	j := c.Value()
	if n.kind == pointerNode {
		if j.Kind == strictjson.Null {
			v.SetZero()
			return
		}
		p := reflect.New(n.typ.Elem())
		v.Set(p)
		n, v = n.elem, p.Elem()
	}
	if inner, ok := unquote(j); !ok || !scalar(n, v, inner) {
		d.fail("type", "must be a string that holds a value which "+n.want)
	}
}

// unquote returns the value that a string holds.
func unquote(j strictjson.Value) (inner strictjson.Value, ok bool) {
	s, err := j.Text()
	if err != nil {
		return inner, false
	}
	return bare(s)
}

// bare returns the JSON value that s is. White space isn't part of a value.
func bare(s string) (j strictjson.Value, ok bool) {
	c, err := strictjson.Read([]byte(s), strictjson.Limits{Depth: 1})
	if err != nil {
		return j, false
	}
	j = c.Value()
	return j, len(j.Raw) == len(s)
}

// decodeAny decodes as encoding/json does into an empty interface. It is false
// for a number beyond the range of a double.
func decodeAny(c *strictjson.Cursor) (a any, ok bool) {
	switch c.Kind() {
	case strictjson.Map:
		m := make(map[string]any)
		all := true
		for more := c.Enter(); more; more = c.More() {
			name := c.Name().String()
			m[name], ok = decodeAny(c)
			all = all && ok
		}
		return m, all
	case strictjson.Array:
		s := []any{}
		all := true
		for more := c.Enter(); more; more = c.More() {
			elem, ok := decodeAny(c)
			s = append(s, elem)
			all = all && ok
		}
		return s, all
	}
	j := c.Value()
	switch j.Kind {
	case strictjson.String:
		s, err := j.Text()
		return s, err == nil
	case strictjson.Number:
		f, ok := j.Float64()
		return f, ok
	case strictjson.Bool:
		return j.Raw[0] == 't', true
	}
	return nil, true
}

// wrong says that the value at the path is not what n wants.
func (d *decoder) wrong(n *node) {
	for n.kind == pointerNode {
		n = n.elem
	}
	d.fail("type", n.want)
}

func (d *decoder) fail(code, detail string) {
	d.failAt(body, d.pointer(), code, detail)
}

func (d *decoder) failAt(location, pointer, code, detail string) {
	if len(d.fields) < d.lim.errors {
		d.fields = append(d.fields, httperr.Field{Pointer: pointer, Location: location, Code: code, Detail: detail})
	}
}

// pointer returns the JSON Pointer of the path, as far as its names are known.
func (d *decoder) pointer() string {
	known := d.path
	if d.hidden > 0 {
		known = known[:d.hidden-1]
	}
	var b strings.Builder
	for _, s := range known {
		if s.pointer != "" {
			b.WriteString(s.pointer)
		} else {
			b.WriteByte('/')
			b.WriteString(strconv.Itoa(s.index))
		}
	}
	return b.String()
}
