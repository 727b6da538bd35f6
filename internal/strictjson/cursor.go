package strictjson

// Object checks data as [Check] does, and that it is one object; then it calls
// visit with each of the object's members in order. Nothing is visited of a
// document that is refused. An error of visit ends the walk and is returned as
// it is; Object's own errors are of type [*Error].
func Object(data []byte, lim Limits, visit func(name string, v Value) error) error {
	var members Members
	if err := members.Read(data, lim); err != nil {
		return err
	}
	for i := range members.Len() {
		if err := visit(string(members.Name(i)), members.Value(i)); err != nil {
			return err
		}
	}
	return nil
}

// A Cursor walks a checked document from front to back and reads each byte
// once, however deep the document is.
//
//	for more := c.Enter(); more; more = c.More() {
//		name := c.Name() // in an object
//		v := c.Value()   // or Enter again
//	}
//
// Each value must be consumed, by [Cursor.Value] or by entering it and
// walking to its end, before [Cursor.More].
type Cursor struct {
	data []byte
	pos  int
}

// Read checks data as [Check] does and returns a cursor at its value.
func Read(data []byte, lim Limits) (Cursor, error) {
	if e := check(data, lim); e != nil {
		return Cursor{}, e
	}
	return Cursor{data: data, pos: skipSpace(data, 0)}, nil
}

// Kind returns the kind of the value at the cursor.
func (c *Cursor) Kind() Kind {
	if c.pos >= len(c.data) {
		return 0
	}
	return kindOf(c.data[c.pos])
}

// kindOf returns the kind of the value that begins with b.
func kindOf(b byte) Kind {
	switch b {
	case '{':
		return Map
	case '[':
		return Array
	case '"':
		return String
	case 't', 'f':
		return Bool
	case 'n':
		return Null
	}
	return Number
}

// Enter goes into the array or object at the cursor and reports whether it has
// an element. An empty one is consumed.
func (c *Cursor) Enter() bool {
	c.pos = skipSpace(c.data, c.pos+1)
	if b := c.data[c.pos]; b == ']' || b == '}' {
		c.pos++
		return false
	}
	return true
}

// More goes to the next element of the array or object the cursor is in. After
// the last one it consumes the array or object and reports false.
func (c *Cursor) More() bool {
	c.pos = skipSpace(c.data, c.pos)
	more := c.data[c.pos] == ','
	c.pos++
	if more {
		c.pos = skipSpace(c.data, c.pos)
	}
	return more
}

// A Name is a member name as written, without its quotes.
type Name struct {
	Raw     []byte // aliases the document
	Escaped bool   // Raw has escapes
}

// String returns the name's text.
func (n Name) String() string {
	if !n.Escaped {
		return string(n.Raw)
	}
	s, _ := unquote(n.Raw)
	return s
}

// Name consumes the name of the member at the cursor and goes to its value.
func (c *Cursor) Name() Name {
	from := c.pos + 1
	end, escaped := stringEnd(c.data, c.pos)
	c.pos = skipSpace(c.data, end)
	c.pos = skipSpace(c.data, c.pos+1)
	return Name{Raw: c.data[from : end-1], Escaped: escaped}
}

// Value consumes the value at the cursor, with all that is in it.
func (c *Cursor) Value() Value { return c.Place().In(c.data) }

// Place consumes the value at the cursor, as Value does, and returns where it stands.
func (c *Cursor) Place() Place {
	k, from, plain := c.Kind(), c.pos, false
	switch k {
	case String:
		var escaped bool
		c.pos, escaped = stringEnd(c.data, c.pos)
		plain = !escaped
	case Map, Array:
		c.skip()
	default:
		for c.pos < len(c.data) {
			b := c.data[c.pos]
			if b <= ' ' || b == ',' || b == '}' || b == ']' {
				break
			}
			c.pos++
		}
	}
	return place(from, c.pos, k, plain)
}

// skip consumes the array or object at the cursor.
func (c *Cursor) skip() {
	for open := 0; c.pos < len(c.data); {
		switch c.data[c.pos] {
		case '"':
			c.pos, _ = stringEnd(c.data, c.pos)
			continue
		case '{', '[':
			open++
		case '}', ']':
			open--
		}
		c.pos++
		if open == 0 {
			return
		}
	}
}

// stringEnd returns the offset after the string that begins at i, and whether
// it has escapes.
func stringEnd(data []byte, i int) (end int, escaped bool) {
	for i++; i < len(data); i++ {
		switch data[i] {
		case '"':
			return i + 1, escaped
		case '\\':
			escaped = true
			i++
		}
	}
	return i, escaped
}
