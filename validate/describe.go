package validate

import (
	"reflect"
	"strconv"
	"strings"
)

// A Rule is what is asked of one input, as the documentation of an API tells
// it. It marshals to JSON.
type Rule struct {
	// Location is "body", "query", "path", "header", "form" or "cookie".
	Location string `json:"location"`
	// Path is the JSON Pointer of the input, with "*" for the index of an
	// element or the name of a map's member: "/items/*/price".
	Path string `json:"path"`
	// Type is "string", "integer", "number", "boolean", "array", "object", "file"
	// or "any"; for types that decode themselves, "other".
	Type string `json:"type"`
	// Rules are those of the validate tag, "gt=0", with the other fields they
	// name as the client knows them; of a file, first those of its file tag; of a map, last
	// those of its names, "keys,max=9,endkeys".
	Rules []string `json:"rules,omitempty"`
	// Default is what holds where the input is left out, as the default tag says it, or nil.
	Default *string `json:"default,omitempty"`
	// Scope is what a caller needs to send the input, or empty.
	Scope string `json:"scope,omitempty"`
}

// Rules lists what is accepted, each input once, parameters first, in the order
// of T's fields. A type inside itself is listed once. Rules that Config.Setup
// registers for whole structs are not listed.
func (v *Validator[T]) Rules() []Rule {
	l := lister{open: map[reflect.Type]bool{}}
	for _, p := range v.plan.params {
		one := typeOf(p.node)
		if p.node.typ == durationType {
			one = "string"
		}
		t := one
		if p.slice {
			t = "array"
		}
		own, each := split(p.parent, p.rules)
		if p.file != nil {
			own = append(p.file.describe(), own...)
		}
		l.rules = append(l.rules, Rule{Location: p.source, Path: p.pointer, Type: t, Rules: own, Default: p.preset.describe(), Scope: p.scope})
		if p.slice {
			own, _ = split(p.parent, each)
			l.rules = append(l.rules, Rule{Location: p.source, Path: p.pointer + "/*", Type: one, Rules: own})
		}
	}
	if n := v.plan.json; n != nil {
		if n.kind == structNode {
			l.members(n, "")
		} else {
			l.node(n, "", nil, "", nil)
		}
	}
	return l.rules
}

type lister struct {
	rules []Rule
	open  map[reflect.Type]bool
}

func (l *lister) node(n *node, path string, parent reflect.Type, rules string, p *preset) {
	for n.kind == pointerNode || n.kind == optionalNode {
		n = n.elem
	}
	own, each := split(parent, rules)
	if keys := keyRules(rules); keys != "" {
		own = append(own, "keys,"+keys+",endkeys")
	}
	l.rules = append(l.rules, Rule{Location: body, Path: path, Type: typeOf(n), Rules: own, Default: p.describe()})
	switch n.kind {
	case sliceNode, arrayNode, mapNode:
		l.node(n.elem, path+"/*", parent, each, nil)
	case structNode:
		l.members(n, path)
	}
}

func (l *lister) members(n *node, path string) {
	if l.open[n.typ] {
		return
	}
	l.open[n.typ] = true
	for _, m := range n.object.fields {
		at := len(l.rules)
		l.node(m.node, path+m.pointer, m.parent, m.rules, m.preset)
		l.rules[at].Scope = m.scope
	}
	delete(l.open, n.typ)
}

// split is divide with the names of other fields as clients know them.
func split(parent reflect.Type, tag string) (own []string, each string) {
	own, each = divide(tag)
	for i, rule := range own {
		own[i] = onWire(parent, rule)
	}
	return own, each
}

// keyRules returns the rules of a tag for the names of a map's members.
func keyRules(tag string) string {
	_, after, _ := strings.Cut(","+tag+",", ",dive,")
	rest, ok := strings.CutPrefix(after, "keys,")
	if !ok {
		return ""
	}
	keys, _, _ := strings.Cut(","+rest, ",endkeys,")
	return strings.Trim(keys, ",")
}

// divide returns the rules before the first "dive", and the tag after it, less
// the rules for keys.
func divide(tag string) (own []string, each string) {
	before, after, _ := strings.Cut(","+tag+",", ",dive,")
	if rest, ok := strings.CutPrefix(after, "keys,"); ok {
		_, after, _ = strings.Cut(","+rest, ",endkeys,")
	}
	for rule := range strings.SplitSeq(strings.Trim(before, ","), ",") {
		if rule != "" {
			own = append(own, rule)
		}
	}
	return own, strings.Trim(after, ",")
}

// onWire replaces the Go names of other fields in a rule's parameter.
func onWire(parent reflect.Type, rule string) string {
	name, param, ok := strings.Cut(rule, "=")
	switch {
	case !ok:
		return rule
	case name == "unique" || name == "validateFn":
		return name
	}
	args := words.FindAllString(param, -1)
	step := 1
	if strings.HasSuffix(name, "_if") || strings.HasSuffix(name, "_unless") {
		step = 2 // names and values by turns
	}
	if _, names := crossed(parent, name, args); len(names) == 0 {
		return rule
	}
	for i := 0; i < len(args); i += step {
		if wire := wireName(parent, args[i]); wire != "" {
			args[i] = wire
		} else {
			args[i] = "field " + strconv.Itoa(i/step+1)
		}
	}
	return name + "=" + strings.Join(args, " ")
}

func typeOf(n *node) string {
	for n.kind == pointerNode || n.kind == optionalNode {
		n = n.elem
	}
	switch n.kind {
	case boolNode:
		return "boolean"
	case intNode, uintNode:
		return "integer"
	case floatNode, numberNode:
		return "number"
	case stringNode, timeNode, bytesNode, textNode:
		return "string"
	case sliceNode, arrayNode:
		return "array"
	case mapNode, structNode:
		return "object"
	case anyNode:
		return "any"
	case fileNode:
		return "file"
	}
	return "other"
}
