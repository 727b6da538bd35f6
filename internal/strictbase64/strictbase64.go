// Package strictbase64 decodes base64 (RFC 4648) that has one spelling only.
package strictbase64

import (
	"encoding/base64"
	"errors"
	"strings"
)

var errLineBreak = errors.New("base64: a line break")

// Decode decodes s, which must be canonical: the spare bits at its end are zero
// (RFC 4648, section 3.5), padding is as enc has it, and there are no line
// breaks. Of these encoding/base64 checks the first only if it is told to, and
// the last never.
func Decode(enc *base64.Encoding, s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errLineBreak
	}
	return enc.Strict().DecodeString(s)
}
