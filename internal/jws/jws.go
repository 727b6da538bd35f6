// Package jws takes tokens apart: signed ones in the compact form (RFC 7515,
// section 7.1), before anything in them is believed. Access tokens, DPoP proofs
// and client assertions are read by it, so that there is one reader of what an
// attacker sends.
package jws

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/sallyport/sallyport/internal/strictjson"
)

const (
	// MaxBytes bounds a token.
	MaxBytes = 16 << 10

	maxHeaderBytes = 4 << 10
	maxKeyIDBytes  = 256
	maxNumericDate = 253402300799 // 9999-12-31T23:59:59Z
)

// The reasons for which a token is refused before its signature is checked.
var (
	ErrSyntax    = errors.New("not a JWS in its compact form")
	ErrHeader    = errors.New("the header is not acceptable")
	ErrExtension = errors.New("the header has an extension that is not supported")
)

var headerLimits = strictjson.Limits{Depth: 8, Members: 32, Items: 64, Values: 512, Bytes: maxHeaderBytes, FoldNames: true}

// ClaimLimits are those of a claims set, for strictjson.Read.
var ClaimLimits = strictjson.Limits{Depth: 16, Members: 256, Items: 1024, Values: 4096, Bytes: MaxBytes, FoldNames: true}

// A Scratch is where a token is decoded. All parts of a Token lie in it, but those
// of a header that is known, so they are good until the next Parse or Clear. The
// zero Scratch is ready for use, by one goroutine at a time.
type Scratch struct {
	b []byte
	// Known, if not nil, is a header that need not be read again.
	Known *KnownHeader
}

// Clear overwrites what the last Parse decoded, so that no token stays in memory
// longer than it must.
func (s *Scratch) Clear() { clear(s.b) }

// Buffer returns the memory that tokens are decoded in, for tests.
func (s *Scratch) Buffer() []byte { return s.b[:cap(s.b)] }

// A KnownHeader is what was read from the header of a token whose signature was
// good. Nearly all tokens of an issuer have the same header, byte for byte, and
// the same bytes say the same, so they need not be read again. It says nothing of
// the rest of a token. It never changes.
type KnownHeader struct {
	segment  string // as encoded
	kid      string
	alg, typ []byte
}

// A Token is one whose form and header have been checked, and nothing else.
type Token struct {
	Signed    []byte // what the signature is over
	Header    []byte // nil if it was known
	Payload   []byte
	Signature []byte

	Alg   []byte // never empty
	KeyID string // "" if there is none
	Type  []byte // nil if there is none
	// JWK is the header's member of that name, a JSON object, or nil. Only a DPoP
	// proof may bring its own key (RFC 9449, section 4.2).
	JWK []byte
}

// Known returns what need not be read again of j's header. token is what j was
// parsed from, and its signature was good.
func (j *Token) Known(token string) *KnownHeader {
	return &KnownHeader{
		segment: strings.Clone(token[:strings.IndexByte(token, '.')]),
		kid:     j.KeyID, alg: bytes.Clone(j.Alg), typ: bytes.Clone(j.Type),
	}
}

// HasForm reports whether a token may be a compact JWS: it is not too long, and has
// two dots. That is quick to see, however long the token.
func HasForm(token string) bool {
	return len(token) <= MaxBytes && strings.Count(token, ".") == 2
}

// Parse splits a compact JWS and reads its header. A token has one spelling: three
// segments of the base64url alphabet without padding, white space or line breaks,
// in the canonical encoding. The size is bounded before anything is allocated.
func (s *Scratch) Parse(token string) (Token, error) {
	if len(token) > MaxBytes {
		return Token{}, ErrSyntax
	}
	first := strings.IndexByte(token, '.')
	last := first + 1 + strings.IndexByte(token[first+1:], '.')
	if first <= 0 || last <= first || last == len(token)-1 || strings.IndexByte(token[last+1:], '.') >= 0 {
		return Token{}, ErrSyntax
	}
	// The decoder skips line breaks. It refuses all else that is not of the alphabet.
	if strings.IndexByte(token, '\n') >= 0 || strings.IndexByte(token, '\r') >= 0 {
		return Token{}, ErrSyntax
	}

	// The decoded parts follow a copy of the token, in a buffer that never moves.
	if n := 2 * len(token); cap(s.b) < n {
		s.b = make([]byte, 0, n)
	}
	s.b = append(s.b[:0], token...)
	raw := s.b[:len(s.b):len(s.b)]
	j := Token{Signed: raw[:last]}
	known := s.Known != nil && s.Known.segment == token[:first]
	ok := true
	if !known {
		j.Header, ok = s.decode(raw[:first])
	}
	if ok {
		j.Payload, ok = s.decode(raw[first+1 : last])
	}
	if ok {
		j.Signature, ok = s.decode(raw[last+1:])
	}
	if !ok {
		return Token{}, ErrSyntax
	}
	if known {
		j.Alg, j.KeyID, j.Type = s.Known.alg, s.Known.kid, s.Known.typ
	} else if err := j.readHeader(); err != nil {
		return Token{}, err
	}
	return j, nil
}

// encoding refuses set bits that do not count: "YR" is no other spelling of "YQ".
var encoding = base64.RawURLEncoding.Strict()

// decode appends what segment encodes to the buffer.
func (s *Scratch) decode(segment []byte) ([]byte, bool) {
	from := len(s.b)
	b, err := encoding.AppendDecode(s.b, segment)
	s.b = b
	return b[from:len(b):len(b)], err == nil
}

// readHeader takes from the header what chooses the key. Members by which a
// token points at its own key (jku, x5u, x5c, x5t) are ignored (RFC 8725 §3.10),
// like all that are not known (RFC 7515 §4).
func (j *Token) readHeader() error {
	var members strictjson.Members
	if err := members.Read(j.Header, headerLimits); err != nil {
		return ErrHeader
	}
	for i := range members.Len() {
		v := members.Value(i)
		ok := true
		switch string(members.Name(i)) {
		case "alg":
			j.Alg, ok = Text(v)
		case "typ":
			j.Type, ok = Text(v)
		case "kid":
			// An empty id would stand for "any key" in a lookup.
			var id []byte
			if id, ok = Text(v); ok && len(id) <= maxKeyIDBytes {
				j.KeyID = string(id)
			} else {
				ok = false
			}
		case "jwk":
			j.JWK = v.Raw
		case "crit", "b64", "zip", "cty":
			// Nothing that changes what the payload or the signature means is
			// understood here, so it must not be ignored (RFC 7515 §4.1.11, RFC
			// 7797 §6, RFC 7516 §4.1.3); cty announces a nested token.
			return ErrExtension
		}
		if !ok {
			return ErrHeader
		}
	}
	if j.Alg == nil {
		return ErrHeader
	}
	return nil
}

const typePrefix = "application/"

// IsType reports whether typ is the type t, which [AppendType] has made.
func IsType(typ, t []byte) bool {
	if bytes.IndexByte(typ, '/') < 0 {
		t = bytes.TrimPrefix(t, []byte(typePrefix))
	}
	if len(typ) != len(t) {
		return false
	}
	for i, c := range typ {
		if lower(c) != t[i] {
			return false
		}
	}
	return true
}

// AppendType appends a media type in lower case, "application/" supplied where
// there is no slash (RFC 7515 §4.1.9).
func AppendType(dst, typ []byte) []byte {
	if bytes.IndexByte(typ, '/') < 0 {
		dst = append(dst, typePrefix...)
	}
	for _, c := range typ {
		dst = append(dst, lower(c))
	}
	return dst
}

// lower knows ASCII alone: other letters that fold to it, such as the Kelvin
// sign, are not the same.
func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// MemberName returns a name without escapes. It aliases the document if it can.
func MemberName(n strictjson.Name) []byte {
	if n.Escaped {
		return []byte(n.String())
	}
	return n.Raw
}

// Text returns the bytes of a string that is not empty. They alias the document
// if they can.
func Text(v strictjson.Value) ([]byte, bool) {
	if v.Kind != strictjson.String || len(v.Raw) <= 2 {
		return nil, false
	}
	if bytes.IndexByte(v.Raw, '\\') < 0 {
		return v.Raw[1 : len(v.Raw)-1], true
	}
	s, err := v.Text()
	return []byte(s), err == nil
}

// String is [Text] as a string of its own.
func String(v strictjson.Value) (string, bool) {
	b, ok := Text(v)
	return string(b), ok
}

// NumericDate reads seconds since 1970, which may have a fraction (RFC 7519 §2).
// Years beyond 9999 are refused before they can overflow.
func NumericDate(value strictjson.Value) (time.Time, bool) {
	if n, ok := value.Int64(); ok {
		return time.Unix(n, 0), n >= 0 && n <= maxNumericDate
	}
	f, ok := value.Float64()
	if !ok || !(f >= 0 && f <= maxNumericDate) {
		return time.Time{}, false
	}
	n := int64(f)
	return time.Unix(n, int64((f-float64(n))*1e9)), true
}
