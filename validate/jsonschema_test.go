package validate_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/validate"
)

type town struct {
	City string `json:"city" validate:"required"`
	Next []town `json:"next" validate:"dive"`
}

// That a schema accepts what a validator does is tested with random documents, in
// internal/property. Here is what the rest looks like.
func TestSchema(t *testing.T) {
	type whole struct {
		Shop  string   `path:"shop" validate:"alphanum"`
		Email string   `json:"email" validate:"required,email"`
		Until int      `json:"until" validate:"gtfield=Since"`
		Since int      `json:"since" default:"3" validate:"required"`
		Tags  []string `json:"tags" validate:"unique,dive,alpha|ascii"`
		Bytes []byte   `json:"bytes" validate:"max=3"`
		Wait  int64    `json:"wait" validate:"max=0x10"`
	}
	const townSchema = `{"additionalProperties":false,"properties":{"city":{"minLength":1,"type":"string"},"next":{"items":{"$ref":"#/$defs/town"},"type":"array"}},"required":["city"],"type":"object"}`
	for name, tt := range map[string]struct {
		get  func() (json.RawMessage, error)
		want string
	}{
		"a type in itself": {
			func() (json.RawMessage, error) { return validate.Schema[[]town]() },
			`{"$defs":{"town":` + townSchema + `},"$schema":"https://json-schema.org/draft/2020-12/schema","items":{"$ref":"#/$defs/town"},"type":"array"}`,
		},
		"unknown members": {
			func() (json.RawMessage, error) {
				return validate.Schema[map[string]one](validate.Config{AllowUnknown: true})
			},
			`{"$defs":{"one":{"properties":{"a":{"format":"int64","type":"integer"}},"type":"object"}},"$schema":"https://json-schema.org/draft/2020-12/schema","additionalProperties":{"$ref":"#/$defs/one"},"type":"object"}`,
		},
		"parameters as the validator reads them": {
			func() (json.RawMessage, error) {
				return validate.Schema[struct {
					Name  string `json:"name" validate:"oneof=o'neil 'a b' x"`
					Octal int    `json:"octal" validate:"oneof=010 2"`
					Least uint8  `json:"least" validate:"min=010"`
				}]()
			},
			`{"$schema":"https://json-schema.org/draft/2020-12/schema","additionalProperties":false,"properties":{` +
				`"least":{"allOf":[{"minimum":8}],"maximum":255,"minimum":0,"type":"integer"},` +
				`"name":{"allOf":[{"enum":["oneil","a b","x"]}],"type":"string"},` +
				`"octal":{"format":"int64","type":"integer","x-rules":["oneof=010 2"]}},"required":["name","octal","least"],"type":"object"}`,
		},
		"what a schema can't say": {
			func() (json.RawMessage, error) { return validate.Schema[whole]() },
			`{"$schema":"https://json-schema.org/draft/2020-12/schema","additionalProperties":false,"properties":{` +
				`"bytes":{"contentEncoding":"base64","type":"string","x-rules":["max=3"]},` +
				`"email":{"format":"email","minLength":1,"type":"string","x-rules":["email"]},` +
				`"since":{"allOf":[{"not":{"const":0}}],"default":3,"format":"int64","type":"integer"},` +
				`"tags":{"items":{"type":"string","x-rules":["alpha|ascii"]},"type":"array","x-rules":["unique"]},` +
				`"until":{"format":"int64","type":"integer","x-rules":["gtfield=since"]},` +
				`"wait":{"format":"int64","maximum":16,"type":"integer"}},` +
				`"required":["email"],"type":"object"}`,
		},
	} {
		got, err := tt.get()
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: got %s, %v,\nwant %s", name, got, err, tt.want)
		}
	}
	for want, try := range map[string]func() (json.RawMessage, error){
		"has no JSON body": func() (json.RawMessage, error) { return validate.Schema[oneForm]() },
		"more than one":    func() (json.RawMessage, error) { return validate.Schema[one](validate.Config{}, validate.Config{}) },
		"is exported":      func() (json.RawMessage, error) { return validate.Schema[struct{ A int }]() },
	} {
		if _, err := try(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func ExampleSchema() {
	type newItem struct {
		Name  string  `json:"name"  validate:"required,max=80"`
		Price float64 `json:"price" validate:"gt=0"`
	}
	schema, err := validate.Schema[newItem]()
	if err != nil {
		fmt.Println(err)
	}
	fmt.Println(string(schema))
	// Output:
	// {"$schema":"https://json-schema.org/draft/2020-12/schema","additionalProperties":false,"properties":{"name":{"maxLength":80,"minLength":1,"type":"string"},"price":{"exclusiveMinimum":0,"type":"number"}},"required":["name","price"],"type":"object"}
}

// What a schema has no words for stands beside it, and never makes it another's.
func TestSchemaXRules(t *testing.T) {
	type odd struct {
		Short string          `json:"short" validate:"max=-1"`
		Long  []int           `json:"long" validate:"min=-1"`
		None  string          `json:"none" validate:"lt=0"`
		Bytes []byte          `json:"bytes" validate:"dive,max=9"`
		Raw   json.RawMessage `json:"raw" validate:"dive,max=9"`
		Any   *any            `json:"any" validate:"required"`
		Gone  *string         `json:"gone" validate:"isdefault"`
	}
	raw, err := validate.Schema[odd]()
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"short": `{"type":"string","x-rules":["max=-1"]}`,
		"long":  `{"items":{"type":"integer","format":"int64"},"type":"array","x-rules":["min=-1"]}`,
		"none":  `{"type":"string","x-rules":["lt=0"]}`,
		"bytes": `{"contentEncoding":"base64","type":"string","x-rules":["dive,max=9"]}`,
		"raw":   `{"x-rules":["dive,max=9"]}`,
		"any":   `{"x-rules":["required"]}`,
		"gone":  `{"anyOf":[{"type":"null"},{"type":"string","x-rules":["isdefault"]}]}`,
	} {
		var got, w any
		if json.Unmarshal(s.Properties[name], &got) != nil || json.Unmarshal([]byte(want), &w) != nil || !reflect.DeepEqual(got, w) {
			t.Errorf("%s: got %s, want %s", name, s.Properties[name], want)
		}
	}
}
