// Package strictjson reads JSON as RFC 8259 defines it, and refuses what
// parsers are known to disagree about: a document that two readers understand
// differently is how a check in front is walked around.
//
// It refuses invalid UTF-8, surrogate escapes that are not a pair, a byte order
// mark, two members of one object with the same name (compared after
// unescaping, and on request without regard to case), anything after the
// value, and documents that are deeper or have more values than [Limits]
// allow. It uses no reflection and works on one byte slice.
//
// [Check] decides about a whole document, [Members.Read] finds the members of one
// that is an object, [Object] visits them, and a [Cursor] walks a checked document
// from front to back. A [Value] aliases the document: it is good only as long as
// the bytes are not changed.
package strictjson

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"
	"unicode/utf8"
)

// Limits bound a document. The zero value holds the defaults.
type Limits struct {
	// Depth is how many arrays and objects may be open at once. 0 means 32.
	Depth int
	// Members is how many members one object may have. 0 means 10,000.
	Members int
	// Items is how many elements one array may have. 0 means 10,000.
	Items int
	// Values is how many values the whole document may have, arrays, objects
	// and their elements all counted: many small arrays take as much memory to
	// decode as a long one. 0 means 50,000.
	Values int
	// Bytes is the greatest length of the document. 0 means 16 MiB; 2 GiB is the
	// most.
	Bytes int
	// Strings is how many bytes one string may have as it is written, names too, without
	// its quotes. 0 means as many as the document.
	Strings int
	// FoldNames also refuses names of one object that differ only in case
	// under Unicode simple case folding, which is what [strings.EqualFold]
	// compares and what encoding/json matches struct fields by.
	FoldNames bool
}

// maxNumber is the length of the longest number that is accepted, in bytes.
// No double needs more than 800 significant digits, while the cost of turning
// digits into a big integer grows faster than their count.
const maxNumber = 1024

func (l Limits) withDefaults() Limits {
	l.Depth = limit(l.Depth, 32)
	l.Members = limit(l.Members, 10_000)
	l.Items = limit(l.Items, 10_000)
	l.Values = limit(l.Values, 50_000)
	l.Bytes = min(limit(l.Bytes, 16<<20), math.MaxInt32)
	l.Strings = limit(l.Strings, l.Bytes)
	return l
}

func limit(n, otherwise int) int {
	if n <= 0 {
		return otherwise
	}
	return n
}

// Check reports whether data is exactly one JSON value within lim, white space
// around it allowed. The error is an [*Error]. Check doesn't allocate for a
// document that is accepted unless it has an object of more than a dozen or so
// members or a name with escapes. It is safe for concurrent use.
func Check(data []byte, lim Limits) error {
	if e := check(data, lim); e != nil {
		return e
	}
	return nil
}

func check(data []byte, lim Limits) *Error {
	c := checker{data: data, lim: lim.withDefaults()}
	return c.document(nil)
}

// A checker reads a document once. Its methods take the offset where they begin
// and return the offset after what they read; an error gathers its path as the
// calls return, so that a good document pays nothing for it.
type checker struct {
	data    []byte
	lim     Limits
	values  int
	written int // how the last string is written
	nameIndex
}

// document reads the document. If members is not nil, it gets those of the outermost
// object.
func (c *checker) document(members *memberList) *Error {
	e := c.whole(members)
	if e != nil {
		e.Pointer = pointer(e.tokens)
		e.tokens = nil
	}
	return e
}

func (c *checker) whole(members *memberList) *Error {
	switch {
	case len(c.data) > c.lim.Bytes:
		return fail(c.lim.Bytes, Size)
	case bytes.HasPrefix(c.data, []byte("\xef\xbb\xbf")):
		return fail(0, BOM)
	}
	i := c.space(0)
	if i == len(c.data) {
		return fail(i, Empty)
	}
	i, e := c.value(i, 0, members)
	if e != nil {
		return e
	}
	if i = c.space(i); i < len(c.data) {
		return fail(i, Trailing)
	}
	return nil
}

// value reads the value at i, with depth arrays and objects open around it.
func (c *checker) value(i, depth int, members *memberList) (int, *Error) {
	if c.values++; c.values > c.lim.Values {
		return i, fail(i, Count)
	}
	if i >= len(c.data) {
		return i, fail(i, Syntax)
	}
	switch c.data[i] {
	case '"':
		return c.text(i)
	case '{':
		return c.object(i, depth, members)
	case '[':
		return c.array(i, depth)
	case 't':
		return c.literal(i, "true")
	case 'f':
		return c.literal(i, "false")
	case 'n':
		return c.literal(i, "null")
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return c.number(i)
	}
	return i, fail(i, Syntax)
}

func (c *checker) object(i, depth int, list *memberList) (int, *Error) {
	if depth >= c.lim.Depth {
		return i, fail(i, Depth)
	}
	i = c.space(i + 1)
	if i < len(c.data) && c.data[i] == '}' {
		return i + 1, nil
	}
	seen := c.open()
	for members := 1; ; members++ {
		if members > c.lim.Members {
			return i, fail(i, Count)
		}
		if i >= len(c.data) || c.data[i] != '"' {
			return i, fail(i, Syntax)
		}
		from := i
		end, e := c.text(i)
		if e != nil {
			return end, e
		}
		escaped := c.written&unescaped == 0
		// A plain name can be compared with others as it stands.
		plain := !escaped && (c.written&ascii != 0 || !c.lim.FoldNames)
		if !c.add(&seen, c.data, from+1, end-1, plain, c.lim.FoldNames) {
			return end, fail(from, Duplicate).in(c.data[from+1 : end-1])
		}
		i = c.space(end)
		if i >= len(c.data) || c.data[i] != ':' {
			return i, fail(i, Syntax)
		}
		at := c.space(i + 1)
		i, e = c.value(at, depth+1, nil)
		if e != nil {
			return i, e.in(c.data[from+1 : end-1])
		}
		if list != nil {
			list.add(member{
				name:  place(from, end, String, !escaped),
				value: place(at, i, kindOf(c.data[at]), c.written&unescaped != 0),
			})
		}
		i = c.space(i)
		if i >= len(c.data) {
			return i, fail(i, Syntax)
		}
		switch c.data[i] {
		case ',':
			i = c.space(i + 1)
		case '}':
			c.close(&seen)
			return i + 1, nil
		default:
			return i, fail(i, Syntax)
		}
	}
}

func (c *checker) array(i, depth int) (int, *Error) {
	if depth >= c.lim.Depth {
		return i, fail(i, Depth)
	}
	i = c.space(i + 1)
	if i < len(c.data) && c.data[i] == ']' {
		return i + 1, nil
	}
	for items := 0; ; items++ {
		if items >= c.lim.Items {
			return i, fail(i, Count).at(items)
		}
		var e *Error
		i, e = c.value(i, depth+1, nil)
		if e != nil {
			return i, e.at(items)
		}
		i = c.space(i)
		if i >= len(c.data) {
			return i, fail(i, Syntax)
		}
		switch c.data[i] {
		case ',':
			i = c.space(i + 1)
		case ']':
			return i + 1, nil
		default:
			return i, fail(i, Syntax)
		}
	}
}

// How a string is written.
const (
	ascii     = 1 << iota // no byte above 0x7F
	unescaped             // no backslash
)

// text reads the string that begins at i with its quote, and notes how it is
// written.
func (c *checker) text(i int) (end int, e *Error) {
	data, from := c.data, i+1
	c.written = ascii | unescaped
	for i++; ; {
		for i+8 <= len(data) {
			m := special(binary.LittleEndian.Uint64(data[i:]))
			if m != 0 {
				i += bits.TrailingZeros64(m) / 8
				break
			}
			i += 8
		}
		if i >= len(data) {
			return i, fail(i, Syntax)
		}
		switch b := data[i]; {
		case b == '"':
			if i-from > c.lim.Strings {
				return from - 1, fail(from-1, Size)
			}
			return i + 1, nil
		case b == '\\':
			c.written &^= unescaped
			n, reason := escape(data[i:])
			if reason != 0 {
				return i, fail(i, reason)
			}
			i += n
		case b < 0x20:
			return i, fail(i, Syntax)
		case b < utf8.RuneSelf:
			i++
		default:
			c.written &^= ascii
			r, n := utf8.DecodeRune(data[i:])
			if r == utf8.RuneError && n == 1 {
				return i, fail(i, UTF8)
			}
			i += n
		}
	}
}

// special returns a word whose lowest set bit is in the first of x's eight bytes
// which is a control character, a quote, a backslash or beyond ASCII, and 0 if
// none is.
func special(x uint64) uint64 {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	q := x ^ ones*'"'
	s := x ^ ones*'\\'
	return (x | (x-ones*0x20)&^x | (q-ones)&^q | (s-ones)&^s) & highs
}

// escape returns the length of the escape sequence s begins with. A pair of
// surrogates counts as one.
func escape(s []byte) (n int, reason Reason) {
	if len(s) < 2 {
		return 0, Syntax
	}
	switch s[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2, 0
	case 'u':
		r, ok := hex4(s)
		switch {
		case !ok:
			return 0, Syntax
		case r < 0xD800 || r > 0xDFFF:
			return 6, 0
		}
		low, ok := hex4(s[6:])
		if r > 0xDBFF || !ok || low < 0xDC00 || low > 0xDFFF {
			return 0, Surrogate
		}
		return 12, 0
	}
	return 0, Syntax
}

// hex4 decodes the \uXXXX which s begins with.
func hex4(s []byte) (r rune, ok bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	for _, b := range s[2:6] {
		switch {
		case '0' <= b && b <= '9':
			b -= '0'
		case 'a' <= b && b <= 'f':
			b -= 'a' - 10
		case 'A' <= b && b <= 'F':
			b -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(b)
	}
	return r, true
}

func (c *checker) number(from int) (int, *Error) {
	i := from
	if c.data[i] == '-' {
		i++
	}
	switch {
	case i >= len(c.data):
		return i, fail(i, Syntax)
	case c.data[i] == '0':
		i++
	default:
		n := c.digits(i)
		if n == i {
			return i, fail(i, Syntax)
		}
		i = n
	}
	if i < len(c.data) && c.data[i] == '.' {
		n := c.digits(i + 1)
		if n == i+1 {
			return n, fail(n, Syntax)
		}
		i = n
	}
	if i < len(c.data) && c.data[i]|0x20 == 'e' {
		i++
		if i < len(c.data) && (c.data[i] == '+' || c.data[i] == '-') {
			i++
		}
		n := c.digits(i)
		if n == i {
			return i, fail(i, Syntax)
		}
		i = n
	}
	if i-from > maxNumber {
		return i, fail(from, Size)
	}
	return i, nil
}

func (c *checker) digits(i int) int {
	for i < len(c.data) && '0' <= c.data[i] && c.data[i] <= '9' {
		i++
	}
	return i
}

func (c *checker) literal(i int, word string) (int, *Error) {
	if len(c.data)-i < len(word) || string(c.data[i:i+len(word)]) != word {
		return i, fail(i, Syntax)
	}
	return i + len(word), nil
}

func (c *checker) space(i int) int {
	return skipSpace(c.data, i)
}

func skipSpace(data []byte, i int) int {
	for i < len(data) && data[i] <= ' ' && (data[i] == ' ' || data[i] == '\n' || data[i] == '\r' || data[i] == '\t') {
		i++
	}
	return i
}
