package validate_test

import (
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-playground/validator/v10"

	"github.com/sallyport/sallyport/validate"
)

type withDefaults struct {
	Page  int           `query:"page" default:"1" validate:"gte=1"`
	Every time.Duration `query:"every" default:"1m30s"`
	Sort  []string      `query:"sort" default:"name,-age" validate:"max=3,dive,max=5"`
	Trace *string       `header:"X-Trace" default:"none"`

	Name  string    `json:"name" default:"Jane \"J\" Doe" validate:"required"`
	Tags  []string  `json:"tags" default:"a,b"`
	Count *int      `json:"count" default:"7"`
	On    bool      `json:"on" default:"true"`
	Since time.Time `json:"since" default:"2026-01-02T03:04:05Z"`
	None  []int     `json:"none" default:""`
	Deep  struct {
		Level int8 `json:"level" default:"3"`
		More  struct {
			Unit string `json:"unit" default:"kg"`
		} `json:"more"`
	} `json:"deep"`
	Maybe *struct {
		Level int `json:"level" default:"9"`
	} `json:"maybe"`
	Items []struct {
		N int `json:"n,string" default:"5"`
	} `json:"items"`
}

func TestDefaults(t *testing.T) {
	v, err := validate.New[withDefaults](validate.Config{})
	if err != nil {
		t.Fatal(err)
	}
	get := func(t *testing.T, query, body string) withDefaults {
		t.Helper()
		r := httptest.NewRequest("POST", "/?"+query, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		got, err := v.Decode(nop{}, r)
		if err != nil {
			t.Fatalf("%v", err)
		}
		return got
	}
	show := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	const absent = `{"Page":1,"Every":90000000000,"Sort":["name","-age"],"Trace":"none","name":"Jane \"J\" Doe","tags":["a","b"],"count":7,"on":true,"since":"2026-01-02T03:04:05Z","none":[],"deep":{"level":3,"more":{"unit":"kg"}},"maybe":null,"items":null}`
	for _, tt := range []struct{ name, query, body, want string }{
		{"all left out", "", `{}`, absent},
		{"one given", "page=2", `{}`, strings.Replace(absent, `"Page":1`, `"Page":2`, 1)},
		{"a list replaces a list", "sort=x", `{"tags":["c"]}`, strings.NewReplacer(`"Sort":["name","-age"]`, `"Sort":["x"]`, `["a","b"]`, `["c"]`).Replace(absent)},
		{"an empty list is not left out", "", `{"tags":[]}`, strings.Replace(absent, `["a","b"]`, `[]`, 1)},
		{"null is not left out", "", `{"count":null}`, strings.Replace(absent, `"count":7`, `"count":null`, 1)},
		{"zero is not left out", "", `{"on":false,"count":0}`, strings.NewReplacer(`"on":true`, `"on":false`, `"count":7`, `"count":0`).Replace(absent)},
		{"a part of an object", "", `{"deep":{"more":{}}}`, absent},
		{"in an object that may be absent", "", `{"maybe":{}}`, strings.Replace(absent, `"maybe":null`, `"maybe":{"level":9}`, 1)},
		{"in elements", "", `{"items":[{},{"n":"6"}]}`, strings.Replace(absent, `"items":null`, `"items":[{"n":"5"},{"n":"6"}]`, 1)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := show(get(t, tt.query, tt.body)); got != tt.want {
				t.Errorf("got %s,\nwant %s", got, tt.want)
			}
		})
	}
	t.Run("nothing is shared", func(t *testing.T) {
		one := get(t, "", `{}`)
		one.Tags[0], *one.Count, *one.Trace, one.Sort[1] = "changed", 8, "changed", "changed"
		if got := show(get(t, "", `{}`)); got != absent {
			t.Errorf("after a change of another's: %s", got)
		}
	})
	t.Run("listed", func(t *testing.T) {
		got := map[string]string{}
		for _, r := range v.Rules() {
			if r.Default != nil {
				got[r.Location+r.Path] = *r.Default
			}
		}
		if got["query/page"] != "1" || got["body/deep/more/unit"] != "kg" || got["body/items/*/n"] != "5" || len(got) != 14 {
			t.Errorf("got %v", got)
		}
	})
}

// A type inside itself, met from either side.
type branch struct {
	Leaves []leaf `json:"leaves"`
	Size   int    `json:"size" default:"4"`
}

type leaf struct {
	Of branch `json:"of"`
}

func TestDefaultsOfRecursiveTypes(t *testing.T) {
	got, err := validate.Decode[branch](nop{}, post(`{"leaves":[{},{"of":{"size":1}}]}`))
	want := branch{Size: 4, Leaves: []leaf{{branch{Size: 4}}, {branch{Size: 1}}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestDefaultOfAQuotedPointer(t *testing.T) {
	type quoted struct {
		N *int `json:"n,string" default:"3"`
	}
	for body, want := range map[string]string{`{}`: "3", `{"n":"4"}`: "4", `{"n":null}`: "nil"} {
		got, err := validate.Decode[quoted](nop{}, post(body))
		n := "nil"
		if got.N != nil {
			n = strconv.Itoa(*got.N)
		}
		if err != nil || n != want {
			t.Errorf("%s: got %s, %v, want %s", body, n, err, want)
		}
	}
}

func TestDefaultsThatCantBe(t *testing.T) {
	for want, try := range map[string]func() error{
		`.A: has the default "x", which must be an integer of at most 64 bits`: build[struct {
			A int `json:"a" default:"x"`
		}],
		`.A: has the default "300", which must be an integer from -128 to 127`: build[struct {
			A int8 `query:"a" default:"300"`
		}],
		`.A: has the default "0", which breaks the rule "gte"`: build[struct {
			A int `query:"a" default:"0" validate:"gte=1,ltfield=B"`
			B int `query:"b"`
		}],
		`.A: has the default "a,bcd", which breaks the rule "max"`: build[struct {
			A []string `json:"a" default:"a,bcd" validate:"dive,max=2"`
		}],
		`.A: has a default, but is never left out`: build[struct {
			A string `path:"a" default:"0"`
		}],
		`.B: has a default, but is never left out`: build[struct {
			A string `json:"a"`
			B string `json:"-" default:"0"`
		}],
		`.A: is of a type that can't have a default`: build[struct {
			A map[string]int `json:"a" default:"0"`
		}],
		`.U: has the default "%zz", which is not`: build[struct {
			U *textURL `json:"u" default:"%zz"`
		}],
	} {
		if err := try(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// A rule that looks at what is beside its field can't be tried on a default alone.
func TestDefaultBesideARuleThatLooksAround(t *testing.T) {
	cfg := validate.Config{Setup: func(v *validator.Validate) error {
		v.RegisterAlias("each", "min=1,dive")
		if err := v.RegisterValidation("fine", func(f validator.FieldLevel) bool { return f.Parent().NumField() > 0 }); err != nil {
			return err
		}
		return v.RegisterValidation("around", func(f validator.FieldLevel) bool { return f.Parent().FieldByName("B").String() == "" })
	}}
	if _, err := validate.New[struct {
		A string `json:"a" default:"x" validate:"around"`
		B string `json:"b"`
	}](cfg); err != nil {
		t.Error(err)
	}
	if _, err := validate.New[struct {
		A []string `json:"a" default:"abc,def" validate:"fine,each,len=3"`
		B []string `json:"b" default:"abc,def" validate:"fine,dive,len=3"`
	}](cfg); err != nil {
		t.Error(err)
	}
	if _, err := validate.New[struct {
		A string `json:"a" default:"x" validate:"around,len=3"`
		B string `json:"b"`
	}](cfg); err == nil || !strings.Contains(err.Error(), `has the default "x", which breaks the rule "len"`) {
		t.Errorf("got %v", err)
	}
}

type textURL struct{ url.URL }

func (u *textURL) UnmarshalText(b []byte) error {
	p, err := url.Parse(string(b))
	if err == nil {
		u.URL = *p
	}
	return err
}
