package language_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/internal/language"
)

func TestChoose(t *testing.T) {
	offered := []string{"en", "de", "pt-BR", "zh-Hant-TW"}
	for _, tt := range []struct {
		name   string
		accept []string
		want   string
	}{
		{"no field", nil, ""},
		{"an empty field", []string{""}, ""},
		{"one", []string{"de"}, "de"},
		{"another case", []string{"DE"}, "de"},
		{"of a region", []string{"de-CH"}, "de"},
		{"of two more subtags", []string{"de-Latn-CH-1996"}, "de"},
		{"the first of equals", []string{"de, en"}, "de"},
		{"by weight", []string{"de;q=0.8, en"}, "en"},
		{"by weight, with spaces", []string{"en ; q=0.8 ,\tde;q=0.9"}, "de"},
		{"by weight, over two lines", []string{"en;q=0.5", "de;q=0.501"}, "de"},
		{"none of them", []string{"fr, ja"}, ""},
		{"the second choice", []string{"fr, de;q=0.1"}, "de"},
		{"a range that begins a tag", []string{"pt"}, "pt-BR"},
		{"another region", []string{"pt-PT"}, ""},
		{"script and region", []string{"zh-Hant"}, "zh-Hant-TW"},
		{"no subtag begins so", []string{"zh-Han"}, ""},
		{"any", []string{"*"}, "en"},
		{"any but one", []string{"*, en;q=0"}, "de"},
		{"not this", []string{"de;q=0"}, ""},
		{"a region of what is ruled out", []string{"de-CH, de;q=0"}, ""},
		{"any is ruled out, one is asked for", []string{"*;q=0, de"}, "de"},
		{"a region is ruled out, its language is not", []string{"de-CH;q=0, de"}, "de"},
		{"first what is there, then any", []string{"fr, *;q=0.1"}, "en"},
		{"malformed ranges are passed over", []string{"d_e, en;x=1, en;q=2, en;q=1.001, en;q=, -, de-, 1a, abcdefghi, pt-BR;q=1.000"}, "pt-BR"},
		{"a parameter that is no weight", []string{"en;level=1"}, ""},
		{"a negative weight", []string{"en;q=-1"}, ""},
		{"after 32 ranges", []string{strings.Repeat("fr,", 32) + "de"}, ""},
		{"in a long field", []string{"de," + strings.Repeat("x", 1<<10)}, ""},
		{"before a long field", []string{"de", strings.Repeat("x", 1<<10)}, "de"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := language.Choose(tt.accept, offered...); got != tt.want {
				t.Errorf("Choose(%q) = %q, want %q", tt.accept, got, tt.want)
			}
		})
	}
	if got := language.Choose([]string{"de"}); got != "" {
		t.Errorf("of none: %q", got)
	}
}

func TestWithEnglish(t *testing.T) {
	for _, tt := range []struct{ tags, want []string }{
		{nil, nil},
		{[]string{"de", "pt-BR"}, []string{"en", "de", "pt-BR"}},
		{[]string{"de", "en"}, []string{"de", "en"}},
		{[]string{"EN", "de"}, []string{"EN", "de"}},
		{[]string{"en-GB", "de"}, []string{"en", "en-GB", "de"}},
		{[]string{"enm"}, []string{"en", "enm"}},
	} {
		if got := language.WithEnglish(tt.tags); !slices.Equal(got, tt.want) {
			t.Errorf("WithEnglish(%q) = %q, want %q", tt.tags, got, tt.want)
		}
	}
}

func TestIsTag(t *testing.T) {
	for s, want := range map[string]bool{
		"de": true, "x": true, "pt-BR": true, "es-419": true, "zh-Hant-TW": true, "abcdefgh": true,
		"": false, "-": false, "de-": false, "-de": false, "de--CH": false, "419": false, "a1": false,
		"abcdefghi": false, "de_CH": false, "dé": false, "*": false, "de CH": false,
	} {
		if language.IsTag(s) != want {
			t.Errorf("IsTag(%q) = %v", s, !want)
		}
	}
}

func FuzzChoose(f *testing.F) {
	f.Add("de-CH;q=0.8, *;q=0, en", "x")
	f.Fuzz(func(t *testing.T, a, b string) {
		offered := []string{"en", "pt-BR"}
		if got := language.Choose([]string{a, b}, offered...); got != "" && !slices.Contains(offered, got) {
			t.Errorf("chose %q", got)
		}
	})
}
