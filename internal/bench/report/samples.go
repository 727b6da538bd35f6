package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A sample is one benchmark of one round: a figure for each unit.
type sample map[string]float64

// samples are those of each benchmark, a round each.
type samples map[string][]sample

var line = regexp.MustCompile(`(?m)^Benchmark(\w+/.+?)(?:-\d+)?\s+\d+\s+([0-9.]+ ns/op.*)$`)

// add reads the output of a round. After it each benchmark has been measured in each of
// the rounds so far, so that the places of a slice are rounds.
func (all samples) add(out []byte, rounds int) error {
	for _, m := range line.FindAllSubmatch(out, -1) {
		s := make(sample)
		figures := strings.Fields(string(m[2]))
		for i := 0; i+1 < len(figures); i += 2 {
			v, err := strconv.ParseFloat(figures[i], 64)
			if err != nil {
				return err
			}
			s[figures[i+1]] = v
		}
		name := strings.ReplaceAll(string(m[1]), "_", " ")
		name = strings.TrimPrefix(strings.TrimPrefix(name, "JWT/"), "Garbage/")
		all[name] = append(all[name], s)
	}
	if len(all) == 0 {
		return errors.New("there are no benchmarks in the output")
	}
	for name, s := range all {
		if len(s) != rounds {
			return fmt.Errorf("%s was measured %d times in %d rounds", name, len(s), rounds)
		}
	}
	return nil
}

// A series is a figure, of each round.
type series []float64

// of returns the figures of a unit. It returns an error if the benchmark was not run,
// which would otherwise be a hole in a table.
func (all samples) of(name, unit string) (series, error) {
	if len(all[name]) == 0 {
		return nil, fmt.Errorf("%s was not measured", name)
	}
	var v series
	for _, s := range all[name] {
		v = append(v, s[unit])
	}
	return v, nil
}

func (all samples) ns(name string) (series, error)     { return all.of(name, "ns/op") }
func (all samples) allocs(name string) (series, error) { return all.of(name, "allocs/op") }
func (all samples) kept(name string) (series, error)   { return all.of(name, "heap-bytes-kept") }

// ratio returns how many times as long as b a took, within each round.
func (all samples) ratio(a, b string) (series, error) {
	x, err := all.ns(a)
	if err != nil {
		return nil, err
	}
	y, err := all.ns(b)
	if err != nil {
		return nil, err
	}
	for i := range x {
		x[i] /= y[i]
	}
	return x, nil
}

func (v series) median() float64 {
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}
