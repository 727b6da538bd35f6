package quoted_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/internal/quoted"
)

func TestString(t *testing.T) {
	for _, tt := range []struct {
		name, in, want string
		valid          bool
	}{
		{"empty", "", `""`, true},
		{"plain", "api", `"api"`, true},
		{"space", "the api", `"the api"`, true},
		{"quote", `a"b`, `"a\"b"`, true},
		{"backslash", `a\b`, `"a\\b"`, true},
		{"backslash at the end", `a\`, `"a\\"`, true},
		{"a way out of the string", `x", error="none`, `"x\", error=\"none"`, true},
		{"all that is printable", "!~ ", `"!~ "`, true},
		{"line break", "a\r\nSet-Cookie: x=1", `"a??Set-Cookie: x=1"`, false},
		{"NUL", "a\x00b", `"a?b"`, false},
		{"tab", "a\tb", `"a?b"`, false},
		{"escape", "\x1b[2J", `"?[2J"`, false},
		{"delete", "a\x7f", `"a?"`, false},
		{"not ASCII, each byte", "é", `"??"`, false},
		{"not UTF-8", "a\xff", `"a?"`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := quoted.String(tt.in); got != tt.want {
				t.Errorf("String(%q): got %s, want %s", tt.in, got, tt.want)
			}
			if got := string(quoted.Append([]byte("realm="), tt.in)); got != "realm="+tt.want {
				t.Errorf("Append(%q): got %s, want realm=%s", tt.in, got, tt.want)
			}
			if got := quoted.Valid(tt.in); got != tt.valid {
				t.Errorf("Valid(%q): got %v, want %v", tt.in, got, tt.valid)
			}
		})
	}
}

// unquote undoes the escapes of a quoted-string, and fails if q is not exactly
// one (RFC 9110, section 5.6.4).
func unquote(t *testing.T, q string) string {
	t.Helper()
	if len(q) < 2 || q[0] != '"' || q[len(q)-1] != '"' {
		t.Fatalf("%q does not begin and end with a quote", q)
	}
	inside := q[1 : len(q)-1]
	var b strings.Builder
	for i := 0; i < len(inside); i++ {
		switch c := inside[i]; {
		case c == '"':
			t.Fatalf("%q ends before its end", q)
		case c < ' ' || c > '~':
			t.Fatalf("%q holds the byte %#x", q, c)
		case c == '\\':
			if i++; i == len(inside) {
				t.Fatalf("%q escapes its last quote", q)
			}
			b.WriteByte(inside[i])
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func FuzzString(f *testing.F) {
	for _, s := range []string{"", "api", `a"b\c`, `\`, `\"`, "a\r\nb", "\x00\x7f\xff", "é\u2028", `x", y="`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		q := quoted.String(s)
		back := unquote(t, q)
		if len(back) != len(s) {
			t.Fatalf("String(%q) = %s drops or adds characters", s, q)
		}
		if (back == s) != quoted.Valid(s) {
			t.Fatalf("Valid(%q) = %v, but String keeps it as %q", s, quoted.Valid(s), back)
		}
		if !quoted.Valid(q) {
			t.Fatalf("String(%q) = %q is not printable ASCII", s, q)
		}
	})
}

func ExampleString() {
	fmt.Println("Basic realm=" + quoted.String(`the "inner" api`))
	// Output: Basic realm="the \"inner\" api"
}

func BenchmarkAppend(b *testing.B) {
	buf := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		buf = quoted.Append(buf[:0], "https://api.example.com")
	}
}
