package validate_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/validate"
)

// Paging is promoted.
type Paging struct {
	Limit  uint8 `query:"limit"`
	Offset *int  `query:"offset"`
}

// Sorting is promoted, and made when it is needed.
type Sorting struct {
	By string `query:"by"`
}

type search struct {
	Paging
	*Sorting
	ID       int64         `path:"id"`
	Slug     string        `path:"slug"`
	Q        string        `query:"q"`
	All      bool          `query:"all"`
	Min      float32       `query:"min"`
	Max      *float64      `query:"max"`
	Tags     []string      `query:"tag"`
	Numbers  []int8        `query:"n"`
	Since    time.Time     `query:"since"`
	Wait     time.Duration `query:"wait"`
	From     netip.Addr    `query:"from"`
	Level    *level        `query:"level"`
	Version  uint64        `header:"X-Version"`
	Lists    []string      `header:"x-list"`
	Session  string        `cookie:"session"`
	Ignored  string        `json:"-"`
	NotAsked string        `query:"-"`
}

func TestParameters(t *testing.T) {
	ptr := func(i int) *int { return &i }
	tests := []struct {
		name   string
		query  string
		header http.Header
		path   map[string]string
		want   search
	}{
		{name: "nothing", path: map[string]string{"id": "1"}, want: search{ID: 1}},
		{
			name: "all", query: "q=a+b%26&all=1&min=-1.5&max=2e3&tag=x&tag=&tag=x&n=-1&n=127&since=2026-11-23T12:00:00Z&wait=1m30s&from=2001:db8::1&level=high&limit=255&offset=-3&by=name",
			path:   map[string]string{"id": "-9223372036854775808", "slug": "a/b"},
			header: http.Header{"X-Version": {"18446744073709551615"}, "X-List": {"a, b ,c", "", "d"}, "Cookie": {"other=1; session=s"}},
			want: search{
				Paging: Paging{Limit: 255, Offset: ptr(-3)}, Sorting: &Sorting{By: "name"},
				ID: -1 << 63, Slug: "a/b", Q: "a b&", All: true, Min: -1.5, Max: func() *float64 { f := 2e3; return &f }(),
				Tags: []string{"x", "", "x"}, Numbers: []int8{-1, 127},
				Since: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), Wait: 90 * time.Second, From: netip.MustParseAddr("2001:db8::1"),
				Level:   func() *level { l := level(1); return &l }(),
				Version: 1<<64 - 1, Lists: []string{"a", "b", "c", "d"}, Session: "s",
			},
		},
		{name: "empty and unknown pairs", query: "&&q=a&&unknown=1&", path: map[string]string{"id": "1"}, want: search{ID: 1, Q: "a"}},
		{name: "name in percent escapes", query: "%71=a", path: map[string]string{"id": "1"}, want: search{ID: 1, Q: "a"}},
		{name: "names have case", query: "Q=a&ALL=1", path: map[string]string{"id": "1"}, want: search{ID: 1}},
		{name: "no value", query: "q", path: map[string]string{"id": "1"}, want: search{ID: 1}},
		{name: "equals sign in the value", query: "q=a=b", path: map[string]string{"id": "1"}, want: search{ID: 1, Q: "a=b"}},
		{name: "false", query: "all=false", path: map[string]string{"id": "007"}, want: search{ID: 7}},
		{name: "fields that are left alone", query: "Ignored=a&NotAsked=b&-=c", path: map[string]string{"id": "1"}, want: search{ID: 1}},
	}
	v, err := validate.New[search](validate.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.URL.RawQuery = tt.query
			for name, value := range tt.path {
				r.SetPathValue(name, value)
			}
			for name, lines := range tt.header {
				r.Header[name] = lines
			}
			got, err := v.Decode(nop{}, r)
			if err != nil {
				t.Fatalf("%v", problem(t, err).Fields)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestASVS_15_3_7_WrongParameters(t *testing.T) {
	tests := []struct {
		name   string
		query  string
		header http.Header
		id     string
		places string
	}{
		{name: "repeated", query: "q=a&q=b", places: "query /q repeated"},
		{name: "repeated with the same value", query: "q=a&q=a", places: "query /q repeated"},
		{name: "repeated with another spelling of the name", query: "q=a&%71=b", places: "query /q repeated"},
		{name: "repeated pointer", query: "max=1&max=2", places: "query /max repeated"},
		{name: "repeated header", header: http.Header{"X-Version": {"1", "2"}}, places: "header /X-Version repeated"},
		{name: "repeated cookie", header: http.Header{"Cookie": {"session=a; session=b"}}, places: "cookie /session repeated"},
		{name: "repeated cookie on two lines", header: http.Header{"Cookie": {"session=a", "session=b"}}, places: "cookie /session repeated"},
		{name: "not UTF-8", query: "q=%ff", places: "query /q encoding"},
		{name: "NUL", query: "q=a%00", places: "query /q encoding"},
		{name: "NUL in a slice", query: "tag=a&tag=%00", places: "query /tag encoding"},
		{name: "not UTF-8 in a header", header: http.Header{"X-List": {"a,\xff"}}, places: "header /x-list encoding"},
		{name: "not UTF-8 in the path", id: "1\xff", places: "path /id encoding"},
		{name: "semicolon", query: "q=a;all=1", places: "query  syntax"},
		{name: "semicolon in an unknown pair", query: "x=;", places: "query  syntax"},
		{name: "broken escape", query: "q=%zz", places: "query  syntax"},
		{name: "broken escape in a name", query: "%=1", places: "query  syntax"},
		{name: "escape cut short", query: "q=%4", places: "query  syntax"},
		{name: "bool", query: "all=yes", places: "query /all type"},
		{name: "bool in capitals", query: "all=TRUE", places: "query /all type"},
		{name: "empty bool", query: "all", places: "query /all type"},
		{name: "infinite", query: "min=Inf", places: "query /min type"},
		{name: "not a number", query: "min=NaN", places: "query /min type"},
		{name: "hexadecimal float", query: "min=0x1p-2", places: "query /min type"},
		{name: "underscore", query: "min=1_0", places: "query /min type"},
		{name: "float too large", query: "min=1e39", places: "query /min type"},
		{name: "float with plus", query: "min=%2B1", places: "query /min type"},
		{name: "empty float", query: "min=", places: "query /min type"},
		{name: "too large", query: "limit=256", places: "query /limit type"},
		{name: "negative", query: "limit=-1", places: "query /limit type"},
		{name: "plus", query: "offset=%2B1", places: "query /offset type"},
		{name: "blank", query: "offset=+1", places: "query /offset type"},
		{name: "empty pointer", query: "offset=", places: "query /offset type"},
		{name: "fraction", query: "n=1&n=1.5", places: "query /n type"},
		{name: "time", query: "since=2026-11-23", places: "query /since type"},
		{name: "duration", query: "wait=5", places: "query /wait type"},
		{name: "text", query: "from=::g", places: "query /from type"},
		{name: "text for a pointer", query: "level=middle", places: "query /level type"},
		{name: "header", header: http.Header{"X-Version": {"one"}}, places: "header /X-Version type"},
		{name: "path", id: "abc", places: "path /id type"},
		{name: "path that isn't there", id: "-", places: "path /id required"},
		{name: "all at once", query: "all=x&limit=y&tag=%00", id: "z", places: "query /limit type, path /id type, query /all type, query /tag encoding"},
	}
	door := validate.Body[search]()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.URL.RawQuery = tt.query
			switch tt.id {
			case "":
				r.SetPathValue("id", "1")
			case "-":
			default:
				r.SetPathValue("id", tt.id)
			}
			for name, lines := range tt.header {
				r.Header[name] = lines
			}
			a, entered, _, _ := serve(t, door, r)
			if a.Status != 400 || a.Code != "invalid_parameter" || a.places() != tt.places || entered != 0 {
				t.Errorf("got %d %q with %q, want 400 invalid_parameter with %q", a.Status, a.Code, a.places(), tt.places)
			}
		})
	}
}

func TestRefuseUnknownQuery(t *testing.T) {
	type page struct {
		N int `query:"n"`
	}
	strict := validate.Config{RefuseUnknownQuery: true}
	for query, ok := range map[string]bool{"": true, "n=1": true, "n=1&x=2": false, "N=1": false, "x": false, "n=1&": true} {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.RawQuery = query
		_, err := validate.Decode[page](nop{}, r, strict)
		if p := problem(t, err); (p == nil) != ok || p != nil && (p.Fields[0].Code != "unknown" || p.Fields[0].Pointer != "") {
			t.Errorf("%q: got %v, want accepted %t", query, p, ok)
		}
	}
	r := post(`{"a":1}`)
	r.URL.RawQuery = "debug=1"
	if _, err := validate.Decode[one](nop{}, r, strict); problem(t, err) == nil {
		t.Error("a query was taken by a type that has none")
	}
}

func TestMaxItemsOfAParameter(t *testing.T) {
	type list struct {
		N []int `query:"n"`
		H []int `header:"H"`
	}
	for n, ok := range map[int]bool{3: true, 4: false, 5000: false} {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.RawQuery = strings.Repeat("n=1&", n)
		r.Header.Set("H", strings.Repeat("1,", n))
		got, err := validate.Decode[list](nop{}, r, validate.Config{MaxItems: 3})
		if p := problem(t, err); (p == nil) != ok {
			t.Errorf("%d: got %v, want accepted %t", n, p, ok)
		} else if ok && (len(got.N) != n || len(got.H) != n) {
			t.Errorf("%d: got %+v", n, got)
		} else if !ok && (len(p.Fields) != 2 || p.Fields[0].Code != "max_items") {
			t.Errorf("%d: got %+v, want max_items twice", n, p.Fields)
		}
	}
}

func TestPathOfAMux(t *testing.T) {
	type in struct {
		ID   int    `path:"id" validate:"gt=0"`
		Rest string `path:"rest"`
	}
	quiet(t)
	mux := http.NewServeMux()
	mux.Handle("GET /items/{id}/{rest...}", validate.Body[in]()(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, _ := validate.From[in](r.Context())
		_, _ = fmt.Fprintf(w, "%d %q", got.ID, got.Rest)
	})))
	for target, want := range map[string]string{
		"/items/7/a/b":                  `200 7 "a/b"`,
		"/items/7/":                     `200 7 ""`,
		"/items/%37/..%2f":              `200 7 "../"`,
		"/items/7%00/a":                 "400 ",
		"/items/7/%ff":                  "400 ",
		"/items/0/a":                    "422 ",
		"/items/7%2f8/a":                "400 ",
		"/items/%2e%2e/a":               "400 ",
		"/items/99999999999999999999/a": "400 ",
	} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", target, nil))
		got := fmt.Sprintf("%d %s", w.Code, w.Body)
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %s, want %s", target, got, want)
		}
	}
}

// A path value that the pattern does not have is a fault of the program, not of the client, unless
// the field may be without.
func TestPathWithoutAWildcard(t *testing.T) {
	text := validate.Body[struct {
		Tenant string `path:"tenant"`
	}]()
	pointer := validate.Body[struct {
		Tenant *int `path:"tenant"`
	}]()
	number := validate.Body[struct {
		ID int `path:"tenant" validate:"gt=0"`
	}]()
	for _, tt := range []struct {
		name, pattern string
		door          func(http.Handler) http.Handler
		want          int
	}{
		{"a text", "GET /{tenent}/", text, 500},
		{"a number", "GET /{tenent}/", number, 500},
		{"no wildcard", "GET /x", text, 500},
		{"a number, and no wildcard", "GET /x", number, 500},
		{"a subtree, below which another router may be", "/", text, 204},
		{"a pointer, which may be nothing", "GET /{tenent}/", pointer, 204},
		{"a text that is there", "GET /{tenant}/", text, 204},
		{"the rest, which is empty", "GET /x/{tenant...}", text, 204},
		{"a number of the rest, which is empty", "GET /x/{tenant...}", number, 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, entered, events, log := serve(t, func(next http.Handler) http.Handler {
				mux := http.NewServeMux()
				mux.Handle(tt.pattern, tt.door(next))
				return mux
			}, httptest.NewRequest("GET", map[bool]string{true: "/x", false: "/x/"}[tt.pattern == "GET /x"], nil))
			if (entered == 1) != (tt.want == 204) || (tt.want == 500) != strings.Contains(log, `which the pattern`) || (len(events) > 0) != (tt.want == 400) {
				t.Errorf("entered %d times with %d events and the log %s", entered, len(events), log)
			}
		})
	}
	// Other routers have patterns of their own.
	for _, pattern := range []string{"", "/", "/:tenant", "/{tenant:[a-z]*}"} {
		r := httptest.NewRequest("GET", "/x/", nil)
		r.Pattern = pattern
		if _, entered, _, log := serve(t, text, r); entered != 1 {
			t.Errorf("%s: got %s", pattern, log)
		}
	}
}

type login struct {
	Name   string   `form:"name" validate:"required"`
	Age    *int     `form:"age"`
	Topics []string `form:"topic"`
	Next   string   `query:"next"`
}

func TestForm(t *testing.T) {
	age := 7
	tests := []struct {
		name, body, query string
		status            int
		places            string
		want              login
	}{
		{name: "good", body: "name=a+b&age=7&topic=x&topic=y", query: "next=%2F", status: 200, want: login{Name: "a b", Age: &age, Topics: []string{"x", "y"}, Next: "/"}},
		{name: "the query is no form", body: "", query: "name=a", status: 422, places: "form /name required"},
		{name: "the form is no query", body: "name=a&next=/", status: 400, places: "form  unknown"},
		{name: "unknown field", body: "name=a&admin=1", status: 400, places: "form  unknown"},
		{name: "case variant", body: "Name=a", status: 400, places: "form  unknown"},
		{name: "repeated", body: "name=a&name=b", status: 400, places: "form /name repeated"},
		{name: "repeated in the query", body: "name=a", query: "name=b", status: 200, want: login{Name: "a"}},
		{name: "type", body: "name=a&age=x", status: 400, places: "form /age type"},
		{name: "semicolon", body: "name=a;age=7", status: 400, places: "form  syntax"},
		{name: "NUL", body: "name=%00", status: 400, places: "form /name encoding"},
		{name: "raw bytes that are not UTF-8", body: "name=\xff", status: 400, places: "form /name encoding"},
		{name: "both places", body: "age=x", query: "next=a&next=b", status: 400, places: "query /next repeated, form /age type"},
		{name: "JSON", body: `{"name":"a"}`, status: 400, places: "form  unknown"},
	}
	v, err := validate.New[login](validate.Config{MaxBytes: 100, AllowUnknown: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := postForm(tt.body)
			r.URL.RawQuery = tt.query
			check := func(r *http.Request) {
				t.Helper()
				got, err := v.Decode(nop{}, r)
				if tt.status == 200 {
					if err != nil || !reflect.DeepEqual(got, tt.want) {
						t.Errorf("got %+v, %v, want %+v", got, err, tt.want)
					}
					return
				}
				p := problem(t, err)
				if p == nil || p.Status != tt.status || (answer{Errors: p.Fields}).places() != tt.places {
					t.Errorf("got %+v, want %d with %q", p, tt.status, tt.places)
				}
			}
			check(r)

			// The same if a door above has parsed the form.
			r = postForm(tt.body)
			r.URL.RawQuery = tt.query
			if err := r.ParseForm(); err == nil {
				check(r)
			}
		})
	}
	r := postForm("name=" + strings.Repeat("a", 96))
	if _, err := v.Decode(nop{}, r); problem(t, err).Status != 413 {
		t.Errorf("got %v, want a 413", err)
	}
	r = postForm("name=" + strings.Repeat("a", 96))
	r.ContentLength = -1
	if _, err := v.Decode(nop{}, r); problem(t, err).Status != 413 {
		t.Errorf("chunked: got %v, want a 413", err)
	}
	r = postForm("")
	r.Header.Del("Content-Type")
	if _, err := v.Decode(nop{}, r); problem(t, err).Code != "body_required" {
		t.Errorf("got %v, want body_required", err)
	}
}

// CVE-2024-37298, CVE-2025-48075 and CVE-2025-54801 were indexes in the names of fields, for
// which a list of that length was made. Here a name is a name.
func TestCVE_2024_37298_IndexesInNames(t *testing.T) {
	type list struct {
		Names []string `form:"name"`
		Tags  []string `query:"tag"`
	}
	v, err := validate.New[list](validate.Config{RefuseUnknownQuery: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ query, body, places string }{
		{"", "name=a&name=b", ""},
		{"", "name[999999999]=1", "form  unknown"},
		{"", "name.999999999=1", "form  unknown"},
		{"", "name%5B0%5D=1&name[0][1]=2", "form  unknown"},
		{"", "name[]=1", "form  unknown"},
		{"tag[999999999]=1", "name=a", "query  unknown"},
		{"tag%5B-1%5D=1", "name=a", "query  unknown"},
	} {
		r := postForm(tt.body)
		r.URL.RawQuery = tt.query
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got, err := v.Decode(nop{}, r)
		runtime.ReadMemStats(&after)
		places := ""
		if p := problem(t, err); p != nil {
			places = (answer{Errors: p.Fields}).places()
		}
		if places != tt.places || places == "" && len(got.Names) != 2 {
			t.Errorf("?%s %s: got %v with %q, want %q", tt.query, tt.body, got, places, tt.places)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 64<<10 {
			t.Errorf("?%s %s: %d bytes were allocated", tt.query, tt.body, n)
		}
	}
}

func FuzzForm(f *testing.F) {
	for _, s := range []string{"name=a&age=7&topic=x&topic=y", "name=a;age=7", "name=%00", "%6eame=a", "name", "&&=&", "name=%", "topic=+%2B", "name=a&name=b"} {
		f.Add(s)
	}
	v, err := validate.New[login](validate.Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body string) {
		got, err := v.Decode(nop{}, postForm(body))
		if err != nil {
			switch p := problem(t, err); p.Status {
			case 400, 413, 422:
			default:
				t.Fatalf("got %v, want a 400, 413 or 422", p)
			}
			return
		}
		// net/url reads the same, and what was accepted is accepted again.
		u, err := url.ParseQuery(body)
		if err != nil {
			t.Fatalf("url.ParseQuery refuses %q: %v", body, err)
		}
		if len(u["name"]) != 1 || u.Get("name") != got.Name || strings.Join(u["topic"], "\x00") != strings.Join(got.Topics, "\x00") {
			t.Fatalf("%q: got %+v, net/url reads %v", body, got, u)
		}
		again, err := v.Decode(nop{}, postForm(u.Encode()))
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Fatalf("%q: read %+v, then %+v, %v", body, got, again, err)
		}
	})
}
