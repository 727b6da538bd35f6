package validate_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/go-playground/validator/v10"
	httperr "github.com/sallyport/sallyport/errors"

	"github.com/sallyport/sallyport/validate"
)

type account struct {
	Name  string                 `json:"name" validate:"required" scope:"names"`
	Since *time.Time             `json:"since,omitzero"`
	Tags  []string               `json:"tags,omitzero"`
	Home  *homeAddress           `json:"home,omitzero"`
	All   []homeAddress          `json:"all,omitzero"`
	By    map[string]homeAddress `json:"by,omitzero"`
	Free  any                    `json:"free,omitzero"`
	Count int                    `json:"count,string,omitzero"`
}

type homeAddress struct {
	Town string `json:"town"`
}

// respond is a handler that sends a body as JSON.
func respond(status int, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.Header().Set("ETag", `"1"`)
		if status != 0 {
			w.WriteHeader(status)
		}
		_, _ = w.Write([]byte(body))
	})
}

// What a handler knows too much of is not seen, at any depth.
func TestAPI3_Response(t *testing.T) {
	quiet(t)
	for _, tt := range []struct {
		name   string
		status int
		body   string
		cfg    validate.ResponseConfig
		want   string // "500" if nothing gets out
		reason string
	}{
		{"all declared", 200, `{"name":"al","tags":["a"],"home":null}`, validate.ResponseConfig{}, `{"name":"al","tags":["a"],"home":null}`, ""},
		{"white space", 0, "{ \"name\" : \"al\" }\n", validate.ResponseConfig{}, `{"name":"al"}`, ""},
		{"one too many", 200, `{"password":"hunter2","name":"al"}`, validate.ResponseConfig{}, `{"name":"al"}`, "/"},
		{"another case", 201, `{"name":"al","Name":"hunter2"}`, validate.ResponseConfig{}, `{"name":"al"}`, "/"},
		{"an escaped name", 200, `{"\u006eame":"al","p\u0061ss":"hunter2"}`, validate.ResponseConfig{}, `{"\u006eame":"al"}`, "/"},
		{"an object too many", 200, `{"x":{"name":"hunter2"},"name":"al","y":[{}]}`, validate.ResponseConfig{}, `{"name":"al"}`, "/"},
		{
			"deeper", 200, `{"name":"al","home":{"town":"B","key":"hunter2"},"all":[{"town":"C"},{"key":"hunter2"},{"key":"hunter2","town":"D"}],"by":{"k":{"town":"E","key":"hunter2"}}}`,
			validate.ResponseConfig{},
			`{"name":"al","home":{"town":"B"},"all":[{"town":"C"},{},{"town":"D"}],"by":{"k":{"town":"E"}}}`, "/home, /all/*, /by/*",
		},
		{"what is anything", 200, `{"name":"al","free":{"secret":1},"count":"3"}`, validate.ResponseConfig{}, `{"name":"al","free":{"secret":1},"count":"3"}`, ""},
		{"no body", 204, ``, validate.ResponseConfig{}, ``, ""},
		{"another type", 200, `{"name":{"hunter2":1}}`, validate.ResponseConfig{}, "500", ""},
		{"a list", 200, `["hunter2"]`, validate.ResponseConfig{}, "500", ""},
		{"an object for a list", 200, `{"name":"al","tags":{"a":"hunter2"}}`, validate.ResponseConfig{}, "500", ""},
		{"half a document", 200, `{"name":"hunter2"`, validate.ResponseConfig{}, "500", ""},
		{"two documents", 200, `{"name":"al"}{"password":"hunter2"}`, validate.ResponseConfig{}, "500", ""},
		{"a name twice", 200, `{"name":"al","name":"hunter2"}`, validate.ResponseConfig{}, "500", ""},
		{"larger than may be", 200, `{"name":"hunter2"}`, validate.ResponseConfig{MaxBytes: 17}, "500", ""},
		{"as large as may be", 200, `{"name":"hunter2"}`, validate.ResponseConfig{MaxBytes: 18}, `{"name":"hunter2"}`, ""},
		{"rules that are not asked for", 200, `{"name":""}`, validate.ResponseConfig{}, `{"name":""}`, ""},
		{"rules", 200, `{"name":"","tags":["hunter2"]}`, validate.ResponseConfig{CheckRules: true}, "500", ""},
		{"null for a list", 200, `{"name":"al","tags":null}`, validate.ResponseConfig{}, `{"name":"al","tags":null}`, ""},
		{"null for a list, with rules", 200, `{"name":"hunter2","tags":null}`, validate.ResponseConfig{CheckRules: true}, "500", ""},
		{"no list, with rules", 200, `{"name":"al"}`, validate.ResponseConfig{CheckRules: true}, `{"name":"al"}`, ""},
		{"rules that hold", 200, `{"name":"al","key":"hunter2"}`, validate.ResponseConfig{CheckRules: true}, `{"name":"al"}`, "/"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rec := new(recorder)
			tt.cfg.Audit = rec
			h := httperr.Recover(httperr.Config{Logger: slog.New(slog.DiscardHandler)})(validate.Response[account](tt.cfg)(respond(tt.status, tt.body)))
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			got := w.Body.String()
			if w.Code == 500 {
				if tt.want != "500" || strings.Contains(got, "hunter2") || !strings.Contains(got, "error_id") || w.Header().Get("Etag") != "" {
					t.Errorf("got %s with %v, want %s", got, w.Header(), tt.want)
				}
				return
			}
			if got != tt.want || w.Code != max(tt.status, 200) || w.Body.Len() > 0 && w.Header().Get("Content-Length") != fmt.Sprint(len(got)) {
				t.Errorf("got %d %s with %v, want %s", w.Code, got, w.Header(), tt.want)
			}
			var reasons []string
			for _, e := range rec.All() {
				reasons = append(reasons, e.Name+" "+e.Reason)
			}
			want := "[excess_data_exposure the response had members that its type does not declare: " + tt.reason + "]"
			if tt.reason == "" {
				want = "[]"
			}
			if fmt.Sprint(reasons) != want || (w.Header().Get("Etag") == "") != (tt.reason != "") {
				t.Errorf("got %v with %v, want %s", reasons, w.Header(), want)
			}
		})
	}
}

func TestResponseOfOtherKinds(t *testing.T) {
	quiet(t)
	door := validate.Response[account]()
	for _, tt := range []struct {
		name   string
		method string
		h      http.HandlerFunc
		status int
		body   string
	}{
		{"another media type", "GET", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte("<p>hunter2"))
		}, 500, "error_id"},
		{"no media type", "GET", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"name":"hunter2"}`)) }, 500, "error_id"},
		{"compressed", "GET", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			respond(200, `{"name":"hunter2"}`).ServeHTTP(w, r) // it may be anything
		}, 500, "error_id"},
		{"a problem", "GET", func(w http.ResponseWriter, r *http.Request) {
			httperr.Write(w, r, httperr.New(404, "not_found", "Not here."))
		}, 404, `"code":"not_found"`},
		{"a redirect", "GET", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/x", http.StatusSeeOther) }, 303, "/x"},
		{"a panic after a part", "GET", func(w http.ResponseWriter, r *http.Request) {
			respond(200, `{"name":"hunter2"`).ServeHTTP(w, r)
			panic("oops")
		}, 500, "error_id"},
		{"a problem after a part", "GET", func(w http.ResponseWriter, r *http.Request) {
			respond(200, `{"name":"hunter2"`).ServeHTTP(w, r)
			httperr.Write(w, r, httperr.New(404, "not_found", "Not here."))
		}, 500, "error_id"},
		{"larger than may be, after what could be all", "GET", func(w http.ResponseWriter, r *http.Request) {
			respond(200, `{"free":"hunter2"}`).ServeHTTP(w, r)
			_, _ = w.Write([]byte(strings.Repeat(" ", 1<<20)))
		}, 500, "error_id"},
		{"HEAD", "HEAD", func(w http.ResponseWriter, r *http.Request) { respond(200, `{"name":"al"}`).ServeHTTP(w, r) }, 200, ""},
		{"flushed", "GET", func(w http.ResponseWriter, r *http.Request) {
			if err := http.NewResponseController(w).Flush(); err == nil {
				t.Error("it could be flushed")
			}
			if _, _, err := http.NewResponseController(w).Hijack(); err == nil {
				t.Error("it could be hijacked")
			}
			if _, ok := w.(http.Flusher); ok {
				t.Error("it is a Flusher")
			}
			w.WriteHeader(http.StatusEarlyHints)
			respond(200, `{"x":"hunter2"}`).ServeHTTP(w, r)
		}, 200, "{}"},
		{"nothing at all", "GET", func(http.ResponseWriter, *http.Request) {}, 200, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(httperr.Recover(httperr.Config{Logger: slog.New(slog.DiscardHandler)})(door(tt.h)))
			defer srv.Close()
			r, err := http.NewRequest(tt.method, srv.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			var b strings.Builder
			if err := resp.Write(&b); err != nil {
				t.Fatal(err)
			}
			if got := b.String(); resp.StatusCode != tt.status || !strings.Contains(got, tt.body) || strings.Contains(got, "hunter2") {
				t.Errorf("got %s, want %d with %s", got, tt.status, tt.body)
			}
		})
	}
}

// What only looks like a value of the type is none.
func TestAPI3_ResponseScalars(t *testing.T) {
	quiet(t)
	type scalars struct {
		Bool    bool               `json:"bool"`
		Small   uint8              `json:"small"`
		Int     int                `json:"int"`
		Real    float32            `json:"real"`
		Number  json.Number        `json:"number"`
		Bytes   []byte             `json:"bytes"`
		Time    time.Time          `json:"time"`
		Level   slog.Level         `json:"level"`
		Address netip.Addr         `json:"address"`
		Text    word               `json:"text"`
		Pair    [2]string          `json:"pair"`
		Pairs   map[string][1]int8 `json:"pairs"`
		Quoted  int                `json:"quoted,string"`
		Flag    *bool              `json:"flag,string"`
		Word    string             `json:"word,string"`
	}
	h := validate.Response[scalars]()
	for _, tt := range []struct {
		name, body string
		ok         bool
	}{
		{"all", `{"bool":true,"small":255,"int":-1,"real":1e21,"number":1e400,"bytes":"aHVudGVyMg==","time":"0001-01-01T00:00:00Z","address":"","text":"a","pair":["a","b"],"pairs":{"x":[-128]},"quoted":"-4","flag":"false","word":"\"a\""}`, true},
		{"null for each", `{"bool":null,"small":null,"bytes":null,"time":null,"address":null,"pair":null,"quoted":null,"flag":null}`, true},
		{"a string for a bool", `{"bool":"true"}`, false},
		{"a string for an integer", `{"int":"hunter2"}`, false},
		{"a fraction for an integer", `{"int":1.5}`, false},
		{"an integer that is too large", `{"small":256}`, false},
		{"an integer below 0", `{"small":-1}`, false},
		{"a real number that is too large", `{"real":1e39}`, false},
		{"a string for a number", `{"number":"1"}`, false},
		{"no base64", `{"bytes":"hunter2!"}`, false},
		{"base64 without its padding", `{"bytes":"aHVudGVyMg"}`, false},
		{"no time", `{"time":"hunter2"}`, false},
		{"a time without a zone", `{"time":"2006-01-02T15:04:05"}`, false},
		{"a number for a text", `{"address":4}`, false},
		{"an array that is too long", `{"pair":["a","b","hunter2"]}`, false},
		{"an array that is too short", `{"pair":["a"]}`, false},
		{"an array in a map", `{"pairs":{"x":[1,2]}}`, false},
		{"a word for a quoted integer", `{"quoted":"hunter2"}`, false},
		{"a bare integer for a quoted one", `{"quoted":4}`, false},
		{"a blank in a quoted integer", `{"quoted":" 4"}`, false},
		{"an array for a quoted integer", `{"quoted":["hunter2"]}`, false},
		{"a word for a quoted bool", `{"flag":"hunter2"}`, false},
		{"a bare string for a quoted one", `{"word":"hunter2"}`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			httperr.Recover(httperr.Config{Logger: slog.New(slog.DiscardHandler)})(h(respond(200, tt.body))).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			if got := w.Body.String(); tt.ok && (w.Code != 200 || got != tt.body) || !tt.ok && (w.Code != 500 || strings.Contains(got, "hunter2")) {
				t.Errorf("got %d %s", w.Code, got)
			}
		})
	}
}

// cents are a number that is sent in its own form.
type cents int64

func (c cents) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, "%d.%02d", c/100, c%100), nil }

// A code is bytes that are sent as a text of their own.
type code []byte

func (c *code) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%x", []byte(*c)), nil }

// A grade is read from a text and sent as JSON.
type grade int

func (g *grade) UnmarshalText([]byte) error  { return nil }
func (g grade) MarshalJSON() ([]byte, error) { return []byte(`{"grade":1}`), nil }

// What marshals itself says what it sends.
func TestResponseOfWhatMarshalsItself(t *testing.T) {
	quiet(t)
	type bill struct {
		Sum   cents            `json:"sum"`
		Tip   *cents           `json:"tip,string"`
		Code  *code            `json:"code"`
		Grade grade            `json:"grade"`
		By    map[string]cents `json:"by"`
	}
	sum := cents(1234)
	whole, err := json.Marshal(bill{Sum: sum, Tip: &sum, Code: &code{1, 2}, By: map[string]cents{"a": 5}})
	if err != nil {
		t.Fatal(err)
	}
	h := httperr.Recover(httperr.Config{Logger: slog.New(slog.DiscardHandler)})
	for body, want := range map[string]int{
		string(whole): 200, `{"sum":null,"code":null}`: 200, `{"sum":{"any":1}}`: 200,
		`{"code":1}`: 500, `{"code":{"hunter2":1}}`: 500,
	} {
		w := httptest.NewRecorder()
		h(validate.Response[bill]()(respond(200, body))).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if got := w.Body.String(); w.Code != want || want == 200 && got != body {
			t.Errorf("%s: got %d %s", body, w.Code, got)
		}
	}
}

// What a handler says of the whole is not said of what is left of it.
func TestResponseFieldsOfTheWhole(t *testing.T) {
	h := validate.Response[shownItem]()(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = []string{"application/json"}
		for _, name := range []string{"ETag", "etag", "Content-MD5", "content-length"} {
			w.Header()[name] = []string{"31"}
		}
		_, _ = io.WriteString(w, `{"name":"a","hash":"not shown"}`)
	}))
	w := httptest.NewRecorder()
	quiet(t)
	h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if got := w.Body.String(); got != `{"name":"a"}` {
		t.Errorf("got %s", got)
	}
	for name, values := range w.Header() {
		switch http.CanonicalHeaderKey(name) {
		case "Etag", "Content-Md5":
			t.Errorf("%s is %q", name, values)
		case "Content-Length":
			if name != "Content-Length" || values[0] != "12" {
				t.Errorf("%s is %q", name, values)
			}
		}
	}
}

type shownItem struct {
	Name string `json:"name"`
}

// A lenient has a form of its own that it reads, and none that it sends.
type lenient struct {
	Name string `json:"name"`
}

func (l *lenient) UnmarshalJSON([]byte) error { return nil }

// bits are read from a text, and sent as a number.
type bits int

func (b *bits) UnmarshalText([]byte) error { return nil }

// A word is read from a text with care, and sent as it is.
type word string

func (w *word) UnmarshalText([]byte) error { return nil }

func TestResponseConstruction(t *testing.T) {
	for want, f := range map[string]func(){
		"more than one ResponseConfig": func() { validate.Response[account](validate.ResponseConfig{}, validate.ResponseConfig{}) },
		"MaxBytes must not be":         func() { validate.Response[account](validate.ResponseConfig{MaxBytes: -1}) },
		"is exported but has no json":  func() { validate.Response[struct{ A string }]() },
		"not JSON's": func() {
			validate.Response[struct {
				A string `query:"a"`
			}]()
		},
		"lenient has UnmarshalJSON and no MarshalJSON": func() { validate.Response[lenient]() },
		"UnmarshalJSON and no MarshalJSON": func() {
			validate.Response[struct {
				lenient
				ID int `json:"id"`
			}]()
		},
		"lenient has UnmarshalJSON and no": func() {
			validate.Response[struct {
				All map[string][]*lenient `json:"all"`
			}]()
		},
		"bits has UnmarshalText and no MarshalText": func() {
			validate.Response[struct {
				Bits bits `json:"bits"`
			}]()
		},
		"the handler is nil": func() { validate.Response[account]()(nil) },
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, want) {
					t.Errorf("got %s, want %s", got, want)
				}
			}()
			f()
		}()
	}
}

// Whatever a handler sends, what gets out is JSON of declared names alone.
func FuzzResponse(f *testing.F) {
	quiet(f)
	f.Add(`{"name":"al","x":1,"home":{"town":"B","y":2}}`)
	f.Add(`{"all":[{"town":""},{"z":[{}]}],"by":{"":{}},"free":[1e9,"\u0000"],"count":"1"}`)
	door := validate.Response[account]()
	f.Fuzz(func(t *testing.T, body string) {
		w := httptest.NewRecorder()
		door(respond(200, body)).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if w.Code != 200 || w.Body.Len() == 0 {
			return
		}
		d := json.NewDecoder(w.Body)
		d.DisallowUnknownFields()
		var a struct { // without what encoding/json reads more strictly
			Name, Since, Tags, Count, Free any
			Home                           *homeAddress
			All                            []homeAddress
			By                             map[string]*homeAddress
		}
		if err := d.Decode(&a); err != nil {
			t.Errorf("%s: %v", body, err)
		}
	})
}

func ExampleResponse() {
	type publicUser struct {
		Name string `json:"name"`
	}
	h := validate.Response[publicUser]()(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"name": "bob", "password_hash": "$argon2id$…"}) // a row, as it is
	}))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/users/7", nil))
	fmt.Println(w.Body)
	// Output: {"name":"bob"}
}

// A type of a response may share types, and so rules, with that of a request.
func TestResponseWithRulesOfItsOwn(t *testing.T) {
	type item struct {
		SKU string `json:"sku" validate:"sku"`
	}
	cfg := validate.ResponseConfig{Setup: func(v *validator.Validate) error {
		return v.RegisterValidation("sku", func(f validator.FieldLevel) bool { return strings.HasPrefix(f.Field().String(), "S-") })
	}}
	for _, rules := range []bool{false, true} {
		cfg.CheckRules = rules
		for body, want := range map[string]int{`{"sku":"S-1"}`: 200, `{"sku":"x"}`: map[bool]int{false: 200, true: 500}[rules]} {
			w := httptest.NewRecorder()
			quiet(t)
			validate.Response[item](cfg)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, body)
			})).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			if w.Code != want {
				t.Errorf("%s, checked %t: got %d, want %d", body, rules, w.Code, want)
			}
		}
	}
}
