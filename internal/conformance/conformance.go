// Package conformance has what the suites that stores must pass have in common.
package conformance

import (
	"sync"
	"testing"
)

// Holds reports what is wrong unless ok.
func Holds(t *testing.T, ok bool, format string, args ...any) {
	t.Helper()
	if !ok {
		t.Errorf(format, args...)
	}
}

// Need is Holds for what the rest of a rule can't do without.
func Need(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// Spoil writes to all that the lists reach, their spare capacity included: a
// store whose records change by it has handed out its own.
func Spoil(lists ...[]string) {
	for _, names := range lists {
		names = names[:cap(names)]
		for i := range names {
			names[i] = "changed"
		}
	}
}

// Together calls f n times at once, and waits.
func Together(n int, f func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	wg.Wait()
}
