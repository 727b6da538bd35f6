package validate_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/validate"
)

type reading struct {
	At    string  `json:"at" validate:"required"`
	Value float64 `json:"value" default:"1"`
}

func postLines(body string) *http.Request {
	r := post(body)
	r.Header.Set("Content-Type", "application/x-ndjson")
	return r
}

// items tells what comes of a body: "a=1" for an item, "item code places" for what is
// refused.
func items(t *testing.T, v *validate.Validator[reading], r *http.Request) string {
	t.Helper()
	var got []string
	for item, err := range v.Items(nop{}, r) {
		p := problem(t, err)
		switch {
		case p == nil:
			got = append(got, fmt.Sprintf("%s=%g", item.At, item.Value))
		case item != reading{}:
			t.Errorf("what is refused is %+v", item)
		default:
			at := ""
			if n, ok := validate.ItemOf(fmt.Errorf("import: %w", err)); ok {
				at = fmt.Sprint(n, " ")
			}
			got = append(got, strings.TrimSpace(at+p.Code+" "+(answer{Errors: p.Fields}).places()))
		}
	}
	return strings.Join(got, "; ")
}

func TestItems(t *testing.T) {
	a, b := `{"at":"a","value":2}`, `{"at":"b"}`
	for _, tt := range []struct {
		name, body, want string
		cfg              validate.Config
	}{
		{"two", a + "\n" + b + "\n", "a=2; b=1", validate.Config{}},
		{"no end of the last line", a + "\n" + b, "a=2; b=1", validate.Config{}},
		{"carriage returns", a + "\r\n" + b + "\r\n", "a=2; b=1", validate.Config{}},
		{"empty lines", "\n \t\n" + a + "\n\r\n" + b + "\n\n", "a=2; b=1", validate.Config{}},
		{"nothing but empty lines", "\n\n", "", validate.Config{}},
		{"a broken one in the middle", a + "\n{\"at\"\n" + b, "a=2; 1 malformed_body; b=1", validate.Config{}},
		{"two on a line", a + b + "\n" + b, "0 malformed_body; b=1", validate.Config{}},
		{"one on two lines", "{\"at\":\n\"a\"}\n" + b, "0 malformed_body; 1 malformed_body; b=1", validate.Config{}},
		{"a rule that is broken", a + "\n{\"at\":\"\"}\n" + b, "a=2; 1 validation_failed body /1/at required; b=1", validate.Config{}},
		{"wrong types", "{\"at\":1,\"value\":\"\"}\n" + b, "0 invalid_body body /0/at type, body /0/value type; b=1", validate.Config{}},
		{"an unknown name", "{\"At\":\"a\"}", "0 invalid_body body /0 unknown", validate.Config{}},
		{"null", "null", "0 invalid_body body /0 type", validate.Config{}},
		{"too deep", `{"at":[[[]]]}` + "\n" + b, "0 malformed_body; b=1", validate.Config{MaxDepth: 2}},
		{"a line as long as may be", a + "\n" + b, "a=2; b=1", validate.Config{MaxBytes: int64(len(a))}},
		{"a line as long as may be, and a carriage return", a + "\r\n" + b, "a=2; b=1", validate.Config{MaxBytes: int64(len(a))}},
		{"a line that is too long", b + "\n" + a + " \n" + b, "b=1; body_too_large", validate.Config{MaxBytes: int64(len(a)) - 1}},
		{"a line that is too long by one", b + "\n" + a + "\n" + b, "b=1; body_too_large", validate.Config{MaxBytes: int64(len(a)) - 1}},
		{"as many as may be", a + "\n\n" + b, "a=2; b=1", validate.Config{MaxStreamItems: 2}},
		{"too many", a + "\n" + b + "\n\n" + b, "a=2; b=1; body_too_large", validate.Config{MaxStreamItems: 2}},
		{"too many that are refused", "1\n2\n3", "0 invalid_body body /0 type; body_too_large", validate.Config{MaxStreamItems: 1}},
		{"a body as long as may be", a + "\n" + b, "a=2; b=1", validate.Config{MaxStreamBytes: int64(len(a+b)) + 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, err := validate.New[reading](tt.cfg)
			if err != nil {
				t.Fatal(err)
			}
			if got := items(t, v, postLines(tt.body)); got != tt.want {
				t.Errorf("got %s,\nwant %s", got, tt.want)
			}
		})
	}
}

func TestItemsOfAll(t *testing.T) {
	v, err := validate.New[reading](validate.Config{MaxStreamBytes: 40, AllowGzip: true})
	if err != nil {
		t.Fatal(err)
	}
	line := `{"at":"a"}` + "\n"
	endless := func(err error) *http.Request {
		r := httptest.NewRequest("POST", "/", io.MultiReader(strings.NewReader(line+`{"at":"b"}`), iotest.ErrReader(err)))
		r.Header.Set("Content-Type", "application/x-ndjson")
		r.ContentLength = -1
		return r
	}
	with := func(r *http.Request, name, value string) *http.Request {
		r.Header.Set(name, value)
		return r
	}
	none := postLines("")
	none.Body, none.ContentLength = http.NoBody, 0
	chunked := postLines(strings.Repeat(line, 10))
	chunked.ContentLength = -1
	for _, tt := range []struct {
		name string
		r    *http.Request
		want string
	}{
		{"no body", none, ""},
		{"jsonl", with(postLines(line), "Content-Type", "application/jsonl; charset=utf-8"), "a=1"},
		{"another type", with(postLines(line), "Content-Type", "application/json"), "unsupported_media_type"},
		{"another charset", with(postLines(line), "Content-Type", "application/x-ndjson; charset=latin1"), "unsupported_media_type"},
		{"a connection that breaks within a line that could be whole", endless(io.ErrUnexpectedEOF), "a=1; malformed_body"},
		{"longer than may be as declared", postLines(strings.Repeat(line, 10)), "body_too_large"},
		{"longer than may be", chunked, "a=1; a=1; a=1; body_too_large"},
		{"gzip", with(postLines(zip(t, line+line)), "Content-Encoding", "gzip"), "a=1; a=1"},
		{"a gzip bomb", with(postLines(zip(t, strings.Repeat(line, 1000))), "Content-Encoding", "gzip"), "body_too_large"},
		{"another coding", with(postLines(line), "Content-Encoding", "br"), "unsupported_media_type"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := items(t, v, tt.r); got != tt.want && (tt.name != "a gzip bomb" || !strings.HasSuffix(got, tt.want) || strings.Count(got, "a=1") > 4) {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
	t.Run("more than 100,000", func(t *testing.T) {
		long, err := validate.New[int](validate.Config{})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, err = range long.Items(nop{}, postLines(strings.Repeat("1\n", 200_000))) {
			n++
		}
		if p := problem(t, err); n != 100_001 || p == nil || p.Status != 413 {
			t.Errorf("%d items, then %v", n, err)
		}
	})
	t.Run("a context that ends", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		n := 0
		var last error
		for _, err := range v.Items(nop{}, postLines(line+line+line).WithContext(ctx)) {
			n++
			last = err
			cancel()
		}
		if n != 2 || !errors.Is(last, context.Canceled) {
			t.Errorf("%d items, then %v", n, last)
		}
	})
	t.Run("of no item", func(t *testing.T) {
		down := httperr.New(503, "unavailable", "")
		down.Extensions = map[string]any{"item": 7}
		none := httperr.New(0, "none", "")
		none.Extensions = map[string]any{"item": 7}
		for _, err := range []error{nil, io.EOF, (*httperr.Problem)(nil), httperr.New(400, "malformed_body", ""), down, none} {
			if n, ok := validate.ItemOf(err); ok || n != 0 {
				t.Errorf("%v is of item %d", err, n)
			}
		}
	})
	t.Run("an error of the server", func(t *testing.T) {
		sick := v.With(func(context.Context, *reading) error { return (*httperr.Problem)(nil) }, func(context.Context, *reading) error { return nil })
		n := 0
		for _, err := range sick.Items(nop{}, postLines(line+line)) {
			if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("item %d", n)) {
				t.Errorf("got %v", err)
			}
			n++
		}
		if n != 2 {
			t.Errorf("%d items", n)
		}
	})
	t.Run("ended early", func(t *testing.T) {
		r := postLines(line + line + line)
		for range v.Items(nop{}, r) {
			break
		}
	})
	t.Run("fields from elsewhere", func(t *testing.T) {
		other, err := validate.New[struct {
			A string `json:"a"`
			B string `query:"b"`
		}](validate.Config{})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, err := range other.Items(nop{}, postLines(line)) {
			n++
			if err == nil || !strings.Contains(err.Error(), "not bound from JSON") {
				t.Errorf("got %v", err)
			}
		}
		if n != 1 {
			t.Errorf("%d items", n)
		}
	})
	t.Run("a rule that panics", func(t *testing.T) {
		sick, err := validate.New[sickItem](validate.Config{})
		if err != nil {
			t.Fatal(err)
		}
		var errs []error
		for _, err := range sick.Items(nop{}, postLines("{\"a\":1}\n{\"a\":2}")) {
			errs = append(errs, err)
		}
		if err := errors.Join(errs...); err == nil || strings.Count(err.Error(), "panicked") != 2 {
			t.Errorf("got %v", err)
		}
	})
}

// The bound on names that are no time zone is that of all items, and honest items don't run into it.
func TestTimeZonesOfItems(t *testing.T) {
	one, err := validate.New[struct {
		Zone string `json:"zone" validate:"timezone"`
	}](validate.Config{})
	if err != nil {
		t.Fatal(err)
	}
	body, refused := strings.Repeat(`{"zone":"Nowhere/Town"}`+"\n", 150)+`{"zone":"Asia/Kolkata"}`, 0
	for _, err = range one.Items(nop{}, postLines(body)) {
		if err != nil {
			refused++
		}
	}
	if refused != 150 || err != nil {
		t.Errorf("%d are refused, and of the last: %v", refused, err)
	}
	many, err := validate.New[[]struct {
		Zone string `json:"zone" validate:"timezone"`
	}](validate.Config{})
	if err != nil {
		t.Fatal(err)
	}
	wrong := func(last ...string) string {
		var body strings.Builder
		for _, zone := range last {
			body.WriteString(strings.Repeat("\n", 100)) // are no items, and move nothing on
			fmt.Fprintf(&body, "[%s{\"zone\":%q}]\n", strings.Repeat(`{"zone":"Nowhere/Town"},`, 60), zone)
		}
		var places []int
		for _, err = range many.Items(nop{}, postLines(body.String())) {
			if p := problem(t, err); p != nil {
				places = append(places, len(p.Fields))
			}
		}
		return fmt.Sprint(places)
	}
	if got := wrong("Asia/Dubai", "Asia/Dubai", "Asia/Dubai"); got != "[60 60 60]" { // known since the first item
		t.Errorf("got %s", got)
	}
	if got := wrong("x", "y", "Asia/Karachi"); got != "[61 61 61]" { // nobody looks for the last one any more
		t.Errorf("got %s", got)
	}
}

type sickItem struct {
	A sickInt `json:"a"`
}

type sickInt int

func (*sickInt) UnmarshalJSON([]byte) error { panic("sick") }

func ExampleValidator_Items() {
	v, err := validate.New[reading](validate.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	r := httptest.NewRequest("POST", "/readings", strings.NewReader("{\"at\":\"noon\"}\n{\"at\":\"\"}\n{\"at\":\"night\",\"value\":-3}\n"))
	r.Header.Set("Content-Type", "application/x-ndjson")
	for item, err := range v.Items(httptest.NewRecorder(), r) {
		if err != nil {
			fmt.Println("refused:", err)
			continue
		}
		fmt.Println(item.At, item.Value)
	}
	// Output:
	// noon 1
	// refused: httperr: 422: validation_failed: Item 1: The request breaks rules of its fields.
	// night -3
}
