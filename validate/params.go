package validate

import (
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A param is a field bound from something other than JSON.
type param struct {
	source  string
	name    string // as the tag has it; of a header, canonical
	pointer string
	index   []int
	node    *node
	slice   bool
	ptr     bool
	preset  *preset
	file    *fileRules // of a fileNode
	scope   string     // that callers need to send it

	parent reflect.Type
	rules  string
}

var durationType = reflect.TypeFor[time.Duration]()

func newParam(f boundField) (param, error) {
	p := param{source: f.tag.source, name: f.tag.name, pointer: pointer(f.tag.name), index: f.index, parent: f.parent, rules: f.rules, scope: f.scope}
	if p.source == header {
		p.name = textproto.CanonicalMIMEHeaderKey(p.name)
	}
	t := f.typ
	if t.Kind() == reflect.Slice && !opaque(t) {
		p.slice = true
		t = t.Elem()
		if p.source == path {
			return p, errors.New("is a slice, but a path has each value once")
		}
		if t.Kind() == reflect.Uint8 {
			return p, errors.New("is a []byte, which has no form as a parameter; use a string")
		}
	} else if t.Kind() == reflect.Pointer {
		p.ptr = true
		t = t.Elem()
	}
	n := &node{typ: t}
	switch {
	case t == fileType && p.source == form:
		n.kind = fileNode
		var err error
		if p.file, err = newFileRules(f.files); err != nil {
			return p, err
		}
	case f.files != "":
		return p, errors.New("has a file tag, but is no File of a form")
	case t == timeType:
		n.kind, n.want = timeNode, "must be a date and time as in RFC 3339"
	case t == numberType:
		n.kind, n.want = numberNode, "must be a number"
	case reflect.PointerTo(t).Implements(textUnmarshaler) && t.Kind() != reflect.Pointer:
		n.kind, n.want = textNode, "is not in the expected form"
	default:
		switch t.Kind() {
		case reflect.Bool:
			n.kind, n.want = boolNode, "must be true or false"
		case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
			n.kind, n.want = intNode, wantInteger(t)
			if t == durationType {
				n.want = `must be a duration such as "1m30s"`
			}
		case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
			n.kind, n.want = uintNode, wantInteger(t)
		case reflect.Float32, reflect.Float64:
			n.kind, n.want = floatNode, "must be a number"
		case reflect.String:
			n.kind = stringNode
		default:
			return p, fmt.Errorf("is of the type %s, which can't be bound from the %s", f.typ, p.source)
		}
	}
	p.node = n
	return p, nil
}

// values are what a request has for one param.
type values struct {
	one  string
	n    int
	more []string // all of them, of a slice
}

func (x *values) add(p *param, s string, limit int) {
	x.n++
	if !p.slice {
		x.one = s
	} else if x.n <= limit {
		x.more = append(x.more, s)
	}
}

// params binds the fields that don't come from the body. Its error is the server's.
func (d *decoder) params(p *plan, r *http.Request, v reflect.Value) error {
	if len(p.query) > 0 || d.lim.refuseUnknownQuery {
		d.pairs(p, query, p.query, r.URL.RawQuery, d.lim.refuseUnknownQuery)
	}
	for i := range p.params {
		pa, x := &p.params[i], &d.values[i]
		switch pa.source {
		case form:
			continue
		case path:
			s := r.PathValue(pa.name)
			switch {
			case s != "":
				x.add(pa, s, 1)
			case !pa.ptr && !hasWildcard(r.Pattern, pa.name):
				return fmt.Errorf("validate: %s: a field is bound from the path value %q, which the pattern %q does not have", typeName(p.typ), pa.name, r.Pattern)
			case pa.node.kind != stringNode && !pa.ptr:
				d.reject(pa, "required", "is required")
			}
		case header:
			for _, line := range r.Header[pa.name] {
				d.headerLine(pa, x, line)
			}
		case cookie:
			for _, c := range r.CookiesNamed(pa.name) {
				x.add(pa, c.Value, d.lim.items)
			}
		}
		d.bind(pa, x, v)
	}
	return nil
}

// hasWildcard reports whether a pattern has a wildcard, in the form of http.ServeMux or of other
// routers. It is true of a pattern of a subtree without any: another router may be below.
func hasWildcard(pattern, name string) bool {
	if pattern == "" || name == "*" || strings.HasSuffix(pattern, "/") && !strings.ContainsAny(pattern, "{:") {
		return true
	}
	for _, form := range [...]string{"{" + name + "}", "{" + name + "...}", "{" + name + ":", ":" + name} {
		if strings.Contains(pattern, form) {
			return true
		}
	}
	return false
}

func (d *decoder) headerLine(p *param, x *values, line string) {
	if !p.slice {
		x.add(p, line, 1)
		return
	}
	// A list on two lines and on one are the same (RFC 9110, section 5.3).
	for item := range strings.SplitSeq(line, ",") {
		if item = strings.Trim(item, " \t"); item != "" {
			x.add(p, item, d.lim.items)
		}
	}
}

// form binds the fields of a form.
func (d *decoder) form(w http.ResponseWriter, r *http.Request, p *plan, v reflect.Value) error {
	if parsed(r) { // someone above has read it
		if !d.postForm(p, r, v) {
			return tooLarge(d.lim.bytes)
		}
		return nil
	}
	if err := d.read(w, r, false); err != nil {
		return err
	}
	d.pairs(p, form, p.forms, string(d.buf), true)
	d.bindForm(p, v)
	return nil
}

// postForm binds the fields of a form that is parsed already. It reports false if
// they are more than the body may be.
func (d *decoder) postForm(p *plan, r *http.Request, v reflect.Value) bool {
	unknown, size := false, int64(0)
	for name, list := range r.PostForm {
		i, ok := p.forms[name]
		unknown = unknown || !ok
		for _, s := range list {
			size += int64(len(name) + len(s) + 1)
			if ok {
				d.values[i].add(&p.params[i], s, d.lim.items)
			}
		}
	}
	if unknown {
		d.failAt(form, "", "unknown", "has a field that is not known here")
	}
	d.bindForm(p, v)
	return size <= d.lim.bytes
}

func (d *decoder) bindForm(p *plan, v reflect.Value) {
	for i := range p.params {
		if p.params[i].source == form && p.params[i].file == nil {
			d.bind(&p.params[i], &d.values[i], v)
		}
	}
}

// prepare makes room for the values of each param. It is empty, since release
// left it so.
func (d *decoder) prepare(p *plan) {
	if cap(d.values) < len(p.params) {
		d.values = make([]values, len(p.params))
	}
	d.values = d.values[:len(p.params)]
}

// pairs gathers the values of a query or form (URL Standard, section 5.1).
func (d *decoder) pairs(p *plan, source string, known map[string]int, raw string, refuseUnknown bool) {
	unknown := false
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err == nil {
			value, err = url.QueryUnescape(value)
		}
		// Some servers take ';' for '&': they would read other fields than we do.
		if err != nil || strings.Contains(pair, ";") {
			d.failAt(source, "", "syntax", "is not in the form of name=value pairs with percent escapes")
			return
		}
		i, ok := known[name]
		if !ok {
			unknown = true
			continue
		}
		if source == form {
			value = strings.Clone(value) // not to keep the whole body alive
		}
		d.values[i].add(&p.params[i], value, d.lim.items)
	}
	if unknown && refuseUnknown {
		d.failAt(source, "", "unknown", "has a parameter that is not known here")
	}
}

// bind sets the field of p in v.
func (d *decoder) bind(p *param, x *values, v reflect.Value) {
	switch {
	case x.n == 0:
		if p.preset != nil {
			p.preset.set(field(v, p.index))
		}
		return
	case d.forbids(p.scope):
		d.reject(p, "forbidden", "may not be sent with these credentials")
		return
	case p.slice && x.n > d.lim.items:
		d.reject(p, "max_items", "must not come more than "+strconv.Itoa(d.lim.items)+" times")
		return
	case !p.slice && x.n > 1:
		d.reject(p, "repeated", "must not come more than once")
		return
	case !p.slice && !d.clean(p, x.one):
		return
	}
	for _, s := range x.more {
		if !d.clean(p, s) {
			return
		}
	}
	f := field(v, p.index)
	switch {
	case p.slice:
		s := reflect.MakeSlice(f.Type(), len(x.more), len(x.more))
		for i, one := range x.more {
			if !parameter(p.node, s.Index(i), one) {
				d.reject(p, "type", p.node.want)
				return
			}
		}
		f.Set(s)
		return
	case p.ptr:
		f.Set(reflect.New(p.node.typ))
		f = f.Elem()
	}
	if !parameter(p.node, f, x.one) {
		d.reject(p, "type", p.node.want)
	}
}

// clean reports whether a parameter is text that is not too long, after rejecting it.
func (d *decoder) clean(p *param, s string) bool {
	switch {
	case len(s) > d.lim.text:
		d.reject(p, "max_length", "must not be longer than "+strconv.Itoa(d.lim.text)+" bytes")
	case !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0:
		d.reject(p, "encoding", "must be UTF-8 without NUL")
	default:
		return true
	}
	return false
}

// parameter sets v from a parameter.
func parameter(n *node, v reflect.Value, s string) bool {
	switch n.kind {
	case boolNode:
		switch s {
		case "true", "1":
			v.SetBool(true)
		case "false", "0":
			v.SetBool(false)
		default:
			return false
		}
	case intNode:
		if n.typ == durationType {
			t, err := time.ParseDuration(s)
			v.SetInt(int64(t))
			return err == nil
		}
		i, err := strconv.ParseInt(s, 10, n.typ.Bits())
		if err != nil || s[0] == '+' {
			return false
		}
		v.SetInt(i)
	case uintNode:
		u, err := strconv.ParseUint(s, 10, n.typ.Bits())
		if err != nil {
			return false
		}
		v.SetUint(u)
	case floatNode:
		// Neither Inf, NaN, hexadecimal digits nor underscores.
		if strings.Trim(s, "0123456789+-.eE") != "" || s == "" || s[0] == '+' {
			return false
		}
		f, err := strconv.ParseFloat(s, n.typ.Bits())
		if err != nil {
			return false
		}
		v.SetFloat(f)
	case numberNode: // as JSON has it
		j, ok := bare(s)
		return ok && scalar(n, v, j)
	default:
		return text(n, v, s)
	}
	return true
}

func (d *decoder) reject(p *param, code, detail string) {
	d.failAt(p.source, p.pointer, code, detail)
}
