package validate_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/validate"
)

type patch struct {
	Name  validate.Optional[string]   `json:"name,omitzero" validate:"omitempty,min=2,max=5"`
	Note  validate.Optional[*string]  `json:"note,omitzero" validate:"omitempty,max=5"`
	Tags  validate.Optional[[]string] `json:"tags,omitzero" validate:"omitempty,max=2,dive,max=3"`
	Must  validate.Optional[int]      `json:"must,omitzero" validate:"required"`
	Place validate.Optional[*place]   `json:"place,omitzero"`
}

type place struct {
	City validate.Optional[string] `json:"city,omitzero" validate:"omitempty,alpha"`
	Zip  int                       `json:"zip" validate:"lt=9"`
}

// What is left out, null, zero and something are told apart (RFC 7396, section 1).
func TestRFC7396_1_MergePatch(t *testing.T) {
	for _, tt := range []struct{ name, body, want string }{
		{"the least", `{"must":0}`, `{"must":0}`},
		{"required", `{}`, "body /must required"},
		{"null for what can't be", `{"must":null,"name":null}`, "body /must type, body /name type"},
		{"null for what can be", `{"must":1,"note":null}`, `{"note":null,"must":1}`},
		{"zero is checked", `{"must":1,"name":""}`, "body /name min"},
		{"a value is checked", `{"must":1,"name":"abcdef","note":"abcdef"}`, "body /name max, body /note max"},
		{"values", `{"must":1,"name":"ab","note":"","tags":[]}`, `{"name":"ab","note":"","tags":[],"must":1}`},
		{"a wrong type", `{"must":"1"}`, "body /must type"},
		{"elements", `{"must":1,"tags":["a","abcd"]}`, "body /tags/1 max"},
		{"an object", `{"must":1,"place":{"zip":1}}`, `{"must":1,"place":{"zip":1}}`},
		{"an object that is removed", `{"must":1,"place":null}`, `{"must":1,"place":null}`},
		{"inside an object", `{"must":1,"place":{"zip":10,"city":"7"}}`, "body /place/city alpha, body /place/zip lt"},
		{"unknown inside an object", `{"must":1,"place":{"Zip":1}}`, "body /place unknown"},
		{"twice", `{"must":1,"must":2}`, "malformed_body"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("PATCH", "/", strings.NewReader(tt.body))
			r.Header.Set("Content-Type", "application/merge-patch+json")
			got, err := validate.Decode[patch](nop{}, r)
			if p := problem(t, err); p != nil {
				if got := (answer{Errors: p.Fields}).places(); got != tt.want && p.Code != tt.want {
					t.Errorf("got %s %s, want %s", p.Code, got, tt.want)
				}
				return
			}
			if b, err := json.Marshal(got); err != nil || string(b) != tt.want {
				t.Errorf("got %s, %v, want %s", b, err, tt.want)
			}
			var again patch
			if err := json.Unmarshal([]byte(tt.body), &again); err != nil || !reflect.DeepEqual(again, got) {
				t.Errorf("encoding/json has %+v, %v, want %+v", again, err, got)
			}
		})
	}
	if o := (validate.Optional[int]{}); !o.IsZero() {
		t.Error("one that is not set is not zero")
	}
	if b, err := json.Marshal(validate.Optional[int]{}); err != nil || string(b) != "null" {
		t.Errorf("one that is not set is %s, %v", b, err)
	}
	if v, sent := (validate.Optional[int]{Value: 3, Set: true}).Get(); v != 3 || !sent {
		t.Errorf("got %d, %t", v, sent)
	}
}

func TestOptionalConstruction(t *testing.T) {
	for want, try := range map[string]func() error{
		`.A: is an Optional whose rules begin with "max=3"`: build[struct {
			A validate.Optional[string] `json:"a" validate:"max=3"`
		}],
		`.A: the rule "eq=x" can't be checked`: build[struct {
			A validate.Optional[int] `json:"a" validate:"omitempty,eq=x"`
		}],
		`.A.B: is exported but has no`: build[struct {
			A validate.Optional[struct{ B int }] `json:"a"`
		}],
		`.A: is of the type validate.Optional[int], which can't be bound from the query`: build[struct {
			A validate.Optional[int] `query:"a"`
		}],
		`.A: is of a type that can't have a default`: build[struct {
			A validate.Optional[int] `json:"a" default:"1"`
		}],
		`without "dive"`: build[struct {
			A validate.Optional[[]struct {
				B int `json:"b" validate:"gt=0"`
			}] `json:"a"`
		}],
	} {
		if err := try(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	v, err := validate.New[patch](validate.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range v.Rules() {
		got = append(got, r.Path+" "+r.Type)
	}
	if want := "[/name string /note string /tags array /tags/* string /must integer /place object /place/city string /place/zip integer]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func ExampleOptional() {
	type patchItem struct {
		Name validate.Optional[string]  `json:"name" validate:"omitempty,min=1,max=80"`
		Note validate.Optional[*string] `json:"note" validate:"omitempty,max=80"`
	}
	r := httptest.NewRequest("PATCH", "/items/7", strings.NewReader(`{"note":null}`))
	r.Header.Set("Content-Type", "application/merge-patch+json")
	p, err := validate.Decode[patchItem](httptest.NewRecorder(), r)
	if err != nil {
		fmt.Println(err)
	}
	fmt.Println("change the name:", p.Name.Set)
	fmt.Println("remove the note:", p.Note.Set && p.Note.Value == nil)
	// Output:
	// change the name: false
	// remove the note: true
}
