package validate_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-playground/validator/v10"

	"github.com/sallyport/sallyport/validate"
)

// build is New without its result.
func build[T any]() error {
	_, err := validate.New[T](validate.Config{})
	return err
}

// Self is inside itself.
type Self struct{ *Self }

type rec struct {
	Kids []rec `json:"kids" validate:"dive"`
	N    int   `json:"n" validate:"gt=0"`
}

type recNoDive struct {
	Kids []recNoDive `json:"kids"`
	N    int         `json:"n" validate:"gt=0"`
}

type unexportedPointer struct {
	*hidden
}

type opaqueWithQuery struct {
	Q string `query:"q"`
}

func (*opaqueWithQuery) UnmarshalJSON([]byte) error { return nil }

type ruled struct {
	N int `json:"n" validate:"gt=0"`
}

type iface interface{ M() }

func TestConstructionErrors(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want []string // all in the error
	}{
		{"no tag", build[struct {
			Open string
		}](), []string{".Open", "json:\"-\""}},
		{"no tag in a nested struct", build[struct {
			In struct{ Open int } `json:"in"`
		}](), []string{"In.Open"}},
		{"all errors at once", build[struct {
			A string
			B chan int `json:"b"`
		}](), []string{".A", ".B"}},
		{"two sources", build[struct {
			A string `json:"a" query:"a"`
		}](), []string{".A", "both json and query"}},
		{"json and form", build[struct {
			A string `json:"a"`
			B string `form:"b"`
		}](), []string{"both json and form"}},
		{"nothing bound", build[struct{}](), []string{"no field"}},
		{"nothing bound but tags", build[struct {
			A string `json:"-"`
		}](), []string{"no field"}},
		{"unexported with a source", build[struct {
			a string `query:"a"`
			B string `json:"b"`
		}](), []string{".a", "unexported"}},
		{"unexported with rules", build[struct {
			a string `validate:"required"`
			B string `json:"b"`
		}](), []string{".a", "rules"}},
		{"query in the body", build[struct {
			In struct {
				A string `query:"a"`
			} `json:"in"`
		}](), []string{"In.A", "query"}},
		{"names that differ in case", build[struct {
			A string `json:"kind"`
			B string `json:"Kind"`
		}](), []string{".B", "case"}},
		{"names that look alike to encoding/json", build[struct {
			A string `json:"sub"`
			B string `json:"ſub"`
		}](), []string{".B", "case"}},
		{"same query name", build[struct {
			A string `query:"a"`
			B string `query:"a"`
		}](), []string{".B", ".A"}},
		{"same header", build[struct {
			A string `header:"X-A"`
			B string `header:"x-a"`
		}](), []string{".B", ".A"}},
		{"promoted twice", build[struct {
			Embedded
			E1 string `json:"e1"`
		}](), []string{".E1"}},
		{"embeds itself", build[Self](), []string{"Self", "itself"}},
		{"embedded pointer to unexported", build[unexportedPointer](), []string{"hidden", "unexported"}},
		{"embedded non-struct", build[struct {
			Embedded
			I
		}](), []string{".I"}},
		{"chan", build[struct {
			A chan int `json:"a"`
		}](), []string{".A", "chan int"}},
		{"interface with methods", build[struct {
			A iface `json:"a"`
		}](), []string{".A", "interface"}},
		{"map with integer keys", build[struct {
			A map[int]string `json:"a"`
		}](), []string{".A", "keys"}},
		{"map with keys that decode themselves", build[map[level]string](), []string{"keys"}},
		{"complex inside", build[[]map[string]complex128](), []string{"complex128"}},
		{"func behind pointers", build[**func()](), []string{"func()"}},
		{"interface type", build[iface](), []string{"interface"}},
		{"json name that can't be", build[struct {
			A string `json:"áb"`
		}](), []string{".A", "name"}},
		{"header name that can't be", build[struct {
			A string `header:"a b"`
		}](), []string{".A", "name"}},
		{"header name with a line break", build[struct {
			A string `header:"a\r\nb"`
		}](), []string{".A", "name"}},
		{"Host", build[struct {
			A string `header:"host"`
		}](), []string{".A", "host"}},
		{"cookie name that can't be", build[struct {
			A string `cookie:"a;b"`
		}](), []string{".A", "name"}},
		{"query without a name", build[struct {
			A string `query:""`
		}](), []string{".A", "name"}},
		{"query name with a control character", build[struct {
			A string `query:"a\n"`
		}](), []string{".A", "name"}},
		{"query name not in UTF-8", build[struct {
			A string `query:"\xff"`
		}](), []string{".A", "name"}},
		{"query option", build[struct {
			A string `query:"a,omitempty"`
		}](), []string{".A", "omitempty"}},
		{"query struct", build[struct {
			A Embedded `query:"a"`
		}](), []string{".A", "query"}},
		{"query bytes", build[struct {
			A []byte `query:"a"`
		}](), []string{".A", "[]byte"}},
		{"query map", build[struct {
			A map[string]string `query:"a"`
		}](), []string{".A", "query"}},
		{"query slice of pointers", build[struct {
			A []*string `query:"a"`
		}](), []string{".A", "query"}},
		{"query any", build[struct {
			A any `query:"a"`
		}](), []string{".A", "query"}},
		{"path slice", build[struct {
			A []string `path:"a"`
		}](), []string{".A", "slice"}},
		{"parameters of a type that decodes itself", build[opaqueWithQuery](), []string{"opaqueWithQuery.Q", "never bound"}},
		{"parameters behind a pointer", build[*login](), []string{"login.Name", "form"}},

		{"rules on a field that is never set", build[struct {
			A string `json:"-" validate:"required"`
			B string `json:"b"`
		}](), []string{".A", "bound from nothing"}},
		{"rules inside a field that is never set", build[struct {
			A ruled  `json:"-"`
			B string `json:"b"`
		}](), []string{".A", "bound from nothing"}},
		{"unknown rule", build[struct {
			A string `json:"a" validate:"required,nosuch"`
		}](), []string{".A", "nosuch"}},
		{"unknown rule in a parameter", build[struct {
			A string `query:"a" validate:"nosuch"`
		}](), []string{".A", "nosuch"}},
		{"unknown rule deep inside", build[struct {
			A []map[string]struct {
				B string `json:"b" validate:"omitempty,nosuch"`
			} `json:"a" validate:"dive,dive"`
		}](), []string{"A.B", "nosuch"}},
		{"unknown rule among alternatives", build[struct {
			A string `json:"a" validate:"email|nosuch"`
		}](), []string{".A", "nosuch"}},
		{"unknown rule for keys", build[struct {
			A map[string]int `json:"a" validate:"dive,keys,nosuch,endkeys,gt=0"`
		}](), []string{".A", "nosuch"}},
		{"empty rule", build[struct {
			A string `json:"a" validate:"required,,email"`
		}](), []string{".A", "empty"}},
		{"parameter that is no number", build[struct {
			A int `json:"a" validate:"omitempty,gt=abc"`
		}](), []string{".A", "gt=abc"}},
		{"parameter that is no number, hidden by another rule", build[struct {
			A string `json:"a" validate:"required,email,min=two"`
		}](), []string{".A", "min=two"}},
		{"rule that doesn't fit the type", build[struct {
			A int `json:"a" validate:"email|url"`
		}](), []string{".A", "url"}},
		{"rule that doesn't fit a bool", build[struct {
			A bool `json:"a" validate:"min=1"`
		}](), []string{".A", "min=1"}},
		{"rule that doesn't fit all that an any can be", build[struct {
			A any `json:"a" validate:"omitempty,min=1"`
		}](), []string{".A", "min=1"}},
		{"rule that doesn't fit a struct", build[struct {
			A Embedded `json:"a" validate:"min=1"`
		}](), []string{".A", "min=1"}},
		{"rule that doesn't fit behind a pointer", build[struct {
			A *bool `json:"a" validate:"omitempty,gt=1"`
		}](), []string{".A", "gt=1"}},
		{"odd parameters", build[struct {
			A string `json:"a" validate:"required_if=B"`
			B string `json:"b"`
		}](), []string{".A", "required_if"}},
		{"value that doesn't fit the other field", build[struct {
			A string `json:"a" validate:"required_if=B x"`
			B int    `json:"b"`
		}](), []string{".A", "required_if"}},
		{"other field that isn't there", build[struct {
			A string `json:"a" validate:"eqfield=B"`
		}](), []string{".A", `"B"`}},
		{"other field by its wire name", build[struct {
			A string `json:"a" validate:"required_with=b"`
			B string `json:"b"`
		}](), []string{".A", `"b"`}},
		{"other field of the top", build[struct {
			A struct {
				B string `json:"b" validate:"eqcsfield=A.C"`
			} `json:"a"`
		}](), []string{"A.B", `"A.C"`}},
		{"other field below no struct", build[struct {
			A string `json:"a" validate:"eqfield=B.C"`
			B string `json:"b"`
		}](), []string{".A", `"B.C"`}},
		{"index into no list", build[struct {
			A string `json:"a" validate:"eqfield=B[0]"`
			B string `json:"b"`
		}](), []string{".A", `"B[0]"`}},
		{"no other field", build[struct {
			A string `json:"a" validate:"eqfield"`
		}](), []string{".A", "eqfield"}},
		{"rule of lengths only", build[struct {
			A []string `json:"a" validate:"eqfield=B"`
			B []string `json:"b"`
		}](), []string{".A", "lengths"}},
		{"unique of what can't be compared", build[struct {
			A []any `json:"a" validate:"unique"`
		}](), []string{".A", "unique"}},
		{"unique of slices", build[struct {
			A [][]string `json:"a" validate:"unique"`
		}](), []string{".A", "unique"}},
		{"unique of arrays of structs with an any", build[struct {
			A [][2]struct {
				B any `json:"b"`
			} `json:"a" validate:"unique"`
		}](), []string{".A", "unique"}},
		{"unique by a field that isn't there", build[struct {
			A []Embedded `json:"a" validate:"unique=E9"`
		}](), []string{".A", "E9"}},
		{"unique by a field of no struct", build[struct {
			A []string `json:"a" validate:"unique=E9"`
		}](), []string{".A", "E9"}},
		{"method that isn't there", build[struct {
			A string `json:"a" validate:"validateFn=Check"`
		}](), []string{".A", "Check"}},
		{"default method that isn't there", build[struct {
			A string `json:"a" validate:"validateFn"`
		}](), []string{".A", "Validate"}},
		{"file", build[struct {
			A string `json:"a" validate:"omitempty,file"`
		}](), []string{".A", "files"}},
		{"one of alternatives is dir", build[struct {
			A string `query:"a" validate:"alpha|dir"`
		}](), []string{".A", "files"}},
		{"no dive", build[struct {
			A []ruled `json:"a" validate:"max=3"`
		}](), []string{".A", "dive"}},
		{"no tag at all, no dive", build[struct {
			A []ruled `json:"a"`
		}](), []string{".A", "dive"}},
		{"no dive into a map of pointers", build[struct {
			A map[string]*ruled `json:"a"`
		}](), []string{".A", "dive"}},
		{"no dive into an array", build[struct {
			A [2]ruled `json:"a"`
		}](), []string{".A", "dive"}},
		{"no second dive", build[struct {
			A [][]ruled `json:"a" validate:"dive,max=3"`
		}](), []string{".A", "dive"}},
		{"no dive into itself", build[recNoDive](), []string{"Kids", "dive"}},
		{"no dive inside an element", build[[]recNoDive](), []string{"Kids", "dive"}},
		{"dive into nothing", build[struct {
			A string `json:"a" validate:"dive,required"`
		}](), []string{".A", "dive"}},
		{"keys without dive", build[struct {
			A map[string]int `json:"a" validate:"keys,required,endkeys"`
		}](), []string{".A", "keys"}},
		{"keys of a slice", build[struct {
			A []int `json:"a" validate:"dive,keys,required,endkeys"`
		}](), []string{".A", "keys"}},
		{"inside itself alone", build[treeOfMaps](), []string{"treeOfMaps", "inside itself"}},
		{"inside itself alone, in a field", build[struct {
			A []listOfLists `json:"a"`
		}](), []string{".A", "inside itself"}},
		{"a pointer to itself", build[struct {
			A pointerToSelf `json:"a"`
		}](), []string{".A", "inside itself"}},
		{"inside itself, left alone", build[struct {
			A treeOfMaps `json:"-"`
		}](), []string{"no field"}},
		{"a rule without its parameter", build[struct {
			A string   `json:"a" validate:"startswith"`
			B string   `json:"b" validate:"alpha|contains="`
			C string   `json:"c" validate:"required_if"`
			D []string `json:"d" validate:"dive,noneof"`
		}](), []string{".A", ".B", ".C", ".D", "startswith=", "contains=", "required_if=", "noneof="}},
		{"a parameter that is not heeded", build[struct {
			A string `json:"a" validate:"url=https"`
			B string `json:"b" validate:"omitempty,email=example.com"`
		}](), []string{".A", ".B", `"https"`, "takes none"}},
		{"another field of any kind", build[struct {
			Kind any    `json:"kind"`
			A    string `json:"a" validate:"required_if=Kind a"`
		}](), []string{".A", "can't be checked", " in Kind: "}},
		{"another field that may be nothing", build[struct {
			Country *string `json:"country"`
			A       string  `json:"a" validate:"omitempty,postcode_iso3166_alpha2_field=Country"`
		}](), []string{".A", "can't be checked"}},
		{"the server's files behind an alias", func() error {
			_, err := validate.New[struct {
				A string `json:"a" validate:"document"`
			}](validate.Config{Setup: func(v *validator.Validate) error {
				v.RegisterAlias("document", "max=100,file")
				return nil
			}})
			return err
		}(), []string{".A", "which files the server has"}},
		{"scopes below what decodes itself", build[struct {
			A selfMade     `json:"a"`
			B selfMadeList `json:"b"`
		}](), []string{".A", ".B", "Price", "scope"}},
		{"a query in a struct inside what decodes itself", build[opaqueWithEmbedded](), []string{"opaqueWithQuery.Q", "never bound"}},
		{"keys without end", build[struct {
			A map[string]int `json:"a" validate:"dive,keys,required"`
		}](), []string{".A", "endkeys"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.err == nil {
				t.Fatal("got nil, want an error")
			}
			got := tt.err.Error()
			if !strings.HasPrefix(got, "validate: ") {
				t.Errorf("got %q, want it to begin with validate:", got)
			}
			for _, w := range tt.want {
				if !strings.Contains(got, w) {
					t.Errorf("got %q, want it to name %s", got, w)
				}
			}
		})
	}
}

type (
	treeOfMaps    map[string]treeOfMaps
	listOfLists   []listOfLists
	pointerToSelf *pointerToSelf
)

type treeThatReadsItself map[string]treeThatReadsItself

func (treeThatReadsItself) UnmarshalJSON([]byte) error { return nil }

type dear struct {
	Price int `json:"price" scope:"items:price"`
}

// A selfMade has a scope only further below.
type selfMade struct{ In []*dear }

func (*selfMade) UnmarshalJSON([]byte) error { return nil }

type selfMadeList []struct{ dear }

func (*selfMadeList) UnmarshalText([]byte) error { return nil }

type opaqueWithEmbedded struct {
	embeddedQuery
}

type embeddedQuery struct{ opaqueWithQuery }

func (*opaqueWithEmbedded) UnmarshalJSON([]byte) error { return nil }

func TestConstructionAccepts(t *testing.T) {
	for name, err := range map[string]error{
		"every kind": build[kinds](),
		"recursive":  build[rec](),
		"search":     build[search](),
		"any":        build[any](),
		"named any":  build[json.Marshaler](), // an interface with methods: refused
		"opted out": build[struct {
			A []ruled `json:"a" validate:"-"`
		}](),
		"struct only": build[struct {
			A ruled `json:"a" validate:"structonly"`
		}](),
		"of elements": build[struct {
			A []string `json:"a" validate:"max=3,dive,email"`
		}](),
		"of keys": build[struct {
			A map[string]ruled `json:"a" validate:"dive,keys,alpha,endkeys"`
		}](),
		"unique": build[struct {
			A []string `json:"a" validate:"unique"`
		}](),
		"unique field": build[struct {
			A []*Embedded `json:"a" validate:"unique=E1"`
		}](),
		"unique of a map": build[struct {
			A map[string]int `json:"a" validate:"unique"`
		}](),
		"crossed": build[struct {
			A string   `json:"a" validate:"eqfield=C.E1"`
			B string   `json:"b" validate:"required_if=A x L 2"`
			C Embedded `json:"c"`
			L []string `json:"l"`
			D string   `json:"d" validate:"eqfield=L[0]"`
			E string   `json:"e" validate:"required_with=A B"`
		}](),
		"promoted": build[struct {
			Embedded
			A string `json:"a" validate:"eqfield=E1"`
		}](),
		"from the top": build[struct {
			A string `json:"a"`
			B struct {
				C string `json:"c" validate:"eqcsfield=A"`
			} `json:"b"`
		}](),
		"left alone": build[struct {
			A ruled `json:"-" validate:"-"`
			B int   `json:"b"`
		}](),
		"method": build[struct {
			A checked `json:"a" validate:"validateFn=Good"`
		}](),
		"a pointer to a pointer": build[**ruled](),
		"an alias": func() error {
			_, err := validate.New[struct {
				A string `json:"a" validate:"short=3"`
			}](validate.Config{Setup: func(v *validator.Validate) error {
				v.RegisterAlias("short", "max=100")
				return nil
			}})
			return err
		}(),
		"a rule of one's own with a parameter": func() error {
			_, err := validate.New[struct {
				A string `json:"a" validate:"url=https"`
			}](validate.Config{Setup: func(v *validator.Validate) error {
				return v.RegisterValidation("url", func(validator.FieldLevel) bool { return true })
			}})
			return err
		}(),
		"rules of one's own by known names": func() error {
			_, err := validate.New[struct {
				A string `json:"a" validate:"datetime"`
			}](validate.Config{Setup: func(v *validator.Validate) error {
				return v.RegisterValidation("datetime", func(validator.FieldLevel) bool { return true })
			}})
			return err
		}(),
		"another field that is left alone": build[struct {
			Log fmt.Stringer `json:"-" validate:"-"`
			A   string       `json:"a" validate:"required_without=Log"`
		}](),
		"a list of what is inside itself and reads itself": build[[]treeThatReadsItself](),
		"another field of any kind that is only there": build[struct {
			Kind any    `json:"kind"`
			A    string `json:"a" validate:"required_with=Kind"`
		}](),
		"another field that is a list": build[struct {
			L []string `json:"l"`
			A string   `json:"a" validate:"required_if=L 2"`
		}](),
		"any required": build[struct {
			A any `json:"a" validate:"required"`
		}](),
		"time": build[struct {
			A time.Time `json:"a" validate:"required,gt"`
		}](),
		"duration": build[struct {
			A time.Duration `query:"a" validate:"min=1s"`
		}](),
	} {
		if refused := name == "named any"; (err != nil) != refused {
			t.Errorf("%s: got %v, want refused %t", name, err, refused)
		}
	}
}

type checked string

// Good is called by a rule.
func (c checked) Good() bool { return c != "bad" }

// Base is promoted.
type Base struct {
	Owner string `json:"owner" validate:"required"`
}

type Generic[T any] struct {
	V T `json:"v" validate:"required"`
}

func TestPlacesAndMessages(t *testing.T) {
	type inner struct {
		Dotted string `json:"a.b[0]~/" validate:"required"`
	}
	type in struct {
		Base
		Inner   inner                         `json:"inner"`
		Pointer *inner                        `json:"pointer"`
		Deep    [][]inner                     `json:"deep" validate:"dive,dive"`
		Map     map[string]inner              `json:"map" validate:"dive"`
		Keys    map[string]int                `json:"keys" validate:"dive,keys,alpha,endkeys,gt=0"`
		Nested  map[string]map[string][]inner `json:"nested" validate:"dive,dive,dive"`
		Generic Generic[string]               `json:"generic"`
		Pass    string                        `json:"pass"`
		Again   string                        `json:"again-pass" validate:"eqfield=Pass"`
		Kind    string                        `json:"kind" validate:"omitempty,oneof=red 'light blue'"`
		Color   string                        `json:"color" validate:"omitempty,iscolor"`
		Mixed   string                        `json:"mixed" validate:"omitempty,len=3|email"`
		Min     string                        `json:"min" validate:"omitempty,min=3"`
		Len     []int                         `json:"len" validate:"omitempty,len=2"`
		Max     float64                       `json:"max" validate:"lte=10"`
		When    time.Time                     `json:"when" validate:"omitempty,lt"`
		Page    int                           `query:"page" validate:"lt=100"`
		Lang    string                        `header:"X-Lang" validate:"omitempty,len=2"`
		ID      string                        `path:"id" validate:"omitempty,uuid"`
		Session string                        `cookie:"s" validate:"omitempty,hexadecimal"`
		Custom  string                        `json:"custom" validate:"omitempty,even"`
	}
	v, err := validate.New[in](validate.Config{Setup: func(v *validator.Validate) error {
		v.RegisterStructValidation(func(sl validator.StructLevel) {
			if d := sl.Current().Interface().(in); d.Pass == "crossed" {
				sl.ReportError(d.Pass, "Pass", "Pass", "weak", "")
				sl.ReportError(d.Pass, "nowhere", "Nowhere", "weak", "")
				sl.ReportError(nil, "Pass", "", "weak", "")
			}
		}, in{})
		// what a Setup does to names and tags must not reach clients
		v.SetTagName("json")
		v.RegisterTagNameFunc(func(f reflect.StructField) string { return "x." + f.Name + "[9]" })
		return v.RegisterValidation("even", func(fl validator.FieldLevel) bool { return len(fl.Field().String())%2 == 0 })
	}})
	if err != nil {
		t.Fatal(err)
	}
	const ok = `"owner":"o","inner":{"a.b[0]~/":"x"},"generic":{"v":"x"}`
	tests := []struct{ doc, where, detail string }{
		{`"owner":"","inner":{"a.b[0]~/":"x"},"generic":{"v":"x"}`, "body /owner required", "is required"},
		{`"owner":"o","generic":{"v":"x"}`, "body /inner/a.b[0]~0~1 required", "is required"},
		{`"owner":"o","inner":{"a.b[0]~/":"x"}`, "body /generic/v required", "is required"},
		{ok + `,"pointer":{}`, "body /pointer/a.b[0]~0~1 required", "is required"},
		{ok + `,"deep":[[],[{"a.b[0]~/":"x"},{}]]`, "body /deep/1/1/a.b[0]~0~1 required", "is required"},
		{ok + `,"map":{"a].Dotted[0":{}}`, "body /map required", "is required"},
		{ok + `,"keys":{"1":1}`, "body /keys alpha", "must have ASCII letters only"},
		{ok + `,"keys":{"a":0}`, "body /keys gt", "must be greater than 0"},
		{ok + `,"nested":{"a":{"b":[{}]}}`, "body /nested required", "is required"},
		{ok + `,"pass":"a","again-pass":"b"`, "body /again-pass eqfield", "must equal pass"},
		{ok + `,"pass":"crossed","again-pass":"crossed"`, "body /pass weak, body  weak, body /pass weak", "does not satisfy the rule weak"},
		{ok + `,"kind":"blue"`, "body /kind oneof", "must be one of red, light blue"},
		{ok + `,"color":"blue"`, "body /color iscolor", "must be a color"},
		{ok + `,"mixed":"abcd"`, "body /mixed len|email", "does not satisfy the rule len|email"},
		{ok + `,"min":"é"`, "body /min min", "must be at least 3 characters long"},
		{ok + `,"len":[1]`, "body /len len", "must be exactly 2 in number"},
		{ok + `,"max":11`, "body /max lte", "must be at most 10"},
		{ok + `,"when":"2926-01-01T00:00:00Z"`, "body /when lt", "must be in the past"},
		{ok + `,"custom":"odd"`, "body /custom even", "does not satisfy the rule even"},
		{"query", "query /page lt", "must be less than 100"},
		{"header", "header /X-Lang len", "must be exactly 2 characters long"},
		{"path", "path /id uuid", "must be a UUID"},
		{"cookie", "cookie /s hexadecimal", "must be hexadecimal"},
	}
	for _, tt := range tests {
		r := post("{" + tt.doc + "}")
		if tt.doc[0] != '"' {
			r = post("{" + ok + "}")
		}
		switch tt.doc {
		case "query":
			r.URL.RawQuery = "page=100"
		case "header":
			r.Header.Set("X-Lang", "eng")
		case "path":
			r.SetPathValue("id", "7")
		case "cookie":
			r.Header.Set("Cookie", "s=xyz")
		}
		_, err := v.Decode(nop{}, r)
		p := problem(t, err)
		if p == nil || p.Status != 422 || (answer{Errors: p.Fields}).places() != tt.where || p.Fields[0].Detail != tt.detail {
			t.Errorf("%s: got %+v, want %s: %s", tt.doc, p, tt.where, tt.detail)
		}
	}
	if _, err := v.Decode(nop{}, post("{"+ok+"}")); err != nil {
		t.Errorf("got %v, want nil", err)
	}
}

// Each rule with a message of its own has one that fits the kind of value.
func TestMessages(t *testing.T) {
	check := func(err error, want string) {
		t.Helper()
		p := problem(t, err)
		if p == nil || p.Status != 422 || len(p.Fields) != 1 || p.Fields[0].Detail != want {
			t.Errorf("got %+v, want %q", p, want)
		}
	}
	type str struct {
		A string `json:"a" validate:"max=1"`
	}
	type eq struct {
		A string `json:"a" validate:"eq=x"`
	}
	type ne struct {
		A string `json:"a" validate:"ne=x"`
	}
	type num struct {
		A int `json:"a" validate:"eq=5"`
	}
	type longer struct {
		A []int `json:"a" validate:"gt=1"`
	}
	type future struct {
		A time.Time `json:"a" validate:"gt"`
	}
	type noneof struct {
		A string `json:"a" validate:"noneof=x y"`
	}
	type contains struct {
		A string `json:"a" validate:"contains=x"`
	}
	type excludes struct {
		A string `json:"a" validate:"excludes=x"`
	}
	type starts struct {
		A string `json:"a" validate:"startswith=x"`
	}
	type ends struct {
		A string `json:"a" validate:"endswith=x"`
	}
	type date struct {
		A string `json:"a" validate:"datetime=2006-01-02"`
	}
	type crossed struct {
		A string `json:"a" validate:"eqfield=B.A"`
		B str    `json:"b"`
	}
	type crossedUnknown struct {
		A int `json:"a" validate:"gtfield=b"`
		b int
	}
	decode := func(err error, want string) { check(err, want) }
	decode(errOf(validate.Decode[str](nop{}, post(`{"a":"xy"}`))), "must be at most 1 character long")
	decode(errOf(validate.Decode[eq](nop{}, post(`{"a":"y"}`))), "must be exactly x")
	decode(errOf(validate.Decode[ne](nop{}, post(`{"a":"x"}`))), "must not be x")
	decode(errOf(validate.Decode[num](nop{}, post(`{"a":6}`))), "must be 5")
	decode(errOf(validate.Decode[longer](nop{}, post(`{"a":[1]}`))), "must be more than 1 in number")
	decode(errOf(validate.Decode[future](nop{}, post(`{"a":"2006-01-02T15:04:05Z"}`))), "must be in the future")
	decode(errOf(validate.Decode[noneof](nop{}, post(`{"a":"x"}`))), "must be none of x, y")
	decode(errOf(validate.Decode[contains](nop{}, post(`{"a":"y"}`))), "must contain x")
	decode(errOf(validate.Decode[excludes](nop{}, post(`{"a":"x"}`))), "must not contain x")
	decode(errOf(validate.Decode[starts](nop{}, post(`{"a":"y"}`))), "must begin with x")
	decode(errOf(validate.Decode[ends](nop{}, post(`{"a":"y"}`))), "must end with x")
	decode(errOf(validate.Decode[date](nop{}, post(`{"a":"y"}`))), "must be a date and time in the form 2006-01-02")
	decode(errOf(validate.Decode[crossed](nop{}, post(`{"a":"y","b":{"a":"x"}}`))), "does not satisfy the rule eqfield")
	decode(errOf(validate.Decode[crossedUnknown](nop{}, post(`{"a":0}`))), "does not satisfy the rule gtfield")
	_ = crossedUnknown{}.b
}

func errOf[T any](_ T, err error) error { return err }

func TestASVS_2_1_1_RulesAreListed(t *testing.T) {
	type in struct {
		ID    int              `path:"id" validate:"gt=0"`
		Tags  []string         `query:"tag" validate:"max=3,dive,alpha"`
		Wait  time.Duration    `query:"wait"`
		Name  string           `json:"name" validate:"required,max=20"`
		Mail  *string          `json:"mail" validate:"required_if=Name x,omitempty,email"`
		Again string           `json:"again" validate:"eqfield=Name"`
		Items []line           `json:"items" validate:"min=1,unique=SKU,dive"`
		Attrs map[string][]int `json:"attrs" validate:"dive,keys,alpha,endkeys,max=2,dive,gt=0"`
		Tree  *tree            `json:"tree"`
		Any   any              `json:"any"`
		Raw   json.RawMessage  `json:"raw"`
		Ok    bool             `json:"ok"`
		Far   string           `json:"far" validate:"excluded_with=Tree.V"`
	}
	v, err := validate.New[in](validate.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range v.Rules() {
		got = append(got, fmt.Sprintf("%s %s %s %s", r.Location, r.Path, r.Type, strings.Join(r.Rules, ",")))
	}
	want := []string{
		"path /id integer gt=0",
		"query /tag array max=3",
		"query /tag/* string alpha",
		"query /wait string ",
		"body /name string required,max=20",
		"body /mail string required_if=name x,omitempty,email",
		"body /again string eqfield=name",
		"body /items array min=1,unique",
		"body /items/* object ",
		"body /items/*/sku string required,alphanum",
		"body /items/*/count integer gte=1",
		"body /attrs object keys,alpha,endkeys",
		"body /attrs/* array max=2",
		"body /attrs/*/* integer gt=0",
		"body /tree object ",
		"body /tree/v integer ",
		"body /tree/kids array ",
		"body /tree/kids/* object ",
		"body /any any ",
		"body /raw other ",
		"body /ok boolean ",
		"body /far string excluded_with=field 1",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	list, err := validate.New[[]float64](validate.Config{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(list.Rules())
	if want := `[{"location":"body","path":"","type":"array"},{"location":"body","path":"/*","type":"number"}]`; err != nil || string(b) != want {
		t.Errorf("got %s, %v, want %s", b, err, want)
	}
}

func TestASVS_2_2_3_CrossFieldRules(t *testing.T) {
	type stay struct {
		From   time.Time `json:"from" validate:"required"`
		To     time.Time `json:"to" validate:"required,gtfield=From"`
		Kind   string    `json:"kind" validate:"oneof=room suite"`
		Butler string    `json:"butler" validate:"required_if=Kind suite"`
	}
	v, err := validate.New[stay](validate.Config{Setup: func(v *validator.Validate) error {
		v.RegisterStructValidation(func(sl validator.StructLevel) {
			if s := sl.Current().Interface().(stay); s.To.Sub(s.From) > 30*24*time.Hour {
				sl.ReportError(s.To, "To", "To", "max_stay", "")
			}
		}, stay{})
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	for doc, want := range map[string]string{
		`{"from":"2026-01-01T00:00:00Z","to":"2026-01-02T00:00:00Z","kind":"room"}`:                "",
		`{"from":"2026-01-02T00:00:00Z","to":"2026-01-01T00:00:00Z","kind":"room"}`:                "body /to gtfield",
		`{"from":"2026-01-01T00:00:00Z","to":"2026-01-02T00:00:00Z","kind":"suite"}`:               "body /butler required_if",
		`{"from":"2026-01-01T00:00:00Z","to":"2026-03-02T00:00:00Z","kind":"suite","butler":"Jo"}`: "body /to max_stay",
	} {
		_, err := v.Decode(httptest.NewRecorder(), post(doc))
		got := ""
		if p := problem(t, err); p != nil {
			got = (answer{Errors: p.Fields}).places()
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", doc, got, want)
		}
	}
}

// A rule on a struct is checked, though the validator skips it by default.
func TestRequiredStruct(t *testing.T) {
	type in struct {
		A Embedded `json:"a" validate:"required"`
	}
	_, err := validate.Decode[in](nop{}, post(`{}`))
	if p := problem(t, err); p == nil || (answer{Errors: p.Fields}).places() != "body /a required" {
		t.Errorf("got %+v, want /a required", p)
	}
}

// A rule for a whole struct is checked in a type that has no other.
func TestSetupIsEnough(t *testing.T) {
	setup := validate.Config{Setup: func(v *validator.Validate) error {
		v.RegisterStructValidation(func(sl validator.StructLevel) {
			if sl.Current().Interface().(one).A == 7 {
				sl.ReportError(7, "A", "A", "seven", "")
			}
		}, one{})
		return nil
	}}
	v, err := validate.New[one](setup)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Decode(nop{}, post(`{"a":7}`)); problem(t, err) == nil || problem(t, err).Status != 422 {
		t.Errorf("got %v, want a 422", err)
	}
	list, err := validate.New[[]one](setup)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := list.Decode(nop{}, post(`[{"a":1},{"a":7}]`)); problem(t, err) == nil || problem(t, err).Fields[0].Pointer != "/1/a" {
		t.Errorf("got %v, want /1/a", err)
	}
}

func TestSetupErrorIsKept(t *testing.T) {
	no := errors.New("no")
	if _, err := validate.New[one](validate.Config{Setup: func(*validator.Validate) error { return no }}); !errors.Is(err, no) {
		t.Errorf("got %v, want it to wrap %v", err, no)
	}
	// A struct-level rule that panics on a plain value is found at construction.
	_, err := validate.New[ruled](validate.Config{Setup: func(v *validator.Validate) error {
		v.RegisterStructValidation(func(validator.StructLevel) { panic("at once") }, ruled{})
		return nil
	}})
	if err == nil || !strings.Contains(err.Error(), "at once") {
		t.Errorf("got %v, want the panic", err)
	}
}

// The system's files are asked for few names that are none.
func TestTimeZones(t *testing.T) {
	type in struct {
		Zones []string `json:"zones" validate:"dive,timezone"`
	}
	v, err := validate.New[in](validate.Config{MaxErrors: 5000, MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	body := func(zone func(int) string) string {
		zones := make([]string, 5000)
		for i := range zones {
			zones[i] = zone(i)
		}
		b, _ := json.Marshal(in{zones})
		return string(b)
	}
	for _, tt := range []struct {
		name  string
		zone  func(int) string
		wrong int
	}{
		{"of the system", func(i int) string { return []string{"Europe/Berlin", "UTC", "America/Argentina/Buenos_Aires"}[i%3] }, 0},
		{"made up", func(i int) string { return fmt.Sprintf("Europe/Nowhere%d", i) }, 5000},
		{"one that is made up", func(i int) string { return []string{"Europe/Berlin", "Local/x"}[max(0, i-4998)] }, 1},
		{"in another form", func(i int) string { return "Europe/" + strings.Repeat("./", i%9+1) + "Berlin" }, 5000},
		{"empty", func(int) string { return "" }, 5000},
		{"one that is not known yet behind 100 that are made up", func(i int) string { return []string{"x" + fmt.Sprint(i), "Asia/Tokyo"}[max(0, i-4998)] }, 5000},
		{"those that are known behind those that are made up", func(i int) string { return []string{"x" + fmt.Sprint(i), "Europe/Berlin"}[i/2500] }, 2500},
	} {
		a, _, _, _ := serve(t, v.Wrap, post(body(tt.zone)))
		if len(a.Errors) != tt.wrong {
			t.Errorf("%s: %d are wrong, want %d", tt.name, len(a.Errors), tt.wrong)
		}
	}
}

// An alias stands in no tag, and has its rules' bounds all the same.
func TestTimeZonesBehindAnAlias(t *testing.T) {
	v, err := validate.New[[]struct {
		Zone string `json:"zone" validate:"place"`
	}](validate.Config{MaxErrors: 1000, Setup: func(v *validator.Validate) error {
		v.RegisterAlias("place", "required,timezone")
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = v.Decode(nop{}, post("["+strings.Repeat(`{"zone":"Nowhere/Town"},`, 100)+`{"zone":"Asia/Baghdad"}]`))
	if p := problem(t, err); p == nil || len(p.Fields) != 101 { // nobody looks for the last one any more
		t.Errorf("got %v", err)
	}
}
