package bearer_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/bearer"
	httperr "github.com/sallyport/sallyport/errors"
)

// Whatever is taken for a token has one spelling: encoding what was decoded
// gives the same bytes.
func FuzzParseJWS(f *testing.F) {
	f.Add(mint(f, hsKey(), goodClaims()))
	f.Add(mint(f, esKey(), goodClaims()))
	for _, s := range []string{
		"", ".", "..", "...", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJIUzI1NiJ9.e30.AA", "eyJhbGciOiJIUzI1NiJ9.e31.AA",
		"eyJhbGciOiJIUzI1NiJ9\n.e30.AA", "eyJhbGciOiJIUzI1NiJ9.e30.AA==", "eyJhbGciOiJkaXIifQ....", strings.Repeat(".", 100),
		b64(`{"alg":"HS256","kid":"\u0000","typ":"JWT","x":[{}]}`) + "..AAAA", b64(`{"alg":"a","ALG":"b"}`) + ".e30.AAAA",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		head, payload, signature, err := bearer.ParseJWS(s)
		if err != nil {
			if !errors.Is(err, auth.ErrInvalid) {
				t.Fatalf("refused with %v, want ErrInvalid", err)
			}
			return
		}
		if again := b64(string(head)) + "." + b64(string(payload)) + "." + b64(string(signature)); again != s {
			t.Fatalf("accepted %q, encodes to %q", s, again)
		}
		var members map[string]any
		if err := json.Unmarshal(head, &members); err != nil {
			t.Fatalf("accepted a header that is no object: %v", err)
		}
		if alg, ok := members["alg"].(string); !ok || alg == "" {
			t.Fatalf("accepted a header without alg: %s", head)
		}
		for _, name := range []string{"crit", "b64", "zip", "cty"} {
			if _, ok := members[name]; ok {
				t.Fatalf("accepted a header with %s", name)
			}
		}
	})
}

// Whatever a request says, there is an identity or an error and never both, and
// nothing that the key did not sign is accepted: the field is cut and mixed of
// good and bad tokens, and only the good one may pass.
func FuzzAuthenticate(f *testing.F) {
	a := newAuthenticator(f)
	good := mint(f, hsKey(), goodClaims().with("exp", 253402300799))
	f.Add("Bearer "+good, "", "")
	f.Add("bearer  "+good, "", "q=1")
	f.Add("Bearer", "Bearer x", "access_token=1")
	f.Add("Bearer "+mint(f, generate("HS256"), goodClaims()), "", "access%5Ftoken=1")
	f.Add("Bearer a.b.c", "", ";access_token")
	f.Add("Basic YTpi", "Basic YTpi", "")
	f.Fuzz(func(t *testing.T, one, two, query string) {
		r := request("")
		r.Header["Authorization"] = []string{one}
		if two != "" {
			r.Header["Authorization"] = append(r.Header["Authorization"], two)
		}
		r.URL.RawQuery = query
		id, err := a.Authenticate(r)
		if (id == nil) == (err == nil) {
			t.Fatalf("got %v and %v", id, err)
		}
		var p *httperr.Problem
		switch {
		case err == nil:
			parameters, _ := url.ParseQuery(query)
			if two != "" || !strings.HasSuffix(strings.Trim(one, " \t"), good) || parameters.Has("access_token") {
				t.Fatalf("accepted %q, %q, %q", one, two, query)
			}
			if id.Subject != "alice" {
				t.Fatalf("subject = %q", id.Subject)
			}
		case errors.Is(err, auth.ErrNoCredentials), errors.Is(err, auth.ErrInvalid):
		case errors.As(err, &p) && p.Status == http.StatusBadRequest:
		default:
			t.Fatalf("got %v, want one of the three outcomes", err)
		}
	})
}

// Signed claims of any shape give a whole identity or none: the issuer, one of
// the audiences, a subject and a time to come are always there.
func FuzzClaims(f *testing.F) {
	a := newAuthenticator(f, func(c *bearer.Config) {
		c.Types, c.RolesClaim, c.ScopeClaim, c.ClientClaim = []string{"at+jwt", "JWT", ""}, "/access/roles", "scp", "azp"
	})
	f.Add(goodClaims().with("exp", 253402300799, "scope", nil, "scp", []string{"a"}, "azp", "x", "access", map[string]any{"roles": []string{"r"}}).String())
	f.Add(goodClaims().with("exp", 253402300799).String())
	for _, s := range []string{
		`{"iss":"` + testIssuer + `","sub":"a","aud":["x","` + testAudience + `"],"exp":2e10,"roles":"x","amr":["a"],"auth_time":1.5}`,
		`{"iss":"` + testIssuer + `","sub":"a","aud":"` + testAudience + `","exp":1e300,"nbf":1e19}`,
		`{"sub":"a","SUB":"b"}`, `{"cnf":{}}`, `[]`, `null`, ``, `{"scope":" "}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		id, err := a.Authenticate(request(mintText(t, hsKey(), `{"alg":"HS256"}`, payload)))
		if err != nil {
			if id != nil {
				t.Fatal("an identity beside an error")
			}
			return
		}
		var c struct {
			Iss, Sub string
			Aud      any
			Exp      float64
			Cnf      any
		}
		if err := json.Unmarshal([]byte(payload), &c); err != nil {
			t.Fatalf("accepted %q, which encoding/json does not read: %v", payload, err)
		}
		if c.Iss != testIssuer || id.Issuer != testIssuer || c.Sub == "" || id.Subject != c.Sub || c.Exp < 1e9 || id.Expires.Year() > 9999 || c.Cnf != nil {
			t.Fatalf("accepted %q as %q", payload, id.Subject)
		}
		if !strings.Contains(payload, "aud") || !strings.Contains(fmtAudience(c.Aud), " "+testAudience+" ") {
			t.Fatalf("accepted %q without the audience", payload)
		}
		for _, s := range id.Scopes {
			if s == "" || strings.ContainsAny(s, " \"\\\t\r\n") {
				t.Fatalf("scope %q", s)
			}
		}
	})
}

func fmtAudience(aud any) string {
	switch aud := aud.(type) {
	case string:
		return " " + aud + " "
	case []any:
		s := " "
		for _, one := range aud {
			text, _ := one.(string)
			s += text + " "
		}
		return s
	}
	return ""
}
