package ratelimit_test

import (
	"testing"

	"github.com/sallyport/sallyport/ratelimit"
)

func newLockout(t testing.TB, cfg ratelimit.LockoutConfig) *ratelimit.Lockout {
	t.Helper()
	l, err := ratelimit.NewLockout(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
