package main

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"
)

const own = "sallyport"

// tables returns the figures as Markdown.
func (all samples) tables(rounds int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "One limit of each of %d keys, %d rounds, with %s on %d CPUs, which the server shares: the median of\n"+
		"decisions per second, and of the ratio to redis-benchmark with one script run for each decision in\n"+
		"the same round; the median of the 99th percentile; writes per decision at 128 callers.\n\n",
		keys, rounds, strings.Replace(runtime.Version(), "go", "Go ", 1), runtime.NumCPU())
	b.WriteString("| | 1 caller | 16 callers | 128 callers | p99 at 1, 16, 128 | writes |\n|---|---|---|---|---|---|\n")
	names := []string{benchmark}
	for _, c := range contenders {
		names = append(names, c.name)
	}
	for _, name := range names {
		fmt.Fprintf(&b, "| %s |", name)
		for _, n := range callers {
			fmt.Fprintf(&b, " %.1fk", median(all.of(name, n, rate))/1000)
			if name != benchmark {
				fmt.Fprintf(&b, " (%.2f ×)", median(all.ratio(name, benchmark, n, rate)))
			}
			b.WriteString(" |")
		}
		var p99s []string
		for _, n := range callers {
			p99s = append(p99s, fmt.Sprint(time.Duration(median(all.of(name, n, p99))).Round(time.Microsecond)))
		}
		fmt.Fprintf(&b, " %s | %.3f |\n", strings.Join(p99s, ", "), median(all.of(name, 128, writes)))
	}
	b.WriteString("\nWhat was aimed at, beside the median of the rounds (and the least and the most):\n\n| Sallyport | target | |\n|---|---|---|\n")
	for _, t := range []struct {
		of      string
		bound   float64
		least   bool
		figures []float64
	}{
		{"decisions at 128 callers, to redis-benchmark", 2.2, true, all.ratio(own, benchmark, 128, rate)},
		{"decisions at 128 callers, to redis_rate", 3, true, all.ratio(own, "redis_rate", 128, rate)},
		{"p99 at 128 callers, to redis_rate", 0.35, false, all.ratio(own, "redis_rate", 128, p99)},
		{"writes per decision at 128 callers", 0.1, false, all.of(own, 128, writes)},
		{"time of a decision at 1 caller, to go-redis with EVALSHA", 1.1, false, all.ratio("go-redis, EVALSHA", own, 1, rate)},
	} {
		m := median(t.figures)
		sign, missed := "≤", m > t.bound
		if t.least {
			sign, missed = "≥", m < t.bound
		}
		said := ""
		if missed {
			said = ", **missed**"
		}
		fmt.Fprintf(&b, "| %s | %s %.2f | %.2f (%.2f to %.2f)%s |\n", t.of, sign, t.bound, m, slices.Min(t.figures), slices.Max(t.figures), said)
	}
	return b.String()
}

func rate(s sample) float64   { return s.rate }
func p99(s sample) float64    { return float64(s.p99) }
func writes(s sample) float64 { return s.writes }

// of returns a figure of a contender, round by round.
func (all samples) of(name string, n int, figure func(sample) float64) []float64 {
	var figures []float64
	for _, s := range all[name][n] {
		figures = append(figures, figure(s))
	}
	return figures
}

// ratio returns that of a figure of two contenders, round by round.
func (all samples) ratio(name, to string, n int, figure func(sample) float64) []float64 {
	ratios := all.of(name, n, figure)
	for i, f := range all.of(to, n, figure) {
		ratios[i] /= f
	}
	return ratios
}

func median(figures []float64) float64 {
	sorted := slices.Sorted(slices.Values(figures))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
