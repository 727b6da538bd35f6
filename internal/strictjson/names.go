package strictjson

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"unicode"
	"unicode/utf8"
)

// smallObject is how many names are compared one by one. An object with more
// gets a hash table, so that the work stays linear whatever the names are.
const smallObject = 16

// A name is one member name of an object that is still open.
type name struct {
	// key differs only if the names differ: a few of its bytes, or its seeded
	// hash once the object has a table.
	key      uint64
	from, to int
	// folded says that from and to are offsets into scratch, where the name
	// stands unescaped and folded, not into the document.
	folded bool
}

// A nameIndex knows the names of all open objects.
type nameIndex struct {
	// The names in order, those of the innermost object last. The first ones
	// stand in the index itself, which is on the stack.
	first [24]name
	more  []name
	n     int

	scratch []byte
	tables  [][]uint32 // of closed objects, to be used again
	seed    maphash.Seed
	seeded  bool
	buf     []byte
}

// An openObject is where an object's names begin.
type openObject struct {
	names, scratch int
	table          []uint32 // positions of names, plus one; nil while small
}

func (x *nameIndex) open() openObject {
	return openObject{names: x.n, scratch: len(x.scratch)}
}

func (x *nameIndex) close(o *openObject) {
	x.n, x.scratch = o.names, x.scratch[:o.scratch]
	x.more = x.more[:max(0, x.n-len(x.first))]
	if o.table != nil {
		x.tables = append(x.tables, o.table)
	}
}

func (x *nameIndex) at(i int) *name {
	if i < len(x.first) {
		return &x.first[i]
	}
	return &x.more[i-len(x.first)]
}

func (x *nameIndex) push(n name) {
	if x.n < len(x.first) {
		x.first[x.n] = n
	} else {
		x.more = append(x.more, n)
	}
	x.n++
}

// add notes the name data[from:to], and reports false if o has it already.
// A plain name is compared as it stands, but for ASCII case if fold is set.
func (x *nameIndex) add(o *openObject, data []byte, from, to int, plain, fold bool) bool {
	n := name{from: from, to: to}
	text := data[from:to]
	if !plain {
		n.from, n.folded = len(x.scratch), true
		x.scratch = appendCanonical(x.scratch, text, fold)
		n.to = len(x.scratch)
		text = x.scratch[n.from:]
	}
	have := x.n - o.names
	if have < smallObject {
		n.key = sample(text)
		for i := o.names; i < x.n; i++ {
			if s := x.at(i); s.key == n.key && x.equal(s, text, data, fold) {
				return false
			}
		}
		x.push(n)
		return true
	}
	if 2*(have+1) > len(o.table) {
		x.grow(o, data, fold)
	}
	n.key = x.hash(text, fold)
	slot := o.slot(n.key)
	for ; o.table[slot] != 0; slot = o.slot(slot + 1) {
		if s := x.at(o.names + int(o.table[slot]) - 1); s.key == n.key && x.equal(s, text, data, fold) {
			return false
		}
	}
	x.push(n)
	o.table[slot] = uint32(have + 1) //nolint:gosec // a document has less than 4 Gi members
	return true
}

// grow doubles o's table, or makes the first one.
func (x *nameIndex) grow(o *openObject, data []byte, fold bool) {
	size := 2 * len(o.table)
	if size == 0 {
		size = 4 * smallObject
		if last := len(x.tables) - 1; last >= 0 {
			o.table, x.tables = x.tables[last], x.tables[:last]
		}
		for i := o.names; i < x.n; i++ {
			s := x.at(i)
			s.key = x.hash(x.text(s, data), fold)
		}
	}
	if cap(o.table) < size {
		o.table = make([]uint32, size)
	} else {
		// Only the part in use is cleared: an object of 17 members must not
		// pay for one of 10,000 before it.
		o.table = o.table[:size]
		clear(o.table)
	}
	for i := o.names; i < x.n; i++ {
		slot := o.slot(x.at(i).key)
		for o.table[slot] != 0 {
			slot = o.slot(slot + 1)
		}
		o.table[slot] = uint32(i - o.names + 1) //nolint:gosec // as above
	}
}

// slot returns where in the table, whose size is a power of two, h belongs.
func (o *openObject) slot(h uint64) uint64 {
	return h & uint64(len(o.table)-1) //nolint:gosec // a table is never empty
}

func (x *nameIndex) text(n *name, data []byte) []byte {
	if n.folded {
		return x.scratch[n.from:n.to]
	}
	return data[n.from:n.to]
}

func (x *nameIndex) equal(n *name, text, data []byte, fold bool) bool {
	have := x.text(n, data)
	if !fold {
		return string(have) == string(text)
	}
	if len(have) != len(text) {
		return false
	}
	for i := range have {
		if upper(have[i]) != upper(text[i]) {
			return false
		}
	}
	return true
}

// hash is seeded anew for each document: names can't be chosen to collide.
func (x *nameIndex) hash(text []byte, fold bool) uint64 {
	if !x.seeded {
		x.seed, x.seeded = maphash.MakeSeed(), true
	}
	if fold {
		x.buf = x.buf[:0]
		for _, b := range text {
			x.buf = append(x.buf, upper(b))
		}
		text = x.buf
	}
	return maphash.Bytes(x.seed, text)
}

// sample is a number that is equal for equal names, in either case, and cheap.
func sample(text []byte) uint64 {
	const letters = 0xDFDFDFDFDFDFDFDF // without the bit of ASCII case
	var head, tail uint64
	n := len(text)
	switch {
	case n >= 8:
		head, tail = binary.LittleEndian.Uint64(text), binary.LittleEndian.Uint64(text[n-8:])
	case n >= 4:
		head, tail = uint64(binary.LittleEndian.Uint32(text)), uint64(binary.LittleEndian.Uint32(text[n-4:]))
	case n > 0:
		head = uint64(text[0]) | uint64(text[n/2])<<8 | uint64(text[n-1])<<16
	}
	return head&letters ^ bits.RotateLeft64(tail&letters, 27) ^ uint64(n)*0x9E3779B97F4A7C15
}

// FoldName returns the form that is equal for exactly the names which
// Limits.FoldNames takes for the same.
func FoldName(name string) string {
	b := []byte(name)
	return string(b[:fold(b)])
}

// appendCanonical appends the text of a raw string such that equal names give
// equal bytes: unescaped and, if fold is set, with each rune replaced by the
// least one it equals under simple case folding, which for ASCII letters is
// the capital.
func appendCanonical(dst, raw []byte, folded bool) []byte {
	start := len(dst)
	dst, _ = appendText(dst, raw)
	if folded {
		dst = dst[:start+fold(dst[start:])]
	}
	return dst
}

// fold replaces each rune in place by the least one it equals, and returns the
// new length. No rune's least equal is longer than the rune in UTF-8, so the
// folded text fits where the text was.
func fold(text []byte) int {
	w := 0
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && n == 1 { // not UTF-8: as it stands
			text[w] = text[i]
			w++
		} else {
			w += utf8.EncodeRune(text[w:i+n], least(r))
		}
		i += n
	}
	return w
}

func least(r rune) rune {
	if r < utf8.RuneSelf {
		return rune(upper(byte(r))) //nolint:gosec // r is ASCII
	}
	m := r
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		m = min(m, f)
	}
	return m
}

func upper(b byte) byte {
	if 'a' <= b && b <= 'z' {
		b -= 'a' - 'A'
	}
	return b
}
