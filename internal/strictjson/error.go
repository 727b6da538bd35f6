package strictjson

import (
	"strconv"
	"strings"
)

// An Error says why a document was refused, and where.
type Error struct {
	// Offset is the number of bytes before the place of the error.
	Offset int
	// Pointer is the JSON Pointer (RFC 6901) of the value that was being read.
	// It is made of member names as they were sent: it may go to a log that
	// escapes what it writes, not back to the sender.
	Pointer string
	// Reason is what is wrong there.
	Reason Reason

	tokens []string // of Pointer, innermost first
}

// Error names the reason and the offset, and nothing of the document.
func (e *Error) Error() string {
	return "json: " + e.Reason.String() + " at byte " + strconv.Itoa(e.Offset)
}

func fail(offset int, r Reason) *Error {
	return &Error{Offset: offset, Reason: r}
}

// in puts the error inside the member with the given name, as written.
func (e *Error) in(raw []byte) *Error {
	name, _ := unquote(raw)
	e.tokens = append(e.tokens, name)
	return e
}

// at puts the error inside the array element with the given index.
func (e *Error) at(index int) *Error {
	e.tokens = append(e.tokens, strconv.Itoa(index))
	return e
}

// pointer joins tokens, innermost first.
func pointer(tokens []string) string {
	var b strings.Builder
	for i := len(tokens) - 1; i >= 0; i-- {
		b.WriteByte('/')
		b.WriteString(EscapePointer(tokens[i]))
	}
	return b.String()
}

// EscapePointer returns token as it stands between the slashes of a JSON
// Pointer (RFC 6901, section 3).
func EscapePointer(token string) string {
	if !strings.ContainsAny(token, "~/") {
		return token
	}
	return strings.ReplaceAll(strings.ReplaceAll(token, "~", "~0"), "/", "~1")
}

// A Reason is why a document was refused.
type Reason uint8

// The reasons.
const (
	Syntax    Reason = iota + 1 // not the grammar of RFC 8259
	Empty                       // no value at all
	BOM                         // a byte order mark before the value
	Trailing                    // something after the value
	UTF8                        // bytes that are not UTF-8
	Surrogate                   // a surrogate escape without its other half
	Duplicate                   // the name stood in this object before
	Depth                       // nested deeper than Limits.Depth
	Count                       // more than Limits.Members, Items or Values
	Size                        // longer than Limits.Bytes or Strings, or a number of more than 1,024 bytes
	NotObject                   // a value where an object is due
	NotString                   // a value where a string is due
	NotArray                    // a value where an array is due
)

// String returns the reason in plain words.
func (r Reason) String() string {
	switch r {
	case Syntax:
		return "syntax error"
	case Empty:
		return "no value"
	case BOM:
		return "byte order mark"
	case Trailing:
		return "data after the value"
	case UTF8:
		return "invalid UTF-8"
	case Surrogate:
		return "surrogate escape without its pair"
	case Duplicate:
		return "duplicate member name"
	case Depth:
		return "nested too deeply"
	case Count:
		return "too many values"
	case Size:
		return "too long"
	case NotObject:
		return "not an object"
	case NotString:
		return "not a string"
	case NotArray:
		return "not an array"
	}
	return "unknown reason"
}
