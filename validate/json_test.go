package validate_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/internal/vectors"
	"github.com/sallyport/sallyport/validate"
)

// stamp is a struct that is decoded from text.
type stamp struct{ at time.Time }

func (s *stamp) UnmarshalText(b []byte) (err error) {
	s.at, err = time.Parse(time.DateOnly, string(b))
	return err
}
func (s stamp) MarshalText() ([]byte, error) { return s.at.AppendFormat(nil, time.DateOnly), nil }

// level is decoded from text alone.
type level int

func (l *level) UnmarshalText(b []byte) error {
	for i, s := range []string{"low", "high"} {
		if string(b) == s {
			*l = level(i)
			return nil
		}
	}
	return fmt.Errorf("level: no %s", b)
}
func (l level) MarshalText() ([]byte, error) { return []byte([]string{"low", "high"}[l]), nil }

type name string

// Embedded is promoted.
type Embedded struct {
	E1 string `json:"e1"`
	E2 *int   `json:"e2"`
}

// Lazy is promoted, and made when it is needed.
type Lazy struct {
	L1 string `json:"l1,omitempty"`
}

// hidden is unexported, but its fields are promoted.
type hidden struct {
	H1 uint8 `json:"h1"`
}

// kinds has a field of each kind.
type kinds struct {
	Embedded
	*Lazy
	hidden
	Named Embedded `json:"named"`

	B    bool    `json:"b"`
	I    int     `json:"i"`
	I8   int8    `json:"i8"`
	I16  int16   `json:"i16"`
	I32  int32   `json:"i32"`
	I64  int64   `json:"i64"`
	U    uint    `json:"u"`
	U8   uint8   `json:"u8"`
	U16  uint16  `json:"u16"`
	U32  uint32  `json:"u32"`
	U64  uint64  `json:"u64"`
	UP   uintptr `json:"up"`
	F32  float32 `json:"f32"`
	F64  float64 `json:"f64"`
	S    string  `json:"s"`
	Name name    `json:"name/~x"`

	Number  json.Number     `json:"number,omitempty"`
	Raw     json.RawMessage `json:"raw,omitempty"`
	Time    time.Time       `json:"time"`
	Stamp   *stamp          `json:"stamp"`
	Level   level           `json:"level"`
	Big     *big.Int        `json:"big"`
	Dur     time.Duration   `json:"dur"`
	Any     any             `json:"any"`
	Bytes   []byte          `json:"bytes,omitempty"`
	Strings []string        `json:"strings,omitempty"`
	Levels  []level         `json:"levels,omitempty"`
	Matrix  [][]float64     `json:"matrix,omitempty"`
	Pair    [2]int          `json:"pair"`
	Array   *[1][]string    `json:"array"`

	Map     map[string]int         `json:"map,omitempty"`
	Maps    map[name]map[string]*I `json:"maps,omitempty"`
	Structs []Embedded             `json:"structs,omitempty"`
	Mapped  map[string]mapped      `json:"mapped,omitempty"`
	Ptr     *string                `json:"ptr"`
	PtrPtr  **int                  `json:"ptrptr"`
	Tree    *tree                  `json:"tree"`

	QI  int     `json:"qi,string"`
	QU  *uint16 `json:"qu,string"`
	QF  float64 `json:"qf,string"`
	QB  bool    `json:"qb,string"`
	QS  string  `json:"qs,string"`
	Def string  `json:",omitempty"`
}

// I is an integer.
type I int

type mapped struct {
	In map[string]Embedded `json:"in,omitempty"`
	N  int                 `json:"n"`
}

type tree struct {
	V    int     `json:"v"`
	Kids []*tree `json:"kids,omitempty"`
}

func TestJSONIsDecodedAsEncodingJSONDoes(t *testing.T) {
	tests := []string{
		`{}`,
		`{"e1":"a","e2":1,"l1":"b","h1":255,"named":{"e1":"c"}}`,
		`{"b":true,"i":-1,"i8":-128,"i16":32767,"i32":-2147483648,"i64":9223372036854775807}`,
		`{"u":1,"u8":255,"u16":65535,"u32":4294967295,"u64":18446744073709551615,"up":7}`,
		`{"f32":1.5e10,"f64":-1E-300,"s":"a\u00e9\ud834\udd1e\n","name/~x":"n"}`,
		`{"\u0062":true,"n\u0061me\/~x":"n"}`,
		`{"number":1.50e+3,"raw":{"a" : [1, 2]},"time":"2026-11-23T12:00:00.5+01:00","stamp":"2026-11-23","level":"high"}`,
		`{"stamp":"2026\u002d11-23","level":"\u0068igh"}`,
		`{"big":123456789012345678901234567890,"dur":1000,"any":{"a":[1,"x",null,true,{}],"b":1.5}}`,
		`{"bytes":"aGVsbG8=","strings":["a",""],"levels":["low","high"],"matrix":[[1,2],[],[3]],"pair":[1,2],"array":[["x"]]}`,
		`{"bytes":"","strings":[],"matrix":[]}`,
		`{"map":{"a":1,"":2},"maps":{"x":{"y":1,"z":null},"w":{}},"structs":[{"e1":"a"},{"e2":null}]}`,
		`{"ptr":"a","ptrptr":7,"tree":{"v":1,"kids":[{"v":2},{"v":3,"kids":[{"v":4}]},null]}}`,
		`{"ptr":null,"ptrptr":null,"tree":null,"any":null,"raw":null,"stamp":null,"big":null,"array":null,"e2":null}`,
		`{"qi":"-7","qu":"9","qf":"1.5","qb":"true","qs":"\"a\\n\"","Def":"d"}`,
		`{"qu":null}`,
		` { "b" : false , "strings" : [ "a" , "b" ] , "map" : { "k" : 1 } , "pair" : [ 1 , 2 ] } `,
		`{"s":"last","b":true,"i":1}`, // not in declared order
	}
	v, err := validate.New[kinds](validate.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range tests {
		got, err := v.Decode(httptest.NewRecorder(), post(doc))
		if err != nil {
			t.Errorf("%s: %v, %+v", doc, err, problem(t, err).Fields)
			continue
		}
		var want kinds
		if err := json.Unmarshal([]byte(doc), &want); err != nil {
			t.Fatalf("%s: %v", doc, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", doc, got, want)
		}
	}
}

func TestASVS_15_3_5_WrongTypes(t *testing.T) {
	tests := []struct{ doc, place string }{
		{`{"b":1}`, "/b"},
		{`{"b":"true"}`, "/b"},
		{`{"i8":128}`, "/i8"},
		{`{"i8":-129}`, "/i8"},
		{`{"i64":9223372036854775808}`, "/i64"},
		{`{"i":1.5}`, "/i"},
		{`{"i":1e0}`, "/i"},
		{`{"i":"1"}`, "/i"},
		{`{"u":-1}`, "/u"},
		{`{"u":true}`, "/u"},
		{`{"u8":256}`, "/u8"},
		{`{"u64":18446744073709551616}`, "/u64"},
		{`{"f32":1e39}`, "/f32"},
		{`{"f64":1e309}`, "/f64"},
		{`{"f64":"1"}`, "/f64"},
		{`{"s":1}`, "/s"},
		{`{"s":["a"]}`, "/s"},
		{`{"name/~x":null}`, "/name~1~0x"},
		{`{"number":"1"}`, "/number"},
		{`{"number":null}`, "/number"},
		{`{"time":"yesterday"}`, "/time"},
		{`{"time":1}`, "/time"},
		{`{"time":null}`, "/time"},
		{`{"time":"2026-11-23 12:00:00Z"}`, "/time"},
		{`{"stamp":"2026-11-32"}`, "/stamp"},
		{`{"stamp":7}`, "/stamp"},
		{`{"level":"middle"}`, "/level"},
		{`{"level":1}`, "/level"},
		{`{"level":null}`, "/level"},
		{`{"big":"x"}`, "/big"},
		{`{"any":[{"a":1e400}]}`, "/any"},
		{`{"bytes":"!"}`, "/bytes"},
		{`{"bytes":"aGVsbG8"}`, "/bytes"},
		{`{"bytes":"aGVs\nbG8="}`, "/bytes"},
		{`{"bytes":"aGVsbG9="}`, "/bytes"},
		{`{"bytes":[1,2]}`, "/bytes"},
		{`{"strings":"a"}`, "/strings"},
		{`{"strings":[1]}`, "/strings/0"},
		{`{"strings":["a",null]}`, "/strings/1"},
		{`{"matrix":[[1],[2,"x"]]}`, "/matrix/1/1"},
		{`{"pair":[1]}`, "/pair"},
		{`{"pair":[1,2,3]}`, "/pair"},
		{`{"pair":null}`, "/pair"},
		{`{"array":[]}`, "/array"},
		{`{"array":[["a"],["b"]]}`, "/array"},
		{`{"map":[]}`, "/map"},
		{`{"map":null}`, "/map"},
		{`{"map":{"a":"x"}}`, "/map"},
		{`{"maps":{"x":{"y":"z"}}}`, "/maps"},
		{`{"structs":[{"e1":"a"},{"e1":1}]}`, "/structs/1/e1"},
		{`{"map":{"a":1},"structs":[{"e1":1}]}`, "/structs/0/e1"},
		{`{"mapped":{"a":{"in":{"b":{"e1":1}}}}}`, "/mapped"},
		{`{"mapped":{"a":{"in":{"b":{}},"n":"x"}}}`, "/mapped"},
		{`{"named":[]}`, "/named"},
		{`{"named":null}`, "/named"},
		{`{"ptr":1}`, "/ptr"},
		{`{"ptrptr":"x"}`, "/ptrptr"},
		{`{"l1":1}`, "/l1"},
		{`{"h1":256}`, "/h1"},
		{`{"tree":{"kids":[{"kids":[{"v":"x"}]}]}}`, "/tree/kids/0/kids/0/v"},
		{`{"qi":7}`, "/qi"},
		{`{"qi":" 7"}`, "/qi"},
		{`{"qi":"7.0"}`, "/qi"},
		{`{"qi":"007"}`, "/qi"},
		{`{"qi":""}`, "/qi"},
		{`{"qi":"null"}`, "/qi"},
		{`{"qi":null}`, "/qi"},
		{`{"qu":"-1"}`, "/qu"},
		{`{"qb":"yes"}`, "/qb"},
		{`{"qs":"a"}`, "/qs"},
		{`{"qs":"7"}`, "/qs"},
		{`{"def":"d"}`, ""},
		{`{"Def":1}`, "/Def"},
	}
	v, err := validate.New[kinds](validate.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		got, err := v.Decode(httptest.NewRecorder(), post(tt.doc))
		p := problem(t, err)
		if p == nil || p.Status != 400 || len(p.Fields) != 1 || p.Fields[0].Pointer != tt.place {
			t.Errorf("%s: got %+v, want a 400 at %s", tt.doc, p, tt.place)
		}
		if !reflect.DeepEqual(got, kinds{}) {
			t.Errorf("%s: got %+v beside the error, want nothing", tt.doc, got)
		}
	}
}

func TestOtherTypesThanStructs(t *testing.T) {
	t.Run("any", func(t *testing.T) {
		got, err := validate.Decode[any](nop{}, post(`{"a":[1,null]}`))
		if want := map[string]any{"a": []any{1.0, nil}}; err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
		if got, err := validate.Decode[any](nop{}, post(`null`)); err != nil || got != nil {
			t.Errorf("got %v, %v, want nil", got, err)
		}
	})
	t.Run("slice of structs", func(t *testing.T) {
		got, err := validate.Decode[[]line](nop{}, post(`[{"sku":"a","count":1}]`))
		if want := []line{{"a", 1}}; err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
		_, err = validate.Decode[[]line](nop{}, post(`[{"sku":"a","count":1},{"sku":"","count":0}]`))
		if p := problem(t, err); p.Status != 422 || len(p.Fields) != 2 || p.Fields[0].Pointer != "/1/sku" || p.Fields[1].Pointer != "/1/count" {
			t.Errorf("got %+v, want rules broken at /1", p)
		}
	})
	t.Run("map of slices of pointers", func(t *testing.T) {
		_, err := validate.Decode[map[string][]*line](nop{}, post(`{"secret":[{"sku":"a","count":1},{"sku":"","count":1}]}`))
		if p := problem(t, err); p.Status != 422 || len(p.Fields) != 1 || p.Fields[0].Pointer != "" {
			t.Errorf("got %+v, want a rule broken below a name that is not told", p)
		}
	})
	t.Run("pointer", func(t *testing.T) {
		got, err := validate.Decode[*line](nop{}, post(`{"sku":"a","count":1}`))
		if err != nil || got == nil || *got != (line{"a", 1}) {
			t.Errorf("got %v, %v", got, err)
		}
		if _, err := validate.Decode[*line](nop{}, post(`{"sku":"a","count":0}`)); problem(t, err).Status != 422 {
			t.Errorf("got %v, want a 422", err)
		}
		if got, err := validate.Decode[*line](nop{}, post(`null`)); problem(t, err).Status != 400 || got != nil {
			t.Errorf("null: got %v, %v, want a 400", got, err)
		}
	})
	t.Run("scalars", func(t *testing.T) {
		if got, err := validate.Decode[string](nop{}, post(`"a"`)); err != nil || got != "a" {
			t.Errorf("got %v, %v", got, err)
		}
		if _, err := validate.Decode[string](nop{}, post(`null`)); problem(t, err).Status != 400 {
			t.Errorf("got %v, want a 400", err)
		}
		if got, err := validate.Decode[json.RawMessage](nop{}, post(` {"a":1} `)); err != nil || string(got) != `{"a":1}` {
			t.Errorf("got %s, %v", got, err)
		}
		if _, err := validate.Decode[json.RawMessage](nop{}, post(`{"a":1,"A":2}`)); problem(t, err).Status != 400 {
			t.Errorf("got %v, want a 400", err)
		}
	})
	t.Run("decodes itself", func(t *testing.T) {
		got, err := validate.Decode[time.Time](nop{}, post(`"2026-11-23T12:00:00Z"`))
		if err != nil || got.Year() != 2026 {
			t.Errorf("got %v, %v", got, err)
		}
		c, err := validate.Decode[custom](nop{}, post(`"good"`))
		if err != nil || c.s != `"good"` {
			t.Errorf("got %v, %v", c, err)
		}
		if _, err := validate.Decode[custom](nop{}, post(`"bad"`)); problem(t, err).Status != 400 {
			t.Errorf("got %v, want a 400", err)
		}
		if c, err := validate.Decode[custom](nop{}, post(`null`)); err != nil || c.s != "null" {
			t.Errorf("got %v, %v", c, err)
		}
	})
	t.Run("empty body", func(t *testing.T) {
		if _, err := validate.Decode[any](nop{}, post(``)); problem(t, err).Code != "body_required" {
			t.Errorf("got %v, want body_required", err)
		}
	})
}

func TestRFC8259_JSONTestSuite(t *testing.T) {
	dir := filepath.Join(vectors.Dir(t), "json", "test_parsing")
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got, err := validate.Decode[any](nop{}, post(string(data)))
		switch f.Name()[0] {
		case 'y':
			if strings.HasPrefix(f.Name(), "y_object_duplicated_key") {
				if problem(t, err) == nil {
					t.Errorf("%s: accepted", f.Name())
				}
				continue
			}
			var want any
			if err := json.Unmarshal(data, &want); err != nil {
				t.Fatal(err)
			}
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: got %v, %v, want %v", f.Name(), got, err, want)
			}
		case 'n':
			if p := problem(t, err); p == nil || p.Status != 400 {
				t.Errorf("%s: got %v, %v, want a 400", f.Name(), got, err)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"e1":"a","e2":1,"l1":"b","h1":255,"named":{"e1":"c"}}`,
		`{"b":true,"i":-1,"i8":-128,"f32":1.5e10,"s":"a\u00e9\ud834\udd1e\n","name/~x":"n"}`,
		`{"number":1.50e+3,"raw":{"a":[1]},"time":"2026-11-23T12:00:00.5+01:00","stamp":"2026-11-23","level":"high"}`,
		`{"big":1234,"dur":1000,"any":{"a":[1,"x",null,true,{}]},"bytes":"aGVsbG8=","matrix":[[1,2],[]],"pair":[1,2],"array":[["x"]]}`,
		`{"map":{"a":1},"maps":{"x":{"y":1,"z":null}},"structs":[{"e1":"a"}],"ptrptr":7,"tree":{"v":1,"kids":[{"v":2}]}}`,
		`{"qi":"-7","qu":"9","qf":"1.5","qb":"true","qs":"\"a\"","Def":"d"}`,
		`{"b":1,"B":2}`, `null`, `[`, `{"b":tru`, `{"x":1}`, `{"time":null}`,
	} {
		f.Add(s)
	}
	v, err := validate.New[kinds](validate.Config{})
	if err != nil {
		f.Fatal(err)
	}
	seen := validate.Response[kinds]()(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.Copy(w, r.Body)
	}))
	f.Fuzz(func(t *testing.T, doc string) {
		got, err := v.Decode(nop{}, post(doc))
		if err != nil {
			switch p := problem(t, err); p.Status {
			case 400, 413, 415, 422:
			default:
				t.Fatalf("got %v, want a 400, 413, 415 or 422", p)
			}
			return
		}
		var want kinds
		if err := json.Unmarshal([]byte(doc), &want); err != nil {
			t.Fatalf("encoding/json refuses %q: %v", doc, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: got %+v, encoding/json reads %+v", doc, got, want)
		}
		again, err := json.Marshal(got)
		if err != nil {
			t.Fatalf("%q: what was accepted can't be written: %v", doc, err)
		}
		twice, err := v.Decode(nop{}, post(string(again)))
		if err != nil {
			t.Fatalf("%q was accepted, but not what it is written as again: %s: %v, %+v", doc, again, err, problem(t, err).Fields)
		}
		if third, _ := json.Marshal(twice); string(third) != string(again) {
			t.Fatalf("%s was read as %s", again, third)
		}
		w := httptest.NewRecorder()
		seen.ServeHTTP(w, httptest.NewRequest("GET", "/", bytes.NewReader(again)))
		if w.Body.String() != string(again) {
			t.Fatalf("%s was let out as %d %s", again, w.Code, w.Body)
		}
	})
}
