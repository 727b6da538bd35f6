package oauth_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/auth/oauth"
	httperr "github.com/sallyport/sallyport/errors"
)

// The bytes of every answer that is not a token.
func TestRFC6749_5_2_ErrorForm(t *testing.T) {
	fail := func(change func(*endpoint)) *endpoint {
		e := newEndpoint(t, nil)
		change(e)
		return e
	}
	e := newEndpoint(t, func(c *oauth.Config) { c.Realm = `the "api"` })
	for _, tt := range []struct {
		name   string
		w      *httptest.ResponseRecorder
		status int
		header http.Header // besides those of every error
		body   string
	}{
		{
			"invalid_request", e.post("client_id=app"), 400, nil,
			`{"error":"invalid_request","error_description":"The grant_type parameter is missing."}`,
		},
		{
			"invalid_client", e.post("grant_type=password&client_id=nobody"), 401,
			http.Header{"Www-Authenticate": {`Basic realm="the \"api\"", charset="UTF-8"`}},
			`{"error":"invalid_client","error_description":"The client could not be authenticated."}`,
		},
		{
			"invalid_grant", e.login("ada", "wrong"), 400, nil,
			`{"error":"invalid_grant","error_description":"The user name or the password is not valid."}`,
		},
		{
			"unauthorized_client", e.post("grant_type=client_credentials&client_id=app"), 400, nil,
			`{"error":"unauthorized_client","error_description":"The client may not use this grant."}`,
		},
		{
			"unsupported_grant_type", e.post("grant_type=authorization_code"), 400, nil,
			`{"error":"unsupported_grant_type","error_description":"The server does not offer this grant."}`,
		},
		{
			"invalid_scope", e.service("grant_type=client_credentials&scope=admin"), 400, nil,
			`{"error":"invalid_scope","error_description":"The scope is malformed, or more than may be granted."}`,
		},
		{
			"method", e.send(request{method: "GET"}), 405,
			http.Header{"Allow": {"POST"}},
			`{"error":"invalid_request","error_description":"The method must be POST."}`,
		},
		{
			"too large", e.post("a=" + strings.Repeat("b", 16<<10)), 413, nil,
			`{"error":"invalid_request","error_description":"The body is too large."}`,
		},
		{
			"server_error", fail(func(e *endpoint) { e.clients.answer = &oauth.Client{ID: "app"} }).post("grant_type=password&client_id=app"), 500, nil,
			`{"error":"server_error","error_description":"The request failed."}`,
		},
		{
			"temporarily_unavailable", fail(func(e *endpoint) { e.clients.err = errOutOfReach }).post("grant_type=password&client_id=app"), 503,
			http.Header{"Retry-After": {"5"}},
			`{"error":"temporarily_unavailable","error_description":"The request can't be served at the moment."}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.w.Code != tt.status {
				t.Errorf("got status %d, want %d", tt.w.Code, tt.status)
			}
			if got := tt.w.Body.String(); got != tt.body {
				t.Errorf("got  %s\nwant %s", got, tt.body)
			}
			want := http.Header{
				"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}, "Pragma": {"no-cache"},
				"X-Content-Type-Options": {"nosniff"}, "Content-Length": {fmt.Sprint(len(tt.body))},
				"X-Request-Id": tt.w.Header()["X-Request-Id"],
			}
			for name, values := range tt.header {
				want[name] = values
			}
			if got := fmt.Sprint(tt.w.Header()); got != fmt.Sprint(want) {
				t.Errorf("got  %s\nwant %s", got, fmt.Sprint(want))
			}
		})
	}
}

// OAuth clients read one form only, whatever they say they accept and whatever
// the service's problems look like.
func TestRFC6749_5_2_NotNegotiated(t *testing.T) {
	e := newEndpoint(t, nil)
	h := httperr.Recover(httperr.Config{TypeBase: "https://example.com/problems/", Audit: e.events})(e.server.TokenHandler())
	for _, accept := range []string{"text/html", "text/plain", "application/problem+json", "*/*"} {
		t.Run(accept, func(t *testing.T) {
			r := request{body: "grant_type=x", header: http.Header{"Accept": {accept}}}.build()
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			wantError(t, w, 400, "unsupported_grant_type")
		})
	}
}

// A handler works without a Recover around it as well.
func TestWithoutRecover(t *testing.T) {
	e := newEndpoint(t, nil)
	w := httptest.NewRecorder()
	e.server.TokenHandler().ServeHTTP(w, request{body: "grant_type=client_credentials", id: "service", secret: e.secret}.build())
	wantToken(t, w)
	w = httptest.NewRecorder()
	e.server.TokenHandler().ServeHTTP(w, request{body: "grant_type=x"}.build())
	wantError(t, w, 400, "unsupported_grant_type")
}

func TestRFC6749_3_2_PostOnly(t *testing.T) {
	e := newEndpoint(t, nil)
	for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "post", "X"} {
		t.Run(method, func(t *testing.T) {
			r := request{body: "grant_type=client_credentials", id: "service", secret: e.secret}.build()
			r.Method = method
			w := httptest.NewRecorder()
			e.ServeHTTP(w, r)
			wantHeader(t, w, "Allow", "POST")
			if method == "HEAD" {
				if w.Code != 405 || w.Body.Len() != 0 {
					t.Errorf("got status %d with a body of %d bytes, want 405 without", w.Code, w.Body.Len())
				}
				return
			}
			wantError(t, w, 405, "invalid_request")
		})
	}
	if e.clients.lookups != 0 {
		t.Errorf("the client store was asked %d times, want never", e.clients.lookups)
	}
}

// What an error description may hold (RFC 6749, section 5.2).
func TestRFC6749_5_2_DescriptionAlphabet(t *testing.T) {
	e := newEndpoint(t, nil)
	for _, body := range []string{
		"", "grant_type=%zz", "grant_type=x", "a=b&a=c", "grant_type=password&client_id=app", "client_secret=a", "client_id=%00", "client_secret=%00",
		"username=%00", "password=%00", "grant_type=password&client_id=app&scope=%22", "grant_type=password&client_id=nobody",
	} {
		w := e.post(body)
		_, description, ok := strings.Cut(w.Body.String(), `"error_description":"`)
		if !ok {
			t.Fatalf("%s: no error_description: %s", body, w.Body)
		}
		for _, c := range strings.TrimSuffix(description, `"}`) {
			if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
				t.Errorf("%s: got the character %q: %s", body, c, w.Body)
			}
		}
	}
}

// Every store that can't tell makes the answer 503 and counts nothing: a refusal
// would make clients throw good credentials away.
func TestStoresOutOfReach(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*endpoint)
		body   string
		cause  string
		ended  string // what became of the attempt
	}{
		{"client store", func(e *endpoint) { e.clients.err = errOutOfReach }, "", "client store failed: the database is out of reach", ""},
		{"user store", func(e *endpoint) { e.users.err = errOutOfReach }, "", "user store failed: the database is out of reach", ""},
		{"lockout", func(e *endpoint) { e.lockout.err = errOutOfReach }, "", "lockout failed: the database is out of reach", ""},
		{"lockout answers nothing", func(e *endpoint) { e.lockout.none = true }, "", "lockout failed: it returned neither", ""},
		{"hash unusable", func(e *endpoint) {
			u, err := e.users.Users.User(t.Context(), "ada")
			if err != nil {
				t.Fatal(err)
			}
			u.PasswordHash = "$1$a$b"
			e.users.answer = &u
		}, "", `the password of subject \"u-ada\" can't be verified`, "undecided"},
		// A store that passes on what another service said to it gives no verdict.
		{"client store with a refusal", func(e *endpoint) { e.clients.err = httperr.New(401, "invalid_client", "no") }, "", "client store failed", ""},
		{"user store with a refusal", func(e *endpoint) { e.users.err = httperr.New(400, "invalid_grant", "no") }, "", "user store failed", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEndpoint(t, nil)
			tt.change(e)
			w := e.login("ada", adaPassword)
			wantError(t, w, 503, "temporarily_unavailable")
			wantHeader(t, w, "Retry-After", "5")
			if !strings.Contains(e.logs.String(), tt.cause) {
				t.Errorf("the log does not have %q: %s", tt.cause, e.logs)
			}
			if got := strings.Join(e.lockout.ended, " "); got != tt.ended {
				t.Errorf("the attempt ended as %q, want %q", got, tt.ended)
			}
			if n := e.lockout.failed["u-ada"]; n != 0 {
				t.Errorf("%d attempts count, want 0", n)
			}
			if events := e.events.take(); len(events) != 0 {
				t.Errorf("got events %+v, want none", events)
			}
		})
	}
}

// What a store returns although it can't be is an error of ours, never a token.
func TestStoresWithNonsense(t *testing.T) {
	good := oauth.Client{ID: "app", Public: true, Grants: []oauth.Grant{oauth.Password}}
	hash := "sha256:" + strings.Repeat("0", 64)
	for _, tt := range []struct {
		name   string
		change func(*oauth.Client)
	}{
		{"public with a secret", func(c *oauth.Client) { c.SecretHash = hash }},
		{"public with an old secret", func(c *oauth.Client) { c.OldSecretHash = hash }},
		{"confidential without", func(c *oauth.Client) { c.Public = false }},
		{"hash of another form", func(c *oauth.Client) { c.Public, c.SecretHash = false, "md5:00" }},
		{"public that gets its own tokens", func(c *oauth.Client) { c.Grants = []oauth.Grant{oauth.ClientCredentials} }},
		{"scope that is two", func(c *oauth.Client) { c.Scopes = []string{"a b"} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEndpoint(t, nil)
			c := good
			tt.change(&c)
			e.clients.answer = &c
			wantError(t, e.login("ada", adaPassword), 500, "server_error")
			wantError(t, e.post("grant_type=client_credentials&client_id=app"), 500, "server_error")
			if !strings.Contains(e.logs.String(), `client \"app\"`) {
				t.Errorf("the log does not name the client: %s", e.logs)
			}
		})
	}
	t.Run("another client", func(t *testing.T) {
		e := newEndpoint(t, nil)
		e.clients.answer = &good
		wantError(t, e.post("grant_type=password&client_id=APP"), 401, "invalid_client")
		wantError(t, e.post("grant_type=password&client_id=app+"), 401, "invalid_client")
	})
}

// A panic of a store is a 500 and a login that counts.
func TestStorePanics(t *testing.T) {
	e := newEndpoint(t, nil)
	e.users.Users = nil
	w := e.login("ada", adaPassword)
	if w.Code != http.StatusInternalServerError {
		t.Errorf("got status %d, want 500", w.Code)
	}
}
