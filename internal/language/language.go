// Package language chooses one of the languages that are there by what a client prefers.
package language

import (
	"slices"
	"strings"

	"github.com/sallyport/sallyport/internal/grammar"
)

// What more than this holds is not read: clients that are people send a few ranges.
const (
	mostBytes  = 1 << 10
	mostRanges = 32
)

// Choose returns the one of the offered tags (BCP 47, such as "de" or "pt-BR") that the
// values of the Accept-Language fields ask for (RFC 9110, section 12.5.4), or "" if they ask
// for none of them. For each range, from the most wanted on, it looks up (RFC 4647, section
// 3.4) the range itself, then the range without its last subtags; then a tag that the range
// begins. A range of weight 0 rules out what it begins, and "*" is the first tag that is not
// ruled out. What is malformed is passed over.
//
// It allocates nothing, and reads the first 32 ranges and 1,024 bytes.
func Choose(accept []string, offered ...string) string {
	var ranges [mostRanges]span
	n, left := 0, mostBytes
	for _, field := range accept {
		if len(field) > left {
			break
		}
		left -= len(field)
		for part := range strings.SplitSeq(field, ",") {
			if n == mostRanges {
				break
			}
			if s, ok := parse(part); ok {
				ranges[n] = s
				n++
			}
		}
	}
	wanted := ranges[:n]
	for {
		var best *span
		for i := range wanted {
			if s := &wanted[i]; s.weight > 0 && (best == nil || s.weight > best.weight) {
				best = s
			}
		}
		if best == nil {
			return ""
		}
		if tag := lookup(best.tag, wanted, offered); tag != "" {
			return tag
		}
		best.weight, best.done = 0, true
	}
}

// WithEnglish returns the tags that texts are translated to, with "en" before them if it is not
// among them, for texts that are English before they are translated. The first is also what a
// client gets that takes any.
func WithEnglish(tags []string) []string {
	if len(tags) == 0 || slices.ContainsFunc(tags, func(t string) bool { return strings.EqualFold(t, "en") }) {
		return slices.Clone(tags)
	}
	return append([]string{"en"}, tags...)
}

// A span is a language range and its weight in thousandths.
type span struct {
	tag    string
	weight int
	done   bool // it had a weight
}

// parse reads a range such as "de-CH;q=0.8".
func parse(s string) (r span, ok bool) {
	tag, params, weighted := strings.Cut(s, ";")
	r = span{tag: strings.Trim(tag, " \t"), weight: 1000}
	if r.tag != "*" && !IsTag(r.tag) {
		return r, false
	}
	if !weighted {
		return r, true
	}
	name, q, _ := strings.Cut(params, "=")
	if !strings.EqualFold(strings.Trim(name, " \t"), "q") {
		return r, false
	}
	r.weight, ok = grammar.QValue(strings.Trim(q, " \t"))
	return r, ok
}

// IsTag reports whether s is made like a language tag: subtags of 1 to 8 letters and digits,
// the first of letters, with hyphens between them.
func IsTag(s string) bool {
	length := 0
	for i := range len(s) {
		switch c := s[i] | 0x20; {
		case s[i] == '-' && length > 0:
			length = 0
			continue
		case c >= 'a' && c <= 'z':
		case s[i] >= '0' && s[i] <= '9' && strings.IndexByte(s[:i], '-') >= 0:
		default:
			return false
		}
		if length++; length > 8 {
			return false
		}
	}
	return length > 0
}

func lookup(tag string, ranges []span, offered []string) string {
	if tag == "*" {
		for _, o := range offered {
			if !excluded(o, ranges) {
				return o
			}
		}
		return ""
	}
	for short := tag; ; {
		for _, o := range offered {
			if strings.EqualFold(o, short) && !excluded(o, ranges) {
				return o
			}
		}
		i := strings.LastIndexByte(short, '-')
		if i < 0 {
			break
		}
		short = short[:i]
	}
	for _, o := range offered {
		if begins(tag, o) && !excluded(o, ranges) {
			return o
		}
	}
	return ""
}

// excluded reports whether a range of weight 0 rules a tag out, and no longer one asks for it.
func excluded(tag string, ranges []span) bool {
	out, longest := false, -1
	for _, r := range ranges {
		if r.tag != "*" && begins(r.tag, tag) && len(r.tag) > longest {
			out, longest = r.weight == 0 && !r.done, len(r.tag)
		}
		if r.tag == "*" && longest < 0 {
			out, longest = r.weight == 0 && !r.done, 0
		}
	}
	return out
}

// begins reports whether a tag is a range or that and more subtags.
func begins(short, tag string) bool {
	return len(tag) >= len(short) && strings.EqualFold(tag[:len(short)], short) &&
		(len(tag) == len(short) || tag[len(short)] == '-')
}
