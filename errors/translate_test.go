package errors_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	httperr "github.com/sallyport/sallyport/errors"
)

func TestTranslations(t *testing.T) {
	original := httperr.New(404, "not_found", "There is no such item.")
	vary := httperr.New(404, "not_found", "")
	vary.Header = http.Header{"Vary": {"Origin"}}
	varies := httperr.New(404, "not_found", "")
	varies.Header = http.Header{"Vary": {"accept-language"}}
	german := httperr.New(422, "validation_failed", "")
	german.Header = http.Header{"Content-Language": {"de"}}
	token := httperr.New(400, "not_found", "")
	token.Render = func(p *httperr.Problem) (string, []byte) {
		return "application/json", []byte(`{"title":"` + p.Title + `"}`)
	}
	w := new(witness)
	cfg := w.config()
	cfg.Translations = map[string]map[string]httperr.Text{
		"de":    {"not_found": {Title: "Nicht gefunden", Detail: "Das gibt es hier nicht."}, "internal_error": {Title: "Fehler <des> Dienstes"}},
		"pt-BR": {"not_found": {Title: "Não encontrado"}, "validation_failed": {Title: "Inválido"}},
	}
	for _, tt := range []struct {
		name, language, accept string
		err                    error
		want, content, vary    string
	}{
		{"none asked for", "", "", original, `"title":"Not Found","status":404,"detail":"There is no such item."`, "", "Accept-Language"},
		{"another", "fr, *;q=0", "", original, `"title":"Not Found"`, "", "Accept-Language"},
		{"German", "fr, de-AT;q=0.5", "", original, `"title":"Nicht gefunden","status":404,"detail":"Das gibt es hier nicht."`, "de", "Accept-Language"},
		{"English before German", "en, de;q=0.3", "", original, `"title":"Not Found"`, "", "Accept-Language"},
		{"British English before German", "en-GB, de;q=0.3", "", original, `"title":"Not Found"`, "", "Accept-Language"},
		{"German before English", "en;q=0.3, de", "", original, `"title":"Nicht gefunden"`, "de", "Accept-Language"},
		{"no English", "en;q=0, *", "", original, `"title":"Nicht gefunden"`, "de", "Accept-Language"},
		{"any", "*", "", original, `"title":"Not Found"`, "", "Accept-Language"},
		{"a title alone", "pt", "", original, `"title":"Não encontrado","status":404,"detail":"There is no such item."`, "pt-BR", "Accept-Language"},
		{"a code without a text", "pt-BR", "", httperr.New(409, "conflict", "x"), `"title":"Conflict"`, "", "Accept-Language"},
		{"an error that is no problem", "de", "", http.ErrBodyNotAllowed, `"title":"Fehler \u003cdes\u003e Dienstes"`, "de", "Accept-Language"},
		{"HTML", "de", "text/html", original, `<html lang="de"><head><meta charset="utf-8"><title>404 Nicht gefunden</title>`, "de", "Accept-Language"},
		{"HTML, escaped", "de", "text/html", http.ErrBodyNotAllowed, `<title>500 Fehler &lt;des&gt; Dienstes</title>`, "de", "Accept-Language"},
		{"HTML in English", "en", "text/html", original, `<html lang="en">`, "", "Accept-Language"},
		{"Vary has it", "de", "", varies, "Nicht gefunden", "de", "accept-language"},
		{"Vary is added to", "de", "", vary, "Nicht gefunden", "de", "Origin, Accept-Language"},
		{"the language of a problem's own texts", "pt-BR", "", german, "Inválido", "de", "Accept-Language"},
		{"another form", "de", "", token, `{"title":""}`, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("Accept-Language", tt.language)
			r.Header.Set("Accept", tt.accept)
			rec := httptest.NewRecorder()
			httperr.Recover(cfg)(fail(tt.err)).ServeHTTP(rec, r)
			h := rec.Header()
			if got := rec.Body.String(); !strings.Contains(got, tt.want) || h.Get("Content-Language") != tt.content || strings.Join(h["Vary"], ", ") != tt.vary {
				t.Errorf("got %s in %q, varying by %q; want %s in %q, %q", got, h.Get("Content-Language"), h["Vary"], tt.want, tt.content, tt.vary)
			}
		})
	}
	if original.Title != "" || original.Detail != "There is no such item." {
		t.Errorf("the problem was changed: %+v", original)
	}
	for _, language := range []string{"pt_BR", "*", ""} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, fmt.Sprintf("Config.Translations: %q is no language", language)) {
					t.Errorf("got %s", got)
				}
			}()
			httperr.Recover(httperr.Config{Translations: map[string]map[string]httperr.Text{language: nil}})
		}()
	}
}
