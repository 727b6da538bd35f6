package validate_test

import (
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/validate"
)

type ruledBase struct {
	Owner string `json:"owner" validate:"required"`
}

type plainBase struct {
	Owner string `json:"owner"`
}

// RuledBase and PlainBase are exported, so that they can be embedded by pointer.
type (
	RuledBase ruledBase
	PlainBase plainBase
)

// A rule in an embedded pointer would not be asked where no member of it came.
func TestEmbeddedPointerWithRulesIsRefused(t *testing.T) {
	type byPointer struct {
		*RuledBase
		Name string `json:"name"`
	}
	type byValue struct {
		RuledBase
		Name string `json:"name"`
	}
	type withoutRules struct {
		*PlainBase
		Name string `json:"name"`
	}
	if _, err := validate.New[byPointer](validate.Config{}); err == nil || !strings.Contains(err.Error(), "RuledBase") {
		t.Errorf("by pointer: err = %v, want one that names the field", err)
	}
	if _, err := validate.New[byValue](validate.Config{}); err != nil {
		t.Errorf("by value: %v", err)
	}
	if _, err := validate.New[withoutRules](validate.Config{}); err != nil {
		t.Errorf("without rules: %v", err)
	}
}

type parsedForm struct {
	A string `form:"a"`
}

// A form that something above has parsed is still bounded, and is never taken
// for an empty one.
func TestFormThatWasParsedAbove(t *testing.T) {
	for _, tt := range []struct {
		name, method, body string
		status             int
		want               string
	}{
		{"POST", http.MethodPost, "a=1", 200, "1"},
		{"POST, too large", http.MethodPost, "a=" + strings.Repeat("x", 2000), 413, ""},
		{"DELETE, whose body ParseForm leaves alone", http.MethodDelete, "a=1", 200, "1"},
		{"DELETE, unknown field", http.MethodDelete, "a=1&b=2", 400, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(tt.method, "/", strings.NewReader(tt.body))
			r.ContentLength = -1
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if err := r.ParseForm(); err != nil {
				t.Fatal(err)
			}
			got := ""
			w := httptest.NewRecorder()
			validate.Body[parsedForm](validate.Config{MaxBytes: 1000})(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				form, _ := validate.From[parsedForm](r.Context())
				got = form.A
			})).ServeHTTP(w, r)
			if w.Code != tt.status || got != tt.want {
				t.Errorf("got %d %q, want %d %q: %s", w.Code, got, tt.status, tt.want, w.Body)
			}
		})
	}
}

func TestTheLargestMaxBytes(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`{"a":"`+strings.Repeat("x", 1<<20)+`"}`))
	r.ContentLength = -1
	r.Header.Set("Content-Type", "application/json")
	v, err := validate.Decode[map[string]string](httptest.NewRecorder(), r, validate.Config{MaxBytes: math.MaxInt64})
	if err != nil || len(v["a"]) != 1<<20 {
		t.Errorf("got %d bytes, %v", len(v["a"]), err)
	}
}
