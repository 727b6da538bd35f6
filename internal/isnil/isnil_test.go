package isnil_test

import (
	"errors"
	"io"
	"os"
	"testing"

	"github.com/sallyport/sallyport/internal/isnil"
)

func TestValue(t *testing.T) {
	var file *os.File
	var reader io.Reader
	var m map[string]int
	for _, tt := range []struct {
		name string
		v    any
		want bool
	}{
		{"nil", nil, true},
		{"a nil interface", reader, true},
		{"a nil pointer in an interface", io.Reader(file), true},
		{"a nil map", m, true},
		{"a nil function", (func())(nil), true},
		{"a pointer", new(int), false},
		{"a struct", struct{}{}, false},
		{"an error", errors.New(""), false},
		{"zero", 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := isnil.Value(tt.v); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
