package oauth_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/auth/oauth"
)

// Whatever comes, the answer is one of those that the package names, and a token
// goes only to who sent the secret.
func FuzzTokenRequest(f *testing.F) {
	e := newEndpoint(f, func(c *oauth.Config) { c.Grants = []oauth.Grant{oauth.ClientCredentials} })
	// A secret that does not change, so that what the fuzzer found stays good.
	const secret = "a-secret-of-the-fuzzer+with%escapes"
	e.clients.Clients = memoryClients(f, clientNamed("service", sha256Hash(secret)))
	good := "Basic " + base64.StdEncoding.EncodeToString([]byte("service:"+url.QueryEscape(secret)))
	const form = "application/x-www-form-urlencoded"
	f.Add(form, good, "", "grant_type=client_credentials")
	f.Add(form, "", "", "grant_type=client_credentials&client_id=service&client_secret="+url.QueryEscape(secret))
	f.Add(form+"; charset=utf-8", "Basic Og==", "", "grant_type=client_credentials&client_id=service&client_secret=x")
	f.Add(form, good, "grant_type=client_credentials", "")
	f.Add(form, "Bearer x", "a=b", "grant_type=client_credentials&scope=a+b")
	f.Add("application/json", good, "", "{}")
	f.Add(form, good, "", "grant_type=client_credentials&grant_type=client_credentials")
	f.Fuzz(func(t *testing.T, contentType, authorization, query, body string) {
		r := request{body: body, header: http.Header{"Content-Type": {contentType}}}.build()
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		r.URL.RawQuery = query
		w := serve(e, r)
		e.events.take()

		want, known := map[int][]string{
			200: {""},
			400: {"invalid_request", "unsupported_grant_type", "invalid_scope", "unauthorized_client"},
			401: {"invalid_client"},
			413: {"invalid_request"},
		}[w.Code]
		var members map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &members); err != nil || !known {
			t.Fatalf("got status %d, %v: %s", w.Code, err, w.Body)
		}
		code, _ := members["error"].(string)
		if !strings.Contains(strings.Join(want, " "), code) {
			t.Fatalf("got status %d with the error %q", w.Code, code)
		}
		if w.Header().Get("Cache-Control") != "no-store" || (w.Code == 401) != (w.Header().Get("WWW-Authenticate") != "") {
			t.Fatalf("got status %d with %v", w.Code, w.Header())
		}
		if w.Code != http.StatusOK {
			return
		}
		sent := body
		if _, encoded, ok := strings.Cut(strings.TrimSpace(authorization), " "); ok {
			decoded, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
			sent += "\n" + string(decoded)
		}
		if plain, err := url.QueryUnescape(sent); err != nil || !strings.Contains(plain, secret) {
			t.Fatalf("a token was given for %q with %q", body, authorization)
		}
	})
}
