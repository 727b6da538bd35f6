package auth_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/auth"
)

func TestDecodeClaims(t *testing.T) {
	type claims struct {
		Tenant string   `json:"tenant"`
		Groups []string `json:"groups,omitempty"`
		Level  int      `json:"level"`
		Nested struct {
			Plan string `json:"plan"`
		} `json:"nested"`
		Untagged string
		Hidden   string `json:"-"`
	}
	for _, tt := range []struct {
		name, object string
		want         claims
	}{
		{"all", `{"tenant":"acme","groups":["a","b"],"level":3,"more":{}}`, claims{Tenant: "acme", Groups: []string{"a", "b"}, Level: 3}},
		{"none of them", `{"sub":"x"}`, claims{}},
		{"null is missing", `{"tenant":null,"level":null}`, claims{}},
		{"another case is another claim", `{"TENANT":"evil","Tenant":"evil","ſ":"evil","Untagged":"evil","untagged":"evil","Hidden":"evil","-":"evil"}`, claims{}},
		{"another case beside the claim", `{"tenant":"acme","TENANT":"evil"}`, claims{Tenant: "acme"}},
		{"an escaped name", `{"\u0074enant":"acme"}`, claims{Tenant: "acme"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := auth.DecodeClaims[claims](&auth.Identity{Claims: auth.NewClaims(tt.object)})
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
	for _, tt := range []struct{ name, object, reason string }{
		{"the wrong type", `{"level":"canary"}`, "Level"},
		{"too large", `{"level":1e99}`, "Level"},
		{"no claims", ``, "no claims"},
		{"no object", `["canary"]`, "object"},
		{"not JSON", `{"level"`, "object"},
		{"a name twice", `{"level":1,"level":2}`, "object"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := auth.DecodeClaims[claims](&auth.Identity{Claims: auth.NewClaims(tt.object)})
			if err == nil || !strings.Contains(err.Error(), tt.reason) || strings.Contains(err.Error(), "canary") {
				t.Errorf("got %v, want %q and nothing of the claims", err, tt.reason)
			}
			if !reflect.DeepEqual(got, claims{}) {
				t.Errorf("got %+v beside the error", got)
			}
		})
	}
	if _, err := auth.DecodeClaims[map[string]any](&auth.Identity{Claims: auth.NewClaims(`{}`)}); err == nil {
		t.Error("a map was taken for a struct")
	}
	if _, err := auth.DecodeClaims[claims](nil); err == nil {
		t.Error("no identity has claims")
	}
}
