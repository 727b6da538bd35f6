package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/sallyport/sallyport/internal/strictjson"
)

// Claims are the statements of a credential beyond the fields of [Identity]:
// the claims set of a JWT. The zero Claims are empty. Read them with [Claim] or
// [DecodeClaims]. They never change. Printing Claims shows nothing of them.
type Claims struct{ raw string }

// NewClaims returns the claims in a JSON object, which it copies unless it is a
// string. The object must have been checked already: valid JSON, and no member
// name twice.
func NewClaims[T ~string | ~[]byte](object T) Claims { return Claims{raw: string(object)} }

// String returns a text without the claims, since they may hold personal data.
func (c Claims) String() string { return "auth.Claims" }

// GoString is String.
func (c Claims) GoString() string { return c.String() }

// Format writes String whatever the verb.
func (c Claims) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// members calls visit with each claim. It returns an error if the claims are no
// JSON object.
func (c Claims) members(visit func(name string, value strictjson.Value)) error {
	return strictjson.Object([]byte(c.raw), strictjson.Limits{}, func(name string, v strictjson.Value) error {
		visit(name, v)
		return nil
	})
}

// Claim returns the claim of id with this name, decoded into a T as
// encoding/json does. It returns false if there is no such claim, or it is not
// a T. The name is compared exactly. For several claims at once, [DecodeClaims]
// is quicker.
func Claim[T any](id *Identity, name string) (T, bool) {
	var zero T
	if id == nil || id.Claims.raw == "" {
		return zero, false
	}
	var raw []byte
	err := id.Claims.members(func(n string, v strictjson.Value) {
		if n == name && v.Kind != strictjson.Null {
			raw = v.Raw
		}
	})
	if err != nil || raw == nil {
		return zero, false
	}
	var value T
	if err := json.Unmarshal(raw, &value); err != nil {
		return zero, false
	}
	return value, true
}

// DecodeClaims returns the claims of id as a T, a struct whose fields name their
// claims with json tags. A claim is compared with the name in the tag exactly,
// where encoding/json would take "TENANT" for "tenant"; fields without a tag,
// and claims without a field, are left out. Claims that are missing or null leave
// their field as it is. It returns an error if T is no struct, if a claim is not
// of its field's type, or if id has no claims. The error holds nothing of them.
//
//	type claims struct {
//		Tenant string   `json:"tenant"`
//		Groups []string `json:"groups"`
//	}
//	c, err := auth.DecodeClaims[claims](id)
func DecodeClaims[T any](id *Identity) (T, error) {
	var value, zero T
	t := reflect.TypeFor[T]()
	if t.Kind() != reflect.Struct {
		return zero, fmt.Errorf("auth: DecodeClaims: %v is no struct", t)
	}
	if id == nil || id.Claims.raw == "" {
		return zero, errors.New("auth: DecodeClaims: the identity has no claims")
	}
	fields := make(map[string]int)
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.IsExported() && name != "" && name != "-" {
			fields[name] = i
		}
	}
	v := reflect.ValueOf(&value).Elem()
	var bad string
	err := id.Claims.members(func(name string, claim strictjson.Value) {
		i, ok := fields[name]
		if ok && claim.Kind != strictjson.Null && json.Unmarshal(claim.Raw, v.Field(i).Addr().Interface()) != nil {
			bad = t.Field(i).Name
		}
	})
	switch {
	case err != nil:
		return zero, errors.New("auth: DecodeClaims: the claims are not a JSON object as it should be")
	case bad != "":
		return zero, fmt.Errorf("auth: DecodeClaims: the claim of the field %s is not of its type", bad)
	}
	return value, nil
}
