package property_test

import "math/rand/v2"

// newRandom returns the same numbers for the same seed.
func newRandom(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(7, seed)) } //nolint:gosec // no secret
