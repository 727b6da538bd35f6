package errors

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// xml renders the members as RFC 9457, appendix B, has them: the items of a list are
// elements named i. What has no name that an element may have is left out.
func (a *answer) xml() []byte {
	b := bytes.NewBufferString(xml.Header + `<problem xmlns="urn:ietf:rfc:7807">`)
	element(b, "type", a.typeURI())
	element(b, "title", a.title())
	element(b, "status", strconv.Itoa(a.status))
	for _, m := range [][2]string{{"detail", a.Detail}, {"instance", a.Instance}, {"code", a.Code}, {"request_id", a.requestID}, {"error_id", a.errorID}, {"trace_id", a.traceID}} {
		if m[1] != "" {
			element(b, m[0], m[1])
		}
	}
	if len(a.Fields) > 0 {
		tree(b, "errors", a.Fields)
	}
	for _, name := range slices.Sorted(maps.Keys(a.Extensions)) {
		if !reserved(name) {
			tree(b, name, a.Extensions[name])
		}
	}
	b.WriteString("</problem>\n")
	return b.Bytes()
}

// tree writes what encoding/json makes of v, or nothing if it makes nothing of it.
func tree(b *bytes.Buffer, name string, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		return
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var copied any // and not v, which Decode would write to if it is a pointer
	if d.Decode(&copied) == nil {
		node(b, name, copied)
	}
}

// elementName are the names of members that can be an element's, but for those that begin with
// xml, which XML 1.0, section 2.3, reserves.
var elementName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)

func node(b *bytes.Buffer, name string, v any) {
	if !elementName.MatchString(name) || len(name) >= 3 && strings.EqualFold(name[:3], "xml") {
		return
	}
	switch v := v.(type) {
	case map[string]any:
		b.WriteString("<" + name + ">")
		for _, member := range slices.Sorted(maps.Keys(v)) {
			node(b, member, v[member])
		}
		b.WriteString("</" + name + ">")
	case []any:
		b.WriteString("<" + name + ">")
		for _, item := range v {
			node(b, "i", item)
		}
		b.WriteString("</" + name + ">")
	case string:
		element(b, name, v)
	case json.Number:
		element(b, name, v.String())
	case bool:
		element(b, name, strconv.FormatBool(v))
	default: // null
		element(b, name, "")
	}
}

// element writes text, in which characters that XML can't hold are replaced.
func element(b *bytes.Buffer, name, text string) {
	b.WriteString("<" + name + ">")
	_ = xml.EscapeText(b, []byte(text)) // to memory
	b.WriteString("</" + name + ">")
}
