package interop

import "testing"

// TestJose reads our tokens with npm's jose and our published keys, while the
// keys change.
func TestJose(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"ES256", "ES384", "ES512", "RS256", "PS256", "EdDSA", "Ed25519"} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, alg)
			runSteps(t, "jose.mjs", s, "a token", "for somebody else", "the keys change", "the old keys go", "the set is as it should be")
		})
	}
}
