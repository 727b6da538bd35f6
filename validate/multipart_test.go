package validate_test

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/sallyport/sallyport/validate"
)

const png = "\x89PNG\x0d\x0a\x1a\x0a"

type upload struct {
	Title string          `form:"title" validate:"required,max=5"`
	Tags  []string        `form:"tags"`
	Photo validate.File   `form:"photo" file:"types=image/png image/jpeg,max=20B" validate:"required"`
	Extra *validate.File  `form:"extra" file:"types=image/*"`
	Notes []validate.File `form:"notes" file:"types=text/plain,max=1KiB" validate:"max=2"`
	Page  int             `query:"page"`
}

// postParts returns a request with a body of parts, whose lines end as they should, but where
// there is a \v for a line feed alone.
func postParts(body string) *http.Request {
	body = strings.NewReplacer("\n", "\r\n", "\v", "\n", "PNG", png).Replace(body)
	r := httptest.NewRequest("POST", "/", strings.NewReader(body))
	r.Header.Set("Content-Type", `multipart/form-data; boundary="bb"`)
	return r
}

const (
	title = "--bb\nContent-Disposition: form-data; name=\"title\"\n\nabc\n"
	photo = "--bb\nContent-Disposition: form-data; name=\"photo\"; filename=\"a.png\"\nContent-Type: text/html\n\nPNG1\n"
	fin   = "--bb--\n"
)

func TestRFC7578_Multipart(t *testing.T) {
	part := func(header, content string) string { return "--bb\n" + header + "\n\n" + content + "\n" }
	named := func(rest, content string) string { return part("Content-Disposition: form-data; "+rest, content) }
	for _, tt := range []struct{ name, body, want string }{
		{"the least", title + photo + fin, "abc [] a.png image/png 9 false 0"},
		{"without a line break at the end", title + photo + "--bb--", "abc [] a.png image/png 9 false 0"},
		{"all", title + photo + named(`name="tags"`, "x") + named(`name="tags"`, "y") + named(`name="extra"; filename=e.gif`, "GIF89a") +
			named(`name="notes"; filename=n1`, "one") + named(`name="notes"; filename=n2`, "two") + fin, "abc [x y] a.png image/png 9 true 2"},
		{"nothing chosen", title + photo + named(`name="extra"; filename=""`, "") + fin, "abc [] a.png image/png 9 false 0"},
		{"text with its charset", photo + part("Content-Disposition: form-data; name=title\nContent-Type: text/plain; charset=UTF-8", "é") + fin, "é [] a.png image/png 9 false 0"},
		{"a carriage return at the end of a file", title + named(`name="photo"; filename="a.png"`, "PNG\r") + fin, "abc [] a.png image/png 9 false 0"},
		{"an empty file", title + named(`name="photo"; filename=a`, "") + fin, "form /photo media_type"},

		{"a file is missing", title + fin, "form /photo required"},
		{"a field is missing", photo + fin, "form /title required"},
		{"another type than it says", title + named(`name="photo"; filename="a.png"`, "<html>") + fin, "form /photo media_type"},
		{"a type of the kind", title + photo + named(`name="extra"; filename="a.png"`, "%PDF-1") + fin, "form /extra media_type"},
		{"too large", title + named(`name="photo"; filename="a.png"`, "PNG"+strings.Repeat("1", 13)) + fin, "form /photo max_size"},
		{"as large as may be", title + named(`name="photo"; filename="a.png"`, "PNG"+strings.Repeat("1", 12)) + fin, "abc [] a.png image/png 20 false 0"},
		{"too many", title + photo + strings.Repeat(named(`name="notes"; filename=n`, "one"), 3) + fin, "form /notes max"},
		{"one file twice", title + photo + photo + fin, "form /photo repeated"},
		{"one field twice", title + title + photo + fin, "form /title repeated"},
		{"a file for a field", photo + named(`name="title"; filename=x`, "abc") + fin, "form /title type"},
		{"a field for a file", title + named(`name="photo"`, "PNG") + fin, "form /photo type"},
		{"an unknown field", title + photo + named(`name="other"`, "") + fin, "form  unknown"},
		{"an unknown file", title + photo + named(`name="Photo"; filename=a`, "PNG") + fin, "form  unknown"},
		{"text in another charset", photo + part("Content-Disposition: form-data; name=title\nContent-Type: text/plain; charset=utf-16", "abc") + fin, "form /title encoding"},
		{"JSON for text", photo + part("Content-Disposition: form-data; name=title\nContent-Type: application/json", "abc") + fin, "form /title encoding"},
		{"no UTF-8", photo + named(`name="title"`, "\xff") + fin, "form /title encoding"},

		{"no end", title + photo, "malformed_body"},
		{"no end but another part", title + photo + "--bb\n", "malformed_body"},
		{"an end that is cut", title + photo + "--bb-", "malformed_body"},
		{"half a line break at the end", title + photo + "--bb--\r", "malformed_body"},
		{"two line breaks at the end", title + photo + fin + "\n", "malformed_body"},
		{"a blank in the end", title + photo + "--bb-- \n", "malformed_body"},
		{"something before", "x\n" + title + photo + fin, "malformed_body"},
		{"something after", title + photo + fin + "x", "malformed_body"},
		{"another end after the first", title + photo + fin + photo + fin, "malformed_body"},
		{"nothing, as browsers send it", fin, "form /title required, form /photo required"},
		{"an empty body", "", "malformed_body"},
		{"line breaks of another form alone", strings.ReplaceAll(title+photo+fin, "\n", "\v"), "malformed_body"},
		{"a line break of another form after the first delimiter", strings.Replace(title+photo+fin, "--bb\n", "--bb\v", 1), "malformed_body"},
		{"one after another delimiter", title + strings.Replace(photo+fin, "--bb\n", "--bb\v", 1), "malformed_body"},
		{"one before a delimiter", title + strings.Replace(photo+fin, "PNG1\n", "PNG1\v", 1), "malformed_body"},
		{"one after the end", title + photo + "--bb--\v", "malformed_body"},
		{"one in a header", strings.Replace(title, "\"\n\n", "\"\v\n", 1) + photo + fin, "malformed_body"},
		{"one at the end of a header", strings.Replace(title, "\n\n", "\n\v", 1) + photo + fin, "malformed_body"},
		{"a carriage return in a header", strings.Replace(title, "\n\n", "\nX: a\rb\n\n", 1) + photo + fin, "malformed_body"},
		{"two at the end of a header", strings.Replace(title, "\n\n", "\r\n\n", 1) + photo + fin, "malformed_body"},
		{"a delimiter after a carriage return", strings.Replace(title, "abc\n", "a\r"+photo, 1) + photo + fin, "malformed_body"},
		{"a delimiter after a line break of another form", strings.Replace(title, "abc\n", "a\v"+photo, 1) + photo + fin, "malformed_body"},
		{"a delimiter at the beginning of a content", strings.Replace(title, "abc\n", "", 1) + photo + fin, "malformed_body"},
		{"a delimiter with more in its line", strings.Replace(title, "abc\n", "a\n--bbc\n", 1) + photo + fin, "malformed_body"},
		{"half an end", strings.Replace(title, "abc\n", "a\n--bb-c\n", 1) + photo + fin, "malformed_body"},
		{"what is less than a delimiter", photo + strings.Replace(title, "abc", "\n--b", 1) + fin, "\r\n--b [] a.png image/png 9 false 0"},
		{"a delimiter within a line", photo + strings.Replace(title, "abc", "a--bb", 1) + fin, "a--bb [] a.png image/png 9 false 0"},
		{"line breaks of other forms in a content", photo + strings.Replace(title, "abc", "a\v\r--", 1) + fin, "a\n\r-- [] a.png image/png 9 false 0"},
		{"a blank after the first delimiter", strings.Replace(title+photo+fin, "--bb\n", "--bb \n", 1), "malformed_body"},
		{"a tab after another", title + strings.Replace(photo+fin, "--bb\n", "--bb\t\n", 1), "malformed_body"},
		{"a field in two lines", strings.Replace(title, "; ", ";\n ", 1) + photo + fin, "malformed_body"},
		{"a field in two lines with a tab", strings.Replace(title, "; ", ";\n\t", 1) + photo + fin, "malformed_body"},
		{"a delimiter in a header", strings.Replace(title, "\n\n", "\n--bb: x\n\n", 1) + photo + fin, "malformed_body"},
		{"a NUL in a header", strings.Replace(title, "\n\n", "\nX: \x00\n\n", 1) + photo + fin, "malformed_body"},
		{"an escape in a header", strings.Replace(title, "\n\n", "\nX: \x1b\n\n", 1) + photo + fin, "malformed_body"},
		{"a DEL in a header", strings.Replace(title, "\n\n", "\nX: \x7f\n\n", 1) + photo + fin, "malformed_body"},
		{"another field", strings.Replace(title, "\n\n", "\nX: y\n\n", 1) + photo + fin, "abc [] a.png image/png 9 false 0"},
		{"headers that are large together", strings.Replace(title, "\n\n", "\nX: "+strings.Repeat("y", 20<<10)+"\n\n", 1) + strings.Replace(photo, "\n\n", "\nX: "+strings.Repeat("y", 20<<10)+"\n\n", 1) + fin, "abc [] a.png image/png 9 false 0"},
		{"a tab in a header", strings.Replace(title, "form-data; ", "form-data;\t", 1) + photo + fin, "abc [] a.png image/png 9 false 0"},
		{"no header", title + photo + "--bb\n\nabc\n" + fin, "malformed_body"},
		{"no disposition", title + photo + part("Content-Type: text/plain", "x") + fin, "malformed_body"},
		{"another disposition", title + photo + part("Content-Disposition: attachment; name=title", "x") + fin, "malformed_body"},
		{"two dispositions", photo + part("Content-Disposition: form-data; name=title\nContent-Disposition: form-data; name=tags", "x") + fin, "malformed_body"},
		{"two names", photo + named(`name=title; name=tags`, "x") + fin, "malformed_body"},
		{"no name", title + photo + named(`filename=x`, "x") + fin, "malformed_body"},
		{"an extended name", title + named(`name="photo"; filename="a"; filename*=UTF-8''b.png`, "PNG") + fin, "malformed_body"},
		{"an extended name alone", title + named(`name="photo"; FileName*=UTF-8''b.png`, "PNG") + fin, "malformed_body"},
		{"a name in pieces", title + named(`name="photo"; filename*0="a"; filename*1="b"`, "PNG") + fin, "malformed_body"},
		{"a blank before the colon of the disposition", title + photo + part("Content-Disposition : form-data; name=tags\nContent-Disposition: form-data; name=tags", "x") + fin, "malformed_body"},
		{"a blank before the colon of the encoding", title + photo + part("Content-Disposition: form-data; name=tags\nContent-Transfer-Encoding : base64", "x") + fin, "malformed_body"},
		{"a blank before the colon of the type", photo + part("Content-Disposition: form-data; name=title\nContent-Type : text/plain; charset=utf-16", "abc") + fin, "malformed_body"},
		{"an extended name after a blank that is not ASCII", title + photo + named("name=tags;\u00a0name*=utf-8''title", "x") + fin, "malformed_body"},
		{"an extended file name after one", title + named("name=photo; filename=a;\u2003filename*=utf-8''b.html", "PNG") + fin, "malformed_body"},
		{"an encoded part", title + part("Content-Disposition: form-data; name=photo; filename=a\nContent-Transfer-Encoding: base64", "iVBORw0KGgo=") + fin, "malformed_body"},
		{"a part that is as it is", photo + part("Content-Disposition: form-data; name=title\nContent-Transfer-Encoding: 8bit", "abc") + fin, "abc [] a.png image/png 9 false 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := postParts(tt.body)
			u, err := validate.Decode[upload](nop{}, r)
			got := fmt.Sprintf("%s %v %s %s %d %t %d", u.Title, u.Tags, u.Photo.Name, u.Photo.Type, u.Photo.Size, u.Extra != nil, len(u.Notes))
			if p := problem(t, err); p != nil {
				if got = (answer{Errors: p.Fields}).places(); got == "" {
					got = p.Code
				}
			}
			if got != tt.want {
				t.Errorf("got %s, %v, want %s", got, err, tt.want)
			}
		})
	}
}

func TestMultipartContentType(t *testing.T) {
	for contentType, want := range map[string]int{
		"multipart/form-data; boundary=bb":                             0,
		"Multipart/Form-Data; boundary=\"bb\"":                         0,
		"multipart/form-data":                                          415,
		"multipart/form-data; boundary=":                               415,
		"multipart/form-data; boundary=" + strings.Repeat("b", 71):     415,
		"multipart/form-data; boundary=bb; boundary=cc":                415,
		"multipart/form-data; boundary=aa; boundary*=utf-8''bb":        415,
		"multipart/form-data; boundary=aa; boundary*0=b; boundary*1=b": 415,
		"multipart/form-data; boundary=\"bb \"":                        415,
		"multipart/form-data; boundary=\"b\u00e4\"":                    415,
		"multipart/form-data; boundary=b{b":                            415,
		"multipart/mixed; boundary=bb":                                 415,
		"application/x-www-form-urlencoded":                            415,
		"multipart/form-data; boundary=cc":                             400,
		"multipart/form-data; boundary=bb, multipart/form-data":        415,
	} {
		r := postParts(title + photo + fin)
		r.Header.Set("Content-Type", contentType)
		_, err := validate.Decode[upload](nop{}, r)
		if p := problem(t, err); p == nil && want != 0 || p != nil && p.Status != want {
			t.Errorf("%s: got %v, want %d", contentType, err, want)
		} else if p != nil && p.Status == 415 && p.Header.Get("Accept") != "multipart/form-data" {
			t.Errorf("%s: Accept is %q", contentType, p.Header.Get("Accept"))
		}
	}
	r := postParts(title + photo + strings.Repeat(" ", 1<<10) + fin)
	if _, err := validate.Decode[upload](nop{}, r, validate.Config{MaxBytes: 1 << 10}); problem(t, err) == nil || problem(t, err).Status != 413 {
		t.Errorf("larger than may be: got %v, want 413", err)
	}
	r = postParts(title + photo + fin)
	if err := r.ParseMultipartForm(1 << 10); err != nil {
		t.Fatal(err)
	}
	if _, err := validate.Decode[upload](nop{}, r); err == nil || !strings.Contains(err.Error(), "parsed by a handler above") {
		t.Errorf("parsed before: got %v", err)
	}
}

// What Go's own writer sends arrives, over a socket.
func TestMultipartOverHTTP(t *testing.T) {
	srv := httptest.NewServer(validate.Body[upload]()(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, _ := validate.From[upload](r.Context())
		note, _ := u.Notes[0].Content()
		_, _ = fmt.Fprintf(w, "%s %s %s %d", u.Title, u.Photo.Name, note, u.Page)
	})))
	defer srv.Close()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	_ = w.WriteField("title", "abc")
	for name, content := range map[string]string{"photo": png, "notes": "hello"} {
		p, err := w.CreateFormFile(name, `C:\fakepath\..\"x" é.png`)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = p.Write([]byte(content))
	}
	_ = w.Close()
	resp, err := http.Post(srv.URL+"?page=4", w.FormDataContentType(), &b)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var got bytes.Buffer
	if _, _ = got.ReadFrom(resp.Body); got.String() != "abc _x_ é.png hello 4" {
		t.Errorf("got %q", got.String())
	}
}

func TestFileNames(t *testing.T) {
	for name, want := range map[string]string{
		"a.png":            "a.png",
		"Ünïcödé 漢字.txt":   "Ünïcödé 漢字.txt",
		"../../etc/passwd": "passwd",
		`..\..\boot.ini`:   "boot.ini",
		"..":               "file",
		".htaccess":        "htaccess",
		"a.php.":           "a.php",
		"a.txt:stream":     "a.txt_stream",
		"a\x00.png":        "a_.png",
		"a\u202egnp.exe":   "a_gnp.exe",
		"<script>.png":     "_script_.png",
		"nul.txt":          "_nul.txt",
		"COM1":             "_COM1",
		"com":              "com",
		"com10":            "com10",
		"CON" + strings.Repeat(" ", 110) + "x.txt": "_CON.txt",
		"NUL" + strings.Repeat(" ", 110) + "x":     "_NUL",
		"lpt¹.doc":                                 "_lpt_.doc",
		strings.Repeat("a", 200) + ".png":          strings.Repeat("a", 95) + ".png",
		"CON." + strings.Repeat("a", 96):           "_CON." + strings.Repeat("a", 95),
		strings.Repeat("é", 200):                   strings.Repeat("é", 49),
		"a." + strings.Repeat("b", 200):            "a." + strings.Repeat("b", 97),
		"aux." + strings.Repeat("b", 95):           "_aux." + strings.Repeat("b", 95),
		"a/":                                       "file",
	} {
		h := textproto.MIMEHeader{"Content-Disposition": {`form-data; name="photo"; filename="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`}}
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		_ = w.WriteField("title", "abc")
		p, err := w.CreatePart(h)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = p.Write([]byte(png))
		_ = w.Close()
		r := httptest.NewRequest("POST", "/", &b)
		r.Header.Set("Content-Type", w.FormDataContentType())
		if u, err := validate.Decode[upload](nop{}, r); err != nil && !strings.Contains(name, "\x00") || err == nil && u.Photo.Name != want {
			t.Errorf("%q: got %q, %v, want %q", name, u.Photo.Name, err, want)
		}
	}
}

func TestFileConstruction(t *testing.T) {
	for want, try := range map[string]func() error{
		".A: needs a file tag": build[struct {
			A validate.File `form:"a"`
		}],
		`has the type "image" in`: build[struct {
			A validate.File `form:"a" file:"types=image"`
		}],
		`has the type "Image/PNG" in`: build[struct {
			A validate.File `form:"a" file:"types=Image/PNG"`
		}],
		`has the type "text/csv" in its file tag, which no file looks like`: build[struct {
			A validate.File `form:"a" file:"types=text/plain text/csv"`
		}],
		`has the type "model/*" in its file tag, which no file looks like`: build[struct {
			A validate.File `form:"a" file:"types=model/*"`
		}],
		`the file "a" has a max of 2097152 bytes, which is more than the 1048576 of Config.MaxBytes`: build[struct {
			A validate.File `form:"a" file:"types=font/*,max=2MiB"`
		}],
		`has the max "5MB" in`: build[struct {
			A validate.File `form:"a" file:"types=*/*,max=5MB"`
		}],
		`has the max "0B" in`: build[struct {
			A validate.File `form:"a" file:"types=*/*,max=0B"`
		}],
		`has "size=5" in`: build[struct {
			A validate.File `form:"a" file:"types=*/*,size=5"`
		}],
		".A: has a file tag, but is no File": build[struct {
			A string `form:"a" file:"types=*/*"`
		}],
		"can't be bound from the query": build[struct {
			A validate.File `query:"a"`
		}],
		"both json and form": build[struct {
			A validate.File `form:"a" file:"types=*/*"`
			B string        `json:"b"`
		}],
		`the rule "max=3" can't be checked`: build[struct {
			A validate.File `form:"a" file:"types=*/*" validate:"max=3"`
		}],
	} {
		if err := try(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	v, err := validate.New[upload](validate.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range v.Rules() {
		got = append(got, fmt.Sprint(r.Path, r.Type, r.Rules))
	}
	if want := "/photofile[types=image/png image/jpeg max_size=20 required]"; !strings.Contains(fmt.Sprint(got), want) {
		t.Errorf("got %v, want %s", got, want)
	}
}

// Whatever is sent: nothing panics, and what gets in is what was asked for.
func FuzzMultipart(f *testing.F) {
	f.Add("bb", strings.ReplaceAll(title+photo+fin, "\n", "\r\n"))
	f.Add("bb", "--bb\r\nContent-Disposition: form-data; name=photo; filename=\"../a\\\\b\"\r\n\r\n"+png+"\r\n--bb--")
	f.Add("b b", "--b b\r\nContent-Disposition: form-data; name=notes; filename=NUL\r\n\r\nx\r\n--b b--\r\n")
	f.Fuzz(func(t *testing.T, boundary, body string) {
		r := httptest.NewRequest("POST", "/", strings.NewReader(body))
		r.Header.Set("Content-Type", `multipart/form-data; boundary="`+boundary+`"`)
		u, err := validate.Decode[upload](nop{}, r)
		if err != nil {
			if p := problem(t, err); p.Status != 400 && p.Status != 415 && p.Status != 422 {
				t.Fatalf("got %v", err)
			}
			return
		}
		for _, file := range append(u.Notes, u.Photo) {
			if n := file.Name; n == "" || len(n) > 100 || !utf8.ValidString(n) || !filepath.IsLocal(n) || filepath.Base(n) != n || strings.ContainsAny(n, `/\:<>"|?*`) ||
				strings.ContainsFunc(n, func(c rune) bool { return unicode.IsControl(c) || unicode.Is(unicode.Cf, c) }) || strings.Trim(n, ". ") != n {
				t.Errorf("the name %q", n)
			}
		}
		content, err := u.Photo.Content()
		if u.Photo.Type != "image/png" && u.Photo.Type != "image/jpeg" || len(content) > 20 || u.Photo.Size != int64(len(content)) || len(u.Notes) > 2 || !strings.Contains(body, string(content)) || err != nil {
			t.Errorf("got %+v", u)
		}
	})
}
