package validate_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/validate"
)

type letter struct {
	Subject string          `form:"subject"`
	Pages   []validate.File `form:"pages" file:"types=text/plain"`
	Small   *validate.File  `form:"small" file:"types=text/plain,max=2KiB"`
}

// send returns a request with a form, whose fields come in this order: name, file name ("" for
// a field), content.
func send(parts ...string) *http.Request {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(parts); i += 3 {
		var to io.Writer
		if parts[i+1] == "" {
			to, _ = w.CreateFormField(parts[i])
		} else {
			to, _ = w.CreateFormFile(parts[i], parts[i+1])
		}
		_, _ = io.WriteString(to, parts[i+2])
	}
	_ = w.Close()
	r := httptest.NewRequest("POST", "/", &b)
	r.Header.Set("Content-Type", w.FormDataContentType())
	r.ContentLength = -1 // chunked
	return r
}

// openFiles returns how many files this process has open in dir, by what Linux says.
func openFiles(t *testing.T, dir string) int {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("open files are counted on Linux only")
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); err == nil && strings.HasPrefix(to, dir+"/") {
			n++
		}
	}
	return n
}

// Files that are too large for the memory are on the disk as long as the handler runs, and no
// longer.
func TestLargeFiles(t *testing.T) {
	dir := t.TempDir()
	cfg := validate.Config{MaxBytes: 64 << 10, MaxMemory: 4 << 10, TempDir: dir}
	v, err := validate.New[letter](cfg)
	if err != nil {
		t.Fatal(err)
	}
	small, large := strings.Repeat("s", 3<<10), strings.Repeat("l", 5<<10)
	var left letter
	for _, tt := range []struct {
		name  string
		parts []string
		want  []string // the contents
		open  int
	}{
		{"what fits", []string{"pages", "a", small}, []string{small}, 0},
		{"what fills it", []string{"pages", "a", large[:4<<10]}, []string{large[:4<<10]}, 0},
		{"a byte more", []string{"pages", "a", large[:4<<10+1]}, []string{large[:4<<10+1]}, 1},
		{"a large one", []string{"pages", "a", large}, []string{large}, 1},
		{"two that fit alone", []string{"pages", "a", small, "pages", "b", small}, []string{small, small}, 1},
		{"a large one before a small one", []string{"pages", "a", large, "pages", "b", small}, []string{large, small}, 1},
		{"with a field beside it", []string{"subject", "", small, "pages", "a", small}, []string{small}, 0},
		{"nothing in it", []string{"pages", "a", ""}, []string{""}, 0},
		{"many", []string{"pages", "a", large, "pages", "b", large + "2", "pages", "c", large + "3"}, []string{large, large + "2", large + "3"}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			entered := false
			h := v.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				entered = true
				got, _ := validate.From[letter](r.Context())
				left = got
				if len(got.Pages) != len(tt.want) {
					t.Fatalf("got %v", got.Pages)
				}
				for i, f := range got.Pages {
					content, err := f.Content()
					if err != nil || string(content) != tt.want[i] || f.Size != int64(len(tt.want[i])) || f.Type != "text/plain" {
						t.Errorf("got %s, %d bytes, %v", f, len(content), err)
					}
					var wg sync.WaitGroup
					for range 4 { // each has its own place
						wg.Go(func() {
							var b strings.Builder
							if _, err := io.Copy(&b, f.Open()); err != nil || b.String() != tt.want[i] {
								t.Errorf("got %d bytes, %v", b.Len(), err)
							}
						})
					}
					wg.Wait()
					if strings.Contains(fmt.Sprintf("%+v %v %s", f, &f, f), "lll") {
						t.Errorf("the content is printed: %.100s", f)
					}
				}
				if n := openFiles(t, dir); n != tt.open {
					t.Errorf("%d files are open, want %d", n, tt.open)
				}
				if entries, err := os.ReadDir(dir); len(entries) > 0 || err != nil {
					t.Errorf("the directory has %v, %v: others see them", entries, err)
				}
			}))
			h.ServeHTTP(httptest.NewRecorder(), send(tt.parts...))
			if n := openFiles(t, dir); n != 0 || !entered {
				t.Errorf("%d files are open once the handler has returned (%t)", n, entered)
			}
		})
	}
	if _, err := left.Pages[0].Content(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("afterwards: got %v, want ErrClosed", err)
	}
}

// Whatever ends a request, no file is left.
func TestLargeFilesThatAreRefused(t *testing.T) {
	dir := t.TempDir()
	large := strings.Repeat("l", 5<<10)
	with := func(check func(context.Context, *letter) error) func(*validate.Validator[letter]) *validate.Validator[letter] {
		return func(v *validate.Validator[letter]) *validate.Validator[letter] { return v.With(check) }
	}
	for _, tt := range []struct {
		name   string
		r      *http.Request
		with   func(*validate.Validator[letter]) *validate.Validator[letter]
		status int
		code   string
	}{
		{"the body is too large", send("pages", "a", strings.Repeat("l", 64<<10)), nil, 413, "body_too_large"},
		{"the fields are too large", send("pages", "a", large, "subject", "", large), nil, 413, "body_too_large"},
		{"a file is too large", send("pages", "a", large, "small", "b", large), nil, 400, "invalid_body"},
		{"a file is too large, though it fits", send("small", "b", large[:3<<10]), nil, 400, "invalid_body"},
		{"another type", send("pages", "a", large, "pages", "b", "%PDF-1"+large), nil, 400, "invalid_body"},
		{"an unknown field", send("pages", "a", large, "other", "", ""), nil, 400, "invalid_body"},
		{"a check", send("pages", "a", large), with(func(context.Context, *letter) error { return validate.Broken(httperr.Field{Pointer: "/pages"}) }), 422, "validation_failed"},
		{"a check that panics", send("pages", "a", large), with(func(context.Context, *letter) error { panic("no") }), 500, "internal_error"},
		{"the handler panics", send("pages", "a", large), nil, 500, "internal_error"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, err := validate.New[letter](validate.Config{MaxBytes: 64 << 10, MaxMemory: 4 << 10, TempDir: dir})
			if err != nil {
				t.Fatal(err)
			}
			if tt.with != nil {
				v = tt.with(v)
			}
			a, _, _, _ := serve(t, func(http.Handler) http.Handler {
				return v.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("no") }))
			}, tt.r)
			if a.Status != tt.status || a.Code != tt.code {
				t.Errorf("got %d %s, want %d %s", a.Status, a.body, tt.status, tt.code)
			}
			if n := openFiles(t, dir); n != 0 {
				t.Errorf("%d files are open", n)
			}
		})
	}
}

// What is refused already is not written to the disk.
func TestWhatIsRefusedIsNotKept(t *testing.T) {
	absent := filepath.Join(t.TempDir(), "absent") // where nothing can be written
	cfg := validate.Config{MaxBytes: 64 << 10, MaxMemory: 4 << 10, TempDir: absent}
	large := strings.Repeat("l", 5<<10)
	for name, r := range map[string]*http.Request{
		"after an unknown field": send("other", "", "", "pages", "a", large),
		"of another type":        send("pages", "a", "%PDF-1"+large),
		"a file for a field":     send("subject", "a", large),
		"an unknown file":        send("other", "a", large),
		"a second one":           send("small", "a", "s", "small", "b", large),
	} {
		if _, err := validate.Decode[letter](nop{}, r, cfg); problem(t, err) == nil || problem(t, err).Status != 400 {
			t.Errorf("%s: got %v, want a 400", name, err)
		}
	}
	// A disk that can't be written to is the server's fault.
	_, err := validate.Decode[letter](nop{}, send("pages", "a", large), cfg)
	var p *httperr.Problem
	if errors.As(err, &p) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want an error that is no Problem", err)
	}
	if _, err := validate.Decode[letter](nop{}, send("pages", "a", large[:4<<10]), cfg); err != nil {
		t.Errorf("what fits into the memory: got %v", err)
	}
}

// A disk that is full is the server's fault too, and nothing of it is told. The limit on the
// size of files stands for it, and is that of all of this process.
func TestAFullDisk(t *testing.T) {
	limitFiles(t, 8<<10)
	door := func(next http.Handler) http.Handler {
		v, err := validate.New[letter](validate.Config{MaxBytes: 64 << 10, MaxMemory: 4 << 10, TempDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		return v.Wrap(next)
	}
	a, entered, _, log := serve(t, door, send("pages", "a", strings.Repeat("l", 32<<10)))
	if a.Status != 500 || entered > 0 || strings.Contains(a.body, "upload") || !strings.Contains(log, "could not be kept") {
		t.Errorf("got %d %s, entered %d times, logged %s", a.Status, a.body, entered, log)
	}
	if a, entered, _, _ := serve(t, door, send("pages", "a", strings.Repeat("l", 7<<10))); a.Status != 204 || entered != 1 {
		t.Errorf("of one that fits: got %d %s", a.Status, a.body)
	}
}

// Of Decode, files end with the request.
func TestLargeFilesOfDecode(t *testing.T) {
	dir := t.TempDir()
	cfg := validate.Config{MaxBytes: 64 << 10, MaxMemory: 4 << 10, TempDir: dir}
	ctx, end := context.WithCancel(t.Context())
	got, err := validate.Decode[letter](nop{}, send("pages", "a", strings.Repeat("l", 5<<10)).WithContext(ctx), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if content, err := got.Pages[0].Content(); len(content) != 5<<10 || err != nil || openFiles(t, dir) != 1 {
		t.Errorf("got %d bytes, %v", len(content), err)
	}
	end()
	for range 1000 { // soon
		if openFiles(t, dir) == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if _, err := got.Pages[0].Content(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("when the request has ended: got %v, want ErrClosed", err)
	}
}

// Large forms take as much memory as they may, and no more.
func TestMemoryOfLargeFiles(t *testing.T) {
	const size = 64 << 20
	body := func() (io.Reader, string) {
		r, w := io.Pipe()
		form := multipart.NewWriter(w)
		go func() {
			part, _ := form.CreateFormFile("pages", "a")
			line := bytes.Repeat([]byte("l"), 64<<10)
			for range size / len(line) {
				if _, err := part.Write(line); err != nil {
					return
				}
			}
			_ = form.Close()
			_ = w.Close()
		}()
		return r, form.FormDataContentType()
	}
	b, contentType := body()
	r := httptest.NewRequest("POST", "/", b)
	r.Header.Set("Content-Type", contentType)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, err := validate.Decode[letter](nop{}, r, validate.Config{MaxBytes: 2 * size, TempDir: t.TempDir()})
	runtime.ReadMemStats(&after)
	if err != nil || got.Pages[0].Size != size {
		t.Fatalf("got %v, %v", got.Pages, err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
		t.Errorf("%d bytes were allocated for a file of %d", n, size)
	}
	_, _ = io.Copy(io.Discard, got.Pages[0].Open())
}

// Small files take no more than they are counted for, but for what each of them is.
func TestMemoryOfSmallFiles(t *testing.T) {
	var b strings.Builder
	const n = 9_999
	for range n {
		b.WriteString("--bb\r\nContent-Disposition: form-data; name=pages; filename=a\r\n\r\nx\r\n")
	}
	r := httptest.NewRequest("POST", "/", strings.NewReader(b.String()+"--bb--\r\n"))
	r.Header.Set("Content-Type", "multipart/form-data; boundary=bb")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	got, err := validate.Decode[letter](nop{}, r, validate.Config{MaxMemory: 16 << 10})
	runtime.GC()
	runtime.ReadMemStats(&after)
	if err != nil || len(got.Pages) != n {
		t.Fatalf("got %d, %v", len(got.Pages), err)
	}
	if held := int64(after.HeapAlloc) - int64(before.HeapAlloc); held > 3<<20 { //nolint:gosec // far less than that
		t.Errorf("%d bytes are held", held)
	}
	runtime.KeepAlive(got)
}

// The header of a part is read no further than it may be large.
func TestLargePartHeader(t *testing.T) {
	for name, tt := range map[string]struct {
		size, status int
	}{"as large as may be": {16 << 10, 0}, "too large": {64 << 10, 400}, "without an end": {4 << 20, 400}} {
		counted := &counter{from: strings.NewReader("--bb\r\nX: " + strings.Repeat("x", tt.size) + "\r\nContent-Disposition: form-data; name=subject\r\n\r\nabc\r\n--bb--\r\n")}
		r := httptest.NewRequest("POST", "/", counted)
		r.Header.Set("Content-Type", "multipart/form-data; boundary=bb")
		_, err := validate.Decode[letter](nop{}, r, validate.Config{MaxBytes: 8 << 20})
		if p := problem(t, err); p == nil && tt.status != 0 || p != nil && p.Status != tt.status {
			t.Errorf("%s: got %v, want %d", name, err, tt.status)
		}
		if counted.n > 128<<10 {
			t.Errorf("%s: %d bytes were read", name, counted.n)
		}
	}
	r := send("subject", "", "abc")
	if _, err := validate.Decode[letter](nop{}, r, validate.Config{MaxMemory: math.MaxInt64, MaxBytes: math.MaxInt64}); err != nil {
		t.Errorf("as much as can be: got %v", err)
	}
	if _, err := validate.New[letter](validate.Config{MaxMemory: -1}); err == nil || !strings.Contains(err.Error(), "Config.MaxMemory") {
		t.Errorf("got %v", err)
	}
}

// A counter counts what is read.
type counter struct {
	from io.Reader
	n    int
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n += n
	return n, err
}

// splitParts returns the contents of parts as the simplest of programs sees them, and whether
// one that takes other line breaks for some would see the same.
func splitParts(body, boundary string) (contents []string, ok bool) {
	body = "\r\n" + body
	parts := strings.Split(body, "\r\n--"+boundary)
	if loose := regexp.MustCompile(`[\r\n]--`+boundary).FindAllString(body, -1); len(loose) != len(parts)-1 || parts[0] != "" {
		return nil, false
	}
	if end := parts[len(parts)-1]; end != "--" && end != "--\r\n" {
		return nil, false
	}
	for _, part := range parts[1 : len(parts)-1] {
		header, content, ok := strings.Cut(part, "\r\n\r\n")
		if !ok || !regexp.MustCompile(`^(\r\n[A-Za-z0-9!#$%&'*+.^_|~`+"`"+`-]+:[^\r\n]*)+$`).MatchString(header) {
			return nil, false
		}
		contents = append(contents, content)
	}
	return contents, true
}

// FuzzMultipartInPieces checks that what a form is does not depend on the pieces that it comes
// in, nor on where its files are held; that its ends are those of the whole body; and that
// package mime/multipart reads the same in what is let in.
func FuzzMultipartInPieces(f *testing.F) {
	crlf := func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }
	part := "--bb\nContent-Disposition: form-data; name=pages; filename=a\n\n"
	for _, s := range []string{
		part + "abc\n--bb--\n", part + "abc\n--bb--", part + "abc\n--bb--\n--bb--\n", part + "\n--bb-\n\n--bb--\n", part + "a\r\r\n--bb--\n",
		part + "a\n--bb-- \n", "--bb\n--bb--\n", "--bb--\n", "\n--bb--\n", part + "x\n--bb--\r", part + "x\n--bb--\n\n", part + strings.Repeat("long", 300) + "\n--bb--\n",
		"--bb\nContent-Disposition: form-data; name=subject\n\nabc\n" + part + "\n--bb--\n",
	} {
		f.Add(crlf(s), 1, 3)
		f.Add(crlf(s), 7, 4096)
	}
	f.Fuzz(func(t *testing.T, body string, piece, memory int) {
		const boundary = "bb"
		decode := func(piece int, memory int64) (letter, error) {
			r := httptest.NewRequest("POST", "/", io.MultiReader(&pieces{body, max(piece, 1)}))
			r.Header.Set("Content-Type", "multipart/form-data; boundary="+boundary)
			ctx, end := context.WithCancel(t.Context())
			t.Cleanup(end)
			return validate.Decode[letter](nop{}, r.WithContext(ctx), validate.Config{MaxMemory: memory, TempDir: t.TempDir()})
		}
		got, err := decode(piece%5000, int64(max(memory, 1)))
		same, sameErr := decode(4096, 1<<20)
		p, q := problem(t, err), problem(t, sameErr)
		if p != nil && p.Status == 413 { // fields that one has no room for
			return
		}
		if (p == nil) != (q == nil) || p != nil && (p.Code != q.Code || fmt.Sprint(p.Fields) != fmt.Sprint(q.Fields)) {
			t.Fatalf("in pieces of %d, with %d bytes: %v; else %v", piece, memory, err, sameErr)
		}
		if p != nil {
			return
		}
		contents, ok := splitParts(body, boundary)
		if !ok {
			t.Fatalf("let in: %q", body)
		}
		reader := multipart.NewReader(strings.NewReader(body), boundary)
		for _, want := range contents {
			part, err := reader.NextRawPart()
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(part); string(got) != want || err != nil {
				t.Fatalf("a part is %q, %v, and %q to others", got, err, want)
			}
		}
		form, err := multipart.NewReader(strings.NewReader(body), boundary).ReadForm(1 << 20)
		if err != nil {
			t.Fatalf("mime/multipart: %v", err)
		}
		if len(got.Pages) != len(same.Pages) || got.Subject != same.Subject {
			t.Fatalf("got %v and %v", got, same)
		}
		for i, f := range got.Pages {
			a, errA := f.Content()
			b, errB := same.Pages[i].Content()
			if errA != nil || errB != nil || !bytes.Equal(a, b) || f.Size != int64(len(a)) {
				t.Fatalf("got %q, %v and %q, %v", a, errA, b, errB)
			}
		}
		want := 0
		for _, h := range form.File["pages"] {
			o, err := h.Open()
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(o)
			if h.Filename == "" && len(b) == 0 {
				continue
			}
			if a, _ := got.Pages[want].Content(); !bytes.Equal(a, b) {
				t.Fatalf("got %q, mime/multipart %q", a, b)
			}
			want++
		}
		if want != len(got.Pages) {
			t.Fatalf("%d files, mime/multipart has %d", len(got.Pages), want)
		}
	})
}

// pieces are what a body comes in.
type pieces struct {
	rest string
	size int
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.rest == "" {
		return 0, io.EOF
	}
	n := copy(b, p.rest[:min(len(p.rest), p.size)])
	p.rest = p.rest[n:]
	return n, nil
}

// Whether fields fit does not depend on the files before them, nor on how large these are.
func TestFieldsAfterFiles(t *testing.T) {
	for _, size := range []int{0, 1, 4083, 4084, 4090, 4095, 4096, 4097, 8000} {
		for _, subject := range []int{12, 4096, 4097} {
			file := "--bb\r\nContent-Disposition: form-data; name=pages; filename=a\r\n\r\n" + strings.Repeat("a", size) + "\r\n"
			field := "--bb\r\nContent-Disposition: form-data; name=subject\r\n\r\n" + strings.Repeat("s", subject) + "\r\n"
			for _, body := range []string{file + field, field + file} {
				r := httptest.NewRequest("POST", "/", strings.NewReader(body+"--bb--\r\n"))
				r.Header.Set("Content-Type", "multipart/form-data; boundary=bb")
				got, err := validate.Decode[letter](nop{}, r.WithContext(t.Context()), validate.Config{MaxMemory: 4096, MaxBytes: 64 << 10, TempDir: t.TempDir()})
				if ok := subject <= 4096; ok != (err == nil) || ok && len(got.Subject) != subject || !ok && problem(t, err).Code != "body_too_large" {
					t.Errorf("a file of %d and a field of %d bytes: got %v", size, subject, err)
				}
			}
		}
	}
}
