package errors

import (
	"net/http"
	"strings"
)

// traceID returns the trace id of the traceparent field, or "" unless there is exactly one
// that is valid (W3C Trace Context, section 3.2). Of a later version the first four parts are
// read, as the specification has it.
func traceID(h http.Header) string {
	fields := h["Traceparent"]
	if len(fields) != 1 {
		return ""
	}
	const length = 2 + 1 + 32 + 1 + 16 + 1 + 2
	v := fields[0]
	if len(v) < length || len(v) > length && (v[:2] == "00" || v[length] != '-') {
		return ""
	}
	version, trace, parent, flags := v[:2], v[3:35], v[36:52], v[53:55]
	switch {
	case v[2] != '-' || v[35] != '-' || v[52] != '-',
		!isHex(version) || !isHex(trace) || !isHex(parent) || !isHex(flags),
		version == "ff", strings.Trim(trace, "0") == "", strings.Trim(parent, "0") == "":
		return ""
	}
	return trace
}

// isHex reports whether s is of digits and lower-case letters.
func isHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }
