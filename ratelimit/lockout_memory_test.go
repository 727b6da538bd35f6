package ratelimit_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/ratelimit"
	"github.com/sallyport/sallyport/ratelimit/storetest"
)

func TestMemoryLockouts(t *testing.T) {
	for name, cfg := range map[string]ratelimit.MemoryConfig{"default": {}, "in small tables": {MaxKeys: 8192}} {
		t.Run(name, func(t *testing.T) {
			storetest.RunLockouts(t, storetest.LockoutSubject{
				New:     func(t *testing.T) ratelimit.LockoutStore { return newMemory(t, cfg) },
				Advance: time.Sleep, Frozen: true, In: synctest.Test,
			})
		})
	}
}
