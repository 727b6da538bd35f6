package validate

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"net/textproto"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-playground/validator/v10"

	"github.com/sallyport/sallyport/internal/grammar"
	"github.com/sallyport/sallyport/internal/strictjson"
)

// A plan is all that can be known of a T before the first request.
type plan struct {
	typ reflect.Type

	json   *node // what the body is decoded into; nil if it isn't JSON
	params []param
	form   bool // some of params come from a form
	files  bool // some of them are files
	query  map[string]int
	forms  map[string]int // by name, index into params

	scoped string // a field with a scope tag

	rules *rules
}

// The places fields are bound from, as answers name them.
const (
	body   = "body"
	query  = "query"
	path   = "path"
	header = "header"
	form   = "form"
	cookie = "cookie"
)

// compile checks typ and its rules. All errors of the fields are joined.
func compile(typ reflect.Type, setup func(*validator.Validate) error, tr Translator) (*plan, error) {
	c := &compiler{nodes: map[reflect.Type]*node{}}
	p := &plan{typ: typ, query: map[string]int{}, forms: map[string]int{}}
	switch {
	case typ.Kind() == reflect.Struct && !opaque(typ):
		p.fields(c)
	default:
		if typ.Kind() == reflect.Struct {
			c.noParams(typ)
		}
		p.json = c.node(typ, typeName(typ))
	}
	if len(c.errs) > 0 {
		return nil, errors.Join(c.errs...)
	}
	p.json.findPresets(map[*object]bool{})
	p.scoped = c.scoped
	var err error
	if p.rules, err = newRules(typ, c.nodes, setup, tr); err != nil {
		return nil, err
	}
	if err := p.rules.presets(c.presets); err != nil {
		return nil, err
	}
	return p, p.rules.translated(tr)
}

// fields makes the plan for a struct.
func (p *plan) fields(c *compiler) {
	name := typeName(p.typ)
	fields := c.flatten(p.typ, name, nil, map[reflect.Type]bool{})
	object := &object{names: map[string]int{}, folded: map[string]bool{}}
	seen := map[string]string{}
	for _, f := range fields {
		id := f.tag.source + " " + f.tag.name
		switch f.tag.source {
		case body:
			object.add(c, f)
			continue
		case header:
			id = f.tag.source + " " + textproto.CanonicalMIMEHeaderKey(f.tag.name)
		}
		if other, ok := seen[id]; ok {
			c.fail(f.where, "is bound from the same %s as %s", id, other)
			continue
		}
		seen[id] = f.where
		pa, err := newParam(f)
		if err == nil && f.preset != nil {
			pa.preset, err = newPreset(pa.node, pa.slice, pa.ptr, *f.preset)
		}
		if err != nil {
			c.fail(f.where, "%v", err)
			continue
		}
		c.preset(pa.preset, f)
		switch pa.source {
		case query:
			p.query[pa.name] = len(p.params)
		case form:
			p.forms[pa.name] = len(p.params)
			p.form, p.files = true, p.files || pa.file != nil
		}
		p.params = append(p.params, pa)
	}
	if len(object.fields) > 0 {
		p.json = &node{kind: structNode, typ: p.typ, object: object, want: "must be an object"}
	}
	if p.json != nil && p.form {
		c.fail(name, "has both json and form fields, but a request has one body")
	}
	if len(fields) == 0 && len(c.errs) == 0 {
		c.fail(name, "has no field that is bound from anything")
	}
}

// A compiler gathers what is wrong.
type compiler struct {
	nodes   map[reflect.Type]*node
	presets []boundPreset
	scoped  string // a field with a scope tag
	errs    []error
}

func (c *compiler) preset(p *preset, f boundField) {
	if p != nil {
		c.presets = append(c.presets, boundPreset{preset: p, where: f.where, parent: f.parent, rules: f.rules})
	}
}

func (c *compiler) fail(where, format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf("validate: %s: %s", where, fmt.Sprintf(format, args...)))
}

// A boundField is a field that is bound from somewhere, found in a struct or in
// one that is embedded in it.
type boundField struct {
	where string // "Order.Items", for errors
	tag   tag
	index []int
	typ   reflect.Type

	parent reflect.Type // the struct that declares it
	rules  string
	preset *string // its default tag
	files  string  // its file tag
	scope  string  // its scope tag
}

// flatten returns t's fields, with those of embedded structs in their place.
func (c *compiler) flatten(t reflect.Type, where string, index []int, inside map[reflect.Type]bool) []boundField {
	if inside[t] {
		c.fail(where, "embeds itself")
		return nil
	}
	inside[t] = true
	defer delete(inside, t)
	var fields []boundField
	for i := range t.NumField() {
		f := t.Field(i)
		at := where + "." + f.Name
		tag, err := parseTag(f)
		if err = errors.Join(wellFormed(f.Tag), err); err != nil {
			c.fail(at, "%v", err)
			continue
		}
		here := append(slices.Clip(index), i)
		if s, ok := embedded(f); ok && tag.inline(f) {
			for _, key := range []string{"scope", "default", "file"} {
				if _, ok := f.Tag.Lookup(key); ok {
					c.fail(at, "has a %s tag, but its fields are bound each for itself; tag them", key)
				}
			}
			if f.Type.Kind() == reflect.Pointer && f.IsExported() && hasRules(s) {
				c.fail(at, "is an embedded pointer to a struct with rules, which would not be checked where it is nil; embed the struct itself")
				continue
			}
			if f.Type.Kind() == reflect.Pointer && !f.IsExported() {
				c.fail(at, "is an embedded pointer to an unexported struct, which can't be set")
				continue
			}
			fields = append(fields, c.flatten(s, at, here, inside)...)
			continue
		}
		rules := f.Tag.Get("validate")
		ruled := rules != "" && rules != "-"
		scope, hasScope := f.Tag.Lookup("scope")
		var preset *string
		if text, ok := f.Tag.Lookup("default"); ok {
			preset = &text
		}
		switch {
		case !f.IsExported():
			if tag.source != "" {
				c.fail(at, "is unexported, so it can't be bound")
			}
			if ruled {
				c.fail(at, "is unexported, so its rules are not checked")
			}
		case preset != nil && (tag.source == "" || tag.source == path):
			c.fail(at, "has a default, but is never left out of a request")
		case hasScope && (scope == "" || strings.ContainsAny(scope, ` "\`)):
			c.fail(at, "has a scope tag whose scope %q can't be one", scope)
		case hasScope && tag.source == "":
			c.fail(at, "has a scope tag, but is bound from nothing")
		case tag.source != "":
			if hasScope {
				c.scoped = at
			}
			fields = append(fields, boundField{where: at, tag: tag, index: here, typ: f.Type, parent: t, rules: rules, preset: preset, files: f.Tag.Get("file"), scope: scope})
		case tag.present: // "-"
			if ruled || rules != "-" && hasRules(f.Type) {
				c.fail(at, `has rules but is bound from nothing; tag it validate:"-"`)
			}
		default:
			c.fail(at, `is exported but has no json, query, path, header, form or cookie tag; tag it json:"-" to leave it alone`)
		}
	}
	return fields
}

// noScopes refuses fields that only some callers may send in what decodes itself.
func (c *compiler) noScopes(t reflect.Type, where string) {
	c.noScopesBelow(t, t, where, map[reflect.Type]bool{})
}

func (c *compiler) noScopesBelow(t, inner reflect.Type, where string, seen map[reflect.Type]bool) {
	if inner, _ = innermost(inner); inner.Kind() != reflect.Struct || seen[inner] {
		return
	}
	seen[inner] = true
	for i := range inner.NumField() {
		f := inner.Field(i)
		if _, ok := f.Tag.Lookup("scope"); ok {
			c.fail(where, "has the field %s with a scope tag, which has no effect, since %s has an UnmarshalJSON or UnmarshalText of its own", f.Name, typeName(t))
		}
		c.noScopesBelow(t, f.Type, where, seen)
	}
}

// noParams refuses parameters in a struct that decodes itself.
func (c *compiler) noParams(t reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag, err := parseTag(f)
		if f.Anonymous && (!tag.present || tag.unnamed) && f.Type.Kind() == reflect.Struct {
			c.noParams(f.Type)
		}
		if err != nil || tag.source != "" && tag.source != body {
			c.fail(typeName(t)+"."+f.Name, "is never bound, since %s has an UnmarshalJSON or UnmarshalText of its own", typeName(t))
		}
	}
}

// embedded returns the struct whose fields f promotes.
func embedded(f reflect.StructField) (reflect.Type, bool) {
	t := f.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t, t.Kind() == reflect.Struct && !opaque(t)
}

// A tag says where a field is bound from.
type tag struct {
	present bool   // there is a tag of a source, "-" included
	source  string // empty: the field is left alone
	name    string
	quoted  bool // json:",string"
	unnamed bool // a json tag with nothing but options
}

// A source is a tag's key, and the place that fields with it are bound from.
type source struct{ key, source string }

var sources = [...]source{
	{"json", body},
	{"query", query},
	{"path", path},
	{"header", header},
	{"form", form},
	{"cookie", cookie},
}

func parseTag(f reflect.StructField) (tag, error) {
	var t tag
	key := ""
	for _, s := range sources {
		value, ok := f.Tag.Lookup(s.key)
		if !ok {
			continue
		}
		t.present = true
		if value == "-" {
			continue
		}
		if t.source != "" {
			return tag{}, fmt.Errorf("is bound from both %s and %s", key, s.key)
		}
		key = s.key
		var options string
		t.source = s.source
		t.name, options, _ = strings.Cut(value, ",")
		if s.source == body {
			if t.unnamed = t.name == ""; t.unnamed {
				t.name = f.Name // as in encoding/json
			}
			t.quoted = slices.Contains(strings.Split(options, ","), "string")
		} else if options != "" {
			return tag{}, fmt.Errorf("has a %s tag with the option %q, which means nothing here", s.key, options)
		}
		if !validName(s.source, t.name) {
			return tag{}, fmt.Errorf("has a %s tag whose name %q can't be used", s.key, t.name)
		}
	}
	return t, nil
}

// inline reports whether the fields of f are those of the struct it is in, if it has some, as in
// encoding/json.
func (t tag) inline(f reflect.StructField) bool {
	_, ok := embedded(f)
	return ok && f.Anonymous && (!t.present || t.unnamed)
}

// pair is one of a tag, in the form that package reflect documents.
var pair = regexp.MustCompile(`^ *([^\x00-\x20":\x7f]+):("(?:[^"\\]|\\.)*")`)

// wellFormed returns an error if package reflect does not see all of a tag: what it does not
// see, such as a rule, would not hold.
func wellFormed(tag reflect.StructTag) error {
	seen := map[string]bool{}
	rest := strings.TrimRight(string(tag), " ")
	for rest != "" {
		m := pair.FindStringSubmatch(rest)
		if m == nil {
			return fmt.Errorf("has the tag `%s`, which is in the form of key:\"value\" pairs with blanks between no further than to %q", tag, rest)
		}
		key := m[1]
		ours := key == "validate" || key == "default" || key == "scope" || key == "file" ||
			slices.ContainsFunc(sources[:], func(s source) bool { return s.key == key })
		if _, err := strconv.Unquote(m[2]); err != nil || seen[key] && ours {
			return fmt.Errorf("has the tag `%s`, in which %s has a value that can't be read, or two", tag, key)
		}
		seen[key] = true
		rest = rest[len(m[0]):]
		if rest != "" && rest[0] != ' ' {
			return fmt.Errorf("has the tag `%s`, in which a blank is missing before %q", tag, rest)
		}
	}
	return nil
}

// validName reports whether name can come from source.
func validName(source, name string) bool {
	if name == "" || !utf8.ValidString(name) {
		return false
	}
	switch source {
	case body: // encoding/json takes no others, so a client in Go could not send them
		return !strings.ContainsFunc(name, func(c rune) bool {
			return !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", c) && !unicode.IsLetter(c) && !unicode.IsDigit(c)
		})
	case header:
		switch textproto.CanonicalMIMEHeaderKey(name) {
		case "Host", "Trailer", "Transfer-Encoding": // net/http keeps these elsewhere
			return false
		}
		return grammar.IsToken(name)
	case cookie:
		return grammar.IsToken(name)
	}
	return !strings.ContainsFunc(name, unicode.IsControl)
}

var (
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// opaque reports whether values of type t decode themselves.
func opaque(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(jsonUnmarshaler) || p.Implements(textUnmarshaler)
}

// typeName is how errors of construction name t.
func typeName(t reflect.Type) string {
	switch {
	case t.Name() != "":
		return t.Name()
	case t.Kind() == reflect.Struct:
		return "struct"
	}
	return t.String()
}

func pointer(name string) string { return "/" + strictjson.EscapePointer(name) }
