//go:build !linux

package validate_test

import "testing"

func limitFiles(t *testing.T, _ uint64) {
	t.Helper()
	t.Skip("files are limited on Linux only")
}
