// Package strictbase64 decodes base64 (RFC 4648) that has one spelling only.
package strictbase64

import (
	"encoding/base64"
	"errors"
	"strings"
)

var errLineBreak = errors.New("base64: a line break")

// strict are the encodings in use, each made once: a copy of one is 300 bytes.
var strict = map[*base64.Encoding]*base64.Encoding{
	base64.StdEncoding:    base64.StdEncoding.Strict(),
	base64.RawStdEncoding: base64.RawStdEncoding.Strict(),
	base64.URLEncoding:    base64.URLEncoding.Strict(),
	base64.RawURLEncoding: base64.RawURLEncoding.Strict(),
}

// Decode decodes s, which must be canonical: the spare bits at its end are zero
// (RFC 4648, section 3.5), padding is as enc has it, and there are no line
// breaks. Of these encoding/base64 checks the first only if it is told to, and
// the last never. What is decoded is never nil. enc is one of the four of encoding/base64.
func Decode(enc *base64.Encoding, s string) ([]byte, error) {
	return Append(make([]byte, 0, enc.DecodedLen(len(s))), enc, s)
}

// Append is [Decode] that appends to dst.
func Append(dst []byte, enc *base64.Encoding, s string) ([]byte, error) {
	if strings.IndexByte(s, '\n') >= 0 || strings.IndexByte(s, '\r') >= 0 {
		return nil, errLineBreak
	}
	return strict[enc].AppendDecode(dst, []byte(s))
}
