package validate_test

import (
	"encoding/json"
	"maps"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/validate"
)

type cell struct {
	A string `json:"a" validate:"required"`
	B string `json:"b" validate:"required"`
	C string `json:"c" validate:"required"`
}

type row struct {
	ID    int     `json:"id"`
	Left  cell    `json:"left"`
	Right [2]cell `json:"right" validate:"dive"`
}

type sheet struct {
	Rows  []row                        `json:"rows" validate:"dive"`
	Refs  []*cell                      `json:"refs" validate:"dive"`
	By    map[string][]cell            `json:"by" validate:"dive,dive"`
	Deep  map[string]map[string]string `json:"deep" validate:"dive,dive,max=9"`
	Maybe validate.Optional[[]cell]    `json:"maybe" validate:"omitempty,dive"`
	Opts  []validate.Optional[cell]    `json:"opts" validate:"dive"`
	IDs   []id                         `json:"ids"`
	Money []money                      `json:"money"`
	Wide  []wide                       `json:"wide"`
}

// An id is an array that is sent as a text, as UUIDs are.
type id [16]byte

func (i *id) UnmarshalText(b []byte) error { copy(i[:], b); return nil }

// money is a struct that reads itself, whose fields nobody sends.
type money struct {
	Amount   int64
	Currency string
}

func (m *money) UnmarshalJSON([]byte) error { return nil }

type wide struct {
	*Notes
}

// Notes are made when one of their fields is sent.
type Notes struct {
	Note string `json:"note"`
}

// list returns n times s as a JSON array.
func list(n int, s string) string {
	return "[" + strings.TrimSuffix(strings.Repeat(s+",", n), ",") + "]"
}

// Values that are left out count: a row is 15 of them, whatever is sent of it.
func TestMaxValuesOfWhatIsLeftOut(t *testing.T) {
	long := strings.Repeat("k", 1000)
	for _, tt := range []struct {
		name, body string
		least      int // MaxValues with which it is taken
	}{
		{"rows", `{"rows":` + list(10, `{}`) + `}`, 150},
		{"rows that are sent", `{"rows":` + list(10, `{"id":1,"left":{"a":"x","b":"y","c":"z"},"right":[{"a":"x","b":"y","c":"z"},{"a":"x","b":"y","c":"z"}]}`) + `}`, 152},
		{"pointers", `{"refs":` + list(10, `{}`) + `}`, 40},
		{"null", `{"refs":` + list(10, `null`) + `}`, 12},
		{"an Optional", `{"maybe":` + list(10, `{}`) + `}`, 40},
		{"what reads itself", `{"money":` + list(10, `"1 EUR"`) + `}`, 12},
		{"what is embedded by a pointer", `{"wide":` + list(10, `{}`) + `}`, 10 * 3},
		{"texts that are arrays", `{"ids":` + list(10, `"00"`) + `}`, 12},
		{"Optionals", `{"opts":` + list(10, `{}`) + `}`, 40},
		{"the members of a map", `{"by":{"a":` + list(10, `{}`) + `,"b":[]}}`, 42},
		{"a long name", `{"by":{"` + long + `":` + list(10, `{}`) + `}}`, 8 + 8*40},
		{"long names above each other", `{"deep":{"` + long + `":{"` + long + `":"","a":""},"b":{"c":""}}}`, 8 + 16 + 8 + 1 + 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for most, want := range maps.All(map[int]string{tt.least: "", tt.least - 1: "max_values"}) {
				_, err := validate.Decode[sheet](nop{}, post(tt.body), validate.Config{MaxValues: most})
				p, got := problem(t, err), ""
				if p != nil && p.Code == "malformed_body" { // there are as many in the document
					got = "max_values"
				} else if p != nil && p.Code == "invalid_body" && len(p.Fields) == 1 {
					got = p.Fields[0].Code
				}
				if got != want {
					t.Errorf("%d values: got %v, want %q", most, err, want)
				}
			}
		})
	}
}

// A small body that breaks very many rules costs no more memory than a large one.
func TestAPI4_BrokenRulesCost(t *testing.T) {
	for name, body := range map[string]string{
		"what is left out":          `{"rows":` + list(9_999, `{}`) + `}`,
		"as much as may be":         `{"rows":` + list(3_300, `{}`) + `}`,
		"a long name":               `{"by":{"` + strings.Repeat("k", 1_000_000) + `":` + list(9_999, `{}`) + `}}`,
		"a name that may be":        `{"by":{"` + strings.Repeat("k", 100_000) + `":` + list(15, `{}`) + `}}`,
		"long names that may be":    `{"by":{"` + strings.Repeat("k", 1_000) + `":` + list(1_500, `{}`) + `}}`,
		"long names for good items": `{"by":{"` + strings.Repeat("k", 1_000) + `":` + list(1_500, `{"a":"x","b":"y","c":"z"}`) + `}}`,
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, _ = validate.Decode[sheet](nop{}, post(body))
			runtime.ReadMemStats(&after)
			if got := (after.TotalAlloc - before.TotalAlloc) >> 20; got > 64 {
				t.Errorf("%d MiB were allocated for %d bytes", got, len(body))
			}
		})
	}
}

// words are a set that is read from a text.
type words map[string]bool

func (w *words) UnmarshalText(b []byte) error {
	if *w == nil {
		*w = words{}
	}
	for word := range strings.FieldsSeq(string(b)) {
		(*w)[word] = true
	}
	return nil
}

// What is sent takes the place of a default, and has nothing of it.
func TestDefaultLeavesNothing(t *testing.T) {
	type request struct {
		One  words   `json:"one" default:"admin"`
		Many []words `json:"many" default:"admin,root,wheel"`
		Ptr  *words  `json:"ptr" default:"admin"`
	}
	got, err := validate.Decode[request](nop{}, post(`{"one":"a","many":["b","c"],"ptr":"d"}`))
	if err != nil || len(got.One) != 1 || len(got.Many) != 2 || len(got.Many[0]) != 1 || len(got.Many[1]) != 1 || len(*got.Ptr) != 1 {
		t.Errorf("got %v, %v", got, err)
	}
}

// The zero instant is nothing to a rule, whatever its offset.
func TestZeroTime(t *testing.T) {
	type request struct {
		Body time.Time `json:"body" validate:"required"`
	}
	type search struct {
		Since time.Time `query:"since" validate:"required"`
	}
	for _, s := range []string{"0001-01-01T00:00:00Z", "0001-01-01T00:00:00+00:00", "0001-01-01T01:00:00+01:00", "0000-12-31T23:00:00-01:00"} {
		if _, err := validate.Decode[request](nop{}, post(`{"body":"`+s+`"}`)); problem(t, err) == nil || problem(t, err).Status != 422 {
			t.Errorf("%s: got %v", s, err)
		}
		if _, err := validate.Decode[search](nop{}, httptest.NewRequest("GET", "/?since="+url.QueryEscape(s), nil)); problem(t, err) == nil || problem(t, err).Status != 422 {
			t.Errorf("%s as a parameter: got %v", s, err)
		}
	}
}

func TestDefaultOfANumberParameter(t *testing.T) {
	type search struct {
		N json.Number `query:"n" default:"1.50"`
	}
	if got, err := validate.Decode[search](nop{}, httptest.NewRequest("GET", "/", nil)); err != nil || got.N != "1.50" {
		t.Errorf("got %v, %v", got, err)
	}
	if err := build[struct {
		N json.Number `query:"n" default:"many"`
	}](); err == nil || !strings.Contains(err.Error(), "many") {
		t.Errorf("got %v", err)
	}
}

func TestNumberParameter(t *testing.T) {
	type search struct {
		N json.Number `query:"n"`
	}
	for s, ok := range map[string]bool{"1": true, "-1.5e+3": true, "abc": false, "": false, "01": false, "1 ": false, `"1"`: false, "true": false, "NaN": false, "0x1": false} {
		got, err := validate.Decode[search](nop{}, httptest.NewRequest("GET", "/?n="+url.QueryEscape(s), nil))
		if (err == nil) != ok || ok && got.N.String() != s {
			t.Errorf("%q: got %q, %v", s, got.N, err)
		}
	}
}

// A pointer to a pointer is checked too.
func TestPointerToPointer(t *testing.T) {
	v, err := validate.New[**cell](validate.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := v.Decode(nop{}, post(`{"a":"x","b":"y","c":"z"}`)); err != nil || (**got).C != "z" {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := v.Decode(nop{}, post(`{"a":"x","b":"y"}`)); problem(t, err) == nil || problem(t, err).Fields[0].Pointer != "/c" {
		t.Errorf("got %v", err)
	}
}

// An embedded struct whose json tag has no name is one without a tag, as in encoding/json.
func TestEmbeddedWithOptions(t *testing.T) {
	type request struct {
		cell `json:",omitempty"`
		ID   int `json:"id"`
	}
	if got, err := validate.Decode[request](nop{}, post(`{"a":"x","b":"y","c":"z","id":1}`)); err != nil || got.C != "z" {
		t.Errorf("got %v, %v", got, err)
	}
	_, err := validate.Decode[request](nop{}, post(`{"a":"x","b":"y"}`))
	if p := problem(t, err); p == nil || len(p.Fields) != 1 || p.Fields[0].Pointer != "/c" {
		t.Errorf("got %v", err)
	}
	// One that is no struct is a member by the name of its type.
	_, err = validate.Decode[struct {
		Email `json:",omitempty" validate:"email"`
	}](nop{}, post(`{"Email":"a"}`))
	if p := problem(t, err); p == nil || len(p.Fields) != 1 || p.Fields[0].Pointer != "/Email" {
		t.Errorf("got %v", err)
	}
}

// Email is embedded.
type Email string

// The time that a long language tag takes does not grow with the square of its length.
func TestLongLanguageTag(t *testing.T) {
	type request struct {
		Tag string `json:"tag" validate:"bcp47_language_tag"`
	}
	private := "x-" + strings.Repeat("abcdefgh-", 28) // of 254 bytes
	for tag, ok := range map[string]bool{"de-AT": true, "x_": false, "": false, private + "a": true, private + "abc": false, strings.Repeat("-", 1_000_000): false} {
		_, err := validate.Decode[request](nop{}, post(`{"tag":"`+tag+`"}`))
		if (err == nil) != ok || err != nil && problem(t, err).Fields[0].Code != "bcp47_language_tag" {
			t.Errorf("%.9s: got %v", tag, err)
		}
	}
}
