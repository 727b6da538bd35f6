package validate_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/validate"
)

func zip(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestAllowGzip(t *testing.T) {
	good := zip(t, `{"a":1}`)
	broken := []byte(good)
	broken[len(broken)-6] ^= 1 // the checksum
	for _, tt := range []struct {
		name, coding, body string
		status             int
		code               string
	}{
		{"gzip", "gzip", good, 204, ""},
		{"by its old name", "X-Gzip", good, 204, ""},
		{"in capitals", "GZIP", good, 204, ""},
		{"beside identity", "identity, gzip", good, 204, ""},
		{"none", "", `{"a":1}`, 204, ""},
		{"gzip that is not said", "", good, 400, "malformed_body"},
		{"said, but none", "gzip", `{"a":1}`, 400, "malformed_body"},
		{"empty", "gzip", "", 400, "malformed_body"},
		{"of nothing", "gzip", zip(t, ""), 400, "body_required"},
		{"twice", "gzip, gzip", zip(t, good), 415, "unsupported_media_type"},
		{"another coding", "br", good, 415, "unsupported_media_type"},
		{"another one beside it", "gzip, br", good, 415, "unsupported_media_type"},
		{"cut off", "gzip", good[:len(good)-9], 400, "malformed_body"},
		{"cut off in the checksum", "gzip", good[:len(good)-1], 400, "malformed_body"},
		{"a wrong checksum", "gzip", string(broken), 400, "malformed_body"},
		{"a second member", "gzip", good + zip(t, " "), 400, "malformed_body"},
		{"something after it", "gzip", good + "\x00", 400, "malformed_body"},
		{"as large as may be", "gzip", zip(t, `{"a":1}`+strings.Repeat(" ", 1000-7)), 204, ""},
		{"larger by a byte", "gzip", zip(t, `{"a":1}`+strings.Repeat(" ", 1001-7)), 413, "body_too_large"},
		{"no JSON in it", "gzip", zip(t, `{"a":1`), 400, "malformed_body"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := post(tt.body)
			if tt.coding != "" {
				r.Header.Set("Content-Encoding", tt.coding)
			}
			a, entered, _, _ := serve(t, validate.Body[one](validate.Config{AllowGzip: true, MaxBytes: 1000}), r)
			if a.Status != tt.status || a.Code != tt.code || (entered == 1) != (tt.status == 204) {
				t.Errorf("got %d %q, entered %d; want %d %q", a.Status, a.Code, entered, tt.status, tt.code)
			}
			if accept := a.header.Get("Accept-Encoding"); (accept == "gzip, identity") != (tt.status == 415) {
				t.Errorf("got Accept-Encoding %q", accept)
			}
		})
	}
	// A bound that is none is no fault either.
	r := post(good)
	r.Header.Set("Content-Encoding", "gzip")
	if got, err := validate.Decode[one](nop{}, r, validate.Config{AllowGzip: true, MaxBytes: math.MaxInt64}); err != nil || got.A != 1 {
		t.Errorf("without a bound: got %+v, %v, want 1", got, err)
	}
	// Forms too.
	r = postForm(zip(t, "a=7"))
	r.Header.Set("Content-Encoding", "gzip")
	if got, err := validate.Decode[oneForm](nop{}, r, validate.Config{AllowGzip: true}); err != nil || got.A != 7 {
		t.Errorf("got %+v, %v, want 7", got, err)
	}
}

// counting counts what was read of a body.
type counting struct {
	io.Reader
	n int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += n
	return n, err
}

// TestF13_GzipBomb has 100 MiB come of 100 KiB: it ends at the bound, and what is left of
// the body is not read.
func TestF13_GzipBomb(t *testing.T) {
	bomb := zip(t, strings.Repeat("\x00", 100<<20))
	v, err := validate.New[any](validate.Config{AllowGzip: true, MaxBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	body := &counting{Reader: strings.NewReader(bomb)}
	r := httptest.NewRequest(http.MethodPost, "/", body)
	r.ContentLength = -1
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Content-Encoding", "gzip")
	_, err = v.Decode(nop{}, r)
	runtime.ReadMemStats(&after)
	if p := problem(t, err); p.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("got %v, want a 413", err)
	}
	if body.n > 16<<10 {
		t.Errorf("%d bytes were read of a body of %d", body.n, len(bomb))
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes were allocated", n)
	}
	// What is sent is bounded too, though little comes of it.
	stored := &counting{Reader: io.MultiReader(strings.NewReader(zip(t, "")[:10]), strings.NewReader(strings.Repeat("\x00\x00\x00\xff\xff", 1<<20)))}
	r = httptest.NewRequest(http.MethodPost, "/", stored)
	r.ContentLength = -1
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Content-Encoding", "gzip")
	if _, err = v.Decode(nop{}, r); problem(t, err).Status != http.StatusRequestEntityTooLarge || stored.n > 128<<10 {
		t.Errorf("of empty blocks: got %v after %d bytes, want a 413", err, stored.n)
	}
}

// Whatever is sent, what is decoded is what is sent plainly.
func FuzzGzip(f *testing.F) {
	f.Add([]byte(zip(f, `{"a":1}`)))
	f.Add([]byte(zip(f, `[1,2]`) + "x"))
	f.Add([]byte("\x1f\x8b\x08\x00"))
	zipped, err := validate.New[any](validate.Config{AllowGzip: true, MaxBytes: 4 << 10})
	if err != nil {
		f.Fatal(err)
	}
	plain, err := validate.New[any](validate.Config{MaxBytes: 4 << 10})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r := post(string(body))
		r.Header.Set("Content-Encoding", "gzip")
		if _, err := zipped.Decode(nop{}, r); err != nil {
			problem(t, err)
			return
		}
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			t.Fatalf("taken, though it is no gzip: %v", err)
		}
		text, err := io.ReadAll(z)
		if err != nil {
			t.Fatalf("taken, though it is broken: %v", err)
		}
		if _, err := plain.Decode(nop{}, post(string(text))); err != nil {
			t.Errorf("taken, but not when it is sent plainly: %v", err)
		}
	})
}
