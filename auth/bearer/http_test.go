package bearer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/bearer"
	"github.com/sallyport/sallyport/authz"
	httperr "github.com/sallyport/sallyport/errors"
)

const (
	bare         = `Bearer realm="api"`
	invalidToken = bare + `, error="invalid_token", error_description="The access token is expired, revoked, malformed or not meant for this service."`
	invalidReq   = bare + `, error="invalid_request", error_description="The request is malformed."`
)

// The answers of RFC 6750 §3, through the door.
func TestRFC6750_3_Answers(t *testing.T) {
	a := newAuthenticator(t)
	good := mint(t, hsKey(), goodClaims())
	for _, tt := range []struct {
		name      string
		fields    []string // Authorization
		query     string
		status    int
		challenge string
	}{
		{"good", []string{"Bearer " + good}, "", 204, ""},
		{"scheme of another case", []string{"bEaReR " + good}, "", 204, ""},
		{"two spaces", []string{"Bearer  " + good}, "", 204, ""},
		{"other parameters", []string{"Bearer " + good}, "token=x&access_tokens=y&q=access_token", 204, ""},

		{"no credentials", nil, "", 401, bare},
		{"another scheme", []string{"Basic YTpi"}, "", 401, bare},
		{"DPoP", []string{"DPoP " + good}, "", 401, bare},
		{"a longer scheme", []string{"Bearers " + good}, "", 401, bare},
		{"only a query token", nil, "access_token=" + good, 401, bare},

		{"expired", []string{"Bearer " + mint(t, hsKey(), goodClaims().with("exp", 1))}, "", 401, invalidToken},
		{"tampered", []string{"Bearer " + good[:len(good)-4] + "AAAA"}, "", 401, invalidToken},
		{"other audience", []string{"Bearer " + mint(t, hsKey(), goodClaims().with("aud", "x"))}, "", 401, invalidToken},
		{"other issuer", []string{"Bearer " + mint(t, hsKey(), goodClaims().with("iss", "x"))}, "", 401, invalidToken},
		{"opaque", []string{"Bearer mF_9.B5f-4.1JqM"}, "", 401, invalidToken},
		{"token68 but not base64url", []string{"Bearer abc+/~.def.ghi=="}, "", 401, invalidToken},

		{"no token", []string{"Bearer"}, "", 400, invalidReq},
		{"blanks for a token", []string{"Bearer   "}, "", 400, invalidReq},
		{"only padding", []string{"Bearer =="}, "", 400, invalidReq},
		{"padding inside", []string{"Bearer a=b"}, "", 400, invalidReq},
		{"two tokens", []string{"Bearer " + good + " " + good}, "", 400, invalidReq},
		{"a list", []string{"Bearer " + good + ", Bearer " + good}, "", 400, invalidReq},
		{"parameters", []string{`Bearer token="` + good + `"`}, "", 400, invalidReq},
		{"quotes", []string{`Bearer "` + good + `"`}, "", 400, invalidReq},
		{"JSON", []string{`Bearer {"protected":"e30","payload":"e30","signature":"AA"}`}, "", 400, invalidReq},
		{"beyond ASCII", []string{"Bearer ä.b.c"}, "", 400, invalidReq},
		{"NUL", []string{"Bearer " + good + "\x00"}, "", 400, invalidReq},
		{"two fields", []string{"Bearer " + good, "Bearer " + good}, "", 400, invalidReq},
		{"two fields, one of another scheme", []string{"Bearer " + good, "Basic YTpi"}, "", 400, invalidReq},
		{"17 KiB", []string{"Bearer " + strings.Repeat("A", 17<<10)}, "", 400, invalidReq},
		{"header and query", []string{"Bearer " + good}, "access_token=x", 400, invalidReq},
		{"header and empty query token", []string{"Bearer " + good}, "access_token=", 400, invalidReq},
		{"header and bare query token", []string{"Bearer " + good}, "a=b&access_token", 400, invalidReq},
		{"header and escaped query token", []string{"Bearer " + good}, "access%5Ftoken=x", 400, invalidReq},
		{"header and query token after a semicolon", []string{"Bearer " + good}, "a=b;access_token=x", 400, invalidReq},
		{"bad token and query", []string{"Bearer x"}, "access_token=" + good, 400, invalidReq},
	} {
		t.Run(tt.name, func(t *testing.T) {
			entered := 0
			h := auth.Require(a)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				entered++
				if _, ok := auth.FromContext(r.Context()); !ok {
					t.Error("the handler has no identity")
				}
				w.WriteHeader(204)
			}))
			r := httptest.NewRequest("GET", "/items", nil)
			if tt.fields != nil {
				r.Header["Authorization"] = tt.fields
			}
			r.URL.RawQuery = tt.query
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != tt.status {
				t.Errorf("status = %d, want %d", w.Code, tt.status)
			}
			if got := strings.Join(w.Header()["Www-Authenticate"], "\n"); got != tt.challenge {
				t.Errorf("WWW-Authenticate = %s\nwant %s", got, tt.challenge)
			}
			if (entered == 1) != (tt.status == 204) {
				t.Errorf("the handler was entered %d times", entered)
			}
			if tt.status == 204 {
				return
			}
			if got := w.Header().Get("Content-Type"); !strings.HasPrefix(got, "application/problem+json") {
				t.Errorf("Content-Type = %q", got)
			}
			if got := w.Header().Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control = %q", got)
			}
		})
	}
}

// Why a token is refused is not told: all answers are the same bytes.
func TestRFC6750_3_1_OneAnswerForAllRefusals(t *testing.T) {
	a := newAuthenticator(t, func(c *bearer.Config) {
		c.Revoked = func(_ context.Context, tok bearer.Token) (bool, error) { return tok.ID == "gone", nil }
	})
	var first string
	for name, tok := range map[string]string{
		"expired":       mint(t, hsKey(), goodClaims().with("exp", 1)),
		"signature":     mint(t, generate("HS256"), goodClaims()),
		"unknown key":   mintText(t, hsKey(), `{"alg":"HS256","typ":"at+jwt","kid":"x"}`, goodClaims().String()),
		"other aud":     mint(t, hsKey(), goodClaims().with("aud", "x")),
		"other type":    mintText(t, hsKey(), `{"alg":"HS256","typ":"JWT"}`, goodClaims().String()),
		"revoked":       mint(t, hsKey(), goodClaims().with("jti", "gone")),
		"not a token":   "x",
		"broken claims": mintText(t, hsKey(), header(hsKey()), "{"),
		"bound":         mint(t, hsKey(), goodClaims().with("cnf", claims{"jkt": "x"})),
	} {
		w := serve(auth.Require(a), request(tok))
		got := fmt.Sprint(w.Code, w.Header(), w.Body)
		if first == "" {
			first = got
		}
		if got != first || w.Code != 401 {
			t.Errorf("%s: got %s\nwant %s", name, got, first)
		}
	}
}

// A token in a form body is never read.
func TestRFC6750_2_2_BodyIsNotRead(t *testing.T) {
	body := strings.NewReader("access_token=" + mint(t, hsKey(), goodClaims()))
	r := httptest.NewRequest("POST", "/items", body)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	length := body.Len()
	w := serve(auth.Require(newAuthenticator(t)), r)
	if w.Code != 401 || w.Header().Get("WWW-Authenticate") != bare {
		t.Errorf("got %d %q, want 401 as without credentials", w.Code, w.Header().Get("WWW-Authenticate"))
	}
	if body.Len() != length {
		t.Error("the body was read")
	}
}

func TestRFC6750_3_1_InsufficientScope(t *testing.T) {
	a := newAuthenticator(t)
	serve := func(rule authz.Rule) *httptest.ResponseRecorder {
		h := auth.Require(a)(authz.Require(rule)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, request(mint(t, hsKey(), goodClaims())))
		return w
	}
	if w := serve(authz.Scope("items:read")); w.Code != 200 {
		t.Errorf("status = %d, want 200", w.Code)
	}
	w := serve(authz.Scope("items:read", "items:delete"))
	got := w.Header()["Www-Authenticate"]
	if w.Code != 403 || len(got) != 1 || !strings.HasPrefix(got[0], bare+`, error="insufficient_scope", error_description="`) {
		t.Fatalf("got %d %q", w.Code, got)
	}
	if !strings.Contains(got[0], `items:delete`) || strings.Count(got[0], "scope=") != 1 {
		t.Errorf("WWW-Authenticate = %s, want the scope that is needed", got[0])
	}
	// "The request requires higher privileges than provided by the access token":
	// a role that is missing has the same code, but names no scope to ask for.
	w = serve(authz.Role("admin"))
	got = w.Header()["Www-Authenticate"]
	if w.Code != 403 || len(got) != 1 || !strings.HasPrefix(got[0], bare+`, error="insufficient_scope", `) || strings.Contains(got[0], " scope=") {
		t.Errorf("a missing role: got %d %q, want 403 with the code and no scope", w.Code, got)
	}
}

func TestChallenge(t *testing.T) {
	scoped := func(scope any) error {
		p := httperr.New(403, "insufficient_scope", "x")
		p.Extensions = map[string]any{"scope": scope}
		return p
	}
	const insufficient = bare + `, error="insufficient_scope", error_description="The access token does not allow this."`
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"nil", nil, bare},
		{"no credentials", auth.ErrNoCredentials, bare},
		{"no credentials, wrapped", fmt.Errorf("x: %w", auth.ErrNoCredentials), bare},
		{"undecided", errors.New("x"), bare},
		{"invalid", fmt.Errorf("%w: x", auth.ErrInvalid), invalidToken},
		{"invalid, in a problem", httperr.New(401, "x", "y").WithCause(auth.ErrInvalid), invalidToken},
		{"malformed", httperr.New(400, "invalid_request", "x"), invalidReq},
		{"step-up", &httperr.Problem{Status: 401, Code: "insufficient_user_authentication", Extensions: map[string]any{"acr_values": `a "b`, "max_age": int64(300)}}, bare + `, error="insufficient_user_authentication", error_description="A stronger or a newer authentication is required.", acr_values="a \"b", max_age="300"`},
		{"step-up without needs", &httperr.Problem{Status: 401, Code: "insufficient_user_authentication"}, bare + `, error="insufficient_user_authentication", error_description="A stronger or a newer authentication is required."`},
		{"forbidden", httperr.New(403, "forbidden", "x"), bare + `, error="insufficient_scope", error_description="The access token does not allow this."`},
		{"a nil problem", (*httperr.Problem)(nil), bare},
		{"scope", scoped("a b"), insufficient + `, scope="a b"`},
		{"scope, wrapped", fmt.Errorf("x: %w", scoped("a")), insufficient + `, scope="a"`},
		{"no scope", httperr.New(403, "insufficient_scope", "x"), insufficient},
		{"empty scope", scoped(""), insufficient},
		{"scope not a string", scoped([]string{"a"}), insufficient},
		{"scope with a quote", scoped(`a", error="x`), insufficient},
		{"scope with a backslash", scoped(`a\`), insufficient},
		{"scope with a line break", scoped("a\r\nSet-Cookie: x"), insufficient},
		{"scope with two spaces", scoped("a  b"), insufficient},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Header{"Www-Authenticate": {`Basic realm="x"`}}
			newAuthenticator(t).Challenge(h, httptest.NewRequest("GET", "/", nil), tt.err)
			got := h["Www-Authenticate"]
			if len(h) != 1 || len(got) != 2 || got[0] != `Basic realm="x"` || got[1] != tt.want {
				t.Errorf("got %q\nwant it added: %s", got, tt.want)
			}
		})
	}
}

func TestChallengeRealm(t *testing.T) {
	a := newAuthenticator(t, func(c *bearer.Config) { c.Realm = `the "items" \ API` })
	h := http.Header{}
	a.Challenge(h, nil, auth.ErrNoCredentials)
	if got, want := h.Get("WWW-Authenticate"), `Bearer realm="the \"items\" \\ API"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// RFC 6750 §3: error_description has neither quotes nor backslashes, and nothing beyond ASCII.
	h = http.Header{}
	a.Challenge(h, nil, auth.ErrInvalid)
	_, description, _ := strings.Cut(h.Get("WWW-Authenticate"), `error_description="`)
	description, rest, _ := strings.Cut(description, `"`)
	for i := range len(description) {
		if c := description[i]; c < 0x20 || c > 0x7e || c == '\\' {
			t.Errorf("error_description has the byte %q", c)
		}
	}
	if rest != "" || description == "" {
		t.Errorf("error_description = %q, then %q", description, rest)
	}
}

// Over a socket: what net/http makes of the field is refused as well.
func TestOverASocket(t *testing.T) {
	srv := httptest.NewServer(auth.Require(newAuthenticator(t))(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _ := auth.FromContext(r.Context())
		_ = json.NewEncoder(w).Encode(id.Subject)
	})))
	defer srv.Close()
	good := mint(t, hsKey(), goodClaims())
	for want, fields := range map[int][]string{
		200: {"Bearer " + good},
		400: {"Bearer " + good, "Bearer " + good},
		401: {"Bearer " + good[:len(good)-4]},
	} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", srv.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header["Authorization"] = fields
		resp, err := srv.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("status = %d, want %d", resp.StatusCode, want)
		}
	}
}
