package errors

import (
	"strings"

	"github.com/sallyport/sallyport/internal/grammar"
)

type form int

const (
	formJSON form = iota
	formText
	formHTML
	formXML
)

// prefers returns the form that the Accept fields ask for (RFC 9110, section
// 12.5.1). JSON wins every tie, and stands in where nothing that we have is
// acceptable, since an error in another form beats none.
func prefers(accept []string) form {
	if len(accept) == 0 {
		return formJSON
	}
	// For each form the quality of the most specific range that matches it.
	var quality, specific [4]int
	seen := 0
	for _, line := range accept {
		for item := range strings.SplitSeq(line, ",") {
			if seen++; seen > 32 {
				return best(quality)
			}
			media, params, _ := strings.Cut(item, ";")
			media = strings.ToLower(strings.TrimSpace(media))
			q := qvalue(params)
			for f := formJSON; f <= formXML; f++ {
				s := matches(f, media)
				if s > specific[f] || s > 0 && s == specific[f] && q > quality[f] {
					specific[f], quality[f] = s, q
				}
			}
		}
	}
	return best(quality)
}

func best(quality [4]int) form {
	f := formJSON
	for _, other := range []form{formText, formHTML, formXML} {
		if quality[other] > quality[f] {
			f = other
		}
	}
	return f
}

// matches says how specifically a media range names a form: 0 is not at all.
func matches(f form, media string) int {
	switch media { // XML is for those who name it
	case "*/*":
		if f != formXML {
			return 1
		}
	case "application/*":
		if f == formJSON {
			return 2
		}
	case "application/json":
		if f == formJSON {
			return 3
		}
	case "application/problem+json":
		if f == formJSON {
			return 4
		}
	case "application/xml", "text/xml":
		if f == formXML {
			return 3
		}
	case "application/problem+xml":
		if f == formXML {
			return 4
		}
	case "text/*":
		if f == formText || f == formHTML {
			return 2
		}
	case "text/plain":
		if f == formText {
			return 3
		}
	case "application/xhtml+xml":
		if f == formHTML {
			return 3
		}
	case "text/html":
		if f == formHTML {
			return 4
		}
	}
	return 0
}

// qvalue returns the weight in thousandths: 1000 if there is none, 0 if it is
// malformed.
func qvalue(params string) int {
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		if !strings.EqualFold(name, "q") {
			continue
		}
		q, ok := grammar.QValue(value)
		if !ok {
			return 0
		}
		return q
	}
	return 1000
}
