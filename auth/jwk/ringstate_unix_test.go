//go:build unix

package jwk_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sallyport/sallyport/auth/jwk"
)

// A pipe has no size and no end, and opening it waits for somebody who writes.
func TestLoadRingStateOfAPipe(t *testing.T) {
	name := filepath.Join(t.TempDir(), "ring.json")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Skip(err)
	}
	if _, err := jwk.LoadRingState(name); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("got %v, want an error that it is no file", err)
	}
}
