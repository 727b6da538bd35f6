package validate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-playground/validator/v10"
)

// Schema returns the JSON Schema (2020-12) of the body that a T is decoded from, with the
// zero Config unless one is given: the names, types, defaults and rules of T's tags. Its
// errors are those of [New]; a T without a body is one too.
//
// What the schema accepts is what a [Validator] accepts, but for what a schema can't say:
// duplicate names, and with Config.AllowUnknown those that differ from a known one in case alone,
// limits, numbers beyond 64 bits or a float32, that 1.0 is no integer here, who may send what
// (scope tags), and the rules that stand under "x-rules", as [Rule] has them; among them are all that compare
// fields. Formats ("email", "date-time") and base64 are annotations. A member is required
// where its rules refuse it if it is left out.
func Schema[T any](cfg ...Config) (json.RawMessage, error) {
	c, err := only(cfg)
	if err != nil {
		return nil, err
	}
	v, err := New[T](c)
	if err != nil {
		return nil, err
	}
	return v.Schema()
}

// Schema is [Schema] of v's T, rules of Config.Setup included.
func (v *Validator[T]) Schema() (json.RawMessage, error) {
	n := v.plan.json
	if n == nil {
		return nil, fmt.Errorf("validate: Schema: %s has no JSON body", typeName(v.plan.typ))
	}
	s := &schemer{rules: v.plan.rules, names: map[definition]string{}, defs: map[string]any{}, open: v.lim.allowUnknown}
	var m schema
	if n.kind == structNode {
		s.names[definition{n.object, false}] = "#"
		m = s.object(n)
	} else {
		m = s.node(n, nil, "", false)
	}
	m["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	if len(s.defs) > 0 {
		m["$defs"] = s.defs
	}
	return json.Marshal(m)
}

type schema map[string]any

type schemer struct {
	rules *rules
	names map[definition]string // what refers to an object
	defs  map[string]any
	open  bool // unknown members are skipped
	bare  bool // the rules of structs don't hold
}

// A definition is that of an object, with its rules or bare.
type definition struct {
	object *object
	bare   bool
}

// node returns the schema of a value with the rules of a tag.
func (s *schemer) node(n *node, parent reflect.Type, tag string, quoted bool) schema {
	unruled := tag == "-"
	if unruled {
		tag = ""
	}
	own, each := divide(tag)
	first := ""
	if len(own) > 0 && (own[0] == "omitempty" || own[0] == "omitnil" || own[0] == "omitzero") {
		first, own = own[0], own[1:]
	}
	// Rules are tried on nothing, and broken by it, unless they say otherwise.
	nothing := first != "" || tag == "" || len(own) > 0 && own[0] == "isdefault"
	null, zero := false, first == "omitempty"
	for n.kind == pointerNode || n.kind == optionalNode {
		null, zero = n.kind == pointerNode && nothing, false
		if n = n.elem; n.kind != pointerNode && n.kind != optionalNode && n.kind != anyNode {
			own = slices.DeleteFunc(own, func(rule string) bool { return rule == "required" }) // it says that something is sent
		}
	}
	zero = zero || first == "omitzero" // what is pointed to, too
	open, closed := unclosed(own)
	if n.kind != anyNode {
		own = open
	}
	defer func(bare bool) { s.bare = bare }(s.bare)
	s.bare = s.bare || closed || unruled
	m := s.plain(n, parent, tag, each, quoted)
	for _, rule := range own {
		if quoted || !m.rule(n, rule) {
			rules, _ := m["x-rules"].([]string)
			m["x-rules"] = append(rules, onWire(parent, rule))
		}
	}
	if zero && (len(own) > 0 || n.kind == structNode && !s.bare) {
		if z := zeroSchema(n, first); z != nil {
			m = schema{"anyOf": []any{z, m}}
		}
	}
	if null && n.kind != anyNode {
		m = schema{"anyOf": []any{schema{"type": "null"}, m}}
	}
	return m
}

// unclosed returns the rules but those that say that the ones inside a struct don't hold.
func unclosed(rules []string) (open []string, closed bool) {
	for _, rule := range rules {
		if rule == "structonly" || rule == "nostructlevel" {
			closed = true
		} else {
			open = append(open, rule)
		}
	}
	return open, closed
}

// zeroSchema returns the schema of what can't be told from nothing by a rule, or nil.
func zeroSchema(n *node, rule string) schema {
	switch n.kind {
	case boolNode, intNode, uintNode, floatNode, stringNode, numberNode:
		return schema{"const": reflect.Zero(n.typ).Interface()}
	case timeNode:
		return schema{"const": "0001-01-01T00:00:00Z"}
	case sliceNode:
		if rule == "omitzero" {
			return schema{"type": "array", "maxItems": 0}
		}
	case mapNode:
		if rule == "omitzero" {
			return schema{"type": "object", "maxProperties": 0}
		}
	case structNode:
		properties, required := schema{}, []string{}
		for _, f := range n.object.fields {
			switch f.node.kind {
			case pointerNode:
				properties[f.name] = schema{"type": "null"}
			case sliceNode, mapNode, optionalNode: // as soon as they are sent, they are something
			default:
				if z := zeroSchema(f.node, ""); z != nil && !f.quoted {
					properties[f.name] = z
				}
			}
			if f.preset != nil {
				required = append(required, f.name)
			}
		}
		m := schema{"type": "object", "properties": properties, "additionalProperties": false}
		if len(required) > 0 {
			m["required"] = required
		}
		return m
	}
	return nil
}

// plain returns the schema of a value's type; each are the rules of what is in it.
func (s *schemer) plain(n *node, parent reflect.Type, tag, each string, quoted bool) schema {
	if quoted {
		return schema{"type": "string", "pattern": quotedPatterns[n.kind]}
	}
	switch n.kind {
	case boolNode:
		return schema{"type": "boolean"}
	case intNode, uintNode:
		return integer(n.typ)
	case floatNode, numberNode:
		return schema{"type": "number"}
	case stringNode, textNode:
		return schema{"type": "string"}
	case timeNode:
		return schema{"type": "string", "format": "date-time"}
	case bytesNode:
		m := schema{"type": "string", "contentEncoding": "base64"}
		if each != "" {
			m["x-rules"] = []string{"dive," + each}
		}
		return m
	case rawNode:
		if each != "" {
			return schema{"x-rules": []string{"dive," + each}}
		}
	case sliceNode:
		return schema{"type": "array", "items": s.node(n.elem, parent, each, false)}
	case arrayNode:
		return schema{"type": "array", "items": s.node(n.elem, parent, each, false), "minItems": n.typ.Len(), "maxItems": n.typ.Len()}
	case mapNode:
		m := schema{"type": "object", "additionalProperties": s.node(n.elem, parent, each, false)}
		if keys := keyRules(tag); keys != "" {
			m["propertyNames"] = s.node(&node{kind: stringNode, typ: n.typ.Key()}, parent, keys, false)
		}
		return m
	case structNode:
		return s.refer(n)
	}
	return schema{}
}

func integer(t reflect.Type) schema {
	m := schema{"type": "integer"}
	bits := t.Bits()
	switch t.Kind() {
	case reflect.Int8, reflect.Int16, reflect.Int32:
		m["minimum"], m["maximum"] = float64(int64(-1)<<(bits-1)), float64(int64(1)<<(bits-1)-1)
	case reflect.Int, reflect.Int64:
		m["format"] = "int64"
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		m["minimum"], m["maximum"] = 0.0, float64(int64(1)<<bits-1)
	default:
		m["minimum"] = 0.0
	}
	return m
}

// refer returns a reference to the schema of a struct, or the schema if nothing refers to it
// but this.
func (s *schemer) refer(n *node) schema {
	if n.typ.Name() == "" {
		return s.object(n) // without a name it can't be inside itself
	}
	id := definition{n.object, s.bare}
	ref, ok := s.names[id]
	if !ok {
		base := unsafeInName.ReplaceAllString(n.typ.Name(), "_")
		name := base
		for i := 2; s.defs[name] != nil; i++ {
			name = base + "_" + strconv.Itoa(i)
		}
		ref = "#/$defs/" + name
		s.names[id], s.defs[name] = ref, schema{} // taken
		s.defs[name] = s.object(n)
	}
	return schema{"$ref": ref}
}

var unsafeInName = regexp.MustCompile(`[^A-Za-z0-9_.-]+`)

func (s *schemer) object(n *node) schema {
	properties := schema{}
	for _, f := range n.object.fields {
		rules := f.rules
		if s.bare {
			rules = ""
		}
		p := s.node(f.node, f.parent, rules, f.quoted)
		if f.preset != nil {
			v := reflect.New(f.preset.typ()).Elem()
			f.preset.set(v)
			p["default"] = v.Interface()
			if f.quoted {
				p["default"] = f.preset.text
			}
		}
		properties[f.name] = p
	}
	m := schema{"type": "object", "properties": properties}
	if !s.open {
		m["additionalProperties"] = false
	}
	if required := s.required(n); len(required) > 0 {
		m["required"] = required
	}
	return m
}

// required returns the members whose absence breaks a rule.
func (s *schemer) required(n *node) (names []string) {
	if !isStruct(n.typ) || s.bare {
		return nil
	}
	v := reflect.New(n.typ)
	n.object.preset(v.Elem())
	var broken validator.ValidationErrors
	if !errors.As(s.rules.v.StructCtx(context.Background(), v.Interface()), &broken) {
		return nil
	}
	for _, f := range n.object.fields {
		path := ""
		for i := range f.index {
			path += "." + n.typ.FieldByIndex(f.index[:i+1]).Name
		}
		if slices.ContainsFunc(broken, func(b validator.FieldError) bool {
			at := "." + strings.TrimPrefix(b.StructNamespace(), n.typ.Name()+".") // of a struct without a name, nothing
			_, others := crossed(n.typ, ruleName(b.Tag()), nil)
			return len(others) == 0 && (at == path || strings.HasPrefix(at, path+".") || strings.HasPrefix(at, path+"["))
		}) {
			names = append(names, f.name)
		}
	}
	return names
}

// rule adds a rule, or reports false if a schema can't say it.
func (m schema) rule(n *node, rule string) bool {
	if strings.Contains(rule, "|") {
		return false
	}
	name, param, _ := strings.Cut(strings.NewReplacer("0x2C", ",", "0x7C", "|").Replace(rule), "=")
	switch n.kind {
	case stringNode:
		return m.size("Length", name, param) || m.text(name, param)
	case intNode, uintNode, floatNode:
		return m.number(n, name, param)
	case sliceNode:
		if name == "required" { // what is sent is there
			return true
		}
		return m.size("Items", name, param)
	case mapNode:
		if name == "required" {
			return true
		}
		return m.size("Properties", name, param)
	case boolNode:
		if name == "required" {
			m["const"] = true
			return true
		}
	}
	return false
}

// size adds a rule about how long or how many.
func (m schema) size(of, name, param string) bool {
	n, err := strconv.Atoi(param)
	if err != nil || n < 0 || n == 0 && name == "lt" {
		return false
	}
	switch name {
	case "len":
		m.least("min"+of, n)
		m.most("max"+of, n)
	case "min", "gte":
		m.least("min"+of, n)
	case "gt":
		m.least("min"+of, n+1)
	case "max", "lte":
		m.most("max"+of, n)
	case "lt":
		m.most("max"+of, n-1)
	default:
		return false
	}
	return true
}

func (m schema) least(key string, n int) {
	if have, ok := m[key].(int); !ok || have < n {
		m[key] = n
	}
}

func (m schema) most(key string, n int) {
	if have, ok := m[key].(int); !ok || have > n {
		m[key] = n
	}
}

func (m schema) number(n *node, name, param string) bool {
	if name == "required" {
		return m.all(schema{"not": schema{"const": 0}})
	}
	one := func(s string) (json.Number, bool) {
		if n.typ == durationType {
			d, err := time.ParseDuration(s)
			if err == nil {
				s = strconv.FormatInt(int64(d), 10)
			}
		}
		if n.kind == intNode || n.kind == uintNode { // "010" is 8 there
			if i, err := strconv.ParseInt(s, 0, 64); err == nil {
				s = strconv.FormatInt(i, 10)
			} else if u, err := strconv.ParseUint(s, 0, 64); err == nil {
				s = strconv.FormatUint(u, 10)
			} else {
				return "", false
			}
		}
		_, err := strconv.ParseFloat(s, 64)
		return json.Number(s), err == nil && json.Valid([]byte(s))
	}
	if name == "oneof" {
		var values []any
		for _, s := range words.FindAllString(param, -1) {
			x, ok := one(s)
			if !ok || n.kind != floatNode && x.String() != s { // the validator compares it as text
				return false
			}
			values = append(values, x)
		}
		return m.all(schema{"enum": values})
	}
	key := map[string]string{
		"min": "minimum", "gte": "minimum", "max": "maximum", "lte": "maximum",
		"gt": "exclusiveMinimum", "lt": "exclusiveMaximum", "eq": "const", "len": "const",
	}[name]
	x, ok := one(param)
	switch {
	case !ok:
		return false
	case name == "ne":
		return m.all(schema{"not": schema{"const": x}})
	case key == "":
		return false
	case m[key] != nil: // the type's own bound, or another rule
		return m.all(schema{key: x})
	}
	m[key] = x
	return true
}

// all adds what must hold as well.
func (m schema) all(also schema) bool {
	list, _ := m["allOf"].([]any)
	m["allOf"] = append(list, also)
	return true
}

func (m schema) text(name, param string) bool {
	quoted := regexp.QuoteMeta(param)
	switch name {
	case "required":
		m.least("minLength", 1)
		return true
	case "eq":
		return m.all(schema{"const": param})
	case "ne":
		return m.all(schema{"not": schema{"const": param}})
	case "oneof", "noneof":
		var values []any
		for _, s := range words.FindAllString(param, -1) {
			values = append(values, strings.ReplaceAll(s, "'", "")) // as the validator does
		}
		if name == "noneof" {
			return m.all(schema{"not": schema{"enum": values}})
		}
		return m.all(schema{"enum": values})
	case "contains":
		return m.all(schema{"pattern": quoted})
	case "excludes":
		return m.all(schema{"not": schema{"pattern": quoted}})
	case "startswith":
		return m.all(schema{"pattern": "^" + quoted})
	case "endswith":
		return m.all(schema{"pattern": quoted + "$"})
	}
	if p, ok := patterns[name]; ok {
		return m.all(schema{"pattern": p})
	}
	if f, ok := formats[name]; ok && m["format"] == nil {
		m["format"] = f
		return false // a format is a hint
	}
	return false
}

// quotedPatterns are how values stand in a string.
var quotedPatterns = map[kind]string{
	boolNode:   "^(true|false)$",
	intNode:    "^-?(0|[1-9][0-9]*)$",
	uintNode:   "^(0|[1-9][0-9]*)$",
	floatNode:  `^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`,
	stringNode: `^"(.|\n)*"$`,
}

// patterns are the rules that say which characters there are.
var patterns = map[string]string{
	"alpha":       "^[a-zA-Z]+$",
	"alphanum":    "^[a-zA-Z0-9]+$",
	"number":      "^[0-9]+$",
	"numeric":     `^[-+]?[0-9]+(\.[0-9]+)?$`,
	"hexadecimal": "^(0[xX])?[0-9a-fA-F]+$",
	"ascii":       `^[\x00-\x7f]*$`,
	"printascii":  `^[\x20-\x7e]*$`,
}

// formats are those of the rules that a format of JSON Schema comes near.
var formats = map[string]string{
	"email": "email", "uuid": "uuid", "uuid4": "uuid", "uuid7": "uuid", "url": "uri", "uri": "uri",
	"http_url": "uri", "https_url": "uri", "hostname": "hostname", "hostname_rfc1123": "hostname", "fqdn": "hostname",
	"ipv4": "ipv4", "ipv6": "ipv6",
}
