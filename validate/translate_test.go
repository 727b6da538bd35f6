package validate_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/go-playground/validator/v10"

	"github.com/sallyport/sallyport/validate"
)

// tongues says in a language what a rule is about.
type tongues struct {
	tags []string
	err  error
}

func (t tongues) Languages() []string { return t.tags }

func (t tongues) Translations(*validator.Validate) (func(string, validator.FieldError) string, error) {
	return func(language string, e validator.FieldError) string {
		if e.Tag() == "min" || language == "none" {
			return ""
		}
		return language + ": " + e.Field() + " " + e.Tag() + " " + e.Param()
	}, t.err
}

// The names of a map's members are the client's, and stay out of all texts.
func TestTranslatorRepeatsNothing(t *testing.T) {
	type inner struct {
		Name string `json:"name" validate:"required"`
	}
	type form struct {
		Plain map[string]string   `json:"plain" validate:"dive,max=2"`
		Lists map[string][]string `json:"lists" validate:"dive,dive,max=2"`
		Keys  map[string]string   `json:"keys" validate:"dive,keys,max=2,endkeys"`
		In    map[string]inner    `json:"in" validate:"dive"`
		List  []map[string]string `json:"list" validate:"dive,dive,max=2"`
		Each  []string            `json:"each" validate:"dive,max=2"`
	}
	v, err := validate.New[form](validate.Config{Translator: tongues{tags: []string{"de"}}})
	if err != nil {
		t.Fatal(err)
	}
	r := post(`{"plain":{"hunter2":"abc"},"lists":{"hunter2":["abc"]},"keys":{"hunter2":""},"in":{"hunter2":{}},"list":[{"hunter2":"abc"}],"each":["abc"]}`)
	r.Header.Set("Accept-Language", "de")
	a, _, _, _ := serve(t, v.Wrap, r)
	var details []string
	for _, f := range a.Errors {
		details = append(details, f.Pointer+" "+f.Detail)
	}
	const most = "must be at most 2 characters long"
	want := "/plain " + most + "|/lists " + most + "|/keys " + most + "|/in de: name required |/list/0 " + most + "|/each/0 de: each[0] max 2"
	if got := strings.Join(details, "|"); got != want || strings.Contains(a.body, "hunter2") {
		t.Errorf("got %s, want %s", a.body, want)
	}
}

// Rules of the program's own have no text here, so that the Translator's English is better than
// none.
func TestTranslatorOfOwnRules(t *testing.T) {
	type form struct {
		SKU   string `json:"sku" validate:"sku"`
		Short string `json:"short" validate:"min=3"`
		None  string `json:"none" validate:"required"`
	}
	setup := func(v *validator.Validate) error {
		return v.RegisterValidation("sku", func(validator.FieldLevel) bool { return false })
	}
	for _, tt := range []struct {
		tags                    []string
		accept, sku, in, reason string
	}{
		{[]string{"de", "EN"}, "", "EN: sku sku ", "", "no language"},
		{[]string{"de", "en"}, "fr", "en: sku sku ", "", "another one"},
		{[]string{"de", "en"}, "de", "de: sku sku ", "de", "one that has it"},
		{[]string{"de", "en"}, "en", "en: sku sku ", "en", "English"},
		{[]string{"de", "en-GB"}, "", "en-GB: sku sku ", "", "no language, and another English"},
		{[]string{"de", "en-GB"}, "en-US", "en-GB: sku sku ", "", "another English"},
		{[]string{"de"}, "", "does not satisfy the rule sku", "", "no English"},
		{[]string{"none", "en"}, "none", "en: sku sku ", "", "one that has no text"},
	} {
		v, err := validate.New[form](validate.Config{Setup: setup, Translator: tongues{tags: tt.tags}})
		if err != nil {
			t.Fatal(err)
		}
		r := post(`{"sku":"x","short":"x"}`)
		r.Header.Set("Accept-Language", tt.accept)
		a, _, _, _ := serve(t, v.Wrap, r)
		if len(a.Errors) != 3 || a.Errors[0].Detail != tt.sku || a.Errors[1].Detail != "must be at least 3 characters long" || a.header.Get("Content-Language") != tt.in {
			t.Errorf("%s: got %+v in %q, want %q in %q", tt.reason, a.Errors, a.header.Get("Content-Language"), tt.sku, tt.in)
		}
		own := tt.accept != "de" && tt.accept != "en" // this package's words for a rule that it knows
		if len(a.Errors) == 3 && (a.Errors[2].Detail == "is required") != own {
			t.Errorf("%s: got %+v", tt.reason, a.Errors)
		}
	}
}

func TestTranslator(t *testing.T) {
	type deep struct {
		Town string `json:"the town" validate:"max=1"`
	}
	type form struct {
		Full  string `json:"full_name" validate:"required"`
		Short string `json:"short" validate:"min=3"`
		Twin  string `json:"twin" validate:"nefield=Short"`
		Deep  []deep `json:"deep" validate:"dive"`
	}
	v, err := validate.New[form](validate.Config{Translator: tongues{tags: []string{"de", "pt-BR"}}})
	if err != nil {
		t.Fatal(err)
	}
	for accept, want := range map[string][2]string{
		"de":                     {"de", "de: full_name required |must be at least 3 characters long|must differ from short|de: the town max 1"},
		"fr, pt;q=0.5, de;q=0.1": {"pt-BR", "pt-BR: full_name required |must be at least 3 characters long|must differ from short|pt-BR: the town max 1"},
		"en, de;q=0.5":           {"", "is required|must be at least 3 characters long|must differ from short|must be at most 1 character long"},
		"*":                      {"", "is required|must be at least 3 characters long|must differ from short|must be at most 1 character long"},
		"fr":                     {"", "is required|must be at least 3 characters long|must differ from short|must be at most 1 character long"},
		"":                       {"", "is required|must be at least 3 characters long|must differ from short|must be at most 1 character long"},
	} {
		r := post(`{"deep":[{"the town":"ab"}]}`)
		r.Header.Set("Accept-Language", accept)
		a, _, _, _ := serve(t, v.Wrap, r)
		var details []string
		for _, f := range a.Errors {
			details = append(details, f.Detail)
		}
		if got := strings.Join(details, "|"); got != want[1] || a.header.Get("Content-Language") != want[0] || a.header.Get("Vary") != "Accept-Language" {
			t.Errorf("%s: got %s in %q, vary %q; want %v", accept, got, a.header.Get("Content-Language"), a.header.Get("Vary"), want)
		}
	}
	for want, tr := range map[string]tongues{
		`Config.Translator: the language "d e"`: {tags: []string{"d e"}},
		`Config.Translator: the language "*"`:   {tags: []string{"*"}},
		`Config.Translator: no`:                 {err: errors.New("no")},
	} {
		if _, err := validate.New[form](validate.Config{Translator: tr}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if _, err := validate.Decode[form](nop{}, post(`{}`), validate.Config{Translator: tongues{}}); err == nil || !strings.Contains(err.Error(), "need a Validator made by New") {
		t.Errorf("got %v", err)
	}
}
