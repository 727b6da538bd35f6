package main

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
)

// limiters are the contenders, in the order of the tables.
var limiters = []string{"sallyport", "go-limiter", "throttled", "echo", "x/time", "ulule", "tollbooth", "httprate"}

// withMiddleware are those that have some. Echo's sets no fields.
var withMiddleware = []string{"sallyport", "go-limiter", "throttled", "ulule", "tollbooth", "httprate", "echo"}

// baseline is what the others are compared to.
const baseline = "go-limiter"

// cases are those of a decision, and what their columns are called.
var cases = []string{"hot", "10k", "1M", "10k, parallel", "hot, refused"}

// fills are the numbers of keys in a table of Sallyport, in percent of MaxKeys.
var fills = []string{"1M 55%", "1M 70%", "1M 85%", "1M", "10M 55%", "10M 100%"}

// measured is what is known about limiters.
type measured struct {
	decisions samples // in all rounds
	stalls    samples // in stallRounds
	memory    samples // once, since it does not vary, and because it takes long
	curve     samples // once
}

// stallRounds are enough to find a moment in which nothing else delays.
const stallRounds = 3

func (b bench) limits(rounds int, length string) (m measured, err error) {
	for _, one := range []struct {
		into   *samples
		names  string
		rounds int
		length string
	}{
		{&m.decisions, "Limit|LimitHTTP", rounds, length},
		{&m.stalls, "LimitStall", min(rounds, stallRounds), "1x"},
		{&m.memory, "LimitMemory|LimitSpray", 1, "1x"},
		{&m.curve, "LimitCurve", 1, length},
	} {
		if *one.into, err = b.run(one.names, one.rounds, one.length); err != nil {
			return m, err
		}
	}
	return m, nil
}

// added returns by how much a figure is more while keys expire than while they don't. It
// compares the best of the rounds, since what else the machine does only adds.
func (m measured) added(name, unit string) (series, error) {
	expiring, err := m.stalls.of("LimitStall/"+name+"/expiring", unit)
	if err != nil {
		return nil, err
	}
	kept, err := m.stalls.of("LimitStall/"+name+"/kept", unit)
	if err != nil {
		return nil, err
	}
	return series{max(0, slices.Min(expiring)-slices.Min(kept))}, nil
}

func (m measured) tables(rounds int) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "Decisions, %d rounds, with %s on %d CPUs: the median of ns/op and the median of the ratio to\n%s in the same round.\n\n", rounds, goVersion(), runtime.NumCPU(), baseline)
	for _, write := range []func(*strings.Builder) error{m.decided, m.served, m.lives, m.filled, m.aims} {
		if err := write(&b); err != nil {
			return "", err
		}
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// compared is what a table says of a benchmark and of that of the baseline.
func (m measured) compared(kind, name, of string) (string, error) {
	ns, err := m.decisions.ns(kind + "/" + name + "/" + of)
	if err != nil {
		return "", err
	}
	ratio, err := m.decisions.ratio(kind+"/"+name+"/"+of, kind+"/"+baseline+"/"+of)
	if err != nil {
		return "", err
	}
	if name == baseline {
		return duration(ns.median()), nil
	}
	return duration(ns.median()) + " (" + times(ratio.median()) + ")", nil
}

func (m measured) decided(b *strings.Builder) error {
	b.WriteString("| | hot key | 10,000 keys | a million | 10,000, in parallel | hot, refused | allocations |\n|---|---|---|---|---|---|---|\n")
	for _, name := range limiters {
		b.WriteString("| " + name + " |")
		for _, of := range cases {
			cell, err := m.compared("Limit", name, of)
			if err != nil {
				return err
			}
			b.WriteString(" " + cell + " |")
		}
		allocs, err := m.decisions.allocs("Limit/" + name + "/hot")
		if err != nil {
			return err
		}
		b.WriteString(" " + count(allocs.median()) + " |\n")
	}
	b.WriteString("\n")
	return nil
}

func (m measured) served(b *strings.Builder) error {
	b.WriteString("As whole middleware, with the fields that tell a client of its limit (echo sets none, x/time has no\nmiddleware):\n\n| | allowed | allocations | refused | allocations |\n|---|---|---|---|---|\n")
	for _, name := range withMiddleware {
		b.WriteString("| " + name + " |")
		for _, of := range []string{"allowed", "refused"} {
			cell, err := m.compared("LimitHTTP", name, of)
			if err != nil {
				return err
			}
			allocs, err := m.decisions.allocs("LimitHTTP/" + name + "/" + of)
			if err != nil {
				return err
			}
			b.WriteString(" " + cell + " | " + count(allocs.median()) + " |")
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	return nil
}

func (m measured) lives(b *strings.Builder) error {
	fmt.Fprintf(b, "A million live keys: the heap for each, with the key where it is kept; the best of three\ncollections; and by how much later the latest decision comes, and 1 of 1000, while all keys\nexpire (the best of %d runs of each kind):\n\n"+
		"| | heap per key | collection | latest, added | 99.9 %%, added |\n|---|---|---|---|---|\n", min(len(m.decisions["Limit/sallyport/hot"]), stallRounds))
	for _, name := range limiters {
		size, err := m.memory.of("LimitMemory/"+name+"/1M", "heap-bytes/key")
		if err != nil {
			return err
		}
		gc, err := m.memory.of("LimitMemory/"+name+"/1M", "gc-ns")
		if err != nil {
			return err
		}
		latest, err := m.added(name, "max-ns")
		if err != nil {
			return err
		}
		late, err := m.added(name, "p99.9-ns")
		if err != nil {
			return err
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", name, size1(size.median()), duration(gc.median()), duration(latest.median()), duration(late.median()))
	}
	b.WriteString("\n")
	return nil
}

func (m measured) filled(b *strings.Builder) error {
	b.WriteString("Sallyport's Memory, by how many keys are sent to how large a one:\n\n| MaxKeys | keys sent | with a slot of their own | heap per such key |\n|---|---|---|---|\n")
	for _, fill := range fills {
		most, percent, ok := strings.Cut(fill, " ")
		if !ok {
			percent = "100%"
		}
		kept, err := m.memory.of("LimitMemory/sallyport/"+fill, "kept")
		if err != nil {
			return err
		}
		size, err := m.memory.of("LimitMemory/sallyport/"+fill, "heap-bytes/key")
		if err != nil {
			return err
		}
		fmt.Fprintf(b, "| %s | %s | %.1f %% | %s |\n", most, strings.Replace(percent, "%", " %", 1), 100*kept.median(), size1(size.median()))
	}
	all, err := m.memory.of("LimitSpray/sallyport", "allowed")
	if err != nil {
		return err
	}
	size, err := m.memory.of("LimitSpray/sallyport", "heap-bytes")
	if err != nil {
		return err
	}
	fmt.Fprintf(b, "\nOf 50 million keys, each sent once to a Memory of a million, %s were allowed, and the heap had grown by\n%.1f MiB at the end. A thousand keys that were limited before stayed so all the time.\n\n", count(all.median()), size.median()/(1<<20))
	return nil
}

func size1(bytes float64) string { return fmt.Sprintf("%.1f B", bytes) }

// aims are the targets and what was measured.
func (m measured) aims(b *strings.Builder) error {
	decision := func(of string) func() (series, error) {
		return func() (series, error) {
			return m.decisions.ratio("Limit/sallyport/"+of, "Limit/"+baseline+"/"+of)
		}
	}
	memory := func(unit string, fills ...string) func() (series, error) {
		return func() (series, error) {
			var all series
			for _, fill := range fills {
				v, err := m.memory.of("LimitMemory/sallyport/"+fill, unit)
				if err != nil {
					return nil, err
				}
				all = append(all, v...)
			}
			return series{slices.Max(append(all, 0))}, nil
		}
	}
	b.WriteString("What was aimed at, beside the median of the rounds (and the least and the most):\n\n| Sallyport | target | measured |\n|---|---|---|\n")
	for _, one := range []struct {
		target
		read func() (series, error)
	}{
		{target{of: "hot key, to " + baseline, bound: 0.6, print: times}, decision("hot")},
		{target{of: "a million random keys, to " + baseline, bound: 0.6, print: times}, decision("1M")},
		{target{of: "decision, allocations", print: count}, func() (series, error) { return m.decisions.allocs("Limit/sallyport/hot") }},
		{target{of: "middleware, allowed, to " + baseline, bound: 0.35, print: times}, func() (series, error) {
			return m.decisions.ratio("LimitHTTP/sallyport/allowed", "LimitHTTP/"+baseline+"/allowed")
		}},
		{target{of: "middleware, allowed, allocations", bound: 4, print: count}, func() (series, error) { return m.decisions.allocs("LimitHTTP/sallyport/allowed") }},
		{target{of: "heap per key, 1M of 1M", bound: 26, print: size1}, memory("heap-bytes/key", "1M")},
		{target{of: "heap per key, 10M of 10M", bound: 26, print: size1}, memory("heap-bytes/key", "10M 100%")},
		{target{of: "heap per key, the most of the fills", bound: 40, print: size1}, memory("heap-bytes/key", fills...)},
		{target{of: "collection, a million keys", bound: 10_000_000, print: duration}, memory("gc-ns", "1M")},
		{target{of: "latest decision, added while a million keys expire", bound: 1_000_000, print: duration}, func() (series, error) { return m.added("sallyport", "max-ns") }},
	} {
		v, err := one.read()
		if err != nil {
			return err
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", one.of, one.target, one.judged(v))
	}
	return nil
}
