package leaktest_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/errors/leaktest"
)

// witness is a testing.TB that counts errors.
type witness struct {
	testing.TB
	errors int
}

func (*witness) Helper()                 {}
func (w *witness) Errorf(string, ...any) { w.errors++ }

// escaped writes each byte of s in a format.
func escaped(format, s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, format, c)
	}
	return b.String()
}

// wrapped breaks lines behind n characters.
func wrapped(s string, n int) string {
	var lines []string
	for len(s) > n {
		lines, s = append(lines, s[:n]), s[n:]
	}
	return strings.Join(append(lines, s), "\r\n ")
}

func compressed(s string, to func(io.Writer) io.WriteCloser) string {
	var b bytes.Buffer
	w := to(&b)
	_, _ = io.WriteString(w, s)
	_ = w.Close()
	return b.String()
}

// inPieces returns the streams of seven characters each, as one.
func inPieces(s string) (pieces string) {
	for len(s) > 0 {
		n := min(len(s), 7)
		pieces += compressed(s[:n], func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
		s = s[n:]
	}
	return pieces
}

// The canary is found however it is written, wherever it is, also cut.
func TestFinds(t *testing.T) {
	c := leaktest.New(t)
	s := c.String()
	secret := strings.TrimPrefix(s, "Canary")
	b64 := base64.StdEncoding.EncodeToString
	asJSON, _ := json.Marshal(map[string]any{"detail": s})
	reversed := []byte(s)
	slices.Reverse(reversed)
	for _, tt := range []struct{ name, text, how string }{
		{"as it is", "x" + s + "y", "as it is"},
		{"in an error", c.Error().Error(), "as it is"},
		{"in lower case", strings.ToLower(s), "as it is"},
		{"in upper case", strings.ToUpper(s), "as it is"},
		{"its beginning", secret[:8], "as it is"},
		{"its end", "…" + secret[len(secret)-8:], "as it is"},
		{"from its middle", secret[9:17] + "…", "as it is"},
		{"in JSON", string(asJSON), "as it is"},
		{"escaped for HTML", html.EscapeString("<" + s + ">"), "as it is"},
		{"in a URL", url.QueryEscape("a b" + s), "as it is"},
		{"backwards", string(reversed), "backwards"},
		{"percent-encoded", escaped("%%%02X", s), "escaped"},
		{"in part percent-encoded", secret[:4] + escaped("%%%02x", secret[4:5]) + secret[5:8], "escaped"},
		{"in JSON escapes", escaped(`\u%04X`, s), "escaped"},
		{"in escapes of Go", escaped(`\x%02x`, s), "escaped"},
		{"in octal escapes", escaped(`\%03o`, s), "escaped"},
		{"in HTML references", escaped("&#x%X;", s), "escaped"},
		{"in decimal HTML references", escaped("&#%d;", s), "escaped"},
		{"hexadecimal", "ab" + hex.EncodeToString([]byte("ab"+s+"c")), "in hexadecimal"},
		{"hexadecimal, shifted", "a" + fmt.Sprintf("%X", s), "in hexadecimal"},
		{"hexadecimal with blanks", fmt.Sprintf("% x", s), "in hexadecimal"},
		{"a slice of bytes in the form of Go", fmt.Sprintf("%#v", []byte(s)), "in hexadecimal"},
		{"a slice of bytes", fmt.Sprintf("%d", []byte(s)), "in numbers"},
		{"a list of numbers in JSON", "[1,2," + strings.TrimSuffix(escaped("%d,", s), ",") + "]", "in numbers"},
		{"a hexadecimal dump", hex.Dump([]byte(s)), "as it is"},
		{"base64 of 20 in a line", wrapped(b64([]byte("some text before "+s+" and after")), 20), "in base64"},
		{"base64, percent-encoded", escaped("%%%02X", b64([]byte("aa"+s))), "escaped, in base64"},
		{"base32", base32.StdEncoding.EncodeToString([]byte("abc" + s)), "in base32"},
		{"base32 in lower case", "x y" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString([]byte(s))), "in base32"},
		{"base64 of eight characters", b64([]byte(secret[5:13])), "in base64"},
		{"base32 of eight characters", "A" + base32.StdEncoding.EncodeToString([]byte(secret[5:13])), "in base32"},
		{"base32 of eight characters and a letter behind it", base32.StdEncoding.EncodeToString([]byte(secret[5:13])) + " b", "in base32"},
		{"zlib behind many streams", strings.Repeat(compressed(strings.Repeat("0123456789", 100), func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }), 200) + compressed(s, func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }), "compressed"},
		{"in pieces of gzip", inPieces(s), "compressed"},
		{"a megabyte deep in gzip", compressed(strings.Repeat("0123456789", 100_000)+s, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }), "compressed"},
		{"hexadecimal of eight characters", "a" + hex.EncodeToString([]byte(secret[5:13])) + "b", "in hexadecimal"},
		{"eight characters, one of them escaped", secret[:3] + escaped("%%%x", secret[3:4]) + secret[4:8], "escaped"},
		{"percent-encoded twice", strings.ReplaceAll(escaped("%%%02X", s), "%", "%25"), "escaped, escaped"},
		{"base64 of base64", b64([]byte("x" + b64([]byte("y"+s)))), "in base64, in base64"},
		{"base64, backwards", b64(reversed), "in base64, backwards"},
		{"gzip", compressed("text "+s, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }), "compressed"},
		{"zlib behind something", "\x1f\x8bx\x00" + compressed("text "+s, func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }), "compressed"},
		{"gzip behind text", strings.Repeat("linux x^2 \x1f\x8b\b ", 50) + compressed("text "+s, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }), "compressed"},
		{"base64 in gzip", compressed(b64([]byte(s)), func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }), "compressed, in base64"},
		{"base64 of gzip behind other base64", b64(bytes.Repeat([]byte("x\x9cfi x"), 30000)) + "\n" + b64([]byte(compressed(s, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }))), "in base64, compressed"},
		{"base64 of gzip", b64([]byte(compressed(s, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }))), "in base64, compressed"},
	} {
		if got := c.Find([]byte(tt.text)); got != tt.how {
			t.Errorf("%s: found %q in %q, want %q", tt.name, got, tt.text, tt.how)
		}
	}
	for before := range 8 {
		for after := range 8 {
			plain := []byte(strings.Repeat("?", before) + s + strings.Repeat("?", after))
			for name, e := range map[string]interface{ EncodeToString([]byte) string }{
				"base64": base64.StdEncoding, "raw base64": base64.RawStdEncoding, "base64url": base64.URLEncoding, "base32": base32.StdEncoding,
			} {
				if c.Find([]byte("in "+e.EncodeToString(plain))) == "" {
					t.Errorf("%s, %d before and %d after: not found", name, before, after)
				}
			}
		}
	}
	for _, text := range []string{"", "canary", "Canary", hex.EncodeToString([]byte("Canary")), b64([]byte("Canary")), leaktest.New(t).String(), secret[:7], secret[:7] + "." + secret[8:15]} {
		if form := c.Find([]byte(text)); form != "" {
			t.Errorf("found %s in %q", form, text)
		}
	}
}

// What is random has no canary, however it is read.
func TestFindsNothingInNoise(t *testing.T) {
	noise := make([]byte, 8<<10)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise)
	text := string(noise) + hex.EncodeToString(noise) + base64.StdEncoding.EncodeToString(noise) + base32.StdEncoding.EncodeToString(noise) + fmt.Sprintf("%d", noise) + url.QueryEscape(string(noise))
	if how := leaktest.New(t).Find([]byte(text)); how != "" {
		t.Errorf("found %s", how)
	}
}

func FuzzFind(f *testing.F) {
	c := leaktest.New(f)
	f.Add([]byte("%43\\u0043&#x43;\\x43\\103&#67;Q2FuYXJ5 0x43, 67 97"))
	f.Add([]byte("\x1f\x8b\x08\x00x\x9c"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<12 {
			return
		}
		if how := c.Find(b); how != "" {
			t.Errorf("found %s in %q", how, b)
		}
		behind := slices.Concat(b, []byte(" "+c.String()))
		for name, text := range map[string][]byte{
			"as it is": behind, "in base64": []byte(base64.URLEncoding.EncodeToString(behind)), "in base32": []byte(base32.StdEncoding.EncodeToString(behind)),
			"in hexadecimal": []byte(hex.EncodeToString(behind)), "in numbers": fmt.Appendf(nil, "%d", behind), "escaped": []byte(escaped("%%%02x", string(behind))),
		} {
			if c.Find(text) == "" {
				t.Errorf("not found behind %q, %s", b, name)
			}
		}
	})
}

func TestServe(t *testing.T) {
	for name, tt := range map[string]struct {
		h    func(c *leaktest.Canary) http.HandlerFunc
		want int
	}{
		"nothing": {func(*leaktest.Canary) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }
		}, 0},
		"in the body": {func(c *leaktest.Canary) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, c.Error().Error(), 500) }
		}, 1},
		"in a field": {func(c *leaktest.Canary) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Error", c.String()) }
		}, 1},
		"in the name of a field": {func(c *leaktest.Canary) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-"+c.String(), "x") }
		}, 1},
		"in a trailer": {func(c *leaktest.Canary) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Trailer", "X-T")
				_, _ = w.Write([]byte("x"))
				w.Header().Set("X-T", c.String())
			}
		}, 1},
		"in an early hint": {func(c *leaktest.Canary) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Link", c.String())
				w.WriteHeader(http.StatusEarlyHints)
				w.Header().Del("Link")
				w.WriteHeader(http.StatusNoContent)
			}
		}, 1},
		"behind an early hint": {func(c *leaktest.Canary) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusEarlyHints)
				w.Header().Set("X-Error", c.String())
				w.WriteHeader(http.StatusBadGateway)
			}
		}, 1},
		"a panic": {func(c *leaktest.Canary) http.HandlerFunc {
			return func(http.ResponseWriter, *http.Request) { panic(c.Error()) }
		}, 1},
		"an aborted answer": {func(*leaktest.Canary) http.HandlerFunc {
			return func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
		}, 0},
	} {
		w := &witness{TB: t}
		c := leaktest.New(w)
		resp := c.Serve(tt.h(c), httptest.NewRequest("GET", "/", nil))
		if w.errors != tt.want || resp == nil {
			t.Errorf("%s: got %d errors, want %d", name, w.errors, tt.want)
		}
	}
}
