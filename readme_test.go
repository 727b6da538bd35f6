package sallyport_test

import (
	"os"
	"strings"
	"testing"
)

// The program in the README is examples/minimal, which is compiled and vetted.
func TestREADMEShowsTheMinimalExample(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "```go\n")
	shown, _, ok := strings.Cut(rest, "```\n")
	if !ok {
		t.Fatal("the README has no Go program")
	}
	program, err := os.ReadFile("examples/minimal/main.go")
	if err != nil {
		t.Fatal(err)
	}
	if shown != string(program) {
		t.Error("the program in README.md is not examples/minimal/main.go")
	}
}
