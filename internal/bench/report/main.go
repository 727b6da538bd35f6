// Report measures how bearer tokens are verified, by Sallyport and by its peers, and
// writes the table into README.md, between the lines <!-- jwt --> and <!-- /jwt -->.
//
//	go run ./report [-rounds 6] [-time 0.3s] [-file README.md]
//
// It runs all contenders once in each round, one after the other, so that a slow moment
// of the machine meets them all; ratios are taken within a round, and their medians are
// what counts. With -file "" it prints the table only.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func main() {
	rounds := flag.Int("rounds", 6, "how many rounds")
	length := flag.String("time", "0.3s", "how long to run each benchmark in a round")
	file := flag.String("file", "README.md", "the file to write the table into")
	flag.Parse()
	if err := report(*rounds, *length, *file); err != nil {
		log.Fatal(err)
	}
}

// A sample is one benchmark of one round.
type sample struct{ ns, allocs, kept float64 }

// samples are those of each benchmark, a round each.
type samples map[string][]sample

func report(rounds int, length, file string) error {
	dir, err := os.MkdirTemp("", "report")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary := filepath.Join(dir, "bench.test")
	if out, err := exec.Command("go", "test", "-c", "-o", binary, ".").CombinedOutput(); err != nil { //nolint:gosec // fixed arguments
		return fmt.Errorf("building the benchmarks: %w: %s", err, out)
	}
	all := make(samples)
	for round := range rounds {
		out, err := exec.Command(binary, "-test.run=^$", "-test.bench=JWT|Garbage", "-test.benchtime="+length).CombinedOutput() //nolint:gosec // built above
		if err != nil {
			return fmt.Errorf("round %d: %w: %s", round+1, err, out)
		}
		if err := all.add(out, round+1); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, rounds)
	}
	table, err := all.table(rounds)
	if err != nil {
		return err
	}
	fmt.Println(table)
	if file == "" {
		return nil
	}
	return replace(file, table)
}

var (
	line   = regexp.MustCompile(`(?m)^Benchmark(?:JWT|Garbage)/(.+?)(?:-\d+)?\s+\d+\s+([0-9.]+) ns/op(.*)$`)
	allocs = regexp.MustCompile(`([0-9.]+) allocs/op`)
	kept   = regexp.MustCompile(`([0-9.e+]+) heap-bytes-kept`)
)

func (all samples) add(out []byte, want int) error {
	for _, m := range line.FindAllSubmatch(out, -1) {
		var s sample
		var err error
		if s.ns, err = strconv.ParseFloat(string(m[2]), 64); err != nil {
			return err
		}
		if n := allocs.FindSubmatch(m[3]); n != nil {
			s.allocs, _ = strconv.ParseFloat(string(n[1]), 64)
		}
		if n := kept.FindSubmatch(m[3]); n != nil {
			s.kept, _ = strconv.ParseFloat(string(n[1]), 64)
		}
		name := strings.ReplaceAll(string(m[1]), "_", " ")
		all[name] = append(all[name], s)
	}
	for name, s := range all {
		if len(s) != want {
			return fmt.Errorf("%s was measured %d times in %d rounds", name, len(s), want)
		}
	}
	if len(all) == 0 {
		return errors.New("there are no benchmarks in the output")
	}
	return nil
}

var algorithms = []string{"HS256", "RS256", "ES256", "EdDSA"}

func (all samples) table(rounds int) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "Whole middleware, %d rounds: median ns/op, allocations, and the median of the ratio to the bare\nverification of the signature (\"raw\") in the same round.\n\n", rounds)
	b.WriteString("| | HS256 | RS256 | ES256 | EdDSA |\n|---|---|---|---|---|\n")
	for _, name := range []string{"raw", "sallyport, warm", "sallyport, cold", "golang-jwt", "echo-jwt", "jwx", "auth0", "chi/jwtauth"} {
		fmt.Fprintf(&b, "| %s |", name)
		for _, alg := range algorithms {
			s, r := all[alg+"/"+name], all[alg+"/raw"]
			if len(s) == 0 || len(r) != len(s) {
				return "", fmt.Errorf("%s/%s was not measured", alg, name)
			}
			fmt.Fprintf(&b, " %s, %.0f", format(median(s, ns)), median(s, func(s sample) float64 { return s.allocs }))
			if name != "raw" {
				fmt.Fprintf(&b, " (%s)", ratio(s, r))
			}
			b.WriteString(" |")
		}
		b.WriteString("\n")
	}
	b.WriteString("\nWhat `Require` adds where an outer door has made the request's scope (warm, \"in a chain\"):\n\n| | HS256 | RS256 | ES256 | EdDSA |\n|---|---|---|---|---|\n| ns, allocations |")
	for _, alg := range algorithms {
		with, alone := all[alg+"/scope and sallyport, warm"], all[alg+"/scope alone"]
		if len(with) != len(alone) || len(with) == 0 {
			return "", fmt.Errorf("%s: the scope was not measured", alg)
		}
		var added []sample
		for i := range with {
			added = append(added, sample{ns: with[i].ns - alone[i].ns, allocs: with[i].allocs - alone[i].allocs})
		}
		all[alg+"/sallyport, warm, in a chain"] = added
		fmt.Fprintf(&b, " %s, %.0f |", format(median(added, ns)), median(added, func(s sample) float64 { return s.allocs }))
	}
	b.WriteString("\n\n| against echo-jwt, times as fast | HS256 | RS256 | ES256 | EdDSA |\n|---|---|---|---|---|\n")
	for _, name := range []string{"sallyport, warm, in a chain", "sallyport, warm", "sallyport, cold"} {
		fmt.Fprintf(&b, "| %s |", name)
		for _, alg := range algorithms {
			fmt.Fprintf(&b, " %s |", ratio(all[alg+"/echo-jwt"], all[alg+"/"+name]))
		}
		b.WriteString("\n")
	}
	b.WriteString("\nTokens that nobody signed:\n\n| | ns | allocations | heap kept after 100,000 |\n|---|---|---|---|\n")
	for _, name := range []string{"no JWS", "three parts", "not base64", "1 MiB"} {
		s := all[name]
		if len(s) == 0 {
			return "", fmt.Errorf("%s was not measured", name)
		}
		memory := fmt.Sprintf("%.0f KiB", median(s, func(s sample) float64 { return s.kept })/1024)
		if name == "1 MiB" {
			memory = ""
		}
		fmt.Fprintf(&b, "| %s | %s | %.0f | %s |\n", name, format(median(s, ns)), median(s, func(s sample) float64 { return s.allocs }), memory)
	}
	return b.String(), nil
}

func ns(s sample) float64 { return s.ns }

func median(s []sample, of func(sample) float64) float64 {
	values := make([]float64, len(s))
	for i := range s {
		values[i] = of(s[i])
	}
	slices.Sort(values)
	if n := len(values); n%2 == 0 {
		return (values[n/2-1] + values[n/2]) / 2
	}
	return values[len(values)/2]
}

// ratio is the median of a to b within a round.
func ratio(a, b []sample) string {
	ratios := make([]sample, len(a))
	for i := range a {
		ratios[i].ns = a[i].ns / b[i].ns
	}
	switch m := median(ratios, ns); {
	case m >= 100:
		return fmt.Sprintf("%.0f ×", m)
	case m >= 10:
		return fmt.Sprintf("%.1f ×", m)
	case m >= 0.1:
		return fmt.Sprintf("%.2f ×", m)
	default:
		return fmt.Sprintf("%.3f ×", m)
	}
}

func format(ns float64) string {
	if ns >= 10_000 {
		return fmt.Sprintf("%.1f µs", ns/1000)
	}
	return fmt.Sprintf("%.0f ns", ns)
}

func replace(file, table string) error {
	text, err := os.ReadFile(file) //nolint:gosec // named by who runs this
	if err != nil {
		return err
	}
	before, rest, ok := bytes.Cut(text, []byte("<!-- jwt -->\n"))
	_, after, ok2 := bytes.Cut(rest, []byte("<!-- /jwt -->\n"))
	if !ok || !ok2 {
		return fmt.Errorf("%s has no lines <!-- jwt --> and <!-- /jwt -->", file)
	}
	var b bytes.Buffer
	b.Write(before)
	b.WriteString("<!-- jwt -->\n\n" + table + "\n<!-- /jwt -->\n")
	b.Write(after)
	return os.WriteFile(file, b.Bytes(), 0o644) //nolint:gosec // a README
}
