package validate_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/validate"
)

// NewItem is what POST /shops/{shop}/items takes.
type NewItem struct {
	Shop  string  `path:"shop"  validate:"alphanum"`
	Name  string  `json:"name"  validate:"required,max=80"`
	Price float64 `json:"price" validate:"gt=0"`
	Owner string  `json:"-"` // set by us, never by a client
}

func ExampleBody() {
	mux := http.NewServeMux()
	mux.Handle("POST /shops/{shop}/items", validate.Body[NewItem]()(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			item, _ := validate.From[NewItem](r.Context())
			_, _ = fmt.Fprintf(w, "%s in %s for %.2f", item.Name, item.Shop, item.Price)
		})))

	for _, body := range []string{
		`{"name":"chair","price":49.5}`,
		`{"name":"chair","price":49.5,"Owner":"mallory"}`,
		`{"price":0}`,
	} {
		r := httptest.NewRequest("POST", "/shops/s1/items", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "text/plain")
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Println(w.Code, strings.ReplaceAll(strings.TrimSpace(w.Body.String()), "\n", " | "))
	}
	// Output:
	// 200 chair in s1 for 49.50
	// 400 400 Bad Request | The body is not in the expected form. | body: has a member that is not known here | code: invalid_body
	// 422 422 Unprocessable Entity | The request breaks rules of its fields. | body /name: is required | body /price: must be greater than 0 | code: validation_failed
}

func ExampleDecode() {
	type page struct {
		Limit int    `query:"limit" validate:"gte=1,lte=100"`
		After string `query:"after" validate:"omitempty,alphanum"`
	}
	h := httperr.Handler(func(w http.ResponseWriter, r *http.Request) error {
		p, err := validate.Decode[page](w, r)
		if err != nil {
			return err // a Problem that tells the client what is wrong
		}
		_, err = fmt.Fprintf(w, "%d items after %s\n", p.Limit, p.After)
		return err
	})

	for _, query := range []string{"limit=10&after=a7", "limit=10&limit=1000000"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/items?"+query, nil))
		fmt.Print(w.Code, " ", w.Body)
	}
	// Output:
	// 200 10 items after a7
	// 400 {"type":"about:blank","title":"Bad Request","status":400,"detail":"The request's parameters are not in the expected form.","code":"invalid_parameter","errors":[{"pointer":"/limit","location":"query","code":"repeated","detail":"must not come more than once"}]}
}

func ExampleNew() {
	type open struct {
		Name string `json:"name" validate:"required"`
		Role string
	}
	_, err := validate.New[open](validate.Config{})
	fmt.Println(err)

	type order struct {
		Lines []NewItemLine `json:"lines" validate:"max=10"`
	}
	_, err = validate.New[order](validate.Config{})
	fmt.Println(err)
	// Output:
	// validate: open.Role: is exported but has no json, query, path, header, form or cookie tag; tag it json:"-" to leave it alone
	// validate: order.Lines: is a []validate_test.NewItemLine whose elements have rules; without "dive" in its validate tag they are not checked
}

// NewItemLine has a rule.
type NewItemLine struct {
	Count int `json:"count" validate:"gt=0"`
}

func ExampleValidator_Rules() {
	v, err := validate.New[NewItem](validate.Config{})
	if err != nil {
		panic(err)
	}
	for _, r := range v.Rules() {
		fmt.Println(r.Location, r.Path, r.Type, r.Rules)
	}
	// Output:
	// path /shop string [alphanum]
	// body /name string [required max=80]
	// body /price number [gt=0]
}

// A form with a file of up to 100 MiB, which is on the disk while the handler runs.
func ExampleFile() {
	type report struct {
		Title string        `form:"title" validate:"required,max=80"`
		Data  validate.File `form:"data" file:"types=text/plain application/pdf,max=100MiB" validate:"required"`
	}
	upload := validate.Body[report](validate.Config{MaxBytes: 101 << 20})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		in, _ := validate.From[report](r.Context())
		sum := sha256.New() // or where it is stored
		if _, err := io.Copy(sum, in.Data.Open()); err != nil {
			httperr.Write(w, r, err)
			return
		}
		_, _ = fmt.Fprintf(w, "%s: %s, %x", in.Title, in.Data, sum.Sum(nil)[:4])
	}))

	const form = "--b\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nMarch\r\n" +
		"--b\r\nContent-Disposition: form-data; name=\"data\"; filename=\"../march.txt\"\r\n\r\nall is well\r\n--b--\r\n"
	r := httptest.NewRequest("POST", "/", strings.NewReader(form))
	r.Header.Set("Content-Type", "multipart/form-data; boundary=b")
	w := httptest.NewRecorder()
	upload.ServeHTTP(w, r)
	fmt.Println(w.Body)
	// Output: March: march.txt (text/plain, 11 bytes), f70579cc
}
