// Package vectors finds the public test vectors, which live outside the
// repository. Only tests import it.
package vectors

import (
	"os"
	"path/filepath"
	"testing"
)

// Path returns the path of a vector file or folder. The root is the
// environment variable SALLYPORT_VECTORS, else shared/vectors beside the
// checkout. If it isn't there the test is skipped, but if the variable is set it
// fails: somebody, such as .ci/run, says that they are there.
func Path(t testing.TB, elem ...string) string {
	t.Helper()
	root := os.Getenv("SALLYPORT_VECTORS")
	promised := root != ""
	if !promised {
		root = beside(t)
	}
	p := filepath.Join(append([]string{root}, elem...)...)
	if _, err := os.Stat(p); err != nil { //nolint:gosec // a path that the developer chose
		if promised {
			t.Fatalf("test vectors are missing: %v", err)
		}
		t.Skipf("test vectors are missing (set SALLYPORT_VECTORS): %v", err)
	}
	return p
}

// Read returns the content of a vector file, as Path finds it.
func Read(t testing.TB, elem ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(Path(t, elem...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Dir returns the root folder of the vectors.
func Dir(t testing.TB) string {
	t.Helper()
	return Path(t)
}

// beside walks up from the test's folder, past a nested module, to the root of
// the checkout, where sallyport.go is, and returns the vectors beside that.
func beside(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "sallyport.go")); err == nil {
			return filepath.Join(dir, "..", "shared", "vectors")
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "shared/vectors"
		}
		dir = up
	}
}
