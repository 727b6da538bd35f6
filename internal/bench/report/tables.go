package main

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
)

var algorithms = []string{"HS256", "RS256", "ES256", "EdDSA"}

// rows are the contenders, in the order of the table.
var rows = []string{
	"raw", "sallyport, warm, in a chain", "sallyport, warm", "sallyport, cold, in a chain", "sallyport, cold",
	"golang-jwt", "echo-jwt", "jwx", "auth0 v2", "auth0 v3", "chi/jwtauth",
}

// A target is what a figure should be at most or, if least is set, at least. The
// figure's median is what counts.
type target struct {
	of    string
	bound float64
	least bool
	print func(float64) string
	read  func(all samples, where string) (series, error) // where is inChain or "": of a door behind another, or alone
	chain bool                                            // it is not aimed at alone
}

const inChain = ", in a chain"

// targets are those of doors.
func targets() []target {
	t := []target{
		{of: "warm HS256", bound: 900, print: duration, chain: true, read: func(all samples, where string) (series, error) {
			return all.ns("HS256/sallyport, warm" + where)
		}},
		{of: "warm HS256, allocations", bound: 3, print: count, chain: true, read: func(all samples, where string) (series, error) {
			return all.allocs("HS256/sallyport, warm" + where)
		}},
	}
	for i, alg := range algorithms[:2] {
		t = append(t, target{of: "warm " + alg + ", times as fast as echo-jwt", bound: []float64{15, 40}[i], least: true, print: times, read: func(all samples, where string) (series, error) {
			return all.ratio(alg+"/echo-jwt", alg+"/sallyport, warm"+where)
		}})
	}
	t = append(t, target{of: "cold HS256, allocations", bound: 8, print: count, read: func(all samples, where string) (series, error) {
		return all.allocs("HS256/sallyport, cold" + where)
	}})
	for i, alg := range algorithms {
		t = append(t, target{of: "cold " + alg + ", to raw", bound: []float64{6, 1.15, 1.15, 1.15}[i], print: times, read: func(all samples, where string) (series, error) {
			return all.ratio(alg+"/sallyport, cold"+where, alg+"/raw")
		}})
	}
	return t
}

// cell is what a table says of v: its median and how far it varies.
func (t target) cell(v series) string {
	s := t.print(v.median())
	if least, most := t.print(slices.Min(v)), t.print(slices.Max(v)); least != most {
		s += " (" + least + " to " + most + ")"
	}
	return s
}

// judged is cell, with a word where the target is missed.
func (t target) judged(v series) string {
	if m := v.median(); t.least && m < t.bound || !t.least && m > t.bound {
		return t.cell(v) + ", **missed**"
	}
	return t.cell(v)
}

func (t target) String() string {
	if t.least {
		return "≥ " + t.print(t.bound)
	}
	return "≤ " + t.print(t.bound)
}

func (all samples) tables(rounds int) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "Whole middleware, %d rounds, with %s on %d CPUs: the median of ns/op, allocations, and the\nmedian of the ratio to the verification of the signature alone (\"raw\") in the same round.\n\n", rounds, goVersion(), runtime.NumCPU())
	for _, write := range []func(*strings.Builder) error{all.contenders, all.targets, all.garbage} {
		if err := write(&b); err != nil {
			return "", err
		}
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

func goVersion() string { return "Go " + strings.TrimPrefix(runtime.Version(), "go") }

func (all samples) contenders(b *strings.Builder) error {
	b.WriteString("| | " + strings.Join(algorithms, " | ") + " |\n|---|" + strings.Repeat("---|", len(algorithms)) + "\n")
	for _, row := range rows {
		b.WriteString("| " + row + " |")
		for _, alg := range algorithms {
			ns, err := all.ns(alg + "/" + row)
			if err != nil {
				return err
			}
			allocs, err := all.allocs(alg + "/" + row)
			if err != nil {
				return err
			}
			fmt.Fprintf(b, " %s, %s", duration(ns.median()), count(allocs.median()))
			if row != "raw" {
				ratio, err := all.ratio(alg+"/"+row, alg+"/raw")
				if err != nil {
					return err
				}
				b.WriteString(" (" + times(ratio.median()) + ")")
			}
			b.WriteString(" |")
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	return nil
}

func (all samples) targets(b *strings.Builder) error {
	b.WriteString("What was aimed at, beside the median of the rounds (and the least and the most). The first two are\nmeant for a door in a chain only.\n\n" +
		"| Sallyport | target | in a chain | alone |\n|---|---|---|---|\n")
	for _, t := range targets() {
		chain, err := t.read(all, inChain)
		if err != nil {
			return err
		}
		alone, err := t.read(all, "")
		if err != nil {
			return err
		}
		judge := t.judged
		if t.chain {
			judge = t.cell
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", t.of, t, t.judged(chain), judge(alone))
	}
	b.WriteString("\n")
	return nil
}

func (all samples) garbage(b *strings.Builder) error {
	b.WriteString("Tokens that nobody signed, each refused by `Authenticate` for its form:\n\n" +
		"| | target | ns/op | allocations | heap kept of 100,000 |\n|---|---|---|---|---|\n")
	for _, row := range []string{"no JWS", "three parts", "not base64", "1 MiB"} {
		t := target{bound: 2000, print: duration}
		if row == "1 MiB" {
			t.bound = 1000
		}
		ns, err := all.ns(row)
		if err != nil {
			return err
		}
		allocs, err := all.allocs(row)
		if err != nil {
			return err
		}
		kept, err := all.kept(row)
		if err != nil {
			return err
		}
		memory := fmt.Sprintf("%.0f KiB", kept.median()/1024)
		if row == "1 MiB" { // there is one
			memory = ""
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", row, t, t.judged(ns), count(allocs.median()), memory)
	}
	return nil
}

func count(n float64) string { return fmt.Sprintf("%.0f", n) }

func duration(ns float64) string {
	switch {
	case ns >= 1_000_000:
		return fmt.Sprintf("%.1f ms", ns/1_000_000)
	case ns >= 10_000:
		return fmt.Sprintf("%.1f µs", ns/1000)
	}
	return fmt.Sprintf("%.0f ns", ns)
}

func times(ratio float64) string {
	digits := 3
	switch {
	case ratio >= 100:
		digits = 0
	case ratio >= 10:
		digits = 1
	case ratio >= 0.1:
		digits = 2
	}
	return fmt.Sprintf("%.*f ×", digits, ratio)
}
