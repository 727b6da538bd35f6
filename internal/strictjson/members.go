package strictjson

// Members are the members of one object, in order. They alias the document. The zero
// Members is an object without any.
type Members struct {
	data []byte
	list memberList
}

// Read checks data as [Check] does, and that it is one object, and makes m its members.
// It reads the document once. The error is an [*Error], and m has no members then.
// Nothing is allocated for the first 16 members.
func (m *Members) Read(data []byte, lim Limits) error {
	m.data, m.list.n, m.list.more = data, 0, m.list.more[:0]
	c := checker{data: data, lim: lim.withDefaults()}
	e := c.document(&m.list)
	if e == nil {
		if i := skipSpace(data, 0); data[i] != '{' {
			e = fail(i, NotObject)
		}
	}
	if e != nil {
		m.list.n = 0
		return e
	}
	return nil
}

// Len returns how many members there are. The methods below take a member's number,
// from 0 to Len()-1.
func (m *Members) Len() int { return m.list.n }

// Name returns the name of member i, without escapes. It aliases the document if it
// can.
func (m *Members) Name(i int) []byte {
	p := m.list.at(i).name
	raw := m.data[p.From+1 : p.To-1]
	if !p.Plain {
		return []byte(Name{Raw: raw, Escaped: true}.String())
	}
	return raw
}

// Value returns the value of member i.
func (m *Members) Value(i int) Value { return m.list.at(i).value.In(m.data) }

// Place returns where the value of member i stands.
func (m *Members) Place(i int) Place { return m.list.at(i).value }

// A Place is where a value stands in a document that has been checked.
type Place struct {
	From, To int32
	Kind     Kind
	Plain    bool // it has no escapes, if it is a string
}

// place returns a Place. No document that has been checked is too long for it.
func place(from, to int, k Kind, plain bool) Place {
	return Place{From: int32(from), To: int32(to), Kind: k, Plain: plain} //nolint:gosec // see Limits.Bytes
}

// In returns the value that stands at p in data, which is the document that p is of.
func (p Place) In(data []byte) Value {
	return Value{Kind: p.Kind, Raw: data[p.From:p.To:p.To]}
}

// Cursor returns a cursor at p in data, which is the document that p is of.
func (p Place) Cursor(data []byte) Cursor { return Cursor{data: data, pos: int(p.From)} }

// A memberList is where the members of an object stand. It has no pointers into the
// document, so that documents need not be on the heap.
type memberList struct {
	n     int
	first [16]member
	more  []member
}

type member struct{ name, value Place }

func (l *memberList) at(i int) *member {
	if i < len(l.first) {
		return &l.first[i]
	}
	return &l.more[i-len(l.first)]
}

func (l *memberList) add(m member) {
	if l.n < len(l.first) {
		l.first[l.n] = m
	} else {
		l.more = append(l.more, m)
	}
	l.n++
}
