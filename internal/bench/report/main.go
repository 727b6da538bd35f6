// Report measures how bearer tokens are verified, by Sallyport and by its peers, and
// writes the tables into README.md, between the lines <!-- jwt --> and <!-- /jwt -->.
//
//	go run ./report [-rounds 6] [-time 0.3s] [-file README.md]
//
// It runs all contenders once in each round, one after the other, so that a slow moment
// of the machine meets them all; ratios are taken within a round, and their medians are
// what counts. With -file "" it prints the tables only. A target that is missed is said
// in the tables, and is no error.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
)

func main() {
	rounds := flag.Int("rounds", 6, "how many rounds")
	length := flag.String("time", "0.3s", "how long to run each benchmark in a round")
	file := flag.String("file", "README.md", "the file to write the tables into")
	flag.Parse()
	if err := report(*rounds, *length, *file); err != nil {
		log.Fatal(err)
	}
}

func report(rounds int, length, file string) error {
	if rounds < 1 {
		return fmt.Errorf("-rounds is %d", rounds)
	}
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
		out, err := exec.Command(binary, "-test.run=^$", "-test.bench=^Benchmark(JWT|Garbage)$", "-test.benchtime="+length).CombinedOutput() //nolint:gosec // built above
		if err != nil {
			return fmt.Errorf("round %d: %w: %s", round+1, err, out)
		}
		if err := all.add(out, round+1); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, rounds)
	}
	tables, err := all.tables(rounds)
	if err != nil {
		return err
	}
	fmt.Println(tables)
	if file == "" {
		return nil
	}
	text, err := os.ReadFile(file) //nolint:gosec // named by who runs this
	if err != nil {
		return err
	}
	if text, err = replace(text, tables); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, text, 0o644) //nolint:gosec // a README
}

const begin, end = "<!-- jwt -->\n", "<!-- /jwt -->\n"

// replace returns text with tables between the two lines.
func replace(text []byte, tables string) ([]byte, error) {
	before, rest, ok := bytes.Cut(text, []byte(begin))
	_, after, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		return nil, fmt.Errorf("there are no lines %q and %q", begin, end)
	}
	var b bytes.Buffer
	b.Write(before)
	b.WriteString(begin + "\n" + tables + "\n\n" + end)
	b.Write(after)
	return b.Bytes(), nil
}
