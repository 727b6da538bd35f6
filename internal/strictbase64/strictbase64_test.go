package strictbase64_test

import (
	"encoding/base64"
	"testing"

	"github.com/sallyport/sallyport/internal/strictbase64"
)

func TestDecode(t *testing.T) {
	for _, tt := range []struct {
		name string
		enc  *base64.Encoding
		s    string
		want string // "!" is an error
	}{
		{"empty", base64.StdEncoding, "", ""},
		{"padded", base64.StdEncoding, "YQ==", "a"},
		{"raw", base64.RawURLEncoding, "YQ", "a"},
		{"spare bits", base64.RawURLEncoding, "YR", "!"},
		{"spare bits, padded", base64.StdEncoding, "YR==", "!"},
		{"padding where none belongs", base64.RawURLEncoding, "YQ==", "!"},
		{"no padding where it belongs", base64.StdEncoding, "YQ", "!"},
		{"the other alphabet", base64.RawURLEncoding, "+/+/", "!"},
		{"line feed", base64.StdEncoding, "YQ\n==", "!"},
		{"line feed at the end", base64.StdEncoding, "YQ==\n", "!"},
		{"carriage return", base64.RawURLEncoding, "Y\rQ", "!"},
		{"blank", base64.StdEncoding, "YQ ==", "!"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := strictbase64.Decode(tt.enc, tt.s)
			if err == nil && b == nil {
				t.Error("got nil")
			}
			if got := string(b); tt.want == "!" && err == nil || tt.want != "!" && (err != nil || got != tt.want) {
				t.Errorf("got %q, %v, want %q", b, err, tt.want)
			}
		})
	}
}
