package bench

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-playground/validator/v10"
	"github.com/labstack/echo/v4"

	"github.com/sallyport/sallyport/validate"
)

// A small body has three fields.
type small struct {
	Name  string `json:"name" validate:"required,min=2,max=64" binding:"required,min=2,max=64"`
	Email string `json:"email" validate:"required,email" binding:"required,email"`
	Age   int    `json:"age" validate:"gte=18,lte=130" binding:"gte=18,lte=130"`
}

const smallJSON = `{"name":"Alice Smith","email":"alice@example.com","age":42}`

// A large body has twenty.
type large struct {
	ID       string    `json:"id" validate:"required,uuid" binding:"required,uuid"`
	Status   string    `json:"status" validate:"oneof=new paid sent" binding:"oneof=new paid sent"`
	Currency string    `json:"currency" validate:"len=3,alpha" binding:"len=3,alpha"`
	Total    float64   `json:"total" validate:"gt=0" binding:"gt=0"`
	Tax      float64   `json:"tax" validate:"gte=0" binding:"gte=0"`
	Discount float64   `json:"discount" validate:"gte=0,lte=100" binding:"gte=0,lte=100"`
	Paid     bool      `json:"paid"`
	Gift     bool      `json:"gift"`
	Created  time.Time `json:"created" validate:"required" binding:"required"`
	Due      time.Time `json:"due" validate:"required" binding:"required"`
	Note     *string   `json:"note" validate:"omitempty,max=200" binding:"omitempty,max=200"`
	Tags     []string  `json:"tags" validate:"max=10,dive,alphanum" binding:"max=10,dive,alphanum"`
	Name     string    `json:"name" validate:"required,max=80" binding:"required,max=80"`
	Email    string    `json:"email" validate:"required,email" binding:"required,email"`
	Phone    string    `json:"phone" validate:"max=20" binding:"max=20"`
	Street   string    `json:"street" validate:"required,max=80" binding:"required,max=80"`
	City     string    `json:"city" validate:"required,max=80" binding:"required,max=80"`
	Zip      string    `json:"zip" validate:"numeric" binding:"numeric"`
	Country  string    `json:"country" validate:"len=2,alpha" binding:"len=2,alpha"`
	Count    int       `json:"count" validate:"gt=0" binding:"gt=0"`
}

const largeJSON = `{"id":"5be86359-073c-434b-ad2d-a3932222dabe","status":"new","currency":"EUR","total":99.5,"tax":15.9,"discount":0,` +
	`"paid":false,"gift":true,"created":"2026-11-23T12:00:00Z","due":"2026-12-23T12:00:00Z","note":null,"tags":["a1","b2"],` +
	`"name":"Alice Smith","email":"alice@example.com","phone":"+1 555 0100","street":"1 Main St","city":"Springfield",` +
	`"zip":"12345","country":"US","count":4}`

// An echoValidator is what echo's documentation shows.
type echoValidator struct{ v *validator.Validate }

func (e echoValidator) Validate(v any) error { return e.v.Struct(v) }

// A binder decodes and checks a request.
type binder func(w http.ResponseWriter, r *http.Request) error

// binders are those of T, in the order in which they are measured.
func binders[T any](tb testing.TB) map[string]binder {
	own, err := validate.New[T](validate.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	gin.SetMode(gin.ReleaseMode)
	g := gin.New()
	e := echo.New()
	e.Validator = echoValidator{validator.New(validator.WithRequiredStructEnabled())}
	return map[string]binder{
		"sallyport": func(w http.ResponseWriter, r *http.Request) error {
			_, err := own.Decode(w, r)
			return err
		},
		"gin": func(w http.ResponseWriter, r *http.Request) error {
			c := gin.CreateTestContextOnly(w, g)
			c.Request = r
			var v T
			return c.ShouldBindJSON(&v)
		},
		"echo": func(w http.ResponseWriter, r *http.Request) error {
			c := e.AcquireContext()
			c.Reset(r, w)
			defer e.ReleaseContext(c)
			var v T
			if err := c.Bind(&v); err != nil {
				return err
			}
			return c.Validate(&v)
		},
	}
}

// BenchmarkValidate measures decoding and checking of a body by a request that is used
// again, since making one would cost more.
func BenchmarkValidate(b *testing.B) {
	for _, body := range []struct {
		name, text string
		binders    map[string]binder
	}{
		{"3 fields", smallJSON, binders[small](b)},
		{"20 fields", largeJSON, binders[large](b)},
	} {
		for _, name := range []string{"sallyport", "gin", "echo"} {
			b.Run(name+"/"+body.name, func(b *testing.B) {
				again := newAgain(body.text)
				w := httptest.NewRecorder()
				b.ReportAllocs()
				for b.Loop() {
					if err := body.binders[name](w, again.request()); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// An again is a request that can be read again.
type again struct {
	r    *http.Request
	body *strings.Reader
	text string
}

func newAgain(text string) *again {
	a := &again{body: strings.NewReader(text), text: text}
	a.r = httptest.NewRequest(http.MethodPost, "/", nil)
	a.r.Body, a.r.ContentLength = io.NopCloser(a.body), int64(len(text))
	a.r.Header.Set("Content-Type", "application/json")
	return a
}

func (a *again) request() *http.Request {
	a.body.Reset(a.text)
	return a.r
}

// All of them take the bodies, and refuse one that breaks a rule.
func TestBindersAgree(t *testing.T) {
	for name, bind := range binders[small](t) {
		for text, good := range map[string]bool{smallJSON: true, strings.Replace(smallJSON, "42", "17", 1): false} {
			if err := bind(httptest.NewRecorder(), newAgain(text).request()); (err == nil) != good {
				t.Errorf("%s of %s: got %v", name, text, err)
			}
		}
	}
	for name, bind := range binders[large](t) {
		for text, good := range map[string]bool{largeJSON: true, strings.Replace(largeJSON, `"US"`, `"USA"`, 1): false} {
			if err := bind(httptest.NewRecorder(), newAgain(text).request()); (err == nil) != good {
				t.Errorf("%s of %s: got %v", name, text, err)
			}
		}
	}
}
