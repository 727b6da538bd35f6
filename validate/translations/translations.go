// Package translations says what the rules of validate want in the languages of
// go-playground/validator.
//
//	tr, err := translations.New("de", "fr", "pt-BR")
//	…
//	v, err := validate.New[NewItem](validate.Config{Translator: tr})
//
// A client that prefers German by Accept-Language then reads "name muss mindestens 3 Zeichen
// lang sein" where others read "must be at least 3 characters long". What has no text in a
// language, such as your own rules and those that compare fields, stays in English.
//
// It is a module of its own because of the languages' plural rules and number formats.
package translations

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-playground/locales"
	"github.com/go-playground/locales/ar"
	"github.com/go-playground/locales/de"
	"github.com/go-playground/locales/en"
	"github.com/go-playground/locales/es"
	"github.com/go-playground/locales/fa"
	"github.com/go-playground/locales/fr"
	"github.com/go-playground/locales/hy"
	"github.com/go-playground/locales/id"
	"github.com/go-playground/locales/it"
	"github.com/go-playground/locales/ja"
	"github.com/go-playground/locales/ko"
	"github.com/go-playground/locales/lv"
	"github.com/go-playground/locales/nl"
	"github.com/go-playground/locales/pl"
	"github.com/go-playground/locales/pt"
	"github.com/go-playground/locales/pt_BR"
	"github.com/go-playground/locales/ru"
	"github.com/go-playground/locales/th"
	"github.com/go-playground/locales/tr"
	"github.com/go-playground/locales/uk"
	"github.com/go-playground/locales/vi"
	"github.com/go-playground/locales/zh"
	"github.com/go-playground/locales/zh_Hant_TW"
	ut "github.com/go-playground/universal-translator"
	"github.com/go-playground/validator/v10"
	arText "github.com/go-playground/validator/v10/translations/ar"
	deText "github.com/go-playground/validator/v10/translations/de"
	enText "github.com/go-playground/validator/v10/translations/en"
	esText "github.com/go-playground/validator/v10/translations/es"
	faText "github.com/go-playground/validator/v10/translations/fa"
	frText "github.com/go-playground/validator/v10/translations/fr"
	hyText "github.com/go-playground/validator/v10/translations/hy"
	idText "github.com/go-playground/validator/v10/translations/id"
	itText "github.com/go-playground/validator/v10/translations/it"
	jaText "github.com/go-playground/validator/v10/translations/ja"
	koText "github.com/go-playground/validator/v10/translations/ko"
	lvText "github.com/go-playground/validator/v10/translations/lv"
	nlText "github.com/go-playground/validator/v10/translations/nl"
	plText "github.com/go-playground/validator/v10/translations/pl"
	ptText "github.com/go-playground/validator/v10/translations/pt"
	ptBRText "github.com/go-playground/validator/v10/translations/pt_BR"
	ruText "github.com/go-playground/validator/v10/translations/ru"
	thText "github.com/go-playground/validator/v10/translations/th"
	trText "github.com/go-playground/validator/v10/translations/tr"
	ukText "github.com/go-playground/validator/v10/translations/uk"
	viText "github.com/go-playground/validator/v10/translations/vi"
	zhText "github.com/go-playground/validator/v10/translations/zh"
	zhTWText "github.com/go-playground/validator/v10/translations/zh_tw"

	"github.com/sallyport/sallyport/validate"
)

// A source is where the texts of a language come from.
type source struct {
	locale   func() locales.Translator
	register func(*validator.Validate, ut.Translator) error
}

// sources returns the languages there are, by their tags.
func sources() map[string]source {
	return map[string]source{
		"ar": {ar.New, arText.RegisterDefaultTranslations}, "de": {de.New, deText.RegisterDefaultTranslations},
		"en": {en.New, enText.RegisterDefaultTranslations}, "es": {es.New, esText.RegisterDefaultTranslations},
		"fa": {fa.New, faText.RegisterDefaultTranslations}, "fr": {fr.New, frText.RegisterDefaultTranslations},
		"hy": {hy.New, hyText.RegisterDefaultTranslations}, "id": {id.New, idText.RegisterDefaultTranslations},
		"it": {it.New, itText.RegisterDefaultTranslations}, "ja": {ja.New, jaText.RegisterDefaultTranslations},
		"ko": {ko.New, koText.RegisterDefaultTranslations}, "lv": {lv.New, lvText.RegisterDefaultTranslations},
		"nl": {nl.New, nlText.RegisterDefaultTranslations}, "pl": {pl.New, plText.RegisterDefaultTranslations},
		"pt": {pt.New, ptText.RegisterDefaultTranslations}, "pt-BR": {pt_BR.New, ptBRText.RegisterDefaultTranslations},
		"ru": {ru.New, ruText.RegisterDefaultTranslations}, "th": {th.New, thText.RegisterDefaultTranslations},
		"tr": {tr.New, trText.RegisterDefaultTranslations}, "uk": {uk.New, ukText.RegisterDefaultTranslations},
		"vi": {vi.New, viText.RegisterDefaultTranslations}, "zh": {zh.New, zhText.RegisterDefaultTranslations},
		"zh-TW": {zh_Hant_TW.New, zhTWText.RegisterDefaultTranslations},
	}
}

// Languages returns the tags (BCP 47) of all languages there are.
func Languages() []string { return slices.Sorted(maps.Keys(sources())) }

// A Translator is a [validate.Translator]. It may serve any number of Validators, and is safe
// for concurrent use.
type Translator struct {
	languages []string
	sources   map[string]source
}

var _ validate.Translator = (*Translator)(nil)

// New returns a Translator for these languages, or all of [Languages] if there are none. A
// language that it doesn't have, or is named twice, is an error.
func New(languages ...string) (*Translator, error) {
	t := &Translator{languages: slices.Clone(languages), sources: sources()}
	if len(languages) == 0 {
		t.languages = Languages()
	}
	for i, l := range t.languages {
		if _, ok := t.sources[l]; !ok {
			return nil, fmt.Errorf("translations: New: there is no %q, only %s", l, strings.Join(Languages(), ", "))
		}
		if slices.Contains(t.languages[:i], l) {
			return nil, fmt.Errorf("translations: New: %q stands twice", l)
		}
	}
	return t, nil
}

// Languages returns the languages of t.
func (t *Translator) Languages() []string { return slices.Clone(t.languages) }

// Translations registers the texts of t's languages with v.
func (t *Translator) Translations(v *validator.Validate) (func(language string, rule validator.FieldError) string, error) {
	texts := make(map[string]ut.Translator, len(t.languages))
	for _, l := range t.languages {
		s := t.sources[l]
		locale := s.locale()
		text, _ := ut.New(locale, locale).GetTranslator(locale.Locale())
		if err := s.register(v, text); err != nil {
			return nil, fmt.Errorf("translations: %s: %w", l, err)
		}
		texts[l] = text
	}
	return func(language string, rule validator.FieldError) string {
		text, ok := texts[language]
		if !ok {
			return ""
		}
		// A rule without a text gets the error's own, which names Go's types.
		if s := rule.Translate(text); s != rule.Error() {
			return s
		}
		return ""
	}, nil
}
