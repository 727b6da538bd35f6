package validate

import (
	"encoding/json"
	"reflect"
	"strings"

	"github.com/go-playground/validator/v10"
)

// An Optional is a JSON member that may be left out, and tells that from one that is sent
// as zero or null: what a JSON Merge Patch (RFC 7396) needs.
//
//	type PatchItem struct {
//		Name Optional[string]  `json:"name" validate:"omitempty,max=80"` // left out, or a name
//		Note Optional[*string] `json:"note" validate:"omitempty,max=80"` // left out, null, or a note
//	}
//
// Null is refused unless V can be null; then Set is true and Value is nil. Rules are
// those of the V and must begin with "omitempty", or with "required", which an Optional that
// is sent with any value but null satisfies, zero too.
type Optional[V any] struct {
	Value V    // zero unless Set
	Set   bool // the member was sent
}

// Get returns the value, and whether it was sent.
func (o Optional[V]) Get() (value V, sent bool) { return o.Value, o.Set }

// IsZero reports that the member was left out, for the option "omitzero" of a json tag.
func (o Optional[V]) IsZero() bool { return !o.Set }

// MarshalJSON returns the value, null if there is none; the option "omitzero" leaves it out.
func (o Optional[V]) MarshalJSON() ([]byte, error) {
	if !o.Set {
		return []byte("null"), nil
	}
	return json.Marshal(o.Value)
}

// UnmarshalJSON is for encoding/json. Validators have their own, stricter way.
func (o *Optional[V]) UnmarshalJSON(b []byte) error {
	o.Set = true
	return json.Unmarshal(b, &o.Value)
}

func (Optional[V]) validateOptional() {}

var (
	optionalType    = reflect.TypeFor[interface{ validateOptional() }]()
	optionalPackage = reflect.TypeFor[Optional[any]]().PkgPath()
)

// isOptional reports whether t is an Optional, whose fields are first the value and then
// whether it is set.
func isOptional(t reflect.Type) bool {
	// A struct that embeds one has its methods too, but is declared elsewhere.
	return t.Kind() == reflect.Struct && t.Implements(optionalType) && t.PkgPath() == optionalPackage
}

// optionals has v look through the Optionals in a decoder's types: to a pointer to the
// value, or a nil one.
func optionals(v *validator.Validate, nodes map[reflect.Type]*node) {
	for t, n := range nodes {
		if n.kind == optionalNode {
			v.RegisterCustomTypeFunc(func(o reflect.Value) any {
				p := reflect.New(t.Field(0).Type)
				if !o.Field(1).Bool() {
					return reflect.Zero(p.Type()).Interface()
				}
				p.Elem().Set(o.Field(0))
				return p.Interface()
			}, reflect.Zero(t).Interface())
		}
	}
}

// optional fails for rules that an Optional which is left out would break.
func (t *trial) optional(tag, where string) {
	switch first, _, _ := strings.Cut(tag, ","); first {
	case "", "omitempty", "omitnil", "required":
	default:
		t.fail(where, `is an Optional whose rules begin with %q, so it could not be left out; begin them with "omitempty", or with "required"`, first)
	}
}
