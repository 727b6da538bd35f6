package validate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	httperr "github.com/sallyport/sallyport/errors"
)

// A File is a file of a form. A field of the type File, *File or []File with a form tag makes
// the body multipart/form-data (RFC 7578); its file tag says what is taken:
//
//	Photo File   `form:"photo" file:"types=image/png image/jpeg,max=512KiB" validate:"required"`
//	Notes []File `form:"notes" file:"types=text/plain" validate:"max=3"`
//
// types are media types, "image/*" for all of a kind and "*/*" for all. They are compared
// with what the file's first 512 bytes look like (WHATWG MIME Sniffing, as
// [http.DetectContentType] does it), not with what the client calls them: SVG and CSV look
// like text. max is the size of the largest file, with B, KiB or MiB; by default it is that
// of the largest body. All of a body, up to Config.MaxBytes, is held in memory, up to three times while it is
// decoded: what is larger belongs in a handler of its own.
//
// A file that is a picture may be a script as well. Serve what was uploaded from another
// host, or at least as an attachment with X-Content-Type-Options: nosniff.
type File struct {
	// Name is the client's name for the file, made safe to show and to store: its last
	// element, of at most 100 bytes, with letters, digits, blanks, '.', '-' and '_' alone, no
	// dot at its ends, and no name of a device. Two files may have the same name, and its
	// extension says nothing: see Type. It is "file" where nothing is left.
	Name string
	// Type is the media type that the content looks like, "image/png".
	Type string
	// Content is the file.
	Content []byte
}

const multipartType = "multipart/form-data"

var fileType = reflect.TypeFor[File]()

// fileRules are those of a file tag.
type fileRules struct {
	types []string
	max   int64 // 0: as many bytes as the body
}

func newFileRules(tag string) (*fileRules, error) {
	f := &fileRules{}
	for rule := range strings.SplitSeq(tag, ",") {
		name, value, _ := strings.Cut(rule, "=")
		switch name {
		case "":
		case "types":
			f.types = strings.Fields(value)
			for _, t := range f.types {
				if media, params, err := mime.ParseMediaType(t); err != nil || media != t || len(params) > 0 || !strings.Contains(t, "/") {
					return nil, fmt.Errorf("has the type %q in its file tag, which is no media type in lower case", t)
				}
			}
		case "max":
			digits := strings.TrimRight(value, "BKMi")
			n, err := strconv.ParseInt(digits, 10, 32)
			unit, ok := map[string]int64{"B": 1, "KiB": 1 << 10, "MiB": 1 << 20}[value[len(digits):]]
			if err != nil || !ok || n <= 0 {
				return nil, fmt.Errorf("has the max %q in its file tag, which is not a size such as 512KiB", value)
			}
			f.max = n * unit
		default:
			return nil, fmt.Errorf("has %q in its file tag, which knows types and max", rule)
		}
	}
	if len(f.types) == 0 {
		return nil, errors.New(`needs a file tag with the types that are taken, such as file:"types=image/png image/jpeg"`)
	}
	return f, nil
}

// allows reports whether a media type is one that is taken.
func (f *fileRules) allows(media string) bool {
	kind, _, _ := strings.Cut(media, "/")
	return slices.ContainsFunc(f.types, func(t string) bool { return t == media || t == "*/*" || t == kind+"/*" })
}

// describe returns f as rules.
func (f *fileRules) describe() []string {
	rules := []string{"types=" + strings.Join(f.types, " ")}
	if f.max > 0 {
		rules = append(rules, "max_size="+strconv.FormatInt(f.max, 10))
	}
	return rules
}

// boundary returns that of a multipart/form-data body.
func boundary(types []string) (string, bool) {
	if len(types) != 1 {
		return "", false
	}
	media, params, err := mime.ParseMediaType(types[0])
	b := params["boundary"]
	return b, err == nil && media == multipartType && b != "" && len(b) <= 70
}

// files binds the fields and files of a form.
func (d *decoder) files(w http.ResponseWriter, r *http.Request, p *plan, v reflect.Value) error {
	if r.MultipartForm != nil || parsed(r) {
		return errors.New("validate: the form was parsed by a handler above, which must leave it alone")
	}
	if err := d.read(w, r, false); err != nil {
		return err
	}
	b, _ := boundary(r.Header["Content-Type"])
	return d.multipart(p, b, v)
}

// multipart binds the fields and files of the body in d.buf. What programs read differently
// is refused: something before the first part or after the last, which is the first that
// says so, encodings of parts, and names in several forms.
func (d *decoder) multipart(p *plan, boundary string, v reflect.Value) error {
	end := []byte("\r\n--" + boundary + "--")
	if !bytes.HasPrefix(d.buf, []byte("--"+boundary+"\r\n")) ||
		!bytes.HasSuffix(bytes.TrimSuffix(d.buf, []byte("\r\n")), end) || bytes.Count(d.buf, end) != 1 {
		return malformedParts(nil)
	}
	unknown := false
	parts := multipart.NewReader(bytes.NewReader(d.buf), boundary)
	for n := 1; ; n++ {
		part, err := parts.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return malformedParts(err)
		}
		name, filename, isFile, ok := disposition(part)
		if !ok || n > d.lim.items {
			return malformedParts(nil)
		}
		i, known := p.forms[name]
		if !known {
			unknown = true
			continue
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return malformedParts(err)
		}
		d.part(&p.params[i], &d.values[i], part.Header.Get("Content-Type"), filename, isFile, content, v)
	}
	if unknown {
		d.failAt(form, "", "unknown", "has a field that is not known here")
	}
	d.bindForm(p, v)
	return nil
}

func malformedParts(err error) *httperr.Problem {
	return refuse(http.StatusBadRequest, "malformed_body", "The body is not acceptable multipart/form-data.", "malformed multipart/form-data").WithCause(err)
}

// disposition returns what a part is, by its header.
func disposition(part *multipart.Part) (name, filename string, isFile, ok bool) {
	for field, lines := range part.Header {
		switch {
		case len(lines) > 1:
			return "", "", false, false
		case field == "Content-Transfer-Encoding" && !slices.Contains([]string{"7bit", "8bit", "binary"}, strings.ToLower(lines[0])):
			return "", "", false, false
		}
	}
	value := part.Header.Get("Content-Disposition")
	kind, params, err := mime.ParseMediaType(value)
	if err != nil || kind != "form-data" || params["name"] == "" || extended.MatchString(value) {
		return "", "", false, false
	}
	filename, isFile = params["filename"]
	return params["name"], filename, isFile, true
}

// extended are parameters in the form of RFC 8187 or RFC 2231, which RFC 7578, section 4.2,
// forbids: some programs prefer them, and others don't know them.
var extended = regexp.MustCompile(`(?i);[ \t]*(file)?name\*`)

// part takes the content of one part.
func (d *decoder) part(p *param, x *values, contentType, filename string, isFile bool, content []byte, v reflect.Value) {
	switch {
	case d.forbids(p.scope):
		d.reject(p, "forbidden", "may not be sent with these credentials")
	case isFile != (p.node.kind == fileNode):
		d.reject(p, "type", map[bool]string{true: "must be a file", false: "must not be a file"}[p.node.kind == fileNode])
	case !isFile:
		if contentType != "" {
			if media, ok := mediaType([]string{contentType}); !ok || media != "text/plain" {
				d.reject(p, "encoding", "must be text in UTF-8")
				return
			}
		}
		x.add(p, string(content), d.lim.items)
	case filename == "" && len(content) == 0: // nothing was chosen
	default:
		d.file(p, x, filename, content, v)
	}
}

func (d *decoder) file(p *param, x *values, filename string, content []byte, v reflect.Value) {
	media, _, _ := strings.Cut(http.DetectContentType(content), ";")
	x.n++
	switch {
	case !p.slice && x.n > 1:
		d.reject(p, "repeated", "must not come more than once")
	case p.file.max > 0 && int64(len(content)) > p.file.max:
		d.reject(p, "max_size", "must not be larger than "+strconv.FormatInt(p.file.max, 10)+" bytes")
	case !p.file.allows(media):
		d.reject(p, "media_type", "must be of the type "+strings.Join(p.file.types, " or "))
	default:
		f, to := File{Name: safeName(filename), Type: media, Content: content}, field(v, p.index)
		switch {
		case p.slice:
			to.Set(reflect.Append(to, reflect.ValueOf(f)))
		case p.ptr:
			to.Set(reflect.ValueOf(&f))
		default:
			to.Set(reflect.ValueOf(f))
		}
	}
}

// maxName is the length of the longest name of a file, and maxExtension that of the longest
// extension that is kept when a name is cut.
const maxName, maxExtension = 100, 10

// safeName returns a name that is one on every system.
func safeName(s string) string {
	s = s[strings.LastIndexAny(s, `/\`)+1:]
	s = strings.Map(func(c rune) rune {
		if c == '.' || c == '-' || c == ' ' || c != utf8.RuneError && (unicode.IsLetter(c) || unicode.IsMark(c) || unicode.IsDigit(c)) {
			return c
		}
		return '_'
	}, s)
	s = strings.Trim(s, ". ")
	base, _, _ := strings.Cut(s, ".")
	switch upper := strings.ToUpper(strings.TrimSpace(base)); {
	case upper == "CON", upper == "PRN", upper == "AUX", upper == "NUL", upper == "CONIN$", upper == "CONOUT$",
		(strings.HasPrefix(upper, "COM") || strings.HasPrefix(upper, "LPT")) && utf8.RuneCountInString(upper) == 4:
		s = "_" + s
	}
	if len(s) > maxName {
		extension := ""
		if dot := strings.LastIndexByte(s, '.'); dot > 0 && len(s)-dot <= maxExtension {
			extension = s[dot:]
		}
		cut := maxName - len(extension)
		for !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = strings.Trim(s[:cut], ". ") + extension
	}
	if s == "" {
		return "file"
	}
	return s
}
