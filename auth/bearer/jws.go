package bearer

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/internal/strictjson"
)

const (
	maxTokenBytes  = 16 << 10
	maxHeaderBytes = 4 << 10
	maxKeyIDBytes  = 256
)

var headerLimits = strictjson.Limits{Depth: 8, Members: 32, Items: 64, Values: 512, Bytes: maxHeaderBytes, FoldNames: true}

// scratch is where a token is decoded. All parts of a jws lie in it, but those
// of a header that is known.
type scratch struct {
	b     []byte
	known *knownHeader
}

// A knownHeader is what was read from the header of a token whose signature was
// good. Nearly all tokens of an issuer have the same header, byte for byte, and
// the same bytes say the same, so they need not be read again. It says nothing of
// the rest of a token. It never changes.
type knownHeader struct {
	segment       string // as encoded
	alg, kid, typ []byte
}

func (j *jws) remember(token string) *knownHeader {
	return &knownHeader{
		segment: strings.Clone(token[:strings.IndexByte(token, '.')]),
		alg:     bytes.Clone(j.alg), kid: bytes.Clone(j.kid), typ: bytes.Clone(j.typ),
	}
}

// jws is a token whose form and header have been checked, and nothing else
// unless verify returned nil.
type jws struct {
	signed, header, payload, signature []byte

	alg, kid []byte
	typ      []byte // nil if there is none
}

// parse splits a compact JWS (RFC 7515 §7.1) and reads its header. A token has
// one spelling: three segments of the base64url alphabet without padding, white
// space or line breaks, in the canonical encoding. The size is bounded before
// anything is allocated.
func (s *scratch) parse(token string) (jws, error) {
	if len(token) > maxTokenBytes {
		return jws{}, errSyntax
	}
	first, last := strings.IndexByte(token, '.'), strings.LastIndexByte(token, '.')
	if first <= 0 || last == first || last == len(token)-1 || strings.IndexByte(token[first+1:last], '.') >= 0 {
		return jws{}, errSyntax
	}
	// The decoder skips line breaks. It refuses all else that is not of the
	// alphabet and, being strict, set bits that do not count.
	if strings.IndexByte(token, '\n') >= 0 || strings.IndexByte(token, '\r') >= 0 {
		return jws{}, errSyntax
	}

	// The decoded parts follow a copy of the token, in a buffer that never moves.
	if n := 2 * len(token); cap(s.b) < n {
		s.b = make([]byte, 0, n)
	}
	b := append(s.b[:0], token...)
	raw := b[:len(b):len(b)]
	defer func() { s.b = b }()
	j := jws{signed: raw[:last]}
	known := s.known != nil && s.known.segment == token[:first]
	for _, part := range []struct {
		to  *[]byte
		src []byte
	}{{&j.header, raw[:first]}, {&j.payload, raw[first+1 : last]}, {&j.signature, raw[last+1:]}} {
		if known && part.to == &j.header {
			continue
		}
		from := len(b)
		var err error
		if b, err = base64.RawURLEncoding.Strict().AppendDecode(b, part.src); err != nil {
			return jws{}, errSyntax
		}
		*part.to = b[from:len(b):len(b)]
	}
	if known {
		j.alg, j.kid, j.typ = s.known.alg, s.known.kid, s.known.typ
	} else if err := j.readHeader(); err != nil {
		return jws{}, err
	}
	return j, nil
}

// readHeader takes from the header what chooses the key. Members by which a
// token brings or points at its own key (jwk, jku, x5u, x5c, x5t) are ignored
// (RFC 8725 §3.10), like all that are not known (RFC 7515 §4).
func (j *jws) readHeader() error {
	c, err := strictjson.Read(j.header, headerLimits)
	if err != nil || c.Kind() != strictjson.Map {
		return errHeader
	}
	for more := c.Enter(); more; more = c.More() {
		name, v := memberName(c.Name()), c.Value()
		ok := true
		switch string(name) {
		case "alg":
			j.alg, ok = text(v)
		case "typ":
			j.typ, ok = text(v)
		case "kid":
			// An empty id would stand for "any key" in a lookup.
			j.kid, ok = text(v)
			ok = ok && len(j.kid) <= maxKeyIDBytes
		case "crit", "b64", "zip", "cty":
			// Nothing that changes what the payload or the signature means is
			// understood here, so it must not be ignored (RFC 7515 §4.1.11, RFC
			// 7797 §6, RFC 7516 §4.1.3); cty announces a nested token.
			return errExtension
		}
		if !ok {
			return errHeader
		}
	}
	if j.alg == nil {
		return errHeader
	}
	return nil
}

// verify checks the signature with the one key that the token names. The key's
// algorithm decides, and the token's must be the same (RFC 8725 §3.1).
func (j *jws) verify(ctx context.Context, keys jwk.Set, algorithms map[string]string) error {
	alg, ok := algorithms[string(j.alg)]
	if !ok {
		return errAlgorithm
	}
	key, err := keys.Lookup(ctx, string(j.kid), alg)
	switch {
	case errors.Is(err, jwk.ErrUnknownKey):
		return errKey
	case err != nil:
		return undecided("the key set can't tell", err)
	case key.Algorithm() != alg:
		return errKey
	case key.Verify(j.signed, j.signature) != nil:
		return errSignature
	}
	return nil
}

// checkType compares the token's type (RFC 8725 §3.11).
func (v *verifier) checkType(j *jws) error {
	if j.typ == nil {
		if v.untyped {
			return nil
		}
		return errType
	}
	for _, t := range v.types {
		if isType(j.typ, t) {
			return nil
		}
	}
	return errType
}

const typePrefix = "application/"

// isType reports whether typ is the type t, which appendType has made.
func isType(typ, t []byte) bool {
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

// appendType appends a media type in lower case, "application/" supplied where
// there is no slash (RFC 7515 §4.1.9).
func appendType(dst, typ []byte) []byte {
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

// memberName returns a name without escapes.
func memberName(n strictjson.Name) []byte {
	if n.Escaped {
		return []byte(n.String())
	}
	return n.Raw
}

// text returns the bytes of a string that is not empty. They alias the document
// if they can.
func text(v strictjson.Value) ([]byte, bool) {
	if v.Kind != strictjson.String || len(v.Raw) <= 2 {
		return nil, false
	}
	if bytes.IndexByte(v.Raw, '\\') < 0 {
		return v.Raw[1 : len(v.Raw)-1], true
	}
	s, err := v.Text()
	return []byte(s), err == nil
}
