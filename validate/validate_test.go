package validate_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/go-playground/validator/v10"

	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/validate"
)

type order struct {
	ID    int     `path:"id" json:"-"`
	Dry   bool    `query:"dry"`
	Agent string  `header:"User-Agent"`
	Name  string  `json:"name" validate:"required,max=20"`
	Price float64 `json:"price" validate:"gt=0"`
	Lines []line  `json:"lines" validate:"max=3,dive"`
	Note  *string `json:"note"`
}

type line struct {
	SKU   string `json:"sku" validate:"required,alphanum"`
	Count int8   `json:"count" validate:"gte=1"`
}

func TestASVS_2_2_2_Statuses(t *testing.T) {
	const good = `{"name":"chair","price":10}`
	tests := []struct {
		name   string
		body   string
		header http.Header
		status int
		code   string
		places string
	}{
		{name: "good", body: good, status: 204},
		{name: "white space around", body: " \n" + good + "\t", status: 204},
		{name: "null for a pointer", body: `{"name":"chair","price":10,"note":null}`, status: 204},

		{name: "cut short", body: `{"name":"chair"`, status: 400, code: "malformed_body"},
		{name: "trailing data", body: good + `{}`, status: 400, code: "malformed_body"},
		{name: "trailing bracket", body: good + `}`, status: 400, code: "malformed_body"},
		{name: "comment", body: `/**/` + good, status: 400, code: "malformed_body"},
		{name: "byte order mark", body: "\ufeff" + good, status: 400, code: "malformed_body"},
		{name: "invalid UTF-8", body: "{\"name\":\"\xff\",\"price\":1}", status: 400, code: "malformed_body"},
		{name: "invalid UTF-8 in a name", body: "{\"name\xff\":\"a\",\"price\":1}", status: 400, code: "malformed_body"},
		{name: "lone surrogate", body: `{"name":"\ud800","price":1}`, status: 400, code: "malformed_body"},
		{name: "duplicate name", body: `{"name":"a","name":"b","price":1}`, status: 400, code: "malformed_body"},
		{name: "duplicate name, escaped", body: `{"name":"a","n\u0061me":"b","price":1}`, status: 400, code: "malformed_body"},
		{name: "duplicate name deep inside", body: `{"name":"a","price":1,"lines":[{"sku":"a","sku":"b","count":1}]}`, status: 400, code: "malformed_body"},
		{name: "name and its case variant", body: `{"name":"a","Name":"b","price":1}`, status: 400, code: "malformed_body"},
		{name: "too deep", body: strings.Repeat(`{"name":`, 40) + "1" + strings.Repeat("}", 40), status: 400, code: "malformed_body"},

		{name: "no body", body: ``, status: 400, code: "body_required"},
		{name: "white space only", body: " \n", status: 400, code: "body_required"},

		{name: "case variant alone", body: `{"Name":"a","price":1}`, status: 400, code: "invalid_body", places: "body  unknown"},
		{name: "unknown member", body: `{"name":"a","price":1,"role":"admin"}`, status: 400, code: "invalid_body", places: "body  unknown"},
		{name: "unknown member of an element", body: `{"name":"a","price":1,"lines":[{"sku":"a","count":1},{"sku":"a","count":1,"x":1}]}`, status: 400, code: "invalid_body", places: "body /lines/1 unknown"},
		{name: "null body", body: `null`, status: 400, code: "invalid_body", places: "body  type"},
		{name: "array body", body: `[` + good + `]`, status: 400, code: "invalid_body", places: "body  type"},
		{name: "string for a number", body: `{"name":"a","price":"1"}`, status: 400, code: "invalid_body", places: "body /price type"},
		{name: "number for a string", body: `{"name":1,"price":1}`, status: 400, code: "invalid_body", places: "body /name type"},
		{name: "object for an array", body: `{"name":"a","price":1,"lines":{}}`, status: 400, code: "invalid_body", places: "body /lines type"},
		{name: "null for a string", body: `{"name":null,"price":1}`, status: 400, code: "invalid_body", places: "body /name type"},
		{name: "null for an array", body: `{"name":"a","price":1,"lines":null}`, status: 400, code: "invalid_body", places: "body /lines type"},
		{name: "null for an element", body: `{"name":"a","price":1,"lines":[null]}`, status: 400, code: "invalid_body", places: "body /lines/0 type"},
		{name: "integer overflow", body: `{"name":"a","price":1,"lines":[{"sku":"a","count":128}]}`, status: 400, code: "invalid_body", places: "body /lines/0/count type"},
		{name: "fraction for an integer", body: `{"name":"a","price":1,"lines":[{"sku":"a","count":1.0}]}`, status: 400, code: "invalid_body", places: "body /lines/0/count type"},
		{name: "exponent for an integer", body: `{"name":"a","price":1,"lines":[{"sku":"a","count":1e1}]}`, status: 400, code: "invalid_body", places: "body /lines/0/count type"},
		{name: "number out of range", body: `{"name":"a","price":1e400}`, status: 400, code: "invalid_body", places: "body /price type"},
		{
			name: "all at once", body: `{"x":1,"name":1,"price":"1","lines":[{"sku":null,"count":true},7],"note":{}}`,
			status: 400, code: "invalid_body",
			places: "body /name type, body /price type, body /lines/0/sku type, body /lines/0/count type, body /lines/1 type, body /note type, body  unknown",
		},
		{name: "path parameter in the body", body: `{"name":"a","price":1,"id":7}`, status: 400, code: "invalid_body", places: "body  unknown"},
		{name: "header in the body", body: `{"name":"a","price":1,"User-Agent":"x"}`, status: 400, code: "invalid_body", places: "body  unknown"},
		{name: "query parameter in the body", body: `{"name":"a","price":1,"dry":true}`, status: 400, code: "invalid_body", places: "body  unknown"},

		{name: "other type", body: good, header: http.Header{"Content-Type": {"text/plain"}}, status: 415, code: "unsupported_media_type"},
		{name: "gzip", body: good, header: http.Header{"Content-Encoding": {"gzip"}}, status: 415, code: "unsupported_media_type"},
		{name: "too large", body: `{"name":"` + strings.Repeat("a", 1<<20) + `","price":1}`, status: 413, code: "body_too_large"},

		{name: "required", body: `{"price":1}`, status: 422, code: "validation_failed", places: "body /name required"},
		{name: "out of range", body: `{"name":"a","price":0}`, status: 422, code: "validation_failed", places: "body /price gt"},
		{
			name: "all rules at once", body: `{"name":"","price":-1,"lines":[{"sku":"a","count":1},{"sku":"!","count":0}]}`,
			status: 422, code: "validation_failed",
			places: "body /name required, body /price gt, body /lines/1/sku alphanum, body /lines/1/count gte",
		},
		{name: "too many", body: `{"name":"a","price":1,"lines":[{"sku":"a","count":1},{"sku":"a","count":1},{"sku":"a","count":1},{"sku":"a","count":1}]}`, status: 422, code: "validation_failed", places: "body /lines max"},
	}
	door := validate.Body[order]()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := post(tt.body)
			for name, v := range tt.header {
				r.Header[name] = v
			}
			r.SetPathValue("id", "7")
			a, entered, events, log := serve(t, door, r)
			if a.Status != tt.status || a.Code != tt.code || a.places() != tt.places {
				t.Errorf("got %d %q with errors %q, want %d %q with %q\n%s", a.Status, a.Code, a.places(), tt.status, tt.code, tt.places, a.body)
			}
			if want := map[bool]int{true: 1}[tt.status == 204]; entered != want {
				t.Errorf("the handler was entered %d times, want %d", entered, want)
			}
			if tt.status == 204 {
				if len(events) > 0 {
					t.Errorf("got events %+v, want none", events)
				}
				return
			}
			if len(events) != 1 || events[0].Name != audit.InputValidationFail || events[0].Status != tt.status || events[0].Code != tt.code || events[0].Reason == "" {
				t.Errorf("got events %+v, want one %s", events, audit.InputValidationFail)
			} else if want := map[bool]slog.Level{true: slog.LevelInfo, false: slog.LevelWarn}[tt.status == 422]; events[0].Level != want {
				t.Errorf("got an event of level %v, want %v", events[0].Level, want)
			}
			if log != "" {
				t.Errorf("a refusal is in the log beside its event: %s", log)
			}
			if got := a.header.Get("Content-Type"); got != "application/problem+json" {
				t.Errorf("got Content-Type %q, want application/problem+json", got)
			}
			for _, e := range a.Errors {
				if e.Detail == "" {
					t.Errorf("error %+v has no detail", e)
				}
			}
		})
	}
}

// Fields that a client may not set are never set, whatever the name is written
// like and wherever it stands.
func TestASVS_15_3_1_MassAssignment(t *testing.T) {
	type base struct {
		Owner string `json:"-"`
	}
	type account struct {
		base
		Name     string `json:"name"`
		Role     string `json:"-"`
		Admin    bool   `query:"-"`
		Tenant   string `header:"X-Tenant"`
		Page     int    `query:"page"`
		Session  string `cookie:"session"`
		ID       string `path:"id"`
		internal string
	}
	names := []string{
		"Role", "role", "ROLE", "-", "Admin", "admin", "Owner", "owner", "base", "internal",
		"Tenant", "tenant", "X-Tenant", "Page", "page", "Session", "session", "ID", "id", "NAME", "n\u0061me\u0000", "Name",
	}
	v, err := validate.New[account](validate.Config{})
	if err != nil {
		t.Fatal(err)
	}
	loose, err := validate.New[account](validate.Config{AllowUnknown: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		quoted, err := json.Marshal(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, value := range []string{`"admin"`, `true`, `7`, `null`, `{}`} {
			text := `{"name":"a",` + string(quoted) + `:` + value + `}`
			got, err := v.Decode(httptest.NewRecorder(), post(text))
			if p := problem(t, err); p == nil || p.Status != 400 {
				t.Errorf("%s: got %+v, %v, want a 400", text, got, err)
			}
			got, err = loose.Decode(httptest.NewRecorder(), post(text))
			if err != nil && problem(t, err).Status != 400 {
				t.Errorf("%s: got %v, want a 400", text, err)
			}
			if want := (account{Name: "a"}); err == nil && got != want {
				t.Errorf("%s with AllowUnknown: got %+v, want %+v", text, got, want)
			}
			_ = got.internal
		}
	}
	if _, err := loose.Decode(httptest.NewRecorder(), post(`{"name":"a","other":1}`)); err != nil {
		t.Errorf("AllowUnknown: got %v, want nil", err)
	}
	for _, variant := range []string{`{"NAME":"a"}`, `{"name":"a","x":{"y":1},"ñame":1,"Name ":1,"nAme":2}`, "{\"\u006eamE\":1}"} {
		if _, err := loose.Decode(httptest.NewRecorder(), post(variant)); problem(t, err) == nil {
			t.Errorf("AllowUnknown took %s", variant)
		}
	}
}

func TestGO_2026_4569_CaseVariantNames(t *testing.T) {
	type claims struct {
		Sub  string `json:"sub"`
		Task string `json:"task"`
	}
	for _, text := range []string{
		`{"sub":"alice","SUB":"admin"}`, `{"SUB":"admin"}`, `{"Sub":"admin"}`, `{"ſub":"admin"}`, `{"sub":"alice","ſub":"admin"}`,
		`{"\u017fub":"admin"}`, `{"tasK":"x"}`, `{"tas\u212a":"x"}`,
	} {
		for _, cfg := range []validate.Config{{}, {AllowUnknown: true}} {
			if got, err := validate.Decode[claims](httptest.NewRecorder(), post(text), cfg); problem(t, err) == nil || problem(t, err).Status != 400 {
				t.Errorf("%s with %+v: got %+v, %v, want a 400", text, cfg, got, err)
			}
		}
	}
}

// What is allowed depends on the type that a route asks for.
func TestASVS_8_2_3_FieldsPerAction(t *testing.T) {
	type byUser struct {
		Name string `json:"name"`
	}
	type byAdmin struct {
		byUser
		Role string `json:"role"`
	}
	const text = `{"name":"a","role":"admin"}`
	if _, err := validate.Decode[byUser](httptest.NewRecorder(), post(text)); problem(t, err) == nil {
		t.Error("a user set the role")
	}
	got, err := validate.Decode[byAdmin](httptest.NewRecorder(), post(text))
	if want := (byAdmin{byUser{"a"}, "admin"}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

// No value that was sent is sent back or recorded, from wherever it came and
// whatever is wrong with it.
func TestAPI3_NothingSubmittedIsEchoed(t *testing.T) {
	const canary = "cAnArY"
	type deep struct {
		S string           `json:"s" validate:"max=2"`
		M map[string]short `json:"m" validate:"dive"`
	}
	type everything struct {
		Path   int            `path:"p"`
		Query  int            `query:"q"`
		Header int            `header:"X-H"`
		Cookie int            `cookie:"c"`
		S      string         `json:"s" validate:"email"`
		I      int            `json:"i"`
		T      stamp          `json:"t"`
		M      map[string]int `json:"m" validate:"max=0"`
		B      []byte         `json:"b"`
		Any    any            `json:"any" validate:"isdefault"`
		Deep   deep           `json:"deep"`
		Q      int            `json:"q,string"`
		E      string         `json:"e" validate:"eqfield=S"`
		O      string         `json:"o" validate:"omitempty,oneof=a b"`
		C      custom         `json:"c"`
	}
	type aForm struct {
		I int    `form:"i"`
		S string `form:"s" validate:"max=2"`
	}
	// custom.UnmarshalJSON fails with what it was given
	jsonDoor := validate.Body[everything](validate.Config{RefuseUnknownQuery: true, Setup: func(v *validator.Validate) error {
		v.RegisterStructValidation(func(sl validator.StructLevel) {
			d := sl.Current().Interface().(deep)
			if d.S != "" {
				sl.ReportError(d.S, "s", "S", "crossed", "")
			}
		}, deep{})
		return nil
	}})
	formDoor := validate.Body[aForm]()

	requests := map[string]func() *http.Request{}
	bodies := []string{
		canary, `{"` + canary, `{"` + canary + `":1}`, `{"s":"` + canary + `"}`, `{"i":"` + canary + `"}`, `{"t":"` + canary + `"}`,
		`{"m":{"` + canary + `":1}}`, `{"m":{"` + canary + `":"x"}}`, `{"b":"` + canary + `!"}`, `{"any":"` + canary + `"}`, `{"any":{"` + canary + `":1e999}}`,
		`{"deep":{"` + canary + `":1}}`, `{"deep":{"s":"` + canary + `"}}`, `{"deep":{"m":{"` + canary + `":{"x":"` + canary + `"}}}}`,
		`{"deep":{"m":{"` + canary + `":{"` + canary + `":"a"}}}}`, `{"deep":{"m":{"[0].` + canary + `]":{"x":"long"}}}}`,
		`{"` + canary + `":1,"` + canary + `":2}`, `{"q":"` + canary + `"}`, `{"e":"` + canary + `"}`, `{"o":"` + canary + `"}`, `{"c":"` + canary + `"}`,
		`"` + canary + `"`, `["` + canary + `"]`, "{\"s\":\"" + canary + "\xff\"}", `{"s":"` + canary + `\ud800"}`,
		strings.Repeat(`{"`+canary+`":`, 40) + "1" + strings.Repeat("}", 40),
		`{"s":"` + strings.Repeat(canary, 1<<18) + `"}`,
	}
	for i, b := range bodies {
		requests[fmt.Sprintf("body %d", i)] = func() *http.Request { return post(b) }
	}
	for _, q := range []string{"q=" + canary, canary + "=1", "q=1&q=" + canary, "q=1;" + canary, "q=%" + canary, "q=" + canary + "%00"} {
		requests["query "+q] = func() *http.Request {
			r := post(`{}`)
			r.URL.RawQuery = q
			return r
		}
	}
	requests["path"] = func() *http.Request { r := post(`{}`); r.SetPathValue("p", canary); return r }
	requests["header"] = func() *http.Request { r := post(`{}`); r.Header.Set("X-H", canary); return r }
	requests["cookie"] = func() *http.Request { r := post(`{}`); r.Header.Set("Cookie", "c="+canary); return r }
	requests["content type"] = func() *http.Request { r := post(`{}`); r.Header.Set("Content-Type", "text/"+canary); return r }
	requests["content encoding"] = func() *http.Request { r := post(`{}`); r.Header.Set("Content-Encoding", canary); return r }
	for _, f := range []string{"i=" + canary, canary + "=1", "s=" + canary, "s=1&s=" + canary, canary, "%" + canary, "s=" + canary + "%ff"} {
		requests["form "+f] = func() *http.Request { return postForm(f) }
	}
	for name, request := range requests {
		t.Run(name, func(t *testing.T) {
			door := jsonDoor
			if strings.HasPrefix(name, "form") {
				door = formDoor
			}
			r := request()
			if r.PathValue("p") == "" {
				r.SetPathValue("p", "1")
			}
			a, entered, events, log := serve(t, door, r)
			if a.Status < 400 || a.Status >= 500 || entered != 0 {
				t.Fatalf("got %d and the handler entered %d times, want a refusal", a.Status, entered)
			}
			seen := fmt.Sprint(a.body, a.header, log)
			for _, e := range events {
				e.Path = "" // what was asked for is named in the log
				seen += fmt.Sprintf("%+v", e)
			}
			if strings.Contains(seen, canary) {
				t.Errorf("what was sent is repeated: %s", seen)
			}
			for _, name := range []string{"Deep", "everything", "aForm", "Query", "stamp", "Unmarshal"} {
				if strings.Contains(a.body, name) {
					t.Errorf("the Go name %s is told: %s", name, a.body)
				}
			}
		})
	}
}

type short struct {
	X string `json:"x" validate:"max=2"`
}

// custom decodes itself and quotes what it can't.
type custom struct{ s string }

func (c *custom) UnmarshalJSON(b []byte) error {
	if string(b) == `"good"` || string(b) == "null" {
		c.s = string(b)
		return nil
	}
	return fmt.Errorf("custom: can't decode %s", b)
}

func TestFieldErrorsAreBounded(t *testing.T) {
	type strict struct {
		N []int `json:"n" validate:"dive,gt=5"`
	}
	for name, text := range map[string]string{
		"types": `{"n":[` + strings.Repeat(`"a",`, 5000) + `"a"]}`,
		"rules": `{"n":[` + strings.Repeat(`1,`, 5000) + `1]}`,
	} {
		a, _, events, _ := serve(t, validate.Body[strict](), post(text))
		if len(a.Errors) != 100 {
			t.Errorf("%s: got %d errors, want 100", name, len(a.Errors))
		}
		if got := len(events[0].Reason); got > 512 {
			t.Errorf("%s: got a reason of %d bytes, want at most 512", name, got)
		}
	}
}

func TestFromAndWrap(t *testing.T) {
	type in struct {
		A string `json:"a"`
	}
	type page struct {
		N int `query:"n"`
	}
	if got, ok := validate.From[in](t.Context()); ok || got != (in{}) {
		t.Errorf("without a door: got %+v, %t, want none", got, ok)
	}
	var requests []*http.Request
	note := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests = append(requests, r)
			next.ServeHTTP(w, r)
		})
	}
	entered := false
	h := httperr.Recover()(note(validate.Body[page]()(note(validate.Body[in]()(note(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		entered = true
		if got, ok := validate.From[in](r.Context()); !ok || got.A != "x" {
			t.Errorf("got %+v, %t, want x", got, ok)
		}
		if got, ok := validate.From[page](r.Context()); !ok || got.N != 3 {
			t.Errorf("got %+v, %t, want 3", got, ok)
		}
		if got, ok := validate.From[order](r.Context()); ok {
			t.Errorf("got %+v of a type that no door decodes", got)
		}
		// The receiver gets a copy: changing it changes nothing for others.
		got, _ := validate.From[in](r.Context())
		got.A = "changed"
		if again, _ := validate.From[in](r.Context()); again.A != "x" {
			t.Errorf("got %+v, want x", again)
		}
		// A sub-request may ask for the same type and must not change ours.
		sub := post(`{"a":"inner"}`).WithContext(r.Context())
		validate.Body[in]()(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if got, _ := validate.From[in](r.Context()); got.A != "inner" {
				t.Errorf("inside: got %+v, want inner", got)
			}
		})).ServeHTTP(httptest.NewRecorder(), sub)
		if got, _ := validate.From[in](r.Context()); got.A != "x" {
			t.Errorf("after a sub-request: got %+v, want x", got)
		}
	})))))))
	r := post(`{"a":"x"}`)
	r.URL.RawQuery = "n=3"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if !entered || w.Code != 200 {
		t.Fatalf("got %d and the handler entered %t, want 200", w.Code, entered)
	}
	if requests[0] != requests[1] || requests[1] != requests[2] {
		t.Error("a door copied a request that had its scope already")
	}
}

func TestInnermostDoorWins(t *testing.T) {
	type in struct {
		A int `query:"a" validate:"-"`
	}
	h := validate.Body[in]()(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.RawQuery = "a=2"
		validate.Body[in]()(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if got, _ := validate.From[in](r.Context()); got.A != 2 {
				t.Errorf("got %+v, want 2", got)
			}
		})).ServeHTTP(w, r)
	}))
	r := httptest.NewRequest("GET", "/?a=1", nil)
	h.ServeHTTP(httptest.NewRecorder(), r)
}

func TestConstruction(t *testing.T) {
	for name, f := range map[string]func(){
		"two Configs":      func() { validate.Body[order](validate.Config{}, validate.Config{}) },
		"Config.MaxBytes":  func() { validate.Body[order](validate.Config{MaxBytes: -1}) },
		"Config.MaxDepth":  func() { validate.Body[order](validate.Config{MaxDepth: -1}) },
		"Config.MaxItems":  func() { validate.Body[order](validate.Config{MaxItems: -1}) },
		"Config.MaxValues": func() { validate.Body[order](validate.Config{MaxValues: -1}) },
		"Config.MaxString": func() { validate.Body[order](validate.Config{MaxString: -1}) },
		"Config.MaxErrors": func() { validate.Body[order](validate.Config{MaxErrors: -1}) },
		"Config.Setup": func() {
			validate.Body[order](validate.Config{Setup: func(*validator.Validate) error { return errors.New("no") }})
		},
		"handler is nil": func() { validate.Body[order]()(nil) },
		"Exposed":        func() { validate.Body[struct{ Exposed string }]() },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				got := fmt.Sprint(recover())
				if name == "two Configs" {
					name = "more than one Config"
				}
				if !strings.HasPrefix(got, "validate: ") || !strings.Contains(got, name) {
					t.Errorf("got panic %q, want one that names %s", got, name)
				}
			}()
			f()
		})
	}
}

func TestDecodeWhatCannotWork(t *testing.T) {
	for name, f := range map[string]func() (order, error){
		"two Configs": func() (order, error) {
			return validate.Decode[order](httptest.NewRecorder(), post(`{}`), validate.Config{}, validate.Config{})
		},
		"a Setup": func() (order, error) {
			return validate.Decode[order](httptest.NewRecorder(), post(`{}`), validate.Config{Setup: func(*validator.Validate) error { return nil }})
		},
		"a negative limit": func() (order, error) {
			return validate.Decode[order](httptest.NewRecorder(), post(`{}`), validate.Config{MaxBytes: -1})
		},
		"a type that can't be": func() (order, error) {
			_, err := validate.Decode[struct{ X chan int }](httptest.NewRecorder(), post(`{}`))
			return order{}, err
		},
	} {
		quiet(t)
		_, err := f()
		var p *httperr.Problem
		if err == nil || errors.As(err, &p) {
			t.Errorf("%s: got %v, want an error that is no Problem", name, err)
		}
		w := httptest.NewRecorder()
		httperr.Write(w, post(""), err)
		if w.Code != 500 || strings.Contains(w.Body.String(), "validate") {
			t.Errorf("%s: got %d %s, want a bare 500", name, w.Code, w.Body)
		}
	}
}

// Decode compiles a type once.
func TestDecodeIsCompiledOnce(t *testing.T) {
	r := newReusable(smallJSON)
	decode := func() {
		if _, err := validate.Decode[smallBody](nop{}, r.again()); err != nil {
			t.Fatal(err)
		}
	}
	decode()
	if n := testing.AllocsPerRun(100, decode); n > 20 {
		t.Errorf("got %v allocations, want at most 20", n)
	}
	// Limits are those of each call.
	if _, err := validate.Decode[smallBody](nop{}, r.again(), validate.Config{MaxBytes: 10}); problem(t, err).Status != 413 {
		t.Errorf("got %v, want a 413", err)
	}
	if _, err := validate.Decode[smallBody](nop{}, r.again(), validate.Config{MaxValues: 2}); problem(t, err).Status != 400 {
		t.Errorf("got %v, want a 400", err)
	}
}

func TestRuntimePanicIsA500(t *testing.T) {
	type in struct {
		S string    `json:"s" validate:"explosive"`
		E explosive `json:"e"`
	}
	door := validate.Body[in](validate.Config{Setup: func(v *validator.Validate) error {
		return v.RegisterValidation("explosive", func(fl validator.FieldLevel) bool {
			if fl.Field().String() == "boom" {
				panic("a rule")
			}
			return true
		})
	}})
	for _, text := range []string{`{"s":"boom"}`, `{"s":"x","e":"boom"}`} {
		a, entered, _, log := serve(t, door, post(text))
		if a.Status != 500 || entered != 0 || strings.Contains(a.body, "rule") || !strings.Contains(log, "panicked") {
			t.Errorf("%s: got %d %s, entered %d, log %s; want a bare 500 that is logged", text, a.Status, a.body, entered, log)
		}
		if a, _, _, _ := serve(t, door, post(`{"s":"x"}`)); a.Status != 204 {
			t.Errorf("after a panic: got %d, want 204", a.Status)
		}
	}
}

func TestPanicsWithoutARecoverAbove(t *testing.T) {
	type in struct {
		E explosive `json:"e"`
	}
	_, err := validate.Decode[in](nop{}, post(`{"e":1}`))
	var p *httperr.Problem
	if err == nil || errors.As(err, &p) {
		t.Errorf("got %v, want an error that is no Problem", err)
	}
	// A door above may abort the request while its body is read.
	r := post(``)
	r.Body, r.ContentLength = aborting{}, 5
	defer func() {
		if got := recover(); got != http.ErrAbortHandler {
			t.Errorf("got panic %v, want %v", got, http.ErrAbortHandler)
		}
	}()
	_, err = validate.Decode[in](nop{}, r)
	t.Errorf("got %v, want a panic", err)
}

type aborting struct{}

func (aborting) Read([]byte) (int, error) { panic(http.ErrAbortHandler) }
func (aborting) Close() error             { return nil }

type explosive struct{}

func (*explosive) UnmarshalJSON([]byte) error { panic("an UnmarshalJSON") }

// What a request decoded must not change when its buffer is used again.
func TestResultsDoNotAliasTheBuffer(t *testing.T) {
	type in struct {
		S   string            `json:"s"`
		Raw json.RawMessage   `json:"raw"`
		Any any               `json:"any"`
		M   map[string]string `json:"m"`
		B   []byte            `json:"b"`
		N   json.Number       `json:"n"`
		K   keeper            `json:"k"`
		P   *string           `json:"p"`
		L   []string          `json:"l"`
	}
	text := func(c string) string {
		s := strings.Repeat(c, 8)
		return fmt.Sprintf(`{"s":%q,"raw":{"r":%q},"any":[%q,{%q:1}],"m":{%q:%q},"b":"%s","n":%s,"k":%q,"p":%q,"l":[%q]}`,
			s, s, s, s, s, s, strings.Repeat(c, 8), strings.Repeat("1", 8), s, s, s)
	}
	v, err := validate.New[in](validate.Config{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := v.Decode(httptest.NewRecorder(), post(text("a")))
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		if _, err := v.Decode(httptest.NewRecorder(), post(text("z"))); err != nil {
			t.Fatal(err)
		}
	}
	var want in
	if err := json.Unmarshal([]byte(text("a")), &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("a later request changed the result: got %+v, want %+v", got, want)
	}
}

// keeper breaks the rule of json.Unmarshaler: it keeps what it is given.
type keeper struct{ B []byte }

func (k *keeper) UnmarshalJSON(b []byte) error { k.B = b; return nil }

func TestConcurrentRequests(t *testing.T) {
	v, err := validate.New[nestedBody](validate.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 100 {
				total := strconv.Itoa(g*1000 + i + 1)
				got, err := v.Decode(httptest.NewRecorder(), post(strings.Replace(nestedJSON, "99.5", total, 1)))
				if err != nil || strconv.FormatFloat(got.Total, 'f', -1, 64) != total {
					t.Errorf("got %v, %v, want %s", got.Total, err, total)
				}
				if _, err := validate.Decode[smallBody](httptest.NewRecorder(), post(`{"x":"y"}`)); err == nil {
					t.Error("an unknown member was taken")
				}
				_, _ = validate.Decode[line](httptest.NewRecorder(), post(`{"sku":"a","count":1}`))
			}
		})
	}
	wg.Wait()
}

// Hostile bodies are refused before they are decoded, at little cost.
func TestCVE_2025_6203_HostileBodies(t *testing.T) {
	var names strings.Builder
	for i := 0; names.Len() < 1<<20-40; i++ {
		fmt.Fprintf(&names, `"%x":0,`, i)
	}
	bodies := map[string]string{
		"array of objects":   `[` + strings.Repeat(`{},`, 1<<20/3-1) + `{}]`,
		"array of numbers":   `[` + strings.Repeat(`0,`, 1<<19-2) + `0]`,
		"nested arrays":      strings.Repeat(`[`, 1<<19) + strings.Repeat(`]`, 1<<19),
		"33 deep":            strings.Repeat(`[`, 33) + strings.Repeat(`]`, 33),
		"open arrays":        strings.Repeat(`[`, 1<<20),
		"objects in arrays":  `[` + strings.Repeat(`[`+strings.Repeat(`{"":0},`, 999)+`{}],`, 140) + `0]`,
		"10,001 items":       `[` + strings.Repeat(`0,`, 10_000) + `0]`,
		"1 MiB of names":     `{` + names.String() + `"x":0}`,
		"long number":        `[` + strings.Repeat("9", 1<<20-2) + `]`,
		"open string":        `"` + strings.Repeat("a", 1<<20-1),
		"escapes to the end": `["` + strings.Repeat(`\\`, 1<<19-3) + `",]`,
	}
	for name, text := range bodies {
		t.Run(name, func(t *testing.T) {
			r := newReusable(text)
			decode := func() {
				if _, err := validate.Decode[any](nop{}, r.again()); problem(t, err) == nil || problem(t, err).Status != 400 {
					t.Fatalf("got %v, want a 400", err)
				}
			}
			decode()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			decode()
			runtime.ReadMemStats(&after)
			// The parts that the body is read into, and what they are put together in, are
			// half of it; the rest is an index of names.
			if got := after.TotalAlloc - before.TotalAlloc; got > 6<<20 {
				t.Errorf("%d bytes of body cost %d bytes of memory, want at most 6 MiB", len(text), got)
			}
		})
	}
}

func problem(t testing.TB, err error) *httperr.Problem {
	t.Helper()
	if err == nil {
		return nil
	}
	var p *httperr.Problem
	if !errors.As(err, &p) {
		t.Fatalf("got the error %v, want a Problem", err)
	}
	return p
}

// A context that ends stops nothing that was begun, and rules see it.
func TestRulesSeeTheContext(t *testing.T) {
	type key struct{}
	type in struct {
		A string `query:"a" validate:"ctx"`
	}
	v, err := validate.New[in](validate.Config{Setup: func(v *validator.Validate) error {
		return v.RegisterValidationCtx("ctx", func(ctx context.Context, _ validator.FieldLevel) bool { return ctx.Value(key{}) != nil })
	}})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/?a=1", nil)
	if _, err := v.Decode(nop{}, r); problem(t, err) == nil || problem(t, err).Status != 422 {
		t.Errorf("got %v, want a 422", err)
	}
	if _, err := v.Decode(nop{}, r.WithContext(context.WithValue(t.Context(), key{}, 1))); err != nil {
		t.Errorf("got %v, want nil", err)
	}
}

func TestMustFrom(t *testing.T) {
	type in struct {
		A int `json:"a"`
	}
	got := 0
	handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = validate.MustFrom[in](r.Context()).A })
	validate.Body[in]()(handler).ServeHTTP(nop{}, post(`{"a":7}`))
	if got != 7 {
		t.Errorf("got %d", got)
	}
	defer func() {
		if cause := fmt.Sprint(recover()); !strings.Contains(cause, "no door above decodes a in") {
			t.Errorf("got %s", cause)
		}
	}()
	handler.ServeHTTP(nop{}, post(`{"a":7}`))
}
