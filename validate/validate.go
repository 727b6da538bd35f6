// Package validate turns a request into a Go value that keeps its promises, or
// refuses it. It decodes strictly, checks the rules of the field's tags with
// go-playground/validator, and answers with problem details that name places
// and rules, and never repeat what was sent.
//
//	type NewItem struct {
//		Shop  string  `path:"shop"  validate:"alphanum"`
//		Name  string  `json:"name"  validate:"required,max=80"`
//		Price float64 `json:"price" validate:"gt=0"`
//	}
//
//	mux.Handle("POST /shops/{shop}/items", validate.Body[NewItem]()(http.HandlerFunc(create)))
//
//	func create(w http.ResponseWriter, r *http.Request) {
//		item := validate.MustFrom[NewItem](r.Context())
//		…
//	}
//
// # Sources
//
// Each field is bound from exactly the one source that its tag names: json,
// query, path, header, form or cookie. An exported field without such a tag is
// an error at construction, so that a field which is added later is never set
// by whoever guesses its name; tag it "-" to leave it alone. A body sets only
// fields with a json (or form) tag: {"id":7} does not reach a field tagged
// path:"id", it is refused.
//
// # JSON
//
// A body is one JSON value of type application/json (or application/…+json) in
// UTF-8. Names match exactly, by case too, and a name may stand in an object
// only once, its case variants counted. Unknown names, values of another type,
// null for what can't be null (anything but a pointer, an interface or a type
// with its own UnmarshalJSON; write "dive,required" where a list of pointers must
// not hold one), numbers out of range, fractions for integers,
// arrays of another length than a Go array, and bodies that are too deep or
// have too many values are refused. A []byte is a base64 string. A body with a
// Content-Encoding is refused, but for gzip if Config.AllowGzip says so.
//
// What RFC 8259 leaves open is decided: numbers of any size and exponent are JSON, up to
// 1,024 bytes, and refused where the Go type can't hold them; strings and names must be
// UTF-8, with surrogates in pairs; a byte order mark is refused; so is what is nested more
// deeply than Config.MaxDepth.
//
// Types with their own UnmarshalJSON or UnmarshalText are handed their part of
// the body, which is strict JSON by then; what they take inside is up to them.
//
// An [Optional] tells a member that is left out from null and from zero, as a JSON Merge
// Patch (RFC 7396, application/merge-patch+json) needs it.
//
// # Parameters
//
// Strings, bools (true, false, 1, 0), integers, floats, time.Time (RFC 3339),
// time.Duration ("1m30s"), types with UnmarshalText, pointers to these (nil if
// absent; anything else bound from a path value that the pattern of the route does not have is
// a 500, unless that is a subtree such as "/", below which another router may be), and slices (one element for each repetition; a header field's lines
// are also split at commas). A parameter that is no slice may come only once. Cookies that
// net/http can't parse are as if they were left out.
// Forms are application/x-www-form-urlencoded and read from the body, never
// from the URL. Let nothing above call ParseForm or FormValue: such a form was
// read by net/http, which skips what it can't decode. With a [File] among its
// fields a form is multipart/form-data, in the form of RFC 2046, section 5.1.1, that all
// programs read alike: lines of delimiters and headers end in CRLF, nothing is before the first
// delimiter, behind one in its line or after the last, fields of headers are in one line, and
// names have no extended form (RFC 7578, section 4.2).
//
// # Defaults
//
// A default tag says what holds where a parameter or a JSON member is left out:
//
//	Limit int      `query:"limit" default:"20" validate:"gte=1,lte=100"`
//	Sort  []string `query:"sort"  default:"name,-age"`
//
// It is written as a parameter would be, the elements of a slice with commas between them,
// for single values, pointers to them and slices of them. Null, false, 0, "" and [] are not
// left out. A default that can't be read, or breaks the rules of its own field, is an error
// of [New].
//
// # Answers
//
//	400  malformed_body, body_required, invalid_body, invalid_parameter
//	403  forbidden (of fields with a scope)
//	408  request_timeout
//	413  body_too_large
//	415  unsupported_media_type
//	422  validation_failed
//
// invalid_body, invalid_parameter and validation_failed list all errors at once
// (up to Config.MaxErrors). A pointer ends at the map or object whose member is wrong where
// the member's name is the client's choice, so it is made of declared names and
// indexes alone.
//
// # What it does not do
//
// There are no helpers that "sanitise" input, such as stripping tags. What is harmful
// depends on where a value goes, which nobody knows here: say what is allowed, and have it
// encoded where it is written, by html/template or with the parameters of a query.
//
// Rules that are regular expressions are Go's own, which take no more than linear time.
//
// # Documentation
//
// [Schema] returns the JSON Schema (2020-12) of a body, and [Validator.Rules] a list of all
// that is accepted, parameters too; both come of the same tags.
//
// # Rules
//
// The rules are those of go-playground/validator v10. All of them are tried at
// construction: an unknown rule, a parameter that is no number, a rule that
// doesn't fit the field's type or names a field that isn't there is an error of
// [New]. So is a slice or map of structs with rules that lacks "dive", since
// its elements would not be checked, and a rule that looks at the server's
// files, but for "timezone": for one T (in Items, for all) it looks for no more than 100 names that
// are none, and takes what it does not know by then for wrong. Know that "required" refuses 0, false and "" as well as nothing (use a
// pointer to tell them apart), that "gtfield" and its like are broken where the other field
// is a pointer to nothing, and without "omitempty" where their own is, and that "url" takes any scheme, javascript:
// too ("http_url" and "https_url" don't).
package validate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"reflect"
	"sync"
	"time"

	"github.com/go-playground/validator/v10"

	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/scope"
)

// Config says what is accepted. The zero Config is strict.
type Config struct {
	// MaxBytes is the size of the largest body, in bytes. 0 means 1 MiB.
	MaxBytes int64
	// MaxStreamBytes is the size of the largest body of [Validator.Items], in bytes, of which
	// MaxBytes bounds each line. 0 means 64 MiB.
	MaxStreamBytes int64
	// MaxStreamItems is how many items a body of [Validator.Items] may have. 0 means 100,000.
	MaxStreamItems int
	// MaxMemory is how much of a form with files is held in memory, in bytes: so much of its
	// fields, which may not be more, and as much again of its [File]s, of which those that
	// don't fit are kept in one temporary file in TempDir. 0 means 1 MiB, which is all of a
	// body that is no larger than MaxBytes is by default. While a part is read it takes up to
	// twice its size more.
	MaxMemory int64
	// TempDir is the directory for what is too large for MaxMemory. Empty is
	// [os.TempDir], which on some systems is memory too.
	TempDir string
	// MaxDepth is how many JSON arrays and objects may be nested. 0 means 32.
	MaxDepth int
	// MaxItems is how many elements one JSON array, members one JSON object and
	// repetitions one parameter may have. 0 means 10,000.
	MaxItems int
	// MaxValues is how many values a JSON body may have in all, arrays, objects
	// and their elements each counted. 0 means 50,000: decoded into an any, so
	// many take less than 10 MiB. The fields of a struct are counted whether they are sent or
	// not, since each takes memory and may break a rule, and what is below the members of maps
	// once more for each 128 bytes of their names.
	MaxValues int
	// MaxString is how many bytes one string of a JSON body may have as it is written, names
	// of members too, and one parameter once it is decoded. 0 means no bound but that of the body or of the
	// server on header sections.
	MaxString int
	// MaxErrors is how many errors one answer lists; those beyond it are left out. 0 means
	// 100.
	MaxErrors int
	// AllowGzip takes bodies of the content coding gzip as well. MaxBytes bounds both what
	// is sent and what comes of it, so that a small body that would become a large one is
	// refused as soon as it is too large. It must be one gzip member, with nothing after it.
	// Without AllowGzip every coding is answered with 415.
	AllowGzip bool
	// AllowUnknown skips JSON members that the type doesn't have instead of
	// refusing them. Those that differ from a known name only in case, and all
	// unknown fields of forms, are still refused.
	AllowUnknown bool
	// RefuseUnknownQuery refuses query parameters that no field is bound from.
	RefuseUnknownQuery bool
	// HasScope reports whether the caller of the request that ctx belongs to has a scope, for
	// fields with a scope tag, which only such callers may send:
	//
	//	Price float64 `json:"price" scope:"items:price"`
	//
	// Others that send one, if only as null, are answered with 403. It must be set if T has
	// such fields, and must be safe for concurrent use; with auth above it is
	//
	//	func(ctx context.Context, scope string) bool {
	//		id, ok := auth.FromContext(ctx)
	//		return ok && slices.Contains(id.Scopes, scope)
	//	}
	HasScope func(ctx context.Context, scope string) bool
	// Setup is called once, at construction, to register rules of your own:
	// validations, aliases, and struct-level rules that compare fields. Rules
	// must be safe for concurrent use and must not keep what they are given. New can't see
	// into them: that a list of structs whose only rules are registered here needs "dive",
	// that a struct embedded by a pointer is not checked where the pointer is nil, and which
	// fields an alias names, is yours to know. Clients read of a broken one that it "does not
	// satisfy the rule" of its name, unless Translator has a text: its English, if it has that,
	// where it has none in the language that was asked for.
	Setup func(*validator.Validate) error
	// Translator says in other languages what a rule wants. Nil: in English. The module
	// validate/translations has those of go-playground/validator.
	Translator Translator
	// CheckTimeout is how long the checks of [Validator.With] may take together. 0 means 5 s. A
	// check that does not heed its context goes on for longer, and the request is refused then.
	CheckTimeout time.Duration
}

// A Translator has the texts of rules in other languages than English. The client's
// Accept-Language chooses among them (RFC 9110, section 12.5.4; RFC 4647, section 3.4), and
// the answer says so with Content-Language and Vary.
type Translator interface {
	// Languages are the tags (BCP 47), such as "de" and "pt-BR". With "en" among them, a client
	// that prefers it gets the English of the Translator; else that of this package, as one does
	// that prefers none of them, but for rules that this package has no text for.
	Languages() []string
	// Translations is called once for each Validator, after Config.Setup. translate returns
	// what a broken rule wants in one of Languages, or "" where it has no text, and must be
	// safe for concurrent use. A rule's Field is the name that the client knows. Its Value
	// must not get into the text.
	Translations(*validator.Validate) (translate func(language string, rule validator.FieldError) string, err error)
}

const defaultMaxBytes = 1 << 20

// A Validator decodes and checks requests for a T. It is safe for concurrent
// use.
type Validator[T any] struct {
	plan   *plan
	lim    limits
	checks []func(context.Context, *T) error
}

// New returns a Validator for T, which may be a struct with tags, or any other
// type (any, a slice, a map, …) that the whole body is decoded into. What can't
// work, in cfg, in T's tags or in its rules, is an error that names the field.
func New[T any](cfg Config) (*Validator[T], error) {
	lim, err := cfg.limits()
	if err != nil {
		return nil, err
	}
	p, err := compile(reflect.TypeFor[T](), cfg.Setup, cfg.Translator)
	if err != nil {
		return nil, err
	}
	v := &Validator[T]{plan: p, lim: lim}
	if err := v.fits(); err != nil {
		return nil, err
	}
	return v, nil
}

// Decode returns the T that r holds. Its error is an [*httperr.Problem] with a
// status of 400, 403, 408, 413, 415 or 422, which [httperr.Write] renders; any other
// error is the server's fault: a rule or an UnmarshalJSON panicked. On error
// the T is zero. The body is consumed, within cfg's bound; w is told when it is
// exceeded, so that the server closes the connection.
func (v *Validator[T]) Decode(w http.ResponseWriter, r *http.Request) (T, error) {
	t, files, err := v.decode(w, r)
	if err != nil {
		var zero T
		return zero, err
	}
	if files != nil && files.file != nil {
		context.AfterFunc(r.Context(), files.close)
	}
	return *t, nil
}

// decode returns a T, and the files to be closed once it is not used any more.
func (v *Validator[T]) decode(w http.ResponseWriter, r *http.Request) (*T, *kept, error) {
	var files *kept
	if v.plan.files {
		files = new(kept)
	}
	done := false
	defer func() {
		if !done { // by an error, or a panic that goes on
			files.close()
		}
	}()
	t := new(T)
	if err := v.plan.decode(w, r, &v.lim, reflect.ValueOf(t).Elem(), files); err != nil {
		return nil, nil, err
	}
	if err := v.check(r.Context(), t); err != nil {
		return nil, nil, err
	}
	done = true
	return t, files, nil
}

// Wrap returns a handler that decodes each request and calls next with the T in
// its context, where [From] finds it. What is refused is answered by
// [httperr.Write], with one input_validation_fail event, and never reaches
// next. Wrap panics if next is nil.
func (v *Validator[T]) Wrap(next http.Handler) http.Handler {
	if next == nil {
		panic("validate: Wrap: the handler is nil")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, files, err := v.decode(w, r)
		if err != nil {
			httperr.Write(w, r, err)
			return
		}
		defer files.close()
		s, r := scope.For(r)
		s.Inputs = &scope.Input{Key: key[T]{}, Value: t, Next: s.Inputs}
		next.ServeHTTP(w, r)
	})
}

// Body returns a door that does what [Validator.Wrap] does, with the zero Config
// unless one is given. It panics where New returns an error, and if it gets more
// than one Config.
func Body[T any](cfg ...Config) func(http.Handler) http.Handler {
	c, err := only(cfg)
	if err != nil {
		panic(err.Error())
	}
	v, err := New[T](c)
	if err != nil {
		panic(err.Error())
	}
	return v.Wrap
}

// key is the key of T in the scope.
type key[T any] struct{}

// From returns the T that was decoded last for the request of ctx. It is false
// if no door above decodes a T. The T is a shallow copy: slices, maps and
// pointers in it are shared by all who ask.
func From[T any](ctx context.Context) (T, bool) {
	if s := scope.From(ctx); s != nil {
		for in := s.Inputs; in != nil; in = in.Next {
			if in.Key == any(key[T]{}) {
				return *in.Value.(*T), true
			}
		}
	}
	var zero T
	return zero, false
}

// MustFrom is From for handlers that have the door above: it panics, so that the request is a 500,
// if it is not there, where From's zero T could be taken for what was sent.
func MustFrom[T any](ctx context.Context) T {
	t, ok := From[T](ctx)
	if !ok {
		panic("validate: MustFrom: no door above decodes a " + typeName(reflect.TypeFor[T]()))
	}
	return t
}

// plans are those that Decode compiled, by type. Programs have finitely many.
var plans sync.Map // reflect.Type: *plan

// Decode is for handlers: it returns the T that r holds, as [Validator.Decode]
// does, with the zero Config unless one is given. T is compiled on first use;
// if it can't be, if Config is wrong, and if Config.Setup or Config.Translator is
// set (which take a [Validator] that is built once), the error is no Problem, so it
// becomes a 500.
func Decode[T any](w http.ResponseWriter, r *http.Request, cfg ...Config) (T, error) {
	var zero T
	c, err := only(cfg)
	if err != nil {
		return zero, err
	}
	if c.Setup != nil || c.Translator != nil {
		return zero, errors.New("validate: Decode: Config.Setup and Config.Translator need a Validator made by New")
	}
	lim, err := c.limits()
	if err != nil {
		return zero, err
	}
	typ := reflect.TypeFor[T]()
	p, ok := plans.Load(typ)
	if !ok {
		made, err := compile(typ, nil, nil)
		if err != nil {
			return zero, err
		}
		p, _ = plans.LoadOrStore(typ, made)
	}
	v := &Validator[T]{plan: p.(*plan), lim: lim}
	if err := v.fits(); err != nil {
		return zero, err
	}
	return v.Decode(w, r)
}

// fits returns an error if the limits don't fit the fields: for some callers, and no way to tell
// who they are, or for files that are larger than the body may be.
func (v *Validator[T]) fits() error {
	if v.plan.scoped != "" && v.lim.hasScope == nil {
		return fmt.Errorf("validate: %s: has a scope tag, which needs Config.HasScope", v.plan.scoped)
	}
	for _, p := range v.plan.params {
		if p.file != nil && p.file.max > v.lim.bytes {
			return fmt.Errorf("validate: %s: the file %q has a max of %d bytes, which is more than the %d of Config.MaxBytes", typeName(v.plan.typ), p.name, p.file.max, v.lim.bytes)
		}
	}
	return nil
}

func only(cfg []Config) (Config, error) {
	switch len(cfg) {
	case 0:
		return Config{}, nil
	case 1:
		return cfg[0], nil
	}
	return Config{}, errors.New("validate: more than one Config")
}

// limits are a Config without its Setup, with the defaults filled in.
type limits struct {
	bytes, stream      int64
	lines              int
	memory             int64
	dir                string
	depth, items       int
	values             int
	text, errors       int
	checks             time.Duration
	gzip               bool
	allowUnknown       bool
	refuseUnknownQuery bool
	hasScope           func(context.Context, string) bool
}

func (c Config) limits() (limits, error) {
	for _, f := range []struct {
		name string
		n    int64
	}{
		{"MaxBytes", c.MaxBytes},
		{"MaxStreamBytes", c.MaxStreamBytes},
		{"MaxStreamItems", int64(c.MaxStreamItems)},
		{"MaxMemory", c.MaxMemory},
		{"MaxDepth", int64(c.MaxDepth)},
		{"MaxItems", int64(c.MaxItems)},
		{"MaxValues", int64(c.MaxValues)},
		{"MaxString", int64(c.MaxString)},
		{"MaxErrors", int64(c.MaxErrors)},
		{"CheckTimeout", int64(c.CheckTimeout)},
	} {
		if f.n < 0 {
			return limits{}, fmt.Errorf("validate: Config.%s must not be negative", f.name)
		}
	}
	return limits{
		bytes: or(c.MaxBytes, defaultMaxBytes), stream: or(c.MaxStreamBytes, 64<<20), lines: or(c.MaxStreamItems, 100_000), memory: min(or(c.MaxMemory, 1<<20), math.MaxInt64-1), dir: c.TempDir, depth: or(c.MaxDepth, 32),
		items: or(c.MaxItems, 10_000), values: or(c.MaxValues, 50_000), text: or(c.MaxString, math.MaxInt),
		errors: or(c.MaxErrors, 100), checks: or(c.CheckTimeout, 5*time.Second), gzip: c.AllowGzip,
		allowUnknown: c.AllowUnknown, refuseUnknownQuery: c.RefuseUnknownQuery, hasScope: c.HasScope,
	}, nil
}

func or[N int | int64 | time.Duration](n, def N) N {
	if n == 0 {
		return def
	}
	return n
}
