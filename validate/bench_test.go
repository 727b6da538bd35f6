package validate_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-playground/validator/v10"

	"github.com/sallyport/sallyport/validate"
)

type smallBody struct {
	Name  string `json:"name" validate:"required,min=2,max=64"`
	Email string `json:"email" validate:"required,email"`
	Age   int    `json:"age" validate:"gte=18,lte=130"`
}

const smallJSON = `{"name":"Alice Smith","email":"alice@example.com","age":42}`

type nestedBody struct {
	ID       string            `json:"id" validate:"required,uuid"`
	Status   string            `json:"status" validate:"oneof=new paid sent"`
	Currency string            `json:"currency" validate:"len=3,alpha"`
	Total    float64           `json:"total" validate:"gt=0"`
	Paid     bool              `json:"paid"`
	Created  time.Time         `json:"created" validate:"required"`
	Note     *string           `json:"note" validate:"omitempty,max=200"`
	Tags     []string          `json:"tags" validate:"max=10,dive,alphanum"`
	Labels   map[string]string `json:"labels" validate:"max=10"`
	Buyer    person            `json:"buyer"`
	Address  address           `json:"address"`
	Items    []item            `json:"items" validate:"required,min=1,dive"`
}

type person struct {
	Name  string `json:"name" validate:"required,max=80"`
	Email string `json:"email" validate:"required,email"`
}

type address struct {
	Street string `json:"street" validate:"required"`
	City   string `json:"city" validate:"required"`
	Zip    string `json:"zip" validate:"numeric"`
}

type item struct {
	SKU   string  `json:"sku" validate:"required,alphanum"`
	Count int     `json:"count" validate:"gt=0"`
	Price float64 `json:"price" validate:"gt=0"`
}

const nestedJSON = `{"id":"5be86359-073c-434b-ad2d-a3932222dabe","status":"new","currency":"EUR","total":99.5,"paid":false,` +
	`"created":"2026-11-23T12:00:00Z","note":null,"tags":["a1","b2"],"labels":{"source":"web"},` +
	`"buyer":{"name":"Alice Smith","email":"alice@example.com"},"address":{"street":"1 Main St","city":"Springfield","zip":"12345"},` +
	`"items":[{"sku":"A100","count":1,"price":19.5},{"sku":"B200","count":2,"price":30},{"sku":"C300","count":1,"price":20}]}`

// nop is a ResponseWriter that costs nothing.
type nop struct{ h http.Header }

func (n nop) Header() http.Header         { return n.h }
func (n nop) Write(b []byte) (int, error) { return len(b), nil }
func (n nop) WriteHeader(int)             {}

// A reusable request: making one would cost more than decoding it.
type reusable struct {
	r    *http.Request
	body *strings.Reader
	text string
}

func newReusable(text string) *reusable {
	body := strings.NewReader(text)
	r := httptest.NewRequest("POST", "/", io.NopCloser(body))
	r.ContentLength = int64(len(text))
	r.Header.Set("Content-Type", "application/json")
	return &reusable{r, body, text}
}

func (r *reusable) again() *http.Request {
	r.body.Reset(r.text)
	return r.r
}

func BenchmarkDecode(b *testing.B) {
	b.Run("small accepted", func(b *testing.B) { benchmarkDecode[smallBody](b, smallJSON, true) })
	b.Run("small refused by a rule", func(b *testing.B) {
		benchmarkDecode[smallBody](b, strings.Replace(smallJSON, "42", "4", 1), false)
	})
	b.Run("small refused as unknown", func(b *testing.B) {
		benchmarkDecode[smallBody](b, strings.Replace(smallJSON, "age", "Age", 1), false)
	})
	b.Run("nested accepted", func(b *testing.B) { benchmarkDecode[nestedBody](b, nestedJSON, true) })
	b.Run("nested without rules", func(b *testing.B) { benchmarkDecode[map[string]any](b, nestedJSON, true) })
}

func benchmarkDecode[T any](b *testing.B, text string, accepted bool) {
	v, err := validate.New[T](validate.Config{})
	if err != nil {
		b.Fatal(err)
	}
	w, r := nop{http.Header{}}, newReusable(text)
	if _, err := v.Decode(w, r.again()); (err == nil) != accepted {
		b.Fatalf("got %v, want accepted %t", err, accepted)
	}
	b.ReportAllocs()
	for b.Loop() {
		_, _ = v.Decode(w, r.again())
	}
}

func BenchmarkWrap(b *testing.B) {
	h := validate.Body[smallBody]()(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	w := nop{http.Header{}}
	for _, bb := range []struct{ name, text string }{
		{"accepted", smallJSON},
		{"refused", `{"name":"a"`},
	} {
		b.Run(bb.name, func(b *testing.B) {
			quiet(b)
			r := newReusable(bb.text)
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, r.again())
			}
		})
	}
}

// BenchmarkParts is what a hand-written handler pays for the same, less strictly.
func BenchmarkParts(b *testing.B) {
	v := validator.New(validator.WithRequiredStructEnabled())
	b.Run("encoding/json and validator, small", func(b *testing.B) {
		r := newReusable(smallJSON)
		b.ReportAllocs()
		for b.Loop() {
			var t smallBody
			data, err := io.ReadAll(r.again().Body)
			if err == nil {
				err = json.Unmarshal(data, &t)
			}
			if err == nil {
				err = v.Struct(&t)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("validator, small", func(b *testing.B) {
		t := smallBody{Name: "Alice Smith", Email: "alice@example.com", Age: 42}
		b.ReportAllocs()
		for b.Loop() {
			_ = v.Struct(&t)
		}
	})
	b.Run("encoding/json and validator, nested", func(b *testing.B) {
		r := newReusable(nestedJSON)
		b.ReportAllocs()
		for b.Loop() {
			var t nestedBody
			data, err := io.ReadAll(r.again().Body)
			if err == nil {
				err = json.Unmarshal(data, &t)
			}
			if err == nil {
				err = v.Struct(&t)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}
