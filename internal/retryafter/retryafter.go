// Package retryafter reads the Retry-After field.
package retryafter

import (
	"net/http"
	"strconv"
	"time"
)

// Parse returns how long the Retry-After field of an answer (RFC 9110, section 10.2.3) says
// to wait, at least 0. It reports false if there is not exactly one, or it is none. A date is
// compared with the Date field, or with the clock if there is none.
func Parse(h http.Header) (time.Duration, bool) {
	values := h["Retry-After"]
	if len(values) != 1 {
		return 0, false
	}
	if n, err := strconv.ParseUint(values[0], 10, 31); err == nil {
		return time.Duration(n) * time.Second, true //nolint:gosec // of 31 bits
	}
	at, err := http.ParseTime(values[0])
	if err != nil {
		return 0, false
	}
	// By the clock of the server, if it tells what that says.
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return max(0, at.Sub(now)), true
}
