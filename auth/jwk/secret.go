package jwk

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
)

// minDistinctBytes is how many different bytes a secret needs. A random secret
// of 32 hexadecimal digits, the poorest alphabet in use, has 14 on average.
const minDistinctBytes = 8

// paddingRun is how many equal bytes in a row mean that a short secret was
// padded to length. In a random one they are as likely as 2^-50.
const paddingRun = 8

// loadSecret vets an HMAC secret (RFC 7518 §3.2). No check can prove that a
// secret is random; these refuse the ones that were found in the wild.
func loadSecret(a algorithm, secret []byte) (material, error) {
	size := a.hash().Size()
	if len(secret) < size {
		return material{}, fmt.Errorf("the secret has %d bytes, it needs at least the %d of the hash", len(secret), size)
	}
	var seen [256]bool
	distinct := 0
	for _, c := range secret {
		if !seen[c] {
			seen[c] = true
			distinct++
		}
	}
	if distinct < minDistinctBytes {
		return material{}, fmt.Errorf("the secret has %d different bytes, it needs at least %d: use a random one", distinct, minDistinctBytes)
	}
	if longestRun(secret) >= paddingRun {
		return material{}, fmt.Errorf("the secret has the same byte %d times in a row: use a random one", paddingRun)
	}
	if p := period(secret); p <= len(secret)/2 && p < size {
		return material{}, fmt.Errorf("the secret repeats itself after %d bytes: use a random one", p)
	}
	if isPlaceholder(secret) {
		return material{}, errors.New("the secret is made of words found in sample secrets: use a random one")
	}
	secret = bytes.Clone(secret)
	return material{
		signer:    secret,
		verifier:  secret,
		macs:      newMACs(a.hash, secret),
		size:      size,
		canonical: `{"k":"` + base64.RawURLEncoding.EncodeToString(secret) + `","kty":"oct"}`,
	}, nil
}

func longestRun(s []byte) int {
	run, longest := 0, 0
	for i, c := range s {
		if i > 0 && c != s[i-1] {
			run = 0
		}
		run++
		longest = max(longest, run)
	}
	return longest
}

// period returns the smallest p > 0 such that each byte of s equals the one p
// places before it; len(s) if there is no smaller one.
func period(s []byte) int {
	// border[i] is the length of the longest proper prefix of s[:i+1] that is
	// also its suffix.
	border := make([]int, len(s))
	for i := 1; i < len(s); i++ {
		n := border[i-1]
		for n > 0 && s[i] != s[n] {
			n = border[n-1]
		}
		if s[i] == s[n] {
			n++
		}
		border[i] = n
	}
	return len(s) - border[len(s)-1]
}

// isPlaceholder reports whether two thirds of the secret are words of sample
// secrets, the separators between them, or runs such as "abcdef" and "99999". A
// random text stays far below: the odds that it has even one of the shortest
// words are about one in a hundred.
func isPlaceholder(secret []byte) bool {
	lower := bytes.ToLower(secret)
	for _, known := range published() {
		if bytes.Contains(lower, []byte(known)) {
			return true
		}
	}
	covered := make([]bool, len(lower))
	for _, word := range placeholderWords() {
		for from := 0; ; {
			i := bytes.Index(lower[from:], []byte(word))
			if i < 0 {
				break
			}
			for j := range len(word) {
				covered[from+i+j] = true
			}
			from += i + 1
		}
	}
	n := 0
	for i, c := range lower {
		if c < 0x20 || c >= 0x7f {
			return false // not a text
		}
		letter := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		run := i > 0 && (c == lower[i-1] || c == lower[i-1]+1)
		if covered[i] || !letter || run {
			n++
		}
	}
	return 3*n >= 2*len(lower)
}

// published returns secrets that widely copied tutorials print, in lower case.
func published() []string {
	return []string{
		"09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
		"404e635266556a586e3272357538782f413f4428472b4b6250645367566b5970",
		"@ncrfujxn2r5u8x/a?d(g+kbpdsgvkyp",
		"a-string-secret-at-least-256-bits-long",
		"a-valid-string-secret-that-is-at-least-",
	}
}

func placeholderWords() []string {
	return []string{
		"access", "admin", "api", "app", "auth", "bit", "change", "default", "demo", "development", "example", "for",
		"hmac", "hs256", "hs384", "hs512", "insecure", "jwt", "key", "least", "long", "must", "never", "not", "password",
		"passphrase", "phrase", "placeholder", "please", "private", "prod", "production", "random", "refresh", "replace",
		"sample", "secret", "secure", "server", "session", "sha256", "should", "sign", "signing", "static", "strong",
		"string", "super", "test", "that", "the", "this", "token", "top", "use", "used", "very", "with", "your",
	}
}
