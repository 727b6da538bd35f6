package strictjson_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/internal/strictjson"
)

func value(t *testing.T, doc string) strictjson.Value {
	t.Helper()
	c, err := strictjson.Read([]byte(doc), strictjson.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return c.Value()
}

func TestObject(t *testing.T) {
	var got []string
	err := strictjson.Object([]byte(` { "a" : 1 , "\u0062/" : [ {"}":"]"} , "\"" ] ,"c":{}, "d":"\\" ,"e":null, "f":true} `), strictjson.Limits{}, func(name string, v strictjson.Value) error {
		got = append(got, fmt.Sprintf("%s %d %s", name, v.Kind, v.Raw))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"a 3 1", `b/ 5 [ {"}":"]"} , "\"" ]`, "c 6 {}", `d 4 "\\"`, "e 1 null", "f 2 true"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Members beyond those that need no allocation are members like the others.
func TestManyMembers(t *testing.T) {
	for _, n := range []int{0, 1, 15, 16, 17, 100} {
		var doc strings.Builder
		for i := range n {
			fmt.Fprintf(&doc, `,"\u0061%d" : [%d,"\\"]`, i, i)
		}
		var members strictjson.Members
		err := members.Read([]byte("{"+strings.TrimPrefix(doc.String(), ",")+"}"), strictjson.Limits{})
		if err != nil || members.Len() != n {
			t.Fatalf("%d members: got %d, %v", n, members.Len(), err)
		}
		for i := range n {
			if name, v := string(members.Name(i)), members.Value(i); name != fmt.Sprint("a", i) || string(v.Raw) != fmt.Sprintf(`[%d,"\\"]`, i) || v.Kind != strictjson.Array {
				t.Errorf("member %d of %d: %q, %+v", i, n, name, v)
			}
		}
	}
}

func TestObjectRefuses(t *testing.T) {
	tests := []struct {
		name, doc string
		want      strictjson.Reason
	}{
		{"array", `[{"a":1}]`, strictjson.NotObject},
		{"string", `"a"`, strictjson.NotObject},
		{"null", `null`, strictjson.NotObject},
		{"empty", ``, strictjson.Empty},
		{"error after good members", `{"a":1,"b":2,"c":{"d":1,"d":2}}`, strictjson.Duplicate},
		{"trailing data", `{"a":1}]`, strictjson.Trailing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := strictjson.Object([]byte(tt.doc), strictjson.Limits{}, func(name string, _ strictjson.Value) error {
				t.Errorf("visited %q of a document that is refused", name)
				return nil
			})
			if got := reason(t, err); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			var members strictjson.Members
			err = members.Read([]byte(tt.doc), strictjson.Limits{})
			if got := reason(t, err); got != tt.want || members.Len() != 0 {
				t.Errorf("got %d members and %v, want none and %v", members.Len(), got, tt.want)
			}
		})
	}
}

func TestObjectReturnsTheVisitorsError(t *testing.T) {
	stop := errors.New("stop")
	n := 0
	err := strictjson.Object([]byte(`{"a":1,"b":2}`), strictjson.Limits{}, func(string, strictjson.Value) error { n++; return stop })
	if err != stop || n != 1 {
		t.Errorf("got %v after %d visits, want %v after 1", err, n, stop)
	}
}

func TestText(t *testing.T) {
	tests := []struct{ name, doc, want string }{
		{"empty", `""`, ""},
		{"plain", `"abc"`, "abc"},
		{"every escape", `"\"\\\/\b\f\n\r\t"`, "\"\\/\b\f\n\r\t"},
		{"hex in both cases", `"\u00e9\u00E9\uABcd"`, "éé\uabcd"},
		{"pair", `"x\uD834\udd1ey"`, "x𝄞y"},
		{"greatest rune", `"\udbff\udfff"`, "\U0010ffff"},
		{"NUL", `"\u0000"`, "\x00"},
		{"line separator", "\"\u2028\"", "\u2028"},
		{"long, escape at its end", `"` + strings.Repeat("é", 200) + `\n"`, strings.Repeat("é", 200) + "\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := value(t, tt.doc).Text()
			if err != nil || got != tt.want {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
	for _, doc := range []string{`1`, `null`, `true`, `{}`, `["a"]`} {
		if s, err := value(t, doc).Text(); reason(t, err) != strictjson.NotString || s != "" {
			t.Errorf("Text of %s: got %q, %v, want %v", doc, s, err, strictjson.NotString)
		}
	}
	for _, v := range []strictjson.Value{{Kind: strictjson.String}, {Kind: strictjson.String, Raw: []byte(`"\x"`)}} {
		if s, err := v.Text(); err == nil {
			t.Errorf("Text of %q, which was never checked: got %q, want an error", v.Raw, s)
		}
	}
}

func TestNumbers(t *testing.T) {
	tests := []struct {
		doc     string
		integer int64
		isInt   bool
		double  float64
		isFloat bool
	}{
		{`0`, 0, true, 0, true},
		{`-0`, 0, true, 0, true},
		{`-1`, -1, true, -1, true},
		{`9223372036854775807`, 1<<63 - 1, true, 1 << 63, true},
		{`-9223372036854775808`, -1 << 63, true, -1 << 63, true},
		{`9223372036854775808`, 0, false, 1 << 63, true},
		{`1.0`, 0, false, 1, true},
		{`1e2`, 0, false, 100, true},
		{`1E400`, 0, false, 0, false},
		{`-1e400`, 0, false, 0, false},
		{`1e-400`, 0, false, 0, true},
		{`"1"`, 0, false, 0, false},
		{`true`, 0, false, 0, false},
		{`null`, 0, false, 0, false},
	}
	for _, tt := range tests {
		v := value(t, tt.doc)
		n, ok := v.Int64()
		if ok != tt.isInt || ok && n != tt.integer {
			t.Errorf("Int64 of %s: got %d, %t, want %d, %t", tt.doc, n, ok, tt.integer, tt.isInt)
		}
		f, ok := v.Float64()
		if ok != tt.isFloat || ok && f != tt.double {
			t.Errorf("Float64 of %s: got %v, %t, want %v, %t", tt.doc, f, ok, tt.double, tt.isFloat)
		}
	}
}

func TestElements(t *testing.T) {
	var got []string
	err := value(t, `[1, "a" ,[2,[3]], {"a":[4]},null]`).Elements(func(v strictjson.Value) error {
		got = append(got, string(v.Raw))
		return nil
	})
	if want := []string{"1", `"a"`, "[2,[3]]", `{"a":[4]}`, "null"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if err := value(t, ` [ ] `).Elements(func(strictjson.Value) error { return errors.New("visited") }); err != nil {
		t.Errorf("empty array: got %v, want nil", err)
	}
	stop := errors.New("stop")
	if err := value(t, `[1]`).Elements(func(strictjson.Value) error { return stop }); err != stop {
		t.Errorf("got %v, want %v", err, stop)
	}
	for _, doc := range []string{`{}`, `"a"`, `1`, `null`} {
		if err := value(t, doc).Elements(func(strictjson.Value) error { return nil }); reason(t, err) != strictjson.NotArray {
			t.Errorf("Elements of %s: got %v, want %v", doc, err, strictjson.NotArray)
		}
	}
}

func TestAny(t *testing.T) {
	doc := []byte(`{"s":"a\n","n":1.50,"b":[true,false],"z":null,"o":{"\u00e9":[]},"e":{}}`)
	c, err := strictjson.Read(doc, strictjson.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Value().Any()
	if err != nil {
		t.Fatal(err)
	}
	clear(doc) // nothing may alias it
	want := map[string]any{
		"s": "a\n", "n": json.Number("1.50"), "b": []any{true, false}, "z": nil,
		"o": map[string]any{"é": []any{}}, "e": map[string]any{},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v, want %#v", got, want)
	}
	if _, err := (strictjson.Value{}).Any(); err == nil {
		t.Error("Any of no value: got nil, want an error")
	}
}

func TestEscapePointer(t *testing.T) {
	for in, want := range map[string]string{"a": "a", "": "", "a/b": "a~1b", "m~n": "m~0n", "~1": "~01", "é": "é"} {
		if got := strictjson.EscapePointer(in); got != want {
			t.Errorf("EscapePointer(%q): got %q, want %q", in, got, want)
		}
	}
}

func ExampleObject() {
	claims := []byte(`{"sub":"alice","aud":["api","web"],"exp":1700000000}`)
	err := strictjson.Object(claims, strictjson.Limits{FoldNames: true}, func(name string, v strictjson.Value) error {
		switch name {
		case "sub":
			sub, err := v.Text()
			fmt.Println("subject", sub)
			return err
		case "exp":
			exp, ok := v.Int64()
			fmt.Println("expires", exp, ok)
		}
		return nil
	})
	fmt.Println(err)

	fmt.Println(strictjson.Check([]byte(`{"sub":"alice","SUB":"admin"}`), strictjson.Limits{FoldNames: true}))
	// Output:
	// subject alice
	// expires 1700000000 true
	// <nil>
	// json: duplicate member name at byte 15
}
