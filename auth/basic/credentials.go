package basic

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/internal/strictbase64"
)

const (
	maxCredentials = 8 << 10 // bytes of base64
	maxName        = 256     // bytes
)

// parse reads name and password from what follows the scheme: the standard
// base64 of the name, a colon, and the password (RFC 7617, section 2). The first
// colon divides them, so a password may contain colons.
//
// It takes only what has one reading: canonical base64, UTF-8, no control
// characters. No error contains any of it.
func parse(credentials string) (name, password string, err error) {
	if len(credentials) > maxCredentials {
		return "", "", malformed("too long")
	}
	var buf [256]byte // enough for nearly all
	decoded, err := strictbase64.Append(buf[:0], base64.StdEncoding, credentials)
	defer clear(decoded)
	if err != nil {
		return "", "", malformed("not canonical base64")
	}
	name, password, ok := strings.Cut(string(decoded), ":")
	switch {
	case !ok:
		return "", "", malformed("no colon")
	case name == "":
		return "", "", malformed("no user name")
	case len(name) > maxName:
		return "", "", malformed("the user name is too long")
	case !utf8.Valid(decoded):
		return "", "", malformed("not UTF-8")
	}
	if bytes.IndexFunc(decoded, isControl) >= 0 {
		return "", "", malformed("a control character")
	}
	return name, password, nil
}

func malformed(reason string) error {
	return fmt.Errorf("%w: malformed: %s", auth.ErrInvalid, reason)
}

// isControl tells the characters that neither a name nor a password has (RFC 7617,
// section 2).
func isControl(r rune) bool { return r < ' ' || r == 0x7f }
