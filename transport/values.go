package transport

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func oneOf(values ...string) func(string) bool {
	return func(v string) bool { return slices.Contains(values, v) }
}

// listOf allows comma-separated lists, as browsers take for fallbacks.
func listOf(values ...string) func(string) bool {
	return func(list string) bool {
		for v := range strings.SplitSeq(list, ",") {
			if !slices.Contains(values, strings.TrimSpace(v)) {
				return false
			}
		}
		return true
	}
}

// isHSTS reports whether v has directives of Strict-Transport-Security, each once and in the
// form of RFC 6797, section 6.1, with max-age, and with preload what its lists require.
func isHSTS(v string) bool {
	seen := make(map[string]bool)
	seconds := uint64(0)
	for directive := range strings.SplitSeq(v, ";") {
		name, value, valued := strings.Cut(strings.TrimSpace(directive), "=")
		name = strings.ToLower(strings.TrimSpace(name))
		switch {
		case name == "" && !valued: // nothing between semicolons is allowed
			continue
		case seen[name]:
			return false
		case name == "max-age" && valued:
			value = strings.TrimSpace(value)
			if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
				value = value[1 : n-1]
			}
			var err error
			if seconds, err = strconv.ParseUint(value, 10, 63); err != nil {
				return false
			}
		case (name == "includesubdomains" || name == "preload") && !valued:
		default:
			return false
		}
		seen[name] = true
	}
	return seen["max-age"] && (!seen["preload"] || seen["includesubdomains"] && seconds >= 31536000)
}

// cspDirectives are those of Content Security Policy Level 3, and of what extends it.
var cspDirectives = []string{
	"child-src", "connect-src", "default-src", "fenced-frame-src", "font-src", "frame-src", "img-src", "manifest-src", "media-src",
	"object-src", "prefetch-src", "script-src", "script-src-attr", "script-src-elem", "style-src", "style-src-attr", "style-src-elem",
	"worker-src", "base-uri", "sandbox", "form-action", "frame-ancestors", "report-to", "report-uri", "block-all-mixed-content",
	"require-trusted-types-for", "treat-as-public-address", "trusted-types", "upgrade-insecure-requests", "webrtc",
}

// isCSP reports whether v is one or more policies, with commas between them, of directives that
// browsers know, each once: they pass over the second of a name.
func isCSP(v string) bool {
	some := false
	for policy := range strings.SplitSeq(v, ",") {
		seen := make(map[string]bool)
		for directive := range strings.SplitSeq(policy, ";") {
			fields := strings.Fields(directive)
			if len(fields) == 0 {
				continue
			}
			name := strings.ToLower(fields[0])
			if seen[name] || !slices.Contains(cspDirectives, name) {
				return false
			}
			seen[name] = true
		}
		some = some || len(seen) > 0
	}
	return some
}

// cacheDirectives are those of answers, and whether each has a number of seconds for its value.
var cacheDirectives = map[string]bool{
	"max-age": true, "s-maxage": true, "stale-while-revalidate": true, "stale-if-error": true,
	"no-cache": false, "no-store": false, "no-transform": false, "must-revalidate": false, "must-understand": false,
	"private": false, "proxy-revalidate": false, "public": false, "immutable": false,
}

// isCacheControl reports whether v is a list of directives of Cache-Control (RFC 9111, section
// 5.2.2; RFC 5861; RFC 8246), each once. The lists of fields that no-cache and private may have
// are refused, as caches differ in what they do with them.
func isCacheControl(v string) bool {
	seen := make(map[string]bool)
	for directive := range strings.SplitSeq(v, ",") {
		name, value, valued := strings.Cut(strings.TrimSpace(directive), "=")
		if name = strings.ToLower(name); name == "" && !valued { // nothing between commas is allowed
			continue
		}
		seconds, known := cacheDirectives[name]
		if !known || seen[name] || valued != seconds {
			return false
		}
		if _, err := strconv.ParseUint(value, 10, 32); valued && err != nil {
			return false
		}
		seen[name] = true
	}
	return len(seen) > 0
}

// permitted matches a member of Permissions-Policy: a feature, and who may use it.
var permitted = regexp.MustCompile(`^([a-z][a-z0-9-]*)=(\*|self|"[a-z][a-z0-9+.-]*:[^"\\ ]+"|\( *((\*|self|src|"[a-z][a-z0-9+.-]*:[^"\\ ]+")( +(\*|self|src|"[a-z][a-z0-9+.-]*:[^"\\ ]+"))*)? *\))(; *report-to=("[a-z0-9_.*-]+"|[a-z*][a-z0-9_.*-]*))?$`)

// isPermissions reports whether v is a structured field (RFC 9651) as browsers read it for
// Permissions-Policy, with each feature once: what is none they pass over as a whole.
func isPermissions(v string) bool {
	seen := make(map[string]bool)
	for member := range strings.SplitSeq(v, ",") {
		m := permitted.FindStringSubmatch(strings.TrimSpace(member))
		if m == nil || seen[m[1]] {
			return false
		}
		seen[m[1]] = true
	}
	return true
}
