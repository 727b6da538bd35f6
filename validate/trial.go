package validate

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-playground/validator/v10"
)

// A trial runs each rule on its own, on values of its field's type, before any
// request does. Alone, because of several rules the first that fails hides the
// others.
type trial struct {
	v    *validator.Validate
	top  reflect.Value // a T, for rules that compare from the top
	seen map[reflect.Type]bool
	own  bool // some rules may be the program's own
	errs []error
}

func (t *trial) fail(where, format string, args ...any) {
	t.errs = append(t.errs, fmt.Errorf("validate: %s: %s", where, fmt.Sprintf(format, args...)))
}

// try returns what f panics with.
func try(f func()) (cause any) {
	defer func() { cause = recover() }()
	f()
	return nil
}

// structure tries the rules of all fields in and below typ.
func (t *trial) structure(typ reflect.Type, where string) {
	if t.seen[typ] {
		return
	}
	t.seen[typ] = true
	parent := sample(typ, 0)
	for i := range typ.NumField() {
		f := typ.Field(i)
		if tag := f.Tag.Get("validate"); tag != "-" && (f.IsExported() || f.Anonymous) {
			t.field(parent, f.Type, tag, where+"."+f.Name)
		}
	}
}

// field tries the rules of one tag.
func (t *trial) field(parent reflect.Value, typ reflect.Type, tag, where string) {
	level, closed := typ, false
	if isOptional(typ) {
		t.optional(tag, where)
	}
	type pending struct {
		typ   reflect.Type
		token string
	}
	var own []pending
	tokens := strings.Split(tag, ",")
	for i := 0; i < len(tokens) && tag != ""; i++ {
		switch token := tokens[i]; token {
		case "omitempty", "omitnil", "omitzero":
		case "structonly", "nostructlevel":
			closed = true
		case "dive":
			if !isList(level) {
				t.fail(where, `"dive" needs a slice, an array or a map, not a %s`, level)
				return
			}
			list := deref(level)
			level = list.Elem()
			if i+1 < len(tokens) && tokens[i+1] == "keys" && list.Kind() == reflect.Map {
				for i += 2; i < len(tokens) && tokens[i] != "endkeys"; i++ {
					own = append(own, pending{list.Key(), tokens[i]})
				}
				if i >= len(tokens) {
					t.fail(where, `"keys" has no "endkeys"`)
					return
				}
			}
		case "":
			t.fail(where, "has an empty rule in %q", tag)
			return
		case "keys", "endkeys":
			t.fail(where, "%q must follow the \"dive\" into a map", token)
			return
		default:
			own = append(own, pending{level, token})
		}
	}
	before := len(t.errs)
	if inner := deref(level); isStruct(inner) && !closed {
		t.structure(inner, where)
	} else if isList(inner) && !closed && hasRules(inner) {
		t.fail(where, `is a %s whose elements have rules; without "dive" in its validate tag they are not checked`, level)
	}
	if len(t.errs) > before {
		return // what is wrong inside would be said of the field again
	}
	for _, r := range own {
		t.rule(parent, r.typ, r.token, where)
	}
}

// rule tries one rule, which may be several alternatives.
func (t *trial) rule(parent reflect.Value, typ reflect.Type, token, where string) {
	before := len(t.errs)
	alternatives := strings.Split(token, "|")
	for _, a := range alternatives {
		name, param, _ := strings.Cut(a, "=")
		t.named(parent.Type(), deref(typ), name, param, where)
	}
	if len(t.errs) > before {
		return
	}
	for _, a := range alternatives {
		name, param, _ := strings.Cut(a, "=")
		other := parent
		if strings.HasSuffix(name, "csfield") && t.top.IsValid() {
			other = t.top
		}
		_, names := crossed(other.Type(), name, words.FindAllString(param, -1))
		for _, v := range samples(deref(typ)) {
			with := ""
			cause := try(func() {
				if isStruct(deref(typ)) {
					_ = t.v.VarWithKey("field", v, a)
					return
				}
				for _, other := range variants(other, names) {
					with = other.with
					_ = t.v.VarWithValue(v, other.v.Interface(), a)
				}
			})
			if cause != nil {
				t.fail(where, "the rule %q can't be checked on a %s%s: %v", a, typ, with, strings.TrimSuffix(fmt.Sprint(cause), " on field ''"))
				return
			}
		}
	}
}

// A variant is a struct with a field that is something else.
type variant struct {
	v    reflect.Value
	with string // what, for errors
}

// variants returns v, and copies of it in which one of its named fields is another of its
// samples, nothing among them: what a request may send there.
func variants(v reflect.Value, names []string) []variant {
	all := []variant{{v: v}}
	for _, name := range names {
		f, ok := v.Type().FieldByName(name)
		if v.Kind() != reflect.Struct || !ok || !f.IsExported() {
			continue // it is further below: as it is in v
		}
		values := []reflect.Value{reflect.Zero(f.Type)}
		if f.Type.Kind() == reflect.Interface && f.Type.NumMethod() == 0 {
			for _, s := range samples(f.Type) {
				values = append(values, reflect.ValueOf(s))
			}
		}
		for _, value := range values {
			other := addressable(v).Elem()
			if field, err := other.FieldByIndexErr(f.Index); err == nil {
				field.Set(value)
				kind := "nothing"
				if !value.IsZero() {
					kind = value.Type().String()
				}
				all = append(all, variant{other, " with " + kind + " in " + name})
			}
		}
	}
	return all
}

var words = regexp.MustCompile(`'[^']*'|\S+`) // as the validator splits parameters

// named checks what the validator takes without a word and then does wrong.
func (t *trial) named(parent, typ reflect.Type, name, param, where string) {
	args := words.FindAllString(param, -1)
	switch {
	case slices.Contains(fileRuleNames, name):
		t.fail(where, "the rule %q "+asksForFiles, name)
	case !t.own && needParam[name] && param == "":
		t.fail(where, "the rule %q needs a parameter, %s=…", name, name)
	case !t.own && param != "" && plainMessages[name] != "" && !takeParam[name]:
		t.fail(where, "the rule %q has the parameter %q, but takes none", name, param)
	}
	switch name {
	case "eqfield", "nefield", "eqcsfield", "necsfield":
		if isList(typ) {
			t.fail(where, "the rule %q compares only the lengths of a %s", name, typ)
		}
	case "unique":
		if elem := typ; isList(elem) {
			elem = deref(elem.Elem())
			if param != "" {
				f, ok := elem, isStruct(elem)
				if ok {
					var sf reflect.StructField
					if sf, ok = elem.FieldByName(param); ok {
						f = deref(sf.Type)
					}
				}
				if !ok {
					t.fail(where, "the rule %q names %q, which is no field of a %s", name, param, elem)
					return
				}
				elem = f
			}
			if !comparable(elem) {
				t.fail(where, "the rule %q can't compare values of a %s", name, elem)
			}
			return
		}
	case "validateFn":
		method := param
		if method == "" {
			method = "Validate"
		}
		if _, ok := reflect.PointerTo(typ).MethodByName(method); !ok {
			t.fail(where, "the rule %q calls %s, which is no method of a %s", name, method, typ)
		}
	}
	from, names := crossed(parent, name, args)
	if t.top.IsValid() && strings.HasSuffix(name, "csfield") {
		from = t.top.Type()
	}
	for _, n := range names {
		if !reaches(from, n) {
			t.fail(where, "the rule %q names %q, which is no field of a %s", name, n, from)
		}
	}
}

// fileRuleNames are the rules that look at the server's files.
var fileRuleNames = []string{"file", "filepath", "image", "dir", "dirpath", "uds_exists"}

const asksForFiles = "would let clients ask which files the server has"

// needParam are the rules that refuse nothing, or everything, without a parameter.
var needParam = map[string]bool{
	"contains": true, "containsany": true, "containsrune": true, "excludes": true, "excludesall": true, "excludesrune": true,
	"startswith": true, "endswith": true, "startsnotwith": true, "endsnotwith": true,
	"oneof": true, "oneofci": true, "noneof": true, "noneofci": true, "datetime": true,
	"required_if": true, "required_unless": true, "skip_unless": true, "excluded_if": true, "excluded_unless": true,
}

// takeParam are the rules of plainMessages that take a parameter. All others take none, and
// would not heed it.
var takeParam = map[string]bool{
	"required_if": true, "required_unless": true, "required_with": true, "required_with_all": true, "required_without": true,
	"required_without_all": true, "excluded_if": true, "excluded_unless": true, "excluded_with": true, "excluded_with_all": true,
	"excluded_without": true, "excluded_without_all": true, "unique": true,
}

// crossed returns the other fields that a rule looks at, by their Go names.
func crossed(parent reflect.Type, name string, args []string) (from reflect.Type, names []string) {
	switch name {
	case "eqfield", "nefield", "gtfield", "gtefield", "ltfield", "ltefield",
		"eqcsfield", "necsfield", "gtcsfield", "gtecsfield", "ltcsfield", "ltecsfield",
		"fieldcontains", "fieldexcludes", "postcode_iso3166_alpha2_field",
		"required_with", "required_with_all", "required_without", "required_without_all",
		"excluded_with", "excluded_with_all", "excluded_without", "excluded_without_all":
		if len(args) == 0 {
			args = []string{""}
		}
		return parent, args
	case "required_if", "required_unless", "excluded_if", "excluded_unless", "skip_unless":
		for i := 0; i < len(args); i += 2 {
			names = append(names, args[i])
		}
	}
	return parent, names
}

// reaches reports whether name, "A.B", is a field below t.
func reaches(t reflect.Type, name string) bool {
	for part := range strings.SplitSeq(name, ".") {
		part, index, indexed := strings.Cut(part, "[")
		t = deref(t)
		if t.Kind() != reflect.Struct {
			return false
		}
		f, ok := t.FieldByName(part)
		if !ok {
			return false
		}
		t = f.Type
		for ; indexed; _, index, indexed = strings.Cut(index, "[") {
			if !isList(t) {
				return false
			}
			t = deref(t).Elem()
		}
	}
	return true
}

// comparable reports whether any two values of t can be compared without a
// panic.
func comparable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Interface:
		return false
	case reflect.Array:
		return comparable(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if !comparable(t.Field(i).Type) {
				return false
			}
		}
	}
	return t.Comparable()
}

// samples returns values of a t that lead a rule down its different ways: an
// interface may hold any kind of JSON.
func samples(t reflect.Type) []any {
	switch {
	case t.Kind() == reflect.Interface:
		return []any{true, 1.5, "a", []any{}, []any{"a"}, map[string]any{}, map[string]any{"a": 1.5}}
	case t == timeType:
		return []any{time.Time{}, time.Now()}
	case t.Kind() == reflect.String:
		empty, a := reflect.New(t).Elem(), reflect.New(t).Elem()
		a.SetString("a")
		return []any{empty.Interface(), a.Interface()}
	}
	all := []any{reflect.Zero(t).Interface(), sample(t, 0).Interface()}
	if t.Kind() == reflect.Slice {
		s := sample(t, 0)
		all = append(all, reflect.AppendSlice(s, s).Interface())
	}
	return all
}

// sample returns a t that has something in each field.
func sample(t reflect.Type, depth int) reflect.Value {
	v := reflect.New(t).Elem()
	if depth > 6 { // a type inside itself
		return v
	}
	switch t.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		v.SetUint(1)
	case reflect.Float32, reflect.Float64:
		v.SetFloat(1)
	case reflect.String:
		v.SetString("a")
	case reflect.Interface:
		if t.NumMethod() == 0 {
			v.Set(reflect.ValueOf("a"))
		}
	case reflect.Pointer:
		p := reflect.New(t.Elem())
		p.Elem().Set(sample(t.Elem(), depth+1))
		v.Set(p)
	case reflect.Slice:
		v.Set(reflect.Append(v, sample(t.Elem(), depth+1)))
	case reflect.Array:
		for i := range min(t.Len(), 4) {
			v.Index(i).Set(sample(t.Elem(), depth+1))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(t))
		v.SetMapIndex(sample(t.Key(), depth+1), sample(t.Elem(), depth+1))
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); f.IsExported() {
				v.Field(i).Set(sample(f.Type, depth+1))
			}
		}
	}
	return v
}
