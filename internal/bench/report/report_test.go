package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
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
	const begin, end = "<!-- jwt -->\n", "<!-- /jwt -->\n"
	got, err := replace([]byte("before\n"+begin+"old\n"+end+"after\n"), "jwt", "new")
	if want := "before\n" + begin + "\nnew\n\n" + end + "after\n"; err != nil || string(got) != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	again, err := replace(got, "jwt", "new")
	if err != nil || string(again) != string(got) {
		t.Errorf("the second time it is %q, %v", again, err)
	}
	for _, text := range []string{"", begin, end, end + begin, strings.ReplaceAll(begin+end, "jwt", "limits")} {
		if got, err := replace([]byte(text), "jwt", "new"); err == nil {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// limited is a run in which each limiter took its place in limiters times factor.
func limited(factor float64) (decisions, others []byte) {
	var d, o strings.Builder
	for i, name := range limiters {
		ns := 100 * factor * float64(i+1)
		for _, of := range cases {
			fmt.Fprintf(&d, "BenchmarkLimit/%s/%s-2 \t 100\t %.1f ns/op\t 0 B/op\t %d allocs/op\n", name, strings.ReplaceAll(of, " ", "_"), ns, i)
		}
		for _, of := range []string{"allowed", "refused"} {
			fmt.Fprintf(&d, "BenchmarkLimitHTTP/%s/%s-2 \t 100\t %.1f ns/op\t 0 B/op\t %d allocs/op\n", name, of, ns, i)
		}
		fmt.Fprintf(&o, "BenchmarkLimitStall/%s/kept-2 \t 1\t 1 ns/op\t 100 max-ns\t 90 p99.9-ns\n", name)
		fmt.Fprintf(&o, "BenchmarkLimitStall/%s/expiring-2 \t 1\t 1 ns/op\t %d max-ns\t %d p99.9-ns\n", name, 100+i*2_000_000, 90+i)
		fmt.Fprintf(&o, "BenchmarkLimitMemory/%s/1M-2 \t 1\t 1 ns/op\t 2000000 gc-ns\t %d heap-bytes/key\t 0.95 kept\n", name, 17+i)
		for n := 1; n <= 1_000_000; n *= 10 {
			fmt.Fprintf(&o, "BenchmarkLimitCurve/%s/%d-2 \t 1\t %.1f ns/op\n", name, n, ns)
		}
	}
	for _, fill := range fills {
		if fill != "1M" {
			fmt.Fprintf(&o, "BenchmarkLimitMemory/sallyport/%s-2 \t 1\t 1 ns/op\t 2000000 gc-ns\t 41.25 heap-bytes/key\t 1.000 kept\n", strings.ReplaceAll(fill, " ", "_"))
		}
	}
	o.WriteString("BenchmarkLimitCurve/sallyport/10000000-2 \t 1\t 300 ns/op\n")
	o.WriteString("BenchmarkLimitSpray/sallyport-2 \t 1\t 1 ns/op\t 1000000 allowed\t 16777216 heap-bytes\n")
	return []byte(d.String()), []byte(o.String())
}

func limitsOf(t *testing.T, drop string) (measured, error) {
	t.Helper()
	m := measured{make(samples), make(samples), make(samples), make(samples)}
	for round, factor := range []float64{1, 10, 1} {
		decisions, others := limited(factor)
		for _, one := range []struct {
			into samples
			out  []byte
			once bool
		}{{m.decisions, decisions, false}, {m.stalls, others, true}, {m.memory, others, true}, {m.curve, others, true}} {
			if one.once && round > 0 {
				continue
			}
			out := strings.ReplaceAll(string(one.out), drop, "Other")
			if err := one.into.add([]byte(out), round+1); err != nil {
				return m, err
			}
		}
	}
	return m, nil
}

func TestLimitTables(t *testing.T) {
	m, err := limitsOf(t, "nothing")
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.tables(3)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| sallyport | 100 ns (0.50 ×) | 100 ns (0.50 ×) | 100 ns (0.50 ×) | 100 ns (0.50 ×) | 100 ns (0.50 ×) | 0 |\n",
		"| go-limiter | 200 ns |",
		"| echo | 400 ns (2.00 ×) | 3 | 400 ns (2.00 ×) | 3 |\n",
		"| sallyport | 17.0 B | 2.0 ms | 0 ns | 0 ns |\n",
		"| throttled | 19.0 B | 2.0 ms | 4.0 ms | 2 ns |\n",
		"| 1M | 55 % | 100.0 % | 41.2 B |\n",
		"| 1M | 100 % | 95.0 % | 17.0 B |\n",
		"1000000 were allowed, and the heap had grown by\n16.0 MiB",
		"| hot key, to go-limiter | ≤ 0.60 × | 0.50 × |\n",
		"| middleware, allowed, to go-limiter | ≤ 0.35 × | 0.50 ×, **missed** |\n",
		"| heap per key, 10M of 10M | ≤ 26.0 B | 41.2 B, **missed** |\n",
		"| latest decision, added while a million keys expire | ≤ 1.0 ms | 0 ns |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %q in:\n%s", want, got)
		}
	}
}

func TestLimitsIncomplete(t *testing.T) {
	for _, drop := range []string{"Limit/echo/1M", "LimitHTTP/ulule/refused", "LimitStall/x/time/kept", "LimitMemory/throttled/1M", "LimitMemory/sallyport/10M_55%", "LimitSpray/sallyport"} {
		m, err := limitsOf(t, "Benchmark"+drop)
		if err == nil {
			_, err = m.tables(3)
		}
		if err == nil {
			t.Errorf("without %s there is no error", drop)
		}
	}
}

// The plot is well-formed, and has a line for each contender.
func TestPlot(t *testing.T) {
	m, err := limitsOf(t, "nothing")
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.plot()
	if err != nil {
		t.Fatal(err)
	}
	d := xml.NewDecoder(strings.NewReader(got))
	lines := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == "polyline" {
			lines++
		}
	}
	if lines != len(limiters) {
		t.Errorf("there are %d lines, want %d", lines, len(limiters))
	}
	if m, err = limitsOf(t, "BenchmarkLimitCurve/echo/1000-"); err == nil {
		if _, err = m.plot(); err == nil {
			t.Error("with a point missing there is no error")
		}
	}
}

// The tables of doors have a ratio within each round, and say which target is missed.
func TestDoors(t *testing.T) {
	all := make(samples)
	for round, factor := range []float64{1, 10, 1} {
		var b strings.Builder
		for i, name := range decoders {
			for _, body := range bodies {
				fmt.Fprintf(&b, "BenchmarkValidate/%s/%s-2 \t 100\t %.1f ns/op\t 64 B/op\t 12 allocs/op\n", name, strings.ReplaceAll(body, " ", "_"), factor*(1000+float64(i)*100))
			}
		}
		fmt.Fprintf(&b, "BenchmarkHeaders/sallyport-2 \t 100\t %.1f ns/op\t 0 B/op\t 0 allocs/op\n", 100*factor)
		fmt.Fprintf(&b, "BenchmarkHeaders/unrolled/secure-2 \t 100\t %.1f ns/op\t 64 B/op\t 19 allocs/op\n", 1000*factor)
		if err := all.add([]byte(b.String()), round+1); err != nil {
			t.Fatal(err)
		}
	}
	got, err := all.doors(3)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| sallyport | 1000 ns | 12 | 1000 ns | 12 |\n",
		"| unrolled/secure | 1000 ns | 19 |\n",
		"| 3 fields, to gin | ≤ 0.90 × | 0.91 ×, **missed** |\n",
		"| 20 fields, to echo | ≤ 0.90 × | 0.83 × |\n",
		"| header fields | ≤ 150 ns | 100 ns (100 ns to 1000 ns) |\n",
		"| header fields, allocations | ≤ 0 | 0 |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %q in\n%s", want, got)
		}
	}
	delete(all, "Headers/sallyport")
	if _, err := all.doors(3); err == nil {
		t.Error("without a benchmark: got no error")
	}
}
