package vectors_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/internal/vectors"
)

// A verdict is a testing.TB that remembers how the test ended.
type verdict struct {
	testing.TB
	skipped, failed string
}

func (v *verdict) Helper() {}
func (v *verdict) Skipf(format string, args ...any) {
	v.skipped = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (v *verdict) Fatalf(format string, args ...any) {
	v.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (v *verdict) Fatal(args ...any) {
	v.failed = fmt.Sprint(args...)
	runtime.Goexit()
}

// end runs f as a test of its own would, and says how it ended.
func end(f func(testing.TB)) *verdict {
	v := new(verdict)
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(v)
	}()
	<-done
	return v
}

func TestMissingVectors(t *testing.T) {
	for _, tt := range []struct {
		name, root         string
		wantSkip, wantFail bool
	}{
		{"skip where nobody promised them", "", true, false},
		{"fail where somebody did", filepath.Join(t.TempDir(), "none"), false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("SALLYPORT_VECTORS", tt.root)
			v := end(func(tb testing.TB) { vectors.Path(tb, "no such file") })
			if (v.skipped != "") != tt.wantSkip || (v.failed != "") != tt.wantFail {
				t.Errorf("got skipped %q, failed %q", v.skipped, v.failed)
			}
			if strings.ContainsRune(v.skipped+v.failed, '\n') {
				t.Errorf("the reason %q is longer than a line", v.skipped+v.failed)
			}
		})
	}
}

func TestVectorsFromTheEnvironment(t *testing.T) {
	root := t.TempDir()
	t.Setenv("SALLYPORT_VECTORS", root)
	if err := os.MkdirAll(filepath.Join(root, "json"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "json", "a.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := string(vectors.Read(t, "json", "a.json")); got != "{}" {
		t.Errorf("Read: got %q, want {}", got)
	}
	if got := vectors.Dir(t); got != root {
		t.Errorf("Dir: got %q, want %q", got, root)
	}
	if v := end(func(tb testing.TB) { vectors.Read(tb, "json") }); v.failed == "" {
		t.Error("Read of a folder did not fail")
	}
}

func TestVectorsBesideTheCheckout(t *testing.T) {
	t.Setenv("SALLYPORT_VECTORS", "")
	root := t.TempDir()
	for _, dir := range []string{"main/auth/sqlstore", "shared/vectors"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	// A nested module has a go.mod of its own; only the root has sallyport.go.
	for _, file := range []string{"main/sallyport.go", "main/auth/sqlstore/go.mod"} {
		if err := os.WriteFile(filepath.Join(root, file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(filepath.Join(root, "main", "auth", "sqlstore"))
	want, err := filepath.EvalSymlinks(filepath.Join(root, "shared", "vectors"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := filepath.EvalSymlinks(vectors.Dir(t))
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestVectorsOutsideAnyCheckout(t *testing.T) {
	t.Setenv("SALLYPORT_VECTORS", "")
	t.Chdir(t.TempDir())
	if v := end(func(tb testing.TB) { vectors.Dir(tb) }); v.skipped == "" {
		t.Errorf("got %+v, want a skip", v)
	}
}

func TestVectorsWithoutAWorkingDirectory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux lets a process lose its working directory")
	}
	t.Setenv("SALLYPORT_VECTORS", "")
	gone := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(gone, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(gone)
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	if v := end(func(tb testing.TB) { vectors.Dir(tb) }); v.failed == "" {
		t.Errorf("got %+v, want a failure", v)
	}
}
