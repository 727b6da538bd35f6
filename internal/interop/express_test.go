package interop

import (
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestExpressOAuth2JWTBearer gives the same requests to our door and to one made
// with npm's express-oauth2-jwt-bearer, which has our tokens and keys to judge
// by, and compares the statuses and the challenges of RFC 6750.
func TestExpressOAuth2JWTBearer(t *testing.T) {
	t.Parallel()
	s := newServer(t, "RS256")
	c := s.client()
	var ready struct{ URL string }
	startPeer(t, "express.mjs", map[string]any{
		"issuer": s.issuer, "jwks": s.jwks(), "audience": audience, "dpop": false,
	}, &ready, "NODE_EXTRA_CA_CERTS="+s.file(t))

	now := time.Now().Unix()
	sign := func(typ string, change map[string]any) string {
		t.Helper()
		claims := map[string]any{
			"iss": s.issuer, "sub": userSubject, "aud": audience, "client_id": "app", "jti": "1",
			"iat": now, "exp": now + 300, "scope": "items:read",
		}
		maps.Copy(claims, change)
		maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
		payload, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		token, err := s.ring.Active().SignCompact(typ, payload)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	good := s.token(t, c)
	bearer := func(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }
	parts := strings.Split(good, ".")

	tests := []struct {
		name   string
		path   string // "/items" if empty
		header http.Header
		status int
		err    string // the error of the challenge
	}{
		{name: "a token of ours", header: bearer(good), status: 200},
		{name: "a token of ours, scheme in lower case", header: http.Header{"Authorization": {"bearer " + good}}, status: 200},
		{name: "a token that is signed here", header: bearer(sign("at+jwt", nil)), status: 200},
		{name: "typ in full", header: bearer(sign("application/at+jwt", nil)), status: 200},
		{name: "two audiences", header: bearer(sign("at+jwt", map[string]any{"aud": []string{"other", audience}})), status: 200},
		{name: "no credentials", status: 401},
		{name: "another scope", path: "/admin", header: bearer(good), status: 403, err: "insufficient_scope"},
		{name: "no scope", header: bearer(sign("at+jwt", map[string]any{"scope": nil})), status: 403, err: "insufficient_scope"},
		{name: "not a token", header: bearer("x"), status: 401, err: "invalid_token"},
		{name: "two parts", header: bearer(parts[0] + "." + parts[1]), status: 401, err: "invalid_token"},
		{name: "no signature", header: bearer(parts[0] + "." + parts[1] + "."), status: 401, err: "invalid_token"},
		{name: "expired", header: bearer(sign("at+jwt", map[string]any{"exp": now - 3600})), status: 401, err: "invalid_token"},
		{name: "no exp", header: bearer(sign("at+jwt", map[string]any{"exp": nil})), status: 401, err: "invalid_token"},
		{name: "not yet", header: bearer(sign("at+jwt", map[string]any{"nbf": now + 3600})), status: 401, err: "invalid_token"},
		{name: "another audience", header: bearer(sign("at+jwt", map[string]any{"aud": "other"})), status: 401, err: "invalid_token"},
		{name: "another issuer", header: bearer(sign("at+jwt", map[string]any{"iss": "https://other.example.com"})), status: 401, err: "invalid_token"},
		{name: "no subject", header: bearer(sign("at+jwt", map[string]any{"sub": nil})), status: 401, err: "invalid_token"},
		{name: "no client", header: bearer(sign("at+jwt", map[string]any{"client_id": nil})), status: 401, err: "invalid_token"},
		{name: "no jti", header: bearer(sign("at+jwt", map[string]any{"jti": nil})), status: 401, err: "invalid_token"},
		{name: "no iat", header: bearer(sign("at+jwt", map[string]any{"iat": nil})), status: 401, err: "invalid_token"},
		{name: "typ JWT", header: bearer(sign("JWT", nil)), status: 401, err: "invalid_token"},
		{name: "no typ", header: bearer(sign("", nil)), status: 401, err: "invalid_token"},
		{name: "two tokens", path: "/items?access_token=" + good, header: bearer(good), status: 400, err: "invalid_request"},
	}
	for _, one := range tests {
		t.Run(one.name, func(t *testing.T) {
			path := one.path
			if path == "" {
				path = "/items"
			}
			for _, server := range []struct{ name, url string }{{"ours", s.issuer}, {"theirs", ready.URL}} {
				status, challenge := ask(t, c, server.url+path, one.header)
				if status != one.status {
					t.Errorf("%s: got status %d, want %d", server.name, status, one.status)
				}
				if (challenge.scheme == "") != (status == http.StatusOK) || challenge.scheme != "" && challenge.scheme != "Bearer" {
					t.Errorf("%s: got status %d with the scheme %q", server.name, status, challenge.scheme)
				}
				if got := challenge.params["error"]; got != one.err {
					t.Errorf("%s: got the error %q, want %q", server.name, got, one.err)
				}
				if status == http.StatusForbidden {
					want := map[string]string{"/items": "items:read", "/admin": "admin"}[path]
					if got := challenge.params["scope"]; got != want {
						t.Errorf("%s: got the scope %q, want %q", server.name, got, want)
					}
				}
				if one.status >= 400 && challenge.params["realm"] != "api" {
					t.Errorf("%s: got the realm %q", server.name, challenge.params["realm"])
				}
			}
		})
	}
}

// A challenge is the one of a WWW-Authenticate field.
type challenge struct {
	scheme string
	params map[string]string
}

// send sends a GET and returns the status and the challenges.
func send(t *testing.T, c *http.Client, url string, header http.Header) (status int, challenges []string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(r.Header, header)
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode, resp.Header.Values("WWW-Authenticate")
}

// ask sends a GET and returns the status and the challenge of the scheme Bearer, if
// there is one.
func ask(t *testing.T, c *http.Client, url string, header http.Header) (int, challenge) {
	t.Helper()
	status, fields := send(t, c, url, header)
	fields = slices.DeleteFunc(fields, func(one string) bool { return strings.HasPrefix(one, "DPoP ") }) // which theirs is told not to take
	if len(fields) == 0 {
		return status, challenge{}
	}
	if len(fields) > 1 {
		t.Errorf("got the challenges %q, want one", fields)
	}
	scheme, rest, _ := strings.Cut(fields[0], " ")
	got := challenge{scheme, make(map[string]string)}
	for rest != "" {
		m := authParam.FindStringSubmatch(rest)
		if m == nil {
			t.Fatalf("got the challenge %q", fields[0])
		}
		if _, twice := got.params[m[1]]; twice {
			t.Errorf("got %s twice in %q", m[1], fields[0])
		}
		got.params[m[1]] = m[2]
		rest = rest[len(m[0]):]
	}
	return status, got
}

var authParam = regexp.MustCompile(`^([a-z_]+)="([^"\\]*)"(?:, |$)`)
