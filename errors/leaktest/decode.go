package leaktest

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// decoders undo what a canary might be written in. Each takes a text with whatever else is in it,
// and returns what the text comes to, or nothing.
var decoders = []struct {
	name   string
	decode func([]byte) []byte
}{
	{"escaped", unescape},
	{"in hexadecimal", hexadecimal},
	{"in numbers", numbers},
	{"in base64", inBase64},
	{"in base32", inBase32},
}

// escapes are those of URLs and quoted-printable, of JSON, Go and C, and of HTML.
var escapes = regexp.MustCompile(`[%=][0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\[0-3][0-7]{2}|&#[xX][0-9A-Fa-f]{1,6};|&#[0-9]{1,7};`)

func unescape(b []byte) []byte {
	found := false
	b = escapes.ReplaceAllFunc(b, func(e []byte) []byte {
		found = true
		digits, base := strings.Trim(string(e), `%=\&#;uxX`), 16
		if e[0] == '&' && e[2]|0x20 != 'x' {
			base = 10
		}
		if e[0] == '\\' && e[1] < '8' {
			base = 8
		}
		n, _ := strconv.ParseUint(digits, base, 32) // which the expression has looked at
		if n > 0xff {
			return fmt.Appendf(nil, "%c", n)
		}
		return []byte{byte(n)}
	})
	if !found {
		return nil
	}
	return b
}

func hexadecimal(b []byte) []byte {
	b = bytes.ReplaceAll(bytes.ToLower(b), []byte("0x"), nil)
	return shifted(pick(b, "0123456789abcdef"), 2, hex.Decode)
}

func inBase64(b []byte) []byte {
	b = bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("-"), []byte("+")), []byte("_"), []byte("/"))
	return shifted(pick(b, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"), 4, base64.RawStdEncoding.Decode)
}

func inBase32(b []byte) []byte {
	b = append(pick(bytes.ToUpper(b), "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"), "AAAAAAA"...) // not to end in what is no part of a group
	return shifted(b, 8, base32.StdEncoding.WithPadding(base32.NoPadding).Decode)
}

// pick returns the characters of b that are in an alphabet, so that blanks, commas and line breaks
// among them hide nothing.
func pick(b []byte, alphabet string) []byte {
	var in [256]bool
	for i := range len(alphabet) {
		in[alphabet[i]] = true
	}
	picked := make([]byte, 0, len(b))
	for _, c := range b {
		if in[c] {
			picked = append(picked, c)
		}
	}
	return picked
}

// shifted decodes b, whose characters stand in groups, from each of those of the first group on:
// what stands before a canary shifts it.
func shifted(b []byte, group int, decode func(dst, src []byte) (int, error)) []byte {
	all := make([]byte, 0, group*(len(b)+1))
	for shift := range min(group, len(b)) {
		dst := all[len(all) : len(all)+len(b)-shift]
		n, _ := decode(dst, b[shift:]) // b has nothing but the alphabet, and may end within a group
		all = append(all[:len(all)+n], 0)
	}
	return all
}

// numbers takes the decimal numbers of b that are bytes, as fmt and encoding/json write them.
func numbers(b []byte) (decoded []byte) {
	for field := range bytes.FieldsFuncSeq(b, func(c rune) bool { return c < '0' || c > '9' }) {
		if n, err := strconv.ParseUint(string(field), 10, 8); err == nil {
			decoded = append(decoded, byte(n))
		}
	}
	return decoded
}

// mostInflated bounds what comes of decompressing in all, in bytes.
const mostInflated = 8 << 20

// gzipHeader is how many bytes of what follows a stream gzip looks at.
const gzipHeader = 10

// An inflater decompresses whatever looks like gzip or zlib, as far as it goes.
type inflater struct {
	left int64 // bytes that it may still make
	from bytes.Reader
	gzip gzip.Reader
	zlib io.ReadCloser
}

func (f *inflater) inflate(b []byte) (decoded []byte) {
	for i := 0; i+2 < len(b) && f.left > 0; i++ {
		f.from.Reset(b[i:])
		var r io.Reader
		switch {
		case b[i] == 0x1f && b[i+1] == 0x8b && b[i+2] == 8:
			if f.gzip.Reset(&f.from) != nil {
				continue
			}
			r = &f.gzip
		case b[i] == 0x78 && (b[i+1] == 0x01 || b[i+1] == 0x5e || b[i+1] == 0x9c || b[i+1] == 0xda): // the four levels
			var err error
			if f.zlib == nil {
				f.zlib, err = zlib.NewReader(&f.from)
			} else {
				err = f.zlib.(zlib.Resetter).Reset(&f.from, nil)
			}
			if err != nil {
				continue
			}
			r = f.zlib
		default:
			continue
		}
		part, err := io.ReadAll(io.LimitReader(r, f.left))
		f.left -= int64(len(part))
		if len(part) >= row {
			decoded = append(append(decoded, part...), 0)
		}
		// What was read to its end, its checksum among it, is read once: gzip has streams of streams.
		if end := len(b) - f.from.Len(); err == nil {
			i = max(i, end-1)
		} else if err == gzip.ErrHeader { //nolint:errorlint // as gzip returns it: what follows is no gzip
			i = max(i, end-gzipHeader-1)
		}
	}
	return decoded
}

// printable returns what in b might be a canary that is encoded once more: the characters of ASCII
// of which ten or more stand together. What was decoded from the wrong place has few.
func printable(b []byte) (runs []byte) {
	const least = 10 // seven characters and an escape
	begin := 0
	for i := 0; i <= len(b); i++ {
		if i < len(b) && (b[i] >= ' ' && b[i] <= '~' || b[i] == '\t' || b[i] == '\r' || b[i] == '\n') {
			continue
		}
		if i-begin >= least {
			runs = append(append(runs, b[begin:i]...), 0)
		}
		begin = i + 1
	}
	return runs
}
