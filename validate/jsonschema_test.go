package validate_test

import (
	"encoding/json"
	"fmt"
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
		"what a schema can't say": {
			func() (json.RawMessage, error) { return validate.Schema[whole]() },
			`{"$schema":"https://json-schema.org/draft/2020-12/schema","additionalProperties":false,"properties":{` +
				`"bytes":{"contentEncoding":"base64","type":"string","x-rules":["max=3"]},` +
				`"email":{"format":"email","minLength":1,"type":"string","x-rules":["email"]},` +
				`"since":{"allOf":[{"not":{"const":0}}],"default":3,"format":"int64","type":"integer"},` +
				`"tags":{"items":{"type":"string","x-rules":["alpha|ascii"]},"type":"array","x-rules":["unique"]},` +
				`"until":{"format":"int64","type":"integer","x-rules":["gtfield=since"]},` +
				`"wait":{"format":"int64","type":"integer","x-rules":["max=0x10"]}},` +
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
