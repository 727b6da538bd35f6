package property_test

import (
	"flag"
	"os"
	"testing"
)

// TestMain has each property tried 1,000 times, unless -rapid.checks says otherwise.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "1000"); err != nil {
		panic(err)
	}
	flag.Parse()
	os.Exit(m.Run())
}
