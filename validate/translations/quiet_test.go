package translations_test

import (
	"io"
	"os"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/validate"
	"github.com/sallyport/sallyport/validate/translations"
)

// everyRule breaks the rules that have texts in some language.
type everyRule struct {
	Required     string   `json:"required" validate:"required"`
	LenText      string   `json:"len_text" validate:"len=9"`
	LenNumber    int      `json:"len_number" validate:"len=9"`
	LenList      []int    `json:"len_list" validate:"len=9"`
	MinText      string   `json:"min_text" validate:"min=9"`
	MinNumber    float64  `json:"min_number" validate:"min=90000"`
	MinList      []int    `json:"min_list" validate:"min=9"`
	MaxText      string   `json:"max_text" validate:"max=1"`
	MaxNumber    int      `json:"max_number" validate:"max=1"`
	MaxList      []int    `json:"max_list" validate:"max=1"`
	Eq           string   `json:"eq" validate:"eq=a"`
	Ne           string   `json:"ne" validate:"ne=zzz"`
	LtText       string   `json:"lt_text" validate:"lt=1"`
	LtNumber     int      `json:"lt_number" validate:"lt=1"`
	LtList       []int    `json:"lt_list" validate:"lt=1"`
	LteText      string   `json:"lte_text" validate:"lte=1"`
	LteNumber    int      `json:"lte_number" validate:"lte=1"`
	LteList      []int    `json:"lte_list" validate:"lte=1"`
	GtText       string   `json:"gt_text" validate:"gt=9"`
	GtNumber     int      `json:"gt_number" validate:"gt=90000"`
	GtList       []int    `json:"gt_list" validate:"gt=9"`
	GteText      string   `json:"gte_text" validate:"gte=9"`
	GteNumber    int      `json:"gte_number" validate:"gte=90000"`
	GteList      []int    `json:"gte_list" validate:"gte=9"`
	Alpha        string   `json:"alpha" validate:"alpha"`
	Alphanum     string   `json:"alphanum" validate:"alphanum,max=1"`
	Numeric      string   `json:"numeric" validate:"numeric"`
	Number       string   `json:"number" validate:"number"`
	Hexadecimal  string   `json:"hexadecimal" validate:"hexadecimal"`
	Hexcolor     string   `json:"hexcolor" validate:"hexcolor"`
	RGB          string   `json:"rgb" validate:"rgb"`
	RGBA         string   `json:"rgba" validate:"rgba"`
	HSL          string   `json:"hsl" validate:"hsl"`
	HSLA         string   `json:"hsla" validate:"hsla"`
	IsColor      string   `json:"iscolor" validate:"iscolor"`
	Email        string   `json:"email" validate:"email"`
	URL          string   `json:"url" validate:"url"`
	URI          string   `json:"uri" validate:"uri"`
	Base64       string   `json:"base64" validate:"base64"`
	Contains     string   `json:"contains" validate:"contains=zz"`
	ContainsAny  string   `json:"containsany" validate:"containsany=!@"`
	Excludes     string   `json:"excludes" validate:"excludes=s3"`
	ExcludesAll  string   `json:"excludesall" validate:"excludesall=s3"`
	ExcludesRune string   `json:"excludesrune" validate:"excludesrune=3"`
	StartsWith   string   `json:"startswith" validate:"startswith=zz"`
	EndsWith     string   `json:"endswith" validate:"endswith=zz"`
	ISBN         string   `json:"isbn" validate:"isbn"`
	ISBN10       string   `json:"isbn10" validate:"isbn10"`
	ISBN13       string   `json:"isbn13" validate:"isbn13"`
	ISSN         string   `json:"issn" validate:"issn"`
	UUID         string   `json:"uuid" validate:"uuid"`
	UUID3        string   `json:"uuid3" validate:"uuid3"`
	UUID4        string   `json:"uuid4" validate:"uuid4"`
	UUID5        string   `json:"uuid5" validate:"uuid5"`
	ULID         string   `json:"ulid" validate:"ulid"`
	DataURI      string   `json:"datauri" validate:"datauri"`
	Latitude     string   `json:"latitude" validate:"latitude"`
	Longitude    string   `json:"longitude" validate:"longitude"`
	SSN          string   `json:"ssn" validate:"ssn"`
	IPv4         string   `json:"ipv4" validate:"ipv4"`
	IPv6         string   `json:"ipv6" validate:"ipv6"`
	IP           string   `json:"ip" validate:"ip"`
	CIDR         string   `json:"cidr" validate:"cidr"`
	CIDRv4       string   `json:"cidrv4" validate:"cidrv4"`
	CIDRv6       string   `json:"cidrv6" validate:"cidrv6"`
	MAC          string   `json:"mac" validate:"mac"`
	Unique       []string `json:"unique" validate:"unique"`
	OneOf        string   `json:"oneof" validate:"oneof=a b"`
	JSON         string   `json:"json" validate:"json"`
	JWT          string   `json:"jwt" validate:"jwt"`
	Lowercase    string   `json:"lowercase" validate:"lowercase"`
	Uppercase    string   `json:"uppercase" validate:"uppercase"`
	Datetime     string   `json:"datetime" validate:"datetime=2006"`
	Postcode     string   `json:"postcode" validate:"postcode_iso3166_alpha2=DE"`
	Boolean      string   `json:"boolean" validate:"boolean"`
	FQDN         string   `json:"fqdn" validate:"fqdn"`
	Image        string   `json:"bcp47" validate:"bcp47_language_tag"`
	Cron         string   `json:"cron" validate:"cron"`
}

// What was sent is neither in the texts of any language nor printed on the way: the texts'
// package prints what it fails to translate.
func TestNothingIsPrinted(t *testing.T) {
	var body strings.Builder
	body.WriteString(`{"required":""`)
	for _, list := range []string{"len_list", "min_list", "max_list", "lt_list", "lte_list", "gt_list", "gte_list"} {
		body.WriteString(`,"` + list + `":[7777,7777]`)
	}
	for _, number := range []string{"len_number", "min_number", "max_number", "lt_number", "lte_number", "gt_number", "gte_number"} {
		body.WriteString(`,"` + number + `":7777`)
	}
	body.WriteString(`,"unique":["s3cret","s3cret"]`)
	for _, text := range strings.Fields("len_text min_text max_text eq lt_text lte_text gt_text gte_text alpha alphanum numeric number hexadecimal hexcolor " +
		"rgb rgba hsl hsla iscolor email url uri base64 contains containsany excludes excludesall excludesrune startswith endswith isbn isbn10 isbn13 issn " +
		"uuid uuid3 uuid4 uuid5 ulid datauri latitude longitude ssn ipv4 ipv6 ip cidr cidrv4 cidrv6 mac oneof json jwt uppercase datetime postcode boolean fqdn bcp47 cron") {
		body.WriteString(`,"` + text + `":"s3cret"`)
	}
	body.WriteString(`,"lowercase":"S3CRET","ne":"zzz"}`)

	tr, err := translations.New()
	if err != nil {
		t.Fatal(err)
	}
	v, err := validate.New[everyRule](validate.Config{Translator: tr})
	if err != nil {
		t.Fatal(err)
	}
	pr, pw, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = pw
	defer func() { os.Stdout = stdout }()
	printed := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(pr)
		printed <- b
	}()
	for _, l := range translations.Languages() {
		w := ask(v, body.String(), l, "application/json")
		got := w.Body.String()
		if n := strings.Count(got, `"pointer"`); w.Code != 422 || n < 70 {
			t.Errorf("%s: %d with %d errors: %s", l, w.Code, n, got)
		}
		for _, never := range []string{"7777", "s3cret", "S3CRET", "everyRule", "Error:"} {
			if strings.Contains(got, never) {
				t.Errorf("%s has %q: %s", l, never, got)
			}
		}
	}
	_ = pw.Close()
	if b := <-printed; len(b) > 0 {
		t.Errorf("printed: %.500s", b)
	}
}
