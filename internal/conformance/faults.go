package conformance

import (
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const childVariable = "CONFORMANCE_FAULTY"

// Faulty skips the test that calls it, unless it is run by [Catches]. The test
// gives the suite one faulty store in each subtest, and so fails.
func Faulty(t *testing.T) {
	t.Helper()
	if os.Getenv(childVariable) == "" {
		t.Skip("it is run in a process of its own, to see it fail")
	}
}

// Catches runs the test of the given name in a process of its own, and checks
// that in the subtest of each fault the named rules of the suite fail: a suite
// that finds no fault proves nothing. Subtests whose rules wait may be parallel.
func Catches(t *testing.T, test string, rules map[string][]string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+test+"$", "-test.v", "-test.parallel=64") //nolint:gosec // this very binary
	cmd.Env = append(os.Environ(), childVariable+"=1")
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatal("no fault was caught")
	}
	for _, fault := range slices.Sorted(maps.Keys(rules)) {
		for _, rule := range rules[fault] {
			line := "--- FAIL: " + strings.ReplaceAll(test+"/"+fault+"/"+rule, " ", "_") + " ("
			if !strings.Contains(string(out), line) {
				t.Errorf("%s: the rule %q did not catch it", fault, rule)
			}
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}
