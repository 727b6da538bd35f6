package main

import (
	"fmt"
	"strings"
	"testing"
)

// output is that of a round in which each benchmark of a door took its place in rows times
// factor, in microseconds.
func output(factor float64) []byte {
	var b strings.Builder
	b.WriteString("goos: linux\ncpu: some CPU\n")
	for _, alg := range algorithms {
		for i, row := range rows {
			fmt.Fprintf(&b, "BenchmarkJWT/%s/%s-2 \t 100\t %.1f ns/op\t 64 B/op\t %d allocs/op\n", alg, strings.ReplaceAll(row, " ", "_"), factor*float64(i+1)*1000, i)
		}
	}
	for _, row := range []string{"no_JWS", "three_parts", "not_base64"} {
		fmt.Fprintf(&b, "BenchmarkGarbage/%s-2 \t 100\t 1999 ns/op\t 2.048e+03 heap-bytes-kept\t 64 B/op\t 1 allocs/op\n", row)
	}
	b.WriteString("BenchmarkGarbage/1_MiB \t 100\t 1001 ns/op\t 64 B/op\t 1 allocs/op\nPASS\n")
	return []byte(b.String())
}

// Ratios are those within a round: a round that is ten times as slow does not change
// them.
func TestTables(t *testing.T) {
	all := make(samples)
	for round, factor := range []float64{1, 10, 1} {
		if err := all.add(output(factor), round+1); err != nil {
			t.Fatal(err)
		}
	}
	got, err := all.tables(3)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| raw | 1000 ns, 0 | 1000 ns, 0 | 1000 ns, 0 | 1000 ns, 0 |\n",
		"| golang-jwt | 6000 ns, 5 (6.00 ×) |",
		"| chi/jwtauth | 11.0 µs, 10 (11.0 ×) |",
		"| warm HS256 | ≤ 900 ns | 2000 ns (2000 ns to 20.0 µs), **missed** | 3000 ns (3000 ns to 30.0 µs) |\n",
		"| warm HS256, allocations | ≤ 3 | 1 | 2 |\n",
		"| warm RS256, times as fast as echo-jwt | ≥ 40.0 × | 3.50 ×, **missed** | 2.33 ×, **missed** |\n",
		"| cold HS256, to raw | ≤ 6.00 × | 4.00 × | 5.00 × |\n",
		"| cold EdDSA, to raw | ≤ 1.15 × | 4.00 ×, **missed** | 5.00 ×, **missed** |\n",
		"| no JWS | ≤ 2000 ns | 1999 ns | 1 | 2 KiB |\n",
		"| 1 MiB | ≤ 1000 ns | 1001 ns, **missed** | 1 |  |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %q in:\n%s", want, got)
		}
	}
}

// What is missing must not become a hole in a table, or a ratio across rounds.
func TestIncompleteRound(t *testing.T) {
	for name, rounds := range map[string][]string{
		"no benchmarks":        {"PASS\n"},
		"one less in a round":  {string(output(1)), strings.Replace(string(output(1)), "JWT/RS256/jwx", "Other", 1)},
		"one that came late":   {strings.Replace(string(output(1)), "JWT/RS256/jwx", "Other", 1), string(output(1))},
		"one that never ran":   {strings.Replace(string(output(1)), "JWT/RS256/jwx", "Other", 1)},
		"no figures of memory": {strings.Replace(string(output(1)), "Garbage/no_JWS", "Other", 1)},
	} {
		t.Run(name, func(t *testing.T) {
			all := make(samples)
			var err error
			for i, out := range rounds {
				if err = all.add([]byte(out), i+1); err != nil {
					return
				}
			}
			if got, err := all.tables(len(rounds)); err == nil {
				t.Errorf("there is no error, but:\n%s", got)
			}
		})
	}
}

func TestReplace(t *testing.T) {
	got, err := replace([]byte("before\n"+begin+"old\n"+end+"after\n"), "new")
	if want := "before\n" + begin + "\nnew\n\n" + end + "after\n"; err != nil || string(got) != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	again, err := replace(got, "new")
	if err != nil || string(again) != string(got) {
		t.Errorf("the second time it is %q, %v", again, err)
	}
	for _, text := range []string{"", begin, end, end + begin} {
		if got, err := replace([]byte(text), "new"); err == nil {
			t.Errorf("%q became %q", text, got)
		}
	}
}
