package interop

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// TestMain lets more tests run at a time than there are processors: most of them
// wait for another process or for a set of keys to grow old.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", "6"); err != nil {
			fmt.Fprintln(os.Stderr, "interop:", err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}
