package oauth_test

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/oauth"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/scope"
)

// No password, secret or token gets into a log, an event or an answer other than
// its own, whatever happens.
func TestCVE_2022_23469_NoSecretIsLogged(t *testing.T) {
	const canary = "canary-7f3a"
	e := newEndpoint(t, nil)
	var answers strings.Builder
	var tokens []string
	send := func(r request) {
		w := e.send(r)
		if w.Code == http.StatusOK {
			tokens = append(tokens, wantToken(t, w).AccessToken)
			return
		}
		fmt.Fprintln(&answers, w.Header(), w.Body)
	}
	everything := func() {
		for _, name := range []string{"ada", "eve", "bob", "nobody", canary + "-name"} {
			send(request{body: passwordForm(name, canary, "client_id=app")})
			send(request{body: passwordForm(name, canary, "client_id=app&scope=items:read")})
			send(request{body: passwordForm(name, canary, "client_id=app&scope="+canary)})
			send(request{body: passwordForm(name, canary+"\x00", "client_id=app")})
		}
		for _, id := range []string{"service", "app", "nobody", canary} {
			send(request{body: "grant_type=client_credentials", id: id, secret: canary})
			send(request{body: "grant_type=client_credentials&client_id=" + id + "&client_secret=" + canary})
			send(request{body: "grant_type=client_credentials&client_id=" + id + "&client_assertion=" + canary})
		}
		send(request{body: "grant_type=" + canary})
		send(request{body: "grant_type=client_credentials&" + canary + "=" + canary + "&" + canary + "=" + canary})
		send(request{body: "grant_type=client_credentials&password=" + canary + "%zz"})
		send(request{body: "grant_type=client_credentials", query: "password=" + canary})
		send(request{body: "grant_type=client_credentials", query: "password=" + canary + "%zz"})
		send(request{body: "grant_type=client_credentials", contentType: canary})
		for _, field := range []string{"Bearer " + canary, canary, "Basic " + canary, "Basic " + base64.StdEncoding.EncodeToString([]byte(canary))} {
			send(request{body: "grant_type=client_credentials", header: http.Header{"Authorization": {field}}})
		}
		send(request{body: "grant_type=client_credentials", id: "service", secret: e.secret})
		send(request{body: passwordForm("ada", adaPassword, "client_id=app")})
	}
	everything()
	e.users.saveErr = errors.New("read-only")
	everything()
	e.users.err = errOutOfReach
	everything()
	e.users.err, e.lockout.err = nil, errOutOfReach
	everything()
	e.lockout.err, e.clients.err = nil, errOutOfReach
	everything()
	e.clients.err = nil
	e.server.FailSigning(errors.New("no"))
	everything()
	if len(tokens) < 4 {
		t.Fatalf("got %d tokens, want some: the test shows nothing", len(tokens))
	}

	seen := map[string]string{"answers": answers.String(), "logs": e.logs.String()}
	for _, ev := range e.events.take() {
		seen["events"] += fmt.Sprintf("%+v\n", ev)
	}
	for where, text := range seen {
		if text == "" {
			t.Errorf("there are no %s: the test shows nothing", where)
		}
		for _, secret := range append(tokens, canary, url.QueryEscape(adaPassword), adaPassword, e.secret, "$2a$") {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("%s: found %q in …%s…", where, secret, text[max(0, i-100):min(len(text), i+100)])
			}
		}
	}
}

func TestPlainHTTPIsReportedOnce(t *testing.T) {
	const warning = "credentials came over plain HTTP"
	for _, tt := range []struct {
		name   string
		change func(*oauth.Config)
		r      func(*http.Request) *http.Request
		want   int
	}{
		{"TLS", nil, func(r *http.Request) *http.Request { return r }, 0},
		{"plain", nil, func(r *http.Request) *http.Request { r.TLS = nil; return r }, 1},
		{"a proxy that ended TLS", nil, func(r *http.Request) *http.Request {
			r.TLS = nil
			s, r := scope.For(r)
			s.Scheme = "https"
			return r
		}, 0},
		{"a proxy that did not", nil, func(r *http.Request) *http.Request {
			r.TLS = nil
			s, r := scope.For(r)
			s.Scheme = "http"
			return r
		}, 1},
		{"an issuer that says so", func(c *oauth.Config) { c.Issuer = "HTTP://127.0.0.1:8080" }, func(r *http.Request) *http.Request { r.TLS = nil; return r }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEndpoint(t, tt.change)
			for range 3 {
				r := request{body: "grant_type=x"}.build()
				if r.TLS == nil {
					r.TLS = new(tls.ConnectionState)
				}
				e.ServeHTTP(httptest.NewRecorder(), tt.r(r))
			}
			if got := strings.Count(e.logs.String(), warning); got != tt.want {
				t.Errorf("got %d warnings, want %d: %s", got, tt.want, e.logs)
			}
		})
	}
}

// Where no Logger is given, slog.Default is used, and nothing fails.
func TestDefaultLogger(t *testing.T) {
	e := newEndpoint(t, func(c *oauth.Config) { c.Logger = nil })
	r := request{body: "client_id=app&" + passwordForm("ada", adaPassword)}.build()
	r.TLS = nil
	w := httptest.NewRecorder()
	httperr.Recover(httperr.Config{Audit: e.events})(e.server.TokenHandler()).ServeHTTP(w, r)
	wantToken(t, w)
}

var _ auth.Users = (*users)(nil)

func TestClientsAndServersPrintNoHash(t *testing.T) {
	_, hash, err := oauth.NewClientSecret()
	if err != nil {
		t.Fatal(err)
	}
	c := oauth.Client{ID: "service", SecretHash: hash, OldSecretHash: hash, Grants: []oauth.Grant{oauth.ClientCredentials}}
	clients, err := oauth.NewMemoryClients(c)
	if err != nil {
		t.Fatal(err)
	}
	e := newEndpoint(t, nil)
	digest := strings.TrimPrefix(hash, "sha256:")
	for _, v := range []any{c, &c, []oauth.Client{c}, clients, e.server} {
		shown := ""
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%q", "%x"} {
			shown += fmt.Sprintf(verb, v)
		}
		asJSON, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if shown += string(asJSON); strings.Contains(shown, digest) {
			t.Errorf("%T shows the hash: %s", v, shown)
		}
	}
}
