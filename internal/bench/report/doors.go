package main

import (
	"fmt"
	"runtime"
	"strings"
)

// bodies are what is decoded, and decoders those who do.
var (
	bodies   = []string{"3 fields", "20 fields"}
	decoders = []string{"sallyport", "gin", "echo"}
)

const headerPeer = "unrolled/secure"

// doors are the tables of what stands around a handler: validation, and header fields.
func (all samples) doors(rounds int) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "%d rounds, with %s on %d CPUs: the median, and allocations.\n\n", rounds, strings.Replace(runtime.Version(), "go", "Go ", 1), runtime.NumCPU())
	b.WriteString("| decode and check | " + strings.Join(bodies, " | | ") + " | |\n|---|---|---|---|---|\n")
	row := func(name string, benchmarks ...string) error {
		b.WriteString("| " + name + " |")
		for _, of := range benchmarks {
			ns, err := all.ns(of)
			if err != nil {
				return err
			}
			allocs, err := all.allocs(of)
			if err != nil {
				return err
			}
			b.WriteString(" " + duration(ns.median()) + " | " + count(allocs.median()) + " |")
		}
		b.WriteString("\n")
		return nil
	}
	for _, name := range decoders {
		if err := row(name, "Validate/"+name+"/"+bodies[0], "Validate/"+name+"/"+bodies[1]); err != nil {
			return "", err
		}
	}
	b.WriteString("\n| header fields | | |\n|---|---|---|\n")
	for _, name := range []string{"sallyport", headerPeer} {
		if err := row(name, "Headers/"+name); err != nil {
			return "", err
		}
	}
	b.WriteString("\nWhat was aimed at, beside the median of the rounds (and the least and the most):\n\n| Sallyport | target | measured |\n|---|---|---|\n")
	say := func(t target, v series, err error) error {
		if err == nil {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", t.of, t, t.judged(v))
		}
		return err
	}
	for _, body := range bodies {
		for _, peer := range decoders[1:] {
			v, err := all.ratio("Validate/sallyport/"+body, "Validate/"+peer+"/"+body)
			if err := say(target{of: body + ", to " + peer, bound: 0.9, print: times}, v, err); err != nil {
				return "", err
			}
		}
	}
	v, err := all.ns("Headers/sallyport")
	if err := say(target{of: "header fields", bound: 150, print: duration}, v, err); err != nil {
		return "", err
	}
	v, err = all.allocs("Headers/sallyport")
	if err := say(target{of: "header fields, allocations", print: count}, v, err); err != nil {
		return "", err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}
