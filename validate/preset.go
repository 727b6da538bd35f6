package validate

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/go-playground/validator/v10"
)

// A preset is the value of a field that a request leaves out, as its default tag says.
type preset struct {
	text  string
	node  *node // of one value
	slice bool
	ptr   bool
}

// newPreset checks that text is a value of a field: n, a pointer to it or a slice of it.
func newPreset(n *node, slice, ptr bool, text string) (*preset, error) {
	p := &preset{text: text, node: n, slice: slice, ptr: ptr}
	switch n.kind {
	case boolNode, intNode, uintNode, floatNode, numberNode, stringNode, bytesNode, timeNode, textNode:
	default:
		return nil, errors.New("is of a type that can't have a default tag; only single values, and slices of them, can")
	}
	v := reflect.New(p.typ()).Elem()
	if !p.set(v) {
		return nil, fmt.Errorf("has the default %q, which %s", text, n.want)
	}
	return p, nil
}

// newMemberPreset is newPreset for a member of a JSON object.
func newMemberPreset(n *node, text string) (*preset, error) {
	switch n.kind {
	case pointerNode:
		return newPreset(n.elem, false, true, text)
	case sliceNode:
		return newPreset(n.elem, true, false, text)
	}
	return newPreset(n, false, false, text)
}

func (p *preset) typ() reflect.Type {
	switch {
	case p.slice:
		return reflect.SliceOf(p.node.typ)
	case p.ptr:
		return reflect.PointerTo(p.node.typ)
	}
	return p.node.typ
}

func (p *preset) describe() *string {
	if p == nil {
		return nil
	}
	return &p.text
}

// set sets v. The text is read each time, so that no two requests share what a value points
// to.
func (p *preset) set(v reflect.Value) bool {
	switch {
	case p.slice:
		var parts []string
		if p.text != "" {
			parts = strings.Split(p.text, ",")
		}
		s := reflect.MakeSlice(v.Type(), len(parts), len(parts))
		for i, part := range parts {
			if !parameter(p.node, s.Index(i), part) {
				return false
			}
		}
		v.Set(s)
		return true
	case p.ptr:
		v.Set(reflect.New(p.node.typ))
		v = v.Elem()
	}
	return parameter(p.node, v, p.text)
}

// preset sets the members of o that have a default, those of objects in it too.
func (o *object) preset(v reflect.Value) {
	for _, i := range o.presets {
		m := &o.fields[i]
		if m.preset != nil {
			m.preset.set(field(v, m.index))
		} else {
			m.node.object.preset(field(v, m.index))
		}
	}
}

// findPresets notes which members of the objects in and below n have a default.
func (n *node) findPresets(seen map[*object]bool) {
	switch {
	case n == nil:
	case n.kind != structNode:
		n.elem.findPresets(seen)
	case !seen[n.object]:
		seen[n.object] = true
		for i, m := range n.object.fields {
			if m.preset != nil || m.node.hasPresets() {
				n.object.presets = append(n.object.presets, i)
			}
			m.node.findPresets(seen)
		}
	}
}

// hasPresets reports whether n is an object with a default in it, or in one that is a part of
// it, and so is there whether it is sent or not.
func (n *node) hasPresets() bool {
	return n.kind == structNode && slices.ContainsFunc(n.object.fields, func(m member) bool {
		return m.preset != nil || m.node.hasPresets()
	})
}

// presets checks that no default breaks the rules of its field.
func (r *rules) presets(all []boundPreset) error {
	var errs []error
	for _, b := range all {
		v := reflect.New(b.preset.typ()).Elem()
		b.preset.set(v)
		var own []string
		for rule := range strings.SplitSeq(b.rules, ",") {
			name, param, _ := strings.Cut(rule, "=")
			if _, names := crossed(b.parent, name, words.FindAllString(param, -1)); rule != "" && len(names) == 0 {
				own = append(own, rule)
			}
		}
		if len(own) == 0 || b.rules == "-" {
			continue
		}
		if broken := r.breaks(v, own); broken != nil {
			errs = append(errs, fmt.Errorf("validate: %s: has the default %q, which breaks the rule %q", b.where, b.preset.text, broken.Tag()))
		}
	}
	return errors.Join(errs...)
}

// breaks returns the first of the rules that v breaks, or nil. Rules of the program's own may look
// at what is beside the field, and panic, as nothing is: then the others are tried one by one, up
// to a "dive" or an alias that may have one.
func (r *rules) breaks(v reflect.Value, own []string) validator.FieldError {
	var err error
	var broken validator.ValidationErrors
	if try(func() { err = r.v.Var(v.Interface(), strings.Join(own, ",")) }) != nil {
		for _, rule := range own {
			switch {
			case rule == "dive":
				return nil
			case try(func() { err = r.v.Var(v.Interface(), rule) }) != nil:
			case errors.As(err, &broken):
				return broken[0]
			case try(func() { _ = builtin().Var(v.Interface(), rule) }) != nil: // it is none of the validator's
				return nil
			}
		}
		return nil
	}
	if errors.As(err, &broken) {
		return broken[0]
	}
	return nil
}

// A boundPreset is the preset of a field.
type boundPreset struct {
	preset *preset
	where  string
	parent reflect.Type
	rules  string
}
