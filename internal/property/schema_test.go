package property_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"github.com/sallyport/sallyport/validate"
)

type schemaItem struct {
	Name  string            `json:"name" validate:"required,min=2,max=4"`
	Kind  string            `json:"kind" validate:"omitempty,oneof=ab 'b c' abc,startswith=a"`
	Low   string            `json:"low" validate:"lt=3"`
	Code  *string           `json:"code" validate:"omitempty,alphanum,len=2"`
	Must  *int              `json:"must" validate:"required,gte=1"`
	Zero  *int              `json:"zero" validate:"required"`
	Sent  optionalString    `json:"sent" validate:"required,ne=a"`
	Count int8              `json:"count" validate:"gte=-1,lt=5,ne=2"`
	Port  uint16            `json:"port" default:"80" validate:"required"`
	Ratio float64           `json:"ratio" validate:"omitempty,gt=0.5,lte=2"`
	On    bool              `json:"on" validate:"required"`
	Any   any               `json:"any"`
	Tags  []string          `json:"tags" validate:"max=2,dive,min=1,contains=a"`
	Three [3]int            `json:"three" validate:"dive,oneof=0 1 2"`
	Map   map[string]uint64 `json:"map" validate:"required,max=1,dive,max=9"`
	Note  optionalString    `json:"note" validate:"omitempty,min=1,excludes=a"`
	Gone  optionalPointer   `json:"gone" validate:"omitempty,eq=a"`
	Inner schemaInner       `json:"inner"`
	Each  []*schemaInner    `json:"each" validate:"dive"`
	Raw   json.RawMessage   `json:"raw"`
	Text  string            `json:"text" default:"x"`
	Quote int               `json:"quote,string"`
}

type (
	optionalString  = validate.Optional[string]
	optionalPointer = validate.Optional[*string]
)

type schemaInner struct {
	A    int           `json:"a" validate:"gte=0"`
	B    string        `json:"b" validate:"ne=ab"`
	Deep []schemaInner `json:"deep" validate:"max=1,dive"`
}

type schemaNeedy struct {
	Inner struct {
		B string `json:"b" validate:"required"`
	} `json:"inner"`
	N *struct {
		A int `json:"a" validate:"min=1,max=2"`
	} `json:"n"`
	Times []int `json:"times" validate:"omitempty,min=1,dive,oneof=1 2"`
}

type schemaZero struct {
	Nil    string            `json:"nil" validate:"omitnil,max=2"`
	NilP   *int              `json:"nilp" validate:"omitnil,min=2"`
	Zero   int8              `json:"zero" validate:"omitzero,min=2"`
	ZeroP  *string           `json:"zerop" validate:"omitzero,min=2"`
	ZeroL  []string          `json:"zerol" validate:"omitzero,min=2"`
	ZeroM  map[string]int    `json:"zerom" validate:"omitzero,min=1,dive,keys,max=1,endkeys,max=3"`
	Keys   map[string]string `json:"keys" validate:"dive,keys,min=2,contains=a,endkeys,max=1"`
	List   *[]int            `json:"list" validate:"dive,max=1"`
	Inner  schemaStrict      `json:"inner" validate:"omitempty"`
	Only   schemaStrict      `json:"only" validate:"structonly"`
	OnlyP  *schemaStrict     `json:"onlyp" validate:"required,structonly"`
	Only2  []schemaStrict    `json:"only2" validate:"structonly"`
	Off    schemaStrict      `json:"off" validate:"-"`
	Strict schemaStrict      `json:"strict"`
}

type schemaStrict struct {
	N string `json:"n" validate:"required,max=1"`
	D int    `json:"d" default:"1"`
	P *bool  `json:"p"`
	L []int  `json:"l" validate:"max=1"`
}

// A body is accepted by the schema of a type exactly if a validator of the type accepts it.
func TestSchemaEqualsValidator(t *testing.T) {
	t.Run("item", func(t *testing.T) { schemaEquals[schemaItem](t) })
	t.Run("inner", func(t *testing.T) { schemaEquals[schemaInner](t) })
	t.Run("needy", func(t *testing.T) { schemaEquals[schemaNeedy](t) })
	t.Run("zero", func(t *testing.T) { schemaEquals[schemaZero](t) })
	t.Run("list", func(t *testing.T) { schemaEquals[[]schemaInner](t) })
}

func schemaEquals[T any](t *testing.T) {
	v, err := validate.New[T](validate.Config{})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := v.Schema()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(raw, []byte("x-rules")) {
		t.Fatalf("not all rules are in the schema: %s", raw)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	d := &drawer{root: doc.(map[string]any), compiler: c, parts: map[string]*jsonschema.Schema{}}
	var accepted, refused int
	rapid.Check(t, func(t *rapid.T) {
		body, err := json.Marshal(d.document(t, d.root, "#", 0))
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("POST", "/", bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		_, refusal := v.Decode(httptest.NewRecorder(), r)
		inst, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		invalid := s.Validate(inst)
		if (refusal == nil) != (invalid == nil) {
			t.Fatalf("%s:\nthe validator says %v,\nthe schema says %v\n%s", body, refusal, invalid, raw)
		}
		if refusal == nil {
			accepted++
		} else {
			refused++
		}
	})
	t.Logf("%d accepted, %d refused", accepted, refused)
	if accepted < 100 || refused < 100 {
		t.Error("too few of either to tell")
	}
}

// A drawer draws documents that are near what a schema describes.
type drawer struct {
	root     map[string]any
	compiler *jsonschema.Compiler
	parts    map[string]*jsonschema.Schema
}

// document draws what the part at a place of the schema describes, and now and then
// something else.
func (d *drawer) document(t *rapid.T, s map[string]any, at string, depth int) any {
	if rapid.IntRange(0, 400).Draw(t, "odd") == 400 {
		return rapid.SampledFrom([]any{nil, true, 1, -1, 1.5, "", "a", []any{}, []any{1}, map[string]any{}, map[string]any{"x": 1}}).Draw(t, "other")
	}
	if ref, ok := s["$ref"].(string); ok {
		at, s = ref, d.root
		if name, ok := strings.CutPrefix(ref, "#/$defs/"); ok {
			s = d.root["$defs"].(map[string]any)[name].(map[string]any)
		}
	}
	if ways, ok := s["anyOf"].([]any); ok {
		i := rapid.IntRange(0, len(ways)-1).Draw(t, "way")
		return d.document(t, ways[i].(map[string]any), at+"/anyOf/"+strconv.Itoa(i), depth)
	}
	if value, ok := s["const"]; ok {
		return value
	}
	switch s["type"] {
	case "object":
		return d.object(t, s, at, depth)
	case "array":
		list := []any{}
		n := rapid.IntRange(0, 2).Draw(t, "length")
		if s["maxItems"] == json.Number("3") {
			n = 3
		}
		for range n {
			items, ok := s["items"].(map[string]any)
			if depth > 3 || !ok {
				break
			}
			list = append(list, d.document(t, items, at+"/items", depth+1))
		}
		return list
	case "string":
		return d.one(t, at, "", "a", "ab", "abc", "b c", "abcde", "é", "éé", "1", "7", "01", "-3")
	case "integer":
		return d.one(t, at, 0, 1, 2, 3, -1, -2, 5, 200, 70_000)
	case "number":
		return d.one(t, at, 0, 0.5, 1.25, 2, 2.5, -1)
	case "boolean":
		return d.one(t, at, true, false)
	}
	return d.one(t, at, nil, 1, "a", []any{map[string]any{"a": nil}})
}

func (d *drawer) object(t *rapid.T, s map[string]any, at string, depth int) any {
	o := map[string]any{}
	required, _ := s["required"].([]any)
	properties, _ := s["properties"].(map[string]any)
	for _, name := range rapid.Permutation(slices.Sorted(maps.Keys(properties))).Draw(t, "names") {
		if slices.Contains(required, any(name)) {
			if rapid.IntRange(0, 150).Draw(t, "left out though required") == 150 {
				continue
			}
		} else if depth > 3 || rapid.Bool().Draw(t, "left out") {
			continue
		}
		o[name] = d.document(t, properties[name].(map[string]any), at+"/properties/"+name, depth+1)
	}
	if each, ok := s["additionalProperties"].(map[string]any); ok {
		for range rapid.IntRange(0, 2).Draw(t, "size") {
			o[rapid.SampledFrom([]string{"a", "b", "ab", "ba"}).Draw(t, "key")] = d.document(t, each, at+"/additionalProperties", depth+1)
		}
	} else if rapid.IntRange(0, 60).Draw(t, "unknown") == 60 {
		o["unknown"] = 1
	}
	return o
}

// one draws one of some values, mostly of those that the part of the schema accepts.
func (d *drawer) one(t *rapid.T, at string, values ...any) any {
	if rapid.IntRange(0, 80).Draw(t, "any") < 80 {
		part, ok := d.parts[at]
		if !ok {
			var err error
			if part, err = d.compiler.Compile("schema.json" + at); err != nil {
				t.Fatal(err)
			}
			d.parts[at] = part
		}
		values = slices.DeleteFunc(slices.Clone(values), func(x any) bool {
			if n, ok := x.(int); ok {
				x = json.Number(strconv.Itoa(n))
			}
			return part.Validate(x) != nil
		})
		if len(values) == 0 {
			return nil
		}
	}
	return rapid.SampledFrom(values).Draw(t, "value")
}
