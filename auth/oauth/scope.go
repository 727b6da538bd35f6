package oauth

import (
	"slices"
	"strings"

	"github.com/sallyport/sallyport/internal/grammar"
)

// parseScope returns the scope tokens of s, each once, or nil if s is not a
// list of them with one space between (RFC 6749, section 3.3).
func parseScope(s string) []string {
	var tokens []string
	for token := range strings.SplitSeq(s, " ") {
		if !grammar.IsScopeToken(token) || len(tokens) == maxScopes {
			return nil
		}
		if !slices.Contains(tokens, token) {
			tokens = append(tokens, token)
		}
	}
	return tokens
}

// maxScopes bounds the different scopes of one request.
const maxScopes = 256

// mayHave reports whether the client may ask for these scopes.
func (c Client) mayHave(asked []string) bool {
	return c.allScopes || subset(asked, c.Scopes)
}

// common returns the scopes that the client may have of a user who has these.
func (c Client) common(user []string) []string {
	if c.allScopes {
		return user
	}
	var both []string
	for _, one := range c.Scopes {
		if slices.Contains(user, one) {
			both = append(both, one)
		}
	}
	return both
}

// choose returns what was asked for, or everything that is allowed, each once.
func choose(asked, allowed []string) []string {
	if len(asked) > 0 {
		return asked
	}
	var all []string
	for _, one := range allowed {
		if !slices.Contains(all, one) {
			all = append(all, one)
		}
	}
	return all
}

func subset(some, all []string) bool {
	for _, one := range some {
		if !slices.Contains(all, one) {
			return false
		}
	}
	return true
}
