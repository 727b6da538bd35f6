package strictjson

import (
	"encoding/json"
	"math"
	"strconv"
	"unicode/utf8"
)

// A Kind is a kind of JSON value.
type Kind uint8

// The kinds. The zero Kind is none of them.
const (
	Null Kind = iota + 1
	Bool
	Number
	String
	Array
	Map // a JSON object; the name Object is taken by the function
)

// A Value is one value of a checked document. Values come from [Members], [Object],
// [Value.Elements] and [Cursor] only.
type Value struct {
	Kind Kind
	Raw  []byte // as written, without white space around it; aliases the document
}

// Text returns the unescaped string v is, or an [*Error] if v is no string.
func (v Value) Text() (string, error) {
	if v.Kind != String {
		return "", fail(0, NotString)
	}
	if len(v.Raw) < 2 {
		return "", fail(0, Syntax)
	}
	s, ok := unquote(v.Raw[1 : len(v.Raw)-1])
	if !ok {
		return "", fail(0, Syntax)
	}
	return s, nil
}

// Int64 returns the integer v is. It is false if v is no number, is written
// with a fraction or an exponent, or doesn't fit an int64.
func (v Value) Int64() (int64, bool) {
	if v.Kind != Number {
		return 0, false
	}
	n, err := strconv.ParseInt(string(v.Raw), 10, 64)
	return n, err == nil
}

// Float64 returns the double nearest to v. It is false if v is no number or
// beyond the range of a double.
func (v Value) Float64() (float64, bool) {
	if v.Kind != Number {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(v.Raw), 64)
	return f, err == nil && !math.IsInf(f, 0)
}

// Elements calls f with each element of the array v, in order, until f returns
// an error, which Elements returns as it is. It returns an [*Error] if v is no
// array.
func (v Value) Elements(f func(Value) error) error {
	if v.Kind != Array {
		return fail(0, NotArray)
	}
	c := Cursor{data: v.Raw}
	for more := c.Enter(); more; more = c.More() {
		if err := f(c.Value()); err != nil {
			return err
		}
	}
	return nil
}

// Any returns v as a map[string]any, []any, string, json.Number, bool or nil.
// Nothing of the result aliases the document.
func (v Value) Any() (any, error) {
	c := Cursor{data: v.Raw}
	return c.any(v.Kind)
}

func (c *Cursor) any(k Kind) (any, error) {
	switch k {
	case Map:
		m := make(map[string]any)
		for more := c.Enter(); more; more = c.More() {
			name := c.Name()
			v, err := c.any(c.Kind())
			if err != nil {
				return nil, err
			}
			m[name.String()] = v
		}
		return m, nil
	case Array:
		s := []any{}
		for more := c.Enter(); more; more = c.More() {
			v, err := c.any(c.Kind())
			if err != nil {
				return nil, err
			}
			s = append(s, v)
		}
		return s, nil
	}
	v := c.Value()
	switch v.Kind {
	case String:
		return v.Text()
	case Number:
		return json.Number(v.Raw), nil
	case Bool:
		return v.Raw[0] == 't', nil
	case Null:
		return nil, nil
	}
	return nil, fail(0, Syntax)
}

// unquote returns the text of a raw string without its quotes.
func unquote(raw []byte) (string, bool) {
	plain := true
	for _, b := range raw {
		if b == '\\' {
			plain = false
			break
		}
	}
	if plain {
		return string(raw), true
	}
	var buf [128]byte
	s, ok := appendText(buf[:0], raw)
	return string(s), ok
}

// appendText appends the text of a raw string. It is false for an escape that
// isn't one.
func appendText(dst, raw []byte) ([]byte, bool) {
	for i := 0; i < len(raw); {
		b := raw[i]
		if b != '\\' {
			dst = append(dst, b)
			i++
			continue
		}
		n, reason := escape(raw[i:])
		if reason != 0 {
			return dst, false
		}
		switch b = raw[i+1]; b {
		case 'u':
			r, _ := hex4(raw[i:])
			if n == 12 {
				low, _ := hex4(raw[i+6:])
				r = (r-0xD800)<<10 + (low - 0xDC00) + 0x10000
			}
			dst = utf8.AppendRune(dst, r)
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		default:
			dst = append(dst, b)
		}
		i += n
	}
	return dst, true
}
