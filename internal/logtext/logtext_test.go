package logtext_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/sallyport/sallyport/internal/logtext"
)

func TestClean(t *testing.T) {
	for _, tt := range []struct {
		name  string
		in    string
		limit int
		want  string
	}{
		{"empty", "", 0, ""},
		{"plain", "GET /items?x=1", 0, "GET /items?x=1"},
		{"beyond ASCII", "Grüße, 世界 🌍", 0, "Grüße, 世界 🌍"},
		{"line feed", "a\nb", 0, `a\nb`},
		{"carriage return and line feed", "a\r\n2026 INFO granted", 0, `a\r\n2026 INFO granted`},
		{"tab", "a\tb", 0, `a\tb`},
		{"NUL", "a\x00b", 0, `a\x00b`},
		{"ANSI escape", "\x1b[31mred", 0, `\x1b[31mred`},
		{"delete", "a\x7f", 0, `a\x7f`},
		{"C1 control, next line", "a\u0085b", 0, `a\u0085b`},
		{"C1 control sequence introducer", "\u009b2J", 0, `\u009b2J`},
		{"bidi override", "user\u202egnp.exe", 0, `user\u202egnp.exe`},
		{"bidi isolate", "\u2066a\u2069", 0, `\u2066a\u2069`},
		{"zero width space", "ad\u200bmin", 0, `ad\u200bmin`},
		{"byte order mark", "\ufeffa", 0, `\ufeffa`},
		{"soft hyphen", "a\u00adb", 0, `a\u00adb`},
		{"line separator", "a\u2028b", 0, `a\u2028b`},
		{"paragraph separator", "a\u2029b", 0, `a\u2029b`},
		{"tag characters", "a\U000e0041", 0, `a\U000e0041`},
		{"not UTF-8", "a\xffb", 0, `a\xffb`},
		{"surrogate in UTF-8", "\xed\xa0\x80", 0, `\xed\xa0\x80`},
		{"overlong slash", "\xc0\xaf", 0, `\xc0\xaf`},
		{"cut short in a character", "a\xe4\xb8", 0, `a\xe4\xb8`},
		{"a real replacement character", "a\ufffdb", 0, `a\ufffdb`},
		{"negative limit is none", "a\nb", -1, `a\nb`},
		{"as long as the limit", "abcd", 4, "abcd"},
		{"longer than the limit", "abcde", 4, "abcd…"},
		{"characters are never cut", "ééé", 3, "éé…"},
		{"escapes are never cut", "\n\n\n", 3, `\n\n…`},
		{"short, but not once escaped", "\x00\x00", 5, `\x00\x00`},
		{"short, cut once escaped", "\x00\x00", 4, `\x00…`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := logtext.Clean(tt.in, tt.limit)
			if got != tt.want {
				t.Errorf("Clean(%q, %d): got %q, want %q", tt.in, tt.limit, got, tt.want)
			}
		})
	}
}

func TestCleanLeavesAlmostEveryTextWithoutACopy(t *testing.T) {
	for _, s := range []string{"/items/42", "Grüße aus 東京"} {
		if n := testing.AllocsPerRun(100, func() { logtext.Clean(s, 512) }); n != 0 {
			t.Errorf("Clean(%q) allocates %v times, want 0", s, n)
		}
	}
}

func FuzzClean(f *testing.F) {
	for _, s := range []string{"", "plain", "a\r\nb", "\x1b[31m", "\u202e", "a\xff\xfe", "\ufffd", "\U000e0041\U000e0041", "日本語"} {
		f.Add(s, 0)
		f.Add(s, 3)
	}
	f.Fuzz(func(t *testing.T, s string, limit int) {
		got := logtext.Clean(s, limit)
		if !utf8.ValidString(got) {
			t.Fatalf("Clean(%q, %d) = %q is not UTF-8", s, limit, got)
		}
		for _, c := range got {
			if unicode.IsControl(c) || unicode.In(c, unicode.Cf, unicode.Zl, unicode.Zp) {
				t.Fatalf("Clean(%q, %d) = %q holds %U", s, limit, got, c)
			}
		}
		// One character or escape may begin below the limit and end above it.
		if limit > 0 && len(got) >= limit+len(`\U000e0041`)+len("…") {
			t.Fatalf("Clean(%q, %d) is %d bytes long", s, limit, len(got))
		}
		if limit <= 0 {
			if again := logtext.Clean(got, 0); again != got {
				t.Fatalf("Clean is not idempotent: %q, then %q", got, again)
			}
			if strings.HasSuffix(got, "…") != strings.HasSuffix(s, "…") {
				t.Fatalf("Clean(%q, %d) = %q was cut without a limit", s, limit, got)
			}
		}
		if printable := !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c > '~' }); printable && (limit <= 0 || len(s) <= limit) && got != s {
			t.Fatalf("Clean(%q, %d) = %q, want it unchanged", s, limit, got)
		}
	})
}

func ExampleClean() {
	fmt.Println(logtext.Clean("alice\r\nINFO login of admin", 512))
	fmt.Println(logtext.Clean("a very long name", 6))
	// Output:
	// alice\r\nINFO login of admin
	// a very…
}

func BenchmarkClean(b *testing.B) {
	for _, bb := range []struct{ name, text string }{
		{"plain", "/items/42/comments/7"},
		{"beyond ASCII", "/items/grüße/東京"},
		{"hostile", "alice\r\nINFO login of admin\x1b[2J"},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				logtext.Clean(bb.text, 512)
			}
		})
	}
}
