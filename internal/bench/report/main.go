// Report measures how bearer tokens are verified, how bodies are checked and header fields
// set, and how limits are kept, by Sallyport and by its peers, and writes the tables into
// README.md, between the lines <!-- jwt --> and <!-- /jwt -->, and those of doors and limits,
// and a plot into limits.svg.
//
//	go run ./report [-only jwt|doors|limits] [-rounds 6] [-time 0.3s] [-file README.md]
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
	only := flag.String("only", "", "jwt, doors or limits; all if empty")
	rounds := flag.Int("rounds", 6, "how many rounds")
	length := flag.String("time", "0.3s", "how long to run each benchmark in a round")
	file := flag.String("file", "README.md", "the file to write the tables into")
	flag.Parse()
	if err := report(*only, *rounds, *length, *file); err != nil {
		log.Fatal(err)
	}
}

func report(only string, rounds int, length, file string) error {
	if rounds < 1 {
		return fmt.Errorf("-rounds is %d", rounds)
	}
	if only != "" && only != "jwt" && only != "doors" && only != "limits" {
		return fmt.Errorf("-only is %q, none of jwt, doors and limits", only)
	}
	dir, err := os.MkdirTemp("", "report")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	b := bench{filepath.Join(dir, "bench.test")}
	if out, err := exec.Command("go", "test", "-c", "-o", b.binary, ".").CombinedOutput(); err != nil { //nolint:gosec // fixed arguments
		return fmt.Errorf("building the benchmarks: %w: %s", err, out)
	}
	for _, section := range []struct {
		mark, benchmarks string
		tables           func(samples, int) (string, error)
	}{
		{"jwt", "JWT|Garbage", samples.tables},
		{"doors", "Validate|Headers", samples.doors},
	} {
		if only != "" && only != section.mark {
			continue
		}
		all, err := b.run(section.benchmarks, rounds, length)
		if err != nil {
			return err
		}
		tables, err := section.tables(all, rounds)
		if err != nil {
			return err
		}
		if err := write(file, section.mark, tables); err != nil {
			return err
		}
	}
	if only != "" && only != "limits" {
		return nil
	}
	m, err := b.limits(rounds, length)
	if err != nil {
		return err
	}
	tables, err := m.tables(rounds)
	if err != nil {
		return err
	}
	if err := write(file, "limits", tables); err != nil || file == "" {
		return err
	}
	plot, err := m.plot()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(filepath.Dir(file), "limits.svg"), []byte(plot), 0o644) //nolint:gosec // a figure of the README
}

// bench is the test binary of the module.
type bench struct{ binary string }

// run runs the benchmarks whose names are in one of these alternatives.
func (b bench) run(names string, rounds int, length string) (samples, error) {
	all := make(samples)
	for round := range rounds {
		out, err := exec.Command(b.binary, "-test.run=^$", "-test.bench=^Benchmark("+names+")$", "-test.benchtime="+length).CombinedOutput() //nolint:gosec // built above
		if err != nil {
			return nil, fmt.Errorf("%s, round %d: %w: %s", names, round+1, err, out)
		}
		if err := all.add(out, round+1); err != nil {
			return nil, err
		}
		fmt.Fprintf(os.Stderr, "%s: round %d of %d\n", names, round+1, rounds)
	}
	return all, nil
}

// write prints tables and writes them into file, if there is one.
func write(file, mark, tables string) error {
	fmt.Println(tables)
	if file == "" {
		return nil
	}
	text, err := os.ReadFile(file) //nolint:gosec // named by who runs this
	if err != nil {
		return err
	}
	if text, err = replace(text, mark, tables); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, text, 0o644) //nolint:gosec // a README
}

// replace returns text with tables between the two lines of a mark.
func replace(text []byte, mark, tables string) ([]byte, error) {
	begin, end := "<!-- "+mark+" -->\n", "<!-- /"+mark+" -->\n"
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
