package validate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
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
	"github.com/sallyport/sallyport/internal/bodylimit"
	"github.com/sallyport/sallyport/internal/grammar"
)

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
				if one := (&fileRules{types: []string{t}}); !slices.ContainsFunc(sniffedTypes, one.allows) {
					return nil, fmt.Errorf("has the type %q in its file tag, which no file looks like to http.DetectContentType; CSV, JSON and most of SVG look like text/plain", t)
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

// sniffedTypes are those that http.DetectContentType knows.
var sniffedTypes = []string{
	"text/html", "text/xml", "text/plain", "application/pdf", "application/postscript", "application/octet-stream",
	"image/x-icon", "image/bmp", "image/gif", "image/webp", "image/png", "image/jpeg",
	"audio/basic", "audio/aiff", "audio/mpeg", "audio/midi", "audio/wave", "application/ogg", "video/avi", "video/mp4", "video/webm",
	"application/vnd.ms-fontobject", "font/ttf", "font/otf", "font/collection", "font/woff", "font/woff2",
	"application/x-gzip", "application/zip", "application/x-rar-compressed", "application/wasm",
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

// boundaryForm is that of RFC 2046, section 5.1.1.
var boundaryForm = regexp.MustCompile(`^[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]$`)

// boundary returns that of a multipart/form-data body.
func boundary(types []string) (string, bool) {
	if len(types) != 1 {
		return "", false
	}
	media, params, err := mime.ParseMediaType(types[0])
	b := params["boundary"]
	// One in the form of RFC 2231 is another one to programs that don't know that.
	plain := !strings.ContainsFunc(types[0], func(c rune) bool { return c == '*' || c < ' ' || c > '~' })
	return b, err == nil && plain && media == multipartType && boundaryForm.MatchString(b)
}

// maxPartHeader is the size of the largest header of a part.
const maxPartHeader = 32 << 10

// A partsReader reads a body of parts, and refuses what package mime/multipart takes in one
// way and other programs in another: a delimiter at the beginning of a line that does not
// follow a CRLF, or with something else behind it, fields of a header in several lines, and
// anything before the first delimiter or after the last. What it lets through is in the form
// of RFC 2046, section 5.1.1, without what is optional there.
type partsReader struct {
	from io.Reader
	err  error // of from
	bad  error // what is wrong with it

	delimiter string // "--" and the boundary
	state     partsState
	at        int  // how much of the state's own has come: of a delimiter, a line of a header, the end
	last      byte // the one before
	crlf      bool // the line began after a CRLF that is the content's
	header    int  // how many bytes it has
}

type partsState uint8

const (
	beforeParts    partsState = iota // in the first delimiter
	afterDelimiter                   // in what says whether there is another part
	inHeader
	inContent
	afterEnd
)

var (
	errPartHeader = errors.New("validate: the header of a part is too large")
	errPartForm   = errors.New("validate: the parts are not in the form of RFC 2046, section 5.1.1")
)

func (p *partsReader) Read(b []byte) (n int, err error) {
	if p.bad != nil {
		return 0, p.bad
	}
	if n, err = p.from.Read(b); err != nil && p.err == nil {
		p.err = err
	}
	for _, c := range b[:n] {
		if p.state == inContent && p.at < 0 && c != '\r' && c != '\n' {
			continue // most of a file
		}
		if p.bad = p.see(c); p.bad != nil {
			return n, p.bad
		}
		p.last = c
	}
	return n, err
}

// ended reports whether the last delimiter has come, and nothing behind it but a line break.
// Package mime/multipart also takes a part that has no header for the end.
func (p *partsReader) ended() bool { return p.state == afterEnd && p.at != 1 }

// see takes the next byte, but for those of content in a line that is no delimiter.
func (p *partsReader) see(c byte) error {
	p.at++
	switch p.state {
	case beforeParts:
		if c != p.delimiter[p.at-1] {
			return errPartForm
		}
		if p.at == len(p.delimiter) {
			p.state, p.at = afterDelimiter, 0
		}
	case afterDelimiter:
		switch {
		case p.at == 1 && (c == '\r' || c == '-'):
		case p.at == 2 && p.last == '\r' && c == '\n':
			p.state, p.at, p.header = inHeader, 0, 0
		case p.at == 2 && p.last == '-' && c == '-':
			p.state, p.at = afterEnd, 0
		default:
			return errPartForm
		}
	case inHeader:
		return p.seeHeader(c)
	case inContent:
		switch {
		case c == '\r' || c == '\n':
			p.at, p.crlf = 0, c == '\n' && p.last == '\r'
		case c != p.delimiter[p.at-1]: // of a line that is no delimiter
			p.at = -1
		case p.at == len(p.delimiter):
			if !p.crlf {
				return errPartForm
			}
			p.state, p.at = afterDelimiter, 0
		}
	case afterEnd:
		if p.at > 2 || c != "\r\n"[p.at-1] {
			return errPartForm
		}
	}
	return nil
}

// seeHeader takes the next byte of a header. A name that begins with a hyphen could be a
// delimiter.
func (p *partsReader) seeHeader(c byte) error {
	if p.header++; p.header > maxPartHeader {
		return errPartHeader
	}
	switch ends := p.last == '\r'; {
	case ends != (c == '\n'):
		return errPartForm
	case c == '\r':
		p.at--
	case c == '\n' && p.at == 1: // an empty line
		p.state, p.at, p.crlf = inContent, 0, false
	case c == '\n':
		p.at = 0
	case p.at == 1 && (c == ' ' || c == '\t' || c == '-'):
		return errPartForm
	}
	return nil
}

// files binds the fields and files of a form. What programs read differently is refused:
// something before the first part or after the last, which is the first that says so,
// encodings of parts, and names in several forms.
func (d *decoder) files(w http.ResponseWriter, r *http.Request, p *plan, v reflect.Value) error {
	if r.MultipartForm != nil || parsed(r) {
		return errors.New("validate: the form was parsed by a handler above, which must leave it alone")
	}
	if r.Body == nil {
		return malformedParts(nil)
	}
	b, _ := boundary(r.Header["Content-Type"])
	from, done := open(w, r, d.lim.bytes)
	defer done()
	body := &partsReader{from: from, delimiter: "--" + b}
	err := d.parts(p, body, b, v)
	if err == nil {
		_, err = io.Copy(io.Discard, body)
	}
	if err != nil && body.err == nil { // there is more
		bodylimit.Abandon(w, r)
	}
	var own ownError
	switch {
	case errors.As(err, &own):
		return own.error
	case body.err != nil && body.err != io.EOF:
		return readError(w, r, body.err)
	case err != nil || !body.ended():
		return malformedParts(err)
	}
	d.bindForm(p, v)
	return nil
}

// An ownError is none of reading, and the answer as it is.
type ownError struct{ error }

// parts takes the parts of a form.
func (d *decoder) parts(p *plan, body *partsReader, boundary string, v reflect.Value) error {
	unknown, left := false, formRoom{d.lim.memory, d.lim.memory}
	reader := multipart.NewReader(body, boundary)
	for n := 1; ; n++ {
		part, err := reader.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		name, filename, isFile, ok := disposition(part)
		if !ok || n > d.lim.items {
			return errors.New("validate: a part that is not acceptable")
		}
		if i, known := p.forms[name]; known {
			if err := d.part(&p.params[i], &d.values[i], part, filename, isFile, &left, v); err != nil {
				return err
			}
		} else if !unknown {
			unknown = true
			d.failAt(form, "", "unknown", "has a field that is not known here")
		}
		if _, err := io.Copy(io.Discard, part); err != nil { // what was not of use
			return err
		}
	}
	return nil
}

func malformedParts(err error) *httperr.Problem {
	return refuse(http.StatusBadRequest, "malformed_body", "The body is not acceptable multipart/form-data.", "malformed multipart/form-data").WithCause(err)
}

// disposition returns what a part is, by its header.
func disposition(part *multipart.Part) (name, filename string, isFile, ok bool) {
	for field, lines := range part.Header {
		switch {
		case len(lines) > 1, !grammar.IsToken(field): // a blank before the colon makes another name
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
var extended = regexp.MustCompile(`(?i);[\pZ\pC]*(file)?name\*`)

// A formRoom is how much of a form may still be held in memory: one of its own for the fields, so
// that whether they fit does not depend on the files before them.
type formRoom struct{ fields, files int64 }

// part takes one part. left is the room for it and for those after it. An
// error is one of reading, or an ownError.
func (d *decoder) part(p *param, x *values, part *multipart.Part, filename string, isFile bool, left *formRoom, v reflect.Value) error {
	switch {
	case d.forbids(p.scope):
		d.reject(p, "forbidden", "may not be sent with these credentials")
		return nil
	case isFile != (p.node.kind == fileNode):
		d.reject(p, "type", map[bool]string{true: "must be a file", false: "must not be a file"}[p.node.kind == fileNode])
		return nil
	case isFile:
		return d.file(p, x, part, filename, left, v)
	}
	if contentType := part.Header.Get("Content-Type"); contentType != "" {
		if media, ok := mediaType([]string{contentType}); !ok || media != "text/plain" {
			d.reject(p, "encoding", "must be text in UTF-8")
			return nil
		}
	}
	content, err := io.ReadAll(io.LimitReader(part, left.fields+1))
	if left.fields -= int64(len(content)); err != nil {
		return err
	}
	if left.fields < 0 {
		return ownError{tooLargeFields(d.lim.memory)}
	}
	x.add(p, string(content), d.lim.items)
	return nil
}

// sniffed is how much of a file says what it is.
const sniffed = 512

// file takes the file of one part.
func (d *decoder) file(p *param, x *values, part *multipart.Part, filename string, left *formRoom, v reflect.Value) error {
	head := make([]byte, sniffed)
	n, err := io.ReadFull(part, head)
	switch {
	case err == io.EOF && filename == "": // nothing was chosen
		return nil
	case err != nil && err != io.EOF && err != io.ErrUnexpectedEOF:
		return err
	}
	head = head[:n]
	f := File{Name: safeName(filename)}
	f.Type, _, _ = strings.Cut(http.DetectContentType(head), ";")
	x.n++
	switch {
	case !p.slice && x.n > 1:
		d.reject(p, "repeated", "must not come more than once")
		return nil
	case !p.file.allows(f.Type):
		d.reject(p, "media_type", "must be of the type "+strings.Join(p.file.types, " or "))
		return nil
	}
	most := or(p.file.max, math.MaxInt64-1)
	content := io.LimitReader(io.MultiReader(bytes.NewReader(head), part), most+1)
	b, err := io.ReadAll(io.LimitReader(content, min(left.files, most)+1))
	f.Size = int64(len(b))
	switch {
	case err != nil:
		return err
	case f.Size <= left.files:
		small := make(memory, len(b)) // no more than it needs
		copy(small, b)
		f.content = small
		left.files -= f.Size
	case f.Size <= most && len(d.fields) == 0: // or nobody will read it
		if err := d.kept.open(d.lim.dir); err != nil {
			return ownError{unkept(err)}
		}
		from := d.kept.size
		f.Size, err = io.Copy(d.kept, io.MultiReader(bytes.NewReader(b), content))
		switch {
		case d.kept.err != nil:
			return ownError{unkept(d.kept.err)}
		case err != nil:
			return err
		}
		f.content = io.NewSectionReader(d.kept.file, from, f.Size)
	}
	if f.Size > most {
		d.reject(p, "max_size", "must not be larger than "+strconv.FormatInt(most, 10)+" bytes")
		return nil
	}
	switch to := field(v, p.index); {
	case p.slice:
		to.Set(reflect.Append(to, reflect.ValueOf(f)))
	case p.ptr:
		to.Set(reflect.ValueOf(&f))
	default:
		to.Set(reflect.ValueOf(f))
	}
	return nil
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
	if len(s) >= maxName { // there may be one more, below
		extension := ""
		if dot := strings.LastIndexByte(s, '.'); dot > 0 && len(s)-dot <= maxExtension {
			extension = s[dot:]
		}
		cut := maxName - 1 - len(extension)
		for !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = strings.Trim(s[:cut], ". ") + extension
	}
	base, _, _ := strings.Cut(s, ".")
	switch upper := strings.ToUpper(strings.TrimSpace(base)); {
	case upper == "CON", upper == "PRN", upper == "AUX", upper == "NUL", upper == "CONIN$", upper == "CONOUT$",
		(strings.HasPrefix(upper, "COM") || strings.HasPrefix(upper, "LPT")) && utf8.RuneCountInString(upper) == 4:
		s = "_" + s
	}
	if s == "" {
		return "file"
	}
	return s
}
