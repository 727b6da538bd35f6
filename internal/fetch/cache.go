package fetch

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// longestFreshness stands for all that is longer, so that nothing overflows.
const longestFreshness = 365 * 24 * time.Hour

// Freshness returns for how long the sender of a response says that it may be used
// (RFC 9111 §4.2): its "max-age", less the Age it had when it came. It is 0 for
// "no-store", "no-cache" and what can't be read, and the smallest of several. ok is
// false if nothing is said. "s-maxage" is for shared caches and Expires for clocks
// that agree: they don't count.
func Freshness(h http.Header) (fresh time.Duration, ok bool) {
	fresh = longestFreshness
	for _, line := range h.Values("Cache-Control") {
		for directive := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
			switch strings.ToLower(name) {
			case "no-store", "no-cache":
				fresh, ok = 0, true
			case "max-age":
				fresh, ok = min(fresh, deltaSeconds(strings.Trim(value, `"`))), true
			}
		}
	}
	if !ok {
		return 0, false
	}
	return max(0, fresh-deltaSeconds(h.Get("Age"))), true
}

// deltaSeconds reads a number of seconds (RFC 9111 §1.2.2): 0 if it is none.
func deltaSeconds(s string) time.Duration {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n > int64(longestFreshness/time.Second) { // too many digits
		return longestFreshness
	}
	return time.Duration(n) * time.Second
}
