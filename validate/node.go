package validate

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"time"

	"github.com/sallyport/sallyport/internal/strictjson"
)

type kind uint8

const (
	anyNode      kind = iota + 1 // an empty interface
	boolNode                     //
	intNode                      //
	uintNode                     //
	floatNode                    //
	stringNode                   //
	numberNode                   // json.Number
	bytesNode                    // []byte, as base64
	timeNode                     // time.Time
	rawNode                      // has UnmarshalJSON
	textNode                     // has UnmarshalText
	sliceNode                    //
	arrayNode                    // of exactly typ.Len() elements
	mapNode                      // with string keys
	pointerNode                  //
	structNode                   //
	optionalNode                 // an Optional of elem
	fileNode                     // a File, of forms
)

// A node says how JSON becomes a value of one type.
type node struct {
	kind   kind
	typ    reflect.Type
	elem   *node   // of sliceNode, arrayNode, mapNode, pointerNode, optionalNode
	object *object // of structNode
	want   string  // what is sent, for answers: "must be a string"
	room   int64   // how many values one is, with those that it is made of
}

// An object is the members of a structNode.
type object struct {
	fields []member
	names  map[string]int
	folded map[string]bool

	presets []int // the fields that have a default, or objects with some in them
}

// A member is one known member.
type member struct {
	name    string
	pointer string // "/name", escaped
	index   []int
	node    *node
	quoted  bool
	preset  *preset
	scope   string // that callers need to send it

	parent reflect.Type
	rules  string
}

// find returns the index of the member with exactly that name, or -1. next is
// the one that is likely, as members mostly come in their declared order.
func (o *object) find(name strictjson.Name, next int) int {
	if !name.Escaped {
		if next < len(o.fields) && o.fields[next].name == string(name.Raw) {
			return next
		}
		if i, ok := o.names[string(name.Raw)]; ok {
			return i
		}
		return -1
	}
	if i, ok := o.names[name.String()]; ok {
		return i
	}
	return -1
}

// resembles reports whether name differs from a known name only in case.
func (o *object) resembles(name strictjson.Name) bool {
	return o.folded[strictjson.FoldName(name.String())]
}

func (o *object) add(c *compiler, f boundField) {
	folded := strictjson.FoldName(f.tag.name)
	if o.folded[folded] {
		c.fail(f.where, "has the name %q, which another field has, but perhaps for its case", f.tag.name)
		return
	}
	n := c.node(f.typ, f.where)
	if n == nil {
		return
	}
	if f.tag.quoted && !quotable(n) {
		c.fail(f.where, `has the option "string" in its json tag, which has no effect on a %s`, f.typ)
		return
	}
	var p *preset
	if f.preset != nil {
		var err error
		if p, err = newMemberPreset(n, *f.preset); err != nil {
			c.fail(f.where, "%v", err)
			return
		}
		c.preset(p, f)
	}
	o.folded[folded] = true
	o.names[f.tag.name] = len(o.fields)
	o.fields = append(o.fields, member{
		name: f.tag.name, pointer: pointer(f.tag.name), index: f.index, node: n,
		quoted: f.tag.quoted, preset: p, scope: f.scope, parent: f.parent, rules: f.rules,
	})
}

// quotable reports whether the option "string" means anything for n, as in
// encoding/json.
func quotable(n *node) bool {
	if n.kind == pointerNode {
		n = n.elem
	}
	switch n.kind {
	case boolNode, intNode, uintNode, floatNode, stringNode:
		return true
	}
	return false
}

var (
	timeType   = reflect.TypeFor[time.Time]()
	numberType = reflect.TypeFor[json.Number]()
)

// node returns how JSON becomes a t, or nil after failing.
func (c *compiler) node(t reflect.Type, where string) *node {
	if n, ok := c.nodes[t]; ok { // also a type that is inside itself
		return n
	}
	n := &node{typ: t, room: roomOf(t)}
	c.nodes[t] = n
	switch p := reflect.PointerTo(t); {
	case t == timeType:
		n.kind, n.want = timeNode, "must be a date and time as in RFC 3339"
	case isOptional(t):
		n.kind = optionalNode
		n.elem = c.node(t.Field(0).Type, where)
	case t == numberType:
		n.kind, n.want = numberNode, "must be a number"
	case t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface && p.Implements(jsonUnmarshaler):
		n.kind, n.want = rawNode, "is not in the expected form"
		c.noScopes(t, where)
	case t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface && p.Implements(textUnmarshaler):
		n.kind, n.want = textNode, "is not a string in the expected form"
		c.noScopes(t, where)
	default:
		c.plain(n, where)
	}
	if n.kind == 0 {
		return nil
	}
	return n
}

// roomOf returns how many values a t is, with the fields and elements that it is made of,
// whether they are sent or not: each takes memory, and may break a rule.
func roomOf(t reflect.Type) int64 { return roomWithin(t, map[reflect.Type]bool{}) }

// roomWithin is roomOf for what may be embedded in a struct that it embeds.
func roomWithin(t reflect.Type, inside map[reflect.Type]bool) int64 {
	room := int64(1)
	switch {
	case isOptional(t):
		return roomWithin(t.Field(0).Type, inside)
	case opaque(t) && !hasRules(t): // one value, such as a UUID
	case t.Kind() == reflect.Array:
		room += min(int64(t.Len()), math.MaxInt32) * roomWithin(t.Elem(), inside)
	case t.Kind() == reflect.Struct && !inside[t]:
		inside[t] = true
		for i := range t.NumField() {
			switch f := t.Field(i); {
			case f.Anonymous && f.Type.Kind() == reflect.Pointer: // made as soon as one of its fields is sent
				room += roomWithin(f.Type.Elem(), inside)
			case f.IsExported() || f.Anonymous:
				room += roomWithin(f.Type, inside)
			}
		}
		delete(inside, t)
	}
	return min(room, math.MaxInt32)
}

// plain fills in n for a type that doesn't decode itself.
func (c *compiler) plain(n *node, where string) {
	t := n.typ
	if endless(t) {
		c.fail(where, "is of the type %s, which is inside itself without a struct between", t)
		return
	}
	switch t.Kind() {
	case reflect.Bool:
		n.kind, n.want = boolNode, "must be true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n.kind, n.want = intNode, wantInteger(t)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		n.kind, n.want = uintNode, wantInteger(t)
	case reflect.Float32, reflect.Float64:
		n.kind, n.want = floatNode, "must be a number"
	case reflect.String:
		n.kind, n.want = stringNode, "must be a string"
	case reflect.Interface:
		if t.NumMethod() > 0 {
			c.fail(where, "is of the interface type %s, which JSON can't be decoded into", t)
			return
		}
		n.kind, n.want = anyNode, "has a number that is out of range"
	case reflect.Pointer:
		n.kind = pointerNode
		n.elem = c.node(t.Elem(), where)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 && !opaque(t.Elem()) {
			n.kind, n.want = bytesNode, "must be a base64 string"
			return
		}
		n.kind, n.want = sliceNode, "must be an array"
		n.elem = c.node(t.Elem(), where)
	case reflect.Array:
		n.kind, n.want = arrayNode, fmt.Sprintf("must be an array of exactly %d items", t.Len())
		n.elem = c.node(t.Elem(), where)
	case reflect.Map:
		n.kind, n.want = mapNode, "must be an object"
		if t.Key().Kind() != reflect.String || reflect.PointerTo(t.Key()).Implements(textUnmarshaler) {
			c.fail(where, "is a map whose keys are of type %s; only plain strings can be", t.Key())
			return
		}
		n.elem = c.node(t.Elem(), where)
	case reflect.Struct:
		n.kind, n.want = structNode, "must be an object"
		n.object = &object{names: map[string]int{}, folded: map[string]bool{}}
		for _, f := range c.flatten(t, where, nil, map[reflect.Type]bool{}) {
			if f.tag.source != body {
				c.fail(f.where, "is inside the body, so it can't be bound from the %s", f.tag.source)
				continue
			}
			n.object.add(c, f)
		}
	default:
		c.fail(where, "is of the type %s, which JSON can't be decoded into", t)
	}
}

// endless reports whether a t is inside itself without a struct, or a type that decodes itself,
// between.
func endless(t reflect.Type) bool {
	for range 200 {
		switch {
		case isOptional(t):
			t = t.Field(0).Type
		case opaque(t):
			return false
		case t.Kind() == reflect.Pointer || isList(t):
			t = t.Elem()
		default:
			return false
		}
	}
	return true
}

func wantInteger(t reflect.Type) string {
	bits := t.Bits()
	switch t.Kind() {
	case reflect.Int8, reflect.Int16, reflect.Int32:
		return "must be an integer from " + strconv.FormatInt(-1<<(bits-1), 10) + " to " + strconv.FormatInt(1<<(bits-1)-1, 10)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return "must be an integer from 0 to " + strconv.FormatUint(1<<bits-1, 10)
	case reflect.Int, reflect.Int64:
		return "must be an integer of at most 64 bits"
	}
	return "must be an integer of at most 64 bits, 0 or greater"
}
