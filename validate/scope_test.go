package validate_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/validate"
)

type priced struct {
	Name  string         `json:"name"`
	Price *float64       `json:"price" scope:"items:price" default:"1.5"`
	Deep  []pricedDetail `json:"deep"`
	Debug bool           `query:"debug" scope:"debug"`
}

type pricedDetail struct {
	Cost int `json:"cost" scope:"items:price"`
}

type callerScope struct{}

// PricedDetail is embedded.
type PricedDetail struct {
	Cost int `json:"cost"`
}

// selfDecoding has a scope that nobody would look at.
type selfDecoding struct {
	A int `json:"a" scope:"a"`
}

func (*selfDecoding) UnmarshalJSON([]byte) error { return nil }

// A field with a scope is there for callers who have it.
func TestASVS_8_2_3_FieldsPerScope(t *testing.T) {
	quiet(t)
	cfg := validate.Config{HasScope: func(ctx context.Context, scope string) bool { return ctx.Value(callerScope{}) == scope }}
	v, err := validate.New[priced](cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, scope, query, body, want string }{
		{"without", "", "", `{"name":"a","deep":[{}]}`, "a 1.5 false"},
		{"a member", "", "", `{"name":"a","price":2}`, "403 body /price forbidden"},
		{"as null", "", "", `{"name":"a","price":null}`, "403 body /price forbidden"},
		{"deeper, and a wrong type", "", "", `{"name":1,"deep":[{},{"cost":1}]}`, "403 body /name type, body /deep/1/cost forbidden"},
		{"a parameter", "", "debug=true", `{"name":"a"}`, "403 query /debug forbidden"},
		{"with one scope", "items:price", "", `{"name":"a","price":2,"deep":[{"cost":1}]}`, "a 2 false"},
		{"with another", "debug", "debug=1", `{"price":2}`, "403 body /price forbidden"},
		{"by another case", "", "", `{"Price":2}`, "400 body  unknown"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := post(tt.body)
			r.URL.RawQuery = tt.query
			r = r.WithContext(context.WithValue(r.Context(), callerScope{}, tt.scope))
			for _, decode := range []func() (priced, error){
				func() (priced, error) { return v.Decode(nop{}, r) },
				func() (priced, error) {
					r := post(tt.body).WithContext(r.Context())
					r.URL.RawQuery = tt.query
					return validate.Decode[priced](nop{}, r, cfg)
				},
			} {
				p, err := decode()
				got := ""
				if refused := problem(t, err); refused != nil {
					got = fmt.Sprint(refused.Status, " ", (answer{Errors: refused.Fields}).places())
				} else {
					got = fmt.Sprint(p.Name, " ", *p.Price, " ", p.Debug)
				}
				if got != tt.want {
					t.Errorf("got %s, want %s", got, tt.want)
				}
			}
		})
	}
	rules := ""
	for _, r := range v.Rules() {
		rules += r.Path + "=" + r.Scope + " "
	}
	if want := "/debug=debug /name= /price=items:price /deep= /deep/*= /deep/*/cost=items:price "; rules != want {
		t.Errorf("got %s, want %s", rules, want)
	}
	for want, try := range map[string]func() error{
		"needs Config.HasScope": build[priced],
		"can't be one": build[struct {
			A int `json:"a" scope:"a b"`
		}],
		"has a scope tag, but its fields are bound each for itself": build[struct {
			PricedDetail `scope:"a"`
		}],
		"has the field A with a scope tag, which has no effect": build[struct {
			Of []selfDecoding `json:"of"`
		}],
		"but is bound from nothing": build[struct {
			A int `json:"a"`
			B int `json:"-" scope:"b"`
		}],
	} {
		if err := try(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if _, err := validate.Decode[priced](nop{}, post(`{}`)); err == nil || !strings.Contains(err.Error(), "needs Config.HasScope") {
		t.Errorf("got %v", err)
	}
}
