package bearer_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/bearer"
	httperr "github.com/sallyport/sallyport/errors"
)

const testCookie = "__Host-token"

// A token in a cookie is read where a cookie is named, and then only together with
// the check against cross-site request forgery.
func TestCookie(t *testing.T) {
	token := mint(t, hsKey(), goodClaims())
	a := newAuthenticator(t, func(c *bearer.Config) {
		c.Cookie = bearer.CookieConfig{Name: testCookie, TrustedOrigins: []string{"https://app.example.com"}}
	})
	const ok, none = "", "none"
	for _, tt := range []struct {
		name   string
		method string
		fields []string // name, value, …
		want   string   // the code of the answer
	}{
		{"GET", "GET", []string{"Cookie", testCookie + "=" + token}, ok},
		{"GET by a link of another site", "GET", []string{"Cookie", testCookie + "=" + token, "Sec-Fetch-Site", "cross-site"}, ok},
		{"GET that opens a WebSocket for another site", "GET", []string{"Cookie", testCookie + "=" + token, "Sec-Fetch-Site", "cross-site", "Upgrade", "websocket"}, "cross_origin"},
		{"GET that opens a WebSocket and does not say for whom", "GET", []string{"Cookie", testCookie + "=" + token, "Upgrade", "websocket"}, "cross_origin"},
		{"POST of the same origin", "POST", []string{"Cookie", testCookie + "=" + token, "Sec-Fetch-Site", "same-origin"}, ok},
		{"POST of the same origin, an older browser", "POST", []string{"Cookie", testCookie + "=" + token, "Origin", "https://api.example.com"}, ok},
		{"POST of a trusted origin", "POST", []string{"Cookie", testCookie + "=" + token, "Sec-Fetch-Site", "same-site", "Origin", "https://app.example.com"}, ok},
		{"POST of the same site", "POST", []string{"Cookie", testCookie + "=" + token, "Sec-Fetch-Site", "same-site", "Origin", "https://evil.example.com"}, "cross_origin"},
		{"POST of another site", "POST", []string{"Cookie", testCookie + "=" + token, "Sec-Fetch-Site", "cross-site"}, "cross_origin"},
		{"DELETE of another site", "DELETE", []string{"Cookie", testCookie + "=" + token, "Sec-Fetch-Site", "cross-site"}, "cross_origin"},
		{"POST of a null origin", "POST", []string{"Cookie", testCookie + "=" + token, "Origin", "null"}, "cross_origin"},
		{"POST of plain http", "POST", []string{"Cookie", testCookie + "=" + token, "Origin", "http://api.example.com"}, "cross_origin"},
		{"POST that does not say", "POST", []string{"Cookie", testCookie + "=" + token}, "cross_origin"},
		{"an unknown method", "get", []string{"Cookie", testCookie + "=" + token, "Sec-Fetch-Site", "cross-site"}, "cross_origin"},
		{"no cookie", "GET", nil, none},
		{"another cookie", "GET", []string{"Cookie", "token=" + token}, none},
		{"another case", "GET", []string{"Cookie", strings.ToUpper(testCookie) + "=" + token}, none},
		{"an empty cookie", "GET", []string{"Cookie", testCookie + "="}, none},
		{"a bad token", "GET", []string{"Cookie", testCookie + "=" + token[1:]}, "invalid_token"},
		{"no token", "GET", []string{"Cookie", testCookie + "=a b"}, "invalid_request"},
		{"two cookies of the name", "GET", []string{"Cookie", testCookie + "=" + token + "; " + testCookie + "=" + token}, "invalid_request"},
		{"two Cookie fields", "GET", []string{"Cookie", testCookie + "=" + token, "Cookie", testCookie + "=x"}, "invalid_request"},
		{"a header beside it", "GET", []string{"Cookie", testCookie + "=" + token, "Authorization", "Bearer " + token}, "invalid_request"},
		{"a header of another scheme beside it", "GET", []string{"Cookie", testCookie + "=" + token, "Authorization", "Basic YTpi"}, "invalid_request"},
		{"a header alone", "POST", []string{"Authorization", "Bearer " + token, "Sec-Fetch-Site", "cross-site"}, ok},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(tt.method, "https://api.example.com/items", nil)
			for i := 0; i < len(tt.fields); i += 2 {
				r.Header.Add(tt.fields[i], tt.fields[i+1])
			}
			id, err := a.Authenticate(r)
			var p *httperr.Problem
			switch {
			case tt.want == ok && (err != nil || id.Subject != "alice"):
				t.Errorf("got %v, %v, want accepted", id, err)
			case tt.want == ok:
			case id != nil:
				t.Errorf("got %v, want none", id)
			case tt.want == none && !errors.Is(err, auth.ErrNoCredentials):
				t.Errorf("got %v, want ErrNoCredentials", err)
			case tt.want == none:
			case !errors.As(err, &p) || p.Code != tt.want:
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
	r := httptest.NewRequest("GET", "/items", nil)
	r.AddCookie(&http.Cookie{Name: testCookie, Value: token})
	if _, err := newAuthenticator(t).Authenticate(r); !errors.Is(err, auth.ErrNoCredentials) {
		t.Errorf("got %v: a cookie is read that nobody named", err)
	}
}

// A refused request says so by 401, with a challenge and one event.
func TestCookieOfAnotherSiteIsAnswered401(t *testing.T) {
	a := newAuthenticator(t, func(c *bearer.Config) { c.Cookie.Name = testCookie })
	h := auth.Require(a)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the handler was reached") }))
	r := httptest.NewRequest("POST", "https://api.example.com/items", nil)
	r.AddCookie(&http.Cookie{Name: testCookie, Value: mint(t, hsKey(), goodClaims())})
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") != `Bearer realm="api"` || !strings.Contains(w.Body.String(), "cross_origin") {
		t.Errorf("got %d, %v, %s", w.Code, w.Header(), w.Body)
	}
}

func TestCookieConfigErrors(t *testing.T) {
	for name, cookie := range map[string]bearer.CookieConfig{
		"no prefix":         {Name: "token"},
		"no token":          {Name: "__Host-a b"},
		"origins alone":     {TrustedOrigins: []string{"https://a.example"}},
		"no origin":         {Name: testCookie, TrustedOrigins: []string{"app.example.com"}},
		"an origin's path":  {Name: testCookie, TrustedOrigins: []string{"https://app.example.com/x"}},
		"an origin in caps": {Name: testCookie, TrustedOrigins: []string{"https://App.example.com"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := bearer.New(bearer.Config{Issuer: testIssuer, Audience: []string{testAudience}, Keys: static(t, hsKey()), Cookie: cookie})
			if err == nil || !strings.Contains(err.Error(), "Config.Cookie.") {
				t.Errorf("got %v, want it to name Config.Cookie", err)
			}
		})
	}
}
