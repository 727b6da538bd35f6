package translations_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport/sallyport/validate"
	"github.com/sallyport/sallyport/validate/translations"
)

type order struct {
	GoName string   `json:"full name" validate:"required,min=3"`
	Size   int      `json:"size" validate:"max=3"`
	Tags   []string `json:"tags" validate:"max=1"`
	GoMail string   `json:"mail" validate:"email"`
	Other  string   `json:"other" validate:"eqfield=GoMail"`
	Cron   string   `json:"cron" validate:"omitempty,cron"`
}

const hostile = `{"full name":"zq","size":7777,"tags":["zq","zq"],"mail":"zq","other":"","cron":"zq"}`

// ask sends a body to a validator, and returns the answer in a language and a form.
func ask[T any](v *validate.Validator[T], body, language, form string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept-Language", language)
	r.Header.Set("Accept", form)
	w := httptest.NewRecorder()
	v.Wrap(http.NotFoundHandler()).ServeHTTP(w, r)
	return w
}

// details returns what a client is told, and in which language.
func details(v *validate.Validator[order], accept string) (text, language string) {
	w := ask(v, hostile, accept, "text/plain")
	return w.Body.String(), w.Header().Get("Content-Language")
}

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // events of refusals
	os.Exit(m.Run())
}

func TestLanguages(t *testing.T) {
	tr, err := translations.New()
	if err != nil {
		t.Fatal(err)
	}
	v, err := validate.New[order](validate.Config{Translator: tr})
	if err != nil {
		t.Fatal(err)
	}
	english, none := details(v, "xx")
	if none != "" || !strings.Contains(english, "must be at least 3 characters long") {
		t.Errorf("without a language: %q, %s", none, english)
	}
	seen := map[string]string{}
	for _, l := range translations.Languages() {
		t.Run(l, func(t *testing.T) {
			got, language := details(v, l)
			if language != l {
				t.Errorf("Content-Language is %q", language)
			}
			if other, ok := seen[got]; ok {
				t.Errorf("it is that of %s: %s", other, got)
			}
			seen[got] = l
			if !strings.Contains(got, "full name") || got == english {
				t.Errorf("got %s", got)
			}
			for _, never := range []string{"zq", "7777", "Key:", "order.", "GoName", "GoMail"} {
				if strings.Contains(got, never) {
					t.Errorf("it has %q: %s", never, got)
				}
			}
			if !strings.Contains(got, "must equal mail") { // fields are compared in English
				t.Errorf("got %s", got)
			}
		})
	}
	if got, _ := details(v, "de-AT, en;q=0.5"); !strings.Contains(got, "full name muss mindestens 3 Zeichen lang sein") {
		t.Errorf("got %s", got)
	}
}

// Two Validators of one Translator, used at the same time.
func TestSeveralValidators(t *testing.T) {
	tr, err := translations.New("fr", "de")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 2 {
		v, err := validate.New[order](validate.Config{Translator: tr})
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range []string{"de", "fr"} {
			for range 4 {
				wg.Go(func() {
					if _, got := details(v, l); got != l {
						t.Errorf("got %q, want %q", got, l)
					}
				})
			}
		}
	}
	wg.Wait()
}

func TestNew(t *testing.T) {
	for want, languages := range map[string][]string{
		`there is no "xx", only ar, de,`: {"de", "xx"},
		`there is no "pt_BR"`:            {"pt_BR"},
		`"de" stands twice`:              {"de", "fr", "de"},
	} {
		if _, err := translations.New(languages...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func Example() {
	tr, err := translations.New("de", "fr", "pt-BR")
	if err != nil {
		fmt.Println(err)
		return
	}
	type newItem struct {
		Name string `json:"name" validate:"min=3"`
	}
	v, err := validate.New[newItem](validate.Config{Translator: tr})
	if err != nil {
		fmt.Println(err)
		return
	}
	w := ask(v, `{"name":"x"}`, "de-CH, en;q=0.5", "text/plain")
	fmt.Print(w.Body)
	// Output:
	// 422 Unprocessable Entity
	// The request breaks rules of its fields.
	// body /name: name muss mindestens 3 Zeichen lang sein
	// code: validation_failed
}
