package bearer_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/bearer"
	"github.com/sallyport/sallyport/auth/jwk"
)

// A token has one form: three segments of canonical base64url.
func TestRFC7515_7_1_CompactForm(t *testing.T) {
	a := newAuthenticator(t)
	good := mint(t, hsKey(), goodClaims())
	accept(t, a, good)
	parts := strings.Split(good, ".")
	join := func(p ...string) string { return strings.Join(p, ".") }
	for _, tt := range []struct{ name, token string }{
		{"no dot", "abc"},
		{"one dot", join(parts[0], parts[1])},
		{"three dots", good + ".AAAA"},
		{"a dot at the end", good + "."},
		{"a dot in front", "." + good},
		{"JWE, five parts", join(parts[0], parts[1], parts[2], parts[2], parts[2])},
		{"JWE, empty parts", "eyJhbGciOiJkaXIifQ...."},
		{"only dots", strings.Repeat(".", 10_000)},
		{"no header", join("", parts[1], parts[2])},
		{"no payload", join(parts[0], "", parts[2])},
		{"no signature", join(parts[0], parts[1], "")},
		{"nothing but dots", ".."},
		{"padding", join(parts[0], parts[1], parts[2]+"=")},
		{"standard alphabet", join(parts[0], parts[1], "+"+parts[2][1:])},
		{"standard alphabet, slash", join(parts[0], parts[1], "/"+parts[2][1:])},
		{"tilde", join(parts[0], parts[1], "~"+parts[2][1:])},
		{"a character too many", good + "A"},
		{"a character too few", good[:len(good)-1]},
		{"cut header", join(parts[0][1:], parts[1], parts[2])},
		{"unused bits in the signature", good[:len(good)-1] + nextInGroup(good[len(good)-1])},
		{"20 KiB", good + strings.Repeat("A", 20<<10)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if id, err := a.Authenticate(request(tt.token)); err == nil || id != nil {
				t.Errorf("got %v, %v, want refused", id, err)
			}
			switch tt.name {
			case "no payload", "a character too many", "a character too few":
				return // by the signature: the form may be good
			}
			if _, _, _, err := bearer.ParseJWS(tt.token); err == nil {
				t.Error("parsed")
			}
		})
	}
}

// nextInGroup returns the base64url character whose value differs from c's in
// the lowest bit, which does not count at the end of 32 bytes.
func nextInGroup(c byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, c)^1])
}

// Line breaks and white space, which Go's base64 skips or others trim, would
// give one token endless spellings.
func TestRFC7515_2_NoOtherSpelling(t *testing.T) {
	a := newAuthenticator(t)
	good := mint(t, hsKey(), goodClaims())
	for _, insert := range []string{"\n", "\r", "\r\n", " ", "\t", "\v", "\x00", "=", "\u00a0", "\u200b", "%2e"} {
		for i := 0; i <= len(good); i += 7 {
			spelled := good[:i] + insert + good[i:]
			if _, _, _, err := bearer.ParseJWS(spelled); err == nil {
				t.Fatalf("parsed with %q at %d", insert, i)
			}
			r := request("")
			r.Header["Authorization"] = []string{"Bearer " + spelled}
			if strings.Trim(spelled, " \t") == good {
				continue // blanks around are of the field, not of the token
			}
			if id, err := a.Authenticate(r); err == nil {
				t.Fatalf("accepted with %q at %d as %v", insert, i, id.Subject)
			}
		}
	}
	// The signature over the other spelling does not help.
	for _, payload := range []string{b64(goodClaims().String()) + "\n", "\r\n" + b64(goodClaims().String())} {
		signed := b64(header(hsKey())) + "." + payload
		signature, err := hsKey().Sign([]byte(signed))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Authenticate(request(signed + "." + b64(string(signature)))); err == nil {
			t.Errorf("a signed token with %q is accepted", payload[:1]+payload[len(payload)-1:])
		}
	}
	// Nor does one over unused bits: "e31" decodes to the same bytes as "e30".
	for _, payload := range []string{"e30", "e31"} {
		signature, err := hsKey().Sign([]byte(b64(header(hsKey())) + "." + payload))
		if err != nil {
			t.Fatal(err)
		}
		_, _, _, err = bearer.ParseJWS(b64(header(hsKey())) + "." + payload + "." + b64(string(signature)))
		if (err == nil) != (payload == "e30") {
			t.Errorf("payload %s: got %v", payload, err)
		}
	}
}

// Headers are signed here, so that nothing but the header can be the reason.
func TestRFC7515_4_Header(t *testing.T) {
	k := hsKey()
	id := k.ID()
	for _, tt := range []struct {
		name, header string
		reason       string // "" if accepted
	}{
		{"good", `{"alg":"HS256","kid":"` + id + `","typ":"at+jwt"}`, ""},
		{"another order, white space", " {\n\"typ\" :\t\"at+jwt\" , \"kid\":\"" + id + "\",\r\n\"alg\":\"HS256\" } ", ""},
		{"no kid, one key", `{"alg":"HS256","typ":"at+jwt"}`, ""},
		{"escapes", `{"\u0061lg":"HS\u003256","typ":"at\u002bjwt"}`, ""},
		{"unknown members", `{"alg":"HS256","typ":"at+jwt","x":{"y":[1,2]},"iss":"https://evil.example"}`, ""},

		{"empty object", `{}`, "header"},
		{"null", `null`, "header"},
		{"array", `["alg","HS256"]`, "header"},
		{"string", `"HS256"`, "header"},
		{"not JSON", `alg=HS256`, "header"},
		{"single quotes", `{'alg':'HS256'}`, "header"},
		{"cut", `{"alg":"HS256"`, "header"},
		{"trailing data", `{"alg":"HS256","typ":"at+jwt"}{}`, "header"},
		{"trailing comma", `{"alg":"HS256","typ":"at+jwt",}`, "header"},
		{"NUL", "{\"alg\":\"HS256\",\"typ\":\"at+jwt\"}\x00", "header"},
		{"byte order mark", "\xef\xbb\xbf" + `{"alg":"HS256","typ":"at+jwt"}`, "header"},
		{"invalid UTF-8", "{\"alg\":\"HS256\",\"typ\":\"at+jwt\",\"x\":\"\xff\"}", "header"},
		{"lone surrogate", `{"alg":"HS256","typ":"at+jwt","x":"\ud800"}`, "header"},
		{"comment", `{"alg":"HS256","typ":"at+jwt"/**/}`, "header"},
		{"too deep", `{"alg":"HS256","typ":"at+jwt","x":` + strings.Repeat("[", 9) + strings.Repeat("]", 9) + `}`, "header"},
		{"too long", `{"alg":"HS256","typ":"at+jwt","x":"` + strings.Repeat("a", 4096) + `"}`, "header"},
		{"too many members", `{"alg":"HS256","typ":"at+jwt"` + members(40) + `}`, "header"},

		{"duplicate alg", `{"alg":"none","alg":"HS256","typ":"at+jwt"}`, "header"},
		{"duplicate alg, escaped", `{"alg":"HS256","\u0061lg":"none","typ":"at+jwt"}`, "header"},
		{"alg and ALG", `{"alg":"HS256","ALG":"none","typ":"at+jwt"}`, "header"},
		{"kid twice", `{"alg":"HS256","kid":"` + id + `","kid":"x","typ":"at+jwt"}`, "header"},
		{"unknown member twice", `{"alg":"HS256","typ":"at+jwt","x":1,"x":1}`, "header"},

		{"no alg", `{"typ":"at+jwt"}`, "header"},
		{"alg null", `{"alg":null,"typ":"at+jwt"}`, "header"},
		{"alg empty", `{"alg":"","typ":"at+jwt"}`, "header"},
		{"alg a number", `{"alg":256,"typ":"at+jwt"}`, "header"},
		{"alg an array", `{"alg":["HS256"],"typ":"at+jwt"}`, "header"},
		{"alg an object", `{"alg":{"HS256":1},"typ":"at+jwt"}`, "header"},
		{"only ALG", `{"ALG":"HS256","typ":"at+jwt"}`, "header"},
		{"alg of another case", `{"alg":"hs256","typ":"at+jwt"}`, "algorithm"},
		{"alg with a space", `{"alg":"HS256 ","typ":"at+jwt"}`, "algorithm"},
		{"alg of another length", `{"alg":"HS384","typ":"at+jwt"}`, "no key"},
		{"alg unknown", `{"alg":"ES256K","typ":"at+jwt"}`, "algorithm"},
		{"alg of encryption", `{"alg":"dir","enc":"A256GCM","typ":"at+jwt"}`, "algorithm"},
		{"Kelvin sign", "{\"alg\":\"HS256\",\"typ\":\"at+jwt\",\"\u212aid\":\"x\"}", ""},

		{"typ null", `{"alg":"HS256","typ":null}`, "header"},
		{"typ a number", `{"alg":"HS256","typ":1}`, "header"},
		{"typ empty", `{"alg":"HS256","typ":""}`, "header"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tok := mintText(t, k, tt.header, goodClaims().String())
			if tt.reason == "" {
				accept(t, newAuthenticator(t), tok)
			} else {
				refuse(t, newAuthenticator(t), tok, tt.reason)
			}
		})
	}
}

func members(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"m%d":1`, i)
	}
	return b.String()
}

// Nothing that is critical is understood, nor what changes the payload.
func TestRFC7515_4_1_11_CriticalAndOtherExtensions(t *testing.T) {
	a := newAuthenticator(t)
	for _, member := range []string{
		`"crit":["exp"],"exp":1`, `"crit":["b64"],"b64":true`, `"crit":["b64"],"b64":false`, `"crit":[]`, `"crit":null`, `"crit":"x"`,
		`"crit":["alg"]`, `"crit":["x","x"],"x":1`, `"crit":["http://example.com/UNDEFINED"],"http://example.com/UNDEFINED":true`, `"cr\u0069t":["x"]`,
		`"b64":false`, `"b64":true`, `"b64":null`,
		`"zip":"DEF"`, `"zip":null`,
		`"cty":"JWT"`, `"cty":"application/json"`, `"cty":""`,
	} {
		t.Run(member, func(t *testing.T) {
			refuse(t, a, mintText(t, hsKey(), `{"alg":"HS256","typ":"at+jwt",`+member+`}`, goodClaims().String()), "extension")
		})
	}
}

// A key that a token brings along or points at is not used, and nothing is
// fetched for it (CVE-2018-0114, CVE-2025-24976).
func TestRFC8725_3_10_EmbeddedKeys(t *testing.T) {
	var fetched atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { fetched.Add(1) }))
	defer srv.Close()
	attacker := generate("ES256")
	public, err := json.Marshal(attacker)
	if err != nil {
		t.Fatal(err)
	}
	good := esKey()
	a := newAuthenticator(t, func(c *bearer.Config) { c.Keys = static(t, good) })
	for _, member := range []string{
		`"jwk":` + string(public), `"jku":"` + srv.URL + `"`, `"x5u":"` + srv.URL + `"`, `"x5c":["MIIB"]`, `"x5t":"AAAA"`, `"x5t#S256":"AAAA"`,
		`"iss":"` + srv.URL + `"`,
	} {
		t.Run(member[:6], func(t *testing.T) {
			for _, kid := range []string{`"kid":"` + good.ID() + `",`, `"kid":"` + attacker.ID() + `",`, ""} {
				head := `{"alg":"ES256",` + kid + member + `,"typ":"at+jwt"}`
				refuse(t, a, mintText(t, attacker, head, goodClaims().String()), "")
			}
			accept(t, a, mintText(t, good, `{"alg":"ES256",`+member+`,"typ":"at+jwt"}`, goodClaims().String()))
		})
	}
	if n := fetched.Load(); n != 0 {
		t.Errorf("fetched %d times, want 0", n)
	}
}

func TestRFC7515_4_1_4_KeyID(t *testing.T) {
	one, two := hsKey(), generate("HS256")
	var asked []string
	inner := static(t, one, two)
	a := newAuthenticator(t, func(c *bearer.Config) {
		c.Keys = setFunc(func(ctx context.Context, id, alg string) (jwk.Key, error) {
			asked = append(asked, id)
			return inner.Lookup(ctx, id, alg)
		})
	})
	head := func(kid string) string { return `{"alg":"HS256","typ":"at+jwt","kid":` + kid + `}` }
	accept(t, a, mintText(t, two, head(`"`+two.ID()+`"`), goodClaims().String()))
	refuse(t, a, mintText(t, one, head(`"`+two.ID()+`"`), goodClaims().String()), "signature")
	for _, kid := range []string{
		`"unknown"`, `"../../../../dev/null"`, `"x' UNION SELECT 'secret"`, `"*"`, `"*)(uid=*"`, `"http://127.0.0.1/"`, `"\u0000"`,
		`"` + strings.Repeat("k", 256) + `"`, `"` + strings.ToUpper(two.ID()) + `"`, `"` + two.ID() + ` "`,
	} {
		refuse(t, a, mintText(t, two, head(kid), goodClaims().String()), "no key")
	}
	n := len(asked)
	for _, kid := range []string{`"` + strings.Repeat("k", 257) + `"`, `1`, `null`, `{}`, `["` + two.ID() + `"]`, `""`} {
		refuse(t, a, mintText(t, two, head(kid), goodClaims().String()), "header")
	}
	if len(asked) != n {
		t.Error("a kid that is refused reached the key set")
	}
	refuse(t, a, mintText(t, two, `{"alg":"HS256","typ":"at+jwt"}`, goodClaims().String()), "no key") // which of the two?
}

// The kind of a token is part of what is checked: other kinds of JWT that an
// issuer signs with the same key are no access tokens.
func TestRFC8725_3_11_TypConfusion(t *testing.T) {
	for _, tt := range []struct {
		name  string
		types []string
		typ   string // of the header; "-" for none
		ok    bool
	}{
		{"default", nil, "at+jwt", true},
		{"default, case", nil, "AT+JWT", true},
		{"default, prefixed", nil, "application/at+jwt", true},
		{"default, prefixed, case", nil, "Application/AT+jwt", true},
		{"absent", nil, "-", false},
		{"JWT", nil, "JWT", false},
		{"ID token", nil, "id_token+jwt", false},
		{"DPoP proof", nil, "dpop+jwt", false},
		{"logout token", nil, "logout+jwt", false},
		{"security event", nil, "secevent+jwt", false},
		{"client assertion", nil, "client-authentication+jwt", false},
		{"another type tree", nil, "text/at+jwt", false},
		{"prefix twice", nil, "application/application/at+jwt", false},
		{"prefix alone", nil, "application/", false},
		{"parameter", nil, "at+jwt;v=1", false},
		{"space", nil, "at+jwt ", false},
		{"at+jwt is longer", nil, "at+jwtx", false},
		{"JWT asked for", []string{"JWT"}, "JWT", true},
		{"JWT asked for, case", []string{"JWT"}, "jwt", true},
		{"JWT asked for, prefixed", []string{"JWT"}, "application/jwt", true},
		{"JWT asked for, at+jwt sent", []string{"JWT"}, "at+jwt", false},
		{"JWT asked for, absent", []string{"JWT"}, "-", false},
		{"absent asked for", []string{""}, "-", true},
		{"absent asked for, JWT sent", []string{""}, "JWT", false},
		{"several", []string{"at+jwt", "JWT", ""}, "-", true},
		{"prefixed asked for", []string{"application/at+jwt"}, "at+jwt", true},
		{"another tree asked for", []string{"text/x"}, "text/x", true},
		{"another tree asked for, bare", []string{"text/x"}, "x", false},
		{"letters that fold to ASCII", []string{"k+jwt"}, "\u212a+jwt", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			head := `{"alg":"HS256"}`
			if tt.typ != "-" {
				head = fmt.Sprintf(`{"alg":"HS256","typ":%q}`, tt.typ)
			}
			a := newAuthenticator(t, func(c *bearer.Config) { c.Types = tt.types })
			tok := mintText(t, hsKey(), head, goodClaims().String())
			if tt.ok {
				accept(t, a, tok)
			} else {
				refuse(t, a, tok, "another type")
			}
		})
	}
}

// The claims of RFC 7519 §4.1, signed: each row differs from a good token in one.
func TestRFC7519_4_1_Claims(t *testing.T) {
	long := strings.Repeat("s", 256)
	for _, tt := range []struct {
		name   string
		claims claims
		reason string // "" if accepted
	}{
		{"iss missing", goodClaims().with("iss", nil), "another issuer"},
		{"iss null", goodClaims().with("iss", null), "wrong type"},
		{"iss empty", goodClaims().with("iss", ""), "wrong type"},
		{"iss an array", goodClaims().with("iss", []string{testIssuer}), "wrong type"},
		{"iss with a slash", goodClaims().with("iss", testIssuer+"/"), "another issuer"},
		{"iss of another case", goodClaims().with("iss", strings.ToUpper(testIssuer)), "another issuer"},
		{"iss with a suffix", goodClaims().with("iss", testIssuer+".evil.example"), "another issuer"},
		{"iss with a blank", goodClaims().with("iss", testIssuer+" "), "another issuer"},

		{"aud missing", goodClaims().with("aud", nil), "another audience"},
		{"aud null", goodClaims().with("aud", null), "wrong type"},
		{"aud empty", goodClaims().with("aud", ""), "wrong type"},
		{"aud another", goodClaims().with("aud", "https://other.example.com"), "another audience"},
		{"aud a prefix", goodClaims().with("aud", testAudience[:len(testAudience)-1]), "another audience"},
		{"aud longer", goodClaims().with("aud", testAudience+"/"), "another audience"},
		{"aud of another case", goodClaims().with("aud", strings.ToUpper(testAudience)), "another audience"},
		{"aud last in an array", goodClaims().with("aud", []string{"x", testAudience}), ""},
		{"aud first in an array", goodClaims().with("aud", []string{testAudience, "x"}), ""},
		{"aud a list in a string", goodClaims().with("aud", "x "+testAudience), "another audience"},

		{"sub missing", goodClaims().with("sub", nil), "missing"},
		{"sub null", goodClaims().with("sub", null), "wrong type"},
		{"sub empty", goodClaims().with("sub", ""), "wrong type"},
		{"sub a number", goodClaims().with("sub", 1), "wrong type"},
		{"sub an object", goodClaims().with("sub", claims{}), "wrong type"},
		{"sub of 255 bytes", goodClaims().with("sub", long[:255]), ""},
		{"sub of 256 bytes", goodClaims().with("sub", long), "wrong type"},

		{"exp missing", goodClaims().with("exp", nil), "missing"},
		{"exp null", goodClaims().with("exp", null), "wrong type"},
		{"exp a string", goodClaims().with("exp", "9999999999"), "wrong type"},
		{"exp true", goodClaims().with("exp", true), "wrong type"},
		{"exp 0", goodClaims().with("exp", 0), "expired"},
		{"exp negative", goodClaims().with("exp", -1), "wrong type"},
		{"exp 9999-12-31", goodClaims().with("exp", 253402300799), ""},
		{"exp 10000-01-01", goodClaims().with("exp", 253402300800), "wrong type"},
		{"exp 1e10", goodClaims().with("exp", rawJSON("1e10")), ""},
		{"exp 1e19", goodClaims().with("exp", rawJSON("1e19")), "wrong type"},
		{"exp 1e300", goodClaims().with("exp", rawJSON("1e300")), "wrong type"},
		{"exp 1e999", goodClaims().with("exp", rawJSON("1e999")), "wrong type"},
		{"exp 2^63", goodClaims().with("exp", rawJSON("9223372036854775808")), "wrong type"},
		{"exp -2^63", goodClaims().with("exp", rawJSON("-9223372036854775808")), "wrong type"},
		{"exp 2^64 and an hour", goodClaims().with("exp", rawJSON("18446744073709555216")), "wrong type"},
		{"nbf null", goodClaims().with("nbf", null), "wrong type"},
		{"nbf a string", goodClaims().with("nbf", "1"), "wrong type"},
		{"nbf negative", goodClaims().with("nbf", -1), "wrong type"},
		{"nbf 1e19", goodClaims().with("nbf", rawJSON("1e19")), "wrong type"},
		{"nbf 1e300", goodClaims().with("nbf", rawJSON("1e300")), "wrong type"},
		{"nbf 10000000000000000000", goodClaims().with("nbf", rawJSON("10000000000000000000")), "wrong type"},
		{"nbf 9999-12-31", goodClaims().with("nbf", 253402300799), "not valid yet"},
		{"nbf 0", goodClaims().with("nbf", 0), ""},
		{"iat null", goodClaims().with("iat", null), "wrong type"},
		{"iat a string", goodClaims().with("iat", "1"), "wrong type"},
		{"iat 1e19", goodClaims().with("iat", rawJSON("1e19")), "wrong type"},
		{"iat with a fraction", goodClaims().with("iat", rawJSON("1700000000.25")), ""},
		{"iat -0", goodClaims().with("iat", rawJSON("-0")), ""},
		{"auth_time a string", goodClaims().with("auth_time", "1"), "wrong type"},
		{"auth_time null", goodClaims().with("auth_time", null), "wrong type"},
		{"auth_time 1e300", goodClaims().with("auth_time", rawJSON("1e300")), "wrong type"},

		{"jti a number", goodClaims().with("jti", 1), "wrong type"},
		{"jti null", goodClaims().with("jti", null), "wrong type"},
		{"client_id a number", goodClaims().with("client_id", 1), "wrong type"},
		{"acr an array", goodClaims().with("acr", []string{"1"}), "wrong type"},
		{"amr a string", goodClaims().with("amr", "pwd"), "wrong type"},
		{"amr of numbers", goodClaims().with("amr", []int{1}), "wrong type"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tok := mint(t, hsKey(), tt.claims)
			if tt.reason == "" {
				accept(t, newAuthenticator(t), tok)
			} else {
				refuse(t, newAuthenticator(t), tok, tt.reason)
			}
		})
	}
}

// No odd shape of aud ever matches.
func TestCVE_2020_26160_AudienceShapes(t *testing.T) {
	a := newAuthenticator(t)
	for _, aud := range []string{
		`[]`, `[1]`, `{}`, `null`, `[""]`, `["",""]`, `[null]`, `[["` + testAudience + `"]]`, `{"` + testAudience + `":1}`, `true`, `0`,
		`["x","y"]`, `["` + testAudience + `",1]`, `["` + testAudience + `",null]`, `[1,"` + testAudience + `"]`, `["` + testAudience + `",""]`,
	} {
		refuse(t, a, mint(t, hsKey(), goodClaims().with("aud", rawJSON(aud))), "")
	}
	two := newAuthenticator(t, func(c *bearer.Config) { c.Audience = []string{"one", "two"} })
	for aud, ok := range map[string]bool{`"one"`: true, `"two"`: true, `["x","two"]`: true, `"three"`: false, `["x"]`: false, `"one two"`: false} {
		tok := mint(t, hsKey(), goodClaims().with("aud", rawJSON(aud)))
		if _, err := two.Authenticate(request(tok)); (err == nil) != ok {
			t.Errorf("aud %s: got %v, want accepted %v", aud, err, ok)
		}
	}
}

// The payload is one JSON object that every reader understands alike.
func TestRFC7519_4_StrictClaims(t *testing.T) {
	good := goodClaims().String()
	add := func(member string) string { return good[:len(good)-1] + "," + member + "}" }
	a := newAuthenticator(t)
	accept(t, a, mintText(t, hsKey(), header(hsKey()), " "+good+"\n"))
	accept(t, a, mintText(t, hsKey(), header(hsKey()), strings.Replace(good, `"sub"`, `"s\u0075b"`, 1)))
	for name, payload := range map[string]string{
		"empty":                 "",
		"null":                  "null",
		"array":                 "[" + good + "]",
		"string":                `"alice"`,
		"number":                "1",
		"two objects":           good + " " + good,
		"trailing brace":        good + "}",
		"cut":                   good[:len(good)-1],
		"invalid UTF-8":         strings.Replace(good, "alice", "al\xffce", 1),
		"lone surrogate":        strings.Replace(good, "alice", `\udc00`, 1),
		"byte order mark":       "\xef\xbb\xbf" + good,
		"sub twice":             add(`"sub":"admin"`),
		"sub twice, the same":   add(`"sub":"alice"`),
		"sub twice, escaped":    add(`"\u0073ub":"admin"`),
		"exp twice":             add(`"exp":9999999999`),
		"aud twice":             add(`"aud":"x"`),
		"SUB beside sub":        add(`"SUB":"admin"`),
		"Iss beside iss":        add(`"Iss":"x"`),
		"EXP beside exp":        add(`"EXP":1`),
		"long s beside sub":     add("\"\u017fub\":\"admin\""),
		"unknown member twice":  add(`"x":1,"x":2`),
		"twice in an object":    add(`"x":{"a":1,"a":2}`),
		"too deep":              add(`"x":` + strings.Repeat("[", 20) + strings.Repeat("]", 20)),
		"1,100 items":           add(`"x":[0` + strings.Repeat(",0", 1100) + `]`),
		"300 members":           add(members(300)[1:]),
		"5,000 values in pairs": add(`"x":[[0` + strings.Repeat(`],[0`, 1000) + strings.Repeat(`],[0,0,0,0`, 600) + `]]`),
	} {
		t.Run(name, func(t *testing.T) {
			refuse(t, a, mintText(t, hsKey(), header(hsKey()), payload), "claims are not")
		})
	}
	// A lone variant of a claim that is checked only where it is there would be
	// overlooked here and honored by a reader that ignores case, or the reverse.
	for _, member := range []string{`"NBF":1`, `"Nbf":9999999999`, `"CNF":{}`, `"Auth_Time":1`, `"ACR":"1"`, `"Amr":[]`} {
		t.Run(member, func(t *testing.T) {
			refuse(t, a, mintText(t, hsKey(), header(hsKey()), add(member)), "wrong type")
		})
	}
	// Names that are nobody's are.
	id := accept(t, a, mintText(t, hsKey(), header(hsKey()), add(`"Tenant":"x","subx":1,"":2,"s":3`)))
	if v, ok := auth.Claim[string](id, "Tenant"); v != "x" || !ok {
		t.Errorf("claim Tenant = %q, %v", v, ok)
	}
}

// RFC 9068 §2.2 requires more of a token that says it is at+jwt.
func TestRFC9068_2_2_RequiredClaims(t *testing.T) {
	both := newAuthenticator(t, func(c *bearer.Config) { c.Types = []string{"at+jwt", "JWT"} })
	for _, claim := range []string{"iss", "exp", "aud", "sub", "client_id", "iat", "jti"} {
		t.Run(claim, func(t *testing.T) {
			c := goodClaims().with(claim, nil).String()
			for _, typ := range []string{"at+jwt", "AT+JWT", "application/at+jwt"} {
				head := `{"alg":"HS256","typ":"` + typ + `"}`
				refuse(t, both, mintText(t, hsKey(), head, c), "")
			}
			jwt := mintText(t, hsKey(), `{"alg":"HS256","typ":"JWT"}`, c)
			switch claim {
			case "client_id", "iat", "jti":
				accept(t, both, jwt)
			default:
				refuse(t, both, jwt, "")
			}
		})
	}
}

// A token that is bound to a key is no bearer token: whoever stole it could use it.
func TestRFC7800_3_1_BoundTokens(t *testing.T) {
	a := newAuthenticator(t)
	for _, cnf := range []string{
		`{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}`, `{"x5t#S256":"bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}`,
		`{"jwk":{}}`, `{"kid":"x"}`, `{}`, `null`, `"x"`, `[]`,
	} {
		refuse(t, a, mint(t, hsKey(), goodClaims().with("cnf", rawJSON(cnf))), "bound")
	}
}

// alg none in every spelling, with and without a signature.
func TestCVE_2015_9235_AlgNone(t *testing.T) {
	for _, key := range []jwk.Key{hsKey(), esKey()} {
		a := newAuthenticator(t, func(c *bearer.Config) { c.Keys = static(t, key) })
		for _, alg := range []string{`"none"`, `"None"`, `"NONE"`, `"nOnE"`, `"none "`, `" none"`, `"\u006eone"`, `"n\u006fne\u0000"`, `""`, `null`, `false`, `0`} {
			for _, kid := range []string{"", `"kid":"` + key.ID() + `",`} {
				head := b64(`{"alg":` + alg + `,` + kid + `"typ":"at+jwt"}`)
				payload := b64(goodClaims().String())
				for _, signature := range []string{"", "AAAA", b64("none"), strings.Split(mint(t, key, goodClaims()), ".")[2]} {
					if id, err := a.Authenticate(request(head + "." + payload + "." + signature)); err == nil {
						t.Errorf("alg %s, signature %q: accepted as %v", alg, signature, id.Subject)
					}
				}
			}
		}
	}
}

// A public key is no HMAC secret, in whatever form it is written.
func TestCVE_2022_29217_PublicKeyAsSecret(t *testing.T) {
	for _, alg := range []string{"ES256", "RS256", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			key, forms := publicForms(t, alg)
			a := newAuthenticator(t, func(c *bearer.Config) { c.Keys = static(t, key) })
			accept(t, a, mint(t, key, goodClaims()))
			for form, secret := range forms {
				for _, mac := range []string{"HS256", "HS384", "HS512"} {
					for _, kid := range []string{"", `"kid":"` + key.ID() + `",`} {
						signed := b64(`{"alg":"`+mac+`",`+kid+`"typ":"at+jwt"}`) + "." + b64(goodClaims().String())
						tok := signed + "." + b64(string(hmacOf(mac, secret, signed)))
						if id, err := a.Authenticate(request(tok)); !errors.Is(err, auth.ErrInvalid) {
							t.Errorf("%s with the key as %s: got %v, %v", mac, form, id, err)
						}
					}
				}
			}
		})
	}
}

// The signature is looked at before the claims: whatever they say, a token that
// nobody signed is refused for its signature, and nothing of it comes out.
func TestCVE_2024_51744_SignatureFirst(t *testing.T) {
	a := newAuthenticator(t)
	other := generate("HS256")
	for name, c := range map[string]string{
		"good": goodClaims().String(), "expired": goodClaims().with("exp", 1).String(), "other issuer": goodClaims().with("iss", "x").String(),
		"not JSON": "{", "duplicates": `{"sub":"a","sub":"b"}`, "bound": goodClaims().with("cnf", claims{}).String(),
	} {
		t.Run(name, func(t *testing.T) {
			refuse(t, a, mintText(t, other, header(hsKey()), c), "signature")
		})
	}
	parts := strings.Split(mint(t, hsKey(), goodClaims()), ".")
	forged := strings.Split(mint(t, other, goodClaims().with("sub", "admin")), ".")
	refuse(t, a, parts[0]+"."+forged[1]+"."+parts[2], "signature")
	refuse(t, a, b64(strings.Replace(header(hsKey()), "typ", "x\":1,\"typ", 1))+"."+parts[1]+"."+parts[2], "signature")
	for i := range parts[2] {
		if i == len(parts[2])-1 {
			break
		}
		flipped := []byte(parts[2])
		flipped[i] = "AB"[map[bool]int{true: 1}[flipped[i] == 'A']]
		refuse(t, a, parts[0]+"."+parts[1]+"."+string(flipped), "signature")
	}
}

// A token cut or extended is another token (CVE-2026-27840).
func TestCVE_2026_27840_TruncatedTokens(t *testing.T) {
	a := newAuthenticator(t)
	good := mint(t, hsKey(), goodClaims())
	for i := range len(good) {
		if _, err := a.Authenticate(request(good[:i])); err == nil {
			t.Fatalf("accepted cut to %d of %d bytes", i, len(good))
		}
	}
	for n := 1; n < 9; n++ {
		if _, err := a.Authenticate(request(good + strings.Repeat("A", n))); err == nil {
			t.Errorf("accepted with %d more characters", n)
		}
	}
}

// Tokens of any length cost little (CVE-2025-30204, CVE-2025-27144).
func TestCVE_2025_30204_BoundedWork(t *testing.T) {
	a := newAuthenticator(t)
	for name, tok := range map[string]string{
		"10 MiB of dots":        strings.Repeat(".", 10<<20),
		"10 MiB of letters":     strings.Repeat("A", 10<<20),
		"a dot, then 10 MiB":    "a." + strings.Repeat("A", 10<<20) + ".b",
		"16 KiB of dots":        strings.Repeat(".", 16<<10-8),
		"16 KiB of letters":     strings.Repeat("A", 16<<10-8),
		"a header of 12 KiB":    b64(`{"x":"`+strings.Repeat("a", 9<<10)+`"}`) + ".e30.AAAA",
		"a nest in the header":  b64(strings.Repeat("[", 9<<10)) + ".e30.AAAA",
		"a nest in the payload": b64(header(hsKey())) + "." + b64(strings.Repeat("[", 9<<10)) + ".AAAA",
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, _, err := bearer.ParseJWS(tok); err == nil && !strings.Contains(name, "payload") {
				t.Error("parsed")
			}
			r := request(tok)
			const runs = 20
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range runs {
				if _, err := a.Authenticate(r); err == nil {
					t.Fatal("accepted")
				}
			}
			runtime.ReadMemStats(&after)
			allocated := (after.TotalAlloc - before.TotalAlloc) / runs
			// A pool gives no promise, so what fits may cost its buffer anew; what
			// is too long must never get one.
			limit := uint64(64 << 10)
			if len(tok) > 16<<10 {
				limit = 4 << 10
			}
			if allocated > limit {
				t.Errorf("allocates %d bytes for each refusal, want at most %d", allocated, limit)
			}
		})
	}
}

// The ID token of the same issuer, for the same audience even, is no access token.
func TestCVE_2026_41164_IDTokenIsNoAccessToken(t *testing.T) {
	a := newAuthenticator(t)
	now := time.Now().Unix()
	idToken := claims{
		"iss": testIssuer, "sub": "alice", "aud": testAudience, "exp": now + 600, "iat": now, "nonce": "n-0S6_WzA2Mj", "at_hash": "x", "auth_time": now,
	}
	refuse(t, a, mintText(t, hsKey(), `{"alg":"HS256","typ":"JWT"}`, idToken.String()), "type")
	refuse(t, a, mintText(t, hsKey(), `{"alg":"HS256"}`, idToken.String()), "type")
	refuse(t, a, mintText(t, hsKey(), `{"alg":"HS256","typ":"at+jwt"}`, idToken.String()), "missing")
}

// A key that is gone from the set no longer verifies (CVE-2025-22149).
func TestCVE_2025_22149_RemovedKey(t *testing.T) {
	old, next := generate("ES256"), generate("ES256")
	ring, err := jwk.NewRing(jwk.RingConfig{Active: old})
	if err != nil {
		t.Fatal(err)
	}
	a := newAuthenticator(t, func(c *bearer.Config) { c.Keys = ring })
	tok := mint(t, ring.Active(), goodClaims())
	accept(t, a, tok)
	if err := ring.Rotate(next); err != nil {
		t.Fatal(err)
	}
	accept(t, a, tok)
	accept(t, a, mint(t, ring.Active(), goodClaims()))
	if err := ring.Drop(old.ID()); err != nil {
		t.Fatal(err)
	}
	refuse(t, a, tok, "no key")
}

// keyFor returns a new key, or one of the RSA key that is made only once.
func keyFor(t testing.TB, alg string) jwk.Key {
	t.Helper()
	if alg[0] != 'R' && alg[0] != 'P' {
		return generate(alg)
	}
	key, err := jwk.NewKey("rsa", alg, rsa2048())
	if err != nil {
		t.Fatal(err)
	}
	return key
}

var rsa2048 = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// SignCompact and this package agree, for every algorithm.
func TestEveryAlgorithm(t *testing.T) {
	for _, alg := range jwk.Algorithms() {
		t.Run(alg, func(t *testing.T) {
			key := keyFor(t, alg)
			a := newAuthenticator(t, func(c *bearer.Config) { c.Keys = static(t, key) })
			tok, err := key.SignCompact("at+jwt", []byte(goodClaims().String()))
			if err != nil {
				t.Fatal(err)
			}
			accept(t, a, tok)
			dot := strings.LastIndexByte(tok, '.')
			signature, err := base64.RawURLEncoding.DecodeString(tok[dot+1:])
			if err != nil {
				t.Fatal(err)
			}
			signature[len(signature)/2] ^= 1
			refuse(t, a, tok[:dot+1]+b64(string(signature)), "signature")
		})
	}
}
