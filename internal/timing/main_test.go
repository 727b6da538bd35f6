package main

import (
	"errors"
	"io/fs"
	"math"
	"slices"
	"testing"
	"time"
)

// The answers of each kind are the same, whatever their times.
func TestAnswersAreAlike(t *testing.T) {
	subjects, err := newSubjects()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range subjects {
		if _, err := s.measure(1); err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
	}
}

// Under load every request is answered, and the honest client by what it came for.
func TestLoad(t *testing.T) {
	if _, err := resident("VmRSS"); errors.Is(err, fs.ErrNotExist) {
		t.Skip("there is no /proc here")
	}
	if _, err := load(100*time.Millisecond, 10); err != nil {
		t.Error(err)
	}
}

func TestKS(t *testing.T) {
	var even, shifted []float64
	for i := range 1000 {
		even = append(even, float64(i))
		shifted = append(shifted, float64(i)+100)
	}
	if p := ks(even, slices.Clone(even)); p != 1 {
		t.Errorf("of a sample with itself: %v, want 1", p)
	}
	if p := ks(even, shifted); p > 0.001 {
		t.Errorf("of samples a tenth apart: %v, want next to 0", p)
	}
	// D = 0.05 of two samples of 1,000: by the tables, p is about 0.16.
	if p := ks(even, slices.Concat(even[50:], []float64{2000, 2001, 2002, 2003, 2004, 2005, 2006, 2007, 2008, 2009}, seq(3000, 40))); math.Abs(p-0.16) > 0.02 {
		t.Errorf("of samples 0.05 apart: %v, want about 0.16", p)
	}
}

func seq(from float64, n int) (s []float64) {
	for i := range n {
		s = append(s, from+float64(i))
	}
	return s
}
