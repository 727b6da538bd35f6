package main

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/internal/redistest"
	"github.com/sallyport/sallyport/ratelimit"
)

// What is measured does what it says: all contenders keep the limit, of each key, and
// their writes are counted.
func TestContendersKeepTheLimit(t *testing.T) {
	for _, c := range contenders {
		t.Run(c.name, func(t *testing.T) {
			var writes atomic.Int64
			take, end, err := c.open(redistest.Start(t).Addr, ratelimit.Limit{Events: 1, Per: time.Hour, Burst: 3}, &writes)
			if err != nil {
				t.Fatal(err)
			}
			defer end()
			for key := range 2 {
				for i, want := range []bool{true, true, true, false, false} {
					if got, err := take(t.Context(), fmt.Sprint(key)); got != want || err != nil {
						t.Errorf("key %d, event %d: got %v, %v, want %v", key, i+1, got, err, want)
					}
				}
			}
			if n := writes.Load(); n < 10 || n > 30 {
				t.Errorf("%d writes for 10 decisions", n)
			}
		})
	}
}
