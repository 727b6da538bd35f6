package grammar_test

import (
	"testing"

	"github.com/sallyport/sallyport/internal/grammar"
)

func TestTokens(t *testing.T) {
	for _, tt := range []struct {
		s            string
		token, scope bool
	}{
		{"", false, false},
		{"X-API-Key", true, true},
		{"!#$%&'*+-.^_`|~09azAZ", true, true},
		{"items:read", false, true},
		{"a b", false, false},
		{"a\tb", false, false},
		{`a"b`, false, false},
		{`a\b`, false, false},
		{"a/b", false, true},
		{"a\x00", false, false},
		{"a\x7f", false, false},
		{"é", false, false},
		{"a\r\nb", false, false},
	} {
		if got := grammar.IsToken(tt.s); got != tt.token {
			t.Errorf("IsToken(%q) = %v, want %v", tt.s, got, tt.token)
		}
		if got := grammar.IsScopeToken(tt.s); got != tt.scope {
			t.Errorf("IsScopeToken(%q) = %v, want %v", tt.s, got, tt.scope)
		}
	}
}

func TestIsToken68(t *testing.T) {
	for s, want := range map[string]bool{
		"a": true, "a.b.c": true, "abc==": true, "-._~+/09azAZ": true,
		"": false, "=": false, "==": false, "=a": false, "a=b": false, "a b": false, "a,b": false, "a\x00": false, "a\n": false, "\u00e9": false, "a\"": false,
	} {
		if got := grammar.IsToken68(s); got != want {
			t.Errorf("IsToken68(%q) = %v, want %v", s, got, want)
		}
	}
}

func TestQValue(t *testing.T) {
	for s, want := range map[string]int{
		"0": 0, "1": 1000, "0.": 0, "1.": 1000, "0.5": 500, "0.05": 50, "0.005": 5, "0.999": 999, "1.000": 1000,
		"": -1, "2": -1, "1.001": -1, "1.5": -1, "0.0001": -1, ".5": -1, "00.5": -1, "-0": -1, "+1": -1, "0.+1": -1, "0.5 ": -1, "0.5.1": -1, "1e0": -1,
	} {
		got, ok := grammar.QValue(s)
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("QValue(%q) = %d, %v; want %d", s, got, ok, want)
		}
	}
}
