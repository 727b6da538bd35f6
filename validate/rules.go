package validate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-playground/validator/v10"

	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/language"
)

// rules check a decoded T.
type rules struct {
	v    *validator.Validate
	typ  reflect.Type
	dive string // how to reach the structs in a T that is a slice or map
	none bool   // nothing has a rule
	zone bool   // something has the rule timezone

	languages  []string // those of translate, and English
	ownEnglish bool     // English is what the texts are without translate
	english    string   // translate's, or ""
	translate  func(language string, rule validator.FieldError) string
}

// newRules makes the rules of typ and tries all of them, since the validator
// panics on what it can't do, and then only once a request comes by.
func newRules(typ reflect.Type, nodes map[reflect.Type]*node, setup func(*validator.Validate) error, tr Translator) (*rules, error) {
	r := &rules{v: validator.New(validator.WithRequiredStructEnabled()), typ: typ}
	if tr != nil { // names cost the validator a string for each element
		r.v.RegisterTagNameFunc(func(f reflect.StructField) string {
			t, err := parseTag(f)
			if err != nil {
				return ""
			}
			return t.name
		})
	}
	if err := boundLanguageTags(r.v); err != nil {
		return nil, err
	}
	if err := boundTimeZones(r.v); err != nil {
		return nil, err
	}
	if setup != nil {
		if err := setup(r.v); err != nil {
			return nil, fmt.Errorf("validate: Config.Setup: %w", err)
		}
	}
	r.v.SetTagName("validate") // the tags that are checked below are the ones that hold
	if err := withoutFiles(r.v); err != nil {
		return nil, err
	}
	optionals(r.v, nodes)
	inner, dives := innermost(typ)
	r.dive = strings.TrimSuffix(strings.Repeat("dive,", dives), ",")
	// With a Setup there may be rules that no tag shows.
	r.none = !isStruct(inner) || setup == nil && !hasRules(inner)
	// An alias that has it stands in no tag of a field.
	r.zone = !r.none && (setup != nil || hasRule(inner, func(rules string) bool { return strings.Contains(rules, timeZone) }))
	if r.none {
		return r, nil
	}
	t := &trial{v: r.v, seen: map[reflect.Type]bool{}, own: setup != nil}
	if isStruct(deref(typ)) {
		t.top = sample(deref(typ), 0)
	}
	t.structure(inner, typeName(inner))
	if len(t.errs) == 0 {
		for _, v := range []reflect.Value{reflect.New(typ), addressable(sample(typ, 0))} {
			if cause := try(func() { _ = r.run(context.Background(), v.Elem()) }); cause != nil {
				t.fail(typeName(typ), "its rules can't be checked: %v", cause)
				break
			}
		}
	}
	return r, errors.Join(t.errs...)
}

// maxLanguageTag is the length of the longest language tag. RFC 5646, section 4.4.1, asks for
// room for 35 characters.
const maxLanguageTag = 255

// builtin has the rules of the validator as they are. It is shared, as nothing is registered
// with it.
var builtin = sync.OnceValue(func() *validator.Validate { return validator.New() })

// boundLanguageTags keeps v's rules from what takes them very long: the time that the one for language
// tags takes grows with the square of their length.
func boundLanguageTags(v *validator.Validate) error {
	for _, name := range []string{"bcp47_language_tag", "bcp47_strict_language_tag"} {
		err := v.RegisterValidation(name, func(f validator.FieldLevel) bool {
			if s := f.Field(); s.Kind() == reflect.String && s.Len() > maxLanguageTag {
				return false
			}
			return builtin().Var(f.Field().Interface(), name) == nil
		})
		if err != nil {
			return fmt.Errorf("validate: %w", err)
		}
	}
	return nil
}

const (
	timeZone      = "timezone"
	mostMisses    = 100  // names of no time zone that are looked for in one T
	mostTimeZones = 2000 // names that are remembered
)

// timeZoneForm is that of the names of time zones, each of which stands for one file in one way.
var timeZoneForm = regexp.MustCompile(`^[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,3}$`)

// misses is the key of a context for how many names of no time zone have been looked for.
type misses struct{}

// boundTimeZones keeps the rule timezone from looking for each of the names in a list among the
// system's files, which takes longer than all else that is done for a value.
func boundTimeZones(v *validator.Validate) error {
	var known sync.Map // names of time zones: true
	var n atomic.Int64
	err := v.RegisterValidationCtx(timeZone, func(ctx context.Context, f validator.FieldLevel) bool {
		field := f.Field()
		if field.Kind() != reflect.String {
			return builtin().Var(field.Interface(), timeZone) == nil
		}
		name := field.String()
		if _, ok := known.Load(name); ok {
			return true
		}
		missed, bounded := ctx.Value(misses{}).(*int)
		if !timeZoneForm.MatchString(name) || bounded && *missed >= mostMisses {
			return false
		}
		ok := builtin().Var(name, timeZone) == nil
		switch {
		case !ok && bounded:
			*missed++
		case ok && n.Add(1) <= mostTimeZones: // more than there are, but for systems where case does not count
			known.Store(strings.Clone(name), true)
		}
		return ok
	})
	if err != nil {
		return fmt.Errorf("validate: %w", err)
	}
	return nil
}

// withoutFiles makes v's rules about the server's files panic, so that the trial finds them
// behind aliases too.
func withoutFiles(v *validator.Validate) error {
	for _, name := range fileRuleNames {
		err := v.RegisterValidation(name, func(validator.FieldLevel) bool {
			panic(asksForFiles)
		})
		if err != nil {
			return fmt.Errorf("validate: %w", err)
		}
	}
	return nil
}

func addressable(v reflect.Value) reflect.Value {
	p := reflect.New(v.Type())
	p.Elem().Set(v)
	return p
}

// translated makes the rules speak the languages of tr, which may be nil.
func (r *rules) translated(tr Translator) error {
	if tr == nil {
		return nil
	}
	var err error
	if r.translate, err = tr.Translations(r.v); err != nil {
		return fmt.Errorf("validate: Config.Translator: %w", err)
	}
	for _, l := range tr.Languages() {
		if !language.IsTag(l) {
			return fmt.Errorf("validate: Config.Translator: the language %q is no tag such as \"pt-BR\"", l)
		}
	}
	r.languages = language.WithEnglish(tr.Languages())
	r.ownEnglish = len(r.languages) > len(tr.Languages())
	r.english = language.Choose([]string{"en"}, tr.Languages()...)
	return nil
}

// check returns a problem with the rules that the v of a request breaks, most at most.
func (r *rules) check(req *http.Request, v reflect.Value, most int) error {
	if r.none {
		return nil
	}
	err := r.run(req.Context(), v)
	if err == nil {
		return nil
	}
	var broken validator.ValidationErrors
	if !errors.As(err, &broken) {
		return fmt.Errorf("validate: %w", err)
	}
	broken = broken[:min(len(broken), most)]
	fields, tongue := make([]httperr.Field, 0, len(broken)), ""
	if len(r.languages) > 0 {
		if tongue = language.Choose(req.Header["Accept-Language"], r.languages...); tongue == "en" && r.ownEnglish {
			tongue = ""
		}
	}
	said := ""
	for _, b := range broken {
		at, detail := r.locate(b.StructNamespace()), ""
		// The parameters of rules about other fields are Go's names for them, and the name of
		// what is in a map has the client's own in it.
		_, others := crossed(at.parent, ruleName(b.Tag()), nil)
		plain := len(others) == 0 && (!at.inMap || !strings.Contains(b.Field(), "["))
		if tongue != "" && plain {
			if detail = r.translate(tongue, b); detail != "" {
				said = tongue
			}
		}
		if detail == "" {
			detail = message(b, at.parent)
			if strings.HasPrefix(detail, noWords) && r.english != "" && plain {
				detail = cmp.Or(r.translate(r.english, b), detail)
			}
		}
		fields = append(fields, httperr.Field{Pointer: at.pointer, Location: at.location, Code: ruleName(b.Tag()), Detail: detail})
	}
	p := failed(fields)
	if len(r.languages) > 0 {
		p.Header = http.Header{"Vary": {"Accept-Language"}}
		if said != "" {
			p.Header.Set("Content-Language", said)
		}
	}
	return p
}

func (r *rules) run(ctx context.Context, v reflect.Value) error {
	if r.zone && ctx.Value(misses{}) == nil {
		ctx = context.WithValue(ctx, misses{}, new(int))
	}
	if r.dive != "" {
		return r.v.VarCtx(ctx, v.Addr().Interface(), r.dive)
	}
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
	}
	return r.v.StructCtx(ctx, v.Addr().Interface())
}

// A place is where a field is, as the client knows it.
type place struct {
	pointer, location string
	parent            reflect.Type // the struct the field is in
	inMap             bool         // it is in a map, which pointer is of
}

// locate turns the validator's namespace of Go names, "Order.Items[0].Price",
// into a place. It walks the types rather than wire names, which may have dots
// and brackets in them. It stops where a map's key stands, as that is
// the client's choice.
func (r *rules) locate(namespace string) place {
	at := place{location: body}
	t := deref(r.typ)
	if t.Kind() == reflect.Struct {
		at.parent = t
		if name := t.Name(); name != "" {
			namespace = strings.TrimPrefix(namespace, name+".")
		}
	}
	for namespace != "" {
		if namespace[0] == '[' {
			index, rest, _ := strings.Cut(namespace[1:], "]")
			if t.Kind() != reflect.Slice && t.Kind() != reflect.Array {
				at.inMap = true
				return at
			}
			at.pointer += "/" + index
			t, namespace = deref(t.Elem()), strings.TrimPrefix(rest, ".")
			continue
		}
		end := strings.IndexAny(namespace, ".[")
		if end < 0 {
			end = len(namespace)
		}
		if t.Kind() != reflect.Struct {
			return at
		}
		f, ok := directField(t, namespace[:end])
		if !ok {
			return at
		}
		at.parent = t
		if tag, err := parseTag(f); err == nil && tag.source != "" && !tag.inline(f) {
			at.location = tag.source
			at.pointer += pointer(tag.name)
		}
		t, namespace = deref(f.Type), strings.TrimPrefix(namespace[end:], ".")
	}
	return at
}

func directField(t reflect.Type, name string) (reflect.StructField, bool) {
	for i := range t.NumField() {
		if f := t.Field(i); f.Name == name {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

// deref returns what t points to, or holds if it is an Optional. Of a t that points to itself
// it returns some pointer.
func deref(t reflect.Type) reflect.Type {
	for range 100 {
		switch {
		case t.Kind() == reflect.Pointer:
			t = t.Elem()
		case isOptional(t):
			t = t.Field(0).Type
		default:
			return t
		}
	}
	return t
}

// innermost returns what the lists in t are of, and how many of them are in each other. Of a t
// that is inside itself it returns some list.
func innermost(t reflect.Type) (inner reflect.Type, lists int) {
	for t = deref(t); isList(t) && lists < 100; lists++ {
		t = deref(t.Elem())
	}
	return t, lists
}

// isStruct reports whether the validator looks into a t.
func isStruct(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !t.ConvertibleTo(timeType)
}

func isList(t reflect.Type) bool {
	switch deref(t).Kind() {
	case reflect.Slice, reflect.Array, reflect.Map:
		return true
	}
	return false
}

// hasRules reports whether any field in or below t has a rule.
func hasRules(t reflect.Type) bool {
	return hasRule(t, func(rules string) bool { return rules != "" })
}

// hasRule reports whether the rules of any field in or below t are of a kind.
func hasRule(t reflect.Type, is func(rules string) bool) bool {
	return ruleBelow(t, is, map[reflect.Type]bool{})
}

func ruleBelow(t reflect.Type, is func(rules string) bool, seen map[reflect.Type]bool) bool {
	t, _ = innermost(t)
	if !isStruct(t) || seen[t] {
		return false
	}
	seen[t] = true
	for i := range t.NumField() {
		f := t.Field(i)
		rules := f.Tag.Get("validate")
		if !f.IsExported() && !f.Anonymous || rules == "-" {
			continue
		}
		if is(rules) || ruleBelow(f.Type, is, seen) {
			return true
		}
	}
	return false
}
