package validate

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

// Tags that package reflect does not see to their end are refused: a rule or a scope in them
// would not hold. They can't stand in source, which go vet checks.
func TestMalformedTags(t *testing.T) {
	for tag, want := range map[string]string{
		`json:"a" validate:"required"`:                 "",
		`  json:"a"  validate:"required,min=2"   `:     "",
		`json:"a" validate:"startswith=\"x\""`:         "",
		`json:"a" db:"" doc:"of ` + "\u00e9" + `: \\"`: "",
		`json:"a" doc:"one" doc:"two"`:                 "",
		`json:"a", validate:"required"`:                `a blank is missing before ", validate`,
		`json:"a";validate:"required"`:                 `a blank is missing`,
		`json:"a"validate:"required"`:                  `a blank is missing`,
		`json:"a" validate: "required"`:                `no further than to " validate: `,
		`json:"a" validate:required`:                   `no further than to " validate:required"`,
		`json:"a" validate :"required"`:                `no further than to`,
		`json:"a" required`:                            `no further than to`,
		`json:"a" scope:"x`:                            `no further than to`,
		`json:"a" scope:"\x"`:                          `scope has a value that can't be read`,
		`json:"a" validate:"max=3" validate:"min=1"`:   `or two`,
		`json:a`: `no further than to "json:a"`,
	} {
		typ := reflect.StructOf([]reflect.StructField{{Name: "A", Type: reflect.TypeFor[string](), Tag: reflect.StructTag(tag)}})
		_, err := compile(typ, nil, nil)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("`%s`: got %v, want %q", tag, err, want)
		}
	}
}

// The option "string" of a json tag is refused where it would mean nothing.
func TestOptionString(t *testing.T) {
	for typ, ok := range map[reflect.Type]bool{
		reflect.TypeFor[int]():           true,
		reflect.TypeFor[*bool]():         true,
		reflect.TypeFor[string]():        true,
		reflect.TypeFor[Optional[int]](): false,
		reflect.TypeFor[json.Number]():   false,
		reflect.TypeFor[[]int]():         false,
		reflect.TypeFor[time.Time]():     false,
	} {
		_, err := compile(reflect.StructOf([]reflect.StructField{{Name: "A", Type: typ, Tag: `json:"a,string"`}}), nil, nil)
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), ".A: ") {
			t.Errorf("%s: got %v, want ok %t", typ, err, ok)
		}
	}
}
