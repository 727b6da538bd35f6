package bearer_test

import (
	"encoding/base64"
	"math/big"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/bearer"
	"github.com/sallyport/sallyport/authz"
)

// No option turns verification off. Whoever adds a field thinks about it here.
func TestGO_2026_4703_NoOptionSwitchesVerificationOff(t *testing.T) {
	want := []string{
		"Issuer", "Audience", "Keys", "Introspection", "Algorithms", "Leeway", "Types", "MaxLifetime", "Cache", "Revoked", "DPoP",
		"RequireDPoP", "ClientCertificate", "Cookie", "Resource", "Realm", "ScopeClaim", "RolesClaim", "ClientClaim",
	}
	var got []string
	for f := range reflect.TypeFor[bearer.Config]().Fields() {
		got = append(got, f.Name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the fields are %q, want %q", got, want)
	}
}

// A door that does not say whom tokens are for is never built.
func TestCVE_2024_5798_AudienceIsRequired(t *testing.T) {
	for name, audience := range map[string][]string{"nil": nil, "none": {}, "an empty one": {""}, "one of them empty": {"api", ""}} {
		t.Run(name, func(t *testing.T) {
			_, err := bearer.New(bearer.Config{Issuer: testIssuer, Audience: audience, Keys: static(t, hsKey())})
			if err == nil || !strings.Contains(err.Error(), "Config.Audience") {
				t.Errorf("got %v", err)
			}
		})
	}
	refuse(t, newAuthenticator(t), mint(t, hsKey(), goodClaims().with("aud", nil)), "audience")
}

func TestGO_2026_5732_ExpiryIsRequired(t *testing.T) {
	a := newAuthenticator(t)
	for name, exp := range map[string]any{
		"missing": nil, "zero": 0, "a text": "9999999999", "huge": 1e300, "beyond int64": rawJSON("18446744073709551616"), "negative": -1, "null": null, "an array": []int{9999999999},
	} {
		t.Run(name, func(t *testing.T) { refuse(t, a, mint(t, hsKey(), goodClaims().with("exp", exp)), "") })
	}
}

// An encrypted token is no JWS, and nothing here can decrypt one.
func TestCVE_2025_27144_JWEIsRefused(t *testing.T) {
	a := newAuthenticator(t)
	for name, token := range map[string]string{
		"compact":            b64(`{"alg":"dir","enc":"A128GCM"}`) + "..AAAA.AAAA.AAAA",
		"p2c bomb":           b64(`{"alg":"PBES2-HS256+A128KW","p2c":2147483647,"enc":"A128GCM"}`) + ".AAAA.AAAA.AAAA.AAAA",
		"alg of an JWE":      mintText(t, hsKey(), `{"alg":"dir","enc":"A128GCM","typ":"at+jwt"}`, goodClaims().String()),
		"zip":                mintText(t, hsKey(), `{"alg":"HS256","zip":"DEF","typ":"at+jwt"}`, goodClaims().String()),
		"JSON serialization": `{"payload":"e30","signatures":[{"protected":"e30","signature":"AA"},{"protected":"e30","signature":"AA"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			if id, err := a.Authenticate(request(token)); id != nil || err == nil {
				t.Errorf("got %v, %v", id, err)
			}
		})
	}
}

// A key that the token brings along, or points at, is never used.
func TestCVE_2018_0114_KeysOfTheToken(t *testing.T) {
	thief := generate("ES256")
	public, err := thief.Public()
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := public.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	fetched := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fetched++
		_, _ = w.Write([]byte(`{"keys":[` + string(asJSON) + `]}`))
	}))
	defer server.Close()
	a := newAuthenticator(t, func(c *bearer.Config) { c.Keys = static(t, esKey()) })
	for name, member := range map[string]string{
		"jwk": `"jwk":` + string(asJSON),
		"jku": `"jku":"` + server.URL + `"`,
		"x5u": `"x5u":"` + server.URL + `"`,
		"x5c": `"x5c":["` + base64.StdEncoding.EncodeToString([]byte("a certificate of somebody else")) + `"]`,
	} {
		for _, kid := range []string{esKey().ID(), thief.ID()} {
			t.Run(name, func(t *testing.T) {
				refuse(t, a, mintText(t, thief, `{"alg":"ES256","typ":"at+jwt","kid":"`+kid+`",`+member+`}`, goodClaims().String()), "")
			})
		}
	}
	if fetched != 0 {
		t.Errorf("%d URLs of tokens were fetched", fetched)
	}
}

// ECDSA signatures of zeros, and of the group's order, verify nothing.
func TestCVE_2022_21449_PsychicSignatures(t *testing.T) {
	a := newAuthenticator(t, func(c *bearer.Config) { c.Keys = static(t, esKey()) })
	signed := strings.Join(strings.Split(mint(t, esKey(), goodClaims()), ".")[:2], ".")
	order, _ := new(big.Int).SetString("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", 16)
	zero := make([]byte, 32)
	for name, signature := range map[string][]byte{
		"zeros": append(slices.Clone(zero), zero...), "order": append(order.Bytes(), order.Bytes()...), "r of zero": append(slices.Clone(zero), order.Bytes()...), "empty": {0},
	} {
		t.Run(name, func(t *testing.T) { refuse(t, a, signed+"."+b64(string(signature)), "signature") })
	}
}

// Every algorithm by its own name alone: "Ed25519" is fully specified (RFC 9864),
// "EdDSA" the older name, and a key has one of them.
func TestRFC8725bis_FullySpecifiedNames(t *testing.T) {
	for _, alg := range []string{"Ed25519", "EdDSA"} {
		key := generate(alg)
		a := newAuthenticator(t, func(c *bearer.Config) { c.Keys = static(t, key) })
		accept(t, a, mint(t, key, goodClaims()))
		for _, other := range []string{"Ed25519", "EdDSA", "ed25519", "ES256", "none"} {
			if other != alg {
				refuse(t, a, mintText(t, key, `{"alg":"`+other+`","typ":"at+jwt","kid":"`+key.ID()+`"}`, goodClaims().String()), "")
			}
		}
	}
}

// The challenge says what authentication would do (RFC 9470 §3), and the token of a
// better one gets in.
func TestRFC9470_3_StepUp(t *testing.T) {
	a := newAuthenticator(t)
	h := auth.Require(a)(authz.Require(authz.ACR("phr", "phrh"), authz.MaxAge(5*time.Minute))(next))
	now := time.Now().Unix()
	for _, tt := range []struct {
		name   string
		claims claims
		need   string // "" is let in
	}{
		{"no acr", goodClaims(), `acr_values="phr phrh"`},
		{"a weaker one", goodClaims().with("acr", "pwd", "auth_time", now), `acr_values="phr phrh"`},
		{"too long ago", goodClaims().with("acr", "phr", "auth_time", now-600), `max_age="300"`},
		{"nobody knows when", goodClaims().with("acr", "phr"), `max_age="300"`},
		{"it", goodClaims().with("acr", "phr", "auth_time", now), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, request(mint(t, hsKey(), tt.claims)))
			want := `Bearer realm="api", error="insufficient_user_authentication", error_description="A stronger or a newer authentication is required.", ` + tt.need
			switch {
			case tt.need == "" && w.Code != http.StatusOK:
				t.Errorf("got %d, want it let in", w.Code)
			case tt.need != "" && (w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") != want):
				t.Errorf("got %d, %q, want %q", w.Code, w.Header()["Www-Authenticate"], want)
			}
		})
	}
}
